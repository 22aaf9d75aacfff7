//! `<localEntry key="…">` (spec 04 §3.1).

use crate::diag::{Place, codes};
use crate::endpoint::EndpointDef;
use crate::message::Value;
use crate::message::value::XmlValue;
use crate::syntax::{Element, Reader, text_of};
use crate::xml::{Document, Limits};
use bytes::Bytes;
use std::io::Read;
use std::sync::Arc;

/// A local entry as it is written.
#[derive(Debug)]
pub struct LocalEntryDef {
    /// Its value.
    pub value: Value,
    /// Its endpoint, when the value is an `<endpoint>`: references find it by the entry's key.
    pub endpoint: Option<EndpointDef>,
    /// Where its value has to be read from, once, before it is linked.
    pub remote: Option<RemoteEntry>,
}

/// An address that holds the value of a local entry.
#[derive(Clone, Debug)]
pub struct RemoteEntry {
    /// `http://…` or `https://…`.
    pub url: String,
    /// Where it is written.
    pub place: Place,
}

impl LocalEntryDef {
    /// Reads the element. An entry is its first child element, or its text.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<LocalEntryDef> {
        reader.known_attributes(element, &["key", "src", "description"]);
        reader.required(element, "key")?;
        if let Some(src) = element.attribute("src") {
            return from_source(reader, element, src);
        }
        let mut endpoint = None;
        let value = match element
            .children()
            .find(|c| c.is_element() && c.tag_name().name() != "description")
        {
            Some(child) => {
                if child.tag_name().name() == "endpoint" && reader.is_synapse(child) {
                    endpoint = Some(crate::endpoint::parse(reader, child)?);
                }
                let document = crate::mediator::inline_xml(reader, child)?;
                let node = document.root_element()?;
                Value::Xml(Arc::new(XmlValue { document, node }))
            }
            None => Value::String(text_of(element)),
        };
        Some(LocalEntryDef {
            value,
            endpoint,
            remote: None,
        })
    }
}

/// Files are read once, when the artifact is read; other addresses by who deploys it.
fn from_source(reader: &mut Reader, element: Element<'_, '_>, src: &str) -> Option<LocalEntryDef> {
    let place = reader.attribute_place(element, "src");
    if src.starts_with("http://") || src.starts_with("https://") {
        return Some(LocalEntryDef {
            value: Value::String(String::new()),
            endpoint: None,
            remote: Some(RemoteEntry {
                url: src.to_owned(),
                place,
            }),
        });
    }
    let Some(path) = src.strip_prefix("file:") else {
        reader.unsupported(
            place,
            format!("local entries from \"{src}\" are not supported"),
            Some("use src=\"file:path\", src=\"https://…\", or put the content inside the element"),
        );
        return None;
    };
    match read_file(path) {
        Ok(bytes) => Some(LocalEntryDef {
            value: value(bytes),
            endpoint: None,
            remote: None,
        }),
        Err(problem) => {
            reader.error(codes::UNREADABLE, place, problem);
            None
        }
    }
}

/// What a source holds: an element, else text.
pub fn value(bytes: Bytes) -> Value {
    let document = Document::parse(bytes.clone(), &Limits::default()).ok();
    match document.and_then(|d| d.root_element().map(|node| (d, node))) {
        Some((document, node)) => Value::Xml(Arc::new(XmlValue { document, node })),
        None => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Reads the file that a `file:` address names, up to a limit.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn read_file(path: &str) -> Result<Bytes, String> {
    const MAX: u64 = 16 << 20;
    let path = path.strip_prefix("//").unwrap_or(path);
    let read = std::fs::metadata(path).and_then(|m| {
        // Others may never end, or never begin.
        if !m.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX {
            return Err(std::io::Error::other(format!(
                "the file is larger than {MAX} bytes"
            )));
        }
        Ok(bytes)
    });
    read.map(Bytes::from)
        .map_err(|e| format!("cannot read {path}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::read_file;

    #[test]
    fn only_files_are_read() {
        for path in ["/dev/zero", "/"] {
            let problem = read_file(path).unwrap_err();
            assert_eq!(problem, format!("cannot read {path}: it is not a file"));
        }
    }
}
