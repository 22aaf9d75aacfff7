//! Values during evaluation, their numeric kinds and their text (spec 05 §5.4, §5.9).

use super::{Exception, Failure, Outcome};
use crate::expr::jsonpath::{Found, Origin};
use crate::expr::xpath::{self, MAX_RESULT, java_double, java_float};
use crate::json::number::parse_java_double;
use crate::json::{self, Value as Json};
use crate::message::Value;
use crate::message::value::XmlValue;
use crate::xml::{Document, NodeId, TooLong};
use std::borrow::Cow;
use std::sync::Arc;

/// A value. `'a` borrows from the program and the message.
#[derive(Clone, Debug)]
pub(super) enum Val<'a> {
    Null,
    /// A Java string as it is held: literals with their quotes.
    Text(Cow<'a, str>),
    Int(i32),
    Long(i64),
    Double(f64),
    Bool(bool),
    Json(Cow<'a, Json>, Spelling),
    Xml(&'a Document, NodeId),
    Nodes(Vec<xpath::Node<'a>>),
    /// A variable that holds a list.
    List(&'a Value),
}

/// How the reference holds a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Read from an object: a Java number.
    Parsed,
    /// Read from an array, or the document itself: still text, and a double whatever it says.
    Lazy,
}

impl<'a> Val<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Val<'a> {
        Val::Text(text.into())
    }

    pub(super) fn json(value: Json) -> Val<'a> {
        Val::Json(Cow::Owned(value), Spelling::Parsed)
    }

    /// Text of a header, property or parameter: a number when it reads as one.
    pub(super) fn of_text(text: Cow<'a, str>) -> Val<'a> {
        if let Some(n) = java_long(&text) {
            return match i32::try_from(n) {
                Ok(n) => Val::Int(n),
                Err(_) => Val::Long(n),
            };
        }
        match parse_java_double(&text) {
            Some(d) => Val::Double(d),
            None => Val::Text(text),
        }
    }

    /// What a path selected.
    pub(super) fn of_found(found: Found<'a>, origin: Origin) -> Val<'a> {
        let value = match found {
            Found::Many(_) => return Val::json(found.into_value()),
            Found::One(value) => value,
        };
        match (&*value, origin) {
            (Json::Null, _) => Val::Null,
            (_, Origin::Function) => Val::unwrapped(value),
            (_, Origin::Item | Origin::Root) => Val::Json(value, Spelling::Lazy),
            _ => Val::Json(value, Spelling::Parsed),
        }
    }

    /// Results of path functions are Java values.
    fn unwrapped(value: Cow<'a, Json>) -> Val<'a> {
        match &*value {
            Json::String(text) => Val::text(text.clone()),
            Json::Bool(b) => Val::Bool(*b),
            Json::Number(text) => match number_kind(text) {
                NumberKind::Int(n) => Val::Int(n),
                NumberKind::Long(n) => Val::Long(n),
                NumberKind::Double(d) => Val::Double(d),
                NumberKind::None => Val::Json(value, Spelling::Parsed),
            },
            _ => Val::Json(value, Spelling::Parsed),
        }
    }

    /// A variable.
    pub(super) fn of_variable(value: &'a Value) -> Outcome<Val<'a>> {
        Ok(match value {
            Value::String(text) => Val::Text(Cow::Borrowed(text)),
            Value::Boolean(b) => Val::Bool(*b),
            Value::Integer(n) => Val::Int(*n),
            Value::Long(n) => Val::Long(*n),
            Value::Double(d) => Val::Double(*d),
            Value::Short(_) | Value::Float(_) => {
                return Err(Failure::thrown(
                    Exception::ClassCast,
                    "a variable of type SHORT or FLOAT cannot be used in an expression",
                ));
            }
            Value::Xml(x) => Val::Xml(&x.document, x.node),
            Value::Json(json) if **json == Json::Null => Val::Null,
            Value::Json(json) => Val::Json(Cow::Borrowed(json), Spelling::Parsed),
            Value::Map(_) => Val::Null,
            Value::List(_) => Val::List(value),
        })
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    /// A Java or JSON string.
    pub(super) fn is_string(&self) -> bool {
        match self {
            Val::Text(_) => true,
            Val::Json(json, _) => matches!(**json, Json::String(_)),
            _ => false,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Val::Bool(b) => Some(*b),
            Val::Json(json, _) => match **json {
                Json::Bool(b) => Some(b),
                _ => None,
            },
            _ => None,
        }
    }

    /// The number text of a JSON number.
    fn number(&self) -> Option<(&str, Spelling)> {
        match self {
            Val::Json(json, spelling) => match &**json {
                Json::Number(text) => Some((text, *spelling)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Integer kind: 32 bits, and of parsed JSON numbers all negative ones, cut to 32 bits.
    pub(super) fn as_int(&self) -> Option<i32> {
        match (self, self.number()) {
            (Val::Int(n), _) => Some(*n),
            (_, Some((text, Spelling::Lazy))) => text.parse().ok(),
            (_, Some((text, Spelling::Parsed))) => match text.parse::<i64>() {
                // The reference narrows without a check.
                #[allow(clippy::cast_possible_truncation)]
                Ok(n) if n <= i64::from(i32::MAX) => Some(n as i32),
                _ => None,
            },
            _ => None,
        }
    }

    /// Long kind; `None` for what is of integer kind only.
    pub(super) fn is_long(&self) -> bool {
        match (self, self.number()) {
            (Val::Long(_), _) => true,
            (_, Some((text, Spelling::Lazy))) => text.parse::<i64>().is_ok(),
            (_, Some((text, Spelling::Parsed))) => {
                matches!(text.parse::<i64>(), Ok(n) if n > i64::from(i32::MAX))
            }
            _ => false,
        }
    }

    /// Double kind: of JSON numbers those with a fraction, and everything that is still text.
    pub(super) fn is_double(&self) -> bool {
        match (self, self.number()) {
            (Val::Double(_), _) => true,
            (_, Some((_, Spelling::Lazy))) => true,
            (_, Some((text, Spelling::Parsed))) => {
                matches!(number_kind(text), NumberKind::Double(_))
            }
            _ => false,
        }
    }

    pub(super) fn is_numeric(&self) -> bool {
        self.as_int().is_some() || self.is_double() || self.is_long()
    }

    /// Integer or double kind, which is what comparisons and most functions accept.
    pub(super) fn is_int_or_double(&self) -> bool {
        self.as_int().is_some() || self.is_double()
    }

    /// The value as 64 bits; only for numbers.
    pub(super) fn to_long(&self) -> i64 {
        match (self, self.number()) {
            (Val::Int(n), _) => i64::from(*n),
            (Val::Long(n), _) => *n,
            // Java narrows doubles the same way: towards zero, and saturating.
            #[allow(clippy::cast_possible_truncation)]
            (Val::Double(d), _) => *d as i64,
            #[allow(clippy::cast_possible_truncation)]
            (_, Some((text, _))) => text
                .parse()
                .unwrap_or_else(|_| text.parse::<f64>().unwrap_or(0.0) as i64),
            _ => 0,
        }
    }

    /// The value as a double; only for numbers.
    pub(super) fn to_double(&self) -> f64 {
        match (self, self.number()) {
            (Val::Int(n), _) => f64::from(*n),
            #[allow(clippy::cast_precision_loss)]
            (Val::Long(n), _) => *n as f64,
            (Val::Double(d), _) => *d,
            (_, Some((text, _))) => text.parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        }
    }

    /// The text (spec 05 §5.4 "as string"): strings without one outer pair of quotes. Null is empty.
    pub(super) fn to_text(&self) -> Outcome<Cow<'_, str>> {
        Ok(match self {
            Val::Null => Cow::Borrowed(""),
            Val::Text(text) => Cow::Borrowed(strip(text)?),
            Val::Int(n) => Cow::Owned(n.to_string()),
            Val::Long(n) => Cow::Owned(n.to_string()),
            Val::Double(d) => Cow::Owned(java_double(*d)),
            Val::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Val::Json(json, _) => match &**json {
                Json::String(text) => Cow::Borrowed(text),
                Json::Number(text) => Cow::Borrowed(text),
                other => Cow::Owned(json::to_text(other)),
            },
            Val::Xml(document, node) => {
                Cow::Owned(document.xml_within(*node, MAX_RESULT).map_err(too_long)?)
            }
            Val::Nodes(nodes) => Cow::Owned(list_text(nodes)?),
            Val::List(value) => value.text(),
        })
    }

    /// [`Val::to_text`] without a copy where there is one already.
    pub(super) fn into_text(self) -> Outcome<String> {
        match self {
            Val::Text(Cow::Owned(text)) => match strip(&text)?.len() == text.len() {
                true => Ok(text),
                false => Ok(strip(&text)?.to_owned()),
            },
            Val::Json(Cow::Owned(Json::String(text)), _) => Ok(text),
            other => other.to_text().map(Cow::into_owned),
        }
    }

    /// The value as a variable holds it: literals keep their quotes, null is the empty string
    /// (spec 05 §5.9).
    pub(super) fn into_value(self) -> Outcome<Value> {
        Ok(match self {
            Val::Null => Value::from(""),
            Val::Text(text) => Value::String(text.into_owned()),
            Val::Int(n) => Value::Integer(n),
            Val::Long(n) => Value::Long(n),
            Val::Double(d) => Value::Double(d),
            Val::Bool(b) => Value::Boolean(b),
            Val::Json(json, _) => Value::Json(Arc::new(json.into_owned())),
            Val::Xml(document, node) => Value::Xml(Arc::new(
                XmlValue::copy(document, node, MAX_RESULT).map_err(too_long)?,
            )),
            Val::List(value) => value.clone(),
            Val::Nodes(nodes) => {
                let elements = nodes.iter().filter(|n| n.is_element());
                let elements = elements.map(|n| (n.document, n.node));
                let mut copies = Value::copies(elements, MAX_RESULT)
                    .map_err(too_long)?
                    .into_iter();
                let mut values = Vec::with_capacity(nodes.len());
                let mut left = MAX_RESULT;
                for node in &nodes {
                    if node.is_element() {
                        values.extend(copies.next());
                        continue;
                    }
                    let text = node.string_value();
                    left = left
                        .checked_sub(text.len())
                        .ok_or_else(|| too_long(TooLong(MAX_RESULT)))?;
                    values.push(Value::String(text.into_owned()));
                }
                Value::List(Arc::new(values))
            }
        })
    }
}

/// A fault: what is this long is no result that could be used.
fn too_long(TooLong(most): TooLong) -> Failure {
    Failure::thrown(
        Exception::Synapse,
        format!("the result is larger than {most} bytes"),
    )
}

/// Strings lose one outer pair of quotes; a lone quote is where Java's `substring` throws.
pub(super) fn strip(text: &str) -> Outcome<&str> {
    for quote in ['"', '\''] {
        if text.starts_with(quote) && text.ends_with(quote) {
            return text
                .get(1..text.len() - 1)
                .filter(|_| text.len() > 1)
                .ok_or_else(|| {
                    Failure::thrown(
                        Exception::IndexOutOfBounds,
                        "begin 1, end 0, length 1: the text is a lone quote",
                    )
                });
        }
    }
    Ok(text)
}

fn list_text(nodes: &[xpath::Node<'_>]) -> Outcome<String> {
    let mut out = Vec::from(*b"[");
    for (at, node) in nodes.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        let left = MAX_RESULT.saturating_sub(out.len());
        let fits = match node.is_element() {
            true => node.document.write_up_to(node.node, &mut out, left),
            false => {
                out.extend_from_slice(node.string_value().as_bytes());
                out.len() <= MAX_RESULT
            }
        };
        if !fits {
            return Err(too_long(TooLong(MAX_RESULT)));
        }
    }
    out.push(b']');
    Ok(String::from_utf8(out).unwrap_or_default())
}

pub(super) enum NumberKind {
    Int(i32),
    Long(i64),
    Double(f64),
    /// Larger than a long, or more digits than a double keeps.
    None,
}

/// The Java number that Jayway makes of a number it read from an object.
pub(super) fn number_kind(text: &str) -> NumberKind {
    if let Ok(n) = text.parse::<i64>() {
        return match i32::try_from(n) {
            Ok(n) => NumberKind::Int(n),
            Err(_) => NumberKind::Long(n),
        };
    }
    // What does not survive a double is printed in another form.
    match text.parse::<f64>() {
        Ok(d) if d.is_finite() && json::number::java_double(d) == text => NumberKind::Double(d),
        _ => NumberKind::None,
    }
}

/// Java `Long.parseLong`.
pub(super) fn java_long(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        true => None,
        false => text.parse().ok(),
    }
}

/// The text of a property object, as Java's `toString` gives it.
pub(super) fn property_text(value: xpath::PropertyValue<'_>) -> Option<Cow<'_, str>> {
    use xpath::PropertyValue as P;
    Some(match value {
        P::Null => return None,
        P::String(text) | P::Json(text) => text,
        P::Boolean(b) => Cow::Borrowed(if b { "true" } else { "false" }),
        P::Integer(n) => Cow::Owned(n.to_string()),
        P::Float(x) => Cow::Owned(java_float(x)),
        P::Double(d) => Cow::Owned(java_double(d)),
        P::Xml(document, node) => Cow::Owned(document.to_xml(node)),
    })
}
