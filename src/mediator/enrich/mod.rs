//! `<enrich>`: puts a part of a message, a property or written content into another part (spec 03
//! §15). On JSON bodies with JSON paths it works on JSON, else on the XML view.

mod json;
#[cfg(test)]
mod tests;
mod xml;

use super::{Context, Definition, Flow, Linker, Mediate, Need, Run, Spec};
use crate::diag::{Diagnostic, Place, codes};
use crate::expr::entries;
use crate::expr::jsonpath::{JsonPath, Piece, dynamic_pieces};
use crate::expr::{Expr, Scope};
use crate::json::Value as Json;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::value::XmlValue;
use crate::message::{Body, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "enrich",
    summary: "Puts a part of the message, a property or written content into another part.",
    doc: DOC,
    parse,
};

const SOURCE: Tag = Tag::child(
    "source",
    "What is taken. An `inline` source holds an element or text; text of the form `{expr}` is evaluated.",
)
.with(&[
    Attr::words(
        "type",
        &["custom", "envelope", "body", "property", "inline"],
        "`custom` takes what `xpath` selects.",
    )
    .or("custom"),
    Attr::truth("clone", "`false`: what is taken is removed from where it was.").or("true"),
    Attr::expression("xpath", "For `custom`: XPath, `json-eval(…)` or `${…}`."),
    Attr::text("property", "For `property`: its name."),
    Attr::text("key", "For `inline`: local entry or registry resource, when the element is empty."),
])
.holds(Content::Xml);

const TARGET: Tag = Tag::child("target", "Where it goes.").with(&[
    Attr::words(
        "type",
        &["custom", "envelope", "body", "property", "key"],
        "`key` renames a JSON member.",
    )
    .or("custom"),
    Attr::words(
        "action",
        &["replace", "child", "sibling", "remove"],
        "`child` appends inside, `sibling` behind it; `remove` removes what the source selects. `sibling` is for XML only.",
    )
    .or("replace"),
    Attr::expression("xpath", "For `custom` and `key`: the place."),
    Attr::text("property", "For `property`: its name."),
]);

const ROOT: Tag = Tag::mediator(
    "enrich",
    "Copies a part of the message, a property or a literal to another place of the message. Often used to keep the body in a property and bring it back behind a call.",
)
.of(&[&SOURCE, &TARGET]);

const DOC: Doc = Doc {
    group: Area::Transform,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "A JSON body is changed as JSON when all paths are `json-eval(…)` and nothing is XML; otherwise its XML view is changed.",
        "Combinations that can do nothing, such as a source `envelope` for a target `body`, are errors at deployment.",
        "A JSON value that is put into a property is kept as its text.",
        "`remove` takes several paths: `json-eval($.a,$.b)`.",
        "Elements of an `inline` source without `xmlns=\"\"` have Synapse's namespace.",
    ],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Custom,
    Envelope,
    Body,
    Property,
    Inline,
    Key,
}

const KINDS: &[(&str, Kind)] = &[
    ("custom", Kind::Custom),
    ("envelope", Kind::Envelope),
    ("body", Kind::Body),
    ("property", Kind::Property),
    ("inline", Kind::Inline),
    ("key", Kind::Key),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Replace,
    Child,
    Sibling,
    Remove,
}

const ACTIONS: &[(&str, Action)] = &[
    ("replace", Action::Replace),
    ("child", Action::Child),
    ("sibling", Action::Sibling),
    ("remove", Action::Remove),
];

#[derive(Debug)]
enum Source {
    Custom(Expr),
    /// What `remove` takes away; `None` is everything.
    Paths(Vec<Option<JsonPath>>),
    Envelope,
    Body,
    Property(String),
    Xml(Arc<XmlValue>),
    Text(Vec<Part>),
    Entry(String, Place),
}

/// A part of inline text.
#[derive(Debug)]
enum Part {
    Text(String),
    /// `{…}`, and whether it stands between quotes.
    Expression(Expr, bool),
}

