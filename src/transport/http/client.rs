//! Requests to back ends over pooled HTTP/1.1 connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::h1::{Wire, WireLimits, drive};
pub use super::outcome::{SendError, SendErrorKind};
use super::outcome::{classify, classify_connect, describe};
use super::pool::{Connection, Limits, Pool};
pub use super::target::{Scheme, Target, TargetError};
use crate::message::request::WireRequest;
use crate::message::stream::BodyStream;
use crate::transport::tcp::Stream;

/// The least buffer size, in bytes; smaller settings are raised to it.
pub(super) const LEAST_BUFFER: usize = 8192;
/// With this limit heads are parsed without an allocation.
pub(super) const DEFAULT_HEADERS: usize = 100;
/// A connection that rested this long may have been closed by the back end without our having read
/// so yet; one turn of the I/O driver before it is used finds out.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);

/// The shortest time between two looks at idle connections on which something happened.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

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
    pool: Arc<Pool>,
    /// Present once the sweep task runs; dropping it ends the task.
    sweeper: OnceLock<oneshot::Sender<()>>,
}

impl Client {
    /// A client without connections.
    pub fn new(settings: ClientSettings) -> Self {
        let pool = Arc::new(Pool::new(Limits {
            idle_timeout: settings.idle_timeout,
            max_idle_per_target: settings.max_idle_per_target,
            max_targets: settings.max_targets,
        }));
        Self {
            settings,
            pool,
            sweeper: OnceLock::new(),
        }
    }

    /// Sends `request` to `target` and waits for the head of the response; there is no limit of
    /// time. Dropping the future closes the connection in use.
    ///
    /// The request line carries the request's own URI: path and query, or with an authority the
    /// absolute form (`POST_TO_URI`). `Host` is set from the target unless the request has one.
    /// Length or chunked framing follows from the body; hop-by-hop headers are the caller's to
    /// remove. Nothing is ever sent twice: a pooled connection that dies under a request is a
    /// failure of that request (spec 01 §15.4).
    pub fn send<'a>(
        &'a self,
        target: &'a Target,
        mut request: Request<BodyStream>,
    ) -> impl Future<Output = Result<Response<BodyStream>, SendError>> + 'a {
        if !request.headers().contains_key(HOST) {
            let host = target.host_header.clone();
            request.headers_mut().insert(HOST, host);
        }
        self.send_within(target, request.into(), Patience::default())
    }

    /// As [`Client::send`] for a request that has its `Host`, with limits of time: fails with
    /// [`SendErrorKind::Expired`] or [`SendErrorKind::Silent`].
    pub fn send_within<'a>(
        &'a self,
        target: &'a Target,
        request: WireRequest,
        patience: Patience,
    ) -> impl Future<Output = Result<Response<BodyStream>, SendError>> + 'a {
        let now = Instant::now();
        let due = patience.total.and_then(|total| now.checked_add(total));
        let silence = patience.silence;
        // With a connection at hand the request is handed over at once: the future holds no request
        // then and is cheap to move. What is rare is boxed.
        let sending = match self.at_hand(target, now) {
            AtHand::Good(connection) if silence.is_none() => {
                Ok(self.exchange(connection, request, due))
            }
            AtHand::Good(connection) => {
                Err(self.slowly(Some(connection), target, request, due, silence))
            }
            AtHand::Suspect(connection) => {
                Err(self.slowly(Some(connection), target, request, due, silence))
            }
            AtHand::Nothing => Err(self.slowly(None, target, request, due, silence)),
        };
        async move {
            match sending {
                Ok(exchange) => exchange.await,
                Err(slowly) => slowly.await,
            }
        }
    }

    /// What is not the usual case, boxed.
    fn slowly<'a>(
        &'a self,
        suspect: Option<Box<Connection>>,
        target: &'a Target,
        request: WireRequest,
        due: Option<Instant>,
        silence: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<BodyStream>, SendError>> + Send + 'a>> {
        Box::pin(async move {
            let sending = self.look_and_send(suspect, target, request, due, silence);
            match due {
                None => sending.await,
                Some(due) => tokio::time::timeout_at(due, sending)
                    .await
                    .unwrap_or_else(|_| Err(expired())),
            }
        })
    }

    /// Makes sure that a connection which rested long is still open before it is used; connects
    /// when there is none.
    async fn look_and_send(
        &self,
        mut suspect: Option<Box<Connection>>,
        target: &Target,
        request: WireRequest,
        due: Option<Instant>,
        silence: Option<Duration>,
    ) -> Result<Response<BodyStream>, SendError> {
        let mut found = None;
        while let Some(mut connection) = suspect.take() {
            tokio::task::yield_now().await;
            if connection.is_quiet() {
                found = Some(connection);
                break;
            }
            match self.at_hand(target, Instant::now()) {
                AtHand::Good(connection) => found = Some(connection),
                AtHand::Suspect(connection) => suspect = Some(connection),
                AtHand::Nothing => {}
            }
        }
        let connection = match found {
            Some(connection) => connection,
            None => match self.connect(target).await {
                Ok(connection) => connection,
                Err((kind, detail)) => {
                    return Err(SendError {
                        kind,
                        detail,
                        unsent: Some(request.into()),
                    });
                }
            },
        };
        let exchange = self.exchange(connection, request, due);
        match silence {
            None => exchange.await,
            Some(limit) => unless_silent(exchange, limit).await,
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

    fn at_hand(&self, target: &Target, now: Instant) -> AtHand {
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
        request: WireRequest,
        due: Option<Instant>,
    ) -> Exchange {
        connection.wire.begin(request);
        connection.set_due(due);
        Exchange {
            connection: Some(connection),
            body_idle: self.settings.body_idle,
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
        let limits = WireLimits {
            max_buf: self.settings.max_buf.max(LEAST_BUFFER),
            max_headers: self.settings.max_headers,
        };
        self.start_sweeper();
        let wire = Wire::new(stream, limits);
        let total = &self.settings.total_open;
        Ok(Connection::new(wire, target, &self.pool, total))
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

/// How long a response may take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// Until its head, connecting included; `None` for no limit.
    pub total: Option<Duration>,
    /// While no byte goes either way (and up to a quarter more); `None` for no limit.
    pub silence: Option<Duration>,
}

fn expired() -> SendError {
    SendError {
        kind: SendErrorKind::Expired,
        detail: "no response in time".to_owned(),
        unsent: None,
    }
}

/// A request that was handed to a connection. Dropping it closes the connection.
struct Exchange {
    /// Present until the outcome is known.
    connection: Option<Box<Connection>>,
    body_idle: Option<Duration>,
}

impl Future for Exchange {
    type Output = Result<Response<BodyStream>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let body_idle = self.body_idle;
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        let outcome = match connection.wire.poll_response(cx) {
            Poll::Pending if connection.poll_due(cx).is_pending() => return Poll::Pending,
            Poll::Pending => Err(expired()),
            Poll::Ready(Ok(response)) => match refused(&connection.wire, &response) {
                None => Ok(response),
                Some(detail) => Err(SendError {
                    kind: SendErrorKind::Malformed,
                    detail: detail.to_owned(),
                    unsent: None,
                }),
            },
            Poll::Ready(Err(trouble)) => {
                let (kind, detail) = classify(trouble, connection.wire.progress());
                Err(SendError {
                    kind,
                    detail,
                    unsent: None,
                })
            }
        };
        let connection = self.connection.take();
        let (response, connection) = match (outcome, connection) {
            (Ok(response), Some(connection)) => (response, connection),
            (Err(error), _) => return Poll::Ready(Err(error)),
            (Ok(_), None) => return Poll::Pending,
        };
        let length = connection.wire.exact_len();
        let body = if connection.wire.is_sending() && length != Some(0) {
            BodyStream::boxed(drive(connection, length), body_idle)
        } else {
            BodyStream::held(connection, length, body_idle)
        };
        Poll::Ready(Ok(response.map(|()| body)))
    }
}

/// Why a response cannot be handed on, although its head is in order.
fn refused(wire: &Wire<Stream>, response: &Response<()>) -> Option<&'static str> {
    // `Upgrade` does not travel.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Some("the protocol was switched, which nobody asked for");
    }
    // Only `chunked` is undone: what another coding gives would be taken for the body.
    let is_other = |value: &HeaderValue| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| {
            let coding = coding.trim_ascii();
            !coding.eq_ignore_ascii_case(b"chunked") && !coding.eq_ignore_ascii_case(b"identity")
        })
    };
    let codings = || response.headers().get_all(TRANSFER_ENCODING).iter();
    (wire.exact_len().is_none() && codings().any(is_other))
        .then_some("the body has a transfer coding that nobody asked for")
}

