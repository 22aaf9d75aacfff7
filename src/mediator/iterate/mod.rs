//! `<iterate>`: splits a message by an expression and gives the pieces to a target (spec 03 §10).

mod json;
mod xml;

use super::clone::how;
use super::split::{self, How};
use super::target::{TARGET, Target, TargetDef};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, list};
use crate::diag::codes;
use crate::expr::Expr;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "iterate",
    summary: "Splits the message by an expression and gives the pieces to a target.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "iterate",
    "Splits the message: each node or array element that the expression gives is the body of a copy, and each copy goes to the target. [`<aggregate>`](aggregate.md) in the target joins the results.",
)
.with(&[
    Attr::expression("expression", "XPath or `json-eval(…)`. `${…}` is refused.").required(),
    Attr::text("id", "Name of the split, for `<aggregate id=\"…\">` and the property names."),
    Attr::truth("continueParent", "`true`: the message itself goes on behind `<iterate>`."),
    Attr::truth("preservePayload", "`true`: copies keep the original body, with their part at `attachPath`."),
    Attr::expression("attachPath", "Where the part is put; in the language of `expression`. XML: appended as a child; JSON: replaces the value.").or("`.` or `$`"),
    Attr::truth("sequential", "`true`: one part after the other."),
])
.of(&[&TARGET]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Each copy has `messageSequence` (`messageSequence.ID` with an `id`), such as `0/3`.",
        "Without parts and with `continueParent=\"false\"` the client gets 202.",
        "At most `[myelin] max_parallel_parts` parts run at one time, and `max_split_parts` are made.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut target = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("target") if target.is_none() => target = TargetDef::parse(reader, child),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let preserve = element
        .attribute("preservePayload")
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
    if !element.has_attribute("expression") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "XPATH expression is required for an IterateMediator under the \"expression\" attribute",
        );
    }
    let expression = reader.expression(element, "expression");
    let attach = reader.expression(element, "attachPath");
    if element.has_attribute("attachPath") && !preserve {
        let place = reader.attribute_place(element, "attachPath");
        reader.error(
            codes::CONFLICT,
            place,
            "Wrong configuration for the iterate mediator :: if the iterator should not preserve payload, then attachPath can not be present",
        );
    }
    if target.is_none() && reader.errors() == before {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "Target for an iterate mediator is required :: missing target",
        );
    }
    let (expression, target) = (expression?, target?);
    let mismatch = match (&expression, &attach) {
        (Expr::XPath(_), Some(Expr::XPath(_)) | None)
        | (Expr::Json { .. }, Some(Expr::Json { .. }) | None) => false,
        (Expr::XPath(_) | Expr::Json { .. }, Some(_)) => true,
        // Deploys on the reference and faults with every message.
        #[allow(unreachable_patterns, reason = "there are further languages")]
        _ => {
            let place = reader.attribute_place(element, "expression");
            reader.unsupported(
                place,
                "<iterate> works with XPath and json-eval(…) only",
                Some("use foreach with a collection for ${…}"),
            );
            return None;
        }
    };
    if mismatch {
        let place = reader.attribute_place(element, "attachPath");
        reader.error(
            codes::CONFLICT,
            place,
            "Wrong configuraton for the iterate mediator :: both expression and attachPath should be either jsonpath or xpath",
        );
    }
    (reader.errors() == before).then(|| {
        Arc::new(IterateDef {
            iterate: Arc::new(Splitter {
                id: element.attribute("id").map(Arc::from),
                how: how(element),
                expression,
                attach,
                preserve,
            }),
            target,
        }) as Arc<dyn Definition>
    })
}

/// What is written about the splitting.
#[derive(Debug)]
struct Splitter {
    id: Option<Arc<str>>,
    how: How,
    expression: Expr,
    attach: Option<Expr>,
    preserve: bool,
}

#[derive(Debug)]
struct IterateDef {
    iterate: Arc<Splitter>,
    target: TargetDef,
}

impl Definition for IterateDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let target = linker.within("target", |l| self.target.link(l));
        Run::Wait(Box::new(Iterate {
            iterate: self.iterate.clone(),
            targets: Arc::new([target]),
        }))
    }
}

#[derive(Debug)]
struct Iterate {
    iterate: Arc<Splitter>,
    targets: Arc<[Target]>,
}

impl MediateAsync for Iterate {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let parts = match &self.iterate.expression {
                Expr::Json { .. } => json::parts(cx, message, &self.iterate)?,
                _ => xml::parts(cx, message, &self.iterate)?,
            };
            split::run(cx, parts, &self.targets, self.iterate.how).await
        })
    }
}
