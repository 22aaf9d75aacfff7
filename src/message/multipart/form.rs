//! `multipart/form-data`: a child per field, files as base64 text.

use super::{Part, broken, decode_base64, push_header};
use crate::message::Fault;
use crate::message::body::xml_text;
use crate::message::charset::Charset;
use crate::message::form::{element_name, field_name};
use crate::message::media;
use crate::xml::{Document, NodeId};
use base64::Engine;

/// Namespaces in which an element describes a file: the one the reference reads, and the one that
/// its documentation shows.
const FILE_NAMESPACES: [&str; 2] = [
    "http://org.apache.axis2/xsd/form-data",
    "http://ws.apache.org/ns/synapse/form-data",
];

/// Appends `<mediate>` with one child per part to `parent`.
///
/// # Errors
/// A part without name, and one that is not in its transfer encoding.
pub(in crate::message) fn append_form(
    document: &mut Document,
    parent: NodeId,
    parts: &[Part],
    charset: Charset,
) -> Result<(), Fault> {
    let root = document.create_element("", "", "mediate");
    document.append_child(parent, root);
    for part in parts {
        let name = part
            .disposition("name")
            .ok_or_else(|| broken("a part of the form has no name"))?;
        let element = document.create_element("", "", &element_name(&name));
        let body = part.decoded()?;
        let text = if part.disposition("filename").is_some() {
            base64::engine::general_purpose::STANDARD.encode(&body)
        } else {
            let own = part
                .content_type()
                .and_then(|t| media::parameter(t, "charset"))
                .and_then(Charset::named);
            xml_text(&own.unwrap_or(charset).read_lossy(&body))
        };
        document.set_text(element, &text);
        document.append_child(root, element);
    }
    Ok(())
}

/// Writes the children of `payload` as parts. A child of the same name and position as a file that
/// came stays a file, with its name and type; elements of the form-data namespace, and those with a
/// `filename` attribute, describe a file themselves.
///
/// # Errors
/// A file whose text is not base64.
pub(in crate::message) fn write_form(
    document: &Document,
    payload: NodeId,
    came: &[Part],
    boundary: &str,
    charset: Charset,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    // Which of the parts that came are still to be matched.
    let mut open: Vec<Option<(String, &Part)>> = came
        .iter()
        .map(|part| Some((element_name(&part.disposition("name")?), part)))
        .collect();
    for element in document.child_elements(payload) {
        let local = document.local_name(element);
        let mut matched = None;
        if let Some(slot) = open
            .iter_mut()
            .find(|slot| slot.as_ref().is_some_and(|(name, _)| name == local))
        {
            matched = slot.take();
        }
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        let attribute = |name: &str| document.attribute(element, "", name);
        let described = FILE_NAMESPACES.contains(&document.namespace(element))
            || attribute("filename").is_some();
        let part = matched.map(|(_, part)| part);
        if described {
            let name = attribute("name").map_or_else(|| field_name(local), Into::into);
            let content_type = file_type(attribute("content-type"), attribute("charset"));
            let file = attribute("filename").unwrap_or("file");
            let content_type = Some(content_type.as_bytes());
            write_head(name.as_bytes(), Some(file.as_bytes()), content_type, out);
            write_file(document, element, out)?;
        } else if let Some(part) = part.filter(|p| p.disposition("filename").is_some()) {
            let name = part.disposition_bytes("name").unwrap_or_default();
            let file = part.disposition_bytes("filename").unwrap_or_default();
            let content_type = part.find("content-type").map(|header| &*header.raw);
            write_head(&name, Some(&file), content_type, out);
            write_file(document, element, out)?;
        } else if let Some(inner) = document.child_elements(element).next() {
            write_head(field_name(local).as_bytes(), None, Some(b"text/xml"), out);
            document.write(inner, out);
        } else {
            let name = part.and_then(|p| p.disposition_bytes("name"));
            let name = name.unwrap_or_else(|| field_name(local).as_bytes().to_vec());
            write_head(&name, None, None, out);
            out.extend_from_slice(&charset.write_lossy(&document.string_value(element)));
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(())
}

fn file_type(content_type: Option<&str>, charset: Option<&str>) -> String {
    let content_type = content_type.unwrap_or("application/octet-stream");
    match charset {
        Some(charset) => format!("{content_type}; charset={charset}"),
        None => content_type.to_owned(),
    }
}

fn write_head(name: &[u8], file: Option<&[u8]>, content_type: Option<&[u8]>, out: &mut Vec<u8>) {
    let quoted = |text: &[u8], value: &mut Vec<u8>| {
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                value.push(b'\\');
            }
            value.push(byte);
        }
        value.push(b'"');
    };
    let mut value = b"form-data; name=\"".to_vec();
    quoted(name, &mut value);
    if let Some(file) = file {
        value.extend_from_slice(b"; filename=\"");
        quoted(file, &mut value);
    }
    push_header("Content-Disposition", value, out);
    if let Some(content_type) = content_type {
        push_header("Content-Type", content_type, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_file(document: &Document, element: NodeId, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = document.string_value(element);
    let bytes = decode_base64(text.as_bytes()).map_err(|e| {
        Fault::mediation(format!(
            "The file <{}> of the form is not base64: {e}",
            document.local_name(element)
        ))
    })?;
    out.extend_from_slice(&bytes);
    Ok(())
}
