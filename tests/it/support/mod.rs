//! The machinery behind `tests/cases`; the format is described in `tests/cases/README.md`.

/// Scripted back-ends on loopback sockets.
pub(crate) mod backend;
/// Compares what came with what was expected.
pub(crate) mod check;
/// Sends the requests of steps.
pub(crate) mod client;
/// `case.toml` as types.
pub(crate) mod format;
/// The real program as a process of its own.
pub(crate) mod program;
/// Runs one case from start to stop.
pub(crate) mod run;
/// `{{NAME}}` in texts.
pub(crate) mod vars;
/// The verbs of steps that touch the deployment directory or look at reports.
pub(crate) mod verbs;
/// HTTP/1 on a byte stream, for both sides.
pub(crate) mod wire;
