//! The rows of spec 05, appendix B, that are about `${…}`: number, message, expression, result.

use super::fixture::{Fixture, JA, XA};
use super::{compile, outcome};
use crate::expr::synapse::Template;
use crate::message::Value;

type Row = (u32, &'static str, &'static str, &'static str);

fn fixture(name: &str) -> Fixture {
    match name {
        "" => Fixture::json(JA),
        "XA" => Fixture::xml(XA),
        body => Fixture::json(body),
    }
}

fn check(rows: &[Row]) {
    let mut wrong = String::new();
    for (number, on, text, expected) in rows {
        let is = outcome(&fixture(on), text);
        if is != *expected {
            wrong.push_str(&format!("{number}: {text}\n   is {is}\n  not {expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// B.5: literals, operators, precedence.
#[rustfmt::skip]
const LITERALS: &[Row] = &[
    (133, r#""#, r#"1==1 and 2==2"#, r#"""†"#),
    (134, r#""#, r#"(1==1) and (2==2)"#, r#""true""#),
    (135, r#""#, r#"false and false or true"#, r#""false""#),
    (136, r#""#, r#"true or payload.missing"#, r#"""†"#),
    (137, r#""#, r#"1 < 2 < 3"#, r#"""†"#),
    (138, r#""#, r#"7-2"#, r#"DEPLOY"#),
    (139, r#""#, r#"vars.vi-2"#, r#"""†"#),
    (140, r#""#, r#"vars.vi - 2"#, r#""8""#),
    (141, r#""#, r#"-vars.vi"#, r#"DEPLOY"#),
    (142, r#""#, r#"1e3"#, r#"DEPLOY"#),
    (143, r#""#, r#"007"#, r#""7""#),
    (144, r#""#, r#"99999999999999999999"#, r#""1.0E20""#),
    (145, r#""#, r#"10000000.0"#, r#""1.0E7""#),
    (146, r#""#, r#"2147483647 - -1"#, r#""-2147483648""#),
    (147, r#""#, r#"9223372036854775807 + 1"#, r#""-9223372036854775808""#),
    (148, r#""#, r#"7/2"#, r#""3.5""#),
    (149, r#""#, r#"6/3"#, r#""2""#),
    (150, r#""#, r#"1/4.0"#, r#""0.3""#),
    (151, r#""#, r#"10000000.0 / 3"#, r#""3000000.0""#),
    (152, r#""#, r#"0.1 + 0.2"#, r#""0.3""#),
    (153, r#""#, r#"5/0"#, r#"""†"#),
    (154, r#""#, r#"'a' + 1"#, r#"""†"#),
    (155, r#""#, r#"1 == 1.0"#, r#""false""#),
    (156, r#""#, r#"1 == "1""#, r#""true""#),
    (157, r#""#, r#"null == "null""#, r#""false""#),
    (158, r#""#, r#""b" > "a""#, r#"""†"#),
    (159, r#""#, r#"5000000000 > 5"#, r#"""†"#),
    (160, r#""#, r#"null"#, r#""""#),
    (161, r#""#, r#""a\"b""#, r#""a\"b""#),
    (162, r#""#, r#"'"q"'"#, r#"""q"""#),
    (163, r#""#, r#""a\qb""#, r#"DEPLOY"#),
    (164, r#""#, r#"[1,2.5,"x",true]"#, r#""[1,2.5,"x","true"]""#),
    (165, r#""#, r#"[1,[2]]"#, r#""[1,"[2]"]""#),
    (166, r#""#, r#"[null]"#, r#"THROWS NullPointer"#),
    (167, r#""#, r#"TRUE"#, r#"DEPLOY"#),
    (168, r#""#, r#"!true"#, r#"DEPLOY"#),
    (169, r#""#, r#"false ? 1 : true ? 2 : 3"#, r#""2""#),
    (170, r#""#, r#"payload.name;"#, r#""Ann""#),
    (171, r#""#, r#"payload.name payload.age"#, r#"DEPLOY"#),
];

/// B.6: value access.
#[rustfmt::skip]
const ACCESS: &[Row] = &[
    (172, r#""#, r#"payload['name']"#, r#""Ann""#),
    (173, r#""#, r#"payload.missing == null"#, r#"""†"#),
    (174, r#""#, r#"payload.none == null"#, r#""true""#),
    (175, r#""#, r#"payload.none"#, r#""""#),
    (176, r#""#, r#"exists(payload.none)"#, r#""false""#),
    (177, r#""#, r#"payload.tags[-1]"#, r#""cyan""#),
    (178, r#""#, r#"payload.tags[payload.idx]"#, r#""green""#),
    (179, r#""#, r#"payload.tags[1:3]"#, r#""["green","blue"]""#),
    (180, r#""#, r#"payload.tags[::2]"#, r#""blue""#),
    (181, r#""#, r#"payload.box"#, r#""{"w":1.10,"h":"7","members":[9],"x-y":5}""#),
    (182, r#""#, r#"payload.box.w"#, r#""1.1""#),
    (183, r#""#, r#"payload.mix[1]"#, r#""2.50""#),
    (184, r#""#, r#"payload.mix[0] + 1"#, r#""2.0""#),
    (185, r#""#, r#"payload.age + 1"#, r#""42""#),
    (186, r#""#, r#"payload.big + 1"#, r#"""†"#),
    (187, r#""#, r#"payload.low + 1"#, r#""1294967297""#),
    (188, r#""#, r#"payload.box.x-y"#, r#""5""#),
    (189, r#""#, r#"payload.true"#, r#"DEPLOY"#),
    (190, r#""#, r#"payload.items[?(@.cat == payload.pick)].sku"#, r#""["B2"]""#),
    (191, r#""#, r#"payload.items[?(@.price > vars.vi)].sku"#, r#""["B2","C3"]""#),
    (192, r#""#, r#"payload.items[?(@.cat == 'pen' && @.qty < 2)].sku"#, r#""["C3"]""#),
    (193, r#""#, r#"payload.items[?(@.cat == 'pen' and @.qty < 2)].sku"#, r#"THROWS InvalidPath"#),
    (194, r#""#, r#"payload.items[?(@.cat in ['ink'])].sku"#, r#"DEPLOY"#),
    (195, r#""#, r#"payload.items[?(@.memo == null)].sku"#, r#"DEPLOY"#),
    (196, r#""#, r#"payload.items.last().sku"#, r#"""†"#),
    (197, r#""#, r#"object(payload.items.last()).sku"#, r#""C3""#),
    (198, r#""#, r#"payload.tags.length()"#, r#""4""#),
    (199, r#""#, r#"payload['name','age']"#, r#"THROWS InvalidPath"#),
    (200, r#""#, r#"vars['vs']"#, r#"THROWS IllegalArgument"#),
    (201, r#""#, r#"vars["a b"]"#, r#""sp""#),
    (202, r#""#, r#"vars.missing"#, r#"""†"#),
    (203, r#""#, r#"vars.vj.tags[0]"#, r#""red""#),
    (204, r#""#, r#"vars.vt.age + 1"#, r#""42""#),
    (205, r#""#, r#"vars.vs.x"#, r#"""†"#),
    (206, r#""#, r#"vars.bad.x"#, r#"THROWS JsonSyntax"#),
    (207, r#""#, r#"vars.vm"#, r#""""#),
    (208, r#""#, r#"vars.vm.attributes.statusCode == 201"#, r#""true""#),
    (209, r#""#, r#"vars.vx"#, r#""<root><v>1</v><v>2</v></root>""#),
    (210, r#""#, r#"vars.vx.v"#, r#"""†"#),
    (211, r#""#, r#"headers.X-Num + 1"#, r#""401""#),
    (212, r#""#, r#"headers["x-zero"]"#, r#""7""#),
    (213, r#""#, r#"headers.X-Flag ? 1 : 2"#, r#"""†"#),
    (214, r#""#, r#"headers.X-Quo"#, r#""q""#),
    (215, r#""#, r#"headers.missing == null"#, r#"""†"#),
    (216, r#""#, r#"props.synapse.yes ? 1 : 2"#, r#"""†"#),
    (217, r#""#, r#"props.synapse.jo.a"#, r#"DEPLOY"#),
    (218, r#""#, r#"object(props.synapse.jo).a.b"#, r#""7""#),
    (219, r#""#, r#"props.axis2.HTTP_SC >= 200"#, r#""true""#),
    (220, r#""#, r#"params.queryParams.n + 1"#, r#""13""#),
    (221, r#""#, r#"params.pathParams.id"#, r#""42""#),
    (222, r#""#, r#"configs.port + 1"#, r#""8291""#),
    (223, r#"XA"#, r#"payload.order.sum"#, r#""12.5""#),
    (224, r#"XA"#, r#"payload"#, r#""<soapenv:Body xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><o:order xmlns:o="urn:o" id="7"><o:line n="1">Pen</o:line><o:line n="2">Ink</o:line><o:sum>12.50</o:sum><o:nil/><o:pad>  a b  </o:pad></o:order></soapenv:Body>""#),
    (225, r#"42"#, r#"payload + 1"#, r#""43.0""#),
];

/// B.7: functions.
#[rustfmt::skip]
const FUNCTIONS: &[Row] = &[
    (226, r#""#, r#"length(payload)"#, r#"""†"#),
    (227, r#""#, r#"length("[1,2]")"#, r#""5""#),
    (228, r#""#, r#"isArray("[1,2]")"#, r#""true""#),
    (229, r#""#, r#"isArray('[1,2]')"#, r#""false""#),
    (230, r#""#, r#"isNumber(5000000000)"#, r#""false""#),
    (231, r#""#, r#"subString("hello",1,9)"#, r#"""†"#),
    (232, r#""#, r#"split("a.b.",".")"#, r#""[]""#),
    (233, r#""#, r#"split("a,b,,",",")"#, r#""["a","b"]""#),
    (234, r#""#, r#"split("a,b",",")[0]"#, r#""["a","b"]""#),
    (235, r#""#, r#"round(-2.5)"#, r#""-2""#),
    (236, r#""#, r#"round(2.345,0)"#, r#"""†"#),
    (237, r#""#, r#"round(5000000000.6)"#, r#""705032705""#),
    (238, r#""#, r#"abs(5000000000)"#, r#"""†"#),
    (239, r#""#, r#"integer("12.5")"#, r#"""†"#),
    (240, r#""#, r#"float("1e3")"#, r#""1000.0""#),
    (241, r#""#, r#"boolean("yes")"#, r#""false""#),
    (242, r#""#, r#"not("true")"#, r#"""†"#),
    (243, r#""#, r#"pow(2,31)"#, r#""2.147483648E9""#),
    (244, r#""#, r#"log(100)"#, r#""2.0""#),
    (245, r#""#, r#"toUpper(payload.age)"#, r#""41""#),
    (246, r#""#, r#"toUpper(5)"#, r#"""†"#),
    (247, r#""#, r#"string("'ab'")"#, r#""ab""#),
    (248, r#""#, r#"base64decode("!!")"#, r#"THROWS IllegalArgument"#),
    (249, r#""#, r#"urlEncode("a b*","UTF-8")"#, r#""a%20b%2A""#),
    (250, r#""#, r#"urlEncode("a b*","utf-8")"#, r#""a+b*""#),
    (251, r#""#, r#"now() > 0"#, r#"""†"#),
    (252, r#""#, r#"formatDateTime(0,"yyyy-MM-dd HH:mm")"#, r#""1970-01-01 00:00""#),
    (253, r#""#, r#"formatDateTime(0,"XXX")"#, r#"""†"#),
    (254, r#""#, r#"formatDateTime("2024-02-30","yyyy-MM-dd","dd/MM")"#, r#""29/02""#),
    (255, r#""#, r#"object('{"a":1}')"#, r#"""†"#),
    (256, r#""#, r#"object(payload.js).p[1]"#, r#""2""#),
    (257, r#""#, r#"exists('vars.missing')"#, r#""true""#),
    (258, r#""#, r#"registry(5)"#, r#"THROWS NullPointer"#),
    (259, r#""#, r#"secret("x")"#, r#"DEPLOY"#),
    (260, r#"XA"#, r#"xpath('count(//o:line)') + 1"#, r#"""†"#),
    (261, r#"XA"#, r#"xpath('$ctx:missing')"#, r#"THROWS NullPointer"#),
    (262, r#""#, r#"xpath('/v[2]','vx')"#, r#""2""#),
    (263, r#""#, r#"xpath('/root/v[2]','vx')"#, r#""""#),
    (264, r#""#, r#"xpath('/p','vm.xp')"#, r#""John30""#),
    (265, r#""#, r#"xpath('bad[')"#, r#"""†"#),
];

#[test]
fn literals_operators_precedence() {
    check(LITERALS);
}

#[test]
fn value_access() {
    check(ACCESS);
}

#[test]
fn functions() {
    check(FUNCTIONS);
}

/// B.8: the typed result, as type and text.
#[test]
fn typed_results() {
    let typed = |on: &str, text: &str| {
        let message = fixture(on);
        let kind = |value: &Value| match value {
            Value::String(_) => "String",
            Value::Boolean(_) => "Boolean",
            Value::Integer(_) => "Integer",
            Value::Long(_) => "Long",
            Value::Double(_) => "Double",
            Value::Json(_) => "Json",
            Value::Xml(_) => "Xml",
            Value::List(_) => "List",
            _ => "other",
        };
        match compile(text).unwrap().object(&message) {
            Ok(value) => format!("{} {}", kind(&value), value.text()),
            Err(failure) => failure.to_string().chars().take(18).collect(),
        }
    };
    let cases = [
        (266, "", "payload.age", "Json 41"),
        (267, "", "payload.none", "String "),
        (268, "", "\"x\"", "String \"x\""),
        (269, "", "payload.age + 1", "Integer 42"),
        (270, "", "headers.X-Zero", "Integer 7"),
        (271, "", "props.synapse.yes", "String true"),
        (272, "", "vars.vm", "String "),
        (
            273,
            "XA",
            "xpath('//*[local-name()=\"line\"]')",
            "List [<o:line xmlns:o=\"urn:o\" n=\"1\">Pen</o:line>, <o:line xmlns:o=\"urn:o\" n=\"2\">Ink</o:line>]",
        ),
        (274, "XA", "xpath('count(//*)')", "ClassCastException"),
        (0, "", "payload.missing", "String "),
        (0, "", "vars.vx", "Xml <root><v>1</v><v>2</v></root>"),
        (0, "", "vars.vl", "Long 5000000000"),
        (0, "", "5 > 3", "Boolean true"),
        (0, "", "1 / 4", "Double 0.25"),
        (0, "", "payload.box.members", "Json [9]"),
    ];
    for (number, on, text, expected) in cases {
        assert_eq!(typed(on, text), expected, "{number}: {text}");
    }
}

/// B.9, rows of log templates, and C74, C75.
#[test]
fn templates() {
    let render = |text: &str| match Template::compile(text) {
        Ok(template) => template.render(&fixture("")).unwrap(),
        Err(_) => "DEPLOY".to_owned(),
    };
    let cases = [
        (
            "Hi ${payload.name}, ${payload.tags}",
            "Hi Ann, [\"red\",\"green\",\"blue\",\"cyan\"]",
        ),
        ("[${payload.missing}] ${}", "[] ${}"),
        ("${\"}\"}", "DEPLOY"),
        ("a ${payload.nope} b", "a  b"),
        ("${vars.e + 'x'}", "ex"),
        ("${payload.name", "${payload.name"),
        ("$ {payload.name} {x} $1", "$ {payload.name} {x} $1"),
        ("${payload\n.name} ${payload.idx}", "${payload\n.name} 1"),
        ("", ""),
        ("ä${payload.name}ä", "äAnnä"),
        ("${} x ${payload.name}", "DEPLOY"),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text), expected, "{text}");
    }
}

/// Appendix C, and cases that only the text of spec 05 §5 has.
#[rustfmt::skip]
const MORE: &[Row] = &[
    (1, "", "-5.3 == -5.3", "\"true\""),
    (2, "", "null == null", "\"true\""),
    (3, "", "payload.none == null", "\"true\""),
    (4, "", "\"a\" == payload.nope", "\"\"†"),
    (5, "", "payload.box == payload.box", "\"true\""),
    (6, "", "5 > \"bla\"", "\"\"†"),
    (7, "", "true >= false", "\"\"†"),
    (8, "", "true && true && false", "\"false\""),
    (9, "", "5 and null", "\"\"†"),
    (10, "", "8.95 + 8.99", "\"17.94\""),
    (11, "", "5 + 3 + -1", "\"7\""),
    (12, "", "5.5 + 3.5", "\"9.0\""),
    (13, "", "vars.vi + vars.vd", "\"7.5\""),
    (14, "", "vars.vi + payload.limit", "\"20\""),
    (15, "", "2147483647 + 1", "\"2147483648\""),
    (16, "", "3148483647 - 3147483647", "\"1000000\""),
    (17, "", "8.9567 - 8.9456", "\"0.0111\""),
    (18, "", "5 - 30 + 2 - 10", "\"-33\""),
    (19, "", "72.0 * 1.032145", "\"74.31444\""),
    (20, "", "25 * 1.05", "\"26.25\""),
    (21, "", "2147483647 * -2", "\"-4294967294\""),
    (22, "", "34.45 / 3.44", "\"10.01\""),
    (23, "", "10 / 2 / -2.5 * 2", "\"-4.0\""),
    (24, "", "10/10000", "\"0.001\""),
    (25, "", "20000000000/10", "\"2.0E9\""),
    (26, "", "200000000/10", "\"20000000\""),
    (27, "", "100/10.0", "\"10.0\""),
    (28, "", "5.2/0", "\"\"†"),
    (29, "", "34.56 % 3.45", "\"0.06\""),
    (30, "", "true ? false ? false : true : false", "\"true\""),
    (31, "", "45 == ( 5 + 34 ? true : 456)", "\"\"†"),
    (32, "", "\"bla\"? true : 123", "\"\"†"),
    (33, "", "length(\"Lahiru\") + 10", "\"16\""),
    (34, "", "length([\"LAHIRU\",3,5])", "\"3\""),
    (35, "", "length(34)", "\"\"†"),
    (35, "", "toUpper(null)", "\"\"†"),
    (35, "", "trim(34)", "\"\"†"),
    (36, "", "subString(\"Hello\",5)", "\"\""),
    (37, "", "subString(\"Hello\",-2)", "\"\"†"),
    (38, "", "split(\"a b,c\",\"[, ]\")", "\"[\"a\",\"b\",\"c\"]\""),
    (39, "", "abs(-5.0)", "\"5.0\""),
    (39, "", "floor(-5.4)", "\"-6.0\""),
    (39, "", "ceil(5.9)", "\"6.0\""),
    (40, "", "sqrt(-25.0)", "\"NaN\""),
    (40, "", "pow(2,-2)", "\"0.25\""),
    (40, "", "log(1024,2)", "\"10.0\""),
    (41, "", "base64encode(\"Hello\",\"UTF-99\")", "\"\"†"),
    (42, "", "urlEncode(\" *~\")", "\"%20%2A%7E\""),
    (43, "", "isObject(\"{\\\"hello: \\\"world\\\"}\")", "\"false\""),
    (44, "", "string(12) + \" Angry Men\"", "\"12 Angry Men\""),
    (45, "", "integer(34.5)", "\"\"†"),
    (46, "", "boolean(\"0\") || (5 > 2)", "\"true\""),
    (47, "", "round(8.89 + 0.12,1)", "\"9.0\""),
    (47, "", "round(0.115,2)", "\"0.12\""),
    (48, "", "round(0.111,\"asdf\")", "\"\"†"),
    (49, "", "exists(payload.nope) ? payload.nope : $.name", "\"Ann\""),
    (50, "", "not(123)", "\"\"†"),
    (51, "", "indexOf(\"Hello World\", \"l\",50)", "\"-1\""),
    (52, "", "charAt(\"Hello World\", 100)", "\"\"†"),
    (53, "", "formatDateTime(\"29-09-1988\",\"dd-MM-yyyy\", \"yyyy MMM dd\")", "\"1988 Sep 29\""),
    (54, "", "formatDateTime(\"50-22-33\",\"HH-mm-ss\",\"HH\")", "\"\"†"),
    (55, "", "vars.vt[\"items\"].[0,2].sku", "\"[\"A1\",\"C3\"]\""),
    (56, "[1,2,3,4,5]", "payload.[:4]", "\"[1,2,3,4]\""),
    (57, "", "vars.vi[0]", "\"\"†"),
    (58, "{\"payload\":{\"vars\":{\"configs\":7}}}", "payload.payload.vars.configs", "\"7\""),
    (59, "", "headers.[\"te st\"]", "\"blank inside\""),
    (60, "", "integer(headers.X-Num) > 399", "\"true\""),
    (61, "", "props.synapse[\"p\"]", "\"\""),
    (62, "", "xpath('/order/@id', 'v.payload')", "\"9\""),
    (63, "", "xpath('/order/@id', 'nope.payload')", "\"\"†"),
    (63, "", "xpath('/order/@id', 'vs.payload')", "\"\"†"),
    (63, "", "xpath('/order/@id', 'vm.payload')", "\"\"†"),
    (63, "", "xpath('/order/@id', '')", "\"\"†"),
    (64, "", "5 >> 3", "DEPLOY"),
    (65, "", "length(\"a\\tb\")", "\"4\""),
    (66, "", "'\"'", "\"\"\""),
    (66, "", "string('\"')", "THROWS IndexOutOfBounds"),
    (67, "", "vars.vf", "THROWS ClassCast"),
    (68, "", "props.synapse.d5", "\"5.0\""),
    (69, "", "params.functionParams.p1", "\"v1\""),
    (70, "", "params.functionParams.nope", "\"\"†"),
    (71, "", "payload.tags[vars.one]", "\"\"†"),
    (72, "", "payload.tags[vars.vi - 8]", "\"blue\""),
    (73, "", "payload.tags[vars.vi - 9:vars.vi - 7]", "\"[\"green\",\"blue\"]\""),
    (74, "", "payload.tags[-payload.idx:]", "\"[\"cyan\"]\""),
    (75, "", "payload.tags[payload.idx,payload.idx + 1]", "\"[\"green\",\"blue\"]\""),
    (76, "", "payload[vars.vs]", "\"\"†"),
    (77, "", "payload['pick']", "\"ink\""),
    (78, "", "payload[vars.dollar]", "THROWS IllegalArgument"),
    (79, "", "payload.items[?(@.cat == vars.quote)]", "THROWS InvalidPath"),
    (80, "", "payload.tags[payload.none]", "THROWS InvalidPath"),
    (81, "", "payload.tags[vars.vd]", "THROWS InvalidPath"),
    (82, "", "payload.items[?(@.cat == vars.ten || @.cat == vars.ten)].qty", "\"[10]\""),
    (83, "", "payload.items[?(@.sku == toUpper('b2'))].qty", "\"[10]\""),
    (84, "", "payload..sku", "\"[\"A1\",\"B2\",\"C3\"]\""),
    (85, "", "payload..items[vars.vi - 9].sku", "\"[\"B2\"]\""),
    (86, "", "payload.box.*", "\"[1.1,\"7\",[9],5]\""),
    (87, "", "payload.tags[:]", "THROWS InvalidPath"),
    (88, "", "payload.items[*].qty.sum()", "THROWS JsonPath"),
    (89, "", "vars.wild.a[1]", "\"2\""),
    (90, "", "vars[\"payload\"]", "\"shadow\""),
    (91, "", "vars.\"vs\"", "\"\"†"),
    (92, "", "object(\"{a:1}\").a + 1", "\"2\""),
    (93, "", "array('x')", "\"\"†"),
    (94, "", "array(payload.tags)[0]", "\"red\""),
    (95, "", "registry('conf/a').a.b[1] + 1", "\"3.0\""),
    (96, "", "registry('conf/a').property('p') + 1", "\"\"†"),
    (97, "", "registry('nope')", "\"\"†"),
    (98, "", "payload.ok ? 1 : 2", "\"1\""),
    (99, "", "payload.ok and true", "\"true\""),
    (100, "", "exists(vars.bad.x)", "THROWS JsonSyntax"),
    (101, "", "toUpper('straße')", "\"STRASSE\""),
    (102, "", "length('a\u{1F600}b')", "\"4\""),
    (103, "", "subString('a\u{1F600}b',3)", "\"b\""),
    (104, "", "indexOf('a\u{1F600}b','b')", "\"3\""),
    (105, "", "replace('abc','','-')", "\"-a-b-c-\""),
    (106, "", "split('','x')", "\"[\"\"]\""),
    (107, "", "split('abc','')", "\"[\"a\",\"b\",\"c\"]\""),
    (108, "", "base64decode(base64encode('hé'))", "\"hé\""),
    (109, "", "urlDecode('a%20b+c')", "\"a b c\""),
    (110, "", "urlDecode('%z')", "THROWS IllegalArgument"),
    (111, "", "formatDateTime(1700000000123,'EEE, d MMM yyyy HH:mm:ss.SSS a')", "\"Tue, 14 Nov 2023 22:13:20.123 PM\""),
    (112, "", "formatDateTime(0,'b')", "THROWS IllegalArgument"),
    (113, "", "formatDateTime('20240131','yyyyMMdd',\"D 'of' y\")", "\"31 of 2024\""),
    (114, "", "formatDateTime('2024-05-06 07:08','yyyy-MM-dd HH:mm','HH.mm dd')", "\"07.08 06\""),
    (115, "", "formatDateTime('07:08 PM','hh:mm a','HHmm')", "\"1908\""),
    (116, "", "formatDateTime('2024-05-06 07:08','yyyy-MM-dd HH:mm','yyyy')", "\"2024\""),
    (117, "", "now()", "\"1700000000123\""),
    (118, "", "2147483647 - -1 == -2147483648", "\"true\""),
    (119, "", "-2147483648 / -1", "\"-2147483648\""),
    (120, "", "abs(-2147483648)", "\"-2147483648\""),
    (121, "", "9223372036854775807 * 2", "\"-2\""),
    (122, "", "5000000000 % 7", "\"2\""),
    (123, "", "float('NaN') + 1.5", "THROWS NumberFormat"),
    (124, "", "10.123 / 3", "\"3.374\""),
    (125, "", "params.pathParams.id == \"0042\"", "\"false\""),
    (126, "", "2.50 == payload.mix[1]", "\"false\""),
    (127, "", "xpath('//v', 'vx')", "\"<v>1</v><v>2</v>\""),
    (128, "XA", "xpath(\"//o:sum\")", "\"12.50\""),
    (129, "XA", "float(xpath('count(//o:line)')) + 1", "\"3.0\""),
    (130, "XA", "payload.order.line[1].$", "\"Ink\""),
    (131, "XA", "xpath('//nope:x')", "THROWS Synapse"),
    (132, "\"str\"", "payload", "\"str\""),
    (133, "null", "payload", "\"\""),
    (134, "", "payload.tags.length() > 3", "\"true\""),
    (135, "", "payload.tags.first()", "\"red\""),
    (136, "", "payload.items[?(@.qty > -1 && @.qty < vars.vi)].sku", "\"[\"A1\",\"C3\"]\""),
    (138, "", "vars.vm.['attributes'].statusCode", "\"201\""),
    (139, "", "vars[\"vm\"][\"payload\"].items[-1].sku", "\"C3\""),
    (140, "", "vars.vm['payload'][\"tags\"][1,3]", "\"[\"green\",\"cyan\"]\""),
    (141, "", "vars.[\"vj\"].[\"items\"][?(@.price > payload.limit)].sku", "\"[\"B2\",\"C3\"]\""),
    (142, "", "$.tags[$.idx,3]", "\"[\"green\",\"cyan\"]\""),
    (143, "", "$.tags[payload.idx + 1:]", "\"[\"blue\",\"cyan\"]\""),
    (144, "", "$..items[?(@.memo)].sku", "\"[\"B2\"]\""),
    (145, "", "$..items[?(@.sku =~ /.*[0-9]/i)].sku", "DEPLOY"),
    (146, "", "$..items[?(@.sku =~ /b.*/i)].sku", "\"[\"B2\"]\""),
    (147, "", "$.items.[0].keys()", "\"[\"sku\",\"qty\",\"price\",\"cat\"]\""),
    (148, "", "round($..price.avg())", "\"50\""),
    (149, "", "$..price.min()", "\"9.5\""),
    (150, "", "(vars.vi * vars.vd) - 5 + payload.idx", "\"-29.0\""),
    (137, "", "payload.items[(@.qty == 2)].sku", "\"[\"A1\"]\""),
];

#[test]
fn unit_tests_of_the_reference_and_more() {
    check(MORE);
}
