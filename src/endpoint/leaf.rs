//! What `address`, `http` and `default` endpoints share: quality-of-service block, state, sending
//! one request, mapping its failures (spec 02 §3, §7, §8).

use super::blocking;
use super::breaker::Breaker;
use super::health::Check;
use super::optimize::Optimize;
use super::parse::{EndpointDef, Head};
use super::policy::PolicyDef;
use super::property::{self, EndpointProperty};
use super::replies::{Awaiting, Refused};
use super::response::{accept, check, is_checked};
use super::state::{Caps, FailureConfig};
use super::store::LeafState;
use super::{Boxed, Builds, Names, Parent, SendContext, Sent, Waiting, count_attempt};
use crate::diag::{Diagnostic, codes as diag_codes};
use crate::expr::Expr;
use crate::message::addressing::Version;
use crate::message::fault::{Origin, codes};
use crate::message::format::Formatter;
use crate::message::outgoing::Format;
use crate::message::request::{RequestPlan, WireRequest};
use crate::message::stream::{BodyStream, Replay};
use crate::message::{Body, Called, Fault, Message, SequenceId};
use crate::settings::Settings;
use crate::transport::http::{Patience, SendError, SendErrorKind, Target, beside};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The word of endpoints that send to the address of the message.
pub const DEFAULT: &str = "Default";
/// The property that makes a failure of a SOAP fault.
pub const FORCE_ERROR: &str = "FORCE_ERROR_ON_SOAP_FAULT";

/// The state word of an endpoint whose health checks fail.
pub const UNHEALTHY: &str = "UNHEALTHY";

/// `timeout/responseAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// Absent: the fault handlers of the flow run, but the endpoint stays as it is and no other
    /// child is tried. (The reference forgets the request; see differences.md.)
    None,
    /// `fault`: a failure like any other.
    Fault,
    /// `discard`: no fault sequence, no failover.
    Discard,
}

/// `timeout/duration`.
#[derive(Debug)]
pub enum Timeout {
    /// The server-wide default.
    Global,
    /// Milliseconds.
    Fixed(Duration),
    /// `{expression}`, evaluated per attempt; at most the global value.
    Dynamic(Expr),
}

/// What the artifact says about a leaf, apart from its address.
#[derive(Debug)]
pub struct LeafDef {
    /// The word that error texts use: `Address`, `HTTP`, `Default`.
    pub word: &'static str,
    /// `format`.
    pub format: Option<Format>,
    /// `encoding`.
    pub encoding: Option<String>,
    /// `optimize`.
    pub optimize: Option<Optimize>,
    /// `enableAddressing`.
    pub addressing: Option<Version>,
    /// `separateListener`: the answer comes as a request of its own.
    pub separate_listener: bool,
    /// Failure settings; an initial duration or factor that the artifact leaves out is the
    /// server's.
    pub failure: FailureConfig,
    /// `initialDuration` was given.
    pub own_initial: bool,
    /// `progressionFactor` was given.
    pub own_factor: bool,
    /// Response timeout.
    pub timeout: Timeout,
    /// What a timeout does.
    pub timeout_action: TimeoutAction,
    /// Method that an `http` endpoint forces.
    pub method: Option<Method>,
}

/// Everything of a leaf that does not depend on how its address is found.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Name, or `None`.
    pub name: Option<String>,
    /// The definition.
    pub def: Arc<LeafDef>,
    /// Failure settings with the server's defaults filled in.
    pub failure: FailureConfig,
    /// Server-wide caps.
    pub caps: Caps,
    /// `onError` sequence.
    pub on_error: Option<SequenceId>,
    /// Properties set before every attempt.
    pub properties: Arc<Vec<EndpointProperty>>,
    /// State that survives reloads.
    pub state: Arc<LeafState>,
    /// Where it is.
    pub path: Arc<str>,
    /// Its health check.
    pub check: Option<Arc<Check>>,
}

