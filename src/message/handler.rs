//! Fault handlers on a message's stack (spec 01 §9.1).

/// A sequence of the plan that the message runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub u32);

/// An endpoint of the plan that the message runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(pub u32);

/// One entry of the fault stack. Endpoints are not entries here: sending is one awaited call, so
/// a leaf or group handles its failure where it sent.
pub type Handler = SequenceId;
