//! `<target>` of `clone`, `iterate`, `conditionalRoute` and `foreach`: where a part of the flow goes
//! (spec 03 §1.6).

use super::sequence::on_error;
use super::{Context, Flow, Linker, ListDef, run_sequence, send_to_target, settle};
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::endpoint::{self, Endpoint, EndpointDef, Names};
use crate::mediator::describe::{Attr, Content, ENDPOINT, Tag};
use crate::message::{EndpointId, Fault, Message, SequenceId, To, Value};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A target as it is written.
#[derive(Debug)]
pub(super) struct TargetDef {
    to: Option<String>,
    action: Option<String>,
    what: WhatDef,
}

#[derive(Debug)]
enum WhatDef {
    Nothing,
    Inline(ListDef, Option<(String, Place)>),
    Sequence(String, Place),
    Endpoint(Arc<EndpointDef>),
    EndpointKey(String, Place),
}

/// `<target>` of a split or a route.
pub(super) const TARGET: Tag = Tag::child(
    "target",
    "Where a message goes. Of several, the first of these counts: `<sequence>`, `sequence`, `<endpoint>`, `endpoint`.",
)
.with(&[
    Attr::text("to", "`To` address of the copy."),
    Attr::text("soapAction", "SOAP action of the copy."),
    Attr::text("sequence", "Sequence that runs."),
    Attr::text("endpoint", "Endpoint to send to."),
    Attr::text("description", "For people.").ignored(),
])
.of(&[&INLINE, &ENDPOINT]);

/// `<sequence>` of a target.
pub(super) const INLINE: Tag =
    Tag::mediator("sequence", "Mediators in place, or the name of a sequence.")
        .with(&[
            Attr::text("key", "Sequence that runs instead of the children."),
            Attr::text("name", "For people.").ignored(),
            Attr::text(
                "onError",
                "Sequence that runs when one of the children faults.",
            ),
        ])
        .holds(Content::Mediators);

impl TargetDef {
    /// Reads `<target>`.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<TargetDef> {
        TARGET.check(reader, element);
        let before = reader.errors();
        let (mut sequence, mut endpoint) = (None, None);
        for child in reader.children(element) {
            match reader.name(child) {
                Some("sequence") if sequence.is_none() => sequence = Some(inline(reader, child)),
                Some("endpoint") if endpoint.is_none() => {
                    endpoint =
                        endpoint::parse(reader, child).map(|e| WhatDef::Endpoint(Arc::new(e)));
                }
                Some("description") => {}
                _ => TARGET.refuse(reader, child),
            }
        }
        let key = |name: &str| {
            let key = element.attribute(name)?.to_owned();
            Some((key, reader.attribute_place(element, name)))
        };
        let what = sequence
            .or_else(|| key("sequence").map(|(key, place)| WhatDef::Sequence(key, place)))
            .or(endpoint)
            .or_else(|| key("endpoint").map(|(key, place)| WhatDef::EndpointKey(key, place)))
            .unwrap_or(WhatDef::Nothing);
        (reader.errors() == before).then(|| TargetDef {
            to: element.attribute("to").map(str::to_owned),
            action: element.attribute("soapAction").map(str::to_owned),
            what,
        })
    }

    /// A target that is the `sequence` attribute or the `<sequence>` child of a mediator itself.
    pub(super) fn of_sequence(reader: &mut Reader, element: Element<'_, '_>) -> Option<TargetDef> {
        let what = match (
            reader.child(element, "sequence"),
            element.attribute("sequence"),
        ) {
            (Some(child), _) => inline(reader, child),
            (None, Some(key)) => {
                WhatDef::Sequence(key.to_owned(), reader.attribute_place(element, "sequence"))
            }
            (None, None) => return None,
        };
        Some(TargetDef {
            to: None,
            action: None,
            what,
        })
    }

    /// The mediators of an inline sequence.
    pub(super) fn list(&self) -> Option<&ListDef> {
        match &self.what {
            WhatDef::Inline(list, _) => Some(list),
            _ => None,
        }
    }

    /// Links it.
    pub(super) fn link(&self, linker: &mut Linker<'_>) -> Target {
        let what = match &self.what {
            WhatDef::Nothing => What::Nothing,
            WhatDef::Inline(list, handler) => {
                What::Sequence(linker.add_list("sequence", list, handler.as_ref()))
            }
            WhatDef::Sequence(key, place) => match linker.sequence(key, place) {
                Some(id) => What::Sequence(id),
                None => What::NoSequence(key.clone()),
            },
            WhatDef::Endpoint(def) => What::Endpoint(linker.endpoint(def)),
            WhatDef::EndpointKey(key, place) => match linker.endpoint_names.get(key) {
                Some(id) => What::EndpointKey(*id),
                None => {
                    let known = linker.endpoint_names();
                    let hint = nearest(key, known.iter().map(String::as_str))
                        .map(|n| format!("did you mean \"{n}\"?"));
                    linker.report(
                        Diagnostic::error(
                            codes::UNDEFINED_ENDPOINT,
                            place.clone(),
                            format!("endpoint \"{key}\" is not defined"),
                        )
                        .maybe_help(hint),
                    );
                    What::NoEndpoint(key.clone())
                }
            },
        };
        Target {
            to: self.to.clone(),
            action: self.action.clone(),
            what,
        }
    }
}

