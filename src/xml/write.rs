//! From tree to text, by the serialisation rules of section 16.4 of the core specification.
//!
//! Declarations are written where they are and names are never re-prefixed. A name whose prefix does not mean its
//! namespace at that place (after edits) gets a declaration on its own element. An untouched element in its original
//! surroundings is copied from the source in one piece when its source text already follows the rules.

use super::document::{Document, NONE, Node, NodeId, NodeKind, Store};
use super::names::{EMPTY, Scope};

/// Where `xsi:type` lives, the one attribute whose value is known to contain a prefix.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

impl Document {
    /// Appends the subtree as XML text. An element that is not written from the document node carries the
    /// declarations it needs and inherits. No XML declaration is written.
    pub fn write(&self, n: NodeId, out: &mut Vec<u8>) {
        self.write_up_to(n, out, usize::MAX);
    }

    /// [`Document::write`], unless that takes more than about so many bytes: a tree with many copies of a long name or
    /// namespace is small in memory and may be huge as text. `false` when it was given up.
    pub fn write_up_to(&self, n: NodeId, out: &mut Vec<u8>, most: usize) -> bool {
        let most = out.len().saturating_add(most);
        let mut writer = Writer {
            document: self,
            out,
            most,
            scope: Scope::default(),
            open: Vec::new(),
            missing: Vec::new(),
        };
        match self.kind(n) {
            NodeKind::Document => writer.children_of_document(n),
            NodeKind::Element => writer.top_element(n),
            _ => writer.leaf(n),
        }
        out.len() <= most
    }

    /// [`Document::write`] into a new string.
    pub fn to_xml(&self, n: NodeId) -> String {
        let mut out = Vec::new();
        self.write(n, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// The (prefix, namespace) string ids that names in the subtree of `n` use and inherit from above `n`.
    pub(super) fn inherited_bindings(&self, n: NodeId) -> Vec<(u32, u32)> {
        let mut inherited = Vec::new();
        let Some(outside) = self
            .parent(n)
            .filter(|&above| self.kind(above) == NodeKind::Element)
        else {
            return inherited;
        };
        if n.0 == self.source_root && self.node(n).is_some_and(|node| node.is(Node::CLEAN)) {
            return inherited;
        }
        let type_name = self.name_id(SCHEMA_INSTANCE, "type");
        let mut outer = Scope::default();
        let mut inner = Scope::default();
        let mut marks = Vec::new();
        let mut at = n;
        loop {
            let mark = inner.mark();
            let entries = self.attr_entries(at);
            for attr in entries.iter().filter(|attr| attr.declaration) {
                inner.bind(attr.name, attr.start);
            }
            let mut uses = |prefix: u32, namespace: Option<u32>| {
                let known = inner.resolve(prefix).or_else(|| outer.resolve(prefix));
                if known.is_some() && (namespace.is_none() || known == namespace) {
                    return;
                }
                let wanted = namespace.or_else(|| self.binding(outside, prefix));
                let Some(wanted) = wanted else { return };
                if known.is_none() && self.binding(outside, prefix) == Some(wanted) {
                    outer.bind(prefix, wanted);
                    inherited.push((prefix, wanted));
                } else {
                    inner.bind(prefix, wanted);
                }
            };
            if self.kind(at) == NodeKind::Element {
                let (prefix, expanded) = self.names.qualified(self.name_of(at));
                uses(prefix, Some(self.names.expanded(expanded).0));
            }
            for attr in entries.iter().filter(|attr| !attr.declaration) {
                let (prefix, expanded) = self.names.qualified(attr.name);
                if prefix != EMPTY {
                    uses(prefix, Some(self.names.expanded(expanded).0));
                }
                if Some(expanded) == type_name {
                    let value = self.value(attr.value()).trim_start();
                    let prefix = value
                        .split_once(':')
                        .and_then(|(prefix, _)| self.names.find_string(prefix));
                    if let Some(prefix) = prefix.filter(|&prefix| prefix != EMPTY) {
                        uses(prefix, None);
                    }
                }
            }
            if let Some(child) = self.first_child(at) {
                marks.push(mark);
                at = child;
                continue;
            }
            inner.unwind(mark);
            loop {
                if at == n {
                    inherited.retain(|&(prefix, namespace)| {
                        namespace != EMPTY && self.names.string(prefix) != "xml"
                    });
                    return inherited;
                }
                if let Some(next) = self.next_sibling(at) {
                    at = next;
                    break;
                }
                match self.parent(at) {
                    Some(above) => at = above,
                    None => return inherited,
                }
                inner.unwind(marks.pop().unwrap_or(0));
            }
        }
    }
}

/// An element whose end tag is still to be written.
struct Open {
    node: NodeId,
    mark: usize,
    /// The bindings in scope inside are those the source has there.
    as_in_source: bool,
}

struct Writer<'a> {
    document: &'a Document,
    out: &'a mut Vec<u8>,
    /// What is longer than this is given up.
    most: usize,
    scope: Scope,
    open: Vec<Open>,
    /// Declarations to be added to the element being written.
    missing: Vec<(u32, u32)>,
}

impl Writer<'_> {
    fn children_of_document(&mut self, n: NodeId) {
        let document = self.document;
        for child in document.children(n) {
            if document.kind(child) == NodeKind::Element {
                self.element(child, false);
            } else {
                self.leaf(child);
            }
        }
    }

