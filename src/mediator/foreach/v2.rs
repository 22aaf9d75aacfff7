//! The loop over a collection: every item is the body of a copy, and the flow goes on when all have
//! ended (spec 03 §11.2).

use super::v1::check_count;
use crate::diag::codes;
use crate::expr::jsonpath::JsonPath;
use crate::expr::{Expr, Namespaces};
use crate::json;
use crate::mediator::content::{Selected, json_of, select, set_envelope, set_value};
use crate::mediator::describe::{Attr, SEQUENCE, Tag};
use crate::mediator::gather::{Form, enclose, lenient_json};
use crate::mediator::{
    Boxed, Context, Definition, Flow, Linker, ListDef, MediateAsync, Run, list, run_sequence,
    settle,
};
use crate::message::media::Media;
use crate::message::{Envelope, Fault, Message, SequenceId, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId, TooLong};
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::{Arc, Mutex, PoisonError};

const ROOT: Tag = Tag::mediator(
    "foreach",
    "The second form, with `collection`: each item is the body of a copy, the copies run at the same time, and the flow goes on when all have ended. What the sequence makes of an item takes its place. `<call>` is allowed in it.",
)
.with(&[
    Attr::expression("collection", "A JSON array or a list, such as `${payload.orders}` or `${xpath('//order')}`.").required(),
    Attr::truth("parallel-execution", "`false`: one after the other.").or("true"),
    Attr::truth(
        "update-original",
        "`false`: the results go into `target-variable`, and the message stays as it was.",
    )
    .or("true"),
    Attr::words("result-content-type", &["JSON", "XML"], "Needed with `update-original=\"false\"`."),
    Attr::text("target-variable", "Variable that gets the results. Needed with `update-original=\"false\"`."),
    Attr::text("result-enclosing-element", "Root element of an XML result."),
    Attr::text("counter-variable", "Variable with the number of the item, from 0. Only with `parallel-execution=\"false\"`."),
    Attr::truth("continue-without-aggregation", "`true`: the flow goes on at once, and the results are dropped."),
    Attr::text("version", "From MI's tools.").ignored(),
])
.of(&[&SEQUENCE]);

pub(super) const FORM: &Tag = &ROOT;

/// Reads the element.
pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let is = |name: &str, default: bool| match element.attribute(name) {
        None => default,
        Some(text) if default => !text.trim().eq_ignore_ascii_case("false"),
        Some(text) => text.trim().eq_ignore_ascii_case("true"),
    };
    let parallel = is("parallel-execution", true);
    let forget = is("continue-without-aggregation", false);
    let collection = reader.expression(element, "collection");
    let counter = element.attribute("counter-variable").map(str::to_owned);
    if parallel && counter.is_some() {
        let place = reader.attribute_place(element, "counter-variable");
        reader.error(
            codes::CONFLICT,
            place,
            "The 'counter-variable' attribute is not allowed when parallel-execution is true",
        );
    }
    let goal = match (forget, is("update-original", true)) {
        (true, _) => Some(Goal::Nothing),
        (false, true) => collection
            .as_ref()
            .and_then(|c| Origin::parse(reader, element, c))
            .map(Goal::Update),
        (false, false) => parse_variable(reader, element),
    };
    let mut body = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("sequence") if body.is_none() => {
                SEQUENCE.check(reader, child);
                let handler = crate::mediator::sequence::on_error(reader, child);
                body = Some((ListDef::parse(reader, child, &[]), handler));
            }
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    if body.is_none() && reader.errors() == before {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "A 'sequence' element is required for the configuration of a Foreach mediator",
        );
    }
    let (collection, goal, body) = (collection?, goal?, body?);
    (reader.errors() == before).then(|| {
        Arc::new(ForeachDef {
            rules: Arc::new(Rules {
                collection,
                parallel,
                counter,
                goal,
            }),
            body,
        }) as Arc<dyn Definition>
    })
}

fn parse_variable(reader: &mut Reader, element: Element<'_, '_>) -> Option<Goal> {
    let name = element.attribute("target-variable").map(str::trim);
    if !element.has_attribute("result-content-type") || name.is_none_or(str::is_empty) {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "The 'result-content-type' and 'target-variable' attributes are required when the 'update-original' attribute is 'false'",
        );
        return None;
    }
    let form = Form::parse(reader, element, "Foreach")?;
    Some(Goal::Variable(name?.to_owned(), form))
}

