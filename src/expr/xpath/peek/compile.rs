//! Recognising what a look can answer, and taking it apart.
//!
//! Every rewriting here keeps what the expression means: a path in the place of a boolean asks whether there is a
//! node, in the place of a string or a number for the text of the first one, and so on, just as the evaluator treats
//! paths in these places.

use super::{Anchor, Masks, Plan, Probe, Question, Relate, StepTest, Test, Wanted};
use crate::expr::xpath::functions::Function;
use crate::expr::xpath::program::{
    Axis, Expr, NodeTest, Path, Predicate, Program, Relation, Start, Step, Variable,
};

/// Most steps of all paths of one expression.
const MOST_STEPS: usize = 64;

pub(super) fn plan(program: &Program, text: &str, wanted: Wanted) -> Option<Plan> {
    let mut compiler = Compiler::default();
    let root = match (wanted, path_of(&program.root)) {
        (Wanted::Boolean, _) => compiler.boolean(&program.root)?,
        // `node()` in the text changes how elements become strings (spec 05 §3.6).
        (Wanted::Text, Some(_)) if text.contains("node()") => return None,
        (Wanted::Text, Some(found)) => compiler.probe(found, Question::All)?,
        (Wanted::Text, None) => compiler.value(&program.root)?,
    };
    Some(Plan {
        program: Program {
            root,
            name_slots: program.name_slots,
        },
        probes: compiler.probes,
        steps: compiler.steps,
        masks: compiler.masks,
    })
}

/// A path with steps, and whether only its first node counts: `(//x)[1]`.
fn path_of(expr: &Expr) -> Option<(&Path, bool)> {
    let Expr::Path(path) = expr else { return None };
    match &path.start {
        Start::Filter(inner, predicates) if path.steps.is_empty() => {
            match (&**predicates, path_of(inner)) {
                ([Predicate::Index(1)], Some((inner, _))) => Some((inner, true)),
                _ => None,
            }
        }
        _ if path.steps.is_empty() => None,
        _ => Some((path, false)),
    }
}

#[derive(Default)]
struct Compiler {
    probes: Vec<Probe>,
    steps: Vec<Test>,
    masks: Masks,
}

impl Compiler {
    /// The expression where only its truth counts.
    fn boolean(&mut self, expr: &Expr) -> Option<Expr> {
        if let Some(found) = self.body_path(expr) {
            return self.probe(found, Question::Exists);
        }
        self.value(expr)
    }

    /// The expression where its string or number counts.
    fn text(&mut self, expr: &Expr) -> Option<Expr> {
        if let Some(found) = self.body_path(expr) {
            return self.probe(found, Question::First);
        }
        self.value(expr)
    }

