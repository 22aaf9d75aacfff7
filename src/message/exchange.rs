//! The client side of one request: exactly one answer, and what all its messages share.

use crate::message::props::Props;
use crate::message::stream::BodyStream;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How the client spoke (spec 01 §15.3); decides the form of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFormat {
    /// `text/xml`: SOAP 1.1 unless the document turns out to be plain XML.
    Soap11,
    /// `application/soap+xml`.
    Soap12,
    /// Everything else.
    Rest,
}

/// One HTTP exchange with a client.
///
/// Invariant: [`Exchange::answer`] succeeds once; a second answer is counted and dropped.
#[derive(Debug)]
pub struct Exchange {
    /// Where the client is.
    pub remote: SocketAddr,
    /// Our own address that the client used.
    pub local: SocketAddr,
    /// Whether it came over TLS.
    pub secure: bool,
    /// How the client spoke.
    pub format: ClientFormat,
    /// The request method was HEAD: no body goes back.
    pub head: bool,
    /// The `Host` header of the request, for `SERVICE_PREFIX` and WSDL addresses.
    pub host: Option<http::HeaderValue>,
    /// `If-None-Match` of a GET or HEAD, for `HTTP_ETAG`.
    pub if_none_match: Option<http::HeaderValue>,
    answered: AtomicBool,
    late: AtomicU32,
    sent: AtomicBool,
    branches: AtomicUsize,
    branched: AtomicBool,
    changed: Notify,
    slot: Mutex<Option<http::Response<BodyStream>>>,
    /// Boxed: rare.
    last_resort: Mutex<Option<Box<http::Response<BodyStream>>>>,
    operation: Mutex<Props>,
    held: Mutex<Vec<(usize, Box<dyn Any + Send>)>>,
}

fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// An exchange that waits for its answer.
    pub fn new(
        remote: SocketAddr,
        local: SocketAddr,
        secure: bool,
        format: ClientFormat,
    ) -> Exchange {
        Exchange {
            remote,
            local,
            secure,
            format,
            head: false,
            host: None,
            if_none_match: None,
            answered: AtomicBool::new(false),
            late: AtomicU32::new(0),
            sent: AtomicBool::new(false),
            branches: AtomicUsize::new(0),
            branched: AtomicBool::new(false),
            changed: Notify::new(),
            slot: Mutex::new(None),
            last_resort: Mutex::new(None),
            operation: Mutex::new(Props::new()),
            held: Mutex::new(Vec::new()),
        }
    }

    /// Claims the one answer. `false` when somebody answered before; the response is then dropped.
    pub fn answer(&self, response: http::Response<BodyStream>) -> bool {
        if !self.claim() {
            tracing::warn!(
                target: "Exchange",
                "Trying to send a response to an already responded client request"
            );
            return false;
        }
        *lock(&self.slot) = Some(response);
        if self.has_branched() {
            self.changed.notify_waiters();
        }
        true
    }

    /// Keeps a response for the case that everything ends and nobody has answered. The first one
    /// counts.
    pub fn answer_at_last(&self, response: http::Response<BodyStream>) {
        lock(&self.last_resort).get_or_insert_with(|| Box::new(response));
    }

    fn claim(&self) -> bool {
        if self.answered.swap(true, Ordering::AcqRel) {
            self.late.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether the answer has been claimed.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Answers that came after the first one.
    pub fn late_answers(&self) -> u32 {
        self.late.load(Ordering::Relaxed)
    }

    /// Takes the answer for the wire; when nobody gave one, the one that was kept for that case.
    pub fn take(&self) -> Option<http::Response<BodyStream>> {
        let answer = lock(&self.slot).take();
        answer.or_else(|| {
            // Whoever comes later is late.
            self.answered.store(true, Ordering::Release);
            lock(&self.last_resort).take().map(|response| *response)
        })
    }

    /// Begins a branch: a part of the flow that runs beside it. `None` when there are `limit` of
    /// them already. The exchange stays open until the guard is dropped.
    pub fn branch(self: &Arc<Exchange>, limit: usize) -> Option<Branch> {
        self.branched.store(true, Ordering::Release);
        let before = self.branches.fetch_add(1, Ordering::AcqRel);
        let branch = Branch(self.clone());
        (before < limit).then_some(branch)
    }

    /// Whether a branch was ever begun.
    pub fn has_branched(&self) -> bool {
        self.branched.load(Ordering::Acquire)
    }

    /// Branches that have not ended.
    pub fn branches(&self) -> usize {
        self.branches.load(Ordering::Acquire)
    }

    /// Waits until there is an answer, or no branch is left that could give one.
    pub async fn settled(&self) {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            // Listen before looking, or a change in between would be missed.
            changed.as_mut().enable();
            if self.is_answered() || self.branches() == 0 {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    /// Keeps something, such as a permit, until the exchange ends or [`Exchange::release`]. One
    /// thing per owner: `false` when it already has one.
    pub fn hold(&self, owner: usize, thing: Box<dyn Any + Send>) -> bool {
        let mut held = lock(&self.held);
        if held.iter().any(|(o, _)| *o == owner) {
            return false;
        }
        held.push((owner, thing));
        true
    }

    /// Drops what an owner keeps.
    pub fn release(&self, owner: usize) {
        lock(&self.held).retain(|(o, _)| *o != owner);
    }

    /// Whether an owner keeps something.
    pub fn holds(&self, owner: usize) -> bool {
        let held = lock(&self.held);
        held.iter().any(|(o, _)| *o == owner)
    }

    /// A request went out to a back-end.
    pub fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Whether a request went out to a back-end.
    pub fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Operation-scope properties, shared by request and response.
    pub fn operation<R>(&self, f: impl FnOnce(&mut Props) -> R) -> R {
        f(&mut self
            .operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running branch of an exchange; ends when it is dropped.
#[derive(Debug)]
pub struct Branch(Arc<Exchange>);

impl Drop for Branch {
    fn drop(&mut self) {
        self.0.branches.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}
