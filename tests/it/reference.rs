//! The pages of `docs/reference/mediators`: written from the descriptions of the mediators and from
//! the cases in `tests/cases/reference`, whose texts they show as they are. `UPDATE_EXPECT=1` writes
//! them anew.

use crate::cases;
use crate::support::run::read;
use myelin::mediator::describe::{Area, Attr, Content, Doc, Form, Needs, Tag};
use myelin::mediator::{REFUSED, Spec, TABLE};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Readers of attributes in the source: the name is their first text.
const READERS: &str = r#"(?:\.|\b)(?:attribute|has_attribute|attribute_place|required|required_value|dynamic|expression|one_of|word|truth|count|size|needs|class|number|whole_match|is|is_true|key|timeout|milliseconds|text_of)\(\s*(?:(?:&?mut )?[\w.]+\s*,\s*){0,2}"([A-Za-z][\w-]*)""#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file that has to be there.
fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What is in a folder that has to be there, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut out: Vec<PathBuf> = found.flatten().map(|e| e.path()).collect();
    out.sort();
    out
}

/// The last part of a path.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.display().to_string()
}

/// The page of a mediator.
fn page_name(name: &str) -> String {
    format!("{name}.md")
}

fn form(form: Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Truth => "`true`, `false`".to_owned(),
        Form::Number => "number".to_owned(),
        Form::Expression => "expression".to_owned(),
        Form::TextOrExpression => "text or `{expression}`".to_owned(),
        Form::NumberOrExpression => "number or `{expression}`".to_owned(),
        Form::Regex => "pattern".to_owned(),
        Form::Words(words) => {
            let words: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
            words.join(", ")
        }
    }
}

fn default(attribute: &Attr) -> String {
    match attribute.default {
        _ if attribute.required => "required".to_owned(),
        "" => String::new(),
        text if text.contains(['`', ' ']) => text.to_owned(),
        text => format!("`{text}`"),
    }
}

/// Each described element once, parents first.
fn flat<'a>(form: &'a Tag, out: &mut Vec<(&'a Tag, Option<&'a Tag>)>, parent: Option<&'a Tag>) {
    out.push((form, parent));
    for child in form.children {
        flat(child, out, Some(form));
    }
}

fn element(tag: &Tag, parent: Option<&Tag>, out: &mut String) {
    let place = parent.map_or(String::new(), |p| format!(" in `<{}>`", p.name));
    let _ = write!(out, "### `<{}>`{place}\n\n{}\n\n", tag.name, tag.text);
    if !tag.attributes.is_empty() {
        out.push_str("| Attribute | Value | Default | Meaning |\n|---|---|---|---|\n");
        for attribute in tag.attributes {
            let nothing = if attribute.ignored {
                " Accepted without effect."
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {}{nothing} |",
                attribute.name,
                form(attribute.form),
                default(attribute),
                attribute.text.replace('|', "\\|")
            );
        }
        out.push('\n');
    }
    let mut holds: Vec<String> = tag
        .children
        .iter()
        .map(|c| format!("`<{}>`", c.name))
        .collect();
    match tag.content {
        Content::None => {}
        Content::Text => holds.push("text".to_owned()),
        Content::Mediators => holds.push("mediators".to_owned()),
        Content::Xml => holds.push("XML or text".to_owned()),
        Content::As(text) => holds.push(text.to_owned()),
    }
    if !holds.is_empty() {
        let _ = write!(out, "Holds: {}.\n\n", holds.join(", "));
    }
}

fn needs(doc: &Doc) -> &'static str {
    match doc.body {
        Needs::Nothing => "Nothing is read: the body streams.",
        Needs::Expressions => {
            "Only what its expressions read; simple paths do not keep it from streaming."
        }
        Needs::Whole => "The whole body is read into memory.",
        Needs::As(text) => text,
    }
}

fn fence(kind: &str, text: &str, out: &mut String) {
    let _ = write!(out, "```{kind}\n{}\n```\n\n", text.trim_end());
}

fn text<'a>(table: &'a toml::Table, key: &str) -> Option<&'a str> {
    table.get(key).and_then(toml::Value::as_str)
}

fn headers(table: &toml::Table, out: &mut String) {
    for (name, value) in table
        .get("headers")
        .and_then(|h| h.as_table())
        .into_iter()
        .flatten()
    {
        let _ = writeln!(out, "{name}: {}", value.as_str().unwrap_or_default());
    }
}

