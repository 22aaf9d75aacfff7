//! Connections to back ends: what is known of each, and the idle ones by target.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::outcome::Progress;
use super::target::Target;
use crate::message::stream::{BodyStream, OnEnd, StreamError};
use crate::transport::tcp::Stream;

const WROTE: u8 = 1;
const BODY_STARTED: u8 = 2;
const BODY_ENDED: u8 = 4;
/// The last write left bytes behind.
const UNWRITTEN: u8 = 8;
const READ_FAILED: u8 = 16;
const WRITE_FAILED: u8 = 32;
const EOF: u8 = 64;
/// Bytes went either way since [`Link::moved`] was asked.
const MOVED: u8 = 128;

/// What is known of the current exchange on a connection, beyond what hyper's errors tell.
///
/// Written by the connection's task and read by the one that sends; both run on one worker, so
/// relaxed loads and stores are enough and cost next to nothing.
#[derive(Debug, Default)]
pub(super) struct Link(AtomicU8);

impl Link {
    fn set(&self, bits: u8) {
        let old = self.0.load(Relaxed);
        if old & bits != bits {
            self.0.store(old | bits, Relaxed);
        }
    }

    fn clear(&self, bits: u8) {
        let old = self.0.load(Relaxed);
        if old & bits != 0 {
            self.0.store(old & !bits, Relaxed);
        }
    }

    fn has(&self, bits: u8) -> bool {
        self.0.load(Relaxed) & bits != 0
    }

    /// Forgets the exchange before.
    fn begin(&self, no_body: bool) {
        let kept = self.0.load(Relaxed) & (READ_FAILED | WRITE_FAILED | EOF);
        let body = if no_body { BODY_ENDED } else { 0 };
        self.0.store(kept | body, Relaxed);
    }

    /// The request went out whole and nothing failed.
    fn reusable(&self) -> bool {
        let bits = self.0.load(Relaxed);
        let trouble = UNWRITTEN | READ_FAILED | WRITE_FAILED | EOF;
        bits & BODY_ENDED != 0 && bits & trouble == 0
    }

    /// Whether bytes went either way since this was asked the last time.
    pub(super) fn moved(&self) -> bool {
        let moved = self.has(MOVED);
        self.clear(MOVED);
        moved
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            wrote: self.has(WROTE),
            body_started: self.has(BODY_STARTED),
            complete: self.has(WROTE)
                && self.has(BODY_ENDED)
                && !self.has(UNWRITTEN | WRITE_FAILED),
            failed: self.has(READ_FAILED | WRITE_FAILED),
            eof: self.has(EOF),
        }
    }
}

/// The socket of a connection, watched.
pub(super) struct ClientIo {
    pub stream: Stream,
    pub link: Arc<Link>,
}

impl ClientIo {
    /// Turns a write that failed because the peer is gone into one that succeeds: the peer may have
    /// answered before it closed, and reading tells in any case (an answer, the end or the error).
    fn wrote(&self, polled: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(count)) => {
                if count > 0 {
                    self.link.set(WROTE | MOVED);
                }
                if count < offered {
                    self.link.set(UNWRITTEN);
                } else {
                    self.link.clear(UNWRITTEN);
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => {
                self.link.set(WRITE_FAILED | UNWRITTEN);
                match error.kind() {
                    io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted => Poll::Ready(Ok(offered)),
                    _ => Poll::Ready(Err(error)),
                }
            }
            Poll::Pending => {
                self.link.set(UNWRITTEN);
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before => this.link.set(EOF),
            Poll::Ready(Err(_)) => this.link.set(READ_FAILED),
            Poll::Ready(Ok(())) => this.link.set(MOVED),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.link.has(WRITE_FAILED) {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(polled, buf.len())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.link.has(WRITE_FAILED) {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => {
                // Only TLS flushes for real; the reading side tells what happened.
                this.link.set(WRITE_FAILED | UNWRITTEN);
                match error.kind() {
                    io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted => Poll::Ready(Ok(())),
                    _ => Poll::Ready(Err(error)),
                }
            }
            polled => polled,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if this.link.has(WRITE_FAILED) {
            return Poll::Ready(Ok(offered));
        }
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A request body on its way out, watched.
pub(super) struct Outgoing {
    pub body: BodyStream,
    link: Arc<Link>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        this.link.set(BODY_STARTED);
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => this.link.set(BODY_ENDED),
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.link.set(BODY_ENDED),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection to a back end. The same box travels between the pool and the response body of the
/// exchange, so reuse costs no allocation.
pub(super) struct Connection {
    pub sender: SendRequest<Outgoing>,
    pub link: Arc<Link>,
    pub task: AbortHandle,
    pub key: Arc<str>,
    pub hash: u64,
    pub pool: Weak<Pool>,
    pub idle_since: Instant,
    pub busy: bool,
}

impl Connection {
    /// Marks the connection as used and ties the request to it.
    pub(super) fn begin(&mut self, request: http::Request<BodyStream>) -> http::Request<Outgoing> {
        self.busy = true;
        let link = Arc::clone(&self.link);
        link.begin(request.body().is_end_stream());
        request.map(|body| Outgoing { body, link })
    }
}

impl OnEnd for Connection {
    fn ended(mut self: Box<Self>) {
        if !self.link.reusable() || self.sender.is_closed() {
            return;
        }
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        self.busy = false;
        pool.put(self);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An exchange that was given up: hyper would first flush what is left of the request, which
        // may take forever.
        if self.busy {
            self.task.abort();
        }
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
            let connection = connections.get(index)?;
            if now.saturating_duration_since(connection.idle_since) >= self.limits.idle_timeout {
                // Everything below has been idle for longer still.
                connections.drain(..=index);
                return None;
            }
            if connection.sender.is_closed() {
                connections.remove(index);
            } else if connection.sender.is_ready() {
                return Some(connections.remove(index));
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

    /// Drops what was idle for too long or was closed by the back end.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let limit = self.limits.idle_timeout;
        let rested = |since: Instant| now.saturating_duration_since(since) >= limit;
        self.lock().retain(|_, idle| {
            idle.connections
                .retain(|c| !rested(c.idle_since) && !c.sender.is_closed());
            !idle.connections.is_empty() || !rested(idle.last_used)
        });
    }

    pub(super) fn idle(&self) -> usize {
        self.lock()
            .values()
            .flat_map(|idle| &idle.connections)
            .filter(|connection| !connection.sender.is_closed())
            .count()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}
