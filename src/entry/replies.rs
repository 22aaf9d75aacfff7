//! Answers of back-ends that come as requests: each goes to the flow that waits for it
//! (spec 01 §19).

use super::plain;
use crate::endpoint::Services;
use crate::endpoint::replies::Reply;
use crate::engine::refuse;
use crate::message::outgoing::{accepted, fault_response};
use crate::message::{Body, Exchange, Fault, Message};
use bytes::Bytes;
use http::{Method, StatusCode};

/// Takes one answer: 202 when a flow has it now, a fault when none waits for it.
pub(super) async fn take(services: &Services, exchange: &Exchange, message: &mut Message) {
    if message.method != Method::POST {
        exchange.answer(plain(StatusCode::METHOD_NOT_ALLOWED));
        return;
    }
    let response = match read(services, message).await {
        Err(fault) => fault_response(exchange, exchange.format, false, &fault),
        Ok(reply) => match message.relates_to.as_deref() {
            None => refuse(
                exchange,
                false,
                "The message has no wsa:RelatesTo, so nobody knows which request it answers".into(),
            ),
            Some(id) if services.replies.deliver(id, reply) => accepted(),
            Some(id) => {
                let text = format!(
                    "Synapse received a response for the request with message Id : {id} But a callback is not registered (anymore) to process this response"
                );
                tracing::warn!(target: "SynapseCallbackReceiver", "{text}");
                refuse(exchange, false, text)
            }
        },
    };
    exchange.answer(response);
}

/// The answer as it came; the message is parsed afterwards, for what it relates to.
async fn read(services: &Services, message: &mut Message) -> Result<Reply, Fault> {
    let headers = message.headers.clone();
    message.body.collect(services.limits.max_bytes).await?;
    let body = match &message.body {
        Body::Bytes(bytes) => bytes.clone(),
        _ => Bytes::new(),
    };
    message.build(&services.limits).await?;
    let fault = message.is_soap_fault();
    Ok(Reply {
        headers,
        body,
        fault,
    })
}
