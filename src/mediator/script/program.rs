//! A script as it runs: its texts, and what came out of running it.

use sha2::{Digest, Sha256};

/// The texts of one script.
#[derive(Debug)]
pub(super) struct Program {
    /// Names it among the contexts of a thread; equal texts have equal names.
    pub id: [u8; 32],
    /// What it is.
    pub form: Form,
}

/// Inline or by key.
#[derive(Debug)]
pub(super) enum Form {
    /// The whole program runs for each message.
    Inline(String),
    /// The texts run once for each thread, then a function of theirs for each message.
    External {
        /// Includes, then the script, each with its key.
        texts: Vec<(String, String)>,
        /// The function.
        function: String,
    },
}

impl Program {
    /// A program of these texts.
    pub(super) fn new(form: Form) -> Program {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        match &form {
            Form::Inline(text) => part(text),
            Form::External { texts, function } => {
                part(function);
                texts.iter().for_each(|(_, text)| part(text));
            }
        }
        part(match &form {
            Form::Inline(_) => "inline",
            Form::External { .. } => "external",
        });
        Program {
            id: hash.finalize().into(),
            form,
        }
    }
}

/// What a script gave back.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A value.
    Value(Returned),
    /// There is no such function.
    NoFunction,
    /// It threw, or was stopped; what to say about that.
    Failed(String),
}

/// A value that a script returned.
#[derive(Debug, PartialEq)]
pub(super) enum Returned {
    /// Null or undefined.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A number, as JavaScript prints it.
    Number(String),
    /// A string.
    Text(String),
    /// The text of an element.
    Xml(String),
    /// The text of an object or array.
    Json(String),
}
