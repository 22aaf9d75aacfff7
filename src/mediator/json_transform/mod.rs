//! `<jsontransform>`: makes JSON of the body with other conversion settings, and gives it the types of
//! a schema (spec 03 §18).

mod schema;

use super::{Context, Definition, Flow, Linker, Mediate, Need, Run, Spec};
use crate::diag::{Diagnostic, Place, codes};
use crate::expr::{Dynamic, entries};
use crate::json::{self, Options};
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Body, Built, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use schema::Schema;
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "jsontransform",
    summary: "Makes JSON of the body and gives it the types of a schema.",
    doc: DOC,
    parse,
};

const PROPERTY: Tag = Tag::child(
    "property",
    "A rule of the conversion from XML, instead of the one of the server, such as `synapse.commons.json.output.autoPrimitive`.",
)
.with(&[
    Attr::text("name", "Its name.").required(),
    Attr::text("value", "Its value.").required(),
]);

const ROOT: Tag = Tag::mediator(
    "jsontransform",
    "Makes JSON of an XML body by rules of its own, and gives values the types that a JSON schema says. A schema or at least one property is needed.",
)
.with(&[Attr::dynamic(
    "schema",
    "Local entry or registry resource with the schema. Texts become numbers, booleans or null, and single values arrays, where it says so; what does not fit is a fault.",
)])
.of(&[&PROPERTY]);

const DOC: Doc = Doc {
    group: Area::Transform,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "Members that the schema does not name stay as they are.",
        "With a schema and no property, an XML body is made JSON by the rules of the server.",
    ],
};

/// The settings that a property may change (spec 03 §18).
const KNOWN: &[&str] = &[
    "synapse.commons.enableXmlNilReadWrite",
    "synapse.commons.enableXmlNullForEmptyElement",
    "synapse.commons.json.buildValidNCNames",
    "synapse.commons.json.output.autoPrimitive",
    "synapse.commons.json.output.disableAutoPrimitive.regex",
    "synapse.commons.json.output.enableNSDeclarations",
    "synapse.commons.json.output.jsonoutAutoArray",
    "synapse.commons.json.output.jsonoutMultiplePI",
    "synapse.commons.json.output.namespaceSepChar",
    "synapse.commons.json.output.xmloutMultiplePI",
    "synapse.commons.json.preserve.namespace",
];

#[derive(Debug)]
struct JsonTransform {
    schema: Option<(Dynamic, Place)>,
    properties: Vec<(String, String, Place)>,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut properties = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("property") => {
                PROPERTY.check(reader, child);
                let (name, value) = (
                    reader.required(child, "name"),
                    reader.required(child, "value"),
                );
                let place = reader.attribute_place(child, "name");
                if let (Some(name), Some(value)) = (name, value) {
                    if !KNOWN.contains(&name) {
                        let hint = crate::diag::nearest(name, KNOWN.iter().copied())
                            .map(|n| format!("did you mean \"{n}\"?"));
                        reader.report(
                            Diagnostic::warning(
                                codes::INVALID_VALUE,
                                place.clone(),
                                format!("the property \"{name}\" has no effect here"),
                            )
                            .maybe_help(hint),
                        );
                    }
                    properties.push((name.to_owned(), value.to_owned(), place));
                }
            }
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let schema = match element.has_attribute("schema") {
        true => {
            let place = reader.attribute_place(element, "schema");
            Some((reader.dynamic(element, "schema")?, place))
        }
        false => None,
    };
    if schema.is_none() && properties.is_empty() && reader.errors() == before {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "jsontransform mediator should contain either a schema or custom properties",
        );
    }
    (reader.errors() == before).then(|| {
        Arc::new(JsonTransformDef(Arc::new(JsonTransform {
            schema,
            properties,
        }))) as Arc<dyn Definition>
    })
}

#[derive(Debug)]
struct JsonTransformDef(Arc<JsonTransform>);

