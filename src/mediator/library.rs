//! What a flow can refer to, and running sequences with their fault handlers.

use super::{Context, Flow, List, OnError, Sequence};
use crate::endpoint::Endpoints;
use crate::expr::LocalEntries;
use crate::message::{Fault, Message, SequenceId};
use std::collections::HashMap;
use std::sync::Arc;

/// Sequences, endpoints and local entries of one plan. Immutable.
#[derive(Debug, Default)]
pub struct Library {
    /// All sequences; anonymous ones (in, out and fault sequences) included.
    pub sequences: Vec<Sequence>,
    /// Ids of named sequences.
    pub by_name: HashMap<String, SequenceId>,
    /// Named endpoints.
    pub endpoints: Endpoints,
    /// Local entries and registry resources.
    pub entries: Arc<LocalEntries>,
    /// The sequence `main`.
    pub main: Option<SequenceId>,
    /// The sequence `fault`.
    pub fault: Option<SequenceId>,
    /// The sequence `pre-mediate`.
    pub pre_mediate: Option<SequenceId>,
}

impl Library {
    /// The sequence of an id.
    pub fn sequence(&self, id: SequenceId) -> Option<&Sequence> {
        self.sequences.get(id.0 as usize)
    }

    /// The sequence of a name.
    pub fn named(&self, name: &str) -> Option<SequenceId> {
        self.by_name.get(name).copied()
    }
}

/// Where responses and faults of a flow go: the entry point's out and fault sequences.
#[derive(Debug, Clone)]
pub struct Route {
    /// `{proxy:Name} ` in log lines; empty for the main sequence.
    pub label: Arc<str>,
    /// What a response of `send` runs.
    pub out: Out,
    /// The handler at the bottom of the fault stack.
    pub fault: Option<SequenceId>,
    /// That handler was written by the user; it is not the built-in one.
    pub own_fault: bool,
}

/// The out path.
#[derive(Debug, Clone)]
pub enum Out {
    /// No out sequence: the response goes to the client (proxies).
    Client,
    /// This sequence.
    Sequence(SequenceId),
    /// A key that is not defined; faults when it is reached.
    Missing(String),
    /// The main sequence again, now as a response.
    Main,
}

/// Runs a sequence: its `onError` handler is on the stack while it runs, and stays there when it
/// did not complete (spec 01 §4).
///
/// # Errors
/// The fault of a mediator, or the nesting limit.
pub async fn run_sequence(
    cx: Context<'_>,
    message: &mut Message,
    id: SequenceId,
) -> Result<Flow, Fault> {
    let Some(sequence) = cx.library.sequence(id) else {
        return Err(Fault::mediation("the sequence is not part of this plan"));
    };
    let limit = cx.services.settings.limits.max_sequence_depth;
    message.depth += 1;
    let outcome = if message.depth as usize > limit {
        Err(Fault::mediation(format!(
            "Sequences call each other more than {limit} levels deep (at {})",
            sequence.label()
        )))
    } else {
        run_here(cx, message, sequence, &sequence.list).await
    };
    message.depth -= 1;
    for fork in &mut message.forks {
        fork.depth = fork.depth.saturating_sub(1);
    }
    outcome
}

async fn run_here(
    cx: Context<'_>,
    message: &mut Message,
    sequence: &Sequence,
    list: &List,
) -> Result<Flow, Fault> {
    let pushed = match &sequence.on_error {
        OnError::None => false,
        OnError::Sequence(handler) => {
            message.fault_stack.push(*handler);
            true
        }
        OnError::Missing(name) => {
            tracing::warn!(
                target: "SequenceMediator",
                "onError handler : {name} for sequence : {} cannot be found", sequence.label()
            );
            false
        }
    };
    let flow = list.run(cx, message).await;
    if pushed {
        for fork in &mut message.forks {
            fork.fault_stack.pop();
        }
        if let Ok(Flow::Continue) = flow {
            message.fault_stack.pop();
        }
    }
    flow
}
