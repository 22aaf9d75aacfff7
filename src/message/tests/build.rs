//! How bodies are built: spec 01 §2.3 to §2.5 and the left side of §16.2.

use super::*;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH};
use std::io::Write;

/// A request with headers and a body.
pub(super) fn request(
    method: &str,
    uri: &'static str,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Bytes>,
) -> Message {
    let headers = headers
        .iter()
        .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
        .collect();
    let body = body.into();
    let body = if body.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(body)
    };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Message::request(method, Uri::from_static(uri), headers, body)
}

fn post(content_type: &'static str, body: impl Into<Bytes>) -> Message {
    request(
        "POST",
        "/services/P",
        &[("content-type", content_type)],
        body,
    )
}

async fn built(mut message: Message) -> Message {
    message.build(&BodyLimits::default()).await.unwrap();
    message
}

async fn fault(mut message: Message) -> Fault {
    message.build(&BodyLimits::default()).await.unwrap_err()
}

/// The first element of the body as text.
fn shown(message: &Message) -> String {
    let envelope = message.envelope().unwrap();
    envelope
        .payload()
        .map_or_else(String::new, |p| envelope.document.to_xml(p))
}

#[tokio::test]
async fn rule_1_nothing_is_parsed_without_a_content_type() {
    let mut message = post("text/xml", "<a>");
    message.content_type = None;
    let message = built(message).await;
    assert_eq!(shown(&message), "");
    assert!(message.is_built());
}

#[tokio::test]
async fn rule_2_a_blank_body_of_delete_is_none() {
    let headers = [("content-type", "application/xml")];
    for body in ["", "   "] {
        let message = built(request("DELETE", "/services/P", &headers, body)).await;
        assert!(message.has_no_entity(), "{body:?}");
    }
    let message = built(request("DELETE", "/services/P", &headers, "<a/>")).await;
    assert_eq!(shown(&message), "<a/>");
    assert_eq!(
        fault(request("PUT", "/services/P", &headers, "   "))
            .await
            .code,
        601_000
    );
}

#[tokio::test]
async fn rule_3_content_codings_are_decoded_and_kept_for_the_way_out() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"a\": 1}").unwrap();
    let packed = Bytes::from(gzip.finish().unwrap());
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let mut message = built(request("POST", "/services/P", &headers, packed.clone())).await;
    assert_eq!(shown(&message), "<jsonObject><a>1</a></jsonObject>");

    // Not changed: the bytes that came. Changed: packed again. Header gone: plain.
    let sent = message.take_wire_body().unwrap();
    assert_eq!(sent.collect(1000).await.unwrap(), packed);
    let envelope = message.envelope_mut().unwrap();
    let payload = envelope.payload().unwrap();
    let a = envelope.document.child_elements(payload).next().unwrap();
    envelope.document.set_text(a, "2");
    let sent = message
        .take_wire_body()
        .unwrap()
        .collect(1000)
        .await
        .unwrap();
    assert_ne!(sent, packed);
    let codings = coding::Codings::parse("gzip").unwrap();
    assert_eq!(codings.decode(&sent, 1000).unwrap(), "{\"a\":2}");
    message.headers.remove(CONTENT_ENCODING);
    let sent = message
        .take_wire_body()
        .unwrap()
        .collect(1000)
        .await
        .unwrap();
    assert_eq!(sent, "{\"a\":2}");
}

