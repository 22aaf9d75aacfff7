//! The server's side against byte sequences, split everywhere, and against hyper's server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{Broken, Line, Next, ServeLimits};
use crate::message::stream::{BodyStream, Incoming};

pub(super) const LIMITS: ServeLimits = ServeLimits {
    max_buf: 64 * 1024,
    max_headers: 100,
    max_head: usize::MAX,
};

/// A client that says its pieces and then closes.
#[derive(Clone, Default)]
pub(super) struct Peer(Arc<Mutex<Script>>);

#[derive(Default)]
pub(super) struct Script {
    pieces: VecDeque<Bytes>,
    /// Stays open behind the last piece.
    open: bool,
    written: Vec<u8>,
    pub(super) writes: usize,
    /// Bytes taken by one write, 0 for all.
    pub(super) gulp: usize,
    waiting: Option<Waker>,
}

impl Peer {
    pub(super) fn saying(bytes: &[u8], cuts: &[usize]) -> Self {
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
    pub(super) fn open(bytes: &str) -> Self {
        let peer = Self::saying(bytes.as_bytes(), &[]);
        peer.script().open = true;
        peer
    }

    pub(super) fn says(&self, bytes: &[u8]) {
        let mut script = self.script();
        script.pieces.push_back(Bytes::copy_from_slice(bytes));
        if let Some(waker) = script.waiting.take() {
            waker.wake();
        }
    }

    pub(super) fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().expect("script")
    }

    /// What was written, without the date.
    pub(super) fn written(&self) -> String {
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

pub(super) async fn next(line: &mut Line<Peer>) -> Next {
    poll_fn(|cx| line.poll_request(cx)).await
}

pub(super) async fn request(line: &mut Line<Peer>) -> Request<Incoming> {
    match next(line).await {
        Next::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

/// Writes an answer; whether it was written whole.
pub(super) async fn answer(
    line: &mut Line<Peer>,
    response: Response<BodyStream>,
) -> Result<(), Broken> {
    let mut response = Some(response);
    poll_fn(|cx| {
        line.begin_answer(cx, response.take().expect("once"), false);
        Poll::Ready(())
    })
    .await;
    poll_fn(|cx| line.poll_answer(cx)).await
}

pub(super) async fn rest(line: &mut Line<Peer>) -> bool {
    poll_fn(|cx| line.poll_rest(cx)).await
}

pub(super) fn now<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
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

pub(super) const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

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
