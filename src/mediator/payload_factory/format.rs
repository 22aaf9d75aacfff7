//! Formats of the default template type, compiled into parts (spec 03 §14.2, spec 05 §6.3).

use super::Target;
use super::insert::{self, Argument, Value};
use crate::expr::{Expr, ExprError, Namespaces, Scope};
use crate::message::{BodyLimits, Fault};
use std::borrow::Cow;

/// A compiled format. Immutable and shared by all messages.
#[derive(Debug)]
pub(super) struct Format {
    parts: Vec<Part>,
    /// The text holds a `$n` without an argument: from there on it stays as it is written.
    pub mismatch: bool,
    target: Target,
    length: usize,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    /// The argument at this place; `quoted` when the format has quotes around it.
    Argument {
        index: usize,
        quoted: bool,
    },
    Inline {
        expression: Inline,
        quoted: bool,
    },
}

#[derive(Debug)]
struct Inline {
    expression: Expr,
    /// `xpath(…)` inside: evaluated as a string.
    text: bool,
}

impl Format {
    /// Compiles a format for the arguments at these places.
    ///
    /// # Errors
    /// The first `${…}` that does not compile; offsets are those of the text.
    pub(super) fn compile(
        text: &str,
        arguments: &[usize],
        target: Target,
    ) -> Result<Format, ExprError> {
        let mut parts = Parts::default();
        let mut mismatch = false;
        let mut from = 0;
        while let Some(found) = next_placeholder(text, from, target) {
            match found.kind {
                Kind::Number => {
                    let digits = text.get(found.inner.clone()).unwrap_or_default();
                    let index = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                    let Some(index) = index.and_then(|n| arguments.get(n).copied()) else {
                        mismatch = true;
                        break;
                    };
                    parts.text(text.get(from..found.start).unwrap_or_default());
                    let before = text.get(..found.start).unwrap_or_default();
                    let after = text.get(found.end..).unwrap_or_default();
                    let quoted = before.ends_with('"') && after.starts_with('"');
                    parts.list.push(Part::Argument { index, quoted });
                }
                Kind::Bare | Kind::Quoted => {
                    parts.text(text.get(from..found.start).unwrap_or_default());
                    let expression = inline(text, found.inner.clone(), target)?;
                    let quoted = matches!(found.kind, Kind::Quoted);
                    parts.list.push(Part::Inline { expression, quoted });
                }
            }
            from = found.end;
        }
        parts.text(text.get(from..).unwrap_or_default());
        Ok(Format {
            parts: parts.list,
            mismatch,
            target,
            length: text.len(),
        })
    }

    /// The text for a message.
    ///
    /// # Errors
    /// When an evaluation or conversion throws, or the text is larger than a body may be.
    pub(super) fn render(
        &self,
        scope: &Scope<'_>,
        arguments: &[Argument],
        limits: &BodyLimits,
    ) -> Result<Vec<u8>, Fault> {
        if self.mismatch {
            tracing::error!(
                target: "RegexTemplateProcessor",
                "#replace. Mis-match detected between number of formatters and arguments"
            );
        }
        let arguments: Vec<Value<'_>> = arguments
            .iter()
            .map(|argument| argument.evaluate(scope))
            .collect::<Result<_, _>>()?;
        let insert = insert::Insert::new(self.target, scope, limits);
        let mut out = Vec::with_capacity(self.length + self.length / 2);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Argument { index, quoted } => {
                    if let Some(value) = arguments.get(*index) {
                        insert.argument(value, *quoted, &mut out)?;
                    }
                }
                Part::Inline { expression, quoted } => {
                    expression.insert(&insert, scope, *quoted, &mut out)?;
                }
            }
            if out.len() > limits.max_bytes {
                return Err(Fault::mediation(format!(
                    "The payload is larger than the limit of {} bytes",
                    limits.max_bytes
                )));
            }
        }
        Ok(out)
    }
}

impl Inline {
    fn insert(
        &self,
        insert: &insert::Insert<'_>,
        scope: &Scope<'_>,
        quoted: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.text {
            let text = self.expression.string(scope)?.unwrap_or_default();
            return insert.plain(&text, quoted, out);
        }
        match self.expression.object(scope)? {
            Some(value) => insert.object(&value, quoted, out),
            None => insert.plain("", quoted, out),
        }
    }
}

fn inline(text: &str, range: std::ops::Range<usize>, target: Target) -> Result<Inline, ExprError> {
    let written = text.get(range.clone()).unwrap_or_default();
    // An XML format is the text of an element, in which the writer has escaped operators.
    let code = if target == Target::Xml {
        unescape(written)
    } else {
        Cow::Borrowed(written)
    };
    let expression =
        Expr::compile(&format!("${{{code}}}"), &Namespaces::default()).map_err(|e| ExprError {
            offset: range.start + e.offset.saturating_sub(2).min(written.len()),
            ..e
        })?;
    Ok(Inline {
        text: code.contains("xpath("),
        expression,
    })
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

#[derive(Default)]
struct Parts {
    list: Vec<Part>,
}

impl Parts {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.list.push(Part::Text(text.into()));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Quoted,
    Bare,
    Number,
}

struct Placeholder {
    kind: Kind,
    start: usize,
    end: usize,
    inner: std::ops::Range<usize>,
}

/// The next `"${…}"` (JSON only), `${…}` or `$n` at or behind an offset.
fn next_placeholder(text: &str, from: usize, target: Target) -> Option<Placeholder> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        let dollar = at + memchr::memchr(b'$', bytes.get(at..)?)?;
        let rest = bytes.get(dollar + 1..)?;
        match rest.first() {
            Some(b'{') => {
                let inner = dollar + 2;
                let length = memchr::memchr(b'}', rest).map(|n| n - 1);
                match length {
                    Some(length) if length > 0 => {
                        let end = inner + length + 1;
                        let quoted = target == Target::Json
                            && dollar > from
                            && bytes.get(dollar - 1) == Some(&b'"')
                            && bytes.get(end) == Some(&b'"');
                        return Some(Placeholder {
                            kind: if quoted { Kind::Quoted } else { Kind::Bare },
                            start: dollar - usize::from(quoted),
                            end: end + usize::from(quoted),
                            inner: inner..inner + length,
                        });
                    }
                    _ => at = dollar + 1,
                }
            }
            Some(digit) if digit.is_ascii_digit() => {
                let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                let inner = dollar + 1;
                return Some(Placeholder {
                    kind: Kind::Number,
                    start: dollar,
                    end: inner + count,
                    inner: inner..inner + count,
                });
            }
            _ => at = dollar + 1,
        }
    }
}