#[tokio::test]
async fn rule_3_a_bomb_is_too_large_and_garbage_is_code_0() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let mut bomb = request("POST", "/services/P", &headers, gzip.finish().unwrap());
    let limits = BodyLimits {
        max_bytes: 100_000,
        ..BodyLimits::default()
    };
    assert_eq!(bomb.build(&limits).await.unwrap_err().status, Some(413));
    assert_eq!(
        fault(request("POST", "/services/P", &headers, "plain"))
            .await
            .code,
        0
    );
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "zstd"),
    ];
    assert_eq!(
        fault(request("POST", "/services/P", &headers, "{}"))
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn rule_4_octet_stream_without_bytes_is_none() {
    let message = built(post("application/octet-stream", "")).await;
    assert!(message.has_no_entity());
}

#[tokio::test]
async fn rule_5_length_zero_of_soap_becomes_an_empty_envelope_and_xml() {
    let headers = [("content-type", "text/xml"), ("content-length", "0")];
    let message = built(request("POST", "/services/P", &headers, "")).await;
    assert_eq!(message.message_type.as_deref(), Some("application/xml"));
    assert_eq!(shown(&message), "");
    let headers = [
        ("content-type", "application/json"),
        ("content-length", "0"),
    ];
    let message = built(request("POST", "/services/P", &headers, "")).await;
    assert_eq!(message.message_type, None);
    assert!(message.headers.contains_key(CONTENT_LENGTH));
}

#[tokio::test]
async fn rule_6_unknown_types_are_xml_for_rest_and_soap_else() {
    let message = built(post("text/html", "<html><p/></html>")).await;
    assert_eq!(shown(&message), "<html><p/></html>");
    for content_type in ["text/html", "text/csv", "image/png", "x/y"] {
        assert_eq!(
            fault(post(content_type, "a,b")).await.code,
            601_000,
            "{content_type}"
        );
    }
    let mut soap = post("text/xml", "");
    soap.content_type = Some(HeaderValue::from_static("x/y"));
    soap.body = Body::Bytes(Bytes::from_static(SOAP.as_bytes()));
    let soap = built(soap).await;
    assert_eq!(shown(&soap), "<a/>");
    assert!(!soap.envelope().unwrap().synthetic);
}

#[tokio::test]
async fn rule_7_addressing_headers_are_read_when_the_body_is_built() {
    let soap = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><w:Action>urn:do</w:Action><w:ReplyTo><w:Address>http://r</w:Address></w:ReplyTo></s:Header><s:Body/></s:Envelope>"#;
    let mut message = post("text/xml", soap);
    assert_eq!(message.action(), None);
    message.build(&BodyLimits::default()).await.unwrap();
    assert_eq!(message.action().as_deref(), Some("urn:do"));
    assert_eq!(message.reply_to.as_deref(), Some("http://r"));
}

#[tokio::test]
async fn rule_8_document_types_are_refused() {
    let fault = fault(post(
        "application/xml",
        "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
    ))
    .await;
    assert_eq!(fault.code, 601_000);
}

#[tokio::test]
async fn rule_9_a_202_without_body_has_no_entity() {
    let mut message = post("text/xml", SOAP);
    let (head, ()) = http::Response::builder()
        .status(202)
        .body(())
        .unwrap()
        .into_parts();
    message.become_response(head, Body::Empty);
    assert!(message.has_no_entity());
    let message = built(message).await;
    assert!(message.has_no_entity());
}

#[tokio::test]
async fn accept_of_a_request_chooses_the_form_of_a_built_body() {
    let accept = |value| {
        let headers = [("content-type", "text/xml"), ("accept", value)];
        request("POST", "/services/P", &headers, SOAP)
    };
    for (value, chosen) in [
        ("application/json", Some("application/json")),
        (
            "text/html, application/json;q=0.9",
            Some(" application/json"),
        ),
        ("text/html;q=1, application/json", None),
        ("text/xml, multipart/related", None),
        (
            "text/plain, application/octet-stream, application/json",
            Some(" application/json"),
        ),
        ("*/*", None),
        ("text/xml", None),
    ] {
        let mut message = accept(value);
        message.build(&BodyLimits::default()).await.unwrap();
        assert_eq!(message.message_type.as_deref(), chosen, "{value}");
        // Only the body changes its form, not what it is called.
        assert_eq!(message.content_type(), Some("text/xml"));
    }
    let mut message = accept("application/json");
    message.build(&BodyLimits::default()).await.unwrap();
    assert_eq!(message.write_body().unwrap(), "{\"a\":null}");
    // A setting switches it off, and responses have none.
    let limits = BodyLimits {
        negotiate: false,
        ..BodyLimits::default()
    };
    let mut message = accept("application/json");
    message.build(&limits).await.unwrap();
    assert_eq!(message.write_body().unwrap(), SOAP);
    let mut message = accept("application/json");
    message.status = Some(200);
    message.build(&BodyLimits::default()).await.unwrap();
    assert_eq!(message.message_type, None);
    assert!(message.headers.contains_key(ACCEPT));
}

#[tokio::test]
async fn failures_have_code_601000_only_when_a_parser_failed() {
    for (content_type, body, code) in [
        ("text/xml", "<a><b></a>", 601_000),
        ("application/xml", "text", 601_000),
        ("application/json", "nonsense", 0),
        ("application/soap+xml", "<a/>", 0),
        ("application/soap+xml", SOAP, 0),
        ("multipart/form-data", "x", 0),
        ("multipart/form-data; boundary=b", "--b\r\n\r\nx", 0),
        ("application/json; charset=nonsense", "{", 0),
    ] {
        let mut message = post(content_type, body);
        let code_found = match message.build(&BodyLimits::default()).await {
            Err(fault) => fault.code,
            // JSON is looked at when somebody asks for its XML.
            Ok(_) => 0,
        };
        assert_eq!(code_found, code, "{content_type} {body}");
    }
}

#[tokio::test]
async fn queries_are_fields_where_an_operation_is_named() {
    let get = |uri, end, postfix: &str| {
        let mut message = request("GET", uri, &[], "");
        message.service_end = end;
        message.rest_postfix = Some(postfix.to_owned());
        message
    };
    let message = built(get(
        "/services/P/mediate?a=1&$b=x+y",
        11,
        "/mediate?a=1&$b=x+y",
    ))
    .await;
    assert_eq!(
        shown(&message),
        "<xformValues><a>1</a><_JsonReader_PS_b>x y</_JsonReader_PS_b></xformValues>"
    );
    let message = built(get("/services/P?a=1", 11, "?a=1")).await;
    assert_eq!(shown(&message), "");
    assert_eq!(message.version, SoapVersion::V12);
    // JSON of a GET is in its query.
    let headers = [("content-type", "application/json")];
    let message = built(request(
        "GET",
        "/services/P?q=%7B%22a%22:1%7D",
        &headers,
        "",
    ))
    .await;
    assert_eq!(shown(&message), "<jsonObject><a>1</a></jsonObject>");
    let message = built(request("GET", "/services/P?q=x", &headers, "")).await;
    assert!(message.has_no_entity());
}

#[tokio::test]
async fn forms_merge_their_query_and_their_body() {
    let headers = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=ISO-8859-1",
    )];
    let mut message = request("POST", "/services/P?a=1", &headers, "b=%E9&1c=d");
    message.build(&BodyLimits::default()).await.unwrap();
    assert_eq!(
        shown(&message),
        "<xformValues><a>1</a><b>é</b><_JsonReader_PD_1c>d</_JsonReader_PD_1c></xformValues>"
    );
    assert_eq!(message.write_body().unwrap(), "b=%E9&1c=d");
    let message = built(request("POST", "/services/P?a=1", &headers, "")).await;
    assert_eq!(shown(&message), "<xformValues><a>1</a></xformValues>");
}

