//! Characters, names and references of XML 1.0 (fifth edition), and turning source text into values.

/// The character a reference stands for, given what is between `&` and `;`.
pub(super) fn resolve_reference(body: &[u8]) -> Option<char> {
    let (digits, radix) = match body {
        b"lt" => return Some('<'),
        b"gt" => return Some('>'),
        b"amp" => return Some('&'),
        b"quot" => return Some('"'),
        b"apos" => return Some('\''),
        [b'#', b'x', digits @ ..] => (digits, 16),
        [b'#', digits @ ..] => (digits, 10),
        _ => return None,
    };
    if digits.is_empty() {
        return None;
    }
    let mut code = 0u32;
    for &digit in digits {
        code = code
            .checked_mul(radix)?
            .checked_add((digit as char).to_digit(radix)?)?;
    }
    char::from_u32(code).filter(|&character| is_xml_char(character))
}

/// The production `Char` of XML 1.0: what text may hold, even as a reference.
pub fn is_xml_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Full check of a name that is not ASCII, by the fifth edition's productions without the colon.
pub(super) fn is_name(bytes: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut characters = name.chars();
    characters.next().is_some_and(is_name_start) && characters.all(is_name_character)
}

fn is_name_start(character: char) -> bool {
    matches!(character,
        'A'..='Z' | 'a'..='z' | '_'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}'
        | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn is_name_character(character: char) -> bool {
    is_name_start(character)
        || matches!(character,
            '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// What a text is normalised as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Normalise {
    /// References resolved, line ends made `\n`.
    Text,
    /// Line ends only: CDATA, comments, instructions.
    LineEnds,
    /// References resolved, literal white space made blanks.
    Attribute,
}

/// Appends the value of a text that the tokenizer accepted.
pub(super) fn unescape(source: &str, how: Normalise, out: &mut String) {
    let mut rest = source;
    while let Some(at) = match how {
        Normalise::Text => memchr::memchr2(b'&', b'\r', rest.as_bytes()),
        Normalise::LineEnds => memchr::memchr(b'\r', rest.as_bytes()),
        Normalise::Attribute => rest
            .bytes()
            .position(|byte| matches!(byte, b'&' | b'\r' | b'\n' | b'\t')),
    } {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        if from.starts_with('&') {
            let len = memchr::memchr(b';', from.as_bytes()).unwrap_or(from.len());
            out.extend(
                from.get(1..len)
                    .and_then(|body| resolve_reference(body.as_bytes())),
            );
            rest = from.get(len + 1..).unwrap_or_default();
        } else {
            out.push(if how == Normalise::Attribute {
                ' '
            } else {
                '\n'
            });
            rest = from
                .strip_prefix("\r\n")
                .or_else(|| from.get(1..))
                .unwrap_or_default();
        }
    }
    out.push_str(rest);
}
