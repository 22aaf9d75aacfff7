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
    // Two overlapping halves are all of a text that is longer than one of them.
    if a.len() < 8 {
        if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) = (
            a.first_chunk::<4>(),
            b.first_chunk::<4>(),
            a.last_chunk::<4>(),
            b.last_chunk::<4>(),
        ) {
            return a_first == b_first && a_last == b_last;
        }
        let pairs = a.iter().zip(b);
        return pairs.fold(0, |diff, (a, b)| diff | (a ^ b)) == 0;
    }
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words);
    if words.fold(0, |diff, (a, b)| {
        diff | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b))
    }) != 0
    {
        return false;
    }
    a.last_chunk::<8>() == b.last_chunk::<8>()
}

/// How many bytes of the beginning of an attribute value between double quotes, in whole words up to `most`, are before
/// the quote; `None` when it is not there or something comes first that needs a closer look.
#[inline(always)]
pub(super) fn value_before_quote(bytes: &[u8], most: usize) -> Option<usize> {
    let mut at = 0;
    while at < most {
        let word = word(bytes, at)?;
        // Exact for the first byte below the blank, as in `delimiters`.
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let marks = control | equal(word, b'"') | equal(word, b'<') | equal(word, b'&');
        if marks != 0 {
            at += before(marks);
            return (bytes.get(at) == Some(&b'"')).then_some(at);
        }
        at += 8;
    }
    None
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
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    low: u64,
    high: u64,
    /// The bits of the words that the name has.
    low_mask: u64,
    high_mask: u64,
    len: u32,
}

