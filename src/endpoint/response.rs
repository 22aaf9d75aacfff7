//! What becomes of a back-end's answer (spec 01 §15.7).

use super::SendContext;
use crate::message::fault::{Origin, codes};
use crate::message::limited::limited;
use crate::message::stream::BodyStream;
use crate::message::{Body, Exchange, Fault, Message, header_text};
use http::HeaderValue;
use http::header::LOCATION;

/// The message becomes the response.
pub(super) fn accept(
    cx: &SendContext<'_>,
    message: &mut Message,
    response: http::Response<BodyStream>,
) -> Result<(), Fault> {
    let (head, body) = response.into_parts();
    let body = if body.is_known_empty() {
        Body::Empty
    } else {
        Body::Stream(body)
    };
    let body = match cx.services.settings.http.max_message_size {
        Some(limit) => bounded(body, limit)?,
        None => body,
    };
    message.become_response(head, body);
    if !cx.services.rules.location {
        rewrite_location(cx.exchange, message);
    }
    Ok(())
}

/// `FORCE_ERROR_ON_SOAP_FAULT`.
///
/// # Errors
/// When the response is a SOAP fault, or cannot be read.
pub(super) async fn refuse_soap_fault(
    cx: &SendContext<'_>,
    message: &mut Message,
) -> Result<(), Fault> {
    message
        .build(&cx.services.limits)
        .await
        .map_err(|mut fault| {
            fault.origin = Origin::Backend;
            fault
        })?;
    if message.envelope().is_some_and(|e| e.fault().is_some()) {
        return Err(Fault::endpoint(
            codes::FORCED_SOAP_FAULT,
            "The response is a SOAP fault",
        ));
    }
    Ok(())
}

/// A response body within the validated message size.
fn bounded(body: Body, limit: u64) -> Result<Body, Fault> {
    match body {
        Body::Stream(stream) if stream.exact_len().is_some_and(|length| length > limit) => {
            let mut fault = Fault::endpoint(
                codes::RESPONSE_TOO_LARGE,
                format!("Response Entity Too Large: the limit is {limit} bytes"),
            );
            fault.status = Some(502);
            Err(fault)
        }
        Body::Stream(stream) => Ok(Body::Stream(limited(stream, limit))),
        other => Ok(other),
    }
}

/// `Location` of a response that is no redirect and creates nothing points to the service, not to
/// the back-end (spec 01 §15.7).
fn rewrite_location(exchange: &Exchange, message: &mut Message) {
    let Some(location) = message.headers.get(LOCATION) else {
        return;
    };
    if matches!(message.status, Some(201 | 301 | 302 | 303 | 307)) {
        return;
    }
    let location = header_text(location);
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""),
        None => location,
    };
    let mut text = message.service_prefix(exchange);
    text.push_str(path.strip_prefix('/').unwrap_or(path));
    match HeaderValue::from_str(&text) {
        Ok(value) => message.headers.insert(LOCATION, value),
        Err(_) => message.headers.remove(LOCATION),
    };
}
