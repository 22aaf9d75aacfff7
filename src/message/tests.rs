use super::outgoing::{new_uuid, strip_hop};
use super::*;

mod build;
mod write;

use http::header::{CONNECTION, HOST};

fn message(content_type: Option<&str>, body: &'static str) -> Message {
    let mut headers = HeaderMap::new();
    if let Some(text) = content_type {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(Box::leak(text.to_owned().into_boxed_str())),
        );
    }
    let body = if body.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(Bytes::from_static(body.as_bytes()))
    };
    Message::request(
        Method::POST,
        Uri::from_static("/services/P/x?y=1"),
        headers,
        body,
    )
}

const SOAP: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><a/></s:Body></s:Envelope>"#;

#[tokio::test]
async fn unchanged_bodies_are_written_as_they_came() {
    for (content_type, body) in [
        ("text/xml", SOAP),
        ("text/xml", "<?xml version=\"1.0\"?>\n<a  b='1'/>"),
        ("application/xml", "<a  b='1'/>"),
        ("application/json", " {\"a\" : 1.50} "),
        ("text/plain", "hello"),
        ("application/octet-stream", "\u{1}\u{2}"),
        ("application/x-www-form-urlencoded", "a=b&c=%20"),
    ] {
        let mut message = message(Some(content_type), body);
        message.build(&BodyLimits::default()).await.unwrap();
        message.envelope().unwrap();
        assert_eq!(message.write_body().unwrap(), body, "{content_type}");
    }
}

#[tokio::test]
async fn text_xml_is_soap_when_its_root_is_an_envelope() {
    let mut soap = message(Some("text/xml"), SOAP);
    soap.build(&BodyLimits::default()).await.unwrap();
    assert!(!soap.rest);
    assert!(!soap.envelope().unwrap().synthetic);
    let mut plain = message(Some("text/xml"), "<a/>");
    plain.build(&BodyLimits::default()).await.unwrap();
    assert!(plain.rest);
    assert!(plain.envelope().unwrap().synthetic);
}

#[tokio::test]
async fn a_broken_body_faults_once_and_leaves_an_empty_envelope() {
    let mut broken = message(Some("text/xml"), "<a><b></a>");
    let fault = broken.build(&BodyLimits::default()).await.unwrap_err();
    assert_eq!(fault.code, 601_000);
    assert!(broken.build(&BodyLimits::default()).await.is_ok());
    assert!(broken.envelope().unwrap().payload().is_none());
}

#[tokio::test]
async fn payloads_convert_between_forms() {
    for (from, body, to, expected) in [
        (
            "application/json",
            "{\"a\":{\"b\":1}}",
            "application/xml",
            "<jsonObject><a><b>1</b></a></jsonObject>",
        ),
        (
            "application/xml",
            "<a><b>1</b></a>",
            "application/json",
            "{\"a\":{\"b\":1}}",
        ),
        (
            "application/json/badgerfish",
            "{\"a\":{\"@x\":\"1\",\"$\":\"t\"}}",
            "application/xml",
            "<a x=\"1\">t</a>",
        ),
        (
            "application/xml",
            "<a x=\"1\">t</a>",
            "application/json/badgerfish",
            "{\"a\":{\"@x\":\"1\",\"$\":\"t\"}}",
        ),
        (
            "text/plain",
            "x<y",
            "application/json",
            "{\"text\":\"x<y\"}",
        ),
        (
            "application/x-www-form-urlencoded",
            "a=b+c&1=d",
            "application/xml",
            "<xformValues><y>1</y><a>b c</a><_JsonReader_PD_1>d</_JsonReader_PD_1></xformValues>",
        ),
        (
            "application/xml",
            "<f><a>b c</a><d>&amp;</d></f>",
            "application/x-www-form-urlencoded",
            "a=b%20c&d=%26",
        ),
    ] {
        let mut message = message(Some(from), body);
        message.build(&BodyLimits::default()).await.unwrap();
        message.set_message_type(to);
        let written = message.write_body().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&written),
            expected,
            "{from} to {to}"
        );
    }
}