#[tokio::test]
async fn text_is_read_in_its_character_set() {
    for (content_type, body, expected) in [
        ("text/plain; charset=ISO-8859-1", &b"\xe9"[..], "é"),
        (
            "text/plain; charset=\"utf-16\"",
            &b"\xfe\xff\x00\xe9"[..],
            "é",
        ),
        ("text/plain", "é\u{1}".as_bytes(), "é\u{fffd}"),
    ] {
        let message = built(post(content_type, body)).await;
        let envelope = message.envelope().unwrap();
        let text = envelope.document.string_value(envelope.payload().unwrap());
        assert_eq!(text, expected, "{content_type}");
    }
    let message = built(post(
        "application/json; charset=latin1",
        &b"{\"a\":\"\xe9\"}"[..],
    ))
    .await;
    assert_eq!(shown(&message), "<jsonObject><a>é</a></jsonObject>");
    let Body::Built(json) = &message.body else {
        panic!("not built")
    };
    assert_eq!(json.json().unwrap(), "{\"a\":\"é\"}");
}

#[tokio::test]
async fn structured_suffixes_have_builders() {
    let message = built(post("application/problem+json", "{\"a\":1}")).await;
    assert_eq!(shown(&message), "<jsonObject><a>1</a></jsonObject>");
    let message = built(post("application/atom+xml", "<a/>")).await;
    assert_eq!(shown(&message), "<a/>");
}

/// The beginning is only a hint: what decides is the root, wherever "Envelope" stands.
#[tokio::test]
async fn an_envelope_is_told_by_its_root() {
    let soap = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><a/></e:Body></e:Envelope>";
    let late = format!("<!--{}-->{soap}", " ".repeat(1000));
    for text in [soap.to_owned(), late] {
        let message = built(post("text/xml", text)).await;
        assert!(!message.envelope().unwrap().synthetic);
        assert_eq!(shown(&message), "<a/>");
    }
    for text in [
        "<a><Envelope/></a>",
        "<Envelope xmlns=\"urn:x\"><Body/></Envelope>",
        "<!-- Envelope --><a/>",
    ] {
        let message = built(post("text/xml", text)).await;
        assert!(message.envelope().unwrap().synthetic, "{text}");
    }
    for text in ["<a><Envelope></a>", "<!-- Envelope --><a>"] {
        assert_eq!(fault(post("text/xml", text)).await.code, 601_000);
    }
}

#[test]
fn parameters_of_a_content_type() {
    use crate::message::media::parameter;
    for (content_type, expected) in [
        ("text/xml", None),
        ("charset=a", None),
        ("text/xml;charset=a", Some("a")),
        ("text/xml; x; CharSet = \"a\" ;charset=b", Some("a")),
        ("text/xml;;=;charset=", Some("")),
        ("text/xml; mycharset=a; charset", None),
    ] {
        assert_eq!(
            parameter(content_type, "charset"),
            expected,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn json_that_nobody_asks_for_as_xml_becomes_none() {
    let mut message = built(post("application/json", r#"{"Fault": {"a": 1}}"#)).await;
    message.strip_addressing();
    assert!(!message.is_soap_fault());
    let Body::Built(body) = &message.body else {
        panic!("the body is built");
    };
    assert!(body.json_tree().unwrap().is_some());
    assert!(body.made_envelope().is_none(), "only for who asks for it");
    assert!(message.envelope().is_some());
    assert!(!message.is_soap_fault());
}
