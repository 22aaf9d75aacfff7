//! `json-eval(…)` of anything but a fixed path on the body: paths on properties and headers, and
//! paths with dynamic parts (spec 05 §4.1).

use super::jsonpath::{JsonPath, Piece, Source, dynamic_pieces, split_source};
use super::xpath::XPath;
use super::{Expr, ExprError, Namespaces, Scope, json_string};
use crate::json;
use crate::message::Fault;
use std::borrow::Cow;

/// How deep `{json-eval({…})}` may nest; what is deeper is text.
const MAX_NESTING: usize = 8;

/// A compiled `json-eval` that reads more than the body.
#[derive(Debug)]
pub struct JsonEval {
    /// The property or header the path is applied to; `None` is the body.
    source: Option<XPath>,
    path: Path,
}

#[derive(Debug)]
enum Path {
    Fixed(JsonPath),
    /// Compiled for every message, from the text of the parts.
    Dynamic(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Dynamic(Expr),
}

impl JsonEval {
    /// Compiles what stands between the parentheses; `None` when it is a fixed path on the body.
    /// Offsets of errors are those of `text`.
    pub(super) fn compile(
        text: &str,
        namespaces: &Namespaces,
        nesting: usize,
    ) -> Result<Option<JsonEval>, ExprError> {
        let (source, path) = split_source(text);
        let variable = match source {
            Source::Body => None,
            Source::Context(name) => Some(format!("$ctx:{name}")),
            Source::Transport(name) => Some(format!("$trp:{name}")),
            Source::Axis2(name) => Some(format!("$axis2:{name}")),
        };
        let pieces = dynamic_pieces(&path);
        let is_fixed = !pieces.iter().any(|p| matches!(p, Piece::Dynamic(_)));
        if variable.is_none() && is_fixed || nesting >= MAX_NESTING {
            return Ok(None);
        }
        // The path begins with a `$` of its own instead of the source.
        let skipped = text.len().saturating_sub(path.len());
        let source = match &variable {
            Some(variable) => Some(XPath::compile(variable, &Namespaces::default()).map_err(
                |e| ExprError {
                    offset: 0,
                    len: skipped,
                    message: e.message,
                    unsupported: false,
                },
            )?),
            None => None,
        };
        if is_fixed {
            let path = JsonPath::compile(&path).map_err(|e| ExprError {
                offset: e.offset + skipped,
                len: 1,
                message: e.message,
                unsupported: false,
            })?;
            return Ok(Some(JsonEval {
                source,
                path: Path::Fixed(path),
            }));
        }
        let mut at = skipped;
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Literal(text) => {
                    parts.push(Part::Literal(text.to_owned()));
                    at += text.len();
                }
                Piece::Dynamic(text) => {
                    let expr = Expr::compile_nested(text, namespaces, nesting + 1)
                        .map_err(|e| e.shifted(at + 1))?;
                    parts.push(Part::Dynamic(expr));
                    at += text.len() + 2;
                }
            }
        }
        Ok(Some(JsonEval {
            source,
            path: Path::Dynamic(parts),
        }))
    }

    /// Whether the body must be built first.
    pub(super) fn needs_body(&self) -> bool {
        self.source.is_none()
            || match &self.path {
                Path::Fixed(_) => false,
                Path::Dynamic(parts) => parts.iter().any(|p| match p {
                    Part::Literal(_) => false,
                    Part::Dynamic(expr) => expr.needs_body(),
                }),
            }
    }

    /// The string result (spec 05 §2.4, §4.3): what fails on the body is the empty string, what
    /// fails on a property throws.
    pub(super) fn string(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        let path = self.path(scope)?;
        let Some(source) = &self.source else {
            return path.map_or(Ok(String::new()), |p| json_string(&p, scope.message));
        };
        let failed = |e: String| Fault::mediation(e);
        let text = source
            .string_value_of(scope)
            .map_err(|e| failed(e.message))?;
        let Some(text) = text else {
            return Ok(String::new());
        };
        let path = path.map_err(failed)?;
        if path.is_whole_body() {
            return Ok(text);
        }
        let root = json::parse(text.as_bytes(), &json::Limits::default())
            .map_err(|e| failed(e.to_string()))?;
        path.text(&root).map_err(|e| failed(e.to_string()))
    }

    /// The path for this message, or why the text its parts give is no path.
    fn path(&self, scope: &Scope<'_>) -> Result<Result<Cow<'_, JsonPath>, String>, Fault> {
        let parts = match &self.path {
            Path::Fixed(path) => return Ok(Ok(Cow::Borrowed(path))),
            Path::Dynamic(parts) => parts,
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Dynamic(expr) => text.push_str(&expr.string(scope)?.unwrap_or_default()),
            }
        }
        Ok(JsonPath::compile(&text)
            .map(Cow::Owned)
            .map_err(|e| e.to_string()))
    }
}
