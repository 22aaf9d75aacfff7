//! Reading a path text character by character.

use super::PathError;

/// A position in a path or a part of one. Every delimiter is ASCII, so stopping at one is always a
/// character boundary.
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Offset of `text` in the whole path, for errors; below zero (wrapped) when the text starts
    /// with characters the path does not have.
    base: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, base: usize) -> Self {
        Self { text, at: 0, base }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Offset in the whole path.
    pub(super) fn offset(&self) -> usize {
        self.base.wrapping_add(self.at)
    }

    pub(super) fn mark(&self) -> usize {
        self.at
    }

    pub(super) fn reset(&mut self, mark: usize) {
        self.at = mark;
    }

    pub(super) fn since(&self, mark: usize) -> &'t str {
        self.text.get(mark..self.at).unwrap_or_default()
    }

    /// Steps over one character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let character = self.text.get(self.at..)?.chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    pub(super) fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    pub(super) fn eat(&mut self, expected: &str) -> bool {
        let found = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(expected));
        if found {
            self.at += expected.len();
        }
        found
    }

    pub(super) fn sees(&self, expected: &str) -> bool {
        self.text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(expected))
    }

    pub(super) fn expect(&mut self, expected: &str) -> Result<(), PathError> {
        self.blanks();
        if self.eat(expected) {
            return Ok(());
        }
        Err(self.error(format!("expected '{expected}'")))
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
        self.since(start)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> PathError {
        PathError {
            offset: self.offset(),
            message: message.into(),
        }
    }

    /// A quoted text, standing at its opening quote; escapes as in Java.
    pub(super) fn quoted(&mut self) -> Result<String, PathError> {
        let opening = self.mark();
        let quote = self.bump();
        let mut out = String::new();
        while let Some(character) = self.bump() {
            match character {
                '\\' => match self.bump() {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('b') => out.push('\u{8}'),
                    Some('f') => out.push('\u{c}'),
                    Some('u') => out.push(self.unicode()?),
                    Some(other) => out.push(other),
                    None => break,
                },
                other if Some(other) == quote => return Ok(out),
                other => out.push(other),
            }
        }
        self.reset(opening);
        Err(self.error("the quoted text is not closed"))
    }

    /// A slot number between its marks.
    pub(super) fn slot(&mut self) -> Result<usize, PathError> {
        let mark = self.peek();
        self.bump();
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(number) if self.peek() == mark => {
                self.bump();
                Ok(number)
            }
            _ => Err(self.error("illegal character")),
        }
    }

    fn unicode(&mut self) -> Result<char, PathError> {
        let start = self.mark();
        for _ in 0..4 {
            self.bump();
        }
        let digits = self.since(start);
        let code = u32::from_str_radix(digits, 16).ok();
        // No JSON text here can hold NUL.
        code.filter(|code| *code != 0 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(char::from_u32)
            .ok_or_else(|| self.error("\\u needs four hexadecimal digits of one character"))
    }

    /// Steps over a bracketed text, standing at its opening bracket, and returns what is inside.
    pub(super) fn bracketed(&mut self, open: u8, close: u8) -> Result<&'t str, PathError> {
        let opening = self.mark();
        let mut level = 0_usize;
        while let Some(byte) = self.peek() {
            if byte == b'\'' || byte == b'"' {
                self.quoted()?;
                continue;
            }
            self.bump();
            if byte == open {
                level += 1;
            } else if byte == close {
                level -= 1;
                if level == 0 {
                    return Ok(self.text.get(opening + 1..self.at - 1).unwrap_or_default());
                }
            }
        }
        self.reset(opening);
        Err(self.error("the bracket is not closed"))
    }
}
