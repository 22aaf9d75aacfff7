//! Requests to back ends over pooled HTTP/1.1 connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response, StatusCode};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

pub use super::outcome::{SendError, SendErrorKind};
use super::outcome::{classify, classify_connect, describe};
use super::pool::{ClientIo, Connection, Limits, Link, Pool};
pub use super::target::{Scheme, Target, TargetError};
use crate::message::stream::BodyStream;
use crate::transport::tcp::Stream;

/// hyper's least buffer size, in bytes; smaller settings are raised to it.
pub(super) const LEAST_BUFFER: usize = 8192;
/// hyper's own header limit: only with it are heads parsed without an allocation.
pub(super) const DEFAULT_HEADERS: usize = 100;
/// A connection that rested this long may have been closed by the back end without our having read
/// so yet; one turn of the I/O driver before it is used finds out.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);

/// How a [`Client`] connects and what it keeps (spec 01 §15.4, §15.9).
#[derive(Clone)]
pub struct ClientSettings {
    /// Longest time to get a connection, with name resolution and TLS handshake. Default 90 s.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// Unused connections kept for one target. Default 512.
    pub max_idle_per_target: usize,
    /// Targets with unused connections; above it those of the least recently used one are dropped.
    /// Default 4096.
    pub max_targets: usize,
    /// Read and write buffer of a connection in bytes, at least 8192; also the limit of a response
    /// head. Default 64 KiB.
    pub max_buf: usize,
    /// Headers of a response. Default 100; any other value costs an allocation per response.
    pub max_headers: usize,
    /// Longest wait between two pieces of a response body, `None` for no limit. Default 180 s.
    pub body_idle: Option<Duration>,
    /// Sets `TCP_NODELAY`. Default on.
    pub nodelay: bool,
    /// Counts the open connections of all clients that share it.
    pub total_open: Arc<AtomicUsize>,
    /// Used for `https` targets, see [`crate::transport::tls`].
    pub tls: Arc<rustls::ClientConfig>,
}

impl ClientSettings {
    /// The defaults with the given TLS configuration.
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            connect_timeout: Duration::from_secs(90),
            idle_timeout: Duration::from_secs(60),
            max_idle_per_target: 512,
            max_targets: 4096,
            max_buf: 64 * 1024,
            max_headers: DEFAULT_HEADERS,
            body_idle: Some(Duration::from_secs(180)),
            nodelay: true,
            total_open: Arc::default(),
            tls,
        }
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_idle_per_target", &self.max_idle_per_target)
            .field("max_targets", &self.max_targets)
            .field("max_buf", &self.max_buf)
            .field("max_headers", &self.max_headers)
            .field("body_idle", &self.body_idle)
            .field("nodelay", &self.nodelay)
            .finish_non_exhaustive()
    }
}

/// Sends requests to back ends. One per worker runtime, shared by that runtime's tasks: its
/// connections live on the runtime that opened them.
pub struct Client {
    settings: ClientSettings,
    builder: Builder,
    pool: Arc<Pool>,
    /// Present once the sweep task runs; dropping it ends the task.
    sweeper: OnceLock<oneshot::Sender<()>>,
}

impl Client {
    /// A client without connections.
    pub fn new(settings: ClientSettings) -> Self {
        let mut builder = Builder::new();
        builder.max_buf_size(settings.max_buf.max(LEAST_BUFFER));
        if settings.max_headers != DEFAULT_HEADERS {
            builder.max_headers(settings.max_headers);
        }
        let pool = Arc::new(Pool::new(Limits {
            idle_timeout: settings.idle_timeout,
            max_idle_per_target: settings.max_idle_per_target,
            max_targets: settings.max_targets,
        }));
        Self {
            settings,
            builder,
            pool,
            sweeper: OnceLock::new(),
        }
    }

