//! `<session>` with `<loadbalance>`: session affinity (spec 02 §11).

use super::attempts::{Attempts, Group, Refused};
use super::balance::{Balance, Underway};
use super::bindings::Bindings;
use super::health::Check;
use super::loadbalance::{LoadBalanceDef, describe_group};
use super::parse::{EndpointDef, number};
use super::property::{EndpointProperty, apply_all};
use super::store::GroupState;
use super::weighted::Algorithm;
use super::{
    ANONYMOUS, Boxed, Builds, Described, Endpoint, Kind, Names, Parent, SendContext, Sent,
    own_fault,
};
use crate::diag::{Diagnostic, codes as diag_codes};
use crate::expr::{Effects, Expr, Namespaces, Wanted};
use crate::message::addressing::FINAL as ADDRESSING;
use crate::message::fault::codes;
use crate::message::media::Media;
use crate::message::{Answer, BlockName, Body, EndpointId, Fault, Message, header_text};
use crate::syntax::{Element, Reader, SYNAPSE};
use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Who makes the session id, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionType {
    /// The client, in the SOAP header block `ClientID`.
    SimpleClient,
    /// The back-end, in a cookie.
    Http,
    /// The back-end, in the reference parameters of its `ReplyTo`; the client sends it as the SOAP
    /// header block `ServiceGroupId`.
    Soap,
}

/// The SOAP header block that holds the id of a session.
#[derive(Debug)]
struct Block {
    name: BlockName,
    /// Finds its text in a body that is not built.
    finder: Option<Expr>,
}

impl Block {
    /// `None` for sessions whose id stands elsewhere.
    fn of(kind: SessionType) -> Option<Block> {
        let (namespace, local) = match kind {
            SessionType::SimpleClient => (SYNAPSE, "ClientID"),
            SessionType::Soap => (AXIS2, SERVICE_GROUP),
            SessionType::Http => return None,
        };
        let namespaces = Namespaces(vec![("s".to_owned(), namespace.to_owned())]);
        let finder = Expr::compile(&format!("string($header/s:{local})"), &namespaces);
        Some(Block {
            name: BlockName { namespace, local },
            finder: finder.ok(),
        })
    }
}

/// A session group as it is written.
#[derive(Debug)]
pub struct SessionDef {
    kind: SessionType,
    block: Option<Arc<Block>>,
    timeout: Option<Duration>,
    group: LoadBalanceDef,
}

impl SessionDef {
    /// Reads `<session>` and its `<loadbalance>` sibling.
    pub fn parse(
        reader: &mut Reader,
        session: Element<'_, '_>,
        group: Element<'_, '_>,
        properties: &[EndpointProperty],
    ) -> Option<SessionDef> {
        reader.known_attributes(session, &["type"]);
        let text = reader.required(session, "type").map(str::to_owned);
        let kind = match text.as_deref().map(str::trim) {
            None => None,
            Some(t) if t.eq_ignore_ascii_case("simpleClientSession") => {
                Some(SessionType::SimpleClient)
            }
            Some(t) if t.eq_ignore_ascii_case("http") => Some(SessionType::Http),
            Some(t) if t.eq_ignore_ascii_case("soap") => Some(SessionType::Soap),
            Some(t) => {
                let place = reader.attribute_place(session, "type");
                reader.report(
                    Diagnostic::error(
                        diag_codes::INVALID_VALUE,
                        place,
                        format!("\"{t}\" is not a session type"),
                    )
                    .help("allowed values: simpleClientSession, http, soap"),
                );
                None
            }
        };
        let mut timeout = None;
        for child in reader.children(session) {
            match reader.name(child) {
                Some("sessionTimeout") => {
                    timeout = number(reader, child)
                        .filter(|ms| *ms >= 0)
                        .map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
                }
                _ => reader.unknown_element(child, "session", &["sessionTimeout"]),
            }
        }
        let group_def = LoadBalanceDef::parse(reader, group, properties)?;
        if let Some(member) = reader.child(group, "member") {
            let place = reader.place(member);
            reader.error(
                diag_codes::CONFLICT,
                place,
                "a session needs <endpoint> children, not <member>",
            );
            return None;
        }
        Some(SessionDef {
            kind: kind?,
            block: kind.and_then(Block::of).map(Arc::new),
            timeout,
            group: group_def,
        })
    }

