//! `<aggregate>`: collects messages and makes one of them (spec 03 §12).

mod group;
mod merge;

use self::group::{Arrival, Group, Groups, Place, Slot};
use self::merge::Merge;
use super::rest::resume;
use super::{
    Boxed, Context, Definition, Flow, Linker, ListDef, MediateAsync, Run, Spec, list, run_sequence,
    settle,
};
use crate::diag::{self, Diagnostic, codes};
use crate::expr::xpath::Value as XPathValue;
use crate::expr::{Dynamic, Expr};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message, SequenceId, SplitMark};
use crate::syntax::{Element, Reader};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "aggregate",
    summary: "Collects messages and goes on with one made of them.",
    doc: DOC,
    parse,
};

const CORRELATE: Tag = Tag::child(
    "correlateOn",
    "Groups messages that do not come from a split. All messages of this mediator for which the expression gives something are one group; `min` and `max` are then needed.",
)
.with(&[Attr::expression("expression", "What has to be there.").required()]);

const COUNT: Tag = Tag::child("messageCount", "How many messages make a group.").with(&[
    Attr::count(
        "min",
        "The group is complete as soon as so many have come. Zero or less: not set.",
    ),
    Attr::count("max", "The same; a second limit. Zero or less: not set."),
]);

const CONDITION: Tag = Tag::child(
    "completeCondition",
    "When a group is complete before its last message has come.",
)
.with(&[Attr::number(
    "timeout",
    "Seconds after the first message; the group then completes with what has come.",
)])
.of(&[&COUNT]);

const COMPLETE: Tag = Tag::mediator(
    "onComplete",
    "What runs with the aggregate as the body. Unless it ends the flow, the last message goes on behind `<aggregate>` with that body. Empty, the aggregate is dropped, and nothing behind `<aggregate>` runs.",
)
.with(&[
    Attr::expression(
        "expression",
        "What each message gives: nodes (XPath) or values (`json-eval(…)`). `${…}` is refused.",
    )
    .or("the first child of the body"),
    Attr::text("sequence", "Sequence that runs instead of the children."),
    Attr::text(
        "enclosingElementProperty",
        "Property with an XML element: the results are put into it. For JSON its name is the name of the array.",
    ),
    Attr::words(
        "aggregateElementType",
        &["root", "child"],
        "JSON only. `root` makes an array, `child` merges objects: arrays are joined, values that clash become an array.",
    )
    .or("root"),
    Attr::text("onError", "Sequence that runs when one of the children faults."),
])
.holds(Content::Mediators);

const ROOT: Tag = Tag::mediator(
    "aggregate",
    "Stands in the flow of each copy that a split made, behind everything that the copy does. All but the last copy end here; with the last one `onComplete` runs.",
)
.with(&[Attr::text(
    "id",
    "The `id` of the `<iterate>` or `<clone>` whose copies it joins. Needed when splits stand inside each other.",
)])
.of(&[&CORRELATE, &CONDITION, &COMPLETE]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Without `completeCondition` a group is complete when every copy of its split has come. A copy that faults or is dropped counts as gone, so that the group never waits for it.",
        "Results stand in the order in which they came. Run the split with `sequential=\"true\"` to have the order of the parts.",
        "Plain XML has one root: more than one result needs `enclosingElementProperty`, or only the first goes out.",
        "Groups are bounded by `[myelin] max_aggregate_groups` and `max_aggregate_bytes`.",
        "A message that belongs to no split and fits no `correlateOn` goes through unchanged.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut rules = Rules {
        id: element.attribute("id").map(Arc::from),
        correlate: None,
        timeout: None,
        min: None,
        max: None,
        merge: Merge::default(),
    };
    let mut complete = CompleteDef::Absent;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("correlateOn") => {
                CORRELATE.check(reader, child);
                reader.required(child, "expression");
                rules.correlate = reader.expression(child, "expression");
                let place = reader.attribute_place(child, "expression");
                reader.report(
                    Diagnostic::warning(
                        codes::SUSPICIOUS_EXPRESSION,
                        place,
                        "<correlateOn> does not tell messages apart: as in the reference all messages of this \
                         aggregate for which the expression finds something, of all clients, are one group",
                    )
                    .help("leave <correlateOn> out to group the copies of one split"),
                );
            }
            Some("completeCondition") => parse_condition(reader, child, &mut rules),
            Some("onComplete") => {
                COMPLETE.check(reader, child);
                rules.merge = Merge::parse(reader, child);
                complete = CompleteDef::parse(reader, child);
            }
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    if rules.correlate.is_some() && (rules.min.is_none() || rules.max.is_none()) {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "an <aggregate> with <correlateOn> needs <messageCount> with \"min\" and \"max\"",
        );
    }
    (reader.errors() == before).then(|| {
        Arc::new(AggregateDef {
            rules: Arc::new(rules),
            complete,
            fingerprint: reader.fingerprint(element),
        }) as Arc<dyn Definition>
    })
}