    fn top_element(&mut self, n: NodeId) {
        self.missing = self.document.inherited_bindings(n);
        let as_in_source = self.document.surroundings_as_in_source(n);
        if !self.missing.is_empty() {
            // Cannot be copied, its start tag changes. What it inherits is then as in the source.
            for &(prefix, namespace) in &self.missing {
                self.scope.bind(prefix, namespace);
            }
            if !self.start_tag(n, as_in_source) {
                return;
            }
            self.contents();
        } else {
            self.element(n, as_in_source);
        }
    }

    /// Writes an element with everything in it. `as_in_source`: the bindings in scope are those of the source.
    fn element(&mut self, n: NodeId, as_in_source: bool) {
        if self.child_element(n, as_in_source) {
            self.contents();
        }
    }

    /// Writes the content and end tags of the open elements.
    fn contents(&mut self) {
        let document = self.document;
        let mut next = self
            .open
            .last()
            .and_then(|open| document.first_child(open.node));
        loop {
            if self.out.len() > self.most {
                return;
            }
            let Some(n) = next else {
                let Some(open) = self.open.pop() else { return };
                self.out.extend_from_slice(b"</");
                self.qualified_name(document.name_of(open.node));
                self.out.push(b'>');
                self.scope.unwind(open.mark);
                if self.open.is_empty() {
                    return;
                }
                next = document.next_sibling(open.node);
                continue;
            };
            if document.kind(n) == NodeKind::Element {
                let as_in_source = self.open.last().is_some_and(|open| open.as_in_source);
                if self.child_element(n, as_in_source) {
                    next = document.first_child(n);
                    continue;
                }
            } else {
                self.leaf(n);
            }
            next = document.next_sibling(n);
        }
    }

    /// Copies an element or writes its start tag; tells whether content and end tag remain to be written.
    fn child_element(&mut self, n: NodeId, as_in_source: bool) -> bool {
        let document = self.document;
        let Some(node) = document.node(n) else {
            return false;
        };
        let as_in_source = if n.0 == document.source_root {
            // It needs no binding from outside, but must not get a default namespace.
            self.scope.resolve(EMPTY).unwrap_or(EMPTY) == EMPTY
        } else {
            as_in_source && !node.is(Node::MOVED)
        };
        if as_in_source
            && node.is(Node::CLEAN)
            && let Some(source) = &document.source
            && let Some(text) = source.get(node.from as usize..node.to as usize)
        {
            self.out.extend_from_slice(text);
            return false;
        }
        self.start_tag(n, as_in_source)
    }

    /// Writes a start tag, or the whole of an empty element; tells whether content and end tag remain.
    fn start_tag(&mut self, n: NodeId, as_in_source: bool) -> bool {
        let document = self.document;
        let Some(node) = document.node(n) else {
            return false;
        };
        let entries = document.attr_entries(n);
        let mark = self.scope.mark();
        for attr in entries.iter().filter(|attr| attr.declaration) {
            self.scope.bind(attr.name, attr.start);
        }
        self.require(node.name);
        for attr in entries.iter().filter(|attr| !attr.declaration) {
            // Without prefix an attribute has no namespace, whatever the default is.
            if document.names.qualified(attr.name).0 != EMPTY {
                self.require(attr.name);
            }
        }
        self.out.push(b'<');
        self.qualified_name(node.name);
        for (prefix, namespace) in std::mem::take(&mut self.missing) {
            self.declaration(prefix, namespace);
        }
        for attr in entries {
            if attr.declaration {
                self.declaration(attr.name, attr.start);
                continue;
            }
            self.out.push(b' ');
            self.qualified_name(attr.name);
            self.out.extend_from_slice(b"=\"");
            match attr.store {
                Store::Source => self
                    .out
                    .extend_from_slice(document.value_bytes(attr.value())),
                _ => escape_attribute(document.value(attr.value()), self.out),
            }
            self.out.push(b'"');
        }
        let is_empty_text = |child: NodeId| {
            document.kind(child) == NodeKind::Text && document.text(child).is_empty()
        };
        if document.children(n).all(is_empty_text) {
            self.out.extend_from_slice(b"/>");
            self.scope.unwind(mark);
            return false;
        }
        self.out.push(b'>');
        self.open.push(Open {
            node: n,
            mark,
            as_in_source: as_in_source && !node.is(Node::REBOUND),
        });
        true
    }

    /// Makes sure that the prefix of a name means its namespace.
    fn require(&mut self, name: u32) {
        let names = &self.document.names;
        let (prefix, expanded) = names.qualified(name);
        let namespace = names.expanded(expanded).0;
        let bound = self.scope.resolve(prefix);
        if bound == Some(namespace) || (bound.is_none() && namespace == EMPTY) {
            return;
        }
        self.require_anew(prefix, namespace);
    }

