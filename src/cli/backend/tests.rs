//! The service over real sockets.

use super::*;
use expect_test::{Expect, expect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SERVICE: &str = service::PATH;

fn options() -> BackendOptions {
    BackendOptions {
        name: Some("b1".to_owned()),
        clock: || SystemTime::UNIX_EPOCH,
        ..BackendOptions::default()
    }
}

/// Sends bytes and reads until the service closes the connection.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends a request and returns status line, the headers that matter and the body.
async fn send(address: SocketAddr, line: &str, headers: &[&str], body: &str) -> String {
    let mut request = format!("{line} HTTP/1.1\r\nHost: sample.test:9000\r\nConnection: close\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = raw(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut shown = String::new();
    for line in head.lines() {
        let name = line.split(':').next().unwrap();
        if !matches!(name, "date" | "connection" | "content-length") {
            shown += &format!("{line}\n");
        }
    }
    if !body.is_empty() {
        shown += &format!("\n{body}\n");
    }
    shown.replace(&address.to_string(), "ADDRESS")
}

async fn check(line: &str, headers: &[&str], body: &str, expected: Expect) {
    let backend = Backend::start(options()).await.unwrap();
    expected.assert_eq(&send(backend.address, line, headers, body).await);
    backend.stop().await;
}

async fn post(content_type: &str, body: &str, expected: Expect) {
    let header = format!("Content-Type: {content_type}");
    check(&format!("POST {SERVICE}"), &[&header], body, expected).await;
}

fn soap(version: &str, payload: &str) -> String {
    format!("<e:Envelope xmlns:e='{version}'><e:Body>{payload}</e:Body></e:Envelope>")
}

const GET_QUOTE: &str = "<m0:getQuote xmlns:m0='http://services.samples'>\
    <m0:request><m0:symbol>IBM</m0:symbol></m0:request></m0:getQuote>";
const PLACE_ORDER: &str = "<m0:placeOrder xmlns:m0='http://services.samples'><m0:order>\
    <m0:price>83.5</m0:price><m0:quantity>100</m0:quantity><m0:symbol>IBM</m0:symbol>\
    </m0:order></m0:placeOrder>";

#[tokio::test]
async fn soap11_get_quote() {
    let body = soap(message::SOAP11, GET_QUOTE);
    post("text/xml;charset=UTF-8", &body, expect![[r#"
        HTTP/1.1 200 OK
        content-type: text/xml; charset=UTF-8
        x-backend: b1

        <?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><ns:getQuoteResponse xmlns:ns="http://services.samples"><ns:return xmlns:ax21="http://services.samples/xsd" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ax21:GetQuoteResponse"><ax21:change>-7.53</ax21:change><ax21:earnings>6.28</ax21:earnings><ax21:high>166.50</ax21:high><ax21:last>155.07</ax21:last><ax21:lastTradeTimestamp>Thu Jan 01 00:00:00 UTC 1970</ax21:lastTradeTimestamp><ax21:low>153.16</ax21:low><ax21:marketCap>76651256.07</ax21:marketCap><ax21:name>IBM Company</ax21:name><ax21:open>163.93</ax21:open><ax21:peRatio>24.69</ax21:peRatio><ax21:percentageChange>-4.63</ax21:percentageChange><ax21:prevClose>162.60</ax21:prevClose><ax21:symbol>IBM</ax21:symbol><ax21:volume>10142</ax21:volume></ns:return></ns:getQuoteResponse></soapenv:Body></soapenv:Envelope>
    "#]]).await;
}

#[tokio::test]
async fn soap12_fault() {
    let body = soap(message::SOAP12, "<sellEverything/>");
    post("application/soap+xml", &body, expect![[r#"
        HTTP/1.1 500 Internal Server Error
        content-type: application/soap+xml; charset=UTF-8
        x-backend: b1

        <?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope xmlns:soapenv="http://www.w3.org/2003/05/soap-envelope"><soapenv:Body><soapenv:Fault><soapenv:Code><soapenv:Value>soapenv:Sender</soapenv:Value></soapenv:Code><soapenv:Reason><soapenv:Text xml:lang="en-US">unknown operation &quot;sellEverything&quot;: the service has placeOrder, getQuote, getSimpleQuote, getFullQuote, getMarketActivity</soapenv:Text></soapenv:Reason></soapenv:Fault></soapenv:Body></soapenv:Envelope>
    "#]]).await;
}

#[tokio::test]
async fn soap11_fault_of_the_original() {
    let body = soap(message::SOAP11, &GET_QUOTE.replace("IBM", "ERR"));
    post("text/xml", &body, expect![[r#"
        HTTP/1.1 500 Internal Server Error
        content-type: text/xml; charset=UTF-8
        x-backend: b1

        <?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault><faultcode>soapenv:Server</faultcode><faultstring>Invalid stock symbol : ERR</faultstring><detail/></soapenv:Fault></soapenv:Body></soapenv:Envelope>
    "#]]).await;
}

fn accepted() -> Expect {
    expect![[r#"
        HTTP/1.1 202 Accepted
        x-backend: b1
    "#]]
}

#[tokio::test]
async fn one_way_orders_are_accepted_in_every_format() {
    let soap11 = soap(message::SOAP11, PLACE_ORDER);
    let soap12 = soap(message::SOAP12, PLACE_ORDER);
    let json = r#"{"placeOrder":{"order":{"price":83.5,"quantity":100,"symbol":"IBM"}}}"#;
    for (content_type, body) in [
        ("text/xml", soap11.as_str()),
        ("application/soap+xml", &soap12),
        ("application/xml", PLACE_ORDER),
        ("application/json", json),
    ] {
        post(content_type, body, accepted()).await;
    }
}

#[tokio::test]
async fn the_action_chooses_when_the_body_does_not() {
    let line = format!("POST {SERVICE}");
    let xml = "Content-Type: text/xml";
    let action = "SOAPAction: \"urn:placeOrder\"";
    let body = soap(message::SOAP11, "<order/>");
    check(&line, &[xml, action], &body, accepted()).await;
    check(
        &line,
        &[xml, action],
        &soap(message::SOAP11, ""),
        accepted(),
    )
    .await;
    let parameter = "application/soap+xml; action=\"urn:placeOrder\"";
    post(parameter, &soap(message::SOAP12, "<order/>"), accepted()).await;
}

#[tokio::test]
async fn plain_xml_market_activity() {
    let body = "<getMarketActivity><request><symbols>IBM</symbols><symbols>A&amp;B</symbols>\
        </request></getMarketActivity>";
    post("application/xml", body, expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/xml; charset=UTF-8
        x-backend: b1

        <ns:getMarketActivityResponse xmlns:ns="http://services.samples"><ns:return xmlns:ax21="http://services.samples/xsd" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ax21:GetMarketActivityResponse"><ax21:quotes xsi:type="ax21:GetQuoteResponse"><ax21:change>-7.53</ax21:change><ax21:earnings>6.28</ax21:earnings><ax21:high>166.50</ax21:high><ax21:last>155.07</ax21:last><ax21:lastTradeTimestamp>Thu Jan 01 00:00:00 UTC 1970</ax21:lastTradeTimestamp><ax21:low>153.16</ax21:low><ax21:marketCap>76651256.07</ax21:marketCap><ax21:name>IBM Company</ax21:name><ax21:open>163.93</ax21:open><ax21:peRatio>24.69</ax21:peRatio><ax21:percentageChange>-4.63</ax21:percentageChange><ax21:prevClose>162.60</ax21:prevClose><ax21:symbol>IBM</ax21:symbol><ax21:volume>10142</ax21:volume></ax21:quotes><ax21:quotes xsi:type="ax21:GetQuoteResponse"><ax21:change>-1.92</ax21:change><ax21:earnings>6.13</ax21:earnings><ax21:high>149.87</ax21:high><ax21:last>146.31</ax21:last><ax21:lastTradeTimestamp>Thu Jan 01 00:00:00 UTC 1970</ax21:lastTradeTimestamp><ax21:low>145.07</ax21:low><ax21:marketCap>16680071.55</ax21:marketCap><ax21:name>A&amp;B Company</ax21:name><ax21:open>149.50</ax21:open><ax21:peRatio>23.86</ax21:peRatio><ax21:percentageChange>-1.29</ax21:percentageChange><ax21:prevClose>148.23</ax21:prevClose><ax21:symbol>A&amp;B</ax21:symbol><ax21:volume>17600</ax21:volume></ax21:quotes></ns:return></ns:getMarketActivityResponse>
    "#]]).await;
}

#[tokio::test]
async fn plain_xml_fault() {
    post("application/xml", "<getQuote>", expect![[r#"
        HTTP/1.1 500 Internal Server Error
        content-type: application/xml; charset=UTF-8
        x-backend: b1

        <soapenv:Fault xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><faultcode>soapenv:Client</faultcode><faultstring>the message is not well-formed XML: an element is not closed</faultstring><detail/></soapenv:Fault>
    "#]]).await;
}

#[tokio::test]
async fn json_get_quote() {
    let body = r#"{"getQuote":{"request":{"symbol":"IBM"}}}"#;
    post("application/json", body, expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        x-backend: b1

        {"getQuoteResponse":{"return":{"change":-7.53,"earnings":6.28,"high":166.5,"last":155.07,"lastTradeTimestamp":"Thu Jan 01 00:00:00 UTC 1970","low":153.16,"marketCap":76651256.07,"name":"IBM Company","open":163.93,"peRatio":24.69,"percentageChange":-4.63,"prevClose":162.6,"symbol":"IBM","volume":10142}}}
    "#]]).await;
}

#[tokio::test]
async fn json_fault() {
    post(
        "application/json",
        r#"{"getQuote":{}}"#,
        expect![[r#"
        HTTP/1.1 500 Internal Server Error
        content-type: application/json
        x-backend: b1

        {"Fault":{"faultcode":"Client","faultstring":"getQuote needs a symbol"}}
    "#]],
    )
    .await;
}

#[tokio::test]
async fn rest_get_answers_in_the_accepted_format() {
    let line = "GET /services/AnyName/getSimpleQuote?symbol=IBM";
    check(line, &[], "", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/xml; charset=UTF-8
        x-backend: b1

        <ns:getSimpleQuoteResponse xmlns:ns="http://services.samples"><ns:return xmlns:ax21="http://services.samples/xsd" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ax21:GetQuoteResponse"><ax21:change>-7.53</ax21:change><ax21:earnings>6.28</ax21:earnings><ax21:high>166.50</ax21:high><ax21:last>155.07</ax21:last><ax21:lastTradeTimestamp>Thu Jan 01 00:00:00 UTC 1970</ax21:lastTradeTimestamp><ax21:low>153.16</ax21:low><ax21:marketCap>76651256.07</ax21:marketCap><ax21:name>IBM Company</ax21:name><ax21:open>163.93</ax21:open><ax21:peRatio>24.69</ax21:peRatio><ax21:percentageChange>-4.63</ax21:percentageChange><ax21:prevClose>162.60</ax21:prevClose><ax21:symbol>IBM</ax21:symbol><ax21:volume>10142</ax21:volume></ns:return></ns:getSimpleQuoteResponse>
    "#]]).await;
    check(line, &["Accept: application/json"], "", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        x-backend: b1

        {"getSimpleQuoteResponse":{"return":{"change":-7.53,"earnings":6.28,"high":166.5,"last":155.07,"lastTradeTimestamp":"Thu Jan 01 00:00:00 UTC 1970","low":153.16,"marketCap":76651256.07,"name":"IBM Company","open":163.93,"peRatio":24.69,"percentageChange":-4.63,"prevClose":162.6,"symbol":"IBM","volume":10142}}}
    "#]]).await;
}

#[tokio::test]
async fn other_requests() {
    check(
        "GET /",
        &[],
        "",
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: text/plain; charset=UTF-8
        x-backend: b1

        b1: SimpleStockQuote sample service
        address:    http://ADDRESS/services/SimpleStockQuoteService
        WSDL:       http://ADDRESS/services/SimpleStockQuoteService?wsdl
        operations: placeOrder, getQuote, getSimpleQuote, getFullQuote, getMarketActivity
        example:    curl 'http://ADDRESS/services/SimpleStockQuoteService/getQuote?symbol=IBM'

    "#]],
    )
    .await;
    check(
        "GET /nowhere",
        &[],
        "",
        expect![[r#"
        HTTP/1.1 404 Not Found
        content-type: text/plain; charset=UTF-8
        x-backend: b1

        nothing at /nowhere; the service is at /services/SimpleStockQuoteService

    "#]],
    )
    .await;
    check(
        &format!("OPTIONS {SERVICE}"),
        &[],
        "",
        expect![[r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: text/plain; charset=UTF-8
        allow: GET, HEAD, POST, PUT, PATCH, DELETE
        x-backend: b1

        OPTIONS is not supported

    "#]],
    )
    .await;
    post(
        "image/png",
        "\u{1}",
        expect![[r#"
        HTTP/1.1 415 Unsupported Media Type
        content-type: text/plain; charset=UTF-8
        x-backend: b1

        send SOAP (text/xml, application/soap+xml), application/xml or application/json

    "#]],
    )
    .await;
}

#[tokio::test]
async fn full_quote_is_as_long_as_the_original() {
    let backend = Backend::start(options()).await.unwrap();
    let line = format!("GET {SERVICE}/getFullQuote?symbol=IBM");
    let answer = send(backend.address, &line, &[], "").await;
    assert_eq!(answer.matches("<ax21:tradeHistory ").count(), 1000);
    assert!(answer.contains("<ax21:day>999</ax21:day>"));
}

#[tokio::test]
async fn wsdl_names_the_address_the_client_used() {
    let backend = Backend::start(options()).await.unwrap();
    let answer = send(backend.address, "GET /services/Alias?wsdl", &[], "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\ncontent-type: text/xml"));
    assert_eq!(
        answer
            .matches("address location=\"http://sample.test:9000/services/Alias")
            .count(),
        3
    );
    for operation in [
        "placeOrder",
        "getQuote",
        "getSimpleQuote",
        "getFullQuote",
        "getMarketActivity",
    ] {
        assert!(answer.contains(&format!("soapAction=\"urn:{operation}\"")));
    }
}

#[tokio::test]
async fn failing_shares_are_evenly_spaced() {
    let options = BackendOptions {
        fail: "30%".parse().unwrap(),
        ..options()
    };
    let backend = Backend::start(options).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let header = ["Content-Type: application/xml"];
        let answer = send(
            backend.address,
            &format!("POST {SERVICE}"),
            &header,
            PLACE_ORDER,
        )
        .await;
        statuses.push(answer[9..12].to_owned());
    }
    assert_eq!(
        statuses.join(" "),
        "202 202 202 500 202 202 500 202 202 500"
    );
    assert_eq!(backend.requests(), 10);
}

#[tokio::test]
async fn a_forced_status_is_on_every_answer() {
    let started = |status| {
        Backend::start(BackendOptions {
            status: Some(StatusCode::from_u16(status).unwrap()),
            ..options()
        })
    };
    let backend = started(503).await.unwrap();
    let header = ["Content-Type: text/xml"];
    let body = soap(message::SOAP11, PLACE_ORDER);
    let answer = send(backend.address, &format!("POST {SERVICE}"), &header, &body).await;
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: text/xml; charset=UTF-8
        x-backend: b1

        <?xml version='1.0' encoding='UTF-8'?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault><faultcode>soapenv:Server</faultcode><faultstring>this back-end was told to answer with status 503</faultstring><detail/></soapenv:Fault></soapenv:Body></soapenv:Envelope>
    "#]].assert_eq(&answer);
    assert_eq!(backend.shared.orders.load(Ordering::Relaxed), 0);
    let backend = started(204).await.unwrap();
    let line = format!("GET {SERVICE}/getQuote?symbol=IBM");
    let answer = send(backend.address, &line, &[], "").await;
    expect![[r#"
        HTTP/1.1 204 No Content
        x-backend: b1
    "#]]
    .assert_eq(&answer);
}

#[tokio::test]
async fn bodies_above_the_limit_are_refused() {
    let backend = Backend::start(options()).await.unwrap();
    let line = format!("POST {SERVICE}");
    let body = "x".repeat(1024 * 1024 + 1);
    let answer = send(backend.address, &line, &["Content-Type: text/xml"], &body).await;
    expect![[r#"
        HTTP/1.1 413 Payload Too Large
        content-type: text/plain; charset=UTF-8
        x-backend: b1

        the request body exceeds 1048576 bytes

    "#]]
    .assert_eq(&answer);
    let announced = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n"
    );
    let answer = raw(backend.address, announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let body = " ".repeat(1024 * 1024 - PLACE_ORDER.len()) + PLACE_ORDER;
    let header = ["Content-Type: application/xml"];
    let answer = send(backend.address, &line, &header, &body).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn delays_hold_back_the_answer() {
    let options = BackendOptions {
        delay: Duration::from_secs(3600),
        ..options()
    };
    let backend = Backend::start(options).await.unwrap();
    let before = tokio::time::Instant::now();
    let line = format!("GET {SERVICE}/getQuote?symbol=IBM");
    send(backend.address, &line, &[], "").await;
    assert!(before.elapsed() >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn stopping_frees_the_port() {
    let backend = Backend::start(options()).await.unwrap();
    let address = backend.address;
    // A client that never finishes its request must not hold up the stop for good.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    backend.stop().await;
    assert!(TcpListener::bind(address).await.is_ok());
}

#[tokio::test]
async fn a_name_that_is_no_header_value_is_refused() {
    let options = BackendOptions {
        name: Some("a\nb".to_owned()),
        ..options()
    };
    let error = Backend::start(options).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn nothing_a_peer_sends_stops_the_service() {
    let backend = Backend::start(options()).await.unwrap();
    let bodies: [&[u8]; 10] = [
        b"\0",
        b"<",
        b"<a",
        b"<a b='&'>",
        b"<![CDATA[",
        b"<a>&#xFFFFFFFFF;</a>",
        b"{\"getQuote\":{\"symbol\":\"\\u0000\"}}",
        b"{\"getQuote\":",
        b"\xff\xfe<\0a\0/\0>\0",
        b"%",
    ];
    let types = [
        "text/xml",
        "application/soap+xml; action=\"",
        "application/xml",
        "application/json",
        "application/x-www-form-urlencoded",
        "\"",
    ];
    for body in bodies {
        for content_type in types {
            let mut request = format!(
                "POST {SERVICE}/getQuote?%=% HTTP/1.1\r\nConnection: close\r\n\
                 Content-Type: {content_type}\r\nSOAPAction: \"\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend_from_slice(body);
            let answer = raw(backend.address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{content_type} {body:?}");
        }
    }
    assert_eq!(backend.requests(), 60);
}

#[test]
fn durations_shares_and_statuses_are_parsed() {
    assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
    assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1500)));
    assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
    for wrong in ["", "5", "s", "-1s", "1e999s", "1 day", "NaNs"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
    assert_eq!("12.5%".parse(), Ok(Share(1250)));
    assert_eq!("100".parse(), Ok(Share(10_000)));
    for wrong in ["", "%", "101%", "-1%", "NaN"] {
        assert!(wrong.parse::<Share>().is_err(), "{wrong}");
    }
    assert!(Share(10_000).picks(u64::MAX - 1));
    assert!(!Share(0).picks(u64::MAX));
    assert_eq!(parse_status("503"), Ok(StatusCode::SERVICE_UNAVAILABLE));
    for wrong in ["", "99", "199", "600", "abc"] {
        assert!(parse_status(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_command_line_is_consistent() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: BackendArgs,
    }
    <Cli as clap::CommandFactory>::command().debug_assert();
    let cli = <Cli as clap::Parser>::parse_from(["x", "--fail", "30%", "--delay", "2s"]);
    let options = BackendOptions::from(cli.args);
    assert_eq!((options.port, options.fail), (9000, Share(3000)));
    assert_eq!(options.delay, Duration::from_secs(2));
}
