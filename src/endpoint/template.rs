//! Endpoint templates: `<template><endpoint/></template>` and endpoints made from them
//! (spec 02 §6). An instance is made when the plan is linked.

use super::health::Check;
use super::parse::{self, EndpointDef};
use super::{
    Boxed, Described, Endpoint, Kind, MAX_NESTING, Names, Parent, SendContext, Sent, own_fault,
    variable,
};
use crate::diag::{Diagnostic, Place, Source, codes, nearest};
use crate::message::fault;
use crate::message::{EndpointId, Fault, Message};
use crate::settings::{Properties, Variables};
use crate::syntax::{self, Element, Reader};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most bytes of text that the endpoints of one file make templates into; each endpoint keeps its own.
const MAX_TEXT: usize = 64 << 20;

/// Parameters that every template has.
const IMPLICIT: [&str; 2] = ["name", "uri"];

/// A template as it is written.
#[derive(Debug)]
pub struct EndpointTemplate {
    /// Names of its parameters, with their default values.
    parameters: Vec<(String, Option<String>)>,
    source: Arc<Source>,
    /// Where the endpoint element starts.
    start: usize,
}

impl EndpointTemplate {
    /// Reads a `<template>` whose content is an endpoint.
    pub fn parse(
        reader: &mut Reader,
        template: Element<'_, '_>,
        endpoint: Element<'_, '_>,
    ) -> Option<EndpointTemplate> {
        let before = reader.errors();
        let mut parameters = Vec::new();
        for child in reader.children(template) {
            match reader.name(child) {
                Some("parameter") => {
                    reader.known_attributes(child, &["name", "defaultValue", "isMandatory"]);
                    if let Some(name) = reader.required(child, "name") {
                        let default = child.attribute("defaultValue").map(str::to_owned);
                        parameters.push((name.to_owned(), default));
                    }
                }
                Some("endpoint" | "description") => {}
                _ => reader.unknown_element(child, "template", &["parameter", "endpoint"]),
            }
        }
        let (source, start) = own_source(&reader.source, template, endpoint);
        (reader.errors() == before).then_some(EndpointTemplate {
            parameters,
            source,
            start,
        })
    }

    fn declares(&self, name: &str) -> bool {
        IMPLICIT.contains(&name) || self.parameters.iter().any(|(n, _)| n == name)
    }

    /// The value of a parameter for one instance. Only declared ones that are supplied, or have a
    /// default, are replaced.
    fn value<'v>(&'v self, name: &str, supplied: &'v [(String, String)]) -> Option<&'v str> {
        if !self.declares(name) {
            return None;
        }
        let given = supplied.iter().rev().find(|(n, _)| n == name);
        given.map(|(_, v)| v.as_str()).or_else(|| {
            self.parameters
                .iter()
                .find(|(n, _)| n == name)
                .and_then(|(_, default)| default.as_deref())
        })
    }

    /// Parameters that it uses and that nobody gives a value.
    fn missing(&self, supplied: &[(String, String)]) -> Vec<&str> {
        let names = IMPLICIT.into_iter();
        let names = names.chain(self.parameters.iter().map(|(name, _)| name.as_str()));
        let text = self.source.text().get(self.start..).unwrap_or_default();
        names
            .filter(|name| self.value(name, supplied).is_none())
            .filter(|name| {
                let used = |quote: char| text.contains(&format!("${name}{quote}"));
                ['"', '\'', '<', ' '].into_iter().any(used)
            })
            .collect()
    }

    /// Makes the endpoint of an instance, with what is wrong with it. Places are those of the
    /// template's file.
    fn instantiate(
        &self,
        supplied: &[(String, String)],
        variables: &Arc<Variables>,
    ) -> (Option<EndpointDef>, Vec<Diagnostic>) {
        let text = self.source.text();
        let Ok(document) = syntax::parse(&self.source) else {
            return (None, Vec::new());
        };
        let Some(endpoint) = at(&document, self.start) else {
            return (None, Vec::new());
        };
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        for node in endpoint.descendants() {
            for attribute in node.attributes() {
                let value = attribute
                    .value()
                    .strip_prefix('$')
                    .and_then(|n| self.value(n, supplied));
                if let Some(value) = value {
                    let value = with_system_properties(value, &variables.system);
                    edits.push((attribute.range_value(), escape(&value)));
                }
            }
            if node.is_text()
                && let Some(value) = node
                    .text()
                    .and_then(|t| t.trim().strip_prefix('$'))
                    .and_then(|n| self.value(n, supplied))
            {
                edits.push((node.range(), escape(value)));
            }
        }
        edits.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for (range, value) in edits {
            out.push_str(text.get(end..range.start).unwrap_or_default());
            out.push_str(&value);
            end = range.end;
        }
        out.push_str(text.get(end..).unwrap_or_default());
        let source = Source::new(self.source.path(), out);
        let Ok(document) = syntax::parse(&source) else {
            return (None, Vec::new());
        };
        // Everything that was replaced is behind the start of the element.
        let Some(endpoint) = at(&document, self.start) else {
            return (None, Vec::new());
        };
        let mut reader = Reader::new(&source);
        reader.variables = variables.clone();
        let def = parse::parse(&mut reader, endpoint).filter(|_| reader.errors() == 0);
        (def, reader.into_diagnostics())
    }
}

