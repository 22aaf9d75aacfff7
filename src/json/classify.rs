//! What a body is, as far as building it looks.

/// What a body turned out to be when the message was built (spec 01 §17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{` came first.
    Object,
    /// `[` came first.
    Array,
    /// Exactly one string, number, `true`, `false` or `null`.
    Scalar,
    /// Nothing, or only blanks: there is no payload.
    Empty,
    /// Refused: "Payload is not a JSON string."
    Invalid,
}

/// The build-time validity check (spec 01 §17.1). It looks only for the first character that can
/// start a JSON value, so leading garbage and errors further on go unnoticed on purpose: such
/// bodies pass through unharmed and fail when something converts them.
pub fn classify(input: &[u8]) -> Kind {
    let first = input.iter().find(|byte| {
        matches!(
            byte,
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
        )
    });
    match first {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(_) if is_scalar(input) => Kind::Scalar,
        None if input.iter().all(|&byte| byte == b' ') => Kind::Empty,
        _ => Kind::Invalid,
    }
}

fn is_scalar(input: &[u8]) -> bool {
    match input {
        b"true" | b"false" | b"null" => true,
        [b'"', .., b'"'] => true,
        _ => is_plain_number(input.strip_prefix(b"-").unwrap_or(input)),
    }
}

/// `\d+(\.\d+)?`: no exponent, and leading zeros are fine.
fn is_plain_number(text: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => digits(&text[..dot]) && digits(&text[dot + 1..]),
        None => digits(text),
    }
}