/// What a table says about a body.
fn body(table: &toml::Table) -> String {
    for key in ["body", "json", "xml"] {
        if let Some(text) = text(table, key) {
            return text.to_owned();
        }
    }
    let parts = table.get("body_contains").and_then(|p| p.as_array());
    let parts: Vec<&str> = parts
        .into_iter()
        .flatten()
        .filter_map(|p| p.as_str())
        .collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("… {} …", parts.join(" … ")),
    }
}

fn message(head: String, table: &toml::Table) -> String {
    let mut out = head;
    headers(table, &mut out);
    let body = body(table);
    if !body.is_empty() {
        let _ = write!(out, "\n{body}");
    }
    out
}

fn step(table: &toml::Table, addresses: &BTreeMap<String, String>, out: &mut String) {
    if let Some(note) = text(table, "note") {
        let _ = write!(out, "{}:\n\n", capital(note));
    }
    let empty = toml::Table::new();
    let sub = |key: &str| table.get(key).and_then(|t| t.as_table()).unwrap_or(&empty);
    if let Some(request) = table.get("request").and_then(|r| r.as_table()) {
        let has_body = request.contains_key("body");
        let method = text(request, "method").unwrap_or(if has_body { "POST" } else { "GET" });
        let times = match request.get("repeat").and_then(toml::Value::as_integer) {
            Some(n) => format!("Request, {n} times:"),
            None => "Request:".to_owned(),
        };
        let _ = write!(out, "{times}\n\n");
        let path = text(request, "path").unwrap_or_default();
        fence("http", &message(format!("{method} {path}\n"), request), out);
        let expect = sub("expect");
        let status = expect.get("status").and_then(toml::Value::as_integer);
        out.push_str("Answer:\n\n");
        fence(
            "http",
            &message(format!("{}\n", status.unwrap_or(200)), expect),
            out,
        );
    }
    for received in table
        .get("received")
        .and_then(|r| r.as_array())
        .into_iter()
        .flatten()
    {
        let Some(received) = received.as_table() else {
            continue;
        };
        let name = text(received, "backend").unwrap_or_default();
        let address = addresses.get(name).map_or(name, String::as_str);
        let _ = write!(out, "`{address}` gets:\n\n");
        let head = text(received, "path").map_or(String::new(), |p| format!("{p}\n"));
        fence("http", message(head, received).trim_start(), out);
    }
    let lines = table.get("log").and_then(|l| l.as_array());
    let lines: Vec<&str> = lines
        .into_iter()
        .flatten()
        .filter_map(|l| l.as_str())
        .collect();
    if !lines.is_empty() {
        out.push_str("Log:\n\n");
        let lines: Vec<String> = lines.iter().map(|l| shown(l)).collect();
        fence("text", &lines.join("\n"), out);
    }
}

