//! Values on their way into a statement and out of a row (spec 04 §9.3).

use crate::json::number::{java_double, java_float};
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::types::BigDecimal;
use sqlx::types::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sqlx::{Row, TypeInfo, ValueRef};
use std::str::FromStr;

/// The `type` of a parameter: names of `java.sql.Types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SqlType {
    /// Character types.
    Text,
    /// `NUMERIC`, `DECIMAL`.
    Decimal,
    /// `BIT`.
    Bit,
    /// `TINYINT`.
    Tiny,
    /// `SMALLINT`.
    Small,
    /// `INTEGER`.
    Integer,
    /// `BIGINT`.
    Big,
    /// `REAL`.
    Real,
    /// `FLOAT`, `DOUBLE`.
    Double,
    /// `DATE`.
    Date,
    /// `TIME`.
    Time,
    /// `TIMESTAMP`.
    Timestamp,
}

/// The names.
pub(super) const TYPES: &[(&str, SqlType)] = &[
    ("CHAR", SqlType::Text),
    ("VARCHAR", SqlType::Text),
    ("LONGVARCHAR", SqlType::Text),
    ("NUMERIC", SqlType::Decimal),
    ("DECIMAL", SqlType::Decimal),
    ("BIT", SqlType::Bit),
    ("TINYINT", SqlType::Tiny),
    ("SMALLINT", SqlType::Small),
    ("INTEGER", SqlType::Integer),
    ("BIGINT", SqlType::Big),
    ("REAL", SqlType::Real),
    ("FLOAT", SqlType::Double),
    ("DOUBLE", SqlType::Double),
    ("DATE", SqlType::Date),
    ("TIME", SqlType::Time),
    ("TIMESTAMP", SqlType::Timestamp),
];

/// A parameter's value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub(super) enum Param {
    Text(Option<String>),
    Decimal(Option<BigDecimal>),
    Boolean(Option<bool>),
    Small(Option<i16>),
    Integer(Option<i32>),
    Big(Option<i64>),
    Real(Option<f32>),
    Double(Option<f64>),
    Date(Option<NaiveDate>),
    Time(Option<NaiveTime>),
    Timestamp(Option<NaiveDateTime>),
}

impl Param {
    /// NULL of a type.
    pub(super) fn null(kind: SqlType) -> Param {
        match kind {
            SqlType::Text => Param::Text(None),
            SqlType::Decimal => Param::Decimal(None),
            SqlType::Bit => Param::Boolean(None),
            SqlType::Tiny | SqlType::Small => Param::Small(None),
            SqlType::Integer => Param::Integer(None),
            SqlType::Big => Param::Big(None),
            SqlType::Real => Param::Real(None),
            SqlType::Double => Param::Double(None),
            SqlType::Date => Param::Date(None),
            SqlType::Time => Param::Time(None),
            SqlType::Timestamp => Param::Timestamp(None),
        }
    }

    /// Reads a text as a type; no text, or `null`, is NULL unless the type is text.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn read(kind: SqlType, text: &str) -> Result<Param, String> {
        if kind == SqlType::Text {
            return Ok(Param::Text(Some(text.to_owned())));
        }
        let text = text.trim();
        if text.is_empty() || text == "null" {
            return Ok(Param::null(kind));
        }
        fn parsed<T: FromStr>(text: &str, kind: SqlType) -> Result<Option<T>, String> {
            text.parse().map(Some).map_err(|_| wrong(text, kind))
        }
        Ok(match kind {
            SqlType::Text => Param::Text(Some(text.to_owned())),
            SqlType::Decimal => Param::Decimal(parsed(text, kind)?),
            SqlType::Bit => Param::Boolean(Some(text.eq_ignore_ascii_case("true"))),
            SqlType::Tiny => Param::Small(parsed::<i8>(text, kind)?.map(i16::from)),
            SqlType::Small => Param::Small(parsed(text, kind)?),
            SqlType::Integer => Param::Integer(parsed(text, kind)?),
            SqlType::Big => Param::Big(parsed(text, kind)?),
            SqlType::Real => Param::Real(parsed(text, kind)?),
            SqlType::Double => Param::Double(parsed(text, kind)?),
            SqlType::Date => {
                let date = NaiveDate::parse_from_str(text, "%Y-%m-%d");
                Param::Date(Some(date.map_err(|_| wrong(text, kind))?))
            }
            SqlType::Time => {
                let time = NaiveTime::parse_from_str(text, "%H:%M:%S");
                Param::Time(Some(time.map_err(|_| wrong(text, kind))?))
            }
            SqlType::Timestamp => {
                let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
                    .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
                Param::Timestamp(Some(time.map_err(|_| wrong(text, kind))?))
            }
        })
    }
}

