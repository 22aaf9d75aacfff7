//! What an endpoint may have beyond the reference: health checks, outlier detection, balancing,
//! circuit breakers, retry budgets. All of it is off unless it is set, by `[myelin.endpoint]` or by
//! properties of an endpoint; names and meanings are Envoy's.

use super::units::{self, Unit};
use std::time::Duration;

/// Where a setting belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyLevel {
    /// An endpoint that sends.
    Leaf,
    /// A group of endpoints.
    Group,
}

/// How a load-balance group chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LbPolicy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The child with the fewest requests under way.
    LeastRequest,
    /// Equal keys go to one child; when a child goes, only its keys move.
    RingHash,
}

/// All settings. TOML section `[myelin.endpoint]`, each under the name given at the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// Path that is asked with GET; 200 is healthy. Default `None`: no checks.
    /// `health_check.path`.
    pub health_path: Option<String>,
    /// From one check to the next. Default 10 s. `health_check.interval`.
    pub health_interval: Duration,
    /// Longest wait for an answer to a check. Default 5 s. `health_check.timeout`.
    pub health_timeout: Duration,
    /// Up to how much of the interval is added at random, in percent. Default 10.
    /// `health_check.interval_jitter_percent`.
    pub health_jitter: u32,
    /// Failed checks in a row that make it unhealthy. Default 3. `health_check.unhealthy_threshold`.
    pub unhealthy_threshold: u32,
    /// Good checks in a row that make it healthy again. Default 2. `health_check.healthy_threshold`.
    pub healthy_threshold: u32,
    /// Most requests under way at an endpoint, each with a connection. Default `None`: no limit.
    /// `circuit_breakers.max_connections`.
    pub max_connections: Option<u32>,
    /// Most requests that wait for one of these connections. Default 1024.
    /// `circuit_breakers.max_pending_requests`.
    pub max_pending: u32,
    /// How a load-balance group chooses. Default `ROUND_ROBIN`. `lb_policy`.
    pub lb_policy: LbPolicy,
    /// Header whose value is the key of `RING_HASH`. Default `None`. `hash_policy.header`.
    pub hash_header: Option<String>,
    /// How long a child that came back gets fewer messages. Default `None`: not at all.
    /// `slow_start.slow_start_window`.
    pub slow_start: Option<Duration>,
    /// Its least share at first, in percent. Default 10. `slow_start.min_weight_percent`.
    pub slow_start_least: u32,
    /// Failures and 5xx answers in a row that eject a child. Default `None`: none do.
    /// `outlier_detection.consecutive_5xx`.
    pub consecutive_5xx: Option<u32>,
    /// Failures and 5xx answers of one interval that eject a child, in percent. Default `None`.
    /// `outlier_detection.failure_percentage_threshold`.
    pub failure_percentage: Option<u32>,
    /// Fewer requests of one interval say nothing. Default 50.
    /// `outlier_detection.failure_percentage_request_volume`.
    pub failure_volume: u32,
    /// The interval. Default 10 s. `outlier_detection.interval`.
    pub outlier_interval: Duration,
    /// The first ejection; the n-th is n times as long. Default 30 s.
    /// `outlier_detection.base_ejection_time`.
    pub base_ejection: Duration,
    /// The longest ejection. Default 300 s. `outlier_detection.max_ejection_time`.
    pub max_ejection: Duration,
    /// Most children that are ejected at one time, in percent; one may always be. Default 10.
    /// `outlier_detection.max_ejection_percent`.
    pub max_ejection_percent: u32,
    /// Second and later attempts at one time, in percent of the requests under way. Default
    /// `None`: no limit. `retry_budget.budget_percent`.
    pub retry_percent: Option<u32>,
    /// As many are always allowed. Default 3. `retry_budget.min_retry_concurrency`.
    pub retry_least: u32,
    /// Base of the random wait before another attempt, which doubles. Default `None`: no wait.
    /// `retry_back_off.base_interval`.
    pub back_off: Option<Duration>,
    /// The longest wait. Default ten times the base. `retry_back_off.max_interval`.
    pub max_back_off: Option<Duration>,
}

