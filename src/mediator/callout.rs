//! `<callout>`: calls a service and puts one part of its answer into the message (spec 01 §7.3,
//! 04 §9.6).

use super::content::{Selected, select, set_envelope};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, list};
use crate::diag::{Place, codes};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::parse::{KindDef, reference};
use crate::endpoint::{self, Endpoint, EndpointDef, Kind, Parent, Sent};
use crate::expr::Expr;
use crate::mediator::describe::{Area, Attr, Content, Doc, ENDPOINT, Needs, Tag};
use crate::message::envelope::FaultParts;
use crate::message::fault::{Report, codes as fault_codes};
use crate::message::value::XmlValue;
use crate::message::{Body, Envelope, Fault, Message, PayloadKind, To, Value};
use crate::syntax::{Element, Reader};
use crate::xml::Document;
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "callout",
    summary: "Calls a service and puts a part of its answer into the message.",
    doc: DOC,
    parse,
};

const SOURCE: Tag = Tag::child("source", "What is sent.").with(&[
    Attr::words(
        "type",
        &["envelope"],
        "The whole message, which is also the default.",
    )
    .ignored(),
    Attr::expression("xpath", "The node that is sent."),
    Attr::text("key", "Property whose value is sent. Wins over `xpath`."),
]);

const TARGET: Tag = Tag::child(
    "target",
    "Where the first element of the response goes. Without it the response is not kept.",
)
.with(&[
    Attr::expression("xpath", "The node that it replaces."),
    Attr::text("key", "Property that gets it. Wins over `xpath`."),
]);

const CONFIGURATION: Tag = Tag::child(
    "configuration",
    "Accepted without effect: it configures the reference's client.",
)
.holds(Content::Xml);

const ROOT: Tag = Tag::mediator(
    "callout",
    "Calls a service and puts its response into the message. Older than `<call>`; new flows are shorter with `<call>` and `<enrich>`. One of `serviceURL`, `endpointKey` and `<endpoint>` says where to; without them it is the `To` address.",
)
.with(&[
    Attr::text("serviceURL", "Address of the service."),
    Attr::text("endpointKey", "Name of an endpoint."),
    Attr::text("action", "SOAP action of the request."),
    Attr::truth("useServerConfig", "Configuration of the reference's client.").ignored(),
    Attr::truth("initAxis2ClientOptions", "Options of the reference's client.").ignored(),
])
.of(&[&SOURCE, &TARGET, &ENDPOINT, &CONFIGURATION]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "A failure is fault 401000 with the message of the back-end's fault.",
        "`<enableSec>` (WS-Security) is refused at deployment.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let (mut source, mut target) = (Source::Envelope, Destination::Nowhere);
    for child in reader.children(element) {
        match reader.name(child) {
            Some("source") => {
                SOURCE.check(reader, child);
                source = match (child.attribute("key"), child.has_attribute("xpath")) {
                    (Some(key), _) => Source::Property(key.to_owned()),
                    (None, true) => Source::Path(reader.expression(child, "xpath")?),
                    (None, false) => Source::Envelope,
                };
            }
            Some("target") => {
                TARGET.check(reader, child);
                target = match (child.attribute("key"), child.has_attribute("xpath")) {
                    (Some(key), _) => Destination::Property(key.to_owned()),
                    (None, true) => Destination::Path(reader.expression(child, "xpath")?),
                    (None, false) => Destination::Nowhere,
                };
            }
            Some("enableSec") => {
                let place = reader.place(child);
                reader.unsupported(
                    place,
                    "<enableSec> (WS-Security) is not supported",
                    Some("protect the service with TLS"),
                );
            }
            // Where the reference has the configuration of its own client.
            Some("configuration" | "endpoint" | "description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let goal = parse_goal(reader, element);
    let goal = goal?;
    (reader.errors() == before).then(|| {
        Arc::new(CalloutDef {
            rules: Arc::new(Rules {
                action: element.attribute("action").map(str::to_owned),
                source,
                target,
            }),
            goal,
        }) as Arc<dyn Definition>
    })
}

fn parse_goal(reader: &mut Reader, element: Element<'_, '_>) -> Option<GoalDef> {
    if let Some(url) = element.attribute("serviceURL") {
        return Some(GoalDef::Url(url.to_owned()));
    }
    if element.has_attribute("endpointKey") {
        let endpoint = reference(reader, element, "endpointKey");
        return Some(GoalDef::Endpoint(Arc::new(endpoint)));
    }
    if let Some(child) = reader.child(element, "endpoint") {
        let endpoint = Arc::new(endpoint::parse(reader, child)?);
        if let KindDef::LoadBalance(_)
        | KindDef::Failover(_)
        | KindDef::Recipients(_)
        | KindDef::Session(_) = endpoint.kind
        {
            let place: Place = endpoint.head.place.clone();
            reader.error(codes::INVALID_VALUE, place, "Endpoint Type not supported");
        }
        return Some(GoalDef::Endpoint(endpoint));
    }
    // The message's own destination.
    Some(GoalDef::To)
}

#[derive(Debug)]
enum GoalDef {
    To,
    Url(String),
    Endpoint(Arc<EndpointDef>),
}

/// What is sent.
#[derive(Debug)]
enum Source {
    /// The message as it is.
    Envelope,
    Path(Expr),
    Property(String),
}

/// Where the answer goes.
#[derive(Debug)]
enum Destination {
    Nowhere,
    /// It takes the place of what is there.
    Path(Expr),
    Property(String),
}

#[derive(Debug)]
struct Rules {
    action: Option<String>,
    source: Source,
    target: Destination,
}

#[derive(Debug)]
struct CalloutDef {
    rules: Arc<Rules>,
    goal: GoalDef,
}

impl Definition for CalloutDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(Callout {
            rules: self.rules.clone(),
            url: match &self.goal {
                GoalDef::Url(url) => Some(url.clone()),
                _ => None,
            },
            endpoint: match &self.goal {
                GoalDef::Endpoint(def) => Some(linker.endpoint(def)),
                _ => None,
            },
            implicit: DefaultEndpoint::implicit(linker),
        }))
    }
}

