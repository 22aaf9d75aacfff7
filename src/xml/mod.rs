//! Message trees: reader, compact mutable tree, writer.
//!
//! A message body is parsed once into a [`Document`], an arena of small index-linked nodes whose text stays in the
//! bytes that arrived. Names are interned per document, so that path evaluation compares integers. Parsing is strict:
//! well-formedness and namespaces are checked completely, document types are always refused, and every size is
//! bounded by [`Limits`]. Writing copies untouched parts byte for byte.
//!
//! Nothing in this room recurses over the depth of a document and nothing panics on input or on a foreign or stale
//! [`NodeId`]: such an id reads as "nothing there" and editing it does nothing.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        missing_docs
    )
)]

mod chars;
mod decode;
mod document;
mod edit;
mod error;
mod flaw;
mod import;
mod measure;
mod names;
mod numbered;
mod parse;
mod peek;
mod prolog;
mod scan;
mod skim;
#[cfg(test)]
mod tests;
mod token;
mod tools;
mod words;
mod write;

pub use chars::is_xml_char;
pub use decode::{decode, decode_to_read};
pub use document::{AttrRef, Declaration, Document, Named, NodeId, NodeKind};
pub use error::{Limits, Problem, XmlError};
pub use flaw::Flaw;
pub use measure::TooLong;
pub use names::ExpandedName;
pub use numbered::{Numbered, NumberedBelow};
pub use peek::{RootName, root_name};
pub use scan::{Opened, Scan, Scanner, Text, Unreadable, Visit};
pub use write::{escape_attribute, escape_text};

/// Namespace of the predefined prefix `xml`.
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// Namespace of namespace declarations; never bound to another prefix than `xmlns`.
pub const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";
