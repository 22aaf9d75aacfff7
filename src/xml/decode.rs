//! Bytes to UTF-8 text.

use super::error::{Fault, Problem, XmlError};
use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How far an XML declaration is looked for.
const DECLARATION_BYTES: usize = 1024;

/// What the bytes of a document are written in.
#[derive(Clone, Copy)]
enum Charset {
    Known(&'static Encoding),
    /// The real ISO-8859-1; encoding_rs reads that name as windows-1252, which differs in 0x80 to 0x9F.
    Latin1,
    Ascii,
}

/// Decodes a document to UTF-8. The encoding is that of the byte order mark, else of `http_charset` (the parameter of
/// the content type), else of the XML declaration, else UTF-8. UTF-8 input is checked and returned without a copy, a
/// byte order mark cut off.
///
/// # Errors
/// An unknown encoding and any byte sequence that is malformed in it ([`Problem::Encoding`], with the offset in the
/// bytes given).
pub fn decode(input: Bytes, http_charset: Option<&str>) -> Result<Bytes, XmlError> {
    decoded(input, http_charset, true)
}

/// As [`decode`], for a text that is read whole afterwards: UTF-8 is not checked, as reading it does that. When reading
/// fails, `decode` says whether that is why.
///
/// # Errors
/// As [`decode`], but for input in UTF-8.
pub fn decode_to_read(input: Bytes, http_charset: Option<&str>) -> Result<Bytes, XmlError> {
    decoded(input, http_charset, false)
}

fn decoded(input: Bytes, http_charset: Option<&str>, check: bool) -> Result<Bytes, XmlError> {
    let (charset, mark) = match detect(&input, http_charset) {
        Ok(found) => found,
        Err(fault) => return Err(fault.locate(&input)),
    };
    let body = input.get(mark..).unwrap_or_default();
    let malformed = |at: usize, name: &str| {
        Err(Fault::new(
            mark + at,
            Problem::Encoding,
            format!("the bytes here are not valid {name}"),
        )
        .locate(&input))
    };
    match charset {
        Charset::Ascii => match body.iter().position(|byte| !byte.is_ascii()) {
            None => Ok(input.slice(mark..)),
            Some(at) => malformed(at, "US-ASCII"),
        },
        Charset::Known(encoding) if encoding == UTF_8 && !check => Ok(input.slice(mark..)),
        Charset::Known(encoding) if encoding == UTF_8 => match std::str::from_utf8(body) {
            Ok(_) => Ok(input.slice(mark..)),
            Err(error) => malformed(error.valid_up_to(), "UTF-8"),
        },
        Charset::Latin1 => Ok(Bytes::from(
            encoding_rs::mem::decode_latin1(body).into_owned(),
        )),
        Charset::Known(encoding) => match transcode(encoding, body) {
            Ok(text) => Ok(Bytes::from(text)),
            Err(at) => malformed(at, encoding.name()),
        },
    }
}

/// The text, or the offset of the first malformed sequence.
fn transcode(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, usize> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let capacity = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
    let mut text = String::with_capacity(capacity.unwrap_or(bytes.len()).min(bytes.len() * 2 + 16));
    let mut done = 0;
    loop {
        let rest = bytes.get(done..).unwrap_or_default();
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
        done += read;
        match result {
            DecoderResult::InputEmpty => return Ok(text),
            DecoderResult::OutputFull => text.reserve(bytes.len().saturating_sub(done) + 64),
            DecoderResult::Malformed(bad, after) => {
                return Err(done.saturating_sub(usize::from(bad) + usize::from(after)));
            }
        }
    }
}

/// The encoding and the length of the byte order mark.
fn detect(input: &[u8], http_charset: Option<&str>) -> Result<(Charset, usize), Box<Fault>> {
    match input {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Err(unknown("UTF-32")),
        [0xEF, 0xBB, 0xBF, ..] => return Ok((Charset::Known(UTF_8), 3)),
        [0xFF, 0xFE, ..] => return Ok((Charset::Known(UTF_16LE), 2)),
        [0xFE, 0xFF, ..] => return Ok((Charset::Known(UTF_16BE), 2)),
        _ => {}
    }
    // Without a mark, the first character of a document, which is ASCII, shows the byte order.
    let sixteen = match input {
        [0, first, ..] if *first != 0 => Some(UTF_16BE),
        [first, 0, ..] if *first != 0 => Some(UTF_16LE),
        _ => None,
    };
    let named = http_charset.map(|charset| charset.trim().trim_matches(['"', '\'']).trim());
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return match (by_name(name), sixteen) {
            (None, _) => Err(unknown(name)),
            // `UTF-16` without mark and without visible byte order is big-endian, by RFC 2781.
            (Some(Charset::Known(encoding)), _)
                if encoding == UTF_16LE && name.eq_ignore_ascii_case("utf-16") =>
            {
                Ok((Charset::Known(sixteen.unwrap_or(UTF_16BE)), 0))
            }
            (Some(charset), _) => Ok((charset, 0)),
        };
    }
    if let Some(sixteen) = sixteen {
        return Ok((Charset::Known(sixteen), 0));
    }
    let charset = match declared(input) {
        None => Charset::Known(UTF_8),
        Some(name) => match by_name(&name) {
            None => return Err(unknown(&name)),
            // The declaration was readable byte by byte, so that this is what a text written as UTF-16 became later.
            Some(Charset::Known(encoding)) if encoding == UTF_16LE || encoding == UTF_16BE => {
                Charset::Known(UTF_8)
            }
            Some(charset) => charset,
        },
    };
    Ok((charset, 0))
}

#[cold]
fn unknown(name: &str) -> Box<Fault> {
    Fault::new(
        0,
        Problem::Encoding,
        format!("the encoding `{}` is not known", name.escape_default()),
    )
}

fn by_name(name: &str) -> Option<Charset> {
    let is = |names: &[&str]| names.iter().any(|other| name.eq_ignore_ascii_case(other));
    if is(&["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "l1"]) {
        Some(Charset::Latin1)
    } else if is(&["us-ascii", "ascii"]) {
        Some(Charset::Ascii)
    } else {
        Encoding::for_label_no_replacement(name.as_bytes()).map(Charset::Known)
    }
}

/// The encoding an XML declaration names. Only finds the name; the parser judges the declaration.
fn declared(input: &[u8]) -> Option<String> {
    let head = input.get(..DECLARATION_BYTES).unwrap_or(input);
    let head = head.strip_prefix(b"<?xml")?;
    let head = head.get(..memchr::memmem::find(head, b"?>")?)?;
    let after = head
        .get(memchr::memmem::find(head, b"encoding")? + b"encoding".len()..)?
        .trim_ascii_start();
    let value = after.strip_prefix(b"=")?.trim_ascii_start();
    let (&quote, value) = value
        .split_first()
        .filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
    let name = value.get(..memchr::memchr(quote, value)?)?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}
