//! Condition evaluators: `<equal>`, `<match>`, `<and>`, `<or>` and `<not>` (spec 03 §1.7).

use super::Context;
use super::filter::whole_match;
use super::pattern::Pattern;
use crate::diag::codes;
use crate::expr::{Expr, Scope};
use crate::mediator::describe::{Attr, Content, Tag};
use crate::message::{Fault, Message, form, header_text};
use crate::syntax::{Element, Reader};
use std::borrow::Cow;

/// A condition on a message.
#[derive(Debug)]
pub(super) enum Condition {
    Equal(Source, String),
    Match(Source, Pattern),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

/// Where the text of a condition comes from.
#[derive(Debug)]
pub(super) enum Source {
    Header(String),
    /// A query parameter of `To`.
    Parameter(String),
    /// `To`, or a part of it.
    Url(Option<Part>),
    Property(String),
    /// An XPath on the envelope.
    Soap(Expr),
}

/// A part of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(super) enum Part {
    Protocol,
    User,
    Host,
    Port,
    Path,
    Query,
    Ref,
}

const PARTS: &[(&str, Part)] = &[
    ("protocol", Part::Protocol),
    ("user", Part::User),
    ("host", Part::Host),
    ("port", Part::Port),
    ("path", Part::Path),
    ("query", Part::Query),
    ("ref", Part::Ref),
];

impl Condition {
    /// Reads an evaluator element. They go by their local names, whatever their namespace.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Condition> {
        reader.nested(element, |reader| parse(reader, element))
    }

    /// Whether the body must be built first.
    pub(super) fn needs_body(&self) -> bool {
        match self {
            Condition::Equal(source, _) | Condition::Match(source, _) => {
                matches!(source, Source::Soap(_))
            }
            Condition::And(all) | Condition::Or(all) => all.iter().any(Condition::needs_body),
            Condition::Not(one) => one.needs_body(),
        }
    }

    /// Whether it holds. A text that is not there is never equal and never matches.
    ///
    /// # Errors
    /// When the message has no `To`, or an XPath throws.
    pub(super) fn holds(&self, cx: Context<'_>, message: &Message) -> Result<bool, Fault> {
        Ok(match self {
            Condition::Equal(source, value) => source
                .text(cx, message)?
                .is_some_and(|text| text.to_lowercase() == value.to_lowercase()),
            Condition::Match(source, pattern) => match source.text(cx, message)? {
                Some(text) => pattern.is_match(&text)?,
                None => false,
            },
            Condition::And(all) => {
                for one in all {
                    if !one.holds(cx, message)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Or(all) => {
                for one in all {
                    if one.holds(cx, message)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Not(one) => !one.holds(cx, message)?,
        })
    }
}

const TYPES: &[&str] = &["header", "param", "property", "url", "soap"];

const SOURCE_TEXT: &str = "Name of the header, query parameter or property; the part of the address (`protocol`, `user`, `host`, `port`, `path`, `query`, `ref`, or none for all of it); or an XPath for `soap`. Needed unless `type` is `url`.";

const EQUAL: Tag = Tag::child("equal", "A value equals a text; case does not count.").with(&[
    Attr::words("type", TYPES, "What is compared.").or("header"),
    Attr::text("source", SOURCE_TEXT),
    Attr::text("value", "The text.").required(),
]);

const MATCH: Tag = Tag::child("match", "A whole value matches a pattern.").with(&[
    Attr::words("type", TYPES, "What is compared.").or("header"),
    Attr::text("source", SOURCE_TEXT),
    Attr::regex("regex", "The pattern.").required(),
]);

const AND: Tag =
    Tag::child("and", "All of two or more conditions hold.").holds(Content::As("conditions"));
const OR: Tag =
    Tag::child("or", "One of two or more conditions holds.").holds(Content::As("conditions"));
const NOT: Tag =
    Tag::child("not", "The condition does not hold.").holds(Content::As("one condition"));

/// `<condition>` of a route or rule.
pub(super) const CONDITION: Tag = Tag::child(
    "condition",
    "Holds one condition. A value that is not there fits nothing.",
)
.of(&[&EQUAL, &MATCH, &AND, &OR, &NOT]);

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Condition> {
    let place = reader.place(element);
    let inner = |reader: &mut Reader| -> Option<Vec<Condition>> {
        let children: Vec<_> = element
            .children()
            .filter(roxmltree::Node::is_element)
            .collect();
        let read: Vec<_> = children
            .iter()
            .map(|child| Condition::parse(reader, *child))
            .collect();
        read.into_iter().collect()
    };
    match element.tag_name().name() {
        "equal" => {
            EQUAL.check(reader, element);
            let source = parse_source(reader, element)?;
            let value = attribute(reader, element, "value")?;
            Some(Condition::Equal(source, value))
        }
        "match" => {
            MATCH.check(reader, element);
            let source = parse_source(reader, element)?;
            attribute(reader, element, "regex")?;
            let regex = whole_match(reader, element, "regex")?;
            Some(Condition::Match(source, regex))
        }
        name @ ("and" | "or") => {
            (if name == "and" { &AND } else { &OR }).check(reader, element);
            let all = inner(reader)?;
            if all.len() < 2 {
                reader.error(
                    codes::MISSING_ELEMENT,
                    place,
                    "Two or more expressions should be provided under And/Or",
                );
                return None;
            }
            Some(match name {
                "and" => Condition::And(all),
                _ => Condition::Or(all),
            })
        }
        "not" => {
            NOT.check(reader, element);
            let mut all = inner(reader)?;
            match (all.pop(), all.is_empty()) {
                (Some(one), true) => Some(Condition::Not(Box::new(one))),
                _ => {
                    reader.error(
                        codes::MISSING_ELEMENT,
                        place,
                        "<not> has exactly one condition",
                    );
                    None
                }
            }
        }
        name => {
            reader.error(
                codes::UNKNOWN_ELEMENT,
                place,
                format!("Invalid configuration element: {name}"),
            );
            None
        }
    }
}

fn attribute(reader: &mut Reader, element: Element<'_, '_>, name: &str) -> Option<String> {
    let value = element.attribute(name).map(str::to_owned);
    if value.is_none() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ATTRIBUTE,
            place,
            format!("{name} attribute is required"),
        );
    }
    value
}

fn parse_source(reader: &mut Reader, element: Element<'_, '_>) -> Option<Source> {
    Some(match element.attribute("type").unwrap_or("header") {
        "header" => Source::Header(attribute(reader, element, "source")?),
        "param" => Source::Parameter(attribute(reader, element, "source")?),
        "property" => Source::Property(attribute(reader, element, "source")?),
        "url" => match element.has_attribute("source") {
            true => Source::Url(Some(reader.one_of(element, "source", PARTS)?)),
            false => Source::Url(None),
        },
        "soap" => {
            attribute(reader, element, "source")?;
            Source::Soap(reader.expression(element, "source")?)
        }
        other => {
            let place = reader.attribute_place(element, "type");
            reader.error(
                codes::INVALID_VALUE,
                place,
                format!(
                    "Unknown {} evaluator type: {other}",
                    element.tag_name().name()
                ),
            );
            return None;
        }
    })
}

impl Source {
    fn text<'m>(
        &'m self,
        cx: Context<'m>,
        message: &'m Message,
    ) -> Result<Option<Cow<'m, str>>, Fault> {
        let to = || {
            message
                .to_address()
                .ok_or_else(|| Fault::mediation("The message has no To address"))
        };
        Ok(match self {
            Source::Header(name) => message
                .headers
                .get(name.as_str())
                .map(|v| Cow::Borrowed(header_text(v))),
            Source::Property(name) => message.properties.get(name).map(|v| v.text()),
            Source::Parameter(name) => {
                let to = to()?;
                let query = part(&to, Part::Query).unwrap_or_default();
                query
                    .split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .find(|(key, _)| decoded(key) == *name)
                    .map(|(_, value)| Cow::Owned(decoded(value)))
            }
            Source::Url(None) => Some(to()?),
            Source::Url(Some(which)) => {
                let to = to()?;
                part(&to, *which).map(|text| Cow::Owned(text.to_owned()))
            }
            Source::Soap(expression) => {
                let scope: Scope<'_> = cx.scope(message);
                expression.string(&scope)?.map(Cow::Owned)
            }
        })
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&form::percent_decode(text.as_bytes())).into_owned()
}