/// The text that instances are made from, and where the endpoint starts in it. Each instance has a
/// copy, so a template among other artifacts is cut out of its file: with the namespaces around it,
/// and on its own lines, so that places stay right.
fn own_source(
    source: &Arc<Source>,
    template: Element<'_, '_>,
    endpoint: Element<'_, '_>,
) -> (Arc<Source>, usize) {
    let (range, start) = (template.range(), endpoint.range().start);
    let text = source.text();
    let before = text.get(..range.start).unwrap_or_default();
    if template.parent_element().is_none() {
        return (source.clone(), start);
    }
    let mut out = String::from("<definitions");
    for namespace in template.namespaces() {
        match namespace.name() {
            None => out.push_str(" xmlns"),
            Some("xml") => continue,
            Some(prefix) => {
                out.push_str(" xmlns:");
                out.push_str(prefix);
            }
        }
        out.push_str("=\"");
        out.push_str(&escape(namespace.uri()));
        out.push('"');
    }
    out.push('>');
    let lines = before.matches('\n').count();
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    out.push_str(&"\n".repeat(lines));
    let used = if lines == 0 { out.chars().count() } else { 0 };
    let Some(free) = column.checked_sub(used) else {
        return (source.clone(), start);
    };
    out.push_str(&" ".repeat(free));
    let start = out.len() + (start - range.start);
    out.push_str(text.get(range).unwrap_or_default());
    out.push_str("</definitions>");
    (Source::new(source.path(), out), start)
}

fn at<'a, 'i>(document: &'a roxmltree::Document<'i>, start: usize) -> Option<Element<'a, 'i>> {
    document
        .descendants()
        .find(|n| n.is_element() && n.range().start == start)
}

/// For an attribute or text: no markup, and no line break, so that places keep their lines.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}

