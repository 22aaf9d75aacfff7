//! `<scatter-gather>`: runs sequences on copies of the message and goes on with their results
//! (spec 03 §13).

use super::aggregate::{count, number_of};
use super::content::{set_envelope, set_value};
use super::gather::{Form, as_json, elements, enclose};
use super::{
    Boxed, Context, Definition, Flow, Linker, ListDef, MediateAsync, Run, Spec, list, run_sequence,
    settle,
};
use crate::diag::{Place, codes};
use crate::expr::{Dynamic, Expr};
use crate::json;
use crate::mediator::describe::{Area, Attr, Doc, Needs, SEQUENCE, Tag};
use crate::message::outgoing::new_message_id;
use crate::message::{Envelope, Fault, Message, SequenceId, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "scatter-gather",
    summary: "Runs sequences on copies of the message and goes on with their results.",
    doc: DOC,
    parse,
};

const AGGREGATION: Tag = Tag::child(
    "aggregation",
    "What is taken of each branch, and when it is enough.",
)
.with(&[
    Attr::expression(
        "expression",
        "What a branch gives, such as `${payload}` or `${xpath('$body/node()')}` for XML.",
    )
    .required(),
    Attr::expression(
        "condition",
        "Branches for which it is not true are not counted.",
    ),
    Attr::number(
        "timeout",
        "Milliseconds; the flow then goes on with what has come.",
    ),
    Attr::count("min-messages", "Goes on as soon as so many have come."),
    Attr::count("max-messages", "The same; a second limit."),
]);

const ROOT: Tag = Tag::mediator(
    "scatter-gather",
    "Runs each sequence on a copy of the message, and goes on with their results in one body or variable. Does what `<clone>` and `<aggregate>` do together.",
)
.with(&[
    Attr::truth("parallel-execution", "`false`: one branch after the other.").or("true"),
    Attr::words("target", &["body", "variable"], "Where the results go.").required(),
    Attr::text("target-variable", "Name of the variable. Needed for `variable`."),
    Attr::words("result-content-type", &["JSON", "XML"], "Form of the results.").required(),
    Attr::text("result-enclosing-element", "Root element. Needed for `XML`."),
])
.of(&[&AGGREGATION, &SEQUENCE]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Results stand in the order in which branches end.",
        "A branch that faults makes the failure the answer; with a `timeout` the flow goes on with the others.",
    ],
};

const WORD: &str = "Scatter Gather";

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let variable = parse_target(reader, element);
    let form = Form::parse(reader, element, WORD);
    let (mut rules, mut branches) = (None, Vec::new());
    for child in reader.children(element) {
        match reader.name(child) {
            Some("aggregation") if rules.is_none() => rules = Some(parse_rules(reader, child)),
            Some("sequence") => {
                SEQUENCE.check(reader, child);
                let handler = super::sequence::on_error(reader, child);
                branches.push((ListDef::parse(reader, child, &[]), handler));
            }
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    for (name, missing) in [
        ("aggregation", rules.is_none()),
        ("sequence", branches.is_empty()),
    ] {
        if missing {
            let place = reader.place(element);
            let article = if name == "sequence" { "A" } else { "The" };
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                format!(
                    "{article} '{name}' element is required for the configuration of a {WORD} mediator"
                ),
            );
        }
    }
    let rules = rules??;
    let parallel = !element
        .attribute("parallel-execution")
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("false"));
    let (variable, form) = (variable?, form?);
    (reader.errors() == before).then(|| {
        Arc::new(ScatterDef {
            rules: Arc::new(Rules {
                parallel,
                variable,
                form,
                ..rules
            }),
            branches,
        }) as Arc<dyn Definition>
    })
}

/// The variable that gets the results; `None` inside for the body.
fn parse_target(reader: &mut Reader, element: Element<'_, '_>) -> Option<Option<String>> {
    let place = reader.attribute_place(element, "target");
    let Some(target) = element.attribute("target") else {
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            format!(
                "The 'target' attribute is required for the configuration of a {WORD} mediator"
            ),
        );
        return None;
    };
    if target.eq_ignore_ascii_case("body") {
        return Some(None);
    }
    if !target.eq_ignore_ascii_case("variable") {
        reader.error(
            codes::INVALID_VALUE,
            place,
            "The 'target' attribute should be either 'body' or 'variable'",
        );
        return None;
    }
    match element.attribute("target-variable") {
        Some(name) if !name.trim().is_empty() => Some(Some(name.trim().to_owned())),
        _ => {
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                format!(
                    "The 'target-variable' attribute is required for the configuration of a {WORD} mediator when the 'target' is 'variable'"
                ),
            );
            None
        }
    }
}

