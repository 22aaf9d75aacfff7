//! Access to the message, and the paths behind it (spec 05 §5.5–§5.6).

use super::{Parsed, Parser};
use crate::expr::jsonpath::{JsonPath, SLOT, SLOTS};
use crate::expr::synapse::lexer::{Kind, Token};
use crate::expr::synapse::program::{Node, Path, PathCode, Root, SlotNode, VariableName};
use crate::expr::synapse::value::Val;

/// What a path is made of while it is read.
#[derive(Default)]
struct Draft {
    /// With the marks of slots.
    code: String,
    /// As it is written, without blanks.
    text: String,
    slots: Vec<SlotNode>,
    /// The first step when it is a plain name, and the length of its code.
    key: Option<(Box<str>, usize)>,
}

impl Draft {
    fn push(&mut self, text: &str) {
        self.code.push_str(text);
        self.text.push_str(text);
    }

    /// Puts a slot into the code.
    fn slot(&mut self, node: SlotNode) {
        let mark = match node {
            SlotNode::One(_) | SlotNode::Operand(_) => SLOT,
            // A lone step is taken for an index.
            SlotNode::Slice {
                ref parts,
                open_start: false,
                open_end: false,
            } if parts.len() == 1 => SLOT,
            SlotNode::List(_) | SlotNode::Slice { .. } => SLOTS,
        };
        self.code.push(char::from(mark));
        self.code.push_str(&self.slots.len().to_string());
        self.code.push(char::from(mark));
        self.slots.push(node);
    }

    fn finish(self) -> Path {
        let compile = |code: &str| -> PathCode {
            let dot = if code.starts_with(['.', '[']) {
                ""
            } else {
                "."
            };
            JsonPath::compile(&format!("${dot}{code}")).map_err(|e| e.message)
        };
        let keyed = self.key.map(|(key, len)| {
            let rest = self.code.get(len..).unwrap_or_default();
            (key, (!rest.is_empty()).then(|| compile(rest)))
        });
        Path {
            compiled: compile(&self.code),
            text: self.text.into(),
            keyed,
            slots: self.slots,
        }
    }
}

impl Parser<'_, '_> {
    /// One of the roots with what follows it.
    pub(super) fn access(&mut self) -> Parsed<Node> {
        let root = self.bump();
        match root.kind {
            Kind::Payload => Ok(Node::Payload {
                path: self.path()?.map(Box::new),
                whole: None,
            }),
            Kind::Vars => {
                let name = self.variable_name()?;
                let path = self.path()?.map(Box::new);
                Ok(Node::Variable { name, path })
            }
            Kind::Headers => self.named_access(Root::Header),
            Kind::Configs => self.named_access(Root::Config),
            Kind::Params => {
                let group = self.group(
                    Kind::ParamGroup,
                    ".queryParams, .pathParams or .functionParams",
                )?;
                self.named_access(match self.word(group) {
                    "queryParams" => Root::QueryParameter,
                    "pathParams" => Root::PathParameter,
                    _ => Root::FunctionParameter,
                })
            }
            _ => {
                let group = self.group(Kind::PropGroup, ".synapse or .axis2")?;
                self.named_access(match self.word(group) {
                    "axis2" => Root::Axis2,
                    _ => Root::Synapse,
                })
            }
        }
    }

    fn group(&mut self, kind: Kind, what: &str) -> Parsed<Token> {
        if self.peek().kind == Kind::Dot && self.peek_at(1).kind != kind {
            self.bump();
        }
        match self.eat(Kind::Dot) {
            Some(_) => self.expect(kind, what),
            None => Err(self.unexpected(what)),
        }
    }

    fn named_access(&mut self, root: Root) -> Parsed<Node> {
        let name = self.name()?;
        let name = match root {
            Root::QueryParameter => ["query.param.", &*name].concat().into(),
            Root::PathParameter => ["uri.var.", &*name].concat().into(),
            _ => name,
        };
        Ok(Node::Named(root, name))
    }

    /// `.name`, `["name"]` or `.["name"]`.
    fn name(&mut self) -> Parsed<Box<str>> {
        let dot = self.eat(Kind::Dot);
        if self.eat(Kind::LeftBracket).is_some() {
            let token = self.expect(Kind::Text, "a name in quotes")?;
            self.expect(Kind::RightBracket, "']'")?;
            return Ok(unquoted(self.word(token)).into());
        }
        match dot {
            Some(_) => self.plain_name(),
            None => Err(self.unexpected(".name or [\"name\"]")),
        }
    }

    fn plain_name(&mut self) -> Parsed<Box<str>> {
        let token = self.peek();
        if token.kind.is_name() {
            self.bump();
            return Ok(self.word(token).into());
        }
        Err(self.no_name(token))
    }

    fn no_name(&self, token: Token) -> crate::expr::synapse::Problem {
        let reserved = matches!(
            token.kind,
            Kind::FilterWord
                | Kind::And
                | Kind::Or
                | Kind::True
                | Kind::False
                | Kind::Null
                | Kind::Number
        );
        let hint = match reserved {
            true => format!("; write [\"{}\"]", self.word(token)),
            false => String::new(),
        };
        self.problem(
            token,
            format!(
                "a name is expected after the dot, not {}{hint}",
                self.named(token)
            ),
        )
    }

