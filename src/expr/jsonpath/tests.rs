use super::*;
use crate::json::xml::{ConversionError, from_xml};
use crate::json::{Limits, parse};
use crate::xml::Document;
use proptest::prelude::*;

/// Fixture JA of spec 05, appendix A.
const JA: &str = r#"{"name":"Ann","age":41,"idx":1,"pad":" hi ","none":null,"ok":true,"tags":["red","green","blue","cyan"],"mix":[1,2.50,"z",null,{"k":"v"}],"box":{"w":1.10,"h":"7","members":[9],"x-y":5},"big":12345678901234567890,"low":-3000000000,"items":[{"sku":"A1","qty":2,"price":9.5,"cat":"pen"},{"sku":"B2","qty":10,"price":19.95,"cat":"ink","memo":"m"},{"sku":"C3","qty":1,"price":120,"cat":"pen"}],"limit":10,"pick":"ink","js":"{\"p\":[1,2]}"}"#;

fn json(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn string_value(path: &str, body: &str) -> String {
    match JsonPath::compile(path) {
        Ok(path) => path.string_value(&json(body), body.as_bytes()),
        Err(error) => error.to_string(),
    }
}

fn xml_as_json(xml: &str) -> Result<String, ConversionError> {
    let document = Document::parse(xml.to_owned().into(), &Default::default()).unwrap();
    let root = document.root_element().unwrap();
    let json = from_xml(&document, root, &Default::default())?;
    Ok(String::from_utf8(json).unwrap())
}

/// Spec 05 B.4, by row number. Rows that also need message properties are in the next test.
#[test]
fn reference_cases() {
    let cases = [
        (98, "$.name", "Ann"),
        (99, "$.none", "null"),
        (100, "$.missing", ""),
        (101, "$.ok", "true"),
        (102, "$.tags", r#"["red","green","blue","cyan"]"#),
        (103, "$.tags[9]", ""),
        (104, "$.mix", r#"[1,2.50,"z",null,{"k":"v"}]"#),
        (105, "$.mix[1]", "2.50"),
        (106, "$.mix[3]", "null"),
        (107, "$.box", "[9]"),
        (108, "$.box.w", "1.1"),
        (109, "$.big", "12345678901234567890"),
        (110, "$..missing", "[]"),
        (111, "$.items[?(@.price > $.limit)].sku", r#"["B2","C3"]"#),
        (112, "$.items[?(@.cat in ['ink'])].sku", r#"["B2"]"#),
        (113, "$.items[?(@.sku =~ /b.*/i)].sku", r#"["B2"]"#),
        (114, "$.items[?(@.qty == '2')].sku", r#"["A1"]"#),
        (115, "$.items[0:3:2].sku", r#"["A1","B2","C3"]"#),
        (116, "$.items[0,9].sku", r#"["A1"]"#),
        (117, "$.items.length()", "3"),
        (118, "$..qty.sum()", "13.0"),
        (119, "$.items[*].qty.sum()", ""),
        (120, "$['name','age']", r#"{"name":"Ann","age":41}"#),
        (121, "name", "Ann"),
        (
            122,
            "$name",
            "illegal character, expected '.' or '[' (offset 1)",
        ),
        (131, "$.ok", "true"),
        (132, "$.age", "41"),
    ];
    for (row, path, expected) in cases {
        assert_eq!(string_value(path, JA), expected, "row {row}: {path}");
    }
    assert_eq!(string_value("$", "\"str\""), "\"str\"", "row 129");
    assert_eq!(
        string_value("$.", "{ \"a\" : 1 }"),
        "{ \"a\" : 1 }",
        "row 130"
    );
}

#[test]
fn reference_cases_with_sources() {
    // 123: the dynamic part is the value "name" of a property.
    let pieces = dynamic_pieces("$.{$ctx:key}");
    assert_eq!(pieces, [Piece::Literal("$."), Piece::Dynamic("$ctx:key")]);
    assert_eq!(string_value("$.name", JA), "Ann");
    // 124 to 126: the path is applied to a property.
    let (source, path) = split_source("$ctx:jo.a.b");
    assert_eq!(source, Source::Context("jo"));
    let property = json(r#"{"a":{"b":7}}"#);
    assert_eq!(
        JsonPath::compile(&path).unwrap().text(&property),
        Ok("7".to_owned())
    );
    let (_, path) = split_source("$ctx:jo.zzz");
    let missing = JsonPath::compile(&path)
        .unwrap()
        .text(&property)
        .unwrap_err();
    assert_eq!(missing, EvalError::NotFound("$.zzz".to_owned()));
    assert_eq!(missing.to_string(), "No results for path: $.zzz");
}

/// Rows 127 and 128: bodies that are XML.
#[test]
fn reference_cases_on_xml() {
    let order = r#"<o:order xmlns:o="urn:o" id="7"><o:line n="1">Pen</o:line><o:line n="2">Ink</o:line><o:sum>12.50</o:sum><o:nil/><o:pad>  a b  </o:pad></o:order>"#;
    let order = xml_as_json(order).unwrap();
    assert_eq!(string_value("$.order.sum", &order), "12.5");
    // There is no JSON to evaluate, which the caller answers with "".
    let mixed = xml_as_json("<note>mix<b>ed</b>up</note>");
    assert_eq!(mixed, Err(ConversionError::MixedContent("mix".to_owned())));
}

#[test]
fn result_text() {
    let cases = [
        (r#"{"a":1.50}"#, "$.a", "1.5"),
        (r#"{"a":1e3}"#, "$.a", "1000"),
        (r#"{"a":123000000.0}"#, "$.a", "1.23E8"),
        (
            r#"{"a":0.1234567890123456789}"#,
            "$.a",
            "0.1234567890123456789",
        ),
        (r#"{"a":-0}"#, "$.a", "0"),
        (r#"[2.50]"#, "$[0]", "2.50"),
        (r#"[2.50]"#, "$[*]", "[2.50]"),
        (r#"{"a":2.50}"#, "$.*", "[2.5]"),
        (r#"{"a":{"b":2.50}}"#, "$.a", r#"{"b":2.50}"#),
        (r#"{"a":{"b":2.50}}"#, "$.a['b','c']", r#"{"b":2.5}"#),
        (r#"{"a":"q\"\\\n/é<"}"#, "$.a", "q\"\\\n/é<"),
        (
            r#"{"a":["q\"/é<",{"x":null}]}"#,
            "$.a",
            r#"["q\"/é<",{"x":null}]"#,
        ),
        (r#"{"a":{"elements":{"x":1}}}"#, "$.a", r#"{"x":1}"#),
        (r#"{"a":{"elements":1,"members":"m"}}"#, "$.a", r#""m""#),
        (r#"[{"members":1}]"#, "$[0]", "1"),
        (r#"{"a":"x"}"#, "$..a", r#"["x"]"#),
        (r#"{"a":1,"a":2}"#, "$.a", "2"),
        (r#"{"a":1,"b":3,"a":2}"#, "$.*", "[2,3]"),
        (r#"{"a":"x"}"#, "$.a.b", ""),
        (r#"{"a":"x"}"#, "$.a[0]", ""),
        (r#"{"a":null}"#, "$.a.b", ""),
    ];
    for (body, path, expected) in cases {
        assert_eq!(string_value(path, body), expected, "{path} on {body}");
    }
    let list = |path: &str, body: &str| JsonPath::compile(path).unwrap().list(&json(body));
    assert_eq!(list("$.a", r#"{"a":[1,2]}"#).unwrap().len(), 2);
    assert_eq!(list("$.a", r#"{"a":"x"}"#).unwrap(), [json("\"x\"")]);
    assert_eq!(list("$.a", r#"{"a":null}"#).unwrap(), []);
    assert!(matches!(list("$.b", "{}"), Err(EvalError::NotFound(_))));
}

const STORE: &str = r#"{"store":{"book":[{"category":"reference","author":"Rees","title":"Sayings","price":8.95},{"category":"fiction","author":"Waugh","title":"Sword","price":12.99},{"category":"fiction","author":"Melville","title":"Moby","isbn":"0-553","price":8.99},{"category":"fiction","author":"Tolkien","title":"Rings","isbn":"0-395","price":22.99}],"bicycle":{"color":"red","price":19.95}},"expensive":10,"a-b":1,"a b":2,"t":[["x"],[],["y","z"]],"e":"","n":[1,2.0,"2",null]}"#;

/// The kinds of path the crates measured in research/xml-stack.md §10 were judged by, and the
/// operators and functions of spec 05 §4.2.
#[test]
fn path_language() {
    let cases = [
        // Steps.
        ("$.store.bicycle.color", "red"),
        ("$['store']['bicycle'][\"color\"]", "red"),
        ("$.store['bicycle'].color", "red"),
        ("$.['store'].bicycle.color", "red"),
        ("$[ 'store' ][ 'bicycle' , 'book' ].color", r#"["red"]"#),
        ("@.store.bicycle.color", "red"),
        ("store.bicycle.color", "red"),
        ("['store'].bicycle.color", "red"),
        ("$.a-b", "1"),
        ("$['a b']", "2"),
        (r"$['a\u0020b']", "2"),
        ("$['a-b','nope','a b']", r#"{"a-b":1,"a b":2}"#),
        ("$['nope']", ""),
        ("$['no','nope']", "{}"),
        ("$.store.book[0].title", "Sayings"),
        ("$.store.book[-1].title", "Rings"),
        ("$.store.book[-5].title", ""),
        ("$.store.book[0,1].title", r#"["Sayings","Sword"]"#),
        ("$.store.book[ 0 , -1 ].title", r#"["Sayings","Rings"]"#),
        ("$.store.book[:2].title", r#"["Sayings","Sword"]"#),
        ("$.store.book[1:2].title", r#"["Sword"]"#),
        ("$.store.book[2:].title", r#"["Moby","Rings"]"#),
        ("$.store.book[-2:].title", r#"["Moby","Rings"]"#),
        ("$.store.book[:-2].title", r#"["Sayings","Sword"]"#),
        ("$.store.book[0:-1].title", "[]"),
        ("$.store.book[-3:-1].title", r#"["Sword","Moby"]"#),
        ("$.store.book[-1:1].title", r#"["Rings","Sayings"]"#),
        (
            "$.store.book[-99999999:1].title.length()",
            "[null,null,null,null,null]",
        ),
        (
            "$.store.book[*].author",
            r#"["Rees","Waugh","Melville","Tolkien"]"#,
        ),
        ("$.store.*.color", r#"["red"]"#),
        ("$.store[*].color", r#"["red"]"#),
        ("$.t[*][*]", r#"["x","y","z"]"#),
        ("$.e[*]", "[]"),
        ("$..author", r#"["Rees","Waugh","Melville","Tolkien"]"#),
        ("$.store..price", "[8.95,12.99,8.99,22.99,19.95]"),
        ("$..book[2].title", r#"["Moby"]"#),
        ("$..[2].title", r#"["Moby"]"#),
        (
            "$..['isbn','title']",
            r#"[{"isbn":"0-553","title":"Moby"},{"isbn":"0-395","title":"Rings"}]"#,
        ),
        ("$..t.*", r#"[["x"],[],["y","z"]]"#),
        (".isbn", r#"["0-553","0-395"]"#),
        ("$..*.color", r#"["red"]"#),
        ("$..bicycle..price", "[19.95]"),
        // Filters.
        ("$..book[?(@.isbn)].title", r#"["Moby","Rings"]"#),
        ("$.store.book[?(!@.isbn)].title", r#"["Sayings","Sword"]"#),
        ("$.store.book[?(!(@.isbn))].title", r#"["Sayings","Sword"]"#),
        (
            "$.store.book[?(@.price < 10)].title",
            r#"["Sayings","Moby"]"#,
        ),
        ("$.store.book[?(@.price<10&&@.isbn)].title", r#"["Moby"]"#),
        ("$.store.book[?(@.isbn&&@.price<10)].title", r#"["Moby"]"#),
        (
            "$.store.book[?(@.price <= $['expensive'])].title",
            r#"["Sayings","Moby"]"#,
        ),
        (
            "$.store.book[?(@.price >= 8.99 && @.price < 13 || @['title'] == 'Rings')].title",
            r#"["Sword","Moby","Rings"]"#,
        ),
        (
            "$.store.book[?((@.price > 20 || @.price < 8.96) && @.category != 'fiction')].title",
            r#"["Sayings"]"#,
        ),
        ("$.store.book[?(20 < @.price)].title", r#"["Rings"]"#),
        (
            "$.store.book[?(@.isbn != null)].title",
            r#"["Sayings","Sword","Moby","Rings"]"#,
        ),
        ("$.store.book[?(@.isbn == null)].title", "[]"),
        (
            "$.store.book[?(@.author =~ /.*ee.*/)].author",
            r#"["Rees"]"#,
        ),
        ("$.store.book[?(@.author =~ /ee/)].author", "[]"),
        (
            r"$.store.book[?(@.isbn =~ /\d-5[\/5)\]]3/)].author",
            r#"["Melville"]"#,
        ),
        (
            "$.store.book[?(@.price =~ /8\\.9./)].title",
            r#"["Sayings","Moby"]"#,
        ),
        (
            "$.store.book[?(@.title =~ /M O # b )\n B Y/ix)].title",
            r#"["Moby"]"#,
        ),
        (
            "$.store.book[?(@.category nin ['fiction'])].title",
            r#"["Sayings"]"#,
        ),
        (
            "$.store.book[?(@.price in [8.950, '12.99'])].title",
            r#"["Sayings","Sword"]"#,
        ),
        (
            "$.store.book[?(@.author in [Rees, \"Waugh\"])].title",
            r#"["Sayings","Sword"]"#,
        ),
        (
            "$.store.book[?('fic' in ['fic'])].title.length()",
            "[null,null,null,null]",
        ),
        ("$.t[?(@ contains 'y')]", r#"[["y","z"]]"#),
        (
            "$.store.book[?(@.title contains 'ing')].title",
            r#"["Sayings","Rings"]"#,
        ),
        ("$.t[?(@ size 2)]", r#"[["y","z"]]"#),
        ("$.store.book[?(@.title size 4)].title", r#"["Moby"]"#),
        ("$.t[?(@ empty true)]", "[[]]"),
        ("$.t[?(@ empty false)]", r#"[["x"],["y","z"]]"#),
        ("$.t[?(@ empty 1)]", ""),
        ("$.t[?(@ all ['y'])]", r#"[["y","z"]]"#),
        ("$.t[?(@ subsetof ['x','y'])]", r#"[["x"],[]]"#),
        ("$.t[?(@ ANYOF ['x','y'])]", r#"[["x"],["y","z"]]"#),
        ("$.t[?(@ noneof ['x'])]", r#"[[],["y","z"]]"#),
        ("$.t[?(@.length() > 1)]", r#"[["y","z"]]"#),
        ("$.t[?(@[0] == 'x')]", r#"[["x"]]"#),
        ("$.t[?(@[0])]", r#"[["x"],["y","z"]]"#),
        ("$.n[?(@ == 2)]", r#"[2.0,"2"]"#),
        ("$.n[?(@ === 2)]", "[2.0]"),
        ("$.n[?(@ !== 2)]", r#"[1,"2",null]"#),
        ("$.n[?(@ == null)]", "[null]"),
        ("$.n[?(@ > 1)]", "[2.0]"),
        ("$.n[?(@ > '1')]", r#"["2"]"#),
        ("$.n[?(@ type 'x')]", "[]"),
        ("$.n[?(@ in 2)]", ""),
        ("$.store.bicycle[?(@.color == 'red')].price", "[19.95]"),
        (
            "$.store[?(@.book[?(@.price > 20)])].bicycle.color",
            r#"["red"]"#,
        ),
        ("$.store.book[?(@.title == \"Moby\")].title", r#"["Moby"]"#),
        (
            r"$.store.book[?(@.title == 'M\u006fby')].title",
            r#"["Moby"]"#,
        ),
        ("$.t[?(@ == ['y', 'z'])]", r#"[["y","z"]]"#),
        (
            "$.store[?(@.bicycle == {price: 19.950, 'color': red})].book.length()",
            "[4]",
        ),
        ("$.e[?(@)]", ""),
        // Functions.
        ("$.store.book.length()", "4"),
        ("$.store.book.size()", "4"),
        ("$.store.bicycle.length()", "2"),
        ("$.e.length()", "null"),
        ("$.length($.store.book)", "4"),
        ("$..book.length()", "4"),
        ("$..price.length()", "0"),
        ("$..price.max()", "22.99"),
        ("$..price.min()", "8.95"),
        ("$.n.sum()", "3.0"),
        ("$.n.avg()", "1.5"),
        ("$.n.stddev()", "0.5"),
        ("$.n.max()", "2.0"),
        ("$.sum($.n, $.expensive, 4)", "17.0"),
        ("$.n.first()", "1"),
        ("$.n.last()", "null"),
        ("$.n.index(1)", "2.0"),
        ("$.n.index(-3)", "2.0"),
        ("$.n.index(9)", ""),
        ("$.n.index()", ""),
        ("$.n.index(2)", ""),
        ("$.t.last()", r#"["y","z"]"#),
        ("$.t.last().x", ""),
        ("$.t[*].length()", "[1,0,2]"),
        ("$.t[0].concat('a', \"b\")", ""),
        ("$.store.bicycle.keys()", r#"["color","price"]"#),
        ("$.t[0].append(5, {\"x\":[1]})", r#"["x",5,{"x":[1]}]"#),
        ("$.t[1].sum()", ""),
        ("$.e.sum()", ""),
        ("$.store.keys().length", ""),
    ];
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|(path, expected)| (path, expected, string_value(path, STORE)))
        .filter(|(_, expected, actual)| expected != actual)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn definite_paths() {
    for (path, definite) in [
        ("$", true),
        ("$.a[0]['b']", true),
        ("$['a','b']", true),
        ("$.a.length()", true),
        ("$['a','b'].c", false),
        ("$[0,1]", false),
        ("$[0:1]", false),
        ("$.*", false),
        ("$..a", false),
        ("$[?(@.a)]", false),
        ("$.a[*].length()", false),
        ("$..a.sum()", true),
    ] {
        assert_eq!(
            JsonPath::compile(path).unwrap().is_definite(),
            definite,
            "{path}"
        );
    }
    assert!(JsonPath::compile("$.").unwrap().is_whole_body());
    assert!(JsonPath::compile(" @ ").unwrap().is_whole_body());
    assert!(!JsonPath::compile("$.a.").unwrap().is_whole_body());
    assert_eq!(JsonPath::compile(" $.a. ").unwrap().as_str(), "$.a");
    let one = json("{\"a\":1}");
    assert_eq!(
        JsonPath::compile("$.a").unwrap().evaluate(&one),
        Ok(Found::One(Cow::Owned(Value::number(1))))
    );
}

#[test]
fn invalid_paths() {
    let cases = [
        ("", 0),
        (".", 0),
        ("$name", 1),
        ("$..", 0),
        ("$...a", 3),
        ("..a", 1),
        ("$.a..", 0),
        ("$.a b", 3),
        ("$. a", 2),
        ("a b", 1),
        ("$[", 1),
        ("$[]", 1),
        ("$.a[", 3),
        ("$['a'", 5),
        ("$['a]", 2),
        ("$['a',]", 6),
        ("$['a' 'b']", 6),
        ("$[a]", 1),
        ("$[:]", 4 - 1),
        ("$[::2]", 5),
        ("$[1-2]", 5),
        ("$[1", 3),
        ("$[99999999999]", 13),
        ("$.a[(@.length-1)]", 3),
        ("$[?]", 3),
        ("$[?(]", 4),
        ("$[?()]", 4),
        ("$[?(@.a]", 7),
        ("$[?(@.a)", 8),
        ("$[?(true)]", 4),
        ("$[?(@.a = 1)]", 8),
        ("$[?(@.a like 1)]", 8),
        ("$[?(@.a ==)]", 10),
        ("$[?(@.a == x)]", 11),
        ("$[?(@.a == 'x)]", 11),
        ("$[?(@.a == 01)]", 11),
        ("$[?(@.a in ['x')]", 15),
        ("$[?(@.a =~ /x)]", 11),
        ("$[?(@.a =~ /(/)]", 11),
        ("$[?(@.a =~ /(?=x)/)]", 11),
        ("$[?(@.a =~ /(.{999}){999}/)]", 11),
        ("$[?(@..)]", 4),
        ("$[?(@.a b)]", 8),
        ("$.a.foo()", 4),
        ("$.a.sum(", 7),
        ("$.a.sum(x)", 8),
        ("$.a.sum(1, $x)", 12),
        ("$.a[*]b", 6),
        ("$.*b", 3),
    ];
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|(path, offset)| (path, offset, JsonPath::compile(path).unwrap_err()))
        .filter(|(_, offset, error)| *offset != error.offset)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn work_is_bounded() {
    let nested = |depth: usize| format!("$[?({}@.a{})]", "(".repeat(depth), ")".repeat(depth));
    assert!(JsonPath::compile(&nested(10)).is_ok());
    for text in [
        nested(100_000),
        format!("$[?({}@.a)]", "!".repeat(100_000)),
        format!("$[?(@.a == {})]", "[".repeat(100_000)),
        "$[?(@".repeat(50_000),
        "$.sum(".repeat(50_000) + &")".repeat(50_000),
        ".a".repeat(100_000),
    ] {
        assert!(JsonPath::compile(&text).is_err());
    }
    let deep = json(&("[".repeat(256) + &"]".repeat(256)));
    let explosive = JsonPath::compile(&("$".to_owned() + &"..*".repeat(8))).unwrap();
    let bounded = evaluate::within(&explosive.compiled, &deep, 100_000);
    assert_eq!(bounded, Err(EvalError::TooManySteps));
    // Each `a` has all the inner ones in it: two hundred times the document.
    let inner = format!("\"{}\"", "x".repeat(1 << 20));
    let nested = json(&("{\"a\":".repeat(200) + &inner + &"}".repeat(200)));
    let all = JsonPath::compile("$..a").unwrap();
    assert_eq!(all.evaluate(&nested), Err(EvalError::TooLarge));
    assert_eq!(all.string_value(&nested, b""), "");
    let small = json(&("{\"a\":".repeat(200) + "1" + &"}".repeat(200)));
    assert_eq!(all.list(&small).unwrap().len(), 200);
    let scan = JsonPath::compile("$..*").unwrap();
    assert_eq!(scan.list(&deep).unwrap().len(), 255);
}

/// What a filter looks at for every item counts, however it is looked at.
#[test]
fn work_of_filters_is_bounded() {
    let within = |path: &str, body: &Value| {
        let path = JsonPath::compile(path).unwrap();
        let found = evaluate::within(&path.compiled, body, 200_000);
        found.map(|found| found.into_value().as_array().map_or(1, <[Value]>::len))
    };
    let many = Err(EvalError::TooManySteps);
    let items = format!("\"l\":[{}0]", "{\"a\":1},".repeat(2000));
    let members: String = (0..20_000).map(|i| format!("\"m{i}\":1,")).collect();
    let wide = json(&format!("{{{members}{items}}}"));
    assert_eq!(within("$.l[?(@.a == 1)]", &wide), Ok(2000));
    assert_eq!(within("$.l[?(@.a == $.m19999)]", &wide), many);
    let names = format!("$['m1'{}]", ",'m2'".repeat(2000));
    assert_eq!(within(&names, &wide), many);
    let digits = "7".repeat(100_000);
    let long = json(&format!("{{{items},\"n\":{digits},\"t\":\"{digits}\"}}"));
    for filter in [
        "@.a < $.n",
        "@.a == $.n",
        "$.t =~ /7*/",
        "$.t contains '8'",
        "$.t == '7'",
    ] {
        assert_eq!(
            within(&format!("$.l[?({filter})]"), &long),
            many,
            "{filter}"
        );
    }
    let list = json(&format!("{{{items},\"x\":[{}0]}}", "1,".repeat(20_000)));
    for filter in [
        "@.a > $.x.sum()",
        "$.x =~ /2/",
        "$.x == $.x",
        "@.a == $.x.append(1)",
    ] {
        assert_eq!(
            within(&format!("$.l[?({filter})]"), &list),
            many,
            "{filter}"
        );
    }
    // Equal objects are found equal in one go.
    let twins = json(&format!(
        "[{{\"a\":{{{members}\"z\":1}},\"b\":{{\"z\":1,{members}\"y\":2}},\"c\":{{\"z\":1.0,{}}}}}]",
        members.trim_end_matches(',')
    ));
    assert_eq!(within("$[?(@.a == @.c)]", &twins), Ok(1));
    assert_eq!(within("$[?(@.a == @.b)]", &twins), Ok(0));
    // The operand would be two hundred times the document.
    let inner = format!("\"{}\"", "x".repeat(1 << 20));
    let nested = format!("{}{inner}{}", "{\"a\":".repeat(200), "}".repeat(200));
    let nested = json(&format!("[{nested}]"));
    let all = JsonPath::compile("$[?(1 in $..a)]").unwrap();
    assert_eq!(all.evaluate(&nested), Err(EvalError::TooLarge));
}

#[test]
fn changes_do_not_multiply_a_body() {
    let set =
        |path: &str, root: &mut Value, new: &Value| JsonPath::compile(path).unwrap().set(root, new);
    let large = Value::String("x".repeat(1 << 20));
    let mut root = json(&format!("[{}0]", "0,".repeat(1000)));
    assert_eq!(set("$[*]", &mut root, &large), Err(EvalError::TooLarge));
    assert_eq!(set("$[0:10]", &mut root, &large), Ok(10));
    assert_eq!(set("$[*]", &mut root, &Value::Null), Ok(1001));
    // Each place would be as long as it is deep.
    let deep = format!(
        "{}{}0{}",
        "[".repeat(200),
        "0,".repeat(100_000),
        "]".repeat(200)
    );
    let all = JsonPath::compile("$..*").unwrap();
    assert_eq!(all.locate(&json(&deep)), Err(EvalError::TooManySteps));
}

/// The stack of a thread of the server.
const STACK: usize = 2 << 20;

/// Filters in filters, each going down to the bottom.
#[test]
fn the_deepest_filters_fit_the_stack() {
    let run = || {
        let depth = crate::json::Limits::default().max_depth - 1;
        let body = json(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
        let mut deepest = None;
        for nesting in 1..=compile::MAX_NESTING {
            let path = format!("{}{}", "$..[?(".repeat(nesting), ")]".repeat(nesting));
            let path = path.replacen("()", "(@..[0])", 1);
            if let Ok(path) = JsonPath::compile(&path) {
                deepest = Some(nesting);
                let _ = evaluate::within(&path.compiled, &body, 3_000_000);
            }
        }
        assert!(deepest.is_some());
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn changes() {
    let set = |path: &str, body: &str, new: &str| {
        let mut root = json(body);
        let result = JsonPath::compile(path).unwrap().set(&mut root, &json(new));
        (result.map_err(|error| error.to_string()), to_text(&root))
    };
    let changed = |count, text: &str| (Ok(count), text.to_owned());
    assert_eq!(
        set("$.a", r#"{"a":1,"b":2}"#, "[3]"),
        changed(1, r#"{"a":[3],"b":2}"#)
    );
    assert_eq!(set("$", "[1]", "{}"), changed(1, "{}"));
    assert_eq!(
        set("$.a.c", r#"{"a":{"b":1}}"#, "2"),
        changed(1, r#"{"a":{"b":1,"c":2}}"#)
    );
    assert_eq!(set("$.n", "{}", "null"), changed(1, r#"{"n":null}"#));
    assert_eq!(
        set("$.a[*].x", r#"{"a":[{"x":1},{},{"x":2}]}"#, "0"),
        changed(2, r#"{"a":[{"x":0},{},{"x":0}]}"#)
    );
    assert_eq!(
        set("$['a','b']", r#"{"a":1,"b":2}"#, "0"),
        changed(2, r#"{"a":0,"b":0}"#)
    );
    assert_eq!(
        set("$.a[?(@.x > 1)]", r#"{"a":[{"x":1},{"x":2}]}"#, "0"),
        changed(1, r#"{"a":[{"x":1},0]}"#)
    );
    assert_eq!(
        set("$..x", r#"{"x":{"x":1},"y":[{"x":2}]}"#, "0"),
        changed(3, r#"{"x":0,"y":[{"x":0}]}"#)
    );
    assert_eq!(set("$..zz", "{}", "0"), changed(0, "{}"));
    let missing =
        |path: &str, body: &str| (Err(format!("No results for path: {path}")), body.to_owned());
    assert_eq!(set("$.a.b.c", "{}", "0"), missing("$.a.b.c", "{}"));
    assert_eq!(
        set("$.a.b", r#"{"a":1}"#, "0"),
        missing("$.a.b", r#"{"a":1}"#)
    );
    assert_eq!(
        set("$.a[3]", r#"{"a":[1]}"#, "0"),
        missing("$.a[3]", r#"{"a":[1]}"#)
    );
    let computed = set("$.a.length()", r#"{"a":[1]}"#, "0").0;
    assert_eq!(
        computed,
        Err("the result of a function cannot be changed".to_owned())
    );

    let delete = |path: &str, body: &str| {
        let mut root = json(body);
        let result = JsonPath::compile(path).unwrap().delete(&mut root);
        (result.map_err(|error| error.to_string()), to_text(&root))
    };
    assert_eq!(
        delete("$.a", r#"{"a":1,"b":2,"a":3}"#),
        changed(1, r#"{"b":2}"#)
    );
    assert_eq!(delete("$[0,2,-1]", "[1,2,3,4]"), changed(3, "[2]"));
    assert_eq!(delete("$[0,0,-4]", "[1,2,3,4]"), changed(1, "[2,3,4]"));
    assert_eq!(
        delete("$..x", r#"{"a":[{"x":{"x":1}},{"x":2,"y":3}]}"#),
        changed(3, r#"{"a":[{},{"y":3}]}"#)
    );
    assert_eq!(
        delete("$..*", r#"{"a":[1,{"b":[2,3]}],"c":4}"#),
        changed(7, "{}")
    );
    assert_eq!(delete("$.b", "{}"), missing("$.b", "{}"));
    assert!(delete("$", "{}").0.is_err());

    let rename = |path: &str, body: &str, name: &str| {
        let mut root = json(body);
        let result = JsonPath::compile(path).unwrap().rename(&mut root, name);
        (result.map_err(|error| error.to_string()), to_text(&root))
    };
    assert_eq!(
        rename("$.a", r#"{"a":1,"b":2}"#, "c"),
        changed(1, r#"{"b":2,"c":1}"#)
    );
    assert_eq!(
        rename("$.a", r#"{"a":1,"b":2}"#, "b"),
        changed(1, r#"{"b":1}"#)
    );
    assert_eq!(
        rename("$.a", r#"{"a":1,"b":2}"#, "a"),
        changed(1, r#"{"a":1,"b":2}"#)
    );
    assert_eq!(
        rename("$[*].a", r#"[{"a":1},{"a":2,"z":3}]"#, "c"),
        changed(2, r#"[{"c":1},{"z":3,"c":2}]"#)
    );
    assert_eq!(
        rename("$..a", r#"{"a":{"a":1}}"#, "c"),
        changed(2, r#"{"c":{"c":1}}"#)
    );
    assert!(rename("$[0]", "[1]", "c").0.is_err());
    assert!(rename("$.x", "{}", "c").0.is_err());

    // Growing by itself must stop before dropping the value becomes dangerous.
    let path = JsonPath::compile("$.a").unwrap();
    let mut root = json("{}");
    let stopped = (0..10_000).find_map(|_| {
        let copy = root.clone();
        path.set(&mut root, &copy).err()
    });
    assert_eq!(stopped, Some(EvalError::TooDeep));

    let mut root = json(r#"{"a":[1]}"#);
    let place = path.locate(&root).unwrap();
    if let Some(Value::Array(items)) = place[0].get_mut(&mut root) {
        items.push(Value::Null);
    }
    assert_eq!(to_text(&root), r#"{"a":[1,null]}"#);
    assert_eq!(place[0].get_mut(&mut json("[]")), None);
}

#[test]
fn sources_and_dynamic_parts() {
    for (text, source, path) in [
        ("$.a", Source::Body, "$.a"),
        ("$ctx:a-b_1.x", Source::Context("a-b_1"), "$.x"),
        ("$trp:h[0]", Source::Transport("h"), "$[0]"),
        ("$axis2:m", Source::Axis2("m"), "$"),
        ("$ctx:", Source::Body, "$ctx:"),
        ("$other:a", Source::Body, "$other:a"),
    ] {
        assert_eq!(split_source(text), (source, path.to_owned()), "{text}");
    }
    use Piece::{Dynamic as D, Literal as L};
    let cases: [(&str, &[Piece<'_>]); 9] = [
        ("", &[]),
        ("$.a", &[L("$.a")]),
        ("$.{$ctx:key}.x", &[L("$."), D("$ctx:key"), L(".x")]),
        (
            "{get-property('p')}{json-eval($.é)}",
            &[D("get-property('p')"), D("json-eval($.é)")],
        ),
        ("$.{a b}", &[L("$.{a b}")]),
        ("$.{}", &[L("$.{}")]),
        ("$.{a", &[L("$.{a")]),
        ("$.{a{b}}", &[L("$."), D("a{b"), L("}")]),
        ("$.{{\"x\":{b}", &[L("$.{{\"x\":"), D("b")]),
    ];
    for (text, pieces) in cases {
        assert_eq!(dynamic_pieces(text), pieces, "{text}");
    }
}

#[test]
fn shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<JsonPath>();
    shared::<Value>();
}

proptest! {
    #[test]
    fn any_text_compiles_or_fails(text in "\\PC{0,40}") {
        if let Ok(path) = JsonPath::compile(&text) {
            path.string_value(&json(JA), JA.as_bytes());
        }
        dynamic_pieces(&text);
        split_source(&text);
    }

    /// Text made of the language's own parts gets through far more often.
    #[test]
    fn likely_paths_never_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "$", "@", ".", "..", "a", "items", "[", "]", "(", ")", "[?(", ")]", "*", "0", "-1", ":", ",", "'", "\"",
        "'a'", " ", "==", "!", "!=", "<", "&&", "||", "=~", "/", "/x/i", " in ", " contains ", " empty true", "{", "}",
        "length()", "sum(", "last()", "append(1)", "é", "\\", "\\u", "null", "sku", "[0]", "[*]", "[?(@.sku)]",
    ]), 0..14)) {
        let text = parts.concat();
        let offset_ok = |error: &PathError| error.offset <= text.len() && text.is_char_boundary(error.offset);
        match JsonPath::compile(&text) {
            Ok(path) => {
                let mut root = json(JA);
                path.string_value(&root, JA.as_bytes());
                path.set(&mut root, &json("[1]")).ok();
                path.rename(&mut root, "x").ok();
                path.delete(&mut root).ok();
            }
            Err(error) => prop_assert!(offset_ok(&error) || text.starts_with(' '), "{:?}", error),
        }
    }
}
