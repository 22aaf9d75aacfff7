//! Making one message of a group (spec 03 §12, "How merged?").

use super::group::Group;
use crate::diag::codes;
use crate::expr::Expr;
use crate::json::Value as Json;
use crate::mediator::Context;
use crate::mediator::content::{Selected, json_of, select, set_envelope, set_value};
use crate::message::media::Media;
use crate::message::{Body, Fault, Message, PayloadKind, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId, NodeKind, TooLong};
use std::collections::HashMap;

/// How the results are merged.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// What is taken of each message; the first element of the body when absent.
    expression: Option<Expr>,
    /// The property that holds the element around the results.
    enclosing: Option<String>,
    /// `aggregateElementType`.
    shape: Shape,
}

/// What JSON results become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    /// An array of them.
    #[default]
    Root,
    /// Objects and arrays are merged.
    Child,
    /// Any other text: an empty array.
    Empty,
}

/// What one message gives.
#[derive(Debug)]
pub(super) enum Piece {
    Xml(Box<Document>, Vec<NodeId>),
    Json(Json),
    /// The XML of the first message stays where it is.
    First,
}

impl Piece {
    /// Roughly how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        match self {
            Piece::Xml(document, nodes) => nodes.iter().map(|n| tree_weight(document, *n)).sum(),
            Piece::Json(value) => json_weight(value),
            Piece::First => 0,
        }
    }
}

/// Roughly how many bytes an element and everything in it holds.
pub(super) fn tree_weight(document: &Document, node: NodeId) -> usize {
    const NODE: usize = 48;
    document
        .descendants(node)
        .map(|n| NODE + document.text(n).len())
        .sum::<usize>()
        + NODE
}

fn json_weight(value: &Json) -> usize {
    const VALUE: usize = 32;
    VALUE
        + match value {
            Json::Null | Json::Bool(_) => 0,
            Json::Number(text) => text.len(),
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(json_weight).sum(),
            Json::Object(members) => members
                .iter()
                .map(|(name, value)| VALUE + name.len() + json_weight(value))
                .sum(),
        }
}

