//! Arithmetic, comparison and logic (spec 05 §5.7).

use super::program::Operator;
use super::strings::bounded;
use super::value::Val;
use super::{Failure, Outcome, decimal};
use crate::expr::xpath::java_double;

/// `left operator right`.
pub(super) fn apply<'a>(operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
    match operator {
        Operator::Equal => Ok(Val::Bool(equal(left, right)?)),
        Operator::NotEqual => Ok(Val::Bool(!equal(left, right)?)),
        _ if left.is_null() || right.is_null() => Err(Failure::evaluation(format!(
            "Null inputs for {} operation: {} and {}",
            operator.name(),
            shown(left),
            shown(right)
        ))),
        Operator::Add => add(left, right),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
            arithmetic(operator, left, right)
        }
        Operator::Less => compare(left, right, |a, b| a < b),
        Operator::LessEqual => compare(left, right, |a, b| a <= b),
        Operator::Greater => compare(left, right, |a, b| a > b),
        Operator::GreaterEqual => compare(left, right, |a, b| a >= b),
    }
}

/// A value in a message; long ones are cut.
pub(super) fn shown(value: &Val<'_>) -> String {
    const MAX: usize = 200;
    if value.is_null() {
        return "null".to_owned();
    }
    let text = match value.to_text() {
        Ok(text) => text.into_owned(),
        Err(_) => String::new(),
    };
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Equality of texts; null equals null only.
fn equal(left: &Val<'_>, right: &Val<'_>) -> Outcome<bool> {
    match (left.is_null(), right.is_null()) {
        (true, true) => Ok(true),
        (false, false) => Ok(left.to_text()? == right.to_text()?),
        _ => Ok(false),
    }
}

fn compare<'a>(left: &Val<'a>, right: &Val<'a>, accept: fn(f64, f64) -> bool) -> Outcome<Val<'a>> {
    if left.is_int_or_double() && right.is_int_or_double() {
        return Ok(Val::Bool(accept(number(left), number(right))));
    }
    Err(Failure::evaluation(format!(
        "Comparison between non-numeric values: {} and {}",
        shown(left),
        shown(right)
    )))
}

/// As a double; what is of integer kind has been cut to 32 bits only where it is used as one.
fn number(value: &Val<'_>) -> f64 {
    value.to_double()
}

fn add<'a>(left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
    if left.is_numeric() && right.is_numeric() {
        if left.is_double() || right.is_double() {
            let sum = decimal::apply(Operator::Add, &left.to_text()?, &right.to_text()?)?;
            return Ok(Val::Double(sum));
        }
        return Ok(match (left.as_int(), right.as_int()) {
            (Some(a), Some(b)) => match a.checked_add(b) {
                Some(sum) => Val::Int(sum),
                None => Val::Long(i64::from(a) + i64::from(b)),
            },
            _ => Val::Long(left.to_long().wrapping_add(right.to_long())),
        });
    }
    if left.is_string() && right.is_string() {
        let (left, right) = (left.to_text()?, right.to_text()?);
        bounded(left.len().saturating_add(right.len()))?;
        return Ok(Val::text([&*left, &*right].concat()));
    }
    Err(Failure::evaluation(format!(
        "Addition between non-numeric values: {} and {}",
        shown(left),
        shown(right)
    )))
}

fn arithmetic<'a>(operator: Operator, left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
    if !left.is_numeric() || !right.is_numeric() {
        return Err(Failure::evaluation(format!(
            "Arithmetic operation: {} between non-numeric values: {} and {}",
            operator.name(),
            shown(left),
            shown(right)
        )));
    }
    let zero = || {
        Failure::evaluation(match operator {
            Operator::Divide => "Division by zero",
            _ => "Modulo by zero",
        })
    };
    let divides = matches!(operator, Operator::Divide | Operator::Modulo);
    if left.is_double() || right.is_double() {
        let (a, b) = (left.to_double(), right.to_double());
        if divides && b == 0.0 {
            return Err(zero());
        }
        let result = decimal::apply(operator, &java_double(a), &java_double(b))?;
        return Ok(Val::Double(result));
    }
    match (left.as_int(), right.as_int()) {
        (Some(a), Some(b)) => {
            if divides && b == 0 {
                return Err(zero());
            }
            Ok(match operator {
                Operator::Subtract => Val::Int(a.wrapping_sub(b)),
                Operator::Multiply => match a.checked_mul(b) {
                    Some(product) => Val::Int(product),
                    None => Val::Long(i64::from(a) * i64::from(b)),
                },
                Operator::Divide if a.wrapping_rem(b) == 0 => Val::Int(a.wrapping_div(b)),
                Operator::Divide => Val::Double(f64::from(a) / f64::from(b)),
                _ => Val::Int(a.wrapping_rem(b)),
            })
        }
        _ => {
            let (a, b) = (left.to_long(), right.to_long());
            if divides && b == 0 {
                return Err(zero());
            }
            Ok(match operator {
                Operator::Subtract => Val::Long(a.wrapping_sub(b)),
                Operator::Multiply => Val::Long(a.wrapping_mul(b)),
                #[allow(clippy::cast_precision_loss)]
                Operator::Divide => Val::Double(a as f64 / b as f64),
                _ => Val::Long(a.wrapping_rem(b)),
            })
        }
    }
}
