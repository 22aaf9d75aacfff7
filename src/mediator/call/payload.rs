//! `<source>` and `<target>` of `<call>`: what is sent in place of the body, and where the response
//! goes (spec 01 §7.2).

use crate::diag::codes;
use crate::expr::{Dynamic, Expr};
use crate::mediator::describe::{Attr, Content, Tag};
use crate::mediator::enrich::Transfer;
use crate::mediator::{Context, Linker, list};
use crate::message::{Body, Fault, Message, SoapVersion, Value};
use crate::syntax::{Element, Reader};
use http::{HeaderMap, HeaderValue};

/// The `<source>` of a call.
pub(super) const SOURCE: Tag = Tag::child(
    "source",
    "What is sent. A `property` is named by the text, `custom` has XPath, `json-eval(…)` or `${…}` as text, an `inline` source holds an element or text; text of the form `{expr}` is evaluated. Without it the body is sent.",
)
.with(&[
    Attr::words(
        "type",
        &["custom", "body", "property", "inline"],
        "`custom` takes what the expression selects.",
    )
    .or("custom"),
    Attr::text(
        "contentType",
        "What is sent, as a media type: sets `messageType`, `ContentType` and the header.",
    ),
    Attr::text("key", "For `inline`: local entry or registry resource, when the element is empty."),
])
.holds(Content::Xml);

/// The `<target>` of a call.
pub(super) const TARGET: Tag = Tag::child(
    "target",
    "Where the body of the response goes. A `property` or `variable` is named by the text; that of a variable may be `{expr}`. Without it the response becomes the message.",
)
.with(&[Attr::words(
    "type",
    &["body", "property", "variable"],
    "With `body` the response becomes the message.",
)
.or("body")])
.holds(Content::Text);

/// What a call with `<source>` or `<target>` does around it.
#[derive(Debug)]
pub(super) struct Payload {
    /// `None` is the body.
    source: Option<Transfer>,
    content_type: Option<String>,
    target: Option<Target>,
}

#[derive(Debug)]
enum Target {
    Property(String),
    Variable(Dynamic),
}

/// What of a message comes back behind the call.
pub(super) struct Kept {
    body: Body,
    headers: HeaderMap,
    content_type: Option<HeaderValue>,
    message_type: Option<String>,
    no_body: Option<Value>,
    version: SoapVersion,
    rest: bool,
}

/// Reads both elements; `None` when there is neither, or when something is wrong with them.
pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Payload> {
    let (source, target) = (
        reader.child(element, "source"),
        reader.child(element, "target"),
    );
    if source.is_none() && target.is_none() {
        return None;
    }
    let mut payload = Payload {
        source: None,
        content_type: None,
        target: None,
    };
    if let Some(source) = source {
        SOURCE.check(reader, source);
        let media = source.attribute("contentType").map(str::trim);
        payload.content_type = media.filter(|m| !m.is_empty()).map(str::to_owned);
        if let Some(media) = &payload.content_type
            && HeaderValue::from_str(media).is_err()
        {
            let place = reader.attribute_place(source, "contentType");
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("\"{media}\" cannot be the value of a header"),
            );
        }
        payload.source = parse_source(reader, source);
    }
    if let Some(target) = target {
        TARGET.check(reader, target);
        payload.target = parse_target(reader, target);
    }
    Some(payload)
}

fn parse_source(reader: &mut Reader, source: Element<'_, '_>) -> Option<Transfer> {
    #[derive(Clone, Copy)]
    enum Kind {
        Custom,
        Body,
        Property,
        Inline,
    }
    const KINDS: &[(&str, Kind)] = &[
        ("custom", Kind::Custom),
        ("body", Kind::Body),
        ("property", Kind::Property),
        ("inline", Kind::Inline),
    ];
    let kind = match source.attribute("type") {
        Some(_) => reader.one_of(source, "type", KINDS)?,
        None => Kind::Custom,
    };
    match kind {
        Kind::Body => None,
        Kind::Inline => Transfer::inline_to_body(reader, source),
        Kind::Property => {
            let name = text(reader, source, "the name of a property")?;
            Some(Transfer::property_to_body(name))
        }
        Kind::Custom => {
            let code = text(reader, source, "an expression")?;
            let namespaces = reader.namespaces(source);
            match Expr::compile(&code, &namespaces) {
                Ok(expr) => Some(Transfer::expression_to_body(expr)),
                Err(e) => {
                    let place = reader.place(source);
                    let text = format!("the expression does not compile: {}", e.message);
                    match e.unsupported {
                        true => reader.unsupported(place, text, None),
                        false => reader.error(codes::INVALID_EXPRESSION, place, text),
                    }
                    None
                }
            }
        }
    }
}

