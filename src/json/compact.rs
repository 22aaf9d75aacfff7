//! Compact text without a tree.

use super::{Limits, MAX_DEPTH, plain};

/// The text that [`write`](super::write()) makes of what [`parse`](super::parse()) reads; `None` when that has to be
/// found out with a tree: when the text is not strict JSON, holds more than the limits allow, or spells a string
/// otherwise (spec 05 §4.3).
pub fn compact(input: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    if input.len() > limits.max_bytes {
        return None;
    }
    std::str::from_utf8(input).ok()?;
    let mut reader = Reader {
        bytes: input,
        at: 0,
        copied: 0,
        out: Vec::with_capacity(input.len()),
    };
    reader.document(limits)?;
    Some(reader.out)
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    /// So much of the text is in `out`, or left out.
    copied: usize,
    out: Vec<u8>,
}

impl Reader<'_> {
    fn document(&mut self, limits: &Limits) -> Option<()> {
        let max_depth = limits.max_depth.min(MAX_DEPTH);
        let mut nodes = limits.max_nodes;
        // Which of the open containers are objects.
        let mut open: Vec<bool> = Vec::new();
        loop {
            self.blanks();
            nodes = nodes.checked_sub(1)?;
            let first = self.peek()?;
            match first {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                b'[' | b'{' => {
                    if open.len() >= max_depth {
                        return None;
                    }
                    let object = first == b'{';
                    self.at += 1;
                    self.blanks();
                    if self.peek()? == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        open.push(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return None,
            }
            loop {
                self.blanks();
                let Some(object) = open.last() else {
                    self.flush();
                    return self.peek().is_none().then_some(());
                };
                match (self.peek()?, object) {
                    (b',', true) => {
                        self.at += 1;
                        self.blanks();
                        self.key()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn flush(&mut self) {
        let run = self.bytes.get(self.copied..self.at).unwrap_or_default();
        self.out.extend_from_slice(run);
        self.copied = self.at;
    }

    /// Leaves blanks out.
    fn blanks(&mut self) {
        if !matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            return;
        }
        self.flush();
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.copied = self.at;
    }

    /// A key and its colon.
    fn key(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        self.blanks();
        (self.peek()? == b':').then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += plain::run(self.bytes, self.at, true);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => match self.bytes.get(self.at + 1)? {
                    b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                    _ => return None,
                },
                0xe2 => {
                    let separator = |tail: &[u8]| matches!(tail, [0x80, 0xa8 | 0xa9]);
                    if self
                        .bytes
                        .get(self.at + 1..self.at + 3)
                        .is_some_and(separator)
                    {
                        return None;
                    }
                    self.at += 1;
                }
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        (self.bytes.get(self.at..end)? == word).then(|| self.at = end)
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}
