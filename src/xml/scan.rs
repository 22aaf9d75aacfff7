//! Reading a document front to back without building a tree.
//!
//! A [`Scanner`] tells a visitor ([`Visit`]) about elements and text, and stops when it has seen enough: for routing on
//! the kind or on a value of a message whose rest nobody looks at. It can be given the beginning of a document first and
//! more of it later. What was read is checked like a parsed document is: well-formedness, namespaces, [`Limits`]. What
//! lies behind the end of the scan is not looked at.

use super::XML_NAMESPACE;
use super::chars::{Normalise, unescape};
use super::error::{Fault, Limits, Problem};
use super::names::forbidden_binding;
use super::skim::Shape;
use super::token::{ELEMENT_NAMES, RawAttr, RawName, Room, Span, Token, Tokenizer, is_blank};
use super::words::{is_unusual, same};
use std::borrow::Cow;
use std::cell::Cell;

/// Bytes that are checked at first; an early answer needs no more of them.
const FIRST_WINDOW: usize = 512;
/// Bytes that are checked in one go later.
const WINDOW: usize = 32 * 1024;
/// Elements with more attributes, and documents with more bindings in scope, are left to the tree: what is compared
/// pairwise here is looked up there.
const MOST_ATTRIBUTES: usize = 16;
const MOST_BINDINGS: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// How many bytes may be read twice because a document came in pieces: this many, and that many times what came.
const REPEATED_FREE: usize = 64 * 1024;
const REPEATED: usize = 8;

/// What is told about a document, in document order. `true` ends the scan.
pub trait Visit {
    /// What the visitor wants to know about the name of an element. Asked once per name, as far as names are
    /// remembered, so the answer must depend on namespace and local name only.
    fn mark(&self, element: &Opened<'_>) -> u64 {
        let _ = element;
        0
    }
    /// The marks that mean something within the innermost open element, when nothing else in it does: no text directly
    /// in it, no attributes and no ends of elements with other marks, and nothing of what is in those but elements.
    /// `None` when there may be more. Asked again after each call of another method.
    fn wanted(&self) -> Option<u64> {
        None
    }
    /// An element with a wanted mark that has no attributes and nothing but this text in it. `None` asks for being told
    /// with the other methods.
    ///
    /// # Errors
    /// To give up.
    fn leaf(&mut self, mark: u64, text: Text<'_>) -> Result<Option<bool>, Unreadable> {
        let _ = (mark, text);
        Ok(None)
    }
    /// The start tag of an element that means nothing, according to [`Visit::wanted`].
    fn open_unwanted(&mut self) {}
    /// Its end tag.
    fn close_unwanted(&mut self) {}
    /// A start tag, with the mark of its name. `close` is called for empty elements too, also after `true`.
    ///
    /// # Errors
    /// To give up.
    fn open(&mut self, element: &Opened<'_>, mark: u64) -> Result<bool, Unreadable>;
    /// The end of the innermost open element.
    ///
    /// # Errors
    /// To give up.
    fn close(&mut self) -> Result<bool, Unreadable>;
    /// Character data within the root element: one text or CDATA section.
    ///
    /// # Errors
    /// To give up.
    fn text(&mut self, text: Text<'_>) -> Result<bool, Unreadable>;
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The visitor has seen enough.
    Stopped,
    /// All that was given has been read, as far as it goes.
    Incomplete,
    /// The whole document was read, and is well-formed.
    Finished,
}

/// The document is not well-formed, or exceeds a limit, or is one that only the tree parser reads. The tree parser
/// says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl From<Box<Fault>> for Unreadable {
    fn from(_: Box<Fault>) -> Unreadable {
        Unreadable
    }
}

/// A start tag.
pub struct Opened<'s> {
    bytes: &'s [u8],
    name: RawName,
    bindings: &'s [Binding],
    attrs: &'s [RawAttr],
}

