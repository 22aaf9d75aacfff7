//! The tree: nodes, names, text, and reading them.

use super::XML_NAMESPACE;
use super::names::{EMPTY, ExpandedName, Names};
use super::numbered::Kept;
use super::tools::Tools;
use super::words::same;
use bytes::Bytes;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::OnceLock;

/// A node of one [`Document`]. Ids are never reused; a removed node keeps its id and stays usable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub(super) u32);

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// The one node above the root element.
    Document,
    /// An element.
    Element,
    /// Character data.
    Text,
    /// Character data written as a CDATA section.
    CData,
    /// A comment.
    Comment,
    /// A processing instruction; its target is its local name.
    ProcessingInstruction,
}

/// An attribute as seen from outside; namespace declarations are never attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttrRef<'a> {
    /// Position among the attributes of its element, in document order.
    pub index: u32,
    /// Prefix as written, empty when there is none.
    pub prefix: &'a str,
    /// Namespace, empty when there is none.
    pub namespace: &'a str,
    /// Local name.
    pub local: &'a str,
    /// Normalised value.
    pub value: &'a str,
}

/// The XML declaration of a parsed document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// `1.0` or `1.1`.
    pub version: Cow<'static, str>,
    /// Declared encoding, as written. The text itself has been decoded before.
    pub encoding: Option<Cow<'static, str>>,
    /// Declared `standalone`.
    pub standalone: Option<bool>,
}

/// Absent link.
pub(super) const NONE: u32 = u32::MAX;

/// Where the bytes of a value are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Store {
    /// In the kept source, exactly as it would be written.
    Source,
    /// In the side buffer.
    Side,
    /// In a slot of its own.
    Owned,
}

/// A stored value: range of a buffer, or slot number in `start`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) store: Store,
    pub(super) start: u32,
    pub(super) len: u32,
}

/// One node. Which meaning the last three words have depends on the kind, see the accessors.
///
/// Siblings are a circular list backwards: the first child's `prev` is the last child.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) store: Store,
    pub(super) flags: u8,
    /// Qualified name.
    pub(super) name: u32,
    pub(super) parent: u32,
    pub(super) first: u32,
    pub(super) next: u32,
    pub(super) prev: u32,
    /// Element: first entry in the attribute table. Otherwise start of the value.
    pub(super) start: u32,
    /// Element: number of entries there. Otherwise length of the value.
    pub(super) len: u32,
    /// Element: its range in the source; equal when it has none.
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Node {
    /// The source bytes of this element are what the writer would write, and nothing in it was edited. A node
    /// without this flag never has an ancestor with it.
    pub(super) const CLEAN: u8 = 1;
    /// Attached by an edit: its surroundings are not those of the source.
    pub(super) const MOVED: u8 = 2;
    /// Its namespace bindings were edited: those of its content may differ from the source.
    pub(super) const REBOUND: u8 = 4;

    pub(super) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn new(kind: NodeKind) -> Node {
        Node {
            kind,
            store: Store::Side,
            flags: 0,
            name: NONE,
            parent: NONE,
            first: NONE,
            next: NONE,
            prev: NONE,
            start: 0,
            len: 0,
            from: 0,
            to: 0,
        }
    }

    pub(super) fn value(&self) -> Value {
        Value {
            store: self.store,
            start: self.start,
            len: self.len,
        }
    }

    pub(super) fn is_container(&self) -> bool {
        matches!(self.kind, NodeKind::Document | NodeKind::Element)
    }
}

/// An entry of the attribute table: an attribute or a namespace declaration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attr {
    /// A namespace declaration: `name` is the prefix and `start` the namespace, both string ids.
    pub(super) declaration: bool,
    pub(super) store: Store,
    /// Qualified name.
    pub(super) name: u32,
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Attr {
    pub(super) fn value(&self) -> Value {
        Value {
            store: self.store,
            start: self.start,
            len: self.len,
        }
    }
}

