//! `<cache>`: answers a request with the response that an equal request got before (spec 03 §21).
//!
//! A finder on the request path looks the request up; a collector on the response path stores what
//! came. They find each other through the message, which carries the finder's ticket.

mod control;
mod key;
mod store;

use self::control::Control;
use self::key::{HashedHeaders, Key, key_of};
use self::store::{CacheState, Reply};
use super::list::build;
use super::outcome::{Outcome, OutcomeDef};
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::diag::codes;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Body, Direction, Fault, Message, Value};
use crate::syntax::{Element, Reader, text_of};
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, IF_NONE_MATCH, SET_COOKIE,
};
use http::{HeaderValue, Method, StatusCode};
use regex::Regex;
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "cache",
    summary: "Answers equal requests with a response that was kept.",
    doc: DOC,
    parse,
};

const HIT: Tag = Tag::child(
    "onCacheHit",
    "Runs with the kept answer. Without it the answer goes to the client.",
)
.with(&[Attr::text(
    "sequence",
    "Sequence that runs instead of the children.",
)])
.holds(Content::Mediators);

const METHODS_PART: Tag = Tag::child(
    "methods",
    "Methods that are cached, with commas. `*` (default): all.",
)
.holds(Content::Text);
const EXCLUDE: Tag = Tag::child(
    "headersToExcludeInHash",
    "Headers, with commas, in which requests may differ and get the same answer. `*`: all.",
)
.holds(Content::Text);
const INCLUDE: Tag = Tag::child(
    "headersToIncludeInHash",
    "The only headers that tell requests apart. Wins over the excluded ones.",
)
.holds(Content::Text);
const CODES: Tag = Tag::child(
    "responseCodes",
    "Pattern of the statuses that are kept, such as `2\\d\\d`. Default: all.",
)
.holds(Content::Text);
const CONTROL: Tag = Tag::child(
    "enableCacheControl",
    "`true`: `no-store`, `max-age` and `no-cache` with an `ETag` of the answer count. Default: `false`.",
)
.holds(Content::Text);
const AGE_PART: Tag = Tag::child(
    "includeAgeHeader",
    "`true`: a kept answer has an `Age` header. Default: `false`.",
)
.holds(Content::Text);
const GENERATOR: Tag = Tag::child("hashGenerator", "As the attribute.").holds(Content::Text);

const PROTOCOL: Tag = Tag::child("protocol", "What of HTTP counts.")
    .with(&[Attr::words("type", &["HTTP"], "The only one.")])
    .of(&[
        &METHODS_PART,
        &EXCLUDE,
        &INCLUDE,
        &CODES,
        &CONTROL,
        &AGE_PART,
        &GENERATOR,
    ]);

const IMPLEMENTATION: Tag = Tag::child("implementation", "Limits of this cache.").with(&[
    Attr::text("type", "From older versions.").ignored(),
    Attr::number(
        "maxSize",
        "Most answers; the least recently used goes first.",
    )
    .or("the limit of all caches"),
]);

const ROOT: Tag = Tag::mediator(
    "cache",
    "Answers equal requests without the back-end. It stands twice: `collector=\"false\"` in the request path looks for an answer, `collector=\"true\"` in the response path keeps it.",
)
.with(&[
    Attr::words("collector", &["true", "false"], "Which of the two it is.").required(),
    Attr::number("timeout", "Seconds that an answer is kept.").or("5000"),
    Attr::number("maxMessageSize", "Bytes; larger answers are not kept. -1: no limit.").or("-1"),
    Attr::text("id", "From older versions.").ignored(),
    Attr::text("scope", "From older versions.").ignored(),
    Attr::text(
        "hashGenerator",
        "Class of the reference that makes the key; those of the reference are built in, others are refused.",
    ),
])
.of(&[&HIT, &PROTOCOL, &IMPLEMENTATION]);

const DOC: Doc = Doc {
    group: Area::Protection,
    body: Needs::As(
        "The whole body is read: in the request path because it counts (but for GET, HEAD and DELETE of REST clients), in the response path to be kept.",
    ),
    forms: &[&ROOT],
    remarks: &[
        "Requests are equal when method, address, headers and body are. `Date`, `User-Agent` and correlation ids never count; credentials always do unless `headersToExcludeInHash` names them.",
        "`Set-Cookie` is never kept.",
        "All caches together keep at most `[myelin] max_cache_entries` and `max_cache_bytes`.",
        "A hit ends the request path: nothing behind `<cache>` runs.",
    ],
};

