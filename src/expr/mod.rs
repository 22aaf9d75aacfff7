//! Expressions of artifacts: which language a text is in, and what it gives (spec 05 §1–§2).

mod effort;
pub mod entries;
mod json_eval;
pub mod jsonpath;
mod look;
mod scope;
pub mod synapse;
pub mod xpath;

pub use effort::Effort;
pub use look::{Around, Effects};
pub use scope::{LocalEntries, Scope};
pub use xpath::{Namespaces, Need, Wanted};

pub use json_eval::JsonEval;

use crate::message::{Answer, Body, Fault, Message, Value};
use jsonpath::{EvalError, JsonPath};
use synapse::{Exception, Expression, Failure, Problem};
use xpath::XPath;

/// A compiled expression. Immutable and shared by all messages.
#[derive(Debug)]
pub enum Expr {
    /// XPath 1.0 with Synapse's variables and functions.
    XPath(XPath),
    /// `json-eval(…)`.
    Json {
        /// The path.
        path: JsonPath,
        /// The text as it was written.
        text: String,
    },
    /// `${…}`.
    Synapse {
        /// The expression.
        expression: Box<Expression>,
        /// The text as it was written.
        text: String,
    },
    /// `json-eval(…)` that reads more than the body.
    JsonFrom {
        /// What it reads and selects.
        eval: Box<JsonEval>,
        /// The text as it was written.
        text: String,
    },
}

/// Why an expression does not compile.
#[derive(Debug)]
pub struct ExprError {
    /// Byte offset in the expression.
    pub offset: usize,
    /// Length of the offending part.
    pub len: usize,
    /// What is wrong.
    pub message: String,
    /// The language exists but is not supported yet.
    pub unsupported: bool,
}

impl Expr {
    /// Compiles a text. The language is chosen as the reference does, without trimming.
    ///
    /// # Errors
    /// When the text does not compile, or is in a language that is not supported yet.
    pub fn compile(text: &str, namespaces: &Namespaces) -> Result<Expr, ExprError> {
        Expr::compile_nested(text, namespaces, 0)
    }

