//! What a group may do beyond the reference: outlier detection, least request, consistent hashing,
//! slow start, retry budget and back-off. Absent unless it is set; nothing of it runs by itself,
//! messages move it.

use super::attempts::Refused;
use super::policy::PolicyDef;
use super::weighted::Algorithm;
use super::{Endpoint, GroupState, Names, SendContext, Sent};
use crate::expr::Expr;
use crate::message::{Fault, Message, header_text};
use crate::metrics::Counter;
use crate::settings::{EndpointPolicy, LbPolicy};
use http::HeaderName;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// State of a group's children; kept over reloads while the group stays the same.
#[derive(Debug, Default)]
pub struct BalanceState {
    children: Mutex<Children>,
    /// Messages under way.
    active: AtomicUsize,
    /// Of these, at their second or a later attempt.
    retrying: AtomicUsize,
    /// Ejections so far.
    pub ejections: Counter,
    /// Attempts that the retry budget did not allow.
    pub refused: Counter,
}

/// One child.
#[derive(Clone, Debug, Default)]
struct Child {
    active: u32,
    /// Failures in a row.
    consecutive: u32,
    good: u64,
    bad: u64,
    /// Ejected until then, ms; 0 is in use.
    ejected_until: u64,
    /// Multiplies the next ejection.
    times: u32,
    /// It could not be chosen when it was last looked at.
    away: bool,
    /// When it came back, ms; `None` has always been there.
    back_since: Option<u64>,
}

#[derive(Debug, Default)]
struct Children {
    list: Vec<Child>,
    cursor: usize,
    /// Start of the interval of outlier detection, ms.
    window: u64,
}

/// An ejection, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ejected {
    child: usize,
    for_ms: u64,
}

/// The policy of one group as it runs.
#[derive(Debug)]
pub struct Balance {
    policy: EndpointPolicy,
    header: Option<HeaderName>,
    hash: Option<Arc<Expr>>,
    state: Arc<BalanceState>,
}

