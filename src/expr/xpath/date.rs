//! Java `SimpleDateFormat` with English names (spec 05 §3.4, `SYSTEM_DATE`).

use std::fmt::Write as _;

/// What `new SimpleDateFormat()` uses in an English locale.
pub(super) const DEFAULT_PATTERN: &str = "M/d/yy, h:mm a";

pub(in crate::expr) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(in crate::expr) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A point in time, taken apart.
pub(in crate::expr) struct Moment {
    year: i64,
    /// 1 to 12.
    month: i64,
    day: i64,
    /// 1 to 366.
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millis: i64,
    offset_minutes: i64,
}

impl Moment {
    pub(in crate::expr) fn new(millis: i64, offset_minutes: i32) -> Moment {
        let offset_minutes = i64::from(offset_minutes);
        let local = millis.saturating_add(offset_minutes * 60_000);
        let days = local.div_euclid(86_400_000);
        let of_day = local.rem_euclid(86_400_000);
        let (year, month, day) = civil(days);
        Moment {
            year,
            month,
            day,
            day_of_year: days - days_before_year(year) + 1,
            weekday: (days + 4).rem_euclid(7),
            hour: of_day / 3_600_000,
            minute: of_day / 60_000 % 60,
            second: of_day / 1000 % 60,
            millis: of_day % 1000,
            offset_minutes,
        }
    }

    /// Week year and week, weeks starting on Sunday and the first one holding January 1st.
    pub(in crate::expr) fn week(&self) -> (i64, i64) {
        let new_year = days_before_year(self.year + 1);
        let days_left = new_year - (days_before_year(self.year) + self.day_of_year - 1);
        let new_year_weekday = (new_year + 4).rem_euclid(7);
        if days_left <= new_year_weekday {
            return (self.year + 1, 1);
        }
        let first_weekday = (self.weekday - (self.day_of_year - 1)).rem_euclid(7);
        (self.year, (self.day_of_year - 1 + first_weekday) / 7 + 1)
    }

    pub(in crate::expr) fn week_of_month(&self) -> i64 {
        let first_weekday = (self.weekday - (self.day - 1)).rem_euclid(7);
        (self.day - 1 + first_weekday) / 7 + 1
    }

    fn offset(&self, separator: &str, with_minutes: bool) -> String {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.abs();
        let hours = format!("{sign}{:02}", minutes / 60);
        if with_minutes {
            format!("{hours}{separator}{:02}", minutes % 60)
        } else {
            hours
        }
    }
}

/// Days since 1970 to (year, month, day); the usual algorithm on years that start in March.
pub(in crate::expr) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

pub(in crate::expr) fn days_before_year(year: i64) -> i64 {
    let before = year - 1;
    365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

/// The time `millis` since 1970 by a pattern, at an offset from UTC. Fails with Java's message on
/// a pattern Java does not accept.
pub(super) fn format(millis: i64, pattern: &str, offset_minutes: i32) -> Result<String, String> {
    let moment = Moment::new(millis, offset_minutes);
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                if chars.next_if_eq(&'\'').is_some() {
                    out.push('\'');
                    continue;
                }
                loop {
                    match chars.next() {
                        None => return Err("Unterminated quote".to_owned()),
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => out.push('\''),
                        Some('\'') => break,
                        Some(literal) => out.push(literal),
                    }
                }
            }
            letter if letter.is_ascii_alphabetic() => {
                let mut count = 1;
                while chars.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                field(&moment, letter, count, &mut out)?;
            }
            literal => out.push(literal),
        }
    }
    Ok(out)
}

fn field(moment: &Moment, letter: char, count: usize, out: &mut String) -> Result<(), String> {
    let era_year = if moment.year > 0 {
        moment.year
    } else {
        1 - moment.year
    };
    let number = match letter {
        'G' => {
            out.push_str(if moment.year > 0 { "AD" } else { "BC" });
            return Ok(());
        }
        'y' if count == 2 => era_year % 100,
        'y' => era_year,
        'Y' if count == 2 => moment.week().0 % 100,
        'Y' => moment.week().0,
        'M' | 'L' if count >= 3 => {
            let index = usize::try_from(moment.month - 1).unwrap_or_default();
            name(&MONTHS, index, count >= 4, out);
            return Ok(());
        }
        'M' | 'L' => moment.month,
        'w' => moment.week().1,
        'W' => moment.week_of_month(),
        'D' => moment.day_of_year,
        'd' => moment.day,
        'F' => (moment.day - 1) / 7 + 1,
        'E' => {
            name(
                &DAYS,
                usize::try_from(moment.weekday).unwrap_or_default(),
                count >= 4,
                out,
            );
            return Ok(());
        }
        'u' => (moment.weekday + 6) % 7 + 1,
        'a' => {
            out.push_str(if moment.hour < 12 { "AM" } else { "PM" });
            return Ok(());
        }
        'H' => moment.hour,
        'k' => (moment.hour + 23) % 24 + 1,
        'K' => moment.hour % 12,
        'h' => (moment.hour + 11) % 12 + 1,
        'm' => moment.minute,
        's' => moment.second,
        'S' => moment.millis,
        'z' | 'Z' | 'X' => {
            out.push_str(&zone(moment, letter, count)?);
            return Ok(());
        }
        _ => return Err(format!("Illegal pattern character '{letter}'")),
    };
    let width = count.min(999);
    // Writing to a string cannot fail.
    let _ = write!(out, "{number:0width$}");
    Ok(())
}

fn name(names: &[&str], index: usize, full: bool, out: &mut String) {
    let name = names.get(index).copied().unwrap_or_default();
    out.push_str(if full {
        name
    } else {
        name.get(..3).unwrap_or(name)
    });
}

fn zone(moment: &Moment, letter: char, count: usize) -> Result<String, String> {
    let utc = moment.offset_minutes == 0;
    Ok(match (letter, count) {
        ('z', 4..) if utc => "Coordinated Universal Time".to_owned(),
        ('z', _) if utc => "UTC".to_owned(),
        ('z', _) => format!("GMT{}", moment.offset(":", true)),
        ('Z', _) => moment.offset("", true),
        (_, 1..=3) if utc => "Z".to_owned(),
        (_, 1) => moment.offset("", false),
        (_, 2) => moment.offset("", true),
        (_, 3) => moment.offset(":", true),
        _ => return Err("invalid ISO 8601 format: length=".to_owned() + &count.to_string()),
    })
}
