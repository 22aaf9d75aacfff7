//! Reading a text by a pattern, and making a date and a time of its fields.

use super::{Item, Moment, NANOS_OF_DAY, NANOS_OF_SECOND};
use crate::expr::xpath::date::{self, DAYS, MONTHS};

/// The fields by their letters, in the order they were read; `M` stands for `L` too.
#[derive(Clone, Default)]
struct Fields(Vec<(char, i64)>);

impl Fields {
    fn get(&self, letter: char) -> Option<i64> {
        self.0.iter().find(|(l, _)| *l == letter).map(|(_, v)| *v)
    }

    /// `None` when the field was read before with another value.
    fn set(&mut self, letter: char, value: i64) -> Option<()> {
        match self.get(letter) {
            Some(known) => (known == value).then_some(()),
            None => {
                self.0.push((letter, value));
                Some(())
            }
        }
    }
}

/// Reads all of `text`.
pub(super) fn read(items: &[Item], text: &str) -> Option<Moment> {
    let mut fields = Fields::default();
    let rest = read_items(items, text, &mut fields)?;
    if !rest.is_empty() {
        return None;
    }
    resolve(&fields)
}

fn read_items<'t>(items: &[Item], text: &'t str, fields: &mut Fields) -> Option<&'t str> {
    let mut rest = text;
    for (at, item) in items.iter().enumerate() {
        rest = match item {
            Item::Literal(c) => rest.strip_prefix(*c)?,
            Item::Optional(inner) => {
                let mut tried = fields.clone();
                match read_items(inner, rest, &mut tried) {
                    Some(after) => {
                        *fields = tried;
                        after
                    }
                    None => rest,
                }
            }
            Item::Field(letter, count) => {
                let following = items.get(at + 1..).unwrap_or_default();
                read_field(*letter, *count, following, rest, fields)?
            }
        };
    }
    Some(rest)
}

fn read_field<'t>(
    letter: char,
    count: usize,
    following: &[Item],
    text: &'t str,
    fields: &mut Fields,
) -> Option<&'t str> {
    match (letter, count) {
        ('M' | 'L', 3..) => read_name(&MONTHS, count, text, |n| fields.set('M', n + 1)),
        ('E', _) | ('e' | 'c', 3..) => read_name(&DAYS, count.max(3), text, |n| fields.set('E', n)),
        ('a', _) => read_name(&["AM", "PM"], 4, text, |n| fields.set('a', n)),
        ('G', 4) => read_name(&["Before Christ", "Anno Domini"], 4, text, |n| {
            fields.set('G', n)
        }),
        ('G', _) => read_name(&["BC", "AD"], 4, text, |n| fields.set('G', n)),
        ('Q' | 'q' | 'Y' | 'w' | 'W' | 'F' | 'e' | 'c', _) => None,
        ('V' | 'v' | 'z' | 'O' | 'X' | 'x' | 'Z', _) => None,
        _ => read_number(letter, count, following, text, fields),
    }
}

fn read_name<'t>(
    names: &[&str],
    count: usize,
    text: &'t str,
    set: impl FnOnce(i64) -> Option<()>,
) -> Option<&'t str> {
    let (index, len) = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| {
            let len = if count == 3 { 3 } else { name.len() };
            let name = name.get(..len)?;
            text.starts_with(name).then_some((index, len))
        })
        .max_by_key(|(_, len)| *len)?;
    set(i64::try_from(index).ok()?)?;
    text.get(len..)
}

/// Fewest and most digits of a field.
fn widths(letter: char, count: usize) -> (usize, usize) {
    match (letter, count) {
        ('u' | 'y', 2) => (2, 2),
        ('u' | 'y', _) => (count, 19),
        ('D', 3) => (3, 3),
        ('D', _) => (count, 3),
        ('S', _) => (count, count),
        ('A' | 'n' | 'N', _) => (count, 19),
        (_, 1) => (1, 19),
        _ => (count, count),
    }
}

