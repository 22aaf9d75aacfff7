//! Reading the head of a document without building a tree.
//!
//! For routing on a session id or on the kind of message while the body still streams. What lies behind the answer is
//! not looked at, so that a malformed rest goes unnoticed; duplicate attributes are not looked for either.

use super::XML_NAMESPACE;
use super::chars::{Normalise, unescape};
use super::error::{Limits, Problem};
use super::token::{RawName, Span, Token, Tokenizer, is_blank};
use std::borrow::Cow;

/// Namespace of SOAP 1.1 and of SOAP 1.2 envelopes.
const ENVELOPES: [&str; 2] = [
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
];

/// What a look into the beginning of a document found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Text of the first match, untrimmed.
    Found(String),
    /// It is certain that there is no match: the header ended, the body started, or this is no SOAP envelope.
    Absent,
    /// The answer lies beyond the bytes given.
    Incomplete,
    /// The bytes given are not well-formed, or exceed the default [`Limits`].
    Malformed,
}

/// Name of the root element, as far as the bytes given tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootName {
    /// The start tag of the root element was read.
    Found {
        /// Namespace, empty when there is none.
        namespace: String,
        /// Local name.
        local: String,
    },
    /// The start tag of the root element does not end within the bytes given.
    Incomplete,
    /// The bytes given are not well-formed, or exceed the default [`Limits`].
    Malformed,
}

/// The text directly in the first child `{namespace}local` of the SOAP header (1.1 or 1.2), from the first bytes of a
/// document in UTF-8. Text of elements below that child does not count.
pub fn soap_header_child_text(input: &[u8], namespace: &str, local: &str) -> Peek {
    match find_header_child(input, namespace, local) {
        Ok(Some(text)) => Peek::Found(text),
        Ok(None) => Peek::Absent,
        Err(Stop::Incomplete) => Peek::Incomplete,
        Err(Stop::Malformed) => Peek::Malformed,
    }
}

/// The name of the root element, from the first bytes of a document in UTF-8.
pub fn root_name(input: &[u8]) -> RootName {
    let name = Head::new(input).and_then(|mut head| {
        let (namespace, local) = head.root()?;
        Ok(RootName::Found {
            namespace: namespace.into_owned(),
            local: local.to_owned(),
        })
    });
    match name {
        Ok(name) => name,
        Err(Stop::Incomplete) => RootName::Incomplete,
        Err(Stop::Malformed) => RootName::Malformed,
    }
}

enum Stop {
    Incomplete,
    Malformed,
}

impl From<Box<super::error::Fault>> for Stop {
    fn from(fault: Box<super::error::Fault>) -> Stop {
        if fault.problem == Problem::Truncated {
            Stop::Incomplete
        } else {
            Stop::Malformed
        }
    }
}

fn find_header_child(input: &[u8], namespace: &str, local: &str) -> Result<Option<String>, Stop> {
    let mut head = Head::new(input)?;
    let (envelope, root_local) = head.root()?;
    if root_local != "Envelope" || !ENVELOPES.contains(&envelope.as_ref()) || head.open.is_empty() {
        return Ok(None);
    }
    let envelope = envelope.into_owned();
    loop {
        match head.next()? {
            Event::Open { name, empty, .. } => {
                let (name_namespace, name_local) = head.resolve(name)?;
                if empty || name_local != "Header" || name_namespace != envelope {
                    return Ok(None);
                }
                break;
            }
            Event::Close => return Ok(None),
            Event::Text { .. } => {}
        }
    }
    let header_depth = head.open.len();
    loop {
        match head.next()? {
            Event::Open { name, empty, depth } if depth == header_depth + 1 => {
                let (name_namespace, name_local) = head.resolve(name)?;
                if name_local == local && name_namespace == namespace {
                    return if empty {
                        Ok(Some(String::new()))
                    } else {
                        head.own_text().map(Some)
                    };
                }
            }
            Event::Close if head.open.len() < header_depth => return Ok(None),
            _ => {}
        }
    }
}

/// What matters of a token here.
enum Event {
    /// `depth` counts from 1 at the root.
    Open {
        name: RawName,
        empty: bool,
        depth: usize,
    },
    Close,
    Text {
        span: Span,
        plain: bool,
        how: Normalise,
    },
}

/// Follows nesting and namespace declarations over the tokens.
struct Head<'a> {
    input: &'a [u8],
    tokens: Tokenizer<'a>,
    /// Names of the open elements, each with the number of bindings outside it.
    open: Vec<(Span, usize)>,
    /// Prefix and namespace, innermost last.
    bindings: Vec<(&'a [u8], Cow<'a, str>)>,
    /// Bindings to keep once the empty element that was returned last has been looked at.
    keep: Option<usize>,
    max_depth: usize,
}

