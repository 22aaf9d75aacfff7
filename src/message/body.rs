//! Body states: untouched stream, collected bytes, built payload (design: moved forward only when
//! someone needs it; spec 01 §2).

use crate::json;
use crate::message::charset::Charset;
use crate::message::coding::Codings;
use crate::message::envelope::{Envelope, NotSoap, SoapVersion};
use crate::message::fault::Fault;
use crate::message::form;
use crate::message::media::{self, Media};
use crate::message::multipart::{self, Part, Related};
use crate::message::outline::{BlockName, Outline};
use crate::message::stream::{BodyStream, StreamError};
use crate::xml;
use base64::Engine;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// How many bytes of a document are looked at for the name of its root.
const LIKELY: usize = 256;

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
    /// A JSON body that is read is parsed whole, not only looked at (spec 01 §2.3).
    pub whole_json: bool,
    /// How JSON and XML are converted into each other.
    pub conversion: Arc<json::Options>,
    /// Limits of bodies in parts.
    pub multipart: multipart::Limits,
    /// `Accept` of a request chooses what its body is written as (spec 01 §2.4).
    pub negotiate: bool,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits {
            max_bytes: 64 << 20,
            xml: xml::Limits::default(),
            json: json::Limits::default(),
            whole_json: false,
            conversion: Arc::default(),
            multipart: multipart::Limits::default(),
            negotiate: true,
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

    /// The same body once more. A stream cannot be in two places and is empty in the copy: collect
    /// it first.
    pub(crate) fn copy(&self) -> Body {
        match self {
            Body::Empty | Body::Stream(_) => Body::Empty,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Built(built) => Body::Built(built.clone()),
        }
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
    /// JSON in the BadgerFish convention, as the XML that it describes.
    Badgerfish,
    /// Text, likewise.
    Text,
    /// Bytes, likewise.
    Binary,
    /// Form fields.
    Form,
    /// Form fields and files in parts.
    MultipartForm,
    /// Nothing.
    Empty,
}

/// A parsed body. The bytes that came in stay until somebody edits the tree.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it was.
    pub kind: PayloadKind,
    /// The bytes that came, without their content coding.
    raw: Option<Bytes>,
    /// The bytes as they came, when they had a content coding.
    coded: Option<(Codings, Bytes)>,
    /// What the content type says that `raw` is written in.
    charset: Charset,
    /// JSON text in UTF-8, when `raw` is not.
    text: Option<Bytes>,
    /// The query of the request, whose fields come before those of a form body.
    query: Option<Box<str>>,
    parts: Option<Box<Parts>>,
    envelope: OnceLock<Envelope>,
    /// Stands for the envelope until somebody asks for that.
    outline: Option<Box<Outline>>,
    replaced: bool,
    /// The server's options for conversions; the default's until they are known.
    conversion: Option<Arc<json::Options>>,
    /// The JSON view, made once and dropped when somebody edits.
    tree: OnceLock<Result<Option<Arc<json::Value>>, String>>,
    /// What JSON may hold to be read.
    json_limits: json::Limits,
}

/// What a body in parts keeps beside its tree.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// The parts of a form, for the files' names and types, and the boundary for a changed form.
    Form(Vec<Part>, String),
    /// What surrounds a SOAP part.
    Related(Related),
}

/// A body to be parsed, and what its message says about it.
#[derive(Debug)]
pub struct Source<'a> {
    /// The bytes, without content coding.
    pub raw: Bytes,
    /// `ContentType`.
    pub content_type: &'a str,
    /// What it means.
    pub media: Media,
    /// The query of a request.
    pub query: Option<&'a str>,
    /// The message is REST (spec 01 §15.3).
    pub rest: bool,
    /// The SOAP version of the placeholder envelope.
    pub version: SoapVersion,
}

/// How much of a body is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Depth {
    /// Whatever can be asked of it.
    Tree,
    /// What an endpoint with addressing does to it, and the text of a header block: a SOAP message gets no tree before
    /// somebody asks for more.
    Outline(Option<BlockName>),
}

