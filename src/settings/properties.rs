//! Named values that come from the file as they are.

use super::Settings;
use std::collections::BTreeMap;
use std::fmt;

/// Property names and values. Among them are passwords, so `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets `name`, replacing what was there.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// All pairs in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What artifacts may name in values that are filled in when they are read.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// System properties.
    pub system: Properties,
    /// Those of `file.properties`.
    pub file: Properties,
}

impl Variables {
    /// The variables of the settings.
    pub fn of(settings: &Settings) -> Variables {
        Variables {
            system: settings.system_properties.clone(),
            file: settings.file_properties.clone(),
        }
    }

    /// A configuration property: the environment variable, system property or file property of this
    /// name (spec 04 §1.4).
    pub fn config(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| {
            let found = self.system.get(name).or_else(|| self.file.get(name));
            found.map(str::to_owned)
        })
    }
}

impl Properties {
    /// Reads the text of a Java properties file: `name=value`, `name:value` or `name value` a line,
    /// `#` and `!` start comments, a backslash at the end of a line continues it.
    pub fn read(text: &str) -> Properties {
        let mut out = Properties::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.trim_start().to_owned();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            while continues(&line) {
                line.pop();
                match lines.next() {
                    Some(next) => line.push_str(next.trim_start()),
                    None => break,
                }
            }
            let end = name_end(&line);
            let (name, rest) = line.split_at(end);
            let rest = rest.trim_start();
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
            out.insert(unescape(name), unescape(value));
        }
        out
    }
}

/// Whether the line ends with an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn name_end(line: &str) -> usize {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' | '\u{c}' => return at,
            _ => {}
        }
    }
    line.len()
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = characters.clone().take(4).collect();
                match u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                {
                    Some(c) if digits.len() == 4 => {
                        out.push(c);
                        characters.nth(3);
                    }
                    _ => out.push('u'),
                }
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_properties_are_read() {
        let read = Properties::read(
            "# c\n! c\n\na=1\n b : 2 = 3 \nc 4\nd\\ e=\\u00e9\\tx\nf=g\\\n   h\ni=j\\\\\nk\n",
        );
        let pairs: Vec<_> = read.iter().collect();
        assert_eq!(
            pairs,
            [
                ("a", "1"),
                ("b", "2 = 3 "),
                ("c", "4"),
                ("d e", "é\tx"),
                ("f", "gh"),
                ("i", "j\\"),
                ("k", "")
            ]
        );
    }
}
