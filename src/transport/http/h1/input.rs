//! Reading without a buffer per connection: each thread has one, and only what came is kept.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of one read at most.
const MOST_READ: usize = 64 * 1024;

/// Pieces of this size go into memory that the thread uses again when nobody has it any more: to
/// allocate them costs much more than smaller ones, and much larger ones are rare.
const AGAIN: std::ops::RangeInclusive<usize> = 1024..=16 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static USED: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Keeps what came.
pub(super) fn keep(came: &[u8]) -> Bytes {
    if !AGAIN.contains(&came.len()) {
        return Bytes::copy_from_slice(came);
    }
    let mut used = USED.try_with(Cell::take).unwrap_or_default();
    if used.capacity() == 0 {
        used.reserve(*AGAIN.end());
    }
    let kept = if used.try_reclaim(came.len()) {
        used.extend_from_slice(came);
        used.split().freeze()
    } else {
        Bytes::copy_from_slice(came)
    };
    // Only fails when the thread ends.
    let _ = USED.try_with(|place| place.set(used));
    kept
}

/// Reads at most `most` bytes into the thread's buffer and shows them to `take`; none at the end.
pub(in crate::transport::http) fn poll_read<S: AsyncRead + Unpin, T>(
    io: &mut S,
    cx: &mut Context<'_>,
    most: usize,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch.resize(MOST_READ, 0);
    }
    let most = most.clamp(1, scratch.len());
    let room = scratch.get_mut(..most).unwrap_or_default();
    let mut read = ReadBuf::new(room);
    let polled = Pin::new(io).poll_read(cx, &mut read);
    let polled = polled.map_ok(|()| take(read.filled()));
    // Only fails when the thread ends.
    let _ = SCRATCH.try_with(|place| place.set(scratch));
    Poll::Ready(ready!(polled))
}
