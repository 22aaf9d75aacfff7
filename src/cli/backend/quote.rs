//! The quotes: made up, but always the same for the same symbol.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A number with two decimals, kept exact so that it reads the same in every format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cents(pub(super) i64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", size / 100, size % 100)
    }
}

/// One value of an answer, from which the XML and the JSON form are written.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Number(Cents),
    Integer(i64),
    /// A type of the WSDL and its fields in order; a field that repeats stands there repeatedly.
    Record {
        kind: &'static str,
        fields: Vec<(&'static str, Value)>,
    },
}

/// Trading days in the answer to `getFullQuote`, as many as the original service sends.
const HISTORY_DAYS: u32 = 1000;

/// The quote for a symbol on a day; day 0 is the one that `getQuote` answers with.
pub(super) fn quote(symbol: &str, day: u32, now: SystemTime) -> Value {
    let mut random = Random::new(symbol, day);
    let last = random.between(5_000, 20_000);
    let previous = last - random.between(-last / 20, last / 20);
    let open = previous + random.between(-previous / 100, previous / 100);
    let high = last.max(open) + random.between(1, 300);
    let low = last.min(open) - random.between(1, 300);
    let earnings = random.between(200, 2_000);
    let change = last - previous;
    Value::Record {
        kind: "GetQuoteResponse",
        fields: vec![
            ("change", Value::Number(Cents(change))),
            ("earnings", Value::Number(Cents(earnings))),
            ("high", Value::Number(Cents(high))),
            ("last", Value::Number(Cents(last))),
            ("lastTradeTimestamp", Value::Text(timestamp(now))),
            ("low", Value::Number(Cents(low))),
            (
                "marketCap",
                Value::Number(Cents(last * random.between(100_000, 1_000_000))),
            ),
            ("name", Value::Text(format!("{symbol} Company"))),
            ("open", Value::Number(Cents(open))),
            ("peRatio", Value::Number(Cents(last * 100 / earnings))),
            (
                "percentageChange",
                Value::Number(Cents(change * 10_000 / previous)),
            ),
            ("prevClose", Value::Number(Cents(previous))),
            ("symbol", Value::Text(symbol.to_owned())),
            ("volume", Value::Integer(random.between(5_000, 20_000))),
        ],
    }
}

/// The trade history of a symbol.
pub(super) fn full_quote(symbol: &str, now: SystemTime) -> Value {
    let day = |day| Value::Record {
        kind: "TradingDay",
        fields: vec![
            ("day", Value::Integer(i64::from(day))),
            ("quote", quote(symbol, day, now)),
        ],
    };
    Value::Record {
        kind: "GetFullQuoteResponse",
        fields: (0..HISTORY_DAYS)
            .map(|number| ("tradeHistory", day(number)))
            .collect(),
    }
}

/// One quote for each symbol.
pub(super) fn market_activity(symbols: &[String], now: SystemTime) -> Value {
    Value::Record {
        kind: "GetMarketActivityResponse",
        fields: symbols
            .iter()
            .map(|symbol| ("quotes", quote(symbol, 0, now)))
            .collect(),
    }
}

/// A small generator (FNV-1a for the seed, then SplitMix64) whose output will never change, unlike
/// that of the standard library's hasher.
struct Random(u64);

impl Random {
    fn new(symbol: &str, day: u32) -> Self {
        let seed = symbol
            .bytes()
            .chain(day.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self(seed)
    }

    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(bits % span)
    }
}

/// A point in time as Java's `Date.toString` writes it, in UTC.
fn timestamp(now: SystemTime) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let days = seconds / 86_400;
    // Civil date from a day count, with years that start in March so that a leap day comes last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let name = |names: &[&'static str], index: u64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index).copied())
            .unwrap_or("???")
    };
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        name(&WEEKDAYS, days % 7),
        name(&MONTHS, month),
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_read_like_a_java_date() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(at(951_782_400), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(at(1_723_095_507), "Thu Aug 08 05:38:27 UTC 2024");
        assert_eq!(at(1_767_225_599), "Wed Dec 31 23:59:59 UTC 2025");
    }

    #[test]
    fn numbers_keep_their_sign_and_two_decimals() {
        assert_eq!(Cents(-5).to_string(), "-0.05");
        assert_eq!(Cents(8350).to_string(), "83.50");
        assert_eq!(Cents(0).to_string(), "0.00");
    }

    #[test]
    fn quotes_depend_on_symbol_and_day_only() {
        let text = |symbol, day| format!("{:?}", quote(symbol, day, UNIX_EPOCH));
        assert_eq!(text("IBM", 0), text("IBM", 0));
        assert_ne!(text("IBM", 0), text("IBM", 1));
        assert_ne!(text("IBM", 0), text("SUN", 0));
        // No symbol may lead to a division by zero or an overflow.
        for symbol in ["", "\u{0}", "💶", &"X".repeat(10_000)] {
            text(symbol, u32::MAX);
        }
    }
}
