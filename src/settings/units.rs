//! Durations as MI writes them: a number in the key's own unit, or text with a unit suffix.

use std::time::Duration;

/// Longer than any sensible timeout and far from where adding it to a clock overflows.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The unit of a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
}

/// Reads `500ms`, `90s`, `3m`, `2h`, `1d` or a plain number of `unit`. The error is the second
/// half of a sentence that starts with the value.
pub(super) fn duration(text: &str, unit: Unit) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let milliseconds = match (suffix, unit) {
        ("ms", _) | ("", Unit::Milliseconds) => 1,
        ("s", _) | ("", Unit::Seconds) => 1000,
        ("m", _) => 60_000,
        ("h", _) => 3_600_000,
        ("d", _) => 86_400_000,
        _ => return Err(NOT_A_DURATION.into()),
    };
    if number.is_empty() {
        return Err(NOT_A_DURATION.into());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|d| *d <= LONGEST)
        .ok_or_else(|| "is too long, at most \"3650d\"".into())
}

const NOT_A_DURATION: &str =
    "is not a duration; write a number with a unit: \"500ms\", \"90s\", \"3m\", \"2h\" or \"1d\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        use Unit::{Milliseconds, Seconds};
        let cases = [
            ("500ms", Milliseconds, Some(500)),
            ("90s", Milliseconds, Some(90_000)),
            ("3m", Milliseconds, Some(180_000)),
            ("2h", Milliseconds, Some(7_200_000)),
            ("1d", Seconds, Some(86_400_000)),
            ("180000", Milliseconds, Some(180_000)),
            ("3600", Seconds, Some(3_600_000)),
            (" 5s ", Milliseconds, Some(5_000)),
            ("0", Milliseconds, Some(0)),
            ("3650d", Milliseconds, Some(315_360_000_000)),
            ("3651d", Milliseconds, None),
            ("", Milliseconds, None),
            ("s", Milliseconds, None),
            ("-1", Milliseconds, None),
            ("1.5s", Milliseconds, None),
            ("1m30s", Milliseconds, None),
            ("3M", Milliseconds, None),
            ("10 s", Milliseconds, None),
            ("99999999999999999999", Milliseconds, None),
            ("9999999999999999999d", Milliseconds, None),
            ("٣s", Milliseconds, None),
        ];
        for (text, unit, expected) in cases {
            let found = duration(text, unit).ok().map(|d| d.as_millis());
            assert_eq!(found, expected, "{text:?} {unit:?}");
        }
    }
}