/// An XML document: a mutable tree with namespaces.
///
/// Text and attribute values of a parsed document stay ranges of the source bytes. Edits append; memory of removed
/// nodes is released with the document.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) nodes: Vec<Node>,
    pub(super) attrs: Vec<Attr>,
    pub(super) names: Names,
    /// Values that differ from their source text, and small values made by edits.
    pub(super) side: String,
    /// Large values made by edits, replaced in place when edited again.
    pub(super) owned: Vec<Box<str>>,
    pub(super) source: Option<Bytes>,
    /// The element `source` is about; it needs no binding from outside itself.
    pub(super) source_root: u32,
    pub(super) declaration: Option<Declaration>,
    pub(super) modified: bool,
    /// Ids are in document order within every tree.
    pub(super) ordered: bool,
    /// Detached trees, the document itself not counted.
    pub(super) loose: usize,
    /// Document order of ids, made on demand when they are not ordered themselves.
    pub(super) order: OnceLock<Box<[u32]>>,
    /// Elements by name and number, as far as they were asked for.
    pub(super) numbered: Kept,
}

impl Default for Document {
    fn default() -> Self {
        Document::new()
    }
}

impl Document {
    /// A document without content.
    pub fn new() -> Document {
        Document::with_room(8, Tools::names())
    }

    /// A document without content, with room for so many nodes below the document node.
    pub(super) fn with_room(expected: usize, names: Names) -> Document {
        let mut nodes = Vec::with_capacity(expected + 1);
        nodes.push(Node::new(NodeKind::Document));
        Document {
            nodes,
            attrs: Vec::new(),
            names,
            side: String::new(),
            owned: Vec::new(),
            source: None,
            source_root: NONE,
            declaration: None,
            modified: false,
            ordered: true,
            loose: 0,
            order: OnceLock::new(),
            numbered: Kept::default(),
        }
    }

    /// The bytes this document was parsed from, when they are kept.
    pub fn source(&self) -> Option<&Bytes> {
        self.source.as_ref()
    }

    /// Whether anything was edited since the text was parsed: when not, the source can be sent as it is.
    pub fn is_modified(&self) -> bool {
        self.modified
    }

    /// Takes the tree as it is now for its first state: what was built so far is no edit.
    pub fn settle(&mut self) {
        self.modified = false;
    }

    /// Bytes of memory the document holds, its source included. Room for nodes that was reserved and not used is not
    /// counted, as the system does not provide it before it is touched.
    pub fn memory(&self) -> usize {
        let owned: usize = self.owned.iter().map(|text| text.len()).sum();
        size_of::<Document>()
            + self.nodes.len() * size_of::<Node>()
            + self.attrs.capacity() * size_of::<Attr>()
            + self.names.memory()
            + self.side.capacity()
            + self.owned.capacity() * size_of::<Box<str>>()
            + owned
            + self.order.get().map_or(0, |order| order.len() * 4)
            + self.numbered.memory()
            + self.source.as_ref().map_or(0, Bytes::len)
    }

    /// The XML declaration, when the parsed document had one.
    pub fn declaration(&self) -> Option<&Declaration> {
        self.declaration.as_ref()
    }

    /// How many nodes the tree has, those that were taken out of it included.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node above the root element.
    pub fn document_node(&self) -> NodeId {
        NodeId(0)
    }

    /// The first element below the document node.
    pub fn root_element(&self) -> Option<NodeId> {
        self.child_elements(self.document_node()).next()
    }

    /// What the node is; an unknown id reads as an empty text.
    #[inline]
    pub fn kind(&self, n: NodeId) -> NodeKind {
        self.node(n).map_or(NodeKind::Text, |node| node.kind)
    }

    /// The node above; `None` for the document node and for a detached node.
    #[inline]
    pub fn parent(&self, n: NodeId) -> Option<NodeId> {
        link(self.node(n)?.parent)
    }

    /// First child.
    #[inline]
    pub fn first_child(&self, n: NodeId) -> Option<NodeId> {
        link(self.node(n)?.first)
    }

