//! What becomes of a client's connection after its requests.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{By, Listener, answer, echo, raw, read_to, rest, until, within};
use crate::message::stream::{BodyStream, Incoming, StreamError};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A body of a length that nobody knows, which fails at its end or not.
struct Parts(VecDeque<Result<&'static str, StreamError>>);

impl Body for Parts {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let next = self.0.pop_front();
        Poll::Ready(next.map(|part| part.map(|text| Frame::data(text.into()))))
    }
}

fn parts(fails: bool) -> BodyStream {
    let mut parts = VecDeque::from([Ok("some "), Ok("text")]);
    if fails {
        parts.push_back(Err(StreamError::broken("as wanted")));
    }
    BodyStream::boxed(Parts(parts), None)
}

#[tokio::test]
async fn an_old_client_can_tell_half_an_answer_from_a_whole_one() {
    let listener = Listener::start(By(|request: Request<Incoming>, _| async move {
        Response::new(parts(request.uri().path() == "/half"))
    }));
    let text = rest(raw(listener.addr, "GET /whole HTTP/1.0\r\n\r\n").await).await;
    assert!(text.ends_with("\r\n\r\nsome text"), "{text}");
    let mut socket = raw(listener.addr, "GET /half HTTP/1.0\r\n\r\n").await;
    let mut bytes = Vec::new();
    let error = within(socket.read_to_end(&mut bytes)).await;
    let error = error.expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let text = rest(raw(listener.addr, "GET /half HTTP/1.1\r\n\r\n").await).await;
    assert!(text.ends_with("4\r\ntext\r\n"), "{text}");
    until("closed", || listener.shutdown.connections() == 0).await;
}

#[tokio::test]
async fn an_unread_body_leaves_the_connection_usable() {
    let listener = Listener::start(By(|_, _| async { answer("fine") }));
    let mut socket = raw(listener.addr, "").await;
    let body = "x".repeat(100_000);
    for round in 0..5 {
        let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("write");
        // Sometimes the answer is there before the body.
        if round % 2 == 0 {
            read_to(&mut socket, "fine").await;
        }
        socket.write_all(body.as_bytes()).await.expect("write");
        if round % 2 == 1 {
            read_to(&mut socket, "fine").await;
        }
    }
    socket.write_all(GET.as_bytes()).await.expect("write");
    let text = read_to(&mut socket, "fine").await;
    assert!(text.ends_with("fine") && !text.contains("close"), "{text}");
}

#[tokio::test]
async fn an_unread_body_that_does_not_come_ends_the_connection() {
    let listener = Listener::with(By(|_, _| async { answer("fine") }), |settings| {
        settings.linger = Duration::from_millis(50);
        settings.idle_timeout = Duration::from_millis(400);
    });
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf";
    let text = rest(raw(listener.addr, head).await).await;
    assert!(text.ends_with("fine"), "{text}");
    until("closed", || listener.shutdown.connections() == 0).await;
}

#[tokio::test]
async fn many_requests_at_once_are_answered_in_their_order() {
    let listener = Listener::start(By(|request: Request<Incoming>, _| async move {
        let path = request.uri().path().to_owned();
        let body = BodyStream::incoming(request.into_body(), None);
        let body = body.collect(100).await.expect("body");
        tokio::task::yield_now().await;
        answer(format!("{path}={}\n", String::from_utf8_lossy(&body)))
    }));
    let mut all = String::new();
    let mut expected = String::new();
    for number in 0..300 {
        all.push_str(&format!(
            "POST /{number} HTTP/1.1\r\nContent-Length: 3\r\n\r\n{:03}",
            999 - number
        ));
        expected.push_str(&format!("/{number}={:03}\n", 999 - number));
    }
    all.push_str("GET /end HTTP/1.1\r\nConnection: close\r\n\r\n");
    let text = rest(raw(listener.addr, all).await).await;
    let bodies: String = text
        .split_inclusive('\n')
        .filter(|line| line.starts_with('/'))
        .collect();
    assert_eq!(bodies, format!("{expected}/end=\n"));
}

#[tokio::test]
async fn bodies_go_both_ways_at_once() {
    let listener = Listener::start(echo());
    let socket = raw(
        listener.addr,
        "POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let (mut read, mut write) = socket.into_split();
    let sent = async {
        let chunk = format!("4000\r\n{}\r\n", "y".repeat(0x4000));
        for _ in 0..200 {
            write.write_all(chunk.as_bytes()).await.expect("write");
        }
        write.write_all(b"0\r\n\r\n").await.expect("write");
    };
    let mut bytes = Vec::new();
    let (read, ()) = within(async { tokio::join!(read.read_to_end(&mut bytes), sent) }).await;
    read.expect("read");
    let came = bytes.iter().filter(|byte| **byte == b'y').count();
    assert_eq!(came, 200 * 0x4000);
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));
}
