//! `<address uri="…">` (spec 02 §4.1).

use super::health::Check;
use super::leaf::{Destination, Leaf, LeafDef};
use super::parse::{EndpointDef, parse_leaf};
use super::{Boxed, Described, Kind, Names, Parent, SendContext, Sent, variable};
use crate::diag::{Diagnostic, Place, codes};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use std::sync::Arc;

/// An address endpoint as it is written.
#[derive(Debug)]
pub struct AddressDef {
    address: Address,
    leaf: Arc<LeafDef>,
}

/// An address, possibly with `${property}` parts.
#[derive(Debug, Clone)]
pub enum Address {
    /// Parsed when the artifact was read.
    Fixed(Arc<Target>),
    /// Parsed per message.
    Template(Arc<str>),
}

impl Address {
    /// The address for a message.
    ///
    /// # Errors
    /// When what the template gives is not an address.
    pub fn resolve(&self, message: &Message) -> Result<Destination<'_>, Fault> {
        match self {
            Address::Fixed(target) => Ok(Destination::Fixed(target)),
            Address::Template(template) => {
                let text = expand(template, message);
                find(&text).map(Destination::Found)
            }
        }
    }

    /// The address when no message changes it.
    pub fn fixed(&self) -> Option<&Target> {
        match self {
            Address::Fixed(target) => Some(target),
            Address::Template(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Address::Fixed(target) => format!("{}{}", target.key, target.path_and_query),
            Address::Template(text) => text.to_string(),
        }
    }
}

/// Parses an address that a message gave.
///
/// # Errors
/// The fault that the reference raises for it.
pub fn find(text: &str) -> Result<Target, Fault> {
    Target::parse(text)
        .map_err(|e| Fault::mediation(format!("Malformed URL in the target EPR: {text}: {e}")))
}

/// Replaces `${name}` by default-scope properties; unknown names stay as they are.
fn expand(template: &str, message: &Message) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|e| start + e) else {
            break;
        };
        out.push_str(&rest[..start]);
        match crate::expr::property_text(message, &rest[start + 2..end]) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

/// Reads a URI attribute of an endpoint: variables of the deployment are filled in, `${…}` of the
/// message stay (spec 02 §2.2, §4.1).
pub fn parse_address(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> Option<Address> {
    let text = reader.required(element, name)?.trim().to_owned();
    let place = reader.attribute_place(element, name);
    let text = variable::resolve(reader, &place, &text)?;
    parse_text(reader, place, &text)
}

/// An address that may hold `${…}` of the message.
pub fn parse_text(reader: &mut Reader, place: Place, text: &str) -> Option<Address> {
    if text.contains("${") {
        return Some(Address::Template(text.into()));
    }
    match Target::parse(text) {
        Ok(target) => Some(Address::Fixed(Arc::new(target))),
        Err(e) => {
            reader.report(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    place,
                    format!("\"{text}\" is not an address that can be called: {e}"),
                )
                .help("write http://host:port/path or https://host:port/path"),
            );
            None
        }
    }
}

impl AddressDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<AddressDef> {
        let leaf = parse_leaf(reader, element, "Address", &["uri"]);
        let address = parse_address(reader, element, "uri");
        Some(AddressDef {
            address: address?,
            leaf: Arc::new(leaf?),
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        Box::new(AddressEndpoint {
            address: self.address.clone(),
            leaf: Leaf::link(&self.leaf, def, self.address.fixed(), names, path),
            kind: "address",
        })
    }
}

/// Sends to one address.
#[derive(Debug)]
pub struct AddressEndpoint {
    /// Where.
    pub address: Address,
    /// How.
    pub leaf: Leaf,
    /// Its kind in lists.
    pub kind: &'static str,
}

impl Kind for AddressEndpoint {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            self.leaf.check_ready(&cx, message, parent)?;
            let destination = self.address.resolve(message)?;
            self.leaf.send_to(cx, message, destination, parent).await
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

    fn builds(&self) -> super::Builds {
        self.leaf.builds()
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        out.extend(self.leaf.check.clone());
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.leaf.switch(on);
        Ok(())
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        out.push(
            self.leaf
                .described(self.kind, Some(self.address.text()), now),
        );
    }
}
