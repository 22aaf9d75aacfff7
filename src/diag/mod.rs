//! Diagnostics: where something is wrong in an artifact, what it is, and what to write instead.
//!
//! A diagnostic has a stable code (see [`codes`]), a severity, a message, a place and a hint.
//! The text form is for people, the JSON form for tools; both have the same content.

pub mod codes;
mod nearest;
mod render;
mod source;

pub use codes::Code;
pub use nearest::nearest;
pub use render::{to_json, to_text};
pub use source::{Place, Source, Span};

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; the artifact is deployed.
    Warning,
    /// The artifact is not deployed, or a part of it faults when it is reached.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding about an artifact.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable code; its text form is `M` and four digits.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop.
    pub message: String,
    /// Where; `None` for findings about a whole directory or run.
    pub place: Option<Place>,
    /// What to write instead, when that is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            place: Some(place),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, place, message)
        }
    }

    /// Adds the hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds the hint when there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help;
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

#[cfg(test)]
mod tests;
