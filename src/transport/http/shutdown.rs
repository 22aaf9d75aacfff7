//! Graceful stop: who is still at work, and flows that outlive their connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

const RUNNING: u8 = 0;
const STOPPING: u8 = 1;
const CUTTING: u8 = 2;

/// Flows that may outlive their connection at one time unless set otherwise.
const DEFAULT_FLOW_LIMIT: usize = 16_384;
/// How long connections get to notice that they are cut.
const CUT_GRACE: Duration = Duration::from_secs(5);

tokio::task_local! {
    static CURRENT: Shutdown;
}

/// Broadcasts "stop accepting" to all listeners, asks every connection to end after its current
/// exchange and counts what is still going on (spec 01 §15.11). Clones share one state; it may be
/// used from any thread.
#[derive(Clone)]
pub struct Shutdown(Arc<Inner>);

struct Inner {
    phase: AtomicU8,
    phase_changed: Notify,
    connections: AtomicUsize,
    requests: AtomicUsize,
    flows: AtomicUsize,
    flow_limit: usize,
    /// Notified when a count went down after the stop.
    counted: Notify,
}

impl Shutdown {
    /// A running state with nothing counted and room for 16384 detached flows.
    pub fn new() -> Self {
        Self::with_flow_limit(DEFAULT_FLOW_LIMIT)
    }

    /// As [`Shutdown::new`], with the most flows that may run on after their connection is gone;
    /// above it a flow is dropped together with its connection.
    pub fn with_flow_limit(flow_limit: usize) -> Self {
        Self(Arc::new(Inner {
            phase: AtomicU8::new(RUNNING),
            phase_changed: Notify::new(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            flows: AtomicUsize::new(0),
            flow_limit,
            counted: Notify::new(),
        }))
    }

    /// Stops accepting; connections end after their current exchange.
    pub fn stop(&self) {
        self.enter(STOPPING);
    }

    /// Whether [`Shutdown::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) != RUNNING
    }

    /// Waits for [`Shutdown::stop`].
    pub async fn stopped(&self) {
        self.reached(STOPPING).await;
    }

    /// Stops (if that was not done yet) and waits until all connections and detached flows are done,
    /// at most for `within`; then cuts the connections that are left and returns their number.
    pub async fn drained(&self, within: Duration) -> usize {
        self.stop();
        let busy = || self.connections() + self.flows();
        if self.wait_for(within, || busy() == 0).await {
            return 0;
        }
        let cut = self.connections();
        self.enter(CUTTING);
        self.wait_for(CUT_GRACE, || self.connections() == 0).await;
        cut
    }

    /// Open connections of all listeners.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Acquire)
    }

    /// Requests whose handler has not returned a response yet.
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }

    /// Flows that run on although their connection is gone, see [`uncancelled`].
    pub fn flows(&self) -> usize {
        self.0.flows.load(Ordering::Acquire)
    }

    /// Runs `future` as work of this state: [`uncancelled`] inside of it counts here. Connections do
    /// so on their own; tasks and timers may.
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    pub(super) fn is_cutting(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == CUTTING
    }

    /// Waits for the next phase: stopping, then cutting.
    pub(super) async fn next_phase(&self, known: u8) -> u8 {
        self.reached(known + 1).await
    }

    pub(super) fn connection(&self) -> Counted {
        Counted::new(self, |inner| &inner.connections)
    }

    pub(super) fn request(&self) -> Counted {
        Counted::new(self, |inner| &inner.requests)
    }

    fn enter(&self, phase: u8) {
        self.0.phase.fetch_max(phase, Ordering::AcqRel);
        self.0.phase_changed.notify_waiters();
        self.0.counted.notify_waiters();
    }

    async fn reached(&self, phase: u8) -> u8 {
        let mut changed = std::pin::pin!(self.0.phase_changed.notified());
        loop {
            // Listen before looking, or a change in between would be missed.
            changed.as_mut().enable();
            let now = self.0.phase.load(Ordering::Acquire);
            if now >= phase {
                return now;
            }
            changed.as_mut().await;
            changed.set(self.0.phase_changed.notified());
        }
    }

    async fn wait_for(&self, within: Duration, done: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let mut counted = std::pin::pin!(self.0.counted.notified());
            counted.as_mut().enable();
            if done() {
                return true;
            }
            if tokio::time::timeout_at(deadline, counted).await.is_err() {
                return done();
            }
        }
    }

    /// Counts a flow; `None` when there are too many.
    fn detach(&self) -> Option<Counted> {
        let guard = Counted::new(self, |inner| &inner.flows);
        (self.flows() <= self.0.flow_limit).then_some(guard)
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("stopping", &self.is_stopping())
            .field("connections", &self.connections())
            .field("requests", &self.requests())
            .field("flows", &self.flows())
            .finish()
    }
}

