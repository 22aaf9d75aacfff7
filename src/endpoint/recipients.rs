//! `<recipientlist>`: a copy of the message to every recipient (spec 02 §10). What comes back from
//! each goes its own way, see [`Deliver`].

use super::address::find;
use super::breaker::Breaker;
use super::health::Check;
use super::leaf::{Destination, Leaf};
use super::loadbalance::describe_group;
use super::member::{Member, MembersDef, member_target, plain_leaf};
use super::parse::{EndpointDef, parse_children};
use super::property::{EndpointProperty, apply_all};
use super::store::{GroupState, LeafState};
use super::{
    ANONYMOUS, Boxed, Deliver, Described, Endpoint, Kind, Names, Parent, SendContext, Sent,
    own_fault,
};
use crate::diag::codes as diag_codes;
use crate::expr::Dynamic;
use crate::message::fault::codes;
use crate::message::{EndpointId, Fault, Message, SplitMark};
use crate::settings::EndpointPolicy;
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

/// Addresses whose state is kept, unless `max-cache` says otherwise.
const DEFAULT_CACHE: usize = 20;

/// A recipient list as it is written.
#[derive(Debug)]
pub struct RecipientsDef(ListDef);

#[derive(Debug)]
enum ListDef {
    Children(Vec<Arc<EndpointDef>>),
    Members(MembersDef),
    Dynamic { value: Arc<Dynamic>, cache: usize },
}

impl RecipientsDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<RecipientsDef> {
        reader.known_attributes(element, &["description"]);
        if let Some(endpoints) = reader.child(element, "endpoints") {
            reader.known_attributes(endpoints, &["value", "max-cache"]);
            reader.required(endpoints, "value")?;
            let value = reader.dynamic(endpoints, "value")?;
            let cache = match endpoints.attribute("max-cache").map(str::trim) {
                None => DEFAULT_CACHE,
                Some(text) => text.parse().unwrap_or_else(|_| {
                    let place = reader.attribute_place(endpoints, "max-cache");
                    reader.warning(
                        diag_codes::INVALID_VALUE,
                        place,
                        format!(
                            "\"{text}\" is not a number of addresses; {DEFAULT_CACHE} are kept"
                        ),
                    );
                    DEFAULT_CACHE
                }),
            };
            for other in reader.children(element) {
                if !matches!(reader.name(other), Some("endpoints" | "description")) {
                    reader.unknown_element(other, "recipientlist", &["endpoints"]);
                    return None;
                }
            }
            return Some(RecipientsDef(ListDef::Dynamic {
                value: Arc::new(value),
                cache,
            }));
        }
        let before = reader.errors();
        let children = parse_children(reader, element);
        let members = MembersDef::parse(reader, element);
        let list = match (children.is_empty(), members) {
            (false, None) => Some(ListDef::Children(children)),
            (true, Some(members)) => Some(ListDef::Members(members)),
            (empty, _) => {
                if reader.errors() == before {
                    let place = reader.place(element);
                    let (code, text) = if empty {
                        (
                            diag_codes::MISSING_ELEMENT,
                            "<recipientlist> needs <endpoint>, <member> or <endpoints>",
                        )
                    } else {
                        (
                            diag_codes::CONFLICT,
                            "<recipientlist> holds either endpoints or members, not both",
                        )
                    };
                    reader.error(code, place, text);
                }
                None
            }
        };
        list.filter(|_| reader.errors() == before)
            .map(RecipientsDef)
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        let list = match &self.0 {
            ListDef::Children(children) => {
                List::Children(EndpointDef::link_children(children, names, path))
            }
            ListDef::Members(members) => {
                let linked = members.list().iter().enumerate().map(|(index, member)| {
                    let mut leaf = plain_leaf(def, names, &format!("{path}/{index}"));
                    leaf.apply(&def.policy, member.target().as_ref(), names);
                    (member.clone(), leaf)
                });
                List::Members(linked.collect())
            }
            ListDef::Dynamic { value, cache } => List::Dynamic {
                value: value.clone(),
                leaf: Box::new(Leaf::plain(names, path, def.head.fingerprint)),
                states: names.stores().recipients(path, def.head.fingerprint),
                cache: *cache,
                policy: Box::new(def.policy.link(names)),
            },
        };
        Box::new(Recipients {
            name: def.head.name.clone(),
            list,
            path: path.to_owned(),
            properties: def.properties.clone(),
            state: names.stores().group(path, def.head.fingerprint),
        })
    }
}

/// States of addresses that messages named, the last used one first; bounded by `max-cache`.
#[derive(Debug, Default)]
pub struct AddressStates(Mutex<Vec<(String, Arc<LeafState>)>>);

