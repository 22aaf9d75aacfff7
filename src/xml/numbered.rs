//! Elements by their number among the siblings of their name, as `//name[3]` and `//name[last()]` ask for them. The
//! expressions of one message ask for the same names again, so what was found for a name is kept until an edit.

use super::document::{Document, NodeId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Names about which a document keeps what was found; what is found about others is not kept.
const MOST_NAMES: usize = 16;

/// An element among its siblings of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// The element.
    pub node: NodeId,
    /// Its number, from 1.
    pub number: u32,
    /// No sibling after it has its name.
    pub last: bool,
}

/// See [`Document::numbered_below`].
#[derive(Clone, Debug)]
pub struct NumberedBelow {
    all: Arc<Vec<Numbered>>,
    range: Range<usize>,
    /// How many nodes were looked at to know them.
    pub looked_at: u64,
}

impl NumberedBelow {
    /// The elements in document order.
    pub fn elements(&self) -> &[Numbered] {
        self.all.get(self.range.clone()).unwrap_or_default()
    }
}

/// What is known about a name, and how many nodes the document had then.
type Known = (u32, usize, Arc<Vec<Numbered>>);

/// What a document keeps. A copy begins with nothing.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<Known>>);

impl Clone for Kept {
    fn clone(&self) -> Kept {
        Kept::default()
    }
}

impl Kept {
    /// Forgets everything, as something was edited.
    pub(super) fn clear(&mut self) {
        self.0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: u32, nodes: usize) -> Option<Arc<Vec<Numbered>>> {
        let list = self.list();
        let known = list.iter().find(|known| known.0 == name)?;
        (known.1 == nodes).then(|| known.2.clone())
    }

    fn keep(&self, name: u32, nodes: usize, found: Arc<Vec<Numbered>>) {
        let mut list = self.list();
        list.retain(|known| known.0 != name);
        if list.len() < MOST_NAMES {
            list.push((name, nodes, found));
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let each = |known: &Known| known.2.capacity() * size_of::<Numbered>();
        self.list().iter().map(each).sum()
    }
}

impl Document {
    /// The elements with a name below `n`, with their numbers. `name` is a [`Document::name_id`].
    pub fn numbered_below(&self, n: NodeId, name: u32) -> NumberedBelow {
        if !self.is_table_in_order() {
            let (all, looked_at) = self.number(n, name);
            return NumberedBelow {
                range: 0..all.len(),
                all,
                looked_at,
            };
        }
        let nodes = self.nodes.len();
        let (all, looked_at) = match self.numbered.get(name, nodes) {
            Some(all) => (all, 0),
            None => {
                let found = self.number(self.document_node(), name);
                self.numbered.keep(name, nodes, found.0.clone());
                found
            }
        };
        let end = self.end_of(n);
        let range = all.partition_point(|e| e.node <= n)
            ..all.partition_point(|e| (e.node.0 as usize) < end);
        NumberedBelow {
            all,
            range,
            looked_at,
        }
    }

    fn number(&self, n: NodeId, name: u32) -> (Arc<Vec<Numbered>>, u64) {
        let mut all: Vec<Numbered> = Vec::new();
        let mut looked_at = 0;
        let mut siblings = Siblings::default();
        for (node, nodes) in self.elements_named(n, name) {
            looked_at += nodes;
            // Places are counted from 1, so that 0 is none.
            let place = all.len() + 1;
            let before = std::mem::replace(siblings.of(self.parent(node)), place);
            let number = match before.checked_sub(1).and_then(|at| all.get_mut(at)) {
                Some(before) => {
                    before.last = false;
                    before.number.saturating_add(1)
                }
                None => 1,
            };
            all.push(Numbered {
                node,
                number,
                last: true,
            });
        }
        (Arc::new(all), looked_at)
    }
}

/// A number for each parent. Elements come in document order, so that the parent is nearly always the one before.
#[derive(Default)]
struct Siblings {
    parent: Option<NodeId>,
    number: usize,
    others: HashMap<Option<NodeId>, usize>,
}

impl Siblings {
    /// The number of a parent, 0 at first.
    #[inline]
    fn of(&mut self, parent: Option<NodeId>) -> &mut usize {
        if self.parent != parent {
            if self.number != 0 {
                self.others.insert(self.parent, self.number);
            }
            self.parent = parent;
            self.number = self.others.get(&parent).copied().unwrap_or(0);
        }
        &mut self.number
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Document, ExpandedName, Limits, NodeId, NodeKind};

    fn parse(text: &str) -> Document {
        Document::parse(text.to_owned().into(), &Limits::default()).unwrap()
    }

    /// What siblings say, for every node of the tree as the top.
    fn check(document: &Document, names: &[&str]) {
        let top = document.document_node();
        for name in names {
            let Some(id) = document.id_of(&ExpandedName::new("", name)) else {
                continue;
            };
            let is = |n: &NodeId| {
                document.kind(*n) == NodeKind::Element && document.local_name(*n) == *name
            };
            for above in std::iter::once(top).chain(document.descendants(top)) {
                let wanted: Vec<_> = document
                    .descendants(above)
                    .filter(is)
                    .map(|n| {
                        let parent = document.parent(n).unwrap();
                        let all: Vec<_> = document.children(parent).filter(is).collect();
                        let at = all.iter().position(|other| *other == n).unwrap();
                        (n, at as u32 + 1, at + 1 == all.len())
                    })
                    .collect();
                let found = document.numbered_below(above, id);
                let found: Vec<_> = found
                    .elements()
                    .iter()
                    .map(|e| (e.node, e.number, e.last))
                    .collect();
                assert_eq!(found, wanted, "{name} below {above:?}");
            }
        }
    }

    /// The node table stays as long as it was, and in document order.
    #[test]
    fn a_node_that_moves_down_is_counted_anew() {
        let mut document = parse("<a><c/><b/><c/></a>");
        check(&document, &["b", "c"]);
        let root = document.root_element().unwrap();
        let last = document.last_child(root).unwrap();
        let above = document.prev_sibling(last).unwrap();
        document.append_child(above, last);
        assert!(document.is_table_in_order());
        check(&document, &["b", "c"]);
    }

    #[test]
    fn numbers_follow_edits() {
        let names = ["a", "b", "c", "new"];
        let mut document =
            parse("<a><b/><b><c/><b/>x<c/></b><a><b/></a><b/><c><c/><a/><c/></c></a>");
        check(&document, &names);
        check(&document.clone(), &names);
        let root = document.root_element().unwrap();
        let second = document.child_elements(root).nth(1).unwrap();
        let last = document.last_child(root).unwrap();

        let made = document.create_element("", "", "new");
        check(&document, &names);
        document.append_child(root, made);
        check(&document, &names);
        document.set_text(second, "no children");
        check(&document, &names);
        let parsed = document.parse_into(
            last,
            "<c><new/><new/></c>".to_owned().into(),
            &Limits::default(),
        );
        assert!(parsed.is_ok());
        check(&document, &names);
        let failed = document.parse_into(last, "<c><new/>".to_owned().into(), &Limits::default());
        assert!(failed.is_err());
        check(&document, &names);
        let copy = document.duplicate(last);
        check(&document, &names);
        document.insert_before(second, copy);
        check(&document, &names);
        document.detach(second);
        check(&document, &names);
        document.append_child(root, second);
        check(&document, &names);
    }
}
