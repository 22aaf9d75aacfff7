//! The registry of diagnostic codes. A number is never reused once it was released.

use std::fmt;

/// A stable diagnostic code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{:04}", self.0)
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: Code = Code($number);)*
        /// Every code with its meaning, in the order of the numbers.
        pub const ALL: &[(Code, &str)] = &[$((Code($number), $text)),*];
    };
}

codes! {
    MALFORMED_XML = 1, "The file is not well-formed XML.";
    UNREADABLE = 2, "The file cannot be read.";
    UNKNOWN_ARTIFACT = 3, "The root element is not an artifact that Myelin knows.";
    UNKNOWN_ELEMENT = 4, "An element is not allowed at this place.";
    UNKNOWN_ATTRIBUTE = 5, "An attribute is not known on this element; it has no effect.";
    NO_NAMESPACE = 6, "The element has no namespace; it is read as if it had the Synapse namespace.";
    MISSING_ATTRIBUTE = 7, "A required attribute is missing.";
    INVALID_VALUE = 8, "The value of an attribute or element is not allowed.";
    MISSING_ELEMENT = 9, "A required child element is missing.";
    CONFLICT = 10, "Two settings exclude each other.";
    UNSUPPORTED = 11, "The feature is not supported by this version of Myelin.";
    STRAY_TEXT = 12, "Text at a place where only elements are read; it has no effect.";
    INVALID_EXPRESSION = 13, "An expression does not compile.";
    SUSPICIOUS_EXPRESSION = 14, "An expression compiles but fails whenever it is evaluated, or hardly does what it seems to.";
    UNKNOWN_MEDIATOR = 101, "No mediator has this name.";
    UNDEFINED_ENDPOINT = 102, "An endpoint that is referred to is not defined.";
    UNDEFINED_SEQUENCE = 103, "A sequence that is referred to is not defined.";
    DUPLICATE_NAME = 104, "Two artifacts of one kind have the same name.";
    SEQUENCE_CYCLE = 105, "Sequences call each other in a circle.";
    UNREACHABLE = 106, "A mediator can never be reached.";
    UNDEFINED_TEMPLATE = 120, "A template that is referred to is not defined, or does not fit its parameters.";
    TEMPLATE_LIMIT = 121, "Endpoint templates that use each other make too much out of one endpoint.";
    ENDPOINT_LIMIT = 122, "An endpoint leads to too many endpoints through its references.";
    UNDEFINED_ENTRY = 130, "A local entry or registry resource that is referred to does not exist.";
}
