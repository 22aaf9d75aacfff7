//! Interned names of one document, and the namespace bindings in scope while walking it.
//!
//! A string knows the first expanded name (namespace, local) that was made with it as local name, and an expanded name
//! the first qualified name (prefix, expanded name) that stands for it. Nearly always these are the only ones, so that
//! a name is found by looking up its local part. All others are in the hash table of the strings. The hash is keyed per
//! process, so that a message cannot choose colliding names.

use super::words::same;
use super::{XML_NAMESPACE, XMLNS_NAMESPACE};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Id of the empty string in every table.
pub(super) const EMPTY: u32 = 0;

const STRING: u32 = 0;
const EXPANDED: u32 = 1;
const QUALIFIED: u32 = 2;
/// Slots of a new table, a power of two; at most half of them are used.
const FIRST_SLOTS: usize = 64;
/// Two bits of a slot say which kind it is, the rest is the id plus one.
const MAX_ID: u32 = (u32::MAX >> 2) - 1;
const NO_NAME: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    end: u32,
    /// The first expanded name with this local name, or `NO_NAME`.
    expanded: u32,
}

#[derive(Clone, Copy, Debug)]
struct Expanded {
    namespace: u32,
    local: u32,
    /// The first qualified name that stands for it, or `NO_NAME`.
    qualified: u32,
    /// There are other qualified names.
    more: bool,
}

/// The names of one document, and perhaps of earlier ones: they are shared until one is added.
#[derive(Clone, Debug)]
pub(super) enum Names {
    Shared(Arc<Table>),
    Own(Box<Table>),
}

impl Default for Names {
    fn default() -> Names {
        Names::Own(Box::new(Table::new()))
    }
}

impl Deref for Names {
    type Target = Table;

    #[inline]
    fn deref(&self) -> &Table {
        match self {
            Names::Shared(table) => table,
            Names::Own(table) => table,
        }
    }
}

impl Names {
    /// Makes the table shared; the same table.
    pub(super) fn share(&mut self) -> Arc<Table> {
        if let Names::Own(table) = self {
            let empty = Box::new(Table::empty());
            *self = Names::Shared(Arc::new(*std::mem::replace(table, empty)));
        }
        match self {
            Names::Shared(table) => Arc::clone(table),
            Names::Own(table) => Arc::new(Table::clone(table)),
        }
    }

    fn own(&mut self) -> &mut Table {
        if let Names::Shared(table) = self {
            let table = Arc::unwrap_or_clone(std::mem::replace(table, Arc::new(Table::empty())));
            *self = Names::Own(Box::new(table));
        }
        match self {
            Names::Own(table) => table,
            Names::Shared(table) => Arc::make_mut(table),
        }
    }

    pub(super) fn intern_string(&mut self, string: &str) -> u32 {
        if string.is_empty() {
            return EMPTY;
        }
        let hash = hash_bytes(self.seed, string.as_bytes());
        match self.probe_string(hash, string) {
            Some(id) => id,
            None => self.own().add_string(hash, string),
        }
    }

    #[inline]
    pub(super) fn intern_expanded(&mut self, namespace: u32, local: u32) -> u32 {
        match self.find_expanded(namespace, local) {
            Some(id) => id,
            None => self.own().add_expanded(namespace, local),
        }
    }

    #[inline]
    pub(super) fn intern_qualified(&mut self, prefix: u32, expanded: u32) -> u32 {
        match self.find_qualified(prefix, expanded) {
            Some(id) => id,
            None => self.own().add_qualified(prefix, expanded),
        }
    }

    /// The qualified name of three texts.
    pub(super) fn intern(&mut self, prefix: &str, namespace: &str, local: &str) -> u32 {
        let prefix = self.intern_string(prefix);
        let namespace = self.intern_string(namespace);
        let local = self.intern_string(local);
        let expanded = self.intern_expanded(namespace, local);
        self.intern_qualified(prefix, expanded)
    }
}

/// Strings, expanded names and qualified names.
#[derive(Clone, Debug)]
pub(super) struct Table {
    text: String,
    strings: Vec<Text>,
    expanded: Vec<Expanded>,
    qualified: Vec<(u32, u32)>,
    slots: Vec<u32>,
    used: usize,
    seed: u64,
}

impl Table {
    /// Without room; to be replaced at once.
    fn empty() -> Table {
        Table {
            text: String::new(),
            strings: Vec::new(),
            expanded: Vec::new(),
            qualified: Vec::new(),
            slots: Vec::new(),
            used: 0,
            seed: 0,
        }
    }

