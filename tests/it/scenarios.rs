//! The scenario rows of specs 02 and 03: each is named by the `spec` of a case that tests it.

use crate::cases;
use regex::Regex;
use std::collections::BTreeMap;

/// Numbers and ranges as a `spec` writes them.
const LIST: &str = r"rows? (\d+(?:\s*(?:,|-|and)\s*\d+)*)";

/// The rows that a `spec` names: of document 02 `02 §7.3, §18.1 rows 9, 10-12; 04 §11` names 9, 10, 11 and 12.
fn rows(spec: &str, document: &str, section: &str) -> Vec<u32> {
    let list = Regex::new(&format!("{section}{LIST}")).expect("a pattern");
    let range = Regex::new(r"(\d+)(?:\s*-\s*(\d+))?").expect("a pattern");
    let mut out = Vec::new();
    let parts = spec.split(';').map(str::trim);
    for part in parts.filter(|part| part.starts_with(document)) {
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

fn endpoints(spec: &str) -> Vec<u32> {
    rows(spec, "02 ", "")
}

fn mediators(spec: &str) -> Vec<u32> {
    rows(spec, "03 ", "§29 ")
}

/// Every row from 1 to `count` is named by a case, and no other.
fn all_are_named(count: u32, rows: fn(&str) -> Vec<u32>) {
    let mut folders = Vec::new();
    cases::folders(&cases::root(), &mut folders);
    let mut named: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("case.toml")).expect("a case");
        let case: toml::Table = text.parse().expect("a table");
        let spec = case.get("spec").and_then(toml::Value::as_str);
        for row in rows(spec.unwrap_or_default()) {
            let name = folder.strip_prefix(cases::root()).unwrap_or(&folder);
            let names = named.entry(row).or_default();
            names.push(name.display().to_string());
        }
    }
    let missing: Vec<u32> = (1..=count).filter(|r| !named.contains_key(r)).collect();
    assert!(missing.is_empty(), "no case names the rows {missing:?}");
    let wrong: Vec<_> = named
        .iter()
        .filter(|(r, _)| !(1..=count).contains(*r))
        .collect();
    assert!(wrong.is_empty(), "there are no such rows: {wrong:?}");
}

/// Spec 02 §18.
#[test]
fn every_scenario_of_the_endpoints_has_a_case() {
    all_are_named(96, endpoints);
}

/// Spec 03 §29.
#[test]
fn every_scenario_of_the_mediators_has_a_case() {
    all_are_named(112, mediators);
}

#[test]
fn rows_are_read_from_what_cases_say() {
    for (spec, expected) in [
        ("02 §7.3, §18.1 rows 9, 10, 12", vec![9, 10, 12]),
        ("02 §9.1, rows 42-43; differences.md row 26", vec![42, 43]),
        (
            "02 §9.7, §18.2 row 39, §18.3 rows 53-54, 56",
            vec![39, 53, 54, 56],
        ),
        ("02 §8.2, §18.1 row 25 d", vec![25]),
        ("03 §29 row 15", vec![]),
    ] {
        assert_eq!(endpoints(spec), expected, "{spec}");
    }
    for (spec, expected) in [
        ("03 §4, §1.7, §29 rows 9, 10", vec![9, 10]),
        ("03 §12, §29 rows 20, 40-42; 01 §3", vec![20, 40, 41, 42]),
        ("03 §15.2, §29 rows 81 and 82", vec![81, 82]),
        ("01 §29 row 3", vec![]),
        ("03 §29", vec![]),
    ] {
        assert_eq!(mediators(spec), expected, "{spec}");
    }
}
