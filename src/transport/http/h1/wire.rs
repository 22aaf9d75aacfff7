//! A connection, with what was read ahead and what is still to be written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::{Decoder, Step};
use super::head::{self, Framing, Names, NoHead};
use super::input;
use super::output::Output;
use crate::message::request::{Meaning, WireRequest};
use crate::message::stream::{BodyStream, StreamError};
use crate::transport::http::outcome::Progress;

/// The first read of a connection asks for so many bytes; larger ones follow while they are filled.
const LEAST_READ: usize = 8 * 1024;
/// Interim responses to one request.
const MOST_INTERIM: u32 = 100;

/// Limits of what a peer may send.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport::http) struct WireLimits {
    /// Bytes of the read buffer, and so of a response head.
    pub max_buf: usize,
    /// Headers of a response.
    pub max_headers: usize,
}

/// Why there is no response.
#[derive(Debug)]
pub(in crate::transport::http) enum Trouble {
    /// The body of the request failed.
    Body(StreamError),
    /// What came is no response, or too much.
    Malformed(&'static str),
    /// The peer closed its side.
    Closed,
    /// Reading or writing failed.
    Io(io::Error),
}

/// The client's end of one connection. Nothing moves unless it is polled.
pub(in crate::transport::http) struct Wire<S> {
    io: S,
    limits: WireLimits,

    /// Read, and no head yet.
    buf: BytesMut,
    /// How much of `buf` has no end of a head in it.
    scanned: usize,
    /// Read behind a head.
    ahead: Bytes,
    /// What the next read asks for.
    next_read: usize,
    /// The last read was so short that another such makes the next one smaller.
    shorter: bool,
    decoder: Decoder,
    asked: Meaning,
    /// Interim responses to this request so far.
    interim: u32,
    /// What the peer's responses had before.
    names: Names,

    output: Output,
    /// The body of the request, until all of it is handed over.
    body: BodyStream,
    framing: Framing,
    /// The request is not with the kernel yet, whole and flushed.
    sending: bool,

    /// The connection cannot be used for another request.
    close: bool,
    wrote: bool,
    body_started: bool,
    write_failed: bool,
    read_failed: bool,
    eof: bool,
    /// Bytes went either way since [`Wire::moved`] was asked.
    moved: bool,
    /// Something of the response was handed out since a reader had to wait the last time.
    handed_out: bool,
    /// Why the body of the response is not whole, until its reader is told.
    broken: Option<StreamError>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection that nothing was sent over yet.
    pub(in crate::transport::http) fn new(io: S, limits: WireLimits) -> Self {
        Self {
            io,
            limits,
            buf: BytesMut::new(),
            scanned: 0,
            ahead: Bytes::new(),
            next_read: LEAST_READ.min(limits.max_buf),
            shorter: false,
            decoder: Decoder::Length(0),
            asked: Meaning::Other,
            interim: 0,
            names: Names::default(),
            output: Output::default(),
            body: BodyStream::empty(),
            framing: Framing::Done,
            sending: false,
            close: false,
            wrote: false,
            body_started: false,
            write_failed: false,
            read_failed: false,
            eof: false,
            moved: false,
            handed_out: false,
            broken: None,
        }
    }

    /// The socket.
    pub(in crate::transport::http) fn io(&mut self) -> &mut S {
        &mut self.io
    }

    /// Takes a request; it is written when the response is asked for. The exchange before must have
    /// ended, see [`Wire::is_reusable`].
    pub(in crate::transport::http) fn begin(&mut self, request: WireRequest) {
        let WireRequest { head, body } = request;
        self.asked = head.meaning();
        self.close |= head.closes();
        let old = head.is_old();
        self.output.begin(head.into_text());
        self.framing = head::end_head(self.output.text(), &body, self.asked, old);
        self.body = match self.framing {
            Framing::Done => BodyStream::empty(),
            _ => body,
        };
        self.interim = 0;
        self.sending = true;
        self.moved = false;
        self.wrote = false;
        self.body_started = false;
    }

