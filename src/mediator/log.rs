//! `<log>`: writes a line about the message (spec 01 §13).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::codes;
use crate::expr::{Expr, Need, Template, Wanted};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Body, Fault, Message};
use crate::syntax::{Element, Reader};
use std::fmt::Write;
use std::sync::{Arc, PoisonError};

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "log",
    summary: "Writes a line about the message.",
    doc: DOC,
    parse,
};

const PROPERTY: Tag = Tag::child("property", "A name with a value on the line.").with(&[
    Attr::text("name", "The name.").required(),
    Attr::text(
        "value",
        "The value. One of `value` and `expression` is needed.",
    ),
    Attr::expression("expression", "Gives the value."),
    Attr::text("type", "From MI's tools.").ignored(),
    Attr::text("scope", "From MI's tools.").ignored(),
]);

const MESSAGE: Tag = Tag::child(
    "message",
    "The text of the line, with `${…}` in it. `\\n` and `\\t` are a line end and a tab.",
)
.holds(Content::Text);

const ROOT: Tag = Tag::mediator("log", "Writes one line about the message to the log.")
    .with(&[
        Attr::words(
            "level",
            &["simple", "headers", "full", "custom"],
            "`simple`: addressing fields; `headers`: SOAP headers too; `full`: and the body; `custom`: only the properties. Beside `<message>` nothing of this is written unless it is said.",
        )
        .or("simple"),
        Attr::words(
            "category",
            &["INFO", "TRACE", "DEBUG", "WARN", "ERROR", "FATAL"],
            "Level of the line.",
        )
        .or("INFO"),
        Attr::text("separator", "Stands between the parts. `\\n` and `\\t` are understood.").or("`, `"),
        Attr::truth("logFullPayload", "`true`: the body is written behind `<message>`."),
        Attr::truth("logMessageID", "`true`: the message id is written."),
    ])
    .of(&[&PROPERTY, &MESSAGE]);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::As(
        "`simple`, `headers` and `full` read the body; `custom` and `<message>` read what their expressions read.",
    ),
    forms: &[&ROOT],
    remarks: &[
        "Control characters that a message brings are escaped, so that it cannot forge lines.",
    ],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Simple,
    Headers,
    Full,
    Custom,
    Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

const CATEGORIES: &[(&str, Category)] = &[
    ("INFO", Category::Info),
    ("TRACE", Category::Trace),
    ("DEBUG", Category::Debug),
    ("WARN", Category::Warn),
    ("ERROR", Category::Error),
    ("FATAL", Category::Error),
];

#[derive(Debug)]
enum Source {
    Literal(String),
    Expr(Expr),
}

#[derive(Debug)]
struct Log {
    level: Level,
    category: Category,
    separator: String,
    message: Option<Template>,
    message_id: bool,
    properties: Vec<(String, Source)>,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let child = reader.child(element, "message");
    let message = child.and_then(|child| reader.template(child, unescape));
    let mut level = match element.attribute("level") {
        None if child.is_some() => Level::Template,
        None => Level::Simple,
        Some(_) => reader
            .one_of(
                element,
                "level",
                &[
                    ("simple", Level::Simple),
                    ("headers", Level::Headers),
                    ("full", Level::Full),
                    ("custom", Level::Custom),
                ],
            )
            .unwrap_or(Level::Simple),
    };
    let is_true = |name: &str| {
        element
            .attribute(name)
            .is_some_and(|v| v.eq_ignore_ascii_case("true"))
    };
    if is_true("logFullPayload") {
        level = Level::Full;
    }
    let category = reader
        .one_of(element, "category", CATEGORIES)
        .unwrap_or(Category::Info);
    let mut properties = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("property") => {
                PROPERTY.check(reader, child);
                let name = reader
                    .required(child, "name")
                    .unwrap_or_default()
                    .to_owned();
                match (child.attribute("value"), child.has_attribute("expression")) {
                    (Some(value), _) => properties.push((name, Source::Literal(value.to_owned()))),
                    (None, true) => {
                        if let Some(expr) = reader.expression(child, "expression") {
                            properties.push((name, Source::Expr(expr)));
                        }
                    }
                    (None, false) => {
                        let place = reader.place(child);
                        reader.error(
                            codes::MISSING_ATTRIBUTE,
                            place,
                            "a property of <log> needs \"value\" or \"expression\"",
                        );
                    }
                }
            }
            Some("message" | "description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    (reader.errors() == before).then(|| {
        Arc::new(LogDef(Arc::new(Log {
            level,
            category,
            separator: unescape(element.attribute("separator").unwrap_or(", ")),
            message,
            message_id: is_true("logMessageID"),
            properties,
        }))) as Arc<dyn Definition>
    })
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

#[derive(Debug)]
struct LogDef(Arc<Log>);