impl Merge {
    /// Reads the attributes of `onComplete`.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Merge {
        let expression = reader.expression(element, "expression");
        if let Some(other) = &expression
            && !matches!(other, Expr::XPath(_) | Expr::Json { .. })
        {
            let place = reader.attribute_place(element, "expression");
            reader.unsupported(
                place,
                "<onComplete> works with XPath and json-eval(…) only",
                Some("use scatter-gather for ${…}"),
            );
        }
        if element.attribute("enclosingElementProperty") == Some("") {
            let place = reader.attribute_place(element, "enclosingElementProperty");
            reader.error(
                codes::INVALID_VALUE,
                place,
                "enclosingElementProperty attribute value must be a non-empty value",
            );
        }
        Merge {
            expression,
            enclosing: element
                .attribute("enclosingElementProperty")
                .map(str::to_owned),
            shape: match element.attribute("aggregateElementType") {
                None | Some("root") => Shape::Root,
                Some("child") => Shape::Child,
                Some(_) => Shape::Empty,
            },
        }
    }

    fn text(&self) -> &str {
        self.expression
            .as_ref()
            .map_or("the first element of the body", Expr::text)
    }

    /// What the first message gives.
    pub(super) fn first(&self, cx: Context<'_>, message: &mut Message) -> Piece {
        match &self.expression {
            Some(Expr::Json { .. }) => self.piece(cx, message).unwrap_or(Piece::First),
            _ => Piece::First,
        }
    }

    /// What a further message gives.
    pub(super) fn piece(&self, cx: Context<'_>, message: &mut Message) -> Result<Piece, Fault> {
        if let Some(Expr::Json { path, .. }) = &self.expression {
            let found =
                json_of(message).and_then(|root| Some(path.evaluate(root).ok()?.into_value()));
            return Ok(Piece::Json(found.unwrap_or(Json::Null)));
        }
        fill_empty_json(message);
        self.nodes(cx, message).map_err(|cause| self.failed(&cause))
    }

    fn nodes(&self, cx: Context<'_>, message: &Message) -> Result<Piece, Fault> {
        let mut out = Document::new();
        let mut nodes = Vec::new();
        let mut matches = self.matches(cx, message)?;
        // As moving one after the other does, from the back: a result has nothing that is another one, and
        // all of them are never more than the message.
        let mut source = match (message.envelope(), matches.len()) {
            (Some(envelope), 2..) => Some(envelope.document.clone()),
            _ => None,
        };
        while let Some(selected) = matches.pop() {
            let copy = match (&selected, &mut source, message.envelope()) {
                (Selected::Own(node), Some(source), _) => {
                    let copy = out.import(source, *node);
                    source.detach(*node);
                    copy
                }
                (Selected::Own(node), None, Some(envelope)) => {
                    out.import(&envelope.document, *node)
                }
                (Selected::Copy(document, node), ..) => out.import(document, *node),
                (Selected::Own(_), None, None) => continue,
            };
            nodes.push(copy);
        }
        nodes.reverse();
        match nodes.is_empty() {
            true => Err(Fault::mediation(
                "Could not find matching elements to aggregate.",
            )),
            false => Ok(Piece::Xml(Box::new(out), nodes)),
        }
    }

    fn matches(&self, cx: Context<'_>, message: &Message) -> Result<Vec<Selected>, Fault> {
        match &self.expression {
            Some(expression) => select(cx, message, expression),
            None => {
                let payload = message.envelope().and_then(|e| e.payload());
                Ok(payload.into_iter().map(Selected::Own).collect())
            }
        }
    }

    fn failed(&self, cause: &Fault) -> Fault {
        let mut fault = Fault::mediation(format!("Error evaluating expression: {}", self.text()));
        fault.detail = Some(format!("{}: {}", fault.message, cause.message));
        fault
    }

    /// Makes the first message of a group the result of all of them.
    ///
    /// # Errors
    /// When a message had nothing to give, or the enclosing element is missing.
    pub(super) fn apply(&self, cx: Context<'_>, group: &mut Group) -> Result<(), Fault> {
        let pieces = std::mem::take(&mut group.pieces);
        let first = &mut group.first;
        if matches!(&self.expression, Some(Expr::Json { .. })) {
            return self.apply_json(cx, first, pieces);
        }
        fill_empty_json(first);
        let others: Vec<Piece> = pieces.into_iter().skip(1).collect::<Result<_, _>>()?;
        if !others.is_empty() {
            self.lift(cx, first)?;
            let envelope = first.envelope_mut()?;
            let body = envelope.body();
            for piece in others {
                let Piece::Xml(document, nodes) = piece else {
                    continue;
                };
                for node in nodes {
                    if document.kind(node) == NodeKind::Element {
                        let copy = envelope.document.import(&document, node);
                        envelope.document.append_child(body, copy);
                    }
                }
            }
        }
        if let Some(name) = &self.enclosing {
            let (document, node) = match enclosing(first, name)? {
                Value::Xml(xml) => (xml.document.clone(), xml.node),
                _ => return Err(not_an_element(name)),
            };
            let envelope = first.envelope_mut()?;
            let body = envelope.body();
            let results: Vec<NodeId> = envelope.document.child_elements(body).collect();
            let around = envelope.document.import(&document, node);
            for result in results {
                envelope.document.append_child(around, result);
            }
            envelope.document.append_child(body, around);
        }
        let most = cx.services.limits.xml.max_bytes;
        match first.envelope() {
            Some(all) if all.document.is_longer_than(all.root, most) => Err(TooLong(most).into()),
            _ => Ok(()),
        }
    }

    /// Lifts what the first message gives into the body when it lies deeper; what was around the
    /// first of it goes.
    fn lift(&self, cx: Context<'_>, first: &mut Message) -> Result<(), Fault> {
        let own: Vec<NodeId> = self
            .matches(cx, first)?
            .into_iter()
            .filter_map(|selected| match selected {
                Selected::Own(node) => Some(node),
                Selected::Copy(..) => None,
            })
            .collect();
        let envelope = first.envelope_mut()?;
        let body = envelope.body();
        let document = &mut envelope.document;
        let Some(parent) = own
            .first()
            .filter(|n| document.kind(**n) == NodeKind::Element)
            .and_then(|n| document.parent(*n))
            .filter(|parent| *parent != body && document.kind(*parent) == NodeKind::Element)
        else {
            return Ok(());
        };
        let mut top = parent;
        while let Some(up) = document.parent(top)
            && up != body
        {
            top = up;
        }
        if document.parent(top) != Some(body) {
            // Not in the body: nothing moves.
            return Ok(());
        }
        for node in own {
            if document.kind(node) == NodeKind::Element && !contains(document, node, body) {
                document.append_child(body, node);
            }
        }
        document.detach(top);
        Ok(())
    }

    fn apply_json(
        &self,
        cx: Context<'_>,
        first: &mut Message,
        pieces: Vec<Result<Piece, Fault>>,
    ) -> Result<(), Fault> {
        let items = pieces.into_iter().filter_map(|piece| match piece {
            Ok(Piece::Json(value)) => Some(value),
            _ => None,
        });
        let merged = match self.shape {
            Shape::Root => Json::Array(items.collect()),
            Shape::Child => {
                let mut items = items;
                let start = items.next().unwrap_or(Json::Object(Vec::new()));
                items.fold(start, merge)
            }
            Shape::Empty => Json::Array(Vec::new()),
        };
        let result = match &self.enclosing {
            None => merged,
            Some(name) => match enclosing(first, name)? {
                Value::Xml(xml) => {
                    let name = xml.document.local_name(xml.node).to_owned();
                    Json::Object(vec![(name, merged)])
                }
                _ => return Err(not_an_element(name)),
            },
        };
        set_value(first, result, &cx.services.limits);
        Ok(())
    }
}

