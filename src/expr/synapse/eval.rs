//! The evaluator (spec 05 §5.5, §5.7).

use super::program::{Call, Logic, Node, Root, VariableName};
use super::strings::bounded;
use super::value::{Val, property_text};
use super::{Exception, Failure, Outcome, Parameter, Surroundings, operators};
use crate::expr::xpath::{Namespaces, PropertyScope};
use crate::json::Value as Json;
use std::borrow::Cow;

/// One evaluation. `'a` is the shorter of the lives of program and message.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) scope: &'a dyn Surroundings,
    pub(super) namespaces: &'a Namespaces,
    /// The typed result is wanted: `xpath(…)` gives nodes.
    pub(super) object: bool,
}

impl<'a> Evaluator<'a> {
    pub(super) fn eval(self, node: &'a Node) -> Outcome<Val<'a>> {
        match node {
            Node::Constant(value) => Ok(match value {
                Val::Text(text) => Val::Text(Cow::Borrowed(text)),
                other => other.clone(),
            }),
            Node::Array(items) => self.array(items),
            Node::Payload { path, whole } => match (path, whole) {
                (Some(path), _) => {
                    let slots = self.slots(&path.slots)?;
                    let payload = self.payload()?;
                    path.select(&path.compiled, Cow::Borrowed(payload), &slots)
                }
                (None, Some(body)) if self.scope.has_xml_content_type() => {
                    self.run_xpath(body, "$body")
                }
                _ => Ok(match self.payload()? {
                    Json::Null => Val::Null,
                    json => Val::Json(Cow::Borrowed(json), super::value::Spelling::Lazy),
                }),
            },
            Node::Variable { name, path } => self.variable(name, path.as_deref()),
            Node::Named(root, name) => self.named(*root, name),
            Node::Call(call) => self.call(call),
            Node::Chain(first, rest) => {
                let mut result = self.eval(first)?;
                for (operator, operand) in rest {
                    let operand = self.eval(operand)?;
                    result = operators::apply(*operator, &result, &operand)?;
                }
                Ok(result)
            }
            Node::Logic(first, rest) => self.logic(first, rest),
            Node::Choice(nodes) => {
                let [condition, then, otherwise] = &**nodes;
                let condition = self.eval(condition)?;
                match condition.as_bool() {
                    Some(true) => self.eval(then),
                    Some(false) => self.eval(otherwise),
                    None => Err(Failure::evaluation(format!(
                        "Condition is not a boolean: {}",
                        operators::shown(&condition)
                    ))),
                }
            }
        }
    }

    /// All operands are evaluated, from the left; the last two are combined first.
    fn logic(self, first: &'a Node, rest: &'a [(Logic, Node)]) -> Outcome<Val<'a>> {
        let mut values = vec![self.eval(first)?];
        for (_, operand) in rest {
            values.push(self.eval(operand)?);
        }
        let mut result = values.pop().unwrap_or(Val::Null);
        for (operator, _) in rest.iter().rev() {
            let left = values.pop().unwrap_or(Val::Null);
            if left.is_null() || result.is_null() {
                return Err(Failure::evaluation(format!(
                    "Null inputs for {} operation: {} and {}",
                    operator.name(),
                    operators::shown(&left),
                    operators::shown(&result)
                )));
            }
            let (Some(a), Some(b)) = (left.as_bool(), result.as_bool()) else {
                return Err(Failure::evaluation(format!(
                    "Logical operation between non-boolean values: {} and {}",
                    operators::shown(&left),
                    operators::shown(&result)
                )));
            };
            result = Val::Bool(match operator {
                Logic::And => a && b,
                Logic::Or => a || b,
            });
        }
        Ok(result)
    }

