//! The message: body, headers, addressing, properties by scope, and its fault stack.
//!
//! All state of one message lives here; compiled mediators and endpoints hold none.

pub mod addressing;
mod answers;
pub mod body;
pub mod charset;
pub mod coding;
pub mod envelope;
pub mod exchange;
pub mod fault;
pub mod form;
pub mod format;
pub mod handler;
mod headers;
pub mod limited;
pub mod media;
pub mod multipart;
pub mod outgoing;
mod outline;
pub mod props;
pub mod request;
pub mod split;
pub mod stream;
pub mod template;
pub mod value;

pub use answers::{Answer, Answers};
pub use body::{Body, BodyLimits, Built, PayloadKind};
pub use envelope::{Envelope, SoapVersion};
pub use exchange::{ClientFormat, Exchange};
pub use fault::Fault;
pub use handler::{EndpointId, Handler, SequenceId};
pub use outline::BlockName;
pub use props::Props;
pub use split::{Split, SplitMark};
pub use template::{Parameter, TemplateCall};
pub use value::{Value, ValueType};

use crate::message::body::Depth;
use crate::message::media::Media;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri};
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

/// `SOAPAction` of SOAP 1.1.
pub const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");
/// Correlation header (spec 01 §15.1).
pub const ACTIVITY_ID: HeaderName = HeaderName::from_static("activityid");
/// The WS-Addressing address that means "back to the sender".
pub const ANONYMOUS: &str = "http://www.w3.org/2005/08/addressing/anonymous";

/// Which way the message flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Request,
    /// To the client.
    Response,
}

/// The `To` of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The path and query of the request, as every request starts.
    RequestUri,
    /// Set by an artifact.
    Address(String),
    /// Read from a WS-Addressing header of the message. Shown like any other, but the message's
    /// sender does not choose where this process connects to unless a setting allows it.
    Header(String),
    /// Removed, or the anonymous address of responses: the client.
    Client,
}

/// An endpoint's address, without what a message appends.
#[derive(Clone, Debug)]
pub struct Called {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port as the address has them.
    pub host: HeaderValue,
    /// Path and query.
    pub path: http::uri::PathAndQuery,
}

impl std::fmt::Display for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme,
            header_text(&self.host),
            self.path
        )
    }
}

