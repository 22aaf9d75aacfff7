//! `<failover>`: the first ready child, every time (dynamic) or until it fails (static)
//! (spec 02 §9.6).

use super::attempts::{Attempts, Group, Refused};
use super::balance::{Balance, Underway};
use super::health::Check;
use super::loadbalance::{build_message, describe_group};
use super::parse::{EndpointDef, flag, parse_children};
use super::property::{EndpointProperty, apply_all};
use super::store::GroupState;
use super::{
    ANONYMOUS, Boxed, Described, Endpoint, Kind, Names, Parent, SendContext, Sent, own_fault,
};
use crate::diag::codes as diag_codes;
use crate::message::fault::codes;
use crate::message::{EndpointId, Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A failover group as it is written.
#[derive(Debug)]
pub struct FailoverDef {
    children: Vec<Arc<EndpointDef>>,
    dynamic: bool,
    build: Option<bool>,
}

impl FailoverDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<FailoverDef> {
        reader.known_attributes(element, &["dynamic", "buildMessage", "description"]);
        let before = reader.errors();
        let children = parse_children(reader, element);
        if let Some(member) = reader.child(element, "member") {
            let place = reader.place(member);
            reader.error(
                diag_codes::UNKNOWN_ELEMENT,
                place,
                "<member> goes into <loadbalance>, not into <failover>",
            );
        } else if children.is_empty() && reader.errors() == before {
            let place = reader.place(element);
            reader.error(
                diag_codes::MISSING_ELEMENT,
                place,
                "<failover> needs at least one <endpoint>",
            );
        }
        flag(
            reader,
            element,
            "dynamic",
            &["true", "false", "yes", "no", "1", "0"],
            "the group is dynamic",
        );
        let off = element.attribute("dynamic").is_some_and(|v| {
            v.eq_ignore_ascii_case("false") || v.eq_ignore_ascii_case("no") || v == "0"
        });
        (reader.errors() == before).then_some(FailoverDef {
            children,
            dynamic: !off,
            build: build_message(reader, element),
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        let on_failover = names.settings().endpoint.build_message_on_failover;
        Box::new(Failover {
            build: self.build.unwrap_or(on_failover),
            path: path.to_owned(),
            balance: Balance::link(&def.policy, names, path, def.head.fingerprint),
            properties: def.properties.clone(),
            children: EndpointDef::link_children(&self.children, names, path),
            name: def.head.name.clone(),
            dynamic: self.dynamic,
            state: names.stores().group(path, def.head.fingerprint),
        })
    }
}

#[derive(Debug)]
struct Failover {
    name: Option<String>,
    children: Vec<Arc<Endpoint>>,
    dynamic: bool,
    build: bool,
    /// Where it is.
    path: String,
    balance: Option<Box<Balance>>,
    properties: Arc<Vec<EndpointProperty>>,
    state: Arc<GroupState>,
}

impl Failover {
    fn pick<'e>(
        &'e self,
        way: Option<&Underway<'_>>,
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        if let Some(way) = way {
            return way.first(&self.children, cx, refused);
        }
        let fits = |child: &Arc<Endpoint>| child.kind.is_ready(cx) && !refused.contains(child);
        if !self.dynamic {
            let current = self
                .children
                .get(self.state.current.load(Ordering::Relaxed));
            if let Some(child) = current.filter(|c| fits(c)) {
                return Some(child);
            }
        }
        let first = self.children.iter().position(fits)?;
        self.state.current.store(first, Ordering::Relaxed);
        self.children.get(first)
    }
}

impl Kind for Failover {
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
            let mut log: Vec<(&str, u32)> = Vec::new();
            let group = Group {
                name,
                printed: name,
                kind: "Failover",
                children: &self.children,
                balance: self.balance.as_deref(),
                failover: true,
            };
            let mut attempts = Attempts::begin(&cx, message, group, self.reshapes(&cx)).await?;
            let outcome = async {
                loop {
                    let pick = |way: Option<&_>, refused: &_| self.pick(way, &cx, refused);
                    let child = attempts.next(&cx, message, pick).await?;
                    match attempts.send(cx, message, child).await {
                        Ok(sent) => return Ok(sent),
                        Err(fault) => {
                            note(&mut log, child, fault.code, message);
                            attempts.failed(&cx, message, child, fault)?;
                        }
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
            kind: "failover",
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

/// `endpoint_log`: the last code of every named child that failed, as the reference prints its map.
fn note<'e>(log: &mut Vec<(&'e str, u32)>, child: &'e Endpoint, code: u32, message: &mut Message) {
    let Some(name) = child.name.as_deref() else {
        return;
    };
    match log.iter_mut().find(|(n, _)| *n == name) {
        Some(entry) => entry.1 = code,
        None => log.push((name, code)),
    }
    let entries: Vec<String> = log.iter().map(|(n, c)| format!("{n}={c}")).collect();
    message
        .properties
        .set("endpoint_log", format!("{{{}}}", entries.join(", ")));
}
