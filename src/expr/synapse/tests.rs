//! The tables of spec 05, appendices B.5–B.9 and C, and what is not in them.

mod fixture;
mod properties;
mod tables;

use super::{Exception, Expression, Failure, Template};
use crate::expr::xpath::Namespaces;
use expect_test::{Expect, expect};
use fixture::{Fixture, JA, XA};

fn compile(text: &str) -> Result<Expression, super::Problem> {
    let namespaces = Namespaces(vec![("o".to_owned(), "urn:o".to_owned())]);
    Expression::compile(text, &namespaces)
}

/// What a mediator sees: the text in quotes, `""†` for a swallowed failure, `THROWS X`, or
/// `DEPLOY`.
fn outcome(message: &Fixture, text: &str) -> String {
    let expression = match compile(text) {
        Ok(expression) => expression,
        Err(_) => return "DEPLOY".to_owned(),
    };
    match expression
        .evaluate(message, false)
        .and_then(super::Val::into_text)
    {
        Ok(text) => format!("\"{text}\""),
        Err(Failure::Evaluation(_)) => "\"\"†".to_owned(),
        Err(Failure::Thrown(exception, _)) => format!("THROWS {exception:?}"),
    }
}

/// The cause that is logged.
fn cause(message: &Fixture, text: &str) -> String {
    match compile(text) {
        Err(problem) => problem.message,
        Ok(expression) => match expression
            .evaluate(message, false)
            .and_then(super::Val::into_text)
        {
            Ok(text) => format!("no failure but {text}"),
            Err(failure) => failure.to_string(),
        },
    }
}

/// The problem with a caret under the text.
fn problem(text: &str) -> String {
    let caret = |p: &super::Problem| {
        let before = text.get(..p.offset).unwrap_or(text).chars().count();
        let width = text
            .get(p.offset..p.offset + p.len)
            .map_or(1, |t| t.chars().count().max(1));
        format!(
            "{text}\n{}{} {}\n",
            " ".repeat(before),
            "^".repeat(width),
            p.message
        )
    };
    match compile(text) {
        Err(problem) => caret(&problem),
        Ok(expression) if expression.warnings().is_empty() => format!("{text}\ncompiles\n"),
        Ok(expression) => expression.warnings().iter().map(caret).collect(),
    }
}

fn problems(texts: &[&str], expected: Expect) {
    let all: Vec<String> = texts.iter().map(|text| problem(text)).collect();
    expected.assert_eq(&all.join("\n"));
}

#[test]
fn errors_point_at_the_character() {
    problems(
        &[
            "",
            "7-2",
            "-vars.vi",
            ".5",
            "5.",
            "1e3",
            "+5",
            "!true",
            "TRUE",
            "5 = 5",
            "payload.name payload.age",
            "payload.true",
            "payload.items[?(@.cat in ['ink'])].sku",
            "payload.items[?(@.memo == null)].sku",
            "payload.items[0",
            "payload.items[-vars.x]",
            "payload..length",
            "props.synapse.jo.a",
            "props.jo",
            "params.q",
            "vars",
            "headers[0]",
            "\"a\\qb\"",
            "'open",
            "tolower('A')",
            "frobnicate(1)",
            "secret(\"x\")",
            "wso2-vault('a')",
            "length('a'",
            "length('a').property('b')",
            "true ? 1",
            "payload.length().x",
            "a and b",
            "5 >> 3",
            "(1",
            "[1,]",
            "1 +",
            "ääpayload.x)",
        ],
        expect![[""]],
    );
}

#[test]
fn what_never_works_is_warned_about() {
    problems(
        &[
            "payload.a > 1 and payload.b < 2",
            "(payload.a > 1) and (payload.b < 2)",
            "payload.name;",
            "vars['x']",
            "vars.\"x\"",
            "payload['a','b']",
            "payload.tags[:]",
            "payload.items[?(@.cat == 'pen' and @.qty < 2)].sku",
            "split(\"a,b\",\",\")[0]",
            "trim('a','b')",
            "xpath('bad[')",
            "split('a','(')",
            "registry('a')",
        ],
        expect![[""]],
    );
}

