//! What of the flow stands behind the mediator that runs. Copies that waited for a response go on
//! there, as the reference's continuation stack lets them (spec 01 §8.3).

use super::{Context, Flow, List};
use crate::message::{Fault, Message};

/// What has to be undone when a list has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nothing.
    Nothing,
    /// A fault handler was put on the stack for the list.
    Handler,
    /// The list belongs to a template: its parameters, and so many fault handlers.
    Template(u8),
}

impl Leave {
    /// Undoes it.
    pub(super) fn apply(self, message: &mut Message) {
        let handlers = match self {
            Leave::Nothing => 0,
            Leave::Handler => 1,
            Leave::Template(handlers) => {
                message.templates.pop();
                handlers
            }
        };
        let left = message
            .fault_stack
            .len()
            .saturating_sub(usize::from(handlers));
        message.fault_stack.truncate(left);
    }
}

/// A place in a list that is running.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The list.
    pub list: &'a List,
    /// The step that comes next.
    pub next: usize,
    /// What is undone at the end of the list.
    pub leave: Leave,
    /// What stands behind the list.
    pub up: Rest<'a>,
}

/// A frame that outlives the flow that it was taken from.
#[derive(Clone, Debug)]
pub struct Kept {
    list: List,
    next: usize,
    leave: Leave,
}

/// The rest of a flow, from the inside out.
#[derive(Clone, Copy, Debug, Default)]
pub enum Rest<'a> {
    /// Nothing stands behind.
    #[default]
    Nothing,
    /// Lists that are running.
    Within(&'a Frame<'a>),
    /// Lists that were kept, innermost first.
    Kept(&'a [Kept]),
}

impl<'a> Rest<'a> {
    fn split(self) -> Option<(&'a List, usize, Leave, Rest<'a>)> {
        match self {
            Rest::Nothing => None,
            Rest::Within(frame) => Some((frame.list, frame.next, frame.leave, frame.up)),
            Rest::Kept(frames) => {
                let (first, others) = frames.split_first()?;
                Some((&first.list, first.next, first.leave, Rest::Kept(others)))
            }
        }
    }

    /// The same, for a part of the flow that runs beside it.
    pub fn keep(self) -> Vec<Kept> {
        let mut out = Vec::new();
        let mut rest = self;
        while let Some((list, next, leave, up)) = rest.split() {
            out.push(Kept {
                list: list.clone(),
                next,
                leave,
            });
            rest = up;
        }
        out
    }
}

/// Goes on behind the mediator that runs, to the end of the flow.
///
/// # Errors
/// The fault of a mediator there.
pub(super) async fn resume(cx: Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
    let mut rest = cx.rest;
    while let Some((list, next, leave, up)) = rest.split() {
        let here = Context { rest: up, ..cx };
        if list.run_from(here, message, next, leave).await? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        leave.apply(message);
        rest = up;
    }
    Ok(Flow::Continue)
}
