//! Bodies in parts: `multipart/form-data` as elements, `multipart/related` as SOAP with attachments
//! (SwA and MTOM) (spec 01 §16.2).

mod form;
mod related;

pub(super) use form::{append_form, write_form};
pub(super) use related::{Related, write_related};

use super::media;
use super::{Fault, outgoing};
use base64::Engine;
use bytes::Bytes;
use std::borrow::Cow;

/// Bounds of a body in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most parts.
    pub max_parts: usize,
    /// Most bytes of the headers of one part.
    pub max_header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_parts: 1000,
            max_header_bytes: 16 << 10,
        }
    }
}

/// Longest boundary; RFC 2046 allows 70.
const MOST_BOUNDARY: usize = 200;
/// Most headers of one part.
const MOST_HEADERS: usize = 64;

/// One part as it came.
#[derive(Clone, Debug, Default)]
pub struct Part {
    headers: Vec<Header>,
    /// The lines of the headers as they came, with the empty one behind them.
    head: Bytes,
    /// The bytes, still in their transfer encoding.
    pub body: Bytes,
}

/// A header of a part. Its bytes need not be UTF-8.
#[derive(Clone, Debug)]
struct Header {
    name: String,
    /// For reading.
    value: String,
    /// The value as it came, unfolded.
    raw: Vec<u8>,
}

impl Part {
    /// A header; upper and lower case are the same.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.find(name).map(|header| header.value.as_str())
    }

    fn find(&self, name: &str) -> Option<&Header> {
        let mut headers = self.headers.iter();
        headers.find(|header| header.name.eq_ignore_ascii_case(name))
    }

    /// The content type, as it was written.
    pub fn content_type(&self) -> Option<&str> {
        self.header("content-type")
    }

    /// `Content-ID` without angle brackets.
    pub fn id(&self) -> Option<&str> {
        let id = self.header("content-id")?.trim();
        Some(id.trim_start_matches('<').trim_end_matches('>'))
    }

    /// A parameter of `Content-Disposition`.
    fn disposition(&self, name: &str) -> Option<String> {
        disposition_parameter(self.header("content-disposition")?, name)
    }

    /// The same as the bytes that came, for writing it anew.
    fn disposition_bytes(&self, name: &str) -> Option<Vec<u8>> {
        // As Latin-1 every byte is a character, and the characters that matter are themselves.
        let raw = &self.find("content-disposition")?.raw;
        let text: String = raw.iter().copied().map(char::from).collect();
        let value = disposition_parameter(&text, name)?;
        Some(value.chars().filter_map(|c| u8::try_from(c).ok()).collect())
    }

    /// The bytes without their transfer encoding.
    ///
    /// # Errors
    /// Bytes that are not what `Content-Transfer-Encoding` says.
    pub fn decoded(&self) -> Result<Bytes, Fault> {
        let encoding = self.header("content-transfer-encoding").unwrap_or("binary");
        if encoding.trim().eq_ignore_ascii_case("base64") {
            return decode_base64(&self.body)
                .map(Bytes::from)
                .map_err(|e| broken(format!("a part is not base64: {e}")));
        }
        if encoding.trim().eq_ignore_ascii_case("quoted-printable") {
            return Ok(quoted_printable(&self.body).into());
        }
        Ok(self.body.clone())
    }

    /// Appends headers and bytes, as they came.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.body);
    }
}

fn push_header(name: &str, value: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    // A line break would start another header.
    let value = value.as_ref().iter().copied();
    out.extend(value.filter(|b| !matches!(b, b'\r' | b'\n')));
    out.extend_from_slice(b"\r\n");
}

fn broken(text: impl Into<String>) -> Fault {
    Fault::mediation(text).of_client()
}

/// A boundary that no body holds by chance.
pub(super) fn new_boundary() -> String {
    format!("MIMEBoundary_{}", outgoing::new_uuid().replace('-', ""))
}

/// Takes a body apart.
///
/// # Errors
/// A missing or overlong boundary, a body that does not end with it, too many parts or headers.
pub(super) fn parse(raw: &Bytes, content_type: &str, limits: Limits) -> Result<Vec<Part>, Fault> {
    let boundary = media::parameter(content_type, "boundary")
        .filter(|b| !b.is_empty() && b.len() <= MOST_BOUNDARY)
        .ok_or_else(|| broken("the multipart content type has no usable boundary"))?;
    let delimiter = format!("--{boundary}");
    let mut delimiters = Delimiters {
        raw,
        delimiter: delimiter.as_bytes(),
        at: 0,
    };
    let mut parts = Vec::new();
    let Some(mut open) = delimiters.next() else {
        return Err(broken("the multipart body does not contain its boundary"));
    };
    while !open.last {
        let Some(next) = delimiters.next() else {
            return Err(broken("the multipart body ends before its last boundary"));
        };
        if parts.len() >= limits.max_parts {
            return Err(broken(format!(
                "the multipart body has more than {} parts",
                limits.max_parts
            )));
        }
        parts.push(read_part(raw, open.content, next.before, limits)?);
        open = next;
    }
    Ok(parts)
}

