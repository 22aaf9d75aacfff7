//! `<sequence>`: a named definition, a reference by key, or an inline list (spec 01 §4).

use super::{
    Boxed, Context, Definition, Flow, Linker, List, ListDef, MediateAsync, Run, Spec, run_sequence,
};
use crate::diag::{Place, codes};
use crate::expr::Dynamic;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message, SequenceId};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "sequence",
    summary: "Runs a named sequence, or the mediators inside.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "sequence",
    "Runs another sequence by `key`, or its children. What stands behind it runs when the sequence has ended, unless it ended the flow.",
)
.with(&[
    Attr::dynamic("key", "Name of the sequence that runs."),
    Attr::text("name", "Makes it a sequence in place. Wins over `key`."),
    Attr::text("onError", "Sequence that runs when one of the children faults. Not with `key`."),
])
.holds(Content::Mediators);

const DEFINITION: Tag = Tag::mediator("sequence", "As an artifact: a sequence that others run by its name. `main` gets messages that are for no service, `fault` failures that nobody else deals with.")
    .with(&[
        Attr::text("name", "Its name.").required(),
        Attr::text("onError", "Sequence that runs when one of the children faults."),
    ])
    .holds(Content::Mediators);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Nothing,
    forms: &[&ROOT, &DEFINITION],
    remarks: &[
        "A `key` that is not defined is an error at deployment, and a fault when a message reaches it.",
        "Sequences that run each other nest `[myelin] max_sequence_depth` deep.",
    ],
};

/// What happens with the fault handler of a sequence.
#[derive(Debug, Default)]
pub enum OnError {
    /// No `onError`.
    #[default]
    None,
    /// This sequence.
    Sequence(SequenceId),
    /// A name that is not defined: warned about whenever the sequence runs.
    Missing(String),
}

/// A linked sequence.
#[derive(Debug, Default)]
pub struct Sequence {
    /// Its name; anonymous ones have none.
    pub name: Option<String>,
    /// Its fault handler.
    pub on_error: OnError,
    /// Its mediators.
    pub list: List,
}

impl Sequence {
    /// The name as messages print it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("an anonymous sequence")
    }
}

/// A named sequence as it is written.
#[derive(Debug)]
pub struct SequenceDef {
    /// `name`.
    pub name: String,
    /// `onError` and its place.
    pub on_error: Option<(String, Place)>,
    /// The mediators.
    pub list: ListDef,
    /// The element.
    pub place: Place,
}

impl SequenceDef {
    /// Reads a top-level or inline named sequence.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<SequenceDef> {
        DEFINITION.check(reader, element);
        let name = reader.required(element, "name")?.to_owned();
        Some(SequenceDef {
            name,
            on_error: on_error(reader, element),
            list: ListDef::parse(reader, element, &[]),
            place: reader.place(element),
        })
    }

    /// Links it.
    pub fn link(&self, linker: &mut Linker<'_>) -> Sequence {
        linker.within_sequence(&self.name, |linker| Sequence {
            name: Some(self.name.clone()),
            on_error: linker.on_error(self.on_error.as_ref()),
            list: self.list.link(linker),
        })
    }
}

/// The `onError` attribute and its place.
pub fn on_error(reader: &mut Reader, element: Element<'_, '_>) -> Option<(String, Place)> {
    let name = element.attribute("onError")?;
    Some((name.to_owned(), reader.attribute_place(element, "onError")))
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    if element.has_attribute("name") || !element.has_attribute("key") {
        if !element.has_attribute("name") && element.first_element_child().is_none() {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "A sequence mediator should be a named sequence or a reference to another sequence (i.e. a name attribute or key attribute is required)",
            );
            return None;
        }
        return Some(Arc::new(InlineDef {
            on_error: on_error(reader, element),
            list: ListDef::parse(reader, element, &[]),
        }));
    }
    if element.has_attribute("onError") {
        let place = reader.attribute_place(element, "onError");
        reader.error(
            codes::CONFLICT,
            place,
            "A sequence mediator with a reference to another sequence can not have 'ErrorHandler'",
        );
        return None;
    }
    let place = reader.attribute_place(element, "key");
    let key = reader.dynamic(element, "key")?;
    for child in reader.children(element) {
        let at = reader.place(child);
        reader.warning(
            codes::UNREACHABLE,
            at,
            "a sequence with a key runs no mediators of its own",
        );
    }
    Some(Arc::new(CallDef {
        key: Arc::new(key),
        place,
    }))
}

#[derive(Debug)]
struct InlineDef {
    on_error: Option<(String, Place)>,
    list: ListDef,
}

impl Definition for InlineDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let id = linker.add_list("sequence", &self.list, self.on_error.as_ref());
        Run::Wait(Box::new(Inline(id)))
    }
}

#[derive(Debug)]
struct Inline(SequenceId);

impl MediateAsync for Inline {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(run_sequence(cx, message, self.0))
    }
}

#[derive(Debug)]
struct CallDef {
    key: Arc<Dynamic>,
    place: Place,
}

impl Definition for CallDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let id = match &*self.key {
            Dynamic::Static(name) => linker.sequence(name, &self.place),
            Dynamic::Expr(_) => None,
        };
        Run::Wait(Box::new(Call {
            key: self.key.clone(),
            id,
        }))
    }
}

#[derive(Debug)]
struct Call {
    key: Arc<Dynamic>,
    id: Option<SequenceId>,
}

impl MediateAsync for Call {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            let id = match self.id {
                Some(id) => Some(id),
                None => resolve(cx, message, &self.key).await?,
            };
            match id {
                Some(id) => run_sequence(cx, message, id).await,
                None => Err(Fault::mediation(format!(
                    "Sequence named {} cannot be found",
                    printed(&self.key)
                ))),
            }
        })
    }
}

/// The id of a key for this message.
pub(super) async fn resolve(
    cx: Context<'_>,
    message: &mut Message,
    key: &Dynamic,
) -> Result<Option<SequenceId>, Fault> {
    if key.needs_body() {
        super::list::build(cx, message).await?;
    }
    let name = key.value(&cx.scope(message))?;
    Ok(cx.library.named(&name))
}

/// The key as the reference prints its key object.
fn printed(key: &Dynamic) -> String {
    match key {
        Dynamic::Static(name) => format!("Value {{name ='null', keyValue ='{name}'}}"),
        Dynamic::Expr(expr) => format!("Value {{name ='null', expression ={}}}", expr.text()),
    }
}
