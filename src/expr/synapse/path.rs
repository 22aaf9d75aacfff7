//! JSONPath behind an access: its open places and what it is applied to (spec 05 §5.6).

use super::eval::Evaluator;
use super::program::{Path, PathCode, SlotNode};
use super::value::{Val, strip};
use super::{Exception, Failure, Outcome};
use crate::expr::jsonpath::{EvalError, Found, Slot};
use crate::json::{self, Value as Json};
use crate::message::Value;
use std::borrow::Cow;

impl<'a> Evaluator<'a> {
    /// Evaluates what fills the open places of a path.
    pub(super) fn slots(self, nodes: &'a [SlotNode]) -> Outcome<Vec<Slot>> {
        nodes.iter().map(|node| self.slot(node)).collect()
    }

    fn slot(self, node: &'a SlotNode) -> Outcome<Slot> {
        match node {
            SlotNode::One(node) => {
                let value = self.eval(node)?;
                if value.is_null() {
                    return Err(invalid("null is no index"));
                }
                let text = spliced(&value)?;
                if value.is_string() {
                    return match text.contains('"') {
                        true => Err(invalid("a name with a quote in it cannot be looked up")),
                        false => Ok(Slot::Name(text)),
                    };
                }
                integer(&text).map(Slot::Index)
            }
            SlotNode::List(nodes) => {
                let mut indexes = Vec::with_capacity(nodes.len());
                for node in nodes {
                    let value = self.eval(node)?;
                    if !value.is_null() {
                        indexes.push(integer(&spliced(&value)?)?);
                    }
                }
                Ok(Slot::Indices(indexes))
            }
            SlotNode::Slice {
                parts,
                open_start,
                open_end,
            } => {
                let mut bounds = Vec::with_capacity(4);
                if *open_start {
                    bounds.push(None);
                }
                for (negative, node) in parts {
                    let value = self.eval(node)?;
                    if !value.is_null() {
                        let bound = integer(&spliced(&value)?)?;
                        bounds.push(Some(if *negative { -bound } else { bound }));
                    }
                }
                if *open_end {
                    bounds.push(None);
                }
                match bounds.as_slice() {
                    // Without bounds a step is taken for an index.
                    [Some(index)] => Ok(Slot::Index(*index)),
                    [None, None] | [None] | [] => Err(invalid("a slice needs a bound")),
                    [from, to, ..] => Ok(Slot::Slice(*from, *to)),
                }
            }
            SlotNode::Operand(node) => {
                let value = self.eval(node)?;
                let text = spliced(&value)?;
                Ok(Slot::Operand(match &value {
                    Val::Null => {
                        return Err(invalid("null cannot be compared with in a filter"));
                    }
                    Val::Json(json, _) if !value.is_string() => json.as_ref().clone(),
                    Val::Int(_) | Val::Long(_) => Json::number(text),
                    Val::Double(d) if d.is_finite() => Json::number(text),
                    Val::Bool(b) => Json::Bool(*b),
                    _ if text.contains('"') => {
                        return Err(invalid("a text with a quote in it cannot be compared with"));
                    }
                    _ => Json::String(text),
                }))
            }
        }
    }
}

fn invalid(message: &str) -> Failure {
    Failure::thrown(Exception::InvalidPath, message)
}

/// The text that is put into a path. The reference does it with a regular expression whose special
/// characters make it throw.
fn spliced(value: &Val<'_>) -> Outcome<String> {
    let text = value.to_text()?;
    match text.contains(['$', '\\']) {
        true => Err(Failure::thrown(
            Exception::IllegalArgument,
            "Illegal group reference: a value with $ or \\ cannot be used in a path",
        )),
        false => Ok(text.into_owned()),
    }
}

fn integer(text: &str) -> Outcome<i64> {
    let text = text.replace('"', "");
    text.parse::<i32>()
        .map(i64::from)
        .map_err(|_| invalid(&format!("'{text}' is no index")))
}

