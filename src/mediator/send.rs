//! `<send>`: to an endpoint, to the message's destination, or back to the client
//! (spec 01 §7.1, §8.1–§8.2).

use super::sequence::resolve;
use super::{
    Boxed, Context, Definition, Flow, Linker, MediateAsync, Out, Run, Spec, run_sequence, settle,
};
use crate::diag::{Place, codes};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::{self, Deliver, Endpoint, EndpointDef, Kind, Parent, SendContext, Sent};
use crate::expr::Dynamic;
use crate::mediator::describe::{Area, Attr, Doc, ENDPOINT, Needs, Tag};
use crate::message::{Direction, Fault, Message, SequenceId, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "send",
    summary: "Sends the message to an endpoint, to its To address, or back to the client.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "send",
    "Sends a request to the endpoint, or to its `To` address without one. A response without an endpoint goes to the client. Nothing behind `<send>` runs: the response of the back-end takes the out path of the service, or the sequence in `receive`.",
)
.with(&[
    Attr::dynamic("receive", "Sequence that gets the response, instead of the out path."),
    Attr::truth("buildmessage", "`true`: the body is read before it is sent."),
])
.of(&[&ENDPOINT]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::As("Nothing is read unless `buildmessage=\"true\"`: the body streams."),
    forms: &[&ROOT],
    remarks: &[
        "To answer the client from the request path use [`<respond>`](respond.md).",
        "With the property `OUT_ONLY` set to `true` the response is not waited for and the client gets 202.",
        "Failures of the endpoint run the fault handlers, with `ERROR_CODE` and `ERROR_MESSAGE` set.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let receive = element.has_attribute("receive").then(|| {
        let place = reader.attribute_place(element, "receive");
        reader
            .dynamic(element, "receive")
            .map(|d| (Arc::new(d), place))
    });
    let endpoint = parse_endpoint(reader, element, &ROOT);
    (reader.errors() == before).then(|| {
        Arc::new(SendDef {
            receive: receive.flatten(),
            endpoint,
            build: element
                .attribute("buildmessage")
                .is_some_and(|v| v.eq_ignore_ascii_case("true")),
        }) as Arc<dyn Definition>
    })
}

/// The one `<endpoint>` child of a sending mediator.
pub(super) fn parse_endpoint(
    reader: &mut Reader,
    element: Element<'_, '_>,
    part: &Tag,
) -> Option<Arc<EndpointDef>> {
    let mut out = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("endpoint") if out.is_none() => {
                out = Some(Arc::new(endpoint::parse(reader, child)?));
            }
            Some("endpoint") => {
                let place = reader.place(child);
                reader.error(
                    codes::CONFLICT,
                    place,
                    format!("<{}> has one endpoint", element.tag_name().name()),
                );
            }
            Some("description") => {}
            // What else the mediator has, it reads itself.
            Some(name) if part.children.iter().any(|c| c.name == name) => {}
            _ => part.refuse(reader, child),
        }
    }
    out
}

#[derive(Debug)]
struct SendDef {
    receive: Option<(Arc<Dynamic>, Place)>,
    endpoint: Option<Arc<EndpointDef>>,
    build: bool,
}

impl Definition for SendDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        if let Some((key, place)) = &self.receive {
            linker.key(key, place);
        }
        Run::Wait(Box::new(Send {
            receive: self.receive.as_ref().map(|r| r.0.clone()),
            endpoint: self.endpoint.as_ref().map(|e| linker.endpoint(e)),
            implicit: DefaultEndpoint::implicit(linker),
            build: self.build,
        }))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Send {
    receive: Option<Arc<Dynamic>>,
    endpoint: Option<Arc<Endpoint>>,
    implicit: DefaultEndpoint,
    build: bool,
}

impl MediateAsync for Send {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if self.build {
                super::list::build(cx, message).await?;
            }
            let kind: &dyn Kind = match &self.endpoint {
                Some(endpoint) => &*endpoint.kind,
                None if message.is_response() => {
                    // Only a message without destination reaches the client (spec 01 §7.1).
                    if let Some(to) = destination(message) {
                        return Err(Fault::mediation(format!(
                            "Malformed URL in the target EPR: {to} (a response needs <header name=\"To\" action=\"remove\"/> before <send/>)"
                        )));
                    }
                    super::respond::answer(cx, message).await?;
                    return Ok(Flow::Stop);
                }
                None => &self.implicit,
            };
            let receive = match &self.receive {
                Some(key) => Some(Receive {
                    id: resolve(cx, message, key).await?,
                    name: key.value(&cx.scope(message))?,
                }),
                None => None,
            };
            send_through(cx, message, kind, receive).await?;
            Ok(Flow::Stop)
        })
    }
}

/// Where a response goes instead of the out path.
#[derive(Clone)]
pub(super) struct Receive {
    /// The sequence, when it is defined.
    pub id: Option<SequenceId>,
    /// Its name.
    pub name: String,
}

