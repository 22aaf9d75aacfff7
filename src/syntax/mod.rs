//! Reading artifact XML with places: elements, attributes, expressions, and the diagnostics that
//! reading them gives. Reading never stops at the first error.

use crate::diag::{Code, Diagnostic, Place, Severity, Source, codes, nearest};
use crate::expr::{Dynamic, Expr, ExprError, Namespaces, Template};
use crate::settings::{Unsupported, Variables};
use roxmltree::Node;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The namespace of Synapse artifacts.
pub const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";

/// Most levels of elements in an artifact; protects the recursive readers.
pub const MAX_DEPTH: usize = 200;

/// Most findings that are told about one file. More help nobody, and would cost memory and time
/// without a bound.
pub const MAX_FINDINGS: usize = 1000;

/// Attributes that every mediator accepts (spec 03 §1.1).
pub const COMMON_ATTRIBUTES: &[&str] = &["description", "statistics", "trace"];

/// An element of an artifact.
pub type Element<'a, 'i> = Node<'a, 'i>;

/// Reads one file and collects what is wrong with it.
pub struct Reader {
    /// The file.
    pub source: Arc<Source>,
    /// What becomes of mediators that are not supported.
    pub unsupported_mediators: Unsupported,
    /// What values may name.
    pub variables: Arc<Variables>,
    diagnostics: Vec<Diagnostic>,
    /// How many of all findings are errors.
    errors: usize,
    unqualified: bool,
    depth: usize,
}

impl Reader {
    /// A reader of one source.
    pub fn new(source: &Arc<Source>) -> Reader {
        Reader {
            source: source.clone(),
            unsupported_mediators: Unsupported::Refuse,
            variables: Arc::default(),
            diagnostics: Vec::new(),
            errors: 0,
            unqualified: false,
            depth: 0,
        }
    }

    /// What was found so far.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// How many errors were found so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many findings there are so far.
    pub fn findings(&self) -> usize {
        self.diagnostics.len()
    }

    /// Turns the errors after the first `from` findings into warnings, if all of them say that
    /// something is not supported; what they say.
    pub fn forgive_unsupported(&mut self, from: usize) -> Option<String> {
        let new = self.diagnostics.get_mut(from..)?;
        let errors = || new.iter().filter(|d| d.is_error());
        if errors().any(|d| d.code != codes::UNSUPPORTED) {
            return None;
        }
        let first = errors().next()?.message.clone();
        for diagnostic in new.iter_mut().filter(|d| d.is_error()) {
            diagnostic.severity = Severity::Warning;
            self.errors -= 1;
            diagnostic
                .message
                .push_str("; a message that reaches it faults");
        }
        Some(first)
    }

