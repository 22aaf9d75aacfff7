//! The schemas of `<jsontransform>`: they check values and give them their types (spec 03 §18).

use crate::json::number::Decimal;
use crate::json::{self, Limits, Value, to_text};
use regex::Regex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Array,
    Boolean,
    Integer,
    Null,
    Number,
    Object,
    String,
}

const TYPES: &[(&str, Type)] = &[
    ("array", Type::Array),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("null", Type::Null),
    ("number", Type::Number),
    ("object", Type::Object),
    ("string", Type::String),
];

/// A compiled schema.
#[derive(Debug)]
pub(super) enum Schema {
    /// `true` and `{}`.
    Anything,
    /// `false`, inside another schema.
    Nothing,
    /// Everything else.
    Rules(Box<Rules>),
}

#[derive(Debug)]
pub(super) struct Rules {
    types: Vec<Type>,
    options: Option<Vec<Value>>,
    constant: Option<Value>,
    minimum: Option<(Decimal, bool)>,
    maximum: Option<(Decimal, bool)>,
    multiple_of: Option<f64>,
    length: (usize, usize),
    pattern: Option<Regex>,
    items_count: (usize, usize),
    unique: bool,
    items: Items,
    additional_items: Option<Schema>,
    members_count: (usize, usize),
    required: Vec<String>,
    properties: Vec<(String, Schema)>,
    patterns: Vec<(Regex, Schema)>,
    additional: Option<Schema>,
}

#[derive(Debug)]
enum Items {
    Any,
    All(Schema),
    Tuple(Vec<Schema>),
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The reference's words for what is wrong with it.
    pub(super) fn compile(text: &str) -> Result<Schema, String> {
        if text.trim().is_empty() {
            return Err("Input json and schema should not be null".to_owned());
        }
        let value = json::parse(text.as_bytes(), &Limits::default())
            .map_err(|_| "Invalid JSON schema".to_owned())?;
        match &value {
            Value::Bool(false) => {
                Err("JSON schema is false, so all validations will fail".to_owned())
            }
            Value::Bool(true) | Value::Object(_) => Schema::of(&value),
            _ => Err("JSON schema should be an object or boolean".to_owned()),
        }
    }

    fn of(value: &Value) -> Result<Schema, String> {
        match value {
            Value::Bool(true) => Ok(Schema::Anything),
            Value::Bool(false) => Ok(Schema::Nothing),
            Value::Object(members) if members.is_empty() => Ok(Schema::Anything),
            Value::Object(_) => Rules::of(value).map(|rules| Schema::Rules(Box::new(rules))),
            _ => Err("JSON schema should be an object or boolean".to_owned()),
        }
    }

    /// The value with the types that the schema gives it. Recurses as deep as the schema does.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn apply(&self, value: Value) -> Result<Value, String> {
        match self {
            Schema::Anything => Ok(value),
            Schema::Nothing => Err(format!(
                "JSON schema is false, so the value is not allowed : {}",
                short(&value)
            )),
            Schema::Rules(rules) => rules.apply(value),
        }
    }
}

