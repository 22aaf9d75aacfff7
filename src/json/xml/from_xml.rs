//! XML to JSON.

use super::{ARRAY, ConversionError, ELEMENT, MULTIPLE, OBJECT, Options, XSI, names};
use crate::json::number::Decimal;
use crate::json::{MAX_DEPTH, Value, write};
use crate::xml::{Document, NodeId, NodeKind};

/// Every level of JSON takes up to two elements, see the table of spec 01 §17.2.
const MAX_ELEMENT_DEPTH: usize = 2 * MAX_DEPTH;

/// Converts an element, usually the body's first, to JSON text (spec 01 §17.3).
pub fn from_xml(
    document: &Document,
    element: NodeId,
    options: &Options,
) -> Result<Vec<u8>, ConversionError> {
    let mut out = Vec::new();
    write(&to_value(document, element, options)?, &mut out);
    Ok(out)
}

/// As [`from_xml`], without writing the text (spec 01 §17.3). Elements that are no wrappers let the
/// value nest up to twice as deep as a parsed one.
pub fn to_value(
    document: &Document,
    element: NodeId,
    options: &Options,
) -> Result<Value, ConversionError> {
    if document.kind(element) != NodeKind::Element {
        return Err(ConversionError::NotAnElement);
    }
    let reader = Reader { document, options };
    let mut parents: Vec<Open> = Vec::new();
    let mut current = reader.open(element);
    loop {
        if let Some(child) = current.next {
            current.next = document.next_sibling(child);
            match document.kind(child) {
                NodeKind::Element => {
                    if parents.len() >= MAX_ELEMENT_DEPTH {
                        return Err(ConversionError::TooDeep);
                    }
                    current.start_member(reader.name(child), options)?;
                    parents.push(std::mem::replace(&mut current, reader.open(child)));
                }
                NodeKind::Text | NodeKind::CData => {
                    reader.text(&mut current, document.text(child))?;
                }
                NodeKind::ProcessingInstruction => {
                    if options.json_multiple_pi && document.local_name(child) == MULTIPLE {
                        current.announce(document.text(child).trim());
                    }
                }
                NodeKind::Comment | NodeKind::Document => {}
            }
            continue;
        }
        let value = current.finish(options);
        match parents.pop() {
            Some(parent) => {
                current = parent;
                current.add(value);
            }
            None => return Ok(object(vec![(reader.name(element), value)])),
        }
    }
}

struct Reader<'d> {
    document: &'d Document,
    options: &'d Options,
}

/// An element whose content is being read.
struct Open {
    next: Option<NodeId>,
    members: Vec<Member>,
    /// An `<?xml-multiple?>` without a name: the next element starts an array.
    announced: bool,
    text: Option<String>,
    has_children: bool,
    /// Blank text is kept: only in leaf elements, and only on request.
    keep_blanks: bool,
    nil: bool,
}

struct Member {
    name: String,
    values: Vec<Value>,
    array: bool,
    /// Announced by an instruction and not interrupted yet.
    announced: bool,
}

impl Reader<'_> {
    fn open(&self, element: NodeId) -> Open {
        let document = self.document;
        let mut open = Open {
            next: document.first_child(element),
            members: Vec::new(),
            announced: false,
            text: None,
            has_children: false,
            keep_blanks: self.options.preserve_spaces
                && document.child_elements(element).next().is_none(),
            nil: false,
        };
        if self.options.preserve_namespace && self.options.namespace_declarations {
            for (prefix, namespace) in document.namespace_declarations(element) {
                // With nil handling on, the declaration it needs is no data.
                if !(self.options.xml_nil && namespace == XSI) {
                    let name = self.joined("xmlns", prefix);
                    open.attribute(&name, namespace);
                }
            }
        }
        for attribute in document.attributes(element) {
            let of_instance = attribute.namespace.is_empty() || attribute.namespace == XSI;
            if self.options.xml_nil
                && of_instance
                && attribute.local == "nil"
                && attribute.value == "true"
            {
                open.nil = true;
            } else if self.options.preserve_namespace && !attribute.prefix.is_empty() {
                let name = self.joined(attribute.prefix, attribute.local);
                open.attribute(&name, attribute.value);
            } else {
                open.attribute(attribute.local, attribute.value);
            }
        }
        open
    }

    fn joined(&self, prefix: &str, local: &str) -> String {
        match local {
            "" => prefix.to_owned(),
            local => format!("{prefix}{}{local}", self.options.namespace_separator),
        }
    }

    fn name(&self, element: NodeId) -> String {
        let local = self.document.local_name(element);
        let local = names::decode(local, self.options.build_valid_nc_names);
        match self.document.prefix(element) {
            prefix if self.options.preserve_namespace && !prefix.is_empty() => {
                self.joined(prefix, &local)
            }
            _ => local.into_owned(),
        }
    }

    fn text(&self, open: &mut Open, text: &str) -> Result<(), ConversionError> {
        // Java's trim: everything up to the blank.
        if !open.keep_blanks && text.chars().all(|character| character <= ' ') {
            return Ok(());
        }
        if open.has_children {
            return if is_blank(text) {
                Ok(())
            } else {
                Err(ConversionError::MixedContent(text.to_owned()))
            };
        }
        open.text.get_or_insert_default().push_str(text);
        Ok(())
    }
}

