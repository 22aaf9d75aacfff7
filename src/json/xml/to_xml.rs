//! JSON to XML.

use super::{
    ARRAY, ConversionError, ELEMENT, MAX_ATTRIBUTES, MAX_TIMES, MAX_WRITTEN, MULTIPLE, OBJECT,
    Options, VALUE, XSI, names,
};
use crate::json::{Limits, Value, parse};
use crate::xml::{Document, NodeId};

/// Appends the XML view of a JSON text to `parent` and returns its root element (spec 01 §17.2).
pub fn to_xml(
    json: &[u8],
    document: &mut Document,
    parent: NodeId,
    options: &Options,
    limits: &Limits,
) -> Result<NodeId, ConversionError> {
    let most = MAX_WRITTEN.max(json.len().saturating_mul(MAX_TIMES));
    convert(&parse(json, limits)?, document, parent, options, most)
}

/// As [`to_xml`], for JSON that is read already (spec 01 §17.2).
pub fn value_to_xml(
    value: &Value,
    document: &mut Document,
    parent: NodeId,
    options: &Options,
) -> Result<NodeId, ConversionError> {
    convert(value, document, parent, options, MAX_WRITTEN)
}

fn convert(
    value: &Value,
    document: &mut Document,
    parent: NodeId,
    options: &Options,
    most: usize,
) -> Result<NodeId, ConversionError> {
    let mut writer = Writer {
        document,
        options,
        open: Vec::new(),
        left: most,
    };
    let root = match value {
        Value::Object(members) => {
            let namespace = declared(members).unwrap_or_default();
            let root = writer.document.create_element("", namespace, OBJECT);
            writer.attributes(members, root)?;
            writer
                .open
                .push(Open::Members(members.iter(), root, namespace));
            root
        }
        Value::Array(items) => {
            let root = writer.document.create_element("", "", ARRAY);
            writer.array(ELEMENT, items, root, "");
            root
        }
        scalar => {
            let root = writer.document.create_element("", "", VALUE);
            writer.scalar(scalar, root);
            root
        }
    };
    writer.run()?;
    // Attached last, so that a failed conversion leaves nothing behind.
    document.append_child(parent, root);
    Ok(root)
}

/// A container whose contents are still to be written, with the element that takes them and the
/// default namespace in force.
enum Open<'v> {
    Members(std::slice::Iter<'v, (String, Value)>, NodeId, &'v str),
    Items(std::slice::Iter<'v, Value>, NodeId, &'v str, &'v str),
}

struct Writer<'d, 'v> {
    document: &'d mut Document,
    options: &'d Options,
    open: Vec<Open<'v>>,
    /// About how many bytes the XML may still have.
    left: usize,
}

