//! What a proxy service publishes about itself: its own WSDL with the addresses of this server, or
//! one with the single operation `mediate` (spec 01 §6.1, §6.4).

use crate::artifact::WsdlDef;
use crate::artifact::wsdl::WsdlSource;
use crate::diag::{Diagnostic, codes};
use crate::mediator::Linker;
use crate::message::Value;
use crate::xml::{Document, NodeId};
use std::sync::Arc;

const WSDL11: &str = "http://schemas.xmlsoap.org/wsdl/";
/// Namespaces of WSDL 2.0 and of the drafts that old tools write.
const WSDL20: &[&str] = &[
    "http://www.w3.org/ns/wsdl",
    "http://www.w3.org/2006/01/wsdl",
];
/// Namespaces whose `address` elements say where a WSDL 1.1 port is.
const ADDRESS: &[&str] = &[
    "http://schemas.xmlsoap.org/wsdl/soap/",
    "http://schemas.xmlsoap.org/wsdl/soap12/",
    "http://schemas.xmlsoap.org/wsdl/http/",
];
const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";

/// The description of one service.
#[derive(Debug, Default)]
pub struct Wsdl {
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    version2: bool,
    document: Arc<Document>,
    resources: Vec<(String, Content)>,
    keep_addresses: bool,
}

#[derive(Debug)]
enum Content {
    Xml(Arc<Document>),
    Text(String),
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// `?wsdl`.
    Wsdl11,
    /// `?wsdl2`.
    Wsdl2,
    /// `?xsd=…` or `?wsdl=…`: a document that is imported, by its location.
    Resource(String),
}

/// Where the service is.
#[derive(Debug)]
pub struct Addresses {
    /// As the client reached it.
    pub here: String,
    /// Over HTTP, when it is exposed there.
    pub http: Option<String>,
    /// Over HTTPS, when it is exposed there.
    pub https: Option<String>,
}

impl Addresses {
    fn like(&self, old: &str) -> &str {
        let secure = old
            .get(..6)
            .is_some_and(|s| s.eq_ignore_ascii_case("https:"));
        let wanted = if secure { &self.https } else { &self.http };
        wanted.as_deref().unwrap_or(&self.here)
    }
}

impl Wsdl {
    /// Resolves keys. What is wrong with a description leaves the service without it.
    pub(super) fn link(def: Option<&WsdlDef>, linker: &mut Linker<'_>) -> Wsdl {
        let own = def.and_then(|def| {
            let mut problems = Vec::new();
            let own = own(def, linker, &mut problems);
            linker.diagnostics.append(&mut problems);
            own
        });
        Wsdl { own }
    }

    /// The document that is asked for; `None` when there is no such one.
    pub fn render(&self, name: &str, item: &Item, at: &Addresses) -> Option<Vec<u8>> {
        let Some(own) = &self.own else {
            return match item {
                Item::Wsdl11 => Some(generated11(name, at)),
                Item::Wsdl2 => Some(generated2(name, at)),
                Item::Resource(_) => None,
            };
        };
        let document = match item {
            Item::Wsdl11 if !own.version2 => &own.document,
            Item::Wsdl2 if own.version2 => &own.document,
            Item::Resource(location) => {
                let (_, content) = own.resources.iter().find(|(l, _)| l == location)?;
                match content {
                    Content::Xml(document) => document,
                    Content::Text(text) => return Some(text.clone().into_bytes()),
                }
            }
            // The other version of an own description would have to be made up.
            Item::Wsdl11 | Item::Wsdl2 => return None,
        };
        let mut document = Document::clone(document);
        rewrite(&mut document, own, at);
        let root = document.root_element()?;
        let mut out = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec();
        document.write(root, &mut out);
        Some(out)
    }
}

fn own(def: &WsdlDef, linker: &Linker<'_>, problems: &mut Vec<Diagnostic>) -> Option<Own> {
    let xml = |key: &str| match linker.entries.get(key) {
        None => Err(format!("there is no local entry \"{key}\"")),
        Some(Value::Xml(xml)) => {
            let mut document = Document::new();
            let copy = document.import(&xml.document, xml.node);
            let top = document.document_node();
            document.append_child(top, copy);
            Ok(Content::Xml(Arc::new(document)))
        }
        Some(other) => Ok(Content::Text(other.text().into_owned())),
    };
    let mut wrong = |place: &crate::diag::Place, text: String| {
        problems.push(Diagnostic::error(codes::INVALID_VALUE, place.clone(), text));
    };
    let document = match &def.source {
        WsdlSource::Document(document) => document.clone(),
        WsdlSource::Key(key) => match xml(key) {
            Ok(Content::Xml(document)) => document,
            Ok(Content::Text(_)) => {
                wrong(
                    &def.place,
                    format!("the local entry \"{key}\" is not a WSDL"),
                );
                return None;
            }
            Err(problem) => {
                wrong(&def.place, problem);
                return None;
            }
        },
    };
    let root = document.root_element()?;
    let namespace = document.namespace(root);
    let version2 = WSDL20.contains(&namespace) && document.local_name(root) == "description";
    if !version2 && !document.is_element(root, WSDL11, "definitions") {
        wrong(
            &def.place,
            format!(
                "<{}> of namespace \"{namespace}\" is neither a WSDL 1.1 nor a WSDL 2.0 description",
                document.local_name(root)
            ),
        );
        return None;
    }
    let mut resources = Vec::new();
    for resource in &def.resources {
        match xml(&resource.key) {
            Ok(content) => resources.push((resource.location.clone(), content)),
            Err(problem) => wrong(&resource.place, problem),
        }
    }
    Some(Own {
        version2,
        document,
        resources,
        keep_addresses: def.keep_addresses,
    })
}

