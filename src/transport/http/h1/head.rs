//! The client's first lines: of a request as they are written, of a response as they are read
//! (RFC 9112 §3–§6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use http_body::Body;

use super::body::Decoder;
use crate::message::request::Meaning;
use crate::message::stream::BodyStream;

/// How many headers are parsed without an allocation.
const USUAL_HEADERS: usize = 100;

/// The longest body; greater numbers have other meanings elsewhere.
const LONGEST: u64 = u64::MAX - 2;

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are still to be sent.
    Length(u64),
    Chunked,
    /// The end of the connection is its end.
    ToEnd,
    /// There is no body, or it was handed over whole.
    Done,
}

/// Ends the head of a request: length or chunked framing follows from the body alone.
pub(super) fn end_head(
    out: &mut Vec<u8>,
    body: &BodyStream,
    meaning: Meaning,
    old: bool,
) -> Framing {
    match body.size_hint().exact() {
        _ if body.is_end_stream() => {}
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            write_number(out, length, 10);
            out.extend_from_slice(b"\r\n\r\n");
            return match length {
                0 => Framing::Done,
                length => Framing::Length(length),
            };
        }
        None if !old && meaning == Meaning::Other => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            return Framing::Chunked;
        }
        // HTTP/1.0 knows no chunks, and with these methods no body is meant.
        None => {}
    }
    out.extend_from_slice(b"\r\n");
    Framing::Done
}

/// Writes `number` with the digits of `radix`, at most 16.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64, radix: u64) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        // A remainder by at most 16.
        text[at] = DIGITS[(number % radix) as usize & 15];
        number /= radix;
        if number == 0 || at == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// A response as far as it was read.
#[derive(Debug)]
pub(super) struct Head {
    pub response: Response<()>,
    /// Bytes of the head.
    pub length: usize,
    pub body: Decoder,
    /// The connection may be used again afterwards.
    pub keep: bool,
}

/// Why there is no head of a response (yet).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// Bytes are missing.
    Partial,
    Malformed(&'static str),
}

/// Whether the empty line that ends a head is in `read`, of which the first `scanned` bytes were
/// looked at before.
pub(super) fn has_end(read: &[u8], scanned: usize) -> bool {
    // The line feeds that end a head may lie on both sides.
    let from = scanned.saturating_sub(3).min(read.len());
    let rest = &read[from..];
    memchr::memchr_iter(b'\n', rest)
        .any(|at| matches!(rest.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

/// Whether a head that is not complete yet can still become one.
pub(super) fn check(read: &[u8], max_headers: usize) -> Result<(), NoHead> {
    with_headers(max_headers, |headers| {
        let mut response = httparse::Response::new(&mut []);
        httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, read, headers)
            .map(drop)
            .map_err(|error| NoHead::Malformed(words(error)))
    })
}

/// The names of the headers that a peer sends, in their order: most say the same ones every time,
/// spelled the same way, and to compare them costs less than to look them up.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(Box<str>, HeaderName)>);

impl Names {
    /// How many names are kept.
    const MOST: usize = 24;

    /// The name that stands in place `at`.
    fn read(&mut self, at: usize, spelled: &str) -> Option<HeaderName> {
        if let Some((known, name)) = self.0.get(at)
            && **known == *spelled
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(spelled.as_bytes()).ok()?;
        self.0.truncate(at);
        if self.0.len() == at && at < Self::MOST {
            self.0.push((spelled.into(), name.clone()));
        }
        Some(name)
    }
}

/// Reads the head of a response. Its header values share the memory of `read`.
pub(super) fn read_head(
    read: &Bytes,
    asked: Meaning,
    max_headers: usize,
    names: &mut Names,
) -> Result<Head, NoHead> {
    with_headers(max_headers, |headers| {
        let mut parsed = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, read, headers)
            .map_err(|error| NoHead::Malformed(words(error)))?;
        let httparse::Status::Complete(length) = status else {
            return Err(NoHead::Partial);
        };
        let status = parsed
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or(NoHead::Malformed("the status is no number of 100 or more"))?;
        let old = parsed.version == Some(0);
        let mut framing = Fields::default();
        // With room for what a flow may add.
        let mut map = HeaderMap::with_capacity(parsed.headers.len() + 2);
        for (at, header) in parsed.headers.iter().enumerate() {
            let wrong = NoHead::Malformed("a header is malformed");
            let Some(name) = names.read(at, header.name) else {
                return Err(wrong);
            };
            let Ok(value) = HeaderValue::from_maybe_shared(read.slice_ref(header.value)) else {
                return Err(wrong);
            };
            framing.note(&name, &value);
            map.append(name, value);
        }
        let (body, sure) = framing.body(status, asked, old)?;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = if old {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        *response.headers_mut() = map;
        if let Some(reason) = parsed.reason
            && status.canonical_reason() != Some(reason)
            && let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        let keep = sure && !framing.close && (!old || framing.keep_alive);
        Ok(Head {
            response,
            length,
            body,
            keep,
        })
    })
}

pub(super) type Lines<'a> = [MaybeUninit<httparse::Header<'a>>];

pub(super) fn with_headers<'a, T>(most: usize, run: impl FnOnce(&mut Lines<'a>) -> T) -> T {
    if most == USUAL_HEADERS {
        run(&mut [const { MaybeUninit::uninit() }; USUAL_HEADERS])
    } else {
        run(&mut vec![MaybeUninit::uninit(); most])
    }
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header name is malformed",
        httparse::Error::HeaderValue => "a header value is malformed",
        httparse::Error::NewLine => "a line ends in the wrong way",
        httparse::Error::Status => "the status line is malformed",
        httparse::Error::Token => "a token is malformed",
        httparse::Error::TooManyHeaders => "there are too many headers",
        httparse::Error::Version => "what came back is not HTTP/1",
    }
}

