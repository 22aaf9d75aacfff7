//! The reader: strict RFC 8259, iterative, with limits.

use super::{Value, plain};

/// The deepest nesting any reader here accepts, whatever its [`Limits`] say: values of this depth
/// can be dropped, cloned and walked recursively on a small stack (spec 01 §17.1).
pub const MAX_DEPTH: usize = 512;

/// How much JSON [`parse`] accepts (spec 01 §17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of arrays and objects; more than [`MAX_DEPTH`] has no effect.
    pub max_depth: usize,
    /// Longest input, in bytes.
    pub max_bytes: usize,
    /// Most values in one document.
    pub max_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 256,
            max_bytes: 64 << 20,
            max_nodes: 8 << 20,
        }
    }
}

/// Why a text is not JSON, and where (spec 01 §17.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {line}:{column}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Byte offset of the offending character.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// What is wrong with a JSON text (spec 01 §17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// The text ends inside a value, or holds none.
    #[error("unexpected end of JSON text")]
    UnexpectedEnd,
    /// A character that cannot stand here.
    #[error("unexpected character {0:?} in JSON text")]
    Unexpected(char),
    /// Something other than blanks after the value.
    #[error("unexpected text after the JSON value")]
    Trailing,
    /// Not a JSON number, such as `01` or `1.`.
    #[error("malformed JSON number")]
    Number,
    /// An escape other than those of RFC 8259.
    #[error("unknown escape sequence in JSON string")]
    Escape,
    /// Half of a surrogate pair.
    #[error("unpaired surrogate in JSON string")]
    Surrogate,
    /// U+0000, raw or escaped.
    #[error("NUL character in JSON text")]
    Nul,
    /// A raw control character inside a string.
    #[error("unescaped control character in JSON string")]
    Control,
    /// The bytes are not UTF-8.
    #[error("JSON text is not valid UTF-8")]
    Encoding,
    /// Nested deeper than [`Limits::max_depth`].
    #[error("JSON text is nested too deeply")]
    TooDeep,
    /// Longer than [`Limits::max_bytes`].
    #[error("JSON text is too long")]
    TooLong,
    /// More values than [`Limits::max_nodes`].
    #[error("JSON text holds too many values")]
    TooManyNodes,
}

/// Reads one JSON value (spec 01 §17.1). Strict RFC 8259; a byte order mark is skipped, as Gson
/// does; NUL and unpaired surrogates are refused because no XML or UTF-8 text can hold them.
pub fn parse(input: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if input.len() > limits.max_bytes {
        return Err(locate(input, limits.max_bytes, JsonErrorKind::TooLong));
    }
    let text = std::str::from_utf8(input)
        .map_err(|error| locate(input, error.valid_up_to(), JsonErrorKind::Encoding))?;
    let mut reader = Reader {
        text,
        bytes: input,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        max_depth: limits.max_depth.min(MAX_DEPTH),
        nodes_left: limits.max_nodes,
        members: 0,
    };
    reader
        .document()
        .map_err(|(offset, kind)| locate(input, offset, kind))
}

pub(super) fn locate(input: &[u8], offset: usize, kind: JsonErrorKind) -> JsonError {
    let before = &input[..offset.min(input.len())];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |at| at + 1);
    JsonError {
        kind,
        offset,
        line: 1 + before.iter().filter(|&&b| b == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count(),
    }
}

type Fallible<T> = Result<T, (usize, JsonErrorKind)>;

/// A container being read; an object carries the key whose value comes next.
enum Open {
    Array(Vec<Value>),
    Object(Vec<(String, Value)>, String),
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    max_depth: usize,
    nodes_left: usize,
    /// How many members the last object had: the next one is often like it.
    members: usize,
}

/// Room for at most so many members is made before they come.
const MOST_EXPECTED: usize = 16;

