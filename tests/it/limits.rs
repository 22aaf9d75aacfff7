//! Bad input and hostile clients against the real program: everything is answered or closed within
//! its limit, memory stays bounded, and the next request works.

use crate::support::program::{Program, ask, get, post};
use crate::support::run::until;
use crate::support::wire::Wire;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const MIB: u64 = 1024 * 1024;
const NAMESPACE: &str = "xmlns=\"http://ws.apache.org/ns/synapse\"";

/// What a back-end does.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Reads the body and answers how long it was; a `GET` gets this many bytes.
    Counts(u64),
    /// Reads the head and nothing more.
    Stuck,
}

/// A back-end that keeps nothing, so that large bodies cost the test no memory.
struct Sink {
    address: SocketAddr,
    /// Bytes of bodies read and written.
    moved: Arc<AtomicU64>,
}

impl Sink {
    async fn start(manner: Manner) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let moved = Arc::new(AtomicU64::new(0));
        let counter = moved.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, counter.clone()));
            }
        });
        Sink { address, moved }
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, moved: Arc<AtomicU64>) {
    let mut head = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        head.clear();
        let end = loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => head.extend_from_slice(&buffer[..n]),
            }
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            line.map(|v| v.trim().to_owned())
        };
        let Manner::Counts(size) = manner else {
            // Held, so that the other side is neither answered nor closed.
            std::future::pending::<()>().await;
            return;
        };
        let mut read = (head.len() - end) as u64;
        let mut tail = head[end..].to_vec();
        let length = field("content-length:").and_then(|v| v.parse::<u64>().ok());
        let chunked = field("transfer-encoding:").is_some();
        loop {
            let done = match length {
                Some(length) => read >= length,
                None => !chunked || tail.ends_with(b"0\r\n\r\n"),
            };
            moved.store(read, Ordering::Release);
            if done {
                break;
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    read += n as u64;
                    tail = buffer[n.saturating_sub(8)..n].to_vec();
                }
            }
        }
        let answer = if text.starts_with("get ") {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
            )
        } else {
            let text = read.to_string();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        let mut left = if text.starts_with("get ") { size } else { 0 };
        let block = vec![b'x'; 64 * 1024];
        while left > 0 {
            let n = usize::try_from(left).map_or(block.len(), |l| l.min(block.len()));
            if stream.write_all(&block[..n]).await.is_err() {
                return;
            }
            left -= n as u64;
            moved.fetch_add(n as u64, Ordering::AcqRel);
        }
    }
}

/// The program with services that hold a body, stream it, and answer without a back-end.
struct Gateway {
    program: Program,
    http: SocketAddr,
    _folder: TempDir,
}

impl Gateway {
    async fn start(backend: Option<&Sink>, settings: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let deployment = folder.path().join("deployment");
        std::fs::create_dir(&deployment).expect("a directory");
        let back = backend.map_or_else(|| "localhost:1".to_owned(), |b| b.address.to_string());
        let text = format!(
            "<definitions {NAMESPACE}>
               <proxy name=\"Pass\"><target><inSequence><call><endpoint><http uri-template=\"http://{back}/\"/></endpoint></call><respond/></inSequence></target></proxy>
               <proxy name=\"Held\"><target><inSequence><property name=\"x\" expression=\"//x\"/><respond/></inSequence></target></proxy>
               <proxy name=\"Json\"><target><inSequence><property name=\"x\" expression=\"json-eval($.x)\"/><respond/></inSequence></target></proxy>
             </definitions>"
        );
        std::fs::write(deployment.join("all.xml"), text).expect("a written file");
        let file = folder.path().join("deployment.toml");
        std::fs::write(&file, settings).expect("a written file");
        let config = file.display().to_string();
        let program = Program::run(&deployment, &["--config", &config]);
        let http = program.ready().await;
        let gateway = Gateway {
            program,
            http,
            _folder: folder,
        };
        gateway.is_well().await;
        gateway
    }

    /// The next request works.
    async fn is_well(&self) {
        let reply = post(self.http, "/services/Held", "text/xml", "<ok/>").await;
        let reply = reply.unwrap_or_else(|| panic!("no answer:\n{}", self.program.output()));
        assert_eq!((reply.status, reply.body.as_str()), (200, "<ok/>"));
    }

