//! Active health checks of one endpoint. They run while it is deployed; an endpoint that fails them
//! is not ready, whatever its messages say.

use super::store::LeafState;
use crate::message::stream::BodyStream;
use crate::settings::EndpointPolicy;
use crate::transport::http::{Client, Target};
use http::{Method, Request, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most bytes of an answer that are read so that its connection can be used again.
const MOST: usize = 64 * 1024;

/// What is checked, and how.
#[derive(Debug)]
pub struct Check {
    /// Name of the endpoint, for the log.
    pub label: String,
    /// Where it is asked.
    pub target: Target,
    /// How often, how long, how many.
    pub policy: EndpointPolicy,
    /// What the answers change.
    pub state: Arc<LeafState>,
}

/// Counts answers.
#[derive(Debug, Default)]
struct Verdict {
    unhealthy: bool,
    in_a_row: u32,
}

impl Verdict {
    /// Takes one answer; `true` when it changes the verdict.
    fn take(&mut self, good: bool, policy: &EndpointPolicy) -> bool {
        if good != self.unhealthy {
            self.in_a_row = 0;
            return false;
        }
        self.in_a_row += 1;
        let needed = if self.unhealthy {
            policy.healthy_threshold
        } else {
            policy.unhealthy_threshold
        };
        if self.in_a_row < needed {
            return false;
        }
        self.unhealthy = !self.unhealthy;
        self.in_a_row = 0;
        true
    }
}

impl Check {
    /// Asks again and again; ends when it is dropped.
    pub async fn run(&self, client: &Client) {
        self.repeat(|| self.ask(client)).await;
    }

    async fn repeat<F>(&self, mut ask: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut verdict = Verdict {
            unhealthy: self.state.is_unhealthy(),
            in_a_row: 0,
        };
        loop {
            let answer = ask().await;
            let good = answer.is_ok();
            if verdict.take(good, &self.policy) {
                self.state.set_unhealthy(!good);
                self.report(good, answer.err().as_deref().unwrap_or_default());
            }
            tokio::time::sleep(pause(&self.policy)).await;
        }
    }

    async fn ask(&self, client: &Client) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(self.target.path_and_query.clone())
            .header(http::header::USER_AGENT, "Myelin-Health-Check")
            .body(BodyStream::empty())
            .map_err(|e| e.to_string())?;
        let asking = async {
            let answer = client
                .send(&self.target, request)
                .await
                .map_err(|e| e.detail)?;
            let status = answer.status();
            // What does not end is cut with its connection.
            let _ = answer.into_body().collect(MOST).await;
            match status {
                StatusCode::OK => Ok(()),
                other => Err(format!("it answered {other}")),
            }
        };
        let limit = self.policy.health_timeout;
        match tokio::time::timeout(limit, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        }
    }

    fn report(&self, good: bool, why: &str) {
        self.state.counts.health_changes.add();
        let (name, address) = (self.label.as_str(), &self.target);
        if good {
            tracing::info!(
                target: "EndpointContext",
                endpoint = name, %address, from = "UNHEALTHY", to = "ACTIVE", code = 0, retry_in_ms = 0,
                "Endpoint : {name} passes its health checks again"
            );
        } else {
            tracing::warn!(
                target: "EndpointContext",
                endpoint = name, %address, from = "ACTIVE", to = "UNHEALTHY", code = 0, retry_in_ms = 0,
                "Endpoint : {name} fails its health checks: {why}"
            );
        }
    }
}

/// The interval and a random part of it, so that many checks do not fall on one moment.
fn pause(policy: &EndpointPolicy) -> Duration {
    let interval = u64::try_from(policy.health_interval.as_millis()).unwrap_or(u64::MAX >> 8);
    let jitter = interval.saturating_mul(u64::from(policy.health_jitter)) / 100;
    Duration::from_millis(interval.saturating_add(fastrand::u64(0..=jitter)))
}

impl LeafState {
    /// Whether its health checks fail.
    pub fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Ordering::Acquire)
    }

    fn set_unhealthy(&self, unhealthy: bool) {
        // Under the lock, as the flag of trouble depends on both.
        let state = self.lock();
        self.unhealthy.store(unhealthy, Ordering::Release);
        self.mark(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::Instant;

    fn check(policy: EndpointPolicy) -> Check {
        Check {
            label: "E".into(),
            target: Target::parse("http://127.0.0.1:1/up").unwrap(),
            policy,
            state: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_in_a_row_decide() {
        let check = check(EndpointPolicy {
            health_interval: Duration::from_secs(10),
            health_jitter: 0,
            ..EndpointPolicy::default()
        });
        let started = Instant::now();
        // One answer every 10 s; the state as it was when the next one was asked for.
        let answers = "bbgbbbgbgg".chars().collect::<Vec<_>>();
        let seen = RefCell::new(Vec::new());
        let repeated = check.repeat(|| {
            let mut seen = seen.borrow_mut();
            seen.push(check.state.is_unhealthy());
            assert_eq!(
                started.elapsed(),
                Duration::from_secs(10) * (seen.len() as u32 - 1)
            );
            let good = answers.get(seen.len() - 1) != Some(&'b');
            std::future::ready(good.then_some(()).ok_or_else(|| "bad".into()))
        });
        let _ = tokio::time::timeout(Duration::from_secs(105), repeated).await;
        let unhealthy: String = seen
            .borrow()
            .iter()
            .map(|u| if *u { 'U' } else { '.' })
            .collect();
        assert_eq!(unhealthy, "......UUUU.");
        assert_eq!(check.state.counts.health_changes.get(), 2);
    }

    #[test]
    fn the_pause_has_a_random_part() {
        let policy = EndpointPolicy {
            health_interval: Duration::from_secs(1),
            health_jitter: 20,
            ..EndpointPolicy::default()
        };
        for _ in 0..1000 {
            let pause = pause(&policy).as_millis();
            assert!((1000..=1200).contains(&pause), "{pause}");
        }
    }
}
