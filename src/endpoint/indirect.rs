//! `<endpoint key="…"/>` and `<endpoint key-expression="…"/>`: a named endpoint (spec 02 §6).

use super::{Boxed, Described, Kind, Names, Parent, SendContext, Sent, own_fault};
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::expr::Expr;
use crate::message::fault;
use crate::message::{EndpointId, Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A reference as it is written.
#[derive(Debug)]
pub struct IndirectDef {
    /// The name.
    pub key: String,
    /// Where the name is written.
    pub place: Place,
}

impl IndirectDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> IndirectDef {
        IndirectDef {
            key: element.attribute("key").unwrap_or_default().to_owned(),
            place: reader.attribute_place(element, "key"),
        }
    }

    /// Looks the name up. One that is not defined is an error here and a fault when it is reached.
    pub fn link(&self, names: &mut dyn Names) -> Box<dyn Kind> {
        let id = names.endpoint(&self.key);
        if id.is_none() {
            let known = names.endpoint_names();
            let hint = nearest(&self.key, known.iter().map(String::as_str))
                .map(|n| format!("did you mean \"{n}\"?"));
            names.report(
                Diagnostic::error(
                    codes::UNDEFINED_ENDPOINT,
                    self.place.clone(),
                    format!("endpoint \"{}\" is not defined", self.key),
                )
                .maybe_help(hint),
            );
        }
        Box::new(Indirect {
            key: self.key.clone(),
            id,
        })
    }
}

/// Why a reference cannot be switched.
const NO_STATE: &str =
    "it is a reference and has no state of its own; name the endpoint that it refers to";

fn not_found(message: &mut Message, key: &str) -> Fault {
    own_fault(
        message,
        fault::codes::UNDEFINED_ENDPOINT,
        format!("Couldn't find the endpoint with the key : {key}"),
    )
}

#[derive(Debug)]
struct Indirect {
    key: String,
    id: Option<EndpointId>,
}

impl Kind for Indirect {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let Some(endpoint) = self.id.and_then(|id| cx.endpoints.get(id)) else {
                return Err(not_found(message, &self.key));
            };
            // The real endpoint has no parent, whatever the reference stands in.
            endpoint
                .kind
                .send(cx.deeper()?, message, Parent::Root)
                .await
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        match (self.id.and_then(|id| cx.endpoints.get(id)), cx.deeper()) {
            (Some(endpoint), Ok(cx)) => endpoint.kind.is_ready(&cx),
            _ => false,
        }
    }

    fn reshapes(&self, cx: &SendContext<'_>) -> bool {
        match (self.id.and_then(|id| cx.endpoints.get(id)), cx.deeper()) {
            (Some(endpoint), Ok(cx)) => endpoint.kind.reshapes(&cx),
            _ => false,
        }
    }

    fn references(&self, out: &mut Vec<EndpointId>) {
        out.extend(self.id);
    }

    fn reference(&self) -> Option<&'static str> {
        Some("key")
    }

    fn switch(&self, _on: bool) -> Result<(), &'static str> {
        Err(NO_STATE)
    }

    fn describe(&self, _now: u64, _out: &mut Vec<Described>) {}
}

/// A reference whose name each message gives.
#[derive(Debug)]
pub struct ResolvingDef(Arc<Expr>);

impl ResolvingDef {
    /// Reads `key-expression`, or a `key` of the form `{expression}`.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<ResolvingDef> {
        if element.has_attribute("key-expression") {
            let expr = reader.expression(element, "key-expression")?;
            return Some(ResolvingDef(Arc::new(expr)));
        }
        match reader.dynamic(element, "key")? {
            crate::expr::Dynamic::Expr(expr) => Some(ResolvingDef(Arc::new(expr))),
            crate::expr::Dynamic::Static(_) => None,
        }
    }

    /// Makes the endpoint.
    pub fn link(&self) -> Box<dyn Kind> {
        Box::new(Resolving(self.0.clone()))
    }
}

#[derive(Debug)]
struct Resolving(Arc<Expr>);

impl Kind for Resolving {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            if self.0.needs_body() {
                message.build(&cx.services.limits).await?;
            }
            let key = self.0.string(&cx.scope(message))?.unwrap_or_default();
            let Some(endpoint) = cx.endpoints.named(&key) else {
                return Err(not_found(message, &key));
            };
            endpoint
                .kind
                .send(cx.deeper()?, message, Parent::Root)
                .await
        })
    }

    /// Only a message tells which endpoint it is (spec 02 §6).
    fn is_ready(&self, _cx: &SendContext<'_>) -> bool {
        true
    }

    fn reshapes(&self, _cx: &SendContext<'_>) -> bool {
        // Nobody knows before the message is there.
        true
    }

    fn reference(&self) -> Option<&'static str> {
        Some("key")
    }

    fn switch(&self, _on: bool) -> Result<(), &'static str> {
        Err(NO_STATE)
    }

    fn describe(&self, _now: u64, _out: &mut Vec<Described>) {}
}
