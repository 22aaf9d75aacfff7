//! Typed access to a TOML document by MI's dotted keys: positions, placeholders, ranges, and which
//! keys nobody asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::error::WarningKind;
use super::inject::{Guard, References, inject, whole_reference};
use super::keys;
use super::secret::Secret;
use super::units::{self, Unit};

/// Deeper tables are refused, so that walking them cannot exhaust the stack.
const MAX_TABLE_DEPTH: usize = 64;

/// Most unknown keys for which a similar known one is searched.
const MAX_HINTS: usize = 100;

/// A value as the readers see it: tables outside of lists are gone, their keys joined with dots.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<(Value, Range<usize>)>),
    Table(Table),
}

/// A table by dotted keys. MI does the same, so `[a] b.c`, `[a.b] c` and `a.'b.c'` are one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The parts of the key as written, with their places.
    path: Vec<(String, Range<usize>)>,
    value: Value,
    span: Range<usize>,
}

/// Something wrong at a place of the file.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) at: usize,
    pub(super) key: String,
    pub(super) message: String,
}

/// Makes a [`Table`] of a parsed document.
pub(super) fn flatten(document: &DeTable<'_>, errors: &mut Vec<Finding>) -> Table {
    let mut table = Table::default();
    flatten_into(document, &mut Vec::new(), &mut table, errors);
    table
}

fn flatten_into(
    from: &DeTable<'_>,
    path: &mut Vec<(String, Range<usize>)>,
    into: &mut Table,
    errors: &mut Vec<Finding>,
) {
    for (key, value) in from {
        path.push((key.get_ref().to_string(), key.span()));
        let name = join(path);
        let at = key.span().start;
        if path.len() > MAX_TABLE_DEPTH {
            errors.push(Finding {
                at,
                message: format!("tables are nested more than {MAX_TABLE_DEPTH} deep"),
                key: name,
            });
        } else if let DeValue::Table(inner) = value.get_ref() {
            flatten_into(inner, path, into, errors);
        } else if let Some(value_here) = convert(value, &name, path.len(), errors) {
            let entry = Entry {
                path: path.clone(),
                value: value_here,
                span: value.span(),
            };
            if into.entries.insert(name.clone(), entry).is_some() {
                errors.push(Finding {
                    at,
                    message: format!("\"{name}\" is set twice"),
                    key: name,
                });
            }
        }
        path.pop();
    }
}

fn convert(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    depth: usize,
    errors: &mut Vec<Finding>,
) -> Option<Value> {
    let mut wrong = |message: &str| {
        errors.push(Finding {
            at: value.span().start,
            key: key.to_owned(),
            message: format!("\"{key}\" {message}"),
        });
        None
    };
    if depth > MAX_TABLE_DEPTH {
        return wrong("is nested too deeply");
    }
    Some(match value.get_ref() {
        DeValue::String(s) => Value::Text(s.to_string()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(i) => Value::Integer(i),
            Err(_) => return wrong("is too large a number"),
        },
        DeValue::Float(f) => match f.as_str().parse() {
            Ok(f) => Value::Float(f),
            Err(_) => return wrong("is not a number"),
        },
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::Text(d.to_string()),
        DeValue::Array(list) => Value::List(
            list.iter()
                .filter_map(|v| Some((convert(v, key, depth + 1, errors)?, v.span())))
                .collect(),
        ),
        DeValue::Table(inner) => {
            let mut table = Table::default();
            flatten_into(inner, &mut Vec::new(), &mut table, errors);
            Value::Table(table)
        }
    })
}

fn join(path: &[(String, Range<usize>)]) -> String {
    path.iter()
        .map(|(part, _)| part.as_str())
        .collect::<Vec<_>>()
        .join(".")
}

/// What all readers of one document share.
pub(super) struct Document<'a> {
    pub(super) root: &'a Table,
    pub(super) environment: &'a Environment,
    pub(super) errors: RefCell<Vec<Finding>>,
    pub(super) warnings: RefCell<Vec<(WarningKind, Finding)>>,
}