fn parse_target(reader: &mut Reader, target: Element<'_, '_>) -> Option<Target> {
    const BODY: &str = "body";
    const PROPERTY: &str = "property";
    const VARIABLE: &str = "variable";
    let kinds = [(BODY, BODY), (PROPERTY, PROPERTY), (VARIABLE, VARIABLE)];
    match target.attribute("type") {
        None => None,
        Some(_) => match reader.one_of(target, "type", &kinds)? {
            PROPERTY => text(reader, target, "the name of a property").map(Target::Property),
            VARIABLE => {
                let name = text(reader, target, "the name of a variable")?;
                let namespaces = reader.namespaces(target);
                match Dynamic::compile(&name, &namespaces) {
                    Ok(name) => Some(Target::Variable(name)),
                    Err(e) => {
                        let place = reader.place(target);
                        let text = format!("the expression does not compile: {}", e.message);
                        reader.error(codes::INVALID_EXPRESSION, place, text);
                        None
                    }
                }
            }
            _ => None,
        },
    }
}

/// The text of an element, which must have one.
fn text(reader: &mut Reader, element: Element<'_, '_>, what: &str) -> Option<String> {
    let text: String = element
        .children()
        .filter_map(|c| c.is_text().then(|| c.text()).flatten())
        .collect();
    let text = text.trim();
    if text.is_empty() {
        let place = reader.place(element);
        let name = element.tag_name().name();
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            format!("<{name}> of this type needs {what} as its text"),
        );
        return None;
    }
    Some(text.to_owned())
}

impl Payload {
    /// Checks what is referred to.
    pub(super) fn link(&self, linker: &mut Linker<'_>) {
        if let Some(source) = &self.source {
            source.link(linker);
        }
    }

    /// Puts what shall be sent into the body. What is given back is for [`Payload::after`].
    ///
    /// # Errors
    /// A body that cannot be read, a source that there is not.
    pub(super) async fn before(
        &self,
        cx: Context<'_>,
        message: &mut Message,
    ) -> Result<Option<Kept>, Fault> {
        if self.source.is_some() && !message.is_built() {
            list::build(cx, message).await?;
        }
        let kept = match &self.target {
            None => None,
            Some(_) => {
                message.body.collect(cx.services.limits.max_bytes).await?;
                Some(Kept {
                    body: message.body.copy(),
                    headers: message.headers.clone(),
                    content_type: message.content_type.clone(),
                    message_type: message.message_type.clone(),
                    no_body: message.axis2.get("NO_ENTITY_BODY").cloned(),
                    version: message.version,
                    rest: message.rest,
                })
            }
        };
        if let Some(source) = &self.source {
            source.run(&cx, message)?;
        }
        if let Some(media) = &self.content_type {
            message.set_message_type(media);
        }
        Ok(kept)
    }

    /// Puts the response where it belongs; the message is what it was before the call.
    ///
    /// # Errors
    /// A response that cannot be read; the message is restored then, too.
    pub(super) async fn after(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        kept: &Kept,
    ) -> Result<(), Fault> {
        let outcome = self.take(cx, message).await;
        if outcome.is_err() {
            // A fault has a status of its own.
            message.status = None;
        }
        kept.restore(message);
        outcome
    }

    async fn take(&self, cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let Some(target) = &self.target else {
            return Ok(());
        };
        if !message.is_built() {
            list::build(cx, message).await?;
        }
        match target {
            Target::Property(name) => Transfer::body_to_property(name.clone()).run(&cx, message),
            Target::Variable(name) => {
                let name = name.value(&cx.scope(message))?;
                if name.is_empty() {
                    return Err(Fault::mediation(
                        "The name of the variable for the response of the call is empty",
                    ));
                }
                Transfer::body_to_variable(name).run(&cx, message)
            }
        }
    }
}

impl Kept {
    /// Makes the message what it was. It is no response any more, so that its own headers are not taken for those of
    /// one; the status of the response stays as a property.
    pub(super) fn restore(&self, message: &mut Message) {
        if let Some(status) = message.status.take() {
            message.reason = None;
            message.axis2.set("HTTP_SC", status.to_string());
        }
        message.body = self.body.copy();
        message.headers.clone_from(&self.headers);
        message.content_type.clone_from(&self.content_type);
        message.message_type.clone_from(&self.message_type);
        message.version = self.version;
        message.rest = self.rest;
        match &self.no_body {
            Some(value) => message.axis2.set("NO_ENTITY_BODY", value.clone()),
            None => {
                message.axis2.remove("NO_ENTITY_BODY");
            }
        }
    }
}
