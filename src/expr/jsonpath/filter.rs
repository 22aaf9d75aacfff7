//! `[?(…)]`: the filter language and its compiler.

mod apply;

use super::PathError;
use super::compile::{Compiled, MAX_NESTING, SLOT, compile as compile_path};
use super::scanner::Scanner;
use crate::json::{Limits, Value, parse};
use regex::{Regex, RegexBuilder};

/// A compiled condition (spec 05 §4.2).
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    /// Null counts as existing.
    Exists(Compiled),
    Compare(Operand, Operator, Operand),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Path(Compiled),
    Literal(Value),
    Pattern(Regex),
    /// A value of the evaluation.
    Slot(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    SameType,
    NotSameType,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    All,
    Size,
    Empty,
    SubsetOf,
    AnyOf,
    NoneOf,
    /// `type` and `matches` take operands only Java code can write.
    Never,
}

/// Compiles a condition, standing behind its opening bracket (spec 05 §4.2).
pub(super) fn compile(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Filter, PathError> {
    if nesting > MAX_NESTING {
        return Err(scanner.error("paths and brackets are nested too deeply"));
    }
    list(scanner, nesting, "||", Filter::Or, |scanner, nesting| {
        list(scanner, nesting, "&&", Filter::And, condition)
    })
}

fn list(
    scanner: &mut Scanner<'_>,
    nesting: usize,
    separator: &str,
    combine: fn(Vec<Filter>) -> Filter,
    part: fn(&mut Scanner<'_>, usize) -> Result<Filter, PathError>,
) -> Result<Filter, PathError> {
    let first = part(scanner, nesting)?;
    let mut parts = vec![first];
    loop {
        scanner.blanks();
        if scanner.eat(separator) {
            parts.push(part(scanner, nesting)?);
        } else {
            break;
        }
    }
    Ok(match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            combine(parts)
        }
    })
}

