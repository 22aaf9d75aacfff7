//! `<call>`: sends, waits, and goes on with the response as the message (spec 01 §7.2).
//! Blocking calls hold no thread either, but take over the body only, and fail with an error status.
//! `payload` has `<source>` and `<target>`.

mod payload;

use self::payload::{Kept, Payload};
use super::rest::resume;
use super::send::parse_endpoint;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, list, settle};
use crate::diag::codes as diag;
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::{Deliver, Endpoint, EndpointDef, Kind, Parent, SendContext, Sent, Waiting};
use crate::mediator::describe::{Area, Attr, Doc, ENDPOINT, Needs, Tag};
use crate::message::fault::{Origin, Report, codes};
use crate::message::{Body, Fault, Message};
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
        "`true`: only the body of the response is taken over, and an error status is a failure of the endpoint. No thread is held either way.",
    ),
    Attr::truth("initAxis2ClientOptions", "Options of the reference's own client.").ignored(),
])
.of(&[&ENDPOINT, &payload::SOURCE, &payload::TARGET]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::As("Nothing is read unless `blocking=\"true\"`: the body streams."),
    forms: &[&ROOT],
    remarks: &[
        "The response replaces body, headers and status; properties of the default scope and variables stay.",
        "A status of 400 or more is no fault: look at `$axis2:HTTP_SC`.",
        "With `blocking=\"true\"` headers, `ContentType`, `messageType` and all other properties stay those of the request: set `messageType` when the response has another form. The property `BLOCKING_SENDER_PRESERVE_REQ_HEADERS` set to `false` gives the headers of the response. `$axis2:HTTP_SC` is the status, as a text.",
        "With `blocking=\"true\"` all statuses but 2xx, 400, 409 and 500 are failures: the fault handlers run with the status as `ERROR_CODE`, `Transport error: STATUS Error: REASON` as `ERROR_MESSAGE`, the request as the message and `blocking.sender.error` set to `true`. The axis2 properties `error.http.status.codes` and `non.error.http.status.codes` (lists with commas) change which. A request that fails otherwise is 401002, and so is a SOAP fault if `FORCE_ERROR_ON_SOAP_FAULT` is `true`.",
        "With the property `OUT_ONLY` set to `true` nothing is waited for, and the flow goes on with the request. A blocking call waits for the status, and can fail.",
        "With a `<target>` of the type `property` or `variable` the message goes on as it was before the call: body, transport headers, `messageType`, `ContentType` and `NO_ENTITY_BODY`. `$axis2:HTTP_SC` is the status of the response.",
        "A `<source>` replaces the body that is sent as `<enrich>` would. With `OUT_ONLY` there is no response: with such a target, too, the flow goes on with the message as it was.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let payload = payload::parse(reader, element);
    check_init_options(reader, element);
    let endpoint = parse_endpoint(reader, element, &ROOT);
    let blocking = element
        .attribute("blocking")
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
    (reader.errors() == before).then(|| {
        Arc::new(CallDef {
            endpoint,
            blocking,
            payload: payload.map(Arc::new),
        }) as Arc<dyn Definition>
    })
}

/// `initAxis2ClientOptions` has no effect, but has to be a truth.
pub(super) fn check_init_options(reader: &mut Reader, element: Element<'_, '_>) {
    const NAME: &str = "initAxis2ClientOptions";
    let is_truth = |text: &str| {
        ["true", "false"]
            .iter()
            .any(|t| t.eq_ignore_ascii_case(text))
    };
    if element.attribute(NAME).is_some_and(|text| !is_truth(text)) {
        let place = reader.attribute_place(element, NAME);
        reader.error(
            diag::INVALID_VALUE,
            place,
            "The 'initAxis2ClientOptions' attribute only accepts a boolean value.",
        );
    }
}

/// What a blocking call says about its end.
const ERROR: &str = "blocking.sender.error";

#[derive(Debug)]
struct CallDef {
    endpoint: Option<Arc<EndpointDef>>,
    blocking: bool,
    payload: Option<Arc<Payload>>,
}

impl Definition for CallDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        if let Some(payload) = &self.payload {
            payload.link(linker);
        }
        Run::Wait(Box::new(Call {
            endpoint: self.endpoint.as_ref().map(|e| linker.endpoint(e)),
            implicit: DefaultEndpoint::implicit(linker),
            blocking: self.blocking,
            payload: self.payload.clone(),
        }))
    }
}

#[derive(Debug)]
struct Call {
    endpoint: Option<Arc<Endpoint>>,
    implicit: DefaultEndpoint,
    blocking: bool,
    payload: Option<Arc<Payload>>,
}

impl MediateAsync for Call {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        let kind: &dyn Kind = match &self.endpoint {
            Some(endpoint) => &*endpoint.kind,
            None => &self.implicit,
        };
        message.last_endpoint = false;
        message.attempts = 0;
        super::send::acknowledge(cx, message);
        if let Some(payload) = &self.payload {
            let blocking = self.blocking;
            return Box::pin(async move {
                let kept = Box::pin(payload.before(cx, message)).await?;
                let after = After(Some((payload, kept)));
                match blocking {
                    true => block(cx, message, kind, after).await,
                    false => ask(cx, message, kind, after).await,
                }
            });
        }
        match self.blocking {
            true => Box::pin(block(cx, message, kind, After(None))),
            false => Box::pin(ask(cx, message, kind, After(None))),
        }
    }
}

