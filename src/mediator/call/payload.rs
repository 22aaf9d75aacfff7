//! What `<call>` sends instead of the body, and where its response goes (spec 01 §7.2).

use crate::diag::{Place, codes};
use crate::expr::{Expr, entries, jsonpath::Found};
use crate::json;
use crate::mediator::describe::{Attr, Content, Tag};
use crate::mediator::enrich::{Part, inline_text, parts};
use crate::mediator::{Context, Linker, content, gather, list};
use crate::message::media::Media;
use crate::message::value::XmlValue;
use crate::message::{Body, Fault, Message, PayloadKind, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId};
use std::sync::Arc;

pub(super) const SOURCE: Tag = Tag::child(
    "source",
    "What is sent instead of the body. The text inside says what: an expression for `custom`, a name for `property`, an element or text for `inline`.",
)
.with(&[
    Attr::words(
        "type",
        &["custom", "body", "property", "inline"],
        "`custom` sends what an XPath, `json-eval(…)` or `${…}` selects, `body` the body as it is.",
    )
    .or("custom"),
    Attr::text(
        "contentType",
        "What the request is: it becomes `messageType`, `ContentType` and the header. Without it what is sent is read as the message type says that the message has.",
    ),
    Attr::text(
        "key",
        "For `inline`: local entry or registry resource, when the element is empty.",
    ),
])
.holds(Content::Xml);

pub(super) const TARGET: Tag = Tag::child(
    "target",
    "Where the response goes. The text inside is the name of the property or variable.",
)
.with(&[Attr::words(
    "type",
    &["body", "property", "variable"],
    "With `property` and `variable` the message goes on as it was before the call.",
)
.or("body")])
.holds(Content::Text);

#[derive(Clone, Copy)]
enum Kind {
    Custom,
    Body,
    Property,
    Inline,
}

#[derive(Debug)]
enum From {
    Body,
    Property(String),
    Custom(Expr),
    Xml(Arc<XmlValue>),
    /// As it was written, and with its expressions found.
    Text(String, Vec<Part>),
    Entry(String, Place),
}

/// What is sent instead of the body.
#[derive(Debug)]
pub(super) struct Source {
    from: From,
    content_type: Option<String>,
}

/// Where the response goes, if not into the body.
#[derive(Debug)]
pub(super) enum Target {
    Property(String),
    Variable(String),
}

impl Source {
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Source> {
        SOURCE.check(reader, element);
        const KINDS: &[(&str, Kind)] = &[
            ("custom", Kind::Custom),
            ("body", Kind::Body),
            ("property", Kind::Property),
            ("inline", Kind::Inline),
        ];
        let kind = match element.has_attribute("type") {
            true => reader.one_of(element, "type", KINDS)?,
            false => Kind::Custom,
        };
        let from = match kind {
            Kind::Body => From::Body,
            Kind::Property => From::Property(text(
                reader,
                element,
                "Property value is required for PROPERTY type",
            )?),
            Kind::Custom => {
                let text = text(reader, element, "an expression is required for CUSTOM type")?;
                match Expr::compile(&text, &reader.namespaces(element)) {
                    Ok(expr) => From::Custom(expr),
                    Err(error) => {
                        let place = reader.place(element);
                        reader.expression_error(&place, &text, &error);
                        return None;
                    }
                }
            }
            Kind::Inline => inline(reader, element)?,
        };
        Some(Source {
            from,
            content_type: element.attribute("contentType").map(str::to_owned),
        })
    }

    pub(super) fn link(&self, linker: &mut Linker<'_>) {
        if let From::Entry(key, place) = &self.from {
            linker.entry(key, place);
        }
    }

    /// Makes the body what is to be sent.
    ///
    /// # Errors
    /// When there is nothing to send, or it is nothing that the content type can be.
    pub(super) async fn put(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        if !matches!(self.from, From::Body) {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let declared = self.content_type.as_deref().map(Media::of);
            match declared.or_else(|| message.effective_media()) {
                Some(Media::Json) => self.put_json(cx, message)?,
                Some(Media::Text) => {
                    let text = self.text(cx, message)?;
                    content::set_text(message, text.into_bytes(), &cx.services.limits);
                }
                _ => self.put_xml(cx, message)?,
            }
            message.axis2.remove("NO_ENTITY_BODY");
        }
        if let Some(content_type) = &self.content_type {
            message.set_message_type(content_type);
        }
        Ok(())
    }

