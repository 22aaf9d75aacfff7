//! `<call>`: sends, waits, and goes on with the response as the message (spec 01 §7.2).
//! Blocking calls are treated alike.

use super::send::parse_endpoint;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::{Endpoint, EndpointDef, Kind, Parent};
use crate::message::fault::{Report, codes};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

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
            kind.send(cx.sending(), message, Parent::Root)
                .await
                .map_err(thrown)?;
            Ok(Flow::Continue)
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
