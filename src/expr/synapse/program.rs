//! The compiled form of an expression.

use super::functions::Row;
use super::value::Val;
use crate::expr::jsonpath::JsonPath;
use crate::expr::xpath::XPath;

/// One node. Chains are flat, so that `1 + 1 + …` costs no stack.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Val<'static>),
    Array(Vec<Node>),
    /// `payload` and `$`; `whole`: the expression is nothing else, see spec 05 §5.5.
    Payload {
        path: Option<Box<Path>>,
        whole: Option<Box<XPath>>,
    },
    Variable {
        name: VariableName,
        path: Option<Box<Path>>,
    },
    /// For query and path parameters the name of the property that holds them.
    Named(Root, Box<str>),
    Call(Box<Call>),
    /// Arithmetic or comparisons, applied from the left.
    Chain(Box<Node>, Vec<(Operator, Node)>),
    /// `and` and `or`, applied from the right; all operands are evaluated.
    Logic(Box<Node>, Vec<(Logic, Node)>),
    /// Condition, then, else.
    Choice(Box<[Node; 3]>),
}

#[derive(Debug)]
pub(super) enum VariableName {
    Plain(Box<str>),
    /// `vars['x']`: the reference accepts it and then throws.
    SingleQuoted(Box<str>),
}

/// Where a plain name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Header,
    Config,
    QueryParameter,
    PathParameter,
    FunctionParameter,
    Axis2,
    Synapse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
}

impl Logic {
    /// The name in the reference's messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Logic::And => "AND",
            Logic::Or => "OR",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    pub(super) fn is_relational(self) -> bool {
        matches!(
            self,
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual
        )
    }

    /// The name in the reference's messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operator::Add => "ADD",
            Operator::Subtract => "SUBTRACT",
            Operator::Multiply => "MULTIPLY",
            Operator::Divide => "DIVIDE",
            Operator::Modulo => "MODULO",
            Operator::Equal => "EQUALS",
            Operator::NotEqual => "NOT_EQUALS",
            Operator::Less => "LESS_THAN",
            Operator::LessEqual => "LESS_THAN_OR_EQUAL",
            Operator::Greater => "GREATER_THAN",
            Operator::GreaterEqual => "GREATER_THAN_OR_EQUAL",
        }
    }
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) row: &'static Row,
    pub(super) args: Vec<Node>,
    /// `registry(…).property(…)`.
    pub(super) property: Option<Node>,
    /// A path behind `object(…)`, `array(…)` or `registry(…)`.
    pub(super) path: Option<Path>,
    /// What a literal argument compiles to.
    pub(super) prepared: Prepared,
}

/// What can be made of literal arguments before any message comes.
#[derive(Debug)]
pub(super) enum Prepared {
    Nothing,
    /// `xpath('…')`, `xpath('…', 'v')`; the error of a text that does not compile.
    XPath(Result<XPath, String>),
    /// The second argument of `split`.
    Regex(Result<regex::Regex, String>),
    /// The patterns of `formatDateTime`, in order.
    Patterns(Vec<Result<super::datetime::Pattern, String>>),
}

/// A JSONPath behind an access (spec 05 §5.6).
#[derive(Debug)]
pub(super) struct Path {
    /// As it is written, without blanks, from its first `.` or `[`.
    pub(super) text: Box<str>,
    pub(super) compiled: PathCode,
    /// For variables that are maps: the first step, which is the key, and the path behind it.
    pub(super) keyed: Option<(Box<str>, Option<PathCode>)>,
    /// What fills the slots of the compiled paths.
    pub(super) slots: Vec<SlotNode>,
}

/// A path, or why it does not compile: the reference finds out when it is used.
pub(super) type PathCode = Result<JsonPath, String>;

#[derive(Debug)]
pub(super) enum SlotNode {
    /// `[expr]`
    One(Node),
    /// `[a,b]`
    List(Vec<Node>),
    /// `[a:b]`: the parts that are there, each with whether a minus stands before it.
    Slice {
        parts: Vec<(bool, Node)>,
        open_start: bool,
        open_end: bool,
    },
    /// An operand of a filter.
    Operand(Node),
}

impl Node {
    /// Whether evaluation may look at the body (spec 05 §2.3, decided on the expression itself).
    pub(super) fn needs_body(&self) -> bool {
        self.any(|node| matches!(node, Node::Payload { .. }) || node.is_xpath_on_body())
    }

    /// Whether evaluation may look at the XML form of the body.
    pub(super) fn needs_xml(&self) -> bool {
        self.any(Node::is_xpath_on_body)
    }

    fn is_xpath_on_body(&self) -> bool {
        match self {
            Node::Call(call) => match &call.prepared {
                Prepared::XPath(Ok(xpath)) => xpath.needs_body(),
                // An XPath that is only known with the message may read anything.
                Prepared::Nothing => call.row.name == "xpath",
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether this node or one below it passes a test.
    fn any(&self, test: fn(&Node) -> bool) -> bool {
        let in_path = |path: &Path| {
            path.slots.iter().any(|slot| match slot {
                SlotNode::One(node) | SlotNode::Operand(node) => node.any(test),
                SlotNode::List(nodes) => nodes.iter().any(|n| n.any(test)),
                SlotNode::Slice { parts, .. } => parts.iter().any(|(_, n)| n.any(test)),
            })
        };
        if test(self) {
            return true;
        }
        match self {
            Node::Constant(_) | Node::Named(..) => false,
            Node::Payload { path, .. } | Node::Variable { path, .. } => {
                path.as_deref().is_some_and(in_path)
            }
            Node::Array(items) => items.iter().any(|n| n.any(test)),
            Node::Chain(first, rest) => first.any(test) || rest.iter().any(|(_, n)| n.any(test)),
            Node::Logic(first, rest) => first.any(test) || rest.iter().any(|(_, n)| n.any(test)),
            Node::Choice(nodes) => nodes.iter().any(|n| n.any(test)),
            Node::Call(call) => {
                call.args.iter().any(|n| n.any(test))
                    || call.property.as_ref().is_some_and(|n| n.any(test))
                    || call.path.as_ref().is_some_and(in_path)
            }
        }
    }
}
