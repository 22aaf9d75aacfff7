//! The tables of spec 05, appendices B.5–B.9 and C, and what is not in them.

mod fixture;
mod properties;
mod tables;

use super::{Exception, Expression, Failure, Template};
use crate::expr::xpath::Namespaces;
use expect_test::{Expect, expect};
use fixture::{Fixture, JA};

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
        expect![[r#"

            ^ a value is expected here, not the end

            7-2
             ^^ Parse error: leftover input '-2' after a complete expression; a minus next to a digit belongs to the number: write '- 2'

            -vars.vi
            ^ a value is expected here, not '-'; there is no unary minus: write 0 - …

            .5
            ^ a value is expected here, not '.'; a number starts with a digit

            5.
             ^ Parse error: leftover input '.' after a complete expression; a number ends with a digit

            1e3
             ^^ Parse error: leftover input 'e3' after a complete expression; numbers have no exponent

            +5
            ^ a value is expected here, not '+'

            !true
            ^ a value is expected here, not '!'; use not(…)

            TRUE
            ^^^^ a value is expected here, not 'TRUE'; did you mean true?

            5 = 5
                ^ Parse error: leftover input '5' after a complete expression; an operator is missing; before it, '=' means nothing here and is ignored; '==' compares

            payload.name payload.age
                         ^^^^^^^ Parse error: leftover input 'payload' after a complete expression

            payload.true
                    ^^^^ a name is expected after the dot, not 'true'; write ["true"]

            payload.items[?(@.cat in ['ink'])].sku
                                     ^ '[' cannot stand in a filter

            payload.items[?(@.memo == null)].sku
                                      ^^^^ 'null' cannot stand in a filter

            payload.items[0
                           ^ ']' is expected here, not the end

            payload.items[-vars.x]
                                 ^ the ':' of a slice is expected here, not ']'

            payload..length
                     ^^^^^^ a name or '*' after '..' is expected here, not 'length'

            props.synapse.jo.a
                            ^ Parse error: leftover input '.' after a complete expression; a path cannot follow here, use object(…) around what holds JSON

            props.jo
                  ^^ .synapse or .axis2 is expected here, not 'jo'

            params.q
                   ^ .queryParams, .pathParams or .functionParams is expected here, not 'q'

            vars
                ^ .name or ["name"] is expected here, not the end

            headers[0]
                    ^ a name in quotes is expected here, not '0'

            "a\qb"
              ^^ this escape is not known; there are \b \t \n \f \r \" \' \\ \/ \uXXXX and octal ones

            'open
            ^^^^^ this string is never closed

            tolower('A')
            ^^^^^^^ a value is expected here, not 'tolower'; there is no such function, did you mean toLower(…)?

            frobnicate(1)
            ^^^^^^^^^^ a value is expected here, not 'frobnicate'; there is no such function

            secret("x")
            ^^^^^^ a value is expected here, not 'secret'; secrets are not supported yet

            wso2-vault('a')
            ^^^^^^^^^^ secrets of a vault are not supported yet

            length('a'
                      ^ ',' or ')' is expected here, not the end

            length('a').property('b')
            ^^^^^^ Invalid function call: property('name') can only follow registry(…)

            true ? 1
                    ^ the ':' of a choice is expected here, not the end

            payload.length().x
                    ^^^^^^^^ nothing is found behind length(); write object(….length()) to go on

            a and b
            ^ a value is expected here, not 'a'; texts stand in quotes, variables are written vars.name

            5 >> 3
               ^ a value is expected here, not '>'

            (1
              ^ ')' is expected here, not the end

            [1,]
               ^ a value is expected here, not ']'

            1 +
               ^ a value is expected here, not the end

            ääpayload.x)
                       ^ Parse error: leftover input ')' after a complete expression; before it, 'ä' means nothing here and is ignored
        "#]],
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
        ],
        expect![[r#"
            payload.a > 1 and payload.b < 2
                          ^^^ 'and' binds tighter than comparisons, so this never has a result: put each comparison in parentheses

            (payload.a > 1) and (payload.b < 2)
            compiles

            payload.name;
                        ^ ';' means nothing here and is ignored

            vars['x']
                 ^^^ a variable in single quotes always faults; use double quotes

            vars."x"
                 ^^^ a name in quotes after a dot is never found; write ["name"]

            payload['a','b']
                    ^^^ several names in brackets always fault

            payload.tags[:]
                   ^^^^^^^^ this path always faults: could not parse the bracket

            payload.items[?(@.cat == 'pen' and @.qty < 2)].sku
                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this path always faults: expected ')'

            split("a,b",",")[0]
                            ^ a path behind split(…) is ignored; use object(…) or array(…) around it

            trim('a','b')
            ^^^^ trim(…) takes 1 arguments; with 2 it never has a result

            xpath('bad[')
            ^^^^^ xpath(…) always fails: the expression ends where a path, a value or a function should be

            split('a','(')
            ^^^^^ split(…) always fails: the pattern cannot be used: unclosed group
        "#]],
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
    expect![[r#"
        1==1 and 2==2
            Logical operation between non-boolean values: 1 and 2
        1 < 2 < 3
            Comparison between non-numeric values: true and 3
        5/0
            Division by zero
        5 % 0
            Modulo by zero
        'a' + 1
            Addition between non-numeric values: a and 1
        'a' - 1
            Arithmetic operation: SUBTRACT between non-numeric values: a and 1
        null + 1
            Null inputs for ADD operation: null and 1
        null and true
            Null inputs for AND operation: null and true
        "bla" ? 1 : 2
            Condition is not a boolean: bla
        payload.missing
            No results for path: $.missing
        payload.tags[9]
            No results for path: $.tags[9]
        payload.tags[payload.none]
            InvalidPathException: null is no index
        payload.tags[vars.vd]
            InvalidPathException: '-2.5' is no index
        payload.items[?(@.cat == vars.dollar)]
            IllegalArgumentException: Illegal group reference: a value with $ or \ cannot be used in a path
        payload[vars.dollar]
            IllegalArgumentException: Illegal group reference: a value with $ or \ cannot be used in a path
        vars.missing
            Variable missing is not defined
        vars.vx.v
            Could not evaluate JSONPath expression: vars.vx.v on non-JSON variable value
        vars.bad.x
            JsonSyntaxException: unexpected end of JSON text at 1:6
        vars.vm.nope
            Could not find key: .nope in the variable
        headers.missing
            Could not find the value of headers.missing
        props.axis2.missing
            Could not find the value of props.axis2.missing
        params.functionParams.nope
            Could not find the value of params.functionParams.nope
        length(payload)
            Invalid argument provided for length function
        length(null)
            Null source value provided for the function: length
        subString('hello',9)
            Invalid index for subString: 9, source string length: 5
        subString('hello',1,9)
            Invalid subString indices: start=1, end=9, string length=5
        subString('hello','x')
            Invalid argument provided for subString function. source: hello, argument1: x
        charAt('hello',9)
            Invalid index provided for charAt function. source: hello, index: 9
        now(1)
            Invalid function: now with one argument
        trim('a','b')
            Invalid function: trim with two arguments
        trim('a','b','c','d')
            Invalid number of arguments: 4 provided for the function: trim
        integer('12.5')
            Invalid argument provided for integer conversion
        float('x')
            Invalid argument provided for float conversion
        not('true')
            Value : true cannot be converted to boolean
        object('[]')
            Argument cannot be converted to a JSON object
        base64encode('a','UTF-99')
            Invalid charset provided for base64encode function. Charset: UTF-99
        base64decode('!!')
            IllegalArgumentException: Invalid symbol 33, offset 0.
        urlDecode('%zz')
            IllegalArgumentException: URLDecoder: Illegal hex characters in escape (%) pattern
        split('a','(')
            IllegalArgumentException: the pattern cannot be used: unclosed group
        formatDateTime(0,'XXX')
            Invalid date format provided for formatDateTime function. Format: XXX
        formatDateTime(0,'b')
            IllegalArgumentException: Unknown pattern letter: b
        formatDateTime('x','yyyy','yy')
            Invalid date format provided for formatDateTime function. Format: yyyy
        registry('nope')
            Could not find the registry resource: nope
        registry('conf/a').property('nope')
            Could not find the property: nope in the registry resource: conf/a
        xpath('$ctx:missing')
            NullPointerException: the XPath $ctx:missing gives null
        xpath('bad[')
            Invalid XPATH expression : bad[
        xpath('//nope:x')
            SynapseException: Evaluation of the XPath expression //nope:x resulted in an error: Cannot resolve namespace prefix 'nope'
        xpath('/a','')
            Invalid XPATH expression : /a
        xpath('/a','vs.x')
            Variable vs is not defined or is no map
        [null]
            NullPointerException: an array holds null
        '"'
            no failure but "
    "#]].assert_eq(&all.concat());
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
        "vars.vb ? 1 : payload.x",
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
    let odd = format!("1{}", ";".repeat(60_000));
    assert_eq!(compile(&odd).unwrap().warnings().len(), super::MAX_WARNINGS);
    let long = vec!["1"; 15_000].join(" + ");
    assert_eq!(outcome(&Fixture::empty(), &long), "\"15000\"");
    let long = vec!["vars.vi"; 6_000].join(" + ");
    assert_eq!(outcome(&Fixture::json(JA), &long), "\"60000\"");
    let long = vec!["true"; 7_000].join(" and ");
    assert_eq!(outcome(&Fixture::empty(), &long), "\"true\"");
}

/// What is nested as deep as allowed is evaluated on a small stack.
#[test]
fn the_deepest_nesting_is_evaluated() {
    let run = || {
        let message = Fixture::json("[[[[1]]]]");
        let around = |before: &str, inner: &str, after: &str, times: usize| {
            [before.repeat(times), inner.to_owned(), after.repeat(times)].concat()
        };
        assert_eq!(
            outcome(&message, &around("(", "7", ")", super::MAX_NESTING - 1)),
            "\"7\""
        );
        assert_eq!(
            outcome(
                &message,
                &around("string(", "7", ")", super::MAX_NESTING / 2 - 1)
            ),
            "\"7\""
        );
        assert_eq!(
            outcome(
                &message,
                &around("vars.vb ? ", "7", " : 8", super::MAX_NESTING - 1)
            ),
            "\"7\""
        );
        let deep = around("payload[", "0", " - 0]", super::MAX_NESTING / 2 - 1);
        assert_ne!(outcome(&message, &deep), "DEPLOY");
        let deep = around("payload[?(@ == ", "0", ")]", super::MAX_NESTING - 1);
        assert_ne!(outcome(&message, &deep), "DEPLOY");
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn results_cannot_grow_without_limit() {
    let message = Fixture::json(JA);
    let failure = cause(
        &message,
        "replace(replace(replace(vars.long, '', vars.long), '', vars.long), '', vars.long)",
    );
    assert!(failure.contains("is larger than"), "{failure}");
    let deep = format!(
        "{}<b c=\"{}\"/>{}",
        "<a>".repeat(100),
        "x".repeat(1 << 20),
        "</a>".repeat(100)
    );
    let nested = compile("xpath('//a')").unwrap();
    let failure = nested.object(&Fixture::xml(&deep)).unwrap_err().to_string();
    assert!(failure.contains("is larger than"), "{failure}");
    // BigDecimal would make a number of a thousand million digits of these.
    let message = Fixture::json("[1e999999999, 1, -1e-999999999]");
    assert_eq!(outcome(&message, "payload[0] + payload[1]"), "\"Infinity\"");
    assert_eq!(outcome(&message, "payload[1] - payload[2]"), "\"1.0\"");
}

/// Adding a half first would round these up.
#[test]
fn rounding_looks_at_the_number_itself() {
    let message = Fixture::json("{}");
    let cases = [
        ("round(0.49999999999999994)", "0"),
        ("round(4503599627370497.0)", "1"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-2"),
    ];
    for (text, expected) in cases {
        assert_eq!(outcome(&message, text), format!("\"{expected}\""), "{text}");
    }
}

#[test]
fn texts_of_one_body_are_not_repeated_without_limit() {
    let large = Fixture::json(&format!("\"{}\"", "a,".repeat(1 << 19)));
    let template = |times: usize| {
        let template = Template::compile(&"${payload}".repeat(times)).unwrap();
        template
            .render(&large)
            .map(|text| text.len())
            .map_err(|(_, failure)| failure.to_string())
    };
    assert_eq!(template(2), Ok(2 << 20));
    assert!(template(65).unwrap_err().contains("is larger than"));
    let list = cause(&large, &format!("[{}]", vec!["payload"; 65].join(",")));
    assert!(list.contains("is larger than"), "{list}");
    assert_eq!(outcome(&large, "length(split(payload, ','))"), "\"524288\"");
    let many = Fixture::json(&format!("\"{}a\"", "a,".repeat((1 << 20) + 1)));
    let parts = cause(&many, "length(split(payload, ','))");
    assert!(parts.contains("more than"), "{parts}");
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
}
