//! Runtime state of endpoints and mediators that survives a reload, keyed by where the artifact is and by a
//! fingerprint of its definition (design §1.3).

use super::balance::BalanceState;
use super::bindings::Sessions;
use super::breaker::Breaker;
use super::http::Tokens;
use super::member::MemberState;
use super::recipients::AddressStates;
use super::state::{Phase, State};
use super::weighted::Turn;
use super::wsdl::Fetched;
use super::{ANONYMOUS, Described};
use crate::metrics::{Counter, Failures, Requests};
use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// State of one leaf. The flag lets the message path skip the lock while all is well.
#[derive(Debug, Default)]
pub struct LeafState {
    /// Not in its first, healthy state.
    pub troubled: AtomicBool,
    /// The state.
    pub state: Mutex<State>,
    /// Its health checks fail.
    pub unhealthy: AtomicBool,
    /// Limits of requests under way; `None` inside when there are none.
    pub breaker: OnceLock<Option<Breaker>>,
    /// What happened to it.
    pub counts: LeafCounts,
}

impl LeafState {
    /// Its limits.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.get()?.as_ref()
    }

    /// The state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the flag of trouble from a state that was changed.
    pub fn mark(&self, state: &State) {
        let troubled = state.phase != Phase::Active || self.unhealthy.load(Ordering::Acquire);
        self.troubled.store(troubled, Ordering::Release);
    }
}

/// What happened to a leaf since it was deployed.
#[derive(Debug, Default)]
pub struct LeafCounts {
    /// Requests that were to go out.
    pub attempts: Counter,
    /// Attempts without an answer.
    pub failures: Failures,
    /// Changes to ACTIVE, TIMEOUT, SUSPENDED and MAINTNENCE.
    pub changes: [Counter; 4],
    /// Changes of what its health checks say.
    pub health_changes: Counter,
}

impl LeafCounts {
    /// Counts a change of state.
    pub fn changed(&self, to: Phase) {
        if let Some(counter) = self.changes.get(to as usize) {
            counter.add();
        }
    }
}

/// State of one group.
#[derive(Debug, Default)]
pub struct GroupState {
    /// Round-robin cursor.
    pub cursor: Mutex<usize>,
    /// Whose turn it is in a weighted group.
    pub turn: Mutex<Turn>,
    /// The child that a static failover group uses.
    pub current: AtomicUsize,
    off: AtomicBool,
    /// How often it was switched on and off.
    switched: [Counter; 2],
}

impl GroupState {
    /// Whether it was switched off by hand.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    /// Switches it off or on by hand (spec 02 §7.8); its children stay as they are.
    pub fn switch(&self, name: Option<&str>, on: bool) {
        if self.off.swap(!on, Ordering::AcqRel) != on {
            return;
        }
        let name = name.unwrap_or(ANONYMOUS);
        let (from, to) = (word(!on), word(on));
        self.switched[usize::from(on)].add();
        tracing::warn!(
            target: "EndpointContext",
            endpoint = name, address = "", from, to, code = 0, retry_in_ms = 0,
            "Endpoint : {name} is switched {}", if on { "On" } else { "Off" }
        );
    }

    /// The row of the group in the endpoint list.
    pub fn described(&self, name: Option<&str>, path: &str) -> Described {
        Described {
            name: name.unwrap_or(ANONYMOUS).to_owned(),
            state: Some(word(!self.is_off())),
            path: path.to_owned(),
            switched: [false, true]
                .map(|on| (word(on), self.switched[usize::from(on)].get()))
                .into_iter()
                .filter(|(_, times)| *times > 0)
                .collect(),
            ..Described::default()
        }
    }
}

/// The state word of a group.
fn word(on: bool) -> &'static str {
    if on { Phase::Active } else { Phase::Off }.word()
}

#[derive(Debug)]
struct Kept {
    fingerprint: u64,
    value: Arc<dyn Any + Send + Sync>,
    used: bool,
}

/// What waiting groups of messages hold in memory, over all mediators.
#[derive(Debug, Default)]
pub struct Held {
    /// Groups that wait for further messages.
    pub groups: AtomicUsize,
    /// Their size in bytes, counted roughly.
    pub bytes: AtomicUsize,
}

