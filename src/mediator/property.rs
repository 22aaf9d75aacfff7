//! `<property>`: sets or removes a property of any scope (spec 01 §1.2, §1.7).

use super::header::set_transport;
use super::pattern::Pattern;
use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::{Diagnostic, codes};
use crate::expr::{Dynamic, Expr, Need, Wanted};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::value::XmlValue;
use crate::message::{Fault, Message, Value, ValueType};
use crate::syntax::{Element, Reader};
use crate::xml::Document;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "property",
    summary: "Sets or removes a property of the message.",
    doc: DOC,
    parse,
};

/// `<property>`, also in a `<propertyGroup>`.
pub(super) const ROOT: Tag = Tag::mediator("property", "Sets or removes a property.")
    .with(&[
        Attr::dynamic("name", "Its name.").required(),
        Attr::text(
            "value",
            "The value. One of `value`, `expression` and an XML child is needed to set.",
        ),
        Attr::expression("expression", "Gives the value."),
        Attr::words(
            "type",
            &[
                "STRING", "INTEGER", "BOOLEAN", "DOUBLE", "FLOAT", "LONG", "SHORT", "OM", "JSON",
            ],
            "Type of the value.",
        )
        .or("STRING"),
        Attr::words(
            "scope",
            &[
                "default",
                "axis2",
                "transport",
                "axis2-client",
                "operation",
                "analytics",
                "trace",
            ],
            "Where it is kept. `transport`: HTTP headers; `axis2`: what steers the transport.",
        )
        .or("default"),
        Attr::words("action", &["set", "remove"], "What to do.").or("set"),
        Attr::regex("pattern", "Has to match the whole value, of which only a group is kept; otherwise the value is empty."),
        Attr::number("group", "The group of `pattern` that is kept; 0 is all of it.").or("0"),
    ])
    .holds(Content::Xml);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &[
        "Names that steer the server are in [well-known properties](../properties.md).",
        "Read a property as `$ctx:name`, `$axis2:name`, `$trp:name`, `${properties.synapse.name}` or `get-property('name')`.",
        "A property of the scopes `system` and `registry` is refused at deployment.",
    ],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Default,
    Axis2,
    Axis2Client,
    Transport,
    Operation,
    Analytics,
    Trace,
}

const SCOPES: &[(&str, Scope)] = &[
    ("default", Scope::Default),
    ("axis2", Scope::Axis2),
    ("axis2-client", Scope::Axis2Client),
    ("transport", Scope::Transport),
    ("operation", Scope::Operation),
    ("analytics", Scope::Analytics),
    ("trace", Scope::Trace),
];

#[derive(Debug)]
enum Source {
    Value(Value),
    Expr(Expr),
}

#[derive(Debug)]
struct Property {
    name: Dynamic,
    scope: Scope,
    remove: bool,
    kind: ValueType,
    source: Option<Source>,
    pattern: Option<(Pattern, usize)>,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    reader.required(element, "name");
    let name = reader.dynamic(element, "name");
    let remove = reader
        .one_of(element, "action", &[("set", false), ("remove", true)])
        .unwrap_or(false);
    let scope = parse_scope(reader, element);
    let kind = reader
        .one_of(element, "type", ValueType::NAMES)
        .unwrap_or(ValueType::String);
    let pattern = parse_pattern(reader, element);
    let source = if remove {
        None
    } else {
        parse_source(reader, element, kind)
    };
    let name = name?;
    if !remove {
        refuse_unsupported(reader, element, &name, scope);
        warn_about_inert(reader, element, &name, scope);
    }
    (reader.errors() == before).then(|| {
        Arc::new(PropertyDef(Arc::new(Property {
            name,
            scope,
            remove,
            kind,
            source,
            pattern,
        }))) as Arc<dyn Definition>
    })
}

/// Well-known properties that cannot do here what they do in the reference.
fn refuse_unsupported(reader: &mut Reader, element: Element<'_, '_>, name: &Dynamic, scope: Scope) {
    if let (Dynamic::Static(name), Scope::Axis2) = (name, scope)
        && name == "IGNORE_SC_ACCEPTED"
    {
        let place = reader.attribute_place(element, "name");
        reader.unsupported(
            place,
            "IGNORE_SC_ACCEPTED is not supported: whether an answer comes as a request of its own is a setting of the endpoint",
            Some("use <enableAddressing separateListener=\"true\"/> in the endpoint; without it a 202 is the response"),
        );
    }
}