impl<'s> Opened<'s> {
    /// Whether the element has this name.
    #[inline]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        same(self.name.local().of(self.bytes), local.as_bytes()) && self.in_namespace(namespace)
    }

    /// Whether a prefix is declared here, with any meaning.
    pub fn knows_prefix(&self, prefix: &str) -> bool {
        let same = |binding: &Binding| same(binding.prefix.of(self.bytes), prefix.as_bytes());
        self.bindings.iter().any(same)
    }

    /// Whether the element is in a namespace; the empty one is none.
    pub fn in_namespace(&self, namespace: &str) -> bool {
        lookup(self.bindings, self.bytes, self.name.prefix())
            .is_some_and(|bound| same(bound, namespace.as_bytes()))
    }

    /// The local name.
    pub fn local(&self) -> &'s str {
        str_of(self.name.local(), self.bytes)
    }

    /// The namespace, empty when there is none.
    pub fn namespace(&self) -> &'s str {
        let bound = lookup(self.bindings, self.bytes, self.name.prefix());
        std::str::from_utf8(bound.unwrap_or_default()).unwrap_or_default()
    }

    /// Value of the attribute with this name.
    pub fn attribute(&self, namespace: &str, local: &str) -> Option<Cow<'s, str>> {
        let attr = self.attrs.iter().find(|attr| {
            attr.name.local().of(self.bytes) == local.as_bytes()
                && attr.name.declared_prefix(self.bytes).is_none()
                && match attr.name.prefix_len {
                    0 => namespace.is_empty(),
                    _ => {
                        let bound = lookup(self.bindings, self.bytes, attr.name.prefix());
                        bound == Some(namespace.as_bytes())
                    }
                }
        })?;
        Some(value(
            self.bytes,
            attr.value,
            attr.plain,
            Normalise::Attribute,
        ))
    }
}

/// A piece of character data.
#[derive(Clone, Copy)]
pub struct Text<'s> {
    pub(super) bytes: &'s [u8],
    pub(super) span: Span,
    pub(super) plain: bool,
    pub(super) how: Normalise,
}

impl<'s> Text<'s> {
    /// Whether it says the same as `other`.
    #[inline]
    pub fn is(self, other: &str) -> bool {
        if self.plain {
            same(self.span.of(self.bytes), other.as_bytes())
        } else {
            self.value() == other
        }
    }

    /// What it says: references resolved, line ends normalised.
    pub fn value(self) -> Cow<'s, str> {
        value(self.bytes, self.span, self.plain, self.how)
    }
}

fn str_of(span: Span, bytes: &[u8]) -> &str {
    std::str::from_utf8(span.of(bytes)).unwrap_or_default()
}

fn value(bytes: &[u8], span: Span, plain: bool, how: Normalise) -> Cow<'_, str> {
    let source = str_of(span, bytes);
    if plain {
        return Cow::Borrowed(source);
    }
    let mut text = String::new();
    unescape(source, how, &mut text);
    Cow::Owned(text)
}

pub(super) struct Binding {
    prefix: Span,
    uri: Uri,
}

enum Uri {
    Source(Span),
    Owned(Box<str>),
}

impl Uri {
    fn text<'s>(&'s self, bytes: &'s [u8]) -> &'s [u8] {
        match self {
            Uri::Source(span) => span.of(bytes),
            Uri::Owned(text) => text.as_bytes(),
        }
    }
}

/// The namespace of a prefix, as bytes: all of them were found to be UTF-8 together, and one is never read as text only
/// to be compared.
fn lookup<'s>(bindings: &'s [Binding], bytes: &'s [u8], prefix: Span) -> Option<&'s [u8]> {
    let name = prefix.of(bytes);
    let mut inner_first = bindings.iter().rev();
    match inner_first.find(|b| same(b.prefix.of(bytes), name)) {
        Some(binding) => Some(binding.uri.text(bytes)),
        None if name.is_empty() => Some(b""),
        // Whatever declares it gives it this meaning.
        None => (name == b"xml").then_some(XML_NAMESPACE.as_bytes()),
    }
}

#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) name: Span,
    /// Number of bindings outside it, and which they are.
    pub(super) outside: usize,
    pub(super) epoch: u32,
}

/// What the visitor made of a name.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) epoch: u32,
    pub(super) mark: u64,
}

impl Default for Mark {
    fn default() -> Mark {
        Mark {
            epoch: u32::MAX,
            mark: 0,
        }
    }
}

