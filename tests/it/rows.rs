//! Every scenario of spec 03 §29 is named by a case.

use crate::cases::{folders, root};
use regex::Regex;
use std::collections::BTreeMap;

/// Scenarios of the table.
const ROWS: std::ops::RangeInclusive<u32> = 1..=112;

/// The rows that a `spec` names: `03 §4, §29 rows 9, 10; 01 §3`.
fn rows(spec: &str) -> Vec<u32> {
    let named = Regex::new(r"§29 rows? ((?:\d+(?:-\d+)?(?:, | and )?)+)").expect("a pattern");
    let range = Regex::new(r"(\d+)(?:-(\d+))?").expect("a pattern");
    let mut out = Vec::new();
    for part in spec.split(';').filter(|p| p.trim().starts_with("03 ")) {
        for list in named.captures_iter(part) {
            for found in range.captures_iter(&list[1]) {
                let first: u32 = found[1].parse().expect("a row");
                let last = found
                    .get(2)
                    .map_or(first, |l| l.as_str().parse().expect("a row"));
                out.extend(first..=last);
            }
        }
    }
    out
}

/// Which case names each row.
fn index() -> BTreeMap<u32, Vec<String>> {
    let spec = Regex::new(r#"(?m)^spec = "(.*)"$"#).expect("a pattern");
    let root = root();
    let mut all = Vec::new();
    folders(&root, &mut all);
    let mut out: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for folder in all {
        let text = std::fs::read_to_string(folder.join("case.toml")).expect("a case");
        let Some(found) = spec.captures(&text) else {
            continue;
        };
        let name = folder.strip_prefix(&root).unwrap_or(&folder);
        for row in rows(&found[1]) {
            out.entry(row).or_default().push(name.display().to_string());
        }
    }
    out
}

#[test]
fn every_scenario_of_the_mediators_has_a_case() {
    let index = index();
    let missing: Vec<u32> = ROWS.filter(|row| !index.contains_key(row)).collect();
    assert!(
        missing.is_empty(),
        "no case names the rows {missing:?} of spec 03 §29"
    );
    let unknown: Vec<_> = index
        .iter()
        .filter(|(row, _)| !ROWS.contains(row))
        .collect();
    assert!(
        unknown.is_empty(),
        "spec 03 §29 has no such rows: {unknown:?}"
    );
}

#[test]
fn rows_are_read_from_a_reference() {
    assert_eq!(rows("03 §4, §1.7, §29 rows 9, 10"), [9, 10]);
    assert_eq!(
        rows("03 §12, §29 rows 20, 40-42, 48; 01 §3"),
        [20, 40, 41, 42, 48]
    );
    assert_eq!(rows("03 §15.2, §29 rows 81 and 82"), [81, 82]);
    assert_eq!(rows("01 §29 row 3"), Vec::<u32>::new());
    assert_eq!(rows("03 §29"), Vec::<u32>::new());
}
