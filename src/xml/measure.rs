//! How long a tree is as text. A tree with many copies of a long text, name or namespace is small in memory, as copies
//! share what they say, and may be huge when it is written.

use super::document::{Document, NodeId, NodeKind, Store};

/// A tree is longer as XML than somebody allows: so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {0} bytes as XML")]
pub struct TooLong(pub usize);

/// Most bytes that a character becomes when it is escaped.
const ESCAPED: usize = 6;

impl Document {
    /// The subtree as XML text of at most about `most` bytes.
    ///
    /// # Errors
    /// When it is longer; no more than that is written before this is seen.
    pub fn xml_within(&self, n: NodeId, most: usize) -> Result<String, TooLong> {
        let mut out = Vec::new();
        match self.write_up_to(n, &mut out, most) {
            true => Ok(String::from_utf8(out).unwrap_or_default()),
            false => Err(TooLong(most)),
        }
    }

    /// Whether [`Document::xml_within`] would fail. Nearly always this is known without writing anything.
    pub fn is_longer_than(&self, n: NodeId, most: usize) -> bool {
        if self.longest_text() <= most {
            return false;
        }
        !self.write_up_to(n, &mut Vec::new(), most)
    }

    /// No tree of this document is longer as XML, in bytes.
    pub fn longest_text(&self) -> usize {
        let values = |store: Store, start: u32, len: u32| match store {
            // Written as it came.
            Store::Source => len as usize + ESCAPED,
            Store::Side => len as usize * ESCAPED,
            Store::Owned => {
                let text = self.owned.get(start as usize);
                text.map_or(0, |text| text.len() * ESCAPED)
            }
        };
        // An element has its name twice and may have to declare the prefix.
        let name = self.names.longest().saturating_mul(5 + ESCAPED) + 32;
        let mut sum = (self.nodes.len() + self.attrs.len()).saturating_mul(name);
        for node in &self.nodes {
            // Of an element these are places in the table of attributes.
            if node.kind != NodeKind::Element {
                sum = sum.saturating_add(values(node.store, node.start, node.len));
            }
        }
        for attr in &self.attrs {
            sum = sum.saturating_add(match attr.declaration {
                true => 0,
                false => values(attr.store, attr.start, attr.len),
            });
        }
        sum
    }
}