    /// Adds a finding. One too many for a file is counted, but not kept.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.is_error());
        if self.diagnostics.len() <= MAX_FINDINGS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Runs `read` one level deeper; `None` with an error when that is too deep.
    pub fn nested<T>(
        &mut self,
        element: Element<'_, '_>,
        read: impl FnOnce(&mut Reader) -> Option<T>,
    ) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            self.error(
                codes::INVALID_VALUE,
                self.place(element),
                format!("elements are nested deeper than {MAX_DEPTH} levels"),
            );
            return None;
        }
        self.depth += 1;
        let out = read(self);
        self.depth -= 1;
        out
    }

    /// Changes whenever the text of the element does.
    pub fn fingerprint(&self, element: Element<'_, '_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        let text = self.source.text().get(element.range());
        text.unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    }

    /// The start tag of an element.
    pub fn place(&self, element: Element<'_, '_>) -> Place {
        let range = element.range();
        let text = self.source.text();
        // Only the tag's name is marked: an element may span many lines.
        let name_end = text
            .get(range.start + 1..range.end)
            .and_then(|t| t.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')))
            .map_or(range.end, |n| range.start + 1 + n);
        Place::new(&self.source, range.start..name_end)
    }

    /// The value of an attribute, or the element when it has none.
    pub fn attribute_place(&self, element: Element<'_, '_>, name: &str) -> Place {
        match element.attribute_node(name) {
            Some(attribute) => Place::new(&self.source, attribute.range_value()),
            None => self.place(element),
        }
    }

    /// Adds an error.
    pub fn error(&mut self, code: Code, place: Place, message: impl Into<String>) {
        self.report(Diagnostic::error(code, place, message));
    }

    /// Adds a warning.
    pub fn warning(&mut self, code: Code, place: Place, message: impl Into<String>) {
        self.report(Diagnostic::warning(code, place, message));
    }

    /// Whether the element belongs to Synapse. One without a namespace does, with one warning per
    /// file (design §5.4).
    pub fn is_synapse(&mut self, element: Element<'_, '_>) -> bool {
        match element.tag_name().namespace() {
            Some(SYNAPSE) => true,
            None | Some("") => {
                if !self.unqualified {
                    self.unqualified = true;
                    let place = self.place(element);
                    self.report(
                        Diagnostic::warning(
                            codes::NO_NAMESPACE,
                            place,
                            format!(
                                "<{}> has no namespace; it is read as a Synapse element",
                                element.tag_name().name()
                            ),
                        )
                        .help(format!("add xmlns=\"{SYNAPSE}\" to the root element")),
                    );
                }
                true
            }
            Some(_) => false,
        }
    }

    /// The local name when the element belongs to Synapse.
    pub fn name<'a>(&mut self, element: Element<'a, '_>) -> Option<&'a str> {
        self.is_synapse(element).then(|| element.tag_name().name())
    }

    /// The child elements. Text between them is warned about.
    pub fn children<'a, 'i>(&mut self, element: Element<'a, 'i>) -> Vec<Element<'a, 'i>> {
        let mut out = Vec::new();
        for child in element.children() {
            if child.is_element() {
                out.push(child);
            } else if child.is_text() && !child.text().unwrap_or_default().trim().is_empty() {
                let range = child.range();
                let text = self.source.text().get(range.clone()).unwrap_or_default();
                let start = range.start + (text.len() - text.trim_start().len());
                let place = Place::new(&self.source, start..start + text.trim().len());
                self.warning(
                    codes::STRAY_TEXT,
                    place,
                    format!("text inside <{}> has no effect", element.tag_name().name()),
                );
            }
        }
        out
    }

    /// The first Synapse child of a name.
    pub fn child<'a, 'i>(
        &mut self,
        element: Element<'a, 'i>,
        name: &str,
    ) -> Option<Element<'a, 'i>> {
        element
            .children()
            .find(|c| c.is_element() && c.tag_name().name() == name && self.is_synapse(*c))
    }

    /// Warns about attributes that nobody reads, with the nearest known name.
    pub fn known_attributes(&mut self, element: Element<'_, '_>, known: &[&str]) {
        for attribute in element.attributes() {
            // Namespaced attributes belong to tools (schema locations, editors).
            if attribute.namespace().is_some() || known.contains(&attribute.name()) {
                continue;
            }
            let place = Place::new(&self.source, attribute.range_qname());
            let hint = nearest(attribute.name(), known.iter().copied())
                .map(|n| format!("did you mean \"{n}\"?"))
                .or_else(|| {
                    (!known.is_empty()).then(|| format!("known attributes: {}", known.join(", ")))
                });
            self.report(
                Diagnostic::warning(
                    codes::UNKNOWN_ATTRIBUTE,
                    place,
                    format!(
                        "attribute \"{}\" is not known on <{}>; it has no effect",
                        attribute.name(),
                        element.tag_name().name()
                    ),
                )
                .maybe_help(hint),
            );
        }
    }

    /// Like [`Reader::known_attributes`] for a mediator, with the attributes all mediators have.
    pub fn mediator_attributes(&mut self, element: Element<'_, '_>, known: &[&str]) {
        let all: Vec<&str> = known.iter().chain(COMMON_ATTRIBUTES).copied().collect();
        self.known_attributes(element, &all);
    }

    /// An error about an element that is not allowed here.
    pub fn unknown_element(&mut self, element: Element<'_, '_>, parent: &str, known: &[&str]) {
        let name = element.tag_name().name();
        let place = self.place(element);
        let hint = nearest(name, known.iter().copied())
            .map(|n| format!("did you mean <{n}>?"))
            .or_else(|| (!known.is_empty()).then(|| format!("allowed here: {}", known.join(", "))));
        self.report(
            Diagnostic::error(
                codes::UNKNOWN_ELEMENT,
                place,
                format!("<{name}> is not allowed in <{parent}>"),
            )
            .maybe_help(hint),
        );
    }

    /// A required attribute; an error when it is missing.
    pub fn required<'a>(&mut self, element: Element<'a, '_>, name: &str) -> Option<&'a str> {
        let value = element.attribute(name);
        if value.is_none() {
            let place = self.place(element);
            self.error(
                codes::MISSING_ATTRIBUTE,
                place,
                format!(
                    "<{}> needs the attribute \"{name}\"",
                    element.tag_name().name()
                ),
            );
        }
        value
    }

    /// An error about a feature that is not there yet.
    pub fn unsupported(&mut self, place: Place, what: impl Into<String>, help: Option<&str>) {
        self.report(
            Diagnostic::error(codes::UNSUPPORTED, place, what).maybe_help(help.map(str::to_owned)),
        );
    }

    /// The prefixes an expression of this element sees. The outermost declaration of a prefix wins,
    /// as in the reference (spec 05 §3.2).
    pub fn namespaces(&self, element: Element<'_, '_>) -> Namespaces {
        let mut out: Vec<(String, String)> = Vec::new();
        for ancestor in element.ancestors().filter(Node::is_element) {
            // roxmltree lists all bindings in scope; declared here = not the same in the parent.
            let parent = ancestor.parent_element();
            for namespace in ancestor.namespaces() {
                let Some(prefix) = namespace.name() else {
                    continue;
                };
                if prefix == "xml" {
                    continue;
                }
                let inherited = parent
                    .and_then(|p| p.lookup_namespace_uri(Some(prefix)))
                    .is_some_and(|uri| uri == namespace.uri());
                if inherited {
                    continue;
                }
                match out.iter_mut().find(|(p, _)| p == prefix) {
                    Some(slot) => slot.1 = namespace.uri().to_owned(),
                    None => out.push((prefix.to_owned(), namespace.uri().to_owned())),
                }
            }
        }
        Namespaces(out)
    }

    /// Compiles the expression in an attribute.
    pub fn expression(&mut self, element: Element<'_, '_>, name: &str) -> Option<Expr> {
        let text = element.attribute(name)?;
        let place = self.attribute_place(element, name);
        let namespaces = self.namespaces(element);
        if text.trim().is_empty() {
            self.error(
                codes::INVALID_EXPRESSION,
                place,
                format!("attribute \"{name}\" is empty; an expression is expected"),
            );
            return None;
        }
        match Expr::compile(text, &namespaces) {
            Ok(expr) => {
                self.suspicions(&place, text, &expr);
                Some(expr)
            }
            Err(e) => {
                self.expression_error(&place, text, &e);
                None
            }
        }
    }

    /// Compiles an attribute that is a literal or `{expression}`.
    pub fn dynamic(&mut self, element: Element<'_, '_>, name: &str) -> Option<Dynamic> {
        let text = element.attribute(name)?;
        let place = self.attribute_place(element, name);
        let namespaces = self.namespaces(element);
        match Dynamic::compile(text, &namespaces) {
            Ok(value) => {
                if text.starts_with("${") && text.ends_with('}') {
                    self.report(
                        Diagnostic::warning(
                            codes::SUSPICIOUS_EXPRESSION,
                            place.clone(),
                            format!("\"{name}\" is this text itself, not what it evaluates to"),
                        )
                        .help(format!("write {{{text}}}")),
                    );
                }
                if let Dynamic::Expr(expr) = &value {
                    let inner = text.get(1..text.len() - 1).unwrap_or_default();
                    let start = raw_offset(raw_text(&place), text, 1);
                    let mut inside = place;
                    inside.span.start += start;
                    inside.span.end = inside.span.end.saturating_sub(1).max(inside.span.start);
                    self.suspicions(&inside, inner, expr);
                }
                Some(value)
            }
            Err(e) => {
                self.expression_error(&place, text, &e);
                None
            }
        }
    }

    /// Warns about what has no effect in an expression, or always fails.
    fn suspicions(&mut self, place: &Place, text: &str, expr: &Expr) {
        for (offset, len, message) in expr.warnings() {
            let at = sub_place(place, text, offset, len);
            self.warning(codes::SUSPICIOUS_EXPRESSION, at, message);
        }
    }

    /// Compiles the text of an element with `${…}` in it, after `change`, which may only replace
    /// the two characters `\\n` and `\\t` by one.
    pub fn template(
        &mut self,
        element: Element<'_, '_>,
        change: fn(&str) -> String,
    ) -> Option<Template> {
        let mut pieces = element.children().filter(Element::is_text);
        let node = pieces.next();
        // Comments and the like stand between them.
        let is_cut = pieces.next().is_some();
        let joined = if is_cut {
            text_of(element)
        } else {
            String::new()
        };
        let whole = match node.and_then(|n| n.text()) {
            _ if is_cut => joined.as_str(),
            Some(text) => text,
            None => "",
        };
        let written = whole.trim();
        let text = change(written);
        let place = match node {
            Some(node) if !is_cut => {
                let range = node.range();
                let raw = self.source.text().get(range.clone()).unwrap_or_default();
                let marked = raw.strip_prefix("<![CDATA[").unwrap_or(raw);
                let leading = whole.len() - whole.trim_start().len();
                let start = range.end - marked.len() + raw_offset(marked, whole, leading);
                Place::new(&self.source, start..range.end.max(start))
            }
            _ => self.place(element),
        };
        // Where a part of the changed text stands in the text as it is written.
        let locate = |offset: usize| {
            let mut seen = 0;
            let mut at = 0;
            while seen < offset && at < written.len() {
                let rest = written.get(at..).unwrap_or_default();
                let one = rest.chars().next().map_or(1, char::len_utf8);
                let (from, to) = match change(rest.get(..2).unwrap_or_default()).len() {
                    1 if rest.starts_with('\\') => (2, 1),
                    _ => (one, one),
                };
                at += from;
                seen += to;
            }
            at
        };
        match Template::compile(&text) {
            Ok(template) => {
                for (offset, len, message) in template.warnings() {
                    let start = locate(offset);
                    let at = match is_cut {
                        true => place.clone(),
                        false => sub_place(&place, written, start, locate(offset + len) - start),
                    };
                    self.warning(codes::SUSPICIOUS_EXPRESSION, at, message);
                }
                Some(template)
            }
            Err(e) if is_cut => {
                self.expression_fails(place, &e);
                None
            }
            Err(mut e) => {
                let start = locate(e.offset);
                e.len = locate(e.offset + e.len) - start;
                e.offset = start;
                self.expression_error(&place, written, &e);
                None
            }
        }
    }

    /// Adds the error of an expression at its place in the file.
    pub fn expression_error(&mut self, place: &Place, text: &str, error: &ExprError) {
        let at = sub_place(place, text, error.offset, error.len);
        self.expression_fails(at, error);
    }

    fn expression_fails(&mut self, at: Place, error: &ExprError) {
        if error.unsupported {
            self.unsupported(at, error.message.clone(), None);
        } else {
            self.error(
                codes::INVALID_EXPRESSION,
                at,
                format!("the expression does not compile: {}", error.message),
            );
        }
    }

    /// One of several words; an error that lists them otherwise.
    pub fn one_of<T: Copy>(
        &mut self,
        element: Element<'_, '_>,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = element.attribute(name)?;
        if let Some((_, value)) = words
            .iter()
            .find(|(w, _)| w.eq_ignore_ascii_case(text.trim()))
        {
            return Some(*value);
        }
        let place = self.attribute_place(element, name);
        let list: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        let hint = nearest(text, list.iter().copied()).map_or_else(
            || format!("allowed values: {}", list.join(", ")),
            |n| format!("did you mean \"{n}\"?"),
        );
        self.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("\"{text}\" is not a value of \"{name}\""),
            )
            .help(hint),
        );
        None
    }
}

