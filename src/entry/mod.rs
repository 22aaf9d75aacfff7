//! What starts a flow. For now: requests of the HTTP listeners, dispatched to proxy services and
//! to the main sequence (spec 01 §6.4, §15).

mod describe;
mod dispatch;
mod replies;

pub use dispatch::{Found, find_service};

use crate::endpoint::Services;
use crate::engine::{self, Engine};
use crate::message::limited::limited;
use crate::message::media::Media;
use crate::message::outgoing::{PRODUCT, new_message_id, uuid_header};
use crate::message::stream::{BodyStream, Incoming};
use crate::message::{
    ACTIVITY_ID, Body, ClientFormat, Exchange, Message, SoapVersion, header_text,
};
use crate::metrics::Requests;
use crate::plan::{Plan, Proxy};
use crate::transport::http::{Handler, Peer, uncancelled};
use http::header::{CONTENT_LENGTH, Entry, HOST, IF_NONE_MATCH, SERVER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

/// The handler of the message listeners of one worker.
#[derive(Clone)]
pub struct HttpEntry {
    engine: Arc<Engine>,
    services: Arc<Services>,
}

impl HttpEntry {
    /// A handler on the current plan of `engine`.
    pub fn new(engine: Arc<Engine>, services: Arc<Services>) -> HttpEntry {
        HttpEntry { engine, services }
    }
}

impl Handler for HttpEntry {
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<BodyStream>> + Send {
        let plan = self.engine.plan();
        let services = self.services.clone();
        async move {
            let (counts, begun) = begin(plan, services, request, peer);
            let answer = match begun {
                // The client's going away does not end a flow that has begun.
                Ok((exchange, flow)) => answer_of(&exchange, uncancelled(flow)).await,
                Err(refusal) => *refusal,
            };
            counts.answered(answer.status().as_u16());
            answer
        }
    }
}

type Flow = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A flow with the client's side of it, or the answer to a request that is refused.
type Begun = Result<(Arc<Exchange>, Flow), Box<Response<BodyStream>>>;

/// Receives a request and finds who it is for. The message and the flow have boxes of their own: the
/// futures around them are moved about, and stay small.
fn begin(
    plan: Arc<Plan>,
    services: Arc<Services>,
    request: Request<Incoming>,
    peer: Peer,
) -> (Arc<Requests>, Begun) {
    let (exchange, mut message) = receive(&services, request, peer);
    let settings = &services.settings;
    let path = message.uri.path();
    let found = find_service(&plan.proxies, path, &settings.server.service_path);
    let found = found.map(|f| (f.proxy.clone(), path.len() - f.postfix.len()));
    let proxy = found.as_ref().map(|f| &*f.0);
    let counts = proxy.map_or(&plan.main_requests, |p| &p.requests).clone();
    if proxy.is_none() && services.replies.is_path(path) {
        if let Some(refusal) = check_head(&services, &message) {
            return (counts, Err(Box::new(refusal)));
        }
        let shared = exchange.clone();
        let flow: Flow = Box::pin(async move {
            replies::take(&services, &shared, &mut message).await;
        });
        return (counts, Ok((exchange, flow)));
    }
    if let Some(refusal) = check(&services, &plan, &exchange, &message, proxy) {
        return (counts, Err(Box::new(refusal)));
    }
    let shared = exchange.clone();
    let flow: Flow = match found {
        Some((proxy, end)) => {
            message.service_end = end;
            let postfix = message.uri.path().get(end..).unwrap_or_default();
            message.rest_postfix = postfix_of(postfix, message.uri.query());
            let asked = match proxy.wsdl.is_remote() {
                true => describe::asked(&services.settings, &exchange, &message, &proxy),
                false => None,
            };
            Box::pin(async move {
                if let Some(asked) = asked
                    && let Some(response) =
                        Box::pin(remote(&services, &plan, &proxy, &shared, asked)).await
                {
                    shared.answer(response);
                    return;
                }
                engine::run_proxy(&services, &plan, &proxy, &shared, &mut message).await;
            })
        }
        None => {
            let whole = message.uri.path_and_query().map_or("", |p| p.as_str());
            let whole = whole.trim_start_matches('/').to_owned();
            message.rest_postfix = Some(whole).filter(|p| !p.is_empty());
            Box::pin(async move {
                if let Some(route) = plan.main_route.as_ref() {
                    engine::run_main(&services, &plan, route, &shared, &mut message).await;
                }
            })
        }
    };
    (counts, Ok((exchange, flow)))
}

/// The description of a service that is kept elsewhere.
async fn remote(
    services: &Services,
    plan: &Plan,
    proxy: &Proxy,
    exchange: &Exchange,
    asked: describe::Asked,
) -> Option<Response<BodyStream>> {
    match proxy.wsdl.fetch(services, &plan.library.endpoints).await {
        Ok(known) => describe::answer(&asked, proxy, known.as_ref()),
        Err(problem) => {
            let text = format!(
                "The WSDL of the proxy service {} cannot be read: {problem}",
                proxy.name
            );
            tracing::warn!(target: "ProxyService", "{text}");
            Some(engine::refuse(exchange, false, text))
        }
    }
}

/// Makes the message and its exchange from a request.
fn receive(
    services: &Services,
    request: Request<Incoming>,
    peer: Peer,
) -> (Arc<Exchange>, Box<Message>) {
    let (parts, body) = request.into_parts();
    let mut body = body_of(body, services.settings.http.socket_timeout);
    if let Some(limit) = services.settings.http.max_message_size
        && let Body::Stream(stream) = body
    {
        body = Body::Stream(limited(stream, limit));
    }
    // Boxed at once: it is large, and is handed on several times.
    let mut message = Box::new(Message::request(
        parts.method,
        parts.uri,
        parts.headers,
        body,
    ));
    if message.content_type.is_none() && matches!(message.body, Body::Stream(_)) {
        message.assume_content_type(services.default_content_type.clone());
    }
    message.types.clone_from(&services.media_types);
    let mut exchange = Exchange::new(
        peer.remote,
        peer.local,
        peer.secure,
        client_format(&message),
    );
    exchange.head = message.method == Method::HEAD;
    if exchange.head || message.method == Method::GET {
        exchange.if_none_match = message.headers.get(IF_NONE_MATCH).cloned();
    }
    exchange.host = message.headers.get(HOST).cloned();
    match message.headers.entry(ACTIVITY_ID) {
        // With a client's own id the message id is an independent one.
        Entry::Occupied(_) => message.message_id = Some(new_message_id()),
        Entry::Vacant(place) => {
            if let Some(id) = uuid_header() {
                place.insert(id);
            }
        }
    }
    (Arc::new(exchange), message)
}

/// Answers to heads that nobody can take (spec 01 §15.1).
fn check_head(services: &Services, message: &Message) -> Option<Response<BodyStream>> {
    if let Some(limit) = services.settings.http.max_message_size
        && content_length(message).is_some_and(|length| length > limit)
    {
        return Some(plain(StatusCode::PAYLOAD_TOO_LARGE));
    }
    // Others may go by another one of them (RFC 9112 §3.2).
    if message.headers.get_all(HOST).iter().nth(1).is_some() {
        return Some(plain(StatusCode::BAD_REQUEST));
    }
    (!known_method(&message.method) || has_other_coding(message))
        .then(|| plain(StatusCode::NOT_IMPLEMENTED))
}

/// Answers that need no mediation (spec 01 §15.1).
fn check(
    services: &Services,
    plan: &Plan,
    exchange: &Exchange,
    message: &Message,
    proxy: Option<&Proxy>,
) -> Option<Response<BodyStream>> {
    let settings = &services.settings;
    if let Some(refusal) = check_head(services, message) {
        return Some(refusal);
    }
    match proxy {
        Some(proxy) => {
            let exposed = if exchange.secure {
                proxy.https
            } else {
                proxy.http
            };
            let json = || message.media() == Some(Media::Json);
            if !exposed {
                let to = message.to_address().unwrap_or_default();
                let text =
                    format!("The service cannot be found for the endpoint reference (EPR) {to}");
                return Some(engine::refuse(exchange, json(), text));
            }
            if !proxy.started {
                let text = format!("The service {} is inactive", proxy.name);
                return Some(engine::refuse(exchange, json(), text));
            }
            if proxy.wsdl.is_remote() {
                return None;
            }
            let asked = describe::asked(settings, exchange, message, proxy)?;
            describe::answer(&asked, proxy, None)
        }
        None if plan.main_route.is_none() => Some(plain(StatusCode::SERVICE_UNAVAILABLE)),
        None if message.method == Method::GET => {
            let trimmed = message.uri.path().trim_matches('/');
            if trimmed == settings.server.service_path && settings.http.block_service_list {
                return Some(plain(StatusCode::FORBIDDEN));
            }
            (trimmed == "favicon.ico").then(|| plain(StatusCode::NOT_FOUND))
        }
        None => None,
    }
}

/// Waits for the flow and its branches, or for the answer when that comes earlier: what is left of
/// the flow then goes on by itself.
async fn answer_of(exchange: &Exchange, flow: impl Future<Output = ()>) -> Response<BodyStream> {
    let mut flow = pin!(flow);
    let mut branches = pin!(None);
    let mut flowing = true;
    std::future::poll_fn(|cx| {
        if flowing {
            flowing = flow.as_mut().poll(cx).is_pending();
        }
        if exchange.is_answered() || !exchange.has_branched() {
            return if flowing && !exchange.is_answered() {
                Poll::Pending
            } else {
                Poll::Ready(())
            };
        }
        if branches.is_none() {
            branches.set(Some(exchange.settled()));
        }
        let settled = branches.as_mut().as_pin_mut().map(|b| b.poll(cx));
        match settled {
            Some(Poll::Ready(())) if flowing && !exchange.is_answered() => {
                // These branches have ended; the flow may begin others.
                branches.set(None);
                Poll::Pending
            }
            Some(Poll::Ready(())) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    engine::conclude(exchange)
}

/// The body of a request. One that announces none is known to be empty.
fn body_of(body: Incoming, idle: std::time::Duration) -> Body {
    let idle = (!idle.is_zero()).then_some(idle);
    let stream = BodyStream::incoming(body, idle);
    match stream.is_known_empty() {
        true => Body::Empty,
        false => Body::Stream(stream),
    }
}

fn content_length(message: &Message) -> Option<u64> {
    header_text(message.headers.get(CONTENT_LENGTH)?)
        .parse()
        .ok()
}

fn client_format(message: &Message) -> ClientFormat {
    match message.media() {
        Some(Media::TextXml) => ClientFormat::Soap11,
        Some(Media::SoapXml) => ClientFormat::Soap12,
        Some(Media::Related) => match message.version {
            SoapVersion::V11 => ClientFormat::Soap11,
            SoapVersion::V12 => ClientFormat::Soap12,
        },
        _ => ClientFormat::Rest,
    }
}

/// Whether the body has a transfer coding besides `chunked`, which nobody here undoes: what it gives
/// would be taken for the body itself.
fn has_other_coding(message: &Message) -> bool {
    let mut values = message.headers.get_all(TRANSFER_ENCODING).iter();
    values.any(|value| !header_text(value).trim().eq_ignore_ascii_case("chunked"))
}

/// Methods that the reference's parser knows; others are answered with 501 (spec 01 §15.1).
fn known_method(method: &Method) -> bool {
    matches!(
        *method,
        Method::POST
            | Method::GET
            | Method::PUT
            | Method::DELETE
            | Method::PATCH
            | Method::HEAD
            | Method::OPTIONS
            | Method::TRACE
            | Method::CONNECT
    )
}

/// What follows the service name, with the query (spec 01 §6.4).
fn postfix_of(path: &str, query: Option<&str>) -> Option<String> {
    match (path, query) {
        ("", None) => None,
        (path, None) => Some(path.to_owned()),
        (path, Some(query)) => Some(format!("{path}?{query}")),
    }
}

fn plain(status: StatusCode) -> Response<BodyStream> {
    let mut response = Response::new(BodyStream::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, PRODUCT);
    if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::NOT_IMPLEMENTED
    ) {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;
    use tokio::time::{Instant, sleep, timeout};

    fn exchange() -> Arc<Exchange> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Arc::new(Exchange::new(address, address, false, ClientFormat::Rest))
    }

    fn status(code: u16) -> Response<BodyStream> {
        let mut response = Response::new(BodyStream::empty());
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }

    /// A branch that ends after some seconds: with an answer, a last resort, or nothing.
    fn branch(exchange: &Arc<Exchange>, seconds: u64, answer: Option<u16>, resort: Option<u16>) {
        let guard = exchange.branch(10).unwrap();
        let exchange = exchange.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            if let Some(code) = answer {
                exchange.answer(status(code));
            }
            if let Some(code) = resort {
                exchange.answer_at_last(status(code));
            }
            drop(guard);
        });
    }

    async fn outcome(exchange: &Arc<Exchange>, flow_seconds: u64) -> (u16, u64) {
        let started = Instant::now();
        let flow = sleep(Duration::from_secs(flow_seconds));
        let response = timeout(Duration::from_secs(100), answer_of(exchange, flow)).await;
        let code = response.expect("an answer comes").status().as_u16();
        (code, started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_branch_answers_after_the_flow_has_ended() {
        let exchange = exchange();
        branch(&exchange, 5, Some(200), None);
        assert_eq!(outcome(&exchange, 1).await, (200, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_branch_answers_while_the_flow_still_runs() {
        let exchange = exchange();
        branch(&exchange, 1, None, None);
        branch(&exchange, 2, Some(201), None);
        assert_eq!(outcome(&exchange, 50).await, (201, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_answers() {
        let exchange = exchange();
        branch(&exchange, 3, None, None);
        assert_eq!(outcome(&exchange, 1).await, (202, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_branch_does_not_hide_the_answer_of_another() {
        let exchange = exchange();
        branch(&exchange, 1, None, Some(500));
        branch(&exchange, 4, Some(200), None);
        assert_eq!(outcome(&exchange, 2).await, (200, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_first_failure_is_the_answer() {
        let exchange = exchange();
        branch(&exchange, 1, None, Some(500));
        branch(&exchange, 4, None, Some(503));
        assert_eq!(outcome(&exchange, 6).await, (500, 6));
        assert!(!exchange.answer(status(200)), "too late");
    }

    #[tokio::test]
    async fn branches_are_limited() {
        let exchange = exchange();
        let first = exchange.branch(1).unwrap();
        assert!(exchange.branch(1).is_none());
        assert_eq!(exchange.branches(), 1);
        drop(first);
        assert_eq!(exchange.branches(), 0);
    }
}