fn parse_condition(reader: &mut Reader, element: Element<'_, '_>, rules: &mut Rules) {
    CONDITION.check(reader, element);
    if let Some(text) = element.attribute("timeout") {
        match text.trim().parse::<i64>() {
            // Zero and less mean none.
            Ok(seconds) => {
                rules.timeout = u64::try_from(seconds)
                    .ok()
                    .filter(|s| *s > 0)
                    .map(Duration::from_secs);
            }
            Err(_) => {
                let place = reader.attribute_place(element, "timeout");
                reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!("\"{text}\" is not a number of seconds"),
                );
            }
        }
    }
    for child in reader.children(element) {
        match reader.name(child) {
            Some("messageCount") => {
                COUNT.check(reader, child);
                rules.min = count(reader, child, "min");
                rules.max = count(reader, child, "max");
            }
            _ => CONDITION.refuse(reader, child),
        }
    }
}

/// A message count: a number or an expression.
pub(super) fn count(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> Option<Dynamic> {
    let value = reader.dynamic(element, name)?;
    if let Dynamic::Static(text) = &value
        && text.trim().parse::<f64>().is_err()
    {
        let place = reader.attribute_place(element, name);
        reader.error(
            codes::INVALID_VALUE,
            place,
            format!("\"{text}\" is not a number of messages"),
        );
        return None;
    }
    Some(value)
}

#[derive(Debug)]
struct Rules {
    id: Option<Arc<str>>,
    correlate: Option<Expr>,
    timeout: Option<Duration>,
    min: Option<Dynamic>,
    max: Option<Dynamic>,
    merge: Merge,
}

/// `onComplete` as it is written.
#[derive(Debug)]
enum CompleteDef {
    Absent,
    Drop,
    Key(String, diag::Place),
    Inline(ListDef, Option<(String, diag::Place)>),
}

impl CompleteDef {
    fn parse(reader: &mut Reader, element: Element<'_, '_>) -> CompleteDef {
        if let Some(key) = element.attribute("sequence") {
            return CompleteDef::Key(key.to_owned(), reader.attribute_place(element, "sequence"));
        }
        let list = ListDef::parse(reader, element, &[]);
        match list.is_empty() {
            true => CompleteDef::Drop,
            false => CompleteDef::Inline(list, super::sequence::on_error(reader, element)),
        }
    }
}

#[derive(Debug)]
struct AggregateDef {
    rules: Arc<Rules>,
    complete: CompleteDef,
    fingerprint: u64,
}

impl Definition for AggregateDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let key = format!("aggregate {}", linker.path());
        let complete = match &self.complete {
            CompleteDef::Absent => Complete::Missing,
            CompleteDef::Drop => Complete::Drop,
            CompleteDef::Key(key, place) => match linker.sequence(key, place) {
                Some(id) => Complete::Sequence(id),
                None => Complete::Missing,
            },
            CompleteDef::Inline(list, on_error) => {
                Complete::Sequence(linker.add_list("onComplete", list, on_error.as_ref()))
            }
        };
        let ends = matches!(&self.complete, CompleteDef::Drop)
            || matches!(&self.complete, CompleteDef::Inline(list, _) if list.ends_flow());
        Run::Wait(Box::new(Aggregate(Arc::new(Collector {
            rules: self.rules.clone(),
            complete,
            ends,
            groups: linker.stores.get::<Groups>(key, self.fingerprint),
            held: linker.stores.held().clone(),
            number: group::number(),
        }))))
    }
}

#[derive(Debug)]
enum Complete {
    /// Not there, or a sequence that is not defined.
    Missing,
    Drop,
    Sequence(SequenceId),
}

/// A linked aggregate.
#[derive(Debug)]
struct Collector {
    rules: Arc<Rules>,
    complete: Complete,
    /// Nothing runs behind `onComplete`.
    ends: bool,
    /// Groups that belong to no split.
    groups: Arc<Groups>,
    held: Arc<crate::endpoint::store::Held>,
    /// Names it within the splits of its messages.
    number: u64,
}

