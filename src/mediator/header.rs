//! `<header>`: addressing fields, SOAP header blocks and transport headers (spec 01 §12).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::codes;
use crate::expr::{Expr, Need, Wanted};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message, To, Value};
use crate::syntax::{Element, Reader};
use crate::xml::Document;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "header",
    summary: "Sets or removes an addressing field, a SOAP header block or a transport header.",
    doc: DOC,
    parse,
};

const ROOT: Tag = Tag::mediator(
    "header",
    "Sets or removes a header: an addressing header (`To`, `From`, `Action`, `ReplyTo`, `FaultTo`, `RelatesTo`), a SOAP header block by its qualified name, or with `scope=\"transport\"` an HTTP header.",
)
.with(&[
    Attr::text("name", "Name of the header. SOAP blocks need a prefix. Without it the children are SOAP header blocks to add."),
    Attr::text("value", "The value. One of `value` and `expression` is needed to set a header by name."),
    Attr::expression("expression", "Gives the value."),
    Attr::words("action", &["set", "remove"], "What to do.").or("set"),
    Attr::words("scope", &["default", "transport"], "`transport`: an HTTP header.").or("default"),
    Attr::text("type", "`OM`: the value is XML."),
])
.holds(Content::Xml);

const DOC: Doc = Doc {
    group: Area::Core,
    body: Needs::As(
        "Nothing is read for HTTP headers, beside what the expression reads; SOAP headers are in the body, which is read for them.",
    ),
    forms: &[&ROOT],
    remarks: &[
        "`To` is the address that `<send>` and `<call>` use without an endpoint.",
        "Values that would forge other headers (line ends) are refused.",
    ],
};

/// Addressing fields that go by their plain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    To,
    From,
    FaultTo,
    ReplyTo,
    Action,
    RelatesTo,
}

const FIELDS: &[(&str, Field)] = &[
    ("To", Field::To),
    ("From", Field::From),
    ("FaultTo", Field::FaultTo),
    ("ReplyTo", Field::ReplyTo),
    ("Action", Field::Action),
    ("RelatesTo", Field::RelatesTo),
];

#[derive(Debug)]
enum Subject {
    Field(Field),
    /// Prefix, namespace, local name.
    Block(String, String, String),
    Transport(HeaderName),
    /// Inline elements.
    Inline(Box<Document>),
}

#[derive(Debug)]
enum Source {
    Literal(String),
    Expr(Expr),
    None,
}

#[derive(Debug)]
struct Header {
    subject: Subject,
    remove: bool,
    source: Source,
    xml: bool,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let remove = reader
        .one_of(element, "action", &[("set", false), ("remove", true)])
        .unwrap_or(false);
    let transport = reader
        .one_of(element, "scope", &[("default", false), ("transport", true)])
        .unwrap_or(false);
    let source = match (
        element.attribute("value"),
        element.has_attribute("expression"),
    ) {
        (Some(_), true) => {
            let place = reader.attribute_place(element, "expression");
            reader.error(
                codes::CONFLICT,
                place,
                "<header> has \"value\" or \"expression\", not both",
            );
            Source::None
        }
        (Some(value), false) => Source::Literal(value.to_owned()),
        (None, true) => reader
            .expression(element, "expression")
            .map_or(Source::None, Source::Expr),
        (None, false) => Source::None,
    };
    let subject = match element.attribute("name") {
        None => inline(reader, element),
        Some(name) => subject(reader, element, name.trim(), transport),
    };
    if !remove
        && matches!(source, Source::None)
        && element.has_attribute("name")
        && reader.errors() == before
    {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "A 'value' or 'expression' attribute is required for a [set] header mediator",
        );
    }
    let subject = subject?;
    (reader.errors() == before).then(|| {
        Arc::new(HeaderDef(Arc::new(Header {
            subject,
            remove,
            source,
            xml: element
                .attribute("type")
                .is_some_and(|t| t.eq_ignore_ascii_case("OM")),
        }))) as Arc<dyn Definition>
    })
}

fn inline(reader: &mut Reader, element: Element<'_, '_>) -> Option<Subject> {
    let mut document = Document::new();
    let top = document.create_element("", "", "headers");
    let root = document.document_node();
    document.append_child(root, top);
    let mut any = false;
    for child in element.children().filter(roxmltree::Node::is_element) {
        any = true;
        let copy = super::property::import(reader, child)?;
        let node = copy.root_element()?;
        let node = document.import(&copy, node);
        document.append_child(top, node);
    }
    if !any {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            "<header> needs \"name\", or an element inside that becomes the header block",
        );
        return None;
    }
    Some(Subject::Inline(Box::new(document)))
}

