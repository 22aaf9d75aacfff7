//! What a message shows to an expression (spec 05 §3.3–§3.4; spec 01 §1.3).

use super::synapse::{Parameter, Surroundings};
use super::xpath::{self, PropertyScope, PropertyValue};
use super::{Expr, entries};
use crate::clock::Clock;
use crate::json;
use crate::message::media::Media;
use crate::message::{self, Body, ClientFormat, Envelope, Exchange, Message, Value, header_text};
use crate::settings::Settings;
use crate::xml::{Document, NodeId};
use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;

/// Most deferred template parameters that are evaluated inside each other.
const MAX_DEFERRED: u8 = 8;

/// Local entries by key.
pub type LocalEntries = HashMap<String, Value>;

/// One message with what surrounds it, for one evaluation.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// How many deferred template parameters are being evaluated inside each other; 0 outside.
    pub deferred: u8,
    /// The message.
    pub message: &'a Message,
    /// Its exchange.
    pub exchange: &'a Exchange,
    /// Local entries of the plan it runs on.
    pub entries: &'a LocalEntries,
    /// The clock.
    pub clock: &'a Clock,
    /// Settings, for the scopes `system` and `file`.
    pub settings: &'a Settings,
}

fn show(value: &Value) -> PropertyValue<'_> {
    match value {
        Value::String(s) => PropertyValue::String(Cow::Borrowed(s)),
        Value::Boolean(b) => PropertyValue::Boolean(*b),
        Value::Integer(n) => PropertyValue::Integer(i64::from(*n)),
        Value::Short(n) => PropertyValue::Integer(i64::from(*n)),
        Value::Long(n) => PropertyValue::Integer(*n),
        Value::Float(n) => PropertyValue::Float(*n),
        Value::Double(n) => PropertyValue::Double(*n),
        Value::Xml(x) => PropertyValue::Xml(&x.document, x.node),
        Value::Json(_) => PropertyValue::Json(value.text()),
        Value::Map(_) | Value::List(_) => PropertyValue::String(value.text()),
    }
}

fn text(text: impl Into<String>) -> PropertyValue<'static> {
    PropertyValue::String(Cow::Owned(text.into()))
}

/// A value that outlives the lock it was read under.
fn owned(value: Option<Value>) -> PropertyValue<'static> {
    match value {
        None => PropertyValue::Null,
        Some(Value::Boolean(b)) => PropertyValue::Boolean(b),
        Some(Value::Integer(n)) => PropertyValue::Integer(i64::from(n)),
        Some(Value::Short(n)) => PropertyValue::Integer(i64::from(n)),
        Some(Value::Long(n)) => PropertyValue::Integer(n),
        Some(Value::Float(n)) => PropertyValue::Float(n),
        Some(Value::Double(n)) => PropertyValue::Double(n),
        Some(Value::Json(j)) => {
            let shown = Value::Json(j).text().into_owned();
            PropertyValue::Json(Cow::Owned(shown))
        }
        Some(other) => text(other.text().into_owned()),
    }
}

impl<'a> Scope<'a> {
    /// A parameter of the innermost template.
    fn template_parameter(&self, name: &str) -> Option<&'a message::Parameter> {
        let call = self.message.templates.last()?;
        let found = call.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// The text of a parameter that is an expression, evaluated here and now. One that asks for
    /// another such parameter, perhaps for itself, gets an answer only so many times.
    fn deferred(&self, expr: &(dyn Any + Send + Sync)) -> Option<String> {
        let expr = expr.downcast_ref::<Expr>()?;
        let inner = Scope {
            deferred: self.deferred + 1,
            ..*self
        };
        match inner.deferred <= MAX_DEFERRED {
            true => expr.string(&inner).ok().flatten(),
            false => None,
        }
    }

