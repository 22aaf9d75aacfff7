//! `<makefault>`: replaces the body by a fault (spec 01 §11).

use super::{Context, Definition, Flow, Linker, Mediate, Run, Spec};
use crate::diag::{Diagnostic, codes, nearest};
use crate::expr::xpath::Node;
use crate::expr::{Expr, Need};
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::envelope::{Detail, Envelope, FaultParts, SoapVersion};
use crate::message::{Body, Direction, Fault, Message, To};
use crate::syntax::{Element, Reader, text_of};
use crate::xml::Document;
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "makefault",
    summary: "Replaces the body by a SOAP or plain XML fault.",
    doc: DOC,
    parse,
};

const CODE: Tag = Tag::child("code", "Fault code. Needed for SOAP.").with(&[
    Attr::text(
        "value",
        "A qualified name; its prefix is declared on the element or around it.",
    ),
    Attr::expression("expression", "Gives it."),
]);
const REASON: Tag = Tag::child("reason", "Text for people. Needed for SOAP.").with(&[
    Attr::text("value", "The text."),
    Attr::expression("expression", "Gives it."),
]);
const NODE: Tag = Tag::child("node", "SOAP 1.2: who failed.").holds(Content::Text);
const ROLE: Tag = Tag::child("role", "SOAP: in which role.").holds(Content::Text);
const DETAIL: Tag = Tag::child(
    "detail",
    "More: text, elements or what an expression gives.",
)
.with(&[Attr::expression("expression", "Gives it.")])
.holds(Content::Xml);

const ROOT: Tag = Tag::mediator(
    "makefault",
    "Replaces the body by a fault. It does not end the flow: `<respond>` sends it.",
)
.with(&[
    Attr::words(
        "version",
        &["soap11", "soap12", "pox"],
        "Form of the fault.",
    )
    .or("soap11"),
    Attr::truth("response", "`true`: the message becomes a response.").or("true"),
])
.of(&[&CODE, &REASON, &NODE, &ROLE, &DETAIL]);

const DOC: Doc = Doc {
    group: Area::Transform,
    body: Needs::As("The body is replaced; expressions read what they need."),
    forms: &[&ROOT],
    remarks: &["A client that spoke plain XML gets the plain form of a SOAP fault."],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Soap(SoapVersion),
    Pox,
}

#[derive(Debug)]
enum Text {
    Literal(String),
    Expr(Expr),
}

#[derive(Debug)]
enum Code {
    Literal(String, String),
    Expr(Expr),
}

#[derive(Debug)]
enum DetailSource {
    Expr(Expr),
    Elements(Arc<(Document, Vec<crate::xml::NodeId>)>),
    Text(String),
}

#[derive(Debug)]
struct MakeFault {
    version: Version,
    response: bool,
    code: Option<Code>,
    reason: Option<Text>,
    node: Option<String>,
    role: Option<String>,
    detail: Option<DetailSource>,
}