/// One message on its way through the mediators.
#[derive(Debug)]
pub struct Message {
    /// The internal direction; see [`Message::is_response`].
    pub direction: Direction,
    /// The method of the request.
    pub method: Method,
    /// How much of the path of the request target names the service, in bytes; 0 when all of it
    /// does. For `SERVICE_PREFIX`.
    pub service_end: usize,
    /// Whether the client's document was SOAP; `None` while nobody has looked.
    pub client_soap: Option<bool>,
    /// The request of a SOAP client went out as REST because its endpoint says so (spec 01 §18.1).
    pub sent_as_rest: bool,
    /// The request target as it came.
    pub uri: Uri,
    /// What follows the service name in the path, from its `/` or `?` (spec 01 §6.4), as offset
    /// into the request target's path and query; `None` when empty.
    pub rest_postfix: Option<String>,
    /// Destination.
    pub to: To,
    /// WS-Addressing `From`.
    pub from: Option<String>,
    /// WS-Addressing `ReplyTo`.
    pub reply_to: Option<String>,
    /// WS-Addressing `FaultTo`.
    pub fault_to: Option<String>,
    /// WS-Addressing `RelatesTo`.
    pub relates_to: Option<String>,
    /// WS-Addressing `MessageID`; made from the correlation id when absent.
    pub message_id: Option<String>,
    action: Option<Option<String>>,
    /// Transport headers. Names compare without case.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// axis2 `ContentType`: what the body is now.
    pub content_type: Option<HeaderValue>,
    /// axis2 `messageType` when it was set: what the body shall be written as.
    pub message_type: Option<String>,
    /// Status of a response.
    pub status: Option<u16>,
    /// Reason phrase of a response.
    pub reason: Option<hyper::ext::ReasonPhrase>,
    /// SOAP version of the placeholder envelope and of built SOAP bodies.
    pub version: SoapVersion,
    /// The message is REST in the sense of spec 01 §15.3.
    pub rest: bool,
    /// Default-scope properties.
    pub properties: Props,
    /// Variables of the `variable` mediator; like properties they stay when the response comes.
    pub variables: Props,
    /// Properties of scope `axis2` that were set; well-known ones are also shown from fields.
    pub axis2: Props,
    /// Properties of scope `axis2-client`.
    pub client_options: Props,
    /// Properties of scope `analytics`.
    pub analytics: Props,
    /// What the `cache` mediator remembers between a request and its response.
    pub cache: Option<Arc<dyn Any + Send + Sync>>,
    /// Fault handlers, innermost last.
    pub fault_stack: Vec<Handler>,
    /// Where its last request to an endpoint with an address went.
    pub called: Option<Called>,
    /// A leaf endpoint has been tried since the last `send` or `call` began (spec 02 §13.1).
    pub last_endpoint: bool,
    /// Endpoint attempts made for this request.
    pub attempts: u32,
    /// What its body is, when an expression read that from its bytes: everything but the body itself is then as if
    /// it had been built.
    pub looked: Option<PayloadKind>,
    /// Answers of expressions that were read from the bytes of the body, for the step at hand.
    pub answers: Answers,
    /// How many sequences are running inside each other.
    pub depth: u32,
    /// It has waited for a response since its part of the flow began: what stands behind that part
    /// runs for it too (spec 01 §8.3).
    pub resumed: bool,
    /// The splits that it is a copy of, outermost first.
    pub splits: Vec<SplitMark>,
    /// Parameters of the templates that are running, innermost last.
    pub templates: Vec<Arc<TemplateCall>>,
    /// The header mediator or an addressing header touched WS-Addressing fields of a built body.
    pub addressing_read: bool,
    /// Forms of content types that the settings name, if any.
    pub types: Option<Arc<media::MediaTypes>>,
}

