//! Answering an expression from the bytes of a message, without a tree.
//!
//! Simple forward paths are recognised when an expression is compiled. Each becomes a *probe*: a question about the
//! body such as "is there such an element" or "what is the text of the first one", and the rest of the expression asks
//! for the answers of its probes. A [`Look`] reads the body once for all probes and stops as soon as the result is
//! certain. It gives up ([`Progress::Tree`]) on anything that only the tree can say, malformed documents included, so
//! that the tree says what is wrong with them.

mod compile;
mod run;

use super::compare::Bounds;
use super::eval::{Context, Evaluator, Val};
use super::functions::Function;
use super::program::{Expr, Program, Relation, Variable};
use super::{EvalError, Scope, XPath, budget, convert};
use crate::message::Answer;
use crate::xml::{self, ExpandedName, Scan, Scanner};
use run::Machine;
use std::borrow::Cow;

/// What an expression is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// [`XPath::boolean`].
    Boolean,
    /// [`XPath::string_value_of`].
    Text,
}

/// What an expression needs of the body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A [`Look`] at its bytes.
    Look,
    /// The tree.
    Tree,
}

/// How the bytes of a body become an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A SOAP envelope, or a plain document when the root element is none.
    Either,
    /// A SOAP 1.2 envelope.
    Soap12,
    /// A plain document in the body of an envelope that does not show on the wire.
    Plain,
}

/// What the beginning of a body said it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An envelope with this namespace.
    Soap(&'static str),
    /// A plain document.
    Plain,
}

/// Namespaces a look must know: those of envelopes, and those of header blocks that only the tree may read.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// SOAP 1.1.
    pub soap11: &'static str,
    /// SOAP 1.2.
    pub soap12: &'static str,
    /// Header blocks in these namespaces, and a Fault in the body, have effects on the message when it is built.
    pub effects: &'static [&'static str],
}

/// How far a look came.
#[derive(Clone, PartialEq, Debug)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// Only the tree can answer.
    Tree,
    /// The result: what evaluating the tree would give.
    Answer(Answer),
}

/// The answer of a probe.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Found {
    Unknown,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// An expression that can be answered by a look.
#[derive(Debug)]
pub(super) struct Plan {
    /// The expression with probes in the place of paths.
    program: Program,
    probes: Vec<Probe>,
    /// The steps of all paths, one bit each.
    steps: Vec<Test>,
    masks: Masks,
    /// There is nothing but one probe: no answer before it has one.
    waits: bool,
}

#[derive(Debug)]
struct Probe {
    question: Question,
    /// The context the path starts in.
    anchor: Anchor,
    /// The bit of its first step.
    first: u64,
    /// Only the first node counts.
    single: bool,
}

#[derive(Debug)]
enum Question {
    Exists,
    /// Whether a node compares to the value of an expression that does not read the body.
    Compare(Relate, Expr),
    /// String-value of the first node.
    First,
    Count,
    /// The conversion of all nodes that mediators see (spec 05 §3.6).
    All,
}

#[derive(Clone, Copy, Debug)]
enum Relate {
    Equal(bool),
    /// `true`: the path stands on the left.
    Order(Relation, bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Anchor {
    Root,
    Envelope,
    Header,
    Body,
}

#[derive(Debug)]
struct Test {
    test: StepTest,
    /// Number of the probe whose last step this is.
    result_of: Option<usize>,
}

#[derive(Debug)]
enum StepTest {
    Name(ExpandedName),
    AnyName,
    Namespace(Box<str>),
    Text,
    Attribute(ExpandedName),
    /// The middle of `a//b[1]` and `a//@b`.
    Below,
}

/// Sets of steps, as bits.
#[derive(Default, Debug)]
struct Masks {
    /// Element on the child axis.
    child: u64,
    /// Element on the descendant axis.
    descendant: u64,
    text_child: u64,
    text_descendant: u64,
    attribute: u64,
    below: u64,
    /// With the predicate `[1]`.
    first: u64,
    /// The last of its path.
    last: u64,
}

impl Plan {
    /// The steps whose test a name passes; `is` is asked about a namespace, and a local name if one is wanted.
    fn passed(&self, is: impl Fn(&str, Option<&str>) -> bool) -> u64 {
        let passes = |test: &StepTest| match test {
            StepTest::Name(name) => is(name.namespace(), Some(name.local())),
            StepTest::Namespace(namespace) => is(namespace, None),
            StepTest::AnyName => true,
            StepTest::Text | StepTest::Attribute(..) | StepTest::Below => false,
        };
        let steps = self.steps.iter().enumerate();
        steps.fold(0, |mask, (bit, step)| {
            mask | u64::from(passes(&step.test)) << bit
        })
    }
}

/// Nothing that is evaluated here reads the context node.
const NOWHERE: Context<'static> = Context {
    node: None,
    position: 0,
    size: 1,
};

/// The plans of an expression.
#[derive(Debug)]
pub(super) struct Plans {
    boolean: Option<Plan>,
    text: Option<Plan>,
}

impl Plans {
    pub(super) fn new(program: &Program, text: &str) -> Plans {
        Plans {
            boolean: compile::plan(program, text, Wanted::Boolean),
            text: compile::plan(program, text, Wanted::Text),
        }
    }
}

impl XPath {
    /// What must be there before the expression is evaluated.
    pub fn need(&self, wanted: Wanted) -> Need {
        match (self.needs_body, self.plan(wanted)) {
            (false, _) => Need::Nothing,
            (true, Some(_)) => Need::Look,
            (true, None) => Need::Tree,
        }
    }

