//! Tests of the whole program: real files, real sockets, the real binary.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "failing is what tests are for; clippy.toml allows it in test functions, not in their helpers"
)]

/// Bodies and expressions that are made to explode.
mod bad_input;
/// Runs every folder of `tests/cases` against a server in this process.
mod cases;
/// Failing back-ends under load.
mod chaos;
/// The database mediators on real servers.
mod databases;
/// Snapshots of what the command line prints.
mod help;
/// Bad input and hostile clients: everything is answered or closed, within bounds.
mod limits;
/// Recorded answers of the reference's engines.
mod oracle;
/// The real program: logs, exit codes, signals, the sample.
mod process;
/// The well-known properties and the cases that show them.
mod properties;
/// The pages about mediators, and that they are true.
mod reference;
/// Health checks, metrics and events of endpoints.
mod resilience;
/// The tables of the specification, row by row.
mod rows;
/// The scenario rows of the specification.
mod scenarios;
/// Several runtimes that share their sessions.
mod sessions;
/// Reloading under load.
mod soak;
/// Splitting and aggregating under load.
mod split;
/// What the cases are made of: their format, scripted back-ends, an HTTP client, the runner.
mod support;
/// Rules about the source text that no compiler checks.
mod tidy;