/// What is done with a message behind the call.
struct After<'a>(Option<(&'a Payload, Option<Kept>)>);

impl After<'_> {
    async fn response(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        match &self.0 {
            Some((payload, Some(kept))) => Box::pin(payload.after(cx, message, kept)).await,
            _ => Ok(()),
        }
    }

    fn nothing(&self, message: &mut Message) {
        if let Some((_, Some(kept))) = &self.0 {
            kept.restore(message);
        }
    }
}

/// A call that is not blocking. The direction stays what it was: the flow goes on behind the call
/// (spec 01 §7.2).
async fn ask(
    cx: Context<'_>,
    message: &mut Message,
    kind: &dyn Kind,
    after: After<'_>,
) -> Result<Flow, Fault> {
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
            message.resumed = true;
            after.response(cx, message).await?;
            Ok(Flow::Continue)
        }
        Sent::OneWay => {
            after.nothing(message);
            Ok(Flow::Continue)
        }
        Sent::Delivered => answers.go_on(cx, message, None, &after).await,
    }
}

/// A blocking call. It keeps its place in the flow: the message has not been resumed after it.
async fn block(
    cx: Context<'_>,
    message: &mut Message,
    kind: &dyn Kind,
    after: After<'_>,
) -> Result<Flow, Fault> {
    if !message.is_built() {
        list::build(cx, message).await?;
    }
    message.properties.remove(ERROR);
    let request = message.shell();
    let answers = Answers::default();
    let sending = SendContext {
        deliver: Some(&answers),
        waiting: Waiting::Blocking,
        ..cx.sending()
    };
    match kind.send(sending, message, Parent::Root).await {
        // Boxed: rare.
        Ok(Sent::Delivered) => Box::pin(answers.go_on(cx, message, Some(request), &after)).await,
        outcome => {
            let came = matches!(outcome, Ok(Sent::Response));
            end_blocking(cx, message, outcome, request).await?;
            match came {
                true => after.response(cx, message).await?,
                false => after.nothing(message),
            }
            Ok(Flow::Continue)
        }
    }
}

/// What came back becomes the message of the flow, whose headers and types are those of the `request`.
async fn end_blocking(
    cx: Context<'_>,
    message: &mut Message,
    outcome: Result<Sent, Fault>,
    request: Message,
) -> Result<(), Fault> {
    let outcome = match outcome {
        Ok(Sent::Response) => take_over(cx, message).await,
        Ok(Sent::OneWay | Sent::Delivered) => Ok(()),
        Err(fault) => Err(fault),
    };
    let status = message.axis2.get("HTTP_SC").cloned();
    message.go_on_as(request);
    if let Some(status) = status {
        message.axis2.set("HTTP_SC", status);
    }
    let failed = outcome.is_err();
    if failed && !message.is_built() {
        // What is left of a response that cannot be used.
        message.body = Body::Empty;
    }
    message
        .properties
        .set(ERROR, if failed { "true" } else { "false" });
    outcome
}

/// The response has come: its body is built, as its headers say what it is, and its status is shown.
async fn take_over(cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
    if let Some(status) = message.status {
        message.axis2.set("HTTP_SC", status.to_string());
    }
    match message.build(&cx.services.limits).await {
        Ok(_) => Ok(()),
        Err(mut fault) => {
            fault.code = codes::BLOCKING_FAILED;
            fault.origin = Origin::Backend;
            Err(fault)
        }
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
    /// failed run in their turn. The `request` is that of a blocking call.
    async fn go_on(
        self,
        cx: Context<'_>,
        message: &mut Message,
        request: Option<Message>,
        after: &After<'_>,
    ) -> Result<Flow, Fault> {
        let outcomes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut came = false;
        for (mut answer, outcome) in outcomes {
            if let Ok(Sent::OneWay | Sent::Delivered) = outcome {
                continue;
            }
            let outcome = match &request {
                None => outcome.map(|_| ()),
                Some(request) => {
                    let mut own = request.shell();
                    own.message_id = answer.message_id.take().or(answer.relates_to.take());
                    end_blocking(cx, &mut answer, outcome, own).await
                }
            };
            let outcome = match outcome {
                Ok(()) => {
                    answer.resumed = true;
                    match after.response(cx, &mut answer).await {
                        Ok(()) => resume(cx, &mut answer).await.map(|_| ()),
                        Err(fault) => Err(fault),
                    }
                }
                Err(fault) => Err(fault),
            };
            came = true;
            settle(cx, &mut answer, outcome).await;
        }
        // When nothing was asked for, the message itself goes on.
        Ok(match came {
            true => Flow::Stop,
            false => {
                after.nothing(message);
                Flow::Continue
            }
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
