//! Writing a built body as its message type says (spec 01 §16.3–§16.4, §18.2).

use super::body::{Body, BodyLimits, Built, PAYLOAD_NAMESPACE, Parts, PayloadKind};
use super::charset::{Charset, Escape};
use super::envelope::{FaultParts, most_bytes};
use super::media::{self, Media};
use super::multipart;
use super::{Fault, Message, SoapVersion, form, header_text};
use crate::json;
use crate::xml::{Document, NodeId};
use bytes::Bytes;
use std::borrow::Cow;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatter {
    /// The envelope with an XML declaration.
    Soap,
    /// The first element of the body.
    Xml,
    /// JSON.
    Json,
    /// JSON in the BadgerFish convention.
    Badgerfish,
    /// The characters of the text wrapper.
    Text,
    /// The bytes of the binary wrapper.
    Binary,
    /// `a=b&c=d`.
    Form,
    /// Form fields and files in parts.
    MultipartForm,
    /// The envelope with its attachments in parts.
    Related,
}

impl Formatter {
    /// The content type that the formatter writes when the message has none.
    pub fn content_type(self, version: SoapVersion) -> &'static str {
        match self {
            Formatter::Soap => version.media_type(),
            Formatter::Xml => "application/xml",
            Formatter::Json => "application/json",
            Formatter::Badgerfish => "application/json/badgerfish",
            Formatter::Text => "text/plain",
            Formatter::Binary => "application/octet-stream",
            Formatter::Form => "application/x-www-form-urlencoded",
            Formatter::MultipartForm => "multipart/form-data",
            Formatter::Related => "multipart/related",
        }
    }
}

/// How a built body goes out.
struct Writing {
    formatter: Formatter,
    /// The bytes that came are sent.
    verbatim: bool,
    charset: Charset,
    charset_name: Cow<'static, str>,
    /// `WRITE_XML_DECLARATION`.
    declaration: Option<bool>,
    /// `XML_DECLARATION_STANDALONE`.
    standalone: Option<String>,
    /// `PRESERVE_SPACES`: blank text of leaf elements becomes JSON.
    preserve_spaces: bool,
}

/// What decides whether a body goes out as it came.
#[derive(Clone, Copy)]
struct Came<'a> {
    kind: PayloadKind,
    parts: Option<&'a Parts>,
    charset: Charset,
    /// Nobody edited it.
    unchanged: bool,
}

impl Came<'_> {
    fn of(built: &Built) -> Came<'_> {
        Came {
            kind: built.kind,
            parts: built.parts(),
            charset: built.charset(),
            unchanged: built.unchanged().is_some(),
        }
    }
}

