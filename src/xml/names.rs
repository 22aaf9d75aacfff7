//! Interned names of one document, and the namespace bindings in scope while walking it.
//!
//! Three kinds of entries share one hash table: strings, expanded names (namespace, local) and qualified names
//! (prefix, expanded name). The hash is keyed per process, so that a message cannot choose colliding names.

use super::{XML_NAMESPACE, XMLNS_NAMESPACE};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// Id of the empty string in every table.
pub(super) const EMPTY: u32 = 0;

const STRING: u32 = 0;
const EXPANDED: u32 = 1;
const QUALIFIED: u32 = 2;
/// Slots of a new table, a power of two; at most half of them are used.
const FIRST_SLOTS: usize = 128;
/// Two bits of a slot say which kind it is, the rest is the id plus one.
const MAX_ID: u32 = (u32::MAX >> 2) - 1;

/// Strings, expanded names and qualified names of one document.
#[derive(Clone, Debug)]
pub(super) struct Names {
    text: String,
    strings: Vec<(u32, u32)>,
    expanded: Vec<(u32, u32)>,
    qualified: Vec<(u32, u32)>,
    slots: Vec<u32>,
    used: usize,
    seed: u64,
}

impl Names {
    pub(super) fn new() -> Names {
        // Sized so that an ordinary message needs no growth.
        let mut strings = Vec::with_capacity(48);
        strings.push((0, 0));
        Names {
            text: String::with_capacity(512),
            strings,
            expanded: Vec::with_capacity(32),
            qualified: Vec::with_capacity(32),
            slots: vec![0; FIRST_SLOTS],
            used: 0,
            seed: process_seed(),
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        let pairs = self.strings.capacity() + self.expanded.capacity() + self.qualified.capacity();
        self.text.capacity() + pairs * 8 + self.slots.capacity() * 4
    }

    /// The text of a string id; empty for an unknown one.
    pub(super) fn string(&self, id: u32) -> &str {
        let (start, end) = self.strings.get(id as usize).copied().unwrap_or_default();
        self.text
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// (namespace, local) string ids of an expanded name.
    pub(super) fn expanded(&self, id: u32) -> (u32, u32) {
        self.expanded.get(id as usize).copied().unwrap_or_default()
    }

    /// (prefix string id, expanded name id) of a qualified name; the second is `u32::MAX` for an unknown one.
    pub(super) fn qualified(&self, id: u32) -> (u32, u32) {
        self.qualified
            .get(id as usize)
            .copied()
            .unwrap_or((EMPTY, u32::MAX))
    }

    /// The qualified name of an expanded one, when there are few names and one of them has it.
    pub(super) fn only_qualified(&self, expanded: u32) -> Option<u32> {
        const FEW: usize = 256;
        if self.qualified.len() > FEW {
            return None;
        }
        let mut ids = (0u32..)
            .zip(&self.qualified)
            .filter(|(_, (_, of))| *of == expanded);
        let (only, _) = ids.next()?;
        ids.next().is_none().then_some(only)
    }

    pub(super) fn find_string(&self, string: &str) -> Option<u32> {
        if string.is_empty() {
            return Some(EMPTY);
        }
        self.probe_string(hash_bytes(self.seed, string.as_bytes()), string)
    }

    fn probe_string(&self, hash: u64, string: &str) -> Option<u32> {
        self.probe(hash, STRING, |id| self.string(id) == string)
    }

    pub(super) fn find_expanded(&self, namespace: u32, local: u32) -> Option<u32> {
        self.find_pair(EXPANDED, namespace, local)
    }

    pub(super) fn intern_string(&mut self, string: &str) -> u32 {
        if string.is_empty() {
            return EMPTY;
        }
        let hash = hash_bytes(self.seed, string.as_bytes());
        if let Some(id) = self.probe_string(hash, string) {
            return id;
        }
        let (Ok(start), Ok(end)) = (
            u32::try_from(self.text.len()),
            u32::try_from(self.text.len().saturating_add(string.len())),
        ) else {
            return EMPTY;
        };
        let id = next_id(self.strings.len());
        self.text.push_str(string);
        self.strings.push((start, end));
        self.occupy(hash, STRING, id);
        id
    }

    pub(super) fn intern_expanded(&mut self, namespace: u32, local: u32) -> u32 {
        self.intern_pair(EXPANDED, namespace, local)
    }

    pub(super) fn intern_qualified(&mut self, prefix: u32, expanded: u32) -> u32 {
        self.intern_pair(QUALIFIED, prefix, expanded)
    }

    /// The qualified name of three texts.
    pub(super) fn intern(&mut self, prefix: &str, namespace: &str, local: &str) -> u32 {
        let prefix = self.intern_string(prefix);
        let namespace = self.intern_string(namespace);
        let local = self.intern_string(local);
        let expanded = self.intern_expanded(namespace, local);
        self.intern_qualified(prefix, expanded)
    }

    fn pairs(&self, kind: u32) -> &Vec<(u32, u32)> {
        if kind == EXPANDED {
            &self.expanded
        } else {
            &self.qualified
        }
    }

    fn find_pair(&self, kind: u32, first: u32, second: u32) -> Option<u32> {
        self.probe_pair(
            hash_pair(self.seed, kind, first, second),
            kind,
            (first, second),
        )
    }

    fn probe_pair(&self, hash: u64, kind: u32, pair: (u32, u32)) -> Option<u32> {
        let pairs = self.pairs(kind);
        self.probe(hash, kind, |id| pairs.get(id as usize) == Some(&pair))
    }

    fn intern_pair(&mut self, kind: u32, first: u32, second: u32) -> u32 {
        let hash = hash_pair(self.seed, kind, first, second);
        if let Some(id) = self.probe_pair(hash, kind, (first, second)) {
            return id;
        }
        let pairs = if kind == EXPANDED {
            &mut self.expanded
        } else {
            &mut self.qualified
        };
        let id = next_id(pairs.len());
        pairs.push((first, second));
        self.occupy(hash, kind, id);
        id
    }

    fn probe(&self, hash: u64, kind: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            match self.slots.get(at) {
                None | Some(0) => return None,
                Some(&slot) => {
                    let id = (slot >> 2) - 1;
                    if slot & 3 == kind && is_it(id) {
                        return Some(id);
                    }
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn occupy(&mut self, hash: u64, kind: u32, id: u32) {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.place(hash, (id + 1) << 2 | kind);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, value: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = value;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; size]);
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            let (kind, id) = (slot & 3, (slot >> 2) - 1);
            let hash = if kind == STRING {
                hash_bytes(self.seed, self.string(id).as_bytes())
            } else {
                let (first, second) = self
                    .pairs(kind)
                    .get(id as usize)
                    .copied()
                    .unwrap_or_default();
                hash_pair(self.seed, kind, first, second)
            };
            self.place(hash, slot);
        }
    }
}

fn next_id(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(MAX_ID).min(MAX_ID)
}

fn process_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().build_hasher().finish())
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ (product >> 64) as u64
}

