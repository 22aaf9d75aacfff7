//! How much work one evaluation may be: an expression runs on the thread of its worker, and all other messages of that
//! worker wait for it.

use crate::settings::LimitSettings;
use std::cell::Cell;

/// What an evaluation may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Nodes that an XPath may visit; 32 bytes of text count as one.
    pub xpath: u64,
    /// Values that a JSON path may visit, filters included.
    pub jsonpath: u64,
}

/// Twice the largest tree of the default settings.
const DEFAULT: Effort = Effort {
    xpath: 20_000_000,
    jsonpath: 20_000_000,
};

thread_local! {
    static EFFORT: Cell<Effort> = const { Cell::new(DEFAULT) };
}

impl Effort {
    /// As the settings say.
    pub fn of(limits: &LimitSettings) -> Effort {
        Effort {
            xpath: limits.max_xpath_visits,
            jsonpath: limits.max_jsonpath_steps,
        }
    }

    /// Makes it what evaluations on this thread may cost. A thread belongs to one server; one that nobody told has the
    /// default.
    pub fn set(self) {
        EFFORT.set(self);
    }
}

/// What an evaluation that begins here may cost.
pub(in crate::expr) fn allowed() -> Effort {
    EFFORT.get()
}
