//! `myelin backend`: the SimpleStockQuote sample service of Apache Synapse.
//!
//! It replaces the axis2Server that the samples of Synapse and of the Micro Integrator start as
//! their back-end, and can misbehave on purpose (`--delay`, `--fail`, `--status`) so that
//! endpoints, fail-over and fault sequences can be watched at work.

mod message;
mod quote;
mod reply;
mod service;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderValue, StatusCode};
use axum::serve::ListenerExt as _;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long [`Backend::stop`] waits for requests in progress before it cuts them off.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Run the SimpleStockQuote sample service, the back-end of most Synapse samples.
///
/// It answers SOAP 1.1, SOAP 1.2, plain XML and JSON at /services/SimpleStockQuoteService (and,
/// as an alias, at any other path below /services/). Operations: placeOrder, getQuote,
/// getSimpleQuote, getFullQuote, getMarketActivity. Add ?wsdl to the address to read its WSDL.
/// Each answer names its server in the X-Backend header.
#[derive(clap::Args, Debug, Clone)]
pub struct BackendArgs {
    /// Port to listen on (0: any free port)
    #[arg(long, default_value_t = 9000)]
    pub port: u16,

    /// Host name or address to listen on; 0.0.0.0 makes the service reachable from elsewhere
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Name sent in the X-Backend header and written to the log [default: backend-PORT]
    #[arg(long)]
    pub name: Option<String>,

    /// Wait this long before every answer, for example 200ms, 2s or 1m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub delay: Option<Duration>,

    /// Answer this share of the requests, evenly spaced, with a fault and status 500
    #[arg(long, value_name = "N%", conflicts_with = "status")]
    pub fail: Option<Share>,

    /// Answer every request with this status; from 400 on with a fault, and without doing anything
    #[arg(long, value_name = "CODE", value_parser = parse_status)]
    pub status: Option<StatusCode>,
}

/// What a [`Backend`] listens on and how it behaves.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Host name or address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// Name in the `X-Backend` header and in the log; `backend-PORT` if absent.
    pub name: Option<String>,
    /// Time to wait before each answer.
    pub delay: Duration,
    /// Share of requests that are answered with status 500.
    pub fail: Share,
    /// Status of every answer; goes before `fail`.
    pub status: Option<StatusCode>,
    /// Source of the `lastTradeTimestamp` in quotes: the only thing in them that the symbol alone
    /// does not decide.
    pub clock: fn() -> SystemTime,
}

impl Default for BackendOptions {
    /// A service without faults or delays on any free port of 127.0.0.1.
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            name: None,
            delay: Duration::ZERO,
            fail: Share::default(),
            status: None,
            clock: SystemTime::now,
        }
    }
}

impl From<BackendArgs> for BackendOptions {
    fn from(args: BackendArgs) -> Self {
        Self {
            host: args.host,
            port: args.port,
            name: args.name,
            delay: args.delay.unwrap_or_default(),
            fail: args.fail.unwrap_or_default(),
            status: args.status,
            ..Self::default()
        }
    }
}

/// A value on the command line that cannot be used, and what would be accepted.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not a length of time.
    #[error("`{0}` is not a duration: write a number and a unit, such as 200ms, 2s or 1m")]
    Duration(String),
    /// Not a percentage.
    #[error("`{0}` is not a share: write a percentage from 0% to 100%, such as 30%")]
    Share(String),
    /// Not a final HTTP status.
    #[error("`{0}` is not a status of a final answer: write a number from 200 to 599")]
    Status(String),
}

/// A share of requests, in steps of 0.01 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    const WHOLE: u64 = 10_000;

    /// Whether request number `index` (from 0) belongs to the share. The chosen ones are spread
    /// evenly and are the same in each run.
    #[must_use]
    pub fn picks(self, index: u64) -> bool {
        let taken = |count: u64| u128::from(count) * u128::from(self.0) / u128::from(Self::WHOLE);
        taken(index.saturating_add(1)) > taken(index)
    }
}

impl FromStr for Share {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let percent: f64 = number
            .parse()
            .map_err(|_| ValueError::Share(text.to_owned()))?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(ValueError::Share(text.to_owned()));
        }
        Ok(Self((percent * 100.0).round() as u64))
    }
}

fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::Duration(text.to_owned());
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "us" => number / 1_000_000.0,
        "ms" => number / 1_000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn parse_status(text: &str) -> Result<StatusCode, ValueError> {
    text.parse::<u16>()
        .ok()
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| ValueError::Status(text.to_owned()))
}

/// A running sample service. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct Backend {
    /// The address it listens on, with the real port where 0 was asked for.
    pub address: SocketAddr,
    /// The name in its `X-Backend` header.
    pub name: String,
    shared: Arc<service::Shared>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Backend {
    /// Starts a service on the current tokio runtime; it accepts connections when this returns.
    pub async fn start(options: BackendOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
        let address = listener.local_addr()?;
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| format!("backend-{}", address.port()));
        let header = HeaderValue::from_str(&name).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the name {name:?} cannot stand in an HTTP header"),
            )
        })?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(service::Shared {
            name: name.clone(),
            header,
            address,
            options,
            requests: AtomicU64::new(0),
            orders: AtomicU64::new(0),
        });
        let router = Router::new()
            .fallback(service::handle)
            .with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|stream| {
            // Only a hint for latency: a stream that refuses it still works.
            let _ = stream.set_nodelay(true);
        });
        let task = tokio::spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(async {
                    // An error means that the `Backend` was dropped, which stops it too.
                    let _ = stopped.await;
                })
                .into_future(),
        );
        Ok(Self {
            address,
            name,
            shared,
            stop,
            task,
        })
    }

    /// How many requests have arrived so far, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Address of the service for clients, such as
    /// `http://127.0.0.1:9000/services/SimpleStockQuoteService`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, service::PATH)
    }

    /// Stops accepting, lets requests in progress finish for up to two seconds, and frees the port.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(STOP_DEADLINE, &mut task)
            .await
            .is_err()
        {
            task.abort();
            // The result is the cancellation just asked for; waiting for it frees the port.
            let _ = task.await;
        }
    }
}

/// Runs the sample service until Ctrl-C or SIGTERM.
pub async fn run(args: BackendArgs) -> anyhow::Result<()> {
    let place = format!("{}:{}", args.host, args.port);
    let backend = Backend::start(args.into())
        .await
        .with_context(|| format!("cannot start the sample back-end on {place}"))?;
    tracing::info!(
        backend = %backend.name,
        "sample back-end ready: {url} (WSDL: {url}?wsdl)",
        url = backend.url()
    );
    wait_for_stop_signal()
        .await
        .context("cannot wait for signals")?;
    let (name, requests) = (backend.name.clone(), backend.requests());
    backend.stop().await;
    tracing::info!(backend = %name, requests, "sample back-end stopped");
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