impl Reader<'_> {
    fn document(&mut self) -> Fallible<Value> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.value_start(open.len())? {
                Start::Complete(value) => value,
                Start::Opened(container) => {
                    open.push(container);
                    continue;
                }
            };
            loop {
                let Some(innermost) = open.last_mut() else {
                    self.blanks();
                    return match self.peek() {
                        None => Ok(value),
                        Some(0) => Err((self.at, JsonErrorKind::Nul)),
                        Some(_) => Err((self.at, JsonErrorKind::Trailing)),
                    };
                };
                self.blanks();
                let next = self.peek();
                match innermost {
                    Open::Array(items) => {
                        items.push(value);
                        match next {
                            Some(b',') => {
                                self.at += 1;
                                break;
                            }
                            Some(b']') => value = Value::Array(std::mem::take(items)),
                            _ => return Err(self.unexpected()),
                        }
                    }
                    Open::Object(members, key) => {
                        members.push((std::mem::take(key), value));
                        match next {
                            Some(b',') => {
                                self.at += 1;
                                self.blanks();
                                *key = self.key()?;
                                break;
                            }
                            Some(b'}') => {
                                self.members = members.len();
                                value = Value::Object(std::mem::take(members));
                            }
                            _ => return Err(self.unexpected()),
                        }
                    }
                }
                self.at += 1;
                open.pop();
            }
        }
    }

    /// Reads a scalar or an empty container whole, or opens a container up to its first value.
    fn value_start(&mut self, depth: usize) -> Fallible<Start> {
        self.blanks();
        let Some(left) = self.nodes_left.checked_sub(1) else {
            return Err((self.at, JsonErrorKind::TooManyNodes));
        };
        self.nodes_left = left;
        let value = match self.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(bracket @ (b'[' | b'{')) => {
                if depth >= self.max_depth {
                    return Err((self.at, JsonErrorKind::TooDeep));
                }
                self.at += 1;
                self.blanks();
                match (bracket, self.peek()) {
                    (b'[', Some(b']')) => {
                        self.at += 1;
                        Value::Array(Vec::new())
                    }
                    (b'{', Some(b'}')) => {
                        self.at += 1;
                        Value::Object(Vec::new())
                    }
                    (b'[', _) => return Ok(Start::Opened(Open::Array(Vec::new()))),
                    _ => {
                        let key = self.key()?;
                        let members = Vec::with_capacity(self.members.min(MOST_EXPECTED));
                        return Ok(Start::Opened(Open::Object(members, key)));
                    }
                }
            }
            _ => return Err(self.unexpected()),
        };
        Ok(Start::Complete(value))
    }

    /// A key and its colon.
    fn key(&mut self) -> Fallible<String> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        self.blanks();
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(key)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> (usize, JsonErrorKind) {
        let kind = match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            None => JsonErrorKind::UnexpectedEnd,
            Some('\0') => JsonErrorKind::Nul,
            Some(character) => JsonErrorKind::Unexpected(character),
        };
        (self.at, kind)
    }

    fn word(&mut self, word: &str, value: Value) -> Fallible<Value> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Fallible<Value> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits(start)?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits(start)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits(start)?;
        }
        // `01`, `1x`: say that the number is wrong rather than what follows it.
        if matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'.' | b'+' | b'-' | b'a'..=b'z' | b'A'..=b'Z')
        ) {
            return Err((start, JsonErrorKind::Number));
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(text.into()))
    }

    /// One digit or more.
    fn digits(&mut self, number: usize) -> Fallible<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false if self.peek().is_none() => Err((self.at, JsonErrorKind::UnexpectedEnd)),
            false => Err((number, JsonErrorKind::Number)),
        }
    }

    fn string(&mut self) -> Fallible<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            self.at += plain::run(self.bytes, start, false);
            // Both ends stand next to an ASCII byte, so they are character boundaries.
            let run = self.text.get(start..self.at).unwrap_or_default();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    if out.is_empty() {
                        return Ok(run.to_owned());
                    }
                    out.push_str(run);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(run);
                    out.push(self.escape()?);
                }
                Some(0) => return Err((self.at, JsonErrorKind::Nul)),
                Some(_) => return Err((self.at, JsonErrorKind::Control)),
                None => return Err((self.at, JsonErrorKind::UnexpectedEnd)),
            }
        }
    }

    fn escape(&mut self) -> Fallible<char> {
        let start = self.at;
        self.at += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode(start);
            }
            Some(_) => return Err((start, JsonErrorKind::Escape)),
            None => return Err((self.at, JsonErrorKind::UnexpectedEnd)),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self, start: usize) -> Fallible<char> {
        let first = self.hex4(start)?;
        let code = match first {
            0 => return Err((start, JsonErrorKind::Nul)),
            0xd800..=0xdbff => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    return Err((start, JsonErrorKind::Surrogate));
                }
                self.at += 2;
                let second = self.hex4(start)?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err((start, JsonErrorKind::Surrogate));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or((start, JsonErrorKind::Surrogate))
    }

    fn hex4(&mut self, start: usize) -> Fallible<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(byte) = self.peek() else {
                return Err((self.at, JsonErrorKind::UnexpectedEnd));
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err((start, JsonErrorKind::Escape));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

enum Start {
    Complete(Value),
    Opened(Open),
}
