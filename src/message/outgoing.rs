//! What goes onto the wire: bodies, and the response to the client (spec 01 §15.5–§15.8). With
//! `request` the one place that maps messages and faults to HTTP.

use super::body::{Body, BodyLimits, Built};
use super::coding::Codings;
use super::envelope::{Envelope, FaultParts};
use super::exchange::ClientFormat;
use super::format::content_type_header;
pub use super::headers::strip_hop;
use super::headers::{self, Known};
use super::media::{self, Media};
use super::stream::BodyStream;
use super::{Exchange, Fault, Message, SOAP_ACTION, SoapVersion, Value, addressing, header_text};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, SERVER, USER_AGENT,
};
use http::{HeaderValue, Method, StatusCode};

/// Who we are, in `Server` and `User-Agent`.
pub const PRODUCT: HeaderValue = HeaderValue::from_static("Myelin");

/// A new `urn:uuid:…`.
pub fn new_message_id() -> String {
    format!("urn:uuid:{}", new_uuid())
}

/// A random version 4 UUID.
pub fn new_uuid() -> String {
    String::from_utf8(uuid().to_vec()).unwrap_or_default()
}

/// As [`new_uuid`], for a header.
pub fn uuid_header() -> Option<HeaderValue> {
    HeaderValue::from_bytes(&uuid()).ok()
}

fn uuid() -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let bits = fastrand::u128(..);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut out = [b'-'; 36];
    for (byte, place) in bits.to_be_bytes().into_iter().zip(PLACES) {
        out[place] = HEX[usize::from(byte >> 4)];
        out[place + 1] = HEX[usize::from(byte & 15)];
    }
    out
}

/// Which headers the sender and the listener leave as they are (spec 01 §0, §15.6–§15.8).
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// `Content-Type` of a built request: the message's, else the formatter's.
    pub content_type: bool,
    /// The client's `User-Agent`.
    pub user_agent: bool,
    /// The client's `Host`.
    pub host: bool,
    /// The client's `Date`.
    pub date: bool,
    /// The client's `Server`, which no client sends.
    pub server: bool,
    /// The back-end's `Location`.
    pub location: bool,
    /// The back-end's `Server`.
    pub response_server: bool,
    /// The back-end's `Date`.
    pub response_date: bool,
}

impl HeaderRules {
    /// The rules of the settings.
    pub fn of(settings: &crate::settings::HttpSettings) -> HeaderRules {
        let has =
            |list: &[String], name: &str| list.iter().any(|n| n.trim().eq_ignore_ascii_case(name));
        let request = |name| has(&settings.preserve_headers, name);
        let response = |name| has(&settings.preserve_response_headers, name);
        HeaderRules {
            content_type: request("Content-Type"),
            user_agent: settings.preserve_user_agent || request("User-Agent"),
            host: request("Host"),
            date: request("Date"),
            server: request("Server"),
            location: request("Location"),
            response_server: settings.preserve_server_header || response("Server"),
            response_date: response("Date"),
        }
    }
}

impl Message {
    /// Whether `REST_URL_POSTFIX` is appended (spec 01 §15.5).
    pub fn is_rest_request(&self) -> bool {
        if self.rest || self.request_method() != Method::POST {
            return true;
        }
        match self.effective_media() {
            Some(Media::TextXml) => self.action().is_none(),
            Some(Media::Xml | Media::Form | Media::MultipartForm | Media::Json) => true,
            _ => false,
        }
    }

    /// `REST_URL_POSTFIX` as artifacts see it.
    pub fn postfix(&self) -> Option<&str> {
        match self.axis2.get("REST_URL_POSTFIX") {
            Some(value) => value.as_str(),
            None => self.rest_postfix.as_deref(),
        }
        .filter(|p| !p.is_empty())
    }

    /// The method towards a back-end: axis2 `HTTP_METHOD`, else the incoming one.
    pub fn request_method(&self) -> Method {
        self.axis2
            .str("HTTP_METHOD")
            .and_then(|m| Method::from_bytes(m.trim().to_ascii_uppercase().as_bytes()).ok())
            .unwrap_or_else(|| self.method.clone())
    }

