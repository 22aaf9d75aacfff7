//! Splitting and aggregating under load: every client gets exactly one answer, the right one, and
//! nothing is left behind, whatever happens to the parts.

use crate::support::run::until;
use crate::support::wire::{Framing, Wire, header};
use myelin::clock::Clock;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Clients that send one message after the other.
const CLIENTS: usize = 16;
/// Messages of each: 10,000 together.
const MESSAGES: usize = 625;

/// The server is its own back-end. `{HERE}` is its address, `{DEAD}` one that refuses.
const ARTIFACTS: &str = r#"<definitions xmlns="http://ws.apache.org/ns/synapse">
  <endpoint name="Back"><address uri="http://{HERE}/services/Back"/></endpoint>
  <endpoint name="Dead"><address uri="http://{DEAD}/"><suspendOnFailure><errorCodes>1</errorCodes><initialDuration>1</initialDuration><progressionFactor>1</progressionFactor></suspendOnFailure></address></endpoint>
  <proxy name="Back"><target><inSequence><respond/></inSequence></target></proxy>
  <sequence name="part">
    <switch source="//q/@k">
      <case regex="throw"><throwError type="T" errorMessage="thrown"/></case>
      <case regex="drop"><drop/></case>
      <case regex="dead"><call><endpoint key="Dead"/></call></case>
      <default><call><endpoint key="Back"/></call></default>
    </switch>
  </sequence>
  <sequence name="failed"><property name="HTTP_SC" scope="axis2" value="500"/><respond/></sequence>
  <sequence name="count"><header name="X-Count" scope="transport" expression="count(//q)"/><property name="HTTP_SC" scope="axis2" value="200"/><respond/></sequence>
  <proxy name="Iterate"><target faultSequence="failed"><inSequence>
    <iterate expression="//q"><target sequence="part"/></iterate>
    <aggregate><onComplete expression="//q" sequence="count"/></aggregate>
  </inSequence></target></proxy>
  <proxy name="Clone"><target faultSequence="failed"><inSequence>
    <clone id="c">
      <target><sequence><iterate id="one" expression="//q[1]"><target sequence="part"/></iterate></sequence></target>
      <target><sequence><iterate id="two" expression="//q[2]"><target sequence="part"/></iterate></sequence></target>
    </clone>
    <aggregate id="c"><onComplete expression="//q" sequence="count"/></aggregate>
  </inSequence></target></proxy>
  <proxy name="Timed"><target><inSequence>
    <iterate expression="//q"><target sequence="part"/></iterate>
    <aggregate><completeCondition timeout="4"/><onComplete expression="//q" sequence="count"/></aggregate>
  </inSequence></target></proxy>
</definitions>"#;

async fn start(deployment: &Path) -> Server {
    // What its pool keeps are connections to itself.
    let toml = "[myelin]\nreload_debounce_ms = 10\nidle_connection_timeout = 300\n";
    let environment = Environment::of_process();
    let (mut settings, _) =
        parse(Path::new("deployment.toml"), toml, &environment).expect("settings");
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

/// One exchange on a kept connection: status and count.
async fn exchange(wire: &mut Wire<TcpStream>, path: &str, body: &str) -> (u16, Option<String>) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    wire.next();
    let sent = wire.stream().write_all(request.as_bytes()).await;
    assert!(sent.is_ok(), "{path} {body}: {sent:?}");
    let answer = async {
        let head = wire.head().await?;
        let status = head.first.split(' ').nth(1)?.parse().ok()?;
        let (_, complete) = wire.body(head.framing(Framing::Length(0))).await;
        complete.then(|| (status, header(&head.headers, "x-count").map(str::to_owned)))
    };
    let answer = timeout(Duration::from_secs(15), answer).await;
    let answer = answer.unwrap_or_else(|_| panic!("{path} {body}: no answer within 15 s"));
    answer.unwrap_or_else(|| panic!("{path} {body}: no complete answer"))
}

/// What happens to a part: mostly it comes back.
fn kind() -> &'static str {
    match fastrand::u8(..) {
        0..16 => "throw",
        16..32 => "dead",
        32..48 => "drop",
        _ => "ok",
    }
}

fn message(kinds: &[&str]) -> String {
    let parts: String = kinds.iter().map(|k| format!("<q k=\"{k}\"/>")).collect();
    format!("<r>{parts}</r>")
}

/// The answer that a message has to get.
fn expected(kinds: &[&str]) -> (u16, Option<String>) {
    if kinds.iter().any(|k| matches!(*k, "throw" | "dead")) {
        (500, None)
    } else if kinds.contains(&"drop") || kinds.is_empty() {
        (202, None)
    } else {
        (200, Some(format!("{}.0", kinds.len())))
    }
}

async fn client(address: SocketAddr) {
    let mut wire = Wire::new(TcpStream::connect(address).await.expect("a connection"));
    for number in 0..MESSAGES {
        let (path, count) = match number % 3 {
            0 => ("/services/Clone", 2),
            _ => ("/services/Iterate", fastrand::usize(0..6)),
        };
        let kinds: Vec<&str> = (0..count).map(|_| kind()).collect();
        let (status, count) = exchange(&mut wire, path, &message(&kinds)).await;
        let (wanted, parts) = expected(&kinds);
        assert_eq!(status, wanted, "{path} {kinds:?}");
        if status == 200 {
            assert_eq!(count, parts, "{path} {kinds:?}");
        }
    }
}

/// A group that not all come to ends with its timeout, and only then.
async fn timed(address: SocketAddr, kinds: &[&str]) {
    let mut wire = Wire::new(TcpStream::connect(address).await.expect("a connection"));
    let started = Instant::now();
    let (status, count) = exchange(&mut wire, "/services/Timed", &message(kinds)).await;
    let came = kinds.iter().filter(|k| **k == "ok").count();
    let waited = started.elapsed() >= Duration::from_secs(4);
    match came {
        0 => assert_ne!(status, 200, "{kinds:?}"),
        _ => {
            assert_eq!(
                (status, count),
                (200, Some(format!("{came}.0"))),
                "{kinds:?}"
            );
            assert_eq!(waited, came < kinds.len(), "{kinds:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_split_message_is_answered_once_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let server = start(folder.path()).await;
    let address = server.http.expect("the HTTP listener");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead_address = dead.local_addr().expect("an address");
    drop(dead);
    let artifacts = ARTIFACTS
        .replace("{HERE}", &address.to_string())
        .replace("{DEAD}", &dead_address.to_string());
    std::fs::write(folder.path().join("All.xml"), artifacts).expect("a written file");
    let mut status = server.status.clone();
    let reloaded = timeout(
        Duration::from_secs(10),
        status.wait_for(|s| s.generation > 1),
    );
    assert!(reloaded.await.is_ok_and(|r| r.is_ok()), "a reload");

    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(address)))
        .collect();
    for number in 0..40 {
        let kinds: Vec<&str> = (0..number % 4).map(|_| kind()).collect();
        clients.push(tokio::spawn(async move { timed(address, &kinds).await }));
    }
    for client in clients {
        client.await.expect("a client without complaints");
    }
    let held = server.engine().plan().held.clone();
    let left = || {
        (
            server.load(),
            held.groups.load(Ordering::Acquire),
            held.bytes.load(Ordering::Acquire),
        )
    };
    assert!(
        until(|| left() == ((0, 0, 0), 0, 0)).await,
        "left (connections, requests, flows), groups, bytes: {:?}",
        left()
    );
    assert_eq!(server.stop().await, 0, "exchanges that were cut");
}
