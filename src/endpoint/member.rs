//! `<member hostName httpPort httpsPort/>` of a load-balance group (spec 02 §9.5).

use super::health::Check;
use super::leaf::{Destination, Leaf};
use super::parse::EndpointDef;
use super::state::Phase;
use super::{Boxed, Described, Endpoint, Kind, Names, Parent, SendContext, Sent, variable};
use crate::diag::{Diagnostic, codes as diag_codes};
use crate::message::fault::codes;
use crate::message::{Fault, Message};
use crate::metrics::Counter;
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;

/// One host with its ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    host: String,
    http: Option<u16>,
    https: Option<u16>,
}

impl Member {
    /// Its host and first port.
    pub(super) fn address(&self) -> String {
        match self.http.or(self.https) {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Where its health is asked for.
    pub(super) fn target(&self) -> Option<Target> {
        let scheme = if self.http.is_some() { "http" } else { "https" };
        Target::parse(&format!("{scheme}://{}/", self.address())).ok()
    }

    /// The event of a change.
    fn report(&self, from: &str, to: &str, code: u32) {
        tracing::warn!(
            target: "EndpointContext",
            endpoint = self.address(), address = self.address(), from, to, code, retry_in_ms = 0,
            "Member {} of a load-balance endpoint goes from {from} to {to}", self.address()
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
            let before = reader.errors();
            let mut port = |name: &str| {
                let text = text(reader, name)?;
                match text.parse::<i32>() {
                    // The reference's word for none.
                    Ok(-1) => None,
                    Ok(port @ 1..=65_535) => u16::try_from(port).ok(),
                    _ => {
                        let place = reader.attribute_place(child, name);
                        reader.report(
                            Diagnostic::error(
                                diag_codes::INVALID_VALUE,
                                place,
                                format!("\"{text}\" is not a port"),
                            )
                            .help("write a number from 1 to 65535"),
                        );
                        None
                    }
                }
            };
            let http = port("httpPort");
            let https = port("httpsPort");
            if http.or(https).is_none() && reader.errors() == before {
                let place = reader.place(child);
                reader.report(
                    Diagnostic::warning(
                        diag_codes::MISSING_ATTRIBUTE,
                        place,
                        "the member has no port, so that nothing can be sent to it",
                    )
                    .help("add httpPort for what comes over HTTP, httpsPort for HTTPS"),
                );
            }
            out.push(Member { host, http, https });
        }
        (!out.is_empty()).then_some(MembersDef(out))
    }

    /// The members.
    pub(super) fn list(&self) -> &[Member] {
        &self.0
    }

    /// Makes the children of a load-balance group.
    pub(super) fn link(
        &self,
        def: &EndpointDef,
        names: &mut dyn Names,
        path: &str,
    ) -> Vec<Arc<Endpoint>> {
        let members = self.0.iter().enumerate();
        members
            .map(|(index, member)| {
                let path = format!("{path}/{index}");
                let mut leaf = plain_leaf(def, names, &path);
                // Members on one host are told apart by their ports.
                leaf.name = Some(member.address());
                // The group has set its properties once for all attempts.
                leaf.properties = Arc::default();
                leaf.apply(&def.policy, member.target().as_ref(), names);
                let mut hasher = DefaultHasher::new();
                member.hash(&mut hasher);
                Arc::new(Endpoint {
                    name: Some(member.address()),
                    kind: Box::new(MemberEndpoint {
                        member: member.clone(),
                        leaf,
                        state: names.stores().member(&path, def.head.fingerprint),
                    }),
                    fingerprint: hasher.finish(),
                    place: def.head.place.clone(),
                })
            })
            .collect()
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

/// Whether a member is in use; survives reloads.
#[derive(Debug, Default)]
pub struct MemberState {
    out: AtomicBool,
    probe: Mutex<Option<AbortHandle>>,
    /// How often it went out of use and came back.
    changes: [Counter; 2],
}

/// Nobody looks after a member that is no longer deployed.
impl Drop for MemberState {
    fn drop(&mut self) {
        let probe = self.probe.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = probe.take() {
            probe.abort();
        }
    }
}

impl MemberState {
    /// Takes the member out of use and makes sure that somebody looks after it.
    fn deactivate(self: &Arc<MemberState>, member: &Member, code: u32) {
        if self.out.swap(true, Ordering::AcqRel) {
            return;
        }
        self.changes[0].add();
        member.report("ACTIVE", "SUSPENDED", code);
        let task = tokio::spawn(probe(Arc::downgrade(self), member.clone()));
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        *probe = Some(task.abort_handle());
    }
}

/// Brings a member back when its ports accept a connection again.
async fn probe(state: Weak<MemberState>, member: Member) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    loop {
        let mut alive = true;
        for port in [member.http, member.https].into_iter().flatten() {
            let connect = tokio::net::TcpStream::connect((member.host.as_str(), port));
            alive &= matches!(
                tokio::time::timeout(Duration::from_secs(2), connect).await,
                Ok(Ok(_))
            );
        }
        let Some(state) = state.upgrade() else {
            return;
        };
        if alive {
            state.changes[1].add();
            member.report("SUSPENDED", "ACTIVE", 0);
            state.out.store(false, Ordering::Release);
            return;
        }
        drop(state);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// One member as a child of its group.
#[derive(Debug)]
struct MemberEndpoint {
    member: Member,
    leaf: Leaf,
    state: Arc<MemberState>,
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

impl Kind for MemberEndpoint {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let target = member_target(&self.member, &cx, message)?;
            let destination = Destination::Found(target);
            let sent = self.leaf.send_to(cx, message, destination, parent).await;
            if let Err(fault) = &sent
                && fault.retry
                && fault.code != codes::OVERFLOW
            {
                self.state.deactivate(&self.member, fault.code);
            }
            sent
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        !self.state.out.load(Ordering::Acquire) && self.leaf.is_ready(cx.services.clock.now())
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        out.extend(self.leaf.check.clone());
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.leaf.switch(on);
        Ok(())
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let mut row = self
            .leaf
            .described("member", Some(self.member.address()), now);
        if self.state.out.load(Ordering::Acquire) {
            row.state = Some(Phase::Suspended.word());
        }
        if let Some(counts) = &mut row.counts {
            for (phase, times) in [Phase::Suspended, Phase::Active]
                .iter()
                .zip(&self.state.changes)
            {
                if times.get() > 0 {
                    *counts.state_changes.entry(phase.word()).or_default() += times.get();
                }
            }
        }
        out.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_with_its_member() {
        let member = Member {
            host: "127.0.0.1".into(),
            http: Some(1),
            https: None,
        };
        let state = Arc::new(MemberState::default());
        state.deactivate(&member, 101_503);
        state.deactivate(&member, 101_503);
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        assert_eq!(tasks(), 1);
        drop(state);
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 0);
    }
}
