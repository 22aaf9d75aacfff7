//! One worker: a thread with its own runtime, listening sockets and HTTP client, so that a message
//! never changes threads (design §6).

use super::health;
use crate::clock::Clock;
use crate::endpoint::Services;
use crate::endpoint::bindings::{RedisSessions, SessionStore};
use crate::endpoint::replies::Replies;
use crate::engine::Engine;
use crate::entry::HttpEntry;
use crate::expr::Effort;
use crate::message::body::BodyLimits;
use crate::message::media::MediaTypes;
use crate::message::multipart;
use crate::message::outgoing::HeaderRules;
use crate::settings::Settings;
use crate::transport::http::{Client, ClientSettings, ListenerSettings, Shutdown, serve};
use crate::transport::outside::Outside;
use crate::{json, xml};
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What a worker is made from.
pub(super) struct WorkerPlan {
    pub(super) index: usize,
    pub(super) engine: Arc<Engine>,
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Clock,
    pub(super) lines: Option<Arc<Mutex<Vec<String>>>>,
    pub(super) listeners: [(Option<TcpListener>, Arc<ListenerSettings>); 2],
    pub(super) client_tls: Arc<rustls::ClientConfig>,
    /// Open connections to back-ends, of all workers.
    pub(super) backend_connections: Arc<AtomicUsize>,
    /// Requests of all workers whose answers come as requests of their own.
    pub(super) replies: Arc<Replies>,
    pub(super) shutdown: Shutdown,
    pub(super) finish: watch::Receiver<bool>,
}

/// Flows nest as deep as sequences call each other; the stack is reserved, not used, memory.
const STACK: usize = 16 << 20;

/// A running worker.
pub(super) struct Worker {
    pub(super) thread: JoinHandle<()>,
    pub(super) runtime: Handle,
}

/// Starts the thread.
pub(super) fn start(plan: WorkerPlan) -> std::io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{}", plan.index))
        .stack_size(STACK)
        .spawn(move || runtime.block_on(run(plan)))?;
    Ok(Worker {
        thread,
        runtime: handle,
    })
}

async fn run(plan: WorkerPlan) {
    let settings = plan.settings;
    Effort::of(&settings.limits).set();
    let sessions = shared_sessions(&settings, &plan.client_tls);
    let outside = Outside::new(plan.client_tls.clone(), settings.http.connection_timeout);
    let services = Arc::new(Services {
        outside: outside.into(),
        client: Client::new(ClientSettings {
            total_open: plan.backend_connections,
            ..client_settings(&settings, plan.client_tls)
        })
        .into(),
        clock: plan.clock,
        limits: limits(&settings),
        media_types: MediaTypes::of(&settings.media).map(Arc::new),
        default_content_type: default_content_type(&settings),
        rules: HeaderRules::of(&settings.http),
        settings: settings.clone(),
        replies: plan.replies,
        sessions,
        lines: plan.lines,
    });
    let checks = (plan.index == 0).then(|| {
        tokio::spawn(health::supervise(
            plan.engine.clone(),
            services.client.clone(),
        ))
    });
    let entry = HttpEntry::new(plan.engine, services);
    for (listener, listener_settings) in plan.listeners {
        let Some(listener) = listener else { continue };
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(target: "Server", "a worker cannot use its listener: {error}");
                continue;
            }
        };
        tokio::spawn(serve(
            listener,
            listener_settings,
            entry.clone(),
            plan.shutdown.clone(),
        ));
    }
    let mut finish = plan.finish;
    let _ = finish.wait_for(|done| *done).await;
    if let Some(checks) = checks {
        checks.abort();
    }
}

fn shared_sessions(
    settings: &Settings,
    tls: &Arc<rustls::ClientConfig>,
) -> Option<Arc<dyn SessionStore>> {
    // Loading the settings has checked the address.
    match RedisSessions::new(settings.sessions.as_ref()?, tls) {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            tracing::error!(target: "Server", "[myelin.sessions] redis_url cannot be used: {error}; sessions are kept in this process");
            None
        }
    }
}

fn some(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

fn client_settings(settings: &Settings, tls: Arc<rustls::ClientConfig>) -> ClientSettings {
    let http = &settings.http;
    ClientSettings {
        connect_timeout: http.connection_timeout,
        idle_timeout: http.idle_timeout,
        max_idle_per_target: if http.keep_alive {
            http.max_idle_per_target
        } else {
            0
        },
        body_idle: some(http.socket_timeout),
        ..ClientSettings::new(tls)
    }
}

/// The type of a body that nobody gave one.
fn default_content_type(settings: &Settings) -> http::HeaderValue {
    let set = settings.media.default_content_type.as_deref();
    set.and_then(|text| http::HeaderValue::from_str(text).ok())
        .unwrap_or(http::HeaderValue::from_static("application/octet-stream"))
}

/// The body limits of the settings.
fn limits(settings: &Settings) -> BodyLimits {
    let limits = &settings.limits;
    let max_bytes = usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX);
    BodyLimits {
        max_bytes,
        xml: xml::Limits {
            max_depth: limits.max_xml_depth,
            max_attributes: limits.max_xml_attributes,
            max_name_bytes: limits.max_xml_name_bytes,
            max_namespaces: limits.max_xml_namespaces,
            max_nodes: limits.max_xml_nodes,
            max_bytes,
        },
        json: json::Limits {
            max_depth: limits.max_json_depth,
            max_bytes,
            max_nodes: limits.max_json_nodes,
        },
        whole_json: settings.http.force_json_validation,
        conversion: Arc::new(json::Options::of(&settings.json).unwrap_or_else(|error| {
            // Loading the settings has checked the expressions.
            tracing::error!(target: "Server", "{error}");
            json::Options::default()
        })),
        multipart: multipart::Limits {
            max_parts: limits.max_multipart_parts,
            max_header_bytes: limits.max_part_header_bytes,
        },
        negotiate: settings.http.content_negotiation,
    }
}
