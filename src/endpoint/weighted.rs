//! The algorithms of `<loadbalance>`: round robin, and the two that go by weights
//! (spec 02 §9.3–§9.4).

use super::attempts::Refused;
use super::loadbalance::round_robin;
use super::parse::{EndpointDef, KindDef};
use super::property::EndpointProperty;
use super::store::GroupState;
use super::{Endpoint, SendContext};
use crate::diag::{Diagnostic, codes};
use crate::syntax::{Element, Reader};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

const PACKAGE: &str = "org.apache.synapse.endpoints.algorithms.";
const WEIGHT: &str = "loadbalance.weight";
const LEAST: &str = "loadbalance.weight.min";
const MOST: &str = "loadbalance.weight.max";
const ROUNDS: &str = "loadbalance.weightedRRLC.roundsPerRecal";
const THREAD_LOCAL: &str = "loadbalance.threadLocal";

/// Which algorithm the attributes name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlgorithmName {
    /// One after the other, ready ones only.
    RoundRobin,
    /// So many in a row as the weight says.
    WeightedRoundRobin,
    /// The same with weights that follow the load.
    WeightedRrlc,
}

/// Weights of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    start: i64,
    least: i64,
    most: i64,
}

/// What a group's artifact says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlgorithmDef {
    /// Round robin.
    RoundRobin,
    /// Weighted round robin: weights in the order of the children.
    Weighted(Vec<Weight>),
    /// Weighted by load: the same, and rounds between two looks at it.
    Rrlc(Vec<Weight>, u64),
}

/// Reads `policy` and `algorithm`.
pub fn parse_name(reader: &mut Reader, element: Element<'_, '_>) -> AlgorithmName {
    if element.has_attribute("policy") && element.has_attribute("algorithm") {
        let place = reader.attribute_place(element, "algorithm");
        reader.error(
            codes::CONFLICT,
            place,
            "<loadbalance> has \"policy\" or \"algorithm\", not both",
        );
    }
    if let Some(policy) = element.attribute("policy")
        && policy.trim() != "roundRobin"
    {
        let place = reader.attribute_place(element, "policy");
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("Unsupported algorithm {policy} specified for the load balance endpoint"),
            )
            .help("write policy=\"roundRobin\", or leave it out"),
        );
    }
    let Some(algorithm) = element.attribute("algorithm") else {
        return AlgorithmName::RoundRobin;
    };
    match algorithm.trim().strip_prefix(PACKAGE) {
        Some("RoundRobin") => return AlgorithmName::RoundRobin,
        Some("WeightedRoundRobin") => return AlgorithmName::WeightedRoundRobin,
        Some("WeightedRRLCAlgorithm") => return AlgorithmName::WeightedRrlc,
        _ => {}
    }
    let place = reader.attribute_place(element, "algorithm");
    reader.report(
        Diagnostic::error(
            codes::INVALID_VALUE,
            place,
            format!("Cannot instantiate LoadbalanceAlgorithm implementation class {algorithm}"),
        )
        .help(format!(
            "use one of {PACKAGE}RoundRobin, {PACKAGE}WeightedRoundRobin, {PACKAGE}WeightedRRLCAlgorithm"
        )),
    );
    AlgorithmName::RoundRobin
}

/// Reads the weights of the children; a child without its own has that of the group.
pub fn parse_weights(
    reader: &mut Reader,
    name: AlgorithmName,
    children: &[Arc<EndpointDef>],
    group: &[EndpointProperty],
) -> AlgorithmDef {
    if name == AlgorithmName::RoundRobin {
        return AlgorithmDef::RoundRobin;
    }
    if let Some(property) = group.iter().find(|p| p.name == THREAD_LOCAL) {
        reader.warning(
            codes::INVALID_VALUE,
            property.place.clone(),
            "loadbalance.threadLocal has no effect: the group counts for all threads",
        );
    }
    let loads = name == AlgorithmName::WeightedRrlc;
    let mut weights = Vec::new();
    for child in children {
        let mut number = |name: &str| whole(reader, child, group, name);
        let start = number(WEIGHT);
        let (least, most) = (number(LEAST), number(MOST));
        if start.is_none() && loads {
            reader.report(
                Diagnostic::error(
                    codes::MISSING_ELEMENT,
                    child.head.place.clone(),
                    "WeightedRRLCAlgorithm needs a weight for each endpoint",
                )
                .help(format!("add <property name=\"{WEIGHT}\" value=\"1\"/>")),
            );
        }
        if loads && !matches!(child.kind, KindDef::Address(_) | KindDef::Wsdl(_)) {
            reader.error(
                codes::CONFLICT,
                child.head.place.clone(),
                "WeightedRRLCAlgorithm goes with <address> and <wsdl> endpoints only",
            );
        }
        let start = start.unwrap_or(1);
        weights.push(Weight {
            start,
            least: least.unwrap_or((start - 2).max(0)),
            most: most.unwrap_or(start + 2),
        });
    }
    if loads {
        let rounds = group
            .iter()
            .find(|p| p.name == ROUNDS)
            .and_then(|p| p.literal())
            .and_then(|t| t.trim().parse().ok())
            .filter(|n| *n > 0)
            .unwrap_or(1);
        return AlgorithmDef::Rrlc(weights, rounds);
    }
    AlgorithmDef::Weighted(weights)
}

