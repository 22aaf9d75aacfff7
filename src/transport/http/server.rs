//! HTTP/1.1 listeners.

use std::convert::Infallible;
use std::future::Future;
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
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::client::{DEFAULT_HEADERS, LEAST_BUFFER};
use super::clock::{Clock, HeadTimer, ServerIo, TimeLimits};
pub use super::shutdown::{Shutdown, uncancelled};
use crate::message::stream::BodyStream;
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
    builder: Builder,
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
    let mut builder = Builder::new();
    builder
        .half_close(true)
        .keep_alive(true)
        .max_buf_size(settings.max_buf.max(LEAST_BUFFER));
    if settings.max_headers != DEFAULT_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    if let Some(max_head) = settings.max_head {
        builder.max_header_size(max_head);
    }
    let clock = Clock::new(TimeLimits {
        head: settings.header_read_timeout,
        idle: settings.idle_timeout,
        stall: settings.body_idle,
    });
    let _close = CloseOnDrop(Arc::clone(&clock));
    tokio::spawn(Arc::clone(&clock).run(shutdown.clone()));
    let worker = Arc::new(Worker {
        settings,
        handler,
        shutdown,
        builder,
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
    let shared = Arc::clone(&worker);
    let service = service_fn(move |request| respond(Arc::clone(&shared), request, peer));
    let mut connection = worker
        .builder
        .clone()
        .timer(HeadTimer(Arc::clone(&watch)))
        .header_read_timeout(worker.settings.header_read_timeout)
        .serve_connection(TokioIo::new(io), service);

    let mut registered = None;
    let mut told = false;
    let ended = std::future::poll_fn(|cx| {
        if registered.is_none() {
            registered = Some(worker.clock.register(&watch, cx.waker().clone()));
        }
        if watch.is_cut() || worker.shutdown.is_cutting() {
            return Poll::Ready(None);
        }
        if !told && worker.shutdown.is_stopping() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
            watch.hurry(LAST_HEAD);
        }
        Pin::new(&mut connection).poll(cx).map(Some)
    })
    .await;
    drop(registered);
    match ended {
        // Cut: nothing is flushed.
        None => None,
        Some(Err(error)) if error.is_timeout() => None,
        Some(result) => {
            if let Err(error) = result {
                tracing::debug!(target: "myelin::server", "connection of {}: {error}", peer.remote);
            }
            let io = connection.into_parts().io.into_inner();
            (!io.over).then_some(io)
        }
    }
}

/// Reads what the client still sends, so that closing does not reset the connection under an answer
/// that it has not read yet.
async fn linger(mut stream: Stream) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}

async fn respond<H: Handler>(
    worker: Arc<Worker<H>>,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response<BodyStream>, Infallible> {
    let _counted = worker.shutdown.request();
    let mut flow = pin!(worker.handler.handle(request, peer));
    let answer = std::future::poll_fn(|cx| {
        // The worker must outlive a handler that panics; its state is dropped with the future.
        match catch_unwind(AssertUnwindSafe(|| flow.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await;
    Ok(answer.unwrap_or_else(|| {
        tracing::error!(target: "myelin::server", "a request of {} panicked", peer.remote);
        let mut response = Response::new(BodyStream::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    }))
}
