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

/// The topics of research/xml-stack.md §4, with values by hand from XPath 1.0.
#[test]
fn xpath_one_point_zero() {
    let tree = document(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <p:list xmlns:p=\"urn:p\" xmlns=\"urn:d\" xml:lang=\"en-GB\">\
         <p:i n=\"1\">10</p:i><p:i n=\"2\">20</p:i><p:i n=\"3\">abc</p:i><p:i n=\"4\">9</p:i>\
         <note>n1</note><plain xmlns=\"\"><a><b>x</b><b>y</b></a><a><b>z</b></a></plain>\
         <c><![CDATA[<1&2>]]>!</c><!--remark--><?go fast?></p:list>\
         </s:Body></s:Envelope>",
    );
    let message = Message::with_tree(tree, true);
    let namespaces = Namespaces(vec![
        ("s".into(), SOAP11.into()),
        ("p".into(), "urn:p".into()),
        ("d".into(), "urn:d".into()),
    ]);
    for (expression, want) in [
        ("string(//p:i = '20')", "true"),
        ("string(//p:i != '10')", "true"),
        ("string(not(//p:i = '10'))", "false"),
        ("string(//p:i < 10)", "true"),
        ("string(//p:i < 9)", "false"),
        ("string(//p:i)", "10"),
        ("string(number(//p:i))", "10"),
        ("string(sum(//p:i[. != 'abc']))", "39"),
        ("string(sum(//p:i))", "NaN"),
        ("string(count(//p:i))", "4"),
        ("string(//p:i[2])", "20"),
        ("string(//p:i[last()])", "9"),
        ("string(//p:i[position()<3][2])", "20"),
        ("string((//d:note | //p:i)[2])", "20"),
        ("string((//d:note | //p:i)[last()])", "n1"),
        ("string(count(//p:i | //p:i[1] | //p:list/p:i))", "4"),
        ("local-name(//*[. = 'n1'])", "note"),
        ("namespace-uri(//*[local-name() = 'note'])", "urn:d"),
        ("string(count(//note))", "0"),
        ("string(count(//d:note))", "1"),
        ("string(//p:i[1]/following-sibling::p:i[1])", "20"),
        ("string(//p:i[4]/preceding-sibling::p:i[1])", "abc"),
        ("local-name(//b[1]/ancestor::*[2])", "plain"),
        ("string(//a/b[2])", "y"),
        ("string(count(//b[1]))", "2"),
        ("string((//b)[3])", "z"),
        ("concat('a', 1, true())", "a1true"),
        ("substring('12345', 1.5, 2.6)", "234"),
        ("substring('12345', 0 div 0, 3)", ""),
        ("substring('12345', -42, 1 div 0)", "12345"),
        ("substring('12345', 0, 3)", "12"),
        ("translate('bar','abc','AB')", "BAr"),
        ("normalize-space('  a  b ')", "a b"),
        ("substring-after('1999/04/01','/')", "04/01"),
        ("substring-before('1999/04/01','/')", "1999"),
        ("string(boolean('false'))", "true"),
        ("string('10' < '9')", "false"),
        ("string(-1 div 0)", "-Infinity"),
        ("string(10 div 3)", "3.3333333333333335"),
        ("string(round(-2.5))", "-2"),
        ("string(round(2.5))", "3"),
        ("string(1000000000)", "1000000000"),
        ("string(0.000001)", "0.000001"),
        ("string(-0)", "0"),
        ("string(//d:c)", "<1&2>!"),
        ("concat(get-property('str'), $ctx:str)", "abcabc"),
        ("string(5 mod -2)", "1"),
        ("string(-5 mod 2)", "-1"),
        ("string(2 + 3 * 4 - 6 div 2)", "11"),
        ("string(- - 3)", "3"),
        ("string(//comment())", "remark"),
        ("string(//processing-instruction('go'))", "fast"),
        ("name(//processing-instruction())", "go"),
        ("string(count(//processing-instruction('stop')))", "0"),
        ("string(count(//p:i[lang('en')]))", "4"),
        ("string(count(//b/following::*))", "4"),
        ("string(count(//d:c/preceding::*))", "11"),
        ("string(count(//a[2]/preceding::*))", "8"),
        ("string(count(//p:i[1]/following::*))", "11"),
        ("string(count(//p:*))", "5"),
        ("string(count(//@*))", "5"),
        ("string(count(//@n[. > 2]))", "2"),
        ("string(//@n[. = 3]/..)", "abc"),
        ("string(count(//plain/namespace::*))", "3"),
        ("string(count(//p:i[1]/namespace::*))", "4"),
        ("string(//p:i[1]/namespace::p)", "urn:p"),
        ("string(count(//b/ancestor-or-self::*))", "9"),
        ("string(count(//a/descendant-or-self::*))", "5"),
        ("string(count(//node()/self::b))", "3"),
        ("string(count(//b/../../a))", "2"),
        ("string(count(//*[self::p:i or self::d:c]))", "5"),
        ("local-name(//*[@n=2])", "i"),
        ("string(//p:i[@n='3'][. = 'abc']/@n)", "3"),
        ("string(//p:i[1.9])", "10"),
        ("string-length(//p:i[3])", "3"),
        ("string(count(/descendant::p:i[2]))", "1"),
        ("string(count(//p:list/p:i[2]/self::node()[1]))", "1"),
        ("string(1 = 1.0 and 2 != 3 or 1 div 0 < 0)", "true"),
        ("string(//a[b = 'z']/b)", "z"),
        ("string(count(//a[count(b) = 2]))", "1"),
        ("string(//p:i[position() = last() - 1])", "abc"),
        (
            "string(starts-with('ab', 'a') and contains('abc', 'bc'))",
            "true",
        ),
        ("string(floor(-1.5) + ceiling(1.2))", "0"),
    ] {
        let xpath = XPath::compile(expression, &namespaces).unwrap();
        let got = xpath.evaluate(&message).map(|v| match v {
            Value::String(s) => s.into_owned(),
            Value::Number(n) => n.to_string(),
            other => format!("{other:?}"),
        });
        assert_eq!(got.as_deref(), Ok(want), "{expression}");
        assert!(xpath.warnings().is_empty(), "{expression}");
    }
}

