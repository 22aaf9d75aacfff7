//! `<property>` of endpoints: set on the message before every attempt (spec 02 §2.1).

use super::SendContext;
use crate::diag::{Place, codes};
use crate::expr::Expr;
use crate::message::{Fault, Message, Value};
use crate::syntax::{Element, Reader};
use http::header::{HeaderName, HeaderValue};

/// Where the property goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Default,
    Axis2,
    Axis2Client,
    Transport,
}

/// One property of an endpoint.
#[derive(Debug)]
pub struct EndpointProperty {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    scope: Scope,
    value: PropertyValue,
}

#[derive(Debug)]
enum PropertyValue {
    Literal(String),
    Expr(Expr),
}

/// Reads the `<property>` children.
pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Vec<EndpointProperty> {
    let mut out = Vec::new();
    for child in element.children().filter(roxmltree::Node::is_element) {
        if child.tag_name().name() != "property" || !reader.is_synapse(child) {
            continue;
        }
        reader.known_attributes(child, &["name", "value", "expression", "scope", "type"]);
        let name = reader.required(child, "name");
        let scope = match child.attribute("scope") {
            None | Some("") => Some(Scope::Default),
            Some(_) => reader.one_of(
                child,
                "scope",
                &[
                    ("default", Scope::Default),
                    ("axis2", Scope::Axis2),
                    ("axis2-client", Scope::Axis2Client),
                    ("transport", Scope::Transport),
                ],
            ),
        };
        let value = match child.attribute("value") {
            Some(text) if !text.is_empty() => Some(PropertyValue::Literal(text.to_owned())),
            _ if child.has_attribute("expression") => reader
                .expression(child, "expression")
                .map(PropertyValue::Expr),
            _ => {
                let place = reader.place(child);
                reader.error(
                    codes::MISSING_ATTRIBUTE,
                    place,
                    "an endpoint property needs \"value\" or \"expression\"",
                );
                None
            }
        };
        if let (Some(name), Some(scope), Some(value)) = (name, scope, value) {
            out.push(EndpointProperty {
                name: name.to_owned(),
                place: reader.place(child),
                scope,
                value,
            });
        }
    }
    out
}

/// Sets all of them.
///
/// # Errors
/// When the body that an expression needs is broken, or an expression throws.
pub async fn apply_all(
    properties: &[EndpointProperty],
    cx: &SendContext<'_>,
    message: &mut Message,
) -> Result<(), Fault> {
    for property in properties {
        if property.needs_body() {
            message.build(&cx.services.limits).await?;
        }
        property.apply(cx, message)?;
    }
    Ok(())
}

impl EndpointProperty {
    /// Whether the body must be built first.
    fn needs_body(&self) -> bool {
        matches!(&self.value, PropertyValue::Expr(e) if e.needs_body())
            || (self.scope == Scope::Axis2 && self.name == "messageType")
    }

    /// Its value when it does not depend on the message.
    pub fn literal(&self) -> Option<&str> {
        match &self.value {
            PropertyValue::Literal(text) => Some(text),
            PropertyValue::Expr(_) => None,
        }
    }

    /// Its expression, when it has one instead of a value.
    pub fn into_expression(self) -> Option<Expr> {
        match self.value {
            PropertyValue::Literal(_) => None,
            PropertyValue::Expr(expr) => Some(expr),
        }
    }

    /// Sets it on the message.
    ///
    /// # Errors
    /// When the expression throws.
    fn apply(&self, cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
        let text = match &self.value {
            PropertyValue::Literal(text) => Some(text.clone()),
            PropertyValue::Expr(expr) => expr.string(&cx.scope(message))?,
        };
        let Some(text) = text else { return Ok(()) };
        match self.scope {
            Scope::Default => message.properties.set(&self.name, text),
            Scope::Axis2 => match (self.name.as_str(), HeaderValue::from_str(&text)) {
                // Unlike the mediator it leaves what the body is called.
                ("messageType", _) => message.message_type = Some(text),
                ("ContentType", Ok(value)) => message.set_content_type(value),
                _ => message.axis2.set(&self.name, text),
            },
            Scope::Axis2Client => message.client_options.set(&self.name, Value::String(text)),
            Scope::Transport => {
                if let (Ok(name), Ok(value)) = (
                    HeaderName::from_bytes(self.name.as_bytes()),
                    HeaderValue::from_bytes(text.as_bytes()),
                ) {
                    message.headers.insert(name, value);
                }
            }
        }
        Ok(())
    }
}
