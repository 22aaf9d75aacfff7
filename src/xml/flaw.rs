//! What a tree may hold that XML text cannot.

use super::chars::{is_name, is_xml_char};
use super::document::{Document, NONE, Node, NodeId, NodeKind};
use super::error::Limits;
use std::collections::HashSet;

/// Why a tree has no XML text that anybody could read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An element, attribute or instruction whose name is no XML name.
    #[error("`{0}` cannot be written as XML: it is no XML name")]
    Name(String),
    /// Text with a character that XML forbids even as a reference.
    #[error("the character U+{:04X} cannot be written as XML", u32::from(*.0))]
    Character(char),
    /// A name with a colon in it, as JSON may have, whose prefix is not declared or contradicts a declaration.
    #[error("names with a colon cannot be written as XML here: {0}")]
    Colon(String),
}

/// How many names of elements are remembered.
const NAMES: usize = 64;

/// Longest text that is read again to see whether it can be.
const MOST: usize = 256 << 20;

/// What has been met while looking for flaws.
struct Seen {
    /// A name with a colon in it.
    colons: bool,
    /// Namespaces of elements, by string id.
    namespaces: HashSet<u32>,
    /// Names of elements that are good, their namespaces included, each where its id says.
    names: [u32; NAMES],
}

impl Seen {
    /// Whether an element's name is one that was found to be good.
    fn knows(&self, name: u32) -> bool {
        self.names.get(name as usize % NAMES) == Some(&name) && name != NONE
    }

    fn keep(&mut self, name: u32) {
        if let Some(place) = self.names.get_mut(name as usize % NAMES) {
            *place = name;
        }
    }
}

impl Document {
    /// Why the subtree of `n` cannot be written as well-formed XML. What was read from XML and not changed is not
    /// looked at.
    pub fn flaw(&self, n: NodeId) -> Option<Flaw> {
        let mut seen = Seen {
            colons: false,
            namespaces: HashSet::new(),
            names: [NONE; NAMES],
        };
        match self.first_flaw(n, &mut seen) {
            None if seen.colons => self.unreadable(n),
            flaw => flaw,
        }
    }

    /// What a reader has against the text of `n`. An attribute that happens to be called `xmlns:p` declares the prefix
    /// there, so that only reading tells.
    fn unreadable(&self, n: NodeId) -> Option<Flaw> {
        let limits = Limits {
            max_depth: usize::MAX,
            max_attributes: usize::MAX,
            max_name_bytes: usize::MAX,
            max_namespaces: usize::MAX,
            max_nodes: usize::MAX,
            max_bytes: usize::MAX,
        };
        // What is longer than this is for the writer to refuse.
        let text = self.xml_within(n, MOST).ok()?;
        let error = Document::parse(text.into(), &limits).err()?;
        Some(Flaw::Colon(error.message))
    }

    fn first_flaw(&self, n: NodeId, seen: &mut Seen) -> Option<Flaw> {
        let mut at = n;
        loop {
            let known = self.node(at)?.is(Node::CLEAN);
            if !known && let Some(flaw) = self.own_flaw(at, seen) {
                return Some(flaw);
            }
            if let Some(child) = self.first_child(at).filter(|_| !known) {
                at = child;
                continue;
            }
            while at != n && self.next_sibling(at).is_none() {
                at = self.parent(at)?;
            }
            if at == n {
                return None;
            }
            at = self.next_sibling(at)?;
        }
    }

    fn own_flaw(&self, n: NodeId, seen: &mut Seen) -> Option<Flaw> {
        match self.kind(n) {
            NodeKind::Document => None,
            NodeKind::Element => {
                let name = self.node(n)?.name;
                if !seen.knows(name) {
                    let (prefix, local) = (self.prefix(n), self.local_name(n));
                    // Many elements may have one namespace, and it may be long.
                    let new = seen.namespaces.insert(self.expanded_of(n).0);
                    let character = || new.then(|| forbidden(self.namespace(n))).flatten();
                    let flaw = bad_name(prefix, local).or_else(|| character().map(Flaw::Character));
                    if flaw.is_some() {
                        return flaw;
                    }
                    seen.colons |= local.contains(':');
                    seen.keep(name);
                }
                for a in self.attributes(n) {
                    let flaw = bad_name(a.prefix, a.local)
                        .or_else(|| forbidden(a.value).map(Flaw::Character));
                    if flaw.is_some() {
                        return flaw;
                    }
                    seen.colons |= a.local.contains(':');
                }
                self.namespace_declarations(n).find_map(|(prefix, uri)| {
                    bad_name(prefix, "a").or_else(|| forbidden(uri).map(Flaw::Character))
                })
            }
            NodeKind::ProcessingInstruction => {
                let target = self.local_name(n);
                seen.colons |= target.contains(':');
                bad_name("", target).or_else(|| forbidden(self.text(n)).map(Flaw::Character))
            }
            NodeKind::Text | NodeKind::CData | NodeKind::Comment => {
                forbidden(self.text(n)).map(Flaw::Character)
            }
        }
    }
}

/// The name, when its parts between colons are no names. What stands before a colon is looked at elsewhere.
fn bad_name(prefix: &str, local: &str) -> Option<Flaw> {
    // Nearly every name consists of ASCII letters and digits.
    let plain = |part: &str| {
        part.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let good = |part: &str| plain(part) || part.split(':').all(|part| is_name(part.as_bytes()));
    if good(local) && (prefix.is_empty() || good(prefix)) {
        return None;
    }
    Some(Flaw::Name(match prefix {
        "" => local.to_owned(),
        prefix => format!("{prefix}:{local}"),
    }))
}

fn forbidden(text: &str) -> Option<char> {
    // Without a branch for each byte.
    let suspicious = |found: bool, byte: u8| found | (byte < 0x20) | (byte == 0xEF);
    if !text.bytes().fold(false, suspicious) {
        return None;
    }
    text.chars().find(|&character| !is_xml_char(character))
}