    /// Last child.
    #[inline]
    pub fn last_child(&self, n: NodeId) -> Option<NodeId> {
        link(self.node(self.first_child(n)?)?.prev)
    }

    /// Next sibling.
    #[inline]
    pub fn next_sibling(&self, n: NodeId) -> Option<NodeId> {
        link(self.node(n)?.next)
    }

    /// Previous sibling.
    #[inline]
    pub fn prev_sibling(&self, n: NodeId) -> Option<NodeId> {
        let node = self.node(n)?;
        let parent = self.node(link(node.parent)?)?;
        if parent.first == n.0 {
            None
        } else {
            link(node.prev)
        }
    }

    /// Children in order.
    pub fn children(&self, n: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.first_child(n), |&child| self.next_sibling(child))
    }

    /// Children that are elements, in order.
    pub fn child_elements(&self, n: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.children(n)
            .filter(|&child| self.kind(child) == NodeKind::Element)
    }

    /// Everything below `n` in document order, `n` itself excluded.
    pub fn descendants(&self, n: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.first_child(n), move |&at| self.following(at, n))
    }

    /// The next node in document order that is still below `top`.
    #[inline]
    pub(super) fn following(&self, at: NodeId, top: NodeId) -> Option<NodeId> {
        let mut at = at;
        let mut node = self.node(at)?;
        if node.first != NONE {
            return link(node.first);
        }
        while at != top {
            if node.next != NONE {
                return link(node.next);
            }
            at = link(node.parent)?;
            node = self.node(at)?;
        }
        None
    }

    /// Whether the node table is in document order and holds nothing that was removed.
    pub(super) fn is_table_in_order(&self) -> bool {
        self.ordered && self.loose == 0
    }

    /// The elements with a name below `n`, in document order; `name` is a [`Document::name_id`]. While the nodes lie in
    /// document order and nothing was removed, this only reads the node table from front to back.
    pub fn elements_named(&self, n: NodeId, name: u32) -> Named<'_> {
        let start = n.0.saturating_add(1) as usize;
        if self.is_table_in_order() {
            let end = self.end_of(n);
            Named::Table {
                document: self,
                name,
                only: self.names.only_qualified(name),
                at: start.min(end),
                end,
            }
        } else {
            Named::Walk {
                document: self,
                name,
                top: n,
                at: n,
            }
        }
    }

    /// Where the subtree of a node ends in a table in document order.
    pub(super) fn end_of(&self, n: NodeId) -> usize {
        let mut at = n;
        while let Some(node) = self.node(at) {
            if node.next != NONE {
                return node.next as usize;
            }
            match link(node.parent) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        self.nodes.len()
    }

    /// Prefix of an element as written; empty otherwise.
    pub fn prefix(&self, n: NodeId) -> &str {
        self.names.string(self.names.qualified(self.name_of(n)).0)
    }

    /// Local name of an element, target of a processing instruction; empty otherwise.
    pub fn local_name(&self, n: NodeId) -> &str {
        self.names.string(self.expanded_of(n).1)
    }

    /// Namespace of an element; empty when it has none, and for other nodes.
    pub fn namespace(&self, n: NodeId) -> &str {
        self.names.string(self.expanded_of(n).0)
    }

    /// Whether `n` is an element with this name.
    pub fn is_element(&self, n: NodeId, namespace: &str, local: &str) -> bool {
        self.kind(n) == NodeKind::Element && {
            let (node_namespace, node_local) = self.expanded_of(n);
            self.names.string(node_local) == local && self.names.string(node_namespace) == namespace
        }
    }

    /// The first child element with this name.
    pub fn child_element(&self, n: NodeId, namespace: &str, local: &str) -> Option<NodeId> {
        self.children(n)
            .find(|&child| self.is_element(child, namespace, local))
    }

    /// Text of a text, CDATA, comment or processing-instruction node; empty otherwise.
    #[inline]
    pub fn text(&self, n: NodeId) -> &str {
        match self.node(n) {
            Some(node) if !node.is_container() => self.value(node.value()),
            _ => "",
        }
    }

    /// Attributes in document order.
    pub fn attributes(&self, n: NodeId) -> impl Iterator<Item = AttrRef<'_>> {
        self.attr_entries(n)
            .iter()
            .filter(|attr| !attr.declaration)
            .zip(0u32..)
            .map(|(attr, index)| self.attr_ref(attr, index))
    }

    /// Value of the attribute with this name.
    pub fn attribute(&self, n: NodeId, namespace: &str, local: &str) -> Option<&str> {
        self.attributes(n)
            .find(|attr| attr.local == local && attr.namespace == namespace)
            .map(|attr| attr.value)
    }

    /// The attribute at a position, as counted by [`AttrRef::index`].
    pub fn attribute_at(&self, n: NodeId, index: u32) -> Option<AttrRef<'_>> {
        let attr = self
            .attr_entries(n)
            .iter()
            .filter(|attr| !attr.declaration)
            .nth(index as usize)?;
        Some(self.attr_ref(attr, index))
    }

    /// (prefix, namespace) declared on this very element, in document order.
    pub fn namespace_declarations(&self, n: NodeId) -> impl Iterator<Item = (&str, &str)> {
        self.attr_entries(n)
            .iter()
            .filter(|attr| attr.declaration)
            .map(|attr| (self.names.string(attr.name), self.names.string(attr.start)))
    }

    /// The namespace a prefix has at `n`; the empty prefix asks for the default namespace, which is `Some("")` where
    /// it is undeclared by `xmlns=""`. `xml` is always bound. Names of elements and attributes made by edits count as
    /// declared where they stand, as the writer declares them there.
    pub fn lookup_namespace(&self, n: NodeId, prefix: &str) -> Option<&str> {
        if prefix == "xml" {
            return Some(XML_NAMESPACE);
        }
        let prefix = self.names.find_string(prefix)?;
        self.binding(n, prefix)
            .map(|namespace| self.names.string(namespace))
    }

    /// Like [`Document::lookup_namespace`], in string ids.
    pub(super) fn binding(&self, n: NodeId, prefix: u32) -> Option<u32> {
        let mut at = Some(n);
        while let Some(here) = at {
            if let Some(namespace) = self.own_binding(here, prefix) {
                return Some(namespace);
            }
            at = self.parent(here);
        }
        None
    }

    /// The namespace a prefix has because of this very element: its declarations, its name, its attributes' names.
    pub(super) fn own_binding(&self, n: NodeId, prefix: u32) -> Option<u32> {
        let node = self.node(n).filter(|node| node.kind == NodeKind::Element)?;
        let entries = self.attr_entries(n);
        if let Some(attr) = entries
            .iter()
            .find(|attr| attr.declaration && attr.name == prefix)
        {
            return Some(attr.start);
        }
        let (name_prefix, expanded) = self.names.qualified(node.name);
        if name_prefix == prefix {
            return Some(self.names.expanded(expanded).0);
        }
        if prefix == EMPTY {
            return None;
        }
        entries
            .iter()
            .filter(|attr| !attr.declaration)
            .find_map(|attr| {
                let (attr_prefix, expanded) = self.names.qualified(attr.name);
                (attr_prefix == prefix).then(|| self.names.expanded(expanded).0)
            })
    }

    /// XPath string-value: all text below an element or document, the text of any other node. Borrowed when it is
    /// one piece.
    pub fn string_value(&self, n: NodeId) -> Cow<'_, str> {
        self.string_value_and_cost(n).0
    }

    /// [`Document::string_value`], and how many nodes were looked at for it.
    pub fn string_value_and_cost(&self, n: NodeId) -> (Cow<'_, str>, u64) {
        // What nearly every element with text is like.
        if let Some(node) = self.node(n)
            && let Some(only) = self.nodes.get(node.first as usize)
            && only.kind == NodeKind::Text
            && only.next == NONE
        {
            return (Cow::Borrowed(self.value(only.value())), 2);
        }
        let mut cost = 1;
        let text = if self.node(n).is_some_and(Node::is_container) {
            self.join_text(self.descendants(n).inspect(|_| cost += 1))
        } else {
            Cow::Borrowed(self.text(n))
        };
        (text, cost)
    }

    /// Whether the string-value of a node is this text, and how much work that was, a visit to a node being 1.
    #[inline]
    pub fn has_string_value(&self, n: NodeId, text: &str) -> (bool, u64) {
        if let Some(node) = self.node(n)
            && let Some(only) = self.nodes.get(node.first as usize)
            && only.kind == NodeKind::Text
            && only.next == NONE
        {
            let is = same(self.value_bytes(only.value()), text.as_bytes());
            return (is, 2 + u64::from(only.len) / 32);
        }
        let (value, cost) = self.string_value_and_cost(n);
        (value == text, cost + value.len() as u64 / 32)
    }

    /// The text and CDATA directly below an element, joined. Borrowed when it is one piece.
    pub fn own_text(&self, n: NodeId) -> Cow<'_, str> {
        self.join_text(self.children(n))
    }

    fn join_text(&self, nodes: impl Iterator<Item = NodeId>) -> Cow<'_, str> {
        let mut joined = Cow::Borrowed("");
        for n in nodes {
            if matches!(self.kind(n), NodeKind::Text | NodeKind::CData) {
                let text = self.text(n);
                if joined.is_empty() {
                    joined = Cow::Borrowed(text);
                } else if !text.is_empty() {
                    joined.to_mut().push_str(text);
                }
            }
        }
        joined
    }

    /// Document order. Constant time while the tree was not reordered by edits; the first comparison after such an
    /// edit numbers the whole document once. Nodes of different (detached) trees have a stable but arbitrary order.
    pub fn compare_order(&self, a: NodeId, b: NodeId) -> Ordering {
        if self.ordered {
            return a.cmp(&b);
        }
        let order = self.order.get_or_init(|| self.number_nodes());
        let rank = |n: NodeId| order.get(n.0 as usize).copied().unwrap_or(NONE);
        rank(a).cmp(&rank(b)).then(a.cmp(&b))
    }

    fn number_nodes(&self) -> Box<[u32]> {
        let mut ranks = vec![NONE; self.nodes.len()];
        let mut rank = 0u32;
        let roots = (0u32..)
            .zip(&self.nodes)
            .filter(|(_, node)| node.parent == NONE);
        for (root, _) in roots {
            let mut at = Some(NodeId(root));
            while let Some(n) = at {
                if let Some(slot) = ranks.get_mut(n.0 as usize) {
                    *slot = rank;
                }
                rank = rank.saturating_add(1);
                at = self.following(n, NodeId(root));
            }
        }
        ranks.into_boxed_slice()
    }

    /// The id names of this document have for (namespace, local); `None` when no node here can have that name.
    pub fn name_id(&self, namespace: &str, local: &str) -> Option<u32> {
        self.names.find(namespace, local)
    }

    /// The [`Document::name_id`] of a name.
    #[inline]
    pub fn id_of(&self, name: &ExpandedName) -> Option<u32> {
        self.names.find_name(name)
    }

    /// The [`Document::name_id`] of an element; an id no name has for other nodes.
    #[inline]
    pub fn element_name_id(&self, n: NodeId) -> u32 {
        match self.node(n) {
            Some(node) if node.kind == NodeKind::Element => self.names.qualified(node.name).1,
            _ => u32::MAX,
        }
    }

    #[inline]
    pub(super) fn node(&self, n: NodeId) -> Option<&Node> {
        self.nodes.get(n.0 as usize)
    }

    #[inline]
    pub(super) fn node_mut(&mut self, n: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(n.0 as usize)
    }

    pub(super) fn name_of(&self, n: NodeId) -> u32 {
        self.node(n).map_or(NONE, |node| node.name)
    }

    /// (namespace, local) string ids of a node's name.
    pub(super) fn expanded_of(&self, n: NodeId) -> (u32, u32) {
        self.names.expanded(self.names.qualified(self.name_of(n)).1)
    }

    /// Attributes and declarations of an element.
    pub(super) fn attr_entries(&self, n: NodeId) -> &[Attr] {
        match self.node(n) {
            Some(node) if node.kind == NodeKind::Element => {
                let start = node.start as usize;
                self.attrs
                    .get(start..start.saturating_add(node.len as usize))
                    .unwrap_or_default()
            }
            _ => &[],
        }
    }

    fn attr_ref(&self, attr: &Attr, index: u32) -> AttrRef<'_> {
        let (prefix, expanded) = self.names.qualified(attr.name);
        let (namespace, local) = self.names.expanded(expanded);
        AttrRef {
            index,
            prefix: self.names.string(prefix),
            namespace: self.names.string(namespace),
            local: self.names.string(local),
            value: self.value(attr.value()),
        }
    }

    pub(super) fn value(&self, value: Value) -> &str {
        match value.store {
            // Ranges end where the parser found ASCII markup, so this check cannot fail; it only costs little.
            Store::Source => std::str::from_utf8(self.value_bytes(value)).unwrap_or_default(),
            Store::Side => {
                let start = value.start as usize;
                self.side
                    .get(start..start.saturating_add(value.len as usize))
                    .unwrap_or_default()
            }
            Store::Owned => self.owned.get(value.start as usize).map_or("", |text| text),
        }
    }

    pub(super) fn value_bytes(&self, value: Value) -> &[u8] {
        match (value.store, &self.source) {
            (Store::Source, Some(source)) => {
                let start = value.start as usize;
                source
                    .get(start..start.saturating_add(value.len as usize))
                    .unwrap_or_default()
            }
            (Store::Source, None) => &[],
            _ => self.value(value).as_bytes(),
        }
    }
}

