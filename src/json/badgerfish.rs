//! The BadgerFish convention, `application/json/badgerfish` (spec 01 §16.2): text is `$`, attributes
//! are `@name`, namespace declarations are in `@xmlns`, prefixes stay in names, and every value is a
//! string.

use super::{MAX_DEPTH, Value};
use crate::xml::{Document, NodeId, XML_NAMESPACE};
use std::borrow::Cow;
use std::collections::HashMap;

/// Deepest element: each is an object, and may be in an array.
const DEEPEST: usize = MAX_DEPTH / 2 - 1;
/// Most attributes and declarations of one element, as many as a document that is read may have.
const MOST_ATTRIBUTES: usize = 1000;
/// Most bytes that all names may have in the XML.
const MOST_WRITTEN: usize = 256 << 20;

/// The JSON of an element.
///
/// # Errors
/// Elements nested too deeply.
pub fn from_xml(document: &Document, element: NodeId) -> Result<Value, String> {
    let value = object(document, element, 1)?;
    Ok(Value::Object(vec![(qualified(document, element), value)]))
}

fn qualified(document: &Document, element: NodeId) -> String {
    with_prefix(document.prefix(element), document.local_name(element))
}

fn with_prefix(prefix: &str, local: &str) -> String {
    if prefix.is_empty() {
        local.to_owned()
    } else {
        format!("{prefix}:{local}")
    }
}

fn object(document: &Document, element: NodeId, depth: usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("elements are nested more than {DEEPEST} deep"));
    }
    let mut members: Vec<(String, Value)> = Vec::new();
    let declared: Vec<(String, Value)> = document
        .namespace_declarations(element)
        .map(|(prefix, uri)| {
            let name = if prefix.is_empty() { "$" } else { prefix };
            (name.to_owned(), Value::String(uri.to_owned()))
        })
        .collect();
    if !declared.is_empty() {
        members.push(("@xmlns".to_owned(), Value::Object(declared)));
    }
    for attribute in document.attributes(element) {
        let name = format!("@{}", with_prefix(attribute.prefix, attribute.local));
        members.push((name, Value::String(attribute.value.to_owned())));
    }
    let text = document.own_text(element);
    if !text.trim().is_empty() {
        members.push(("$".to_owned(), Value::String(text.into_owned())));
    }
    // Where an element of a name is among the members, so that many children stay cheap.
    let mut places: HashMap<String, usize> = HashMap::new();
    for child in document.child_elements(element) {
        let name = qualified(document, child);
        let value = object(document, child, depth + 1)?;
        match places.get(&name).and_then(|at| members.get_mut(*at)) {
            Some((_, Value::Array(items))) => items.push(value),
            Some((_, first)) => {
                let old = std::mem::replace(first, Value::Null);
                *first = Value::Array(vec![old, value]);
            }
            None => {
                places.insert(name.clone(), members.len());
                members.push((name, value));
            }
        }
    }
    Ok(Value::Object(members))
}

/// Appends the element of a JSON object to `parent`.
///
/// # Errors
/// A value that is not one element, names that XML does not allow, and prefixes without namespace.
pub fn to_xml(value: &Value, document: &mut Document, parent: NodeId) -> Result<(), String> {
    let Value::Object(members) = value else {
        return Err("the JSON text is not an object".to_owned());
    };
    match members.as_slice() {
        [(name, value @ Value::Object(_))] => {
            let mut scope = Scope {
                outside: parent,
                bound: HashMap::new(),
                written: 0,
            };
            append(name, value, document, parent, &mut scope, 1)
        }
        _ => Err("the JSON object does not have exactly one element".to_owned()),
    }
}

/// What prefixes mean at the place at hand; the innermost meaning comes last.
struct Scope<'v> {
    /// Where prefixes that are not declared in the JSON text may be declared.
    outside: NodeId,
    bound: HashMap<&'v str, Vec<Cow<'v, str>>>,
    /// About how many bytes the names of all elements have when they are written.
    written: usize,
}

impl<'v> Scope<'v> {
    fn namespace_of(&mut self, prefix: &'v str, document: &Document) -> Result<&str, String> {
        let bound = self.bound.entry(prefix).or_default();
        if bound.is_empty() {
            let found = document.lookup_namespace(self.outside, prefix);
            bound.push(match found {
                Some(uri) => Cow::Owned(uri.to_owned()),
                None if prefix.is_empty() => Cow::Borrowed(""),
                None if prefix == "xml" => Cow::Borrowed(XML_NAMESPACE),
                None => return Err(format!("the prefix \"{prefix}\" has no namespace")),
            });
        }
        Ok(bound.last().map_or("", |uri| &**uri))
    }

