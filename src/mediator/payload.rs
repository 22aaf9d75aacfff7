//! Bodies as values: reading a body as JSON, and putting JSON or XML in its place.

use super::Context;
use crate::expr::Expr;
use crate::json;
use crate::message::{Body, Built, Envelope, Fault, Message};
use crate::xml::{Document, NodeId, NodeKind};
use bytes::Bytes;
use std::sync::Arc;

/// The body of a built message as JSON; `None` when there is nothing, or no JSON form of it.
pub(super) fn json_of(message: &Message) -> Option<&json::Value> {
    match &message.body {
        Body::Built(built) => built.json_tree().ok().flatten(),
        _ => None,
    }
}

/// Makes a JSON value the body.
pub(super) fn set_json(
    message: &mut Message,
    value: &json::Value,
    conversion: &Arc<json::Options>,
) {
    let mut text = Vec::new();
    json::write(value, &mut text);
    let mut built = Built::from_json(Bytes::from(text));
    built.set_conversion(conversion);
    message.body = Body::Built(Box::new(built));
}

/// Makes an envelope the body.
pub(super) fn set_envelope(message: &mut Message, envelope: Envelope) {
    match &mut message.body {
        Body::Built(built) => built.set_envelope(envelope),
        body => *body = Body::Built(Box::new(Built::from_envelope(envelope))),
    }
}

/// The nodes that an XPath selects, attributes left out, as places in the message's own tree where
/// they are there: the second is a copy of a node of another tree.
pub(super) enum Selected {
    /// A node of the message.
    Own(NodeId),
    /// A copy of a node of a property.
    Copy(Box<Document>, NodeId),
}

/// Evaluates an XPath on a built message.
///
/// # Errors
/// When the evaluation throws.
pub(super) fn select(
    cx: Context<'_>,
    message: &Message,
    expression: &Expr,
) -> Result<Vec<Selected>, Fault> {
    let Expr::XPath(xpath) = expression else {
        return Ok(Vec::new());
    };
    let scope = cx.scope(message);
    let own = message.envelope().map(|e| std::ptr::from_ref(&e.document));
    let nodes = xpath.nodes(&scope).map_err(|e| {
        let mut fault = Fault::mediation(format!(
            "Evaluation of the XPath expression {} resulted in an error",
            xpath.text()
        ));
        fault.detail = Some(format!("{}: {e}", fault.message));
        fault
    })?;
    Ok(nodes
        .into_iter()
        .filter(|node| {
            node.attribute.is_none() && node.document.kind(node.node) != NodeKind::Document
        })
        .map(|node| {
            if own == Some(std::ptr::from_ref(node.document)) {
                Selected::Own(node.node)
            } else {
                let mut copy = Document::new();
                let id = copy.import(node.document, node.node);
                Selected::Copy(Box::new(copy), id)
            }
        })
        .collect())
}
