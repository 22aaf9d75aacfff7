//! `<loadbalance>` (spec 02 §9.1–§9.4).

use super::balance::Balance;
use super::health::Check;
use super::member::MembersDef;
use super::parse::{EndpointDef, parse_children};
use super::property::{EndpointProperty, apply_all};
use super::store::GroupState;
use super::weighted::{Algorithm, AlgorithmDef, AlgorithmName, parse_name, parse_weights};
use super::{
    ANONYMOUS, Boxed, Described, Endpoint, Kind, Names, Parent, SendContext, Sent, count_attempt,
    may_attempt, own_fault,
};
use crate::diag::codes as diag_codes;
use crate::message::fault::codes;
use crate::message::stream::Replay;
use crate::message::{Body, Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A load-balance group as it is written.
#[derive(Debug)]
pub struct LoadBalanceDef {
    /// The children.
    pub children: Vec<Arc<EndpointDef>>,
    members: Option<MembersDef>,
    algorithm: AlgorithmDef,
    failover: bool,
    build: Option<bool>,
}

impl LoadBalanceDef {
    /// Reads the element; `properties` are those of the endpoint around it.
    pub fn parse(
        reader: &mut Reader,
        element: Element<'_, '_>,
        properties: &[EndpointProperty],
    ) -> Option<LoadBalanceDef> {
        reader.known_attributes(
            element,
            &[
                "algorithm",
                "policy",
                "failover",
                "buildMessage",
                "description",
            ],
        );
        let before = reader.errors();
        let name = parse_name(reader, element);
        let children = parse_children(reader, element);
        let members = MembersDef::parse(reader, element);
        match (children.is_empty(), &members) {
            (false, Some(_)) => {
                let place = reader.place(element);
                reader.error(
                    diag_codes::CONFLICT,
                    place,
                    "<loadbalance> holds either endpoints or members, not both",
                );
            }
            (true, None) if reader.errors() == before => {
                let place = reader.place(element);
                reader.error(
                    diag_codes::MISSING_ELEMENT,
                    place,
                    "<loadbalance> needs at least one <endpoint> or <member>",
                );
            }
            (true, Some(_)) if name != AlgorithmName::RoundRobin => {
                let place = reader.attribute_place(element, "algorithm");
                reader.error(
                    diag_codes::CONFLICT,
                    place,
                    "weights go with <endpoint> children, not with <member>",
                );
            }
            _ => {}
        }
        let algorithm = parse_weights(reader, name, &children, properties);
        (reader.errors() == before).then_some(LoadBalanceDef {
            children,
            members,
            algorithm,
            build: build_message(element),
            failover: !element
                .attribute("failover")
                .is_some_and(|v| v.eq_ignore_ascii_case("false")),
        })
    }

    /// Whether it goes by weights.
    pub fn is_weighted(&self) -> bool {
        self.algorithm != AlgorithmDef::RoundRobin
    }

    /// Who is next, as it runs.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::new(&self.algorithm, self.children.len())
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        if let Some(members) = &self.members {
            return members.link(def, names, path, self.failover);
        }
        let on_failover = names.settings().endpoint.build_message_on_failover;
        Box::new(LoadBalance {
            algorithm: self.algorithm(),
            children: EndpointDef::link_children(&self.children, names, path),
            name: def.head.name.clone(),
            failover: self.failover,
            build: self.failover && self.build.unwrap_or(on_failover),
            path: path.to_owned(),
            balance: Balance::link(&def.policy, names, path, def.head.fingerprint),
            properties: def.properties.clone(),
            state: names.stores().group(path, def.head.fingerprint),
        })
    }
}

/// `buildMessage`: `None` leaves it to the server's setting.
pub(super) fn build_message(element: Element<'_, '_>) -> Option<bool> {
    let text = element.attribute("buildMessage")?.trim();
    Some(text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("yes") || text == "1")
}

/// The next ready child from the cursor; at most every child is looked at (spec 02 §9.3).
pub(super) fn round_robin<'e>(
    children: &'e [Arc<Endpoint>],
    state: &GroupState,
    cx: &SendContext<'_>,
    refused: &Refused<'_>,
) -> Option<&'e Arc<Endpoint>> {
    let mut cursor = state.cursor.lock().unwrap_or_else(PoisonError::into_inner);
    let count = children.len();
    for _ in 0..count {
        let child = children.get(*cursor % count)?;
        *cursor = (*cursor + 1) % count;
        if child.kind.is_ready(cx) && !refused.contains(child) {
            return Some(child);
        }
    }
    // With no ready child the reference's cursor has moved one further.
    *cursor = (*cursor + 1) % count.max(1);
    None
}

