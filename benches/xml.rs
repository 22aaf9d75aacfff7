//! Parsing and writing messages, next to other libraries. See docs/performance.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use support::{Match, SIZES, criterion, message, tree};

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, size) in SIZES {
        let input = message(size, Match::Last);
        let text = std::str::from_utf8(&input).unwrap();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("myelin", name), |b| {
            b.iter(|| tree(black_box(&input)))
        });
        group.bench_function(BenchmarkId::new("roxmltree", name), |b| {
            b.iter(|| roxmltree::Document::parse(black_box(text)).unwrap())
        });
        group.bench_function(BenchmarkId::new("uppsala", name), |b| {
            b.iter(|| {
                let mut document = uppsala::parse(black_box(text)).unwrap();
                document.prepare_xpath();
                document
            })
        });
        group.bench_function(
            BenchmarkId::new("quick-xml Reader, events only", name),
            |b| {
                b.iter(|| {
                    let mut reader = quick_xml::Reader::from_str(black_box(text));
                    while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
                })
            },
        );
        group.bench_function(
            BenchmarkId::new("quick-xml NsReader, events only", name),
            |b| {
                b.iter(|| {
                    let mut reader = quick_xml::NsReader::from_str(black_box(text));
                    while !matches!(
                        reader.read_resolved_event().unwrap().1,
                        quick_xml::events::Event::Eof
                    ) {}
                })
            },
        );
    }
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    for (name, size) in SIZES {
        let input = message(size, Match::Last);
        let text = std::str::from_utf8(&input).unwrap();
        group.throughput(Throughput::Bytes(size as u64));
        let unedited = tree(&input);
        let root = unedited.root_element().unwrap();
        let mut edited = tree(&input);
        let body = edited.child_elements(root).last().unwrap();
        let orders: Vec<_> = edited
            .descendants(body)
            .filter(|n| edited.local_name(*n) == "order")
            .collect();
        // Every third order is changed, so that little can be copied in one go.
        for order in orders.iter().step_by(3) {
            edited.set_attribute(*order, "", "", "state", "seen");
        }
        for (what, document) in [("myelin", &unedited), ("myelin, edited", &edited)] {
            group.bench_function(BenchmarkId::new(what, name), |b| {
                b.iter(|| {
                    let mut out = Vec::with_capacity(size + size / 4);
                    document.write(black_box(root), &mut out);
                    out
                })
            });
        }
        let theirs = uppsala::parse(text).unwrap();
        group.bench_function(BenchmarkId::new("uppsala", name), |b| {
            b.iter(|| black_box(&theirs).to_xml())
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = parse, write }
criterion_main!(benches);
