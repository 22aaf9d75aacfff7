//! The real program: what it logs, its exit codes, its signals, and the sample it ships with.

use crate::support::program::{Program, ask, get, post};
use crate::support::run::until;
use crate::support::wire::header;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const NAMESPACE: &str = "xmlns=\"http://ws.apache.org/ns/synapse\"";

fn deployment(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let text = text.replace("NAMESPACE", NAMESPACE);
        std::fs::write(folder.path().join(name), text).expect("a written file");
    }
    folder
}

const ECHO: (&str, &str) = (
    "Echo.xml",
    "<proxy name=\"Echo\" NAMESPACE><target><inSequence><respond/></inSequence></target></proxy>",
);
const MORE: (&str, &str) = (
    "more.xml",
    "<definitions NAMESPACE><sequence name=\"A\"/><sequence name=\"B\"/><localEntry key=\"C\">c</localEntry></definitions>",
);

/// A back-end that accepts one connection and then says nothing; held until it is dropped.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    (listener, address)
}

#[tokio::test]
async fn a_start_logs_every_address_and_when_it_is_ready() {
    let folder = deployment(&[ECHO, MORE]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;
    let ready = program.line(" ready in ").await;
    let pattern = regex::Regex::new(
        r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\]  INFO \{Server\} - ready in \d+ ms: 1 proxy service, 2 sequences, 0 endpoints, 1 local entry$",
    )
    .expect("a pattern");
    assert!(pattern.is_match(&ready), "{ready}");

    let mut ports = vec![http.port()];
    for listener in [" HTTPS", " management", " internal"] {
        ports.push(program.address(listener).await.port());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "{}", program.output());
    assert!(!ports.contains(&0), "{}", program.output());

    let reply = post(http, "/services/Echo", "text/xml", "<a/>").await;
    assert_eq!(reply.map(|r| r.body).as_deref(), Some("<a/>"));
    let internal = program.address(" internal").await;
    let health = get(internal, "/healthz").await.expect("an answer");
    assert_eq!(health.status, 200);
    for part in ["\"status\":\"ready\"", "\"proxies\":1", "\"sequences\":2"] {
        assert!(health.body.contains(part), "{}", health.body);
    }
    let liveness = get(internal, "/liveness").await.expect("an answer");
    assert_eq!(liveness.body, "{\"server\":\"started\"}");
    // Probes do not stand on the port of the messages.
    assert_eq!(get(http, "/healthz").await.map(|r| r.status), Some(404));

    program.signal("TERM");
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("stopped; nothing was cut"), "{output}");
}

#[tokio::test]
async fn a_directory_that_is_missing_is_said_last() {
    let folder = deployment(&[]);
    let program = Program::run(&folder.path().join("deploymnet"), &[]);
    program.ready().await;
    let line = program.line("nothing is deployed: the directory").await;
    assert!(line.contains("deploymnet does not exist"), "{line}");
}

#[tokio::test]
async fn the_internal_ports_can_be_closed() {
    let folder = deployment(&[ECHO]);
    let settings = folder.path().join("deployment.toml");
    let text = "[mediation]\ninternal_http_api_enable = false\n";
    std::fs::write(&settings, text).expect("written settings");
    let settings = settings.display().to_string();
    let program = Program::run(folder.path(), &["--config", &settings]);
    let http = program.ready().await;
    program.line(" ready in ").await;
    let reply = post(http, "/services/Echo", "text/xml", "<a/>").await;
    assert_eq!(reply.map(|r| r.body).as_deref(), Some("<a/>"));
    let output = program.output();
    for listener in ["management listens", "internal listens"] {
        assert!(!output.contains(listener), "{output}");
    }
}

#[tokio::test]
async fn management_listens_on_loopback_only() {
    let folder = deployment(&[]);
    let program = Program::run(folder.path(), &[]);
    let line = program.line(" management listens on ").await;
    assert!(line.contains(" 127.0.0.1:"), "{line}");
}