const METHODS: &[&str] = &[
    "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH",
];

/// Hash generators of the reference that mean what is done here.
const GENERATORS: &[&str] = &[
    "HttpRequestHashGenerator",
    "DOMHASHGenerator",
    "REQUESTHASHGenerator",
];

/// What a finder says about keys and about what may be stored.
#[derive(Debug)]
struct Config {
    timeout_ms: u64,
    max_message_size: Option<usize>,
    max_entries: usize,
    methods: Vec<Method>,
    status: Option<Regex>,
    headers: HashedHeaders,
    cache_control: bool,
    age_header: bool,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let place = reader.place(element);
    let collector = match element.attribute("collector").map(str::trim) {
        None => {
            let text = "The collector attribute must be specified";
            reader.error(codes::MISSING_ATTRIBUTE, place, text);
            return None;
        }
        Some(word) if word.eq_ignore_ascii_case("true") => true,
        Some(word) if word.eq_ignore_ascii_case("false") => false,
        Some(_) => {
            let place = reader.attribute_place(element, "collector");
            let text = "The value for collector has to be either true or false";
            reader.error(codes::INVALID_VALUE, place, text);
            return None;
        }
    };
    if collector {
        for child in reader.children(element) {
            let place = reader.place(child);
            let name = child.tag_name().name();
            if name != "description" {
                reader.warning(
                    codes::CONFLICT,
                    place,
                    format!("<{name}> has no effect in a collector; write it in the cache on the request path"),
                );
            }
        }
        return Some(Arc::new(CollectorDef));
    }
    generator(reader, element, element.attribute("hashGenerator"));
    let mut config = Config {
        timeout_ms: seconds(reader, element),
        max_message_size: size(reader, element, "maxMessageSize"),
        max_entries: usize::MAX,
        methods: Vec::new(),
        status: None,
        headers: HashedHeaders::All,
        cache_control: false,
        age_header: false,
    };
    let hit = match reader.child(element, "onCacheHit") {
        Some(child) if child.has_attribute("sequence") => {
            HIT.check(reader, child);
            let key = child.attribute("sequence").unwrap_or_default().to_owned();
            OutcomeDef::Key(key, reader.attribute_place(child, "sequence"))
        }
        _ => OutcomeDef::parse(reader, element, "onCacheHit"),
    };
    for child in reader.children(element) {
        match reader.name(child) {
            Some("protocol") => protocol(reader, child, &mut config),
            Some("implementation") => {
                IMPLEMENTATION.check(reader, child);
                if let Some(most) = size(reader, child, "maxSize") {
                    config.max_entries = most;
                }
            }
            Some("onCacheHit" | "description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let fingerprint = reader.fingerprint(element);
    (reader.errors() == before).then(|| {
        Arc::new(FinderDef {
            config: Arc::new(config),
            hit,
            fingerprint,
        }) as Arc<dyn Definition>
    })
}

/// The attribute `timeout`, in milliseconds.
fn seconds(reader: &mut Reader, element: Element<'_, '_>) -> u64 {
    const DEFAULT: u64 = 5000;
    let seconds = match size(reader, element, "timeout") {
        Some(seconds) => u64::try_from(seconds).unwrap_or(u64::MAX),
        None => DEFAULT,
    };
    seconds.saturating_mul(1000)
}

/// A number that is not negative; -1 means none.
fn size(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> Option<usize> {
    let text = element.attribute(name)?;
    match text.trim().parse::<i64>() {
        Ok(number) => usize::try_from(number).ok(),
        Err(_) => {
            let place = reader.attribute_place(element, name);
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is not a number"),
            );
            None
        }
    }
}

fn generator(reader: &mut Reader, element: Element<'_, '_>, class: Option<&str>) {
    if let Some(class) = class
        && !GENERATORS.contains(&class.trim().rsplit('.').next().unwrap_or_default())
    {
        let place = reader.attribute_place(element, "hashGenerator");
        reader.unsupported(
            place,
            format!("the Java class {} cannot run here", class.trim()),
            Some("leave hashGenerator out; headersToIncludeInHash and headersToExcludeInHash choose what makes requests equal"),
        );
    }
}

fn protocol(reader: &mut Reader, element: Element<'_, '_>, config: &mut Config) {
    PROTOCOL.check(reader, element);
    reader.one_of(element, "type", &[("HTTP", ())]);
    let mut include = Vec::new();
    let mut exclude = Vec::new();
    for child in reader.children(element) {
        METHODS_PART.check(reader, child);
        let text = text_of(child);
        let text = text.as_str();
        match reader.name(child) {
            Some("methods") => methods(reader, child, text, config),
            Some("headersToIncludeInHash") => include = names(text),
            Some("headersToExcludeInHash") => exclude = names(text),
            Some("responseCodes") if !text.is_empty() => {
                match regex::RegexBuilder::new(&format!("^(?:{text})$"))
                    .size_limit(1 << 20)
                    .build()
                {
                    Ok(regex) => config.status = Some(regex),
                    Err(_) => {
                        let place = reader.place(child);
                        reader.error(
                            codes::INVALID_VALUE,
                            place,
                            format!("responseCodes is not a regular expression: {text}"),
                        );
                    }
                }
            }
            Some("responseCodes") => {}
            Some("enableCacheControl") => config.cache_control = text.eq_ignore_ascii_case("true"),
            Some("includeAgeHeader") => config.age_header = text.eq_ignore_ascii_case("true"),
            Some("hashGenerator") => generator(reader, child, Some(text).filter(|t| !t.is_empty())),
            _ => PROTOCOL.refuse(reader, child),
        }
    }
    config.headers = if !include.is_empty() {
        HashedHeaders::Only(include)
    } else if exclude.iter().any(|n| n == "*") {
        HashedHeaders::Only(Vec::new())
    } else if exclude.is_empty() {
        HashedHeaders::All
    } else {
        HashedHeaders::Without(exclude)
    };
}

fn methods(reader: &mut Reader, element: Element<'_, '_>, text: &str, config: &mut Config) {
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        if word == "*" {
            config.methods.clear();
            return;
        }
        let known = METHODS.contains(&word);
        match Method::from_bytes(word.as_bytes()) {
            Ok(method) if known => config.methods.push(method),
            _ => {
                let place = reader.place(element);
                reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!("Unexpected method type: {word}"),
                );
            }
        }
    }
}

/// Names of a comma list, in lower case.
fn names(text: &str) -> Vec<String> {
    text.split(',')
        .map(|n| n.trim().to_ascii_lowercase())
        .filter(|n| !n.is_empty())
        .collect()
}

#[derive(Debug)]
struct FinderDef {
    config: Arc<Config>,
    hit: OutcomeDef,
    fingerprint: u64,
}

impl Definition for FinderDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let state: Arc<CacheState> = linker
            .stores
            .shared("cache", linker.path(), self.fingerprint);
        state.limit(
            linker.stores.shared("cache budget", "", 0),
            linker.settings.limits.max_cache_entries,
            usize::try_from(linker.settings.limits.max_cache_bytes).unwrap_or(usize::MAX),
            self.config.max_entries,
        );
        Run::Wait(Box::new(Finder {
            config: self.config.clone(),
            hit: self.hit.link(linker, "onCacheHit"),
            state,
        }))
    }
}

