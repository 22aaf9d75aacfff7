//! `myelin tap`: forwards HTTP to a target and prints what passes, as tcpmon does.
//!
//! Messages stream through; the copy that is printed is bounded and is formatted on a thread of
//! its own, so that watching changes as little as possible about the traffic.

mod pretty;
mod printer;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::printer::{Direction, Draft, Printer, Slot};
use self::wire::{Capture, Names, Recorder, Tee};

/// A target that does not take a connection for so long counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the body of a request is awaited for printing when there is no target to send it to.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is mostly a shortage of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Watch HTTP traffic: forward each request to a target and print it and its response.
///
/// Point the client or the endpoints of a configuration at the listeners instead of at the service.
/// With several listeners in front of one service it can be seen how requests are balanced.
/// Ctrl-C ends with a summary for each listener.
#[derive(clap::Args, Debug, Clone)]
pub struct TapArgs {
    /// Port or HOST:PORT to listen on (host 127.0.0.1 if left out); may be repeated
    #[arg(long, value_name = "[HOST:]PORT", required = true)]
    pub listen: Vec<String>,

    /// Where to forward to: once for all listeners, or once for each, in the same order
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub target: Vec<String>,
}

/// One listener and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `PORT` or `HOST:PORT`; port 0 takes any free one.
    pub listen: String,
    /// `HOST:PORT`, with or without `http://`.
    pub target: String,
}

/// What a [`Tap`] does.
#[derive(Debug, Clone)]
pub struct TapOptions {
    /// The listeners.
    pub routes: Vec<Route>,
    /// Whether the output is for a terminal that shows colours.
    pub colour: bool,
}

impl TapOptions {
    /// Pairs the listeners with the targets of a command line, without colours.
    pub fn pair(listens: Vec<String>, targets: Vec<String>) -> Result<Self, TapError> {
        let counts = (listens.len(), targets.len());
        let targets: Vec<String> = match (counts, targets.first()) {
            ((listens, 1), Some(target)) => vec![target.clone(); listens],
            ((listens, count), _) if listens == count => targets,
            ((listens, targets), _) => return Err(TapError::Counts { listens, targets }),
        };
        let routes = listens
            .into_iter()
            .zip(targets)
            .map(|(listen, target)| Route { listen, target })
            .collect();
        Ok(Self {
            routes,
            colour: false,
        })
    }
}