/// What becomes of the results.
#[derive(Debug)]
enum Goal {
    /// Nobody waits for them.
    Nothing,
    /// They replace the items.
    Update(Origin),
    /// A variable gets them.
    Variable(String, Form),
}

/// Where the items are.
#[derive(Debug)]
enum Origin {
    Payload(JsonPath),
    Variable(String, Option<JsonPath>),
    Nodes(Expr),
}

impl Origin {
    /// The place that a collection names: results can only go back to a plain path.
    fn parse(reader: &mut Reader, element: Element<'_, '_>, collection: &Expr) -> Option<Origin> {
        let found = Origin::of(collection.text(), &reader.namespaces(element));
        if found.is_none() {
            let place = reader.attribute_place(element, "collection");
            reader.report(
                crate::diag::Diagnostic::error(
                    codes::INVALID_VALUE,
                    place,
                    "the results have no place to go back to: the collection is not a path into the payload or a variable",
                )
                .help("write update-original=\"false\" with a target-variable"),
            );
        }
        found
    }

    fn of(text: &str, namespaces: &Namespaces) -> Option<Origin> {
        let inner = text.strip_prefix("${")?.strip_suffix('}')?.trim();
        let path = |rest: &str| JsonPath::compile(&format!("${rest}")).ok();
        let starts = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        if let Some(rest) = inner.strip_prefix("payload").or(inner.strip_prefix('$'))
            && starts(rest)
        {
            return Some(Origin::Payload(path(rest)?));
        }
        if let Some(rest) = inner.strip_prefix("vars.") {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let rest = match rest.is_empty() {
                true => None,
                false => Some(path(rest)?),
            };
            return Some(Origin::Variable(name.to_owned(), rest));
        }
        let quoted = inner.strip_prefix("xpath(")?.strip_suffix(')')?.trim();
        let quote = quoted.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let xpath = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        if xpath.contains(quote) {
            return None;
        }
        match Expr::compile(xpath, namespaces) {
            Ok(xpath @ Expr::XPath(_)) => Some(Origin::Nodes(xpath)),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Rules {
    collection: Expr,
    parallel: bool,
    counter: Option<String>,
    goal: Goal,
}

#[derive(Debug)]
struct ForeachDef {
    rules: Arc<Rules>,
    body: (ListDef, Option<(String, crate::diag::Place)>),
}

impl Definition for ForeachDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let (list, handler) = &self.body;
        Run::Wait(Box::new(Foreach(Arc::new(Loop {
            rules: self.rules.clone(),
            body: linker.add_list("sequence", list, handler.as_ref()),
        }))))
    }
}

#[derive(Debug)]
struct Foreach(Arc<Loop>);

#[derive(Debug)]
struct Loop {
    rules: Arc<Rules>,
    body: SequenceId,
}

/// The items of a collection.
enum Items {
    Json(Vec<json::Value>),
    Xml(Vec<Value>),
}

/// What a copy ended with.
enum Outcome {
    Json(json::Value),
    Xml(Box<Envelope>, Option<NodeId>),
}

impl MediateAsync for Foreach {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let rules = &self.0.rules;
            let items = items(cx, message, &rules.collection)?;
            let count = items.len();
            if count == 0 {
                tracing::info!(
                    target: "ForEachMediatorV2",
                    "{}No elements found for the expression : {}", cx.route.label, rules.collection.text()
                );
                return Ok(Flow::Continue);
            }
            check_count(cx, count)?;
            let xml = matches!(items, Items::Xml(_));
            let original = Original::of(message);
            if let Goal::Nothing = rules.goal {
                let this = self.0.clone();
                cx.detach()?.spawn_work(move |cx| {
                    Box::pin(async move {
                        this.run_all(cx.apart(), &original, items, false, true)
                            .await;
                    })
                });
                return Ok(Flow::Continue);
            }
            let wants_xml = match &rules.goal {
                Goal::Variable(_, form) => matches!(form, Form::Xml(_)),
                _ => xml,
            };
            let results = self
                .0
                .run_all(cx.apart(), &original, items, wants_xml, false)
                .await;
            let mut whole = Vec::with_capacity(count);
            for result in results {
                match result {
                    Some(result) => whole.push(result),
                    // An item that ended early never reports: what stands behind the loop does not
                    // run. Its fault handler has run.
                    None => return Ok(Flow::Stop),
                }
            }
            put(cx, message, &rules.goal, whole)?;
            // The reference comes back here as it does to a call.
            message.resumed = true;
            Ok(Flow::Continue)
        })
    }
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Items::Json(items) => items.len(),
            Items::Xml(items) => items.len(),
        }
    }
}

