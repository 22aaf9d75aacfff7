//! A SOAP message without its tree: read once from front to back, checked like a parsed one, and written with addressing
//! headers between the bytes that came.
//!
//! Only messages that the writer would write just as they came have an outline, without addressing headers and without
//! elements beside `Header` and `Body`. All others are left to the tree, which also says what is wrong with a message.
//! Whoever asks for the tree of a message with an outline gets it, with the headers that were written.

use super::addressing::{FINAL, Field, PREFIX, SUBMISSION, Version, write_blocks};
use super::body::not_soap;
use super::envelope::{Envelope, SOAP11, SOAP12, SoapVersion};
use super::fault::Fault;
use crate::xml::{self, Opened, Scan, Scanner, Text, Unreadable, Visit, escape_text, is_xml_char};
use bytes::Bytes;
use std::ops::Range;

/// The longest message that is written without a tree; what a tree may become as text is limited elsewhere, and is more.
const MOST: usize = 128 << 20;

/// The name of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockName {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its local name.
    pub local: &'static str,
}

/// Where the parts of a message are, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    text: Bytes,
    limits: xml::Limits,
    version: SoapVersion,
    /// The root element.
    root: Range<usize>,
    /// Its start tag ends here.
    content: usize,
    header: Option<Header>,
    /// The header block that was looked for, and the text of the first one.
    block: Option<(BlockName, Option<String>)>,
    /// What the last request to an endpoint with addressing wrote.
    written: Option<Written>,
}

/// The `Header` element.
#[derive(Clone, Debug)]
struct Header {
    /// Its start tag.
    tag: Range<usize>,
    /// Where a declaration goes in the start tag.
    declarations: usize,
    /// Where its content ends; the end of the tag when it is an empty one.
    end: usize,
}

/// Addressing headers that are not in the text.
#[derive(Clone, Debug)]
struct Written {
    version: Version,
    /// Empty once they were taken away; the declaration of their prefix stays, as in a tree.
    fields: Vec<Field>,
}

impl Outline {
    /// Reads a message. `None` for one that needs a tree.
    pub(super) fn read(
        text: &Bytes,
        limits: &xml::Limits,
        block: Option<BlockName>,
    ) -> Option<Outline> {
        let mut scanner = Scanner::of_written(text, limits).ok()?;
        let mut reader = Reader {
            depth: 0,
            event: None,
            version: SoapVersion::V11,
            parts: Parts::Before,
            wanted: block,
            found: None,
            collects: false,
        };
        let (mut root, mut content, mut header) = (0..0, 0, None);
        loop {
            match scanner.run(text, true, &mut reader).ok()? {
                Scan::Finished => break,
                Scan::Incomplete => return None,
                Scan::Stopped => {}
            }
            let at = scanner.position();
            match reader.event.take()? {
                Event::Root => {
                    root.start = start_of_tag(text, at)?;
                    content = at;
                }
                Event::Header => {
                    let (mut start, mut tag_end, mut end) = (start_of_tag(text, at)?, at, at);
                    // One with nothing but text may have been read to its end.
                    if text.get(start..)?.starts_with(b"</") {
                        end = start;
                        start = start_of_tag(text, end)?;
                        tag_end = start + 1 + memchr::memchr(b'>', text.get(start..end)?)?;
                    }
                    let tag = start..tag_end;
                    header = Some(Header {
                        declarations: start + end_of_declarations(text.get(tag.clone())?)?,
                        tag,
                        end,
                    });
                }
                Event::HeaderEnd => {
                    let end = start_of_tag(text, at)?;
                    header.as_mut()?.end = end;
                }
                Event::RootEnd => root.end = at,
            }
        }
        if reader.parts != Parts::Body {
            return None;
        }
        Some(Outline {
            text: text.clone(),
            limits: limits.clone(),
            version: reader.version,
            root,
            content,
            header,
            block: block.map(|name| (name, reader.found)),
            written: None,
        })
    }

    /// The SOAP version.
    pub(super) fn version(&self) -> SoapVersion {
        self.version
    }

    /// The text of the first header block with this name; the outer `None` when it was not looked for.
    pub(super) fn block(&self, name: BlockName) -> Option<Option<&str>> {
        let (looked, found) = self.block.as_ref()?;
        (*looked == name).then_some(found.as_deref())
    }

    /// Whether the bytes that came still say what the message is.
    pub(super) fn is_unchanged(&self) -> bool {
        self.written.is_none()
    }