fn parse_rules(reader: &mut Reader, element: Element<'_, '_>) -> Option<Rules> {
    AGGREGATION.check(reader, element);
    if !element.has_attribute("expression") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            format!(
                "The 'expression' attribute is required for the configuration of a {WORD} mediator"
            ),
        );
    }
    let expression = reader.expression(element, "expression");
    let condition = reader.expression(element, "condition");
    let timeout = match element
        .attribute("timeout")
        .map(|t| t.trim().parse::<u64>())
    {
        None => None,
        Some(Ok(millis)) => (millis > 0).then(|| Duration::from_millis(millis)),
        Some(Err(_)) => {
            let place = reader.attribute_place(element, "timeout");
            reader.error(
                codes::INVALID_VALUE,
                place,
                "\"timeout\" is a number of milliseconds",
            );
            None
        }
    };
    Some(Rules {
        parallel: true,
        variable: None,
        form: Form::Json,
        expression: expression?,
        condition,
        timeout,
        min: count(reader, element, "min-messages"),
        max: count(reader, element, "max-messages"),
    })
}

#[derive(Debug)]
struct Rules {
    parallel: bool,
    variable: Option<String>,
    form: Form,
    expression: Expr,
    condition: Option<Expr>,
    timeout: Option<Duration>,
    min: Option<Dynamic>,
    max: Option<Dynamic>,
}

#[derive(Debug)]
struct ScatterDef {
    rules: Arc<Rules>,
    branches: Vec<(ListDef, Option<(String, Place)>)>,
}

impl Definition for ScatterDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let branches = self
            .branches
            .iter()
            .enumerate()
            .map(|(index, (list, handler))| {
                linker.add_list(&format!("sequence{index}"), list, handler.as_ref())
            });
        Run::Wait(Box::new(Scatter {
            rules: self.rules.clone(),
            branches: branches.collect(),
        }))
    }
}

#[derive(Debug)]
struct Scatter {
    rules: Arc<Rules>,
    branches: Vec<SequenceId>,
}

/// What one branch gives.
enum Piece {
    Json(json::Value),
    Xml(Box<Document>, Vec<NodeId>),
}

impl MediateAsync for Scatter {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let limit = |number: &Option<Dynamic>| match number {
                None => Ok(None),
                Some(number) => number_of(cx, message, number),
            };
            let enough = [limit(&self.rules.min)?, limit(&self.rules.max)?]
                .into_iter()
                .flatten()
                .fold(self.branches.len(), usize::min);
            let arrivals = self.start(cx, message)?;
            let Some((last, pieces)) = self.collect(cx, arrivals, enough).await? else {
                return Ok(Flow::Stop);
            };
            self.finish(message, last, pieces, cx)?;
            // The reference comes back here as it does to a call.
            message.resumed = true;
            Ok(Flow::Continue)
        })
    }
}

impl Scatter {
    /// Starts the branches; those that reach their end report. A branch that is late runs on.
    fn start(&self, cx: Context<'_>, message: &Message) -> Result<mpsc::Receiver<Message>, Fault> {
        // At most one message per branch.
        let (report, arrivals) = mpsc::channel(self.branches.len().max(1));
        let copy = || {
            let mut copy = message.duplicate();
            copy.message_id = Some(new_message_id());
            copy.resumed = false;
            copy
        };
        let groups: Vec<Vec<(SequenceId, Message)>> = match self.rules.parallel {
            true => self.branches.iter().map(|b| vec![(*b, copy())]).collect(),
            false => vec![self.branches.iter().map(|b| (*b, copy())).collect()],
        };
        let room: Vec<_> = groups
            .iter()
            .map(|_| cx.detach())
            .collect::<Result<_, _>>()?;
        for (detached, branches) in room.into_iter().zip(groups) {
            let report = report.clone();
            detached.spawn_work(move |cx| {
                Box::pin(async move {
                    let cx = cx.apart();
                    for (branch, mut copy) in branches {
                        let outcome = match run_sequence(cx, &mut copy, branch).await {
                            Ok(Flow::Stop) => continue,
                            Ok(Flow::Continue) => copy.build(&cx.services.limits).await.map(|_| ()),
                            Err(fault) => Err(fault),
                        };
                        match outcome {
                            Ok(()) => drop(report.send(copy).await),
                            Err(_) => settle(cx, &mut copy, outcome).await,
                        }
                    }
                })
            });
        }
        Ok(arrivals)
    }

