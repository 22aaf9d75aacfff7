//! Formats of template type `freemarker` (spec 03 §14.4), filled by the `freemarker` crate.
//!
//! Its templates belong to one thread, so that each thread compiles a template once and keeps it in
//! a bounded cache. Its parser recurses; what it gets is bounded before.

use super::bounds::Patience;
use super::{Arguments, Unusable, bounds};
use crate::expr::Scope;
use crate::expr::xpath::PropertyValue;
use crate::json::Value as Json;
use crate::mediator::content::shown;
use crate::message::{Body, BodyLimits, Fault, Message, PayloadKind, header_text};
use ::freemarker::value::TNumber;
use ::freemarker::{Configuration, TModel, TemplateError};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Longest template, in bytes.
pub(super) const MAX_TEXT: usize = 256 * 1024;
/// Deepest nesting of directives and of brackets.
pub(super) const MAX_NESTING: usize = 32;
/// Most operators in one directive or interpolation: each may be a level of recursion.
pub(super) const MAX_OPERATORS: usize = 250;
/// The stack that compiling and filling in get, in bytes; a worker has more.
pub(super) const STACK: usize = 8 << 20;
/// How long a template may take on a worker. One that takes longer does so on a thread for templates, from
/// the first message on that shows it.
const MOMENT: Duration = Duration::from_millis(1);
/// Largest body that a worker makes a data model of, in bytes.
const AT_ONCE: usize = 256 * 1024;
/// Most templates that a thread keeps compiled.
const KEPT: usize = 256;

/// A template that was found to compile.
#[derive(Debug)]
pub(super) struct Template {
    id: u64,
    text: Box<str>,
    uses: Uses,
    /// The last time it took longer than a moment.
    slow: AtomicBool,
}

/// The parts of the data model that the text mentions.
#[derive(Clone, Copy, Debug)]
struct Uses {
    payload: bool,
    args: bool,
    ctx: bool,
    axis2: bool,
    trp: bool,
    vars: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

struct Cache {
    configuration: Rc<Configuration>,
    templates: HashMap<u64, Rc<::freemarker::Template>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache {
        configuration: Rc::new(bounds::configuration()),
        templates: HashMap::new(),
    });
}

impl Template {
    /// Compiles a template once, to see that it can be.
    pub(super) fn compile(text: &str) -> Result<Template, Unusable> {
        let text = unwrapped(text);
        check(text)?;
        let template = Template {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            text: text.into(),
            uses: Uses {
                payload: text.contains("payload"),
                args: text.contains("args"),
                ctx: text.contains("ctx"),
                axis2: text.contains("axis2"),
                trp: text.contains("trp"),
                vars: text.contains("vars"),
            },
            slow: AtomicBool::new(false),
        };
        match template.try_out() {
            Ok(()) => Ok(template),
            Err(cause) => Err(Unusable {
                offset: 0,
                message: cause,
                unsupported: false,
            }),
        }
    }

