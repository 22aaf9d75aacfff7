//! `<drop/>`: ends the flow without an answer (spec 01 §7.4).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::expr::Need;
use crate::mediator::describe::{Area, Doc, Needs, Tag};
use crate::message::{Fault, Message, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "drop",
    summary: "Ends the flow without an answer.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "drop",
    "Ends the flow. A client that has no answer yet gets 202 without a body.",
);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Nothing,
    forms: &[&ROOT],
    remarks: &[
        "In a fault sequence it means that the failure is dealt with: the client gets 202, or 500 when a request had gone out already.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    Some(Arc::new(Drop))
}

#[derive(Debug)]
struct Drop;

impl Definition for Drop {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(Drop))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

impl Mediate for Drop {
    fn need(&self) -> Need {
        Need::Nothing
    }

    fn mediate(&self, _cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        message.to = To::Client;
        Ok(Flow::Stop)
    }
}
