//! `<variable>`: sets or removes a typed variable of the message (spec 04 §9.1, spec 05 §2.2).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::codes;
use crate::expr::{Expr, Need, Wanted};
use crate::json;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message, Value, ValueType};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "variable",
    summary: "Sets or removes a typed variable of the message.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator("variable", "Sets or removes a variable, which has a type and is read as `${vars.name}`. Variables stay when a response replaces the message.").with(&[
    Attr::text("name", "Its name.").required(),
    Attr::text("value", "The value. One of `value` and `expression` is needed to set."),
    Attr::expression("expression", "Gives the value."),
    Attr::words(
        "type",
        &["STRING", "INTEGER", "LONG", "DOUBLE", "BOOLEAN", "JSON", "XML"],
        "Type of the value. Without it an expression gives its own.",
    ),
    Attr::words("action", &["set", "remove"], "What to do.").or("set"),
]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &[
        "A value that is not of the type is a fault; a literal one is an error at deployment.",
    ],
};

/// The type names, which are exact; `INTEGER` is wanted by the reference in upper case.
const TYPES: &[(&str, ValueType)] = &[
    ("STRING", ValueType::String),
    ("BOOLEAN", ValueType::Boolean),
    ("INTEGER", ValueType::Integer),
    ("LONG", ValueType::Long),
    ("DOUBLE", ValueType::Double),
    ("JSON", ValueType::Json),
    ("XML", ValueType::Om),
];

#[derive(Debug)]
enum Action {
    Remove,
    Value(Value),
    /// The type is that of the result when none is given.
    Expr(Expr, Option<ValueType>),
}

#[derive(Debug)]
struct Variable {
    name: String,
    action: Action,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let name = reader.required(element, "name").map(str::to_owned);
    if name.as_deref().is_some_and(|n| n.trim().is_empty()) {
        let place = reader.attribute_place(element, "name");
        reader.error(codes::INVALID_VALUE, place, "a variable needs a name");
    }
    let remove = reader
        .one_of(element, "action", &[("set", false), ("remove", true)])
        .unwrap_or(false);
    let action = if remove {
        Some(Action::Remove)
    } else {
        let kind = parse_type(reader, element);
        parse_source(reader, element, kind)
    };
    let (name, action) = (name?, action?);
    (reader.errors() == before)
        .then(|| Arc::new(VariableDef(Arc::new(Variable { name, action }))) as Arc<dyn Definition>)
}

fn parse_type(reader: &mut Reader, element: Element<'_, '_>) -> Option<ValueType> {
    let word = element.attribute("type")?;
    let found = TYPES.iter().find(|(name, _)| *name == word);
    if found.is_none() {
        let place = reader.attribute_place(element, "type");
        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        let hint = match names.iter().find(|n| n.eq_ignore_ascii_case(word.trim())) {
            Some(name) => format!("write \"{name}\""),
            None => format!("types: {}", names.join(", ")),
        };
        reader.report(
            crate::diag::Diagnostic::error(codes::INVALID_VALUE, place, refusal(word)).help(hint),
        );
    }
    found.map(|(_, kind)| *kind)
}

fn refusal(kind: &str) -> String {
    format!(
        "Unknown type : {kind} for the variable mediator or the variable value cannot be converted into the specified type."
    )
}

fn parse_source(
    reader: &mut Reader,
    element: Element<'_, '_>,
    kind: Option<ValueType>,
) -> Option<Action> {
    if let Some(text) = element.attribute("value") {
        if element.has_attribute("expression") {
            let place = reader.attribute_place(element, "expression");
            reader.error(
                codes::CONFLICT,
                place,
                "<variable> has \"value\" or \"expression\", not both",
            );
            return None;
        }
        let kind = kind.unwrap_or(ValueType::String);
        let value = literal(kind, text);
        if value.is_none() {
            let place = reader.attribute_place(element, "value");
            reader.error(codes::INVALID_VALUE, place, refusal(name_of(kind)));
        }
        return value.map(Action::Value);
    }
    if element.has_attribute("expression") {
        return reader
            .expression(element, "expression")
            .map(|expr| Action::Expr(expr, kind));
    }
    let place = reader.place(element);
    reader.error(
        codes::MISSING_ATTRIBUTE,
        place,
        "'value' or 'expression' attributes is required for a variable mediator when action is SET",
    );
    None
}