const SOAP11_CODES: &[&str] = &["VersionMismatch", "MustUnderstand", "Client", "Server"];
const SOAP12_CODES: &[&str] = &[
    "VersionMismatch",
    "MustUnderstand",
    "DataEncodingUnknown",
    "Sender",
    "Receiver",
];

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let version = match element.attribute("version") {
        None => Version::Soap(SoapVersion::V11),
        Some(_) => reader
            .one_of(
                element,
                "version",
                &[
                    ("soap11", Version::Soap(SoapVersion::V11)),
                    ("soap12", Version::Soap(SoapVersion::V12)),
                    ("pox", Version::Pox),
                ],
            )
            .unwrap_or(Version::Pox),
    };
    let response = reader
        .one_of(element, "response", &[("true", true), ("false", false)])
        .unwrap_or(true);
    let mut out = MakeFault {
        version,
        response,
        code: None,
        reason: None,
        node: None,
        role: None,
        detail: None,
    };
    for child in reader.children(element) {
        match reader.name(child) {
            Some("code") => out.code = parse_code(reader, child, version),
            Some("reason") => out.reason = parse_text(reader, child),
            Some("node") => out.node = Some(text_of(child)),
            Some("role") => out.role = Some(text_of(child)),
            Some("detail") => out.detail = parse_detail(reader, child),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    if version != Version::Pox && reader.errors() == before {
        for (name, missing) in [
            ("code", out.code.is_none()),
            ("reason", out.reason.is_none()),
        ] {
            if missing {
                let place = reader.place(element);
                reader.error(
                    codes::MISSING_ELEMENT,
                    place,
                    format!("<makefault> needs <{name}>"),
                );
            }
        }
    }
    (reader.errors() == before)
        .then(|| Arc::new(MakeFaultDef(Arc::new(out))) as Arc<dyn Definition>)
}

/// Expressions of a fault are XPath only.
fn xpath(reader: &mut Reader, element: Element<'_, '_>) -> Option<Expr> {
    let expr = reader.expression(element, "expression")?;
    if matches!(expr, Expr::XPath(_)) {
        return Some(expr);
    }
    let place = reader.attribute_place(element, "expression");
    reader.error(
        codes::INVALID_EXPRESSION,
        place,
        "<makefault> takes XPath expressions only",
    );
    None
}

fn parse_code(reader: &mut Reader, element: Element<'_, '_>, version: Version) -> Option<Code> {
    CODE.check(reader, element);
    if element.has_attribute("expression") {
        return xpath(reader, element).map(Code::Expr);
    }
    let value = required_value(reader, element)?;
    let place = reader.attribute_place(element, "value");
    let Some((prefix, local)) = value.split_once(':') else {
        reader.error(
            codes::INVALID_VALUE,
            place,
            "A QName is expected for fault code as prefix:name",
        );
        return None;
    };
    let namespace = element.lookup_namespace_uri(Some(prefix));
    let Version::Soap(version) = version else {
        if namespace.is_none() {
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!("the prefix \"{prefix}\" is not declared"),
            );
            return None;
        }
        return Some(Code::Literal(prefix.to_owned(), local.to_owned()));
    };
    if namespace != Some(version.namespace()) {
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("the prefix \"{prefix}\" of the fault code is not bound to the namespace of the SOAP version"),
            )
            .help(format!("add xmlns:{prefix}=\"{}\" to <code>", version.namespace())),
        );
        return None;
    }
    let (known, word) = match version {
        SoapVersion::V11 => (SOAP11_CODES, "soap11"),
        SoapVersion::V12 => (SOAP12_CODES, "soap12"),
    };
    if !known.contains(&local) {
        let hint = nearest(local, known.iter().copied()).map_or_else(
            || format!("allowed codes: {}", known.join(", ")),
            |n| format!("did you mean \"{prefix}:{n}\"?"),
        );
        reader.report(
            Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("Invalid code value for {word} version. \"{local}\" is not a fault code"),
            )
            .help(hint),
        );
        return None;
    }
    Some(Code::Literal(prefix.to_owned(), local.to_owned()))
}

fn required_value<'a>(reader: &mut Reader, element: Element<'a, '_>) -> Option<&'a str> {
    let value = element.attribute("value");
    if value.is_none() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            format!(
                "<{}> needs \"value\" or \"expression\"",
                element.tag_name().name()
            ),
        );
    }
    value
}

fn parse_text(reader: &mut Reader, element: Element<'_, '_>) -> Option<Text> {
    REASON.check(reader, element);
    if element.has_attribute("expression") {
        return xpath(reader, element).map(Text::Expr);
    }
    required_value(reader, element).map(|v| Text::Literal(v.to_owned()))
}

fn parse_detail(reader: &mut Reader, element: Element<'_, '_>) -> Option<DetailSource> {
    DETAIL.check(reader, element);
    if element.has_attribute("expression") {
        return xpath(reader, element).map(DetailSource::Expr);
    }
    let children: Vec<_> = element
        .children()
        .filter(roxmltree::Node::is_element)
        .collect();
    if children.is_empty() {
        let pieces = element
            .children()
            .filter_map(|piece| match piece.is_text() {
                true => piece.text(),
                false => None,
            });
        return Some(DetailSource::Text(pieces.collect()));
    }
    let mut document = Document::new();
    let mut nodes = Vec::new();
    for child in children {
        let copy = super::property::import(reader, child)?;
        let root = copy.root_element()?;
        nodes.push(document.import(&copy, root));
    }
    Some(DetailSource::Elements(Arc::new((document, nodes))))
}

#[derive(Debug)]
struct MakeFaultDef(Arc<MakeFault>);

impl Definition for MakeFaultDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(MakeFaultDef(self.0.clone())))
    }
}

impl Mediate for MakeFaultDef {
    fn need(&self) -> Need {
        Need::Tree
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let make = &*self.0;
        match make.version {
            Version::Soap(version) => make.soap(cx, message, version)?,
            Version::Pox => make.pox(cx, message)?,
        }
        message.relates_to = message.message_id().map(|id| id.into_owned());
        let mut back = message
            .fault_to
            .clone()
            .or_else(|| message.reply_to.clone());
        if make.response {
            message.direction = Direction::Response;
            back = message.reply_to.clone();
        }
        message.to = match back {
            Some(address) if address != crate::message::ANONYMOUS => To::Header(address),
            _ => To::Client,
        };
        Ok(Flow::Continue)
    }
}

