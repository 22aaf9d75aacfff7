//! `<member hostName httpPort httpsPort/>` of a load-balance group (spec 02 §9.5).

use super::leaf::{Destination, Leaf};
use super::loadbalance::{Resend, cannot_resend};
use super::parse::EndpointDef;
use super::{
    ANONYMOUS, Boxed, Described, Kind, Names, Parent, SendContext, Sent, may_attempt, own_fault,
    variable,
};
use crate::diag::codes as diag_codes;
use crate::message::fault::codes;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;

/// One host with its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    host: String,
    http: Option<u16>,
    https: Option<u16>,
}

impl Member {
    /// Its first port.
    fn address(&self) -> String {
        match self.http.or(self.https) {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The event of a change.
    fn report(&self, from: &str, to: &str, code: u32) {
        tracing::warn!(
            target: "EndpointContext",
            endpoint = self.host, address = self.address(), from, to, code, retry_in_ms = 0,
            "Member {} of a load-balance endpoint goes from {from} to {to}", self.host
        );
    }
}

/// The members of a group as they are written.
#[derive(Debug)]
pub struct MembersDef(Vec<Member>);

impl MembersDef {
    /// Reads the `<member>` children; `None` when there are none.
    pub fn parse(reader: &mut Reader, group: Element<'_, '_>) -> Option<MembersDef> {
        let mut out = Vec::new();
        for child in group.children().filter(roxmltree::Node::is_element) {
            if child.tag_name().name() != "member" || !reader.is_synapse(child) {
                continue;
            }
            reader.known_attributes(child, &["hostName", "httpPort", "httpsPort"]);
            let text = |reader: &mut Reader, name: &str| {
                let place = reader.attribute_place(child, name);
                let text = child.attribute(name)?.trim();
                variable::resolve(reader, &place, text)
            };
            reader.required(child, "hostName");
            let host = text(reader, "hostName").unwrap_or_default();
            let mut port = |name: &str| {
                let text = text(reader, name)?;
                match text.parse::<i32>() {
                    Ok(port) => u16::try_from(port).ok(),
                    Err(_) => {
                        let place = reader.attribute_place(child, name);
                        reader.error(
                            diag_codes::INVALID_VALUE,
                            place,
                            format!("\"{text}\" is not a port"),
                        );
                        None
                    }
                }
            };
            let http = port("httpPort");
            let https = port("httpsPort");
            out.push(Member { host, http, https });
        }
        (!out.is_empty()).then_some(MembersDef(out))
    }

    /// The members.
    pub(super) fn list(&self) -> &[Member] {
        &self.0
    }

    /// Makes the group.
    pub fn link(
        &self,
        def: &EndpointDef,
        names: &mut dyn Names,
        path: &str,
        failover: bool,
    ) -> Box<dyn Kind> {
        let state = names.stores().members(path, def.head.fingerprint);
        state.fill(&self.0);
        let leaf = plain_leaf(def, names, path);
        Box::new(MemberGroup {
            name: def.head.name.clone(),
            leaf,
            failover,
            state,
        })
    }
}

/// The leaf that sends to members. They are told apart by their group, not by a state machine.
pub(super) fn plain_leaf(def: &EndpointDef, names: &mut dyn Names, path: &str) -> Leaf {
    Leaf {
        name: def.head.name.clone(),
        properties: def.properties.clone(),
        ..Leaf::stateless("Address", names, path, def.head.fingerprint)
    }
}

/// Which members are in use; survives reloads.
#[derive(Debug, Default)]
pub struct Members(Mutex<MemberLists>);

#[derive(Debug, Default)]
struct MemberLists {
    filled: bool,
    active: Vec<Member>,
    inactive: Vec<Member>,
    cursor: usize,
    probing: bool,
    probe: Option<AbortHandle>,
}

/// Nobody looks after members that are no longer deployed.
impl Drop for Members {
    fn drop(&mut self) {
        if let Some(probe) = self.lists(|lists| lists.probe.take()) {
            probe.abort();
        }
    }
}

impl Members {
    fn lists<R>(&self, f: impl FnOnce(&mut MemberLists) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fill(&self, members: &[Member]) {
        self.lists(|lists| {
            if !lists.filled {
                lists.filled = true;
                lists.active = members.to_vec();
            }
        });
    }

    fn next(&self) -> Option<Member> {
        self.lists(|lists| {
            let count = lists.active.len();
            let member = lists.active.get(lists.cursor % count.max(1))?.clone();
            lists.cursor = (lists.cursor + 1) % count;
            Some(member)
        })
    }

    /// Takes a member out of use and makes sure that somebody looks after it.
    fn deactivate(self: &Arc<Members>, member: &Member, code: u32) {
        let start = self.lists(|lists| {
            if let Some(at) = lists.active.iter().position(|m| m == member) {
                let member = lists.active.remove(at);
                member.report("ACTIVE", "SUSPENDED", code);
                lists.inactive.push(member);
                if at < lists.cursor {
                    lists.cursor -= 1;
                }
            }
            !std::mem::replace(&mut lists.probing, true)
        });
        if start {
            let probe = tokio::spawn(probe(Arc::downgrade(self))).abort_handle();
            self.lists(|lists| lists.probe = Some(probe));
        }
    }
}

/// Reactivates members whose ports accept a connection again; ends when all are in use.
async fn probe(members: Weak<Members>) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        let Some(state) = members.upgrade() else {
            return;
        };
        let waiting = state.lists(|lists| {
            if lists.inactive.is_empty() {
                lists.probing = false;
            }
            lists.inactive.clone()
        });
        if waiting.is_empty() {
            return;
        }
        for member in waiting {
            let mut alive = true;
            for port in [member.http, member.https].into_iter().flatten() {
                let connect = tokio::net::TcpStream::connect((member.host.as_str(), port));
                alive &= matches!(
                    tokio::time::timeout(Duration::from_secs(2), connect).await,
                    Ok(Ok(_))
                );
            }
            if alive {
                state.lists(|lists| {
                    if let Some(at) = lists.inactive.iter().position(|m| *m == member) {
                        let member = lists.inactive.remove(at);
                        member.report("SUSPENDED", "ACTIVE", 0);
                        lists.active.push(member);
                    }
                });
            }
        }
        drop(state);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[derive(Debug)]
struct MemberGroup {
    name: Option<String>,
    leaf: Leaf,
    failover: bool,
    state: Arc<Members>,
}

/// The target of a member: scheme of the request, path of its `To`.
pub(super) fn member_target(
    member: &Member,
    cx: &SendContext<'_>,
    message: &Message,
) -> Result<Target, Fault> {
    let (scheme, port) = if cx.exchange.secure {
        ("https", member.https)
    } else {
        ("http", member.http)
    };
    let Some(port) = port else {
        return Err(Fault::mediation(format!(
            "The member {} has no {scheme} port",
            member.host
        )));
    };
    let to = message.to_address().unwrap_or_default();
    let path = match to.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|at| rest[at..].split('?').next())
            .unwrap_or("/")
            .to_owned(),
        None => to.into_owned(),
    };
    super::address::find(&format!("{scheme}://{}:{port}{path}", member.host))
}

impl Kind for MemberGroup {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let name = self.name.as_deref().unwrap_or(ANONYMOUS);
            let mut resend = Resend::new(message, &cx, false).await?;
            // Where the request wanted to go is part of every target; an attempt may change it.
            let outcome = loop {
                let Some(member) = self.state.next() else {
                    tracing::error!(target: "Endpoint", "No application members available");
                    break Err(own_fault(
                        message,
                        codes::NO_READY_CHILD,
                        format!("Loadbalance endpoint : {name} - no ready child endpoints"),
                    ));
                };
                let target = match member_target(&member, &cx, message) {
                    Ok(target) => target,
                    Err(fault) => break Err(fault),
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
                let sent = self
                    .leaf
                    .send_to(cx, message, Destination::Found(target), Parent::Group)
                    .await;
                match sent {
                    Ok(sent) => return Ok(sent),
                    Err(fault) => {
                        if !fault.retry {
                            break Err(fault);
                        }
                        self.state.deactivate(&member, fault.code);
                        if !self.failover {
                            break Err(fault);
                        }
                    }
                }
            };
            resend.give_up(message);
            outcome
        })
    }

    fn is_ready(&self, _cx: &SendContext<'_>) -> bool {
        self.state.lists(|lists| !lists.active.is_empty())
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let mut row = self.leaf.described("loadbalance", None, now);
        row.state = None;
        out.push(row);
        self.state.lists(|lists| {
            let rows = lists.active.iter().map(|m| (m, "ACTIVE"));
            for (member, state) in rows.chain(lists.inactive.iter().map(|m| (m, "SUSPENDED"))) {
                out.push(Described {
                    name: member.host.clone(),
                    kind: "member",
                    address: member
                        .http
                        .or(member.https)
                        .map(|port| format!("{}:{port}", member.host)),
                    state: Some(state),
                    path: format!("{}/{}", self.leaf.path, member.host),
                    ..Described::default()
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_with_its_members() {
        let member = Member {
            host: "127.0.0.1".into(),
            http: Some(1),
            https: None,
        };
        let members = Arc::new(Members::default());
        members.fill(std::slice::from_ref(&member));
        members.deactivate(&member, 101_503);
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        assert_eq!(tasks(), 1);
        drop(members);
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 0);
    }
}
