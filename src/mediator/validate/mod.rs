//! `<validate>`: checks a message against XML Schemas or a JSON Schema, and runs its on-fail list
//! when it does not fit (spec 03 §8).

mod json_schema;
#[cfg(test)]
mod tests;
#[cfg(feature = "xsd")]
mod xsd;
#[cfg(not(feature = "xsd"))]
#[path = "no_xsd.rs"]
mod xsd;

use super::list::build;
use super::{Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec};
use crate::diag::{Diagnostic, Place, codes};
use crate::expr::{Dynamic, Expr, LocalEntries, entries, jsonpath};
use crate::json::Value as Json;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Body, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId};
use json_schema::JsonSchema;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "validate",
    summary: "Checks the message against a schema and runs its on-fail list when it does not fit.",
    doc: DOC,
    parse,
};

const SCHEMA: Tag = Tag::child(
    "schema",
    "A schema. Several XML schemas count together; of several JSON schemas the last.",
)
.with(&[Attr::dynamic("key", "Local entry or registry resource.").required()]);
const RESOURCE: Tag =
    Tag::child("resource", "Where an imported or included XML schema is.").with(&[
        Attr::text("location", "As `schemaLocation` says.").required(),
        Attr::dynamic("key", "Local entry or registry resource.").required(),
    ]);
const FEATURE: Tag = Tag::child("feature", "A feature of the XML Schema engine.").with(&[
    Attr::text("name", "Its name.").required(),
    Attr::truth("value", "Its value.").required(),
]);
const ON_FAIL: Tag = Tag::child(
    "on-fail",
    "Runs when the message does not fit. Must not be empty.",
)
.holds(Content::Mediators);

const ROOT: Tag = Tag::mediator("validate", "Checks the body, or a part of it, against XML Schema or JSON Schema. A JSON body is checked as JSON.")
    .with(&[
        Attr::expression("source", "The part that is checked.").or("the first child of the body, or all of the JSON"),
        Attr::truth("cache-schema", "A compiled schema is always kept, and a changed resource always seen.").ignored(),
        Attr::truth("json-source", "`true`: what `source` gives is JSON, whatever the body is."),
    ])
    .of(&[&SCHEMA, &RESOURCE, &FEATURE, &ON_FAIL]);

const DOC: Doc = Doc {
    group: Area::Protection,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "In `on-fail` the properties `ERROR_MESSAGE` and `ERROR_DETAIL` say what does not fit. It is not a fault: unless `on-fail` ends the flow, what stands behind `<validate>` runs.",
        "JSON Schema: drafts 4, 6, 7, 2019-09 and 2020-12.",
        "Schemas are read from resources only, never from the network.",
    ],
};

#[derive(Debug)]
struct Validate {
    schemas: Vec<(Dynamic, Place)>,
    source: Option<Expr>,
    /// `json-source="true"`: JSON, whatever the message is.
    json: bool,
    /// Location and key.
    resources: Vec<(String, Dynamic, Place)>,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut schemas = Vec::new();
    let mut resources = Vec::new();
    let mut features = HashSet::new();
    let mut on_fail = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("schema") => {
                SCHEMA.check(reader, child);
                let place = reader.attribute_place(child, "key");
                if child.has_attribute("key") {
                    schemas.extend(reader.dynamic(child, "key").map(|key| (key, place)));
                } else {
                    reader.error(
                        codes::MISSING_ATTRIBUTE,
                        place,
                        "A 'schema' definition must contain a local property 'key'",
                    );
                }
            }
            Some("resource") => resources.extend(parse_resource(reader, child)),
            Some("feature") => parse_feature(reader, child, &mut features),
            Some("property" | "description") => {}
            Some("on-fail") => {
                ON_FAIL.check(reader, child);
                on_fail = Some(ListDef::parse(reader, child, &[]));
            }
            _ => ROOT.refuse(reader, child),
        }
    }
    let place = reader.place(element);
    if schemas.is_empty() && reader.errors() == before {
        reader.error(
            codes::MISSING_ELEMENT,
            place.clone(),
            "No schema specified for the validate mediator",
        );
    }
    let on_fail = on_fail.filter(|list| !list.is_empty());
    if on_fail.is_none() && reader.errors() == before {
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "A non-empty <on-fail> child element is required for the <validate> mediator",
        );
    }
    let source = match element.has_attribute("source") {
        true => Some(reader.expression(element, "source")?),
        false => None,
    };
    let json = element
        .attribute("json-source")
        .is_some_and(|t| t.eq_ignore_ascii_case("true"));
    let on_fail = on_fail?;
    (reader.errors() == before).then(|| {
        Arc::new(ValidateDef {
            validate: Arc::new(Validate {
                schemas,
                source,
                json,
                resources,
            }),
            on_fail,
        }) as Arc<dyn Definition>
    })
}

