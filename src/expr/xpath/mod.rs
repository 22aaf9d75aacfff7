//! Synapse XPath: XPath 1.0 as Jaxen evaluates it over Axiom, with the variables, functions and
//! string conversion of Synapse (spec 05 §3).
//!
//! An [`XPath`] is compiled once and evaluated by many threads at a time against what a message
//! shows through [`Scope`]. Evaluation neither changes anything nor blocks; its work is bounded.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        missing_docs
    )
)]

mod axes;
mod compare;
mod convert;
pub(in crate::expr) mod date;
mod direct;
mod encode;
mod eval;
mod functions;
mod lexer;
mod overlap;
mod parser;
mod peek;
mod program;
mod synapse;
#[cfg(test)]
mod tests;

use crate::xml::{Document, NodeId, NodeKind};
use direct::Direct;
use eval::{Evaluator, Val};
use peek::Plans;
use program::Program;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

pub(in crate::expr) use convert::round as round_half_up;
pub use convert::{java_double, java_float};
pub(in crate::expr) use encode::Charset;
pub use peek::{Form, Kind, Known, Look, Need, Progress, Wanted};

/// Longest expression text that is compiled.
pub const MAX_TEXT: usize = 64 * 1024;
/// Deepest nesting of parentheses, predicates and arguments.
pub const MAX_NESTING: usize = 128;
/// Longest text that several nodes together may become, in bytes.
pub const MAX_RESULT: usize = 64 << 20;
/// Node visits one evaluation on this thread may make before it is given up.
fn budget() -> u64 {
    crate::expr::effort::allowed().xpath
}

/// Prefix bindings of the artifact element that owns the expression (spec 05 §3.2). The first
/// binding of a prefix counts; an empty prefix is never used.
#[derive(Clone, Default, Debug)]
pub struct Namespaces(pub Vec<(String, String)>);

impl Namespaces {
    fn lookup(&self, prefix: &str) -> Option<&str> {
        if prefix.is_empty() {
            return None;
        }
        if prefix == "xml" {
            return Some(crate::xml::XML_NAMESPACE);
        }
        self.0
            .iter()
            .find(|(p, _)| p == prefix)
            .map(|(_, uri)| uri.as_str())
    }
}

/// Why an expression does not compile (spec 05 §1), or what about it will fail or surprise at run
/// time: a place in the expression text, in bytes, and a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XPathError {
    /// First byte of the place in question.
    pub offset: usize,
    /// Its length in bytes; 0 at the end of the text.
    pub len: usize,
    /// What is wrong there.
    pub message: String,
}

impl XPathError {
    fn new(offset: usize, len: usize, message: impl Into<String>) -> XPathError {
        XPathError {
            offset,
            len,
            message: message.into(),
        }
    }
}

impl fmt::Display for XPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for XPathError {}

/// Why an evaluation failed (spec 05 §2.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvalError {
    /// Cause in the words of the reference, such as `Variable nope`.
    pub message: String,
}

impl EvalError {
    fn new(message: impl Into<String>) -> EvalError {
        EvalError {
            message: message.into(),
        }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}

/// A node found by an expression.
///
/// A namespace node has an attribute number that no attribute has, so [`Document::attribute_at`]
/// answers `None` for it.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// The tree the node is in: the message or an XML property.
    pub document: &'a Document,
    /// The node, or the owner element of the attribute.
    pub node: NodeId,
    /// Number of the attribute when the node is one.
    pub attribute: Option<u32>,
}

impl<'a> Node<'a> {
    /// The node of a tree.
    pub fn new(document: &'a Document, node: NodeId) -> Node<'a> {
        Node {
            document,
            node,
            attribute: None,
        }
    }

    /// XPath string-value, as `string()` gives it (not the conversion of spec 05 §3.6).
    pub fn string_value(&self) -> Cow<'a, str> {
        axes::string_value(*self)
    }

