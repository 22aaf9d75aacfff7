//! `<default/>`: sends to the message's `To` (spec 02 §4.2).

use super::address::find;
use super::leaf::{DEFAULT, Destination, Leaf, LeafDef};
use super::parse::{EndpointDef, parse_leaf};
use super::{Boxed, Described, Kind, Names, Parent, SendContext, Sent, own_fault};
use crate::message::fault::codes;
use crate::message::{ANONYMOUS, Fault, Message, To};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A default endpoint as it is written.
#[derive(Debug)]
pub struct DefaultDef {
    leaf: Arc<LeafDef>,
}

impl DefaultDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<DefaultDef> {
        let leaf = parse_leaf(reader, element, DEFAULT, &[])?;
        Some(DefaultDef {
            leaf: Arc::new(leaf),
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        Box::new(DefaultEndpoint {
            leaf: Leaf::link(&self.leaf, def, None, names, path),
        })
    }
}

/// Sends to where the message says.
#[derive(Debug)]
pub struct DefaultEndpoint {
    leaf: Leaf,
}

impl DefaultEndpoint {
    /// The endpoint of a `send` or `call` without one.
    pub fn implicit(names: &mut dyn Names) -> DefaultEndpoint {
        // Sends without endpoint have no state machine: the destination differs per message.
        DefaultEndpoint {
            leaf: Leaf::stateless(DEFAULT, names, "implicit", 0),
        }
    }
}

impl Kind for DefaultEndpoint {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            self.leaf.check_ready(&cx, message, parent)?;
            let address = match &message.to {
                To::Header(address) if address != ANONYMOUS => {
                    return Err(Fault::mediation(format!(
                        "The destination {address} comes from a WS-Addressing header of the message, and messages do not choose where this server connects; set it with <header name=\"To\" …/>"
                    )));
                }
                _ => message.to_address().map(|a| a.into_owned()),
            };
            let address = match address {
                None => {
                    return Err(Fault::mediation(
                        "Unexpected error during sending message out: the message has no To address",
                    ));
                }
                Some(address) if address == ANONYMOUS => {
                    return Err(own_fault(
                        message,
                        codes::NOT_READY,
                        format!("'To' header was set to {ANONYMOUS}"),
                    ));
                }
                Some(address) => address,
            };
            let target = find(&address)?;
            // The reference builds the message before such a send.
            message.build(&cx.services.limits).await?;
            self.leaf
                .send_to(cx, message, Destination::Found(target), parent)
                .await
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

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.leaf.switch(on);
        Ok(())
    }

    fn builds(&self) -> super::Builds {
        self.leaf.builds()
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        out.push(self.leaf.described("default", None, now));
    }
}
