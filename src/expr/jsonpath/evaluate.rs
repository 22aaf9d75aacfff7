//! Applying a compiled path.

use super::compile::{Compiled, Token};
use super::{EvalError, Found, Origin, Slot};
use crate::expr::effort::allowed;
use crate::json::{Value, number};
use std::borrow::Cow;
use std::cell::Cell;

/// Results one path may have.
const MAX_HITS: usize = 4 << 20;
/// Members of an object, or bytes of a text, that are looked at in one step: it takes no longer than a visit.
pub(super) const CHEAP: usize = 16;
/// Positions all places of a path may have, and what a place weighs beside them.
const MAX_POSITIONS: usize = 16 << 20;
const PLACE_WEIGHT: usize = 4;
/// How large results may be that contain each other, in bytes: this, and twice the document.
const FREE_WEIGHT: usize = 16 << 20;
/// How large all copies of a new value may be together, in bytes.
const MAX_COPIES: usize = 64 << 20;
/// What a value weighs beside its text.
const VALUE_WEIGHT: usize = 32;

pub(super) fn evaluate<'v>(path: &Compiled, root: &'v Value) -> Result<Found<'v>, EvalError> {
    direct(path, root).unwrap_or_else(|| within(path, root, allowed().jsonpath))
}

pub(super) fn within<'v>(
    path: &Compiled,
    root: &'v Value,
    steps: u64,
) -> Result<Found<'v>, EvalError> {
    let steps = Cell::new(steps);
    Context {
        root,
        steps: &steps,
        slots: &[],
    }
    .evaluate(path, root, false)
}

/// The results, unless they are much larger than the document that they come from: `$..a` of `a` in
/// `a` in `a` has everything many times in it.
pub(super) fn fits<'v>(found: Found<'v>, root: &Value) -> Result<Found<'v>, EvalError> {
    if let Found::Many(values) = &found
        && values.len() > 1
    {
        let all = || values.iter().map(Cow::as_ref);
        if weight(all(), FREE_WEIGHT).is_none() {
            let document = weight(std::iter::once(root), usize::MAX).unwrap_or(usize::MAX);
            let most = document.saturating_mul(2).saturating_add(FREE_WEIGHT);
            weight(all(), most).ok_or(EvalError::TooLarge)?;
        }
    }
    Ok(found)
}

/// Whether so many copies of a value may be made.
pub(super) fn copies(value: &Value, count: usize) -> Result<(), EvalError> {
    // A small value takes no more than what it replaces.
    let most = (MAX_COPIES / count.max(1)).max(2 * VALUE_WEIGHT);
    match count < 2 || weight(std::iter::once(value), most).is_some() {
        true => Ok(()),
        false => Err(EvalError::TooLarge),
    }
}

/// What results weigh with all that is in them.
pub(super) fn weight_of(found: &Found<'_>) -> usize {
    match found {
        Found::One(value) => value_weight(value),
        Found::Many(values) => {
            weight(values.iter().map(Cow::as_ref), usize::MAX).unwrap_or(usize::MAX)
        }
    }
}

/// What a value weighs with all that is in it.
pub(super) fn value_weight(value: &Value) -> usize {
    weight(std::iter::once(value), usize::MAX).unwrap_or(usize::MAX)
}

/// What values weigh with all that is in them; `None` when it is more than `most`.
fn weight<'a>(values: impl Iterator<Item = &'a Value>, most: usize) -> Option<usize> {
    let mut open: Vec<&Value> = Vec::new();
    let mut sum = 0_usize;
    for value in values {
        open.push(value);
        while let Some(value) = open.pop() {
            let text = match value {
                Value::Null | Value::Bool(_) => 0,
                Value::Number(text) => text.len(),
                Value::String(text) => text.len(),
                Value::Array(items) => {
                    open.extend(items);
                    0
                }
                Value::Object(members) => {
                    open.extend(members.iter().map(|(_, value)| value));
                    members.iter().map(|(name, _)| name.len()).sum()
                }
            };
            sum = sum.saturating_add(text).saturating_add(VALUE_WEIGHT);
            if sum > most {
                return None;
            }
        }
    }
    Some(sum)
}