impl AddressStates {
    /// The state of an address. One with limits stays while requests are under way there, or the
    /// limits would begin anew.
    fn get(&self, address: &str, most: usize, policy: &EndpointPolicy) -> Arc<LeafState> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match states.iter().position(|(a, _)| a == address) {
            Some(at) => states.remove(at),
            None => (address.to_owned(), Arc::default()),
        };
        let state = entry.1.clone();
        state.breaker.get_or_init(|| Breaker::of(policy));
        states.insert(0, entry);
        let mut kept = 0;
        states.retain(|(_, state)| {
            kept += 1;
            let under_way = |b: &Breaker| Arc::strong_count(state) > 1 || b.load() != (0, 0);
            kept <= most || state.breaker().is_some_and(under_way)
        });
        state
    }
}

#[derive(Debug)]
enum List {
    Children(Vec<Arc<Endpoint>>),
    Members(Vec<(Member, Leaf)>),
    Dynamic {
        value: Arc<Dynamic>,
        leaf: Box<Leaf>,
        states: Arc<AddressStates>,
        cache: usize,
        /// The limits of every address.
        policy: Box<EndpointPolicy>,
    },
}

/// Sends to all.
#[derive(Debug)]
struct Recipients {
    name: Option<String>,
    list: List,
    /// Where it is.
    path: String,
    properties: Arc<Vec<EndpointProperty>>,
    state: Arc<GroupState>,
}

/// One recipient of one message.
enum Recipient<'a> {
    Child(&'a Endpoint),
    Member(&'a Leaf, Target),
    Address(Box<Leaf>, Target),
    /// Its address cannot be called; the others get their copies.
    Wrong(Fault),
}

impl Recipient<'_> {
    async fn send(self, cx: SendContext<'_>, message: &mut Message) -> Result<Sent, Fault> {
        match self {
            Recipient::Wrong(fault) => {
                message.report(&fault);
                Err(fault)
            }
            Recipient::Child(child) => child.kind.send(cx, message, Parent::Recipients).await,
            Recipient::Member(leaf, target) => {
                let destination = Destination::Found(target);
                leaf.send_to(cx, message, destination, Parent::Recipients)
                    .await
            }
            Recipient::Address(leaf, target) => {
                let destination = Destination::Found(target);
                leaf.send_to(cx, message, destination, Parent::Recipients)
                    .await
            }
        }
    }
}

impl Recipients {
    /// Whether so many more copies may be made of one request.
    fn within_limit(&self, cx: &SendContext<'_>, more: usize) -> Result<(), Fault> {
        let limit = cx.services.settings.limits.max_attempts_per_request;
        let before = cx.copies.map_or(0, |copies| copies.load(Ordering::Relaxed));
        if before.saturating_add(more) <= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let name = self.name.as_deref().unwrap_or(ANONYMOUS);
        let others = match before {
            0 => String::new(),
            before => format!(" after {before} of lists around it"),
        };
        Err(Fault::mediation(format!(
            "The recipient list {name} has {more} recipients{others}, and one request may make at most {limit} attempts ([myelin] max_attempts_per_request)"
        )))
    }

    /// The recipients that are ready, and how many there are in all.
    async fn recipients(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
    ) -> Result<(Vec<Recipient<'_>>, usize), Fault> {
        match &self.list {
            List::Children(children) => {
                let ready = children
                    .iter()
                    .filter(|c| c.kind.is_ready(cx))
                    .map(|c| Recipient::Child(c))
                    .collect();
                Ok((ready, children.len()))
            }
            List::Members(members) => {
                let recipient = |(member, leaf)| match member_target(member, cx, message) {
                    Ok(target) => Recipient::Member(leaf, target),
                    Err(fault) => Recipient::Wrong(fault),
                };
                let all = members.iter().map(|(m, l)| recipient((m, l)));
                Ok((all.collect(), members.len()))
            }
            List::Dynamic {
                value,
                leaf,
                states,
                cache,
                policy,
            } => {
                if value.needs_body() {
                    message.build(&cx.services.limits).await?;
                }
                let text = value.value(&cx.scope(message))?;
                let now = cx.services.clock.now();
                let mut ready = Vec::new();
                let addresses = || text.split(',').filter(|a| !a.trim().is_empty());
                let count = addresses().count();
                self.within_limit(cx, count)?;
                for address in addresses() {
                    let target = match find(address) {
                        Ok(target) => target,
                        Err(fault) => {
                            ready.push(Recipient::Wrong(fault));
                            continue;
                        }
                    };
                    let mut leaf = leaf.clone();
                    leaf.state = states.get(address, *cache, policy);
                    if leaf.is_ready(now) {
                        ready.push(Recipient::Address(leaf, target));
                    }
                }
                Ok((ready, count))
            }
        }
    }
}

