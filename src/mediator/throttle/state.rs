//! What a throttle has counted. It survives reloads.

use super::policy::{Access, Entry};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of one throttle id.
#[derive(Debug, Default)]
pub(super) struct ThrottleState {
    concurrent: AtomicUsize,
    /// By entry of the policy: all callers that match one share its counter, so that callers cannot
    /// make this grow.
    windows: Mutex<HashMap<String, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    count: u64,
    ends: u64,
    /// Until when everything is rejected, once there were too many.
    blocked: Option<u64>,
}

impl ThrottleState {
    /// Counts an access; what is logged when it is rejected.
    pub(super) fn count(&self, entry: &Entry, now: u64) -> Result<(), &'static str> {
        const QUOTA: &str =
            "You cannot access this service since you have exceeded the allocated quota.";
        let (most, unit, prohibit) = match entry.access {
            Access::Allow => return Ok(()),
            Access::Deny => {
                return Err(
                    "You cannot access this service since you have been prohibited permanently.",
                );
            }
            Access::Control {
                most,
                unit,
                prohibit,
            } => (most, unit, prohibit),
        };
        if most == 0 {
            return Err(QUOTA);
        }
        let fresh = Window {
            count: 0,
            ends: now.saturating_add(unit),
            blocked: None,
        };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(entry.name.clone()).or_insert(fresh);
        if now >= window.blocked.unwrap_or(window.ends) {
            *window = fresh;
        }
        if window.blocked.is_some() {
            return Err(QUOTA);
        }
        if window.count < most {
            window.count += 1;
            return Ok(());
        }
        window.blocked = Some(match prohibit {
            0 => window.ends,
            time => now.saturating_add(time),
        });
        Err(QUOTA)
    }
}

/// One of the concurrent accesses; gives itself back.
#[derive(Debug)]
pub(super) struct Permit(Arc<ThrottleState>);

impl Permit {
    /// Takes one if fewer than `most` are out.
    pub(super) fn take(state: &Arc<ThrottleState>, most: usize) -> Option<Permit> {
        state
            .concurrent
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used < most).then_some(used + 1)
            })
            .ok()
            .map(|_| Permit(state.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.concurrent.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(most: u64, unit: u64, prohibit: u64) -> Entry {
        Entry {
            name: "other".to_owned(),
            access: Access::Control {
                most,
                unit,
                prohibit,
            },
        }
    }

    /// Which of the accesses at these times are granted.
    fn granted(entry: &Entry, times: &[u64]) -> Vec<u64> {
        let state = ThrottleState::default();
        times
            .iter()
            .copied()
            .filter(|now| state.count(entry, *now).is_ok())
            .collect()
    }

    #[test]
    fn windows() {
        assert_eq!(
            granted(&control(2, 100, 0), &[5, 6, 7, 104, 105, 106, 107, 205]),
            [5, 6, 105, 106, 205],
            "the window begins with the first access"
        );
        assert_eq!(
            granted(&control(1, 100, 500), &[0, 50, 150, 549, 550, 551, 600]),
            [0, 550],
            "the time of prohibition begins with the access that was too much"
        );
        assert_eq!(
            granted(&control(1, 100, 20), &[0, 50, 69, 70, 71]),
            [0, 70],
            "a prohibition that is shorter than the window ends it"
        );
        assert_eq!(granted(&control(0, 100, 0), &[0, 1000]), [0; 0]);
    }

    #[test]
    fn permits() {
        let state = Arc::new(ThrottleState::default());
        let one = Permit::take(&state, 2);
        let two = Permit::take(&state, 2);
        assert!(one.is_some() && two.is_some());
        assert!(Permit::take(&state, 2).is_none());
        drop(one);
        assert!(Permit::take(&state, 2).is_some());
    }
}
