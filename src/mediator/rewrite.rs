//! `<rewrite>`: changes the address of a message, or a property, by rules (spec 03 §20).

use super::condition::{CONDITION, Condition};
use super::{Context, Definition, Flow, Linker, Mediate, Need, Run, Spec};
use crate::diag::codes;
use crate::expr::Expr;
use crate::mediator::describe::{Area, Attr, Doc, Needs, Tag};
use crate::message::{Fault, Message, To, form};
use crate::syntax::{Element, Reader};
use regex::{Captures, Regex};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "rewrite",
    summary: "Changes the address of the message by rules.",
    doc: DOC,
    parse,
};

const ACTION: Tag = Tag::child("action", "A change of the address.").with(&[
    Attr::words(
        "type",
        &[
            "set",
            "append",
            "prepend",
            "replace",
            "remove",
            "remove-query-param",
        ],
        "What to do. `replace` changes what `regex` finds; `remove-query-param` is for the query.",
    )
    .or("set"),
    Attr::text(
        "value",
        "The text, or the name of a parameter for `remove-query-param`. One of `value` and `xpath` is needed unless `type` is `remove`.",
    ),
    Attr::expression("xpath", "Gives the text."),
    Attr::regex("regex", "For `replace`: what is replaced."),
    Attr::words(
        "fragment",
        &[
            "protocol", "user", "host", "port", "path", "query", "ref", "full",
        ],
        "The part of the address. `full` and `port` are always set.",
    )
    .or("full"),
    Attr::truth(
        "resolve",
        "`true`: `{name}` in the value is the property `name`.",
    ),
]);

const RULE: Tag = Tag::child("rewriterule", "Actions, for addresses that fit the condition. Rules run in their order, each on what the one before made.")
    .of(&[&CONDITION, &ACTION]);

const ROOT: Tag = Tag::mediator(
    "rewrite",
    "Changes the `To` address of the message, or an address in a property, by rules.",
)
.with(&[
    Attr::text("inProperty", "Property with the address.").or("the `To` address"),
    Attr::text("outProperty", "Property that gets the result.").or("the `To` address"),
])
.of(&[&RULE]);

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Expressions,
    forms: &[&ROOT],
    remarks: &[
        "`<send/>` and `<call/>` without an endpoint go to the `To` address; with an `<address>` endpoint its address wins.",
    ],
};

/// Longest address that actions make.
const MAX_LENGTH: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragment {
    Protocol,
    User,
    Host,
    Port,
    Path,
    Query,
    Ref,
    Full,
}

const FRAGMENTS: &[(&str, Fragment)] = &[
    ("protocol", Fragment::Protocol),
    ("user", Fragment::User),
    ("host", Fragment::Host),
    ("port", Fragment::Port),
    ("path", Fragment::Path),
    ("query", Fragment::Query),
    ("ref", Fragment::Ref),
    ("full", Fragment::Full),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Set,
    Append,
    Prepend,
    Replace,
    Remove,
    RemoveParameter,
}

const TYPES: &[(&str, Type)] = &[
    ("set", Type::Set),
    ("append", Type::Append),
    ("prepend", Type::Prepend),
    ("replace", Type::Replace),
    ("remove", Type::Remove),
    ("remove-query-param", Type::RemoveParameter),
];

#[derive(Debug)]
enum Source {
    Value(String),
    Expr(Expr),
    None,
}

#[derive(Debug)]
struct Action {
    kind: Type,
    fragment: Fragment,
    source: Source,
    regex: Option<Regex>,
    resolve: bool,
}

#[derive(Debug)]
struct Rule {
    condition: Option<Condition>,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Rewrite {
    input: Option<String>,
    output: Option<String>,
    rules: Vec<Rule>,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    ROOT.check(reader, element);
    let before = reader.errors();
    let mut rules = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("rewriterule") => rules.push(parse_rule(reader, child)),
            Some("description") => {}
            _ => ROOT.refuse(reader, child),
        }
    }
    let rewrite = Rewrite {
        input: element.attribute("inProperty").map(str::to_owned),
        output: element.attribute("outProperty").map(str::to_owned),
        rules,
    };
    (reader.errors() == before)
        .then(|| Arc::new(RewriteDef(Arc::new(rewrite))) as Arc<dyn Definition>)
}

