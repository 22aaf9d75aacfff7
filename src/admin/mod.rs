//! The internal port (health, endpoint states) and the management port.

use crate::clock::Clock;
use crate::engine::Engine;
use crate::server::Status;
use crate::transport::http::Shutdown;
use axum::Json;
use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

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
        .with_state(state)
}

/// Pages of the management port, which is bound to loopback: there is no login yet.
pub fn management(state: State) -> Router {
    Router::new()
        .route("/management/server", get(server))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                Json(json!({ "Error": "This management resource is not supported yet" })),
            )
        })
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

async fn server(extract::State(state): extract::State<State>) -> Response {
    let status = state.status.borrow().clone();
    Json(json!({
        "productName": "Myelin",
        "productVersion": env!("CARGO_PKG_VERSION"),
        "generation": status.generation,
        "artifacts": status.report.counts,
        "openConnections": state.shutdown.connections(),
        "requestsInWork": state.shutdown.requests(),
    }))
    .into_response()
}

/// Serves pages on a bound socket until the end is signalled.
pub fn serve(listener: std::net::TcpListener, router: Router, mut finish: watch::Receiver<bool>) {
    tokio::spawn(async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(target: "Server", "a port cannot be served: {error}");
                return;
            }
        };
        let ended = async move {
            let _ = finish.wait_for(|done| *done).await;
        };
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(ended)
            .await
        {
            tracing::error!(target: "Server", "a port is no longer served: {error}");
        }
    });
}
