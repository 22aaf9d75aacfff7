//! HTTP/1.1 listeners.

use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::client::{DEFAULT_HEADERS, LEAST_BUFFER};
use super::clock::{Clock, ServerIo, TimeLimits, Watch};
use super::h1::{self, Broken, Line, Next, ServeLimits};
use super::shutdown::Counted;
pub use super::shutdown::{Shutdown, uncancelled};
use crate::message::stream::{BodyStream, Incoming};
use crate::transport::tcp::Stream;
pub use crate::transport::tcp::{bind, bind_shared};

/// What is read and thrown away from a client that still sends after its answer, in bytes.
const LINGER_BYTES: usize = 1024 * 1024;
/// How long a request head that is under way at the stop may still take.
const LAST_HEAD: Duration = Duration::from_secs(1);
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// How a listener treats its connections. One value is shared by the listener's workers; the times
/// are kept to about an eighth (at most half a second).
#[derive(Debug)]
pub struct ListenerSettings {
    /// The address that was bound; only informative here.
    pub addr: SocketAddr,
    /// Connections at one time, over all workers. Further ones are accepted, answered with `503` and
    /// `Connection: close` (plain HTTP only) and closed, so that clients and load balancers learn
    /// of it at once instead of waiting in the backlog. Default 16384.
    pub max_connections: usize,
    /// How many of them are open now.
    pub open: OpenConnections,
    /// Longest time for a request head, from its first byte (for the first request from the
    /// accepted connection). Default 30 s.
    pub header_read_timeout: Duration,
    /// How long a connection may stay without a request (spec 01 §15.9). Default 180 s.
    pub idle_timeout: Duration,
    /// Longest wait for a client that takes no byte of its response, `None` for no limit; handlers
    /// use it for request bodies too ([`BodyStream::incoming`]). Default 180 s.
    pub body_idle: Option<Duration>,
    /// Headers of a request; more are answered with `431`. Default 100; any other value costs an
    /// allocation per request.
    pub max_headers: usize,
    /// Bytes of a request head with its request line, `None` for `max_buf`; longer ones are answered
    /// with `431`. Default `None`.
    pub max_head: Option<usize>,
    /// Read and write buffer of a connection in bytes, at least 8192. Default 64 KiB.
    pub max_buf: usize,
    /// How long a client may still send after an answer that ends the connection early (an oversized
    /// head, an unread body) before it is cut. Closing at once could destroy the answer on its way.
    /// Default 2 s.
    pub linger: Duration,
    /// Serves TLS when set.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Longest time for a TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
}

impl ListenerSettings {
    /// The defaults for a listener at `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            max_connections: 16_384,
            open: OpenConnections::default(),
            header_read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(180),
            body_idle: Some(Duration::from_secs(180)),
            max_headers: DEFAULT_HEADERS,
            max_head: None,
            max_buf: 64 * 1024,
            linger: Duration::from_secs(2),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Counts the connections of one listener.
#[derive(Debug, Default)]
pub struct OpenConnections(AtomicUsize);

impl OpenConnections {
    /// Connections that are open now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// A place among a listener's connections.
struct Place(Arc<ListenerSettings>);

impl Place {
    fn take(settings: &Arc<ListenerSettings>) -> Option<Self> {
        let place = Self(Arc::clone(settings));
        let before = settings.open.0.fetch_add(1, Ordering::AcqRel);
        (before < settings.max_connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub remote: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// Whether TLS is used.
    pub secure: bool,
}

/// Answers requests. Cloned per request, so clones must be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. The future is dropped when the connection goes away first; work that
    /// must be finished nevertheless goes into [`uncancelled`].
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<BodyStream>> + Send;
}

struct Worker<H> {
    settings: Arc<ListenerSettings>,
    handler: H,
    shutdown: Shutdown,
    limits: ServeLimits,
    clock: Arc<Clock>,
}

/// Accepts connections and serves them on the current runtime until [`Shutdown::stop`]; returns as
/// soon as no more are accepted, [`Shutdown::drained`] waits for those that are open.
///
/// An error of `accept` (no more file descriptors, say) never ends the loop: it is logged at most
/// once per second and the loop pauses for a moment. Unreadable request heads are answered with 400,
/// oversized ones with 431 or 414; a panic of the handler is answered with 500.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: Arc<ListenerSettings>,
    handler: H,
    shutdown: Shutdown,
) {
    let clock = Clock::new(TimeLimits {
        head: settings.header_read_timeout,
        idle: settings.idle_timeout,
        stall: settings.body_idle,
    });
    let _close = CloseOnDrop(Arc::clone(&clock));
    tokio::spawn(Arc::clone(&clock).run(shutdown.clone()));
    let limits = ServeLimits {
        max_buf: settings.max_buf.max(LEAST_BUFFER),
        max_headers: settings.max_headers,
        max_head: settings.max_head.unwrap_or(usize::MAX),
    };
    let worker = Arc::new(Worker {
        settings,
        handler,
        shutdown,
        limits,
        clock,
    });

    let mut complaints = Complaints::default();
    let mut stopped = pin!(worker.shutdown.stopped());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        let (tcp, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                complaints.say(|times| {
                    tracing::warn!(
                        target: "myelin::server",
                        "cannot accept on {} ({times} times): {error}", worker.settings.addr
                    );
                });
                let pause = tokio::time::sleep(Duration::from_millis(50));
                tokio::select! {
                    biased;
                    () = &mut stopped => break,
                    () = pause => continue,
                }
            }
        };
        let Some(place) = Place::take(&worker.settings) else {
            complaints.say(|times| {
                tracing::warn!(
                    target: "myelin::server",
                    "{} has {} connections open, turned {times} away",
                    worker.settings.addr, worker.settings.max_connections
                );
            });
            if worker.settings.tls.is_none() {
                turn_away(tcp);
            }
            continue;
        };
        // Held until the task ends, however it ends.
        let held = (place, worker.shutdown.connection(), worker.clock.attach());
        let worker = Arc::clone(&worker);
        tokio::spawn(async move {
            let _held = held;
            let shutdown = worker.shutdown.clone();
            shutdown.scope(connection(worker, tcp, remote)).await;
        });
    }
}

