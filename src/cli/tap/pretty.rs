//! Bodies made readable: XML and JSON indented, other text as it is, the rest as a hex summary.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Indentation stops growing here; without a limit a small, deeply nested body could print as
/// gigabytes.
const MAX_INDENT: usize = 40;
/// Bytes of a binary body that are shown.
const HEX_BYTES: usize = 64;

/// The printed form of a body, or of its beginning if it is not complete.
pub(super) fn body(bytes: &[u8], complete: bool) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character may have been cut in two at the end of an incomplete body.
        Err(error) if !complete && error.error_len().is_none() => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return hex(bytes),
    };
    if text.contains('\0') {
        return hex(bytes);
    }
    let content = text.trim_start_matches('\u{feff}').trim();
    let pretty = match content.chars().next() {
        Some('<') if complete => xml(content),
        Some('{' | '[') if complete => json(content),
        _ => None,
    };
    printable(pretty.as_deref().unwrap_or(text))
}

/// Text without the control characters that could rewrite or restyle a terminal.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut out = format!("{} bytes of binary data:", bytes.len());
    for line in bytes.chunks(16).take(HEX_BYTES / 16) {
        out.push_str("\n ");
        for byte in line {
            let _ = write!(out, " {byte:02x}");
        }
        for _ in line.len()..16 {
            out.push_str("   ");
        }
        out.push_str("  ");
        out.extend(line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
    }
    if bytes.len() > HEX_BYTES {
        out.push_str("\n  …");
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    if !out.is_empty() {
        out.push('\n');
    }
    for _ in 0..depth.min(MAX_INDENT) {
        out.push_str("  ");
    }
}

/// A piece of an XML document, as it was written.
enum Piece<'a> {
    Open(&'a str),
    Close(&'a str),
    Other(&'a str),
    Text(&'a str),
}

/// Indented XML, `None` if it is not well-formed. All that is changed is white space between
/// pieces; the pieces are copied as they are.
fn xml(source: &str) -> Option<String> {
    let pieces = xml_pieces(source)?;
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut rest = pieces.as_slice();
    loop {
        rest = match rest {
            [] => return Some(out),
            [Piece::Open(open), Piece::Close(close), tail @ ..] => {
                new_line(&mut out, depth);
                out.extend([*open, *close]);
                tail
            }
            [
                Piece::Open(open),
                Piece::Text(text),
                Piece::Close(close),
                tail @ ..,
            ] => {
                new_line(&mut out, depth);
                out.extend([*open, *text, *close]);
                tail
            }
            [piece, tail @ ..] => {
                let text = match piece {
                    Piece::Open(text) | Piece::Close(text) | Piece::Other(text) => text,
                    Piece::Text(text) => text.trim(),
                };
                if matches!(piece, Piece::Close(_)) {
                    depth = depth.saturating_sub(1);
                }
                new_line(&mut out, depth);
                out.push_str(text);
                if matches!(piece, Piece::Open(_)) {
                    depth += 1;
                }
                tail
            }
        };
    }
}

fn xml_pieces(source: &str) -> Option<Vec<Piece<'_>>> {
    let mut reader = Reader::from_str(source);
    let mut pieces = Vec::new();
    let mut depth = 0_usize;
    let mut text_from = 0;
    loop {
        let from = position(&reader)?;
        let event = reader.read_event().ok()?;
        let to = position(&reader)?;
        // Text comes in several events where it has references or CDATA sections in it.
        if matches!(
            event,
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_)
        ) {
            continue;
        }
        let text = source.get(text_from..from)?;
        // White space that is all an element holds is content, elsewhere it is layout.
        let alone = matches!(event, Event::End(_)) && matches!(pieces.last(), Some(Piece::Open(_)));
        if !text.trim().is_empty() || (alone && !text.is_empty()) {
            pieces.push(Piece::Text(text));
        }
        text_from = to;
        let raw = source.get(from..to)?;
        match event {
            Event::Start(_) => {
                depth += 1;
                pieces.push(Piece::Open(raw));
            }
            Event::End(_) => {
                depth = depth.checked_sub(1)?;
                pieces.push(Piece::Close(raw));
            }
            Event::Eof => return (depth == 0).then_some(pieces),
            _ => pieces.push(Piece::Other(raw)),
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> Option<usize> {
    usize::try_from(reader.buffer_position()).ok()
}

/// Indented JSON, `None` if it is not valid. Order, duplicates and the digits of numbers stay as
/// they are, because the text is not rebuilt from values.
fn json(source: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Value>(source).ok()?;
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut opened = false;
    for c in source.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty object or array stays on its line.
        if opened != closes {
            new_line(&mut out, depth);
        }
        out.push(c);
        opened = matches!(c, '{' | '[');
        match c {
            '{' | '[' => depth += 1,
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            '"' => in_string = true,
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn xml_is_indented_and_otherwise_unchanged() {
        let source = "<?xml version='1.0'?><!-- c --><a x=\"1\"  y='2'><b>t &amp; <![CDATA[<u>]]></b>\
            <c/><d></d>  mixed <e> </e> text</a>";
        expect![[r#"
            <?xml version='1.0'?>
            <!-- c -->
            <a x="1"  y='2'>
              <b>t &amp; <![CDATA[<u>]]></b>
              <c/>
              <d></d>
              mixed
              <e> </e>
              text
            </a>"#]]
        .assert_eq(&body(source.as_bytes(), true));
    }

    #[test]
    fn json_is_indented_and_otherwise_unchanged() {
        let source = r#"{"b":[1.0,{}, [] ,"x\"{,"],"a":{"k":null},"a":1.50}"#;
        expect![[r#"
            {
              "b": [
                1.0,
                {},
                [],
                "x\"{,"
              ],
              "a": {
                "k": null
              },
              "a": 1.50
            }"#]]
        .assert_eq(&body(source.as_bytes(), true));
    }

    #[test]
    fn other_bodies() {
        assert_eq!(body(b"<a><b></a>", true), "<a><b></a>");
        assert_eq!(body(b"<a>", true), "<a>");
        assert_eq!(body(b"{\"a\":", true), "{\"a\":");
        assert_eq!(body(b"a=1&b=\x1b[31m\r\n", true), "a=1&b=\\u{1b}[31m\n");
        assert_eq!(body("<a>é".as_bytes().get(..4).unwrap(), false), "<a>");
        let binary: Vec<u8> = (0..=255).collect();
        expect![[r##"
            256 bytes of binary data:
              00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................
              10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................
              20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f   !"#$%&'()*+,-./
              30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  0123456789:;<=>?
              …"##]]
        .assert_eq(&body(&binary, true));
        expect![[r#"
            4 bytes of binary data:
              89 50 4e 47                                      .PNG"#]]
        .assert_eq(&body(b"\x89PNG", true));
    }

    #[test]
    fn deep_nesting_does_not_explode() {
        let levels = 8_000;
        let deep = "<a>".repeat(levels) + &"</a>".repeat(levels);
        assert!(body(deep.as_bytes(), true).len() < 100 * 2 * levels);
    }
}