impl Message {
    /// A body that was built, or looked at instead: only one part in UTF-8 is.
    fn came(&self) -> Option<Came<'_>> {
        match &self.body {
            Body::Built(built) => Some(Came::of(built)),
            Body::Stream(_) | Body::Bytes(_) => self.looked.map(|kind| Came {
                kind,
                parts: None,
                charset: Charset::UTF_8,
                unchanged: true,
            }),
            Body::Empty => None,
        }
    }

    /// Whether a body that was looked at has to be built after all, as it is written in another
    /// form than it came in, or not at all.
    pub fn is_other_than_seen(&self) -> bool {
        if self.is_built() || self.looked.is_none() {
            return false;
        }
        let as_it_came = self
            .came()
            .is_none_or(|came| self.writing(came).is_ok_and(|writing| writing.verbatim));
        !as_it_came || self.axis2.is_true("NO_ENTITY_BODY")
    }

    /// The formatter for the message as it is now.
    pub fn formatter(&self) -> Formatter {
        let fallback = if self.rest {
            Formatter::Xml
        } else {
            Formatter::Soap
        };
        let formatter = match self.effective_media() {
            Some(Media::TextXml) if self.rest => Formatter::Xml,
            Some(Media::TextXml | Media::SoapXml) => Formatter::Soap,
            Some(Media::Xml) => Formatter::Xml,
            Some(Media::Json) => Formatter::Json,
            Some(Media::Badgerfish) => Formatter::Badgerfish,
            Some(Media::Text) => Formatter::Text,
            Some(Media::Binary) => Formatter::Binary,
            Some(Media::Form) => Formatter::Form,
            Some(Media::MultipartForm) => Formatter::MultipartForm,
            Some(Media::Related) => Formatter::Related,
            Some(Media::Other) | None => fallback,
        };
        if formatter == Formatter::Soap && self.wants_parsed_body() {
            return Formatter::Related;
        }
        formatter
    }

    /// `enableMTOM` or `enableSwA` (spec 01 §1.5).
    pub(super) fn wants_attachments(&self) -> bool {
        self.axis2.is_true("enableMTOM") || self.axis2.is_true("enableSwA")
    }

    /// Name of the character set in which a body is written: `CHARACTER_SET_ENCODING` when it was
    /// set, else that of the content type.
    pub fn charset_name(&self) -> &str {
        let set = self.axis2.str("CHARACTER_SET_ENCODING").map(|text| {
            // Endpoints give it as `charset=NAME`.
            let text = text.trim();
            match text.split_once('=') {
                Some((key, value)) if key.trim().eq_ignore_ascii_case("charset") => value,
                _ => text,
            }
        });
        if set.is_none()
            && let Some(plain) = self.content_type.as_ref().and_then(media::plain_charset)
        {
            return plain;
        }
        set.or_else(|| media::parameter(self.content_type()?, "charset"))
            .map(|name| name.trim().trim_matches(['"', '\'']))
            .filter(|name| !name.is_empty())
            .unwrap_or("UTF-8")
    }

    fn writing(&self, came: Came<'_>) -> Result<Writing, Fault> {
        let formatter = self.formatter();
        let name = self.charset_name();
        let charset = Charset::named(name)
            .ok_or_else(|| Fault::mediation(format!("The character set {name} is not known")))?;
        let declaration = self
            .axis2
            .get("WRITE_XML_DECLARATION")
            .map(|v| v.text().trim().eq_ignore_ascii_case("true"));
        let standalone = self
            .axis2
            .get("XML_DECLARATION_STANDALONE")
            .map(|v| v.text().into_owned())
            .filter(|v| matches!(v.as_str(), "yes" | "no"));
        let same_form = fits(came, formatter, self.axis2.is_true("enableMTOM"))
            // A body of a type without an own formatter goes on as it came, until somebody
            // converts it.
            || (self.message_type.is_none()
                && matches!(
                    came.kind,
                    PayloadKind::Text
                        | PayloadKind::Binary
                        | PayloadKind::Form
                        | PayloadKind::MultipartForm
                ));
        let binary = matches!(came.kind, PayloadKind::Binary | PayloadKind::MultipartForm)
            || formatter == Formatter::Related;
        Ok(Writing {
            formatter,
            verbatim: same_form
                && came.unchanged
                && (binary || charset == came.charset)
                && !(declaration.is_some()
                    && matches!(formatter, Formatter::Xml | Formatter::Soap)),
            charset,
            charset_name: match name {
                "UTF-8" => Cow::Borrowed("UTF-8"),
                "utf-8" => Cow::Borrowed("utf-8"),
                other => Cow::Owned(other.to_owned()),
            },
            declaration,
            standalone,
            preserve_spaces: self.axis2.is_true("PRESERVE_SPACES"),
        })
    }

    /// The bytes of a built body in the message's form. Bytes that came in and still hold are
    /// returned as they are.
    ///
    /// # Errors
    /// When the payload has no such form, for example mixed XML content as JSON.
    pub fn write_body(&mut self) -> Result<Bytes, Fault> {
        let writing = match &self.body {
            Body::Empty | Body::Stream(_) => return Ok(Bytes::new()),
            Body::Bytes(bytes) => return Ok(bytes.clone()),
            Body::Built(built) => self.writing(Came::of(built))?,
        };
        let xop = self.axis2.is_true("enableMTOM");
        let Body::Built(built) = &mut self.body else {
            return Ok(Bytes::new());
        };
        if writing.verbatim
            && let Some(raw) = built.unchanged()
        {
            return Ok(raw.clone());
        }
        match writing.formatter {
            Formatter::Related => built.make_related(xop),
            Formatter::MultipartForm => built.make_form(),
            _ => built.inline_attachments()?,
        }
        write(built, &writing).map(Bytes::from)
    }

    /// Makes the content type say what the written bytes are: a formatter's own type when there is
    /// none, a new boundary for parts that are written anew, and the character set.
    ///
    /// # Errors
    /// When the character set is not known.
    pub(super) fn settle_content_type(
        &mut self,
        add_charset: bool,
        limits: &BodyLimits,
    ) -> Result<(), Fault> {
        if let Body::Built(built) = &mut self.body {
            built.set_conversion(&limits.conversion);
        }
        if self.content_type.is_none() && self.has_no_entity() {
            return Ok(());
        }
        let Some(came) = self.came() else {
            return Ok(());
        };
        let writing = self.writing(came)?;
        if writing.verbatim
            && matches!(
                writing.formatter,
                Formatter::Related | Formatter::MultipartForm
            )
        {
            return Ok(());
        }
        // What goes out as it came says so already.
        if writing.verbatim
            && let Some(value) = &self.content_type
            && media::plain_charset(value).is_some()
            && !is_multipart(header_text(value))
        {
            return Ok(());
        }
        let xop = self.axis2.is_true("enableMTOM");
        let action = match writing.formatter {
            Formatter::Related => self.action().map(Cow::into_owned),
            _ => None,
        };
        let version = self.version;
        let own = writing.formatter.content_type(version);
        let text = match (writing.formatter, &mut self.body) {
            (Formatter::Related, Body::Built(built)) => {
                built.make_related(xop);
                match built.parts() {
                    Some(Parts::Related(related)) => {
                        related.content_type(version, action.as_deref())
                    }
                    _ => return Ok(()),
                }
            }
            (Formatter::MultipartForm, Body::Built(built)) => {
                built.make_form();
                match built.parts() {
                    Some(Parts::Form(_, boundary)) => format!("{own}; boundary={boundary}"),
                    _ => return Ok(()),
                }
            }
            _ => {
                let old = self.content_type().map(str::trim).unwrap_or_default();
                let (text, made) = if old.is_empty() || is_multipart(old) {
                    (own, true)
                } else {
                    (old, false)
                };
                let allowed = self
                    .axis2
                    .get("setCharacterEncoding")
                    .is_none_or(|v| !v.text().eq_ignore_ascii_case("false"));
                let name = &writing.charset_name;
                match media::parameter(text, "charset") {
                    Some(charset)
                        if !writing.verbatim
                            && Charset::named(charset) != Some(writing.charset) =>
                    {
                        with_charset(text, name)
                    }
                    None if (add_charset
                        || made
                        || !(writing.verbatim || writing.charset.is_utf8()))
                        && allowed
                        && writing.formatter != Formatter::Binary =>
                    {
                        format!("{text}; charset={name}")
                    }
                    _ => text.to_owned(),
                }
            }
        };
        self.content_type = Some(content_type_header(&text)?);
        Ok(())
    }

    /// The REST form of a SOAP fault in the body: `<Exception>text</Exception>` (spec 01 §11.4).
    pub fn fault_to_rest(&mut self) {
        let Ok(envelope) = self.envelope_mut() else {
            return;
        };
        let Some(fault) = envelope.fault() else {
            return;
        };
        let text = FaultParts::read(envelope, fault).rest_text();
        let body = envelope.body();
        let document = &mut envelope.document;
        document.detach(fault);
        let exception = document.create_element("", "", "Exception");
        document.append_child(body, exception);
        // Text that looks like XML is read as such.
        if text.trim_start().starts_with('<')
            && document
                .parse_into(
                    exception,
                    Bytes::copy_from_slice(text.as_bytes()),
                    &crate::xml::Limits::default(),
                )
                .is_ok()
        {
            return;
        }
        document.set_text(exception, &text);
    }
}