fn condition(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Filter, PathError> {
    scanner.blanks();
    if scanner.eat("!") {
        if nesting >= MAX_NESTING {
            return Err(scanner.error("paths and brackets are nested too deeply"));
        }
        return Ok(Filter::Not(Box::new(condition(scanner, nesting + 1)?)));
    }
    if scanner.eat("(") {
        let inner = compile(scanner, nesting + 1)?;
        scanner.expect(")")?;
        return Ok(inner);
    }
    let start = scanner.mark();
    let left = operand(scanner, nesting)?;
    let after_left = scanner.mark();
    scanner.blanks();
    match operator(scanner)? {
        Some(operator) => {
            let right = operand(scanner, nesting)?;
            Ok(Filter::Compare(left, operator, right))
        }
        None => match left {
            Operand::Path(path) => {
                scanner.reset(after_left);
                Ok(Filter::Exists(path))
            }
            _ => {
                scanner.reset(start);
                Err(scanner.error("a filter needs a path or a comparison"))
            }
        },
    }
}

fn operator(scanner: &mut Scanner<'_>) -> Result<Option<Operator>, PathError> {
    let start = scanner.mark();
    let symbol = scanner.take_while(is_relation);
    let word = match symbol {
        "" => scanner
            .take_while(|byte| byte.is_ascii_alphabetic())
            .to_ascii_uppercase(),
        symbol => symbol.to_owned(),
    };
    Ok(Some(match word.as_str() {
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "===" => Operator::SameType,
        "!==" => Operator::NotSameType,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "=~" => Operator::Matches,
        "IN" => Operator::In,
        "NIN" => Operator::NotIn,
        "CONTAINS" => Operator::Contains,
        "ALL" => Operator::All,
        "SIZE" => Operator::Size,
        "EMPTY" => Operator::Empty,
        "SUBSETOF" => Operator::SubsetOf,
        "ANYOF" => Operator::AnyOf,
        "NONEOF" => Operator::NoneOf,
        "TYPE" | "MATCHES" => Operator::Never,
        "" => return Ok(None),
        unknown => {
            scanner.reset(start);
            return Err(scanner.error(format!("Filter operator {unknown} is not supported!")));
        }
    }))
}

fn is_relation(byte: u8) -> bool {
    matches!(byte, b'<' | b'>' | b'=' | b'~' | b'!')
}

fn operand(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Operand, PathError> {
    scanner.blanks();
    match scanner.peek() {
        Some(b'$' | b'@') => path(scanner, nesting),
        Some(b'/') => pattern(scanner),
        Some(SLOT) => scanner.slot().map(Operand::Slot),
        _ => literal(scanner, nesting).map(Operand::Literal),
    }
}

/// A path ends at a blank, an operator, or a bracket it did not open.
fn path(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Operand, PathError> {
    let (start, offset) = (scanner.mark(), scanner.offset());
    loop {
        match scanner.peek() {
            Some(b'[') => drop(scanner.bracketed(b'[', b']')?),
            Some(b'(') => drop(scanner.bracketed(b'(', b')')?),
            Some(byte) if byte.is_ascii_whitespace() || is_relation(byte) => break,
            Some(b')' | b']') => break,
            Some(_) if scanner.sees("&&") || scanner.sees("||") => break,
            Some(_) => drop(scanner.bump()),
            None => break,
        }
    }
    compile_path(scanner.since(start), offset, nesting + 1).map(Operand::Path)
}

/// `/…/flags`, matched against the whole text.
fn pattern(scanner: &mut Scanner<'_>) -> Result<Operand, PathError> {
    let start = scanner.mark();
    scanner.bump();
    let inside = scanner.mark();
    let source = loop {
        match scanner.peek() {
            Some(b'/') => {
                let source = scanner.since(inside);
                scanner.bump();
                break source;
            }
            Some(b'\\') => {
                scanner.bump();
                scanner.bump();
            }
            Some(_) => drop(scanner.bump()),
            None => {
                scanner.reset(start);
                return Err(scanner.error("the pattern is not closed by '/'"));
            }
        }
    };
    let flags = scanner.take_while(|byte| byte.is_ascii_alphabetic());
    // The line break ends a comment the pattern may end with under the flag `x`.
    let end = if flags.contains('x') { "\n" } else { "" };
    let built = RegexBuilder::new(&format!(r"\A(?:{source}{end})\z"))
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('s'))
        .ignore_whitespace(flags.contains('x'))
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .build();
    match built {
        Ok(regex) => Ok(Operand::Pattern(regex)),
        Err(error) => {
            scanner.reset(start);
            Err(scanner.error(format!("the pattern cannot be used: {error}")))
        }
    }
}

/// A JSON literal; like Jayway's parser it also takes single quotes and bare words inside `[…]`
/// and `{…}`.
fn literal(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Value, PathError> {
    scanner.blanks();
    match scanner.peek() {
        Some(b'\'' | b'"') => scanner.quoted().map(Value::String),
        Some(b'[' | b'{') => container(scanner, nesting + 1),
        _ => {
            let start = scanner.mark();
            let word = scanner.take_while(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
            });
            simple(word).ok_or_else(|| {
                scanner.reset(start);
                scanner.error("expected a path, a quoted text, a number, true, false, null, a list or a pattern")
            })
        }
    }
}

fn simple(word: &str) -> Option<Value> {
    match parse(word.as_bytes(), &Limits::default()).ok()? {
        value @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Some(value),
        _ => None,
    }
}

fn container(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Value, PathError> {
    if nesting > MAX_NESTING {
        return Err(scanner.error("paths and brackets are nested too deeply"));
    }
    let object = scanner.eat("{");
    if !object {
        scanner.expect("[")?;
    }
    let close = if object { "}" } else { "]" };
    let mut items = Vec::new();
    let mut members = Vec::new();
    scanner.blanks();
    while !scanner.eat(close) {
        if !(items.is_empty() && members.is_empty()) {
            scanner.expect(",")?;
        }
        if object {
            let key = match element(scanner, nesting)? {
                Value::String(key) => key,
                Value::Number(key) => key.into(),
                _ => return Err(scanner.error("expected a member name")),
            };
            scanner.expect(":")?;
            members.push((key, element(scanner, nesting)?));
        } else {
            items.push(element(scanner, nesting)?);
        }
        scanner.blanks();
    }
    Ok(if object {
        Value::Object(members)
    } else {
        Value::Array(items)
    })
}

fn element(scanner: &mut Scanner<'_>, nesting: usize) -> Result<Value, PathError> {
    scanner.blanks();
    match scanner.peek() {
        Some(b'\'' | b'"') => scanner.quoted().map(Value::String),
        Some(b'[' | b'{') => container(scanner, nesting + 1),
        _ => {
            let word = scanner
                .take_while(|byte| {
                    !matches!(byte, b',' | b']' | b'}' | b':' | b'[' | b'{' | b'"' | b'\'')
                })
                .trim();
            if word.is_empty() {
                return Err(scanner.error("expected a value"));
            }
            Ok(simple(word).unwrap_or_else(|| Value::String(word.to_owned())))
        }
    }
}
