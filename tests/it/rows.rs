//! Rows of the specification's tables as data: each is run, or names the test that runs it, and none is missing.

use myelin::clock::Clock;
use myelin::expr::{Dynamic, Expr, LocalEntries, Namespaces, Scope, Template};
use myelin::message::{Body, BodyLimits, ClientFormat, Exchange, Fault, Message, To, Value};
use myelin::message::{Parameter, TemplateCall};
use myelin::settings::Settings;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const JA: &str = r#"{"name":"Ann","age":41,"idx":1,"pad":" hi ","none":null,"ok":true,"tags":["red","green","blue","cyan"],"mix":[1,2.50,"z",null,{"k":"v"}],"box":{"w":1.10,"h":"7","members":[9],"x-y":5},"big":12345678901234567890,"low":-3000000000,"items":[{"sku":"A1","qty":2,"price":9.5,"cat":"pen"},{"sku":"B2","qty":10,"price":19.95,"cat":"ink","memo":"m"},{"sku":"C3","qty":1,"price":120,"cat":"pen"}],"limit":10,"pick":"ink","js":"{\"p\":[1,2]}"}"#;
const XA: &str = r#"<o:order xmlns:o="urn:o" id="7"><o:line n="1">Pen</o:line><o:line n="2">Ink</o:line><o:sum>12.50</o:sum><o:nil/><o:pad>  a b  </o:pad></o:order>"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The lines of a table without comments, as cells.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = root().join("rows").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn xml(text: &str) -> Value {
    Value::xml(text, &Default::default()).unwrap_or_else(|| panic!("{text}"))
}

fn json(text: &str) -> Value {
    let value = myelin::json::parse(text.as_bytes(), &Default::default());
    Value::Json(Arc::new(value.unwrap_or_else(|e| panic!("{text}: {e}"))))
}

