//! What went wrong with a message (spec 01 §9–§10).

use crate::diag::Place;
use crate::message::handler::Handler;
use crate::xml::TooLong;
use std::fmt;

/// Who caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client's message.
    Client,
    /// A back-end or the way to it.
    Backend,
    /// The configuration or Myelin itself.
    Internal,
}

/// When the `ERROR_*` properties are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Always: transport errors and broken bodies.
    Always,
    /// Only while `ERROR_CODE` is unset: exceptions of mediators (spec 01 §9.2).
    IfUnset,
    /// Never: an endpoint group gave up after a leaf was tried, whose error stays (spec 02 §13.1).
    Keep,
}

/// One failure on its way to a fault handler.
#[derive(Debug)]
pub struct Fault {
    /// `ERROR_CODE`.
    pub code: u32,
    /// `ERROR_MESSAGE`.
    pub message: String,
    /// `ERROR_DETAIL`; the message when absent.
    pub detail: Option<String>,
    /// Who caused it.
    pub origin: Origin,
    /// Whether sending the same message to another endpoint is safe and wanted.
    pub retry: bool,
    /// The endpoint did not do what it should, which its group remembers also when nobody else is tried.
    pub blamed: bool,
    /// When the `ERROR_*` properties are written.
    pub report: Report,
    /// Status for the client when no handler answers; 500 when absent.
    pub status: Option<u16>,
    /// `BASE_ERROR_CODE` and `PROTOCOL_STATE_ON_FAILURE` of transport errors.
    pub transport: Option<(u32, u32)>,
    /// The mediator or endpoint that raised it.
    pub place: Option<Place>,
    /// A handler that runs instead of the top of the message's stack (spec 02 §13.3).
    pub handler: Option<Handler>,
    /// No fault sequence runs: the endpoint says `discard` (spec 02 §8.3).
    pub discard: bool,
}

impl Fault {
    fn new(code: u32, message: String, origin: Origin, report: Report) -> Fault {
        Fault {
            code,
            message,
            detail: None,
            origin,
            retry: false,
            blamed: false,
            report,
            status: None,
            transport: None,
            place: None,
            handler: None,
            discard: false,
        }
    }

    /// A mediator threw: code 0, the first line of the text is the message.
    pub fn mediation(message: impl Into<String>) -> Fault {
        let message = message.into();
        let first = message.lines().next().unwrap_or("").to_owned();
        let mut fault = Fault::new(0, first, Origin::Internal, Report::IfUnset);
        fault.detail = Some(message);
        fault
    }

    /// The body cannot be parsed: 601000 (spec 01 §2.5).
    pub fn malformed(detail: impl Into<String>) -> Fault {
        let mut fault = Fault::new(
            codes::MALFORMED_BODY,
            "Error while building message. Error while building Passthrough stream".to_owned(),
            Origin::Client,
            Report::Always,
        );
        fault.detail = Some(detail.into());
        fault
    }

    /// The body is larger than the limit; 413 for the client when nobody else answers.
    pub fn too_large(limit: usize) -> Fault {
        let mut fault = Fault::new(
            codes::MALFORMED_BODY,
            format!("The message body is larger than the limit of {limit} bytes"),
            Origin::Client,
            Report::Always,
        );
        fault.status = Some(413);
        fault
    }

    /// An endpoint or group refuses or fails (spec 02 §8.1).
    pub fn endpoint(code: u32, message: impl Into<String>) -> Fault {
        Fault::new(code, message.into(), Origin::Backend, Report::Always)
    }

    /// The client's message is to blame, not the configuration.
    #[must_use]
    pub fn of_client(mut self) -> Fault {
        self.origin = Origin::Client;
        self
    }

    /// Remembers where the mediator is written, if nobody nearer did.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Fault {
        self.place.get_or_insert_with(|| place.clone());
        self
    }
}

impl From<TooLong> for Fault {
    fn from(TooLong(most): TooLong) -> Fault {
        Fault::mediation(format!(
            "The content would have more than {most} bytes as XML"
        ))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// `ERROR_CODE` values (spec 01 §10, spec 02 §8.1).
pub mod codes {
    /// The callback timeout of an endpoint.
    pub const SEND_TIMEOUT: u32 = 101_504;
    /// Connection refused, host unknown, unreachable.
    pub const CONNECTION_FAILED: u32 = 101_503;
    /// A group has no ready child.
    pub const NO_READY_CHILD: u32 = 303_000;
    /// A leaf endpoint is suspended or off.
    pub const NOT_READY: u32 = 303_001;
    /// The response of a back-end is larger than the validated message size: response processing
    /// failed.
    pub const RESPONSE_TOO_LARGE: u32 = 101_510;
    /// The WSDL of an endpoint cannot be used.
    pub const WSDL: u32 = 303_002;
    /// The credentials of an http endpoint could not be had.
    pub const AUTHENTICATION: u32 = 303_003;
    /// Circuit breaker thresholds of an endpoint refuse the request (not in the reference).
    pub const OVERFLOW: u32 = 303_200;
    /// An endpoint key does not resolve.
    pub const UNDEFINED_ENDPOINT: u32 = 305_100;
    /// The endpoint that a session is bound to is not ready.
    pub const SESSION_NOT_READY: u32 = 309_001;
    /// A blocking call failed.
    pub const BLOCKING_FAILED: u32 = 401_002;
    /// A call threw before anything was sent.
    pub const CALL_FAILED: u32 = 401_003;
    /// A SOAP fault is treated as an error on request.
    pub const FORCED_SOAP_FAULT: u32 = 500_000;
    /// A mandatory parameter of a template has no value.
    pub const MISSING_PARAMETER: u32 = 500_101;
    /// A callout failed.
    pub const CALLOUT_FAILED: u32 = 401_000;
    /// A body cannot be parsed.
    pub const MALFORMED_BODY: u32 = 601_000;
}