    fn body_path<'e>(&self, expr: &'e Expr) -> Option<(&'e Path, bool)> {
        path_of(expr).filter(|_| expr.needs_body(true))
    }

    /// The expression as it is, when its value is no node-set of the body.
    fn value(&mut self, expr: &Expr) -> Option<Expr> {
        if !expr.needs_body(true) {
            return (!reads_form(expr)).then(|| expr.clone());
        }
        Some(match expr {
            Expr::Or(list) => Expr::Or(self.all(list, Compiler::boolean)?),
            Expr::And(list) => Expr::And(self.all(list, Compiler::boolean)?),
            Expr::Negate(e) => Expr::Negate(Box::new(self.text(e)?)),
            Expr::Arithmetic(first, rest) => {
                let first = Box::new(self.text(first)?);
                let mut operands = Vec::with_capacity(rest.len());
                for (operator, e) in rest {
                    operands.push((*operator, self.text(e)?));
                }
                Expr::Arithmetic(first, operands)
            }
            Expr::Equality(left, rest) => match rest.as_slice() {
                [(equal, right)] => self.equality(left, right, *equal)?,
                _ => return None,
            },
            Expr::Relational(left, rest) => match rest.as_slice() {
                [(relation, right)] => self.relational(left, right, *relation)?,
                _ => return None,
            },
            Expr::Call(function, args) => self.call(function, args)?,
            _ => return None,
        })
    }

    fn all(
        &mut self,
        list: &[Expr],
        one: fn(&mut Compiler, &Expr) -> Option<Expr>,
    ) -> Option<Vec<Expr>> {
        list.iter().map(|e| one(self, e)).collect()
    }

    fn call(&mut self, function: &Function, args: &[Expr]) -> Option<Expr> {
        let args = match function {
            Function::Boolean | Function::Not => self.all(args, Compiler::boolean)?,
            Function::Count => {
                let [only] = args else { return None };
                let found = self.body_path(only)?;
                return self.probe(found, Question::Count);
            }
            // Without an argument these take the context node.
            _ if args.is_empty() => return None,
            Function::String
            | Function::Concat
            | Function::StartsWith
            | Function::EndsWith
            | Function::Contains
            | Function::SubstringBefore
            | Function::SubstringAfter
            | Function::Substring
            | Function::StringLength
            | Function::NormalizeSpace
            | Function::Translate
            | Function::LowerCase
            | Function::UpperCase
            | Function::Number
            | Function::Floor
            | Function::Ceiling
            | Function::Round
            | Function::Base64Encode
            | Function::Base64Decode
            | Function::UrlEncode => self.all(args, Compiler::text)?,
            _ => return None,
        };
        Some(Expr::Call(function.clone(), args))
    }

    fn equality(&mut self, left: &Expr, right: &Expr, equal: bool) -> Option<Expr> {
        if let (Expr::Call(Function::Count, args), Expr::Number(0.0)) = (left, right)
            && let [counted] = args.as_slice()
        {
            let found = self.body_path(counted)?;
            let exists = self.probe(found, Question::Exists)?;
            return Some(if equal {
                Expr::Call(Function::Not, vec![exists])
            } else {
                exists
            });
        }
        let relate = Relate::Equal(equal);
        if let Some(probe) = self.compare((left, right), relate, relate)? {
            return Some(probe);
        }
        let left = Box::new(self.value(left)?);
        Some(Expr::Equality(left, vec![(equal, self.value(right)?)]))
    }

    fn relational(&mut self, left: &Expr, right: &Expr, relation: Relation) -> Option<Expr> {
        let counted = |e: &Expr| matches!(e, Expr::Call(Function::Count, args) if args.len() == 1);
        let some = match (left, relation, right) {
            (count, Relation::Greater, Expr::Number(0.0))
            | (count, Relation::GreaterEqual, Expr::Number(1.0))
            | (Expr::Number(0.0), Relation::Less, count)
            | (Expr::Number(1.0), Relation::LessEqual, count) => Some(count),
            _ => None,
        };
        if let Some(Expr::Call(_, args)) = some.filter(|e| counted(e)) {
            let found = self.body_path(args.first()?)?;
            return self.probe(found, Question::Exists);
        }
        let (on_left, on_right) = (
            Relate::Order(relation, true),
            Relate::Order(relation, false),
        );
        if let Some(probe) = self.compare((left, right), on_left, on_right)? {
            return Some(probe);
        }
        let left = Box::new(self.value(left)?);
        Some(Expr::Relational(left, vec![(relation, self.value(right)?)]))
    }

    /// A path against something that does not read the body; `Some(None)` when neither side is a path.
    #[allow(clippy::option_option)]
    fn compare(
        &mut self,
        sides: (&Expr, &Expr),
        on_left: Relate,
        on_right: Relate,
    ) -> Option<Option<Expr>> {
        let (found, relate, with) = match (self.body_path(sides.0), self.body_path(sides.1)) {
            (None, None) => return Some(None),
            (Some(found), None) => (found, on_left, sides.1),
            (None, Some(found)) => (found, on_right, sides.0),
            (Some(_), Some(_)) => return None,
        };
        if with.needs_body(true) || reads_form(with) {
            return None;
        }
        self.probe(found, Question::Compare(relate, with.clone()))
            .map(Some)
    }

    fn probe(&mut self, (path, single): (&Path, bool), question: Question) -> Option<Expr> {
        if path.overlap {
            return None;
        }
        let anchor = match &path.start {
            Start::Context => Anchor::Envelope,
            Start::Root => Anchor::Root,
            Start::Filter(Expr::Variable(variable), predicates) if predicates.is_empty() => {
                match variable {
                    Variable::Body => Anchor::Body,
                    Variable::Header => Anchor::Header,
                    Variable::Envelope => Anchor::Envelope,
                    _ => return None,
                }
            }
            Start::Filter(..) => return None,
        };
        let number = self.probes.len();
        let first = self.bit()?;
        let steps: Vec<&Step> = path.steps.iter().filter(|s| !is_here(s)).collect();
        let (last, before) = steps.split_last()?;
        for (index, step) in before.iter().enumerate() {
            let test = self.element(step)?;
            // Made for attributes; for other steps it would have to leave out the document node.
            let elements_only = matches!((&test, &step.test), (StepTest::Below, NodeTest::AnyName));
            let next = steps.get(index + 1)?;
            if elements_only && next.axis != Axis::Attribute {
                return None;
            }
            self.push(test, None)?;
        }
        let test = match (&last.test, last.axis) {
            (NodeTest::Text, Axis::Child | Axis::Descendant) => {
                let bit = self.bit()?;
                self.index(last, bit)?;
                if last.axis == Axis::Child {
                    self.masks.text_child |= bit;
                } else {
                    self.masks.text_descendant |= bit;
                }
                StepTest::Text
            }
            (NodeTest::Name { name, .. }, Axis::Attribute) if last.predicates.is_empty() => {
                self.masks.attribute |= self.bit()?;
                StepTest::Attribute(name.clone())
            }
            _ => match self.element(last)? {
                StepTest::Below => return None,
                test => test,
            },
        };
        self.masks.last |= self.bit()?;
        self.push(test, Some(number))?;
        self.probes.push(Probe {
            question,
            anchor,
            first,
            single,
        });
        Some(Expr::Variable(Variable::Probe(number)))
    }

    /// The bit of the step that comes next.
    fn bit(&self) -> Option<u64> {
        (self.steps.len() < MOST_STEPS).then(|| 1 << self.steps.len())
    }

    fn push(&mut self, test: StepTest, result_of: Option<usize>) -> Option<()> {
        self.bit()?;
        self.steps.push(Test { test, result_of });
        Some(())
    }

    /// A step to elements.
    fn element(&mut self, step: &Step) -> Option<StepTest> {
        let bit = self.bit()?;
        let test = match &step.test {
            NodeTest::Name { name, .. } => StepTest::Name(name.clone()),
            NodeTest::AnyName => StepTest::AnyName,
            NodeTest::Namespace(uri) => StepTest::Namespace(uri.clone()),
            NodeTest::Any | NodeTest::Container => StepTest::Below,
            _ => return None,
        };
        match (step.axis, &test) {
            (Axis::DescendantOrSelf, StepTest::Below | StepTest::AnyName)
                if step.predicates.is_empty() =>
            {
                self.masks.below |= bit;
                return Some(StepTest::Below);
            }
            (_, StepTest::Below) => return None,
            (Axis::Child, _) => self.masks.child |= bit,
            (Axis::Descendant, _) => self.masks.descendant |= bit,
            _ => return None,
        }
        self.index(step, bit)?;
        Some(test)
    }

    /// `[1]` on the child axis is the only predicate.
    fn index(&mut self, step: &Step, bit: u64) -> Option<()> {
        match step.predicates.as_slice() {
            [] => Some(()),
            [Predicate::Index(1)] if step.axis == Axis::Child => {
                self.masks.first |= bit;
                Some(())
            }
            _ => None,
        }
    }
}

/// Whether it may ask for what a message only knows once its body is built.
fn reads_form(expr: &Expr) -> bool {
    const NAMES: [&str; 5] = [
        "Action",
        "MESSAGE_FORMAT",
        "message.builder.invoked",
        "messageType",
        "synapse.internal.rest.contentType",
    ];
    match expr {
        Expr::Call(Function::GetProperty, args) => args
            .iter()
            .any(|arg| !matches!(arg, Expr::Literal(name) if !NAMES.contains(&&**name))),
        Expr::Variable(Variable::Property(_, name)) => NAMES.contains(&&**name),
        other => other.same_context().into_iter().any(reads_form),
    }
}

/// `.`
fn is_here(step: &Step) -> bool {
    step.axis == Axis::Itself && matches!(step.test, NodeTest::Any) && step.predicates.is_empty()
}
