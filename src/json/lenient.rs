//! The lenient reader: what Gson makes of text that people write (spec 05 §5.5, §5.8).

use super::{JsonError, JsonErrorKind, Limits, MAX_DEPTH, Value};

/// Reads one JSON value as Gson's lenient reader does: also with single quotes, bare words,
/// comments, `;` between items and `=` after keys. Text that is strict JSON reads the same as with
/// [`parse`](super::parse()); an empty text is null.
///
/// # Errors
/// The first place where not even that helps, or a limit.
pub fn parse_lenient(text: &str, limits: &Limits) -> Result<Value, JsonError> {
    if let Ok(value) = super::parse(text.as_bytes(), limits) {
        return Ok(value);
    }
    if text.len() > limits.max_bytes {
        return Err(super::parse::locate(
            text.as_bytes(),
            limits.max_bytes,
            JsonErrorKind::TooLong,
        ));
    }
    let mut reader = Reader {
        text,
        at: 0,
        max_depth: limits.max_depth.min(MAX_DEPTH),
        nodes_left: limits.max_nodes,
    };
    reader
        .document()
        .map_err(|kind| super::parse::locate(text.as_bytes(), reader.at, kind))
}

enum Open {
    Array(Vec<Value>),
    Object(Vec<(String, Value)>, String),
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    max_depth: usize,
    nodes_left: usize,
}

type Fallible<T> = Result<T, JsonErrorKind>;