impl Built {
    fn new(kind: PayloadKind, raw: Option<Bytes>) -> Built {
        Built {
            kind,
            raw,
            coded: None,
            charset: Charset::UTF_8,
            text: None,
            query: None,
            parts: None,
            envelope: OnceLock::new(),
            outline: None,
            replaced: false,
            conversion: None,
            tree: OnceLock::new(),
            json_limits: json::Limits::default(),
        }
    }

    /// A body that consists of an envelope made here.
    pub fn from_envelope(envelope: Envelope) -> Built {
        let kind = if envelope.synthetic {
            PayloadKind::Xml
        } else {
            PayloadKind::Soap
        };
        Built {
            envelope: OnceLock::from(envelope),
            replaced: true,
            ..Built::new(kind, None)
        }
    }

    /// A body that consists of JSON text made here.
    pub fn from_json(raw: Bytes) -> Built {
        Built::new(PayloadKind::Json, Some(raw))
    }

    /// A body that consists of JSON made here.
    pub fn from_json_value(value: json::Value) -> Built {
        let mut raw = Vec::new();
        json::write(&value, &mut raw);
        Built {
            tree: OnceLock::from(Ok(Some(Arc::new(value)))),
            ..Built::from_json(Bytes::from(raw))
        }
    }

    /// The payload as JSON, for changing it; what is changed is put back as a new body.
    ///
    /// # Errors
    /// As [`Built::json_tree`].
    pub fn take_json_tree(&mut self) -> Result<Option<json::Value>, String> {
        self.json_tree()?;
        Ok(match self.tree.take() {
            Some(Ok(Some(tree))) => Some(Arc::unwrap_or_clone(tree)),
            _ => None,
        })
    }

    /// A body that consists of text made here, in UTF-8.
    pub fn from_text(raw: Bytes) -> Built {
        Built::new(PayloadKind::Text, Some(raw))
    }

    /// A plain XML body made here, with the envelope that shows it.
    pub fn from_xml(raw: Bytes, envelope: Envelope) -> Built {
        Built::ready(PayloadKind::Xml, raw, envelope)
    }

    /// The placeholder for a message without body.
    pub fn empty(version: SoapVersion) -> Built {
        Built {
            envelope: OnceLock::from(Envelope::empty(version)),
            ..Built::new(PayloadKind::Empty, None)
        }
    }

    /// The fields of a query as a body (spec 01 §15.3).
    pub(super) fn query_fields(query: &str, version: SoapVersion) -> Built {
        let mut envelope = Envelope::empty(version);
        let body = envelope.body();
        let fields = form::fields(query.as_bytes(), Charset::UTF_8);
        form::append(&mut envelope.document, body, fields);
        envelope.document.settle();
        Built {
            envelope: OnceLock::from(envelope),
            ..Built::new(PayloadKind::Form, None)
        }
    }

    fn ready(kind: PayloadKind, raw: Bytes, envelope: Envelope) -> Built {
        Built {
            envelope: OnceLock::from(envelope),
            ..Built::new(kind, Some(raw))
        }
    }

    fn outlined(raw: Bytes, outline: Outline) -> Built {
        Built {
            outline: Some(Box::new(outline)),
            ..Built::new(PayloadKind::Soap, Some(raw))
        }
    }

    /// The outline, while nobody has asked for the tree.
    pub(super) fn outline(&self) -> Option<&Outline> {
        match self.envelope.get() {
            None => self.outline.as_deref(),
            Some(_) => None,
        }
    }

    /// As [`Built::outline`], to be changed.
    pub(super) fn outline_mut(&mut self) -> Option<&mut Outline> {
        match self.envelope.get() {
            None => self.outline.as_deref_mut(),
            Some(_) => None,
        }
    }

    /// The version of a SOAP body.
    pub(super) fn soap_version(&self) -> Option<SoapVersion> {
        match self.outline() {
            Some(outline) => Some(outline.version()),
            None => self.envelope.get().map(|envelope| envelope.version),
        }
    }

    /// Remembers the bytes as they came, with their content coding.
    pub(super) fn set_coded(&mut self, codings: Codings, bytes: Bytes) {
        self.coded = Some((codings, bytes));
    }

