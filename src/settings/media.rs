//! Message builders and formatters (spec 04 §12.2; MI `message_builders`, `message_formatters`,
//! `[[custom_message_builders]]`, `[[custom_message_formatters]]`): which content type is read and
//! written in which form. The classes of MI stand for the forms that are built in.

use super::read::Reader;

/// A form of bodies, which a builder class reads or a formatter class writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// A SOAP envelope, or an element where there is none.
    Soap,
    /// An element.
    Xml,
    /// JSON.
    Json,
    /// JSON in the BadgerFish convention.
    Badgerfish,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// Fields, `a=b&c=d`.
    Form,
    /// Fields and files in parts.
    MultipartForm,
    /// SOAP with attachments.
    Related,
    /// Bytes that were read as such; else the form that the content type has anyway.
    Relay,
}

/// Forms of content types, beside those that are built in. A content type is compared without case,
/// else as a pattern that has to match all of it (spec 01 §16.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaSettings {
    /// What bodies are read as. Default empty. TOML `[[custom_message_builders]]`,
    /// `[message_builders]`.
    pub builders: Vec<(String, BodyForm)>,
    /// What bodies are written as. Default empty. TOML `[[custom_message_formatters]]`,
    /// `[message_formatters]`.
    pub formatters: Vec<(String, BodyForm)>,
    /// The content type of a request that has a body and does not say its type, `None` =
    /// `application/octet-stream`. Default `None`. TOML `transport.default_content_type` (MI: the
    /// parameter `DEFAULT_REQUEST_CONTENT_TYPE`).
    pub default_content_type: Option<String>,
}

/// Names in `[message_builders]` and `[message_formatters]`.
const NAMES: &[(&str, &str)] = &[
    ("application_binary", "application/binary"),
    ("application_json", "application/json"),
    ("application_xml", "application/xml"),
    ("form_urlencoded", "application/x-www-form-urlencoded"),
    ("json_badgerfish", "application/json/badgerfish"),
    ("multipart_form_data", "multipart/form-data"),
    ("octet_stream", "application/octet-stream"),
    ("soap_xml", "application/soap+xml"),
    ("text_javascript", "text/javascript"),
    ("text_plain", "text/plain"),
    ("text_xml", "text/xml"),
];

/// Builder classes of MI and Axis2, without their packages.
const BUILDERS: &[(&str, BodyForm)] = &[
    ("ApplicationXMLBuilder", BodyForm::Xml),
    ("BinaryBuilder", BodyForm::Binary),
    ("BinaryRelayBuilder", BodyForm::Binary),
    ("JSONBadgerfishOMBuilder", BodyForm::Badgerfish),
    ("JSONBuilder", BodyForm::Json),
    ("JSONOMBuilder", BodyForm::Json),
    ("JSONStreamBuilder", BodyForm::Json),
    ("JsonBuilder", BodyForm::Json),
    ("JsonStreamBuilder", BodyForm::Json),
    ("MIMEBuilder", BodyForm::Related),
    ("MTOMBuilder", BodyForm::Related),
    ("MultipartFormDataBuilder", BodyForm::MultipartForm),
    ("PlainTextBuilder", BodyForm::Text),
    ("SOAPBuilder", BodyForm::Soap),
    ("XFormURLEncodedBuilder", BodyForm::Form),
];

/// Formatter classes of MI and Axis2, without their packages. MI's manual names the relay builder as
/// a formatter, too.
const FORMATTERS: &[(&str, BodyForm)] = &[
    ("ApplicationXMLFormatter", BodyForm::Xml),
    ("BinaryFormatter", BodyForm::Binary),
    ("BinaryRelayBuilder", BodyForm::Relay),
    ("ExpandingMessageFormatter", BodyForm::Relay),
    ("JSONBadgerfishMessageFormatter", BodyForm::Badgerfish),
    ("JSONMessageFormatter", BodyForm::Json),
    ("JSONStreamFormatter", BodyForm::Json),
    ("JsonFormatter", BodyForm::Json),
    ("JsonStreamFormatter", BodyForm::Json),
    ("MultipartFormDataFormatter", BodyForm::MultipartForm),
    ("PlainTextFormatter", BodyForm::Text),
    ("SOAPMessageFormatter", BodyForm::Soap),
    ("XFormURLEncodedFormatter", BodyForm::Form),
];

/// Packages of these classes; a class of another package has its name by chance.
const PACKAGES: &[&str] = &[
    "org.apache.axis2.",
    "org.apache.synapse.commons.",
    "org.wso2.carbon.integrator.core.json.",
    "org.wso2.carbon.relay.",
    "org.wso2.micro.integrator.core.json.",
];

/// Most rows of each table.
const MAX_ROWS: usize = 256;

/// Reads the settings; a class that is not built in is an error.
pub(super) fn read(r: &Reader<'_>) -> MediaSettings {
    MediaSettings {
        builders: table(
            r,
            "custom_message_builders",
            "message_builders",
            "builder",
            BUILDERS,
        ),
        formatters: table(
            r,
            "custom_message_formatters",
            "message_formatters",
            "formatter",
            FORMATTERS,
        ),
        default_content_type: default_content_type(r),
    }
}

fn default_content_type(r: &Reader<'_>) -> Option<String> {
    const KEY: &str = "transport.default_content_type";
    let text = r.optional_text(&[KEY])?;
    if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        r.error(KEY, format!("{KEY}: {text:?} is no content type"));
    }
    Some(text)
}

fn table(
    r: &Reader<'_>,
    custom: &str,
    section: &str,
    what: &str,
    classes: &[(&str, BodyForm)],
) -> Vec<(String, BodyForm)> {
    let mut rows = r.tables(custom, |r| {
        let content_type = r.required("content_type", r.optional_text(&["content_type"]));
        let class = r.required("class", r.optional_text(&["class"]));
        let (content_type, class) = (content_type?, class?);
        if pattern(&content_type).is_err() {
            r.error(
                "content_type",
                format!("content_type: {content_type:?} is neither a type nor a pattern"),
            );
            return None;
        }
        Some((content_type, form(r, "class", &class, what, classes)?))
    });
    for (name, content_type) in NAMES {
        let key = format!("{section}.{name}");
        if let Some(class) = r.optional_text(&[&key])
            && let Some(form) = form(r, &key, &class, what, classes)
        {
            rows.push(((*content_type).to_owned(), form));
        }
    }
    if rows.len() > MAX_ROWS {
        r.error(custom, format!("{custom}: more than {MAX_ROWS} entries"));
        rows.truncate(MAX_ROWS);
    }
    rows
}

/// A content type as a pattern.
///
/// # Errors
/// When it is none, or too large.
pub fn pattern(content_type: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{content_type})$"))
        .size_limit(64 * 1024)
        .build()
}

fn form(
    r: &Reader<'_>,
    key: &str,
    class: &str,
    what: &str,
    classes: &[(&str, BodyForm)],
) -> Option<BodyForm> {
    let (package, name) = class.rsplit_once('.').unwrap_or(("", class));
    let known = PACKAGES
        .iter()
        .any(|known| format!("{package}.").starts_with(known));
    let found = classes
        .iter()
        .find(|(known, _)| known == &name && name != class);
    match found {
        Some((_, form)) if known => Some(*form),
        _ => {
            let names: Vec<&str> = classes.iter().map(|(name, _)| *name).collect();
            r.error(
                key,
                format!(
                    "the Java class {class} cannot run here; the {what} classes of MI that are built in are {}",
                    names.join(", ")
                ),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(BUILDERS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(FORMATTERS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
