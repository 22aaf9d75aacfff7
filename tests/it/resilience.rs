//! What runs beside the messages: health checks, metrics, events of endpoint states.

use crate::support::backend::Backend;
use crate::support::format::BackendSpec;
use crate::support::program::{Program, post};
use crate::support::run::until;
use crate::support::wire::{Framing, Wire};
use myelin::clock::Clock;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use regex::Regex;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const NAMESPACE: &str = "xmlns=\"http://ws.apache.org/ns/synapse\"";

async fn start(deployment: &Path) -> Server {
    let toml = "[myelin]\nreload_debounce_ms = 10\nidle_connection_timeout = 200\n";
    let (mut settings, _) = parse(
        Path::new("deployment.toml"),
        toml,
        &Environment::of_process(),
    )
    .expect("settings");
    settings.http.port = 0;
    settings.http.secured_port = 0;
    settings.server.workers = 1;
    settings.server.shutdown_timeout = Duration::from_secs(10);
    Server::start(Options {
        deployment: deployment.to_owned(),
        settings,
        management_port: 0,
        internal_port: 0,
        loopback: true,
        clock: Clock::default(),
        lines: Some(Arc::default()),
    })
    .await
    .expect("a server")
}

fn backend(name: &str) -> Backend {
    let mut backend = Backend::reserve(name, false).expect("a port");
    backend.start().expect("a back-end");
    backend
}

fn answers(backend: &Backend, status: i64) {
    let mut table = toml::Table::new();
    table.insert("name".into(), backend.name.clone().into());
    table.insert("status".into(), status.into());
    let spec = BackendSpec::read(table, "name").expect("a description");
    backend.behave(&spec, Path::new(".")).expect("a back-end");
}

/// The state word of an endpoint.
fn state(server: &Server, name: &str) -> Option<&'static str> {
    let rows = server
        .engine()
        .plan()
        .describe_endpoints(server.clock.now());
    rows.iter().find(|row| row.name == name)?.state
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a written file");
}

async fn ask(server: &Server, service: &str) -> (u16, String) {
    let address = server.http.expect("the HTTP listener");
    let path = format!("/services/{service}");
    let reply = post(address, &path, "text/xml", "<x/>").await;
    let reply = reply.expect("an answer");
    (reply.status, reply.body)
}

