//! Mediators: the steps of a flow. One mediator, one file: description, parse, link, run, tests.
//! A new one is a copy of a neighbour and a row in [`TABLE`].

mod aggregate;
mod branch;
mod builder;
mod cache;
mod call;
mod callout;
mod clone;
mod condition;
mod conditional_router;
mod content;
mod db;
pub mod describe;
mod drop;
mod enrich;
mod filter;
mod foreach;
mod gather;
mod header;
mod in_out;
mod iterate;
mod json_transform;
mod library;
mod link;
mod list;
mod log;
mod loopback;
mod makefault;
mod outcome;
mod pattern;
mod payload_factory;
mod property;
mod property_group;
mod refused;
mod respond;
mod rest;
mod rewrite;
mod scatter_gather;
mod script;
mod send;
pub mod sequence;
mod settle;
mod split;
mod switch;
mod target;
mod template;
#[cfg(test)]
#[path = "tests/bench.rs"]
mod testing;
mod threads;
mod throttle;
mod throw_error;
mod validate;
mod variable;

pub use branch::Detached;
pub use library::{Library, Out, Route, run_sequence};
pub use link::{Linker, Reference};
pub use list::{List, ListDef};
pub use property::import as inline_xml;
pub use rest::Rest;
pub use send::send_to_target;
pub use sequence::{OnError, Sequence, SequenceDef};
pub use settle::settle;
pub use template::{SequenceTemplate, SequenceTemplateDef, TemplateId};

use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::endpoint::{Boxed, SendContext, Services, Waiting};
use crate::expr::{Around, Expr, Need, Scope, Wanted};
use crate::message::{Exchange, Fault, Message};
use crate::settings::Unsupported;
use crate::syntax::{Element, Reader};
use std::fmt::Debug;
use std::sync::Arc;

/// What a mediator answers when it does not fault (spec 01 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next one.
    Continue,
    /// Nothing after it runs, up to the entry point. Not an error.
    Stop,
}

/// What surrounds a message while it is mediated.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the worker's messages share.
    pub services: &'a Arc<Services>,
    /// The plan's sequences, endpoints and local entries.
    pub library: &'a Arc<Library>,
    /// The client side.
    pub exchange: &'a Arc<Exchange>,
    /// Where responses and faults of this flow go.
    pub route: &'a Arc<Route>,
    /// What stands behind the mediator that runs.
    pub rest: Rest<'a>,
}

impl<'a> Context<'a> {
    /// The same for a part of the flow behind which nothing stands.
    #[must_use]
    pub fn apart(self) -> Context<'a> {
        Context {
            rest: Rest::Nothing,
            ..self
        }
    }

    /// What expressions see.
    pub fn scope(&self, message: &'a Message) -> Scope<'a> {
        Scope {
            deferred: 0,
            message,
            exchange: self.exchange,
            entries: &self.library.entries,
            clock: &self.services.clock,
            settings: &self.services.settings,
        }
    }

    /// The same without the message.
    pub fn around(&self) -> Around<'a> {
        Around {
            exchange: self.exchange,
            entries: &self.library.entries,
            clock: &self.services.clock,
            settings: &self.services.settings,
        }
    }

    /// What endpoints need.
    pub fn sending(&self) -> SendContext<'a> {
        SendContext {
            services: self.services,
            endpoints: &self.library.endpoints,
            entries: &self.library.entries,
            exchange: self.exchange,
            depth: 0,
            deliver: None,
            waiting: Waiting::Open,
            copies: None,
        }
    }
}

/// A mediator that never waits.
pub trait Mediate: Send + Sync + Debug {
    /// What of the body is there before it runs.
    fn need(&self) -> Need;

    /// For [`Need::Look`]: the expressions it evaluates, by number from 0, and what it asks them for.
    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        let _ = number;
        None
    }

    /// Does its work.
    ///
    /// # Errors
    /// The fault that the flow's handlers see.
    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault>;
}

