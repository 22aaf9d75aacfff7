//! `<script>`: runs JavaScript on the message (spec 03 §19).
//!
//! Scripts run on threads of their own, within limits of time and memory, and reach nothing but the
//! message: there are no files, no network, no modules and no Java classes.

mod engine;
mod host;
mod pool;
mod program;
mod syntax;

use self::host::Host;
use self::pool::Job;
use self::program::{Form, Outcome, Program, Returned};
use super::list::build;
use super::threads::Threads;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::diag::{Diagnostic, Place, codes};
use crate::expr::{Dynamic, Expr};
use crate::json;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Body, Fault, Message, Value};
use crate::syntax::{Element, Reader};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "script",
    summary: "Runs JavaScript on the message.",
    doc: DOC,
    parse,
};

const INCLUDE: Tag = Tag::child(
    "include",
    "A script that runs before, with its functions. Only with `key`.",
)
.with(&[Attr::text("key", "Local entry or registry resource.").required()]);

const ARGUMENT: Tag = Tag::child("argument", "An argument of the function, behind `mc`.").with(&[
    Attr::text("name", "For people.").required(),
    Attr::words(
        "type",
        &[
            "STRING", "BOOLEAN", "INTEGER", "LONG", "DOUBLE", "JSON", "XML",
        ],
        "Type of the value.",
    )
    .or("STRING"),
    Attr::text(
        "value",
        "The value. One of `value` and `expression` is needed.",
    ),
    Attr::expression("expression", "Gives the value."),
]);

const INPUTS: Tag = Tag::child("inputs", "Arguments of the function.").of(&[&ARGUMENT]);

const ROOT: Tag = Tag::mediator(
    "script",
    "Runs JavaScript that sees the message as `mc`: inline as the text of the element, or a function of a resource. A script that returns `false` ends the flow.",
)
.with(&[
    Attr::words("language", &["js", "graalJs", "nashornJs", "rhinoJs"], "All are the same JavaScript here, as are `nashorn` and `javascript`. Others are refused.").required(),
    Attr::dynamic("key", "Local entry or registry resource with the script."),
    Attr::text("function", "The function that is called with `mc`. Only with `key`.").or("mediate"),
    Attr::words("target", &["body", "variable", "none"], "Where the result of the function goes. Only with `key`."),
    Attr::text("target-variable", "Name of the variable. Needed for `variable`."),
])
.of(&[&INCLUDE, &INPUTS])
.holds(Content::Text);

const DOC: Doc = Doc {
    group: Area::Extension,
    body: Needs::Whole,
    forms: &[&ROOT],
    remarks: &[
        "`mc` has `getPayloadJSON`, `setPayloadJSON`, `getPayloadXML`, `setPayloadXML`, `getProperty`, `setProperty`, `removeProperty`, `getVariable`, `setVariable`, `getXpathResult`, `addHeader`, `getServiceLog` and others of the reference.",
        "Scripts reach no files, network, processes or Java classes; E4X is refused at deployment with its line.",
        "A script ends with a fault at `[myelin] script_timeout` or `script_memory_bytes`.",
    ],
};

/// Names of engines that run JavaScript.
const JAVASCRIPT: &[&str] = &[
    "js",
    "graalJs",
    "nashornJs",
    "rhinoJs",
    "nashorn",
    "javascript",
];
/// Other engines of the reference.
const OTHER: &[&str] = &["groovy", "rb", "ruby", "jruby", "py", "python", "jython"];

#[derive(Debug)]
struct ScriptDef {
    language: String,
    source: Source,
    target: Option<Target>,
    inputs: Arc<Vec<Input>>,
}

#[derive(Debug)]
enum Source {
    Inline(Arc<Program>),
    Key {
        key: Arc<Dynamic>,
        includes: Vec<(String, Place)>,
        function: String,
        place: Place,
    },
}

/// Where the returned value goes.
#[derive(Clone, Debug)]
enum Target {
    Body,
    Variable(String),
    None,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    String,
    Boolean,
    Integer,
    Long,
    Double,
    Json,
    Xml,
}

const KINDS: &[(&str, Kind)] = &[
    ("STRING", Kind::String),
    ("BOOLEAN", Kind::Boolean),
    ("INTEGER", Kind::Integer),
    ("LONG", Kind::Long),
    ("DOUBLE", Kind::Double),
    ("JSON", Kind::Json),
    ("XML", Kind::Xml),
];