    fn new() -> Table {
        // Sized so that an ordinary message needs no growth.
        let mut strings = Vec::with_capacity(32);
        strings.push(Text {
            start: 0,
            end: 0,
            expanded: NO_NAME,
        });
        Table {
            text: String::with_capacity(384),
            strings,
            expanded: Vec::with_capacity(24),
            qualified: Vec::with_capacity(24),
            slots: vec![0; FIRST_SLOTS],
            used: 0,
            seed: process_seed(),
        }
    }

    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.text.capacity()
            + self.strings.capacity() * size_of::<Text>()
            + self.expanded.capacity() * size_of::<Expanded>()
            + self.qualified.capacity() * size_of::<(u32, u32)>()
            + self.slots.capacity() * size_of::<u32>()
    }

    /// The text of a string id; empty for an unknown one.
    #[inline]
    pub(super) fn string(&self, id: u32) -> &str {
        let text = self.strings.get(id as usize);
        let (start, end) = text.map_or((0, 0), |text| (text.start, text.end));
        self.text
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// Bytes of the longest prefix, local name or namespace.
    pub(super) fn longest(&self) -> usize {
        let lengths = self.strings.iter().map(|text| text.end - text.start);
        lengths.max().unwrap_or(0) as usize
    }

    /// The same as bytes, for comparing.
    #[inline]
    fn string_bytes(&self, id: u32) -> &[u8] {
        let text = self.strings.get(id as usize);
        let (start, end) = text.map_or((0, 0), |text| (text.start, text.end));
        self.text
            .as_bytes()
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// (namespace, local) string ids of an expanded name.
    #[inline]
    pub(super) fn expanded(&self, id: u32) -> (u32, u32) {
        let name = self.expanded.get(id as usize);
        name.map_or((EMPTY, EMPTY), |name| (name.namespace, name.local))
    }

    /// (prefix string id, expanded name id) of a qualified name; the second is `u32::MAX` for an unknown one.
    #[inline]
    pub(super) fn qualified(&self, id: u32) -> (u32, u32) {
        self.qualified
            .get(id as usize)
            .copied()
            .unwrap_or((EMPTY, u32::MAX))
    }

    /// The qualified name of an expanded one, when it is the only one.
    pub(super) fn only_qualified(&self, expanded: u32) -> Option<u32> {
        let name = self.expanded.get(expanded as usize)?;
        (!name.more && name.qualified != NO_NAME).then_some(name.qualified)
    }

    pub(super) fn find_string(&self, string: &str) -> Option<u32> {
        if string.is_empty() {
            return Some(EMPTY);
        }
        self.probe_string(hash_bytes(self.seed, string.as_bytes()), string)
    }

    #[inline]
    fn probe_string(&self, hash: u64, string: &str) -> Option<u32> {
        self.probe(hash, STRING, |id| {
            same(self.string_bytes(id), string.as_bytes())
        })
    }

    /// The expanded name of two texts.
    pub(super) fn find(&self, namespace: &str, local: &str) -> Option<u32> {
        self.find_below(namespace, self.find_string(local)?)
    }

    /// The expanded name of a name.
    #[inline]
    pub(super) fn find_name(&self, name: &ExpandedName) -> Option<u32> {
        let local = match name.local.is_empty() {
            true => EMPTY,
            false => self.probe_string(name.hash, &name.local)?,
        };
        self.find_below(&name.namespace, local)
    }

    /// The expanded name of a namespace and the id of a local part.
    #[inline]
    fn find_below(&self, namespace: &str, local: u32) -> Option<u32> {
        let first = self.strings.get(local as usize)?.expanded;
        let known = self.expanded.get(first as usize)?;
        if same(self.string_bytes(known.namespace), namespace.as_bytes()) {
            return Some(first);
        }
        self.probe_expanded(self.find_string(namespace)?, local)
    }

    fn add_string(&mut self, hash: u64, string: &str) -> u32 {
        let (Ok(start), Ok(end)) = (
            u32::try_from(self.text.len()),
            u32::try_from(self.text.len().saturating_add(string.len())),
        ) else {
            return EMPTY;
        };
        let id = next_id(self.strings.len());
        self.text.push_str(string);
        self.strings.push(Text {
            start,
            end,
            expanded: NO_NAME,
        });
        self.occupy(hash, STRING, id);
        id
    }

    #[inline]
    fn find_expanded(&self, namespace: u32, local: u32) -> Option<u32> {
        let first = self.strings.get(local as usize)?.expanded;
        let known = self.expanded.get(first as usize)?;
        if known.namespace == namespace {
            return Some(first);
        }
        self.probe_expanded(namespace, local)
    }

    #[cold]
    fn probe_expanded(&self, namespace: u32, local: u32) -> Option<u32> {
        let hash = self.hash_pair(EXPANDED, namespace, local);
        self.probe(hash, EXPANDED, |id| {
            let name = self.expanded.get(id as usize);
            name.is_some_and(|name| (name.namespace, name.local) == (namespace, local))
        })
    }

    /// Adds an expanded name that is not there.
    fn add_expanded(&mut self, namespace: u32, local: u32) -> u32 {
        let id = next_id(self.expanded.len());
        self.expanded.push(Expanded {
            namespace,
            local,
            qualified: NO_NAME,
            more: false,
        });
        match self.strings.get_mut(local as usize) {
            Some(text) if text.expanded == NO_NAME => text.expanded = id,
            _ => self.occupy(self.hash_pair(EXPANDED, namespace, local), EXPANDED, id),
        }
        id
    }

    #[inline]
    fn find_qualified(&self, prefix: u32, expanded: u32) -> Option<u32> {
        let first = self.expanded.get(expanded as usize)?.qualified;
        let (known, _) = self.qualified.get(first as usize)?;
        if *known == prefix {
            return Some(first);
        }
        self.probe_qualified(prefix, expanded)
    }

    #[cold]
    fn probe_qualified(&self, prefix: u32, expanded: u32) -> Option<u32> {
        let hash = self.hash_pair(QUALIFIED, prefix, expanded);
        let pair = Some(&(prefix, expanded));
        self.probe(hash, QUALIFIED, |id| {
            self.qualified.get(id as usize) == pair
        })
    }

    /// Adds a qualified name that is not there.
    fn add_qualified(&mut self, prefix: u32, expanded: u32) -> u32 {
        let id = next_id(self.qualified.len());
        self.qualified.push((prefix, expanded));
        match self.expanded.get_mut(expanded as usize) {
            Some(name) if name.qualified == NO_NAME => name.qualified = id,
            other => {
                if let Some(name) = other {
                    name.more = true;
                }
                self.occupy(self.hash_pair(QUALIFIED, prefix, expanded), QUALIFIED, id);
            }
        }
        id
    }

    #[inline]
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

    #[inline]
    fn occupy(&mut self, hash: u64, kind: u32, id: u32) {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.place(hash, (id + 1) << 2 | kind);
        self.used += 1;
    }

    #[inline]
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

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; size]);
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            let (kind, id) = (slot & 3, (slot >> 2) - 1);
            let hash = match kind {
                STRING => hash_bytes(self.seed, self.string(id).as_bytes()),
                EXPANDED => {
                    let (namespace, local) = self.expanded(id);
                    self.hash_pair(kind, namespace, local)
                }
                _ => {
                    let (prefix, expanded) = self.qualified(id);
                    self.hash_pair(kind, prefix, expanded)
                }
            };
            self.place(hash, slot);
        }
    }

    fn hash_pair(&self, kind: u32, first: u32, second: u32) -> u64 {
        let key = u64::from(first) << 32 | u64::from(second);
        fold(
            key ^ self.seed,
            SPREAD.rotate_left(kind) ^ self.seed.rotate_left(32) | 1,
        )
    }
}

