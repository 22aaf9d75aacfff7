//! Java's `DateTimeFormatter.ofPattern` on local dates and times, with English names (spec 05
//! §5.8, `formatDateTime`).

mod read;

use crate::expr::xpath::date::{self, DAYS, MONTHS};
use std::fmt::Write as _;

/// Most brackets of optional parts inside each other, and longest pattern in characters.
const MAX_NESTING: usize = 8;
const MAX_PATTERN: usize = 1000;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Clone, Debug)]
enum Item {
    Literal(char),
    Field(char, usize),
    Optional(Vec<Item>),
}

/// The pattern has a field that the value does not.
#[derive(Debug)]
pub(super) struct Unformatted;

/// A date, a time, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Days since 1970.
    day: Option<i64>,
    /// Nanoseconds since midnight.
    nanos: Option<i64>,
}

const NANOS_OF_SECOND: i64 = 1_000_000_000;
const NANOS_OF_DAY: i64 = 86_400 * NANOS_OF_SECOND;

impl Moment {
    /// The time so many milliseconds after 1970, in UTC.
    pub(super) fn of_millis(millis: i64) -> Moment {
        Moment {
            day: Some(millis.div_euclid(86_400_000)),
            nanos: Some(millis.rem_euclid(86_400_000) * 1_000_000),
        }
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn compile(text: &str) -> Result<Pattern, String> {
        if text.chars().count() > MAX_PATTERN {
            return Err(format!(
                "the pattern is longer than {MAX_PATTERN} characters"
            ));
        }
        let mut open: Vec<Vec<Item>> = Vec::new();
        let mut items = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                letter if letter.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while characters.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    check(letter, count)?;
                    items.push(Item::Field(letter, count));
                }
                '\'' if characters.next_if_eq(&'\'').is_some() => items.push(Item::Literal('\'')),
                '\'' => loop {
                    match characters.next() {
                        None => {
                            return Err(format!(
                                "Pattern ends with an incomplete string literal: {text}"
                            ));
                        }
                        Some('\'') if characters.next_if_eq(&'\'').is_some() => {
                            items.push(Item::Literal('\''));
                        }
                        Some('\'') => break,
                        Some(literal) => items.push(Item::Literal(literal)),
                    }
                },
                '[' => {
                    if open.len() >= MAX_NESTING {
                        return Err("optional parts are nested too deeply".to_owned());
                    }
                    open.push(std::mem::take(&mut items));
                }
                ']' => match open.pop() {
                    Some(outer) => {
                        let inner = std::mem::replace(&mut items, outer);
                        items.push(Item::Optional(inner));
                    }
                    None => {
                        return Err(
                            "Pattern invalid as it contains ] without previous [".to_owned()
                        );
                    }
                },
                '{' | '}' | '#' => {
                    return Err(format!("Pattern includes reserved character: '{c}'"));
                }
                literal => items.push(Item::Literal(literal)),
            }
        }
        // Optional parts that are not closed end with the pattern.
        while let Some(outer) = open.pop() {
            let inner = std::mem::replace(&mut items, outer);
            items.push(Item::Optional(inner));
        }
        Ok(Pattern(items))
    }

    /// Writes a moment.
    pub(super) fn format(&self, moment: &Moment) -> Result<String, Unformatted> {
        let mut out = String::new();
        write_items(&self.0, moment, &mut out)?;
        Ok(out)
    }

    /// Reads a text as date and time, date, or time, whichever first can be written by `out`.
    pub(super) fn convert(&self, text: &str, out: &Pattern) -> Option<String> {
        let moment = read::read(&self.0, text)?;
        let date = Moment {
            nanos: None,
            ..moment
        };
        let time = Moment {
            day: None,
            ..moment
        };
        let both = moment.day.is_some() && moment.nanos.is_some();
        [
            both.then_some(moment),
            moment.day.map(|_| date),
            moment.nanos.map(|_| time),
        ]
        .into_iter()
        .flatten()
        .find_map(|moment| out.format(&moment).ok())
    }
}

/// The letters and how often they may stand.
fn check(letter: char, count: usize) -> Result<(), String> {
    let most = match letter {
        'u' | 'y' | 'Y' | 'A' | 'n' | 'N' => 19,
        'G' | 'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' | 'X' | 'x' | 'Z' => 5,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' | 'V' => 2,
        'D' => 3,
        'S' => 9,
        'a' | 'F' | 'W' => 1,
        'v' | 'z' | 'O' => 4,
        _ => return Err(format!("Unknown pattern letter: {letter}")),
    };
    match count <= most && !(letter == 'c' && count == 2) && !(letter == 'V' && count == 1) {
        true => Ok(()),
        false => Err(format!("Too many pattern letters: {letter}")),
    }
}

