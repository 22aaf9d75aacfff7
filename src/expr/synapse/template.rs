//! Texts with `${…}` in them (spec 05 §6.2).

use super::strings::bounded;
use super::{Expression, Failure, Problem, Surroundings};
use crate::expr::xpath::Namespaces;

/// A compiled text.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
    warnings: Vec<Problem>,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Expression(Box<Expression>),
}

impl Template {
    /// Compiles a text. Every shortest `${…}` on one line, with something inside, is an expression
    /// without namespaces; it can hold no `}`. Everything else is text.
    ///
    /// # Errors
    /// The first expression that does not compile; offsets are those of the text.
    pub fn compile(text: &str) -> Result<Template, Problem> {
        let mut parts = Vec::new();
        let mut warnings = Vec::new();
        let mut from = 0;
        let mut literal = 0;
        while let Some(start) = text
            .get(from..)
            .and_then(|t| t.find("${"))
            .map(|at| from + at)
        {
            let inside = start + 2;
            let Some(end) = end_of(text.get(inside..).unwrap_or_default()) else {
                from = inside;
                continue;
            };
            let code = text.get(inside..inside + end).unwrap_or_default();
            let expression =
                Expression::compile(code, &Namespaces::default()).map_err(|mut problem| {
                    problem.offset += inside;
                    problem
                })?;
            warnings.extend(expression.warnings().iter().cloned().map(|mut warning| {
                warning.offset += inside;
                warning
            }));
            if start > literal {
                parts.push(Part::Text(
                    text.get(literal..start).unwrap_or_default().into(),
                ));
            }
            parts.push(Part::Expression(Box::new(expression)));
            from = inside + end + 1;
            literal = from;
        }
        if literal < text.len() {
            parts.push(Part::Text(text.get(literal..).unwrap_or_default().into()));
        }
        Ok(Template { parts, warnings })
    }

    /// What has no effect, or fails whenever it is evaluated; offsets are those of the text.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Whether evaluation may read the body.
    pub fn needs_body(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Expression(e) if e.needs_body()))
    }

    /// Whether evaluation may read the XML form of the body.
    pub fn needs_xml(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Expression(e) if e.needs_xml()))
    }

    /// The text for a message; what cannot be evaluated is empty.
    ///
    /// # Errors
    /// [`Failure::Thrown`] only, with the text of the expression.
    pub fn render(&self, scope: &dyn Surroundings) -> Result<String, (&str, Failure)> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => {
                    let text = expression.string(scope).and_then(|text| {
                        bounded(out.len().saturating_add(text.len()))?;
                        Ok(text)
                    });
                    out.push_str(&text.map_err(|failure| (expression.text(), failure))?);
                }
            }
        }
        Ok(out)
    }
}

/// Where the `}` stands that ends an expression of at least one character on one line.
fn end_of(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    match characters.next() {
        Some((_, first)) if !is_line_end(first) => {}
        _ => return None,
    }
    for (at, character) in characters {
        match character {
            '}' => return Some(at),
            c if is_line_end(c) => return None,
            _ => {}
        }
    }
    None
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