/// Well-known names that change nothing here, and why.
const INERT: &[(Scope, &str, &str)] = &[
    (
        Scope::Default,
        "IsClientDoingREST",
        "how the client speaks is known from its request; set messageType to answer in another form",
    ),
    (
        Scope::Default,
        "IsClientDoingSOAP11",
        "how the client speaks is known from its request; set messageType to answer in another form",
    ),
    (Scope::Default, "RETRY_ON_SOAPFAULT", NOBODY_READS),
    (Scope::Default, "FORCE_COLLECT_PAYLOAD", NOBODY_READS),
    (Scope::Axis2, "FORCE_COLLECT_PAYLOAD", NOBODY_READS),
    (
        Scope::Axis2,
        "FORCE_POST_PUT_NOBODY",
        "nobody reads it in the reference either; use NO_ENTITY_BODY",
    ),
    (
        Scope::Axis2,
        "FORCE_CONNECTION_CLOSE",
        "nobody reads it in the reference either; use NO_KEEPALIVE",
    ),
    (Scope::Axis2, "DISCARD_ON_COMPLETE", NOBODY_READS),
    (
        Scope::Axis2,
        "HTTP_SOCKET_TIMEOUT",
        "nobody reads it in the reference either; use <timeout> of the endpoint",
    ),
    (Scope::Default, "SET_ROLLBACK_ONLY", QUEUES),
    (Scope::Axis2, "SET_ROLLBACK_ONLY", QUEUES),
    (Scope::Default, "SET_REQUEUE_ON_ROLLBACK", QUEUES),
    (Scope::Axis2, "SET_REQUEUE_ON_ROLLBACK", QUEUES),
    (Scope::Default, "ACKNOWLEDGE", QUEUES),
    (Scope::Axis2, "ACKNOWLEDGE", QUEUES),
];

const NOBODY_READS: &str = "nobody reads it in the reference either";
const QUEUES: &str = "it belongs to messages of JMS and RabbitMQ";

/// Properties that deploy and do nothing: who sets one expects something.
fn warn_about_inert(reader: &mut Reader, element: Element<'_, '_>, name: &Dynamic, scope: Scope) {
    let Dynamic::Static(name) = name else {
        return;
    };
    let inert = INERT
        .iter()
        .find(|(known, inert, _)| *known == scope && inert == name);
    let why = match (inert, scope) {
        (Some((.., why)), _) => why,
        (None, Scope::Axis2Client) => "options of the reference's own client are not read",
        (None, _) => return,
    };
    let place = reader.attribute_place(element, "name");
    reader.report(
        Diagnostic::warning(
            codes::UNSUPPORTED,
            place,
            format!("the property {name} has no effect"),
        )
        .help(why),
    );
}

fn parse_scope(reader: &mut Reader, element: Element<'_, '_>) -> Scope {
    match element.attribute("scope") {
        Some(word @ ("registry" | "system")) => {
            let place = reader.attribute_place(element, "scope");
            reader.unsupported(
                place,
                format!("writing properties of scope \"{word}\" is not supported"),
                Some("they would be shared by all messages; use the default scope"),
            );
            Scope::Default
        }
        Some("") | None => Scope::Default,
        Some(_) => reader
            .one_of(element, "scope", SCOPES)
            .unwrap_or(Scope::Default),
    }
}

fn parse_pattern(reader: &mut Reader, element: Element<'_, '_>) -> Option<(Pattern, usize)> {
    let group = element.attribute("group").map(|text| {
        let number = text.trim().parse::<usize>();
        if number.is_err() {
            let place = reader.attribute_place(element, "group");
            reader.error(
                codes::INVALID_VALUE,
                place,
                "group can have a positive value only",
            );
        }
        number.unwrap_or(0)
    });
    if !element.has_attribute("pattern") {
        if group.is_some() {
            let place = reader.attribute_place(element, "group");
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "\"group\" is only allowed when a \"pattern\" is specified",
            );
        }
        return None;
    }
    let pattern = super::filter::whole_match(reader, element, "pattern")?;
    Some((pattern, group.unwrap_or(0)))
}

fn parse_source(reader: &mut Reader, element: Element<'_, '_>, kind: ValueType) -> Option<Source> {
    let child = element.first_element_child();
    let given = usize::from(element.has_attribute("value"))
        + usize::from(element.has_attribute("expression"))
        + usize::from(child.is_some());
    if given != 1 {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "<property> needs exactly one of \"value\", \"expression\" and an element inside",
        );
        return None;
    }
    if element.has_attribute("expression") {
        return reader.expression(element, "expression").map(Source::Expr);
    }
    if let Some(child) = child {
        let document = import(reader, child)?;
        let node = document.root_element()?;
        return Some(Source::Value(Value::Xml(Arc::new(XmlValue {
            document,
            node,
        }))));
    }
    let text = element.attribute("value")?;
    match Value::convert(kind, text, &crate::xml::Limits::default()) {
        Some(value) => Some(Source::Value(value)),
        None => {
            let place = reader.attribute_place(element, "value");
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is not a value of type {}", type_name(kind)),
            );
            None
        }
    }
}

