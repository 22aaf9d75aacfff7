//! What went wrong with a request to a back end, and the error codes that flows see for it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use super::h1::Trouble;
use crate::message::request::WireRequest;
use crate::message::stream::StreamError;

/// States of a back-end exchange, as their ordinals enter the error codes (spec 02 §8.2).
mod state {
    pub(super) const REQUEST_READY: u32 = 0;
    pub(super) const REQUEST_HEAD: u32 = 1;
    pub(super) const REQUEST_BODY: u32 = 2;
    pub(super) const REQUEST_DONE: u32 = 3;
}

/// Why no response came back from a back end (spec 02 §8.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendErrorKind {
    /// No connection: refused, unknown host, unreachable.
    Refused,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The TLS handshake failed, or the certificate or its host name were not accepted.
    Tls,
    /// The back end closed the connection while the request was being written.
    ClosedWriting {
        /// Whether the body was under way (otherwise only the head).
        body_started: bool,
    },
    /// The back end closed the connection after the request, before a response.
    Closed,
    /// The connection was reset or failed.
    Reset {
        /// Whether the request was written whole; otherwise its head was not.
        written: bool,
    },
    /// The connection was reset or failed while the request body was being written.
    ResetInBody,
    /// No byte went either way for as long as the socket timeout.
    Silent {
        /// The request was written whole.
        complete: bool,
        /// The body was under way (otherwise only the head).
        body_started: bool,
    },
    /// What came back is no HTTP response, or its head is too large.
    Malformed,
    /// The body to be sent failed; the back end is not to blame.
    BodyFailed(StreamError),
    /// No response within the time that the caller gave; it knows better what that means.
    Expired,
    /// The request could not be sent for a reason of our own.
    Other,
}

impl SendErrorKind {
    /// `ERROR_CODE`: base code plus protocol state.
    pub fn code(&self) -> u32 {
        self.base_code() + self.protocol_state()
    }

    /// `BASE_ERROR_CODE`.
    pub fn base_code(&self) -> u32 {
        match self {
            Self::Refused => 101_503,
            Self::ConnectTimeout => 101_508,
            Self::Tls | Self::Reset { .. } | Self::ResetInBody | Self::BodyFailed(_) => 101_500,
            Self::ClosedWriting { .. } | Self::Closed => 101_505,
            Self::Silent { .. } | Self::Expired => 101_504,
            Self::Malformed => 101_506,
            Self::Other => 102_510,
        }
    }

    /// `PROTOCOL_STATE_ON_FAILURE`.
    pub fn protocol_state(&self) -> u32 {
        match self {
            Self::Refused | Self::ConnectTimeout | Self::Tls | Self::Other => state::REQUEST_READY,
            Self::ClosedWriting {
                body_started: false,
            }
            | Self::Reset { written: false }
            | Self::Silent {
                complete: false,
                body_started: false,
            } => state::REQUEST_HEAD,
            Self::ClosedWriting { body_started: true }
            | Self::ResetInBody
            | Self::BodyFailed(_)
            | Self::Silent {
                complete: false,
                body_started: true,
            } => state::REQUEST_BODY,
            Self::Closed
            | Self::Reset { written: true }
            | Self::Malformed
            | Self::Expired
            | Self::Silent { complete: true, .. } => state::REQUEST_DONE,
        }
    }

    /// `ERROR_MESSAGE`.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Refused | Self::ConnectTimeout => "Error connecting to the back end",
            _ => "Error in Sender",
        }
    }
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// What happened.
    pub kind: SendErrorKind,
    /// The cause in words, for `ERROR_DETAIL` and logs.
    pub detail: String,
    /// The request, given back when there was no connection for it: it may be sent elsewhere.
    pub unsent: Option<Box<WireRequest>>,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.message(), self.detail)
    }
}

impl StdError for SendError {}

/// What is known of an exchange when it failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Bytes of the request went out.
    pub wrote: bool,
    pub body_started: bool,
    /// The whole request was handed to the kernel.
    pub complete: bool,
    /// Reading or writing failed with an I/O error.
    pub failed: bool,
}

/// Names the failure of an exchange on an established connection, and says it in words.
pub(super) fn classify(trouble: Trouble, progress: Progress) -> (SendErrorKind, String) {
    let detail = match trouble {
        Trouble::Body(cause) => {
            let detail = cause.to_string();
            return (SendErrorKind::BodyFailed(cause), detail);
        }
        Trouble::Malformed(words) => return (SendErrorKind::Malformed, words.to_owned()),
        Trouble::Closed => "connection closed before message completed".to_owned(),
        Trouble::Io(error) => format!("connection error: {}", describe(&error)),
    };
    let kind = match (progress.complete, progress.failed) {
        (true, false) => SendErrorKind::Closed,
        (true, true) => SendErrorKind::Reset { written: true },
        (false, false) => SendErrorKind::ClosedWriting {
            body_started: progress.wrote && progress.body_started,
        },
        (false, true) if progress.wrote && progress.body_started => SendErrorKind::ResetInBody,
        (false, true) => SendErrorKind::Reset { written: false },
    };
    (kind, detail)
}

/// Names the failure of a connection attempt.
pub(super) fn classify_connect(error: &io::Error) -> SendErrorKind {
    match error.kind() {
        io::ErrorKind::TimedOut => SendErrorKind::ConnectTimeout,
        _ => SendErrorKind::Refused,
    }
}

/// The whole chain of an error in one line.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_base_plus_state() {
        let code = |kind: SendErrorKind| kind.code();
        assert_eq!(code(SendErrorKind::Refused), 101_503);
        assert_eq!(code(SendErrorKind::ConnectTimeout), 101_508);
        assert_eq!(code(SendErrorKind::Tls), 101_500);
        let closed = |body_started| SendErrorKind::ClosedWriting { body_started };
        assert_eq!(code(closed(false)), 101_506);
        assert_eq!(code(closed(true)), 101_507);
        assert_eq!(code(SendErrorKind::Closed), 101_508);
        assert_eq!(code(SendErrorKind::Reset { written: true }), 101_503);
        assert_eq!(code(SendErrorKind::Reset { written: false }), 101_501);
        assert_eq!(code(SendErrorKind::ResetInBody), 101_502);
        assert_eq!(code(SendErrorKind::Malformed), 101_509);
        let silent = |complete, body_started| SendErrorKind::Silent {
            complete,
            body_started,
        };
        assert_eq!(code(silent(false, false)), 101_505);
        assert_eq!(code(silent(false, true)), 101_506);
        assert_eq!(code(silent(true, true)), 101_507);
        assert_eq!(
            SendErrorKind::Refused.message(),
            "Error connecting to the back end"
        );
        assert_eq!(SendErrorKind::Closed.message(), "Error in Sender");
    }
}
