//! Endpoints: where messages are sent, what happens when that fails, and who is tried next
//! (spec 02). One kind, one file: description, parse, link, send, tests.

pub mod address;
mod attempts;
pub mod balance;
pub mod bindings;
mod blocking;
pub mod breaker;
pub mod default;
pub mod failover;
pub mod health;
pub mod http;
pub mod indirect;
pub mod leaf;
pub mod loadbalance;
pub mod member;
pub mod optimize;
pub mod parse;
pub mod policy;
pub mod property;
pub mod reach;
pub mod recipients;
pub mod replies;
mod response;
pub mod session;
mod standing;
pub mod state;
pub mod store;
pub mod template;
pub mod variable;
pub mod weighted;
pub mod wsdl;

pub use leaf::Leaf;
pub use parse::{EndpointDef, parse};
pub use store::{GroupState, Stores};
pub use template::EndpointTemplate;

use crate::clock::Clock;
use crate::diag::Place;
use crate::expr::{Around, LocalEntries, Scope};
use crate::message::body::BodyLimits;
use crate::message::fault::{Report, codes};
use crate::message::media::MediaTypes;
use crate::message::outgoing::HeaderRules;
use crate::message::{EndpointId, Exchange, Fault, Message, SequenceId};
use crate::settings::Settings;
use crate::transport::http::Client;
use crate::transport::outside::Outside;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

/// A boxed future of one message.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What every message of one worker shares.
#[derive(Clone)]
pub struct Services {
    /// The worker's HTTP client.
    pub client: Arc<Client>,
    /// HTTP beside the message path: token servers, documents.
    pub outside: Arc<Outside>,
    /// The clock.
    pub clock: Clock,
    /// Limits of bodies.
    pub limits: BodyLimits,
    /// Forms of content types that the settings name, if any.
    pub media_types: Option<Arc<MediaTypes>>,
    /// The content type of a body that nobody gave one.
    pub default_content_type: ::http::HeaderValue,
    /// Which headers stay as they came.
    pub rules: HeaderRules,
    /// Settings.
    pub settings: Arc<Settings>,
    /// Requests of all workers whose answers come as requests of their own.
    pub replies: Arc<replies::Replies>,
    /// Sessions that several runtimes share.
    pub sessions: Option<Arc<dyn bindings::SessionStore>>,
    /// Copies of the lines that `log` mediators wrote, for those who run flows under test.
    pub lines: Option<Arc<Mutex<Vec<String>>>>,
}

/// Endpoints of a plan.
#[derive(Debug, Default)]
pub struct Endpoints {
    /// By id.
    pub list: Vec<Arc<Endpoint>>,
    /// Ids by name.
    pub by_name: HashMap<String, EndpointId>,
}

impl Endpoints {
    /// The endpoint of an id.
    pub fn get(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.list.get(id.0 as usize)
    }

    /// The endpoint of a name.
    pub fn named(&self, name: &str) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name).and_then(|id| self.get(*id))
    }
}

/// What an endpoint needs to send one message.
#[derive(Clone, Copy)]
pub struct SendContext<'a> {
    /// The worker's services.
    pub services: &'a Services,
    /// Named endpoints of the plan.
    pub endpoints: &'a Endpoints,
    /// Local entries of the plan.
    pub entries: &'a LocalEntries,
    /// The client side.
    pub exchange: &'a Arc<Exchange>,
    /// How many references and groups are around this endpoint.
    pub depth: u32,
    /// Who takes the answers of a recipient list.
    pub deliver: Option<&'a dyn Deliver>,
    /// Who waits for the response.
    pub waiting: Waiting,
    /// Copies of the message that the recipient lists around this endpoint have made.
    pub copies: Option<&'a AtomicUsize>,
}

/// Who waits for a response: this decides what counts as a failure (spec 01 §7.2–§7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// `send` and `call`: every response is a success.
    #[default]
    Open,
    /// `call blocking="true"`: an error status is a failure of the endpoint.
    Blocking,
    /// `callout`: as `Blocking`, but failures neither suspend an endpoint nor does its suspension
    /// keep the message from being sent (spec 02 §13.5).
    Callout,
}