/// What one attempt has besides its address. Credentials go on the request, never into the message:
/// the next child of a group and the client must not see them.
#[derive(Default)]
pub struct Attempt<'a> {
    /// The `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// Gives another one after 401; the request is then sent once more.
    pub renew: Option<&'a dyn Renew>,
    /// A format that comes with the address instead of the endpoint's own.
    pub format: Option<Format>,
    /// A failure does not move the endpoint's state.
    pub keep_state: bool,
}

/// Credentials that may be out of date.
pub trait Renew: Send + Sync {
    /// New credentials instead of those that were refused.
    fn renew<'a>(
        &'a self,
        cx: SendContext<'a>,
        refused: &'a HeaderValue,
    ) -> Boxed<'a, Result<HeaderValue, Fault>>;
}

/// Where one request goes.
pub enum Destination<'a> {
    /// Known since the plan was made.
    Fixed(&'a Target),
    /// Found for this message.
    Found(Target),
}

impl Destination<'_> {
    /// The target.
    pub fn target(&self) -> &Target {
        match self {
            Destination::Fixed(target) => target,
            Destination::Found(target) => target,
        }
    }
}

impl Leaf {
    /// Makes the leaf of a definition.
    pub fn link(
        def: &Arc<LeafDef>,
        endpoint: &EndpointDef,
        target: Option<&Target>,
        names: &mut dyn Names,
        path: &str,
    ) -> Leaf {
        let mut leaf = Leaf::with(def, &endpoint.head, &endpoint.properties, names, path);
        leaf.apply(&endpoint.policy, target, names);
        leaf
    }

    /// Limits and health check; `target` is where it sends, if that is known.
    pub(super) fn apply(
        &mut self,
        def: &PolicyDef,
        target: Option<&Target>,
        names: &mut dyn Names,
    ) {
        let policy = def.link(names);
        self.state.breaker.get_or_init(|| Breaker::of(&policy));
        let Some(health_path) = &policy.health_path else {
            return;
        };
        match target.and_then(|t| t.at_path(health_path).ok()) {
            Some(target) => {
                self.check = Some(Arc::new(Check {
                    label: self.label().to_owned(),
                    target,
                    policy,
                    state: self.state.clone(),
                }));
            }
            None => {
                if let Some(place) = &def.health_place {
                    names.report(Diagnostic::error(
                        diag_codes::CONFLICT,
                        place.clone(),
                        "a health check needs an endpoint whose address does not depend on the message",
                    ));
                }
            }
        }
    }

    fn with(
        def: &Arc<LeafDef>,
        head: &Head,
        properties: &Arc<Vec<EndpointProperty>>,
        names: &mut dyn Names,
        path: &str,
    ) -> Leaf {
        let settings = names.settings();
        let mut failure = def.failure.clone();
        let forced = settings.endpoint.suspend_override;
        if !def.own_initial || forced {
            failure.initial =
                i64::try_from(settings.endpoint.suspend_duration.as_millis()).unwrap_or(30_000);
        }
        if !def.own_factor || forced {
            failure.factor = settings.endpoint.suspend_factor;
        }
        let caps = caps(settings);
        let state = names.stores().leaf(path, head.fingerprint);
        let on_error = head.link_on_error(names);
        Leaf {
            name: head.name.clone(),
            def: def.clone(),
            failure,
            caps,
            on_error,
            properties: properties.clone(),
            state,
            path: path.into(),
            check: None,
        }
    }
}

impl LeafDef {
    /// A definition without any settings of its own.
    pub fn plain(word: &'static str) -> LeafDef {
        LeafDef {
            word,
            format: None,
            encoding: None,
            optimize: None,
            addressing: None,
            separate_listener: false,
            failure: FailureConfig::default(),
            own_initial: false,
            own_factor: false,
            timeout: Timeout::Global,
            timeout_action: TimeoutAction::None,
            method: None,
        }
    }
}

impl Leaf {
    /// A leaf without settings of its own.
    pub fn plain(names: &mut dyn Names, path: &str, fingerprint: u64) -> Leaf {
        let head = Head {
            name: None,
            on_error: None,
            fingerprint,
            place: crate::diag::Place::new(&crate::diag::Source::new("", ""), 0..0),
        };
        let def = Arc::new(LeafDef::plain("Address"));
        Leaf::with(&def, &head, &Arc::default(), names, path)
    }

