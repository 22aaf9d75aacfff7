//! `<payloadFactory>`: makes a new body from a format and arguments (spec 03 §14).

mod bounds;
mod format;
mod freemarker;
mod insert;
mod templated;
#[cfg(test)]
mod tests;

use super::{Context, Definition, Flow, Linker, Mediate, Need, Run, Spec, content};
use crate::diag::{Diagnostic, Place, codes};
use crate::expr::{Dynamic, Expr, ExprError, Namespaces, entries};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{BodyLimits, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use crate::xml::{Document, NodeId, NodeKind};
use format::Format;
use insert::Argument;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use templated::Templated;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "payloadFactory",
    summary: "Makes a new body from a format and arguments.",
    doc: DOC,
    parse,
};

const ARG: Tag = Tag::child("arg", "A value: the first is `$1`.").with(&[
    Attr::text("value", "The value. Wins over `expression`; one of them is needed."),
    Attr::expression("expression", "XPath, or a JSON path with `evaluator=\"json\"`. `${…}` is refused here: write it into the format."),
    Attr::words("evaluator", &["xml", "json"], "Language of `expression`.").or("xml"),
    Attr::truth("literal", "`true`: XML or JSON is inserted as text."),
    Attr::truth("deepCheck", "The reference does not read it either.").ignored(),
]);
const ARGS: Tag = Tag::child("args", "The values of `$1`, `$2`, …").of(&[&ARG]);
const FORMAT: Tag = Tag::child(
    "format",
    "The new body, with `$1`, `$2`, … for arguments and `${…}` for expressions; or a FreeMarker template. Text is best in `<![CDATA[…]]>`.",
)
.with(&[
    Attr::dynamic("key", "Local entry or registry resource with the format."),
    Attr::text("media-type", "From MI's tools.").ignored(),
])
.holds(Content::Xml);

const ROOT: Tag = Tag::mediator(
    "payloadFactory",
    "Makes a new body from a format. Values of the message go into it escaped for the form that is made.",
)
.with(&[
    Attr::words("media-type", &["xml", "json", "text"], "What is made. It is also the content type of the message from here on.").or("xml"),
    Attr::words("template-type", &["default", "freemarker"], "Language of the format.").or("default"),
    Attr::truth("escapeXmlChars", "JSON is escaped as JSON in any case.").ignored(),
])
.of(&[&FORMAT, &ARGS]);

const DOC: Doc = Doc {
    group: Area::Transform,
    body: Needs::As("The body is read, as expressions in the format and arguments may need it."),
    forms: &[&ROOT],
    remarks: &[
        "In JSON write `\"${payload.name}\"` for a text and `${payload.count}` for a number, an array or an object.",
        "A `value` of an argument that is no XML is escaped for XML, also in JSON and text; what an `expression` gives is escaped for the form that is made.",
        "Elements of an XML format need `xmlns=\"\"`, or they have Synapse's namespace.",
        "FreeMarker sees `payload`, `args.arg1`, `ctx`, `axis2`, `trp` and `vars`. Numbers are written for people (`1,234`); use `?c` for machines. `<#include>`, `<#import>`, `?eval`, `?interpret` and `?new` are refused.",
        "A FreeMarker template is a fault after `[myelin] template_timeout`. One that takes longer than a moment holds up no other message.",
        "Arguments that are written alike are evaluated once.",
    ],
};

/// `media-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Xml,
    Json,
    Text,
}

/// `template-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Default,
    FreeMarker,
}

/// What does not depend on where the format comes from.
#[derive(Debug)]
struct Factory {
    target: Target,
    language: Language,
    /// The media type is none that the reference compares equal: the body stays as it is.
    inert: bool,
    arguments: Arguments,
}

/// The `<args>`. Those that are written alike are evaluated once for a message.
#[derive(Debug, Default)]
struct Arguments {
    distinct: Vec<Argument>,
    /// Where among them the argument of each `$n` is.
    places: Vec<usize>,
}

/// A format that is ready to be filled.
#[derive(Debug)]
enum Template {
    Default(Format),
    FreeMarker(Arc<freemarker::Template>),
}

