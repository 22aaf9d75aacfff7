//! `<authentication>` of `http` endpoints (spec 02 §5.3).

use super::oauth::{OAuth, OAuthDef, Renewal};
use crate::diag::{Diagnostic, codes};
use crate::endpoint::{Names, SendContext, variable};
use crate::expr::{Expr, Scope};
use crate::message::fault::codes as fault_codes;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader, text_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;

/// The text of an authentication element: a literal, or `{expression}` evaluated per message.
pub enum Text {
    /// A literal.
    Literal(String),
    /// An expression.
    Expr(Box<Expr>),
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Literals are passwords.
            Text::Literal(_) => f.write_str("Literal"),
            Text::Expr(expr) => write!(f, "Expr({})", expr.text()),
        }
    }
}

impl Text {
    /// Reads the text of an element; `None` when it is blank or wrong.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Text> {
        let text = text_of(element);
        if text.is_empty() {
            return None;
        }
        let place = reader.place(element);
        let text = variable::resolve(reader, &place, &text)?;
        let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) else {
            return Some(Text::Literal(text));
        };
        let namespaces = reader.namespaces(element);
        match Expr::compile(inner, &namespaces) {
            Ok(expr) => Some(Text::Expr(Box::new(expr))),
            Err(e) => {
                reader.expression_error(&place, inner, &e);
                None
            }
        }
    }

    /// The value for a message.
    ///
    /// # Errors
    /// When the evaluation throws.
    pub fn value(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        match self {
            Text::Literal(text) => Ok(text.clone()),
            Text::Expr(expr) => Ok(expr.string(scope)?.unwrap_or_default()),
        }
    }

    /// Whether the body must be built first.
    pub fn needs_body(&self) -> bool {
        matches!(self, Text::Expr(e) if e.needs_body())
    }
}

/// The credentials that an endpoint sends, as they are written.
#[derive(Debug)]
pub enum AuthDef {
    /// User name and password.
    Basic {
        /// `username`.
        username: Text,
        /// `password`.
        password: Text,
    },
    /// A bearer token from a token server.
    OAuth(Arc<OAuthDef>),
}

impl AuthDef {
    /// Reads `<authentication>`. `None` after an error.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<AuthDef> {
        let before = reader.errors();
        let mut basic = None;
        let mut oauth = None;
        for child in reader.children(element) {
            match reader.name(child) {
                Some("basicAuth") => basic = Some(child),
                Some("oauth") => oauth = Some(child),
                _ => invalid(
                    reader,
                    child,
                    &format!("<{}> is no kind of authentication", child.tag_name().name()),
                    "use <basicAuth> or <oauth>; an API key is a header: <property name=\"X-Api-Key\" value=\"…\" scope=\"transport\"/>",
                ),
            }
        }
        let out = match (oauth, basic) {
            (Some(oauth), _) => OAuthDef::parse(reader, oauth).map(|d| AuthDef::OAuth(d.into())),
            (None, Some(basic)) => parse_basic(reader, basic),
            (None, None) => {
                if reader.errors() == before {
                    invalid(
                        reader,
                        element,
                        "it is empty",
                        "put <basicAuth> or <oauth> into it",
                    );
                }
                None
            }
        };
        out.filter(|_| reader.errors() == before)
    }

    /// What runs.
    pub fn link(
        &self,
        def: &Arc<AuthDef>,
        names: &mut dyn Names,
        label: &str,
        path: &str,
        fingerprint: u64,
    ) -> Auth {
        match self {
            AuthDef::Basic { .. } => Auth::Basic(def.clone()),
            AuthDef::OAuth(oauth) => {
                Auth::OAuth(OAuth::link(oauth, names, label, path, fingerprint))
            }
        }
    }
}

/// The reference's sentence for everything that is wrong with authentication, with what it is.
pub fn invalid(reader: &mut Reader, element: Element<'_, '_>, what: &str, help: &str) {
    let name = element
        .ancestors()
        .find(|a| a.is_element() && a.tag_name().name() == "endpoint")
        .and_then(|e| e.attribute("name"))
        .unwrap_or(crate::endpoint::ANONYMOUS)
        .to_owned();
    let place = reader.place(element);
    reader.report(
        Diagnostic::error(
            codes::INVALID_VALUE,
            place,
            format!("Invalid authentication configuration for endpoint {name}: {what}"),
        )
        .help(help.to_owned()),
    );
}

/// The text of a required child element.
pub fn required(reader: &mut Reader, parent: Element<'_, '_>, name: &str) -> Option<Text> {
    let before = reader.errors();
    let text = reader
        .child(parent, name)
        .and_then(|child| Text::parse(reader, child));
    if text.is_none() && reader.errors() == before {
        invalid(
            reader,
            parent,
            &format!("<{name}> is missing or blank"),
            &format!("add <{name}>…</{name}>"),
        );
    }
    text
}

fn parse_basic(reader: &mut Reader, element: Element<'_, '_>) -> Option<AuthDef> {
    let username = required(reader, element, "username");
    let password = required(reader, element, "password");
    for child in reader.children(element) {
        if !matches!(reader.name(child), Some("username" | "password")) {
            reader.unknown_element(child, "basicAuth", &["username", "password"]);
        }
    }
    Some(AuthDef::Basic {
        username: username?,
        password: password?,
    })
}

/// Credentials as they run.
#[derive(Debug)]
pub enum Auth {
    /// Basic; the definition is [`AuthDef::Basic`].
    Basic(Arc<AuthDef>),
    /// OAuth 2.
    OAuth(OAuth),
}

impl Auth {
    /// The `Authorization` header of a request to `url`.
    ///
    /// # Errors
    /// 303003 when it cannot be made; nothing is sent then.
    pub async fn header(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        url: &str,
    ) -> Result<(HeaderValue, Option<Renewal<'_>>), Fault> {
        match self {
            Auth::Basic(def) => match &**def {
                AuthDef::Basic { username, password } => {
                    let header = basic(cx, message, username, password).await?;
                    Ok((header, None))
                }
                AuthDef::OAuth(_) => Err(basic_fault("")),
            },
            Auth::OAuth(oauth) => {
                let (header, renewal) = oauth.header(cx, message, url).await?;
                Ok((header, oauth.replays().then_some(renewal)))
            }
        }
    }
}

async fn basic(
    cx: &SendContext<'_>,
    message: &mut Message,
    username: &Text,
    password: &Text,
) -> Result<HeaderValue, Fault> {
    if username.needs_body() || password.needs_body() {
        message.build(&cx.services.limits).await?;
    }
    let scope = cx.scope(message);
    let value = |text: &Text| text.value(&scope).map_err(|f| basic_fault(&f.message));
    basic_header(&value(username)?, &value(password)?)
        .ok_or_else(|| basic_fault("the credentials do not fit into a header"))
}

fn basic_fault(detail: &str) -> Fault {
    let mut fault = Fault::endpoint(
        fault_codes::AUTHENTICATION,
        "Error while setting basic auth header",
    );
    fault.detail = Some(format!("{}: {detail}", fault.message));
    fault
}

/// `Basic …`, marked so that it is not written to logs.
pub fn basic_header(username: &str, password: &str) -> Option<HeaderValue> {
    let text = format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    );
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
