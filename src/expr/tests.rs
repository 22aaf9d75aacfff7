use super::*;

/// Spec 05 §1: the raw text decides, without trimming.
#[test]
fn the_language_is_chosen_by_the_text() {
    let language = |text: &str| match Expr::compile(text, &Namespaces::default()) {
        Ok(Expr::XPath(_)) => "xpath",
        Ok(Expr::Json { .. } | Expr::JsonFrom { .. }) => "json-eval",
        Ok(Expr::Synapse { .. }) => "synapse",
        Err(_) => "error",
    };
    let cases = [
        ("json-eval($.a)", "json-eval"),
        ("${payload.a}", "synapse"),
        (" ${payload.a}", "error"),
        ("${payload.a} ", "error"),
        ("${payload.a}${payload.b}", "error"),
        ("Hello ${payload.a}", "error"),
        ("${}", "error"),
        ("abc", "xpath"),
        ("$body/a", "xpath"),
    ];
    for (text, expected) in cases {
        assert_eq!(language(text), expected, "{text}");
    }
}

/// Spec 05 §6.1, B.9 rows 275-279.
#[test]
fn braces_make_a_value_dynamic() {
    let kind = |text: &str| match Dynamic::compile(text, &Namespaces::default()) {
        Ok(Dynamic::Static(text)) => format!("static {text}"),
        Ok(Dynamic::Expr(expr)) => format!("dynamic {}", expr.text()),
        Err(e) => format!("error at {}", e.offset),
    };
    let cases = [
        ("{$ctx:str}", "dynamic $ctx:str"),
        ("{${payload.name}}", "dynamic ${payload.name}"),
        ("${payload.name}", "static ${payload.name}"),
        ("x{$ctx:str}", "static x{$ctx:str}"),
        ("{{//a}}", "static {//a}"),
        ("{${payload.1}}", "error at 11"),
    ];
    for (text, expected) in cases {
        assert_eq!(kind(text), expected, "{text}");
    }
}

/// Inside braces an XPath of a Synapse expression has no namespaces (spec 05 §6.1).
#[test]
fn synapse_expressions_in_braces_have_no_namespaces() {
    let namespaces = Namespaces(vec![("o".to_owned(), "urn:o".to_owned())]);
    let text = "${xpath('//o:a')}";
    let warnings = |expr: &Expr| expr.warnings().len();
    assert_eq!(warnings(&Expr::compile(text, &namespaces).unwrap()), 0);
    match Dynamic::compile(&format!("{{{text}}}"), &namespaces).unwrap() {
        Dynamic::Expr(expr) => assert_eq!(warnings(&expr), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_there_yet_is_refused() {
    for text in ["${wso2-vault('a')}", "${'a' + wso2-vault('b')}"] {
        let error = Expr::compile(text, &Namespaces::default()).unwrap_err();
        assert!(error.unsupported, "{text}");
        assert!(Template::compile(text).unwrap_err().unsupported, "{text}");
    }
}
