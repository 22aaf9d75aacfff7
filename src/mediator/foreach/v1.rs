//! The loop over an XPath or JSON path: the items are the body of the message, one after the other
//! (spec 03 §11.1).

use crate::diag::codes;
use crate::expr::Expr;
use crate::expr::jsonpath::JsonPath;
use crate::json;
use crate::mediator::content::{Selected, json_of, select, set_envelope, set_value};
use crate::mediator::describe::{Attr, Tag};
use crate::mediator::target::{INLINE, Target, TargetDef};
use crate::mediator::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, list};
use crate::message::value::XmlValue;
use crate::message::{Fault, Message, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId, TooLong};
use std::sync::Arc;

/// Mediators that send, which a loop on one message cannot hold.
const SENDING: &[&str] = &["call", "send", "callout"];

const ROOT: Tag = Tag::mediator(
    "foreach",
    "The first form, without `collection`: each part becomes the body, one after the other, and what the sequence makes of it takes its place. Properties persist. `<call>`, `<send>` and `<callout>` are refused in it.",
)
.with(&[
    Attr::expression("expression", "The parts: XPath nodes, or a JSON array.").required(),
    Attr::text("id", "Goes in front of the property names, with `_`."),
    Attr::text("sequence", "Sequence that runs for each part; or `<sequence>`."),
    Attr::truth("continueLoopOnFailure", "`true`: a part that fails is left out, and the next one runs."),
    Attr::text("collection", "Blank; otherwise it is the second form.").ignored(),
    Attr::text("version", "From MI's tools.").ignored(),
])
.of(&[&INLINE]);

pub(super) const FORM: &Tag = &ROOT;

/// Reads the element.
pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    if !element.has_attribute("expression") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "XPath/JSONPath expression is required for an ForEach Mediator under the \"expression\" attribute",
        );
    }
    let expression = reader.expression(element, "expression");
    if let Some(Expr::Synapse { .. }) = &expression {
        let place = reader.attribute_place(element, "expression");
        reader.unsupported(
            place,
            "\"expression\" of <foreach> is an XPath or json-eval(…)",
            Some("write collection=\"${…}\""),
        );
    }
    for child in reader.children(element) {
        if !matches!(reader.name(child), Some("sequence" | "description")) {
            ROOT.refuse(reader, child);
        }
    }
    let target = TargetDef::of_sequence(reader, element);
    match &target {
        None if reader.errors() == before => {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                "Couldn't find sequence information",
            );
        }
        Some(target) => {
            let sending = target.list().and_then(|l| l.named(SENDING).next());
            if let Some(sending) = sending {
                reader.error(
                    codes::CONFLICT,
                    sending.place.clone(),
                    "Sequence cannot contain Call, Send or CallOut mediators",
                );
            }
        }
        None => {}
    }
    let (expression, target) = (expression?, target?);
    let id = element.attribute("id").map(|id| format!("{id}_"));
    let id = id.unwrap_or_default();
    (reader.errors() == before).then(|| {
        Arc::new(ForeachDef {
            rules: Arc::new(Rules {
                expression,
                counter: format!("{id}FOREACH_COUNTER"),
                original: format!("{id}FOREACH_ORIGINAL_MESSAGE"),
                go_on: element
                    .attribute("continueLoopOnFailure")
                    .is_some_and(|v| v.trim().eq_ignore_ascii_case("true")),
            }),
            target,
        }) as Arc<dyn Definition>
    })
}

#[derive(Debug)]
struct Rules {
    expression: Expr,
    counter: String,
    original: String,
    go_on: bool,
}

#[derive(Debug)]
struct ForeachDef {
    rules: Arc<Rules>,
    target: TargetDef,
}

impl Definition for ForeachDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Foreach {
            rules: self.rules.clone(),
            target: linker.within("target", |l| self.target.link(l)),
        }))
    }
}

#[derive(Debug)]
struct Foreach {
    rules: Arc<Rules>,
    target: Target,
}

impl MediateAsync for Foreach {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            // Nothing in the loop goes on behind it by itself.
            let cx = cx.apart();
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            if self.target.sends(cx) {
                return Err(Fault::mediation(
                    "ForEach: Referred sequence cannot contain Call, Send or CallOut mediators",
                ));
            }
            match &self.rules.expression {
                Expr::Json { path, .. } => self.json(cx, message, path).await?,
                _ => self.xml(cx, message).await?,
            }
            Ok(Flow::Continue)
        })
    }
}

