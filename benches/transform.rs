//! Mediators that transform and split, each as a whole flow from the request's bytes to the bytes of
//! the answer, without sockets. See docs/performance.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use myelin::artifact::parse_file;
use myelin::clock::Clock;
use myelin::diag::Source;
use myelin::endpoint::{Services, Stores};
use myelin::engine;
use myelin::message::outgoing::HeaderRules;
use myelin::message::{Body, BodyLimits, ClientFormat, Exchange, Message};
use myelin::plan::{Plan, link};
use myelin::settings::{Settings, Unsupported};
use myelin::transport::http::{Client, ClientSettings};
use myelin::transport::outside::Outside;
use myelin::transport::tls::client_config;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use support::criterion;
use tokio::runtime::Runtime;

const SIZES: [(&str, usize); 3] = [("500B", 500), ("10KB", 10_000), ("100KB", 100_000)];

/// One proxy service, ready to run.
struct Flow {
    runtime: Runtime,
    services: Arc<Services>,
    plan: Plan,
}

impl Flow {
    fn new(sequence: &str) -> Flow {
        let text = format!(
            "<definitions xmlns=\"http://ws.apache.org/ns/synapse\"><sequence name=\"join\"><aggregate id=\"c\">\
             <onComplete expression=\"$body/*\" enclosingElementProperty=\"all\"><respond/></onComplete></aggregate></sequence>\
             <proxy name=\"P\"><target><inSequence>{sequence}<respond/></inSequence></target></proxy></definitions>"
        );
        let content = parse_file(
            &Source::new("bench.xml", text),
            Unsupported::Refuse,
            &Arc::default(),
        );
        let settings = Arc::new(Settings::default());
        let linked = link(
            &content.artifacts,
            Default::default(),
            &Stores::default(),
            &settings,
        );
        for diagnostic in content.diagnostics.iter().chain(&linked.diagnostics) {
            assert!(!diagnostic.is_error(), "{diagnostic:?}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let services = runtime.block_on(async {
            let tls = client_config(Default::default()).unwrap();
            Arc::new(Services {
                client: Arc::new(Client::new(ClientSettings::new(tls.clone()))),
                outside: Arc::new(Outside::new(tls, Duration::from_secs(1))),
                clock: Clock::default(),
                limits: BodyLimits::default(),
                rules: HeaderRules::default(),
                settings,
                media_types: None,
                default_content_type: HeaderValue::from_static("application/octet-stream"),
                lines: None,
                replies: Arc::default(),
                sessions: None,
            })
        });
        Flow {
            runtime,
            services,
            plan: linked.plan,
        }
    }

    /// Status and body of the answer.
    fn run(&self, content_type: &'static str, body: &Bytes) -> (u16, Bytes) {
        self.runtime.block_on(async {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(content_type));
            let mut message = Message::request(
                Method::POST,
                "/services/P".parse().unwrap(),
                headers,
                Body::Bytes(body.clone()),
            );
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let exchange = Arc::new(Exchange::new(address, address, false, ClientFormat::Rest));
            let proxy = self.plan.proxies.get("P").unwrap();
            engine::run_proxy(&self.services, &self.plan, proxy, &exchange, &mut message).await;
            exchange.settled().await;
            let answer = engine::conclude(&exchange);
            let status = answer.status().as_u16();
            let body = answer.into_body().collect(64 << 20).await.unwrap();
            (status, body)
        })
    }
}