/// Replaces `{system.prop.NAME}`; unknown ones stay.
fn with_system_properties(text: &str, system: &Properties) -> String {
    const OPEN: &str = "{system.prop.";
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(OPEN) {
        let (before, from) = rest.split_at(start);
        let Some(end) = from.find('}') else { break };
        let (whole, after) = from.split_at(end + 1);
        let name = whole.get(OPEN.len()..end).unwrap_or_default();
        out.push_str(before);
        out.push_str(system.get(name).unwrap_or(whole));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What a link has made of templates so far. Templates may use each other several times each, so that few
/// lines stand for more endpoints than fit into memory.
#[derive(Debug, Default)]
pub struct Made {
    /// Templates inside each other at this moment.
    depth: u32,
    /// Endpoints made for the one that is written outside of every template.
    count: usize,
    /// That one needs too much and is not made.
    failed: bool,
    /// Bytes of text that the endpoints of a file have become.
    text: HashMap<PathBuf, usize>,
    /// The endpoint outside of every template.
    outer: Option<Place>,
}

impl Made {
    /// One more endpoint of a template with a text of so many bytes; gives what is too much about it.
    fn begin(&mut self, place: &Place, text: usize, most: usize) -> Result<(), String> {
        if self.depth == 0 {
            self.count = 0;
            self.failed = false;
            self.outer = Some(place.clone());
        }
        if self.depth >= MAX_NESTING {
            return Err(format!(
                "endpoint templates use each other more than {MAX_NESTING} levels deep"
            ));
        }
        if self.count >= most {
            return Err(format!(
                "this endpoint is made of more than {most} endpoints from templates that use each other"
            ));
        }
        let file = self.outer.as_ref().map(|outer| outer.source.path());
        let file = file.unwrap_or(Path::new("")).to_owned();
        let sum = self.text.entry(file).or_default();
        if sum.saturating_add(text) > MAX_TEXT {
            return Err(format!(
                "the endpoints of this file make more than {} MiB of text out of templates",
                MAX_TEXT >> 20
            ));
        }
        *sum += text;
        self.count += 1;
        self.depth += 1;
        Ok(())
    }

    /// Behind [`Made::begin`]: whether the endpoint may be used.
    fn end(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        !self.failed
    }
}

/// `<endpoint template="T" …>` as it is written.
#[derive(Debug)]
pub struct InstanceDef {
    template: String,
    place: Place,
    values: Vec<(String, String)>,
}

impl InstanceDef {
    /// Reads the element.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<InstanceDef> {
        let before = reader.errors();
        let mut values: Vec<(String, String)> = Vec::new();
        for name in IMPLICIT {
            if let Some(text) = element.attribute(name) {
                let place = reader.attribute_place(element, name);
                let text = variable::resolve(reader, &place, text)?;
                values.push((name.to_owned(), text));
            }
        }
        for child in reader.children(element) {
            match reader.name(child) {
                Some("parameter") => {
                    reader.known_attributes(child, &["name", "value"]);
                    let name = reader.required(child, "name");
                    let value = reader.required(child, "value");
                    if let (Some(name), Some(value)) = (name, value) {
                        let place = reader.attribute_place(child, "value");
                        let value = variable::resolve(reader, &place, value)?;
                        values.push((name.to_owned(), value));
                    }
                }
                Some("description") => {}
                Some("property") => {
                    let place = reader.place(child);
                    reader.warning(
                        codes::UNKNOWN_ELEMENT,
                        place,
                        "properties of an endpoint made from a template have no effect; put them into the template",
                    );
                }
                _ => reader.unknown_element(child, "endpoint", &["parameter"]),
            }
        }
        (reader.errors() == before).then(|| InstanceDef {
            template: element.attribute("template").unwrap_or_default().to_owned(),
            place: reader.attribute_place(element, "template"),
            values,
        })
    }

    /// Makes the endpoint. A template that is not defined is warned about and faults when it is
    /// reached.
    pub fn link(&self, def: &EndpointDef, names: &mut dyn Names, path: &str) -> Box<dyn Kind> {
        let real = self.make(names, path);
        Box::new(Instance {
            name: def.head.name.clone(),
            template: self.template.clone(),
            real,
        })
    }

    fn make(&self, names: &mut dyn Names, path: &str) -> Option<Arc<Endpoint>> {
        let Some(template) = names.template(&self.template) else {
            let known = names.template_names();
            let hint = nearest(&self.template, known.iter().map(String::as_str))
                .map(|n| format!("did you mean \"{n}\"?"));
            names.report(
                Diagnostic::warning(
                    codes::UNDEFINED_TEMPLATE,
                    self.place.clone(),
                    format!("the endpoint template \"{}\" is not defined", self.template),
                )
                .maybe_help(hint),
            );
            return None;
        };
        for (name, _) in &self.values {
            if !template.declares(name) {
                names.report(Diagnostic::warning(
                    codes::UNDEFINED_TEMPLATE,
                    self.place.clone(),
                    format!(
                        "the template \"{}\" has no parameter \"{name}\"; its value has no effect",
                        self.template
                    ),
                ));
            }
        }
        // One of those around it has said what is wrong.
        if names.made().depth > 0 && names.made().failed {
            return None;
        }
        let most = names.settings().limits.max_template_endpoints;
        let text = template.source.text().len();
        if let Err(problem) = names.made().begin(&self.place, text, most) {
            let made = names.made();
            made.failed = true;
            let outer = made.outer.as_ref().filter(|_| made.depth > 0);
            let help = match outer {
                Some(outer) => format!(
                    "the endpoint at {outer} is not made; let its templates use fewer others, or named endpoints by \"key\""
                ),
                None => "divide the file".to_owned(),
            };
            names.report(
                Diagnostic::error(codes::TEMPLATE_LIMIT, self.place.clone(), problem).help(help),
            );
            return None;
        }
        let variables = Arc::new(Variables::of(names.settings()));
        let (real, found) = template.instantiate(&self.values, &variables);
        let broken = found.iter().any(Diagnostic::is_error);
        for diagnostic in found {
            names.report(diagnostic);
        }
        if broken {
            let missing = template.missing(&self.values);
            let help = (!missing.is_empty()).then(|| {
                format!(
                    "these parameters have no value here: {}",
                    missing.join(", ")
                )
            });
            names.report(
                Diagnostic::error(
                    codes::UNDEFINED_TEMPLATE,
                    self.place.clone(),
                    format!(
                        "the template \"{}\" gives no valid endpoint with these parameters",
                        self.template
                    ),
                )
                .maybe_help(help),
            );
        }
        let real = real.map(|def| def.link(names, &format!("{path}/template")));
        let usable = names.made().end();
        real.filter(|_| usable)
    }
}

/// An endpoint that was made from a template.
#[derive(Debug)]
struct Instance {
    name: Option<String>,
    template: String,
    real: Option<Arc<Endpoint>>,
}

impl Kind for Instance {
    fn send<'a>(
        &'a self,
        cx: SendContext<'a>,
        message: &'a mut Message,
        _parent: Parent,
    ) -> Boxed<'a, Result<Sent, Fault>> {
        Box::pin(async move {
            let Some(real) = &self.real else {
                return Err(own_fault(
                    message,
                    fault::codes::UNDEFINED_ENDPOINT,
                    format!(
                        "Couldn't find the endpoint with the name {} & template : {}",
                        self.name.as_deref().unwrap_or("null"),
                        self.template
                    ),
                ));
            };
            real.kind.send(cx.deeper()?, message, Parent::Root).await
        })
    }

    fn is_ready(&self, cx: &SendContext<'_>) -> bool {
        match (&self.real, cx.deeper()) {
            (Some(real), Ok(cx)) => real.kind.is_ready(&cx),
            _ => false,
        }
    }

    fn reshapes(&self, cx: &SendContext<'_>) -> bool {
        match (&self.real, cx.deeper()) {
            (Some(real), Ok(cx)) => real.kind.reshapes(&cx),
            _ => false,
        }
    }

    fn references(&self, out: &mut Vec<EndpointId>) {
        if let Some(real) = &self.real {
            real.kind.references(out);
        }
    }

    fn checks(&self, out: &mut Vec<Arc<Check>>) {
        if let Some(real) = &self.real {
            real.kind.checks(out);
        }
    }

    fn reference(&self) -> Option<&'static str> {
        Some("template")
    }

    /// What was made from the template is switched: the instance has no state of its own.
    fn switch(&self, on: bool) -> Result<(), &'static str> {
        match &self.real {
            Some(real) => real.kind.switch(on),
            None => Err("its template is not defined"),
        }
    }

    fn describe(&self, now: u64, out: &mut Vec<Described>) {
        if let Some(real) = &self.real {
            real.kind.describe(now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> EndpointTemplate {
        let source = Source::new("t.xml", text);
        let document = syntax::parse(&source).unwrap();
        let root = document.root_element();
        let mut reader = Reader::new(&source);
        let endpoint = root
            .children()
            .find(|c| c.tag_name().name() == "endpoint")
            .unwrap();
        EndpointTemplate::parse(&mut reader, root, endpoint).unwrap()
    }

    fn made(inner: &str, values: &[(&str, &str)]) -> (String, Vec<String>) {
        let template = template(&format!(
            "<template xmlns=\"{}\" name=\"T\"><parameter name=\"p\"/><parameter name=\"q\" defaultValue=\"30\"/>{inner}</template>",
            syntax::SYNAPSE
        ));
        let values: Vec<(String, String)> = values
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let mut variables = Variables::default();
        variables.system.insert("port", "81");
        let (def, found) = template.instantiate(&values, &Arc::new(variables));
        let text = def.map_or_else(String::new, |def| {
            let source = &def.head.place.source;
            let start = def.head.place.span.start;
            source.text()[start..].replace("</template>", "")
        });
        (text, found.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn a_template_among_others_keeps_its_place_and_namespaces() {
        let other = "<sequence name=\"s\"/>".repeat(100);
        let text = format!(
            "<definitions xmlns=\"{}\" xmlns:p=\"urn:p\">\n{other}\n  <template name=\"T\"><endpoint>\n<address uri=\"$uri\"><timeout><duration>{{//p:x}}</duration></timeout></address></endpoint></template>\n{other}</definitions>",
            syntax::SYNAPSE
        );
        let source = Source::new("t.xml", text);
        let document = syntax::parse(&source).unwrap();
        let template = document
            .descendants()
            .find(|n| n.tag_name().name() == "template")
            .unwrap();
        let endpoint = template.first_element_child().unwrap();
        let mut reader = Reader::new(&source);
        let template = EndpointTemplate::parse(&mut reader, template, endpoint).unwrap();
        assert!(template.source.text().len() < 400);
        let made = |uri: &str| {
            let values = [("uri".to_owned(), uri.to_owned())];
            template.instantiate(&values, &Arc::default())
        };
        let (def, found) = made("http://h/");
        assert!(def.is_some() && found.is_empty(), "{found:?}");
        assert!(def.unwrap().head.place.to_string().starts_with("t.xml:3:"));
        let (_, found) = made("nonsense");
        let place = found[0].place.as_ref().unwrap().to_string();
        assert!(place.starts_with("t.xml:4:15"), "{place}");
    }

    #[test]
    fn the_text_that_a_file_makes_of_templates_is_bounded() {
        let place = |file: &str| Place::new(&Source::new(file, "<endpoint/>"), 0..9);
        let (one, other) = (place("one.xml"), place("other.xml"));
        let mut made = Made::default();
        let half = MAX_TEXT / 2;
        for _ in 0..2 {
            made.begin(&one, half, 1000).unwrap();
            assert!(made.end());
        }
        let problem = made.begin(&one, 1, 1000).unwrap_err();
        assert!(problem.contains("more than 64 MiB"), "{problem}");
        // Another file has its own share, also for templates of the first one.
        made.begin(&other, 1, 1000).unwrap();
        made.begin(&one, half, 1000).unwrap();
        assert!(made.end() && made.end());
    }

    #[test]
    fn a_template_on_one_line_with_others_is_cut_out() {
        let other = "<sequence name=\"s\"/>".repeat(100);
        let text = format!(
            "<definitions xmlns=\"{}\">{other}<template name=\"T\"><endpoint><address uri=\"$uri\"/></endpoint></template>{other}</definitions>",
            syntax::SYNAPSE
        );
        let source = Source::new("t.xml", text.clone());
        let document = syntax::parse(&source).unwrap();
        let template = document
            .descendants()
            .find(|n| n.tag_name().name() == "template")
            .unwrap();
        let mut reader = Reader::new(&source);
        let endpoint = template.first_element_child().unwrap();
        let template = EndpointTemplate::parse(&mut reader, template, endpoint).unwrap();
        assert!(template.source.text().trim_end().len() < text.len() - other.len() / 2);
        let values = [("uri".to_owned(), "nonsense".to_owned())];
        let (_, found) = template.instantiate(&values, &Arc::default());
        let column = text.find("$uri").unwrap() + 1;
        let place = found[0].place.as_ref().unwrap().to_string();
        assert_eq!(place, format!("t.xml:1:{column}"));
    }

    #[test]
    fn only_whole_values_of_supplied_parameters_are_replaced() {
        let (text, found) = made(
            "<endpoint name=\"$name\"><address uri=\"$uri\" format=\"$none\"><timeout><duration> $p </duration></timeout></address></endpoint>",
            &[
                ("name", "N"),
                ("uri", "http://h/?a=1&b=<\"2\">"),
                ("p", "5"),
            ],
        );
        assert_eq!(
            text,
            "<endpoint name=\"N\"><address uri=\"http://h/?a=1&amp;b=&lt;&quot;2&quot;&gt;\" format=\"$none\"><timeout><duration>5</duration></timeout></address></endpoint>"
        );
        assert_eq!(found.len(), 1, "$none is no format: {found:?}");
    }

    #[test]
    fn parts_of_values_stay_and_defaults_apply() {
        let (text, found) = made(
            "<endpoint><address uri=\"http://$p/x\"><timeout><duration>$q</duration></timeout></address></endpoint>",
            &[("p", "h")],
        );
        assert_eq!(text, "", "$p is not a host");
        assert!(found[0].contains("http://$p/x"), "{found:?}");
        let (text, _) = made(
            "<endpoint><address uri=\"$uri\"><timeout><duration>$q</duration></timeout></address></endpoint>",
            &[("uri", "http://h:{system.prop.port}/{system.prop.none}")],
        );
        assert_eq!(
            text,
            "<endpoint><address uri=\"http://h:81/{system.prop.none}\"><timeout><duration>30</duration></timeout></address></endpoint>"
        );
    }
}