impl MakeFault {
    fn soap(
        &self,
        cx: &Context<'_>,
        message: &mut Message,
        version: SoapVersion,
    ) -> Result<(), Fault> {
        let scope = cx.scope(message);
        let code = match &self.code {
            Some(Code::Literal(prefix, local)) => (prefix.clone(), local.clone()),
            Some(Code::Expr(expr)) => {
                let text = expr.string(&scope)?.unwrap_or_default();
                let local = text
                    .rsplit(':')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned();
                ("axis2ns1".to_owned(), local)
            }
            None => ("soapenv".to_owned(), "Server".to_owned()),
        };
        let reason = match &self.reason {
            Some(Text::Literal(text)) => text.clone(),
            Some(Text::Expr(expr)) => expr.string(&scope)?.unwrap_or_default(),
            None => String::new(),
        };
        let detail = match &self.detail {
            None => None,
            Some(DetailSource::Text(text)) => Some(Detail::Text(text.clone())),
            Some(DetailSource::Elements(nodes)) => Some(Detail::Nodes(nodes.clone())),
            Some(DetailSource::Expr(expr)) => Some(evaluate_detail(expr, &scope)?),
        };
        let parts = FaultParts {
            code,
            reason,
            node: self.node.clone().filter(|_| version == SoapVersion::V12),
            role: self.role.clone(),
            detail,
        };
        // The fault takes the place of the envelope; header blocks are kept.
        let mut envelope = match message.envelope() {
            Some(old) => {
                let mut fresh = Envelope::empty(version);
                if let Some(header) = old.header()
                    && old.document.child_elements(header).next().is_some()
                {
                    let target = fresh.header_mut();
                    for block in old.document.child_elements(header) {
                        let copy = fresh.document.import(&old.document, block);
                        fresh.document.append_child(target, copy);
                    }
                }
                fresh
            }
            None => Envelope::empty(version),
        };
        envelope.synthetic = message.envelope().is_none_or(|e| e.synthetic);
        envelope.set_fault(&parts);
        replace(message, envelope);
        if !message.rest {
            message.version = version;
        }
        Ok(())
    }

    fn pox(&self, cx: &Context<'_>, message: &mut Message) -> Result<(), Fault> {
        let scope = cx.scope(message);
        let detail = match &self.detail {
            Some(DetailSource::Text(text)) => Some(text.clone()),
            Some(DetailSource::Expr(expr)) => expr.string(&scope)?,
            Some(DetailSource::Elements(_)) | None => None,
        };
        let text = match detail.filter(|t| !t.is_empty()) {
            Some(text) => text,
            None => match &self.reason {
                Some(Text::Literal(text)) => text.clone(),
                Some(Text::Expr(expr)) => expr.string(&scope)?.unwrap_or_default(),
                None => String::new(),
            },
        };
        let mut envelope = match message.envelope() {
            Some(old) => old.clone(),
            None => Envelope::empty(SoapVersion::V11),
        };
        let body = envelope.body();
        if let Some(first) = envelope.payload() {
            envelope.document.detach(first);
        }
        let exception = envelope.document.create_element("", "", "Exception");
        envelope.document.set_text(exception, &text);
        envelope.document.append_child(body, exception);
        replace(message, envelope);
        // Such a message counts as a fault although no SOAP fault is in it.
        if message.status.is_none() && message.axis2.get("HTTP_SC").is_none() {
            message.status = Some(500);
        }
        Ok(())
    }
}

fn replace(message: &mut Message, envelope: Envelope) {
    match &mut message.body {
        Body::Built(built) => built.set_envelope(envelope),
        other => *other = crate::message::outgoing::built(envelope),
    }
}

/// The nodes of a detail expression, copied; its text when it selects none.
fn evaluate_detail(expr: &Expr, scope: &crate::expr::Scope<'_>) -> Result<Detail, Fault> {
    if let Expr::XPath(xpath) = expr {
        let nodes: Vec<Node<'_>> = xpath
            .nodes(scope)
            .map_err(|e| Fault::mediation(e.message))?;
        let mut document = Document::new();
        let copies: Vec<_> = nodes
            .iter()
            .filter(|n| {
                n.attribute.is_none() && n.document.kind(n.node) == crate::xml::NodeKind::Element
            })
            .map(|n| document.import(n.document, n.node))
            .collect();
        if !copies.is_empty() {
            return Ok(Detail::Nodes(Arc::new((document, copies))));
        }
    }
    Ok(Detail::Text(expr.string(scope)?.unwrap_or_default()))
}
