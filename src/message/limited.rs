//! A body that may not be longer than the validated message size (spec 01 §15.1).

use super::stream::{BodyStream, StreamError};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Counts what passes.
struct Limited {
    inner: BodyStream,
    limit: u64,
    left: u64,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, |d| d.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
                    return Poll::Ready(Some(Err(StreamError::TooLarge { limit })));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// Bounds a body whose length nobody announced; a known length is its reader's to check.
pub fn limited(body: BodyStream, limit: u64) -> BodyStream {
    if body.exact_len().is_some() {
        return body;
    }
    let limited = Limited {
        inner: body,
        limit,
        left: limit,
    };
    BodyStream::boxed(limited, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many pieces of five bytes.
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = StreamError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
            Poll::Ready(self.0.checked_sub(1).map(|left| {
                self.0 = left;
                Ok(Frame::data(Bytes::from_static(b"12345")))
            }))
        }
    }

    #[tokio::test]
    async fn a_body_ends_with_an_error_above_the_limit() {
        let pieces = |count| limited(BodyStream::boxed(Pieces(count), None), 10);
        assert_eq!(pieces(2).collect(100).await.unwrap(), "1234512345");
        let error = pieces(3).collect(100).await.unwrap_err();
        assert_eq!(error, StreamError::TooLarge { limit: 10 });
    }
}
