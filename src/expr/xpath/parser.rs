//! Tokens to a [`Program`]. Names are resolved here: prefixes to namespaces, variables and
//! functions to what they stand for.

use super::functions::Function;
use super::lexer::{self, Kind, Token};
use super::program::{
    Axis, Expr, NodeTest, Operator, Path, Predicate, Program, Relation, Start, Step, Variable,
};
use super::{MAX_NESTING, MAX_TEXT, Namespaces, PropertyScope, XPathError};
use crate::xml::ExpandedName;

type Result<T> = std::result::Result<T, XPathError>;

pub(super) fn parse(text: &str, namespaces: &Namespaces) -> Result<(Program, Vec<XPathError>)> {
    if text.len() > MAX_TEXT {
        return Err(XPathError::new(
            0,
            0,
            format!(
                "the expression has {} bytes, more than {MAX_TEXT}",
                text.len()
            ),
        ));
    }
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        namespaces,
        nesting: 0,
        name_slots: 0,
        warnings: Vec::new(),
    };
    let root = parser.expression()?;
    if parser.kind() != Kind::End {
        return Err(parser.unexpected("an operator or the end of the expression"));
    }
    Ok((
        Program {
            root,
            name_slots: parser.name_slots,
        },
        parser.warnings,
    ))
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    namespaces: &'t Namespaces,
    nesting: usize,
    name_slots: usize,
    warnings: Vec<XPathError>,
}

/// Binding strength of binary operators, weakest first.
const OR: u8 = 0;
const AND: u8 = 1;
const EQUALITY: u8 = 2;
const RELATIONAL: u8 = 3;
const ADDITIVE: u8 = 4;
const MULTIPLICATIVE: u8 = 5;

enum Binary {
    Or,
    And,
    Equality(bool),
    Relational(Relation),
    Arithmetic(Operator),
}

fn binary(kind: Kind) -> Option<(u8, Binary)> {
    Some(match kind {
        Kind::Or => (OR, Binary::Or),
        Kind::And => (AND, Binary::And),
        Kind::Equal => (EQUALITY, Binary::Equality(true)),
        Kind::NotEqual => (EQUALITY, Binary::Equality(false)),
        Kind::Less => (RELATIONAL, Binary::Relational(Relation::Less)),
        Kind::LessEqual => (RELATIONAL, Binary::Relational(Relation::LessEqual)),
        Kind::Greater => (RELATIONAL, Binary::Relational(Relation::Greater)),
        Kind::GreaterEqual => (RELATIONAL, Binary::Relational(Relation::GreaterEqual)),
        Kind::Plus => (ADDITIVE, Binary::Arithmetic(Operator::Add)),
        Kind::Minus => (ADDITIVE, Binary::Arithmetic(Operator::Subtract)),
        Kind::Multiply => (MULTIPLICATIVE, Binary::Arithmetic(Operator::Multiply)),
        Kind::Div => (MULTIPLICATIVE, Binary::Arithmetic(Operator::Divide)),
        Kind::Mod => (MULTIPLICATIVE, Binary::Arithmetic(Operator::Modulo)),
        _ => return None,
    })
}

/// All operators are left-associative, so a chain on the left simply grows.
fn combine(left: Expr, operator: Binary, right: Expr) -> Expr {
    match (operator, left) {
        (Binary::Or, Expr::Or(mut list)) => {
            list.push(right);
            Expr::Or(list)
        }
        (Binary::Or, left) => Expr::Or(vec![left, right]),
        (Binary::And, Expr::And(mut list)) => {
            list.push(right);
            Expr::And(list)
        }
        (Binary::And, left) => Expr::And(vec![left, right]),
        (Binary::Equality(equal), Expr::Equality(first, mut rest)) => {
            rest.push((equal, right));
            Expr::Equality(first, rest)
        }
        (Binary::Equality(equal), left) => Expr::Equality(Box::new(left), vec![(equal, right)]),
        (Binary::Relational(op), Expr::Relational(first, mut rest)) => {
            rest.push((op, right));
            Expr::Relational(first, rest)
        }
        (Binary::Relational(op), left) => Expr::Relational(Box::new(left), vec![(op, right)]),
        (Binary::Arithmetic(op), Expr::Arithmetic(first, mut rest))
            if rest
                .last()
                .is_some_and(|(o, _)| o.is_additive() == op.is_additive()) =>
        {
            rest.push((op, right));
            Expr::Arithmetic(first, rest)
        }
        (Binary::Arithmetic(op), left) => Expr::Arithmetic(Box::new(left), vec![(op, right)]),
    }
}

impl<'t> Parser<'t> {
    fn token(&self, ahead: usize) -> Token {
        let end = Token {
            kind: Kind::End,
            start: self.text.len(),
            end: self.text.len(),
        };
        self.tokens.get(self.at + ahead).copied().unwrap_or(end)
    }

