//! The envelope view: SOAP, plain XML and JSON all look like `Envelope/Header/Body`
//! (spec 01 §2, §16.2; spec 05 §3.1).

use crate::xml::{self, Document, NodeId, TooLong};
use bytes::Bytes;

/// Namespace of SOAP 1.1 envelopes.
pub const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Namespace of SOAP 1.2 envelopes.
pub const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// Version of a SOAP envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoapVersion {
    /// SOAP 1.1.
    V11,
    /// SOAP 1.2.
    V12,
}

impl SoapVersion {
    /// The envelope namespace.
    pub fn namespace(self) -> &'static str {
        match self {
            SoapVersion::V11 => SOAP11,
            SoapVersion::V12 => SOAP12,
        }
    }

    /// The media type of its messages.
    pub fn media_type(self) -> &'static str {
        match self {
            SoapVersion::V11 => "text/xml",
            SoapVersion::V12 => "application/soap+xml",
        }
    }
}

/// A tree with an envelope at its top.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The tree.
    pub document: Document,
    /// The `Envelope` element.
    pub root: NodeId,
    /// Its version.
    pub version: SoapVersion,
    /// Made around a body that is not SOAP; has no document root for XPath (spec 05 §3.1).
    pub synthetic: bool,
    body: NodeId,
}

impl Envelope {
    /// An envelope with an empty body.
    pub fn empty(version: SoapVersion) -> Envelope {
        let mut document = Document::new();
        let namespace = version.namespace();
        let root = document.create_element("soapenv", namespace, "Envelope");
        document.declare_namespace(root, "soapenv", namespace);
        let body = document.create_element("soapenv", namespace, "Body");
        document.append_child(root, body);
        let top = document.document_node();
        document.append_child(top, root);
        Envelope {
            document,
            root,
            version,
            synthetic: true,
            body,
        }
    }

    /// Parses a message whose root should be a SOAP envelope. `Ok(Err(_))` gives the document back
    /// when the root is something else.
    pub fn parse(input: Bytes, limits: &xml::Limits) -> Result<Envelope, NotSoap> {
        let document = Document::parse(input, limits).map_err(NotSoap::Malformed)?;
        let Some(root) = document.root_element() else {
            return Err(NotSoap::OtherRoot(String::new()));
        };
        let version = match document.namespace(root) {
            SOAP11 if document.local_name(root) == "Envelope" => SoapVersion::V11,
            SOAP12 if document.local_name(root) == "Envelope" => SoapVersion::V12,
            _ => return Err(NotSoap::OtherRoot(document.local_name(root).to_owned())),
        };
        let Some(body) = document.child_element(root, version.namespace(), "Body") else {
            return Err(NotSoap::NoBody);
        };
        Ok(Envelope {
            document,
            root,
            version,
            synthetic: false,
            body,
        })
    }

    /// Puts a plain XML document into the body of a new SOAP 1.1 envelope.
    pub fn wrap(input: Bytes, limits: &xml::Limits) -> Result<Envelope, xml::XmlError> {
        let mut envelope = Envelope::empty(SoapVersion::V11);
        let body = envelope.body;
        envelope.document.parse_into(body, input, limits)?;
        Ok(envelope)
    }

    /// The `Header` element, which stands before the body.
    pub fn header(&self) -> Option<NodeId> {
        let namespace = self.version.namespace();
        self.document
            .child_elements(self.root)
            .take_while(|child| *child != self.body)
            .find(|child| self.document.is_element(*child, namespace, "Header"))
    }

    /// The `Header` element, made when it is missing.
    pub fn header_mut(&mut self) -> NodeId {
        if let Some(header) = self.header() {
            return header;
        }
        let prefix = self.document.prefix(self.root).to_owned();
        let header = self
            .document
            .create_element(&prefix, self.version.namespace(), "Header");
        self.document.prepend_child(self.root, header);
        header
    }

    /// The `Body` element.
    pub fn body(&self) -> NodeId {
        self.body
    }

    /// The first element in the body.
    pub fn payload(&self) -> Option<NodeId> {
        self.document.child_elements(self.body).next()
    }

    /// The `Fault` element when the payload is one.
    pub fn fault(&self) -> Option<NodeId> {
        self.payload().filter(|p| {
            self.document
                .is_element(*p, self.version.namespace(), "Fault")
        })
    }

    /// A copy that holds what is in the tree and nothing that was taken out of it.
    pub fn compact(&self) -> Envelope {
        let mut document = Document::new();
        let root = document.import(&self.document, self.root);
        let top = document.document_node();
        document.append_child(top, root);
        let body = document
            .child_element(root, self.version.namespace(), "Body")
            .unwrap_or(root);
        Envelope {
            document,
            root,
            version: self.version,
            synthetic: self.synthetic,
            body,
        }
    }

