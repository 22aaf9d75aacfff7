//! What a proxy service publishes about itself: its own WSDL with the addresses of this server, or
//! one with the single operation `mediate` (spec 01 §6.1, §6.4).

use crate::artifact::WsdlDef;
use crate::artifact::wsdl::{Remote, WsdlSource};
use crate::diag::{Diagnostic, Place, codes};
use crate::endpoint::{Endpoints, Services};
use crate::mediator::Linker;
use crate::message::Value;
use crate::transport::outside::{self, Options};
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

/// Largest description behind an address, in bytes.
const MOST: usize = 4 << 20;
/// How long a description that could not be read is not asked for again, in milliseconds.
const PAUSE: u64 = 1000;

/// The description of one service.
#[derive(Debug, Default)]
pub struct Wsdl {
    source: Source,
    resources: Vec<(String, Content)>,
    keep_addresses: bool,
}

#[derive(Debug, Default)]
enum Source {
    #[default]
    Generated,
    Known(Known),
    Remote(Remote, Arc<Fetched>),
}

/// A description that has been read.
#[derive(Clone, Debug)]
pub struct Known {
    version2: bool,
    document: Arc<Document>,
}

/// What was read from an address. It survives reloads.
#[derive(Debug, Default)]
pub struct Fetched(tokio::sync::Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    known: Option<Known>,
    /// Why it cannot be read, and when that was found.
    failed: Option<(String, u64)>,
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
        let Some(def) = def else {
            return Wsdl::default();
        };
        let mut problems = Vec::new();
        let source = match &def.source {
            WsdlSource::Document(document) => Known::new(document.clone()).map(Source::Known),
            WsdlSource::Key(key) => match entry(linker, key) {
                Ok(Content::Xml(document)) => Known::new(document).map(Source::Known),
                Ok(Content::Text(_)) => Err(format!("the local entry \"{key}\" is not a WSDL")),
                Err(problem) => Err(problem),
            },
            WsdlSource::Remote(remote) => {
                let fetched = linker
                    .stores
                    .shared("published wsdl", &remote.to_string(), 0);
                Ok(Source::Remote(remote.clone(), fetched))
            }
        };
        let mut wrong = |place: &Place, text: String| {
            problems.push(Diagnostic::error(codes::INVALID_VALUE, place.clone(), text));
        };
        let source = source.unwrap_or_else(|problem| {
            wrong(&def.place, problem);
            Source::Generated
        });
        let mut resources = Vec::new();
        for resource in &def.resources {
            match entry(linker, &resource.key) {
                Ok(content) => resources.push((resource.location.clone(), content)),
                Err(problem) => wrong(&resource.place, problem),
            }
        }
        linker.diagnostics.append(&mut problems);
        Wsdl {
            source,
            resources,
            keep_addresses: def.keep_addresses,
        }
    }

    /// Whether [`Wsdl::fetch`] has to be asked for the description.
    pub fn is_remote(&self) -> bool {
        matches!(self.source, Source::Remote(..))
    }

    /// The description behind an address, read once; `None` when it is not behind one.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn fetch(
        &self,
        services: &Services,
        endpoints: &Endpoints,
    ) -> Result<Option<Known>, String> {
        let Source::Remote(remote, fetched) = &self.source else {
            return Ok(None);
        };
        // One request reads it, the others wait.
        let mut kept = fetched.0.lock().await;
        if let Some(known) = &kept.known {
            return Ok(Some(known.clone()));
        }
        let now = services.clock.now();
        if let Some((problem, at)) = &kept.failed
            && now.saturating_sub(*at) < PAUSE
        {
            return Err(problem.clone());
        }
        match Box::pin(read(remote, services, endpoints)).await {
            Ok(known) => {
                kept.known = Some(known.clone());
                Ok(Some(known))
            }
            Err(problem) => {
                kept.failed = Some((problem.clone(), now));
                Err(problem)
            }
        }
    }

    /// The document that is asked for; `None` when there is no such one. `fetched` is what
    /// [`Wsdl::fetch`] gave.
    pub fn render(
        &self,
        name: &str,
        item: &Item,
        at: &Addresses,
        fetched: Option<&Known>,
    ) -> Option<Vec<u8>> {
        let own = match &self.source {
            Source::Known(known) => Some(known),
            _ => fetched,
        };
        let Some(own) = own else {
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
                let (_, content) = self.resources.iter().find(|(l, _)| l == location)?;
                match content {
                    Content::Xml(document) => document,
                    Content::Text(text) => return Some(text.clone().into_bytes()),
                }
            }
            // The other version of an own description would have to be made up.
            Item::Wsdl11 | Item::Wsdl2 => return None,
        };
        let mut document = Document::clone(document);
        self.rewrite(&mut document, at);
        let root = document.root_element()?;
        let mut out = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_vec();
        document.write(root, &mut out);
        Some(out)
    }

    /// Puts this server's addresses in place of those in the document, and those of its resources in
    /// place of the locations of imports.
    fn rewrite(&self, document: &mut Document, at: &Addresses) {
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
                    if !self.keep_addresses {
                        changes.push((node, attribute, at.like(old).to_owned()));
                    }
                } else if self.resources.iter().any(|(location, _)| location == old) {
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
}

impl Known {
    fn new(document: Arc<Document>) -> Result<Known, String> {
        let root = document.root_element().ok_or("the WSDL is empty")?;
        let (namespace, name) = (document.namespace(root), document.local_name(root));
        let version2 = WSDL20.contains(&namespace) && name == "description";
        if !version2 && !document.is_element(root, WSDL11, "definitions") {
            return Err(format!(
                "<{name}> of namespace \"{namespace}\" is neither a WSDL 1.1 nor a WSDL 2.0 description"
            ));
        }
        Ok(Known { version2, document })
    }
}

fn entry(linker: &Linker<'_>, key: &str) -> Result<Content, String> {
    match crate::expr::entries::find(&linker.entries, key) {
        None => Err(format!("there is no local entry \"{key}\"")),
        Some(Value::Xml(xml)) => {
            let mut document = Document::new();
            let copy = document.import(&xml.document, xml.node);
            let top = document.document_node();
            document.append_child(top, copy);
            Ok(Content::Xml(Arc::new(document)))
        }
        Some(other) => Ok(Content::Text(other.text().into_owned())),
    }
}

async fn read(
    remote: &Remote,
    services: &Services,
    endpoints: &Endpoints,
) -> Result<Known, String> {
    let url = match remote {
        Remote::Url(url) => url.clone(),
        Remote::Endpoint(name) => {
            let endpoint = endpoints
                .named(name)
                .ok_or_else(|| format!("endpoint \"{name}\" is not defined"))?;
            let mut described = Vec::new();
            endpoint.kind.describe(services.clock.now(), &mut described);
            let address = described.into_iter().find_map(|d| d.address);
            let address =
                address.ok_or_else(|| format!("endpoint \"{name}\" has no address of its own"))?;
            format!("{}?wsdl", address.split('?').next().unwrap_or_default())
        }
    };
    let client = services
        .outside
        .client(&Options::default())
        .map_err(|e| e.to_string())?;
    let within = services.settings.endpoint.global_timeout;
    let answer = outside::fetch(&client, client.get(&url), within, MOST)
        .await
        .map_err(|e| e.to_string())?;
    if answer.status != 200 {
        return Err(answer.status_line);
    }
    let document = Document::parse(answer.body.into(), &services.limits.xml)
        .map_err(|e| format!("it is not well-formed: {e}"))?;
    Known::new(Arc::new(document))
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