#[test]
fn numbers_to_text() {
    for (number, java, xpath) in [
        (2.0, "2.0", "2"),
        (0.25, "0.25", "0.25"),
        (1e7, "1.0E7", "10000000"),
        (9_999_999.5, "9999999.5", "9999999.5"),
        (1.5e-3, "0.0015", "0.0015"),
        (1e-4, "1.0E-4", "0.0001"),
        (1.234e21, "1.234E21", "1234000000000000000000"),
        (-0.0, "-0.0", "0"),
        (f64::NAN, "NaN", "NaN"),
        (f64::NEG_INFINITY, "-Infinity", "-Infinity"),
        (1e-40, "1.0E-40", "0"),
        (1.9e-32, "1.9E-32", "0.00000000000000000000000000000002"),
    ] {
        assert_eq!(java_double(number), java);
        assert_eq!(convert::xpath_number(number), xpath);
    }
    assert_eq!(java_float(1.1), "1.1");
    for (text, number) in [
        (" 12 ", 12.0),
        ("+1e3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("5d", 5.0),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        assert_eq!(parse_number(text), number, "{text}");
    }
    for text in [
        "", ".", "e3", "1e", "inf", "nan", "1 2", "0x10", "1_0", "--1", "\u{A0}1",
    ] {
        assert!(parse_number(text).is_nan(), "{text}");
    }
}

#[test]
fn dates() {
    let format = |pattern: &str| date::format(1_700_000_000_123, pattern, 0);
    for (pattern, want) in [
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2023-11-14T22:13:20.123Z"),
        ("yy M d H m s S", "23 11 14 22 13 20 123"),
        (
            "EEEE, dd MMMM yyyy hh 'o''clock' a",
            "Tuesday, 14 November 2023 10 o'clock PM",
        ),
        ("EEE MMM z Z X", "Tue Nov UTC +0000 Z"),
        ("D w W F u k K G YYYY", "318 46 3 2 2 22 10 AD 2023"),
        ("''", "'"),
    ] {
        assert_eq!(format(pattern).as_deref(), Ok(want), "{pattern}");
    }
    assert!(format("yyyy 'open").is_err());
    assert!(format("b").is_err());
    assert_eq!(
        date::format(0, "HH:mm Z XXX X", 330).as_deref(),
        Ok("05:30 +0530 +05:30 +05")
    );
    assert_eq!(
        date::format(-1, "yyyy-MM-dd HH:mm:ss.SSS", 0).as_deref(),
        Ok("1969-12-31 23:59:59.999")
    );
    assert_eq!(
        date::format(951_782_400_000, "yyyy-MM-dd D", 0).as_deref(),
        Ok("2000-02-29 60")
    );
    assert_eq!(
        date::format(1_703_980_800_000, "YYYY w", 0).as_deref(),
        Ok("2024 1")
    );
}

#[test]
fn body_is_needed_only_where_it_is_read() {
    for (expression, want) in [
        ("//x", true),
        ("x", true),
        ("$body", true),
        ("$header/a", true),
        ("string()", true),
        ("concat($ctx:a, //x)", true),
        ("get-property('FAULT')", true),
        ("get-property('default','From')", true),
        ("$ctx:body", true),
        ("$ctx:a", false),
        ("$ctx:a/b//c[d = 'e']", false),
        ("$ctx:a[$body/x]", true),
        ("get-property('To')", false),
        ("get-property('axis2','FAULT')", false),
        ("'a/b' = $trp:x", false),
        ("string($ctx:a)", false),
    ] {
        assert_eq!(compile(expression).needs_body(), want, "{expression}");
    }
}

#[test]
fn compile_errors_point_at_the_place() {
    for (expression, offset, len) in [
        ("", 0, 0),
        ("foo[", 4, 0),
        ("a b", 2, 1),
        ("'open", 0, 5),
        ("//a/p:", 6, 0),
        ("a | -1", 4, 1),
        ("a/", 2, 0),
        ("//", 2, 0),
        ("concat('a'", 10, 0),
        ("a[1))", 3, 1),
        ("nope::a", 0, 4),
        ("a/position()", 2, 8),
        ("'a'/b", 3, 1),
        ("a # b", 2, 1),
        ("${a}", 1, 1),
        ("1 +", 3, 0),
        ("p:", 2, 0),
        ("é ü", 3, 2),
    ] {
        let error = XPath::compile(expression, &Namespaces::default()).unwrap_err();
        assert_eq!(
            (error.offset, error.len),
            (offset, len),
            "{expression}: {error}"
        );
    }
    let warned = |text: &str| {
        let xpath = compile(text);
        xpath
            .warnings()
            .iter()
            .map(|w| text[w.offset..w.offset + w.len].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned("//x:a | $nope | $map:k"), ["x", "$nope", "$map:k"]);
    assert_eq!(
        warned("matches('a') and concat('b')"),
        ["matches", "concat('b')"]
    );
    assert_eq!(warned("$ctx:body"), ["$ctx:body"]);
    assert_eq!(warned("fn:concat('a', synapse:get-property('b'))"), [""; 0]);
}

/// What tokio gives a worker; an optimised build needs a sixth of it.
const STACK: usize = 2 << 20;

/// Deep, long and expensive expressions end in an error or an answer, on a small stack.
#[test]
fn limits() {
    let run = || {
        let message = Message::new(LINES, false);
        let compiles = |text: &str| XPath::compile(text, &namespaces());
        for (open, core, close) in [
            ("(", "1", ")"),
            ("a[", "b", "]"),
            ("string(", "'x'", ")"),
            ("-(", "1", ")"),
            ("$body[", "1 = ", "]"),
        ] {
            let core = if core == "1 = " { "1 = 1" } else { core };
            let nested = |n: usize| format!("{}{core}{}", open.repeat(n), close.repeat(n));
            let fits = compiles(&nested(MAX_NESTING - 1)).unwrap();
            fits.string_value_of(&message).unwrap();
            fits.boolean(&message).unwrap();
            let error = compiles(&nested(MAX_NESTING)).unwrap_err();
            assert!(error.message.contains("nested"), "{error}");
            compiles(&nested(5000)).unwrap_err();
        }
        for (part, last) in [
            ("1+", "a"),
            ("1=", "a"),
            ("1<", "a"),
            ("1 or ", "a"),
            ("-", "a"),
            ("a|", "a"),
            ("1*1+", "a"),
            ("a/", "a"),
            ("*//", "a"),
            ("//a", ""),
            ("*//.//", "a"),
        ] {
            let long = part.repeat(60_000 / part.len()) + last;
            compiles(&long).unwrap().string_value_of(&message).unwrap();
        }
        let predicates = format!("//*{}", "[*]".repeat(20_000));
        compiles(&predicates)
            .unwrap()
            .string_value_of(&message)
            .unwrap();
        assert!(
            compiles(&"1+".repeat(MAX_TEXT))
                .unwrap_err()
                .message
                .contains("bytes")
        );
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();

    let items = "<i><j/></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    let slow = compile("//i[//j[//i[//j = 'x']]]");
    let error = slow.value(&message, 100_000).err().unwrap();
    assert!(error.message.contains("too many nodes"));
    assert_eq!(
        compile("count(//i//j)")
            .string_value_of(&message)
            .unwrap()
            .unwrap(),
        "2000.0"
    );
    let (open, close) = ("<d>".repeat(480), "</d>".repeat(480));
    let message = Message::new(&format!("{open}{}{close}", "<i/>".repeat(2000)), false);
    let error = compile("count(//i[/x])").value(&message, 100_000).err();
    assert!(error.unwrap().message.contains("too many nodes"));
}

/// Finding one namespace among many takes as long as there are namespaces.
#[test]
fn work_with_namespaces_is_bounded() {
    let declared: String = (0..200).map(|i| format!(" xmlns:p{i}='u{i}'")).collect();
    let nested: String = (0..20)
        .map(|level| format!("<a{}>", declared.replace(":p", &format!(":l{level}p"))))
        .collect();
    let message = Message::new(&format!("{nested}{}", "</a>".repeat(20)), false);
    let within = |expression: &str| {
        let xpath = compile(expression);
        xpath
            .value(&message, 500_000)
            .map(|_| ())
            .map_err(|e| e.message)
    };
    assert_eq!(within("count(//namespace::l0p7)"), Ok(()));
    assert_eq!(within("count(//namespace::*)"), Ok(()));
    for expression in [
        "count(//namespace::*[. = 'x'])",
        "count(//namespace::*[local-name() = 'x'])",
        "//namespace::* = 'x'",
    ] {
        assert!(
            within(expression).unwrap_err().contains("too many"),
            "{expression}"
        );
    }
    let count = compile("count($body/a//a[19]/namespace::*)").string_value_of(&message);
    assert_eq!(count.unwrap().as_deref(), Some("0.0"));
}

#[test]
fn texts_are_not_joined_without_limit() {
    let message = Message::new(&format!("<a>{}</a>", "x".repeat(1 << 20)), false);
    let joined = |times: usize| {
        let parts = vec!["$body"; times].join(",");
        compile(&format!("string-length(concat({parts}))")).string_value_of(&message)
    };
    assert_eq!(joined(2).unwrap().as_deref(), Some("2097152.0"));
    assert!(joined(65).unwrap_err().message.contains("is larger than"));
}

/// Elements that contain each other are many times as large as the document.
#[test]
fn text_of_nested_elements_is_bounded() {
    let inner = "x".repeat(1 << 20);
    let body = format!("{}<b>{inner}</b>{}", "<a>".repeat(100), "</a>".repeat(100));
    let message = Message::new(&body, false);
    let error = compile("//a").string_value_of(&message).unwrap_err();
    assert!(error.message.contains("is larger than"), "{error:?}");
    let one = compile("//a[1]").string_value_of(&message);
    assert!(one.is_err(), "every a is the first of its parent");
    let outermost = compile("$body/a").string_value_of(&message).unwrap();
    assert_eq!(outermost.map(|t| t.len()), Some(body.len()));
}

#[test]
fn early_exit_costs_little() {
    let items = "<i><j>x</j></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    for expression in [
        "boolean(//j)",
        "string(//j) = 'x'",
        "//j = 'x'",
        "//j",
        "'x' = //j",
    ] {
        let xpath = compile(expression);
        let answer = Evaluator::new(&xpath.program, &message, 50).run_boolean();
        assert_eq!(answer, Ok(true), "{expression}");
    }
    let indexed = compile("$body/l/i[2]/j");
    assert_eq!(
        Evaluator::new(&indexed.program, &message, 50).run_boolean(),
        Ok(true)
    );
}

#[test]
fn direct_answers_are_those_of_the_evaluator() {
    let body = format!("{LINES}<a><a>x</a>y</a><b/><c>Pen<!---->s</c>");
    for has_document in [false, true] {
        let mut message = Message::new(&body, has_document);
        for edited in [false, true] {
            if edited {
                let root = message.tree.root_element().unwrap();
                let first = message.tree.first_child(root).unwrap();
                message.tree.append_child(root, first);
            }
            for expression in [
                "//o:line = 'Pen'",
                "'Ink' = //o:line",
                "//o:line = 'pen'",
                "//o:line != 'Pen'",
                "//a = 'xy'",
                "//a = 'y'",
                "//b = ''",
                "//b != ''",
                "//c = 'Pens'",
                "//nothing = ''",
                "//nothing != ''",
                "descendant::o:sum = '12.50'",
                "//s11:Envelope = ''",
                "//s11:Envelope != ''",
                "descendant::s11:Envelope != ''",
            ] {
                let xpath = compile(expression);
                assert!(xpath.direct.is_some(), "{expression}");
                let expected = Evaluator::new(&xpath.program, &message, STEP_BUDGET).run_boolean();
                assert_eq!(xpath.boolean(&message), expected, "{expression}");
            }
        }
    }
    for expression in [
        "//a[1] = 'y'",
        "//a/a = 'x'",
        "//@n = '1'",
        "//a = 1",
        "//a = //b",
        "$body//a = 'x'",
        "//a = 'x' or //b = ''",
        "//* = 'x'",
    ] {
        assert!(compile(expression).direct.is_none(), "{expression}");
    }
}

/// A document may be as deep as its limit allows; no axis and no value recurses.
#[test]
fn depth_needs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let text = format!("{}x{}", "<a>".repeat(DEPTH), "</a>".repeat(DEPTH));
    let limits = Limits {
        max_depth: usize::MAX,
        ..Limits::default()
    };
    let tree = Document::parse(text.into(), &limits).unwrap();
    let message = Message::with_tree(tree, true);
    const BUDGET: u64 = 6_000_000;
    for (expression, want) in [
        ("string()", "x"),
        ("string(count(//a[not(a)]/ancestor::a))", "999999"),
        ("string(count(//text()/preceding::node()))", "0"),
        ("string(//a[. = 'x'] = 'x')", "true"),
    ] {
        let xpath = compile(expression);
        let got = xpath.value(&message, BUDGET).unwrap();
        let got = convert::string_value_of(got, expression, &message);
        assert_eq!(got.unwrap().as_deref(), Some(want), "{expression}");
    }
    // What looks at all that is below every element ends with the budget.
    for expression in ["//a[. = 'y']", "sum(//a)", "//a/ancestor::a[1000000]"] {
        assert!(
            compile(expression).value(&message, BUDGET / 20).is_err(),
            "{expression}"
        );
    }
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<XPath>();
    let xpath = &compile("count(//o:line)");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let message = Message::new(LINES, false);
                for _ in 0..50 {
                    assert_eq!(xpath.string_value_of(&message), Ok(Some("2.0".to_owned())));
                }
            });
        }
    });
}