    /// Integers and doubles stay numbers, everything else becomes text.
    fn array(self, items: &'a [Node]) -> Outcome<Val<'a>> {
        let mut out = Vec::with_capacity(items.len());
        let mut size = 0_usize;
        for item in items {
            let item = match self.eval(item)? {
                Val::Null => {
                    return Err(Failure::thrown(
                        Exception::NullPointer,
                        "an array holds null",
                    ));
                }
                number @ (Val::Int(_) | Val::Double(_)) => Json::number(number.to_text()?),
                other => Json::String(other.into_text()?),
            };
            size = size.saturating_add(item.as_str().map_or(0, str::len));
            bounded(size)?;
            out.push(item);
        }
        Ok(Val::json(Json::Array(out)))
    }

    pub(super) fn payload(self) -> Outcome<&'a Json> {
        match self.scope.payload() {
            Ok(Some(json)) => Ok(json),
            Ok(None) => Err(Failure::evaluation(
                "Error while fetching the payload, Payload is empty",
            )),
            Err(cause) => Err(Failure::thrown(Exception::JsonSyntax, cause)),
        }
    }

    fn variable(
        self,
        name: &'a VariableName,
        path: Option<&'a super::program::Path>,
    ) -> Outcome<Val<'a>> {
        let slots = match path {
            Some(path) => self.slots(&path.slots)?,
            None => Vec::new(),
        };
        let name = match name {
            VariableName::Plain(name) => name,
            VariableName::SingleQuoted(name) => {
                return Err(Failure::thrown(
                    Exception::IllegalArgument,
                    format!("vars['{name}'] cannot be read; write vars[\"{name}\"]"),
                ));
            }
        };
        let Some(value) = self.scope.variable(name) else {
            return Err(Failure::evaluation(format!(
                "Variable {name} is not defined"
            )));
        };
        match path {
            None => Val::of_variable(value),
            Some(path) => path.of_variable(name, value, &slots),
        }
    }

    fn named(self, root: Root, name: &'a str) -> Outcome<Val<'a>> {
        let scope = self.scope;
        let property =
            |place: PropertyScope, name: &str| property_text(scope.property(place, name));
        let value = match root {
            Root::Header => property(PropertyScope::Transport, name),
            Root::Axis2 => property(PropertyScope::Axis2, name),
            Root::Synapse | Root::QueryParameter | Root::PathParameter => {
                property(PropertyScope::Default, name)
            }
            Root::Config => scope.config(name),
            Root::FunctionParameter => match scope.parameter(name) {
                Parameter::Text(text) => Some(text),
                Parameter::Missing => None,
                Parameter::NoTemplate => {
                    return Err(Failure::thrown(
                        Exception::NullPointer,
                        "there are no function parameters outside a template",
                    ));
                }
            },
        };
        match value {
            Some(text) => Ok(Val::of_text(text)),
            None => Err(Failure::evaluation(format!(
                "Could not find the value of {}{name}",
                match root {
                    Root::Header => "headers.",
                    Root::Config => "configs.",
                    Root::FunctionParameter => "params.functionParams.",
                    Root::Axis2 => "props.axis2.",
                    Root::Synapse | Root::QueryParameter | Root::PathParameter => "props.synapse.",
                }
            ))),
        }
    }

    fn call(self, call: &'a Call) -> Outcome<Val<'a>> {
        let Some(path) = &call.path else {
            return (call.row.run)(self, call);
        };
        let slots = self.slots(&path.slots)?;
        let value = (call.row.run)(self, call)?;
        path.of_result(value, &slots)
    }

    /// The arguments in order; null is no argument.
    pub(super) fn arguments(self, call: &'a Call) -> Outcome<Vec<Val<'a>>> {
        const NAMES: [&str; 3] = ["source", "argument1", "argument2"];
        let name = call.row.name;
        if call.args.len() > NAMES.len() {
            return Err(Failure::evaluation(format!(
                "Invalid number of arguments: {} provided for the function: {name}",
                call.args.len()
            )));
        }
        let values = call
            .args
            .iter()
            .map(|arg| self.eval(arg))
            .collect::<Outcome<Vec<_>>>()?;
        for (value, argument) in values.iter().zip(NAMES) {
            if value.is_null() {
                return Err(Failure::evaluation(format!(
                    "Null {argument} value provided for the function: {name}"
                )));
            }
        }
        let count = match values.len() {
            0 => "no arguments",
            1 => "one argument",
            2 => "two arguments",
            _ => "three arguments",
        };
        if !call.row.arity.contains(&values.len()) {
            return Err(Failure::evaluation(format!(
                "Invalid function: {name} with {count}"
            )));
        }
        Ok(values)
    }
}