#[derive(Debug)]
struct Input {
    name: String,
    kind: Kind,
    value: InputValue,
}

#[derive(Debug)]
enum InputValue {
    Literal(String),
    Expr(Expr),
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let language = language(reader, element);
    let keyed = element.has_attribute("key");
    if !keyed && element.has_attribute("function") {
        let place = reader.attribute_place(element, "function");
        reader.error(
            codes::CONFLICT,
            place,
            "Cannot use 'function' attribute without 'key' attribute for a script mediator",
        );
    }
    let mut includes = Vec::new();
    let mut inputs = Vec::new();
    for child in element.children().filter(Element::is_element) {
        match reader.name(child) {
            Some("include") if keyed => {
                INCLUDE.check(reader, child);
                if let Some(key) = reader.required(child, "key") {
                    includes.push((key.to_owned(), reader.attribute_place(child, "key")));
                }
            }
            Some("include") => {
                let place = reader.place(child);
                reader.error(
                    codes::CONFLICT,
                    place,
                    "Cannot use 'include' element without 'key' attribute for a script mediator",
                );
            }
            Some("inputs") => inputs = parse_inputs(reader, child),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let target = parse_target(reader, element, keyed);
    let source = if keyed {
        reader.dynamic(element, "key").map(|key| Source::Key {
            key: Arc::new(key),
            includes,
            function: element
                .attribute("function")
                .unwrap_or("mediate")
                .to_owned(),
            place: reader.attribute_place(element, "key"),
        })
    } else {
        inline(reader, element)
    };
    let source = source?;
    (reader.errors() == before).then(|| {
        Arc::new(ScriptDef {
            language,
            source,
            target,
            inputs: Arc::new(inputs),
        }) as Arc<dyn Definition>
    })
}

fn language(reader: &mut Reader, element: Element<'_, '_>) -> String {
    let Some(language) = element.attribute("language").map(str::trim) else {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "The 'language' attribute is required for a script mediator",
        );
        return String::new();
    };
    if !JAVASCRIPT.contains(&language) {
        let place = reader.attribute_place(element, "language");
        if OTHER.contains(&language) {
            reader.unsupported(
                place,
                format!("scripts in {language} cannot run here"),
                Some("write it in JavaScript (language=\"js\")"),
            );
        } else {
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("No script engine found for language: {language}"),
            );
        }
    }
    language.to_owned()
}

fn parse_target(reader: &mut Reader, element: Element<'_, '_>, keyed: bool) -> Option<Target> {
    let word = element.attribute("target")?;
    let place = reader.attribute_place(element, "target");
    if !keyed {
        reader.error(
            codes::CONFLICT,
            place,
            "\"target\" needs \"key\": only the function of a script in a local entry returns a value",
        );
        return None;
    }
    match word {
        "body" => Some(Target::Body),
        "none" => Some(Target::None),
        "variable" => {
            let name = element.attribute("target-variable").unwrap_or_default();
            if name.trim().is_empty() {
                reader.error(
                    codes::MISSING_ATTRIBUTE,
                    place,
                    "The 'target-variable' attribute is required when the target is 'variable'",
                );
            }
            Some(Target::Variable(name.to_owned()))
        }
        other => {
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("Invalid 'target' attribute value for script mediator : {other}. It should be either 'body', 'variable' or 'none'"),
            );
            None
        }
    }
}

fn parse_inputs(reader: &mut Reader, element: Element<'_, '_>) -> Vec<Input> {
    INPUTS.check(reader, element);
    let mut out = Vec::new();
    for child in reader.children(element) {
        if reader.name(child) != Some("argument") {
            INPUTS.refuse(reader, child);
            continue;
        }
        ARGUMENT.check(reader, child);
        let name = reader.required(child, "name").map(str::to_owned);
        let kind = reader.one_of(child, "type", KINDS).unwrap_or(Kind::String);
        let value = if child.has_attribute("expression") {
            reader.expression(child, "expression").map(InputValue::Expr)
        } else {
            reader
                .required(child, "value")
                .map(|v| InputValue::Literal(v.to_owned()))
        };
        if let (Some(name), Some(value)) = (name, value) {
            out.push(Input { name, kind, value });
        }
    }
    out
}

