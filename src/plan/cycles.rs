//! Sequences that call each other in a circle. A warning, since a condition may end it.

use crate::diag::{Diagnostic, codes};
use crate::mediator::{Reference, SequenceDef};
use crate::message::SequenceId;
use std::collections::HashMap;

/// One warning per reference that closes a circle.
pub(super) fn find(sequences: &[&SequenceDef], references: &[Reference]) -> Vec<Diagnostic> {
    let mut edges: HashMap<SequenceId, Vec<&Reference>> = HashMap::new();
    for reference in references {
        edges.entry(reference.from).or_default().push(reference);
    }
    let mut done: HashMap<SequenceId, bool> = HashMap::new();
    let mut out = Vec::new();
    for index in 0..sequences.len() {
        let start = SequenceId(super::id(index));
        if done.contains_key(&start) {
            continue;
        }
        // Depth first without recursion: `false` is on the way, `true` is finished.
        let mut stack = vec![(start, 0_usize)];
        done.insert(start, false);
        while let Some((at, next)) = stack.pop() {
            let Some(reference) = edges.get(&at).and_then(|e| e.get(next)) else {
                done.insert(at, true);
                continue;
            };
            stack.push((at, next + 1));
            match done.get(&reference.to) {
                None => {
                    done.insert(reference.to, false);
                    stack.push((reference.to, 0));
                }
                Some(false) => {
                    let name = sequences
                        .get(reference.to.0 as usize)
                        .map_or("", |s| s.name.as_str());
                    out.push(
                        Diagnostic::warning(
                            codes::SEQUENCE_CYCLE,
                            reference.place.clone(),
                            format!("the sequence \"{name}\" is called again before it has ended"),
                        )
                        .help("without a condition that ends it, the message faults at the nesting limit"),
                    );
                }
                Some(true) => {}
            }
        }
    }
    out
}
