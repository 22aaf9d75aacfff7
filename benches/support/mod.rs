//! What the benchmarks have in common: messages of four sizes, and a scope that shows one of them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use criterion::Criterion;
use myelin::expr::xpath::{Namespaces, PropertyScope, PropertyValue, Scope, XPath};
use myelin::xml::{Document, Limits, NodeId};
use std::time::Duration;

/// That of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const NAMESPACE: &str = "http://services.samples";
pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The expression that content-based routing is measured with.
pub(crate) const ROUTE: &str = "//m0:symbol = 'IBM'";

/// Sizes of the messages, in bytes, by name.
pub(crate) const SIZES: [(&str, usize); 4] = [
    ("500B", 500),
    ("10KB", 10_000),
    ("100KB", 100_000),
    ("1MB", 1_000_000),
];

/// Which order of a message is the one for IBM.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    First,
    Last,
}

/// A SOAP message of exactly `size` bytes with as many orders as fit, one of them for IBM.
pub(crate) fn message(size: usize, which: Match) -> Bytes {
    let order = |number: usize, symbol: &str| {
        format!(
            "\n      <m0:order id=\"{number}\" currency=\"USD\"><m0:symbol>{symbol}</m0:symbol><m0:buyer>Customer \
             {number}</m0:buyer><m0:price>{}.25</m0:price><m0:quantity>{}</m0:quantity></m0:order>",
            100 + number % 100,
            number % 50 + 1
        )
    };
    let head = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"{SOAP11}\">\n  \
         <soapenv:Header/>\n  <soapenv:Body>\n    <m0:placeOrder xmlns:m0=\"{NAMESPACE}\">"
    );
    let tail = "\n    </m0:placeOrder>\n  </soapenv:Body>\n</soapenv:Envelope>";
    let room = size - head.len() - tail.len();
    let mut orders: Vec<String> = Vec::new();
    let mut used = 0;
    loop {
        let next = order(1000 + orders.len(), "SUN");
        if used + next.len() + "<!---->".len() > room {
            break;
        }
        used += next.len();
        orders.push(next);
    }
    let ibm = match which {
        Match::First => orders.first_mut(),
        Match::Last => orders.last_mut(),
    }
    .expect("there is room for an order");
    *ibm = ibm.replace(">SUN<", ">IBM<");
    let filler = "x".repeat(room - used - "<!---->".len());
    let text = format!("{head}{}<!--{filler}-->{tail}", orders.concat());
    assert_eq!(text.len(), size);
    Bytes::from(text)
}

/// The tree of a message.
pub(crate) fn tree(input: &Bytes) -> Document {
    Document::parse(input.clone(), &Limits::default()).unwrap()
}

/// A compiled expression that knows the prefix `m0`.
pub(crate) fn xpath(text: &str) -> XPath {
    let namespaces = Namespaces(vec![("m0".to_owned(), NAMESPACE.to_owned())]);
    XPath::compile(text, &namespaces).unwrap()
}

/// A message that is a tree, or has none.
pub(crate) struct Shown(pub(crate) Option<Document>);

impl Shown {
    fn child(&self, name: &str) -> Option<(&Document, NodeId)> {
        let (document, root) = self.envelope()?;
        Some((document, document.child_element(root, SOAP11, name)?))
    }
}

impl Scope for Shown {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        let document = self.0.as_ref()?;
        Some((document, document.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        self.child("Header")
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        self.child("Body")
    }
    fn has_document_root(&self) -> bool {
        true
    }
    fn property(&self, _: PropertyScope, _: &str) -> PropertyValue<'_> {
        PropertyValue::Null
    }
    fn local_entry(&self, _: &str) -> PropertyValue<'_> {
        PropertyValue::Null
    }
    fn well_known(&self, _: &str) -> Option<PropertyValue<'_>> {
        None
    }
    fn to(&self) -> Option<&str> {
        None
    }
    fn now_millis(&self) -> i64 {
        0
    }
}

/// Short runs: ratios within one run are what counts.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
        .without_plots()
        .configure_from_args()
}
