//! Functions at the end of a path.

use super::compile::{Compiled, Token, compile};
use super::evaluate::{CHEAP, Context, fits, value_weight, weight_of};
use super::scanner::Scanner;
use super::{EvalError, PathError};
use crate::json::{Limits, Value, number, parse};

/// A function call (spec 05 §4.2).
#[derive(Clone, Debug)]
pub(super) struct Function {
    kind: Kind,
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Json(Value),
    /// Always applied to the whole document.
    Path(Compiled),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Length,
    Min,
    Max,
    Avg,
    StdDev,
    Sum,
    Keys,
    First,
    Last,
    Index,
    Append,
    Concat,
}

impl Function {
    pub(super) fn compile(
        name: &str,
        arguments: &str,
        name_offset: usize,
        base: usize,
        nesting: usize,
    ) -> Result<Self, PathError> {
        let kind = match name {
            "length" | "size" => Kind::Length,
            "min" => Kind::Min,
            "max" => Kind::Max,
            "avg" => Kind::Avg,
            "stddev" => Kind::StdDev,
            "sum" => Kind::Sum,
            "keys" => Kind::Keys,
            "first" => Kind::First,
            "last" => Kind::Last,
            "index" => Kind::Index,
            "append" => Kind::Append,
            "concat" => Kind::Concat,
            _ => {
                return Err(PathError {
                    offset: name_offset,
                    message: format!("Function with name: {name} does not exist."),
                });
            }
        };
        let mut function = Self {
            kind,
            parameters: parameters(arguments, base, nesting)?,
        };
        function.count_children();
        Ok(function)
    }

    /// `length` of a path counts the children of what the path selects.
    pub(super) fn count_children(&mut self) {
        if self.kind == Kind::Length
            && let Some(Parameter::Path(path)) = self.parameters.first_mut()
            && !path.tokens.is_empty()
            && !path.is_function()
        {
            path.tokens.push(Token::Wildcard);
            path.definite = false;
        }
    }

    pub(super) fn call(&self, model: &Value, context: Context<'_, '_>) -> Result<Value, EvalError> {
        let parameters = self
            .parameters
            .iter()
            .map(|parameter| match parameter {
                Parameter::Json(value) => Ok(value.clone()),
                Parameter::Path(path) => context
                    .evaluate(path, context.root, false)
                    .and_then(|found| fits(found, context.root))
                    .and_then(|found| {
                        context.spend(weight_of(&found) / CHEAP)?;
                        Ok(found.into_value())
                    }),
            })
            .collect::<Result<Vec<Value>, EvalError>>()?;
        // Functions go through all items, and some copy them.
        context.spend(model.as_array().map_or(0, <[Value]>::len))?;
        for parameter in &parameters {
            context.spend(parameter.as_array().map_or(0, <[Value]>::len))?;
        }
        if self.kind == Kind::Append {
            context.spend(value_weight(model) / CHEAP)?;
        }
        match self.kind {
            Kind::Length => Ok(length(model, parameters.first())),
            Kind::Keys => Ok(match model {
                Value::Object(_) => {
                    let names = model
                        .members()
                        .map(|(_, name, _)| Value::String(name.to_owned()));
                    Value::Array(names.collect())
                }
                _ => Value::Null,
            }),
            Kind::First => at(model, 0),
            Kind::Last => at(model, -1),
            Kind::Index => match numbers(&Value::Null, &parameters).first() {
                // Java's narrowing: saturating, and zero for what is no number.
                Some(index) => at(model, *index as i64),
                None => Err(EvalError::Function("index() needs a number".to_owned())),
            },
            Kind::Append => Ok(match model {
                Value::Array(items) => {
                    Value::Array(items.iter().cloned().chain(parameters).collect())
                }
                other => other.clone(),
            }),
            Kind::Concat => Ok(Value::String(
                listed(model, &parameters)
                    .filter_map(Value::as_str)
                    .collect(),
            )),
            aggregate => statistic(aggregate, &numbers(model, &parameters)),
        }
    }
}

