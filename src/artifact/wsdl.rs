//! `<publishWSDL>` of a proxy service (spec 01 §6.1).

use crate::diag::{Place, codes};
use crate::endpoint::variable;
use crate::mediator::inline_xml;
use crate::syntax::{Element, Reader};
use crate::xml::{Document, Limits};
use std::sync::Arc;

/// The description that a service publishes.
#[derive(Debug)]
pub struct WsdlDef {
    /// The document.
    pub source: WsdlSource,
    /// Where it comes from in the artifact.
    pub place: Place,
    /// What its imports mean.
    pub resources: Vec<Resource>,
    /// The addresses of the document stay (parameters `useOriginalwsdl` and
    /// `modifyUserWSDLPortAddress`).
    pub keep_addresses: bool,
}

/// Where a description is.
#[derive(Debug)]
pub enum WsdlSource {
    /// Here.
    Document(Arc<Document>),
    /// In a local entry.
    Key(String),
    /// Somewhere else; read when somebody asks for it.
    Remote(Remote),
}

/// Where a description is that is not in the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Behind this URL.
    Url(String),
    /// At the address of the endpoint of this name, followed by `?wsdl`.
    Endpoint(String),
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Remote::Url(url) => write!(f, "url {url}"),
            Remote::Endpoint(name) => write!(f, "endpoint {name}"),
        }
    }
}

/// A document that a description imports.
#[derive(Debug)]
pub struct Resource {
    /// The location as the import writes it.
    pub location: String,
    /// The local entry that has it.
    pub key: String,
    /// Where the key is written.
    pub place: Place,
}

impl WsdlDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<WsdlDef> {
        reader.known_attributes(element, &["uri", "key", "endpoint", "preservePolicy"]);
        let mut resources = Vec::new();
        let mut inline = None;
        for child in reader.children(element) {
            if child.tag_name().name() == "resource" {
                reader.known_attributes(child, &["location", "key"]);
                let location = reader.required(child, "location").map(str::to_owned);
                let key = reader.required(child, "key").map(str::to_owned);
                if let (Some(location), Some(key)) = (location, key) {
                    let place = reader.attribute_place(child, "key");
                    resources.push(Resource {
                        location,
                        key,
                        place,
                    });
                }
            } else {
                inline = Some(child);
            }
        }
        let place = reader.place(element);
        let source = if let Some(key) = resolved(reader, element, "key") {
            WsdlSource::Key(key?)
        } else if let Some(uri) = resolved(reader, element, "uri") {
            from_uri(reader, element, &uri?)?
        } else if let Some(name) = resolved(reader, element, "endpoint") {
            WsdlSource::Remote(Remote::Endpoint(name?.trim().to_owned()))
        } else if let Some(inline) = inline {
            WsdlSource::Document(Arc::new(inline_xml(reader, inline)?))
        } else {
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "<publishWSDL> needs \"key\", \"uri\" or a WSDL inside",
            );
            return None;
        };
        let place = match element.attribute("key") {
            Some(_) => reader.attribute_place(element, "key"),
            None => place,
        };
        Some(WsdlDef {
            source,
            place,
            resources,
            keep_addresses: false,
        })
    }
}

/// An attribute, which may be a variable of the deployment; `Some(None)` after an error.
fn resolved(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> Option<Option<String>> {
    let text = element.attribute(name)?;
    let place = reader.attribute_place(element, name);
    Some(variable::resolve(reader, &place, text))
}

fn from_uri(reader: &mut Reader, element: Element<'_, '_>, uri: &str) -> Option<WsdlSource> {
    let place = reader.attribute_place(element, "uri");
    let uri = uri.trim();
    if uri.starts_with("http://") || uri.starts_with("https://") {
        return Some(WsdlSource::Remote(Remote::Url(uri.to_owned())));
    }
    let Some(path) = uri.strip_prefix("file:") else {
        reader.unsupported(
            place,
            format!("a WSDL cannot be read from \"{uri}\""),
            Some("use file:, http: or https:"),
        );
        return None;
    };
    let bytes = match super::local_entry::read_file(path) {
        Ok(bytes) => bytes,
        Err(problem) => {
            reader.error(codes::UNREADABLE, place, problem);
            return None;
        }
    };
    match Document::parse(bytes, &Limits::default()) {
        Ok(document) => Some(WsdlSource::Document(Arc::new(document))),
        Err(e) => {
            reader.error(
                codes::MALFORMED_XML,
                place,
                format!("the WSDL {path} is not well-formed: {e}"),
            );
            None
        }
    }
}