    /// The body for the wire: written when it was built, handed on when not. A built body stays in
    /// the message, so that it can be sent again.
    ///
    /// # Errors
    /// When it cannot be written in the message's form.
    pub fn take_wire_body(&mut self) -> Result<BodyStream, Fault> {
        if let Body::Built(built) = &self.body
            && built.kind == PayloadKindEmpty::KIND
            && built.envelope().is_ok_and(|e| e.payload().is_none())
            && self.message_type.is_none()
        {
            return Ok(BodyStream::empty());
        }
        if self.axis2.is_true("NO_ENTITY_BODY")
            && self.envelope().is_none_or(|e| e.payload().is_none())
        {
            self.body = Body::Empty;
            return Ok(BodyStream::empty());
        }
        match &self.body {
            Body::Empty => Ok(BodyStream::empty()),
            Body::Stream(_) => match std::mem::take(&mut self.body) {
                Body::Stream(stream) => Ok(stream),
                _ => Ok(BodyStream::empty()),
            },
            Body::Bytes(bytes) => Ok(BodyStream::full(bytes.clone())),
            Body::Built(_) => {
                let bytes = self.write_body()?;
                Ok(BodyStream::full(self.encoded(bytes)?))
            }
        }
    }

    /// The bytes of a built body in the codings that the header still names (spec 01 §15.7): those
    /// that came when nobody changed them. A header that names a coding that is not known goes.
    fn encoded(&mut self, bytes: Bytes) -> Result<Bytes, Fault> {
        let Ok(codings) = Codings::of(&self.headers) else {
            self.headers.remove(CONTENT_ENCODING);
            return Ok(bytes);
        };
        if codings.is_identity() || bytes.is_empty() {
            return Ok(bytes);
        }
        if let Body::Built(built) = &self.body
            && let Some(coded) = built.coded(codings)
            && built
                .unchanged()
                .is_some_and(|raw| raw.as_ptr() == bytes.as_ptr())
        {
            return Ok(coded.clone());
        }
        codings.encode(bytes)
    }

    /// Before a request goes out: content type of a rewritten body, addressing headers away.
    ///
    /// # Errors
    /// When the character set is not known.
    pub fn settle_request(
        &mut self,
        rules: &HeaderRules,
        limits: &BodyLimits,
    ) -> Result<(), Fault> {
        if self.is_built() || self.looked.is_some() {
            if !rules.content_type {
                self.content_type = None;
            }
            self.settle_content_type(false, limits)?;
        }
        Ok(())
    }

