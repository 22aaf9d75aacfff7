use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::{By, Listener, answer, echo, raw, read_to, rest, until, within};
use crate::message::stream::{BodyStream, Incoming};
use crate::transport::http::server::{bind, bind_shared};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn requests_and_their_peers() {
    let listener = Listener::start(By(|request: Request<Incoming>, peer| async move {
        answer(format!("{} {:?}", request.uri(), peer))
    }));
    let mut socket = raw(listener.addr, GET).await;
    let text = read_to(&mut socket, "}").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\r\ndate: "), "{text}");
    let local = socket.local_addr().expect("address");
    assert!(
        text.ends_with(&format!(
            "/a Peer {{ remote: {local}, local: {}, secure: false }}",
            listener.addr
        )),
        "{text}"
    );
    // The connection is kept.
    socket.write_all(GET.as_bytes()).await.expect("write");
    read_to(&mut socket, "}").await;
    assert_eq!(listener.shutdown.connections(), 1);
    assert_eq!(listener.settings.open.count(), 1);
    drop(socket);
    until("closed", || listener.shutdown.connections() == 0).await;
    assert_eq!(listener.settings.open.count(), 0);
}

#[tokio::test]
async fn framing_of_responses() {
    let listener = Listener::start(By(|request: Request<Incoming>, _| async move {
        match request.uri().path() {
            "/empty" => Response::new(BodyStream::empty()),
            "/chunked" => Response::new(BodyStream::full("hello".into()).without_length()),
            "/none" => Response::new(BodyStream::empty().without_length()),
            _ => answer("hello"),
        }
    }));
    for (path, head, body) in [
        ("/", "content-length: 5", "hello"),
        ("/empty", "content-length: 0", ""),
        (
            "/chunked",
            "transfer-encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("/none", "transfer-encoding: chunked", "0\r\n\r\n"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let text = rest(raw(listener.addr, request).await).await;
        let (found, rest) = text.split_once("\r\n\r\n").expect("head");
        assert!(found.contains(head), "{path}: {text}");
        assert_eq!(rest, body, "{path}");
    }
}

#[tokio::test]
async fn unreadable_heads() {
    let listener = Listener::start(echo());
    for request in [
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let text = rest(raw(listener.addr, request).await).await;
        assert!(
            text.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{request}: {text}"
        );
        assert!(text.contains("content-length: 0\r\n"), "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
    }
    until("closed", || listener.shutdown.connections() == 0).await;
}

#[tokio::test]
async fn header_bombs() {
    let listener = Listener::start(echo());
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(900_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    let uri = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(900_000));
    for request in [long, many, uri] {
        // All of it is sent before anything is read, so the answer must survive the rest.
        let text = rest(raw(listener.addr, request).await).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
    until("closed", || listener.shutdown.connections() == 0).await;
}

#[tokio::test]
async fn limits_of_heads_can_be_set() {
    let listener = Listener::with(echo(), |settings| {
        settings.max_headers = 3;
        settings.max_head = Some(1000);
    });
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(4));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1000));
    for request in [many, long] {
        let text = rest(raw(listener.addr, request).await).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
    let fits = "GET / HTTP/1.1\r\nX: y\r\nX: y\r\nConnection: close\r\n\r\n";
    let text = rest(raw(listener.addr, fits).await).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn expect_continue() {
    let listener = Listener::start(By(|request: Request<Incoming>, _| async {
        let body = BodyStream::incoming(request.into_body(), None);
        answer(body.collect(100).await.expect("body"))
    }));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut socket = raw(listener.addr, head).await;
    let text = read_to(&mut socket, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n"), "{text}");
    socket.write_all(b"hello").await.expect("write");
    assert!(read_to(&mut socket, "hello").await.ends_with("hello"));
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let listener = Listener::start(By(move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            let _ = gate.acquire().await;
            answer("late")
        }
    }));
    let mut socket = raw(listener.addr, GET).await;
    socket.shutdown().await.expect("shutdown");
    until("handled", || listener.shutdown.requests() == 1).await;
    open.add_permits(1);
    let text = rest(socket).await;
    assert!(text.ends_with("late"), "{text}");
}

#[tokio::test]
async fn a_panic_is_answered_and_forgotten() {
    let listener = Listener::start(By(|request: Request<Incoming>, _| async move {
        assert!(request.uri().path() != "/panic", "as wanted by the test");
        answer("fine")
    }));
    for _ in 0..3 {
        let text = rest(raw(listener.addr, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").await).await;
        assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
        let mut socket = raw(listener.addr, GET).await;
        assert!(read_to(&mut socket, "fine").await.ends_with("fine"));
    }
    until("counted", || listener.shutdown.requests() == 0).await;
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let listener = Listener::with(echo(), |settings| {
        settings.header_read_timeout = Duration::from_millis(60);
        settings.idle_timeout = Duration::from_millis(1500);
    });
    // Nothing at all, and half a head.
    assert_eq!(rest(raw(listener.addr, "").await).await, "");
    assert_eq!(
        rest(raw(listener.addr, "GET / HTTP/1.1\r\n").await).await,
        ""
    );

    let mut socket = raw(listener.addr, GET).await;
    read_to(&mut socket, "\r\n\r\n").await;
    let idle = tokio::time::Instant::now();
    assert_eq!(rest(socket).await, "");
    assert!(
        idle.elapsed() > Duration::from_millis(1200),
        "{:?}",
        idle.elapsed()
    );

    let mut socket = raw(listener.addr, GET).await;
    read_to(&mut socket, "\r\n\r\n").await;
    socket.write_all(b"GET / HT").await.expect("write");
    let slow = tokio::time::Instant::now();
    assert_eq!(rest(socket).await, "");
    assert!(
        slow.elapsed() < Duration::from_millis(1200),
        "{:?}",
        slow.elapsed()
    );
    until("closed", || listener.shutdown.connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let listener = Listener::with(
        By(|_, _| async { answer(vec![b'x'; 32 << 20]) }),
        |settings| settings.body_idle = Some(Duration::from_millis(60)),
    );
    let mut socket = raw(listener.addr, GET).await;
    until("served", || listener.shutdown.connections() == 1).await;
    until("cut", || listener.shutdown.connections() == 0).await;
    let mut bytes = Vec::new();
    let _ = within(socket.read_to_end(&mut bytes)).await;
    assert!(bytes.len() < 32 << 20);
}

#[tokio::test]
async fn an_answer_to_an_unread_upload_arrives() {
    let listener = Listener::start(By(|_, _| async {
        let mut response = answer("too large");
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        response
    }));
    for _ in 0..10 {
        let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n".to_vec();
        request.resize(request.len() + 900_000, b'x');
        let text = rest(raw(listener.addr, request).await).await;
        assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
        assert!(text.ends_with("too large"), "{text}");
    }
}

#[tokio::test]
async fn too_many_connections() {
    let listener = Listener::with(echo(), |settings| settings.max_connections = 2);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut socket = raw(listener.addr, GET).await;
        read_to(&mut socket, "\r\n\r\n").await;
        kept.push(socket);
    }
    let socket = tokio::net::TcpStream::connect(listener.addr)
        .await
        .expect("connect");
    let text = rest(socket).await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    kept.clear();
    until("room", || listener.settings.open.count() == 0).await;
    let mut socket = raw(listener.addr, GET).await;
    assert!(
        read_to(&mut socket, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn a_graceful_stop() {
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let listener = Listener::start(By(move |request: Request<Incoming>, _| {
        let gate = Arc::clone(&gate);
        async move {
            if request.uri().path() == "/slow" {
                let _ = gate.acquire().await;
            }
            answer("done")
        }
    }));
    let mut idle = raw(listener.addr, GET).await;
    read_to(&mut idle, "done").await;
    let mut busy = raw(listener.addr, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until("busy", || listener.shutdown.requests() == 1).await;

    let shutdown = listener.shutdown.clone();
    let drained = tokio::spawn(async move { shutdown.drained(super::FOREVER).await });
    // The idle one is closed, the listener is gone, the busy one goes on.
    assert_eq!(within(idle.read(&mut [0])).await.expect("end"), 0);
    within(listener.serving).await.expect("serving");
    assert!(tokio::net::TcpStream::connect(listener.addr).await.is_err());
    assert!(!drained.is_finished());
    open.add_permits(1);
    let text = read_to(&mut busy, "done").await;
    assert!(text.contains("connection: close\r\n"), "{text}");
    assert_eq!(within(busy.read(&mut [0])).await.expect("end"), 0);
    assert_eq!(within(drained).await.expect("drained"), 0);
    assert_eq!(listener.shutdown.connections(), 0);
}

#[tokio::test]
async fn a_stop_that_has_to_cut() {
    let listener = Listener::start(By(|_, _| std::future::pending()));
    let socket = raw(listener.addr, GET).await;
    until("busy", || listener.shutdown.requests() == 1).await;
    let cut = within(listener.shutdown.drained(Duration::from_millis(30))).await;
    assert_eq!(cut, 1);
    assert_eq!(listener.shutdown.connections(), 0);
    assert_eq!(rest(socket).await, "");
}

#[tokio::test]
async fn a_port_is_shared_with_nobody_else() {
    let sockets = bind_shared(([127, 0, 0, 1], 0).into(), 3).expect("bind");
    let addr = sockets[0].local_addr().expect("address");
    assert!(
        sockets
            .iter()
            .all(|s| s.local_addr().expect("address") == addr)
    );
    for count in [1, 2] {
        let error = bind_shared(addr, count).expect_err("taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
    assert!(bind(addr, false).is_err());

    // All of them get connections, even when the first one closes.
    let mut sockets = sockets.into_iter();
    drop(sockets.next());
    let rest: Vec<_> = sockets.collect();
    let connected: Vec<_> = (0..32)
        .map(|_| std::net::TcpStream::connect(addr).expect("connect"))
        .collect();
    let accepted: Vec<usize> = rest
        .iter()
        .map(|socket| std::iter::from_fn(|| socket.accept().ok()).count())
        .collect();
    assert_eq!(accepted.iter().sum::<usize>(), connected.len());
    assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    drop((rest, connected));
    bind_shared(addr, 2).expect("free again");
}
