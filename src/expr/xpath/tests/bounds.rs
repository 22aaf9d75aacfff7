//! What an evaluation may cost, and what makes it cheap.

use super::*;

/// What tokio gives a worker; an optimised build needs a sixth of it.
const STACK: usize = 2 << 20;

/// Deep, long and expensive expressions end in an error or an answer, on a small stack.
#[test]
fn limits() {
    let run = || {
        let message = Message::new(LINES, false);
        let compiles = |text: &str| XPath::compile(text, &namespaces());
        for (open, core, close) in [
            ("(", "1", ")"),
            ("a[", "b", "]"),
            ("string(", "'x'", ")"),
            ("-(", "1", ")"),
            ("$body[", "1 = ", "]"),
        ] {
            let core = if core == "1 = " { "1 = 1" } else { core };
            let nested = |n: usize| format!("{}{core}{}", open.repeat(n), close.repeat(n));
            let fits = compiles(&nested(MAX_NESTING - 1)).unwrap();
            fits.string_value_of(&message).unwrap();
            fits.boolean(&message).unwrap();
            let error = compiles(&nested(MAX_NESTING)).unwrap_err();
            assert!(error.message.contains("nested"), "{error}");
            compiles(&nested(5000)).unwrap_err();
        }
        for (part, last) in [
            ("1+", "a"),
            ("1=", "a"),
            ("1<", "a"),
            ("1 or ", "a"),
            ("-", "a"),
            ("a|", "a"),
            ("1*1+", "a"),
            ("a/", "a"),
            ("*//", "a"),
            ("//a", ""),
            ("*//.//", "a"),
        ] {
            let long = part.repeat(60_000 / part.len()) + last;
            compiles(&long).unwrap().string_value_of(&message).unwrap();
        }
        let predicates = format!("//*{}", "[*]".repeat(20_000));
        compiles(&predicates)
            .unwrap()
            .string_value_of(&message)
            .unwrap();
        assert!(
            compiles(&"1+".repeat(MAX_TEXT))
                .unwrap_err()
                .message
                .contains("bytes")
        );
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();

    let items = "<i><j/></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    let slow = compile("//i[//j[//i[//j = 'x']]]");
    let error = slow.value(&message, 100_000).err().unwrap();
    assert!(error.message.contains("too many nodes"));
    assert_eq!(
        compile("count(//i//j)")
            .string_value_of(&message)
            .unwrap()
            .unwrap(),
        "2000.0"
    );
    let (open, close) = ("<d>".repeat(480), "</d>".repeat(480));
    let message = Message::new(&format!("{open}{}{close}", "<i/>".repeat(2000)), false);
    let error = compile("count(//i[/x])").value(&message, 100_000).err();
    assert!(error.unwrap().message.contains("too many nodes"));
}

/// Finding one namespace among many takes as long as there are namespaces.
#[test]
fn work_with_namespaces_is_bounded() {
    let declared: String = (0..200).map(|i| format!(" xmlns:p{i}='u{i}'")).collect();
    let nested: String = (0..20)
        .map(|level| format!("<a{}>", declared.replace(":p", &format!(":l{level}p"))))
        .collect();
    let message = Message::new(&format!("{nested}{}", "</a>".repeat(20)), false);
    let within = |expression: &str| {
        let xpath = compile(expression);
        xpath
            .value(&message, 500_000)
            .map(|_| ())
            .map_err(|e| e.message)
    };
    assert_eq!(within("count(//namespace::l0p7)"), Ok(()));
    assert_eq!(within("count(//namespace::*)"), Ok(()));
    for expression in [
        "count(//namespace::*[. = 'x'])",
        "count(//namespace::*[local-name() = 'x'])",
        "//namespace::* = 'x'",
    ] {
        assert!(
            within(expression).unwrap_err().contains("too many"),
            "{expression}"
        );
    }
    let count = compile("count($body/a//a[19]/namespace::*)").string_value_of(&message);
    assert_eq!(count.unwrap().as_deref(), Some("0.0"));
}

#[test]
fn texts_are_not_joined_without_limit() {
    let message = Message::new(&format!("<a>{}</a>", "x".repeat(1 << 20)), false);
    let joined = |times: usize| {
        let parts = vec!["$body"; times].join(",");
        compile(&format!("string-length(concat({parts}))")).string_value_of(&message)
    };
    assert_eq!(joined(2).unwrap().as_deref(), Some("2097152.0"));
    assert!(joined(65).unwrap_err().message.contains("is larger than"));
}

/// Elements that contain each other are many times as large as the document.
#[test]
fn text_of_nested_elements_is_bounded() {
    let inner = "x".repeat(1 << 20);
    let body = format!("{}<b>{inner}</b>{}", "<a>".repeat(100), "</a>".repeat(100));
    let message = Message::new(&body, false);
    let error = compile("//a").string_value_of(&message).unwrap_err();
    assert!(error.message.contains("is larger than"), "{error:?}");
    let one = compile("//a[1]").string_value_of(&message);
    assert!(one.is_err(), "every a is the first of its parent");
    let outermost = compile("$body/a").string_value_of(&message).unwrap();
    assert_eq!(outermost.map(|t| t.len()), Some(body.len()));
}

#[test]
fn early_exit_costs_little() {
    let items = "<i><j>x</j></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    for expression in [
        "boolean(//j)",
        "string(//j) = 'x'",
        "//j = 'x'",
        "//j",
        "'x' = //j",
    ] {
        let xpath = compile(expression);
        let answer = Evaluator::new(&xpath.program, &message, 50).run_boolean();
        assert_eq!(answer, Ok(true), "{expression}");
    }
    let indexed = compile("$body/l/i[2]/j");
    assert_eq!(
        Evaluator::new(&indexed.program, &message, 50).run_boolean(),
        Ok(true)
    );
}