#[derive(Debug)]
enum Target {
    Custom(Expr),
    /// `get-property('scope', 'name')`.
    Scoped(PropertyScope, String),
    Envelope,
    Body,
    Property(String),
    /// For [`Transfer`] only.
    Variable(String),
    /// The member whose name changes.
    Key(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PropertyScope {
    Default,
    Axis2,
    Operation,
}

#[derive(Debug)]
struct Enrich {
    source: Source,
    clone: bool,
    target: Target,
    action: Action,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    for child in reader.children(element) {
        if !matches!(
            reader.name(child),
            Some("source" | "target" | "description")
        ) {
            ROOT.refuse(reader, child);
        }
    }
    let source = required(reader, element, "source")?;
    let target = required(reader, element, "target")?;
    SOURCE.check(reader, source);
    TARGET.check(reader, target);
    let source_kind = kind(reader, source, "Unexpected source type", Kind::Key)?;
    let target_kind = kind(reader, target, "Unexpected target type", Kind::Inline)?;
    let action = match reader.one_of(target, "action", ACTIONS) {
        Some(action) => action,
        None => Action::Replace,
    };
    if let Some(why) = wrong_combination(source_kind, target_kind, action) {
        let place = reader.place(element);
        reader.error(codes::CONFLICT, place, why);
    }
    let clone = !source
        .attribute("clone")
        .is_some_and(|text| text.eq_ignore_ascii_case("false"));
    let parsed_source = parse_source(reader, source, source_kind, action);
    let parsed_target = parse_target(reader, target, target_kind, action);
    let (source, target) = (parsed_source?, parsed_target?);
    (reader.errors() == before).then(|| {
        Arc::new(EnrichDef(Arc::new(Enrich {
            source,
            clone,
            target,
            action,
        }))) as Arc<dyn Definition>
    })
}

fn required<'a, 'i>(
    reader: &mut Reader,
    element: Element<'a, 'i>,
    name: &str,
) -> Option<Element<'a, 'i>> {
    let child = reader.child(element, name);
    if child.is_none() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            format!("{name} element is mandatory"),
        );
    }
    child
}

fn kind(
    reader: &mut Reader,
    element: Element<'_, '_>,
    unexpected: &str,
    not_here: Kind,
) -> Option<Kind> {
    let Some(text) = element.attribute("type") else {
        return Some(Kind::Custom);
    };
    let found = KINDS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()))
        .map(|(_, kind)| *kind);
    let place = reader.attribute_place(element, "type");
    match found {
        Some(Kind::Inline) if not_here == Kind::Inline => {
            reader.error(
                codes::INVALID_VALUE,
                place,
                "Inline not support for target attribute",
            );
            None
        }
        Some(kind) if kind != not_here => Some(kind),
        _ => {
            let names: Vec<&str> = KINDS
                .iter()
                .filter(|(_, k)| *k != not_here)
                .map(|(name, _)| *name)
                .collect();
            reader.report(
                Diagnostic::error(codes::INVALID_VALUE, place, unexpected)
                    .help(format!("allowed values: {}", names.join(", "))),
            );
            None
        }
    }
}

fn wrong_combination(source: Kind, target: Kind, action: Action) -> Option<&'static str> {
    use Kind::{Body, Custom, Envelope, Key, Property};
    match (source, target) {
        (Envelope, Custom | Envelope | Body) | (Body, Envelope) | (Custom, Envelope) => {
            return Some("Wrong combination of source and target type");
        }
        (Body, Body) => return Some("Wrong combination of source and target type"),
        _ => {}
    }
    if action == Action::Remove {
        if source != Custom {
            return Some("Wrong combination of source type and target action");
        }
        if !matches!(target, Body | Property) {
            return Some("Wrong combination of target type and target action");
        }
    }
    if target == Key && action != Action::Replace {
        return Some("Only the replace action is supported for the target type 'key'.");
    }
    if target == Key && source == Body {
        return Some("Wrong combination of source type and target type");
    }
    if target == Envelope && action != Action::Replace {
        return Some("Invalid target action");
    }
    None
}

fn path(reader: &mut Reader, element: Element<'_, '_>) -> Option<Expr> {
    if element.attribute("xpath").is_none() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "xpath attribute is required for CUSTOM type",
        );
        return None;
    }
    reader.expression(element, "xpath")
}

fn property(reader: &mut Reader, element: Element<'_, '_>) -> Option<String> {
    let name = element.attribute("property").map(str::to_owned);
    if name.is_none() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "property attribute is required for PROPERTY type",
        );
    }
    name
}

fn parse_source(
    reader: &mut Reader,
    element: Element<'_, '_>,
    kind: Kind,
    action: Action,
) -> Option<Source> {
    match kind {
        Kind::Custom if action == Action::Remove => parse_paths(reader, element).map(Source::Paths),
        Kind::Custom => path(reader, element).map(Source::Custom),
        Kind::Envelope => Some(Source::Envelope),
        Kind::Body => Some(Source::Body),
        Kind::Property => property(reader, element).map(Source::Property),
        Kind::Inline | Kind::Key => parse_inline(reader, element),
    }
}

