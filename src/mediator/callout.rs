//! `<callout>`: calls a service and puts one part of its answer into the message (spec 01 §7.3,
//! 04 §9.6).

use super::content::{Selected, select, set_envelope};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec, list};
use crate::diag::{Place, codes};
use crate::endpoint::default::DefaultEndpoint;
use crate::endpoint::parse::{KindDef, reference};
use crate::endpoint::{self, Endpoint, EndpointDef, Kind, Parent, SendContext, Sent, Waiting};
use crate::expr::{Expr, entries};
use crate::mediator::describe::{Area, Attr, Content, Doc, ENDPOINT, Needs, Tag};
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
        "The whole message, which is also what is sent without `<source>`. Wins over the others.",
    ),
    Attr::expression("xpath", "The element that is sent."),
    Attr::text(
        "key",
        "Property, or else local entry, with the element that is sent. `xpath` wins.",
    ),
]);

const TARGET: Tag = Tag::child(
    "target",
    "Where the first element of the response goes. Without it the response takes the place of the body, as JSON always does.",
)
.with(&[
    Attr::expression("xpath", "The element that it replaces."),
    Attr::text("key", "Property that gets it. `xpath` wins."),
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
        "Headers, `ContentType`, `messageType` and all other properties stay those of the message. `$axis2:HTTP_SC` is the status of the response; its headers are taken over if the property `BLOCKING_SENDER_PRESERVE_REQ_HEADERS` is `false`.",
        "A failure is fault 401000; what is one is said at [`<call blocking=\"true\">`](call.md). It does not change the state of the endpoint, and a suspended endpoint is called all the same.",
        "`<enableSec>` (WS-Security) is refused at deployment.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    super::call::check_init_options(reader, element);
    let (mut source, mut target) = (Source::Envelope, Destination::Body);
    for child in reader.children(element) {
        match reader.name(child) {
            Some("source") => {
                SOURCE.check(reader, child);
                let whole = child.attribute("type") == Some("envelope");
                source = match (child.has_attribute("xpath"), child.attribute("key")) {
                    _ if whole => Source::Envelope,
                    (true, _) => Source::Path(reader.expression(child, "xpath")?),
                    (false, Some(key)) => Source::Property(key.to_owned()),
                    (false, None) => return needs_one(reader, child),
                };
            }
            Some("target") => {
                TARGET.check(reader, child);
                target = match (child.has_attribute("xpath"), child.attribute("key")) {
                    (true, _) => Destination::Path(reader.expression(child, "xpath")?),
                    (false, Some(key)) => Destination::Property(key.to_owned()),
                    (false, None) => return needs_one(reader, child),
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

/// A source or target that says nothing.
fn needs_one<T>(reader: &mut Reader, element: Element<'_, '_>) -> Option<T> {
    let place = reader.place(element);
    reader.error(
        codes::MISSING_ATTRIBUTE,
        place,
        format!(
            "A 'xpath' or 'key' attribute is required for the Callout '{}'",
            element.tag_name().name()
        ),
    );
    None
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
    /// It is the body.
    Body,
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
            let shell = request.shell();
            let sending = SendContext {
                waiting: Waiting::Callout,
                ..cx.sending()
            };
            match kind.send(sending, &mut request, Parent::Root).await {
                Ok(Sent::Response) => {}
                Ok(Sent::OneWay | Sent::Delivered) => return Ok(Flow::Continue),
                Err(fault) => return Err(failed(fault)),
            }
            request.build(&cx.services.limits).await.map_err(failed)?;
            let status = request.status;
            request.go_on_as(shell);
            self.put(cx, message, &request)?;
            if let Some(status) = status {
                message.axis2.set("HTTP_SC", status.to_string());
            }
            message.headers = request.headers;
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
            _ if json => return Ok(request),
            Source::Path(path) => select(cx, message, path)?
                .into_iter()
                .next()
                .ok_or_else(|| {
                    Fault::mediation(format!(
                        "The evaluation of the XPath expression : {} did not result in an OMElement",
                        path.text()
                    ))
                })?,
            Source::Property(name) => {
                let value = message.properties.get(name);
                match value.or_else(|| entries::find(&cx.library.entries, name)) {
                    Some(Value::Xml(xml)) => {
                        let mut document = Document::new();
                        let node = document.import(&xml.document, xml.node);
                        Selected::Copy(Box::new(document), node)
                    }
                    _ => {
                        return Err(Fault::mediation(format!(
                            "The property : {name} is not an OMElement"
                        )));
                    }
                }
            }
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
            // JSON takes the place of the whole body, too.
            Destination::Body => message.body = answer.duplicate().body,
            _ if json => message.body = answer.duplicate().body,
            Destination::Path(path) => {
                let at = select(cx, message, path)?.into_iter().next();
                let Some(Selected::Own(at)) = at else {
                    return Err(Fault::mediation(format!(
                        "Evaluation of target XPath expression : {} did not yeild an OMNode",
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
                    let most = cx.services.limits.xml.max_bytes;
                    let value = XmlValue::copy(&from.document, payload, most)?;
                    message.properties.set(name, Value::Xml(Arc::new(value)));
                }
            }
        }
        Ok(())
    }
}

/// Whatever made the call fail, the code is that of a callout, and the handlers are those of the flow.
fn failed(cause: Fault) -> Fault {
    Fault {
        code: fault_codes::CALLOUT_FAILED,
        detail: cause.detail,
        report: Report::Always,
        ..Fault::mediation(cause.message)
    }
}
