//! `<drop/>`: ends the flow without an answer (spec 01 §7.4).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::expr::Need;
use crate::message::{Fault, Message, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "drop",
    summary: "Ends the flow without an answer.",
    parse,
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    reader.mediator_attributes(element, &[]);
    Some(Arc::new(Drop))
}

#[derive(Debug)]
struct Drop;

impl Definition for Drop {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(Drop))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

impl Mediate for Drop {
    fn need(&self) -> Need {
        Need::Nothing
    }

    fn mediate(&self, _cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        message.to = To::Client;
        Ok(Flow::Stop)
    }
}