#[test]
fn failures_say_why() {
    let message = Fixture::json(JA);
    let texts = [
        "1==1 and 2==2",
        "1 < 2 < 3",
        "5/0",
        "5 % 0",
        "'a' + 1",
        "'a' - 1",
        "null + 1",
        "null and true",
        "\"bla\" ? 1 : 2",
        "payload.missing",
        "payload.tags[9]",
        "payload.tags[payload.none]",
        "payload.tags[vars.vd]",
        "payload.items[?(@.cat == vars.dollar)]",
        "payload[vars.dollar]",
        "vars.missing",
        "vars.vx.v",
        "vars.bad.x",
        "vars.vm.nope",
        "headers.missing",
        "props.axis2.missing",
        "params.functionParams.nope",
        "length(payload)",
        "length(null)",
        "subString('hello',9)",
        "subString('hello',1,9)",
        "subString('hello','x')",
        "charAt('hello',9)",
        "now(1)",
        "trim('a','b')",
        "trim('a','b','c','d')",
        "integer('12.5')",
        "float('x')",
        "not('true')",
        "object('[]')",
        "base64encode('a','UTF-99')",
        "base64decode('!!')",
        "urlDecode('%zz')",
        "split('a','(')",
        "formatDateTime(0,'XXX')",
        "formatDateTime(0,'b')",
        "formatDateTime('x','yyyy','yy')",
        "registry('nope')",
        "registry('conf/a').property('nope')",
        "xpath('$ctx:missing')",
        "xpath('bad[')",
        "xpath('//nope:x')",
        "xpath('/a','')",
        "xpath('/a','vs.x')",
        "[null]",
        "'\"'",
    ];
    let all: Vec<String> = texts
        .iter()
        .map(|text| format!("{text}\n    {}\n", cause(&message, text)))
        .collect();
    expect![[""]].assert_eq(&all.concat());
    assert_eq!(
        cause(&Fixture::empty(), "payload.x"),
        "Error while fetching the payload, Payload is empty"
    );
}

#[test]
fn names_and_texts_of_the_message_are_not_copied() {
    let message = Fixture::json(JA);
    for text in [
        "payload.name",
        "payload.box.h",
        "vars.vs",
        "headers.X-Hello",
        "payload.items[1].sku",
    ] {
        let expression = compile(text).unwrap();
        let value = expression.evaluate(&message, false).unwrap();
        let borrowed = matches!(
            &value,
            super::Val::Text(std::borrow::Cow::Borrowed(_))
                | super::Val::Json(std::borrow::Cow::Borrowed(_), _)
        );
        assert!(borrowed, "{text}: {value:?}");
    }
}

#[test]
fn the_body_is_read_only_when_it_has_to_be() {
    let reads = |text: &str| compile(text).unwrap().needs_body();
    for text in [
        "payload",
        "$",
        "vars.b[?(@.c==payload.c)]",
        "exists($.x)",
        "vars.b[payload.i]",
        "xpath('//x')",
        "xpath(vars.path)",
        "true ? 1 : payload.x",
    ] {
        assert!(reads(text), "{text}");
    }
    for text in [
        "vars.n + vars.[\"payload\"] + xpath(\"$ctx:a\")",
        "'my payload here'",
        "headers.payload",
        "xpath('/x','v')",
        "vars.payload.x",
        "5 > 3",
    ] {
        assert!(!reads(text), "{text}");
    }
}

#[test]
fn nesting_and_length_are_limited() {
    for deep in [
        "(".repeat(100_000 / 2),
        "[".repeat(10_000),
        "payload".to_owned() + &"[payload".repeat(8_000),
        "true ? ".repeat(8_000),
        "length(".repeat(8_000),
        "payload[?(".to_owned() + &"payload[?(".repeat(6_000),
        "payload[(".repeat(7_000),
        "x".repeat(70_000),
    ] {
        assert!(compile(&deep).is_err());
    }
    let long = vec!["1"; 20_000].join(" + ");
    assert_eq!(outcome(&Fixture::empty(), &long), "\"20000\"");
    let long = vec!["vars.vi"; 6_000].join(" + ");
    assert_eq!(outcome(&Fixture::json(JA), &long), "\"60000\"");
    let long = vec!["true"; 9_000].join(" and ");
    assert_eq!(outcome(&Fixture::empty(), &long), "\"true\"");
}

#[test]
fn results_cannot_grow_without_limit() {
    let message = Fixture::json(JA);
    let failure = cause(
        &message,
        "replace(replace(replace(vars.long, '', vars.long), '', vars.long), '', vars.long)",
    );
    assert!(failure.contains("is larger than"), "{failure}");
    // BigDecimal would make a number of a thousand million digits of these.
    let message = Fixture::json("[1e999999999, 1, -1e-999999999]");
    assert_eq!(outcome(&message, "payload[0] + payload[1]"), "\"Infinity\"");
    assert_eq!(outcome(&message, "payload[1] - payload[2]"), "\"1.0\"");
}

#[test]
fn warnings_of_templates_have_their_places() {
    let text = "a ${payload.x;} b ${vars['y']}";
    let template = Template::compile(text).unwrap();
    let places: Vec<&str> = template
        .warnings()
        .iter()
        .map(|w| &text[w.offset..w.offset + w.len])
        .collect();
    assert_eq!(places, [";", "'y'"]);
    let problem = Template::compile("a ${1 2}").unwrap_err();
    assert_eq!((problem.offset, problem.len), (6, 1));
}

#[test]
fn exceptions_have_the_names_of_java() {
    assert_eq!(
        Failure::thrown(Exception::IndexOutOfBounds, "x").to_string(),
        "IndexOutOfBoundsException: x"
    );
    let _ = XA;
}
