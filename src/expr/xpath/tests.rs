//! The tables of spec 05, and the message that the tests share.

mod bounds;
mod standard;
mod trees;

use super::convert::parse_number;
use super::*;
use crate::xml::Limits;
use proptest::prelude::*;
use std::collections::HashMap;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const LINES: &str = "<o:order xmlns:o=\"urn:o\" id=\"7\"><o:line n=\"1\">Pen</o:line>\
    <o:line n=\"2\">Ink</o:line><o:sum>12.50</o:sum><o:nil/><o:pad>  a b  </o:pad></o:order>";
/// The JSON fixture in its XML form (spec 05 §3.8), as far as the tables use it.
const JSON: &str = "<jsonObject><name>Ann</name><age>41</age><idx>1</idx><pad> hi </pad><none/>\
    <ok>true</ok><tags>red</tags><tags>green</tags><tags>blue</tags><tags>cyan</tags>\
    </jsonObject>";

fn document(xml: &str) -> Document {
    Document::parse(xml.to_owned().into(), &Limits::default()).unwrap()
}

/// Fixtures of spec 05 appendix A.
struct Message {
    tree: Document,
    has_document: bool,
    to: &'static str,
    xml: Document,
    properties: HashMap<(&'static str, &'static str), PropertyValue<'static>>,
    xml_properties: Vec<(&'static str, Document)>,
}

impl Message {
    fn new(body: &str, has_document: bool) -> Message {
        let tree = document(&format!(
            "<soapenv:Envelope xmlns:soapenv=\"{SOAP11}\"><soapenv:Header/>\
             <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        ));
        Message::with_tree(tree, has_document)
    }

    fn with_tree(tree: Document, has_document: bool) -> Message {
        use PropertyValue as P;
        let text = |s: &'static str| P::String(s.into());
        let properties = HashMap::from([
            (("Default", "str"), text("abc")),
            (("Default", "key"), text("name")),
            (("Default", "n5"), P::Integer(5)),
            (("Default", "f"), P::Float(1.1)),
            (("Default", "d5"), P::Double(5.0)),
            (("Default", "yes"), P::Boolean(true)),
            (("Default", "blank"), text("")),
            (("Default", "jo"), P::Json(r#"{"a":{"b":7}}"#.into())),
            (("Default", "uri.var.id"), text("0042")),
            (("Default", "body"), text("shadowed")),
            (("Axis2", "mode"), text("M")),
            (("Axis2", "HTTP_SC"), P::Integer(200)),
            (("Transport", "x-num"), text("400")),
            (("Transport", "x-zero"), text("007")),
            (("Func", "p1"), text("v1")),
            (("Variable", "vs"), text("txt")),
            (("Variable", "vi"), P::Integer(10)),
            (("System", "user.zone"), text("UTC")),
            (("Registry", "conf/a"), text("resource")),
        ]);
        Message {
            tree,
            has_document,
            to: "http://h:1/svc/x?a=1&B=two%20words&c=a+b&e=&f&g=1=2&h=%zz",
            xml: document("<r><v>1</v><v>2</v></r>"),
            properties,
            xml_properties: vec![("entry", document("<e>local</e>"))],
        }
    }

    fn part(&self, name: &str) -> Option<(&Document, NodeId)> {
        let envelope = self.tree.root_element()?;
        let part = self
            .tree
            .child_elements(envelope)
            .find(|&n| self.tree.local_name(n) == name)?;
        Some((&self.tree, part))
    }
}

impl Scope for Message {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.tree, self.tree.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        self.part("Header")
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        self.part("Body")
    }
    fn has_document_root(&self) -> bool {
        self.has_document
    }
    fn property(&self, scope: PropertyScope, name: &str) -> PropertyValue<'_> {
        let is_xml = matches!(
            (scope, name),
            (PropertyScope::Default, "om") | (PropertyScope::Variable, "vx")
        );
        if is_xml {
            return PropertyValue::Xml(&self.xml, self.xml.root_element().unwrap());
        }
        let name = match scope {
            PropertyScope::Transport => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        };
        let found = self
            .properties
            .iter()
            .find(|((s, n), _)| *s == format!("{scope:?}") && *n == name);
        found.map_or(PropertyValue::Null, |(_, v)| v.clone())
    }
    fn local_entry(&self, key: &str) -> PropertyValue<'_> {
        self.xml_properties
            .iter()
            .find(|(k, _)| *k == key)
            .map_or(PropertyValue::Null, |(_, d)| {
                PropertyValue::Xml(d, d.root_element().unwrap())
            })
    }
    fn well_known(&self, name: &str) -> Option<PropertyValue<'_>> {
        match name {
            "To" => Some(PropertyValue::String(self.to.into())),
            "From" | "FaultTo" | "ReplyTo" | "FAULT" => Some(PropertyValue::String("".into())),
            _ => None,
        }
    }
    fn to(&self) -> Option<&str> {
        Some(self.to)
    }
    fn now_millis(&self) -> i64 {
        1_700_000_000_123
    }
    fn map_entry(&self, property: &str, key: &str) -> PropertyValue<'_> {
        match (property, key) {
            ("map", "k") => PropertyValue::String("mv".into()),
            _ => PropertyValue::Null,
        }
    }
}