    /// Compiles on a thread of its own: who deploys may have less of a stack than a worker has.
    fn try_out(&self) -> Result<(), String> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, || {
                    self.parse(&Rc::new(bounds::configuration())).map(|_| ())
                });
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(outcome)) => outcome,
                _ => Err("the template cannot be compiled".to_owned()),
            }
        })
    }

    fn parse(
        &self,
        configuration: &Rc<Configuration>,
    ) -> Result<Rc<::freemarker::Template>, String> {
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            ::freemarker::parser::parse(configuration, "format", &self.text)
        }));
        match parsed {
            Ok(Ok(mut template)) => {
                bounds::put_into(&mut template)?;
                Ok(Rc::new(template))
            }
            Ok(Err(e)) => Err(describe(&e)),
            Err(_) => Err("the template cannot be compiled".to_owned()),
        }
    }

    fn compiled(&self) -> Result<Rc<::freemarker::Template>, String> {
        CACHE.with_borrow_mut(|cache| {
            if let Some(template) = cache.templates.get(&self.id) {
                return Ok(template.clone());
            }
            let template = self.parse(&cache.configuration)?;
            // Templates of older plans are never asked for again.
            if cache.templates.len() >= KEPT {
                cache.templates.clear();
            }
            cache.templates.insert(self.id, template.clone());
            Ok(template)
        })
    }

    /// The text for a message, on a worker: `None` when that would hold up other messages.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(super) fn render_at_once(
        &self,
        scope: &Scope<'_>,
        arguments: &Arguments,
        limits: &BodyLimits,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if self.slow.load(Ordering::Relaxed) || (self.uses.payload && is_large(scope.message)) {
            return Ok(None);
        }
        let outcome = self.fill(scope, arguments, limits, Patience::Moment(MOMENT))?;
        match outcome {
            (_, true) => {
                self.slow.store(true, Ordering::Relaxed);
                Ok(None)
            }
            (text, false) => text.map(Some),
        }
    }

    /// The text for a message.
    ///
    /// # Errors
    /// Whatever the template cannot do, and what exceeds a limit.
    pub(super) fn render(
        &self,
        scope: &Scope<'_>,
        arguments: &Arguments,
        limits: &BodyLimits,
        within: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let begin = Instant::now();
        let (text, _) = self.fill(scope, arguments, limits, Patience::All(within))?;
        self.slow.store(begin.elapsed() > MOMENT, Ordering::Relaxed);
        text
    }

    /// The text, and whether the time did not suffice.
    fn fill(
        &self,
        scope: &Scope<'_>,
        arguments: &Arguments,
        limits: &BodyLimits,
        patience: Patience,
    ) -> Result<(Result<Vec<u8>, Fault>, bool), Fault> {
        let template = self
            .compiled()
            .map_err(|e| Fault::mediation(format!("Error compiling FreeMarking template : {e}")))?;
        let model = self.model(scope, arguments, limits)?;
        let mut output = Output {
            bytes: Vec::with_capacity(self.text.len()),
            limit: limits.max_bytes,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            bounds::within(patience, || template.process(model, &mut output))
        }));
        Ok(match outcome {
            Ok((Ok(()), over)) => (Ok(output.bytes), over),
            Ok((Err(e), over)) => (Err(failure(&e)), over),
            Err(_) => {
                CACHE.with_borrow_mut(|cache| cache.templates.remove(&self.id));
                let fault = Fault::mediation(
                    "Error parsing FreeMarker template, the template cannot be evaluated",
                );
                (Err(fault), false)
            }
        })
    }

    fn model(
        &self,
        scope: &Scope<'_>,
        arguments: &Arguments,
        limits: &BodyLimits,
    ) -> Result<TModel, Fault> {
        let mut root = Vec::new();
        let mut add = |name: &str, value: TModel| root.push((name.to_owned(), value));
        if self.uses.payload {
            add("payload", payload(scope.message, limits)?);
        }
        if self.uses.args {
            let mut values = Vec::new();
            let texts = arguments
                .distinct
                .iter()
                .map(|argument| Ok(argument.evaluate(scope)?.into_text()))
                .collect::<Result<Vec<String>, Fault>>()?;
            for (index, place) in arguments.places.iter().enumerate() {
                let text = texts.get(*place).cloned().unwrap_or_default();
                values.push((format!("arg{}", index + 1), TModel::from_scalar(text)));
            }
            add("args", hash(values));
        }
        if self.uses.ctx {
            let values = scope.message.properties.iter();
            add(
                "ctx",
                hash(values.map(|(n, v)| (n.to_owned(), text(&v.text())))),
            );
        }
        if self.uses.axis2 {
            add("axis2", hash(axis2(scope)));
        }
        if self.uses.vars {
            let values = scope.message.variables.iter();
            add(
                "vars",
                hash(values.map(|(n, v)| (n.to_owned(), text(&v.text())))),
            );
        }
        if self.uses.trp {
            let headers = &scope.message.headers;
            let names = headers.keys().filter_map(|n| Some((n, headers.get(n)?)));
            add(
                "trp",
                hash(names.map(|(n, v)| (n.as_str().to_owned(), text(header_text(v))))),
            );
        }
        Ok(hash(root))
    }
}

fn text(text: &str) -> TModel {
    TModel::from_scalar(text.to_owned())
}

fn hash(members: impl IntoIterator<Item = (String, TModel)>) -> TModel {
    TModel::from_hash(members.into_iter().collect())
}

