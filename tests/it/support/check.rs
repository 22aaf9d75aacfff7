//! Compares what came with what was expected. Every finding is one line or paragraph; all of a
//! step's findings are shown, not only the first.

use super::backend::Seen;
use super::client::Answer;
use super::format::{Expect, Received, Values};
use super::wire::{Headers, show};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::Path;

/// Whether a text is as expected: `/…/` is a regular expression, everything else is exact.
pub(crate) fn matches(expected: &str, actual: &str) -> Result<bool, String> {
    match expected.strip_prefix('/').and_then(|e| e.strip_suffix('/')) {
        Some(pattern) if !pattern.is_empty() => Regex::new(&format!("(?s){pattern}"))
            .map(|r| r.is_match(actual))
            .map_err(|e| format!("{expected} is not a regular expression: {e}")),
        _ => Ok(expected == actual),
    }
}

/// Findings of a comparison.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<String>);

impl Findings {
    /// Adds one.
    pub(crate) fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    /// Compares one text.
    pub(crate) fn text(&mut self, what: &str, expected: &str, actual: &str) {
        match matches(expected, actual) {
            Ok(true) => {}
            Ok(false) => self.add(format!(
                "{what} should be\n    {expected:?}\n  but is\n    {actual:?}"
            )),
            Err(problem) => self.add(problem),
        }
    }

    fn headers(
        &mut self,
        expected: &BTreeMap<String, Values>,
        absent: &[String],
        actual: &Headers,
    ) {
        for (name, values) in expected {
            let all: Vec<&str> = actual
                .iter()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.as_str())
                .collect();
            match values {
                Values::One(value) => match all.as_slice() {
                    [one] => self.text(&format!("header {name}"), value, one),
                    [] => self.add(format!("header {name} should be {value:?} but is absent")),
                    many => self.add(format!(
                        "header {name} should be {value:?} but is there {} times: {many:?}",
                        many.len()
                    )),
                },
                Values::Many(values) => {
                    let same = values.len() == all.len()
                        && values
                            .iter()
                            .zip(&all)
                            .all(|(e, a)| matches(e, a) == Ok(true));
                    if !same {
                        self.add(format!("header {name} should be {values:?} but is {all:?}"));
                    }
                }
            }
        }
        for name in absent {
            if let Some((_, value)) = actual.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
                self.add(format!("header {name} should be absent but is {value:?}"));
            }
        }
    }

    fn body(&mut self, expected: &Body<'_>, actual: &[u8]) {
        let text = String::from_utf8_lossy(actual);
        if let Some(body) = expected.body {
            self.text("the body", body, &text);
        }
        if let Some(file) = expected.file {
            let path = expected.folder.join(file);
            match std::fs::read(&path) {
                Ok(bytes) if bytes == actual => {}
                Ok(bytes) => self.add(format!(
                    "the body should be that of {}:\n    {:?}\n  but is\n    {:?}",
                    file.display(),
                    show(&bytes),
                    show(actual)
                )),
                Err(e) => self.add(format!("{}: {e}", path.display())),
            }
        }
        for part in expected.contains {
            if !text.contains(part.as_str()) {
                self.add(format!("the body should contain {part:?}"));
            }
        }
        for part in expected.lacks {
            if text.contains(part.as_str()) {
                self.add(format!("the body should not contain {part:?}"));
            }
        }
        if let Some(length) = expected.length
            && length != actual.len()
        {
            self.add(format!(
                "the body should have {length} bytes but has {}",
                actual.len()
            ));
        }
        if let Some(xml) = expected.xml {
            match (canonical(xml), canonical(&text)) {
                (Ok(e), Ok(a)) if e == a => {}
                (Ok(e), Ok(a)) => self.add(format!("the XML should be\n{e}\n  but is\n{a}")),
                (Err(e), _) => self.add(format!("the expected XML is not well-formed: {e}")),
                (_, Err(e)) => self.add(format!("the body is not well-formed XML: {e}")),
            }
        }
        if let Some(json) = expected.json {
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text);
            match (parse(json), parse(&text)) {
                (Ok(e), Ok(a)) if e == a => {}
                (Ok(e), Ok(a)) => {
                    self.add(format!("the JSON should be\n    {e}\n  but is\n    {a}"))
                }
                (Err(e), _) => self.add(format!("the expected JSON cannot be parsed: {e}")),
                (_, Err(e)) => self.add(format!("the body is not JSON: {e}")),
            }
        }
    }
}

/// The body part of [`Expect`] and [`Received`].
struct Body<'a> {
    body: Option<&'a str>,
    file: Option<&'a Path>,
    contains: &'a [String],
    lacks: &'a [String],
    length: Option<usize>,
    xml: Option<&'a str>,
    json: Option<&'a str>,
    folder: &'a Path,
}

/// Compares an answer with what is expected of each answer of the step.
pub(crate) fn answer(expect: &Expect, answer: &Answer, folder: &Path) -> Vec<String> {
    let mut findings = Findings::default();
    for part in &expect.raw_contains {
        if !String::from_utf8_lossy(&answer.raw).contains(part.as_str()) {
            findings.add(format!("what came should contain {part:?}"));
        }
    }
    if let Some(within) = expect.within
        && answer.took > within.0
    {
        findings.add(format!(
            "the answer took {} ms, longer than {} ms",
            answer.took.as_millis(),
            within.0.as_millis()
        ));
    }
    if let Some(at_least) = expect.at_least
        && answer.took < at_least.0
    {
        findings.add(format!(
            "the answer took {} ms, less than {} ms",
            answer.took.as_millis(),
            at_least.0.as_millis()
        ));
    }
    if expect.closed {
        if answer.status.is_some() || answer.timed_out {
            findings.add("the connection should be closed without an answer");
        }
        return findings.0;
    }
    let Some(status) = answer.status else {
        findings.add("an answer should come");
        return findings.0;
    };
    if let Some(expected) = expect.status
        && expected != status
    {
        findings.add(format!("the status should be {expected} but is {status}"));
    }
    if let Some(reason) = &expect.reason {
        findings.text("the reason", reason, &answer.reason);
    }
    if expect.truncated == answer.complete {
        let should = if expect.truncated {
            "incomplete"
        } else {
            "complete"
        };
        findings.add(format!("the body should be {should}"));
    }
    findings.headers(&expect.headers, &expect.headers_absent, &answer.headers);
    let body = Body {
        body: expect.body.as_deref(),
        file: expect.body_file.as_deref(),
        contains: &expect.body_contains,
        lacks: &expect.body_lacks,
        length: expect.body_length,
        xml: expect.xml.as_deref(),
        json: expect.json.as_deref(),
        folder,
    };
    findings.body(&body, &answer.body);
    findings.0
}

