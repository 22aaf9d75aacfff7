//! What is still to be written to a connection: the head, frames of a body in their framing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::head::{Framing, write_number};

/// Frames up to this size are copied behind what is already to be written; larger ones are written
/// from where they are.
const SMALL_FRAME: usize = 256;
/// No more frames are asked for once so many bytes are to be written.
const ENOUGH_TO_WRITE: usize = 8 * 1024;
/// Larger buffers are not kept for the next head.
const KEPT_SPARE: usize = 16 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes to be written: `out` from `written` on, then `big`, then `tail`.
#[derive(Default)]
pub(super) struct Output {
    out: Vec<u8>,
    written: usize,
    big: Bytes,
    tail: &'static [u8],
}

impl Output {
    /// Where a head is written; comes before all frames.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Begins with `text`.
    pub(super) fn begin(&mut self, text: Vec<u8>) {
        self.out = text;
        self.written = 0;
    }

    /// Where a head is written, with memory that the thread keeps for it.
    pub(super) fn borrowed_text(&mut self) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        &mut self.out
    }

    /// Gives the memory of [`Output::borrowed_text`] back when all is written.
    pub(super) fn give_back(&mut self) {
        if self.is_empty() {
            let mut out = std::mem::take(&mut self.out);
            self.written = 0;
            out.clear();
            if out.capacity() <= KEPT_SPARE {
                // Only fails when the thread ends.
                let _ = SPARE.try_with(|spare| spare.set(out));
            }
        }
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.written >= self.out.len() && self.big.is_empty() && self.tail.is_empty()
    }

    /// Whether another frame may be added.
    pub(super) fn takes_more(&self) -> bool {
        self.big.is_empty() && self.out.len() < ENOUGH_TO_WRITE
    }

    /// Adds a frame. `framing` is done when no more may follow.
    pub(super) fn put(&mut self, framing: &mut Framing, mut data: Bytes) {
        if data.is_empty() {
            return;
        }
        let tail: &'static [u8] = match framing {
            Framing::Chunked => {
                write_number(&mut self.out, data.len() as u64, 16);
                self.out.extend_from_slice(b"\r\n");
                b"\r\n"
            }
            Framing::Length(left) => {
                // What goes beyond the announced length would be taken for the next message.
                if *left < data.len() as u64 {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                }
                *left -= data.len() as u64;
                if *left == 0 {
                    *framing = Framing::Done;
                }
                b""
            }
            Framing::ToEnd => b"",
            Framing::Done => return,
        };
        if data.len() <= SMALL_FRAME {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            self.big = data;
            self.tail = tail;
        }
    }

    /// Ends the body; whether it is as long as was announced.
    pub(super) fn end(&mut self, framing: &mut Framing) -> bool {
        match framing {
            Framing::Chunked if self.big.is_empty() => self.out.extend_from_slice(b"0\r\n\r\n"),
            Framing::Chunked => self.tail = b"\r\n0\r\n\r\n",
            Framing::Length(_) => return false,
            Framing::ToEnd | Framing::Done => {}
        }
        *framing = Framing::Done;
        true
    }

    /// Writes once; there must be something to write.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let out = self.out.get(self.written..).unwrap_or_default();
        let io = Pin::new(io);
        let polled = if self.big.is_empty() && self.tail.is_empty() {
            io.poll_write(cx, out)
        } else if io.is_write_vectored() {
            let parts = [out, &self.big, self.tail].map(IoSlice::new);
            io.poll_write_vectored(cx, &parts)
        } else {
            let parts = [out, &self.big, self.tail];
            let first = parts.into_iter().find(|part| !part.is_empty());
            io.poll_write(cx, first.unwrap_or_default())
        };
        let count = match ready!(polled) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => count,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let mut left = count;
        let part = left.min(self.out.len() - self.written);
        self.written += part;
        left -= part;
        let part = left.min(self.big.len());
        self.big.advance(part);
        left -= part;
        self.tail = self.tail.get(left..).unwrap_or_default();
        if self.is_empty() {
            self.written = 0;
            self.out.clear();
        }
        Poll::Ready(Ok(count))
    }
}
