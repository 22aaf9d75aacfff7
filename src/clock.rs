//! The one clock. Everything that waits or expires asks it, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Milliseconds since a process-wide start, plus what tests added. Cheap to clone; clones share
/// the added time.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    wall_origin: u64,
    added: Arc<AtomicU64>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            origin: Instant::now(),
            wall_origin: millis(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
            added: Arc::default(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Clock {
    /// Milliseconds that never go back.
    pub fn now(&self) -> u64 {
        millis(self.origin.elapsed()) + self.added.load(Ordering::Relaxed)
    }

    /// Milliseconds since 1970 in UTC that belong to a value of [`Clock::now`].
    pub fn wall(&self, now: u64) -> u64 {
        self.wall_origin + now
    }

    /// Moves the clock forward: suspensions, sessions and retry times see it; timers that already
    /// run do not.
    pub fn advance(&self, by: Duration) {
        self.added.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// `2026-11-22T11:22:33.444Z` of milliseconds since 1970.
pub fn iso(wall: u64) -> String {
    let (days, rest) = (wall / 86_400_000, wall % 86_400_000);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000
    )
}

/// Year, month and day of days since 1970 (Howard Hinnant's algorithm).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates() {
        for (wall, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_795_346_553_444, "2026-11-22T11:22:33.444Z"),
        ] {
            assert_eq!(iso(wall), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn advance_moves_every_clone() {
        let clock = Clock::default();
        let other = clock.clone();
        let before = other.now();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now() - before, 5000);
    }
}
