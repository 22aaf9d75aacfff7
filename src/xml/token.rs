//! The tokenizer: markup to tokens, with every well-formedness rule that needs neither names nor nesting.
//!
//! It works on bytes and never looks behind the end of what it was given, so that the same code reads complete
//! documents and prefixes of documents; running out of input is always [`Problem::Truncated`].

use super::chars::{is_name, resolve_reference};
use super::error::{Fault, Limits, Problem};
use super::words::{Key, Names, is_unusual, same, text_before_markup};

/// A range of the input. One word, because tokens are handed on through memory and reading a word that was written in
/// two halves stalls the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(u64);

impl Span {
    pub(super) const EMPTY: Span = Span(0);

    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Span {
        // The constructor of the tokenizer refuses inputs whose positions would not fit.
        Span::of_words(start as u32, end as u32)
    }

    #[inline]
    pub(super) fn of_words(start: u32, end: u32) -> Span {
        Span(u64::from(end) << 32 | u64::from(start))
    }

    #[inline]
    pub(super) fn start(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(super) fn end(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) fn len(self) -> u32 {
        self.end().saturating_sub(self.start())
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start() as usize..self.end() as usize)
            .unwrap_or_default()
    }
}

/// A qualified name in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawName {
    pub(super) span: Span,
    /// Length of the prefix, 0 when there is none.
    pub(super) prefix_len: u32,
    /// What stands for the name while nothing else does, see [`RawName::slot`].
    slot: u32,
}

/// Names that may be remembered, of elements and of attributes.
pub(super) const ELEMENT_NAMES: usize = 128;
pub(super) const ATTRIBUTE_NAMES: usize = 32;
/// In `RawName::slot`: the name has just taken the slot.
const FRESH: u32 = 1 << 31;
const NO_SLOT: u32 = u32::MAX;

impl RawName {
    /// A number below [`ELEMENT_NAMES`] or [`ATTRIBUTE_NAMES`], and whether it stood for another name up to now: all
    /// names with a number are the same until it is fresh again. `None` for a name that is not remembered.
    #[inline(always)]
    pub(super) fn slot(self) -> Option<(usize, bool)> {
        (self.slot != NO_SLOT).then_some(((self.slot & !FRESH) as usize, self.slot & FRESH != 0))
    }

    #[inline]
    pub(super) fn prefix(self) -> Span {
        Span::of_words(self.span.start(), self.span.start() + self.prefix_len)
    }

    #[inline]
    pub(super) fn local(self) -> Span {
        match self.prefix_len {
            0 => self.span,
            len => Span::of_words(self.span.start() + len + 1, self.span.end()),
        }
    }

    /// The prefix a namespace declaration is about (empty for the default namespace); `None` for an attribute.
    pub(super) fn declared_prefix(self, bytes: &[u8]) -> Option<Span> {
        if bytes.get(self.span.start() as usize) != Some(&b'x') {
            return None;
        }
        if self.prefix_len == 0 {
            (self.span.of(bytes) == b"xmlns")
                .then_some(Span::of_words(self.span.end(), self.span.end()))
        } else {
            (self.prefix().of(bytes) == b"xmlns").then(|| self.local())
        }
    }
}

/// An attribute or namespace declaration in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawAttr {
    pub(super) name: RawName,
    pub(super) value: Span,
    /// The value is the text of the span and would be written the same way. Otherwise it needs [`unescape`](super::chars::unescape).
    pub(super) plain: bool,
}

/// One piece of markup. `plain` is as in [`RawAttr`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    /// A whole element with nothing but a plain text. Not all that could be one are.
    Leaf {
        name: RawName,
        text: Span,
    },
    Start {
        name: RawName,
        empty: bool,
    },
    End {
        name: Span,
    },
    Text {
        span: Span,
        plain: bool,
    },
    CData {
        span: Span,
        plain: bool,
    },
    Comment {
        span: Span,
        plain: bool,
    },
    Instruction {
        target: Span,
        data: Span,
        plain: bool,
    },
    Eof,
}

