//! The axes against a second implementation, and properties of all expressions.

use super::*;

/// `[position() = 1]` is evaluated for every parent by itself.
#[test]
fn a_numbered_child_of_each_parent_in_one_pass() {
    let body = "<a><b>1</b><a n='1'>2</a><b>3<a/></b></a><!--c--><b/>x<a n='2'><c/><a><b>4</b><b/></a></a><a/>";
    for soap in [false, true] {
        let message = Message::new(body, soap);
        for path in [
            "//a#",
            "//a#/b",
            "//a#/b#",
            "//a#[@n]",
            "//a#[b]/@n",
            "$body//a#",
            "//a/a//b#",
            "//b//a#",
            "//none#",
            "//@n//a#",
            "(//a# | //b#)/..",
        ] {
            let nodes = |position| {
                compile(&path.replace('#', position))
                    .nodes(&message)
                    .unwrap()
            };
            let text = |position| compile(&path.replace('#', position)).string_value_of(&message);
            for (short, long) in [
                ("[1]", "[position() = 1]"),
                ("[2]", "[position() = 2]"),
                ("[3]", "[position() = 3]"),
                ("[last()]", "[position() = last()]"),
            ] {
                assert_eq!(nodes(short), nodes(long), "{path} {short}");
                assert_eq!(text(short), text(long), "{path} {short}");
            }
        }
    }
    let items = "<i><j>x</j></i>".repeat(2000);
    let message = Message::new(&format!("<l>{items}</l>"), false);
    for expression in [
        "//i[1]/j = 'x'",
        "string(//i[1]/j) = 'x'",
        "//l[1] = ''",
        "//i[1000]/j = 'x'",
        "//i[last()]/j = 'x'",
        "//j[2] = 'x'",
        "string(//j[last()]) = 'x'",
    ] {
        let xpath = compile(expression);
        let answer = Evaluator::new(&xpath.program, &message, 10_000).run_boolean();
        assert!(answer.is_ok(), "{expression}");
    }
}

/// Against a second, naive implementation of the axes on the same tree.
#[test]
fn axes_partition_the_document() {
    let message = Message::new(LINES, true);
    let all = compile("//node() | /").nodes(&message).unwrap();
    for node in &all {
        let position = all.iter().position(|n| n == node).unwrap();
        let view = axes::View {
            envelope: message.envelope().map(|(d, n)| Node::new(d, n)),
            has_document: true,
        };
        let walk = |axis| view.walk(axis, *node).collect::<Vec<_>>();
        use program::Axis::*;
        let mut reverse = [walk(Preceding), walk(Ancestor)].concat();
        reverse.sort_by(axes::compare_order);
        let forward = [walk(Descendant), walk(Following)].concat();
        assert_eq!(reverse, all[..position]);
        assert_eq!(forward, all[position + 1..]);
        assert!(walk(Preceding).is_sorted_by(|a, b| axes::compare_order(a, b).is_gt()));
        assert_eq!(walk(AncestorOrSelf)[1..], walk(Ancestor));
        assert_eq!(walk(DescendantOrSelf)[1..], walk(Descendant));
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/",
        "//",
        "*",
        "@",
        ".",
        "..",
        "(",
        ")",
        "[",
        "]",
        ",",
        "|",
        "+",
        "-",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        " and ",
        " or ",
        " div ",
        " mod ",
        "o:line",
        "o:order",
        "x",
        "@n",
        "1",
        "2.5",
        "'a'",
        "\"12.50\"",
        "$body",
        "$env",
        "$ctx:om",
        "$ctx:n5",
        "$nope",
        "text()",
        "node()",
        "comment()",
        "position()",
        "last()",
        "count(",
        "string(",
        "not(",
        "concat(",
        "ancestor::",
        "preceding::",
        "following::",
        "descendant::",
        "self::",
        "namespace::",
        "following-sibling::",
        "preceding-sibling::",
        "get-property('str')",
        "substring('abc',",
        "sum(",
        "translate('abc','b',",
        "name(",
        "normalize-space(",
        "é",
        "&",
        "$",
        ":",
        "::",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,40}") {
        let _ = XPath::compile(&text, &namespaces());
    }

    #[test]
    fn random_tokens_never_panic(tokens in prop::collection::vec(token(), 1..14)) {
        let text = tokens.concat();
        match XPath::compile(&text, &namespaces()) {
            Err(error) => {
                prop_assert!(text.is_char_boundary(error.offset));
                prop_assert!(text.is_char_boundary(error.offset + error.len));
            }
            Ok(xpath) => {
                let message = Message::new(LINES, false);
                let value = xpath.evaluate(&message);
                // Early exit may spare an error, never cause one.
                prop_assert!(xpath.boolean(&message).is_ok() || value.is_err());
                let _ = xpath.string_value_of(&message);
                for warning in xpath.warnings() {
                    let _ = &text[warning.offset..warning.offset + warning.len];
                }
                if let Ok(Value::Nodes(nodes)) = value {
                    for pair in nodes.windows(2) {
                        let same = std::ptr::eq(pair[0].document, pair[1].document);
                        prop_assert!(!same || axes::compare_order(&pair[0], &pair[1]).is_lt());
                    }
                }
            }
        }
    }

    #[test]
    fn number_text_round_trips(number in any::<f64>()) {
        let back = parse_number(&java_double(number));
        prop_assert!(back == number || (back.is_nan() && number.is_nan()));
    }

    #[test]
    fn date_fields_stay_in_range(millis in any::<i64>(), offset in -1000i32..1000) {
        let text = date::format(millis, "H'|'m'|'s'|'S'|'M'|'d'|'D'|'w'|'W'|'u", offset).unwrap();
        let fields: Vec<i64> = text.split('|').map(|f| f.parse().unwrap()).collect();
        let ranges = [0..=23, 0..=59, 0..=59, 0..=999, 1..=12, 1..=31, 1..=366, 1..=54, 1..=6, 1..=7];
        for (field, range) in fields.iter().zip(ranges) {
            prop_assert!(range.contains(field), "{text}");
        }
    }

    #[test]
    fn base64_round_trips(text in "\\PC{0,30}") {
        let utf8 = Charset::UTF_8;
        let back = encode::base64_decode(&encode::base64_encode(&text, utf8), utf8);
        prop_assert_eq!(back, text.trim_matches(|c: char| c <= ' '));
    }
}
