//! What scripts can do with the message: the host side of `mc` (spec 03 §19).

use crate::endpoint::Services;
use crate::expr::xpath::{PropertyScope, PropertyValue, Scope as _};
use crate::expr::{Expr, Namespaces};
use crate::mediator::property::{remove_in, set_in};
use crate::mediator::{Context, Library, Rest as Behind, Route};
use crate::message::envelope::{Envelope, NotSoap};
use crate::message::{
    Body, Built, Direction, Exchange, Fault, Message, PayloadKind, SoapVersion, To, Value,
};
use crate::xml::{self, Document, NodeId, NodeKind};
use crate::{json, message};
use bytes::Bytes;
use rquickjs::function::Rest;
use rquickjs::{Ctx, Exception, IntoJs};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

/// A message with what surrounds it, while a script has it.
pub(super) struct Host {
    /// The message.
    pub message: Message,
    /// The worker's services.
    pub services: Arc<Services>,
    /// The plan's library.
    pub library: Arc<Library>,
    /// The client side.
    pub exchange: Arc<Exchange>,
    /// The entry point.
    pub route: Arc<Route>,
    /// What the script has put into the message.
    pub written: Written,
}

/// Bytes that a run has put into properties, variables and header blocks: the memory of the engine
/// does not bound them.
#[derive(Debug, Default)]
pub(super) struct Written {
    bytes: u64,
    /// Of each name, so that setting one again and again costs it once.
    named: HashMap<String, u64>,
}

impl Written {
    /// What a property costs besides its texts, roughly.
    const OVERHEAD: u64 = 128;

    fn forget(&mut self, name: &str) {
        let size = self.named.remove(name).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(size);
    }

    fn add(&mut self, name: Option<String>, value: usize, most: u64) -> Result<(), String> {
        let value = value as u64 + Self::OVERHEAD;
        let size = value + 2 * name.as_ref().map_or(0, |n| n.len() as u64);
        let old = match name {
            Some(name) => self.named.insert(name, size).unwrap_or_default(),
            None => 0,
        };
        self.bytes = self.bytes.saturating_sub(old).saturating_add(size);
        match self.bytes > most {
            true => Err(format!(
                "the script puts more than {most} bytes into properties, variables and headers \
                 ([myelin] script_memory_bytes)"
            )),
            false => Ok(()),
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Runs `work` while scripts of this thread see `host`.
pub(super) fn with<R>(host: Host, work: impl FnOnce() -> R) -> (Host, R) {
    // Put back also when the work unwinds: the next message must not see this one.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(Option::take);
        }
    }
    let placeholder = Host {
        message: Message::request(
            http::Method::GET,
            http::Uri::default(),
            http::HeaderMap::new(),
            Body::Empty,
        ),
        services: host.services.clone(),
        library: host.library.clone(),
        exchange: host.exchange.clone(),
        route: host.route.clone(),
        written: Written::default(),
    };
    let clear = Clear;
    CURRENT.replace(Some(host));
    let result = work();
    let host = CURRENT.take().unwrap_or(placeholder);
    drop(clear);
    (host, result)
}

/// An argument of a host call.
enum Arg {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// What a host call gives.
enum Answer {
    Null,
    Boolean(bool),
    Integer(i32),
    Number(f64),
    Text(String),
}

impl From<Option<String>> for Answer {
    fn from(text: Option<String>) -> Answer {
        text.map_or(Answer::Null, Answer::Text)
    }
}

/// The function behind `mc`.
pub(super) fn call<'js>(
    ctx: Ctx<'js>,
    name: String,
    arguments: Rest<rquickjs::Value<'js>>,
) -> rquickjs::Result<rquickjs::Value<'js>> {
    let mut list = Vec::with_capacity(arguments.0.len());
    for value in arguments.0 {
        list.push(if let Some(text) = value.as_string() {
            Arg::Text(text.to_string()?)
        } else if let Some(b) = value.as_bool() {
            Arg::Boolean(b)
        } else if let Some(number) = value.as_number() {
            Arg::Number(number)
        } else {
            Arg::Null
        });
    }
    let answer = CURRENT.with_borrow_mut(|current| match current {
        Some(host) => host.call(&name, &list),
        None => Err("there is no message here: mc can be used while the function runs".into()),
    });
    match answer {
        Ok(Answer::Null) => Ok(rquickjs::Value::new_null(ctx)),
        Ok(Answer::Boolean(b)) => b.into_js(&ctx),
        Ok(Answer::Integer(n)) => n.into_js(&ctx),
        Ok(Answer::Number(n)) => n.into_js(&ctx),
        Ok(Answer::Text(text)) => text.into_js(&ctx),
        Err(problem) => Err(Exception::throw_message(&ctx, &problem)),
    }
}

