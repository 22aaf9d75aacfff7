//! What passes over the wire: bodies that are copied while they stream, and header names with the
//! capitals that were sent.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lock;
use super::printer::{Draft, End};

/// Message heads longer than this are printed with header names in lower case.
const MAX_HEAD: usize = 64 * 1024;

/// A body that passes through and leaves a copy of its beginning for printing.
#[derive(Debug)]
pub(super) struct Tee {
    body: Incoming,
    /// Taken when the message is handed to the printer.
    draft: Option<Draft>,
    /// Set to listen for the next message on the same connection when this one is over.
    next: Option<Capture>,
}

impl Tee {
    pub(super) fn new(body: Incoming, draft: Draft, next: Option<Capture>) -> Self {
        let mut tee = Self {
            body,
            draft: Some(draft),
            next,
        };
        // Nobody polls a body that is known to be over.
        if tee.body.is_end_stream() {
            tee.finish(End::Complete);
        }
        tee
    }

    /// Whether all that is to be printed has been handed over.
    pub(super) fn is_printed(&self) -> bool {
        self.draft.is_none()
    }

    fn print(&mut self, end: End) {
        if let Some(draft) = self.draft.take() {
            draft.print(end);
        }
    }

    fn finish(&mut self, end: End) {
        self.print(end);
        if let Some(next) = self.next.take() {
            next.arm();
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => {
                if let (Some(data), Some(draft)) = (frame.data_ref(), self.draft.as_mut())
                    && !draft.add(data)
                {
                    // The rest may take long or never end, and would not be shown anyway.
                    self.print(End::Longer);
                }
                // With a known length the body is not polled again after its last byte.
                if self.body.is_end_stream() {
                    self.finish(End::Complete);
                }
            }
            Some(Err(error)) => {
                let reason = error.to_string();
                self.finish(End::Broken(reason));
            }
            None => self.finish(End::Complete),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.finish(End::CutOff);
    }
}

/// The first bytes of a message as they came from the socket.
///
/// hyper keeps the capitals of header names for sending but does not show them, and they matter to
/// people who look at headers such as `SOAPAction`. So the bytes read between two messages are
/// kept until hyper has understood the head in them. This serves only for display: where it fails,
/// as with pipelined requests, names appear in lower case.
#[derive(Debug, Clone)]
pub(super) struct Capture(Arc<Mutex<Option<Vec<u8>>>>);

impl Capture {
    pub(super) fn armed() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    fn arm(&self) {
        *lock(&self.0) = Some(Vec::new());
    }

    fn add(&self, bytes: &[u8]) {
        if let Some(kept) = lock(&self.0).as_mut() {
            let room = MAX_HEAD.saturating_sub(kept.len());
            kept.extend(bytes.iter().take(room));
        }
    }

    /// Stops listening and returns the header names of the head received.
    pub(super) fn take(&self) -> Names {
        Names::read(&lock(&self.0).take().unwrap_or_default())
    }
}

/// Header names as they were sent, by their lower-case form.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut names = HashMap::new();
        let mut lines = text.lines();
        while let Some(first) = lines.next() {
            // Interim responses come before the one that counts.
            let interim = first.starts_with("HTTP/1.1 1");
            for line in lines.by_ref().take_while(|line| !line.is_empty()) {
                if let Some((name, _)) = line.split_once(':') {
                    names
                        .entry(name.to_ascii_lowercase())
                        .or_insert_with(|| name.to_owned());
                }
            }
            if !interim {
                break;
            }
        }
        Self(names)
    }

    pub(super) fn as_sent<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

/// A stream whose incoming bytes go to a [`Capture`] too.
pub(super) struct Recorder<S> {
    stream: S,
    capture: Capture,
}

impl<S> Recorder<S> {
    pub(super) fn new(stream: S, capture: Capture) -> Self {
        Self { stream, capture }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorder<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.capture
            .add(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorder<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_head_that_counts() {
        let names = Names::read(
            b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-LaTe: 1\r\n\r\nbody-Text: 1\r\n",
        );
        assert_eq!(names.as_sent("x-late"), "X-LaTe");
        assert_eq!(names.as_sent("body-text"), "body-text");
    }

    #[test]
    fn only_armed_captures_keep_bytes_and_never_too_many() {
        let capture = Capture::armed();
        capture.add(&vec![b'x'; 10 * MAX_HEAD]);
        assert_eq!(lock(&capture.0).as_ref().map(Vec::len), Some(MAX_HEAD));
        capture.take();
        capture.add(b"ignored");
        assert!(lock(&capture.0).is_none());
    }
}
