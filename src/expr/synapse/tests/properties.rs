//! Nothing that anybody writes or sends makes an evaluation panic.

use super::fixture::{Fixture, JA};
use crate::expr::synapse::datetime::Pattern;
use crate::expr::synapse::{Expression, Template, decimal, program::Operator};
use crate::expr::xpath::Namespaces;
use crate::json;
use proptest::prelude::*;

fn run(text: &str, message: &Fixture) {
    if let Ok(expression) = Expression::compile(text, &Namespaces::default()) {
        let _ = expression.string(message);
        let _ = expression.object(message);
        let _ = expression.boolean(message);
    }
}

/// Pieces of which expressions are made, so that many texts compile.
const PIECES: &[&str] = &[
    "payload",
    "$",
    "vars",
    "vars.vi",
    "vars.vj",
    "vars.vm",
    "headers",
    "props",
    "synapse",
    "axis2",
    "params",
    "queryParams",
    "configs",
    ".",
    "..",
    "*",
    "[",
    "]",
    "(",
    ")",
    "?",
    ":",
    ",",
    "@",
    "==",
    "!=",
    "<",
    ">=",
    "+",
    "-",
    "/",
    "%",
    " and ",
    " or ",
    "&&",
    "||",
    "!",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "2",
    "1.5",
    "9223372036854775807",
    "2147483647",
    "'a'",
    "\"b\"",
    "'\"'",
    "\"é\"",
    "name",
    "tags",
    "items",
    "x-y",
    "length()",
    "last()",
    "sum()",
    "size",
    "length",
    "toUpper",
    "subString",
    "indexOf",
    "split",
    "replace",
    "round",
    "abs",
    "pow",
    "object",
    "array",
    "xpath",
    "exists",
    "now",
    "formatDateTime",
    "registry",
    "property",
    "in",
    "=~",
    ";",
    "é",
    "\u{1}",
    "\u{2}",
    " ",
    "payload.tags",
    "payload.mix[1]",
    "payload.low",
    "payload.none",
    "'yyyy-MM-dd'",
    "\"[1,2]\"",
    "'//a'",
    "'vm.xp'",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text(text in "\\PC{0,60}") {
        run(&text, &Fixture::json(JA));
    }

    #[test]
    fn any_order_of_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..14)) {
        let text = pieces.concat();
        run(&text, &Fixture::json(JA));
        let _ = Template::compile(&format!("${{{text}}} {text}}}"));
    }

    #[test]
    fn any_function_with_any_values(
        name in prop::sample::select(crate::expr::synapse::functions::TABLE.iter().map(|f| f.name).collect::<Vec<_>>()),
        args in prop::collection::vec(prop::sample::select(PIECES), 0..4),
        text in "\\PC{0,12}",
    ) {
        let message = Fixture::json(&json::to_text(&json::Value::Object(vec![(
            "t".to_owned(),
            json::Value::String(text),
        )])));
        let args: Vec<&str> = args.iter().map(|a| match *a {
            "payload" | "name" => "payload.t",
            other => other,
        }).collect();
        run(&format!("{name}({})", args.join(",")), &message);
    }

    #[test]
    fn any_numbers(a in "-?[0-9]{1,25}(\\.[0-9]{1,25})?(e-?[0-9]{1,9})?", b in "-?[1-9][0-9]{0,20}(\\.[0-9]{1,9})?") {
        for operator in [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide, Operator::Modulo] {
            let _ = decimal::apply(operator, &a, &b);
        }
        let _ = decimal::round(&a, 3);
    }

    #[test]
    fn exact_arithmetic_is_near_that_of_doubles(a in -1.0e6..1.0e6_f64, b in 1.0..1.0e6_f64) {
        let (x, y) = (format!("{a:?}"), format!("{b:?}"));
        for (operator, expected) in [
            (Operator::Add, a + b),
            (Operator::Subtract, a - b),
            (Operator::Multiply, a * b),
        ] {
            let exact = decimal::apply(operator, &x, &y).unwrap();
            prop_assert!((exact - expected).abs() <= 1e-9 * (1.0 + a.abs() + b.abs() + expected.abs()));
        }
    }

    #[test]
    fn any_date_pattern(pattern in "[yMdHhmsSaEGDwWQuLkKnNA'\\[\\] .:Xz-]{0,14}", text in "[0-9A-Za-z .:-]{0,14}") {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _ = pattern.convert(&text, &pattern);
            for millis in [0, i64::MIN, i64::MAX, 1_700_000_000_123] {
                let _ = pattern.format(&crate::expr::synapse::datetime::Moment::of_millis(millis));
            }
        }
    }

    #[test]
    fn lenient_json_never_panics(text in "[\\[\\]{}:,;=>'\"a1 /*#\\\\u\n-]{0,30}") {
        let _ = json::parse_lenient(&text, &json::Limits::default());
    }
}