    /// Writes the request as far as it goes and waits for the head of its response. Interim
    /// responses are left out.
    pub(in crate::transport::http) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Trouble>> {
        self.poll_request(cx)?;
        loop {
            match self.take_head() {
                Ok(Some(response)) => return Poll::Ready(Ok(response)),
                Ok(None) => {}
                Err(words) => return Poll::Ready(Err(Trouble::Malformed(words))),
            }
            if self.buf.len() >= self.limits.max_buf {
                let words = "the head of the response is too large";
                return Poll::Ready(Err(Trouble::Malformed(words)));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Err(Trouble::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Trouble::Io(error))),
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<Response<()>>, &'static str> {
        while !self.buf.is_empty() {
            if !head::has_end(&self.buf, self.scanned) {
                if self.scanned == 0 {
                    // What can become no response need not be waited for.
                    match head::check(&self.buf, self.limits.max_headers) {
                        Err(NoHead::Malformed(words)) => return Err(words),
                        Err(NoHead::Partial) | Ok(()) => {}
                    }
                }
                self.scanned = self.buf.len();
                return Ok(None);
            }
            let mut read = self.buf.split().freeze();
            let max_headers = self.limits.max_headers;
            let head = match head::read_head(&read, self.asked, max_headers, &mut self.names) {
                Ok(head) => head,
                Err(NoHead::Malformed(words)) => return Err(words),
                Err(NoHead::Partial) => {
                    // Empty lines before the head looked like its end.
                    self.scanned = read.len();
                    self.buf.extend_from_slice(&read);
                    return Ok(None);
                }
            };
            self.scanned = 0;
            read.advance(head.length);
            let status = head.response.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                self.interim += 1;
                if self.interim > MOST_INTERIM {
                    return Err("there are too many interim responses");
                }
                self.buf.extend_from_slice(&read);
                continue;
            }
            self.ahead = read;
            self.handed_out = true;
            self.decoder = head.body;
            self.close |= !head.keep;
            return Ok(Some(head.response));
        }
        Ok(None)
    }

    /// The next frame of the response's body.
    ///
    /// The reader has to wait once before it is told of an error, so that what came before can go
    /// on: a server drops what it has not written yet when a body fails.
    pub(in crate::transport::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.broken.is_none() {
            match self.poll_piece(cx) {
                Poll::Ready(Some(Err(error))) => {
                    self.close = true;
                    self.broken = Some(error);
                }
                Poll::Pending => {
                    self.handed_out = false;
                    return Poll::Pending;
                }
                polled => {
                    self.handed_out = true;
                    return polled;
                }
            }
        }
        if std::mem::take(&mut self.handed_out) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.broken.clone().map(Err))
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        loop {
            match self.decoder.next(&mut self.ahead) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Step::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(broken) => return Poll::Ready(Some(Err(StreamError::broken(broken.0)))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if matches!(self.decoder, Decoder::ToEnd) => {
                    self.decoder = Decoder::Length(0);
                    return Poll::Ready(None);
                }
                Ok(0) => {
                    let text = "end of file before message length reached";
                    return Poll::Ready(Some(Err(StreamError::Closed(text.into()))));
                }
                Ok(_) => self.ahead = self.buf.split().freeze(),
                Err(error) => return Poll::Ready(Some(Err(StreamError::from_io(&error)))),
            }
        }
    }

    /// Whether the response's body is over.
    pub(in crate::transport::http) fn is_over(&self) -> bool {
        self.decoder.is_over()
    }

