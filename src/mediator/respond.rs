//! `<respond/>`: sends the message as it is to the client (spec 01 §7.4, §8.1).

use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::mediator::describe::{Area, Doc, Needs, Tag};
use crate::message::{Direction, Fault, Message, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "respond",
    summary: "Sends the message to the client and ends the flow.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "respond",
    "Sends the message to the client as it is, and ends the flow.",
);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Nothing,
    forms: &[&ROOT],
    remarks: &[
        "The status is `HTTP_SC` of the scope `axis2`, else 200 for a request that is sent back and the back-end's status behind a `<call>`.",
        "Request headers that are still in the message go out too, credentials excepted.",
        "A client gets one answer; a second `<respond>` for the same request is dropped.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    Some(Arc::new(Respond))
}

#[derive(Debug)]
struct Respond;

impl Definition for Respond {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Respond))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

impl MediateAsync for Respond {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            message.to = To::Client;
            message.direction = Direction::Response;
            answer(cx, message).await?;
            Ok(Flow::Stop)
        })
    }
}

/// Gives the client its answer, made from this message. A second answer is dropped.
pub(super) async fn answer(cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
    if cx.exchange.is_answered() {
        tracing::warn!(
            target: "Axis2Sender",
            "{}Trying to send a response to an already responded client request", cx.route.label
        );
        return Ok(());
    }
    let response = message
        .to_response(cx.exchange, &cx.services.limits, &cx.services.rules)
        .await?;
    cx.exchange.answer(response);
    Ok(())
}