/// Puts this server's addresses in place of those in the document, and those of its resources in
/// place of the locations of imports.
fn rewrite(document: &mut Document, own: &Own, at: &Addresses) {
    let mut changes: Vec<(NodeId, &str, String)> = Vec::new();
    if let Some(root) = document.root_element() {
        for node in document.descendants(root) {
            let (namespace, name) = (document.namespace(node), document.local_name(node));
            let attribute = match name {
                "address" if ADDRESS.contains(&namespace) => "location",
                "endpoint" if WSDL20.contains(&namespace) => "address",
                "import" | "include" | "redefine" if namespace == SCHEMA => "schemaLocation",
                "import" | "include" if namespace == WSDL11 || WSDL20.contains(&namespace) => {
                    "location"
                }
                _ => continue,
            };
            let Some(old) = document.attribute(node, "", attribute) else {
                continue;
            };
            if matches!(name, "address" | "endpoint") {
                if !own.keep_addresses {
                    changes.push((node, attribute, at.like(old).to_owned()));
                }
            } else if own.resources.iter().any(|(location, _)| location == old) {
                let item = if attribute == "location" {
                    "wsdl"
                } else {
                    "xsd"
                };
                let address = format!("{}?{item}={}", at.here, encode(old));
                changes.push((node, attribute, address));
            }
        }
    }
    for (node, attribute, value) in changes {
        document.set_attribute(node, "", "", attribute, &value);
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    crate::xml::escape_attribute(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn generated11(name: &str, at: &Addresses) -> Vec<u8> {
    let name = escaped(name);
    let id = name.replace('/', "_");
    let mut ports = String::new();
    for (label, address) in [("Http", &at.http), ("Https", &at.https)] {
        let Some(address) = address else { continue };
        let address = escaped(address);
        ports.push_str(&format!(
            r#"
    <wsdl:port name="{id}{label}Soap11Endpoint" binding="ns:{id}Soap11Binding">
      <soap:address location="{address}"/>
    </wsdl:port>
    <wsdl:port name="{id}{label}Soap12Endpoint" binding="ns:{id}Soap12Binding">
      <soap12:address location="{address}"/>
    </wsdl:port>"#
        ));
    }
    let binding = |version: &str, prefix: &str| {
        format!(
            r#"
  <wsdl:binding name="{id}{version}Binding" type="ns:{id}PortType">
    <{prefix}:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>
    <wsdl:operation name="mediate">
      <{prefix}:operation soapAction="urn:mediate" style="document"/>
      <wsdl:input><{prefix}:body use="literal"/></wsdl:input>
      <wsdl:output><{prefix}:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>"#
        )
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions xmlns:wsdl="{WSDL11}" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:ns="http://ws.apache.org/ns/synapse" targetNamespace="http://ws.apache.org/ns/synapse">
  <wsdl:types>
    <xs:schema xmlns:xs="{SCHEMA}" targetNamespace="http://ws.apache.org/ns/synapse" elementFormDefault="qualified">
      <xs:element name="mediate" type="xs:anyType"/>
    </xs:schema>
  </wsdl:types>
  <wsdl:message name="mediateRequest"><wsdl:part name="parameters" element="ns:mediate"/></wsdl:message>
  <wsdl:message name="mediateResponse"><wsdl:part name="parameters" element="ns:mediate"/></wsdl:message>
  <wsdl:portType name="{id}PortType">
    <wsdl:operation name="mediate">
      <wsdl:input message="ns:mediateRequest"/>
      <wsdl:output message="ns:mediateResponse"/>
    </wsdl:operation>
  </wsdl:portType>{}{}
  <wsdl:service name="{id}">{ports}
  </wsdl:service>
</wsdl:definitions>
"#,
        binding("Soap11", "soap"),
        binding("Soap12", "soap12"),
    )
    .into_bytes()
}

fn generated2(name: &str, at: &Addresses) -> Vec<u8> {
    let name = escaped(name);
    let id = name.replace('/', "_");
    let mut endpoints = String::new();
    for (label, address) in [("Http", &at.http), ("Https", &at.https)] {
        let Some(address) = address else { continue };
        let address = escaped(address);
        endpoints.push_str(&format!(
            r#"
    <endpoint name="{id}{label}Endpoint" binding="ns:{id}Soap12Binding" address="{address}"/>"#
        ));
    }
    format!(
        r##"<?xml version="1.0" encoding="UTF-8"?>
<description xmlns="http://www.w3.org/ns/wsdl" xmlns:wsoap="http://www.w3.org/ns/wsdl/soap" xmlns:ns="http://ws.apache.org/ns/synapse" targetNamespace="http://ws.apache.org/ns/synapse">
  <interface name="ServiceInterface">
    <operation name="mediate" pattern="http://www.w3.org/ns/wsdl/in-out">
      <input element="#any"/>
      <output element="#any"/>
    </operation>
  </interface>
  <binding name="{id}Soap12Binding" interface="ns:ServiceInterface" type="http://www.w3.org/ns/wsdl/soap" wsoap:version="1.2" wsoap:protocol="http://www.w3.org/2003/05/soap/bindings/HTTP/">
    <operation ref="ns:mediate" wsoap:action="urn:mediate"/>
  </binding>
  <service name="{id}" interface="ns:ServiceInterface">{endpoints}
  </service>
</description>
"##
    )
    .into_bytes()
}