fn text(arguments: &[Arg], index: usize) -> Option<&str> {
    match arguments.get(index) {
        Some(Arg::Text(text)) => Some(text),
        _ => None,
    }
}

fn said(fault: &Fault) -> String {
    fault.detail.as_ref().unwrap_or(&fault.message).clone()
}

impl Host {
    fn call(&mut self, name: &str, arguments: &[Arg]) -> Result<Answer, String> {
        let first = text(arguments, 0);
        Ok(match name {
            "getPayloadXML" => self.payload_xml()?.into(),
            "setPayloadXML" => self.set_payload_xml(first.unwrap_or_default())?,
            "getJson" => self.json().into(),
            "setJson" => self.set_json(first.unwrap_or("null"))?,
            "getPayloadText" => self.payload_text()?.into(),
            "getEnvelope" => Answer::Text(self.envelope()?),
            "setEnvelope" => self.set_envelope(first.unwrap_or_default())?,
            "addHeader" => {
                self.charge(None, text(arguments, 1).map_or(0, str::len))?;
                let must = matches!(arguments.first(), Some(Arg::Boolean(true)));
                self.add_header(must, text(arguments, 1).unwrap_or_default())?
            }
            "getProperty" => self.property(
                first.unwrap_or_default(),
                text(arguments, 1).unwrap_or("default"),
            ),
            "setProperty" => self.set_property(arguments)?,
            "removeProperty" => {
                let scope = text(arguments, 1).unwrap_or("default");
                self.written
                    .forget(&format!("p {scope} {}", first.unwrap_or_default()));
                let (cx, message) = self.parts();
                remove_in(&cx, message, scope, first.unwrap_or_default());
                Answer::Null
            }
            "propertyKeys" => {
                let names = self.message.properties.iter();
                Answer::Text(strings(names.map(|(name, _)| name)))
            }
            "getVariable" => {
                let value = self.message.variables.get(first.unwrap_or_default());
                value.map(variable).into()
            }
            "setVariable" => {
                let name = format!("v {}", first.unwrap_or_default());
                self.charge(Some(name), text(arguments, 2).map_or(0, str::len))?;
                let limits = &self.services.limits.xml;
                if let Some(value) = typed(text(arguments, 1), arguments.get(2), limits) {
                    let name = first.unwrap_or_default();
                    self.message.variables.set(name, value);
                }
                Answer::Null
            }
            "variableKeys" => {
                let names = self.message.variables.iter();
                Answer::Text(strings(names.map(|(name, _)| name)))
            }
            "xpath" => self.xpath(first.unwrap_or_default())?,
            "get" => self.field(first.unwrap_or_default()).into(),
            "set" => {
                let value = text(arguments, 1).map(str::to_owned);
                self.set_field(first.unwrap_or_default(), value);
                Answer::Null
            }
            "isResponse" => Answer::Boolean(self.message.is_response()),
            "setResponse" => {
                self.message.direction = match arguments.first() {
                    Some(Arg::Boolean(true)) => Direction::Response,
                    _ => Direction::Request,
                };
                Answer::Null
            }
            "isRest" => Answer::Boolean(self.message.rest),
            "isGet" => Answer::Boolean(self.message.request_method() == http::Method::GET),
            "isSoap11" => Answer::Boolean(self.message.version == SoapVersion::V11),
            "entry" => {
                let key = first.unwrap_or_default();
                let entry = crate::expr::entries::find(&self.library.entries, key);
                entry.map(|value| value.text().into_owned()).into()
            }
            "tree" => Answer::Text(tree_of(
                first.unwrap_or_default(),
                &self.services.limits.xml,
            )?),
            "log" => {
                self.log(
                    first.unwrap_or_default(),
                    text(arguments, 1).unwrap_or_default(),
                );
                Answer::Null
            }
            other => return Err(format!("mc has no {other}")),
        })
    }