    fn enter(&mut self, declared: &[(&'v str, &'v str)]) {
        for &(prefix, uri) in declared {
            let bound = self.bound.entry(prefix).or_default();
            bound.push(Cow::Borrowed(uri));
        }
    }

    fn leave(&mut self, declared: &[(&'v str, &'v str)]) {
        for &(prefix, _) in declared {
            if let Some(bound) = self.bound.get_mut(prefix) {
                bound.pop();
            }
        }
    }
}

fn append<'v>(
    name: &'v str,
    value: &'v Value,
    document: &mut Document,
    parent: NodeId,
    scope: &mut Scope<'v>,
    depth: usize,
) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("elements are nested more than {DEEPEST} deep"));
    }
    let members = match value {
        Value::Object(members) => members.as_slice(),
        Value::Array(items) => {
            for item in items {
                append(name, item, document, parent, scope, depth + 1)?;
            }
            return Ok(());
        }
        Value::Null => &[],
        scalar => {
            let element = create(name, &[], document, parent, scope)?;
            document.set_text(element, &text_of(scalar));
            return Ok(());
        }
    };
    let declared: Vec<(&str, &str)> = members
        .iter()
        .filter(|(name, _)| name == "@xmlns")
        .filter_map(|(_, value)| match value {
            Value::Object(list) => Some(list),
            _ => None,
        })
        .flatten()
        .filter_map(|(prefix, uri)| {
            let prefix = if prefix == "$" { "" } else { prefix.as_str() };
            Some((prefix, uri.as_str()?))
        })
        .collect();
    scope.enter(&declared);
    let element = create(name, &declared, document, parent, scope)?;
    // Before what is in the element, so that the attributes of one element stay together.
    let attributes = || {
        let names = members.iter().filter(|(name, _)| name != "@xmlns");
        names.filter_map(|(name, value)| Some((name.strip_prefix('@')?, value)))
    };
    if declared.len() + attributes().count() > MOST_ATTRIBUTES {
        return Err(format!(
            "an element would have more than {MOST_ATTRIBUTES} attributes"
        ));
    }
    for (attribute, value) in attributes() {
        let (prefix, local) = split(attribute)?;
        let namespace = match prefix {
            "" => "",
            prefix => scope.namespace_of(prefix, document)?,
        };
        let namespace = namespace.to_owned();
        document.set_attribute(element, prefix, &namespace, local, &text_of(value));
    }
    for (name, value) in members.iter().filter(|(name, _)| !name.starts_with('@')) {
        if name == "$" {
            let text = document.create_text(&text_of(value));
            document.append_child(element, text);
        } else {
            append(name, value, document, element, scope, depth + 1)?;
        }
    }
    scope.leave(&declared);
    Ok(())
}

fn create<'v>(
    name: &'v str,
    declared: &[(&str, &str)],
    document: &mut Document,
    parent: NodeId,
    scope: &mut Scope<'v>,
) -> Result<NodeId, String> {
    // Each item of an array repeats the name of the array.
    scope.written = scope.written.saturating_add(2 * name.len());
    if scope.written > MOST_WRITTEN {
        return Err(format!("the XML would have more than {MOST_WRITTEN} bytes"));
    }
    let (prefix, local) = split(name)?;
    let namespace = scope.namespace_of(prefix, document)?;
    let element = document.create_element(prefix, namespace, local);
    for (prefix, uri) in declared {
        document.declare_namespace(element, prefix, uri);
    }
    document.append_child(parent, element);
    Ok(element)
}

