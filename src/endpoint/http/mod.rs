//! `<http uri-template="…" method="…">` (spec 02 §5).

pub mod auth;
pub mod oauth;
pub mod template;

pub use oauth::Tokens;
pub use template::{TemplateError, UriTemplate};

use super::address::{find, parse_text};
use super::health::Check;
use super::leaf::{Attempt, Destination, Leaf, LeafDef, Renew};
use super::parse::{EndpointDef, parse_leaf};
use super::property::EndpointProperty;
use super::{Boxed, Described, Kind, Names, Parent, SendContext, Sent, own_fault, variable};
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::message::fault::Report;
use crate::message::{Fault, Message, To, Value};
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use auth::{Auth, AuthDef};
use http::Method;
use std::borrow::Cow;
use std::sync::Arc;

/// An http endpoint as it is written.
#[derive(Debug)]
pub struct HttpDef {
    uri: Uri,
    leaf: Arc<LeafDef>,
    auth: Option<Arc<AuthDef>>,
}

/// Where it sends to.
#[derive(Clone, Debug)]
enum Uri {
    /// Nothing in it depends on the message.
    Fixed(Arc<Target>),
    /// Expanded per message.
    Template(Arc<Template>),
}

#[derive(Debug)]
struct Template {
    uri: UriTemplate,
    /// Scheme, host and port when no variable is in them, and how many bytes of the URI they are.
    base: Option<(Target, usize)>,
}

/// Prefixes of the properties that are variables of a template (spec 02 §5.1).
const PREFIXES: [&str; 2] = ["uri.var.", "query.param."];

fn is_variable(name: &str) -> bool {
    PREFIXES.iter().any(|p| name.starts_with(p))
}

impl HttpDef {
    /// Reads the element; `properties` are those of the endpoint around it.
    pub fn parse(
        reader: &mut Reader,
        element: Element<'_, '_>,
        properties: &[EndpointProperty],
    ) -> Option<HttpDef> {
        let mut leaf = parse_leaf(
            reader,
            element,
            "HTTP",
            &["uri-template", "method", "version"],
        );
        let uri = parse_uri(reader, element, properties);
        let mut auth = None;
        if let Some(child) = reader.child(element, "authentication") {
            auth = Some(Arc::new(AuthDef::parse(reader, child)?));
        }
        if let Some(version) = element.attribute("version")
            && version != "1.1"
        {
            let place = reader.attribute_place(element, "version");
            if version == "2.0" {
                reader.unsupported(
                    place,
                    "HTTP version 2.0 is not supported yet",
                    Some("leave it out for 1.1"),
                );
            } else {
                reader.report(
                    Diagnostic::error(
                        codes::INVALID_VALUE,
                        place,
                        format!("\"{version}\" is not an HTTP version"),
                    )
                    .help("leave it out for 1.1"),
                );
            }
        }
        if let (Some(leaf), Some(text)) = (&mut leaf, element.attribute("method")) {
            leaf.method = parse_method(reader, element, text);
        }
        Some(HttpDef {
            uri: uri?,
            leaf: Arc::new(leaf?),
            auth,
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        let target = match &self.uri {
            Uri::Fixed(target) => Some(&**target),
            Uri::Template(template) => template.base.as_ref().map(|(target, _)| target),
        };
        let leaf = Leaf::link(&self.leaf, def, target, names, path);
        let auth = self
            .auth
            .as_ref()
            .map(|auth| auth.link(auth, names, leaf.label(), path, def.head.fingerprint));
        let sources = match &self.uri {
            Uri::Fixed(_) => Vec::new(),
            Uri::Template(template) => template
                .uri
                .names()
                .iter()
                .map(|name| source(name, &def.properties))
                .collect(),
        };
        Box::new(HttpEndpoint {
            uri: self.uri.clone(),
            sources,
            auth,
            leaf,
        })
    }
}

/// An unknown method means "as it came in", as in the reference, but not in silence.
fn parse_method(reader: &mut Reader, element: Element<'_, '_>, text: &str) -> Option<Method> {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];
    let upper = text.trim().to_ascii_uppercase();
    if METHODS.contains(&upper.as_str()) {
        return Method::from_bytes(upper.as_bytes()).ok();
    }
    let place = reader.attribute_place(element, "method");
    let help = match nearest(&upper, METHODS) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("methods are {}", METHODS.join(", ")),
    };
    reader.report(
        Diagnostic::warning(
            codes::INVALID_VALUE,
            place,
            format!("\"{text}\" is not a method; the incoming method is used"),
        )
        .help(help),
    );
    None
}