/// A part of a URL or of a path with query; `None` when it is not there.
pub(super) fn part(url: &str, which: Part) -> Option<&str> {
    let (rest, fragment) = match url.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (url, None),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (protocol, authority, path) = match rest.split_once("://") {
        Some((protocol, rest)) => {
            let at = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(at);
            (Some(protocol), Some(authority), path)
        }
        None => (None, None, rest),
    };
    let (user, address) = match authority.map(|a| a.rsplit_once('@')) {
        Some(Some((user, address))) => (Some(user), Some(address)),
        _ => (None, authority),
    };
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match address.and_then(|a| Some((a, a.rfind(':')?))) {
        Some((address, at)) if !address.get(at..).unwrap_or_default().contains(']') => {
            (address.get(..at), address.get(at + 1..))
        }
        _ => (address, None),
    };
    match which {
        Part::Protocol => protocol,
        Part::User => user,
        Part::Host => host,
        Part::Port => port,
        Part::Path => Some(path),
        Part::Query => query,
        Part::Ref => fragment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses() {
        let full = "https://me@host.test:8243/a/b?x=1&y=2#end";
        let all = |url| PARTS.iter().map(move |(_, p)| part(url, *p).unwrap_or("-"));
        assert_eq!(
            all(full).collect::<Vec<_>>(),
            ["https", "me", "host.test", "8243", "/a/b", "x=1&y=2", "end"]
        );
        assert_eq!(
            all("http://[::1]/").collect::<Vec<_>>(),
            ["http", "-", "[::1]", "-", "/", "-", "-"]
        );
        assert_eq!(
            all("/services/X?q").collect::<Vec<_>>(),
            ["-", "-", "-", "-", "/services/X", "q", "-"]
        );
    }
}
