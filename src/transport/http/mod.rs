//! HTTP/1.1 on both sides of the gateway.

pub mod client;
mod clock;
mod h1;
mod outcome;
mod pool;
pub mod server;
mod shutdown;
mod target;

pub use client::{Client, ClientSettings, Patience};
pub(crate) use outcome::describe;
pub use outcome::{SendError, SendErrorKind};
pub use server::{Handler, ListenerSettings, OpenConnections, Peer, serve};
pub use shutdown::{Beside, Shutdown, beside, uncancelled};
pub use target::{Scheme, Target, TargetError};
