use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::back_end::{BackEnd, OK, read_head, read_request, reset};
use super::{Client, Listener, echo, get, post, settings, target, text, until, within};
use crate::message::stream::{BodyStream, StreamError};
use crate::transport::http::{Patience, SendError, SendErrorKind, Target};

/// A request body that is fed by hand.
struct Fed(tokio::sync::mpsc::Receiver<Result<Bytes, StreamError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.0
            .poll_recv(cx)
            .map(|item| item.map(|item| item.map(Frame::data)))
    }
}

type Feed = tokio::sync::mpsc::Sender<Result<Bytes, StreamError>>;

fn fed() -> (Feed, Request<BodyStream>) {
    let (feed, body) = tokio::sync::mpsc::channel(4);
    let body = BodyStream::boxed(Fed(body), None);
    (feed, Request::post("/").body(body).expect("request"))
}

async fn failure(client: &Client, target: &Target, request: Request<BodyStream>) -> SendError {
    within(client.send(target, request))
        .await
        .expect_err("there is no response")
}

#[tokio::test]
async fn connections_are_kept() {
    let back_end = BackEnd::answering(OK).await;
    let client = Client::new(settings());
    let target = target(back_end.addr);
    for _ in 0..5 {
        let response = within(client.send(&target, post("hello")))
            .await
            .expect("sent");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(back_end.connections(), 1);
    assert_eq!(
        (client.idle_connections(), client.open_connections()),
        (1, 1)
    );
    client.close_idle();
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn a_thousand_requests_over_one_connection() {
    let listener = Listener::start(echo());
    let client = Client::new(settings());
    let target = target(listener.addr);
    for number in 0..1000 {
        let body = format!("{number}-{}", "x".repeat(number * 7 % 3000));
        let response = within(client.send(&target, post(body.clone())))
            .await
            .expect("sent");
        assert_eq!(text(response).await, body);
        assert_eq!(client.open_connections(), 1);
    }
    assert_eq!(listener.settings.open.count(), 1);
}

#[tokio::test]
async fn what_goes_over_the_wire() {
    let (sent, heads) = mpsc::channel();
    let back_end = BackEnd::start(move |_, mut socket| {
        let sent = sent.clone();
        async move {
            while let Some(head) = read_head(&mut socket).await {
                let length = if head.contains("chunked") {
                    5 + 3 + 2 + 5
                } else if head.contains("content-length") {
                    5
                } else {
                    0
                };
                let mut body = vec![0; length];
                if head.contains("/empty") {
                    body.truncate(5);
                }
                socket.read_exact(&mut body).await.expect("body");
                sent.send((head, String::from_utf8(body).expect("ASCII")))
                    .expect("test");
                socket.write_all(OK.as_bytes()).await.expect("write");
            }
        }
    })
    .await;
    let client = Client::new(settings());
    let target = target(back_end.addr);
    let say = async |target: &Target, mut request: Request<BodyStream>| {
        if request.uri() == "/" {
            *request.uri_mut() = target.path_and_query.clone().into();
        }
        let response = within(client.send(target, request)).await.expect("sent");
        text(response).await;
        heads.recv().expect("head")
    };

    let (head, _) = say(&target, get()).await;
    assert!(head.starts_with("GET /echo?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: {}\r\n", back_end.addr)),
        "{head}"
    );
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );

    let (head, body) = say(&target, post("hello")).await;
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    assert_eq!(body, "hello");

    let request = post("hello").map(BodyStream::without_length);
    let (head, body) = say(&target, request).await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n"[..15]);

    let request = post("").map(BodyStream::without_length);
    let empty = target.with_path("/empty".parse().expect("path"));
    let (head, body) = say(&empty, request).await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert_eq!(body, "0\r\n\r\n");

    let request = Request::get("http://other.example/abs")
        .header("host", "mine")
        .body(BodyStream::empty())
        .expect("request");
    let (head, _) = say(&target, request).await;
    assert!(
        head.starts_with("GET http://other.example/abs HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: mine\r\n"), "{head}");
    assert_eq!(back_end.connections(), 1);
}

