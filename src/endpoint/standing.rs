//! How a leaf stands: whether it may be used, what an outcome or a hand changes, how it is listed
//! (spec 02 §7).

use super::leaf::{Destination, Leaf, UNHEALTHY};
use super::state::{Change, Phase};
use super::{Counts, Described, Load, Parent, SendContext, Waiting, own_fault};
use crate::clock::iso;
use crate::message::fault::codes;
use crate::message::{Fault, Message};
use crate::transport::http::Target;
use std::sync::atomic::Ordering;

impl Leaf {
    /// Whether a group may choose it: one whose limits are used up only refuses.
    pub fn is_ready(&self, now: u64) -> bool {
        self.is_in_use(now) && self.state.breaker().is_none_or(|b| !b.is_full())
    }

    /// Whether its state lets a message through.
    fn is_in_use(&self, now: u64) -> bool {
        !self.state.troubled.load(Ordering::Acquire)
            || (!self.state.is_unhealthy() && self.state.lock().is_ready(now))
    }

    /// The state word: of the hand that switched it off, else of its health checks, else of its
    /// messages.
    fn word(&self) -> &'static str {
        let phase = self.state.lock().phase;
        if phase != Phase::Off && self.state.is_unhealthy() {
            return UNHEALTHY;
        }
        phase.word()
    }

    /// The row of the endpoint list.
    pub fn described(&self, kind: &'static str, address: Option<String>, now: u64) -> Described {
        let word = self.word();
        let state = self.state.lock();
        Described {
            name: self.label().to_owned(),
            kind,
            address,
            state: Some(word),
            retry_in_ms: matches!(state.phase, Phase::Timeout | Phase::Suspended)
                .then(|| state.next_retry.saturating_sub(now)),
            path: self.path.to_string(),
            counts: Some(self.counts()),
            load: self.state.breaker().map(|breaker| {
                let (requests, pending) = breaker.load();
                Load { requests, pending }
            }),
            ..Described::default()
        }
    }

    fn counts(&self) -> Counts {
        let counts = &self.state.counts;
        Counts {
            attempts: counts.attempts.get(),
            failures: counts
                .failures
                .counts()
                .map(|(code, n)| (code.map_or_else(|| "other".into(), |c| c.to_string()), n))
                .collect(),
            state_changes: Phase::ALL
                .iter()
                .zip(&counts.changes)
                .map(|(phase, n)| (phase.word(), n.get()))
                .filter(|(_, n)| *n > 0)
                .collect(),
            health_changes: self.check.as_ref().map(|_| counts.health_changes.get()),
        }
    }

    /// Checks readiness of a leaf without parent (spec 02 §7.4).
    ///
    /// # Errors
    /// 303001 when it is suspended or off.
    pub fn check_ready(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        parent: Parent,
    ) -> Result<(), Fault> {
        // The time is only asked for when it matters.
        if parent != Parent::Root
            || !self.state.troubled.load(Ordering::Acquire)
            || self.is_in_use(cx.services.clock.now())
            || cx.waiting == Waiting::Callout && self.state.lock().phase != Phase::Off
        {
            return Ok(());
        }
        let comma = if self.def.word == "HTTP" { "," } else { " ," };
        let text = format!(
            "Currently{comma} {} endpoint : [ Name : {} ] [ State : {} ]",
            self.def.word,
            self.label(),
            self.word()
        );
        let fault = own_fault(message, codes::NOT_READY, text);
        Err(self.escalate(fault))
    }

    /// A response came.
    pub(super) fn succeeded(&self, destination: &Destination<'_>) {
        if !self.state.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        if let Change::Active { from } = state.on_success() {
            self.state.counts.changed(Phase::Active);
            tracing::info!(
                target: "EndpointContext",
                endpoint = self.label(),
                address = %destination.target(),
                from = from.word(),
                to = Phase::Active.word(),
                code = 0,
                retry_in_ms = 0,
                "Endpoint : {}{}currently {} will now be marked active since it processed its last message",
                self.label(), address_text(destination.target()), from.word()
            );
        }
        self.state.mark(&state);
    }

    /// An attempt failed.
    pub(super) fn failed(
        &self,
        cx: &SendContext<'_>,
        destination: &Destination<'_>,
        parent: Parent,
        code: u32,
    ) {
        let clock = &cx.services.clock;
        let now = clock.now();
        let mut state = self.state.lock();
        let from = state.phase.word();
        let change = state.on_failure(
            &self.failure,
            &self.caps,
            parent == Parent::Group,
            code,
            now,
        );
        self.state.troubled.store(true, Ordering::Release);
        let next = iso(clock.wall(state.next_retry));
        let (to, retry_in_ms) = (state.phase, state.next_retry.saturating_sub(now));
        drop(state);
        if !matches!(change, Change::None) {
            self.state.counts.changed(to);
        }
        let (name, address) = (self.label(), address_text(destination.target()));
        let (target, to) = (destination.target(), to.word());
        match change {
            Change::None | Change::Active { .. } => {}
            Change::Timeout { remaining } => tracing::warn!(
                target: "EndpointContext",
                endpoint = name, address = %target, from, to, code, retry_in_ms,
                "Endpoint : {name}{address}is marked as TIMEOUT and will be retried : {remaining} more time/s after : {next} until its marked SUSPENDED for failure"
            ),
            Change::Suspended {
                duration,
                last,
                no_retries_left,
            } => {
                if no_retries_left {
                    tracing::warn!(
                        target: "EndpointContext",
                        "Endpoint : {name}{address}has been marked for SUSPENSION, but no further retries remain. Thus it will be SUSPENDED."
                    );
                }
                match last {
                    None => tracing::warn!(
                            target: "EndpointContext",
                    endpoint = name, address = %target, from, to, code, retry_in_ms,
                            "Suspending endpoint : {name}{address}- current suspend duration is : {duration}ms - Next retry after : {next}"
                        ),
                    Some(last) => tracing::warn!(
                            target: "EndpointContext",
                    endpoint = name, address = %target, from, to, code, retry_in_ms,
                            "Suspending endpoint : {name}{address}- last suspend duration was : {last}ms and current suspend duration is : {duration}ms - Next retry after : {next}"
                        ),
                }
            }
        }
    }

    /// Switches it off or on by hand (spec 02 §7.8). On is fresh: every failure is forgotten.
    pub fn switch(&self, on: bool) {
        let mut state = self.state.lock();
        let from = state.phase;
        state.switch(on);
        let to = state.phase;
        self.state.mark(&state);
        drop(state);
        if from == to {
            return;
        }
        self.state.counts.changed(to);
        tracing::warn!(
            target: "EndpointContext",
            endpoint = self.label(),
            address = "",
            from = from.word(),
            to = to.word(),
            code = 0,
            retry_in_ms = 0,
            "Endpoint : {} is switched {}",
            self.label(),
            if on { "On" } else { "Off" }
        );
    }
}

fn address_text(target: &Target) -> String {
    format!(" with address {}{} ", target.key, target.path_and_query)
}