    /// Counts what a script puts into the message.
    fn charge(&mut self, name: Option<String>, value: usize) -> Result<(), String> {
        let most = self.services.settings.script.memory_bytes;
        self.written.add(name, value, most)
    }

    fn parts(&mut self) -> (Context<'_>, &mut Message) {
        (
            Context {
                services: &self.services,
                library: &self.library,
                exchange: &self.exchange,
                route: &self.route,
                rest: Behind::Nothing,
            },
            &mut self.message,
        )
    }

    fn built(&self) -> Option<&Built> {
        match &self.message.body {
            Body::Built(built) => Some(built),
            _ => None,
        }
    }

    fn xml(&self, document: &Document, node: NodeId) -> Result<String, String> {
        let most = self.services.limits.xml.max_bytes;
        let text = document.xml_within(node, most);
        text.map_err(|long| said(&Fault::from(long)))
    }

    fn payload_xml(&self) -> Result<Option<String>, String> {
        let Some(built) = self.built() else {
            return Ok(None);
        };
        let envelope = built.envelope().map_err(|f| said(&f))?;
        let payload = envelope.payload();
        payload.map(|p| self.xml(&envelope.document, p)).transpose()
    }

    fn set_payload_xml(&mut self, source: &str) -> Result<Answer, String> {
        let limits = self.services.limits.xml.clone();
        let envelope = self.message.envelope_mut().map_err(|f| said(&f))?;
        let body = envelope.body();
        // Read first, so that a text that is no XML leaves the message as it was.
        let new = Document::parse(Bytes::copy_from_slice(source.as_bytes()), &limits)
            .map_err(|e| format!("the payload is not XML: {e}"))?;
        let old: Vec<NodeId> = envelope.document.children(body).collect();
        for node in old {
            envelope.document.detach(node);
        }
        if let Some(root) = new.root_element() {
            let copy = envelope.document.import(&new, root);
            envelope.document.append_child(body, copy);
        }
        Ok(Answer::Null)
    }

    fn json(&self) -> Option<String> {
        let built = self.built()?;
        let raw = match (built.json(), built.kind) {
            (Some(raw), _) => raw.to_vec(),
            (None, PayloadKind::Json) => built.convert_to_json(false).ok()?,
            _ => return None,
        };
        String::from_utf8(raw).ok()
    }

    fn set_json(&mut self, source: &str) -> Result<Answer, String> {
        set_json(&mut self.message, source, &self.services.limits).map_err(|f| said(&f))?;
        Ok(Answer::Null)
    }

    fn payload_text(&self) -> Result<Option<String>, String> {
        let Some(built) = self.built() else {
            return Ok(None);
        };
        if let Some(json) = self.json() {
            return Ok(Some(json));
        }
        let envelope = built.envelope().map_err(|f| said(&f))?;
        let document = &envelope.document;
        let text = envelope.payload().map(|payload| {
            if document.is_element(payload, message::body::PAYLOAD_NAMESPACE, "text") {
                Ok(document.string_value(payload).into_owned())
            } else {
                self.xml(document, payload)
            }
        });
        text.transpose()
    }

    fn envelope(&self) -> Result<String, String> {
        let built = self.built().ok_or("there is no body")?;
        let envelope = built.envelope().map_err(|f| said(&f))?;
        self.xml(&envelope.document, envelope.root)
    }