impl Foreach {
    async fn json(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        path: &JsonPath,
    ) -> Result<(), Fault> {
        let mut root = json_of(message).cloned().unwrap_or(json::Value::Null);
        let found = path.evaluate(&root).map(|found| found.into_value());
        let Ok(json::Value::Array(items)) = found else {
            return Err(Fault::mediation(format!(
                "JSON element expressed by the path {} is not a valid JSON array",
                path.as_str()
            )));
        };
        if items.is_empty() {
            tracing::info!(
                target: "ForEachMediator",
                "{}No elements found for the JSONPath : {}", cx.route.label, path.as_str()
            );
            return Ok(());
        }
        check_count(cx, items.len())?;
        self.remember(cx, message)?;
        let limits = &cx.services.limits;
        let mut results = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            set_value(message, item, limits);
            if self.turn(cx, message, index).await {
                results.push(json_of(message).cloned().unwrap_or(json::Value::Null));
            } else if !self.rules.go_on {
                break;
            }
        }
        path.set(&mut root, &json::Value::Array(results))
            .map_err(|e| Fault::mediation(e.to_string()))?;
        set_value(message, root, limits);
        Ok(())
    }

    async fn xml(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let selected = select(cx, message, &self.rules.expression)?;
        let Some(envelope) = message.envelope() else {
            return Err(Fault::mediation("the body has no XML form"));
        };
        if selected.is_empty() {
            return Ok(());
        }
        check_count(cx, selected.len())?;
        let mut rest = envelope.clone();
        let mut items = Document::new();
        let mut nodes: Vec<NodeId> = Vec::new();
        let mut parent = None;
        // The last first: an item that stands inside another is taken out of it, as the reference does.
        for (index, item) in selected.into_iter().enumerate().rev() {
            nodes.push(match item {
                Selected::Own(node) => {
                    if index == 0 {
                        parent = rest.document.parent(node);
                    }
                    let item = items.import(&rest.document, node);
                    rest.document.detach(node);
                    item
                }
                Selected::Copy(document, node) => items.import(&document, node),
            });
        }
        nodes.reverse();
        let parent = parent.unwrap_or_else(|| rest.body());
        let mut base = rest.clone();
        base.clear_body();
        let base = base.compact();
        self.remember(cx, message)?;
        for (index, node) in nodes.into_iter().enumerate() {
            let mut envelope = base.clone();
            let item = envelope.document.import(&items, node);
            let body = envelope.body();
            envelope.document.append_child(body, item);
            set_envelope(message, envelope);
            if self.turn(cx, message, index).await {
                let result = message.envelope().and_then(|e| Some((e, e.payload()?)));
                if let Some((envelope, payload)) = result {
                    let copy = rest.document.import(&envelope.document, payload);
                    rest.document.append_child(parent, copy);
                }
            } else if !self.rules.go_on {
                break;
            }
        }
        let most = cx.services.limits.xml.max_bytes;
        if rest.document.is_longer_than(rest.root, most) {
            return Err(TooLong(most).into());
        }
        set_envelope(message, rest);
        Ok(())
    }

    /// Keeps what the message was.
    fn remember(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        if let Some(envelope) = message.envelope() {
            let most = cx.services.limits.xml.max_bytes;
            let original = XmlValue::new(envelope.document.clone(), envelope.root, most)?;
            message
                .properties
                .set(&self.rules.original, Value::Xml(Arc::new(original)));
        }
        Ok(())
    }

    /// One round; whether it ended well.
    async fn turn(&self, cx: Context<'_>, message: &mut Message, index: usize) -> bool {
        tokio::task::consume_budget().await;
        let number = |n: usize| Value::Integer(i32::try_from(n).unwrap_or(i32::MAX));
        message.properties.set(&self.rules.counter, number(index));
        let flow = self.target.run_caught(cx, message).await;
        message
            .properties
            .set(&self.rules.counter, number(index + 1));
        flow == Flow::Continue
    }
}

/// A fault when a list has more items than a message may be split into.
pub(super) fn check_count(cx: Context<'_>, count: usize) -> Result<(), Fault> {
    let limit = cx.services.settings.limits.max_split_parts;
    if count <= limit {
        return Ok(());
    }
    Err(Fault::mediation(format!(
        "The list has {count} items; at most {limit} are allowed (myelin.max_split_parts)"
    )))
}