/// A mediator that waits, or that holds others.
pub trait MediateAsync: Send + Sync + Debug {
    /// Does its work.
    ///
    /// # Errors
    /// As [`Mediate::mediate`].
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>>;
}

/// A linked mediator.
#[derive(Debug)]
pub enum Run {
    /// Runs without a future.
    Now(Box<dyn Mediate>),
    /// Is awaited.
    Wait(Box<dyn MediateAsync>),
}

/// A mediator as it is written: parsed, names not yet resolved. Linked anew for every plan.
pub trait Definition: Send + Sync + Debug {
    /// Resolves names and gives what runs.
    fn link(&self, linker: &mut Linker<'_>) -> Run;

    /// Whether nothing after it can run.
    fn ends_flow(&self) -> bool {
        false
    }
}

type ParseFn = fn(&mut Reader, Element<'_, '_>) -> Option<Arc<dyn Definition>>;

/// One mediator of the table.
#[derive(Debug)]
pub struct Spec {
    /// Element name.
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// Its attributes and children, and what to know about it.
    pub doc: describe::Doc,
    /// Reads the element; diagnostics say what is wrong when there is nothing to return.
    pub parse: ParseFn,
}

/// All mediators, by name.
pub const TABLE: &[Spec] = &[
    aggregate::SPEC,
    builder::SPEC,
    cache::SPEC,
    call::SPEC,
    template::SPEC,
    callout::SPEC,
    clone::SPEC,
    conditional_router::SPEC,
    db::LOOKUP,
    db::REPORT,
    drop::SPEC,
    enrich::SPEC,
    filter::SPEC,
    foreach::SPEC,
    header::SPEC,
    in_out::IN,
    iterate::SPEC,
    json_transform::SPEC,
    log::SPEC,
    loopback::SPEC,
    makefault::SPEC,
    in_out::OUT,
    payload_factory::SPEC,
    property::SPEC,
    property_group::SPEC,
    respond::SPEC,
    rewrite::SPEC,
    scatter_gather::SPEC,
    script::SPEC,
    send::SPEC,
    sequence::SPEC,
    switch::SPEC,
    throttle::SPEC,
    throw_error::SPEC,
    validate::SPEC,
    variable::SPEC,
];

/// Mediators of the reference that cannot or do not run here, with what to do instead.
pub const REFUSED: &[(&str, &str)] = &[
    (
        "NTLM",
        "NTLM does not run here; use an endpoint with basic authentication or OAuth, or a proxy in front of the back-end that speaks NTLM",
    ),
    (
        "annotatedCommand",
        "Java classes cannot run here; rewrite it with built-in mediators or call a service",
    ),
    (
        "bean",
        "Java classes cannot run here; rewrite it with built-in mediators or call a service",
    ),
    (
        "class",
        "Java classes cannot run here; rewrite it with built-in mediators or call a service",
    ),
    (
        "dataServiceCall",
        "data services do not run here; use <dblookup> and <dbreport>, or call the service that has the data",
    ),
    (
        "datamapper",
        "map the message with <payloadFactory> (template-type=\"freemarker\" for loops and conditions) or <enrich>, or call a service",
    ),
    (
        "ejb",
        "Java classes cannot run here; call a service instead",
    ),
    (
        "enqueue",
        "it needs executors of Java classes; call the sequence with <sequence key=\"…\"/>, or on a copy with <clone>",
    ),
    (
        "entitlementService",
        "policies in XACML are not asked here; call the policy server with <call> and decide with <filter>",
    ),
    (
        "event",
        "events of the registry do not exist here; send them to their receivers with <send> or <call>",
    ),
    (
        "eventPublisher",
        "events of the reference's analytics do not exist here; send them to their receivers with <send> or <call>",
    ),
    (
        "fastXSLT",
        "stylesheets do not run yet; make the new body with <payloadFactory> (template-type=\"freemarker\" for loops and conditions)",
    ),
    (
        "oauthService",
        "tokens are not checked here; let a gateway in front of this one do it, or call the token server with <call> and decide with <filter>",
    ),
    (
        "opa",
        "call the policy server with <call> and decide with <filter>",
    ),
    (
        "pojoCommand",
        "Java classes cannot run here; rewrite it with built-in mediators or call a service",
    ),
    ("router", "it does not run on MI either; use <filter>"),
    ("rule", ""),
    ("sampler", "it does not run here; use <throttle>"),
    (
        "smooks",
        "the Smooks engine is written in Java; convert the message in a service in front of this one",
    ),
    (
        "spring",
        "Java classes cannot run here; rewrite it with built-in mediators or call a service",
    ),
    ("store", ""),
    (
        "transaction",
        "transactions over databases and queues do not run here; let the database or a service do what belongs together",
    ),
    (
        "xquery",
        "queries do not run yet; read with XPath, and make the new body with <payloadFactory> or <enrich>",
    ),
    (
        "xslt",
        "stylesheets do not run yet; make the new body with <payloadFactory> (template-type=\"freemarker\" for loops and conditions)",
    ),
];

/// Reads one mediator element. With the setting `unsupported_mediators = "fault"` one that is not
/// supported becomes one that faults.
pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<ParsedMediator> {
    let before = reader.findings();
    let parsed = parse_strictly(reader, element);
    if parsed.is_some() || reader.unsupported_mediators == Unsupported::Refuse {
        return parsed;
    }
    let problem = reader.forgive_unsupported(before)?;
    let name = element.tag_name().name();
    let known = TABLE.iter().map(|s| s.name);
    Some(ParsedMediator {
        name: known
            .chain(REFUSED.iter().map(|r| r.0))
            .find(|n| *n == name)
            .unwrap_or("mediator"),
        place: reader.place(element),
        definition: Arc::new(refused::Refused::new(problem)),
    })
}

fn parse_strictly(reader: &mut Reader, element: Element<'_, '_>) -> Option<ParsedMediator> {
    let place = reader.place(element);
    let name = element.tag_name().name();
    let known = reader.is_synapse(element);
    if let Some(spec) = TABLE.iter().find(|s| known && s.name == name) {
        let definition = reader.nested(element, |reader| (spec.parse)(reader, element))?;
        return Some(ParsedMediator {
            name: spec.name,
            place,
            definition,
        });
    }
    if known && let Some((_, help)) = REFUSED.iter().find(|(n, _)| *n == name) {
        let help = (!help.is_empty()).then_some(*help);
        reader.unsupported(
            place,
            format!("the mediator <{name}> is not supported yet"),
            help,
        );
        return None;
    }
    let full = match element.tag_name().namespace() {
        Some(namespace) => format!("{{{namespace}}}{name}"),
        None => name.to_owned(),
    };
    let hint = nearest(name, TABLE.iter().map(|s| s.name)).map(|n| format!("did you mean <{n}>?"));
    reader.report(
        Diagnostic::error(
            codes::UNKNOWN_MEDIATOR,
            place,
            format!("Unknown mediator referenced by configuration element : {full}"),
        )
        .maybe_help(hint),
    );
    None
}

/// A mediator that was read, with its name and place.
#[derive(Debug)]
pub struct ParsedMediator {
    /// Element name.
    pub name: &'static str,
    /// Its start tag.
    pub place: Place,
    /// The definition.
    pub definition: Arc<dyn Definition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_disjoint() {
        let names: Vec<&str> = TABLE.iter().map(|s| s.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        let refused: Vec<&str> = REFUSED.iter().map(|r| r.0).collect();
        assert!(refused.is_sorted(), "{refused:?}");
        assert!(refused.iter().all(|r| !names.contains(r)));
        assert!(TABLE.iter().all(|s| s.summary.ends_with('.')));
    }
}