/// All runtime state of endpoints and mediators. A link asks for what it needs; what the new plan did not ask
/// for is dropped by [`Stores::sweep`].
#[derive(Debug, Default)]
pub struct Stores {
    kept: Mutex<HashMap<String, Kept>>,
    held: Arc<Held>,
}

impl Stores {
    /// The state of a key, as it was when the fingerprint is the same, else a new one.
    pub fn get<T: Default + Send + Sync + 'static>(&self, key: String, fingerprint: u64) -> Arc<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.get_mut(&key)
            && entry.fingerprint == fingerprint
            && let Ok(value) = entry.value.clone().downcast::<T>()
        {
            entry.used = true;
            return value;
        }
        let value = Arc::new(T::default());
        kept.insert(
            key,
            Kept {
                fingerprint,
                value: value.clone(),
                used: true,
            },
        );
        value
    }

    /// What waiting groups hold.
    pub fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// The state of a leaf.
    pub fn leaf(&self, path: &str, fingerprint: u64) -> Arc<LeafState> {
        self.get(format!("leaf {path}"), fingerprint)
    }

    /// The state of a group.
    pub fn group(&self, path: &str, fingerprint: u64) -> Arc<GroupState> {
        self.get(format!("group {path}"), fingerprint)
    }

    /// What the policy of a group knows of its children.
    pub fn balance(&self, path: &str, fingerprint: u64) -> Arc<BalanceState> {
        self.get(format!("balance {path}"), fingerprint)
    }

    /// Whether a member of a load-balance group is in use.
    pub fn member(&self, path: &str, fingerprint: u64) -> Arc<MemberState> {
        self.get(format!("member {path}"), fingerprint)
    }

    /// The states of addresses that a dynamic recipient list has met.
    pub fn recipients(&self, path: &str, fingerprint: u64) -> Arc<AddressStates> {
        self.get(format!("recipients {path}"), fingerprint)
    }

    /// The sessions of a session group. They survive a change of the group: a session whose child
    /// is gone is an unknown session.
    pub fn sessions(&self, path: &str) -> Arc<Sessions> {
        self.get(format!("sessions {path}"), 0)
    }

    /// State of another kind, such as a mediator's: one value for each kind and path while the
    /// fingerprint stays the same.
    pub fn shared<T: Default + Send + Sync + 'static>(
        &self,
        kind: &str,
        path: &str,
        fingerprint: u64,
    ) -> Arc<T> {
        self.get(format!("{kind} {path}"), fingerprint)
    }

    /// The counts of a service's requests.
    pub fn requests(&self, path: &str) -> Arc<Requests> {
        self.get(format!("requests {path}"), 0)
    }

    /// The OAuth tokens of an http endpoint.
    pub fn tokens(&self, path: &str, fingerprint: u64) -> Arc<Tokens> {
        self.get(format!("tokens {path}"), fingerprint)
    }

    /// What was read from the URL of a WSDL endpoint.
    pub fn wsdl(&self, path: &str, fingerprint: u64) -> Arc<Fetched> {
        self.get(format!("wsdl {path}"), fingerprint)
    }

    /// Before a link: nothing is in use.
    pub fn begin(&self) {
        for entry in self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values_mut()
        {
            entry.used = false;
        }
    }

    /// After a link: drops what nothing asked for.
    pub fn sweep(&self) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, entry| entry.used);
    }

    /// How many states are kept.
    pub fn len(&self) -> usize {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{Caps, Change, FailureConfig};
    use super::*;

    #[test]
    fn failures_at_one_time_are_each_judged_once() {
        let config = FailureConfig {
            mark_codes: vec![101_504],
            retries: 1000,
            ..FailureConfig::default()
        };
        let leaf = LeafState::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut state = leaf.lock();
                        state.on_failure(&config, &Caps::default(), false, 101_504, 0);
                        leaf.mark(&state);
                    }
                });
            }
        });
        let change = leaf
            .lock()
            .on_failure(&config, &Caps::default(), false, 101_504, 0);
        assert_eq!(change, Change::Timeout { remaining: 199 });
        assert!(leaf.troubled.load(Ordering::Acquire));
    }
}
