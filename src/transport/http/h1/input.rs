//! Reading without a buffer per connection: each thread has one, and only what came is kept.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of one read at most.
const MOST_READ: usize = 64 * 1024;

/// Pieces of this size go into memory that the thread uses again when nobody has it any more: to
/// allocate them costs much more than smaller ones, and much larger ones are rare.
const AGAIN: std::ops::RangeInclusive<usize> = 1024..=16 * 1024;

/// Blocks of such memory that a thread has at most, so many bytes in all. Whoever keeps a piece keeps its block.
const MOST_BLOCKS: usize = 64;
/// Blocks that are looked at for one piece.
const LOOKS: usize = 4;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static BLOCKS: Cell<Blocks> = Cell::new(Blocks::default());
}

/// Memory that is used again, and the block that was used last.
#[derive(Default)]
struct Blocks {
    list: Vec<BytesMut>,
    last: usize,
}

impl Blocks {
    fn keep(&mut self, came: &[u8]) -> Option<BytesMut> {
        for look in 0..LOOKS.min(self.list.len()) {
            let at = (self.last + look) % self.list.len();
            if let Some(block) = self.list.get_mut(at)
                && block.try_reclaim(came.len())
            {
                self.last = at;
                block.extend_from_slice(came);
                return Some(block.split());
            }
        }
        if self.list.len() >= MOST_BLOCKS {
            self.last = (self.last + LOOKS) % MOST_BLOCKS;
            return None;
        }
        let mut block = BytesMut::with_capacity(*AGAIN.end());
        block.extend_from_slice(came);
        let kept = block.split();
        self.last = self.list.len();
        self.list.push(block);
        Some(kept)
    }
}

/// Keeps what came.
pub(super) fn keep(came: &[u8]) -> BytesMut {
    if !AGAIN.contains(&came.len()) {
        return BytesMut::from(came);
    }
    let mut blocks = BLOCKS.try_with(Cell::take).unwrap_or_default();
    let kept = blocks.keep(came);
    // Only fails when the thread ends.
    let _ = BLOCKS.try_with(|place| place.set(blocks));
    kept.unwrap_or_else(|| BytesMut::from(came))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_used_again_and_are_bounded() {
        let mut blocks = Blocks::default();
        let piece = vec![7; 10_000];
        for _ in 0..1000 {
            let (one, other) = (blocks.keep(&piece), blocks.keep(&piece));
            assert_eq!(one, other);
        }
        assert_eq!(blocks.list.len(), 2);
        let held: Vec<_> = (0..1000).map(|_| blocks.keep(&piece)).collect();
        assert_eq!(held.iter().flatten().count(), MOST_BLOCKS);
        assert!(held.iter().flatten().all(|kept| **kept == *piece));
        drop(held);
        assert!(blocks.keep(&piece).is_some());
        assert_eq!(blocks.list.len(), MOST_BLOCKS);
    }
}
