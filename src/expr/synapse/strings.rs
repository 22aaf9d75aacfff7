//! Functions on texts (spec 05 §5.8).

use super::datetime::{Moment, Pattern, Unformatted};
use super::eval::Evaluator;
use super::functions::invalid;
use super::operators::shown;
use super::program::{Call, Prepared};
use super::value::Val;
use super::{Exception, Failure, MAX_RESULT, Outcome};
use crate::expr::xpath::Charset;
use crate::json::Value as Json;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;

/// Most texts that `split` gives; each takes many times the memory of a short text.
const MAX_PARTS: usize = 1 << 20;

/// A fault when a result would be larger than anything useful.
pub(super) fn bounded(len: usize) -> Outcome<()> {
    match len <= MAX_RESULT {
        true => Ok(()),
        false => Err(Failure::thrown(
            Exception::IllegalArgument,
            format!("the result of an expression is larger than {MAX_RESULT} bytes"),
        )),
    }
}

/// Up to three arguments.
struct Args<'a> {
    call: &'a Call,
    values: Vec<Val<'a>>,
}

impl<'a> Args<'a> {
    fn of(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Args<'a>> {
        Ok(Args {
            call,
            values: ev.arguments(call)?,
        })
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn get(&self, at: usize) -> &Val<'a> {
        self.values.get(at).unwrap_or(&Val::Null)
    }

    /// A text, or the error about the arguments.
    fn text(&self, at: usize) -> Outcome<Cow<'_, str>> {
        match self.get(at).is_string() {
            true => self.get(at).to_text(),
            false => Err(self.invalid()),
        }
    }

    /// An integer, or the error about the arguments.
    fn int(&self, at: usize) -> Outcome<i32> {
        self.get(at).as_int().ok_or_else(|| self.invalid())
    }

    fn invalid(&self) -> Failure {
        if self.len() < 2 {
            return invalid(self.call);
        }
        let values: Vec<String> = self
            .values
            .iter()
            .enumerate()
            .map(|(at, value)| match at {
                0 => format!("source: {}", shown(value)),
                _ => format!("argument{at}: {}", shown(value)),
            })
            .collect();
        Failure::evaluation(format!(
            "Invalid argument provided for {} function. {}",
            self.call.row.name,
            values.join(", ")
        ))
    }
}

/// UTF-16 length.
fn units(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => text.encode_utf16().count(),
    }
}

/// The part between two UTF-16 positions; half a character becomes U+FFFD.
fn slice(text: &str, from: usize, to: usize) -> String {
    if text.is_ascii() {
        return text.get(from..to).unwrap_or_default().to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().skip(from).take(to - from).collect();
    String::from_utf16_lossy(&units)
}

pub(super) fn length<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let value = args.get(0);
    let count = match value {
        Val::Json(json, _) => json.as_array().map(<[Json]>::len),
        _ => None,
    };
    let count = match count {
        Some(count) => count,
        None => units(&args.text(0)?),
    };
    Ok(Val::Int(i32::try_from(count).unwrap_or(i32::MAX)))
}

pub(super) fn to_lower<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    change_case(ev, call, str::to_lowercase)
}

pub(super) fn to_upper<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    change_case(ev, call, str::to_uppercase)
}

fn change_case<'a>(
    ev: Evaluator<'a>,
    call: &'a Call,
    change: fn(&str) -> String,
) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    match args.get(0) {
        Val::Json(json, _) if matches!(**json, Json::Number(_) | Json::Bool(_)) => {
            Ok(Val::json(Json::String(change(&args.get(0).to_text()?))))
        }
        _ => Ok(Val::text(change(&args.text(0)?))),
    }
}

pub(super) fn trim<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    Ok(Val::text(text.trim_matches(|c: char| c <= ' ').to_owned()))
}

