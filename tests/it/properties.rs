//! The well-known properties: each that the reference page says to work has a case that shows it.

use crate::cases;
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Scope, name and status of each row of the page's tables, and the names that `get-property` answers itself.
fn documented() -> Vec<(&'static str, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = text(&root.join("docs/reference/properties.md"));
    let code = Regex::new("`([^`]+)`").expect("a pattern");
    let names = |part: &str| -> Vec<String> {
        let found = code.captures_iter(part);
        found.map(|name| name[1].to_owned()).collect()
    };
    let mut out = Vec::new();
    let mut scope = "";
    let mut special = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            scope = match title {
                "Default scope" => "default",
                "Scope axis2" => "axis2",
                _ => "",
            };
        }
        special =
            line.starts_with("`get-property` answers these itself") || special && !line.is_empty();
        if special {
            let all = names(line)
                .into_iter()
                .filter(|name| name != "get-property");
            out.extend(all.map(|name| ("special", name, "works".to_owned())));
        } else if !scope.is_empty() && line.starts_with("| `") {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [first, status, _] = cells[..] else {
                panic!("{line}");
            };
            out.extend(
                names(first)
                    .into_iter()
                    .map(|name| (scope, name, status.to_owned())),
            );
        }
    }
    out
}

/// Everything that a case consists of.
fn case(name: &str) -> String {
    let mut folders = vec![cases::root().join(name)];
    assert!(
        folders[0].join("case.toml").is_file(),
        "there is no case {name}"
    );
    let mut out = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => out.push_str(&String::from_utf8_lossy(
                    &std::fs::read(path).expect("a file"),
                )),
            }
        }
    }
    out
}

#[test]
fn every_property_that_works_has_a_case() {
    let rows = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows/properties.tsv"));
    let mut shown: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for line in rows.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [scope, name, by] = cells[..] else {
            panic!("{line}");
        };
        assert!(
            case(by).contains(name.trim_end_matches('*')),
            "{by} does not mention {name}"
        );
        assert!(
            shown.insert((scope, name), by).is_none(),
            "{scope} {name} twice"
        );
    }
    let documented = documented();
    assert!(documented.len() > 100, "{documented:?}");
    for (scope, name, status) in &documented {
        let known = ["works", "refused", "no effect", "not yet"];
        assert!(known.contains(&status.as_str()), "{scope} {name}: {status}");
        let case = shown.remove(&(*scope, name.as_str()));
        let needed = status == "works" || status == "refused";
        assert!(case.is_some() || !needed, "no case shows {scope} {name}");
    }
    assert!(shown.is_empty(), "not on the page: {shown:?}");
}