pub(super) type Step<T> = Result<T, Box<Fault>>;

const NAME_START: u8 = 1;
const NAME: u8 = 2;
/// Ends the fast loop over an attribute value.
const ATTRIBUTE_STOP: u8 = 4;

#[allow(clippy::indexing_slicing)] // evaluated by the compiler, which would refuse a bad index
const CLASSES: [u8; 256] = {
    let mut classes = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let mut class = 0;
        if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 {
            class |= NAME_START | NAME;
        }
        if byte.is_ascii_digit() || byte == b'-' || byte == b'.' {
            class |= NAME;
        }
        if byte < 0x20 || matches!(byte, b'"' | b'\'' | b'<' | b'&' | 0xEF) {
            class |= ATTRIBUTE_STOP;
        }
        classes[i] = class;
        i += 1;
    }
    classes
};

#[inline(always)]
#[allow(clippy::indexing_slicing)] // a byte cannot exceed the 256 entries
fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_space(byte))
}

/// How much of a text is looked at word by word before the vectorised search is worth its start.
pub(super) const SHORT_TEXT: usize = 32;

/// Memory that a tokenizer works with.
pub(super) struct Room {
    /// Attributes and declarations of the last start tag.
    pub(super) attrs: Vec<RawAttr>,
    pub(super) elements: Names,
    pub(super) attributes: Names,
}

impl Room {
    /// Room for any document.
    pub(super) fn new() -> Room {
        Room {
            attrs: Vec::with_capacity(8),
            elements: Names::new(ELEMENT_NAMES),
            attributes: Names::new(ATTRIBUTE_NAMES),
        }
    }
}

pub(super) struct Tokenizer<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pos: usize,
    /// Text may contain something that must be refused or normalised, see [`is_unusual`].
    pub(super) unusual: bool,
    max_attributes: usize,
    max_namespaces: usize,
    max_name_bytes: usize,
    pub(super) room: Room,
    /// How many things so far were not written the way the writer would write them. An element during which this
    /// does not change can be written by copying its bytes.
    pub(super) irregular: u32,
}

impl<'a> Tokenizer<'a> {
    /// A tokenizer at the start of a document, which is searched once for rare characters, as that spares checking
    /// every text for them.
    pub(super) fn new(bytes: &'a [u8], limits: &Limits, room: Room) -> Step<Tokenizer<'a>> {
        Tokenizer::with_room(bytes, limits, is_unusual(bytes), room)
    }

    fn with_room(
        bytes: &'a [u8],
        limits: &Limits,
        unusual: bool,
        room: Room,
    ) -> Step<Tokenizer<'a>> {
        if bytes.len() > limits.max_bytes || bytes.len() >= u32::MAX as usize {
            let message = format!(
                "the document has more than {} bytes",
                limits.max_bytes.min(u32::MAX as usize)
            );
            return Err(Fault::new(0, Problem::Limit, message));
        }
        Ok(Tokenizer {
            bytes,
            pos: if bytes.starts_with(b"\xEF\xBB\xBF") {
                3
            } else {
                0
            },
            unusual,
            max_attributes: limits.max_attributes,
            max_namespaces: limits.max_namespaces,
            max_name_bytes: limits.max_name_bytes,
            room,
            irregular: 0,
        })
    }