fn parse_rule(reader: &mut Reader, element: Element<'_, '_>) -> Rule {
    RULE.check(reader, element);
    let before = reader.errors();
    let mut rule = Rule {
        condition: None,
        actions: Vec::new(),
    };
    for child in reader.children(element) {
        // As the evaluators inside, these go by their local names.
        match child.tag_name().name() {
            "condition" => {
                CONDITION.check(reader, child);
                let evaluator = child.first_element_child();
                match evaluator {
                    Some(evaluator) => rule.condition = Condition::parse(reader, evaluator),
                    None => {
                        let place = reader.place(child);
                        reader.error(
                            codes::MISSING_ELEMENT,
                            place,
                            "Error while parsing the rule condition",
                        );
                    }
                }
            }
            "action" => rule.actions.extend(parse_action(reader, child)),
            _ => RULE.refuse(reader, child),
        }
    }
    if rule.actions.is_empty() && reader.errors() == before {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "At least one action is required per rewrite rule",
        );
    }
    rule
}

fn parse_action(reader: &mut Reader, element: Element<'_, '_>) -> Option<Action> {
    ACTION.check(reader, element);
    let kind = word(
        reader,
        element,
        "type",
        TYPES,
        "Unknown URL rewrite action type",
    )
    .unwrap_or(Some(Type::Set))?;
    let fragment = word(
        reader,
        element,
        "fragment",
        FRAGMENTS,
        "Unknown URL fragment name",
    )
    .unwrap_or(Some(Fragment::Full))?;
    let place = reader.place(element);
    let source = match (element.attribute("value"), element.has_attribute("xpath")) {
        (Some(value), _) => Source::Value(value.to_owned()),
        (None, true) => Source::Expr(reader.expression(element, "xpath")?),
        (None, false) => Source::None,
    };
    if kind == Type::RemoveParameter && fragment != Fragment::Query {
        reader.error(
            codes::CONFLICT,
            place.clone(),
            "Action remove-query-param is only allowed for query fragment",
        );
        return None;
    }
    if matches!(source, Source::None) && kind != Type::Remove {
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place.clone(),
            "value or xpath attribute is required on the action element",
        );
        return None;
    }
    let regex = match element.attribute("regex") {
        Some(text) => match regex::RegexBuilder::new(text).size_limit(1 << 20).build() {
            Ok(regex) => Some(regex),
            Err(e) => {
                let place = reader.attribute_place(element, "regex");
                let cause = e.to_string();
                let cause = cause.lines().last().unwrap_or_default();
                reader.error(
                    codes::INVALID_VALUE,
                    place,
                    format!("Invalid Regular Expression for attribute regex : {text} ({cause})"),
                );
                return None;
            }
        },
        None if kind == Type::Replace => {
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "regex attribute is required for replace action",
            );
            return None;
        }
        None => None,
    };
    Some(Action {
        kind,
        fragment,
        source,
        regex,
        resolve: element
            .attribute("resolve")
            .is_some_and(|t| t.eq_ignore_ascii_case("true")),
    })
}

/// One of several words: `None` without the attribute, `Some(None)` with an error for another word.
fn word<T: Copy>(
    reader: &mut Reader,
    element: Element<'_, '_>,
    name: &str,
    words: &[(&str, T)],
    unknown: &str,
) -> Option<Option<T>> {
    let text = element.attribute(name)?;
    let found = words.iter().find(|(w, _)| *w == text).map(|(_, v)| *v);
    if found.is_none() {
        let place = reader.attribute_place(element, name);
        let list: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        reader.report(
            crate::diag::Diagnostic::error(
                codes::INVALID_VALUE,
                place,
                format!("{unknown}: {text}"),
            )
            .help(format!("allowed values: {}", list.join(", "))),
        );
    }
    Some(found)
}

#[derive(Debug)]
struct RewriteDef(Arc<Rewrite>);

impl Definition for RewriteDef {
    fn link(&self, _linker: &mut Linker<'_>) -> Run {
        Run::Now(Box::new(RewriteDef(self.0.clone())))
    }
}

impl Mediate for RewriteDef {
    fn need(&self) -> Need {
        // Addresses live beside the body: only what reads it needs it, although the reference
        // builds the message here.
        let reads = |rule: &Rule| {
            rule.condition.as_ref().is_some_and(Condition::needs_body)
                || rule
                    .actions
                    .iter()
                    .any(|a| matches!(&a.source, Source::Expr(e) if e.needs_body()))
        };
        match self.0.rules.iter().any(reads) {
            true => Need::Tree,
            false => Need::Nothing,
        }
    }