/// Axis2 properties that were set, and those that every message shows.
fn axis2(scope: &Scope<'_>) -> Vec<(String, TModel)> {
    const SHOWN: &[&str] = &[
        "CHARACTER_SET_ENCODING",
        "ContentType",
        "CORRELATION_ID",
        "HTTP_METHOD",
        "HTTP_SC",
        "HTTP_SC_DESC",
        "messageType",
        "NO_ENTITY_BODY",
        "REMOTE_ADDR",
        "REST_URL_POSTFIX",
        "SERVICE_PREFIX",
        "TransportInURL",
    ];
    let set = scope.message.axis2.iter().map(|(name, _)| name);
    let mut out: Vec<(String, TModel)> = Vec::new();
    for name in set.chain(SHOWN.iter().copied()) {
        if out.iter().any(|(known, _)| known == name) {
            continue;
        }
        let value = match scope.axis2(name) {
            PropertyValue::String(t) | PropertyValue::Json(t) => text(&t),
            PropertyValue::Boolean(b) => text(if b { "true" } else { "false" }),
            PropertyValue::Integer(n) => text(&n.to_string()),
            PropertyValue::Float(n) => text(&n.to_string()),
            PropertyValue::Double(n) => text(&n.to_string()),
            PropertyValue::Xml(document, node) => text(&document.to_xml(node)),
            PropertyValue::Null => continue,
        };
        out.push((name.to_owned(), value));
    }
    out
}

/// Whether the body is so large that a worker does not make a data model of it.
fn is_large(message: &Message) -> bool {
    match &message.body {
        Body::Built(built) => match built.unchanged() {
            Some(bytes) => bytes.len() > AT_ONCE,
            None => built
                .envelope()
                .is_ok_and(|e| e.document.node_count() > AT_ONCE / 32),
        },
        _ => false,
    }
}

fn payload(message: &Message, limits: &BodyLimits) -> Result<TModel, Fault> {
    let Body::Built(built) = &message.body else {
        return Ok(text(""));
    };
    if built.json().is_some() {
        let tree = built.json_tree().map_err(Fault::malformed)?;
        return Ok(tree.map_or_else(|| text(""), json));
    }
    let envelope = built.envelope()?;
    let Some(payload) = envelope.payload() else {
        return Ok(text(""));
    };
    let document = &envelope.document;
    if built.kind == PayloadKind::Text
        || document.is_element(payload, crate::message::body::PAYLOAD_NAMESPACE, "text")
    {
        return Ok(text(&document.string_value(payload)));
    }
    let xml = document.xml_within(payload, limits.xml.max_bytes)?;
    TModel::from_xml_str(&xml).map_err(|e| failure(&e))
}

/// JSON as FreeMarker sees it: numbers are doubles, null is missing. Values nest at most
/// [`crate::json::MAX_DEPTH`] deep.
fn json(value: &Json) -> TModel {
    match value {
        Json::Null => TModel::nothing(),
        Json::Bool(b) => TModel::from_boolean(*b),
        Json::Number(n) => TModel::from_number(TNumber::Double(n.parse().unwrap_or(f64::NAN))),
        Json::String(t) => text(t),
        Json::Array(items) => TModel::from_sequence(items.iter().map(json).collect()),
        Json::Object(_) => hash(
            value
                .members()
                .filter(|(_, _, v)| **v != Json::Null)
                .map(|(_, name, v)| (name.to_owned(), json(v))),
        ),
    }
}

/// Takes the CDATA wrapper away that the text of a registry resource may have.
fn unwrapped(text: &str) -> &str {
    let trimmed = text.trim();
    trimmed
        .strip_prefix("<![CDATA[")
        .and_then(|t| t.strip_suffix("]]>"))
        .unwrap_or(text)
}

/// Collects what a template writes.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            let limit = self.limit;
            return Err(io::Error::other(format!(
                "the payload is larger than the limit of {limit} bytes"
            )));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failure(error: &TemplateError) -> Fault {
    let text = describe(error);
    let mut fault = Fault::mediation(format!(
        "Error parsing FreeMarker template, Syntax error or invalid reference : {}",
        shown(text.as_bytes())
    ));
    fault.detail = Some(format!("{}\n{error}", fault.message));
    fault
}

