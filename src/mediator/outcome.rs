//! What a mediator runs for one of its outcomes (`onAccept`, `onCacheHit` …): a sequence by key, or
//! the children of an element.

use super::{Context, Flow, Linker, List, ListDef, run_sequence};
use crate::diag::Place;
use crate::mediator::describe::{Content, Tag};
use crate::message::{Fault, Message, SequenceId};
use crate::syntax::{Element, Reader};

/// An outcome as it is written.
#[derive(Debug)]
pub(super) enum OutcomeDef {
    /// Nothing is said.
    None,
    /// The key of a sequence, and where it stands.
    Key(String, Place),
    /// Inline mediators.
    List(ListDef),
}

/// What an outcome with its mediators inside accepts: no attributes.
const LIST: Tag = Tag::child("list", "Mediators.").holds(Content::Mediators);

impl OutcomeDef {
    /// Reads the attribute `name` of `element`, else its child `name`. A key wins.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> OutcomeDef {
        if let Some(key) = element.attribute(name) {
            return OutcomeDef::Key(key.to_owned(), reader.attribute_place(element, name));
        }
        match reader.child(element, name) {
            Some(child) => {
                LIST.check(reader, child);
                OutcomeDef::List(ListDef::parse(reader, child, &[]))
            }
            None => OutcomeDef::None,
        }
    }

    /// Resolves the key. One that is not defined is an error here and a fault when it is reached.
    pub(super) fn link(&self, linker: &mut Linker<'_>, step: &str) -> Outcome {
        match self {
            OutcomeDef::None => Outcome::None,
            OutcomeDef::Key(name, place) => {
                Outcome::Key(name.clone(), linker.sequence(name, place))
            }
            OutcomeDef::List(list) => Outcome::List(linker.within(step, |l| list.link(l))),
        }
    }
}

/// An outcome as it runs.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing runs.
    None,
    /// A sequence; without an id it is not defined.
    Key(String, Option<SequenceId>),
    /// These.
    List(List),
}

impl Outcome {
    /// Runs it; `None` when there is nothing to run. `name` is for the fault of an undefined key.
    pub(super) async fn run(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        name: &str,
    ) -> Result<Option<Flow>, Fault> {
        match self {
            Outcome::None => Ok(None),
            Outcome::Key(_, Some(id)) => run_sequence(cx, message, *id).await.map(Some),
            Outcome::Key(key, None) => Err(Fault::mediation(format!(
                "Unable to find {name} sequence with key : {key}"
            ))),
            Outcome::List(list) => list.run(cx, message).await.map(Some),
        }
    }
}