fn inline(reader: &mut Reader, element: Element<'_, '_>) -> Option<Source> {
    let pieces = || element.children().filter(Element::is_text);
    let text: String = pieces().filter_map(|t| t.text()).collect();
    let start = pieces().next().map_or(element.range().start, |t| {
        let range = t.range();
        let raw = reader.source.text().get(range.clone()).unwrap_or_default();
        range.start + if raw.starts_with("<![CDATA[") { 9 } else { 0 }
    });
    if let Some((line, problem, supported)) = problem(&text) {
        let place = line_place(reader, start, line);
        if supported {
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("Exception initializing inline script: {problem}"),
            );
        } else {
            reader.unsupported(place, unsupported(problem), Some(HELP));
        }
        return None;
    }
    Some(Source::Inline(Arc::new(Program::new(Form::Inline(text)))))
}

const HELP: &str = "use JSON, mc.getXpathResult(…), mc.parseXml(…) or plain JavaScript";

fn unsupported(what: Cow<'_, str>) -> String {
    format!("{what} in a script cannot run here")
}

/// What is wrong with a script: its line, what it is, and whether it is an error in the script
/// rather than something that cannot run here.
fn problem(text: &str) -> Option<(usize, Cow<'static, str>, bool)> {
    if let Some(found) = syntax::find(text) {
        return Some((found.line, Cow::Borrowed(found.what), false));
    }
    engine::check(text).map(|(line, text)| (line, Cow::Owned(text), true))
}

/// The text of a line of a script that begins at an offset of the file.
fn line_place(reader: &Reader, start: usize, line: usize) -> Place {
    let text = reader.source.text();
    let mut from = start;
    for _ in 1..line {
        match text.get(from..).and_then(|t| t.find('\n')) {
            Some(at) => from += at + 1,
            None => break,
        }
    }
    let rest = text.get(from..).unwrap_or_default();
    let whole = rest.split('\n').next().unwrap_or_default();
    let indent = whole.len() - whole.trim_start().len();
    let end = from + whole.trim_end().len();
    Place::new(&reader.source, (from + indent).min(end)..end)
}

impl Definition for ScriptDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let program = match &self.source {
            Source::Inline(program) => Linked::Fixed(program.clone()),
            Source::Key {
                key,
                includes,
                function,
                place,
            } => match &**key {
                Dynamic::Static(name) => link_external(linker, name, place, includes, function),
                Dynamic::Expr(_) => Linked::PerMessage {
                    key: key.clone(),
                    includes: includes.iter().map(|(key, _)| key.clone()).collect(),
                    function: function.clone(),
                },
            },
        };
        Run::Wait(Box::new(Script {
            language: self.language.clone(),
            name: match &self.source {
                Source::Inline(_) => None,
                Source::Key { key, function, .. } => Some((key.clone(), function.clone())),
            },
            program,
            target: self.target.clone(),
            inputs: self.inputs.clone(),
            threads: linker.stores.shared("scripts", "", 0),
        }))
    }
}

fn link_external(
    linker: &mut Linker<'_>,
    name: &str,
    place: &Place,
    includes: &[(String, Place)],
    function: &str,
) -> Linked {
    let mut texts = Vec::new();
    let mut first = None;
    for (key, place) in includes
        .iter()
        .map(|(key, place)| (key.as_str(), place))
        .chain([(name, place)])
    {
        let found = match crate::expr::entries::find(&linker.entries, key) {
            Some(entry) => {
                let text = entry.text().into_owned();
                match problem(&text) {
                    None => {
                        texts.push((key.to_owned(), text));
                        continue;
                    }
                    Some((line, what, true)) => Diagnostic::error(
                        codes::INVALID_VALUE,
                        place.clone(),
                        format!("the script \"{key}\" does not compile: line {line}: {what}"),
                    ),
                    Some((line, what, false)) => Diagnostic::error(
                        codes::UNSUPPORTED,
                        place.clone(),
                        format!("the script \"{key}\", line {line}: {}", unsupported(what)),
                    )
                    .help(HELP),
                }
            }
            None => Diagnostic::error(
                codes::INVALID_VALUE,
                place.clone(),
                format!("there is no local entry \"{key}\""),
            ),
        };
        first.get_or_insert_with(|| found.message.clone());
        linker.diagnostics.push(found);
    }
    match first {
        Some(problem) => Linked::Broken(problem),
        None => Linked::Fixed(Arc::new(Program::new(Form::External {
            texts,
            function: function.to_owned(),
        }))),
    }
}

