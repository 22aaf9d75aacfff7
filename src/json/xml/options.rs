//! The settings of both conversions.

use crate::settings::JsonSettings;
use regex::{Regex, RegexBuilder};

/// How JSON and XML are converted into each other (spec 01 §17.4); the default is MI's.
#[derive(Clone, Debug)]
pub struct Options {
    /// `synapse.commons.json.preserve.namespace`: keep prefixes in JSON names.
    pub preserve_namespace: bool,
    /// `synapse.commons.json.output.enableNSDeclarations`: write `@xmlns` members, if prefixes are
    /// kept at all.
    pub namespace_declarations: bool,
    /// `synapse.commons.json.output.namespaceSepChar`: between prefix and name.
    pub namespace_separator: char,
    /// `synapse.commons.json.buildValidNCNames`: encode characters no XML name can have.
    pub build_valid_nc_names: bool,
    /// `synapse.commons.json.output.autoPrimitive`: element text that reads as number, boolean or
    /// null becomes one.
    pub auto_primitive: bool,
    /// `synapse.commons.json.output.disableAutoPrimitive.regex`: a number this matches completely
    /// stays a string.
    pub keep_as_string: Option<Regex>,
    /// `synapse.commons.json.json.output.disableAutoPrimitive.customReplace…`: text to be rewritten
    /// and kept as string. Without effect when `keep_as_string` is set.
    pub replacement: Option<Replacement>,
    /// `synapse.commons.json.output.jsonoutAutoArray`: adjacent siblings of one name become an array.
    pub json_auto_array: bool,
    /// `synapse.commons.json.output.jsonoutMultiplePI`: `<?xml-multiple?>` starts an array.
    pub json_multiple_pi: bool,
    /// `synapse.commons.json.output.xmloutMultiplePI`: announce arrays by instructions.
    pub xml_multiple_pi: bool,
    /// `synapse.commons.enableXmlNilReadWrite`: `xsi:nil="true"` stands for null.
    pub xml_nil: bool,
    /// `synapse.commons.enableXmlNullForEmptyElement`: an empty element is null, else `""`.
    pub null_for_empty_element: bool,
    /// `synapse.json.to.xml.processing.instruction.enabled`: as `xml_multiple_pi`.
    pub processing_instructions: bool,
    /// The message property `PRESERVE_SPACES`: blank text of leaf elements is kept.
    pub preserve_spaces: bool,
}

/// Text to look for at the start of a value, and what to put in its place (spec 01 §17.4).
#[derive(Clone, Debug)]
pub struct Replacement {
    start: Regex,
    with: String,
}

/// A setting of [`Options::from_properties`] that cannot be used (spec 01 §17.4).
#[derive(Clone, Debug, thiserror::Error)]
#[error("property {key} is not a usable regular expression: {source}")]
pub struct OptionsError {
    /// Name of the property.
    pub key: &'static str,
    /// What the regular expression engine says.
    pub source: regex::Error,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            preserve_namespace: false,
            namespace_declarations: false,
            namespace_separator: '_',
            build_valid_nc_names: false,
            auto_primitive: true,
            keep_as_string: None,
            replacement: None,
            json_auto_array: true,
            json_multiple_pi: true,
            xml_multiple_pi: false,
            xml_nil: false,
            null_for_empty_element: true,
            processing_instructions: false,
            preserve_spaces: false,
        }
    }
}

const KEEP: &str = "synapse.commons.json.output.disableAutoPrimitive.regex";
const REPLACE: &str = "synapse.commons.json.json.output.disableAutoPrimitive.customReplaceRegex";
const WITH: &str = "synapse.commons.json.json.output.disableAutoPrimitive.customReplaceSequence";

impl Options {
    /// Reads the settings under their `synapse.properties` names (spec 01 §17.4).
    pub fn from_properties(get: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        Self::default().overridden(get)
    }