impl Message {
    /// A request as it arrived. The body state decides itself from the headers.
    pub fn request(method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Message {
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let (version, rest) = kind_of(content_type.as_ref());
        Message {
            direction: Direction::Request,
            method,
            service_end: 0,
            client_soap: None,
            sent_as_rest: false,
            uri,
            rest_postfix: None,
            to: To::RequestUri,
            from: None,
            reply_to: None,
            fault_to: None,
            relates_to: None,
            message_id: None,
            action: None,
            headers,
            body,
            content_type,
            message_type: None,
            status: None,
            reason: None,
            version,
            rest,
            properties: Props::new(),
            variables: Props::new(),
            axis2: Props::new(),
            client_options: Props::new(),
            analytics: Props::new(),
            cache: None,
            fault_stack: Vec::new(),
            called: None,
            last_endpoint: false,
            attempts: 0,
            looked: None,
            answers: Answers::default(),
            depth: 0,
            resumed: false,
            splits: Vec::new(),
            templates: Vec::new(),
            addressing_read: false,
            types: None,
        }
    }

    /// Turns this message into the response that a back-end gave to it (spec 01 §8.2): default-scope
    /// properties and variables stay, everything else is the response's.
    pub fn become_response(&mut self, head: http::response::Parts, body: Body) {
        self.body = body;
        self.content_type = head.headers.get(CONTENT_TYPE).cloned();
        self.headers = head.headers;
        self.message_type = None;
        self.status = Some(head.status.as_u16());
        self.reason = head.extensions.get::<hyper::ext::ReasonPhrase>().cloned();
        self.axis2.clear();
        if head.status == http::StatusCode::ACCEPTED {
            // Wins over HTTP_SC until somebody removes it (spec 01 §1.5).
            self.axis2.set("SC_ACCEPTED", Value::Boolean(true));
        }
        self.client_options.clear();
        self.to = To::Client;
        self.from = None;
        self.relates_to = self.message_id.take();
        self.action = Some(None);
        self.rest_postfix = None;
        self.addressing_read = false;
        self.looked = None;
        match self.media() {
            Some(Media::TextXml) => self.version = SoapVersion::V11,
            Some(Media::SoapXml) => self.version = SoapVersion::V12,
            Some(Media::Related) => self.version = related_version(self.content_type.as_ref()),
            None if !matches!(self.body, Body::Empty) => {
                self.content_type = Some(HeaderValue::from_static("application/octet-stream"));
            }
            _ => {}
        }
    }

    /// After a blocking call: everything but body, properties and variables is the request's again
    /// (spec 01 §7.2). `request` is a [`Message::shell`] of it. Response headers stay if the property
    /// `BLOCKING_SENDER_PRESERVE_REQ_HEADERS` is `false`.
    pub fn go_on_as(&mut self, mut request: Message) {
        let soap = matches!(&self.body, Body::Built(b) if b.kind == PayloadKind::Soap);
        if soap {
            request.version = self.version;
        }
        let came = self.status.is_some();
        if came && self.properties.str("BLOCKING_SENDER_PRESERVE_REQ_HEADERS") == Some("false") {
            request.headers = std::mem::take(&mut self.headers);
        }
        request.body = std::mem::take(&mut self.body);
        request.properties = std::mem::take(&mut self.properties);
        request.variables = std::mem::take(&mut self.variables);
        request.fault_stack = std::mem::take(&mut self.fault_stack);
        request.splits = std::mem::take(&mut self.splits);
        request.last_endpoint = self.last_endpoint;
        request.attempts = self.attempts;
        *self = request;
    }

    /// A copy for a branch, independent of this message: body, headers and properties of every scope
    /// are its own. A body that is still on its way is collected first.
    ///
    /// # Errors
    /// When the body cannot be read to its end.
    pub async fn copy(&mut self, limits: &BodyLimits) -> Result<Message, Fault> {
        self.body.collect(limits.max_bytes).await?;
        Ok(self.duplicate())
    }

    /// As [`Message::copy`] for a body that is in memory; one that is still on its way is empty in
    /// the copy.
    pub fn duplicate(&self) -> Message {
        self.with_body(self.body.copy())
    }

    /// A copy without body.
    pub fn shell(&self) -> Message {
        self.with_body(Body::Empty)
    }

    /// A copy that takes the body along: this message has none then.
    pub fn hand_over(&mut self) -> Message {
        let body = std::mem::take(&mut self.body);
        self.with_body(body)
    }

    fn with_body(&self, body: Body) -> Message {
        Message {
            direction: self.direction,
            method: self.method.clone(),
            service_end: self.service_end,
            client_soap: self.client_soap,
            sent_as_rest: self.sent_as_rest,
            uri: self.uri.clone(),
            rest_postfix: self.rest_postfix.clone(),
            to: self.to.clone(),
            from: self.from.clone(),
            reply_to: self.reply_to.clone(),
            fault_to: self.fault_to.clone(),
            relates_to: self.relates_to.clone(),
            message_id: self.message_id.clone(),
            action: self.action.clone(),
            headers: self.headers.clone(),
            body,
            content_type: self.content_type.clone(),
            message_type: self.message_type.clone(),
            status: self.status,
            reason: self.reason.clone(),
            version: self.version,
            rest: self.rest,
            properties: self.properties.clone(),
            variables: self.variables.clone(),
            axis2: self.axis2.clone(),
            client_options: self.client_options.clone(),
            analytics: self.analytics.clone(),
            cache: self.cache.clone(),
            fault_stack: self.fault_stack.clone(),
            called: self.called.clone(),
            last_endpoint: self.last_endpoint,
            attempts: self.attempts,
            depth: self.depth,
            looked: self.looked,
            answers: Answers::default(),
            resumed: self.resumed,
            splits: self.splits.clone(),
            templates: self.templates.clone(),
            addressing_read: self.addressing_read,
            types: self.types.clone(),
        }
    }

    /// Whether it counts as a response: the string property `RESPONSE` wins (spec 01 §1.1).
    pub fn is_response(&self) -> bool {
        match self.properties.str("RESPONSE") {
            Some(text) => text.eq_ignore_ascii_case("true"),
            None => self.direction == Direction::Response,
        }
    }

    /// The text of `To`; `None` when it was removed.
    pub fn to_address(&self) -> Option<Cow<'_, str>> {
        match &self.to {
            To::RequestUri => Some(Cow::Borrowed(
                self.uri.path_and_query().map_or("/", |p| p.as_str()),
            )),
            To::Address(a) | To::Header(a) => Some(Cow::Borrowed(a)),
            To::Client => (self.direction == Direction::Response && self.status.is_some())
                .then_some(Cow::Borrowed(ANONYMOUS)),
        }
    }

