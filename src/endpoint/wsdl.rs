//! `<wsdl uri service port>`: the address is that of a port in a WSDL 1.1 document
//! (spec 02 §4.3). Documents in files and in the artifact are read with the artifact; those behind
//! a URL when the first message comes.

use super::leaf::{Attempt, Destination, Leaf, LeafDef};
use super::parse::{EndpointDef, parse_leaf};
use super::{Boxed, Described, Kind, Names, Parent, SendContext, Sent, own_fault, variable};
use crate::diag::codes;
use crate::message::fault::codes as fault_codes;
use crate::message::outgoing::Format;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use crate::transport::http::Target;
use crate::transport::outside::{self, Options};
use roxmltree::Node;
use std::io::Read;
use std::sync::Arc;

const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const WSDL2: &str = "http://www.w3.org/ns/wsdl";
const SOAP11: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP12: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";
const HTTP: &str = "http://schemas.xmlsoap.org/wsdl/http/";

/// Largest document, in bytes.
const MOST: usize = 16 << 20;
/// How long a document that could not be read is not asked for again, in milliseconds.
const PAUSE: u64 = 1000;

/// A WSDL endpoint as it is written.
#[derive(Debug)]
pub struct WsdlDef {
    document: Document,
    service: String,
    port: String,
    leaf: Arc<LeafDef>,
}

#[derive(Clone, Debug)]
enum Document {
    /// Read already.
    Known(Arc<Port>),
    /// Behind a URL.
    Url(Arc<str>),
}

/// What a port says.
#[derive(Debug, PartialEq, Eq)]
pub struct Port {
    target: Target,
    format: Format,
}

impl WsdlDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<WsdlDef> {
        let leaf = parse_leaf(reader, element, "WSDL", &["uri", "service", "port"]);
        if element.has_attribute("format") {
            let place = reader.attribute_place(element, "format");
            reader.warning(
                codes::UNKNOWN_ATTRIBUTE,
                place,
                "\"format\" has no effect: the binding of the port decides",
            );
        }
        let mut name = |attribute: &str| {
            let text = reader.required(element, attribute)?.trim().to_owned();
            let place = reader.attribute_place(element, attribute);
            variable::resolve(reader, &place, &text)
        };
        let service = name("service");
        let port = name("port");
        let (service, port) = (service?, port?);
        let inline = element.children().find(|c| {
            c.has_tag_name((WSDL, "definitions")) || c.tag_name().namespace() == Some(WSDL2)
        });
        let document = match (element.attribute("uri"), inline) {
            (Some(uri), _) => {
                let place = reader.attribute_place(element, "uri");
                let uri = variable::resolve(reader, &place, uri.trim())?;
                if uri.starts_with("http://") || uri.starts_with("https://") {
                    if let Err(e) = Target::parse(&uri) {
                        reader.error(codes::INVALID_VALUE, place, format!("\"{uri}\": {e}"));
                        return None;
                    }
                    Document::Url(uri.into())
                } else {
                    match read_file(&uri).and_then(|text| read(&text, &service, &port)) {
                        Ok(port) => Document::Known(Arc::new(port)),
                        Err(problem) => {
                            reader.error(codes::UNREADABLE, place, format!("{uri}: {problem}"));
                            return None;
                        }
                    }
                }
            }
            (None, Some(definitions)) => match find_port(definitions, &service, &port) {
                Ok(port) => Document::Known(Arc::new(port)),
                Err(problem) => {
                    let place = reader.place(definitions);
                    reader.error(codes::INVALID_VALUE, place, problem);
                    return None;
                }
            },
            (None, None) => {
                let place = reader.place(element);
                reader.error(
                    codes::MISSING_ATTRIBUTE,
                    place,
                    "<wsdl> needs \"uri\", or a <wsdl:definitions> inside",
                );
                return None;
            }
        };
        Some(WsdlDef {
            document,
            service,
            port,
            leaf: Arc::new(leaf?),
        })
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        Box::new(Wsdl {
            document: self.document.clone(),
            service: self.service.clone(),
            port: self.port.clone(),
            leaf: Leaf::link(&self.leaf, def, None, names, path),
            fetched: names.stores().wsdl(path, def.head.fingerprint),
        })
    }
}

fn read_file(uri: &str) -> Result<String, String> {
    let path = uri.strip_prefix("file:").unwrap_or(uri);
    let path = path.strip_prefix("//").unwrap_or(path);
    // Others may never end, or never begin.
    if !std::fs::metadata(path)
        .map_err(|e| e.to_string())?
        .is_file()
    {
        return Err("it is not a file".to_owned());
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST as u64 + 1).read_to_string(&mut text))
        .map_err(|e| e.to_string())?;
    if text.len() > MOST {
        return Err(format!("the file is larger than {MOST} bytes"));
    }
    Ok(text)
}

