//! `<call>`: sends, waits, and goes on with the response as the message (spec 01 §7.2).
//! Blocking calls are treated alike.

use super::send::parse_endpoint;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, settle};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::{Deliver, Endpoint, EndpointDef, Kind, Parent, SendContext, Sent};
use crate::message::fault::{Report, codes};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::{Arc, Mutex, PoisonError};

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "call",
    summary: "Calls an endpoint and goes on with its response.",
    parse,
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    reader.mediator_attributes(element, &["blocking", "initAxis2ClientOptions"]);
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
    let endpoint = parse_endpoint(reader, element, &["endpoint"]);
    (reader.errors() == before).then(|| Arc::new(CallDef { endpoint }) as Arc<dyn Definition>)
}

#[derive(Debug)]
struct CallDef {
    endpoint: Option<Arc<EndpointDef>>,
}

impl Definition for CallDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Call {
            endpoint: self.endpoint.as_ref().map(|e| linker.endpoint(e)),
            implicit: DefaultEndpoint::implicit(linker),
        }))
    }
}

#[derive(Debug)]
struct Call {
    endpoint: Option<Arc<Endpoint>>,
    implicit: DefaultEndpoint,
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
                Sent::Response | Sent::OneWay => Ok(Flow::Continue),
                Sent::Delivered => answers.go_on(cx, message).await,
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
    /// The flow goes on with every answer: the first one is the message now, the others follow it.
    /// The fault handlers of recipients that failed run here.
    async fn go_on(self, cx: Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let outcomes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut answers = Vec::new();
        let mut faulted = false;
        for (mut copy, outcome) in outcomes {
            match outcome {
                Ok(Sent::Response) => answers.push(copy),
                Ok(Sent::OneWay | Sent::Delivered) => {}
                Err(fault) => {
                    faulted = true;
                    settle(cx, &mut copy, Err(fault)).await;
                }
            }
        }
        let mut answers = answers.into_iter();
        match answers.next() {
            Some(first) => *message = first,
            // Nothing was asked for, and nothing came.
            None if !faulted => return Ok(Flow::Continue),
            None => return Ok(Flow::Stop),
        }
        message.forks.extend(answers);
        Ok(Flow::Continue)
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