impl Document<'_> {
    /// A key may be read several times, its problem is one.
    fn error(&self, at: usize, key: &str, message: String) {
        let mut errors = self.errors.borrow_mut();
        if !errors.iter().any(|e| e.at == at && e.message == message) {
            errors.push(Finding {
                at,
                key: key.to_owned(),
                message,
            });
        }
    }
}

impl References for Document<'_> {
    fn text_of(&self, key: &str, guard: &mut Guard) -> Result<String, String> {
        let Some(entry) = self.root.entries.get(key) else {
            return keys::DEFAULTS
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| (*value).to_owned())
                .ok_or_else(|| format!("$ref{{{key}}}: \"{key}\" is not set in this file"));
        };
        guard.enter(key, |guard| match &entry.value {
            Value::Text(text) => inject(text, self.environment, self, guard),
            other => scalar_text(other)
                .ok_or_else(|| format!("$ref{{{key}}}: \"{key}\" is not a single value")),
        })
    }

    fn system_parameter(&self, name: &str, guard: &mut Guard) -> Option<Result<String, String>> {
        let key = format!("system.parameter.{name}");
        self.root
            .entries
            .contains_key(&key)
            .then(|| self.text_of(&key, guard))
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(i) => Some(i.to_string()),
        Value::Float(f) => Some(f.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::List(_) | Value::Table(_) => None,
    }
}

/// Reads one table. A method given several keys takes the first that is present; they are names
/// of the same setting. `None` means not set, or wrong and already reported.
pub(super) struct Reader<'a> {
    document: &'a Document<'a>,
    table: &'a Table,
    /// What stands before the keys in messages.
    prefix: String,
    /// Where the table starts.
    at: usize,
    asked: RefCell<BTreeSet<String>>,
}

/// A value found, with what is needed to complain about it.
struct Found {
    key: String,
    /// As written in the file. Messages show this and not what a placeholder became, which may be
    /// a secret.
    written: Value,
    value: Value,
    span: Range<usize>,
}

impl<'a> Reader<'a> {
    /// A reader of the whole document.
    pub(super) fn new(document: &'a Document<'a>) -> Self {
        Self {
            document,
            table: document.root,
            prefix: String::new(),
            at: 0,
            asked: RefCell::default(),
        }
    }

    fn find(&self, keys: &[&str]) -> Option<Found> {
        self.asked
            .borrow_mut()
            .extend(keys.iter().map(|k| (*k).to_owned()));
        let mut present = keys
            .iter()
            .filter_map(|k| Some((*k, self.table.entries.get(*k)?)));
        let (key, entry) = present.next()?;
        for (other, ignored) in present {
            self.warn(
                WarningKind::Duplicate,
                other,
                ignored,
                format!("\"{other}\" is ignored because \"{key}\" sets the same"),
            );
        }
        let key = format!("{}{key}", self.prefix);
        let mut guard = Guard::default();
        match self.resolve(&key, &entry.value, &mut guard) {
            Ok(value) => Some(Found {
                key,
                written: entry.value.clone(),
                value,
                span: entry.span.clone(),
            }),
            Err(message) => {
                self.document.error(entry.span.start, &key, message);
                None
            }
        }
    }

    fn resolve(&self, key: &str, value: &Value, guard: &mut Guard) -> Result<Value, String> {
        match value {
            Value::Text(text) => guard.enter(key, |guard| {
                let target = whole_reference(text)
                    .and_then(|target| Some((target, self.document.root.entries.get(target)?)));
                match target {
                    Some((target, entry)) => self.resolve(target, &entry.value, guard),
                    None => inject(text, self.document.environment, self.document, guard)
                        .map(Value::Text),
                }
            }),
            Value::List(list) => list
                .iter()
                .map(|(v, span)| Ok((self.resolve(key, v, guard)?, span.clone())))
                .collect::<Result<_, _>>()
                .map(Value::List),
            other => Ok(other.clone()),
        }
    }

    fn warn(&self, kind: WarningKind, key: &str, entry: &Entry, message: String) {
        let at = entry
            .path
            .last()
            .map_or(entry.span.start, |(_, span)| span.start);
        let key = format!("{}{key}", self.prefix);
        self.document
            .warnings
            .borrow_mut()
            .push((kind, Finding { at, key, message }));
    }