    /// The length of the response's body, when it was announced.
    pub(in crate::transport::http) fn exact_len(&self) -> Option<u64> {
        match self.decoder {
            Decoder::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Whether there is more of the request to be written.
    pub(in crate::transport::http) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Whether another request may follow: both sides are at their ends, without doubt.
    pub(in crate::transport::http) fn is_reusable(&self) -> bool {
        !self.close
            && !self.sending
            && !self.eof
            && !self.read_failed
            && !self.write_failed
            && self.decoder.is_over()
            && self.ahead.is_empty()
            && self.buf.is_empty()
    }

    /// Whether nothing came since the last exchange, neither bytes nor an end.
    pub(in crate::transport::http) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        Pin::new(&mut self.io).poll_read(cx, &mut byte).is_pending()
    }

    /// Gives up memory that an idle connection need not have.
    pub(in crate::transport::http) fn rest(&mut self) {
        self.ahead = Bytes::new();
        self.output.begin(Vec::new());
        self.buf = BytesMut::new();
    }

    /// Whether bytes went either way since this was asked the last time.
    pub(in crate::transport::http) fn moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// How far the exchange came.
    pub(in crate::transport::http) fn progress(&self) -> Progress {
        let handed_over = self.framing == Framing::Done && self.output.is_empty();
        Progress {
            wrote: self.wrote,
            body_started: self.body_started,
            complete: self.wrote && handed_over && !self.write_failed,
            failed: self.read_failed || self.write_failed,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.limits.max_buf.saturating_sub(self.buf.len());
        let (most, buf) = (self.next_read.min(room).max(1), &mut self.buf);
        let polled = input::poll_read(&mut self.io, cx, most, |came| {
            match buf.is_empty() {
                true => *buf = input::keep(came),
                false => buf.extend_from_slice(came),
            }
            came.len()
        });
        match &polled {
            Poll::Ready(Ok(0)) => self.eof = true,
            Poll::Ready(Ok(count)) => {
                self.moved = true;
                self.adapt(*count);
            }
            Poll::Ready(Err(_)) => self.read_failed = true,
            Poll::Pending => {}
        }
        polled
    }

    /// Reads grow at once and shrink when two in a row were short.
    fn adapt(&mut self, count: usize) {
        if count >= self.next_read {
            self.next_read = self.next_read.saturating_mul(2).min(self.limits.max_buf);
            self.shorter = false;
        } else if self.next_read > LEAST_READ && count < self.next_read / 2 {
            if self.shorter {
                self.next_read = (self.next_read / 2).max(LEAST_READ);
            }
            self.shorter = !self.shorter;
        } else {
            self.shorter = false;
        }
    }

    /// Writes the request as far as it goes.
    pub(in crate::transport::http) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<(), Trouble> {
        while self.sending {
            let waits = match self.poll_body(cx) {
                Ok(waits) => waits,
                Err(error) => {
                    // Half a body must not look like a whole one.
                    self.sending = false;
                    self.close = true;
                    return Err(error);
                }
            };
            match self.poll_output(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(result) => result.map_err(Trouble::Io)?,
            }
            if self.write_failed {
                // The peer may have answered before it closed: reading tells in any case.
                self.body = BodyStream::empty();
                self.sending = false;
            } else if waits || self.framing == Framing::Done {
                match Pin::new(&mut self.io).poll_flush(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        self.write_failure(error).map_err(Trouble::Io)?;
                        continue;
                    }
                }
                if waits {
                    return Ok(());
                }
                self.sending = false;
            }
        }
        Ok(())
    }

    /// Takes frames of the request's body; whether the next one is not there yet.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Trouble> {
        while self.framing != Framing::Done && !self.write_failed && self.output.takes_more() {
            self.body_started = true;
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(None) => self.end_body()?,
                Poll::Ready(Some(Err(error))) => return Err(Trouble::Body(error)),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers would need a `Trailer` header, which does not travel.
                    if let Ok(data) = frame.into_data() {
                        self.put(data);
                    }
                    if self.framing != Framing::Done && self.body.is_end_stream() {
                        self.end_body()?;
                    }
                }
            }
        }
        Ok(false)
    }

    fn put(&mut self, data: Bytes) {
        self.output.put(&mut self.framing, data);
        if self.framing == Framing::Done {
            self.body = BodyStream::empty();
        }
    }

    fn end_body(&mut self) -> Result<(), Trouble> {
        if !self.output.end(&mut self.framing) {
            let text = "the body of the request ended before its length";
            return Err(Trouble::Body(StreamError::broken(text)));
        }
        self.body = BodyStream::empty();
        Ok(())
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write_failed && !self.output.is_empty() {
            match ready!(self.output.poll_write(&mut self.io, cx)) {
                Ok(_) => {
                    self.wrote = true;
                    self.moved = true;
                }
                Err(error) => self.write_failure(error)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A write that failed because the peer is gone is no error yet: the peer may have answered
    /// before it closed, and reading tells (an answer, the end or the error).
    fn write_failure(&mut self, error: io::Error) -> io::Result<()> {
        self.write_failed = true;
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Ok(()),
            _ => Err(error),
        }
    }
}
