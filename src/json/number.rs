//! Decimal numbers by their text, and Java's ways of printing them.

use std::borrow::Cow;
use std::cmp::Ordering;

pub use super::java::parse_java_double;

/// A decimal number of any size: Java's `BigDecimal`, as far as messages show it (spec 01 §17.3,
/// spec 05 §4.3).
#[derive(Clone, Debug)]
pub struct Decimal {
    negative: bool,
    /// Digits without leading zeros; empty for zero.
    digits: String,
    scale: i64,
}

impl Decimal {
    /// Reads `-?digits[.digits][e[+-]digits]`; `None` if the text is not of this form or its scale
    /// does not fit Java's 32 bits (spec 01 §17.3).
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let scale = i64::try_from(fraction.len()).ok()? - exponent;
        i32::try_from(scale).ok()?;
        let significant = match whole.trim_start_matches('0') {
            "" => fraction.trim_start_matches('0').to_owned(),
            whole => [whole, fraction].concat(),
        };
        Some(Self {
            negative: negative && !significant.is_empty(),
            digits: significant,
            scale,
        })
    }

    /// The text `BigDecimal.toString` gives: `1.50`, `1E+3`, `1E-7` (spec 01 §17.3).
    pub fn to_java(&self) -> String {
        let digits = if self.digits.is_empty() {
            "0"
        } else {
            &self.digits
        };
        let count = self.count().max(1);
        let adjusted = count - 1 - self.scale;
        let sign = if self.negative { "-" } else { "" };
        if self.scale == 0 {
            return format!("{sign}{digits}");
        }
        if self.scale > 0 && adjusted >= -6 {
            return match usize::try_from(count - self.scale) {
                Ok(point) if point > 0 => {
                    format!("{sign}{}.{}", &digits[..point], &digits[point..])
                }
                _ => {
                    let zeros = usize::try_from(self.scale - count).unwrap_or(0);
                    format!("{sign}0.{}{digits}", "0".repeat(zeros))
                }
            };
        }
        let (head, tail) = digits.split_at(1);
        let dot = if tail.is_empty() { "" } else { "." };
        format!("{sign}{head}{dot}{tail}E{adjusted:+}")
    }

    fn count(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX)
    }

    /// The value as an integer, if it is one by its scale and fits 64 bits.
    fn to_integer(&self) -> Option<i64> {
        if self.digits.is_empty() && self.scale <= 0 {
            return Some(0);
        }
        let zeros = usize::try_from(-self.scale).ok()?;
        if self.digits.len() + zeros > 19 {
            return None;
        }
        let text = [&self.digits, "0".repeat(zeros).as_str()].concat();
        let magnitude: i64 = text.parse().ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

/// Numeric order: `1.50` equals `1.5` (spec 05 §4.2).
impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let order = sign(self).cmp(&sign(other));
        if order != Ordering::Equal || self.digits.is_empty() {
            return order;
        }
        let magnitude = (self.count() - self.scale)
            .cmp(&(other.count() - other.scale))
            .then_with(|| {
                let trimmed = |number: &'_ Self| number.digits.trim_end_matches('0').to_owned();
                trimmed(self).cmp(&trimmed(other))
            });
        if self.negative {
            magnitude.reverse()
        } else {
            magnitude
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Anything longer cannot fit a scale and would overflow here.
    if digits.trim_start_matches('0').len() > 12 {
        return None;
    }
    text.parse().ok()
}

/// The text Java's `Double.toString` gives: `6.0`, `1.23E8`, `1.0E-5` (spec 05 §4.2).
pub fn java_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        // Debug prints the shortest digits and always a fraction, plainly in this range.
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => text,
    }
}

/// The text Java's `Float.toString` gives: `1.1`, not the digits of the same number with 64 bits
/// (spec 05 §4.2).
pub fn java_float(number: f32) -> String {
    let shortest = number.to_string().parse();
    java_double(shortest.unwrap_or_else(|_| f64::from(number)))
}

/// The text a number has after Jayway read it from an object: integers plainly, fractions as
/// doubles unless that loses precision (spec 05 §4.3).
pub fn unwrapped(text: &str) -> Cow<'_, str> {
    let plain = text.strip_prefix('-').unwrap_or(text);
    if plain.len() <= 18 && plain != "0" && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let Some(decimal) = Decimal::parse(text) else {
        return Cow::Borrowed(text);
    };
    let printed = if decimal.scale <= 0 {
        match decimal.to_integer() {
            Some(integer) => integer.to_string(),
            None => decimal.to_java(),
        }
    } else {
        let double = java_double(text.parse().unwrap_or(f64::NAN));
        match Decimal::parse(&double) {
            Some(same) if same == decimal => double,
            _ => decimal.to_java(),
        }
    };
    if printed == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(printed)
    }
}
