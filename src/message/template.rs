//! Parameters of sequence templates, as the message carries them (spec 03 §26).

use super::Value;
use std::any::Any;
use std::sync::Arc;

/// The parameters of one call of a sequence template (spec 03 §26).
#[derive(Debug, Default)]
pub struct TemplateCall {
    /// Names and values.
    pub parameters: Vec<(String, Parameter)>,
}

/// The value of a template parameter.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// Neither given nor defaulted.
    Null,
    /// Evaluated where the template was called.
    Value(Value),
    /// An expression that is evaluated where the template uses it; `expr` knows its type.
    Deferred(Arc<dyn Any + Send + Sync>),
}