impl Path {
    /// Applies the path to a document.
    pub(super) fn select<'a>(
        &self,
        code: &PathCode,
        root: Cow<'a, Json>,
        slots: &[Slot],
    ) -> Outcome<Val<'a>> {
        let path = match code {
            Ok(path) => path,
            Err(message) => {
                return Err(invalid(&format!(
                    "the path {} cannot be used: {message}",
                    self.text
                )));
            }
        };
        let failed = |error: EvalError| match error {
            EvalError::NotFound(_) => {
                Failure::evaluation(format!("No results for path: ${}", self.text))
            }
            other => Failure::thrown(Exception::JsonPath, other.to_string()),
        };
        match root {
            Cow::Borrowed(root) => {
                let (found, origin) = path.select(root, slots).map_err(failed)?;
                Ok(Val::of_found(found, origin))
            }
            Cow::Owned(root) => {
                let (found, origin) = path.select(&root, slots).map_err(failed)?;
                let found = match found {
                    Found::One(value) => Found::One(Cow::Owned(value.into_owned())),
                    Found::Many(values) => Found::Many(
                        values
                            .into_iter()
                            .map(|value| Cow::Owned(value.into_owned()))
                            .collect(),
                    ),
                };
                Ok(Val::of_found(found, origin))
            }
        }
    }

    /// Applies the path to a variable (spec 05 §5.5).
    pub(super) fn of_variable<'a>(
        &self,
        name: &str,
        value: &'a Value,
        slots: &[Slot],
    ) -> Outcome<Val<'a>> {
        match value {
            Value::Map(entries) => self.of_map(entries, slots),
            Value::Xml(_) => Err(Failure::evaluation(format!(
                "Could not evaluate JSONPath expression: vars.{name}{} on non-JSON variable value",
                self.text
            ))),
            Value::Json(json) => self.select(&self.compiled, Cow::Borrowed(json), slots),
            other => {
                let json = parse(&other.text())?;
                self.select(&self.compiled, Cow::Owned(json), slots)
            }
        }
    }

    fn of_map<'a>(&self, entries: &'a [(String, Value)], slots: &[Slot]) -> Outcome<Val<'a>> {
        let found = self.keyed.as_ref().and_then(|(key, rest)| {
            let (_, value) = entries.iter().find(|(k, _)| **k == **key)?;
            Some((value, rest))
        });
        match found {
            None => Err(Failure::evaluation(format!(
                "Could not find key: {} in the variable",
                self.text
            ))),
            Some((value, None)) => Val::of_variable(value),
            Some((Value::Json(json), Some(rest))) => self.select(rest, Cow::Borrowed(json), slots),
            Some((_, Some(_))) => Err(Failure::evaluation(format!(
                "Could not evaluate JSONPath expression: ${} on non-JSON object",
                self.text
            ))),
        }
    }

    /// Applies the path to what a function gave.
    pub(super) fn of_result<'a>(&self, value: Val<'a>, slots: &[Slot]) -> Outcome<Val<'a>> {
        match value {
            Val::Json(json, _) => self.select(&self.compiled, json, slots),
            other => {
                let json = parse(&other.to_text()?)?;
                self.select(&self.compiled, Cow::Owned(json), slots)
            }
        }
    }
}

fn parse(text: &str) -> Outcome<Json> {
    json::parse_lenient(text, &json::Limits::default())
        .map_err(|e| Failure::thrown(Exception::JsonSyntax, e.to_string()))
}

/// JSON in a text, as `object` and `array` read it: without its backslashes.
pub(super) fn loose_json(value: &Val<'_>) -> Option<Json> {
    let text: &str = match value {
        Val::Text(text) if text.starts_with('"') => strip(text).ok()?,
        Val::Text(text) => text,
        Val::Json(json, _) => json.as_str()?,
        _ => return None,
    };
    json::parse_lenient(&text.replace('\\', ""), &json::Limits::default()).ok()
}
