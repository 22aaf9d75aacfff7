//! The server's end of a connection: requests one after the other, their bodies, their answers.
//!
//! The task of the connection owns a [`Line`] and polls everything; the body of a request shares
//! the socket with it, so that whoever reads the body reads from the socket, without channels. The
//! body may be read in another task, too.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer;
use super::body::{Decoder, Step};
use super::head::{Framing, has_end};
use super::input;
use super::output::Output;
use super::request::{self, Asked, NoRequest, ServeLimits};
use crate::message::stream::{BodyStream, Incoming, Origin, Piece, StreamError};

/// What is read and thrown away of a body that nobody wanted, so that the connection can be kept.
const MOST_DRAINED: u64 = 256 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What came instead of nothing.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "handed on once per request")]
pub(in crate::transport::http) enum Next {
    Request(Request<Incoming>),
    /// What came is no request, or too much; to be answered with this, and nothing follows.
    Refused(StatusCode),
    /// The client closed its side or is gone, or wants another protocol.
    Gone,
}

/// Why an answer was not written whole.
#[derive(Debug)]
pub(in crate::transport::http) enum Broken {
    /// Its body failed, or ended early. The client must not take what it got for the whole.
    Body {
        /// Only a reset tells it: the end of the connection is the end of the body.
        to_end: bool,
        error: StreamError,
    },
    /// The socket failed.
    Io(io::Error),
}

/// A head, and the length of its body when it has one, as far as that is known.
type Found = (Request<()>, Option<Option<u64>>);

struct State<S> {
    /// Gone when the connection has ended, though the body may still be asked for.
    io: Option<S>,
    limits: ServeLimits,

    /// A head that is not whole.
    buf: BytesMut,
    /// How much of `buf` has no end of a head in it.
    scanned: usize,
    /// What was read behind a head.
    ahead: Bytes,
    decoder: Decoder,
    asked: Asked,
    /// Another request may follow.
    keep: bool,
    /// The client waits for a 100.
    expects: bool,
    /// The answer has begun: it is too late for a 100.
    answering: bool,
    /// Somebody may still read the body.
    held: bool,
    /// The body cannot be read any further.
    spoilt: Option<StreamError>,
    /// Bytes of the body that were thrown away.
    drained: u64,
    /// Waits for the body's next piece.
    reader: Option<Waker>,
    /// The connection's task, which waits for the reader of the body.
    owner: Option<Waker>,
    output: Output,
}

struct Shared<S>(Mutex<State<S>>);

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's end of one connection, see the module.
pub(in crate::transport::http) struct Line<S> {
    shared: Arc<Shared<S>>,
    /// The body of the answer. Not in the shared state: it may be that of the request.
    body: BodyStream,
    framing: Framing,
    to_end: bool,
    failed: Option<StreamError>,
}

