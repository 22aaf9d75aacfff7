//! Reading `<endpoint>`: which kind it is, and what all kinds share (spec 02 §2–§3).

use super::address::AddressDef;
use super::default::DefaultDef;
use super::failover::FailoverDef;
use super::http::HttpDef;
use super::indirect::{IndirectDef, ResolvingDef};
use super::leaf::{LeafDef, Timeout, TimeoutAction};
use super::loadbalance::LoadBalanceDef;
use super::optimize::Optimize;
use super::policy::PolicyDef;
use super::property::{self, EndpointProperty};
use super::recipients::RecipientsDef;
use super::session::SessionDef;
use super::template::InstanceDef;
use super::wsdl::WsdlDef;
use super::{Endpoint, Kind, Names};
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::message::SequenceId;
use crate::message::addressing::Version;
use crate::message::outgoing::{Format, addressing_version};
use crate::settings::PolicyLevel;
use crate::syntax::{Element, Reader, text_of, whole_text_of};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// What every `<endpoint>` has.
#[derive(Debug)]
pub struct Head {
    /// `name`.
    pub name: Option<String>,
    /// `onError` and where it is written.
    pub on_error: Option<(String, Place)>,
    /// Of the element's text: equal text keeps its runtime state over a reload.
    pub fingerprint: u64,
    /// The element.
    pub place: Place,
}

impl Head {
    /// The sequence of `onError`; a warning when it is not defined.
    pub fn link_on_error(&self, names: &mut dyn Names) -> Option<SequenceId> {
        let (name, place) = self.on_error.as_ref()?;
        let id = names.sequence(name);
        if id.is_none() {
            let known = names.sequence_names();
            let hint = nearest(name, known.iter().map(String::as_str))
                .map(|n| format!("did you mean \"{n}\"?"));
            names.report(
                Diagnostic::warning(
                    codes::UNDEFINED_SEQUENCE,
                    place.clone(),
                    format!("the onError sequence \"{name}\" is not defined; the enclosing fault handler is used"),
                )
                .maybe_help(hint),
            );
        }
        id
    }
}

/// An endpoint as it is written.
#[derive(Debug)]
pub struct EndpointDef {
    /// What every kind has.
    pub head: Head,
    /// Properties.
    pub properties: Arc<Vec<EndpointProperty>>,
    /// What it has beyond the reference.
    pub policy: PolicyDef,
    /// The kind.
    pub kind: KindDef,
}

/// The kinds.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum KindDef {
    Address(AddressDef),
    Default(DefaultDef),
    Http(HttpDef),
    Indirect(IndirectDef),
    LoadBalance(LoadBalanceDef),
    Session(SessionDef),
    Failover(FailoverDef),
    Recipients(RecipientsDef),
    Wsdl(WsdlDef),
    Resolving(ResolvingDef),
    Instance(InstanceDef),
}

const CHILDREN: &[&str] = &[
    "address",
    "http",
    "default",
    "wsdl",
    "loadbalance",
    "failover",
    "recipientlist",
    "session",
    "description",
    "property",
];

/// The children that say which kind an endpoint is.
const KINDS: &[&str] = &[
    "address",
    "http",
    "default",
    "wsdl",
    "loadbalance",
    "failover",
    "recipientlist",
];

/// Kinds of the reference that cannot run here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "dynamicLoadbalance",
        "it needs an Axis2 cluster, which MI does not have either; list the endpoints in <loadbalance>",
    ),
    (
        "serviceDynamicLoadbalance",
        "it needs an Axis2 cluster, which MI does not have either; list the endpoints in <loadbalance>",
    ),
    (
        "class",
        "Java classes cannot run here; use <address> or <http>",
    ),
];

/// Reads an `<endpoint>` element.
pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<EndpointDef> {
    reader.nested(element, |reader| parse_here(reader, element))
}

