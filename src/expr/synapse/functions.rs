//! The functions (spec 05 §5.8): one table, and those that deal with numbers and types.

use super::datetime::Pattern;
use super::decimal;
use super::eval::Evaluator;
use super::operators::shown;
use super::path::loose_json;
use super::program::{Call, Node, Prepared};
use super::value::Val;
use super::{Exception, Failure, Outcome, strings, xml};
use crate::expr::xpath::{Namespaces, java_double, round_half_up};
use crate::json::Value as Json;
use crate::json::number::parse_java_double;
use std::fmt;
use std::ops::RangeInclusive;

type Run = for<'a> fn(Evaluator<'a>, &'a Call) -> Outcome<Val<'a>>;

/// One function.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) arity: RangeInclusive<usize>,
    /// A path behind the call is applied to the result.
    pub(super) has_path: bool,
    /// Why it cannot be used here.
    pub(super) refused: Option<&'static str>,
    pub(super) run: Run,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn row(name: &'static str, arity: RangeInclusive<usize>, run: Run) -> Row {
    Row {
        name,
        arity,
        has_path: false,
        refused: None,
        run,
    }
}

const fn with_path(row: Row) -> Row {
    Row {
        has_path: true,
        ..row
    }
}

const NO_VAULT: &str = "secrets of a vault are not supported yet";

const fn refused(name: &'static str, arity: RangeInclusive<usize>, why: &'static str) -> Row {
    Row {
        name,
        arity,
        has_path: false,
        refused: Some(why),
        run: |_, call| {
            Err(Failure::thrown(
                Exception::Synapse,
                format!("{}() is not supported", call.row.name),
            ))
        },
    }
}

/// All functions, by name.
pub(super) static TABLE: &[Row] = &[
    row("abs", 1..=1, abs),
    with_path(row("array", 1..=1, array)),
    row("base64decode", 1..=1, strings::base64_decode),
    row("base64encode", 1..=2, strings::base64_encode),
    row("boolean", 1..=1, boolean),
    row("ceil", 1..=1, ceil),
    row("charAt", 2..=2, strings::char_at),
    row("contains", 2..=2, strings::contains),
    row("endsWith", 2..=2, strings::ends_with),
    row("exists", 1..=1, exists),
    row("float", 1..=1, float),
    row("floor", 1..=1, floor),
    row("formatDateTime", 2..=3, strings::format_date_time),
    refused("hashicorp-vault", 2..=3, NO_VAULT),
    row("indexOf", 2..=3, strings::index_of),
    row("integer", 1..=1, integer),
    row("isArray", 1..=1, is_array),
    row("isNumber", 1..=1, is_number),
    row("isObject", 1..=1, is_object),
    row("isString", 1..=1, is_string),
    row("length", 1..=1, strings::length),
    row("log", 1..=2, log),
    row("not", 1..=1, not),
    row("now", 0..=0, now),
    with_path(row("object", 1..=1, object)),
    row("pow", 2..=2, pow),
    with_path(row("registry", 1..=1, registry)),
    row("replace", 3..=3, strings::replace),
    row("round", 1..=2, round),
    row("split", 2..=2, strings::split),
    row("sqrt", 1..=1, sqrt),
    row("startsWith", 2..=2, strings::starts_with),
    row("string", 1..=1, string),
    row("subString", 2..=3, strings::substring),
    row("toLower", 1..=1, strings::to_lower),
    row("toUpper", 1..=1, strings::to_upper),
    row("trim", 1..=1, strings::trim),
    row("urlDecode", 1..=1, strings::url_decode),
    row("urlEncode", 1..=2, strings::url_encode),
    refused("wso2-vault", 1..=1, NO_VAULT),
    row("xpath", 1..=2, xml::xpath),
];

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// Compiles what can be compiled of literal arguments.
pub(super) fn prepare(row: &Row, args: &[Node], namespaces: &Namespaces) -> Prepared {
    let literal = |at: usize| match args.get(at) {
        Some(Node::Constant(value)) if value.is_string() => {
            value.to_text().ok().map(std::borrow::Cow::into_owned)
        }
        _ => None,
    };
    match (row.name, args.len()) {
        ("xpath", 1) => literal(0).map_or(Prepared::Nothing, |path| {
            Prepared::XPath(xml::compile(&path, namespaces))
        }),
        ("xpath", 2) => match (literal(0), literal(1)) {
            (Some(path), Some(variable)) => {
                Prepared::XPath(xml::compile_on(&path, &variable, namespaces))
            }
            _ => Prepared::Nothing,
        },
        ("split", 2) => literal(1).map_or(Prepared::Nothing, |pattern| {
            Prepared::Regex(strings::regex(&pattern))
        }),
        ("formatDateTime", 2 | 3) => {
            let patterns: Option<Vec<_>> = (1..args.len())
                .map(|at| literal(at).map(|pattern| Pattern::compile(&pattern)))
                .collect();
            patterns.map_or(Prepared::Nothing, Prepared::Patterns)
        }
        _ => Prepared::Nothing,
    }
}

