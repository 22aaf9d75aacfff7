//! `<failover>`: the first ready child, every time (dynamic) or until it fails (static)
//! (spec 02 §9.6).

use super::balance::Balance;
use super::health::Check;
use super::loadbalance::{Failed, Refused, Resend, build_message, cannot_resend, describe_group};
use super::parse::{EndpointDef, parse_children};
use super::property::{EndpointProperty, apply_all};
use super::store::GroupState;
use super::{
    ANONYMOUS, Boxed, Described, Endpoint, Kind, Names, Parent, SendContext, Sent, own_fault,
};
use crate::diag::codes as diag_codes;
use crate::message::fault::codes;
use crate::message::{Fault, Message};
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
        let off = element.attribute("dynamic").is_some_and(|v| {
            v.eq_ignore_ascii_case("false") || v.eq_ignore_ascii_case("no") || v == "0"
        });
        (reader.errors() == before).then_some(FailoverDef {
            children,
            dynamic: !off,
            build: build_message(element),
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
    fn pick(&self, cx: &SendContext<'_>, refused: &Refused<'_>) -> Option<&Arc<Endpoint>> {
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
            if self.state.off.load(Ordering::Relaxed) {
                return Err(own_fault(message, codes::NO_READY_CHILD, name));
            }
            apply_all(&self.properties, &cx, message).await?;
            if self.build {
                message.body.collect(cx.services.limits.max_bytes).await?;
            }
            let mut log: Vec<(&str, u32)> = Vec::new();
            let mut underway = match &self.balance {
                Some(balance) => Some(Box::new(balance.begin(&cx, message).await?)),
                None => None,
            };
            let mut resend = Resend::new(message, &cx, self.reshapes(&cx)).await?;
            let mut refused = Refused::default();
            let outcome = loop {
                let picked = match &underway {
                    Some(way) => way.first(&self.children, &cx, &refused),
                    None => self.pick(&cx, &refused),
                };
                let Some(child) = picked else {
                    break Err(own_fault(
                        message,
                        codes::NO_READY_CHILD,
                        format!("Failover endpoint : {name} - no ready child endpoints"),
                    ));
                };
                match resend.prepare(message, &cx).await {
                    Ok(true) => {}
                    Ok(false) => break Err(cannot_resend(message)),
                    Err(fault) => break Err(fault),
                }
                let before = message.attempts;
                let at = underway.as_ref().and_then(|u| u.at(&self.children, child));
                let mut sent = child.kind.send(cx, message, Parent::Group).await;
                if let Some(underway) = &mut underway {
                    let done = underway.done(&cx, &self.children, at, message, &mut sent);
                    Box::pin(done).await;
                }
                match sent {
                    Ok(sent) => return Ok(sent),
                    Err(fault) => {
                        note(&mut log, child, fault.code, message);
                        refused.note(child, before, message);
                        let next = Failed {
                            group: name,
                            kind: "Failover",
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
        describe_group("failover", self.name.as_deref(), &self.children, now, out);
        if let (Some(row), Some(balance)) = (out.get_mut(row), &self.balance) {
            row.path.clone_from(&self.path);
            row.balance = Some(balance.describe(&self.children, now));
        }
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