    fn put_json(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let limits = &cx.services.limits;
        let parse = |text: &str| json::parse_lenient(text, &limits.json);
        let or_text = |text: String| parse(&text).unwrap_or(json::Value::String(text));
        let typed = |value: Value| match value {
            Value::String(text) => Ok(or_text(text)),
            Value::Xml(xml) => Err(xml),
            other => {
                let text = other.text().into_owned();
                Ok(gather::as_json(other).unwrap_or(json::Value::String(text)))
            }
        };
        let value = match &self.from {
            From::Body => return Ok(()),
            From::Property(name) => {
                let value = message.properties.get(name).cloned();
                typed(value.ok_or_else(|| missing(name))?)
            }
            From::Custom(Expr::Json { path, text }) => {
                let root = content::json_of(message).ok_or_else(|| missing(text))?;
                let found = path.evaluate(root).map(Found::into_value);
                Ok(found.map_err(|e| missing(&format!("{text}: {e}")))?)
            }
            From::Custom(expr) => match expr.object(&cx.scope(message))? {
                Some(value) => typed(value),
                None => match expr.string(&cx.scope(message))? {
                    Some(text) if !text.is_empty() => Ok(or_text(text)),
                    _ => return Err(missing(expr.text())),
                },
            },
            From::Xml(xml) => Err(xml.clone()),
            From::Text(_, parts) => {
                let text = inline_text(parts, &cx.scope(message))?;
                Ok(parse(&text).map_err(|e| missing(&e.to_string()))?)
            }
            From::Entry(key, _) => typed(entry(cx, key)?.clone()),
        };
        match value {
            Ok(value) => {
                content::set_value(message, value, limits);
                Ok(())
            }
            // Written as JSON when it is sent.
            Err(xml) => put_element(cx, message, &xml.document, xml.node),
        }
    }

    fn text(&self, cx: Context<'_>, message: &Message) -> Result<String, Fault> {
        let no_text =
            |what: &str| Fault::mediation(format!("{what} value must be a string for text/plain"));
        match &self.from {
            From::Body => Ok(String::new()),
            From::Property(name) => match message.properties.get(name) {
                None | Some(Value::Xml(_) | Value::List(_) | Value::Map(_)) => {
                    Err(no_text("Property"))
                }
                Some(value) => Ok(value.text().into_owned()),
            },
            From::Custom(expr) => {
                let text = expr.string(&cx.scope(message))?;
                text.ok_or_else(|| no_text("Custom path"))
            }
            From::Xml(_) => Err(no_text("Inline")),
            From::Text(text, _) => Ok(text.clone()),
            From::Entry(key, _) => Ok(entry(cx, key)?.text().into_owned()),
        }
    }

    fn put_xml(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let value = match &self.from {
            From::Body => return Ok(()),
            From::Property(name) => {
                let value = message.properties.get(name).cloned();
                value.ok_or_else(|| missing(name))?
            }
            From::Custom(expr @ Expr::XPath(path)) => {
                let scope = cx.scope(message);
                let nodes = path.nodes(&scope).map_err(|e| {
                    let mut fault = Fault::mediation("Failed to get the source for Enriching");
                    fault.detail = Some(format!("{}: {e}", fault.message));
                    fault
                })?;
                match nodes.first() {
                    Some(first) if first.is_element() => {
                        let most = cx.services.limits.xml.max_bytes;
                        let xml = XmlValue::copy(first.document, first.node, most)?;
                        Value::Xml(Arc::new(xml))
                    }
                    _ => match expr.string(&scope)? {
                        Some(text) => Value::String(text),
                        None => return Err(missing(expr.text())),
                    },
                }
            }
            From::Custom(expr) => match expr.object(&cx.scope(message))? {
                Some(value) => value,
                None => Value::String(expr.string(&cx.scope(message))?.unwrap_or_default()),
            },
            From::Xml(xml) => Value::Xml(xml.clone()),
            From::Text(_, parts) => Value::String(inline_text(parts, &cx.scope(message))?),
            From::Entry(key, _) => entry(cx, key)?.clone(),
        };
        let limits = &cx.services.limits;
        let text = match value {
            Value::Xml(xml) => return put_element(cx, message, &xml.document, xml.node),
            Value::Json(json) => {
                content::set_value(message, Arc::unwrap_or_clone(json), limits);
                return Ok(());
            }
            other => other.text().into_owned(),
        };
        if content::as_xml(&text, &limits.xml).is_some() {
            return content::set_xml(message, text.into_bytes(), limits);
        }
        match json::parse_lenient(&text, &limits.json) {
            Ok(value @ (json::Value::Object(_) | json::Value::Array(_))) => {
                content::set_value(message, value, limits);
                Ok(())
            }
            _ => Err(Fault::mediation(format!(
                "Invalid Object type to be inserted into message body: {}",
                content::shown(text.as_bytes())
            ))),
        }
    }
}