    /// Whether its group goes by weights.
    pub fn is_weighted(&self) -> bool {
        self.group.is_weighted()
    }

    /// Makes the endpoint.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        let settings = names.settings();
        let timeout = self
            .timeout
            .unwrap_or(settings.endpoint.sal_session_timeout);
        let max_sessions = settings.limits.max_sessions;
        let children = EndpointDef::link_children(&self.group.children, names, path);
        Box::new(SessionGroup {
            algorithm: self.group.algorithm(),
            balance: Balance::link(&def.policy, names, path, def.head.fingerprint),
            properties: def.properties.clone(),
            builds: of_all(children.iter().map(|c| c.kind.builds())),
            children,
            name: def.head.name.clone(),
            kind: self.kind,
            block: self.block.clone(),
            state: names.stores().group(path, def.head.fingerprint),
            bindings: Bindings {
                group: path.to_owned(),
                local: names.stores().sessions(path),
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                max: max_sessions,
            },
        })
    }
}

#[derive(Debug)]
struct SessionGroup {
    name: Option<String>,
    kind: SessionType,
    block: Option<Arc<Block>>,
    algorithm: Algorithm,
    balance: Option<Box<Balance>>,
    properties: Arc<Vec<EndpointProperty>>,
    children: Vec<Arc<Endpoint>>,
    /// What every child makes of the body.
    builds: Builds,
    state: Arc<GroupState>,
    bindings: Bindings,
}

const AXIS2: &str = "http://ws.apache.org/namespaces/axis2";
const SERVICE_GROUP: &str = "ServiceGroupId";

/// Cookies that mean a session (spec 02 §11.1).
const COOKIES: [&str; 4] = [
    "JSESSIONID",
    "PHPSESSID",
    "phpMyAdmin",
    "wordpress_test_cookie",
];

fn is_session_cookie(part: &str) -> bool {
    COOKIES.iter().any(|c| part.contains(c))
}

impl SessionGroup {
    fn child_of(&self, fingerprint: u64) -> Option<&Arc<Endpoint>> {
        self.children.iter().find(|c| c.fingerprint == fingerprint)
    }

    /// The id of the request and the child it is bound to.
    async fn lookup(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
    ) -> Result<(Option<String>, Option<&Arc<Endpoint>>), Fault> {
        match self.kind {
            SessionType::SimpleClient | SessionType::Soap => {
                let Some(block) = self.block.as_deref() else {
                    return Ok((None, None));
                };
                let Some(id) = header_id(cx, message, block, self.builds).await? else {
                    return Ok((None, None));
                };
                let child = self.bindings.child(cx, &id).await;
                let child = child.and_then(|c| self.child_of(c));
                Ok((Some(id), child))
            }
            SessionType::Http => {
                for part in cookies(message).filter(|part| is_session_cookie(part)) {
                    let child = self.bindings.child(cx, part).await;
                    if let Some(child) = child.and_then(|c| self.child_of(c)) {
                        return Ok((Some(part.to_owned()), Some(child)));
                    }
                }
                Ok((None, None))
            }
        }
    }

    /// Binds the session of a first message; another runtime may have been first, and then its
    /// choice counts.
    async fn claim<'e>(
        &'e self,
        cx: &SendContext<'_>,
        id: &str,
        child: &'e Arc<Endpoint>,
    ) -> &'e Arc<Endpoint> {
        let known = |owner| self.child_of(owner).is_some();
        let owner = self.bindings.claim(cx, id, child.fingerprint, known).await;
        if owner == child.fingerprint {
            return child;
        }
        self.child_of(owner).unwrap_or(child)
    }

    /// The next child for a first message.
    fn pick<'e>(
        &'e self,
        way: Option<&Underway<'_>>,
        cx: &SendContext<'_>,
        refused: &Refused<'_>,
    ) -> Option<&'e Arc<Endpoint>> {
        let children = &self.children;
        match way {
            Some(way) => way.pick(children, &self.algorithm, &self.state, cx, refused),
            None => self.algorithm.pick(children, &self.state, cx, refused),
        }
    }

    /// Binds the session that a response starts.
    async fn learn(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        sent: Sent,
        child: &Endpoint,
    ) -> Result<(), Fault> {
        let id = match self.kind {
            _ if sent != Sent::Response => None,
            SessionType::SimpleClient => None,
            SessionType::Http => new_cookie(message),
            SessionType::Soap => new_group(cx, message).await?,
        };
        if let Some(id) = id {
            self.bindings.bind(cx, &id, child.fingerprint).await;
        }
        Ok(())
    }

    /// A message of a known session goes to its endpoint or nowhere (spec 02 §11.3).
    async fn send_bound(
        &self,
        cx: SendContext<'_>,
        message: &mut Message,
        id: &str,
        child: &Endpoint,
    ) -> Result<Sent, Fault> {
        if !child.kind.is_ready(&cx) {
            return Err(not_ready(message, id, child));
        }
        child.kind.send(cx, message, Parent::Group).await
    }
}

