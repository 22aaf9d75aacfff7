//! The server's side against byte sequences, split everywhere, and against hyper's server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Broken, Line, Next, ServeLimits};
use crate::message::stream::{BodyStream, Incoming, StreamError};

const LIMITS: ServeLimits = ServeLimits {
    max_buf: 64 * 1024,
    max_headers: 100,
    max_head: usize::MAX,
};

/// A client that says its pieces and then closes.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    pieces: VecDeque<Bytes>,
    /// Stays open behind the last piece.
    open: bool,
    written: Vec<u8>,
    writes: usize,
    /// Bytes taken by one write, 0 for all.
    gulp: usize,
    waiting: Option<Waker>,
}

impl Peer {
    fn saying(bytes: &[u8], cuts: &[usize]) -> Self {
        let peer = Self::default();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            if cut > from && cut <= bytes.len() {
                peer.says(&bytes[from..cut]);
                from = cut;
            }
        }
        peer
    }

    /// One that waits for more than its answer.
    fn open(bytes: &str) -> Self {
        let peer = Self::saying(bytes.as_bytes(), &[]);
        peer.script().open = true;
        peer
    }

    fn says(&self, bytes: &[u8]) {
        let mut script = self.script();
        script.pieces.push_back(Bytes::copy_from_slice(bytes));
        if let Some(waker) = script.waiting.take() {
            waker.wake();
        }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().expect("script")
    }

    /// What was written, without the date.
    fn written(&self) -> String {
        let text = String::from_utf8_lossy(&self.script().written).into_owned();
        without_dates(&text)
    }
}

