//! A running instance: workers with their listeners, the deployer, the internal and management
//! ports, and the graceful stop.

mod health;
mod worker;

use crate::admin;
use crate::clock::Clock;
use crate::deploy::watch::{Changed, Watch, WatchOptions};
use crate::deploy::{Deployer, Report};
use crate::diag;
use crate::endpoint::replies::Replies;
use crate::engine::Engine;
use crate::settings::{Settings, VerifyClient};
use crate::transport::http::{ListenerSettings, Shutdown};
use crate::transport::tcp::{bind, bind_shared};
use crate::transport::tls::{ClientCertificates, Identity, TlsError, client_tls_of, server_config};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use worker::{Worker, WorkerPlan};

/// Connections of the internal and of the management port at one time.
const ADMIN_CONNECTIONS: usize = 64;

/// What an instance is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The deployment directory.
    pub deployment: PathBuf,
    /// Settings; ports are final.
    pub settings: Settings,
    /// Port of the management API, HTTPS, on loopback unless the settings say otherwise.
    pub management_port: u16,
    /// Port of health and state, plain HTTP.
    pub internal_port: u16,
    /// Bind the message listeners to loopback only.
    pub loopback: bool,
    /// The clock; tests move it.
    pub clock: Clock,
    /// Collects the lines of `log` mediators, for tests.
    pub lines: Option<Arc<Mutex<Vec<String>>>>,
}

