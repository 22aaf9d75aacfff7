//! Body states: untouched stream, collected bytes, built payload (design: moved forward only when
//! someone needs it; spec 01 §2).

use crate::json;
use crate::message::envelope::{Envelope, NotSoap, SoapVersion};
use crate::message::fault::Fault;
use crate::message::media::{self, Media};
use crate::message::stream::{BodyStream, StreamError};
use crate::xml;
use base64::Engine;
use bytes::Bytes;
use std::sync::OnceLock;

/// Namespace of the wrapper elements around text and binary bodies.
pub const PAYLOAD_NAMESPACE: &str = "http://ws.apache.org/commons/ns/payload";

/// Limits of reading and building a body.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Most bytes that are buffered.
    pub max_bytes: usize,
    /// Limits of XML trees.
    pub xml: xml::Limits,
    /// Limits of JSON values.
    pub json: json::Limits,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits {
            max_bytes: 64 << 20,
            xml: xml::Limits::default(),
            json: json::Limits::default(),
        }
    }
}

/// The body of a message.
#[derive(Default)]
pub enum Body {
    /// No body came, or it was removed or used up.
    #[default]
    Empty,
    /// On its way; nobody has looked at it.
    Stream(BodyStream),
    /// Collected, not parsed.
    Bytes(Bytes),
    /// Parsed as its content type says.
    Built(Box<Built>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Stream(_) => f.write_str("Stream"),
            Body::Bytes(b) => write!(f, "Bytes({})", b.len()),
            Body::Built(b) => write!(f, "Built({:?})", b.kind),
        }
    }
}

impl Body {
    /// The body as bytes when they are at hand.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Body::Bytes(b) => Some(b),
            Body::Built(b) => b.raw.as_ref(),
            _ => None,
        }
    }

    /// The bytes that have come so far of a body that is not parsed, and whether they are all.
    pub fn seen(&self) -> Option<(&[u8], bool)> {
        match self {
            Body::Stream(stream) => Some((stream.seen(), false)),
            Body::Bytes(bytes) => Some((bytes, true)),
            Body::Empty | Body::Built(_) => None,
        }
    }

    /// Waits for more bytes of a stream without taking them out of it.
    ///
    /// # Errors
    /// As [`Body::collect`]; the body is lost then.
    pub async fn look(&mut self, limit: usize) -> Result<(), Fault> {
        if let Body::Stream(stream) = self
            && let Some(whole) = stream.look(limit).await.map_err(stream_fault)?
        {
            *self = if whole.is_empty() {
                Body::Empty
            } else {
                Body::Bytes(whole)
            };
        }
        Ok(())
    }

    /// Collects a stream into bytes; other states stay.
    pub async fn collect(&mut self, limit: usize) -> Result<(), Fault> {
        if let Body::Stream(_) = self
            && let Body::Stream(stream) = std::mem::take(self)
        {
            let bytes = stream.collect(limit).await.map_err(stream_fault)?;
            *self = if bytes.is_empty() {
                Body::Empty
            } else {
                Body::Bytes(bytes)
            };
        }
        Ok(())
    }
}

/// The fault of a body that cannot be read to its end.
pub fn stream_fault(error: StreamError) -> Fault {
    match error {
        StreamError::TooLarge { limit } => Fault::too_large(limit),
        other => Fault::malformed(other.to_string()),
    }
}

/// What a built body was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// A SOAP envelope.
    Soap,
    /// Plain XML, shown inside an envelope.
    Xml,
    /// JSON, shown as XML inside an envelope when somebody asks.
    Json,
    /// Text, likewise.
    Text,
    /// Bytes, likewise.
    Binary,
    /// Form fields.
    Form,
    /// Nothing.
    Empty,
}

/// A parsed body. The bytes that came in stay until somebody edits the tree.
#[derive(Debug)]
pub struct Built {
    /// What it was.
    pub kind: PayloadKind,
    raw: Option<Bytes>,
    envelope: OnceLock<Envelope>,
    replaced: bool,
}

impl Built {
    /// A body that consists of an envelope made here.
    pub fn from_envelope(envelope: Envelope) -> Built {
        Built {
            kind: if envelope.synthetic {
                PayloadKind::Xml
            } else {
                PayloadKind::Soap
            },
            raw: None,
            envelope: OnceLock::from(envelope),
            replaced: true,
        }
    }

