//! Writing answers and faults in the four formats.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use serde_json::{Map, Value as Json, json};

use super::message::{Format, Problem, SOAP11, SOAP12};
use super::quote::Value;

const NAMESPACE: &str = "http://services.samples";
const TYPES: &str = "http://services.samples/xsd";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

impl Format {
    /// Media type of a message in this format.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Soap11 => "text/xml; charset=UTF-8",
            Self::Soap12 => "application/soap+xml; charset=UTF-8",
            Self::Pox => "application/xml; charset=UTF-8",
            Self::Json => "application/json",
        }
    }
}

/// The answer of an operation.
pub(super) fn answer(format: Format, operation: &str, value: &Value) -> String {
    if format == Format::Json {
        let mut answer = Map::new();
        answer.insert(
            format!("{operation}Response"),
            json!({ "return": to_json(value) }),
        );
        return Json::Object(answer).to_string();
    }
    let mut payload = format!("<ns:{operation}Response xmlns:ns=\"{NAMESPACE}\">");
    let declarations = format!(" xmlns:ax21=\"{TYPES}\" xmlns:xsi=\"{INSTANCE}\"");
    write_xml(&mut payload, "ns:return", &declarations, value);
    let _ = write!(payload, "</ns:{operation}Response>");
    in_envelope(format, payload)
}

/// The answer to a request that was not carried out.
pub(super) fn fault(format: Format, problem: &Problem) -> String {
    let reason = xml_text(&problem.to_string());
    let callers = problem.is_callers();
    let code = if callers { "Client" } else { "Server" };
    match format {
        Format::Json => {
            json!({ "Fault": { "faultcode": code, "faultstring": problem.to_string() } })
                .to_string()
        }
        Format::Soap11 => in_envelope(
            format,
            format!(
                "<soapenv:Fault><faultcode>soapenv:{code}</faultcode>\
                 <faultstring>{reason}</faultstring><detail/></soapenv:Fault>"
            ),
        ),
        Format::Pox => format!(
            "<soapenv:Fault xmlns:soapenv=\"{SOAP11}\"><faultcode>soapenv:{code}</faultcode>\
             <faultstring>{reason}</faultstring><detail/></soapenv:Fault>"
        ),
        Format::Soap12 => {
            let code = if callers { "Sender" } else { "Receiver" };
            in_envelope(
                format,
                format!(
                    "<soapenv:Fault><soapenv:Code><soapenv:Value>soapenv:{code}</soapenv:Value>\
                     </soapenv:Code><soapenv:Reason><soapenv:Text xml:lang=\"en-US\">{reason}\
                     </soapenv:Text></soapenv:Reason></soapenv:Fault>"
                ),
            )
        }
    }
}

fn in_envelope(format: Format, payload: String) -> String {
    let namespace = match format {
        Format::Soap11 => SOAP11,
        Format::Soap12 => SOAP12,
        Format::Pox | Format::Json => return payload,
    };
    format!(
        "<?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope xmlns:soapenv=\"{namespace}\">\
         <soapenv:Body>{payload}</soapenv:Body></soapenv:Envelope>"
    )
}

fn write_xml(out: &mut String, name: &str, attributes: &str, value: &Value) {
    let _ = write!(out, "<{name}{attributes}");
    match value {
        Value::Text(text) => {
            let _ = write!(out, ">{}", xml_text(text));
        }
        Value::Number(number) => {
            let _ = write!(out, ">{number}");
        }
        Value::Integer(number) => {
            let _ = write!(out, ">{number}");
        }
        Value::Record { kind, fields } => {
            let _ = write!(out, " xsi:type=\"ax21:{kind}\">");
            for (field, value) in fields {
                write_xml(out, &format!("ax21:{field}"), "", value);
            }
        }
    }
    let _ = write!(out, "</{name}>");
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(number) => Json::from(number.0 as f64 / 100.0),
        Value::Integer(number) => Json::from(*number),
        Value::Record { kind, fields } => {
            let mut object = Map::new();
            for (name, value) in fields {
                let value = to_json(value);
                match object.get_mut(*name) {
                    Some(Json::Array(items)) => items.push(value),
                    _ if is_list(kind) => {
                        object.insert((*name).to_owned(), json!([value]));
                    }
                    _ => {
                        object.insert((*name).to_owned(), value);
                    }
                }
            }
            Json::Object(object)
        }
    }
}

/// Whether the fields of a type repeat. Such a field is an array even with one entry, so that
/// clients need not handle two shapes.
fn is_list(kind: &str) -> bool {
    matches!(kind, "GetFullQuoteResponse" | "GetMarketActivityResponse")
}

/// Escapes text for XML. Symbols from JSON or a query string may contain characters that XML
/// cannot hold at all; these become U+FFFD.
pub(super) fn xml_text(text: &str) -> String {
    let allowed = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            || c >= '\u{10000}'
    };
    let clean: String = text
        .chars()
        .map(|c| if allowed(c) { c } else { '\u{fffd}' })
        .collect();
    escape(clean).into_owned()
}