/// Lets the clock end with the accept loop, however that ends.
struct CloseOnDrop(Arc<Clock>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Answers 503 if the socket takes it; never waits.
fn turn_away(tcp: TcpStream) {
    if let Ok(mut socket) = tcp.into_std() {
        let _ = socket.write(BUSY);
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }
}

/// Lets something be said once per second.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    times: usize,
}

impl Complaints {
    fn say(&mut self, say: impl FnOnce(usize)) {
        self.times += 1;
        let now = Instant::now();
        let quiet = |last: Instant| now.saturating_duration_since(last) < Duration::from_secs(1);
        if !self.last.is_some_and(quiet) {
            say(std::mem::take(&mut self.times));
            self.last = Some(now);
        }
    }
}

async fn connection<H: Handler>(worker: Arc<Worker<H>>, tcp: TcpStream, remote: SocketAddr) {
    let Ok(local) = tcp.local_addr() else {
        return;
    };
    // Fails only for a socket that is dead already.
    let _ = tcp.set_nodelay(true);
    let peer = Peer {
        remote,
        local,
        secure: worker.settings.tls.is_some(),
    };
    let stream = match &worker.settings.tls {
        None => Stream::Plain(tcp),
        Some(tls) => {
            let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(tcp);
            let limit = worker.settings.handshake_timeout;
            let handshake = Box::pin(tokio::time::timeout(limit, handshake));
            let outcome = tokio::select! {
                outcome = handshake => outcome,
                // Nobody has asked for anything yet.
                () = worker.shutdown.stopped() => return,
            };
            match outcome {
                Ok(Ok(tls)) => Stream::Tls(Box::new(tls.into())),
                Ok(Err(error)) => {
                    tracing::debug!(target: "myelin::server", "no TLS with {remote}: {error}");
                    return;
                }
                Err(_) => {
                    tracing::debug!(target: "myelin::server", "no TLS with {remote}: too slow");
                    return;
                }
            }
        }
    };
    let settings = Arc::clone(&worker.settings);
    let shutdown = worker.shutdown.clone();
    if let Some(io) = exchanges(worker, stream, peer).await
        && !shutdown.is_stopping()
        && !settings.linger.is_zero()
    {
        let rest = Box::pin(linger(io.stream));
        let _ = tokio::time::timeout(settings.linger, rest).await;
    }
}

/// Serves the exchanges of a connection. Gives the socket back when the client may still be sending
/// although we are done.
async fn exchanges<H: Handler>(
    worker: Arc<Worker<H>>,
    stream: Stream,
    peer: Peer,
) -> Option<ServerIo> {
    let watch = worker.clock.watch();
    let io = ServerIo {
        stream,
        watch: Arc::clone(&watch),
        over: false,
    };
    let mut line = Line::new(io, worker.limits);
    let mut registered = None;
    let mut told = false;
    let ended = {
        let mut served = pin!(requests(&worker, &mut line, &watch, peer));
        poll_fn(|cx| {
            if registered.is_none() {
                registered = Some(worker.clock.register(&watch, cx.waker().clone()));
            }
            if watch.is_cut() || worker.shutdown.is_cutting() {
                return Poll::Ready(End::Cut);
            }
            if !told && worker.shutdown.is_stopping() {
                told = true;
                watch.hurry(LAST_HEAD);
            }
            served.as_mut().poll(cx)
        })
        .await
    };
    drop(registered);
    let io = line.take_io()?;
    match ended {
        End::Cut => None,
        End::Reset => {
            let socket = socket2::SockRef::from(io.stream.tcp());
            let _ = socket.set_linger(Some(Duration::ZERO));
            None
        }
        End::Shut => (!io.over).then_some(io),
    }
}

