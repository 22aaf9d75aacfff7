//! A message body on its way through the gateway.
//!
//! [`BodyStream`] is what travels between the listener, the mediation engine and the back-end
//! client. It keeps the exact length when one is known (so that framing survives a pass-through),
//! is never boxed on the hot path and opens no socket of its own. [`Replay`] lets one body be sent
//! several times (load balancing, failover) without collecting it first.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest wait for the next frame of a body, `None` for no limit (spec 01 §15.9, "socket idle").
pub type IdleLimit = Option<Duration>;

/// The most that [`BodyStream::collect`] reserves before the first byte arrived, in bytes: an
/// announced length is only a promise of the peer.
const RESERVE_UP_FRONT: usize = 1024 * 1024;

/// How many frames a [`Replay`] may remember: `FRAMES_FREE + limit / FRAME_COST`. Bodies cut into
/// tiny chunks cost more for their bookkeeping than for their bytes.
const FRAMES_FREE: usize = 64;
const FRAME_COST: usize = 256;

/// Why a body did not arrive whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// More bytes than the reader allows.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was passed, in bytes.
        limit: usize,
    },
    /// The peer sent nothing for too long.
    #[error("no data for {} ms while reading the body", after.as_millis())]
    Idle {
        /// The limit that was passed.
        after: Duration,
    },
    /// The peer closed or reset the connection before the body's end.
    #[error("the connection was closed before the end of the body: {0}")]
    Closed(Arc<str>),
    /// The body is malformed (chunk framing, trailers) or could not be produced.
    #[error("the body is broken: {0}")]
    Broken(Arc<str>),
    /// Another attempt took over the body that this stream was sending (see [`Replay::attempt`]).
    #[error("the body was taken over by another attempt")]
    Superseded,
}

impl StreamError {
    /// A [`StreamError::Broken`] with the given text.
    pub fn broken(text: impl fmt::Display) -> Self {
        Self::Broken(text.to_string().into())
    }

    /// Reading from the peer failed.
    pub fn from_io(error: &io::Error) -> Self {
        let text = error.to_string().into();
        if is_closed(error) {
            Self::Closed(text)
        } else {
            Self::Broken(text)
        }
    }
}

/// The peer is gone.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// What holds a body and is wanted back when the body ended: the client keeps one boxed object per
/// pooled connection and moves it in and out of the bodies, so that handing a connection back costs
/// no allocation.
pub trait Held: Send {
    /// The next frame of the body, `None` at its end.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>>;

    /// Whether the body is at its end.
    fn is_over(&self) -> bool;

    /// Called once, at the clean end of the body; dropped otherwise.
    fn ended(self: Box<Self>);
}

/// A frame and whether it is the last; `None` at the end.
pub type Piece = Option<Result<(Frame<Bytes>, bool), StreamError>>;

/// Where the body of a request comes from: its connection.
pub trait Origin: Send + Sync {
    /// The next frame of the body.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Piece>;

    /// Called when nobody will ask for more although the end was not reached.
    fn let_go(&self);
}

/// The body of a request as its connection hands it out; read from the socket when it is polled.
pub struct Incoming {
    /// `None` at the end.
    source: Option<Arc<dyn Origin>>,
    /// What is still to come, [`UNKNOWN`] when no length was announced.
    left: u64,
}

impl Incoming {
    /// No body.
    pub fn empty() -> Self {
        Self {
            source: None,
            left: 0,
        }
    }