fn type_name(kind: ValueType) -> &'static str {
    ValueType::NAMES
        .iter()
        .find(|(_, k)| *k == kind)
        .map_or("STRING", |(n, _)| n)
}

/// Copies an element of the artifact into a message tree, with the namespaces it inherits.
pub fn import(reader: &mut Reader, element: Element<'_, '_>) -> Option<Document> {
    let text = reader
        .source
        .text()
        .get(element.range())
        .unwrap_or_default();
    let text = &*without_empty_default(text);
    let mut inherited = String::new();
    for namespace in element.namespaces() {
        let declared = element
            .parent_element()
            .and_then(|p| p.lookup_namespace_uri(namespace.name()));
        let own = match namespace.name() {
            Some(prefix) => text.contains(&format!("xmlns:{prefix}=")),
            None => false,
        };
        // The Synapse namespace of the artifact is not a part of the message.
        if declared != Some(namespace.uri()) || own || namespace.name() == Some("xml") {
            continue;
        }
        match namespace.name() {
            Some(prefix) => inherited.push_str(&format!(
                " xmlns:{prefix}=\"{}\"",
                attribute(namespace.uri())
            )),
            None => inherited.push_str(&format!(" xmlns=\"{}\"", attribute(namespace.uri()))),
        }
    }
    let wrapped = Bytes::from(format!("<w{inherited}>{text}</w>"));
    let parsed = Document::parse(wrapped, &crate::xml::Limits::default());
    let mut out = Document::new();
    let imported = parsed.ok().and_then(|wrapper| {
        let top = wrapper.root_element()?;
        let child = wrapper.child_elements(top).next()?;
        Some(out.import(&wrapper, child))
    });
    match imported {
        Some(node) => {
            let root = out.document_node();
            out.append_child(root, node);
            Some(out)
        }
        None => {
            let place = reader.place(element);
            reader.error(codes::INVALID_VALUE, place, "the inline XML cannot be used");
            None
        }
    }
}

/// Takes `xmlns=""` off the start tag: it leaves the namespace of the artifact, which the message
/// does not have.
fn without_empty_default(text: &str) -> std::borrow::Cow<'_, str> {
    let tag = text.find('>').and_then(|end| text.get(..end));
    let found = ["xmlns=\"\"", "xmlns=''"]
        .iter()
        .find_map(|word| Some((tag?.find(word)?, word.len())));
    match found {
        Some((at, length)) => {
            let before = text.get(..at).unwrap_or_default().trim_end();
            let after = text.get(at + length..).unwrap_or_default();
            format!("{before}{after}").into()
        }
        None => text.into(),
    }
}

fn attribute(text: &str) -> String {
    let mut out = Vec::new();
    crate::xml::escape_attribute(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(Debug)]
struct PropertyDef(Arc<Property>);

impl Definition for PropertyDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(PropertyDef(self.0.clone())))
    }
}

impl Mediate for PropertyDef {
    fn need(&self) -> Need {
        let property = &*self.0;
        // These decide how the body is written, so the body must be there (spec 01 §1.7).
        let decides = match (&property.name, property.scope, property.remove) {
            (Dynamic::Static(name), Scope::Axis2, false) => {
                matches!(
                    name.as_str(),
                    "messageType" | "DISABLE_CHUNKING" | "FORCE_HTTP_1.0"
                )
            }
            // The bytes must be decoded while the header still says how.
            (Dynamic::Static(name), Scope::Transport, _) => {
                name.eq_ignore_ascii_case("Content-Encoding")
            }
            _ => false,
        };
        if decides {
            return Need::Tree;
        }
        let expr = property.expr();
        let need = expr.map_or(Need::Nothing, |e| e.need(Wanted::Text));
        property.name.need().max(need)
    }

    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        let property = &*self.0;
        let exprs = [property.name.expr(), property.expr()];
        let expr = exprs.into_iter().flatten().nth(number)?;
        Some((expr, Wanted::Text))
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let property = &*self.0;
        let name = property.name.value(&cx.scope(message))?;
        if name.is_empty() {
            tracing::warn!(target: "PropertyMediator", "{}the evaluated name of a property is empty", cx.route.label);
        }
        if property.remove {
            property.unset(cx, message, &name);
        } else {
            let value = property.value(cx, message)?;
            property.set(cx, message, &name, value)?;
        }
        Ok(Flow::Continue)
    }
}

impl Property {
    fn expr(&self) -> Option<&Expr> {
        match &self.source {
            Some(Source::Expr(expr)) => Some(expr),
            _ => None,
        }
    }