fn parse_here(reader: &mut Reader, element: Element<'_, '_>) -> Option<EndpointDef> {
    reader.known_attributes(
        element,
        &[
            "name",
            "key",
            "key-expression",
            "template",
            "uri",
            "onError",
            "statistics",
            "trace",
            "description",
        ],
    );
    let head = Head {
        name: element.attribute("name").map(str::to_owned),
        on_error: element
            .attribute("onError")
            .map(|n| (n.to_owned(), reader.attribute_place(element, "onError"))),
        fingerprint: reader.fingerprint(element),
        place: reader.place(element),
    };
    let reference = if is_dynamic_key(element) {
        Some(KindDef::Resolving(ResolvingDef::parse(reader, element)?))
    } else if element.has_attribute("key") {
        Some(KindDef::Indirect(IndirectDef::parse(reader, element)))
    } else {
        None
    };
    if let Some(kind) = reference {
        let mut properties = property::parse(reader, element);
        let policy = PolicyDef::take(reader, &mut properties, &[]);
        return Some(EndpointDef {
            head,
            properties: Arc::new(properties),
            policy,
            kind,
        });
    }
    if element.has_attribute("template") {
        let kind = KindDef::Instance(InstanceDef::parse(reader, element)?);
        return Some(EndpointDef {
            head,
            properties: Arc::default(),
            policy: PolicyDef::default(),
            kind,
        });
    }
    let children = reader.children(element);
    let mut kinds = Vec::new();
    let mut session = None;
    for child in children {
        match reader.name(child) {
            Some("description" | "property") => {}
            Some("session") => session = Some(child),
            Some(name) if KINDS.contains(&name) => kinds.push(child),
            name => {
                let name = name.unwrap_or_else(|| child.tag_name().name());
                if let Some((_, help)) = REFUSED.iter().find(|(n, _)| *n == name) {
                    let place = reader.place(child);
                    reader.unsupported(
                        place,
                        format!("<{name}> endpoints are not supported"),
                        Some(help),
                    );
                    return None;
                }
                reader.unknown_element(child, "endpoint", CHILDREN);
            }
        }
    }
    let Some(first) = kinds.first().copied() else {
        if reader.errors() == 0 {
            let place = head.place.clone();
            reader.error(
                codes::MISSING_ELEMENT,
                place,
                format!(
                    "<endpoint> needs \"key\", \"template\" or one of the children {}",
                    KINDS.join(", ")
                ),
            );
        }
        return None;
    };
    for extra in kinds.iter().skip(1) {
        let place = reader.place(*extra);
        reader.error(
            codes::CONFLICT,
            place,
            format!(
                "an endpoint is of one kind, and this one is already <{}>",
                first.tag_name().name()
            ),
        );
    }
    let mut properties = property::parse(reader, element);
    let levels: &[PolicyLevel] = match first.tag_name().name() {
        "address" | "http" | "default" | "wsdl" => &[PolicyLevel::Leaf],
        "loadbalance" if reader.child(first, "member").is_some() => {
            &[PolicyLevel::Group, PolicyLevel::Leaf]
        }
        "loadbalance" | "failover" => &[PolicyLevel::Group],
        _ => &[],
    };
    let policy = PolicyDef::take(reader, &mut properties, levels);
    let properties = Arc::new(properties);
    let kind = match (first.tag_name().name(), session) {
        ("address", None) => KindDef::Address(AddressDef::parse(reader, first)?),
        ("http", None) => KindDef::Http(HttpDef::parse(reader, first, &properties)?),
        ("default", None) => KindDef::Default(DefaultDef::parse(reader, first)?),
        ("wsdl", None) => KindDef::Wsdl(WsdlDef::parse(reader, first)?),
        ("recipientlist", None) => KindDef::Recipients(RecipientsDef::parse(reader, first)?),
        ("failover", None) => KindDef::Failover(FailoverDef::parse(reader, first)?),
        ("loadbalance", None) => {
            let def = LoadBalanceDef::parse(reader, first, &properties)?;
            if def.is_weighted() {
                policy.refuse_beside_weights(reader);
            }
            KindDef::LoadBalance(def)
        }
        ("loadbalance", Some(session)) => {
            let def = SessionDef::parse(reader, session, first, &properties)?;
            if def.is_weighted() {
                policy.refuse_beside_weights(reader);
            }
            KindDef::Session(def)
        }
        (name, Some(session)) => {
            let place = reader.place(session);
            reader.error(
                codes::CONFLICT,
                place,
                format!("<session> goes with <loadbalance>, not with <{name}>"),
            );
            return None;
        }
        _ => return None,
    };
    Some(EndpointDef {
        head,
        properties,
        policy,
        kind,
    })
}

