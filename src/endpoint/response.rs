//! What becomes of a back-end's answer (spec 01 §15.7).

use super::{SendContext, Waiting, blocking};
use crate::message::body::stream_fault;
use crate::message::fault::{Origin, codes};
use crate::message::limited::limited;
use crate::message::stream::{BodyStream, StreamError};
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

/// Whether more than the head of a response decides about the attempt.
pub(super) fn is_checked(cx: &SendContext<'_>, message: &Message) -> bool {
    cx.services.settings.http.max_message_size.is_some()
        || message.properties.is_true("FORCE_ERROR_ON_SOAP_FAULT")
}

/// Looks at a response as far as the settings and the message ask for.
///
/// # Errors
/// When it is too large, or a SOAP fault that has to be an error, or cannot be read.
pub(super) async fn check(cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
    if let Some(limit) = cx.services.settings.http.max_message_size {
        measure(cx, message, limit).await?;
    }
    if message.properties.is_true("FORCE_ERROR_ON_SOAP_FAULT") {
        refuse_soap_fault(cx, message).await?;
    }
    Ok(())
}

/// Waits for a response whose length nobody announced, so that one that is too large can still be
/// refused as a whole: also when it is more than may be buffered, as nobody could say whether its
/// end would have to be cut off.
async fn measure(cx: &SendContext<'_>, message: &mut Message, limit: u64) -> Result<(), Fault> {
    let most = cx.services.limits.max_bytes;
    while let Body::Stream(stream) = &mut message.body {
        if stream.exact_len().is_some() {
            return Ok(());
        }
        match stream.look(most).await {
            Ok(None) => {}
            Ok(Some(whole)) if whole.is_empty() => message.body = Body::Empty,
            Ok(Some(whole)) => message.body = Body::Bytes(whole),
            Err(StreamError::TooLarge { limit: most }) => {
                let most = u64::try_from(most).unwrap_or(u64::MAX);
                return Err(if most < limit {
                    too_large_to_measure(most)
                } else {
                    too_large(limit)
                });
            }
            Err(error) => {
                let mut fault = stream_fault(error);
                fault.origin = Origin::Backend;
                return Err(fault);
            }
        }
    }
    Ok(())
}

fn too_large(limit: u64) -> Fault {
    let mut fault = Fault::endpoint(
        codes::RESPONSE_TOO_LARGE,
        format!("Response Entity Too Large: the limit is {limit} bytes"),
    );
    fault.status = Some(502);
    fault
}

/// A response without a length that is within the validated size as far as it came.
fn too_large_to_measure(most: u64) -> Fault {
    let mut fault = too_large(most);
    fault.message = format!(
        "Response Entity Too Large: a response without a length is validated in memory, and [myelin] max_body_bytes is {most} bytes"
    );
    fault
}

/// `FORCE_ERROR_ON_SOAP_FAULT`.
async fn refuse_soap_fault(cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
    message
        .build(&cx.services.limits)
        .await
        .map_err(|mut fault| {
            fault.origin = Origin::Backend;
            fault
        })?;
    if message.is_soap_fault() {
        if cx.waiting != Waiting::Open {
            return Err(blocking::soap_fault(message));
        }
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
            Err(too_large(limit))
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
