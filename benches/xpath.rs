//! Content-based routing: on a tree, and from the bytes. See docs/performance.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use myelin::expr::xpath::{Form, Known, Progress, Wanted, XPath};
use myelin::message::Answer;
use myelin::xml::Limits;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use std::hint::black_box;
use support::{Match, NAMESPACE, ROUTE, SIZES, SOAP11, Shown, criterion, message, tree, xpath};

const KNOWN: Known = Known {
    soap11: SOAP11,
    soap12: "http://www.w3.org/2003/05/soap-envelope",
    effects: &["http://www.w3.org/2005/08/addressing"],
};

fn on_a_tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    for (name, size) in SIZES {
        let input = message(size, Match::Last);
        let text = std::str::from_utf8(&input).unwrap();
        group.throughput(Throughput::Bytes(size as u64));
        let route = xpath(ROUTE);
        let shown = Shown(Some(tree(&input)));
        group.bench_function(BenchmarkId::new("myelin", name), |b| {
            b.iter(|| assert!(route.boolean(black_box(&shown)).unwrap()))
        });
        // An edit ends the order of the node table.
        let mut moved = tree(&input);
        let root = moved.root_element().unwrap();
        let copy = moved.duplicate(root);
        let last = moved.create_element("", "", "tail");
        moved.append_child(root, last);
        moved.detach(copy);
        let edited = Shown(Some(moved));
        group.bench_function(BenchmarkId::new("myelin, edited", name), |b| {
            b.iter(|| assert!(route.boolean(black_box(&edited)).unwrap()))
        });
        let theirs = roxmltree::Document::parse(text).unwrap();
        group.bench_function(BenchmarkId::new("roxmltree, by hand", name), |b| {
            b.iter(|| assert!(by_hand(black_box(&theirs))))
        });
        let mut theirs = uppsala::parse(text).unwrap();
        theirs.prepare_xpath();
        let mut evaluator = uppsala::XPathEvaluator::new();
        evaluator.add_namespace("m0", NAMESPACE);
        group.bench_function(BenchmarkId::new("uppsala", name), |b| {
            b.iter(|| {
                let value = evaluator.evaluate(black_box(&theirs), theirs.root(), ROUTE);
                assert!(value.unwrap().to_boolean());
            })
        });
    }
    group.finish();
}

fn by_hand(document: &roxmltree::Document<'_>) -> bool {
    document
        .descendants()
        .filter(|n| n.has_tag_name((NAMESPACE, "symbol")))
        .any(|n| n.text() == Some("IBM"))
}

/// Reads the bytes as they would come, all at once.
fn look(route: &XPath, input: &[u8]) -> Answer {
    let mut look = route
        .look(
            Wanted::Boolean,
            Form::Either,
            KNOWN,
            &Limits::default(),
            false,
        )
        .unwrap();
    match look.advance(input, true, &Shown(None)) {
        Progress::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn ns_reader(text: &str) -> bool {
    let mut reader = quick_xml::NsReader::from_str(text);
    let mut inside = false;
    loop {
        match reader.read_resolved_event().unwrap() {
            (ResolveResult::Bound(Namespace(namespace)), Event::Start(tag)) => {
                inside = namespace == NAMESPACE && tag.local_name().as_ref() == "symbol";
            }
            (_, Event::Text(text)) if inside && &*text == "IBM" => return true,
            (_, Event::Eof) => return false,
            (_, Event::End(_)) => inside = false,
            _ => {}
        }
    }
}

fn from_bytes(c: &mut Criterion) {
    for (place, which) in [("late", Match::Last), ("early", Match::First)] {
        let mut group = c.benchmark_group(format!("bytes, {place} match"));
        for (name, size) in SIZES {
            let input = message(size, which);
            let text = std::str::from_utf8(&input).unwrap();
            group.throughput(Throughput::Bytes(size as u64));
            let route = xpath(ROUTE);
            group.bench_function(BenchmarkId::new("myelin, stream", name), |b| {
                b.iter(|| assert_eq!(look(&route, black_box(&input)), Answer::Boolean(true)))
            });
            group.bench_function(BenchmarkId::new("myelin, tree", name), |b| {
                b.iter(|| {
                    let shown = Shown(Some(tree(black_box(&input))));
                    assert!(route.boolean(&shown).unwrap());
                })
            });
            group.bench_function(BenchmarkId::new("quick-xml NsReader", name), |b| {
                b.iter(|| assert!(ns_reader(black_box(text))))
            });
            group.bench_function(BenchmarkId::new("roxmltree", name), |b| {
                b.iter(|| {
                    assert!(by_hand(
                        &roxmltree::Document::parse(black_box(text)).unwrap()
                    ))
                })
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = on_a_tree, from_bytes }
criterion_main!(benches);
