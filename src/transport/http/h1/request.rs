//! Heads of requests as they are read (RFC 9112 §3, §5, §6).

use std::cell::Cell;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::body::Decoder;
use super::head::{lists, number, with_headers};

/// The longest target of a request.
const LONGEST_URI: usize = 65_534;
/// What a client says first that wants to speak HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of what a client may send.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport::http) struct ServeLimits {
    /// Bytes that are held of a head that is not whole, and read at once.
    pub max_buf: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of a head.
    pub max_head: usize,
}

/// What the answer depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// `HEAD`: the answer has no body.
    pub head: bool,
    /// `CONNECT`: a success has no body, and what follows it is no HTTP.
    pub connect: bool,
    /// HTTP/1.0.
    pub old: bool,
}

/// A request as far as it was read.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub request: Request<()>,
    /// Bytes of the head.
    pub length: usize,
    pub body: Decoder,
    pub asked: Asked,
    /// The client allows another request on the connection.
    pub keep: bool,
    /// The client waits for a 100 before it sends the body.
    pub expects: bool,
}

/// Why there is no head of a request (yet).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// Bytes are missing.
    Partial,
    /// To be answered with this status.
    Refused(StatusCode),
    /// HTTP/2, which a client cannot be told in HTTP/1.
    Preface,
}

const BAD: NoRequest = NoRequest::Refused(StatusCode::BAD_REQUEST);
const TOO_LARGE: NoRequest = NoRequest::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

/// Names of headers as clients spell them: most say the same ones all the time, and to compare them
/// costs less than to look them up.
struct Known(Vec<Option<(Box<str>, HeaderName)>>);

impl Known {
    /// A power of two.
    const PLACES: usize = 128;
    const LONGEST: usize = 64;

    fn read(&mut self, spelled: &str) -> Option<HeaderName> {
        let bytes = spelled.as_bytes();
        let (&[first, ..], &[.., last]) = (bytes, bytes) else {
            return None;
        };
        if bytes.len() > Self::LONGEST {
            return HeaderName::from_bytes(bytes).ok();
        }
        if self.0.is_empty() {
            self.0.resize_with(Self::PLACES, || None);
        }
        let middle = bytes.get(bytes.len() / 2).copied().unwrap_or_default();
        let place = bytes.len()
            + usize::from(first) * 5
            + usize::from(middle) * 17
            + usize::from(last) * 33;
        let place = self.0.get_mut(place % Self::PLACES)?;
        if let Some((known, name)) = place
            && **known == *spelled
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(bytes).ok()?;
        *place = Some((spelled.into(), name.clone()));
        Some(name)
    }
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known(Vec::new())) };
    static SPARE: Cell<Option<HeaderMap>> = const { Cell::new(None) };
}

/// Headers in a map that is kept for the next request.
const KEPT_CAPACITY: usize = 48;

/// Keeps the memory of a map for the next request of this thread.
pub(super) fn recycle(mut map: HeaderMap) {
    if map.capacity() <= KEPT_CAPACITY {
        map.clear();
        // Only fails when the thread ends.
        let _ = SPARE.try_with(|spare| spare.set(Some(map)));
    }
}

/// Reads the head of a request. Its target and its header values share the memory of `read`.
pub(super) fn read_request(read: &Bytes, limits: &ServeLimits) -> Result<RequestHead, NoRequest> {
    let mut known = KNOWN.try_with(|known| known.replace(Known(Vec::new())));
    let mut none = Known(Vec::new());
    let names = known.as_mut().unwrap_or(&mut none);
    let head = with_headers(limits.max_headers, |headers| {
        let mut parsed = httparse::Request::new(&mut []);
        match httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut parsed,
            read,
            headers,
        ) {
            Ok(httparse::Status::Complete(length)) => {
                if length > limits.max_head.min(limits.max_buf) {
                    return Err(TOO_LARGE);
                }
                understand(read, &parsed, length, names)
            }
            Ok(httparse::Status::Partial) => Err(NoRequest::Partial),
            Err(httparse::Error::TooManyHeaders) => Err(TOO_LARGE),
            Err(_) if read.starts_with(PREFACE) => Err(NoRequest::Preface),
            Err(_) => Err(BAD),
        }
    });
    if let Ok(known) = known {
        let _ = KNOWN.try_with(|place| place.set(known));
    }
    head
}

fn understand(
    read: &Bytes,
    parsed: &httparse::Request<'_, '_>,
    length: usize,
    names: &mut Known,
) -> Result<RequestHead, NoRequest> {
    let target = parsed.path.ok_or(BAD)?;
    if target.len() > LONGEST_URI {
        return Err(NoRequest::Refused(StatusCode::URI_TOO_LONG));
    }
    let method = parsed.method.unwrap_or_default().as_bytes();
    let method = Method::from_bytes(method).map_err(|_| BAD)?;
    let uri = read.slice_ref(target.as_bytes());
    let uri = Uri::from_maybe_shared(uri).map_err(|_| BAD)?;
    let old = parsed.version == Some(0);
    let asked = Asked {
        head: method == Method::HEAD,
        connect: method == Method::CONNECT,
        old,
    };

    let mut fields = Fields::default();
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut map = spare.unwrap_or_default();
    // With room for what a flow may add.
    map.reserve(parsed.headers.len() + 2);
    for header in parsed.headers.iter() {
        let name = names.read(header.name).ok_or(BAD)?;
        let value = read.slice_ref(header.value);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| BAD)?;
        if fields.note(&name, &value)? {
            map.append(name, value);
        }
    }
    let body = fields.body(old)?;
    let keep = !fields.close && (!old || fields.keep_alive);
    let expects = fields.expects && !old && !body.is_over();

    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    if old {
        *request.version_mut() = Version::HTTP_10;
    }
    *request.headers_mut() = map;
    Ok(RequestHead {
        request,
        length,
        body,
        asked,
        keep,
        expects,
    })
}

/// The headers that say how long a body is and what becomes of the connection.
#[derive(Debug, Default)]
struct Fields {
    close: bool,
    /// Only HTTP/1.0 needs to say so.
    keep_alive: bool,
    length: Option<u64>,
    /// Whether `chunked` is the last coding of the last `Transfer-Encoding`.
    chunked: Option<bool>,
    expects: bool,
}

impl Fields {
    /// Whether the header is to be kept.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, NoRequest> {
        match *name {
            CONNECTION => {
                self.close |= lists(value, "close");
                self.keep_alive |= lists(value, "keep-alive");
            }
            CONTENT_LENGTH => {
                let length = number(value.as_bytes()).ok_or(BAD)?;
                match self.length {
                    Some(same) if same == length => return Ok(false),
                    Some(_) => return Err(BAD),
                    None => self.length = Some(length),
                }
            }
            TRANSFER_ENCODING => {
                let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
                let last = last.unwrap_or_default().trim_ascii();
                self.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
            }
            EXPECT => self.expects = value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(true)
    }

    /// The body that follows. Whatever others could understand in another way is refused.
    fn body(&self, old: bool) -> Result<Decoder, NoRequest> {
        match (self.chunked, self.length) {
            (None, length) => Ok(Decoder::Length(length.unwrap_or(0))),
            (Some(true), None) if !old => Ok(Decoder::chunked()),
            (Some(_), _) => Err(BAD),
        }
    }
}
