//! Rules about the source text that no compiler checks. A finding names file, line and rule.

use crate::cases;
use regex::Regex;
use std::path::{Path, PathBuf};

/// The folders of `src` from the top down: each imports only itself and those after it.
const LAYERS: &[&str] = &[
    "cli",
    "server",
    "admin",
    "deploy",
    "entry",
    "engine",
    "plan",
    "artifact",
    "mediator",
    "endpoint",
    "syntax",
    "transport",
    "expr",
    "message",
    "json",
    "xml",
    "settings",
    "metrics",
    "clock",
    "diag",
];

/// Imports against the direction that are there on purpose, each with its reason.
const UPWARD: &[(&str, &str)] = &[
    // The pages show the deployer's last word, a plain value that the server hands over.
    ("admin", "server"),
];

/// Longest file, in lines.
const MOST_LINES: usize = 1000;

/// A file to look at.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The name in [`LAYERS`]; `None` for `lib.rs` and `main.rs`, which stand above all.
    fn layer(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let name = rest.split('/').next()?;
        let name = name.strip_suffix(".rs").unwrap_or(name);
        (name != "lib" && name != "main").then_some(name)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines of code with their numbers: without comments and without what only tests see.
    fn code(&self) -> Vec<(usize, &str)> {
        if self.is_test() {
            return Vec::new();
        }
        let mut out = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let trimmed = line.trim_start();
            if trimmed.starts_with("//") {
                continue;
            }
            if trimmed.starts_with("#[cfg(test)]") {
                skip_item(&mut lines);
                continue;
            }
            out.push((number + 1, line));
        }
        out
    }
}

/// Skips the item after an attribute: to its semicolon, or to the brace that closes it. Formatted
/// code closes an item at the indentation where it began.
fn skip_item<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut indent = None;
    for (_, line) in lines {
        let trimmed = line.trim_start();
        let here = line.len() - trimmed.len();
        match indent {
            None if trimmed.starts_with('#') || trimmed.starts_with("//") => {}
            None if trimmed.ends_with(';') || trimmed.ends_with('}') => return,
            None => indent = Some(here),
            Some(start)
                if here == start && (trimmed.starts_with('}') || trimmed.ends_with(';')) =>
            {
                return;
            }
            Some(_) => {}
        }
    }
}

fn finding(file: &File, line: usize, rule: &str) -> String {
    format!("{}:{line}: {rule}", file.path)
}

/// A folder imports only itself and folders below it.
fn layers(file: &File) -> Vec<String> {
    let Some(own) = file.layer() else {
        return Vec::new();
    };
    let place = |name: &str| LAYERS.iter().position(|l| *l == name);
    let Some(here) = place(own) else {
        return vec![finding(
            file,
            1,
            &format!("the folder {own} is not in the list of layers"),
        )];
    };
    let code = file.code();
    let mut findings = Vec::new();
    for (number, name) in imports(&code) {
        let Some(there) = place(&name) else {
            // A macro or a re-export of the crate's root has no layer.
            continue;
        };
        if there < here && !UPWARD.contains(&(own, name.as_str())) {
            findings.push(finding(
                file,
                number,
                &format!("{own} may not import {name}, which is above it"),
            ));
        }
    }
    findings
}

/// The first segments after `crate::`, also in `crate::{a, b::{c, d}}` over several lines.
fn imports(code: &[(usize, &str)]) -> Vec<(usize, String)> {
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in code {
        starts.push((text.len(), *number));
        text.push_str(line);
        text.push('\n');
    }
    let line_of = |at: usize| {
        let index = starts.partition_point(|(start, _)| *start <= at).max(1) - 1;
        starts.get(index).map_or(0, |s| s.1)
    };
    let mut out = Vec::new();
    for (at, prefix) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let mut depth = 0;
        let mut word = String::new();
        let mut first = true;
        for (offset, c) in rest.char_indices() {
            match c {
                c if c.is_alphanumeric() || c == '_' => {
                    if first && depth <= 1 {
                        word.push(c);
                    }
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() {
                out.push((
                    line_of(at + prefix.len() + offset - 1),
                    std::mem::take(&mut word),
                ));
                first = false;
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => first = true,
                _ => {}
            }
            if depth <= 0 {
                break;
            }
        }
    }
    out
}

/// Nothing unfinished, and nothing that ends the process because of a message.
fn no_panics(file: &File) -> Vec<String> {
    const WORDS: &[&str] = &[
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        ".unwrap()",
        ".expect(\"",
        "panic!(",
        "unreachable!(",
    ];
    let mut findings = Vec::new();
    for (number, line) in file.code() {
        for word in WORDS {
            // A parser's own `expect("]")?` gives an error, it does not panic.
            let panics = line.contains(word) && !line.contains("\")?");
            if panics {
                findings.push(finding(file, number, &format!("no {word} outside tests")));
            }
        }
    }
    findings
}

/// Short files.
fn short(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= MOST_LINES || file.is_test() && lines <= MOST_LINES * 3 / 2 {
        return Vec::new();
    }
    vec![finding(
        file,
        MOST_LINES + 1,
        &format!("a file has at most {MOST_LINES} lines; this has {lines}"),
    )]
}

/// Paths that exist only on the machine of a developer.
fn no_machine_paths(file: &File) -> Vec<String> {
    const PATHS: &[&str] = &[
        "\"/work/",
        "\"/home/",
        "\"/tmp/",
        "file:///work/",
        "file:///home/",
        "(/work/",
    ];
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for path in PATHS {
            if line.contains(path) {
                let path = path.trim_start_matches(['"', '(']);
                findings.push(finding(
                    file,
                    number + 1,
                    &format!("no paths of one machine: {path}"),
                ));
            }
        }
    }
    findings
}

