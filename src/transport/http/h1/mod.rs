//! The client side of HTTP/1.1 (RFC 9112): one request and its response over a connection.
//!
//! hyper's client gives each connection a task and hands requests, responses and bodies over through
//! channels. Here the flow that waits for a response moves the connection itself, which costs less
//! than half. What is accepted and what is refused is the same, but for less trust: a connection
//! whose response left any doubt about where it ends is not used again.

mod body;
mod early;
mod head;
mod wire;

pub(super) use early::{Both, drive};
pub(super) use wire::{Trouble, Wire, WireLimits};

#[cfg(test)]
mod tests;