    fn variable_name(&mut self) -> Parsed<VariableName> {
        let dot = self.eat(Kind::Dot);
        if self.eat(Kind::LeftBracket).is_some() {
            let token = self.expect(Kind::Text, "a name in quotes")?;
            self.expect(Kind::RightBracket, "']'")?;
            let word = self.word(token);
            if word.starts_with('\'') {
                self.warn(
                    token,
                    "a variable in single quotes always faults; use double quotes",
                );
                return Ok(VariableName::SingleQuoted(unquoted(word).into()));
            }
            return Ok(VariableName::Plain(unquoted(word).into()));
        }
        if dot.is_none() {
            return Err(self.unexpected(".name or [\"name\"]"));
        }
        if let Some(token) = self.eat(Kind::Text) {
            self.warn(
                token,
                "a name in quotes after a dot is never found; write [\"name\"]",
            );
            // The quotes are a part of the name that is looked up.
            return Ok(VariableName::Plain(self.word(token).into()));
        }
        self.plain_name().map(VariableName::Plain)
    }

    /// A path, when one follows.
    pub(super) fn path(&mut self) -> Parsed<Option<Path>> {
        let start = self.peek();
        let mut draft = Draft::default();
        loop {
            let first = draft.code.is_empty();
            match self.peek().kind {
                Kind::DotDot => {
                    self.bump();
                    let token = self.peek();
                    match token.kind {
                        Kind::Star | Kind::Name => {
                            self.bump();
                            draft.push("..");
                            draft.push(self.word(token));
                        }
                        _ => return Err(self.unexpected("a name or '*' after '..'")),
                    }
                }
                Kind::Dot => {
                    self.bump();
                    let token = self.peek();
                    match token.kind {
                        Kind::LeftBracket => {
                            draft.push(".");
                            self.bracket(&mut draft, first)?;
                        }
                        Kind::Star | Kind::PathFunction => {
                            self.bump();
                            draft.push(".");
                            draft.push(self.word(token));
                            let goes_on = matches!(
                                self.peek().kind,
                                Kind::Dot | Kind::DotDot | Kind::LeftBracket
                            );
                            if token.kind == Kind::PathFunction && goes_on {
                                let word = self.word(token);
                                let message = format!(
                                    "nothing is found behind {word}; write object(….{word}) to go on"
                                );
                                self.warn(token, message);
                            }
                        }
                        kind if kind.is_name() => {
                            self.bump();
                            let word = self.word(token);
                            draft.push(".");
                            draft.push(word);
                            if first {
                                draft.key = Some((word.into(), draft.code.len()));
                            }
                        }
                        _ => return Err(self.no_name(token)),
                    }
                }
                Kind::LeftBracket => self.bracket(&mut draft, first)?,
                _ => break,
            }
        }
        if draft.code.is_empty() {
            return Ok(None);
        }
        let path = draft.finish();
        if let Err(message) = &path.compiled {
            let end = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
            let whole = Token {
                end: end.map_or(start.end, |t| t.end),
                ..start
            };
            let message = format!("this path always faults: {message}");
            self.warn(whole, message);
        }
        Ok(Some(path))
    }

    /// What stands in brackets, standing at the opening one.
    fn bracket(&mut self, draft: &mut Draft, first: bool) -> Parsed<()> {
        self.bump();
        let token = self.peek();
        let closes = self.peek_at(1).kind == Kind::RightBracket;
        match token.kind {
            Kind::Star | Kind::Number | Kind::Text if closes => {
                self.bump();
                let word = self.word(token);
                draft.push("[");
                draft.push(word);
                draft.push("]");
                if first && token.kind == Kind::Text {
                    draft.key = Some((unquoted(word).into(), draft.code.len()));
                }
            }
            Kind::Question => {
                self.bump();
                self.filter(draft)?;
            }
            Kind::LeftParen if self.is_filter() => self.filter(draft)?,
            _ => {
                let text = self.peek().start;
                draft.code.push('[');
                let node = self.nested(|parser| parser.positions())?;
                if let SlotNode::List(nodes) = &node
                    && nodes
                        .iter()
                        .any(|n| matches!(n, Node::Constant(value) if value.is_string()))
                {
                    self.warn(token, "several names in brackets always fault");
                }
                match fixed(&node) {
                    Some(code) => draft.code.push_str(&code),
                    None => draft.slot(node),
                }
                draft.code.push(']');
                let text = self.text.get(text..self.peek().start).unwrap_or_default();
                draft.text.push('[');
                draft.text.extend(text.split_ascii_whitespace());
                draft.text.push(']');
            }
        }
        self.expect(Kind::RightBracket, "']'")?;
        Ok(())
    }