/// Takes what came back from one recipient of a list: the copy of the message that was sent there
/// is the response now, or has the request and its `ERROR_*`. Outcomes come in the order in which
/// they arrive.
pub trait Deliver: Send + Sync {
    /// Takes one outcome.
    fn deliver(&self, message: Message, outcome: Result<Sent, Fault>) -> Boxed<'_, ()>;
}

/// Most references and groups inside each other while sending; more is a circle of references.
pub const MAX_NESTING: u32 = 32;

impl<'a> SendContext<'a> {
    /// What expressions see.
    pub fn scope(&self, message: &'a Message) -> Scope<'a> {
        Scope {
            deferred: 0,
            message,
            exchange: self.exchange,
            entries: self.entries,
            clock: &self.services.clock,
            settings: &self.services.settings,
        }
    }

    /// The same without the message.
    pub fn around(&self) -> Around<'a> {
        Around {
            exchange: self.exchange,
            entries: self.entries,
            clock: &self.services.clock,
            settings: &self.services.settings,
        }
    }

    /// The context one level deeper.
    ///
    /// # Errors
    /// When endpoints refer to each other in a circle.
    pub fn deeper(self) -> Result<SendContext<'a>, Fault> {
        if self.depth >= MAX_NESTING {
            return Err(Fault::mediation(format!(
                "Endpoints refer to each other more than {MAX_NESTING} levels deep"
            )));
        }
        Ok(SendContext {
            depth: self.depth + 1,
            ..self
        })
    }
}

/// How a send ended without failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The message is now the response.
    Response,
    /// `OUT_ONLY`: it went out, nobody waits for an answer.
    OneWay,
    /// Copies went to a list of recipients, and what came back went to [`Deliver`].
    Delivered,
}

/// Where an endpoint stands inside a group. A real endpoint reached through a key has no parent
/// (spec 02 §1): it checks its own readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// None: it checks itself before it sends.
    Root,
    /// Inside a load-balance or failover group, which checked it.
    Group,
    /// In a recipient list, which checked it; the caps of endpoints without a group hold
    /// (spec 02 §7.6).
    Recipients,
}

/// What becomes of a body before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builds {
    /// It may go out as it came, unread.
    Nothing,
    /// It is read, for addressing headers; a tree is not needed.
    Outline,
    /// It becomes a tree.
    Tree,
}

/// One kind of endpoint.
pub trait Kind: Send + Sync + Debug {
    /// Sends the message; it becomes the response. On failure the message keeps the request as far
    /// as it is still there, and `ERROR_*` are set.
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>>;

    /// Whether a group may choose it now.
    fn is_ready(&self, cx: &SendContext<'_>) -> bool;

    /// Whether another child may be tried after this code.
    fn retryable(&self, _code: u32) -> bool {
        true
    }

    /// Whether an attempt leaves the message in another form than it had: another child must get it
    /// as it was.
    fn reshapes(&self, _cx: &SendContext<'_>) -> bool {
        false
    }

    /// What every attempt makes of a body that there is: then nothing is won by looking into it
    /// before.
    fn builds(&self) -> Builds {
        Builds::Nothing
    }

    /// The named endpoints that it leads to by their keys, each as often as it does.
    fn references(&self, _out: &mut Vec<EndpointId>) {}

    /// The health checks that are to run while it is deployed.
    fn checks(&self, _out: &mut Vec<Arc<health::Check>>) {}

    /// Switches it off or on by hand (spec 02 §7.8): what is off is not ready, until it is switched on.
    ///
    /// # Errors
    /// Why it has no state of its own to switch.
    fn switch(&self, on: bool) -> Result<(), &'static str>;

    /// The word for an endpoint that only leads to another one.
    fn reference(&self) -> Option<&'static str> {
        None
    }

    /// Its runtime state, as the internal port lists it.
    fn describe(&self, now: u64, out: &mut Vec<Described>);
}

