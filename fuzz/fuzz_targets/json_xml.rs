//! JSON to XML and back, XML to JSON and back. The first byte chooses the settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use myelin::json::{Limits, Options, from_xml, parse, to_xml};
use myelin::xml::{self, Document};

fuzz_target!(|data: &[u8]| {
    let Some((flags, text)) = data.split_first() else {
        return;
    };
    let set = |bit: u8| flags & (1 << bit) != 0;
    let options = Options {
        preserve_namespace: set(0),
        namespace_declarations: set(1),
        build_valid_nc_names: set(2),
        auto_primitive: !set(3),
        xml_multiple_pi: set(4),
        xml_nil: set(5),
        null_for_empty_element: !set(6),
        preserve_spaces: set(7),
        ..Options::default()
    };
    let limits = Limits::default();
    let mut document = Document::new();
    let top = document.document_node();
    if to_xml(text, &mut document, top, &options, &limits).is_ok() {
        assert!(parse(text, &limits).is_ok());
        let written = document.to_xml(top);
        let deep = xml::Limits {
            max_depth: 4096,
            max_name_bytes: usize::MAX,
            ..xml::Limits::default()
        };
        let again = Document::parse(written.into(), &deep);
        // What has a flaw may still be read, as something else; prefixes are nobody's business there.
        let flawed = document.flaw(top).is_some() || text.contains(&b':');
        assert!(flawed || again.is_ok(), "{:?}", again.err());
        if let Some(root) = document.root_element() {
            back(&document, root, &options);
        }
    }
    let Ok(document) = Document::parse(text.to_vec().into(), &xml::Limits::default()) else {
        return;
    };
    if let Some(root) = document.root_element() {
        back(&document, root, &options);
    }
});

/// An element becomes JSON that can be read, if it becomes any.
fn back(document: &Document, root: xml::NodeId, options: &Options) {
    let Ok(json) = from_xml(document, root, options) else {
        return;
    };
    match parse(
        &json,
        &Limits {
            max_depth: 512,
            ..Limits::default()
        },
    ) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind, myelin::json::JsonErrorKind::TooDeep, "{error}"),
    }
}
