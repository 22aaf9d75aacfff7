//! Enriching the XML view (spec 03 §15.2).

use super::{Action, Enrich, PropertyScope, Source, Target, entry, inline_text};
use crate::expr::{Expr, xpath};
use crate::json;
use crate::mediator::{Context, content};
use crate::message::value::XmlValue;
use crate::message::{Body, Built, Envelope, Fault, Message, Value};
use crate::xml::{Document, NodeId, NodeKind, TooLong};
use bytes::Bytes;
use std::sync::Arc;

const LOG: &str = "EnrichMediator";

/// One node of a source.
enum Item {
    /// An element of the message itself.
    Own(NodeId),
    /// An element of another tree.
    Other(Arc<XmlValue>),
    Text(String),
}

/// Where a node goes.
enum Place {
    Element(NodeId),
    /// A text node.
    Text(NodeId),
    /// An attribute: its element, namespace, prefix and name.
    Attribute(NodeId, String, String, String),
}

fn failed(e: &xpath::EvalError) -> Fault {
    let mut fault = Fault::mediation("Failed to get the source for Enriching");
    fault.detail = Some(format!("{}: {e}", fault.message));
    fault
}

impl Enrich {
    pub(super) fn enrich_xml(&self, cx: &Context<'_>, message: &mut Message) -> Result<(), Fault> {
        if let Body::Built(built) = &message.body {
            built.envelope()?;
        }
        if self.action == Action::Remove {
            tracing::error!(target: LOG, "The remove action works on JSON messages only; nothing is removed");
            return Ok(());
        }
        let items = self.items(cx, message)?;
        if items.is_empty() {
            tracing::error!(target: LOG, "Cannot Enrich message from an empty source.");
            return Ok(());
        }
        match &self.target {
            Target::Custom(expr) => self.insert_at(cx, message, expr, items)?,
            Target::Scoped(scope, name) => {
                let value = self.property(cx, message, *scope, name, items)?;
                match scope {
                    PropertyScope::Default => message.properties.set(name, value),
                    PropertyScope::Axis2 => message.axis2.set(name, value),
                    PropertyScope::Operation => cx.exchange.operation(|p| p.set(name, value)),
                }
            }
            Target::Property(name) => {
                let value = self.property(cx, message, PropertyScope::Default, name, items)?;
                message.properties.set(name, value);
            }
            Target::Variable(name) => {
                let value = self.property(cx, message, PropertyScope::Default, name, items)?;
                message.variables.set(name, value);
            }
            Target::Body => self.insert_in_body(cx, message, items)?,
            Target::Envelope => set_envelope(cx, message, items)?,
            Target::Key(_) => {
                return Err(Fault::mediation("Invalid Target object to be enrich."));
            }
        }
        match message.envelope() {
            Some(envelope) => {
                within(cx, &envelope.document)?;
                short(cx, &envelope.document, envelope.root)
            }
            None => Ok(()),
        }
    }

    fn items(&self, cx: &Context<'_>, message: &Message) -> Result<Vec<Item>, Fault> {
        Ok(match &self.source {
            Source::Custom(Expr::XPath(path)) => {
                let scope = cx.scope(message);
                match path.evaluate(&scope).map_err(|e| failed(&e))? {
                    xpath::Value::Nodes(nodes) => {
                        let items = nodes.iter().map(|n| node_item(cx, message, n));
                        items
                            .filter_map(Result::transpose)
                            .collect::<Result<_, _>>()?
                    }
                    xpath::Value::String(text) => vec![Item::Text(text.into_owned())],
                    _ => Vec::new(),
                }
            }
            Source::Custom(expr) => match expr.object(&cx.scope(message))? {
                Some(value) => value_items(&value),
                None => match expr.string(&cx.scope(message))? {
                    Some(text) if !text.is_empty() => vec![Item::Text(text)],
                    _ => Vec::new(),
                },
            },
            Source::Body => {
                let payload = message.envelope().and_then(Envelope::payload);
                payload.map(Item::Own).into_iter().collect()
            }
            Source::Envelope => message
                .envelope()
                .map(|e| Item::Own(e.root))
                .into_iter()
                .collect(),
            Source::Property(name) => match message.properties.get(name) {
                Some(value) => value_items(value),
                None => {
                    tracing::error!(target: LOG, "Invalid source property type.");
                    Vec::new()
                }
            },
            Source::Xml(value) => vec![Item::Other(value.clone())],
            Source::Text(parts) => vec![Item::Text(inline_text(parts, &cx.scope(message))?)],
            Source::Entry(key, _) => match entry(cx, key) {
                Some(value) => value_items(value),
                None => {
                    tracing::error!(target: LOG, "Specified Resource as Source is not valid.");
                    Vec::new()
                }
            },
            Source::Paths(_) => Vec::new(),
        })
    }

