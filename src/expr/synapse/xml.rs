//! `xpath(…)` (spec 05 §5.9).

use super::eval::Evaluator;
use super::program::{Call, Prepared};
use super::strings::bounded;
use super::value::Val;
use super::{Exception, Failure, Outcome};
use crate::expr::xpath::{self, Namespaces, PropertyScope, PropertyValue, XPath};
use crate::message::Value;
use crate::message::value::XmlValue;
use crate::xml::{Document, NodeId};

/// What a node weighs beside its text, in bytes.
const NODE_WEIGHT: usize = 64;

/// Compiles `xpath('p')`.
pub(super) fn compile(path: &str, namespaces: &Namespaces) -> Result<XPath, String> {
    XPath::compile(path, namespaces).map_err(|e| e.message)
}

/// Compiles `xpath('p','v')`: the path goes on from the variable, or from the element in a field of
/// it when the name has a dot.
pub(super) fn compile_on(
    path: &str,
    variable: &str,
    namespaces: &Namespaces,
) -> Result<XPath, String> {
    if variable.is_empty() {
        return Err("Invalid variable name provided for XPATH function".to_owned());
    }
    match variable.contains('.') {
        true => compile(path, namespaces),
        false => compile(&format!("$var:{variable}{path}"), namespaces),
    }
}

/// The function.
pub(super) fn xpath<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let mut args = ev.arguments(call)?.into_iter();
    let path = args.next().unwrap_or(Val::Null).into_text()?;
    let variable = args.next().map(Val::into_text).transpose()?;
    let made;
    let compiled = match &call.prepared {
        Prepared::XPath(compiled) => compiled,
        // The text is made by the message, so there is nothing that could be compiled before.
        _ => {
            made = match &variable {
                None => compile(&path, ev.namespaces),
                Some(variable) => compile_on(&path, variable, ev.namespaces),
            };
            &made
        }
    };
    let compiled = compiled
        .as_ref()
        .map_err(|_| Failure::evaluation(format!("Invalid XPATH expression : {path}")))?;
    match variable.as_deref().and_then(|v| v.split_once('.')) {
        Some((name, field)) => ev.in_field(compiled, name, field),
        None => ev.run_xpath(compiled, &path),
    }
}

impl<'a> Evaluator<'a> {
    /// Evaluates on the message.
    pub(super) fn run_xpath(self, compiled: &XPath, path: &str) -> Outcome<Val<'a>> {
        let scope: &'a dyn xpath::Scope = self.scope;
        let failed = |cause: xpath::EvalError| {
            Failure::thrown(
                Exception::Synapse,
                format!(
                    "Evaluation of the XPath expression {path} resulted in an error: {}",
                    cause.message
                ),
            )
        };
        if self.object {
            return match compiled.evaluate(scope).map_err(failed)? {
                xpath::Value::Nodes(nodes) => {
                    copies_fit(&nodes)?;
                    Ok(Val::Nodes(nodes))
                }
                _ => Err(Failure::thrown(
                    Exception::ClassCast,
                    format!("the XPath {path} selects no nodes"),
                )),
            };
        }
        match compiled.string_value_of(scope).map_err(failed)? {
            Some(text) => Ok(Val::text(text)),
            None => Err(Failure::thrown(
                Exception::NullPointer,
                format!("the XPath {path} gives null"),
            )),
        }
    }

    /// Evaluates on the element in a field of a map variable, with the string conversion of XPath.
    fn in_field(self, compiled: &XPath, name: &str, field: &str) -> Outcome<Val<'a>> {
        let Some(Value::Map(entries)) = self.scope.variable(name) else {
            return Err(Failure::evaluation(format!(
                "Variable {name} is not defined or is no map"
            )));
        };
        let element = entries.iter().find(|(key, _)| key == field);
        let Some((_, Value::Xml(element))) = element else {
            return Err(Failure::evaluation(format!(
                "Field {field} of variable {name} is not XML"
            )));
        };
        let inside = Inside { element };
        let value = compiled
            .evaluate(&inside)
            .map_err(|e| Failure::evaluation(e.message))?;
        Ok(Val::text(value.to_xpath_string()))
    }
}

/// Elements that contain each other would be copied many times.
fn copies_fit(nodes: &[xpath::Node<'_>]) -> Outcome<()> {
    let mut sum = 0_usize;
    for node in nodes.iter().filter(|_| nodes.len() > 1) {
        for inner in node.document.descendants(node.node) {
            let attributes = node.document.attributes(inner);
            let values: usize = attributes.map(|attribute| attribute.value.len()).sum();
            sum = sum.saturating_add(NODE_WEIGHT + node.document.text(inner).len() + values);
            bounded(sum)?;
        }
    }
    Ok(())
}

/// An element that is the whole world of an XPath.
struct Inside<'a> {
    element: &'a XmlValue,
}

impl xpath::Scope for Inside<'_> {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.element.document, self.element.node))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        None
    }
    fn has_document_root(&self) -> bool {
        true
    }
    fn property(&self, _: PropertyScope, _: &str) -> PropertyValue<'_> {
        PropertyValue::Null
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
        0
    }
}