/// Prefix and local name, checked.
fn split(name: &str) -> Result<(&str, &str), String> {
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let fine = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    if fine(local) && (prefix.is_empty() || fine(prefix)) {
        Ok((prefix, local))
    } else {
        Err(format!("\"{name}\" is not an XML name"))
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => super::to_text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::xml::NodeKind;
    use bytes::Bytes;

    fn both(xml: &str, text: &str) {
        let input = Bytes::copy_from_slice(xml.as_bytes());
        let document = Document::parse(input, &crate::xml::Limits::default()).unwrap();
        let root = document.root_element().unwrap();
        let made = from_xml(&document, root).unwrap();
        assert_eq!(json::to_text(&made), text);
        assert_eq!(back(text).unwrap(), xml);
    }

    fn back(text: &str) -> Result<String, String> {
        let limits = json::Limits {
            max_depth: MAX_DEPTH,
            ..json::Limits::default()
        };
        let value = json::parse(text.as_bytes(), &limits).unwrap();
        let mut document = Document::new();
        let top = document.document_node();
        to_xml(&value, &mut document, top)?;
        assert_eq!(document.kind(top), NodeKind::Document);
        let root = document.root_element().ok_or("no element")?;
        Ok(document.to_xml(root))
    }

    #[test]
    fn elements_attributes_and_namespaces_go_both_ways() {
        for (xml, text) in [
            ("<a>x</a>", r#"{"a":{"$":"x"}}"#),
            ("<a/>", r#"{"a":{}}"#),
            (
                "<a><b>1</b><b>2</b><c/></a>",
                r#"{"a":{"b":[{"$":"1"},{"$":"2"}],"c":{}}}"#,
            ),
            (r#"<a x="1">t</a>"#, r#"{"a":{"@x":"1","$":"t"}}"#),
            (
                r#"<a xmlns="u" xmlns:p="v"><p:b p:c="d"/></a>"#,
                r#"{"a":{"@xmlns":{"$":"u","p":"v"},"p:b":{"@p:c":"d"}}}"#,
            ),
        ] {
            both(xml, text);
        }
    }

    #[test]
    fn what_is_no_element_is_an_error() {
        for text in [
            "[]",
            "1",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":{},"b":{}}"#,
            r#"{"1a":{}}"#,
            r#"{"p:a":{}}"#,
            r#"{"a":{"@p:x":"1"}}"#,
            r#"{"a<":{}}"#,
        ] {
            assert!(back(text).is_err(), "{text}");
        }
        assert_eq!(
            back(r#"{"a":{"b":1,"c":null,"d":[true]}}"#).unwrap(),
            "<a><b>1</b><c/><d>true</d></a>"
        );
    }

    #[test]
    fn small_texts_do_not_become_huge() {
        let items = vec!["1"; 200_000].join(",");
        let name = "a".repeat(1000);
        let large = format!("{{\"r\":{{\"{name}\":[{items}]}}}}");
        assert!(back(&large).unwrap_err().contains("more than"));
        let attributes = (0..1001)
            .map(|i| format!("\"@a{i}\":1"))
            .collect::<Vec<_>>();
        let wide = format!("{{\"r\":{{{}}}}}", attributes.join(","));
        assert!(back(&wide).unwrap_err().contains("attributes"));
        // Attributes between elements are kept together: nothing is moved for each of them.
        let between: String = (0..900)
            .map(|i| format!("\"@a{i}\":1,\"c{i}\":{{\"@b\":1}},"))
            .collect();
        let value = json::parse(
            format!("{{\"r\":{{{between}\"z\":1}}}}").as_bytes(),
            &json::Limits::default(),
        );
        let mut document = Document::new();
        let top = document.document_node();
        to_xml(&value.unwrap(), &mut document, top).unwrap();
        assert!(document.memory() < 1 << 20, "{}", document.memory());
    }

    #[test]
    fn prefixes_mean_what_the_nearest_declaration_says() {
        assert_eq!(
            back(r#"{"a":{"@xmlns":{"p":"u"},"p:b":{"@xmlns":{"p":"v"},"p:c":1},"p:d":2}}"#)
                .unwrap(),
            r#"<a xmlns:p="u"><p:b xmlns:p="v"><p:c>1</p:c></p:b><p:d>2</p:d></a>"#
        );
        assert!(back(r#"{"a":{"b":{"@xmlns":{"p":"v"}},"p:d":2}}"#).is_err());
        assert_eq!(
            back(r#"{"a":{"@xmlns":{"$":"u"},"b":{"@xmlns":{"$":""}},"c":1}}"#).unwrap(),
            r#"<a xmlns="u"><b xmlns=""/><c>1</c></a>"#
        );
    }

    #[test]
    fn deep_values_are_refused() {
        let mut text = String::new();
        for _ in 0..300 {
            text.push_str(r#"{"a":"#);
        }
        text.push_str("{}");
        text.push_str(&"}".repeat(300));
        assert!(back(&text).is_err());
    }
}
