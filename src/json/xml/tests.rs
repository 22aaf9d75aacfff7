use super::*;
use crate::json::{Limits, Value, to_text};
use crate::xml::Document;
use proptest::prelude::*;
use regex::Regex;

fn xml_with(json: &str, options: &Options) -> Result<String, ConversionError> {
    let mut document = Document::new();
    let parent = document.document_node();
    let root = to_xml(
        json.as_bytes(),
        &mut document,
        parent,
        options,
        &Limits::default(),
    )?;
    assert_eq!(document.root_element(), Some(root));
    Ok(document.to_xml(root))
}

fn xml(json: &str) -> String {
    xml_with(json, &Options::default()).unwrap_or_else(|error| error.to_string())
}

fn json_with(xml: &str, options: &Options) -> String {
    let limits = crate::xml::Limits::default();
    let document = Document::parse(xml.to_owned().into(), &limits).unwrap();
    match from_xml(&document, document.root_element().unwrap(), options) {
        Ok(json) => String::from_utf8(json).unwrap(),
        Err(error) => error.to_string(),
    }
}

fn json(xml: &str) -> String {
    json_with(xml, &Options::default())
}

/// The table of spec 01 §17.2, then what its words imply.
#[test]
fn json_to_xml() {
    let cases = [
        (
            r#"{"a":1,"b":"x","c":true,"d":null,"e":{}}"#,
            "<jsonObject><a>1</a><b>x</b><c>true</c><d/><e/></jsonObject>",
        ),
        ("[1]", "<jsonArray><jsonElement>1</jsonElement></jsonArray>"),
        ("true", "<jsonValue>true</jsonValue>"),
        ("\"s\"", "<jsonValue>s</jsonValue>"),
        ("null", "<jsonValue/>"),
        (r#"{"f":[]}"#, "<jsonObject/>"),
        (
            r#"{"h":[1,2]}"#,
            "<jsonObject><h>1</h><h>2</h></jsonObject>",
        ),
        (r#"{"a":[1]}"#, "<jsonObject><a>1</a></jsonObject>"),
        (r#"{"a":[null,1]}"#, "<jsonObject><a/><a>1</a></jsonObject>"),
        (
            r#"{"a":[[1,2],[3]]}"#,
            "<jsonObject><a><jsonArray><jsonElement>1</jsonElement><jsonElement>2</jsonElement>\
             </jsonArray></a><a><jsonArray><jsonElement>3</jsonElement></jsonArray></a></jsonObject>",
        ),
        (
            r#"[{"a":1}]"#,
            "<jsonArray><jsonElement><a>1</a></jsonElement></jsonArray>",
        ),
        (
            r#"{"@id":"5","a":1}"#,
            r#"<jsonObject id="5"><a>1</a></jsonObject>"#,
        ),
        (
            r#"{"a":{"b":{"@y":2},"$":"t","@x":1},"@id":"5"}"#,
            r#"<jsonObject id="5"><a x="1"><b y="2"/>t</a></jsonObject>"#,
        ),
        (
            r#"{"a":{"@x":1,"$":"t"}}"#,
            r#"<jsonObject><a x="1">t</a></jsonObject>"#,
        ),
        (
            r#"{"12ab":1,"$x":2}"#,
            "<jsonObject><_JsonReader_PD_12ab>1</_JsonReader_PD_12ab>\
             <_JsonReader_PS_x>2</_JsonReader_PS_x></jsonObject>",
        ),
        (
            r#"{"n":[1.50,1E+2,12345678901234567890]}"#,
            "<jsonObject><n>1.50</n><n>1E+2</n><n>12345678901234567890</n></jsonObject>",
        ),
        ("[]", "<jsonArray/>"),
        (
            "[1,[]]",
            "<jsonArray><jsonElement>1</jsonElement><jsonElement><jsonArray/></jsonElement></jsonArray>",
        ),
        (r#"{"a":""}"#, "<jsonObject><a/></jsonObject>"),
        (
            r#"{"@xmlns":"u","a":{"b":1}}"#,
            r#"<jsonObject xmlns="u"><a><b>1</b></a></jsonObject>"#,
        ),
        (
            r#"{"a":{"@xmlns":{"$":"v"}}}"#,
            r#"<jsonObject><a xmlns="v"/></jsonObject>"#,
        ),
        (
            r#"{"@xmlns":"u","a":[[1]]}"#,
            r#"<jsonObject xmlns="u"><a><jsonArray><jsonElement>1</jsonElement></jsonArray></a></jsonObject>"#,
        ),
        (
            r#"{"a":1}{"b":2}"#,
            "unexpected text after the JSON value at 1:8",
        ),
        (
            r#"{"a":1,}"#,
            "unexpected character '}' in JSON text at 1:8",
        ),
        (
            r#"{"@a":{}}"#,
            r#"member "@a" must hold a simple value to become an attribute or text"#,
        ),
        (
            r#"{"$":[]}"#,
            r#"member "$" must hold a simple value to become an attribute or text"#,
        ),
        (r#"{"":1}"#, r#"member "" has no name that XML could use"#),
        (r#"{"@":1}"#, r#"member "@" has no name that XML could use"#),
    ];
    for (input, expected) in cases {
        assert_eq!(xml(input), expected, "{input}");
    }
}

/// The table of spec 01 §17.3, then what its words imply.
#[test]
fn xml_to_json() {
    let cases = [
        (
            "<r><a>1</a><a>2</a><b/></r>",
            r#"{"r":{"a":[1,2],"b":null}}"#,
        ),
        ("<jsonObject><a>1</a></jsonObject>", r#"{"a":1}"#),
        (
            "<jsonArray><jsonElement>1</jsonElement><jsonElement>2</jsonElement></jsonArray>",
            "[1,2]",
        ),
        ("<jsonArray><jsonElement>1</jsonElement></jsonArray>", "1"),
        (
            "<jsonArray><?xml-multiple jsonElement?><jsonElement>1</jsonElement></jsonArray>",
            "[1]",
        ),
        ("<jsonArray><?xml-multiple jsonElement?></jsonArray>", "[]"),
        ("<jsonArray/>", "null"),
        ("<jsonObject/>", "null"),
        ("<r/>", r#"{"r":null}"#),
        ("<r>text</r>", r#"{"r":"text"}"#),
        (
            r#"<r id="5"><a x="1">t</a></r>"#,
            r#"{"r":{"@id":"5","a":{"@x":"1","$":"t"}}}"#,
        ),
        (
            "<r><a>1</a><b>2</b><a>3</a></r>",
            r#"{"r":{"a":1,"b":2,"a":3}}"#,
        ),
        ("<r>text<b/></r>", "Mixed content is not supported: 'text'"),
        ("<r><b/>text</r>", "Mixed content is not supported: 'text'"),
        (
            "<r><a>true</a><b>false</b><c>null</c></r>",
            r#"{"r":{"a":true,"b":false,"c":null}}"#,
        ),
        (
            "<r><a>007</a><a>+1</a><a>.5</a><a>5.</a><a>00</a></r>",
            r#"{"r":{"a":["007","+1",".5","5.","00"]}}"#,
        ),
        (
            "<r><a>1.50</a><a>1e3</a><a>-0</a></r>",
            r#"{"r":{"a":[1.50,1E+3,0]}}"#,
        ),
        ("<r> 1 </r>", r#"{"r":" 1 "}"#),
        (
            "<r>\n  <a>1</a>\n  <a> </a>\n</r>",
            r#"{"r":{"a":[1,null]}}"#,
        ),
        ("<r><![CDATA[a<b]]></r>", r#"{"r":"a<b"}"#),
        ("<r>a<!-- c -->b<?pi x?></r>", r#"{"r":"ab"}"#),
        ("<r>a/b \"q\" é \t</r>", r#"{"r":"a/b \"q\" é \t"}"#),
        (r#"<p:r xmlns:p="u"><p:a>1</p:a></p:r>"#, r#"{"r":{"a":1}}"#),
        (r#"<r xmlns:x="u" x:k="v"/>"#, r#"{"r":{"@k":"v"}}"#),
        (
            "<Fault><faultcode>c</faultcode></Fault>",
            r#"{"Fault":{"faultcode":"c"}}"#,
        ),
        // Round trips named in the text below the table.
        (
            &xml(r#"{"s":"123","t":"true","e":"","o":{},"l":[]}"#),
            r#"{"s":123,"t":true,"e":null,"o":null}"#,
        ),
        (&xml("[[1,2],[3]]"), "[[1,2],3]"),
        (&xml(r#"{"12ab":1,"$x":2}"#), r#"{"12ab":1,"$x":2}"#),
        // A wrapper name is only dropped where it is all there is.
        (
            "<r><jsonElement>2</jsonElement><a>1</a></r>",
            r#"{"r":{"jsonElement":2,"a":1}}"#,
        ),
        (
            r#"<jsonObject id="5"><a>1</a></jsonObject>"#,
            r#"{"@id":"5","a":1}"#,
        ),
        (
            "<r><?xml-multiple?><a>1</a><b>2</b></r>",
            r#"{"r":{"a":[1],"b":2}}"#,
        ),
        (
            "<r><a>1</a><?xml-multiple b?><b>2</b><b>3</b><c/></r>",
            r#"{"r":{"a":1,"b":[2,3],"c":null}}"#,
        ),
        ("<r>1e99999999999</r>", r#"{"r":"1e99999999999"}"#),
        ("<r>0.0000001</r>", r#"{"r":1E-7}"#),
        ("<jsonValue>1</jsonValue>", r#"{"jsonValue":1}"#),
    ];
    for (input, expected) in cases {
        assert_eq!(json(input), expected, "{input}");
    }
}

#[test]
fn settings_of_json_to_xml() {
    let announced = Options {
        processing_instructions: true,
        ..Options::default()
    };
    for options in [
        announced,
        Options {
            xml_multiple_pi: true,
            ..Options::default()
        },
    ] {
        let cases = [
            (
                r#"{"a":[1],"b":[]}"#,
                "<jsonObject><?xml-multiple a?><a>1</a><?xml-multiple b?></jsonObject>",
            ),
            ("[]", "<jsonArray><?xml-multiple jsonElement?></jsonArray>"),
            (
                "[[1]]",
                "<jsonArray><?xml-multiple jsonElement?><jsonElement><jsonArray>\
                 <?xml-multiple jsonElement?><jsonElement>1</jsonElement></jsonArray></jsonElement></jsonArray>",
            ),
        ];
        for (input, expected) in cases {
            let view = xml_with(input, &options).unwrap();
            assert_eq!(view, expected);
            // The instructions are what makes this conversion reversible.
            assert_eq!(json(&view), input);
        }
        assert_eq!(
            xml_with(r#"{"a?>b":[]}"#, &options).unwrap(),
            "<jsonObject/>"
        );
    }
    let encoded = Options {
        build_valid_nc_names: true,
        ..Options::default()
    };
    let cases = [
        ("abc def", "abc_JsonReader_32_def"),
        ("a:b", "a_JsonReader_58_b"),
        ("-x", "_JsonReader_45_x"),
        ("1 2", "_JsonReader_PD_1_JsonReader_32_2"),
        ("$é", "_JsonReader_PS_é"),
        ("ok-1.x", "ok-1.x"),
    ];
    for (key, name) in cases {
        let view = xml_with(&format!("{{\"{key}\":1}}"), &encoded).unwrap();
        assert_eq!(view, format!("<jsonObject><{name}>1</{name}></jsonObject>"));
        assert_eq!(json_with(&view, &encoded), format!("{{\"{key}\":1}}"));
    }
    assert_eq!(
        json_with("<_JsonReader_0_/>", &encoded),
        r#"{"_JsonReader_0_":null}"#
    );
    assert_eq!(
        json_with("<_JsonReader_x_JsonReader_99999999_a/>", &encoded),
        r#"{"_JsonReader_x_JsonReader_99999999_a":null}"#
    );
    let nil = Options {
        xml_nil: true,
        ..Options::default()
    };
    assert_eq!(
        xml_with(r#"{"a":null,"b":""}"#, &nil).unwrap(),
        format!(r#"<jsonObject><a xmlns:xsi="{XSI}" xsi:nil="true"/><b/></jsonObject>"#)
    );
}

#[test]
fn settings_of_xml_to_json() {
    type Change = fn(&mut Options);
    let cases: [(Change, &str, &str); 20] = [
        (
            |options| options.null_for_empty_element = false,
            "<r><a/></r>",
            r#"{"r":{"a":""}}"#,
        ),
        (
            |options| options.preserve_namespace = true,
            r#"<p:r xmlns:p="u" p:k="v" l="w"><p:a>1</p:a></p:r>"#,
            r#"{"p_r":{"@p_k":"v","@l":"w","p_a":1}}"#,
        ),
        (
            |options| {
                options.preserve_namespace = true;
                options.namespace_declarations = true;
                options.namespace_separator = ':';
            },
            r#"<p:r xmlns:p="u" xmlns="d"><a>1</a></p:r>"#,
            r#"{"p:r":{"@xmlns:p":"u","@xmlns":"d","a":1}}"#,
        ),
        (
            |options| options.namespace_declarations = true,
            r#"<p:r xmlns:p="u">1</p:r>"#,
            r#"{"r":1}"#,
        ),
        (
            |options| options.auto_primitive = false,
            "<r><a>1</a><a>true</a><a>null</a><a/></r>",
            r#"{"r":{"a":["1","true","null",null]}}"#,
        ),
        (
            |options| options.keep_as_string = Regex::new(r"\A(?:\d{3})\z").ok(),
            "<r><a>123</a><a>1234</a><a>true</a></r>",
            r#"{"r":{"a":["123",1234,true]}}"#,
        ),
        (
            |options| options.json_auto_array = false,
            "<r><a>1</a><a>2</a></r>",
            r#"{"r":{"a":1,"a":2}}"#,
        ),
        (
            |options| options.json_auto_array = false,
            "<r><?xml-multiple a?><a>1</a><a>2</a><b/><a>3</a></r>",
            r#"{"r":{"a":[1,2],"b":null,"a":3}}"#,
        ),
        (
            |options| options.json_multiple_pi = false,
            "<r><?xml-multiple a?><a>1</a></r>",
            r#"{"r":{"a":1}}"#,
        ),
        (
            |options| options.preserve_spaces = true,
            "<r> <a>  </a> <b> x </b> </r>",
            r#"{"r":{"a":"  ","b":" x "}}"#,
        ),
        (
            |options| options.xml_nil = true,
            r#"<r><object nil="true"></object></r>"#,
            r#"{"r":{"object":null}}"#,
        ),
        (
            |_| {},
            r#"<r><object nil="true"></object></r>"#,
            r#"{"r":{"object":{"@nil":"true"}}}"#,
        ),
        (
            |options| options.xml_nil = true,
            r#"<r xmlns:x="http://www.w3.org/2001/XMLSchema-instance"><a x:nil="true"/><b x:nil="false"/></r>"#,
            r#"{"r":{"a":null,"b":{"@nil":"false"}}}"#,
        ),
        (
            |options| options.xml_nil = true,
            r#"<r nil="true" k="v"/>"#,
            r#"{"r":{"@k":"v","$":null}}"#,
        ),
        (
            |options| options.xml_nil = true,
            r#"<r nil="true"><a>1</a></r>"#,
            r#"{"r":{"a":1}}"#,
        ),
        (
            |options| {
                let properties = |key: &str| match key {
                    "synapse.commons.json.json.output.disableAutoPrimitive.customReplaceRegex" => {
                        Some("@(@+)".to_owned())
                    }
                    "synapse.commons.json.json.output.disableAutoPrimitive.customReplaceSequence" => {
                        Some(r"$1\$".to_owned())
                    }
                    _ => None,
                };
                *options = Options::from_properties(properties).unwrap();
            },
            "<r><a>@@@12</a><a>12</a><a>1@@</a></r>",
            r#"{"r":{"a":["@@$12",12,"1@@"]}}"#,
        ),
        (
            |options| {
                let properties = |key: &str| match key {
                    "synapse.commons.json.output.disableAutoPrimitive.regex" => {
                        Some("1|2".to_owned())
                    }
                    "synapse.commons.json.output.namespaceSepChar" => Some(".".to_owned()),
                    "synapse.commons.json.preserve.namespace" => Some(" TRUE ".to_owned()),
                    _ => None,
                };
                *options = Options::from_properties(properties).unwrap();
            },
            r#"<p:r xmlns:p="u"><a>1</a><a>12</a></p:r>"#,
            r#"{"p.r":{"a":["1",12]}}"#,
        ),
        (|_| {}, "<r>\u{2003}<a/></r>", r#"{"r":{"a":null}}"#),
        (
            |_| {},
            "<r>\u{a0}<a/></r>",
            "Mixed content is not supported: '\u{a0}'",
        ),
        (|_| {}, "<r><a/>\u{2003}</r>", r#"{"r":{"a":null}}"#),
    ];
    for (change, input, expected) in cases {
        let mut options = Options::default();
        change(&mut options);
        assert_eq!(json_with(input, &options), expected, "{input}");
    }
    let broken = Options::from_properties(|key| {
        key.ends_with("isableAutoPrimitive.regex")
            .then(|| "(".to_owned())
    });
    assert_eq!(
        broken.unwrap_err().key,
        "synapse.commons.json.output.disableAutoPrimitive.regex"
    );
}

/// The name of an array is written for each of its items, and attributes may stand between elements.
#[test]
fn small_texts_do_not_become_huge() {
    let items = vec!["1"; 200_000].join(",");
    let name = "a".repeat(1000);
    let large = xml_with(&format!("{{\"{name}\":[{items}]}}"), &Options::default());
    assert_eq!(large, Err(ConversionError::TooLarge));
    let attributes: String = (0..1001).map(|i| format!("\"@a{i}\":1,")).collect();
    let wide = xml_with(&format!("{{{attributes}\"z\":1}}"), &Options::default());
    assert_eq!(wide, Err(ConversionError::TooManyAttributes));
    let between: String = (0..900)
        .map(|i| format!("\"@a{i}\":1,\"c{i}\":{{\"@b\":1}},"))
        .collect();
    let mut document = Document::new();
    let top = document.document_node();
    let text = format!("{{{between}\"z\":1}}");
    to_xml(
        text.as_bytes(),
        &mut document,
        top,
        &Options::default(),
        &Limits::default(),
    )
    .unwrap();
    assert!(document.memory() < 1 << 20, "{}", document.memory());
}

#[test]
fn depth_is_bounded() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(matches!(
        xml_with(&deep(300), &Options::default()),
        Err(ConversionError::Json(_))
    ));
    let view = xml_with(&deep(256), &Options::default()).unwrap();
    assert_eq!(view.matches("<jsonElement>").count(), 255);
    // A document made by edits may be deeper than any parsed one.
    let mut document = Document::new();
    let mut parent = document.document_node();
    for depth in 1..5000 {
        let child = document.create_element("", "", "a");
        document.append_child(parent, child);
        parent = child;
        // The deepest values there are must survive what recurses over them.
        if depth == 1000 {
            let root = document.root_element().unwrap();
            let value = to_value(&document, root, &Options::default()).unwrap();
            assert_eq!(value.clone(), value);
            assert_eq!(value.depth(), 1000);
        }
    }
    let root = document.root_element().unwrap();
    assert_eq!(
        from_xml(&document, root, &Options::default()),
        Err(ConversionError::TooDeep)
    );
    assert_eq!(
        from_xml(&document, document.document_node(), &Options::default()),
        Err(ConversionError::NotAnElement)
    );
}

fn named_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::number),
        "[a-z <&]{1,5}x".prop_map(Value::String),
    ];
    let tree = leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[$0-9]?[A-Za-z]{1,3}", inner, 1..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    tree.prop_filter("the root decides the wrapper", |value| {
        matches!(value, Value::Array(_) | Value::Object(_))
    })
}

proptest! {
    /// With instructions, only what XML cannot say is lost, and there is none of that here.
    #[test]
    fn announced_arrays_survive(value in named_values()) {
        let options = Options { processing_instructions: true, ..Options::default() };
        let mut document = Document::new();
        let parent = document.document_node();
        let root = value_to_xml(&value, &mut document, parent, &options).unwrap();
        prop_assert_eq!(json_with(&document.to_xml(root), &options), to_text(&value));
    }

    #[test]
    fn any_json_converts_or_fails(text in "[\\[\\]{}\",:0-9@$ax?>]{0,30}") {
        for options in [Options::default(), Options { xml_nil: true, build_valid_nc_names: true, xml_multiple_pi: true, ..Options::default() }] {
            let mut document = Document::new();
            let parent = document.document_node();
            if let Ok(root) = to_xml(text.as_bytes(), &mut document, parent, &options, &Limits::default()) {
                from_xml(&document, root, &options).ok();
            }
        }
    }
}
