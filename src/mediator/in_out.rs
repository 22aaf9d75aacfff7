//! `<in>` and `<out>`: run their children for requests or for responses only (spec 03 §6).

use super::{Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The row of `<in>`.
pub(super) const IN: Spec = Spec {
    name: "in",
    summary: "Runs its children for requests only.",
    parse: |reader, element| parse(reader, element, false),
};

/// The row of `<out>`.
pub(super) const OUT: Spec = Spec {
    name: "out",
    summary: "Runs its children for responses only.",
    parse: |reader, element| parse(reader, element, true),
};

fn parse(
    reader: &mut Reader,
    element: Element<'_, '_>,
    response: bool,
) -> Option<Arc<dyn Definition>> {
    reader.mediator_attributes(element, &[]);
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
