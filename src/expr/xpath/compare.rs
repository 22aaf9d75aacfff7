//! `=`, `!=`, `<`, `<=`, `>`, `>=` as Jaxen compares (spec 05 §3.7).

use super::eval::{Context, Evaluator, Result, Val, streamable};
use super::program::{Expr, Relation};
use super::{Node, convert};
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
        path: &'p super::program::Path,
        value: Val<'p, 'a>,
        equal: bool,
        context: Context<'a>,
    ) -> Result<bool> {
        match value {
            Val::Null => Ok(false),
            Val::Bool(b) => {
                let any = self.any(path, context, &mut |_, _| Ok(true))?;
                Ok((any == b) == equal)
            }
            value => self.any(path, context, &mut |ev, node| {
                ev.node_equal(node, &value, equal)
            }),
        }
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
            (Some(path), None) => {
                let right = self.eval(second, context)?;
                let Some(bounds) = self.bounds(&right)? else {
                    return Ok(false);
                };
                self.any(path, context, &mut |ev, node| {
                    let number = convert::parse_number(&ev.node_text(Some(node))?);
                    Ok(holds(*relation, Bounds::of(number), bounds))
                })?
            }
            (None, Some(path)) => {
                let left = self.eval(first, context)?;
                let Some(bounds) = self.bounds(&left)? else {
                    return Ok(false);
                };
                self.any(path, context, &mut |ev, node| {
                    let number = convert::parse_number(&ev.node_text(Some(node))?);
                    Ok(holds(*relation, bounds, Bounds::of(number)))
                })?
            }
            _ => {
                let left = self.eval(first, context)?;
                let right = self.eval(second, context)?;
                match (self.bounds(&left)?, self.bounds(&right)?) {
                    (Some(left), Some(right)) => holds(*relation, left, right),
                    _ => false,
                }
            }
        };
        for (relation, e) in rest {
            let right = self.eval(e, context)?;
            let left = Bounds::of(f64::from(u8::from(result)));
            result = self
                .bounds(&right)?
                .is_some_and(|right| holds(*relation, left, right));
        }
        Ok(result)
    }

    /// Smallest and largest number of a value; `None` when there is none.
    fn bounds(&mut self, value: &Val<'p, 'a>) -> Result<Option<Bounds>> {
        let Val::Nodes(set) = value else {
            return Ok(Bounds::of_scalar(value));
        };
        let mut all: Option<Bounds> = None;
        for node in &set.nodes {
            let number = convert::parse_number(&self.node_text(Some(*node))?);
            if !number.is_nan() {
                let b = all.unwrap_or(Bounds::of(number));
                all = Some(Bounds {
                    min: b.min.min(number),
                    max: b.max.max(number),
                });
            }
        }
        Ok(all)
    }
}

/// For an existential `<` only the extremes of the two sides matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    min: f64,
    max: f64,
}

impl Bounds {
    pub(super) fn of(number: f64) -> Bounds {
        Bounds {
            min: number,
            max: number,
        }
    }

    pub(super) fn of_scalar(value: &Val<'_, '_>) -> Option<Bounds> {
        let number = convert::scalar_number(value);
        (!number.is_nan()).then(|| Bounds::of(number))
    }
}

pub(super) fn holds(relation: Relation, left: Bounds, right: Bounds) -> bool {
    match relation {
        Relation::Less => left.min < right.max,
        Relation::LessEqual => left.min <= right.max,
        Relation::Greater => left.max > right.min,
        Relation::GreaterEqual => left.max >= right.min,
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
