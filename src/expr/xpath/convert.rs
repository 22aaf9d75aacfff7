//! Conversions between the types: Jaxen's own for operators and functions, and the one of
//! Synapse that turns a result into the string a mediator sees.

use super::eval::Val;
use super::{EvalError, MAX_RESULT, Node, Scope};
use crate::json::number::parse_java_double;
use crate::xml::NodeKind;
use std::borrow::Cow;

/// `boolean()`: a node or an object of any other kind is true (spec 05 §3.7).
pub(super) fn truth(value: &Val<'_, '_>) -> bool {
    match value {
        Val::Nodes(set) => !set.nodes.is_empty(),
        Val::Str(s) => !s.is_empty(),
        Val::Num(n) => *n != 0.0 && !n.is_nan(),
        Val::Bool(b) => *b,
        Val::Int(i) => *i != 0,
        Val::Float(x) => *x != 0.0 && !x.is_nan(),
        Val::Json(_) => true,
        Val::Null => false,
    }
}

/// `number()` of anything but nodes: only a `Double` is a number, other numbers are NaN.
pub(super) fn scalar_number(value: &Val<'_, '_>) -> f64 {
    match value {
        Val::Num(n) => *n,
        Val::Str(s) => parse_number(s),
        Val::Bool(b) => f64::from(u8::from(*b)),
        _ => f64::NAN,
    }
}

/// `string()` of anything but nodes; objects Jaxen does not know are empty.
pub(super) fn scalar_text<'p>(value: Val<'p, '_>) -> Cow<'p, str> {
    match value {
        Val::Str(s) => s,
        Val::Num(n) => xpath_number(n).into(),
        Val::Bool(b) => Cow::Borrowed(if b { "true" } else { "false" }),
        Val::Int(i) => xpath_number(i as f64).into(),
        Val::Float(x) => xpath_number(f64::from(x)).into(),
        Val::Nodes(_) | Val::Json(_) | Val::Null => Cow::Borrowed(""),
    }
}

/// The position a predicate value asks for, when it is a number.
pub(super) fn as_position(value: &Val<'_, '_>) -> Option<i64> {
    match value {
        Val::Num(n) => Some(i64::from(*n as i32)),
        Val::Int(i) => Some(*i),
        Val::Float(x) => Some(i64::from(*x as i32)),
        _ => None,
    }
}

/// `round()`: half goes up. Java rounds to a `long`, so that there is no negative zero and large
/// numbers end at its limits.
pub(in crate::expr) fn round(number: f64) -> f64 {
    if number.is_nan() || number.is_infinite() {
        return number;
    }
    let floor = number.floor();
    let whole = floor as i64;
    if number - floor >= 0.5 {
        whole.saturating_add(1) as f64
    } else {
        whole as f64
    }
}

/// The characters `substring()` keeps, counted as Jaxen does: in wrapping 32-bit integers, so that
/// an endless length after the first character keeps nothing. `length` is `None` when it is not
/// given.
pub(super) fn substring(text: &str, start: f64, length: Option<f64>) -> &str {
    let count = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
    if start.is_nan() {
        return "";
    }
    let start = (round(start) as i32).wrapping_sub(1);
    let end = match length {
        None => count,
        Some(length) if length.is_nan() || round(length) < 0.0 => return "",
        Some(length) => start.wrapping_add(round(length) as i32),
    };
    let (start, end) = (start.max(0), end.min(count));
    if start > count || end < start {
        return "";
    }
    let byte = |index: i32| {
        let at = text.char_indices().nth(usize::try_from(index).unwrap_or(0));
        at.map_or(text.len(), |(at, _)| at)
    };
    text.get(byte(start)..byte(end)).unwrap_or_default()
}

/// Java `Double.valueOf`, NaN when it would fail (spec 05 §3.7).
pub(super) fn parse_number(text: &str) -> f64 {
    parse_java_double(text).unwrap_or(f64::NAN)
}

/// Java `String.trim`.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

/// Number formatting of `string()` and `concat()`: no exponent, at most 32 decimals.
pub(super) fn xpath_number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
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
    let text = number.to_string();
    match text.split_once('.') {
        Some((whole, decimals)) if decimals.len() > 32 => round_decimals(whole, decimals),
        _ => text,
    }
}

