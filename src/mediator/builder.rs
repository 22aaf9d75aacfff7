//! `<builder>`: builds a body that was relayed as bytes (spec 03 §27).
//!
//! Bodies are built here whenever somebody needs them, as their content type says, so that building
//! is all that is left to do. Own builder classes cannot run.

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::codes;
use crate::expr::Need;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "builder",
    summary: "Builds the body.",
    doc: DOC,
    parse,
};

const BUILDER: Tag = Tag::child(
    "messageBuilder",
    "The older form: one for each content type.",
)
.with(&[
    Attr::text("contentType", "The content type.").required(),
    Attr::text("class", "A builder class of the reference.").required(),
    Attr::text("formatterClass", "A formatter class of the reference."),
]);

const ROOT: Tag = Tag::mediator(
    "builder",
    "Reads the body into memory as its content type says. Useful before something that must not see a half-read body, such as a `<call>` after which the flow decides anew.",
)
.with(&[
    Attr::text("class", "A builder class of the reference; all of them are built in. Needs `formatterClass`."),
    Attr::text("formatterClass", "A formatter class of the reference. Needs `class`."),
])
.of(&[&BUILDER]);

const DOC: Doc = Doc {
    group: Area::Transform,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Bodies are built whenever somebody reads them, by content type; class names choose nothing here. A class of your own is refused at deployment.",
    ],
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
    ROOT.check(reader, element);
    let before = reader.errors();
    if element.has_attribute("class") || element.has_attribute("formatterClass") {
        needs(reader, element, "class");
        needs(reader, element, "formatterClass");
    }
    for child in reader.children(element) {
        match reader.name(child) {
            Some("messageBuilder") => {
                BUILDER.check(reader, child);
                needs(reader, child, "contentType");
                needs(reader, child, "class");
                class(reader, child, "formatterClass");
            }
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
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