/// The port of a document.
fn read(text: &str, service: &str, port: &str) -> Result<Port, String> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: false,
        nodes_limit: 1_000_000,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(text, options)
        .map_err(|e| format!("the WSDL is not well-formed: {e}"))?;
    find_port(document.root_element(), service, port)
}

fn named<'a, 'i>(parent: Node<'a, 'i>, kind: &str, name: &str) -> Option<Node<'a, 'i>> {
    parent
        .children()
        .find(|c| c.has_tag_name((WSDL, kind)) && c.attribute("name") == Some(name))
}

fn list(parent: Node<'_, '_>, kind: &str) -> String {
    let names: Vec<&str> = parent
        .children()
        .filter(|c| c.has_tag_name((WSDL, kind)))
        .filter_map(|c| c.attribute("name"))
        .collect();
    if names.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has: {}", names.join(", "))
    }
}

fn find_port(definitions: Node<'_, '_>, service: &str, port: &str) -> Result<Port, String> {
    if definitions.tag_name().namespace() == Some(WSDL2) {
        return Err("WSDL 2.0 documents are not supported".to_owned());
    }
    if !definitions.has_tag_name((WSDL, "definitions")) {
        return Err(format!(
            "it is no WSDL 1.1 document: its root is <{}>",
            definitions.tag_name().name()
        ));
    }
    let Some(found) = named(definitions, "service", service) else {
        return Err(format!(
            "the WSDL has no service \"{service}\" ({})",
            list(definitions, "service")
        ));
    };
    let Some(port) = named(found, "port", port) else {
        return Err(format!(
            "the service \"{service}\" has no port \"{port}\" ({})",
            list(found, "port")
        ));
    };
    let address = port
        .children()
        .find(|c| c.is_element() && c.tag_name().name() == "address");
    let Some(location) = address.and_then(|a| a.attribute("location")) else {
        return Err(format!(
            "the port \"{}\" has no address",
            port.attribute("name").unwrap_or_default()
        ));
    };
    let target = Target::parse(location)
        .map_err(|e| format!("the port's address \"{location}\" cannot be called: {e}"))?;
    let format = match address.and_then(|a| a.tag_name().namespace()) {
        Some(SOAP11) => Format::Soap11,
        Some(SOAP12) => Format::Soap12,
        Some(HTTP) if is_get(definitions, port) => Format::Get,
        _ => Format::Rest,
    };
    Ok(Port { target, format })
}

/// Whether the binding of a port is HTTP GET.
fn is_get(definitions: Node<'_, '_>, port: Node<'_, '_>) -> bool {
    let name = port.attribute("binding").unwrap_or_default();
    let name = name.rsplit(':').next().unwrap_or_default();
    named(definitions, "binding", name).is_some_and(|binding| {
        binding
            .children()
            .any(|c| c.has_tag_name((HTTP, "binding")) && c.attribute("verb") == Some("GET"))
    })
}

/// A document that was read from a URL; survives reloads while the endpoint stays the same.
#[derive(Debug, Default)]
pub struct Fetched(tokio::sync::Mutex<State>);

#[derive(Debug, Default)]
struct State {
    port: Option<Arc<Port>>,
    /// Why it cannot be read, and when that was found.
    failed: Option<(String, u64)>,
}

/// Sends to the port's address.
#[derive(Debug)]
struct Wsdl {
    document: Document,
    service: String,
    port: String,
    leaf: Leaf,
    fetched: Arc<Fetched>,
}

impl Wsdl {
    async fn resolve(&self, cx: &SendContext<'_>) -> Result<Arc<Port>, String> {
        let url = match &self.document {
            Document::Known(port) => return Ok(port.clone()),
            Document::Url(url) => url,
        };
        // One message reads it, the others wait.
        let mut state = self.fetched.0.lock().await;
        if let Some(port) = &state.port {
            return Ok(port.clone());
        }
        let clock = &cx.services.clock;
        if let Some((problem, at)) = &state.failed
            && clock.now().saturating_sub(*at) < PAUSE
        {
            return Err(problem.clone());
        }
        let outcome = Box::pin(self.fetch(cx, url)).await;
        match outcome {
            Ok(port) => {
                let port = Arc::new(port);
                *state = State {
                    port: Some(port.clone()),
                    failed: None,
                };
                Ok(port)
            }
            Err(problem) => {
                state.failed = Some((problem.clone(), clock.now()));
                Err(problem)
            }
        }
    }