/// The trimmed text of an element.
fn text(reader: &mut Reader, element: Element<'_, '_>, missing: &str) -> Option<String> {
    let text: String = element.children().filter_map(|c| c.text()).collect();
    match text.trim() {
        "" => {
            let place = reader.place(element);
            reader.error(codes::MISSING_ELEMENT, place, missing);
            None
        }
        text => Some(text.to_owned()),
    }
}

fn inline(reader: &mut Reader, element: Element<'_, '_>) -> Option<From> {
    if let Some(child) = element.children().find(roxmltree::Node::is_element) {
        let document = crate::mediator::inline_xml(reader, child)?;
        let node = document.root_element()?;
        return Some(From::Xml(Arc::new(XmlValue { document, node })));
    }
    let text: String = element.children().filter_map(|c| c.text()).collect();
    if !text.trim().is_empty() {
        let found = parts(reader, element, &text);
        return Some(From::Text(text, found));
    }
    match element.attribute("key") {
        Some(key) if !key.trim().is_empty() => {
            let place = reader.attribute_place(element, "key");
            Some(From::Entry(key.trim().to_owned(), place))
        }
        _ => {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                "XML element is required for INLINE type",
            );
            None
        }
    }
}

fn missing(what: &str) -> Fault {
    let mut fault = Fault::mediation("Failed to get the source for Enriching");
    fault.detail = Some(format!("{}: {what}", fault.message));
    fault
}

fn entry<'a>(cx: Context<'a>, key: &str) -> Result<&'a Value, Fault> {
    entries::find(&cx.library.entries, key).ok_or_else(|| missing(key))
}

fn put_element(
    cx: Context<'_>,
    message: &mut Message,
    document: &Document,
    node: NodeId,
) -> Result<(), Fault> {
    let limits = &cx.services.limits;
    let xml = document.xml_within(node, limits.xml.max_bytes)?;
    content::set_xml(message, xml.into_bytes(), limits)
}

impl Target {
    /// `None` when the response becomes the message, as without `<target>`; the outer `None` after an error.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Option<Target>> {
        TARGET.check(reader, element);
        const KINDS: &[(&str, u8)] = &[("body", 0), ("property", 1), ("variable", 2)];
        let kind = match element.has_attribute("type") {
            true => reader.one_of(element, "type", KINDS)?,
            false => 0,
        };
        Some(match kind {
            0 => None,
            1 => Some(Target::Property(text(
                reader,
                element,
                "Property name is required for PROPERTY type",
            )?)),
            _ => Some(Target::Variable(text(
                reader,
                element,
                "Variable name is required for VARIABLE type",
            )?)),
        })
    }

    /// Keeps the response and gives the message back what it had before the call: `kept`.
    ///
    /// # Errors
    /// When the response cannot be read.
    pub(super) async fn keep(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        kept: Message,
    ) -> Result<(), Fault> {
        if !message.is_built() {
            list::build(cx, message).await?;
        }
        let value = self.value(cx, message)?;
        message.put_back(kept);
        match self {
            Target::Property(name) => message.properties.set(name, value),
            Target::Variable(name) => message.variables.set(name, value),
        }
        Ok(())
    }

    /// The body as a value: JSON is text in a property, as `<enrich>` keeps it.
    fn value(&self, cx: Context<'_>, message: &Message) -> Result<Value, Fault> {
        let Body::Built(built) = &message.body else {
            return Ok(Value::from(""));
        };
        if let Some(raw) = built.json() {
            let text = String::from_utf8_lossy(raw).into_owned();
            return Ok(match (self, content::json_of(message)) {
                (Target::Variable(_), Some(json)) => Value::Json(Arc::new(json.clone())),
                _ => Value::String(text),
            });
        }
        let envelope = built.envelope()?;
        let Some(payload) = envelope.payload() else {
            return Ok(Value::from(""));
        };
        let document = &envelope.document;
        if built.kind == PayloadKind::Text {
            return Ok(Value::String(document.string_value(payload).into_owned()));
        }
        let most = cx.services.limits.xml.max_bytes;
        let xml = XmlValue::copy(document, payload, most)?;
        Ok(Value::Xml(Arc::new(xml)))
    }
}