impl Definition for JsonTransformDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let transform = &self.0;
        let options = match transform.properties.as_slice() {
            [] => None,
            properties => {
                let server = Options::of(&linker.settings.json).unwrap_or_default();
                let given = |name: &str| {
                    let found = properties.iter().rfind(|(known, ..)| known == name);
                    found.map(|(_, value, _)| value.clone())
                };
                Some(match server.clone().overridden(given) {
                    Ok(options) => options,
                    Err(e) => {
                        let place = properties.iter().find(|(name, ..)| name == e.key);
                        if let Some((.., place)) = place {
                            linker.diagnostics.push(Diagnostic::error(
                                codes::INVALID_VALUE,
                                place.clone(),
                                e.to_string(),
                            ));
                        }
                        server
                    }
                })
            }
        };
        let schema = match &transform.schema {
            None => Linked::None,
            Some((Dynamic::Static(key), place)) => {
                let known = linker.entry(key, place).is_some();
                let compiled = compile(entries::find(&linker.entries, key), key);
                if let (true, Err(why)) = (known, &compiled) {
                    linker.diagnostics.push(Diagnostic::error(
                        codes::INVALID_VALUE,
                        place.clone(),
                        why.clone(),
                    ));
                }
                Linked::Static(compiled)
            }
            Some((Dynamic::Expr(_), _)) => Linked::Dynamic(transform.clone()),
        };
        Run::Now(Box::new(Transform { options, schema }))
    }
}

fn compile(entry: Option<&Value>, key: &str) -> Result<Schema, String> {
    match entry {
        None => Err(format!(
            "Schema does not exist in the specified location : {key}"
        )),
        Some(Value::String(text)) => Schema::compile(text),
        Some(_) => Err("Can not find valid JSON Schema content".to_owned()),
    }
}

#[derive(Debug)]
enum Linked {
    None,
    Static(Result<Schema, String>),
    Dynamic(Arc<JsonTransform>),
}

#[derive(Debug)]
struct Transform {
    options: Option<Options>,
    schema: Linked,
}

impl Mediate for Transform {
    fn need(&self) -> Need {
        Need::Tree
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        if let Some(options) = &self.options {
            let converted = match &message.body {
                Body::Built(built) => {
                    let envelope = built.envelope()?;
                    envelope
                        .payload()
                        .map(|p| json::xml::to_value(&envelope.document, p, options))
                        .transpose()
                        .map_err(|e| Fault::mediation(e.to_string()))?
                }
                _ => None,
            };
            if let Some(value) = converted {
                replace(cx, message, value)?;
            }
        }
        let compiled;
        let schema = match &self.schema {
            Linked::None => return Ok(Flow::Continue),
            Linked::Static(schema) => schema,
            Linked::Dynamic(transform) => {
                let Some((key, _)) = &transform.schema else {
                    return Ok(Flow::Continue);
                };
                let key = key.value(&cx.scope(message))?;
                compiled = compile(entries::find(&cx.library.entries, &key), &key);
                &compiled
            }
        };
        let schema = schema.as_ref().map_err(|e| Fault::mediation(e.clone()))?;
        let value = source(message)?;
        let value = schema.apply(value).map_err(Fault::mediation)?;
        replace(cx, message, value)?;
        Ok(Flow::Continue)
    }
}

/// The body as JSON: itself, or what the XML converts to by the rules of the server.
fn source(message: &mut Message) -> Result<json::Value, Fault> {
    let value = match &mut message.body {
        Body::Built(built) => built.take_json_tree().map_err(Fault::malformed)?,
        _ => None,
    };
    value.ok_or_else(|| Fault::mediation("Expected a JSON as input but found : an empty body"))
}