#[derive(Debug)]
struct Callout {
    rules: Arc<Rules>,
    url: Option<String>,
    endpoint: Option<Arc<Endpoint>>,
    implicit: DefaultEndpoint,
}

impl MediateAsync for Callout {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                list::build(cx, message).await?;
            }
            let mut request = self.request(cx, message)?;
            let kind: &dyn Kind = match &self.endpoint {
                Some(endpoint) => &*endpoint.kind,
                None => &self.implicit,
            };
            let sent = kind.send(cx.sending(), &mut request, Parent::Root).await;
            match sent {
                Ok(Sent::Response) => {}
                Ok(Sent::OneWay | Sent::Delivered) => return Ok(Flow::Continue),
                Err(fault) => return Err(failed(fault.message)),
            }
            request
                .build(&cx.services.limits)
                .await
                .map_err(|fault| failed(fault.message))?;
            check(&request)?;
            self.put(cx, message, &request)?;
            Ok(Flow::Continue)
        })
    }
}

impl Callout {
    fn request(&self, cx: Context<'_>, message: &Message) -> Result<Message, Fault> {
        let mut request = message.duplicate();
        request.last_endpoint = false;
        if let Some(action) = &self.rules.action {
            request.set_action(Some(action.clone()));
        }
        if let Some(url) = &self.url {
            request.to = To::Address(url.clone());
        }
        let json = matches!(&message.body, Body::Built(b) if b.kind == PayloadKind::Json);
        let content = match &self.rules.source {
            Source::Envelope => return Ok(request),
            // JSON is sent whole, whatever the source says.
            Source::Path(_) if json => return Ok(request),
            Source::Path(path) => select(cx, message, path)?.into_iter().next(),
            Source::Property(name) => match message.properties.get(name) {
                Some(Value::Xml(xml)) => {
                    let mut document = Document::new();
                    let node = document.import(&xml.document, xml.node);
                    Some(Selected::Copy(Box::new(document), node))
                }
                _ => None,
            },
        };
        let Some(content) = content else {
            return Err(failed(
                "The source of the callout is not an element".to_owned(),
            ));
        };
        let old = message.envelope();
        let mut envelope = old.map_or_else(|| Envelope::empty(message.version), Clone::clone);
        envelope.clear_body();
        let node = match (&content, old) {
            (Selected::Own(node), Some(old)) => envelope.document.import(&old.document, *node),
            (Selected::Copy(document, node), _) => envelope.document.import(document, *node),
            (Selected::Own(_), None) => return Ok(request),
        };
        let body = envelope.body();
        envelope.document.append_child(body, node);
        set_envelope(&mut request, envelope);
        Ok(request)
    }

    fn put(&self, cx: Context<'_>, message: &mut Message, answer: &Message) -> Result<(), Fault> {
        let json = matches!(&answer.body, Body::Built(b) if b.json().is_some());
        match &self.rules.target {
            Destination::Nowhere => {}
            // JSON takes the place of the whole body.
            Destination::Path(_) if json => {
                message.body = answer.duplicate().body;
                message.content_type.clone_from(&answer.content_type);
                message.message_type = None;
            }
            Destination::Path(path) => {
                let at = select(cx, message, path)?.into_iter().next();
                let Some(Selected::Own(at)) = at else {
                    return Err(failed(format!(
                        "The target of the callout, {}, is not in the message",
                        path.text()
                    )));
                };
                let Some((from, payload)) = answer.envelope().and_then(|e| Some((e, e.payload()?)))
                else {
                    return Ok(());
                };
                let document = &mut message.envelope_mut()?.document;
                let copy = document.import(&from.document, payload);
                document.replace(at, copy);
            }
            Destination::Property(name) => {
                if let Some((from, payload)) =
                    answer.envelope().and_then(|e| Some((e, e.payload()?)))
                {
                    let mut document = Document::new();
                    let node = document.import(&from.document, payload);
                    let top = document.document_node();
                    document.append_child(top, node);
                    let value = Value::Xml(Arc::new(XmlValue { document, node }));
                    message.properties.set(name, value);
                }
            }
        }
        Ok(())
    }
}

/// An answer that says that it failed is a failure, as for every blocking call.
fn check(answer: &Message) -> Result<(), Fault> {
    if let Some(envelope) = answer.envelope()
        && let Some(fault) = envelope.fault()
    {
        return Err(failed(FaultParts::read(envelope, fault).reason));
    }
    match answer.status {
        Some(status) if status >= 400 => {
            let reason = http::StatusCode::from_u16(status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or_default();
            Err(failed(format!("Transport error: {status} Error: {reason}")))
        }
        _ => Ok(()),
    }
}

fn failed(text: String) -> Fault {
    let mut fault = Fault::mediation(text);
    fault.code = fault_codes::CALLOUT_FAILED;
    fault.report = Report::Always;
    fault
}
