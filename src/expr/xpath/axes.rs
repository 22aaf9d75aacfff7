//! The thirteen axes, node tests, names and string-values of single nodes.

use super::Node;
use super::program::{Axis, NodeTest};
use crate::xml::{AttrRef, Document, ExpandedName, NodeId, NodeKind, XML_NAMESPACE};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

/// Marks the attribute number of a namespace node.
const NAMESPACE_NODE: u32 = 1 << 31;

/// What an evaluation can see above the envelope (spec 05 §3.1).
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) envelope: Option<Node<'a>>,
    pub(super) has_document: bool,
}

impl<'a> View<'a> {
    pub(super) fn parent(self, node: Node<'a>) -> Option<Node<'a>> {
        let document = node.document;
        if node.attribute.is_some() {
            return Some(Node::new(document, node.node));
        }
        let message = self.envelope.filter(|e| std::ptr::eq(e.document, document));
        if !self.has_document && message == Some(node) {
            return None;
        }
        let parent = document.parent(node.node)?;
        // Only a message that arrived as SOAP has a document node; property trees have none.
        if document.kind(parent) == NodeKind::Document && !(self.has_document && message.is_some())
        {
            return None;
        }
        Some(Node::new(document, parent))
    }

    pub(super) fn root(self, node: Node<'a>) -> Node<'a> {
        let mut at = node;
        while let Some(parent) = self.parent(at) {
            at = parent;
        }
        at
    }

    /// The nodes of an axis in axis order: reverse axes go away from the context node.
    pub(super) fn walk(self, axis: Axis, node: Node<'a>) -> Walk<'a> {
        let document = node.document;
        let plain = node.attribute.is_none();
        let state = match axis {
            Axis::Child if plain => State::Siblings(document.first_child(node.node)),
            Axis::Descendant | Axis::DescendantOrSelf if plain => State::Below {
                top: node.node,
                next: Some(node.node),
                skip: axis == Axis::Descendant,
            },
            Axis::Itself | Axis::DescendantOrSelf => State::One(Some(node)),
            Axis::Parent => State::One(self.parent(node)),
            Axis::Ancestor => State::Ancestors(self.parent(node)),
            Axis::AncestorOrSelf => State::Ancestors(Some(node)),
            Axis::FollowingSibling if plain && self.parent(node).is_some() => {
                State::Siblings(document.next_sibling(node.node))
            }
            Axis::PrecedingSibling if plain && self.parent(node).is_some() => {
                State::PrecedingSiblings(document.prev_sibling(node.node))
            }
            // Jaxen goes on after the owner of an attribute, without its children.
            Axis::Following => State::Following(self.after(Node::new(document, node.node))),
            Axis::Preceding if plain => State::Preceding {
                at: node.node,
                above: document.parent(node.node),
                enter: false,
            },
            // Jaxen begins with the children of the owner of an attribute.
            Axis::Preceding => State::Preceding {
                at: node.node,
                above: Some(node.node),
                enter: true,
            },
            Axis::Attribute if plain => {
                let count = document.attributes(node.node).count();
                State::Numbered {
                    next: 0,
                    end: count as u32,
                }
            }
            Axis::Namespace if plain && document.kind(node.node) == NodeKind::Element => {
                let count = namespaces(document, node.node).len();
                State::Numbered {
                    next: NAMESPACE_NODE,
                    end: NAMESPACE_NODE | count as u32,
                }
            }
            _ => State::One(None),
        };
        Walk {
            view: self,
            document,
            owner: node.node,
            state,
        }
    }

    /// The first node after the subtree of `node`.
    fn after(self, node: Node<'a>) -> Option<NodeId> {
        let mut at = node;
        loop {
            let parent = self.parent(at)?;
            if let Some(next) = node.document.next_sibling(at.node) {
                return Some(next);
            }
            at = parent;
        }
    }
}

/// In-scope namespaces of an element: (prefix, namespace), innermost first, `xml` last.
/// Nothing for what is no element.
pub(super) fn namespaces(document: &Document, element: NodeId) -> Vec<(&str, &str)> {
    if document.kind(element) != NodeKind::Element {
        return Vec::new();
    }
    let mut list: Vec<(&str, &str)> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::from(["xml"]);
    let mut at = Some(element);
    while let Some(here) = at {
        // A name made by an edit may stand without a declaration of its own.
        let own = (document.prefix(here), document.namespace(here));
        for (prefix, uri) in document.namespace_declarations(here).chain([own]) {
            if seen.insert(prefix) {
                list.push((prefix, uri));
            }
        }
        at = document
            .parent(here)
            .filter(|&p| document.kind(p) == NodeKind::Element);
    }
    list.retain(|(_, uri)| !uri.is_empty());
    list.push(("xml", XML_NAMESPACE));
    list
}

/// (prefix, namespace) when this is a namespace node.
pub(super) fn as_namespace(node: Node<'_>) -> Option<(&str, &str)> {
    let index = node.attribute.filter(|i| i & NAMESPACE_NODE != 0)? & !NAMESPACE_NODE;
    namespaces(node.document, node.node)
        .get(index as usize)
        .copied()
}

/// The namespace node with this place among those of an element.
pub(super) fn namespace_node(element: Node<'_>, index: usize) -> Node<'_> {
    Node {
        attribute: Some(NAMESPACE_NODE | index as u32),
        ..element
    }
}

/// How much work it is to find an attribute or namespace by its number, a visit to a node being 1.
pub(super) fn place_cost(node: Node<'_>) -> u64 {
    match node.attribute {
        None => 0,
        Some(_) if is_namespace(node) => namespaces(node.document, node.node).len() as u64,
        Some(index) => u64::from(index) / 16,
    }
}

pub(super) fn as_attribute(node: Node<'_>) -> Option<AttrRef<'_>> {
    node.document.attribute_at(node.node, node.attribute?)
}

pub(super) fn is_namespace(node: Node<'_>) -> bool {
    node.attribute.is_some_and(|i| i & NAMESPACE_NODE != 0)
}

pub(super) fn string_value(node: Node<'_>) -> Cow<'_, str> {
    if node.attribute.is_none() {
        return node.document.string_value(node.node);
    }
    if is_namespace(node) {
        return Cow::Borrowed(as_namespace(node).map_or("", |(_, uri)| uri));
    }
    Cow::Borrowed(as_attribute(node).map_or("", |a| a.value))
}

/// Document order within one tree: element, its namespaces, its attributes, its children.
pub(super) fn compare_order(a: &Node<'_>, b: &Node<'_>) -> Ordering {
    if a.node != b.node {
        return a.document.compare_order(a.node, b.node);
    }
    let rank = |n: &Node<'_>| n.attribute.map(|i| (i & NAMESPACE_NODE == 0, i));
    rank(a).cmp(&rank(b))
}

pub(super) struct Walk<'a> {
    view: View<'a>,
    document: &'a Document,
    owner: NodeId,
    state: State<'a>,
}

enum State<'a> {
    One(Option<Node<'a>>),
    Siblings(Option<NodeId>),
    PrecedingSiblings(Option<NodeId>),
    Ancestors(Option<Node<'a>>),
    /// `next` in document order within `top`; `skip` leaves `top` itself out.
    Below {
        top: NodeId,
        next: Option<NodeId>,
        skip: bool,
    },
    Following(Option<NodeId>),
    /// Reverse document order from `at`, leaving out the ancestors; `above` is the next of them.
    /// `enter` begins with what is below `at`.
    Preceding {
        at: NodeId,
        above: Option<NodeId>,
        enter: bool,
    },
    /// Attributes or namespaces of the owner.
    Numbered {
        next: u32,
        end: u32,
    },
}

impl<'a> Iterator for Walk<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let document = self.document;
        let found = match &mut self.state {
            State::One(node) => return node.take(),
            State::Ancestors(next) => {
                let found = next.take()?;
                *next = self.view.parent(found);
                return Some(found);
            }
            State::Siblings(next) => {
                let found = (*next)?;
                *next = document.next_sibling(found);
                found
            }
            State::PrecedingSiblings(next) => {
                let found = (*next)?;
                *next = document.prev_sibling(found);
                found
            }
            State::Below { top, next, skip } => {
                if std::mem::take(skip) {
                    *next = document.first_child(*top);
                }
                let found = (*next)?;
                *next = below(document, found, *top);
                found
            }
            State::Following(next) => {
                let found = (*next)?;
                *next = match document.first_child(found) {
                    Some(child) => Some(child),
                    None => self.view.after(Node::new(document, found)),
                };
                found
            }
            State::Preceding { at, above, enter } => loop {
                let before = if std::mem::take(enter) {
                    let Some(last) = document.last_child(*at) else {
                        *above = document.parent(*at);
                        continue;
                    };
                    Some(last)
                } else {
                    let has_parent = self.view.parent(Node::new(document, *at)).is_some();
                    document.prev_sibling(*at).filter(|_| has_parent)
                };
                match before {
                    Some(before) => {
                        let mut deepest = before;
                        while let Some(last) = document.last_child(deepest) {
                            deepest = last;
                        }
                        *at = deepest;
                        break deepest;
                    }
                    None => {
                        let parent = self.view.parent(Node::new(document, *at))?.node;
                        *at = parent;
                        if *above != Some(parent) {
                            break parent;
                        }
                        *above = document.parent(parent);
                    }
                }
            },
            State::Numbered { next, end } => {
                if next >= end {
                    return None;
                }
                let attribute = Some(*next);
                *next += 1;
                return Some(Node {
                    document,
                    node: self.owner,
                    attribute,
                });
            }
        };
        Some(Node::new(document, found))
    }
}

/// The next node in document order that is still below `top`.
pub(super) fn below(document: &Document, at: NodeId, top: NodeId) -> Option<NodeId> {
    if let Some(child) = document.first_child(at) {
        return Some(child);
    }
    let mut at = at;
    while at != top {
        if let Some(next) = document.next_sibling(at) {
            return Some(next);
        }
        at = document.parent(at)?;
    }
    None
}

/// A node test with its name looked up in one document.
#[derive(Clone, Copy)]
pub(super) enum Test<'p> {
    Any,
    Never,
    /// Element with this interned name.
    Element(u32),
    AnyElement,
    ElementIn(&'p str),
    Attribute(&'p str, &'p str),
    AnyAttribute,
    AttributeIn(&'p str),
    NamespaceNode(Option<&'p str>),
    Text,
    Comment,
    Instruction(Option<&'p str>),
    Container,
    /// Accepts what a name test of this axis looks at, so that the caller can report the prefix.
    Unbound(&'p str, Axis),
}

impl<'p> Test<'p> {
    /// `id` looks up a name slot in the document.
    pub(super) fn new(
        test: &'p NodeTest,
        axis: Axis,
        id: impl FnOnce(usize, &'p ExpandedName) -> Option<u32>,
    ) -> Test<'p> {
        match (test, axis) {
            (NodeTest::Any, _) => Test::Any,
            (NodeTest::AnyName, Axis::Attribute) => Test::AnyAttribute,
            (NodeTest::AnyName, Axis::Namespace) => Test::NamespaceNode(None),
            (NodeTest::AnyName, _) => Test::AnyElement,
            (NodeTest::Namespace(uri), Axis::Attribute) => Test::AttributeIn(uri),
            (NodeTest::Namespace(_), Axis::Namespace) => Test::Never,
            (NodeTest::Namespace(uri), _) => Test::ElementIn(uri),
            (NodeTest::Name { name, .. }, Axis::Attribute) => {
                Test::Attribute(name.namespace(), name.local())
            }
            (NodeTest::Name { name, .. }, Axis::Namespace) => {
                if name.namespace().is_empty() {
                    Test::NamespaceNode(Some(name.local()))
                } else {
                    Test::Never
                }
            }
            (NodeTest::Name { slot, name }, _) => {
                id(*slot, name).map_or(Test::Never, Test::Element)
            }
            (NodeTest::Text, _) => Test::Text,
            (NodeTest::Comment, _) => Test::Comment,
            (NodeTest::Instruction(target), _) => Test::Instruction(target.as_deref()),
            (NodeTest::Container, _) => Test::Container,
            (NodeTest::Unbound(prefix), axis) => Test::Unbound(prefix, axis),
        }
    }

    pub(super) fn matches_attribute(self, attribute: &AttrRef<'_>) -> bool {
        match self {
            Test::Any | Test::AnyAttribute | Test::Unbound(_, Axis::Attribute) => true,
            Test::Attribute(namespace, local) => {
                attribute.local == local && attribute.namespace == namespace
            }
            Test::AttributeIn(namespace) => attribute.namespace == namespace,
            _ => false,
        }
    }

    pub(super) fn matches_namespace(self, prefix: &str) -> bool {
        match self {
            Test::Any | Test::NamespaceNode(None) | Test::Unbound(_, Axis::Namespace) => true,
            Test::NamespaceNode(Some(wanted)) => prefix == wanted,
            _ => false,
        }
    }

    #[inline]
    pub(super) fn matches(self, node: Node<'_>) -> bool {
        let document = node.document;
        if node.attribute.is_some() {
            return match self {
                Test::Any => true,
                Test::NamespaceNode(None) | Test::Unbound(_, Axis::Namespace) => is_namespace(node),
                Test::NamespaceNode(Some(prefix)) => {
                    as_namespace(node).is_some_and(|(p, _)| p == prefix)
                }
                _ => as_attribute(node).is_some_and(|a| self.matches_attribute(&a)),
            };
        }
        let kind = || document.kind(node.node);
        match self {
            Test::Any => true,
            Test::Element(id) => document.element_name_id(node.node) == id,
            Test::AnyElement => kind() == NodeKind::Element,
            Test::ElementIn(uri) => {
                kind() == NodeKind::Element && document.namespace(node.node) == uri
            }
            Test::Text => matches!(kind(), NodeKind::Text | NodeKind::CData),
            Test::Comment => kind() == NodeKind::Comment,
            Test::Instruction(target) => {
                kind() == NodeKind::ProcessingInstruction
                    && target.is_none_or(|t| document.local_name(node.node) == t)
            }
            Test::Container => matches!(kind(), NodeKind::Element | NodeKind::Document),
            Test::Unbound(_, axis) => {
                !matches!(axis, Axis::Attribute | Axis::Namespace) && kind() == NodeKind::Element
            }
            Test::Never
            | Test::AnyAttribute
            | Test::Attribute(..)
            | Test::AttributeIn(_)
            | Test::NamespaceNode(_) => false,
        }
    }
}