    /// A tokenizer that goes on at `at` with more of the same document, where nothing before `at` is looked at again.
    /// `unusual` is what [`is_unusual`] said about the bytes from there on; `room` is that of the tokenizer before.
    pub(super) fn resume(
        bytes: &'a [u8],
        at: usize,
        limits: &Limits,
        unusual: bool,
        room: Room,
    ) -> Step<Tokenizer<'a>> {
        let mut tokenizer = Tokenizer::with_room(bytes, limits, unusual, room)?;
        if at != 0 {
            tokenizer.pos = at;
        }
        Ok(tokenizer)
    }

    /// Where the next token starts.
    pub(super) fn position(&self) -> usize {
        self.pos
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// The next token. Text includes white space outside the root element; whoever follows the nesting judges that.
    /// `open` is the name of the innermost open element: an end tag that closes it is recognised faster, and exactly
    /// such an end tag has this very span as its name.
    #[inline]
    pub(super) fn next(&mut self, open: Span) -> Step<Token> {
        match self.peek() {
            None => Ok(Token::Eof),
            Some(b'<') => match self.bytes.get(self.pos + 1) {
                Some(b'/') => self.end_tag(open),
                Some(b'!') => self.declaration_like(),
                Some(b'?') => self.instruction(),
                Some(_) => self.start_tag(),
                None => Err(self.truncated("markup")),
            },
            Some(_) => self.text(),
        }
    }

    /// The rest of an element after its start tag without attributes, when that is a short plain text and the end tag,
    /// in the plainest form there is; its text. `None` says nothing, and nothing has been read.
    #[inline(always)]
    fn leaf(&mut self, name: Span) -> Option<Span> {
        if self.unusual {
            return None;
        }
        let text = self.pos;
        let len = text_before_markup(self.bytes.get(text..)?, SHORT_TEXT).ok()?;
        let text_end = text + len;
        let end = self.bytes.get(text_end..)?;
        let name_len = name.len() as usize;
        let closed = len != 0
            && end.starts_with(b"</")
            && end.get(2 + name_len) == Some(&b'>')
            && same(end.get(2..2 + name_len)?, name.of(self.bytes));
        if !closed {
            return None;
        }
        self.pos = text_end + name_len + 3;
        Some(Span::new(text, text_end))
    }

    #[cold]
    pub(super) fn truncated(&self, what: &str) -> Box<Fault> {
        Fault::new(
            self.bytes.len(),
            Problem::Truncated,
            format!("the document ends inside {what}"),
        )
    }

    #[cold]
    pub(super) fn syntax(&self, message: &'static str) -> Box<Fault> {
        Fault::new(self.pos, Problem::Syntax, message)
    }

    /// The fault for a byte that does not belong here, or for the end of the input.
    #[cold]
    pub(super) fn unexpected(&self, expected: &'static str, what: &str) -> Box<Fault> {
        if self.pos >= self.bytes.len() {
            self.truncated(what)
        } else {
            self.syntax(expected)
        }
    }

    #[inline]
    pub(super) fn skip_space(&mut self) -> usize {
        let start = self.pos;
        while self.peek().is_some_and(is_space) {
            self.pos += 1;
        }
        self.pos - start
    }

    /// Steps over fixed text, telling a wrong byte from the end of the input.
    pub(super) fn literal(
        &mut self,
        literal: &'static [u8],
        expected: &'static str,
        what: &str,
    ) -> Step<()> {
        for &byte in literal {
            if self.peek() != Some(byte) {
                return Err(self.unexpected(expected, what));
            }
            self.pos += 1;
        }
        Ok(())
    }

    #[inline]
    fn name(&mut self, what: &'static str) -> Step<RawName> {
        let start = self.pos;
        let rest = self.rest();
        let mut all = 0u8;
        let mut part = |bytes: &[u8]| {
            let len = bytes.iter().position(|&byte| {
                all |= byte;
                class(byte) & NAME == 0
            });
            let starts_well = bytes
                .first()
                .is_some_and(|&byte| class(byte) & NAME_START != 0);
            if starts_well { len } else { None }
        };
        let Some(mut len) = part(rest) else {
            return Err(self.bad_name(rest, what));
        };
        let mut prefix_len = 0;
        if let Some([b':', local @ ..]) = rest.get(len..) {
            let Some(local_len) = part(local).filter(|&len| local.get(len) != Some(&b':')) else {
                return Err(self.bad_name(local, what));
            };
            prefix_len = len as u32;
            len += 1 + local_len;
        }
        self.pos = start + len;
        let name = RawName {
            span: Span::new(start, self.pos),
            prefix_len,
            slot: NO_SLOT,
        };
        if len > self.max_name_bytes || all >= 0x80 {
            self.check_name(name, what)?;
        }
        Ok(name)
    }

    /// A name that was probably met before.
    #[inline(always)]
    fn familiar_name(
        &mut self,
        names: fn(&mut Room) -> &mut Names,
        what: &'static str,
    ) -> Step<RawName> {
        let rest = self.rest();
        let names_met = names(&mut self.room);
        let Some(known) = names_met.find(rest) else {
            return match Key::read(rest) {
                Some(key) => self.new_name(key, names, what),
                None => self.name(what),
            };
        };
        names_met.met(known.slot);
        let start = self.pos;
        self.pos += known.len;
        Ok(RawName {
            span: Span::new(start, self.pos),
            prefix_len: known.prefix_len,
            slot: known.slot,
        })
    }

    #[inline(never)]
    fn new_name(
        &mut self,
        key: Key,
        names: fn(&mut Room) -> &mut Names,
        what: &'static str,
    ) -> Step<RawName> {
        let mut name = match key.prefix_len() {
            Some(prefix_len) if key.len() <= self.max_name_bytes => {
                let start = self.pos;
                self.pos += key.len();
                RawName {
                    span: Span::new(start, self.pos),
                    prefix_len,
                    slot: NO_SLOT,
                }
            }
            _ => self.name(what)?,
        };
        // Declarations are not resolved like other names, so that nobody would notice them taking a slot.
        if name.span.len() as usize == key.len() && name.declared_prefix(self.bytes).is_none() {
            name.slot = names(&mut self.room).keep(key, name.prefix_len) | FRESH;
        }
        Ok(name)
    }

    /// The checks only few names need.
    #[inline(never)]
    fn check_name(&self, name: RawName, what: &'static str) -> Step<()> {
        let at = name.span.start() as usize;
        if name.span.len() as usize > self.max_name_bytes {
            let message = format!("{what} is longer than {} bytes", self.max_name_bytes);
            return Err(Fault::new(at, Problem::Limit, message));
        }
        let wrong = |part: Span| !part.is_empty() && !is_name(part.of(self.bytes));
        if wrong(name.prefix()) || wrong(name.local()) {
            return Err(Fault::new(
                at,
                Problem::Name,
                format!("{what} has a character no name may have"),
            ));
        }
        Ok(())
    }

    /// The fault for a name that is none: `part` starts wrong, or ends with the input, or has a second colon.
    #[cold]
    fn bad_name(&self, part: &[u8], what: &'static str) -> Box<Fault> {
        let starts_well = part
            .first()
            .is_none_or(|&byte| class(byte) & NAME_START != 0);
        if starts_well && part.iter().all(|&byte| class(byte) & NAME != 0) {
            return self.truncated(what);
        }
        Fault::new(self.pos, Problem::Name, format!("{what} expected"))
    }

    #[inline]
    fn start_tag(&mut self) -> Step<Token> {
        self.pos += 1;
        let name = self.familiar_name(|room| &mut room.elements, "an element name")?;
        self.room.attrs.clear();
        match self.peek() {
            Some(b'>') => {
                self.pos += 1;
                return Ok(match self.leaf(name.span) {
                    Some(text) => Token::Leaf { name, text },
                    None => Token::Start { name, empty: false },
                });
            }
            Some(b'/') if self.bytes.get(self.pos + 1) == Some(&b'>') => {
                self.pos += 2;
                return Ok(Token::Start { name, empty: true });
            }
            _ => {}
        }
        let mut namespaces = 0;
        loop {
            let space_at = self.pos;
            let space = self.skip_space();
            match self.peek() {
                Some(b'>') => {
                    self.irregular += u32::from(space != 0);
                    self.pos += 1;
                    return Ok(Token::Start { name, empty: false });
                }
                Some(b'/') => {
                    self.irregular += u32::from(space != 0);
                    self.pos += 1;
                    if self.peek() != Some(b'>') {
                        return Err(self.unexpected("`>` expected after `/`", "a start tag"));
                    }
                    self.pos += 1;
                    return Ok(Token::Start { name, empty: true });
                }
                None => return Err(self.truncated("a start tag")),
                Some(_) if space == 0 => {
                    return Err(self.syntax("white space, `>` or `/>` expected in a start tag"));
                }
                Some(_) => {}
            }
            if space != 1 || self.bytes.get(space_at) != Some(&b' ') {
                self.irregular += 1;
            }
            let attr = self.attribute()?;
            if attr.name.declared_prefix(self.bytes).is_some() {
                namespaces += 1;
                if namespaces > self.max_namespaces {
                    let message = format!(
                        "an element declares more than {} namespaces",
                        self.max_namespaces
                    );
                    return Err(Fault::new(space_at, Problem::Limit, message));
                }
            }
            if self.room.attrs.len() >= self.max_attributes {
                let message = format!(
                    "an element has more than {} attributes",
                    self.max_attributes
                );
                return Err(Fault::new(space_at, Problem::Limit, message));
            }
            self.room.attrs.push(attr);
        }
    }

    #[inline]
    fn attribute(&mut self) -> Step<RawAttr> {
        let name = self.familiar_name(|room| &mut room.attributes, "an attribute name")?;
        if self.peek() != Some(b'=') {
            self.irregular += 1;
            self.skip_space();
            if self.peek() != Some(b'=') {
                return Err(self.unexpected("`=` expected after an attribute name", "an attribute"));
            }
        }
        self.pos += 1;
        let quote = match self.peek() {
            Some(b'"') => b'"',
            _ => {
                self.irregular += 1;
                self.skip_space();
                match self.peek() {
                    Some(quote @ (b'"' | b'\'')) => quote,
                    _ => {
                        return Err(
                            self.unexpected("a quoted attribute value expected", "an attribute")
                        );
                    }
                }
            }
        };
        self.pos += 1;
        let start = self.pos;
        let mut plain = true;
        loop {
            let rest = self.rest();
            self.pos += rest
                .iter()
                .position(|&byte| class(byte) & ATTRIBUTE_STOP != 0)
                .unwrap_or(rest.len());
            let Some(byte) = self.peek() else {
                return Err(self.truncated("an attribute value"));
            };
            match byte {
                _ if byte == quote => break,
                // The other quote: only a double quote would have to be written differently.
                b'\'' => {}
                b'"' => plain = false,
                b'<' => return Err(self.syntax("`<` is not allowed in an attribute value")),
                b'&' => {
                    plain = false;
                    let (_, end) = self.reference(self.pos)?;
                    let reference = self.bytes.get(self.pos..end).unwrap_or_default();
                    if !matches!(
                        reference,
                        b"&amp;" | b"&lt;" | b"&quot;" | b"&#xa;" | b"&#x9;" | b"&#xd;"
                    ) {
                        self.irregular += 1;
                    }
                    self.pos = end;
                    continue;
                }
                b'\n' | b'\t' | b'\r' => {
                    plain = false;
                    self.irregular += 1;
                }
                _ => self.check_character(self.pos)?,
            }
            self.pos += 1;
        }
        let value = Span::new(start, self.pos);
        self.pos += 1;
        Ok(RawAttr { name, value, plain })
    }

    #[inline]
    fn end_tag(&mut self, open: Span) -> Step<Token> {
        let start = self.pos + 2;
        let after = start + open.len() as usize;
        if self.bytes.get(after) == Some(&b'>')
            && let Some(name) = self.bytes.get(start..after)
            && same(name, open.of(self.bytes))
        {
            self.pos = after + 1;
            return Ok(Token::End { name: open });
        }
        self.unusual_end_tag()
    }

    #[inline(never)]
    fn unusual_end_tag(&mut self) -> Step<Token> {
        self.pos += 2;
        let name = self.name("an element name")?.span;
        if self.peek() != Some(b'>') {
            self.irregular += 1;
            self.skip_space();
            if self.peek() != Some(b'>') {
                return Err(self.unexpected("`>` expected in an end tag", "an end tag"));
            }
        }
        self.pos += 1;
        Ok(Token::End { name })
    }

    #[inline]
    fn text(&mut self) -> Step<Token> {
        let start = self.pos;
        self.pos += text_len(self.rest());
        if self.unusual || self.peek() == Some(b'&') {
            return self.unusual_text(start);
        }
        Ok(Token::Text {
            span: Span::new(start, self.pos),
            plain: true,
        })
    }

    /// Text with references, or in a document where rare characters may occur.
    #[inline(never)]
    fn unusual_text(&mut self, start: usize) -> Step<Token> {
        let mut plain = true;
        while self.peek() == Some(b'&') {
            plain = false;
            let (_, end) = self.reference(self.pos)?;
            let as_written = match self.bytes.get(self.pos..end).unwrap_or_default() {
                b"&amp;" | b"&lt;" | b"&#xd;" => true,
                b"&gt;" => self
                    .bytes
                    .get(start..self.pos)
                    .unwrap_or_default()
                    .ends_with(b"]]"),
                _ => false,
            };
            self.irregular += u32::from(!as_written);
            self.pos = end;
            self.pos += text_len(self.rest());
        }
        let span = Span::new(start, self.pos);
        if self.unusual {
            plain &= self.inspect(span)?;
            if let Some(at) = memchr::memmem::find(span.of(self.bytes), b"]]>") {
                return Err(Fault::new(
                    start + at,
                    Problem::Syntax,
                    "`]]>` is not allowed in text",
                ));
            }
        }
        Ok(Token::Text { span, plain })
    }

    /// Refuses forbidden characters; tells whether line ends need no normalisation.
    #[inline(never)]
    fn inspect(&mut self, span: Span) -> Step<bool> {
        let mut plain = true;
        for (at, &byte) in (span.start() as usize..).zip(span.of(self.bytes)) {
            match byte {
                b'\r' => plain = false,
                0..0x20 | 0xEF => self.check_character(at)?,
                _ => {}
            }
        }
        if !plain {
            self.irregular += 1;
        }
        Ok(plain)
    }

    /// Refuses the characters XML forbids, of which only the first byte has been looked at. Surrogates cannot occur,
    /// because the input is valid UTF-8.
    fn check_character(&self, at: usize) -> Step<()> {
        let forbidden = match self.bytes.get(at) {
            Some(b'\n' | b'\t' | b'\r') => None,
            Some(&byte @ 0..0x20) => Some(u32::from(byte)),
            Some(0xEF) => match self.bytes.get(at + 1..at + 3) {
                Some([0xBF, last @ (0xBE | 0xBF)]) => Some(0xFFC0 + u32::from(last - 0x80)),
                _ => None,
            },
            _ => None,
        };
        match forbidden {
            None => Ok(()),
            Some(code) => Err(Fault::new(
                at,
                Problem::Character,
                format!("the character U+{code:04X} is not allowed in XML"),
            )),
        }
    }

    /// Reads the reference at `at`: the character it stands for and where it ends.
    fn reference(&self, at: usize) -> Step<(char, usize)> {
        let rest = self.bytes.get(at + 1..).unwrap_or_default();
        // Long enough for every legal reference with a few leading zeros, short enough to stay linear.
        let window = rest.get(..32).unwrap_or(rest);
        let Some(len) = memchr::memchr(b';', window) else {
            let complete = window.len() < 32
                && window
                    .iter()
                    .all(|&byte| byte == b'#' || class(byte) & NAME != 0);
            return Err(if complete {
                self.truncated("a reference")
            } else {
                Fault::new(
                    at,
                    Problem::Entity,
                    "`&` does not start a reference; write `&amp;`",
                )
            });
        };
        let body = window.get(..len).unwrap_or_default();
        match resolve_reference(body) {
            Some(character) => Ok((character, at + 1 + len + 1)),
            None => {
                let body = String::from_utf8_lossy(body);
                let message = if body.starts_with('#') {
                    format!("`&{body};` is not a reference to a character XML allows")
                } else {
                    format!("the entity `&{body};` is not one of the five predefined ones")
                };
                Err(Fault::new(at, Problem::Entity, message))
            }
        }
    }

    fn declaration_like(&mut self) -> Step<Token> {
        match self.bytes.get(self.pos + 2) {
            Some(b'-') => self.comment(),
            Some(b'[') => self.cdata(),
            Some(b'D') => Err(self.syntax_as(
                Problem::Doctype,
                "a document type declaration (DOCTYPE) is not allowed",
            )),
            None => Err(self.truncated("markup")),
            Some(_) => Err(self.syntax("a comment or CDATA section expected after `<!`")),
        }
    }

    #[cold]
    fn syntax_as(&self, problem: Problem, message: &'static str) -> Box<Fault> {
        Fault::new(self.pos, problem, message)
    }

    fn comment(&mut self) -> Step<Token> {
        self.literal(b"<!--", "`<!--` expected", "a comment")?;
        let start = self.pos;
        loop {
            let Some(len) = memchr::memchr(b'-', self.rest()) else {
                return Err(self.truncated("a comment"));
            };
            self.pos += len;
            match self.bytes.get(self.pos + 1) {
                Some(b'-') => break,
                Some(_) => self.pos += 1,
                None => return Err(self.truncated("a comment")),
            }
        }
        let span = Span::new(start, self.pos);
        self.literal(b"-->", "`--` is not allowed in a comment", "a comment")?;
        let plain = !self.unusual || self.inspect(span)?;
        Ok(Token::Comment { span, plain })
    }

    fn cdata(&mut self) -> Step<Token> {
        self.literal(b"<![CDATA[", "`<![CDATA[` expected", "a CDATA section")?;
        let start = self.pos;
        let Some(len) = memchr::memmem::find(self.rest(), b"]]>") else {
            return Err(self.truncated("a CDATA section"));
        };
        let span = Span::new(start, start + len);
        self.pos += len + 3;
        let plain = !self.unusual || self.inspect(span)?;
        Ok(Token::CData { span, plain })
    }

    fn instruction(&mut self) -> Step<Token> {
        let at = self.pos;
        self.pos += 2;
        let name = self.name("the target of a processing instruction")?;
        let target = name.span;
        if name.prefix_len != 0 {
            let message = "the target of a processing instruction must not contain a colon";
            return Err(Fault::new(at, Problem::Name, message));
        }
        if target.of(self.bytes).eq_ignore_ascii_case(b"xml") {
            let message = "an XML declaration is only allowed at the very beginning";
            return Err(Fault::new(at, Problem::Syntax, message));
        }
        let gap = self.pos;
        let space = self.skip_space();
        let start = self.pos;
        let Some(len) = memchr::memmem::find(self.rest(), b"?>") else {
            return Err(self.truncated("a processing instruction"));
        };
        if space == 0 && len != 0 {
            return Err(
                self.syntax("white space expected after the target of a processing instruction")
            );
        }
        let as_written = if len == 0 {
            space == 0
        } else {
            space == 1 && self.bytes.get(gap) == Some(&b' ')
        };
        self.irregular += u32::from(!as_written);
        let data = Span::new(start, start + len);
        self.pos = start + len + 2;
        let plain = !self.unusual || self.inspect(data)?;
        Ok(Token::Instruction {
            target,
            data,
            plain,
        })
    }
}

/// How many bytes there are before the next `<` or `&`.
#[inline]
fn text_len(rest: &[u8]) -> usize {
    match text_before_markup(rest, SHORT_TEXT) {
        Ok(len) => len,
        Err(at) => {
            let long = rest.get(at..).unwrap_or_default();
            at + memchr::memchr2(b'<', b'&', long).unwrap_or(long.len())
        }
    }
}