#[tokio::test]
async fn term_lets_running_exchanges_finish() {
    let (backend, address) = silent();
    let proxy = "<proxy name=\"Slow\" NAMESPACE><target endpoint=\"E\"/></proxy>";
    let endpoint =
        format!("<endpoint name=\"E\" NAMESPACE><address uri=\"http://{address}/\"/></endpoint>");
    let folder = deployment(&[ECHO, ("Slow.xml", proxy), ("E.xml", &endpoint)]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;

    let slow = tokio::spawn(async move { post(http, "/services/Slow", "text/xml", "<x/>").await });
    let arrived = tokio::task::spawn_blocking(move || backend.accept()).await;
    let (mut arrived, _) = arrived.expect("a thread").expect("a connection");
    let mut head = [0; 16];
    std::io::Read::read_exact(&mut arrived, &mut head).expect("a request");
    program.signal("TERM");
    program.line("waiting for 1 running exchanges").await;
    // Nobody new gets in, and the one that runs ends as it should.
    let refused = async || tokio::net::TcpStream::connect(http).await.is_err();
    for _ in 0..500 {
        if refused().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused().await, "new connections are still taken");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ndone";
    std::io::Write::write_all(&mut arrived, answer).expect("an answer that is taken");
    let reply = slow.await.expect("a client").expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, "done"));
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("stopped; nothing was cut"), "{output}");
}

#[tokio::test]
async fn a_second_signal_waits_for_nobody() {
    let (backend, address) = silent();
    let proxy = format!(
        "<proxy name=\"Slow\" NAMESPACE><target><endpoint><address uri=\"http://{address}/\"/></endpoint></target></proxy>"
    );
    let folder = deployment(&[("Slow.xml", &proxy)]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;
    let slow = tokio::spawn(async move { post(http, "/services/Slow", "text/xml", "<x/>").await });
    let arrived = tokio::task::spawn_blocking(move || backend.accept()).await;
    let _arrived = arrived.expect("a thread").expect("a connection");
    program.signal("TERM");
    program.line("waiting for 1 running exchanges").await;
    program.signal("INT");
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("stopped at once"), "{output}");
    assert!(slow.await.expect("a client").is_none(), "{output}");
}