/// As [`evaluate`], with values for the open places.
pub(super) fn fill<'v>(
    path: &Compiled,
    root: &'v Value,
    slots: &[Slot],
) -> Result<(Found<'v>, Origin), EvalError> {
    let found = match direct(path, root) {
        Some(found) => found?,
        None => {
            let steps = Cell::new(allowed().jsonpath);
            Context {
                root,
                steps: &steps,
                slots,
            }
            .evaluate(path, root, false)?
        }
    };
    let origin = match (&found, path.tokens.last()) {
        (Found::Many(_), _) => Origin::List,
        (_, None) => Origin::Root,
        (_, Some(Token::Function(_))) => Origin::Function,
        (_, Some(Token::Name(_) | Token::Names(_))) => Origin::Member,
        (_, Some(Token::Slot(number, _))) => match slots.get(*number) {
            Some(Slot::Name(_)) => Origin::Member,
            _ => Origin::Item,
        },
        _ => Origin::Item,
    };
    Ok((found, origin))
}

/// The places a path selects, as positions from the root.
pub(super) fn places(path: &Compiled, root: &Value) -> Result<Vec<Vec<usize>>, EvalError> {
    let steps = Cell::new(allowed().jsonpath);
    let mut run = Run::new(
        Context {
            root,
            steps: &steps,
            slots: &[],
        },
        false,
        true,
    );
    run.walk(&path.tokens, root, true, false)?;
    if path.definite && run.places.is_empty() {
        return Err(missing());
    }
    Ok(run.places)
}

pub(super) fn missing() -> EvalError {
    EvalError::NotFound(String::new())
}

/// Plain paths of names and indexes need no bookkeeping; they are nearly all there are.
fn direct<'v>(path: &Compiled, root: &'v Value) -> Option<Result<Found<'v>, EvalError>> {
    let plain = |token: &Token| matches!(token, Token::Name(_) | Token::Index(_));
    if !path.tokens.iter().all(plain) {
        return None;
    }
    let mut value = root;
    let mut member = false;
    for token in &path.tokens {
        let next = match token {
            Token::Name(name) => value.get(name),
            Token::Index(index) => value
                .as_array()
                .and_then(|items| items.get(effective(*index, items)?)),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Some(Err(missing())),
        }
        member = matches!(token, Token::Name(_));
    }
    Some(Ok(Found::One(shown(value, member))))
}

/// Numbers lose their spelling when Jayway reads them from an object, but not from an array.
fn shown(value: &Value, member: bool) -> Cow<'_, Value> {
    if let Value::Number(text) = value
        && member
        && let Cow::Owned(text) = number::unwrapped(text)
    {
        return Cow::Owned(Value::number(text));
    }
    Cow::Borrowed(value)
}

/// A position in an array; negative ones count from the end.
fn effective(index: i64, items: &[Value]) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => items
            .len()
            .checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// What all evaluations started by one path share.
#[derive(Clone, Copy)]
pub(super) struct Context<'v, 's> {
    pub(super) root: &'v Value,
    steps: &'s Cell<u64>,
    pub(super) slots: &'s [Slot],
}

impl<'v> Context<'v, '_> {
    /// The position of a member. Looking for one among many is work, too.
    fn position(self, value: &Value, name: &str) -> Result<Option<usize>, EvalError> {
        if let Value::Object(members) = value {
            self.spend(members.len() / CHEAP)?;
        }
        Ok(value.position(name))
    }

    /// Applies a path to `start`. `strict` is Jayway's REQUIRE_PROPERTIES, under which every absent
    /// member is an error.
    pub(super) fn evaluate(
        self,
        path: &Compiled,
        start: &'v Value,
        strict: bool,
    ) -> Result<Found<'v>, EvalError> {
        let mut run = Run::new(self, strict, false);
        run.walk(&path.tokens, start, true, false)?;
        match path.definite {
            true => run.hits.pop().map(Found::One).ok_or_else(missing),
            false => Ok(Found::Many(run.hits)),
        }
    }

    pub(super) fn step(self) -> Result<(), EvalError> {
        self.spend(1)
    }

    /// Work that is not a visit of a value.
    pub(super) fn spend(self, steps: usize) -> Result<(), EvalError> {
        match self.steps.get().checked_sub(steps as u64) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => Err(EvalError::TooManySteps),
        }
    }
}

struct Run<'v, 's> {
    context: Context<'v, 's>,
    strict: bool,
    /// Collect places rather than values.
    tracking: bool,
    at: Vec<usize>,
    hits: Vec<Cow<'v, Value>>,
    places: Vec<Vec<usize>>,
    /// How much `places` holds.
    positions: usize,
}

impl<'v, 's> Run<'v, 's> {
    fn new(context: Context<'v, 's>, strict: bool, tracking: bool) -> Self {
        Self {
            context,
            strict,
            tracking,
            at: Vec::new(),
            hits: Vec::new(),
            places: Vec::new(),
            positions: 0,
        }
    }

