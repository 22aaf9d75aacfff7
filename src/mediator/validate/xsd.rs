//! W3C XML Schema (spec 03 §8), checked by the `xsd-schema` crate, which is driven from the message's
//! own tree.
//!
//! A schema set belongs to one thread: each worker compiles it once and keeps it in a bounded cache.
//! A set remembers every name it has seen, also those of messages; one that has seen too many is
//! made anew.

use crate::expr::{LocalEntries, entries};
use crate::message::Value;
use crate::xml::{Document, NodeId, NodeKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use xsd_schema::namespace::context::NamespaceContextSnapshot;
use xsd_schema::validation::{
    SchemaValidator, ValidationError, ValidationFlags, ValidationRuntime, ValidationSink,
    ValidationWarning,
};
use xsd_schema::{
    LocationRequest, ResolverConfig, SchemaError, SchemaLoader, SchemaResolver, SchemaSet,
    SchemaSetBuilder, XsdVersion,
};

/// This build has XML Schema.
pub(super) const MISSING: bool = false;

/// Most schema sets that a thread keeps.
const KEPT: usize = 64;
/// Most names of messages that a set remembers.
const MOST_NAMES: usize = 100_000;
/// Most errors that are collected.
const MOST_ERRORS: usize = 100;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// The schemas of one mediator: their texts, and what they include and import.
#[derive(Debug)]
pub(super) struct Schemas {
    id: u64,
    /// Keys and texts.
    sources: Vec<(String, String)>,
    files: Arc<Files>,
}

/// What `schemaLocation`s lead to: `resource` elements, local entries and the registry.
#[derive(Debug)]
struct Files {
    resources: Vec<(String, String)>,
    entries: Arc<LocalEntries>,
}

impl Files {
    fn text(&self, location: &str) -> Option<String> {
        let key = self.resources.iter().find(|(l, _)| l == location);
        let key = key.map_or(location, |(_, key)| key);
        entries::find(&self.entries, key).map(text_of)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        // As it was written, where it is known.
        Value::Xml(xml) => match xml.document.source() {
            Some(source)
                if !xml.document.is_modified() && xml.document.root_element() == Some(xml.node) =>
            {
                String::from_utf8_lossy(source).into_owned()
            }
            _ => xml.document.to_xml(xml.node),
        },
        other => other.text().into_owned(),
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

struct Compiled {
    set: SchemaSet,
    names: usize,
}

thread_local! {
    static CACHE: RefCell<HashMap<u64, Rc<Compiled>>> = RefCell::default();
}

impl Schemas {
    /// Compiles schemas once, to see that they can be.
    pub(super) fn new(
        keys: &[String],
        resources: Vec<(String, String)>,
        entries: &Arc<LocalEntries>,
    ) -> Result<Schemas, String> {
        let mut sources = Vec::new();
        for key in keys {
            match entries::find(entries, key) {
                Some(value) => sources.push((key.clone(), text_of(value))),
                None => return Err(format!("No Schema is available with the key  : {key}")),
            }
        }
        let schemas = Schemas {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            sources,
            files: Arc::new(Files {
                resources,
                entries: entries.clone(),
            }),
        };
        schemas.compile()?;
        Ok(schemas)
    }

    fn compile(&self) -> Result<Compiled, String> {
        let names: Vec<&str> = self.sources.iter().map(|(key, _)| key.as_str()).collect();
        let failed = |cause: &dyn std::fmt::Display| {
            format!(
                "Error creating a new schema objects for schemas : {}: {}",
                names.join(", "),
                readable(&cause.to_string(), &names)
            )
        };
        let loader = Box::new(Loader(self.files.clone()));
        let resolver = SchemaResolver::with_config_and_loader(ResolverConfig::default(), loader);
        let mut builder = SchemaSetBuilder::with_resolver(resolver, XsdVersion::V1_0);
        builder.set_location_rewriter(|request: &LocationRequest<'_>, _: &SchemaResolver| {
            request.kind.map(|_| hidden(request.location))
        });
        for (index, (_, text)) in self.sources.iter().enumerate() {
            builder = builder
                .add_source(text, &format!("{PREFIX}schema{index}"))
                .map_err(|e| failed(&e))?;
        }
        let compiled = builder.compile().map_err(|e| failed(&e))?;
        if let Some(failure) = compiled
            .directive_failures()
            .iter()
            .find(|f| !f.namespace_supplied())
        {
            return Err(failed(&format!(
                "there is no <resource>, local entry or registry resource for the schemaLocation \"{}\"",
                failure.schema_location().unwrap_or_default()
            )));
        }
        let set = compiled.into_schema_set();
        Ok(Compiled {
            names: set.name_table.len(),
            set,
        })
    }

    fn compiled(&self) -> Result<Rc<Compiled>, String> {
        CACHE.with_borrow_mut(|cache| {
            if let Some(compiled) = cache.get(&self.id)
                && compiled.set.name_table.len() < compiled.names + MOST_NAMES
            {
                return Ok(compiled.clone());
            }
            let compiled = Rc::new(self.compile()?);
            // Sets of older plans are never asked for again.
            if cache.len() >= KEPT {
                cache.clear();
            }
            cache.insert(self.id, compiled.clone());
            Ok(compiled)
        })
    }

    /// What is wrong with an element.
    ///
    /// # Errors
    /// When the schemas cannot be used.
    pub(super) fn check(&self, document: &Document, node: NodeId) -> Result<Vec<String>, String> {
        let compiled = self.compiled()?;
        let flags = ValidationFlags::default() & !ValidationFlags::BUILD_PSVI_TYPED_VALUES;
        let validator = SchemaValidator::new(&compiled.set, flags);
        let mut errors = Vec::new();
        {
            let mut runtime = validator.start_run(Collect(&mut errors));
            drive(document, node, &compiled.set, &mut runtime);
            if let Err(e) = runtime.end_validation() {
                drop(runtime);
                push(&mut errors, &e);
            }
        }
        Ok(errors)
    }
}

struct Collect<'a>(&'a mut Vec<String>);

impl ValidationSink for Collect<'_> {
    fn on_error(&mut self, error: ValidationError) {
        push(self.0, &error);
    }

    fn on_warning(&mut self, _: ValidationWarning) {}
}