/// One delimiter line: where what is before it ends, and where what is behind it starts.
#[derive(Clone, Copy)]
struct Delimiter {
    before: usize,
    content: usize,
    last: bool,
}

struct Delimiters<'a> {
    raw: &'a [u8],
    delimiter: &'a [u8],
    at: usize,
}

impl Iterator for Delimiters<'_> {
    type Item = Delimiter;

    fn next(&mut self) -> Option<Delimiter> {
        loop {
            let found = self.at + memchr::memmem::find(self.raw.get(self.at..)?, self.delimiter)?;
            let end = found + self.delimiter.len();
            self.at = end;
            let before = self.raw.get(..found)?;
            if !before.is_empty() && !before.ends_with(b"\n") {
                continue;
            }
            let rest = self.raw.get(end..)?;
            let last = rest.starts_with(b"--");
            let line = memchr::memchr(b'\n', rest);
            let tail = rest.get(..line.unwrap_or(rest.len()))?;
            // Blanks may follow; anything else means that this is a longer line of the content.
            if !last && (line.is_none() || !tail.iter().all(u8::is_ascii_whitespace)) {
                continue;
            }
            let before = before
                .strip_suffix(b"\r\n")
                .or_else(|| before.strip_suffix(b"\n"))
                .unwrap_or(before);
            return Some(Delimiter {
                before: before.len(),
                content: end + line.map_or(rest.len(), |at| at + 1),
                last,
            });
        }
    }
}

fn read_part(raw: &Bytes, start: usize, end: usize, limits: Limits) -> Result<Part, Fault> {
    // Two delimiters in a row share their line break.
    let content = raw.slice(start.min(end)..end);
    let mut headers: Vec<Header> = Vec::new();
    let mut at = 0;
    let mut ended = false;
    while let Some(rest) = content.get(at..).filter(|r| !r.is_empty()) {
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        let line = rest.get(..length).unwrap_or_default().trim_ascii_end();
        at += length;
        if line.is_empty() {
            ended = true;
            break;
        }
        if at > limits.max_header_bytes || headers.len() >= MOST_HEADERS {
            return Err(broken("a part of the multipart body has too long a header"));
        }
        let text = String::from_utf8_lossy(line);
        if text.starts_with([' ', '\t']) {
            if let Some(header) = headers.last_mut() {
                header.value.push(' ');
                header.value.push_str(text.trim());
                header.raw.push(b' ');
                header.raw.extend_from_slice(line.trim_ascii());
            }
            continue;
        }
        let colon = memchr::memchr(b':', line).and_then(|colon| line.get(colon + 1..));
        match (text.split_once(':'), colon) {
            (Some((name, value)), Some(raw)) => headers.push(Header {
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                raw: raw.trim_ascii().to_vec(),
            }),
            _ => return Err(broken("a part of the multipart body has a broken header")),
        }
    }
    let at = at.min(content.len());
    let head = content.slice(..at);
    let head = match (ended, head.last()) {
        (true, _) => head,
        // A part that is all headers.
        (false, None | Some(b'\n')) => [&*head, b"\r\n"].concat().into(),
        (false, Some(_)) => [&*head, b"\r\n\r\n"].concat().into(),
    };
    Ok(Part {
        headers,
        head,
        body: content.slice(at..),
    })
}

/// A parameter of a `Content-Disposition` value. File names may hold `;` and escaped quotes.
fn disposition_parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted),
            None => match after.split_once(';') {
                Some((text, next)) => (Cow::Borrowed(text.trim()), next),
                None => (Cow::Borrowed(after.trim()), ""),
            },
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(text.into_owned());
        }
        rest = next.trim_start().trim_start_matches(';');
    }
}

/// The text up to the closing quote, and what follows the quote.
fn quoted_text(quoted: &str) -> (Cow<'_, str>, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (text.into(), quoted.get(at + 1..).unwrap_or_default()),
            // Only a quote or backslash is escaped: browsers send file names with path separators.
            '\\' => match quoted.get(at + 1..).and_then(|r| r.chars().next()) {
                Some(escaped @ ('"' | '\\')) => {
                    text.push(escaped);
                    characters.next();
                }
                _ => text.push('\\'),
            },
            c => text.push(c),
        }
    }
    (text.into(), "")
}

pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, base64::DecodeError> {
    let packed: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    base64::engine::general_purpose::STANDARD.decode(packed)
}

fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte != b'=' {
            out.push(*byte);
            at += 1;
            continue;
        }
        match (hex(text.get(at + 1)), hex(text.get(at + 2))) {
            (Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                let rest = text.get(at + 1..).unwrap_or_default();
                if rest.starts_with(b"\r\n") {
                    at += 3;
                } else if rest.starts_with(b"\n") {
                    at += 2;
                } else {
                    out.push(b'=');
                    at += 1;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