    fn insert_at(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
        target: &Expr,
        items: Vec<Item>,
    ) -> Result<(), Fault> {
        let invalid = || Fault::mediation("Invalid Target object to be enrich.");
        let Expr::XPath(path) = target else {
            return Err(invalid());
        };
        let place = {
            let scope = cx.scope(message);
            let nodes = path.nodes(&scope).map_err(|e| failed(&e))?;
            nodes
                .first()
                .and_then(|n| place_of(message, n))
                .ok_or_else(invalid)?
        };
        let envelope = message.envelope_mut()?;
        let document = &mut envelope.document;
        match place {
            Place::Element(element) => self.insert(cx, document, element, items)?,
            Place::Text(node) => {
                let parent = document.parent(node).ok_or_else(invalid)?;
                match items.into_iter().next() {
                    Some(Item::Text(text)) => document.set_text(parent, &text),
                    Some(item) => {
                        document.detach(node);
                        if let Some(new) = self.node(document, &item) {
                            document.append_child(parent, new);
                        }
                    }
                    None => {}
                }
            }
            Place::Attribute(owner, namespace, prefix, local) => {
                let text = match items.into_iter().next() {
                    Some(Item::Text(text)) => text,
                    Some(Item::Own(node)) => document.string_value(node).into_owned(),
                    Some(Item::Other(value)) => {
                        value.document.string_value(value.node).into_owned()
                    }
                    None => return Ok(()),
                };
                document.set_attribute(owner, &prefix, &namespace, &local, &text);
            }
        }
        Ok(())
    }

    /// Inserts elements before, in or after an element; replacing takes it away.
    fn insert(
        &self,
        cx: &Context<'_>,
        document: &mut Document,
        element: NodeId,
        items: Vec<Item>,
    ) -> Result<(), Fault> {
        let mut inserted = false;
        for item in items {
            if let (Item::Text(text), Action::Replace) = (&item, self.action) {
                document.set_text(element, text);
                continue;
            }
            let Some(node) = self.node(document, &item) else {
                continue;
            };
            match self.action {
                Action::Replace => {
                    document.insert_before(element, node);
                    inserted |= node != element;
                }
                Action::Child => document.append_child(element, node),
                Action::Sibling => document.insert_after(element, node),
                Action::Remove => {}
            }
            // Elements that contain each other are copied with everything in them.
            within(cx, document)?;
        }
        if inserted {
            document.detach(element);
        }
        Ok(())
    }

    /// The node of an element in the message's tree: a copy, or the node itself when it moves.
    fn node(&self, document: &mut Document, item: &Item) -> Option<NodeId> {
        match item {
            Item::Own(node) if self.clone => Some(document.duplicate(*node)),
            Item::Own(node) => Some(*node),
            Item::Other(value) => Some(document.import(&value.document, value.node)),
            Item::Text(_) => None,
        }
    }

    fn insert_in_body(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
        items: Vec<Item>,
    ) -> Result<(), Fault> {
        if self.action == Action::Replace
            && let Some(Item::Text(text)) = items.first()
            && matches!(
                json::parse_lenient(text, &cx.services.limits.json),
                Ok(json::Value::Object(_) | json::Value::Array(_))
            )
        {
            let text = text.clone().into_bytes();
            return content::set_json(message, text, &cx.services.limits);
        }
        let envelope = message.envelope_mut()?;
        if let Some(first) = envelope.payload() {
            return self.insert(cx, &mut envelope.document, first, items);
        }
        let body = envelope.body();
        for item in &items {
            match self.node(&mut envelope.document, item) {
                Some(node) => envelope.document.append_child(body, node),
                None => tracing::error!(
                    target: LOG,
                    "Invalid Object type to be inserted into message body"
                ),
            }
        }
        Ok(())
    }

