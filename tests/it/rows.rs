//! The scenario rows of spec 02 §18: each is named by the `spec` of a case that tests it.

use crate::cases;
use regex::Regex;
use std::collections::BTreeMap;

/// How many rows the tables of spec 02 §18 have.
const ROWS: u32 = 96;

/// The rows that a `spec` names: `02 §7.3, §18.1 rows 9, 10-12; 04 §11` names 9, 10, 11 and 12.
fn rows(spec: &str) -> Vec<u32> {
    let list = Regex::new(r"rows? (\d+(?:\s*(?:,|-|and)\s*\d+)*)").expect("a pattern");
    let range = Regex::new(r"(\d+)(?:\s*-\s*(\d+))?").expect("a pattern");
    let mut out = Vec::new();
    let parts = spec.split(';').map(str::trim);
    for part in parts.filter(|part| part.starts_with("02 ")) {
        for found in list.captures_iter(part) {
            for range in range.captures_iter(&found[1]) {
                let number = |at: usize| range.get(at).and_then(|m| m.as_str().parse().ok());
                let first: u32 = number(1).unwrap_or(0);
                out.extend(first..=number(2).unwrap_or(first));
            }
        }
    }
    out
}

#[test]
fn every_row_is_named_by_a_case() {
    let mut folders = Vec::new();
    cases::folders(&cases::root(), &mut folders);
    let mut named: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("case.toml")).expect("a case");
        let case: toml::Table = text.parse().expect("a table");
        let spec = case.get("spec").and_then(toml::Value::as_str);
        for row in rows(spec.unwrap_or_default()) {
            let name = folder.strip_prefix(cases::root()).unwrap_or(&folder);
            named
                .entry(row)
                .or_default()
                .push(name.display().to_string());
        }
    }
    let missing: Vec<u32> = (1..=ROWS).filter(|row| !named.contains_key(row)).collect();
    assert!(missing.is_empty(), "no case names the rows {missing:?}");
    let wrong: Vec<_> = named.range(ROWS + 1..).collect();
    assert!(wrong.is_empty(), "spec 02 §18 has no such rows: {wrong:?}");
}

#[test]
fn rows_are_read_from_what_cases_say() {
    for (spec, expected) in [
        ("02 §7.3, §18.1 rows 9, 10, 12", vec![9, 10, 12]),
        ("02 §9.1, rows 42-43; differences.md row 26", vec![42, 43]),
        ("02 §10, rows 78 and 82", vec![78, 82]),
        (
            "02 §9.7, §18.2 row 39, §18.3 rows 53-54, 56",
            vec![39, 53, 54, 56],
        ),
        ("02 §8.2, §18.1 row 25 d", vec![25]),
        ("03 §29 row 15", vec![]),
        ("02 §9.3", vec![]),
    ] {
        assert_eq!(rows(spec), expected, "{spec}");
    }
}