#[derive(Debug)]
enum Linked {
    Fixed(Arc<Program>),
    /// The key is an expression.
    PerMessage {
        key: Arc<Dynamic>,
        includes: Vec<String>,
        function: String,
    },
    /// Faults with this.
    Broken(String),
}

#[derive(Debug)]
struct Script {
    language: String,
    /// Key and function of an external script, for messages.
    name: Option<(Arc<Dynamic>, String)>,
    program: Linked,
    target: Option<Target>,
    inputs: Arc<Vec<Input>>,
    threads: Arc<Threads<Job>>,
}

impl MediateAsync for Script {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                build(cx, message).await?;
            }
            if !message.is_built() {
                return Err(Fault::mediation("the body was not built"));
            }
            let program = match self.program(cx, message) {
                Ok(program) => program,
                Err(problem) => return Err(self.fault(cx, message, "an Exception", problem)),
            };
            let arguments = self.arguments(cx, message)?;
            let outcome = self.run(cx, message, program, arguments).await?;
            match outcome {
                Outcome::Failed(problem) => Err(self.fault(cx, message, "an error", problem)),
                Outcome::NoFunction => {
                    let problem = "there is no such function in the script".to_owned();
                    Err(self.fault(cx, message, "a NoSuchMethodException", problem))
                }
                Outcome::Value(value) => match &self.target {
                    None => Ok(match value {
                        Returned::Boolean(false) => Flow::Stop,
                        _ => Flow::Continue,
                    }),
                    Some(target) => self.deliver(cx, message, target, value),
                },
            }
        })
    }
}

impl Script {
    fn program(&self, cx: Context<'_>, message: &Message) -> Result<Arc<Program>, String> {
        match &self.program {
            Linked::Fixed(program) => Ok(program.clone()),
            Linked::Broken(problem) => Err(problem.clone()),
            Linked::PerMessage {
                key,
                includes,
                function,
            } => {
                let key = key.value(&cx.scope(message)).map_err(|f| f.message)?;
                let mut texts = Vec::new();
                for key in includes.iter().chain([&key]) {
                    let entry = crate::expr::entries::find(&cx.library.entries, key);
                    let entry =
                        entry.ok_or_else(|| format!("there is no local entry \"{key}\""))?;
                    let text = entry.text().into_owned();
                    if let Some(found) = syntax::find(&text) {
                        let (line, what) = (found.line, Cow::Borrowed(found.what));
                        return Err(format!(
                            "the script \"{key}\", line {line}: {}",
                            unsupported(what)
                        ));
                    }
                    texts.push((key.clone(), text));
                }
                Ok(Arc::new(Program::new(Form::External {
                    texts,
                    function: function.clone(),
                })))
            }
        }
    }

    /// Hands the message to a thread and waits for it.
    async fn run(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        program: Arc<Program>,
        arguments: String,
    ) -> Result<Outcome, Fault> {
        let placeholder = Message::request(
            http::Method::GET,
            http::Uri::default(),
            http::HeaderMap::new(),
            Body::Empty,
        );
        let (reply, answer) = oneshot::channel();
        let job = Job {
            program,
            arguments,
            host: Host {
                message: std::mem::replace(message, placeholder),
                services: cx.services.clone(),
                library: cx.library.clone(),
                exchange: cx.exchange.clone(),
                route: cx.route.clone(),
                written: Default::default(),
            },
            reply,
        };
        if let Err(job) = pool::submit(&self.threads, job, &cx.services.settings.script) {
            *message = job.host.message;
            return Err(Fault::mediation(
                "Too many messages wait for a script ([myelin] script_queue); try again later",
            ));
        }
        match answer.await {
            Ok((host, outcome)) => {
                *message = host.message;
                Ok(outcome)
            }
            Err(_) => Err(Fault::mediation("The thread of the script has ended")),
        }
    }