    /// WS-Addressing action and `SOAPAction`, which are one field (spec 01 §1.1).
    pub fn action(&self) -> Option<Cow<'_, str>> {
        if let Some(set) = &self.action {
            return set.as_deref().map(Cow::Borrowed);
        }
        let text = match self.version {
            SoapVersion::V12 if !self.rest => {
                let content_type = self.content_type.as_ref().map(header_text)?;
                media::parameter(content_type, "action")
            }
            _ => self.headers.get(SOAP_ACTION).map(header_text),
        }?;
        let text = text.trim().trim_matches('"');
        (!text.is_empty()).then_some(Cow::Borrowed(text))
    }

    /// Sets or removes the action.
    pub fn set_action(&mut self, action: Option<String>) {
        self.action = Some(action);
    }

    /// Whether the action was set by an artifact or an addressing header.
    pub fn action_is_set(&self) -> bool {
        self.action.is_some()
    }

    /// The message id, made from the correlation id when nothing else set it.
    pub fn message_id(&self) -> Option<Cow<'_, str>> {
        match &self.message_id {
            Some(id) => Some(Cow::Borrowed(id)),
            None => self
                .correlation_id()
                .map(|id| Cow::Owned(format!("urn:uuid:{id}"))),
        }
    }

    /// The correlation id.
    pub fn correlation_id(&self) -> Option<&str> {
        self.axis2
            .str("CORRELATION_ID")
            .or_else(|| self.headers.get(ACTIVITY_ID).map(header_text))
    }

    /// The content type as text.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_ref().map(header_text)
    }

    /// The media type that formatters go by: `messageType` when set, else that of the content type.
    pub fn effective_message_type(&self) -> Option<&str> {
        match &self.message_type {
            Some(set) => Some(set),
            None => self.content_type().map(media::media_type),
        }
    }

    /// How a body of the content type is read.
    pub fn media(&self) -> Option<Media> {
        match &self.types {
            None => self.content_type.as_ref().map(Media::of_header),
            Some(types) => self.content_type().map(|name| types.builder(name)),
        }
    }

    /// How the body is written: the class of [`Message::effective_message_type`].
    pub fn effective_media(&self) -> Option<Media> {
        match (&self.types, &self.message_type) {
            (None, Some(set)) => Some(Media::of(set)),
            (None, None) => self.media(),
            (Some(types), _) => {
                let is_binary =
                    matches!(&self.body, Body::Built(b) if b.kind == PayloadKind::Binary);
                let name = self.effective_message_type()?;
                Some(types.formatter(name, is_binary))
            }
        }
    }

    /// Whether the body has been parsed.
    pub fn is_built(&self) -> bool {
        matches!(self.body, Body::Built(_))
    }

    /// Parses the body if nobody did (spec 01 §2.3), reading at most the limit.
    ///
    /// # Errors
    /// 601000 for a malformed body, which is dropped then; the message has an empty envelope.
    pub async fn build(&mut self, limits: &BodyLimits) -> Result<&mut Built, Fault> {
        self.build_to(Depth::Tree, limits).await
    }

    /// As [`Message::build`], for an endpoint with addressing: a SOAP body whose tree nobody needs for that gets none
    /// before somebody asks for it. `block` is the header block that is asked for next.
    ///
    /// # Errors
    /// As [`Message::build`].
    pub async fn outline(
        &mut self,
        block: Option<BlockName>,
        limits: &BodyLimits,
    ) -> Result<&mut Built, Fault> {
        self.build_to(Depth::Outline(block), limits).await
    }

    /// The text of the first header block with this name, of a built body.
    pub fn header_block(&self, name: BlockName) -> Option<Cow<'_, str>> {
        if let Body::Built(built) = &self.body
            && let Some(outline) = built.outline()
            && let Some(text) = outline.block(name)
        {
            return text.map(Cow::Borrowed);
        }
        let envelope = self.envelope()?;
        let document = &envelope.document;
        let found = document.child_element(envelope.header()?, name.namespace, name.local)?;
        Some(document.string_value(found))
    }

    async fn build_to(&mut self, depth: Depth, limits: &BodyLimits) -> Result<&mut Built, Fault> {
        if !self.is_built() {
            let outcome = self.body.collect(limits.max_bytes).await;
            let outcome = match outcome {
                Ok(()) => self.parse(depth, limits),
                Err(fault) => Err(fault),
            };
            let built = match outcome {
                Ok(built) => built,
                Err(fault) => return Err(self.without_body(fault)),
            };
            // What has an outline has no addressing headers.
            let outlined = built.outline().is_some();
            self.body = Body::Built(Box::new(built));
            if !outlined {
                self.read_addressing();
            }
        }
        match &mut self.body {
            Body::Built(built) => Ok(built),
            _ => Err(Fault::mediation("the body was not built")),
        }
    }

    /// Drops a body that cannot be read.
    fn without_body(&mut self, mut fault: Fault) -> Fault {
        self.body = Body::Built(Box::new(Built::empty(self.version)));
        // A back-end that sends too much is not the client's fault (spec 01 §15.1).
        if self.status.is_some() && fault.status == Some(413) {
            fault.status = Some(502);
        }
        fault
    }

    /// Gives a request that does not say the type of its body one (spec 01 §15.3).
    pub fn assume_content_type(&mut self, value: HeaderValue) {
        (self.version, self.rest) = kind_of(Some(&value));
        self.content_type = Some(value);
    }

    /// How the bytes of the body would be parsed, when that is as XML in UTF-8 and they are at hand or on their way;
    /// `true` when it is certain that they are in UTF-8.
    pub fn xml_media(&self) -> Option<(Media, bool)> {
        self.body.seen()?;
        if !coding::Codings::of(&self.headers).ok()?.is_identity() {
            return None;
        }
        let value = self.content_type.as_ref()?;
        let charset =
            media::plain_charset(value).or_else(|| media::parameter(header_text(value), "charset"));
        let utf8 = match charset {
            Some(charset) if charset.eq_ignore_ascii_case("utf-8") => true,
            Some(_) => return None,
            None => false,
        };
        let media = self.media()?;
        let plain = media == Media::Other && self.rest;
        (plain || matches!(media, Media::TextXml | Media::SoapXml | Media::Xml))
            .then_some((media, utf8))
    }

    /// Waits for more bytes of a body that is looked at.
    ///
    /// # Errors
    /// As [`Message::build`].
    pub async fn look(&mut self, limits: &BodyLimits) -> Result<(), Fault> {
        match self.body.look(limits.max_bytes).await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.without_body(fault)),
        }
    }

    /// Takes from the kind of a body that was looked at what building it would have shown: `Some` is the version of a
    /// SOAP envelope.
    pub fn looks_like(&mut self, soap: Option<SoapVersion>, limits: &BodyLimits) {
        let is_request = self.status.is_none();
        if limits.negotiate && is_request && self.looked.is_none() {
            self.negotiate();
        }
        if is_request {
            self.client_soap = Some(soap.is_some());
        }
        match soap {
            Some(version) => {
                self.rest = false;
                self.version = version;
                self.looked = Some(PayloadKind::Soap);
            }
            None => {
                if self.media() == Some(Media::TextXml) {
                    self.rest = true;
                }
                self.looked = Some(PayloadKind::Xml);
            }
        }
    }

    fn parse(&mut self, depth: Depth, limits: &BodyLimits) -> Result<Built, Fault> {
        let came = match std::mem::take(&mut self.body) {
            Body::Bytes(bytes) => bytes,
            _ => Bytes::new(),
        };
        if limits.negotiate && self.status.is_none() && self.looked.is_none() {
            self.negotiate();
        }
        let is_request = self.status.is_none();
        let Some(content_type) = self.content_type().map(str::to_owned) else {
            // A request without body for an operation shows its query (spec 01 §15.3).
            return Ok(match self.uri.query() {
                Some(query) if is_request && came.is_empty() && self.names_operation() => {
                    Built::query_fields(query, self.version)
                }
                _ => Built::empty(self.version),
            });
        };
        let media = self.media().unwrap_or(Media::Other);
        let codings = match came.is_empty() {
            true => coding::Codings::default(),
            false => coding::Codings::of(&self.headers)?,
        };
        let mut raw = if codings.is_identity() {
            came.clone()
        } else {
            codings.decode(&came, limits.max_bytes)?
        };
        if raw.is_empty() && is_request && self.method == Method::GET {
            raw = self.json_of_query(media);
        }
        let blank = || raw.iter().all(|b| *b == b' ');
        if raw.is_empty() || (is_request && self.method == Method::DELETE && blank()) {
            let none = self.headers.get(http::header::CONTENT_LENGTH);
            if !self.rest && none.is_some_and(|n| n.as_bytes() == b"0") {
                self.message_type
                    .get_or_insert_with(|| "application/xml".to_owned());
            }
            // A form may have its fields in the query alone.
            if is_request
                && media == Media::Form
                && let Some(query) = self.uri.query()
            {
                return Ok(Built::query_fields(query, self.version));
            }
            return Ok(Built::empty(self.version));
        }
        let source = body::Source {
            raw,
            content_type: &content_type,
            media,
            query: self.uri.query().filter(|_| is_request),
            rest: self.rest,
            version: self.version,
        };
        let mut built = Built::parse_to(source, depth, limits)?;
        built.set_conversion(&limits.conversion);
        built.set_json_limits(limits.json);
        if !codings.is_identity() {
            built.set_coded(codings, came);
        }
        if is_request {
            self.client_soap = Some(built.kind == PayloadKind::Soap);
        }
        match built.kind {
            PayloadKind::Soap => {
                self.rest = false;
                if let Some(version) = built.soap_version() {
                    self.version = version;
                }
            }
            PayloadKind::Xml if media == Media::TextXml => self.rest = true,
            _ => {}
        }
        Ok(built)
    }

    /// The first type of `Accept` that has a formatter becomes `messageType` (spec 01 §2.4).
    fn negotiate(&mut self) {
        if self.message_type.is_some() {
            return;
        }
        let Some(accept) = self.headers.get(http::header::ACCEPT).map(header_text) else {
            return;
        };
        let accept = accept.split(';').next().unwrap_or_default();
        let own = self.media();
        let types = self.types.as_deref();
        self.message_type = accept
            .split(',')
            .find(|name| {
                let name = name.trim();
                let wanted = types.map_or_else(|| Media::of(name), |t| t.formatter(name, false));
                let registered =
                    Media::is_registered(name) || types.is_some_and(|t| t.has_formatter(name));
                // Text and bytes can hold nothing else: the body would be lost (differences.md).
                let holds = !matches!(wanted, Media::Text | Media::Binary) || own == Some(wanted);
                wanted != Media::TextXml && registered && holds
            })
            .map(str::to_owned);
    }

    /// Whether the path behind the service names its operation, which is always `mediate`.
    fn names_operation(&self) -> bool {
        let Some(postfix) = self.rest_postfix.as_deref() else {
            return false;
        };
        let first = postfix.strip_prefix('/').unwrap_or_default();
        self.service_end > 0 && first.split(['/', '?']).next() == Some("mediate")
    }

    /// A GET with a JSON content type has its JSON behind the first `=` of the query
    /// (spec 01 §17.1). What is no JSON there is no body.
    fn json_of_query(&self, media: Media) -> Bytes {
        if media != Media::Json {
            return Bytes::new();
        }
        let text = self.uri.query().and_then(|q| q.split_once('='));
        let text = form::percent_decode(text.map_or("", |(_, json)| json).as_bytes());
        match crate::json::classify(&text) {
            crate::json::Kind::Empty | crate::json::Kind::Invalid => Bytes::new(),
            _ => text.into(),
        }
    }

    /// Whether no body came and none was made.
    pub fn has_no_entity(&self) -> bool {
        match &self.body {
            Body::Empty => true,
            Body::Built(built) => {
                built.kind == PayloadKind::Empty
                    && built.envelope().is_ok_and(|e| e.payload().is_none())
            }
            _ => false,
        }
    }

    /// Changes what the body is called, not what it is: the type that it is written as stays
    /// (spec 01 §1.5 `ContentType`).
    pub fn set_content_type(&mut self, value: HeaderValue) {
        if self.message_type.is_none() {
            self.message_type = self
                .content_type()
                .map(|old| media::media_type(old).to_owned());
        }
        self.keep_charset();
        self.content_type = Some(value);
    }

    /// Remembers the character set before the content type that named it goes.
    fn keep_charset(&mut self) {
        let charset = self
            .content_type()
            .and_then(|old| media::parameter(old, "charset"))
            .filter(|charset| !charset.eq_ignore_ascii_case("utf-8"))
            .map(str::to_owned);
        if let Some(charset) = charset
            && self.axis2.get("CHARACTER_SET_ENCODING").is_none()
        {
            self.axis2.set("CHARACTER_SET_ENCODING", charset);
        }
    }

    /// Second and later values of repeated headers as `EXCESS_TRANSPORT_HEADERS` shows them; first
    /// values as `TRANSPORT_HEADERS` does; `None` when there are none.
    pub fn headers_text(&self, excess: bool) -> Option<String> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for name in self.headers.keys() {
            let values = self.headers.get_all(name).iter().map(header_text);
            let values = values.skip(usize::from(excess));
            pairs.extend(
                values
                    .take(if excess { usize::MAX } else { 1 })
                    .map(|v| (name.as_str(), v)),
            );
        }
        if pairs.is_empty() {
            return None;
        }
        pairs.sort_unstable();
        let shown: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        Some(format!("{{{}}}", shown.join(", ")))
    }

    /// Removes second and later values of repeated headers.
    pub fn drop_excess_headers(&mut self) {
        let repeated: Vec<(HeaderName, HeaderValue)> = self
            .headers
            .keys()
            .filter(|name| self.headers.get_all(*name).iter().nth(1).is_some())
            .filter_map(|name| Some((name.clone(), self.headers.get(name)?.clone())))
            .collect();
        for (name, value) in repeated {
            self.headers.insert(name, value);
        }
    }

    /// `SERVICE_PREFIX`: where the service is, as the client called it (spec 01 §15.3).
    pub fn service_prefix(&self, exchange: &Exchange) -> String {
        let scheme = if exchange.secure { "https" } else { "http" };
        let path = self.uri.path();
        let path = match self.service_end {
            0 => path,
            end => path.get(..end).unwrap_or(path),
        };
        match exchange.host.as_ref().map(header_text) {
            Some(host) => format!("{scheme}://{host}{path}/"),
            None => format!("{scheme}://{}{path}/", exchange.local),
        }
    }

    /// Puts a text in place of the body, read as `content_type` says. What the message says about
    /// its content type stays.
    ///
    /// # Errors
    /// When the text is not of that type; the body stays then.
    pub fn set_payload(
        &mut self,
        text: impl Into<Bytes>,
        content_type: &str,
        limits: &BodyLimits,
    ) -> Result<(), Fault> {
        let source = body::Source {
            raw: text.into(),
            content_type,
            media: match &self.types {
                None => Media::of(content_type),
                Some(types) => types.builder(content_type),
            },
            query: None,
            rest: true,
            version: self.version,
        };
        let mut built = Built::parse(source, limits)?;
        built.set_conversion(&limits.conversion);
        built.set_json_limits(limits.json);
        self.body = Body::Built(Box::new(built));
        Ok(())
    }

    /// The envelope of a built body.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.body {
            Body::Built(built) => built.envelope().ok(),
            _ => None,
        }
    }

    /// See [`Built::made_envelope`].
    fn made_envelope(&self) -> Option<&Envelope> {
        match &self.body {
            Body::Built(built) => built.made_envelope(),
            _ => None,
        }
    }

    /// Whether the body is built, and is a SOAP fault.
    pub fn is_soap_fault(&self) -> bool {
        self.made_envelope().is_some_and(|e| e.fault().is_some())
    }

    /// The envelope of a built body, for editing.
    ///
    /// # Errors
    /// When the body is not built, or is JSON that has no XML form.
    pub fn envelope_mut(&mut self) -> Result<&mut Envelope, Fault> {
        match &mut self.body {
            Body::Built(built) => built.envelope_mut(),
            _ => Err(Fault::mediation("the body was not built")),
        }
    }

    /// Sets `ERROR_CODE`, `ERROR_MESSAGE`, `ERROR_DETAIL` and `ERROR_EXCEPTION` as the fault says.
    pub fn report(&mut self, fault: &Fault) {
        use fault::Report;
        let write = match fault.report {
            Report::Always => true,
            Report::IfUnset => self.properties.get("ERROR_CODE").is_none(),
            Report::Keep => false,
        };
        if !write {
            return;
        }
        let code = i32::try_from(fault.code).unwrap_or(0);
        self.properties.set("ERROR_CODE", Value::Integer(code));
        self.properties.set("ERROR_MESSAGE", fault.message.as_str());
        let detail = fault.detail.as_deref().unwrap_or(&fault.message);
        self.properties.set("ERROR_DETAIL", detail);
        self.properties.set("ERROR_EXCEPTION", detail);
        if let Some((base, state)) = fault.transport {
            let int = |n: u32| Value::Integer(i32::try_from(n).unwrap_or(0));
            self.properties.set("BASE_ERROR_CODE", int(base));
            self.properties.set("PROTOCOL_STATE_ON_FAILURE", int(state));
        }
    }

    /// Removes the four error properties.
    pub fn clear_error(&mut self) {
        for name in [
            "ERROR_CODE",
            "ERROR_MESSAGE",
            "ERROR_DETAIL",
            "ERROR_EXCEPTION",
        ] {
            self.properties.remove(name);
        }
    }
}

/// The version of the placeholder envelope, and whether a request is REST (spec 01 §15.3).
fn kind_of(content_type: Option<&HeaderValue>) -> (SoapVersion, bool) {
    match content_type.map(Media::of_header) {
        Some(Media::TextXml) => (SoapVersion::V11, false),
        Some(Media::SoapXml) => (SoapVersion::V12, false),
        Some(Media::Related) => (related_version(content_type), false),
        Some(_) => (SoapVersion::V11, true),
        None => (SoapVersion::V12, true),
    }
}

fn related_version(content_type: Option<&HeaderValue>) -> SoapVersion {
    match content_type.map(header_text) {
        Some(text) if Media::related_is_soap12(text) => SoapVersion::V12,
        _ => SoapVersion::V11,
    }
}

/// A header value as text; bytes that are not ASCII become nothing rather than garbage.
pub fn header_text(value: &HeaderValue) -> &str {
    match value.to_str() {
        Ok(text) => text,
        // UTF-8 is what people send when it is not ASCII.
        Err(_) => std::str::from_utf8(value.as_bytes()).unwrap_or(""),
    }
}

#[cfg(test)]
mod tests;