/// The first lines of an error: what, and where.
fn describe(error: &TemplateError) -> String {
    if let TemplateError::Parse {
        line, col, message, ..
    } = error
    {
        let message = message.lines().next().unwrap_or_default();
        return format!("{message} At line: {line} column: {col}");
    }
    let text = error.to_string();
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Bounds what the parser, and the evaluation of what it made, recurse over; refuses what would run
/// text of a message as a template.
fn check(text: &str) -> Result<(), Unusable> {
    let refused = |offset: usize, message: String, unsupported: bool| Unusable {
        offset,
        message,
        unsupported,
    };
    if text.len() > MAX_TEXT {
        let message = format!("the template is longer than {MAX_TEXT} bytes");
        return Err(refused(0, message, false));
    }
    for (word, what) in [
        (
            "<#include",
            "<#include> is not supported; put the text into the format",
        ),
        (
            "<#import",
            "<#import> is not supported; put the macros into the format",
        ),
        (
            "[#include",
            "[#include] is not supported; put the text into the format",
        ),
        (
            "[#import",
            "[#import] is not supported; put the macros into the format",
        ),
    ] {
        if let Some(at) = text.find(word) {
            return Err(refused(at, what.to_owned(), true));
        }
    }
    for (at, _) in text.match_indices('?') {
        let name = text.get(at + 1..).unwrap_or_default().trim_start();
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        let name = name.get(..end).unwrap_or_default();
        if matches!(
            name,
            "interpret" | "eval" | "eval_json" | "evalJson" | "new" | "api"
        ) {
            let message = format!("the built-in ?{name} is not supported");
            return Err(refused(at, message, true));
        }
    }
    if let Some(at) = too_deep(text) {
        let message = format!(
            "the template nests deeper than {MAX_NESTING} levels, or has more than {MAX_OPERATORS} operators in one place"
        );
        return Err(refused(at, message, false));
    }
    Ok(())
}

/// Where directives or brackets nest too deeply, or an expression has too many operators.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        let open = match (byte, next) {
            (b'<' | b'[', Some(b'#'))
                if text.get(at + 2..).is_some_and(|t| t.starts_with("--")) =>
            {
                let end = text
                    .get(at..)
                    .and_then(|t| t.find("-->").or_else(|| t.find("--]")));
                at += end? + 3;
                continue;
            }
            (b'<' | b'[', Some(b'#' | b'@')) => Region::Tag(*byte == b'['),
            (b'<' | b'[', Some(b'/')) if matches!(bytes.get(at + 2), Some(b'#' | b'@')) => {
                depth = depth.saturating_sub(1);
                at += 3;
                continue;
            }
            (b'$' | b'#', Some(b'{')) => Region::Interpolation,
            _ => {
                at += 1;
                continue;
            }
        };
        let start = at;
        let end = region_end(bytes, at + 2, open)?;
        let inside = match end {
            Ok(end) => text.get(at..end).unwrap_or_default(),
            Err(at) => return Some(at),
        };
        at += inside.len().max(2);
        if let Region::Tag(_) = open
            && opens_block(inside)
        {
            depth += 1;
            if depth > MAX_NESTING {
                return Some(start);
            }
        }
    }
    None
}

#[derive(Clone, Copy)]
enum Region {
    /// A directive; in square brackets.
    Tag(bool),
    /// `${…}`
    Interpolation,
}

/// Where a directive or interpolation ends that begins at `from`: behind its last character, or the
/// place where it is too deep. `None` when it does not end, which the parser refuses.
fn region_end(bytes: &[u8], from: usize, region: Region) -> Option<Result<usize, usize>> {
    let last = match region {
        Region::Tag(false) => b'>',
        Region::Tag(true) => b']',
        Region::Interpolation => b'}',
    };
    let (mut brackets, mut operators) = (0_usize, 0_usize);
    let mut quote = None;
    let mut at = from;
    loop {
        let byte = *bytes.get(at)?;
        if let Some(open) = quote {
            match byte {
                b'\\' => at += 1,
                byte if byte == open => quote = None,
                _ => {}
            }
            at += 1;
            continue;
        }
        match byte {
            byte if byte == last && brackets == 0 => return Some(Ok(at + 1)),
            b'"' | b'\'' => quote = Some(byte),
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        if matches!(
            byte,
            b'+' | b'-'
                | b'*'
                | b'/'
                | b'%'
                | b'|'
                | b'&'
                | b'='
                | b'?'
                | b'!'
                | b'.'
                | b'('
                | b'['
        ) {
            operators += 1;
        }
        if brackets > MAX_NESTING || operators > MAX_OPERATORS {
            return Some(Err(at));
        }
        at += 1;
    }
}

/// Whether a directive, given from its `<` to its `>`, has content that an end tag closes.
fn opens_block(tag: &str) -> bool {
    if tag.ends_with("/>") || tag.ends_with("/]") {
        return false;
    }
    let Some(name) = tag.get(2..) else {
        return false;
    };
    if tag.get(1..2) == Some("@") {
        return true;
    }
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(name.len());
    let (name, rest) = name.split_at(end);
    match name {
        "assign" | "global" | "local" => !rest.contains('='),
        "else" | "elseif" | "elseIf" | "case" | "default" | "on" | "sep" | "break" | "continue"
        | "return" | "stop" | "ftl" | "setting" | "nested" | "recurse" | "visit" | "fallback"
        | "flush" | "t" | "lt" | "rt" | "nt" | "recover" => false,
        _ => true,
    }
}
