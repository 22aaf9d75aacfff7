//! The JSON tree.

use std::collections::HashMap;

/// A JSON value (spec 01 §17.1): number text, key order and duplicate keys are kept as written.
///
/// Values nest at most [`MAX_DEPTH`](super::MAX_DEPTH) levels when they come from
/// [`parse`](super::parse()); whoever grows a value otherwise checks [`Value::depth`], because
/// dropping, cloning and comparing recurse.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its exact text.
    Number(Box<str>),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object: members in document order, duplicates included.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// A number from anything that prints as JSON number text, such as an integer (spec 05 §4.2).
    pub fn number(text: impl ToString) -> Self {
        Self::Number(text.to_string().into_boxed_str())
    }

    /// The member `key` of an object; of duplicates the last, as Gson keeps it (spec 05 §4).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).and_then(|at| self.child(at))
    }

    /// The position of member `key` among the members (spec 05 §4).
    pub fn position(&self, key: &str) -> Option<usize> {
        match self {
            Self::Object(members) => members.iter().rposition(|(name, _)| name == key),
            _ => None,
        }
    }

    /// The value at a position: array item or object member (spec 05 §4).
    pub fn child(&self, position: usize) -> Option<&Value> {
        match self {
            Self::Array(items) => items.get(position),
            Self::Object(members) => members.get(position).map(|(_, value)| value),
            _ => None,
        }
    }

    /// As [`Value::child`], for changing it (spec 03 §15.1).
    pub fn child_mut(&mut self, position: usize) -> Option<&mut Value> {
        match self {
            Self::Array(items) => items.get_mut(position),
            Self::Object(members) => members.get_mut(position).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The items, if this is an array (spec 05 §4.3).
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if this is a string (spec 05 §4.3).
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object as a map sees them: every key once, at its first place, with its
    /// last value (Gson's rule, spec 05 §4). Empty for anything else.
    pub fn members(&self) -> Members<'_> {
        let members = match self {
            Self::Object(members) => members.as_slice(),
            _ => &[],
        };
        Members {
            members,
            last: last_places(members),
            at: 0,
        }
    }

    /// Levels of nesting: 0 for a scalar, 1 for an array of scalars (spec 01 §17.1).
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut open: Vec<(&Value, usize)> = vec![(self, 0)];
        while let Some((value, level)) = open.pop() {
            match value {
                Self::Array(items) => {
                    deepest = deepest.max(level + 1);
                    open.extend(items.iter().map(|item| (item, level + 1)));
                }
                Self::Object(members) => {
                    deepest = deepest.max(level + 1);
                    open.extend(members.iter().map(|(_, item)| (item, level + 1)));
                }
                _ => {}
            }
        }
        deepest
    }
}

/// The distinct members of an object, see [`Value::members`] (spec 05 §4).
#[derive(Debug)]
pub struct Members<'v> {
    members: &'v [(String, Value)],
    /// Last place of each key; `None` when no key repeats, which is nearly always.
    last: Option<HashMap<&'v str, usize>>,
    at: usize,
}

impl<'v> Iterator for Members<'v> {
    type Item = (usize, &'v str, &'v Value);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let (name, value) = self.members.get(at)?;
            self.at += 1;
            let Some(last) = &mut self.last else {
                return Some((at, name, value));
            };
            // Taking the entry out marks the key as delivered.
            if let Some(place) = last.remove(name.as_str()) {
                return self
                    .members
                    .get(place)
                    .map(|(_, v)| (place, name.as_str(), v));
            }
        }
    }
}

fn last_places(members: &[(String, Value)]) -> Option<HashMap<&str, usize>> {
    const SMALL: usize = 16;
    if members.len() <= SMALL {
        let repeats = members
            .iter()
            .enumerate()
            .any(|(at, (name, _))| members[..at].iter().any(|(earlier, _)| earlier == name));
        if !repeats {
            return None;
        }
    }
    let last: HashMap<&str, usize> = members
        .iter()
        .enumerate()
        .map(|(at, (name, _))| (name.as_str(), at))
        .collect();
    (last.len() != members.len()).then_some(last)
}