#[test]
fn direct_answers_are_those_of_the_evaluator() {
    let body = format!("{LINES}<a><a>x</a>y</a><b/><c>Pen<!---->s</c>");
    for has_document in [false, true] {
        let mut message = Message::new(&body, has_document);
        for edited in [false, true] {
            if edited {
                let root = message.tree.root_element().unwrap();
                let first = message.tree.first_child(root).unwrap();
                message.tree.append_child(root, first);
            }
            for expression in [
                "//o:line = 'Pen'",
                "'Ink' = //o:line",
                "//o:line = 'pen'",
                "//o:line != 'Pen'",
                "//a = 'xy'",
                "//a = 'y'",
                "//b = ''",
                "//b != ''",
                "//c = 'Pens'",
                "//nothing = ''",
                "//nothing != ''",
                "descendant::o:sum = '12.50'",
                "//s11:Envelope = ''",
                "//s11:Envelope != ''",
                "descendant::s11:Envelope != ''",
            ] {
                let xpath = compile(expression);
                assert!(xpath.direct.is_some(), "{expression}");
                let expected = Evaluator::new(&xpath.program, &message, budget()).run_boolean();
                assert_eq!(xpath.boolean(&message), expected, "{expression}");
            }
        }
    }
    for expression in [
        "//a[1] = 'y'",
        "//a/a = 'x'",
        "//@n = '1'",
        "//a = 1",
        "//a = //b",
        "$body//a = 'x'",
        "//a = 'x' or //b = ''",
        "//* = 'x'",
    ] {
        assert!(compile(expression).direct.is_none(), "{expression}");
    }
}

/// A document may be as deep as its limit allows; no axis and no value recurses.
#[test]
fn depth_needs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let text = format!("{}x{}", "<a>".repeat(DEPTH), "</a>".repeat(DEPTH));
    let limits = Limits {
        max_depth: usize::MAX,
        ..Limits::default()
    };
    let tree = Document::parse(text.into(), &limits).unwrap();
    let message = Message::with_tree(tree, true);
    const BUDGET: u64 = 6_000_000;
    for (expression, want) in [
        ("string()", "x"),
        ("string(count(//a[not(a)]/ancestor::a))", "999999"),
        ("string(count(//text()/preceding::node()))", "0"),
        ("string(//a[. = 'x'] = 'x')", "true"),
    ] {
        let xpath = compile(expression);
        let got = xpath.value(&message, BUDGET).unwrap();
        let got = convert::string_value_of(got, expression, &message);
        assert_eq!(got.unwrap().as_deref(), Some(want), "{expression}");
    }
    // What looks at all that is below every element ends with the budget.
    for expression in ["//a[. = 'y']", "sum(//a)", "//a/ancestor::a[1000000]"] {
        assert!(
            compile(expression).value(&message, BUDGET / 20).is_err(),
            "{expression}"
        );
    }
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<XPath>();
    let xpath = &compile("count(//o:line)");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let message = Message::new(LINES, false);
                for _ in 0..50 {
                    assert_eq!(xpath.string_value_of(&message), Ok(Some("2.0".to_owned())));
                }
            });
        }
    });
}
