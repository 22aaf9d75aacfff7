//! What `foreach` with a collection and `scatter-gather` make of their results.

use super::Context;
use crate::diag::codes;
use crate::json;
use crate::message::value::XmlValue;
use crate::message::{Body, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId, TooLong};
use bytes::Bytes;
use std::sync::Arc;

/// The form of the results.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// An array.
    Json,
    /// Elements inside one with this name.
    Xml(String),
}

impl Form {
    /// Reads `result-content-type` and `result-enclosing-element` of a mediator that people call
    /// `word`.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>, word: &str) -> Option<Form> {
        let kind = element.attribute("result-content-type");
        let place = reader.attribute_place(element, "result-content-type");
        match kind {
            Some("JSON") => Some(Form::Json),
            Some("XML") => match element.attribute("result-enclosing-element") {
                Some(name) if is_name(name) => Some(Form::Xml(name.to_owned())),
                Some(name) if !name.trim().is_empty() => {
                    let place = reader.attribute_place(element, "result-enclosing-element");
                    reader.error(
                        codes::INVALID_VALUE,
                        place,
                        format!("\"{name}\" is not the name of an element"),
                    );
                    None
                }
                _ => {
                    let place = reader.place(element);
                    reader.error(
                        codes::MISSING_ATTRIBUTE,
                        place,
                        format!(
                            "The 'result-enclosing-element' attribute is required for the configuration of a {word} mediator when the 'result-content-type' is 'XML'"
                        ),
                    );
                    None
                }
            },
            Some(other) => {
                reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!(
                        "The 'result-content-type' attribute should be either 'JSON' or 'XML', not \"{other}\""
                    ),
                );
                None
            }
            None => {
                reader.error(
                    codes::MISSING_ATTRIBUTE,
                    place,
                    format!(
                        "The 'result-content-type' attribute is required for the configuration of a {word} mediator"
                    ),
                );
                None
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The body of a built message as JSON. Text that is not quite JSON is read with good will, as the
/// reference's parser does.
pub(super) fn lenient_json(message: &Message) -> Option<json::Value> {
    if let Body::Built(built) = &message.body
        && let Some(raw) = built.json()
        && json::parse(raw, &json::Limits::default()).is_err()
    {
        let text = std::str::from_utf8(raw).ok()?;
        return json::parse_lenient(text, &json::Limits::default()).ok();
    }
    super::content::json_of(message).cloned()
}

/// A typed value as JSON; `None` for what is none.
pub(super) fn as_json(value: Value) -> Option<json::Value> {
    Some(match value {
        Value::Json(json) => Arc::unwrap_or_clone(json),
        Value::String(text) => json::Value::String(text),
        Value::Boolean(b) => json::Value::Bool(b),
        Value::Integer(_)
        | Value::Short(_)
        | Value::Long(_)
        | Value::Float(_)
        | Value::Double(_) => json::Value::number(value.text()),
        Value::Xml(_) | Value::Map(_) | Value::List(_) => return None,
    })
}

/// Elements made of markup, in a tree of their own.
///
/// # Errors
/// When the text is not markup.
pub(super) fn elements(cx: Context<'_>, text: &str) -> Result<(Document, Vec<NodeId>), Fault> {
    let failed = || Fault::mediation(format!("Error reading XML element: {text}"));
    let wrapped = Bytes::from(format!("<w>{text}</w>"));
    let document = Document::parse(wrapped, &cx.services.limits.xml).map_err(|_| failed())?;
    let nodes: Vec<NodeId> = document
        .root_element()
        .map(|root| document.child_elements(root).collect())
        .unwrap_or_default();
    match nodes.is_empty() {
        true => Err(failed()),
        false => Ok((document, nodes)),
    }
}

/// An element with copies of nodes of other trees in it.
///
/// # Errors
/// When it would be longer as XML than a message may be.
pub(super) fn enclose<'d>(
    cx: Context<'_>,
    name: &str,
    parts: impl Iterator<Item = (&'d Document, NodeId)>,
) -> Result<XmlValue, TooLong> {
    let mut document = Document::new();
    let root = document.create_element("", "", name);
    let top = document.document_node();
    document.append_child(top, root);
    for (from, node) in parts {
        let copy = document.import(from, node);
        document.append_child(root, copy);
    }
    XmlValue::new(document, root, cx.services.limits.xml.max_bytes)
}
