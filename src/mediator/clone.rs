//! `<clone>`: copies the message for several targets (spec 03 §9).

use super::split::{self, How, Marks, Parts};
use super::target::{TARGET, Target, TargetDef};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, list};
use crate::diag::codes;
use crate::expr::Dynamic;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message, Value};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "clone",
    summary: "Gives copies of the message to several targets.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "clone",
    "Gives a copy of the message to each target. The copies run at the same time; [`<aggregate>`](aggregate.md) in the targets joins them again.",
)
.with(&[
    Attr::text("id", "Name of the split, for `<aggregate id=\"…\">` and the property names."),
    Attr::truth("continueParent", "`true`: the message itself goes on behind `<clone>`."),
    Attr::truth("sequential", "`true`: one target after the other, in their order."),
    Attr::count("iterations", "So many copies for the one target."),
])
.of(&[&TARGET]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Each copy has `messageSequence` (`messageSequence.ID` with an `id`), such as `0/2`; with `iterations` also `CLONED_ITERATION_INDEX`, from 1.",
        "At most `[myelin] max_parallel_parts` copies run at one time, and `max_split_parts` are made.",
        "With `sequential=\"true\"` and the property `STOP_TARGET_EXECUTION_ON_FAILURE` set to `true` the first failure ends the split.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut targets = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("target") => targets.extend(TargetDef::parse(reader, child)),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let iterations = iterations(reader, element, targets.len());
    let how = how(element);
    (reader.errors() == before).then(|| {
        Arc::new(CloneDef {
            id: element.attribute("id").map(Arc::from),
            how,
            iterations: iterations.map(Arc::new),
            targets,
        }) as Arc<dyn Definition>
    })
}

/// `continueParent` and `sequential`.
pub(super) fn how(element: Element<'_, '_>) -> How {
    let is = |name: &str, words: &[&str]| {
        element
            .attribute(name)
            .is_some_and(|v| words.iter().any(|w| v.trim().eq_ignore_ascii_case(w)))
    };
    How {
        continue_parent: is("continueParent", &["true", "yes", "1"]),
        sequential: is("sequential", &["true"]),
    }
}

fn iterations(reader: &mut Reader, element: Element<'_, '_>, targets: usize) -> Option<Dynamic> {
    if !element.has_attribute("iterations") {
        return None;
    }
    let place = reader.attribute_place(element, "iterations");
    if targets > 1 {
        reader.error(
            codes::CONFLICT,
            place,
            "When iterations attribute is defined only one target is allowed.",
        );
        return None;
    }
    let value = reader.dynamic(element, "iterations")?;
    if let Dynamic::Static(text) = &value
        && text.trim().parse::<u32>().is_err()
    {
        reader.error(
            codes::INVALID_VALUE,
            place,
            format!(
                "Error while parsing iterations number in clone mediator: \"{text}\" is not a number"
            ),
        );
        return None;
    }
    Some(value)
}

#[derive(Debug)]
struct CloneDef {
    id: Option<Arc<str>>,
    how: How,
    iterations: Option<Arc<Dynamic>>,
    targets: Vec<TargetDef>,
}

impl Definition for CloneDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let targets = self
            .targets
            .iter()
            .enumerate()
            .map(|(index, target)| linker.within(&format!("target{index}"), |l| target.link(l)))
            .collect();
        Run::Wait(Box::new(Clone {
            id: self.id.clone(),
            how: self.how,
            iterations: self.iterations.clone(),
            targets,
        }))
    }

    fn ends_flow(&self) -> bool {
        // Copies that waited for a response go on behind it.
        false
    }
}

#[derive(Debug)]
struct Clone {
    id: Option<Arc<str>>,
    how: How,
    iterations: Option<Arc<Dynamic>>,
    targets: Arc<[Target]>,
}

impl MediateAsync for Clone {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let total = match &self.iterations {
                None => self.targets.len(),
                Some(count) => number(cx, message, count)?,
            };
            let marks = Marks::new(cx, message, self.id.as_ref(), total)?;
            let stop = message
                .properties
                .is_true("STOP_TARGET_EXECUTION_ON_FAILURE");
            if stop && self.how.sequential {
                return self.run_until_failure(cx, message, marks).await;
            }
            let original = match self.how.continue_parent {
                true => message.duplicate(),
                false => message.hand_over(),
            };
            let parts = Copies {
                original: Some(original),
                marks,
                repeated: self.iterations.is_some(),
            };
            split::run(cx, Box::new(parts), &self.targets, self.how).await
        })
    }
}

impl Clone {
    /// `STOP_TARGET_EXECUTION_ON_FAILURE`: the fault of a target is that of the message, and the
    /// targets after it do not run.
    async fn run_until_failure(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        mut marks: Marks,
    ) -> Result<Flow, Fault> {
        let repeated = self.iterations.is_some();
        while marks.left() > 0 {
            let mut copy = message.duplicate();
            let number = mark(&mut marks, &mut copy, repeated);
            let Some(target) = self.targets.get(number) else {
                break;
            };
            let outcome = match target.run(cx, &mut copy).await {
                Ok(Flow::Continue) if copy.resumed => super::rest::resume(cx, &mut copy).await,
                other => other,
            };
            if let Err(fault) = outcome {
                copy.properties
                    .set("ERROR_ON_TARGET_EXECUTION", Value::Boolean(true));
                message.properties = copy.properties;
                message.fault_stack = copy.fault_stack;
                return Err(fault);
            }
        }
        Ok(match self.how.continue_parent {
            true => Flow::Continue,
            false => Flow::Stop,
        })
    }
}

fn number(cx: Context<'_>, message: &Message, count: &Dynamic) -> Result<usize, Fault> {
    let text = count.value(&cx.scope(message))?;
    // XPath numbers print with a fraction.
    let whole = text.trim();
    let whole = whole.strip_suffix(".0").unwrap_or(whole);
    whole.parse().map_err(|_| {
        Fault::mediation(format!(
            "Error while parsing iterations number in clone mediator: \"{text}\" is not a number"
        ))
    })
}

/// Marks a copy; the target that it goes to.
fn mark(marks: &mut Marks, copy: &mut Message, repeated: bool) -> usize {
    let number = marks.mark(copy);
    if !repeated {
        return number;
    }
    let index = i32::try_from(number + 1).unwrap_or(i32::MAX);
    copy.properties
        .set("CLONED_ITERATION_INDEX", Value::Integer(index));
    0
}

struct Copies {
    original: Option<Message>,
    marks: Marks,
    repeated: bool,
}

impl Parts for Copies {
    fn next(&mut self) -> Option<(Message, usize)> {
        let mut copy = match self.marks.left() {
            0 => return None,
            1 => self.original.take()?,
            _ => self.original.as_ref()?.duplicate(),
        };
        let target = mark(&mut self.marks, &mut copy, self.repeated);
        Some((copy, target))
    }
}
