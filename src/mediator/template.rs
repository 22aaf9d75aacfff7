//! Sequence templates and `<call-template>` (spec 03 §26, 04 §4.1).

use super::library::{descend, push_handler};
use super::list::build;
use super::rest::Leave;
use super::sequence::on_error;
use super::{
    Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, OnError, Run, Spec,
};
use crate::diag::{Place, codes};
use crate::expr::xpath::Value as XPathValue;
use crate::expr::{Dynamic, Expr};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::fault::{Report, codes as fault_codes};
use crate::message::value::XmlValue;
use crate::message::{Fault, Message, Parameter, TemplateCall, Value};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "call-template",
    summary: "Runs a sequence template with parameters.",
    doc: DOC,
    parse,
};

const WITH: Tag = Tag::child("with-param", "An argument.").with(&[
    Attr::text("name", "Name of the parameter.").required(),
    Attr::dynamic(
        "value",
        "The value. `{expr}` is evaluated here, `{{expr}}` where the template uses it.",
    )
    .required(),
]);

const ROOT: Tag = Tag::mediator("call-template", "Runs a sequence template with arguments.")
    .with(&[
        Attr::dynamic("target", "Name of the template.").required(),
        Attr::text("onError", "Sequence that runs when the template faults."),
    ])
    .of(&[&WITH]);

const PARAMETER: Tag = Tag::child("parameter", "A parameter.").with(&[
    Attr::text("name", "Its name.").required(),
    Attr::truth(
        "isMandatory",
        "`true`: without a value and a default the call is a fault (500101).",
    ),
    Attr::text("defaultValue", "Its value when the call has none."),
    Attr::text("description", "For people.").ignored(),
]);

const BODY: Tag = Tag::mediator("sequence", "The mediators.").holds(Content::Mediators);

const TEMPLATE: Tag = Tag::mediator("template", "The artifact: a sequence with parameters. They are read as `$func:name`, `get-property('func','name')` or `${params.functionParams.name}`.")
    .with(&[
        Attr::text("name", "Its name.").required(),
        Attr::text("onError", "Sequence that runs when one of the mediators faults."),
    ])
    .of(&[&PARAMETER, &BODY]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Expressions,
    forms: &[&ROOT, &TEMPLATE],
    remarks: &["Arguments that the template does not declare are not seen in it."],
};

/// The place of a template in the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateId(pub u32);

/// A sequence template as it is written.
#[derive(Debug)]
pub struct SequenceTemplateDef {
    name: String,
    on_error: Option<(String, Place)>,
    parameters: Arc<Vec<Declared>>,
    list: ListDef,
}

/// A parameter that a template declares.
#[derive(Debug)]
struct Declared {
    name: String,
    mandatory: bool,
    default: Option<String>,
}

impl SequenceTemplateDef {
    /// Reads a `<template>` whose body is `sequence`.
    pub fn parse(
        reader: &mut Reader,
        element: Element<'_, '_>,
        sequence: Element<'_, '_>,
    ) -> Option<SequenceTemplateDef> {
        let mut parameters = Vec::new();
        for child in reader.children(element) {
            match reader.name(child) {
                Some("parameter") => {
                    PARAMETER.check(reader, child);
                    let Some(name) = reader.required(child, "name") else {
                        continue;
                    };
                    parameters.push(Declared {
                        name: name.to_owned(),
                        mandatory: child
                            .attribute("isMandatory")
                            .is_some_and(|v| v.trim().eq_ignore_ascii_case("true")),
                        default: child.attribute("defaultValue").map(str::to_owned),
                    });
                }
                Some("sequence" | "description") => {}
                _ => TEMPLATE.refuse(reader, child),
            }
        }
        BODY.check(reader, sequence);
        Some(SequenceTemplateDef {
            name: element.attribute("name")?.to_owned(),
            on_error: on_error(reader, element),
            parameters: Arc::new(parameters),
            list: ListDef::parse(reader, sequence, &[]),
        })
    }

    /// Links it.
    pub fn link(&self, linker: &mut Linker<'_>) -> SequenceTemplate {
        SequenceTemplate {
            name: self.name.clone(),
            on_error: linker.on_error(self.on_error.as_ref()),
            parameters: self.parameters.clone(),
            list: linker.within(&format!("template:{}", self.name), |l| self.list.link(l)),
        }
    }
}

/// A linked sequence template.
#[derive(Debug)]
pub struct SequenceTemplate {
    name: String,
    on_error: OnError,
    parameters: Arc<Vec<Declared>>,
    list: List,
}

/// What is given for a parameter.
#[derive(Debug)]
enum Argument {
    Literal(String),
    /// Evaluated where the template is called.
    Expr(Expr),
    /// Evaluated where the template uses it.
    Deferred(Arc<Expr>),
}

#[derive(Debug)]
struct Arguments {
    target: Dynamic,
    given: Vec<(String, Argument)>,
    /// An argument reads the body, or says where the response of a connector goes.
    needs_body: bool,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let place = reader.attribute_place(element, "target");
    match element.attribute("target") {
        None => reader.error(
            codes::MISSING_ATTRIBUTE,
            place.clone(),
            "EIP Invoke mediator should have a target template specified.",
        ),
        Some(target) if target.trim().is_empty() => reader.error(
            codes::INVALID_VALUE,
            place.clone(),
            "EIP Invoke mediator should have a non empty target name specified.",
        ),
        Some(_) => {}
    }
    let target = reader.dynamic(element, "target");
    let mut given = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("with-param") => given.extend(parse_argument(reader, child)),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let target = target?;
    let needs_body = target.needs_body()
        || given.iter().any(|(name, argument)| {
            matches!(name.as_str(), "responseVariable" | "overwriteBody")
                || match argument {
                    Argument::Literal(_) => false,
                    Argument::Expr(expr) => expr.needs_body(),
                    Argument::Deferred(expr) => expr.needs_body(),
                }
        });
    (reader.errors() == before).then(|| {
        Arc::new(CallDef {
            place,
            on_error: on_error(reader, element),
            arguments: Arc::new(Arguments {
                target,
                given,
                needs_body,
            }),
        }) as Arc<dyn Definition>
    })
}

