//! From text to tree: nesting, namespaces, duplicate attributes, limits.

use super::XML_NAMESPACE;
use super::chars::{Normalise, unescape};
use super::document::{Attr, Declaration, Document, NONE, Node, NodeId, NodeKind, Store, Value};
use super::edit::declaration;
use super::error::{Fault, Limits, Problem, XmlError};
use super::names::{EMPTY, forbidden_binding};
use super::prolog::RawDeclaration;
use super::token::{RawAttr, RawName, Room, Span, Step, Token, Tokenizer, is_blank};
use super::tools::{Cached, Epoch, Known, Open, Tools};
use bytes::Bytes;
use std::borrow::Cow;

impl Document {
    /// Parses UTF-8 text (a byte order mark is skipped). `input` is kept: text and attribute values are ranges of it
    /// wherever they need no unescaping. White space outside the root element is dropped, everything else is in the
    /// tree.
    ///
    /// # Errors
    /// Anything that is not a namespace-well-formed document, any DOCTYPE, and whatever exceeds `limits`.
    pub fn parse(input: Bytes, limits: &Limits) -> Result<Document, XmlError> {
        let (mut tools, names) = Tools::take(limits);
        let mut document = Document::with_room(expected_nodes(&input, limits), names);
        match document.read(&input, limits, 0, &mut tools) {
            Ok(root) => {
                tools.put_back(&mut document.names);
                document.source_root = root;
                document.source = Some(input);
                Ok(document)
            }
            Err(fault) => Err(fault.locate(&input)),
        }
    }

    /// Parses a whole document and puts its root element below `parent`, as last child; comments and instructions
    /// around the root are dropped. A document that has no source yet keeps `input` as its source and counts as
    /// unmodified afterwards, whatever was built before; otherwise the tree is copied in and counts as an edit. When
    /// `parent` cannot have children the element stays detached.
    ///
    /// # Errors
    /// As [`Document::parse`]; the tree is then unchanged.
    pub fn parse_into(
        &mut self,
        parent: NodeId,
        input: Bytes,
        limits: &Limits,
    ) -> Result<NodeId, XmlError> {
        if self.source.is_some() {
            let other = Document::parse(input, limits)?;
            let root = self.import(
                &other,
                other.root_element().unwrap_or(other.document_node()),
            );
            self.append_child(parent, root);
            return Ok(root);
        }
        let (nodes, attrs, side) = (self.nodes.len(), self.attrs.len(), self.side.len());
        self.nodes.reserve(expected_nodes(&input, limits));
        let mut tools = Tools::take_for(limits, &self.names);
        match self.read(&input, limits, NONE, &mut tools) {
            Ok(root) => {
                tools.put_back(&mut self.names);
                self.source_root = root;
                self.source = Some(input);
                self.loose += 1;
                self.append_child(parent, NodeId(root));
                if let Some(node) = self.node_mut(NodeId(root)) {
                    node.flags &= !Node::MOVED;
                }
                self.modified = false;
                Ok(NodeId(root))
            }
            Err(fault) => {
                self.nodes.truncate(nodes);
                self.attrs.truncate(attrs);
                self.side.truncate(side);
                Err(fault.locate(&input))
            }
        }
    }

    /// Appends the nodes of a document. `top` is the node that gets the top-level nodes, or `NONE` to keep only the
    /// root element, detached. Returns the root element.
    fn read(&mut self, input: &[u8], limits: &Limits, top: u32, tools: &mut Tools) -> Step<u32> {
        let room = tools.room.take().unwrap_or_else(Room::new);
        let mut tokens = Tokenizer::new(input, limits, room)?;
        let text = match std::str::from_utf8(input) {
            Ok(text) => text,
            Err(error) => {
                let message = "the text is not valid UTF-8";
                return Err(Fault::new(error.valid_up_to(), Problem::Encoding, message));
            }
        };
        let declaration = tokens
            .declaration()?
            .map(|raw| owned_declaration(text, raw));
        let first = self.nodes.len();
        self.attrs.reserve(16);
        let mut builder = Builder {
            document: self,
            text,
            max_depth: limits.max_depth,
            max_index: first.saturating_add(limits.max_nodes).min(NONE as usize),
            epoch: 0,
            prefix: Bound {
                span: Span::EMPTY,
                epoch: u32::MAX,
                id: EMPTY,
                namespace: EMPTY,
            },
            stamp: 0,
            tools,
        };
        let root = builder.read(&mut tokens, top)?;
        tools.room = Some(tokens.room);
        self.declaration = declaration;
        Ok(root)
    }
}