#[tokio::test]
async fn responses_without_a_body() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        while let Some(head) = read_head(&mut socket).await {
            let answer = match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                Some("PUT") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                _ => {
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\
                      HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
                }
            };
            socket.write_all(answer.as_bytes()).await.expect("write");
        }
    })
    .await;
    let client = Client::new(settings());
    for (method, status) in [
        (Method::HEAD, 200),
        (Method::PUT, 204),
        (Method::DELETE, 304),
        (Method::GET, 202),
    ] {
        let mut request = get();
        *request.method_mut() = method;
        let response = within(client.send(&target(back_end.addr), request))
            .await
            .expect("sent");
        assert_eq!(response.status(), status);
        assert!(response.body().is_known_empty());
        // Back in the pool although nobody has read the body.
        assert_eq!(client.idle_connections(), 1);
    }
    assert_eq!(back_end.connections(), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.expect("write");
    })
    .await;
    let client = Client::new(settings());
    for round in 1..=3 {
        let response = within(client.send(&target(back_end.addr), post("x")))
            .await
            .expect("sent");
        assert_eq!(text(response).await, "ok");
        until("closed", || client.open_connections() == 0).await;
        assert_eq!(client.idle_connections(), 0);
        assert_eq!(back_end.connections(), round);
    }
}

/// The connection's end is known to the runtime, but no task has run since.
#[tokio::test]
async fn a_request_for_a_dying_connection_is_sent_elsewhere() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address");
    let (close, closing) = mpsc::channel::<()>();
    let (closed, is_closed) = mpsc::channel::<()>();
    let back_end = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut buffer = [0; 4096];
        let (mut socket, _) = listener.accept().expect("accept");
        assert!(socket.read(&mut buffer).expect("read") > 0);
        socket.write_all(OK.as_bytes()).expect("write");
        closing.recv().expect("test");
        drop(socket);
        closed.send(()).expect("test");
        let (mut socket, _) = listener.accept().expect("accept");
        let count = socket.read(&mut buffer).expect("read");
        socket.write_all(OK.as_bytes()).expect("write");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    });
    let client = Arc::new(Client::new(settings()));
    let target = target(addr);
    let response = within(client.send(&target, post("first")))
        .await
        .expect("sent");
    assert_eq!(text(response).await, "ok");
    assert_eq!(client.idle_connections(), 1);

    // No turn of the runtime until the close is on its way.
    close.send(()).expect("back end");
    is_closed.recv().expect("back end");
    // tokio looks for I/O after 61 tasks: the last of these runs after that, yet before the task
    // that takes closed connections out of the pool, which is queued behind it.
    for _ in 0..99 {
        tokio::spawn(async {});
    }
    let sending = Arc::clone(&client);
    let response = tokio::spawn(async move {
        assert_eq!(sending.idle_connections(), 1);
        sending.send(&target, post("second")).await
    });
    let response = within(response).await.expect("task").expect("sent");
    assert_eq!(text(response).await, "ok");
    let second = back_end.join().expect("back end");
    assert!(second.ends_with("second"), "{second}");
}

#[tokio::test]
async fn protocols_and_codings_that_nobody_asked_for_are_failures() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: br\r\n\r\nxx",
    ] {
        let back_end = BackEnd::answering(answer).await;
        let client = Client::new(settings());
        let error = failure(&client, &target(back_end.addr), post("hello")).await;
        assert_eq!(
            error.kind,
            SendErrorKind::Malformed,
            "{answer}: {}",
            error.detail
        );
        until("closed", || client.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn what_nobody_asked_for_ends_a_connection() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.expect("write");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let _ = socket.write_all(OK.as_bytes()).await;
        let _ = socket.read_u8().await;
    })
    .await;
    let client = Client::new(settings());
    for round in 1..=2 {
        let response = within(client.send(&target(back_end.addr), get()))
            .await
            .expect("sent");
        assert_eq!(text(response).await, "ok");
        until("dropped", || client.open_connections() == 0).await;
        assert_eq!(
            (client.idle_connections(), back_end.connections()),
            (0, round)
        );
    }
}