    /// The status of the response (spec 01 §15.8).
    fn response_status(&self, fault: bool) -> StatusCode {
        if self.axis2.get("ERROR_CODE").is_some() {
            // The transport's mark on a response that could not be read (spec 01 §1.5).
            return StatusCode::BAD_GATEWAY;
        }
        if self.axis2.is_true("SC_ACCEPTED") {
            return StatusCode::ACCEPTED;
        }
        if let Some(value) = self.axis2.get("HTTP_SC") {
            let text = value.text();
            match text
                .trim()
                .parse::<u16>()
                .ok()
                .and_then(|c| StatusCode::from_u16(c).ok())
            {
                Some(code) if code.as_u16() >= 200 => return code,
                _ => tracing::warn!(
                    target: "HTTP",
                    "Unable to set the HTTP status code from the property HTTP_SC with value: {text}"
                ),
            }
        }
        if let Some(status) = self.status {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        }
        if fault && !self.axis2.is_true("FAULTS_AS_HTTP_200") {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        StatusCode::OK
    }

    /// The response for the client, made from this message (spec 01 §8.1, §15.8, §18.4).
    ///
    /// # Errors
    /// When the body must be read or written in another form and cannot be.
    pub async fn to_response(
        &mut self,
        exchange: &Exchange,
        limits: &BodyLimits,
        rules: &HeaderRules,
    ) -> Result<http::Response<BodyStream>, Fault> {
        // What is rare is boxed, so that the futures of flows stay small.
        if self.is_other_than_seen() {
            Box::pin(self.build(limits)).await?;
        }
        let is_fault = self.is_soap_fault();
        if self.client_form(exchange) == ClientFormat::Rest {
            if is_fault {
                self.fault_to_rest();
            }
        } else if let Some(wanted) = self.version_for(exchange) {
            Box::pin(self.convert_to(wanted, limits)).await?;
        }
        self.strip_addressing();
        let status = self.response_status(is_fault);
        let tagged = self.axis2.is_true("HTTP_ETAG");
        if tagged {
            Box::pin(self.build(limits)).await?;
        } else if self.wants_built_body() {
            // A length up front needs the bytes, not their meaning.
            Box::pin(self.body.collect(limits.max_bytes)).await?;
        }
        if self.is_built() || self.looked.is_some() {
            self.settle_content_type(true, limits)?;
        }
        let to_tag = match tagged {
            true => {
                let body = self.take_wire_body()?;
                let body = Box::pin(body.collect(limits.max_bytes)).await;
                Some(body.map_err(super::body::stream_fault)?)
            }
            false => None,
        };
        self.finish_response(exchange, rules, status, to_tag)
    }

    /// What of [`Message::to_response`] waits for nothing: the future need not hold the response.
    fn finish_response(
        &mut self,
        exchange: &Exchange,
        rules: &HeaderRules,
        status: StatusCode,
        to_tag: Option<Bytes>,
    ) -> Result<http::Response<BodyStream>, Fault> {
        let mut response = http::Response::new(BodyStream::empty());
        *response.status_mut() = status;
        if let Some(reason) = self.reason_phrase(status) {
            response.extensions_mut().insert(reason);
        }
        let without_body = exchange.head
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::RESET_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let length = match exchange.head {
            true => self.headers.get(CONTENT_LENGTH).cloned(),
            false => None,
        };
        let tagged = to_tag.is_some();
        if let Some(body) = to_tag {
            tag(exchange, body, &mut response);
        } else if !without_body {
            *response.body_mut() = self.take_wire_body()?;
        }
        let from_request = self.status.is_none();
        let mut headers = std::mem::take(&mut self.headers);
        let length_now = match without_body || from_request {
            true => None,
            false => response.body().exact_len(),
        };
        let present = headers::strip(&mut headers, length_now);
        if from_request || !rules.response_date {
            present.remove(&mut headers, Known::Date, DATE);
        }
        present.remove(&mut headers, Known::UserAgent, USER_AGENT);
        if from_request {
            headers::strip_not_echoed(&mut headers, present);
            if response.body().is_known_empty() {
                present.remove(&mut headers, Known::ContentEncoding, CONTENT_ENCODING);
            }
        }
        if tagged && let Some(tag) = response.headers_mut().remove(ETAG) {
            headers.insert(ETAG, tag);
        }
        match &self.content_type {
            Some(value) if !response.body().is_known_empty() || !from_request => {
                headers.insert(CONTENT_TYPE, value.clone());
            }
            _ => present.remove(&mut headers, Known::ContentType, CONTENT_TYPE),
        }
        if exchange.head
            && let Some(length) = length
            && !from_request
        {
            headers.insert(CONTENT_LENGTH, length);
        }
        if !self.axis2.is_empty() {
            let old = self.axis2.is_true("FORCE_HTTP_1.0");
            if old {
                *response.version_mut() = http::Version::HTTP_10;
            }
            if old || self.axis2.is_true("NO_KEEPALIVE") || self.axis2.get("ERROR_CODE").is_some() {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        if closes(response.status()) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if !present.has(Known::Server) || (!from_request && !rules.response_server) {
            headers.insert(SERVER, PRODUCT);
        }
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// The empty answer of `NIO-ACK-Requested`: `HTTP_SC` and the transport headers, before or
    /// without any other answer (spec 01 §8.4).
    pub fn acknowledgement(&self) -> http::Response<BodyStream> {
        let mut response = accepted();
        if self.axis2.get("HTTP_SC").is_some() {
            *response.status_mut() = self.response_status(false);
        }
        let mut headers = self.headers.clone();
        let present = headers::strip(&mut headers, None);
        for name in [DATE, USER_AGENT, CONTENT_TYPE, CONTENT_ENCODING] {
            headers.remove(name);
        }
        headers::strip_not_echoed(&mut headers, present);
        headers.insert(SERVER, PRODUCT);
        *response.headers_mut() = headers;
        response
    }

    /// How the client speaks, as far as this message tells: a `text/xml` client whose document was
    /// not SOAP is a REST client.
    pub fn client_form(&self, exchange: &Exchange) -> ClientFormat {
        match exchange.format {
            ClientFormat::Soap11 if self.client_soap == Some(false) => ClientFormat::Rest,
            ClientFormat::Soap11 if self.rest && self.status.is_none() => ClientFormat::Rest,
            other => other,
        }
    }

    /// Whether the client of this request speaks SOAP, by its document or, where nobody looked at
    /// that, by its headers.
    fn is_of_soap_client(&self) -> bool {
        self.client_soap.unwrap_or_else(|| {
            !self.rest && (self.version == SoapVersion::V12 || self.action().is_some())
        })
    }

    fn reason_phrase(&self, status: StatusCode) -> Option<hyper::ext::ReasonPhrase> {
        if let Some(text) = self.axis2.str("HTTP_SC_DESC") {
            return hyper::ext::ReasonPhrase::try_from(text.as_bytes().to_vec()).ok();
        }
        self.reason
            .clone()
            .filter(|_| self.status == Some(status.as_u16()))
    }

    /// A SOAP client gets its own SOAP version back; decided by the `Content-Type` header, as the
    /// reference does (spec 01 §18.4). `None` when the response is as it should be.
    fn version_for(&self, exchange: &Exchange) -> Option<SoapVersion> {
        if self.status.is_none() || matches!(self.body, Body::Empty) {
            return None;
        }
        match (exchange.format, self.media()) {
            // Attachments go back as they came.
            (_, Some(Media::Related)) => None,
            (ClientFormat::Soap11, Some(Media::SoapXml)) => Some(SoapVersion::V11),
            (ClientFormat::Soap12, Some(Media::TextXml)) => Some(SoapVersion::V12),
            // The exchange with the back-end was REST, so that what came is no envelope.
            (ClientFormat::Soap11, _) if self.sent_as_rest => Some(SoapVersion::V11),
            (ClientFormat::Soap12, _) if self.sent_as_rest => Some(SoapVersion::V12),
            _ => None,
        }
    }

    async fn convert_to(&mut self, wanted: SoapVersion, limits: &BodyLimits) -> Result<(), Fault> {
        let built = self.build(limits).await?;
        let converted = built.envelope()?.convert(wanted);
        built.set_envelope(converted);
        self.version = wanted;
        self.rest = false;
        self.message_type = Some(wanted.media_type().to_owned());
        self.content_type = Some(HeaderValue::from_static(wanted.media_type()));
        Ok(())
    }

    /// Sets `messageType` as the property does: also `ContentType` and the header.
    pub fn set_message_type(&mut self, value: &str) {
        self.keep_charset();
        self.message_type = Some(value.to_owned());
        if let Ok(header) = HeaderValue::from_str(value) {
            self.headers.insert(CONTENT_TYPE, header.clone());
            self.content_type = Some(header);
        }
        self.rest = match Media::of(value) {
            Media::TextXml | Media::SoapXml => {
                self.rest
                    && !matches!(&self.body, Body::Built(b) if b.kind == super::PayloadKind::Soap)
            }
            _ => self.rest,
        };
    }
}

/// `HTTP_ETAG`: a tag of the body's bytes; 304 when the client has them (spec 01 §1.5).
fn tag(exchange: &Exchange, body: Bytes, response: &mut http::Response<BodyStream>) {
    use md5::Digest;
    let digest = md5::Md5::digest(&body);
    let tag = format!(
        "\"{}\"",
        digest
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    );
    let known = exchange.if_none_match.as_ref().is_some_and(|value| {
        header_text(value)
            .split(',')
            .any(|t| t.trim().trim_start_matches("W/") == tag || t.trim() == "*")
    });
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
            .extensions_mut()
            .remove::<hyper::ext::ReasonPhrase>();
    } else if !exchange.head
        && !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
    {
        *response.body_mut() = BodyStream::full(body);
    }
}

/// Statuses after which the connection to the client ends (spec 01 §15.8).
fn closes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 408 | 411 | 413 | 414 | 501 | 503)
}

/// Names the kind of a body that never had content.
struct PayloadKindEmpty;

impl PayloadKindEmpty {
    const KIND: super::PayloadKind = super::PayloadKind::Empty;
}

/// 202 with no body: the answer of a flow that gave none (spec 01 §8.4).
pub fn accepted() -> http::Response<BodyStream> {
    let mut response = http::Response::new(BodyStream::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(SERVER, PRODUCT);
    response
}

/// The answer to a fault that no handler answered, in the client's form (spec 01 §15.10).
pub fn fault_response(
    exchange: &Exchange,
    form: ClientFormat,
    json: bool,
    fault: &Fault,
) -> http::Response<BodyStream> {
    let reason = if fault.message.is_empty() {
        "Internal error"
    } else {
        &fault.message
    };
    // The words may be those of the message, with characters that XML has not.
    let reason = &reason.replace(|c| !crate::xml::is_xml_char(c), "\u{FFFD}");
    let (body, content_type) = match form {
        ClientFormat::Soap11 => (
            soap_fault(SoapVersion::V11, reason),
            "text/xml; charset=UTF-8",
        ),
        ClientFormat::Soap12 => (
            soap_fault(SoapVersion::V12, reason),
            "application/soap+xml; charset=UTF-8",
        ),
        ClientFormat::Rest if json => {
            let text = serde_json::json!({ "Exception": reason }).to_string();
            (Bytes::from(text), "application/json; charset=UTF-8")
        }
        ClientFormat::Rest => {
            let mut out = b"<Exception>".to_vec();
            crate::xml::escape_text(reason, &mut out);
            out.extend_from_slice(b"</Exception>");
            (Bytes::from(out), "application/xml; charset=UTF-8")
        }
    };
    let mut response = http::Response::new(if exchange.head {
        BodyStream::empty()
    } else {
        BodyStream::full(body)
    });
    *response.status_mut() = fault
        .status
        .and_then(|s| StatusCode::from_u16(s).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(SERVER, PRODUCT);
    if fault.status == Some(413) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn soap_fault(version: SoapVersion, reason: &str) -> Bytes {
    let mut envelope = Envelope::empty(version);
    envelope.synthetic = false;
    envelope.set_fault(&FaultParts::server(version, reason));
    let mut out = b"<?xml version='1.0' encoding='UTF-8'?>".to_vec();
    envelope.document.write(envelope.root, &mut out);
    out.into()
}

/// Converts a built body for an endpoint `format` (spec 01 §18.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SOAP 1.1.
    Soap11,
    /// SOAP 1.2.
    Soap12,
    /// Plain XML.
    Pox,
    /// GET with the payload's children as query parameters.
    Get,
    /// REST as it is.
    Rest,
}

impl Format {
    /// The format of an attribute value; unknown values leave the message as it is.
    pub fn parse(text: &str) -> Option<Format> {
        match text.trim().to_ascii_lowercase().as_str() {
            "soap11" => Some(Format::Soap11),
            "soap12" => Some(Format::Soap12),
            "pox" => Some(Format::Pox),
            "get" => Some(Format::Get),
            "rest" => Some(Format::Rest),
            _ => None,
        }
    }
}

impl Message {
    /// Applies an endpoint's format to a built message. Returns the method it forces and what is
    /// appended to the address.
    ///
    /// # Errors
    /// When the body has no envelope form.
    pub fn apply_format(
        &mut self,
        format: Format,
        encoding: Option<&str>,
    ) -> Result<(Option<Method>, Option<String>), Fault> {
        if let Some(encoding) = encoding {
            self.axis2.set("CHARACTER_SET_ENCODING", encoding);
        }
        let multipart = self.content_type().map(Media::of) == Some(Media::Related);
        let charset = self
            .content_type()
            .and_then(|c| media::parameter(c, "charset"))
            .map(str::to_owned);
        match format {
            Format::Soap11 | Format::Soap12 => {
                let version = if format == Format::Soap11 {
                    SoapVersion::V11
                } else {
                    SoapVersion::V12
                };
                // Read before the version changes: 1.1 and 1.2 carry it in different places.
                let action = self.action().map(|a| a.into_owned());
                if let Body::Built(built) = &mut self.body {
                    if built.envelope()?.version != version {
                        let converted = built.envelope()?.convert(version);
                        built.set_envelope(converted);
                    } else if built.kind != super::PayloadKind::Soap {
                        let envelope = built.envelope()?.clone();
                        built.set_envelope(envelope);
                    }
                }
                self.version = version;
                self.rest = false;
                self.sent_as_rest = false;
                let wanted = if multipart {
                    // Attachments stay with their message.
                    "multipart/related"
                } else {
                    version.media_type()
                };
                self.message_type = Some(wanted.to_owned());
                self.set_action(action.clone());
                let mut text = version.media_type().to_owned();
                if let (SoapVersion::V12, Some(action)) = (version, &action) {
                    text.push_str(&format!(";action={}", media::quoted(action)));
                    self.headers.remove(SOAP_ACTION);
                }
                match (charset, encoding) {
                    (Some(charset), _) => text.push_str(&format!("; charset={charset}")),
                    (None, Some(encoding)) => text.push_str(&format!(";{encoding}")),
                    (None, None) => {}
                }
                if !multipart {
                    self.content_type = Some(content_type_header(&text)?);
                }
                Ok((Some(Method::POST), None))
            }
            Format::Pox => {
                self.sent_as_rest = self.is_of_soap_client();
                self.rest = true;
                let method = self.request_method();
                self.message_type = Some("application/xml".to_owned());
                let text = match encoding {
                    Some(encoding) => format!("application/xml;{encoding}"),
                    None => "application/xml".to_owned(),
                };
                self.content_type = HeaderValue::from_str(&text).ok();
                Ok((Some(method), None))
            }
            Format::Get => {
                self.sent_as_rest = self.is_of_soap_client();
                self.rest = true;
                self.message_type = Some("application/x-www-form-urlencoded".to_owned());
                let mut appended = String::new();
                if let Some(envelope) = self.envelope()
                    && let Some(payload) = envelope.payload()
                {
                    appended.push('/');
                    appended.push_str(envelope.document.local_name(payload));
                    let query = self.write_body()?;
                    if !query.is_empty() {
                        appended.push('?');
                        appended.push_str(&String::from_utf8_lossy(&query));
                    }
                }
                Ok((Some(Method::GET), Some(appended)))
            }
            Format::Rest => {
                self.sent_as_rest = self.is_of_soap_client();
                self.rest = true;
                let method = self.request_method();
                if method == Method::GET || method == Method::DELETE {
                    self.message_type = None;
                }
                Ok((None, None))
            }
        }
    }

    /// Whether axis2 says something that only the built body can show, such as a length up front.
    pub fn wants_built_body(&self) -> bool {
        self.axis2.is_true("DISABLE_CHUNKING") || self.axis2.is_true("FORCE_HTTP_1.0")
    }

    /// Whether the body must be parsed before it goes to a back-end: it is sent in parts, or its
    /// coding is wanted.
    pub fn wants_parsed_body(&self) -> bool {
        !self.axis2.is_empty() && self.wants_attachments()
    }
}

/// The addressing version of an attribute value.
pub fn addressing_version(text: Option<&str>) -> Option<addressing::Version> {
    match text {
        None => Some(addressing::Version::Final),
        Some(text) if text.eq_ignore_ascii_case("final") => Some(addressing::Version::Final),
        Some(text) if text.eq_ignore_ascii_case("submission") => {
            Some(addressing::Version::Submission)
        }
        Some(_) => None,
    }
}

/// A value for axis2 reads of a status.
pub fn status_value(status: u16) -> Value {
    Value::Integer(i32::from(status))
}

/// Puts a body in place that was made here.
pub fn built(envelope: Envelope) -> Body {
    Body::Built(Box::new(Built::from_envelope(envelope)))
}