    /// Nothing is left of the clients that were here.
    async fn is_idle(&self) {
        let internal = self.program.address(" internal").await;
        let mut page = String::new();
        for _ in 0..1000 {
            let reply = get(internal, "/metrics").await;
            page = reply.map(|r| r.body).unwrap_or_default();
            let none = ["client_connections", "requests_in_work"];
            if none.map(|n| page.contains(&format!("myelin_{n} 0\n"))) == [true, true] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is left: {page}");
    }

    /// The peak of the memory so far.
    fn peak(&self) -> u64 {
        self.program.memory("VmHWM")
    }
}

/// Sends a head and then a body in blocks until all is sent, an answer comes, or nothing moves for
/// a second. The status, and how many bytes of the body went out.
async fn upload(address: SocketAddr, path: &str, length: u64, chunked: bool) -> (Option<u16>, u64) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (reading, mut writing) = stream.into_split();
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n{framing}\r\nConnection: close\r\n\r\n"
    );
    let sent = AtomicU64::new(0);
    let write = async {
        let size = 64 * 1024;
        let mut block = Vec::new();
        if chunked {
            block.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        }
        block.extend(std::iter::repeat_n(b'x', size));
        if chunked {
            block.extend_from_slice(b"\r\n");
        }
        writing.write_all(head.as_bytes()).await.ok()?;
        while sent.load(Ordering::Relaxed) < length {
            let write = writing.write_all(&block);
            timeout(Duration::from_secs(10), write).await.ok()?.ok()?;
            sent.fetch_add(size as u64, Ordering::Relaxed);
        }
        if chunked {
            writing.write_all(b"0\r\n\r\n").await.ok()?;
        }
        Some(())
    };
    let read = async {
        let mut wire = Wire::new(reading);
        let head = wire.head().await?;
        head.first.split(' ').nth(1)?.parse().ok()
    };
    let exchange = async {
        tokio::pin!(read);
        tokio::select! {
            status = &mut read => status,
            done = write => match done {
                // All is sent, or the server has closed its side after its answer.
                Some(()) => read.await,
                None => timeout(Duration::from_secs(10), read).await.ok().flatten(),
            },
        }
    };
    let status = timeout(Duration::from_secs(60), exchange)
        .await
        .expect("an end within 60 s");
    (status, sent.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_while_it_streams() {
    let gateway = Gateway::start(None, "[myelin]\nmax_body_bytes = 8388608\n").await;
    let before = gateway.peak();
    for chunked in [false, true] {
        let (status, sent) = upload(gateway.http, "/services/Held", 1024 * MIB, chunked).await;
        assert_eq!(status, Some(413), "after {sent} bytes, chunked: {chunked}");
        assert!(
            sent < 64 * MIB,
            "{sent} bytes were taken, chunked: {chunked}"
        );
        gateway.is_well().await;
    }
    let grown = gateway.peak().saturating_sub(before);
    assert!(grown < 64 * MIB, "the memory grew by {grown} bytes");
    gateway.is_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_stream_in_constant_memory() {
    const SIZE: u64 = 256 * MIB;
    let sink = Sink::start(Manner::Counts(SIZE)).await;
    let gateway = Gateway::start(Some(&sink), "[myelin]\nmax_body_bytes = 1048576\n").await;
    let before = gateway.peak();
    for chunked in [false, true] {
        let (status, sent) = upload(gateway.http, "/services/Pass", SIZE, chunked).await;
        assert_eq!((status, sent), (Some(200), SIZE), "chunked: {chunked}");
        // In chunks the count has their sizes in it.
        let moved = sink.moved.load(Ordering::Acquire);
        assert!((SIZE..SIZE + SIZE / 100).contains(&moved), "{moved}");
    }
    // And back.
    let mut stream = TcpStream::connect(gateway.http)
        .await
        .expect("a connection");
    let request = b"GET /services/Pass HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a sent request");
    let mut buffer = vec![0; 256 * 1024];
    let mut came = 0;
    loop {
        match timeout(Duration::from_secs(20), stream.read(&mut buffer)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(n)) => came += n as u64,
            other => panic!("after {came} bytes: {other:?}"),
        }
    }
    assert!((SIZE + 1..SIZE + 4096).contains(&came), "{came}");
    let grown = gateway.peak().saturating_sub(before);
    assert!(grown < 32 * MIB, "the memory grew by {grown} bytes");
    gateway.is_idle().await;
}

