//! The first line as a JSONPath, the rest as the body (or a fixed one).
#![no_main]

use libfuzzer_sys::fuzz_target;
use myelin::expr::jsonpath::{JsonPath, dynamic_pieces, split_source};
use myelin::json::{Limits, Value, parse, to_text};

const BODY: &str = r#"{"a":[1,2.50,"z",null,{"k":"v","a":[3]}],"b":{"c":true,"d":"10"},"e":[]}"#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (path, body) = text.split_once('\n').unwrap_or((text, ""));
    let _ = dynamic_pieces(path);
    let _ = split_source(path);
    let Ok(path) = JsonPath::compile(path) else {
        return;
    };
    let limits = Limits {
        max_nodes: 200,
        ..Limits::default()
    };
    let body = if parse(body.as_bytes(), &limits).is_ok() {
        body
    } else {
        BODY
    };
    let Ok(root) = parse(body.as_bytes(), &limits) else {
        return;
    };
    let _ = path.string_value(&root, body.as_bytes());
    let _ = path.list(&root);
    if let Ok(found) = path.evaluate(&root) {
        let text = to_text(&found.into_value());
        parse(text.as_bytes(), &Limits::default()).expect("a result is JSON");
    }
    let change = |apply: &dyn Fn(&mut Value)| {
        let mut copy = root.clone();
        apply(&mut copy);
        parse(to_text(&copy).as_bytes(), &Limits::default()).expect("a changed body is JSON");
    };
    change(&|v| drop(path.set(v, &Value::Bool(true))));
    change(&|v| drop(path.delete(v)));
    change(&|v| drop(path.rename(v, "new")));
    for place in path.locate(&root).unwrap_or_default() {
        assert!(place.get_mut(&mut root.clone()).is_some());
    }
});
