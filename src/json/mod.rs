//! JSON as messages carry it: a tree that loses nothing of the text it was read from, its reader
//! and writer, and the XML view of it (spec 01 §17).

pub mod badgerfish;
mod classify;
mod compact;
mod java;
mod lenient;
pub mod number;
mod parse;
mod plain;
mod value;
mod write;
pub mod xml;

pub use classify::{Kind, classify};
pub use compact::compact;
pub use lenient::parse_lenient;
pub use parse::{JsonError, JsonErrorKind, Limits, MAX_DEPTH, parse};
pub use value::{Members, Value};
pub use write::{to_text, write};
pub use xml::{ConversionError, Options, from_xml, to_xml};

#[cfg(test)]
mod tests;
