//! `<switch>`: runs the first case that matches (spec 03 §3).

use super::filter::whole_match;
use super::list::look;
use super::pattern::Pattern;
use super::{Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec};
use crate::diag::codes;
use crate::expr::{Expr, Wanted};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "switch",
    summary: "Runs the first case whose regular expression matches a text, or the default.",
    doc: DOC,
    parse,
};

const CASE: Tag = Tag::mediator(
    "case",
    "Runs when its pattern matches. Only the first that does.",
)
.with(&[Attr::regex("regex", "Has to match the whole text.").required()])
.holds(Content::Mediators);
const DEFAULT: Tag = Tag::mediator("default", "Runs when no case does.").holds(Content::Mediators);

const ROOT: Tag = Tag::mediator(
    "switch",
    "Runs the first case whose pattern matches the text of an expression.",
)
.with(&[Attr::expression("source", "Gives the text.").required()])
.of(&[&CASE, &DEFAULT]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &["What stands behind the switch runs, unless the case ended the flow."],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    if !element.has_attribute("source") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "A 'source' XPath attribute is required for a switch mediator",
        );
    }
    let source = reader.expression(element, "source");
    let mut cases = Vec::new();
    let mut default = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("case") => cases.extend(parse_case(reader, child)),
            Some("default") => {
                DEFAULT.check(reader, child);
                let list = ListDef::parse(reader, child, &[]);
                if default.is_some() {
                    let place = reader.place(child);
                    reader.warning(
                        codes::UNREACHABLE,
                        place,
                        "only the first <default> of a <switch> runs",
                    );
                } else {
                    default = Some(list);
                }
            }
            Some("description") => {}
            // The reference ignores it; here a typo is told.
            _ => ROOT.refuse(reader, child),
        }
    }
    let source = source?;
    (reader.errors() == before).then(|| {
        Arc::new(SwitchDef {
            rules: Arc::new(Rules {
                source,
                cases: cases.iter().map(|c| c.0.clone()).collect(),
            }),
            lists: cases.into_iter().map(|c| c.1).collect(),
            default,
        }) as Arc<dyn Definition>
    })
}

fn parse_case(reader: &mut Reader, element: Element<'_, '_>) -> Option<(Pattern, ListDef)> {
    CASE.check(reader, element);
    if !element.has_attribute("regex") {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "The 'regex' attribute is required for a switch case definition",
        );
    }
    let regex = whole_match(reader, element, "regex");
    let list = ListDef::parse(reader, element, &[]);
    Some((regex?, list))
}

#[derive(Debug)]
struct Rules {
    source: Expr,
    cases: Vec<Pattern>,
}

#[derive(Debug)]
struct SwitchDef {
    rules: Arc<Rules>,
    lists: Vec<ListDef>,
    default: Option<ListDef>,
}

impl Definition for SwitchDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Switch {
            rules: self.rules.clone(),
            lists: self
                .lists
                .iter()
                .enumerate()
                .map(|(index, list)| linker.within(&format!("case{index}"), |l| list.link(l)))
                .collect(),
            default: self
                .default
                .as_ref()
                .map(|list| linker.within("default", |l| list.link(l))),
        }))
    }
}

#[derive(Debug)]
struct Switch {
    rules: Arc<Rules>,
    lists: Vec<List>,
    default: Option<List>,
}

impl MediateAsync for Switch {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            let Rules { source, cases } = &*self.rules;
            look(cx, message, |number| {
                (number == 0).then_some((source, Wanted::Text))
            })
            .await?;
            let text = source.string(&cx.scope(message));
            message.answers.clear();
            let text = text?;
            let mut hit = None;
            if let Some(text) = text {
                for (index, pattern) in cases.iter().enumerate() {
                    if pattern.is_match(&text)? {
                        hit = Some(index);
                        break;
                    }
                }
            }
            let list = match hit {
                Some(index) => self.lists.get(index),
                None => self.default.as_ref(),
            };
            match list {
                Some(list) => list.run(cx, message).await,
                None => Ok(Flow::Continue),
            }
        })
    }
}