/// `[position() = 1]` is evaluated for every parent by itself.
#[test]
fn a_numbered_child_of_each_parent_in_one_pass() {
    let body = "<a><b>1</b><a n='1'>2</a><b>3<a/></b></a><!--c--><b/>x<a n='2'><c/><a><b>4</b><b/></a></a><a/>";
    for soap in [false, true] {
        let message = Message::new(body, soap);
        for path in [
            "//a#",
            "//a#/b",
            "//a#/b#",
            "//a#[@n]",
            "//a#[b]/@n",
            "$body//a#",
            "//a/a//b#",
            "//b//a#",
            "//none#",
            "//@n//a#",
            "(//a# | //b#)/..",
        ] {
            let nodes = |position| {
                compile(&path.replace('#', position))
                    .nodes(&message)
                    .unwrap()
            };
            let text = |position| compile(&path.replace('#', position)).string_value_of(&message);
            for (short, long) in [
                ("[1]", "[position() = 1]"),
                ("[2]", "[position() = 2]"),
                ("[3]", "[position() = 3]"),
                ("[last()]", "[position() = last()]"),
            ] {
                assert_eq!(nodes(short), nodes(long), "{path} {short}");
                assert_eq!(text(short), text(long), "{path} {short}");
            }
        }
    }
    let items = "<i><j>x</j></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    for expression in [
        "//i[1]/j = 'x'",
        "string(//i[1]/j) = 'x'",
        "//l[1] = ''",
        "//i[1000]/j = 'x'",
        "//i[last()]/j = 'x'",
        "//j[2] = 'x'",
        "string(//j[last()]) = 'x'",
    ] {
        let xpath = compile(expression);
        let answer = Evaluator::new(&xpath.program, &message, 10_000).run_boolean();
        assert!(answer.is_ok(), "{expression}");
    }
}

