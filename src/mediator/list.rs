//! A list of mediators: the body of every sequence and branch (spec 01 §2.1, §3).

use super::rest::{Frame, Leave, Rest};
use super::{Context, Flow, Linker, ParsedMediator, Run};
use crate::diag::{Place, codes};
use crate::expr::{Effects, Expr, Need, Wanted};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A list as it is written.
#[derive(Debug, Default)]
pub struct ListDef(Vec<ParsedMediator>);

impl ListDef {
    /// Reads the children of an element as mediators; `skip` names children that belong to the
    /// parent itself.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>, skip: &[&str]) -> ListDef {
        let mut out: Vec<ParsedMediator> = Vec::new();
        for child in reader.children(element) {
            let name = child.tag_name().name();
            if (name == "description" || skip.contains(&name)) && reader.is_synapse(child) {
                continue;
            }
            if let Some(mediator) = super::parse(reader, child) {
                if let Some(last) = out.last()
                    && last.definition.ends_flow()
                {
                    reader.warning(
                        codes::UNREACHABLE,
                        mediator.place.clone(),
                        format!(
                            "<{}> is never reached: <{}> before it ends the flow",
                            mediator.name, last.name
                        ),
                    );
                }
                out.push(mediator);
            }
        }
        ListDef(out)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing that stands behind the list can run.
    pub fn ends_flow(&self) -> bool {
        self.0.last().is_some_and(|m| m.definition.ends_flow())
    }

    /// The mediators with one of these names that stand directly in the list.
    pub fn named<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a ParsedMediator> + 'a {
        self.0.iter().filter(|m| names.contains(&m.name))
    }

    /// Links every mediator.
    pub fn link(&self, linker: &mut Linker<'_>) -> List {
        List(
            self.0
                .iter()
                .enumerate()
                .map(|(index, mediator)| Step {
                    run: linker.within(&format!("{}{index}", mediator.name), |l| {
                        mediator.definition.link(l)
                    }),
                    place: mediator.place.clone(),
                    sends: matches!(mediator.name, "call" | "send" | "callout"),
                })
                .collect(),
        )
    }
}

#[derive(Debug)]
struct Step {
    run: Run,
    place: Place,
    /// It sends to an endpoint.
    sends: bool,
}

/// A linked list. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct List(Arc<[Step]>);

impl List {
    /// Runs the steps in order until one stops or faults.
    ///
    /// # Errors
    /// The fault of a step, with its place.
    pub fn run(
        &self,
        cx: Context<'_>,
        message: &mut Message,
    ) -> impl Future<Output = Result<Flow, Fault>> + Send {
        self.run_from(cx, message, 0, Leave::Nothing)
    }

    /// Runs the steps from `start` on. `leave` is what whoever runs the list does when it has ended.
    ///
    /// # Errors
    /// As [`List::run`].
    pub(super) async fn run_from(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        start: usize,
        leave: Leave,
    ) -> Result<Flow, Fault> {
        for (index, step) in self.0.iter().enumerate().skip(start) {
            let flow = match &step.run {
                Run::Now(mediator) => {
                    if !message.is_built() {
                        let ready = match mediator.need() {
                            Need::Nothing => Ok(()),
                            // Boxed: every future of a flow would be larger.
                            Need::Look => {
                                Box::pin(look(cx, message, |n| mediator.expression(n))).await
                            }
                            Need::Tree => Box::pin(build(cx, message)).await,
                        };
                        ready.map_err(|f| f.at(&step.place))?;
                    }
                    let flow = mediator.mediate(&cx, message);
                    message.answers.clear();
                    flow
                }
                Run::Wait(mediator) => {
                    let frame = Frame {
                        list: self,
                        next: index + 1,
                        leave,
                        up: cx.rest,
                    };
                    let cx = Context {
                        rest: Rest::Within(&frame),
                        ..cx
                    };
                    mediator.mediate(cx, message).await
                }
            };
            let flow = flow.map_err(|fault| fault.at(&step.place));
            match flow {
                Ok(Flow::Continue) => {}
                other => return other,
            }
        }
        Ok(Flow::Continue)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a mediator that stands directly in it sends to an endpoint.
    pub(super) fn sends(&self) -> bool {
        self.0.iter().any(|step| step.sends)
    }
}

/// Builds the body for a mediator that needs it. A broken body sets the error properties at once:
/// the list knows that it was the body (spec 01 §2.5).
pub(super) async fn build(cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
    let outcome = message.build(&cx.services.limits).await.map(|_| ());
    outcome.or_else(|fault| unreadable(cx, message, fault))
}

/// Has the answers of a mediator's expressions ready, for as long as the bytes of the body give them; builds the body
/// when they do not.
pub(super) async fn look<'e>(
    cx: Context<'_>,
    message: &mut Message,
    expression: impl Fn(usize) -> Option<(&'e Expr, Wanted)>,
) -> Result<(), Fault> {
    let limits = &cx.services.limits;
    let mut number = 0;
    while let Some((expr, wanted)) = expression(number)
        && !message.is_built()
    {
        number += 1;
        let answer = match expr.need(wanted) {
            Need::Nothing => continue,
            Need::Look => {
                expr.look(wanted, Effects::AsBuilt, cx.around(), message, limits)
                    .await
            }
            Need::Tree => Ok(None),
        };
        match (answer, expr.id()) {
            (Ok(Some(answer)), Some(id)) => message.answers.put(id, answer),
            (Ok(_), _) => build(cx, message).await?,
            (Err(fault), _) => unreadable(cx, message, fault)?,
        }
    }
    Ok(())
}

fn unreadable(cx: Context<'_>, message: &mut Message, fault: Fault) -> Result<(), Fault> {
    message.answers.clear();
    match message.properties.get("ERROR_CODE") {
        // A fault handler runs although the body is broken: it sees an empty one, and the error
        // that it was called for stays.
        Some(_) => {
            tracing::debug!(target: "Fault", "{}the body cannot be read either: {fault}", cx.route.label);
            Ok(())
        }
        None => {
            message.report(&fault);
            Err(fault)
        }
    }
}

/// A branch: inline children or a sequence by key.
#[derive(Debug)]
pub(super) struct BranchDef {
    /// `sequence` attribute.
    pub key: Option<(Arc<crate::expr::Dynamic>, Place)>,
    /// Inline children.
    pub list: ListDef,
}