impl Rules {
    fn of(schema: &Value) -> Result<Rules, String> {
        let types = match schema.get("type") {
            Some(Value::String(name)) => vec![type_of_name(name)?],
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .map(type_of_name)
                .collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        if types.is_empty() {
            return Err("JSON schema should contain a type declaration".to_owned());
        }
        let sub = |name: &str| schema.get(name).map(Schema::of).transpose();
        let count = |low: &str, high: &str| {
            let read = |name: &str| match schema.get(name) {
                Some(Value::Number(n)) => n.parse::<usize>().ok(),
                _ => None,
            };
            (read(low).unwrap_or(0), read(high).unwrap_or(usize::MAX))
        };
        let items = match schema.get("items") {
            None => Items::Any,
            Some(Value::Array(tuple)) => {
                Items::Tuple(tuple.iter().map(Schema::of).collect::<Result<_, _>>()?)
            }
            Some(one) => Items::All(Schema::of(one)?),
        };
        let members = |name: &str| match schema.get(name) {
            Some(Value::Object(members)) => members.as_slice(),
            _ => &[],
        };
        Ok(Rules {
            types,
            options: schema
                .get("enum")
                .and_then(Value::as_array)
                .map(<[Value]>::to_vec),
            constant: schema.get("const").cloned(),
            minimum: bound(schema, "minimum", "exclusiveMinimum"),
            maximum: bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: match schema.get("multipleOf") {
                Some(Value::Number(n)) => n.parse().ok().filter(|n: &f64| *n > 0.0),
                _ => None,
            },
            length: count("minLength", "maxLength"),
            pattern: match schema.get("pattern").and_then(Value::as_str) {
                Some(text) => Some(regex(&format!("^(?:{text})$"))?),
                None => None,
            },
            items_count: count("minItems", "maxItems"),
            unique: schema.get("uniqueItems") == Some(&Value::Bool(true)),
            items,
            additional_items: sub("additionalItems")?,
            members_count: count("minProperties", "maxProperties"),
            required: match schema.get("required") {
                Some(Value::Array(names)) => names
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                _ => Vec::new(),
            },
            properties: members("properties")
                .iter()
                .map(|(name, value)| Ok((name.clone(), Schema::of(value)?)))
                .collect::<Result<_, String>>()?,
            patterns: members("patternProperties")
                .iter()
                .map(|(text, value)| Ok((regex(text)?, Schema::of(value)?)))
                .collect::<Result<_, String>>()?,
            additional: sub("additionalProperties")?,
        })
    }

    fn apply(&self, value: Value) -> Result<Value, String> {
        let mut why = None;
        // A value that is of one of the types already is not made another.
        let own = self.types.iter().find(|t| is_of(&value, **t));
        let order: Vec<Type> = match own {
            Some(own) => vec![*own],
            None => self.types.clone(),
        };
        for kind in order {
            match coerced(&value, kind).and_then(|value| self.check(value, kind)) {
                Ok(value) => return Ok(value),
                Err(e) => why = Some(e),
            }
        }
        Err(why.unwrap_or_else(|| format!("no type fits the value {}", short(&value))))
    }

    fn check(&self, value: Value, kind: Type) -> Result<Value, String> {
        let value = match value {
            Value::Array(items) if kind == Type::Array => self.array(items)?,
            Value::Object(members) if kind == Type::Object => self.object(members)?,
            other => other,
        };
        match &value {
            Value::Number(text) => self.number(text)?,
            Value::String(text) => self.string(text)?,
            _ => {}
        }
        if let Some(options) = &self.options
            && !options.iter().any(|option| same(option, &value))
        {
            return Err(format!(
                "the value {} is not one of the enum",
                short(&value)
            ));
        }
        if let Some(constant) = &self.constant
            && !same(constant, &value)
        {
            return Err(format!("the value {} is not the const", short(&value)));
        }
        Ok(value)
    }

    fn number(&self, text: &str) -> Result<(), String> {
        let Some(number) = Decimal::parse(text) else {
            return Err(format!("{text} is out of range"));
        };
        if let Some((limit, exclusive)) = &self.minimum
            && (number < *limit || (*exclusive && number == *limit))
        {
            return Err(format!("{text} is lower than the minimum"));
        }
        if let Some((limit, exclusive)) = &self.maximum
            && (number > *limit || (*exclusive && number == *limit))
        {
            return Err(format!("{text} is greater than the maximum"));
        }
        if let Some(step) = self.multiple_of {
            let times = text.parse::<f64>().unwrap_or(f64::NAN) / step;
            if (times - times.round()).abs() > 1e-9 || !times.is_finite() {
                return Err(format!("{text} is not a multiple of {step}"));
            }
        }
        Ok(())
    }

    fn string(&self, text: &str) -> Result<(), String> {
        let length = text.chars().count();
        if length < self.length.0 || length > self.length.1 {
            return Err(format!(
                "the length of {} is not allowed",
                short(&Value::String(text.to_owned()))
            ));
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => Err(format!(
                "{} does not match the pattern",
                short(&Value::String(text.to_owned()))
            )),
            _ => Ok(()),
        }
    }

    fn array(&self, items: Vec<Value>) -> Result<Value, String> {
        if items.len() < self.items_count.0 || items.len() > self.items_count.1 {
            return Err(format!("an array of {} items is not allowed", items.len()));
        }
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            out.push(match &self.items {
                Items::Any => item,
                Items::All(schema) => schema.apply(item)?,
                Items::Tuple(schemas) => match (schemas.get(index), &self.additional_items) {
                    (Some(schema), _) => schema.apply(item)?,
                    // Items beyond the tuple keep their types.
                    (None, Some(schema)) => {
                        schema.apply(item.clone())?;
                        item
                    }
                    (None, None) => item,
                },
            });
        }
        if self.unique {
            let mut texts: Vec<String> = out.iter().map(to_text).collect();
            texts.sort_unstable();
            if texts.windows(2).any(|pair| pair.first() == pair.last()) {
                return Err("the items of the array are not unique".to_owned());
            }
        }
        Ok(Value::Array(out))
    }