pub(super) fn substring<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    let from = args.int(1)?;
    let len = units(&text);
    let start = usize::try_from(from).ok();
    if args.len() == 2 {
        return match start.filter(|start| *start <= len) {
            Some(start) => Ok(Val::text(slice(&text, start, len))),
            None => Err(Failure::evaluation(format!(
                "Invalid index for subString: {from}, source string length: {len}"
            ))),
        };
    }
    let to = args.int(2)?;
    match (start, usize::try_from(to)) {
        (Some(start), Ok(end)) if start <= end && end <= len => {
            Ok(Val::text(slice(&text, start, end)))
        }
        _ => Err(Failure::evaluation(format!(
            "Invalid subString indices: start={from}, end={to}, string length={len}"
        ))),
    }
}

pub(super) fn starts_with<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    Ok(Val::Bool(args.text(0)?.starts_with(&*args.text(1)?)))
}

pub(super) fn ends_with<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    Ok(Val::Bool(args.text(0)?.ends_with(&*args.text(1)?)))
}

pub(super) fn contains<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    Ok(Val::Bool(args.text(0)?.contains(&*args.text(1)?)))
}

pub(super) fn index_of<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let (text, part) = (args.text(0)?, args.text(1)?);
    let from = match args.len() {
        2 => 0,
        _ => usize::try_from(args.int(2)?).unwrap_or(0),
    };
    // The byte position of a UTF-16 one; behind the end only the empty text is found, at the end.
    let mut seen = 0;
    let start = text
        .char_indices()
        .find(|(_, c)| {
            let here = seen;
            seen += c.len_utf16();
            here >= from
        })
        .map_or(text.len(), |(at, _)| at);
    let found = text
        .get(start..)
        .and_then(|rest| rest.find(&*part))
        .and_then(|at| text.get(..start + at))
        .and_then(|before| i32::try_from(units(before)).ok());
    Ok(Val::Int(found.unwrap_or(-1)))
}

pub(super) fn char_at<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    let index = args.int(1)?;
    match usize::try_from(index) {
        Ok(at) if at < units(&text) => Ok(Val::text(slice(&text, at, at + 1))),
        _ => Err(Failure::evaluation(format!(
            "Invalid index provided for charAt function. source: {}, index: {index}",
            shown(args.get(0))
        ))),
    }
}

pub(super) fn replace<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let (text, from, to) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let count = text.matches(&*from).count();
    bounded(text.len().saturating_add(count.saturating_mul(to.len())))?;
    Ok(Val::text(text.replace(&*from, &to)))
}

/// Compiles the pattern of `split`.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .build()
        .map_err(|e| {
            let cause = e.to_string();
            let last = cause.lines().last().unwrap_or_default();
            format!(
                "the pattern cannot be used: {}",
                last.trim_start_matches("error: ")
            )
        })
}

/// Java's `String.split`: a match of no length at the start and empty texts at the end are left out.
pub(super) fn split<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let (text, pattern) = (args.text(0)?, args.text(1)?);
    let made;
    let regex = match &call.prepared {
        Prepared::Regex(regex) => regex,
        _ => {
            made = regex(&pattern);
            &made
        }
    };
    let regex = regex
        .as_ref()
        .map_err(|cause| Failure::thrown(Exception::IllegalArgument, cause.clone()))?;
    let mut parts = Vec::new();
    let mut from = 0;
    let mut matched = false;
    for found in regex.find_iter(&text) {
        if found.end() == 0 || (found.is_empty() && found.start() >= text.len()) {
            continue;
        }
        matched = true;
        if parts.len() >= MAX_PARTS {
            return Err(Failure::thrown(
                Exception::IllegalArgument,
                format!("split() gives more than {MAX_PARTS} texts"),
            ));
        }
        parts.push(text.get(from..found.start()).unwrap_or_default());
        from = found.end();
    }
    parts.push(text.get(from..).unwrap_or_default());
    if matched {
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    let items = parts.into_iter().map(|part| Json::String(part.to_owned()));
    Ok(Val::json(Json::Array(items.collect())))
}

fn charset(name: &str, function: &str) -> Outcome<Charset> {
    Charset::from_name(name).ok_or_else(|| {
        Failure::evaluation(format!(
            "Invalid charset provided for {function} function. Charset: {name}"
        ))
    })
}

