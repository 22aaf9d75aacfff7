//! Reading requests: SOAP, plain XML, JSON, forms and query strings into one [`Call`].

use quick_xml::NsReader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use serde_json::Value as Json;
use thiserror::Error;

pub(super) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(super) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// Elements may nest this deep; deeper documents are refused.
const MAX_DEPTH: usize = 128;
/// A small request must not be able to ask for an answer of any size.
const MAX_SYMBOLS: usize = 1000;

/// The shape of a message, and so of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Soap11,
    Soap12,
    /// Plain XML: the payload without an envelope.
    Pox,
    Json,
}

/// What the service can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    PlaceOrder,
    GetQuote,
    GetSimpleQuote,
    GetFullQuote,
    GetMarketActivity,
}

impl Operation {
    const ALL: [Self; 5] = [
        Self::PlaceOrder,
        Self::GetQuote,
        Self::GetSimpleQuote,
        Self::GetFullQuote,
        Self::GetMarketActivity,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PlaceOrder => "placeOrder",
            Self::GetQuote => "getQuote",
            Self::GetSimpleQuote => "getSimpleQuote",
            Self::GetFullQuote => "getFullQuote",
            Self::GetMarketActivity => "getMarketActivity",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// All names, for messages to people.
    pub(super) fn list() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) format: Format,
    /// Name of the payload; absent for requests without a body.
    pub(super) payload: Option<String>,
    pub(super) symbols: Vec<String>,
    pub(super) price: Option<String>,
    pub(super) quantity: Option<String>,
}

/// Why a request cannot be carried out.
#[derive(Debug, Error)]
pub(super) enum Problem {
    #[error("the message is not valid UTF-8")]
    Encoding,
    #[error("the message is not well-formed XML: {0}")]
    Xml(#[from] quick_xml::Error),
    #[error("the message is not well-formed XML: {0}")]
    XmlStructure(&'static str),
    #[error("the message has a document type declaration, which is not accepted")]
    Doctype,
    #[error("elements nest deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("the envelope has no Body")]
    NoBody,
    #[error("the message is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the JSON message is not an object")]
    NoObject,
    #[error("more than {MAX_SYMBOLS} symbols in one request")]
    TooManySymbols,
    #[error(
        "no operation: put one of {} into the body, the path or the SOAP action",
        Operation::list()
    )]
    NoOperation,
    #[error("unknown operation {name:?}: the service has {}", Operation::list())]
    UnknownOperation { name: String },
    #[error("{0} needs a symbol")]
    NoSymbol(&'static str),
    #[error("Invalid stock symbol : {0}")]
    InvalidSymbol(String),
    #[error("this back-end was told to answer with status {0}")]
    Injected(u16),
}

impl Problem {
    /// Whether the caller could have avoided it, as opposed to the service being at fault.
    pub(super) fn is_callers(&self) -> bool {
        !matches!(self, Self::Injected(_) | Self::InvalidSymbol(_))
    }
}

impl Call {
    fn new(format: Format) -> Self {
        Self {
            format,
            payload: None,
            symbols: Vec::new(),
            price: None,
            quantity: None,
        }
    }

    /// Takes over a field of the request; names that mean nothing here are ignored, because
    /// clients may send more than the service needs.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let value = value.trim();
        match name {
            "symbol" | "symbols" => {
                if self.symbols.len() >= MAX_SYMBOLS {
                    return Err(Problem::TooManySymbols);
                }
                if !value.is_empty() {
                    self.symbols.push(value.to_owned());
                }
            }
            "price" => self.price = Some(value.to_owned()),
            "quantity" => self.quantity = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Reads a query string or an HTML form.
    pub(super) fn from_form(text: &str, format: Format) -> Result<Self, Problem> {
        let mut call = Self::new(format);
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            call.set(&decode_form(name), &decode_form(value))?;
        }
        Ok(call)
    }

    /// Reads `{"getQuote": {"request": {"symbol": "IBM"}}}`. The outer object may be missing when
    /// path or action name the operation.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let document: Json = serde_json::from_slice(body)?;
        let object = document.as_object().ok_or(Problem::NoObject)?;
        let mut call = Self::new(Format::Json);
        let known = object.keys().find(|name| Operation::named(name).is_some());
        call.payload = known
            .or_else(|| {
                object
                    .iter()
                    .find(|(_, value)| value.is_object())
                    .map(|(name, _)| name)
            })
            .cloned();
        call.collect("", &document)?;
        Ok(call)
    }