/// The whole text of an element, without white space around it. Comments between its pieces do not
/// end it, as they do not in the reference.
pub fn text_of(element: Element<'_, '_>) -> String {
    let text = whole_text_of(element);
    match text.trim() {
        trimmed if trimmed.len() == text.len() => text,
        trimmed => trimmed.to_owned(),
    }
}

/// As [`text_of`], with the white space around it.
pub fn whole_text_of(element: Element<'_, '_>) -> String {
    let pieces = element.children().filter(Element::is_text);
    pieces.filter_map(|piece| piece.text()).collect()
}

/// The place of a part of an attribute value or text.
fn sub_place(place: &Place, text: &str, offset: usize, len: usize) -> Place {
    let raw = raw_text(place);
    let start = place.span.start + raw_offset(raw, text, offset);
    let end = place.span.start + raw_offset(raw, text, offset.saturating_add(len.max(1)));
    let end = end.max(start + 1).min(place.span.end.max(start));
    Place::new(&place.source, start..end)
}

fn raw_text(place: &Place) -> &str {
    place
        .source
        .text()
        .get(place.span.start..place.span.end)
        .unwrap_or_default()
}

/// Where a byte of a value stands in the XML it was written as: one character of the value may be
/// written as an entity or a line end of two characters.
fn raw_offset(raw: &str, text: &str, offset: usize) -> usize {
    if raw.starts_with(text) {
        return offset;
    }
    let mut at = 0;
    let mut seen = 0;
    for character in text.chars() {
        if seen >= offset {
            break;
        }
        seen += character.len_utf8();
        let rest = raw.get(at..).unwrap_or_default();
        at += match rest.chars().next() {
            Some('&') => rest.find(';').map_or(1, |end| end + 1),
            Some('\r') if rest.starts_with("\r\n") => 2,
            Some(written) => written.len_utf8(),
            None => 0,
        };
    }
    // An error at the end of the text stands behind its last character.
    at + offset
        .saturating_sub(seen)
        .min(raw.len().saturating_sub(at))
}