/// Why a format cannot be used, and where in its text.
struct Unusable {
    offset: usize,
    message: String,
    unsupported: bool,
}

#[derive(Debug)]
enum Source {
    Inline(Template),
    Key(Dynamic, Place),
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let (target, inert) = parse_media_type(reader, element);
    let language = reader
        .one_of(
            element,
            "template-type",
            &[
                ("default", Language::Default),
                ("freemarker", Language::FreeMarker),
            ],
        )
        .unwrap_or(Language::Default);
    for child in reader.children(element) {
        if !matches!(reader.name(child), Some("format" | "args" | "description")) {
            ROOT.refuse(reader, child);
        }
    }
    let arguments = parse_arguments(reader, element);
    let factory = Factory {
        target,
        language,
        inert,
        arguments,
    };
    let source = parse_format(reader, element, &factory);
    let source = source?;
    (reader.errors() == before).then(|| {
        Arc::new(PayloadFactoryDef {
            factory: Arc::new(factory),
            source: Arc::new(source),
        }) as Arc<dyn Definition>
    })
}

fn parse_media_type(reader: &mut Reader, element: Element<'_, '_>) -> (Target, bool) {
    let text = element.attribute("media-type").unwrap_or("xml");
    match text {
        "xml" => return (Target::Xml, false),
        "json" => return (Target::Json, false),
        "text" => return (Target::Text, false),
        _ => {}
    }
    let place = reader.attribute_place(element, "media-type");
    reader.report(
        Diagnostic::warning(
            codes::INVALID_VALUE,
            place,
            format!("media-type \"{text}\" leaves the body as it is"),
        )
        .help("write \"xml\", \"json\" or \"text\""),
    );
    let target = if text.contains("json") {
        Target::Json
    } else if text.contains("text") {
        Target::Text
    } else {
        Target::Xml
    };
    (target, true)
}

fn parse_arguments(reader: &mut Reader, element: Element<'_, '_>) -> Arguments {
    let mut out = Arguments::default();
    let Some(args) = reader.child(element, "args") else {
        return out;
    };
    ARGS.check(reader, args);
    let mut known = HashMap::new();
    for child in reader.children(args) {
        if reader.name(child) != Some("arg") {
            ARGS.refuse(reader, child);
            continue;
        }
        ARG.check(reader, child);
        let attributes = ["value", "expression", "evaluator", "literal"];
        let written = (
            attributes.map(|name| child.attribute(name)),
            reader.namespaces(child).0,
        );
        if let Some(place) = known.get(&written) {
            out.places.push(*place);
        } else if let Some(argument) = parse_argument(reader, child) {
            known.insert(written, out.distinct.len());
            out.places.push(out.distinct.len());
            out.distinct.push(argument);
        }
    }
    out
}

fn parse_argument(reader: &mut Reader, element: Element<'_, '_>) -> Option<Argument> {
    if let Some(text) = element.attribute("value") {
        return Some(Argument::literal(text));
    }
    let Some(text) = element.attribute("expression") else {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "Unsupported arg type. value or expression attribute required",
        );
        return None;
    };
    let place = reader.attribute_place(element, "expression");
    if text.trim().is_empty() {
        reader.error(
            codes::INVALID_EXPRESSION,
            place,
            "Attribute value for xpath cannot be empty",
        );
        return None;
    }
    let literal = element
        .attribute("literal")
        .is_some_and(|t| t.eq_ignore_ascii_case("true"));
    let compiled = if element.attribute("evaluator") == Some("json") {
        json_path(text)
    } else {
        let namespaces = reader.namespaces(element);
        match text.starts_with("json-eval(") || text.starts_with("${") {
            // The reference reads both as XPath, which they are not.
            true => Err(ExprError {
                offset: 0,
                len: text.len(),
                message: if text.starts_with("${") {
                    "write ${…} directly into the format".to_owned()
                } else {
                    "a JSON path needs evaluator=\"json\"".to_owned()
                },
                unsupported: false,
            }),
            false => Expr::compile(text, &namespaces),
        }
    };
    match compiled {
        Ok(expression) => Some(Argument::Expression {
            expression,
            literal,
        }),
        Err(e) => {
            reader.report(
                Diagnostic::error(
                    codes::INVALID_EXPRESSION,
                    place,
                    format!("Invalid XPath expression for attribute expression : {text}"),
                )
                .help(e.message),
            );
            None
        }
    }
}