    /// The new value of a property.
    fn property(
        &self,
        cx: &Context<'_>,
        message: &Message,
        scope: PropertyScope,
        name: &str,
        items: Vec<Item>,
    ) -> Result<Value, Fault> {
        if self.action == Action::Child {
            let old = match scope {
                PropertyScope::Default => message.properties.get(name).cloned(),
                PropertyScope::Axis2 => message.axis2.get(name).cloned(),
                PropertyScope::Operation => cx.exchange.operation(|p| p.get(name).cloned()),
            };
            let element = match old {
                Some(Value::Xml(element)) => Some((element, true)),
                // `get-property(…)` as a target replaces a text.
                Some(Value::String(_)) if matches!(self.target, Target::Scoped(..)) => None,
                Some(Value::String(text)) => match Value::xml(&text, &cx.services.limits.xml) {
                    Some(Value::Xml(element)) => Some((element, false)),
                    _ => None,
                },
                _ => None,
            };
            if let Some((element, xml)) = element {
                let mut document = element.document.clone();
                for item in items {
                    let new = match &item {
                        Item::Own(node) => message
                            .envelope()
                            .map(|e| document.import(&e.document, *node)),
                        Item::Other(value) => Some(document.import(&value.document, value.node)),
                        Item::Text(_) => None,
                    };
                    if let Some(new) = new {
                        document.append_child(element.node, new);
                    }
                    within(cx, &document)?;
                }
                let node = element.node;
                short(cx, &document, node)?;
                return Ok(match xml {
                    true => Value::Xml(Arc::new(XmlValue { document, node })),
                    // The reference keeps a text a text: that of the element.
                    false => Value::String(document.own_text(node).into_owned()),
                });
            }
        }
        let most = cx.services.limits.xml.max_nodes;
        let mut left = cx.services.limits.xml.max_bytes;
        let several = items.len() > 1;
        let mut copied = 0;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(match item {
                Item::Text(text) => Value::String(text),
                Item::Other(value) => Value::Xml(value),
                Item::Own(node) => {
                    let Some(envelope) = message.envelope() else {
                        continue;
                    };
                    let bytes = cx.services.limits.xml.max_bytes;
                    if several {
                        let text = envelope.document.xml_within(node, left);
                        left -= text.map_err(|_| TooLong(bytes))?.len().min(left);
                    }
                    let value = XmlValue::copy(&envelope.document, node, bytes)?;
                    copied += value.document.node_count();
                    if copied > most {
                        return Err(too_many(most));
                    }
                    Value::Xml(Arc::new(value))
                }
            });
        }
        Ok(match (values.len(), values.pop()) {
            (1, Some(value)) => value,
            (_, last) => {
                values.extend(last);
                Value::List(Arc::new(values))
            }
        })
    }
}

fn too_many(most: usize) -> Fault {
    Fault::mediation(format!("The message would have more than {most} nodes"))
}

/// Fails when a tree has more nodes than a message may have.
fn within(cx: &Context<'_>, document: &Document) -> Result<(), Fault> {
    let most = cx.services.limits.xml.max_nodes;
    match document.node_count() > most {
        true => Err(too_many(most)),
        false => Ok(()),
    }
}

/// Fails when a tree is longer as XML than a message may be: copies share long texts and names.
fn short(cx: &Context<'_>, document: &Document, node: NodeId) -> Result<(), Fault> {
    let most = cx.services.limits.xml.max_bytes;
    match document.is_longer_than(node, most) {
        true => Err(TooLong(most).into()),
        false => Ok(()),
    }
}

fn is_own(message: &Message, document: &Document) -> bool {
    message
        .envelope()
        .is_some_and(|e| std::ptr::eq(&e.document, document))
}

fn node_item(
    cx: &Context<'_>,
    message: &Message,
    node: &xpath::Node<'_>,
) -> Result<Option<Item>, Fault> {
    if node.attribute.is_some() {
        return Ok(None);
    }
    Ok(match node.document.kind(node.node) {
        NodeKind::Element if is_own(message, node.document) => Some(Item::Own(node.node)),
        NodeKind::Element => {
            let most = cx.services.limits.xml.max_bytes;
            let value = XmlValue::copy(node.document, node.node, most)?;
            Some(Item::Other(Arc::new(value)))
        }
        NodeKind::Text | NodeKind::CData => {
            Some(Item::Text(node.document.text(node.node).to_owned()))
        }
        _ => None,
    })
}

fn value_items(value: &Value) -> Vec<Item> {
    match value {
        Value::Xml(value) => vec![Item::Other(value.clone())],
        Value::List(values) => values.iter().flat_map(value_items).collect(),
        other => vec![Item::Text(other.text().into_owned())],
    }
}

fn place_of(message: &Message, node: &xpath::Node<'_>) -> Option<Place> {
    if !is_own(message, node.document) {
        return None;
    }
    if let Some(index) = node.attribute {
        let attribute = node.document.attribute_at(node.node, index)?;
        return Some(Place::Attribute(
            node.node,
            attribute.namespace.to_owned(),
            attribute.prefix.to_owned(),
            attribute.local.to_owned(),
        ));
    }
    match node.document.kind(node.node) {
        NodeKind::Element => Some(Place::Element(node.node)),
        NodeKind::Text | NodeKind::CData => Some(Place::Text(node.node)),
        _ => None,
    }
}

/// Makes an envelope the message.
fn set_envelope(cx: &Context<'_>, message: &mut Message, items: Vec<Item>) -> Result<(), Fault> {
    let expected = || Fault::mediation("A SOAPEnvelope is expected");
    let limits = &cx.services.limits;
    let text = match items.into_iter().next() {
        Some(Item::Other(value)) => value
            .document
            .xml_within(value.node, limits.xml.max_bytes)?,
        _ => return Err(expected()),
    };
    let envelope = Envelope::parse(Bytes::from(text), &limits.xml).map_err(|_| expected())?;
    message.version = envelope.version;
    let mut built = Built::from_envelope(envelope);
    built.adopt(limits);
    message.body = Body::Built(Box::new(built));
    Ok(())
}
