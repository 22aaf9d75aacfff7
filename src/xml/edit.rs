//! Making and changing nodes.
//!
//! Every operation leaves a consistent tree. What cannot be done (an unknown id, a child for a text node, a node
//! below itself, a contradicting namespace declaration) is left undone.

use super::document::{Attr, Document, NONE, Node, NodeId, NodeKind, Store, Value};
use super::names::EMPTY;
use super::{XML_NAMESPACE, XMLNS_NAMESPACE};

/// Values up to this size share the side buffer; larger ones get a slot that a later edit replaces.
const SMALL: usize = 256;

/// How far [`Document::keeps_order`] looks before it gives up.
const ORDER_STEPS: usize = 64;

impl Document {
    /// A detached element. Its namespace need not be declared: the writer declares it where necessary. The prefix is
    /// ignored when there is no namespace. The name is not checked, what is no XML name is written as it is.
    pub fn create_element(&mut self, prefix: &str, namespace: &str, local: &str) -> NodeId {
        let prefix = usable_prefix(prefix, namespace);
        let name = self.names.intern(prefix, namespace, local);
        let start = self.attrs.len() as u32;
        self.add(Node {
            name,
            start,
            ..Node::new(NodeKind::Element)
        })
    }

    /// A detached text node.
    pub fn create_text(&mut self, text: &str) -> NodeId {
        self.create_leaf(NodeKind::Text, NONE, text)
    }

    /// A detached CDATA section.
    pub fn create_cdata(&mut self, text: &str) -> NodeId {
        self.create_leaf(NodeKind::CData, NONE, text)
    }

    /// A detached comment.
    pub fn create_comment(&mut self, text: &str) -> NodeId {
        self.create_leaf(NodeKind::Comment, NONE, text)
    }

    /// A detached processing instruction.
    pub fn create_pi(&mut self, target: &str, text: &str) -> NodeId {
        let name = self.names.intern("", "", target);
        self.create_leaf(NodeKind::ProcessingInstruction, name, text)
    }

    fn create_leaf(&mut self, kind: NodeKind, name: u32, text: &str) -> NodeId {
        let value = self.store(text);
        self.add(Node {
            name,
            store: value.store,
            start: value.start,
            len: value.len,
            ..Node::new(kind)
        })
    }

