//! Text to tokens (spec 05 §5.1).

use super::functions;
use super::{MAX_WARNINGS, Problem};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    True,
    False,
    Null,
    And,
    Or,
    /// A name that is no keyword.
    Name,
    Vars,
    /// `payload` and `$`.
    Payload,
    Headers,
    Configs,
    Params,
    Props,
    /// `queryParams`, `pathParams`, `functionParams`.
    ParamGroup,
    /// `axis2`, `synapse`.
    PropGroup,
    Function,
    /// `property`, which may follow `registry(…)`.
    Property,
    /// `in`, `size`, `=~` …: only inside filters, never after a dot.
    FilterWord,
    /// `length()` and its like, one token without blanks.
    PathFunction,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Not,
    Question,
    Colon,
    Comma,
    Dot,
    DotDot,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    At,
    End,
}

impl Kind {
    /// Whether it may stand as a name after a dot (spec 05 §5.2 `keyword`).
    pub(super) fn is_name(self) -> bool {
        matches!(
            self,
            Kind::Name
                | Kind::Vars
                | Kind::Payload
                | Kind::Headers
                | Kind::Configs
                | Kind::Params
                | Kind::Props
                | Kind::ParamGroup
                | Kind::PropGroup
                | Kind::Function
                | Kind::Property
        )
    }
}

/// A token: its kind and the bytes it covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

const PATH_FUNCTIONS: &[&str] = &[
    "length", "size", "min", "max", "avg", "sum", "stddev", "keys", "first", "last",
];

/// Splits the text. Characters that no token can start with are dropped, as in the reference, with
/// a warning.
pub(super) fn tokens(text: &str, warnings: &mut Vec<Problem>) -> Result<Vec<Token>, Problem> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        let (kind, len) = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'0'..=b'9' => (Kind::Number, number(bytes, at)),
            b'-' if next.is_some_and(|b| b.is_ascii_digit()) => {
                (Kind::Number, 1 + number(bytes, at + 1))
            }
            b'"' | b'\'' => (Kind::Text, string(text, at)?),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => word(text, at),
            b'$' => (Kind::Payload, 1),
            b'&' if next == Some(b'&') => (Kind::And, 2),
            b'|' if next == Some(b'|') => (Kind::Or, 2),
            b'=' if next == Some(b'=') => (Kind::Equal, 2),
            b'=' if next == Some(b'~') => (Kind::FilterWord, 2),
            b'!' if next == Some(b'=') => (Kind::NotEqual, 2),
            b'!' => (Kind::Not, 1),
            b'<' if next == Some(b'=') => (Kind::LessEqual, 2),
            b'<' => (Kind::Less, 1),
            b'>' if next == Some(b'=') => (Kind::GreaterEqual, 2),
            b'>' => (Kind::Greater, 1),
            b'.' if next == Some(b'.') => (Kind::DotDot, 2),
            b'.' => (Kind::Dot, 1),
            b'+' => (Kind::Plus, 1),
            b'-' => (Kind::Minus, 1),
            b'*' => (Kind::Star, 1),
            b'/' => (Kind::Slash, 1),
            b'%' => (Kind::Percent, 1),
            b'?' => (Kind::Question, 1),
            b':' => (Kind::Colon, 1),
            b',' => (Kind::Comma, 1),
            b'(' => (Kind::LeftParen, 1),
            b')' => (Kind::RightParen, 1),
            b'[' => (Kind::LeftBracket, 1),
            b']' => (Kind::RightBracket, 1),
            b'@' => (Kind::At, 1),
            _ => {
                let dropped = text.get(at..).and_then(|rest| rest.chars().next());
                let len = dropped.map_or(1, char::len_utf8);
                if warnings.len() < MAX_WARNINGS {
                    let hint = match byte {
                        b'=' => "; '==' compares",
                        b'&' => "; 'and' and '&&' combine conditions",
                        b'|' => "; 'or' and '||' combine conditions",
                        _ => "",
                    };
                    warnings.push(Problem::new(
                        at,
                        len,
                        format!(
                            "'{}' means nothing here and is ignored{hint}",
                            dropped.unwrap_or_default()
                        ),
                    ));
                }
                at += len;
                continue;
            }
        };
        out.push(Token {
            kind,
            start: at,
            end: at + len,
        });
        at += len;
    }
    out.push(Token {
        kind: Kind::End,
        start: text.len(),
        end: text.len(),
    });
    Ok(out)
}

/// Length of `digits[.digits]`.
fn number(bytes: &[u8], start: usize) -> usize {
    let digits = |from: usize| {
        bytes
            .iter()
            .skip(from)
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let whole = digits(start);
    if bytes.get(start + whole) != Some(&b'.') {
        return whole;
    }
    match digits(start + whole + 1) {
        0 => whole,
        fraction => whole + 1 + fraction,
    }
}

/// Length of a string with its quotes. Escapes are checked, not decoded.
fn string(text: &str, start: usize) -> Result<usize, Problem> {
    let bytes = text.as_bytes();
    let quote = bytes.get(start).copied();
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => {
                return Err(Problem::new(
                    start,
                    text.len() - start,
                    "this string is never closed",
                ));
            }
            Some(b'\\') => {
                let len = escape(bytes.get(at + 1..).unwrap_or_default());
                if len == 0 {
                    let bad = text.get(at + 1..).and_then(|rest| rest.chars().next());
                    return Err(Problem::new(
                        at,
                        1 + bad.map_or(0, char::len_utf8),
                        "this escape is not known; there are \\b \\t \\n \\f \\r \\\" \\' \\\\ \\/ \\uXXXX and octal ones",
                    ));
                }
                at += 1 + len;
            }
            Some(byte) if Some(*byte) == quote => return Ok(at + 1 - start),
            Some(_) => at += 1,
        }
    }
}

/// Length of what follows a backslash; 0 when it is no escape.
fn escape(rest: &[u8]) -> usize {
    let octal = |b: Option<&u8>| b.is_some_and(|b| (b'0'..=b'7').contains(b));
    match rest {
        [
            b'b' | b't' | b'n' | b'f' | b'r' | b'"' | b'\'' | b'\\' | b'/',
            ..,
        ] => 1,
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => 5,
        [b'0'..=b'3', ..] if octal(rest.get(1)) && octal(rest.get(2)) => 3,
        [b'0'..=b'7', ..] if octal(rest.get(1)) => 2,
        _ => 0,
    }
}

fn word(text: &str, start: usize) -> (Kind, usize) {
    let rest = text.get(start..).unwrap_or_default();
    let len = rest
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        .count();
    let word = rest.get(..len).unwrap_or_default();
    if rest.get(len..).is_some_and(|r| r.starts_with("()")) && PATH_FUNCTIONS.contains(&word) {
        return (Kind::PathFunction, len + 2);
    }
    let kind = match word {
        "true" => Kind::True,
        "false" => Kind::False,
        "null" => Kind::Null,
        "and" => Kind::And,
        "or" => Kind::Or,
        "vars" => Kind::Vars,
        "payload" => Kind::Payload,
        "headers" => Kind::Headers,
        "configs" => Kind::Configs,
        "params" => Kind::Params,
        "props" | "properties" => Kind::Props,
        "queryParams" | "pathParams" | "functionParams" => Kind::ParamGroup,
        "axis2" | "synapse" => Kind::PropGroup,
        "property" => Kind::Property,
        "in" | "nin" | "subsetof" | "anyof" | "noneof" | "size" | "empty" => Kind::FilterWord,
        _ if functions::find(word).is_some() => Kind::Function,
        _ => Kind::Name,
    };
    (kind, len)
}
