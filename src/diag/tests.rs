use super::*;
use expect_test::expect;

#[test]
fn text_shows_the_line_and_a_caret() {
    let source = Source::new(
        "deployment/p.xml",
        "<a>\n\t<endpoint key=\"RealServcie\"/>\n</a>",
    );
    let start = source.text().find("RealServcie").unwrap();
    let d = Diagnostic::error(
        codes::UNDEFINED_ENDPOINT,
        Place::new(&source, start..start + 11),
        "endpoint \"RealServcie\" is not defined",
    )
    .help("did you mean \"RealService\"?");
    expect![[r#"
        error[M0102]: endpoint "RealServcie" is not defined
         --> deployment/p.xml:2:17
          |
        2 | 	<endpoint key="RealServcie"/>
          | 	               ^^^^^^^^^^^
          = help: did you mean "RealService"?
    "#]]
    .assert_eq(&to_text(&d));
    expect![[r#"
        {
          "diagnostics": [
            {
              "file": "deployment/p.xml",
              "line": 2,
              "column": 17,
              "code": "M0102",
              "severity": "error",
              "message": "endpoint \"RealServcie\" is not defined",
              "help": "did you mean \"RealService\"?"
            }
          ]
        }
    "#]]
    .assert_eq(&to_json(&[d]));
}

#[test]
fn odd_characters_and_long_lines_are_shown_safely() {
    let text = format!("{}<x\u{200b} y='1'/>", " ".repeat(400));
    let source = Source::new("f.xml", text);
    let d = Diagnostic::warning(codes::UNKNOWN_ELEMENT, Place::new(&source, 400..402), "odd");
    let shown = to_text(&d);
    assert!(shown.contains("<x\\u{200b}"), "{shown}");
    assert!(shown.lines().all(|l| l.len() < 200), "{shown}");
}

#[test]
fn places_outside_the_text_do_not_panic() {
    let source = Source::new("f.xml", "é");
    for (a, b) in [(0, 99), (1, 1), (99, 3), (2, 2)] {
        let place = Place::new(&source, Span { start: a, end: b });
        let _ = to_text(&Diagnostic::error(codes::MALFORMED_XML, place, "m"));
    }
}

#[test]
fn nearest_names() {
    let names = ["RealService", "OtherService", "errorHandler"];
    for (asked, expected) in [
        ("RealServcie", Some("RealService")),
        ("realservice", Some("RealService")),
        ("erorHandler", Some("errorHandler")),
        ("zebra", None),
        ("", None),
    ] {
        assert_eq!(nearest(asked, names), expected, "{asked}");
    }
}

#[test]
fn codes_are_unique_and_sorted() {
    assert!(codes::ALL.windows(2).all(|w| w[0].0 < w[1].0));
}
