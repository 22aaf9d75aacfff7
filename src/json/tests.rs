use super::number::{Decimal, java_double, unwrapped};
use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Value, JsonError> {
    parse(text.as_bytes(), &Limits::default())
}

#[test]
fn text_survives() {
    let cases = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.50",
        "1E+2",
        "12345678901234567890",
        "-0.0e-10",
        r#""""#,
        r#""a/b <é> 😀""#,
        r#""\"\\\b\f\n\r\t\u001f\u2028\u2029""#,
        "[]",
        "{}",
        "[[],{},[{}]]",
        r#"{"b":1,"a":2,"b":3}"#,
        r#"{"":{"x":[1,2.50,null,{"k":"v"}]}}"#,
    ];
    for text in cases {
        assert_eq!(to_text(&read(text).unwrap()), text);
    }
    for (text, compact) in [
        (" [ 1 , 2 ] \r\n\t", "[1,2]"),
        ("\u{feff}{ \"a\" : { } }", r#"{"a":{}}"#),
        (r#""\/\u00e9\ud83d\ude00\u002f""#, r#""/é😀/""#),
        ("\"\u{7f}\u{2028}\"", "\"\u{7f}\\u2028\""),
    ] {
        assert_eq!(to_text(&read(text).unwrap()), compact);
    }
}

#[test]
fn compact_text_needs_no_tree() {
    let limits = Limits::default();
    for text in [
        " [ 1 , 2 ] \r\n\t",
        "{\"a\" : \"b \\\" c\\n\" , \"é\":[ ] ,\t\"d\": { } }",
        "\"\u{20ac} \u{2027} \u{e2}\"",
        "-1.5e+3",
        "[true, false , null,[[ ]]]",
    ] {
        let expected = to_text(&read(text).unwrap());
        let given = compact(text.as_bytes(), &limits);
        assert_eq!(given.as_deref(), Some(expected.as_bytes()), "{text}");
    }
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(compact(nested(256).as_bytes(), &limits).is_some());
    for text in [
        nested(257).as_str(),
        "[1,2,]",
        "{\"a\"}",
        "[1}",
        "01",
        "1.",
        "tru",
        "[1] 2",
        "\"a",
        "",
        "{a:1}",
        // What is written in another way than it was read.
        r#""\/""#,
        r#""\u00e9""#,
        "\"\u{2028}\"",
        "\u{feff}{}",
    ] {
        assert_eq!(compact(text.as_bytes(), &limits), None, "{text}");
    }
    let few = Limits {
        max_nodes: 3,
        ..limits
    };
    assert!(compact(b"[1,2]", &few).is_some());
    assert_eq!(compact(b"[1,2,3]", &few), None);
    let short = Limits {
        max_bytes: 4,
        ..limits
    };
    assert_eq!(compact(b"[1,2]", &short), None);
}

#[test]
fn errors_say_where() {
    use JsonErrorKind::*;
    let cases = [
        ("", UnexpectedEnd, 1, 1),
        ("  ", UnexpectedEnd, 1, 3),
        ("{\"a\":1,}", Unexpected('}'), 1, 8),
        ("[1,]", Unexpected(']'), 1, 4),
        ("[1 2]", Unexpected('2'), 1, 4),
        ("{\"a\" 1}", Unexpected('1'), 1, 6),
        ("{a:1}", Unexpected('a'), 1, 2),
        ("{'a':1}", Unexpected('\''), 1, 2),
        ("[1}", Unexpected('}'), 1, 3),
        ("{\"a\":1]", Unexpected(']'), 1, 7),
        ("]", Unexpected(']'), 1, 1),
        ("[1,\n  é]", Unexpected('é'), 2, 3),
        ("[\"é\", x]", Unexpected('x'), 1, 7),
        ("{}{}", Trailing, 1, 3),
        ("1 x", Trailing, 1, 3),
        ("[", UnexpectedEnd, 1, 2),
        ("{\"a\"", UnexpectedEnd, 1, 5),
        ("\"abc", UnexpectedEnd, 1, 5),
        ("tru", UnexpectedEnd, 1, 4),
        ("trux", Unexpected('x'), 1, 4),
        ("nul", UnexpectedEnd, 1, 4),
        ("01", Number, 1, 1),
        ("[-]", Number, 1, 2),
        ("-", UnexpectedEnd, 1, 2),
        ("1.", UnexpectedEnd, 1, 3),
        ("[1.]", Number, 1, 2),
        ("[1e+]", Number, 1, 2),
        ("1x", Number, 1, 1),
        ("+1", Unexpected('+'), 1, 1),
        (".5", Unexpected('.'), 1, 1),
        (r#""\x""#, Escape, 1, 2),
        (r#""\u12g4""#, Escape, 1, 2),
        (r#""\ud800""#, Surrogate, 1, 2),
        (r#""\udc00x""#, Surrogate, 1, 2),
        (r#""\ud800\u0041""#, Surrogate, 1, 2),
        (r#""\u0000""#, Nul, 1, 2),
        ("\"a\0\"", Nul, 1, 3),
        ("[1]\0", Nul, 1, 4),
        ("\"a\nb\"", Control, 1, 3),
        ("\"a\tb\"", Control, 1, 3),
    ];
    for (text, kind, line, column) in cases {
        let error = read(text).unwrap_err();
        assert_eq!(
            (error.kind, error.line, error.column),
            (kind, line, column),
            "{text:?}"
        );
    }
    let error = parse(b"[\"\xff\"]", &Limits::default()).unwrap_err();
    assert_eq!((error.kind, error.offset, error.column), (Encoding, 2, 3));
    // CESU-8 surrogates are no UTF-8 either.
    assert_eq!(
        parse(b"\"\xed\xa0\x80\"", &Limits::default())
            .unwrap_err()
            .kind,
        Encoding
    );
    let error = read("[1,\n x]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected character 'x' in JSON text at 2:2"
    );
}

#[test]
fn limits_hold() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let kind = |text: &str, limits: &Limits| parse(text.as_bytes(), limits).map_err(|e| e.kind);
    let limits = Limits::default();
    assert!(kind(&nested(256), &limits).is_ok());
    assert_eq!(kind(&nested(257), &limits), Err(JsonErrorKind::TooDeep));
    assert_eq!(
        kind(&"[".repeat(10_000_000), &limits),
        Err(JsonErrorKind::TooDeep)
    );
    let deep = Limits {
        max_depth: usize::MAX,
        ..limits
    };
    assert_eq!(
        kind(&nested(MAX_DEPTH + 1), &deep),
        Err(JsonErrorKind::TooDeep)
    );
    let value = parse(nested(MAX_DEPTH).as_bytes(), &deep).unwrap();
    assert_eq!(value.depth(), MAX_DEPTH);
    assert_eq!(to_text(&value.clone()), nested(MAX_DEPTH));
    let few = Limits {
        max_nodes: 3,
        ..limits
    };
    assert!(kind("[1,2]", &few).is_ok());
    assert_eq!(kind("[1,2,3]", &few), Err(JsonErrorKind::TooManyNodes));
    let short = Limits {
        max_bytes: 4,
        ..limits
    };
    assert!(kind("[12]", &short).is_ok());
    assert_eq!(kind("[123]", &short), Err(JsonErrorKind::TooLong));
}

#[test]
fn duplicates_look_like_a_map() {
    let value = read(r#"{"a":1,"b":2,"a":3}"#).unwrap();
    assert_eq!(value.get("a"), Some(&Value::number(3)));
    let seen: Vec<_> = value
        .members()
        .map(|(at, name, value)| (at, name, to_text(value)))
        .collect();
    assert_eq!(seen, [(2, "a", "3".to_owned()), (1, "b", "2".to_owned())]);
    assert_eq!(read("[1]").unwrap().members().count(), 0);
}

#[test]
fn classification() {
    use Kind::*;
    let cases = [
        ("{\"a\":1}", Object),
        ("xx{\"a\":1}", Object),
        ("\n [1", Array),
        ("{\"a\":1,}", Object),
        ("\"str\"", Scalar),
        ("true", Scalar),
        ("false", Scalar),
        ("null", Scalar),
        ("12", Scalar),
        ("-12.50", Scalar),
        ("007", Scalar),
        ("1e3", Invalid),
        ("1.", Invalid),
        ("-", Invalid),
        (" true", Invalid),
        ("12\n", Invalid),
        ("\"", Invalid),
        ("text", Invalid),
        ("hello", Invalid),
        ("", Empty),
        ("   ", Empty),
        ("\n", Invalid),
        ("\t", Invalid),
    ];
    for (text, kind) in cases {
        assert_eq!(classify(text.as_bytes()), kind, "{text:?}");
    }
}

#[test]
fn decimals_print_as_java_does() {
    let cases = [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0.0"),
        ("1.50", "1.50"),
        ("007", "7"),
        ("1e3", "1E+3"),
        ("123e3", "1.23E+5"),
        ("1.5e1", "15"),
        ("1.5e3", "1.5E+3"),
        ("-2.50E-1", "-0.250"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1E-7"),
        ("0.00000012", "1.2E-7"),
        ("0e5", "0E+5"),
        ("0e-8", "0E-8"),
        ("12345678901234567890", "12345678901234567890"),
        ("1e400", "1E+400"),
    ];
    for (text, printed) in cases {
        assert_eq!(Decimal::parse(text).unwrap().to_java(), printed, "{text}");
    }
    for text in [
        "",
        "-",
        "x",
        "1e",
        "1e+",
        "1e99999999999",
        "1e-3000000000",
        ".5",
        "1 ",
    ] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
    for (less, more) in [
        ("-1", "0"),
        ("1", "1.01"),
        ("9.5", "120"),
        ("-2", "-1.5"),
        ("1e-9", "1e-8"),
    ] {
        assert!(Decimal::parse(less) < Decimal::parse(more), "{less} {more}");
    }
    for (one, other) in [
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("0", "-0.00"),
        ("100", "1E2"),
    ] {
        assert_eq!(Decimal::parse(one), Decimal::parse(other), "{one} {other}");
    }
}

#[test]
fn doubles_print_as_java_does() {
    let cases = [
        (6.0, "6.0"),
        (-0.0, "-0.0"),
        (19.95, "19.95"),
        (1e7, "1.0E7"),
        (9_999_999.0, "9999999.0"),
        (123_000_000.0, "1.23E8"),
        (0.001, "0.001"),
        (0.000_99, "9.9E-4"),
        (1e-5, "1.0E-5"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (number, text) in cases {
        assert_eq!(java_double(number), text);
    }
    let cases = [
        ("41", "41"),
        ("-0", "0"),
        ("1.50", "1.5"),
        ("100.0", "100.0"),
        ("1e3", "1000"),
        ("1E+2", "100"),
        ("123000000.0", "1.23E8"),
        ("9223372036854775807", "9223372036854775807"),
        ("12345678901234567890", "12345678901234567890"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1e30", "1E+30"),
        ("1.5e400", "1.5E+400"),
        ("1e-400", "1E-400"),
        ("1e99999999999", "1e99999999999"),
        ("0.0", "0.0"),
    ];
    for (text, printed) in cases {
        assert_eq!(unwrapped(text), printed);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::number),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?".prop_map(Value::number),
        "[^\0]*".prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[^\0]{0,3}", inner), 0..6).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn written_values_read_back(value in any_value()) {
        let text = to_text(&value);
        prop_assert_eq!(read(&text).unwrap(), value);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&input, &Limits::default());
        classify(&input);
    }

    /// What is made compact without a tree is what is made with one.
    #[test]
    fn compact_is_what_is_written(
        text in "[\\[\\]{}\",:0-9eE.+\\-ntrufalse \\\\\u{2028}é]{0,24}",
        value in any_value(),
    ) {
        let limits = Limits::default();
        if let Some(given) = compact(text.as_bytes(), &limits) {
            let expected = to_text(&read(&text).unwrap());
            prop_assert_eq!(String::from_utf8(given).unwrap(), expected);
        }
        let pretty = serde_json::from_str::<serde_json::Value>(&to_text(&value))
            .map(|v| serde_json::to_string_pretty(&v).unwrap());
        if let Ok(pretty) = pretty
            && let Some(given) = compact(pretty.as_bytes(), &limits)
        {
            let expected = to_text(&read(&pretty).unwrap());
            prop_assert_eq!(String::from_utf8(given).unwrap(), expected);
        }
    }

    /// Text made of JSON's own characters reaches much further than random bytes.
    #[test]
    fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9eE.+\\-ntrufalse \\\\]{0,24}") {
        if let Ok(value) = read(&text) {
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            prop_assert!(theirs.is_ok() || text.contains(['e', 'E']), "{:?}", value);
        } else if !text.contains("\\u") {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_err());
        }
    }

    #[test]
    fn decimals_agree_with_doubles(a in "-?[0-9]{1,6}(\\.[0-9]{1,4})?", b in "-?[0-9]{1,6}(\\.[0-9]{1,4})?") {
        let ours = Decimal::parse(&a).unwrap().cmp(&Decimal::parse(&b).unwrap());
        let doubles: (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
        prop_assert_eq!(Some(ours), doubles.0.partial_cmp(&doubles.1));
    }
}