/// `json-eval($.a,$.b)`: several paths.
fn parse_paths(reader: &mut Reader, element: Element<'_, '_>) -> Option<Vec<Option<JsonPath>>> {
    let Some(text) = element.attribute("xpath") else {
        path(reader, element);
        return None;
    };
    let place = reader.attribute_place(element, "xpath");
    let inner = text
        .trim()
        .strip_prefix("json-eval(")
        .and_then(|t| t.strip_suffix(')'));
    let Some(inner) = inner else {
        reader.error(
            codes::INVALID_EXPRESSION,
            place,
            "source Xpath is mandatory for the Remove action: a JSON path, as json-eval($.a) or json-eval($.a,$.b)",
        );
        return None;
    };
    let mut out = Vec::new();
    for part in inner.split(',') {
        let part = part.trim();
        if matches!(part, "$" | "$.") {
            out.push(None);
            continue;
        }
        match JsonPath::compile(part) {
            Ok(path) => out.push(Some(path)),
            Err(e) => reader.error(
                codes::INVALID_EXPRESSION,
                place.clone(),
                format!("Invalid XPath expression: {part}: {}", e.message),
            ),
        }
    }
    Some(out)
}

fn parse_inline(reader: &mut Reader, element: Element<'_, '_>) -> Option<Source> {
    if let Some(child) = element.children().find(roxmltree::Node::is_element) {
        let document = super::property::import(reader, child)?;
        let node = document.root_element()?;
        return Some(Source::Xml(Arc::new(XmlValue { document, node })));
    }
    let text: String = element
        .children()
        .filter(|c| c.is_text())
        .filter_map(|c| c.text())
        .collect();
    if !text.trim().is_empty() {
        return Some(Source::Text(parts(reader, element, &text)));
    }
    match element.attribute("key") {
        Some(key) if !key.trim().is_empty() => {
            let place = reader.attribute_place(element, "key");
            Some(Source::Entry(key.to_owned(), place))
        }
        _ => {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                "XML element is required for INLINE type",
            );
            None
        }
    }
}

/// Text with `{…}` in it; what is no expression is text (spec 05 §6.4).
fn parts(reader: &Reader, element: Element<'_, '_>, text: &str) -> Vec<Part> {
    let namespaces = reader.namespaces(element);
    let pieces = dynamic_pieces(text);
    let mut out = Vec::new();
    // Parts of text become one: what holds no expression needs nothing of the message.
    let add = |out: &mut Vec<Part>, text: &str| match out.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ => out.push(Part::Text(text.to_owned())),
    };
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) => add(&mut out, text),
            Piece::Dynamic(code) => {
                let before = index.checked_sub(1).and_then(|i| pieces.get(i));
                let quoted = matches!(before, Some(Piece::Literal(t)) if t.ends_with('"'))
                    && matches!(pieces.get(index + 1), Some(Piece::Literal(t)) if t.starts_with('"'));
                match Expr::compile(code, &namespaces) {
                    Ok(expr) => out.push(Part::Expression(expr, quoted)),
                    Err(_) => add(&mut out, &format!("{{{code}}}")),
                }
            }
        }
    }
    out
}

fn parse_target(
    reader: &mut Reader,
    element: Element<'_, '_>,
    kind: Kind,
    action: Action,
) -> Option<Target> {
    match kind {
        Kind::Custom => {
            let expr = path(reader, element)?;
            if let Some((scope, name)) = scoped_property(expr.text()) {
                return Some(Target::Scoped(scope, name));
            }
            if let Expr::Json { path, .. } = &expr
                && path.is_whole_body()
                && action == Action::Replace
            {
                let place = reader.attribute_place(element, "xpath");
                reader.error(
                    codes::CONFLICT,
                    place,
                    "Acting replace is not supported for root path in type custom. Please use type body action replace instead",
                );
            }
            Some(Target::Custom(expr))
        }
        Kind::Envelope => Some(Target::Envelope),
        Kind::Body => Some(Target::Body),
        Kind::Property => property(reader, element).map(Target::Property),
        Kind::Key => {
            let place = reader.attribute_place(element, "xpath");
            if !element.has_attribute("xpath") {
                reader.error(
                    codes::MISSING_ATTRIBUTE,
                    place,
                    "Xpath must be defined for the target type 'key'.",
                );
                return None;
            }
            match reader.expression(element, "xpath")? {
                Expr::Json { path, .. } => Some(Target::Key(path)),
                other => {
                    let text = format!("Invalid XPath expression: {}", other.text());
                    reader.report(
                        Diagnostic::error(codes::INVALID_EXPRESSION, place, text)
                            .help("the member to rename is named by json-eval($.path.name)"),
                    );
                    None
                }
            }
        }
        Kind::Inline => None,
    }
}

/// The property that `get-property('scope', 'name')` or `get-property('name')` names.
fn scoped_property(text: &str) -> Option<(PropertyScope, String)> {
    let inner = text.trim().strip_prefix("get-property(")?;
    let names: Vec<&str> = inner.split('\'').skip(1).step_by(2).collect();
    match names.as_slice() {
        [name] => Some((PropertyScope::Default, (*name).to_owned())),
        [scope, name, ..] => {
            let scope = match *scope {
                "default" => PropertyScope::Default,
                "axis2" => PropertyScope::Axis2,
                "operation" => PropertyScope::Operation,
                _ => return None,
            };
            Some((scope, (*name).to_owned()))
        }
        [] => None,
    }
}