impl Default for Key {
    /// No name: sixteen zeros are at no place where a name is.
    fn default() -> Key {
        Key {
            low: 0,
            high: 0,
            low_mask: u64::MAX,
            high_mask: u64::MAX,
            len: 0,
        }
    }
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
            let low_mask = u64::MAX >> (64 - 8 * len);
            return Some(Key {
                low: low & low_mask,
                high: 0,
                low_mask,
                high_mask: 0,
                len: len as u32,
            });
        }
        let high = word(bytes, 8)?;
        let marks = delimiters(high);
        if marks == 0 {
            return None;
        }
        let len = before(marks);
        let high_mask = if len == 0 {
            0
        } else {
            u64::MAX >> (64 - 8 * len)
        };
        Some(Key {
            low,
            high: high & high_mask,
            low_mask: u64::MAX,
            high_mask,
            len: 8 + len as u32,
        })
    }

    /// Whether `bytes` start with this name; `false` too when they are too few to tell at once.
    #[inline(always)]
    pub(super) fn is_at(self, bytes: &[u8]) -> bool {
        let Some(chunk) = bytes.first_chunk::<16>() else {
            return false;
        };
        let both = u128::from_le_bytes(*chunk);
        let (low, high) = (both as u64, (both >> 64) as u64);
        (low ^ self.low) & self.low_mask | (high ^ self.high) & self.high_mask == 0
    }

    /// The length of its prefix, when this is a name of nothing but ASCII: letters, digits, `_`, `-`, `.`, and at most
    /// one colon between two parts that each start well. `None` says nothing.
    #[inline]
    pub(super) fn prefix_len(self) -> Option<u32> {
        if (self.low | self.high) & HIGHS != 0 {
            return None;
        }
        let (low, high) = (Letters::of(self.low), Letters::of(self.high));
        let part = |len: usize| HIGHS & (u64::MAX.checked_shr(64 - 8 * len as u32).unwrap_or(0));
        let (low_part, high_part) = (part(self.len().min(8)), part(self.len().saturating_sub(8)));
        let wrong = (!low.any & low_part) | (!high.any & high_part);
        let starts = |at: u32| {
            let marks = if at < 8 { low.first } else { high.first };
            marks >> (8 * (at & 7)) & 0x80 != 0
        };
        if wrong != 0 || !starts(0) {
            return None;
        }
        let (low_colon, high_colon) = (low.colon & low_part, high.colon & high_part);
        match (low_colon.count_ones(), high_colon.count_ones()) {
            (0, 0) => Some(0),
            (1, 0) => Some(before(low_colon) as u32),
            (0, 1) => Some(before(high_colon) as u32 + 8),
            _ => None,
        }
        .filter(|&prefix| prefix == 0 || (prefix + 1 < self.len && starts(prefix + 1)))
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

/// What the bytes of a word of ASCII may be in a name, as marks on their highest bits.
struct Letters {
    first: u64,
    /// Also not at the start of a part, or the colon.
    any: u64,
    colon: u64,
}

impl Letters {
    #[inline(always)]
    fn of(word: u64) -> Letters {
        let within = |word: u64, low: u8, high: u8| {
            let from = word.wrapping_add(ONES * (0x80 - low as u64));
            let beyond = word.wrapping_add(ONES * (0x7F - high as u64));
            from & !beyond & HIGHS
        };
        let first = within(word | (ONES * 0x20), b'a', b'z') | within(word, b'_', b'_');
        let colon = within(word, b':', b':');
        Letters {
            first,
            any: first | within(word, b'0', b':') | within(word, b'-', b'.'),
            colon,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: Key,
    prefix_len: u32,
    /// The slot of the name that was met after this one.
    next: u32,
}

/// Names that were found to be names, by their words. What follows a name follows it again more often than not, so that
/// is where a name is looked for first.
pub(super) struct Names {
    slots: Box<[Slot]>,
    last: u32,
    next: u32,
    generation: u32,
}

/// A name that was met before.
#[derive(Clone, Copy)]
pub(super) struct Familiar {
    pub(super) slot: u32,
    pub(super) prefix_len: u32,
    pub(super) len: usize,
}

impl Names {
    /// Room for so many names, a power of two.
    pub(super) fn new(slots: usize) -> Names {
        Names {
            slots: vec![Slot::default(); slots].into_boxed_slice(),
            last: 0,
            next: 0,
            generation: 0,
        }
    }

    /// The name at the start of `bytes`, when it was met before.
    #[inline(always)]
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Familiar> {
        if let Some(slot) = self.slots.get(self.next as usize)
            && slot.key.is_at(bytes)
            && matches!(bytes.get(slot.key.len()), Some(b'>' | b' ' | b'='))
        {
            return Some(Familiar {
                slot: self.next,
                prefix_len: slot.prefix_len,
                len: slot.key.len(),
            });
        }
        self.find_key(Key::read(bytes)?)
    }

    #[inline]
    fn find_key(&self, key: Key) -> Option<Familiar> {
        let at = self.slot(key);
        let slot = self.slots.get(at).filter(|slot| slot.key == key)?;
        Some(Familiar {
            slot: at as u32,
            prefix_len: slot.prefix_len,
            len: key.len(),
        })
    }

    /// Whether the name in a slot is at the start of `bytes`, with `end` after it; its length.
    #[inline(always)]
    pub(super) fn is_at(&self, slot: u32, bytes: &[u8], end: u8) -> Option<usize> {
        let key = self.slots.get(slot as usize)?.key;
        (key.is_at(bytes) && bytes.get(key.len()) == Some(&end)).then_some(key.len())
    }

    /// Remembers a name, in the place of another; the slot.
    pub(super) fn keep(&mut self, key: Key, prefix_len: u32) -> u32 {
        let at = self.slot(key);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot {
                key,
                prefix_len,
                next: 0,
            };
        }
        self.generation = self.generation.wrapping_add(1);
        self.met(at as u32);
        at as u32
    }

    #[inline(always)]
    fn slot(&self, key: Key) -> usize {
        key.hash() & self.slots.len().wrapping_sub(1)
    }

    /// The name in a slot was read.
    #[inline(always)]
    pub(super) fn met(&mut self, slot: u32) {
        if slot != self.next
            && let Some(last) = self.slots.get_mut(self.last as usize)
        {
            last.next = slot;
        }
        self.last = slot;
        self.next = self.slots.get(slot as usize).map_or(0, |slot| slot.next);
    }

    /// Changes whenever a slot got another name.
    #[inline(always)]
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }
}

/// Whether text may need a closer look: control characters, carriage returns, `]]>` or non-characters may occur.
/// Two passes without branches, which cost far less than checking each text would.
pub(super) fn is_unusual(bytes: &[u8]) -> bool {
    // The smallest byte tells of those below the tab. Of those between the line feed and the blank the smallest
    // distance from the line feed tells, as the tab and the line feed itself are then the largest numbers there are.
    const AFTER: u8 = b'\n' + 1;
    let (mut low, mut distance) = (u8::MAX, u8::MAX);
    for &byte in bytes {
        low = low.min(byte);
        distance = distance.min(byte.wrapping_sub(AFTER));
    }
    let doubtful = |at: usize| {
        let pair = bytes.get(at..at + 2);
        pair == Some(b"]>") || pair == Some(&[0xEF, 0xBF])
    };
    low < b'\t' || distance < b' ' - AFTER || memchr::memchr2_iter(b']', 0xEF, bytes).any(doubtful)
}