    /// Adds a detached node. When there is no id left (after four thousand million nodes) the result is an id that
    /// no operation accepts.
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        match u32::try_from(self.nodes.len()) {
            Ok(index) if index != NONE => {
                self.loose += usize::from(node.parent == NONE);
                self.nodes.push(node);
                NodeId(index)
            }
            _ => NodeId(NONE),
        }
    }

    /// Makes `child` the last child of `parent`, taking it from where it was.
    pub fn append_child(&mut self, parent: NodeId, child: NodeId) {
        if self.may_contain(parent, child) {
            self.attach(parent, child, None);
        }
    }

    /// Makes `child` the first child of `parent`, taking it from where it was.
    pub fn prepend_child(&mut self, parent: NodeId, child: NodeId) {
        if self.may_contain(parent, child) {
            self.unlink(child);
            self.attach(parent, child, self.first_child(parent));
        }
    }

    /// Puts `new` before `sibling`, taking it from where it was. A `sibling` without parent has no siblings.
    pub fn insert_before(&mut self, sibling: NodeId, new: NodeId) {
        if let Some(parent) = self.parent(sibling)
            && sibling != new
            && self.may_contain(parent, new)
        {
            self.attach(parent, new, Some(sibling));
        }
    }

    /// Puts `new` after `sibling`, taking it from where it was.
    pub fn insert_after(&mut self, sibling: NodeId, new: NodeId) {
        if let Some(parent) = self.parent(sibling)
            && sibling != new
            && self.may_contain(parent, new)
        {
            self.unlink(new);
            self.attach(parent, new, self.next_sibling(sibling));
        }
    }

    /// Takes a node and everything below it out of the tree.
    pub fn detach(&mut self, n: NodeId) {
        self.unlink(n);
    }

    /// Puts `new` in the place of `old`, which becomes detached.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        if let Some(parent) = self.parent(old)
            && old != new
            && self.may_contain(parent, new)
        {
            self.attach(parent, new, Some(old));
            self.unlink(old);
        }
    }

    fn may_contain(&self, parent: NodeId, child: NodeId) -> bool {
        let container = self.node(parent).is_some_and(Node::is_container);
        let movable = self
            .node(child)
            .is_some_and(|node| node.kind != NodeKind::Document);
        container && movable && !self.is_self_or_ancestor(child, parent)
    }

    fn is_self_or_ancestor(&self, ancestor: NodeId, n: NodeId) -> bool {
        if self.node(ancestor).is_some_and(|node| node.first == NONE) {
            return ancestor == n;
        }
        std::iter::successors(Some(n), |&at| self.parent(at)).any(|at| at == ancestor)
    }

    /// Links `child`, which `parent` may contain, before `next` or at the end.
    fn attach(&mut self, parent: NodeId, child: NodeId, next: Option<NodeId>) {
        self.unlink(child);
        self.ordered = self.ordered && next.is_none() && self.keeps_order(parent, child);
        self.order.take();
        match next {
            None => self.link_last(parent, child),
            Some(next) => {
                let first = self.node(parent).map_or(NONE, |node| node.first);
                let prev = self.node(next).map_or(NONE, |node| node.prev);
                self.loose = self.loose.saturating_sub(1);
                if let Some(node) = self.node_mut(child) {
                    node.parent = parent.0;
                    node.prev = prev;
                    node.next = next.0;
                }
                if let Some(node) = self.node_mut(next) {
                    node.prev = child.0;
                }
                if first == next.0 {
                    if let Some(node) = self.node_mut(parent) {
                        node.first = child.0;
                    }
                } else if let Some(node) = self.node_mut(NodeId(prev)) {
                    node.next = child.0;
                }
            }
        }
        if let Some(node) = self.node_mut(child) {
            node.flags |= Node::MOVED;
        }
        self.touch(parent);
    }

    /// Links a detached node as last child, without any bookkeeping.
    pub(super) fn link_last(&mut self, parent: NodeId, child: NodeId) {
        self.loose = self.loose.saturating_sub(1);
        let first = self.node(parent).map_or(NONE, |node| node.first);
        let last = self.node(NodeId(first)).map_or(child.0, |node| node.prev);
        if let Some(node) = self.node_mut(child) {
            node.parent = parent.0;
            node.prev = last;
            node.next = NONE;
        }
        if first == NONE {
            if let Some(node) = self.node_mut(parent) {
                node.first = child.0;
            }
        } else {
            if let Some(node) = self.node_mut(NodeId(last)) {
                node.next = child.0;
            }
            if let Some(node) = self.node_mut(NodeId(first)) {
                node.prev = child.0;
            }
        }
    }

    fn unlink(&mut self, n: NodeId) {
        let Some(node) = self.node(n) else { return };
        let (parent, prev, next) = (node.parent, node.prev, node.next);
        if parent == NONE {
            return;
        }
        let first = self.node(NodeId(parent)).map_or(NONE, |node| node.first);
        if first == n.0 {
            if let Some(node) = self.node_mut(NodeId(parent)) {
                node.first = next;
            }
        } else if let Some(node) = self.node_mut(NodeId(prev)) {
            node.next = next;
        }
        // Who points back to `n`: its next sibling, or the first child when `n` is the last one.
        let follower = if next == NONE { first } else { next };
        if follower != n.0
            && let Some(node) = self.node_mut(NodeId(follower))
        {
            node.prev = prev;
        }
        self.loose += 1;
        if let Some(node) = self.node_mut(n) {
            (node.parent, node.prev, node.next) = (NONE, NONE, NONE);
            node.flags |= Node::MOVED;
        }
        self.order.take();
        self.touch(NodeId(parent));
    }

    /// Whether ids stay in document order when `child` is appended to `parent`: it has the highest id and comes last
    /// in its new tree. Looks only a few steps far, as a wrong `false` merely costs a numbering later.
    fn keeps_order(&self, parent: NodeId, child: NodeId) -> bool {
        let mut steps = 0..ORDER_STEPS;
        let mut last = parent;
        // Nothing has a higher id than the newest node.
        if child.0 as usize + 1 != self.nodes.len() {
            while let Some(below) = self.last_child(last) {
                last = below;
                if steps.next().is_none() {
                    return false;
                }
            }
        }
        let mut at = parent;
        while let Some(above) = self.parent(at) {
            if self.next_sibling(at).is_some() || steps.next().is_none() {
                return false;
            }
            at = above;
        }
        child > last
    }

    /// Notes an edit in `n`.
    fn touch(&mut self, n: NodeId) {
        self.modified = true;
        self.numbered.clear();
        let mut at = n;
        while let Some(node) = self.node_mut(at)
            && node.is(Node::CLEAN)
        {
            node.flags &= !Node::CLEAN;
            at = NodeId(node.parent);
        }
    }

    /// Sets an attribute, adding it at the end when there is none of that name. An attribute in a namespace always
    /// gets a prefix: the wanted one where it is free on this element, otherwise one in scope, otherwise a new one. A
    /// name in the namespace of `xmlns` is a namespace declaration.
    pub fn set_attribute(
        &mut self,
        n: NodeId,
        prefix: &str,
        namespace: &str,
        local: &str,
        value: &str,
    ) {
        if self.kind(n) != NodeKind::Element {
            return;
        }
        if namespace == XMLNS_NAMESPACE
            || (namespace.is_empty() && (prefix == "xmlns" || local == "xmlns"))
        {
            return self.declare_namespace(n, if local == "xmlns" { "" } else { local }, value);
        }
        if let Some(index) = self.attribute_entry(n, namespace, local) {
            let Some(old) = self.attrs.get(index).map(Attr::value) else {
                return;
            };
            let value = self.store_again(old, value);
            if let Some(attr) = self.attrs.get_mut(index) {
                (attr.store, attr.start, attr.len) = (value.store, value.start, value.len);
            }
        } else {
            let prefix = self.attribute_prefix(n, prefix, namespace);
            let name = self.names.intern(&prefix, namespace, local);
            let value = self.store(value);
            let entry = Attr {
                declaration: false,
                store: value.store,
                name,
                start: value.start,
                len: value.len,
            };
            self.insert_entry(n, usize::MAX, entry);
            if !namespace.is_empty() {
                self.rebind(n);
            }
        }
        self.touch(n);
    }

    /// Removes an attribute; tells whether there was one.
    pub fn remove_attribute(&mut self, n: NodeId, namespace: &str, local: &str) -> bool {
        let Some(index) = self.attribute_entry(n, namespace, local) else {
            return false;
        };
        let end = self
            .node(n)
            .map_or(0, |node| node.start as usize + node.len as usize);
        if let Some(entries) = self.attrs.get_mut(index..end) {
            entries.rotate_left(1);
        }
        if let Some(node) = self.node_mut(n) {
            node.len = node.len.saturating_sub(1);
        }
        self.touch(n);
        true
    }

    /// Declares a prefix (or, with an empty prefix, the default namespace) on an element, replacing a declaration of
    /// that prefix there. Refused are what Namespaces in XML forbids and what contradicts the element's own name or
    /// attributes. Names below keep their namespaces: the writer re-declares where necessary.
    pub fn declare_namespace(&mut self, n: NodeId, prefix: &str, uri: &str) {
        if self.kind(n) != NodeKind::Element
            || matches!(prefix, "xml" | "xmlns")
            || matches!(uri, XML_NAMESPACE | XMLNS_NAMESPACE)
            || (uri.is_empty() && !prefix.is_empty())
        {
            return;
        }
        let prefix = self.names.intern_string(prefix);
        let uri = self.names.intern_string(uri);
        if self.name_binding(n, prefix).is_some_and(|used| used != uri) {
            return;
        }
        let entries = self.attr_entries(n);
        let start = self.node(n).map_or(0, |node| node.start as usize);
        match entries
            .iter()
            .position(|attr| attr.declaration && attr.name == prefix)
        {
            Some(at) => {
                if let Some(attr) = self.attrs.get_mut(start + at) {
                    attr.start = uri;
                }
            }
            None => {
                let at = entries
                    .iter()
                    .rposition(|attr| attr.declaration)
                    .map_or(0, |last| last + 1);
                self.insert_entry(n, at, declaration(prefix, uri));
            }
        }
        self.rebind(n);
        self.touch(n);
    }

    /// Element: replaces all children by one text (none when `text` is empty). Any other node but the document:
    /// replaces its text.
    pub fn set_text(&mut self, n: NodeId, text: &str) {
        match self.kind(n) {
            NodeKind::Document => {}
            NodeKind::Element => {
                let first = self.first_child(n);
                if let Some(only) = first
                    && !text.is_empty()
                    && self.kind(only) == NodeKind::Text
                    && self.next_sibling(only).is_none()
                {
                    return self.set_text(only, text);
                }
                while let Some(child) = self.first_child(n) {
                    self.unlink(child);
                }
                if !text.is_empty() {
                    let child = self.create_text(text);
                    self.append_child(n, child);
                }
                self.touch(n);
            }
            _ => {
                let Some(old) = self.node(n).map(Node::value) else {
                    return;
                };
                let value = self.store_again(old, text);
                let mut above = NONE;
                if let Some(node) = self.node_mut(n) {
                    (node.store, node.start, node.len) = (value.store, value.start, value.len);
                    above = node.parent;
                }
                self.touch(NodeId(above));
            }
        }
    }

    /// Position in the attribute table of the attribute with this name.
    fn attribute_entry(&self, n: NodeId, namespace: &str, local: &str) -> Option<usize> {
        let wanted = self.name_id(namespace, local)?;
        let same = |attr: &Attr| !attr.declaration && self.names.qualified(attr.name).1 == wanted;
        let at = self.attr_entries(n).iter().position(same)?;
        Some(self.node(n)?.start as usize + at)
    }

    /// Adds an entry to an element, before the entry at `at` or at the end.
    pub(super) fn insert_entry(&mut self, n: NodeId, at: usize, entry: Attr) {
        let Some(node) = self.nodes.get_mut(n.0 as usize) else {
            return;
        };
        let (start, len) = (node.start as usize, node.len as usize);
        if start + len != self.attrs.len() {
            // Somebody else's entries follow: move to the end of the table.
            let Ok(moved) = u32::try_from(self.attrs.len()) else {
                return;
            };
            node.start = moved;
            self.attrs.extend_from_within(
                start.min(self.attrs.len())..(start + len).min(self.attrs.len()),
            );
        }
        self.attrs.push(entry);
        node.len += 1;
        let start = node.start as usize;
        if let Some(entries) = self.attrs.get_mut(start + at.min(len)..) {
            entries.rotate_right(1);
        }
    }

    /// The namespace the element's own name or one of its attributes' names gives to a prefix.
    fn name_binding(&self, n: NodeId, prefix: u32) -> Option<u32> {
        let node = self.node(n)?;
        let attrs = self
            .attr_entries(n)
            .iter()
            .filter(|attr| !attr.declaration && prefix != EMPTY);
        let mut names = std::iter::once(node.name).chain(attrs.map(|attr| attr.name));
        names.find_map(|name| {
            let (used, expanded) = self.names.qualified(name);
            (used == prefix).then(|| self.names.expanded(expanded).0)
        })
    }

    fn attribute_prefix(&mut self, n: NodeId, wanted: &str, namespace: &str) -> String {
        if namespace.is_empty() {
            return String::new();
        }
        let wanted = usable_prefix(wanted, namespace);
        if namespace == XML_NAMESPACE {
            return wanted.to_owned();
        }
        let namespace = self.names.intern_string(namespace);
        if !wanted.is_empty() {
            let prefix = self.names.intern_string(wanted);
            if self
                .own_binding(n, prefix)
                .is_none_or(|bound| bound == namespace)
            {
                return wanted.to_owned();
            }
        }
        let mut at = Some(n);
        while let Some(here) = at {
            let declared = self
                .attr_entries(here)
                .iter()
                .filter(|attr| attr.declaration && attr.start == namespace);
            for attr in declared {
                if attr.name != EMPTY && self.binding(n, attr.name) == Some(namespace) {
                    return self.names.string(attr.name).to_owned();
                }
            }
            at = self.parent(here);
        }
        let mut number = 0u64;
        loop {
            let prefix = format!("ns{number}");
            if self.lookup_namespace(n, &prefix).is_none() {
                return prefix;
            }
            number += 1;
        }
    }

    fn rebind(&mut self, n: NodeId) {
        if let Some(node) = self.node_mut(n) {
            node.flags |= Node::REBOUND;
        }
    }

    pub(super) fn store(&mut self, text: &str) -> Value {
        let len = text.len() as u32;
        if text.len() <= SMALL
            && let Ok(start) = u32::try_from(self.side.len())
        {
            self.side.push_str(text);
            return Value {
                store: Store::Side,
                start,
                len,
            };
        }
        let start = self.owned.len() as u32;
        self.owned.push(text.into());
        Value {
            store: Store::Owned,
            start,
            len,
        }
    }

    /// Stores the successor of a value. One that was stored by an edit gets a slot, which further edits reuse, so
    /// that editing the same place for ever does not use up memory.
    fn store_again(&mut self, old: Value, text: &str) -> Value {
        let len = text.len() as u32;
        match old.store {
            Store::Source => self.store(text),
            Store::Side => {
                let start = self.owned.len() as u32;
                self.owned.push(text.into());
                Value {
                    store: Store::Owned,
                    start,
                    len,
                }
            }
            Store::Owned => {
                if let Some(slot) = self.owned.get_mut(old.start as usize) {
                    *slot = text.into();
                }
                Value {
                    store: Store::Owned,
                    start: old.start,
                    len,
                }
            }
        }
    }
}

/// An entry that declares a namespace, from string ids.
pub(super) fn declaration(prefix: u32, namespace: u32) -> Attr {
    Attr {
        declaration: true,
        store: Store::Side,
        name: prefix,
        start: namespace,
        len: 0,
    }
}

/// The prefix a name in this namespace may have: none without namespace, `xml` exactly for its own.
fn usable_prefix<'a>(prefix: &'a str, namespace: &str) -> &'a str {
    match (prefix, namespace) {
        (_, XML_NAMESPACE) => "xml",
        (_, "") | ("xml" | "xmlns", _) => "",
        _ => prefix,
    }
}