/// Against a second, naive implementation of the axes on the same tree.
#[test]
fn axes_partition_the_document() {
    let message = Message::new(LINES, true);
    let all = compile("//node() | /").nodes(&message).unwrap();
    for node in &all {
        let position = all.iter().position(|n| n == node).unwrap();
        let view = axes::View {
            envelope: message.envelope().map(|(d, n)| Node::new(d, n)),
            has_document: true,
        };
        let walk = |axis| view.walk(axis, *node).collect::<Vec<_>>();
        use program::Axis::*;
        let mut reverse = [walk(Preceding), walk(Ancestor)].concat();
        reverse.sort_by(axes::compare_order);
        let forward = [walk(Descendant), walk(Following)].concat();
        assert_eq!(reverse, all[..position]);
        assert_eq!(forward, all[position + 1..]);
        assert!(walk(Preceding).is_sorted_by(|a, b| axes::compare_order(a, b).is_gt()));
        assert_eq!(walk(AncestorOrSelf)[1..], walk(Ancestor));
        assert_eq!(walk(DescendantOrSelf)[1..], walk(Descendant));
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/",
        "//",
        "*",
        "@",
        ".",
        "..",
        "(",
        ")",
        "[",
        "]",
        ",",
        "|",
        "+",
        "-",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        " and ",
        " or ",
        " div ",
        " mod ",
        "o:line",
        "o:order",
        "x",
        "@n",
        "1",
        "2.5",
        "'a'",
        "\"12.50\"",
        "$body",
        "$env",
        "$ctx:om",
        "$ctx:n5",
        "$nope",
        "text()",
        "node()",
        "comment()",
        "position()",
        "last()",
        "count(",
        "string(",
        "not(",
        "concat(",
        "ancestor::",
        "preceding::",
        "following::",
        "descendant::",
        "self::",
        "namespace::",
        "following-sibling::",
        "preceding-sibling::",
        "get-property('str')",
        "substring('abc',",
        "sum(",
        "translate('abc','b',",
        "name(",
        "normalize-space(",
        "é",
        "&",
        "$",
        ":",
        "::",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,40}") {
        let _ = XPath::compile(&text, &namespaces());
    }

    #[test]
    fn random_tokens_never_panic(tokens in prop::collection::vec(token(), 1..14)) {
        let text = tokens.concat();
        match XPath::compile(&text, &namespaces()) {
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.offset));
                prop_assert!(text.is_char_boundary(error.offset + error.len));
            }
            Ok(xpath) => {
                let message = Message::new(LINES, false);
                let value = xpath.evaluate(&message);
                // Early exit may spare an error, never cause one.
                prop_assert!(xpath.boolean(&message).is_ok() || value.is_err());
                let _ = xpath.string_value_of(&message);
                for warning in xpath.warnings() {
                    let _ = &text[warning.offset..warning.offset + warning.len];
                }
                if let Ok(Value::Nodes(nodes)) = value {
                    for pair in nodes.windows(2) {
                        let same = std::ptr::eq(pair[0].document, pair[1].document);
                        prop_assert!(!same || axes::compare_order(&pair[0], &pair[1]).is_lt());
                    }
                }
            }
        }
    }

    #[test]
    fn number_text_round_trips(number in any::<f64>()) {
        let back = parse_number(&java_double(number));
        prop_assert!(back == number || (back.is_nan() && number.is_nan()));
    }

    #[test]
    fn date_fields_stay_in_range(millis in any::<i64>(), offset in -1000i32..1000) {
        let text = date::format(millis, "H'|'m'|'s'|'S'|'M'|'d'|'D'|'w'|'W'|'u", offset).unwrap();
        let fields: Vec<i64> = text.split('|').map(|f| f.parse().unwrap()).collect();
        let ranges = [0..=23, 0..=59, 0..=59, 0..=999, 1..=12, 1..=31, 1..=366, 1..=54, 1..=6, 1..=7];
        for (field, range) in fields.iter().zip(ranges) {
            prop_assert!(range.contains(field), "{text}");
        }
    }

    #[test]
    fn base64_round_trips(text in "\\PC{0,30}") {
        let utf8 = Charset::UTF_8;
        let back = encode::base64_decode(&encode::base64_encode(&text, utf8), utf8);
        prop_assert_eq!(back, text.trim_matches(|c: char| c <= ' '));
    }
}