/// Why an instance does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("cannot listen on {what} port {address}")]
    Bind {
        /// Which listener.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Certificates are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The deployment directory cannot be read.
    #[error("cannot read the deployment directory {path}")]
    Deployment {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Thread(std::io::Error),
    /// The management API has no random numbers for its tokens.
    #[error("the management API cannot be started: {0}")]
    Management(#[from] admin::NoRandom),
    /// The bind address of the settings is not an address.
    #[error("\"{0}\" is not an address to bind to")]
    BindAddress(String),
}

/// What the deployer has done so far.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Plans put in place since the start.
    pub generation: u64,
    /// The last load.
    pub report: Arc<Report>,
}

/// A running instance.
pub struct Server {
    /// Where HTTP is served.
    pub http: Option<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Option<SocketAddr>,
    /// Where the management API is served.
    pub management: Option<SocketAddr>,
    /// Where health is served.
    pub internal: Option<SocketAddr>,
    /// The clock.
    pub clock: Clock,
    /// What is deployed.
    pub status: watch::Receiver<Status>,
    /// The self-signed certificate, as PEM, when no other was configured.
    pub certificate: Option<String>,
    engine: Arc<Engine>,
    shutdown: Shutdown,
    backend_connections: Arc<AtomicUsize>,
    finish: watch::Sender<bool>,
    workers: Vec<Worker>,
    timeout: Duration,
    _watch: Option<Watch>,
}

impl Server {
    /// Loads the deployment directory, binds every port and starts the workers.
    ///
    /// # Errors
    /// When a port, a certificate or the directory cannot be used. Faulty artifacts are no error.
    pub async fn start(options: Options) -> Result<Server, StartError> {
        let settings = Arc::new(options.settings);
        let engine = Engine::new();
        // The watch comes first, so that no change is missed between it and the first scan.
        let watching = start_watch(&options.deployment, &settings);
        let mut deployer = Deployer::new(&options.deployment, settings.clone());
        let started = tokio::time::Instant::now();
        let report = deployer
            .deploy(&engine)
            .map_err(|source| StartError::Deployment {
                path: options.deployment.clone(),
                source,
            })?;
        let report = Arc::new(report.unwrap_or_default());
        log_report(&report);
        tracing::info!(
            target: "Deployment",
            "deployed {} in {} ms", report.counts, started.elapsed().as_millis()
        );
        let (status_out, status) = watch::channel(Status {
            generation: 1,
            report,
        });
        let (finish, _) = watch::channel(false);
        let shutdown = Shutdown::new();
        let clock = options.clock.clone();

        let host = options.loopback.then_some(Ipv4Addr::LOCALHOST.into());
        let workers_wanted = worker_count(&settings);
        let (identity, certificate) = identity(&settings)?;
        let tls = if settings.http.secured_enabled {
            Some(listener_tls(&settings, identity.copy())?)
        } else {
            None
        };
        let http = listen(
            "HTTP",
            settings.http.enabled,
            host,
            settings.http.bind_address.as_deref(),
            settings.http.port,
            workers_wanted,
        )?;
        let https = listen(
            "HTTPS",
            settings.http.secured_enabled,
            host,
            settings.http.secured_bind_address.as_deref(),
            settings.http.secured_port,
            workers_wanted,
        )?;
        let internal_host = host.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let admin = |what, host, port| {
            let listener = settings
                .admin
                .enabled
                .then(|| one(what, SocketAddr::new(host, port)));
            listener.transpose()
        };
        let internal = admin("internal", internal_host, options.internal_port)?;
        let management_host = match (host, &settings.admin.bind_address) {
            (None, Some(text)) => text
                .parse()
                .map_err(|_| StartError::BindAddress(text.clone()))?,
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let management = admin("management", management_host, options.management_port)?;
        let addresses = (address(&http), address(&https));
        let internal_address = internal.as_ref().map(local);
        let management_address = management.as_ref().map(local);

        let client_tls = client_tls(&settings)?;
        let http_settings = Arc::new(listener_settings(&settings, addresses.0, None));
        let https_settings = Arc::new(listener_settings(&settings, addresses.1, tls));
        let mut http = http.into_iter();
        let mut https = https.into_iter();
        let mut workers = Vec::new();
        let backend_connections = Arc::new(AtomicUsize::new(0));
        let replies = Arc::new(replies(&settings, addresses));
        for index in 0..workers_wanted {
            workers.push(
                worker::start(WorkerPlan {
                    index,
                    engine: engine.clone(),
                    settings: settings.clone(),
                    clock: clock.clone(),
                    lines: options.lines.clone(),
                    listeners: [
                        (http.next(), http_settings.clone()),
                        (https.next(), https_settings.clone()),
                    ],
                    client_tls: client_tls.clone(),
                    backend_connections: backend_connections.clone(),
                    replies: replies.clone(),
                    shutdown: shutdown.clone(),
                    finish: finish.subscribe(),
                })
                .map_err(StartError::Thread)?,
            );
        }
        let state = admin::State {
            engine: engine.clone(),
            clock: clock.clone(),
            status: status.clone(),
            shutdown: shutdown.clone(),
            backend_connections: backend_connections.clone(),
        };
        let logins = Arc::new(admin::Logins::new(&settings.admin, clock.clone())?);
        let management_tls = server_config(identity, &ClientCertificates::Ignored)?;
        let pages = admin::management(state.clone(), logins, &settings.admin);
        for (listener, at, pages, tls) in [
            (internal, internal_address, admin::internal(state), None),
            (management, management_address, pages, Some(management_tls)),
        ] {
            let Some(listener) = listener else { continue };
            let mut limits = listener_settings(&settings, at, tls);
            limits.max_connections = ADMIN_CONNECTIONS;
            admin::serve(listener, limits, pages, finish.subscribe());
        }
        let hot = watching.map(|(watch, changes)| {
            tokio::spawn(redeploy(
                deployer,
                engine.clone(),
                changes,
                status_out,
                shutdown.clone(),
            ));
            watch
        });
        for (what, at) in [
            ("HTTP", addresses.0),
            ("HTTPS", addresses.1),
            ("management", management_address),
            ("internal", internal_address),
        ] {
            if let Some(at) = at {
                tracing::info!(target: "Server", "{what} listens on {at}");
            }
        }
        Ok(Server {
            http: addresses.0,
            https: addresses.1,
            management: management_address,
            internal: internal_address,
            clock,
            status,
            certificate,
            engine,
            shutdown,
            backend_connections,
            finish,
            workers,
            timeout: settings.server.shutdown_timeout,
            _watch: hot,
        })
    }

    /// The engine, for those who embed an instance.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Connections of clients that are open, requests in work, and flows that outlived their
    /// connection.
    pub fn load(&self) -> (usize, usize, usize) {
        (
            self.shutdown.connections(),
            self.shutdown.requests(),
            self.shutdown.flows(),
        )
    }

    /// Open connections to back-ends, in use or not.
    pub fn backend_connections(&self) -> usize {
        self.backend_connections.load(Ordering::Relaxed)
    }

    /// Tasks of all workers: listeners, connections, flows beside their requests, timers.
    pub fn tasks(&self) -> usize {
        let tasks = |w: &Worker| w.runtime.metrics().num_alive_tasks();
        self.workers.iter().map(tasks).sum()
    }

    /// Stops accepting, lets running exchanges finish within the shutdown timeout, and ends the
    /// workers. Returns how many exchanges were cut.
    pub fn stop(self) -> impl Future<Output = usize> {
        // At once, not when somebody waits: what is asked from now on sees it.
        self.shutdown.stop();
        self.end()
    }

    async fn end(self) -> usize {
        let cut = self.shutdown.drained(self.timeout).await;
        let _ = self.finish.send(true);
        let workers = self.workers;
        let _ = tokio::task::spawn_blocking(move || {
            for worker in workers {
                let _ = worker.thread.join();
            }
        })
        .await;
        cut
    }
}

fn worker_count(settings: &Settings) -> usize {
    match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n.min(256),
    }
}

fn listen(
    what: &'static str,
    enabled: bool,
    host: Option<IpAddr>,
    configured: Option<&str>,
    port: u16,
    count: usize,
) -> Result<Vec<std::net::TcpListener>, StartError> {
    if !enabled {
        return Ok(Vec::new());
    }
    let host = match (host, configured) {
        (Some(host), _) => host,
        (None, Some(text)) => text
            .parse()
            .map_err(|_| StartError::BindAddress(text.to_owned()))?,
        (None, None) => Ipv4Addr::UNSPECIFIED.into(),
    };
    let address = SocketAddr::new(host, port);
    bind_shared(address, count).map_err(|source| StartError::Bind {
        what,
        address,
        source,
    })
}

/// The table of answers that come as requests, with the addresses that back-ends are told.
fn replies(
    settings: &Settings,
    (http, https): (Option<SocketAddr>, Option<SocketAddr>),
) -> Replies {
    let own = &settings.http;
    let base = |scheme: &str, prefix: &Option<String>, address: Option<SocketAddr>| {
        let port = address?.port();
        let made = || format!("{scheme}://{}:{port}", settings.server.hostname);
        Some(prefix.clone().unwrap_or_else(made))
    };
    Replies::new(
        settings.limits.max_waiting_replies,
        &settings.server.service_path,
        base("http", &own.wsdl_epr_prefix, http),
        base("https", &own.secured_wsdl_epr_prefix, https),
    )
}

/// One listener's settings, shared by the workers: they count its connections together.
fn listener_settings(
    settings: &Settings,
    address: Option<SocketAddr>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> ListenerSettings {
    let http = &settings.http;
    let mut out = ListenerSettings::new(
        address.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
    );
    if let Some(limit) = http.max_open_connections {
        out.max_connections = limit;
    }
    out.header_read_timeout = http.header_timeout;
    out.handshake_timeout = out.handshake_timeout.min(http.header_timeout);
    out.idle_timeout = http.keep_alive_timeout;
    out.max_headers = http.max_headers;
    out.max_head = Some(http.max_header_bytes);
    // A head must fit into the buffer that it is read into.
    out.max_buf = out.max_buf.max(http.max_header_bytes);
    out.body_idle = (!http.socket_timeout.is_zero()).then_some(http.socket_timeout);
    out.tls = tls;
    out
}

fn one(what: &'static str, address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    bind(address, false).map_err(|source| StartError::Bind {
        what,
        address,
        source,
    })
}

