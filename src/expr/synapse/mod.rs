//! Synapse expressions: `${…}` of MI 4.4 and later (spec 05 §5).
//!
//! An [`Expression`] is compiled once and evaluated by many threads at a time against what a
//! message shows through [`Surroundings`]. Text, nesting, work and results are bounded.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        missing_docs
    )
)]

mod datetime;
mod decimal;
mod eval;
mod functions;
mod lexer;
mod operators;
mod parser;
mod path;
mod program;
mod strings;
mod template;
#[cfg(test)]
mod tests;
mod value;
mod xml;

pub use template::Template;

use crate::expr::xpath::{self, Namespaces, XPath};
use crate::json;
use crate::message::Value;
use program::Node;
use std::borrow::Cow;
use std::fmt;
use value::Val;

/// Longest expression text that is compiled, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Deepest nesting of parentheses, brackets, arguments and choices.
pub const MAX_NESTING: usize = 64;
/// Most warnings about one expression; the first ones tell enough.
const MAX_WARNINGS: usize = 20;
/// Longest text a function or operator may make, in bytes.
pub const MAX_RESULT: usize = 64 << 20;

/// What is wrong with an expression, or surprising about it, and where: bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// First byte of the place in question.
    pub offset: usize,
    /// Its length in bytes; 0 at the end of the text.
    pub len: usize,
    /// What is wrong there.
    pub message: String,
    /// The feature exists in the reference but not here.
    pub unsupported: bool,
}

impl Problem {
    fn new(offset: usize, len: usize, message: impl Into<String>) -> Problem {
        Problem {
            offset,
            len,
            message: message.into(),
            unsupported: false,
        }
    }
}

/// The Java exception that the reference lets escape (spec 05 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Exception {
    ClassCast,
    IllegalArgument,
    IndexOutOfBounds,
    InvalidPath,
    JsonPath,
    JsonSyntax,
    NullPointer,
    NumberFormat,
    Synapse,
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}Exception")
    }
}

/// Why an evaluation has no result (spec 05 §2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The reference's `EvaluationException`: warned about, and the result is empty.
    Evaluation(String),
    /// Anything else: the message goes to the fault handlers.
    Thrown(Exception, String),
}

impl Failure {
    fn evaluation(message: impl Into<String>) -> Failure {
        Failure::Evaluation(message.into())
    }

    fn thrown(exception: Exception, message: impl Into<String>) -> Failure {
        Failure::Thrown(exception, message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Evaluation(message) => f.write_str(message),
            Failure::Thrown(exception, message) => write!(f, "{exception}: {message}"),
        }
    }
}

type Outcome<T> = Result<T, Failure>;

/// A template parameter (spec 05 §5.5).
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter<'a> {
    /// The message is in no template.
    NoTemplate,
    /// The template has no such parameter, or it has no value.
    Missing,
    /// Its text.
    Text(Cow<'a, str>),
}

/// What a message shows to an expression, besides what it shows to XPath (spec 05 §5.5).
pub trait Surroundings: xpath::Scope {
    /// The body as JSON; `None` when it is empty.
    ///
    /// # Errors
    /// Why the body has no JSON form.
    fn payload(&self) -> Result<Option<&json::Value>, String>;
    /// Whether the Axis2 `ContentType` contains `application/xml`.
    fn has_xml_content_type(&self) -> bool;
    /// A variable.
    fn variable(&self, name: &str) -> Option<&Value>;
    /// A deployed config property.
    fn config(&self, name: &str) -> Option<Cow<'_, str>>;
    /// A parameter of the innermost template.
    fn parameter(&self, name: &str) -> Parameter<'_>;
    /// The text of a registry resource, or of one of its properties.
    fn resource(&self, key: &str, property: Option<&str>) -> Option<Cow<'_, str>>;
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    root: Node,
    warnings: Vec<Problem>,
    needs_body: bool,
    needs_xml: bool,
    namespaces: Namespaces,
}

impl Expression {
    /// Compiles the text between `${` and `}` (spec 05 §5.1–§5.3). The prefixes are those of XPath
    /// inside.
    ///
    /// # Errors
    /// When the text is no expression, or uses what is not supported here.
    pub fn compile(text: &str, namespaces: &Namespaces) -> Result<Expression, Problem> {
        let mut warnings = Vec::new();
        let root = parser::parse(text, namespaces, &mut warnings)?;
        Ok(Expression {
            text: text.into(),
            needs_body: root.needs_body(),
            needs_xml: root.needs_xml(),
            root,
            warnings,
            namespaces: namespaces.clone(),
        })
    }

    /// The text between `${` and `}`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What has no effect, or fails whenever it is evaluated.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Whether evaluation may read the body (spec 05 §2.3).
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }

    /// Whether evaluation may read the XML form of the body.
    pub fn needs_xml(&self) -> bool {
        self.needs_xml
    }

    /// The text result; what cannot be evaluated is warned about and empty (spec 05 §5.9).
    ///
    /// # Errors
    /// [`Failure::Thrown`] only.
    pub fn string(&self, scope: &dyn Surroundings) -> Result<String, Failure> {
        let result = self.evaluate(scope, false).and_then(Val::into_text);
        self.swallowed(result)
    }

    /// Whether the text result is `true`, in any case.
    ///
    /// # Errors
    /// As [`Expression::string`].
    pub fn boolean(&self, scope: &dyn Surroundings) -> Result<bool, Failure> {
        let result = self.evaluate(scope, false).and_then(|value| {
            Ok(match value {
                Val::Bool(b) => b,
                other => other.to_text()?.eq_ignore_ascii_case("true"),
            })
        });
        self.swallowed(result)
    }

    /// The typed result; null and what cannot be evaluated are the empty string.
    ///
    /// # Errors
    /// As [`Expression::string`].
    pub fn object(&self, scope: &dyn Surroundings) -> Result<Value, Failure> {
        match self.evaluate(scope, true).and_then(Val::into_value) {
            Err(Failure::Evaluation(cause)) => {
                self.warn(&cause);
                Ok(Value::from(""))
            }
            other => other,
        }
    }

    fn evaluate<'a>(&'a self, scope: &'a dyn Surroundings, object: bool) -> Outcome<Val<'a>> {
        eval::Evaluator {
            scope,
            namespaces: &self.namespaces,
            object,
        }
        .eval(&self.root)
    }

    fn swallowed<T: Default>(&self, result: Outcome<T>) -> Outcome<T> {
        match result {
            Err(Failure::Evaluation(cause)) => {
                self.warn(&cause);
                Ok(T::default())
            }
            other => other,
        }
    }

    fn warn(&self, cause: &str) {
        tracing::warn!(
            target: "SynapseExpression",
            "Error evaluating expression: {} cause : {cause}",
            self.text
        );
    }
}

/// `$body`, which a whole XML payload shows.
fn body_path() -> Option<XPath> {
    XPath::compile("$body", &Namespaces::default()).ok()
}