    /// The placeholder for a message without body.
    pub fn empty(version: SoapVersion) -> Built {
        Built {
            kind: PayloadKind::Empty,
            raw: None,
            envelope: OnceLock::from(Envelope::empty(version)),
            replaced: false,
        }
    }

    fn lazy(kind: PayloadKind, raw: Bytes) -> Built {
        Built {
            kind,
            raw: Some(raw),
            envelope: OnceLock::new(),
            replaced: false,
        }
    }

    fn ready(kind: PayloadKind, raw: Bytes, envelope: Envelope) -> Built {
        Built {
            envelope: OnceLock::from(envelope),
            ..Built::lazy(kind, raw)
        }
    }

    /// Parses bytes as their content type says (spec 01 §2.3, §16.2).
    pub fn parse(
        raw: Bytes,
        content_type: &str,
        limits: &BodyLimits,
        version: SoapVersion,
    ) -> Result<Built, Fault> {
        let malformed = |e: xml::XmlError| Fault::malformed(e.to_string());
        let charset = media::parameter(content_type, "charset");
        Ok(match Media::of(content_type) {
            Media::TextXml => {
                let text = xml::decode(raw.clone(), charset).map_err(malformed)?;
                // Any text/xml document whose root is an envelope is SOAP, with or without a
                // SOAPAction header; others are plain XML.
                if root_is_envelope(&text) {
                    let envelope = parse_soap(text, limits)?;
                    Built::ready(PayloadKind::Soap, raw, envelope)
                } else {
                    let envelope = Envelope::wrap(text, &limits.xml).map_err(malformed)?;
                    Built::ready(PayloadKind::Xml, raw, envelope)
                }
            }
            Media::SoapXml => {
                let text = xml::decode(raw.clone(), charset).map_err(malformed)?;
                let envelope = parse_soap(text, limits)?;
                if envelope.version != SoapVersion::V12 {
                    return Err(Fault::mediation(
                        "Transport level information does not match with SOAP Message namespace URI",
                    ));
                }
                Built::ready(PayloadKind::Soap, raw, envelope)
            }
            Media::Xml | Media::Other => {
                let text = xml::decode(raw.clone(), charset).map_err(malformed)?;
                let envelope = Envelope::wrap(text, &limits.xml).map_err(malformed)?;
                Built::ready(PayloadKind::Xml, raw, envelope)
            }
            Media::Json => match json::classify(&raw) {
                json::Kind::Empty => Built::empty(version),
                json::Kind::Invalid => {
                    let mut fault = Fault::mediation(
                        "#getNewJsonPayload. Could not save JSON payload. Invalid input stream found. Payload is not a JSON string.",
                    );
                    fault.origin = crate::message::fault::Origin::Client;
                    return Err(fault);
                }
                _ => Built::lazy(PayloadKind::Json, raw),
            },
            Media::Text => Built::lazy(PayloadKind::Text, raw),
            Media::Form => Built::lazy(PayloadKind::Form, raw),
            Media::Binary => Built::lazy(PayloadKind::Binary, raw),
        })
    }

    /// The bytes that came in, while they still say what the tree says.
    pub fn unchanged(&self) -> Option<&Bytes> {
        let edited = self
            .envelope
            .get()
            .is_some_and(|e| self.replaced || e.document.is_modified());
        if edited { None } else { self.raw.as_ref() }
    }

    /// The JSON text, while the payload is JSON that nobody replaced.
    pub fn json(&self) -> Option<&Bytes> {
        if self.kind == PayloadKind::Json {
            self.unchanged()
        } else {
            None
        }
    }

    /// The envelope, which is made on first use for bodies that are not XML.
    pub fn envelope(&self) -> Result<&Envelope, Fault> {
        if let Some(envelope) = self.envelope.get() {
            return Ok(envelope);
        }
        let made = self.make_envelope()?;
        Ok(self.envelope.get_or_init(|| made))
    }

    /// The envelope for editing.
    pub fn envelope_mut(&mut self) -> Result<&mut Envelope, Fault> {
        self.envelope()?;
        match self.envelope.get_mut() {
            Some(envelope) => Ok(envelope),
            None => Err(Fault::mediation("the body has no envelope")),
        }
    }

