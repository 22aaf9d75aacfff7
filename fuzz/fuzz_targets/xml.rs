//! Bytes as XML: the reader agrees with another one, and what it accepts survives writing and reading again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use myelin::xml::{
    Document, Limits, NodeId, NodeKind, Opened, Scan, Scanner, Text, Unreadable, Visit, decode,
    root_name,
};

fuzz_target!(|data: &[u8]| {
    let _ = root_name(data);
    scan(data);
    for charset in [Some("utf-16"), Some("gb18030"), None] {
        let Ok(text) = decode(Bytes::copy_from_slice(data), charset) else {
            continue;
        };
        assert!(std::str::from_utf8(&text).is_ok());
        read(&text);
    }
});

/// Counts elements, and reads all that there is.
#[derive(Default)]
struct Count(usize);

impl Visit for Count {
    fn open(&mut self, element: &Opened<'_>, _: u64) -> Result<bool, Unreadable> {
        let _ = (element.namespace(), element.attribute("", "a"));
        self.0 += 1;
        Ok(false)
    }
    fn close(&mut self) -> Result<bool, Unreadable> {
        Ok(false)
    }
    fn text(&mut self, text: Text<'_>) -> Result<bool, Unreadable> {
        let _ = text.value();
        Ok(false)
    }
}

/// The streaming reader accepts no more than the tree, whether the document comes whole or in pieces.
fn scan(data: &[u8]) {
    let limits = Limits::default();
    let mut whole = Count::default();
    let at_once = Scanner::new(&limits, true).run(data, true, &mut whole);
    let mut parts = Count::default();
    let mut scanner = Scanner::new(&limits, true);
    let half = data.get(..data.len() / 2).unwrap_or_default();
    let in_pieces = match scanner.run(half, false, &mut parts) {
        Ok(Scan::Incomplete) => scanner.run(data, true, &mut parts),
        other => other,
    };
    if at_once == Ok(Scan::Finished) {
        let document = Document::parse(Bytes::copy_from_slice(data), &limits);
        let document = document.expect("what the scanner finishes is well-formed");
        assert_eq!(elements(&document), whole.0);
        if in_pieces == Ok(Scan::Finished) {
            assert_eq!(whole.0, parts.0);
        }
    }
}

fn read(text: &Bytes) {
    let limits = Limits::default();
    let ours = Document::parse(text.clone(), &limits);
    let theirs = std::str::from_utf8(text)
        .ok()
        .map(roxmltree::Document::parse);
    let Ok(document) = ours else {
        return;
    };
    if let Some(theirs) = theirs {
        match theirs {
            Ok(theirs) => assert_eq!(
                elements(&document),
                theirs.descendants().filter(|n| n.is_element()).count()
            ),
            // It does not know the predefined prefix everywhere.
            Err(error) => assert!(
                text.windows(4).any(|w| w == b"xml:"),
                "only we accept: {error}"
            ),
        }
    }
    let top = document.document_node();
    let written = document.to_xml(top);
    let again =
        Document::parse(written.clone().into(), &limits).expect("what we write is well-formed");
    assert_eq!(again.to_xml(again.document_node()), written);
    edit(document, text);
}

fn elements(document: &Document) -> usize {
    let all = document.descendants(document.document_node());
    all.filter(|&n| document.kind(n) == NodeKind::Element)
        .count()
}

/// Edits chosen by the text; the tree stays writable.
fn edit(mut document: Document, text: &[u8]) {
    let all: Vec<NodeId> = document.descendants(document.document_node()).collect();
    let pick = |byte: Option<&u8>| {
        all.get(usize::from(*byte.unwrap_or(&0)) % all.len().max(1))
            .copied()
    };
    for step in text.chunks_exact(3).take(16) {
        let (Some(a), Some(b)) = (pick(step.get(1)), pick(step.get(2))) else {
            return;
        };
        match step.first().map(|s| s % 8) {
            Some(0) => document.append_child(a, b),
            Some(1) => document.insert_before(a, b),
            Some(2) => document.detach(a),
            Some(3) => document.set_attribute(a, "p", "v", "n", "<\r&"),
            Some(4) => document.set_text(a, "]]>"),
            Some(5) => {
                let copy = document.duplicate(a);
                document.append_child(b, copy);
            }
            Some(6) => document.declare_namespace(a, "p", "w"),
            _ => document.replace(a, b),
        }
    }
    if let Some(root) = document.root_element() {
        let written = document.to_xml(root);
        let unlimited = Limits {
            max_depth: usize::MAX,
            ..Limits::default()
        };
        Document::parse(written.into(), &unlimited).expect("an edited tree is written well-formed");
    }
}
