//! How bodies are written: the right side of spec 01 §16.2, §16.3 and §16.4.

use super::build::request;
use super::*;
use crate::message::request::{RequestPlan, WireRequest};
use crate::message::stream::BodyStream;

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi & bye\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: image/png\r\n\r\nA\r\nB\r\n--b--\r\n";

const XOP: &str = "--b\r\nContent-Type: application/xop+xml; type=\"text/xml\"\r\nContent-ID: <root@x>\r\n\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><doc><x:Include xmlns:x=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:one%40x\"/></doc></s:Body></s:Envelope>\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <one@x>\r\n\r\n%PDF1\r\n--b--\r\n";

async fn built(content_type: &'static str, body: impl Into<Bytes>) -> Message {
    let headers = [("content-type", content_type)];
    let mut message = request("POST", "/services/P", &headers, body);
    message.build(&BodyLimits::default()).await.unwrap();
    message
}

/// Appends an empty element to the payload.
fn edit(message: &mut Message) {
    let envelope = message.envelope_mut().unwrap();
    let payload = envelope.payload().unwrap();
    let new = envelope.document.create_element("", "", "new");
    envelope.document.append_child(payload, new);
}

fn written(message: &mut Message) -> String {
    String::from_utf8_lossy(&message.write_body().unwrap()).into_owned()
}

/// Settles the content type and writes; what differs in every run is replaced.
fn settled(message: &mut Message) -> String {
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    let content_type = message.content_type().unwrap_or_default().to_owned();
    let text = format!("{content_type}\n\n{}", written(message)).replace("\r\n", "\n");
    let boundary = regex::Regex::new("MIMEBoundary_[0-9a-f]{32}").unwrap();
    boundary.replace_all(&text, "BOUNDARY").into_owned()
}