/// Compares the bodies of repetitions.
pub(crate) fn bodies(expect: &Expect, answers: &[Answer]) -> Vec<String> {
    let mut findings = Findings::default();
    let actual: Vec<String> = answers
        .iter()
        .map(|a| String::from_utf8_lossy(&a.body).into_owned())
        .collect();
    if let Some(expected) = &expect.bodies {
        let same = expected.len() == actual.len()
            && expected
                .iter()
                .zip(&actual)
                .all(|(e, a)| matches(e, a) == Ok(true));
        if !same {
            findings.add(format!(
                "the bodies should be\n    {expected:?}\n  but are\n    {actual:?}"
            ));
        }
    }
    if let Some(expected) = &expect.bodies_any_order {
        let (mut expected, mut actual) = (expected.clone(), actual);
        expected.sort();
        actual.sort();
        if expected != actual {
            findings.add(format!(
                "the bodies, sorted, should be\n    {expected:?}\n  but are\n    {actual:?}"
            ));
        }
    }
    findings.0
}

/// Compares a request that a back-end got.
pub(crate) fn received(expect: &Received, all: &[Seen], folder: &Path) -> Vec<String> {
    let mut findings = Findings::default();
    let at = if expect.index < 0 {
        all.len().checked_add_signed(expect.index)
    } else {
        usize::try_from(expect.index).ok()
    };
    let Some(seen) = at.and_then(|at| all.get(at)) else {
        findings.add(format!(
            "back-end {} should have received request {} but received {}",
            expect.backend,
            expect.index,
            all.len()
        ));
        return findings.0;
    };
    if let Some(method) = &expect.method {
        findings.text("the method", method, &seen.method);
    }
    if let Some(path) = &expect.path {
        // A path looks like a regular expression: it is one only when it says so.
        match path.strip_prefix("regex:") {
            Some(pattern) => findings.text("the path", &format!("/{pattern}/"), &seen.path),
            None if *path != seen.path => {
                findings.add(format!(
                    "the path should be {path:?} but is {:?}",
                    seen.path
                ));
            }
            None => {}
        }
    }
    findings.headers(&expect.headers, &expect.headers_absent, &seen.headers);
    let body = Body {
        body: expect.body.as_deref(),
        file: expect.body_file.as_deref(),
        contains: &expect.body_contains,
        lacks: &expect.body_lacks,
        length: expect.body_length,
        xml: expect.xml.as_deref(),
        json: expect.json.as_deref(),
        folder,
    };
    findings.body(&body, &seen.body);
    let place = format!("request {} at back-end {}", expect.index, expect.backend);
    findings
        .0
        .into_iter()
        .map(|f| format!("{place}: {f}"))
        .collect()
}

/// XML without what does not matter: prefixes, attribute order, white space around elements.
fn canonical(text: &str) -> Result<String, roxmltree::Error> {
    fn name(namespace: Option<&str>, local: &str) -> String {
        namespace.map_or_else(|| local.to_owned(), |n| format!("{{{n}}}{local}"))
    }
    fn write(node: roxmltree::Node<'_, '_>, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth + 2);
        if node.is_text() {
            let text = node.text().unwrap_or_default().trim();
            if !text.is_empty() {
                out.push_str(&format!("{pad}{text}\n"));
            }
        } else if node.is_element() {
            let tag = node.tag_name();
            let mut attributes: Vec<String> = node
                .attributes()
                .map(|a| format!(" {}={:?}", name(a.namespace(), a.name()), a.value()))
                .collect();
            attributes.sort();
            out.push_str(&format!(
                "{pad}<{}{}>\n",
                name(tag.namespace(), tag.name()),
                attributes.concat()
            ));
            for child in node.children() {
                write(child, depth + 1, out);
            }
        }
    }
    let document = roxmltree::Document::parse(text.trim())?;
    let mut out = String::new();
    write(document.root_element(), 0, &mut out);
    Ok(out.trim_end().to_owned())
}

#[test]
fn expected_texts_are_exact_or_regular_expressions() {
    assert_eq!(matches("a", "a"), Ok(true));
    assert_eq!(matches("a", "ab"), Ok(false));
    assert_eq!(matches("/^a.$/", "ab"), Ok(true));
    assert_eq!(matches("/", "/"), Ok(true));
    assert!(matches("/(/", "x").is_err());
}

#[test]
fn xml_is_compared_without_prefixes_and_white_space() {
    let same = |a, b| canonical(a).ok() == canonical(b).ok();
    assert!(same(
        "<a:x xmlns:a='u' p='1' q='2'> <a:y/>\n</a:x>",
        "<x xmlns='u' q='2' p='1'><y/></x>"
    ));
    assert!(!same("<x>1</x>", "<x>2</x>"));
    assert!(!same("<x/>", "<x xmlns='u'/>"));
}