/// What one side does not take, the other side is not asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_does_not_read_holds_up_the_other() {
    let stuck = Sink::start(Manner::Stuck).await;
    let settings = "[mediation]\nsynapse.global_timeout_interval = 3000\n";
    let gateway = Gateway::start(Some(&stuck), settings).await;
    let before = gateway.peak();
    let (status, sent) = upload(gateway.http, "/services/Pass", 1024 * MIB, true).await;
    assert!(sent < 64 * MIB, "{sent} bytes were taken, then {status:?}");
    gateway.is_well().await;
    gateway.is_idle().await;

    let sink = Sink::start(Manner::Counts(1024 * MIB)).await;
    let other = Gateway::start(Some(&sink), "[transport.http]\nsocket_timeout = 1000\n").await;
    let before_other = other.peak();
    let mut client = TcpStream::connect(other.http).await.expect("a connection");
    let request = b"GET /services/Pass HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.expect("a sent request");
    // The client reads nothing and is let go after the socket timeout.
    let started = until(|| sink.moved.load(Ordering::Acquire) > 0).await;
    assert!(started, "the response has not begun");
    other.is_idle().await;
    let moved = sink.moved.load(Ordering::Acquire);
    assert!(moved < 64 * MIB, "{moved} bytes were taken");
    other.is_well().await;
    drop(client);
    for (gateway, before) in [(&gateway, before), (&other, before_other)] {
        let grown = gateway.peak().saturating_sub(before);
        assert!(grown < 64 * MIB, "the memory grew by {grown} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nested_too_deep_is_refused() {
    let gateway = Gateway::start(None, "").await;
    for depth in [10_000, 1_000_000] {
        let open = "<a>".repeat(depth);
        let close = "</a>".repeat(depth);
        for body in [&open, &format!("{open}{close}")] {
            let reply = post(gateway.http, "/services/Held", "text/xml", body).await;
            assert_eq!(reply.map(|r| r.status), Some(500), "{depth}");
            gateway.is_well().await;
        }
        let open = format!("{{\"x\":{}", "[".repeat(depth));
        let close = "]".repeat(depth);
        for body in [&open, &format!("{open}{close}}}")] {
            for service in ["/services/Json", "/services/Held"] {
                let reply = post(gateway.http, service, "application/json", body).await;
                let reply = reply.unwrap_or_else(|| panic!("{service}: no answer, {depth}"));
                assert!(matches!(reply.status, 200 | 500), "{service}: {reply:?}");
                gateway.is_well().await;
            }
        }
    }
    gateway.is_idle().await;
}

/// Elements that cost more than their bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_that_grow_are_bounded() {
    let gateway = Gateway::start(None, "[myelin]\nmax_xml_nodes = 100000\n").await;
    let before = gateway.peak();
    let attributes: String = (0..100_000).map(|i| format!(" a{i}=''")).collect();
    let namespaces: String = (0..2000).map(|i| format!(" xmlns:n{i}='u{i}'")).collect();
    for body in [
        format!("<x{attributes}/>"),
        format!("<x{namespaces}>{}</x>", "<y/>".repeat(1000)),
        format!("<x>{}</x>", "<y/>".repeat(2_000_000)),
    ] {
        let started = tokio::time::Instant::now();
        let reply = post(gateway.http, "/services/Held", "text/xml", &body).await;
        assert_eq!(reply.map(|r| r.status), Some(500), "{}", &body[..40]);
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{}",
            &body[..40]
        );
        gateway.is_well().await;
    }
    let grown = gateway.peak().saturating_sub(before);
    assert!(grown < 128 * MIB, "the memory grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_large_are_refused() {
    let gateway = Gateway::start(None, "").await;
    let before = gateway.peak();
    let many: String = (0..300).map(|i| format!("X-{i}: 1\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "a".repeat(100_000));
    let endless = "a".repeat(16 * 1024 * 1024);
    let path = "a".repeat(100_000);
    for (name, request, allowed) in [
        (
            "many fields",
            format!("GET /services/Held HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
            &[431][..],
        ),
        (
            "a large field",
            format!("GET /services/Held HTTP/1.1\r\nHost: x\r\n{large}\r\n"),
            &[431],
        ),
        (
            "a large name",
            format!(
                "GET /services/Held HTTP/1.1\r\nHost: x\r\n{}: 1\r\n\r\n",
                "n".repeat(100_000)
            ),
            &[431, 400],
        ),
        (
            "a long path",
            format!("GET /services/{path} HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[414, 431],
        ),
        (
            "a long query",
            format!("GET /services/Held?{path} HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[414, 431],
        ),
        (
            "a long method",
            format!("{path} / HTTP/1.1\r\nHost: x\r\n\r\n"),
            &[400, 414, 431, 501],
        ),
        (
            "a field without end",
            format!("GET / HTTP/1.1\r\nX: {endless}"),
            &[431],
        ),
        ("a line without end", endless.clone(), &[400, 414, 431, 501]),
    ] {
        let reply = ask(gateway.http, request.as_bytes()).await;
        let reply = reply.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert!(allowed.contains(&reply.status), "{name}: {}", reply.status);
        gateway.is_well().await;
    }
    // 80 are fewer than max_headers.
    let some: String = (0..80).map(|i| format!("X-{i}: 1\r\n")).collect();
    let request =
        format!("GET /services/Held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{some}\r\n");
    let reply = ask(gateway.http, request.as_bytes()).await;
    assert_eq!(reply.map(|r| r.status), Some(200), "80 fields");
    let grown = gateway.peak().saturating_sub(before);
    assert!(grown < 32 * MIB, "the memory grew by {grown} bytes");
    gateway.is_idle().await;
}

/// Many that never finish their head, and many that never finish their body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_clients_is_let_go() {
    let settings = "[transport.http]\nsocket_timeout = 1000\n[myelin]\nheader_timeout = 1000\n";
    let gateway = Gateway::start(None, settings).await;
    let mut crowd = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(gateway.http)
            .await
            .expect("a connection");
        let text = if number % 2 == 0 {
            "POST /services/Held HTTP/1.1\r\nHost: x\r\nX-"
        } else {
            "POST /services/Held HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n<"
        };
        stream
            .write_all(text.as_bytes())
            .await
            .expect("a sent part");
        crowd.push(stream);
    }
    // The others are not held up.
    gateway.is_well().await;
    for mut stream in crowd {
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        let end = timeout(Duration::from_secs(10), end).await;
        assert!(end.is_ok(), "still open after 10 s");
        let text = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || text.starts_with("HTTP/1.1 "), "{text}");
    }
    gateway.is_idle().await;
    gateway.is_well().await;
}

/// The ports beside those of the messages are open to the same clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_of_the_other_ports_are_let_go() {
    let settings = "[transport.http]\nsocket_timeout = 1000\n[myelin]\nheader_timeout = 1000\nkeep_alive_timeout = 1000\n";
    let gateway = Gateway::start(None, settings).await;
    for port in [" internal", " management"] {
        let address = gateway.program.address(port).await;
        for text in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-"] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream
                .write_all(text.as_bytes())
                .await
                .expect("a sent part");
            let mut rest = Vec::new();
            let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "{port}, {text:?}: still open after 10 s");
        }
        let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1_000_000));
        let reply = ask(address, large.as_bytes()).await;
        assert!(
            reply.is_none_or(|r| r.status == 431),
            "{port}: a large head"
        );
    }
    gateway.is_well().await;
}