fn is_multipart(content_type: &str) -> bool {
    content_type
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

/// A content type that was made for the body: without it nobody could read what is sent.
pub(super) fn content_type_header(text: &str) -> Result<http::HeaderValue, Fault> {
    http::HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Fault::mediation(format!("{text:?} cannot be sent as Content-Type")))
}

/// A content type with another character set; other parameters stay.
fn with_charset(text: &str, charset: &str) -> String {
    let mut out = media::media_type(text).to_owned();
    for parameter in media::parameters(text) {
        let key = parameter.split('=').next().unwrap_or_default().trim();
        if !key.eq_ignore_ascii_case("charset") {
            out.push_str("; ");
            out.push_str(parameter.trim());
        }
    }
    out.push_str("; charset=");
    out.push_str(charset);
    out
}

/// Whether the bytes that came in are what this formatter would write.
fn fits(came: Came<'_>, formatter: Formatter, xop: bool) -> bool {
    match (came.kind, formatter, came.parts) {
        (PayloadKind::Soap, Formatter::Related, Some(Parts::Related(related))) => {
            related.came().is_some_and(|had| had || !xop)
        }
        (PayloadKind::Soap, Formatter::Soap, Some(Parts::Related(related))) => {
            related.came().is_none()
        }
        (PayloadKind::Soap, Formatter::Soap, None)
        | (PayloadKind::Xml, Formatter::Xml, _)
        | (PayloadKind::Json, Formatter::Json, _)
        | (PayloadKind::Badgerfish, Formatter::Badgerfish, _)
        | (PayloadKind::Text, Formatter::Text, _)
        | (PayloadKind::Binary, Formatter::Binary, _)
        | (PayloadKind::Form, Formatter::Form, _)
        | (PayloadKind::MultipartForm, Formatter::MultipartForm, _) => true,
        _ => false,
    }
}

