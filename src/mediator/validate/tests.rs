use crate::mediator::testing::Bench;

const STOCK: &str = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:s' elementFormDefault='qualified'>\
  <xs:element name='quote'><xs:complexType><xs:sequence><xs:element name='symbol' type='xs:string'/><xs:element name='n' type='xs:int' minOccurs='0'/></xs:sequence><xs:attribute name='id' type='xs:int'/></xs:complexType></xs:element>\
</xs:schema>";

fn run(bench: &mut Bench, attributes: &str, children: &str) -> String {
    let mediator = format!(
        "<validate {attributes}>{children}<on-fail><property name='failed' expression='$ctx:ERROR_MESSAGE'/></on-fail></validate>"
    );
    match bench.run(&mediator) {
        Ok(()) => bench.text("failed").unwrap_or_else(|| "valid".to_owned()),
        Err(e) => format!("! {e}"),
    }
}

/// Spec 03 §29 rows 15 to 17.
#[test]
fn json_schemas() {
    let schema = r#"{"type":"object","required":["id","name"],"properties":{"id":{"type":"integer","minimum":2}}}"#;
    let check = |body: &str, source: &str| {
        run(
            &mut Bench::json(body).entry("s", schema),
            source,
            "<schema key='s'/>",
        )
    };
    assert_eq!(check(r#"{"id":5,"name":"x"}"#, ""), "valid");
    assert_eq!(
        check(r#"{"id":"x","name":"x"}"#, ""),
        r#"instance type (string) does not match any allowed primitive type (allowed: ["integer"])"#
    );
    assert_eq!(
        check("{}", ""),
        r#"object has missing required properties (["id","name"])"#
    );
    assert_eq!(
        check(r#"{"id":1,"name":"x"}"#, ""),
        "numeric instance is lower than the required minimum (minimum: 2, found: 1)"
    );
    let msg = "source='json-eval($.msg)'";
    assert_eq!(check(r#"{"msg":{"id":5,"name":"x"}}"#, msg), "valid");
    assert!(check(r#"{"msg":{"id":5}}"#, msg).starts_with("object has missing"));
    assert!(check("{}", msg).starts_with("object has missing"));
    assert!(
        check(r#"{"msg":{"id":5}}"#, "source='${payload.msg}'").starts_with("object has missing")
    );
    assert_eq!(
        check("{}", "source='//a'"),
        "! Could not find JSONPath or Synapse Expression to extract the message to validate from the payload"
    );
    let mut bench = Bench::json("{}").entry("s", schema);
    run(&mut bench, "", "<schema key='s'/>");
    assert!(
        bench
            .text("ERROR_DETAIL")
            .unwrap()
            .starts_with("Error while validating Json message ")
    );
    assert_eq!(bench.text("ERROR_CODE"), None);
    // All keys are looked for, the last one counts.
    let mut bench = Bench::json("{}").entry("s", schema).entry("any", "{}");
    assert_eq!(
        run(&mut bench, "", "<schema key='s'/><schema key='any'/>"),
        "valid"
    );
    assert_eq!(
        run(&mut bench, "", "<schema key='x'/><schema key='any'/>"),
        "! Can not find JSON Schema x"
    );
    assert_eq!(
        run(&mut bench, "", "<schema key='{$ctx:k}'/>"),
        "! Can not find JSON Schema "
    );
    let mut bench = Bench::json("{}").entry("s", "{");
    assert!(
        run(&mut bench, "", "<schema key='s'/>")
            .starts_with("! Error while validating the JSON Schema")
    );
    let mut bench = Bench::json("{}").entry("s", STOCK);
    assert_eq!(
        run(&mut bench, "", "<schema key='s'/>"),
        "! Can not find valid JSON Schema content"
    );
    let remote = r#"{"$ref":"http://example.com/x.json"}"#;
    let mut bench = Bench::json("{}").entry("s", remote);
    assert!(
        run(&mut bench, "", "<schema key='s'/>")
            .starts_with("! Error while validating the JSON Schema")
    );
    let mut bench = Bench::json("{}").entry(
        "s",
        r#"{"$schema":"http://json-schema.org/draft-03/schema#"}"#,
    );
    assert!(run(&mut bench, "", "<schema key='s'/>").contains("draft 3"));
}

#[test]
fn messages_of_json_schemas() {
    let cases = [
        (
            r#"{"enum":["a","b"]}"#,
            "\"c\"",
            r#"instance value ("c") not found in enum (possible values: ["a","b"])"#,
        ),
        (
            r#"{"minLength":3}"#,
            "\"c\"",
            r#"string "c" is too short (length: 1, required minimum: 3)"#,
        ),
        (
            r#"{"maxLength":1}"#,
            "\"cde\"",
            r#"string "cde" is too long (length: 3, maximum allowed: 1)"#,
        ),
        (
            r#"{"maximum":1}"#,
            "2",
            "numeric instance is greater than the required maximum (maximum: 1, found: 2)",
        ),
        (
            r#"{"minimum":1,"exclusiveMinimum":true}"#,
            "1",
            "numeric instance is not strictly greater than the required minimum 1",
        ),
        (
            r#"{"pattern":"^a"}"#,
            "\"b\"",
            r#"ECMA 262 regex "^a" does not match input string "b""#,
        ),
        (
            r#"{"additionalProperties":false}"#,
            r#"{"x":1}"#,
            r#"object instance has properties which are not allowed by the schema: ["x"]"#,
        ),
        (
            r#"{"minItems":1}"#,
            "[]",
            "array is too short: must have at least 1 elements but instance has 0 elements",
        ),
        (
            r#"{"maxItems":1}"#,
            "[1,2]",
            "array is too long: must have at most 1 elements but instance has 2 elements",
        ),
        (
            r#"{"uniqueItems":true}"#,
            "[1,1]",
            "array must not contain duplicate elements",
        ),
        (
            r#"{"type":["null","integer"]}"#,
            "1.5",
            r#"instance type (number) does not match any allowed primitive type (allowed: ["integer","null"])"#,
        ),
    ];
    for (schema, body, expected) in cases {
        let mut bench = Bench::json(body).entry("s", schema);
        assert_eq!(
            run(&mut bench, "", "<schema key='s'/>"),
            expected,
            "{schema} {body}"
        );
    }
}

/// Rows 12 to 14.
#[cfg(feature = "xsd")]
#[test]
fn xml_schemas() {
    let check = |body: &str, attributes: &str| {
        run(
            &mut Bench::xml(body).entry("s", STOCK),
            attributes,
            "<schema key='s'/>",
        )
    };
    assert_eq!(
        check(
            "<quote xmlns='urn:s' id='1'><symbol>IBM</symbol><n> 5 </n></quote>",
            ""
        ),
        "valid"
    );
    for wrong in [
        "<quote xmlns='urn:s'><other/></quote>",
        "<quote xmlns='urn:s'/>",
        "<quote xmlns='urn:s' id='x'><symbol>IBM</symbol></quote>",
        "<quote xmlns='urn:s'><symbol>IBM</symbol><n>x</n></quote>",
        "<quote xmlns='urn:s'><symbol>IBM</symbol>text</quote>",
        "<quote><symbol>IBM</symbol></quote>",
    ] {
        let given = check(wrong, "");
        assert!(
            given.starts_with("cvc-") && given.ends_with('\n'),
            "{wrong}: {given}"
        );
    }
    let inner = "<w><q:quote xmlns:q='urn:s'><q:symbol>IBM</q:symbol></q:quote></w>";
    assert_eq!(check(inner, "xmlns:s='urn:s' source='//s:quote'"), "valid");
    assert_eq!(
        check(inner, "source='//nothing'"),
        "Error occurred while accessing source element: //nothing"
    );
    assert!(
        run(
            &mut Bench::new("", "").entry("s", STOCK),
            "",
            "<schema key='s'/>"
        )
        .starts_with("! ")
    );
    assert_eq!(
        run(&mut Bench::xml("<a/>"), "", "<schema key='s'/>"),
        "! No Schema is available with the key  : s"
    );
    let broken =
        "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'><xs:element nam='a'/></xs:schema>";
    let mut bench = Bench::xml("<a/>").entry("s", broken);
    assert!(
        run(&mut bench, "", "<schema key='s'/>")
            .starts_with("! Error creating a new schema objects for schemas : s: ")
    );
}

#[cfg(feature = "xsd")]
#[test]
fn schemas_in_several_files() {
    let other = STOCK.replace("urn:s", "urn:t");
    let mut bench = Bench::xml("<quote xmlns='urn:t'><symbol>IBM</symbol></quote>")
        .entry("s", STOCK)
        .entry("t", &other);
    assert_eq!(
        run(&mut bench, "", "<schema key='s'/><schema key='t'/>"),
        "valid"
    );
    let main = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns:s='urn:s'><xs:import namespace='urn:s' schemaLocation='../common/stock.xsd'/>\
      <xs:element name='w'><xs:complexType><xs:sequence><xs:element ref='s:quote'/></xs:sequence></xs:complexType></xs:element></xs:schema>";
    let body = "<w><quote xmlns='urn:s'><symbol>IBM</symbol></quote></w>";
    let resource = "<schema key='m'/><resource location='../common/stock.xsd' key='s'/>";
    let mut bench = Bench::xml(body).entry("m", main).entry("s", STOCK);
    assert_eq!(run(&mut bench, "", resource), "valid");
    let without = run(&mut bench, "", "<schema key='m'/>");
    assert!(
        without.contains("could not be read: '../common/stock.xsd' (m:1:"),
        "{without}"
    );
    // Nothing is read from the file system.
    let file = main.replace("../common/stock.xsd", "/etc/passwd");
    let mut bench = Bench::xml(body).entry("m", &file);
    assert!(run(&mut bench, "", "<schema key='m'/>").contains("/etc/passwd"));
}

#[test]
fn bad_elements_are_refused() {
    let cases = [
        (
            "<schema/>",
            "A 'schema' definition must contain a local property 'key'",
        ),
        ("", "No schema specified for the validate mediator"),
        (
            "<schema key='s'/><feature name='a'/>",
            "Both of the name and value attributes are required for a feature",
        ),
        (
            "<schema key='s'/><feature name='a' value='x'/>",
            "The feature must have value true or false",
        ),
        (
            "<schema key='s'/><feature name='a' value='true'/><feature name='a' value='true'/>",
            "Duplicate feature with name a",
        ),
        (
            "<schema key='s'/><resource key='a'/>",
            "The 'location' attribute is required for a resource definition",
        ),
        (
            "<schema key='s'/><resource location='a'/>",
            "The 'key' attribute is required for a resource definition",
        ),
    ];
    for (children, expected) in cases {
        assert_eq!(
            run(&mut Bench::xml("<a/>"), "", children),
            format!("! deployment: {expected}")
        );
    }
    let no_list = "<validate><schema key='s'/></validate>";
    assert_eq!(
        Bench::xml("<a/>").give(no_list),
        "! deployment: A non-empty <on-fail> child element is required for the <validate> mediator"
    );
}