/// Keeps the request so that another child can get the same one.
pub(super) enum Resend {
    /// A body that is on its way.
    Stream(Replay),
    /// A body that stays in the message.
    Kept,
    /// An attempt changes more than the body: a copy of the request.
    Copy { request: Box<Message>, tried: bool },
}

impl Resend {
    /// Looks at the message before the first attempt. A copy is kept when an attempt may leave it in
    /// another form (`reshaped`), or with a response that counts as a failure.
    ///
    /// # Errors
    /// When the body cannot be read to its end; only if a copy is needed.
    pub(super) async fn new(
        message: &mut Message,
        cx: &SendContext<'_>,
        reshaped: bool,
    ) -> Result<Resend, Fault> {
        if reshaped || message.properties.is_true("FORCE_ERROR_ON_SOAP_FAULT") {
            let request = Box::new(message.copy(&cx.services.limits).await?);
            return Ok(Resend::Copy {
                request,
                tried: false,
            });
        }
        let limit =
            usize::try_from(cx.services.settings.limits.replay_limit_bytes).unwrap_or(usize::MAX);
        Ok(match std::mem::take(&mut message.body) {
            Body::Stream(stream) => Resend::Stream(Replay::new(stream, limit)),
            other => {
                message.body = other;
                Resend::Kept
            }
        })
    }

    /// Puts the request in place for an attempt; `false` when bytes went out that were not kept.
    ///
    /// # Errors
    /// None in practice: the copy's body is there.
    pub(super) async fn prepare(
        &mut self,
        message: &mut Message,
        cx: &SendContext<'_>,
    ) -> Result<bool, Fault> {
        let replay = match self {
            Resend::Kept => return Ok(true),
            Resend::Copy { request, tried } => {
                if std::mem::replace(tried, true) {
                    let mut request = request.copy(&cx.services.limits).await?;
                    request.properties = std::mem::take(&mut message.properties);
                    request.fault_stack = std::mem::take(&mut message.fault_stack);
                    request.last_endpoint = message.last_endpoint;
                    request.attempts = message.attempts;
                    *message = request;
                }
                return Ok(true);
            }
            Resend::Stream(replay) => replay,
        };
        if message.is_built() {
            return Ok(true);
        }
        message.body = Body::Empty;
        Ok(match replay.attempt() {
            Some(stream) => {
                message.body = Body::Stream(stream);
                true
            }
            None => false,
        })
    }

    /// Nobody else is tried: what is left of the body goes back to the message.
    pub(super) fn give_up(self, message: &mut Message) {
        let Resend::Stream(replay) = self else {
            return;
        };
        if message.is_built() {
            return;
        }
        message.body = Body::Empty;
        if let Some(stream) = replay.into_stream() {
            message.body = Body::Stream(stream);
        }
    }
}

/// Children that refused this message without an attempt: a reference that leads nowhere, an
/// endpoint without credentials. They stay ready, so a group must not ask them again.
#[derive(Default)]
pub(super) struct Refused<'e>(Vec<&'e Arc<Endpoint>>);

impl<'e> Refused<'e> {
    pub(super) fn contains(&self, child: &Arc<Endpoint>) -> bool {
        self.0.iter().any(|c| Arc::ptr_eq(c, child))
    }