/// Why a tap could not be started.
#[derive(Debug, Error)]
pub enum TapError {
    /// Neither one target for all listeners nor one for each.
    #[error(
        "{listens} listeners but {targets} targets: give --target once, or once for each --listen"
    )]
    Counts {
        /// Number of listeners.
        listens: usize,
        /// Number of targets.
        targets: usize,
    },
    /// A target that cannot be connected to.
    #[error("`{target}` is not a target: {reason}")]
    Target {
        /// The text given.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The text given.
        address: String,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// The thread that prints could not be started.
    #[error("cannot start the printing thread")]
    Printer(#[source] io::Error),
}

/// A running tap. Dropping it stops it too, without the summary.
#[derive(Debug)]
pub struct Tap {
    /// The addresses listened on, in the order of the routes, with the real ports.
    pub addresses: Vec<SocketAddr>,
    listeners: Vec<Arc<Listener>>,
    accepting: JoinSet<()>,
    sending: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Sender<bool>,
    printer: Printer,
}

impl Tap {
    /// Starts all listeners on the current tokio runtime. Everything that is printed goes to
    /// `sink`, on another thread.
    pub async fn start(
        options: TapOptions,
        sink: impl Write + Send + 'static,
    ) -> Result<Self, TapError> {
        let mut bound = Vec::new();
        for route in &options.routes {
            let target = parse_target(&route.target)?;
            let listen = |source| TapError::Listen {
                address: route.listen.clone(),
                source,
            };
            let address = match route.listen.parse::<u16>() {
                Ok(port) => format!("127.0.0.1:{port}"),
                Err(_) => route.listen.clone(),
            };
            let socket = TcpListener::bind(address).await.map_err(listen)?;
            let address = socket.local_addr().map_err(listen)?;
            bound.push((socket, address, target));
        }
        let printer = Printer::start(sink, options.colour).map_err(TapError::Printer)?;
        let (stop, stopped) = watch::channel(false);
        let mut tap = Self {
            addresses: Vec::new(),
            listeners: Vec::new(),
            accepting: JoinSet::new(),
            sending: Arc::default(),
            stop,
            printer,
        };
        for (socket, address, target) in bound {
            let label = format!("[{}]", address.port());
            tap.printer.note(
                &label,
                format!("listening on {address}, forwarding to {target}"),
            );
            let listener = Arc::new(Listener {
                port: address.port(),
                target,
                tally: Tally::default(),
                printer: tap.printer.clone(),
                sending: Arc::clone(&tap.sending),
            });
            tap.addresses.push(address);
            tap.listeners.push(Arc::clone(&listener));
            tap.accepting
                .spawn(accept(socket, listener, stopped.clone()));
        }
        Ok(tap)
    }

    /// How many requests each listener has received, in the order of the routes.
    #[must_use]
    pub fn requests(&self) -> Vec<u64> {
        let count = |listener: &Arc<Listener>| listener.tally.requests.load(Ordering::Relaxed);
        self.listeners.iter().map(count).collect()
    }

    /// Closes listeners and connections, prints the summary, and returns when all is written.
    pub async fn stop(self) {
        let Self {
            listeners,
            mut accepting,
            sending,
            stop,
            printer,
            ..
        } = self;
        stop.send_replace(true);
        while accepting.join_next().await.is_some() {}
        // Taken out first: the lock must not be held while waiting.
        let mut sending = std::mem::take(&mut *lock(&sending));
        sending.shutdown().await;
        for listener in &listeners {
            let label = format!("[{}]", listener.port);
            printer.note(&label, format!("→ {}: {}", listener.target, listener.tally));
        }
        printer.finish().await;
    }
}

/// Runs the listeners until Ctrl-C or SIGTERM, printing to standard output.
pub async fn run(args: TapArgs) -> anyhow::Result<()> {
    let mut options = TapOptions::pair(args.listen, args.target)?;
    let stdout = io::stdout();
    options.colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let tap = Tap::start(options, stdout).await?;
    wait_for_stop_signal()
        .await
        .context("cannot wait for signals")?;
    tap.stop().await;
    Ok(())
}

#[cfg(unix)]
async fn wait_for_stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_stop_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Brings a target into the form `host:port`.
fn parse_target(text: &str) -> Result<String, TapError> {
    let wrong = |reason| TapError::Target {
        target: text.to_owned(),
        reason,
    };
    if text.starts_with("https://") {
        return Err(wrong("only plain HTTP can be watched"));
    }
    let authority: Authority = text
        .strip_prefix("http://")
        .unwrap_or(text)
        .trim_end_matches('/')
        .parse()
        .map_err(|_| wrong("write HOST:PORT"))?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(wrong("write HOST:PORT"));
    }
    let port = authority.as_str().strip_prefix(authority.host());
    match port.and_then(|rest| rest.strip_prefix(':')) {
        Some(port) if port.parse::<u16>().is_err() => {
            Err(wrong("the port must be a number up to 65535"))
        }
        Some(_) => Ok(authority.to_string()),
        // A port on its own is more likely than a host that looks like one.
        None if authority.as_str().parse::<u16>().is_ok() => Err(wrong("write HOST:PORT")),
        None => Ok(format!("{authority}:80")),
    }
}

/// One listener, shared by its connections.
#[derive(Debug)]
struct Listener {
    port: u16,
    target: String,
    tally: Tally,
    printer: Printer,
    /// Drives the connections to the target, which may outlive those from the client.
    sending: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    /// Responses by the first digit of their status.
    classes: [AtomicU64; 10],
    unanswered: AtomicU64,
}