fn parse_resource(
    reader: &mut Reader,
    element: Element<'_, '_>,
) -> Option<(String, Dynamic, Place)> {
    RESOURCE.check(reader, element);
    for name in ["location", "key"] {
        if !element.has_attribute(name) {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                format!("The '{name}' attribute is required for a resource definition"),
            );
        }
    }
    let location = element.attribute("location")?.to_owned();
    let place = reader.attribute_place(element, "key");
    Some((location, reader.dynamic(element, "key")?, place))
}

fn parse_feature(reader: &mut Reader, element: Element<'_, '_>, seen: &mut HashSet<String>) {
    FEATURE.check(reader, element);
    let place = reader.place(element);
    let (Some(name), Some(value)) = (element.attribute("name"), element.attribute("value")) else {
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "Both of the name and value attributes are required for a feature",
        );
        return;
    };
    if !matches!(value, "true" | "false") {
        reader.error(
            codes::INVALID_VALUE,
            place,
            "The feature must have value true or false",
        );
        return;
    }
    if !seen.insert(name.to_owned()) {
        reader.error(
            codes::CONFLICT,
            place,
            format!("Duplicate feature with name {name}"),
        );
        return;
    }
    reader.warning(
        codes::UNSUPPORTED,
        place,
        format!("the feature {name} of Java's validator has no effect"),
    );
}

#[derive(Debug)]
struct ValidateDef {
    validate: Arc<Validate>,
    on_fail: ListDef,
}

impl Definition for ValidateDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let validate = &self.validate;
        let mut fixed = true;
        for (key, place) in &validate.schemas {
            match key {
                Dynamic::Static(key) => {
                    linker.entry(key, place);
                }
                Dynamic::Expr(_) => fixed = false,
            }
        }
        for (_, key, place) in &validate.resources {
            match key {
                Dynamic::Static(key) => {
                    linker.entry(key, place);
                }
                Dynamic::Expr(_) => fixed = false,
            }
        }
        let schemas = fixed.then(|| {
            let name = |key: &Dynamic| match key {
                Dynamic::Static(key) => key.clone(),
                Dynamic::Expr(expr) => expr.text().to_owned(),
            };
            let keys: Vec<String> = validate.schemas.iter().map(|(key, _)| name(key)).collect();
            let resources = validate
                .resources
                .iter()
                .map(|(l, k, _)| (l.clone(), name(k)));
            let schemas = Schemas::new(&keys, resources.collect(), &linker.entries);
            let found = keys
                .iter()
                .all(|k| entries::find(&linker.entries, k).is_some());
            if let (true, Some((error, unsupported)), Some((_, place))) =
                (found, schemas.problem(), validate.schemas.last())
            {
                let code = if unsupported {
                    codes::UNSUPPORTED
                } else {
                    codes::INVALID_VALUE
                };
                linker
                    .diagnostics
                    .push(Diagnostic::error(code, place.clone(), error));
            }
            Arc::new(schemas)
        });
        Run::Wait(Box::new(Linked {
            validate: validate.clone(),
            schemas,
            kept: Mutex::default(),
            on_fail: linker.within("on-fail", |l| self.on_fail.link(l)),
        }))
    }
}

/// The schemas of static keys, for both modes: which is used is only known with the message.
#[derive(Debug)]
struct Schemas {
    json: Result<JsonSchema, String>,
    xml: Result<xsd::Schemas, String>,
    is_xml: bool,
}

impl Schemas {
    fn new(
        keys: &[String],
        resources: Vec<(String, String)>,
        entries: &Arc<LocalEntries>,
    ) -> Schemas {
        let is_xml = keys
            .iter()
            .any(|k| matches!(entries::find(entries, k), Some(Value::Xml(_))));
        Schemas {
            json: json_schema(keys, entries),
            xml: match is_xml {
                true => xsd::Schemas::new(keys, resources, entries),
                false => Err(no_xml_schema(keys)),
            },
            is_xml,
        }
    }

    /// What is wrong with the kind of schema that the entries hold, and whether it is only not
    /// supported.
    fn problem(&self) -> Option<(String, bool)> {
        match self.is_xml {
            true => self.xml.as_ref().err().map(|e| (e.clone(), xsd::MISSING)),
            false => self.json.as_ref().err().map(|e| (e.clone(), false)),
        }
    }
}