/// Every registered diagnostic code is raised somewhere.
fn codes_are_used(registry: &File, others: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let Ok(entry) = Regex::new(r"^\s+([A-Z_]+) = \d+,") else {
        return findings;
    };
    for (number, line) in registry.text.lines().enumerate() {
        let Some(name) = entry.captures(line).and_then(|c| c.get(1)) else {
            continue;
        };
        let Ok(word) = Regex::new(&format!(r"\b{}\b", name.as_str())) else {
            continue;
        };
        let used = others
            .iter()
            .any(|f| f.code().iter().any(|(_, line)| word.is_match(line)));
        if !used {
            findings.push(finding(
                registry,
                number + 1,
                &format!("the code {} is never raised", name.as_str()),
            ));
        }
    }
    findings
}

/// Every row of the list of differences has a test that exists: a folder of cases, a test function, a
/// module with tests, or a file.
fn differences_have_tests(list: &File, sources: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    let rows = list.text.lines().enumerate();
    for (number, row) in rows.filter(|(_, r)| r.starts_with("| ") && !r.starts_with("| # ")) {
        let column = row.trim_end().trim_end_matches('|').rsplit('|').next();
        let tests: Vec<&str> = column
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if tests.is_empty() {
            findings.push(finding(list, number + 1, "a difference needs a test"));
        }
        for test in tests {
            let module = test.trim_end_matches("::tests").replace("::", "/");
            let function = format!("fn {}(", test.rsplit("::").next().unwrap_or_default());
            let exists = |path: String| root().join(path).exists();
            let known = exists(format!("tests/cases/{}", test.trim_end_matches("/*")))
                || exists(format!("tests/{test}"))
                || exists(format!("src/{test}"))
                || exists(format!("src/{module}.rs"))
                || exists(format!("src/{module}/mod.rs"))
                || sources.iter().any(|f| f.text.contains(&function));
            if !known {
                findings.push(finding(
                    list,
                    number + 1,
                    &format!("there is no test {test}"),
                ));
            }
        }
    }
    findings
}