impl Default for EndpointPolicy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            health_path: None,
            health_interval: seconds(10),
            health_timeout: seconds(5),
            health_jitter: 10,
            unhealthy_threshold: 3,
            healthy_threshold: 2,
            max_connections: None,
            max_pending: 1024,
            lb_policy: LbPolicy::RoundRobin,
            hash_header: None,
            slow_start: None,
            slow_start_least: 10,
            consecutive_5xx: None,
            failure_percentage: None,
            failure_volume: 50,
            outlier_interval: seconds(10),
            base_ejection: seconds(30),
            max_ejection: seconds(300),
            max_ejection_percent: 10,
            retry_percent: None,
            retry_least: 3,
            back_off: None,
            max_back_off: None,
        }
    }
}

type Set = fn(&mut EndpointPolicy, &str) -> Result<(), String>;

/// Every name, where it belongs, and what sets it.
const NAMES: &[(&str, PolicyLevel, Set)] = {
    use PolicyLevel::{Group, Leaf};
    &[
        ("health_check.path", Leaf, |p, t| {
            if !t.starts_with('/') || t.parse::<http::uri::PathAndQuery>().is_err() {
                return Err("is not a path: it begins with /".into());
            }
            p.health_path = Some(t.to_owned());
            Ok(())
        }),
        ("health_check.interval", Leaf, |p, t| {
            time(t).map(|d| p.health_interval = d)
        }),
        ("health_check.timeout", Leaf, |p, t| {
            time(t).map(|d| p.health_timeout = d)
        }),
        ("health_check.interval_jitter_percent", Leaf, |p, t| {
            number(t, 0, 100).map(|n| p.health_jitter = n)
        }),
        ("health_check.unhealthy_threshold", Leaf, |p, t| {
            number(t, 1, 1000).map(|n| p.unhealthy_threshold = n)
        }),
        ("health_check.healthy_threshold", Leaf, |p, t| {
            number(t, 1, 1000).map(|n| p.healthy_threshold = n)
        }),
        ("circuit_breakers.max_connections", Leaf, |p, t| {
            number(t, 1, 1_000_000).map(|n| p.max_connections = Some(n))
        }),
        ("circuit_breakers.max_pending_requests", Leaf, |p, t| {
            number(t, 0, 1_000_000).map(|n| p.max_pending = n)
        }),
        ("lb_policy", Group, |p, t| {
            p.lb_policy = match t {
                "ROUND_ROBIN" => LbPolicy::RoundRobin,
                "LEAST_REQUEST" => LbPolicy::LeastRequest,
                "RING_HASH" => LbPolicy::RingHash,
                _ => return Err("is not one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH".into()),
            };
            Ok(())
        }),
        ("hash_policy.header", Group, |p, t| {
            if t.parse::<http::HeaderName>().is_err() {
                return Err("is not the name of a header".into());
            }
            p.hash_header = Some(t.to_owned());
            Ok(())
        }),
        ("slow_start.slow_start_window", Group, |p, t| {
            time(t).map(|d| p.slow_start = Some(d))
        }),
        ("slow_start.min_weight_percent", Group, |p, t| {
            number(t, 1, 100).map(|n| p.slow_start_least = n)
        }),
        ("outlier_detection.consecutive_5xx", Group, |p, t| {
            number(t, 1, 1_000_000).map(|n| p.consecutive_5xx = Some(n))
        }),
        (
            "outlier_detection.failure_percentage_threshold",
            Group,
            |p, t| number(t, 1, 100).map(|n| p.failure_percentage = Some(n)),
        ),
        (
            "outlier_detection.failure_percentage_request_volume",
            Group,
            |p, t| number(t, 1, 1_000_000).map(|n| p.failure_volume = n),
        ),
        ("outlier_detection.interval", Group, |p, t| {
            time(t).map(|d| p.outlier_interval = d)
        }),
        ("outlier_detection.base_ejection_time", Group, |p, t| {
            time(t).map(|d| p.base_ejection = d)
        }),
        ("outlier_detection.max_ejection_time", Group, |p, t| {
            time(t).map(|d| p.max_ejection = d)
        }),
        ("outlier_detection.max_ejection_percent", Group, |p, t| {
            number(t, 0, 100).map(|n| p.max_ejection_percent = n)
        }),
        ("retry_budget.budget_percent", Group, |p, t| {
            number(t, 0, 100).map(|n| p.retry_percent = Some(n))
        }),
        ("retry_budget.min_retry_concurrency", Group, |p, t| {
            number(t, 0, 1_000_000).map(|n| p.retry_least = n)
        }),
        ("retry_back_off.base_interval", Group, |p, t| {
            time(t).map(|d| p.back_off = Some(d))
        }),
        ("retry_back_off.max_interval", Group, |p, t| {
            time(t).map(|d| p.max_back_off = Some(d))
        }),
    ]
};