    /// Puts another envelope in place; the old bytes are gone.
    pub fn set_envelope(&mut self, envelope: Envelope) {
        self.kind = if envelope.synthetic {
            PayloadKind::Xml
        } else {
            PayloadKind::Soap
        };
        self.envelope = OnceLock::from(envelope);
        self.raw = None;
        self.replaced = true;
    }

    fn make_envelope(&self) -> Result<Envelope, Fault> {
        let mut envelope = Envelope::empty(SoapVersion::V11);
        let body = envelope.body();
        let Some(raw) = &self.raw else {
            return Ok(envelope);
        };
        let document = &mut envelope.document;
        match self.kind {
            PayloadKind::Json => {
                json::to_xml(
                    raw,
                    document,
                    body,
                    &json::Options::default(),
                    &json::Limits::default(),
                )
                .map_err(|e| Fault::malformed(e.to_string()))?;
            }
            PayloadKind::Form => {
                let form = document.create_element("", "", "xformValues");
                document.append_child(body, form);
                for (name, value) in form_fields(raw) {
                    let field = document.create_element("", "", &field_name(&name));
                    document.set_text(field, &value);
                    document.append_child(form, field);
                }
            }
            PayloadKind::Binary => {
                let wrapper = document.create_element("ns", PAYLOAD_NAMESPACE, "binary");
                document.declare_namespace(wrapper, "ns", PAYLOAD_NAMESPACE);
                let text = base64::engine::general_purpose::STANDARD.encode(raw);
                document.set_text(wrapper, &text);
                document.append_child(body, wrapper);
            }
            PayloadKind::Text => {
                let wrapper = document.create_element("", PAYLOAD_NAMESPACE, "text");
                document.declare_namespace(wrapper, "", PAYLOAD_NAMESPACE);
                let text = xml_text(&String::from_utf8_lossy(raw));
                document.set_text(wrapper, &text);
                document.append_child(body, wrapper);
            }
            PayloadKind::Soap | PayloadKind::Xml | PayloadKind::Empty => {}
        }
        // The view shows the bytes; only what is edited from here on replaces them.
        envelope.document.settle();
        Ok(envelope)
    }
}

/// Characters that XML cannot hold become U+FFFD, so that a text body never makes bad XML.
fn xml_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn root_is_envelope(text: &Bytes) -> bool {
    use crate::message::envelope::{SOAP11, SOAP12};
    matches!(
        xml::root_name(text),
        xml::RootName::Found { namespace, local }
            if local == "Envelope" && (namespace == SOAP11 || namespace == SOAP12)
    )
}

fn parse_soap(text: Bytes, limits: &BodyLimits) -> Result<Envelope, Fault> {
    Envelope::parse(text, &limits.xml).map_err(|e| match e {
        NotSoap::Malformed(e) => Fault::malformed(e.to_string()),
        NotSoap::OtherRoot(name) => Fault::malformed(format!(
            "First Element must contain the local name, Envelope , but found {name}"
        )),
        NotSoap::NoBody => Fault::malformed("The SOAP envelope has no Body"),
    })
}

/// The fields of `a=b&c=d`, percent-decoded.
pub fn form_fields(raw: &[u8]) -> impl Iterator<Item = (String, String)> {
    raw.split(|b| *b == b'&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let at = memchr::memchr(b'=', part).unwrap_or(part.len());
            let (name, value) = part.split_at(at);
            (
                percent_decode(name),
                percent_decode(value.get(1..).unwrap_or_default()),
            )
        })
}

fn percent_decode(text: &[u8]) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, hex(text.get(at + 1)), hex(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', _, _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Field names that XML does not allow are encoded as the reference does (spec 01 §15.3).
fn field_name(name: &str) -> String {
    let mut out = String::new();
    match name.chars().next() {
        Some(c) if c.is_ascii_digit() => out.push_str("_JsonReader_PD_"),
        Some('$') => {
            out.push_str("_JsonReader_PS_");
            return out + &sane(&name[1..]);
        }
        None => return "_".to_owned(),
        _ => {}
    }
    out + &sane(name)
}

fn sane(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') {
                c
            } else {
                '_'
            }
        })
        .collect()
}