    /// Applies the rest of a path. `firm`: everything before was definite, so what does not fit is
    /// an error. `member`: the value was read from an object.
    fn walk(
        &mut self,
        tokens: &[Token],
        value: &'v Value,
        firm: bool,
        member: bool,
    ) -> Result<(), EvalError> {
        self.context.step()?;
        let Some((token, rest)) = tokens.split_first() else {
            return self.hit(shown(value, member));
        };
        match token {
            Token::Name(name) => self.name(name, rest, value, firm, firm),
            Token::Names(names) if rest.is_empty() => self.merge(names, value, firm),
            Token::Names(names) => names
                .iter()
                .try_for_each(|name| self.name(name, rest, value, false, firm)),
            Token::Wildcard => self.children(rest, value),
            Token::Index(index) => {
                let items = self.items(value, firm)?;
                self.index(*index, items, rest, firm)
            }
            Token::Indices(indexes) => {
                let items = self.items(value, firm)?;
                indexes
                    .iter()
                    .try_for_each(|index| self.index(*index, items, rest, false))
            }
            Token::Slice(from, to) => {
                let items = self.items(value, firm)?;
                let (from, to) = slice(*from, *to, items.len());
                (from..to).try_for_each(|index| self.index(index, items, rest, false))
            }
            Token::Filter(filter) => match value {
                Value::Object(_) => match filter.accepts(value, self.context)? {
                    true => self.walk(rest, value, false, false),
                    false => Ok(()),
                },
                Value::Array(items) => {
                    for (at, item) in items.iter().enumerate() {
                        self.context.step()?;
                        if filter.accepts(item, self.context)? {
                            self.descend(at, rest, item, false, false)?;
                        }
                    }
                    Ok(())
                }
                _ if firm => Err(missing()),
                _ => Ok(()),
            },
            Token::Slot(number, _) => match self.context.slots.get(*number) {
                Some(Slot::Name(name)) => self.name(name, rest, value, firm, firm),
                Some(Slot::Index(index)) => {
                    let items = self.items(value, firm)?;
                    self.index(*index, items, rest, firm)
                }
                Some(Slot::Indices(indexes)) => {
                    let items = self.items(value, firm)?;
                    indexes
                        .iter()
                        .try_for_each(|index| self.index(*index, items, rest, false))
                }
                Some(Slot::Slice(from, to)) => {
                    let items = self.items(value, firm)?;
                    let (from, to) = slice(*from, *to, items.len());
                    (from..to).try_for_each(|index| self.index(index, items, rest, false))
                }
                Some(Slot::Operand(_)) | None => Err(missing()),
            },
            Token::Scan => self.scan(rest, value),
            Token::Function(_) if self.tracking => Err(EvalError::NotChangeable(
                "the result of a function cannot be changed".to_owned(),
            )),
            // The reference reads on behind the closing bracket and never finds anything.
            Token::Function(_) if !rest.is_empty() => Err(missing()),
            Token::Function(function) => {
                let result = function.call(value, self.context)?;
                self.hit(Cow::Owned(result))
            }
        }
    }

    fn hit(&mut self, value: Cow<'v, Value>) -> Result<(), EvalError> {
        if self.tracking {
            return self.place(self.at.clone());
        }
        self.hits.push(value);
        match self.hits.len() > MAX_HITS {
            true => Err(EvalError::TooManySteps),
            false => Ok(()),
        }
    }

    fn place(&mut self, place: Vec<usize>) -> Result<(), EvalError> {
        self.positions += place.len() + PLACE_WEIGHT;
        self.places.push(place);
        match self.positions > MAX_POSITIONS {
            true => Err(EvalError::TooManySteps),
            false => Ok(()),
        }
    }

    fn descend(
        &mut self,
        position: usize,
        rest: &[Token],
        value: &'v Value,
        firm: bool,
        member: bool,
    ) -> Result<(), EvalError> {
        self.at.push(position);
        let result = self.walk(rest, value, firm, member);
        self.at.pop();
        result
    }

    fn name(
        &mut self,
        name: &str,
        rest: &[Token],
        value: &'v Value,
        firm: bool,
        upstream: bool,
    ) -> Result<(), EvalError> {
        if !matches!(value, Value::Object(_)) {
            return if upstream { Err(missing()) } else { Ok(()) };
        }
        let place = self.context.position(value, name)?;
        match place.and_then(|at| Some((at, value.child(at)?))) {
            Some((at, child)) => self.descend(at, rest, child, firm, true),
            None if self.strict || (firm && !rest.is_empty()) => Err(missing()),
            None => Ok(()),
        }
    }

