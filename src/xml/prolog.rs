//! The XML declaration.

use super::token::{Span, Step, Tokenizer, is_space};

/// What the XML declaration says, as ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawDeclaration {
    pub(super) version: Span,
    pub(super) encoding: Option<Span>,
    pub(super) standalone: Option<bool>,
}

/// What most documents start with.
const USUAL: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

impl Tokenizer<'_> {
    /// Reads the XML declaration when the document starts with one. To be called before the first token.
    pub(super) fn declaration(&mut self) -> Step<Option<RawDeclaration>> {
        let head = self.rest();
        if head.starts_with(USUAL) {
            let start = self.pos;
            self.pos += USUAL.len();
            return Ok(Some(RawDeclaration {
                version: Span::new(start + 15, start + 18),
                encoding: Some(Span::new(start + 30, start + 35)),
                standalone: None,
            }));
        }
        match head.strip_prefix(b"<?xml") {
            Some([next, ..]) if is_space(*next) => {}
            Some([]) => return Err(self.truncated("the XML declaration")),
            _ => return Ok(None),
        }
        self.pos += 5;
        let version = match self.pseudo_attribute(b"version")? {
            Some(version) => version,
            None => {
                return Err(self.unexpected(
                    "`version` expected in the XML declaration",
                    "the XML declaration",
                ));
            }
        };
        if !matches!(version.of(self.bytes), b"1.0" | b"1.1") {
            return Err(self.syntax("only XML versions 1.0 and 1.1 are known"));
        }
        let encoding = self.pseudo_attribute(b"encoding")?;
        if let Some(encoding) = encoding {
            let name = encoding.of(self.bytes);
            let legal =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(legal) {
                return Err(self.syntax("that is not the name of an encoding"));
            }
        }
        let standalone = match self.pseudo_attribute(b"standalone")? {
            None => None,
            Some(value) => match value.of(self.bytes) {
                b"yes" => Some(true),
                b"no" => Some(false),
                _ => return Err(self.syntax("`standalone` must be `yes` or `no`")),
            },
        };
        self.skip_space();
        self.literal(
            b"?>",
            "`?>` expected at the end of the XML declaration",
            "the XML declaration",
        )?;
        Ok(Some(RawDeclaration {
            version,
            encoding,
            standalone,
        }))
    }

    fn pseudo_attribute(&mut self, name: &'static [u8]) -> Step<Option<Span>> {
        let what = "the XML declaration";
        let before = self.pos;
        let space = self.skip_space();
        if !self.rest().starts_with(name) {
            if self.rest().len() < name.len() && name.starts_with(self.rest()) {
                return Err(self.truncated(what));
            }
            self.pos = before;
            return Ok(None);
        }
        if space == 0 {
            return Err(self.syntax("white space expected in the XML declaration"));
        }
        self.pos += name.len();
        self.skip_space();
        self.literal(b"=", "`=` expected in the XML declaration", what)?;
        self.skip_space();
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => {
                return Err(self.unexpected("a quoted value expected in the XML declaration", what));
            }
        };
        self.pos += 1;
        let start = self.pos;
        let Some(len) = memchr::memchr3(quote, b'<', b'>', self.rest()) else {
            return Err(self.truncated(what));
        };
        self.pos += len;
        if self.peek() != Some(quote) {
            return Err(self.syntax("a quoted value expected in the XML declaration"));
        }
        self.pos += 1;
        Ok(Some(Span::new(start, self.pos - 1)))
    }
}