/// A JSON path, with or without `json-eval( )` around it.
fn json_path(text: &str) -> Result<Expr, ExprError> {
    let text = text.trim();
    if text.starts_with("json-eval(") {
        Expr::compile(text, &Namespaces::default())
    } else {
        Expr::compile(&format!("json-eval({text})"), &Namespaces::default())
    }
}

fn parse_format(
    reader: &mut Reader,
    element: Element<'_, '_>,
    factory: &Factory,
) -> Option<Source> {
    let Some(format) = reader.child(element, "format") else {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "format element of payloadFactoryMediator is required",
        );
        return None;
    };
    FORMAT.check(reader, format);
    if format.has_attribute("key") {
        let place = reader.attribute_place(format, "key");
        return reader
            .dynamic(format, "key")
            .map(|key| Source::Key(key, place));
    }
    let place = reader.place(format);
    let text = inline_text(reader, format, factory)?;
    match factory.compile(&text) {
        Ok(template) => {
            if let Template::Default(Format { mismatch: true, .. }) = &template {
                reader.warning(
                    codes::SUSPICIOUS_EXPRESSION,
                    place,
                    "the format has a $n without an argument; from there on it stays as it is written",
                );
            }
            Some(Source::Inline(template))
        }
        Err(e) => {
            let message = factory.complaint(&e);
            if e.unsupported {
                reader.unsupported(place, message, None);
            } else {
                reader.error(codes::INVALID_EXPRESSION, place, message);
            }
            None
        }
    }
}

/// The text of an inline format: of JSON and text what is written, of XML the first child element
/// without blank text between elements, else the text.
fn inline_text(reader: &mut Reader, format: Element<'_, '_>, factory: &Factory) -> Option<String> {
    if factory.target == Target::Xml
        && let Some(child) = format.children().find(roxmltree::Node::is_element)
    {
        let mut document = super::property::import(reader, child)?;
        let root = document.root_element()?;
        drop_blank_text(&mut document, root);
        return Some(document.to_xml(root));
    }
    Some(
        format
            .children()
            .filter(|c| c.is_text())
            .filter_map(|c| c.text())
            .collect(),
    )
}

fn drop_blank_text(document: &mut Document, root: NodeId) {
    let blank: Vec<NodeId> = document
        .descendants(root)
        .filter(|n| document.kind(*n) == NodeKind::Text)
        .filter(|n| document.text(*n).trim().is_empty())
        .collect();
    for node in blank {
        document.detach(node);
    }
}

impl Factory {
    fn compile(&self, text: &str) -> Result<Template, Unusable> {
        match self.language {
            Language::Default => Format::compile(text, &self.arguments.places, self.target)
                .map(Template::Default)
                .map_err(|e| Unusable {
                    offset: e.offset,
                    message: e.message,
                    unsupported: e.unsupported,
                }),
            Language::FreeMarker => freemarker::Template::compile(text)
                .map(|template| Template::FreeMarker(Arc::new(template))),
        }
    }

    fn complaint(&self, e: &Unusable) -> String {
        match self.language {
            Language::Default => format!(
                "Invalid Payload format : {} (at character {} of the format)",
                e.message, e.offset
            ),
            Language::FreeMarker => {
                format!("Error compiling FreeMarking template : {}", e.message)
            }
        }
    }
}

#[derive(Debug)]
struct PayloadFactoryDef {
    factory: Arc<Factory>,
    source: Arc<Source>,
}