    /// The bytes as they came with these codings, while the decoded bytes are still what is sent.
    pub(super) fn coded(&self, codings: Codings) -> Option<&Bytes> {
        let (own, bytes) = self.coded.as_ref()?;
        (*own == codings).then_some(bytes)
    }

    /// Parses bytes as their content type says (spec 01 §2.3, §16.2).
    ///
    /// # Errors
    /// 601000 for text that a parser refuses, 0 for what is wrong around it (spec 01 §2.5).
    pub fn parse(source: Source<'_>, limits: &BodyLimits) -> Result<Built, Fault> {
        Built::parse_to(source, Depth::Tree, limits)
    }

    /// As [`Built::parse`], as far as is wanted.
    pub(super) fn parse_to(
        source: Source<'_>,
        depth: Depth,
        limits: &BodyLimits,
    ) -> Result<Built, Fault> {
        let Source {
            raw,
            content_type,
            media,
            query,
            rest,
            version,
        } = source;
        let name = media::parameter(content_type, "charset");
        let charset = name.and_then(Charset::named).unwrap_or(Charset::UTF_8);
        let mut built = match media {
            // Any text/xml document whose root is an envelope is SOAP, with or without a
            // SOAPAction header; others are plain XML.
            Media::TextXml => reading(&raw, name, |text| {
                if let Some(outline) = outline(&text, depth, limits) {
                    Ok(Built::outlined(raw.clone(), outline))
                } else if likely_envelope(&text) {
                    match Envelope::parse(text.clone(), &limits.xml) {
                        Err(NotSoap::OtherRoot(_)) => plain(&raw, text, limits),
                        parsed => {
                            let envelope = parsed.map_err(not_soap)?;
                            Ok(Built::ready(PayloadKind::Soap, raw.clone(), envelope))
                        }
                    }
                } else if root_is_envelope(&text) {
                    soap(&raw, text, limits)
                } else {
                    plain(&raw, text, limits)
                }
            })?,
            Media::SoapXml => {
                let built = reading(&raw, name, |text| match outline(&text, depth, limits) {
                    Some(outline) => Ok(Built::outlined(raw.clone(), outline)),
                    None => soap(&raw, text, limits),
                })?;
                if built.soap_version() != Some(SoapVersion::V12) {
                    return Err(Fault::mediation(
                        "Transport level information does not match with SOAP Message namespace URI",
                    ));
                }
                built
            }
            Media::Other if !rest => reading(&raw, name, |text| soap(&raw, text, limits))?,
            Media::Xml | Media::Other => reading(&raw, name, |text| plain(&raw, text, limits))?,
            Media::Json => return parse_json(raw, charset, limits, version),
            Media::Badgerfish => {
                let wrong = |e: String| {
                    Fault::mediation(format!("the body is not BadgerFish JSON: {e}")).of_client()
                };
                let value = json::parse(&charset_text(&raw, charset), &limits.json)
                    .map_err(|e| wrong(e.to_string()))?;
                let mut envelope = Envelope::empty(SoapVersion::V11);
                let body = envelope.body();
                json::badgerfish::to_xml(&value, &mut envelope.document, body).map_err(wrong)?;
                envelope.document.settle();
                Built::ready(PayloadKind::Badgerfish, raw, envelope)
            }
            Media::Text => Built::new(PayloadKind::Text, Some(raw)),
            Media::Form => Built {
                query: query.map(Into::into),
                ..Built::new(PayloadKind::Form, Some(raw))
            },
            Media::Binary => Built::new(PayloadKind::Binary, Some(raw)),
            Media::MultipartForm => {
                let parts = multipart::parse(&raw, content_type, limits.multipart)?;
                let mut envelope = Envelope::empty(SoapVersion::V11);
                let body = envelope.body();
                multipart::append_form(&mut envelope.document, body, &parts, charset)?;
                envelope.document.settle();
                let parts = Parts::Form(parts, multipart::new_boundary());
                Built {
                    parts: Some(Box::new(parts)),
                    ..Built::ready(PayloadKind::MultipartForm, raw, envelope)
                }
            }
            Media::Related => {
                let parts = multipart::parse(&raw, content_type, limits.multipart)?;
                let (soap, own, related) = Related::split(parts, content_type, limits)?;
                let text =
                    xml::decode(soap, media::parameter(&own, "charset")).map_err(malformed)?;
                Built {
                    parts: Some(Box::new(Parts::Related(related))),
                    ..Built::ready(PayloadKind::Soap, raw, parse_soap(text, limits)?)
                }
            }
        };
        built.charset = charset;
        Ok(built)
    }