fn wrong(text: &str, kind: SqlType) -> String {
    let name = TYPES.iter().find(|(_, k)| *k == kind).map_or("", |t| t.0);
    format!("\"{text}\" is not a value of the JDBC type {name}")
}

/// A time as `java.sql.Timestamp` prints it: at least one digit of the second's fraction.
fn timestamp(time: NaiveDateTime) -> String {
    let whole = time.format("%Y-%m-%d %H:%M:%S");
    let fraction = time.format("%9f").to_string();
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{whole}.{fraction}")
}

fn time(time: NaiveTime) -> String {
    time.format("%H:%M:%S").to_string()
}

fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// The text of a PostgreSQL number in its binary form: groups of four decimal digits, of which the
/// first stands for so many powers of 10000, and how many digits are shown behind the point.
fn numeric(raw: &[u8]) -> Option<String> {
    let mut words = raw
        .chunks_exact(2)
        .map(|pair| pair.try_into().map(u16::from_be_bytes));
    let mut word = || words.next()?.ok();
    let _groups = word()?;
    let weight = i32::from(word()?.cast_signed());
    let sign = word()?;
    let shown = usize::from(word()?);
    match sign {
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let groups: Vec<u16> = std::iter::from_fn(word).collect();
    let group = |at: i32| {
        let group = usize::try_from(at).ok().and_then(|at| groups.get(at));
        group.copied().unwrap_or(0)
    };
    let mut whole = String::new();
    for at in 0..=weight {
        whole.push_str(&format!("{:04}", group(at)));
    }
    let whole = whole.trim_start_matches('0');
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if shown > 0 {
        let mut fraction = String::new();
        let mut at = weight + 1;
        while fraction.len() < shown {
            fraction.push_str(&format!("{:04}", group(at)));
            at += 1;
        }
        fraction.truncate(shown);
        out.push('.');
        out.push_str(&fraction);
    }
    Some(out)
}

type Read = Result<Option<String>, sqlx::Error>;

/// A column of a PostgreSQL row.
pub(super) fn postgres(row: &PgRow, at: usize) -> Read {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(None);
    }
    let kind = raw.type_info().name().to_ascii_uppercase();
    let text = match kind.as_str() {
        "BOOL" => row.try_get::<bool, _>(at)?.to_string(),
        "INT2" => row.try_get::<i16, _>(at)?.to_string(),
        "INT4" => row.try_get::<i32, _>(at)?.to_string(),
        "INT8" => row.try_get::<i64, _>(at)?.to_string(),
        "FLOAT4" => java_float(row.try_get(at)?),
        "FLOAT8" => java_double(row.try_get(at)?),
        "NUMERIC" => numeric(raw.as_bytes().map_err(sqlx::Error::Decode)?)
            .ok_or_else(|| sqlx::Error::Decode("a malformed number".into()))?,
        "DATE" => row.try_get::<NaiveDate, _>(at)?.to_string(),
        "TIME" => time(row.try_get(at)?),
        "TIMESTAMP" => timestamp(row.try_get(at)?),
        "TIMESTAMPTZ" => timestamp(row.try_get::<DateTime<Utc>, _>(at)?.naive_utc()),
        _ => {
            let raw = raw.as_bytes().map_err(sqlx::Error::Decode)?;
            match kind.as_str() {
                // One byte says which version of the binary form it is.
                "JSONB" => bytes(raw.get(1..).unwrap_or_default()),
                "BYTEA" => raw.iter().map(|b| format!("{b:02x}")).collect(),
                "UUID" if raw.len() == 16 => {
                    let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
                    let part = |from, to| hex.get(from..to).unwrap_or_default();
                    format!(
                        "{}-{}-{}-{}-{}",
                        part(0, 8),
                        part(8, 12),
                        part(12, 16),
                        part(16, 20),
                        part(20, 32)
                    )
                }
                _ => bytes(raw),
            }
        }
    };
    Ok(Some(text))
}

