//! `<builder>`: builds a body that was relayed as bytes (spec 03 §27).
//!
//! Bodies are built here whenever somebody needs them, as their content type says, so that building
//! is all that is left to do. Own builder classes cannot run.

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::codes;
use crate::expr::Need;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "builder",
    summary: "Builds the body.",
    parse,
};

/// Packages whose builders and formatters are built in.
const BUILT_IN: &[&str] = &[
    "org.apache.axis2.",
    "org.apache.synapse.commons.",
    "org.wso2.carbon.relay.",
    "org.wso2.micro.integrator.core.json.",
    "org.wso2.carbon.integrator.core.json.",
];

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    reader.mediator_attributes(element, &["class", "formatterClass"]);
    let before = reader.errors();
    if element.has_attribute("class") || element.has_attribute("formatterClass") {
        needs(reader, element, "class");
        needs(reader, element, "formatterClass");
    }
    for child in reader.children(element) {
        match reader.name(child) {
            Some("messageBuilder") => {
                reader.known_attributes(child, &["contentType", "class", "formatterClass"]);
                needs(reader, child, "contentType");
                needs(reader, child, "class");
                class(reader, child, "formatterClass");
            }
            Some("description") => {}
            _ => reader.unknown_element(child, "builder", &["messageBuilder"]),
        }
    }
    (reader.errors() == before).then(|| Arc::new(Builder) as Arc<dyn Definition>)
}

fn needs(reader: &mut Reader, element: Element<'_, '_>, name: &str) {
    if !element.has_attribute(name) {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            format!("{name} attribute is required"),
        );
    }
    if name != "contentType" {
        class(reader, element, name);
    }
}

fn class(reader: &mut Reader, element: Element<'_, '_>, name: &str) {
    if let Some(class) = element.attribute(name)
        && !BUILT_IN.iter().any(|p| class.trim().starts_with(p))
    {
        let place = reader.attribute_place(element, name);
        reader.unsupported(
            place,
            format!("the Java class {class} cannot run here"),
            Some("bodies are built as their content type says"),
        );
    }
}

#[derive(Debug)]
struct Builder;

impl Definition for Builder {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(Builder))
    }
}

impl Mediate for Builder {
    fn need(&self) -> Need {
        Need::Tree
    }

    fn mediate(&self, _cx: &Context<'_>, _message: &mut Message) -> Result<Flow, Fault> {
        Ok(Flow::Continue)
    }
}
