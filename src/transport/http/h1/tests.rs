//! The codec against byte sequences, split everywhere, and against hyper's client.

mod answering;
mod serving;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Trouble, Wire, WireLimits};
use crate::message::request::WireRequest;
use crate::message::stream::{BodyStream, StreamError};

const LIMITS: WireLimits = WireLimits {
    max_buf: 64 * 1024,
    max_headers: 100,
};

/// A peer that says its pieces once something was written, and then closes.
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
        let mut pieces = VecDeque::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            if cut > from && cut <= bytes.len() {
                pieces.push_back(Bytes::copy_from_slice(&bytes[from..cut]));
                from = cut;
            }
        }
        let peer = Self::default();
        peer.script().pieces = pieces;
        peer
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().expect("script")
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.script().written).into_owned()
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut script = self.script();
        if script.written.is_empty() || (script.pieces.is_empty() && script.open) {
            script.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(mut piece) = script.pieces.pop_front() {
            let now = piece.split_to(piece.len().min(buf.remaining()));
            buf.put_slice(&now);
            if !piece.is_empty() {
                script.pieces.push_front(piece);
            }
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
        if let Some(waker) = script.waiting.take() {
            waker.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What came of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// No response.
    Nothing,
    Response {
        status: u16,
        reason: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
        trailers: Vec<(String, Vec<u8>)>,
        whole: bool,
    },
}

fn listed(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}

fn request(method: &Method) -> WireRequest {
    plain(method).into()
}

fn plain(method: &Method) -> Request<BodyStream> {
    let mut request = Request::new(BodyStream::empty());
    *request.method_mut() = method.clone();
    request
}

/// Our outcome, and whether the connection could be used again.
async fn ours(method: &Method, bytes: &[u8], cuts: &[usize]) -> (Outcome, bool) {
    let peer = Peer::saying(bytes, cuts);
    let mut wire = Wire::new(peer.clone(), LIMITS);
    wire.begin(request(method));
    let Ok(response) = poll_fn(|cx| wire.poll_response(cx)).await else {
        return (Outcome::Nothing, false);
    };
    let mut body = Vec::new();
    let mut trailers = Vec::new();
    let whole = loop {
        match poll_fn(|cx| wire.poll_frame(cx)).await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                }
                Err(frame) => {
                    trailers = listed(&frame.into_trailers().expect("trailers"));
                }
            },
        }
    };
    assert_eq!(whole, wire.is_over());
    let outcome = Outcome::Response {
        status: response.status().as_u16(),
        reason: response
            .extensions()
            .get::<hyper::ext::ReasonPhrase>()
            .map(|reason| reason.as_bytes().to_vec()),
        headers: listed(response.headers()),
        body,
        trailers,
        whole,
    };
    // Bytes that nobody asked for may not have been read yet.
    let reusable = wire.is_reusable() && peer.script().pieces.is_empty();
    (outcome, reusable)
}

async fn hypers(method: &Method, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let peer = TokioIo::new(Peer::saying(bytes, cuts));
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(LIMITS.max_buf)
        .handshake::<_, BodyStream>(peer)
        .await
        .expect("handshake");
    let connection = tokio::spawn(connection);
    let mut request = plain(method);
    *request.uri_mut() = "/".parse().expect("path");
    let Ok(response) = sender.send_request(request).await else {
        return Outcome::Nothing;
    };
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let mut trailers = Vec::new();
    let whole = loop {
        match incoming.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => {
                    trailers = listed(&frame.into_trailers().expect("trailers"));
                }
            },
        }
    };
    connection.abort();
    Outcome::Response {
        status: head.status.as_u16(),
        reason: head
            .extensions
            .get::<hyper::ext::ReasonPhrase>()
            .map(|reason| reason.as_bytes().to_vec()),
        headers: listed(&head.headers),
        body,
        trailers,
        whole,
    }
}

