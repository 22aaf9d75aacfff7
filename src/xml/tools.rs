//! What parsing works with. A thread keeps it from one document to the next, because messages of one kind have the same
//! names: what the last message taught about them need not be found out again.

use super::error::Limits;
use super::names::{Names, Scope, Table};
use super::token::{ATTRIBUTE_NAMES, ELEMENT_NAMES, Room, Span};
use std::cell::Cell;
use std::sync::Arc;

/// A name table with more strings, or more bytes, is not handed on to the next document.
const MOST_STRINGS: usize = 512;
const MOST_MEMORY: usize = 32 * 1024;
/// Epochs are numbers that are used once. Beyond this many everything starts anew.
const MOST_EPOCHS: u32 = 1 << 30;
/// Room for more open elements than this is not kept.
const MOST_OPEN: usize = 256;

thread_local! {
    static TOOLS: Cell<Option<Box<Tools>>> = const { Cell::new(None) };
}

/// An element whose end tag has not come yet; the lowest entry stands for the document.
pub(super) struct Open {
    pub(super) node: u32,
    pub(super) last_child: u32,
    pub(super) name: Span,
    /// Count of irregularities, scope and epoch before the element started.
    pub(super) irregular: u32,
    pub(super) mark: usize,
    pub(super) epoch: u32,
}

/// What a raw name meant when it was last met.
#[derive(Clone, Copy, Default)]
pub(super) struct Cached {
    pub(super) start: u32,
    /// Length with one low bit that tells attributes from elements; 0 for an unused entry.
    pub(super) key: u32,
    pub(super) epoch: u32,
    pub(super) name: u32,
}

/// What a name with a number meant when it was last met.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) epoch: u32,
    pub(super) name: u32,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            epoch: u32::MAX,
            name: 0,
        }
    }
}

/// The epoch that a declaration led to.
#[derive(Clone, Copy, Default)]
pub(super) struct Epoch {
    pub(super) before: u32,
    pub(super) prefix: u32,
    pub(super) namespace: u32,
    /// 0 for an unused entry.
    pub(super) after: u32,
}

/// See the module.
pub(super) struct Tools {
    pub(super) room: Option<Room>,
    /// The names that `elements`, `attributes` and `epochs` are about, while no document is read.
    names: Option<Arc<Table>>,
    /// Longest name that was let through.
    max_name_bytes: usize,
    pub(super) scope: Scope,
    pub(super) last_epoch: u32,
    /// Epochs of recent declarations, so that elements which declare the same share an epoch and with it what is known
    /// about names.
    pub(super) epochs: [Epoch; 8],
    pub(super) open: Vec<Open>,
    /// What the tokenizer's numbers for names meant last.
    pub(super) elements: [Known; ELEMENT_NAMES],
    pub(super) attributes: [Known; ATTRIBUTE_NAMES],
    /// The same for names without a number; made for the first of them.
    pub(super) cache: Vec<Cached>,
    /// For elements with many attributes: the last such element that had the expanded name.
    pub(super) stamps: Vec<u32>,
}

impl Tools {
    fn new(limits: &Limits) -> Tools {
        Tools {
            room: None,
            names: None,
            max_name_bytes: limits.max_name_bytes,
            scope: Scope::with_room(),
            last_epoch: 0,
            epochs: [Epoch::default(); 8],
            open: Vec::with_capacity(16),
            elements: [Known::default(); ELEMENT_NAMES],
            attributes: [Known::default(); ATTRIBUTE_NAMES],
            cache: Vec::new(),
            stamps: Vec::new(),
        }
    }

    fn kept() -> Option<Box<Tools>> {
        TOOLS.try_with(Cell::take).ok().flatten()
    }

    fn keep(tools: Box<Tools>) {
        // A thread that is ending keeps nothing.
        let _ = TOOLS.try_with(|kept| kept.set(Some(tools)));
    }

    /// Names to begin a document with.
    pub(super) fn names() -> Names {
        let Some(tools) = Tools::kept() else {
            return Names::default();
        };
        let names = tools.names.clone();
        Tools::keep(tools);
        names.map_or_else(Names::default, Names::Shared)
    }

    /// The tools of this thread, and names for the document that is to be read.
    pub(super) fn take(limits: &Limits) -> (Box<Tools>, Names) {
        match Tools::kept().filter(|tools| tools.max_name_bytes == limits.max_name_bytes) {
            Some(mut tools) => {
                let names = tools.names.take();
                (tools, names.map_or_else(Names::default, Names::Shared))
            }
            None => (Box::new(Tools::new(limits)), Names::default()),
        }
    }

    /// The tools of this thread for a document that has names.
    pub(super) fn take_for(limits: &Limits, names: &Names) -> Box<Tools> {
        let (mut tools, known) = Tools::take(limits);
        match (&known, names) {
            (Names::Shared(known), Names::Shared(names)) if Arc::ptr_eq(known, names) => tools,
            _ => {
                // Its words are names whatever they mean.
                let room = tools.room.take();
                Box::new(Tools {
                    room,
                    ..Tools::new(limits)
                })
            }
        }
    }

    /// Keeps the tools for the next document of this thread; `names` are those of the document that was read. Not to be
    /// called when reading it failed: then a name may have got a number before it was known what it means.
    pub(super) fn put_back(mut self: Box<Self>, names: &mut Names) {
        if names.len() > MOST_STRINGS
            || names.memory() > MOST_MEMORY
            || self.last_epoch > MOST_EPOCHS
        {
            return;
        }
        self.names = Some(names.share());
        self.scope.clear();
        self.open.clear();
        self.open.shrink_to(MOST_OPEN);
        // These are about the text that was read.
        self.cache.fill(Cached::default());
        self.stamps.clear();
        Tools::keep(self);
    }
}