/// Every case says what it is about.
fn about(file: &File) -> Vec<String> {
    let about = toml::from_str::<toml::Table>(&file.text)
        .ok()
        .and_then(|t| {
            t.get("about")
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
        });
    match about {
        Some(about) if !about.trim().is_empty() => Vec::new(),
        _ => vec![finding(file, 1, "a case says in `about` what it shows")],
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> File {
    File {
        path: path
            .strip_prefix(root())
            .unwrap_or(path)
            .display()
            .to_string(),
        text: std::fs::read_to_string(path).unwrap_or_default(),
    }
}

/// The files of `src`.
fn sources() -> Vec<File> {
    fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                collect(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    collect(&root().join("src"), &mut paths);
    paths.sort();
    paths.iter().map(|p| read(p)).collect()
}

fn assert_none(findings: Vec<String>) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

fn every(rule: fn(&File) -> Vec<String>) {
    let files = sources();
    assert!(files.len() > 50, "the sources were not found");
    assert_none(files.iter().flat_map(rule).collect());
}

#[test]
fn folders_import_only_what_is_below() {
    every(layers);
}

#[test]
fn nothing_panics_on_purpose() {
    every(no_panics);
}

#[test]
fn files_are_short() {
    every(short);
}

#[test]
fn no_paths_of_one_machine() {
    every(no_machine_paths);
}

#[test]
fn every_code_is_raised() {
    let (registry, others): (Vec<File>, Vec<File>) = sources()
        .into_iter()
        .partition(|f| f.path == "src/diag/codes.rs");
    assert_eq!(registry.len(), 1);
    assert_none(
        registry
            .iter()
            .flat_map(|r| codes_are_used(r, &others))
            .collect(),
    );
}

#[test]
fn every_case_says_what_it_shows() {
    let mut folders = Vec::new();
    cases::folders(&cases::root(), &mut folders);
    assert_none(
        folders
            .iter()
            .flat_map(|f| about(&read(&f.join("case.toml"))))
            .collect(),
    );
}

#[test]
fn every_difference_has_its_tests() {
    let mut files = sources();
    let tests = std::fs::read_dir(root().join("tests/it"))
        .into_iter()
        .flatten();
    files.extend(tests.flatten().map(|e| read(&e.path())));
    let list = read(&root().join("docs/differences.md"));
    assert_none(differences_have_tests(&list, &files));
}

#[test]
fn upward_imports_are_still_needed() {
    let files = sources();
    for (from, to) in UPWARD {
        let used = files
            .iter()
            .filter(|f| f.layer() == Some(from))
            .any(|f| imports(&f.code()).iter().any(|(_, name)| name == to));
        assert!(
            used,
            "{from} does not import {to} any more: remove the exception"
        );
    }
}

/// Each rule can fail.
mod bad {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn differences_without_tests() {
        let list = "| # | Test |\n|---|---|\n| 1 | `it_is_so` |\n| 2 | `session/sticks` |\n| 3 | `nobody_tests_it` |\n| 4 | |\n";
        let source = file("src/a.rs", "    fn it_is_so() {}");
        assert_eq!(
            differences_have_tests(&file("list.md", list), &[source]),
            [
                "list.md:5: there is no test nobody_tests_it",
                "list.md:6: a difference needs a test"
            ]
        );
    }

    #[test]
    fn imports_from_above() {
        for text in [
            "use crate::engine::Engine;",
            "use crate::{diag, engine::{Engine, Run}};",
            "use crate::{\n    diag,\n    xml::{self, engine},\n    engine,\n};",
            "fn f() { crate::engine::run() }",
        ] {
            let found = layers(&file("src/xml/parse.rs", text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
        }
        for text in [
            "use crate::diag::{engine, Place};",
            "use crate::xml::engine;\n// use crate::engine;",
            "#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}\nuse crate::diag;",
        ] {
            assert_none(layers(&file("src/xml/parse.rs", text)));
        }
        assert_eq!(
            layers(&file("src/xml/parse.rs", "\n\nuse crate::engine;")),
            ["src/xml/parse.rs:3: xml may not import engine, which is above it"]
        );
        assert_eq!(layers(&file("src/new/mod.rs", "")).len(), 1);
    }

    #[test]
    fn panics() {
        for text in [
            "todo!()",
            "dbg!(x)",
            "x.unwrap()",
            "x.expect(\"y\")",
            "panic!(\"y\")",
        ] {
            assert_eq!(no_panics(&file("src/a.rs", text)).len(), 1, "{text}");
            let test = format!(
                "#[cfg(test)]\nmod tests {{\n    {text}\n}}\n#[cfg(test)]\nmod more;\nfn good() {{}}"
            );
            assert_none(no_panics(&file("src/a.rs", &test)));
            assert_none(no_panics(&file("src/a/tests.rs", text)));
        }
        assert_none(no_panics(&file("src/a.rs", "self.expect(\"]\")?;")));
        let after = "#[cfg(test)]\nfn helper() {\n    x\n}\nfn f() { y.unwrap() }";
        assert_eq!(no_panics(&file("src/a.rs", after)).len(), 1);
    }

    #[test]
    fn long_files() {
        assert_eq!(
            short(&file("src/a.rs", &"x\n".repeat(MOST_LINES + 1))).len(),
            1
        );
        assert_none(short(&file("src/a.rs", &"x\n".repeat(MOST_LINES))));
    }

    #[test]
    fn machine_paths() {
        assert_eq!(
            no_machine_paths(&file("src/a.rs", "\n  open(\"/work/x\")")),
            ["src/a.rs:2: no paths of one machine: /work/"]
        );
        assert_none(no_machine_paths(&file("src/a.rs", "get(\"/homepage\")")));
    }

    #[test]
    fn unused_codes() {
        let registry = file(
            "src/diag/codes.rs",
            "codes! {\n    OLD = 1, \"x\";\n    NEW = 2, \"y\";\n}",
        );
        let others = [file("src/a.rs", "codes::NEW\n// codes::OLD")];
        assert_eq!(
            codes_are_used(&registry, &others),
            ["src/diag/codes.rs:2: the code OLD is never raised"]
        );
    }

    #[test]
    fn cases_about_nothing() {
        assert_eq!(about(&file("c", "about = ' '")).len(), 1);
        assert_eq!(about(&file("c", "x = 1")).len(), 1);
        assert_none(about(&file("c", "about = 'x'")));
    }
}