fn items(cx: Context<'_>, message: &Message, collection: &Expr) -> Result<Items, Fault> {
    let no_array = || {
        Fault::mediation(format!(
            "Expression {} did not resolve to a valid array",
            collection.text()
        ))
    };
    let value = collection.object(&cx.scope(message))?;
    match value {
        Some(Value::Json(value)) => match Arc::unwrap_or_clone(value) {
            json::Value::Array(items) => Ok(Items::Json(items)),
            _ => Err(no_array()),
        },
        Some(Value::List(values)) => Ok(Items::Xml(values.to_vec())),
        _ => Err(no_array()),
    }
}

impl Loop {
    /// Runs the body for every item. The results have the order of the items; `None` is one that
    /// faulted or stopped.
    async fn run_all(
        &self,
        cx: Context<'_>,
        original: &Original,
        items: Items,
        xml: bool,
        forget: bool,
    ) -> Vec<Option<Outcome>> {
        let results: Mutex<Vec<Option<Outcome>>> = Mutex::default();
        if !forget {
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.resize_with(items.len(), || None);
        }
        let limit = match self.rules.parallel {
            true => cx.services.settings.limits.max_parallel_parts,
            false => 1,
        };
        let mut copies = Copies {
            cx,
            original,
            items: items.into_values(),
        };
        let copies = std::iter::from_fn(move || copies.next()).enumerate();
        stream::iter(copies)
            .for_each_concurrent(limit, |(index, copy)| {
                let results = &results;
                async move {
                    let result = self.run_one(cx, copy, index, xml, forget).await;
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(slot) = results.get_mut(index) {
                        *slot = result;
                    }
                }
            })
            .await;
        results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_one(
        &self,
        cx: Context<'_>,
        mut copy: Message,
        index: usize,
        xml: bool,
        forget: bool,
    ) -> Option<Outcome> {
        tokio::task::consume_budget().await;
        if let Some(name) = &self.rules.counter {
            let number = i32::try_from(index).unwrap_or(i32::MAX);
            copy.variables.set(name, Value::Integer(number));
        }
        let outcome = match run_sequence(cx, &mut copy, self.body).await {
            Ok(Flow::Stop) => return None,
            Ok(Flow::Continue) if forget => return None,
            Ok(Flow::Continue) => match copy.build(&cx.services.limits).await {
                Ok(_) => Ok(()),
                Err(fault) => Err(fault),
            },
            Err(fault) => Err(fault),
        };
        if outcome.is_err() {
            settle(cx, &mut copy, outcome).await;
            return None;
        }
        if !xml {
            return Some(Outcome::Json(
                lenient_json(&copy).unwrap_or(json::Value::Null),
            ));
        }
        let envelope = copy.envelope()?.clone();
        let payload = envelope.payload();
        Some(Outcome::Xml(Box::new(envelope), payload))
    }
}

impl Items {
    fn into_values(self) -> std::vec::IntoIter<Value> {
        let values: Vec<Value> = match self {
            Items::Json(items) => items
                .into_iter()
                .map(|i| Value::Json(Arc::new(i)))
                .collect(),
            Items::Xml(items) => items,
        };
        values.into_iter()
    }
}

/// What every copy has.
struct Original {
    /// The message without body.
    message: Message,
    /// Its envelope with an empty body.
    envelope: Envelope,
}

impl Original {
    fn of(message: &Message) -> Original {
        let mut envelope = message
            .envelope()
            .map_or_else(|| Envelope::empty(message.version), Clone::clone);
        envelope.clear_body();
        let mut copy = message.shell();
        copy.resumed = false;
        Original {
            message: copy,
            envelope: envelope.compact(),
        }
    }
}

struct Copies<'a> {
    cx: Context<'a>,
    original: &'a Original,
    items: std::vec::IntoIter<Value>,
}