/// Something of a message that another mediator copies within it, as `<enrich>` would.
#[derive(Debug)]
pub(in crate::mediator) struct Transfer(Enrich);

impl Transfer {
    fn new(source: Source, target: Target) -> Transfer {
        Transfer(Enrich {
            source,
            clone: true,
            target,
            action: Action::Replace,
        })
    }

    /// The value of a property replaces the body.
    pub(in crate::mediator) fn property_to_body(name: String) -> Transfer {
        Transfer::new(Source::Property(name), Target::Body)
    }

    /// What an expression selects replaces the body.
    pub(in crate::mediator) fn expression_to_body(expr: Expr) -> Transfer {
        Transfer::new(Source::Custom(expr), Target::Body)
    }

    /// What is written in an element, or its `key` names, replaces the body. Wrong content is reported.
    pub(in crate::mediator) fn inline_to_body(
        reader: &mut Reader,
        element: Element<'_, '_>,
    ) -> Option<Transfer> {
        parse_inline(reader, element).map(|source| Transfer::new(source, Target::Body))
    }

    /// The body goes into a property.
    pub(in crate::mediator) fn body_to_property(name: String) -> Transfer {
        Transfer::new(Source::Body, Target::Property(name))
    }

    /// The body goes into a variable.
    pub(in crate::mediator) fn body_to_variable(name: String) -> Transfer {
        Transfer::new(Source::Body, Target::Variable(name))
    }

    /// Checks the entry that is referred to.
    pub(in crate::mediator) fn link(&self, linker: &mut Linker<'_>) {
        self.0.link(linker);
    }

    /// Copies. The body must have been built.
    ///
    /// # Errors
    /// As `<enrich>`.
    pub(in crate::mediator) fn run(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
    ) -> Result<(), Fault> {
        self.0.run(cx, message)
    }
}

#[derive(Debug)]
struct EnrichDef(Arc<Enrich>);

impl Definition for EnrichDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        self.0.link(linker);
        Run::Now(Box::new(EnrichDef(self.0.clone())))
    }
}

impl Mediate for EnrichDef {
    fn need(&self) -> Need {
        Need::Tree
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        self.0.run(cx, message)?;
        Ok(Flow::Continue)
    }
}

/// The source of a JSON message.
enum JsonSource {
    Json(Json),
    /// The paths are in the mediator.
    Removal,
    /// It is XML, so that the XML view is used.
    Xml,
    /// It is where it belongs.
    Moved,
}

impl Enrich {
    fn link(&self, linker: &mut Linker<'_>) {
        if let Source::Entry(key, place) = &self.source {
            linker.entry(key, place);
        }
    }

    fn run(&self, cx: &Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let is_json = matches!(&message.body, Body::Built(b) if b.json().is_some());
        let value = if is_json && self.allows_json() {
            match self.move_text(cx, message) {
                true => JsonSource::Moved,
                false => self.json_source(cx, message)?,
            }
        } else {
            JsonSource::Xml
        };
        match value {
            JsonSource::Json(value) => self.insert_json(cx, message, value)?,
            JsonSource::Removal => self.remove_json(cx, message)?,
            JsonSource::Xml => self.enrich_xml(cx, message)?,
            JsonSource::Moved => {}
        }
        if matches!(self.target, Target::Body | Target::Envelope) {
            message.axis2.remove("NO_ENTITY_BODY");
        }
        Ok(())
    }

    /// Whether both sides can be JSON.
    fn allows_json(&self) -> bool {
        let source = match &self.source {
            Source::Custom(expr) => !matches!(expr, Expr::XPath(_)),
            Source::Envelope | Source::Xml(_) => false,
            _ => true,
        };
        let target = match &self.target {
            Target::Custom(expr) => matches!(expr, Expr::Json { .. }),
            Target::Envelope | Target::Scoped(..) => false,
            _ => true,
        };
        source && target
    }
}

/// Inline text with its expressions evaluated (spec 05 §6.4).
fn inline_text(parts: &[Part], scope: &Scope<'_>) -> Result<String, Fault> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Expression(expr, quoted) => {
                let value = expr.string(scope)?.unwrap_or_default();
                let plain = !value.is_empty()
                    && (*quoted
                        || super::content::as_xml(&value, &crate::xml::Limits::default())
                            .is_some()
                        || crate::json::parse_lenient(&value, &crate::json::Limits::default())
                            .is_ok());
                if plain {
                    out.push_str(&value);
                } else {
                    out.push('"');
                    out.push_str(&value);
                    out.push('"');
                }
            }
        }
    }
    Ok(out)
}

/// The value of an inline `key`.
fn entry<'a>(cx: &Context<'a>, key: &str) -> Option<&'a Value> {
    entries::find(&cx.library.entries, key)
}