/// Whether the name of the endpoint is found per message. The reference takes `key="{…}"` for a
/// name, which no endpoint has.
fn is_dynamic_key(element: Element<'_, '_>) -> bool {
    match element.attribute("key") {
        Some(key) => key.starts_with('{') && key.ends_with('}'),
        None => element.has_attribute("key-expression"),
    }
}

/// An endpoint reference that stands in an attribute, such as a proxy target's `endpoint`.
pub fn reference(reader: &mut Reader, element: Element<'_, '_>, attribute: &str) -> EndpointDef {
    let place = reader.attribute_place(element, attribute);
    EndpointDef {
        head: Head {
            name: None,
            on_error: None,
            fingerprint: 0,
            place: place.clone(),
        },
        properties: Arc::default(),
        policy: PolicyDef::default(),
        kind: KindDef::Indirect(IndirectDef {
            key: element.attribute(attribute).unwrap_or_default().to_owned(),
            place,
        }),
    }
}

/// An attribute that has one value with an effect; every other one that is not its opposite is warned
/// about. `effect` says what another value means.
pub(super) fn flag(
    reader: &mut Reader,
    element: Element<'_, '_>,
    name: &str,
    words: &[&str],
    effect: &str,
) {
    let Some(text) = element.attribute(name) else {
        return;
    };
    if !words.iter().any(|w| w.eq_ignore_ascii_case(text.trim())) {
        let place = reader.attribute_place(element, name);
        reader.report(
            Diagnostic::warning(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is no value of \"{name}\": {effect}"),
            )
            .help(format!(
                "write {}",
                words[..2.min(words.len())].join(" or ")
            )),
        );
    }
}

/// Reads the children of a group: endpoints and members.
pub fn parse_children(reader: &mut Reader, group: Element<'_, '_>) -> Vec<Arc<EndpointDef>> {
    let mut out: Vec<Arc<EndpointDef>> = Vec::new();
    let name = group.tag_name().name();
    for child in reader.children(group) {
        match reader.name(child) {
            Some("endpoint") => {
                if let Some(key) = child.attribute("key")
                    && out
                        .iter()
                        .any(|e| matches!(&e.kind, KindDef::Indirect(i) if i.key == key))
                {
                    let place = reader.attribute_place(child, "key");
                    reader.error(
                        codes::CONFLICT,
                        place,
                        format!("Same endpoint definition cannot be used with in the siblings: \"{key}\" is already in this <{name}>"),
                    );
                    continue;
                }
                if let Some(def) = parse(reader, child) {
                    out.push(Arc::new(def));
                }
            }
            Some("member" | "property" | "description") => {}
            _ => reader.unknown_element(child, name, &["endpoint", "member"]),
        }
    }
    out
}

impl EndpointDef {
    /// Makes the endpoint of a plan. `path` says where it is, for state that survives reloads.
    pub fn link(&self, names: &mut dyn Names, path: &str) -> Arc<Endpoint> {
        let kind: Box<dyn Kind> = match &self.kind {
            KindDef::Address(def) => def.link(self, names, path),
            KindDef::Default(def) => def.link(self, names, path),
            KindDef::Http(def) => def.link(self, names, path),
            KindDef::Indirect(def) => def.link(names),
            KindDef::LoadBalance(def) => def.link(self, names, path),
            KindDef::Session(def) => def.link(self, names, path),
            KindDef::Failover(def) => def.link(self, names, path),
            KindDef::Recipients(def) => def.link(self, names, path),
            KindDef::Wsdl(def) => def.link(self, names, path),
            KindDef::Resolving(def) => def.link(),
            KindDef::Instance(def) => def.link(self, names, path),
        };
        Arc::new(Endpoint {
            name: self.head.name.clone(),
            kind,
            fingerprint: self.head.fingerprint,
            place: self.head.place.clone(),
        })
    }