    /// `['a','b']` at the end of a path: one object of what is there.
    fn merge(&mut self, names: &[String], value: &'v Value, firm: bool) -> Result<(), EvalError> {
        if !matches!(value, Value::Object(_)) {
            return if firm { Err(missing()) } else { Ok(()) };
        }
        let mut members: Vec<(String, Value)> = Vec::new();
        for name in names {
            self.context.spend(members.len() / CHEAP)?;
            let place = self.context.position(value, name)?;
            let Some((at, child)) = place.and_then(|at| Some((at, value.child(at)?))) else {
                if self.strict {
                    return Err(missing());
                }
                continue;
            };
            if self.tracking {
                self.place([&self.at[..], &[at]].concat())?;
            } else if !members.iter().any(|(known, _)| known == name) {
                members.push((name.clone(), shown(child, true).into_owned()));
            }
        }
        match self.tracking {
            true => Ok(()),
            false => self.hit(Cow::Owned(Value::Object(members))),
        }
    }

    fn children(&mut self, rest: &[Token], value: &'v Value) -> Result<(), EvalError> {
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.descend(at, rest, item, false, false)?;
                }
            }
            object => {
                for (at, _, child) in object.members() {
                    self.descend(at, rest, child, false, true)?;
                }
            }
        }
        Ok(())
    }

    /// The items an index applies to; none where the path may come by other values.
    fn items(&self, value: &'v Value, firm: bool) -> Result<&'v [Value], EvalError> {
        match value.as_array() {
            Some(items) => Ok(items),
            None if firm => Err(missing()),
            None => Ok(&[]),
        }
    }

    fn index(
        &mut self,
        index: i64,
        items: &'v [Value],
        rest: &[Token],
        firm: bool,
    ) -> Result<(), EvalError> {
        match effective(index, items).and_then(|at| Some((at, items.get(at)?))) {
            Some((at, item)) => self.descend(at, rest, item, firm, false),
            None => Ok(()),
        }
    }

    /// `..`: the rest of the path at every place it fits, parents before children.
    fn scan(&mut self, rest: &[Token], value: &'v Value) -> Result<(), EvalError> {
        self.context.step()?;
        if !matches!(value, Value::Array(_) | Value::Object(_)) {
            return Ok(());
        }
        let object = matches!(value, Value::Object(_));
        let context = self.context;
        let has = |name: &str| -> Result<bool, EvalError> {
            Ok(context.position(value, name)?.is_some())
        };
        let fits = match rest.first() {
            Some(Token::Name(name)) => object && (self.strict || has(name)?),
            Some(Token::Names(names)) => {
                let mut all = object;
                if !(self.strict || rest.len() > 1) {
                    for name in names {
                        all = all && has(name)?;
                    }
                }
                all
            }
            Some(Token::Index(_) | Token::Indices(_) | Token::Slice(..)) => !object,
            Some(Token::Wildcard) => true,
            Some(Token::Slot(number, _)) => match self.context.slots.get(*number) {
                Some(Slot::Name(name)) => object && has(name)?,
                _ => !object,
            },
            Some(Token::Filter(filter)) => filter.accepts(value, self.context)?,
            Some(Token::Scan | Token::Function(_)) | None => false,
        };
        if fits {
            self.walk(rest, value, false, false)?;
        }
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.scan_child(at, rest, item)?;
                }
            }
            object => {
                for (at, _, child) in object.members() {
                    self.scan_child(at, rest, child)?;
                }
            }
        }
        Ok(())
    }

    fn scan_child(&mut self, at: usize, rest: &[Token], child: &'v Value) -> Result<(), EvalError> {
        self.at.push(at);
        let result = self.scan(rest, child);
        self.at.pop();
        result
    }
}

/// The indexes a slice covers, Jayway's way: with both bounds given, negative ones are not counted
/// from the end before they are compared, so `[0:-1]` is empty and `[-2:1]` wraps around.
fn slice(from: Option<i64>, to: Option<i64>, length: usize) -> (i64, i64) {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |bound: i64| if bound < 0 { length + bound } else { bound };
    match (from, to) {
        (Some(from), Some(to)) => (from.max(-length), to.min(length)),
        (Some(from), None) => (from_end(from).max(0), length),
        (None, Some(to)) => (0, from_end(to).min(length)),
        (None, None) => (0, length),
    }
}