fn replace(cx: &Context<'_>, message: &mut Message, value: json::Value) -> Result<(), Fault> {
    if value.depth() > json::MAX_DEPTH {
        return Err(Fault::mediation("the JSON body would be nested too deeply"));
    }
    let mut built = Built::from_json_value(value);
    built.adopt(&cx.services.limits);
    message.body = Body::Built(Box::new(built));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::mediator::testing::Bench;

    fn with_schema(body: &str, schema: &str) -> String {
        let mut bench = match body.starts_with('<') {
            true => Bench::xml(body),
            false => Bench::json(body),
        }
        .entry("k", schema);
        match bench.run("<jsontransform schema='k'/>") {
            Ok(()) => {
                bench.message.set_message_type("application/json");
                bench.body()
            }
            Err(e) => format!("! {e}"),
        }
    }

    /// Spec 03 §18, §29 rows 96, 97.
    #[test]
    fn values_get_the_types_of_the_schema() {
        let schema = r#"{"type":"object","properties":{"p":{"type":"number"},"a":{"type":"array","items":{"type":"boolean"}}}}"#;
        assert_eq!(
            with_schema(r#"{"p":"7.5","a":"true","z":"1"}"#, schema),
            r#"{"p":7.5,"a":[true],"z":"1"}"#
        );
        let schema = r#"{"type":"object","properties":{"fruit":{"type":"string"},"price":{"type":"number"}}}"#;
        assert_eq!(
            with_schema(r#"{"fruit":"12345","price":"7.5","q":"10"}"#, schema),
            r#"{"fruit":"12345","price":7.5,"q":"10"}"#
        );
        let schema = r#"{"type":"object","properties":{"t":{"type":"array","items":[{"type":"boolean"},{"type":"boolean"}]},"n":{"type":"array","items":{"type":"number"}}}}"#;
        assert_eq!(
            with_schema(r#"{"t":["true","false","true"],"n":1.618}"#, schema),
            r#"{"t":[true,false,"true"],"n":[1.618]}"#
        );
        assert_eq!(with_schema(r#"{"a":"1"}"#, "{}"), r#"{"a":"1"}"#);
        assert_eq!(with_schema(r#"{"a":"1"}"#, "true"), r#"{"a":"1"}"#);
        let schema = r#"{"type":"object","properties":{"i":{"type":"integer"},"n":{"type":"null"},"s":{"type":["integer","string"]}}}"#;
        assert_eq!(
            with_schema(r#"{"i":"7","n":"null","s":"x"}"#, schema),
            r#"{"i":7,"n":null,"s":"x"}"#
        );
    }

    #[test]
    fn what_does_not_fit_is_a_fault() {
        let cases = [
            (r#"{"type":"number","minimum":5}"#, "3"),
            (
                r#"{"type":"number","maximum":5,"exclusiveMaximum":true}"#,
                "5",
            ),
            (r#"{"type":"number","exclusiveMinimum":5}"#, "5"),
            (r#"{"type":"integer","multipleOf":2}"#, "3"),
            (r#"{"type":"integer"}"#, "3.5"),
            (r#"{"type":"integer"}"#, "\"x\""),
            (r#"{"type":"string","minLength":2}"#, "\"a\""),
            (r#"{"type":"string","maxLength":1}"#, "\"ab\""),
            (r#"{"type":"string","pattern":"[a-z]"}"#, "\"ab\""),
            (r#"{"type":"string","enum":["a","b"]}"#, "\"c\""),
            (r#"{"type":"string","const":"a"}"#, "\"c\""),
            (r#"{"type":"object","required":["a"]}"#, "{}"),
            (r#"{"type":"object","minProperties":1}"#, "{}"),
            (r#"{"type":"object","maxProperties":0}"#, r#"{"a":1}"#),
            (
                r#"{"type":"object","additionalProperties":false,"properties":{}}"#,
                r#"{"a":1}"#,
            ),
            (
                r#"{"type":"object","patternProperties":{"^n":{"type":"number"}}}"#,
                r#"{"n1":"x"}"#,
            ),
            (r#"{"type":"array","minItems":1}"#, "[]"),
            (r#"{"type":"array","maxItems":1}"#, "[1,2]"),
            (r#"{"type":"array","uniqueItems":true}"#, "[1,1]"),
            (
                r#"{"type":"array","items":[{"type":"number"}],"additionalItems":false}"#,
                "[1,1]",
            ),
            (r#"{"type":"boolean"}"#, "\"x\""),
            (r#"{"type":"object"}"#, "[1]"),
        ];
        for (schema, value) in cases {
            let given = with_schema(value, schema);
            assert!(given.starts_with("! "), "{schema} {value}: {given}");
        }
    }

    /// Row 102.
    #[test]
    fn bad_schemas() {
        let mut bench = Bench::json("{}");
        assert_eq!(
            bench.give("<jsontransform schema='k'/>"),
            "! Schema does not exist in the specified location : k"
        );
        let cases = [
            ("", "Input json and schema should not be null"),
            ("{\"type\"", "Invalid JSON schema"),
            ("[1]", "JSON schema should be an object or boolean"),
            (
                "false",
                "JSON schema is false, so all validations will fail",
            ),
            (
                "{\"properties\":{}}",
                "JSON schema should contain a type declaration",
            ),
            ("<a/>", "Can not find valid JSON Schema content"),
        ];
        for (schema, expected) in cases {
            assert_eq!(
                with_schema("{}", schema),
                format!("! {expected}"),
                "{schema}"
            );
        }
        let object = r#"{"type":"object"}"#;
        assert_eq!(
            with_schema("[1]", object),
            "! Expected a JSON as input but found : [1]"
        );
        assert!(with_schema("", object).starts_with("! Expected a JSON as input"));
        assert_eq!(
            bench.give("<jsontransform/>"),
            "! deployment: jsontransform mediator should contain either a schema or custom properties"
        );
    }

    /// XML is made JSON by the rules of the server, then gets its types.
    #[test]
    fn xml_gets_the_types_of_the_schema() {
        let schema = r#"{"type":"object","properties":{"r":{"type":"object","properties":{"id":{"type":"string"},"list":{"type":"array","items":{"type":"number"}}}}}}"#;
        assert_eq!(
            with_schema("<r><id>1</id><list>2.5</list><z>x</z></r>", schema),
            r#"{"r":{"id":"1","list":[2.5],"z":"x"}}"#
        );
        assert_eq!(with_schema("<a>1</a>", "{}"), r#"{"a":1}"#);
    }

    /// Rows 98 to 101.
    #[test]
    fn conversion_settings() {
        let convert = |body: &str, properties: &[(&str, &str)]| {
            let properties: String = properties
                .iter()
                .map(|(n, v)| format!("<property name='synapse.commons.{n}' value='{v}'/>"))
                .collect();
            let mut bench = Bench::xml(body);
            bench
                .run(&format!("<jsontransform>{properties}</jsontransform>"))
                .unwrap();
            bench.message.set_message_type("application/json");
            bench.body()
        };
        assert_eq!(
            convert(
                "<jsonObject><fruit>12345</fruit><price>7.5</price></jsonObject>",
                &[("json.output.autoPrimitive", "false")]
            ),
            r#"{"fruit":"12345","price":"7.5"}"#
        );
        assert_eq!(
            convert(
                "<ns:stock xmlns:ns='http://services.samples'><ns:name>WSO2</ns:name></ns:stock>",
                &[
                    ("json.preserve.namespace", "true"),
                    ("json.output.enableNSDeclarations", "true"),
                    ("json.output.namespaceSepChar", "^"),
                ]
            ),
            r#"{"ns^stock":{"@xmlns^ns":"http://services.samples","ns^name":"WSO2"}}"#
        );
        assert_eq!(
            convert(
                "<stock_JsonReader_32_quote><name>WSO2</name></stock_JsonReader_32_quote>",
                &[("json.buildValidNCNames", "true")]
            ),
            r#"{"stock quote":{"name":"WSO2"}}"#
        );
        assert_eq!(
            convert(
                "<r><id>1</id><code>001</code><d xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:nil='true'/></r>",
                &[("enableXmlNilReadWrite", "true")]
            ),
            r#"{"r":{"id":1,"code":"001","d":null}}"#
        );
    }
}