/// What an exchange gives, unless nothing moves on its connection for `limit`.
async fn unless_silent(
    mut exchange: Exchange,
    limit: Duration,
) -> Result<Response<BodyStream>, SendError> {
    const LOOKS: u32 = 4;
    let mut quiet = 0;
    while quiet < LOOKS {
        if let Ok(outcome) = tokio::time::timeout(limit / LOOKS, &mut exchange).await {
            return outcome;
        }
        let moved = exchange
            .connection
            .as_mut()
            .is_some_and(|connection| connection.wire.moved());
        quiet = if moved { 0 } else { quiet + 1 };
    }
    let progress = exchange.connection.map(|c| c.wire.progress());
    Err(SendError {
        kind: SendErrorKind::Silent {
            complete: progress.is_some_and(|p| p.complete),
            body_started: progress.is_some_and(|p| p.body_started),
        },
        detail: format!("nothing was sent or received for {} ms", limit.as_millis()),
        unsent: None,
    })
}

/// Drops connections that rested too long, every so often, and those that were closed, soon after.
async fn sweep(pool: Weak<Pool>, every: Duration, mut stopped: oneshot::Receiver<()>) {
    let Some(bell) = pool.upgrade().map(|pool| Arc::clone(&pool.bell)) else {
        return;
    };
    loop {
        let rung = tokio::select! {
            // The client is gone.
            _ = &mut stopped => return,
            () = bell.notified() => true,
            () = tokio::time::sleep(every) => false,
        };
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
        if rung {
            // Peers that make connections stir all the time must not cost more than this.
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}