/// One line of the endpoint list.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Described {
    /// Name, or `AnonymousEndpoint`.
    pub name: String,
    /// `address`, `http`, `loadbalance`, …
    pub kind: &'static str,
    /// The address of a leaf.
    pub address: Option<String>,
    /// State word; of a group, whether it was switched off.
    pub state: Option<&'static str>,
    /// Milliseconds until it may be tried again.
    pub retry_in_ms: Option<u64>,
    /// Where it is; two endpoints are never at one place.
    pub path: String,
    /// How often a group was switched, by the state after it.
    #[serde(skip)]
    pub switched: BTreeMap<&'static str, u64>,
    /// What happened to a leaf since it was deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Sessions that live at a session group of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
    /// Requests under way at a leaf with limits, and those that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// A group with a policy of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<balance::Balanced>,
}

/// What a leaf with limits has to do.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Load {
    /// Requests under way.
    pub requests: u32,
    /// Requests that wait for one of them to end.
    pub pending: u32,
}

/// What happened to a leaf since it was deployed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Requests that were to go out.
    pub attempts: u64,
    /// Attempts without an answer, by code.
    pub failures: BTreeMap<String, u64>,
    /// Changes of state, by the state after them.
    pub state_changes: BTreeMap<&'static str, u64>,
    /// Changes of what its health checks say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_changes: Option<u64>,
}

/// An endpoint as it runs.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: Option<String>,
    /// What it does.
    pub kind: Box<dyn Kind>,
    /// Identifies its definition: children of a session group are bound by it.
    pub fingerprint: u64,
    /// Where it is written.
    pub place: Place,
}

impl Endpoint {
    /// The name as messages print it.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(ANONYMOUS)
    }
}

/// The name of endpoints that have none (spec 02 §7.4).
pub const ANONYMOUS: &str = "AnonymousEndpoint";

/// A fault that an endpoint or group raises itself. After a leaf has been tried its error stays
/// what the flow sees (spec 02 §13.1). A group around it may try another child (spec 02 §9.2).
pub fn own_fault(message: &mut Message, code: u32, text: impl Into<String>) -> Fault {
    let mut fault = Fault::endpoint(code, text);
    if message.last_endpoint && message.properties.get("ERROR_CODE").is_some() {
        fault.report = Report::Keep;
        if let Some(crate::message::Value::Integer(code)) = message.properties.get("ERROR_CODE") {
            fault.code = u32::try_from(*code).unwrap_or(fault.code);
        }
        if let Some(text) = message.properties.str("ERROR_MESSAGE") {
            fault.message = text.to_owned();
        }
    } else {
        message.report(&fault);
    }
    fault.retry = true;
    fault
}

/// Counts an attempt; a fault when the request has used up its attempts (differences.md).
pub fn count_attempt(cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
    may_attempt(cx, message)?;
    message.attempts += 1;
    Ok(())
}

/// Whether the request has an attempt left. Groups ask before they clear the error of the attempt
/// before, which stays what the flow sees when they give up.
pub fn may_attempt(cx: &SendContext<'_>, message: &mut Message) -> Result<(), Fault> {
    let limit = cx.services.settings.limits.max_attempts_per_request;
    if message.attempts >= limit {
        let text = format!("Gave up after {limit} attempts for one request");
        let mut fault = own_fault(message, codes::NO_READY_CHILD, text);
        fault.retry = false;
        return Err(fault);
    }
    Ok(())
}

/// What linking an endpoint gives back besides the endpoint: problems, and names to look up.
pub trait Names {
    /// The id of a named endpoint.
    fn endpoint(&self, name: &str) -> Option<EndpointId>;
    /// The id of a named sequence.
    fn sequence(&self, name: &str) -> Option<SequenceId>;
    /// An endpoint template.
    fn template(&self, name: &str) -> Option<Arc<EndpointTemplate>>;
    /// All names of endpoint templates, for hints.
    fn template_names(&self) -> Vec<String>;
    /// What has been made of templates so far.
    fn made(&mut self) -> &mut template::Made;
    /// Adds a finding.
    fn report(&mut self, diagnostic: crate::diag::Diagnostic);
    /// All endpoint names, for hints.
    fn endpoint_names(&self) -> Vec<String>;
    /// All sequence names, for hints.
    fn sequence_names(&self) -> Vec<String>;
    /// Runtime state that survives reloads.
    fn stores(&self) -> &Stores;
    /// Settings.
    fn settings(&self) -> &Settings;
}