fn name_of(kind: ValueType) -> &'static str {
    TYPES
        .iter()
        .find(|(_, k)| *k == kind)
        .map_or("STRING", |(name, _)| name)
}

/// A value as it is written; numbers are read strictly.
fn literal(kind: ValueType, text: &str) -> Option<Value> {
    match kind {
        ValueType::Integer => text.parse().ok().map(Value::Integer),
        _ => Value::convert(kind, text, &crate::xml::Limits::default()),
    }
}

#[derive(Debug)]
struct VariableDef(Arc<Variable>);

impl Definition for VariableDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(VariableDef(self.0.clone())))
    }
}

impl Mediate for VariableDef {
    fn need(&self) -> Need {
        match &self.0.action {
            Action::Expr(expr, Some(ValueType::String | ValueType::Om)) => expr.need(Wanted::Text),
            Action::Expr(expr, _) if expr.needs_body() => Need::Tree,
            _ => Need::Nothing,
        }
    }

    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        match &self.0.action {
            Action::Expr(expr, _) if number == 0 => Some((expr, Wanted::Text)),
            _ => None,
        }
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let variable = &*self.0;
        let value = match &variable.action {
            Action::Remove => {
                message.variables.remove(&variable.name);
                return Ok(Flow::Continue);
            }
            Action::Value(value) => Some(value.clone()),
            Action::Expr(expr, kind) => evaluate(expr, *kind, cx, message)?,
        };
        // Null leaves the old value in place.
        if let Some(value) = value {
            message.variables.set(&variable.name, value);
        }
        Ok(Flow::Continue)
    }
}

/// The result of an expression as a type: texts and XML are made of any text, everything else has
/// to be of the type already, except that JSON numbers are any number.
fn evaluate(
    expr: &Expr,
    kind: Option<ValueType>,
    cx: &Context<'_>,
    message: &Message,
) -> Result<Option<Value>, Fault> {
    let scope = cx.scope(message);
    let Some(kind) = kind else {
        return expr.object(&scope);
    };
    match kind {
        ValueType::String => return Ok(expr.string(&scope)?.map(Value::String)),
        ValueType::Om => {
            let Some(text) = expr.string(&scope)? else {
                return Ok(None);
            };
            return match Value::xml(&text, &cx.services.limits.xml) {
                Some(value) => Ok(Some(value)),
                None => Err(Fault::mediation(refusal("XML"))),
            };
        }
        _ => {}
    }
    let value = expr.object(&scope)?;
    match value.and_then(|value| typed(kind, value)) {
        Some(value) => Ok(Some(value)),
        None => {
            let text = expr.text();
            let inner = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
            Err(Fault::mediation(format!(
                "Expression '${{{}}}' result does not match the expected data type '{}'",
                inner.unwrap_or(text),
                name_of(kind)
            )))
        }
    }
}

fn typed(kind: ValueType, value: Value) -> Option<Value> {
    match (kind, value) {
        (_, Value::Json(json)) => from_json(kind, json),
        (ValueType::Boolean, value @ Value::Boolean(_))
        | (ValueType::Integer, value @ Value::Integer(_))
        | (ValueType::Long, value @ Value::Long(_))
        | (ValueType::Double, value @ Value::Double(_)) => Some(value),
        _ => None,
    }
}

// Numbers are cut as Java cuts them.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn from_json(kind: ValueType, value: Arc<json::Value>) -> Option<Value> {
    let whole = |text: &str| match text.parse::<i64>() {
        Ok(n) => Some(n),
        Err(_) => text.parse::<f64>().ok().map(|d| d as i64),
    };
    match (&*value, kind) {
        (json::Value::Array(_) | json::Value::Object(_), ValueType::Json) => {
            Some(Value::Json(value))
        }
        // A single value of type JSON becomes a text.
        (json::Value::String(text), ValueType::Json) => Some(Value::String(text.clone())),
        (json::Value::Number(text), ValueType::Json) => Some(Value::from(&**text)),
        (json::Value::Bool(b), ValueType::Json) => Some(Value::String(b.to_string())),
        (json::Value::Bool(b), ValueType::Boolean) => Some(Value::Boolean(*b)),
        (json::Value::Number(text), ValueType::Integer) => {
            whole(text).map(|n| Value::Integer(n as i32))
        }
        (json::Value::Number(text), ValueType::Long) => whole(text).map(Value::Long),
        (json::Value::Number(text), ValueType::Double) => text.parse().ok().map(Value::Double),
        _ => None,
    }
}
