//! A request on its way to a back-end (spec 01 §15.6).
//!
//! Its head is written straight from the message: a second map of headers would cost several times
//! as much.

use super::format::Formatter;
use super::headers::{Known, named_by_connection};
use super::outgoing::{HeaderRules, PRODUCT};
use super::stream::BodyStream;
use super::{Fault, Message, SOAP_ACTION, SoapVersion, header_text};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Version};
use std::fmt;
use std::ops::Range;

/// What an endpoint decided about a request.
pub struct RequestPlan<'a> {
    /// `Host` of the target.
    pub host: &'a HeaderValue,
    /// Path and query, with everything appended.
    pub path: PathAndQuery,
    /// The method, when the endpoint forces one.
    pub method: Option<Method>,
    /// `http` or `https`, for a request line with the whole address.
    pub scheme: &'static str,
    /// `Authorization`, when the endpoint has credentials.
    pub authorization: Option<&'a HeaderValue>,
    /// What is kept of the client's headers.
    pub rules: &'a HeaderRules,
}

/// What a method means for the bodies of its request and of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A request without a body, as a rule.
    Get,
    /// As `Get`, and the response has no body either.
    Head,
    /// What follows the response is another protocol.
    Connect,
    /// Nothing special.
    Other,
}

impl Meaning {
    fn of(method: &Method) -> Meaning {
        match *method {
            Method::GET => Meaning::Get,
            Method::HEAD => Meaning::Head,
            Method::CONNECT => Meaning::Connect,
            _ => Meaning::Other,
        }
    }
}

/// A request whose head is written.
#[derive(Debug)]
pub struct WireRequest {
    /// The head.
    pub head: WireHead,
    /// The body. What says how long it is comes into the head when it is sent.
    pub body: BodyStream,
}

/// The head of a request as text: request line and headers, without those that say how long the
/// body is and without the empty line.
#[derive(Clone)]
pub struct WireHead {
    text: Vec<u8>,
    meaning: Meaning,
    version: Version,
    close: bool,
    /// Where the value of `Authorization` is.
    authorization: Option<Range<usize>>,
}

impl WireHead {
    /// The request line: `whole` is scheme and authority, for a line with the whole address.
    fn new(
        method: &Method,
        whole: Option<(&str, &str)>,
        path: &str,
        version: Version,
        headers: usize,
    ) -> WireHead {
        let mut text = Vec::with_capacity(128 + path.len() + 56 * headers);
        text.extend_from_slice(method.as_str().as_bytes());
        text.push(b' ');
        if let Some((scheme, authority)) = whole {
            if !scheme.is_empty() {
                text.extend_from_slice(scheme.as_bytes());
                text.extend_from_slice(b"://");
            }
            text.extend_from_slice(authority.as_bytes());
        }
        text.extend_from_slice(path.as_bytes());
        text.extend_from_slice(match version {
            Version::HTTP_10 => b" HTTP/1.0\r\n",
            _ => b" HTTP/1.1\r\n",
        });
        WireHead {
            text,
            meaning: Meaning::of(method),
            version,
            close: false,
            authorization: None,
        }
    }

    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.text.extend_from_slice(name.as_str().as_bytes());
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value.as_bytes());
        self.text.extend_from_slice(b"\r\n");
    }

    /// The text.
    pub fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// What the method means for bodies.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// Whether it is sent as HTTP/1.0, which knows no chunks.
    pub fn is_old(&self) -> bool {
        self.version == Version::HTTP_10
    }

    /// Whether it asks the other side to close afterwards.
    pub fn closes(&self) -> bool {
        self.close
    }

    /// The value of `Authorization`, when the endpoint has credentials.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value =
            HeaderValue::from_bytes(self.text.get(self.authorization.clone()?)?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Sets `Authorization`, instead of what the endpoint had before.
    pub fn set_authorization(&mut self, value: &HeaderValue) {
        let begin = match self.authorization.clone() {
            Some(old) => {
                self.text
                    .splice(old.clone(), value.as_bytes().iter().copied());
                old.start
            }
            None => {
                let begin = self.text.len() + AUTHORIZATION.as_str().len() + 2;
                self.line(&AUTHORIZATION, value);
                begin
            }
        };
        self.authorization = Some(begin..begin + value.len());
    }
}

/// Headers may have credentials.
impl fmt::Debug for WireHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireHead")
            .field("bytes", &self.text.len())
            .field("meaning", &self.meaning)
            .finish_non_exhaustive()
    }
}

impl From<http::Request<BodyStream>> for WireRequest {
    fn from(request: http::Request<BodyStream>) -> WireRequest {
        let uri = request.uri();
        let whole = uri
            .authority()
            .map(|authority| (uri.scheme_str().unwrap_or(""), authority.as_str()));
        let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let headers = request.headers();
        let mut head = WireHead::new(
            request.method(),
            whole,
            path,
            request.version(),
            headers.len(),
        );
        for (name, value) in headers {
            match *name {
                CONTENT_LENGTH | TRANSFER_ENCODING => continue,
                CONNECTION => head.close |= lists_close(value),
                _ => {}
            }
            head.line(name, value);
        }
        WireRequest {
            head,
            body: request.into_body(),
        }
    }
}