/// A message under way in a group.
pub struct Underway<'a> {
    balance: &'a Balance,
    attempts: u32,
    retrying: bool,
    /// The key of consistent hashing.
    key: Option<u64>,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let state = &self.balance.state;
        state.active.fetch_sub(1, Ordering::Relaxed);
        if self.retrying {
            state.retrying.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A request under way at a child.
pub struct At<'a> {
    balance: &'a Balance,
    child: usize,
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        let mut children = self.balance.lock();
        if let Some(child) = children.list.get_mut(self.child) {
            child.active = child.active.saturating_sub(1);
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Children {
    /// Looks at who is ready: children that come back are remembered. Gives those that may be
    /// chosen, or all that are ready when every one of these is ejected: a message that can be sent
    /// is sent.
    fn usable(&mut self, ready: &[bool], now: u64) -> (Vec<bool>, Vec<usize>) {
        self.list.resize_with(ready.len(), Child::default);
        let mut returned = Vec::new();
        let mut usable = Vec::with_capacity(ready.len());
        for (index, (child, ready)) in self.list.iter_mut().zip(ready).enumerate() {
            if child.ejected_until != 0 && child.ejected_until <= now {
                child.ejected_until = 0;
                returned.push(index);
            }
            let here = *ready && child.ejected_until == 0;
            if here && child.away {
                child.back_since = Some(now);
            }
            child.away = !here;
            usable.push(here);
        }
        if !usable.contains(&true) {
            usable.copy_from_slice(ready);
        }
        (usable, returned)
    }

    /// The share of a child that came back a while ago: 1 is a full one.
    fn weight(&self, child: usize, policy: &EndpointPolicy, now: u64) -> f64 {
        let (Some(window), Some(since)) = (
            policy.slow_start.map(ms),
            self.list.get(child).and_then(|c| c.back_since),
        ) else {
            return 1.0;
        };
        // Times of seconds; no precision is needed.
        #[allow(clippy::cast_precision_loss)]
        let part = now.saturating_sub(since) as f64 / window.max(1) as f64;
        part.clamp(f64::from(policy.slow_start_least) / 100.0, 1.0)
    }

    /// The next one. `chance` gives numbers from 0 to 1.
    fn pick(
        &mut self,
        policy: &EndpointPolicy,
        usable: &[bool],
        key: Option<(u64, &[u64])>,
        now: u64,
        mut chance: impl FnMut() -> f64,
    ) -> Option<usize> {
        let count = usable.len();
        let from = self.cursor;
        let order = (0..count)
            .map(|n| (from + n) % count)
            .filter(|i| usable.get(*i) == Some(&true));
        match (policy.lb_policy, key) {
            (LbPolicy::RingHash, Some((key, names))) => order.max_by_key(|i| {
                let mut hasher = DefaultHasher::new();
                (key, names.get(*i)).hash(&mut hasher);
                hasher.finish()
            }),
            (LbPolicy::LeastRequest, _) => {
                let load = |i: usize| {
                    let active = self.list.get(i).map_or(0, |c| c.active);
                    (f64::from(active) + 1.0) / self.weight(i, policy, now)
                };
                let found = order.min_by(|a, b| load(*a).total_cmp(&load(*b)))?;
                self.cursor = (found + 1) % count;
                Some(found)
            }
            _ => {
                let mut last = None;
                for index in order {
                    last = Some(index);
                    let weight = self.weight(index, policy, now);
                    if weight >= 1.0 || chance() < weight {
                        break;
                    }
                }
                self.cursor = (last? + 1) % count;
                last
            }
        }
    }

    /// Takes an outcome; says who is ejected for it.
    fn outcome(
        &mut self,
        policy: &EndpointPolicy,
        at: usize,
        good: bool,
        now: u64,
    ) -> Vec<Ejected> {
        let mut out = Vec::new();
        let Some(child) = self.list.get_mut(at) else {
            return out;
        };
        if good {
            child.good += 1;
            child.consecutive = 0;
        } else {
            child.bad += 1;
            child.consecutive = child.consecutive.saturating_add(1);
            let limit = policy.consecutive_5xx;
            if limit.is_some_and(|limit| child.consecutive >= limit) {
                out.extend(self.eject(policy, at, now));
            }
        }
        if now.saturating_sub(self.window) >= ms(policy.outlier_interval) {
            self.window = now;
            for index in 0..self.list.len() {
                out.extend(self.end_of_interval(policy, index, now));
            }
        }
        out
    }

    fn end_of_interval(
        &mut self,
        policy: &EndpointPolicy,
        index: usize,
        now: u64,
    ) -> Option<Ejected> {
        let child = self.list.get_mut(index)?;
        let (good, bad) = (child.good, child.bad);
        (child.good, child.bad) = (0, 0);
        let failing = policy.failure_percentage.is_some_and(|limit| {
            good + bad >= u64::from(policy.failure_volume)
                && bad * 100 >= u64::from(limit) * (good + bad)
        });
        if failing {
            return self.eject(policy, index, now);
        }
        // A quiet interval shortens the next ejection.
        if child.ejected_until == 0 {
            child.times = child.times.saturating_sub(1);
        }
        None
    }

    fn eject(&mut self, policy: &EndpointPolicy, at: usize, now: u64) -> Option<Ejected> {
        let count = self.list.len();
        let out = self.list.iter().filter(|c| c.ejected_until > now).count();
        let most = usize::try_from(policy.max_ejection_percent).unwrap_or(100) * count / 100;
        let child = self.list.get_mut(at)?;
        // One may always be ejected, but never the last one.
        if child.ejected_until > now || out >= most.max(1) || out + 1 >= count {
            return None;
        }
        child.times = child.times.saturating_add(1);
        child.consecutive = 0;
        let for_ms = ms(policy.base_ejection)
            .saturating_mul(u64::from(child.times))
            .min(ms(policy.max_ejection))
            .max(1);
        child.ejected_until = now.saturating_add(for_ms);
        Some(Ejected { child: at, for_ms })
    }
}

impl Balance {
    /// The policy of a group; `None` when it does what the reference does.
    pub fn link(
        def: &PolicyDef,
        names: &mut dyn Names,
        path: &str,
        fingerprint: u64,
    ) -> Option<Box<Balance>> {
        let policy = def.link(names);
        policy.balances().then(|| {
            Box::new(Balance {
                header: policy.hash_header.as_deref().and_then(|h| h.parse().ok()),
                hash: def.hash.clone(),
                policy,
                state: names.stores().balance(path, fingerprint),
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.state
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A message begins its way through the group.
    ///
    /// # Errors
    /// When the key of consistent hashing throws, or needs a body that is broken.
    pub async fn begin<'a>(
        &'a self,
        cx: &SendContext<'_>,
        message: &mut Message,
    ) -> Result<Underway<'a>, Fault> {
        let key = match self.policy.lb_policy {
            LbPolicy::RingHash => self.key(cx, message).await?,
            _ => None,
        };
        self.state.active.fetch_add(1, Ordering::Relaxed);
        Ok(Underway {
            balance: self,
            attempts: 0,
            retrying: false,
            key,
        })
    }

    async fn key(&self, cx: &SendContext<'_>, message: &mut Message) -> Result<Option<u64>, Fault> {
        let text = match (&self.hash, &self.header) {
            (Some(expr), _) => {
                if expr.needs_body() {
                    message.build(&cx.services.limits).await?;
                }
                expr.string(&cx.scope(message))?
            }
            (None, Some(header)) => message
                .headers
                .get(header)
                .map(|value| header_text(value).to_owned()),
            (None, None) => None,
        };
        Ok(text.filter(|t| !t.is_empty()).map(|text| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        }))
    }

    /// The group's state, for lists.
    pub fn describe(&self, children: &[Arc<Endpoint>], now: u64) -> Balanced {
        let state = self.lock();
        let rows = children
            .iter()
            .zip(&state.list)
            .map(|(child, state)| BalanceRow {
                name: child.label().to_owned(),
                active_requests: state.active,
                ejected_for_ms: (state.ejected_until > now).then(|| state.ejected_until - now),
            });
        Balanced {
            ejections: self.state.ejections.get(),
            retries_refused: self.state.refused.get(),
            children: rows.collect(),
        }
    }

    fn log_return(children: &[Arc<Endpoint>], returned: &[usize]) {
        for child in returned.iter().filter_map(|i| children.get(*i)) {
            let name = child.label();
            tracing::info!(
                target: "EndpointContext",
                endpoint = name, address = "", from = "EJECTED", to = "ACTIVE", code = 0, retry_in_ms = 0,
                "Endpoint : {name} is no longer ejected"
            );
        }
    }
}

/// What a group with a policy of its own has done.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Balanced {
    /// Ejections so far.
    pub ejections: u64,
    /// Attempts that the retry budget did not allow.
    pub retries_refused: u64,
    /// Its children, once a message has come.
    pub children: Vec<BalanceRow>,
}

/// A child in the list of a group.
#[derive(Clone, Debug, serde::Serialize)]
pub struct BalanceRow {
    /// Its name.
    pub name: String,
    /// Requests under way.
    pub active_requests: u32,
    /// Outlier detection has ejected it for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
}

/// Which children may be asked: those that are ready, and have not refused this request.
fn ready(children: &[Arc<Endpoint>], cx: &SendContext<'_>, refused: &Refused<'_>) -> Vec<bool> {
    children
        .iter()
        .map(|c| !refused.contains(c) && c.kind.is_ready(cx))
        .collect()
}

impl<'a> Underway<'a> {
    /// The next child of a load-balance group.
    pub(super) fn pick<'e>(
        &self,
        children: &'e [Arc<Endpoint>],
        algorithm: &Algorithm,
        group: &GroupState,
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        let now = cx.services.clock.now();
        let ready = ready(children, cx, refused);
        let mut state = self.balance.lock();
        let (usable, returned) = state.usable(&ready, now);
        let index = if algorithm.is_weighted() {
            drop(state);
            algorithm.pick_index(group, &usable)
        } else {
            let names: Vec<u64> = match self.key {
                Some(_) => children.iter().map(|c| c.fingerprint).collect(),
                None => Vec::new(),
            };
            let key = self.key.map(|key| (key, names.as_slice()));
            state.pick(&self.balance.policy, &usable, key, now, fastrand::f64)
        };
        Balance::log_return(children, &returned);
        children.get(index?)
    }

    /// The first child of a failover group that may be chosen.
    pub(super) fn first<'e>(
        &self,
        children: &'e [Arc<Endpoint>],
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        let ready = ready(children, cx, refused);
        let (usable, returned) = self.balance.lock().usable(&ready, cx.services.clock.now());
        Balance::log_return(children, &returned);
        children.get(usable.iter().position(|usable| *usable)?)
    }

    /// Counts a request under way at a child.
    pub fn at(&self, children: &[Arc<Endpoint>], child: &Arc<Endpoint>) -> Option<At<'a>> {
        let index = children.iter().position(|c| Arc::ptr_eq(c, child))?;
        let mut state = self.balance.lock();
        state.list.get_mut(index)?.active += 1;
        Some(At {
            balance: self.balance,
            child: index,
        })
    }

    /// Takes the outcome of a child; with `failover`, asks whether another one may be tried after a
    /// failure.
    pub async fn done(
        &mut self,
        cx: &SendContext<'_>,
        children: &[Arc<Endpoint>],
        at: Option<At<'a>>,
        message: &Message,
        outcome: &mut Result<Sent, Fault>,
        failover: bool,
    ) {
        let index = at.as_ref().map(|at| at.child);
        drop(at);
        let (good, code) = match outcome {
            Ok(_) => {
                let status = message.status.unwrap_or(200);
                (status < 500, u32::from(status))
            }
            // It says nothing about the child.
            Err(fault) if !fault.retry && !fault.blamed => return,
            Err(fault) => (false, fault.code),
        };
        if let Some(index) = index
            && self.balance.policy.detects()
        {
            self.judge(cx, children, index, good, code);
        }
        if failover
            && let Err(fault) = outcome
            && fault.retry
            && let Some(child) = index.and_then(|i| children.get(i))
            && child.kind.retryable(fault.code)
            && !self.again().await
        {
            fault.retry = false;
        }
    }

    fn judge(
        &self,
        cx: &SendContext<'_>,
        children: &[Arc<Endpoint>],
        index: usize,
        good: bool,
        code: u32,
    ) {
        let now = cx.services.clock.now();
        let policy = &self.balance.policy;
        let ejected = self.balance.lock().outcome(policy, index, good, now);
        for Ejected { child, for_ms } in ejected {
            self.balance.state.ejections.add();
            let name = children.get(child).map_or("", |c| c.label());
            tracing::warn!(
                target: "EndpointContext",
                endpoint = name, address = "", from = "ACTIVE", to = "EJECTED", code, retry_in_ms = for_ms,
                "Endpoint : {name} is ejected by outlier detection for {for_ms}ms"
            );
        }
    }

    /// Whether the budget allows another attempt; waits as the back-off says.
    async fn again(&mut self) -> bool {
        let (policy, state) = (&self.balance.policy, &self.balance.state);
        if let (Some(percent), false) = (policy.retry_percent, self.retrying) {
            let active = state.active.load(Ordering::Relaxed);
            let percent = usize::try_from(percent).unwrap_or(100);
            let least = usize::try_from(policy.retry_least).unwrap_or(0);
            let most = (active * percent / 100).max(least);
            if state.retrying.fetch_add(1, Ordering::Relaxed) >= most {
                state.retrying.fetch_sub(1, Ordering::Relaxed);
                state.refused.add();
                return false;
            }
            self.retrying = true;
        }
        self.attempts = self.attempts.saturating_add(1);
        if let Some(wait) = longest_wait(policy, self.attempts) {
            tokio::time::sleep(wait.mul_f64(fastrand::f64())).await;
        }
        true
    }
}

