//! The first line as a `${…}` expression and as a text with expressions in it, the rest as the body
//! (JSON, else XML, else a fixed one).
#![no_main]

use libfuzzer_sys::fuzz_target;
use myelin::expr::synapse::{Expression, Parameter, Surroundings, Template};
use myelin::expr::xpath::{self, Namespaces, PropertyScope, PropertyValue};
use myelin::json;
use myelin::message::Value;
use myelin::xml::{Document, Limits, NodeId};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

const BODY: &str = r#"{"a":[1,2.50,"z",null,{"k":"v","a":[3]}],"b":{"c":true,"d":"10"},"e":[],"n":41,"s":"{\"p\":[1]}"}"#;

struct Message {
    tree: Document,
    payload: Option<json::Value>,
    xml: bool,
    variables: Vec<(&'static str, Value)>,
}

impl xpath::Scope for Message {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.tree, self.tree.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        self.envelope()
    }
    fn has_document_root(&self) -> bool {
        false
    }
    fn property(&self, scope: PropertyScope, name: &str) -> PropertyValue<'_> {
        match (scope, name.len()) {
            (PropertyScope::Variable, _) => match self.variable(name) {
                Some(Value::Xml(x)) => PropertyValue::Xml(&x.document, x.node),
                Some(value) => PropertyValue::String(value.text()),
                None => PropertyValue::Null,
            },
            (_, 1) => PropertyValue::Double(1.5),
            (_, 2) => PropertyValue::Integer(i64::MAX),
            (_, 3) => PropertyValue::String("10".into()),
            (_, 4) => PropertyValue::Boolean(true),
            (_, 5) => PropertyValue::Json(r#"{"a":[1]}"#.into()),
            (_, 6) => PropertyValue::String("\"".into()),
            _ => PropertyValue::Null,
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

impl Surroundings for Message {
    fn payload(&self) -> Result<Option<&json::Value>, String> {
        Ok(self.payload.as_ref())
    }
    fn has_xml_content_type(&self) -> bool {
        self.xml
    }
    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
    fn config(&self, name: &str) -> Option<Cow<'_, str>> {
        (name.len() < 3).then_some(Cow::Borrowed("8290"))
    }
    fn parameter(&self, name: &str) -> Parameter<'_> {
        match name.len() {
            0..3 => Parameter::Text(Cow::Borrowed("1")),
            3..6 => Parameter::Missing,
            _ => Parameter::NoTemplate,
        }
    }
    fn resource(&self, key: &str, property: Option<&str>) -> Option<Cow<'_, str>> {
        match (key.len(), property) {
            (0..3, _) => Some(Cow::Borrowed(BODY)),
            (_, Some(_)) => Some(Cow::Borrowed("17")),
            _ => None,
        }
    }
}

fn parsed(text: &str) -> Option<json::Value> {
    let limits = json::Limits {
        max_nodes: 200,
        ..json::Limits::default()
    };
    json::parse(text.as_bytes(), &limits).ok()
}

fn variables() -> Vec<(&'static str, Value)> {
    let tree = || parsed(BODY).map(|v| Value::Json(Arc::new(v)));
    let xml = Value::xml("<r><v>1</v><v>2</v></r>", &Limits::default());
    let map = vec![
        ("k".to_owned(), Value::from("v")),
        ("j".to_owned(), tree().unwrap_or(Value::Boolean(false))),
    ];
    [
        ("a", Some(Value::from("text"))),
        ("b", Some(Value::Boolean(true))),
        ("c", Some(Value::Integer(i32::MIN))),
        ("d", Some(Value::Double(-2.5e300))),
        ("e", Some(Value::Long(i64::MAX))),
        ("f", Some(Value::Float(1.5))),
        ("j", tree()),
        ("m", Some(Value::Map(Arc::new(map)))),
        ("t", Some(Value::from(BODY))),
        ("x", xml),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

static VARIABLES: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(variables);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (text, body) = text.split_once('\n').unwrap_or((text, ""));
    let namespaces = Namespaces(vec![("p".into(), "urn:p".into())]);
    let expression = Expression::compile(text, &namespaces);
    let template = Template::compile(text);
    if let Err(problem) = &expression {
        // Carets point into the text.
        assert!(
            text.get(problem.offset..problem.offset + problem.len)
                .is_some()
        );
    }
    if expression.is_err() && template.is_err() {
        return;
    }
    // One that is applied to a large body is no bug.
    let limits = Limits {
        max_nodes: 64,
        ..Limits::default()
    };
    let xml = Document::parse(body.to_owned().into(), &limits).ok();
    let payload = match &xml {
        Some(document) => document
            .root_element()
            .and_then(|root| json::xml::to_value(document, root, &json::Options::default()).ok()),
        None => parsed(body).or_else(|| parsed(BODY)),
    };
    let message = Message {
        xml: xml.is_some(),
        payload,
        tree: xml.unwrap_or_default(),
        variables: VARIABLES.clone(),
    };
    if let Ok(template) = template {
        let _ = template.render(&message);
    }
    let Ok(expression) = expression else {
        return;
    };
    for problem in expression.warnings() {
        assert!(
            text.get(problem.offset..problem.offset + problem.len)
                .is_some()
        );
    }
    if text.contains("now") {
        return;
    }
    let (first, second) = (expression.string(&message), expression.string(&message));
    assert_eq!(first, second);
    if let Ok(text) = &first {
        let truth = expression.boolean(&message);
        assert_eq!(truth, Ok(text.eq_ignore_ascii_case("true")));
    }
    if let Ok(Value::Json(value)) = expression.object(&message) {
        let text = json::to_text(&value);
        // A NUL can be made, and is written as an escape that the reader refuses in messages.
        match json::parse(text.as_bytes(), &json::Limits::default()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, json::JsonErrorKind::Nul, "{error}: {text}"),
        }
    }
});