/// Longest XML declaration that is written, as a rule.
const DECLARATION: usize = 64;

/// About as many bytes as a body has as XML: those that came, or that its outline writes.
fn expected_len(built: &Built) -> usize {
    let len = match (built.outline(), built.came()) {
        (Some(outline), _) => outline.written_len(),
        (None, Some(raw)) => raw.len() + raw.len() / 8,
        (None, None) => 0,
    };
    len.max(256) + DECLARATION
}

fn write(built: &mut Built, writing: &Writing) -> Result<Vec<u8>, Fault> {
    let charset = writing.charset;
    let mut out = match writing.formatter {
        Formatter::Soap | Formatter::Xml => Vec::with_capacity(expected_len(built)),
        _ => Vec::with_capacity(256),
    };
    match writing.formatter {
        Formatter::Soap => write_soap(built, writing, &mut out)?,
        Formatter::Related => {
            let mut soap = Vec::with_capacity(256);
            write_soap(built, writing, &mut soap)?;
            let soap = charset.write(soap, Escape::Xml)?;
            let version = built.envelope()?.version;
            if let Some(Parts::Related(related)) = built.parts() {
                let name = &writing.charset_name;
                multipart::write_related(related, version, charset, name, &soap, &mut out);
            }
            return Ok(out);
        }
        Formatter::Xml => {
            if writing.declaration == Some(true) {
                let standalone = writing
                    .standalone
                    .as_ref()
                    .map_or_else(String::new, |s| format!(" standalone=\"{s}\""));
                let name = &writing.charset_name;
                out.extend_from_slice(
                    format!("<?xml version=\"1.0\" encoding=\"{name}\"{standalone} ?>").as_bytes(),
                );
            }
            if let Some((document, payload)) = payload(built)? {
                write_xml(document, payload, &mut out)?;
            }
        }
        Formatter::Json => {
            if let Some(text) = built.json() {
                out.extend_from_slice(text);
            } else {
                out = built.convert_to_json(writing.preserve_spaces)?;
            }
            return charset.write(out, Escape::Json);
        }
        Formatter::Badgerfish => {
            if let Some((document, payload)) = content(built)? {
                let value = json::badgerfish::from_xml(document, payload).map_err(|e| {
                    Fault::mediation(format!("the body cannot be BadgerFish JSON: {e}"))
                })?;
                json::write(&value, &mut out);
            }
            return charset.write(out, Escape::Json);
        }
        Formatter::Text => {
            if let Some(text) = wrapped(built, "text")? {
                out.extend_from_slice(text.as_bytes());
            } else if let Some(text) = fault_text(built)? {
                out.extend_from_slice(text.as_bytes());
            }
            return charset.write(out, Escape::Question);
        }
        Formatter::Binary => {
            if let Some(text) = wrapped(built, "binary")? {
                out = multipart::decode_base64(text.as_bytes()).map_err(|e| {
                    Fault::mediation(format!("The binary payload is not base64: {e}"))
                })?;
            }
            return Ok(out);
        }
        Formatter::Form => {
            if let Some((document, payload)) = content(built)? {
                form::write(document, payload, charset, &mut out);
            }
            return Ok(out);
        }
        Formatter::MultipartForm => {
            let envelope = built.envelope()?;
            if let (Some(payload), Some(Parts::Form(parts, boundary))) =
                (envelope.convertible()?, built.parts())
            {
                let document = &envelope.document;
                multipart::write_form(document, payload, parts, boundary, charset, &mut out)?;
            }
            return Ok(out);
        }
    }
    charset.write(out, Escape::Xml)
}