/// An upper bound for ordinary documents, so that the table never moves. Room that stays unused is never touched and
/// so costs no memory; beyond a million nodes the table grows as needed.
fn expected_nodes(input: &[u8], limits: &Limits) -> usize {
    let markup = memchr::memchr_iter(b'<', input).count();
    // A tag opens at most one element and is followed by at most one text; end tags open none.
    (markup + markup / 2 + 1)
        .min(limits.max_nodes)
        .min(input.len() / 3 + 1)
        .min(1 << 20)
}

fn owned_declaration(text: &str, raw: RawDeclaration) -> Declaration {
    let owned = |span: Span| match slice(text, span) {
        "1.0" => Cow::Borrowed("1.0"),
        "UTF-8" => Cow::Borrowed("UTF-8"),
        "utf-8" => Cow::Borrowed("utf-8"),
        other => Cow::Owned(other.to_owned()),
    };
    Declaration {
        version: owned(raw.version),
        encoding: raw.encoding.map(owned),
        standalone: raw.standalone,
    }
}

fn slice(text: &str, span: Span) -> &str {
    text.get(span.start() as usize..span.end() as usize)
        .unwrap_or_default()
}

/// What a prefix is bound to.
struct Bound {
    span: Span,
    epoch: u32,
    id: u32,
    namespace: u32,
}

struct Builder<'a> {
    document: &'a mut Document,
    text: &'a str,
    max_depth: usize,
    max_index: usize,
    /// Identifies the set of bindings in scope; equal epochs mean equal bindings.
    epoch: u32,
    /// The prefix that was met last.
    prefix: Bound,
    stamp: u32,
    tools: &'a mut Tools,
}

/// Names without a number that are remembered; a power of two.
const LONG_NAMES: usize = 128;
/// Up to this many attributes are compared pairwise, more are looked up.
const FEW_ATTRIBUTES: usize = 16;

