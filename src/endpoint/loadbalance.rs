//! `<loadbalance>` (spec 02 §9.1–§9.4).

use super::attempts::{Attempts, Group, Refused};
use super::balance::{Balance, Underway};
use super::health::Check;
use super::member::MembersDef;
use super::parse::{EndpointDef, flag, parse_children};
use super::property::{EndpointProperty, apply_all};
use super::store::GroupState;
use super::weighted::{Algorithm, AlgorithmDef, AlgorithmName, parse_name, parse_weights};
use super::{
    ANONYMOUS, Boxed, Described, Endpoint, Kind, Names, Parent, SendContext, Sent, may_attempt,
    own_fault,
};
use crate::diag::codes as diag_codes;
use crate::message::fault::codes;
use crate::message::{EndpointId, Fault, Message};
use crate::syntax::{Element, Reader};
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
        flag(
            reader,
            element,
            "failover",
            &["true", "false"],
            "failover stays on",
        );
        let algorithm = parse_weights(reader, name, &children, properties);
        (reader.errors() == before).then_some(LoadBalanceDef {
            children,
            members,
            algorithm,
            build: build_message(reader, element),
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
        let on_failover = names.settings().endpoint.build_message_on_failover;
        let children = match &self.members {
            Some(members) => members.link(def, names, path),
            None => EndpointDef::link_children(&self.children, names, path),
        };
        Box::new(LoadBalance {
            algorithm: Algorithm::new(&self.algorithm, children.len()),
            children,
            of_members: self.members.is_some(),
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
pub(super) fn build_message(reader: &mut Reader, element: Element<'_, '_>) -> Option<bool> {
    flag(
        reader,
        element,
        "buildMessage",
        &["true", "false", "yes", "no", "1", "0"],
        "nothing is built",
    );
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

#[derive(Debug)]
struct LoadBalance {
    name: Option<String>,
    children: Vec<Arc<Endpoint>>,
    /// They are `<member>`s.
    of_members: bool,
    algorithm: Algorithm,
    failover: bool,
    build: bool,
    /// Where it is.
    path: String,
    balance: Option<Box<Balance>>,
    properties: Arc<Vec<EndpointProperty>>,
    state: Arc<GroupState>,
}

impl LoadBalance {
    /// The next child.
    fn pick<'e>(
        &'e self,
        way: Option<&Underway<'_>>,
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        let children = &self.children;
        let picked = match way {
            Some(way) => way.pick(children, &self.algorithm, &self.state, cx, refused),
            None => self.algorithm.pick(children, &self.state, cx, refused),
        };
        if picked.is_none() && self.of_members {
            tracing::error!(target: "Endpoint", "No application members available");
        }
        picked
    }
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
            if self.state.is_off() {
                return Err(own_fault(message, codes::NO_READY_CHILD, name));
            }
            apply_all(&self.properties, &cx, message).await?;
            if self.build {
                message.body.collect(cx.services.limits.max_bytes).await?;
            }
            let group = Group {
                name,
                printed: name,
                kind: "Loadbalance",
                children: &self.children,
                balance: self.balance.as_deref(),
                failover: self.failover,
            };
            let mut attempts = Attempts::begin(&cx, message, group, self.reshapes(&cx)).await?;
            let outcome = async {
                loop {
                    let pick = |way: Option<&_>, refused: &_| self.pick(way, &cx, refused);
                    let child = attempts.next(&cx, message, pick).await?;
                    may_attempt(&cx, message)?;
                    message.clear_error();
                    let busy = self.algorithm.busy(&self.children, child);
                    let sent = attempts.send(cx, message, child).await;
                    drop(busy);
                    match sent {
                        Ok(sent) => return Ok(sent),
                        Err(fault) => attempts.failed(&cx, message, child, fault)?,
                    }
                }
            }
            .await;
            if outcome.is_err() {
                attempts.give_up(message);
            }
            outcome
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        !self.state.is_off() && self.children.iter().any(|c| c.kind.is_ready(cx))
    }

    fn reshapes(&self, cx: &SendContext<'_>) -> bool {
        self.children.iter().any(|c| c.kind.reshapes(cx))
    }

    fn references(&self, out: &mut Vec<EndpointId>) {
        for child in &self.children {
            child.kind.references(out);
        }
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        for child in &self.children {
            child.kind.checks(out);
        }
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let row = Described {
            kind: "loadbalance",
            balance: self
                .balance
                .as_ref()
                .map(|b| b.describe(&self.children, now)),
            ..self.state.described(self.name.as_deref(), &self.path)
        };
        describe_group(row, &self.children, now, out);
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.state.switch(self.name.as_deref(), on);
        Ok(())
    }
}

/// The rows of a group and its children.
pub(super) fn describe_group(
    row: Described,
    children: &[Arc<Endpoint>],
    now: u64,
    out: &mut Vec<Described>,
) {
    out.push(row);
    for child in children {
        child.kind.describe(now, out);
    }
}
