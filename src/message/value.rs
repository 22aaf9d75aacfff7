//! Property values and their types (spec 01 §1.7, §1.9).

use crate::json;
use crate::json::number::{java_double, java_float, parse_java_double};
use crate::xml::{Document, NodeId, TooLong};
use std::borrow::Cow;
use std::sync::Arc;

/// An XML value of a property: an element of a tree that nobody edits any more.
#[derive(Debug)]
pub struct XmlValue {
    /// The tree that holds the element.
    pub document: Document,
    /// The element.
    pub node: NodeId,
}

impl XmlValue {
    /// A node of a tree that was made for it.
    ///
    /// # Errors
    /// When it is longer than `most` bytes as XML: the text of a value is bounded.
    pub fn new(document: Document, node: NodeId, most: usize) -> Result<XmlValue, TooLong> {
        match document.is_longer_than(node, most) {
            true => Err(TooLong(most)),
            false => Ok(XmlValue { document, node }),
        }
    }

    /// A copy of a node of another tree.
    ///
    /// # Errors
    /// As [`XmlValue::new`].
    pub fn copy(from: &Document, node: NodeId, most: usize) -> Result<XmlValue, TooLong> {
        let mut document = Document::new();
        let node = document.import(from, node);
        let top = document.document_node();
        document.append_child(top, node);
        // Looking at the copy costs no more than making it did: the other tree may be much larger.
        XmlValue::new(document, node, most)
    }
}

/// The value of a property.
#[derive(Clone, Debug)]
pub enum Value {
    /// `STRING`, the default.
    String(String),
    /// `BOOLEAN`.
    Boolean(bool),
    /// `INTEGER`.
    Integer(i32),
    /// `SHORT`.
    Short(i16),
    /// `LONG`.
    Long(i64),
    /// `FLOAT`.
    Float(f32),
    /// `DOUBLE`.
    Double(f64),
    /// `OM`, or an inline element.
    Xml(Arc<XmlValue>),
    /// `JSON`.
    Json(Arc<json::Value>),
    /// A map, as a variable holds the outcome of a call or connector (spec 05 §5.5).
    Map(Arc<Vec<(String, Value)>>),
    /// A list, such as the nodes an XPath in a `${…}` selected (spec 05 §5.9).
    List(Arc<Vec<Value>>),
}

/// The `type` attribute of `property`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueType {
    String,
    Boolean,
    Integer,
    Short,
    Long,
    Float,
    Double,
    Om,
    Json,
}

impl ValueType {
    /// The names as they are written in artifacts.
    pub const NAMES: &'static [(&'static str, ValueType)] = &[
        ("STRING", ValueType::String),
        ("BOOLEAN", ValueType::Boolean),
        ("INTEGER", ValueType::Integer),
        ("LONG", ValueType::Long),
        ("SHORT", ValueType::Short),
        ("FLOAT", ValueType::Float),
        ("DOUBLE", ValueType::Double),
        ("OM", ValueType::Om),
        ("JSON", ValueType::Json),
    ];

    /// The type of a name; upper and lower case are the same.
    pub fn parse(name: &str) -> Option<ValueType> {
        Self::NAMES
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, t)| *t)
    }
}

impl Value {
    /// Converts text to a type as `property` does; `None` when the text does not fit.
    ///
    /// `INTEGER` and `SHORT` truncate a decimal number, since numbers come from XPath as doubles.
    pub fn convert(kind: ValueType, text: &str, limits: &crate::xml::Limits) -> Option<Value> {
        fn whole(text: &str) -> Option<i64> {
            if text.contains('.') {
                // Truncation is what the reference does with XPath numbers.
                #[allow(clippy::cast_possible_truncation)]
                parse_java_double(text).map(|d| d as i64)
            } else {
                text.parse().ok()
            }
        }
        Some(match kind {
            ValueType::String => Value::String(text.to_owned()),
            ValueType::Boolean => Value::Boolean(
                text.eq_ignore_ascii_case("true")
                    || text.eq_ignore_ascii_case("yes")
                    || text == "1",
            ),
            ValueType::Integer => Value::Integer(i32::try_from(whole(text)?).ok()?),
            ValueType::Short => Value::Short(i16::try_from(whole(text)?).ok()?),
            ValueType::Long => Value::Long(text.parse().ok()?),
            ValueType::Float => {
                let wide = parse_java_double(text)?;
                let plain = text.trim().trim_end_matches(['f', 'F', 'd', 'D']);
                // Hexadecimal has no other way.
                #[allow(clippy::cast_possible_truncation)]
                Value::Float(plain.parse().unwrap_or(wide as f32))
            }
            ValueType::Double => Value::Double(parse_java_double(text)?),
            ValueType::Om => Value::xml(text, limits)?,
            ValueType::Json => Value::Json(Arc::new(
                json::parse_lenient(text, &json::Limits::default())
                    .unwrap_or_else(|_| json::Value::String(text.to_owned())),
            )),
        })
    }