pub(super) fn base64_encode<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    let bytes = match args.len() {
        1 => Cow::Borrowed(text.as_bytes()),
        _ => Cow::Owned(charset(&args.text(1)?, call.row.name)?.encode(&text)),
    };
    bounded(bytes.len().saturating_mul(4) / 3)?;
    Ok(Val::text(STANDARD.encode(bytes)))
}

/// RFC 4648 without leniency, except that padding may be missing.
const STRICT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn base64_decode<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let bytes = STRICT
        .decode(args.text(0)?.as_bytes())
        .map_err(|e| Failure::thrown(Exception::IllegalArgument, e.to_string()))?;
    Ok(Val::text(String::from_utf8_lossy(&bytes).into_owned()))
}

pub(super) fn url_encode<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    let (set, exact) = match args.len() {
        1 => (Charset::UTF_8, true),
        _ => {
            let name = args.text(1)?;
            (charset(&name, call.row.name)?, name == "UTF-8")
        }
    };
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = &*text;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*' | '_' | ' ');
    while let Some(c) = rest.chars().next() {
        bounded(out.len())?;
        if plain(c) {
            match c {
                ' ' if exact => out.push_str("%20"),
                ' ' => out.push('+'),
                '*' if exact => out.push_str("%2A"),
                c => out.push(c),
            }
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        let end = rest.find(plain).unwrap_or(rest.len());
        let (run, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
        for byte in set.encode(run) {
            out.push_str(&format!("%{byte:02X}"));
        }
        rest = next;
    }
    Ok(Val::text(out))
}

pub(super) fn url_decode<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let text = args.text(0)?;
    let hex = |b: &u8| char::from(*b).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(Val::text(String::from_utf8_lossy(&out).into_owned())),
            [b'+', tail @ ..] => {
                out.push(b' ');
                tail
            }
            [b'%', tail @ ..] => {
                let byte = match tail {
                    [high, low, ..] => hex(high)
                        .zip(hex(low))
                        .and_then(|(high, low)| u8::try_from(high * 16 + low).ok()),
                    _ => None,
                };
                let byte = byte.ok_or_else(|| {
                    Failure::thrown(
                        Exception::IllegalArgument,
                        "URLDecoder: Illegal hex characters in escape (%) pattern",
                    )
                })?;
                out.push(byte);
                tail.get(2..).unwrap_or_default()
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

/// The pattern of an argument: compiled before, or made by the message.
fn pattern<'p>(
    call: &'p Call,
    at: usize,
    text: &str,
    made: &'p mut Option<Result<Pattern, String>>,
) -> &'p Result<Pattern, String> {
    if let Prepared::Patterns(patterns) = &call.prepared
        && let Some(pattern) = patterns.get(at)
    {
        return pattern;
    }
    made.insert(Pattern::compile(text))
}

pub(super) fn format_date_time<'a>(ev: Evaluator<'a>, call: &'a Call) -> Outcome<Val<'a>> {
    let args = Args::of(ev, call)?;
    let (mut first, mut second) = (None, None);
    let bad_format = |format: &str| {
        Failure::evaluation(format!(
            "Invalid date format provided for formatDateTime function. Format: {format}"
        ))
    };
    if args.len() == 2 {
        if !args.get(0).is_numeric() {
            return Err(args.invalid());
        }
        let text = args.text(1)?;
        let pattern = pattern(call, 0, &text, &mut first)
            .as_ref()
            .map_err(|cause| Failure::thrown(Exception::IllegalArgument, cause.clone()))?;
        let moment = Moment::of_millis(args.get(0).to_long());
        return pattern
            .format(&moment)
            .map(Val::text)
            .map_err(|Unformatted| bad_format(&text));
    }
    let (text, from, to) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let pattern_in = pattern(call, 0, &from, &mut first)
        .as_ref()
        .map_err(|_| bad_format(&from))?;
    let pattern_out = pattern(call, 1, &to, &mut second);
    let Ok(pattern_out) = pattern_out else {
        return Err(bad_format(&from));
    };
    pattern_in
        .convert(&text, pattern_out)
        .map(Val::text)
        .ok_or_else(|| bad_format(&from))
}