fn without_dates(text: &str) -> String {
    let mut left = String::new();
    for line in text.split_inclusive("\r\n") {
        if let Some(date) = line.strip_prefix("date: ") {
            assert_eq!(date.len(), 31, "{date}");
            assert!(httpdate::parse_http_date(date.trim_end()).is_ok(), "{date}");
        } else {
            left.push_str(line);
        }
    }
    left
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut script = self.script();
        let Some(mut piece) = script.pieces.pop_front() else {
            if script.open {
                script.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            return Poll::Ready(Ok(()));
        };
        let now = piece.split_to(piece.len().min(buf.remaining()));
        buf.put_slice(&now);
        if !piece.is_empty() {
            script.pieces.push_front(piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut script = self.script();
        let count = match script.gulp {
            0 => bytes.len(),
            gulp => bytes.len().min(gulp),
        };
        script.written.extend_from_slice(&bytes[..count]);
        script.writes += 1;
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as its handler saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    whole: bool,
}

fn listed(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

async fn handle<B>(request: Request<B>) -> (Seen, Response<BodyStream>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    let mut trailers = Vec::new();
    let whole = loop {
        match incoming.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(map) = frame.into_trailers() {
                        trailers = listed(&map);
                    }
                }
            },
        }
    };
    let mut response = Response::new(BodyStream::full("ok".into()));
    if !whole {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert("connection", close);
    }
    let seen = Seen {
        line: format!("{} {} {:?}", head.method, head.uri, head.version),
        headers: listed(&head.headers),
        body,
        trailers,
        whole,
    };
    (seen, response)
}

async fn next(line: &mut Line<Peer>) -> Next {
    poll_fn(|cx| line.poll_request(cx)).await
}

async fn request(line: &mut Line<Peer>) -> Request<Incoming> {
    match next(line).await {
        Next::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

/// Writes an answer; whether it was written whole.
async fn answer(line: &mut Line<Peer>, response: Response<BodyStream>) -> Result<(), Broken> {
    let mut response = Some(response);
    poll_fn(|cx| {
        line.begin_answer(cx, response.take().expect("once"), false);
        Poll::Ready(())
    })
    .await;
    poll_fn(|cx| line.poll_answer(cx)).await
}

async fn rest(line: &mut Line<Peer>) -> bool {
    poll_fn(|cx| line.poll_rest(cx)).await
}

fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

async fn ours(bytes: &[u8], cuts: &[usize]) -> (Vec<Seen>, String) {
    let peer = Peer::saying(bytes, cuts);
    let mut line = Line::new(peer.clone(), LIMITS);
    let mut all = Vec::new();
    loop {
        match next(&mut line).await {
            Next::Request(request) => {
                let (seen, response) = handle(request).await;
                all.push(seen);
                answer(&mut line, response).await.expect("written");
                if !rest(&mut line).await {
                    break;
                }
            }
            Next::Refused(status) => {
                poll_fn(|cx| {
                    line.refuse(cx, status);
                    Poll::Ready(())
                })
                .await;
                poll_fn(|cx| line.poll_answer(cx)).await.expect("written");
                break;
            }
            Next::Gone => break,
        }
    }
    (all, peer.written().replace(CONTINUE, ""))
}

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

async fn hypers(bytes: &[u8], cuts: &[usize]) -> (Vec<Seen>, String) {
    let peer = Peer::saying(bytes, cuts);
    let all = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&all);
    let service = hyper::service::service_fn(move |request| {
        let told = Arc::clone(&told);
        async move {
            let (seen, response) = handle(request).await;
            told.lock().expect("requests").push(seen);
            Ok::<_, Infallible>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_buf_size(LIMITS.max_buf)
        .serve_connection(TokioIo::new(peer.clone()), service);
    let _ = served.await;
    let seen = std::mem::take(&mut *all.lock().expect("requests"));
    (seen, peer.written().replace(CONTINUE, ""))
}

const SAMPLES: &[(&str, &str)] = &[
    (
        "get",
        "GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-A: b\r\nx-a: c\r\n\r\n",
    ),
    (
        "length",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "empty",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "pipelined",
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiPOST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHEAD /4 HTTP/1.1\r\n\r\n",
    ),
    (
        "same lengths",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "lengths",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    ),
    (
        "list of lengths",
        "POST / HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\nok",
    ),
    ("plus", "POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\nok"),
    ("no number", "POST / HTTP/1.1\r\nContent-Length:\r\n\r\nok"),
    (
        "chunks",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    ),
    (
        "upper",
        "POST / HTTP/1.1\r\nTRANSFER-ENCODING: gzip, Chunked\r\n\r\n2 \t\r\nok\r\n000;z\r\n\r\n",
    ),
    (
        "trailers",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nx-b: c\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    (
        "bad trailers",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX Sum\r\n\r\n",
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunked undone",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "unknown coding",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "old chunks",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    ("old", "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
    (
        "old and kept",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    (
        "close",
        "GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    (
        "close and keep",
        "GET / HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    ("short", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhello"),
    (
        "size of a chunk",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ),
    (
        "no size",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
    ),
    (
        "large",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
    ),
    (
        "line feed in a size",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
    ),
    (
        "line feed in an extension",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;\nok\r\n0\r\n\r\n",
    ),
    (
        "long chunk",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n",
    ),
    (
        "no last chunk",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ),
    (
        "no end",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ),
    (
        "expectation",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nokGET / HTTP/1.1\r\n\r\n",
    ),
    (
        "other expectation",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: x\r\n\r\nok",
    ),
    (
        "old expectation",
        "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
    ),
    ("folded", "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n"),
    (
        "space before the colon",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    ),
    ("carriage return", "GET / HTTP/1.1\r\nX: a\rY: b\r\n\r\n"),
    ("line feeds", "GET / HTTP/1.1\nX: a\n\nGET / HTTP/1.1\n\n"),
    (
        "empty lines first",
        "\r\n\r\nGET / HTTP/1.1\r\nX: a\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    ("name", "GET / HTTP/1.1\r\nX Y: 2\r\n\r\n"),
    ("value", "GET / HTTP/1.1\r\nX: \u{1}\r\n\r\n"),
    ("high value", "GET / HTTP/1.1\r\nX: ü\r\n\r\n"),
    ("method", "FR\u{1}B / HTTP/1.1\r\n\r\n"),
    ("own method", "FROB / HTTP/1.1\r\n\r\n"),
    ("asterisk", "OPTIONS * HTTP/1.1\r\n\r\n"),
    ("whole target", "GET http://a/b HTTP/1.1\r\n\r\n"),
    ("no slash", "GET a/b HTTP/1.1\r\n\r\n"),
    ("odd target", "GET /{}|'\" HTTP/1.1\r\n\r\n"),
    ("high target", "GET /ü HTTP/1.1\r\n\r\n"),
    (
        "upgrade",
        "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ),
    ("version", "GET / HTTP/9.9\r\n\r\n"),
    ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("no http", "hello\r\n\r\n"),
    ("nothing", ""),
    ("half a head", "GET / HTTP/1.1\r\nX: "),
    ("only lines", "\r\n\r\n"),
];

#[tokio::test]
async fn the_same_as_hypers_server() {
    for (name, sample) in SAMPLES {
        let bytes = sample.as_bytes();
        let expected = hypers(bytes, &[]).await;
        let found = ours(bytes, &[]).await;
        assert_eq!(found, expected, "{name}");
        for cut in 1..bytes.len() {
            // hyper answers a preface that came in two pieces.
            if *name != "preface" {
                assert_eq!(ours(bytes, &[cut]).await, found, "{name} {cut}");
            }
        }
        let bytewise: Vec<_> = (1..bytes.len()).collect();
        if *name != "preface" {
            assert_eq!(ours(bytes, &bytewise).await, found, "{name}");
        }
    }
}

#[tokio::test]
async fn less_trust_than_hypers_server() {
    let both =
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let endless = "POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\nok";
    for sample in [both, endless] {
        let (seen, text) = ours(sample.as_bytes(), &[]).await;
        assert!(seen.is_empty());
        assert_eq!(
            text,
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
    }
}

/// Where hyper's server is known to do something else: both framings at once are refused here, and a
/// client whose `CONNECT` succeeds is told that the connection ends.
fn differs(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.contains("content-length") && text.contains("transfer-encoding")
        || text.contains("connect ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, and however it is cut: no panic, the same outcome, and nothing that hyper's
    /// server would see otherwise.
    #[test]
    fn any_bytes(
        sample in 0..SAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(
            b"\r\n\t :;,0129aFxX-\0\x7f\xff".to_vec()
        )), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut bytes = SAMPLES[sample].1.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                _ => bytes.truncate(at),
            }
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len().max(1))).collect();
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let found = ours(&bytes, &cuts).await;
            if SAMPLES[sample].0 != "preface" {
                let whole = ours(&bytes, &[]).await;
                assert_eq!(found.0, whole.0);
                // What cannot become a request is only noticed at once in its first piece.
                assert!(whole.1.starts_with(&found.1), "{found:?} {whole:?}");
                if !differs(&bytes) {
                    assert_eq!(whole, hypers(&bytes, &[]).await, "{:?}", Bytes::from(bytes));
                }
            }
        });
    }
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
    let data = body.collect().await.expect("body").to_bytes();
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
    assert_eq!(body.collect().await.expect("body").to_bytes(), "hello");
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
    let reader = tokio::spawn(async move { body.collect().await.expect("body").to_bytes() });
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

/// A body in pieces, some of which are not there at once.
struct Pieces {
    pieces: VecDeque<Option<Result<Bytes, StreamError>>>,
    length: Option<u64>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.pieces.pop_front() {
            None => Poll::Ready(None),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(piece)) => Poll::Ready(Some(piece.map(Frame::data))),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(
            http_body::SizeHint::default,
            http_body::SizeHint::with_exact,
        )
    }
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
