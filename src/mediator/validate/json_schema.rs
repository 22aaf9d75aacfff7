//! JSON Schema (spec 03 §8), checked by the `jsonschema` crate, offline; error texts are those of the
//! reference's library.

use crate::json::{self, Value as Json};
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

/// Most messages that a report holds.
const MOST: usize = 100;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct JsonSchema(Validator);

impl JsonSchema {
    /// Compiles a schema; without `$schema` it is of draft 4, as in the reference.
    pub(super) fn compile(text: &str) -> Result<JsonSchema, String> {
        let failed = |cause: String| format!("Error while validating the JSON Schema: {cause}");
        let schema: Value = serde_json::from_str(text).map_err(|e| failed(e.to_string()))?;
        let named = schema.get("$schema").and_then(Value::as_str);
        if named.is_some_and(|draft| draft.contains("draft-03")) {
            return Err(failed("JSON Schema draft 3 is not supported".to_owned()));
        }
        let mut options = jsonschema::options().offline();
        if named.is_none() {
            options = options.with_draft(Draft::Draft4);
        }
        options
            .should_validate_formats(true)
            .build(&schema)
            .map(JsonSchema)
            .map_err(|e| failed(e.to_string()))
    }

    /// The first message and the report when a value does not fit.
    pub(super) fn check(&self, value: &Json) -> Option<(String, String)> {
        let value = to_serde(value);
        if self.0.is_valid(&value) {
            return None;
        }
        let errors: Vec<ValidationError<'_>> = self.0.iter_errors(&value).take(MOST).collect();
        let mut messages: Vec<String> = Vec::new();
        let mut missing_at: Vec<String> = Vec::new();
        for error in &errors {
            let text = match error.kind() {
                // The reference names all that are missing at one place together.
                Kind::Required { .. } => {
                    let place = error.instance_path().to_string();
                    if missing_at.contains(&place) {
                        continue;
                    }
                    let names: Vec<String> = errors
                        .iter()
                        .filter(|e| e.instance_path().to_string() == place)
                        .filter_map(|e| match e.kind() {
                            Kind::Required { property } => Some(property.to_string()),
                            _ => None,
                        })
                        .collect();
                    missing_at.push(place);
                    format!(
                        "object has missing required properties ([{}])",
                        names.join(",")
                    )
                }
                Kind::FalseSchema => match not_allowed(error, &value) {
                    Some(text) => text,
                    None => message(error),
                },
                _ => message(error),
            };
            messages.push(text);
        }
        let report: String = messages.iter().map(|m| format!("error: {m}\n")).collect();
        let report = format!("failure\n--- BEGIN MESSAGES ---\n{report}---  END MESSAGES  ---\n");
        Some((messages.into_iter().next().unwrap_or_default(), report))
    }
}

/// A member that `additionalProperties: false` refuses.
fn not_allowed(error: &ValidationError<'_>, root: &Value) -> Option<String> {
    let rule = error.schema_path().to_string();
    if !rule.ends_with("/additionalProperties") {
        return None;
    }
    let object = root
        .pointer(&error.instance_path().to_string())?
        .as_object()?;
    let refused = &**error.instance();
    let (name, _) = object.iter().find(|(_, value)| *value == refused)?;
    Some(format!(
        "object instance has properties which are not allowed by the schema: [\"{name}\"]"
    ))
}

fn message(error: &ValidationError<'_>) -> String {
    let instance = error.instance();
    let text = instance.as_str().unwrap_or_default();
    let length = text.chars().count();
    let items = instance.as_array().map_or(0, Vec::len);
    let members = instance.as_object().map_or(0, serde_json::Map::len);
    match error.kind() {
        Kind::Type { kind } => {
            let mut allowed: Vec<String> = match kind {
                TypeKind::Single(one) => vec![format!("\"{one}\"")],
                TypeKind::Multiple(several) => {
                    several.iter().map(|one| format!("\"{one}\"")).collect()
                }
            };
            allowed.sort_unstable();
            format!(
                "instance type ({}) does not match any allowed primitive type (allowed: [{}])",
                type_of(instance),
                allowed.join(",")
            )
        }
        Kind::Enum { options } => {
            format!("instance value ({instance}) not found in enum (possible values: {options})")
        }
        Kind::MinLength { limit } => {
            format!("string \"{text}\" is too short (length: {length}, required minimum: {limit})")
        }
        Kind::MaxLength { limit } => {
            format!("string \"{text}\" is too long (length: {length}, maximum allowed: {limit})")
        }
        Kind::Minimum { limit } => format!(
            "numeric instance is lower than the required minimum (minimum: {limit}, found: {instance})"
        ),
        Kind::Maximum { limit } => format!(
            "numeric instance is greater than the required maximum (maximum: {limit}, found: {instance})"
        ),
        Kind::ExclusiveMinimum { limit } => {
            format!("numeric instance is not strictly greater than the required minimum {limit}")
        }
        Kind::ExclusiveMaximum { limit } => {
            format!("numeric instance is not strictly lower than the required maximum {limit}")
        }
        Kind::Pattern { pattern } => {
            format!("ECMA 262 regex \"{pattern}\" does not match input string \"{text}\"")
        }
        Kind::AdditionalProperties { unexpected } => {
            let names: Vec<String> = unexpected.iter().map(|n| format!("\"{n}\"")).collect();
            format!(
                "object instance has properties which are not allowed by the schema: [{}]",
                names.join(",")
            )
        }
        Kind::MinItems { limit } => format!(
            "array is too short: must have at least {limit} elements but instance has {items} elements"
        ),
        Kind::MaxItems { limit } => format!(
            "array is too long: must have at most {limit} elements but instance has {items} elements"
        ),
        Kind::MinProperties { limit } => format!(
            "object has too few properties (found {members} but schema requires at least {limit})"
        ),
        Kind::MaxProperties { limit } => format!(
            "object has too many properties (found {members} but schema requires at most {limit})"
        ),
        Kind::UniqueItems => "array must not contain duplicate elements".to_owned(),
        _ => error.to_string(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Values of messages nest at most [`json::MAX_DEPTH`] deep.
fn to_serde(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(text) => number(text),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(to_serde).collect()),
        Json::Object(_) => Value::Object(
            value
                .members()
                .map(|(_, name, value)| (name.to_owned(), to_serde(value)))
                .collect(),
        ),
    }
}

fn number(text: &str) -> Value {
    if let Ok(n) = text.parse::<i64>() {
        return Value::from(n);
    }
    if let Ok(n) = text.parse::<u64>() {
        return Value::from(n);
    }
    // What no double can hold is the largest one: it is out of every range.
    let double = text.parse::<f64>().unwrap_or(f64::MAX);
    Value::from(double.clamp(f64::MIN, f64::MAX))
}

const _: () = assert!(json::MAX_DEPTH <= 1024, "converting recurses");