    /// Takes note of a child that failed: `before` are the message's attempts before it.
    pub(super) fn note(&mut self, child: &'e Arc<Endpoint>, before: u32, message: &Message) {
        if message.attempts == before {
            self.0.push(child);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A child that failed.
pub(super) struct Failed<'a> {
    /// The group's name.
    pub(super) group: &'a str,
    /// The word for the group in messages.
    pub(super) kind: &'a str,
    /// The child.
    pub(super) child: &'a Endpoint,
    /// The message's attempts before the child had it.
    pub(super) before: u32,
}

impl Failed<'_> {
    /// What all groups do then: whether the next one may be tried.
    pub(super) fn next_child(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        fault: Fault,
    ) -> Result<(), Fault> {
        if !fault.retry {
            return Err(fault);
        }
        let (group, kind) = (self.group, self.kind);
        tracing::warn!(
            target: "Endpoint",
            "Endpoint [{group}] Detect a Failure in a child endpoint : Endpoint [{}]", self.child.label()
        );
        if !self.child.kind.retryable(fault.code) {
            return Err(own_fault(
                message,
                codes::NO_READY_CHILD,
                format!(
                    "{kind} endpoint : {group} - one of the child endpoints encounterd a non-retry error, not sending message to another endpoint"
                ),
            ));
        }
        // A child that refuses without an attempt counts too, so that no group spins.
        if message.attempts == self.before {
            count_attempt(cx, message)?;
        }
        Ok(())
    }
}

/// The fault of a group whose body cannot be sent again.
pub(super) fn cannot_resend(message: &mut Message) -> Fault {
    let mut fault = own_fault(
        message,
        codes::NO_READY_CHILD,
        "The message cannot be sent to another endpoint: its body is larger than the replay limit and was already being sent",
    );
    fault.retry = false;
    // Code and message stay those of the child that failed (spec 02 §13.1).
    let detail = "no other endpoint was tried: the body is larger than the replay limit and a part of it was sent; raise [myelin] replay_limit_bytes to let larger bodies fail over";
    message.properties.set("ERROR_DETAIL", detail);
    fault.detail = Some(detail.to_owned());
    fault
}

#[derive(Debug)]
struct LoadBalance {
    name: Option<String>,
    children: Vec<Arc<Endpoint>>,
    algorithm: Algorithm,
    failover: bool,
    build: bool,
    /// Where it is.
    path: String,
    balance: Option<Box<Balance>>,
    properties: Arc<Vec<EndpointProperty>>,
    state: Arc<GroupState>,
}

impl Kind for LoadBalance {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let cx = cx.deeper()?;
            let name = self.name.as_deref().unwrap_or(ANONYMOUS);
            if self.state.off.load(Ordering::Relaxed) {
                return Err(own_fault(message, codes::NO_READY_CHILD, name));
            }
            apply_all(&self.properties, &cx, message).await?;
            if self.build {
                message.body.collect(cx.services.limits.max_bytes).await?;
            }
            let mut underway = match &self.balance {
                Some(balance) => Some(Box::new(balance.begin(&cx, message).await?)),
                None => None,
            };
            let mut resend = Resend::new(message, &cx, self.reshapes(&cx)).await?;
            let mut refused = Refused::default();
            let outcome = loop {
                let picked = match &underway {
                    Some(way) => {
                        way.pick(&self.children, &self.algorithm, &self.state, &cx, &refused)
                    }
                    None => self
                        .algorithm
                        .pick(&self.children, &self.state, &cx, &refused),
                };
                let Some(child) = picked else {
                    break Err(own_fault(
                        message,
                        codes::NO_READY_CHILD,
                        format!("Loadbalance endpoint : {name} - no ready child endpoints"),
                    ));
                };
                match resend.prepare(message, &cx).await {
                    Ok(true) => {}
                    Ok(false) => break Err(cannot_resend(message)),
                    Err(fault) => break Err(fault),
                }
                if let Err(fault) = may_attempt(&cx, message) {
                    break Err(fault);
                }
                message.clear_error();
                let before = message.attempts;
                let busy = self.algorithm.busy(&self.children, child);
                let at = underway.as_ref().and_then(|u| u.at(&self.children, child));
                let mut sent = child.kind.send(cx, message, Parent::Group).await;
                drop(busy);
                if let Some(underway) = &mut underway {
                    let done = underway.done(&cx, &self.children, at, message, &mut sent);
                    Box::pin(done).await;
                }
                match sent {
                    Ok(sent) => return Ok(sent),
                    Err(mut fault) => {
                        if !self.failover {
                            // A parent group only passes it on (spec 02 §9.2).
                            fault.retry = false;
                        }
                        refused.note(child, before, message);
                        let next = Failed {
                            group: name,
                            kind: "Loadbalance",
                            child,
                            before,
                        };
                        if let Err(fault) = next.next_child(&cx, message, fault) {
                            break Err(fault);
                        }
                    }
                }
            };
            resend.give_up(message);
            outcome
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        !self.state.off.load(Ordering::Relaxed) && self.children.iter().any(|c| c.kind.is_ready(cx))
    }

    fn reshapes(&self, cx: &SendContext<'_>) -> bool {
        self.children.iter().any(|c| c.kind.reshapes(cx))
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        for child in &self.children {
            child.kind.checks(out);
        }
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let row = out.len();
        describe_group(
            "loadbalance",
            self.name.as_deref(),
            &self.children,
            now,
            out,
        );
        if let (Some(row), Some(balance)) = (out.get_mut(row), &self.balance) {
            row.path.clone_from(&self.path);
            row.balance = Some(balance.describe(&self.children, now));
        }
    }
}

/// The rows of a group and its children.
pub(super) fn describe_group(
    kind: &'static str,
    name: Option<&str>,
    children: &[Arc<Endpoint>],
    now: u64,
    out: &mut Vec<Described>,
) {
    out.push(Described {
        name: name.unwrap_or(ANONYMOUS).to_owned(),
        kind,
        ..Described::default()
    });
    for child in children {
        child.kind.describe(now, out);
    }
}