impl Definition for PayloadFactoryDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let format = match &*self.source {
            Source::Inline(_) => Linked::Inline(self.source.clone()),
            Source::Key(Dynamic::Static(key), place) => {
                let text = linker.entry(key, place).and_then(text_of);
                Linked::Key(match text {
                    None => Err(format!("Key {key} not found ")),
                    Some(text) => self.factory.compile(&text).map_err(|e| {
                        let message = self.factory.complaint(&e);
                        let code = if e.unsupported {
                            codes::UNSUPPORTED
                        } else {
                            codes::INVALID_EXPRESSION
                        };
                        linker.diagnostics.push(Diagnostic::error(
                            code,
                            place.clone(),
                            message.clone(),
                        ));
                        message
                    }),
                })
            }
            Source::Key(Dynamic::Expr(_), _) => Linked::Dynamic {
                source: self.source.clone(),
                compiled: Mutex::default(),
            },
        };
        let factory = PayloadFactory {
            factory: self.factory.clone(),
            format,
        };
        match self.factory.language {
            Language::Default => Run::Now(Box::new(factory)),
            Language::FreeMarker => Run::Wait(Box::new(Templated {
                factory,
                threads: linker.stores.shared("templates", "", 0),
            })),
        }
    }
}

/// The text of an entry that is a format.
fn text_of(value: &Value) -> Option<String> {
    Some(value.text().into_owned())
}

type Compiled = Arc<Result<Template, String>>;

#[derive(Debug)]
enum Linked {
    Inline(Arc<Source>),
    /// Of a static key, or why there is none.
    Key(Result<Template, String>),
    /// Of the keys of messages: what was compiled of the entries of the plan.
    Dynamic {
        source: Arc<Source>,
        compiled: Mutex<HashMap<String, Compiled>>,
    },
}

#[derive(Debug)]
struct PayloadFactory {
    factory: Arc<Factory>,
    format: Linked,
}

impl Mediate for PayloadFactory {
    fn need(&self) -> Need {
        Need::Tree
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let text = self.with_template(cx, message, |template| match template {
            Template::Default(format) => format.render(
                &cx.scope(message),
                &self.factory.arguments.distinct,
                &cx.services.limits,
            ),
            Template::FreeMarker(_) => Err(Fault::mediation("the format is a template")),
        })?;
        self.factory.install(message, text, &cx.services.limits)
    }
}

impl PayloadFactory {
    /// Does something with the format for a message.
    fn with_template<R>(
        &self,
        cx: &Context<'_>,
        message: &Message,
        work: impl FnOnce(&Template) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match &self.format {
            Linked::Inline(source) => match &**source {
                Source::Inline(template) => work(template),
                Source::Key(..) => Err(Fault::mediation("the format is not inline")),
            },
            Linked::Key(Ok(template)) => work(template),
            Linked::Key(Err(why)) => Err(Fault::mediation(why.clone())),
            Linked::Dynamic { source, compiled } => {
                let found = self.factory.find(source, compiled, cx, message)?;
                match &*found {
                    Ok(template) => work(template),
                    Err(why) => Err(Fault::mediation(why.clone())),
                }
            }
        }
    }
}

impl Factory {
    /// The format that a key of this message names. Only entries of the plan are kept compiled, so
    /// that there are no more than it has.
    fn find(
        &self,
        source: &Source,
        compiled: &Mutex<HashMap<String, Compiled>>,
        cx: &Context<'_>,
        message: &Message,
    ) -> Result<Compiled, Fault> {
        let Source::Key(key, _) = source else {
            return Err(Fault::mediation("the format has no key"));
        };
        let key = key.value(&cx.scope(message))?;
        let lock = || compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&*key) {
            return Ok(known.clone());
        }
        let text = entries::find(&cx.library.entries, &key)
            .and_then(text_of)
            .ok_or_else(|| Fault::mediation(format!("Key {key} not found ")))?;
        let found = Arc::new(self.compile(&text).map_err(|e| self.complaint(&e)));
        lock().insert(key.to_string(), found.clone());
        Ok(found)
    }

    /// Makes a text the body.
    fn install(
        &self,
        message: &mut Message,
        text: Vec<u8>,
        limits: &BodyLimits,
    ) -> Result<Flow, Fault> {
        if self.inert {
            return Ok(Flow::Continue);
        }
        match self.target {
            Target::Json => {
                content::set_json(message, text, limits)?;
                content::set_type(message, "application/json");
            }
            Target::Text => {
                content::set_text(message, text, limits);
                content::set_type(message, "text/plain");
            }
            Target::Xml => {
                content::set_xml(message, text, limits)?;
                content::set_type(message, "application/xml");
            }
        }
        Ok(Flow::Continue)
    }
}