    /// Reports that the value is not what it should be: `expected` ends the sentence that the key
    /// and the value begin.
    fn wrong<T>(&self, found: &Found, expected: &str) -> Option<T> {
        let written = match &found.written {
            Value::Text(text) => format!("{text:?} "),
            other => scalar_text(other).map_or(String::new(), |text| format!("{text} ")),
        };
        self.document.error(
            found.span.start,
            &found.key,
            format!("{}: {written}{expected}", found.key),
        );
        None
    }

    /// Reports something about a key that has been read.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        let at = self.table.entries.get(key).map_or(0, |e| e.span.start);
        self.document
            .error(at, &format!("{}{key}", self.prefix), message.into());
    }

    /// `value` of a key that must be there; says so when it is absent.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.table.entries.contains_key(key) {
            let key = format!("{}{key}", self.prefix);
            self.document
                .error(self.at, &key, format!("\"{key}\" is missing"));
        }
        value
    }

    /// Whether one of the keys is set.
    pub(super) fn has(&self, keys: &[&str]) -> bool {
        keys.iter().any(|k| self.table.entries.contains_key(*k))
    }

    /// Text; numbers and booleans are taken as their text. Empty text is text.
    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        let found = self.find(keys)?;
        match scalar_text(&found.value) {
            Some(text) => Some(text),
            None => self.wrong(&found, "a list or table, expected text"),
        }
    }

    /// Text that says something: empty is as good as absent.
    pub(super) fn optional_text(&self, keys: &[&str]) -> Option<String> {
        self.text(keys)
            .map(|t| t.trim().to_owned())
            .filter(|t| !t.is_empty())
    }

    /// Text that is not shown anywhere.
    pub(super) fn secret(&self, keys: &[&str]) -> Option<Secret> {
        let found = self.find(keys)?;
        match scalar_text(&found.value) {
            Some(text) => Some(Secret::new(text)),
            None => {
                let message = format!("{}: expected text", found.key);
                self.document.error(found.span.start, &found.key, message);
                None
            }
        }
    }

    /// `true` or `false`, also as text.
    pub(super) fn bool(&self, keys: &[&str]) -> Option<bool> {
        let found = self.find(keys)?;
        match &found.value {
            Value::Bool(b) => Some(*b),
            Value::Text(t) if t.trim().eq_ignore_ascii_case("true") => Some(true),
            Value::Text(t) if t.trim().eq_ignore_ascii_case("false") => Some(false),
            _ => self.wrong(&found, "is not true or false"),
        }
    }

    /// A whole number, also as text.
    pub(super) fn integer(&self, keys: &[&str], range: RangeInclusive<i64>) -> Option<i64> {
        let found = self.find(keys)?;
        let number = match &found.value {
            Value::Integer(i) => Some(*i),
            Value::Text(t) => t.trim().parse().ok(),
            _ => None,
        };
        match number {
            None => self.wrong(&found, "is not a whole number"),
            Some(n) if range.contains(&n) => Some(n),
            Some(_) if *range.end() == i64::MAX => {
                self.wrong(&found, &format!("is too small, at least {}", range.start()))
            }
            Some(_) => self.wrong(
                &found,
                &format!("is out of range, from {} to {}", range.start(), range.end()),
            ),
        }
    }

    /// A count or size of at least `least`.
    pub(super) fn size<T: TryFrom<i64>>(&self, keys: &[&str], least: i64) -> Option<T> {
        T::try_from(self.integer(keys, least..=u32::MAX.into())?).ok()
    }

    /// A number of bytes of at least `least`.
    pub(super) fn bytes<T: TryFrom<i64>>(&self, keys: &[&str], least: i64) -> Option<T> {
        T::try_from(self.integer(keys, least..=1 << 50)?).ok()
    }

    /// A count where -1 means "no limit": the outer option is "set at all".
    pub(super) fn cap<T: TryFrom<i64>>(&self, keys: &[&str]) -> Option<Option<T>> {
        Some(match self.integer(keys, -1..=u32::MAX.into())? {
            -1 => None,
            n => T::try_from(n).ok(),
        })
    }

    /// A number of at least zero, also as text.
    pub(super) fn factor(&self, keys: &[&str]) -> Option<f32> {
        let found = self.find(keys)?;
        let number = match &found.value {
            Value::Integer(i) => i.to_string().parse().ok(),
            Value::Float(f) => f.to_string().parse().ok(),
            Value::Text(t) => t.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(n) if f32::is_finite(n) && n >= 0.0 => Some(n),
            _ => self.wrong(&found, "is not a number of at least 0"),
        }
    }

    /// A duration of at least `least`; a plain number has the key's own unit.
    pub(super) fn duration(&self, keys: &[&str], unit: Unit, least: Duration) -> Option<Duration> {
        let found = self.find(keys)?;
        let text = match &found.value {
            Value::Integer(i) => i.to_string(),
            Value::Text(t) => t.clone(),
            _ => return self.wrong(&found, "is not a duration"),
        };
        match units::duration(&text, unit) {
            Ok(d) if d >= least => Some(d),
            Ok(_) => self.wrong(&found, &format!("is too short, at least {least:?}")),
            Err(why) => self.wrong(&found, &why),
        }
    }

    /// The text of a number, truth value or text.
    pub(super) fn scalar(&self, key: &str) -> Option<String> {
        let found = self.find(&[key])?;
        match scalar_text(&found.value) {
            Some(text) => Some(text),
            None => self.wrong(&found, "is not a single value"),
        }
    }

    /// The key's text is exactly `-1`, which MI uses for "default" and "no limit".
    pub(super) fn is_minus_one(&self, keys: &[&str]) -> bool {
        self.find(keys)
            .and_then(|f| scalar_text(&f.value))
            .is_some_and(|t| t.trim() == "-1")
    }

    /// A list of texts, or one text with commas.
    pub(super) fn list(&self, keys: &[&str]) -> Option<Vec<String>> {
        let found = self.find(keys)?;
        let items = match &found.value {
            Value::List(list) => list.iter().map(|(v, _)| scalar_text(v)).collect(),
            other => scalar_text(other)
                .map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()),
        };
        match items {
            Some(items) => {
                let items: Vec<String> = items;
                Some(items.into_iter().filter(|i| !i.is_empty()).collect())
            }
            None => self.wrong(&found, "is not a list of texts"),
        }
    }

    /// One of several words, compared without regard to case.
    pub(super) fn word<T: Copy>(&self, keys: &[&str], words: &[(&str, T)]) -> Option<T> {
        let found = self.find(keys)?;
        let text = scalar_text(&found.value).unwrap_or_default();
        match words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()))
        {
            Some((_, value)) => Some(*value),
            None => {
                let words: Vec<_> = words
                    .iter()
                    .map(|(word, _)| format!("\"{word}\""))
                    .collect();
                self.wrong(&found, &format!("is not one of {}", words.join(", ")))
            }
        }
    }

    /// Readers for each table of `[[key]]`; `read` gets them one by one.
    pub(super) fn tables<T>(&self, key: &str, read: impl Fn(&Reader<'_>) -> Option<T>) -> Vec<T> {
        self.asked.borrow_mut().insert(key.to_owned());
        let Some(entry) = self.table.entries.get(key) else {
            return Vec::new();
        };
        let Value::List(list) = &entry.value else {
            self.error(key, format!("{key}: expected [[{key}]]"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for (index, (value, span)) in list.iter().enumerate() {
            let Value::Table(table) = value else {
                let message = format!("{key}: expected a table");
                self.document.error(span.start, key, message);
                continue;
            };
            let reader = Reader {
                document: self.document,
                table,
                prefix: format!("{}{key}[{index}].", self.prefix),
                at: span.start,
                asked: RefCell::default(),
            };
            out.extend(read(&reader));
            reader.report_unused();
        }
        out
    }

    /// Everything below `section`, as name and text, for properties that are read by name later.
    /// This does not make a key known: one that nothing reads is still reported.
    pub(super) fn all_below(&self, section: &str) -> Vec<(String, String)> {
        let start = format!("{section}.");
        let mut out = Vec::new();
        for (key, entry) in &self.table.entries {
            let Some(name) = key.strip_prefix(&start) else {
                continue;
            };
            match self.resolve(key, &entry.value, &mut Guard::default()) {
                Ok(Value::List(list)) => {
                    let items: Vec<_> = list.iter().filter_map(|(v, _)| scalar_text(v)).collect();
                    out.push((name.to_owned(), items.join(",")));
                }
                Ok(value) => out.extend(scalar_text(&value).map(|text| (name.to_owned(), text))),
                Err(message) => self.document.error(entry.span.start, key, message),
            }
        }
        out
    }

    /// Marks everything below `section` as used.
    pub(super) fn use_all_below(&self, section: &str) {
        let start = format!("{section}.");
        let keys = self
            .table
            .entries
            .keys()
            .filter(|k| k.starts_with(&start))
            .cloned();
        self.asked.borrow_mut().extend(keys);
    }

    /// Says that nothing follows from a key, once for the section it is in.
    fn report_checked_only(&self, key: &str, reported: &mut BTreeSet<(WarningKind, String)>) {
        let full = format!("{}{key}", self.prefix);
        let Some(why) = keys::checked_only(&full) else {
            return;
        };
        let (Some(entry), true) = (
            self.table.entries.get(key),
            reported.insert((WarningKind::NoEffect, why.to_owned())),
        ) else {
            return;
        };
        let finding = Finding {
            at: entry.span.start,
            message: format!("\"{full}\" has no effect: {why}"),
            key: full,
        };
        let mut warnings = self.document.warnings.borrow_mut();
        warnings.push((WarningKind::NoEffect, finding));
    }

    /// Complains about keys nobody asked for: an error in our own section, a warning elsewhere,
    /// one for a whole section when nothing in it is known.
    pub(super) fn report_unused(&self) {
        let asked = self.asked.borrow();
        let mut reported = BTreeSet::new();
        for (key, entry) in &self.table.entries {
            if asked.contains(key) {
                self.report_checked_only(key, &mut reported);
                continue;
            }
            let ours = self.prefix.is_empty()
                && entry
                    .path
                    .first()
                    .is_some_and(|(first, _)| first == "myelin");
            let known_prefix = |n: &usize| {
                let start = join(&entry.path[..*n]) + ".";
                asked.iter().any(|k| k.starts_with(&start))
            };
            let shared = (1..entry.path.len()).take_while(known_prefix).count();
            let Some((_, span)) = entry.path.get(shared) else {
                continue;
            };
            let is_section = shared + 1 < entry.path.len();
            let name = join(&entry.path[..=shared]);
            let what = if is_section { "section" } else { "key" };
            let no_effect = keys::without_effect(&format!("{}{key}", self.prefix));
            let kind = match no_effect {
                Some(_) => WarningKind::NoEffect,
                None => WarningKind::Unknown,
            };
            // One remark for a whole section, not one for each password in it.
            if !reported.insert((kind, name.clone())) {
                continue;
            }
            let full = format!("{}{name}", self.prefix);
            let hint = || {
                let parent = join(&entry.path[..shared]);
                // Searching is slow; a file that is all wrong needs other help.
                (reported.len() <= MAX_HINTS)
                    .then(|| hint(&asked, &parent, &entry.path[shared].0))
                    .flatten()
                    .map_or(String::new(), |known| {
                        format!("; did you mean \"{known}\"?")
                    })
            };
            let at = span.start;
            if ours {
                self.document
                    .error(at, &full, format!("unknown {what} \"{full}\"{}", hint()));
                continue;
            }
            let message = match no_effect {
                Some(why) => format!("\"{full}\" has no effect: {why}"),
                None => format!("{what} \"{full}\" is not supported and ignored{}", hint()),
            };
            let finding = Finding {
                at,
                key: full,
                message,
            };
            self.document.warnings.borrow_mut().push((kind, finding));
        }
    }
}

/// The known key that `part` below `parent` was probably meant to be.
fn hint(asked: &BTreeSet<String>, parent: &str, part: &str) -> Option<String> {
    let start = if parent.is_empty() {
        String::new()
    } else {
        format!("{parent}.")
    };
    let below: BTreeSet<&str> = asked
        .iter()
        .filter_map(|k| k.strip_prefix(&start))
        .flat_map(|rest| [rest, rest.split('.').next().unwrap_or(rest)])
        .collect();
    crate::diag::nearest(part, below).map(|known| format!("{start}{known}"))
}
