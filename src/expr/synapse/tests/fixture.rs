//! The messages of spec 05, appendix A.

use crate::expr::synapse::{Parameter, Surroundings};
use crate::expr::xpath::{self, PropertyScope, PropertyValue};
use crate::json;
use crate::message::Value;
use crate::xml::{Document, Limits, NodeId};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const JA: &str = r#"{"name":"Ann","age":41,"idx":1,"pad":" hi ","none":null,"ok":true,"tags":["red","green","blue","cyan"],"mix":[1,2.50,"z",null,{"k":"v"}],"box":{"w":1.10,"h":"7","members":[9],"x-y":5},"big":12345678901234567890,"low":-3000000000,"items":[{"sku":"A1","qty":2,"price":9.5,"cat":"pen"},{"sku":"B2","qty":10,"price":19.95,"cat":"ink","memo":"m"},{"sku":"C3","qty":1,"price":120,"cat":"pen"}],"limit":10,"pick":"ink","js":"{\"p\":[1,2]}"}"#;
pub(super) const XA: &str = "<o:order xmlns:o=\"urn:o\" id=\"7\"><o:line n=\"1\">Pen</o:line><o:line n=\"2\">Ink</o:line><o:sum>12.50</o:sum><o:nil/><o:pad>  a b  </o:pad></o:order>";

/// A message.
pub(super) struct Fixture {
    tree: Document,
    payload: Option<json::Value>,
    content_type: &'static str,
    variables: Vec<(&'static str, Value)>,
}

fn tree(body: &str) -> Document {
    let text = format!(
        "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    );
    Document::parse(text.into(), &Limits::default()).unwrap()
}

fn parsed(text: &str) -> json::Value {
    json::parse(text.as_bytes(), &json::Limits::default()).unwrap()
}

fn xml(text: &str) -> Value {
    Value::xml(text, &Limits::default()).unwrap()
}

fn variables() -> Vec<(&'static str, Value)> {
    let ja = || Value::Json(Arc::new(parsed(JA)));
    let map = vec![
        ("payload".to_owned(), ja()),
        (
            "attributes".to_owned(),
            Value::Json(Arc::new(parsed(r#"{"statusCode":201}"#))),
        ),
        ("xp".to_owned(), xml("<p><n>John</n><a>30</a></p>")),
    ];
    vec![
        ("vs", Value::from("txt")),
        ("vi", Value::Integer(10)),
        ("vd", Value::Double(-2.5)),
        ("vb", Value::Boolean(true)),
        ("vl", Value::Long(5_000_000_000)),
        ("vf", Value::Float(1.5)),
        ("vj", ja()),
        ("vt", Value::from(JA)),
        ("vx", xml("<root><v>1</v><v>2</v></root>")),
        ("a b", Value::from("sp")),
        ("bad", Value::from("{oops")),
        ("vm", Value::Map(Arc::new(map))),
        (
            "v",
            Value::Map(Arc::new(vec![(
                "payload".to_owned(),
                xml("<order id=\"9\"/>"),
            )])),
        ),
        ("payload", Value::from("shadow")),
        ("dollar", Value::from("$1")),
        ("quote", Value::from("a\"b")),
        ("ten", Value::from("ink")),
        ("long", Value::from("x".repeat(2000))),
        ("e", Value::from("e")),
        ("wild", Value::from("{'a':[1,2]}")),
    ]
}

impl Fixture {
    pub(super) fn json(body: &str) -> Fixture {
        Fixture {
            tree: tree(""),
            payload: Some(parsed(body)),
            content_type: "application/json",
            variables: variables(),
        }
    }

    pub(super) fn xml(body: &str) -> Fixture {
        let tree = tree(body);
        let root = tree.root_element().unwrap();
        let element = tree
            .child_elements(root)
            .next()
            .and_then(|body| tree.child_elements(body).next())
            .unwrap();
        let payload = json::xml::to_value(&tree, element, &json::Options::default()).unwrap();
        Fixture {
            tree,
            payload: Some(payload),
            content_type: "application/xml; charset=UTF-8",
            variables: variables(),
        }
    }

    pub(super) fn empty() -> Fixture {
        Fixture {
            tree: tree(""),
            payload: None,
            content_type: "",
            variables: variables(),
        }
    }
}

impl xpath::Scope for Fixture {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.tree, self.tree.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        let root = self.tree.root_element()?;
        Some((&self.tree, self.tree.child_elements(root).next()?))
    }
    fn has_document_root(&self) -> bool {
        false
    }
    fn property(&self, scope: PropertyScope, name: &str) -> PropertyValue<'_> {
        use PropertyValue as P;
        let text = |s: &'static str| P::String(Cow::Borrowed(s));
        match (scope, name.to_ascii_lowercase().as_str()) {
            (PropertyScope::Default, "str") => text("abc"),
            (PropertyScope::Default, "n5") => P::Integer(5),
            (PropertyScope::Default, "d5") => P::Double(5.0),
            (PropertyScope::Default, "yes") => P::Boolean(true),
            (PropertyScope::Default, "blank" | "p") => text(""),
            (PropertyScope::Default, "jo") => P::Json(Cow::Borrowed(r#"{"a":{"b":7}}"#)),
            (PropertyScope::Default, "jstr") => text(r#"{"a":{"b":7}}"#),
            (PropertyScope::Default, "uri.var.id") => text("0042"),
            (PropertyScope::Default, "query.param.n") => text("12"),
            (PropertyScope::Axis2, "mode") => text("M"),
            (PropertyScope::Axis2, "http_sc") => P::Integer(200),
            (PropertyScope::Transport, "x-num") => text("400"),
            (PropertyScope::Transport, "x-zero") => text("007"),
            (PropertyScope::Transport, "x-flag") => text("true"),
            (PropertyScope::Transport, "x-quo") => text("\"q\""),
            (PropertyScope::Transport, "x-hello") => text("hello"),
            (PropertyScope::Transport, "te st") => text("blank inside"),
            (PropertyScope::Variable, _) => match self.variable(name) {
                Some(Value::Xml(x)) => P::Xml(&x.document, x.node),
                Some(value) => P::String(value.text()),
                None => P::Null,
            },
            _ => P::Null,
        }
    }
    fn local_entry(&self, _: &str) -> PropertyValue<'_> {
        PropertyValue::Null
    }
    fn well_known(&self, _: &str) -> Option<PropertyValue<'_>> {
        None
    }
    fn to(&self) -> Option<&str> {
        None
    }
    fn now_millis(&self) -> i64 {
        1_700_000_000_123
    }
}

impl Surroundings for Fixture {
    fn payload(&self) -> Result<Option<&json::Value>, String> {
        Ok(self.payload.as_ref())
    }
    fn has_xml_content_type(&self) -> bool {
        self.content_type.contains("application/xml")
    }
    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
    fn config(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "port").then_some(Cow::Borrowed("8290"))
    }
    fn parameter(&self, name: &str) -> Parameter<'_> {
        match name {
            "p1" => Parameter::Text(Cow::Borrowed("v1")),
            _ => Parameter::Missing,
        }
    }
    fn resource(&self, key: &str, property: Option<&str>) -> Option<Cow<'_, str>> {
        match (key, property) {
            ("conf/a", None) => Some(Cow::Borrowed(r#"{"a":{"b":[1,2]}}"#)),
            ("conf/a", Some("p")) => Some(Cow::Borrowed("17")),
            _ => None,
        }
    }
}
