//! Path text to tokens.

use super::PathError;
use super::filter::{self, Filter};
use super::function::{Function, Parameter};
use super::scanner::Scanner;

/// Most steps of one path, and deepest nesting of paths and brackets in filters: evaluation and
/// compilation recurse over both.
const MAX_TOKENS: usize = 128;
/// The character around the number of a slot that becomes one name, index or operand. It cannot
/// stand in an artifact, and bare in no path.
pub(in crate::expr) const SLOT: u8 = 1;
/// The same for a slot that becomes a list of indexes or a slice.
pub(in crate::expr) const SLOTS: u8 = 2;
pub(super) const MAX_NESTING: usize = 16;

/// A path, or a path inside a filter or function call.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) tokens: Vec<Token>,
    pub(super) definite: bool,
    /// Starts with `$` rather than `@`.
    pub(super) from_root: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Token {
    /// `.a`, `['a']`
    Name(String),
    /// `['a','b']`
    Names(Vec<String>),
    /// `.*`, `[*]`
    Wildcard,
    /// `[0]`, `[-1]`
    Index(i64),
    /// `[0,2]`
    Indices(Vec<i64>),
    /// `[a:b]`
    Slice(Option<i64>, Option<i64>),
    /// `[?(…)]`
    Filter(Box<Filter>),
    /// A place that every evaluation fills; `true` for a list or slice, which is not definite.
    Slot(usize, bool),
    /// `..`: what follows is looked for at every depth.
    Scan,
    /// `length()`
    Function(Box<Function>),
}

impl Compiled {
    fn new(mut tokens: Vec<Token>, from_root: bool) -> Self {
        // A function behind a deep scan sees all results at once: `$..a.sum()` is `$.sum($..a)`.
        if let Some(Token::Scan) = tokens.first()
            && let Some(Token::Function(_)) = tokens.last()
            && let Some(Token::Function(mut function)) = tokens.pop()
        {
            function.parameters = vec![Parameter::Path(Self::new(tokens, true))];
            function.count_children();
            tokens = vec![Token::Function(function)];
        }
        let last = tokens.len().saturating_sub(1);
        let definite = tokens.iter().enumerate().all(|(at, token)| match token {
            Token::Name(_) | Token::Index(_) | Token::Function(_) | Token::Slot(_, false) => true,
            Token::Names(_) => at == last,
            _ => false,
        });
        Self {
            tokens,
            definite,
            from_root,
        }
    }

    /// Whether the result is what a function computed.
    pub(super) fn is_function(&self) -> bool {
        matches!(self.tokens.last(), Some(Token::Function(_)))
    }
}

/// Compiles a path (spec 05 §4.2). `base` is its offset in the text errors speak of.
pub(super) fn compile(text: &str, base: usize, nesting: usize) -> Result<Compiled, PathError> {
    let fail = |message: &str| {
        Err(PathError {
            offset: base,
            message: message.to_owned(),
        })
    };
    if nesting > MAX_NESTING {
        return fail("paths and brackets are nested too deeply");
    }
    if text.trim().is_empty() {
        return fail("the path is empty");
    }
    if text.ends_with('.') {
        return fail("Path must not end with a '.' or '..'");
    }
    let supplied;
    let mut scanner = if text.starts_with(['$', '@']) {
        Scanner::new(text, base)
    } else {
        supplied = format!("$.{text}");
        // The supplied characters are not in the text that errors point into.
        Scanner::new(&supplied, base.wrapping_sub(2))
    };
    let tokens = tokens(&mut scanner, nesting).map_err(|error| PathError {
        offset: if error.offset > base + text.len() {
            base
        } else {
            error.offset
        },
        ..error
    })?;
    Ok(Compiled::new(
        tokens,
        text.starts_with('$') || !text.starts_with('@'),
    ))
}

