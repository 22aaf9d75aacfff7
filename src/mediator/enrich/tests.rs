use crate::mediator::testing::Bench;

const PATIENT: &str = r#"{"phone":[8770586755,35352399,null],"doctor":{"name":"thomas collins","hospital":"grand oak"},"email":"johndoe@gmail.com"}"#;

fn enrich(body: &str, source: &str, target: &str) -> String {
    let mut bench = match body.starts_with('<') {
        true => Bench::xml(body),
        false => Bench::json(body),
    };
    bench.give(&mediator(source, target))
}

fn mediator(source: &str, target: &str) -> String {
    format!("<enrich>{source}{target}</enrich>")
}

/// Spec 03 §29 rows 73 to 76.
#[test]
fn json_is_enriched() {
    let inline = |text: &str| format!("<source type='inline'>{text}</source>");
    let custom =
        |path: &str, action: &str| format!("<target action='{action}' xpath='json-eval({path})'/>");
    let phone = PATIENT.replace("null]", r#"null,{"countryCode":94}]"#);
    assert_eq!(
        enrich(
            PATIENT,
            &inline(r#"{"countryCode":94}"#),
            &custom("$.phone", "child")
        ),
        phone
    );
    let active = PATIENT.replace(r#""grand oak""#, r#""grand oak","active":true"#);
    assert_eq!(
        enrich(
            PATIENT,
            &inline(r#"{"active":true}"#),
            &custom("$.doctor", "child")
        ),
        active
    );
    let root = PATIENT.replace(r#"gmail.com""#, r#"gmail.com","appointment_id":"1""#);
    assert_eq!(
        enrich(
            PATIENT,
            &inline(r#"{"appointment_id":"1"}"#),
            &custom("$", "child")
        ),
        root
    );
    assert_eq!(
        enrich(
            PATIENT,
            &inline(r#"{"appointment_id":"1"}"#),
            "<target type='body' action='child'/>"
        ),
        root
    );
    let name = PATIENT.replace(
        r#"{"name":"thomas collins","hospital":"grand oak"}"#,
        r#""thomas collins""#,
    );
    let source = "<source xpath='json-eval($.doctor.name)'/>";
    assert_eq!(
        enrich(PATIENT, source, &custom("$.doctor", "replace")),
        name
    );
    // A new last name is added, a new path is not.
    assert_eq!(
        enrich("{\"a\":{}}", &inline("1"), &custom("$.a.b", "replace")),
        r#"{"a":{"b":1}}"#
    );
    assert!(enrich("{\"a\":{}}", &inline("1"), &custom("$.x.y", "replace")).starts_with("! "));
    assert_eq!(
        enrich(
            "[{\"a\":1},{\"a\":2}]",
            &inline("3"),
            &custom("$[*].a", "replace")
        ),
        r#"[{"a":3},{"a":3}]"#
    );
    // Nothing to append to: logged, and nothing changes.
    assert_eq!(
        enrich("{\"a\":1}", &inline("2"), &custom("$.a", "child")),
        r#"{"a":1}"#
    );
    assert_eq!(
        enrich("{\"a\":1}", &inline("2"), &custom("$.a", "sibling")),
        r#"{"a":1}"#
    );
    // The value moves.
    assert_eq!(
        enrich(
            "{\"a\":1,\"b\":[]}",
            "<source clone='false' xpath='json-eval($.a)'/>",
            &custom("$.b", "child")
        ),
        r#"{"b":[1]}"#
    );
    assert!(
        enrich(
            "{}",
            "<source xpath='json-eval($.a)'/>",
            "<target type='body'/>"
        )
        .starts_with("! Failed to get the source for Enriching : ")
    );
    assert_eq!(
        enrich(
            "{\"a\":1}",
            "<source xpath='json-eval($.a)'/>",
            "<target type='body'/>"
        ),
        r#"{"a":1}"#
    );
    assert_eq!(
        enrich(
            "{\"a\":[1]}",
            "<source xpath='json-eval($.a)'/>",
            "<target type='body'/>"
        ),
        "[1]"
    );
    // Synapse expressions can be read.
    assert_eq!(
        enrich(
            "{\"a\":1}",
            "<source xpath='${payload.a + 1}'/>",
            &custom("$.b", "replace")
        ),
        r#"{"a":1,"b":2}"#
    );
}

/// Rows 77 to 79.
#[test]
fn json_goes_through_properties() {
    let mut bench = Bench::json(PATIENT);
    let steps = [
        mediator(
            "<source xpath='json-eval($.email)'/>",
            "<target type='property' property='p'/>",
        ),
        mediator(
            "<source type='inline'>{\"person\":{\"name\":\"Alice\",\"email\":null}}</source>",
            "<target type='body'/>",
        ),
        mediator(
            "<source type='property' property='p'/>",
            "<target xpath='json-eval($.person.email)'/>",
        ),
    ];
    assert_eq!(
        bench.give(&steps.concat()),
        r#"{"person":{"name":"Alice","email":"johndoe@gmail.com"}}"#
    );
    // A string keeps its quotes.
    assert_eq!(bench.text("p").as_deref(), Some("\"johndoe@gmail.com\""));

    let mut bench = Bench::json(PATIENT);
    let steps = [
        mediator(
            "<source type='body'/>",
            "<target type='property' property='p'/>",
        ),
        mediator("<source type='inline'>{}</source>", "<target type='body'/>"),
        mediator(
            "<source type='property' property='p'/>",
            "<target type='body'/>",
        ),
    ];
    assert_eq!(bench.give(&steps.concat()), PATIENT);

    let child = mediator(
        "<source type='property' property='p'/>",
        "<target action='child' xpath='json-eval($.phone)'/>",
    );
    let mut bench = Bench::json(PATIENT).property("p", "\"Hello World\"");
    assert_eq!(
        bench.give(&child),
        PATIENT.replace("null]", "null,\"Hello World\"]")
    );
    let mut bench = Bench::json(PATIENT).property("p", "Hello World");
    assert_eq!(
        bench.give(&child),
        PATIENT.replace("null]", "null,\"Hello World\"]")
    );
    assert!(
        Bench::json(PATIENT)
            .give(&child)
            .starts_with("! Failed to get the source for Enriching")
    );

    let mut bench = Bench::json("{\"a\":2}").property("list", "[1]");
    bench
        .run(&mediator(
            "<source xpath='json-eval($.a)'/>",
            "<target type='property' action='child' property='list'/>",
        ))
        .unwrap();
    assert_eq!(bench.text("list").as_deref(), Some("[1,2]"));
}

/// Row 80.
#[test]
fn json_is_removed() {
    let store =
        r#"{"store":{"book":[{"author":"A","t":1},{"author":"B","t":2},{"author":"C","t":3}]}}"#;
    let body = "<target action='remove' type='body'/>";
    let remove = |paths: &str| {
        enrich(
            store,
            &format!("<source xpath='json-eval({paths})'/>"),
            body,
        )
    };
    assert_eq!(
        remove("$.store.book[*].author,$.store.book[0]"),
        r#"{"store":{"book":[{"t":2},{"t":3}]}}"#
    );
    assert_eq!(remove("$"), "");
    assert!(
        remove("$.nothing").starts_with("! Error occurred while executing the action : remove")
    );
    let mut bench = Bench::json("{}").property("p", r#"{"a":1,"b":2}"#);
    bench
        .run(&mediator(
            "<source xpath='json-eval($.a)'/>",
            "<target action='remove' type='property' property='p'/>",
        ))
        .unwrap();
    assert_eq!(bench.text("p").as_deref(), Some(r#"{"b":2}"#));
}

#[test]
fn members_are_renamed() {
    let target = "<target type='key' xpath='json-eval($.user.name)'/>";
    let body = r#"{"user":{"name":"x","id":1}}"#;
    assert_eq!(
        enrich(body, "<source type='inline'>\"full\"</source>", target),
        r#"{"user":{"id":1,"full":"x"}}"#
    );
    assert_eq!(
        enrich(body, "<source type='inline'>{}</source>", target),
        "! Failed to get the new key name from source for Enriching. Key name must be a string."
    );
}

/// Spec 05 §6.4, B.9 rows 283, 284.
#[test]
fn inline_expressions() {
    let inline = |text: &str| {
        let mut bench = Bench::json(r#"{"name":"Ann","n":7,"o":{"k":1}}"#)
            .property("s", "abc")
            .property("two", "a b");
        bench.give(&mediator(
            &format!("<source type='inline'>{text}</source>"),
            "<target type='body'/>",
        ))
    };
    assert_eq!(
        inline(r#"{"a":{$ctx:s},"b":{json-eval($.name)}}"#),
        r#"{"a":"abc","b":"Ann"}"#
    );
    assert_eq!(
        inline(r#"{"a":{json-eval($.n)},"b":{json-eval($.o)}}"#),
        r#"{"a":7,"b":{"k":1}}"#
    );
    assert_eq!(inline(r#"{"a":"{$ctx:s}"}"#), r#"{"a":"abc"}"#);
    assert_eq!(inline(r#"{"a":{$ctx:missing}}"#), r#"{"a":""}"#);
    // Row 284 of spec 05: four quotes, which is no JSON.
    let quoted = inline(r#"{"a":"{$ctx:missing}"}"#);
    assert!(quoted.starts_with("! "), "{quoted}");
    assert_eq!(inline(r#"{"a":{$ctx:two}}"#), r#"{"a":"a b"}"#);
}

/// Row 81, spec 03 §15.2.
#[test]
fn xml_is_enriched() {
    let body = "<r><a/><c/><b>1</b></r>";
    assert_eq!(
        enrich(
            body,
            "<source xpath='//b'/>",
            "<target action='sibling' xpath='//a'/>"
        ),
        "<r><a/><b>1</b><c/><b>1</b></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source clone='false' xpath='//b'/>",
            "<target action='sibling' xpath='//a'/>"
        ),
        "<r><a/><b>1</b><c/></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source xpath='//b'/>",
            "<target action='child' xpath='//a'/>"
        ),
        "<r><a><b>1</b></a><c/><b>1</b></r>"
    );
    assert_eq!(
        enrich(body, "<source xpath='//b'/>", "<target xpath='//a'/>"),
        "<r><b>1</b><c/><b>1</b></r>"
    );
    assert_eq!(
        enrich(body, "<source xpath='//a|//c'/>", "<target xpath='//b'/>"),
        "<r><a/><c/><a/><c/></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source type='inline'><x xmlns=''/></source>",
            "<target action='child' type='body'/>"
        ),
        "<r><a/><c/><b>1</b><x/></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source type='inline'><x xmlns=''/></source>",
            "<target type='body'/>"
        ),
        "<x/>"
    );
    assert_eq!(
        enrich(
            body,
            "<source type='inline'>two</source>",
            "<target xpath='//b'/>"
        ),
        "<r><a/><c/><b>two</b></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source type='inline'>two</source>",
            "<target xpath='//b/text()'/>"
        ),
        "<r><a/><c/><b>two</b></r>"
    );
    assert_eq!(
        enrich(
            "<r a='1'/>",
            "<source type='inline'>two</source>",
            "<target xpath='//r/@a'/>"
        ),
        "<r a=\"two\"/>"
    );
    assert_eq!(
        enrich(body, "<source xpath='//nothing'/>", "<target xpath='//a'/>"),
        body
    );
    assert_eq!(
        enrich(body, "<source xpath='//b'/>", "<target xpath='//nothing'/>"),
        "! Invalid Target object to be enrich."
    );
    assert_eq!(
        enrich(
            body,
            "<source type='inline'><x/></source>",
            "<target type='envelope'/>"
        ),
        "! A SOAPEnvelope is expected"
    );
    // An element becomes its own ancestor's place.
    assert_eq!(
        enrich(
            "<r><a><b/></a></r>",
            "<source clone='false' xpath='//b'/>",
            "<target xpath='//a'/>"
        ),
        "<r><b/></r>"
    );
}

#[test]
fn xml_goes_through_properties() {
    let mut bench = Bench::xml("<r><a>1</a><a>2</a></r>");
    let steps = [
        mediator(
            "<source type='body'/>",
            "<target type='property' property='old'/>",
        ),
        mediator(
            "<source xpath='//a'/>",
            "<target type='property' property='all'/>",
        ),
        mediator(
            "<source type='inline'><n xmlns=''/></source>",
            "<target type='body'/>",
        ),
        mediator(
            "<source type='property' property='all'/>",
            "<target action='child' type='body'/>",
        ),
        mediator(
            "<source type='property' property='old'/>",
            "<target action='sibling' xpath='//n/a[1]'/>",
        ),
    ];
    assert_eq!(
        bench.give(&steps.concat()),
        "<n><a>1</a><r><a>1</a><a>2</a></r><a>2</a></n>"
    );
    let steps = mediator(
        "<source type='inline'><x xmlns=''/></source>",
        "<target xpath=\"get-property('axis2', 'p')\"/>",
    );
    bench.run(&steps).unwrap();
    assert_eq!(
        bench
            .message
            .axis2
            .get("p")
            .map(|v| v.text().into_owned())
            .as_deref(),
        Some("<x/>")
    );
    let add = mediator(
        "<source type='inline'><y xmlns=''/></source>",
        "<target action='child' type='property' property='old'/>",
    );
    bench.run(&add).unwrap();
    assert!(
        bench.text("old").unwrap().ends_with("<y/></r>"),
        "{:?}",
        bench.text("old")
    );
    // Text is never parsed.
    let mut bench = Bench::xml("<r/>").property("p", "<x/>");
    assert_eq!(
        bench.give(&mediator(
            "<source type='property' property='p'/>",
            "<target xpath='//r'/>"
        )),
        "<r>&lt;x/></r>"
    );
    // Text that is JSON makes a JSON body.
    let mut bench = Bench::xml("<r/>").property("p", "{\"a\":1}");
    bench
        .run(&mediator(
            "<source type='property' property='p'/>",
            "<target type='body'/>",
        ))
        .unwrap();
    bench.message.set_message_type("application/json");
    assert_eq!(bench.body(), "{\"a\":1}");
}

/// Row 82; a property never shows later changes.
#[test]
fn the_envelope_is_kept_and_comes_back() {
    for clone in ["true", "false"] {
        let mut bench = Bench::xml("<old/>");
        let steps = [
            mediator(
                &format!("<source type='envelope' clone='{clone}'/>"),
                "<target type='property' property='p'/>",
            ),
            mediator(
                "<source type='inline'><new xmlns=''/></source>",
                "<target type='body'/>",
            ),
        ];
        assert_eq!(bench.give(&steps.concat()), "<new/>");
        assert!(bench.text("p").unwrap().contains("<old/>"));
        let back = mediator(
            "<source type='property' property='p'/>",
            "<target type='envelope'/>",
        );
        assert_eq!(bench.give(&back), "<old/>");
    }
}

/// A JSON body is enriched by XPath through its XML view.
#[test]
fn json_by_xpath() {
    assert_eq!(
        enrich(
            "{\"a\":1}",
            "<source type='inline'><b xmlns=''>2</b></source>",
            "<target action='sibling' xpath='//a'/>"
        ),
        "{\"a\":1,\"b\":2}"
    );
}

#[test]
fn entries_are_inline_sources() {
    let mut bench = Bench::json("{}").entry("j", "{\"k\":1}").entry("x", "<x/>");
    let from = |key: &str| {
        mediator(
            &format!("<source type='inline' key='{key}'/>"),
            "<target type='body'/>",
        )
    };
    assert_eq!(bench.give(&from("j")), "{\"k\":1}");
    assert!(
        bench
            .give(&from("nowhere"))
            .starts_with("! Failed to get the source")
    );
    let mut bench = Bench::xml("<r/>").entry("x", "<x/>");
    assert_eq!(bench.give(&from("x")), "<x/>");
    assert_eq!(bench.give(&from("nowhere")), "<x/>");
}

#[test]
fn wrong_combinations_are_refused() {
    let cases = [
        ("<source/>", "", "target element is mandatory"),
        ("", "<target/>", "source element is mandatory"),
        (
            "<source type='x'/>",
            "<target type='body'/>",
            "Unexpected source type",
        ),
        (
            "<source type='body'/>",
            "<target type='x'/>",
            "Unexpected target type",
        ),
        (
            "<source type='body'/>",
            "<target type='inline'/>",
            "Inline not support for target attribute",
        ),
        (
            "<source type='envelope'/>",
            "<target type='body'/>",
            "Wrong combination of source and target type",
        ),
        (
            "<source type='body'/>",
            "<target type='envelope'/>",
            "Wrong combination of source and target type",
        ),
        (
            "<source xpath='//a'/>",
            "<target type='envelope'/>",
            "Wrong combination of source and target type",
        ),
        (
            "<source type='body'/>",
            "<target type='property' property='p' action='remove'/>",
            "Wrong combination of source type and target action",
        ),
        (
            "<source xpath='json-eval($.a)'/>",
            "<target xpath='json-eval($.b)' action='remove'/>",
            "Wrong combination of target type and target action",
        ),
        (
            "<source type='inline'>a</source>",
            "<target type='envelope' action='child'/>",
            "Invalid target action",
        ),
        (
            "<source/>",
            "<target type='body'/>",
            "xpath attribute is required for CUSTOM type",
        ),
        (
            "<source type='inline'/>",
            "<target type='body'/>",
            "XML element is required for INLINE type",
        ),
        (
            "<source type='inline'>1</source>",
            "<target xpath='json-eval($)'/>",
            "Acting replace is not supported for root path in type custom. Please use type body action replace instead",
        ),
        (
            "<source type='inline'>a</source>",
            "<target type='key' xpath='json-eval($.a)' action='child'/>",
            "Only the replace action is supported for the target type 'key'.",
        ),
        (
            "<source type='inline'>a</source>",
            "<target type='key'/>",
            "Xpath must be defined for the target type 'key'.",
        ),
        (
            "<source type='body'/>",
            "<target type='key' xpath='json-eval($.a)'/>",
            "Wrong combination of source type and target type",
        ),
    ];
    for (source, target, expected) in cases {
        assert_eq!(
            enrich("{}", source, target),
            format!("! deployment: {expected}")
        );
    }
}

/// Of elements that contain each other the reference copies each with everything in it; when they move, the inner one
/// leaves the outer one.
#[test]
fn elements_that_contain_each_other() {
    let body = "<r><a>1<a>2</a></a><t/></r>";
    assert_eq!(
        enrich(
            body,
            "<source xpath='//a'/>",
            "<target action='child' xpath='//t'/>"
        ),
        "<r><a>1<a>2</a></a><t><a>1<a>2</a></a><a>2</a></t></r>"
    );
    assert_eq!(
        enrich(
            body,
            "<source xpath='//a' clone='false'/>",
            "<target action='child' xpath='//t'/>"
        ),
        "<r><t><a>1</a><a>2</a></t></r>"
    );
    // The copies are bounded while they are made.
    let deep = format!("<r>{}{}<t/></r>", "<a>".repeat(200), "</a>".repeat(200));
    for target in [
        "<target action='child' xpath='//t'/>",
        "<target type='property' property='p'/>",
        "<target type='body'/>",
    ] {
        let mut bench = Bench::xml(&deep);
        bench.limits.xml.max_nodes = 5000;
        assert_eq!(
            bench.give(&mediator("<source xpath='//a'/>", target)),
            "! The message would have more than 5000 nodes",
            "{target}"
        );
    }
}

/// A tree whose copies share a long text is small in memory and may be huge as text: it never comes about.
#[test]
fn copies_are_bounded_as_text() {
    let long = "x".repeat(10_000);
    for body in [
        format!("<r><a>{long}</a><t/></r>"),
        format!("<r xmlns:p='{long}'><p:a/><t/></r>"),
    ] {
        for target in [
            "<target action='child' xpath='//t'/>",
            "<target action='sibling' xpath='//t'/>",
        ] {
            let mut bench = Bench::xml(&body);
            bench.limits.xml.max_bytes = 100_000;
            let twice = mediator("<source xpath=\"//*[local-name()='a']\"/>", target);
            let given = bench.give(&twice.repeat(8));
            let expected = "! The content would have more than 100000 bytes as XML";
            assert_eq!(given, expected, "{target}");
        }
        let mut bench = Bench::xml(&body);
        bench.limits.xml.max_bytes = 100_000;
        let source = "<source xpath=\"//*[local-name()='a']\"/>";
        let into = mediator(source, "<target action='child' xpath='//t'/>");
        let kept = mediator(source, "<target type='property' property='p'/>");
        // Each of them fits, all of them do not.
        let given = bench.give(&format!("{}{kept}", into.repeat(2)));
        assert!(!given.starts_with('!'), "{given}");
        bench.limits.xml.max_bytes = 35_000;
        assert_eq!(
            bench.give(&kept),
            "! The content would have more than 35000 bytes as XML"
        );
    }
}

/// A child of a property whose value is a text: a target `property` reads it as an element, and keeps only its text; a
/// path `get-property` replaces it.
#[test]
fn children_of_texts_in_properties() {
    let new = "<source type='inline'><new xmlns=''/></source>";
    for (target, expected) in [
        (
            "<target type='property' action='child' property='p'/>",
            "old",
        ),
        (
            "<target action='child' xpath=\"get-property('p')\"/>",
            "<new/>",
        ),
    ] {
        let mut bench = Bench::xml("<r/>").property("p", "<o>old</o>");
        bench.run(&mediator(new, target)).unwrap();
        assert_eq!(bench.text("p").as_deref(), Some(expected), "{target}");
    }
}

/// What goes through a property as text says what it would say with trees.
#[test]
fn whole_json_bodies_move_as_text() {
    let there_and_back = [
        mediator(
            "<source type='body'/>",
            "<target type='property' property='p'/>",
        ),
        mediator(
            "<source type='inline'>{ \"x\" : 1 }</source>",
            "<target type='body'/>",
        ),
        mediator(
            "<source type='property' property='p'/>",
            "<target type='body'/>",
        ),
    ]
    .concat();
    for (body, expected) in [
        ("{ \"a\" : [ 1.50 , null ] }", "{\"a\":[1.50,null]}"),
        (r#"{"a":"\u00e9\/\n"}"#, r#"{"a":"é/\n"}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        // Only objects and arrays become a body.
        ("\"text\"", "{\"x\":1}"),
    ] {
        assert_eq!(Bench::json(body).give(&there_and_back), expected, "{body}");
    }
    let mut bench = Bench::json("{\"a\":");
    let given = bench.give(&there_and_back);
    assert!(given.starts_with("! "), "{given}");
    // What people write is read as leniently as before.
    let mut bench = Bench::json("{}").property("p", "{a:'b'}");
    assert_eq!(
        bench.give(&mediator(
            "<source type='property' property='p'/>",
            "<target type='body'/>"
        )),
        "{\"a\":\"b\"}"
    );
}