    #[inline(never)]
    fn require_anew(&mut self, prefix: u32, namespace: u32) {
        if self.document.names.string(prefix) != "xml" {
            self.missing.push((prefix, namespace));
            self.scope.bind(prefix, namespace);
        }
    }

    fn declaration(&mut self, prefix: u32, namespace: u32) {
        let names = &self.document.names;
        self.out.extend_from_slice(b" xmlns");
        if prefix != EMPTY {
            self.out.push(b':');
            self.out.extend_from_slice(names.string(prefix).as_bytes());
        }
        self.out.extend_from_slice(b"=\"");
        escape_attribute(names.string(namespace), self.out);
        self.out.push(b'"');
    }

    fn qualified_name(&mut self, name: u32) {
        let names = &self.document.names;
        let (prefix, expanded) = names.qualified(name);
        if prefix != EMPTY {
            self.out.extend_from_slice(names.string(prefix).as_bytes());
            self.out.push(b':');
        }
        self.out
            .extend_from_slice(names.string(names.expanded(expanded).1).as_bytes());
    }

    fn leaf(&mut self, n: NodeId) {
        let document = self.document;
        let Some(node) = document.node(n) else { return };
        match node.kind {
            NodeKind::Text => {
                let bytes = document.value_bytes(node.value());
                // A range of the source needs no escapes, except that `]]>` may come about across two nodes.
                if node.store == Store::Source && !matches!(bytes.first(), Some(b'>' | b']')) {
                    self.out.extend_from_slice(bytes);
                } else {
                    escape_text(document.text(n), self.out);
                }
            }
            NodeKind::CData => {
                self.out.extend_from_slice(b"<![CDATA[");
                self.separated(document.text(n), "]]>", "]]]]><![CDATA[>");
                self.out.extend_from_slice(b"]]>");
            }
            NodeKind::Comment => {
                self.out.extend_from_slice(b"<!--");
                let mut last = b' ';
                for &byte in document.text(n).as_bytes() {
                    if (last, byte) == (b'-', b'-') {
                        self.out.push(b' ');
                    }
                    self.out.push(byte);
                    last = byte;
                }
                if last == b'-' {
                    self.out.push(b' ');
                }
                self.out.extend_from_slice(b"-->");
            }
            NodeKind::ProcessingInstruction => {
                self.out.extend_from_slice(b"<?");
                self.qualified_name(node.name);
                let text = document.text(n);
                if !text.is_empty() {
                    self.out.push(b' ');
                    self.separated(text, "?>", "? >");
                }
                self.out.extend_from_slice(b"?>");
            }
            NodeKind::Document | NodeKind::Element => {}
        }
    }

    /// Writes text, replacing what would end the construct it stands in.
    fn separated(&mut self, text: &str, end: &str, replacement: &str) {
        let mut pieces = text.split(end);
        self.out
            .extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
        for piece in pieces {
            self.out.extend_from_slice(replacement.as_bytes());
            self.out.extend_from_slice(piece.as_bytes());
        }
    }
}

impl Document {
    /// Whether the bindings in scope at an element are those its source text has there.
    fn surroundings_as_in_source(&self, n: NodeId) -> bool {
        let mut at = n;
        loop {
            if at.0 == self.source_root {
                return self.source_root != NONE;
            }
            let Some(node) = self.node(at) else {
                return false;
            };
            if node.is(Node::MOVED) {
                return false;
            }
            let Some(above) = self.parent(at) else {
                return false;
            };
            if self.node(above).is_some_and(|node| node.is(Node::REBOUND)) {
                return false;
            }
            at = above;
        }
    }
}

/// Appends character data: `&`, `<`, carriage returns and the `>` of `]]>` are escaped (section 16.4).
pub fn escape_text(s: &str, out: &mut Vec<u8>) {
    let bytes = s.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'\r' => b"&#xd;",
            b'>' => {
                out.extend_from_slice(bytes.get(written..at).unwrap_or_default());
                written = at;
                // Looking at what was written also finds brackets that come from a text before this one.
                if !out.ends_with(b"]]") {
                    continue;
                }
                b"&gt;"
            }
            _ => continue,
        };
        out.extend_from_slice(bytes.get(written..at).unwrap_or_default());
        out.extend_from_slice(escape);
        written = at + 1;
    }
    out.extend_from_slice(bytes.get(written..).unwrap_or_default());
}

/// Appends an attribute value for double quotes: `&`, `<`, `"`, line feeds and tabs are escaped (section 16.4), and
/// carriage returns, which would not survive being read again.
pub fn escape_attribute(s: &str, out: &mut Vec<u8>) {
    let bytes = s.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'"' => b"&quot;",
            b'\n' => b"&#xa;",
            b'\t' => b"&#x9;",
            b'\r' => b"&#xd;",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(written..at).unwrap_or_default());
        out.extend_from_slice(escape);
        written = at + 1;
    }
    out.extend_from_slice(bytes.get(written..).unwrap_or_default());
}
