//! A small map of properties: a message holds few, so a list beats a hash table.

use super::value::Value;
use std::borrow::Cow;

/// Properties of one scope, in the order in which they were first set.
#[derive(Clone, Debug, Default)]
pub struct Props(Vec<(Cow<'static, str>, Value)>);

impl Props {
    /// No properties; allocates nothing.
    pub const fn new() -> Props {
        Props(Vec::new())
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| &**n == name).map(|(_, v)| v)
    }

    /// The text of a string value.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Whether the value means true ([`Value::is_true`]).
    pub fn is_true(&self, name: &str) -> bool {
        !self.0.is_empty() && self.get(name).is_some_and(Value::is_true)
    }

    /// Sets or replaces.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.put(name, || Cow::Owned(name.to_owned()), value.into());
    }

    /// As [`Props::set`] for a name that the program knows: it is not copied.
    pub fn set_known(&mut self, name: &'static str, value: impl Into<Value>) {
        self.put(name, || Cow::Borrowed(name), value.into());
    }

    fn put(&mut self, name: &str, owned: impl FnOnce() -> Cow<'static, str>, value: Value) {
        match self.0.iter_mut().find(|(n, _)| &**n == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((owned(), value)),
        }
    }

    /// Removes; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(n, _)| &**n != name);
        before != self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(n, v)| (&**n, v))
    }
}
