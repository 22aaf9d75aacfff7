//! `<throwError>`: faults with a code and a text of the artifact (spec 03 §27, 04 §9.2).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::expr::{Dynamic, Expr, Need, Wanted};
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::fault::Report;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "throwError",
    summary: "Faults with an error code and message of its own.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "throwError",
    "Starts the fault handlers with an error of your own.",
)
.with(&[
    Attr::text("type", "Becomes `ERROR_CODE`.").or("ANY"),
    Attr::dynamic("errorMessage", "Becomes `ERROR_MESSAGE`.")
        .or("Error occurred in the mediation flow"),
]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &["Without a handler the client gets 500 with a fault in its own form."],
};

const MESSAGE: &str = "Error occurred in the mediation flow";

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let message = match element.attribute("errorMessage") {
        None => Some(Dynamic::Static(MESSAGE.to_owned())),
        Some(text) if text.starts_with("${") && text.ends_with('}') => reader
            .expression(element, "errorMessage")
            .map(Dynamic::Expr),
        Some(_) => reader.dynamic(element, "errorMessage"),
    };
    let message = message?;
    (reader.errors() == before).then(|| {
        Arc::new(ThrowErrorDef(Arc::new(ThrowError {
            kind: element.attribute("type").unwrap_or("ANY").to_owned(),
            message,
        }))) as Arc<dyn Definition>
    })
}

#[derive(Debug)]
struct ThrowError {
    kind: String,
    message: Dynamic,
}

#[derive(Debug)]
struct ThrowErrorDef(Arc<ThrowError>);

impl Definition for ThrowErrorDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(ThrowErrorDef(self.0.clone())))
    }

    fn ends_flow(&self) -> bool {
        true
    }
}

impl Mediate for ThrowErrorDef {
    fn need(&self) -> Need {
        match &self.0.message {
            Dynamic::Static(_) => Need::Nothing,
            Dynamic::Expr(expr) => expr.need(Wanted::Text),
        }
    }

    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        match &self.0.message {
            Dynamic::Expr(expr) if number == 0 => Some((expr, Wanted::Text)),
            _ => None,
        }
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let text = self.0.message.value(&cx.scope(message))?;
        message.properties.set("ERROR_CODE", self.0.kind.as_str());
        message.properties.set("ERROR_MESSAGE", text.as_str());
        let mut fault = Fault::mediation(text);
        // The properties are written: the code is a text here.
        fault.report = Report::Keep;
        Err(fault)
    }
}