fn length(model: &Value, parameter: Option<&Value>) -> Value {
    let count = |value: &Value| match value {
        Value::Array(items) => Some(items.len()),
        object @ Value::Object(_) => Some(object.members().count()),
        _ => None,
    };
    let of_parameter = parameter
        .filter(|value| value.as_array().is_some())
        .and_then(count);
    of_parameter
        .or_else(|| count(model))
        .map_or(Value::Null, Value::number)
}

fn at(model: &Value, index: i64) -> Result<Value, EvalError> {
    let Some(items) = model.as_array() else {
        return Err(empty());
    };
    let position = match usize::try_from(index) {
        Ok(position) => Some(position),
        Err(_) => usize::try_from(index.unsigned_abs())
            .ok()
            .and_then(|back| items.len().checked_sub(back)),
    };
    match position.and_then(|position| items.get(position)) {
        Some(Value::Number(text)) => Ok(Value::number(number::unwrapped(text))),
        Some(item) => Ok(item.clone()),
        None => Err(EvalError::Function(format!(
            "Target index:{index} larger than object count:{}",
            items.len()
        ))),
    }
}

/// The items of the model, then the parameters with arrays taken apart.
fn listed<'v>(model: &'v Value, parameters: &'v [Value]) -> impl Iterator<Item = &'v Value> {
    let items = model.as_array().unwrap_or_default().iter();
    items.chain(parameters.iter().flat_map(|value| match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    }))
}

fn numbers(model: &Value, parameters: &[Value]) -> Vec<f64> {
    listed(model, parameters)
        .filter_map(|value| match value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        })
        .collect()
}

fn empty() -> EvalError {
    EvalError::Function(
        "Aggregation function attempted to calculate value using empty array".to_owned(),
    )
}

fn statistic(kind: Kind, numbers: &[f64]) -> Result<Value, EvalError> {
    if numbers.is_empty() {
        return Err(empty());
    }
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let result = match kind {
        Kind::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        Kind::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Kind::Avg => sum / count,
        Kind::StdDev => {
            let squares: f64 = numbers.iter().map(|number| number * number).sum();
            (squares / count - sum * sum / count / count).sqrt()
        }
        _ => sum,
    };
    match result.is_finite() {
        true => Ok(Value::number(number::java_double(result))),
        false => Err(EvalError::Function(
            "the result is too large for a number".to_owned(),
        )),
    }
}

/// Splits arguments at commas; each is a path or JSON.
fn parameters(text: &str, base: usize, nesting: usize) -> Result<Vec<Parameter>, PathError> {
    let mut scanner = Scanner::new(text, base);
    let mut parameters = Vec::new();
    scanner.blanks();
    if scanner.at_end() {
        return Ok(parameters);
    }
    loop {
        scanner.blanks();
        let (start, offset) = (scanner.mark(), scanner.offset());
        loop {
            match scanner.peek() {
                Some(b'[') => drop(scanner.bracketed(b'[', b']')?),
                Some(b'(') => drop(scanner.bracketed(b'(', b')')?),
                Some(b'{') => drop(scanner.bracketed(b'{', b'}')?),
                Some(b'"' | b'\'') => drop(scanner.quoted()?),
                Some(b',') | None => break,
                Some(_) => drop(scanner.bump()),
            }
        }
        let argument = scanner.since(start).trim_end();
        parameters.push(match argument.as_bytes().first() {
            Some(b'$' | b'@') => Parameter::Path(compile(argument, offset, nesting + 1)?),
            Some(b'\'') => Parameter::Json(Value::String(Scanner::new(argument, offset).quoted()?)),
            _ => Parameter::Json(parse(argument.as_bytes(), &Limits::default()).map_err(
                |error| PathError {
                    offset: offset + error.offset,
                    message: format!(
                        "a function argument is neither a path nor JSON: {}",
                        error.kind
                    ),
                },
            )?),
        });
        if !scanner.eat(",") {
            return Ok(parameters);
        }
    }
}