impl Tally {
    fn count(&self, status: StatusCode) {
        if let Some(class) = self.classes.get(usize::from(status.as_u16() / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requests.load(Ordering::Relaxed) {
            1 => f.write_str("1 request")?,
            count => write!(f, "{count} requests")?,
        }
        for (digit, count) in self.classes.iter().enumerate() {
            match count.load(Ordering::Relaxed) {
                0 => {}
                count => write!(f, ", {digit}xx: {count}")?,
            }
        }
        match self.unanswered.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => write!(f, ", without a response: {count}"),
        }
    }
}

async fn accept(socket: TcpListener, listener: Arc<Listener>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Also when the sender is gone, because then the `Tap` was dropped.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&listener)));
                }
                Err(error) => {
                    tracing::warn!(port = listener.port, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, listener: Arc<Listener>) {
    // Only a hint for latency: a stream that refuses it still works.
    let _ = stream.set_nodelay(true);
    let capture = Capture::armed();
    let io = TokioIo::new(Recorder::new(stream, capture.clone()));
    let service = service_fn(|request| {
        let listener = Arc::clone(&listener);
        let capture = capture.clone();
        async move { Ok::<_, hyper::Error>(forward(listener, capture, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .preserve_header_case(true)
        // Nothing may be added to what the target says.
        .auto_date_header(false)
        // A tap must not close idle connections that the target would keep.
        .header_read_timeout(None)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(port = listener.port, %error, "client connection ended");
    }
}

/// Why there is no response to pass on.
#[derive(Debug, Error)]
enum ForwardError {
    #[error("cannot reach {target}: {reason}")]
    Connect { target: String, reason: io::Error },
    #[error("cannot reach {target}: no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout { target: String },
    #[error("no response from {target}: {reason}")]
    Exchange {
        target: String,
        reason: hyper::Error,
    },
}

type Answer = Response<Either<Tee, Full<Bytes>>>;

async fn forward(listener: Arc<Listener>, capture: Capture, request: Request<Incoming>) -> Answer {
    let number = listener.tally.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let exchange = Exchange {
        label: format!("[{} #{number}]", listener.port),
        slot: listener.printer.slot().await,
        started: Instant::now(),
        listener,
        answered: false,
    };
    let names = capture.take();
    exchange.forward(names, capture, request).await
}

/// One request and its response.
struct Exchange {
    listener: Arc<Listener>,
    label: String,
    slot: Slot,
    started: Instant,
    answered: bool,
}

impl Exchange {
    async fn forward(
        mut self,
        names: Names,
        capture: Capture,
        request: Request<Incoming>,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
        let draft = self.draft(Direction::Request, line, &names, &parts.headers);
        let body = Tee::new(body, draft, Some(capture));
        if parts.method == Method::CONNECT {
            return self.own_answer(
                StatusCode::NOT_IMPLEMENTED,
                "a tap cannot open tunnels".to_owned(),
            );
        }
        match self.send(Request::from_parts(parts, body)).await {
            Ok((response, names)) => {
                self.answered = true;
                self.listener.tally.count(response.status());
                let (parts, body) = response.into_parts();
                let line = self.status_line(&parts);
                let direction = Direction::Response(parts.status);
                let draft = self.draft(direction, line, &names, &parts.headers);
                Response::from_parts(parts, Either::Left(Tee::new(body, draft, None)))
            }
            Err(error) => self.own_answer(StatusCode::BAD_GATEWAY, error.to_string()),
        }
    }

    async fn send(
        &self,
        request: Request<Tee>,
    ) -> Result<(Response<Incoming>, Names), ForwardError> {
        let target = self.listener.target.as_str();
        let connecting = TcpStream::connect(target);
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => stream,
            outcome => {
                drain(request.into_body()).await;
                let target = target.to_owned();
                return Err(match outcome {
                    Ok(Err(reason)) => ForwardError::Connect { target, reason },
                    _ => ForwardError::ConnectTimeout { target },
                });
            }
        };
        let _ = stream.set_nodelay(true);
        let failed = |reason| ForwardError::Exchange {
            target: target.to_owned(),
            reason,
        };
        let capture = Capture::armed();
        let io = TokioIo::new(Recorder::new(stream, capture.clone()));
        // A connection for each request: a reused one may be closed by the target just when the
        // next request is sent, an error that would not exist without the tap.
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .preserve_header_case(true)
            .handshake(io)
            .await
            .map_err(failed)?;
        {
            let mut sending = lock(&self.listener.sending);
            while sending.try_join_next().is_some() {}
            sending.spawn(async move {
                // What goes wrong here shows in the response or in its body.
                let _ = connection.await;
            });
        }
        let response = sender.send_request(request).await.map_err(failed)?;
        Ok((response, capture.take()))
    }

    fn draft(
        &self,
        direction: Direction,
        line: String,
        names: &Names,
        headers: &hyper::HeaderMap,
    ) -> Draft {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                format!("{}: {value}", names.as_sent(name.as_str()))
            })
            .collect();
        let slot = self.slot.clone();
        Draft::new(
            &self.listener.printer,
            slot,
            &self.label,
            direction,
            line,
            headers,
        )
    }

    fn status_line(&self, parts: &http::response::Parts) -> String {
        let reason = match parts.extensions.get::<hyper::ext::ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => parts.status.canonical_reason().unwrap_or("").to_owned(),
        };
        let took = self.started.elapsed().as_millis();
        let code = parts.status.as_u16();
        format!("{:?} {code} {reason} ({took} ms)", parts.version)
    }

    /// An answer of the tap itself, printed as one line.
    fn own_answer(&mut self, status: StatusCode, reason: String) -> Answer {
        self.answered = true;
        self.listener
            .tally
            .unanswered
            .fetch_add(1, Ordering::Relaxed);
        self.listener
            .printer
            .problem(&self.label, format!("{status}: {reason}"));
        let text = format!("myelin tap: {reason}\n");
        let mut answer = Response::new(Either::Right(Full::from(text)));
        *answer.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
        answer.headers_mut().insert(CONTENT_TYPE, plain);
        answer
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            self.listener
                .tally
                .unanswered
                .fetch_add(1, Ordering::Relaxed);
            self.listener.printer.problem(
                &self.label,
                "no response: the client went away or the tap was stopped".to_owned(),
            );
        }
    }
}

/// Reads as much of a body as gets printed.
async fn drain(mut body: Tee) {
    let reading = async {
        while !body.is_printed() {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
    };
    // Whatever has arrived by then is printed.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

/// Locks a mutex. The data stays usable if another holder panicked, as all changes are single
/// steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
