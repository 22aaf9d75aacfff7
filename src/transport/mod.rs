//! Sockets: HTTP/1.1 listeners and clients, and TLS for both.
//!
//! Each worker runs a current-thread runtime with its own listening socket and its own client, so
//! that a message never changes threads (design §6).

pub mod http;
pub mod outside;
pub mod redis;
pub mod tcp;
pub mod tls;

#[cfg(test)]
mod tests;
