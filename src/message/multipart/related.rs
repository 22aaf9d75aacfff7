//! `multipart/related`: the root part is the SOAP message, the others travel with it.

use super::{Part, broken, new_boundary, push_header};
use crate::message::body::BodyLimits;
use crate::message::charset::Charset;
use crate::message::envelope::{Envelope, SoapVersion};
use crate::message::form::percent_decode;
use crate::message::media;
use crate::message::{Fault, outgoing};
use crate::xml::NodeId;
use base64::Engine;
use bytes::Bytes;

/// Namespace of `xop:Include`.
const XOP: &str = "http://www.w3.org/2004/08/xop/include";
/// The media type of a root part whose binary content is in other parts.
const XOP_TYPE: &str = "application/xop+xml";

/// What surrounds the SOAP part of a message with attachments.
#[derive(Clone, Debug)]
pub(in crate::message) struct Related {
    /// The boundary for writing the message anew.
    boundary: String,
    /// `Content-ID` of the root part, without angle brackets.
    root: String,
    /// The root part refers to others by `xop:Include` (MTOM).
    xop: bool,
    /// It came in parts: as MTOM or not.
    came: Option<bool>,
    attachments: Vec<Part>,
    max_bytes: usize,
}

impl Related {
    /// The bytes of the parts beside the root part.
    pub(in crate::message) fn contents(&self) -> impl Iterator<Item = &Bytes> {
        self.attachments.iter().map(|part| &part.body)
    }

    /// Takes the parts of a message apart: its SOAP part with its content type, and the rest.
    ///
    /// # Errors
    /// A message without parts.
    pub(in crate::message) fn split(
        mut parts: Vec<Part>,
        content_type: &str,
        limits: &BodyLimits,
    ) -> Result<(Bytes, String, Related), Fault> {
        let start = media::parameter(content_type, "start")
            .map(|s| s.trim_start_matches('<').trim_end_matches('>'));
        let index = start
            .and_then(|id| parts.iter().position(|p| p.id() == Some(id)))
            .unwrap_or(0);
        if index >= parts.len() {
            return Err(broken("the multipart body has no parts"));
        }
        let root = parts.remove(index);
        let own = root.content_type().unwrap_or("text/xml").to_owned();
        let xop = media::media_type(&own).eq_ignore_ascii_case(XOP_TYPE);
        let related = Related {
            root: root.id().map_or_else(new_root, str::to_owned),
            came: Some(xop),
            attachments: parts,
            ..Related::new(xop, limits.max_bytes)
        };
        Ok((root.decoded()?, own, related))
    }

    /// The surroundings of a message that has no attachments yet.
    pub(in crate::message) fn new(xop: bool, max_bytes: usize) -> Related {
        Related {
            boundary: new_boundary(),
            root: new_root(),
            xop,
            came: None,
            attachments: Vec::new(),
            max_bytes,
        }
    }

    /// Whether it came in parts: as MTOM or not.
    pub(in crate::message) fn came(&self) -> Option<bool> {
        self.came
    }

    /// Makes it MTOM; a message that came as MTOM stays so.
    pub(in crate::message) fn set_xop(&mut self) {
        self.xop = true;
    }

    /// The content type of the whole.
    pub(in crate::message) fn content_type(
        &self,
        version: SoapVersion,
        action: Option<&str>,
    ) -> String {
        let mut out = if self.xop {
            format!(
                "multipart/related; boundary=\"{}\"; type=\"{XOP_TYPE}\"; start=\"<{}>\"; start-info=\"{}\"",
                self.boundary,
                self.root,
                version.media_type()
            )
        } else {
            format!(
                "multipart/related; boundary=\"{}\"; type=\"{}\"; start=\"<{}>\"",
                self.boundary,
                version.media_type(),
                self.root
            )
        };
        if let (SoapVersion::V12, Some(action)) = (version, action) {
            out.push_str(&format!("; action={}", media::quoted(action)));
        }
        out
    }

    /// Puts the content that `xop:Include` elements refer to in their place, as base64 text, for
    /// forms that have no attachments. References to parts that are not there stay.
    ///
    /// # Errors
    /// When the text would be larger than a body may be.
    pub(in crate::message) fn inline(&self, envelope: &mut Envelope) -> Result<(), Fault> {
        if !self.xop || self.attachments.is_empty() {
            return Ok(());
        }
        let document = &mut envelope.document;
        let includes: Vec<NodeId> = document
            .descendants(envelope.root)
            .filter(|n| document.is_element(*n, XOP, "Include"))
            .collect();
        let mut total = 0_usize;
        for include in includes {
            let Some(part) = document
                .attribute(include, "", "href")
                .and_then(|href| self.referenced(href))
            else {
                continue;
            };
            let bytes = part.decoded()?;
            total = total.saturating_add(bytes.len() / 3 * 4 + 4);
            if total > self.max_bytes {
                return Err(Fault::too_large(self.max_bytes));
            }
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            let node = document.create_text(&text);
            document.replace(include, node);
        }
        Ok(())
    }

    fn referenced(&self, href: &str) -> Option<&Part> {
        // A `+` in a content id is a plus.
        let id = percent_decode(href.strip_prefix("cid:")?.replace('+', "%2B").as_bytes());
        self.attachments
            .iter()
            .find(|p| p.id().is_some_and(|own| own.as_bytes() == id))
    }
}

fn new_root() -> String {
    format!("0.{}@myelin", outgoing::new_uuid())
}

/// Writes a SOAP part and the attachments that came, as they came.
pub(in crate::message) fn write_related(
    related: &Related,
    version: SoapVersion,
    charset: Charset,
    charset_name: &str,
    soap: &[u8],
    out: &mut Vec<u8>,
) {
    let boundary = &related.boundary;
    out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
    let media = version.media_type();
    let content_type = if related.xop {
        format!("{XOP_TYPE}; charset={charset_name}; type=\"{media}\"")
    } else {
        format!("{media}; charset={charset_name}")
    };
    push_header("Content-Type", &content_type, out);
    let encoding = if charset.is_utf8() { "8bit" } else { "binary" };
    push_header("Content-Transfer-Encoding", encoding, out);
    push_header("Content-ID", format!("<{}>", related.root), out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(soap);
    out.extend_from_slice(b"\r\n");
    for part in &related.attachments {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        part.write(out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
}