/// What is not TLS, on the port for TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tls_is_closed() {
    let gateway = Gateway::start(None, "").await;
    let https = gateway.program.address(" HTTPS").await;
    for bytes in [
        &b"GET /services/Held HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0; 4096],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        &[0xff; 100_000],
    ] {
        let mut stream = TcpStream::connect(https).await.expect("a connection");
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "still open after 10 s");
        assert!(rest.len() < 100, "an alert at most: {rest:?}");
    }
    gateway.is_well().await;
    gateway.is_idle().await;
}

/// One byte at a time is progress for the socket timeout, but not for a head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_drips_is_cut() {
    let gateway = Gateway::start(None, "[myelin]\nheader_timeout = 500\n").await;
    let stream = TcpStream::connect(gateway.http)
        .await
        .expect("a connection");
    let (mut reading, mut writing) = stream.into_split();
    let drip = async {
        let text = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1000));
        for byte in text.bytes() {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut rest = Vec::new();
    let ended = tokio::select! {
        _ = reading.read_to_end(&mut rest) => true,
        () = drip => false,
    };
    assert!(ended, "the head was waited for until its end");
    gateway.is_well().await;
    gateway.is_idle().await;
}

#[tokio::test]
async fn artifacts_nested_too_deep_are_refused() {
    for depth in [201, 10_000, 100_000] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let open = "<filter xpath='true()'>".repeat(depth);
        let close = "</filter>".repeat(depth);
        let text = format!("<sequence name='S' {NAMESPACE}>{open}{close}</sequence>");
        let file = folder.path().join("deep.xml");
        std::fs::write(&file, text).expect("a written file");
        let path = file.display().to_string();
        let (code, output) = Program::start(&["check", "--format", "json", &path])
            .ended()
            .await;
        assert_eq!(code, Some(1), "{depth}: {output}");
        assert!(
            output.contains("\"severity\": \"error\""),
            "{depth}: {output}"
        );
    }
}