    fn mediate(&self, cx: &Context<'_>, message: &mut Message) -> Result<Flow, Fault> {
        let rewrite = &*self.0;
        let input = match &rewrite.input {
            Some(name) => message.properties.get(name).map(|v| v.text().into_owned()),
            None => message.to_address().map(std::borrow::Cow::into_owned),
        };
        let mut uri = match &input {
            Some(text) => Uri::parse(text)
                .ok_or_else(|| Fault::mediation(format!("Malformed input URI: {text}")))?,
            None => Uri::default(),
        };
        for rule in &rewrite.rules {
            if rule.applies(cx, message, &uri)? {
                for action in &rule.actions {
                    action.apply(cx, message, &mut uri)?;
                }
            }
        }
        let text = uri.text()?;
        match &rewrite.output {
            Some(name) => message.properties.set(name, text),
            None => message.to = To::Address(text),
        }
        Ok(Flow::Continue)
    }
}

impl Rule {
    /// Whether the condition holds for the address as it is now. One that cannot be evaluated does
    /// not.
    fn applies(&self, cx: &Context<'_>, message: &mut Message, uri: &Uri) -> Result<bool, Fault> {
        let Some(condition) = &self.condition else {
            return Ok(true);
        };
        let current = To::Address(uri.text()?);
        let before = std::mem::replace(&mut message.to, current);
        let holds = condition.holds(*cx, message);
        message.to = before;
        Ok(holds.unwrap_or_else(|e| {
            tracing::warn!(
                target: "URLRewriteMediator",
                "{}Error while evaluating the condition of a rule: {e}", cx.route.label
            );
            false
        }))
    }
}

impl Action {
    fn value(&self, cx: &Context<'_>, message: &Message) -> Result<Option<String>, Fault> {
        let text = match &self.source {
            Source::Value(text) => Some(text.clone()),
            Source::Expr(expr) => expr.string(&cx.scope(message))?,
            Source::None => None,
        };
        Ok(match text {
            Some(text) if self.resolve => Some(resolved(&text, message)),
            other => other,
        })
    }

    fn apply(&self, cx: &Context<'_>, message: &Message, uri: &mut Uri) -> Result<(), Fault> {
        let value = self.value(cx, message)?;
        let slot = match self.fragment {
            Fragment::Full => {
                *uri = match value {
                    Some(text) => Uri::parse(&text)
                        .ok_or_else(|| Fault::mediation(format!("Malformed input URI: {text}")))?,
                    None => Uri::default(),
                };
                return Ok(());
            }
            Fragment::Port => {
                uri.port = match value {
                    None => None,
                    Some(text) => match text.trim().parse::<i64>() {
                        Ok(port) => u16::try_from(port).ok(),
                        Err(_) => {
                            return Err(Fault::mediation(format!(
                                "The port is not a number: {text}"
                            )));
                        }
                    },
                };
                return Ok(());
            }
            Fragment::Protocol => &mut uri.scheme,
            Fragment::User => &mut uri.user,
            Fragment::Host => &mut uri.host,
            Fragment::Path => &mut uri.path,
            Fragment::Query => &mut uri.query,
            Fragment::Ref => &mut uri.fragment,
        };
        let is_query = self.fragment == Fragment::Query;
        let new = match self.kind {
            Type::Set => value,
            Type::Remove => None,
            Type::Append => joined(slot.take(), value, is_query),
            Type::Prepend => joined(value, slot.take(), is_query),
            Type::Replace => match (slot.take(), &self.regex) {
                (Some(old), Some(regex)) => {
                    let value = value.unwrap_or_default();
                    let new = regex.replace_all(&old, |found: &Captures<'_>| expand(found, &value));
                    Some(new.into_owned())
                }
                (old, _) => old,
            },
            Type::RemoveParameter => slot.take().and_then(|old| {
                let name = value.unwrap_or_default();
                let kept: Vec<&str> = old
                    .split('&')
                    .filter(|pair| pair.split('=').next() != Some(name.as_str()))
                    .collect();
                (!kept.is_empty()).then(|| kept.join("&"))
            }),
        };
        if new.as_ref().is_some_and(|text| text.len() > MAX_LENGTH) {
            return Err(Fault::mediation(format!(
                "The address is longer than {MAX_LENGTH} bytes"
            )));
        }
        *slot = new;
        Ok(())
    }
}

fn joined(first: Option<String>, second: Option<String>, query: bool) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) if query && !first.is_empty() && !second.is_empty() => {
            Some(format!("{first}&{second}"))
        }
        (Some(first), Some(second)) => Some(first + &second),
        (first, second) => first.or(second),
    }
}