fn inline(reader: &mut Reader, element: Element<'_, '_>) -> WhatDef {
    INLINE.check(reader, element);
    match element.attribute("key") {
        Some(key) => WhatDef::Sequence(key.to_owned(), reader.attribute_place(element, "key")),
        None => WhatDef::Inline(
            ListDef::parse(reader, element, &[]),
            on_error(reader, element),
        ),
    }
}

/// A linked target.
#[derive(Debug)]
pub(super) struct Target {
    to: Option<String>,
    action: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Nothing,
    Sequence(SequenceId),
    NoSequence(String),
    Endpoint(Arc<Endpoint>),
    EndpointKey(EndpointId),
    NoEndpoint(String),
}

impl Target {
    /// Gives the message to the target. What is sent to an endpoint has ended here: its response
    /// took the out path.
    ///
    /// # Errors
    /// The fault of the target, or that it does not exist.
    pub(super) async fn run(&self, cx: Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        if let Some(action) = &self.action {
            message.set_action(Some(action.clone()));
        }
        if let Some(to) = &self.to {
            message.to = To::Address(to.clone());
        }
        let endpoint = match &self.what {
            What::Nothing => return Ok(Flow::Continue),
            What::Sequence(id) => return run_sequence(cx, message, *id).await,
            What::NoSequence(key) => {
                return Err(Fault::mediation(format!(
                    "Couldn't find the sequence named : {key}"
                )));
            }
            What::Endpoint(endpoint) => Some(endpoint),
            What::EndpointKey(id) => cx.library.endpoints.get(*id),
            What::NoEndpoint(key) => {
                return Err(Fault::mediation(format!(
                    "Couldn't find the endpoint named : {key}"
                )));
            }
        };
        if let Some(endpoint) = endpoint {
            send_to_target(cx, message, &*endpoint.kind).await?;
        }
        Ok(Flow::Stop)
    }

    /// Whether it is a sequence with a mediator that sends.
    pub(super) fn sends(&self, cx: Context<'_>) -> bool {
        match &self.what {
            What::Sequence(id) => cx.library.sequence(*id).is_some_and(|s| s.list.sends()),
            _ => false,
        }
    }

    /// As [`Target::run`] for a target that runs in place of a mediator: its fault is handled here,
    /// and the flow around it goes on. `Stop` then, as when the target stops.
    pub(super) async fn run_caught(&self, cx: Context<'_>, message: &mut Message) -> Flow {
        match self.run(cx, message).await {
            Ok(flow) => flow,
            Err(fault) => {
                message
                    .properties
                    .set("ERROR_ON_TARGET_EXECUTION", Value::Boolean(true));
                settle(cx, message, Err(fault)).await;
                Flow::Stop
            }
        }
    }
}
