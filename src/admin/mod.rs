//! The internal port (health, endpoint states) and the management port.

mod login;
mod management;
mod metrics;

pub use login::{Logins, NoRandom};
pub use management::pages as management;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::message::stream::{BodyStream, Incoming};
use crate::server::Status;
use crate::transport::http::{self as transport, Handler, ListenerSettings, Peer, Shutdown};
use axum::Json;
use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Request;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::watch;
use tower_service::Service;

/// How long the pages that are being read may take when the instance ends.
const GRACE: Duration = Duration::from_secs(1);

/// What the pages show.
#[derive(Clone)]
pub struct State {
    /// The current plan.
    pub engine: Arc<Engine>,
    /// The clock.
    pub clock: Clock,
    /// The deployer's last word.
    pub status: watch::Receiver<Status>,
    /// Connections and requests in work.
    pub shutdown: Shutdown,
    /// Open connections to back-ends.
    pub backend_connections: Arc<AtomicUsize>,
}

/// Pages of the internal port. No authentication, as in MI (spec 04 §13.1).
pub fn internal(state: State) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route(
            "/liveness",
            get(|| async { Json(json!({ "server": "started" })) }),
        )
        .route("/endpoints", get(endpoints))
        .route("/metrics", get(metrics::page))
        .with_state(state)
}

async fn healthz(extract::State(state): extract::State<State>) -> Response {
    let status = state.status.borrow().clone();
    let ready = status.generation > 0 && !state.shutdown.is_stopping();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "status": if ready { "ready" } else { "not ready" },
        "artifacts": status.report.counts,
        "faultyArtifacts": status.report.faulty,
    });
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(body)).into_response()
}

async fn endpoints(extract::State(state): extract::State<State>) -> Response {
    let rows = state.engine.plan().describe_endpoints(state.clock.now());
    Json(json!({ "endpoints": rows })).into_response()
}

/// The pages of a port as a handler of our own listener, which bounds heads, connections and waits.
#[derive(Clone)]
struct Pages(Router);

impl Handler for Pages {
    fn handle(
        &self,
        request: Request<Incoming>,
        _: Peer,
    ) -> impl Future<Output = http::Response<BodyStream>> + Send {
        let mut router = self.0.clone();
        async move {
            let request = request.map(axum::body::Body::new);
            let answer = match Service::call(&mut router, request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            let (head, body) = answer.into_parts();
            // Our own pages: they end, and are as large as what is deployed.
            let body = axum::body::to_bytes(body, usize::MAX).await;
            http::Response::from_parts(head, BodyStream::full(body.unwrap_or_default()))
        }
    }
}

/// Serves pages on a bound socket until the end is signalled. Its connections are not those of the
/// messages: it answers while they drain.
pub fn serve(
    listener: std::net::TcpListener,
    settings: ListenerSettings,
    router: Router,
    mut finish: watch::Receiver<bool>,
) {
    tokio::spawn(async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(target: "Server", "a port cannot be served: {error}");
                return;
            }
        };
        let shutdown = Shutdown::new();
        let served = transport::serve(
            listener,
            Arc::new(settings),
            Pages(router),
            shutdown.clone(),
        );
        let ended = async move {
            let _ = finish.wait_for(|done| *done).await;
            shutdown.drained(GRACE).await;
        };
        tokio::join!(served, ended);
    });
}