    async fn fetch(&self, cx: &SendContext<'_>, url: &str) -> Result<Port, String> {
        let services = cx.services;
        let client = services
            .outside
            .client(&Options::default())
            .map_err(|e| e.to_string())?;
        let within = services.settings.endpoint.global_timeout;
        let answer = outside::fetch(&client, client.get(url), within, MOST)
            .await
            .map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(answer.status_line);
        }
        let text = String::from_utf8(answer.body).map_err(|_| "it is not UTF-8".to_owned())?;
        read(&text, &self.service, &self.port)
    }

    fn url(&self) -> &str {
        match &self.document {
            Document::Url(url) => url,
            Document::Known(_) => "",
        }
    }
}

impl Kind for Wsdl {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            self.leaf.check_ready(&cx, message, parent)?;
            let port = match self.resolve(&cx).await {
                Ok(port) => port,
                Err(problem) => {
                    let fault = own_fault(
                        message,
                        fault_codes::WSDL,
                        format!(
                            "The WSDL {} of endpoint {} cannot be used: {problem}",
                            self.url(),
                            self.leaf.label()
                        ),
                    );
                    return Err(self.leaf.escalate(fault));
                }
            };
            let attempt = Attempt {
                format: Some(port.format),
                // A WSDL endpoint outside of a group never changes its state.
                keep_state: parent == Parent::Root,
                ..Attempt::default()
            };
            self.leaf
                .send_as(
                    cx,
                    message,
                    Destination::Fixed(&port.target),
                    parent,
                    attempt,
                )
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
        // The binding of the port decides the form.
        true
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.leaf.switch(on);
        Ok(())
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let address = match &self.document {
            Document::Known(port) => port.target.to_string(),
            Document::Url(url) => url.to_string(),
        };
        out.push(self.leaf.described("wsdl", Some(address), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
        xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/"
        xmlns:h="http://schemas.xmlsoap.org/wsdl/http/" xmlns:t="urn:t">
      <wsdl:binding name="Get" type="t:T"><h:binding verb="GET"/></wsdl:binding>
      <wsdl:binding name="Post" type="t:T"><h:binding verb="POST"/></wsdl:binding>
      <wsdl:service name="S">
        <wsdl:port name="P11" binding="t:B"><s:address location="http://h/11"/></wsdl:port>
        <wsdl:port name="P12" binding="t:B"><s12:address location="http://h/12"/></wsdl:port>
        <wsdl:port name="PG" binding="t:Get"><h:address location="http://h/g"/></wsdl:port>
        <wsdl:port name="PP" binding="t:Post"><h:address location="http://h/p"/></wsdl:port>
        <wsdl:port name="Jms" binding="t:B"><s:address location="jms:/q"/></wsdl:port>
        <wsdl:port name="None" binding="t:B"/>
      </wsdl:service>
    </wsdl:definitions>"#;

    #[test]
    fn ports_give_address_and_format() {
        for (port, address, format) in [
            ("P11", "http://h:80/11", Format::Soap11),
            ("P12", "http://h:80/12", Format::Soap12),
            ("PG", "http://h:80/g", Format::Get),
            ("PP", "http://h:80/p", Format::Rest),
        ] {
            let found = read(DOCUMENT, "S", port).unwrap();
            assert_eq!(
                (found.target.to_string().as_str(), found.format),
                (address, format)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem =
            |text: &str, service: &str, port: &str| read(text, service, port).unwrap_err();
        assert_eq!(
            problem(DOCUMENT, "X", "P11"),
            "the WSDL has no service \"X\" (it has: S)"
        );
        assert_eq!(
            problem(DOCUMENT, "S", "X"),
            "the service \"S\" has no port \"X\" (it has: P11, P12, PG, PP, Jms, None)"
        );
        assert_eq!(
            problem(DOCUMENT, "S", "None"),
            "the port \"None\" has no address"
        );
        assert!(problem(DOCUMENT, "S", "Jms").contains("jms:/q"));
        assert_eq!(
            problem(
                "<description xmlns=\"http://www.w3.org/ns/wsdl\"/>",
                "S",
                "P"
            ),
            "WSDL 2.0 documents are not supported"
        );
        assert_eq!(
            problem("<a/>", "S", "P"),
            "it is no WSDL 1.1 document: its root is <a>"
        );
        assert!(problem("<a>", "S", "P").starts_with("the WSDL is not well-formed"));
        assert!(
            problem("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "S", "P")
                .contains("not well-formed")
        );
    }
}
