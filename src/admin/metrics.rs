//! `GET /metrics` of the internal port: what runs, in the text format of Prometheus.

use super::State;
use crate::endpoint::{Counts, Described};
use crate::metrics::{Kind, Text};
use axum::extract;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::atomic::{AtomicUsize, Ordering};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const STATES: [&str; 5] = ["ACTIVE", "TIMEOUT", "SUSPENDED", "MAINTNENCE", "UNHEALTHY"];

/// The page.
pub(super) async fn page(extract::State(state): extract::State<State>) -> Response {
    ([(CONTENT_TYPE, FORMAT)], text(&state)).into_response()
}

fn text(state: &State) -> String {
    let plan = state.engine.plan();
    let status = state.status.borrow().clone();
    let mut out = Text::default();
    instance(state, &mut out);
    out.single(
        "myelin_reloads_total",
        Kind::Counter,
        "Plans put in place after the first.",
        status.generation.saturating_sub(1),
    );
    let faulty = u64::try_from(status.report.faulty.len()).unwrap_or(u64::MAX);
    out.single(
        "myelin_faulty_artifacts",
        Kind::Gauge,
        "Artifacts that are not deployed, or only in their last good version.",
        faulty,
    );
    let held = |n: &AtomicUsize| u64::try_from(n.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
    out.single(
        "myelin_aggregate_groups",
        Kind::Gauge,
        "Groups of aggregate mediators that wait for further messages.",
        held(&plan.held.groups),
    );
    out.single(
        "myelin_aggregate_bytes",
        Kind::Gauge,
        "What the messages of such groups hold, counted roughly.",
        held(&plan.held.bytes),
    );
    out.family(
        "myelin_requests_total",
        Kind::Counter,
        "Answered requests by proxy service (none: main sequence) and status class.",
    );
    let mut proxies: Vec<_> = plan.proxies.values().collect();
    proxies.sort_by(|a, b| a.name.cmp(&b.name));
    let services = proxies.iter().map(|p| (p.name.as_str(), &p.requests));
    for (proxy, requests) in services.chain([("", &plan.main_requests)]) {
        for (class, count) in requests.counts() {
            let labels = [("proxy", proxy), ("code", class)];
            out.sample("myelin_requests_total", &labels, count);
        }
    }
    endpoints(&plan.describe_endpoints(state.clock.now()), &mut out);
    out.finish()
}

fn instance(state: &State, out: &mut Text) {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let gauges = [
        (
            "myelin_client_connections",
            "Open connections of clients.",
            state.shutdown.connections(),
        ),
        (
            "myelin_backend_connections",
            "Open connections to back-ends, in use or not.",
            state.backend_connections.load(Ordering::Relaxed),
        ),
        (
            "myelin_requests_in_work",
            "Requests that have no answer yet.",
            state.shutdown.requests(),
        ),
        (
            "myelin_detached_flows",
            "Flows that outlived the connection of their client.",
            state.shutdown.flows(),
        ),
    ];
    for (name, help, value) in gauges {
        out.single(name, Kind::Gauge, help, count(value));
    }
}

/// Labels of a row: where it is tells endpoints of one name apart.
fn labels(row: &Described) -> [(&str, &str); 3] {
    [
        ("endpoint", row.name.as_str()),
        ("path", row.path.as_str()),
        ("address", row.address.as_deref().unwrap_or_default()),
    ]
}

fn endpoints(rows: &[Described], out: &mut Text) {
    const STATE: &str = "myelin_endpoint_state";
    out.family(STATE, Kind::Gauge, "1 for the state that an endpoint has.");
    for row in rows {
        let Some(state) = row.state else { continue };
        let [a, b, c] = labels(row);
        for word in STATES {
            let labels = [a, b, c, ("state", word)];
            out.sample(STATE, &labels, u64::from(word == state));
        }
    }
    let leaves: Vec<(&Described, &Counts)> = rows
        .iter()
        .filter_map(|row| Some((row, row.counts.as_ref()?)))
        .collect();
    const ATTEMPTS: &str = "myelin_endpoint_attempts_total";
    out.family(ATTEMPTS, Kind::Counter, "Requests that were to go out.");
    for (row, counts) in &leaves {
        out.sample(ATTEMPTS, &labels(row), counts.attempts);
    }
    const FAILURES: &str = "myelin_endpoint_failures_total";
    out.family(
        FAILURES,
        Kind::Counter,
        "Attempts without an answer, by ERROR_CODE.",
    );
    for (row, counts) in &leaves {
        let [a, b, c] = labels(row);
        for (code, count) in &counts.failures {
            out.sample(FAILURES, &[a, b, c, ("code", code)], *count);
        }
    }
    const CHANGES: &str = "myelin_endpoint_state_changes_total";
    out.family(
        CHANGES,
        Kind::Counter,
        "Changes of state, by the state after them.",
    );
    for row in rows {
        let [a, b, c] = labels(row);
        let changes = row.counts.as_ref().map(|counts| &counts.state_changes);
        for (to, count) in changes.unwrap_or(&row.switched) {
            out.sample(CHANGES, &[a, b, c, ("to", to)], *count);
        }
    }
    const HEALTH: &str = "myelin_endpoint_health_changes_total";
    out.family(
        HEALTH,
        Kind::Counter,
        "Changes of what health checks say of an endpoint.",
    );
    for (row, counts) in &leaves {
        if let Some(changes) = counts.health_changes {
            out.sample(HEALTH, &labels(row), changes);
        }
    }
    groups(rows, out);
    const SESSIONS: &str = "myelin_sessions";
    out.family(SESSIONS, Kind::Gauge, "Sessions that live in this process.");
    for row in rows {
        if let Some(sessions) = row.sessions {
            let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
            out.sample(SESSIONS, &labels(row)[..2], sessions);
        }
    }
}

/// Groups with a policy of their own.
fn groups(rows: &[Described], out: &mut Text) {
    const EJECTIONS: &str = "myelin_endpoint_ejections_total";
    const REFUSED: &str = "myelin_endpoint_retries_refused_total";
    let groups: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.balance.as_ref()?)))
        .collect();
    out.family(
        EJECTIONS,
        Kind::Counter,
        "Children of a group that outlier detection ejected.",
    );
    for (row, balance) in &groups {
        out.sample(EJECTIONS, &labels(row), balance.ejections);
    }
    out.family(
        REFUSED,
        Kind::Counter,
        "Attempts of a group that its retry budget did not allow.",
    );
    for (row, balance) in &groups {
        out.sample(REFUSED, &labels(row), balance.retries_refused);
    }
}