impl Open {
    fn attribute(&mut self, name: &str, value: &str) {
        self.push(format!("@{name}"), false);
        self.add(Value::String(value.to_owned()));
    }

    fn push(&mut self, name: String, announced: bool) {
        self.members.push(Member {
            name,
            values: Vec::new(),
            array: announced,
            announced,
        });
    }

    /// Makes the member the next [`Open::add`] goes to.
    fn start_member(&mut self, name: String, options: &Options) -> Result<(), ConversionError> {
        if let Some(text) = self.text.take().filter(|text| !is_blank(text)) {
            return Err(ConversionError::MixedContent(text));
        }
        self.has_children = true;
        if std::mem::take(&mut self.announced) {
            self.announce(&name);
            return Ok(());
        }
        match self.members.last_mut() {
            Some(last) if last.name == name && (options.json_auto_array || last.announced) => {
                last.array = true;
            }
            last => {
                if let Some(last) = last {
                    last.announced = false;
                }
                self.push(name, false);
            }
        }
        Ok(())
    }

    /// `<?xml-multiple name?>`: an array starts here, even if nothing follows.
    fn announce(&mut self, name: &str) {
        if name.is_empty() {
            self.announced = true;
            return;
        }
        match self.members.last_mut() {
            Some(last) if last.name == name => {
                last.array = true;
                last.announced = true;
            }
            _ => self.push(name.to_owned(), true),
        }
    }

    fn add(&mut self, value: Value) {
        if let Some(last) = self.members.last_mut() {
            last.values.push(value);
        }
    }

    fn finish(self, options: &Options) -> Value {
        let mut members: Vec<(String, Value)> = Vec::with_capacity(self.members.len());
        for mut member in self.members {
            let value = match member.values.pop() {
                Some(only) if !member.array => only,
                last => {
                    member.values.extend(last);
                    Value::Array(member.values)
                }
            };
            members.push((member.name, value));
        }
        let content = match self.text {
            Some(text) => Some(primitive(text, options)),
            None if self.nil && !self.has_children => Some(Value::Null),
            None => None,
        };
        match content {
            Some(content) if members.is_empty() => content,
            Some(content) => {
                members.push(("$".to_owned(), content));
                object(members)
            }
            None if !members.is_empty() => object(members),
            None if options.null_for_empty_element => Value::Null,
            None => Value::String(String::new()),
        }
    }
}

/// An object, or its only value when the name is one of the wrappers JSON never shows.
fn object(mut members: Vec<(String, Value)>) -> Value {
    let wrapper =
        matches!(&members[..], [(name, _)] if [OBJECT, ARRAY, ELEMENT].contains(&name.as_str()));
    match members.pop() {
        Some((_, value)) if wrapper => value,
        last => {
            members.extend(last);
            Value::Object(members)
        }
    }
}

/// Java's `Character.isWhitespace` for all of a text: no-break spaces are not blank.
fn is_blank(text: &str) -> bool {
    text.chars().all(|character| {
        matches!(character, '\u{1c}'..='\u{1f}')
            || (character.is_whitespace()
                && !matches!(character, '\u{85}' | '\u{a0}' | '\u{2007}' | '\u{202f}'))
    })
}

/// Element text as number, boolean, null or string.
fn primitive(text: String, options: &Options) -> Value {
    if !options.auto_primitive {
        return Value::String(text);
    }
    if options.keep_as_string.is_none()
        && let Some(rewritten) = options
            .replacement
            .as_ref()
            .and_then(|rule| rule.apply(&text))
    {
        return Value::String(rewritten);
    }
    match text.as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "null" => return Value::Null,
        _ => {}
    }
    let kept = || {
        options
            .keep_as_string
            .as_ref()
            .is_some_and(|rule| rule.is_match(&text))
    };
    if !is_json_number(&text) || kept() {
        return Value::String(text);
    }
    // An exponent beyond Java's range would be an exception there; the text is worth more.
    match Decimal::parse(&text) {
        Some(number) => Value::number(number.to_java()),
        None => Value::String(text),
    }
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn is_json_number(text: &str) -> bool {
    fn digits(text: &str) -> Option<&str> {
        let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
        (rest.len() < text.len()).then_some(rest)
    }
    fn number(text: &str) -> Option<&str> {
        let text = text.strip_prefix('-').unwrap_or(text);
        let mut rest = match text.strip_prefix('0') {
            Some(rest) => rest,
            None => digits(text)?,
        };
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = digits(fraction)?;
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            rest = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    number(text) == Some("")
}