/// Keeps 32 decimals, rounding half to even.
fn round_decimals(whole: &str, decimals: &str) -> String {
    let (kept, dropped) = decimals.split_at_checked(32).unwrap_or((decimals, ""));
    let mut digits: Vec<u8> = format!("{whole}{kept}").into_bytes();
    let rest = dropped.trim_end_matches('0');
    let odd = digits.last().is_some_and(|d| d % 2 == 1);
    if rest > "5" || (rest == "5" && odd) {
        for digit in digits.iter_mut().rev().filter(|d| d.is_ascii_digit()) {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    let text = String::from_utf8(digits).unwrap_or_default();
    let (whole, decimals) = text.split_at_checked(whole.len()).unwrap_or((&text, ""));
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{decimals}")
    }
}

/// Java `Double.toString` (spec 05 §3.6).
pub fn java_double(number: f64) -> String {
    java_number(
        number == 0.0,
        number.is_sign_negative(),
        number.to_string(),
        format!("{number:e}"),
    )
}

/// Java `Float.toString` (spec 05 §3.6).
pub fn java_float(number: f32) -> String {
    java_number(
        number == 0.0,
        number.is_sign_negative(),
        number.to_string(),
        format!("{number:e}"),
    )
}

/// Java writes a plain decimal from 10^-3 up to 10^7 and an exponent otherwise, always with a
/// decimal point.
fn java_number(zero: bool, negative: bool, plain: String, scientific: String) -> String {
    let with_point = |digits: &str| {
        if digits.contains('.') {
            digits.into()
        } else {
            format!("{digits}.0")
        }
    };
    if zero {
        return if negative { "-0.0" } else { "0.0" }.to_owned();
    }
    match scientific.split_once('e') {
        None if plain == "inf" => "Infinity".to_owned(),
        None if plain == "-inf" => "-Infinity".to_owned(),
        None => plain,
        Some((digits, exponent)) => match exponent.parse::<i32>() {
            Ok(-3..=6) => with_point(&plain),
            _ => format!("{}E{exponent}", with_point(digits)),
        },
    }
}

/// The string of a result (spec 05 §3.6), which differs from XPath `string()`: all nodes count,
/// and elements may appear as XML. `None` is Java `null`.
pub(super) fn string_value_of(
    value: Val<'_, '_>,
    expression: &str,
    scope: &dyn Scope,
) -> Result<Option<String>, EvalError> {
    let set = match value {
        Val::Null => return Ok(None),
        Val::Num(n) => return Ok(Some(java_double(n))),
        Val::Int(i) => return Ok(Some(i.to_string())),
        Val::Float(x) => return Ok(Some(java_float(x))),
        Val::Json(text) => return Ok(Some(text.into_owned())),
        Val::Nodes(set) => set,
        other => return Ok(Some(scalar_text(other).into_owned())),
    };
    let mut out = String::new();
    if let [only] = set.nodes.as_slice() {
        append_only(*only, expression, scope, &mut out)?;
    } else {
        for node in set.nodes {
            append(node, true, scope, &mut out)?;
            // Elements that contain each other are many times as large as the document.
            if out.len() > MAX_RESULT {
                return Err(too_large());
            }
        }
    }
    Ok(Some(out))
}

pub(super) fn too_large() -> EvalError {
    EvalError::new(format!("the result is larger than {MAX_RESULT} bytes"))
}

fn append_only(
    node: Node<'_>,
    expression: &str,
    scope: &dyn Scope,
    out: &mut String,
) -> Result<(), EvalError> {
    let as_xml = expression.contains("node()");
    let is_text = node.attribute.is_none()
        && matches!(
            node.document.kind(node.node),
            NodeKind::Text | NodeKind::CData
        );
    if is_text
        && expression.ends_with("node()")
        && let Some(parent) = node.document.parent(node.node)
    {
        return append(Node::new(node.document, parent), true, scope, out);
    }
    append(node, as_xml, scope, out)
}

/// What a single element becomes for the text directly in it; `None` when it becomes XML.
pub(super) fn element_text(own: &str) -> Option<String> {
    let no_break_free = own.replace('\u{A0}', " ");
    let trimmed = java_trim(&no_break_free);
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn append(
    node: Node<'_>,
    as_xml: bool,
    scope: &dyn Scope,
    out: &mut String,
) -> Result<(), EvalError> {
    let document = node.document;
    if node.attribute.is_some() {
        if !super::axes::is_namespace(node) {
            out.push_str(&super::axes::string_value(node));
        }
        return Ok(());
    }
    match document.kind(node.node) {
        NodeKind::Text | NodeKind::CData => out.push_str(document.text(node.node)),
        NodeKind::Element => {
            let text = document.own_text(node.node);
            let no_break_free = text.replace('\u{A0}', " ");
            let trimmed = java_trim(&no_break_free);
            if trimmed.is_empty() {
                serialise(node, scope, out)?;
            } else if as_xml {
                let mut xml = String::new();
                serialise(node, scope, &mut xml)?;
                out.push_str(&xml.replace(&*text, trimmed));
            } else {
                out.push_str(trimmed);
            }
        }
        NodeKind::Document => {
            if let Some(root) = document.child_elements(node.node).next() {
                serialise(Node::new(document, root), scope, out)?;
            }
        }
        NodeKind::Comment | NodeKind::ProcessingInstruction => {}
    }
    Ok(())
}

fn serialise(node: Node<'_>, scope: &dyn Scope, out: &mut String) -> Result<(), EvalError> {
    let envelope = scope
        .envelope()
        .map(|(document, node)| Node::new(document, node));
    if envelope == Some(node) {
        out.push_str("<?xml version='1.0' encoding='utf-8'?>");
    }
    let left = MAX_RESULT.saturating_sub(out.len());
    let xml = node.document.xml_within(node.node, left);
    out.push_str(&xml.map_err(|_| too_large())?);
    Ok(())
}