    fn set_envelope(&mut self, source: &str) -> Result<Answer, String> {
        let input = Bytes::copy_from_slice(source.as_bytes());
        let mut envelope =
            Envelope::parse(input, &self.services.limits.xml).map_err(|e| match e {
                NotSoap::Malformed(e) => format!("the envelope is not XML: {e}"),
                NotSoap::OtherRoot(name) => format!("<{name}> is not a SOAP envelope"),
                NotSoap::NoBody => "the envelope has no Body".to_owned(),
            })?;
        envelope.synthetic = self.message.envelope().is_some_and(|e| e.synthetic);
        match &mut self.message.body {
            Body::Built(built) => built.set_envelope(envelope),
            other => *other = message::outgoing::built(envelope),
        }
        Ok(Answer::Null)
    }

    fn add_header(&mut self, must: bool, content: &str) -> Result<Answer, String> {
        let new = Document::parse(
            Bytes::copy_from_slice(content.as_bytes()),
            &self.services.limits.xml,
        )
        .map_err(|e| format!("the header is not XML: {e}"))?;
        let root = new.root_element().ok_or("the header is empty")?;
        let envelope = self.message.envelope_mut().map_err(|f| said(&f))?;
        let header = envelope.header_mut();
        let document = &mut envelope.document;
        let block = document.import(&new, root);
        document.append_child(header, block);
        if must {
            let namespace = envelope.version.namespace();
            document.set_attribute(block, "soapenv", namespace, "mustUnderstand", "1");
        }
        Ok(Answer::Null)
    }

    fn property(&mut self, name: &str, scope: &str) -> Answer {
        if scope == "default" {
            return match self.message.properties.get(name) {
                None => Answer::Null,
                Some(Value::Boolean(b)) => Answer::Boolean(*b),
                Some(Value::Integer(n)) => Answer::Integer(*n),
                Some(Value::Short(n)) => Answer::Integer(i32::from(*n)),
                Some(Value::Float(n)) => Answer::Number(f64::from(*n)),
                Some(Value::Double(n)) => Answer::Number(*n),
                Some(Value::Long(n)) => match i32::try_from(*n) {
                    Ok(n) => Answer::Integer(n),
                    // Above 2^53 a JavaScript number would be another one.
                    #[allow(clippy::cast_precision_loss)]
                    Err(_) if n.unsigned_abs() <= 1 << 53 => Answer::Number(*n as f64),
                    Err(_) => Answer::Text(n.to_string()),
                },
                Some(other) => Answer::Text(other.text().into_owned()),
            };
        }
        let (cx, message) = self.parts();
        let view = cx.scope(message);
        let value = match scope {
            "axis2" => view.axis2(name),
            "transport" => view.property(PropertyScope::Transport, name),
            "operation" => view.property(PropertyScope::Operation, name),
            "axis2-client" => message
                .client_options
                .get(name)
                .map_or(PropertyValue::Null, |v| PropertyValue::String(v.text())),
            _ => PropertyValue::Null,
        };
        match value {
            PropertyValue::Null => Answer::Null,
            PropertyValue::Boolean(b) => Answer::Boolean(b),
            PropertyValue::Integer(n) => {
                i32::try_from(n).map_or_else(|_| Answer::Text(n.to_string()), Answer::Integer)
            }
            PropertyValue::Float(n) => Answer::Number(f64::from(n)),
            PropertyValue::Double(n) => Answer::Number(n),
            PropertyValue::String(text) | PropertyValue::Json(text) => {
                Answer::Text(text.into_owned())
            }
            PropertyValue::Xml(document, node) => Answer::Text(document.to_xml(node)),
        }
    }

    /// Name, scope, kind and value.
    fn set_property(&mut self, arguments: &[Arg]) -> Result<Answer, String> {
        let name = text(arguments, 0).unwrap_or_default();
        let scope = text(arguments, 1).unwrap_or("default");
        let size = text(arguments, 3).map_or(0, str::len);
        self.charge(Some(format!("p {scope} {name}")), size)?;
        let limits = self.services.limits.xml.clone();
        let Some(value) = typed(text(arguments, 2), arguments.get(3), &limits) else {
            return Ok(Answer::Null);
        };
        let (cx, message) = self.parts();
        let known = set_in(&cx, message, scope, name, value).map_err(|f| said(&f))?;
        if !known {
            tracing::warn!(target: "ScriptMediator", "{}\"{scope}\" is not a scope of properties", cx.route.label);
        }
        Ok(Answer::Null)
    }

