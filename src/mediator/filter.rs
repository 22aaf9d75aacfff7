//! `<filter>`: runs one of two branches (spec 03 §2).

use super::list::{BranchDef, look};
use super::pattern::Pattern;
use super::sequence::resolve;
use super::{
    Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec, run_sequence,
};
use crate::diag::codes;
use crate::expr::{Dynamic, Expr, Wanted};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "filter",
    summary: "Runs its children, or one of then and else, when a condition holds.",
    doc: DOC,
    parse,
};

const THEN: Tag = Tag::child("then", "Runs when the condition holds.")
    .with(&[
        Attr::dynamic("sequence", "Sequence that runs instead of the children."),
        Attr::text("description", "For people.").ignored(),
    ])
    .holds(Content::Mediators);
const ELSE: Tag = Tag::child("else", "Runs when it does not. Only beside `<then>`.")
    .with(THEN.attributes)
    .holds(Content::Mediators);

const ROOT: Tag = Tag::mediator(
    "filter",
    "Runs mediators when a condition holds: either `xpath`, or `source` with `regex`. Without `<then>` all children are the branch, and there is no other.",
)
.with(&[
    Attr::expression(
        "xpath",
        "XPath: true as XPath says (a path that selects something is). `json-eval(…)` and `${…}`: the text `true`. Wins over the other form.",
    ),
    Attr::expression("source", "Its text has to match `regex`."),
    Attr::regex("regex", "Has to match the whole text."),
])
.of(&[&THEN, &ELSE])
.holds(Content::Mediators);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &[
        "A branch that ends with `<respond>`, `<send>` or `<drop>` ends the flow; otherwise what stands behind the filter runs.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let condition = parse_condition(reader, element);
    let then = reader.child(element, "then");
    let (then, otherwise) = match then {
        Some(then) => {
            for child in reader.children(element) {
                if !matches!(reader.name(child), Some("then" | "else" | "description")) {
                    ROOT.refuse(reader, child);
                }
            }
            let otherwise = reader.child(element, "else").map(|e| branch(reader, e));
            (branch(reader, then), otherwise)
        }
        None => (
            BranchDef {
                key: None,
                list: ListDef::parse(reader, element, &[]),
            },
            None,
        ),
    };
    let condition = condition?;
    (reader.errors() == before).then(|| {
        Arc::new(FilterDef {
            condition,
            then,
            otherwise,
        }) as Arc<dyn Definition>
    })
}

fn parse_condition(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<Condition>> {
    if element.has_attribute("xpath") {
        return reader
            .expression(element, "xpath")
            .map(|e| Arc::new(Condition::Boolean(e)));
    }
    if !element.has_attribute("source") || !element.has_attribute("regex") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "An xpath or (source, regex) attributes are required for a filter",
        );
        return None;
    }
    if element
        .attribute("regex")
        .is_some_and(|text| text.trim().is_empty())
    {
        let place = reader.attribute_place(element, "regex");
        reader.error(
            codes::INVALID_VALUE,
            place,
            "Invalid attribute values for source and/or regex specified",
        );
        return None;
    }
    let source = reader.expression(element, "source");
    let regex = whole_match(reader, element, "regex");
    Some(Arc::new(Condition::Match(source?, regex?)))
}

/// The regular expression in an attribute, anchored: the reference matches the whole text.
pub(super) fn whole_match(
    reader: &mut Reader,
    element: Element<'_, '_>,
    name: &str,
) -> Option<Pattern> {
    let text = element.attribute(name)?;
    match Pattern::whole(text) {
        Ok(pattern) => Some(pattern),
        Err(cause) => {
            let place = reader.attribute_place(element, name);
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("Invalid Regular Expression for attribute {name} : {text} ({cause})"),
            );
            None
        }
    }
}

fn branch(reader: &mut Reader, element: Element<'_, '_>) -> BranchDef {
    THEN.check(reader, element);
    let key = element.has_attribute("sequence").then(|| {
        let place = reader.attribute_place(element, "sequence");
        reader
            .dynamic(element, "sequence")
            .map(|d| (Arc::new(d), place))
    });
    BranchDef {
        key: key.flatten(),
        list: ListDef::parse(reader, element, &[]),
    }
}

#[derive(Debug)]
enum Condition {
    Boolean(Expr),
    Match(Expr, Pattern),
}

#[derive(Debug)]
struct FilterDef {
    condition: Arc<Condition>,
    then: BranchDef,
    otherwise: Option<BranchDef>,
}

impl BranchDef {
    pub(super) fn link(&self, linker: &mut Linker<'_>, step: &str) -> Branch {
        match &self.key {
            Some((key, place)) => {
                linker.key(key, place);
                Branch::Key(key.clone())
            }
            None => Branch::List(linker.within(step, |l| self.list.link(l))),
        }
    }
}

impl Definition for FilterDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Filter {
            condition: self.condition.clone(),
            then: self.then.link(linker, "then"),
            otherwise: self.otherwise.as_ref().map(|b| b.link(linker, "else")),
        }))
    }
}

#[derive(Debug)]
pub(super) enum Branch {
    Key(Arc<Dynamic>),
    List(List),
}

#[derive(Debug)]
struct Filter {
    condition: Arc<Condition>,
    then: Branch,
    otherwise: Option<Branch>,
}

impl Condition {
    fn expression(&self) -> (&Expr, Wanted) {
        match self {
            Condition::Boolean(expr) => (expr, Wanted::Boolean),
            Condition::Match(expr, _) => (expr, Wanted::Text),
        }
    }

    fn holds(&self, cx: &Context<'_>, message: &Message) -> Result<bool, Fault> {
        let scope = cx.scope(message);
        match self {
            Condition::Boolean(expr) => expr.boolean(&scope),
            Condition::Match(expr, pattern) => match expr.string(&scope)? {
                Some(text) => pattern.is_match(&text),
                None => Ok(false),
            },
        }
    }
}

impl MediateAsync for Filter {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            look(cx, message, |number| {
                (number == 0).then(|| self.condition.expression())
            })
            .await?;
            let holds = self.condition.holds(&cx, message);
            message.answers.clear();
            let (branch, word) = if holds? {
                (Some(&self.then), "then")
            } else {
                (self.otherwise.as_ref(), "else")
            };
            match branch {
                None => Ok(Flow::Continue),
                Some(Branch::List(list)) => list.run(cx, message).await,
                Some(Branch::Key(key)) => match resolve(cx, message, key).await? {
                    Some(id) => run_sequence(cx, message, id).await,
                    None => Err(Fault::mediation(format!(
                        "Couldn't find the referred {word} sequence with key : {}",
                        key.value(&cx.scope(message))?
                    ))),
                },
            }
        })
    }
}