    fn plan(&self, wanted: Wanted) -> Option<&Plan> {
        let plans = self.plans.as_ref()?;
        match wanted {
            Wanted::Boolean => plans.boolean.as_ref(),
            Wanted::Text => plans.text.as_ref(),
        }
    }

    /// Begins to look for the answer in the bytes of a body; `None` when the expression is not one for that.
    /// `encoding_is_known` as for [`Scanner::new`].
    pub fn look(
        &self,
        wanted: Wanted,
        form: Form,
        known: Known,
        limits: &xml::Limits,
        encoding_is_known: bool,
    ) -> Option<Look<'_>> {
        let plan = self.plan(wanted)?;
        Some(Look {
            plan,
            wanted,
            text: &self.text,
            scanner: Scanner::new(limits, encoding_is_known),
            machine: Machine::new(plan, form, known),
            prepared: false,
        })
    }
}

/// One evaluation on the bytes of one body.
pub struct Look<'p> {
    plan: &'p Plan,
    wanted: Wanted,
    text: &'p str,
    scanner: Scanner,
    machine: Machine<'p>,
    prepared: bool,
}

impl Look<'_> {
    /// What the body is, once its beginning was seen.
    pub fn kind(&self) -> Option<Kind> {
        self.machine.kind()
    }

    /// Goes on. `input` starts with the bytes given before; `complete` says that it is all there is.
    pub fn advance(&mut self, input: &[u8], complete: bool, scope: &dyn Scope) -> Progress {
        if !self.prepared {
            if self.prepare(scope).is_none() {
                return Progress::Tree;
            }
            self.prepared = true;
        }
        loop {
            match self.scanner.run(input, complete, &mut self.machine) {
                Err(_) => return Progress::Tree,
                Ok(Scan::Incomplete) => return Progress::More,
                Ok(Scan::Stopped) => {}
                Ok(Scan::Finished) => self.machine.finish(),
            }
            if self.machine.gave_up() {
                return Progress::Tree;
            }
            match self.answer(scope) {
                Ok(Some(answer)) => return Progress::Answer(answer),
                Err(error) => return Progress::Answer(Answer::Error(error.message)),
                Ok(None) if self.machine.is_finished() => return Progress::Tree,
                Ok(None) => {}
            }
        }
    }

    /// Evaluates what nodes are compared with. When that fails, the tree decides whether it is evaluated at all.
    fn prepare(&mut self, scope: &dyn Scope) -> Option<()> {
        for (number, probe) in self.plan.probes.iter().enumerate() {
            let Question::Compare(relate, with) = &probe.question else {
                continue;
            };
            let against = match (relate, with) {
                // The usual one, which needs no evaluator.
                (Relate::Equal(equal), Expr::Literal(text)) => {
                    Against::Equal(Cow::Borrowed(text), *equal)
                }
                _ => {
                    let mut evaluator = Evaluator::new(&self.plan.program, scope, budget());
                    against(*relate, evaluator.eval(with, NOWHERE).ok()?)?
                }
            };
            self.machine.compare_with(number, against);
        }
        Some(())
    }

    fn answer(&self, scope: &dyn Scope) -> Result<Option<Answer>, EvalError> {
        let found = self.machine.found();
        let truth = Truth { look: self, found };
        let root = &self.plan.program.root;
        if self.wanted == Wanted::Boolean {
            return Ok(truth.of(root, scope)?.map(Answer::Boolean));
        }
        if is_boolean(root) {
            let truth = truth.of(root, scope)?;
            return Ok(truth.map(|b| Answer::Text(Some(b.to_string()))));
        }
        if !is_known(root, found) {
            return Ok(None);
        }
        let mut evaluator = Evaluator::after_look(&self.plan.program, scope, budget(), found);
        let value = evaluator.run()?;
        let text = convert::string_value_of(value, self.text, scope)?;
        Ok(Some(Answer::Text(text)))
    }
}

/// What the nodes of a path are compared with.
enum Against<'p> {
    /// Whatever the nodes are.
    Fixed(bool),
    /// Whether there is a node is compared.
    Exists {
        some: bool,
        none: bool,
    },
    Equal(Cow<'p, str>, bool),
    EqualNumber(f64, bool),
    Empty(bool),
    Order(Relation, Bounds, bool),
}

fn exists(result: impl Fn(bool) -> bool) -> Against<'static> {
    Against::Exists {
        some: result(true),
        none: result(false),
    }
}