fn subject(
    reader: &mut Reader,
    element: Element<'_, '_>,
    name: &str,
    transport: bool,
) -> Option<Subject> {
    let place = reader.attribute_place(element, "name");
    if transport {
        let header = HeaderName::from_bytes(name.as_bytes());
        return match header {
            Ok(header) => Some(Subject::Transport(header)),
            Err(_) => {
                reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!("\"{name}\" is not a header name"),
                );
                None
            }
        };
    }
    if let Some((_, field)) = FIELDS.iter().find(|(n, _)| *n == name) {
        return Some(Subject::Field(*field));
    }
    let Some((prefix, local)) = name.split_once(':') else {
        let hint = crate::diag::nearest(name, FIELDS.iter().map(|f| f.0))
            .map_or_else(
                || "write prefix:name with a declared prefix, or scope=\"transport\" for an HTTP header".to_owned(),
                |n| format!("did you mean \"{n}\"?"),
            );
        reader.report(
            crate::diag::Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("Invalid SOAP header: {name} specified at the header mediator. All SOAP headers must be namespace qualified."),
            )
            .help(hint),
        );
        return None;
    };
    match element.lookup_namespace_uri(Some(prefix)) {
        Some(uri) => Some(Subject::Block(
            prefix.to_owned(),
            uri.to_owned(),
            local.to_owned(),
        )),
        None => {
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("the prefix \"{prefix}\" is not declared"),
            );
            None
        }
    }
}

#[derive(Debug)]
struct HeaderDef(Arc<Header>);

impl Definition for HeaderDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(HeaderDef(self.0.clone())))
    }
}

impl Mediate for HeaderDef {
    fn need(&self) -> Need {
        // Addressing fields live beside the body: setting one does not need it, although the
        // reference builds the message here.
        let block = matches!(self.0.subject, Subject::Block(..) | Subject::Inline(_));
        match &self.0.source {
            _ if block => Need::Tree,
            Source::Expr(expr) => expr.need(Wanted::Text),
            _ => Need::Nothing,
        }
    }

    fn expression(&self, number: usize) -> Option<(&Expr, Wanted)> {
        match &self.0.source {
            Source::Expr(expr) if number == 0 => Some((expr, Wanted::Text)),
            _ => None,
        }
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let header = &*self.0;
        if header.remove {
            remove(&header.subject, message)?;
            return Ok(Flow::Continue);
        }
        let value = match &header.source {
            Source::Literal(text) => text.clone(),
            Source::Expr(expr) => match expr.string(&cx.scope(message))? {
                Some(text) => text,
                None => {
                    tracing::warn!(
                        target: "HeaderMediator",
                        "{}Value for the header expression {} is null", cx.route.label, expr.text()
                    );
                    String::new()
                }
            },
            Source::None => String::new(),
        };
        set(header, message, value, cx)?;
        Ok(Flow::Continue)
    }
}

fn remove(subject: &Subject, message: &mut Message) -> Result<(), Fault> {
    match subject {
        Subject::Field(field) => match field {
            Field::To => message.to = To::Client,
            Field::From => message.from = None,
            Field::FaultTo => message.fault_to = None,
            Field::ReplyTo => message.reply_to = None,
            Field::Action => message.set_action(None),
            Field::RelatesTo => message.relates_to = None,
        },
        Subject::Transport(name) => {
            message.headers.remove(name);
        }
        Subject::Block(_, namespace, local) => {
            let envelope = message.envelope_mut()?;
            if let Some(header) = envelope.header() {
                let document = &mut envelope.document;
                let blocks: Vec<_> = document
                    .child_elements(header)
                    .filter(|b| document.is_element(*b, namespace, local))
                    .collect();
                for block in blocks {
                    document.detach(block);
                }
            }
        }
        Subject::Inline(_) => {}
    }
    Ok(())
}

fn set(
    header: &Header,
    message: &mut Message,
    value: String,
    cx: &Context<'_>,
) -> Result<(), Fault> {
    match &header.subject {
        Subject::Field(field) => match field {
            Field::To => message.to = To::Address(value),
            Field::From => message.from = Some(value),
            Field::FaultTo => message.fault_to = Some(value),
            Field::ReplyTo => message.reply_to = Some(value),
            Field::Action => message.set_action(Some(value)),
            Field::RelatesTo => message.relates_to = Some(value),
        },
        Subject::Transport(name) => match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(text) => set_transport(message, name.clone(), text),
            Err(_) => {
                return Err(Fault::mediation(format!(
                    "The value of the transport header {name} holds characters that HTTP does not allow"
                )));
            }
        },
        Subject::Block(prefix, namespace, local) => {
            let envelope = message.envelope_mut()?;
            let parent = envelope.header_mut();
            let document = &mut envelope.document;
            let block = document.create_element(prefix, namespace, local);
            document.declare_namespace(block, prefix, namespace);
            if header.xml {
                let input = Bytes::from(value);
                if document
                    .parse_into(block, input, &cx.services.limits.xml)
                    .is_err()
                {
                    return Err(Fault::mediation(format!(
                        "The value of the header {local} is not well-formed XML"
                    )));
                }
            } else {
                document.set_text(block, &value);
            }
            document.append_child(parent, block);
        }
        Subject::Inline(blocks) => {
            let envelope = message.envelope_mut()?;
            let parent = envelope.header_mut();
            if let Some(top) = blocks.root_element() {
                for block in blocks.child_elements(top) {
                    let copy = envelope.document.import(blocks, block);
                    envelope.document.append_child(parent, copy);
                }
            }
        }
    }
    Ok(())
}

/// Sets a transport header; `Content-Type` also changes what the body is said to be.
pub(super) fn set_transport(message: &mut Message, name: HeaderName, value: HeaderValue) {
    if name == http::header::CONTENT_TYPE {
        message.set_content_type(value.clone());
        message.axis2.set(
            "ContentType",
            Value::from(crate::message::header_text(&value)),
        );
    }
    message.headers.insert(name, value);
}
