//! What becomes of bodies that are read late or not at all, and how answers are written.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{Broken, Line, Next, ServeLimits};
use super::Pieces;
use super::serving::{CONTINUE, LIMITS, Peer, answer, next, now, request, rest};
use crate::message::stream::{BodyStream, Incoming, StreamError};

async fn whole(body: Incoming) -> Bytes {
    let body = BodyStream::incoming(body, None);
    body.collect(1000).await.expect("body")
}

#[tokio::test]
async fn heads_have_limits() {
    let limits = ServeLimits {
        max_buf: 8192,
        max_headers: 3,
        max_head: 1000,
    };
    for (text, status) in [
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(3)),
            None,
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(4)),
            Some(431),
        ),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1000)),
            Some(431),
        ),
        (format!("GET /{}", "x".repeat(1000)), Some(431)),
        ("\r\n".repeat(600), Some(431)),
    ] {
        for cuts in [&[][..], &[10], &[999]] {
            let mut line = Line::new(Peer::saying(text.as_bytes(), cuts), limits);
            let found = match next(&mut line).await {
                Next::Refused(status) => Some(status.as_u16()),
                Next::Request(_) => None,
                Next::Gone => panic!("gone"),
            };
            assert_eq!(found, status, "{text} {cuts:?}");
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(65_534));
    let limits = ServeLimits {
        max_buf: 1 << 20,
        ..LIMITS
    };
    let mut line = Line::new(Peer::saying(long.as_bytes(), &[]), limits);
    assert!(matches!(
        next(&mut line).await,
        Next::Refused(StatusCode::URI_TOO_LONG)
    ));
}

#[tokio::test]
async fn a_client_is_told_to_go_on_when_its_body_is_wanted_and_not_there() {
    let head = "POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let peer = Peer::open(head);
    let mut line = Line::new(peer.clone(), LIMITS);
    let request_ = request(&mut line).await;
    assert_eq!(peer.written(), "");
    let mut body = request_.into_body();
    for _ in 0..2 {
        assert!(now(|cx| Pin::new(&mut body).poll_frame(cx)).is_pending());
        assert_eq!(peer.written(), CONTINUE);
    }
    peer.says(b"helloGET / HTTP/1.1\r\n\r\n");
    let data = whole(body).await;
    assert_eq!(data, "hello");
    answer(
        &mut line,
        Response::new("hi".to_owned().into_bytes()).map(|b| BodyStream::full(b.into())),
    )
    .await
    .expect("written");
    assert!(rest(&mut line).await);
    request(&mut line).await;

    // It is there.
    let peer = Peer::open(&format!("{head}hello"));
    let mut line = Line::new(peer.clone(), LIMITS);
    let body = request(&mut line).await.into_body();
    assert_eq!(whole(body).await, "hello");
    assert_eq!(peer.written(), "");

    // It is not wanted: the client may send it or not, so that nothing can follow.
    for held in [false, true] {
        let peer = Peer::open(head);
        let mut line = Line::new(peer.clone(), LIMITS);
        let mut request_ = Some(request(&mut line).await);
        if !held {
            request_ = None;
        }
        answer(&mut line, Response::new(BodyStream::empty()))
            .await
            .expect("written");
        let text = peer.written();
        assert!(text.contains("connection: close\r\n"), "{text}");
        // Too late for a 100.
        if let Some(request) = &mut request_ {
            assert!(now(|cx| Pin::new(request.body_mut()).poll_frame(cx)).is_pending());
        }
        drop(request_);
        assert!(!rest(&mut line).await);
        assert_eq!(peer.written(), text);
    }
}

