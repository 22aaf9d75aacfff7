//! What a value becomes where a format has a placeholder (spec 03 §14.2, spec 05 §6.3).

use super::Target;
use crate::expr::{Expr, Scope};
use crate::json::{self, Value as Json};
use crate::mediator::content::{as_xml, write_children};
use crate::message::{BodyLimits, Fault, Value as Property};
use crate::xml::{Document, Limits};
use bytes::Bytes;
use std::borrow::Cow;

/// An `<arg>`.
#[derive(Debug)]
pub(super) enum Argument {
    /// `value`, already escaped for XML unless it is XML.
    Literal { text: String, xml: bool },
    /// `expression`.
    Expression {
        expression: Expr,
        /// `literal="true"`.
        literal: bool,
    },
}

/// The value of an argument for one message.
pub(super) struct Value<'a> {
    text: Cow<'a, str>,
    literal: bool,
    /// `value="…"`, which knows what it is.
    written: Option<bool>,
    json: bool,
}

impl Argument {
    /// The argument of a `value` attribute.
    pub(super) fn literal(text: &str) -> Argument {
        match as_xml(text, &Limits::default()) {
            Some(xml) => Argument::Literal {
                text: xml.to_owned(),
                xml: true,
            },
            None => {
                let mut escaped = Vec::new();
                escape_xml(text, &mut escaped);
                Argument::Literal {
                    text: String::from_utf8_lossy(&escaped).into_owned(),
                    xml: false,
                }
            }
        }
    }

    pub(super) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value<'_>, Fault> {
        Ok(match self {
            Argument::Literal { text, xml } => Value {
                text: Cow::Borrowed(text),
                literal: false,
                written: Some(*xml),
                json: false,
            },
            Argument::Expression {
                expression,
                literal,
            } => Value {
                text: Cow::Owned(expression.string(scope)?.unwrap_or_default()),
                literal: *literal,
                written: None,
                json: matches!(expression, Expr::Json { .. } | Expr::JsonFrom { .. }),
            },
        })
    }
}

impl Value<'_> {
    /// The text, for other kinds of templates.
    pub(super) fn into_text(self) -> String {
        self.text.into_owned()
    }
}

/// Inserts values into one payload.
pub(super) struct Insert<'a> {
    target: Target,
    /// `QUOTE_STRING_IN_PAYLOAD_FACTORY_JSON`.
    quote: bool,
    limits: &'a BodyLimits,
}