/// The only argument.
fn one<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    Ok(ev.arguments(call)?.pop().unwrap_or(Val::Null))
}

/// Both arguments.
fn two<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<(Val<'a>, Val<'a>)> {
    let mut values = ev.arguments(call)?;
    let second = values.pop().unwrap_or(Val::Null);
    Ok((values.pop().unwrap_or(Val::Null), second))
}

/// "Invalid argument provided for x function".
pub(super) fn invalid(call: &Call) -> Failure {
    Failure::evaluation(format!(
        "Invalid argument provided for {} function",
        call.row.name
    ))
}

fn abs<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    match value.as_int() {
        Some(n) => Ok(Val::Int(n.wrapping_abs())),
        None if value.is_double() => Ok(Val::Double(value.to_double().abs())),
        None => Err(invalid(call)),
    }
}

fn ceil<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    whole(ev, call, f64::ceil)
}

fn floor<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    whole(ev, call, f64::floor)
}

fn whole<'a>(ev: Evaluator<'a>, call: &'a Call, to: fn(f64) -> f64) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    match value.as_int() {
        Some(n) => Ok(Val::Int(n)),
        None if value.is_double() => Ok(Val::Double(to(value.to_double()))),
        None => Err(invalid(call)),
    }
}

fn round<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let mut values = ev.arguments(call)?;
    let decimals = (values.len() > 1).then(|| values.pop()).flatten();
    let value = values.pop().unwrap_or(Val::Null);
    match decimals {
        None if value.is_double() => {
            // Java: `(int) Math.round(d)`, which saturates to 64 bits and then cuts to 32.
            #[allow(clippy::cast_possible_truncation)]
            let rounded = round_half_up(value.to_double()) as i64 as i32;
            Ok(Val::Int(rounded))
        }
        None => value.as_int().map(Val::Int).ok_or_else(|| invalid(call)),
        Some(decimals) => match decimals.as_int() {
            Some(n) if n > 0 && value.is_double() => {
                let number = value.to_double();
                if !number.is_finite() {
                    return Err(Failure::thrown(
                        Exception::NumberFormat,
                        "NaN and infinity cannot be rounded",
                    ));
                }
                Ok(Val::Double(decimal::round(&java_double(number), n)?))
            }
            _ if value.as_int().is_some() || value.is_long() => Ok(value),
            _ => Err(invalid(call)),
        },
    }
}

fn sqrt<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    Ok(Val::Double(number(&value, call)?.sqrt()))
}

fn number(value: &Val<'_>, call: &Call) -> Outcome<f64> {
    match value.as_int() {
        Some(n) => Ok(f64::from(n)),
        None if value.is_double() => Ok(value.to_double()),
        None => Err(invalid(call)),
    }
}

fn pow<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let (base, exponent) = two(ev, call)?;
    let result = number(&base, call)?.powf(number(&exponent, call)?);
    Ok(Val::Double(result))
}

/// The base is 10, not e.
fn log<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let values = ev.arguments(call)?;
    let mut numbers = values.iter().map(|value| number(value, call));
    let value = numbers.next().unwrap_or(Ok(f64::NAN))?;
    Ok(Val::Double(match numbers.next() {
        None => value.log10(),
        Some(base) => value.ln() / base?.ln(),
    }))
}

