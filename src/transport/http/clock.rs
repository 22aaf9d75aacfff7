//! Time limits of a listener's connections without a timer per request.
//!
//! A new sleep before every request head would cost about 1,100 instructions with tokio's timer.
//! Limits of seconds need no such precision: each worker keeps one
//! coarse clock, connections note deadlines in it, and one task per listener and worker looks at
//! them a few times within the shortest limit and wakes those that are due.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::shutdown::Shutdown;
use crate::transport::tcp::Stream;

/// The limits that the clock enforces.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    /// From the first byte of a head (or from the start of the connection) to its last.
    pub head: Duration,
    /// From a response to the first byte of the next request.
    pub idle: Duration,
    /// While the peer takes no byte of a response.
    pub stall: Option<Duration>,
}

/// The clock of one listener on one worker, with its connections.
pub(super) struct Clock {
    limits: TimeLimits,
    base: Instant,
    /// Milliseconds since `base`, plus one so that zero can mean "none".
    now: AtomicU64,
    closed: AtomicBool,
    /// Connections that may still register.
    attached: AtomicUsize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    used: Vec<Option<(Arc<Watch>, Waker)>>,
    free: Vec<usize>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

impl Clock {
    pub(super) fn new(limits: TimeLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            base: Instant::now(),
            now: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            attached: AtomicUsize::new(0),
            slots: Mutex::default(),
        })
    }

    /// Keeps the clock running for a connection that was accepted.
    pub(super) fn attach(self: &Arc<Self>) -> Attached {
        self.attached.fetch_add(1, Relaxed);
        Attached(Arc::clone(self))
    }

    /// A new connection's deadlines.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Watch> {
        Arc::new(Watch {
            clock: Arc::clone(self),
            head: AtomicU64::new(0),
            head_begun: AtomicBool::new(true),
            stalled: AtomicU64::new(0),
            cut: AtomicBool::new(false),
        })
    }

    /// Has `waker` woken when the connection is due or the shutdown goes a step on.
    pub(super) fn register(self: &Arc<Self>, watch: &Arc<Watch>, waker: Waker) -> Registered {
        let entry = Some((Arc::clone(watch), waker));
        let mut slots = self.lock();
        let index = match slots.free.pop() {
            Some(index) => {
                slots.used[index] = entry;
                index
            }
            None => {
                slots.used.push(entry);
                slots.used.len() - 1
            }
        };
        drop(slots);
        Registered {
            clock: Arc::clone(self),
            index,
        }
    }

    /// No connection will be added any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Runs the clock until it was closed and all connections are gone.
    pub(super) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let shortest = self
            .limits
            .stall
            .into_iter()
            .fold(self.limits.head.min(self.limits.idle), Duration::min);
        let every = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let mut phase = 0;
        loop {
            match tokio::time::timeout(every, shutdown.next_phase(phase)).await {
                Ok(next) => {
                    phase = next;
                    self.wake(|_| true);
                }
                Err(_) => self.tick(),
            }
            if self.closed.load(Relaxed) && self.attached.load(Relaxed) == 0 {
                return;
            }
        }
    }

    fn tick(&self) {
        let now = millis(self.base.elapsed()).saturating_add(1);
        self.now.store(now, Relaxed);
        self.wake(|watch| watch.due(now));
    }

    fn wake(&self, which: impl Fn(&Watch) -> bool) {
        let slots = self.lock();
        for (watch, waker) in slots.used.iter().flatten() {
            if which(watch) {
                waker.wake_by_ref();
            }
        }
    }

    fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Clock::attach`].
pub(super) struct Attached(Arc<Clock>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Relaxed);
    }
}

/// A connection's place in the clock; left when dropped.
pub(super) struct Registered {
    clock: Arc<Clock>,
    index: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut slots = self.clock.lock();
        if let Some(slot) = slots.used.get_mut(self.index) {
            *slot = None;
            slots.free.push(self.index);
        }
    }
}

/// The deadlines of one connection, in the clock's milliseconds; zero means none.
pub(super) struct Watch {
    clock: Arc<Clock>,
    /// When the head that is awaited must be complete.
    head: AtomicU64,
    /// The first byte of that head came (also set before the first head of a connection, which
    /// gets the time of a head and not that of an idle connection).
    head_begun: AtomicBool,
    /// Since when the peer takes no bytes.
    stalled: AtomicU64,
    cut: AtomicBool,
}

impl Watch {
    /// The server stops: a head that is under way must be complete soon.
    pub(super) fn hurry(&self, limit: Duration) {
        let head = self.head.load(Relaxed);
        if head != 0 {
            let deadline = self.clock.now().saturating_add(millis(limit).max(1));
            self.head.store(head.min(deadline), Relaxed);
        }
    }

    /// Whether the connection must be dropped because the peer does not read.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    /// A head is awaited from now on.
    pub(super) fn expect_head(&self) {
        let limits = &self.clock.limits;
        let first = self.head.load(Relaxed) == 0 && self.head_begun.load(Relaxed);
        let limit = if first { limits.head } else { limits.idle };
        self.head_begun.store(first, Relaxed);
        let deadline = self.clock.now().saturating_add(millis(limit).max(1));
        self.head.store(deadline, Relaxed);
    }

    /// What was awaited has come.
    pub(super) fn head_over(&self) {
        self.head.store(0, Relaxed);
        self.head_begun.store(false, Relaxed);
    }

    /// What is left of a body must come within `limit`, until [`Watch::head_over`].
    pub(super) fn expect_rest(&self, limit: Duration) {
        let deadline = self.clock.now().saturating_add(millis(limit).max(1));
        self.head_begun.store(true, Relaxed);
        self.head.store(deadline, Relaxed);
    }

    /// Whether what is awaited took too long.
    pub(super) fn is_late(&self) -> bool {
        self.head_due(self.clock.now())
    }

    fn head_due(&self, now: u64) -> bool {
        let head = self.head.load(Relaxed);
        head != 0 && now >= head
    }

    fn bytes_came(&self) {
        let head = self.head.load(Relaxed);
        if head != 0 && !self.head_begun.load(Relaxed) {
            self.head_begun.store(true, Relaxed);
            let limit = millis(self.clock.limits.head).max(1);
            let deadline = self.clock.now().saturating_add(limit);
            self.head.store(head.min(deadline), Relaxed);
        }
    }

    fn bytes_left(&self) {
        if self.stalled.load(Relaxed) != 0 {
            self.stalled.store(0, Relaxed);
        }
    }

    fn bytes_stuck(&self) {
        if self.stalled.load(Relaxed) == 0 {
            self.stalled.store(self.clock.now(), Relaxed);
        }
    }

    fn due(&self, now: u64) -> bool {
        let stalled = self.stalled.load(Relaxed);
        if let Some(limit) = self.clock.limits.stall
            && stalled != 0
            && now.saturating_sub(stalled) >= millis(limit)
        {
            self.cut.store(true, Relaxed);
            return true;
        }
        self.head_due(now)
    }
}

/// The socket of a client's connection, watched.
pub(super) struct ServerIo {
    pub stream: Stream,
    pub watch: Arc<Watch>,
    /// The peer ended its side, or the socket failed.
    pub over: bool,
}

impl ServerIo {
    fn wrote<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(_)) => self.watch.bytes_left(),
            Poll::Ready(Err(_)) => self.over = true,
            Poll::Pending => self.watch.bytes_stuck(),
        }
        polled
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => this.watch.bytes_came(),
            Poll::Ready(_) => this.over = true,
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.wrote(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
