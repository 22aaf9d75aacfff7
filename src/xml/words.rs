//! Looking at eight bytes at a time, and remembering names that way.
//!
//! Most names of a message were met before in the same message. Recognising one of them costs a hash and a comparison
//! of one or two words; only names that are new are read byte by byte.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the highest bit of the first byte that equals `byte`, and perhaps of bytes after it.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * byte as u64);
    zero.wrapping_sub(ONES) & !zero & HIGHS
}

/// How many bytes there are before the first that `marks` marks; 8 when there is none.
#[inline(always)]
fn before(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// Whether two texts are the same; for short ones, where calling the library costs more than comparing.
#[inline(always)]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.len() > 32 {
        return a == b;
    }
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words);
    if words.fold(0, |diff, (a, b)| {
        diff | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b))
    }) != 0
    {
        return false;
    }
    if let (Some(a), Some(b)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        return u64::from_le_bytes(*a) == u64::from_le_bytes(*b);
    }
    let rest = a_rest.iter().zip(b_rest);
    rest.fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// How many bytes of the beginning of a text, in whole words up to `most`, are before the first `<` or `&`; `Err` when
/// neither is there.
#[inline(always)]
pub(super) fn text_before_markup(bytes: &[u8], most: usize) -> Result<usize, usize> {
    let mut at = 0;
    while at < most
        && let Some(word) = word(bytes, at)
    {
        let marks = equal(word, b'<') | equal(word, b'&');
        if marks != 0 {
            return Ok(at + before(marks));
        }
        at += 8;
    }
    Err(at)
}

/// A name as one or two words, padded with zeros, which no name contains.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    low: u64,
    high: u64,
    len: u32,
}

impl Key {
    /// The name at the start of `bytes`, when it has at most 15 bytes and what follows it is there. It ends at white
    /// space or one of `/>=`; whether what is before that is a name at all is not looked at.
    #[inline(always)]
    pub(super) fn read(bytes: &[u8]) -> Option<Key> {
        let low = word(bytes, 0)?;
        let marks = delimiters(low);
        if marks != 0 {
            let len = before(marks);
            if len == 0 {
                return None;
            }
            let low = low & (u64::MAX >> (64 - 8 * len));
            return Some(Key {
                low,
                high: 0,
                len: len as u32,
            });
        }
        let high = word(bytes, 8)?;
        let marks = delimiters(high);
        if marks == 0 {
            return None;
        }
        let len = before(marks);
        let high = if len == 0 {
            0
        } else {
            high & (u64::MAX >> (64 - 8 * len))
        };
        Some(Key {
            low,
            high,
            len: 8 + len as u32,
        })
    }

    /// Whether `bytes` start with this name; `false` too when they are too few to tell at once.
    #[inline(always)]
    pub(super) fn is_at(self, bytes: &[u8]) -> bool {
        let part = |len: usize| u64::MAX >> (64 - 8 * len);
        let low = word(bytes, 0).map(|low| low & part(self.len().min(8)));
        if self.len <= 8 {
            return low == Some(self.low);
        }
        let high = word(bytes, 8).map(|high| high & part(self.len() - 8));
        low == Some(self.low) && high == Some(self.high)
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    #[inline(always)]
    fn hash(self) -> usize {
        let mixed = self.low ^ self.high.rotate_left(23) ^ (self.high >> 7);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize
    }
}

/// The first byte that ends a name: white space, `/`, `>`, `=`.
#[inline(always)]
fn delimiters(word: u64) -> u64 {
    // Exact for the first byte up to 0x20, as bytes are only borrowed from after one.
    let space = word.wrapping_sub(ONES * 0x21) & !word & HIGHS;
    space | equal(word, b'/') | equal(word, b'>') | equal(word, b'=')
}

/// Names that were found to be names, by their words.
pub(super) struct Names {
    slots: Box<[(Key, u32)]>,
}

impl Names {
    /// Room for so many names, a power of two.
    pub(super) fn new(slots: usize) -> Names {
        Names {
            slots: vec![(Key::default(), 0); slots].into_boxed_slice(),
        }
    }

    #[inline(always)]
    fn slot(&self, key: Key) -> usize {
        key.hash() & self.slots.len().wrapping_sub(1)
    }

    /// The slot and the length of the prefix of a name that was met before.
    #[inline(always)]
    pub(super) fn find(&self, key: Key) -> Option<(u32, u32)> {
        let slot = self.slot(key);
        match self.slots.get(slot) {
            Some((known, prefix_len)) if *known == key => Some((slot as u32, *prefix_len)),
            _ => None,
        }
    }

    /// Remembers a name, in the place of another; the slot.
    pub(super) fn keep(&mut self, key: Key, prefix_len: u32) -> u32 {
        let slot = self.slot(key);
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = (key, prefix_len);
        }
        slot as u32
    }
}