    /// Waits until enough have come, the time is over since the first came, or nothing can come any
    /// more. `None` when there is nothing to go on with: without a timeout every branch has to come.
    async fn collect(
        &self,
        cx: Context<'_>,
        mut arrivals: mpsc::Receiver<Message>,
        enough: usize,
    ) -> Result<Option<(Message, Vec<Piece>)>, Fault> {
        let mut pieces = Vec::new();
        let mut last = None;
        let mut deadline: Option<Instant> = None;
        while pieces.len() < enough {
            let arrival = match deadline {
                None => arrivals.recv().await,
                Some(deadline) => match timeout_at(deadline, arrivals.recv()).await {
                    Ok(arrival) => arrival,
                    Err(_) => {
                        tracing::warn!(
                            target: "ScatterGather",
                            "{}Scatter Gather mediator timeout occurred.", cx.route.label
                        );
                        break;
                    }
                },
            };
            let Some(copy) = arrival else {
                // All branches have ended; those that are missing cannot come.
                if self.rules.timeout.is_none() {
                    return Ok(None);
                }
                break;
            };
            if let Some(condition) = &self.rules.condition
                && !condition.boolean(&cx.scope(&copy))?
            {
                continue;
            }
            if let (None, Some(timeout)) = (deadline, self.rules.timeout) {
                deadline = Some(Instant::now() + timeout);
            }
            pieces.push(self.piece(cx, &copy)?);
            last = Some(copy);
        }
        Ok(last.map(|last| (last, pieces)))
    }

    fn piece(&self, cx: Context<'_>, copy: &Message) -> Result<Piece, Fault> {
        let expression = &self.rules.expression;
        let scope = cx.scope(copy);
        if let Form::Xml(_) = self.rules.form {
            let text = expression.string(&scope)?.unwrap_or_default();
            let (document, nodes) = elements(cx, &text)?;
            return Ok(Piece::Xml(Box::new(document), nodes));
        }
        let value = expression.object(&scope)?;
        let text = value.as_ref().map(|v| v.text().into_owned());
        match (value.and_then(as_json), text) {
            (Some(value), _) => Ok(Piece::Json(value)),
            (None, Some(text)) if self.rules.variable.is_none() => {
                Ok(Piece::Json(json::Value::String(text)))
            }
            _ => Err(Fault::mediation(format!(
                "Aggregation expression {} did not return a valid JSON element",
                expression.text()
            ))),
        }
    }

    fn finish(
        &self,
        message: &mut Message,
        last: Message,
        pieces: Vec<Piece>,
        cx: Context<'_>,
    ) -> Result<(), Fault> {
        let value = match &self.rules.form {
            Form::Json => {
                let items = pieces.into_iter().filter_map(|piece| match piece {
                    Piece::Json(value) => Some(value),
                    Piece::Xml(..) => None,
                });
                Value::Json(Arc::new(json::Value::Array(items.collect())))
            }
            Form::Xml(root) => {
                let nodes = pieces.iter().flat_map(|piece| match piece {
                    Piece::Xml(document, nodes) => {
                        nodes.iter().map(|n| (&**document, *n)).collect::<Vec<_>>()
                    }
                    Piece::Json(_) => Vec::new(),
                });
                Value::Xml(Arc::new(enclose(cx, root, nodes)?))
            }
        };
        if let Some(name) = &self.rules.variable {
            message.variables.set(name, value);
            return Ok(());
        }
        // What the last branch made of the message goes on.
        *message = last;
        message.axis2.remove("NO_ENTITY_BODY");
        match value {
            Value::Xml(xml) => {
                let mut envelope = message
                    .envelope()
                    .map_or_else(|| Envelope::empty(message.version), Clone::clone);
                envelope.clear_body();
                let body = envelope.body();
                let copy = envelope.document.import(&xml.document, xml.node);
                envelope.document.append_child(body, copy);
                set_envelope(message, envelope);
                message.set_message_type("application/xml");
            }
            Value::Json(value) => {
                set_value(message, Arc::unwrap_or_clone(value), &cx.services.limits);
                message.set_message_type("application/json");
            }
            _ => {}
        }
        Ok(())
    }
}