fn lists_close(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Message {
    /// The request for a back-end. The message keeps its headers for a fault handler; the body is
    /// handed over.
    ///
    /// # Errors
    /// When the address cannot stand in a request line.
    pub fn to_request(
        &mut self,
        plan: RequestPlan<'_>,
        body: BodyStream,
    ) -> Result<WireRequest, Fault> {
        let method = plan.method.unwrap_or_else(|| self.request_method());
        let rules = plan.rules;
        let set = |text: Option<&str>| text.and_then(|text| HeaderValue::from_str(text).ok());
        let host = set(self.axis2.str("REQUEST_HOST_HEADER"));
        let cookie = set(self.properties.str("LB_COOKIE_HEADER"));
        let version = match self.axis2.is_true("FORCE_HTTP_1.0") {
            true => Version::HTTP_10,
            false => Version::HTTP_11,
        };
        let whole = self.axis2.is_true("POST_TO_URI") || self.axis2.is_true("FULL_URI");
        let whole = match whole {
            true => {
                let authority = header_text(plan.host);
                Authority::try_from(authority).map_err(|e| {
                    Fault::mediation(format!("Malformed URL in the target EPR: {e}"))
                })?;
                Some((plan.scheme, authority))
            }
            false => None,
        };
        let count = self.headers.len();
        let mut head = WireHead::new(&method, whole, plan.path.as_str(), version, count);

        let get = method == Method::GET;
        let empty = body.is_known_empty();
        let keeps_type = !get && !empty && self.content_type.is_none();
        let named = named_by_connection(&self.headers);
        let mut has_host = false;
        let mut came_action = None;
        let mut actions = 0;
        // One pass: what goes on is written, what is set below is left out.
        for (name, value) in &self.headers {
            let goes_on = match Known::of(name) {
                None | Some(Known::ProxyAuthorization) => true,
                Some(known) if known.is_hop() => false,
                Some(Known::Authorization) => plan.authorization.is_none(),
                Some(Known::Expect) => false,
                Some(Known::Date) => rules.date,
                Some(Known::Server) => rules.server,
                Some(Known::UserAgent) => rules.user_agent,
                Some(Known::Cookie) => cookie.is_none(),
                Some(Known::ContentType) => keeps_type,
                Some(Known::ContentEncoding) => !empty && !get,
                Some(Known::Host) => {
                    let stays = rules.host && host.is_none();
                    has_host |= stays;
                    stays
                }
                Some(Known::SoapAction) => {
                    came_action.get_or_insert(value);
                    actions += 1;
                    false
                }
                Some(_) => true,
            };
            if goes_on && (named.is_empty() || !named.contains(name)) {
                head.line(name, value);
            }
        }
        if !has_host {
            head.line(&HOST, host.as_ref().unwrap_or(plan.host));
        }
        if !rules.user_agent {
            head.line(&USER_AGENT, &PRODUCT);
        }
        if let Some(cookie) = cookie {
            head.line(&COOKIE, &cookie);
        }
        if self.axis2.is_true("NO_KEEPALIVE") {
            head.line(&CONNECTION, &HeaderValue::from_static("close"));
            head.close = true;
        }
        if let Some(value) = &self.content_type
            && !get
        {
            head.line(&CONTENT_TYPE, value);
        }
        let own_action = match self.version {
            SoapVersion::V11 => self.soap_action_header(came_action),
            SoapVersion::V12 => None,
        };
        match (own_action, came_action) {
            (Some(value), _) => head.line(&SOAP_ACTION, &value),
            (None, Some(_)) if named.contains(&SOAP_ACTION) => {}
            (None, Some(value)) if actions == 1 => head.line(&SOAP_ACTION, value),
            (None, Some(_)) => {
                for value in self.headers.get_all(SOAP_ACTION) {
                    head.line(&SOAP_ACTION, value);
                }
            }
            (None, None) => {}
        }
        if let Some(value) = plan.authorization {
            head.set_authorization(value);
        }
        let body = if get { BodyStream::empty() } else { body };
        Ok(WireRequest { head, body })
    }

    /// `SOAPAction` when it is not what the client sent: quoted by the SOAP formatter, bare in
    /// plain XML and forms (spec 01 §15.6).
    fn soap_action_header(&self, came: Option<&HeaderValue>) -> Option<HeaderValue> {
        if !self.action_is_set() && came.is_none() {
            return None;
        }
        let quoted = match self.formatter() {
            Formatter::Soap | Formatter::Related => true,
            Formatter::Xml | Formatter::Form => false,
            // Other formatters know no action: an own one is still sent.
            _ if self.action_is_set() => false,
            _ => return None,
        };
        if let Some(came) = came {
            let came = came.as_bytes();
            let bare = came.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\""));
            if quoted && !self.action_is_set() {
                // What nearly every client sends: one pair of quotes, and that is how it goes on.
                if let Some([first, .., last] | [first @ last]) = bare
                    && *first != b'"'
                    && *last != b'"'
                {
                    return None;
                }
            }
            let action = self.action()?;
            let same = if quoted {
                bare == Some(action.as_bytes())
            } else {
                came == action.as_bytes()
            };
            if same {
                return None;
            }
        }
        let action = self.action()?;
        let text = if quoted {
            format!("\"{action}\"")
        } else {
            action.into_owned()
        };
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }
}