/// A message of appendix A.
fn message(name: &str) -> Message {
    let soap = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{XA}</s:Body></s:Envelope>");
    let (media, body) = match name {
        "JA" => ("application/json", JA),
        "XA" => ("application/xml", XA),
        "XS" => ("text/xml", soap.as_str()),
        "XN" => ("application/xml", "<note>mix<b>ed</b>up</note>"),
        json => ("application/json", json),
    };
    let headers = [
        ("content-type", media),
        ("x-num", "400"),
        ("x-zero", "007"),
        ("x-flag", "true"),
        ("x-quo", "\"q\""),
    ];
    let headers = headers
        .into_iter()
        .map(|(name, value)| {
            let name: http::HeaderName = name.parse().expect("a header name");
            (name, http::HeaderValue::from_str(value).expect("a value"))
        })
        .collect();
    let body = Body::Bytes(bytes::Bytes::copy_from_slice(body.as_bytes()));
    let uri = http::Uri::from_static("/svc/x");
    let mut message = Message::request(http::Method::POST, uri, headers, body);
    message.to = To::Address("http://h:1/svc/x?a=1&B=two%20words&c=a+b&e=&f".to_owned());
    let properties = [
        ("str", Value::from("abc")),
        ("key", Value::from("name")),
        ("n5", Value::Integer(5)),
        ("d5", Value::Double(5.0)),
        ("yes", Value::Boolean(true)),
        ("blank", Value::from("")),
        ("om", xml("<r><v>1</v><v>2</v></r>")),
        ("jo", json(r#"{"a":{"b":7}}"#)),
        ("jstr", Value::from(r#"{"a":{"b":7}}"#)),
        (
            "map",
            Value::Map(Arc::new(vec![("k".to_owned(), Value::from("mv"))])),
        ),
        ("uri.var.id", Value::from("0042")),
        ("query.param.n", Value::from("12")),
    ];
    for (name, value) in properties {
        message.properties.set(name, value);
    }
    message.axis2.set("mode", "M");
    message.axis2.set("p", "1234");
    message.axis2.set("HTTP_SC", Value::Integer(200));
    let map = vec![
        ("payload".to_owned(), json(JA)),
        ("attributes".to_owned(), json(r#"{"statusCode":201}"#)),
        ("xp".to_owned(), xml("<p><n>John</n><a>30</a></p>")),
    ];
    let variables = [
        ("vs", Value::from("txt")),
        ("vi", Value::Integer(10)),
        ("vd", Value::Double(-2.5)),
        ("vb", Value::Boolean(true)),
        ("vl", Value::Long(5_000_000_000)),
        ("vj", json(JA)),
        ("vt", Value::from(JA)),
        ("vx", xml("<root><v>1</v><v>2</v></root>")),
        ("a b", Value::from("sp")),
        ("bad", Value::from("{oops")),
        ("vm", Value::Map(Arc::new(map))),
    ];
    for (name, value) in variables {
        message.variables.set(name, value);
    }
    let parameter = ("p1".to_owned(), Parameter::Value(Value::from("v1")));
    message.templates.push(Arc::new(TemplateCall {
        parameters: vec![parameter],
    }));
    message
}

struct World {
    exchange: Exchange,
    entries: LocalEntries,
    clock: Clock,
    settings: Settings,
}

impl World {
    fn new() -> World {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut settings = Settings::default();
        settings.system_properties.insert("port", "8290");
        World {
            exchange: Exchange::new(address, address, false, ClientFormat::Rest),
            entries: LocalEntries::new(),
            clock: Clock::default(),
            settings,
        }
    }

    fn scope<'a>(&'a self, message: &'a Message) -> Scope<'a> {
        Scope {
            deferred: 0,
            message,
            exchange: &self.exchange,
            entries: &self.entries,
            clock: &self.clock,
            settings: &self.settings,
        }
    }

    /// The result as the tables write it; a swallowed failure is the empty text.
    fn run(&self, message: &Message, mode: &str, text: &str) -> String {
        let scope = &self.scope(message);
        let bind = |prefix: &str, uri: &str| (prefix.to_owned(), uri.to_owned());
        let namespaces = Namespaces(vec![bind("o", "urn:o"), bind("s11", SOAP11)]);
        let quoted = |result: Result<Option<String>, Fault>| match result {
            Ok(Some(text)) => format!("\"{text}\""),
            Ok(None) => "null".to_owned(),
            Err(_) => "THROWS".to_owned(),
        };
        if mode == "value" {
            return match Dynamic::compile(text, &namespaces) {
                Ok(Dynamic::Static(text)) => format!("static {text}"),
                Ok(dynamic) => match dynamic.value(scope) {
                    Ok(text) => format!("dynamic {text}"),
                    Err(_) => "THROWS".to_owned(),
                },
                Err(_) => "DEPLOY".to_owned(),
            };
        }
        if mode == "log" {
            return match Template::compile(text) {
                Ok(template) => quoted(template.render(scope).map(Some)),
                Err(_) => "DEPLOY".to_owned(),
            };
        }
        let Ok(expr) = Expr::compile(text, &namespaces) else {
            return "DEPLOY".to_owned();
        };
        match mode {
            "string" => quoted(expr.string(scope)),
            "boolean" => match expr.boolean(scope) {
                Ok(truth) => truth.to_string(),
                Err(_) => "THROWS".to_owned(),
            },
            "reads" => expr.needs_body().to_string(),
            "object" => match expr.object(scope) {
                Ok(Some(value)) => format!("{} {}", kind(&value), value.text()),
                Ok(None) => "null".to_owned(),
                Err(_) => "THROWS".to_owned(),
            },
            other => panic!("{other} is not asked for anywhere"),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "String",
        Value::Boolean(_) => "Boolean",
        Value::Integer(_) => "Integer",
        Value::Long(_) => "Long",
        Value::Double(_) => "Double",
        Value::Xml(_) => "Xml",
        Value::Json(_) => "Json",
        Value::Map(_) => "Map",
        Value::List(_) => "List",
        Value::Short(_) | Value::Float(_) => "number",
    }
}

/// All of appendices B and C that is one expression, against real messages.
#[tokio::test]
async fn expressions_give_what_the_reference_gave() {
    let world = World::new();
    let rows = table("expressions.tsv");
    let mut wrong = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let [number, name, mode, text, expected] = row.as_slice() else {
            panic!("a row has five cells: {row:?}");
        };
        assert!(
            at >= 282 || *number == format!("B{}", at + 1),
            "a row is missing before {number}"
        );
        let mut message = message(name);
        // What cannot be built is what the expression is about.
        let _ = message.build(&BodyLimits::default()).await;
        let is = world.run(&message, mode, text);
        if is != expected.trim_end_matches('†') {
            wrong.push(format!(
                "{number} {text}\n      is {is}\n     not {expected}"
            ));
        }
    }
    assert_eq!(rows.iter().filter(|r| r[0].starts_with('B')).count(), 282);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows that other tests cover: each test is there, and has in it what the row is about.
#[test]
fn every_other_row_names_its_test() {
    let rows = table("elsewhere.tsv");
    let mut wrong = Vec::new();
    let mut numbers = Numbers::default();
    for row in &rows {
        let [of, name, test, needle] = row.as_slice() else {
            panic!("a row has four cells: {row:?}");
        };
        numbers.add(of, name);
        if test.starts_with("none: ") {
            continue;
        }
        if let Err(problem) = is_in(test, needle) {
            wrong.push(format!("{of} {name}: {problem}"));
        }
    }
    for row in table("expressions.tsv") {
        if let Some(name) = row.first() {
            let (letter, number) = name.split_at(1);
            numbers.add(&format!("05 {letter}"), number);
        }
    }
    for (of, last) in [("05 B", 300), ("05 C", 78)] {
        let missing: Vec<u32> = (1..=last).filter(|n| !numbers.has(of, *n)).collect();
        if !missing.is_empty() {
            wrong.push(format!("{of}: no row {missing:?}"));
        }
    }
    wrong.extend(properties_without_row(&rows));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[derive(Default)]
struct Numbers(std::collections::HashSet<(String, u32)>);

impl Numbers {
    fn add(&mut self, of: &str, name: &str) {
        if let Ok(number) = name.parse() {
            self.0.insert((of.to_owned(), number));
        }
    }

    fn has(&self, of: &str, number: u32) -> bool {
        self.0.contains(&(of.to_owned(), number))
    }
}

/// Whether a test is there and has a text in it.
fn is_in(test: &str, needle: &str) -> Result<(), String> {
    let path = root().join("..");
    let text = match test.split_once("::") {
        Some((file, function)) => {
            let text =
                std::fs::read_to_string(path.join(file)).map_err(|e| format!("{file}: {e}"))?;
            if !text.contains(&format!("fn {function}(")) {
                return Err(format!("{file} has no function {function}"));
            }
            text
        }
        None if path.join(test).join("case.toml").is_file() => all_below(&path.join(test)),
        None => return Err(format!("there is no case {test}")),
    };
    let needle = needle.replace("\\n", "\n");
    let plain = text.replace("\\\"", "\"");
    match text.contains(&needle) || plain.contains(&needle) {
        true => Ok(()),
        false => Err(format!("{test} has no {needle:?} in it")),
    }
}

/// The text of all files of a case.
fn all_below(folder: &Path) -> String {
    let mut text = String::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).expect("a folder");
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
    text
}

/// Properties that the reference documentation of this program lists and no row is about; those that work need a test.
fn properties_without_row(rows: &[Vec<String>]) -> Vec<String> {
    let path = root().join("../docs/reference/properties.md");
    let text = std::fs::read_to_string(path).expect("the list of properties");
    let (_, tables) = text.split_once("## Default scope").expect("a section");
    let (tables, _) = tables.split_once("## Other scopes").expect("a section");
    let mut wrong = Vec::new();
    let cells = tables
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    for (names, rest) in cells {
        for name in names.split("`, `").map(|name| name.trim_end_matches('`')) {
            let of_name = |row: &&Vec<String>| row.get(1).is_some_and(|n| n == name);
            let mut tests = rows.iter().filter(of_name).filter_map(|row| row.get(2));
            let shown = rest.starts_with("works") || rest.starts_with("refused");
            let fits = |test: &String| !shown || !test.starts_with("none: ");
            if !tests.any(fits) {
                wrong.push(format!(
                    "docs/reference/properties.md: {name} has no row, or no test"
                ));
            }
        }
    }
    wrong
}