    /// `nesting` counts the `json-eval` expressions around this one.
    fn compile_nested(
        text: &str,
        namespaces: &Namespaces,
        nesting: usize,
    ) -> Result<Expr, ExprError> {
        if let Some(rest) = text.strip_prefix("json-eval(") {
            // The last character is dropped whatever it is.
            let end = rest.char_indices().next_back().map_or(0, |(at, _)| at);
            let inner = rest.get(..end).unwrap_or_default();
            let other = JsonEval::compile(inner, namespaces, nesting);
            if let Some(eval) = other.map_err(|e| e.shifted("json-eval(".len()))? {
                return Ok(Expr::JsonFrom {
                    eval: Box::new(eval),
                    text: text.to_owned(),
                });
            }
            let path = JsonPath::compile(inner).map_err(|e| ExprError {
                offset: e.offset + "json-eval(".len(),
                len: 1,
                message: e.message,
                unsupported: false,
            })?;
            return Ok(Expr::Json {
                path,
                text: text.to_owned(),
            });
        }
        if let Some(inner) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}')) {
            let expression = Expression::compile(inner, namespaces)
                .and_then(served)
                .map_err(|problem| ExprError::of(problem, "${".len()))?;
            return Ok(Expr::Synapse {
                expression: Box::new(expression),
                text: text.to_owned(),
            });
        }
        XPath::compile(text, namespaces)
            .map(Expr::XPath)
            .map_err(|e| ExprError {
                offset: e.offset,
                len: e.len,
                message: match text.contains("${") {
                    true => format!(
                        "{}; ${{…}} has to be the whole attribute, without blanks or text around it",
                        e.message
                    ),
                    false => e.message,
                },
                unsupported: false,
            })
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        match self {
            Expr::XPath(xpath) => xpath.text(),
            Expr::Json { text, .. } | Expr::JsonFrom { text, .. } | Expr::Synapse { text, .. } => {
                text
            }
        }
    }

    /// What has no effect or fails whenever it is evaluated: offset, length and message.
    pub fn warnings(&self) -> Vec<(usize, usize, &str)> {
        match self {
            Expr::XPath(xpath) => xpath
                .warnings()
                .iter()
                .map(|w| (w.offset, w.len, w.message.as_str()))
                .collect(),
            Expr::Json { .. } | Expr::JsonFrom { .. } => Vec::new(),
            Expr::Synapse { expression, .. } => expression
                .warnings()
                .iter()
                .map(|w| (w.offset + "${".len(), w.len, w.message.as_str()))
                .collect(),
        }
    }

    /// Whether the body must be built before it is evaluated.
    pub fn needs_body(&self) -> bool {
        match self {
            Expr::XPath(xpath) => xpath.needs_body(),
            Expr::Json { .. } => true,
            Expr::JsonFrom { eval, .. } => eval.needs_body(),
            Expr::Synapse { expression, .. } => expression.needs_body(),
        }
    }

    /// What of the body must be there before it is evaluated.
    pub fn need(&self, wanted: Wanted) -> Need {
        match self {
            Expr::XPath(xpath) => xpath.need(wanted),
            other if other.needs_body() => Need::Tree,
            _ => Need::Nothing,
        }
    }

    /// Tells an expression that can be looked for from all others.
    pub fn id(&self) -> Option<u64> {
        match self {
            Expr::XPath(xpath) => Some(xpath.id()),
            Expr::Json { .. } | Expr::JsonFrom { .. } | Expr::Synapse { .. } => None,
        }
    }

    /// The string result; `None` is the reference's null (spec 05 §2.1).
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn string(&self, scope: &Scope<'_>) -> Result<Option<String>, Fault> {
        self.view(scope)?;
        match self {
            Expr::XPath(xpath) => match scope.message.answers.get(xpath.id()) {
                Some(Answer::Text(text)) => Ok(text.clone()),
                Some(Answer::Error(cause)) => Err(self.failure(cause)),
                _ => xpath
                    .string_value_of(scope)
                    .map_err(|e| self.failure(&e.message)),
            },
            Expr::Json { path, .. } => json_string(path, scope.message).map(Some),
            Expr::JsonFrom { eval, .. } => eval.string(scope).map(Some),
            Expr::Synapse { expression, .. } => expression
                .string(scope)
                .map(Some)
                .map_err(|f| thrown(expression.text(), f)),
        }
    }

    /// The typed result; `None` is the reference's null, which only `${…}` never gives.
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn object(&self, scope: &Scope<'_>) -> Result<Option<Value>, Fault> {
        self.view(scope)?;
        match self {
            Expr::XPath(_) | Expr::Json { .. } | Expr::JsonFrom { .. } => Ok(None),
            Expr::Synapse { expression, .. } => expression
                .object(scope)
                .map(Some)
                .map_err(|f| thrown(expression.text(), f)),
        }
    }

    /// The boolean result.
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn boolean(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        self.view(scope)?;
        match self {
            Expr::XPath(xpath) => match scope.message.answers.get(xpath.id()) {
                Some(Answer::Boolean(holds)) => Ok(*holds),
                Some(Answer::Error(cause)) => Err(self.no_boolean(cause)),
                _ => xpath
                    .boolean(scope)
                    .map_err(|e| self.no_boolean(&e.message)),
            },
            Expr::Json { path, .. } => {
                Ok(json_string(path, scope.message)?.eq_ignore_ascii_case("true"))
            }
            Expr::JsonFrom { eval, .. } => Ok(eval.string(scope)?.eq_ignore_ascii_case("true")),
            Expr::Synapse { expression, .. } => expression
                .boolean(scope)
                .map_err(|f| thrown(expression.text(), f)),
        }
    }

    /// Makes the XML view of a body that an XPath reads: one that has none is a fault (spec 01
    /// §17.1). A fault handler that was called for something sees an empty one instead
    /// (differences.md).
    fn view(&self, scope: &Scope<'_>) -> Result<(), Fault> {
        let reads = match self {
            Expr::XPath(xpath) => xpath.needs_body(),
            Expr::Json { .. } | Expr::JsonFrom { .. } => false,
            Expr::Synapse { expression, .. } => expression.needs_xml(),
        };
        match reads {
            true => xml_view(scope),
            false => Ok(()),
        }
    }

    fn no_boolean(&self, cause: &str) -> Fault {
        let mut fault = Fault::mediation(format!("Error evaluating Expression : {}", self.text()));
        fault.detail = Some(cause.to_owned());
        fault
    }

    fn failure(&self, cause: &str) -> Fault {
        let mut fault = Fault::mediation(format!(
            "Evaluation of the XPath expression {} resulted in an error",
            self.text()
        ));
        fault.detail = Some(format!("{}: {cause}", fault.message));
        fault
    }
}

fn xml_view(scope: &Scope<'_>) -> Result<(), Fault> {
    if let Body::Built(built) = &scope.message.body
        && scope.message.properties.get("ERROR_CODE").is_none()
    {
        built.envelope()?;
    }
    Ok(())
}

impl ExprError {
    fn of(problem: Problem, base: usize) -> ExprError {
        ExprError {
            offset: problem.offset + base,
            len: problem.len,
            message: problem.message,
            unsupported: problem.unsupported,
        }
    }

    /// The same error of a text that stands `by` bytes later.
    fn shifted(self, by: usize) -> ExprError {
        ExprError {
            offset: self.offset + by,
            ..self
        }
    }
}

/// An expression that only uses what there is here.
fn served(expression: Expression) -> Result<Expression, Problem> {
    match expression.warnings().iter().find(|w| w.unsupported) {
        Some(problem) => Err(problem.clone()),
        None => Ok(expression),
    }
}

