//! Groups of messages that wait for others, and where they are kept.

use super::merge::{Merge, Piece};
use crate::endpoint::store::Held;
use crate::mediator::{Context, Library, Route};
use crate::message::{Body, Exchange, Fault, Message, Split, SplitMark};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A number that nothing else in this process has.
pub(super) fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where a message came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub library: Arc<Library>,
    pub exchange: Arc<Exchange>,
    pub route: Arc<Route>,
}

/// The messages of a group. Its first one is kept, of the others what the result needs.
#[derive(Debug)]
pub(super) struct Group {
    pub serial: u64,
    /// Without its marks: groups live in the splits that these hold.
    pub first: Message,
    pub origin: Origin,
    /// What each message gives, in the order of arrival. What went wrong is told when the group
    /// completes. The XML of the first message is its body.
    pub pieces: Vec<Result<Piece, Fault>>,
    pub min: Option<usize>,
    pub max: Option<usize>,
    pub total: Option<usize>,
    /// Dropped with the group: the timer ends then.
    pub timer: Option<oneshot::Sender<()>>,
    hold: Hold,
}

impl Group {
    /// A group that begins with a message, whose body it takes.
    ///
    /// # Errors
    /// When there are too many groups, or they hold too much.
    pub(super) fn new(
        cx: Context<'_>,
        message: &mut Message,
        merge: &Merge,
        held: &Arc<Held>,
    ) -> Result<Group, Fault> {
        let mut hold = Hold::group(cx, held)?;
        let piece = merge.first(cx, message);
        hold.bytes(cx, weight(message) + piece.weight())?;
        hold.messages = 1;
        let mut first = message.hand_over();
        first.splits = Vec::new();
        Ok(Group {
            serial: number(),
            first,
            origin: Origin {
                library: cx.library.clone(),
                exchange: cx.exchange.clone(),
                route: cx.route.clone(),
            },
            pieces: vec![Ok(piece)],
            min: None,
            max: None,
            total: None,
            timer: None,
            hold,
        })
    }

    /// Adds a message.
    ///
    /// # Errors
    /// When the groups hold too much.
    pub(super) fn add(
        &mut self,
        cx: Context<'_>,
        message: &mut Message,
        merge: &Merge,
    ) -> Result<(), Fault> {
        let piece = merge.piece(cx, message);
        let weight = piece.as_ref().map_or(0, Piece::weight);
        self.hold.bytes(cx, weight)?;
        self.hold.messages += 1;
        self.pieces.push(piece);
        Ok(())
    }

    /// The body of the first message, when nothing becomes of the group.
    pub(super) fn give_back(mut self) -> Body {
        self.settle();
        std::mem::take(&mut self.first.body)
    }

    /// It waits no longer.
    pub(super) fn settle(&mut self) {
        self.hold.messages = 0;
    }

    /// Whether enough have come (spec 03 §12, "When complete?").
    pub(super) fn is_complete(&self) -> bool {
        let count = self.pieces.len();
        [self.total, self.min, self.max]
            .into_iter()
            .flatten()
            .any(|enough| count >= enough)
    }

    /// The message that the group became.
    pub(super) fn into_message(self, marks: Vec<SplitMark>) -> Message {
        let mut message = self.first;
        message.splits = marks;
        message.resumed = false;
        message
    }
}

/// The part of what groups hold that one of them accounts for.
#[derive(Debug)]
struct Hold {
    held: Arc<Held>,
    bytes: usize,
    /// Messages that wait.
    messages: usize,
}

impl Hold {
    fn group(cx: Context<'_>, held: &Arc<Held>) -> Result<Hold, Fault> {
        let limit = cx.services.settings.limits.max_aggregate_groups;
        let before = held.groups.fetch_add(1, Ordering::AcqRel);
        let hold = Hold {
            held: held.clone(),
            bytes: 0,
            messages: 0,
        };
        if before >= limit {
            return Err(Fault::mediation(format!(
                "{limit} groups of messages wait to be aggregated already (myelin.max_aggregate_groups)"
            )));
        }
        Ok(hold)
    }

    fn bytes(&mut self, cx: Context<'_>, more: usize) -> Result<(), Fault> {
        let limit = cx.services.settings.limits.max_aggregate_bytes;
        let before = self.held.bytes.fetch_add(more, Ordering::AcqRel);
        self.bytes += more;
        if u64::try_from(before + more).unwrap_or(u64::MAX) > limit {
            self.held.bytes.fetch_sub(more, Ordering::AcqRel);
            self.bytes -= more;
            return Err(Fault::mediation(format!(
                "Messages that wait to be aggregated hold more than {limit} bytes (myelin.max_aggregate_bytes)"
            )));
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.messages > 0 {
            tracing::warn!(
                target: "AggregateMediator",
                "a group of {} messages never completed, and no other can come; they are dropped",
                self.messages
            );
        }
        self.held.groups.fetch_sub(1, Ordering::AcqRel);
        self.held.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Roughly how many bytes a message holds.
fn weight(message: &Message) -> usize {
    match (message.body.bytes(), message.envelope()) {
        (Some(raw), _) => raw.len(),
        (None, Some(envelope)) => super::merge::tree_weight(&envelope.document, envelope.root),
        (None, None) => match &message.body {
            Body::Empty => 0,
            _ => 1024,
        },
    }
}

/// What is known of one group.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// No message has come.
    #[default]
    Empty,
    /// It waits.
    Open(Box<Group>),
    /// It has completed; what comes now is late.
    Done,
}

/// What became of a message that came.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The group waits for others.
    Waits,
    /// The group has completed before.
    Late,
    /// It was the last one.
    Complete(Box<Group>),
}

/// Groups that belong to no split: those of `correlateOn`, and those of properties that the flow
/// sets itself. They survive a reload.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<HashMap<String, Slot>>);

/// Where a group is kept.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// With the copies of a split, by the number of the mediator. It goes when the last copy goes.
    Split(Arc<Split>, u64),
    /// By a key.
    Store(Arc<Groups>, String),
}

impl Place {
    /// Works on the group, undisturbed.
    ///
    /// # Errors
    /// As the work.
    pub(super) fn with(
        &self,
        work: impl FnOnce(&mut Slot) -> Result<Arrival, Fault>,
    ) -> Result<Arrival, Fault> {
        match self {
            Place::Split(split, mediator) => split
                .with::<Slot, _>(*mediator, work)
                .unwrap_or(Ok(Arrival::Late)),
            Place::Store(groups, key) => {
                let mut groups = groups.0.lock().unwrap_or_else(PoisonError::into_inner);
                let slot = groups.entry(key.clone()).or_default();
                let outcome = work(slot);
                // A next group may begin at once.
                if !matches!(slot, Slot::Open(_)) {
                    groups.remove(key);
                }
                outcome
            }
        }
    }

    /// Takes the group of a number, if it still waits. What comes later is late.
    pub(super) fn take(&self, serial: u64) -> Option<Box<Group>> {
        let mut taken = None;
        let _ = self.with(|slot| {
            if matches!(slot, Slot::Open(group) if group.serial == serial)
                && let Slot::Open(group) = std::mem::replace(slot, Slot::Done)
            {
                taken = Some(group);
            }
            Ok(Arrival::Late)
        });
        taken
    }
}