#[derive(Debug)]
struct Finder {
    config: Arc<Config>,
    hit: Outcome,
    state: Arc<CacheState>,
}

/// What a request that was not answered from the cache carries to the collector.
#[derive(Debug)]
struct Ticket {
    config: Arc<Config>,
    state: Arc<CacheState>,
    key: Key,
    method: Method,
    /// When the request was looked up.
    at: u64,
    /// The response that a back-end may confirm with 304.
    stale: Option<Arc<Reply>>,
}

impl MediateAsync for Finder {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if message.is_response() {
                return Err(Fault::mediation(
                    "Response messages cannot be handled in a non collector cache",
                ));
            }
            if !message.is_built() {
                build(cx, message).await?;
            }
            let now = cx.services.clock.now();
            let key = key_of(message, &self.config.headers);
            message.properties.set("requestHash", key.to_string());
            let mut ticket = Ticket {
                config: self.config.clone(),
                state: self.state.clone(),
                key,
                method: message.request_method(),
                at: now,
                stale: None,
            };
            let Some(reply) = self.state.find(&key, now) else {
                message.cache = Some(Arc::new(ticket));
                return Ok(Flow::Continue);
            };
            if self.config.cache_control {
                match control::check(&reply, cx.services.clock.wall(now), now) {
                    Control::Fresh => {}
                    Control::Stale => {
                        message.cache = Some(Arc::new(ticket));
                        return Ok(Flow::Continue);
                    }
                    Control::Ask(etag) => {
                        message.headers.insert(IF_NONE_MATCH, etag);
                        ticket.stale = Some(reply);
                        message.cache = Some(Arc::new(ticket));
                        return Ok(Flow::Continue);
                    }
                }
            }
            restore(message, &reply, &self.config, now);
            // Nothing behind the finder runs.
            let hit = self.hit.run(cx.apart(), message, "onCacheHit").await?;
            if hit.is_none() {
                super::respond::answer(cx, message).await?;
            }
            Ok(Flow::Stop)
        })
    }
}

