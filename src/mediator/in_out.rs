//! `<in>` and `<out>`: run their children for requests or for responses only (spec 03 §6).

use super::{Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec};
use crate::mediator::describe::{Area, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The row of `<in>`.
pub(super) const IN: Spec = Spec {
    name: "in",
    summary: "Runs its children for requests only.",
    doc: IN_DOC,
    parse: |reader, element| parse(reader, element, false),
};

/// The row of `<out>`.
pub(super) const OUT: Spec = Spec {
    name: "out",
    summary: "Runs its children for responses only.",
    doc: OUT_DOC,
    parse: |reader, element| parse(reader, element, true),
};

const IN_ROOT: Tag = Tag::mediator("in", "Runs its children for a request. Common in the sequence `main`, which gets requests and responses.")
    .holds(Content::Mediators);
const OUT_ROOT: Tag = Tag::mediator("out", "Runs its children for a response. Common in the sequence `main`, which gets requests and responses.")
    .holds(Content::Mediators);

const IN_DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Nothing,
    forms: &[&IN_ROOT],
    remarks: &[
        "A response that a `<call>` brought is part of the request's flow: for it `<in>` runs.",
    ],
};

const OUT_DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Nothing,
    forms: &[&OUT_ROOT],
    remarks: &[
        "A response that a `<call>` brought is part of the request's flow: for it `<in>` runs.",
    ],
};

fn parse(
    reader: &mut Reader,
    element: Element<'_, '_>,
    response: bool,
) -> Option<Arc<dyn Definition>> {
    (if response { &OUT_ROOT } else { &IN_ROOT }).check(reader, element);
    Some(Arc::new(InOutDef {
        response,
        list: ListDef::parse(reader, element, &[]),
    }))
}

#[derive(Debug)]
struct InOutDef {
    response: bool,
    list: ListDef,
}

impl Definition for InOutDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(InOut {
            response: self.response,
            list: self.list.link(linker),
        }))
    }
}

#[derive(Debug)]
struct InOut {
    response: bool,
    list: List,
}

impl MediateAsync for InOut {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if message.is_response() != self.response {
                return Ok(Flow::Continue);
            }
            self.list.run(cx, message).await
        })
    }
}
