//! Changing a document at the places a path selects.

use super::compile::Token;
use super::{EvalError, JsonPath, evaluate};
use crate::json::{MAX_DEPTH, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Members that renaming may go through.
const MAX_RENAME_WORK: usize = 256 << 20;

/// A place in one particular document; worthless once that document changed its shape
/// (spec 03 §15.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(Vec<usize>);

impl Location {
    /// The value there (spec 03 §15.1).
    pub fn get_mut<'v>(&self, root: &'v mut Value) -> Option<&'v mut Value> {
        walk_mut(root, &self.0)
    }
}

fn walk_mut<'v>(root: &'v mut Value, positions: &[usize]) -> Option<&'v mut Value> {
    positions
        .iter()
        .try_fold(root, |value, position| value.child_mut(*position))
}

/// Whether a value may be put at so many places (spec 03 §15.1): a small body must not become a huge one.
///
/// # Errors
/// [`EvalError::TooLarge`]
pub fn copies_fit(new: &Value, places: usize) -> Result<(), EvalError> {
    evaluate::copies(new, places)
}

impl JsonPath {
    /// The places the path selects; none is an error for a definite path (spec 03 §15.1).
    pub fn locate(&self, root: &Value) -> Result<Vec<Location>, EvalError> {
        let places = evaluate::places(&self.compiled, root).map_err(|error| self.named(error))?;
        Ok(places.into_iter().map(Location).collect())
    }

    /// Puts `new` at every place the path selects and returns how many there were. A definite path
    /// whose last name is new adds that member (spec 03 §15.1).
    pub fn set(&self, root: &mut Value, new: &Value) -> Result<usize, EvalError> {
        let places = match self.locate(root) {
            Err(EvalError::NotFound(_)) => return self.insert(root, new),
            places => places?,
        };
        let deepest = places.iter().map(|place| place.0.len()).max().unwrap_or(0);
        check_depth(deepest, new)?;
        copies_fit(new, places.len())?;
        // A place inside another would be gone, so the outer ones come last.
        for place in places.iter().rev() {
            if let Some(value) = place.get_mut(root) {
                *value = new.clone();
            }
        }
        Ok(places.len())
    }

    fn insert(&self, root: &mut Value, new: &Value) -> Result<usize, EvalError> {
        let missing = || EvalError::NotFound(self.as_str().to_owned());
        let Some((Token::Name(name), parent)) = self.compiled.tokens.split_last() else {
            return Err(missing());
        };
        let mut path = self.compiled.clone();
        path.tokens = parent.to_vec();
        let places = evaluate::places(&path, root).map_err(|error| self.named(error))?;
        let place = places.last().ok_or_else(missing)?;
        check_depth(place.len() + 1, new)?;
        match walk_mut(root, place) {
            Some(Value::Object(members)) => {
                members.push((name.clone(), new.clone()));
                Ok(1)
            }
            _ => Err(missing()),
        }
    }

    /// Removes every value the path selects and returns how many there were (spec 03 §15.1).
    pub fn delete(&self, root: &mut Value) -> Result<usize, EvalError> {
        let mut parents: BTreeMap<Vec<usize>, BTreeSet<usize>> = BTreeMap::new();
        let mut count = 0;
        for Location(mut place) in self.locate(root)? {
            let Some(position) = place.pop() else {
                return Err(EvalError::NotChangeable(
                    "the whole document cannot be removed".to_owned(),
                ));
            };
            count += usize::from(parents.entry(place).or_default().insert(position));
        }
        // Inner containers first: removing shifts positions only in what comes later here.
        for (parent, positions) in parents.iter().rev() {
            match walk_mut(root, parent) {
                Some(Value::Array(items)) => {
                    let mut at = 0;
                    items.retain(|_| {
                        at += 1;
                        !positions.contains(&(at - 1))
                    });
                }
                Some(Value::Object(members)) => {
                    let names: BTreeSet<String> = positions
                        .iter()
                        .filter_map(|position| members.get(*position))
                        .map(|(name, _)| name.clone())
                        .collect();
                    // All duplicates go: a path only ever sees the last.
                    members.retain(|(name, _)| !names.contains(name));
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// Renames the member every selected value belongs to, moving it to the end as the reference
    /// does, and returns how many there were (spec 03 §15.1).
    pub fn rename(&self, root: &mut Value, name: &str) -> Result<usize, EvalError> {
        let mut places = self.locate(root)?;
        places.sort_by(|one, other| other.0.cmp(&one.0));
        places.dedup();
        let mut count = 0;
        let mut work = 0_usize;
        for Location(place) in &places {
            let Some((position, parent)) = place.split_last() else {
                continue;
            };
            let Some(Value::Object(members)) = walk_mut(root, parent) else {
                continue;
            };
            // Each of many members of one object goes through all of them.
            work = work.saturating_add(members.len());
            if work > MAX_RENAME_WORK {
                return Err(EvalError::TooManySteps);
            }
            let Some((old, value)) = members.get(*position).cloned() else {
                continue;
            };
            count += 1;
            if old == name {
                continue;
            }
            match members.iter_mut().rfind(|(known, _)| known == name) {
                Some(existing) => existing.1 = value,
                None => members.push((name.to_owned(), value)),
            }
            members.retain(|(known, _)| *known != old);
        }
        match count {
            0 => Err(EvalError::NotChangeable(
                "the path selects no member to rename".to_owned(),
            )),
            count => Ok(count),
        }
    }
}

/// Documents grow by repeated changes; values must stay shallow enough to be dropped recursively.
fn check_depth(place: usize, new: &Value) -> Result<(), EvalError> {
    match place + new.depth() > MAX_DEPTH {
        true => Err(EvalError::TooDeep),
        false => Ok(()),
    }
}