#[test]
fn soap_versions_convert_with_headers_and_faults() {
    let text = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h xmlns="u" s:actor="a" s:mustUnderstand="1"/></s:Header><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>R</faultstring><detail><d/></detail></s:Fault></s:Body></s:Envelope>"#;
    let parsed = Envelope::parse(
        Bytes::from_static(text.as_bytes()),
        &crate::xml::Limits::default(),
    )
    .unwrap();
    let converted = parsed.convert(SoapVersion::V12);
    let shown = converted.document.to_xml(converted.root);
    expect_test::expect![[r#"<soapenv:Envelope xmlns:soapenv="http://www.w3.org/2003/05/soap-envelope"><soapenv:Header><h xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns="u" soapenv:role="a" soapenv:mustUnderstand="1"/></soapenv:Header><soapenv:Body><soapenv:Fault><soapenv:Code><soapenv:Value>soapenv:Sender</soapenv:Value></soapenv:Code><soapenv:Reason><soapenv:Text xml:lang="en">R</soapenv:Text></soapenv:Reason><soapenv:Detail><d/></soapenv:Detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"#]].assert_eq(&shown);
    let back = converted.convert(SoapVersion::V11);
    let shown = back.document.to_xml(back.root);
    assert!(
        shown.contains(
            "<faultcode>soapenv:Client</faultcode><faultstring>R</faultstring><detail><d/></detail>"
        ),
        "{shown}"
    );
    assert!(shown.contains(":actor=\"a\""), "{shown}");
}

#[test]
fn connection_headers_never_travel() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, X-Secret"),
        ("x-secret", "1"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("x-kept", "2"),
        ("host", "h"),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    strip_hop(&mut headers);
    let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-kept", "host"]);
    headers.insert(CONNECTION, HeaderValue::from_static("host"));
    strip_hop(&mut headers);
    assert!(headers.contains_key(HOST));
}

#[test]
fn uuids_are_version_four_and_differ() {
    let (a, b) = (new_uuid(), new_uuid());
    assert_ne!(a, b);
    for id in [a, b] {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}

#[test]
fn an_exchange_is_answered_once() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let exchange = Exchange::new(address, address, false, ClientFormat::Rest);
    assert!(exchange.answer(outgoing::accepted()));
    assert!(!exchange.answer(outgoing::accepted()));
    assert_eq!(exchange.late_answers(), 1);
    assert!(exchange.take().is_some());
    assert!(exchange.take().is_none());
}

#[test]
fn error_properties_follow_the_fault() {
    let mut message = message(None, "");
    message.report(&Fault::mediation("first\nsecond"));
    assert_eq!(message.properties.get("ERROR_CODE").unwrap().text(), "0");
    assert_eq!(message.properties.str("ERROR_MESSAGE"), Some("first"));
    // A later exception leaves the old values, a transport error replaces them.
    message.report(&Fault::mediation("other"));
    assert_eq!(message.properties.str("ERROR_MESSAGE"), Some("first"));
    message.report(&Fault::endpoint(
        101_503,
        "Error connecting to the back end",
    ));
    assert_eq!(
        message.properties.get("ERROR_CODE").unwrap().text(),
        "101503"
    );
}

#[test]
fn response_property_wins_over_the_direction() {
    let mut message = message(None, "");
    assert!(!message.is_response());
    message.properties.set("RESPONSE", "true");
    assert!(message.is_response());
    message.properties.set("RESPONSE", Value::Boolean(true));
    assert!(!message.is_response());
}

/// The JSON view is made once and made anew when somebody has edited the body.
#[tokio::test]
async fn the_json_view_is_parsed_once_and_follows_edits() {
    for (content_type, body, before) in [
        (
            "application/json",
            "{\"a\":{\"b\":1.50}}",
            "{\"a\":{\"b\":1.50}}",
        ),
        (
            "application/xml",
            "<a><b>1.50</b></a>",
            "{\"a\":{\"b\":1.50}}",
        ),
    ] {
        let mut message = message(Some(content_type), body);
        let built = message.build(&BodyLimits::default()).await.unwrap();
        let first: *const crate::json::Value = built.json_tree().unwrap().unwrap();
        let again = built.json_tree().unwrap().unwrap();
        assert!(std::ptr::eq(first, again));
        assert_eq!(crate::json::to_text(again), before);

        let envelope = built.envelope_mut().unwrap();
        let payload = envelope.payload().unwrap();
        let document = &mut envelope.document;
        let added = document.create_element("", "", "c");
        document.set_text(added, "x");
        document.append_child(payload, added);
        let after = crate::json::to_text(built.json_tree().unwrap().unwrap());
        assert!(after.contains("\"c\":\"x\""), "{after}");
    }
    let mut nothing = message(None, "");
    let built = nothing.build(&BodyLimits::default()).await.unwrap();
    assert_eq!(built.json_tree(), Ok(None));
    let mut broken = message(Some("application/json"), "{\"a\":}");
    let built = broken.build(&BodyLimits::default()).await.unwrap();
    assert!(built.json_tree().is_err());
}