#[tokio::test]
async fn form_data_keeps_its_files_when_it_is_changed() {
    let mut message = built("multipart/form-data; boundary=b", FORM).await;
    let envelope = message.envelope().unwrap();
    assert_eq!(
        envelope.document.to_xml(envelope.payload().unwrap()),
        "<mediate><note>hi &amp; bye</note><file>QQ0KQg==</file></mediate>"
    );
    // Not changed: the bytes that came, and their boundary.
    assert_eq!(written(&mut message), FORM);
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    assert_eq!(
        message.content_type(),
        Some("multipart/form-data; boundary=b")
    );
    edit(&mut message);
    expect_test::expect![[r#"
        multipart/form-data; boundary=BOUNDARY

        --BOUNDARY
        Content-Disposition: form-data; name="note"

        hi & bye
        --BOUNDARY
        Content-Disposition: form-data; name="file"; filename="a.bin"
        Content-Type: image/png

        A
        B
        --BOUNDARY
        Content-Disposition: form-data; name="new"


        --BOUNDARY--
    "#]]
    .assert_eq(&settled(&mut message));
}

#[tokio::test]
async fn xml_becomes_form_data_with_described_files() {
    let xml = r#"<f><a>1 "q"</a><file xmlns="http://org.apache.axis2/xsd/form-data" name="up" filename="x.txt" content-type="text/plain" charset="UTF-8">aGk=</file><b><c/></b></f>"#;
    let mut message = built("application/xml", xml).await;
    message.set_message_type("multipart/form-data");
    expect_test::expect![[r#"
        multipart/form-data; boundary=BOUNDARY

        --BOUNDARY
        Content-Disposition: form-data; name="a"

        1 "q"
        --BOUNDARY
        Content-Disposition: form-data; name="up"; filename="x.txt"
        Content-Type: text/plain; charset=UTF-8

        hi
        --BOUNDARY
        Content-Disposition: form-data; name="b"
        Content-Type: text/xml

        <c/>
        --BOUNDARY--
    "#]]
    .assert_eq(&settled(&mut message));
}

#[tokio::test]
async fn attachments_travel_with_their_message() {
    let content_type = "multipart/related; boundary=b; type=\"application/xop+xml\"; start=\"<root@x>\"; start-info=\"text/xml\"";
    let mut message = built(content_type, XOP).await;
    assert!(!message.rest);
    assert_eq!(written(&mut message), XOP);
    edit(&mut message);
    expect_test::expect![[r#"
        multipart/related; boundary="BOUNDARY"; type="application/xop+xml"; start="<root@x>"; start-info="text/xml"

        --BOUNDARY
        Content-Type: application/xop+xml; charset=UTF-8; type="text/xml"
        Content-Transfer-Encoding: 8bit
        Content-ID: <root@x>

        <?xml version='1.0' encoding='UTF-8'?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><doc><x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:one%40x"/><new/></doc></s:Body></s:Envelope>
        --BOUNDARY
        Content-Type: application/pdf
        Content-Transfer-Encoding: binary
        Content-ID: <one@x>

        %PDF1
        --BOUNDARY--
    "#]]
    .assert_eq(&settled(&mut message));

    // MTOM on request, although it came without.
    let swa = XOP.replace("application/xop+xml", "text/xml");
    let mut message = built("multipart/related; boundary=b; type=\"text/xml\"", swa).await;
    message.axis2.set("enableMTOM", "true");
    let text = settled(&mut message);
    assert!(text.contains("Content-Type: application/xop+xml"), "{text}");

    // Forms without attachments get the content in its place.
    let mut message = built(content_type, XOP).await;
    message.set_message_type("application/json");
    assert_eq!(written(&mut message), "{\"doc\":\"JVBERjE=\"}");
}

#[tokio::test]
async fn soap_goes_out_in_parts_on_request() {
    for (name, expected) in [
        ("enableMTOM", "type=\"application/xop+xml\""),
        ("enableSwA", "type=\"text/xml\""),
    ] {
        let mut message = built("text/xml", SOAP).await;
        message.axis2.set(name, "true");
        let text = settled(&mut message);
        assert!(
            text.starts_with("multipart/related; boundary=\"BOUNDARY\""),
            "{text}"
        );
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains("<s:Body><a/></s:Body></s:Envelope>\n--BOUNDARY--\n"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_changed_body_is_written_in_the_character_set_that_is_asked_for() {
    let mut message = built(
        "application/xml; charset=ISO-8859-1; x=y",
        &b"<a>\xe9</a>"[..],
    )
    .await;
    edit(&mut message);
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    assert_eq!(message.write_body().unwrap(), &b"<a>\xe9<new/></a>"[..]);
    assert_eq!(
        message.content_type(),
        Some("application/xml; charset=ISO-8859-1; x=y")
    );

    // The character set stays when the type changes, unless the flow sets another.
    let mut message = built(
        "application/xml; charset=ISO-8859-1",
        &b"<a>\xe9\x80&#8364;</a>"[..],
    )
    .await;
    message.set_message_type("application/json");
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    assert_eq!(
        message.write_body().unwrap(),
        &b"{\"a\":\"\xe9\x80\\u20ac\"}"[..]
    );
    assert_eq!(
        message.content_type(),
        Some("application/json; charset=ISO-8859-1")
    );
    message.axis2.set("CHARACTER_SET_ENCODING", "UTF-8");
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    assert_eq!(written(&mut message), "{\"a\":\"é\u{80}€\"}");
    assert_eq!(
        message.content_type(),
        Some("application/json; charset=UTF-8")
    );

    // An unchanged body is written anew only when the set differs.
    let mut message = built("application/json", "{\"a\": \"é\"}").await;
    message.axis2.set("CHARACTER_SET_ENCODING", "US-ASCII");
    message
        .settle_content_type(false, &BodyLimits::default())
        .unwrap();
    assert_eq!(written(&mut message), "{\"a\": \"\\u00e9\"}");
    assert_eq!(
        message.content_type(),
        Some("application/json; charset=US-ASCII")
    );
    let mut message = built("text/xml", SOAP).await;
    message.axis2.set("CHARACTER_SET_ENCODING", "UTF-16");
    let bytes = message.write_body().unwrap();
    assert!(bytes.starts_with(&[0xfe, 0xff, 0, b'<']));
    message.axis2.set("CHARACTER_SET_ENCODING", "no-such-set");
    assert!(message.write_body().is_err());
}

#[tokio::test]
async fn the_charset_parameter_is_left_away_on_request() {
    for value in [Value::from("false"), Value::Boolean(false)] {
        let mut message = built("application/xml", "<a/>").await;
        message.axis2.set("setCharacterEncoding", value);
        message
            .settle_content_type(true, &BodyLimits::default())
            .unwrap();
        assert_eq!(message.content_type(), Some("application/xml"));
    }
    let mut message = built("application/xml", "<a/>").await;
    message
        .settle_content_type(true, &BodyLimits::default())
        .unwrap();
    assert_eq!(
        message.content_type(),
        Some("application/xml; charset=UTF-8")
    );
}

#[tokio::test]
async fn xml_declarations_are_written_as_the_properties_say() {
    for (content_type, body, value, standalone, expected) in [
        (
            "application/xml",
            "<?xml version='1.0'?><a/>",
            "true",
            None,
            "<?xml version=\"1.0\" encoding=\"UTF-8\" ?><a/>",
        ),
        (
            "application/xml",
            "<a/>",
            "true",
            Some("yes"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\" ?><a/>",
        ),
        (
            "application/xml",
            "<?xml version='1.0'?><a/>",
            "false",
            None,
            "<a/>",
        ),
        ("text/xml", SOAP, "false", None, SOAP),
    ] {
        let mut message = built(content_type, body).await;
        message.axis2.set("WRITE_XML_DECLARATION", value);
        if let Some(standalone) = standalone {
            message.axis2.set("XML_DECLARATION_STANDALONE", standalone);
        }
        assert_eq!(written(&mut message), expected);
    }
}

#[tokio::test]
async fn the_name_of_the_type_does_not_change_the_form() {
    let mut message = built("application/json", "{\"a\":1}").await;
    edit_json(&mut message);
    message.set_content_type(HeaderValue::from_static("text/html"));
    assert_eq!(written(&mut message), "{\"a\":2}");
    assert_eq!(message.content_type(), Some("text/html"));
}

fn edit_json(message: &mut Message) {
    let envelope = message.envelope_mut().unwrap();
    let payload = envelope.payload().unwrap();
    let a = envelope.document.child_elements(payload).next().unwrap();
    envelope.document.set_text(a, "2");
}

#[tokio::test]
async fn text_and_binary_write_only_their_wrappers() {
    let mut message = built("application/xml", "<a>x</a>").await;
    for media in ["text/plain", "application/octet-stream"] {
        message.set_message_type(media);
        assert_eq!(written(&mut message), "", "{media}");
    }
    let wrapped =
        r#"<b:binary xmlns:b="http://ws.apache.org/commons/ns/payload"> aGk= </b:binary>"#;
    let mut message = built("application/xml", wrapped).await;
    message.set_message_type("application/pdf");
    assert_eq!(written(&mut message), "hi");
}

#[tokio::test]
async fn a_changed_form_stays_a_form() {
    let mut message = built("application/x-www-form-urlencoded", "a=1&_b=2").await;
    edit(&mut message);
    assert_eq!(written(&mut message), "a=1&_b=2&new=");
    assert_eq!(
        message.content_type(),
        Some("application/x-www-form-urlencoded")
    );
}

fn text_of(request: &WireRequest) -> String {
    String::from_utf8(request.head.clone().into_text()).unwrap()
}

fn line_of(request: &WireRequest) -> String {
    text_of(request).lines().next().unwrap().to_owned()
}

fn values(request: &WireRequest, name: &str) -> Vec<String> {
    text_of(request)
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(n, _)| *n == name)
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[tokio::test]
async fn credentials_of_the_endpoint_go_instead_of_the_clients() {
    let host = HeaderValue::from_static("back:1");
    let rules = outgoing::HeaderRules::default();
    let own = HeaderValue::from_static("Bearer one");
    let headers = [
        ("authorization", "Basic client"),
        ("x-a", "1"),
        ("x-a", "2"),
    ];
    for authorization in [None, Some(&own)] {
        let mut message = request("POST", "/services/P", &headers, "<a/>");
        let plan = RequestPlan {
            host: &host,
            path: http::uri::PathAndQuery::from_static("/"),
            method: None,
            scheme: "http",
            authorization,
            rules: &rules,
        };
        let mut made = message.to_request(plan, BodyStream::empty()).unwrap();
        assert_eq!(values(&made, "x-a"), ["1", "2"]);
        assert_eq!(made.head.authorization().as_ref(), authorization);
        let Some(own) = authorization else {
            assert_eq!(values(&made, "authorization"), ["Basic client"]);
            continue;
        };
        assert_eq!(values(&made, "authorization"), [own.to_str().unwrap()]);
        for value in ["Bearer a longer one", "x"] {
            let value = HeaderValue::from_static(value);
            made.head.set_authorization(&value);
            assert_eq!(values(&made, "authorization"), [value.to_str().unwrap()]);
            assert_eq!(made.head.authorization(), Some(value));
            assert!(text_of(&made).ends_with("\r\n"));
        }
    }
}

#[tokio::test]
async fn the_request_line_and_its_headers_follow_the_properties() {
    let host = HeaderValue::from_static("back:1");
    let rules = outgoing::HeaderRules::default();
    let plan = || RequestPlan {
        host: &host,
        path: http::uri::PathAndQuery::from_static("/a?b=c"),
        method: None,
        scheme: "https",
        authorization: None,
        rules: &rules,
    };
    let mut message = built("text/xml", SOAP).await;
    let made = message.to_request(plan(), BodyStream::empty()).unwrap();
    assert_eq!(line_of(&made), "POST /a?b=c HTTP/1.1");
    for value in [Value::from("true"), Value::Boolean(true)] {
        let mut message = built("text/xml", SOAP).await;
        for name in ["FULL_URI", "FORCE_HTTP_1.0", "NO_KEEPALIVE"] {
            message.axis2.set(name, value.clone());
        }
        let made = message.to_request(plan(), BodyStream::empty()).unwrap();
        assert_eq!(line_of(&made), "POST https://back:1/a?b=c HTTP/1.0");
        assert_eq!(values(&made, "connection"), ["close"]);
        assert!(made.head.closes());
    }
}

#[tokio::test]
async fn soap_action_is_quoted_by_soap_and_bare_in_plain_xml() {
    let host = HeaderValue::from_static("back:1");
    let rules = outgoing::HeaderRules::default();
    for (content_type, came, sent) in [
        ("text/xml", "urn:a", "\"urn:a\""),
        ("text/xml", "\"urn:a\"", "\"urn:a\""),
        ("text/xml", "\"\"", "\"\""),
        ("application/xml", "\"urn:a\"", "urn:a"),
        ("application/json", "\"urn:a\"", "\"urn:a\""),
    ] {
        let headers = [("content-type", content_type), ("soapaction", came)];
        let mut message = request("POST", "/services/P", &headers, "<a/>");
        let plan = RequestPlan {
            host: &host,
            path: http::uri::PathAndQuery::from_static("/"),
            method: None,
            scheme: "http",
            authorization: None,
            rules: &rules,
        };
        let made = message.to_request(plan, BodyStream::empty()).unwrap();
        assert_eq!(values(&made, "soapaction"), [sent], "{content_type} {came}");
    }
}
