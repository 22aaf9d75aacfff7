//! `<loopback/>`: from here on the message is a response and takes the out path (spec 01 §7.4).

use super::send::out_path;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::mediator::describe::{Area, Doc, Needs, Tag};
use crate::message::{Direction, Fault, Message, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "loopback",
    summary: "Turns the message into a response that takes the out path.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "loopback",
    "Turns a request into a response that takes the out path of its service. Nothing behind it in the request path runs. On a response it does nothing.",
);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Nothing,
    forms: &[&ROOT],
    remarks: &["To answer at once, without the out path, use [`<respond>`](respond.md)."],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    Some(Arc::new(Loopback))
}

#[derive(Debug)]
struct Loopback;

impl Definition for Loopback {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Loopback))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

impl MediateAsync for Loopback {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if message.is_response() {
                return Ok(Flow::Stop);
            }
            message.direction = Direction::Response;
            message.to = To::Client;
            out_path(cx, message, None).await?;
            Ok(Flow::Stop)
        })
    }
}