/// A pattern as its text.
fn shown(line: &str) -> String {
    match line.strip_prefix('/').and_then(|l| l.strip_suffix('/')) {
        Some(inner) => format!("… {inner} …"),
        None => line.to_owned(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// An example: the case's artifacts, back-ends, requests and answers, as they are in its files.
fn example(folder: &Path, out: &mut String) {
    let source = contents(&folder.join("case.toml"));
    let case = read(&source).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = folder.strip_prefix(root()).unwrap_or(folder).display();
    let _ = write!(
        out,
        "### {}\n\n[{name}](../../../{name})\n\n",
        case.about.trim_end_matches('.')
    );
    let deployment = folder.join("deployment");
    for file in entries(&deployment) {
        let text = contents(&file);
        let _ = write!(out, "`{}`:\n\n", name_of(&file));
        fence("xml", &text, out);
    }
    if !case.settings.toml.is_empty() {
        out.push_str("`deployment.toml`:\n\n");
        fence("toml", &case.settings.toml, out);
    }
    let addresses: BTreeMap<String, String> = case
        .replace
        .iter()
        .map(|(address, name)| (name.trim_matches(['{', '}']).to_owned(), address.clone()))
        .collect();
    for table in &case.backend {
        let name = text(table, "name").unwrap_or_default();
        let address = addresses.get(name).map_or(name, String::as_str);
        if table.get("up").and_then(toml::Value::as_bool) == Some(false) {
            let _ = write!(out, "`{address}` is down.\n\n");
            continue;
        }
        let one = [toml::Value::Table(table.clone())];
        let replies = table
            .get("script")
            .and_then(|s| s.as_array())
            .map_or(&one[..], Vec::as_slice);
        let replies: Vec<String> = replies
            .iter()
            .filter_map(toml::Value::as_table)
            .map(|r| {
                let status = r
                    .get("status")
                    .and_then(toml::Value::as_integer)
                    .unwrap_or(200);
                format!("{status} with `{}`", text(r, "body").unwrap_or(name))
            })
            .collect();
        let _ = write!(out, "`{address}` answers {}.\n\n", replies.join(", then "));
    }
    for table in &case.step {
        step(table, &addresses, out);
    }
}

fn examples(name: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    cases::folders(&cases::root().join("reference").join(name), &mut folders);
    folders
}

const NOTICE: &str = "<!-- Written from the mediator's description and its examples by \
    `UPDATE_EXPECT=1 cargo test --test it reference`. -->";

fn page(spec: &Spec) -> String {
    let mut out = format!("# {}\n\n{NOTICE}\n\n{}\n\n", spec.name, spec.summary);
    let _ = write!(out, "**Body**: {}\n\n## Elements\n\n", needs(&spec.doc));
    let mut all = Vec::new();
    for form in spec.doc.forms {
        flat(form, &mut all, None);
    }
    for (tag, parent) in all {
        element(tag, parent, &mut out);
    }
    out.push_str(
        "Attributes and children that all mediators have are in the [overview](README.md).\n\n",
    );
    if !spec.doc.remarks.is_empty() {
        out.push_str("## Remarks\n\n");
        for remark in spec.doc.remarks {
            let _ = writeln!(out, "- {remark}");
        }
        out.push('\n');
    }
    out.push_str("## Examples\n\nEach is a test.\n\n");
    for folder in examples(spec.name) {
        example(&folder, &mut out);
    }
    format!("{}\n", out.trim_end())
}

fn overview() -> String {
    let mut out = format!("# Mediators\n\n{NOTICE}\n");
    for (area, heading) in Area::ALL {
        let _ = write!(out, "\n## {heading}\n\n| Mediator | |\n|---|---|\n");
        for spec in TABLE.iter().filter(|s| s.doc.group == *area) {
            let _ = writeln!(
                out,
                "| [`{0}`]({1}) | {2} |",
                spec.name,
                page_name(spec.name),
                spec.summary
            );
        }
    }
    out.push_str(
        "\n## What all of them have\n\n\
         `description` (attribute or child) is for people. `statistics` and `trace` are accepted without effect.\n\
         Attributes that are not in the tables are warned about, elements that are not are errors.\n\n\
         *Expression*: XPath 1.0, `json-eval(…)` with a JSON path, or a Synapse expression `${…}`. *Text or\n\
         `{expression}`*: the text itself, or what the expression in braces gives. *Pattern*: a regular expression.\n\n\
         ## Refused\n\n\
         An artifact with one of these is refused when it is deployed, with the place and this advice. With\n\
         `[myelin] unsupported_mediators = \"fault\"` it is deployed, and a message that reaches the mediator faults.\n\n\
         | Mediator | Instead |\n|---|---|\n",
    );
    for (name, help) in REFUSED {
        let help = match *help {
            "" => "–".to_owned(),
            help => capital(&help.replace('<', "`<").replace('>', ">`")),
        };
        let _ = writeln!(out, "| `{name}` | {help} |");
    }
    out
}

#[test]
fn the_pages_are_those_of_the_descriptions() {
    let folder = root().join("docs/reference/mediators");
    let mut pages = vec![("README.md".to_owned(), overview())];
    pages.extend(TABLE.iter().map(|s| (page_name(s.name), page(s))));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
        return;
    }
    let mut stale: Vec<String> = pages
        .iter()
        .filter(|(name, text)| {
            std::fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text)
        })
        .map(|(name, _)| name.clone())
        .collect();
    let known: BTreeSet<&str> = pages.iter().map(|p| p.0.as_str()).collect();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().display().to_string();
        if !known.contains(name.as_str()) {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "not as the descriptions and examples are: {stale:?}; write them anew with UPDATE_EXPECT=1 cargo test --test it reference"
    );
}

#[test]
fn every_mediator_has_an_example_that_uses_it() {
    let mut without: Vec<&str> = Vec::new();
    for spec in TABLE {
        let uses = |folder: &PathBuf| {
            let files = std::fs::read_dir(folder.join("deployment")).unwrap();
            files.flatten().any(|f| {
                let text = std::fs::read_to_string(f.path()).unwrap();
                [' ', '>', '/']
                    .iter()
                    .any(|end| text.contains(&format!("<{}{end}", spec.name)))
            })
        };
        let all = examples(spec.name);
        if all.is_empty() || !all.iter().all(uses) {
            without.push(spec.name);
        }
    }
    assert!(without.is_empty(), "{without:?}");
    let folders = std::fs::read_dir(cases::root().join("reference")).unwrap();
    for folder in folders.flatten() {
        let name = folder.file_name().display().to_string();
        assert!(
            TABLE.iter().any(|s| s.name == name),
            "{name} is no mediator"
        );
    }
}

/// The source of every mediator: a file, or all files of a folder.
fn sources() -> BTreeMap<String, String> {
    fn collect(path: &Path, out: &mut String) {
        if path.is_dir() {
            for entry in entries(path) {
                collect(&entry, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = contents(path);
            out.push_str(
                text.split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap_or_default(),
            );
        }
    }
    let mut out = BTreeMap::new();
    for path in entries(&root().join("src/mediator")) {
        let name = path.file_stem().unwrap_or_default().display().to_string();
        if !["tests", "mod", "describe"].contains(&name.as_str()) {
            collect(&path, out.entry(name).or_default());
        }
    }
    out
}

/// The reader checks what is described and nothing else, so that what it accepts is in the pages.
#[test]
fn attributes_and_children_are_declared_only_in_descriptions() {
    let calls = Regex::new(r"\.(known_attributes|mediator_attributes|unknown_element)\(").unwrap();
    for (name, text) in sources() {
        if let Some(found) = calls.find(&text) {
            panic!(
                "{name}: {} goes around the description of the element",
                found.as_str()
            );
        }
    }
}

/// Files that read or describe for several mediators.
const SHARED: &[&str] = &[
    "condition",
    "gather",
    "outcome",
    "property",
    "sequence",
    "target",
    "aggregate",
    "clone",
];

/// Texts that the pattern takes for attributes and that are something else: a child element,
/// keywords of JSON Schema, an attribute of the message.
const NO_ATTRIBUTES: &[(&str, &str)] = &[
    ("enrich", "target"),
    ("json_transform", "minItems"),
    ("json_transform", "minLength"),
    ("json_transform", "minProperties"),
    ("validate", "nil"),
];

/// Names of properties, which are read by the same words.
fn is_property(name: &str) -> bool {
    name.chars().any(char::is_uppercase) && name == name.to_uppercase()
        || name == "NIO-ACK-Requested"
}

/// What a mediator reads it describes, and what it describes it reads.
#[test]
fn attributes_that_are_read_are_described_and_the_other_way_round() {
    let sources = sources();
    let declared = Regex::new(r#"Attr::\w+\(\s*"([^"]+)""#).unwrap();
    let readers = Regex::new(READERS).unwrap();
    let names = |regex: &Regex, text: &str| -> BTreeSet<String> {
        let found = regex.captures_iter(text).filter_map(|c| c.get(1));
        found.map(|name| name.as_str().to_owned()).collect()
    };
    let tags = Regex::new(r#"Tag::\w+\(\s*"([^"]+)""#).unwrap();
    let mut elements = Vec::new();
    for form in TABLE.iter().flat_map(|s| s.doc.forms) {
        flat(form, &mut elements, None);
    }
    let shared: String = SHARED
        .iter()
        .filter_map(|name| sources.get(*name))
        .cloned()
        .collect();
    let mut findings = Vec::new();
    for (name, text) in &sources {
        let near = match SHARED.contains(&name.as_str()) {
            true => sources.values().cloned().collect(),
            false => format!("{text}{shared}"),
        };
        let described: BTreeSet<String> = names(&declared, &near)
            .into_iter()
            .chain([
                "description".to_owned(),
                "onError".to_owned(),
                "name".to_owned(),
            ])
            .collect();
        for read in names(&readers, text).difference(&described) {
            if is_property(read) || NO_ATTRIBUTES.contains(&(name.as_str(), read.as_str())) {
                continue;
            }
            findings.push(format!(
                "{name} reads \"{read}\", which its descriptions do not have"
            ));
        }
        let own = names(&tags, text);
        let effective: BTreeSet<&str> = elements
            .iter()
            .filter(|e| own.contains(e.0.name))
            .flat_map(|e| e.0.attributes)
            .filter(|a| !a.ignored)
            .map(|a| a.name)
            .collect();
        for written in names(&declared, text)
            .iter()
            .filter(|n| effective.contains(n.as_str()))
        {
            let quoted = format!("\"{written}\"");
            let here = declared
                .captures_iter(&near)
                .filter(|c| c.get(1).is_some_and(|n| n.as_str() == written));
            if near.matches(&quoted).count() <= here.count() {
                findings.push(format!(
                    "{name} describes \"{written}\", which nothing reads"
                ));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