fn time(text: &str) -> Result<Duration, String> {
    match units::duration(text, Unit::Milliseconds)? {
        Duration::ZERO => Err("is too short, at least 1ms".into()),
        time => Ok(time),
    }
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse::<u32>().ok();
    number
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("is not a whole number from {least} to {most}"))
}

impl EndpointPolicy {
    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, ..)| *name)
    }

    /// Where a name belongs; `None` when there is no such name.
    pub fn level(name: &str) -> Option<PolicyLevel> {
        NAMES.iter().find(|(n, ..)| *n == name).map(|n| n.1)
    }

    /// Sets one value.
    ///
    /// # Errors
    /// What is wrong with the value, as the second half of a sentence; also for an unknown name.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        match NAMES.iter().find(|(n, ..)| *n == name) {
            Some((_, _, set)) => set(self, text.trim()),
            None => Err("is no setting of endpoints".into()),
        }
    }

    /// Whether a group does anything beyond the reference.
    pub fn balances(&self) -> bool {
        self.lb_policy != LbPolicy::RoundRobin
            || self.slow_start.is_some()
            || self.detects()
            || self.retry_percent.is_some()
            || self.back_off.is_some()
    }

    /// Whether a group ejects children.
    pub fn detects(&self) -> bool {
        self.consecutive_5xx.is_some() || self.failure_percentage.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let mut policy = EndpointPolicy::default();
        for (name, good, bad) in [
            ("health_check.path", "/up?x=1", "up"),
            ("health_check.interval", "5s", "0"),
            ("health_check.timeout", "200", "soon"),
            ("lb_policy", " LEAST_REQUEST ", "least"),
            ("hash_policy.header", "X-User", "X User"),
            ("outlier_detection.max_ejection_percent", "50", "101"),
            ("outlier_detection.consecutive_5xx", "1", "0"),
        ] {
            assert_eq!(policy.set(name, good), Ok(()), "{name}");
            assert!(policy.set(name, bad).is_err(), "{name}");
            assert!(EndpointPolicy::level(name).is_some());
        }
        assert_eq!(policy.health_path.as_deref(), Some("/up?x=1"));
        assert_eq!(policy.health_interval, Duration::from_secs(5));
        assert_eq!(policy.health_timeout, Duration::from_millis(200));
        assert_eq!(policy.lb_policy, LbPolicy::LeastRequest);
        assert!(policy.set("nothing", "1").is_err());
    }

    #[test]
    fn nothing_is_on_by_default() {
        assert!(!EndpointPolicy::default().balances());
        assert_eq!(EndpointPolicy::default().health_path, None);
        assert_eq!(EndpointPolicy::default().max_connections, None);
    }
}