const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Keyed hash of a byte string.
pub(super) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(SPREAD);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        hash = fold(
            hash ^ u64::from_le_bytes(*chunk),
            SPREAD ^ seed.rotate_left(32) | 1,
        );
    }
    let mut last = 0u64;
    for &byte in rest {
        last = last << 8 | u64::from(byte);
    }
    fold(hash ^ last, SPREAD ^ seed.rotate_left(17) | 1)
}

fn hash_pair(seed: u64, kind: u32, first: u32, second: u32) -> u64 {
    let key = u64::from(first) << 32 | u64::from(second);
    fold(
        key ^ seed,
        SPREAD.rotate_left(kind) ^ seed.rotate_left(32) | 1,
    )
}

/// What Namespaces in XML 1.0 has against binding a prefix (empty for the default namespace) to a namespace.
pub(super) fn forbidden_binding(prefix: &str, uri: &str) -> Option<&'static str> {
    match prefix {
        "xmlns" => return Some("the prefix `xmlns` must not be declared"),
        "xml" if uri != XML_NAMESPACE => {
            return Some("the prefix `xml` must not be bound to another namespace");
        }
        "" | "xml" => {}
        _ if uri.is_empty() => return Some("a prefix must not be bound to the empty namespace"),
        _ => {}
    }
    (uri == XMLNS_NAMESPACE || (uri == XML_NAMESPACE && prefix != "xml"))
        .then_some("this namespace is reserved for the prefixes `xml` and `xmlns`")
}

const UNBOUND: u32 = u32::MAX;

/// Namespace bindings in scope during a walk, with constant-time look-up however many there are.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Prefix string id to its innermost entry in `bindings`.
    current: Vec<u32>,
    bindings: Vec<Binding>,
}

#[derive(Debug, Clone, Copy)]
struct Binding {
    prefix: u32,
    namespace: u32,
    shadowed: u32,
}

impl Scope {
    /// A scope for a whole document, with room for ordinary use.
    pub(super) fn with_room() -> Scope {
        Scope {
            current: Vec::with_capacity(32),
            bindings: Vec::with_capacity(8),
        }
    }

    /// The namespace bound to a prefix; `None` when no declaration is in scope.
    pub(super) fn resolve(&self, prefix: u32) -> Option<u32> {
        let at = *self.current.get(prefix as usize)?;
        self.bindings
            .get(at as usize)
            .map(|binding| binding.namespace)
    }

    pub(super) fn bind(&mut self, prefix: u32, namespace: u32) {
        let index = prefix as usize;
        if self.current.len() <= index {
            self.current.resize(index + 1, UNBOUND);
        }
        let at = u32::try_from(self.bindings.len()).unwrap_or(UNBOUND);
        if let Some(current) = self.current.get_mut(index) {
            let shadowed = std::mem::replace(current, at);
            self.bindings.push(Binding {
                prefix,
                namespace,
                shadowed,
            });
        }
    }

    /// Whether a prefix was bound after `mark` was taken.
    pub(super) fn is_bound_since(&self, prefix: u32, mark: usize) -> bool {
        self.current
            .get(prefix as usize)
            .is_some_and(|&at| at != UNBOUND && at as usize >= mark)
    }

    /// Position to give to [`Scope::unwind`] when the element that declares the following bindings ends.
    pub(super) fn mark(&self) -> usize {
        self.bindings.len()
    }

    pub(super) fn unwind(&mut self, mark: usize) {
        while self.bindings.len() > mark {
            let Some(binding) = self.bindings.pop() else {
                return;
            };
            if let Some(current) = self.current.get_mut(binding.prefix as usize) {
                *current = binding.shadowed;
            }
        }
    }
}