impl Definition for LogDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(LogDef(self.0.clone())))
    }
}

impl Mediate for LogDef {
    fn need(&self) -> Need {
        // Simple lines show addressing fields, which may stand in the body's headers.
        if matches!(self.0.level, Level::Simple | Level::Headers | Level::Full)
            || self.0.message.as_ref().is_some_and(Template::needs_body)
        {
            return Need::Tree;
        }
        let needs = self.0.exprs().map(|e| e.need(Wanted::Text));
        needs.max().unwrap_or(Need::Nothing)
    }

    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        self.0.exprs().nth(number).map(|e| (e, Wanted::Text))
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let log = &*self.0;
        let text = log.text(cx, message)?;
        let line = format!("{}{text}", cx.route.label);
        match log.category {
            Category::Trace => tracing::trace!(target: "LogMediator", "{line}"),
            Category::Debug => tracing::debug!(target: "LogMediator", "{line}"),
            Category::Info => tracing::info!(target: "LogMediator", "{line}"),
            Category::Warn => tracing::warn!(target: "LogMediator", "{line}"),
            Category::Error => tracing::error!(target: "LogMediator", "{line}"),
        }
        if let Some(lines) = &cx.services.lines {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
        Ok(Flow::Continue)
    }
}

impl Log {
    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.properties
            .iter()
            .filter_map(|(_, source)| match source {
                Source::Expr(expr) => Some(expr),
                Source::Literal(_) => None,
            })
    }

    fn text(&self, cx: &Context<'_>, message: &Message) -> Result<String, Fault> {
        let separator = &self.separator;
        let mut out = String::new();
        let message_text = match &self.message {
            Some(template) => Some(template.render(&cx.scope(message))?),
            None => None,
        };
        let mut add = |part: &str| {
            if !out.is_empty() {
                out.push_str(separator);
            }
            out.push_str(part);
        };
        if let Some(text) = &message_text
            && !matches!(self.level, Level::Custom | Level::Template)
        {
            add(text);
        }
        match self.level {
            Level::Simple | Level::Full => {
                add(&format!("To: {}", message.to_address().unwrap_or_default()));
                let action = message.action();
                let id = message.message_id();
                let correlation = message.correlation_id().map(str::to_owned);
                let fields = [
                    ("From", message.from.as_deref()),
                    ("WSAction", action.as_deref()),
                    ("SOAPAction", action.as_deref()),
                    ("ReplyTo", message.reply_to.as_deref()),
                    ("MessageID", id.as_deref()),
                    ("correlation_id", correlation.as_deref()),
                ];
                for (name, value) in fields {
                    if let Some(value) = value {
                        add(&format!("{name}: {value}"));
                    }
                }
                add(if message.is_response() {
                    "Direction: response"
                } else {
                    "Direction: request"
                });
                if self.level == Level::Full {
                    add(&payload(message, cx.services.limits.xml.max_bytes)?);
                }
            }
            Level::Headers => {
                if let Some(id) = message.correlation_id() {
                    add(&format!("correlation_id : {id}"));
                }
                if let Some(envelope) = message.envelope()
                    && let Some(header) = envelope.header()
                {
                    let document = &envelope.document;
                    for block in document.child_elements(header) {
                        add(&format!(
                            "{} : {}",
                            document.local_name(block),
                            document.own_text(block)
                        ));
                    }
                }
            }
            Level::Custom | Level::Template => {
                if self.message_id {
                    add(&format!(
                        "MessageID: {}",
                        message.message_id().unwrap_or_default()
                    ));
                    add(&format!(
                        "correlation_id: {}",
                        message.correlation_id().unwrap_or_default()
                    ));
                }
                if let Some(text) = &message_text {
                    add(text);
                }
            }
        }
        for (name, source) in &self.properties {
            let value = match source {
                Source::Literal(text) => text.clone(),
                Source::Expr(expr) => expr
                    .string(&cx.scope(message))?
                    .unwrap_or_else(|| "null".to_owned()),
            };
            let mut part = String::with_capacity(name.len() + value.len() + 3);
            let _ = write!(part, "{name} = {value}");
            add(&part);
        }
        Ok(out)
    }
}

fn payload(message: &Message, most: usize) -> Result<String, Fault> {
    let Body::Built(built) = &message.body else {
        return Ok("Envelope: ".to_owned());
    };
    if let Some(json) = built.json() {
        return Ok(format!("Payload: {}", String::from_utf8_lossy(json)));
    }
    let envelope = built.envelope().map_err(|fault| {
        let mut fault = fault;
        fault.detail = Some(format!(
            "Could not build full log message: {}",
            fault.detail.as_deref().unwrap_or_default()
        ));
        fault
    })?;
    Ok(format!("Envelope: {}", envelope.log_text(most)?))
}
