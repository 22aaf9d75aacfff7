//! `<throttle>`: lets requests through as a policy allows (spec 03 §22).

mod policy;
mod state;

use self::policy::{Caller, Policy};
use self::state::{Permit, ThrottleState};
use super::outcome::{Outcome, OutcomeDef};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::diag::{Diagnostic, Place, codes};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message, Value, header_text};
use crate::settings::Networks;
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "throttle",
    summary: "Lets requests through as a policy allows.",
    doc: DOC,
    parse,
};

const POLICY: Tag = Tag::child("policy", "A WS-Policy, in place or by key.")
    .with(&[Attr::text(
        "key",
        "Local entry or registry resource with the policy.",
    )])
    .holds(Content::Xml);
const ACCEPT: Tag =
    Tag::child("onAccept", "Runs for a request that is let through.").holds(Content::Mediators);
const REJECT: Tag = Tag::child(
    "onReject",
    "Runs for one that is not. Without it such a request ends silently.",
)
.holds(Content::Mediators);

const ROOT: Tag = Tag::mediator("throttle", "Lets requests through as a policy allows: so many in a time by address (`IP`) or host (`DOMAIN`), and so many at once.")
    .with(&[
        Attr::text("id", "Throttles of one artifact with one id share what they count.").required(),
        Attr::text("onAccept", "Sequence instead of `<onAccept>`."),
        Attr::text("onReject", "Sequence instead of `<onReject>`."),
    ])
    .of(&[&POLICY, &ACCEPT, &REJECT]);

const DOC: Doc = Doc {
    group: Area::Protection,
    body: Needs::Nothing,
    forms: &[&ROOT],
    remarks: &[
        "`t:MaximumCount` requests in `t:UnitTime` milliseconds; then none until the window ends, or for `t:ProhibitTimePeriod`. `t:MaximumConcurrentAccess` requests at once.",
        "All callers that one `ID` fits, such as `other` or a range, share its count.",
        "The address of a caller is that of the connection. If that is a proxy of `[myelin] trusted_proxies`, it is the last address in `X-Forwarded-For` that is not such a proxy; the host is the first in `X-Forwarded-Host`.",
        "No status is set for what is rejected: set `HTTP_SC` to 429 in `onReject`, and `<respond/>`.",
        "Policies by `ROLE` are refused at deployment.",
    ],
};

#[derive(Debug)]
enum Source {
    Inline(Arc<Policy>),
    Key(String, Place),
}

#[derive(Debug)]
struct ThrottleDef {
    id: String,
    source: Source,
    accept: OutcomeDef,
    reject: OutcomeDef,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let id = element.attribute("id").unwrap_or_default().trim();
    if id.is_empty() {
        let place = reader.place(element);
        let text = "Idy attribute must have defined ";
        reader.error(codes::MISSING_ATTRIBUTE, place, text);
    }
    let accept = OutcomeDef::parse(reader, element, "onAccept");
    let reject = OutcomeDef::parse(reader, element, "onReject");
    let mut source = None;
    for child in reader.children(element) {
        match reader.name(child) {
            Some("policy") => source = parse_source(reader, child),
            Some("onAccept" | "onReject" | "description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    if source.is_none() && reader.errors() == before {
        let place = reader.place(element);
        let text = "<throttle> needs <policy> with \"key\" or a wsp:Policy inside";
        reader.error(codes::MISSING_ELEMENT, place, text);
    }
    let source = source?;
    (reader.errors() == before).then(|| {
        Arc::new(ThrottleDef {
            id: id.to_owned(),
            source,
            accept,
            reject,
        }) as Arc<dyn Definition>
    })
}

fn parse_source(reader: &mut Reader, element: Element<'_, '_>) -> Option<Source> {
    POLICY.check(reader, element);
    if let Some(key) = element.attribute("key") {
        return Some(Source::Key(
            key.to_owned(),
            reader.attribute_place(element, "key"),
        ));
    }
    let policy = element.first_element_child()?;
    let place = reader.place(policy);
    let document = super::property::import(reader, policy)?;
    match Policy::read(&document, document.root_element()?) {
        Ok(policy) => Some(Source::Inline(Arc::new(policy))),
        Err(problem) => {
            reader.error(codes::INVALID_VALUE, place, problem);
            None
        }
    }
}

impl Definition for ThrottleDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let policy = match &self.source {
            Source::Inline(policy) => Ok(policy.clone()),
            Source::Key(key, place) => by_key(linker, key).inspect_err(|problem| {
                let found = Diagnostic::error(codes::INVALID_VALUE, place.clone(), problem);
                linker.diagnostics.push(found);
            }),
        };
        // Counters belong to the id within one artifact, so that several mediators can share them.
        let path = format!("{}#{}", linker.artifact_path(), self.id);
        Run::Wait(Box::new(Throttle {
            policy,
            state: linker.stores.shared("throttle", &path, 0),
            accept: self.accept.link(linker, "onAccept"),
            reject: self.reject.link(linker, "onReject"),
        }))
    }
}

