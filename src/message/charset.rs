//! Character sets of bodies, in and out (spec 01 §1.5 `CHARACTER_SET_ENCODING`).

use super::Fault;
use encoding_rs::{EncoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// A character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The real ISO-8859-1, which encoding_rs reads as windows-1252.
    Latin1,
    Ascii,
    /// UTF-16 with a byte order mark.
    Utf16,
    Other(&'static Encoding),
}

/// How a character is written that the character set does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// `&#8364;`.
    Xml,
    /// `\u20ac`.
    Json,
    /// `?`.
    Question,
}

impl Charset {
    /// UTF-8, the default.
    pub const UTF_8: Charset = Charset(Kind::Other(UTF_8));

    /// The character set of a name.
    pub fn named(name: &str) -> Option<Charset> {
        if name.eq_ignore_ascii_case("utf-8") {
            return Some(Charset::UTF_8);
        }
        let name = name.trim().trim_matches(['"', '\'']).trim();
        let is = |names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n));
        Some(Charset(if is(&["utf-8", "utf8"]) {
            Kind::Other(UTF_8)
        } else if is(&[
            "iso-8859-1",
            "iso8859-1",
            "iso_8859-1",
            "iso8859_1",
            "latin1",
            "l1",
        ]) {
            Kind::Latin1
        } else if is(&["us-ascii", "ascii"]) {
            Kind::Ascii
        } else if is(&["utf-16", "utf16"]) {
            Kind::Utf16
        } else {
            Kind::Other(Encoding::for_label_no_replacement(name.as_bytes())?)
        }))
    }

    /// Whether it is UTF-8.
    pub fn is_utf8(self) -> bool {
        self == Charset::UTF_8
    }

    /// The text of bytes; malformed sequences become U+FFFD. A byte order mark wins.
    pub fn read_lossy(self, bytes: &[u8]) -> String {
        match self.0 {
            Kind::Latin1 => encoding_rs::mem::decode_latin1(bytes).into_owned(),
            Kind::Ascii => String::from_utf8_lossy(bytes).into_owned(),
            Kind::Utf16 => UTF_16BE.decode(bytes).0.into_owned(),
            Kind::Other(encoding) => encoding.decode(bytes).0.into_owned(),
        }
    }

    /// The bytes of a text, with `?` for what the character set does not have.
    pub fn write_lossy(self, text: &str) -> Cow<'_, [u8]> {
        if self.is_utf8() {
            return Cow::Borrowed(text.as_bytes());
        }
        Cow::Owned(self.encode(text, Escape::Question))
    }

    /// The bytes of UTF-8 text.
    ///
    /// # Errors
    /// When the text is not UTF-8, which no formatter writes.
    pub fn write(self, text: Vec<u8>, escape: Escape) -> Result<Vec<u8>, Fault> {
        if self.is_utf8() {
            return Ok(text);
        }
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(self.encode(text, escape)),
            Err(_) => Err(Fault::mediation("the body to be written is not text")),
        }
    }

    fn encode(self, text: &str, escape: Escape) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        match self.0 {
            Kind::Latin1 => single_bytes(text, 0xff, escape, &mut out),
            Kind::Ascii => single_bytes(text, 0x7f, escape, &mut out),
            Kind::Utf16 => {
                out.extend_from_slice(&[0xfe, 0xff]);
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Kind::Other(encoding) if encoding == UTF_16BE => {
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Kind::Other(encoding) if encoding == UTF_16LE => {
                out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            }
            Kind::Other(encoding) => with_encoder(encoding, text, escape, &mut out),
        }
        out
    }
}

fn single_bytes(text: &str, last: u32, escape: Escape, out: &mut Vec<u8>) {
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) if u32::from(byte) <= last => out.push(byte),
            _ => out.extend_from_slice(escaped(c, escape).as_bytes()),
        }
    }
}

fn with_encoder(encoding: &'static Encoding, text: &str, escape: Escape, out: &mut Vec<u8>) {
    let mut encoder = encoding.new_encoder();
    let mut rest = text;
    loop {
        let room = encoder
            .max_buffer_length_from_utf8_without_replacement(rest.len())
            .unwrap_or(rest.len());
        out.reserve(room);
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, out, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return,
            EncoderResult::OutputFull => {}
            // Every character set here has the ASCII characters of the escape.
            EncoderResult::Unmappable(c) => {
                let text = escaped(c, escape);
                out.reserve(text.len() * 4);
                let _ = encoder.encode_from_utf8_to_vec_without_replacement(&text, out, false);
            }
        }
    }
}

fn escaped(c: char, escape: Escape) -> String {
    match escape {
        Escape::Xml => format!("&#{};", u32::from(c)),
        Escape::Json => {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect()
        }
        Escape::Question => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_are_missing_are_escaped() {
        let write = |name: &str, text: &str, escape| {
            let charset = Charset::named(name).unwrap();
            charset.write(text.as_bytes().to_vec(), escape).unwrap()
        };
        assert_eq!(write("iso-8859-1", "é€", Escape::Xml), b"\xe9&#8364;");
        assert_eq!(
            write("US-ASCII", "é😀", Escape::Json),
            b"\\u00e9\\ud83d\\ude00"
        );
        assert_eq!(write("windows-1252", "€ł", Escape::Question), b"\x80?");
        assert_eq!(write("utf-16", "é", Escape::Xml), [0xfe, 0xff, 0, 0xe9]);
        assert_eq!(write("UTF-16LE", "é", Escape::Xml), [0xe9, 0]);
        assert_eq!(write("Shift_JIS", "日é", Escape::Xml), b"\x93\xfa&#233;");
        assert_eq!(write("utf-8", "é", Escape::Xml), "é".as_bytes());
    }

    #[test]
    fn names_are_known_in_any_case() {
        assert!(Charset::named("\"UTF-8\"").unwrap().is_utf8());
        assert_eq!(Charset::named("latin1"), Charset::named("ISO-8859-1"));
        assert_ne!(Charset::named("windows-1252"), Charset::named("ISO-8859-1"));
        assert_eq!(Charset::named("no-such-set"), None);
        let utf16 = Charset::named("UTF-16").unwrap();
        assert_eq!(utf16.read_lossy(&[0xff, 0xfe, 0xe9, 0]), "é");
    }
}