    /// Sets what JSON may hold to be read.
    pub(super) fn set_json_limits(&mut self, limits: json::Limits) {
        self.json_limits = limits;
    }

    /// Gives a body that was made here the server's options and limits.
    pub fn adopt(&mut self, limits: &BodyLimits) {
        self.set_conversion(&limits.conversion);
        self.set_json_limits(limits.json);
    }

    /// Sets how JSON and XML are converted into each other.
    pub fn set_conversion(&mut self, options: &Arc<json::Options>) {
        if self.conversion.is_none() {
            self.conversion = Some(options.clone());
            // JSON is read as it is, whatever the options.
            if self.kind != PayloadKind::Json {
                self.tree = OnceLock::new();
            }
        }
    }

    /// The payload as JSON text, made from its XML; `PRESERVE_SPACES` keeps blank text of leaves.
    ///
    /// # Errors
    /// Content that JSON cannot have, such as text beside elements.
    pub fn convert_to_json(&self, preserve_spaces: bool) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        if let Some(value) = self.convert_to_value(preserve_spaces)? {
            json::write(&value, &mut out);
        }
        Ok(out)
    }

    fn convert_to_value(&self, preserve_spaces: bool) -> Result<Option<json::Value>, Fault> {
        let envelope = self.envelope()?;
        let Some(payload) = envelope.convertible()? else {
            return Ok(None);
        };
        let own;
        let options = match &self.conversion {
            Some(options) if !preserve_spaces => options,
            given => {
                own = json::Options {
                    preserve_spaces,
                    ..given.as_deref().cloned().unwrap_or_default()
                };
                &own
            }
        };
        json::xml::to_value(&envelope.document, payload, options)
            .map(Some)
            .map_err(|e| Fault::mediation(e.to_string()))
    }

    /// What the bytes that came are written in.
    pub(super) fn charset(&self) -> Charset {
        self.charset
    }

    /// What the body keeps of its parts.
    pub(super) fn parts(&self) -> Option<&Parts> {
        self.parts.as_deref()
    }

    /// What surrounds the SOAP part when the body is written as `multipart/related`.
    pub(super) fn make_related(&mut self, xop: bool) {
        match self.parts.as_deref_mut() {
            Some(Parts::Related(related)) => {
                if xop {
                    related.set_xop();
                }
            }
            _ => {
                let related = Related::new(xop, usize::MAX);
                self.parts = Some(Box::new(Parts::Related(related)));
            }
        }
    }

    /// What surrounds a form that is written in parts.
    pub(super) fn make_form(&mut self) {
        if !matches!(self.parts.as_deref(), Some(Parts::Form(..))) {
            let form = Parts::Form(Vec::new(), multipart::new_boundary());
            self.parts = Some(Box::new(form));
        }
    }

    /// Puts attachments that the envelope refers to into the envelope, for forms without
    /// attachments.
    pub(super) fn inline_attachments(&mut self) -> Result<(), Fault> {
        if let Some(Parts::Related(_)) = self.parts.as_deref() {
            self.envelope()?;
            if let (Some(Parts::Related(related)), Some(envelope)) =
                (self.parts.as_deref(), self.envelope.get_mut())
            {
                related.inline(envelope)?;
            }
        }
        Ok(())
    }

    /// The contents of the parts beside a SOAP part, in their transfer encoding.
    pub fn attachments(&self) -> impl Iterator<Item = &Bytes> {
        let related = match self.parts.as_deref() {
            Some(Parts::Related(related)) => Some(related),
            _ => None,
        };
        related.into_iter().flat_map(Related::contents)
    }

    /// The bytes that came in, while they still say what the tree says.
    pub fn unchanged(&self) -> Option<&Bytes> {
        let edited = match self.envelope.get() {
            Some(envelope) => self.replaced || envelope.document.is_modified(),
            None => self.outline.as_ref().is_some_and(|o| !o.is_unchanged()),
        };
        if edited { None } else { self.raw.as_ref() }
    }

    /// The bytes that came in, whatever became of them.
    pub(super) fn came(&self) -> Option<&Bytes> {
        self.raw.as_ref()
    }

    /// The JSON text, while the payload is JSON that nobody replaced.
    pub fn json(&self) -> Option<&Bytes> {
        if self.kind == PayloadKind::Json {
            let raw = self.unchanged()?;
            Some(self.text.as_ref().unwrap_or(raw))
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

    /// The envelope while it is there. One that would only be made to show a body that is not XML has no header blocks,
    /// and its payload is no fault.
    pub(super) fn made_envelope(&self) -> Option<&Envelope> {
        self.envelope.get()
    }

    /// The envelope for editing.
    pub fn envelope_mut(&mut self) -> Result<&mut Envelope, Fault> {
        self.envelope()?;
        self.outline = None;
        self.tree = OnceLock::new();
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
        self.outline = None;
        self.raw = None;
        self.coded = None;
        self.text = None;
        self.replaced = true;
        self.tree = OnceLock::new();
    }

    /// The body as JSON: the payload itself, or what its XML form converts to; `None` when there is
    /// nothing (spec 05 §4.1, §5.5). Parsed once, however often it is asked for.
    ///
    /// # Errors
    /// Why there is no JSON form.
    pub fn json_tree(&self) -> Result<Option<&json::Value>, String> {
        let tree = self
            .tree
            .get_or_init(|| self.make_tree().map(|tree| tree.map(Arc::new)));
        tree.as_ref().map(Option::as_deref).map_err(Clone::clone)
    }

    fn make_tree(&self) -> Result<Option<json::Value>, String> {
        if let Some(raw) = self.json() {
            return json::parse(raw, &self.json_limits)
                .map(Some)
                .map_err(|e| e.to_string());
        }
        if self.kind == PayloadKind::Empty {
            return Ok(None);
        }
        match self.convert_to_value(false).map_err(|f| f.message)? {
            Some(tree) if tree.depth() > json::MAX_DEPTH => {
                Err("the body is nested too deeply for JSON".to_owned())
            }
            tree => Ok(tree),
        }
    }

    fn make_envelope(&self) -> Result<Envelope, Fault> {
        if let Some(outline) = &self.outline {
            return outline.envelope();
        }
        let mut envelope = Envelope::empty(SoapVersion::V11);
        let body = envelope.body();
        let Some(raw) = &self.raw else {
            return Ok(envelope);
        };
        let document = &mut envelope.document;
        match self.kind {
            PayloadKind::Json => {
                json::to_xml(
                    self.text.as_ref().unwrap_or(raw),
                    document,
                    body,
                    self.conversion
                        .as_deref()
                        .unwrap_or(&json::Options::default()),
                    &self.json_limits,
                )
                .map_err(|e| Fault::malformed(e.to_string()))?;
            }
            PayloadKind::Form => {
                let query = self.query.as_deref().unwrap_or_default();
                let fields = form::fields(query.as_bytes(), Charset::UTF_8)
                    .chain(form::fields(raw, self.charset));
                form::append(document, body, fields);
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
                let text = xml_text(&self.charset.read_lossy(raw));
                document.set_text(wrapper, &text);
                document.append_child(body, wrapper);
            }
            PayloadKind::Soap
            | PayloadKind::Xml
            | PayloadKind::MultipartForm
            | PayloadKind::Badgerfish
            | PayloadKind::Empty => {}
        }
        // The view shows the bytes; only what is edited from here on replaces them.
        envelope.document.settle();
        Ok(envelope)
    }
}

/// Characters that XML cannot hold become U+FFFD, so that a text body never makes bad XML.
pub(super) fn xml_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Decodes bytes and reads all of their text. Bytes that are not what they are said to be are named as that, whatever
/// reading them found first.
fn reading<T>(
    raw: &Bytes,
    charset: Option<&str>,
    read: impl FnOnce(Bytes) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let text = xml::decode_to_read(raw.clone(), charset).map_err(malformed)?;
    read(text).or_else(|fault| {
        xml::decode(raw.clone(), charset).map_err(malformed)?;
        Err(fault)
    })
}

/// A SOAP message and its text.
fn soap(raw: &Bytes, text: Bytes, limits: &BodyLimits) -> Result<Built, Fault> {
    let envelope = parse_soap(text, limits)?;
    Ok(Built::ready(PayloadKind::Soap, raw.clone(), envelope))
}

/// Plain XML and its text.
fn plain(raw: &Bytes, text: Bytes, limits: &BodyLimits) -> Result<Built, Fault> {
    let envelope = Envelope::wrap(text, &limits.xml).map_err(malformed)?;
    Ok(Built::ready(PayloadKind::Xml, raw.clone(), envelope))
}

/// Whether the beginning says "Envelope": then the tree tells what its root is, and nothing is read
/// twice.
fn likely_envelope(text: &Bytes) -> bool {
    let start = text.get(..LIKELY).unwrap_or(text);
    memchr::memmem::find(start, b"Envelope").is_some()
}

fn root_is_envelope(text: &Bytes) -> bool {
    use crate::message::envelope::{SOAP11, SOAP12};
    matches!(
        xml::root_name(text),
        xml::RootName::Found { namespace, local }
            if local == "Envelope" && (namespace == SOAP11 || namespace == SOAP12)
    )
}

fn malformed(error: xml::XmlError) -> Fault {
    Fault::malformed(error.to_string())
}

/// The bytes in UTF-8.
fn charset_text(raw: &Bytes, charset: Charset) -> Bytes {
    if charset.is_utf8() {
        raw.clone()
    } else {
        charset.read_lossy(raw).into()
    }
}

fn parse_json(
    raw: Bytes,
    charset: Charset,
    limits: &BodyLimits,
    version: SoapVersion,
) -> Result<Built, Fault> {
    let text = (!charset.is_utf8()).then(|| Bytes::from(charset.read_lossy(&raw)));
    let bytes = text.as_ref().unwrap_or(&raw);
    let kind = json::classify(bytes);
    if limits.whole_json && !matches!(kind, json::Kind::Empty | json::Kind::Invalid) {
        json::parse(bytes, &limits.json).map_err(|e| Fault::malformed(e.to_string()))?;
    }
    match kind {
        json::Kind::Empty => Ok(Built::empty(version)),
        json::Kind::Invalid => Err(Fault::mediation(
            "#getNewJsonPayload. Could not save JSON payload. Invalid input stream found. Payload is not a JSON string.",
        )
        .of_client()),
        _ => Ok(Built {
            text,
            charset,
            ..Built::new(PayloadKind::Json, Some(raw))
        }),
    }
}

fn parse_soap(text: Bytes, limits: &BodyLimits) -> Result<Envelope, Fault> {
    Envelope::parse(text, &limits.xml).map_err(not_soap)
}

/// The outline of a text that has one, if no more is wanted.
fn outline(text: &Bytes, depth: Depth, limits: &BodyLimits) -> Option<Outline> {
    match depth {
        Depth::Outline(block) => Outline::read(text, &limits.xml, block),
        Depth::Tree => None,
    }
}

pub(super) fn not_soap(error: NotSoap) -> Fault {
    match error {
        NotSoap::Malformed(e) => malformed(e),
        // No parser refused these, so that the reference gives no code (spec 01 §2.5).
        NotSoap::OtherRoot(name) => Fault::mediation(format!(
            "First Element must contain the local name, Envelope , but found {name}"
        ))
        .of_client(),
        NotSoap::NoBody => Fault::mediation("The SOAP envelope has no Body").of_client(),
    }
}
