//! Responses that come before the request is sent whole.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::message::stream::{Held, StreamError};

/// A connection whose request and response are both under way.
pub(in crate::transport::http) trait Both: Held + 'static {
    /// Sends more of the request, as far as it goes.
    ///
    /// # Errors
    /// When it cannot go on.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), StreamError>;
}

/// Moves both sides from a task of its own, so that the request does not wait for the reader of the
/// response's body; gives that body, of which two frames at most are read ahead. The connection is
/// dropped when that body is.
pub(in crate::transport::http) fn drive(
    connection: Box<dyn Both>,
    length: Option<u64>,
) -> impl Body<Data = Bytes, Error = StreamError> + Send {
    let (give, frames) = mpsc::channel(1);
    tokio::spawn(run(connection, give));
    Frames {
        frames,
        left: length,
    }
}

type Piece = Result<Frame<Bytes>, StreamError>;

async fn run(mut connection: Box<dyn Both>, give: mpsc::Sender<Piece>) {
    loop {
        let piece = {
            let mut closed = pin!(give.closed());
            poll_fn(|cx| {
                if closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Err(error) = connection.poll_request(cx) {
                    return Poll::Ready(Some(Err(error)));
                }
                connection.poll_frame(cx)
            })
            .await
        };
        match piece {
            None if connection.is_over() => return connection.ended(),
            None => return,
            Some(Err(error)) => {
                drop(connection);
                let _ = give.send(Err(error)).await;
                return;
            }
            Some(Ok(frame)) if connection.is_over() => {
                connection.ended();
                let _ = give.send(Ok(frame)).await;
                return;
            }
            Some(Ok(frame)) => {
                let mut failed = None;
                let handed = {
                    let mut handing = pin!(give.send(Ok(frame)));
                    poll_fn(|cx| {
                        if failed.is_none() {
                            failed = connection.poll_request(cx).err();
                        }
                        handing.as_mut().poll(cx)
                    })
                    .await
                };
                if handed.is_ok()
                    && let Some(error) = failed
                {
                    drop(connection);
                    let _ = give.send(Err(error)).await;
                    return;
                }
                if handed.is_err() {
                    return;
                }
            }
        }
    }
}

/// The other end.
struct Frames {
    frames: mpsc::Receiver<Piece>,
    left: Option<u64>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let this = self.get_mut();
        let polled = this.frames.poll_recv(cx);
        if let (Some(left), Poll::Ready(Some(Ok(frame)))) = (&mut this.left, &polled) {
            let came = frame.data_ref().map_or(0, Bytes::len);
            *left = left.saturating_sub(came as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