    fn value(&self, cx: &Context<'_>, message: &Message) -> Result<Option<Value>, Fault> {
        let value = match &self.source {
            None => return Ok(None),
            Some(Source::Value(value)) => value.clone(),
            Some(Source::Expr(expr)) => {
                let Some(text) = expr.string(&cx.scope(message))? else {
                    return Ok(None);
                };
                Value::convert(self.kind, &text, &cx.services.limits.xml).ok_or_else(|| {
                    Fault::mediation(format!(
                        "Unknown type : {} for the property mediator or the property value cannot be converted into the specified type.",
                        type_name(self.kind)
                    ))
                })?
            }
        };
        match (&self.pattern, value) {
            (Some((pattern, group)), Value::String(text)) => {
                let found = pattern.group(&text, *group)?;
                Ok(Some(Value::String(found.unwrap_or_default())))
            }
            (_, value) => Ok(Some(value)),
        }
    }

    fn set(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
        name: &str,
        value: Option<Value>,
    ) -> Result<(), Fault> {
        match self.scope {
            Scope::Transport => {
                // Null becomes an empty header, unlike in the other scopes.
                let text = value.map(|v| v.text().into_owned()).unwrap_or_default();
                let (Ok(header), Ok(text)) = (
                    HeaderName::from_bytes(name.as_bytes()),
                    HeaderValue::from_bytes(text.as_bytes()),
                ) else {
                    return Err(Fault::mediation(format!(
                        "\"{name}\" with this value is not a transport header that HTTP allows"
                    )));
                };
                set_transport(message, header, text);
            }
            Scope::Default => {
                // Null leaves the old value in place (spec 01 §1.1).
                if let Some(value) = value {
                    message.properties.set(name, value);
                }
            }
            Scope::Axis2 => {
                if let Some(value) = value {
                    set_axis2(message, name, value);
                }
            }
            Scope::Axis2Client => {
                if let Some(value) = value {
                    message.client_options.set(name, value);
                }
            }
            Scope::Operation => {
                if let Some(value) = value {
                    cx.exchange.operation(|p| p.set(name, value));
                }
            }
            Scope::Analytics => {
                if let Some(value) = value {
                    message.analytics.set(name, value);
                }
            }
            // Becomes a tag of a tracing span, nothing of the message.
            Scope::Trace => {}
        }
        Ok(())
    }

    fn unset(&self, cx: &Context<'_>, message: &mut Message, name: &str) {
        match self.scope {
            Scope::Default => {
                message.properties.remove(name);
            }
            Scope::Axis2 => match name {
                "TRANSPORT_HEADERS" => message.headers.clear(),
                "EXCESS_TRANSPORT_HEADERS" => message.drop_excess_headers(),
                "REST_URL_POSTFIX" => {
                    message.axis2.remove(name);
                    message.rest_postfix = None;
                }
                "messageType" => message.message_type = None,
                "ContentType" => message.content_type = None,
                "HTTP_SC" => {
                    message.axis2.remove(name);
                    message.status = None;
                }
                _ => {
                    message.axis2.remove(name);
                }
            },
            Scope::Axis2Client => {
                message.client_options.remove(name);
            }
            Scope::Transport => {
                if let Ok(header) = HeaderName::from_bytes(name.as_bytes()) {
                    message.headers.remove(header);
                }
            }
            Scope::Operation => {
                cx.exchange.operation(|p| p.remove(name));
            }
            Scope::Analytics => {
                message.analytics.remove(name);
            }
            Scope::Trace => {}
        }
    }
}

/// Sets an axis2 property with the effects that some names have at once (spec 01 §1.5).
fn set_axis2(message: &mut Message, name: &str, value: Value) {
    match name {
        "messageType" => {
            message.set_message_type(&value.text());
            return;
        }
        "ContentType" => {
            if let Ok(value) = HeaderValue::from_str(&value.text()) {
                message.set_content_type(value);
            }
        }
        _ => {}
    }
    message.axis2.set(name, value);
}

/// Sets a property in a scope that a script names; `false` when there is no such scope.
///
/// # Errors
/// When a transport header cannot have this value.
pub(super) fn set_in(
    cx: &Context<'_>,
    message: &mut Message,
    scope: &str,
    name: &str,
    value: Value,
) -> Result<bool, Fault> {
    match in_scope(scope) {
        Some(property) => property.set(cx, message, name, Some(value)).map(|()| true),
        None => Ok(false),
    }
}

/// Removes a property from a scope that a script names; `false` when there is no such scope.
pub(super) fn remove_in(cx: &Context<'_>, message: &mut Message, scope: &str, name: &str) -> bool {
    let property = in_scope(scope);
    if let Some(property) = &property {
        property.unset(cx, message, name);
    }
    property.is_some()
}

fn in_scope(scope: &str) -> Option<Property> {
    let (_, scope) = SCOPES.iter().find(|(word, _)| *word == scope)?;
    Some(Property {
        name: Dynamic::Static(String::new()),
        scope: *scope,
        remove: false,
        kind: ValueType::String,
        source: None,
        pattern: None,
    })
}