    /// A leaf whose state never changes.
    pub fn stateless(
        word: &'static str,
        names: &mut dyn Names,
        path: &str,
        fingerprint: u64,
    ) -> Leaf {
        let failure = FailureConfig {
            mark_codes: vec![-1],
            suspend_codes: vec![-1],
            ..FailureConfig::default()
        };
        Leaf {
            name: None,
            def: Arc::new(LeafDef::plain(word)),
            failure,
            caps: Caps::default(),
            on_error: None,
            properties: Arc::default(),
            state: names.stores().leaf(path, fingerprint),
            path: path.into(),
            check: None,
        }
    }
}

/// The caps of the settings.
fn caps(settings: &Settings) -> Caps {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let endpoint = &settings.endpoint;
    Caps {
        retries: endpoint.max_failover_retries,
        suspend: ms(endpoint.suspend_on_max_failover),
        recursive_retries: endpoint.max_recursive_failover_retries,
        recursive_suspend: ms(endpoint.suspend_on_max_recursive_failover),
    }
}

impl Leaf {
    /// The name as logs print it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(super::ANONYMOUS)
    }

    /// Whether it converts the message. Addressing headers do not count: each attempt takes those of
    /// the one before away.
    pub fn reshapes(&self) -> bool {
        // A response that counts as a failure leaves its own envelope behind.
        let forces = || self.properties.iter().any(|p| p.name == FORCE_ERROR);
        self.def.format.is_some() || self.def.optimize.is_some() || forces()
    }

    /// What each attempt makes of the body, as [`Leaf::prepare`] decides.
    pub fn builds(&self) -> Builds {
        match self.def.format {
            _ if self.def.optimize.is_some() => Builds::Tree,
            Some(f) if f != Format::Rest || self.def.addressing.is_some() => Builds::Tree,
            None if self.def.addressing.is_some() => Builds::Outline,
            _ => Builds::Nothing,
        }
    }

    /// The leaf gave up: its `onError` sequence runs before any group, and for 101503 the handler
    /// of the flow does (spec 02 §13.2–§13.3). Either way no other child is tried.
    pub fn escalate(&self, mut fault: Fault) -> Fault {
        if let Some(on_error) = self.on_error {
            if fault.code != codes::CONNECTION_FAILED {
                fault.handler = Some(on_error);
            }
            fault.retry = false;
        }
        fault
    }

    /// Sends one request and waits for the response head.
    ///
    /// # Errors
    /// The fault of the attempt, with `ERROR_*` set and the state moved. The request body is back in
    /// the message when no byte of it left.
    pub fn send_to<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        destination: Destination<'a>,
        parent: Parent,
    ) -> impl Future<Output = Result<Sent, Fault>> + Send + 'a {
        self.send_as(cx, message, destination, parent, Attempt::default())
    }

    /// As [`Leaf::send_to`], with credentials.
    ///
    /// # Errors
    /// As [`Leaf::send_to`].
    // An `async fn` would have room for its arguments twice.
    #[allow(clippy::manual_async_fn)]
    pub fn send_as<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        destination: Destination<'a>,
        parent: Parent,
        attempt: Attempt<'a>,
    ) -> impl Future<Output = Result<Sent, Fault>> + Send + 'a {
        async move {
            count_attempt(&cx, message)?;
            message.last_endpoint = true;
            self.state.counts.attempts.add();
            // What cannot be put on the wire says nothing about the back-end: no state change, no other
            // child. (The reference suspends the endpoint; see differences.md.)
            let target = destination.target();
            let ready = match self.prepare(&cx, message, attempt.format).await {
                Ok(()) => self.make_request(&cx, message, target, &attempt),
                Err(fault) => Err(fault),
            };
            let Ready {
                request,
                one_way,
                mut waiting,
            } = ready.inspect_err(|fault| message.report(fault))?;
            let open = cx.waiting == Waiting::Open;
            if one_way && open {
                self.send_one_way(&cx, message, target, request)?;
                return Ok(Sent::OneWay);
            }
            let response = match attempt.renew {
                None if self.state.breaker().is_none() && waiting.is_none() => {
                    let wait = self.wait(&cx, message);
                    self.request_now(&cx, message, target, request, wait).await
                }
                // Boxed from here on: rare, and every future of a flow would be larger.
                None => {
                    let waiting = waiting.as_deref_mut();
                    Box::pin(self.request(&cx, message, target, request, waiting)).await
                }
                Some(renew) => {
                    let waiting = waiting.as_deref_mut();
                    Box::pin(self.request_twice(&cx, message, target, request, renew, waiting))
                        .await
                }
            };
            drop(waiting);
            let outcome = match response {
                // What stays 401 with new credentials is an answer, as in the reference.
                Ok(response)
                    if !open
                        && (attempt.renew.is_none()
                            || response.status() != StatusCode::UNAUTHORIZED)
                        && let Some(fault) = blocking::refuse(message, &response) =>
                {
                    Err(fault)
                }
                Ok(response) if one_way => {
                    blocking::note_status(message, response.status());
                    self.succeeded(&destination);
                    return Ok(Sent::OneWay);
                }
                Ok(response) => match accept(&cx, message, response) {
                    Ok(()) if is_checked(&cx, message) => Box::pin(check(&cx, message)).await,
                    outcome => outcome,
                },
                Err(fault) if !open => Err(blocking::broken(message, fault)),
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(()) => {
                    if let Some(Optimize::Mtom) = self.def.optimize {
                        // The response counts as MTOM too (spec 02 §3.1).
                        message.axis2.set(Optimize::Mtom.property(), "true");
                    }
                    self.succeeded(&destination);
                    Ok(Sent::Response)
                }
                Err(fault) if fault.origin == Origin::Client => {
                    // The client's body broke off on its way: nothing against the back-end, and nobody
                    // else can get it whole either.
                    message.report(&fault);
                    Err(fault)
                }
                Err(mut fault) => {
                    message.report(&fault);
                    self.state.counts.failures.failed(fault.code);
                    let forgotten = fault.code == codes::SEND_TIMEOUT
                        && self.def.timeout_action == TimeoutAction::None;
                    let passed_over = cx.waiting == Waiting::Callout
                        || blocking::is_about_the_request(fault.code, &self.failure);
                    // A response that is too large says nothing about the next one, and a token server
                    // nothing about the back-end.
                    let overflow = fault.code == codes::OVERFLOW;
                    fault.blamed = !overflow
                        && !passed_over
                        && !attempt.keep_state
                        && !matches!(
                            fault.code,
                            codes::RESPONSE_TOO_LARGE | codes::AUTHENTICATION
                        );
                    let counts = fault.blamed && !forgotten;
                    if counts {
                        self.failed(&cx, &destination, parent, fault.code);
                    }
                    fault.retry = (counts || overflow) && !fault.discard;
                    Err(self.escalate(fault))
                }
            }
        }
    }

    /// Sets the properties and builds the body when it goes out in another form.
    async fn prepare(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        format: Option<Format>,
    ) -> Result<(), Fault> {
        // Boxed throughout: rare, and every future of a flow would be larger.
        let services = cx.services;
        if !self.properties.is_empty() {
            Box::pin(property::apply_all(&self.properties, cx, message)).await?;
        }
        let format = format.or(self.def.format);
        let has_body = !matches!(message.body, Body::Empty);
        let optimize = self.def.optimize.filter(|_| has_body);
        if let Some(optimize) = optimize {
            message.axis2.set(optimize.property(), "true");
        }
        let addressing = self.def.addressing.is_some() && has_body;
        let tree = format.is_some_and(|f| f != Format::Rest)
            || optimize.is_some()
            || matches!(&self.def.timeout, Timeout::Dynamic(expr) if expr.needs_body())
            || message.wants_parsed_body()
            || message.is_other_than_seen()
            || message.properties.is_true("PRESERVE_ENVELOPE");
        let rewritten = addressing
            || message.looked.is_some() && (format.is_some() || !services.rules.content_type);
        if message.is_built() {
            return Ok(());
        } else if addressing && !tree && format.is_none() {
            Box::pin(message.outline(None, &services.limits)).await?;
        } else if tree || rewritten {
            Box::pin(message.build(&services.limits)).await?;
        } else if message.wants_built_body() {
            // A length up front needs the bytes, not their meaning.
            Box::pin(message.body.collect(services.limits.max_bytes)).await?;
        }
        Ok(())
    }

    /// Addressing headers and the request itself.
    fn make_request(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        target: &Target,
        attempt: &Attempt<'_>,
    ) -> Result<Ready, Fault> {
        let services = cx.services;
        let format = attempt.format.or(self.def.format);
        let mut forced = self.def.method.clone();
        let mut appended = None;
        message.sent_as_rest = false;
        if let Some(format) = format {
            let (method, suffix) = message.apply_format(format, self.def.encoding.as_deref())?;
            forced = forced.or(method);
            appended = suffix;
        }
        message.strip_addressing();
        let one_way = message.properties.str("OUT_ONLY") == Some("true");
        let mut waiting = None;
        // Addressing headers exist in SOAP only; other forms go out without them.
        if let Some(version) = self.def.addressing
            && message.is_built()
            && matches!(message.formatter(), Formatter::Soap | Formatter::Related)
        {
            let address = format!("{}{}", target.key, target.path_and_query);
            let separate = self.def.separate_listener && !one_way;
            let answer_to = separate.then(|| answer_to(cx, target)).transpose()?;
            let id = message.write_addressing(version, &address, answer_to)?;
            if separate {
                waiting = Some(wait_for(cx, &id)?);
            }
        }
        message.settle_request(&services.rules, &services.limits)?;
        let path = self.path(message, target, format, appended.as_deref())?;
        // Endpoints without an address of their own leave what was there (spec 01 §1.4).
        if self.def.word != DEFAULT {
            message.called = Some(Called {
                scheme: target.scheme.as_str(),
                host: target.host_header.clone(),
                path: target.path_and_query.clone(),
            });
        }
        let body = message.take_wire_body()?;
        let plan = RequestPlan {
            host: &target.host_header,
            path,
            method: forced,
            scheme: target.scheme.as_str(),
            authorization: attempt.authorization.as_ref(),
            rules: &services.rules,
        };
        let request = message.to_request(plan, body)?;
        Ok(Ready {
            request,
            one_way,
            waiting,
        })
    }

    /// Nobody waits for the answer; it is read so that the connection can be used again.
    ///
    /// # Errors
    /// When as many flows run beside their requests as may be.
    fn send_one_way(
        &self,
        cx: &SendContext<'_>,
        message: &Message,
        target: &Target,
        request: WireRequest,
    ) -> Result<(), Fault> {
        const MOST: usize = 16 << 20;
        let beside = beside().ok_or_else(|| {
            Fault::mediation("Too many OUT_ONLY messages are on their way; try again later")
        })?;
        let wait = self.wait(cx, message);
        let client = cx.services.client.clone();
        let target = target.clone();
        let (state, label) = (self.state.clone(), self.label().to_owned());
        beside.spawn(async move {
            let _place = match state.breaker() {
                None => None,
                Some(breaker) => match breaker.enter(wait).await {
                    Ok(place) => Some(place),
                    Err(overflow) => {
                        let text = breaker.text(&label, overflow);
                        tracing::warn!(target: "Endpoint", "OUT_ONLY message was not sent: {text}");
                        return;
                    }
                },
            };
            match tokio::time::timeout(wait, client.send_within(&target, request, Patience::default())).await {
                Ok(Ok(response)) => {
                    if let Err(error) = response.into_body().collect(MOST).await {
                        tracing::debug!(target: "Endpoint", "the answer of {} ended early: {error}", target.key);
                    }
                }
                Ok(Err(error)) => tracing::warn!(
                    target: "Endpoint",
                    "OUT_ONLY message to {} failed: {}", target.key, error.detail
                ),
                Err(_) => tracing::warn!(
                    target: "Endpoint",
                    "OUT_ONLY message to {} had no answer after {} ms", target.key, wait.as_millis()
                ),
            }
        });
        Ok(())
    }

    /// As [`Leaf::request`]; after 401 the same request goes out once more with new credentials,
    /// as far as its body could be kept.
    async fn request_twice(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        target: &Target,
        request: WireRequest,
        renew: &dyn Renew,
        mut waiting: Option<&mut Awaiting>,
    ) -> Result<http::Response<BodyStream>, Fault> {
        let limit =
            usize::try_from(cx.services.settings.limits.replay_limit_bytes).unwrap_or(usize::MAX);
        let WireRequest { mut head, body } = request;
        let replay = Replay::new(body, limit);
        let first = WireRequest {
            head: head.clone(),
            body: replay.attempt().unwrap_or_default(),
        };
        let response = self
            .request(cx, message, target, first, waiting.as_deref_mut())
            .await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(refused) = head.authorization()
            && let Some(body) = replay.attempt()
        {
            // Its place among the requests under way is free before the next one asks for one.
            drain(response).await;
            let value = renew.renew(*cx, &refused).await?;
            head.set_authorization(&value);
            let again = WireRequest { head, body };
            return self.request(cx, message, target, again, waiting).await;
        }
        Ok(response)
    }

    /// One request and the head of its response, within the timeout and the limits of the endpoint.
    async fn request(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        target: &Target,
        request: WireRequest,
        waiting: Option<&mut Awaiting>,
    ) -> Result<http::Response<BodyStream>, Fault> {
        let mut wait = self.wait(cx, message);
        let place = match self.state.breaker() {
            None => None,
            Some(breaker) => {
                let started = Instant::now();
                let entered = breaker.enter(wait).await;
                wait = wait.saturating_sub(started.elapsed());
                match entered {
                    Ok(place) => Some(place),
                    Err(overflow) => {
                        give_back(message, request);
                        let text = breaker.text(self.label(), overflow);
                        return Err(Fault::endpoint(codes::OVERFLOW, text));
                    }
                }
            }
        };
        let response = match waiting {
            None => self.request_now(cx, message, target, request, wait).await?,
            Some(waiting) => {
                self.request_apart(cx, message, target, request, wait, waiting)
                    .await?
            }
        };
        Ok(match place {
            None => response,
            Some(place) => response.map(|body| body.with_guard(Box::new(place))),
        })
    }

    /// As [`Leaf::request`] without limits. The request is handed over at once, so that the future
    /// does not hold it.
    fn request_now<'a>(
        &'a self,
        cx: &SendContext<'a>,
        message: &'a mut Message,
        target: &'a Target,
        request: WireRequest,
        wait: Duration,
    ) -> impl Future<Output = Result<http::Response<BodyStream>, Fault>> + Send + 'a {
        cx.exchange.mark_sent();
        let sending = cx
            .services
            .client
            .send_within(target, request, patience(cx, wait));
        async move {
            let outcome = sending.await;
            outcome.map_err(|error| self.failed_send(message, error, wait, target))
        }
    }

    /// As [`Leaf::request_now`] when the answer comes as a request of its own: what the back-end says
    /// on this connection ends the wait unless it is 202.
    async fn request_apart(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        target: &Target,
        request: WireRequest,
        wait: Duration,
        waiting: &mut Awaiting,
    ) -> Result<http::Response<BodyStream>, Fault> {
        cx.exchange.mark_sent();
        let started = Instant::now();
        let (client, to) = (cx.services.client.clone(), target.clone());
        let patience = patience(cx, wait);
        let mut sending: Boxed<'static, _> =
            Box::pin(async move { client.send_within(&to, request, patience).await });
        let outcome = tokio::select! {
            biased;
            reply = waiting.reply() => {
                // The back-end was quicker with its answer than with its 202.
                finish(async move {
                    if let Ok(response) = sending.await {
                        drain(response).await;
                    }
                });
                return Ok(reply);
            }
            outcome = &mut sending => outcome,
        };
        match outcome {
            Ok(response) if response.status() == StatusCode::ACCEPTED => {
                finish(drain(response));
                let left = wait.saturating_sub(started.elapsed());
                match tokio::time::timeout(left, waiting.reply()).await {
                    Ok(reply) => Ok(reply),
                    Err(_) => Err(self.timed_out(message, wait, target)),
                }
            }
            Ok(response) => Ok(response),
            Err(error) => Err(self.failed_send(message, error, wait, target)),
        }
    }

    fn failed_send(
        &self,
        message: &mut Message,
        error: SendError,
        wait: Duration,
        target: &Target,
    ) -> Fault {
        match error.kind {
            SendErrorKind::Expired => self.timed_out(message, wait, target),
            _ => send_fault(message, error),
        }
    }

    fn wait(&self, cx: &SendContext<'_>, message: &Message) -> Duration {
        let global = cx.services.settings.endpoint.global_timeout;
        match &self.def.timeout {
            Timeout::Global => global,
            Timeout::Fixed(duration) => *duration,
            Timeout::Dynamic(expr) => {
                let text = expr.string(&cx.scope(message)).ok().flatten();
                match text.as_deref().map(str::trim).map(str::parse::<u64>) {
                    Some(Ok(ms)) => Duration::from_millis(ms).min(global),
                    _ => {
                        tracing::warn!(
                            target: "Endpoint",
                            "Error while evaluating dynamic endpoint timeout expression {}; the global timeout of {} ms applies",
                            expr.text(), global.as_millis()
                        );
                        global
                    }
                }
            }
        }
    }

    fn timed_out(&self, message: &mut Message, wait: Duration, target: &Target) -> Fault {
        tracing::warn!(
            target: "Endpoint",
            "Expiring message ID : {}; dropping message after {} of : {} ms for Endpoint [{}], URI : {}{}",
            message.message_id().unwrap_or_default(),
            if matches!(self.def.timeout, Timeout::Global) { "GLOBAL_TIMEOUT" } else { "ENDPOINT_TIMEOUT" },
            wait.as_millis(),
            self.label(),
            target.key,
            target.path_and_query
        );
        let mut fault = Fault::endpoint(codes::SEND_TIMEOUT, "Send timeout");
        fault.discard = self.def.timeout_action == TimeoutAction::Discard;
        fault
    }

    fn path(
        &self,
        message: &Message,
        target: &Target,
        format: Option<Format>,
        appended: Option<&str>,
    ) -> Result<PathAndQuery, Fault> {
        let base = target.path_and_query.as_str();
        // An http endpoint with a method appends nothing (spec 02 §3.2).
        let postfix = match self.def.method {
            Some(_) => None,
            None => message.postfix(),
        };
        let postfix = postfix.filter(|_| match format {
            Some(Format::Soap11 | Format::Soap12) => false,
            Some(Format::Rest) => true,
            _ => message.is_rest_request(),
        });
        if postfix.is_none() && appended.is_none() {
            return Ok(target.path_and_query.clone());
        }
        let mut path = base.to_owned();
        for part in [postfix, appended].into_iter().flatten() {
            path = join(&path, part);
        }
        PathAndQuery::try_from(path.as_str())
            .map_err(|e| Fault::mediation(format!("Malformed URL in the target EPR: {path}: {e}")))
    }
}

