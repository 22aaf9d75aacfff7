//! Applying a filter to one item.

use super::{Filter, Operand, Operator};
use crate::expr::jsonpath::evaluate::{CHEAP, Context, fits, weight_of};
use crate::expr::jsonpath::{EvalError, Found, Slot};
use crate::json::Value;
use crate::json::number::{self, Decimal};
use regex::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

impl Filter {
    /// Whether `item`, which is `@`, meets the condition (spec 05 §4.2).
    pub(in crate::expr::jsonpath) fn accepts<'v>(
        &self,
        item: &'v Value,
        context: Context<'v, '_>,
    ) -> Result<bool, EvalError> {
        match self {
            Filter::Or(parts) => {
                for part in parts {
                    if part.accepts(item, context)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::And(parts) => {
                for part in parts {
                    if !part.accepts(item, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Not(inner) => Ok(!inner.accepts(item, context)?),
            Filter::Exists(path) => {
                let start = if path.from_root { context.root } else { item };
                match context.evaluate(path, start, true) {
                    Ok(_) => Ok(true),
                    Err(EvalError::NotFound(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Filter::Compare(left, operator, right) => {
                let left = Node::of(left, item, context)?;
                let right = Node::of(right, item, context)?;
                compare(&left, *operator, &right, context)
            }
        }
    }
}

/// An operand's value.
enum Node<'a> {
    /// A path that leads nowhere; equal to nothing, itself included.
    Undefined,
    Value(Cow<'a, Value>),
    Pattern(&'a Regex),
}

impl<'a> Node<'a> {
    fn of<'v: 'a, 's: 'a>(
        operand: &'a Operand,
        item: &'v Value,
        context: Context<'v, 's>,
    ) -> Result<Self, EvalError> {
        match operand {
            Operand::Literal(value) => Ok(Node::Value(Cow::Borrowed(value))),
            Operand::Pattern(regex) => Ok(Node::Pattern(regex)),
            Operand::Slot(number) => Ok(match context.slots.get(*number) {
                Some(Slot::Operand(value)) => Node::Value(Cow::Borrowed(value)),
                _ => Node::Undefined,
            }),
            Operand::Path(path) => {
                let start = if path.from_root { context.root } else { item };
                match context.evaluate(path, start, false) {
                    Ok(Found::One(value)) => Ok(Node::Value(value)),
                    Ok(many) => {
                        // The results are copied, and may contain each other.
                        let many = fits(many, context.root)?;
                        context.spend(weight_of(&many) / CHEAP)?;
                        Ok(Node::Value(Cow::Owned(many.into_value())))
                    }
                    Err(EvalError::NotFound(_)) => Ok(Node::Undefined),
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Node::Value(value) => Some(value),
            _ => None,
        }
    }
}

fn compare(
    left: &Node<'_>,
    operator: Operator,
    right: &Node<'_>,
    context: Context<'_, '_>,
) -> Result<bool, EvalError> {
    // Reading a text or number takes as long as it is.
    for node in [left, right] {
        let len = match node.value() {
            Some(Value::String(text)) => text.len(),
            Some(Value::Number(text)) => text.len(),
            _ => 0,
        };
        context.spend(len / CHEAP)?;
    }
    let equal_nodes = |left: &Node<'_>, right: &Node<'_>| equal_nodes(left, right, context);
    let ordered = |accept: fn(Ordering) -> bool| {
        let order = left
            .value()
            .zip(right.value())
            .and_then(|(l, r)| order(l, r));
        Ok(order.is_some_and(accept))
    };
    match operator {
        Operator::Equal => equal_nodes(left, right),
        Operator::NotEqual => Ok(!equal_nodes(left, right)?),
        Operator::SameType => Ok(same_type(left, right) && equal_nodes(left, right)?),
        Operator::NotSameType => Ok(!(same_type(left, right) && equal_nodes(left, right)?)),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        Operator::Matches => Ok(match (left, right) {
            (Node::Pattern(regex), other) | (other, Node::Pattern(regex)) => {
                matches(regex, other, context)?
            }
            _ => false,
        }),
        Operator::In => contained(left, right, context),
        Operator::NotIn => Ok(!contained(left, right, context)?),
        Operator::Contains => match (left.value(), right) {
            (Some(Value::String(text)), Node::Value(part)) => {
                Ok(part.as_str().is_some_and(|part| text.contains(part)))
            }
            (Some(Value::Array(items)), Node::Value(wanted)) => has(items, wanted, context),
            _ => Ok(false),
        },
        Operator::All => {
            let wanted = list(right)?;
            match left.value() {
                Some(Value::Array(items)) => all(wanted, items, context),
                // As the reference has it: an object holds all of everything.
                Some(Value::Object(_)) => Ok(true),
                _ => Ok(false),
            }
        }
        Operator::Size => {
            let size = match left.value() {
                Some(Value::String(text)) => text.encode_utf16().count(),
                Some(Value::Array(items)) => items.len(),
                Some(object @ Value::Object(_)) => object.members().count(),
                _ => return Ok(false),
            };
            match right.value() {
                Some(wanted @ Value::Number(_)) => equal(&Value::number(size), wanted, context),
                _ => Ok(false),
            }
        }
        Operator::Empty => {
            let Some(Value::Bool(wanted)) = right.value() else {
                return Err(EvalError::Filter(
                    "'empty' compares with true or false".to_owned(),
                ));
            };
            Ok(match left.value() {
                Some(Value::String(text)) => text.is_empty() == *wanted,
                Some(Value::Array(items)) => items.is_empty() == *wanted,
                Some(Value::Object(members)) => members.is_empty() == *wanted,
                _ => false,
            })
        }
        Operator::SubsetOf => match lists(left, right)? {
            Some((left, right)) => all(left, right, context),
            None => Ok(false),
        },
        Operator::AnyOf => match lists(left, right)? {
            Some((left, right)) => any(left, right, context),
            None => Ok(false),
        },
        Operator::NoneOf => match lists(left, right)? {
            Some((left, right)) => Ok(!any(left, right, context)?),
            None => Ok(false),
        },
        Operator::Never => Ok(false),
    }
}

fn equal_nodes(
    left: &Node<'_>,
    right: &Node<'_>,
    context: Context<'_, '_>,
) -> Result<bool, EvalError> {
    match (left, right) {
        (Node::Value(left), Node::Value(right)) => equal(left, right, context),
        _ => Ok(false),
    }
}

/// `==`. A number equals a text that reads as the same number; a text equals a number with exactly
/// this text: the left side decides.
fn equal(left: &Value, right: &Value, context: Context<'_, '_>) -> Result<bool, EvalError> {
    let same_number = |one: &str, other: &str| {
        one == other
            || Decimal::parse(one)
                .zip(Decimal::parse(other))
                .is_some_and(|(one, other)| one == other)
    };
    Ok(match (left, right) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (Value::Number(number), Value::String(text)) => same_number(number, text),
        (Value::String(text), Value::Number(number)) => **text == *number::unwrapped(number),
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (left, right) in one.iter().zip(other) {
                if !deep_equal(left, right, context)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(_), Value::Object(_)) => deep_equal(left, right, context)?,
        _ => left == right,
    })
}

/// Equality inside containers: as in `==`, but texts and numbers stay apart, and the order of
/// members does not matter.
fn deep_equal(left: &Value, right: &Value, context: Context<'_, '_>) -> Result<bool, EvalError> {
    context.step()?;
    match (left, right) {
        (Value::Number(_), Value::String(_)) | (Value::String(_), Value::Number(_)) => Ok(false),
        (Value::Object(one), Value::Object(other)) => {
            context.spend((one.len() + other.len()) / CHEAP)?;
            let others: HashMap<&str, &Value> = right
                .members()
                .map(|(_, name, value)| (name, value))
                .collect();
            if left.members().count() != others.len() {
                return Ok(false);
            }
            for (_, name, value) in left.members() {
                match others.get(name) {
                    Some(other) if deep_equal(value, other, context)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => equal(left, right, context),
    }
}

fn same_type(left: &Node<'_>, right: &Node<'_>) -> bool {
    match (left.value(), right.value()) {
        (Some(Value::Array(_) | Value::Object(_)), Some(Value::Array(_) | Value::Object(_))) => {
            true
        }
        (Some(left), Some(right)) => std::mem::discriminant(left) == std::mem::discriminant(right),
        _ => false,
    }
}

/// Only numbers with numbers and texts with texts have an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            Some(Decimal::parse(left)?.cmp(&Decimal::parse(right)?))
        }
        // Java compares UTF-16 units.
        (Value::String(left), Value::String(right)) => {
            Some(left.encode_utf16().cmp(right.encode_utf16()))
        }
        _ => None,
    }
}

fn matches(regex: &Regex, node: &Node<'_>, context: Context<'_, '_>) -> Result<bool, EvalError> {
    let one = |value: &Value| match value {
        Value::String(text) => regex.is_match(text),
        Value::Number(text) => regex.is_match(&number::unwrapped(text)),
        Value::Bool(flag) => regex.is_match(if *flag { "true" } else { "false" }),
        _ => regex.is_match(""),
    };
    Ok(match node {
        Node::Value(value) => match &**value {
            Value::Array(items) => {
                context.spend(items.len())?;
                items.iter().any(one)
            }
            value => one(value),
        },
        Node::Undefined => regex.is_match(""),
        Node::Pattern(_) => false,
    })
}

fn contained(
    left: &Node<'_>,
    right: &Node<'_>,
    context: Context<'_, '_>,
) -> Result<bool, EvalError> {
    match right.value() {
        Some(Value::Object(_)) => Ok(false),
        _ => match (left.value(), list(right)?) {
            (Some(wanted), items) => has(items, wanted, context),
            (None, _) => Ok(false),
        },
    }
}

fn list<'n>(node: &'n Node<'_>) -> Result<&'n [Value], EvalError> {
    node.value()
        .and_then(Value::as_array)
        .ok_or_else(|| EvalError::Filter("expected a list on the right of the operator".to_owned()))
}

type Lists<'n> = Option<(&'n [Value], &'n [Value])>;

/// Both sides as lists; an object on either side makes the condition false.
fn lists<'n>(left: &'n Node<'_>, right: &'n Node<'_>) -> Result<Lists<'n>, EvalError> {
    match (left.value(), right.value()) {
        (Some(Value::Array(left)), Some(Value::Array(right))) => Ok(Some((left, right))),
        (Some(Value::Object(_)), _) | (_, Some(Value::Object(_))) => Ok(None),
        _ => Err(EvalError::Filter(
            "expected lists on both sides of the operator".to_owned(),
        )),
    }
}

fn has(items: &[Value], wanted: &Value, context: Context<'_, '_>) -> Result<bool, EvalError> {
    for item in items {
        context.step()?;
        if equal(wanted, item, context)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all(wanted: &[Value], items: &[Value], context: Context<'_, '_>) -> Result<bool, EvalError> {
    for value in wanted {
        if !has(items, value, context)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any(wanted: &[Value], items: &[Value], context: Context<'_, '_>) -> Result<bool, EvalError> {
    for value in wanted {
        if has(items, value, context)? {
            return Ok(true);
        }
    }
    Ok(false)
}