#[tokio::test]
async fn what_nobody_reads_is_thrown_away_within_limits() {
    // (head, what of the body comes at once, what comes later, whether the answer says close,
    // whether the connection is kept)
    let length = |n: usize| format!("POST / HTTP/1.1\r\nContent-Length: {n}\r\n\r\n");
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    for (head, first, later, closes, kept) in [
        (
            length(20_000),
            "x".repeat(20_000),
            String::new(),
            false,
            true,
        ),
        (
            length(200_000),
            "x".repeat(10),
            "x".repeat(199_990),
            false,
            true,
        ),
        (length(300_000), String::new(), String::new(), true, false),
        (
            length(300_000),
            "x".repeat(300_000),
            String::new(),
            true,
            false,
        ),
        (
            chunked.clone(),
            format!("{chunk}0\r\n\r\n"),
            String::new(),
            false,
            true,
        ),
        (
            chunked.clone(),
            chunk.clone(),
            "0\r\nX: y\r\n\r\n".to_owned(),
            false,
            true,
        ),
        (chunked.clone(), chunk.repeat(5), String::new(), true, false),
        (
            chunked.clone(),
            chunk.repeat(2),
            chunk.repeat(4),
            false,
            false,
        ),
        (chunked.clone(), "zz".to_owned(), String::new(), true, false),
        (chunked, chunk.clone(), "\r\n".to_owned(), false, false),
    ] {
        let peer = Peer::open(&format!("{head}{first}"));
        let mut line = Line::new(peer.clone(), LIMITS);
        drop(request(&mut line).await);
        answer(&mut line, Response::new(BodyStream::empty()))
            .await
            .expect("written");
        let text = peer.written();
        assert_eq!(text.contains("connection: close"), closes, "{head}: {text}");
        if !later.is_empty() {
            assert!(
                now(|cx| line.poll_rest(cx)).is_pending() && line.is_draining(),
                "{head}"
            );
            peer.says(later.as_bytes());
        }
        assert_eq!(rest(&mut line).await, kept, "{head}");
        if kept {
            peer.says(b"GET / HTTP/1.1\r\n\r\n");
            request(&mut line).await;
        }
    }
}

#[tokio::test]
async fn the_next_request_waits_for_the_reader_of_the_body() {
    let peer = Peer::open("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe");
    let mut line = Line::new(peer.clone(), LIMITS);
    let body = request(&mut line).await.into_body();
    answer(&mut line, Response::new(BodyStream::empty()))
        .await
        .expect("written");
    assert!(now(|cx| line.poll_rest(cx)).is_pending());
    assert!(!line.is_draining());
    let reader = tokio::spawn(whole(body));
    let (kept, ()) = tokio::join!(rest(&mut line), async {
        tokio::task::yield_now().await;
        peer.says(b"lloGET / HTTP/1.1\r\n\r\n");
    });
    assert!(kept);
    assert_eq!(reader.await.expect("reader"), "hello");
    request(&mut line).await;

    // A reader that loses its connection is told.
    let peer = Peer::open("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe");
    let mut line = Line::new(peer, LIMITS);
    let mut body = request(&mut line).await.into_body();
    assert!(body.frame().await.expect("frame").is_ok());
    let reader = tokio::spawn(async move { body.frame().await });
    tokio::task::yield_now().await;
    drop(line);
    let told = reader.await.expect("reader").expect("frame");
    assert!(matches!(told, Err(StreamError::Closed(_))), "{told:?}");
}

#[tokio::test]
async fn the_body_of_the_request_may_be_that_of_the_answer() {
    let peer = Peer::saying(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        &[50, 53],
    );
    let mut line = Line::new(peer.clone(), LIMITS);
    let body = BodyStream::incoming(request(&mut line).await.into_body(), None);
    answer(&mut line, Response::new(body))
        .await
        .expect("written");
    assert!(rest(&mut line).await);
    assert!(
        peer.written().ends_with("3\r\nabc\r\n0\r\n\r\n"),
        "{}",
        peer.written()
    );
}

fn piecemeal(parts: &[Option<&str>], length: Option<u64>) -> BodyStream {
    let piece = |part: &str| match part {
        "!" => Err(StreamError::broken("as wanted")),
        part => Ok(Bytes::copy_from_slice(part.as_bytes())),
    };
    let pieces = parts.iter().map(|part| part.map(piece)).collect();
    BodyStream::boxed(Pieces { pieces, length }, None)
}

