//! How far named endpoints lead. Groups ask their children whether they are ready, and these ask those that
//! their keys name: a few endpoints that refer to each other several times each would ask for ever.

use super::{Boxed, Described, Endpoint, Kind, MAX_NESTING, Parent, SendContext, Sent};
use crate::diag::{Diagnostic, codes};
use crate::message::{EndpointId, Fault, Message};
use std::sync::Arc;

/// Most endpoints that one named endpoint may lead to over all its ways.
const MOST: u64 = 10_000;

/// Takes endpoints out of use that lead to too many others, and says which.
pub fn bound(list: &mut [Arc<Endpoint>]) -> Vec<Diagnostic> {
    let references: Vec<Vec<EndpointId>> = list
        .iter()
        .map(|endpoint| {
            let mut out = Vec::new();
            endpoint.kind.references(&mut out);
            out
        })
        .collect();
    if references.iter().all(Vec::is_empty) {
        return Vec::new();
    }
    // By the number of references that may still be followed: a circle ends there, too.
    let mut ways = vec![1_u64; list.len()];
    for _ in 0..MAX_NESTING {
        let of = |id: &EndpointId| ways.get(id.0 as usize).copied().unwrap_or(1);
        ways = references
            .iter()
            .map(|keys| keys.iter().map(of).fold(1, u64::saturating_add))
            .collect();
    }
    let mut out = Vec::new();
    for (endpoint, ways) in list.iter_mut().zip(ways) {
        if ways <= MOST {
            continue;
        }
        out.push(
            Diagnostic::error(
                codes::ENDPOINT_LIMIT,
                endpoint.place.clone(),
                format!(
                    "the endpoint \"{}\" leads to more than {MOST} endpoints through the keys in it, and is not used",
                    endpoint.label()
                ),
            )
            .help("let endpoints that refer to each other do so once only, and not in circles"),
        );
        *endpoint = Arc::new(Endpoint {
            name: endpoint.name.clone(),
            kind: Box::new(Unusable),
            fingerprint: endpoint.fingerprint,
            place: endpoint.place.clone(),
        });
    }
    out
}

/// Stands for an endpoint that is not used.
#[derive(Debug)]
struct Unusable;

const WHY: &str = "it leads to too many endpoints";

impl Kind for Unusable {
    fn send<'a>(
        &'a self,
        _cx: SendContext<'a>,
        _message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(std::future::ready(Err(Fault::mediation(format!(
            "The endpoint cannot be used: {WHY}"
        )))))
    }

    fn is_ready(&self, _cx: &SendContext<'_>) -> bool {
        false
    }

    fn switch(&self, _on: bool) -> Result<(), &'static str> {
        Err(WHY)
    }

    fn describe(&self, _now: u64, _out: &mut Vec<Described>) {}
}
