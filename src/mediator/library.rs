//! What a flow can refer to, and running sequences with their fault handlers.

use super::rest::Leave;
use super::{Context, Flow, OnError, Sequence, SequenceTemplate, TemplateId};
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
    /// Sequence templates.
    pub templates: Vec<SequenceTemplate>,
    /// Their ids.
    pub template_names: HashMap<String, TemplateId>,
    /// Named endpoints.
    pub endpoints: Endpoints,
    /// Local entries.
    pub entries: LocalEntries,
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

    /// The sequence template of an id.
    pub fn template(&self, id: TemplateId) -> Option<&SequenceTemplate> {
        self.templates.get(id.0 as usize)
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
    let before = descend(cx, message, sequence.label())?;
    let leave = match push_handler(message, &sequence.on_error, sequence.label()) {
        true => Leave::Handler,
        false => Leave::Nothing,
    };
    let flow = sequence.list.run_from(cx, message, 0, leave).await;
    message.depth = before;
    if let Ok(Flow::Continue) = flow {
        leave.apply(message);
    }
    flow
}

/// Goes one level deeper in the nesting of sequences and templates. Whoever does puts the depth that
/// comes back in place again afterwards.
///
/// # Errors
/// The nesting limit.
pub(super) fn descend(cx: Context<'_>, message: &mut Message, label: &str) -> Result<u32, Fault> {
    let limit = cx.services.settings.limits.max_sequence_depth;
    let before = message.depth;
    if before as usize >= limit {
        return Err(Fault::mediation(format!(
            "Sequences call each other more than {limit} levels deep (at {label})"
        )));
    }
    message.depth += 1;
    Ok(before)
}

/// Puts an `onError` handler on the stack; whether there is one. One that is not defined leaves the
/// enclosing handler in charge.
pub(super) fn push_handler(message: &mut Message, on_error: &OnError, label: &str) -> bool {
    match on_error {
        OnError::None => false,
        OnError::Sequence(handler) => {
            message.fault_stack.push(*handler);
            true
        }
        OnError::Missing(name) => {
            tracing::warn!(
                target: "SequenceMediator",
                "onError handler : {name} for sequence : {label} cannot be found"
            );
            false
        }
    }
}