/// One unit in one of the counts.
pub(super) struct Counted {
    inner: Arc<Inner>,
    count: fn(&Inner) -> &AtomicUsize,
}

impl Counted {
    fn new(shutdown: &Shutdown, count: fn(&Inner) -> &AtomicUsize) -> Self {
        let inner = Arc::clone(&shutdown.0);
        count(&inner).fetch_add(1, Ordering::AcqRel);
        Self { inner, count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.inner).fetch_sub(1, Ordering::AcqRel);
        if self.inner.phase.load(Ordering::Acquire) != RUNNING {
            self.inner.counted.notify_waiters();
        }
    }
}

/// Runs `flow` in place, but to its end: when the returned future is dropped half-way (the client
/// went away), the flow goes on in a task of its own. Such flows are counted in the [`Shutdown`] of
/// the connection (or [`Shutdown::scope`]) they come from. A flow that was never polled has not
/// begun and is dropped.
pub fn uncancelled<F>(flow: Pin<Box<F>>) -> Uncancelled<F>
where
    F: Future + Send + ?Sized + 'static,
    F::Output: Send + 'static,
{
    Uncancelled {
        flow: Some(flow),
        begun: false,
        polling: false,
    }
}

/// Room for a flow that runs beside the one that asks, see [`Beside::spawn`].
pub struct Beside(Option<(Shutdown, Counted)>);

/// Makes room for a flow beside this one. `None` when there are as many as may be.
pub fn beside() -> Option<Beside> {
    match CURRENT.try_with(Clone::clone) {
        Ok(shutdown) => {
            let counted = shutdown.detach()?;
            Some(Beside(Some((shutdown, counted))))
        }
        Err(_) => Some(Beside(None)),
    }
}

impl Beside {
    /// Runs the flow in a task of this thread's runtime; a graceful stop waits for it.
    pub fn spawn<F>(self, flow: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match self.0 {
            Some((shutdown, counted)) => {
                tokio::spawn(CURRENT.scope(shutdown, async move {
                    flow.await;
                    drop(counted);
                }));
            }
            None => {
                tokio::spawn(flow);
            }
        }
    }
}

/// A flow that ends although nobody waits for it any more, see [`uncancelled`].
pub struct Uncancelled<F>
where
    F: Future + Send + ?Sized + 'static,
    F::Output: Send + 'static,
{
    flow: Option<Pin<Box<F>>>,
    begun: bool,
    /// Still set in `drop` when a poll panicked: such a flow must not go on.
    polling: bool,
}

impl<F> Future for Uncancelled<F>
where
    F: Future + Send + ?Sized + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let Some(flow) = &mut this.flow else {
            // Polled again after its end, which no executor does.
            return Poll::Pending;
        };
        this.begun = true;
        this.polling = true;
        let polled = flow.as_mut().poll(cx);
        this.polling = false;
        if polled.is_ready() {
            this.flow = None;
        }
        polled
    }
}

impl<F> Drop for Uncancelled<F>
where
    F: Future + Send + ?Sized + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        if self.polling || !self.begun {
            return;
        }
        let (Some(flow), Ok(runtime)) = (self.flow.take(), Handle::try_current()) else {
            return;
        };
        match CURRENT.try_with(Clone::clone) {
            Ok(shutdown) => {
                let Some(counted) = shutdown.detach() else {
                    tracing::warn!(
                        target: "myelin::server",
                        "too many flows without a client; one was dropped"
                    );
                    return;
                };
                runtime.spawn(CURRENT.scope(shutdown, async move {
                    drop(flow.await);
                    drop(counted);
                }));
            }
            Err(_) => {
                runtime.spawn(async move { drop(flow.await) });
            }
        }
    }
}
