//! Copies of subtrees, within a document and between documents.

use super::document::{Attr, Document, NONE, Node, NodeId, NodeKind, Store, Value};
use super::edit::declaration;

impl Document {
    /// A detached deep copy of a node of another document; of its root element when `n` is the document node (an
    /// empty text when there is none). The copy carries on its top element every namespace binding that names in the
    /// subtree use and inherit.
    pub fn import(&mut self, from: &Document, n: NodeId) -> NodeId {
        let Some(n) = from.copyable(n) else {
            return self.create_text("");
        };
        let mut names = NameMap {
            known: [(NONE, NONE); 64],
        };
        let top = self.import_node(from, n, &mut names);
        let (mut at, mut copy_at) = (n, top);
        while let Some((next, climb)) = from.walk(at, n) {
            let copy_parent = self.climb(copy_at, climb);
            let copy = self.import_node(from, next, &mut names);
            self.link_last(copy_parent, copy);
            (at, copy_at) = (next, copy);
        }
        for (prefix, namespace) in from.inherited_bindings(n) {
            let prefix = self.names.intern_string(from.names.string(prefix));
            let namespace = self.names.intern_string(from.names.string(namespace));
            self.insert_entry(top, 0, declaration(prefix, namespace));
        }
        top
    }

    /// A detached deep copy of a node of this document, as [`Document::import`] would make it. Text that stems from
    /// the source is shared, not copied.
    pub fn duplicate(&mut self, n: NodeId) -> NodeId {
        let Some(n) = self.copyable(n) else {
            return self.create_text("");
        };
        let inherited = self.inherited_bindings(n);
        let top = self.duplicate_node(n);
        let (mut at, mut copy_at) = (n, top);
        while let Some((next, climb)) = self.walk(at, n) {
            let copy_parent = self.climb(copy_at, climb);
            let copy = self.duplicate_node(next);
            self.link_last(copy_parent, copy);
            (at, copy_at) = (next, copy);
        }
        for (prefix, namespace) in inherited {
            self.insert_entry(top, 0, declaration(prefix, namespace));
        }
        top
    }

    fn copyable(&self, n: NodeId) -> Option<NodeId> {
        if self.kind(n) == NodeKind::Document {
            self.root_element()
        } else {
            self.node(n).map(|_| n)
        }
    }

    /// The node after `at` in document order below `top`, and how many levels up from `at` its parent is.
    fn walk(&self, at: NodeId, top: NodeId) -> Option<(NodeId, usize)> {
        if let Some(child) = self.first_child(at) {
            return Some((child, 0));
        }
        let (mut at, mut climb) = (at, 1);
        while at != top {
            if let Some(next) = self.next_sibling(at) {
                return Some((next, climb));
            }
            at = self.parent(at)?;
            climb += 1;
        }
        None
    }

    fn climb(&self, n: NodeId, levels: usize) -> NodeId {
        (0..levels).fold(n, |at, _| self.parent(at).unwrap_or(at))
    }

    fn import_node(&mut self, from: &Document, n: NodeId, names: &mut NameMap) -> NodeId {
        let Some(node) = from.node(n) else {
            return NodeId(NONE);
        };
        let name = names.translate(node.name, from, self);
        if node.kind != NodeKind::Element {
            let value = self.store(from.text(n));
            let copy = Node {
                name,
                store: value.store,
                start: value.start,
                len: value.len,
                ..Node::new(node.kind)
            };
            return self.add(copy);
        }
        let start = self.attrs.len();
        for attr in from.attr_entries(n) {
            let entry = if attr.declaration {
                let prefix = self.names.intern_string(from.names.string(attr.name));
                declaration(
                    prefix,
                    self.names.intern_string(from.names.string(attr.start)),
                )
            } else {
                let name = names.translate(attr.name, from, self);
                let value = self.store(from.value(attr.value()));
                Attr {
                    declaration: false,
                    store: value.store,
                    name,
                    start: value.start,
                    len: value.len,
                }
            };
            self.attrs.push(entry);
        }
        self.add_element(name, start)
    }

    fn duplicate_node(&mut self, n: NodeId) -> NodeId {
        let Some(node) = self.node(n) else {
            return NodeId(NONE);
        };
        let (kind, name, value) = (node.kind, node.name, node.value());
        if kind != NodeKind::Element {
            let value = self.share(value);
            let copy = Node {
                name,
                store: value.store,
                start: value.start,
                len: value.len,
                ..Node::new(kind)
            };
            return self.add(copy);
        }
        let start = self.attrs.len();
        let entries = value.start as usize..value.start as usize + value.len as usize;
        for index in entries {
            let Some(&attr) = self.attrs.get(index) else {
                break;
            };
            let value = if attr.declaration {
                attr.value()
            } else {
                self.share(attr.value())
            };
            self.attrs.push(Attr {
                store: value.store,
                start: value.start,
                len: value.len,
                ..attr
            });
        }
        self.add_element(name, start)
    }

    /// Adds an element whose attribute entries are those from `start` to the end of the table.
    fn add_element(&mut self, name: u32, start: usize) -> NodeId {
        let len = self.attrs.len().saturating_sub(start) as u32;
        self.add(Node {
            name,
            start: start as u32,
            len,
            ..Node::new(NodeKind::Element)
        })
    }

    /// A value for a second owner: only slots are changed in place and must not be shared.
    fn share(&mut self, value: Value) -> Value {
        match (value.store, self.owned.get(value.start as usize).cloned()) {
            (Store::Owned, Some(text)) => self.store(&text),
            _ => value,
        }
    }
}

/// Qualified names of one document as names of another; a small cache in front of interning.
struct NameMap {
    known: [(u32, u32); 64],
}

impl NameMap {
    fn translate(&mut self, name: u32, from: &Document, to: &mut Document) -> u32 {
        if name == NONE {
            return NONE;
        }
        let slot = self.known.get_mut(name as usize % 64);
        if let Some(&mut (known, translated)) = slot
            && known == name
        {
            return translated;
        }
        let (prefix, expanded) = from.names.qualified(name);
        let (namespace, local) = from.names.expanded(expanded);
        let names = &from.names;
        let translated = to.names.intern(
            names.string(prefix),
            names.string(namespace),
            names.string(local),
        );
        if let Some(slot) = self.known.get_mut(name as usize % 64) {
            *slot = (name, translated);
        }
        translated
    }
}
