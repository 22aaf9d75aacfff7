//! What is measured: a process that does one operation a number of times.

use crate::message::{ORDERS, message};
use crate::{Fail, counting};
use myelin::clock::Clock;
use myelin::expr::xpath::{Namespaces, PropertyScope, PropertyValue, Scope, XPath};
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use myelin::xml::{Document, Limits, NodeId};
use std::hint::black_box;
use std::io::Read;
use std::path::Path;

/// Operations within the process, by name.
pub const OPERATIONS: &[&str] = &["parse", "xpath", "serialize"];

/// Serves a deployment directory until standard input ends: `LISTENS ADDRESS` at first, then
/// [`report`].
pub fn gateway(directory: &Path) -> Result<(), Fail> {
    let toml = "[myelin]\nworkers = 1\n[transport.http.listener]\nsecured_enable = false\n";
    let (mut settings, _) = parse(
        Path::new("deployment.toml"),
        toml,
        &Environment::of_process(),
    )?;
    settings.http.port = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = runtime.block_on(Server::start(Options {
        deployment: directory.to_owned(),
        settings,
        management_port: 0,
        internal_port: 0,
        loopback: true,
        clock: Clock::default(),
        lines: None,
    }))?;
    println!("LISTENS {}", server.http.ok_or("no HTTP listener")?);
    // The worker has a thread of its own; this one has nothing to do meanwhile.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    report();
    runtime.block_on(server.stop());
    Ok(())
}

fn report() {
    let (blocks, bytes) = counting::so_far();
    println!("ALLOCATED {blocks} {bytes}");
}

/// Does one of [`OPERATIONS`] `count` times on a message of 10 KB.
pub fn operation(name: &str, count: u32) -> Result<(), Fail> {
    let input = message(10_000, false, None);
    let limits = Limits::default();
    let mut document = Document::parse(input.clone(), &limits)?;
    match name {
        "parse" => {
            for _ in 0..count {
                black_box(Document::parse(black_box(input.clone()), &limits)?);
            }
        }
        "xpath" => {
            let namespaces = Namespaces(vec![("m".to_owned(), ORDERS.to_owned())]);
            let path = XPath::compile("//m:symbol = 'IBM'", &namespaces)?;
            let shown = Shown(document);
            for _ in 0..count {
                if !path.boolean(black_box(&shown))? {
                    return Err("the expression is not true".into());
                }
            }
        }
        "serialize" => {
            let root = document.root_element().ok_or("no root")?;
            let orders: Vec<_> = document
                .descendants(root)
                .filter(|n| document.local_name(*n) == "order")
                .collect();
            // Every third order is changed, so that little can be copied in one go.
            for order in orders.iter().step_by(3) {
                document.set_attribute(*order, "", "", "state", "seen");
            }
            for _ in 0..count {
                let mut out = Vec::with_capacity(16 * 1024);
                document.write(black_box(root), &mut out);
                black_box(out);
            }
        }
        _ => return Err(format!("no operation {name}").into()),
    }
    report();
    Ok(())
}

/// A message that is nothing but a tree.
struct Shown(Document);

impl Shown {
    fn part(&self, name: &str) -> Option<(&Document, NodeId)> {
        let root = self.0.root_element()?;
        let uri = "http://schemas.xmlsoap.org/soap/envelope/";
        Some((&self.0, self.0.child_element(root, uri, name)?))
    }
}

impl Scope for Shown {
    fn envelope(&self) -> Option<(&Document, NodeId)> {
        Some((&self.0, self.0.root_element()?))
    }
    fn header(&self) -> Option<(&Document, NodeId)> {
        self.part("Header")
    }
    fn body(&self) -> Option<(&Document, NodeId)> {
        self.part("Body")
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
