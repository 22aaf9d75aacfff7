//! `<http uri-template="…" method="…">` with a static URI (spec 02 §5).

use super::address::{Address, AddressEndpoint, parse_address};
use super::leaf::{Leaf, LeafDef};
use super::parse::{EndpointDef, parse_leaf};
use super::{Kind, Names};
use crate::syntax::{Element, Reader};
use http::Method;
use std::sync::Arc;

/// An http endpoint as it is written.
#[derive(Debug)]
pub struct HttpDef {
    address: Address,
    leaf: Arc<LeafDef>,
}

impl HttpDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<HttpDef> {
        let mut leaf = parse_leaf(
            reader,
            element,
            "HTTP",
            &["uri-template", "method", "version"],
        );
        if let Some(template) = element.attribute("uri-template")
            && (template.contains('{') || template.starts_with("legacy-encoding:"))
            && !template.starts_with("${")
        {
            let place = reader.attribute_place(element, "uri-template");
            reader.unsupported(
                place,
                "URI templates with variables are not supported yet",
                Some("use a fixed URI, or <address uri=\"http://host/${property}\"/>"),
            );
            return None;
        }
        let address = parse_address(reader, element, "uri-template");
        if let Some(version) = element.attribute("version")
            && version != "1.1"
        {
            let place = reader.attribute_place(element, "version");
            reader.unsupported(
                place,
                format!("HTTP version {version} is not supported yet"),
                Some("leave it out for 1.1"),
            );
        }
        if let (Some(leaf), Some(text)) = (&mut leaf, element.attribute("method")) {
            // An unknown method means "as it came in", as in the reference, but not in silence.
            let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];
            let upper = text.trim().to_ascii_uppercase();
            if known.contains(&upper.as_str()) {
                leaf.method = Method::from_bytes(upper.as_bytes()).ok();
            } else {
                let place = reader.attribute_place(element, "method");
                reader.warning(
                    crate::diag::codes::INVALID_VALUE,
                    place,
                    format!("\"{text}\" is not a method; the incoming method is used"),
                );
            }
        }
        Some(HttpDef {
            address: address?,
            leaf: Arc::new(leaf?),
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        Box::new(AddressEndpoint {
            address: self.address.clone(),
            leaf: Leaf::link(&self.leaf, &def.head, &def.properties, names, path),
            kind: "http",
        })
    }
}