/// A whole number property of a child or of its group.
fn whole(
    reader: &mut Reader,
    child: &EndpointDef,
    group: &[EndpointProperty],
    name: &str,
) -> Option<i64> {
    let property = child
        .properties
        .iter()
        .chain(group)
        .find(|p| p.name == name)?;
    let text = property.literal().unwrap_or_default();
    match text.trim().parse::<i32>() {
        Ok(n) if n > 0 || (n == 0 && name != WEIGHT) => Some(i64::from(n)),
        Ok(_) => {
            reader.error(
                codes::INVALID_VALUE,
                property.place.clone(),
                "Weight must be greater than zero",
            );
            Some(1)
        }
        Err(_) => {
            reader.error(
                codes::INVALID_VALUE,
                property.place.clone(),
                format!("\"{name}\" needs a whole number as its value"),
            );
            Some(1)
        }
    }
}

/// Where a weighted group is. Kept over reloads while the group stays the same.
#[derive(Debug, Default)]
pub struct Turn {
    /// Position in the order of turns.
    at: usize,
    /// Messages the child has got in this turn.
    used: i64,
    rounds: u64,
    /// Weights as they are now, in the order of turns.
    now: Vec<i64>,
}

/// An algorithm as it runs.
#[derive(Debug)]
pub struct Algorithm {
    weights: Option<Vec<Weight>>,
    /// Children in the order of turns.
    order: Vec<usize>,
    /// Rounds between two looks at the load; 0 never looks.
    rounds: u64,
    /// Requests under way per child, in the order of the children.
    load: Vec<AtomicUsize>,
}

/// A request under way at a child.
pub struct Busy<'a>(Option<&'a AtomicUsize>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Algorithm {
    /// What runs.
    pub fn new(def: &AlgorithmDef, children: usize) -> Algorithm {
        let (weights, rounds) = match def {
            AlgorithmDef::RoundRobin => (None, 0),
            AlgorithmDef::Weighted(weights) => (Some(weights.clone()), 0),
            AlgorithmDef::Rrlc(weights, rounds) => (Some(weights.clone()), *rounds),
        };
        let mut order: Vec<usize> = (0..children).collect();
        if let (Some(weights), true) = (&weights, rounds > 0) {
            order.sort_by_key(|i| std::cmp::Reverse(weights.get(*i).map_or(0, |w| w.start)));
        }
        Algorithm {
            weights,
            order,
            rounds,
            load: (0..children).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// The child whose turn it is. Weighted algorithms do not ask whether it is ready, as in the
    /// reference: a suspended child keeps its turns.
    pub(super) fn pick<'e>(
        &self,
        children: &'e [Arc<Endpoint>],
        state: &GroupState,
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        if !self.is_weighted() {
            return round_robin(children, state, cx, refused);
        }
        if refused.len() >= children.len() {
            return None;
        }
        let weights = self.weights.as_ref()?;
        let mut turn = state.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // The others may have no weight at the moment, so this ends by itself.
        for _ in 0..=children.len() {
            let child = children.get(self.next(&mut turn, weights)?)?;
            if !refused.contains(child) {
                return Some(child);
            }
            // Its other turns of this round are over as well.
            turn.used = i64::MAX;
        }
        None
    }

    /// Whether it goes by weights.
    pub fn is_weighted(&self) -> bool {
        self.weights.is_some()
    }

    /// The index of the child whose turn it is, by weights, among those that are usable; of all when
    /// none is.
    pub fn pick_index(&self, state: &GroupState, usable: &[bool]) -> Option<usize> {
        let weights = self.weights.as_ref()?;
        let mut turn = state.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..=self.order.len() {
            let index = self.next(&mut turn, weights)?;
            if usable.get(index) == Some(&true) || !usable.contains(&true) {
                return Some(index);
            }
            // Its other turns of this round are over as well.
            turn.used = i64::MAX;
        }
        // Those that are usable have no weight at the moment.
        self.next(&mut turn, weights)
    }

    /// Counts a request under way at a child.
    pub fn busy(&self, children: &[Arc<Endpoint>], child: &Arc<Endpoint>) -> Busy<'_> {
        if self.rounds == 0 {
            return Busy(None);
        }
        let count = children
            .iter()
            .position(|c| Arc::ptr_eq(c, child))
            .and_then(|at| self.load.get(at));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Busy(count)
    }