/// `{name}` replaced by the property of this name.
fn resolved(text: &str, message: &Message) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match message.properties.get(name) {
            Some(value) => out.push_str(&value.text()),
            None => tracing::error!(
                target: "URLRewriteMediator",
                "Couldn't find the value for variable: {name}"
            ),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Java's replacement text: `$1` is a group, a backslash makes the next character literal.
fn expand(found: &Captures<'_>, replacement: &str) -> String {
    let mut out = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next()),
            '$' => {
                let mut group = None;
                while let Some(digit) = rest.peek().and_then(|d| d.to_digit(10)) {
                    let next = group.unwrap_or(0) * 10 + digit as usize;
                    if group.is_some() && next >= found.len() {
                        break;
                    }
                    group = Some(next);
                    rest.next();
                }
                match group {
                    Some(group) => out.push_str(found.get(group).map_or("", |m| m.as_str())),
                    None => out.push('$'),
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// A URI in decoded parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Uri {
    scheme: Option<String>,
    user: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    query: Option<String>,
    fragment: Option<String>,
}

impl Uri {
    /// Splits a URI as `java.net.URI` does; `None` when it refuses the text.
    fn parse(text: &str) -> Option<Uri> {
        let text = text.trim();
        let illegal = |c: char| {
            c <= ' '
                || matches!(
                    c,
                    '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '\u{7f}'
                )
        };
        if text.chars().any(illegal) || !escapes_are_whole(text) {
            return None;
        }
        let mut out = Uri::default();
        let (rest, fragment) = cut(text, '#');
        let (rest, query) = cut(rest, '?');
        out.fragment = fragment.map(decoded);
        out.query = query.map(decoded);
        let colon = rest.find([':', '/']);
        let mut rest = rest;
        if let Some(at) = colon
            && rest.get(at..).is_some_and(|r| r.starts_with(':'))
        {
            let scheme = rest.get(..at)?;
            let mut letters = scheme.chars();
            let valid = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
                && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            if !valid {
                return None;
            }
            out.scheme = Some(scheme.to_owned());
            rest = rest.get(at + 1..)?;
        }
        if let Some(after) = rest.strip_prefix("//") {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at(end);
            rest = path;
            let (user, address) = match authority.rsplit_once('@') {
                Some((user, address)) => (Some(user), address),
                None => (None, authority),
            };
            out.user = user.map(decoded);
            let (host, port) = match address.rfind(':') {
                Some(at) if !address.get(at..).unwrap_or_default().contains(']') => {
                    (address.get(..at)?, address.get(at + 1..)?)
                }
                _ => (address, ""),
            };
            out.port = match port {
                "" => None,
                port => Some(port.parse().ok()?),
            };
            out.host = (!host.is_empty()).then(|| host.to_owned());
        }
        out.path = (!rest.is_empty()).then(|| decoded(rest));
        Some(out)
    }

    /// The URI in ASCII; what no URI may hold is escaped.
    fn text(&self) -> Result<String, Fault> {
        let failed = |why: &str| {
            let mut fault = Fault::mediation("Error while constructing a URI from the fragments");
            fault.detail = Some(format!("{}: {why}", fault.message));
            fault
        };
        let mut out = String::new();
        if let Some(scheme) = &self.scheme {
            out.push_str(scheme);
            out.push(':');
        }
        let path = self.path.as_deref().unwrap_or_default();
        if let Some(host) = &self.host {
            out.push_str("//");
            if let Some(user) = &self.user {
                escape(user, ";:&=+$,", &mut out);
                out.push('@');
            }
            if host
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#' | '@'))
            {
                return Err(failed("Illegal character in hostname"));
            }
            escape(host, "[]:", &mut out);
            if let Some(port) = self.port {
                out.push(':');
                out.push_str(&port.to_string());
            }
        } else if self.user.is_some() || self.port.is_some() {
            return Err(failed("Expected authority"));
        }
        if self.scheme.is_some() && !path.is_empty() && !path.starts_with('/') {
            return Err(failed("Relative path in absolute URI"));
        }
        escape(path, "/;:@&=+$,", &mut out);
        if let Some(query) = &self.query {
            out.push('?');
            escape(query, ";/?:@&=+$,[]", &mut out);
        }
        if let Some(fragment) = &self.fragment {
            out.push('#');
            escape(fragment, ";/?:@&=+$,[]", &mut out);
        }
        Ok(out)
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&form::percent_decode(text.as_bytes())).into_owned()
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after
            .get(..2)
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// Writes a decoded part, with everything escaped that may not stand there.
fn escape(text: &str, also: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "_-!.~'()*".contains(c) || (byte < 128 && also.contains(c))
        {
            out.push(c);
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(half)).map_or('0', |b| char::from(*b)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mediator::testing::Bench;
    use crate::message::To;

    fn rewrite(bench: &mut Bench, rules: &str) -> String {
        match bench.run(&format!("<rewrite>{rules}</rewrite>")) {
            Ok(()) => bench.message.to_address().unwrap_or_default().into_owned(),
            Err(e) => format!("! {e}"),
        }
    }

    fn at(to: &str, actions: &str) -> String {
        let mut bench = Bench::xml("<q><symbol>IBM</symbol></q>");
        bench.message.to = To::Address(to.to_owned());
        rewrite(&mut bench, &format!("<rewriterule>{actions}</rewriterule>"))
    }

    /// Spec 03 §29 rows 84, 86 to 89.
    #[test]
    fn actions() {
        let service = "http://localhost:8280/services/S?symbol=IBM";
        let cases = [
            (
                "<action type='append' fragment='query' value='price=10'/>",
                "http://localhost:8280/services/S?symbol=IBM&price=10",
            ),
            (
                "<action type='prepend' fragment='query' value='price=10'/>",
                "http://localhost:8280/services/S?price=10&symbol=IBM",
            ),
            (
                "<action type='remove-query-param' fragment='query' value='symbol'/>",
                "http://localhost:8280/services/S",
            ),
            (
                "<action type='remove' fragment='query'/>",
                "http://localhost:8280/services/S",
            ),
            (
                "<action fragment='path' value='/a b/c'/>",
                "http://localhost:8280/a%20b/c?symbol=IBM",
            ),
            (
                "<action fragment='path' value='/ä'/>",
                "http://localhost:8280/%C3%A4?symbol=IBM",
            ),
            (
                "<action type='replace' fragment='path' regex='/([a-z]+)' value='/$1/x\\$'/>",
                "http://localhost:8280/services/x$/S?symbol=IBM",
            ),
            // These two always set.
            (
                "<action type='append' fragment='port' value='9000'/>",
                "http://localhost:9000/services/S?symbol=IBM",
            ),
            (
                "<action type='remove' fragment='port'/>",
                "http://localhost/services/S?symbol=IBM",
            ),
            ("<action value='https://a/b'/>", "https://a/b"),
            (
                "<action type='append' fragment='full' value='https://a/b'/>",
                "https://a/b",
            ),
            ("<action type='remove'/>", ""),
            (
                "<action fragment='protocol' value='https'/>",
                "https://localhost:8280/services/S?symbol=IBM",
            ),
            (
                "<action fragment='user' value='me'/>",
                "http://me@localhost:8280/services/S?symbol=IBM",
            ),
            (
                "<action fragment='host' value='test.com'/>",
                "http://test.com:8280/services/S?symbol=IBM",
            ),
            (
                "<action fragment='ref' value='id'/>",
                "http://localhost:8280/services/S?symbol=IBM#id",
            ),
            (
                "<action fragment='path' xpath=\"concat('/', //symbol)\"/>",
                "http://localhost:8280/IBM?symbol=IBM",
            ),
            (
                "<action fragment='path' value='x'/>",
                "! Error while constructing a URI from the fragments: Relative path in absolute URI",
            ),
            (
                "<action fragment='port' value='x'/>",
                "! The port is not a number: x",
            ),
            (
                "<action value='http://a b'/>",
                "! Malformed input URI: http://a b",
            ),
        ];
        for (action, expected) in cases {
            assert_eq!(at(service, action), expected, "{action}");
        }
        assert_eq!(
            at(
                "http://localhost:8280",
                "<action fragment='path' value='/services/Q'/><action fragment='port' value='9000'/>"
            ),
            "http://localhost:9000/services/Q"
        );
        assert_eq!(
            at(
                "/services/S",
                "<action type='append' fragment='path' value='/x'/>"
            ),
            "/services/S/x"
        );
        assert_eq!(
            at(
                "http://h/%41%2F?a=%26",
                "<action fragment='ref' value='r'/>"
            ),
            "http://h/A/?a=&#r"
        );
        assert!(
            at("http://h/%4", "<action fragment='ref' value='r'/>")
                .starts_with("! Malformed input URI")
        );
    }

    /// Row 85, and the example of §20.
    #[test]
    fn rules_see_what_earlier_rules_left() {
        let rules = "<rewriterule><condition><and><equal type='url' source='protocol' value='http'/><equal type='url' source='host' value='test.org'/></and></condition>\
              <action fragment='protocol' value='https'/><action fragment='host' value='test.com'/><action fragment='port' value='9443'/></rewriterule>\
            <rewriterule><condition><not><match type='url' source='path' regex='/services/.*'/></not></condition>\
              <action type='prepend' fragment='path' value='/services'/></rewriterule>\
            <rewriterule><condition xmlns=''><and><match type='url' source='path' regex='.*/MyService'/><equal type='property' source='prop1' value='VALUE1'/></and></condition>\
              <action type='replace' fragment='path' regex='MyService' value='StockQuoteService'/><action fragment='ref' value='id'/></rewriterule>";
        let mut bench = Bench::xml("<a/>").property("prop1", "value1");
        bench.message.to = To::Address("http://test.org:9763/MyService".to_owned());
        assert_eq!(
            rewrite(&mut bench, rules),
            "https://test.com:9443/services/StockQuoteService#id"
        );
        let one = "<condition><match type='url' source='path' regex='/old/.*'/></condition>\
            <action type='replace' fragment='path' regex='/old' value='/new'/><action fragment='port' value='9000'/><action type='append' fragment='query' value='v=2'/>";
        assert_eq!(
            at("http://h:80/old/x?q=1", one),
            "http://h:9000/new/x?q=1&v=2"
        );
        assert_eq!(at("http://h:80/other?q=1", one), "http://h:80/other?q=1");
        let soap = "<condition><equal type='soap' source='//symbol' value='IBM'/></condition>\
            <action type='replace' fragment='path' regex='MyService' value='SimpleStockQuoteService'/>";
        assert_eq!(
            at("http://h/services/MyService", soap),
            "http://h/services/SimpleStockQuoteService"
        );
    }

    /// Rows 83 and 88.
    #[test]
    fn properties_go_in_and_out() {
        let mut bench = Bench::xml("<a/>")
            .property("in", "http://h/x")
            .property("uri.var.symbol", "IBM");
        let mediator = "<rewrite inProperty='in' outProperty='out'><rewriterule><action fragment='path' resolve='true' value='/S/{uri.var.symbol}{none}'/></rewriterule></rewrite>";
        bench.run(mediator).unwrap();
        assert_eq!(bench.text("out").as_deref(), Some("http://h/S/IBM"));
        assert_eq!(bench.message.to_address().as_deref(), Some("/services/T"));
        bench.run("<rewrite inProperty='none' outProperty='out'><rewriterule><action value='http://a'/></rewriterule></rewrite>").unwrap();
        assert_eq!(bench.text("out").as_deref(), Some("http://a"));
    }

    #[test]
    fn bad_rules_are_refused() {
        let cases = [
            (
                "<action type='x' value='a'/>",
                "Unknown URL rewrite action type: x",
            ),
            (
                "<action fragment='x' value='a'/>",
                "Unknown URL fragment name: x",
            ),
            (
                "<action/>",
                "value or xpath attribute is required on the action element",
            ),
            (
                "<action type='replace' value='a'/>",
                "regex attribute is required for replace action",
            ),
            (
                "<action type='remove-query-param' value='a'/>",
                "Action remove-query-param is only allowed for query fragment",
            ),
            (
                "<condition/><action value='a'/>",
                "Error while parsing the rule condition",
            ),
            (
                "<condition><and><equal source='a' value='b'/></and></condition><action value='a'/>",
                "Two or more expressions should be provided under And/Or",
            ),
            ("", "At least one action is required per rewrite rule"),
        ];
        for (rule, expected) in cases {
            assert_eq!(
                at("http://h", rule),
                format!("! deployment: {expected}"),
                "{rule}"
            );
        }
    }
}