impl<'v> Writer<'_, 'v> {
    fn run(&mut self) -> Result<(), ConversionError> {
        while let Some(innermost) = self.open.last_mut() {
            match innermost {
                Open::Members(members, element, namespace) => {
                    let (element, namespace) = (*element, *namespace);
                    match members.next() {
                        Some((key, value)) => self.member(key, value, element, namespace)?,
                        None => {
                            self.open.pop();
                        }
                    }
                }
                Open::Items(items, parent, key, namespace) => {
                    let (parent, key, namespace) = (*parent, *key, *namespace);
                    match items.next() {
                        Some(Value::Array(inner)) => {
                            // XML has no array of arrays: the inner one gets an element of its own.
                            let item = self.element(key, namespace, parent)?;
                            let array = self.document.create_element("", namespace, ARRAY);
                            self.document.append_child(item, array);
                            self.array(ELEMENT, inner, array, namespace);
                        }
                        Some(value) => self.value(key, value, parent, namespace)?,
                        None => {
                            self.open.pop();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        key: &'v str,
        value: &'v Value,
        element: NodeId,
        namespace: &'v str,
    ) -> Result<(), ConversionError> {
        match (key, value) {
            // Read ahead by `attributes`.
            _ if key.starts_with('@') => Ok(()),
            ("$", Value::Object(_) | Value::Array(_)) => {
                Err(ConversionError::NotSimple(key.to_owned()))
            }
            ("$", simple) => {
                self.text(text_of(simple), element);
                Ok(())
            }
            (_, Value::Array(items)) => {
                self.array(key, items, element, namespace);
                Ok(())
            }
            _ => self.value(key, value, element, namespace),
        }
    }

    /// The attributes of an element, wherever they stand among the members: the reference loses those behind others.
    fn attributes(
        &mut self,
        members: &'v [(String, Value)],
        element: NodeId,
    ) -> Result<(), ConversionError> {
        let mut count = 0;
        for (key, value) in members {
            let Some(name) = key.strip_prefix('@') else {
                continue;
            };
            match (name, value) {
                // Read ahead by `declared`.
                ("xmlns", Value::Object(_) | Value::String(_)) => {}
                (_, Value::Object(_) | Value::Array(_)) => {
                    return Err(ConversionError::NotSimple(key.clone()));
                }
                ("", _) => return Err(ConversionError::EmptyName(key.clone())),
                (_, simple) => {
                    count += 1;
                    if count > MAX_ATTRIBUTES {
                        return Err(ConversionError::TooManyAttributes);
                    }
                    let text = text_of(simple);
                    self.count(name.len() + text.len())?;
                    self.document.set_attribute(element, "", "", name, text);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ConversionError> {
        // Brackets, quotes and blanks.
        let bytes = bytes.saturating_add(4);
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(ConversionError::TooLarge)?;
        Ok(())
    }

    /// Anything but an array, as one element.
    fn value(
        &mut self,
        key: &'v str,
        value: &'v Value,
        parent: NodeId,
        namespace: &'v str,
    ) -> Result<(), ConversionError> {
        if let Value::Object(members) = value {
            let namespace = declared(members).unwrap_or(namespace);
            let element = self.element(key, namespace, parent)?;
            self.attributes(members, element)?;
            self.open
                .push(Open::Members(members.iter(), element, namespace));
        } else {
            let element = self.element(key, namespace, parent)?;
            self.scalar(value, element);
        }
        Ok(())
    }

    fn array(&mut self, key: &'v str, items: &'v [Value], parent: NodeId, namespace: &'v str) {
        // A key holding the end mark cannot be announced; the array itself is unharmed.
        if self.options.announces_arrays() && !key.contains("?>") {
            let instruction = self.document.create_pi(MULTIPLE, key);
            self.document.append_child(parent, instruction);
        }
        self.open
            .push(Open::Items(items.iter(), parent, key, namespace));
    }

    fn element(
        &mut self,
        key: &str,
        namespace: &str,
        parent: NodeId,
    ) -> Result<NodeId, ConversionError> {
        if key.is_empty() {
            return Err(ConversionError::EmptyName(key.to_owned()));
        }
        let name = names::encode(key, self.options.build_valid_nc_names);
        // It stands in the start tag and in the end tag.
        self.count(2 * name.len())?;
        let element = self.document.create_element("", namespace, &name);
        self.document.append_child(parent, element);
        Ok(element)
    }

    fn scalar(&mut self, value: &Value, element: NodeId) {
        if matches!(value, Value::Null) && self.options.xml_nil {
            self.document
                .set_attribute(element, "xsi", XSI, "nil", "true");
        }
        self.text(text_of(value), element);
    }

    fn text(&mut self, text: &str, element: NodeId) {
        if !text.is_empty() {
            let node = self.document.create_text(text);
            self.document.append_child(element, node);
        }
    }
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(text) => text,
        Value::String(text) => text,
        Value::Null | Value::Array(_) | Value::Object(_) => "",
    }
}

/// The default namespace an object declares for its element: `"@xmlns":"u"`, or BadgerFish's
/// `"@xmlns":{"$":"u"}`. It may stand after other members, hence the look ahead.
fn declared(members: &[(String, Value)]) -> Option<&str> {
    let (_, value) = members.iter().find(|(key, _)| key == "@xmlns")?;
    match value {
        Value::Object(_) => value.get("$").map(text_of),
        simple => Some(text_of(simple)),
    }
}
