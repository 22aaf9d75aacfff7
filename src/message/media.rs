//! Media types and what they mean for a body (spec 01 §16).

use crate::settings::{BodyForm, MediaSettings, media_pattern};
use regex::Regex;

/// The media type of a `Content-Type` value: without parameters and blanks.
pub fn media_type(content_type: &str) -> &str {
    let end = content_type
        .bytes()
        .position(|b| b == b';' || b == b',')
        .unwrap_or(content_type.len());
    content_type.get(..end).unwrap_or_default().trim_ascii()
}

/// A parameter of a `Content-Type` value, without quotes.
pub fn parameter<'a>(content_type: &'a str, name: &str) -> Option<&'a str> {
    parameters(content_type).find_map(|part| {
        let at = part.bytes().position(|b| b == b'=')?;
        let (key, value) = (part.get(..at)?, part.get(at + 1..)?);
        key.trim_ascii()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii().trim_matches('"'))
    })
}

/// The character set of a `Content-Type` header that has no other parameters, as nearly every message has it: what
/// [`parameter`] gives, without a look at each character. `None` says nothing.
pub(super) fn plain_charset(value: &http::HeaderValue) -> Option<&str> {
    const KEY: &[u8] = b"charset=";
    let bytes = value.as_bytes();
    if !bytes.is_ascii() {
        return None;
    }
    let at = bytes.iter().position(|b| *b == b';')?;
    let parameter = bytes.get(at + 1..)?;
    let parameter = parameter.strip_prefix(b" ").unwrap_or(parameter);
    let (key, name) = parameter.split_at_checked(KEY.len())?;
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (key.eq_ignore_ascii_case(KEY) && !name.is_empty() && name.iter().all(is_plain))
        .then(|| std::str::from_utf8(name).ok())?
}

/// The parameters of a `Content-Type` value as they are written. A `;` in quotes is text.
pub(super) fn parameters(content_type: &str) -> impl Iterator<Item = &str> {
    // Asked for several times per message, so without the general searches for characters.
    let at = content_type.bytes().position(|b| b == b';');
    let mut rest = at.and_then(|at| content_type.get(at + 1..));
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|b| {
            let ends = b == b';' && !quoted;
            quoted ^= b == b'"' && !escaped;
            escaped = b == b'\\' && quoted && !escaped;
            ends
        });
        // A quote that nobody closes is a character like others.
        let end = match end {
            None if quoted => text.bytes().position(|b| b == b';'),
            end => end,
        };
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}

/// A text as value of a parameter, in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// How a body of a media type is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `text/xml`.
    TextXml,
    /// `application/soap+xml`.
    SoapXml,
    /// `application/xml` and every other `+xml`.
    Xml,
    /// `application/json`, `text/javascript` and every `+json`.
    Json,
    /// `application/json/badgerfish`.
    Badgerfish,
    /// `text/plain`.
    Text,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    MultipartForm,
    /// `multipart/related`: SOAP with attachments.
    Related,
    /// Bytes.
    Binary,
    /// Any other type: XML when it parses as such (spec 01 §16.2, last row).
    Other,
}

impl Media {
    /// Classifies a media type or a whole `Content-Type` value.
    pub fn of(content_type: &str) -> Media {
        let media = media_type(content_type);
        // What nearly every message has, as it is nearly always written.
        match media {
            "text/xml" => return Media::TextXml,
            "application/json" => return Media::Json,
            "application/xml" => return Media::Xml,
            "application/soap+xml" => return Media::SoapXml,
            _ => {}
        }
        let ends = |suffix: &str| {
            media.len() > suffix.len()
                && media
                    .get(media.len() - suffix.len()..)
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if let Some((_, kind)) = REGISTERED
            .iter()
            .find(|(name, _)| media.eq_ignore_ascii_case(name))
        {
            *kind
        } else if ends("+xml") {
            Media::Xml
        } else if ends("+json") {
            Media::Json
        } else if OFFICE.iter().any(|prefix| starts_with(media, prefix)) {
            Media::Binary
        } else {
            Media::Other
        }
    }

    /// Classifies a `Content-Type` header.
    pub fn of_header(value: &http::HeaderValue) -> Media {
        // As nearly every message has it: known without a look at each character.
        let bytes = value.as_bytes();
        for (name, media) in REGISTERED.iter().take(COMMON) {
            if let Some(rest) = bytes.strip_prefix(name.as_bytes())
                && matches!(rest, [] | [b';', ..])
                && rest.is_ascii()
            {
                return *media;
            }
        }
        Media::of(super::header_text(value))
    }

    /// Whether a formatter is registered for exactly this type, so that `Accept` can choose it
    /// (spec 01 §2.4).
    pub fn is_registered(media: &str) -> bool {
        REGISTERED
            .iter()
            .any(|(name, kind)| *kind != Media::Related && media.eq_ignore_ascii_case(name))
    }

    /// The SOAP version of a `multipart/related` value, by what it says about its root part.
    pub fn related_is_soap12(content_type: &str) -> bool {
        let is = |name: &str| {
            parameter(content_type, name).is_some_and(|t| Media::of(t) == Media::SoapXml)
        };
        is("type") || is("start-info")
    }
}

/// The forms that the settings give to content types (spec 01 §16.1).
#[derive(Debug)]
pub struct MediaTypes {
    builders: Vec<Row>,
    formatters: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: Box<str>,
    pattern: Option<Regex>,
    form: BodyForm,
}

impl MediaTypes {
    /// The types of the settings; `None` when they name none.
    pub fn of(settings: &MediaSettings) -> Option<MediaTypes> {
        let rows = |rows: &[(String, BodyForm)]| {
            rows.iter()
                .map(|(name, form)| Row {
                    name: name.as_str().into(),
                    // Loading the settings has checked it.
                    pattern: media_pattern(name).ok(),
                    form: *form,
                })
                .collect()
        };
        let types = MediaTypes {
            builders: rows(&settings.builders),
            formatters: rows(&settings.formatters),
        };
        (!types.builders.is_empty() || !types.formatters.is_empty()).then_some(types)
    }

