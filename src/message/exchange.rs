//! The client side of one request: exactly one answer, and what all its messages share.

use crate::message::props::Props;
use crate::message::stream::BodyStream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

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
    announced: AtomicBool,
    sent: AtomicBool,
    depth: AtomicU32,
    slot: Mutex<Option<http::Response<BodyStream>>>,
    operation: Mutex<Props>,
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
            announced: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            depth: AtomicU32::new(0),
            slot: Mutex::new(None),
            operation: Mutex::new(Props::new()),
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
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        true
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

    /// Takes the answer for the wire.
    pub fn take(&self) -> Option<http::Response<BodyStream>> {
        self.slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Somebody announced a response (spec 01 §8.4): no automatic 202 for an error after that.
    pub fn announce(&self) {
        self.announced.store(true, Ordering::Relaxed);
    }

    /// Whether a response was announced.
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Relaxed)
    }

    /// A request went out to a back-end.
    pub fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Whether a request went out to a back-end.
    pub fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Enters a sequence call; the new depth. Pair with [`Exchange::leave`].
    pub fn enter(&self) -> u32 {
        self.depth.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Leaves a sequence call.
    pub fn leave(&self) {
        self.depth.fetch_sub(1, Ordering::Relaxed);
    }

    /// Operation-scope properties, shared by request and response.
    pub fn operation<R>(&self, f: impl FnOnce(&mut Props) -> R) -> R {
        f(&mut self
            .operation
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}