fn parse_argument(reader: &mut Reader, element: Element<'_, '_>) -> Option<(String, Argument)> {
    WITH.check(reader, element);
    let name = element.attribute("name").unwrap_or_default();
    if name.trim().is_empty() {
        let place = reader.attribute_place(element, "name");
        reader.error(
            codes::INVALID_VALUE,
            place,
            "Call template mediator parameters should have non empty name.",
        );
        return None;
    }
    let value = reader.required(element, "value")?;
    let deferred = value
        .strip_prefix("{{")
        .and_then(|text| text.strip_suffix("}}"));
    let argument = match deferred {
        Some(inner) => {
            let namespaces = reader.namespaces(element);
            match Expr::compile(inner, &namespaces) {
                Ok(expr) => Argument::Deferred(Arc::new(expr)),
                Err(mut error) => {
                    error.offset += 2;
                    let place = reader.attribute_place(element, "value");
                    reader.expression_error(&place, value, &error);
                    return None;
                }
            }
        }
        None => match reader.dynamic(element, "value")? {
            Dynamic::Static(text) => Argument::Literal(text),
            Dynamic::Expr(expr) => Argument::Expr(expr),
        },
    };
    Some((name.to_owned(), argument))
}

#[derive(Debug)]
struct CallDef {
    place: Place,
    on_error: Option<(String, Place)>,
    arguments: Arc<Arguments>,
}

impl Definition for CallDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let target = match &self.arguments.target {
            Dynamic::Static(name) => linker.sequence_template(name, &self.place),
            Dynamic::Expr(_) => None,
        };
        Run::Wait(Box::new(Call {
            target,
            on_error: linker.on_error(self.on_error.as_ref()),
            arguments: self.arguments.clone(),
        }))
    }
}

#[derive(Debug)]
struct Call {
    target: Option<TemplateId>,
    on_error: OnError,
    arguments: Arc<Arguments>,
}

impl MediateAsync for Call {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            let Arguments {
                target, needs_body, ..
            } = &*self.arguments;
            if *needs_body && !message.is_built() {
                build(cx, message).await?;
            }
            let template = match (self.target, target) {
                (Some(id), _) => cx.library.template(id),
                (None, Dynamic::Static(_)) => None,
                (None, key) => {
                    let name = key.value(&cx.scope(message))?;
                    cx.library
                        .template_names
                        .get(&name)
                        .and_then(|id| cx.library.template(*id))
                }
            };
            let Some(template) = template else {
                let name = target.value(&cx.scope(message))?;
                return Err(Fault::mediation(format!(
                    "Sequence template {name} cannot be found"
                )));
            };
            let outer = push_handler(message, &self.on_error, &template.name);
            let call = self.arguments.bind(cx, message, template)?;
            message.templates.push(Arc::new(call));
            let inner = push_handler(message, &template.on_error, &template.name);
            let leave = Leave::Template(u8::from(outer) + u8::from(inner));
            let before = descend(cx, message, &template.name)?;
            let flow = template.list.run_from(cx, message, 0, leave).await;
            message.depth = before;
            if let Ok(Flow::Continue) = flow {
                leave.apply(message);
            }
            flow
        })
    }
}

impl Arguments {
    /// The values of the declared parameters. Others that were given are ignored.
    fn bind(
        &self,
        cx: Context<'_>,
        message: &Message,
        template: &SequenceTemplate,
    ) -> Result<TemplateCall, Fault> {
        let mut parameters = Vec::new();
        for declared in template.parameters.iter() {
            let given = self.given.iter().rfind(|(name, _)| *name == declared.name);
            let value = match given {
                None => Parameter::Null,
                Some((_, Argument::Literal(text))) => Parameter::Value(Value::String(text.clone())),
                Some((_, Argument::Deferred(expr))) => Parameter::Deferred(expr.clone()),
                Some((_, Argument::Expr(expr))) => evaluate(cx, message, expr)?,
            };
            let value = match (value, &declared.default) {
                (Parameter::Null, Some(text)) => Parameter::Value(Value::String(text.clone())),
                (Parameter::Null, None) if declared.mandatory => {
                    let mut fault = Fault::mediation(format!(
                        "Neither a value nor default value is provided for mandatory parameter: {} in seq-template {}",
                        declared.name, template.name
                    ));
                    fault.code = fault_codes::MISSING_PARAMETER;
                    fault.report = Report::Always;
                    return Err(fault);
                }
                (value, _) => value,
            };
            parameters.push((declared.name.clone(), value));
        }
        Ok(TemplateCall { parameters })
    }
}

/// An XPath that selects an element gives that element, everything else its text.
fn evaluate(cx: Context<'_>, message: &Message, expr: &Expr) -> Result<Parameter, Fault> {
    let scope = cx.scope(message);
    if let Expr::XPath(xpath) = expr
        && let Ok(XPathValue::Nodes(nodes)) = xpath.evaluate(&scope)
        && let Some(first) = nodes.first()
        && first.is_element()
    {
        let most = cx.services.limits.xml.max_bytes;
        let value = XmlValue::copy(first.document, first.node, most)?;
        return Ok(Parameter::Value(Value::Xml(Arc::new(value))));
    }
    Ok(match expr.string(&scope)? {
        Some(text) => Parameter::Value(Value::String(text)),
        None => Parameter::Null,
    })
}