    fn xpath(&mut self, source: &str) -> Result<Answer, String> {
        let expr = Expr::compile(source, &Namespaces::default())
            .map_err(|e| format!("{source}: {}", e.message))?;
        let (cx, message) = self.parts();
        let found = expr.string(&cx.scope(message)).map_err(|f| said(&f))?;
        Ok(found.into())
    }

    fn field(&self, name: &str) -> Option<String> {
        let message = &self.message;
        match name {
            "To" => message.to_address().map(|a| a.into_owned()),
            "From" => message.from.clone(),
            "ReplyTo" => message.reply_to.clone(),
            "FaultTo" => message.fault_to.clone(),
            "Action" => message.action().map(|a| a.into_owned()),
            "MessageID" => message.message_id().map(|a| a.into_owned()),
            _ => None,
        }
    }

    fn set_field(&mut self, name: &str, value: Option<String>) {
        let message = &mut self.message;
        match name {
            "To" => message.to = value.map_or(To::Client, To::Address),
            "From" => message.from = value,
            "ReplyTo" => message.reply_to = value,
            "FaultTo" => message.fault_to = value,
            "Action" => message.set_action(value),
            "MessageID" => message.message_id = value,
            _ => {}
        }
    }

    fn log(&self, level: &str, line: &str) {
        let line = format!("{}{line}", self.route.label);
        match level {
            "error" => tracing::error!(target: "SERVICE_LOGGER", "{line}"),
            "warn" => tracing::warn!(target: "SERVICE_LOGGER", "{line}"),
            "debug" => tracing::debug!(target: "SERVICE_LOGGER", "{line}"),
            "trace" => tracing::trace!(target: "SERVICE_LOGGER", "{line}"),
            _ => tracing::info!(target: "SERVICE_LOGGER", "{line}"),
        }
        if let Some(lines) = &self.services.lines {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    }
}

/// Puts a JSON text into the body.
///
/// # Errors
/// When it is no JSON.
pub(super) fn set_json(
    message: &mut Message,
    source: &str,
    limits: &message::BodyLimits,
) -> Result<(), Fault> {
    if let Err(e) = json::parse(source.as_bytes(), &limits.json) {
        return Err(Fault::mediation(format!("the payload is not JSON: {e}")));
    }
    message.set_payload(source.to_owned(), "application/json", limits)
}

/// A value of JavaScript as a property keeps it. Text that reads as an element is one, as with the
/// reference's default engine.
fn typed(kind: Option<&str>, value: Option<&Arg>, limits: &xml::Limits) -> Option<Value> {
    match (kind?, value?) {
        (_, Arg::Boolean(b)) => Some(Value::Boolean(*b)),
        (_, Arg::Number(n)) => {
            #[allow(clippy::cast_possible_truncation)]
            let whole = *n as i64;
            #[allow(clippy::cast_precision_loss)]
            let exact = whole as f64 == *n;
            Some(match i32::try_from(whole) {
                Ok(whole) if exact => Value::Integer(whole),
                Err(_) if exact => Value::Long(whole),
                _ => Value::Double(*n),
            })
        }
        ("json", Arg::Text(text)) => json::parse(text.as_bytes(), &json::Limits::default())
            .ok()
            .map(|value| Value::Json(Arc::new(value))),
        (_, Arg::Text(text)) => Some(if text.trim_start().starts_with('<') {
            Value::xml(text, limits).unwrap_or_else(|| Value::from(text.as_str()))
        } else {
            Value::from(text.as_str())
        }),
        (_, Arg::Null) => None,
    }
}

/// A variable as a JSON array: what it is, and its value.
fn variable(value: &Value) -> String {
    let (kind, value) = match value {
        Value::Boolean(b) => ("", json::Value::Bool(*b)),
        Value::Integer(n) => ("", json::Value::number(n)),
        Value::Short(n) => ("", json::Value::number(n)),
        Value::Long(n) => ("", json::Value::number(n)),
        Value::Double(n) if n.is_finite() => ("", json::Value::number(n)),
        Value::Json(_) => ("json", json::Value::String(value.text().into_owned())),
        other => ("", json::Value::String(other.text().into_owned())),
    };
    json::to_text(&json::Value::Array(vec![
        json::Value::String(kind.to_owned()),
        value,
    ]))
}

/// A JSON array of strings.
fn strings<'a>(list: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<json::Value> = list.map(|s| json::Value::String(s.to_owned())).collect();
    json::to_text(&json::Value::Array(list))
}