fn namespaces() -> Namespaces {
    let bind = |p: &str, u: &str| (p.to_owned(), u.to_owned());
    Namespaces(vec![bind("o", "urn:o"), bind("s11", SOAP11)])
}

fn compile(text: &str) -> XPath {
    XPath::compile(text, &namespaces()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[derive(Debug)]
enum Want {
    Text(&'static str),
    Null,
    Throws(&'static str),
    Deploy,
}
use Want::{Deploy, Null, Text, Throws};

fn check_table(rows: &[(&Message, &str, Want)]) {
    let mut wrong = Vec::new();
    for (message, expression, want) in rows {
        let got = match XPath::compile(expression, &namespaces()) {
            Err(_) => Err(None),
            Ok(xpath) => xpath.string_value_of(*message).map_err(Some),
        };
        let right = match (&got, want) {
            (Ok(Some(got)), Text(want)) => got == want,
            (Ok(None), Null) | (Err(None), Deploy) => true,
            (Err(Some(e)), Throws(want)) => e.message.contains(want),
            _ => false,
        };
        if !right {
            wrong.push(format!("{expression}\n  want {want:?}\n  got  {got:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Spec 05 appendix B.1.
#[test]
fn selection_and_string_conversion() {
    let xa = &Message::new(LINES, false);
    let xs = &Message::new(LINES, true);
    let xn = &Message::new("<note>mix<b>ed</b>up</note>", false);
    let ja = &Message::new(JSON, false);
    check_table(&[
        (xa, "/s11:Envelope/s11:Body/o:order/o:sum", Text("")),
        (xs, "/s11:Envelope/s11:Body/o:order/o:sum", Text("12.50")),
        (xa, "/s11:Body/o:order/o:sum", Text("12.50")),
        (xa, "s11:Body/o:order/o:sum", Text("12.50")),
        (xa, "o:order/o:sum", Text("")),
        (xa, "$body/o:order/o:sum", Text("12.50")),
        (xa, "$env/s11:Body/o:order/@id", Text("7")),
        (
            xa,
            "//o:line",
            Text(
                "<o:line xmlns:o=\"urn:o\" n=\"1\">Pen</o:line>\
                 <o:line xmlns:o=\"urn:o\" n=\"2\">Ink</o:line>",
            ),
        ),
        (xa, "//o:line[2]", Text("Ink")),
        (xa, "//o:line/@n", Text("12")),
        (xa, "//o:line/text()", Text("PenInk")),
        (xa, "//o:nil", Text("<o:nil xmlns:o=\"urn:o\"/>")),
        (xa, "//o:nil/text()", Text("")),
        (xa, "//o:missing", Text("")),
        (xa, "//o:pad", Text("a b")),
        (xa, "//o:pad/text()", Text("  a b  ")),
        (xa, "string(//o:pad)", Text("  a b  ")),
        (xn, "//note", Text("mixup")),
        (xn, "string(//note)", Text("mixedup")),
        (
            xa,
            "//o:sum/node()",
            Text("<o:sum xmlns:o=\"urn:o\">12.50</o:sum>"),
        ),
        (
            xa,
            "//o:sum | //o:pad",
            Text("<o:sum xmlns:o=\"urn:o\">12.50</o:sum><o:pad xmlns:o=\"urn:o\">a b</o:pad>"),
        ),
        (xa, "count(//o:line)", Text("2.0")),
        (xa, "concat(count(//o:line),'/',1 div 4)", Text("2/0.25")),
        (xa, "string(count(//o:line))", Text("2")),
        (xa, "10000000", Text("1.0E7")),
        (xa, "1 div 0", Text("Infinity")),
        (xa, "number('x')", Text("NaN")),
        (xa, "//o:sum = 12.5", Text("true")),
        (xa, "name($body/*)", Text("o:urn:o")),
        (xa, "local-name($body/*)", Text("order")),
        (xa, "name(//o:line[1]/@n)", Throws("name()")),
        (xa, "upper-case(//o:line[1])", Text("PEN")),
        (
            xa,
            "//nope:x",
            Throws("Cannot resolve namespace prefix 'nope'"),
        ),
        (xa, "$nope", Throws("Variable nope")),
        (xa, "matches('a','a')", Throws("No Such Function matches")),
        (xa, "foo[", Deploy),
        (ja, "//name", Text("Ann")),
        (ja, "$body/jsonObject/tags[2]", Text("green")),
    ]);
}

/// Spec 05 §3.1: roots per kind of message.
#[test]
fn roots() {
    let soap = &Message::new(LINES, true);
    let other = &Message::new(LINES, false);
    let count = |message: &Message, expression: &str| {
        compile(&format!("//none | {expression}"))
            .nodes(message)
            .unwrap()
            .len()
    };
    for (expression, on_soap, on_other) in [
        ("/s11:Envelope/s11:Body/o:order", 1, 0),
        ("/s11:Body/o:order", 0, 1),
        ("//s11:Envelope", 1, 0),
        ("s11:Body/o:order", 1, 1),
        ("//s11:Body/o:order", 1, 1),
        ("$body/o:order", 1, 1),
        ("//o:order", 1, 1),
        ("/", 1, 1),
        ("/..", 0, 0),
        ("//o:sum/ancestor::*", 3, 3),
        ("//o:sum/ancestor::node()", 4, 3),
        ("$ctx:om/v[/r]", 0, 0),
        ("$ctx:om/v[/v]", 2, 2),
        ("$ctx:om/..", 0, 0),
        ("$ctx:om/v/ancestor::node()", 1, 1),
        ("following::*", 0, 0),
    ] {
        assert_eq!(count(soap, expression), on_soap, "SOAP: {expression}");
        assert_eq!(count(other, expression), on_other, "other: {expression}");
    }
}

/// Spec 05 appendix B.2, then what its text says beyond the executed cases.
#[test]
fn properties_variables_functions() {
    let ja = &Message::new(JSON, false);
    check_table(&[
        (ja, "get-property('str')", Text("abc")),
        (ja, "any:get-property('str')", Text("abc")),
        (ja, "get-property('missing')", Null),
        (ja, "string(get-property('missing'))", Text("")),
        (ja, "concat('[',$ctx:missing,']')", Text("[]")),
        (ja, "get-property('axis2','mode')", Text("M")),
        (ja, "get-property('transport','x-num')", Text("400")),
        (ja, "get-property('transport','missing')", Null),
        (ja, "get-property('synapse','str')", Null),
        (ja, "get-property('axis2-client','str')", Null),
        (ja, "get-property('system','nope.nope')", Text("")),
        (ja, "get-property('env','NOPE_NOPE')", Text("")),
        (ja, "get-property('axis2','To')", Null),
        (ja, "get-property('FaultTo')", Text("")),
        (ja, "get-property()", Text("")),
        (ja, "get-property('a','b','c','d')", Throws("get-property")),
        (ja, "get-property('d5')", Text("5.0")),
        (ja, "string(get-property('d5'))", Text("5")),
        (ja, "get-property('n5')", Text("5")),
        (ja, "get-property('n5') + 1", Text("NaN")),
        (ja, "$axis2:HTTP_SC", Text("200")),
        (ja, "$trp:X-Zero", Text("007")),
        (ja, "$url:b", Text("two words")),
        (ja, "$url:c", Text("a b")),
        (ja, "$url:missing", Text("")),
        (ja, "$func:p1", Text("v1")),
        (ja, "$func:missing", Null),
        (ja, "$map:k", Text("mv")),
        (ja, "$map:zzz", Throws("Variable zzz")),
        (ja, "$ctx:om/v[2]", Text("2")),
        (ja, "$ctx:om/v", Text("<v>1</v><v>2</v>")),
        (ja, "get-property('om')", Text("<r><v>1</v><v>2</v></r>")),
        (ja, "$ctx:jo", Text(r#"{"a":{"b":7}}"#)),
        (ja, "$var:vs", Text("txt")),
        (ja, "$var:vx/v[1]", Text("1")),
        (ja, "base64Encode('hi')", Text("aGk=")),
        (ja, "base64Decode('ICBhIA==')", Text("a")),
        (ja, "url-encode('a b/c?d=e&f+g')", Text("a%20b/c?d=e&f+g")),
        (
            ja,
            "hmac-generate('hello','key')",
            Text("b34ceac4516ff23a143e61d79d0fa7a4fbe5f266"),
        ),
        (ja, "$ctx:uri.var.id", Text("0042")),
        (ja, "$ctx:body/jsonObject/age", Text("41")),
        (ja, "$ctx:om//v", Text("<v>1</v><v>2</v>")),
        (ja, "$ctx:str/x", Text("")),
        (ja, "$ctx:str[1]", Text("abc")),
        (ja, "$ctx:f", Text("1.1")),
        (ja, "string($ctx:f)", Text("1.100000023841858")),
        (ja, "string($ctx:jo)", Text("")),
        (
            ja,
            "$header/",
            Text("<soapenv:Header xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"/>"),
        ),
        (ja, "$sys:nope", Text("")),
        (ja, "$sys:user.zone", Text("UTC")),
        (ja, "$operation:nope", Null),
        (ja, "$url:e", Text("")),
        (ja, "$url:f", Text("")),
        (ja, "$url:g", Text("1")),
        (ja, "$url:h", Text("%zz")),
        (ja, "get-property('')", Text("")),
        (ja, "get-property('entry')", Text("local")),
        (ja, "get-property('registry','conf/a')", Text("resource")),
        (ja, "get-property('registry','conf/b')", Text("")),
        (ja, "get-property('func','p1')", Text("v1")),
        (ja, "get-property('nowhere','str','x')", Text("")),
        (ja, "get-property('default','str','x')", Text("abc")),
        (ja, "get-property('str','yyyy')", Text("abc")),
        (
            ja,
            "get-property('axis2','SYSTEM_TIME')",
            Text("1700000000123"),
        ),
        (
            ja,
            "get-property('SYSTEM_DATE','yyyy-MM-dd HH:mm:ss.SSS')",
            Text("2023-11-14 22:13:20.123"),
        ),
        (
            ja,
            "get-property('SYSTEM_DATE')",
            Text("11/14/23, 10:13 PM"),
        ),
        (ja, "get-property('axis2','SYSTEM_DATE','E')", Text("Tue")),
        (
            ja,
            "get-property('SYSTEM_DATE','yyyy n')",
            Throws("Illegal pattern character"),
        ),
        (ja, "fn:concat('a','b')", Text("ab")),
        (
            ja,
            "o:concat('a','b')",
            Throws("No Such Function {urn:o}:concat"),
        ),
        (ja, "o:base64Encode('hi')", Text("aGk=")),
        (ja, "concat('a')", Throws("concat()")),
        (ja, "base64Encode('')", Text("")),
        (ja, "base64Encode('a','b','c')", Text("")),
        (ja, "base64Encode('a','nope')", Throws("nope")),
        (ja, "base64Encode('é','ISO-8859-1')", Text("6Q==")),
        (ja, "base64Decode('6Q','latin1')", Text("é")),
        (ja, "base64Decode('aGk_')", Text("hi?")),
        (ja, "url-encode('a+b%')", Text("a%2Bb%25")),
        (ja, "url-encode('é')", Text("%C3%A9")),
        (
            ja,
            "hmac-generate('hello','key','HmacMD5')",
            Text("04130747afca4d79e32e87cf2104f087"),
        ),
        (
            ja,
            "hmac-generate('hello','key','HmacSHA256')",
            Text("9307b3b915efb5171ff14d8cb55fbcc798c6c0ef1456d66ded1a6aa723a58b7b"),
        ),
        (ja, "hmac-generate('hello','key','nope')", Throws("nope")),
        (ja, "hmac-generate('hello','')", Throws("empty")),
        (ja, "hmac-generate('hello')", Text("")),
        (ja, "encrypt('a')", Text("")),
        (ja, "encrypt('a','b','c','d')", Throws("not supported")),
        (ja, "wso2:vault-lookup('a')", Throws("not supported")),
        (ja, "other:vault-lookup('a')", Throws("No Such Function")),
        (ja, "document('a')", Throws("not supported")),
        (ja, "id('a')", Text("")),
        (ja, "count('a')", Throws("count()")),
        (ja, "'a' | //name", Throws("Unions")),
        (ja, "$ctx:om[v = 2]/v[1]", Text("1")),
        (ja, "ends-with('abc','bc')", Text("true")),
        (ja, "lower-case('ÀB')", Text("àb")),
    ]);
    let bound = Namespaces(vec![("ctx".into(), "urn:c".into())]);
    let shadowed = XPath::compile("$ctx:str", &bound).unwrap();
    assert_eq!(
        shadowed.string_value_of(ja).unwrap_err().message,
        "Variable {urn:c}:str"
    );
}

/// Spec 05 appendix B.3, then its neighbours in §3.7.
#[test]
fn booleans() {
    let xa = &Message::new(LINES, false);
    let ja = &Message::new(JSON, false);
    for (message, expression, want) in [
        (xa, "//o:nil", true),
        (xa, "//o:missing", false),
        (xa, "//@id", true),
        (xa, "string(//o:nil)", false),
        (ja, "'false'", true),
        (ja, "get-property('missing')", false),
        (ja, "get-property('blank')", false),
        (ja, "get-property('missing') = ''", false),
        (ja, "get-property('missing') != ''", false),
        (ja, "string(get-property('missing')) = ''", true),
        (ja, "get-property('yes') = 'true'", true),
        (ja, "get-property('yes') = 'false'", true),
        (ja, "get-property('n5') = 5", false),
        (ja, "get-property('n5') = '5'", false),
        (ja, "string(get-property('n5')) = '5'", true),
        (ja, "get-property('n5') > 4", false),
        (ja, "get-property('d5') = '5'", true),
        (ja, "$axis2:HTTP_SC = 200", false),
        (ja, "$trp:X-Num = 400", true),
        (ja, "not($ctx:missing)", true),
        (ja, "get-property('n5') != 5", true),
        (ja, "$trp:X-Num = ' 4e2 '", false),
        (ja, "$trp:X-Num = number(' 4e2 ')", true),
        (ja, "$trp:X-Num >= 400 and $trp:X-Num < 400.5", true),
        (ja, "$ctx:n5", true),
        (ja, "$ctx:jo", true),
        (ja, "0", false),
        (ja, "0 div 0", false),
        (ja, "//ok = true()", true),
        (ja, "//none = false()", false),
        (ja, "//nope = false()", true),
        (ja, "//tags = $ctx:str", false),
        (ja, "$var:vx/v = 2", true),
        (ja, "$var:vx/v = //idx", true),
        (ja, "$var:vx/v != //idx", true),
        (ja, "//idx != //idx", false),
        (ja, "//nope != //idx", false),
        (ja, "//nope = //nope", false),
        (ja, "//age > //idx", true),
        (ja, "//idx > //age", false),
        (ja, "//name < 5", false),
        (ja, "5 > //idx", true),
        (ja, "'a' = 'b' = false()", true),
        (ja, "3 > 2 > 1", false),
    ] {
        assert_eq!(
            compile(expression).boolean(message),
            Ok(want),
            "{expression}"
        );
    }
}