/// A request that may go out.
struct Ready {
    request: WireRequest,
    /// Nobody waits for the answer.
    one_way: bool,
    /// The answer comes as a request of its own.
    waiting: Option<Box<Awaiting>>,
}

/// Where the back-end shall send its answer.
fn answer_to<'a>(cx: &SendContext<'a>, target: &Target) -> Result<&'a str, Fault> {
    let secure = target.scheme.as_str() == "https";
    cx.services.replies.address(secure).ok_or_else(|| {
        Fault::mediation(
            "separateListener needs a listener of this server that is switched on, and there is none",
        )
    })
}

/// A place among the requests that wait for an answer of their own.
fn wait_for(cx: &SendContext<'_>, id: &str) -> Result<Box<Awaiting>, Fault> {
    match cx.services.replies.wait(id) {
        Ok(waiting) => Ok(Box::new(waiting)),
        Err(Refused::Full(most)) => Err(Fault::mediation(format!(
            "{most} requests wait for their answers at the separate listener, as many as [myelin] max_waiting_replies allows"
        ))),
        Err(Refused::Duplicate) => Err(Fault::mediation(format!(
            "A request with the message id {id} waits for its answer already"
        ))),
    }
}

/// How long one request may take. Only a socket timeout that comes first needs a timer of its own.
fn patience(cx: &SendContext<'_>, wait: Duration) -> Patience {
    let socket = cx.services.settings.http.socket_timeout;
    Patience {
        total: Some(wait),
        silence: (!socket.is_zero() && socket < wait).then_some(socket),
    }
}