    /// Takes the addressing headers away that were written.
    pub(super) fn strip(&mut self) {
        if let Some(written) = &mut self.written {
            written.fields.clear();
        }
    }

    /// Writes addressing headers into a message that has none.
    pub(super) fn address(&mut self, version: Version, fields: Vec<Field>) {
        self.written = Some(Written { version, fields });
    }

    /// The tree.
    ///
    /// # Errors
    /// None in practice: the text was checked.
    pub(super) fn envelope(&self) -> Result<Envelope, Fault> {
        let mut envelope = Envelope::parse(self.text.clone(), &self.limits).map_err(not_soap)?;
        if let Some(written) = &self.written {
            write_blocks(&mut envelope, written.version, &written.fields);
        }
        Ok(envelope)
    }

    /// Appends the message as the writer writes its tree. `false`, and nothing is written, when the tree has to be asked.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> bool {
        let Some(Written { version, fields }) = &self.written else {
            return false;
        };
        // Characters that XML has not are a fault, which the tree knows.
        let writable = |field: &Field| field.value.chars().all(is_xml_char);
        let len: usize = fields.iter().map(|field| field.value.len()).sum();
        if fields.is_empty() || !fields.iter().all(writable) || len + self.text.len() > MOST {
            return false;
        }
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        match &self.header {
            None => {
                out.extend_from_slice(part(self.root.start..self.content));
                let name = self.text.get(self.root.start + 1..).unwrap_or_default();
                let name = name.get(..name_len(name)).unwrap_or_default();
                let prefix = memchr::memchr(b':', name).map_or(0, |colon| colon + 1);
                let prefix = name.get(..prefix).unwrap_or_default();
                out.push(b'<');
                out.extend_from_slice(prefix);
                out.extend_from_slice(b"Header");
                declare(*version, out);
                out.push(b'>');
                blocks(fields, out);
                out.extend_from_slice(b"</");
                out.extend_from_slice(prefix);
                out.extend_from_slice(b"Header>");
                out.extend_from_slice(part(self.content..self.root.end));
            }
            Some(header) => {
                out.extend_from_slice(part(self.root.start..header.declarations));
                declare(*version, out);
                let rest = part(header.declarations..header.tag.end);
                match rest.strip_suffix(b"/>") {
                    None => {
                        out.extend_from_slice(rest);
                        out.extend_from_slice(part(header.tag.end..header.end));
                        blocks(fields, out);
                    }
                    Some(attributes) => {
                        out.extend_from_slice(attributes);
                        out.push(b'>');
                        blocks(fields, out);
                        let name = self.text.get(header.tag.start + 1..).unwrap_or_default();
                        out.extend_from_slice(b"</");
                        out.extend_from_slice(name.get(..name_len(name)).unwrap_or_default());
                        out.push(b'>');
                    }
                }
                out.extend_from_slice(part(header.end..self.root.end));
            }
        }
        true
    }

    /// About as many bytes as [`Outline::write`] writes, rather more than less.
    pub(super) fn written_len(&self) -> usize {
        // Tags of the longest names, and a declaration, in the header and around it.
        const AROUND: usize = 64;
        let fields = self.written.iter().flat_map(|written| &written.fields);
        let fields: usize = fields.map(|field| field.value.len() + AROUND).sum();
        self.text.len() + fields + 4 * AROUND
    }
}