#[derive(Debug)]
struct Aggregate(Arc<Collector>);

impl MediateAsync for Aggregate {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let Some(place) = self.0.place(cx, message)? else {
                return Ok(Flow::Continue);
            };
            match self.0.arrive(cx, message, place)? {
                Arrival::Waits | Arrival::Late => Ok(Flow::Stop),
                Arrival::Complete(group) => self.0.complete(cx, message, *group).await,
            }
        })
    }
}

impl Collector {
    /// Where the group of a message is kept; `None` when the message belongs to none and goes on.
    fn place(&self, cx: Context<'_>, message: &Message) -> Result<Option<Place>, Fault> {
        if let Some(expression) = &self.rules.correlate {
            match correlates(cx, message, expression)? {
                // The reference takes the text of the expression, not its value: all messages of
                // the mediator are one group.
                Correlated::Yes => {
                    return Ok(Some(Place::Store(
                        self.groups.clone(),
                        expression.text().to_owned(),
                    )));
                }
                Correlated::No => return Ok(None),
                Correlated::Unknown => {}
            }
        }
        let id = self.rules.id.as_ref();
        let text = match id {
            None => message.properties.str("aggregateCorelation"),
            Some(id) => message.properties.str(&format!("aggregateCorelation.{id}")),
        };
        let Some(text) = text else { return Ok(None) };
        let mark = message
            .splits
            .iter()
            .rfind(|m| m.id.as_ref() == id && *m.correlation == *text);
        Ok(Some(match mark {
            Some(mark) => Place::Split(mark.split.clone(), self.number),
            None => Place::Store(self.groups.clone(), text.to_owned()),
        }))
    }

    /// Adds the message to its group.
    fn arrive(
        self: &Arc<Self>,
        cx: Context<'_>,
        message: &mut Message,
        place: Place,
    ) -> Result<Arrival, Fault> {
        place.with(|slot| {
            match slot {
                Slot::Done => return Ok(Arrival::Late),
                Slot::Open(group) => group.add(cx, message, &self.rules.merge)?,
                Slot::Empty => {
                    let group = self.begin(cx, message, &place)?;
                    *slot = Slot::Open(Box::new(group));
                }
            }
            if !matches!(slot, Slot::Open(group) if group.is_complete()) {
                return Ok(Arrival::Waits);
            }
            Ok(match std::mem::replace(slot, Slot::Done) {
                Slot::Open(group) => Arrival::Complete(group),
                _ => Arrival::Late,
            })
        })
    }

    fn begin(
        self: &Arc<Self>,
        cx: Context<'_>,
        message: &mut Message,
        place: &Place,
    ) -> Result<Group, Fault> {
        let limit = |count: &Option<Dynamic>| match count {
            None => Ok(None),
            Some(count) => number_of(cx, message, count),
        };
        let (min, max) = (limit(&self.rules.min)?, limit(&self.rules.max)?);
        let sequence = match &self.rules.id {
            None => message.properties.str("messageSequence"),
            Some(id) => message.properties.str(&format!("messageSequence.{id}")),
        };
        let total = sequence
            .and_then(|text| text.split_once('/'))
            .and_then(|(_, total)| total.trim().parse().ok());
        let mut group = Group::new(cx, message, &self.rules.merge, &self.held)?;
        (group.min, group.max, group.total) = (min, max, total);
        if let Some(timeout) = self.rules.timeout
            && !group.is_complete()
        {
            match self.start_timer(cx, message, place, group.serial, timeout) {
                Ok(timer) => group.timer = Some(timer),
                Err(fault) => {
                    message.body = group.give_back();
                    return Err(fault);
                }
            }
        }
        Ok(group)
    }

    /// Ends the group when its time is over. The client waits for that when its message was split.
    fn start_timer(
        self: &Arc<Self>,
        cx: Context<'_>,
        message: &Message,
        place: &Place,
        serial: u64,
        timeout: Duration,
    ) -> Result<oneshot::Sender<()>, Fault> {
        let detached = match message.splits.is_empty() {
            true => cx.detach_unheard()?,
            false => cx.detach()?,
        };
        let (closed, over) = oneshot::channel::<()>();
        let place = place.clone();
        let marks = message.splits.clone();
        let this = self.clone();
        detached.spawn_work(move |cx| {
            Box::pin(async move {
                // The group drops its end when it completes.
                if tokio::time::timeout(timeout, over).await.is_ok() {
                    return;
                }
                if let Some(group) = place.take(serial) {
                    tracing::warn!(
                        target: "AggregateMediator",
                        "{}Aggregate mediator timeout occurred.", cx.route.label
                    );
                    this.time_out(cx, *group, marks).await;
                }
            })
        });
        Ok(closed)
    }

