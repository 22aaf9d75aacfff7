//! Following the paths of a plan through a document.
//!
//! Steps are bits. An open element knows the steps whose context nodes it belongs to, and the steps that reach down
//! from it or from above. A start tag is tested against the steps that its parent leads to; where the last step of a
//! path matches, its probe has a node.

use super::{Against, Anchor, Form, Found, Kind, Known, Plan, Question, StepTest};
use crate::expr::xpath::convert;
use crate::xml::{Opened, Text, Unreadable, Visit};

/// Bytes of text that may be looked at in all, as nested matches have their text in common.
const WORK: usize = 256 << 20;

/// An open element, or the document.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Steps of which it is a context node.
    context: u64,
    /// Steps that reach its descendants.
    down: u64,
    /// Steps with `[1]` that have had their node here.
    used: u64,
}

/// A node whose string-value is being gathered.
struct Capture {
    probe: usize,
    /// Number of open elements when it was opened, itself included.
    depth: usize,
    /// Where its text starts in `text`.
    from: usize,
    /// Only the text directly in it counts.
    own: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Header,
    Body,
}

/// The state of one probe.
#[derive(Default)]
struct State<'p> {
    against: Option<Against<'p>>,
    nodes: u64,
    text: String,
    /// Takes no further nodes.
    closed: bool,
}

pub(super) struct Machine<'p> {
    plan: &'p Plan,
    form: Form,
    known: Known,
    kind: Option<Kind>,
    frames: Vec<Frame>,
    captures: Vec<Capture>,
    text: String,
    own: String,
    states: Vec<State<'p>>,
    found: Vec<Found>,
    part: Part,
    /// Depth of elements that are there: 1 is the root element of the document.
    depth: usize,
    had_header: bool,
    had_body: bool,
    /// Everything was seen that would have an effect on the message when it is built.
    settled: bool,
    /// A probe was answered since the last look at the answers.
    news: bool,
    finished: bool,
    gave_up: bool,
    work: usize,
}