impl Builder<'_> {
    fn read(&mut self, tokens: &mut Tokenizer<'_>, top: u32) -> Step<u32> {
        let bytes = self.text.as_bytes();
        let nowhere = Span::EMPTY;
        self.tools.open.push(Open {
            node: top,
            last_child: NONE,
            name: nowhere,
            irregular: 0,
            mark: 0,
            epoch: 0,
        });
        let mut root = NONE;
        loop {
            let outside = self.tools.open.len() < 2;
            let name = self.tools.open.last().map_or(nowhere, |open| open.name);
            let at = tokens.position();
            let irregular = tokens.irregular;
            match tokens.next(name)? {
                Token::Leaf { name, text } => {
                    if outside && root != NONE {
                        return Err(second_root(at));
                    }
                    let node = self.text_element(name, text, at, tokens.position())?;
                    if outside {
                        root = node;
                    }
                }
                Token::Start { name, empty } => {
                    if outside && root != NONE {
                        return Err(second_root(at));
                    }
                    let node = self.start(tokens, at, name, empty, irregular)?;
                    if outside {
                        root = node;
                    }
                }
                Token::Text { span, plain } if !outside => {
                    self.leaf(NodeKind::Text, span, plain)?;
                }
                Token::Text { span, .. } if is_blank(span.of(bytes)) => {}
                Token::CData { span, plain } if !outside => {
                    self.leaf(NodeKind::CData, span, plain)?;
                }
                Token::Text { .. } | Token::CData { .. } => {
                    return Err(Fault::new(
                        at,
                        Problem::Syntax,
                        "text is not allowed outside the root element",
                    ));
                }
                Token::End { name: end } if end == name && !outside => self.end(tokens),
                Token::End { name: end } => {
                    let (end, name) = (slice(self.text, end), slice(self.text, name));
                    if outside {
                        let message = format!("end tag `{end}` without a start tag");
                        return Err(Fault::new(at, Problem::Syntax, message));
                    }
                    if end != name {
                        let message = format!("end tag `{end}` does not match start tag `{name}`");
                        return Err(Fault::new(at, Problem::Syntax, message));
                    }
                    self.end(tokens);
                }
                Token::Comment { .. } | Token::Instruction { .. } if outside && top == NONE => {}
                Token::Comment { span, plain } => {
                    self.leaf(NodeKind::Comment, span, plain)?;
                }
                Token::Instruction {
                    target,
                    data,
                    plain,
                } => {
                    let node = self.leaf(NodeKind::ProcessingInstruction, data, plain)?;
                    let name = self.document.names.intern("", "", slice(self.text, target));
                    if let Some(node) = self.document.node_mut(NodeId(node)) {
                        node.name = name;
                    }
                }
                Token::Eof if outside && root != NONE => {
                    self.finish_children();
                    return Ok(root);
                }
                Token::Eof if outside => {
                    return Err(Fault::new(
                        at,
                        Problem::Truncated,
                        "the document has no root element",
                    ));
                }
                Token::Eof => {
                    let message = format!("element `{}` is not closed", slice(self.text, name));
                    return Err(Fault::new(at, Problem::Truncated, message));
                }
            }
        }
    }

    /// Adds a node as last child of the innermost open element.
    #[inline]
    fn push(&mut self, mut node: Node, at: usize) -> Step<u32> {
        let nodes = &mut self.document.nodes;
        if nodes.len() >= self.max_index {
            return Err(too_many(at));
        }
        let index = nodes.len() as u32;
        if let Some(open) = self.tools.open.last_mut() {
            node.parent = open.node;
            node.prev = open.last_child;
            if open.last_child == NONE {
                if let Some(parent) = nodes.get_mut(open.node as usize) {
                    parent.first = index;
                }
            } else if let Some(last) = nodes.get_mut(open.last_child as usize) {
                last.next = index;
            }
            open.last_child = index;
        }
        nodes.push(node);
        Ok(index)
    }

    /// Adds an element with nothing but a plain text.
    #[inline]
    fn text_element(&mut self, raw: RawName, text: Span, at: usize, end: usize) -> Step<u32> {
        if self.tools.open.len() > self.max_depth {
            return Err(self.too_deep(at));
        }
        let name = self.resolve(raw, false)?;
        let index = self.push(
            Node {
                name,
                start: self.document.attrs.len() as u32,
                from: at as u32,
                to: end as u32,
                flags: Node::CLEAN,
                ..Node::new(NodeKind::Element)
            },
            at,
        )?;
        let nodes = &mut self.document.nodes;
        let child = nodes.len() as u32;
        if nodes.len() >= self.max_index {
            return Err(too_many(text.start() as usize));
        }
        if let Some(element) = nodes.get_mut(index as usize) {
            element.first = child;
        }
        nodes.push(Node {
            store: Store::Source,
            parent: index,
            prev: child,
            start: text.start(),
            len: text.len(),
            ..Node::new(NodeKind::Text)
        });
        Ok(index)
    }

    #[cold]
    fn too_deep(&self, at: usize) -> Box<Fault> {
        let message = format!("elements are nested deeper than {}", self.max_depth);
        Fault::new(at, Problem::Limit, message)
    }

    #[inline]
    fn leaf(&mut self, kind: NodeKind, span: Span, plain: bool) -> Step<u32> {
        let how = if kind == NodeKind::Text {
            Normalise::Text
        } else {
            Normalise::LineEnds
        };
        let value = self.value(span, plain, how)?;
        let node = Node {
            store: value.store,
            start: value.start,
            len: value.len,
            ..Node::new(kind)
        };
        self.push(node, span.start() as usize)
    }

    #[inline]
    fn value(&mut self, span: Span, plain: bool, how: Normalise) -> Step<Value> {
        if plain {
            return Ok(Value {
                store: Store::Source,
                start: span.start(),
                len: span.len(),
            });
        }
        let side = &mut self.document.side;
        let start = side.len();
        unescape(slice(self.text, span), how, side);
        match (u32::try_from(start), u32::try_from(side.len() - start)) {
            (Ok(start), Ok(len)) => Ok(Value {
                store: Store::Side,
                start,
                len,
            }),
            _ => Err(Fault::new(
                span.start() as usize,
                Problem::Limit,
                "the document has too much text",
            )),
        }
    }

    fn start(
        &mut self,
        tokens: &Tokenizer<'_>,
        at: usize,
        raw: RawName,
        empty: bool,
        irregular: u32,
    ) -> Step<u32> {
        if self.tools.open.len() > self.max_depth {
            return Err(self.too_deep(at));
        }
        let (mark, epoch) = (self.tools.scope.mark(), self.epoch);
        let first_attr = self.document.attrs.len();
        for attr in &tokens.room.attrs {
            let entry = match attr.name.declared_prefix(self.text.as_bytes()) {
                Some(prefix) => self.declaration(attr, prefix, mark)?,
                None => {
                    let value = self.value(attr.value, attr.plain, Normalise::Attribute)?;
                    Attr {
                        declaration: false,
                        store: value.store,
                        name: NONE,
                        start: value.start,
                        len: value.len,
                    }
                }
            };
            self.document.attrs.push(entry);
        }
        let name = self.resolve(raw, false)?;
        if !tokens.room.attrs.is_empty() {
            self.attribute_names(tokens, first_attr)?;
        }
        let (Ok(start), Ok(end)) = (
            u32::try_from(first_attr),
            u32::try_from(self.document.attrs.len()),
        ) else {
            return Err(Fault::new(
                at,
                Problem::Limit,
                "the document has too many attributes",
            ));
        };
        let node = Node {
            name,
            start,
            len: end - start,
            from: at as u32,
            to: tokens.position() as u32,
            flags: if empty && tokens.irregular == irregular {
                Node::CLEAN
            } else {
                0
            },
            ..Node::new(NodeKind::Element)
        };
        let node = self.push(node, at)?;
        if empty {
            self.tools.scope.unwind(mark);
            self.epoch = epoch;
        } else {
            self.tools.open.push(Open {
                node,
                last_child: NONE,
                name: raw.span,
                irregular,
                mark,
                epoch,
            });
        }
        Ok(node)
    }

    /// Closes the innermost element, whose end tag has just been read.
    #[inline]
    fn end(&mut self, tokens: &mut Tokenizer<'_>) {
        self.finish_children();
        let Some(open) = self.tools.open.pop() else {
            return;
        };
        if open.last_child == NONE {
            // Would be written as an empty tag.
            tokens.irregular += 1;
        }
        if let Some(node) = self.document.nodes.get_mut(open.node as usize) {
            node.to = tokens.position() as u32;
            if tokens.irregular == open.irregular {
                node.flags |= Node::CLEAN;
            }
        }
        if self.epoch != open.epoch || self.tools.scope.mark() != open.mark {
            self.tools.scope.unwind(open.mark);
            self.epoch = open.epoch;
        }
    }

    /// Makes the first child of the innermost open element point back to the last one.
    #[inline]
    fn finish_children(&mut self) {
        let Some(open) = self.tools.open.last() else {
            return;
        };
        let nodes = &mut self.document.nodes;
        let first = nodes
            .get(open.node as usize)
            .map_or(NONE, |node| node.first);
        if let Some(first) = nodes.get_mut(first as usize) {
            first.prev = open.last_child;
        }
    }

    /// Binds a declared prefix, refusing what Namespaces in XML 1.0 forbids.
    fn declaration(&mut self, attr: &RawAttr, prefix: Span, mark: usize) -> Step<Attr> {
        let at = attr.name.span.start() as usize;
        let prefix = slice(self.text, prefix);
        let mut unescaped = String::new();
        let uri = if attr.plain {
            slice(self.text, attr.value)
        } else {
            unescape(
                slice(self.text, attr.value),
                Normalise::Attribute,
                &mut unescaped,
            );
            &unescaped
        };
        if let Some(message) = forbidden_binding(prefix, uri) {
            return Err(Fault::new(at, Problem::Namespace, message));
        }
        let prefix_id = self.document.names.intern_string(prefix);
        let namespace = self.document.names.intern_string(uri);
        if self.tools.scope.is_bound_since(prefix_id, mark) {
            let message = format!("the namespace prefix `{prefix}` is declared twice");
            return Err(Fault::new(at, Problem::DuplicateAttribute, message));
        }
        if self.tools.scope.resolve(prefix_id).unwrap_or(EMPTY) != namespace {
            self.epoch = self.epoch_after(prefix_id, namespace);
        }
        self.tools.scope.bind(prefix_id, namespace);
        Ok(declaration(prefix_id, namespace))
    }

    fn epoch_after(&mut self, prefix: u32, namespace: u32) -> u32 {
        let before = self.epoch;
        let slot = (before ^ prefix.wrapping_mul(5) ^ namespace.wrapping_mul(3)) as usize
            % self.tools.epochs.len();
        let Some(entry) = self.tools.epochs.get_mut(slot) else {
            return before;
        };
        let known = (entry.before, entry.prefix, entry.namespace) == (before, prefix, namespace);
        if entry.after == 0 || !known {
            self.tools.last_epoch += 1;
            *entry = Epoch {
                before,
                prefix,
                namespace,
                after: self.tools.last_epoch,
            };
        }
        entry.after
    }

    /// Resolves the names of the attributes just added and refuses the same name twice.
    fn attribute_names(&mut self, tokens: &Tokenizer<'_>, first_attr: usize) -> Step<()> {
        let many = tokens.room.attrs.len() > FEW_ATTRIBUTES;
        self.stamp += u32::from(many);
        for (index, raw) in tokens.room.attrs.iter().enumerate() {
            let index = first_attr + index;
            if self
                .document
                .attrs
                .get(index)
                .is_none_or(|attr| attr.declaration)
            {
                continue;
            }
            let name = self.resolve(raw.name, true)?;
            let expanded = self.document.names.qualified(name).1;
            let duplicate = if many {
                let slot = expanded as usize;
                if self.tools.stamps.len() <= slot {
                    self.tools.stamps.resize(slot + 1, 0);
                }
                self.tools
                    .stamps
                    .get_mut(slot)
                    .is_some_and(|stamp| std::mem::replace(stamp, self.stamp) == self.stamp)
            } else {
                let earlier = self
                    .document
                    .attrs
                    .get(first_attr..index)
                    .unwrap_or_default();
                earlier.iter().any(|attr| {
                    !attr.declaration && self.document.names.qualified(attr.name).1 == expanded
                })
            };
            if duplicate {
                let message = format!(
                    "the attribute `{}` occurs twice",
                    slice(self.text, raw.name.span)
                );
                return Err(Fault::new(
                    raw.name.span.start() as usize,
                    Problem::DuplicateAttribute,
                    message,
                ));
            }
            if let Some(attr) = self.document.attrs.get_mut(index) {
                attr.name = name;
            }
        }
        Ok(())
    }

    /// The qualified name a raw name means here.
    #[inline]
    fn resolve(&mut self, raw: RawName, attribute: bool) -> Step<u32> {
        // Attributes without prefix mean the same everywhere.
        let epoch = if attribute && raw.prefix_len == 0 {
            0
        } else {
            self.epoch
        };
        let Some((slot, fresh)) = raw.slot() else {
            return self.resolve_long(raw, attribute, epoch);
        };
        let known = if attribute {
            self.tools.attributes.get(slot)
        } else {
            self.tools.elements.get(slot)
        };
        if let Some(known) = known
            && known.epoch == epoch
            && !fresh
        {
            return Ok(known.name);
        }
        let name = self.resolve_anew(raw, attribute)?;
        let known = if attribute {
            self.tools.attributes.get_mut(slot)
        } else {
            self.tools.elements.get_mut(slot)
        };
        if let Some(known) = known {
            *known = Known { epoch, name };
        }
        Ok(name)
    }

    /// As [`Builder::resolve`], for a name without a number.
    fn resolve_long(&mut self, raw: RawName, attribute: bool, epoch: u32) -> Step<u32> {
        if self.tools.cache.is_empty() {
            self.tools.cache = vec![Cached::default(); LONG_NAMES];
        }
        let bytes = self.text.as_bytes();
        let name = raw.span.of(bytes);
        let key = raw.span.len() << 1 | u32::from(attribute);
        let slot = quick_hash(bytes, raw.span, key) as usize & (self.tools.cache.len() - 1);
        if let Some(cached) = self.tools.cache.get(slot)
            && cached.key == key
            && cached.epoch == epoch
            && Span::of_words(cached.start, cached.start + raw.span.len()).of(bytes) == name
        {
            return Ok(cached.name);
        }
        let id = self.resolve_anew(raw, attribute)?;
        if let Some(cached) = self.tools.cache.get_mut(slot) {
            *cached = Cached {
                start: raw.span.start(),
                key,
                epoch,
                name: id,
            };
        }
        Ok(id)
    }

    #[inline(never)]
    fn resolve_anew(&mut self, raw: RawName, attribute: bool) -> Step<u32> {
        let names = &mut self.document.names;
        let prefix = slice(self.text, raw.prefix());
        let (prefix, namespace) = match prefix {
            "" if attribute => (EMPTY, EMPTY),
            "" => (EMPTY, self.tools.scope.resolve(EMPTY).unwrap_or(EMPTY)),
            "xml" => (
                names.intern_string("xml"),
                names.intern_string(XML_NAMESPACE),
            ),
            _ if self.prefix.epoch == self.epoch
                && slice(self.text, self.prefix.span) == prefix =>
            {
                (self.prefix.id, self.prefix.namespace)
            }
            _ => {
                let bound = names
                    .find_string(prefix)
                    .and_then(|id| Some((id, self.tools.scope.resolve(id)?)));
                match bound {
                    Some((id, namespace)) => {
                        self.prefix = Bound {
                            span: raw.prefix(),
                            epoch: self.epoch,
                            id,
                            namespace,
                        };
                        (id, namespace)
                    }
                    None => {
                        let message = format!("the namespace prefix `{prefix}` is not declared");
                        return Err(Fault::new(
                            raw.span.start() as usize,
                            Problem::Namespace,
                            message,
                        ));
                    }
                }
            }
        };
        let local = names.intern_string(slice(self.text, raw.local()));
        let expanded = names.intern_expanded(namespace, local);
        Ok(names.intern_qualified(prefix, expanded))
    }
}

#[cold]
fn second_root(at: usize) -> Box<Fault> {
    let message = "a document has only one root element";
    Fault::new(at, Problem::Syntax, message)
}

#[cold]
fn too_many(at: usize) -> Box<Fault> {
    Fault::new(at, Problem::Limit, "the document has too many nodes")
}

/// A cheap hash for the name cache, where a collision only costs time: the first and the last eight bytes.
#[inline]
fn quick_hash(bytes: &[u8], span: Span, key: u32) -> u64 {
    let (start, len) = (span.start() as usize, span.len() as usize);
    let word = |at: usize| {
        let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
        chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk))
    };
    let mixed = if len >= 8 {
        word(start) ^ word(start + len - 8).rotate_left(29)
    } else {
        word(start) & ((1 << (len * 8)) - 1)
    };
    (mixed ^ u64::from(key) << 48).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48
}
