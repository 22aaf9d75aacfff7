//! Tokens to a program (spec 05 §5.2–§5.3).

mod access;

use super::functions::{self, Row};
use super::lexer::{self, Kind, Token};
use super::program::{Call, Logic, Node, Operator, Path, Prepared};
use super::value::Val;
use super::{MAX_NESTING, MAX_TEXT, MAX_WARNINGS, Problem, operators};
use crate::diag::nearest;
use crate::expr::xpath::Namespaces;
use std::borrow::Cow;

type Parsed<T> = Result<T, Problem>;

/// Compiles a whole text.
pub(super) fn parse(
    text: &str,
    namespaces: &Namespaces,
    warnings: &mut Vec<Problem>,
) -> Parsed<Node> {
    if text.len() > MAX_TEXT {
        return Err(Problem::new(
            MAX_TEXT,
            0,
            format!("the expression is longer than {MAX_TEXT} bytes"),
        ));
    }
    let tokens = lexer::tokens(text, warnings)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        namespaces,
        warnings,
    };
    let parsed = parser.whole();
    let mut root = parsed.map_err(|mut problem| {
        // A character that was dropped is what is wrong, more often than not.
        let before = |w: &&Problem| w.offset < problem.offset && w.len > 0;
        if let Some(dropped) = warnings.iter().rev().find(before) {
            problem.message = format!("{}; before it, {}", problem.message, dropped.message);
        }
        problem
    })?;
    if let Node::Payload { path: None, whole } = &mut root {
        *whole = super::body_path().map(Box::new);
    }
    Ok(root)
}

struct Parser<'t, 'w> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    namespaces: &'t Namespaces,
    warnings: &'w mut Vec<Problem>,
}

