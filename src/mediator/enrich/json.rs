//! Enriching JSON (spec 03 §15.1).

use super::{Action, Enrich, JsonSource, Part, Source, Target, entry, inline_text};
use crate::expr::Expr;
use crate::expr::jsonpath::{self, copies_fit};
use crate::json::{self, MAX_DEPTH, Value as Json};
use crate::mediator::Context;
use crate::message::{Body, Built, Fault, Message, Value};
use std::collections::HashMap;
use std::sync::Arc;

const LOG: &str = "EnrichMediator";

fn no_source(why: &str) -> Fault {
    Fault::mediation(format!("Failed to get the source for Enriching : {why}"))
}

impl Enrich {
    /// Moves the whole body to a property, or a text to the body, without a tree in between; whether that was all
    /// there was to do. What is unusual is left to the trees.
    pub(super) fn move_text(&self, cx: &Context<'_>, message: &mut Message) -> bool {
        let limits = &cx.services.limits;
        if self.action != Action::Replace {
            return false;
        }
        match (&self.source, &self.target) {
            (Source::Body, Target::Property(name)) => {
                let Body::Built(built) = &message.body else {
                    return false;
                };
                let text = built
                    .json()
                    .and_then(|raw| json::compact(raw, &limits.json));
                let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else {
                    return false;
                };
                message.properties.set(name, text);
            }
            (source, Target::Body) => {
                let text = match source {
                    Source::Property(name) => match message.properties.get(name) {
                        Some(Value::String(text)) => text,
                        _ => return false,
                    },
                    Source::Text(parts) => match parts.as_slice() {
                        [Part::Text(text)] => text,
                        _ => return false,
                    },
                    _ => return false,
                };
                let container = text.trim_start().starts_with(['{', '[']);
                let text = container.then(|| json::compact(text.as_bytes(), &limits.json));
                let Some(text) = text.flatten().filter(|t| t.len() <= limits.max_bytes) else {
                    return false;
                };
                let mut built = Built::from_json(text.into());
                built.adopt(limits);
                message.body = Body::Built(Box::new(built));
            }
            _ => return false,
        }
        true
    }

    /// The source of a JSON message; with `clone="false"` it is taken out of the body.
    pub(super) fn json_source(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
    ) -> Result<JsonSource, Fault> {
        Ok(JsonSource::Json(match &self.source {
            Source::Paths(_) => return Ok(JsonSource::Removal),
            Source::Custom(Expr::Json { path, .. }) => {
                let found = {
                    let root = tree(message)?;
                    path.evaluate(root).map(jsonpath::Found::into_value)
                };
                let value = found.map_err(|e| no_source(&e.to_string()))?;
                if !self.clone {
                    change(cx, message, |root| {
                        path.delete(root).map_err(|e| no_source(&e.to_string()))?;
                        Ok(())
                    })?;
                }
                value
            }
            Source::Custom(expr @ Expr::JsonFrom { .. }) => {
                let text = expr.string(&cx.scope(message))?.unwrap_or_default();
                if text.is_empty() {
                    return Err(no_source(expr.text()));
                }
                json::parse_lenient(&text, &cx.services.limits.json).unwrap_or(Json::String(text))
            }
            Source::Custom(expr) => match expr.object(&cx.scope(message))? {
                Some(Value::Xml(_)) => return Ok(JsonSource::Xml),
                Some(value) => as_json(&value),
                None => return Err(no_source(expr.text())),
            },
            Source::Body => tree(message)?.clone(),
            Source::Text(parts) => {
                let text = inline_text(parts, &cx.scope(message))?;
                json::parse_lenient(&text, &cx.services.limits.json)
                    .map_err(|e| no_source(&e.to_string()))?
            }
            Source::Entry(key, _) => match entry(cx, key) {
                Some(Value::Xml(_)) => return Ok(JsonSource::Xml),
                Some(Value::String(text)) if !text.trim().is_empty() => {
                    json::parse_lenient(text, &cx.services.limits.json)
                        .map_err(|e| no_source(&e.to_string()))?
                }
                _ => return Err(no_source(key)),
            },
            Source::Property(name) => match message.properties.get(name) {
                None => return Err(no_source(name)),
                Some(value) => match property_json(value) {
                    Some(json) => json,
                    None => return Ok(JsonSource::Xml),
                },
            },
            Source::Envelope | Source::Xml(_) => return Ok(JsonSource::Xml),
        }))
    }