    fn object(&self, members: Vec<(String, Value)>) -> Result<Value, String> {
        if members.len() < self.members_count.0 || members.len() > self.members_count.1 {
            return Err(format!(
                "an object of {} members is not allowed",
                members.len()
            ));
        }
        for name in &self.required {
            if !members.iter().any(|(known, _)| known == name) {
                return Err(format!("the required member \"{name}\" is missing"));
            }
        }
        let mut out = Vec::with_capacity(members.len());
        for (name, mut value) in members {
            let mut known = false;
            if let Some((_, schema)) = self.properties.iter().find(|(n, _)| *n == name) {
                value = schema.apply(value).map_err(|e| format!("{name}: {e}"))?;
                known = true;
            }
            for (pattern, schema) in &self.patterns {
                if pattern.is_match(&name) {
                    value = schema.apply(value).map_err(|e| format!("{name}: {e}"))?;
                    known = true;
                }
            }
            if let (false, Some(schema)) = (known, &self.additional) {
                value = schema.apply(value).map_err(|e| format!("{name}: {e}"))?;
            }
            out.push((name, value));
        }
        Ok(Value::Object(out))
    }
}

fn type_of_name(name: &str) -> Result<Type, String> {
    TYPES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| format!("JSON schema has the unknown type \"{name}\""))
}

/// A limit, and whether it is exclusive: a Boolean beside it (draft 4), or a number of its own.
fn bound(schema: &Value, name: &str, exclusive: &str) -> Option<(Decimal, bool)> {
    let number = |value: Option<&Value>| match value {
        Some(Value::Number(text)) => Decimal::parse(text),
        _ => None,
    };
    if let Some(limit) = number(schema.get(exclusive)) {
        return Some((limit, true));
    }
    let strict = schema.get(exclusive) == Some(&Value::Bool(true));
    number(schema.get(name)).map(|limit| (limit, strict))
}

fn regex(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(text)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| format!("Invalid JSON schema: the pattern {text} cannot be used"))
}

fn is_of(value: &Value, kind: Type) -> bool {
    match (value, kind) {
        (Value::Null, Type::Null)
        | (Value::Bool(_), Type::Boolean)
        | (Value::String(_), Type::String)
        | (Value::Array(_), Type::Array)
        | (Value::Object(_), Type::Object)
        | (Value::Number(_), Type::Number) => true,
        (Value::Number(text), Type::Integer) => is_integer(text),
        _ => false,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The value as a type.
fn coerced(value: &Value, kind: Type) -> Result<Value, String> {
    if is_of(value, kind) {
        return Ok(value.clone());
    }
    let number = |text: &str| match json::parse(text.trim().as_bytes(), &Limits::default()) {
        Ok(number @ Value::Number(_)) => Some(number),
        _ => None,
    };
    let made = match (value, kind) {
        (Value::Array(_), Type::Array) => None,
        (other, Type::Array) => Some(Value::Array(vec![other.clone()])),
        (Value::String(text), Type::Number) => number(text),
        (Value::String(text), Type::Integer) => number(text).filter(|n| is_of(n, Type::Integer)),
        (Value::String(text), Type::Boolean) => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        (Value::String(text), Type::Null) => {
            matches!(text.trim(), "" | "null").then_some(Value::Null)
        }
        (Value::Number(text), Type::String) => Some(Value::String(text.to_string())),
        (Value::Bool(b), Type::String) => Some(Value::String(b.to_string())),
        _ => None,
    };
    made.ok_or_else(|| {
        if kind == Type::Object {
            return format!("Expected a JSON as input but found : {}", short(value));
        }
        let name = TYPES
            .iter()
            .find(|(_, k)| *k == kind)
            .map_or("", |(n, _)| n);
        format!("{} is no {name}", short(value))
    })
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => Decimal::parse(a) == Decimal::parse(b),
        _ => one == other,
    }
}

fn short(value: &Value) -> String {
    crate::mediator::content::shown(to_text(value).as_bytes())
}
