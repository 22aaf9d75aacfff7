//! `=`, `!=`, `<`, `<=`, `>`, `>=` as Jaxen compares (spec 05 §3.7).

use super::direct::some_equal;
use super::eval::{Context, Evaluator, Result, Val, streamable};
use super::program::{Axis, Expr, NodeTest, Path, Relation};
use super::{Node, convert};
use crate::xml::{Document, Named};
use std::borrow::Cow;
use std::collections::HashSet;

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    pub(super) fn equality(
        &mut self,
        first: &'p Expr,
        rest: &'p [(bool, Expr)],
        context: Context<'a>,
    ) -> Result<bool> {
        let Some(((equal, second), rest)) = rest.split_first() else {
            return Ok(false);
        };
        let mut result = match (streamable(first), streamable(second)) {
            (Some(path), None) => {
                let value = self.eval(second, context)?;
                match value {
                    Val::Nodes(_) => {
                        let left = self.eval(first, context)?;
                        self.equal(left, value, *equal)?
                    }
                    value => self.any_equal(path, value, *equal, context)?,
                }
            }
            (None, Some(path)) => {
                let value = self.eval(first, context)?;
                match value {
                    Val::Nodes(_) => {
                        let right = self.eval(second, context)?;
                        self.equal(value, right, *equal)?
                    }
                    value => self.any_equal(path, value, *equal, context)?,
                }
            }
            _ => {
                let left = self.eval(first, context)?;
                let right = self.eval(second, context)?;
                self.equal(left, right, *equal)?
            }
        };
        for (equal, e) in rest {
            let right = self.eval(e, context)?;
            result = self.equal(Val::Bool(result), right, *equal)?;
        }
        Ok(result)
    }

    /// A path against a value that is not a node-set, ending at the first node that decides.
    fn any_equal(
        &mut self,
        path: &'p Path,
        value: Val<'p, 'a>,
        equal: bool,
        context: Context<'a>,
    ) -> Result<bool> {
        match value {
            // Nothing equals null, but the path may still fail.
            Val::Null => self.any(path, context, &mut |_, _| Ok(false)),
            Val::Bool(b) => {
                let any = self.any(path, context, &mut |_, _| Ok(true))?;
                Ok((any == b) == equal)
            }
            Val::Str(text) => match self.named(path, context) {
                Some(elements) => self.any_named_equal(elements, &text, equal),
                None => self.any(path, context, &mut |ev, node| {
                    ev.node_equal_text(node, &text, equal)
                }),
            },
            value => self.any(path, context, &mut |ev, node| {
                ev.node_equal(node, &value, equal)
            }),
        }
    }

    /// The elements of a path that is nothing but `//name`.
    fn named(&mut self, path: &'p Path, context: Context<'a>) -> Option<(&'a Document, Named<'a>)> {
        let [step] = path.steps.as_slice() else {
            return None;
        };
        let NodeTest::Name { name, .. } = &step.test else {
            return None;
        };
        if step.axis != Axis::Descendant || !step.predicates.is_empty() || path.overlap {
            return None;
        }
        let top = self.single_start(&path.start, context)??;
        if top.attribute.is_some() {
            return None;
        }
        let name = top.document.id_of(name)?;
        Some((top.document, top.document.elements_named(top.node, name)))
    }

    fn any_named_equal(
        &mut self,
        (document, elements): (&'a Document, Named<'a>),
        text: &str,
        equal: bool,
    ) -> Result<bool> {
        some_equal(document, elements, text, equal, &mut self.budget)
    }

    fn node_equal_text(&mut self, node: Node<'a>, text: &str, equal: bool) -> Result<bool> {
        if node.attribute.is_some() {
            return Ok((self.node_text(Some(node))? == text) == equal);
        }
        let (is, work) = node.document.has_string_value(node.node, text);
        self.spend(work)?;
        Ok(is == equal)
    }

    fn node_equal(&mut self, node: Node<'a>, value: &Val<'p, 'a>, equal: bool) -> Result<bool> {
        let text = self.node_text(Some(node))?;
        Ok(match value {
            Val::Str(s) => (text == *s) == equal,
            Val::Json(_) => text.is_empty() == equal,
            other => (convert::parse_number(&text) == convert::scalar_number(other)) == equal,
        })
    }

    fn equal(&mut self, left: Val<'p, 'a>, right: Val<'p, 'a>, equal: bool) -> Result<bool> {
        match (left, right) {
            (Val::Null, _) | (_, Val::Null) => Ok(false),
            (Val::Nodes(a), Val::Nodes(b)) => self.sets_equal(&a.nodes, &b.nodes, equal),
            (Val::Nodes(set), Val::Bool(b)) | (Val::Bool(b), Val::Nodes(set)) => {
                Ok((set.nodes.is_empty() != b) == equal)
            }
            (Val::Nodes(set), other) | (other, Val::Nodes(set)) => {
                for node in set.nodes {
                    if self.node_equal(node, &other, equal)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (a, b) => Ok(scalars_equal(a, b) == equal),
        }
    }

    /// Some pair of string-values is equal, or different.
    fn sets_equal(&mut self, a: &[Node<'a>], b: &[Node<'a>], equal: bool) -> Result<bool> {
        if a.is_empty() || b.is_empty() {
            return Ok(false);
        }
        if equal {
            let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
            let mut texts: HashSet<Cow<'a, str>> = HashSet::with_capacity(small.len());
            for node in small {
                texts.insert(self.node_text(Some(*node))?);
            }
            for node in large {
                if texts.contains(&self.node_text(Some(*node))?) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        // No pair differs only when all texts of both sets are one and the same.
        let only = self.node_text(a.first().copied())?;
        for node in a.iter().chain(b) {
            if self.node_text(Some(*node))? != only {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn relational(
        &mut self,
        first: &'p Expr,
        rest: &'p [(Relation, Expr)],
        context: Context<'a>,
    ) -> Result<bool> {
        let Some(((relation, second), rest)) = rest.split_first() else {
            return Ok(false);
        };
        let mut result = match (streamable(first), streamable(second)) {
            (Some(path), None) => match self.eval(second, context)? {
                Val::Bool(right) => {
                    let left = self.any(path, context, &mut |_, _| Ok(true))?;
                    Bounds::of_bool(right).holds(*relation, Bounds::of_bool(left))
                }
                right => {
                    let bounds = self.bounds(&right)?;
                    self.any(path, context, &mut |ev, node| {
                        let left = ev.bounds_of_node(node)?;
                        Ok(left.holds(*relation, bounds))
                    })?
                }
            },
            (None, Some(path)) => match self.eval(first, context)? {
                Val::Bool(left) => {
                    let right = self.any(path, context, &mut |_, _| Ok(true))?;
                    Bounds::of_bool(left).holds(*relation, Bounds::of_bool(right))
                }
                left => {
                    let bounds = self.bounds(&left)?;
                    self.any(path, context, &mut |ev, node| {
                        let right = ev.bounds_of_node(node)?;
                        Ok(bounds.holds(*relation, right))
                    })?
                }
            },
            _ => {
                let left = self.eval(first, context)?;
                let right = self.eval(second, context)?;
                self.relate(*relation, &left, &right)?
            }
        };
        for (relation, e) in rest {
            let right = self.eval(e, context)?;
            result = self.relate(*relation, &Val::Bool(result), &right)?;
        }
        Ok(result)
    }

    /// A node-set next to a boolean counts as a boolean, and Jaxen always has the boolean on the
    /// left then.
    fn relate(
        &mut self,
        relation: Relation,
        left: &Val<'p, 'a>,
        right: &Val<'p, 'a>,
    ) -> Result<bool> {
        let (left, right) = match (left, right) {
            (Val::Bool(b), Val::Nodes(set)) | (Val::Nodes(set), Val::Bool(b)) => {
                (Bounds::of_bool(*b), Bounds::of_bool(!set.nodes.is_empty()))
            }
            _ => (self.bounds(left)?, self.bounds(right)?),
        };
        Ok(left.holds(relation, right))
    }

    /// Smallest and largest number of a value.
    fn bounds(&mut self, value: &Val<'p, 'a>) -> Result<Bounds> {
        let Val::Nodes(set) = value else {
            return Ok(Bounds::of(convert::scalar_number(value)));
        };
        let mut all = Bounds(None);
        for node in &set.nodes {
            all = all.and(self.bounds_of_node(*node)?);
        }
        Ok(all)
    }

    fn bounds_of_node(&mut self, node: Node<'a>) -> Result<Bounds> {
        let text = self.node_text(Some(node))?;
        Ok(Bounds::of(convert::parse_number(&text)))
    }
}

/// Smallest and largest number of a side, as only the extremes matter for an existential `<`;
/// nothing when no number is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds(Option<(f64, f64)>);

impl Bounds {
    pub(super) fn of(number: f64) -> Bounds {
        Bounds((!number.is_nan()).then_some((number, number)))
    }

    pub(super) fn of_bool(value: bool) -> Bounds {
        Bounds::of(f64::from(u8::from(value)))
    }

    fn and(self, other: Bounds) -> Bounds {
        Bounds(match (self.0, other.0) {
            (Some((a, b)), Some((c, d))) => Some((
                if c.total_cmp(&a).is_lt() { c } else { a },
                if d.total_cmp(&b).is_gt() { d } else { b },
            )),
            (one, None) | (None, one) => one,
        })
    }

    /// `>=` is that of Java's `Double.compareTo`, for which -0 is less than 0.
    pub(super) fn holds(self, relation: Relation, other: Bounds) -> bool {
        let (Some((min, max)), Some((other_min, other_max))) = (self.0, other.0) else {
            return false;
        };
        match relation {
            Relation::Less => min < other_max,
            Relation::LessEqual => min <= other_max,
            Relation::Greater => max > other_min,
            Relation::GreaterEqual => max.total_cmp(&other_min).is_ge(),
        }
    }
}

fn scalars_equal(a: Val<'_, '_>, b: Val<'_, '_>) -> bool {
    let is_number = |v: &Val<'_, '_>| matches!(v, Val::Num(_) | Val::Int(_) | Val::Float(_));
    if matches!(a, Val::Bool(_)) || matches!(b, Val::Bool(_)) {
        convert::truth(&a) == convert::truth(&b)
    } else if is_number(&a) || is_number(&b) {
        convert::scalar_number(&a) == convert::scalar_number(&b)
    } else {
        convert::scalar_text(a) == convert::scalar_text(b)
    }
}