async fn answered(
    asked: &str,
    response: Response<BodyStream>,
    gulp: usize,
) -> (String, Option<bool>) {
    let peer = Peer::open(asked);
    peer.script().gulp = gulp;
    let mut line = Line::new(peer.clone(), LIMITS);
    request(&mut line).await;
    match answer(&mut line, response).await {
        Ok(()) => {
            let kept = rest(&mut line).await;
            (peer.written(), Some(kept))
        }
        Err(Broken::Body { to_end, .. }) => (peer.written(), to_end.then_some(false)),
        Err(Broken::Io(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn how_answers_are_written() {
    const GET: &str = "GET / HTTP/1.1\r\n\r\n";
    const HEAD: &str = "HEAD / HTTP/1.1\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
    const KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const TUNNEL: &str = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    let full = || BodyStream::full("hello".into());
    let parts = || piecemeal(&[Some("ab"), None, Some("c"), None], None);
    let sized = || piecemeal(&[None, Some("ab"), Some("c")], Some(3));
    let with = |status: u16, headers: &[(&'static str, &'static str)], body: BodyStream| {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(body).expect("response")
    };
    for gulp in [0, 1, 7] {
        for (asked, response, expected, kept) in [
            (
                GET,
                with(200, &[("x-y", "z")], full()),
                "HTTP/1.1 200 OK\r\nx-y: z\r\ncontent-length: 5\r\n\r\nhello",
                true,
            ),
            (
                GET,
                with(404, &[("content-length", "9"), ("x-y", "z")], full()),
                "HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nx-y: z\r\n\r\nhello",
                true,
            ),
            (
                GET,
                with(299, &[], BodyStream::empty()),
                "HTTP/1.1 299 <none>\r\ncontent-length: 0\r\n\r\n",
                true,
            ),
            (
                GET,
                with(200, &[], parts()),
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                true,
            ),
            (
                GET,
                with(
                    200,
                    &[("transfer-encoding", "gzip"), ("trailer", "x")],
                    sized(),
                ),
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
                true,
            ),
            (
                GET,
                with(200, &[("content-length", "3")], parts()),
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
                true,
            ),
            (
                GET,
                with(200, &[("connection", "close")], full()),
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
                false,
            ),
            (
                GET,
                with(
                    200,
                    &[("connection", "x"), ("connection", "Close, y")],
                    full(),
                ),
                "HTTP/1.1 200 OK\r\nconnection: x, Close, y\r\ncontent-length: 5\r\n\r\nhello",
                false,
            ),
            (
                GET,
                with(204, &[("content-length", "5")], full()),
                "HTTP/1.1 204 No Content\r\n\r\n",
                true,
            ),
            (
                GET,
                with(304, &[], parts()),
                "HTTP/1.1 304 Not Modified\r\n\r\n",
                true,
            ),
            (
                HEAD,
                with(200, &[("content-length", "7")], BodyStream::empty()),
                "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
                true,
            ),
            (
                HEAD,
                with(200, &[], full()),
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                true,
            ),
            (
                HEAD,
                with(200, &[], parts()),
                "HTTP/1.1 200 OK\r\n\r\n",
                true,
            ),
            (
                OLD,
                with(200, &[], full()),
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
                false,
            ),
            (
                OLD,
                with(200, &[], parts()),
                "HTTP/1.0 200 OK\r\n\r\nabc",
                false,
            ),
            (
                KEPT,
                with(200, &[], full()),
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
                true,
            ),
            (
                KEPT,
                with(200, &[], parts()),
                "HTTP/1.0 200 OK\r\n\r\nabc",
                false,
            ),
            (
                TUNNEL,
                with(200, &[], full()),
                "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
                false,
            ),
            (
                TUNNEL,
                with(404, &[], full()),
                "HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello",
                true,
            ),
            (
                GET,
                with(101, &[("upgrade", "x")], full()),
                "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                false,
            ),
        ] {
            let (written, was_kept) = answered(asked, response, gulp).await;
            assert_eq!(
                (written.as_str(), was_kept),
                (expected, Some(kept)),
                "{asked}"
            );
        }
        let mut old = with(200, &[], parts());
        *old.version_mut() = Version::HTTP_10;
        let (written, kept) = answered(GET, old, gulp).await;
        assert_eq!(written, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc");
        assert_eq!(kept, Some(false));
        let large = "l".repeat(10_000);
        let (written, _) = answered(
            GET,
            with(200, &[], piecemeal(&[Some(&large), None, Some("x")], None)),
            gulp * 999,
        )
        .await;
        assert!(written.ends_with(&format!("2710\r\n{large}\r\n1\r\nx\r\n0\r\n\r\n")));
    }
}

#[tokio::test]
async fn half_an_answer_never_looks_whole() {
    for (asked, body, expected, to_end) in [
        (
            "HTTP/1.1",
            piecemeal(&[Some("ab")], Some(3)),
            "content-length: 3\r\n\r\nab",
            false,
        ),
        (
            "HTTP/1.1",
            piecemeal(&[Some("ab"), None, Some("!")], None),
            "\r\n\r\n2\r\nab\r\n",
            false,
        ),
        (
            "HTTP/1.0",
            piecemeal(&[Some("ab"), Some("!")], None),
            "\r\n\r\nab",
            true,
        ),
        (
            "HTTP/1.0",
            piecemeal(&[Some("ab"), Some("!")], Some(3)),
            "\r\n\r\nab",
            false,
        ),
    ] {
        let asked = format!("GET / {asked}\r\n\r\n");
        let (written, broken) = answered(&asked, Response::new(body), 0).await;
        assert!(written.ends_with(expected), "{written}");
        assert_eq!(broken, to_end.then_some(false), "{written}");
    }
    let (written, _) = answered(
        "GET / HTTP/1.1\r\n\r\n",
        Response::new(piecemeal(&[Some("abcd")], Some(3))),
        0,
    )
    .await;
    assert!(
        written.ends_with("content-length: 3\r\n\r\nabc"),
        "{written}"
    );
}

#[tokio::test]
async fn one_write_for_an_answer_and_nothing_kept_afterwards() {
    let peer = Peer::open("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut line = Line::new(peer.clone(), LIMITS);
    request(&mut line).await;
    let body = BodyStream::full(vec![b'x'; 10_000].into());
    answer(&mut line, Response::new(body))
        .await
        .expect("written");
    assert!(rest(&mut line).await);
    assert_eq!(peer.script().writes, 1);
    assert!(now(|cx| line.poll_request(cx)).is_pending());
    assert!(line.is_idle());
    assert_eq!(line.held_bytes(), 0);
    assert!(
        size_of::<Line<Peer>>() <= 400,
        "{}",
        size_of::<Line<Peer>>()
    );
}

#[tokio::test]
async fn an_answer_is_asked_for_only_as_the_client_takes_it() {
    struct Stuck;
    impl AsyncRead for Stuck {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(b"GET / HTTP/1.1\r\n\r\n");
            Poll::Ready(Ok(()))
        }
    }
    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }
    struct Endless(Arc<Mutex<usize>>);
    impl Body for Endless {
        type Data = Bytes;
        type Error = StreamError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
            *self.0.lock().expect("count") += 1;
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; 1000].into()))))
        }
    }
    let asked = Arc::new(Mutex::new(0));
    let mut line = Line::new(Stuck, LIMITS);
    assert!(matches!(
        now(|cx| line.poll_request(cx)),
        Poll::Ready(Next::Request(_))
    ));
    let body = BodyStream::boxed(Endless(Arc::clone(&asked)), None);
    let mut body = Some(body);
    let _ = now(|cx| {
        line.begin_answer(cx, Response::new(body.take().expect("once")), false);
        Poll::Ready(())
    });
    for _ in 0..5 {
        assert!(now(|cx| line.poll_answer(cx)).is_pending());
    }
    assert_eq!(*asked.lock().expect("count"), 1);
}