    fn next(&self, turn: &mut Turn, weights: &[Weight]) -> Option<usize> {
        let count = self.order.len();
        if turn.now.len() != count {
            *turn = Turn {
                now: self.starts(weights),
                ..Turn::default()
            };
        }
        // One round finds a child with a weight; if the load took all weights away, the second one
        // starts from the configured ones.
        for _ in 0..=2 * count {
            let weight = *turn.now.get(turn.at)?;
            if turn.used < weight {
                turn.used += 1;
                return self.order.get(turn.at).copied();
            }
            turn.used = 0;
            turn.at += 1;
            if turn.at == count {
                turn.at = 0;
                turn.rounds += 1;
                if self.rounds > 0 && turn.rounds.is_multiple_of(self.rounds) {
                    self.weigh(turn, weights);
                }
            }
        }
        None
    }

    fn starts(&self, weights: &[Weight]) -> Vec<i64> {
        self.order
            .iter()
            .map(|i| weights.get(*i).map_or(1, |w| w.start))
            .collect()
    }

    /// New weights from the load: who has less than its share gets more (spec 02 §9.4).
    fn weigh(&self, turn: &mut Turn, weights: &[Weight]) {
        let load: Vec<usize> = self
            .order
            .iter()
            .map(|i| self.load.get(*i).map_or(0, |n| n.load(Ordering::Relaxed)))
            .collect();
        let total: usize = load.iter().sum();
        let sum: i64 = turn.now.iter().sum();
        if total == 0 || sum == 0 {
            if sum == 0 {
                turn.now = self.starts(weights);
            }
            return;
        }
        for ((now, load), index) in turn.now.iter_mut().zip(&load).zip(&self.order) {
            let Some(limits) = weights.get(*index) else {
                continue;
            };
            // Both are small numbers.
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            let step = {
                let difference = *now as f64 / sum as f64 - *load as f64 / total as f64;
                let moved = difference * total as f64;
                let rounded = if moved - moved.floor() <= 0.5 {
                    moved.floor()
                } else {
                    moved.ceil()
                };
                rounded as i64
            };
            *now = (*now + step).clamp(limits.least.min(limits.most), limits.most);
        }
        if turn.now.iter().sum::<i64>() == 0 {
            turn.now = self.starts(weights);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(starts: &[i64]) -> Vec<Weight> {
        starts
            .iter()
            .map(|&start| Weight {
                start,
                least: (start - 2).max(0),
                most: start + 2,
            })
            .collect()
    }

    fn run(algorithm: &Algorithm, turn: &mut Turn, times: usize) -> String {
        let weights = algorithm.weights.clone().unwrap();
        (0..times)
            .map(|_| ["A", "B", "C"][algorithm.next(turn, &weights).unwrap()])
            .collect()
    }

    #[test]
    fn weighted_round_robin_goes_in_the_order_of_the_artifact() {
        let algorithm = Algorithm::new(&AlgorithmDef::Weighted(weights(&[1, 2, 3])), 3);
        assert_eq!(run(&algorithm, &mut Turn::default(), 12), "ABBCCCABBCCC");
        let algorithm = Algorithm::new(&AlgorithmDef::Weighted(weights(&[1, 2, 1])), 3);
        assert_eq!(run(&algorithm, &mut Turn::default(), 8), "ABBCABBC");
    }

    #[test]
    fn rrlc_starts_with_the_heaviest_and_follows_the_load() {
        let algorithm = Algorithm::new(&AlgorithmDef::Rrlc(weights(&[1, 2, 3]), 1), 3);
        let mut turn = Turn::default();
        assert_eq!(run(&algorithm, &mut turn, 6), "CCCBBA");
        // Without load the weights stay.
        assert_eq!(run(&algorithm, &mut turn, 6), "CCCBBA");
        // All requests hang at C: it loses weight, down to its least, and the others gain.
        algorithm.load[2].store(12, Ordering::Relaxed);
        assert_eq!(run(&algorithm, &mut turn, 8), "CBBBBAAA");
    }

    #[test]
    fn a_child_that_is_not_usable_loses_its_turns_whatever_its_weight() {
        let algorithm = Algorithm::new(&AlgorithmDef::Weighted(weights(&[50, 1])), 2);
        let state = GroupState::default();
        for _ in 0..5 {
            assert_eq!(algorithm.pick_index(&state, &[false, true]), Some(1));
        }
        assert_eq!(algorithm.pick_index(&state, &[false, false]), Some(0));
        assert_eq!(algorithm.pick_index(&state, &[true, true]), Some(0));
    }

    #[test]
    fn groups_whose_weights_are_used_up_start_again() {
        let none = [Weight {
            start: 1,
            least: 0,
            most: 0,
        }; 3];
        let algorithm = Algorithm::new(&AlgorithmDef::Rrlc(none.to_vec(), 1), 3);
        algorithm.load[0].store(1, Ordering::Relaxed);
        assert_eq!(run(&algorithm, &mut Turn::default(), 9), "ABCABCABC");
    }
}