    /// A body of `length` bytes, when that is known.
    pub fn new(source: Arc<dyn Origin>, length: Option<u64>) -> Self {
        Self {
            source: Some(source),
            left: length.unwrap_or(UNKNOWN),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let Some(source) = &self.source else {
            return Poll::Ready(None);
        };
        let polled = source.poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok((frame, last)))) => {
                if let (true, Some(data)) = (self.left != UNKNOWN, frame.data_ref()) {
                    self.left = self.left.saturating_sub(data.len() as u64);
                }
                if *last {
                    self.source = None;
                }
            }
            Poll::Ready(None) => self.source = None,
            Poll::Ready(Some(Err(_))) => self.let_go(),
            Poll::Pending => {}
        }
        polled
    }

    fn let_go(&mut self) {
        if let Some(source) = self.source.take() {
            source.let_go();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let polled = self.get_mut().poll_next(cx);
        polled.map(|next| next.map(|frame| frame.map(|(frame, _)| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            UNKNOWN => SizeHint::default(),
            left => SizeHint::with_exact(left),
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("left", &self.left)
            .field("ended", &self.source.is_none())
            .finish()
    }
}

/// Told when a body reached its end without an error; dropped untold otherwise.
trait OnEnd: Send {
    /// Called once, at the clean end of the body.
    fn ended(self: Box<Self>);
}

struct Callback<F>(F);

impl<F: FnOnce() + Send> OnEnd for Callback<F> {
    fn ended(self: Box<Self>) {
        (self.0)();
    }
}

/// Something that is only to be dropped at the end.
struct Guard {
    _held: Box<dyn Any + Send>,
}

impl OnEnd for Guard {
    fn ended(self: Box<Self>) {}
}

enum Inner {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    Held(Box<dyn Held>),
    Replayed(Replayed),
    Boxed(Pin<Box<dyn Body<Data = Bytes, Error = StreamError> + Send>>),
}

/// A message body: nothing, bytes in memory, or frames still to come from a connection.
///
/// Implements [`http_body::Body`] with an exact size hint whenever the length is known.
pub struct BodyStream {
    // Kept small: a body is moved some twenty times on its way through the gateway.
    parts: Mutex<Parts>,
    /// What is still to come, [`UNKNOWN`] when no length was announced.
    left: u64,
    /// The idle limit in milliseconds, 0 for none.
    idle_ms: u32,
    waiting: bool,
    hide_length: bool,
    started: bool,
    finished: bool,
    /// Bytes that were looked at and have not been handed on.
    front: Option<Box<Front>>,
}

enum Front {
    /// The first frame, as it came.
    One(Bytes),
    /// Several, copied together.
    Many(BytesMut),
}

impl Front {
    fn bytes(&self) -> &[u8] {
        match self {
            Front::One(bytes) => bytes,
            Front::Many(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Front::One(bytes) => bytes,
            Front::Many(bytes) => bytes.freeze(),
        }
    }
}

/// Behind a mutex that is only ever used through `get_mut`: it makes the stream `Sync` at no
/// run-time cost although guards and boxed bodies are only `Send`.
struct Parts {
    inner: Inner,
    on_end: Option<Box<dyn OnEnd>>,
    /// Present once the inner body was pending.
    timer: Option<Box<IdleTimer>>,
}

struct IdleTimer {
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

const UNKNOWN: u64 = u64::MAX;

fn plain<T>(cell: &mut Mutex<T>) -> &mut T {
    cell.get_mut().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(cell: &Mutex<T>) -> MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BodyStream {
    fn new(inner: Inner, idle: IdleLimit, exact: Option<u64>, finished: bool) -> Self {
        Self {
            parts: Mutex::new(Parts {
                inner,
                on_end: None,
                timer: None,
            }),
            left: exact.unwrap_or(UNKNOWN),
            // Limits above 49 days are no limits.
            idle_ms: idle.map_or(0, |idle| {
                u32::try_from(idle.as_millis().max(1)).unwrap_or(0)
            }),
            waiting: false,
            hide_length: false,
            started: false,
            finished,
            front: None,
        }
    }

    /// No body at all: length 0.
    pub fn empty() -> Self {
        Self::new(Inner::Empty, None, Some(0), true)
    }

    /// A body that is in memory already.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let length = bytes.len() as u64;
        Self::new(Inner::Full(bytes), None, Some(length), false)
    }

    /// The body of a message being received; `idle` is the longest wait between two frames.
    pub fn incoming(body: Incoming, idle: IdleLimit) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let exact = body.size_hint().exact();
        Self::new(Inner::Incoming(body), idle, exact, false)
    }

    /// A body of `exact` bytes, when that is known, that comes from what holds it, which is told of
    /// its end; at once when it is over already.
    pub fn held(held: Box<dyn Held>, exact: Option<u64>, idle: IdleLimit) -> Self {
        if held.is_over() {
            held.ended();
            return Self::empty();
        }
        Self::new(Inner::Held(held), idle, exact, false)
    }

    /// Any other body; costs one allocation. `idle` is the longest wait between two frames.
    pub fn boxed(
        body: impl Body<Data = Bytes, Error = StreamError> + Send + 'static,
        idle: IdleLimit,
    ) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        let exact = body.size_hint().exact();
        Self::new(Inner::Boxed(Box::pin(body)), idle, exact, false)
    }

    /// Adds something to be dropped when the body ends, fails or is itself dropped.
    ///
    /// A body that is at its end already drops the guard at once.
    #[must_use]
    pub fn with_guard(self, guard: Box<dyn Any + Send>) -> Self {
        self.with_on_end(Box::new(Guard { _held: guard }))
    }

    /// Adds a callback for the clean end of the body; it is dropped uncalled when the body fails or
    /// is dropped early, and called at once when the body is at its end already.
    #[must_use]
    pub fn on_end(self, callback: impl FnOnce() + Send + 'static) -> Self {
        self.with_on_end(Box::new(Callback(callback)))
    }

    /// As [`BodyStream::on_end`], with an object that is boxed already.
    fn with_on_end(mut self, on_end: Box<dyn OnEnd>) -> Self {
        if self.finished {
            on_end.ended();
            return self;
        }
        let slot = &mut plain(&mut self.parts).on_end;
        *slot = Some(match slot.take() {
            Some(earlier) => Box::new(Callback(move || {
                earlier.ended();
                on_end.ended();
            })),
            None => on_end,
        });
        self
    }

    /// Hides the length, so that HTTP/1.1 frames the body as chunked even when it is empty
    /// (spec 01 §15.6 and §15.8: the transport's default framing).
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.hide_length = true;
        self
    }

    /// The number of bytes still to come, when known. Not affected by
    /// [`BodyStream::without_length`].
    pub fn exact_len(&self) -> Option<u64> {
        (self.left != UNKNOWN).then_some(self.left)
    }

    /// Whether nothing more can come.
    pub fn is_known_empty(&self) -> bool {
        self.finished || self.left == 0
    }

    /// The bytes that [`BodyStream::look`] has read and that are still to be handed on.
    pub fn seen(&self) -> &[u8] {
        self.front.as_ref().map_or(&[], |front| front.bytes())
    }

    /// Waits for more of the body and keeps it at the front, where [`BodyStream::seen`] shows it; whoever reads the
    /// stream later still gets every byte. `Some` is the whole body, when it has ended; the stream is empty then.
    /// [`StreamError::TooLarge`] beyond `limit` bytes.
    pub async fn look(&mut self, limit: usize) -> Result<Option<Bytes>, StreamError> {
        let more = loop {
            match std::future::poll_fn(|cx| self.poll_behind(cx)).await {
                None => break None,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        break Some(data);
                    }
                }
                Some(Err(error)) => {
                    self.front = None;
                    return Err(error);
                }
            }
        };
        let came = more.as_ref().map_or(0, Bytes::len);
        let front = self.front.take().map(|front| *front);
        let before = front.as_ref().map_or(0, |front| front.bytes().len());
        if came > limit.saturating_sub(before) {
            self.finish(false);
            return Err(StreamError::TooLarge { limit });
        }
        let front = match (front, more) {
            (None, None) => Front::One(Bytes::new()),
            (None, Some(more)) => Front::One(more),
            (Some(front), None) => front,
            (Some(Front::One(first)), Some(more)) => {
                let announced = usize::try_from(self.exact_len().unwrap_or(0)).unwrap_or(0);
                let room = (first.len() + more.len()).max(announced.min(RESERVE_UP_FRONT));
                let mut all = BytesMut::with_capacity(room);
                all.extend_from_slice(&first);
                all.extend_from_slice(&more);
                Front::Many(all)
            }
            (Some(Front::Many(mut all)), Some(more)) => {
                all.extend_from_slice(&more);
                Front::Many(all)
            }
        };
        if self.finished {
            return Ok(Some(front.into_bytes()));
        }
        if self.left != UNKNOWN {
            self.left = self.left.saturating_add(came as u64);
        }
        self.front = Some(Box::new(front));
        Ok(None)
    }

    /// Reads the rest into memory: [`StreamError::TooLarge`] beyond `limit` bytes. A body of one
    /// frame is handed over without copying; trailers are dropped.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, StreamError> {
        let announced = self.exact_len().unwrap_or(0);
        if announced > limit as u64 {
            return Err(StreamError::TooLarge { limit });
        }
        let Some(first) = self.data().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(StreamError::TooLarge { limit });
        }
        let Some(second) = self.data().await? else {
            return Ok(first);
        };
        // `announced` is at most `limit` here, hence a usize.
        let reserve = (announced as usize).min(RESERVE_UP_FRONT).min(limit);
        let mut whole = BytesMut::with_capacity(reserve.max(first.len()));
        whole.extend_from_slice(&first);
        drop(first);
        let mut next = Some(second);
        while let Some(data) = next {
            if data.len() > limit - whole.len() {
                return Err(StreamError::TooLarge { limit });
            }
            whole.extend_from_slice(&data);
            next = self.data().await?;
        }
        Ok(whole.freeze())
    }

    /// The next data of the body, `None` at its end; trailers are skipped.
    pub async fn data(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Ends the stream; on a clean end those who wait for one are told.
    fn finish(&mut self, clean: bool) {
        self.finished = true;
        self.left = 0;
        let parts = plain(&mut self.parts);
        let inner = std::mem::replace(&mut parts.inner, Inner::Empty);
        parts.timer = None;
        if let Inner::Held(held) = inner
            && clean
        {
            held.ended();
        }
        if let Some(on_end) = parts.on_end.take()
            && clean
        {
            on_end.ended();
        }
    }

    fn fail(&mut self, error: StreamError) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.finish(false);
        Poll::Ready(Some(Err(error)))
    }

    /// As `poll_frame`, for what comes behind the front.
    fn poll_behind(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.started = true;
        if self.finished {
            return Poll::Ready(None);
        }
        let inner = &mut plain(&mut self.parts).inner;
        let polled = match inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.finish(true);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Inner::Incoming(body) => body.poll_next(cx),
            Inner::Held(held) => match held.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok((frame, held.is_over())))),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Inner::Replayed(body) => match body.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok((frame, body.finished)))),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Inner::Boxed(body) => match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    Poll::Ready(Some(Ok((frame, body.is_end_stream()))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
        };
        match polled {
            Poll::Ready(Some(Ok((frame, last)))) => {
                self.waiting = false;
                if let (true, Some(data)) = (self.left != UNKNOWN, frame.data_ref()) {
                    self.left = self.left.saturating_sub(data.len() as u64);
                }
                // A reader that knows the length never asks for the frame after the last.
                if last {
                    self.finish(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(error),
            Poll::Ready(None) => {
                self.finish(true);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.idle_ms == 0 || self.poll_idle(cx).is_pending() {
                    return Poll::Pending;
                }
                let after = Duration::from_millis(self.idle_ms.into());
                self.fail(StreamError::Idle { after })
            }
        }
    }

    /// Checks the idle limit while the inner body is pending.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = Duration::from_millis(self.idle_ms.into());
        let timer = plain(&mut self.parts).timer.get_or_insert_with(|| {
            let since = Instant::now();
            Box::new(IdleTimer {
                since,
                sleep: Box::pin(sleep_until(since + limit)),
            })
        });
        if !self.waiting {
            self.waiting = true;
            timer.since = Instant::now();
        }
        let deadline = timer.since + limit;
        loop {
            if timer.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Frames that came meanwhile did not touch the timer; it is only moved when it fires.
            if timer.sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset(deadline);
        }
    }
}

impl Body for BodyStream {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        if let Some(front) = this.front.take() {
            let bytes = front.into_bytes();
            if this.left != UNKNOWN {
                this.left = this.left.saturating_sub(bytes.len() as u64);
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        this.poll_behind(cx)
    }

    fn is_end_stream(&self) -> bool {
        // Before the first poll a hidden length also hides that there is nothing to come: hyper
        // would otherwise send no framing at all.
        self.finished && (self.started || !self.hide_length)
    }

    fn size_hint(&self) -> SizeHint {
        match self.exact_len() {
            Some(exact) if !self.hide_length => SizeHint::with_exact(exact),
            _ => SizeHint::default(),
        }
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream")
            .field("exact_len", &self.exact_len())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl Default for BodyStream {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for BodyStream {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

/// Lets a body be sent again: frames handed out are remembered (shared, not copied) up to a limit.
///
/// Bodies that are in memory are remembered whatever their size.
pub struct Replay {
    source: Source,
}

enum Source {
    Memory(Bytes),
    Stream(Arc<Mutex<Remembered>>),
}

struct Remembered {
    /// The rest of the body; the end and errors are kept apart.
    rest: BodyStream,
    frames: Vec<Bytes>,
    trailers: Option<http::HeaderMap>,
    bytes: usize,
    limit: usize,
    exact: Option<u64>,
    handed_out: bool,
    /// Frames went out that are not in `frames`.
    lost: bool,
    ended: bool,
    error: Option<StreamError>,
    /// Which attempt may read on; older ones end with [`StreamError::Superseded`].
    attempt: u64,
}

impl Replay {
    /// Wraps `body`; at most `limit` bytes are remembered.
    pub fn new(body: BodyStream, limit: usize) -> Self {
        let mut body = body;
        let source = match &plain(&mut body.parts).inner {
            Inner::Empty => Source::Memory(Bytes::new()),
            Inner::Full(bytes) => Source::Memory(bytes.clone()),
            _ => Source::Stream(Arc::new(Mutex::new(Remembered {
                exact: body.exact_len(),
                rest: body,
                frames: Vec::new(),
                trailers: None,
                bytes: 0,
                limit,
                handed_out: false,
                lost: false,
                ended: false,
                error: None,
                attempt: 0,
            }))),
        };
        Self { source }
    }

    /// A stream that first repeats what was sent before and then goes on with the rest; `None` when
    /// bytes went out that were not remembered. Streams of earlier attempts end with
    /// [`StreamError::Superseded`].
    pub fn attempt(&self) -> Option<BodyStream> {
        match &self.source {
            Source::Memory(bytes) => Some(BodyStream::full(bytes.clone())),
            Source::Stream(shared) => Self::stream_of(shared),
        }
    }

    fn stream_of(shared: &Arc<Mutex<Remembered>>) -> Option<BodyStream> {
        let mut state = lock(shared);
        if state.lost {
            return None;
        }
        state.attempt += 1;
        let replayed = Replayed {
            shared: Arc::clone(shared),
            position: 0,
            attempt: state.attempt,
            finished: false,
        };
        let exact = state.exact;
        drop(state);
        // The idle limit stays with the source.
        Some(BodyStream::new(
            Inner::Replayed(replayed),
            None,
            exact,
            false,
        ))
    }

    /// Whether nothing of the body was handed out yet.
    pub fn untouched(&self) -> bool {
        match &self.source {
            Source::Memory(_) => true,
            Source::Stream(shared) => !lock(shared).handed_out,
        }
    }

    /// The body for the last attempt; as [`Replay::attempt`], without remembering any longer when
    /// nothing was handed out before.
    pub fn into_stream(self) -> Option<BodyStream> {
        match self.source {
            Source::Memory(bytes) => Some(BodyStream::full(bytes)),
            Source::Stream(shared) => match Arc::try_unwrap(shared) {
                Ok(state) => {
                    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
                    if state.handed_out {
                        Self::stream_of(&Arc::new(Mutex::new(state)))
                    } else {
                        Some(state.rest)
                    }
                }
                // An earlier attempt is still around: it is superseded by this one.
                Err(shared) => Self::stream_of(&shared),
            },
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("untouched", &self.untouched())
            .finish_non_exhaustive()
    }
}

/// One attempt to send a remembered body.
struct Replayed {
    shared: Arc<Mutex<Remembered>>,
    position: usize,
    attempt: u64,
    finished: bool,
}

impl Replayed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let mut state = lock(&self.shared);
        let state = &mut *state;
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(StreamError::Superseded)));
        }
        if let Some(bytes) = state.frames.get(self.position) {
            self.position += 1;
            self.finished =
                state.ended && state.trailers.is_none() && self.position == state.frames.len();
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        if let Some(error) = &state.error {
            return Poll::Ready(Some(Err(error.clone())));
        }
        if state.ended {
            let trailers = if self.finished {
                None
            } else {
                state.trailers.clone()
            };
            self.finished = true;
            return Poll::Ready(trailers.map(|map| Ok(Frame::trailers(map))));
        }
        match Pin::new(&mut state.rest).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                state.handed_out = true;
                state.ended = true;
                self.finished = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                state.error = Some(error.clone());
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                state.handed_out = true;
                if let Some(data) = frame.data_ref() {
                    let many = state.frames.len() >= FRAMES_FREE + state.limit / FRAME_COST;
                    if many || data.len() > state.limit.saturating_sub(state.bytes) {
                        state.lost = true;
                    }
                    if state.lost {
                        state.frames = Vec::new();
                        self.position = 0;
                    } else {
                        state.bytes += data.len();
                        state.frames.push(data.clone());
                        self.position += 1;
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    state.trailers = Some(trailers.clone());
                }
                if state.rest.is_end_stream() {
                    state.ended = true;
                    self.finished = true;
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}
