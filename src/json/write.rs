//! Compact JSON text.

use super::{Value, plain};

/// Appends `value` as compact JSON, the way Gson prints it: `/`, `<` and non-ASCII stay as they
/// are, control characters and U+2028/U+2029 are escaped, number text is untouched (spec 05 §4.3).
pub fn write(value: &Value, out: &mut Vec<u8>) {
    enum Open<'v> {
        Array(std::slice::Iter<'v, Value>),
        Object(std::slice::Iter<'v, (String, Value)>),
    }
    // An explicit stack: values built by hand may nest deeper than parsed ones.
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut current = Some(value);
    let mut first = true;
    loop {
        if let Some(value) = current.take() {
            first = false;
            match value {
                Value::Null => out.extend_from_slice(b"null"),
                Value::Bool(true) => out.extend_from_slice(b"true"),
                Value::Bool(false) => out.extend_from_slice(b"false"),
                Value::Number(text) => out.extend_from_slice(text.as_bytes()),
                Value::String(text) => write_string(text, out),
                Value::Array(items) => {
                    out.push(b'[');
                    open.push(Open::Array(items.iter()));
                    first = true;
                }
                Value::Object(members) => {
                    out.push(b'{');
                    open.push(Open::Object(members.iter()));
                    first = true;
                }
            }
        }
        let Some(innermost) = open.last_mut() else {
            return;
        };
        let next = match innermost {
            Open::Array(items) => items.next().map(|item| (None, item)),
            Open::Object(members) => members.next().map(|(name, item)| (Some(name), item)),
        };
        match next {
            Some((name, item)) => {
                if !first {
                    out.push(b',');
                }
                if let Some(name) = name {
                    write_string(name, out);
                    out.push(b':');
                }
                current = Some(item);
            }
            None => {
                out.push(match innermost {
                    Open::Array(_) => b']',
                    Open::Object(_) => b'}',
                });
                open.pop();
                first = false;
            }
        }
    }
}

/// [`write()`] into a new string (spec 05 §4.3).
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::new();
    write(value, &mut out);
    // Everything written came from strings, so this never replaces anything.
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = plain::run(bytes, 0, true);
    while let Some(&byte) = bytes.get(at) {
        let escaped;
        let (escape, length): (&[u8], usize) = match byte {
            b'"' => (b"\\\"", 1),
            b'\\' => (b"\\\\", 1),
            b'\n' => (b"\\n", 1),
            b'\r' => (b"\\r", 1),
            b'\t' => (b"\\t", 1),
            0x08 => (b"\\b", 1),
            0x0c => (b"\\f", 1),
            0x00..=0x1f => {
                escaped = format!("\\u{byte:04x}");
                (escaped.as_bytes(), 1)
            }
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => (b"\\u2028", 3),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => (b"\\u2029", 3),
            _ => {
                at += 1 + plain::run(bytes, at + 1, true);
                continue;
            }
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(escape);
        copied = at + length;
        at = copied + plain::run(bytes, copied, true);
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
