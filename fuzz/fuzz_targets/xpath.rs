//! The first line as an XPath expression, the rest as the document (or a fixed one).
#![no_main]

use libfuzzer_sys::fuzz_target;
use myelin::expr::xpath::{Namespaces, PropertyScope, PropertyValue, Scope, Value, XPath};
use myelin::xml::{Document, Limits, NodeId};

const DOCUMENT: &str =
    "<a x='1' xmlns:p='urn:p'><b>1</b><p:b x='2' p:x='3'>t<!--c--><c/></p:b><?go on?><b>2</b></a>";

struct Message(Document, bool);

impl Scope for Message {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.0, self.0.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        self.envelope()
    }
    fn has_document_root(&self) -> bool {
        self.1
    }
    fn property(&self, _: PropertyScope, name: &str) -> PropertyValue<'_> {
        match name.len() {
            1 => PropertyValue::Double(1.5),
            2 => PropertyValue::Integer(i64::MAX),
            3 => PropertyValue::String("10".into()),
            4 => PropertyValue::Boolean(true),
            5 => self
                .envelope()
                .map_or(PropertyValue::Null, |(d, n)| PropertyValue::Xml(d, n)),
            6 => PropertyValue::Json("{}".into()),
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
        Some("http://h/x?a=1&b=%41+")
    }
    fn now_millis(&self) -> i64 {
        1_700_000_000_123
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (expression, xml) = text.split_once('\n').unwrap_or((text, ""));
    let namespaces = Namespaces(vec![("p".into(), "urn:p".into())]);
    let Ok(xpath) = XPath::compile(expression, &namespaces) else {
        return;
    };
    // One with many steps over a large document is no bug.
    let limits = Limits {
        max_nodes: 64,
        ..Limits::default()
    };
    let parse = |xml: &str| Document::parse(xml.to_owned().into(), &limits);
    let Ok(document) = parse(xml).or_else(|_| parse(DOCUMENT)) else {
        return;
    };
    let message = Message(document, data.len() % 2 == 0);
    let _ = xpath.string_value_of(&message);
    let (Ok(value), Ok(truth)) = (xpath.evaluate(&message), xpath.boolean(&message)) else {
        return;
    };
    let again = |wrapped: String| XPath::compile(&wrapped, &namespaces).ok();
    if let Value::Nodes(nodes) = value {
        assert_eq!(truth, !nodes.is_empty());
        if let Some(count) = again(format!("count({expression})")) {
            if let Ok(text) = count.string_value_of(&message) {
                assert_eq!(text, Some(format!("{}.0", nodes.len())));
            }
        }
        if let Some(string) = again(format!("string({expression})")) {
            if let Ok(text) = string.string_value_of(&message) {
                assert_eq!(
                    text.as_deref(),
                    Some(
                        nodes
                            .first()
                            .map_or("".into(), |n| n.string_value())
                            .as_ref()
                    )
                );
            }
        }
    }
});