fn contains(document: &Document, ancestor: NodeId, node: NodeId) -> bool {
    let mut at = Some(node);
    while let Some(here) = at {
        if here == ancestor {
            return true;
        }
        at = document.parent(here);
    }
    false
}

fn enclosing<'m>(message: &'m Message, name: &str) -> Result<&'m Value, Fault> {
    message
        .properties
        .get(name)
        .ok_or_else(|| Fault::mediation(format!("Enclosing Element property: {name} not found ")))
}

fn not_an_element(name: &str) -> Fault {
    Fault::mediation(format!(
        "Enclosing Element defined in the property: {name} is not an OMElement "
    ))
}

/// A JSON message without content looks like an empty object in XML.
fn fill_empty_json(message: &mut Message) {
    let json = message.effective_media() == Some(Media::Json);
    let empty = matches!(&message.body, Body::Built(b) if b.kind == PayloadKind::Empty);
    if !json || !empty || message.envelope().is_some_and(|e| e.payload().is_some()) {
        return;
    }
    if let Some(envelope) = message.envelope() {
        let mut envelope = envelope.clone();
        let object = envelope.document.create_element("", "", "jsonObject");
        let body = envelope.body();
        envelope.document.append_child(body, object);
        set_envelope(message, envelope);
    }
}

/// Merges two results: objects member by member, arrays one behind the other; of what does not fit
/// an array is made.
fn merge(one: Json, other: Json) -> Json {
    match (one, other) {
        (Json::Object(mut members), Json::Object(more)) => {
            let mut places: HashMap<String, usize> = HashMap::with_capacity(members.len());
            for (at, (name, _)) in members.iter().enumerate() {
                places.entry(name.clone()).or_insert(at);
            }
            for (name, value) in more {
                match places.get(&name).and_then(|at| members.get_mut(*at)) {
                    Some(slot) => {
                        let old = std::mem::replace(&mut slot.1, Json::Null);
                        slot.1 = merge(old, value);
                    }
                    None => {
                        places.insert(name.clone(), members.len());
                        members.push((name, value));
                    }
                }
            }
            Json::Object(members)
        }
        (Json::Array(mut items), Json::Array(more)) => {
            items.extend(more);
            Json::Array(items)
        }
        (Json::Array(mut items), value) => {
            items.push(value);
            Json::Array(items)
        }
        (value, Json::Array(more)) => {
            let mut items = vec![value];
            items.extend(more);
            Json::Array(items)
        }
        (one, other) => Json::Array(vec![one, other]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, merge};
    use crate::json;

    #[test]
    fn objects_merge_member_by_member() {
        let parse = |text: &str| json::parse(text.as_bytes(), &json::Limits::default()).unwrap();
        let merged = merge(
            parse(r#"{"a":1,"b":{"c":[1]},"a":2}"#),
            parse(r#"{"b":{"c":[2],"d":0},"a":3,"e":4,"e":5}"#),
        );
        assert_eq!(
            json::to_text(&merged),
            r#"{"a":[1,3],"b":{"c":[1,2],"d":0},"a":2,"e":[4,5]}"#
        );
    }

    #[test]
    fn wide_objects_merge_in_linear_time() {
        let wide = |from: u32| {
            let member = |n: u32| (format!("k{n}"), Json::Null);
            Json::Object((from..from + 200_000).map(member).collect())
        };
        let Json::Object(members) = merge(wide(0), wide(200_000)) else {
            panic!("no object");
        };
        assert_eq!(members.len(), 400_000);
    }
}