/// Responses with what must come of them: whether there is one, the whole body, a reusable
/// connection.
const SAMPLES: &[(&str, &str)] = &[
    (
        "length",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nx-a: c\r\n\r\nhello",
    ),
    (
        "empty",
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "same lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    ),
    (
        "list of lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokk",
    ),
    (
        "no length",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    ),
    (
        "endless",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nok",
    ),
    ("no number", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok"),
    (
        "chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    ),
    (
        "upper",
        "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: gzip, Chunked\r\n\r\n2 \t\r\nok\r\n000;z\r\n\r\n",
    ),
    (
        "trailers",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nx-b: c\r\n\r\n",
    ),
    (
        "bad trailers",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX Sum\r\n\r\n",
    ),
    (
        "chunked not last",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "both",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "old chunks",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "old",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("to the end", "HTTP/1.1 200 OK\r\n\r\neverything"),
    (
        "close",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "close and keep",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
    (
        "long",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
    ),
    (
        "size of a chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ),
    (
        "minus",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "hexadecimal",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "no size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n",
    ),
    (
        "space in front",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "large",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
    ),
    (
        "line feed in a size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
    ),
    (
        "line feed in an extension",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;\nok\r\n0\r\n\r\n",
    ),
    (
        "long chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n",
    ),
    (
        "carriage return in a trailer",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\n\r\nZ\rz: w\r\n\r\n",
    ),
    (
        "line feed in a trailer",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\n\r\n",
    ),
    (
        "no last chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ),
    (
        "no end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ),
    (
        "interim",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("interim only", "HTTP/1.1 100 Continue\r\n\r\n"),
    (
        "no content",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "no content of two bytes",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
    ),
    (
        "no content in chunks",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "not modified",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    ),
    (
        "switch",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes",
    ),
    (
        "folded",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        "space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    ),
    ("line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    (
        "empty lines first",
        "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
    ("status", "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok"),
    (
        "high status",
        "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("name", "HTTP/1.1 200 OK\r\nX Y: 2\r\n\r\nok"),
    ("value", "HTTP/1.1 200 OK\r\nX: \u{1}\r\n\r\nok"),
    (
        "high value",
        "HTTP/1.1 200 OK\r\nX: ü\r\nContent-Length: 2\r\n\r\nok",
    ),
    ("version", "HTTP/2.0 200 OK\r\n\r\nok"),
    ("no http", "220 mail.example ESMTP\r\n"),
    ("nothing", ""),
    ("half a head", "HTTP/1.1 200 OK\r\nX: "),
];

#[tokio::test]
async fn the_same_as_hypers_client() {
    for (name, sample) in SAMPLES {
        let bytes = sample.as_bytes();
        for method in [Method::GET, Method::HEAD, Method::CONNECT] {
            let expected = hypers(&method, bytes, &[]).await;
            let (outcome, reusable) = ours(&method, bytes, &[]).await;
            assert_eq!(outcome, expected, "{name} {method}");
            for cut in 1..bytes.len() {
                let split = ours(&method, bytes, &[cut]).await;
                assert_eq!(split, (outcome.clone(), reusable), "{name} {method} {cut}");
            }
            let bytewise: Vec<_> = (1..bytes.len()).collect();
            let split = ours(&method, bytes, &bytewise).await;
            assert_eq!(split, (outcome, reusable), "{name} {method}");
        }
    }
}

#[tokio::test]
async fn only_a_clear_end_lets_a_connection_be_used_again() {
    let mut kept = Vec::new();
    for (name, sample) in SAMPLES {
        let peer = Peer::saying(sample.as_bytes(), &[]);
        peer.script().open = true;
        let mut wire = Wire::new(peer, LIMITS);
        wire.begin(request(&Method::GET));
        let cx = &mut Context::from_waker(Waker::noop());
        if !matches!(wire.poll_response(cx), Poll::Ready(Ok(_))) {
            continue;
        }
        while let Poll::Ready(Some(Ok(_))) = wire.poll_frame(cx) {}
        if wire.is_reusable() {
            kept.push(*name);
        }
    }
    assert_eq!(
        kept,
        [
            "length",
            "empty",
            "same lengths",
            "chunks",
            "upper",
            "trailers",
            "old",
            "interim",
            "no content",
            "not modified",
            "line feeds",
            "empty lines first",
            "no reason",
            "high status",
            "high value",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, and however it is cut: no panic, the same outcome, and nothing that hyper's
    /// client would see otherwise.
    #[test]
    fn any_bytes(
        sample in 0..SAMPLES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(
            b"\r\n\0 :;,0129aAfFxX\t\x7f\x80\xffhunked\x01".to_vec())), 0..6),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        method in prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST]),
    ) {
        let mut bytes = SAMPLES[sample].1.as_bytes().to_vec();
        for (place, how, byte) in edits {
            if bytes.is_empty() { break; }
            let at = place.index(bytes.len());
            match how {
                0 => { bytes.remove(at); }
                1 => bytes.insert(at, byte),
                2 => bytes[at] = byte,
                _ => { let rest = bytes[at..].to_vec(); bytes.extend(rest); }
            }
        }
        let mut at: Vec<_> = cuts.drain(..).map(|cut| cut.index(bytes.len().max(1))).collect();
        at.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let whole = ours(&method, &bytes, &[]).await;
            let parts = ours(&method, &bytes, &at).await;
            prop_assert_eq!(&whole, &parts);
            let expected = hypers(&method, &bytes, &[]).await;
            prop_assert_eq!(whole.0, expected, "{:?}", String::from_utf8_lossy(&bytes));
            Ok(())
        })?;
    }

    /// Bytes without any sense.
    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let (outcome, reusable) = runtime.block_on(ours(&Method::GET, &bytes, &[]));
        prop_assert_eq!((outcome, reusable), (Outcome::Nothing, false));
        let mut body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        body.extend(bytes);
        let outcome = runtime.block_on(ours(&Method::GET, &body, &[]));
        let bytewise: Vec<_> = (1..body.len()).collect();
        prop_assert_eq!(outcome, runtime.block_on(ours(&Method::GET, &body, &bytewise)));
    }
}

fn trouble(bytes: &[u8], limits: WireLimits) -> Trouble {
    let mut wire = Wire::new(Peer::saying(bytes, &[]), limits);
    wire.begin(request(&Method::GET));
    match wire.poll_response(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(trouble)) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn heads_have_limits() {
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for number in 0..100 {
        many.extend(format!("x-{number}: y\r\n").bytes());
    }
    let mut wire = Wire::new(Peer::saying(&[&many[..], b"\r\n"].concat(), &[]), LIMITS);
    wire.begin(request(&Method::HEAD));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(wire.poll_response(cx), Poll::Ready(Ok(_))));
    many.extend(b"one: more\r\n\r\n");
    assert!(matches!(trouble(&many, LIMITS), Trouble::Malformed(words) if words.contains("many")));
    let more = WireLimits {
        max_headers: 101,
        ..LIMITS
    };
    let mut wire = Wire::new(Peer::saying(&many, &[]), more);
    wire.begin(request(&Method::HEAD));
    assert!(matches!(wire.poll_response(cx), Poll::Ready(Ok(_))));

    let long = [b"HTTP/1.1 200 OK\r\nx: ", &[b'y'; 70_000][..]].concat();
    assert!(matches!(trouble(&long, LIMITS), Trouble::Malformed(words) if words.contains("large")));
    let interim = |count| "HTTP/1.1 100 Continue\r\n\r\n".repeat(count);
    let final_one = "HTTP/1.1 204 No Content\r\n\r\n";
    let few = format!("{}{final_one}", interim(100));
    let mut wire = Wire::new(Peer::saying(few.as_bytes(), &[]), LIMITS);
    wire.begin(request(&Method::GET));
    assert!(matches!(wire.poll_response(cx), Poll::Ready(Ok(_))));
    let too_many = format!("{}{final_one}", interim(101));
    assert!(
        matches!(trouble(too_many.as_bytes(), LIMITS), Trouble::Malformed(words) if words.contains("interim"))
    );

    // What can be no head is refused although it is not complete.
    assert!(matches!(
        trouble(b"220 mail", LIMITS),
        Trouble::Malformed(_)
    ));
    assert!(matches!(trouble(b"", LIMITS), Trouble::Closed));
}

#[tokio::test]
async fn chunks_have_limits() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (rest, whole) in [
        (format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(16_000)), true),
        (
            format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(17_000)),
            false,
        ),
        (
            format!("2\r\nok\r\n0\r\nx: {}\r\n\r\n", "x".repeat(16_000)),
            true,
        ),
        (
            format!("2\r\nok\r\n0\r\nx: {}\r\n\r\n", "x".repeat(17_000)),
            false,
        ),
        (
            format!("2\r\nok\r\n0\r\n{}\r\n", "x: y\r\n".repeat(100)),
            true,
        ),
        (
            format!("2\r\nok\r\n0\r\n{}\r\n", "x: y\r\n".repeat(101)),
            false,
        ),
    ] {
        let bytes = format!("{start}{rest}");
        let (outcome, _) = ours(&Method::GET, bytes.as_bytes(), &[]).await;
        let Outcome::Response {
            body, whole: came, ..
        } = outcome
        else {
            panic!("no response");
        };
        assert_eq!(came, whole, "{}", bytes.len());
        assert!(body == b"ok" || body.is_empty() && !whole);
    }
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

fn piecemeal(parts: &[Option<&[u8]>], length: Option<u64>) -> BodyStream {
    let pieces = parts
        .iter()
        .map(|part| part.map(|part| Ok(Bytes::copy_from_slice(part))))
        .collect();
    BodyStream::boxed(Pieces { pieces, length }, None)
}

async fn sent(request: Request<BodyStream>, gulp: usize) -> (String, Result<(), Trouble>) {
    let peer = Peer::saying(b"HTTP/1.1 204 No Content\r\n\r\n", &[]);
    {
        let mut script = peer.script();
        script.gulp = gulp;
        script.pieces.clear();
        script.open = true;
    }
    let mut wire = Wire::new(peer.clone(), LIMITS);
    wire.begin(request.into());
    let result = poll_fn(|cx| match wire.poll_request(cx) {
        Ok(()) if wire.is_sending() => Poll::Pending,
        result => Poll::Ready(result),
    })
    .await;
    (peer.written(), result)
}

#[tokio::test]
async fn how_requests_are_written() {
    let post = |body| {
        Request::post("/a?b=c")
            .header("x-y", "z")
            .body(body)
            .expect("request")
    };
    let large = vec![b'l'; 10_000];
    let text = String::from_utf8(large.clone()).expect("ASCII");
    for gulp in [0, 1, 7, 5000] {
        let (written, result) = sent(post(BodyStream::full("hello".into())), gulp).await;
        assert!(result.is_ok());
        assert_eq!(
            written,
            "POST /a?b=c HTTP/1.1\r\nx-y: z\r\ncontent-length: 5\r\n\r\nhello"
        );
        let parts = [Some(&b"ab"[..]), None, Some(&large), Some(b"c"), None];
        let (written, _) = sent(post(piecemeal(&parts, None)), gulp).await;
        assert_eq!(
            written,
            format!(
                "POST /a?b=c HTTP/1.1\r\nx-y: z\r\ntransfer-encoding: chunked\r\n\r\n\
                 2\r\nab\r\n2710\r\n{text}\r\n1\r\nc\r\n0\r\n\r\n"
            )
        );
        let parts = [None, Some(&large[..]), None];
        let (written, _) = sent(post(piecemeal(&parts, None)), gulp).await;
        assert!(written.ends_with(&format!("\r\n\r\n2710\r\n{text}\r\n0\r\n\r\n")));
        let (written, _) = sent(post(piecemeal(&parts, Some(10_000))), gulp).await;
        assert!(written.ends_with(&format!("content-length: 10000\r\n\r\n{text}")));
    }

    // Headers about framing are the codec's own.
    let mut odd = post(BodyStream::full("hello".into()));
    odd.headers_mut().insert("content-length", 9.into());
    odd.headers_mut().insert(
        "transfer-encoding",
        http::HeaderValue::from_static("chunked"),
    );
    assert!(
        sent(odd, 0)
            .await
            .0
            .ends_with("x-y: z\r\ncontent-length: 5\r\n\r\nhello")
    );

    // Without a length there is no body where none is meant or none can be framed.
    let mut get = post(piecemeal(&[Some(b"ab")], None));
    *get.method_mut() = Method::GET;
    assert!(sent(get, 0).await.0.ends_with("HTTP/1.1\r\nx-y: z\r\n\r\n"));
    let mut old = post(piecemeal(&[Some(b"ab")], None));
    *old.version_mut() = http::Version::HTTP_10;
    assert!(sent(old, 0).await.0.ends_with("HTTP/1.0\r\nx-y: z\r\n\r\n"));
}

#[tokio::test]
async fn a_body_is_as_long_as_announced() {
    let post = |body| Request::post("/").body(body).expect("request");
    let (written, result) = sent(post(piecemeal(&[Some(b"abcdef")], Some(4))), 0).await;
    assert!(
        result.is_ok() && written.ends_with("content-length: 4\r\n\r\nabcd"),
        "{written}"
    );
    let (_, result) = sent(post(piecemeal(&[Some(b"ab")], Some(4))), 0).await;
    assert!(
        matches!(result, Err(Trouble::Body(StreamError::Broken(_)))),
        "{result:?}"
    );

    // A body that breaks off never looks whole.
    let mut pieces = VecDeque::from([Some(Ok("ab".into()))]);
    pieces.push_back(Some(Err(StreamError::broken("as wanted"))));
    let body = BodyStream::boxed(
        Pieces {
            pieces,
            length: None,
        },
        None,
    );
    let peer = Peer::default();
    let mut wire = Wire::new(peer.clone(), LIMITS);
    wire.begin(post(body).into());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(wire.poll_request(cx), Err(Trouble::Body(_))));
    for _ in 0..3 {
        assert!(wire.poll_request(cx).is_ok());
    }
    assert!(!peer.written().contains("0\r\n\r\n"), "{}", peer.written());
    assert!(!wire.is_reusable());
}

#[tokio::test]
async fn one_write_for_head_and_small_body() {
    let peer = Peer::default();
    let mut wire = Wire::new(peer.clone(), LIMITS);
    let body = piecemeal(&[Some(b"ab"), None], Some(2));
    wire.begin(Request::post("/").body(body).expect("request").into());
    // Nothing goes before the first poll, and then everything does.
    assert_eq!(peer.written(), "");
    assert!(
        wire.poll_request(&mut Context::from_waker(Waker::noop()))
            .is_ok()
    );
    assert!(!wire.is_sending());
    assert!(peer.written().ends_with("\r\n\r\nab"));
    assert_eq!(peer.script().writes, 1);
}

#[tokio::test]
async fn what_came_before_an_error_can_go_on_first() {
    for rest in ["half", ""] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{rest}");
        let mut wire = Wire::new(Peer::saying(text.as_bytes(), &[]), LIMITS);
        wire.begin(request(&Method::GET));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(wire.poll_response(cx), Poll::Ready(Ok(_))));
        if !rest.is_empty() {
            assert!(matches!(wire.poll_frame(cx), Poll::Ready(Some(Ok(_)))));
        }
        assert!(wire.poll_frame(cx).is_pending());
        for _ in 0..2 {
            let polled = wire.poll_frame(cx);
            assert!(matches!(
                polled,
                Poll::Ready(Some(Err(StreamError::Closed(_))))
            ));
        }
        assert!(!wire.is_reusable());
    }
}

#[tokio::test]
async fn names_that_were_seen_before_are_told_apart() {
    let heads = [
        "Content-Length: 0\r\nX-Long-Name: 1\r\nx-b: 2\r\n",
        "Content-Length: 0\r\nX-Long-Name: 3\r\nx-b: 4\r\n",
        "content-length: 0\r\nX-Long-Namf: 5\r\n",
        "X-Long-Name: 6\r\nContent-Length: 0\r\nX-Long-Name: 7\r\nx-b: 8\r\n",
        "Content-Length: 0\r\n",
    ];
    let peer = Peer::default();
    peer.script().open = true;
    let mut wire = Wire::new(peer.clone(), LIMITS);
    for head in heads {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let (expected, _) = ours(&Method::GET, text.as_bytes(), &[]).await;
        peer.script().pieces.push_back(text.into());
        wire.begin(request(&Method::GET));
        let response = poll_fn(|cx| wire.poll_response(cx)).await.expect("head");
        let Outcome::Response { headers, .. } = expected else {
            panic!("no response");
        };
        assert_eq!(listed(response.headers()), headers, "{head}");
        assert!(wire.is_reusable());
    }
}
