//! Character sets, base64, URL encoding and message authentication codes, as the Java functions
//! of the reference do them (spec 05 §3.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{EncoderResult, Encoding};
use hmac::{Hmac, KeyInit, Mac};

/// A Java character set. The ones `encoding_rs` has in another form are done here.
#[derive(Clone, Copy)]
pub(in crate::expr) struct Charset(Kind);

#[derive(Clone, Copy)]
enum Kind {
    Utf8,
    Ascii,
    Latin1,
    /// Writes a byte order mark, reads one.
    Utf16,
    Utf16Be,
    Utf16Le,
    Other(&'static Encoding),
}

impl Charset {
    pub(in crate::expr) const UTF_8: Charset = Charset(Kind::Utf8);

    pub(in crate::expr) fn from_name(name: &str) -> Option<Charset> {
        let kind = match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Kind::Utf8,
            "us-ascii" | "ascii" | "iso646-us" => Kind::Ascii,
            "iso-8859-1" | "iso8859-1" | "iso8859_1" | "latin1" => Kind::Latin1,
            "utf-16" | "utf16" | "utf_16" => Kind::Utf16,
            "utf-16be" | "utf_16be" => Kind::Utf16Be,
            "utf-16le" | "utf_16le" => Kind::Utf16Le,
            other => Kind::Other(Encoding::for_label_no_replacement(other.as_bytes())?),
        };
        Some(Charset(kind))
    }

    /// Java `getBytes`: what the set does not have becomes `?`.
    pub(in crate::expr) fn encode(self, text: &str) -> Vec<u8> {
        let narrow = |limit: u32| {
            text.chars()
                .map(|c| {
                    u8::try_from(u32::from(c))
                        .ok()
                        .filter(|_| u32::from(c) < limit)
                })
                .map(|b| b.unwrap_or(b'?'))
                .collect()
        };
        match self.0 {
            Kind::Utf8 => text.as_bytes().to_vec(),
            Kind::Ascii => narrow(128),
            Kind::Latin1 => narrow(256),
            Kind::Utf16 => {
                let units = text.encode_utf16().flat_map(u16::to_be_bytes);
                [0xFE, 0xFF].into_iter().chain(units).collect()
            }
            Kind::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Kind::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Kind::Other(encoding) => encode_with(encoding, text),
        }
    }

    /// Java `new String(bytes, charset)`.
    pub(in crate::expr) fn decode(self, bytes: &[u8]) -> String {
        let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let units = bytes.chunks(2).map(|c| match c {
                [a, b] => unit([*a, *b]),
                _ => 0xFFFD,
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or('\u{FFFD}'))
                .collect()
        };
        match self.0 {
            Kind::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Kind::Ascii => bytes
                .iter()
                .map(|&b| if b < 128 { char::from(b) } else { '\u{FFFD}' })
                .collect(),
            Kind::Latin1 => bytes.iter().map(|&b| char::from(b)).collect(),
            Kind::Utf16 => match bytes {
                [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
                [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
                all => wide(all, u16::from_be_bytes),
            },
            Kind::Utf16Be => wide(bytes, u16::from_be_bytes),
            Kind::Utf16Le => wide(bytes, u16::from_le_bytes),
            Kind::Other(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        }
    }
}

fn encode_with(encoding: &'static Encoding, text: &str) -> Vec<u8> {
    let mut encoder = encoding.new_encoder();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        let need = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        out.reserve(need.unwrap_or(rest.len() * 4 + 16));
        let (result, read) =
            encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut out, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return out,
            EncoderResult::Unmappable(_) => out.push(b'?'),
            EncoderResult::OutputFull if rest.is_empty() => return out,
            EncoderResult::OutputFull => {}
        }
    }
}

/// The base64 text is read back in the same character set, which garbles it in wide ones.
pub(super) fn base64_encode(text: &str, charset: Charset) -> String {
    let encoded = STANDARD.encode(charset.encode(text));
    charset
        .decode(encoded.as_bytes())
        .trim_matches(|c: char| c <= ' ')
        .to_owned()
}

/// Lenient: both alphabets, anything else is skipped, `=` ends the text.
pub(super) fn base64_decode(text: &str, charset: Charset) -> String {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut held = 0u32;
    let mut bits = 0;
    for byte in charset.encode(text) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => continue,
        };
        held = (held << 6 | u32::from(value)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    charset
        .decode(&bytes)
        .trim_matches(|c: char| c <= ' ')
        .to_owned()
}

/// Path-and-query encoding; `+` is only safe after the first `?`.
pub(super) fn url_encode(text: &str, charset: Charset) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut in_query = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_url_safe(c, in_query) {
            in_query |= c == '?';
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        let end = rest
            .find(|c| is_url_safe(c, in_query))
            .unwrap_or(rest.len());
        let (unsafe_run, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
        for byte in charset.encode(unsafe_run) {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(digit), 16).map(|d| d.to_ascii_uppercase()));
            }
        }
        rest = next;
    }
    out
}

fn is_url_safe(c: char, in_query: bool) -> bool {
    c.is_ascii_alphanumeric() || "-_.!~*'();/:@&=$,?".contains(c) || (c == '+' && in_query)
}

/// `%XX` in UTF-8 and `+`; an escape that is none stays as it is.
pub(super) fn url_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return String::from_utf8_lossy(&out).into_owned(),
            [b'%', high, low, tail @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    tail
                }
                _ => {
                    out.push(b'%');
                    rest.get(1..).unwrap_or_default()
                }
            },
            [b'+', tail @ ..] => {
                out.push(b' ');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Lower-case hexadecimal code, by the name Java has for the algorithm.
pub(super) fn hmac_hex(text: &[u8], key: &[u8], algorithm: &str) -> Result<String, String> {
    if key.is_empty() {
        return Err("hmac-generate: the key is empty".to_owned());
    }
    match algorithm.to_ascii_lowercase().as_str() {
        "hmacsha1" => mac::<Hmac<sha1::Sha1>>(text, key),
        "hmacsha224" => mac::<Hmac<sha2::Sha224>>(text, key),
        "hmacsha256" => mac::<Hmac<sha2::Sha256>>(text, key),
        "hmacsha384" => mac::<Hmac<sha2::Sha384>>(text, key),
        "hmacsha512" => mac::<Hmac<sha2::Sha512>>(text, key),
        "hmacmd5" => mac::<Hmac<md5::Md5>>(text, key),
        _ => Err(format!(
            "hmac-generate: Algorithm {algorithm} not available"
        )),
    }
}

fn mac<M: Mac + KeyInit>(text: &[u8], key: &[u8]) -> Result<String, String> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|e| e.to_string())?;
    mac.update(text);
    let code = mac.finalize().into_bytes();
    Ok(code.iter().map(|b| format!("{b:02x}")).collect())
}
