//! HTTP/1.1 (RFC 9112) on both sides of the gateway.
//!
//! hyper gives each of its client's connections a task and hands requests, responses and bodies over
//! through channels; its server keeps a buffer for every connection and hands bodies over through
//! channels, too. Here whoever waits moves the connection itself: the flow that waits for a response
//! ([`Wire`]), and the task of a client's connection, which runs the flow ([`Line`]). A connection
//! without a request holds no buffer. What is accepted and what is refused is the same, but for less
//! trust: where a message leaves any doubt about where it ends, the connection is not used again.

mod answer;
mod body;
mod early;
mod head;
mod input;
mod output;
mod request;
mod serve;
mod wire;

pub(super) use early::{Both, drive};
pub(super) use input::poll_read;
pub(super) use request::ServeLimits;
pub(super) use serve::{Broken, Line, Next};
pub(super) use wire::{Trouble, Wire, WireLimits};

#[cfg(test)]
mod tests;