impl<S> Line<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// A connection on which nothing was read yet.
    pub(in crate::transport::http) fn new(io: S, limits: ServeLimits) -> Self {
        let state = State {
            io: Some(io),
            limits,
            buf: BytesMut::new(),
            scanned: 0,
            ahead: Bytes::new(),
            decoder: Decoder::Length(0),
            asked: Asked::default(),
            keep: true,
            expects: false,
            answering: false,
            held: false,
            spoilt: None,
            drained: 0,
            reader: None,
            owner: None,
            output: Output::default(),
        };
        Self {
            shared: Arc::new(Shared(Mutex::new(state))),
            body: BodyStream::empty(),
            framing: Framing::Done,
            to_end: false,
            failed: None,
        }
    }

    /// Waits for the next request; the exchange before must have ended, see [`Line::poll_rest`].
    pub(in crate::transport::http) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.shared.lock();
        let (request, held) = match ready!(state.poll_head(cx)) {
            Ok(found) => found,
            Err(next) => return Poll::Ready(next),
        };
        drop(state);
        let body = match held {
            None => Incoming::empty(),
            Some(length) => {
                let source: Arc<dyn Origin> = self.shared.clone();
                Incoming::new(source, length)
            }
        };
        Poll::Ready(Next::Request(request.map(|()| body)))
    }

    /// Whether nothing of a request has come.
    pub(in crate::transport::http) fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.buf.is_empty() && state.ahead.is_empty()
    }

    /// Takes the answer to the request; [`Line::poll_answer`] writes it. With `last` the connection
    /// ends behind it.
    pub(in crate::transport::http) fn begin_answer(
        &mut self,
        cx: &mut Context<'_>,
        mut response: Response<BodyStream>,
        last: bool,
    ) {
        if response.status().is_informational() {
            tracing::warn!(
                target: "myelin::server",
                "{} is no final answer; 500 was sent instead", response.status()
            );
            response = Response::new(BodyStream::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.answering = true;
        let mut keep = state.keep && !last && state.may_follow(cx);
        let out = state.output.borrowed_text();
        self.framing = answer::write_head(out, &response, state.asked, &mut keep);
        self.to_end = self.framing == Framing::ToEnd;
        state.keep = keep;
        self.failed = None;
        let (parts, body) = response.into_parts();
        request::recycle(parts.headers);
        // One that is not to be sent is dropped later: it may be the request's own body, which
        // locks the state.
        self.body = body;
    }

    /// Answers what was refused; nothing follows.
    pub(in crate::transport::http) fn refuse(&mut self, cx: &mut Context<'_>, status: StatusCode) {
        {
            let mut state = self.shared.lock();
            state.asked = Asked::default();
            state.decoder = Decoder::Length(0);
        }
        let mut response = Response::new(BodyStream::empty());
        *response.status_mut() = status;
        self.begin_answer(cx, response, true);
    }

    /// Writes the answer, and asks for its body as far as the socket takes it.
    pub(in crate::transport::http) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let waits = self.poll_body(cx);
            let mut state = self.shared.lock();
            ready!(state.poll_output(cx)).map_err(Broken::Io)?;
            if waits || self.framing == Framing::Done {
                ready!(state.poll_flush(cx)).map_err(Broken::Io)?;
                if let Some(error) = self.failed.take() {
                    let to_end = self.to_end;
                    return Poll::Ready(Err(Broken::Body { to_end, error }));
                }
                if waits {
                    return Poll::Pending;
                }
                state.output.give_back();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes frames of the answer's body; whether the next one is not there yet.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> bool {
        while self.framing != Framing::Done && self.shared.lock().output.takes_more() {
            // Not while the state is locked: the body may be the request's.
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(None) => self.end_body(),
                Poll::Ready(Some(Err(error))) => self.fail(error),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers would need a `Trailer` header, which does not travel.
                    if let Ok(data) = frame.into_data() {
                        self.shared.lock().output.put(&mut self.framing, data);
                    }
                    if self.framing != Framing::Done && self.body.is_end_stream() {
                        self.end_body();
                    }
                }
            }
        }
        if self.framing == Framing::Done && !self.body.is_known_empty() {
            self.body = BodyStream::empty();
        }
        false
    }

    fn end_body(&mut self) {
        if !self.shared.lock().output.end(&mut self.framing) {
            self.fail(StreamError::broken(
                "the body of the answer ended before its length",
            ));
        }
    }

    fn fail(&mut self, error: StreamError) {
        self.framing = Framing::Done;
        self.failed = Some(error);
    }

    /// Once the answer is written: waits until the request's body is read, or throws away what
    /// nobody wants of it, within limits. Whether another request may follow.
    pub(in crate::transport::http) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // It may hold the request's body.
        self.body = BodyStream::empty();
        let mut state = self.shared.lock();
        if state.decoder.is_over() || state.spoilt.is_some() {
            return Poll::Ready(state.keep && state.spoilt.is_none());
        }
        if state.held {
            keep_waker(&mut state.owner, cx);
            return Poll::Pending;
        }
        if !state.keep {
            return Poll::Ready(false);
        }
        state.poll_drain(cx)
    }

    /// Whether [`Line::poll_rest`] waits for the client and not for a reader.
    pub(in crate::transport::http) fn is_draining(&self) -> bool {
        let state = self.shared.lock();
        !state.held && !state.decoder.is_over()
    }

    /// Bytes that are kept for reading and writing.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let mut state = self.shared.lock();
        state.buf.capacity() + state.ahead.len() + state.output.text().capacity()
    }

    /// Says that nothing more will be sent.
    pub(in crate::transport::http) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.shared.lock().io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S> Line<S> {
    /// Takes the socket; whoever still reads the body is told that it ended.
    pub(in crate::transport::http) fn take_io(&mut self) -> Option<S> {
        let mut state = self.shared.lock();
        let io = state.io.take();
        state.ahead = Bytes::new();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        io
    }
}

impl<S> Drop for Line<S> {
    fn drop(&mut self) {
        drop(self.take_io());
    }
}