fn address(listeners: &[std::net::TcpListener]) -> Option<SocketAddr> {
    listeners.first().and_then(|l| l.local_addr().ok())
}

fn local(listener: &std::net::TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
}

/// The certificate of the HTTPS listener and of the management port, and its text when it was made
/// for this run.
fn identity(settings: &Settings) -> Result<(Identity, Option<String>), TlsError> {
    let tls = &settings.tls;
    if let (Some(chain), Some(key)) = (&tls.certificate_file, &tls.private_key_file) {
        return Ok((Identity::from_files(chain, key)?, None));
    }
    let identity = Identity::self_signed(std::slice::from_ref(&settings.server.hostname))?;
    if settings.http.secured_enabled {
        tracing::warn!(
            target: "Server",
            "HTTPS uses a self-signed certificate made for this run; set certificate_file and private_key_file in [transport.http.listener]"
        );
    }
    let pem = identity.certificate_pem();
    Ok((identity, Some(pem)))
}

fn listener_tls(
    settings: &Settings,
    identity: Identity,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let tls = &settings.tls;
    let authorities = match &tls.client_ca_file {
        Some(path) => read_pem(path)?,
        None => Vec::new(),
    };
    let clients = match tls.verify_client {
        VerifyClient::No => ClientCertificates::Ignored,
        VerifyClient::Optional => ClientCertificates::Optional(authorities),
        VerifyClient::Require => ClientCertificates::Required(authorities),
    };
    server_config(identity, &clients)
}