    /// How a body of a content type is read.
    pub fn builder(&self, content_type: &str) -> Media {
        let media = media_type(content_type);
        match find(&self.builders, media) {
            Some(form) => form.into(),
            None => Media::of(media),
        }
    }

    /// How a body is written; one that was read as bytes may have a formatter that gives them back.
    pub fn formatter(&self, content_type: &str, is_binary: bool) -> Media {
        let media = media_type(content_type);
        match find(&self.formatters, media) {
            Some(BodyForm::Relay) if is_binary => Media::Binary,
            Some(BodyForm::Relay) | None => Media::of(media),
            Some(form) => form.into(),
        }
    }

    /// Whether a formatter has exactly this name.
    pub fn has_formatter(&self, media: &str) -> bool {
        self.formatters
            .iter()
            .any(|row| row.name.eq_ignore_ascii_case(media))
    }
}

/// The form of a type: by its name, else by the first pattern that matches what is not built in.
fn find(rows: &[Row], media: &str) -> Option<BodyForm> {
    let by_name = rows.iter().find(|row| row.name.eq_ignore_ascii_case(media));
    let row = by_name.or_else(|| {
        let matches = |row: &&Row| row.pattern.as_ref().is_some_and(|p| p.is_match(media));
        (Media::of(media) == Media::Other)
            .then(|| rows.iter().find(matches))
            .flatten()
    });
    row.map(|row| row.form)
}

impl From<BodyForm> for Media {
    fn from(form: BodyForm) -> Media {
        match form {
            BodyForm::Soap => Media::TextXml,
            BodyForm::Xml => Media::Xml,
            BodyForm::Json => Media::Json,
            BodyForm::Badgerfish => Media::Badgerfish,
            BodyForm::Text => Media::Text,
            BodyForm::Binary | BodyForm::Relay => Media::Binary,
            BodyForm::Form => Media::Form,
            BodyForm::MultipartForm => Media::MultipartForm,
            BodyForm::Related => Media::Related,
        }
    }
}

/// How many of the first rows of [`REGISTERED`] are common.
const COMMON: usize = 4;

/// Types with a builder and a formatter of their own (spec 01 §16.2).
const REGISTERED: &[(&str, Media)] = &[
    ("text/xml", Media::TextXml),
    ("application/json", Media::Json),
    ("application/xml", Media::Xml),
    ("application/soap+xml", Media::SoapXml),
    ("application/x-www-form-urlencoded", Media::Form),
    ("multipart/form-data", Media::MultipartForm),
    ("multipart/related", Media::Related),
    ("text/plain", Media::Text),
    ("text/javascript", Media::Json),
    ("application/json/badgerfish", Media::Badgerfish),
    ("application/octet-stream", Media::Binary),
    ("application/binary", Media::Binary),
    ("application/pdf", Media::Binary),
    ("application/msword", Media::Binary),
    ("application/zip", Media::Binary),
];

/// Starts of the types of office documents.
const OFFICE: &[&str] = &[
    "application/vnd.openxmlformats",
    "application/vnd.ms-",
    "application/vnd.oasis.opendocument",
];

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_end_where_their_quotes_do() {
        let soap = r#"application/soap+xml; action="urn:a;charset=utf-16"; charset=ISO-8859-1"#;
        for (text, name, value) in [
            (soap, "action", Some("urn:a;charset=utf-16")),
            (soap, "charset", Some("ISO-8859-1")),
            ("a/b;X=1; x=2", "x", Some("1")),
            ("a/b; boundary=\"a=b\"", "boundary", Some("a=b")),
            ("a/b; x=\"open; y=1", "y", Some("1")),
            (r#"a/b; x="a\";y=1"; y=2"#, "y", Some("2")),
            ("a/b; x", "x", None),
            ("a/b", "x", None),
            ("a/b;", "x", None),
        ] {
            assert_eq!(parameter(text, name), value, "{text} {name}");
        }
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }

    #[test]
    fn a_plain_charset_is_the_parameter() {
        let plain = [
            ("text/xml; charset=utf-8", true),
            ("text/xml;CharSet=UTF-8", true),
            ("a;charset=iso-8859-1", true),
            ("text/xml;  charset=utf-8", false),
            ("text/xml; charset=\"utf-8\"", false),
            ("text/xml; charset=utf-8; a=b", false),
            ("text/xml; charset=utf-8 ", false),
            ("text/xml; charset=", false),
            ("text/xml; charset", false),
            ("text/xml; a=b; charset=utf-8", false),
            ("text/xml; charset =utf-8", false),
            ("text/xml; charset='utf-8'", false),
            ("text/xml, charset=utf-8", false),
            ("text/xml", false),
            ("", false),
            ("\u{e9}/xml; charset=utf-8", false),
        ];
        for (text, known) in plain {
            let value = http::HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let found = plain_charset(&value);
            assert_eq!(found.is_some(), known, "{text}");
            if known {
                assert_eq!(found, parameter(text, "charset"), "{text}");
            }
        }
    }
}