fn parse_uri(
    reader: &mut Reader,
    element: Element<'_, '_>,
    properties: &[EndpointProperty],
) -> Option<Uri> {
    let written = reader.required(element, "uri-template")?;
    let place = reader.attribute_place(element, "uri-template");
    let text = variable::resolve(reader, &place, written.trim())?;
    if text.is_empty() {
        reader.error(codes::INVALID_VALUE, place, "\"uri-template\" is empty");
        return None;
    }
    let uri = match UriTemplate::compile(&text) {
        Ok(uri) => uri,
        Err(e) => {
            let at = if text == written {
                Place::new(
                    &place.source,
                    place.span.start + e.offset..place.span.start + e.offset + 1,
                )
            } else {
                place
            };
            reader.error(
                codes::INVALID_VALUE,
                at,
                format!("the URI template is not valid: {}", e.message),
            );
            return None;
        }
    };
    if let Some(fixed) = uri.fixed() {
        // `${…}` holds a variable, so the address is fixed as well.
        return match parse_text(reader, place, &fixed)? {
            super::address::Address::Fixed(target) => Some(Uri::Fixed(target)),
            super::address::Address::Template(_) => None,
        };
    }
    for name in uri.names() {
        if !is_variable(name) {
            reader.report(
                Diagnostic::warning(
                    codes::INVALID_VALUE,
                    place.clone(),
                    format!("the variable \"{name}\" never has a value: it expands to nothing"),
                )
                .help(format!(
                    "variables are properties whose names start with uri.var. or query.param.: write {{uri.var.{name}}}"
                )),
            );
        }
    }
    for property in properties {
        if property.literal().is_none() && is_variable(&property.name) {
            reader.report(
                Diagnostic::warning(
                    codes::INVALID_VALUE,
                    place.clone(),
                    format!(
                        "the endpoint property \"{}\" has an expression, which empties the variable, as in the reference",
                        property.name
                    ),
                )
                .help("set it with <property name=\"…\" expression=\"…\"/> before the message is sent"),
            );
        }
    }
    Some(Uri::Template(Arc::new(Template {
        base: base(&text),
        uri,
    })))
}

/// Scheme, host and port, when they end before the first variable.
fn base(template: &str) -> Option<(Target, usize)> {
    let first = template.find('{')?;
    let literal = template.get(..first)?;
    let start = literal.find("://")? + 3;
    let end = start + literal.get(start..)?.find(['/', '?', '#'])?;
    let target = Target::parse(literal.get(..end)?).ok()?;
    Some((target, end))
}

/// Where the value of a variable comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The message's property of that name.
    Message,
    /// The endpoint's property with a value.
    Literal(String),
    /// Nowhere: no such prefix, or an endpoint property with an expression.
    Blank,
}

fn source(name: &str, properties: &[EndpointProperty]) -> Source {
    if !is_variable(name) {
        return Source::Blank;
    }
    match properties.iter().rev().find(|p| p.name == name) {
        None => Source::Message,
        Some(property) => match property.literal() {
            Some(text) => Source::Literal(text.to_owned()),
            None => Source::Blank,
        },
    }
}