fn keep_waker(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl<S> Origin for Shared<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Piece> {
        let mut state = self.lock();
        let polled = state.poll_piece(cx);
        let ended = match &polled {
            Poll::Pending => {
                keep_waker(&mut state.reader, cx);
                false
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.clone();
                state.spoilt = Some(error);
                false
            }
            Poll::Ready(Some(Ok((_, last)))) => *last,
            Poll::Ready(None) => true,
        };
        drop(state);
        if ended {
            self.let_go();
        }
        polled
    }

    fn let_go(&self) {
        let mut state = self.lock();
        state.held = false;
        state.reader = None;
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    /// The next head, with the length of its body when it has one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, Next>> {
        loop {
            match self.take_head() {
                Ok(Some(found)) => return Poll::Ready(Ok(found)),
                Ok(None) => {}
                Err(NoRequest::Refused(status)) => {
                    return Poll::Ready(Err(Next::Refused(status)));
                }
                Err(NoRequest::Preface | NoRequest::Partial) => {
                    return Poll::Ready(Err(Next::Gone));
                }
            }
            let limits = &self.limits;
            if self.buf.len() >= limits.max_buf.min(limits.max_head) {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Poll::Ready(Err(Next::Refused(status)));
            }
            let room = limits.max_buf - self.buf.len();
            let Some(io) = &mut self.io else {
                return Poll::Ready(Err(Next::Gone));
            };
            let (buf, ahead) = (&mut self.buf, &mut self.ahead);
            let read = input::poll_read(io, cx, room, |came| {
                if buf.is_empty() {
                    *ahead = input::keep(came).freeze();
                } else {
                    buf.extend_from_slice(came);
                }
                came.len()
            });
            match ready!(read) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Next::Gone)),
                Ok(_) => {}
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<Found>, NoRequest> {
        let mut read = if !self.buf.is_empty() {
            if !has_end(&self.buf, self.scanned) {
                self.scanned = self.buf.len();
                return Ok(None);
            }
            std::mem::take(&mut self.buf).freeze()
        } else if !self.ahead.is_empty() {
            std::mem::take(&mut self.ahead)
        } else {
            return Ok(None);
        };
        let head = match request::read_request(&read, &self.limits) {
            Ok(head) => head,
            Err(NoRequest::Partial) => {
                self.scanned = read.len();
                self.buf = BytesMut::from(read);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        bytes::Buf::advance(&mut read, head.length);
        self.scanned = 0;
        self.ahead = read;
        self.decoder = head.body;
        self.asked = head.asked;
        self.keep = head.keep;
        self.expects = head.expects;
        self.answering = false;
        self.drained = 0;
        self.held = !self.decoder.is_over();
        let length = match self.decoder {
            Decoder::Length(length) => Some(length),
            _ => None,
        };
        Ok(Some((head.request, self.held.then_some(length))))
    }

    /// The next piece of the body, and whether it is the last.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(error) = &self.spoilt {
            return Poll::Ready(Some(Err(error.clone())));
        }
        loop {
            let frame = match self.decoder.next(&mut self.ahead) {
                Ok(Step::Data(data)) => Frame::data(data),
                Ok(Step::Trailers(map)) => Frame::trailers(map),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => match ready!(self.poll_more(cx)) {
                    Ok(()) => continue,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Err(broken) => return Poll::Ready(Some(Err(StreamError::broken(broken.0)))),
            };
            return Poll::Ready(Some(Ok((frame, self.decoder.is_over()))));
        }
    }

    /// Reads more of the body; tells a client that waits for it to go on.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let closed = |text: &str| Err(StreamError::Closed(text.into()));
        let Some(io) = &mut self.io else {
            return Poll::Ready(closed("the connection has ended"));
        };
        let ahead = &mut self.ahead;
        let polled = input::poll_read(io, cx, self.limits.max_buf, |came| {
            *ahead = input::keep(came).freeze();
            came.len()
        });
        match polled {
            Poll::Ready(Ok(0)) => Poll::Ready(closed("end of file before message length reached")),
            Poll::Ready(Ok(_)) => {
                // Whoever sends does not wait.
                self.expects = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(StreamError::from_io(&error))),
            Poll::Pending => {
                if self.expects && !self.answering {
                    self.expects = false;
                    self.output.text().extend_from_slice(CONTINUE);
                }
                if !self.answering {
                    // What the socket does not take goes with the answer; an error is told by it.
                    let _ = self.poll_output(cx).map(|_| self.poll_flush(cx));
                }
                Poll::Pending
            }
        }
    }

    /// Whether a request may follow the one that is answered, as far as its body is concerned.
    fn may_follow(&mut self, cx: &mut Context<'_>) -> bool {
        if self.spoilt.is_some() {
            return false;
        }
        if self.decoder.is_over() {
            return true;
        }
        if self.held {
            // A client that waits for a 100 may send the body or not.
            return !self.expects;
        }
        match self.poll_drain(cx) {
            Poll::Ready(keep) => keep,
            Poll::Pending => !self.expects,
        }
    }

    /// Throws away what is left of the body. `false` when it is too much, or will never come.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Decoder::Length(left) = self.decoder
                && left > MOST_DRAINED.saturating_sub(self.drained)
            {
                return Poll::Ready(false);
            }
            match self.decoder.next(&mut self.ahead) {
                Ok(Step::Data(data)) => {
                    self.drained += data.len() as u64;
                    if self.drained > MOST_DRAINED {
                        return Poll::Ready(false);
                    }
                }
                Ok(Step::Trailers(_)) => {}
                Ok(Step::End) => return Poll::Ready(true),
                Ok(Step::More) => {
                    let Some(io) = &mut self.io else {
                        return Poll::Ready(false);
                    };
                    let ahead = &mut self.ahead;
                    let read = input::poll_read(io, cx, self.limits.max_buf, |came| {
                        *ahead = input::keep(came).freeze();
                        came.len()
                    });
                    match ready!(read) {
                        Ok(0) | Err(_) => return Poll::Ready(false),
                        Ok(_) => self.expects = false,
                    }
                }
                Err(_) => return Poll::Ready(false),
            }
        }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let Some(io) = &mut self.io else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if let Err(error) = ready!(self.output.poll_write(io, cx)) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