    /// Copies of elements, each as a value of its own.
    ///
    /// # Errors
    /// When all of them together are longer than `most` bytes as XML.
    pub fn copies<'d>(
        nodes: impl Iterator<Item = (&'d Document, NodeId)>,
        most: usize,
    ) -> Result<Vec<Value>, TooLong> {
        let mut values = Vec::new();
        // What they are at most, and once that is too much, what they are.
        let mut bound = 0_usize;
        let mut written = None;
        for (document, node) in nodes {
            let value = XmlValue::copy(document, node, most)?;
            bound = bound.saturating_add(value.document.longest_text());
            values.push(Value::Xml(Arc::new(value)));
            if bound > most {
                let from = match written {
                    None => 0,
                    Some(_) => values.len() - 1,
                };
                let mut sum: usize = written.unwrap_or(0);
                for value in values.iter().skip(from) {
                    if let Value::Xml(xml) = value {
                        let left = most.saturating_sub(sum);
                        let text = xml.document.xml_within(xml.node, left);
                        sum += text.map_err(|_| TooLong(most))?.len();
                    }
                }
                written = Some(sum);
            }
        }
        Ok(values)
    }

    /// Parses text as one XML element.
    pub fn xml(text: &str, limits: &crate::xml::Limits) -> Option<Value> {
        let input = bytes::Bytes::copy_from_slice(text.as_bytes());
        let document = Document::parse(input, limits).ok()?;
        let node = document.root_element()?;
        Some(Value::Xml(Arc::new(XmlValue { document, node })))
    }

    /// The text of the value, as it is logged and sent.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Value::String(s) => Cow::Borrowed(s),
            Value::Boolean(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Value::Integer(n) => Cow::Owned(n.to_string()),
            Value::Short(n) => Cow::Owned(n.to_string()),
            Value::Long(n) => Cow::Owned(n.to_string()),
            Value::Float(n) => Cow::Owned(java_float(*n)),
            Value::Double(n) => Cow::Owned(java_double(*n)),
            Value::Xml(x) => Cow::Owned(x.document.to_xml(x.node)),
            Value::Json(j) => {
                let mut out = Vec::new();
                json::write(j, &mut out);
                Cow::Owned(String::from_utf8_lossy(&out).into_owned())
            }
            // As Java's collections print themselves.
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}={}", value.text()))
                    .collect();
                Cow::Owned(format!("{{{}}}", entries.join(", ")))
            }
            Value::List(items) => {
                let items: Vec<Cow<'_, str>> = items.iter().map(Value::text).collect();
                Cow::Owned(format!("[{}]", items.join(", ")))
            }
        }
    }

    /// The text when the value is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// Whether it means true: Boolean true, or the text `true` in any case. Where the reference
    /// throws on one of the two types, both are accepted (spec 01 §1.9).
    pub fn is_true(&self) -> bool {
        match self {
            Value::Boolean(b) => *b,
            Value::String(s) => s.trim().eq_ignore_ascii_case("true"),
            _ => false,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is a number is what Java says.
    #[test]
    fn what_is_no_number_does_not_fit() {
        for text in ["inf", "nan", "infinity", "1_0", "0x10", ""] {
            for kind in [ValueType::Float, ValueType::Double] {
                let value = Value::convert(kind, text, &crate::xml::Limits::default());
                assert!(value.is_none(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn numbers_are_printed_as_java_does() {
        let shown = |kind, text| Value::convert(kind, text, &crate::xml::Limits::default());
        for (kind, text, expected) in [
            (ValueType::Float, "1.1", "1.1"),
            (ValueType::Float, "3", "3.0"),
            (ValueType::Float, "1e10", "1.0E10"),
            (ValueType::Double, "1.1", "1.1"),
            (ValueType::Double, "-0", "-0.0"),
            (ValueType::Double, "12345678", "1.2345678E7"),
            (ValueType::Double, "0x1p3", "8.0"),
            (ValueType::Double, " 1.5d ", "1.5"),
            (ValueType::Float, "1.1f", "1.1"),
            (ValueType::Float, "0x1p-1", "0.5"),
            (ValueType::Float, "-Infinity", "-Infinity"),
        ] {
            assert_eq!(
                shown(kind, text).unwrap().text(),
                expected,
                "{kind:?} {text}"
            );
        }
    }
}
