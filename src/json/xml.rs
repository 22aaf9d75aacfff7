//! JSON as XML and XML as JSON, with the conventions of StAXON as WSO2 MI configures it
//! (spec 01 §17.2–17.4).

mod from_xml;
mod names;
mod options;
mod to_xml;

pub use from_xml::{from_xml, to_value};
pub use options::{Options, OptionsError, Replacement};
pub use to_xml::{to_xml, value_to_xml};

use super::JsonError;

/// Root element of a JSON object (spec 01 §17.2).
pub const OBJECT: &str = "jsonObject";
/// Root element of a JSON array, and of an array inside an array (spec 01 §17.2).
pub const ARRAY: &str = "jsonArray";
/// An item of a [`ARRAY`] element (spec 01 §17.2).
pub const ELEMENT: &str = "jsonElement";
/// Root element of any other JSON value (spec 01 §17.2).
pub const VALUE: &str = "jsonValue";

/// Target of the processing instruction that announces an array (spec 01 §17.2).
const MULTIPLE: &str = "xml-multiple";
/// Most attributes of one element, as many as a document that is read may have.
const MAX_ATTRIBUTES: usize = 1000;
/// Most bytes that a JSON text may have when it is written as XML; a large text, this many times its own.
const MAX_WRITTEN: usize = 256 << 20;
const MAX_TIMES: usize = 4;
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Why a body could not be converted between JSON and XML (spec 01 §17.2, §17.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// The body is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member such as `"@id"` or `"$"` holds an object or array, which no attribute or text can.
    #[error("member {0:?} must hold a simple value to become an attribute or text")]
    NotSimple(String),
    /// A member name that leaves no name for an element or attribute.
    #[error("member {0:?} has no name that XML could use")]
    EmptyName(String),
    /// An object has more members such as `"@id"` than an element may have attributes.
    #[error("an element would have more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// Each item of an array repeats the name of the array: a small text would become a huge one.
    #[error("the XML would be much larger than the JSON text")]
    TooLarge,
    /// Text beside elements, as StAXON words it.
    #[error("Mixed content is not supported: '{0}'")]
    MixedContent(String),
    /// The XML nests deeper than JSON may.
    #[error("XML is nested too deeply to become JSON")]
    TooDeep,
    /// The node to convert is not an element.
    #[error("only an element can become JSON")]
    NotAnElement,
}

#[cfg(test)]
mod tests;