fn no_xml_schema(keys: &[String]) -> String {
    format!(
        "Error creating a new schema objects for schemas : {}: the entry is not XML",
        keys.join(", ")
    )
}

/// All keys have to be there, the last one counts.
fn json_schema(keys: &[String], entries: &LocalEntries) -> Result<JsonSchema, String> {
    let mut last = None;
    for key in keys {
        last = match entries::find(entries, key) {
            None => return Err(format!("Can not find JSON Schema {key}")),
            found => found,
        };
    }
    match last {
        Some(Value::String(text)) => JsonSchema::compile(text),
        _ => Err("Can not find valid JSON Schema content".to_owned()),
    }
}

/// Keys of schemas, and locations with keys of the documents that they refer to.
type Names = (Vec<String>, Vec<(String, String)>);

/// Most sets of schemas that a mediator with keys from messages keeps compiled.
const KEPT: usize = 32;

#[derive(Debug)]
struct Linked {
    validate: Arc<Validate>,
    /// Of static keys.
    schemas: Option<Arc<Schemas>>,
    /// Of keys that come from messages, in the order of use. Entries do not change within a plan.
    kept: Mutex<VecDeque<(Names, Arc<Schemas>)>>,
    on_fail: List,
}

/// What a message that does not fit sets.
struct Failure {
    message: String,
    detail: String,
    /// `ERROR_EXCEPTION`, in XML mode.
    exception: Option<String>,
}

impl MediateAsync for Linked {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                build(cx, message).await?;
            }
            let json =
                self.validate.json || matches!(&message.body, Body::Built(b) if b.json().is_some());
            let failure = match json {
                true => self.validate_json(&cx, message)?,
                false => self.validate_xml(&cx, message)?,
            };
            let Some(failure) = failure else {
                return Ok(Flow::Continue);
            };
            message.properties.set("ERROR_MESSAGE", failure.message);
            message.properties.set("ERROR_DETAIL", failure.detail);
            if let Some(exception) = failure.exception {
                message.properties.set("ERROR_EXCEPTION", exception);
            }
            self.on_fail.run(cx, message).await
        })
    }
}

impl Linked {
    /// The keys of this message.
    fn keys(&self, cx: &Context<'_>, message: &Message) -> Result<Vec<String>, Fault> {
        let scope = cx.scope(message);
        let keys = self.validate.schemas.iter();
        keys.map(|(key, _)| key.value(&scope)).collect()
    }

    /// The schemas for this message.
    fn schemas(&self, cx: &Context<'_>, message: &Message) -> Result<Arc<Schemas>, Fault> {
        if let Some(schemas) = &self.schemas {
            return Ok(schemas.clone());
        }
        let keys = self.keys(cx, message)?;
        let scope = cx.scope(message);
        let resources = self.validate.resources.iter();
        let resources = resources
            .map(|(location, key, _)| Ok((location.clone(), key.value(&scope)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let names = (keys, resources);
        let find = |known: &(Names, _)| known.0 == names;
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = kept.iter().position(find)
                && let Some(found) = kept.remove(at)
            {
                let schemas = found.1.clone();
                kept.push_back(found);
                return Ok(schemas);
            }
        }
        let entries = &cx.library.entries;
        let schemas = Arc::new(Schemas::new(&names.0, names.1.clone(), entries));
        // Names that a message makes up must not push out what others use.
        if names.0.iter().all(|k| entries::find(entries, k).is_some()) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.pop_front();
            }
            kept.push_back((names, schemas.clone()));
        }
        Ok(schemas)
    }

    fn validate_json(&self, cx: &Context<'_>, message: &Message) -> Result<Option<Failure>, Fault> {
        let schemas = self.schemas(cx, message)?;
        let schema = schemas.json.as_ref();
        let schema = schema.map_err(|e| Fault::mediation(e.clone()))?;
        let value = self.json_source(cx, message)?;
        Ok(schema.check(&value).map(|(message, report)| Failure {
            message,
            detail: format!("Error while validating Json message {report}"),
            exception: None,
        }))
    }