fn read_pem(path: &std::path::Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

fn client_tls(settings: &Settings) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let tls = &settings.tls;
    if tls.insecure_skip_verify {
        tracing::warn!(
            target: "Server",
            "certificates of back-ends are not verified: insecure_skip_verify is set in [myelin]"
        );
    }
    client_tls_of(tls)
}

fn start_watch(
    root: &std::path::Path,
    settings: &Settings,
) -> Option<(Watch, mpsc::Receiver<Changed>)> {
    if !settings.deploy.hot_deployment {
        return None;
    }
    let options = WatchOptions {
        debounce: settings.deploy.reload_debounce,
        limits: crate::deploy::scan::ScanLimits::from(&settings.deploy),
        ..WatchOptions::default()
    };
    match Watch::start_with(root.to_owned(), options) {
        Ok(watching) => Some(watching),
        Err(error) => {
            tracing::error!(target: "Deployment", "hot deployment is off: {error}");
            None
        }
    }
}

/// Loads again whenever the directory changed. Loading runs beside the messages; only the swap of
/// one pointer touches them.
async fn redeploy(
    deployer: Deployer,
    engine: Arc<Engine>,
    mut changes: mpsc::Receiver<Changed>,
    status: watch::Sender<Status>,
    shutdown: Shutdown,
) {
    let mut slot = Some(deployer);
    while changes.recv().await.is_some() {
        if shutdown.is_stopping() {
            return;
        }
        let Some(mut deployer) = slot.take() else {
            return;
        };
        let engine = engine.clone();
        let started = tokio::time::Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            let outcome = deployer.deploy(&engine);
            (deployer, outcome)
        })
        .await;
        let Ok((deployer, outcome)) = done else {
            tracing::error!(target: "Deployment", "the deployer has failed; changes are no longer read");
            return;
        };
        slot = Some(deployer);
        match outcome {
            Ok(None) => {}
            Ok(Some(report)) => {
                log_report(&report);
                tracing::info!(
                    target: "Deployment",
                    "{} in {} ms: {}",
                    report.changes(), started.elapsed().as_millis(), report.counts
                );
                status.send_modify(|s| {
                    s.generation += 1;
                    s.report = Arc::new(report);
                });
            }
            Err(error) => tracing::error!(
                target: "Deployment",
                "cannot read the deployment directory: {error}; what is deployed stays"
            ),
        }
    }
}

/// Every finding in the log, and what happens to faulty artifacts.
fn log_report(report: &Report) {
    for diagnostic in &report.diagnostics {
        let text = diag::to_text(diagnostic);
        let text = text.trim_end();
        if diagnostic.is_error() {
            tracing::error!(target: "Deployment", "{text}");
        } else {
            tracing::warn!(target: "Deployment", "{text}");
        }
    }
    for faulty in &report.faulty {
        let name = faulty
            .name
            .as_ref()
            .map_or_else(String::new, |n| format!(" \"{n}\""));
        if faulty.last_good_version {
            tracing::warn!(
                target: "Deployment",
                "{}{name} has errors; its last good version stays in use", faulty.file
            );
        } else {
            tracing::error!(target: "Deployment", "{}{name} is not deployed", faulty.file);
        }
    }
}
