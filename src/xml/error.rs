//! Limits of a document and the one error type of this room.

use std::borrow::Cow;

/// Bounds a document must keep while it is parsed; see section 14 of the XML measurements for the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest element nesting; the root element has depth 1.
    pub max_depth: usize,
    /// Attributes and namespace declarations of one element together.
    pub max_attributes: usize,
    /// Bytes of one element, attribute or instruction name, prefix included.
    pub max_name_bytes: usize,
    /// Namespace declarations of one element.
    pub max_namespaces: usize,
    /// Nodes of one document, attributes not counted.
    pub max_nodes: usize,
    /// Bytes of the decoded text; never more than 4 GiB.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_depth: 512,
            max_attributes: 1000,
            max_name_bytes: 4096,
            max_namespaces: 256,
            max_nodes: 8 * 1024 * 1024,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What kind of problem an [`XmlError`] is. Branch on this, not on the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The text breaks the grammar.
    Syntax,
    /// The text ends too early.
    Truncated,
    /// A character that XML forbids.
    Character,
    /// A name that is not a qualified name.
    Name,
    /// Undeclared prefix or forbidden use of `xml` or `xmlns`.
    Namespace,
    /// The same attribute twice.
    DuplicateAttribute,
    /// A reference to anything but the five predefined entities or a legal character.
    Entity,
    /// A document type declaration.
    Doctype,
    /// One of [`Limits`] is exceeded.
    Limit,
    /// Unknown encoding, or bytes that are not valid in it.
    Encoding,
}

/// Why a text is not an acceptable document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct XmlError {
    /// Byte offset in the decoded text; for [`Problem::Encoding`] in the bytes given.
    pub offset: usize,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong, for programs.
    pub problem: Problem,
}

/// An error on its way out of the tokenizer: boxed, so that the result of every token stays small.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) problem: Problem,
    pub(super) message: Cow<'static, str>,
}

impl Fault {
    #[cold]
    #[inline(never)]
    pub(super) fn new(
        offset: usize,
        problem: Problem,
        message: impl Into<Cow<'static, str>>,
    ) -> Box<Fault> {
        Box::new(Fault {
            offset,
            problem,
            message: message.into(),
        })
    }

    /// Adds line and column, which are only counted when there is an error.
    #[cold]
    pub(super) fn locate(self, text: &[u8]) -> XmlError {
        let before = text.get(..self.offset).unwrap_or(text);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let characters = before
            .iter()
            .skip(line_start)
            .filter(|&&byte| byte & 0xC0 != 0x80)
            .count();
        XmlError {
            offset: self.offset,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(characters + 1).unwrap_or(u32::MAX),
            message: self.message.into_owned(),
            problem: self.problem,
        }
    }
}