    /// What is validated: nothing and what is not there are an empty object.
    fn json_source(&self, cx: &Context<'_>, message: &Message) -> Result<Json, Fault> {
        let empty = || Json::Object(Vec::new());
        let tree = match &message.body {
            Body::Built(built) => built.json_tree().map_err(Fault::malformed)?,
            _ => None,
        };
        Ok(match &self.validate.source {
            None => tree.cloned().unwrap_or_else(empty),
            Some(Expr::Json { path, .. }) => tree
                .and_then(|root| path.evaluate(root).ok())
                .map(jsonpath::Found::into_value)
                .filter(|value| value.as_str() != Some(""))
                .unwrap_or_else(empty),
            Some(expr @ Expr::JsonFrom { .. }) => {
                let text = expr.string(&cx.scope(message))?.unwrap_or_default();
                match text.trim() {
                    "" => empty(),
                    text => crate::json::parse_lenient(text, &cx.services.limits.json)
                        .map_err(|e| Fault::mediation(e.to_string()))?,
                }
            }
            Some(expr @ Expr::Synapse { .. }) => match expr.object(&cx.scope(message))? {
                Some(Value::Json(value)) => (*value).clone(),
                Some(value) => {
                    let text = value.text();
                    match text.trim() {
                        "" => empty(),
                        text => crate::json::parse_lenient(text, &cx.services.limits.json)
                            .map_err(|e| Fault::mediation(e.to_string()))?,
                    }
                }
                None => empty(),
            },
            Some(Expr::XPath(_)) => {
                return Err(Fault::mediation(
                    "Could not find JSONPath or Synapse Expression to extract the message to validate from the payload",
                ));
            }
        })
    }

    fn validate_xml(&self, cx: &Context<'_>, message: &Message) -> Result<Option<Failure>, Fault> {
        let keys = self.keys(cx, message)?;
        if let Some(key) = keys
            .iter()
            .find(|k| entries::find(&cx.library.entries, k).is_none())
        {
            return Err(Fault::mediation(format!(
                "No Schema is available with the key  : {key}"
            )));
        }
        let schemas = self.schemas(cx, message)?;
        let schemas = schemas
            .xml
            .as_ref()
            .map_err(|e| Fault::mediation(e.clone()))?;
        let (document, node) = match self.xml_source(cx, message)? {
            Ok(found) => found,
            Err(failure) => return Ok(Some(failure)),
        };
        let errors = schemas.check(document, node).map_err(Fault::mediation)?;
        if errors.is_empty() {
            return Ok(None);
        }
        let text: String = errors.iter().map(|e| format!("{e}\n")).collect();
        Ok(Some(Failure {
            exception: errors.first().cloned(),
            detail: text.clone(),
            message: text,
        }))
    }

    /// The element that is validated; a source that selects none is a failed validation.
    #[allow(clippy::type_complexity)]
    fn xml_source<'m>(
        &'m self,
        cx: &Context<'m>,
        message: &'m Message,
    ) -> Result<Result<(&'m Document, NodeId), Failure>, Fault> {
        let envelope = match &message.body {
            Body::Built(built) => built.envelope()?,
            _ => return Err(Fault::mediation("the body was not built")),
        };
        let no_source = |text: &str, cause: String| Failure {
            message: format!("Error occurred while accessing source element: {text}"),
            detail: cause.clone(),
            exception: Some(cause),
        };
        match &self.validate.source {
            None => match envelope.payload() {
                Some(payload) => Ok(Ok((&envelope.document, payload))),
                None => Err(Fault::mediation(
                    "The SOAP body has no element that could be validated",
                )),
            },
            Some(Expr::XPath(path)) => {
                let nodes = match select(path, envelope, cx, message) {
                    Ok(nodes) => nodes,
                    Err(cause) => return Ok(Err(no_source(path.text(), cause))),
                };
                match nodes {
                    Some(node) => Ok(Ok((&envelope.document, node))),
                    None => Ok(Err(no_source(
                        path.text(),
                        format!(
                            "The evaluation of the XPath expression {} must result in an OMNode",
                            path.text()
                        ),
                    ))),
                }
            }
            Some(expr) => Ok(Err(no_source(
                expr.text(),
                "the source of an XML message has to be an XPath".to_owned(),
            ))),
        }
    }
}

/// The first element that a path selects in the message.
fn select(
    path: &crate::expr::xpath::XPath,
    envelope: &crate::message::Envelope,
    cx: &Context<'_>,
    message: &Message,
) -> Result<Option<NodeId>, String> {
    let scope = cx.scope(message);
    let nodes = path.nodes(&scope).map_err(|e| e.to_string())?;
    Ok(nodes
        .iter()
        .find(|n| n.is_element() && std::ptr::eq(n.document, &envelope.document))
        .map(|n| n.node))
}
