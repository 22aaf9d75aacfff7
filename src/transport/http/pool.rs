//! Connections to back ends: what is known of each, and the idle ones by target.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::h1::{Both, Trouble, Wire};
use super::outcome::describe;
use super::target::Target;
use crate::message::stream::{Held, StreamError};
use crate::transport::tcp::Stream;

/// A connection to a back end. The same box travels between the pool and the response body of the
/// exchange, so reuse costs no allocation.
pub(super) struct Connection {
    pub wire: Wire<Stream>,
    key: Arc<str>,
    hash: u64,
    pool: Weak<Pool>,
    pub idle_since: Instant,
    /// Woken while the connection is idle.
    watch: Arc<Watch>,
    waker: Waker,
    /// When the response is due. The timer may be set to an earlier time and is moved on when it
    /// fires: most exchanges then cost no timer.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    _open: [Open; 2],
}

impl Connection {
    /// A connection to `target` for `pool`; `total` counts it, too.
    pub(super) fn new(
        wire: Wire<Stream>,
        target: &Target,
        pool: &Arc<Pool>,
        total: &Arc<AtomicUsize>,
    ) -> Box<Self> {
        let watch = Arc::new(Watch {
            stirred: AtomicBool::new(false),
            bell: Arc::clone(&pool.bell),
        });
        Box::new(Self {
            wire,
            key: Arc::clone(&target.key),
            hash: target.hash,
            pool: Arc::downgrade(pool),
            idle_since: Instant::now(),
            waker: Arc::clone(&watch).into(),
            watch,
            due: None,
            timer: None,
            _open: [&pool.open, total].map(Open::new),
        })
    }

    /// Sets when the response must be there.
    pub(super) fn set_due(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// Ready when the response is due; otherwise the task is woken then.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Whether an idle connection can take a request: it is open and nothing came unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        if !self.watch.stirred.load(Relaxed) {
            return true;
        }
        // The socket may have had something that was read before. A task that did much already must
        // get a true answer, too.
        self.watch.stirred.store(false, Relaxed);
        let look = tokio::task::unconstrained(poll_fn(|_| Poll::Ready(self.poll_quiet())));
        let looked = pin!(look).poll(&mut Context::from_waker(Waker::noop()));
        looked == Poll::Ready(true)
    }

    /// Looks at the socket; from now on it wakes the pool.
    fn poll_quiet(&mut self) -> bool {
        self.wire.poll_quiet(&mut Context::from_waker(&self.waker))
    }
}

impl Held for Connection {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.wire.poll_frame(cx)
    }

    fn is_over(&self) -> bool {
        self.wire.is_over()
    }

    fn ended(mut self: Box<Self>) {
        if !self.wire.is_reusable() {
            return;
        }
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        if let Some(timer) = &mut self.timer {
            // Lets go of the task that waited.
            let _ = timer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        self.wire.rest();
        self.watch.stirred.store(false, Relaxed);
        if self.poll_quiet() {
            pool.put(self);
        }
    }
}

impl Both for Connection {
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), StreamError> {
        self.wire.poll_request(cx).map_err(|trouble| match trouble {
            Trouble::Body(error) => error,
            Trouble::Io(error) => StreamError::Closed(describe(&error).into()),
            Trouble::Malformed(words) => StreamError::broken(words),
            Trouble::Closed => StreamError::Closed("the connection was closed".into()),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.wire.io().say_goodbye();
    }
}

/// Notices when something happens on an idle connection.
struct Watch {
    stirred: AtomicBool,
    bell: Arc<Notify>,
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.stirred.swap(true, Relaxed) {
            self.bell.notify_one();
        }
    }
}

/// Counts an open connection.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Limits of a pool, see [`super::ClientSettings`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub idle_timeout: Duration,
    pub max_idle_per_target: usize,
    pub max_targets: usize,
}

/// Idle connections of one client by target, the most recently used on top.
pub(super) struct Pool {
    limits: Limits,
    targets: Mutex<Targets>,
    /// Open connections, in use or not. Counted apart from the pool: connections must not keep the
    /// pool alive that keeps them.
    pub open: Arc<AtomicUsize>,
    /// Rung when something happens on an idle connection.
    pub bell: Arc<Notify>,
}

/// Idle connections by the hash that their target carries. The key is compared besides: two targets
/// of one hash must not share connections, and then only one of them has a pool.
type Targets = HashMap<u64, Idle, BuildHasherDefault<Hashed>>;

/// Takes what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Idle {
    key: Arc<str>,
    // The boxes go in and out of response bodies as they are.
    #[allow(clippy::vec_box)]
    connections: Vec<Box<Connection>>,
    last_used: Instant,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            targets: Mutex::default(),
            open: Arc::default(),
            bell: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used connection that can take a request now.
    pub(super) fn take(&self, target: &Target, now: Instant) -> Option<Box<Connection>> {
        let mut targets = self.lock();
        let idle = targets.get_mut(&target.hash)?;
        if *idle.key != *target.key {
            return None;
        }
        idle.last_used = now;
        let connections = &mut idle.connections;
        let mut index = connections.len();
        while index > 0 {
            index -= 1;
            let connection = connections.get_mut(index)?;
            if now.saturating_duration_since(connection.idle_since) >= self.limits.idle_timeout {
                // Everything below has been idle for longer still.
                connections.drain(..=index);
                return None;
            }
            let quiet = connection.is_quiet();
            let connection = connections.remove(index);
            if quiet {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, mut connection: Box<Connection>) {
        let now = Instant::now();
        connection.idle_since = now;
        let mut targets = self.lock();
        if let Some(idle) = targets.get_mut(&connection.hash) {
            idle.last_used = now;
            if *idle.key == *connection.key
                && idle.connections.len() < self.limits.max_idle_per_target
            {
                idle.connections.push(connection);
            }
            return;
        }
        if targets.len() >= self.limits.max_targets.max(1) {
            let oldest = targets
                .iter()
                .min_by_key(|(_, idle)| idle.last_used)
                .map(|(hash, _)| *hash);
            if let Some(oldest) = oldest {
                targets.remove(&oldest);
            }
        }
        if self.limits.max_idle_per_target > 0 {
            let hash = connection.hash;
            let idle = Idle {
                key: Arc::clone(&connection.key),
                last_used: now,
                connections: vec![connection],
            };
            targets.insert(hash, idle);
        }
    }

    /// Drops what was idle for too long, was closed by the back end, or had something to say that
    /// nobody asked for.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let limit = self.limits.idle_timeout;
        let rested = |since: Instant| now.saturating_duration_since(since) >= limit;
        self.lock().retain(|_, idle| {
            idle.connections
                .retain_mut(|c| !rested(c.idle_since) && c.is_quiet());
            !idle.connections.is_empty() || !rested(idle.last_used)
        });
    }

    pub(super) fn idle(&self) -> usize {
        self.lock()
            .values()
            .map(|idle| idle.connections.len())
            .sum()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}