/// The state of a scan. All positions are offsets from the start of the document, which must be given from its start
/// each time.
pub struct Scanner {
    pub(super) limits: Limits,
    /// The next token.
    pub(super) at: usize,
    /// How much was checked for being UTF-8, and for rare characters.
    valid: usize,
    checked: usize,
    unusual: bool,
    /// Bytes that were read to no avail, because what they belong to was not complete.
    repeated: usize,
    begun: bool,
    ended: bool,
    pub(super) nodes: usize,
    pub(super) work: Work,
    /// Identifies the set of bindings in scope.
    pub(super) epoch: u32,
    /// A prefix that is known to be bound.
    known: Span,
    /// The encoding the XML declaration names does not matter.
    any_encoding: bool,
    /// What the writer would write otherwise is [`Unreadable`].
    pub(super) as_written: bool,
    /// Where the last start tag ended: an end tag there closes an element with nothing in it.
    pub(super) opened_at: usize,
}

/// What a scan works with. A thread keeps it from one document to the next: messages of one kind have the same names.
#[derive(Default)]
pub(super) struct Work {
    pub(super) open: Vec<Open>,
    pub(super) bindings: Vec<Binding>,
    room: Option<Room>,
    /// Longest name that was let through.
    max_name_bytes: usize,
    /// What the visitor makes of names, by the tokenizer's numbers for them.
    pub(super) marks: Box<[Mark]>,
    /// Attributes that start tags had, by the same numbers.
    pub(super) shapes: Box<[Shape]>,
    /// The largest epoch up to now. A scan begins with one that none before it had, so that nothing they left means
    /// anything to it.
    last_epoch: u32,
}

/// Beyond this many epochs everything starts anew.
const MOST_EPOCHS: u32 = 1 << 30;
/// Room for more open elements than this is not kept.
const MOST_OPEN: usize = 256;

thread_local! {
    static WORK: Cell<Option<Work>> = const { Cell::new(None) };
}

impl Work {
    /// That of the thread, for a new document.
    fn take(limits: &Limits) -> Work {
        let kept = WORK.try_with(Cell::take).ok().flatten();
        match kept.filter(|work| work.max_name_bytes == limits.max_name_bytes) {
            Some(mut work) => {
                work.last_epoch += 1;
                work
            }
            None => Work {
                open: Vec::with_capacity(16),
                bindings: Vec::with_capacity(8),
                room: None,
                max_name_bytes: limits.max_name_bytes,
                marks: vec![Mark::default(); ELEMENT_NAMES].into_boxed_slice(),
                shapes: Box::default(),
                last_epoch: 0,
            },
        }
    }

    /// Keeps it for the next scan of this thread.
    fn put_back(mut self) {
        if self.last_epoch > MOST_EPOCHS {
            return;
        }
        self.open.clear();
        self.open.shrink_to(MOST_OPEN);
        self.bindings.clear();
        // A thread that is ending keeps nothing.
        let _ = WORK.try_with(|kept| kept.set(Some(self)));
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        std::mem::take(&mut self.work).put_back();
    }
}

impl Scanner {
    /// At the start of a document in UTF-8. `encoding_is_known`: the XML declaration is not asked, as something before
    /// it said that the document is in UTF-8; otherwise a declaration of anything else is [`Unreadable`].
    pub fn new(limits: &Limits, encoding_is_known: bool) -> Scanner {
        let work = Work::take(limits);
        Scanner {
            limits: limits.clone(),
            at: 0,
            valid: 0,
            checked: 0,
            unusual: false,
            repeated: 0,
            begun: false,
            ended: false,
            nodes: 0,
            epoch: work.last_epoch,
            work,
            known: Span::EMPTY,
            any_encoding: encoding_is_known,
            as_written: false,
            opened_at: usize::MAX,
        }
    }

    /// At the start of a whole document, whose declared encoding does not matter. What is around the root element may
    /// look as it likes; everything else that the writer would not write just so is [`Unreadable`], but for an element
    /// with nothing in it after whose start tag the visitor stopped.
    ///
    /// # Errors
    /// When it is not in UTF-8.
    pub fn of_written(input: &[u8], limits: &Limits) -> Result<Scanner, Unreadable> {
        let mut scanner = Scanner::new(limits, true);
        scanner.as_written = true;
        scanner.check(input, input.len(), true)?;
        Ok(scanner)
    }