    /// Whether `@` stands in the brackets at hand: then it is a filter, else an expression.
    fn is_filter(&self) -> bool {
        let mut level = 0_usize;
        for token in self.tokens.iter().skip(self.at) {
            match token.kind {
                Kind::At if level == 0 => return true,
                Kind::LeftBracket => level += 1,
                Kind::RightBracket if level == 0 => return false,
                Kind::RightBracket => level -= 1,
                _ => {}
            }
        }
        false
    }

    /// An index expression, a list of them, or a slice.
    fn positions(&mut self) -> Parsed<SlotNode> {
        if self.peek().kind == Kind::Colon {
            return self.slice(None);
        }
        let first = self.signed()?;
        match self.peek().kind {
            Kind::Colon => self.slice(Some(first)),
            _ if first.0 => Err(self.unexpected("the ':' of a slice")),
            Kind::Comma => {
                let mut items = vec![first.1];
                while self.eat(Kind::Comma).is_some() {
                    items.push(self.expression()?);
                }
                Ok(SlotNode::List(items))
            }
            _ => Ok(SlotNode::One(first.1)),
        }
    }

    fn signed(&mut self) -> Parsed<(bool, Node)> {
        let negative = self.eat(Kind::Minus).is_some();
        Ok((negative, self.expression()?))
    }

    /// Standing at the first colon. Bounds that are left out are seen only in `[a:]` and `[:b]`,
    /// as in the reference.
    fn slice(&mut self, start: Option<(bool, Node)>) -> Parsed<SlotNode> {
        let mut parts: Vec<(bool, Node)> = start.into_iter().collect();
        let mut colons = 0;
        let from_start = !parts.is_empty();
        let mut ends_open = false;
        while colons < 2 && self.eat(Kind::Colon).is_some() {
            colons += 1;
            ends_open = matches!(self.peek().kind, Kind::Colon | Kind::RightBracket);
            if !ends_open {
                parts.push(self.signed()?);
            }
        }
        let two = colons + parts.len() == 2;
        Ok(SlotNode::Slice {
            open_start: two && !from_start && colons == 1,
            open_end: two && from_start && ends_open,
            parts,
        })
    }

    /// A filter, standing behind its question mark. Accesses and calls are evaluated; everything
    /// else is text of the path.
    fn filter(&mut self, draft: &mut Draft) -> Parsed<()> {
        draft.push("[?");
        loop {
            let token = self.peek();
            match token.kind {
                Kind::RightBracket => break,
                Kind::Vars
                | Kind::Payload
                | Kind::Headers
                | Kind::Configs
                | Kind::Params
                | Kind::Props => {
                    let node = self.nested(|parser| parser.access())?;
                    self.operand(draft, token, node);
                }
                Kind::Function if self.peek_at(1).kind == Kind::LeftParen => {
                    let node = self.nested(|parser| parser.call())?;
                    self.operand(draft, token, node);
                }
                Kind::Question
                | Kind::At
                | Kind::FilterWord
                | Kind::Text
                | Kind::Number
                | Kind::True
                | Kind::False
                | Kind::Name
                | Kind::Less
                | Kind::LessEqual
                | Kind::Greater
                | Kind::GreaterEqual
                | Kind::Equal
                | Kind::NotEqual
                | Kind::Plus
                | Kind::Minus
                | Kind::Slash
                | Kind::Star
                | Kind::LeftParen
                | Kind::RightParen
                | Kind::Dot
                | Kind::Comma
                | Kind::Colon
                | Kind::And
                | Kind::Or
                | Kind::Not => {
                    self.bump();
                    draft.push(self.word(token));
                }
                Kind::End => return Err(self.unexpected("the ']' of a filter")),
                _ => {
                    let what = self.named(token);
                    return Err(self.problem(token, format!("{what} cannot stand in a filter")));
                }
            }
        }
        draft.push("]");
        Ok(())
    }

    fn operand(&mut self, draft: &mut Draft, start: Token, node: Node) {
        let text = self
            .text
            .get(start.start..self.peek().start)
            .unwrap_or_default();
        draft.text.extend(text.split_ascii_whitespace());
        draft.slot(SlotNode::Operand(node));
    }
}

/// A string token without its quotes.
fn unquoted(word: &str) -> &str {
    word.get(1..word.len().saturating_sub(1))
        .unwrap_or_default()
}

/// The code of a list or slice of numbers, which need no slot.
fn fixed(node: &SlotNode) -> Option<String> {
    let number = |node: &Node| match node {
        Node::Constant(Val::Int(n)) => Some(n.to_string()),
        _ => None,
    };
    match node {
        SlotNode::List(nodes) => {
            let numbers: Option<Vec<String>> = nodes.iter().map(number).collect();
            Some(numbers?.join(","))
        }
        SlotNode::Slice {
            parts,
            open_start,
            open_end,
        } => {
            let mut bounds = Vec::new();
            if *open_start {
                bounds.push(String::new());
            }
            for (negative, node) in parts {
                match number(node) {
                    Some(bound) if !negative => bounds.push(bound),
                    _ => return None,
                }
            }
            if *open_end {
                bounds.push(String::new());
            }
            Some(bounds.join(":"))
        }
        _ => None,
    }
}