/// [`payload`] for another form than XML.
fn content(built: &Built) -> Result<Option<(&Document, NodeId)>, Fault> {
    let envelope = built.envelope()?;
    Ok(envelope.convertible()?.map(|p| (&envelope.document, p)))
}

fn payload(built: &Built) -> Result<Option<(&Document, NodeId)>, Fault> {
    let envelope = built.envelope()?;
    Ok(envelope.payload().map(|p| (&envelope.document, p)))
}

/// The text of the wrapper element around text or binary content; nothing for other elements.
fn wrapped<'a>(built: &'a Built, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    Ok(content(built)?
        .filter(|(document, wrapper)| document.is_element(*wrapper, PAYLOAD_NAMESPACE, name))
        .map(|(document, wrapper)| document.string_value(wrapper)))
}

/// What a fault in the body says: the reference writes nothing, and the client never learns of it.
fn fault_text(built: &Built) -> Result<Option<String>, Fault> {
    let envelope = built.envelope()?;
    envelope.convertible()?;
    if let Some(fault) = envelope.fault() {
        return Ok(Some(FaultParts::read(envelope, fault).rest_text()));
    }
    let exception = envelope
        .payload()
        .filter(|p| envelope.document.is_element(*p, "", "Exception"));
    Ok(exception.map(|p| envelope.document.string_value(p).into_owned()))
}

fn write_soap(built: &mut Built, writing: &Writing, out: &mut Vec<u8>) -> Result<(), Fault> {
    if writing.declaration != Some(false) {
        for part in [
            "<?xml version='1.0' encoding='",
            &writing.charset_name,
            "'?>",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if let Some(outline) = built.outline()
        && outline.write(out)
    {
        return Ok(());
    }
    let envelope = built.envelope_mut()?;
    // The reference never writes an empty Header.
    if let Some(header) = envelope.header()
        && envelope.document.child_elements(header).next().is_none()
    {
        envelope.document.detach(header);
    }
    write_xml(&envelope.document, envelope.root, out)
}

fn write_xml(document: &Document, n: NodeId, out: &mut Vec<u8>) -> Result<(), Fault> {
    writable(document, n)?;
    let most = most_bytes(document);
    match document.write_up_to(n, out, most) {
        true => Ok(()),
        false => Err(Fault::mediation(format!(
            "The body would have more than {most} bytes as XML"
        ))),
    }
}

/// Names and characters that came from JSON or properties may be none that XML has: then there is
/// nothing to send.
fn writable(document: &Document, n: NodeId) -> Result<(), Fault> {
    match document.flaw(n) {
        None => Ok(()),
        Some(flaw) => Err(Fault::mediation(flaw.to_string())),
    }
}
