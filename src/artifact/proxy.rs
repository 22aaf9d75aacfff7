//! `<proxy>`: a proxy service (spec 01 §6.1).

use super::WsdlDef;
use crate::diag::{Diagnostic, Place, codes};
use crate::endpoint::{self, EndpointDef};
use crate::mediator::ListDef;
use crate::mediator::sequence::on_error;
use crate::syntax::{Element, Reader, text_of};
use std::sync::Arc;

/// A proxy service as it is written.
#[derive(Debug)]
pub struct ProxyDef {
    /// `name`.
    pub name: String,
    /// Exposed over HTTP.
    pub http: bool,
    /// Exposed over HTTPS.
    pub https: bool,
    /// Started; otherwise calls are refused.
    pub started: bool,
    /// Server names it is pinned to; empty means all.
    pub pinned: Vec<String>,
    /// The in path.
    pub in_sequence: Option<SequenceRef>,
    /// The out path.
    pub out_sequence: Option<SequenceRef>,
    /// The fault path.
    pub fault_sequence: Option<SequenceRef>,
    /// The target endpoint.
    pub endpoint: Option<Arc<EndpointDef>>,
    /// The key of the target's `endpoint` attribute.
    pub endpoint_key: Option<String>,
    /// The description that it publishes.
    pub wsdl: Option<WsdlDef>,
}

/// A sequence by key or inline.
#[derive(Debug)]
pub enum SequenceRef {
    /// Its name and where that is written.
    Key(String, Place),
    /// Its mediators and `onError`.
    Inline(ListDef, Option<(String, Place)>),
}

const CHILDREN: &[&str] = &[
    "target",
    "description",
    "parameter",
    "publishWSDL",
    "policy",
    "enableAddressing",
    "enableSec",
];

/// Transports that a proxy can name but that have no listener yet.
const OTHER_TRANSPORTS: &[&str] = &[
    "vfs", "jms", "rabbitmq", "mailto", "mqtt", "tcp", "udp", "hl7", "fix", "ws", "wss", "nhttp",
];

impl ProxyDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<ProxyDef> {
        reader.known_attributes(
            element,
            &[
                "name",
                "startOnLoad",
                "transports",
                "pinnedServers",
                "serviceGroup",
                "statistics",
                "trace",
                "description",
            ],
        );
        let name = reader.required(element, "name")?.to_owned();
        let (http, https) = transports(reader, element);
        let started = match element.attribute("startOnLoad") {
            None => true,
            Some(text) => {
                let started = text.eq_ignore_ascii_case("true");
                if !started && !text.eq_ignore_ascii_case("false") {
                    let place = reader.attribute_place(element, "startOnLoad");
                    reader.report(
                        Diagnostic::warning(
                            codes::INVALID_VALUE,
                            place,
                            format!("startOnLoad=\"{text}\" means false: the proxy service is not started"),
                        )
                        .help("write startOnLoad=\"true\""),
                    );
                }
                started
            }
        };
        let mut out = ProxyDef {
            name,
            http,
            https,
            started,
            pinned: words(element.attribute("pinnedServers").unwrap_or_default()),
            in_sequence: None,
            out_sequence: None,
            fault_sequence: None,
            endpoint: None,
            endpoint_key: None,
            wsdl: None,
        };
        let mut target = None;
        let mut use_original = false;
        let mut modify = true;
        for child in reader.children(element) {
            match reader.name(child) {
                Some("target") => target = Some(child),
                Some("description" | "enableAddressing") => {}
                Some("parameter") => {
                    reader.known_attributes(child, &["name", "locked"]);
                    let value = text_of(child);
                    match reader.required(child, "name") {
                        Some("useOriginalwsdl") => {
                            use_original = value.eq_ignore_ascii_case("true")
                        }
                        Some("modifyUserWSDLPortAddress") => {
                            modify = !value.eq_ignore_ascii_case("false");
                        }
                        _ => {}
                    }
                }
                Some("publishWSDL") => out.wsdl = WsdlDef::parse(reader, child),
                Some(name @ ("policy" | "enableSec")) => {
                    let place = reader.place(child);
                    reader.unsupported(
                        place,
                        format!("<{name}> (WS-Security and policies) is not supported"),
                        Some("protect the service with TLS or a gateway in front of it"),
                    );
                }
                _ => reader.unknown_element(child, "proxy", CHILDREN),
            }
        }
        if let Some(wsdl) = &mut out.wsdl {
            wsdl.keep_addresses = use_original && !modify;
        }
        let Some(target) = target else {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                "Target is required for a proxy service definition",
            );
            return None;
        };
        out.read_target(reader, target);
        Some(out)
    }

    fn read_target(&mut self, reader: &mut Reader, target: Element<'_, '_>) {
        reader.known_attributes(
            target,
            &["inSequence", "outSequence", "faultSequence", "endpoint"],
        );
        let before = reader.errors();
        for child in reader.children(target) {
            match reader.name(child) {
                Some("inSequence") => self.in_sequence = Some(inline(reader, child)),
                Some("outSequence") => self.out_sequence = Some(inline(reader, child)),
                Some("faultSequence") => self.fault_sequence = Some(inline(reader, child)),
                Some("endpoint") => self.endpoint = endpoint::parse(reader, child).map(Arc::new),
                _ => reader.unknown_element(
                    child,
                    "target",
                    &["inSequence", "outSequence", "faultSequence", "endpoint"],
                ),
            }
        }
        // Key attributes win over inline children.
        for (name, slot) in [
            ("inSequence", &mut self.in_sequence),
            ("outSequence", &mut self.out_sequence),
            ("faultSequence", &mut self.fault_sequence),
        ] {
            if let Some(key) = target.attribute(name) {
                *slot = Some(SequenceRef::Key(
                    key.to_owned(),
                    reader.attribute_place(target, name),
                ));
            }
        }
        if let Some(key) = target.attribute("endpoint") {
            self.endpoint_key = Some(key.to_owned());
            self.endpoint = Some(Arc::new(endpoint::parse::reference(
                reader, target, "endpoint",
            )));
        }
        if self.in_sequence.is_none() && self.endpoint.is_none() && reader.errors() == before {
            let place = reader.place(target);
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                "Target of the proxy service must declare either an inSequence or endpoint or both",
            );
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split([' ', ',', '\t', '\n'])
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

fn transports(reader: &mut Reader, element: Element<'_, '_>) -> (bool, bool) {
    let Some(text) = element.attribute("transports") else {
        return (true, true);
    };
    let names = words(text);
    if names.is_empty() || names.iter().any(|n| n == "all") {
        return (true, true);
    }
    let has = |name: &str| names.iter().any(|n| n == name);
    let exposed = (has("http"), has("https"));
    let place = reader.attribute_place(element, "transports");
    let other: Vec<&str> = OTHER_TRANSPORTS
        .iter()
        .copied()
        .filter(|t| has(t))
        .collect();
    if !other.is_empty() {
        let text = format!("the transport {} has no listener yet", other.join(", "));
        if exposed == (false, false) {
            reader.unsupported(place, text, Some("use http or https"));
        } else {
            reader.warning(codes::UNSUPPORTED, place, text);
        }
    }
    exposed
}

fn inline(reader: &mut Reader, element: Element<'_, '_>) -> SequenceRef {
    reader.mediator_attributes(element, &["onError", "name"]);
    SequenceRef::Inline(
        ListDef::parse(reader, element, &[]),
        on_error(reader, element),
    )
}
