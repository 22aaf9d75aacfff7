//! Finding the end of plain text in JSON strings, eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks bytes that are `byte`; also bytes behind such a one.
const fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * byte as u64);
    zero.wrapping_sub(ONES) & !zero & HIGH
}

/// How many bytes from `from` on stand for themselves in a JSON string: all up to a quote, a backslash or a
/// control character, and up to a byte that begins U+2028 or U+2029 and others, when `separators` are not plain.
pub(super) fn run(bytes: &[u8], from: usize, separators: bool) -> usize {
    const FIRST_OF_SEPARATORS: u8 = 0xe2;
    let rest = bytes.get(from..).unwrap_or_default();
    let mut length = 0;
    for chunk in rest.chunks_exact(8) {
        let Ok(chunk) = <[u8; 8]>::try_from(chunk) else {
            break;
        };
        let word = u64::from_le_bytes(chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let mut special = control | equal(word, b'"') | equal(word, b'\\');
        if separators {
            special |= equal(word, FIRST_OF_SEPARATORS);
        }
        if special != 0 {
            // The lowest mark is always a true one.
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let tail = rest.get(length..).unwrap_or_default();
    let special = |byte: &u8| {
        matches!(byte, 0..=0x1f | b'"' | b'\\') || (separators && *byte == FIRST_OF_SEPARATORS)
    };
    length + tail.iter().position(special).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..20 {
                for (fill, separators) in [(b'x', false), (0x80, true), (0xff, true), (b' ', true)]
                {
                    let mut text = [fill; 21];
                    text[place] = byte;
                    let special = byte < 0x20
                        || byte == b'"'
                        || byte == b'\\'
                        || (separators && byte == 0xe2);
                    let expected = if special { place } else { 21 };
                    assert_eq!(run(&text, 0, separators), expected, "{byte} at {place}");
                    assert_eq!(run(&text, place, separators), expected - place);
                }
            }
        }
        assert_eq!(run(b"", 0, true), 0);
        assert_eq!(run(b"a", 7, true), 0);
    }
}