    /// The values of `<inputs>` as a JSON array.
    fn arguments(&self, cx: Context<'_>, message: &Message) -> Result<String, Fault> {
        if self.inputs.is_empty() {
            return Ok(String::new());
        }
        let mut list = Vec::with_capacity(self.inputs.len());
        for input in self.inputs.iter() {
            let text = match &input.value {
                InputValue::Literal(text) => Cow::Borrowed(text.as_str()),
                InputValue::Expr(expr) => {
                    Cow::Owned(expr.string(&cx.scope(message))?.unwrap_or_default())
                }
            };
            let value = argument(input.kind, &text);
            if value.is_none() {
                tracing::error!(
                    target: "ScriptMediator",
                    "{}the argument {} cannot be read as {:?}: {text}", cx.route.label, input.name, input.kind
                );
            }
            list.push(value.unwrap_or(json::Value::Null));
        }
        Ok(json::to_text(&json::Value::Array(list)))
    }

    fn deliver(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        target: &Target,
        value: Returned,
    ) -> Result<Flow, Fault> {
        let null = |name: &str| {
            Fault::mediation(format!(
                "Return object is null. Cannot set null object to the target : {name}"
            ))
        };
        match target {
            Target::None => {}
            Target::Body => set_body(cx, message, value).ok_or_else(|| null("body"))??,
            Target::Variable(name) => {
                let value = as_value(value, cx).ok_or_else(|| null(name))?;
                message.variables.set(name, value);
            }
        }
        Ok(Flow::Continue)
    }

    fn fault(&self, cx: Context<'_>, message: &Message, what: &str, problem: String) -> Fault {
        let language = &self.language;
        let text = match &self.name {
            None => format!(
                "The script engine returned {what} executing the inlined {language} script function mediate"
            ),
            Some((key, function)) => {
                let key = key.value(&cx.scope(message)).unwrap_or_default();
                format!(
                    "The script engine returned {what} executing the external {language} script : {key} function {function}"
                )
            }
        };
        let mut fault = Fault::mediation(text);
        fault.detail = Some(problem);
        fault
    }
}

fn argument(kind: Kind, text: &str) -> Option<json::Value> {
    match kind {
        Kind::String | Kind::Xml => Some(json::Value::String(text.to_owned())),
        Kind::Boolean => Some(json::Value::Bool(text.trim().eq_ignore_ascii_case("true"))),
        // Written anew: Java reads `+5` and `007`, JSON does not.
        Kind::Integer => text.trim().parse::<i32>().ok().map(json::Value::number),
        Kind::Long => text.trim().parse::<i64>().ok().map(json::Value::number),
        Kind::Double => {
            let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite())?;
            Some(json::Value::number(number))
        }
        Kind::Json => json::parse(text.as_bytes(), &json::Limits::default()).ok(),
    }
}

/// Puts a returned value into the body; `None` when it is null.
fn set_body(cx: Context<'_>, message: &mut Message, value: Returned) -> Option<Result<(), Fault>> {
    let limits = &cx.services.limits;
    let (text, content_type) = match value {
        Returned::Null => return None,
        Returned::Json(text) | Returned::Number(text) => (text, "application/json"),
        Returned::Boolean(b) => (b.to_string(), "application/json"),
        Returned::Xml(text) => (text, "application/xml"),
        Returned::Text(text) if text.trim_start().starts_with('<') => (text, "application/xml"),
        Returned::Text(text) => (text, "text/plain"),
    };
    if let Err(fault) = message.set_payload(text, content_type, limits) {
        return Some(Err(fault));
    }
    message.set_message_type(content_type);
    Some(Ok(()))
}

/// A returned value as a property or variable keeps it; `None` when it is null.
fn as_value(value: Returned, cx: Context<'_>) -> Option<Value> {
    Some(match value {
        Returned::Null => return None,
        Returned::Boolean(b) => Value::Boolean(b),
        Returned::Number(text) => match (text.parse::<i32>(), text.parse::<i64>()) {
            (Ok(n), _) => Value::Integer(n),
            (_, Ok(n)) => Value::Long(n),
            _ => Value::Double(text.parse().ok()?),
        },
        Returned::Text(text) => Value::String(text),
        Returned::Xml(text) => Value::xml(&text, &cx.services.limits.xml)?,
        Returned::Json(text) => Value::Json(Arc::new(
            json::parse(text.as_bytes(), &cx.services.limits.json).ok()?,
        )),
    })
}