/// A page, whole.
async fn page(address: SocketAddr, path: &str) -> String {
    let mut wire = Wire::new(TcpStream::connect(address).await.expect("a connection"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let written = wire.stream().write_all(request.as_bytes()).await;
    written.expect("a written request");
    let head = wire.head().await.expect("an answer");
    assert!(head.first.contains(" 200 "), "{}", head.first);
    let (body, complete) = wire.body(head.framing(Framing::Length(0))).await;
    assert!(complete);
    String::from_utf8(body).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_run_while_their_endpoint_is_deployed() {
    let (a, b) = (backend("A"), backend("B"));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let server = start(folder.path()).await;
    // Two listeners with their timers, and what looks after health checks.
    let tasks = 5;
    assert!(
        until(|| server.tasks() == tasks).await,
        "{}",
        server.tasks()
    );
    let child = |backend: &Backend| {
        format!(
            "<endpoint name=\"{}\"><address uri=\"http://{}/\"/><property name=\"myelin.health_check.path\" value=\"/up\"/><property name=\"myelin.health_check.interval\" value=\"10ms\"/></endpoint>",
            backend.name, backend.address
        )
    };
    let proxy = format!(
        "<proxy name=\"P\" {NAMESPACE}><target><endpoint name=\"G\"><loadbalance>{}{}</loadbalance></endpoint></target></proxy>",
        child(&a),
        child(&b)
    );
    write(folder.path(), "P.xml", &proxy);
    assert!(until(|| a.count() > 2 && b.count() > 2).await, "checks run");
    let seen = a.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path.as_str()),
        ("GET", "/up")
    );

    // One that fails its checks gets no messages, whatever its last answers were.
    assert_eq!(state(&server, "A"), Some("ACTIVE"));
    answers(&a, 503);
    assert!(until(|| state(&server, "A") == Some("UNHEALTHY")).await);
    for _ in 0..4 {
        assert_eq!(ask(&server, "P").await, (200, "B".to_owned()));
    }
    // With all of them unhealthy nobody is ready.
    answers(&b, 503);
    assert!(until(|| state(&server, "B") == Some("UNHEALTHY")).await);
    let (status, text) = ask(&server, "P").await;
    assert_eq!(status, 500);
    assert!(text.contains("no ready child endpoints"), "{text}");
    answers(&b, 200);
    answers(&a, 200);
    let active = |name| state(&server, name) == Some("ACTIVE");
    assert!(until(|| active("A") && active("B")).await);
    let answers = [ask(&server, "P").await.1, ask(&server, "P").await.1];
    assert!(answers.contains(&"A".to_owned()), "{answers:?}");

    // A change of something else leaves them alone; without their endpoint they end.
    let generation = server.status.borrow().generation;
    write(
        folder.path(),
        "Other.xml",
        &format!("<sequence name=\"Other\" {NAMESPACE}/>"),
    );
    assert!(until(|| server.status.borrow().generation > generation).await);
    a.forget_requests();
    assert!(until(|| a.count() > 2).await, "checks go on");
    std::fs::remove_file(folder.path().join("P.xml")).expect("a removed file");
    assert!(until(|| state(&server, "A").is_none()).await, "undeployed");
    // The client's sweeper has started meanwhile.
    assert!(
        until(|| server.tasks() <= tasks + 1).await,
        "{} tasks after {tasks}",
        server.tasks()
    );
    assert_eq!(server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_what_happened() {
    let mut a = backend("A");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let address = a.address;
    write(
        folder.path(),
        "P.xml",
        &format!(
            "<proxy name=\"P\" {NAMESPACE}><target><endpoint name=\"E\"><address uri=\"http://{address}/\"/></endpoint></target></proxy>"
        ),
    );
    write(
        folder.path(),
        "S.xml",
        &format!(
            "<proxy name=\"S\" {NAMESPACE}><target><endpoint name=\"G\"><session type=\"http\"/><loadbalance><endpoint><address uri=\"http://{address}/\"/></endpoint><endpoint><address uri=\"http://{address}/x\"/></endpoint></loadbalance></endpoint></target></proxy>"
        ),
    );
    write(folder.path(), "Bad.xml", "<proxy");
    let server = start(folder.path()).await;
    for _ in 0..3 {
        assert_eq!(ask(&server, "P").await.0, 200);
    }
    a.stop().await.expect("a stopped back-end");
    assert!(until(|| server.backend_connections() == 0).await);
    // Refused, then suspended.
    for _ in 0..2 {
        assert_eq!(ask(&server, "P").await.0, 500);
    }
    assert_eq!(ask(&server, "None").await.0, 404);
    let reply = page(server.internal.expect("the internal port"), "/metrics").await;
    let own = format!("endpoint=\"E\",path=\"/proxy:P/E\",address=\"http://{address}/\"");
    for line in [
        "myelin_requests_total{proxy=\"P\",code=\"2xx\"} 3".to_owned(),
        "myelin_requests_total{proxy=\"P\",code=\"5xx\"} 2".to_owned(),
        "myelin_requests_total{proxy=\"\",code=\"4xx\"} 1".to_owned(),
        format!("myelin_endpoint_attempts_total{{{own}}} 4"),
        format!("myelin_endpoint_failures_total{{{own},code=\"101503\"}} 1"),
        format!("myelin_endpoint_state{{{own},state=\"SUSPENDED\"}} 1"),
        format!("myelin_endpoint_state{{{own},state=\"ACTIVE\"}} 0"),
        format!("myelin_endpoint_state_changes_total{{{own},to=\"SUSPENDED\"}} 1"),
        "myelin_sessions{endpoint=\"G\",path=\"/proxy:S/G\"} 0".to_owned(),
        "myelin_faulty_artifacts 1".to_owned(),
        "myelin_reloads_total 0".to_owned(),
        "myelin_requests_in_work 0".to_owned(),
        "myelin_detached_flows 0".to_owned(),
    ] {
        let family = line.split('{').next().unwrap_or_default();
        let near: Vec<&str> = reply.lines().filter(|l| l.starts_with(family)).collect();
        assert!(near.contains(&line.as_str()), "{line}: {near:#?}");
    }
    // Every line is one of the format, and no series comes twice.
    let sample = Regex::new(
        r#"^([a-z_]+(?:\{[a-z_]+="(?:[^"\\]|\\.)*"(?:,[a-z_]+="(?:[^"\\]|\\.)*")*\})?) \d+$"#,
    )
    .expect("a pattern");
    let mut series = HashSet::new();
    for line in reply.lines().filter(|l| !l.starts_with("# ")) {
        let found = sample.captures(line).unwrap_or_else(|| panic!("{line}"));
        assert!(series.insert(found[1].to_owned()), "twice: {line}");
    }
    let list = page(server.internal.expect("the internal port"), "/endpoints").await;
    for part in [
        "\"attempts\":4",
        "\"101503\":1",
        "\"SUSPENDED\":1",
        "\"sessions\":0",
    ] {
        assert!(list.contains(part), "{part}\n{}", list);
    }
    assert_eq!(server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_state_is_one_event_with_fields() {
    let down = Backend::reserve("A", false).expect("a port");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let address = down.address;
    write(
        folder.path(),
        "P.xml",
        &format!(
            "<proxy name=\"P\" {NAMESPACE}><target><endpoint name=\"E\"><address uri=\"http://{address}/\"/></endpoint></target></proxy>"
        ),
    );
    let program = Program::run(folder.path(), &[]);
    let at = program.address("HTTP").await;
    for _ in 0..2 {
        let reply = post(at, "/services/P", "text/xml", "<x/>").await;
        assert_eq!(reply.expect("an answer").status, 500);
    }
    let event = |output: &str| -> Vec<String> {
        let lines = output.lines().filter(|l| l.contains("to=\"SUSPENDED\""));
        lines.map(str::to_owned).collect()
    };
    assert!(
        until(|| !event(&program.output()).is_empty()).await,
        "{}",
        program.output()
    );
    let events = event(&program.output());
    assert_eq!(events.len(), 1, "{events:#?}");
    for part in [
        "endpoint=\"E\"",
        &format!("address=http://{address}/"),
        "from=\"ACTIVE\"",
        "code=101503",
        "retry_in_ms=30000",
        "Suspending endpoint : E",
    ] {
        assert!(events[0].contains(part), "{part}: {}", events[0]);
    }
}

/// Spec 02 §7.7, §18.1 rows 4, 9 and 10: what the log says of every step to a suspension and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_counts_down_to_a_suspension() {
    let mut a = Backend::reserve("A", false).expect("a port");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let address = a.address;
    write(
        folder.path(),
        "P.xml",
        &format!(
            "<proxy name=\"P\" {NAMESPACE}><target><endpoint name=\"E\"><address uri=\"http://{address}/\"><markForSuspension><errorCodes>101503</errorCodes><retriesBeforeSuspension>3</retriesBeforeSuspension><retryDelay>0</retryDelay></markForSuspension><suspendOnFailure><initialDuration>1</initialDuration><progressionFactor>2</progressionFactor></suspendOnFailure></address></endpoint></target></proxy>"
        ),
    );
    let program = Program::run(folder.path(), &[]);
    let at = program.address("HTTP").await;
    // The status of the next request that is sent on: a suspension takes a millisecond or two.
    let ask = async || {
        for _ in 0..1000 {
            let reply = post(at, "/services/P", "text/xml", "<x/>").await;
            let reply = reply.expect("an answer");
            if !reply.body.contains("State : SUSPENDED") {
                return reply.status;
            }
        }
        panic!("suspended for good:\n{}", program.output());
    };
    for _ in 0..5 {
        assert_eq!(ask().await, 500);
    }
    let pattern = |text: &str| Regex::new(text).expect("a pattern");
    let said = |text: &str| {
        let pattern = pattern(text);
        program
            .output()
            .lines()
            .filter(|l| pattern.is_match(l))
            .count()
    };
    let first = r"Suspending endpoint : E with address \S+ - current suspend duration is : 1ms - Next retry after : ";
    let second = r"Suspending endpoint : E with address \S+ - last suspend duration was : 1ms and current suspend duration is : 2ms - Next retry after : ";
    a.start().expect("a back-end");
    assert_eq!(ask().await, 200);
    let active = r"Endpoint : E with address \S+ currently SUSPENDED will now be marked active since it processed its last message";
    assert!(until(|| said(active) == 1).await, "{}", program.output());

    let output = program.output();
    let about = pattern(r"Endpoint : E with address |Suspending endpoint : E with address ");
    let lines: Vec<&str> = output.lines().filter(|l| about.is_match(l)).collect();
    let order = [
        r"is marked as TIMEOUT and will be retried : 2 more time/s after : .+ until its marked SUSPENDED for failure",
        r"is marked as TIMEOUT and will be retried : 1 more time/s",
        r"is marked as TIMEOUT and will be retried : 0 more time/s",
        r"has been marked for SUSPENSION, but no further retries remain. Thus it will be SUSPENDED\.",
        first,
        r"has been marked for SUSPENSION, but no further retries remain. Thus it will be SUSPENDED\.",
        second,
        active,
    ];
    assert_eq!(lines.len(), order.len(), "{lines:#?}");
    for (line, wanted) in lines.iter().zip(order) {
        assert!(pattern(wanted).is_match(line), "{wanted}\n{line}");
    }
}