/// Only exchanges that run are waited for: kept connections, also those with half a head, are not.
#[tokio::test]
async fn idle_connections_do_not_hold_up_the_stop() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = deployment(&[ECHO]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;
    let mut open = Vec::new();
    for port in [" HTTP", " HTTPS", " internal", " management"] {
        let address = program.address(port).await;
        for text in [
            "",
            "GET /services/Echo HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /services/Echo HTTP/1.1\r\nHost:",
        ] {
            let stream = tokio::net::TcpStream::connect(address).await;
            let mut stream = stream.expect("a connection");
            stream
                .write_all(text.as_bytes())
                .await
                .expect("a sent part");
            let plain = port != " HTTPS" && port != " management";
            if plain && text.ends_with("\r\n\r\n") {
                let mut answer = [0; 64];
                stream.read_exact(&mut answer).await.expect("an answer");
            }
            open.push(stream);
        }
    }
    assert_eq!(get(http, "/nowhere").await.map(|r| r.status), Some(404));
    program.signal("TERM");
    let asked = tokio::time::Instant::now();
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
    drop(open);
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_the_deadline() {
    let (_backend, address) = silent();
    let proxy = format!(
        "<proxy name=\"Slow\" NAMESPACE><target><endpoint><address uri=\"http://{address}/\"/></endpoint></target></proxy>"
    );
    let folder = deployment(&[("Slow.xml", &proxy)]);
    let settings = tempfile::tempdir().expect("a temporary directory");
    let file = settings.path().join("deployment.toml");
    std::fs::write(&file, "[server]\ngraceful_shutdown_timeout = 300\n").expect("a written file");
    let file = file.display().to_string();
    let program = Program::run(folder.path(), &["--config", &file]);
    let http = program.ready().await;
    let slow = tokio::spawn(async move { post(http, "/services/Slow", "text/xml", "<x/>").await });
    let internal = program.address(" internal").await;
    let mut running = false;
    for _ in 0..500 {
        let page = get(internal, "/metrics").await;
        running = page.is_some_and(|r| r.body.contains("myelin_requests_in_work 1\n"));
        if running {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(running, "the request did not arrive");
    program.signal("INT");
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("stopped; 1 "), "{output}");
    assert!(
        slow.await.expect("a client").is_none(),
        "a cut is no answer"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_its_name() {
    let folder = deployment(&[ECHO]);
    for (option, name) in [
        ("--http-port", "HTTP"),
        ("--https-port", "HTTPS"),
        ("--internal-port", "internal"),
        ("--management-port", "management"),
    ] {
        let (_taken, address) = silent();
        let port = address.rsplit(':').next().unwrap_or_default();
        let (code, output) = Program::run(folder.path(), &[option, port]).ended().await;
        assert_eq!(code, Some(1), "{option}: {output}");
        let start = format!("myelin: cannot listen on {name} port ");
        let end = format!(":{port}: Address already in use (os error 98)");
        let said = output.lines().any(|l| {
            l.starts_with(&start) && l.ends_with(&end) && l.matches("os error").count() == 1
        });
        assert!(said, "{option}: {output}");
        assert!(!output.contains(" ready in "), "{output}");
    }
}

/// Its listening sockets share a port among the workers, but never with another instance.
#[tokio::test]
async fn two_instances_do_not_share_a_port() {
    let folder = deployment(&[ECHO]);
    let first = Program::run(folder.path(), &[]);
    let port = first.ready().await.port().to_string();
    let (code, output) = Program::run(folder.path(), &["--http-port", &port])
        .ended()
        .await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("cannot listen on HTTP port"), "{output}");
}

#[tokio::test]
async fn settings_that_are_wrong_end_the_start_with_their_place() {
    let folder = deployment(&[ECHO]);
    let settings = tempfile::tempdir().expect("a temporary directory");
    let file = settings.path().join("deployment.toml");
    std::fs::write(
        &file,
        "[server]\nhostname = \"x\"\n[myelin]\nmax_body_bytes = \"much\"\n",
    )
    .expect("a written file");
    let path = file.display().to_string();
    let (code, output) = Program::run(folder.path(), &["--config", &path])
        .ended()
        .await;
    assert_eq!(code, Some(1), "{output}");
    for part in ["myelin: ", "deployment.toml:4:", "myelin.max_body_bytes"] {
        assert!(output.contains(part), "{part:?} is not in {output}");
    }
    let (code, output) = Program::run(folder.path(), &["--config", "/nowhere.toml"])
        .ended()
        .await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("/nowhere.toml"), "{output}");
}

#[tokio::test]
async fn faulty_artifacts_do_not_keep_it_from_starting() {
    let folder = deployment(&[ECHO, ("Wrong.xml", "<proxy name=\"Wrong\" NAMESPACE/>")]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;
    program
        .line("error[M0009]: Target is required for a proxy service definition")
        .await;
    program.line("Wrong.xml \"Wrong\" is not deployed").await;
    let reply = post(http, "/services/Echo", "text/xml", "<a/>").await;
    assert_eq!(reply.map(|r| r.status), Some(200));
}

/// A directory that is not there yet is watched for.
#[tokio::test]
async fn the_deployment_directory_may_come_later() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let folder = parent.path().join("later");
    let program = Program::run(&folder, &[]);
    let http = program.ready().await;
    std::fs::create_dir(&folder).expect("a directory");
    let text = ECHO.1.replace("NAMESPACE", NAMESPACE);
    std::fs::write(folder.join(ECHO.0), text).expect("a written file");
    program
        .line("INFO {Deployment} - deployed Echo.xml in")
        .await;
    let reply = post(http, "/services/Echo", "text/xml", "<a/>").await;
    assert_eq!(reply.map(|r| r.status), Some(200));
}

/// `myelin run | head` must not end the server, nor the requests that would have been logged.
#[tokio::test]
async fn a_reader_of_the_log_that_goes_away_is_not_missed() {
    let folder = deployment(&[(
        "Log.xml",
        "<proxy name=\"Log\" NAMESPACE><target><inSequence><log/><respond/></inSequence></target></proxy>",
    )]);
    let program = Program::run(folder.path(), &[]);
    let http = program.ready().await;
    program.close_output();
    // The pipes break with the first lines that nobody reads.
    for _ in 0..20 {
        let reply = post(http, "/services/Log", "text/xml", "<a/>").await;
        assert_eq!(reply.map(|r| r.status), Some(200));
    }
    program.signal("TERM");
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
}

/// A directory that is copied in all at once.
#[tokio::test]
async fn a_thousand_artifacts_at_once_are_deployed() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let folder = parent.path().join("deployment");
    std::fs::create_dir(&folder).expect("a directory");
    let program = Program::run(&folder, &[]);
    let http = program.ready().await;
    for number in 0..1000 {
        let text = ECHO.1.replace("NAMESPACE", NAMESPACE);
        let text = text.replace("\"Echo\"", &format!("\"Echo{number}\""));
        let part = folder.join(format!("{}/{}", number % 10, number / 10 % 10));
        std::fs::create_dir_all(&part).expect("a directory");
        std::fs::write(part.join(format!("{number}.xml")), text).expect("a written file");
    }
    program.line(": 1000 proxy services").await;
    for number in [0, 500, 999] {
        let path = format!("/services/Echo{number}");
        let reply = post(http, &path, "text/xml", "<a/>").await;
        assert_eq!(reply.map(|r| r.status), Some(200), "{path}");
    }
}

/// How Kubernetes changes the files of a ConfigMap, and how a release is switched: links that point
/// elsewhere from one moment to the next.
#[cfg(unix)]
#[tokio::test]
async fn links_that_are_switched_are_followed() {
    use std::os::unix::fs::symlink;
    let parent = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| parent.path().join(name);
    let version = |version: &str| {
        format!(
            "<proxy name=\"Echo\" {NAMESPACE}><target><inSequence><header name=\"X-Version\" value=\"{version}\" scope=\"transport\"/><respond/></inSequence></target></proxy>"
        )
    };
    let write = |folder: &str, text: String| {
        std::fs::create_dir_all(at(folder)).expect("a directory");
        std::fs::write(at(folder).join("Echo.xml"), text).expect("a written file");
    };
    let switch = |target: &str, link: &str| {
        symlink(target, at("next")).expect("a link");
        std::fs::rename(at("next"), at(link)).expect("a switched link");
    };
    let becomes = async |http, wanted: &str| {
        let mut seen = None;
        for _ in 0..500 {
            let reply = get(http, "/services/Echo").await.expect("an answer");
            seen = header(&reply.headers, "x-version").map(str::to_owned);
            if seen.as_deref() == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted} is not live after 5 s, but {seen:?} is");
    };

    // A ConfigMap: visible names link into a hidden folder, which is a link itself.
    write("map/..2026_01", version("1"));
    switch("..2026_01", "map/..data");
    symlink("..data/Echo.xml", at("map/Echo.xml")).expect("a link");
    let program = Program::run(&at("map"), &[]);
    let http = program.ready().await;
    becomes(http, "1").await;
    write("map/..2026_02", version("2"));
    switch("..2026_02", "map/..data");
    becomes(http, "2").await;

    // A release: the deployment directory is the link.
    write("release-3", version("3"));
    write("release-4", version("4"));
    switch("release-3", "current");
    let program = Program::run(&at("current"), &[]);
    let http = program.ready().await;
    becomes(http, "3").await;
    switch("release-4", "current");
    becomes(http, "4").await;
    // What changes there is seen as well.
    write("release-4", version("5"));
    becomes(http, "5").await;
}

fn order(client: Option<&str>) -> String {
    let header = client.map_or_else(String::new, |id| {
        format!("<s:ClientID xmlns:s=\"http://ws.apache.org/ns/synapse\">{id}</s:ClientID>")
    });
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header>{header}</soapenv:Header><soapenv:Body><m:placeOrder xmlns:m=\"http://services.samples\"><m:order><m:price>1</m:price><m:quantity>1</m:quantity><m:symbol>IBM</m:symbol></m:order></m:placeOrder></soapenv:Body></soapenv:Envelope>"
    )
}