/// Parses a file as XML.
///
/// # Errors
/// The diagnostic of the first place where it is not well-formed; DTDs are refused.
pub fn parse(source: &Source) -> Result<roxmltree::Document<'_>, Box<(usize, String)>> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: false,
        nodes_limit: 1_000_000,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(source.text(), options).map_err(|e| {
        let at = e.pos();
        let offset = match e {
            // This error has no position of its own.
            roxmltree::Error::DtdDetected => source.text().find("<!DOCTYPE").unwrap_or(0),
            _ => offset_of(source.text(), at.row as usize, at.col as usize),
        };
        let message = match e {
            roxmltree::Error::DtdDetected => "a DOCTYPE is not allowed in an artifact".to_owned(),
            _ if source.text().trim().is_empty() => "the file is empty".to_owned(),
            // The parser's words for anything that is outside of the root element.
            roxmltree::Error::UnknownToken(_) => outside_of_root(source.text(), offset).to_owned(),
            other => {
                let text = other.to_string();
                // The position is shown by the diagnostic itself.
                match text.rfind(" at ") {
                    Some(cut) => text.get(..cut).unwrap_or(&text).to_owned(),
                    None => text,
                }
            }
        };
        Box::new((offset, message))
    })
}

fn outside_of_root(text: &str, offset: usize) -> &'static str {
    let (before, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
    if rest.starts_with('<') {
        "there is a second root element; put both into <definitions>, or into two files"
    } else if before.contains('<') {
        "there is text outside of the root element"
    } else {
        "the file is not XML: it does not begin with an element"
    }
}