    /// Where the scan stopped, in bytes from the start.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes on reading. `input` starts as it did the last time, and `complete` says that it ends where the document
    /// ends.
    ///
    /// # Errors
    /// See [`Unreadable`]; also when the visitor gives up.
    pub fn run<V: Visit>(
        &mut self,
        input: &[u8],
        complete: bool,
        visitor: &mut V,
    ) -> Result<Scan, Unreadable> {
        if !complete && self.repeated > REPEATED * input.len() + REPEATED_FREE {
            return Ok(Scan::Incomplete);
        }
        // A byte order mark or the start of a declaration that has not come whole would be read as something else.
        let head = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(input);
        let undecided = b"<?xml".starts_with(head) || BYTE_ORDER_MARK.starts_with(input);
        if !complete && !self.begun && undecided {
            return Ok(Scan::Incomplete);
        }
        loop {
            let step = if self.checked == 0 {
                FIRST_WINDOW
            } else {
                WINDOW.min(self.checked)
            };
            // A token that is not complete yet is tried again when there is twice as much of it.
            let pending = self.checked.saturating_sub(self.at);
            let end = input
                .len()
                .min(self.checked.saturating_add(step.max(pending)));
            let last = complete && end == input.len();
            self.check(input, end, last)?;
            let window = input.get(..end).unwrap_or(input);
            let scan = self.read(window, last, visitor)?;
            if scan != Scan::Incomplete {
                return Ok(scan);
            }
            if end == input.len() {
                self.repeated = self.repeated.saturating_add(end - self.at);
                return if complete {
                    Err(Unreadable)
                } else {
                    Ok(Scan::Incomplete)
                };
            }
        }
    }

    /// Looks at bytes before they are read: whether they are UTF-8, and whether rare characters occur.
    fn check(&mut self, input: &[u8], end: usize, last: bool) -> Result<(), Unreadable> {
        let fresh = input.get(self.valid..end).unwrap_or_default();
        match std::str::from_utf8(fresh) {
            Ok(_) => self.valid = end,
            // The bytes given may end inside a character.
            Err(error) if error.error_len().is_none() && !last => self.valid += error.valid_up_to(),
            Err(_) => return Err(Unreadable),
        }
        // Two bytes of overlap, for what consists of several.
        let from = self.checked.saturating_sub(2);
        self.unusual |= is_unusual(input.get(from..end).unwrap_or_default());
        self.checked = self.checked.max(end);
        Ok(())
    }

    fn read<V: Visit>(
        &mut self,
        bytes: &[u8],
        last: bool,
        visitor: &mut V,
    ) -> Result<Scan, Unreadable> {
        let room = self.work.room.take().unwrap_or_else(Room::new);
        let mut tokens = Tokenizer::resume(bytes, self.at, &self.limits, self.unusual, room)?;
        self.opened_at = usize::MAX;
        let outcome = self.follow(&mut tokens, bytes, last, visitor);
        self.work.room = Some(tokens.room);
        match outcome {
            Err(Stop::Truncated) => {
                // The name of the incomplete token may have taken the number of another one, which nobody will notice
                // when it is read again.
                self.work.marks.fill(Mark::default());
                Ok(Scan::Incomplete)
            }
            Err(Stop::Unreadable) => Err(Unreadable),
            Ok(scan) => Ok(scan),
        }
    }

