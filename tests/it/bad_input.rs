//! Bodies and expressions that are made to explode, through the real program: every one is answered within a bound of
//! time, all of them together within a bound of memory, and the next request works.

use crate::support::program::{Program, ask};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;

/// The longest that one answer may take; unoptimised builds and busy machines included.
const LONGEST: Duration = Duration::from_secs(20);
/// How much the process may grow over all of them.
const MEMORY: u64 = 512 * MIB;

/// What reads a body in each way there is. Paths and patterns are the worst that people write by accident.
const SERVICES: &[(&str, &str)] = &[
    ("Tree", "<property name='x' expression='count(//*[@*])'/>"),
    (
        "Search",
        "<property name='x' expression=\"//*[.//*[.//* = 'x']]\"/>",
    ),
    (
        "First",
        "<filter xpath=\"//wanted = 'x'\"><then/><else/></filter>",
    ),
    ("Json", "<property name='x' expression='json-eval($..a)'/>"),
    (
        "Deep",
        "<property name='x' expression='json-eval($..*..*..*)'/>",
    ),
    (
        "Filter",
        "<property name='x' expression='json-eval($.l[?(@.a &lt; $.n || @.a in $..b)])'/>",
    ),
    (
        "Synapse",
        "<property name='x' expression='${length(string(payload)) + 1}'/>",
    ),
    (
        "Regex",
        "<filter source='string($body)' regex='(.*)*(a|aa)+$'><then/><else/></filter>",
    ),
    (
        "ToXml",
        "<property name='messageType' value='application/xml' scope='axis2'/>",
    ),
    (
        "ToJson",
        "<property name='messageType' value='application/json' scope='axis2'/>",
    ),
    ("Text", "<property name='x' expression='//a'/>"),
    (
        "Nodes",
        "<variable name='x' expression=\"${xpath('//a')}\"/>",
    ),
    ("Tails", "<variable name='x' expression='${$..a}'/>"),
    (
        "Copy",
        "<enrich><source xpath='$body'/><target type='property' property='b'/></enrich>",
    ),
];

fn repeated(parts: &[(&str, usize)]) -> Vec<u8> {
    let pieces: Vec<String> = parts.iter().map(|(text, n)| text.repeat(*n)).collect();
    pieces.concat().into_bytes()
}

fn counted(before: &str, count: usize, item: impl Fn(usize) -> String, after: &str) -> Vec<u8> {
    let items: String = (0..count).map(item).collect();
    format!("{before}{items}{after}").into_bytes()
}