fn write_items(items: &[Item], moment: &Moment, out: &mut String) -> Result<(), Unformatted> {
    for item in items {
        match item {
            Item::Literal(c) => out.push(*c),
            Item::Field(letter, count) => write_field(*letter, *count, moment, out)?,
            Item::Optional(inner) => {
                let mut part = String::new();
                if write_items(inner, moment, &mut part).is_ok() {
                    out.push_str(&part);
                }
            }
        }
    }
    Ok(())
}

fn write_field(
    letter: char,
    count: usize,
    moment: &Moment,
    out: &mut String,
) -> Result<(), Unformatted> {
    let day = || moment.day.ok_or(Unformatted);
    let nanos = || moment.nanos.ok_or(Unformatted);
    let civil = || day().map(date::civil);
    let hour = || nanos().map(|n| n / (3600 * NANOS_OF_SECOND));
    // Sunday is 0.
    let weekday = || day().map(|d| (d + 4).rem_euclid(7));
    let week = || day().map(|d| date::Moment::new(d.saturating_mul(86_400_000), 0));
    let number = match letter {
        'u' | 'y' | 'Y' => {
            let year = match letter {
                'Y' => week()?.week().0,
                _ => civil()?.0,
            };
            let year = if letter == 'y' && year <= 0 {
                1 - year
            } else {
                year
            };
            write_year(year, count, out);
            return Ok(());
        }
        'G' => {
            let names = match (civil()?.0 > 0, count) {
                (true, 4) => "Anno Domini",
                (true, 5) => "A",
                (true, _) => "AD",
                (false, 4) => "Before Christ",
                (false, 5) => "B",
                (false, _) => "BC",
            };
            out.push_str(names);
            return Ok(());
        }
        'M' | 'L' if count >= 3 => {
            push_name(&MONTHS, civil()?.1 - 1, count, out);
            return Ok(());
        }
        'M' | 'L' => civil()?.1,
        'Q' | 'q' => {
            let quarter = (civil()?.1 - 1) / 3 + 1;
            match count {
                3 => _ = write!(out, "Q{quarter}"),
                4 => {
                    let ending = match quarter {
                        1 => "st",
                        2 => "nd",
                        3 => "rd",
                        _ => "th",
                    };
                    _ = write!(out, "{quarter}{ending} quarter");
                }
                5 => _ = write!(out, "{quarter}"),
                width => _ = write!(out, "{quarter:0width$}"),
            }
            return Ok(());
        }
        'E' | 'e' | 'c' if letter == 'E' || count >= 3 => {
            push_name(&DAYS, weekday()?, count.max(3), out);
            return Ok(());
        }
        'e' | 'c' => weekday()? + 1,
        'D' => {
            let day = day()?;
            day - date::days_before_year(date::civil(day).0) + 1
        }
        'd' => civil()?.2,
        'F' => (civil()?.2 - 1) % 7 + 1,
        'w' => week()?.week().1,
        'W' => week()?.week_of_month(),
        'a' => {
            out.push_str(if hour()? < 12 { "AM" } else { "PM" });
            return Ok(());
        }
        'h' => (hour()? + 11) % 12 + 1,
        'K' => hour()? % 12,
        'k' => (hour()? + 23) % 24 + 1,
        'H' => hour()?,
        'm' => nanos()? / (60 * NANOS_OF_SECOND) % 60,
        's' => nanos()? / NANOS_OF_SECOND % 60,
        'S' => {
            let digits = format!("{:09}", nanos()? % NANOS_OF_SECOND);
            out.push_str(digits.get(..count).unwrap_or(&digits));
            return Ok(());
        }
        'A' => nanos()? / 1_000_000,
        'n' => nanos()? % NANOS_OF_SECOND,
        'N' => nanos()?,
        // Zones: a local time has none.
        _ => return Err(Unformatted),
    };
    _ = write!(out, "{number:0count$}");
    Ok(())
}

fn write_year(year: i64, count: usize, out: &mut String) {
    if count == 2 {
        _ = write!(out, "{:02}", year.abs() % 100);
        return;
    }
    let digits = year.unsigned_abs().to_string();
    if year < 0 {
        out.push('-');
    } else if count >= 4 && digits.len() > count {
        out.push('+');
    }
    _ = write!(out, "{digits:0>count$}");
}

fn push_name(names: &[&str], index: i64, count: usize, out: &mut String) {
    let name = usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default();
    let len = match count {
        4 => name.len(),
        5 => 1,
        _ => 3,
    };
    out.push_str(name.get(..len).unwrap_or(name));
}