/// How a connection ends.
enum End {
    /// After an answer that was written whole, or without any.
    Shut,
    /// At once; nothing is flushed.
    Cut,
    /// At once, and so that the client can tell it from the end of an answer.
    Reset,
}

async fn requests<H: Handler>(
    worker: &Worker<H>,
    line: &mut Line<ServerIo>,
    watch: &Watch,
    peer: Peer,
) -> End {
    let stopping = || worker.shutdown.is_stopping();
    loop {
        watch.expect_head();
        let next = poll_fn(|cx| match line.poll_request(cx) {
            Poll::Ready(next) => Poll::Ready(Ok(next)),
            Poll::Pending if watch.is_late() => Poll::Ready(Err(End::Cut)),
            // Nobody has asked for anything.
            Poll::Pending if stopping() && line.is_idle() => Poll::Ready(Err(End::Shut)),
            Poll::Pending => Poll::Pending,
        });
        // No await in here: a connection that waits has no room for a request.
        let flow = match next.await {
            Ok(Next::Request(request)) => Ok(respond(worker, request, peer)),
            Ok(Next::Refused(status)) => Err(status),
            Ok(Next::Gone) | Err(End::Shut) => break,
            Err(end) => return end,
        };
        watch.head_over();
        let mut answer = match flow {
            Ok(flow) => Some(Ok(flow.await)),
            Err(status) => Some(Err(status)),
        };
        poll_fn(|cx| {
            match answer.take() {
                Some(Ok(response)) => line.begin_answer(cx, response, stopping()),
                Some(Err(status)) => line.refuse(cx, status),
                None => {}
            }
            Poll::Ready(())
        })
        .await;
        match poll_fn(|cx| line.poll_answer(cx)).await {
            Ok(()) => {}
            Err(Broken::Io(error)) => {
                tracing::debug!(target: "myelin::server", "connection of {}: {error}", peer.remote);
                return End::Cut;
            }
            Err(Broken::Body { to_end, error }) => {
                tracing::debug!(target: "myelin::server", "answer to {}: {error}", peer.remote);
                return if to_end { End::Reset } else { End::Cut };
            }
        }
        let mut drains = false;
        let keep = poll_fn(|cx| {
            let polled = line.poll_rest(cx);
            if polled.is_pending() && line.is_draining() {
                if !drains {
                    drains = true;
                    watch.expect_rest(worker.settings.linger);
                } else if watch.is_late() {
                    return Poll::Ready(false);
                }
            }
            polled
        })
        .await;
        if drains {
            watch.head_over();
        }
        if !keep || stopping() {
            break;
        }
    }
    let _ = poll_fn(|cx| line.poll_shutdown(cx)).await;
    End::Shut
}

/// Reads what the client still sends, so that closing does not reset the connection under an answer
/// that it has not read yet.
async fn linger(mut stream: Stream) {
    let mut left = LINGER_BYTES;
    while left > 0 {
        match poll_fn(|cx| h1::poll_read(&mut stream, cx, left, <[u8]>::len)).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}

/// The flow of a request has a box of its own, which idle connections need not have.
fn respond<H: Handler>(
    worker: &Worker<H>,
    request: Request<Incoming>,
    peer: Peer,
) -> impl Future<Output = Response<BodyStream>> {
    let counted = worker.shutdown.request();
    let flow = Box::pin(worker.handler.handle(request, peer));
    outcome(counted, flow, peer)
}

async fn outcome<F>(_counted: Counted, mut flow: Pin<Box<F>>, peer: Peer) -> Response<BodyStream>
where
    F: Future<Output = Response<BodyStream>>,
{
    let answer = poll_fn(|cx| {
        // The worker must outlive a handler that panics; its state is dropped with the future.
        match catch_unwind(AssertUnwindSafe(|| flow.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await;
    answer.unwrap_or_else(|| {
        tracing::error!(target: "myelin::server", "a request of {} panicked", peer.remote);
        let mut response = Response::new(BodyStream::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    })
}