    /// Puts a value where the target says.
    pub(super) fn insert_json(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
        value: Json,
    ) -> Result<(), Fault> {
        match &self.target {
            Target::Custom(Expr::Json { path, .. }) => match self.action {
                Action::Replace => change(cx, message, |root| {
                    path.set(root, &value)
                        .map_err(|e| Fault::mediation(e.to_string()))?;
                    Ok(())
                }),
                Action::Child => change(cx, message, |root| {
                    let places = path
                        .locate(root)
                        .and_then(|places| copies_fit(&value, places.len()).map(|()| places))
                        .map_err(|e| Fault::mediation(e.to_string()))?;
                    for place in places {
                        if let Some(target) = place.get_mut(root) {
                            add_child(target, &value);
                        }
                    }
                    Ok(())
                }),
                Action::Sibling | Action::Remove => {
                    tracing::error!(target: LOG, "Action sibling is not supported. Please use child action instead");
                    Ok(())
                }
            },
            Target::Body => match (self.action, &value) {
                (Action::Replace, Json::Object(_) | Json::Array(_)) => replace(cx, message, value),
                (Action::Replace, _) => {
                    tracing::error!(
                        target: LOG,
                        "Unsupported JSON payload : {}.Only JSON arrays and objects can be enriched to the body",
                        json::to_text(&value)
                    );
                    Ok(())
                }
                (Action::Child, _) => change(cx, message, |root| {
                    add_child(root, &value);
                    Ok(())
                }),
                _ => {
                    tracing::error!(target: LOG, "Unsupported action : sibling. Only replace is supported for target body.");
                    Ok(())
                }
            },
            Target::Property(name) => {
                self.insert_property(cx, message, name, value);
                Ok(())
            }
            Target::Variable(name) => {
                message.variables.set(name, Value::Json(Arc::new(value)));
                Ok(())
            }
            Target::Key(path) => {
                let name = match value {
                    Json::String(text) => text,
                    Json::Number(text) => text.into_string(),
                    Json::Bool(b) => b.to_string(),
                    _ => {
                        return Err(Fault::mediation(
                            "Failed to get the new key name from source for Enriching. Key name must be a string.",
                        ));
                    }
                };
                change(cx, message, |root| {
                    path.rename(root, &name)
                        .map_err(|e| Fault::mediation(e.to_string()))?;
                    Ok(())
                })
            }
            Target::Custom(_) | Target::Scoped(..) | Target::Envelope => {
                Err(Fault::mediation("Invalid Target object to be enrich."))
            }
        }
    }

    fn insert_property(&self, cx: &Context<'_>, message: &mut Message, name: &str, value: Json) {
        match self.action {
            Action::Replace => message.properties.set(name, json::to_text(&value)),
            Action::Child => {
                let Some(old) = message.properties.get(name) else {
                    tracing::error!(target: LOG, "Cannot find the property with name \"{name}\" to enrich");
                    return;
                };
                let old = old.text();
                match json::parse_lenient(&old, &cx.services.limits.json) {
                    Ok(Json::Array(mut items)) => {
                        items.push(value);
                        let text = json::to_text(&Json::Array(items));
                        message.properties.set(name, text);
                    }
                    Ok(_) => tracing::error!(
                        target: LOG,
                        "Cannot add child, since the target {old} is not an JSON array"
                    ),
                    Err(_) => tracing::error!(
                        target: LOG,
                        "Value inside the given property : {name} is not a valid JSON"
                    ),
                }
            }
            Action::Sibling | Action::Remove => tracing::error!(
                target: LOG,
                "Action sibling is not supported when enriching properties with JSON data"
            ),
        }
    }