/// The declaration of the prefix.
fn declare(version: Version, out: &mut Vec<u8>) {
    for part in [" xmlns:", PREFIX, "=\"", version.namespace(), "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The header blocks as the writer writes them.
fn blocks(fields: &[Field], out: &mut Vec<u8>) {
    let tag = |start: &str, name: &str, end: &str, out: &mut Vec<u8>| {
        for part in [start, PREFIX, ":", name, end] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    for field in fields {
        let holder = if field.is_reference {
            "Address"
        } else {
            field.name
        };
        if field.is_reference {
            tag("<", field.name, ">", out);
        }
        if field.value.is_empty() {
            tag("<", holder, "/>", out);
        } else {
            tag("<", holder, ">", out);
            escape_text(&field.value, out);
            tag("</", holder, ">", out);
        }
        if field.is_reference {
            tag("</", field.name, ">", out);
        }
    }
}

/// Where the tag starts that ends at `end`: no tag has a `<` in it.
fn start_of_tag(text: &[u8], end: usize) -> Option<usize> {
    memchr::memrchr(b'<', text.get(..end)?)
}

/// The length of the name that a tag starts with.
fn name_len(name: &[u8]) -> usize {
    let end = name.iter().position(|b| matches!(b, b' ' | b'/' | b'>'));
    end.unwrap_or(name.len())
}

/// Where another declaration goes in a start tag as the writer writes it: behind the last one, else behind the name.
/// `None` when it looks otherwise.
fn end_of_declarations(tag: &[u8]) -> Option<usize> {
    let mut at = 1 + name_len(tag.get(1..)?);
    let mut after = at;
    while let [b' ', attribute @ ..] = tag.get(at..)? {
        let equals = memchr::memchr(b'=', attribute)?;
        let value = attribute.get(equals + 1..)?.strip_prefix(b"\"")?;
        at += equals + memchr::memchr(b'"', value)? + 4;
        if attribute.starts_with(b"xmlns=") || attribute.starts_with(b"xmlns:") {
            after = at;
        }
    }
    Some(after)
}

/// Why the scan stopped.
enum Event {
    Root,
    Header,
    HeaderEnd,
    RootEnd,
}

/// What of the envelope has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Before,
    Header,
    Body,
}

struct Reader {
    depth: usize,
    event: Option<Event>,
    version: SoapVersion,
    parts: Parts,
    wanted: Option<BlockName>,
    found: Option<String>,
    /// The innermost open elements are the block that is wanted.
    collects: bool,
}

const ENVELOPE: u64 = 1;
const HEADER: u64 = 2;
const BODY: u64 = 4;
const WANTED: u64 = 8;
/// The name is in the namespace of a version.
const SOAP_11: u64 = 16;
const SOAP_12: u64 = 32;

impl Reader {
    fn is(&self, mark: u64, part: u64) -> bool {
        let version = match self.version {
            SoapVersion::V11 => SOAP_11,
            SoapVersion::V12 => SOAP_12,
        };
        mark == part | version
    }
}

impl Visit for Reader {
    fn mark(&self, element: &Opened<'_>) -> u64 {
        let part = match element.local() {
            "Envelope" => ENVELOPE,
            "Header" => HEADER,
            "Body" => BODY,
            local => {
                let wanted = self.wanted.filter(|name| name.local == local);
                let is_wanted = wanted.is_some_and(|name| element.in_namespace(name.namespace));
                return if is_wanted { WANTED } else { 0 };
            }
        };
        match element.namespace() {
            SOAP11 => part | SOAP_11,
            SOAP12 => part | SOAP_12,
            _ => 0,
        }
    }

    fn wanted(&self) -> Option<u64> {
        (self.parts == Parts::Body && self.depth > 1).then_some(0)
    }

    fn open_unwanted(&mut self) {
        self.depth += 1;
    }

    fn close_unwanted(&mut self) {
        self.depth -= 1;
    }

    fn open(&mut self, element: &Opened<'_>, mark: u64) -> Result<bool, Unreadable> {
        self.depth += 1;
        match (self.depth, self.parts) {
            (1, _) => {
                if mark & SOAP_12 != 0 {
                    self.version = SoapVersion::V12;
                }
                self.event = Some(Event::Root);
                match self.is(mark, ENVELOPE) && !element.knows_prefix(PREFIX) {
                    true => Ok(true),
                    false => Err(Unreadable),
                }
            }
            (2, Parts::Before) if self.is(mark, HEADER) => {
                self.parts = Parts::Header;
                self.event = Some(Event::Header);
                match element.knows_prefix(PREFIX) {
                    true => Err(Unreadable),
                    false => Ok(true),
                }
            }
            (2, Parts::Before | Parts::Header) if self.is(mark, BODY) => {
                self.parts = Parts::Body;
                Ok(false)
            }
            (2, _) => Err(Unreadable),
            (3, Parts::Header) => {
                if element.in_namespace(FINAL) || element.in_namespace(SUBMISSION) {
                    return Err(Unreadable);
                }
                if mark == WANTED && self.found.is_none() {
                    self.found = Some(String::new());
                    self.collects = true;
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn close(&mut self) -> Result<bool, Unreadable> {
        self.depth -= 1;
        let end = match (self.depth, self.parts) {
            (0, _) => Event::RootEnd,
            (1, Parts::Header) => Event::HeaderEnd,
            (2, Parts::Header) => {
                self.collects = false;
                return Ok(false);
            }
            _ => return Ok(false),
        };
        // An empty tag begins what it ends.
        self.event.get_or_insert(end);
        Ok(true)
    }

    fn text(&mut self, text: Text<'_>) -> Result<bool, Unreadable> {
        if self.collects
            && let Some(found) = &mut self.found
        {
            found.push_str(&text.value());
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