    /// Sends `request` to `target` and waits for the head of the response; there is no limit of
    /// time. Dropping the future closes the connection in use.
    ///
    /// The request line carries the request's own URI: path and query, or with an authority the
    /// absolute form (`POST_TO_URI`). `Host` is set from the target unless the request has one. Length or chunked framing follows from the body; hop-by-hop headers are the
    /// caller's to remove. A request that could not be written to a pooled connection is sent once
    /// more on a new one; nothing that was written in part is ever repeated.
    pub fn send<'a>(
        &'a self,
        target: &'a Target,
        mut request: Request<BodyStream>,
    ) -> impl Future<Output = Result<Response<BodyStream>, SendError>> + 'a {
        if !request.headers().contains_key(HOST) {
            let host = target.host_header.clone();
            request.headers_mut().insert(HOST, host);
        }
        self.send_unless_silent(target, request, None)
    }

    /// As [`Client::send`] for a request that has its `Host`, but fails with
    /// [`SendErrorKind::Silent`] when no byte went either way for the time of `silence` (and up to a
    /// quarter more).
    pub fn send_unless_silent<'a>(
        &'a self,
        target: &'a Target,
        request: Request<BodyStream>,
        silence: Option<Duration>,
    ) -> impl Future<Output = Result<Response<BodyStream>, SendError>> + 'a {
        // With a connection at hand the request is handed over at once: the future holds no request
        // then and is cheap to move. What is rare is boxed.
        let sending = match self.at_hand(target) {
            AtHand::Good(connection) => Ok(self.exchange(connection, request, silence)),
            AtHand::Suspect(connection) => Err((Some(connection), request)),
            AtHand::Nothing => Err((None, request)),
        };
        let sending = sending.map_err(|(suspect, request)| {
            Box::pin(self.look_and_send(suspect, target, request, silence))
        });
        async move {
            let outcome = match sending {
                Ok(exchange) => exchange.await,
                Err(slowly) => return slowly.await,
            };
            match outcome {
                Err(SendError {
                    unsent: Some(request),
                    ..
                }) => Box::pin(self.connect_and_send(target, *request, silence)).await,
                outcome => outcome,
            }
        }
    }

    /// Makes sure that a connection which rested long is still open before it is used.
    async fn look_and_send(
        &self,
        mut suspect: Option<Box<Connection>>,
        target: &Target,
        request: Request<BodyStream>,
        silence: Option<Duration>,
    ) -> Result<Response<BodyStream>, SendError> {
        let mut found = None;
        while let Some(connection) = suspect.take() {
            tokio::task::yield_now().await;
            if connection.sender.is_ready() {
                found = Some(connection);
                break;
            }
            match self.at_hand(target) {
                AtHand::Good(connection) => found = Some(connection),
                AtHand::Suspect(connection) => suspect = Some(connection),
                AtHand::Nothing => {}
            }
        }
        let Some(connection) = found else {
            return self.connect_and_send(target, request, silence).await;
        };
        match self.exchange(connection, request, silence).await {
            Err(SendError {
                unsent: Some(request),
                ..
            }) => self.connect_and_send(target, *request, silence).await,
            outcome => outcome,
        }
    }

    async fn connect_and_send(
        &self,
        target: &Target,
        request: Request<BodyStream>,
        silence: Option<Duration>,
    ) -> Result<Response<BodyStream>, SendError> {
        match self.connect(target).await {
            Ok(connection) => self.exchange(connection, request, silence).await,
            Err((kind, detail)) => Err(SendError {
                kind,
                detail,
                unsent: Some(request.into()),
            }),
        }
    }

    /// Unused connections that are still open.
    pub fn idle_connections(&self) -> usize {
        self.pool.idle()
    }

    /// Connections that are open, in use or not.
    pub fn open_connections(&self) -> usize {
        self.pool.open.load(Relaxed)
    }

    /// Closes all unused connections.
    pub fn close_idle(&self) {
        self.pool.clear();
    }

    fn at_hand(&self, target: &Target) -> AtHand {
        let now = Instant::now();
        match self.pool.take(target, now) {
            Some(connection)
                if now.saturating_duration_since(connection.idle_since) < SUSPECT_AFTER =>
            {
                AtHand::Good(connection)
            }
            Some(connection) => AtHand::Suspect(connection),
            None => AtHand::Nothing,
        }
    }

    /// Hands the request to the connection at once; the future only waits for the outcome and so
    /// stays small.
    fn exchange(
        &self,
        mut connection: Box<Connection>,
        request: Request<BodyStream>,
        silence: Option<Duration>,
    ) -> impl Future<Output = Result<Response<BodyStream>, SendError>> {
        let request = connection.begin(request);
        // Boxed: hyper's future has room for the request that could not be sent.
        let sent = Box::pin(connection.sender.try_send_request(request));
        let body_idle = self.settings.body_idle;
        async move {
            let outcome = match silence {
                None => sent.await,
                // Boxed: rare, and its timer would make every future of a flow larger.
                Some(limit) => match Box::pin(unless_silent(sent, &connection.link, limit)).await {
                    Some(outcome) => outcome,
                    None => {
                        let progress = connection.link.progress();
                        return Err(SendError {
                            kind: SendErrorKind::Silent {
                                complete: progress.complete,
                                body_started: progress.body_started,
                            },
                            detail: format!(
                                "nothing was sent or received for {} ms",
                                limit.as_millis()
                            ),
                            unsent: None,
                        });
                    }
                },
            };
            let mut failed = match outcome {
                Ok(response) => {
                    // After a switch of protocols there is no HTTP on this connection any more.
                    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                    return Ok(response.map(|body| {
                        let body = BodyStream::incoming(body, body_idle);
                        if switched {
                            body
                        } else {
                            body.with_on_end(connection)
                        }
                    }));
                }
                Err(failed) => failed,
            };
            let unsent = failed.take_message();
            Err(SendError {
                kind: classify(failed.error(), connection.link.progress()),
                detail: describe(failed.error()),
                unsent: unsent.map(|request| Box::new(request.map(|outgoing| outgoing.body))),
            })
        }
    }

    async fn connect(&self, target: &Target) -> Result<Box<Connection>, (SendErrorKind, String)> {
        let limit = self.settings.connect_timeout;
        let Ok(dialled) = tokio::time::timeout(limit, self.dial(target)).await else {
            let detail = format!(
                "no connection to {} within {} ms",
                target.key,
                limit.as_millis()
            );
            return Err((SendErrorKind::ConnectTimeout, detail));
        };
        let stream =
            dialled.map_err(|(kind, detail)| (kind, format!("{}: {detail}", target.key)))?;
        let link = Arc::new(Link::default());
        let io = ClientIo {
            stream,
            link: Arc::clone(&link),
        };
        let (sender, connection) = self
            .builder
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| (SendErrorKind::Other, describe(&error)))?;
        let open = [&self.pool.open, &self.settings.total_open].map(Open::new);
        let task = tokio::spawn(async move {
            let _open = open;
            if let Err(error) = connection.await {
                tracing::debug!(target: "myelin::client", "connection ended: {}", describe(&error));
            }
        });
        self.start_sweeper();
        Ok(Box::new(Connection {
            sender,
            link,
            task: task.abort_handle(),
            key: Arc::clone(&target.key),
            hash: target.hash,
            pool: Arc::downgrade(&self.pool),
            idle_since: Instant::now(),
            busy: false,
        }))
    }

    async fn dial(&self, target: &Target) -> Result<Stream, (SendErrorKind, String)> {
        let refused = |error: io::Error| (classify_connect(&error), error.to_string());
        let tcp = match target.host.parse::<IpAddr>() {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, target.port))
                .await
                .map_err(refused)?,
            Err(_) => TcpStream::connect((&*target.host, target.port))
                .await
                .map_err(refused)?,
        };
        if self.settings.nodelay {
            // A socket that died meanwhile refuses the option; using it will tell.
            let _ = tcp.set_nodelay(true);
        }
        if target.scheme == Scheme::Http {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(target.host.to_string())
            .map_err(|error| (SendErrorKind::Tls, error.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&self.settings.tls))
            .connect(name, tcp)
            .await
            .map_err(|error| (SendErrorKind::Tls, describe(&error)))?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }

    /// Starts the task that closes rested connections; it ends with the client.
    fn start_sweeper(&self) {
        self.sweeper.get_or_init(|| {
            let (stop, stopped) = oneshot::channel();
            let every = (self.settings.idle_timeout / 4)
                .clamp(Duration::from_millis(10), Duration::from_secs(5));
            tokio::spawn(sweep(Arc::downgrade(&self.pool), every, stopped));
            stop
        });
    }
}

/// A pooled connection for a request.
enum AtHand {
    Good(Box<Connection>),
    /// It rested long.
    Suspect(Box<Connection>),
    Nothing,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("idle", &self.idle_connections())
            .field("open", &self.open_connections())
            .finish_non_exhaustive()
    }
}

/// What a future gives, or `None` when nothing moved on the connection for `limit`.
async fn unless_silent<F: Future>(future: F, link: &Link, limit: Duration) -> Option<F::Output> {
    const LOOKS: u32 = 4;
    let mut future = std::pin::pin!(future);
    let mut quiet = 0;
    while quiet < LOOKS {
        if let Ok(outcome) = tokio::time::timeout(limit / LOOKS, &mut future).await {
            return Some(outcome);
        }
        quiet = if link.moved() { 0 } else { quiet + 1 };
    }
    None
}

async fn sweep(pool: Weak<Pool>, every: Duration, mut stopped: oneshot::Receiver<()>) {
    // Ends on the timeout's `Ok`: the client is gone.
    while tokio::time::timeout(every, &mut stopped).await.is_err() {
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
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
