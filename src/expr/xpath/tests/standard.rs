//! XPath 1.0 itself, and what compiling says.

use super::*;

/// The topics of research/xml-stack.md §4, with values by hand from XPath 1.0.
#[test]
fn xpath_one_point_zero() {
    let tree = document(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <p:list xmlns:p=\"urn:p\" xmlns=\"urn:d\" xml:lang=\"en-GB\">\
         <p:i n=\"1\">10</p:i><p:i n=\"2\">20</p:i><p:i n=\"3\">abc</p:i><p:i n=\"4\">9</p:i>\
         <note>n1</note><plain xmlns=\"\"><a><b>x</b><b>y</b></a><a><b>z</b></a></plain>\
         <c><![CDATA[<1&2>]]>!</c><!--remark--><?go fast?></p:list>\
         </s:Body></s:Envelope>",
    );
    let message = Message::with_tree(tree, true);
    let namespaces = Namespaces(vec![
        ("s".into(), SOAP11.into()),
        ("p".into(), "urn:p".into()),
        ("d".into(), "urn:d".into()),
    ]);
    for (expression, want) in [
        ("string(//p:i = '20')", "true"),
        ("string(//p:i != '10')", "true"),
        ("string(not(//p:i = '10'))", "false"),
        ("string(//p:i < 10)", "true"),
        ("string(//p:i < 9)", "false"),
        ("string(//p:i)", "10"),
        ("string(number(//p:i))", "10"),
        ("string(sum(//p:i[. != 'abc']))", "39"),
        ("string(sum(//p:i))", "NaN"),
        ("string(count(//p:i))", "4"),
        ("string(//p:i[2])", "20"),
        ("string(//p:i[last()])", "9"),
        ("string(//p:i[position()<3][2])", "20"),
        ("string((//d:note | //p:i)[2])", "20"),
        ("string((//d:note | //p:i)[last()])", "n1"),
        ("string(count(//p:i | //p:i[1] | //p:list/p:i))", "4"),
        ("local-name(//*[. = 'n1'])", "note"),
        ("namespace-uri(//*[local-name() = 'note'])", "urn:d"),
        ("string(count(//note))", "0"),
        ("string(count(//d:note))", "1"),
        ("string(//p:i[1]/following-sibling::p:i[1])", "20"),
        ("string(//p:i[4]/preceding-sibling::p:i[1])", "abc"),
        ("local-name(//b[1]/ancestor::*[2])", "plain"),
        ("string(//a/b[2])", "y"),
        ("string(count(//b[1]))", "2"),
        ("string((//b)[3])", "z"),
        ("concat('a', 1, true())", "a1true"),
        ("substring('12345', 1.5, 2.6)", "234"),
        ("substring('12345', 0 div 0, 3)", ""),
        ("substring('12345', -42, 1 div 0)", "12345"),
        ("substring('12345', 0, 3)", "12"),
        ("translate('bar','abc','AB')", "BAr"),
        ("normalize-space('  a  b ')", "a b"),
        ("substring-after('1999/04/01','/')", "04/01"),
        ("substring-before('1999/04/01','/')", "1999"),
        ("string(boolean('false'))", "true"),
        ("string('10' < '9')", "false"),
        ("string(-1 div 0)", "-Infinity"),
        ("string(10 div 3)", "3.3333333333333335"),
        ("string(round(-2.5))", "-2"),
        ("string(round(2.5))", "3"),
        ("string(1000000000)", "1000000000"),
        ("string(0.000001)", "0.000001"),
        ("string(-0)", "0"),
        ("string(//d:c)", "<1&2>!"),
        ("concat(get-property('str'), $ctx:str)", "abcabc"),
        ("string(5 mod -2)", "1"),
        ("string(-5 mod 2)", "-1"),
        ("string(2 + 3 * 4 - 6 div 2)", "11"),
        ("string(- - 3)", "3"),
        ("string(//comment())", "remark"),
        ("string(//processing-instruction('go'))", "fast"),
        ("name(//processing-instruction())", "go"),
        ("string(count(//processing-instruction('stop')))", "0"),
        ("string(count(//p:i[lang('en')]))", "4"),
        ("string(count(//b/following::*))", "4"),
        ("string(count(//d:c/preceding::*))", "11"),
        ("string(count(//a[2]/preceding::*))", "8"),
        ("string(count(//p:i[1]/following::*))", "11"),
        ("string(count(//p:*))", "5"),
        ("string(count(//@*))", "5"),
        ("string(count(//@n[. > 2]))", "2"),
        ("string(//@n[. = 3]/..)", "abc"),
        ("string(count(//plain/namespace::*))", "3"),
        ("string(count(//p:i[1]/namespace::*))", "4"),
        ("string(//p:i[1]/namespace::p)", "urn:p"),
        ("string(count(//b/ancestor-or-self::*))", "9"),
        ("string(count(//a/descendant-or-self::*))", "5"),
        ("string(count(//node()/self::b))", "3"),
        ("string(count(//b/../../a))", "2"),
        ("string(count(//*[self::p:i or self::d:c]))", "5"),
        ("local-name(//*[@n=2])", "i"),
        ("string(//p:i[@n='3'][. = 'abc']/@n)", "3"),
        ("string(//p:i[1.9])", "10"),
        ("string-length(//p:i[3])", "3"),
        ("string(count(/descendant::p:i[2]))", "1"),
        ("string(count(//p:list/p:i[2]/self::node()[1]))", "1"),
        ("string(1 = 1.0 and 2 != 3 or 1 div 0 < 0)", "true"),
        ("string(//a[b = 'z']/b)", "z"),
        ("string(count(//a[count(b) = 2]))", "1"),
        ("string(//p:i[position() = last() - 1])", "abc"),
        (
            "string(starts-with('ab', 'a') and contains('abc', 'bc'))",
            "true",
        ),
        ("string(floor(-1.5) + ceiling(1.2))", "0"),
    ] {
        let xpath = XPath::compile(expression, &namespaces).unwrap();
        let got = xpath.evaluate(&message).map(|v| match v {
            Value::String(s) => s.into_owned(),
            Value::Number(n) => n.to_string(),
            other => format!("{other:?}"),
        });
        assert_eq!(got.as_deref(), Ok(want), "{expression}");
        assert!(xpath.warnings().is_empty(), "{expression}");
    }
}

