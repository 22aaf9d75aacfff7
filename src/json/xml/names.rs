//! JSON keys that are no XML names.

use std::borrow::Cow;

const DIGIT: &str = "_JsonReader_PD_";
const DOLLAR: &str = "_JsonReader_PS_";
const CODE: &str = "_JsonReader_";

/// The element name for a key (spec 01 §17.2): a digit or `$` in front is encoded always, other
/// characters only on request.
pub(super) fn encode(key: &str, valid_nc_names: bool) -> Cow<'_, str> {
    let name = match key.chars().next() {
        Some('$') => Cow::Owned([DOLLAR, &key[1..]].concat()),
        Some(first) if first.is_numeric() => Cow::Owned([DIGIT, key].concat()),
        _ => Cow::Borrowed(key),
    };
    let starts_badly = |name: &str| {
        name.chars()
            .next()
            .is_some_and(|first| !is_name_start(first))
    };
    if !valid_nc_names || (name.chars().all(is_name_char) && !starts_badly(&name)) {
        return name;
    }
    let mut out = String::new();
    for (at, character) in name.char_indices() {
        if is_name_char(character) && (at > 0 || is_name_start(character)) {
            out.push(character);
        } else {
            out.push_str(CODE);
            out.push_str(&u32::from(character).to_string());
            out.push('_');
        }
    }
    Cow::Owned(out)
}

/// The key for an element name (spec 01 §17.2).
pub(super) fn decode(name: &str, valid_nc_names: bool) -> Cow<'_, str> {
    let key = if let Some(rest) = name.strip_prefix(DIGIT) {
        Cow::Borrowed(rest)
    } else if let Some(rest) = name.strip_prefix(DOLLAR) {
        Cow::Owned(["$", rest].concat())
    } else {
        Cow::Borrowed(name)
    };
    if !valid_nc_names || !key.contains(CODE) {
        return key;
    }
    let mut out = String::new();
    let mut rest = key.as_ref();
    while let Some((before, after)) = rest.split_once(CODE) {
        out.push_str(before);
        // Nothing can hold NUL, so that its code stays text.
        let code = after.split_once('_');
        let decoded = code.and_then(|(code, tail)| {
            let character = char::from_u32(code.parse().ok()?)?;
            (character != '\0').then_some((character, tail))
        });
        match decoded {
            Some((character, tail)) => {
                out.push(character);
                rest = tail;
            }
            None => {
                out.push_str(CODE);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// NameStartChar of XML 1.0 without the colon.
fn is_name_start(character: char) -> bool {
    matches!(character,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
        | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

fn is_name_char(character: char) -> bool {
    is_name_start(character)
        || matches!(character,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}