#[tokio::test]
async fn a_response_in_pieces_keeps_its_connection() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        socket.set_nodelay(true).expect("socket");
        while read_request(&mut socket).await.is_some() {
            for piece in OK.as_bytes().chunks(9) {
                socket.write_all(piece).await.expect("write");
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let client = Client::new(settings());
    for _ in 0..200 {
        let response = within(client.send(&target(back_end.addr), post("x")))
            .await
            .expect("sent");
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(back_end.connections(), 1);
}

#[tokio::test]
async fn request_and_response_at_once() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        while read_head(&mut socket).await.is_some() {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).await.expect("write");
            // The chunks of the request are those of the response.
            let mut end = Vec::new();
            while !end.ends_with(b"0\r\n\r\n") {
                let byte = socket.read_u8().await.expect("body");
                end.push(byte);
                socket.write_all(&[byte]).await.expect("write");
            }
        }
    })
    .await;
    let client = Client::new(settings());
    for _ in 0..2 {
        let (feed, request) = fed();
        let response = within(client.send(&target(back_end.addr), request))
            .await
            .expect("sent");
        let mut body = response.into_body();
        for piece in ["one", "two", "three"] {
            feed.send(Ok(piece.into())).await.expect("body");
            let mut came = Vec::new();
            while came.len() < piece.len() {
                let data = within(body.data()).await.expect("data").expect("more");
                came.extend_from_slice(&data);
            }
            assert_eq!(came, piece.as_bytes());
        }
        drop(feed);
        assert_eq!(within(body.data()).await, Ok(None));
        until("kept", || client.idle_connections() == 1).await;
    }
    assert_eq!(back_end.connections(), 1);
}

#[tokio::test]
async fn a_request_goes_on_although_nobody_reads_the_response() {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let done = Arc::new(std::sync::Mutex::new(Some(done)));
    let back_end = BackEnd::start(move |_, mut socket| {
        let done = Arc::clone(&done);
        async move {
            read_head(&mut socket).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome";
            socket.write_all(head.as_bytes()).await.expect("write");
            let mut end = Vec::new();
            while !end.ends_with(b"0\r\n\r\n") {
                end.push(socket.read_u8().await.expect("body"));
            }
            socket.write_all(b" more").await.expect("write");
            let done = done.lock().expect("lock").take();
            done.expect("one connection").send(()).expect("test");
            let _ = socket.read_u8().await;
        }
    })
    .await;
    let client = Client::new(settings());
    let (feed, request) = fed();
    let response = within(client.send(&target(back_end.addr), request))
        .await
        .expect("sent");
    assert_eq!(response.body().exact_len(), Some(9));
    feed.send(Ok("part".into())).await.expect("body");
    drop(feed);
    within(is_done).await.expect("the request arrives");
    assert_eq!(text(response).await, "some more");
}