fn next_id(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(MAX_ID).min(MAX_ID)
}

fn process_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().build_hasher().finish())
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ (product >> 64) as u64
}

const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Keyed hash of a byte string.
#[inline]
fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(SPREAD);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        hash = fold(
            hash ^ u64::from_le_bytes(*chunk),
            SPREAD ^ seed.rotate_left(32) | 1,
        );
    }
    let last = match (bytes.last_chunk::<8>(), rest.first_chunk::<4>()) {
        // Overlaps what came before, which tells texts of one length apart just as well.
        (Some(chunk), _) => u64::from_le_bytes(*chunk),
        (None, Some(first)) => {
            let last = rest.last_chunk::<4>().unwrap_or(first);
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        (None, None) => rest
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    fold(hash ^ last, SPREAD ^ seed.rotate_left(17) | 1)
}

/// What Namespaces in XML 1.0 has against binding a prefix (empty for the default namespace) to a namespace.
pub(super) fn forbidden_binding(prefix: &[u8], uri: &[u8]) -> Option<&'static str> {
    match prefix {
        b"xmlns" => return Some("the prefix `xmlns` must not be declared"),
        b"xml" if uri != XML_NAMESPACE.as_bytes() => {
            return Some("the prefix `xml` must not be bound to another namespace");
        }
        b"" | b"xml" => {}
        _ if uri.is_empty() => return Some("a prefix must not be bound to the empty namespace"),
        _ => {}
    }
    let reserved =
        uri == XMLNS_NAMESPACE.as_bytes() || (uri == XML_NAMESPACE.as_bytes() && prefix != b"xml");
    reserved.then_some("this namespace is reserved for the prefixes `xml` and `xmlns`")
}

/// An element name to be looked for in many documents: what finding it costs and does not depend on the document is
/// done once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpandedName {
    namespace: Box<str>,
    local: Box<str>,
    /// That of the local part.
    hash: u64,
}

impl ExpandedName {
    /// A name; `namespace` is empty for none.
    pub fn new(namespace: &str, local: &str) -> ExpandedName {
        ExpandedName {
            namespace: namespace.into(),
            local: local.into(),
            hash: hash_bytes(process_seed(), local.as_bytes()),
        }
    }

    /// The namespace, empty when there is none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The local name.
    pub fn local(&self) -> &str {
        &self.local
    }
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

    /// Forgets all bindings.
    pub(super) fn clear(&mut self) {
        self.current.clear();
        self.bindings.clear();
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