#[test]
fn numbers_to_text() {
    for (number, java, xpath) in [
        (2.0, "2.0", "2"),
        (0.25, "0.25", "0.25"),
        (1e7, "1.0E7", "10000000"),
        (9_999_999.5, "9999999.5", "9999999.5"),
        (1.5e-3, "0.0015", "0.0015"),
        (1e-4, "1.0E-4", "0.0001"),
        (1.234e21, "1.234E21", "1234000000000000000000"),
        (-0.0, "-0.0", "0"),
        (f64::NAN, "NaN", "NaN"),
        (f64::NEG_INFINITY, "-Infinity", "-Infinity"),
        (1e-40, "1.0E-40", "0"),
        (1.9e-32, "1.9E-32", "0.00000000000000000000000000000002"),
    ] {
        assert_eq!(java_double(number), java);
        assert_eq!(convert::xpath_number(number), xpath);
    }
    assert_eq!(java_float(1.1), "1.1");
    for (text, number) in [
        (" 12 ", 12.0),
        ("+1e3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("5d", 5.0),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        assert_eq!(parse_number(text), number, "{text}");
    }
    for text in [
        "", ".", "e3", "1e", "inf", "nan", "1 2", "0x10", "1_0", "--1", "\u{A0}1",
    ] {
        assert!(parse_number(text).is_nan(), "{text}");
    }
}

#[test]
fn dates() {
    let format = |pattern: &str| date::format(1_700_000_000_123, pattern, 0);
    for (pattern, want) in [
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2023-11-14T22:13:20.123Z"),
        ("yy M d H m s S", "23 11 14 22 13 20 123"),
        (
            "EEEE, dd MMMM yyyy hh 'o''clock' a",
            "Tuesday, 14 November 2023 10 o'clock PM",
        ),
        ("EEE MMM z Z X", "Tue Nov UTC +0000 Z"),
        ("D w W F u k K G YYYY", "318 46 3 2 2 22 10 AD 2023"),
        ("''", "'"),
    ] {
        assert_eq!(format(pattern).as_deref(), Ok(want), "{pattern}");
    }
    assert!(format("yyyy 'open").is_err());
    assert!(format("b").is_err());
    assert_eq!(
        date::format(0, "HH:mm Z XXX X", 330).as_deref(),
        Ok("05:30 +0530 +05:30 +05")
    );
    assert_eq!(
        date::format(-1, "yyyy-MM-dd HH:mm:ss.SSS", 0).as_deref(),
        Ok("1969-12-31 23:59:59.999")
    );
    assert_eq!(
        date::format(951_782_400_000, "yyyy-MM-dd D", 0).as_deref(),
        Ok("2000-02-29 60")
    );
    assert_eq!(
        date::format(1_703_980_800_000, "YYYY w", 0).as_deref(),
        Ok("2024 1")
    );
}

#[test]
fn body_is_needed_only_where_it_is_read() {
    for (expression, want) in [
        ("//x", true),
        ("x", true),
        ("$body", true),
        ("$header/a", true),
        ("string()", true),
        ("concat($ctx:a, //x)", true),
        ("get-property('FAULT')", true),
        ("get-property('default','From')", true),
        ("$ctx:body", true),
        ("$ctx:a", false),
        ("$ctx:a/b//c[d = 'e']", false),
        ("$ctx:a[$body/x]", true),
        ("get-property('To')", false),
        ("get-property('axis2','FAULT')", false),
        ("'a/b' = $trp:x", false),
        ("string($ctx:a)", false),
    ] {
        assert_eq!(compile(expression).needs_body(), want, "{expression}");
    }
}

#[test]
fn compile_errors_point_at_the_place() {
    for (expression, offset, len) in [
        ("", 0, 0),
        ("foo[", 4, 0),
        ("a b", 2, 1),
        ("'open", 0, 5),
        ("//a/p:", 6, 0),
        ("a | -1", 4, 1),
        ("a/", 2, 0),
        ("//", 2, 0),
        ("concat('a'", 10, 0),
        ("a[1))", 3, 1),
        ("nope::a", 0, 4),
        ("a/position()", 2, 8),
        ("'a'/b", 3, 1),
        ("a # b", 2, 1),
        ("${a}", 1, 1),
        ("1 +", 3, 0),
        ("p:", 2, 0),
        ("é ü", 3, 2),
    ] {
        let error = XPath::compile(expression, &Namespaces::default()).unwrap_err();
        assert_eq!(
            (error.offset, error.len),
            (offset, len),
            "{expression}: {error}"
        );
    }
    let warned = |text: &str| {
        let xpath = compile(text);
        xpath
            .warnings()
            .iter()
            .map(|w| text[w.offset..w.offset + w.len].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned("//x:a | $nope | $map:k"), ["x", "$nope", "$map:k"]);
    assert_eq!(
        warned("matches('a') and concat('b')"),
        ["matches", "concat('b')"]
    );
    assert_eq!(warned("$ctx:body"), ["$ctx:body"]);
    assert_eq!(warned("fn:concat('a', synapse:get-property('b'))"), [""; 0]);
}