/// A column of a MySQL or MariaDB row.
pub(super) fn mysql(row: &MySqlRow, at: usize) -> Read {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(None);
    }
    let kind = raw.type_info().name().to_ascii_uppercase();
    let text = match kind.as_str() {
        "BOOLEAN" => (row.try_get_unchecked::<i8, _>(at)? != 0).to_string(),
        "DECIMAL" => row
            .try_get_unchecked::<BigDecimal, _>(at)?
            .to_plain_string(),
        "FLOAT" => java_float(row.try_get_unchecked(at)?),
        "DOUBLE" => java_double(row.try_get_unchecked(at)?),
        "DATE" => row.try_get_unchecked::<NaiveDate, _>(at)?.to_string(),
        "TIME" => time(row.try_get_unchecked(at)?),
        "DATETIME" | "TIMESTAMP" => timestamp(row.try_get_unchecked(at)?),
        "BIT" | "YEAR" => row.try_get_unchecked::<u64, _>(at)?.to_string(),
        kind if kind.ends_with("INT UNSIGNED") => row.try_get_unchecked::<u64, _>(at)?.to_string(),
        kind if kind.ends_with("INT") => row.try_get_unchecked::<i64, _>(at)?.to_string(),
        _ => bytes(row.try_get_unchecked::<&[u8], _>(at)?),
    };
    Ok(Some(text))
}

/// A column of an SQLite row.
pub(super) fn sqlite(row: &SqliteRow, at: usize) -> Read {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(None);
    }
    let text = match raw.type_info().name() {
        "REAL" => java_double(row.try_get_unchecked(at)?),
        "BLOB" => bytes(row.try_get_unchecked::<&[u8], _>(at)?),
        _ => row.try_get_unchecked::<String, _>(at)?,
    };
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_by_type() {
        let date = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        let noon = date.and_hms_milli_opt(12, 0, 1, 500).unwrap();
        for (kind, text, expected) in [
            (SqlType::Text, "", Param::Text(Some(String::new()))),
            (SqlType::Text, "null", Param::Text(Some("null".into()))),
            (SqlType::Integer, "", Param::Integer(None)),
            (SqlType::Integer, "null", Param::Integer(None)),
            (SqlType::Integer, " 7 ", Param::Integer(Some(7))),
            (SqlType::Tiny, "-128", Param::Small(Some(-128))),
            (SqlType::Bit, "TRUE", Param::Boolean(Some(true))),
            (SqlType::Bit, "1", Param::Boolean(Some(false))),
            (SqlType::Double, "1e3", Param::Double(Some(1000.0))),
            (SqlType::Date, "2024-02-29", Param::Date(Some(date))),
            (
                SqlType::Timestamp,
                "2024-02-29 12:00:01.5",
                Param::Timestamp(Some(noon)),
            ),
        ] {
            assert_eq!(Param::read(kind, text), Ok(expected), "{kind:?} {text}");
        }
        for (kind, text, expected) in [
            (
                SqlType::Integer,
                "x",
                "\"x\" is not a value of the JDBC type INTEGER",
            ),
            (
                SqlType::Tiny,
                "128",
                "\"128\" is not a value of the JDBC type TINYINT",
            ),
            (
                SqlType::Date,
                "29.2.2024",
                "\"29.2.2024\" is not a value of the JDBC type DATE",
            ),
        ] {
            assert_eq!(Param::read(kind, text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn postgres_numbers_keep_their_scale() {
        let number = |words: &[u16]| {
            let raw: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
            numeric(&raw)
        };
        for (words, expected) in [
            (&[2, 0, 0, 2, 12, 5000][..], "12.50"),
            (&[2, 1, 0x4000, 0, 123, 4567], "-1234567"),
            (&[1, 1, 0, 0, 1], "10000"),
            (&[1, 0xffff, 0, 4, 5], "0.0005"),
            (&[1, 0xfffe, 0, 9, 5], "0.000000050"),
            (&[0, 0, 0, 3], "0.000"),
            (&[0, 0, 0xc000, 0], "NaN"),
        ] {
            assert_eq!(number(words).as_deref(), Some(expected), "{words:?}");
        }
        assert_eq!(number(&[1, 0]), None);
    }

    #[test]
    fn values_are_printed_as_java_does() {
        let date = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
        assert_eq!(
            timestamp(date.and_hms_opt(1, 2, 3).unwrap()),
            "2024-02-29 01:02:03.0"
        );
        assert_eq!(
            timestamp(date.and_hms_micro_opt(1, 2, 3, 40_500).unwrap()),
            "2024-02-29 01:02:03.0405"
        );
        assert_eq!(java_float(0.1), "0.1");
        assert_eq!(bytes(&[0xff, 0]), "ff00");
    }
}