/// The `To` that keeps a response from the client.
fn destination(message: &Message) -> Option<String> {
    match &message.to {
        To::Client => None,
        _ => message
            .to_address()
            .filter(|a| *a != crate::message::ANONYMOUS)
            .map(|a| a.into_owned()),
    }
}

/// Sends, waits, and runs the out path with the response. The flow ends here, so waiting in place
/// is what the reference's callback does later.
// An `async fn` would have room for its arguments twice.
#[allow(clippy::manual_async_fn)]
fn send_through<'a>(
    cx: Context<'a>,
    message: &'a mut Message,
    kind: &'a dyn Kind,
    receive: Option<Receive>,
) -> impl Future<Output = Result<(), Fault>> + core::marker::Send + 'a {
    async move {
        message.last_endpoint = false;
        message.attempts = 0;
        acknowledge(cx, message);
        // In a block, so that the future has no room for both halves at once.
        let sent = {
            let copies = Copies {
                cx,
                receive: receive.clone(),
                turn: tokio::sync::Mutex::default(),
            };
            let sending = SendContext {
                deliver: Some(&copies),
                ..cx.sending()
            };
            kind.send(sending, message, Parent::Root).await
        };
        let sent = sent?;
        match sent {
            Sent::OneWay | Sent::Delivered => Ok(()),
            Sent::Response => response_path(cx, message, receive).await,
        }
    }
}

fn response_path<'a>(
    cx: Context<'a>,
    message: &'a mut Message,
    receive: Option<Receive>,
) -> impl Future<Output = Result<(), Fault>> + core::marker::Send + 'a {
    message.direction = Direction::Response;
    // A response starts with a fresh stack: only the entry point's handler (spec 01 §9.3).
    message.fault_stack.clear();
    message.fault_stack.extend(cx.route.fault);
    out_path(cx, message, receive)
}

/// Runs the out path for every answer of a recipient list, one after the other as they arrive.
struct Copies<'a> {
    cx: Context<'a>,
    receive: Option<Receive>,
    /// Held while an out path runs.
    turn: tokio::sync::Mutex<()>,
}

impl Deliver for Copies<'_> {
    fn deliver(&self, mut message: Message, outcome: Result<Sent, Fault>) -> Boxed<'_, ()> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            let outcome = match outcome {
                Ok(Sent::Response) => {
                    response_path(self.cx, &mut message, self.receive.clone()).await
                }
                Ok(Sent::OneWay | Sent::Delivered) => Ok(()),
                Err(fault) => Err(fault),
            };
            settle(self.cx, &mut message, outcome).await;
        })
    }
}

/// `FORCE_SC_ACCEPTED` and `NIO-ACK-Requested`: the client gets its answer before the back-end
/// answers, and nothing later (spec 01 §8.4).
pub(super) fn acknowledge(cx: Context<'_>, message: &Message) {
    if message.axis2.is_empty() || cx.exchange.is_answered() {
        return;
    }
    if message.axis2.is_true("FORCE_SC_ACCEPTED") {
        cx.exchange.answer(crate::message::outgoing::accepted());
    } else if message.axis2.is_true("NIO-ACK-Requested") {
        cx.exchange.answer(message.acknowledgement());
    }
}

/// Runs what the entry point does with a response (spec 01 §6.3).
pub(super) fn out_path<'a>(
    cx: Context<'a>,
    message: &'a mut Message,
    receive: Option<Receive>,
) -> impl Future<Output = Result<(), Fault>> + core::marker::Send + 'a {
    let cx = cx.apart();
    async move {
        if let Some(id) = cx.library.pre_mediate
            && Box::pin(run_sequence(cx, message, id)).await? == Flow::Stop
        {
            return Ok(());
        }
        let id = match (receive, &cx.route.out) {
            (Some(Receive { id: Some(id), .. }), _) => Some(id),
            (Some(Receive { id: None, name }), _) => {
                // The reference drops the response with a warning and no fault sequence.
                tracing::warn!(
                    target: "Axis2SynapseEnvironment",
                    "{}Cannot find a Sequence with name: {name} for injecting the response message", cx.route.label
                );
                return Ok(());
            }
            (None, Out::Client) => None,
            (None, Out::Sequence(id)) => Some(*id),
            (None, Out::Missing(name)) => {
                return Err(Fault::mediation(format!(
                    "Unable to find the out-sequence specified by the name {name}"
                )));
            }
            (None, Out::Main) => match cx.library.main {
                Some(id) => Some(id),
                None => return Ok(()),
            },
        };
        match id {
            Some(id) => Box::pin(run_sequence(cx, message, id)).await.map(drop),
            None => super::respond::answer(cx, message).await,
        }
    }
}

/// Forwards a message to a proxy's target endpoint, as `send` does.
///
/// # Errors
/// The fault of the endpoint or of the out path.
pub fn send_to_target<'a>(
    cx: Context<'a>,
    message: &'a mut Message,
    kind: &'a dyn Kind,
) -> impl Future<Output = Result<(), Fault>> + core::marker::Send + 'a {
    send_through(cx, message, kind, None)
}