impl Kind for Recipients {
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
            let Some(deliver) = cx.deliver else {
                return Err(Fault::mediation(format!(
                    "The recipient list {name} cannot be used here: nobody takes its answers"
                )));
            };
            apply_all(&self.properties, &cx, message).await?;
            let (ready, count) = self.recipients(&cx, message).await?;
            if count == 0 {
                // An empty list sends nothing and is no fault.
                return Ok(Sent::Delivered);
            }
            if ready.is_empty() {
                return Err(own_fault(
                    message,
                    codes::NO_READY_CHILD,
                    format!("Recipient List endpoint : {name} - no ready child endpoints"),
                ));
            }
            self.within_limit(&cx, ready.len())?;
            // Lists inside each other share the limit: each of them multiplies the copies.
            let own = AtomicUsize::new(0);
            let cx = SendContext {
                copies: Some(cx.copies.unwrap_or(&own)),
                ..cx
            };
            if let Some(copies) = cx.copies {
                copies.fetch_add(ready.len(), Ordering::Relaxed);
            }
            let mark = SplitMark::of(message, None);
            let mut sends: Vec<Boxed<'_, ()>> = Vec::new();
            for (index, recipient) in ready.into_iter().enumerate() {
                let mut copy = message.copy(&cx.services.limits).await?;
                copy.become_part(&mark, index, count);
                sends.push(Box::pin(one(cx, deliver, recipient, copy)));
            }
            all(sends).await;
            Ok(Sent::Delivered)
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        let any = match &self.list {
            List::Children(children) => children.iter().any(|c| c.kind.is_ready(cx)),
            List::Members(..) | List::Dynamic { .. } => true,
        };
        any && !self.state.is_off()
    }

    fn references(&self, out: &mut Vec<EndpointId>) {
        if let List::Children(children) = &self.list {
            for child in children {
                child.kind.references(out);
            }
        }
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        if let List::Children(children) = &self.list {
            for child in children {
                child.kind.checks(out);
            }
        }
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let children: &[Arc<Endpoint>] = match &self.list {
            List::Children(children) => children,
            List::Members(..) | List::Dynamic { .. } => &[],
        };
        let row = Described {
            kind: "recipientlist",
            ..self.state.described(self.name.as_deref(), &self.path)
        };
        describe_group(row, children, now, out);
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.state.switch(self.name.as_deref(), on);
        Ok(())
    }
}

/// One copy: its send, and what becomes of the outcome.
async fn one(
    cx: SendContext<'_>,
    deliver: &dyn Deliver,
    recipient: Recipient<'_>,
    mut message: Message,
) {
    match recipient.send(cx, &mut message).await {
        // A recipient that is a list itself has delivered.
        Ok(Sent::Delivered) => {}
        outcome => deliver.deliver(message, outcome).await,
    }
}

/// Waits for all futures; there are few of them.
async fn all(mut futures: Vec<Boxed<'_, ()>>) {
    poll_fn(|cx| {
        futures.retain_mut(|f| f.as_mut().poll(cx).is_pending());
        if futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_addresses_are_bounded_and_the_last_used_stay() {
        let states = AddressStates::default();
        let none = EndpointPolicy::default();
        let get = |address: &str, most: usize| states.get(address, most, &none);
        let a = get("a", 2);
        get("b", 2);
        assert!(Arc::ptr_eq(&a, &get("a", 2)));
        get("c", 2);
        assert!(Arc::ptr_eq(&a, &get("a", 2)), "b was used longest ago");
        get("b", 2);
        get("c", 2);
        assert!(!Arc::ptr_eq(&a, &get("a", 2)));
        get("x", 0);
        assert!(states.0.lock().unwrap().is_empty());
    }

    #[test]
    fn limits_of_addresses_hold_while_requests_are_under_way() {
        let states = AddressStates::default();
        let policy = EndpointPolicy {
            max_connections: Some(1),
            ..EndpointPolicy::default()
        };
        let get = |address: &str| states.get(address, 0, &policy);
        let a = get("a");
        get("b");
        assert!(Arc::ptr_eq(&a, &get("a")));
        assert_eq!(a.breaker().map(Breaker::load), Some((0, 0)));
        drop(a);
        get("b");
        assert_eq!(states.0.lock().unwrap().len(), 1, "b, which is asked for");
    }
}
