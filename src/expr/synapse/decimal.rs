//! Decimal arithmetic on the texts of numbers, as `BigDecimal` does it (spec 05 §5.7).

use super::program::Operator;
use super::{Exception, Failure, Outcome};
use num_bigint::{BigInt, Sign};

/// Most characters, and largest exponent, that are calculated exactly: what lies beyond the range
/// of doubles is not worth numbers of a million digits.
const MAX_EXACT: usize = 1100;

/// `unscaled × 10^-scale`
struct Decimal {
    unscaled: BigInt,
    scale: i64,
}

impl Decimal {
    /// `None` when the text is too large for exact arithmetic.
    fn parse(text: &str) -> Outcome<Option<Decimal>> {
        let bad = || {
            Failure::thrown(
                Exception::NumberFormat,
                format!(
                    "\"{}\" is no decimal number",
                    text.chars().take(40).collect::<String>()
                ),
            )
        };
        if text.len() > MAX_EXACT {
            return Ok(None);
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (text, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let unscaled: BigInt = [whole, fraction].concat().parse().map_err(|_| bad())?;
        let exponent: i64 = match exponent {
            None => 0,
            Some(digits) => match digits.parse() {
                Ok(exponent) => exponent,
                Err(_) => return Ok(None),
            },
        };
        if exponent.unsigned_abs() > MAX_EXACT as u64 {
            return Ok(None);
        }
        let fraction = i64::try_from(fraction.len()).unwrap_or(0);
        Ok(Some(Decimal {
            unscaled,
            scale: fraction - exponent,
        }))
    }

    /// The unscaled value at a scale that is not smaller.
    fn at(&self, scale: i64) -> BigInt {
        &self.unscaled * power(scale - self.scale)
    }

    fn to_double(&self) -> f64 {
        format!("{}e{}", self.unscaled, -self.scale)
            .parse()
            .unwrap_or(f64::NAN)
    }
}

fn power(exponent: i64) -> BigInt {
    BigInt::from(10u8).pow(u32::try_from(exponent).unwrap_or(0))
}

/// Quotient rounded to the nearest integer, half away from zero.
fn divide_half_up(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let quotient = numerator / denominator;
    let rest = numerator % denominator;
    if rest.magnitude() * 2u8 < *denominator.magnitude() {
        return quotient;
    }
    let negative = (numerator.sign() == Sign::Minus) != (denominator.sign() == Sign::Minus);
    quotient + if negative { -1 } else { 1 }
}

/// `left operator right`; the divisor is not zero.
pub(super) fn apply(operator: Operator, left: &str, right: &str) -> Outcome<f64> {
    let (Some(a), Some(b)) = (Decimal::parse(left)?, Decimal::parse(right)?) else {
        let (a, b): (f64, f64) = (
            left.parse().unwrap_or(f64::NAN),
            right.parse().unwrap_or(f64::NAN),
        );
        return Ok(match operator {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            _ => a % b,
        });
    };
    let scale = a.scale.max(b.scale);
    let result = match operator {
        Operator::Add => Decimal {
            unscaled: a.at(scale) + b.at(scale),
            scale,
        },
        Operator::Subtract => Decimal {
            unscaled: a.at(scale) - b.at(scale),
            scale,
        },
        Operator::Multiply => Decimal {
            unscaled: a.unscaled * b.unscaled,
            scale: a.scale + b.scale,
        },
        // The quotient has the scale of the dividend: both at one scale are in the ratio wanted.
        Operator::Divide => {
            let (mut numerator, mut denominator) = (a.at(scale), b.at(scale));
            if a.scale >= 0 {
                numerator *= power(a.scale);
            } else {
                denominator *= power(-a.scale);
            }
            Decimal {
                unscaled: divide_half_up(&numerator, &denominator),
                scale: a.scale,
            }
        }
        _ => Decimal {
            unscaled: a.at(scale) % b.at(scale),
            scale,
        },
    };
    Ok(result.to_double())
}

/// A number at so many decimals, half away from zero.
pub(super) fn round(text: &str, decimals: i32) -> Outcome<f64> {
    let decimals = i64::from(decimals);
    match Decimal::parse(text)? {
        Some(number) if number.scale > decimals => Ok(Decimal {
            unscaled: divide_half_up(&number.unscaled, &power(number.scale - decimals)),
            scale: decimals,
        }
        .to_double()),
        _ => Ok(text.parse().unwrap_or(f64::NAN)),
    }
}