    // Recursion is bounded: serde_json refuses documents deeper than 128 levels.
    fn collect(&mut self, name: &str, value: &Json) -> Result<(), Problem> {
        match value {
            Json::Object(fields) => fields
                .iter()
                .try_for_each(|(name, value)| self.collect(name, value)),
            Json::Array(items) => items.iter().try_for_each(|item| self.collect(name, item)),
            Json::String(text) => self.set(name, text),
            Json::Number(number) => self.set(name, &number.to_string()),
            Json::Null | Json::Bool(_) => Ok(()),
        }
    }

    /// Reads a SOAP envelope, whatever its version, or plain XML.
    pub(super) fn from_xml(body: &[u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(body).map_err(|_| Problem::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut walk = Walk::default();
        loop {
            let (namespace, event) = reader.read_resolved_event()?;
            match event {
                Event::Start(start) => {
                    let namespace = match &namespace {
                        ResolveResult::Bound(Namespace(uri)) => uri,
                        _ => "",
                    };
                    walk.open(namespace, &start)?;
                }
                Event::End(end) => walk.close(end.local_name().into_inner())?,
                Event::Text(text) => walk.text(&text.xml10_content()),
                Event::CData(text) => walk.text(&text.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref()? {
                    Some(character) => walk.text(character.encode_utf8(&mut [0; 4])),
                    None => walk.text(
                        resolve_predefined_entity(&reference.xml10_content())
                            .ok_or(Problem::XmlStructure("an entity is not defined"))?,
                    ),
                },
                Event::DocType(_) => return Err(Problem::Doctype),
                // `expand_empty_elements` turns empty elements into a start and an end.
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => return walk.finish(),
            }
        }
    }
}

/// State while the events of an XML document pass by; no tree is built.
#[derive(Default)]
struct Walk {
    depth: usize,
    /// SOAP version, once the root turned out to be an envelope.
    soap: Option<Format>,
    seen_root: bool,
    seen_body: bool,
    in_body: bool,
    call: Option<Call>,
    text_outside_root: bool,
    /// Text of the innermost element, and whether it has had no child elements so far.
    text: String,
    is_leaf: bool,
}

impl Walk {
    fn open(&mut self, namespace: &str, start: &BytesStart<'_>) -> Result<(), Problem> {
        let local_name = start.local_name();
        let name = local_name.into_inner();
        self.depth += 1;
        self.text.clear();
        self.is_leaf = true;
        if self.depth > MAX_DEPTH {
            return Err(Problem::Depth);
        }
        match (self.depth, self.soap) {
            (1, _) => {
                if self.seen_root {
                    return Err(Problem::XmlStructure("there is more than one root element"));
                }
                self.seen_root = true;
                self.soap = match (name, namespace) {
                    ("Envelope", SOAP11) => Some(Format::Soap11),
                    ("Envelope", SOAP12) => Some(Format::Soap12),
                    _ => None,
                };
                if self.soap.is_none() {
                    self.begin_payload(Format::Pox, name);
                }
            }
            (2, Some(version)) => {
                self.in_body = name == "Body"
                    && namespace
                        == if version == Format::Soap11 {
                            SOAP11
                        } else {
                            SOAP12
                        };
                self.seen_body |= self.in_body;
            }
            (3, Some(version)) if self.in_body && self.call.is_none() => {
                self.begin_payload(version, name);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_payload(&mut self, format: Format, name: &str) {
        let mut call = Call::new(format);
        call.payload = Some(name.to_owned());
        self.call = Some(call);
    }

    fn close(&mut self, name: &str) -> Result<(), Problem> {
        let in_payload = self.soap.is_none() || self.in_body;
        if let (true, true, Some(call)) = (self.is_leaf, in_payload, self.call.as_mut()) {
            call.set(name, &self.text)?;
        }
        if self.depth == 2 {
            self.in_body = false;
        }
        self.is_leaf = false;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.is_leaf {
            self.text.push_str(text);
        }
        self.text_outside_root |= self.depth == 0 && !text.trim().is_empty();
    }

    fn finish(self) -> Result<Call, Problem> {
        if !self.seen_root {
            return Err(Problem::XmlStructure("there is no root element"));
        }
        if self.depth > 0 {
            return Err(Problem::XmlStructure("an element is not closed"));
        }
        if self.text_outside_root {
            return Err(Problem::XmlStructure(
                "there is text outside the root element",
            ));
        }
        match (self.call, self.soap) {
            (Some(call), _) => Ok(call),
            (None, Some(version)) if self.seen_body => Ok(Call::new(version)),
            (None, _) => Err(Problem::NoBody),
        }
    }
}

/// Undoes the encoding of forms and query strings; what is not encoded properly stays as it is.
fn decode_form(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'%', high, low, tail @ ..] => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    bytes.push(high << 4 | low);
                    rest = tail;
                    continue;
                }
                bytes.push(b'%');
            }
            [b'+', ..] => bytes.push(b' '),
            [byte, ..] => bytes.push(*byte),
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(body: &str) -> Result<Call, String> {
        Call::from_xml(body.as_bytes()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_soap_body_is_found_and_the_header_is_not_taken_for_it() {
        let call = xml(concat!(
            "\u{feff}<?xml version='1.0'?><e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'>",
            "<e:Header><symbol>NO</symbol></e:Header>",
            "<e:Body><getQuote><request><symbol> A&amp;B<!-- c --><![CDATA[<]]>&#33; </symbol>",
            "</request></getQuote></e:Body></e:Envelope>",
        ))
        .unwrap();
        assert_eq!(call.format, Format::Soap11);
        assert_eq!(call.payload.as_deref(), Some("getQuote"));
        assert_eq!(call.symbols, ["A&B<!"]);
    }

    #[test]
    fn an_envelope_of_another_namespace_is_plain_xml() {
        let call = xml("<Envelope><Body/></Envelope>").unwrap();
        assert_eq!(call.format, Format::Pox);
        assert_eq!(call.payload.as_deref(), Some("Envelope"));
    }

    #[test]
    fn broken_documents_are_refused() {
        let deep = "<a>".repeat(100_000);
        let cases = [
            (
                "",
                "the message is not well-formed XML: there is no root element",
            ),
            (
                "text",
                "the message is not well-formed XML: there is no root element",
            ),
            (
                "<a>",
                "the message is not well-formed XML: an element is not closed",
            ),
            (
                "<a/>b",
                "the message is not well-formed XML: there is text outside the root element",
            ),
            (
                "<a/><b/>",
                "the message is not well-formed XML: there is more than one root element",
            ),
            (
                "<a>&x;</a>",
                "the message is not well-formed XML: an entity is not defined",
            ),
            (
                "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
                "the message has a document type declaration, which is not accepted",
            ),
            (&deep, "elements nest deeper than 128 levels"),
            (
                "<Envelope xmlns='http://www.w3.org/2003/05/soap-envelope'/>",
                "the envelope has no Body",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(xml(body).unwrap_err(), expected);
        }
        assert!(
            xml("<a></b>")
                .unwrap_err()
                .starts_with("the message is not well-formed XML")
        );
        let latin1 = Call::from_xml(b"<a>\xe9</a>").unwrap_err();
        assert_eq!(latin1.to_string(), "the message is not valid UTF-8");
    }

    #[test]
    fn json_is_read_with_and_without_the_outer_object() {
        let call = Call::from_json(br#"{"getQuote":{"request":{"symbol":"IBM"}}}"#).unwrap();
        assert_eq!(call.payload.as_deref(), Some("getQuote"));
        assert_eq!(call.symbols, ["IBM"]);
        let call = Call::from_json(br#"{"symbols":["IBM","SUN"],"price":83.5}"#).unwrap();
        assert_eq!(call.payload, None);
        assert_eq!(call.symbols, ["IBM", "SUN"]);
        assert_eq!(call.price.as_deref(), Some("83.5"));
        assert!(Call::from_json(b"[1]").is_err());
        assert!(Call::from_json("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn the_number_of_symbols_is_bounded() {
        let many = format!("<a>{}</a>", "<symbols>A</symbols>".repeat(MAX_SYMBOLS + 1));
        assert_eq!(
            xml(&many).unwrap_err(),
            "more than 1000 symbols in one request"
        );
    }

    #[test]
    fn forms_are_decoded() {
        let call = Call::from_form("symbol=A%26B+C%zz%&wsdl", Format::Pox).unwrap();
        assert_eq!(call.symbols, ["A&B C%zz%"]);
    }
}
