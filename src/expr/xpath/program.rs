//! The compiled form: an expression tree without names that still need a lookup by text, plus
//! the static questions the evaluator and the linker ask of it.

use super::PropertyScope;
use super::functions::Function;
use crate::xml::ExpandedName;

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) root: Expr,
    /// Number of name tests; each has a slot for the id its name has in the document at hand.
    pub(super) name_slots: usize,
}

/// Chains hold any number of operands so that `1+1+1+…` costs no stack.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Literal(Box<str>),
    Number(f64),
    Variable(Variable),
    Call(Function, Vec<Expr>),
    Path(Box<Path>),
    Union(Vec<Expr>),
    Negate(Box<Expr>),
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Equality(Box<Expr>, Vec<(bool, Expr)>),
    Relational(Box<Expr>, Vec<(Relation, Expr)>),
    Arithmetic(Box<Expr>, Vec<(Operator, Expr)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operator {
    pub(super) fn is_additive(self) -> bool {
        matches!(self, Operator::Add | Operator::Subtract)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Variable {
    Body,
    Header,
    Envelope,
    Property(PropertyScope, Box<str>),
    /// `$url:name`
    Query(Box<str>),
    /// `$property:key`, an entry of a property that is a map.
    Entry(Box<str>, Box<str>),
    /// Kept for run time, where the reference fails.
    Unknown(Box<str>),
    /// What a look into the body found, by number; only made by `peek`.
    Probe(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) start: Start,
    pub(super) steps: Vec<Step>,
    /// Positions are counted as Jaxen counts them, see `overlap`.
    pub(super) overlap: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Start {
    Context,
    Root,
    Filter(Expr, Vec<Predicate>),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: NodeTest,
    pub(super) predicates: Vec<Predicate>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Axis {
    Child,
    Descendant,
    Parent,
    Ancestor,
    FollowingSibling,
    PrecedingSibling,
    Following,
    Preceding,
    Attribute,
    Namespace,
    Itself,
    DescendantOrSelf,
    AncestorOrSelf,
}

impl Axis {
    pub(super) fn from_name(name: &str) -> Option<Axis> {
        Some(match name {
            "child" => Axis::Child,
            "descendant" => Axis::Descendant,
            "parent" => Axis::Parent,
            "ancestor" => Axis::Ancestor,
            "following-sibling" => Axis::FollowingSibling,
            "preceding-sibling" => Axis::PrecedingSibling,
            "following" => Axis::Following,
            "preceding" => Axis::Preceding,
            "attribute" => Axis::Attribute,
            "namespace" => Axis::Namespace,
            "self" => Axis::Itself,
            "descendant-or-self" => Axis::DescendantOrSelf,
            "ancestor-or-self" => Axis::AncestorOrSelf,
            _ => return None,
        })
    }

    pub(super) fn is_reverse(self) -> bool {
        matches!(
            self,
            Axis::Parent
                | Axis::Ancestor
                | Axis::AncestorOrSelf
                | Axis::PrecedingSibling
                | Axis::Preceding
        )
    }
}

#[derive(Clone, Debug)]
pub(super) enum NodeTest {
    Any,
    AnyName,
    Namespace(Box<str>),
    Name {
        slot: usize,
        name: ExpandedName,
    },
    Text,
    Comment,
    Instruction(Option<Box<str>>),
    /// What can have children: made from the `node()` of `//`.
    Container,
    /// A prefix without a binding: an error once a candidate node is met.
    Unbound(Box<str>),
}

#[derive(Clone, Debug)]
pub(super) enum Predicate {
    /// `[3]`
    Index(usize),
    /// Does not depend on position and size, so it can run node by node.
    Filter(Expr),
    Positional(Expr),
}

/// Which of the children with a name a predicate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `[3]`; the first is 1.
    Number(usize),
    /// `[last()]`.
    Last,
}

/// See [`Step::numbered_after`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered<'p> {
    pub(super) slot: usize,
    pub(super) name: &'p ExpandedName,
    pub(super) place: Place,
    /// Those after the first one.
    pub(super) predicates: &'p [Predicate],
}

impl Predicate {
    pub(super) fn new(expr: Expr) -> Predicate {
        match expr {
            // Jaxen truncates: `[1.5]` is `[1]`.
            Expr::Number(n) if n >= 1.0 && n < f64::from(i32::MAX) => Predicate::Index(n as usize),
            expr if expr.may_be_number() || expr.reads_position() => Predicate::Positional(expr),
            expr => Predicate::Filter(expr),
        }
    }

    pub(super) fn is_filter(&self) -> bool {
        matches!(self, Predicate::Filter(_))
    }

    fn expr(&self) -> Option<&Expr> {
        match self {
            Predicate::Index(_) => None,
            Predicate::Filter(e) | Predicate::Positional(e) => Some(e),
        }
    }
}

impl Expr {
    fn may_be_number(&self) -> bool {
        match self {
            Expr::Number(_) | Expr::Negate(_) | Expr::Arithmetic(..) => true,
            Expr::Variable(v) => {
                !matches!(v, Variable::Body | Variable::Header | Variable::Envelope)
            }
            Expr::Call(f, _) => f.may_return_number(),
            Expr::Path(p) => match &p.start {
                Start::Filter(e, _) => p.steps.is_empty() && e.may_be_number(),
                _ => false,
            },
            Expr::Literal(_)
            | Expr::Union(_)
            | Expr::Or(_)
            | Expr::And(_)
            | Expr::Equality(..)
            | Expr::Relational(..) => false,
        }
    }

    /// Whether `position()` or `last()` of the surrounding context is used.
    fn reads_position(&self) -> bool {
        if let Expr::Call(Function::Position | Function::Last, _) = self {
            return true;
        }
        self.same_context().into_iter().any(Expr::reads_position)
    }

    /// Operands evaluated in the same context as the expression itself.
    pub(super) fn same_context(&self) -> Vec<&Expr> {
        match self {
            Expr::Literal(_) | Expr::Number(_) | Expr::Variable(_) => Vec::new(),
            Expr::Call(_, list) | Expr::Union(list) | Expr::Or(list) | Expr::And(list) => {
                list.iter().collect()
            }
            Expr::Negate(e) => vec![e],
            Expr::Equality(e, rest) => chain(e, rest),
            Expr::Relational(e, rest) => chain(e, rest),
            Expr::Arithmetic(e, rest) => chain(e, rest),
            Expr::Path(p) => match &p.start {
                Start::Filter(e, _) => vec![e],
                _ => Vec::new(),
            },
        }
    }

    /// Whether evaluation reads the envelope when the context node is the envelope (`outer`) or
    /// a node of a property (`!outer`).
    pub(super) fn needs_body(&self, outer: bool) -> bool {
        match self {
            Expr::Variable(v) => {
                matches!(v, Variable::Body | Variable::Header | Variable::Envelope)
            }
            Expr::Call(f, args) => {
                (outer && args.is_empty() && f.defaults_to_context())
                    || (outer && *f == Function::Lang)
                    || f.reads_built_envelope(args)
                    || args.iter().any(|a| a.needs_body(outer))
            }
            Expr::Path(p) => {
                let of_predicates = |list: &[Predicate]| {
                    list.iter()
                        .filter_map(Predicate::expr)
                        .any(|e| e.needs_body(false))
                };
                let start = match &p.start {
                    Start::Context | Start::Root => outer,
                    Start::Filter(e, predicates) => {
                        e.needs_body(outer) || of_predicates(predicates)
                    }
                };
                start || p.steps.iter().any(|s| of_predicates(&s.predicates))
            }
            other => other
                .same_context()
                .into_iter()
                .any(|e| e.needs_body(outer)),
        }
    }
}

fn chain<'e, T>(first: &'e Expr, rest: &'e [(T, Expr)]) -> Vec<&'e Expr> {
    std::iter::once(first)
        .chain(rest.iter().map(|(_, e)| e))
        .collect()
}

impl Path {
    /// Rewrites `//x` so that the set of all nodes is never built.
    pub(super) fn simplify(&mut self) {
        let mut steps: Vec<Step> = Vec::with_capacity(self.steps.len());
        for mut step in self.steps.drain(..) {
            let Some(before) = steps.last_mut().filter(|s| s.is_any_below()) else {
                steps.push(step);
                continue;
            };
            let free = step.predicates.iter().all(Predicate::is_filter);
            let merged = match step.axis {
                Axis::Child | Axis::Descendant if free => Some(Axis::Descendant),
                Axis::Itself | Axis::DescendantOrSelf if free => Some(Axis::DescendantOrSelf),
                Axis::Child => {
                    before.test = NodeTest::Container;
                    None
                }
                Axis::Attribute => {
                    before.test = NodeTest::AnyName;
                    None
                }
                _ => None,
            };
            if let Some(axis) = merged {
                step.axis = axis;
                *before = step;
            } else {
                steps.push(step);
            }
        }
        self.steps = steps;
    }

    /// The last step and those before it, when it is one that can be taken from node to node.
    pub(super) fn last_apart(&self) -> Option<(&Step, &[Step])> {
        let (last, before) = self.steps.split_last()?;
        let together = before
            .last()
            .is_some_and(|below| last.numbered_after(below).is_some());
        (!self.overlap && !together).then_some((last, before))
    }
}

impl Step {
    /// This step when it is `name[3]` or `name[last()]` behind `//`, and `below` is what is left of that.
    pub(super) fn numbered_after(&self, below: &Step) -> Option<Numbered<'_>> {
        let (first, predicates) = self.predicates.split_first()?;
        let place = match first {
            Predicate::Index(number) => Place::Number(*number),
            Predicate::Positional(Expr::Call(Function::Last, _)) => Place::Last,
            _ => return None,
        };
        let NodeTest::Name { slot, name } = &self.test else {
            return None;
        };
        let fits = self.axis == Axis::Child
            && predicates.iter().all(Predicate::is_filter)
            && below.axis == Axis::DescendantOrSelf
            && matches!(below.test, NodeTest::Container)
            && below.predicates.is_empty();
        fits.then_some(Numbered {
            slot: *slot,
            name,
            place,
            predicates,
        })
    }

    /// The middle of `a//b`.
    fn is_any_below(&self) -> bool {
        self.axis == Axis::DescendantOrSelf
            && matches!(self.test, NodeTest::Any)
            && self.predicates.is_empty()
    }
}