impl<'t> Parser<'t, '_> {
    fn peek(&self) -> Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token {
        self.tokens
            .get(self.at + ahead)
            .copied()
            .unwrap_or_else(|| self.end())
    }

    fn end(&self) -> Token {
        Token {
            kind: Kind::End,
            start: self.text.len(),
            end: self.text.len(),
        }
    }

    fn bump(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn eat(&mut self, kind: Kind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.bump())
    }

    fn expect(&mut self, kind: Kind, what: &str) -> Parsed<Token> {
        match self.eat(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected(what)),
        }
    }

    fn word(&self, token: Token) -> &'t str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    /// The word as a message shows it.
    fn named(&self, token: Token) -> String {
        match token.kind {
            Kind::End => "the end".to_owned(),
            _ => format!("'{}'", self.word(token)),
        }
    }

    fn problem(&self, token: Token, message: impl Into<String>) -> Problem {
        Problem::new(token.start, token.end - token.start, message)
    }

    fn unexpected(&self, what: &str) -> Problem {
        let token = self.peek();
        self.problem(
            token,
            format!("{what} is expected here, not {}", self.named(token)),
        )
    }

    fn warn(&mut self, token: Token, message: impl Into<String>) {
        if self.warnings.len() < MAX_WARNINGS {
            let warning = self.problem(token, message);
            self.warnings.push(warning);
        }
    }

    /// The error about what stands behind a complete expression.
    fn leftover(&self, token: Token) -> Problem {
        let word = self.word(token);
        let hint = match token.kind {
            Kind::Number if word.starts_with('-') => format!(
                "; a minus next to a digit belongs to the number: write '- {}'",
                word.trim_start_matches('-')
            ),
            Kind::Dot if self.follows_number() => "; a number ends with a digit".to_owned(),
            Kind::Dot | Kind::LeftBracket | Kind::DotDot => {
                "; a path cannot follow here, use object(…) around what holds JSON".to_owned()
            }
            Kind::Name if is_exponent(word) => "; numbers have no exponent".to_owned(),
            Kind::Text | Kind::Name | Kind::Number => "; an operator is missing".to_owned(),
            _ => String::new(),
        };

        self.problem(
            token,
            format!(
                "Parse error: leftover input {} after a complete expression{hint}",
                self.named(token)
            ),
        )
    }

    fn follows_number(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        before.is_some_and(|token| token.kind == Kind::Number)
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_NESTING {
            let token = self.peek();
            return Err(self.problem(
                token,
                format!("expressions are nested deeper than {MAX_NESTING} levels"),
            ));
        }
        self.depth += 1;
        let out = parse(self);
        self.depth -= 1;
        out
    }

    /// An expression and nothing else.
    fn whole(&mut self) -> Parsed<Node> {
        let root = self.expression()?;
        let left = self.peek();
        match left.kind {
            Kind::End => Ok(root),
            _ => Err(self.leftover(left)),
        }
    }

    fn expression(&mut self) -> Parsed<Node> {
        self.nested(|parser| {
            let condition = parser.comparison()?;
            if parser.eat(Kind::Question).is_none() {
                return Ok(condition);
            }
            let then = parser.expression()?;
            parser.expect(Kind::Colon, "the ':' of a choice")?;
            let otherwise = parser.expression()?;
            Ok(match condition {
                Node::Constant(Val::Bool(true)) => then,
                Node::Constant(Val::Bool(false)) => otherwise,
                condition => Node::Choice(Box::new([condition, then, otherwise])),
            })
        })
    }

    fn comparison(&mut self) -> Parsed<Node> {
        let (first, mut logic) = self.logic()?;
        let mut rest = Vec::new();
        loop {
            let operator = match self.peek().kind {
                Kind::Equal => Operator::Equal,
                Kind::NotEqual => Operator::NotEqual,
                Kind::Less => Operator::Less,
                Kind::LessEqual => Operator::LessEqual,
                Kind::Greater => Operator::Greater,
                Kind::GreaterEqual => Operator::GreaterEqual,
                _ => break,
            };
            self.bump();
            let (operand, word) = self.logic()?;
            logic = logic.or(word);
            rest.push((operator, operand));
        }
        if let Some(word) = logic
            && rest.iter().any(|(operator, _)| operator.is_relational())
        {
            let text = self.word(word);
            self.warn(
                word,
                format!(
                    "'{text}' binds tighter than comparisons, so this never has a result: put each comparison in parentheses"
                ),
            );
        }
        Ok(chain(first, rest))
    }

    /// With the operator when there was one.
    fn logic(&mut self) -> Parsed<(Node, Option<Token>)> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        let mut word = None;
        loop {
            let operator = match self.peek().kind {
                Kind::And => Logic::And,
                Kind::Or => Logic::Or,
                _ => break,
            };
            let token = self.bump();
            word = word.or(Some(token));
            rest.push((operator, self.sum()?));
        }
        Ok(match rest.is_empty() {
            true => (first, None),
            false => (Node::Logic(Box::new(first), rest), word),
        })
    }

    fn sum(&mut self) -> Parsed<Node> {
        let first = self.product()?;
        let mut rest = Vec::new();
        loop {
            let operator = match self.peek().kind {
                Kind::Plus => Operator::Add,
                Kind::Minus => Operator::Subtract,
                _ => return Ok(chain(first, rest)),
            };
            self.bump();
            rest.push((operator, self.product()?));
        }
    }

    fn product(&mut self) -> Parsed<Node> {
        let first = self.atom()?;
        let mut rest = Vec::new();
        loop {
            let operator = match self.peek().kind {
                Kind::Star => Operator::Multiply,
                Kind::Slash => Operator::Divide,
                Kind::Percent => Operator::Modulo,
                _ => return Ok(chain(first, rest)),
            };
            self.bump();
            rest.push((operator, self.atom()?));
        }
    }

    fn atom(&mut self) -> Parsed<Node> {
        let token = self.peek();
        let constant = |value| Ok(Node::Constant(value));
        match token.kind {
            Kind::Number => {
                self.bump();
                constant(number(self.word(token)))
            }
            Kind::Text => {
                self.bump();
                constant(Val::Text(Cow::Owned(self.word(token).to_owned())))
            }
            Kind::True | Kind::False => {
                self.bump();
                constant(Val::Bool(token.kind == Kind::True))
            }
            Kind::Null => {
                self.bump();
                constant(Val::Null)
            }
            Kind::LeftBracket => {
                self.bump();
                let items = self.list(Kind::RightBracket)?;
                self.expect(Kind::RightBracket, "',' or ']'")?;
                Ok(Node::Array(items))
            }
            Kind::LeftParen => {
                self.bump();
                let inner = self.expression()?;
                self.expect(Kind::RightParen, "')'")?;
                // Parentheses end a chain, so that `a == (b < c)` is no longer chain.
                Ok(inner)
            }
            Kind::Function => self.call(),
            Kind::Vars
            | Kind::Payload
            | Kind::Headers
            | Kind::Configs
            | Kind::Params
            | Kind::Props => self.access(),
            _ => Err(self.no_atom(token)),
        }
    }

    fn no_atom(&self, token: Token) -> Problem {
        let word = self.word(token);
        let hint = match token.kind {
            Kind::Minus => "; there is no unary minus: write 0 - …".to_owned(),
            Kind::Not => "; use not(…)".to_owned(),
            Kind::Dot => "; a number starts with a digit".to_owned(),
            Kind::PathFunction => "; it can only end a path".to_owned(),
            Kind::Name if word == "secret" => "; secrets are not supported yet".to_owned(),
            Kind::Name if self.peek_at(1).kind == Kind::LeftParen => {
                match nearest(word, functions::TABLE.iter().map(|f| f.name)) {
                    Some(near) => format!("; there is no such function, did you mean {near}(…)?"),
                    None => "; there is no such function".to_owned(),
                }
            }
            Kind::Name => {
                let roots = [
                    "payload", "vars", "headers", "params", "props", "configs", "true", "false",
                    "null",
                ];
                match nearest(word, roots) {
                    Some(near) => format!("; did you mean {near}?"),
                    None => "; texts stand in quotes, variables are written vars.name".to_owned(),
                }
            }
            _ => String::new(),
        };
        self.problem(
            token,
            format!("a value is expected here, not {}{hint}", self.named(token)),
        )
    }

    /// Expressions with commas between them, up to the closing token, which stays.
    fn list(&mut self, close: Kind) -> Parsed<Vec<Node>> {
        let mut items = Vec::new();
        if self.peek().kind == close {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            if self.eat(Kind::Comma).is_none() {
                return Ok(items);
            }
        }
    }

    /// A function call with what may follow it.
    fn call(&mut self) -> Parsed<Node> {
        let name = self.bump();
        let word = self.word(name);
        let Some(row) = functions::find(word) else {
            return Err(self.no_atom(name));
        };
        self.expect(Kind::LeftParen, "'('")?;
        let args = self.nested(|parser| parser.list(Kind::RightParen))?;
        self.expect(Kind::RightParen, "',' or ')'")?;
        if let Some(why) = row.refused {
            return Err(Problem {
                unsupported: true,
                ..self.problem(name, why)
            });
        }
        let (property, path) = self.suffix(row, name)?;
        if !row.arity.contains(&args.len()) {
            let (least, most) = (row.arity.start(), row.arity.end());
            let count = match least == most {
                true => least.to_string(),
                false => format!("{least} to {most}"),
            };
            self.warn(
                name,
                format!(
                    "{word}(…) takes {count} arguments; with {} it never has a result",
                    args.len()
                ),
            );
        }
        let prepared = functions::prepare(row, &args, self.namespaces);
        match &prepared {
            Prepared::XPath(Err(message)) | Prepared::Regex(Err(message)) => {
                let message = format!("{word}(…) always fails: {message}");
                self.warn(name, message);
            }
            Prepared::XPath(Ok(xpath)) => {
                for warning in xpath.warnings() {
                    let message = format!("{word}(…): {}", warning.message);
                    self.warn(name, message);
                }
            }
            Prepared::Patterns(patterns) => {
                for message in patterns.iter().filter_map(|p| p.as_ref().err()) {
                    let message = format!("{word}(…) always fails: {message}");
                    self.warn(name, message);
                }
            }
            Prepared::Regex(Ok(_)) | Prepared::Nothing => {}
        }
        Ok(Node::Call(Box::new(Call {
            row,
            args,
            property,
            path,
            prepared,
        })))
    }

    /// `.property(…)` or a path behind a call.
    fn suffix(&mut self, row: &Row, name: Token) -> Parsed<(Option<Node>, Option<Path>)> {
        let start = self.peek();
        let is_property = start.kind == Kind::Dot
            && self.peek_at(1).kind == Kind::Property
            && self.peek_at(2).kind == Kind::LeftParen;
        if is_property {
            self.at += 3;
            let mut args = self.nested(|parser| parser.list(Kind::RightParen))?;
            self.expect(Kind::RightParen, "',' or ')'")?;
            if row.name != "registry" || args.is_empty() {
                return Err(self.problem(
                    name,
                    "Invalid function call: property('name') can only follow registry(…)",
                ));
            }
            return Ok((Some(args.swap_remove(0)), None));
        }
        let path = self.path()?;
        if path.is_some() && !row.has_path {
            let word = self.word(name);
            self.warn(
                start,
                format!("a path behind {word}(…) is ignored; use object(…) or array(…) around it"),
            );
            return Ok((None, None));
        }
        Ok((None, path))
    }
}

/// `1e3` is read as a number and a name.
fn is_exponent(word: &str) -> bool {
    word.strip_prefix(['e', 'E'])
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
}

fn number(word: &str) -> Val<'static> {
    match word.parse::<i64>() {
        Ok(n) => match i32::try_from(n) {
            Ok(n) => Val::Int(n),
            Err(_) => Val::Long(n),
        },
        Err(_) => Val::Double(word.parse().unwrap_or(f64::NAN)),
    }
}

/// A chain, with what is constant at its start already applied.
fn chain(first: Node, rest: Vec<(Operator, Node)>) -> Node {
    let mut first = first;
    let mut open = Vec::with_capacity(rest.len());
    for (operator, operand) in rest {
        if open.is_empty()
            && let (Node::Constant(left), Node::Constant(right)) = (&first, &operand)
            && let Ok(value) = operators::apply(operator, left, right)
        {
            first = Node::Constant(value);
            continue;
        }
        open.push((operator, operand));
    }
    match open.is_empty() {
        true => first,
        false => Node::Chain(Box::new(first), open),
    }
}