    fn follow<V: Visit>(
        &mut self,
        tokens: &mut Tokenizer<'_>,
        bytes: &[u8],
        last: bool,
        visitor: &mut V,
    ) -> Result<Scan, Stop> {
        if !self.begun {
            if let Some(declaration) = tokens.declaration()?
                && let Some(encoding) = declaration.encoding
                && !self.any_encoding
                && !encoding.of(bytes).eq_ignore_ascii_case(b"utf-8")
            {
                return Err(Stop::Unreadable);
            }
            self.begun = true;
            self.at = tokens.position();
        }
        loop {
            if self.skim(tokens, bytes, visitor)? {
                return Ok(Scan::Stopped);
            }
            let open = self.work.open.last().map_or(Span::EMPTY, |open| open.name);
            let before = tokens.position();
            let token = tokens.next(open)?;
            if self.as_written && tokens.irregular != 0 {
                match self.work.open.is_empty() && !matches!(token, Token::Start { .. }) {
                    true => tokens.irregular = 0,
                    false => return Err(Stop::Unreadable),
                }
            }
            let stop = match token {
                Token::Leaf { name, text } => self.leaf(bytes, name, text, visitor)?,
                Token::Start { name, empty } => {
                    let mark = self.start(tokens, bytes, name)?;
                    let element = Opened {
                        bytes,
                        name,
                        bindings: &self.work.bindings,
                        attrs: &tokens.room.attrs,
                    };
                    let new = mark.is_none();
                    let mark = mark.unwrap_or_else(|| visitor.mark(&element));
                    let stop = visitor.open(&element, mark)?;
                    if new {
                        self.keep_mark(name, mark);
                    }
                    if empty {
                        self.end();
                        stop | visitor.close()?
                    } else {
                        self.opened_at = tokens.position();
                        stop
                    }
                }
                Token::End { name } => {
                    if self.work.open.is_empty()
                        || (name != open && name.of(bytes) != open.of(bytes))
                    {
                        return Err(Stop::Unreadable);
                    }
                    if self.as_written && before == self.opened_at {
                        return Err(Stop::Unreadable);
                    }
                    self.end();
                    visitor.close()?
                }
                Token::Text { span, .. }
                    if self.work.open.is_empty() && !is_blank(span.of(bytes)) =>
                {
                    return Err(Stop::Unreadable);
                }
                // More of it may come.
                Token::Text { .. } if tokens.position() == bytes.len() && !last => {
                    return Err(Stop::Truncated);
                }
                Token::Text { .. } if self.work.open.is_empty() => false,
                Token::Text { span, plain } => {
                    self.count()?;
                    visitor.text(Text {
                        bytes,
                        span,
                        plain,
                        how: Normalise::Text,
                    })?
                }
                Token::CData { .. } if self.work.open.is_empty() => return Err(Stop::Unreadable),
                Token::CData { span, plain } => {
                    self.count()?;
                    visitor.text(Text {
                        bytes,
                        span,
                        plain,
                        how: Normalise::LineEnds,
                    })?
                }
                Token::Comment { .. } | Token::Instruction { .. } => {
                    self.count()?;
                    false
                }
                Token::Eof if last && self.ended => return Ok(Scan::Finished),
                Token::Eof => return Err(Stop::Truncated),
            };
            self.at = tokens.position();
            if stop {
                return Ok(Scan::Stopped);
            }
        }
    }

    /// A whole element with nothing but text.
    #[inline]
    fn leaf<V: Visit>(
        &mut self,
        bytes: &[u8],
        name: RawName,
        text: Span,
        visitor: &mut V,
    ) -> Result<bool, Stop> {
        self.nodes += 2;
        let misplaced = self.ended || self.work.open.len() >= self.limits.max_depth;
        if misplaced || self.nodes > self.limits.max_nodes {
            return Err(Stop::Unreadable);
        }
        self.ended = self.work.open.is_empty();
        let known = self.known_mark(name);
        if known.is_none() && name.prefix_len != 0 {
            self.bound(name.prefix(), bytes)?;
        }
        let element = Opened {
            bytes,
            name,
            bindings: &self.work.bindings,
            attrs: &[],
        };
        let mark = known.unwrap_or_else(|| visitor.mark(&element));
        let text = Text {
            bytes,
            span: text,
            plain: true,
            how: Normalise::Text,
        };
        let stop = visitor.open(&element, mark)? | visitor.text(text)? | visitor.close()?;
        if known.is_none() {
            self.keep_mark(name, mark);
        }
        Ok(stop)
    }

    /// What the visitor made of a name when it was last met, if that was with the same bindings.
    #[inline]
    fn known_mark(&self, name: RawName) -> Option<u64> {
        match name.slot() {
            Some((slot, false)) => {
                let known = self.work.marks.get(slot)?;
                (known.epoch == self.epoch).then_some(known.mark)
            }
            _ => None,
        }
    }