    /// Whether this is an element.
    pub fn is_element(&self) -> bool {
        self.attribute.is_none() && self.document.kind(self.node) == NodeKind::Element
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
            && self.attribute == other.attribute
            && std::ptr::eq(self.document, other.document)
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.node)?;
        self.attribute.map_or(Ok(()), |index| write!(f, "@{index}"))
    }
}

/// Result of an evaluation.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Node-set in document order, without duplicates. An XML property or `$body` is one node.
    Nodes(Vec<Node<'a>>),
    /// String.
    String(Cow<'a, str>),
    /// Number.
    Number(f64),
    /// Boolean.
    Boolean(bool),
    /// A property object that is none of the above: integer, float, JSON (spec 05 §3.7).
    Property(PropertyValue<'a>),
    /// Java `null`: a property that is not set.
    Null,
}

/// A property object as the message shows it (spec 05 §3.3, §3.7: only `Double` is an XPath
/// number).
#[derive(Clone, Debug)]
pub enum PropertyValue<'a> {
    /// Not set.
    Null,
    /// `String`.
    String(Cow<'a, str>),
    /// `Boolean`.
    Boolean(bool),
    /// `Integer`, `Short` or `Long`.
    Integer(i64),
    /// `Float`.
    Float(f32),
    /// `Double`.
    Double(f64),
    /// An element; a path may go on from it.
    Xml(&'a Document, NodeId),
    /// JSON, as its text.
    Json(Cow<'a, str>),
}

/// Where a property is looked up (spec 05 §3.3, §3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PropertyScope {
    /// Synapse property.
    Default,
    /// Axis2 message property.
    Axis2,
    /// Axis2 client option; not reachable from XPath.
    Axis2Client,
    /// Transport header.
    Transport,
    /// Operation context property.
    Operation,
    /// Registry resource: `path` or `path@property`.
    Registry,
    /// System property.
    System,
    /// Environment variable.
    Env,
    /// Entry of `file.properties`.
    File,
    /// Parameter of the innermost template.
    Func,
    /// `$var:name`
    Variable,
}

/// What a message shows to an expression (spec 05 §3.1, §3.3, §3.4).
pub trait Scope {
    /// The Envelope element: the context node. `None` while no body is built.
    fn envelope(&self) -> Option<(&Document, NodeId)>;
    /// The Header element.
    fn header(&self) -> Option<(&Document, NodeId)>;
    /// The Body element.
    fn body(&self) -> Option<(&Document, NodeId)>;
    /// Whether there is a document node above the Envelope: only for a message that arrived as
    /// SOAP. Otherwise `/` is the Envelope itself.
    fn has_document_root(&self) -> bool;
    /// A property of a scope; in the default scope neither magic names nor local entries.
    fn property(&self, scope: PropertyScope, name: &str) -> PropertyValue<'_>;
    /// A local entry, the fall-back of the default scope in `get-property`.
    fn local_entry(&self, key: &str) -> PropertyValue<'_>;
    /// The magic names of the default scope: `To`, `From`, `FAULT`, `MESSAGE_FORMAT`, … `None`
    /// when the name is not one of them, an empty string when it is one without a value.
    fn well_known(&self, name: &str) -> Option<PropertyValue<'_>>;
    /// Address of the To header, for `$url:name`.
    fn to(&self) -> Option<&str>;
    /// Milliseconds since 1970, for `SYSTEM_TIME` and `SYSTEM_DATE`.
    fn now_millis(&self) -> i64;
    /// `$property:key`: the entry of a default-scope property that is a map. `Null` when there is
    /// no such map or entry.
    fn map_entry(&self, property: &str, key: &str) -> PropertyValue<'_> {
        let _ = (property, key);
        PropertyValue::Null
    }
}

/// A compiled expression.
pub struct XPath {
    text: Box<str>,
    program: Program,
    warnings: Vec<XPathError>,
    needs_body: bool,
    direct: Option<Direct>,
    plans: Option<Box<Plans>>,
    id: u64,
}

/// The next [`XPath::id`].
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl fmt::Debug for XPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("XPath").field(&self.text).finish()
    }
}

