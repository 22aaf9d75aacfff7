//! Splitting: the copies that `clone` and `iterate` make, and running them (spec 03 §9, §10).

use super::rest::resume;
use super::target::Target;
use super::{Context, Flow, settle};
use crate::message::{Fault, Message, SplitMark, Value};
use futures_util::StreamExt;
use futures_util::stream;
use std::sync::Arc;

/// The copies of one split, made one by one when there is room to run them.
pub(super) trait Parts: Send {
    /// The next copy and where it goes.
    fn next(&mut self) -> Option<(Message, usize)>;
}

/// How the copies of one split are marked.
#[derive(Debug)]
pub(super) struct Marks {
    mark: SplitMark,
    total: usize,
    next: usize,
}

impl Marks {
    /// Marks for `total` copies of a message.
    ///
    /// # Errors
    /// When these are more than one message may be split into.
    pub(super) fn new(
        cx: Context<'_>,
        original: &Message,
        id: Option<&Arc<str>>,
        total: usize,
    ) -> Result<Marks, Fault> {
        let limit = cx.services.settings.limits.max_split_parts;
        if total > limit {
            return Err(Fault::mediation(format!(
                "The message would be split into {total} parts; at most {limit} are allowed (myelin.max_split_parts)"
            )));
        }
        Ok(Marks {
            mark: SplitMark::of(original, id.cloned()),
            total,
            next: 0,
        })
    }

    /// How many copies have not been marked.
    pub(super) fn left(&self) -> usize {
        self.total.saturating_sub(self.next)
    }

    /// Marks the next copy; its number, from 0.
    pub(super) fn mark(&mut self, copy: &mut Message) -> usize {
        let number = self.next;
        self.next += 1;
        copy.become_part(&self.mark, number, self.total);
        number
    }
}

/// What happens with the message that is split, and how its copies run.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// The message goes on behind the split.
    pub(super) continue_parent: bool,
    /// The copies run one after the other, and the message goes on when they have ended.
    pub(super) sequential: bool,
}

/// Runs the copies. When the message does not go on, its flow waits for them to end: nothing else
/// of it is left to do.
///
/// # Errors
/// When no further part of a flow may run beside it.
pub(super) async fn run(
    cx: Context<'_>,
    mut parts: Box<dyn Parts>,
    targets: &Arc<[Target]>,
    how: How,
) -> Result<Flow, Fault> {
    if how.sequential {
        while let Some((copy, target)) = parts.next() {
            run_part(cx, targets, target, copy).await;
        }
    } else if how.continue_parent {
        let detached = cx.detach()?;
        let targets = targets.clone();
        detached.spawn_work(move |cx| {
            Box::pin(async move { run_parallel(cx, &mut *parts, &targets).await })
        });
    } else {
        run_parallel(cx, &mut *parts, targets).await;
    }
    Ok(match how.continue_parent {
        true => Flow::Continue,
        false => Flow::Stop,
    })
}

async fn run_parallel(cx: Context<'_>, parts: &mut dyn Parts, targets: &[Target]) {
    let limit = cx.services.settings.limits.max_parallel_parts;
    stream::iter(std::iter::from_fn(|| parts.next()))
        .for_each_concurrent(limit, |(copy, target)| run_part(cx, targets, target, copy))
        .await;
}

/// Runs one copy to its end: its target and, when it waited for a response there, what stands
/// behind the split. Whatever happens to it, the others go on.
async fn run_part(cx: Context<'_>, targets: &[Target], target: usize, mut copy: Message) {
    // Many small parts in a row must not keep the worker from its other messages.
    tokio::task::consume_budget().await;
    let Some(target) = targets.get(target) else {
        return;
    };
    let outcome = match target.run(cx, &mut copy).await {
        Ok(Flow::Continue) if copy.resumed => resume(cx, &mut copy).await.map(|_| ()),
        Ok(_) => Ok(()),
        Err(fault) => {
            copy.properties
                .set("ERROR_ON_TARGET_EXECUTION", Value::Boolean(true));
            Err(fault)
        }
    };
    settle(cx, &mut copy, outcome).await;
}
