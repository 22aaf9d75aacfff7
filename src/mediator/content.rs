//! Bodies as content: reading a body as JSON or selecting in it, and putting JSON, text or XML in its
//! place (spec 03 §14.3).

use super::Context;
use crate::expr::Expr;
use crate::json;
use crate::message::{Body, BodyLimits, Built, Envelope, Fault, Message, PayloadKind, SoapVersion};
use crate::xml::{self, Document, NodeId, NodeKind, RootName};
use bytes::Bytes;

/// The body of a built message as JSON; `None` when there is nothing, or no JSON form of it.
pub(super) fn json_of(message: &Message) -> Option<&json::Value> {
    match &message.body {
        Body::Built(built) => built.json_tree().ok().flatten(),
        _ => None,
    }
}

/// Makes a JSON value the body; who reads it next need not parse it.
pub(super) fn set_value(message: &mut Message, value: json::Value, limits: &BodyLimits) {
    install(message, Built::from_json_value(value), limits);
}

/// Makes JSON text the body; blank text makes it empty.
///
/// # Errors
/// Text that does not even begin like JSON.
pub(super) fn set_json(
    message: &mut Message,
    text: Vec<u8>,
    limits: &BodyLimits,
) -> Result<(), Fault> {
    let built = match json::classify(&text) {
        json::Kind::Invalid => {
            return Err(Fault::mediation(format!(
                "Error creating JSON Payload from source {}",
                shown(&text)
            )));
        }
        json::Kind::Empty => Built::empty(message.version),
        _ => Built::from_json(Bytes::from(text)),
    };
    install(message, built, limits);
    Ok(())
}

/// Makes text the body.
pub(super) fn set_text(message: &mut Message, text: Vec<u8>, limits: &BodyLimits) {
    install(message, Built::from_text(Bytes::from(text)), limits);
}

fn install(message: &mut Message, mut built: Built, limits: &BodyLimits) {
    built.adopt(limits);
    message.body = Body::Built(Box::new(built));
}

/// Makes the first element of an XML text the content of the body. SOAP header blocks stay. A SOAP
/// envelope replaces the whole message.
///
/// # Errors
/// Text that is not well-formed, or has no element.
pub(super) fn set_xml(
    message: &mut Message,
    text: Vec<u8>,
    limits: &BodyLimits,
) -> Result<(), Fault> {
    let text = Bytes::from(text);
    if let Some(version) = envelope_version(&text) {
        let envelope = Envelope::parse(text.clone(), &limits.xml)
            .map_err(|e| unusable(&text, &format!("{e:?}")))?;
        message.version = version;
        install(message, Built::from_envelope(envelope), limits);
        return Ok(());
    }
    let soap = matches!(&message.body, Body::Built(b) if b.kind == PayloadKind::Soap);
    let mut envelope = without_payload(message, soap)?;
    let body = envelope.body();
    let parsed = envelope
        .document
        .parse_into(body, text.clone(), &limits.xml);
    let built = match parsed {
        Ok(_) if soap => Built::from_envelope(envelope),
        Ok(_) => Built::from_xml(text, envelope),
        // More than one element, or text around it: the reference reads it inside an element of its
        // own and takes the first child.
        Err(_) => {
            let first = first_element(&text, &limits.xml)?;
            let node = envelope.document.import(&first.0, first.1);
            envelope.document.append_child(body, node);
            Built::from_envelope(envelope)
        }
    };
    install(message, built, limits);
    Ok(())
}

fn envelope_version(text: &Bytes) -> Option<SoapVersion> {
    match xml::root_name(text) {
        RootName::Found { namespace, local } if local == "Envelope" => {
            [SoapVersion::V11, SoapVersion::V12]
                .into_iter()
                .find(|v| v.namespace() == namespace)
        }
        _ => None,
    }
}

/// The envelope of the message with an empty body: a new one, with copies of the header blocks.
fn without_payload(message: &Message, soap: bool) -> Result<Envelope, Fault> {
    if !soap {
        return Ok(Envelope::empty(message.version));
    }
    let Some(old) = message.envelope() else {
        return Ok(Envelope::empty(message.version));
    };
    let mut fresh = Envelope::empty(old.version);
    fresh.synthetic = old.synthetic;
    if let Some(header) = old.header() {
        for block in old.document.child_elements(header) {
            let target = fresh.header_mut();
            let copy = fresh.document.import(&old.document, block);
            fresh.document.append_child(target, copy);
        }
    }
    Ok(fresh)
}

fn first_element(text: &[u8], limits: &xml::Limits) -> Result<(Document, NodeId), Fault> {
    let mut padded = Vec::with_capacity(text.len() + 24);
    padded.extend_from_slice(b"<pfPadding>");
    padded.extend_from_slice(text);
    padded.extend_from_slice(b"</pfPadding>");
    let document =
        Document::parse(Bytes::from(padded), limits).map_err(|e| unusable(text, &e.message))?;
    let first = document
        .root_element()
        .and_then(|root| document.child_elements(root).next());
    match first {
        Some(node) => Ok((document, node)),
        None => Err(Fault::mediation(
            "Generated content is not a valid XML payload",
        )),
    }
}

fn unusable(text: &[u8], cause: &str) -> Fault {
    let mut fault = Fault::mediation(format!(
        "Error creating SOAP Envelope from source {}",
        shown(text)
    ));
    fault.detail = Some(format!("{}: {cause}", fault.message));
    fault
}

/// So much of a text as an error message shows, on one line.
pub(super) fn shown(text: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(text);
    let mut out: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
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

/// Says what the new body is: `messageType`, `ContentType` and the header (spec 03 §14.3).
pub(super) fn set_type(message: &mut Message, media: &str) {
    let xml = media == "application/xml"
        && message.effective_message_type().is_some_and(|have| {
            ["application/xml", "text/xml", "application/soap+xml"]
                .iter()
                .any(|known| have.eq_ignore_ascii_case(known))
        });
    if !xml {
        message.set_message_type(media);
    }
    message.axis2.remove("NO_ENTITY_BODY");
}

/// Whether a text is one well-formed XML element; a declaration in front of it is not part of it.
pub(super) fn as_xml<'t>(text: &'t str, limits: &xml::Limits) -> Option<&'t str> {
    let text = text.trim();
    if text.len() < 4 || !text.starts_with('<') || !text.ends_with('>') {
        return None;
    }
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Document::parse(bytes, limits).ok()?;
    Some(match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or(text, |(_, root)| root),
        None => text,
    })
}

/// The texts of the child nodes of an element.
pub(super) fn write_children(document: &Document, parent: NodeId, out: &mut Vec<u8>) {
    for child in document.children(parent) {
        if document.kind(child) != NodeKind::ProcessingInstruction {
            document.write(child, out);
        }
    }
}
