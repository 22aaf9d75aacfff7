//! Jaxen's own way through a path, for the paths where it is not that of XPath 1.0.
//!
//! A step with a node type as its test (`node()`, `text()`, …) leaves out what it met from an
//! earlier context node *before* it counts positions, so `//x/preceding::text()[1]` may select
//! nothing for all but the first `x`. Steps with names count first. What comes out then depends on
//! the order of the context nodes, which here is that of Jaxen's lists.

use super::Node;
use super::axes::Test;
use super::eval::{Evaluator, NodeSet, Result};
use super::program::{Axis, NodeTest, Path, Predicate, Start, Step};
use crate::xml::{Document, NodeId};
use std::collections::HashSet;

impl Step {
    /// Whether positions in this step depend on what earlier context nodes found.
    fn counts_new_nodes_only(&self) -> bool {
        self.is_by_type()
            && matches!(
                self.axis,
                Axis::Descendant
                    | Axis::DescendantOrSelf
                    | Axis::Ancestor
                    | Axis::AncestorOrSelf
                    | Axis::FollowingSibling
                    | Axis::PrecedingSibling
                    | Axis::Following
                    | Axis::Preceding
            )
            && !self.predicates.iter().all(Predicate::is_filter)
    }

    fn is_by_type(&self) -> bool {
        matches!(
            self.test,
            NodeTest::Any | NodeTest::Text | NodeTest::Comment | NodeTest::Instruction(_)
        )
    }
}

impl Path {
    /// Whether the path must be walked as Jaxen walks it. The first step from the context node or
    /// the root has one context node only.
    pub(super) fn has_overlap(&self) -> bool {
        let alone = usize::from(!matches!(self.start, Start::Filter(..)));
        let later = self.steps.iter().skip(alone);
        later.into_iter().any(Step::counts_new_nodes_only)
    }
}

impl<'p, 'a: 'p> Evaluator<'p, 'a> {
    pub(super) fn overlapping_steps(
        &mut self,
        start: NodeSet<'a>,
        steps: &'p [Step],
    ) -> Result<NodeSet<'a>> {
        let mut list = start.nodes;
        for step in steps {
            let mut seen: HashSet<(*const Document, NodeId, Option<u32>)> = HashSet::new();
            let mut is_new = |n: &Node<'a>| seen.insert((n.document, n.node, n.attribute));
            let mut found = Vec::new();
            for from in list {
                let mut here = Vec::new();
                let test = Test::new(&step.test, step.axis, |slot, name| {
                    self.name_id(slot, name, from.document)
                });
                self.candidates(step.axis, test, from, &mut |_, node| {
                    here.push(node);
                    Ok(false)
                })?;
                if step.is_by_type() {
                    here.retain(&mut is_new);
                }
                for predicate in &step.predicates {
                    here = self.apply(here, predicate)?;
                }
                if !step.is_by_type() {
                    here.retain(&mut is_new);
                }
                found.append(&mut here);
            }
            if step.axis.is_reverse() && step.axis != Axis::Parent {
                found.reverse();
            }
            list = found;
        }
        self.put_in_order(&mut list)?;
        Ok(NodeSet {
            nodes: list,
            flat: false,
        })
    }
}