/// A document as nested arrays: name, namespace, attributes and children; text is a string.
fn tree_of(source: &str, limits: &xml::Limits) -> Result<String, String> {
    let input = Bytes::copy_from_slice(source.as_bytes());
    let document = Document::parse(input, limits).map_err(|e| format!("this is not XML: {e}"))?;
    let root = document.root_element().ok_or("there is no element")?;
    let string = |text: &str| json::Value::String(text.to_owned());
    let mut open: Vec<(NodeId, Vec<json::Value>)> = Vec::new();
    let mut at = root;
    loop {
        let mut done = match document.kind(at) {
            NodeKind::Element => {
                open.push((at, Vec::new()));
                if let Some(child) = document.first_child(at) {
                    at = child;
                    continue;
                }
                None
            }
            NodeKind::Text => Some(string(document.text(at))),
            _ => None,
        };
        loop {
            if let Some(value) = done.take()
                && let Some((_, children)) = open.last_mut()
            {
                children.push(value);
            }
            // An element that was just opened and has no children ends here as well.
            if open.last().is_some_and(|(node, _)| *node == at) {
                let Some((node, children)) = open.pop() else {
                    return Err("the document cannot be shown".into());
                };
                let value = element(&document, node, children);
                if node == root {
                    return Ok(json::to_text(&value));
                }
                done = Some(value);
                if let Some((_, siblings)) = open.last_mut()
                    && let Some(value) = done.take()
                {
                    siblings.push(value);
                }
            }
            if let Some(next) = document.next_sibling(at) {
                at = next;
                break;
            }
            match document.parent(at) {
                Some(parent) => at = parent,
                None => return Err("the document cannot be shown".into()),
            }
        }
    }
}

fn element(document: &Document, node: NodeId, children: Vec<json::Value>) -> json::Value {
    let qualified = |prefix: &str, local: &str| {
        if prefix.is_empty() {
            local.to_owned()
        } else {
            format!("{prefix}:{local}")
        }
    };
    let pair = |name: String, value: &str| {
        json::Value::Array(vec![
            json::Value::String(name),
            json::Value::String(value.to_owned()),
        ])
    };
    let mut attributes: Vec<json::Value> = document
        .namespace_declarations(node)
        .map(|(prefix, uri)| {
            let name = if prefix.is_empty() {
                "xmlns".to_owned()
            } else {
                format!("xmlns:{prefix}")
            };
            pair(name, uri)
        })
        .collect();
    attributes.extend(
        document
            .attributes(node)
            .map(|a| pair(qualified(a.prefix, a.local), a.value)),
    );
    json::Value::Array(vec![
        json::Value::String(qualified(document.prefix(node), document.local_name(node))),
        json::Value::String(document.namespace(node).to_owned()),
        json::Value::Array(attributes),
        json::Value::Array(children),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_arrays() {
        let shown = |text: &str| tree_of(text, &xml::Limits::default()).unwrap();
        assert_eq!(
            shown("<p:a xmlns:p='u' x='1'>t<b/><!-- c --><c>&lt;<d/></c></p:a>"),
            r#"["p:a","u",[["xmlns:p","u"],["x","1"]],["t",["b","",[],[]],["c","",[],["<",["d","",[],[]]]]]]"#
        );
        assert_eq!(shown("<a/>"), r#"["a","",[],[]]"#);
    }
}
