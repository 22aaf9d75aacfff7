//! `<call>`: sends, waits, and goes on with the response as the message (spec 01 §7.2).
//! Blocking calls are treated alike.

use super::rest::resume;
use super::send::parse_endpoint;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, settle};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::{Deliver, Endpoint, EndpointDef, Kind, Parent, SendContext, Sent};
use crate::mediator::describe::{Area, Attr, Doc, ENDPOINT, Needs, Tag};
use crate::message::fault::{Report, codes};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::{Arc, Mutex, PoisonError};

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "call",
    summary: "Calls an endpoint and goes on with its response.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "call",
    "Sends the message, waits for the response and goes on with it behind `<call>`. The thread is free meanwhile. Without an endpoint the message goes to its `To` address.",
)
.with(&[
    Attr::truth(
        "blocking",
        "Calls never hold a thread here, so that `true` and `false` are the same.",
    ),
    Attr::truth("initAxis2ClientOptions", "Options of the reference's own client.").ignored(),
])
.of(&[&ENDPOINT]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Nothing,
    forms: &[&ROOT],
    remarks: &[
        "The response replaces body, headers and status; properties of the default scope and variables stay.",
        "A status of 400 or more is no fault, also with `blocking=\"true\"`, where the reference faults with 401002: look at `$axis2:HTTP_SC`.",
        "With the property `OUT_ONLY` set to `true` nothing is waited for, and the flow goes on with the request.",
        "`<source>` and `<target>` are refused at deployment. Use `<enrich>` before and behind the call.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    for child in element.children().filter(roxmltree::Node::is_element) {
        if ["source", "target"].contains(&child.tag_name().name()) {
            let place = reader.place(child);
            reader.unsupported(
                place,
                format!(
                    "<{}> of <call> is not supported yet",
                    child.tag_name().name()
                ),
                Some("without it the call sends the body and replaces it by the response"),
            );
            return None;
        }
    }
    let endpoint = parse_endpoint(reader, element, &ROOT);
    let blocking = element
        .attribute("blocking")
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
    (reader.errors() == before)
        .then(|| Arc::new(CallDef { endpoint, blocking }) as Arc<dyn Definition>)
}

#[derive(Debug)]
struct CallDef {
    endpoint: Option<Arc<EndpointDef>>,
    blocking: bool,
}

impl Definition for CallDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Call {
            endpoint: self.endpoint.as_ref().map(|e| linker.endpoint(e)),
            implicit: DefaultEndpoint::implicit(linker),
            blocking: self.blocking,
        }))
    }
}

#[derive(Debug)]
struct Call {
    endpoint: Option<Arc<Endpoint>>,
    implicit: DefaultEndpoint,
    blocking: bool,
}

impl MediateAsync for Call {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            let kind: &dyn Kind = match &self.endpoint {
                Some(endpoint) => &*endpoint.kind,
                None => &self.implicit,
            };
            message.last_endpoint = false;
            message.attempts = 0;
            super::send::acknowledge(cx, message);
            // The direction stays what it was: the flow goes on behind the call (spec 01 §7.2).
            let answers = Answers::default();
            let sending = SendContext {
                deliver: Some(&answers),
                ..cx.sending()
            };
            match kind
                .send(sending, message, Parent::Root)
                .await
                .map_err(thrown)?
            {
                Sent::Response => {
                    // A blocking call keeps its place in the reference; others come back to it.
                    message.resumed |= !self.blocking;
                    Ok(Flow::Continue)
                }
                Sent::OneWay => Ok(Flow::Continue),
                Sent::Delivered => answers.go_on(cx).await,
            }
        })
    }
}

/// What came back from a recipient list, in the order of arrival.
#[derive(Default)]
struct Answers(Mutex<Vec<(Message, Result<Sent, Fault>)>>);

impl Deliver for Answers {
    fn deliver(&self, message: Message, outcome: Result<Sent, Fault>) -> Boxed<'_, ()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((message, outcome));
        Box::pin(std::future::ready(()))
    }
}

impl Answers {
    /// The flow goes on with every answer, one after the other; the fault handlers of recipients that
    /// failed run in their turn.
    async fn go_on(self, cx: Context<'_>) -> Result<Flow, Fault> {
        let outcomes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut came = false;
        for (mut answer, outcome) in outcomes {
            let outcome = match outcome {
                Ok(Sent::OneWay | Sent::Delivered) => continue,
                Ok(Sent::Response) => {
                    answer.resumed = true;
                    resume(cx, &mut answer).await.map(|_| ())
                }
                Err(fault) => Err(fault),
            };
            came = true;
            settle(cx, &mut answer, outcome).await;
        }
        // When nothing was asked for, the message itself goes on.
        Ok(match came {
            true => Flow::Stop,
            false => Flow::Continue,
        })
    }
}

/// What threw before anything was sent and has no code of its own is a failed call (spec 01 §7.2).
fn thrown(mut fault: Fault) -> Fault {
    if fault.code == 0 {
        fault.code = codes::CALL_FAILED;
        fault.report = Report::Always;
    }
    fault
}