    /// Links the children of a group. Named children are told apart by name, so that their state stays
    /// theirs when others come and go, and those without a name of their own by position.
    pub fn link_children(
        children: &[Arc<EndpointDef>],
        names: &mut dyn Names,
        path: &str,
    ) -> Vec<Arc<Endpoint>> {
        let mut steps = HashSet::new();
        let mut texts: HashMap<u64, u64> = HashMap::new();
        let mut out = Vec::with_capacity(children.len());
        for (index, child) in children.iter().enumerate() {
            let mut step = child.head.name.clone().unwrap_or_else(|| index.to_string());
            if steps.contains(&step) {
                step = format!("{step}#{index}");
            }
            let mut endpoint = child.link(names, &format!("{path}/{step}"));
            steps.insert(step);
            // Sessions and hashes know a child by its fingerprint, also among copies of one text.
            let before = texts.entry(endpoint.fingerprint).or_default();
            if *before > 0
                && let Some(endpoint) = Arc::get_mut(&mut endpoint)
            {
                let mut hasher = DefaultHasher::new();
                (endpoint.fingerprint, *before).hash(&mut hasher);
                endpoint.fingerprint = hasher.finish();
            }
            *before += 1;
            out.push(endpoint);
        }
        out
    }
}

/// Reads the quality-of-service block of a leaf (spec 02 §3).
pub fn parse_leaf(
    reader: &mut Reader,
    element: Element<'_, '_>,
    word: &'static str,
    attributes: &[&str],
) -> Option<LeafDef> {
    let known: Vec<&str> = attributes
        .iter()
        .chain(&["format", "optimize", "encoding", "statistics", "trace"])
        .copied()
        .collect();
    reader.known_attributes(element, &known);
    let format = element.attribute("format").and_then(|text| {
        let format = Format::parse(text);
        if format.is_none() {
            let place = reader.attribute_place(element, "format");
            reader.report(
                Diagnostic::warning(
                    codes::INVALID_VALUE,
                    place,
                    format!("\"{text}\" is not an endpoint format; the message is left as it is"),
                )
                .help("known formats: soap11, soap12, pox, get, rest"),
            );
        }
        format
    });
    let optimize = element.attribute("optimize").and_then(|text| {
        if text.eq_ignore_ascii_case("mtom") {
            return Some(Optimize::Mtom);
        }
        if text.eq_ignore_ascii_case("swa") {
            return Some(Optimize::Swa);
        }
        let place = reader.attribute_place(element, "optimize");
        reader.report(
            Diagnostic::warning(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is not an optimization; the attribute has no effect"),
            )
            .help("known values: mtom, swa"),
        );
        None
    });
    let mut def = LeafDef {
        format,
        encoding: element.attribute("encoding").map(str::to_owned),
        optimize,
        ..LeafDef::plain(word)
    };
    let before = reader.errors();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("enableAddressing") => parse_addressing(reader, child, &mut def),
            Some("enableSec") => {
                let place = reader.place(child);
                reader.unsupported(
                    place,
                    "<enableSec> (WS-Security) is not supported",
                    Some("terminate WS-Security in front of the back-end, or call it over TLS"),
                );
            }
            Some("enableRM") => {
                let place = reader.place(child);
                reader.unsupported(
                    place,
                    "<enableRM> (WS-ReliableMessaging) is not supported",
                    Some("remove it, since the reference has no effect for it either; a <failover> endpoint repeats what failed"),
                );
            }
            Some("timeout") => parse_timeout(reader, child, &mut def),
            Some("markForSuspension") => {
                for part in reader.children(child) {
                    match reader.name(part) {
                        Some("errorCodes") => def.failure.mark_codes = codes_of(reader, part),
                        Some("retriesBeforeSuspension") => {
                            def.failure.retries = small(reader, part).unwrap_or(0);
                        }
                        Some("retryDelay") => {
                            def.failure.retry_delay = small(reader, part).unwrap_or(0)
                        }
                        _ => reader.unknown_element(
                            part,
                            "markForSuspension",
                            &["errorCodes", "retriesBeforeSuspension", "retryDelay"],
                        ),
                    }
                }
            }
            Some("suspendOnFailure") => parse_suspend(reader, child, &mut def),
            Some("suspendDurationOnFailure") => {
                // Legacy, in seconds; <suspendOnFailure> overrides it wherever it stands.
                if !def.own_initial
                    && let Some(seconds) = number(reader, child)
                {
                    def.failure.initial = seconds.saturating_mul(1000);
                    def.failure.factor = 1.0;
                    def.own_initial = true;
                    def.own_factor = true;
                }
                let place = reader.place(child);
                reader.report(
                    Diagnostic::warning(
                        codes::UNKNOWN_ELEMENT,
                        place,
                        "<suspendDurationOnFailure> is an old form",
                    )
                    .help("use <suspendOnFailure><initialDuration>milliseconds</initialDuration></suspendOnFailure>"),
                );
            }
            Some("retryConfig") => {
                for part in reader.children(child) {
                    match reader.name(part) {
                        Some("disabledErrorCodes") => {
                            def.failure.retry_disabled = codes_of(reader, part)
                        }
                        Some("enabledErrorCodes") => {
                            def.failure.retry_enabled = codes_of(reader, part)
                        }
                        _ => reader.unknown_element(
                            part,
                            "retryConfig",
                            &["disabledErrorCodes", "enabledErrorCodes"],
                        ),
                    }
                }
            }
            Some("property" | "description") => {}
            Some("authentication") if word == "HTTP" => {}
            None if word == "WSDL" && child.tag_name().name() == "definitions" => {}
            _ => reader.unknown_element(
                child,
                element.tag_name().name(),
                &[
                    "enableAddressing",
                    "enableSec",
                    "timeout",
                    "markForSuspension",
                    "suspendOnFailure",
                    "retryConfig",
                ],
            ),
        }
    }
    (reader.errors() == before).then_some(def)
}