/// The fault of an exception that the reference lets escape (spec 05 §2.4).
fn thrown(text: &str, failure: Failure) -> Fault {
    let message = match &failure {
        // This exception has no message of its own.
        Failure::Thrown(Exception::NullPointer, _) => {
            "Runtime error occurred while mediating the message".to_owned()
        }
        Failure::Thrown(_, message) | Failure::Evaluation(message) => message.clone(),
    };
    let mut fault = Fault::mediation(message);
    fault.detail = Some(format!("${{{text}}}: {failure}"));
    fault
}

/// `json-eval` on the body: any failure of the reference's gives the empty string (spec 05 §2.4, §4.1).
///
/// # Errors
/// When the evaluation is given up: it would be too much work, or its result too large.
fn json_string(path: &JsonPath, message: &Message) -> Result<String, Fault> {
    let Body::Built(built) = &message.body else {
        return Ok(String::new());
    };
    if path.is_whole_body()
        && let Some(raw) = built.json()
    {
        return Ok(String::from_utf8_lossy(raw).into_owned());
    }
    match built.json_tree() {
        Ok(Some(root)) if path.is_whole_body() => Ok(crate::json::to_text(root)),
        Ok(Some(root)) => match path.text(root) {
            Err(e @ (EvalError::TooManySteps | EvalError::TooLarge)) => {
                Err(Fault::mediation(e.to_string()))
            }
            text => Ok(text.unwrap_or_default()),
        },
        _ => Ok(String::new()),
    }
}

/// A text with `${…}` in it, as log messages are (spec 05 §6.2).
#[derive(Debug)]
pub struct Template(synapse::Template);

impl Template {
    /// Compiles the text.
    ///
    /// # Errors
    /// The first expression that does not compile; offsets are those of the text.
    pub fn compile(text: &str) -> Result<Template, ExprError> {
        let template = synapse::Template::compile(text).map_err(|p| ExprError::of(p, 0))?;
        match template.warnings().iter().find(|w| w.unsupported) {
            Some(problem) => Err(ExprError::of(problem.clone(), 0)),
            None => Ok(Template(template)),
        }
    }

    /// What has no effect or fails whenever it is evaluated: offset, length and message.
    pub fn warnings(&self) -> Vec<(usize, usize, &str)> {
        self.0
            .warnings()
            .iter()
            .map(|w| (w.offset, w.len, w.message.as_str()))
            .collect()
    }

    /// Whether the body must be built before it is evaluated.
    pub fn needs_body(&self) -> bool {
        self.0.needs_body()
    }

    /// The text for a message.
    ///
    /// # Errors
    /// When an evaluation throws.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        if self.0.needs_xml() {
            xml_view(scope)?;
        }
        self.0.render(scope).map_err(|(text, f)| thrown(text, f))
    }
}

/// An attribute that is a literal, or `{expression}` evaluated per message (spec 05 §6.1).
#[derive(Debug)]
pub enum Dynamic {
    /// A literal.
    Static(String),
    /// `{…}`.
    Expr(Expr),
}

impl Dynamic {
    /// Reads the attribute text.
    ///
    /// # Errors
    /// When the inner text does not compile; offsets are those of the attribute text.
    pub fn compile(text: &str, namespaces: &Namespaces) -> Result<Dynamic, ExprError> {
        match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(inner) if inner.starts_with('{') && inner.ends_with('}') => {
                Ok(Dynamic::Static(inner.to_owned()))
            }
            // A Synapse expression in braces has no namespaces.
            Some(inner) if inner.starts_with("${") => Expr::compile(inner, &Namespaces::default())
                .map(Dynamic::Expr)
                .map_err(|e| ExprError {
                    offset: e.offset + 1,
                    ..e
                }),
            Some(inner) => Expr::compile(inner, namespaces)
                .map(Dynamic::Expr)
                .map_err(|e| ExprError {
                    offset: e.offset + 1,
                    ..e
                }),
            None => Ok(Dynamic::Static(text.to_owned())),
        }
    }

    /// Whether the body must be built first.
    pub fn needs_body(&self) -> bool {
        match self {
            Dynamic::Static(_) => false,
            Dynamic::Expr(expr) => expr.needs_body(),
        }
    }

    /// What of the body must be there first.
    pub fn need(&self) -> Need {
        self.expr().map_or(Need::Nothing, |e| e.need(Wanted::Text))
    }

    /// The expression, when it is one.
    pub fn expr(&self) -> Option<&Expr> {
        match self {
            Dynamic::Static(_) => None,
            Dynamic::Expr(expr) => Some(expr),
        }
    }

    /// The value for a message; null is the empty string.
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn value(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        match self {
            Dynamic::Static(text) => Ok(text.clone()),
            Dynamic::Expr(expr) => Ok(expr.string(scope)?.unwrap_or_default()),
        }
    }
}

/// The property value that `get-property` of a default-scope name shows, as text.
pub fn property_text(message: &Message, name: &str) -> Option<String> {
    message
        .properties
        .get(name)
        .map(|v| Value::text(v).into_owned())
}

#[cfg(test)]
mod tests;