/// Name, content type, body, and whether it is refused as a document of its type by all that read it whole.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>, bool)> {
    let xml = "application/xml";
    let json = "application/json";
    let laughs: String = (1..10)
        .map(|i| {
            let earlier = format!("&l{};", i - 1).repeat(10);
            format!("<!ENTITY l{i} \"{earlier}\">")
        })
        .collect();
    let digits = "7".repeat(10_000);
    vec![
        (
            "billion laughs",
            xml,
            format!("<!DOCTYPE l [<!ENTITY l0 \"lol\">{laughs}]><l>&l9;</l>").into_bytes(),
            true,
        ),
        (
            "external entity",
            xml,
            b"<!DOCTYPE l [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><l>&f;</l>".to_vec(),
            true,
        ),
        (
            "a million attributes",
            xml,
            counted("<a", 1_000_000, |i| format!(" a{i}=''"), "/>"),
            true,
        ),
        (
            "a million equal attributes",
            xml,
            repeated(&[("<a", 1), (" a=''", 1_000_000), ("/>", 1)]),
            true,
        ),
        (
            "duplicate attributes by namespace",
            xml,
            b"<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>".to_vec(),
            true,
        ),
        ("unbound prefix", xml, b"<a><p:b/></a>".to_vec(), true),
        (
            "unbound prefix of an attribute",
            xml,
            b"<a p:x='1'/>".to_vec(),
            true,
        ),
        (
            "depth",
            xml,
            repeated(&[("<a>", 200_000), ("</a>", 200_000)]),
            true,
        ),
        (
            "width",
            xml,
            counted("<a>", 40_000, |i| format!("<b>{i}</b>"), "</a>"),
            false,
        ),
        (
            "a deep and wide tree",
            xml,
            repeated(&[("<a>", 200), ("<b/>", 20_000), ("</a>", 200)]),
            false,
        ),
        (
            "one long text",
            xml,
            repeated(&[("<a>", 1), ("a", 2_000_000), ("</a>", 1)]),
            false,
        ),
        (
            "many references",
            xml,
            repeated(&[("<a>", 1), ("&#x41;", 50_000), ("</a>", 1)]),
            false,
        ),
        (
            "many comments",
            xml,
            repeated(&[("<a>", 1), ("<!---->", 50_000), ("</a>", 1)]),
            false,
        ),
        (
            "a comment that never ends",
            xml,
            repeated(&[("<a><!--", 1), ("-", 1_000_000)]),
            true,
        ),
        (
            "invalid UTF-8",
            xml,
            b"<a>\xff\xfe\xc3\x28</a>".to_vec(),
            true,
        ),
        ("overlong UTF-8", xml, b"<a>\xc0\xbcb/></a>".to_vec(), true),
        (
            "a surrogate in UTF-8",
            xml,
            b"<a>\xed\xa0\x80</a>".to_vec(),
            true,
        ),
        (
            "a surrogate as a reference",
            xml,
            b"<a>&#xD800;</a>".to_vec(),
            true,
        ),
        ("NUL", xml, b"<a>\0</a>".to_vec(), true),
        ("NUL as a reference", xml, b"<a>&#0;</a>".to_vec(), true),
        (
            "a number of 10,000 digits in XML",
            xml,
            format!("<a><b>{digits}</b><c>{digits}.{digits}</c><d>1e{digits}</d></a>").into_bytes(),
            false,
        ),
        (
            "numbers of 10,000 digits",
            json,
            format!(
                "{{\"a\":{digits},\"b\":-{digits}.{digits},\"c\":1e{digits},\"d\":1E-{digits}}}"
            )
            .into_bytes(),
            false,
        ),
        ("brackets", json, repeated(&[("[", 1_000_000)]), true),
        (
            "brackets that are closed",
            json,
            repeated(&[("[", 500_000), ("]", 500_000)]),
            true,
        ),
        (
            "objects",
            json,
            repeated(&[("{\"a\":", 300_000), ("1", 1), ("}", 300_000)]),
            true,
        ),
        (
            "many values",
            json,
            repeated(&[("[0", 1), (",0", 40_000), ("]", 1)]),
            false,
        ),
        (
            "many members",
            json,
            counted("{\"a\":0", 40_000, |i| format!(",\"a{i}\":{i}"), "}"),
            false,
        ),
        (
            "one name many times",
            json,
            repeated(&[("{\"a\":0", 1), (",\"a\":1", 40_000), ("}", 1)]),
            false,
        ),
        (
            "an array with a long name",
            json,
            repeated(&[
                ("{\"", 1),
                ("a", 100_000),
                ("\":[0", 1),
                (",0", 50_000),
                ("]}", 1),
            ]),
            false,
        ),
        (
            "attributes between members",
            json,
            counted(
                "{",
                20_000,
                |i| format!("\"@a{i}\":1,\"c{i}\":{{\"@b\":1}},"),
                "\"z\":1}",
            ),
            false,
        ),
        (
            "attributes between members of BadgerFish",
            "application/json/badgerfish",
            counted(
                "{\"r\":{",
                20_000,
                |i| format!("\"@a{i}\":1,\"c{i}\":{{\"@b\":1}},"),
                "\"z\":1}}",
            ),
            false,
        ),
        (
            "many items beside a long number",
            json,
            repeated(&[
                ("{\"l\":[{\"a\":1}", 1),
                (",{\"a\":1}", 40_000),
                ("],\"n\":7", 1),
                ("7", 1_000_000),
                ("}", 1),
            ]),
            false,
        ),
        (
            "many items beside many members",
            json,
            counted(
                "{\"l\":[{\"a\":1}",
                20_000,
                |_| ",{\"a\":1}".to_owned(),
                &format!(
                    "],{}\"n\":0}}",
                    (0..20_000)
                        .map(|i| format!("\"m{i}\":0,"))
                        .collect::<String>()
                ),
            ),
            false,
        ),
        (
            "half a surrogate pair",
            json,
            br#"{"a":"\ud800"}"#.to_vec(),
            false,
        ),
        (
            "half a surrogate pair in a name",
            json,
            br#"{"\udc00":1}"#.to_vec(),
            false,
        ),
        ("NUL in JSON", json, b"{\"a\":\"\0\"}".to_vec(), false),
        ("NUL escaped", json, br#"{"a":"\u0000"}"#.to_vec(), false),
        (
            "invalid UTF-8 in JSON",
            json,
            b"{\"a\":\"\xff\xfe\"}".to_vec(),
            false,
        ),
        (
            "a string that never ends",
            json,
            repeated(&[("{\"a\":\"", 1), ("\\\\", 500_000)]),
            true,
        ),
        (
            "text for a pattern that explodes",
            xml,
            repeated(&[("<a>", 1), ("a", 100_000), ("!</a>", 1)]),
            false,
        ),
        (
            "form fields",
            "application/x-www-form-urlencoded",
            counted("a=0", 30_000, |i| format!("&a{i}=%41"), ""),
            false,
        ),
        (
            "form names that are no names",
            "application/x-www-form-urlencoded",
            b"%00=1&=2&&%zz=%&<a>=3&\xff=4".to_vec(),
            false,
        ),
        (
            "parts without end",
            "multipart/form-data; boundary=b",
            repeated(&[("--b\r\n", 100_000)]),
            true,
        ),
        (
            "related parts without end",
            "multipart/related; boundary=b; type=\"text/xml\"",
            repeated(&[("--b\r\nContent-Id: <", 1), ("x", 1_000_000)]),
            true,
        ),
    ]
}

