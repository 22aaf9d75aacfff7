//! What a blocking call takes for a failure, and what the message shows of it (spec 01 §7.2).

use super::state::FailureConfig;
use crate::message::envelope::{Detail, FaultParts};
use crate::message::fault::codes;
use crate::message::{Fault, Message, Value};
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// Statuses that come with a description of what is wrong: responses like any other, unless
/// `error.http.status.codes` names them.
const DESCRIBED: [u16; 3] = [400, 409, 500];

/// The fault of a response whose status is an error, with the status as its code. The message stays
/// the request.
pub(super) fn refuse<B>(message: &mut Message, response: &Response<B>) -> Option<Fault> {
    let status = response.status();
    let code = status.as_u16();
    let described = DESCRIBED.contains(&code) && !names(message, "error.http.status.codes", code);
    if status.is_success() || described || names(message, "non.error.http.status.codes", code) {
        return None;
    }
    let reason = match response.extensions().get::<ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()),
        None => status.canonical_reason().unwrap_or_default().into(),
    };
    let text = format!("Transport error: {code} Error: {reason}");
    show_status(message, code);
    Some(Fault::endpoint(u32::from(code), text))
}

/// Whether a list of statuses in an axis2 property has this one.
fn names(message: &Message, property: &str, code: u16) -> bool {
    message.axis2.get(property).is_some_and(|list| {
        let list = list.text();
        list.split(',')
            .any(|one| one.trim().parse::<u16>() == Ok(code))
    })
}

/// A failed call shows the status in both scopes.
fn show_status(message: &mut Message, code: u16) {
    let value = Value::Integer(i32::from(code));
    message.properties.set("HTTP_SC", value.clone());
    message.axis2.set("HTTP_SC", value);
}

/// What came back with a call that does not want the response.
pub(super) fn note_status(message: &mut Message, status: StatusCode) {
    message.axis2.set("HTTP_SC", status.as_str());
}

/// The fault of a request that has no response: its cause is the message, and `HTTP_SC` is empty.
pub(super) fn broken(message: &mut Message, fault: Fault) -> Fault {
    if fault.transport.is_none() && fault.code != codes::SEND_TIMEOUT {
        return fault;
    }
    message.axis2.set("HTTP_SC", "");
    let cause = match &fault.detail {
        Some(detail) => detail.lines().next().unwrap_or_default().to_owned(),
        None => "Read timed out".to_owned(),
    };
    Fault {
        detail: Some(fault.detail.unwrap_or_else(|| cause.clone())),
        ..Fault::endpoint(codes::BLOCKING_FAILED, cause)
    }
}

/// The fault of a response that is a SOAP fault where these are errors. The message has the fault
/// as its body.
pub(super) fn soap_fault(message: &mut Message) -> Fault {
    let parts = message
        .envelope()
        .and_then(|envelope| Some(FaultParts::read(envelope, envelope.fault()?)));
    if let Some(status) = message.status {
        show_status(message, status);
    }
    let (reason, detail) = match parts {
        Some(parts) => (parts.reason, parts.detail),
        None => (String::new(), None),
    };
    let detail = match detail {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    };
    Fault {
        detail,
        ..Fault::endpoint(codes::BLOCKING_FAILED, reason)
    }
}

/// Whether a failure says nothing about the back-end: statuses from 400 to 499 are about the request,
/// and a client must not suspend an endpoint for all others with it (differences.md). Endpoints that name
/// such a status among their error codes mean it.
pub(super) fn is_about_the_request(code: u32, config: &FailureConfig) -> bool {
    let code_of_lists = i64::from(code);
    (400..500).contains(&code)
        && !config.mark_codes.contains(&code_of_lists)
        && !config.suspend_codes.contains(&code_of_lists)
}