impl Copies<'_> {
    fn next(&mut self) -> Option<Message> {
        let item = self.items.next()?;
        let mut copy = self.original.message.duplicate();
        copy.message_id = Some(crate::message::outgoing::new_message_id());
        let media = copy.effective_media();
        match item {
            Value::Xml(xml) => {
                let mut envelope = self.original.envelope.clone();
                let node = envelope.document.import(&xml.document, xml.node);
                let body = envelope.body();
                envelope.document.append_child(body, node);
                set_envelope(&mut copy, envelope);
                if media == Some(Media::Json) {
                    copy.set_message_type("application/xml");
                }
            }
            other => {
                let value = match other {
                    Value::Json(value) => Arc::unwrap_or_clone(value),
                    other => json::Value::String(other.text().into_owned()),
                };
                set_value(&mut copy, value, &self.cx.services.limits);
                if media != Some(Media::Json) {
                    copy.set_message_type("application/json");
                }
            }
        }
        Some(copy)
    }
}

/// Puts the results where they belong.
fn put(
    cx: Context<'_>,
    message: &mut Message,
    goal: &Goal,
    results: Vec<Outcome>,
) -> Result<(), Fault> {
    let as_array = |results: Vec<Outcome>| {
        json::Value::Array(
            results
                .into_iter()
                .map(|result| match result {
                    Outcome::Json(value) => value,
                    Outcome::Xml(..) => json::Value::Null,
                })
                .collect(),
        )
    };
    match goal {
        Goal::Nothing => {}
        Goal::Variable(name, Form::Json) => {
            let array = as_array(results);
            message.variables.set(name, Value::Json(Arc::new(array)));
        }
        Goal::Variable(name, Form::Xml(root)) => {
            let value = enclose(cx, root, parts(&results))?;
            message.variables.set(name, Value::Xml(Arc::new(value)));
        }
        Goal::Update(Origin::Payload(path)) => {
            let mut root = json_of(message).cloned().unwrap_or(json::Value::Null);
            path.set(&mut root, &as_array(results))
                .map_err(|e| Fault::mediation(e.to_string()))?;
            set_value(message, root, &cx.services.limits);
        }
        Goal::Update(Origin::Variable(name, path)) => {
            let updated = match (path, message.variables.get(name)) {
                (Some(path), Some(Value::Json(value))) => {
                    let mut root = (**value).clone();
                    path.set(&mut root, &as_array(results))
                        .map_err(|e| Fault::mediation(e.to_string()))?;
                    Value::Json(Arc::new(root))
                }
                (_, Some(Value::List(_))) => {
                    let most = cx.services.limits.xml.max_bytes;
                    Value::List(Arc::new(Value::copies(parts(&results), most)?))
                }
                _ => Value::Json(Arc::new(as_array(results))),
            };
            message.variables.set(name, updated);
        }
        Goal::Update(Origin::Nodes(xpath)) => {
            let own: Vec<NodeId> = select(cx, message, xpath)?
                .into_iter()
                .filter_map(|selected| match selected {
                    Selected::Own(node) => Some(node),
                    Selected::Copy(..) => None,
                })
                .collect();
            let envelope = message.envelope_mut()?;
            let body = envelope.body();
            let document = &mut envelope.document;
            let parent = own
                .first()
                .and_then(|n| document.parent(*n))
                .unwrap_or(body);
            for node in own {
                document.detach(node);
            }
            for (from, node) in parts(&results) {
                let copy = document.import(from, node);
                document.append_child(parent, copy);
            }
            let most = cx.services.limits.xml.max_bytes;
            if document.is_longer_than(envelope.root, most) {
                return Err(TooLong(most).into());
            }
        }
    }
    Ok(())
}

fn parts(results: &[Outcome]) -> impl Iterator<Item = (&Document, NodeId)> {
    results.iter().filter_map(|result| match result {
        Outcome::Xml(envelope, Some(node)) => Some((&envelope.document, *node)),
        _ => None,
    })
}
