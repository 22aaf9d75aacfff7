//! What stands in for a mediator that is not supported, when the settings say that such a one faults
//! instead of being refused.

use super::{Context, Definition, Flow, Linker, Mediate, Run};
use crate::expr::Need;
use crate::message::{Fault, Message};
use std::sync::Arc;

/// Faults whenever it is reached.
#[derive(Debug)]
pub(super) struct Refused(Arc<str>);

impl Refused {
    /// Faults with this.
    pub(super) fn new(problem: String) -> Refused {
        Refused(problem.into())
    }
}

impl Definition for Refused {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(Refused(self.0.clone())))
    }
}

impl Mediate for Refused {
    fn need(&self) -> Need {
        Need::Nothing
    }

    fn mediate(&self, _cx: &Context<'_>, _message: &mut Message) -> Result<Flow, Fault> {
        Err(Fault::mediation(&*self.0))
    }
}
