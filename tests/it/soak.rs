//! Reloading under load: no request is lost, every answer is right, nothing is left behind.

use crate::support::program::get;
use crate::support::run::until;
use crate::support::wire::{Framing, Wire, header};
use myelin::clock::Clock;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Reloads under load.
const RELOADS: u64 = 200;
/// Clients with a connection that they keep.
const CLIENTS: usize = 4;
const NAMESPACE: &str = "xmlns=\"http://ws.apache.org/ns/synapse\"";

async fn start(deployment: &Path, toml: &str) -> Server {
    let (mut settings, _) = parse(
        Path::new("deployment.toml"),
        toml,
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

/// Answers with the request's body and its own version.
fn direct(version: u64) -> String {
    format!(
        "<proxy name=\"Direct\" {NAMESPACE}><target><inSequence><header name=\"X-Version\" value=\"{version}\" scope=\"transport\"/><respond/></inSequence></target></proxy>"
    )
}

/// The same by way of a back-end, a named endpoint and an out sequence.
fn through(version: u64) -> String {
    format!(
        "<proxy name=\"Through\" {NAMESPACE}><target endpoint=\"Back\"><outSequence><header name=\"X-Version\" value=\"{version}\" scope=\"transport\"/><send/></outSequence></target></proxy>"
    )
}

/// The services that the clients use; the last one comes and goes.
const PATHS: [&str; 3] = ["/services/Direct", "/services/Through", "/services/Extra"];

/// What the clients check their answers against.
#[derive(Default)]
struct Versions {
    /// The newest of each of the first two services that is certainly live.
    live: [AtomicU64; 2],
    /// The newest that may be live.
    written: AtomicU64,
    stop: AtomicBool,
    answered: AtomicU64,
}

/// One exchange on a kept connection: status, version, body.
async fn exchange(
    stream: &mut Wire<TcpStream>,
    path: &str,
    body: &str,
) -> Option<(u16, Option<u64>, String)> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.next();
    stream.stream().write_all(request.as_bytes()).await.ok()?;
    let head = stream.head().await?;
    let status = head.first.split(' ').nth(1)?.parse().ok()?;
    let (body, complete) = stream.body(head.framing(Framing::Length(0))).await;
    let version = header(&head.headers, "x-version").and_then(|v| v.parse().ok());
    complete.then(|| (status, version, String::from_utf8_lossy(&body).into_owned()))
}

/// Sends requests one after the other on one connection that is never opened anew.
async fn client(number: usize, address: SocketAddr, versions: Arc<Versions>) {
    let mut stream = Wire::new(TcpStream::connect(address).await.expect("a connection"));
    let mut newest = [0; 2];
    let mut count = 0_u64;
    while !versions.stop.load(Ordering::Acquire) {
        count += 1;
        let body = format!("<n>{number}-{count}</n>");
        let which = usize::try_from(count % 3).unwrap_or(0);
        let path = PATHS[which];
        let oldest = versions.live.get(which).map(|v| v.load(Ordering::Acquire));
        let answer = timeout(Duration::from_secs(10), exchange(&mut stream, path, &body)).await;
        let (status, version, text) = answer
            .unwrap_or_else(|_| panic!("{path} {body}: no answer within 10 s"))
            .unwrap_or_else(|| panic!("{path} {body}: the connection ended"));
        if which == 2 {
            // It comes and goes.
            assert!(matches!(status, 200 | 404), "{path} {body}: {status}");
            if status == 200 {
                assert_eq!(text, body);
            }
        } else {
            assert_eq!((status, &text), (200, &body), "{path}");
            let version = version.unwrap_or_else(|| panic!("{path} {body}: no version"));
            let most = versions.written.load(Ordering::Acquire);
            assert!(
                (oldest..=Some(most)).contains(&Some(version)),
                "{path} {body}: version {version}, not one of {oldest:?} to {most}"
            );
            assert!(
                version >= newest[which],
                "{path}: {version} after {}",
                newest[which]
            );
            newest[which] = version;
        }
        versions.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// Waits for a generation above this one.
async fn above(server: &Server, generation: u64) {
    let mut status = server.status.clone();
    let reloaded = status.wait_for(|s| s.generation > generation);
    let outcome = timeout(Duration::from_secs(10), reloaded).await;
    let known = outcome.expect("a reload within 10 s").is_ok();
    assert!(known, "the server has ended");
}

/// The version that answers now.
async fn current(address: SocketAddr, path: &str) -> Option<u64> {
    let reply = get(address, path).await.expect("an answer");
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    header(&reply.headers, "x-version").and_then(|v| v.parse().ok())
}

/// Waits until a version answers.
async fn becomes(address: SocketAddr, path: &str, version: u64) {
    let started = Instant::now();
    loop {
        let now = current(address, path).await;
        if now == Some(version) {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{path}: version {version} is not live after 5 s, but {now:?} is"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn generation(server: &Server) -> u64 {
    server.status.borrow().generation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_under_load_lose_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        // Some editors write in place, others rename.
        if text.len().is_multiple_of(2) {
            std::fs::write(folder.path().join(name), text).expect("a written file");
        } else {
            let other = folder.path().join("being-written.tmp");
            std::fs::write(&other, text).expect("a written file");
            std::fs::rename(&other, folder.path().join(name)).expect("a renamed file");
        }
    };
    write("Direct.xml", &direct(0));
    write("Through.xml", &through(0));
    write(
        "Target.xml",
        &format!(
            "<proxy name=\"Target\" {NAMESPACE}><target><inSequence><respond/></inSequence></target></proxy>"
        ),
    );
    // The server is its own back-end: what its pool keeps are connections to itself.
    let settings = "[myelin]\nreload_debounce_ms = 10\nidle_connection_timeout = 300\n";
    let server = start(folder.path(), settings).await;
    let address = server.http.expect("the HTTP listener");
    write(
        "Back.xml",
        &format!(
            "<endpoint name=\"Back\" {NAMESPACE}><address uri=\"http://{address}/services/Target\"/></endpoint>"
        ),
    );
    above(&server, 1).await;

    let versions = Arc::new(Versions::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(number, address, versions.clone())))
        .collect();
    let (mut reloads, mut version) = (0, 0);
    while reloads < RELOADS && clients.iter().all(|c| !c.is_finished()) {
        let before = generation(&server);
        let touched: &[usize] = match reloads % 10 {
            7 => {
                write(
                    "Extra.xml",
                    &format!(
                        "<proxy name=\"Extra\" {NAMESPACE}><target><inSequence><respond/></inSequence></target></proxy>"
                    ),
                );
                &[]
            }
            9 => {
                std::fs::remove_file(folder.path().join("Extra.xml")).expect("a removed file");
                &[]
            }
            // Broken now and then: the last good version answers.
            4 => {
                write(
                    "Direct.xml",
                    &format!("<proxy name=\"Direct\" {NAMESPACE}><target><inSequence><respond"),
                );
                &[]
            }
            odd => {
                version += 1;
                versions.written.store(version, Ordering::Release);
                write("Direct.xml", &direct(version));
                if odd % 2 == 0 {
                    write("Through.xml", &through(version));
                    &[0, 1]
                } else {
                    &[0]
                }
            }
        };
        above(&server, before).await;
        // A late load of the file before may have been the one that was seen.
        for which in touched {
            becomes(address, PATHS[*which], version).await;
            versions.live[*which].store(version, Ordering::Release);
        }
        reloads += 1;
    }
    versions.stop.store(true, Ordering::Release);
    for client in clients {
        client.await.expect("a client without complaints");
    }
    assert_eq!(reloads, RELOADS);
    assert!(
        versions.answered.load(Ordering::Acquire) > RELOADS,
        "the clients were busy"
    );
    assert!(
        until(|| server.load() == (0, 0, 0)).await,
        "connections, requests, flows that are left: {:?}",
        server.load()
    );
    assert_eq!(server.stop().await, 0, "exchanges that were cut");
}

/// From the end of a write to the first answer of the new version, with the default settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_live_within_300_ms() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("Direct.xml");
    std::fs::write(&path, direct(0)).expect("a written file");
    let server = start(folder.path(), "").await;
    let address = server.http.expect("the HTTP listener");
    let mut times = Vec::new();
    for version in 1..=15 {
        let text = direct(version);
        if version % 3 == 0 {
            let other = folder.path().join("other.tmp");
            std::fs::write(&other, text).expect("a written file");
            std::fs::rename(&other, &path).expect("a renamed file");
        } else {
            std::fs::write(&path, text).expect("a written file");
        }
        let written = Instant::now();
        becomes(address, PATHS[0], version).await;
        times.push(written.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(300), "{times:?}");
    assert_eq!(server.stop().await, 0);
}