/// Runs a flow in the loop of a benchmark; it has to answer what is expected.
fn measure(
    c: &mut Criterion,
    group: &str,
    name: &str,
    parameter: &str,
    flow: &Flow,
    (content_type, body): (&'static str, &Bytes),
    contains: &str,
) {
    let (status, answer) = flow.run(content_type, body);
    let text = String::from_utf8_lossy(&answer);
    assert!(
        status == 200 && text.contains(contains),
        "{group}/{name}/{parameter}: {status} {}",
        text.chars().take(300).collect::<String>()
    );
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function(BenchmarkId::new(name, parameter), |b| {
        b.iter(|| black_box(flow.run(content_type, body)));
    });
    group.finish();
}

/// A JSON object with `count` members and a text that makes it `size` bytes long.
fn json(count: usize, size: usize) -> Bytes {
    let members: Vec<String> = (0..count)
        .map(|n| format!("\"e{n}\":\"value {n}\""))
        .collect();
    let head = format!("{{\"elements\":{{{}}},\"filler\":\"", members.join(","));
    let filler = "x".repeat(size.saturating_sub(head.len() + 2));
    Bytes::from(format!("{head}{filler}\"}}"))
}

/// An XML document with `count` elements and a text that makes it `size` bytes long.
fn xml(count: usize, size: usize) -> Bytes {
    let elements: String = (0..count)
        .map(|n| format!("<e{n}>value {n}</e{n}>"))
        .collect();
    let head = format!("<r><elements>{elements}</elements><filler>");
    let tail = "</filler></r>";
    let filler = "x".repeat(size.saturating_sub(head.len() + tail.len()));
    Bytes::from(format!("{head}{filler}{tail}"))
}

/// Items of about 90 bytes, as many as fit.
fn items(size: usize) -> (usize, Bytes, Bytes) {
    let count = (size / 90).max(2);
    let xml: String = (0..count)
        .map(|n| {
            format!(
                "<item><id>{n}</id><name>Customer {n}</name><price>{n}.25</price><q>{n}</q></item>"
            )
        })
        .collect();
    let json: Vec<String> = (0..count)
        .map(|n| format!("{{\"id\":{n},\"name\":\"Customer {n}\",\"price\":{n}.25,\"q\":{n},\"on\":true,\"x\":null}}"))
        .collect();
    (
        count,
        Bytes::from(format!("<r>{xml}</r>")),
        Bytes::from(format!("{{\"items\":[{}]}}", json.join(","))),
    )
}

fn payload_factory(c: &mut Criterion) {
    const GROUP: &str = "payloadFactory";
    for count in [20, 50, 100] {
        let members: Vec<String> = (0..count)
            .map(|n| format!("\"m{n}\":\"${}\"", n + 1))
            .collect();
        let args: String = (0..count)
            .map(|n| format!("<arg evaluator=\"json\" expression=\"$.elements.e{n}\"/>"))
            .collect();
        let paths = Flow::new(&format!(
            "<payloadFactory media-type=\"json\"><format>{{{}}}</format><args>{args}</args></payloadFactory>",
            members.join(",")
        ));
        let members: Vec<String> = (0..count)
            .map(|n| format!("\"m{n}\":\"${{payload.elements.e{n}}}\""))
            .collect();
        let inline = Flow::new(&format!(
            "<payloadFactory media-type=\"json\"><format>{{{}}}</format></payloadFactory>",
            members.join(",")
        ));
        let elements: String = (0..count)
            .map(|n| format!("<m{n}>${}</m{n}>", n + 1))
            .collect();
        let args: String = (0..count)
            .map(|n| format!("<arg expression=\"//elements/e{n}/text()\"/>"))
            .collect();
        let xpaths = Flow::new(&format!(
            "<payloadFactory media-type=\"xml\"><format><n xmlns=\"\">{elements}</n></format><args>{args}</args></payloadFactory>"
        ));
        let members: Vec<String> = (0..count)
            .map(|n| format!("\"m{n}\":\"${{payload.elements.e{n}}}\""))
            .collect();
        let free_marker = Flow::new(&format!(
            "<payloadFactory media-type=\"json\" template-type=\"freemarker\"><format><![CDATA[{{{}}}]]></format></payloadFactory>",
            members.join(",")
        ));
        for (size_name, size) in [("10KB", 10_000), ("100KB", 100_000)] {
            let parameter = format!("{count}/{size_name}");
            let json = ("application/json", &json(count, size));
            let xml = ("application/xml", &xml(count, size));
            let last = format!("value {}", count - 1);
            measure(c, GROUP, "json paths", &parameter, &paths, json, &last);
            measure(c, GROUP, "json inline", &parameter, &inline, json, &last);
            measure(c, GROUP, "xpath", &parameter, &xpaths, xml, &last);
            measure(
                c,
                GROUP,
                "FreeMarker",
                &parameter,
                &free_marker,
                json,
                &last,
            );
        }
    }
}

/// The body goes into a property, another takes its place, and the first comes back.
fn enrich(c: &mut Criterion) {
    const GROUP: &str = "enrich";
    let back_and_forth = Flow::new(
        "<enrich><source type=\"body\" clone=\"true\"/><target type=\"property\" property=\"kept\"/></enrich>\
         <enrich><source type=\"inline\"><other xmlns=\"\"/></source><target type=\"body\"/></enrich>\
         <enrich><source type=\"property\" property=\"kept\"/><target type=\"body\"/></enrich>",
    );
    let json_back_and_forth = Flow::new(
        "<enrich><source type=\"body\" clone=\"true\"/><target type=\"property\" property=\"kept\"/></enrich>\
         <enrich><source type=\"inline\">{\"other\":1}</source><target type=\"body\"/></enrich>\
         <enrich><source type=\"property\" property=\"kept\"/><target type=\"body\"/></enrich>",
    );
    let child = Flow::new(
        "<enrich><source type=\"inline\"><new xmlns=\"\">1</new></source><target action=\"child\" xpath=\"//elements\"/></enrich>",
    );
    let json_child = Flow::new(
        "<enrich><source type=\"inline\">{\"new\":1}</source><target action=\"child\" xpath=\"json-eval($.elements)\"/></enrich>",
    );
    for (name, size) in SIZES {
        let (_, items_xml, items_json) = items(size);
        let (in_xml, in_json) = ("application/xml", "application/json");
        for (what, flow, kind, body, contains) in [
            (
                "XML of items",
                &back_and_forth,
                in_xml,
                &items_xml,
                "<id>0</id>",
            ),
            (
                "JSON of items",
                &json_back_and_forth,
                in_json,
                &items_json,
                "\"id\":0",
            ),
            ("child, XML", &child, in_xml, &xml(5, size), "<new>1"),
            (
                "child, JSON",
                &json_child,
                in_json,
                &json(5, size),
                "\"new\":1",
            ),
        ] {
            measure(c, GROUP, what, name, flow, (kind, body), contains);
        }
        let body = xml(5, size);
        measure(
            c,
            GROUP,
            "XML",
            name,
            &back_and_forth,
            ("application/xml", &body),
            "value 4",
        );
        let body = json(5, size);
        measure(
            c,
            GROUP,
            "JSON",
            name,
            &json_back_and_forth,
            ("application/json", &body),
            "value 4",
        );
    }
}

fn iterate_and_aggregate(c: &mut Criterion) {
    const GROUP: &str = "iterate and aggregate";
    let xml_flow = Flow::new(
        "<iterate expression=\"//item\"><target><sequence><property name=\"seen\" expression=\"//id\"/>\
         <aggregate><onComplete expression=\"//item\"><respond/></onComplete></aggregate></sequence></target></iterate>",
    );
    let json_flow = Flow::new(
        "<iterate expression=\"json-eval($.items)\"><target><sequence><property name=\"seen\" expression=\"json-eval($.id)\"/>\
         <aggregate><onComplete expression=\"json-eval($)\" aggregateElementType=\"root\"><respond/></onComplete></aggregate></sequence></target></iterate>",
    );
    for (name, size) in SIZES {
        let (_, xml, json) = items(size);
        let body = ("application/xml", &xml);
        measure(c, GROUP, "XML", name, &xml_flow, body, "<id>0</id>");
        let body = ("application/json", &json);
        measure(c, GROUP, "JSON", name, &json_flow, body, "\"id\":0");
    }
}

fn foreach(c: &mut Criterion) {
    const GROUP: &str = "foreach";
    let version1 = Flow::new(
        "<foreach expression=\"json-eval($.items)\"><sequence><property name=\"seen\" expression=\"json-eval($.id)\"/></sequence></foreach>",
    );
    let version2 = Flow::new(
        "<foreach collection=\"${payload.items}\" parallel-execution=\"false\"><sequence><payloadFactory media-type=\"json\"><format>{\"id\":${payload.id}}</format></payloadFactory></sequence></foreach>",
    );
    for (name, size) in SIZES {
        let (_, _, json) = items(size);
        let body = ("application/json", &json);
        measure(c, GROUP, "expression", name, &version1, body, "\"id\":0");
        measure(c, GROUP, "collection", name, &version2, body, "\"id\":0");
    }
}

fn clone_and_aggregate(c: &mut Criterion) {
    const GROUP: &str = "clone and aggregate";
    for targets in [2, 4, 8] {
        let target: String = (0..targets)
            .map(|n| {
                format!(
                    "<target><sequence><property name=\"n\" value=\"{n}\"/><sequence key=\"join\"/></sequence></target>"
                )
            })
            .collect();
        let flow = Flow::new(&format!(
            "<property name=\"all\"><all xmlns=\"\"/></property><clone id=\"c\">{target}</clone>"
        ));
        let branch = "<sequence><property name=\"n\" value=\"1\"/></sequence>".repeat(targets);
        let scatter = Flow::new(&format!(
            "<scatter-gather target=\"body\" result-content-type=\"JSON\"><aggregation expression=\"${{payload}}\"/>{branch}</scatter-gather>"
        ));
        for (name, size) in SIZES {
            let parameter = format!("{targets}/{name}");
            let body = xml(5, size);
            let body = ("application/xml", &body);
            measure(c, GROUP, "clone, XML", &parameter, &flow, body, "<all>");
            let body = json(5, size);
            let body = ("application/json", &body);
            measure(
                c,
                GROUP,
                "scatter-gather, JSON",
                &parameter,
                &scatter,
                body,
                "value 4",
            );
        }
    }
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = payload_factory, enrich, iterate_and_aggregate, foreach, clone_and_aggregate
}
criterion_main!(benches);