/// Sends to the URI of a template.
#[derive(Debug)]
struct HttpEndpoint {
    uri: Uri,
    /// In the order of the template's names.
    sources: Vec<Source>,
    auth: Option<Auth>,
    leaf: Leaf,
}

impl HttpEndpoint {
    /// Where this message goes; the message's `To` says so too.
    fn destination(&self, message: &mut Message) -> Result<Destination<'_>, Fault> {
        let template = match &self.uri {
            Uri::Fixed(target) => return Ok(Destination::Fixed(target)),
            Uri::Template(template) => template,
        };
        let values: Vec<Option<Cow<'_, str>>> = template
            .uri
            .names()
            .iter()
            .zip(&self.sources)
            .map(|(name, source)| match source {
                Source::Message => message.properties.get(name).map(Value::text),
                Source::Literal(text) => Some(Cow::Borrowed(text.as_str())),
                Source::Blank => None,
            })
            .collect();
        let url = template.uri.expand(&values);
        let target = match &template.base {
            Some((base, length)) => base
                .at_path(url.get(*length..).unwrap_or_default())
                .map_err(|e| {
                    Fault::mediation(format!("Malformed URL in the target EPR: {url}: {e}"))
                })?,
            None => find(&url)?,
        };
        message.to = To::Address(url);
        Ok(Destination::Found(target))
    }

    async fn send_authorized(
        &self,
        cx: SendContext<'_>,
        message: &mut Message,
        destination: Destination<'_>,
        parent: Parent,
        auth: &Auth,
    ) -> Result<Sent, Fault> {
        let url = destination.target().to_string();
        let (authorization, renewal) = match auth.header(&cx, message, &url).await {
            Ok(credentials) => credentials,
            Err(fault) => return Err(self.refuse(message, fault)),
        };
        let attempt = Attempt {
            authorization: Some(authorization),
            renew: renewal.as_ref().map(|r| r as &dyn Renew),
            ..Attempt::default()
        };
        self.leaf
            .send_as(cx, message, destination, parent, attempt)
            .await
    }

    /// Credentials that cannot be had: nothing is sent and the endpoint's state stays
    /// (spec 02 §5.3).
    fn refuse(&self, message: &mut Message, fault: Fault) -> Fault {
        if fault.code != crate::message::fault::codes::AUTHENTICATION {
            return fault;
        }
        let mut own = own_fault(message, fault.code, fault.message);
        if own.report != Report::Keep {
            own.detail = fault.detail;
        }
        self.leaf.escalate(own)
    }
}

impl Kind for HttpEndpoint {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            self.leaf.check_ready(&cx, message, parent)?;
            let destination = self.destination(message)?;
            match &self.auth {
                None => self.leaf.send_to(cx, message, destination, parent).await,
                // Boxed: credentials are rare and their state would make every future larger.
                Some(auth) => {
                    Box::pin(self.send_authorized(cx, message, destination, parent, auth)).await
                }
            }
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        self.leaf.is_ready(cx.services.clock.now())
    }

    fn retryable(&self, code: u32) -> bool {
        self.leaf.failure.retryable(code)
    }

    fn reshapes(&self, _cx: &SendContext<'_>) -> bool {
        self.leaf.reshapes()
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        out.extend(self.leaf.check.clone());
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.leaf.switch(on);
        Ok(())
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let address = match &self.uri {
            Uri::Fixed(target) => target.to_string(),
            Uri::Template(template) => template.uri.text().to_owned(),
        };
        out.push(self.leaf.described("http", Some(address), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_taken_apart_once_when_no_variable_is_in_it() {
        let (target, end) = base("http://h:80/p/{uri.var.x}").unwrap();
        assert_eq!((&*target.key, end), ("http://h:80", 11));
        for template in [
            "{uri.var.x}",
            "http://{uri.var.h}/p",
            "http://h:{uri.var.p}/",
            "http://h{/uri.var.x}",
            "legacy{uri.var.x}",
        ] {
            assert!(base(template).is_none(), "{template}");
        }
    }
}
