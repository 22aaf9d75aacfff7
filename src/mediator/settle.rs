//! Fault routing: handlers are popped from the message's stack until one completes
//! (spec 01 §9.2–§9.4).

use super::{Context, run_sequence};
use crate::message::fault::Origin;
use crate::message::media::Media;
use crate::message::outgoing::fault_response;
use crate::message::{Fault, Message, Value};

/// Ends a flow: runs fault handlers if it faulted, and makes sure that the client gets an answer
/// where the reference leaves it hanging (differences.md).
pub async fn settle(cx: Context<'_>, message: &mut Message, outcome: Result<(), Fault>) {
    let Err(fault) = outcome else {
        if message.axis2.is_true("NIO-ACK-Requested") && !cx.exchange.is_answered() {
            cx.exchange.answer(message.acknowledgement());
        }
        return;
    };
    // Boxed: rare, and every future of a flow would be larger.
    Box::pin(handle(cx.apart(), message, fault)).await;
}

/// Runs the fault handlers.
async fn handle(cx: Context<'_>, message: &mut Message, mut fault: Fault) {
    let json = message.effective_media() == Some(Media::Json);
    let form = message.client_form(cx.exchange);
    // An exception while a response is mediated: 500 before the handlers run (spec 01 §9.2). The
    // fault of a send or call comes with the request as it was sent.
    if message.status.is_some() && fault.status.is_none() && fault.origin != Origin::Backend {
        message.axis2.set("HTTP_SC", Value::Integer(500));
    }
    loop {
        log(cx, &fault);
        message.report(&fault);
        if fault.discard {
            tracing::info!(
                target: "Endpoint",
                "{}Ignoring fault handlers since the timeout action is set to DISCARD", cx.route.label
            );
            break;
        }
        let handler = match fault.handler.take() {
            Some(handler) => Some(handler),
            None => message.fault_stack.pop(),
        };
        let Some(handler) = handler else { break };
        // The transport's mark on the failed connection is not the response's.
        message.axis2.remove("NO_KEEPALIVE");
        let builtin = !cx.route.own_fault && Some(handler) == cx.library.fault;
        match run_sequence(cx, message, handler).await {
            Ok(_) => {
                // A handler that the user wrote decides: without an answer the client gets 202, as
                // in the reference, unless a request was already on its way.
                if builtin || cx.exchange.is_sent() || fault.status.is_some() {
                    break;
                }
                return;
            }
            Err(next) => fault = next,
        }
    }
    // A branch that still runs may answer better.
    cx.exchange
        .answer_at_last(fault_response(cx.exchange, form, json, &fault));
}

/// One line per fault, with the place in the artifact where it was raised.
fn log(cx: Context<'_>, fault: &Fault) {
    let label = &cx.route.label;
    let place = fault
        .place
        .as_ref()
        .map_or_else(String::new, |p| format!(" ({p})"));
    let detail = fault
        .detail
        .as_deref()
        .filter(|d| *d != fault.message)
        .map_or_else(String::new, |d| format!(": {d}"));
    let (code, message) = (fault.code, &fault.message);
    match fault.origin {
        Origin::Internal => tracing::error!(
            target: "Fault", "{label}ERROR_CODE {code}, {message}{detail}{place}"
        ),
        Origin::Client | Origin::Backend => tracing::warn!(
            target: "Fault", "{label}ERROR_CODE {code}, {message}{detail}{place}"
        ),
    }
}