fn tokens(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Vec<Token>, PathError> {
    scanner.bump();
    let mut tokens = Vec::new();
    while let Some(byte) = scanner.peek() {
        if tokens.len() >= MAX_TOKENS {
            return Err(scanner.error("the path has too many steps"));
        }
        match byte {
            b'[' => tokens.push(bracket(scanner, nesting)?),
            b'.' => {
                scanner.bump();
                if scanner.eat(".") {
                    tokens.push(Token::Scan);
                }
                tokens.push(match scanner.peek() {
                    Some(b'[') => bracket(scanner, nesting)?,
                    Some(b'*') => {
                        scanner.bump();
                        Token::Wildcard
                    }
                    Some(b'.') | None => return Err(scanner.error("a name must follow '.'")),
                    Some(_) => name(scanner, nesting)?,
                });
            }
            _ => return Err(scanner.error("illegal character, expected '.' or '['")),
        }
    }
    Ok(tokens)
}

/// `name` or `function(…)`.
fn name(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Token, PathError> {
    let start = scanner.offset();
    let name = scanner.take_while(|byte| {
        !matches!(byte, b'.' | b'[' | b'(' | SLOT | SLOTS) && !byte.is_ascii_whitespace()
    });
    if matches!(scanner.peek(), Some(SLOT | SLOTS)) {
        return Err(scanner.error("a value can stand inside brackets only"));
    }
    match scanner.peek() {
        Some(b'(') => {
            let base = scanner.offset() + 1;
            let arguments = scanner.bracketed(b'(', b')')?;
            let function = Function::compile(name, arguments, start, base, nesting)?;
            Ok(Token::Function(Box::new(function)))
        }
        Some(byte) if byte.is_ascii_whitespace() => Err(scanner
            .error("use bracket notation ['my prop'] if your property contains blank characters")),
        _ => Ok(Token::Name(name.to_owned())),
    }
}

fn bracket(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Token, PathError> {
    let start = scanner.mark();
    scanner.bump();
    scanner.blanks();
    match scanner.peek() {
        Some(b'\'' | b'"') => names(scanner),
        Some(b'?') => {
            scanner.bump();
            scanner.expect("(")?;
            let filter = filter::compile(scanner, nesting + 1)?;
            scanner.expect(")")?;
            scanner.expect("]")?;
            Ok(Token::Filter(Box::new(filter)))
        }
        Some(b'*') => {
            scanner.bump();
            scanner.expect("]")?;
            Ok(Token::Wildcard)
        }
        Some(mark @ (SLOT | SLOTS)) => {
            let number = scanner.slot()?;
            scanner.expect("]")?;
            Ok(Token::Slot(number, mark == SLOTS))
        }
        Some(b'0'..=b'9' | b'-' | b':') => {
            let numbers =
                scanner.take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b',' | b' '));
            let token = positions(numbers).ok_or_else(|| {
                scanner.error(format!(
                    "'{}' is no index, list of indexes or slice",
                    numbers.trim()
                ))
            })?;
            scanner.expect("]")?;
            Ok(token)
        }
        _ => {
            scanner.reset(start);
            Err(scanner.error("could not parse the bracket"))
        }
    }
}

fn names(scanner: &mut Scanner<'_>) -> Result<Token, PathError> {
    let mut names = Vec::new();
    loop {
        scanner.blanks();
        if !matches!(scanner.peek(), Some(b'\'' | b'"')) {
            return Err(scanner.error("expected a quoted property name"));
        }
        names.push(scanner.quoted()?);
        scanner.blanks();
        if !scanner.eat(",") {
            break;
        }
    }
    scanner.expect("]")?;
    Ok(match names.pop() {
        Some(only) if names.is_empty() => Token::Name(only),
        last => {
            names.extend(last);
            Token::Names(names)
        }
    })
}

/// Indexes and slices; a slice's step is accepted and ignored.
fn positions(text: &str) -> Option<Token> {
    // Java reads 32-bit integers.
    let number = |part: &str| part.trim().parse::<i32>().ok().map(i64::from);
    if text.contains(':') {
        let mut parts = text.split(':').map(str::trim);
        let mut bound = || match parts.next() {
            None | Some("") => Some(None),
            Some(part) => number(part).map(Some),
        };
        let (from, to) = (bound()?, bound()?);
        return (from.is_some() || to.is_some()).then_some(Token::Slice(from, to));
    }
    let indexes: Vec<i64> = text.split(',').map(number).collect::<Option<_>>()?;
    match indexes[..] {
        [only] => Some(Token::Index(only)),
        _ => Some(Token::Indices(indexes)),
    }
}
