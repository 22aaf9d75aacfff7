//! `optimize` of an endpoint.

/// `optimize`: how SOAP goes out with its attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimize {
    /// Binary content in parts of their own.
    Mtom,
    /// Attachments as they are.
    Swa,
}

impl Optimize {
    /// The axis2 property that says the same for one message.
    pub(super) fn property(self) -> &'static str {
        match self {
            Optimize::Mtom => "enableMTOM",
            Optimize::Swa => "enableSwA",
        }
    }
}