impl Reader<'_> {
    fn document(&mut self) -> Fallible<Value> {
        self.blanks()?;
        if self.peek().is_none() {
            return Ok(Value::Null);
        }
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.start(&mut open)? {
                Some(value) => value,
                None => continue,
            };
            // Puts finished values into what is open until another value is expected.
            loop {
                self.blanks()?;
                let next = self.peek();
                match open.last_mut() {
                    None => {
                        return match next {
                            None => Ok(value),
                            Some(_) => Err(JsonErrorKind::Trailing),
                        };
                    }
                    Some(Open::Array(items)) => {
                        items.push(value);
                        match next {
                            Some(',' | ';') => {
                                self.bump();
                                break;
                            }
                            Some(']') => value = Value::Array(std::mem::take(items)),
                            _ => return Err(self.unexpected()),
                        }
                    }
                    Some(Open::Object(members, key)) => {
                        members.push((std::mem::take(key), value));
                        match next {
                            Some(',' | ';') => {
                                self.bump();
                                let name = self.key()?;
                                if let Some(Open::Object(_, key)) = open.last_mut() {
                                    *key = name;
                                }
                                break;
                            }
                            Some('}') => value = Value::Object(std::mem::take(members)),
                            _ => return Err(self.unexpected()),
                        }
                    }
                }
                self.bump();
                open.pop();
            }
        }
    }

    /// A scalar or empty container; `None` when a container was opened.
    fn start(&mut self, open: &mut Vec<Open>) -> Fallible<Option<Value>> {
        self.blanks()?;
        self.nodes_left = self
            .nodes_left
            .checked_sub(1)
            .ok_or(JsonErrorKind::TooManyNodes)?;
        let in_array = matches!(open.last(), Some(Open::Array(_)));
        match self.peek() {
            None => Err(JsonErrorKind::UnexpectedEnd),
            Some(bracket @ ('[' | '{')) => {
                if open.len() >= self.max_depth {
                    return Err(JsonErrorKind::TooDeep);
                }
                self.bump();
                self.blanks()?;
                match (bracket, self.peek()) {
                    ('[', Some(']')) => {
                        self.bump();
                        Ok(Some(Value::Array(Vec::new())))
                    }
                    ('{', Some('}')) => {
                        self.bump();
                        Ok(Some(Value::Object(Vec::new())))
                    }
                    ('[', _) => {
                        open.push(Open::Array(Vec::new()));
                        Ok(None)
                    }
                    _ => {
                        let key = self.key()?;
                        open.push(Open::Object(Vec::new(), key));
                        Ok(None)
                    }
                }
            }
            Some('"' | '\'') => self.quoted().map(|text| Some(Value::String(text))),
            // A missing item is null; the separator or bracket is read by the caller.
            Some(',' | ';' | ']') if in_array => Ok(Some(Value::Null)),
            Some(_) => {
                let word = self.bare()?;
                Ok(Some(scalar(word)))
            }
        }
    }

    /// A key and the `:`, `=` or `=>` after it.
    fn key(&mut self) -> Fallible<String> {
        self.blanks()?;
        let key = match self.peek() {
            Some('"' | '\'') => self.quoted()?,
            _ => self.bare()?.to_owned(),
        };
        self.blanks()?;
        match self.bump() {
            Some(':') => {}
            Some('=') => {
                if self.peek() == Some('>') {
                    self.bump();
                }
            }
            _ => return Err(self.unexpected()),
        }
        Ok(key)
    }

    fn bare(&mut self) -> Fallible<&str> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest
            .find(|c: char| {
                matches!(
                    c,
                    '/' | '\\'
                        | ';'
                        | '#'
                        | '='
                        | '{'
                        | '}'
                        | '['
                        | ']'
                        | ':'
                        | ','
                        | ' '
                        | '\t'
                        | '\u{c}'
                        | '\r'
                        | '\n'
                )
            })
            .unwrap_or(rest.len());
        match rest.get(..end) {
            Some(word) if !word.is_empty() => {
                self.at += end;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn quoted(&mut self) -> Fallible<String> {
        let quote = self.bump();
        let mut out = String::new();
        loop {
            match self.bump() {
                None => return Err(JsonErrorKind::UnexpectedEnd),
                Some('\\') => out.push(self.escape()?),
                Some('\0') => return Err(JsonErrorKind::Nul),
                c if c == quote => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Fallible<char> {
        Ok(match self.bump() {
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\u{c}',
            Some(c @ ('"' | '\'' | '\\' | '/' | '\n')) => c,
            Some('u') => {
                let high = self.hex4()?;
                let code = match high {
                    0xd800..=0xdbff => {
                        if self.bump() != Some('\\') || self.bump() != Some('u') {
                            return Err(JsonErrorKind::Surrogate);
                        }
                        let low = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&low) {
                            return Err(JsonErrorKind::Surrogate);
                        }
                        0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    0 => return Err(JsonErrorKind::Nul),
                    other => other,
                };
                char::from_u32(code).ok_or(JsonErrorKind::Surrogate)?
            }
            _ => return Err(JsonErrorKind::Escape),
        })
    }

    fn hex4(&mut self) -> Fallible<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bump().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or(JsonErrorKind::Escape)?;
        }
        Ok(code)
    }

    /// Steps over blanks and comments.
    fn blanks(&mut self) -> Fallible<()> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']);
            self.at += rest.len() - trimmed.len();
            let length = if trimmed.starts_with("/*") {
                // The star of the beginning is not that of the end.
                match trimmed.get(2..).and_then(|rest| rest.find("*/")) {
                    Some(end) => end + 4,
                    None => return Err(JsonErrorKind::UnexpectedEnd),
                }
            } else if trimmed.starts_with("//") || trimmed.starts_with('#') {
                trimmed.find(['\n', '\r']).unwrap_or(trimmed.len())
            } else {
                return Ok(());
            };
            self.at += length;
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn unexpected(&self) -> JsonErrorKind {
        self.peek()
            .map_or(JsonErrorKind::UnexpectedEnd, JsonErrorKind::Unexpected)
    }
}

fn scalar(word: &str) -> Value {
    match super::parse(word.as_bytes(), &Limits::default()) {
        Ok(number @ Value::Number(_)) => number,
        _ if word.eq_ignore_ascii_case("true") => Value::Bool(true),
        _ if word.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ if word.eq_ignore_ascii_case("null") => Value::Null,
        _ => Value::String(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_text;

    fn read(text: &str) -> String {
        match parse_lenient(text, &Limits::default()) {
            Ok(value) => to_text(&value),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_people_write_is_read_as_gson_reads_it() {
        let cases = [
            ("{'a':1}", r#"{"a":1}"#),
            (
                "{a:b, c=d; e=>[x,,]}",
                r#"{"a":"b","c":"d","e":["x",null,null]}"#,
            ),
            ("txt", r#""txt""#),
            ("", "null"),
            ("TRUE", "true"),
            ("[01, -1.5, NaN] // end", r#"["01",-1.5,"NaN"]"#),
            ("/* x */ {}", "{}"),
            ("{oops", "unexpected end of JSON text at 1:6"),
            ("{\"a\":1,}", "unexpected character '}' in JSON text at 1:8"),
            (
                "{\"hello: \"world\"}",
                "unexpected character 'o' in JSON text at 1:12",
            ),
            ("/*/ x */ [1]", "[1]"),
            ("/*/ [1]", "unexpected end of JSON text at 1:1"),
            ("a b", "unexpected text after the JSON value at 1:3"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let deep = "[".repeat(100_000) + "x";
        assert!(read(&deep).contains("too deeply"));
    }
}