fn read_number<'t>(
    letter: char,
    count: usize,
    following: &[Item],
    text: &'t str,
    fields: &mut Fields,
) -> Option<&'t str> {
    let (least, most) = widths(letter, count);
    let year = matches!(letter, 'u' | 'y') && count != 2;
    let (sign, digits) = match text.chars().next() {
        Some(sign @ ('-' | '+')) if year => (Some(sign), text.get(1..)?),
        _ => (None, text),
    };
    let available = digits.bytes().take_while(u8::is_ascii_digit).count();
    let mut width = available.min(most);
    if least != most {
        // Fields of fixed width that follow directly keep their digits.
        let reserved: usize = following
            .iter()
            .map_while(|item| match item {
                Item::Field(letter, count) => {
                    let (least, most) = widths(*letter, *count);
                    let numeric = !matches!(letter, 'M' | 'L') || *count < 3;
                    (numeric && least == most && letter.is_ascii_alphabetic()).then_some(least)
                }
                _ => None,
            })
            .sum();
        if reserved > 0 {
            width = available
                .min(most + reserved)
                .saturating_sub(reserved)
                .max(least);
        }
    }
    if width < least || width > available {
        return None;
    }
    // Four letters and more: a longer year needs its sign.
    if year && count >= 4 && (sign == Some('+')) != (sign != Some('-') && width > count) {
        return None;
    }
    let value: i64 = digits.get(..width)?.parse().ok()?;
    let value = match (letter, sign) {
        ('u' | 'y', _) if count == 2 => 2000 + value,
        (_, Some('-')) => -value,
        ('S', _) => value * 10_i64.checked_pow(u32::try_from(9 - width).ok()?)?,
        _ => value,
    };
    fields.set(if letter == 'L' { 'M' } else { letter }, value)?;
    digits.get(width..)
}

/// The "smart" way of Java: values have to be in their ranges, and the 30th of February is the last.
fn resolve(fields: &Fields) -> Option<Moment> {
    let ranges = [
        ('M', 1, 12),
        ('d', 1, 31),
        ('D', 1, 366),
        ('H', 0, 24),
        ('h', 0, 12),
        ('K', 0, 11),
        ('k', 0, 24),
        ('m', 0, 59),
        ('s', 0, 59),
        ('n', 0, NANOS_OF_SECOND - 1),
        ('N', 0, NANOS_OF_DAY - 1),
        ('A', 0, NANOS_OF_DAY / 1_000_000 - 1),
        ('y', 1, 999_999_999),
        ('u', -999_999_999, 999_999_999),
    ];
    for (letter, least, most) in ranges {
        if fields
            .get(letter)
            .is_some_and(|value| !(least..=most).contains(&value))
        {
            return None;
        }
    }
    let (nanos, next_day) = time(fields)?;
    let day = date(fields)?.map(|day| day + i64::from(next_day));
    Some(Moment { day, nanos })
}

/// Outer `None`: the fields contradict each other.
fn date(fields: &Fields) -> Option<Option<i64>> {
    let of_era = fields.get('y').map(|y| match fields.get('G') {
        Some(0) => 1 - y,
        _ => y,
    });
    let year = match (fields.get('u'), of_era) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b),
    };
    let Some(year) = year else { return Some(None) };
    let start = date::days_before_year(year);
    let length = date::days_before_year(year + 1) - start;
    let day = match (fields.get('M'), fields.get('d'), fields.get('D')) {
        (Some(month), Some(day), _) => {
            let last = match month {
                2 => length - 337,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let before: i64 = (1..month)
                .map(|m| match m {
                    2 => length - 337,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                })
                .sum();
            start + before + day.min(last) - 1
        }
        (_, _, Some(day)) if day <= length => start + day - 1,
        (_, _, Some(_)) => return None,
        _ => return Some(None),
    };
    match fields.get('E') {
        Some(weekday) if weekday != (day + 4).rem_euclid(7) => None,
        _ => Some(Some(day)),
    }
}

/// The time, and whether it is midnight at the end of the day.
fn time(fields: &Fields) -> Option<(Option<i64>, bool)> {
    if let Some(nanos) = fields.get('N') {
        return Some((Some(nanos), false));
    }
    if let Some(millis) = fields.get('A') {
        return Some((Some(millis * 1_000_000), false));
    }
    let half = fields.get('a');
    let twelve = fields.get('K').or_else(|| fields.get('h').map(|h| h % 12));
    let hour = match (fields.get('H'), fields.get('k')) {
        (Some(hour), _) => Some(hour),
        (_, Some(hour)) => Some(hour % 24),
        _ => twelve.zip(half).map(|(hour, half)| hour + 12 * half),
    };
    let (minute, second) = (fields.get('m'), fields.get('s'));
    let nano = fields.get('S').or_else(|| fields.get('n'));
    let Some(hour) = hour else {
        return Some((None, false));
    };
    let gap = (minute.is_none() && (second.is_some() || nano.is_some()))
        || (minute.is_some() && second.is_none() && nano.is_some());
    if gap {
        return Some((None, false));
    }
    let seconds = hour * 3600 + minute.unwrap_or(0) * 60 + second.unwrap_or(0);
    let nanos = seconds * NANOS_OF_SECOND + nano.unwrap_or(0);
    match nanos.cmp(&NANOS_OF_DAY) {
        std::cmp::Ordering::Less => Some((Some(nanos), false)),
        std::cmp::Ordering::Equal => Some((Some(0), true)),
        std::cmp::Ordering::Greater => None,
    }
}
