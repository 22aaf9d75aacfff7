//! Expressions of artifacts: which language a text is in, and what it gives (spec 05 §1–§2).

pub mod entries;
pub mod jsonpath;
mod scope;
pub mod xpath;

pub use scope::{LocalEntries, Scope};
pub use xpath::Namespaces;

use crate::json;
use crate::message::{Body, Fault, Message, PayloadKind, Value};
use jsonpath::JsonPath;
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
        if let Some(rest) = text.strip_prefix("json-eval(") {
            // The last character is dropped whatever it is.
            let end = rest.char_indices().next_back().map_or(0, |(at, _)| at);
            let inner = rest.get(..end).unwrap_or_default();
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
        if text.starts_with("${") && text.ends_with('}') {
            return Err(ExprError {
                offset: 0,
                len: text.len(),
                message: "Synapse expressions ${…} are not supported yet".to_owned(),
                unsupported: true,
            });
        }
        XPath::compile(text, namespaces)
            .map(Expr::XPath)
            .map_err(|e| ExprError {
                offset: e.offset,
                len: e.len,
                message: e.message,
                unsupported: false,
            })
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        match self {
            Expr::XPath(xpath) => xpath.text(),
            Expr::Json { text, .. } => text,
        }
    }

    /// Whether the body must be built before it is evaluated.
    pub fn needs_body(&self) -> bool {
        match self {
            Expr::XPath(xpath) => xpath.needs_body(),
            Expr::Json { .. } => true,
        }
    }

    /// The string result; `None` is the reference's null (spec 05 §2.1).
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn string(&self, scope: &Scope<'_>) -> Result<Option<String>, Fault> {
        self.view(scope)?;
        match self {
            Expr::XPath(xpath) => xpath
                .string_value_of(scope)
                .map_err(|e| self.failure(&e.message)),
            Expr::Json { path, .. } => Ok(Some(json_string(path, scope.message))),
        }
    }

    /// The boolean result.
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn boolean(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        self.view(scope)?;
        match self {
            Expr::XPath(xpath) => xpath.boolean(scope).map_err(|e| {
                let mut fault =
                    Fault::mediation(format!("Error evaluating Expression : {}", self.text()));
                fault.detail = Some(e.message);
                fault
            }),
            Expr::Json { path, .. } => {
                Ok(json_string(path, scope.message).eq_ignore_ascii_case("true"))
            }
        }
    }

    /// Makes the XML view of a body that an XPath reads: one that has none is a fault (spec 01
    /// §17.1). A fault handler that was called for something sees an empty one instead
    /// (differences.md).
    fn view(&self, scope: &Scope<'_>) -> Result<(), Fault> {
        if let (Expr::XPath(xpath), Body::Built(built)) = (self, &scope.message.body)
            && xpath.needs_body()
            && scope.message.properties.get("ERROR_CODE").is_none()
        {
            built.envelope()?;
        }
        Ok(())
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

/// `json-eval` on the body: any failure gives the empty string (spec 05 §2.4, §4.1).
fn json_string(path: &JsonPath, message: &Message) -> String {
    let Body::Built(built) = &message.body else {
        return String::new();
    };
    let converted;
    let raw: &[u8] = match built.json() {
        Some(raw) => raw,
        None if built.kind == PayloadKind::Empty => return String::new(),
        None => {
            let text = built.convert_to_json().ok().filter(|t| !t.is_empty());
            match text {
                Some(text) => {
                    converted = text;
                    &converted
                }
                None => return String::new(),
            }
        }
    };
    if path.is_whole_body() {
        return String::from_utf8_lossy(raw).into_owned();
    }
    match json::parse(raw, &json::Limits::default()) {
        Ok(root) => path.string_value(&root, raw),
        Err(_) => String::new(),
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