fn by_key(linker: &Linker<'_>, key: &str) -> Result<Arc<Policy>, String> {
    match crate::expr::entries::find(&linker.entries, key) {
        None => Err(format!("Cannot find throttling policy using key : {key}")),
        Some(Value::Xml(xml)) => Policy::read(&xml.document, xml.node).map(Arc::new),
        Some(_) => Err(format!(
            "Policy returned from key : {key} is not an OMElement"
        )),
    }
}

#[derive(Debug)]
struct Throttle {
    policy: Result<Arc<Policy>, String>,
    state: Arc<ThrottleState>,
    accept: Outcome,
    reject: Outcome,
}

impl MediateAsync for Throttle {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            let owner = Arc::as_ptr(&self.state) as usize;
            if message.is_response() {
                cx.exchange.release(owner);
                return Ok(Flow::Continue);
            }
            let policy = self
                .policy
                .as_ref()
                .map_err(|problem| Fault::mediation(problem.clone()))?;
            if self.allows(cx, message, policy, owner) {
                let flow = self.accept.run(cx, message, "onAccept").await?;
                Ok(flow.unwrap_or(Flow::Continue))
            } else {
                let flow = self.reject.run(cx, message, "onReject").await?;
                Ok(flow.unwrap_or(Flow::Stop))
            }
        })
    }
}

/// The client in a list of `X-Forwarded-For`, to which every proxy appends whom it has heard from:
/// the last that is no trusted proxy itself, else the first.
fn client<'l>(list: &'l str, trusted: &Networks) -> Option<&'l str> {
    let mut found = None;
    for text in list.rsplit(',').map(str::trim).filter(|t| !t.is_empty()) {
        found = Some(text);
        if !text.parse().is_ok_and(|address| trusted.contains(address)) {
            break;
        }
    }
    found
}

impl Throttle {
    /// Concurrency, then domain, then address (spec 03 §22).
    fn allows(&self, cx: Context<'_>, message: &Message, policy: &Policy, owner: usize) -> bool {
        let mut permit = None;
        // A flow that comes here again goes on with the permit it has.
        if let Some(most) = policy.concurrent
            && !cx.exchange.holds(owner)
        {
            permit = Permit::take(&self.state, most);
            if permit.is_none() {
                tracing::debug!(
                    target: "ThrottleMediator", "{}more than {most} concurrent accesses", cx.route.label
                );
                return false;
            }
        }
        let now = cx.services.clock.now();
        let remote = cx.exchange.remote.ip().to_canonical();
        let peer = remote.to_string();
        let trusted = &cx.services.settings.trusted_proxies;
        let headers = match trusted.contains(remote) {
            true => Some(&message.headers),
            false => None,
        };
        let header = |name: &str| headers.and_then(|h| h.get(name)).map(header_text);
        let host = header("x-forwarded-host").and_then(|f| f.split(',').next());
        let host = host.map(str::trim).filter(|f| !f.is_empty());
        let address = header("x-forwarded-for").and_then(|list| client(list, trusted));
        for (caller, forwarded) in [(Caller::Domain, host), (Caller::Ip, address)] {
            let name = forwarded.unwrap_or(&peer);
            let Some(entry) = policy.entry(caller, name) else {
                continue;
            };
            if let Err(reason) = self.state.count(entry, now) {
                tracing::info!(
                    target: "ThrottleMediator", "{}{reason} (caller {name})", cx.route.label
                );
                return false;
            }
        }
        if let Some(permit) = permit {
            cx.exchange.hold(owner, Box::new(permit));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_whom_the_first_trusted_proxy_has_heard_from() {
        let ours = Networks::private();
        for (list, expected) in [
            ("8.8.8.8", Some("8.8.8.8")),
            ("6.6.6.6, 8.8.8.8", Some("8.8.8.8")),
            ("6.6.6.6, 8.8.8.8, 10.0.0.1", Some("8.8.8.8")),
            ("10.0.0.7, 192.168.1.1", Some("10.0.0.7")),
            ("10.0.0.7, unknown", Some("unknown")),
            (" , ", None),
            ("", None),
        ] {
            assert_eq!(client(list, &ours), expected, "{list}");
        }
        let all = Networks::parse(&["*"]).unwrap();
        assert_eq!(client("6.6.6.6, 8.8.8.8", &all), Some("6.6.6.6"));
    }
}
