use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::message::stream::{BodyStream, Replay, StreamError};

/// A body in pieces; pending for ever once `stalls` is set and they are used up.
struct Pieces {
    pieces: VecDeque<Result<Frame<Bytes>, StreamError>>,
    length: Option<u64>,
    stalls: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match self.pieces.pop_front() {
            None if self.stalls => Poll::Pending,
            piece => Poll::Ready(piece),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length.is_some() && self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pieces(pieces: &[&'static str]) -> Pieces {
    Pieces {
        pieces: pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect(),
        length: None,
        stalls: false,
    }
}

fn stream(body: Pieces) -> BodyStream {
    BodyStream::boxed(body, None)
}

fn sized(parts: &[&'static str]) -> BodyStream {
    let length = parts.iter().map(|part| part.len() as u64).sum();
    stream(Pieces {
        length: Some(length),
        ..pieces(parts)
    })
}

async fn collected(stream: BodyStream) -> String {
    let bytes = stream.collect(1000).await.expect("body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn counter() -> (Arc<AtomicUsize>, impl FnOnce() + Send + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    (count, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    })
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn assert_shared<T: Send + Sync + Unpin>() {}

#[test]
fn lengths() {
    assert_shared::<BodyStream>();
    assert_shared::<Replay>();
    let empty = BodyStream::empty();
    assert!(empty.is_known_empty() && empty.is_end_stream());
    assert_eq!(empty.size_hint().exact(), Some(0));
    assert!(BodyStream::full(Bytes::new()).is_known_empty());
    let full = BodyStream::full("hello".into());
    assert_eq!((full.exact_len(), full.is_end_stream()), (Some(5), false));
    let hidden = full.without_length();
    assert_eq!(
        (hidden.exact_len(), hidden.size_hint().exact()),
        (Some(5), None)
    );
    let hidden = BodyStream::empty().without_length();
    assert!(hidden.is_known_empty() && !hidden.is_end_stream());
    assert_eq!(stream(pieces(&["a"])).exact_len(), None);
}

#[tokio::test]
async fn collecting() {
    let bytes = Bytes::from_static(b"hello");
    let whole = BodyStream::full(bytes.clone())
        .collect(5)
        .await
        .expect("fits");
    assert_eq!(whole.as_ptr(), bytes.as_ptr(), "one frame is not copied");
    assert_eq!(collected(BodyStream::empty()).await, "");
    assert_eq!(
        collected(stream(pieces(&["a", "", "bc", "d"]))).await,
        "abcd"
    );
    assert_eq!(collected(sized(&["ab", "cd"])).await, "abcd");
    for (limit, fits) in [(4, true), (3, false), (1, false), (0, false)] {
        for body in [stream(pieces(&["ab", "cd"])), sized(&["ab", "cd"])] {
            let collected = body.collect(limit).await;
            match fits {
                true => assert_eq!(collected.expect("fits"), "abcd"),
                false => assert_eq!(collected, Err(StreamError::TooLarge { limit })),
            }
        }
    }
    // A promise of much is not memory yet, and what comes decides.
    let liar = stream(Pieces {
        length: Some(u64::from(u32::MAX)),
        ..pieces(&["a", "b"])
    });
    assert_eq!(liar.collect(usize::MAX).await.expect("body"), "ab");
}

#[tokio::test]
async fn the_end_is_told_once_and_only_when_clean() {
    let (count, told) = counter();
    let (second, also) = counter();
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut body = sized(&["ab", "cd"])
        .on_end(told)
        .on_end(also)
        .with_guard(Box::new(OnDrop(Arc::clone(&dropped))))
        .with_guard(Box::new(OnDrop(Arc::clone(&dropped))));
    assert_eq!(body.data().await, Ok(Some("ab".into())));
    assert_eq!(
        (body.exact_len(), count.load(Ordering::SeqCst)),
        (Some(2), 0)
    );
    // With a length the last frame is the end: nobody asks for another.
    assert_eq!(body.data().await, Ok(Some("cd".into())));
    assert!(body.is_end_stream());
    for count in [&count, &second] {
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    assert_eq!(body.data().await, Ok(None));
    drop(body);
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let (count, told) = counter();
    let mut body = stream(pieces(&["ab"])).on_end(told);
    assert_eq!(body.data().await, Ok(Some("ab".into())));
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(body.data().await, Ok(None));
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let (count, told) = counter();
    drop(BodyStream::empty().on_end(told));
    assert_eq!(count.load(Ordering::SeqCst), 1);

    let (count, told) = counter();
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut failing = pieces(&["ab"]);
    failing
        .pieces
        .push_back(Err(StreamError::broken("as wanted")));
    let body = stream(failing)
        .on_end(told)
        .with_guard(Box::new(OnDrop(Arc::clone(&dropped))));
    assert_eq!(body.collect(9).await, Err(StreamError::broken("as wanted")));
    assert_eq!(
        (count.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)),
        (0, 1)
    );

    let (count, told) = counter();
    let mut body = sized(&["ab", "cd"]).on_end(told);
    assert_eq!(body.data().await, Ok(Some("ab".into())));
    drop(body);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn idle_limits() {
    let after = Duration::from_millis(20);
    let stalling = |parts: &[&'static str]| Pieces {
        stalls: true,
        ..pieces(parts)
    };
    let mut body = BodyStream::boxed(stalling(&["ab"]), Some(after));
    assert_eq!(body.data().await, Ok(Some("ab".into())));
    let begin = Instant::now();
    assert_eq!(body.data().await, Err(StreamError::Idle { after }));
    assert!(begin.elapsed() >= after);
    assert_eq!(body.data().await, Ok(None), "an error is the end");

    // Frames in time keep it going for longer than the limit.
    struct Ticking(tokio::time::Interval, usize);
    impl Body for Ticking {
        type Data = Bytes;
        type Error = StreamError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
            if self.1 == 0 {
                return Poll::Ready(None);
            }
            if self.0.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
            self.1 -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }
    let interval = tokio::time::interval(Duration::from_millis(50));
    let limit = Some(Duration::from_millis(400));
    let body = BodyStream::boxed(Ticking(interval, 12), limit);
    assert_eq!(collected(body).await.len(), 12);
}

#[tokio::test]
async fn a_body_is_sent_again() {
    let replay = Replay::new(sized(&["ab", "cd", "ef"]), 100);
    assert!(replay.untouched());
    let mut first = replay.attempt().expect("first");
    assert_eq!(first.exact_len(), Some(6));
    assert_eq!(first.data().await, Ok(Some("ab".into())));
    assert!(!replay.untouched());
    let mut second = replay.attempt().expect("second");
    assert_eq!(first.data().await, Err(StreamError::Superseded));
    assert_eq!(second.exact_len(), Some(6));
    for part in ["ab", "cd", "ef"] {
        assert_eq!(second.data().await, Ok(Some(part.into())));
    }
    assert!(second.is_end_stream());
    assert_eq!(collected(replay.attempt().expect("third")).await, "abcdef");
    assert_eq!(
        collected(replay.into_stream().expect("last")).await,
        "abcdef"
    );

    let replay = Replay::new(stream(pieces(&["ab", "cd"])), 4);
    for _ in 0..3 {
        assert_eq!(collected(replay.attempt().expect("again")).await, "abcd");
    }

    let untouched = Replay::new(sized(&["ab"]), 0);
    assert_eq!(
        collected(untouched.into_stream().expect("whole")).await,
        "ab"
    );
}

#[tokio::test]
async fn a_body_in_memory_is_always_sent_again() {
    let replay = Replay::new(BodyStream::full("hello".into()), 1);
    for _ in 0..3 {
        assert_eq!(collected(replay.attempt().expect("again")).await, "hello");
    }
    let replay = Replay::new(BodyStream::empty(), 0);
    assert!(replay.attempt().expect("empty").is_known_empty());
}

#[tokio::test]
async fn what_was_forgotten_is_not_sent_again() {
    let replay = Replay::new(sized(&["ab", "cd", "ef"]), 3);
    let mut first = replay.attempt().expect("first");
    assert_eq!(first.data().await, Ok(Some("ab".into())));
    assert!(replay.attempt().is_some(), "all of it is remembered yet");
    let mut second = replay.attempt().expect("third");
    assert_eq!(second.data().await, Ok(Some("ab".into())));
    assert_eq!(second.data().await, Ok(Some("cd".into())));
    assert!(replay.attempt().is_none());
    assert_eq!(
        second.data().await,
        Ok(Some("ef".into())),
        "the attempt itself goes on"
    );
    assert_eq!(second.data().await, Ok(None));
    assert!(replay.into_stream().is_none());

    // Many tiny frames cost more than their bytes.
    let replay = Replay::new(stream(pieces(&["x"; 2000])), 1 << 16);
    assert_eq!(
        replay
            .attempt()
            .expect("first")
            .collect(9999)
            .await
            .expect("body")
            .len(),
        2000
    );
    assert!(replay.attempt().is_none());
}

#[tokio::test]
async fn trailers_and_errors_are_repeated() {
    let mut map = http::HeaderMap::new();
    map.insert("x-sum", http::HeaderValue::from_static("1"));
    let mut body = pieces(&["ab"]);
    body.pieces.push_back(Ok(Frame::trailers(map)));
    let replay = Replay::new(stream(body), 100);
    for _ in 0..2 {
        let mut attempt = replay.attempt().expect("attempt");
        let mut seen = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|cx| Pin::new(&mut attempt).poll_frame(cx)).await
        {
            let frame = frame.expect("frame");
            seen.push(frame.trailers_ref().map_or("data", |_| "trailers"));
        }
        assert_eq!(seen, ["data", "trailers"]);
    }

    let mut body = pieces(&["ab"]);
    body.pieces.push_back(Err(StreamError::broken("as wanted")));
    let replay = Replay::new(stream(body), 100);
    for _ in 0..2 {
        let failed = replay.attempt().expect("attempt").collect(9).await;
        assert_eq!(failed, Err(StreamError::broken("as wanted")));
    }
}
