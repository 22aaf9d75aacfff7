//! Myelin: a native runtime for Apache Synapse and WSO2 Micro Integrator configurations.
//!
//! The rooms, from the top down; a room imports only those below it (`docs/architecture.md`).

pub mod cli;
pub mod server;

pub mod admin;
pub mod deploy;
pub mod entry;

pub mod engine;
pub mod plan;

pub mod artifact;
pub mod mediator;

pub mod endpoint;
pub mod syntax;
pub mod transport;

pub mod expr;
pub mod message;

pub mod json;
pub mod xml;

pub mod clock;
pub mod diag;
pub mod metrics;
pub mod settings;