impl<'a> Insert<'a> {
    pub(super) fn new(target: Target, scope: &Scope<'_>, limits: &'a BodyLimits) -> Insert<'a> {
        let quote = scope
            .message
            .properties
            .str("QUOTE_STRING_IN_PAYLOAD_FACTORY_JSON")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Insert {
            target,
            quote,
            limits,
        }
    }

    /// An argument at `$n`, with quotes around it in the format or not.
    pub(super) fn argument(
        &self,
        value: &Value<'_>,
        quoted: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let text = &*value.text;
        let xml = match value.written {
            Some(true) => Some(text),
            Some(false) => None,
            None if self.target == Target::Text => None,
            None => as_xml(text, &self.limits.xml),
        };
        match self.target {
            Target::Text => out.extend_from_slice(text.as_bytes()),
            Target::Xml => match xml {
                Some(xml) => out.extend_from_slice(xml.as_bytes()),
                None if value.written.is_some() => out.extend_from_slice(text.as_bytes()),
                None if value.json && !value.literal && is_container(text) => {
                    match json::parse(text.as_bytes(), &self.limits.json) {
                        Ok(json) => self.children(&json, out)?,
                        Err(_) => escape_xml(text, out),
                    }
                }
                None => escape_xml(text, out),
            },
            Target::Json => match xml {
                Some(xml) if !value.literal => self.xml_as_json(xml, out)?,
                None if value.written.is_none() && !value.literal && is_container(text) => {
                    out.extend_from_slice(text.as_bytes());
                }
                _ => self.json_text(text, quoted, out),
            },
        }
        Ok(())
    }

    fn json_text(&self, text: &str, quoted: bool, out: &mut Vec<u8>) {
        let quote = self.quote
            && !quoted
            && !is_container(text)
            && !matches!(text.trim(), "true" | "false" | "null")
            && !is_number(text.trim());
        if quote {
            out.push(b'"');
        }
        escape_json(text, out);
        if quote {
            out.push(b'"');
        }
    }

    /// The typed result of an inline `${…}`.
    pub(super) fn object(
        &self,
        value: &Property,
        quoted: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match value {
            Property::Json(json) => self.json(json, quoted, out),
            Property::Integer(_)
            | Property::Short(_)
            | Property::Long(_)
            | Property::Float(_)
            | Property::Double(_)
            | Property::Boolean(_) => {
                wrapped(quoted, out, |out| {
                    out.extend_from_slice(value.text().as_bytes());
                });
                Ok(())
            }
            other => self.plain(&other.text(), quoted, out),
        }
    }

    fn json(&self, value: &Json, quoted: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        match (self.target, value) {
            (_, Json::Null) => wrapped(quoted, out, |_| {}),
            (_, Json::Bool(_) | Json::Number(_)) => {
                wrapped(quoted, out, |out| json::write(value, out));
            }
            (Target::Json, Json::String(_)) if quoted => json::write(value, out),
            (Target::Xml, Json::String(text)) => escape_xml(&json_escaped(text), out),
            (_, Json::String(text)) => out.extend_from_slice(json_escaped(text).as_bytes()),
            (Target::Xml, _) => self.children(value, out)?,
            (Target::Text, _) => json::write(value, out),
            (Target::Json, _) if quoted => {
                json::write(&Json::String(json::to_text(value)), out);
            }
            (Target::Json, _) => write_gson(value, out),
        }
        Ok(())
    }

    /// A Java string at an inline `${…}`.
    pub(super) fn plain(&self, text: &str, quoted: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.target {
            Target::Text => out.extend_from_slice(text.as_bytes()),
            Target::Xml => match as_xml(text, &self.limits.xml) {
                Some(xml) => out.extend_from_slice(xml.as_bytes()),
                None => escape_xml(text, out),
            },
            Target::Json => match as_xml(text, &self.limits.xml) {
                Some(_) if quoted => json::write(&Json::String(text.to_owned()), out),
                Some(xml) => self.xml_as_json(xml, out)?,
                None => wrapped(quoted, out, |out| keep_escapes(text, out)),
            },
        }
        Ok(())
    }

    /// JSON as the children that its XML form has.
    fn children(&self, value: &Json, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut document = Document::new();
        let top = document.document_node();
        let root = json::xml::value_to_xml(value, &mut document, top, &self.limits.conversion)
            .map_err(|e| {
                let mut fault = Fault::mediation(
                    "Error converting JSON to XML, please check your JSON Path expressions return valid JSON: ",
                );
                fault.detail = Some(format!("{}{e}", fault.message));
                fault
            })?;
        write_children(&document, root, out);
        Ok(())
    }

    fn xml_as_json(&self, xml: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let wrapped = Bytes::from(format!("<jsonObject>{xml}</jsonObject>"));
        let failed = |cause: String| {
            let mut fault = Fault::mediation("Error converting XML to JSON");
            fault.detail = Some(format!("{}: {cause}", fault.message));
            fault
        };
        let document =
            Document::parse(wrapped, &self.limits.xml).map_err(|e| failed(e.to_string()))?;
        let Some(root) = document.root_element() else {
            return Ok(());
        };
        let value = json::xml::to_value(&document, root, &self.limits.conversion)
            .map_err(|e| failed(e.to_string()))?;
        json::write(&value, out);
        Ok(())
    }
}

fn wrapped(quoted: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if quoted {
        out.push(b'"');
    }
    write(out);
    if quoted {
        out.push(b'"');
    }
}

fn is_container(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Whether a text is a JSON number.
fn is_number(text: &str) -> bool {
    !text.starts_with(['"', '{', '[', 't', 'f', 'n'])
        && matches!(
            json::parse(text.as_bytes(), &json::Limits::default()),
            Ok(Json::Number(_))
        )
}

/// Escapes `& < > " '`.
fn escape_xml(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\'' => b"&apos;",
            // What XML 1.0 cannot hold is left out.
            0..=8 | 11 | 12 | 14..=31 => b"",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        out.extend_from_slice(escape);
        copied = at + 1;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

/// Escapes `\`, `"` and the control characters that have a letter.
fn escape_json(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'\\' => b"\\\\",
            b'"' => b"\\\"",
            8 => b"\\b",
            12 => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        out.extend_from_slice(escape);
        copied = at + 1;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

/// The inside of a JSON string.
fn json_escaped(text: &str) -> String {
    let whole = json::to_text(&Json::String(text.to_owned()));
    whole
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .map_or(String::new(), str::to_owned)
}

/// A plain string in JSON: nothing is escaped, what is an escape sequence stays one, and a
/// backslash in front of anything else goes.
fn keep_escapes(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        let next = bytes.get(at + 1);
        if let Some(next @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u')) = next {
            out.extend_from_slice(&[b'\\', *next]);
            at += 2;
        } else {
            at += 1;
        }
    }
}

/// JSON as a plain `Gson` writes it: members that are null are left out, and what could be markup
/// is escaped.
fn write_gson(value: &Json, out: &mut Vec<u8>) {
    let text = json::to_text(&without_nulls(value));
    for byte in text.bytes() {
        match byte {
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            b'=' => out.extend_from_slice(b"\\u003d"),
            b'\'' => out.extend_from_slice(b"\\u0027"),
            byte => out.push(byte),
        }
    }
}

/// Values of messages nest at most [`json::MAX_DEPTH`] deep.
fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(without_nulls).collect()),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .filter(|(_, value)| *value != Json::Null)
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