/// Turns the message into the response that was kept.
fn restore(message: &mut Message, reply: &Reply, config: &Config, now: u64) {
    let mut response = http::Response::new(());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers.clone();
    if let Some(reason) = &reply.reason {
        response.extensions_mut().insert(reason.clone());
    }
    if config.age_header {
        let age = now.saturating_sub(reply.at) / 1000;
        response.headers_mut().insert(AGE, HeaderValue::from(age));
    }
    let body = if reply.body.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(reply.body.clone())
    };
    message.become_response(response.into_parts().0, body);
    message.direction = Direction::Response;
}

#[derive(Debug)]
struct CollectorDef;

impl Definition for CollectorDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Wait(Box::new(CollectorDef))
    }
}

impl MediateAsync for CollectorDef {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_response() {
                return Err(Fault::mediation(
                    "Request messages cannot be handled in a collector cache",
                ));
            }
            if !message.is_built() {
                build(cx, message).await?;
            }
            let ticket = message
                .cache
                .clone()
                .and_then(|ticket| ticket.downcast::<Ticket>().ok());
            match ticket {
                Some(ticket) => collect(cx, message, &ticket)?,
                None => tracing::warn!(
                    target: "CacheMediator",
                    "{}A response message without a valid mapping for cache request found; it is not stored", cx.route.label
                ),
            }
            Ok(Flow::Continue)
        })
    }
}

fn collect(cx: Context<'_>, message: &mut Message, ticket: &Ticket) -> Result<(), Fault> {
    let Ticket {
        config, state, key, ..
    } = ticket;
    if config.cache_control && control::is_no_store(&message.headers) {
        state.remove(key);
        return Ok(());
    }
    let status = status(message);
    if status == StatusCode::NOT_MODIFIED
        && let Some(stale) = &ticket.stale
    {
        restore(message, stale, config, cx.services.clock.now());
        return Ok(());
    }
    let wanted = config
        .status
        .as_ref()
        .is_none_or(|regex| regex.is_match(status.as_str()))
        && (config.methods.is_empty() || config.methods.contains(&ticket.method))
        && !depends_on_condition(status);
    let fits = |size: usize| config.max_message_size.is_none_or(|most| size <= most);
    let body = if wanted {
        Some(message.write_body()?).filter(|body| fits(body.len()))
    } else {
        None
    };
    let Some(body) = body else {
        state.remove(key);
        return Ok(());
    };
    let mut headers = message.headers.clone();
    crate::message::outgoing::strip_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    // What is kept is the body as it was read.
    headers.remove(CONTENT_ENCODING);
    match &message.content_type {
        Some(value) => headers.insert(CONTENT_TYPE, value.clone()),
        None => headers.remove(CONTENT_TYPE),
    };
    // The correlation id is the request's, and a cookie is for one client.
    headers.remove(crate::message::ACTIVITY_ID);
    headers.remove(SET_COOKIE);
    let reply = Reply {
        status,
        reason: message.reason.clone(),
        headers,
        body,
        at: ticket.at,
        expires: ticket.at.saturating_add(config.timeout_ms),
    };
    if !state.store(*key, reply) {
        tracing::debug!(
            target: "CacheMediator",
            "{}the response does not fit into the caches' limits", cx.route.label
        );
    }
    Ok(())
}

/// The status as the flow has it now.
fn status(message: &Message) -> StatusCode {
    let set = match message.axis2.get("HTTP_SC") {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Integer(number)) => u16::try_from(*number).ok(),
        _ => message.status,
    };
    set.and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK)
}

/// Statuses that answer a condition or range of one request: the key may leave out the headers that
/// said it, and then others would get nothing, or a part.
fn depends_on_condition(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
    )
}

/// Headers that are never hashed: they say nothing about what is asked for.
fn never_hashed(name: &HeaderName) -> bool {
    name == http::header::DATE
        || name == http::header::USER_AGENT
        || name == crate::message::ACTIVITY_ID
}
