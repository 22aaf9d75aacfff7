//! Text to tokens. Operator names are recognised by position, as Jaxen does: after an operand
//! `and`, `or`, `div`, `mod` and `*` are operators, elsewhere they are names.

use super::XPathError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Name,
    Literal,
    Number,
    Dollar,
    Slash,
    DoubleSlash,
    Comma,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Plus,
    Minus,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    Pipe,
    At,
    Colon,
    DoubleColon,
    Star,
    Dot,
    DotDot,
    And,
    Or,
    Mod,
    Div,
    Multiply,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, XPathError> {
    let bytes = text.as_bytes();
    let mut out: Vec<Token> = Vec::with_capacity(text.len() / 3 + 2);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let next = bytes.get(at + 1).copied();
        let after_operand = out.last().is_some_and(|t| ends_operand(t.kind));
        let (kind, len) = match byte {
            b'$' => (Kind::Dollar, 1),
            b',' => (Kind::Comma, 1),
            b'(' => (Kind::LeftParen, 1),
            b')' => (Kind::RightParen, 1),
            b'[' => (Kind::LeftBracket, 1),
            b']' => (Kind::RightBracket, 1),
            b'+' => (Kind::Plus, 1),
            b'-' => (Kind::Minus, 1),
            b'|' => (Kind::Pipe, 1),
            b'@' => (Kind::At, 1),
            b'=' => (Kind::Equal, 1),
            b'/' if next == Some(b'/') => (Kind::DoubleSlash, 2),
            b'/' => (Kind::Slash, 1),
            b'<' if next == Some(b'=') => (Kind::LessEqual, 2),
            b'<' => (Kind::Less, 1),
            b'>' if next == Some(b'=') => (Kind::GreaterEqual, 2),
            b'>' => (Kind::Greater, 1),
            b'!' if next == Some(b'=') => (Kind::NotEqual, 2),
            b':' if next == Some(b':') => (Kind::DoubleColon, 2),
            b':' => (Kind::Colon, 1),
            b'*' if after_operand => (Kind::Multiply, 1),
            b'*' => (Kind::Star, 1),
            b'"' | b'\'' => {
                let rest = bytes.get(at + 1..).unwrap_or_default();
                match memchr::memchr(byte, rest) {
                    Some(len) => (Kind::Literal, len + 2),
                    None => {
                        return Err(XPathError::new(
                            at,
                            text.len() - at,
                            "this string is never closed",
                        ));
                    }
                }
            }
            b'.' if !next.is_some_and(|b| b.is_ascii_digit()) => match next {
                Some(b'.') => (Kind::DotDot, 2),
                _ => (Kind::Dot, 1),
            },
            b'.' | b'0'..=b'9' => (Kind::Number, number_len(bytes, at)),
            _ => name(text, at, after_operand)?,
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

fn ends_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Name
            | Kind::Literal
            | Kind::Number
            | Kind::RightParen
            | Kind::RightBracket
            | Kind::Dot
            | Kind::DotDot
            | Kind::Star
    )
}

fn number_len(bytes: &[u8], at: usize) -> usize {
    let mut dot = false;
    let mut len = 0;
    while let Some(&b) = bytes.get(at + len) {
        match b {
            b'0'..=b'9' => {}
            b'.' if !dot => dot = true,
            _ => break,
        }
        len += 1;
    }
    len
}

fn name(text: &str, at: usize, after_operand: bool) -> Result<(Kind, usize), XPathError> {
    let rest = text.get(at..).unwrap_or_default();
    let len: usize = rest
        .char_indices()
        .take_while(|&(i, c)| {
            if i == 0 {
                is_name_start(c)
            } else {
                is_name_char(c)
            }
        })
        .map(|(_, c)| c.len_utf8())
        .sum();
    if len == 0 {
        let shown = rest.chars().next().unwrap_or(' ');
        return Err(XPathError::new(
            at,
            shown.len_utf8(),
            format!("'{shown}' has no meaning in an XPath expression"),
        ));
    }
    if !after_operand {
        return Ok((Kind::Name, len));
    }
    for (word, kind) in [
        ("and", Kind::And),
        ("or", Kind::Or),
        ("mod", Kind::Mod),
        ("div", Kind::Div),
    ] {
        if rest.starts_with(word) {
            return Ok((kind, word.len()));
        }
    }
    let found = rest.get(..len).unwrap_or_default();
    Err(XPathError::new(
        at,
        len,
        format!("expected an operator before '{found}', such as '=', 'and', '/'"),
    ))
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic()
        || c == '_'
        || matches!(c,
            '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
            | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}'
            | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || c.is_ascii_digit()
        || matches!(c, '-' | '.' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}