    /// These options with the settings that are there under their `synapse.properties` names in
    /// place of their own (spec 03 §18).
    ///
    /// # Errors
    /// When a regular expression cannot be used.
    pub fn overridden(self, get: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let mut options = self;
        let flag = |field: &mut bool, key: &str| {
            if let Some(text) = get(key) {
                // Java's Boolean.parseBoolean: everything but "true" is false.
                *field = text.trim().eq_ignore_ascii_case("true");
            }
        };
        flag(
            &mut options.preserve_namespace,
            "synapse.commons.json.preserve.namespace",
        );
        flag(
            &mut options.namespace_declarations,
            "synapse.commons.json.output.enableNSDeclarations",
        );
        flag(
            &mut options.build_valid_nc_names,
            "synapse.commons.json.buildValidNCNames",
        );
        flag(
            &mut options.auto_primitive,
            "synapse.commons.json.output.autoPrimitive",
        );
        flag(
            &mut options.json_auto_array,
            "synapse.commons.json.output.jsonoutAutoArray",
        );
        flag(
            &mut options.json_multiple_pi,
            "synapse.commons.json.output.jsonoutMultiplePI",
        );
        flag(
            &mut options.xml_multiple_pi,
            "synapse.commons.json.output.xmloutMultiplePI",
        );
        flag(
            &mut options.xml_nil,
            "synapse.commons.enableXmlNilReadWrite",
        );
        flag(
            &mut options.null_for_empty_element,
            "synapse.commons.enableXmlNullForEmptyElement",
        );
        flag(
            &mut options.processing_instructions,
            "synapse.json.to.xml.processing.instruction.enabled",
        );
        let separator = get("synapse.commons.json.output.namespaceSepChar");
        if let Some(separator) = separator.and_then(|text| text.trim().chars().next()) {
            options.namespace_separator = separator;
        }
        let compiled = |key, pattern: String| {
            RegexBuilder::new(&pattern)
                .size_limit(1 << 20)
                .build()
                .map_err(|source| OptionsError { key, source })
        };
        if let Some(pattern) = get(KEEP) {
            options.keep_as_string = Some(compiled(KEEP, format!(r"\A(?:{pattern})\z"))?);
        }
        if let Some(pattern) = get(REPLACE) {
            options.replacement = Some(Replacement {
                start: compiled(REPLACE, format!(r"\A(?:{pattern})"))?,
                with: get(WITH).unwrap_or_default(),
            });
        }
        Ok(options)
    }

    /// The options of the settings.
    ///
    /// # Errors
    /// When a regular expression cannot be used; loading the settings finds that before.
    pub fn of(settings: &JsonSettings) -> Result<Self, OptionsError> {
        let flag = |on: bool| Some(on.to_string());
        Self::from_properties(|name| match name {
            "synapse.commons.json.preserve.namespace" => flag(settings.preserve_namespace),
            "synapse.commons.json.output.enableNSDeclarations" => {
                flag(settings.namespace_declarations)
            }
            "synapse.commons.json.buildValidNCNames" => flag(settings.valid_nc_names),
            "synapse.commons.json.output.autoPrimitive" => flag(settings.auto_primitive),
            "synapse.commons.json.output.jsonoutAutoArray" => flag(settings.auto_array),
            "synapse.commons.json.output.jsonoutMultiplePI" => flag(settings.multiple_pi),
            "synapse.commons.json.output.xmloutMultiplePI" => flag(settings.xml_out_multiple_pi),
            "synapse.commons.enableXmlNilReadWrite" => flag(settings.xml_nil),
            "synapse.commons.enableXmlNullForEmptyElement" => flag(settings.null_for_empty_element),
            "synapse.json.to.xml.processing.instruction.enabled" => {
                flag(settings.processing_instructions)
            }
            "synapse.commons.json.output.namespaceSepChar" => {
                Some(settings.namespace_separator.clone())
            }
            KEEP => settings.no_primitive_regex.clone(),
            REPLACE => settings.no_primitive_replace_regex.clone(),
            WITH => Some(settings.no_primitive_replacement.clone()),
            _ => None,
        })
    }

    pub(super) fn announces_arrays(&self) -> bool {
        self.processing_instructions || self.xml_multiple_pi
    }
}

impl Replacement {
    /// The rewritten text, if `text` starts with the pattern.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        let found = self.start.captures(text)?;
        let end = found.get(0).map_or(0, |whole| whole.end());
        let mut out = String::new();
        // Java's replacement syntax: `$1` is a group, a backslash makes the next character literal.
        let mut rest = self.with.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '\\' => out.extend(rest.next()),
                '$' => {
                    let group = rest
                        .next_if(char::is_ascii_digit)
                        .and_then(|digit| digit.to_digit(10));
                    match group.and_then(|group| usize::try_from(group).ok()) {
                        Some(group) => {
                            out.push_str(found.get(group).map_or("", |part| part.as_str()))
                        }
                        None => out.push('$'),
                    }
                }
                other => out.push(other),
            }
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Some(out)
    }
}