/// The headers that say how long a body is and whether the connection stays.
#[derive(Debug, Default)]
struct Fields {
    close: bool,
    /// Only HTTP/1.0 needs to say so.
    keep_alive: bool,
    length: Length,
    /// Whether `chunked` is the last coding of the last `Transfer-Encoding`.
    chunked: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    None,
    Bytes(u64),
    /// No number, or several that differ.
    Wrong,
}

impl Fields {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        match *name {
            CONNECTION => {
                self.close |= lists(value, "close");
                self.keep_alive |= lists(value, "keep-alive");
            }
            CONTENT_LENGTH => {
                for part in value.as_bytes().split(|byte| *byte == b',') {
                    self.length = match (number(part.trim_ascii()), &self.length) {
                        (Some(length), Length::None) => Length::Bytes(length),
                        (Some(length), Length::Bytes(same)) if length == *same => {
                            Length::Bytes(length)
                        }
                        _ => Length::Wrong,
                    };
                }
            }
            TRANSFER_ENCODING => {
                let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
                let last = last.unwrap_or_default().trim_ascii();
                self.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
    }

    /// The body that follows, and whether its end leaves no doubt.
    fn body(
        &self,
        status: StatusCode,
        asked: Meaning,
        old: bool,
    ) -> Result<(Decoder, bool), NoHead> {
        let none = Decoder::Length(0);
        match (status.as_u16(), asked) {
            // What follows is no HTTP any more.
            (101, _) | (200..=299, Meaning::Connect) => return Ok((none, false)),
            // Such a body does not exist, but whoever announces one may send it.
            (204, _) => {
                let silent = matches!(self.length, Length::None | Length::Bytes(0));
                return Ok((none, silent && self.chunked.is_none()));
            }
            (100..=199 | 304, _) | (_, Meaning::Head) => return Ok((none, true)),
            _ => {}
        }
        match (self.chunked, &self.length) {
            (Some(_), _) if old => Err(NoHead::Malformed("HTTP/1.0 has no transfer encodings")),
            // Others might go by the length.
            (Some(true), length) => Ok((Decoder::chunked(), *length == Length::None)),
            (Some(false), _) => Ok((Decoder::ToEnd, false)),
            (None, Length::Bytes(length)) => Ok((Decoder::Length(*length), true)),
            (None, Length::None) => Ok((Decoder::ToEnd, false)),
            (None, Length::Wrong) => Err(NoHead::Malformed("the length of the body is not clear")),
        }
    }
}

pub(super) fn lists(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })?;
    (number <= LONGEST).then_some(number)
}