/// The longest wait before this retry: the base times 2^n - 1, at most the maximum.
fn longest_wait(policy: &EndpointPolicy, retry: u32) -> Option<Duration> {
    let base = policy.back_off?;
    let most = policy.max_back_off.unwrap_or(base.saturating_mul(10));
    let factor = 1_u32.checked_shl(retry).map_or(u32::MAX, |n| n - 1);
    Some(base.saturating_mul(factor).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pairs: &[(&str, &str)]) -> EndpointPolicy {
        let mut policy = EndpointPolicy::default();
        for (name, text) in pairs {
            policy.set(name, text).unwrap();
        }
        policy
    }

    fn group(count: usize) -> Children {
        Children {
            list: vec![Child::default(); count],
            ..Children::default()
        }
    }

    fn run(
        group: &mut Children,
        policy: &EndpointPolicy,
        ready: &[bool],
        now: u64,
        times: usize,
    ) -> String {
        (0..times)
            .map(|_| {
                let (usable, _) = group.usable(ready, now);
                let index = group.pick(policy, &usable, None, now, || 0.5);
                index.map_or('-', |i| ['A', 'B', 'C', 'D'][i])
            })
            .collect()
    }

    #[test]
    fn failures_in_a_row_eject_and_the_time_grows() {
        let policy = policy(&[
            ("outlier_detection.consecutive_5xx", "3"),
            ("outlier_detection.base_ejection_time", "10s"),
            ("outlier_detection.max_ejection_time", "15s"),
        ]);
        let mut group = group(3);
        let ready = [true; 3];
        for good in [false, false, true, false, false] {
            assert_eq!(group.outcome(&policy, 1, good, 0), []);
        }
        let ejected = |for_ms| [Ejected { child: 1, for_ms }];
        assert_eq!(group.outcome(&policy, 1, false, 0), ejected(10_000));
        assert_eq!(run(&mut group, &policy, &ready, 9_999, 4), "ACAC");
        assert_eq!(run(&mut group, &policy, &ready, 10_000, 3), "ABC");
        // The next one is longer, up to the maximum.
        for _ in 0..2 {
            assert_eq!(group.outcome(&policy, 1, false, 9_000), []);
        }
        assert_eq!(group.outcome(&policy, 1, false, 9_000), ejected(15_000));
    }

    #[test]
    fn never_more_are_ejected_than_may_be() {
        let mut settings = vec![("outlier_detection.consecutive_5xx", "1")];
        let eject_all = |policy: &EndpointPolicy, count: usize| {
            let mut group = group(count);
            (0..count)
                .filter(|i| !group.outcome(policy, *i, false, 1).is_empty())
                .count()
        };
        assert_eq!(eject_all(&policy(&settings), 4), 1);
        assert_eq!(eject_all(&policy(&settings), 1), 0);
        settings.push(("outlier_detection.max_ejection_percent", "50"));
        assert_eq!(eject_all(&policy(&settings), 4), 2);
        settings.push(("outlier_detection.max_ejection_percent", "100"));
        assert_eq!(eject_all(&policy(&settings), 4), 3);
    }

    #[test]
    fn a_rate_of_failures_ejects_at_the_end_of_an_interval() {
        let policy = policy(&[
            ("outlier_detection.failure_percentage_threshold", "50"),
            ("outlier_detection.failure_percentage_request_volume", "10"),
            ("outlier_detection.interval", "1s"),
        ]);
        let mut group = group(2);
        group.window = 5_000;
        for n in 0..20 {
            assert_eq!(group.outcome(&policy, 0, n % 2 == 0, 5_500), []);
            assert_eq!(group.outcome(&policy, 1, n % 4 != 0, 5_500), []);
        }
        let ejected = group.outcome(&policy, 1, true, 6_000);
        assert_eq!(
            ejected,
            [Ejected {
                child: 0,
                for_ms: 30_000
            }]
        );
        // Too few requests say nothing.
        assert_eq!(group.outcome(&policy, 1, false, 7_000), []);
    }

    #[test]
    fn ejected_children_are_the_last_resort() {
        let policy = policy(&[("outlier_detection.consecutive_5xx", "1")]);
        let mut group = group(2);
        assert_eq!(group.outcome(&policy, 0, false, 1).len(), 1);
        assert_eq!(run(&mut group, &policy, &[true, true], 2, 2), "BB");
        assert_eq!(run(&mut group, &policy, &[true, false], 2, 2), "AA");
        assert_eq!(run(&mut group, &policy, &[false, false], 2, 1), "-");
    }

    #[test]
    fn least_request_takes_the_idlest() {
        let policy = policy(&[("lb_policy", "LEAST_REQUEST")]);
        let mut group = group(3);
        for (child, active) in group.list.iter_mut().zip([2, 0, 1]) {
            child.active = active;
        }
        assert_eq!(run(&mut group, &policy, &[true; 3], 0, 2), "BB");
        assert_eq!(run(&mut group, &policy, &[true, false, true], 0, 1), "C");
        group.list[0].active = 0;
        group.list[2].active = 0;
        let picks = run(&mut group, &policy, &[true; 3], 0, 6);
        for name in ["A", "B", "C"] {
            assert_eq!(picks.matches(name).count(), 2, "{picks}: equals take turns");
        }
    }

    #[test]
    fn a_hash_moves_only_the_keys_of_who_is_gone() {
        let policy = policy(&[("lb_policy", "RING_HASH")]);
        let mut group = group(4);
        let names = [11, 22, 33, 44];
        let mut choose = |key: u64, usable: &[bool]| {
            let picked = group.pick(&policy, usable, Some((key, &names)), 0, || 0.5);
            picked.unwrap()
        };
        let mut counts = [0; 4];
        for key in 0..4000 {
            let all = choose(key, &[true; 4]);
            counts[all] += 1;
            let fewer = choose(key, &[true, true, false, true]);
            assert!(fewer == all || all == 2, "{key}: {all} to {fewer}");
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }

    #[test]
    fn who_comes_back_starts_slowly() {
        let policy = policy(&[("slow_start.slow_start_window", "10s")]);
        let mut group = group(2);
        let both = [true, true];
        // At the start all are full members.
        assert_eq!(run(&mut group, &policy, &both, 0, 4), "ABAB");
        assert_eq!(run(&mut group, &policy, &[true, false], 1_000, 2), "AA");
        // B is back with less than half of its share, then with more; the chance is 0.5 here.
        assert_eq!(run(&mut group, &policy, &both, 2_000, 4), "AAAA");
        assert_eq!(run(&mut group, &policy, &both, 6_900, 2), "AA");
        assert_eq!(run(&mut group, &policy, &both, 7_100, 4), "BABA");
        // When nobody else is there it takes all.
        assert_eq!(run(&mut group, &policy, &[false, true], 7_200, 2), "BB");
    }

    #[test]
    fn a_weight_grows_with_time() {
        let policy = policy(&[("slow_start.slow_start_window", "10s")]);
        let mut group = group(1);
        group.list[0].back_since = Some(1_000);
        let weights =
            [1_000, 3_000, 6_000, 11_000, 60_000].map(|now| group.weight(0, &policy, now));
        assert_eq!(weights, [0.1, 0.2, 0.5, 1.0, 1.0]);
    }

    fn balance(pairs: &[(&str, &str)]) -> Balance {
        Balance {
            policy: policy(pairs),
            header: None,
            hash: None,
            state: Arc::default(),
        }
    }

    fn underway(balance: &Balance) -> Underway<'_> {
        balance.state.active.fetch_add(1, Ordering::Relaxed);
        Underway {
            balance,
            attempts: 0,
            retrying: false,
            key: None,
        }
    }

    #[tokio::test]
    async fn the_retry_budget_bounds_retries_at_one_time() {
        let balance = balance(&[
            ("retry_budget.budget_percent", "20"),
            ("retry_budget.min_retry_concurrency", "1"),
        ]);
        let mut messages: Vec<_> = (0..11).map(|_| underway(&balance)).collect();
        let mut allowed = Vec::new();
        for message in &mut messages {
            allowed.push(message.again().await);
        }
        // 20 % of eleven.
        assert_eq!(allowed.iter().filter(|a| **a).count(), 2);
        assert_eq!(balance.state.refused.get(), 9);
        // Who retries already may go on; when it ends, another one may.
        assert!(messages[0].again().await);
        messages.remove(0);
        assert!(messages[5].again().await);
        drop(messages);
        assert_eq!(balance.state.active.load(Ordering::Relaxed), 0);
        assert_eq!(balance.state.retrying.load(Ordering::Relaxed), 0);
        // At least as many as the minimum.
        assert!(underway(&balance).again().await);
    }

    #[tokio::test(start_paused = true)]
    async fn back_off_doubles_up_to_its_maximum() {
        let balance = balance(&[
            ("retry_back_off.base_interval", "100"),
            ("retry_back_off.max_interval", "500"),
        ]);
        let longest: Vec<_> = (1..6)
            .map(|n| longest_wait(&balance.policy, n).unwrap().as_millis())
            .collect();
        assert_eq!(longest, [100, 300, 500, 500, 500]);
        assert!(longest_wait(&balance.policy, 40).is_some());
        let mut message = underway(&balance);
        for longest in longest {
            let started = tokio::time::Instant::now();
            assert!(message.again().await);
            assert!(started.elapsed().as_millis() <= longest + 1);
        }
    }
}
