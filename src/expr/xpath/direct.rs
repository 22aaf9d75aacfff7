//! `//name = 'text'` as a whole expression: what content-based routing asks most, and for small messages cheaper to
//! answer than an evaluator is to set up.

use super::eval::{Result, exhausted};
use super::program::{Axis, Expr, NodeTest, Program, Start};
use super::{Scope, budget};
use crate::xml::{Document, ExpandedName, Named};

/// Whether an element of this name has, or has not, this string-value.
#[derive(Debug)]
pub(super) struct Direct {
    name: ExpandedName,
    text: Box<str>,
    equal: bool,
    /// Looks from the root of the tree, not from the context node.
    from_root: bool,
}

impl Direct {
    /// What a program asks, when it is nothing but that.
    pub(super) fn of(program: &Program) -> Option<Direct> {
        let Expr::Equality(left, rest) = &program.root else {
            return None;
        };
        let (path, text, equal) = match (&**left, rest.as_slice()) {
            (Expr::Path(path), [(equal, Expr::Literal(text))])
            | (Expr::Literal(text), [(equal, Expr::Path(path))]) => (path, text, *equal),
            _ => return None,
        };
        let [step] = path.steps.as_slice() else {
            return None;
        };
        let NodeTest::Name { name, .. } = &step.test else {
            return None;
        };
        let from_root = match path.start {
            Start::Root => true,
            Start::Context => false,
            Start::Filter(..) => return None,
        };
        let plain = step.axis == Axis::Descendant && step.predicates.is_empty() && !path.overlap;
        plain.then(|| Direct {
            name: name.clone(),
            text: text.clone(),
            equal,
            from_root,
        })
    }

    /// The answer for a message; `None` when there is none to look at.
    #[inline]
    pub(super) fn answer(&self, scope: &dyn Scope) -> Option<Result<bool>> {
        let (document, envelope) = scope.envelope()?;
        let Some(name) = document.id_of(&self.name) else {
            return Some(Ok(false));
        };
        let mut top = envelope;
        if self.from_root && scope.has_document_root() {
            while let Some(above) = document.parent(top) {
                top = above;
            }
        }
        let elements = document.elements_named(top, name);
        let mut budget = budget();
        Some(some_equal(
            document,
            elements,
            &self.text,
            self.equal,
            &mut budget,
        ))
    }
}

/// Whether one of the elements has, or has not, this string-value.
#[inline]
pub(super) fn some_equal(
    document: &Document,
    elements: Named<'_>,
    text: &str,
    equal: bool,
    budget: &mut u64,
) -> Result<bool> {
    for (element, looked_at) in elements {
        let (is, work) = document.has_string_value(element, text);
        *budget = budget.checked_sub(looked_at + work).ok_or_else(exhausted)?;
        if is == equal {
            return Ok(true);
        }
    }
    Ok(false)
}