fn not_ready(message: &mut Message, id: &str, child: &Endpoint) -> Fault {
    own_fault(
        message,
        codes::SESSION_NOT_READY,
        format!(
            "The endpoint {} on the session with id {id} is not ready.",
            child.label()
        ),
    )
}

fn cookies(message: &Message) -> impl Iterator<Item = &str> {
    message
        .headers
        .get(COOKIE)
        .map(header_text)
        .unwrap_or_default()
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// The trimmed text of a SOAP header block. Read from the tree when there is one, else from the
/// start of the bytes without building anything.
async fn header_id(
    cx: &SendContext<'_>,
    message: &mut Message,
    block: &Block,
    builds: Builds,
) -> Result<Option<String>, Fault> {
    if message.rest && !message.is_built() {
        return Ok(None);
    }
    let limits = &cx.services.limits;
    if !matches!(message.body, Body::Empty) {
        match builds {
            Builds::Nothing => {}
            Builds::Outline => {
                message.outline(Some(block.name), limits).await?;
            }
            Builds::Tree => {
                message.build(limits).await?;
            }
        }
    }
    let answer = match &block.finder {
        Some(finder) if !message.is_built() => {
            finder
                .look(Wanted::Text, Effects::None, cx.around(), message, limits)
                .await?
        }
        _ => None,
    };
    let text = match answer {
        Some(Answer::Text(text)) => text,
        _ if matches!(message.body, Body::Empty) => None,
        // Anything odd is decided by the real reader, which says what is wrong.
        _ => {
            message.build(limits).await?;
            message.header_block(block.name).map(Cow::into_owned)
        }
    };
    Ok(text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
}

/// What children make of a body, when each of them reads it.
fn of_all(children: impl Iterator<Item = Builds> + Clone) -> Builds {
    match children.clone().min() {
        None | Some(Builds::Nothing) => Builds::Nothing,
        Some(_) => children.max().unwrap_or(Builds::Nothing),
    }
}

/// Takes the block of an unknown session out of the request: the back-end would not know it.
async fn strip_group(cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
    message.build(&cx.services.limits).await?;
    let envelope = message.envelope_mut()?;
    if let Some(header) = envelope.header()
        && let Some(block) = envelope
            .document
            .child_element(header, AXIS2, SERVICE_GROUP)
    {
        envelope.document.detach(block);
    }
    Ok(())
}

/// The session id that a SOAP response starts.
async fn new_group(cx: &SendContext<'_>, message: &mut Message) -> Result<Option<String>, Fault> {
    let soap = matches!(message.media(), Some(Media::TextXml | Media::SoapXml));
    if !soap || matches!(message.body, Body::Empty) {
        return Ok(None);
    }
    message.build(&cx.services.limits).await?;
    let found = message.envelope().and_then(|envelope| {
        let document = &envelope.document;
        let reply_to = document.child_element(envelope.header()?, ADDRESSING, "ReplyTo")?;
        let parameters = document.child_element(reply_to, ADDRESSING, "ReferenceParameters")?;
        let id = document.child_element(parameters, AXIS2, SERVICE_GROUP)?;
        Some(document.string_value(id).trim().to_owned())
    });
    Ok(found.filter(|id| !id.is_empty()))
}

/// Cuts session cookies out of the request: the back-end would not know them.
fn strip_cookies(message: &mut Message) {
    if !cookies(message).any(is_session_cookie) {
        return;
    }
    let rest: Vec<&str> = cookies(message)
        .filter(|part| !is_session_cookie(part))
        .collect();
    let rest = rest.join("; ");
    if rest.is_empty() {
        message.headers.remove(COOKIE);
    } else if let Ok(value) = HeaderValue::from_str(&rest) {
        message.headers.insert(COOKIE, value);
    }
}

/// The session id that a response starts: the first session-like part of `Set-Cookie`.
fn new_cookie(message: &Message) -> Option<String> {
    message
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .flat_map(|v| header_text(v).split(';'))
        .map(str::trim)
        .find(|part| is_session_cookie(part))
        .map(str::to_owned)
}

impl Kind for SessionGroup {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let cx = cx.deeper()?;
            let label = self.name.as_deref().unwrap_or(ANONYMOUS);
            // The reference prints null for a session group without a name.
            let printed = self.name.as_deref().unwrap_or("null");
            if self.state.is_off() {
                return Err(own_fault(message, codes::NO_READY_CHILD, label));
            }
            apply_all(&self.properties, &cx, message).await?;
            let (id, bound) = self.lookup(&cx, message).await?;
            if let (Some(id), Some(child)) = (&id, bound) {
                return self.send_bound(cx, message, id, child).await;
            }
            match self.kind {
                SessionType::SimpleClient => {}
                SessionType::Http => strip_cookies(message),
                SessionType::Soap if id.is_some() => strip_group(&cx, message).await?,
                SessionType::Soap => {}
            }
            let group = Group {
                name: label,
                printed,
                kind: "SLALoadbalance",
                children: &self.children,
                balance: self.balance.as_deref(),
                failover: true,
            };
            let mut attempts = Attempts::begin(&cx, message, group, self.reshapes(&cx)).await?;
            let outcome = async {
                loop {
                    let pick = |way: Option<&_>, refused: &_| self.pick(way, &cx, refused);
                    let mut child = attempts.next(&cx, message, pick).await?;
                    let picked = child;
                    // A client's session is bound before there is any response.
                    if let (SessionType::SimpleClient, Some(id)) = (self.kind, &id)
                        && !message.is_response()
                    {
                        child = self.claim(&cx, id, child).await;
                        if !Arc::ptr_eq(child, picked) && !child.kind.is_ready(&cx) {
                            return Err(not_ready(message, id, child));
                        }
                    }
                    let busy = self.algorithm.busy(&self.children, child);
                    let sent = attempts.send(cx, message, child).await;
                    drop(busy);
                    match sent {
                        Ok(sent) => return Ok((sent, child)),
                        Err(fault) => {
                            if let (Some(id), true) = (&id, attempts.retryable) {
                                self.bindings.forget(&cx, id, child.fingerprint).await;
                            }
                            attempts.failed(&cx, message, child, fault)?;
                        }
                    }
                }
            }
            .await;
            match outcome {
                Ok((sent, child)) => {
                    self.learn(&cx, message, sent, child).await?;
                    Ok(sent)
                }
                Err(fault) => {
                    attempts.give_up(message);
                    Err(fault)
                }
            }
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        !self.state.is_off() && self.children.iter().any(|c| c.kind.is_ready(cx))
    }

    fn reshapes(&self, cx: &SendContext<'_>) -> bool {
        self.children.iter().any(|c| c.kind.reshapes(cx))
    }

    fn references(&self, out: &mut Vec<EndpointId>) {
        for child in &self.children {
            child.kind.references(out);
        }
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        for child in &self.children {
            child.kind.checks(out);
        }
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        let row = Described {
            kind: "session",
            balance: self
                .balance
                .as_ref()
                .map(|b| b.describe(&self.children, now)),
            sessions: Some(self.bindings.local.live_count(now)),
            ..self
                .state
                .described(self.name.as_deref(), &self.bindings.group)
        };
        describe_group(row, &self.children, now, out);
    }

    fn switch(&self, on: bool) -> Result<(), &'static str> {
        self.state.switch(self.name.as_deref(), on);
        Ok(())
    }
}