    fn keep_mark(&mut self, name: RawName, mark: u64) {
        if let Some((slot, _)) = name.slot()
            && let Some(known) = self.work.marks.get_mut(slot)
        {
            *known = Mark {
                epoch: self.epoch,
                mark,
            };
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > self.limits.max_nodes {
            return Err(Stop::Unreadable);
        }
        Ok(())
    }

    /// Opens an element: everything about its start tag that a parser checks. What the visitor made of the name before,
    /// if it was met here.
    #[inline]
    fn start(
        &mut self,
        tokens: &Tokenizer<'_>,
        bytes: &[u8],
        name: RawName,
    ) -> Result<Option<u64>, Stop> {
        self.count()?;
        if self.ended || self.work.open.len() >= self.limits.max_depth {
            return Err(Stop::Unreadable);
        }
        let (outside, epoch) = (self.work.bindings.len(), self.epoch);
        if !tokens.room.attrs.is_empty() {
            self.attributes(&tokens.room.attrs, bytes)?;
            if self.work.bindings.len() == outside {
                self.keep_shape(tokens, name);
            }
        }
        self.work.open.push(Open {
            name: name.span,
            outside,
            epoch,
        });
        if let Some(mark) = self.known_mark(name) {
            return Ok(Some(mark));
        }
        if name.prefix_len != 0 {
            self.bound(name.prefix(), bytes)?;
        }
        Ok(None)
    }

    #[inline]
    pub(super) fn end(&mut self) {
        if let Some(open) = self.work.open.pop()
            && open.outside != self.work.bindings.len()
        {
            self.work.bindings.truncate(open.outside);
            self.epoch = open.epoch;
            self.known = Span::EMPTY;
        }
        self.ended = self.work.open.is_empty();
    }

    /// Refuses a prefix that is not declared.
    #[inline]
    fn bound(&mut self, prefix: Span, bytes: &[u8]) -> Result<(), Stop> {
        if same(prefix.of(bytes), self.known.of(bytes)) {
            return Ok(());
        }
        match lookup(&self.work.bindings, bytes, prefix) {
            Some(_) => {
                self.known = prefix;
                Ok(())
            }
            None => Err(Stop::Unreadable),
        }
    }

    fn attributes(&mut self, attrs: &[RawAttr], bytes: &[u8]) -> Result<(), Stop> {
        if attrs.len() > MOST_ATTRIBUTES {
            return Err(Stop::Unreadable);
        }
        let mut prefixed = false;
        for (index, attr) in attrs.iter().enumerate() {
            if let Some(prefix) = attr.name.declared_prefix(bytes) {
                self.bind(attr, prefix, bytes)?;
            } else {
                prefixed |= attr.name.prefix_len != 0;
            }
            let name = attr.name.span.of(bytes);
            let earlier = attrs.get(..index).unwrap_or_default();
            if earlier
                .iter()
                .any(|other| other.name.span.of(bytes) == name)
            {
                return Err(Stop::Unreadable);
            }
        }
        if !prefixed {
            return Ok(());
        }
        // Two prefixes may stand for one namespace.
        let prefixed = |attr: &&RawAttr| {
            attr.name.prefix_len != 0 && attr.name.declared_prefix(bytes).is_none()
        };
        for (index, attr) in attrs.iter().enumerate().filter(|(_, attr)| prefixed(attr)) {
            self.bound(attr.name.prefix(), bytes)?;
            let of = |attr: &RawAttr| {
                let namespace = lookup(&self.work.bindings, bytes, attr.name.prefix());
                (attr.name.local().of(bytes), namespace)
            };
            let earlier = attrs.get(..index).unwrap_or_default();
            if earlier
                .iter()
                .filter(prefixed)
                .any(|other| of(other) == of(attr))
            {
                return Err(Stop::Unreadable);
            }
        }
        Ok(())
    }

    fn bind(&mut self, attr: &RawAttr, prefix: Span, bytes: &[u8]) -> Result<(), Stop> {
        let uri = match attr.plain {
            true => Uri::Source(attr.value),
            false => {
                let text = value(bytes, attr.value, false, Normalise::Attribute);
                Uri::Owned(text.into())
            }
        };
        let allowed = forbidden_binding(prefix.of(bytes), uri.text(bytes)).is_none();
        if !allowed || self.work.bindings.len() >= MOST_BINDINGS {
            return Err(Stop::Unreadable);
        }
        self.work.bindings.push(Binding { prefix, uri });
        self.work.last_epoch += 1;
        self.epoch = self.work.last_epoch;
        self.known = Span::EMPTY;
        Ok(())
    }
}

pub(super) enum Stop {
    Truncated,
    Unreadable,
}

impl From<Box<Fault>> for Stop {
    fn from(fault: Box<Fault>) -> Stop {
        if fault.problem == Problem::Truncated {
            Stop::Truncated
        } else {
            Stop::Unreadable
        }
    }
}

impl From<Unreadable> for Stop {
    fn from(_: Unreadable) -> Stop {
        Stop::Unreadable
    }
}