    /// Takes everything out of the body.
    pub fn clear_body(&mut self) {
        let old: Vec<NodeId> = self.document.children(self.body).collect();
        for child in old {
            self.document.detach(child);
        }
    }

    /// The same content in the other SOAP version (spec 01 §18.3).
    pub fn convert(&self, version: SoapVersion) -> Envelope {
        if self.version == version {
            return self.clone();
        }
        let mut to = Envelope::empty(version);
        to.synthetic = self.synthetic;
        let from = &self.document;
        if let Some(header) = self.header() {
            for block in from.child_elements(header) {
                let target = to.header_mut();
                let copy = to.document.import(from, block);
                convert_block(&mut to.document, copy, self.version, version);
                to.document.append_child(target, copy);
            }
        }
        let body = to.body;
        if let Some(fault) = self.fault() {
            let parts = FaultParts::read(self, fault);
            parts.write(&mut to);
            return to;
        }
        for child in from.children(self.body) {
            let copy = to.document.import(from, child);
            to.document.append_child(body, copy);
        }
        to
    }

    /// Replaces the body's content by a fault (spec 01 §11); header blocks stay.
    pub fn set_fault(&mut self, parts: &FaultParts) {
        self.clear_body();
        parts.write(self);
    }

    /// The payload, for a form that is about as long as the tree is as XML.
    ///
    /// # Errors
    /// When that is more than can be sent.
    pub fn convertible(&self) -> Result<Option<NodeId>, TooLong> {
        match self.payload() {
            Some(payload) => {
                let most = most_bytes(&self.document);
                match self.document.is_longer_than(payload, most) {
                    true => Err(TooLong(most)),
                    false => Ok(Some(payload)),
                }
            }
            None => Ok(None),
        }
    }

    /// The whole envelope as text with the declaration that logs show (spec 01 §16.4).
    ///
    /// # Errors
    /// When it is longer than `most` bytes.
    pub fn log_text(&self, most: usize) -> Result<String, TooLong> {
        let xml = self.document.xml_within(self.root, most)?;
        Ok(format!("<?xml version='1.0' encoding='utf-8'?>{xml}"))
    }
}

/// Most bytes of XML that a small document may become; a larger one, this many times its own.
const MOST_XML: usize = 256 << 20;
const MOST_TIMES: usize = 4;

/// Most bytes of XML that a document may become when it is sent.
pub(in crate::message) fn most_bytes(document: &Document) -> usize {
    let source = document.source().map_or(0, Bytes::len);
    MOST_XML.max(source.saturating_mul(MOST_TIMES))
}

/// Attributes of header blocks that exist in both versions are renamed, others of the SOAP
/// namespace are dropped.
fn convert_block(document: &mut Document, block: NodeId, from: SoapVersion, to: SoapVersion) {
    let old: Vec<(String, String, String)> = document
        .attributes(block)
        .filter(|a| a.namespace == from.namespace())
        .map(|a| (a.prefix.to_owned(), a.local.to_owned(), a.value.to_owned()))
        .collect();
    for (_, local, value) in old {
        document.remove_attribute(block, from.namespace(), &local);
        let name = match local.as_str() {
            "actor" => "role",
            "role" => "actor",
            "mustUnderstand" => "mustUnderstand",
            _ => continue,
        };
        document.set_attribute(block, "soapenv", to.namespace(), name, &value);
    }
}

/// Why a document is not a SOAP message.
#[derive(Debug)]
pub enum NotSoap {
    /// It is not well-formed.
    Malformed(xml::XmlError),
    /// Its root is another element.
    OtherRoot(String),
    /// The envelope has no body.
    NoBody,
}

/// A SOAP fault in parts that both versions share.
#[derive(Clone, Debug, Default)]
pub struct FaultParts {
    /// Prefix and local name of the code, in the words of the version that is written.
    pub code: (String, String),
    /// The reason text.
    pub reason: String,
    /// SOAP 1.2 `Node`.
    pub node: Option<String>,
    /// `faultactor` or `Role`.
    pub role: Option<String>,
    /// Content of the detail: text, and copies of nodes.
    pub detail: Option<Detail>,
}

/// The content of a fault's detail.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Text.
    Text(String),
    /// Children of a node of another tree, or the node itself.
    Nodes(std::sync::Arc<(Document, Vec<NodeId>)>),
}

impl FaultParts {
    /// A fault of the receiving side, in the words of a version.
    pub fn server(version: SoapVersion, reason: impl Into<String>) -> FaultParts {
        FaultParts {
            code: (
                "soapenv".to_owned(),
                match version {
                    SoapVersion::V11 => "Server",
                    SoapVersion::V12 => "Receiver",
                }
                .to_owned(),
            ),
            reason: reason.into(),
            ..FaultParts::default()
        }
    }