fn is_string<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    Ok(Val::Bool(one(ev, call)?.is_string()))
}

fn is_number<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    Ok(Val::Bool(one(ev, call)?.is_int_or_double()))
}

fn is_array<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    Ok(Val::Bool(
        container(&value, |j| matches!(j, Json::Array(_))).is_some(),
    ))
}

fn is_object<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    Ok(Val::Bool(
        container(&value, |j| matches!(j, Json::Object(_))).is_some(),
    ))
}

/// A JSON value of a kind, or one in a text; `Some(None)` when the value is it already.
fn container(value: &Val<'_>, wanted: fn(&Json) -> bool) -> Option<Option<Json>> {
    match value {
        Val::Json(json, _) if wanted(json) => Some(None),
        _ => loose_json(value).filter(wanted).map(Some),
    }
}

fn object<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    to_container(ev, call, |j| matches!(j, Json::Object(_)), "object")
}

fn array<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    to_container(ev, call, |j| matches!(j, Json::Array(_)), "array")
}

fn to_container<'a>(
    ev: Evaluator<'a>,
    call: &'a Call,
    wanted: fn(&Json) -> bool,
    name: &str,
) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    match container(&value, wanted) {
        Some(None) => Ok(value),
        Some(Some(json)) => Ok(Val::json(json)),
        None => Err(Failure::evaluation(format!(
            "Argument cannot be converted to a JSON {name}"
        ))),
    }
}

fn string<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    one(ev, call)?.into_text().map(Val::text)
}

fn integer<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    if let Some(n) = value.as_int() {
        return Ok(Val::Int(n));
    }
    let text = value.to_text()?;
    super::value::java_long(&text)
        .and_then(|n| i32::try_from(n).ok())
        .map(Val::Int)
        .ok_or_else(|| Failure::evaluation("Invalid argument provided for integer conversion"))
}

fn float<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    if value.is_double() {
        return Ok(Val::Double(value.to_double()));
    }
    parse_java_double(&value.to_text()?)
        .map(Val::Double)
        .ok_or_else(|| Failure::evaluation("Invalid argument provided for float conversion"))
}

fn boolean<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    Ok(Val::Bool(match value.as_bool() {
        Some(b) => b,
        None => value.to_text()?.eq_ignore_ascii_case("true"),
    }))
}

fn not<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let value = one(ev, call)?;
    value.as_bool().map(|b| Val::Bool(!b)).ok_or_else(|| {
        Failure::evaluation(format!(
            "Value : {} cannot be converted to boolean",
            shown(&value)
        ))
    })
}

/// Only evaluation failures count as "does not exist"; anything else escapes.
fn exists<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let [argument] = call.args.as_slice() else {
        return ev.arguments(call).map(|_| Val::Null);
    };
    match ev.eval(argument) {
        Ok(value) => Ok(Val::Bool(!value.is_null())),
        Err(Failure::Evaluation(_)) => Ok(Val::Bool(false)),
        Err(thrown) => Err(thrown),
    }
}

fn now<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    ev.arguments(call)?;
    Ok(Val::Long(ev.scope.now_millis()))
}

fn registry<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let key = one(ev, call)?;
    let property = match &call.property {
        None => None,
        Some(node) => {
            let value = ev.eval(node)?;
            if value.is_null() {
                return Err(Failure::evaluation(
                    "Null argument1 value provided for the function: registry",
                ));
            }
            Some(value.into_text()?)
        }
    };
    if !key.is_string() {
        return Err(Failure::thrown(
            Exception::NullPointer,
            "the key of a registry resource is a text",
        ));
    }
    let key = key.into_text()?;
    match ev.scope.resource(&key, property.as_deref()) {
        Some(text) => Ok(Val::Text(text)),
        None => Err(Failure::evaluation(match property {
            None => format!("Could not find the registry resource: {key}"),
            Some(property) => {
                format!("Could not find the property: {property} in the registry resource: {key}")
            }
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|a, b| a.name.to_lowercase() < b.name.to_lowercase()));
    }
}