impl Value<'_> {
    /// What `string()` gives: the string-value of the first node (not the conversion of
    /// spec 05 §3.6).
    pub fn to_xpath_string(&self) -> String {
        match self {
            Value::Nodes(nodes) => nodes
                .first()
                .map(|n| n.string_value().into_owned())
                .unwrap_or_default(),
            Value::String(text) => text.clone().into_owned(),
            Value::Number(n) => convert::xpath_number(*n),
            Value::Boolean(b) => b.to_string(),
            Value::Property(value) => {
                convert::scalar_text(Val::of_property(value.clone())).into_owned()
            }
            Value::Null => String::new(),
        }
    }
}

impl XPath {
    /// Compiles an expression (spec 05 §1: failure here keeps the artifact from deploying).
    /// Unbound prefixes and unknown variables and functions are [`XPath::warnings`] only.
    pub fn compile(text: &str, namespaces: &Namespaces) -> Result<XPath, XPathError> {
        let (program, warnings) = parser::parse(text, namespaces)?;
        let needs_body = program.root.needs_body(true);
        let plans = needs_body.then(|| Box::new(Plans::new(&program, text)));
        Ok(XPath {
            text: text.into(),
            direct: Direct::of(&program),
            program,
            warnings,
            needs_body,
            plans,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Tells this expression from all others of the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The source text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What will fail or surprise at run time (spec 05 §2.4, §3.2).
    pub fn warnings(&self) -> &[XPathError] {
        &self.warnings
    }

    /// Whether evaluation may read the envelope (spec 05 §2.3, decided on the expression itself
    /// instead of its text).
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }

    /// Evaluates the expression with the Envelope as context node (spec 05 §3.1).
    pub fn evaluate<'a>(&self, scope: &'a dyn Scope) -> Result<Value<'a>, EvalError> {
        let value = self.value(scope, budget())?;
        Ok(match value {
            Val::Nodes(set) => Value::Nodes(set.nodes),
            Val::Str(s) => Value::String(Cow::Owned(s.into_owned())),
            Val::Num(n) => Value::Number(n),
            Val::Bool(b) => Value::Boolean(b),
            Val::Int(i) => Value::Property(PropertyValue::Integer(i)),
            Val::Float(x) => Value::Property(PropertyValue::Float(x)),
            Val::Json(text) => Value::Property(PropertyValue::Json(text)),
            Val::Null => Value::Null,
        })
    }

    /// The string a mediator sees (spec 05 §3.6); `None` is Java `null`.
    pub fn string_value_of(&self, scope: &dyn Scope) -> Result<Option<String>, EvalError> {
        let value = self.value(scope, budget())?;
        convert::string_value_of(value, &self.text, scope)
    }

    /// The boolean `filter xpath=` sees (spec 05 §3.7).
    pub fn boolean(&self, scope: &dyn Scope) -> Result<bool, EvalError> {
        let direct = self.direct.as_ref().and_then(|asked| asked.answer(scope));
        match direct {
            Some(answer) => answer,
            None => Evaluator::new(&self.program, scope, budget()).run_boolean(),
        }
    }

    /// The selected nodes in document order; empty when the result is not a node-set.
    pub fn nodes<'a>(&self, scope: &'a dyn Scope) -> Result<Vec<Node<'a>>, EvalError> {
        Ok(match self.value(scope, budget())? {
            Val::Nodes(set) => set.nodes,
            _ => Vec::new(),
        })
    }

    fn value<'p, 'a: 'p>(
        &'p self,
        scope: &'a dyn Scope,
        budget: u64,
    ) -> Result<Val<'p, 'a>, EvalError> {
        Evaluator::new(&self.program, scope, budget).run()
    }
}