fn push(errors: &mut Vec<String>, error: &ValidationError) {
    if errors.len() < MOST_ERRORS {
        errors.push(format!("{}: {}", error.constraint, error.message));
    }
}

/// Feeds an element and what is in it to a validator. Does not recurse.
fn drive<S: ValidationSink>(
    document: &Document,
    root: NodeId,
    set: &SchemaSet,
    runtime: &mut ValidationRuntime<'_, S>,
) {
    let mut at = root;
    let mut entering = true;
    loop {
        if entering {
            match document.kind(at) {
                NodeKind::Element => {
                    start(document, at, set, runtime);
                    if let Some(child) = document.first_child(at) {
                        at = child;
                        continue;
                    }
                    runtime.validate_end_element();
                }
                NodeKind::Text => {
                    let text = document.text(at);
                    if text.bytes().all(|b| b.is_ascii_whitespace()) {
                        runtime.validate_whitespace(text);
                    } else {
                        runtime.validate_text(text);
                    }
                }
                NodeKind::CData => runtime.validate_text(document.text(at)),
                _ => {}
            }
        } else {
            runtime.validate_end_element();
        }
        if at == root {
            return;
        }
        match document.next_sibling(at) {
            Some(next) => {
                at = next;
                entering = true;
            }
            None => match document.parent(at) {
                Some(parent) => {
                    at = parent;
                    entering = false;
                }
                None => return,
            },
        }
    }
}

fn start<S: ValidationSink>(
    document: &Document,
    element: NodeId,
    set: &SchemaSet,
    runtime: &mut ValidationRuntime<'_, S>,
) {
    let context = namespaces(document, element, set);
    runtime.validate_element(
        document.local_name(element),
        document.namespace(element),
        document.attribute(element, XSI, "type"),
        document.attribute(element, XSI, "nil"),
        &context,
    );
    for attribute in document.attributes(element) {
        runtime.validate_attribute(attribute.local, attribute.namespace, attribute.value);
    }
    runtime.validate_end_of_attributes();
}

/// The prefixes in scope, which only QName values need.
fn namespaces(document: &Document, element: NodeId, set: &SchemaSet) -> NamespaceContextSnapshot {
    let mut out = NamespaceContextSnapshot::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut at = Some(element);
    while let Some(node) = at {
        for (prefix, uri) in document.namespace_declarations(node) {
            if seen.contains(&prefix) || prefix == "xml" {
                continue;
            }
            seen.push(prefix);
            if uri.is_empty() {
                continue;
            }
            let uri = set.name_table.add(uri);
            if prefix.is_empty() {
                out.default_ns = Some(uri);
            } else {
                out.bindings.push((set.name_table.add(prefix), uri));
            }
        }
        at = document.parent(node);
    }
    out
}

/// Reads nothing but what the mediator names.
#[derive(Debug)]
struct Loader(Arc<Files>);

const PREFIX: &str = "/myelin/";

/// A location as a path that nothing resolves any further.
fn hidden(location: &str) -> String {
    let hex: String = location.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{PREFIX}{hex}")
}

fn shown(path: &str) -> Option<String> {
    let hex = path.rsplit('/').next()?;
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

/// A text of the crate with locations as they are written.
fn readable(text: &str, keys: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        out.push_str(before);
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let key = name
            .strip_prefix("schema")
            .and_then(|index| keys.get(index.parse::<usize>().ok()?));
        match (key, shown(name)) {
            (Some(key), _) => out.push_str(key),
            (None, Some(location)) => out.push_str(&location),
            (None, None) => out.push_str(name),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

impl SchemaLoader for Loader {
    fn load(&self, location: &str) -> Result<String, SchemaError> {
        shown(location)
            .and_then(|l| self.0.text(&l))
            .ok_or_else(|| SchemaError::resolution(format!("{location} cannot be read")))
    }

    fn can_load(&self, _: &str) -> bool {
        true
    }
}