#[tokio::test]
async fn a_request_that_breaks_off_ends_its_response() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_head(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome";
        socket.write_all(head.as_bytes()).await.expect("write");
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    })
    .await;
    let client = Client::new(settings());
    let (feed, request) = fed();
    let response = within(client.send(&target(back_end.addr), request))
        .await
        .expect("sent");
    let failed = StreamError::broken("the client went away");
    feed.send(Err(failed.clone())).await.expect("body");
    let error = within(response.into_body().collect(100)).await;
    assert_eq!(error, Err(failed));
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn limits_of_time() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        while let Some((head, _)) = read_request(&mut socket).await {
            if head.contains("/wait") {
                let _ = socket.read_u8().await;
            } else {
                socket.write_all(OK.as_bytes()).await.expect("write");
            }
        }
    })
    .await;
    let client = Client::new(settings());
    let target = target(back_end.addr);
    let send = |path: &'static str, ms| {
        let mut request = get();
        *request.uri_mut() = path.parse().expect("path");
        let patience = Patience {
            total: Some(Duration::from_millis(ms)),
            silence: None,
        };
        client.send_within(&target, request.into(), patience)
    };
    // The timer of the connection is set to a later time, then to an earlier one.
    for (path, ms) in [
        ("/", 60_000),
        ("/", 50_000),
        ("/wait", 20),
        ("/", 60_000),
        ("/wait", 30),
    ] {
        let begin = tokio::time::Instant::now();
        let outcome = within(send(path, ms)).await;
        match path {
            "/" => assert_eq!(text(outcome.expect("sent")).await, "ok"),
            _ => {
                let error = outcome.expect_err("too late");
                assert_eq!(error.kind, SendErrorKind::Expired);
                assert!(begin.elapsed() >= Duration::from_millis(ms));
            }
        }
    }
    assert_eq!(back_end.connections(), 2);
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address");
    drop(listener);
    let client = Client::new(settings());
    let error = failure(&client, &target(addr), post("mine")).await;
    assert_eq!(error.kind, SendErrorKind::Refused);
    assert_eq!(error.kind.code(), 101_503);
    assert!(error.detail.contains(&addr.to_string()), "{}", error.detail);
    let unsent = error.unsent.expect("nothing was written");
    assert_eq!(unsent.body.collect(10).await.expect("body"), "mine");
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test]
async fn no_connection_in_time() {
    // A listener that never accepts, with its backlog full: the kernel drops what comes.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).expect("bind");
    listener.listen(0).expect("listen");
    let addr = listener
        .local_addr()
        .expect("address")
        .as_socket()
        .expect("IP");
    let short = Duration::from_millis(100);
    let mut waiting = Vec::new();
    while let Ok(socket) = std::net::TcpStream::connect_timeout(&addr, short) {
        waiting.push(socket);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    let client = Client::new(crate::transport::http::ClientSettings {
        connect_timeout: short,
        ..settings()
    });
    let error = failure(&client, &target(addr), get()).await;
    assert_eq!(error.kind, SendErrorKind::ConnectTimeout);
    assert_eq!(error.kind.code(), 101_508);
    assert!(error.unsent.is_some());
}

#[tokio::test]
async fn closed_before_a_response() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
    })
    .await;
    let client = Client::new(settings());
    let error = failure(&client, &target(back_end.addr), post("hello")).await;
    assert_eq!(error.kind, SendErrorKind::Closed, "{}", error.detail);
    assert_eq!(error.kind.code(), 101_508);
    assert!(error.unsent.is_none());
    assert_eq!(back_end.connections(), 1);
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn reset_after_the_request() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        reset(socket);
    })
    .await;
    let client = Client::new(settings());
    let error = failure(&client, &target(back_end.addr), post("hello")).await;
    assert_eq!(
        error.kind,
        SendErrorKind::Reset { written: true },
        "{}",
        error.detail
    );
    assert_eq!(error.kind.code(), 101_503);
    assert_eq!(back_end.connections(), 1);
}

#[tokio::test]
async fn closed_within_the_body() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.shutdown().await.expect("shutdown");
        // Keeps the socket from being reset by what comes still.
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    })
    .await;
    let client = Client::new(settings());
    let (feed, request) = fed();
    feed.send(Ok("part".into())).await.expect("body");
    let error = failure(&client, &target(back_end.addr), request).await;
    assert_eq!(
        error.kind,
        SendErrorKind::ClosedWriting { body_started: true },
        "{}",
        error.detail
    );
    assert_eq!(error.kind.code(), 101_507);
}

#[tokio::test]
async fn reset_within_the_body() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_head(&mut socket).await;
        reset(socket);
    })
    .await;
    let client = Client::new(settings());
    let body = vec![b'x'; 16 << 20];
    let error = failure(&client, &target(back_end.addr), post(body)).await;
    assert_eq!(error.kind, SendErrorKind::ResetInBody, "{}", error.detail);
    assert_eq!(error.kind.code(), 101_502);
}

