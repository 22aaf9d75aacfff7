//! Fault routing: handlers are popped from the message's stack until one completes
//! (spec 01 §9.2–§9.4).

use super::{Context, run_sequence};
use crate::message::fault::Origin;
use crate::message::media::Media;
use crate::message::outgoing::fault_response;
use crate::message::{Fault, Message};

/// Ends a flow: runs fault handlers if it faulted, and makes sure that the client gets an answer
/// where the reference leaves it hanging (differences.md).
pub async fn settle(cx: Context<'_>, message: &mut Message, outcome: Result<(), Fault>) {
    let Err(fault) = outcome else { return };
    let json = message.effective_message_type().map(Media::of) == Some(Media::Json);
    if let Some(fault) = handle(cx, message, fault).await
        && !cx.exchange.is_answered()
    {
        cx.exchange
            .answer(fault_response(cx.exchange, json, &fault));
    }
}

/// Runs fault handlers until one completes. Gives back a fault that the client has to be told when
/// nobody else answers.
pub(super) async fn handle(
    cx: Context<'_>,
    message: &mut Message,
    mut fault: Fault,
) -> Option<Fault> {
    loop {
        log(cx, &fault);
        message.report(&fault);
        if fault.discard {
            tracing::info!(
                target: "Endpoint",
                "{}Ignoring fault handlers since the timeout action is set to DISCARD", cx.route.label
            );
            return Some(fault);
        }
        let handler = match fault.handler.take() {
            Some(handler) => Some(handler),
            None => message.fault_stack.pop(),
        };
        let Some(handler) = handler else {
            return Some(fault);
        };
        // The transport's mark on the failed connection is not the response's.
        message.axis2.remove("NO_KEEPALIVE");
        let builtin = !cx.route.own_fault && Some(handler) == cx.library.fault;
        match run_sequence(cx, message, handler).await {
            Ok(_) => {
                // A handler that the user wrote decides: without an answer the client gets 202, as
                // in the reference, unless a request was already on its way.
                if builtin || cx.exchange.is_sent() || fault.status.is_some() {
                    return Some(fault);
                }
                return None;
            }
            Err(next) => fault = next,
        }
    }
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
