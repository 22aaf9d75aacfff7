//! Registry resources: the files below `registry/` of the deployment directory (spec 04 §3.2).

use crate::expr::entries;
use crate::message::Value;
use crate::message::value::XmlValue;
use crate::settings::Properties;
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

/// All that a plan keeps of one file of the registry: the resource under its name, what it is as text
/// when it is bytes, and when it is `FILE.properties` the properties of `FILE`.
pub fn entries(relative: &Path, bytes: &[u8]) -> Vec<(String, Value)> {
    let Some(name) = key(relative) else {
        return Vec::new();
    };
    let mut found = Vec::with_capacity(1);
    if let Some(owner) = name.strip_suffix(".properties") {
        let pairs = Properties::read(&String::from_utf8_lossy(bytes));
        let pairs = pairs.iter().map(|(k, v)| (k.to_owned(), Value::from(v)));
        let properties = Value::Map(Arc::new(pairs.collect()));
        found.push((entries::properties_name(owner), properties));
    }
    if std::str::from_utf8(bytes).is_err() {
        let text = String::from_utf8_lossy(bytes).into_owned();
        found.push((entries::binary_name(&name), Value::String(text)));
    }
    found.push((name, value(bytes)));
    found
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
    fn properties_and_bytes_are_kept_beside_the_resource() {
        let of = |path: &str, bytes: &[u8]| entries(Path::new(path), bytes);
        let mut map = of("governance/a.json.properties", b"owner = Ann\n");
        map.extend(of("governance/a.json", b"{}"));
        map.extend(of("governance/b.bin", b"a\xff"));
        let map: entries::LocalEntries = map.into_iter().collect();
        assert_eq!(
            entries::resource_property(&map, "gov:/a.json", "owner"),
            Some("Ann")
        );
        assert_eq!(entries::resource_property(&map, "gov:/a.json", "x"), None);
        assert_eq!(entries::resource_property(&map, "gov:/b.bin", "x"), None);
        let text = |key| entries::resource_text(&map, key).map(|t| t.into_owned());
        assert_eq!(text("gov:/a.json").as_deref(), Some("{}"));
        assert_eq!(text("gov:/b.bin").as_deref(), Some("a\u{fffd}"));
        assert_eq!(
            text("gov:/a.json.properties").as_deref(),
            Some("owner = Ann\n")
        );
        assert!(of("other/x", b"").is_empty());
    }

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