fn parse_addressing(reader: &mut Reader, element: Element<'_, '_>, def: &mut LeafDef) {
    reader.known_attributes(element, &["version", "separateListener"]);
    let version = element.attribute("version");
    def.addressing = addressing_version(version);
    if let (Some(Version::Submission), Some(text)) = (def.addressing, version)
        && text != "submission"
    {
        // Checked without case and used with it, in the reference.
        def.addressing = Some(Version::Final);
        let place = reader.attribute_place(element, "version");
        reader.report(
            Diagnostic::warning(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" selects no version, and the final one is written"),
            )
            .help("write version=\"submission\""),
        );
    }
    if def.addressing.is_none() {
        let place = reader.attribute_place(element, "version");
        let text = version.unwrap_or_default();
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is not a version of WS-Addressing"),
            )
            .help("allowed values: final, submission"),
        );
    }
    def.separate_listener = element
        .attribute("separateListener")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
}

fn parse_timeout(reader: &mut Reader, element: Element<'_, '_>, def: &mut LeafDef) {
    for part in reader.children(element) {
        match reader.name(part) {
            Some("duration") => {
                let text = whole_text_of(part);
                if text.starts_with('{') && text.ends_with('}') {
                    let inner = &text[1..text.len() - 1];
                    let namespaces = reader.namespaces(part);
                    match crate::expr::Expr::compile(inner, &namespaces) {
                        Ok(expr) => def.timeout = Timeout::Dynamic(expr),
                        Err(e) => {
                            let place = reader.place(part);
                            reader.expression_error(&place, inner, &e);
                        }
                    }
                } else if let Some(ms) = number(reader, part) {
                    def.timeout =
                        Timeout::Fixed(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
                }
            }
            Some("responseAction" | "action") => {
                let text = text_of(part);
                if text.eq_ignore_ascii_case("discard") {
                    def.timeout_action = TimeoutAction::Discard;
                } else if text.eq_ignore_ascii_case("fault") {
                    def.timeout_action = TimeoutAction::Fault;
                } else {
                    let place = reader.place(part);
                    reader.report(
                        Diagnostic::error(
                            codes::INVALID_VALUE,
                            place,
                            format!("Invalid timeout action, action : {text} is not supported"),
                        )
                        .help("allowed values: fault, discard"),
                    );
                }
            }
            _ => reader.unknown_element(part, "timeout", &["duration", "responseAction"]),
        }
    }
}

fn parse_suspend(reader: &mut Reader, element: Element<'_, '_>, def: &mut LeafDef) {
    for part in reader.children(element) {
        match reader.name(part) {
            Some("errorCodes") => def.failure.suspend_codes = codes_of(reader, part),
            Some("initialDuration") => {
                if let Some(ms) = small(reader, part) {
                    def.failure.initial = ms;
                    def.own_initial = true;
                }
            }
            Some("progressionFactor") => match text_of(part).parse::<f32>() {
                Ok(factor) => {
                    def.failure.factor = factor;
                    def.own_factor = true;
                }
                Err(_) => not_a_number(reader, part),
            },
            Some("maximumDuration") => {
                if let Some(ms) = number(reader, part) {
                    def.failure.maximum = ms;
                }
            }
            _ => reader.unknown_element(
                part,
                "suspendOnFailure",
                &[
                    "errorCodes",
                    "initialDuration",
                    "progressionFactor",
                    "maximumDuration",
                ],
            ),
        }
    }
}

fn not_a_number(reader: &mut Reader, element: Element<'_, '_>) {
    let place = reader.place(element);
    let name = element.tag_name().name();
    let text = text_of(element);
    let what = if name == "duration" {
        format!("Endpoint timeout duration expected as a number but was not a number: \"{text}\"")
    } else {
        format!("<{name}> needs a number, not \"{text}\"")
    };
    let help = match name {
        "duration" => {
            "write milliseconds, such as 10000, or an expression: {…} with nothing around the braces"
        }
        "initialDuration" | "retryDelay" => "write milliseconds, such as 10000, at most 2147483647",
        "maximumDuration" | "sessionTimeout" => "write milliseconds, such as 600000",
        "suspendDurationOnFailure" => "write seconds, such as 30",
        "progressionFactor" => "write a factor, such as 2.0",
        "retriesBeforeSuspension" => "write how many failures are tolerated, such as 3",
        _ => "write codes with commas between them, such as 101503,101504",
    };
    reader.report(Diagnostic::error(codes::INVALID_VALUE, place, what).help(help));
}

/// The number in an element.
pub fn number(reader: &mut Reader, element: Element<'_, '_>) -> Option<i64> {
    parsed(reader, element)
}

/// The 32-bit number in an element, as the reference reads durations and retries (spec 02 §3).
fn small(reader: &mut Reader, element: Element<'_, '_>) -> Option<i64> {
    parsed::<i32>(reader, element).map(i64::from)
}

fn parsed<T: std::str::FromStr>(reader: &mut Reader, element: Element<'_, '_>) -> Option<T> {
    let number = text_of(element).parse().ok();
    if number.is_none() {
        not_a_number(reader, element);
    }
    number
}

fn codes_of(reader: &mut Reader, element: Element<'_, '_>) -> Vec<i64> {
    let text = text_of(element);
    let mut out = Vec::new();
    for word in text
        .split([',', ' ', '\n', '\t', '\r'])
        .filter(|w| !w.is_empty())
    {
        match word.parse() {
            Ok(code) => out.push(code),
            Err(_) => {
                not_a_number(reader, element);
                break;
            }
        }
    }
    out
}