#[tokio::test]
async fn garbage_and_oversized_heads() {
    let back_end = BackEnd::start(|number, mut socket| async move {
        read_request(&mut socket).await;
        if number == 0 {
            socket
                .write_all(b"220 mail.example ESMTP\r\n\r\n")
                .await
                .expect("write");
        } else {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            let _ = socket.write_all(&vec![b'x'; 1 << 20]).await;
        }
    })
    .await;
    let client = Client::new(settings());
    for _ in 0..2 {
        let error = failure(&client, &target(back_end.addr), post("hello")).await;
        assert_eq!(error.kind, SendErrorKind::Malformed, "{}", error.detail);
        assert_eq!(error.kind.code(), 101_509);
    }
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_fails_is_our_own_fault() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    })
    .await;
    let client = Client::new(settings());
    let (feed, request) = fed();
    feed.send(Ok("part".into())).await.expect("body");
    let failed = StreamError::broken("the client went away");
    feed.send(Err(failed.clone())).await.expect("body");
    let error = failure(&client, &target(back_end.addr), request).await;
    assert_eq!(error.kind, SendErrorKind::BodyFailed(failed));
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn a_response_that_comes_before_the_end_of_the_request() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_head(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.expect("write");
        let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
    })
    .await;
    let client = Client::new(settings());
    let (feed, request) = fed();
    let response = within(client.send(&target(back_end.addr), request))
        .await
        .expect("sent");
    assert_eq!(text(response).await, "ok");
    // Half a request is still on it.
    assert_eq!(client.idle_connections(), 0);
    until("closed", || client.open_connections() == 0).await;
    drop(feed);
}