    /// Removes what the source's paths select.
    pub(super) fn remove_json(&self, cx: &Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let failed = |why: String| {
            let mut fault = Fault::mediation("Error occurred while executing the action : remove");
            fault.detail = Some(format!("{}: {why}", fault.message));
            fault
        };
        let Source::Paths(paths) = &self.source else {
            return Ok(());
        };
        let mut root = match &self.target {
            Target::Property(name) => {
                let text = message.properties.get(name).map(|v| v.text());
                let text = text.unwrap_or_default();
                Some(
                    json::parse_lenient(&text, &cx.services.limits.json)
                        .map_err(|e| failed(e.to_string()))?,
                )
            }
            _ => Some(tree(message)?.clone()),
        };
        for path in paths {
            match (path, &mut root) {
                (None, root) => *root = None,
                (Some(path), Some(root)) => {
                    path.delete(root).map_err(|e| failed(e.to_string()))?;
                }
                (Some(_), None) => return Err(failed("there is nothing left".to_owned())),
            }
        }
        match (&self.target, root) {
            (Target::Property(name), root) => {
                let text = root.as_ref().map_or_else(String::new, json::to_text);
                message.properties.set(name, text);
                Ok(())
            }
            (_, Some(root)) => replace(cx, message, root),
            (_, None) => {
                message.body = Body::Built(Box::new(Built::empty(message.version)));
                Ok(())
            }
        }
    }
}

/// The body as JSON.
fn tree(message: &Message) -> Result<&Json, Fault> {
    match &message.body {
        Body::Built(built) => built
            .json_tree()
            .map_err(Fault::malformed)?
            .ok_or_else(|| no_source("JSON payload not found in message context")),
        _ => Err(no_source("JSON payload not found in message context")),
    }
}

/// Changes the body; when that fails it is as it was.
fn change(
    cx: &Context<'_>,
    message: &mut Message,
    edit: impl FnOnce(&mut Json) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let taken = match &mut message.body {
        Body::Built(built) => built.take_json_tree().map_err(Fault::malformed)?,
        _ => None,
    };
    let mut root = taken.ok_or_else(|| no_source("JSON payload not found in message context"))?;
    // The tree was taken, its text was not: a failed edit leaves the text.
    edit(&mut root)?;
    replace(cx, message, root)
}

fn replace(cx: &Context<'_>, message: &mut Message, root: Json) -> Result<(), Fault> {
    let limits = &cx.services.limits;
    if root.depth() > MAX_DEPTH {
        return Err(Fault::mediation("the JSON body would be nested too deeply"));
    }
    let mut built = Built::from_json_value(root);
    let length = built.json().map_or(0, bytes::Bytes::len);
    if length > limits.max_bytes {
        return Err(Fault::mediation(format!(
            "The payload is larger than the limit of {} bytes",
            limits.max_bytes
        )));
    }
    built.adopt(limits);
    message.body = Body::Built(Box::new(built));
    Ok(())
}

/// Appends to an array, merges into an object; anything else stays.
fn add_child(target: &mut Json, value: &Json) {
    match (target, value) {
        (Json::Array(items), value) => items.push(value.clone()),
        (Json::Object(members), Json::Object(new)) => {
            let places = members.iter().enumerate();
            let mut places: HashMap<String, usize> =
                places.map(|(at, (name, _))| (name.clone(), at)).collect();
            for (name, value) in new {
                let place = *places.entry(name.clone()).or_insert(members.len());
                match members.get_mut(place) {
                    Some(slot) => slot.1 = value.clone(),
                    None => members.push((name.clone(), value.clone())),
                }
            }
        }
        (target, _) => tracing::error!(
            target: LOG,
            "Cannot append since the target element is not a JSON array or JSONObject: {}",
            json::to_text(target)
        ),
    }
}

/// The typed result of an expression as JSON.
fn as_json(value: &Value) -> Json {
    match value {
        Value::Json(json) => (**json).clone(),
        Value::Boolean(b) => Json::Bool(*b),
        Value::Integer(_) | Value::Short(_) | Value::Long(_) => Json::number(value.text()),
        Value::Float(f) if f.is_finite() => Json::number(value.text()),
        Value::Double(d) if d.is_finite() => Json::number(value.text()),
        other => Json::String(other.text().into_owned()),
    }
}

/// A property as JSON; `None` when it is XML. Text that is no JSON is a string.
fn property_json(value: &Value) -> Option<Json> {
    match value {
        Value::Json(json) => Some((**json).clone()),
        Value::Xml(_) => None,
        Value::List(items) => match items.as_slice() {
            [Value::String(text)] => json::parse_lenient(text, &json::Limits::default())
                .ok()
                .filter(|j| matches!(j, Json::Object(_) | Json::Array(_))),
            _ => None,
        },
        Value::String(text) => match json::parse_lenient(text, &json::Limits::default()) {
            Ok(Json::Null) => None,
            Ok(json) => Some(json),
            Err(_) => Some(Json::String(text.clone())),
        },
        other => Some(as_json(other)),
    }
}