    /// Reads a fault, with its code translated to the other version's word.
    pub fn read(envelope: &Envelope, fault: NodeId) -> FaultParts {
        let document = &envelope.document;
        let namespace = envelope.version.namespace();
        let child = |parent: NodeId, ns: &str, name: &str| document.child_element(parent, ns, name);
        let text = |node: Option<NodeId>| node.map(|n| document.string_value(n).trim().to_owned());
        let (code, reason, node, role, detail) = match envelope.version {
            SoapVersion::V11 => (
                text(child(fault, "", "faultcode")),
                text(child(fault, "", "faultstring")),
                None,
                text(child(fault, "", "faultactor")),
                child(fault, "", "detail"),
            ),
            SoapVersion::V12 => (
                text(child(fault, namespace, "Code").and_then(|c| child(c, namespace, "Value"))),
                text(child(fault, namespace, "Reason").and_then(|r| child(r, namespace, "Text"))),
                text(child(fault, namespace, "Node")),
                text(child(fault, namespace, "Role")),
                child(fault, namespace, "Detail"),
            ),
        };
        let code = code.unwrap_or_default();
        let local = code.rsplit(':').next().unwrap_or_default();
        let local = match (envelope.version, local) {
            (SoapVersion::V11, "Client") => "Sender",
            (SoapVersion::V11, "Server") => "Receiver",
            (SoapVersion::V12, "Sender" | "DataEncodingUnknown") => "Client",
            (SoapVersion::V12, "Receiver") => "Server",
            (_, "VersionMismatch") => "VersionMismatch",
            (_, "MustUnderstand") => "MustUnderstand",
            (SoapVersion::V11, _) => "Receiver",
            (SoapVersion::V12, _) => "Server",
        };
        FaultParts {
            code: ("soapenv".to_owned(), local.to_owned()),
            reason: reason.unwrap_or_default(),
            node,
            role,
            detail: detail.map(|d| {
                let nodes: Vec<NodeId> = document.children(d).collect();
                Detail::Nodes(std::sync::Arc::new((document.clone(), nodes)))
            }),
        }
    }

    /// Appends the fault to an empty body (spec 01 §11.2, §11.3).
    fn write(&self, envelope: &mut Envelope) {
        let version = envelope.version;
        let namespace = version.namespace();
        let body = envelope.body;
        let prefix = envelope.document.prefix(body).to_owned();
        let document = &mut envelope.document;
        let fault = document.create_element(&prefix, namespace, "Fault");
        document.append_child(body, fault);
        let add = |document: &mut Document, parent: NodeId, name: &str| {
            let (p, ns) = match version {
                SoapVersion::V11 => ("", ""),
                SoapVersion::V12 => (prefix.as_str(), namespace),
            };
            let element = document.create_element(p, ns, name);
            document.append_child(parent, element);
            element
        };
        let (code_prefix, code_local) = &self.code;
        let code = match version {
            SoapVersion::V11 => add(document, fault, "faultcode"),
            SoapVersion::V12 => {
                let code = add(document, fault, "Code");
                add(document, code, "Value")
            }
        };
        if *code_prefix != prefix {
            document.declare_namespace(code, code_prefix, namespace);
        }
        document.set_text(code, &format!("{code_prefix}:{code_local}"));
        match version {
            SoapVersion::V11 => {
                let reason = add(document, fault, "faultstring");
                document.set_text(reason, &self.reason);
                if let Some(role) = &self.role {
                    let actor = add(document, fault, "faultactor");
                    document.set_text(actor, role);
                }
            }
            SoapVersion::V12 => {
                let reason = add(document, fault, "Reason");
                let text = add(document, reason, "Text");
                document.set_attribute(
                    text,
                    "xml",
                    "http://www.w3.org/XML/1998/namespace",
                    "lang",
                    "en",
                );
                document.set_text(text, &self.reason);
                for (name, value) in [("Node", &self.node), ("Role", &self.role)] {
                    if let Some(value) = value {
                        let element = add(document, fault, name);
                        document.set_text(element, value);
                    }
                }
            }
        }
        if let Some(detail) = &self.detail {
            let name = match version {
                SoapVersion::V11 => "detail",
                SoapVersion::V12 => "Detail",
            };
            let element = add(document, fault, name);
            match detail {
                Detail::Text(text) => document.set_text(element, text),
                Detail::Nodes(nodes) => {
                    for node in &nodes.1 {
                        let copy = document.import(&nodes.0, *node);
                        document.append_child(element, copy);
                    }
                }
            }
        }
    }

    /// Detail text, else the reason: what the REST form of a fault shows (spec 01 §11.4).
    pub fn rest_text(&self) -> String {
        let detail = self.detail.as_ref().map(|d| match d {
            Detail::Text(text) => text.clone(),
            Detail::Nodes(nodes) => nodes
                .1
                .iter()
                .map(|n| nodes.0.string_value(*n).into_owned())
                .collect(),
        });
        detail
            .filter(|d| !d.trim().is_empty())
            .unwrap_or_else(|| self.reason.clone())
    }
}