impl<'p> Machine<'p> {
    pub(super) fn new(plan: &'p Plan, form: Form, known: Known) -> Machine<'p> {
        Machine {
            plan,
            form,
            known,
            kind: None,
            frames: Vec::with_capacity(16),
            captures: Vec::new(),
            text: String::new(),
            own: String::new(),
            states: plan.probes.iter().map(|_| State::default()).collect(),
            found: vec![Found::Unknown; plan.probes.len()],
            part: Part::Outside,
            depth: 0,
            had_header: false,
            had_body: false,
            settled: false,
            // Without any probe to wait for the answer is certain at once.
            news: true,
            finished: false,
            gave_up: false,
            work: 0,
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    pub(super) fn found(&self) -> &[Found] {
        &self.found
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    pub(super) fn compare_with(&mut self, probe: usize, against: Against<'p>) {
        if let Against::Fixed(result) = against {
            self.answer(probe, Found::Bool(result));
        }
        if let Some(state) = self.states.get_mut(probe) {
            state.against = Some(against);
        }
    }

    /// The document has ended.
    pub(super) fn finish(&mut self) {
        if self.kind == Some(Kind::Plain) {
            // The body and the envelope around it.
            let closed = self.leave().and_then(|()| self.leave());
            self.gave_up |= closed.is_err();
        } else if !self.had_body {
            self.gave_up = true;
        }
        for probe in 0..self.found.len() {
            self.no_more(probe);
        }
        self.finished = true;
        self.settled = true;
    }

    fn answer(&mut self, probe: usize, found: Found) {
        if let Some(slot) = self.found.get_mut(probe)
            && *slot == Found::Unknown
        {
            *slot = found;
            self.news = true;
        }
        if let Some(state) = self.states.get_mut(probe) {
            state.closed = true;
        }
    }

    /// No further node can come for a probe.
    fn no_more(&mut self, probe: usize) {
        let (Some(asked), Some(state)) = (self.plan.probes.get(probe), self.states.get_mut(probe))
        else {
            return;
        };
        // A node that is still open answers when it ends.
        if self.captures.iter().any(|capture| capture.probe == probe) {
            state.closed = true;
            return;
        }
        let found = match &asked.question {
            Question::Exists => Found::Bool(false),
            Question::Compare(..) => match &state.against {
                Some(Against::Exists { none, .. }) => Found::Bool(*none),
                _ => Found::Bool(false),
            },
            Question::First | Question::All => Found::Text(std::mem::take(&mut state.text)),
            Question::Count => Found::Number(state.nodes as f64),
        };
        self.answer(probe, found);
    }

    fn no_more_from(&mut self, anchor: Anchor) {
        for (probe, asked) in self.plan.probes.iter().enumerate() {
            if asked.anchor == anchor {
                self.no_more(probe);
            }
        }
    }

    fn is_open(&self, probe: usize) -> bool {
        self.states.get(probe).is_some_and(|state| !state.closed)
    }

    /// A text or attribute that a path leads to.
    fn value(&mut self, probe: usize, value: &str) -> Result<(), Unreadable> {
        if self.node(probe) {
            self.text_of(probe, value)?;
        }
        Ok(())
    }

    /// Counts a node; whether its text is asked for.
    fn node(&mut self, probe: usize) -> bool {
        let (Some(asked), Some(state)) = (self.plan.probes.get(probe), self.states.get_mut(probe))
        else {
            return false;
        };
        if state.closed {
            return false;
        }
        state.nodes += 1;
        state.closed = asked.single;
        match (&asked.question, &state.against) {
            (Question::Exists, _) => {
                self.answer(probe, Found::Bool(true));
                false
            }
            (Question::Compare(..), Some(Against::Exists { some, .. })) => {
                let found = Found::Bool(*some);
                self.answer(probe, found);
                false
            }
            (Question::Count, _) => {
                if asked.single {
                    self.no_more(probe);
                }
                false
            }
            (Question::First, _) => {
                state.closed = true;
                true
            }
            (Question::Compare(..) | Question::All, _) => true,
        }
    }

    /// The text of a node.
    fn text_of(&mut self, probe: usize, text: &str) -> Result<(), Unreadable> {
        self.work = self.work.saturating_add(text.len());
        let (Some(asked), Some(state)) = (self.plan.probes.get(probe), self.states.get_mut(probe))
        else {
            return Ok(());
        };
        if self.work > WORK {
            return Err(Unreadable);
        }
        match &asked.question {
            Question::Compare(..) => {
                let holds = state.against.as_ref().is_some_and(|a| a.holds(text));
                self.compared(probe, holds);
            }
            Question::First => self.answer(probe, Found::Text(text.to_owned())),
            Question::All => {
                state.text.push_str(text);
                if asked.single {
                    let all = std::mem::take(&mut state.text);
                    self.answer(probe, Found::Text(all));
                }
            }
            Question::Exists | Question::Count => {}
        }
        Ok(())
    }

    /// Whether a node compares as asked.
    #[inline]
    fn compared(&mut self, probe: usize, holds: bool) {
        let single = self
            .plan
            .probes
            .get(probe)
            .is_some_and(|asked| asked.single);
        if holds || single {
            self.answer(probe, Found::Bool(holds));
        }
    }

    /// An element that a path leads to; it is the innermost open one.
    fn element(&mut self, probe: usize) -> Result<(), Unreadable> {
        if !self.node(probe) {
            return Ok(());
        }
        let own = self
            .plan
            .probes
            .get(probe)
            .is_some_and(|asked| matches!(asked.question, Question::All));
        // Several elements become XML.
        if own && self.states.get(probe).is_some_and(|state| state.nodes > 1) {
            return Err(Unreadable);
        }
        self.captures.push(Capture {
            probe,
            depth: self.frames.len(),
            from: if own { 0 } else { self.text.len() },
            own,
        });
        Ok(())
    }

    /// Ends the innermost open element.
    fn leave(&mut self) -> Result<(), Unreadable> {
        let depth = self.frames.len();
        while let Some(capture) = self.captures.pop_if(|capture| capture.depth == depth) {
            let probe = capture.probe;
            if capture.own {
                let own = std::mem::take(&mut self.own);
                // An element without text of its own becomes XML.
                let text = convert::element_text(&own).ok_or(Unreadable)?;
                self.text_of(probe, &text)?;
            } else {
                let all = std::mem::take(&mut self.text);
                let text = all.get(capture.from..).unwrap_or_default();
                // Its ancestors that are captured have the text in common with it.
                let outcome = self.text_of(probe, text);
                self.text = all;
                outcome?;
            }
            if !self.captures.iter().any(|capture| !capture.own) {
                self.text.clear();
            }
        }
        self.frames.pop();
        Ok(())
    }

    fn start_bits(&self, anchor: Anchor) -> u64 {
        let of = self
            .plan
            .probes
            .iter()
            .filter(|asked| asked.anchor == anchor);
        of.fold(0, |bits, asked| bits | asked.first)
    }

    /// Opens an element whose name passes the tests in `mark`; `start` are steps for which it is a context node
    /// whatever it is.
    #[inline]
    fn enter(&mut self, start: u64, mark: u64) -> Result<(), Unreadable> {
        let masks = &self.plan.masks;
        let (mut down, mut own) = (0, start);
        let mut results = 0;
        if let Some(parent) = self.frames.last_mut() {
            let candidates = (parent.context & masks.child & !(parent.used & masks.first))
                | (parent.down & masks.descendant);
            let matched = candidates & mark;
            parent.used |= matched & masks.first;
            results = matched & masks.last;
            down = parent.down;
            own |= ((matched & !masks.last) | (down & masks.below)) << 1;
        }
        // What an element leads to "or itself".
        let mut itself = own & masks.below;
        while itself != 0 {
            let next = itself << 1;
            own |= next;
            itself = next & masks.below;
        }
        let reach = masks.descendant | masks.text_descendant | masks.below;
        self.frames.push(Frame {
            context: own,
            down: down | (own & reach),
            used: 0,
        });
        while results != 0 {
            let bit = results & results.wrapping_neg();
            results ^= bit;
            if let Some(probe) = self.result_of(bit) {
                self.element(probe)?;
            }
        }
        Ok(())
    }

    fn result_of(&self, bit: u64) -> Option<usize> {
        self.plan
            .steps
            .get(bit.trailing_zeros() as usize)?
            .result_of
    }

    /// The root element says what the document is.
    fn root(&mut self, element: &Opened<'_>) -> Result<(), Unreadable> {
        let Known { soap11, soap12, .. } = self.known;
        let soap = [soap11, soap12]
            .into_iter()
            .find(|namespace| element.is(namespace, "Envelope"));
        let kind = match (self.form, soap) {
            (Form::Plain, _) | (Form::Either, None) => Kind::Plain,
            (Form::Either, Some(namespace)) => Kind::Soap(namespace),
            (Form::Soap12, Some(namespace)) if namespace == soap12 => Kind::Soap(namespace),
            (Form::Soap12, _) => return Err(Unreadable),
        };
        self.kind = Some(kind);
        let root = self.start_bits(Anchor::Root);
        let envelope = self.start_bits(Anchor::Envelope);
        if kind == Kind::Plain {
            // The envelope around it shows to paths, and is what `/` stands for.
            let virtual_name = |local: &'static str| {
                self.plan.passed(|namespace, name| {
                    namespace == soap11 && name.is_none_or(|name| name == local)
                })
            };
            let (marks, body_marks) = (virtual_name("Envelope"), virtual_name("Body"));
            self.enter(root | envelope, marks)?;
            let body = self.start_bits(Anchor::Body);
            self.enter(body, body_marks)?;
            self.no_more_from(Anchor::Header);
            self.settled = true;
            self.news = true;
        } else {
            self.enter(root, 0)?;
        }
        Ok(())
    }

    /// Steps for which an element of a SOAP envelope is a context node for what it is, and what it means for the
    /// message.
    fn soap(&mut self, element: &Opened<'_>, envelope: &'static str) -> Result<u64, Unreadable> {
        match (self.depth, self.part) {
            (1, _) => return Ok(self.start_bits(Anchor::Envelope)),
            (2, _) if !self.had_body && !self.had_header && element.is(envelope, "Header") => {
                self.had_header = true;
                self.part = Part::Header;
                return Ok(self.start_bits(Anchor::Header));
            }
            (2, _) if !self.had_body && element.is(envelope, "Body") => {
                self.had_body = true;
                self.part = Part::Body;
                self.no_more_from(Anchor::Header);
                return Ok(self.start_bits(Anchor::Body));
            }
            (3, Part::Header) if self.known.effects.iter().any(|n| element.in_namespace(n)) => {
                return Err(Unreadable);
            }
            (3, Part::Body) if !self.settled => {
                if !self.known.effects.is_empty() && element.is(envelope, "Fault") {
                    return Err(Unreadable);
                }
                self.settled = true;
                self.news = true;
            }
            _ => {}
        }
        Ok(0)
    }

    /// Whether the answers should be looked at.
    fn pause(&mut self) -> bool {
        (self.settled || self.known.effects.is_empty() && self.kind.is_some())
            && std::mem::take(&mut self.news)
    }
}

impl Visit for Machine<'_> {
    fn mark(&self, element: &Opened<'_>) -> u64 {
        self.plan.passed(|namespace, local| match local {
            Some(local) => element.is(namespace, local),
            None => element.in_namespace(namespace),
        })
    }

    #[inline]
    fn wanted(&self) -> Option<u64> {
        let masks = &self.plan.masks;
        // What is above has a meaning for the message itself.
        let deep_enough = match self.kind? {
            Kind::Plain => self.depth >= 1,
            Kind::Soap(_) => self.depth >= 3,
        };
        let frame = self.frames.last()?;
        let texts = (frame.context & masks.text_child)
            | (frame.down & (masks.text_descendant | masks.below));
        if !deep_enough || !self.settled || !self.captures.is_empty() || texts != 0 {
            return None;
        }
        Some((frame.context & masks.child) | (frame.down & masks.descendant))
    }

    #[inline]
    fn leaf(&mut self, mark: u64, text: Text<'_>) -> Result<Option<bool>, Unreadable> {
        let masks = &self.plan.masks;
        let Some(parent) = self.frames.last_mut() else {
            return Ok(None);
        };
        let candidates = (parent.context & masks.child & !(parent.used & masks.first))
            | (parent.down & masks.descendant);
        let matched = candidates & mark;
        let bit = matched & matched.wrapping_neg();
        if matched == 0 {
            return Ok(Some(false));
        }
        // Only the end of a single path is handled here.
        let Some(probe) = self.result_of(bit).filter(|_| matched == bit) else {
            return Ok(None);
        };
        if let Some(asked) = self.plan.probes.get(probe)
            && matches!(asked.question, Question::All)
        {
            return Ok(None);
        }
        if let Some(parent) = self.frames.last_mut() {
            parent.used |= matched & masks.first;
        }
        if self.node(probe) {
            match self
                .states
                .get(probe)
                .and_then(|state| state.against.as_ref())
            {
                Some(Against::Equal(value, equal)) => {
                    let holds = text.is(value) == *equal;
                    self.compared(probe, holds);
                }
                _ => self.text_of(probe, &text.value())?,
            }
        }
        Ok(Some(self.pause()))
    }

    #[inline]
    fn open_unwanted(&mut self) {
        self.depth += 1;
        let down = self.frames.last().map_or(0, |frame| frame.down);
        self.frames.push(Frame {
            context: 0,
            down,
            used: 0,
        });
    }

    #[inline]
    fn close_unwanted(&mut self) {
        self.depth -= 1;
        self.frames.pop();
    }

    #[inline]
    fn open(&mut self, element: &Opened<'_>, mark: u64) -> Result<bool, Unreadable> {
        if self.depth == 0 {
            self.root(element)?;
        }
        self.depth += 1;
        let start = match self.kind {
            Some(Kind::Soap(envelope)) if self.depth <= 3 => self.soap(element, envelope)?,
            _ => 0,
        };
        self.enter(start, mark)?;
        let mut attributes =
            self.frames.last().map_or(0, |frame| frame.context) & self.plan.masks.attribute;
        while attributes != 0 {
            let bit = attributes & attributes.wrapping_neg();
            attributes ^= bit;
            if let Some(step) = self.plan.steps.get(bit.trailing_zeros() as usize)
                && let (StepTest::Attribute(name), Some(probe)) = (&step.test, step.result_of)
                && self.is_open(probe)
                && let Some(value) = element.attribute(name.namespace(), name.local())
            {
                self.value(probe, &value)?;
            }
        }
        Ok(self.pause())
    }

    fn close(&mut self) -> Result<bool, Unreadable> {
        self.leave()?;
        self.depth -= 1;
        if self.depth == 1 && matches!(self.kind, Some(Kind::Soap(_))) {
            match std::mem::replace(&mut self.part, Part::Outside) {
                Part::Header => self.no_more_from(Anchor::Header),
                Part::Body => {
                    self.no_more_from(Anchor::Body);
                    self.news |= !self.settled;
                    self.settled = true;
                }
                Part::Outside => {}
            }
        }
        Ok(self.pause())
    }

    fn text(&mut self, text: Text<'_>) -> Result<bool, Unreadable> {
        let masks = &self.plan.masks;
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        let mut matched = (frame.context & masks.text_child & !(frame.used & masks.first))
            | (frame.down & masks.text_descendant);
        if matched == 0 && self.captures.is_empty() {
            return Ok(false);
        }
        frame.used |= matched & masks.first;
        let value = text.value();
        let depth = self.frames.len();
        if self.captures.iter().any(|c| c.own && c.depth == depth) {
            self.own.push_str(&value);
        }
        if self.captures.iter().any(|c| !c.own) {
            self.text.push_str(&value);
        }
        while matched != 0 {
            let bit = matched & matched.wrapping_neg();
            matched ^= bit;
            if let Some(probe) = self.result_of(bit) {
                self.value(probe, &value)?;
            }
        }
        Ok(self.pause())
    }
}
