//! Answers of expressions that were read from the bytes of a body.

/// The result of an expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Where it is asked for a boolean.
    Boolean(bool),
    /// Where it is asked for text; `None` is the reference's null.
    Text(Option<String>),
    /// It throws, for this reason.
    Error(String),
}

/// The answers for one step of a flow, by the ids of their expressions.
#[derive(Debug, Default)]
pub struct Answers(Vec<(u64, Answer)>);

impl Answers {
    /// Keeps an answer.
    pub fn put(&mut self, id: u64, answer: Answer) {
        self.0.push((id, answer));
    }

    /// The answer of an expression.
    pub fn get(&self, id: u64) -> Option<&Answer> {
        self.0.iter().find(|(of, _)| *of == id).map(|(_, a)| a)
    }

    /// Forgets them all: the next step may change what they depend on.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
