//! Registry resources: the files below `registry/` of the deployment directory (spec 04 §3.2).

use crate::expr::entries;
use crate::message::Value;
use crate::message::value::XmlValue;
use crate::xml::{Document, Limits};
use base64::Engine;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// The name of a file, by its path below `registry/`, among the entries of a plan; `None` for a
/// file that no key can name.
pub fn key(relative: &Path) -> Option<String> {
    let path = relative.to_str()?.replace('\\', "/");
    let (root, rest) = path.split_once('/')?;
    let scheme = match root {
        "governance" => "gov",
        "config" => "conf",
        "local" => "local",
        _ => return None,
    };
    entries::registry_name(&format!("{scheme}:{rest}"))
}

/// What a resource is: an element when it is well-formed XML, else text, else base64 of its bytes.
pub fn value(bytes: &[u8]) -> Value {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<')
        && let Ok(document) = Document::parse(Bytes::copy_from_slice(text), &Limits::default())
        && let Some(node) = document.root_element()
    {
        return Value::Xml(Arc::new(XmlValue { document, node }));
    }
    match std::str::from_utf8(text) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_xml_text_or_base64() {
        assert!(matches!(value(b" <a/>"), Value::Xml(_)));
        assert_eq!(value(b"<a>").as_str(), Some("<a>"));
        assert_eq!(value(b"{}").as_str(), Some("{}"));
        assert_eq!(value(b"\xff\xfe").as_str(), Some("//4="));
        assert_eq!(
            key(Path::new("governance/a/b.x")),
            entries::registry_name("gov:/a/b.x")
        );
        assert_eq!(key(Path::new("other/b.x")), None);
        assert_eq!(key(Path::new("b.x")), None);
    }
}