/// `None` for a node-set, which only the tree compares.
fn against(relate: Relate, value: Val<'_, '_>) -> Option<Against<'static>> {
    Some(match (relate, value) {
        (_, Val::Nodes(_)) => return None,
        (Relate::Equal(_), Val::Null) => Against::Fixed(false),
        (Relate::Equal(equal), Val::Bool(b)) => exists(|there| (there == b) == equal),
        (Relate::Equal(equal), Val::Str(s)) => Against::Equal(Cow::Owned(s.into_owned()), equal),
        (Relate::Equal(equal), Val::Json(_)) => Against::Empty(equal),
        (Relate::Equal(equal), other) => {
            Against::EqualNumber(convert::scalar_number(&other), equal)
        }
        // Jaxen always has the boolean on the left.
        (Relate::Order(relation, _), Val::Bool(b)) => {
            exists(|there| Bounds::of_bool(b).holds(relation, Bounds::of_bool(there)))
        }
        (Relate::Order(relation, path_left), value) => Against::Order(
            relation,
            Bounds::of(convert::scalar_number(&value)),
            path_left,
        ),
    })
}

impl Against<'_> {
    /// Whether a node with this string-value decides for `true`.
    fn holds(&self, text: &str) -> bool {
        let number = || Bounds::of(convert::parse_number(text));
        match self {
            Against::Fixed(result) | Against::Exists { some: result, .. } => *result,
            Against::Equal(value, equal) => (text == value) == *equal,
            Against::EqualNumber(value, equal) => (convert::parse_number(text) == *value) == *equal,
            Against::Empty(equal) => text.is_empty() == *equal,
            Against::Order(relation, bounds, true) => number().holds(*relation, *bounds),
            Against::Order(relation, bounds, false) => bounds.holds(*relation, number()),
        }
    }
}

fn is_boolean(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Or(_)
            | Expr::And(_)
            | Expr::Equality(..)
            | Expr::Relational(..)
            | Expr::Call(Function::Not | Function::Boolean, _)
    )
}

/// Whether all probes in an expression have been answered.
fn is_known(expr: &Expr, found: &[Found]) -> bool {
    match expr {
        Expr::Variable(Variable::Probe(number)) => {
            !matches!(found.get(*number), Some(Found::Unknown) | None)
        }
        other => other.same_context().into_iter().all(|e| is_known(e, found)),
    }
}

/// Whether evaluating it can neither fail nor do anything but give a boolean.
fn is_harmless(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) | Expr::Number(_) | Expr::Variable(Variable::Probe(_)) => true,
        Expr::Call(Function::Not | Function::Boolean, args) => args.iter().all(is_harmless),
        Expr::Or(list) | Expr::And(list) => list.iter().all(is_harmless),
        _ => false,
    }
}

/// Three-valued evaluation: an answer may be certain before all probes have theirs.
struct Truth<'e, 'p> {
    look: &'e Look<'p>,
    found: &'e [Found],
}

impl Truth<'_, '_> {
    fn of(&self, expr: &Expr, scope: &dyn Scope) -> Result<Option<bool>, EvalError> {
        match expr {
            Expr::Variable(Variable::Probe(number)) => Ok(match self.found.get(*number) {
                Some(Found::Bool(b)) => Some(*b),
                Some(Found::Unknown) | None => None,
                Some(_) => return self.whole(expr, scope),
            }),
            Expr::Or(list) => self.chain(list, true, scope),
            Expr::And(list) => self.chain(list, false, scope),
            Expr::Call(function @ (Function::Not | Function::Boolean), args) => {
                match args.as_slice() {
                    [arg] => {
                        let negate = *function == Function::Not;
                        Ok(self.of(arg, scope)?.map(|b| b != negate))
                    }
                    _ => self.whole(expr, scope),
                }
            }
            _ => self.whole(expr, scope),
        }
    }

    /// `or` and `and`: `decisive` is the operand's value that decides.
    fn chain(
        &self,
        list: &[Expr],
        decisive: bool,
        scope: &dyn Scope,
    ) -> Result<Option<bool>, EvalError> {
        let mut open = false;
        for e in list {
            match self.of(e, scope) {
                // An earlier operand may still decide before this one is evaluated.
                Err(_) if open => return Ok(None),
                Err(error) => return Err(error),
                Ok(Some(value)) if value == decisive => return Ok(Some(decisive)),
                Ok(Some(_)) => {}
                Ok(None) if is_harmless(e) => open = true,
                // Later operands count only when this one has been evaluated without an error.
                Ok(None) => return Ok(None),
            }
        }
        Ok((!open).then_some(!decisive))
    }

    fn whole(&self, expr: &Expr, scope: &dyn Scope) -> Result<Option<bool>, EvalError> {
        if !is_known(expr, self.found) {
            return Ok(None);
        }
        let program = &self.look.plan.program;
        let mut evaluator = Evaluator::after_look(program, scope, budget(), self.found);
        evaluator.eval_bool(expr, NOWHERE).map(Some)
    }
}