/// The flow of the README with the deployment and the back-ends that ship with the program. The
/// ports of the back-ends are fixed, so it waits until nobody else has them.
#[tokio::test]
async fn the_sample_works_with_its_own_back_ends() {
    let free = || (9001..=9003).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    until(free).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deployment");
    let program = Program::run(&folder, &["--sample-backends"]);
    let http = program.ready().await;
    for port in 9001..=9003 {
        program
            .line(&format!(
                "sample back-end backend-{port} listens on 127.0.0.1:{port}"
            ))
            .await;
    }
    let send = async |client: Option<&str>| {
        let path = "/services/LoadBalanceProxy";
        let reply = post(http, path, "text/xml", &order(client)).await;
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 202, "{reply:?}");
        header(&reply.headers, "x-backend")
            .expect("the name of the back-end")
            .to_owned()
    };
    // Without a session id, round robin.
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(send(None).await);
    }
    assert_eq!(seen[..3], seen[3..], "{seen:?}");
    let mut names = seen[..3].to_vec();
    names.sort();
    assert_eq!(names, ["backend-9001", "backend-9002", "backend-9003"]);
    // With one, always the same.
    let first = send(Some("alice")).await;
    for _ in 0..5 {
        assert_eq!(send(Some("alice")).await, first);
    }
    // Another client goes on from there.
    assert_ne!(send(Some("bob")).await, first);
    let reply = ask(http, b"GET /services/Nobody HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(reply.map(|r| r.status), Some(404));
    program.signal("TERM");
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
}
