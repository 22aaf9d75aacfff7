//! `application/x-www-form-urlencoded`: fields of a query or a body, as elements and back
//! (spec 01 §15.3, §16.2).

use super::charset::Charset;
use crate::xml::{Document, NodeId};

/// The name of the element around form fields.
pub const WRAPPER: &str = "xformValues";

/// The fields of `a=b&c=d`, percent-decoded and read in a character set.
pub fn fields(raw: &[u8], charset: Charset) -> impl Iterator<Item = (String, String)> {
    raw.split(|b| *b == b'&')
        .filter(|part| !part.is_empty())
        .map(move |part| {
            let at = memchr::memchr(b'=', part).unwrap_or(part.len());
            let (name, value) = part.split_at(at);
            (
                charset.read_lossy(&percent_decode(name)),
                charset.read_lossy(&percent_decode(value.get(1..).unwrap_or_default())),
            )
        })
}

/// Appends `<xformValues>` with one child per field to `parent`.
pub(super) fn append(
    document: &mut Document,
    parent: NodeId,
    fields: impl Iterator<Item = (String, String)>,
) {
    let form = document.create_element("", "", WRAPPER);
    document.append_child(parent, form);
    for (name, value) in fields {
        let field = document.create_element("", "", &element_name(&name));
        document.set_text(field, &super::body::xml_text(&value));
        document.append_child(form, field);
    }
}

/// Writes the children of `payload` as `a=b&c=d`; a blank is `%20`.
pub(super) fn write(document: &Document, payload: NodeId, charset: Charset, out: &mut Vec<u8>) {
    for (index, field) in document.child_elements(payload).enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        encode(&field_name(document.local_name(field)), charset, out);
        out.push(b'=');
        encode(&document.string_value(field), charset, out);
    }
}

/// Percent-decoding as forms do it: `+` is a blank.
pub fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, hex(text.get(at + 1)), hex(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', _, _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

const DIGIT: &str = "_JsonReader_PD_";
const DOLLAR: &str = "_JsonReader_PS_";

/// The element name of a field: names that XML does not allow are encoded as the reference does.
pub(super) fn element_name(name: &str) -> String {
    let (prefix, rest) = match name.chars().next() {
        None => return "_".to_owned(),
        Some(c) if c.is_ascii_digit() => (DIGIT, name),
        Some('$') => (DOLLAR, name.get(1..).unwrap_or_default()),
        Some('-' | '.') => ("_", name),
        Some(_) => ("", name),
    };
    let mut out = String::with_capacity(prefix.len() + rest.len());
    out.push_str(prefix);
    out.extend(rest.chars().map(|c| {
        if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') {
            c
        } else {
            '_'
        }
    }));
    out
}

/// The field name of an element, the other way round.
pub(super) fn field_name(name: &str) -> std::borrow::Cow<'_, str> {
    if let Some(rest) = name.strip_prefix(DIGIT) {
        return rest.into();
    }
    match name.strip_prefix(DOLLAR) {
        Some(rest) => format!("${rest}").into(),
        None => name.into(),
    }
}

fn encode(text: &str, charset: Charset, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in charset.write_lossy(text).iter().copied() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(byte);
        } else {
            out.push(b'%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_through_xml() {
        for (field, element) in [
            ("name", "name"),
            ("1st", "_JsonReader_PD_1st"),
            ("$top", "_JsonReader_PS_top"),
            ("", "_"),
            ("-x", "_-x"),
            ("a b[0]", "a_b_0_"),
            ("größe", "größe"),
        ] {
            assert_eq!(element_name(field), element);
        }
        for name in ["name", "1st", "$top"] {
            assert_eq!(field_name(&element_name(name)), name);
        }
    }

    #[test]
    fn fields_are_decoded_in_their_character_set() {
        let read = |raw: &[u8], charset| fields(raw, charset).collect::<Vec<_>>();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            read(b"a=1+2&&b=%C3%A9&c&=d&e=%zz", Charset::UTF_8),
            [
                pair("a", "1 2"),
                pair("b", "é"),
                pair("c", ""),
                pair("", "d"),
                pair("e", "%zz")
            ]
        );
        let latin = Charset::named("ISO-8859-1").unwrap();
        assert_eq!(read(b"b=%E9", latin), [pair("b", "é")]);
        let mut out = Vec::new();
        encode("é +&", latin, &mut out);
        assert_eq!(out, b"%E9%20%2B%26");
    }
}
