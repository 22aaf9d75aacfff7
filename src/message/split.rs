//! What the copies of one split know of each other (spec 03 §9, §12).

use super::Message;
use super::outgoing::new_message_id;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// One splitting of a message into copies. What mediators keep for its copies lives as long as a
/// copy that could still come.
#[derive(Default)]
pub struct Split {
    kept: Mutex<HashMap<u64, Box<dyn Any + Send>>>,
}

impl Split {
    /// What a mediator keeps for this split, made on first use. `None` when another type is there.
    pub fn with<T: Default + Send + 'static, R>(
        &self,
        mediator: u64,
        f: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(mediator)
            .or_insert_with(|| Box::<T>::default())
            .downcast_mut()
            .map(f)
    }
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Split")
    }
}

/// The part that a message plays in a split.
#[derive(Clone, Debug)]
pub struct SplitMark {
    /// The `id` of the mediator that split.
    pub id: Option<Arc<str>>,
    /// The value of `aggregateCorelation`: while the property still says so, the message belongs to
    /// this split and to no other that happens to have the same text.
    pub correlation: Arc<str>,
    /// The split.
    pub split: Arc<Split>,
}

impl SplitMark {
    /// The mark of a new split of a message.
    pub fn of(original: &Message, id: Option<Arc<str>>) -> SplitMark {
        SplitMark {
            id,
            correlation: match original.message_id() {
                Some(id) => Arc::from(&*id),
                None => new_message_id().into(),
            },
            split: Arc::default(),
        }
    }
}

impl Message {
    /// Makes a copy the part `number` (from 0) of the `total` parts of a split: its properties, its
    /// mark and a message id of its own.
    pub fn become_part(&mut self, mark: &SplitMark, number: usize, total: usize) {
        let correlation = &*mark.correlation;
        let sequence = format!("{number}/{total}");
        self.splits.retain(|m| m.id.is_some() && m.id != mark.id);
        self.splits.push(SplitMark {
            id: None,
            ..mark.clone()
        });
        // Every copy has the name without suffix, too.
        self.properties.set("aggregateCorelation", correlation);
        match &mark.id {
            None => self.properties.set("messageSequence", sequence),
            Some(id) => {
                let name = |name: &str| format!("{name}.{id}");
                self.properties.set(&name("messageSequence"), sequence);
                self.properties
                    .set(&name("aggregateCorelation"), correlation);
                self.splits.push(mark.clone());
            }
        }
        self.message_id = Some(new_message_id());
        self.resumed = false;
    }
}
