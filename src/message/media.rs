//! Media types and what they mean for a body (spec 01 §16).

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
    content_type.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
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
    /// `application/json` and every `+json`.
    Json,
    /// `text/plain` and other text.
    Text,
    /// `application/x-www-form-urlencoded`.
    Form,
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
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        let ends = |suffix: &str| {
            media.len() > suffix.len()
                && media
                    .get(media.len() - suffix.len()..)
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if is("text/xml") {
            Media::TextXml
        } else if is("application/soap+xml") {
            Media::SoapXml
        } else if is("application/xml") || ends("+xml") {
            Media::Xml
        } else if is("application/json") || is("text/javascript") || ends("+json") {
            Media::Json
        } else if is("application/x-www-form-urlencoded") {
            Media::Form
        } else if is("text/plain") || is("text/csv") || is("text/html") || is("text/css") {
            Media::Text
        } else if is("application/octet-stream")
            || is("application/binary")
            || is("application/pdf")
            || is("application/msword")
            || is("application/zip")
            || starts_with(media, "application/vnd.openxmlformats")
            || starts_with(media, "image/")
            || starts_with(media, "audio/")
            || starts_with(media, "video/")
        {
            Media::Binary
        } else {
            Media::Other
        }
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
