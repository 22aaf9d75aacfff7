//! Numbers as Java reads them from text.

/// Java `Double.parseDouble`: blanks around it, a sign, an exponent, hexadecimal, `Infinity`, `NaN` and a type suffix are
/// accepted. `None` where Java throws.
pub fn parse_java_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => match unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
            Some(hexadecimal) => hexadecimal_number(hexadecimal)?,
            None => decimal_number(unsigned)?,
        },
    };
    Some(match text.starts_with('-') {
        true => -number,
        false => number,
    })
}

/// A decimal number without sign.
fn decimal_number(text: &str) -> Option<f64> {
    let text = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let good = !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction);
    let good = good
        && exponent.is_none_or(|exponent| {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent)
        });
    match good {
        true => text.parse().ok(),
        false => None,
    }
}

/// What follows `0x` in a Java number: hexadecimal digits with or without a point, then a binary exponent, which may
/// not be missing.
fn hexadecimal_number(text: &str) -> Option<f64> {
    let text = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // What does not fit is far beyond what a number of a text of this length can be.
    let exponent = match exponent.parse::<i64>() {
        Ok(exponent) => exponent.clamp(-(1 << 40), 1 << 40),
        Err(_) if exponent.starts_with('-') => -(1 << 40),
        Err(_) => 1 << 40,
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // The first 60 bits that matter, and whether there is anything behind them.
    let mut bits = 0_u64;
    let mut scale = 0_i64;
    let mut rest = false;
    for (place, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let in_fraction = place >= whole.len();
        if bits >> 56 == 0 {
            bits = (bits << 4) | digit;
            scale -= if in_fraction { 4 } else { 0 };
        } else {
            rest |= digit != 0;
            scale += if in_fraction { 0 } else { 4 };
        }
    }
    Some(scaled(bits, rest, exponent.saturating_add(scale)))
}

/// `bits * 2^exponent`, rounded half to even once; `rest` says that there is more behind the bits.
fn scaled(bits: u64, rest: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let length = i64::from(64 - bits.leading_zeros());
    // The exponent of the first bit, and of the last one that a double can hold.
    let top = length - 1 + exponent;
    if top > 1023 {
        return f64::INFINITY;
    }
    let last = (top - 52).max(-1074);
    let drop = last - exponent;
    let (kept, last) = if drop <= 0 {
        (bits, exponent)
    } else if drop > 64 {
        (0, last)
    } else {
        let wide = u128::from(bits);
        let half = 1_u128 << (drop - 1);
        let below = wide & ((half << 1) - 1);
        let kept = u64::try_from(wide >> drop).unwrap_or(0);
        let up = below > half || (below == half && (rest || kept % 2 == 1));
        (kept + u64::from(up), last)
    };
    // Both factors and every step are exact: the bits are fewer than 54 here.
    let mut number = kept as f64;
    let mut left = last;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        number *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        left -= step;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::parse_java_double;

    /// What `java.lang.Double.parseDouble` gives (JLS 3.10.2, `Double.valueOf`).
    #[test]
    fn as_java_reads_them() {
        for (text, expected) in [
            ("1", 1.0),
            (" \t+1\n", 1.0),
            ("-1.5", -1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1e-3", 0.001),
            ("1d", 1.0),
            ("1.5F", 1.5),
            ("007", 7.0),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e400", f64::INFINITY),
            ("1e99999999999999999999", f64::INFINITY),
            ("1e-99999999999999999999", 0.0),
            ("0x1p3", 8.0),
            ("0X1P+3", 8.0),
            ("-0x1p-1", -0.5),
            ("0x1.8p1", 3.0),
            ("0x.8p0", 0.5),
            ("0x8.p0d", 8.0),
            ("0xAp0f", 10.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1p1024", f64::INFINITY),
            ("0x1.fffffffffffff8p1023", f64::INFINITY),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.00000001p-1075", f64::from_bits(1)),
            ("0x1p-1022", f64::MIN_POSITIVE),
            // Halfway cases: to even, unless there is more behind it.
            ("0x20000000000001p0", 9_007_199_254_740_992.0),
            ("0x20000000000003p0", 9_007_199_254_740_996.0),
            (
                "0x20000000000001.00000000000000000001p0",
                9_007_199_254_740_994.0,
            ),
            ("0x0p99999999999999999999", 0.0),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x1p-99999999999999999999", 0.0),
            ("0x0000000000000000000000000000000001p0", 1.0),
            ("0x0.0000000000000000000000000001p112", 1.0),
        ] {
            let number = parse_java_double(text);
            assert_eq!(number, Some(expected), "{text}");
        }
        for text in ["NaN", "+NaN", "-NaN"] {
            assert!(parse_java_double(text).is_some_and(f64::is_nan), "{text}");
        }
        for text in [
            "",
            " ",
            "+",
            "-",
            ".",
            "e3",
            "1e",
            "1e+",
            "1 2",
            "1_0",
            "1,0",
            "--1",
            "+-1",
            "inf",
            "infinity",
            "nan",
            "INFINITY",
            "Infinityd",
            "NaNd",
            "1l",
            "1dd",
            "0x",
            "0x1",
            "0x1d",
            "0xp3",
            "0x.p3",
            "0x1p",
            "0x1p+",
            "0x1pa",
            "0xgp1",
            "1p3",
            "0x1.1.1p1",
            "\u{A0}1",
            "\u{661}",
        ] {
            assert_eq!(parse_java_double(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hexadecimal_is_exact(bits: u64) {
            let number = f64::from_bits(bits & !(1 << 63));
            if number.is_finite() {
                let exponent = (bits >> 52) & 0x7FF;
                let mantissa = bits & ((1 << 52) - 1);
                let text = match exponent {
                    0 => format!("0x0.{mantissa:013x}p-1022"),
                    e => format!("0x1.{mantissa:013x}p{}", i64::try_from(e).unwrap() - 1023),
                };
                proptest::prop_assert_eq!(parse_java_double(&text), Some(number), "{}", text);
            }
        }
    }
}