/// Whether a service may answer 200 to what is no document: it reads as much as it needs, relays it as it came, or a
/// path that cannot be evaluated is the empty text (spec 05 §2.4).
fn passes(service: &str) -> bool {
    matches!(
        service,
        "First" | "ToJson" | "ToXml" | "Json" | "Deep" | "Filter" | "Tails"
    )
}

struct Gateway {
    program: Program,
    http: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    async fn start() -> Gateway {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let deployment = folder.path().join("deployment");
        std::fs::create_dir(&deployment).expect("a directory");
        let proxies: String = SERVICES
            .iter()
            .map(|(name, mediator)| {
                format!(
                    "<proxy name='{name}'><target><inSequence>{mediator}<respond/></inSequence></target></proxy>"
                )
            })
            .collect();
        let text =
            format!("<definitions xmlns='http://ws.apache.org/ns/synapse'>{proxies}</definitions>");
        std::fs::write(deployment.join("all.xml"), text).expect("a written file");
        let program = Program::run(&deployment, &[]);
        let http = program.ready().await;
        Gateway {
            program,
            http,
            _folder: folder,
        }
    }

    async fn status(&self, service: &str, content_type: &str, body: &[u8]) -> Option<u16> {
        let mut bytes = format!(
            "POST /services/{service} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        ask(self.http, &bytes).await.map(|reply| reply.status)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_body_is_answered_in_time() {
    let gateway = Gateway::start().await;
    let ok = gateway.status("Tree", "text/xml", b"<ok/>").await;
    assert_eq!(ok, Some(200), "{}", gateway.program.output());
    let before = gateway.program.memory("VmHWM");
    let mut wrong = Vec::new();
    for (name, content_type, body, refused) in bodies() {
        for (service, _) in SERVICES {
            let started = Instant::now();
            let status = gateway.status(service, content_type, &body).await;
            let took = started.elapsed();
            let answered = match status {
                Some(200) => !refused || passes(service),
                Some(400 | 413 | 500) => true,
                _ => false,
            };
            if !answered || took > LONGEST {
                wrong.push(format!("{name} to {service}: {status:?} after {took:?}"));
            }
            if std::env::var_os("SHOW").is_some() {
                let grown = gateway.program.memory("VmHWM").saturating_sub(before) / MIB;
                println!("{name} to {service}: {status:?} after {took:?}, {grown} MiB");
            }
        }
        let ok = gateway.status("Tree", "text/xml", b"<ok/>").await;
        assert_eq!(ok, Some(200), "after {name}");
    }
    let grown = gateway.program.memory("VmHWM").saturating_sub(before);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if std::env::var_os("SHOW").is_some() {
        println!("the memory grew by {} MiB", grown / MIB);
    }
    assert!(grown < MEMORY, "the memory grew by {grown} bytes");
}
