//! JSONPath as MI evaluates it: Jayway JsonPath 2.10 over Gson without options (spec 05 §4).

mod change;
mod compile;
mod evaluate;
mod filter;
mod function;
mod prepare;
mod scanner;

pub use change::{Location, copies_fit};
pub use prepare::{Piece, Source, dynamic_pieces, split_source};

use crate::json::{Value, to_text};
use compile::Compiled;
pub(in crate::expr) use compile::{SLOT, SLOTS};
use std::borrow::Cow;

/// A compiled path (spec 05 §4.2). Immutable and shared between threads.
#[derive(Clone, Debug)]
pub struct JsonPath {
    text: String,
    compiled: Compiled,
}

/// Why a text is no path (spec 05 §4.1): the reference's `InvalidPathException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (offset {offset})")]
pub struct PathError {
    /// Byte offset in the text given to [`JsonPath::compile`].
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

/// Why a path gave no result (spec 05 §4.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A definite path, given here, leads nowhere: the reference's `PathNotFoundException`.
    #[error("No results for path: {0}")]
    NotFound(String),
    /// A function that needs other input than it got.
    #[error("{0}")]
    Function(String),
    /// A filter operator with an operand it cannot work on.
    #[error("{0}")]
    Filter(String),
    /// The path visits more of the document than is reasonable.
    #[error("the path visits too many values")]
    TooManySteps,
    /// The results of the path, or the copies that it makes, are much larger than the document.
    #[error("the results of the path are much larger than the document")]
    TooLarge,
    /// The change would nest the document too deeply.
    #[error("the document would be nested too deeply")]
    TooDeep,
    /// The path cannot be used for a change.
    #[error("{0}")]
    NotChangeable(String),
}

/// What a path selected (spec 05 §4.3).
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'v> {
    /// The one result of a definite path.
    One(Cow<'v, Value>),
    /// The results of an indefinite path, possibly none.
    Many(Vec<Cow<'v, Value>>),
}

/// What fills an open place of a path for one evaluation (spec 05 §5.6).
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// An operand of a filter.
    Operand(Value),
    /// `["name"]`
    Name(String),
    /// `[0]`
    Index(i64),
    /// `[0,2]`
    Indices(Vec<i64>),
    /// `[a:b]`
    Slice(Option<i64>, Option<i64>),
}

/// Where the result of a path stood: numbers behave differently by it (spec 05 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The document itself.
    Root,
    /// A member of an object.
    Member,
    /// An item of an array.
    Item,
    /// What a function computed.
    Function,
    /// The list an indefinite path gives.
    List,
}

impl Found<'_> {
    /// The result as JSON: an indefinite path always gives an array (spec 05 §4.3).
    pub fn into_value(self) -> Value {
        match self {
            Found::One(value) => value.into_owned(),
            Found::Many(values) => Value::Array(values.into_iter().map(Cow::into_owned).collect()),
        }
    }
}

impl JsonPath {
    /// Compiles a path (spec 05 §4.1): one trailing `.` is dropped, a missing `$` supplied.
    pub fn compile(text: &str) -> Result<Self, PathError> {
        if let Some(offset) = text.find('\0') {
            return Err(PathError {
                offset,
                message: "a path cannot hold NUL".to_owned(),
            });
        }
        let text = text.trim();
        let path = text
            .strip_suffix('.')
            .filter(|rest| !rest.is_empty())
            .unwrap_or(text);
        let compiled = compile::compile(path, 0, 0)?;
        Ok(Self {
            text: path.to_owned(),
            compiled,
        })
    }

    /// The path as written, without the trailing `.` (spec 05 §4.1).
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path is `$`: its result text is the body as received, which need not even be
    /// parsed (spec 05 §4.1).
    pub fn is_whole_body(&self) -> bool {
        self.compiled.tokens.is_empty()
    }

    /// Whether the path selects at most one place (spec 05 §4.2).
    pub fn is_definite(&self) -> bool {
        self.compiled.definite
    }

    /// Applies the path (spec 05 §4.2).
    ///
    /// # Errors
    /// Also when the results contain each other so often that they would be far larger than the
    /// document.
    pub fn evaluate<'v>(&self, root: &'v Value) -> Result<Found<'v>, EvalError> {
        evaluate::evaluate(&self.compiled, root)
            .and_then(|found| evaluate::fits(found, root))
            .map_err(|error| self.named(error))
    }

    /// Applies a path with open places, and says where the result stood (spec 05 §5.6).
    pub fn select<'v>(
        &self,
        root: &'v Value,
        slots: &[Slot],
    ) -> Result<(Found<'v>, Origin), EvalError> {
        evaluate::fill(&self.compiled, root, slots)
            .and_then(|(found, origin)| Ok((evaluate::fits(found, root)?, origin)))
            .map_err(|error| self.named(error))
    }

    /// The result as text (spec 05 §4.3), with its errors; a property's JSON is evaluated this way.
    pub fn text(&self, root: &Value) -> Result<String, EvalError> {
        let value = self.evaluate(root)?.into_value();
        Ok(match value {
            // The reference expects JSON from functions and loses plain strings in a failed cast.
            Value::String(_) if self.compiled.is_function() => String::new(),
            Value::String(text) => text,
            object @ Value::Object(_) => {
                // A remnant of other JSON libraries, visible to everybody who names a member so.
                let shown = object.get("members").or_else(|| object.get("elements"));
                to_text(shown.unwrap_or(&object))
            }
            other => to_text(&other),
        })
    }

    /// The result as text the way a body is evaluated (spec 05 §4.3): the raw body for `$`, nothing
    /// where there is no result. `root` is `raw`, parsed.
    pub fn string_value(&self, root: &Value, raw: &[u8]) -> String {
        if self.is_whole_body() {
            return String::from_utf8_lossy(raw).into_owned();
        }
        self.text(root).unwrap_or_default()
    }

    /// The result as a list, for iterating and aggregating (spec 05 §4.3): the items of an array,
    /// nothing for null, else the value itself.
    pub fn list(&self, root: &Value) -> Result<Vec<Value>, EvalError> {
        Ok(match self.evaluate(root)?.into_value() {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            other => vec![other],
        })
    }

    /// Evaluation itself does not carry the text along.
    fn named(&self, error: EvalError) -> EvalError {
        match error {
            EvalError::NotFound(_) => EvalError::NotFound(self.text.clone()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
