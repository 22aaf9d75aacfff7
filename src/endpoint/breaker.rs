//! Limits of one endpoint: requests under way, and requests that wait for one of their places
//! (Envoy's circuit breaker thresholds).

use crate::settings::EndpointPolicy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits as they run.
#[derive(Debug)]
pub struct Breaker {
    most: u32,
    most_pending: u32,
    places: Arc<Semaphore>,
    pending: AtomicU32,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// As many wait as may.
    Full,
    /// No place was free in time.
    Late,
}

struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Breaker {
    /// `None` when there is no limit.
    pub fn of(policy: &EndpointPolicy) -> Option<Breaker> {
        let most = policy.max_connections?;
        Some(Breaker {
            most,
            most_pending: policy.max_pending,
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))),
            pending: AtomicU32::new(0),
        })
    }

    /// A place for one request; it is given back when it is dropped.
    ///
    /// # Errors
    /// When too many wait already, or none is free within `wait`.
    pub async fn enter(&self, wait: Duration) -> Result<OwnedSemaphorePermit, Overflow> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let before = self.pending.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.pending);
        if before >= self.most_pending {
            return Err(Overflow::Full);
        }
        match tokio::time::timeout(wait, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Overflow::Late),
        }
    }

    /// Whether the next request would be refused.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
            && self.pending.load(Ordering::Relaxed) >= self.most_pending
    }

    /// Requests under way and requests that wait.
    pub fn load(&self) -> (u32, u32) {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        (
            self.most.saturating_sub(free),
            self.pending.load(Ordering::Relaxed),
        )
    }

    /// What the fault says.
    pub fn text(&self, label: &str, overflow: Overflow) -> String {
        let (most, waiting) = (self.most, self.most_pending);
        match overflow {
            Overflow::Full => format!(
                "Endpoint {label} has {most} requests under way and {waiting} waiting, as many as circuit_breakers allow"
            ),
            Overflow::Late => format!(
                "Endpoint {label} had {most} requests under way, as many as circuit_breakers allow, and none ended in time"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(most: u32, pending: u32) -> Breaker {
        Breaker::of(&EndpointPolicy {
            max_connections: Some(most),
            max_pending: pending,
            ..EndpointPolicy::default()
        })
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn places_and_waiting_requests_are_limited() {
        let breaker = breaker(2, 1);
        let wait = Duration::from_secs(5);
        let one = breaker.enter(wait).await.unwrap();
        let _two = breaker.enter(wait).await.unwrap();
        assert_eq!(breaker.load(), (2, 0));
        assert!(!breaker.is_full());
        let (third, fourth, ()) = tokio::join!(breaker.enter(wait), breaker.enter(wait), async {
            assert_eq!(breaker.load(), (2, 1));
            assert!(breaker.is_full());
            drop(one);
        });
        // The third waited for the place that was given back, the fourth was one too many.
        assert!(third.is_ok());
        assert_eq!(fourth.err(), Some(Overflow::Full));
        let started = tokio::time::Instant::now();
        assert_eq!(breaker.enter(wait).await.err(), Some(Overflow::Late));
        assert_eq!(started.elapsed(), wait);
        drop(third);
        assert_eq!(breaker.load(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_leaves_nothing_behind() {
        let breaker = breaker(1, 1);
        let _one = breaker.enter(Duration::ZERO).await.unwrap();
        let waiting = breaker.enter(Duration::from_secs(60));
        assert!(
            tokio::time::timeout(Duration::from_secs(1), waiting)
                .await
                .is_err()
        );
        assert_eq!(breaker.load(), (1, 0));
    }
}