#[tokio::test]
async fn a_response_sent_just_before_a_reset_is_not_lost() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_head(&mut socket).await;
        let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig";
        socket.write_all(answer.as_bytes()).await.expect("write");
        // Dropped with most of the request unread: the kernel resets.
    })
    .await;
    let client = Client::new(settings());
    for _ in 0..20 {
        let request = post(vec![b'x'; 8 << 20]);
        let response = within(client.send(&target(back_end.addr), request))
            .await
            .expect("sent");
        assert_eq!(response.status(), 413);
        assert_eq!(client.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_body_that_stalls() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        let part = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
        socket.write_all(part.as_bytes()).await.expect("write");
        let _ = socket.read_u8().await;
    })
    .await;
    let after = Duration::from_millis(30);
    let client = Client::new(crate::transport::http::ClientSettings {
        body_idle: Some(after),
        ..settings()
    });
    let response = within(client.send(&target(back_end.addr), get()))
        .await
        .expect("sent");
    assert_eq!(response.body().exact_len(), Some(10));
    let error = within(response.into_body().collect(100))
        .await
        .expect_err("stalls");
    assert_eq!(error, StreamError::Idle { after });
    assert_eq!(client.idle_connections(), 0);
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let back_end = BackEnd::start(|number, mut socket| async move {
        read_request(&mut socket).await;
        let part = match number {
            0 => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            1 => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        };
        socket.write_all(part.as_bytes()).await.expect("write");
        if number == 2 {
            let _ = socket.read_u8().await;
        }
    })
    .await;
    let client = Client::new(settings());
    for number in 0..3 {
        let response = within(client.send(&target(back_end.addr), get()))
            .await
            .expect("sent");
        let error = within(response.into_body().collect(100))
            .await
            .expect_err("breaks off");
        match number {
            2 => assert!(matches!(error, StreamError::Broken(_)), "{error:?}"),
            _ => assert!(matches!(error, StreamError::Closed(_)), "{error:?}"),
        }
        until("closed", || client.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let back_end = BackEnd::start(|number, mut socket| async move {
        read_request(&mut socket).await;
        let head = match number {
            0 => "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\n\r\n",
        };
        let _ = socket.write_all(head.as_bytes()).await;
        let _ = socket.write_all(&vec![b'x'; 4_000_000]).await;
    })
    .await;
    let client = Client::new(settings());
    for _ in 0..2 {
        let response = within(client.send(&target(back_end.addr), get()))
            .await
            .expect("sent");
        let error = within(response.into_body().collect(100_000))
            .await
            .expect_err("too large");
        assert_eq!(error, StreamError::TooLarge { limit: 100_000 });
        until("closed", || client.open_connections() == 0).await;
    }
    let response = within(client.send(&target(back_end.addr), get()))
        .await
        .expect("sent");
    let body = within(response.into_body().collect(4_000_000))
        .await
        .expect("fits");
    assert_eq!(body.len(), 4_000_000);
}

#[tokio::test]
async fn an_exchange_that_is_given_up_closes_its_connection() {
    let (gone, seen) = tokio::sync::oneshot::channel();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    let back_end = BackEnd::start(move |_, mut socket| {
        let gone = Arc::clone(&gone);
        async move {
            read_request(&mut socket).await;
            assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0);
            let gone = gone.lock().expect("lock").take();
            gone.expect("one connection").send(()).expect("test");
        }
    })
    .await;
    let client = Client::new(settings());
    let short = Duration::from_millis(20);
    let waited = tokio::time::timeout(short, client.send(&target(back_end.addr), post("x"))).await;
    assert!(waited.is_err());
    within(seen).await.expect("the back end sees the end");
    until("closed", || client.open_connections() == 0).await;
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn a_request_stuck_in_writing_can_be_given_up() {
    // Never reads: the request fills the socket's buffers.
    let back_end = BackEnd::start(|_, socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let client = Client::new(settings());
    let request = post(vec![b'x'; 32 << 20]);
    let short = Duration::from_millis(50);
    let waited = tokio::time::timeout(short, client.send(&target(back_end.addr), request)).await;
    assert!(waited.is_err());
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_is_not_read_closes_its_connection() {
    let back_end = BackEnd::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n";
        let _ = socket.write_all(head.as_bytes()).await;
        let _ = socket.write_all(&vec![b'x'; 4_000_000]).await;
    })
    .await;
    let client = Client::new(settings());
    let response = within(client.send(&target(back_end.addr), get()))
        .await
        .expect("sent");
    let mut body = response.into_body();
    assert!(within(body.data()).await.expect("data").is_some());
    drop(body);
    assert_eq!(client.idle_connections(), 0);
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn rested_connections_are_closed() {
    let back_end = BackEnd::answering(OK).await;
    let client = Client::new(crate::transport::http::ClientSettings {
        idle_timeout: Duration::from_millis(40),
        ..settings()
    });
    let response = within(client.send(&target(back_end.addr), get()))
        .await
        .expect("sent");
    text(response).await;
    until("closed", || client.open_connections() == 0).await;
    assert_eq!(client.idle_connections(), 0);
}

#[tokio::test]
async fn the_pool_is_bounded() {
    let first = BackEnd::answering(OK).await;
    let second = BackEnd::answering(OK).await;
    let client = Client::new(crate::transport::http::ClientSettings {
        max_idle_per_target: 2,
        max_targets: 1,
        ..settings()
    });
    let mut responses = Vec::new();
    for _ in 0..4 {
        responses.push(
            within(client.send(&target(first.addr), get()))
                .await
                .expect("sent"),
        );
    }
    assert_eq!(
        (client.idle_connections(), client.open_connections()),
        (0, 4)
    );
    for response in responses {
        text(response).await;
    }
    until("two are kept", || client.open_connections() == 2).await;
    assert_eq!(client.idle_connections(), 2);

    text(
        within(client.send(&target(second.addr), get()))
            .await
            .expect("sent"),
    )
    .await;
    until("the other target", || client.open_connections() == 1).await;
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn a_client_takes_its_connections_along() {
    let (gone, seen) = mpsc::channel();
    let back_end = BackEnd::start(move |_, mut socket| {
        let gone = gone.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                socket.write_all(OK.as_bytes()).await.expect("write");
            }
            gone.send(()).expect("test");
        }
    })
    .await;
    let client = Client::new(settings());
    text(
        within(client.send(&target(back_end.addr), get()))
            .await
            .expect("sent"),
    )
    .await;
    drop(client);
    until("closed", || seen.try_recv().is_ok()).await;
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let back_end =
        BackEnd::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .await;
    let client = Client::new(settings());
    for round in 1..=2 {
        text(
            within(client.send(&target(back_end.addr), get()))
                .await
                .expect("sent"),
        )
        .await;
        until("closed", || client.open_connections() == 0).await;
        assert_eq!(back_end.connections(), round);
    }
}

#[tokio::test]
async fn a_name_is_resolved() -> Result<(), Infallible> {
    let back_end = BackEnd::answering(OK).await;
    let client = Client::new(settings());
    let address = format!("http://localhost:{}/", back_end.addr.port());
    let target = Target::parse(&address).expect("target");
    let response = within(client.send(&target, get())).await.expect("sent");
    assert_eq!(text(response).await, "ok");
    Ok(())
}
