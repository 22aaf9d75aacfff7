//! Several runtimes that share their sessions in a Redis. Runs when `MYELIN_TEST_REDIS_URL` is set;
//! what must work without a Redis is tested always.

use crate::support::backend::Backend;
use crate::support::run::until;
use crate::support::wire::{Framing, Wire};
use myelin::clock::Clock;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use myelin::transport::tls::{ClientCertificates, Identity, server_config};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const NAMESPACE: &str = "xmlns=\"http://ws.apache.org/ns/synapse\"";

async fn server(deployment: &Path, redis: &str, prefix: &str) -> Server {
    server_with(deployment, redis, prefix, "connect_timeout = 100\n").await
}

async fn server_with(deployment: &Path, redis: &str, prefix: &str, more: &str) -> Server {
    let toml =
        format!("[myelin.sessions]\nredis_url = \"{redis}\"\nkey_prefix = \"{prefix}\"\n{more}");
    let (mut settings, _) = parse(
        Path::new("deployment.toml"),
        &toml,
        &Environment::of_process(),
    )
    .expect("settings");
    settings.http.port = 0;
    settings.http.secured_port = 0;
    settings.server.workers = 2;
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

/// A proxy in front of the back-ends, with sessions.
fn deployment(backends: &[Backend], timeout: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let children: String = backends
        .iter()
        .map(|b| format!("<endpoint name=\"{}\"><address uri=\"http://{}/\"><suspendOnFailure><initialDuration>0</initialDuration></suspendOnFailure></address></endpoint>", b.name, b.address))
        .collect();
    let text = format!(
        "<proxy name=\"P\" {NAMESPACE}><target><endpoint name=\"G\"><session type=\"simpleClientSession\"><sessionTimeout>{timeout}</sessionTimeout></session><loadbalance>{children}</loadbalance></endpoint></target></proxy>"
    );
    std::fs::write(folder.path().join("P.xml"), text).expect("a written file");
    folder
}

fn backends(names: &[&str]) -> Vec<Backend> {
    let start = |name: &&str| {
        let mut backend = Backend::reserve(name, false).expect("a port");
        backend.start().expect("a back-end");
        backend
    };
    names.iter().map(start).collect()
}

/// One message of a session; the answer's body is the name of its back-end.
async fn ask(address: SocketAddr, id: &str) -> (u16, String) {
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><c:ClientID xmlns:c=\"http://ws.apache.org/ns/synapse\">{id}</c:ClientID></s:Header><s:Body><x/></s:Body></s:Envelope>"
    );
    let request = format!(
        "POST /services/P HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut wire = Wire::new(TcpStream::connect(address).await.expect("a connection"));
    wire.stream()
        .write_all(request.as_bytes())
        .await
        .expect("a written request");
    let head = wire.head().await.expect("an answer");
    let status = head.first.split(' ').nth(1).and_then(|s| s.parse().ok());
    let (body, complete) = wire.body(head.framing(Framing::Length(0))).await;
    assert!(complete, "{id}: the answer is incomplete");
    (
        status.expect("a status"),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

/// The test's Redis, and a prefix that no other test run has.
fn redis() -> Option<(String, String)> {
    let url = std::env::var("MYELIN_TEST_REDIS_URL").ok()?;
    let prefix = format!("myelin:test:{}:{}:", std::process::id(), fastrand::u64(..));
    Some((url, prefix))
}

/// Keys that begin with the prefix.
async fn keys(url: &str, prefix: &str) -> Vec<String> {
    let client = redis::Client::open(url).expect("an address");
    let mut link = client
        .get_multiplexed_async_connection()
        .await
        .expect("a Redis");
    redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut link)
        .await
        .expect("keys")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_their_sessions() {
    let Some((url, prefix)) = redis() else { return };
    let mut backends = backends(&["A", "B", "C"]);
    let folder = deployment(&backends, 60_000);
    let servers = [
        server(folder.path(), &url, &prefix).await,
        server(folder.path(), &url, &prefix).await,
    ];
    let [one, two] = [0, 1].map(|n| servers[n].http.expect("the HTTP listener"));
    // Bound by one, known to the other.
    for n in 0..12 {
        let id = format!("s{n}");
        let first = ask(one, &id).await;
        assert_eq!(first.0, 200);
        assert_eq!(ask(two, &id).await, first, "{id}");
        assert_eq!(ask(one, &id).await, first, "{id}");
    }
    // First messages at the same time: one choice counts for all that follow.
    for n in 0..12 {
        let id = format!("p{n}");
        let (left, right) = tokio::join!(ask(one, &id), ask(two, &id));
        assert_eq!((left.0, right.0), (200, 200));
        assert_eq!(left, right, "{id}: both went where the first binding says");
        assert_eq!(ask(one, &id).await, ask(two, &id).await, "{id}");
    }
    // The choice of a first message that failed does not stay.
    backends[0].stop().await.expect("a stopped back-end");
    for n in 0..6 {
        let id = format!("f{n}");
        let first = ask(one, &id).await;
        assert_eq!(first.0, 200, "{id}: {}", first.1);
        assert_ne!(first.1, "A");
        assert_eq!(ask(two, &id).await, first, "{id}");
    }
    for server in servers {
        assert_eq!(server.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_sessions_end_at_an_absolute_time() {
    let Some((url, prefix)) = redis() else { return };
    let backends = backends(&["A", "B"]);
    let folder = deployment(&backends, 2000);
    let server = server(folder.path(), &url, &prefix).await;
    let address = server.http.expect("the HTTP listener");
    let first = ask(address, "x").await;
    assert_eq!(keys(&url, &prefix).await.len(), 1);
    // Messages do not prolong it: with one every few milliseconds it still ends.
    let started = tokio::time::Instant::now();
    let mut last = first.clone();
    while last == first {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the session does not end"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
        last = ask(address, "x").await;
    }
    assert_eq!(last.0, 200);
    assert_eq!(server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_fails_no_request() {
    // Reserved and not listening: refused at once.
    let nobody = Backend::reserve("R", false).expect("a port");
    let backends = backends(&["A", "B"]);
    let folder = deployment(&backends, 60_000);
    let url = format!("redis://{}/", nobody.address);
    let server = server(folder.path(), &url, "x:").await;
    let address = server.http.expect("the HTTP listener");
    for n in 0..6 {
        let id = format!("s{n}");
        let first = ask(address, &id).await;
        assert_eq!(first.0, 200);
        for _ in 0..3 {
            assert_eq!(ask(address, &id).await, first, "{id}");
        }
    }
    assert!(until(|| server.load() == (0, 0, 0)).await);
    assert_eq!(server.stop().await, 0);
}

/// Accepts, and answers nothing.
async fn mute(listener: TcpListener) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_fails_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}/", listener.local_addr().expect("an address"));
    let hanging = tokio::spawn(mute(listener));
    let backends = backends(&["A", "B"]);
    let folder = deployment(&backends, 60_000);
    let server = server(folder.path(), &url, "x:").await;
    let address = server.http.expect("the HTTP listener");
    for n in 0..6 {
        let id = format!("s{n}");
        let first = ask(address, &id).await;
        assert_eq!(first.0, 200);
        assert_eq!(ask(address, &id).await, first, "{id}");
    }
    hanging.abort();
    assert_eq!(server.stop().await, 0);
}

/// A way to a Redis that can be cut: nothing passes once [`Gate::cut`] has returned.
#[derive(Clone)]
struct Gate {
    open: tokio::sync::watch::Sender<bool>,
    passing: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> Self {
        Self {
            open: tokio::sync::watch::Sender::new(true),
            passing: Arc::default(),
        }
    }

    async fn serve(self, listener: TcpListener, redis: String) {
        while let Ok((mut near, _)) = listener.accept().await {
            let (redis, gate) = (redis.clone(), self.clone());
            gate.passing.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(async move {
                let mut open = gate.open.subscribe();
                let pass = async {
                    let mut far = TcpStream::connect(redis).await.ok()?;
                    tokio::io::copy_bidirectional(&mut near, &mut far)
                        .await
                        .ok()
                };
                tokio::select! {
                    biased;
                    _ = open.wait_for(|open| !open) => {}
                    _ = pass => {}
                }
                gate.passing.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    async fn cut(&self) {
        self.open.send_replace(false);
        let started = tokio::time::Instant::now();
        while self.passing.load(Ordering::Acquire) > 0 {
            assert!(started.elapsed() < Duration::from_secs(10), "not cut");
            tokio::task::yield_now().await;
        }
    }

    fn mend(&self) {
        self.open.send_replace(true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_outlive_a_redis_that_goes_and_comes_back() {
    let Some((url, prefix)) = redis() else { return };
    let client = redis::Client::open(url.as_str()).expect("an address");
    let far = client.get_connection_info().addr().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let near = format!("redis://{}/", listener.local_addr().expect("an address"));
    let gate = Gate::new();
    let serving = tokio::spawn(gate.clone().serve(listener, far));
    let backends = backends(&["A", "B", "C"]);
    let folder = deployment(&backends, 60_000);
    let one = server(folder.path(), &near, &prefix).await;
    let two = server(folder.path(), &url, &prefix).await;
    let [at_one, at_two] = [&one, &two].map(|s| s.http.expect("the HTTP listener"));

    // Known to all, then to this process alone.
    let before = ask(at_one, "before").await;
    assert_eq!(keys(&url, &prefix).await.len(), 1);
    gate.cut().await;
    assert_eq!(ask(at_one, "before").await, before);
    let during = ask(at_one, "during").await;
    assert_eq!((before.0, during.0), (200, 200));
    assert_eq!(ask(at_one, "during").await, during);
    assert_eq!(keys(&url, &prefix).await.len(), 1);
    // When Redis is back it learns of what began meanwhile.
    gate.mend();
    let started = tokio::time::Instant::now();
    while keys(&url, &prefix).await.len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(10), "not told");
        assert_eq!(ask(at_one, "during").await, during);
    }
    assert_eq!(ask(at_two, "before").await, before);
    assert_eq!(ask(at_two, "during").await, during);
    assert_eq!(one.stop().await, 0);
    assert_eq!(two.stop().await, 0);
    serving.abort();
}

/// TLS in front of a Redis.
async fn secure(listener: TcpListener, identity: Identity, redis: String) {
    let config = server_config(identity, &ClientCertificates::Ignored).expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, redis) = (acceptor.clone(), redis.clone());
        tokio::spawn(async move {
            // Who does not trust the certificate ends the handshake.
            let mut near = acceptor.accept(stream).await.ok()?;
            let mut far = TcpStream::connect(redis).await.ok()?;
            tokio::io::copy_bidirectional(&mut near, &mut far)
                .await
                .ok()
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_shared_over_tls_with_a_redis_that_is_trusted() {
    let Some((url, prefix)) = redis() else { return };
    let client = redis::Client::open(url.as_str()).expect("an address");
    let far = client.get_connection_info().addr().to_string();
    let identity = Identity::self_signed(&[]).expect("a certificate");
    let certificate = identity.certificate_pem();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = tokio::spawn(secure(listener, identity, far));
    let near = format!("rediss://localhost:{port}/");

    let backends = backends(&["A", "B"]);
    let folder = deployment(&backends, 60_000);
    let other = tempfile::tempdir().expect("a temporary directory");
    let file = other.path().join("ca.pem");
    std::fs::write(&file, certificate).expect("a written file");
    let wait = "connect_timeout = 10000\ncommand_timeout = 10000\n";
    let trust = format!(
        "{wait}[transport.http]\nsender.ca_file = \"{}\"\n",
        file.display()
    );
    let one = server_with(folder.path(), &near, &prefix, &trust).await;
    let two = server_with(folder.path(), &url, &prefix, wait).await;
    let [at_one, at_two] = [&one, &two].map(|s| s.http.expect("the HTTP listener"));
    for n in 0..6 {
        let id = format!("s{n}");
        let first = ask(at_one, &id).await;
        assert_eq!(first.0, 200);
        assert_eq!(ask(at_two, &id).await, first, "{id}");
    }
    assert_eq!(keys(&url, &prefix).await.len(), 6);
    // Without trust in the certificate nothing is said to it; requests do not fail for that.
    let three = server_with(folder.path(), &near, &prefix, wait).await;
    assert_eq!(
        ask(three.http.expect("the HTTP listener"), "t").await.0,
        200
    );
    assert_eq!(keys(&url, &prefix).await.len(), 6);
    for server in [one, two, three] {
        assert_eq!(server.stop().await, 0);
    }
    serving.abort();
}