fn offset_of(text: &str, row: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..row {
        match memchr::memchr(b'\n', text.as_bytes().get(start..).unwrap_or_default()) {
            Some(at) => start += at + 1,
            None => return text.len(),
        }
    }
    let line = text.get(start..).unwrap_or_default();
    line.char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(at, _)| start + at)
}

/// The severity a list of findings has as a whole.
pub fn worst(diagnostics: &[Diagnostic]) -> Option<Severity> {
    diagnostics.iter().map(|d| d.severity).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use expect_test::{Expect, expect};

    /// The findings of reading one attribute or text, as people see them.
    fn findings(xml: &str, read: impl FnOnce(&mut Reader, Element<'_, '_>), expected: Expect) {
        let source = Source::new("a.xml", xml);
        let document = parse(&source).unwrap();
        let mut reader = Reader::new(&source);
        read(&mut reader, document.root_element());
        let texts: Vec<String> = reader
            .into_diagnostics()
            .iter()
            .map(crate::diag::to_text)
            .collect();
        expected.assert_eq(&texts.concat());
    }

    #[test]
    fn a_caret_stands_under_the_character_also_behind_entities() {
        findings(
            "<p expression=\"${payload.ä &gt; 5 &amp;&amp; 7-2}\"/>",
            |reader, element| drop(reader.expression(element, "expression")),
            expect![[r#"
                error[M0013]: the expression does not compile: a name is expected after the dot, not '>'; before it, 'ä' means nothing here and is ignored
                 --> a.xml:1:28
                  |
                1 | <p expression="${payload.ä &gt; 5 &amp;&amp; 7-2}"/>
                  |                            ^^^^
            "#]],
        );
        findings(
            "<p expression=\"${payload.a &gt;\n   5;}\"/>",
            |reader, element| drop(reader.expression(element, "expression")),
            expect![[r#"
                warning[M0014]: ';' means nothing here and is ignored
                 --> a.xml:2:5
                  |
                2 |    5;}"/>
                  |     ^
            "#]],
        );
        findings(
            "<p key=\"{${payload.tags[}}\"/>",
            |reader, element| drop(reader.dynamic(element, "key")),
            expect![[r#"
                error[M0013]: the expression does not compile: a value is expected here, not the end
                 --> a.xml:1:25
                  |
                1 | <p key="{${payload.tags[}}"/>
                  |                         ^
            "#]],
        );
        findings(
            "<p key=\"{${vars['x']}}\"/>",
            |reader, element| drop(reader.dynamic(element, "key")),
            expect![[r#"
                warning[M0014]: a variable in single quotes always faults; use double quotes
                 --> a.xml:1:17
                  |
                1 | <p key="{${vars['x']}}"/>
                  |                 ^^^
            "#]],
        );
        findings(
            "<p key=\"${vars.x}\"/>",
            |reader, element| drop(reader.dynamic(element, "key")),
            expect![[r#"
                warning[M0014]: "key" is this text itself, not what it evaluates to
                 --> a.xml:1:9
                  |
                1 | <p key="${vars.x}"/>
                  |         ^^^^^^^^^
                  = help: write {${vars.x}}
            "#]],
        );
        findings(
            "<p expression=\"$body/a[\"/>",
            |reader, element| drop(reader.expression(element, "expression")),
            expect![[r#"
                error[M0013]: the expression does not compile: the expression ends where a path, a value or a function should be
                 --> a.xml:1:24
                  |
                1 | <p expression="$body/a["/>
                  |                        ^
            "#]],
        );
    }

    #[test]
    fn a_caret_stands_in_the_text_of_a_message() {
        let change = |text: &str| text.replace("\\n", "\n").replace("\\t", "\t");
        findings(
            "<message>\n  a &lt; b\\n ${vars.x} \\t${payload.true}\n</message>",
            |reader, element| drop(reader.template(element, change)),
            expect![[r#"
                error[M0013]: the expression does not compile: a name is expected after the dot, not 'true'; write ["true"]
                 --> a.xml:2:36
                  |
                2 |   a &lt; b\n ${vars.x} \t${payload.true}
                  |                                    ^^^^
            "#]],
        );
        findings(
            "<message><![CDATA[ a & b; ${vars['y']}]]></message>",
            |reader, element| drop(reader.template(element, change)),
            expect![[r#"
                warning[M0014]: a variable in single quotes always faults; use double quotes
                 --> a.xml:1:34
                  |
                1 | <message><![CDATA[ a & b; ${vars['y']}]]></message>
                  |                                  ^^^
            "#]],
        );
        findings(
            "<message>${vars.x} ${vars['y']}</message>",
            |reader, element| drop(reader.template(element, change)),
            expect![[r#"
                warning[M0014]: a variable in single quotes always faults; use double quotes
                 --> a.xml:1:27
                  |
                1 | <message>${vars.x} ${vars['y']}</message>
                  |                           ^^^
            "#]],
        );
        findings(
            "<message>${vars.x} <!-- and --> ${payload.true}</message>",
            |reader, element| drop(reader.template(element, change)),
            expect![[r#"
                error[M0013]: the expression does not compile: a name is expected after the dot, not 'true'; write ["true"]
                 --> a.xml:1:1
                  |
                1 | <message>${vars.x} <!-- and --> ${payload.true}</message>
                  | ^^^^^^^^
            "#]],
        );
    }
}