    fn kind(&self) -> Kind {
        self.token(0).kind
    }

    fn text_of(&self, token: Token) -> &'t str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn next(&mut self) -> Token {
        let token = self.token(0);
        self.at += 1;
        token
    }

    fn eat(&mut self, kind: Kind) -> bool {
        let found = self.kind() == kind;
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, kind: Kind, wanted: &str) -> Result<Token> {
        if self.kind() == kind {
            Ok(self.next())
        } else {
            Err(self.unexpected(wanted))
        }
    }

    fn unexpected(&self, wanted: &str) -> XPathError {
        let token = self.token(0);
        let message = if token.kind == Kind::End {
            format!("the expression ends where {wanted} should be")
        } else {
            format!("expected {wanted}, found '{}'", self.text_of(token))
        };
        XPathError::new(token.start, token.end - token.start, message)
    }

    fn warn(&mut self, from: Token, to: Token, message: impl Into<String>) {
        self.warnings.push(XPathError::new(
            from.start,
            to.end.saturating_sub(from.start),
            message,
        ));
    }

    fn expression(&mut self) -> Result<Expr> {
        if self.nesting >= MAX_NESTING {
            let token = self.token(0);
            return Err(XPathError::new(
                token.start,
                token.end - token.start,
                format!("the expression is nested deeper than {MAX_NESTING} levels"),
            ));
        }
        self.nesting += 1;
        let expr = self.operators();
        self.nesting -= 1;
        expr
    }

    /// Binary operators by precedence, on explicit stacks.
    fn operators(&mut self) -> Result<Expr> {
        let mut operands = vec![self.unary()?];
        let mut pending: Vec<(u8, Binary)> = Vec::new();
        loop {
            let coming = binary(self.kind());
            while let Some((strength, operator)) = pending.pop() {
                if coming.as_ref().is_some_and(|(next, _)| *next > strength) {
                    pending.push((strength, operator));
                    break;
                }
                match (operands.pop(), operands.pop()) {
                    (Some(right), Some(left)) => operands.push(combine(left, operator, right)),
                    _ => return Err(self.unexpected("an operand")),
                }
            }
            match coming {
                Some(operator) => {
                    self.at += 1;
                    pending.push(operator);
                    operands.push(self.unary()?);
                }
                None => {
                    return operands
                        .pop()
                        .ok_or_else(|| self.unexpected("an expression"));
                }
            }
        }
    }

    fn unary(&mut self) -> Result<Expr> {
        let mut signs = 0usize;
        while self.eat(Kind::Minus) {
            signs += 1;
        }
        let mut expr = self.path()?;
        if self.kind() == Kind::Pipe {
            let mut list = vec![expr];
            while self.eat(Kind::Pipe) {
                list.push(self.path()?);
            }
            expr = Expr::Union(list);
        }
        Ok(match signs {
            0 => expr,
            odd if odd % 2 == 1 => Expr::Negate(Box::new(expr)),
            _ => Expr::Negate(Box::new(Expr::Negate(Box::new(expr)))),
        })
    }

    fn path(&mut self) -> Result<Expr> {
        let primary = match self.kind() {
            Kind::Number => Some(self.number()),
            Kind::Literal => Some(self.literal()),
            Kind::LeftParen => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(Kind::RightParen, "')'")?;
                Some(inner)
            }
            Kind::Dollar => Some(self.variable()?),
            Kind::Name if self.is_function() => Some(self.call()?),
            _ => None,
        };
        let Some(primary) = primary else {
            return self.location_path();
        };
        let constant = matches!(primary, Expr::Number(_) | Expr::Literal(_));
        let predicates = self.predicates()?;
        let mut steps = Vec::new();
        match self.kind() {
            Kind::Slash | Kind::DoubleSlash if constant => {
                return Err(self.unexpected("an operator, as only nodes have a path below them"));
            }
            Kind::Slash | Kind::DoubleSlash => {
                if self.next_is_double_slash() {
                    steps.push(any_below());
                }
                // Jaxen accepts `$body/` as `$body`.
                if self.kind() != Kind::End {
                    self.steps(&mut steps)?;
                }
            }
            _ if predicates.is_empty() => return Ok(primary),
            _ => {}
        }
        Ok(path(Start::Filter(primary, predicates), steps))
    }

    /// Consumes `/` or `//`.
    fn next_is_double_slash(&mut self) -> bool {
        self.next().kind == Kind::DoubleSlash
    }

    fn location_path(&mut self) -> Result<Expr> {
        let mut steps = Vec::new();
        let start = match self.kind() {
            Kind::Slash => {
                self.at += 1;
                if !self.at_step() {
                    return Ok(path(Start::Root, steps));
                }
                Start::Root
            }
            Kind::DoubleSlash => {
                self.at += 1;
                steps.push(any_below());
                Start::Root
            }
            _ if self.at_step() => Start::Context,
            _ => return Err(self.unexpected("a path, a value or a function")),
        };
        self.steps(&mut steps)?;
        Ok(path(start, steps))
    }

    fn at_step(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Dot | Kind::DotDot | Kind::At | Kind::Name | Kind::Star
        )
    }

    fn steps(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        loop {
            let step = self.step()?;
            steps.push(step);
            match self.kind() {
                Kind::Slash => self.at += 1,
                Kind::DoubleSlash => {
                    self.at += 1;
                    steps.push(any_below());
                }
                _ => return Ok(()),
            }
        }
    }

    fn step(&mut self) -> Result<Step> {
        let token = self.token(0);
        let axis = match token.kind {
            Kind::Dot | Kind::DotDot => {
                self.at += 1;
                let axis = if token.kind == Kind::Dot {
                    Axis::Itself
                } else {
                    Axis::Parent
                };
                return Ok(Step {
                    axis,
                    test: NodeTest::Any,
                    predicates: self.predicates()?,
                });
            }
            Kind::At => {
                self.at += 1;
                Axis::Attribute
            }
            Kind::Name if self.token(1).kind == Kind::DoubleColon => {
                let name = self.text_of(token);
                let Some(axis) = Axis::from_name(name) else {
                    return Err(XPathError::new(
                        token.start,
                        token.end - token.start,
                        format!("there is no axis '{name}'"),
                    ));
                };
                self.at += 2;
                axis
            }
            _ => Axis::Child,
        };
        let test = self.node_test()?;
        Ok(Step {
            axis,
            test,
            predicates: self.predicates()?,
        })
    }

    fn node_test(&mut self) -> Result<NodeTest> {
        let first = self.token(0);
        match (first.kind, self.token(1).kind) {
            (Kind::Star, _) => {
                self.at += 1;
                Ok(NodeTest::AnyName)
            }
            (Kind::Name, Kind::LeftParen) => self.node_type(),
            (Kind::Name, Kind::Colon) => {
                let prefix = self.text_of(first);
                self.at += 2;
                let second = self.token(0);
                let uri = self.namespaces.lookup(prefix);
                if uri.is_none() {
                    self.warn(
                        first,
                        first,
                        format!("the prefix '{prefix}' is not declared"),
                    );
                }
                let unbound = || NodeTest::Unbound(prefix.into());
                match second.kind {
                    Kind::Star => {
                        self.at += 1;
                        Ok(uri.map_or_else(unbound, |uri| NodeTest::Namespace(uri.into())))
                    }
                    Kind::Name => {
                        self.at += 1;
                        let local = self.text_of(second);
                        Ok(match uri {
                            Some(uri) => self.name_test(uri, local),
                            None => unbound(),
                        })
                    }
                    _ => Err(self.unexpected("a name or '*' after the prefix")),
                }
            }
            (Kind::Name, _) => {
                self.at += 1;
                let local = self.text_of(first);
                Ok(self.name_test("", local))
            }
            _ => Err(self.unexpected("a name or '*'")),
        }
    }

    fn name_test(&mut self, namespace: &str, local: &str) -> NodeTest {
        let slot = self.name_slots;
        self.name_slots += 1;
        NodeTest::Name {
            slot,
            name: ExpandedName::new(namespace, local),
        }
    }

    fn node_type(&mut self) -> Result<NodeTest> {
        let token = self.next();
        let name = self.text_of(token);
        self.at += 1;
        let test = match name {
            "node" => NodeTest::Any,
            "text" => NodeTest::Text,
            "comment" => NodeTest::Comment,
            "processing-instruction" => {
                let target = match self.kind() {
                    Kind::Literal => Some(self.literal_text()),
                    _ => None,
                };
                NodeTest::Instruction(target.map(Into::into))
            }
            _ => {
                return Err(XPathError::new(
                    token.start,
                    token.end - token.start,
                    format!("'{name}(' is not a node test; a function cannot be a step"),
                ));
            }
        };
        self.expect(Kind::RightParen, "')'")?;
        Ok(test)
    }

    fn predicates(&mut self) -> Result<Vec<Predicate>> {
        let mut list = Vec::new();
        while self.eat(Kind::LeftBracket) {
            let expr = self.expression()?;
            self.expect(Kind::RightBracket, "']'")?;
            list.push(Predicate::new(expr));
        }
        Ok(list)
    }

    fn number(&mut self) -> Expr {
        let token = self.next();
        Expr::Number(self.text_of(token).parse().unwrap_or(f64::NAN))
    }

    fn literal(&mut self) -> Expr {
        Expr::Literal(self.literal_text().into())
    }

    fn literal_text(&mut self) -> &'t str {
        let token = self.next();
        self.text
            .get(token.start + 1..token.end.saturating_sub(1))
            .unwrap_or_default()
    }

    fn is_function(&self) -> bool {
        match self.token(1).kind {
            Kind::LeftParen => !matches!(
                self.text_of(self.token(0)),
                "node" | "text" | "comment" | "processing-instruction"
            ),
            Kind::Colon => {
                self.token(2).kind == Kind::Name && self.token(3).kind == Kind::LeftParen
            }
            _ => false,
        }
    }

    fn call(&mut self) -> Result<Expr> {
        let first = self.token(0);
        let (prefix, name) = self.qualified("a function name")?;
        let last = self.token(0);
        self.expect(Kind::LeftParen, "'('")?;
        let mut arguments = Vec::new();
        // Jaxen accepts a comma before the closing parenthesis.
        while self.kind() != Kind::RightParen {
            arguments.push(self.expression()?);
            if !self.eat(Kind::Comma) {
                break;
            }
        }
        let close = self.expect(Kind::RightParen, "',' or ')'")?;
        let uri = self.namespaces.lookup(prefix);
        let function = Function::find(prefix, uri, name);
        if let Function::Unknown(message) = &function {
            let message = format!("there is no function '{name}': {message}");
            self.warn(
                first,
                Token {
                    end: last.start,
                    ..last
                },
                message,
            );
        } else if let Some(message) = function.wrong_arguments(arguments.len()) {
            self.warn(first, close, message);
        }
        Ok(Expr::Call(function, arguments))
    }

    /// (prefix, local name), with an empty prefix when there is none.
    fn qualified(&mut self, wanted: &str) -> Result<(&'t str, &'t str)> {
        let first = self.expect(Kind::Name, wanted)?;
        if self.eat(Kind::Colon) {
            let second = self.expect(Kind::Name, "a name after the prefix")?;
            Ok((self.text_of(first), self.text_of(second)))
        } else {
            Ok(("", self.text_of(first)))
        }
    }

    fn variable(&mut self) -> Result<Expr> {
        let dollar = self.next();
        let (prefix, name) = self.qualified("a variable name")?;
        let last = self
            .tokens
            .get(self.at.saturating_sub(1))
            .copied()
            .unwrap_or(dollar);
        if let Some(uri) = self.namespaces.lookup(prefix) {
            self.warn(
                dollar,
                last,
                format!(
                    "the prefix '{prefix}' is declared as an XML namespace, so ${prefix}:{name} \
                     is not a Synapse variable"
                ),
            );
            let message = format!("Variable {{{uri}}}:{name}");
            return Ok(Expr::Variable(Variable::Unknown(message.into())));
        }
        let envelope_part = match name {
            "body" => Some(Variable::Body),
            "header" => Some(Variable::Header),
            "env" => Some(Variable::Envelope),
            _ => None,
        };
        if let Some(part) = envelope_part {
            // The reference looks at the local name first, whatever the prefix.
            if !prefix.is_empty() {
                self.warn(
                    dollar,
                    last,
                    format!("${prefix}:{name} is the SOAP {name}, not a property"),
                );
            }
            return Ok(Expr::Variable(part));
        }
        let scope = match prefix {
            "ctx" => PropertyScope::Default,
            "axis2" => PropertyScope::Axis2,
            "trp" => PropertyScope::Transport,
            "func" => PropertyScope::Func,
            "var" => PropertyScope::Variable,
            "operation" => PropertyScope::Operation,
            "sys" => PropertyScope::System,
            "url" => return Ok(Expr::Variable(Variable::Query(name.into()))),
            "" => {
                self.warn(dollar, last, format!("there is no variable '${name}'"));
                let message = format!("Variable {name}");
                return Ok(Expr::Variable(Variable::Unknown(message.into())));
            }
            _ => {
                self.warn(
                    dollar,
                    last,
                    format!(
                        "'{prefix}' is not a variable prefix; ${prefix}:{name} works only while \
                         the property '{prefix}' is a map"
                    ),
                );
                return Ok(Expr::Variable(Variable::Entry(prefix.into(), name.into())));
            }
        };
        Ok(Expr::Variable(Variable::Property(scope, name.into())))
    }
}

fn any_below() -> Step {
    Step {
        axis: Axis::DescendantOrSelf,
        test: NodeTest::Any,
        predicates: Vec::new(),
    }
}

fn path(start: Start, steps: Vec<Step>) -> Expr {
    let mut path = Path {
        start,
        steps,
        overlap: false,
    };
    path.overlap = path.has_overlap();
    if !path.overlap {
        path.simplify();
    }
    Expr::Path(Box::new(path))
}
