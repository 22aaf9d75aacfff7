//! Edits next to the simplest tree that could be: vectors of children, looked through from end to end.

use super::super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
struct Plain {
    kind: NodeKind,
    name: (String, String),
    text: String,
    attributes: Vec<(String, String, String)>,
    children: Vec<NodeId>,
}

/// Nodes by id; a node that is nobody's child is detached.
#[derive(Default)]
struct Model(Vec<(NodeId, Plain)>);

impl Model {
    fn read(document: &Document, ids: &[NodeId]) -> Model {
        let plain = |&n: &NodeId| {
            let own = matches!(
                document.kind(n),
                NodeKind::Text
                    | NodeKind::CData
                    | NodeKind::Comment
                    | NodeKind::ProcessingInstruction
            );
            let plain = Plain {
                kind: document.kind(n),
                name: (
                    document.namespace(n).to_owned(),
                    document.local_name(n).to_owned(),
                ),
                text: if own {
                    document.text(n).to_owned()
                } else {
                    String::new()
                },
                attributes: document
                    .attributes(n)
                    .map(|a| {
                        (
                            a.namespace.to_owned(),
                            a.local.to_owned(),
                            a.value.to_owned(),
                        )
                    })
                    .collect(),
                children: document.children(n).collect(),
            };
            (n, plain)
        };
        Model(ids.iter().map(plain).collect())
    }

    fn get(&mut self, n: NodeId) -> &mut Plain {
        &mut self
            .0
            .iter_mut()
            .find(|(id, _)| *id == n)
            .expect("a known node")
            .1
    }

    fn parent(&self, n: NodeId) -> Option<NodeId> {
        let holds = |(_, p): &&(NodeId, Plain)| p.children.contains(&n);
        self.0.iter().find(holds).map(|(id, _)| *id)
    }

    fn is_below(&self, n: NodeId, top: NodeId) -> bool {
        let mut at = Some(n);
        while let Some(here) = at {
            if here == top {
                return true;
            }
            at = self.parent(here);
        }
        false
    }

    fn takes(&mut self, parent: NodeId, child: NodeId) -> bool {
        matches!(
            self.get(parent).kind,
            NodeKind::Element | NodeKind::Document
        ) && self.get(child).kind != NodeKind::Document
            && !self.is_below(parent, child)
    }

    fn detach(&mut self, n: NodeId) {
        for (_, plain) in &mut self.0 {
            plain.children.retain(|c| *c != n);
        }
    }

    /// Puts `new` at the place of `sibling`, `after` it or before it.
    fn insert(&mut self, sibling: NodeId, new: NodeId, after: usize) -> bool {
        let Some(parent) = self.parent(sibling) else {
            return false;
        };
        if sibling == new || !self.takes(parent, new) {
            return false;
        }
        self.detach(new);
        let children = &mut self.get(parent).children;
        let at = children
            .iter()
            .position(|c| *c == sibling)
            .expect("a sibling");
        children.insert(at + after, new);
        true
    }

    fn add(&mut self, n: NodeId, kind: NodeKind, name: (&str, &str), text: &str) {
        let plain = Plain {
            kind,
            name: (name.0.to_owned(), name.1.to_owned()),
            text: text.to_owned(),
            attributes: Vec::new(),
            children: Vec::new(),
        };
        self.0.push((n, plain));
    }
}

/// Operation, two nodes, a choice of names and texts.
type Step = (u8, usize, usize, usize);

fn apply(document: &mut Document, model: &mut Model, (operation, first, second, choice): Step) {
    let texts = [
        "",
        "t",
        "<&>\r\"",
        "long enough to get a place of its own, for what it is worth",
    ];
    let names = [("", "n"), ("u", "n"), ("v", "m"), ("", "o")];
    let pick = |index: usize| model.0[index % model.0.len()].0;
    let (a, b) = (pick(first), pick(second));
    let text = texts[choice % texts.len()];
    let (namespace, local) = names[choice % names.len()];
    match operation % 13 {
        0 => {
            document.append_child(a, b);
            if model.takes(a, b) {
                model.detach(b);
                model.get(a).children.push(b);
            }
        }
        1 => {
            document.prepend_child(a, b);
            if model.takes(a, b) {
                model.detach(b);
                model.get(a).children.insert(0, b);
            }
        }
        2 => {
            document.insert_before(a, b);
            model.insert(a, b, 0);
        }
        3 => {
            document.insert_after(a, b);
            model.insert(a, b, 1);
        }
        4 => {
            document.detach(a);
            model.detach(a);
        }
        5 => {
            document.replace(a, b);
            if model.insert(a, b, 0) {
                model.detach(a);
            }
        }
        6 => {
            document.set_attribute(a, "p", namespace, local, text);
            let plain = model.get(a);
            if plain.kind == NodeKind::Element {
                match plain
                    .attributes
                    .iter_mut()
                    .find(|t| t.0 == namespace && t.1 == local)
                {
                    Some(known) => known.2 = text.to_owned(),
                    None => plain.attributes.push((
                        namespace.to_owned(),
                        local.to_owned(),
                        text.to_owned(),
                    )),
                }
            }
        }
        7 => {
            let removed = document.remove_attribute(a, namespace, local);
            let plain = model.get(a);
            let before = plain.attributes.len();
            plain
                .attributes
                .retain(|t| t.0 != namespace || t.1 != local);
            assert_eq!(removed, before > plain.attributes.len());
        }
        8 if model.get(a).kind == NodeKind::Element => {
            document.set_text(a, text);
            let old = std::mem::take(&mut model.get(a).children);
            let new: Vec<NodeId> = document.children(a).collect();
            assert_eq!(new.len(), usize::from(!text.is_empty()));
            for &n in &new {
                if old.contains(&n) {
                    model.get(n).text = text.to_owned();
                } else {
                    model.add(n, NodeKind::Text, ("", ""), text);
                }
            }
            model.get(a).children = new;
        }
        8 => {
            document.set_text(a, text);
            let plain = model.get(a);
            if plain.kind != NodeKind::Document {
                plain.text = text.to_owned();
            }
        }
        9 => {
            let n = document.create_element("", namespace, local);
            model.add(n, NodeKind::Element, (namespace, local), "");
        }
        10 => {
            let n = document.create_text(text);
            model.add(n, NodeKind::Text, ("", ""), text);
        }
        11 => {
            let n = document.create_comment(text);
            model.add(n, NodeKind::Comment, ("", ""), text);
        }
        _ => {
            let n = document.create_pi("t", text);
            model.add(n, NodeKind::ProcessingInstruction, ("", "t"), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_do_what_the_simplest_tree_does(
        steps in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 1..40),
    ) {
        let text = "<r xmlns:p='u'><a x='1' p:y='2'>t<b/><!--c--></a><?i d?><p:c><![CDATA[e]]><b><b/></b></p:c></r>";
        let mut document = super::document(text);
        let top = document.document_node();
        let ids: Vec<NodeId> = std::iter::once(top).chain(document.descendants(top).filter(|n| *n != top)).collect();
        let mut model = Model::read(&document, &ids);
        for step in steps {
            apply(&mut document, &mut model, step);
            let ids: Vec<NodeId> = model.0.iter().map(|(id, _)| *id).collect();
            let now = Model::read(&document, &ids);
            prop_assert_eq!(&now.0, &model.0, "after {:?}", step);
            for id in ids {
                prop_assert_eq!(document.parent(id), model.parent(id));
            }
        }
        super::check_links(&document);
    }
}