    /// What the entry and the endpoints say in the default scope (spec 01 §1.4, §6.2).
    fn said(&self, name: &str) -> PropertyValue<'static> {
        let format = || self.message.client_form(self.exchange);
        match name {
            "ENDPOINT_PREFIX" => match &self.message.called {
                Some(called) => text(called.to_string()),
                None => PropertyValue::Null,
            },
            "IsClientDoingREST" => PropertyValue::Boolean(format() == ClientFormat::Rest),
            "IsClientDoingSOAP11" => PropertyValue::Boolean(format() == ClientFormat::Soap11),
            "TRANSPORT_IN_NAME" => text(if self.exchange.secure {
                "https"
            } else {
                "http"
            }),
            _ => PropertyValue::Null,
        }
    }

    fn view(&self) -> Option<&'a Envelope> {
        self.message.envelope()
    }

    /// The axis2 property of a name: what was set, else what the message itself says
    /// (spec 01 §15.3).
    pub fn axis2(&self, name: &str) -> PropertyValue<'a> {
        let message = self.message;
        if let Some(value) = message.axis2.get(name) {
            return show(value);
        }
        let borrowed = |t: Option<&'a str>| {
            t.map_or(PropertyValue::Null, |t| {
                PropertyValue::String(Cow::Borrowed(t))
            })
        };
        match name {
            "HTTP_METHOD" if message.status.is_none() => borrowed(Some(message.method.as_str())),
            "HTTP_SC" | "ORIGINAL_STATUS_CODE" => message.status.map_or(PropertyValue::Null, |s| {
                PropertyValue::Integer(i64::from(s))
            }),
            "HTTP_SC_DESC" | "HTTP_REASON_PHRASE" => match (&message.reason, message.status) {
                (Some(reason), _) => text(String::from_utf8_lossy(reason.as_bytes())),
                (None, Some(status)) => borrowed(
                    http::StatusCode::from_u16(status)
                        .ok()
                        .and_then(|s| s.canonical_reason()),
                ),
                _ => PropertyValue::Null,
            },
            "FAULT_MESSAGE" if message.status.is_some_and(|s| s >= 400) => text("TRUE"),
            "ContentType" => borrowed(message.content_type()),
            "messageType" => match message.effective_message_type() {
                // A request without a body (spec 01 §15.3).
                None if message.status.is_none() => borrowed(Some("application/xml")),
                found => borrowed(found),
            },
            "CHARACTER_SET_ENCODING" => borrowed(Some(message.charset_name())),
            "REST_URL_POSTFIX" => borrowed(message.rest_postfix.as_deref()),
            "TransportInURL" => borrowed(message.uri.path_and_query().map(|p| p.as_str())),
            "REMOTE_ADDR" | "REMOTE_HOST" => text(self.exchange.remote.ip().to_string()),
            "CORRELATION_ID" => borrowed(message.correlation_id()),
            "SERVICE_PREFIX" => text(message.service_prefix(self.exchange)),
            "NO_ENTITY_BODY" if message.has_no_entity() => PropertyValue::Boolean(true),
            "ClientApiNonBlocking" if message.status.is_none() => PropertyValue::Boolean(false),
            "synapse.isresponse" if message.status.is_some() => PropertyValue::Boolean(true),
            "synapse.internal.rest.contentType" if message.rest && message.status.is_none() => {
                borrowed(message.content_type().map(message::media::media_type))
            }
            "TRANSPORT_HEADERS" => message
                .headers_text(false)
                .map_or(PropertyValue::Null, text),
            "EXCESS_TRANSPORT_HEADERS" => {
                message.headers_text(true).map_or(PropertyValue::Null, text)
            }
            "message.builder.invoked" if message.is_built() || message.looked.is_some() => {
                PropertyValue::Boolean(true)
            }
            _ => PropertyValue::Null,
        }
    }
}