/// Ends an exchange that nobody waits for, so that its connection can be used again. Without room for
/// it the connection is closed.
fn finish(rest: impl Future<Output = ()> + Send + 'static) {
    if let Some(beside) = beside() {
        beside.spawn(async move {
            let _ = tokio::time::timeout(LONGEST_END, rest).await;
        });
    }
}

/// Longest wait for the end of an exchange that nobody waits for.
const LONGEST_END: Duration = Duration::from_secs(2);

/// Reads an answer that nobody wants to its end; what does not end is cut with its connection.
async fn drain(response: http::Response<BodyStream>) {
    const MOST: usize = 64 << 10;
    let body = response.into_body();
    if !body.is_known_empty() {
        let _ = tokio::time::timeout(LONGEST_END, body.collect(MOST)).await;
    }
}

/// The body of a request that was not sent goes back to the message.
fn give_back(message: &mut Message, request: WireRequest) {
    if matches!(message.body, Body::Empty) && !request.body.is_known_empty() {
        message.body = Body::Stream(request.body);
    }
}

/// The fault of a failed send. The unsent request gives its body back.
fn send_fault(message: &mut Message, error: SendError) -> Fault {
    if let Some(request) = error.unsent {
        give_back(message, *request);
    }
    if let SendErrorKind::BodyFailed(cause) = error.kind {
        return crate::message::body::stream_fault(cause);
    }
    let mut fault = Fault::endpoint(error.kind.code(), error.kind.message());
    fault.detail = Some(error.detail);
    fault.transport = Some((error.kind.base_code(), error.kind.protocol_state()));
    fault
}