    async fn time_out(&self, cx: Context<'_>, mut group: Group, marks: Vec<SplitMark>) {
        group.settle();
        let outcome = self.rules.merge.apply(cx, &mut group);
        let mut message = group.into_message(marks);
        let outcome = match outcome {
            Ok(()) => match self.on_complete(cx, &mut message).await {
                // Nothing stands behind the timer, unless the flow has waited for a response.
                Ok(Flow::Continue) if message.resumed => resume(cx, &mut message).await.map(|_| ()),
                other => other.map(|_| ()),
            },
            Err(fault) => Err(fault),
        };
        settle(cx, &mut message, outcome).await;
    }

    /// Makes one message of the group, runs `onComplete` for it, and goes on with the last message,
    /// which has its body. When `onComplete` waited for a response, its message goes on instead.
    async fn complete(
        &self,
        cx: Context<'_>,
        last: &mut Message,
        mut group: Group,
    ) -> Result<Flow, Fault> {
        group.settle();
        let origin = group.origin.clone();
        let same_plan = Arc::ptr_eq(&origin.library, cx.library);
        let own = Arc::ptr_eq(&origin.exchange, cx.exchange);
        let cx = match own {
            true => cx,
            false => Context {
                exchange: &origin.exchange,
                route: if same_plan { &origin.route } else { cx.route },
                ..cx.apart()
            },
        };
        if !same_plan {
            // Handlers are those of a plan.
            group.first.fault_stack.clone_from(&last.fault_stack);
        }
        self.rules.merge.apply(cx, &mut group)?;
        let marks = match own {
            true => last.splits.clone(),
            false => Vec::new(),
        };
        let mut message = group.into_message(marks);
        let merged = (!self.ends).then(|| message.duplicate());
        match self.on_complete(cx, &mut message).await {
            Ok(Flow::Continue) if message.resumed && own => {
                *last = message;
                Ok(Flow::Continue)
            }
            Ok(flow) => {
                if let Some(merged) = merged {
                    last.body = merged.body;
                }
                Ok(flow)
            }
            Err(fault) if own => {
                *last = message;
                Err(fault)
            }
            Err(fault) => {
                settle(cx, &mut message, Err(fault)).await;
                Ok(Flow::Stop)
            }
        }
    }

    async fn on_complete(&self, cx: Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        match &self.complete {
            Complete::Sequence(id) => run_sequence(cx, message, *id).await,
            Complete::Drop => Ok(Flow::Stop),
            Complete::Missing => Err(Fault::mediation(
                "Unable to find the sequence for the mediation of the aggregated message",
            )),
        }
    }
}

enum Correlated {
    Yes,
    No,
    Unknown,
}

fn correlates(cx: Context<'_>, message: &Message, expression: &Expr) -> Result<Correlated, Fault> {
    let failed = || {
        Fault::mediation(format!(
            "Failed to evaluate correlate expression: {}",
            expression.text()
        ))
    };
    match expression {
        Expr::XPath(xpath) => {
            let scope = cx.scope(message);
            Ok(match xpath.evaluate(&scope).map_err(|_| failed())? {
                XPathValue::Nodes(nodes) if nodes.is_empty() => return Err(failed()),
                XPathValue::Boolean(false) => Correlated::No,
                XPathValue::Null => Correlated::Unknown,
                _ => Correlated::Yes,
            })
        }
        Expr::Json { path, .. } => {
            let root = super::content::json_of(message).ok_or_else(failed)?;
            match path.list(root) {
                Ok(found) if !found.is_empty() => Ok(Correlated::Yes),
                _ => Err(failed()),
            }
        }
        #[allow(unreachable_patterns, reason = "there are further languages")]
        _ => Err(failed()),
    }
}

/// A count as a number of messages; zero and less mean none.
pub(super) fn number_of(
    cx: Context<'_>,
    message: &Message,
    count: &Dynamic,
) -> Result<Option<usize>, Fault> {
    let text = count.value(&cx.scope(message))?;
    let number = text
        .trim()
        .parse::<f64>()
        .map_err(|_| Fault::mediation(format!("For input string: \"{text}\"")))?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the reference cuts the fraction; a cast saturates"
    )]
    let number = number.max(0.0) as usize;
    Ok((number > 0).then_some(number))
}