impl<'a> Head<'a> {
    fn new(input: &'a [u8]) -> Result<Head<'a>, Stop> {
        if !input.is_empty() && input.len() < 3 && b"\xEF\xBB\xBF".starts_with(input) {
            return Err(Stop::Incomplete);
        }
        let limits = Limits::default();
        // Longer than any limit is no reason not to look at the beginning.
        let input = input.get(..limits.max_bytes).unwrap_or(input);
        let mut tokens = Tokenizer::new(input, &limits, false)?;
        tokens.declaration()?;
        Ok(Head {
            input,
            tokens,
            open: Vec::new(),
            bindings: Vec::new(),
            keep: None,
            max_depth: limits.max_depth,
        })
    }

    fn root(&mut self) -> Result<(Cow<'a, str>, &'a str), Stop> {
        loop {
            match self.next()? {
                Event::Open { name, .. } => return self.resolve(name),
                Event::Text {
                    span,
                    how: Normalise::Text,
                    ..
                } if is_blank(span.of(self.input)) => {}
                Event::Text { .. } | Event::Close => return Err(Stop::Malformed),
            }
        }
    }

    fn next(&mut self) -> Result<Event, Stop> {
        if let Some(keep) = self.keep.take() {
            self.bindings.truncate(keep);
        }
        loop {
            let open = self.open.last().map_or(Span::EMPTY, |(name, _)| *name);
            match self.tokens.next(open)? {
                Token::Start { name, empty } => {
                    let depth = self.open.len() + 1;
                    if depth > self.max_depth {
                        return Err(Stop::Malformed);
                    }
                    let outside = self.bindings.len();
                    self.bind()?;
                    if empty {
                        self.keep = Some(outside);
                    } else {
                        self.open.push((name.span, outside));
                    }
                    return Ok(Event::Open { name, empty, depth });
                }
                Token::End { name } => {
                    let (open, outside) = self.open.pop().ok_or(Stop::Malformed)?;
                    if open.of(self.input) != name.of(self.input) {
                        return Err(Stop::Malformed);
                    }
                    self.bindings.truncate(outside);
                    return Ok(Event::Close);
                }
                Token::Text { span, plain } => {
                    return Ok(Event::Text {
                        span,
                        plain,
                        how: Normalise::Text,
                    });
                }
                Token::CData { span, plain } => {
                    return Ok(Event::Text {
                        span,
                        plain,
                        how: Normalise::LineEnds,
                    });
                }
                Token::Comment { .. } | Token::Instruction { .. } => {}
                Token::Eof => return Err(Stop::Incomplete),
            }
        }
    }

    fn bind(&mut self) -> Result<(), Stop> {
        for attr in &self.tokens.attrs {
            if let Some(prefix) = attr.name.declared_prefix(self.input) {
                let value = self.text(attr.value, attr.plain, Normalise::Attribute)?;
                if value.is_empty() && !prefix.is_empty() {
                    return Err(Stop::Malformed);
                }
                self.bindings.push((prefix.of(self.input), value));
            }
        }
        Ok(())
    }

    /// Namespace and local name of an element that was just opened.
    fn resolve(&self, name: RawName) -> Result<(Cow<'a, str>, &'a str), Stop> {
        let local =
            std::str::from_utf8(name.local().of(self.input)).map_err(|_| Stop::Malformed)?;
        let prefix = name.prefix().of(self.input);
        let bound = self
            .bindings
            .iter()
            .rev()
            .find(|(bound, _)| *bound == prefix);
        match (bound, prefix) {
            (_, b"xml") => Ok((Cow::Borrowed(XML_NAMESPACE), local)),
            (Some((_, namespace)), _) => Ok((namespace.clone(), local)),
            (None, b"") => Ok((Cow::Borrowed(""), local)),
            (None, _) => Err(Stop::Malformed),
        }
    }

    /// The text directly in the element that was just opened.
    fn own_text(&mut self) -> Result<String, Stop> {
        let depth = self.open.len();
        let mut text = String::new();
        loop {
            match self.next()? {
                Event::Text { span, plain, how } if self.open.len() == depth => {
                    text.push_str(&self.text(span, plain, how)?);
                }
                Event::Close if self.open.len() < depth => return Ok(text),
                _ => {}
            }
        }
    }

    fn text(&self, span: Span, plain: bool, how: Normalise) -> Result<Cow<'a, str>, Stop> {
        let source = std::str::from_utf8(span.of(self.input)).map_err(|error| {
            // The bytes given may end inside a character.
            let cut = error.error_len().is_none() && span.end() as usize == self.input.len();
            if cut {
                Stop::Incomplete
            } else {
                Stop::Malformed
            }
        })?;
        if plain {
            return Ok(Cow::Borrowed(source));
        }
        let mut text = String::new();
        unescape(source, how, &mut text);
        Ok(Cow::Owned(text))
    }
}