/// Joins an address and a postfix with exactly one slash (spec 02 §3.2).
fn join(base: &str, postfix: &str) -> String {
    if postfix.starts_with('?') {
        return format!("{}{postfix}", base.strip_suffix('/').unwrap_or(base));
    }
    match (base.ends_with('/'), postfix.starts_with('/')) {
        (true, true) => format!("{base}{}", &postfix[1..]),
        (false, false) => format!("{base}/{postfix}"),
        _ => format!("{base}{postfix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As for flows: every endpoint's future has that of its leaf inside.
    #[test]
    fn the_future_of_a_request_is_small() {
        fn size<A, F>(_: fn(A) -> F) -> usize {
            size_of::<F>()
        }
        type Parts = (
            &'static Leaf,
            SendContext<'static>,
            &'static mut Message,
            Destination<'static>,
            Parent,
        );
        let sending =
            size(|(leaf, cx, message, to, parent): Parts| leaf.send_to(cx, message, to, parent));
        assert!(sending <= 800, "{sending} bytes");
    }

    #[test]
    fn postfix_joins_with_one_slash() {
        for (base, postfix, whole) in [
            ("/b", "/a?x=1", "/b/a?x=1"),
            ("/b/", "/a", "/b/a"),
            ("/b", "a", "/b/a"),
            ("/b/", "?q=1", "/b?q=1"),
            ("/b", "?q=1", "/b?q=1"),
            ("/b/", "a", "/b/a"),
        ] {
            assert_eq!(join(base, postfix), whole);
        }
    }
}