impl xpath::Scope for Scope<'_> {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        self.view().map(|e| (&e.document, e.root))
    }

    fn header(&self) -> Option<(&Document, NodeId)> {
        self.view().and_then(|e| Some((&e.document, e.header()?)))
    }

    fn body(&self) -> Option<(&Document, NodeId)> {
        self.view().map(|e| (&e.document, e.body()))
    }

    fn has_document_root(&self) -> bool {
        self.view().is_some_and(|e| !e.synthetic)
    }

    fn property(&self, scope: PropertyScope, name: &str) -> PropertyValue<'_> {
        let message = self.message;
        match scope {
            PropertyScope::Default => match message.properties.get(name) {
                Some(value) => show(value),
                None => self.said(name),
            },
            PropertyScope::Axis2 => self.axis2(name),
            PropertyScope::Transport => {
                message.headers.get(name).map_or(PropertyValue::Null, |v| {
                    PropertyValue::String(Cow::Borrowed(header_text(v)))
                })
            }
            PropertyScope::Operation => owned(self.exchange.operation(|p| p.get(name).cloned())),
            PropertyScope::Env => match std::env::var(name) {
                Ok(value) => text(value),
                Err(_) => text(""),
            },
            PropertyScope::System => PropertyValue::String(Cow::Borrowed(
                self.settings.system_properties.get(name).unwrap_or(""),
            )),
            PropertyScope::File => PropertyValue::String(Cow::Borrowed(
                self.settings.file_properties.get(name).unwrap_or(""),
            )),
            PropertyScope::Registry => {
                let found = match name.split_once('@') {
                    Some((key, property)) => {
                        entries::resource_property(self.entries, key, property).map(Cow::Borrowed)
                    }
                    None => entries::find(self.entries, name).map(Value::text),
                };
                PropertyValue::String(found.unwrap_or_default())
            }
            PropertyScope::Variable => message
                .variables
                .get(name)
                .map_or(PropertyValue::Null, show),
            PropertyScope::Func => match self.template_parameter(name) {
                Some(message::Parameter::Value(value)) => show(value),
                Some(message::Parameter::Deferred(expr)) => {
                    self.deferred(&**expr).map_or(PropertyValue::Null, text)
                }
                Some(message::Parameter::Null) | None => PropertyValue::Null,
            },
            PropertyScope::Axis2Client => PropertyValue::Null,
        }
    }

    fn local_entry(&self, key: &str) -> PropertyValue<'_> {
        self.entries.get(key).map_or(PropertyValue::Null, show)
    }

    fn well_known(&self, name: &str) -> Option<PropertyValue<'_>> {
        let message = self.message;
        let or_empty =
            |value: Option<Cow<'_, str>>| Some(text(value.unwrap_or_default().into_owned()));
        let optional = |value: &Option<String>| Some(text(value.clone().unwrap_or_default()));
        match name {
            "To" => or_empty(message.to_address()),
            "From" => optional(&message.from),
            "ReplyTo" => optional(&message.reply_to),
            "FaultTo" => optional(&message.fault_to),
            "RelatesTo" => optional(&message.relates_to),
            "Action" => or_empty(message.action()),
            "MessageID" => or_empty(message.message_id()),
            "FAULT" => {
                let fault = self.view().is_some_and(|e| e.fault().is_some())
                    || matches!(self.axis2("FAULT_MESSAGE"), PropertyValue::String(t) if t.eq_ignore_ascii_case("true"));
                Some(text(if fault { "TRUE" } else { "" }))
            }
            "MESSAGE_FORMAT" => Some(text(message_format(message))),
            "OperationName" => Some(text("mediate")),
            "OperationNamespace" => Some(text("")),
            _ => None,
        }
    }

    fn to(&self) -> Option<&str> {
        match &self.message.to {
            message::To::RequestUri => self.message.uri.path_and_query().map(|p| p.as_str()),
            message::To::Address(a) | message::To::Header(a) => Some(a),
            message::To::Client => None,
        }
    }

    fn map_entry(&self, property: &str, key: &str) -> PropertyValue<'_> {
        match self.message.properties.get(property) {
            Some(Value::Map(entries)) => entries
                .iter()
                .find(|(name, _)| name == key)
                .map_or(PropertyValue::Null, |(_, value)| {
                    PropertyValue::String(value.text())
                }),
            _ => PropertyValue::Null,
        }
    }

    fn now_millis(&self) -> i64 {
        i64::try_from(self.clock.wall(self.clock.now())).unwrap_or(i64::MAX)
    }
}

impl Surroundings for Scope<'_> {
    fn payload(&self) -> Result<Option<&json::Value>, String> {
        match &self.message.body {
            Body::Built(built) => match built.json_tree() {
                // XML that has no JSON form is an empty payload, as it is for json-eval.
                Err(cause) if built.json().is_none() => {
                    tracing::debug!(target: "SynapseExpression", "no payload: {cause}");
                    Ok(None)
                }
                tree => tree,
            },
            _ => Ok(None),
        }
    }

    fn has_xml_content_type(&self) -> bool {
        match self.axis2("ContentType") {
            PropertyValue::String(text) => text.contains("application/xml"),
            _ => false,
        }
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.message.variables.get(name)
    }

    /// Where the reference looks for the value of a config property (spec 05 §7).
    fn config(&self, name: &str) -> Option<Cow<'_, str>> {
        if let Ok(value) = std::env::var(name) {
            return Some(Cow::Owned(value));
        }
        let settings = self.settings;
        settings
            .system_properties
            .get(name)
            .or_else(|| settings.file_properties.get(name))
            .map(Cow::Borrowed)
    }

    fn parameter(&self, name: &str) -> Parameter<'_> {
        if self.message.templates.is_empty() {
            return Parameter::NoTemplate;
        }
        let text = match self.template_parameter(name) {
            Some(message::Parameter::Value(value)) => Some(value.text()),
            Some(message::Parameter::Deferred(expr)) => self.deferred(&**expr).map(Cow::Owned),
            Some(message::Parameter::Null) | None => None,
        };
        text.map_or(Parameter::Missing, Parameter::Text)
    }

    /// Only the registry is asked, no local entries.
    fn resource(&self, key: &str, property: Option<&str>) -> Option<Cow<'_, str>> {
        match property {
            Some(name) => entries::resource_property(self.entries, key, name).map(Cow::Borrowed),
            None => entries::resource_text(self.entries, key),
        }
    }
}

fn message_format(message: &Message) -> &'static str {
    if message.rest {
        if message.method == http::Method::GET && message.status.is_none() {
            return "get";
        }
        return "pox";
    }
    match message.media() {
        Some(Media::SoapXml) => "soap12",
        _ => match message.version {
            message::SoapVersion::V11 => "soap11",
            message::SoapVersion::V12 => "soap12",
        },
    }
}
