//! The kind of a document, from its beginning.

use super::error::Limits;
use super::scan::{Opened, Scan, Scanner, Text, Unreadable, Visit};

/// Name of the root element, as far as the bytes given tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootName {
    /// The start tag of the root element was read.
    Found {
        /// Namespace, empty when there is none.
        namespace: String,
        /// Local name.
        local: String,
    },
    /// The start tag of the root element does not end within the bytes given.
    Incomplete,
    /// The bytes given are not well-formed, or exceed the default [`Limits`].
    Malformed,
}

/// The name of the root element, from the first bytes of a document in UTF-8.
pub fn root_name(input: &[u8]) -> RootName {
    let mut root = Root(None);
    let mut scanner = Scanner::new(&Limits::default(), true);
    match (scanner.run(input, false, &mut root), root.0) {
        (Ok(Scan::Stopped), Some((namespace, local))) => RootName::Found { namespace, local },
        (Ok(_), _) => RootName::Incomplete,
        (Err(Unreadable), _) => RootName::Malformed,
    }
}

/// Takes the first element there is.
struct Root(Option<(String, String)>);

impl Visit for Root {
    fn open(&mut self, element: &Opened<'_>, _: u64) -> Result<bool, Unreadable> {
        self.0 = Some((element.namespace().to_owned(), element.local().to_owned()));
        Ok(true)
    }

    fn close(&mut self) -> Result<bool, Unreadable> {
        Ok(true)
    }

    fn text(&mut self, _: Text<'_>) -> Result<bool, Unreadable> {
        Ok(false)
    }
}