/// See [`Document::elements_named`].
pub enum Named<'d> {
    /// Over the node table.
    Table {
        /// The document.
        document: &'d Document,
        /// The name.
        name: u32,
        /// The one qualified name that stands for it, when it is known that there is only one.
        only: Option<u32>,
        /// The next node.
        at: usize,
        /// The first node that is not below.
        end: usize,
    },
    /// From node to node.
    Walk {
        /// The document.
        document: &'d Document,
        /// The name.
        name: u32,
        /// The element whose descendants are looked at.
        top: NodeId,
        /// The last node that was looked at.
        at: NodeId,
    },
}

impl Iterator for Named<'_> {
    /// An element, and how many nodes were looked at for it.
    type Item = (NodeId, u64);

    #[inline]
    fn next(&mut self) -> Option<(NodeId, u64)> {
        match self {
            Named::Table {
                document,
                name,
                only,
                at,
                end,
            } => {
                let from = *at;
                let rest = document.nodes.get(from..*end)?;
                let names = &document.names;
                let found = match *only {
                    Some(only) => rest
                        .iter()
                        .position(|node| node.name == only && node.kind == NodeKind::Element),
                    None => rest.iter().position(|node| {
                        node.kind == NodeKind::Element && names.qualified(node.name).1 == *name
                    }),
                };
                match found {
                    Some(skipped) => {
                        *at = from + skipped + 1;
                        Some((NodeId((from + skipped) as u32), skipped as u64 + 1))
                    }
                    None => {
                        *at = *end;
                        None
                    }
                }
            }
            Named::Walk {
                document,
                name,
                top,
                at,
            } => {
                let mut seen = 0;
                loop {
                    *at = document.following(*at, *top)?;
                    seen += 1;
                    if document.element_name_id(*at) == *name {
                        return Some((*at, seen));
                    }
                }
            }
        }
    }
}

#[inline]
pub(super) fn link(index: u32) -> Option<NodeId> {
    if index == NONE {
        None
    } else {
        Some(NodeId(index))
    }
}
