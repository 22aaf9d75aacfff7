//! What a mediator accepts and does, for people and for the reader at once: the reader warns about
//! attributes and refuses elements that are not described here, and `docs/reference/mediators` is
//! written from it.

use crate::syntax::{Element, Reader};

/// The description of a mediator.
#[derive(Debug)]
pub struct Doc {
    /// Where it stands in the overview.
    pub group: Area,
    /// What it needs of the message's body.
    pub body: Needs,
    /// Its element; several when one name has several forms.
    pub forms: &'static [&'static Tag],
    /// What to know beside the tables, one sentence or a few each, in Markdown.
    pub remarks: &'static [&'static str],
}

/// Groups of the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Properties, logs, sending and answering.
    Core,
    /// Which way a message takes.
    Routing,
    /// What a message looks like.
    Transform,
    /// What keeps back-ends and clients from harm.
    Protection,
    /// Databases.
    Data,
    /// Own code.
    Extension,
}

impl Area {
    /// All of them, in the order of the overview, with their headings.
    pub const ALL: &'static [(Area, &'static str)] = &[
        (Area::Core, "Core"),
        (Area::Routing, "Routing"),
        (Area::Transform, "Transformation"),
        (Area::Protection, "Protection"),
        (Area::Data, "Data"),
        (Area::Extension, "Extension"),
    ];
}

/// What a mediator needs of the body (spec 03 §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the body streams.
    Nothing,
    /// What its expressions read.
    Expressions,
    /// All of it: it is read into memory.
    Whole,
    /// As this sentence says.
    As(&'static str),
}

/// An element.
#[derive(Debug)]
pub struct Tag {
    /// Local name.
    pub name: &'static str,
    /// What it is for. Markdown.
    pub text: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attr],
    /// Elements that it may hold.
    pub children: &'static [&'static Tag],
    /// What else it holds.
    pub content: Content,
    /// It accepts what every mediator accepts.
    common: bool,
}

/// What an element holds beside the described children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    None,
    /// Text.
    Text,
    /// Mediators.
    Mediators,
    /// Any XML.
    Xml,
    /// Described elsewhere.
    As(&'static str),
}

/// An attribute.
#[derive(Debug)]
pub struct Attr {
    /// Its name.
    pub name: &'static str,
    /// What may be written.
    pub form: Form,
    /// What it is when it is missing; empty when there is nothing to say.
    pub default: &'static str,
    /// Must be there.
    pub required: bool,
    /// Accepted, and nothing here reads it.
    pub ignored: bool,
    /// What it does. Markdown.
    pub text: &'static str,
}

/// What may be written in an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// `true` or `false`.
    Truth,
    /// A number.
    Number,
    /// An expression.
    Expression,
    /// A text, or an expression in braces.
    TextOrExpression,
    /// A number, or an expression in braces.
    NumberOrExpression,
    /// A regular expression.
    Regex,
    /// One of these.
    Words(&'static [&'static str]),
}

impl Tag {
    /// An element that accepts what every mediator accepts.
    pub(super) const fn mediator(name: &'static str, text: &'static str) -> Tag {
        Tag {
            name,
            text,
            attributes: &[],
            children: &[],
            content: Content::None,
            common: true,
        }
    }

    /// An element inside another.
    pub(super) const fn child(name: &'static str, text: &'static str) -> Tag {
        Tag {
            common: false,
            ..Tag::mediator(name, text)
        }
    }

    /// With attributes.
    pub(super) const fn with(self, attributes: &'static [Attr]) -> Tag {
        Tag { attributes, ..self }
    }

    /// With children.
    pub(super) const fn of(self, children: &'static [&'static Tag]) -> Tag {
        Tag { children, ..self }
    }

    /// With content.
    pub(super) const fn holds(self, content: Content) -> Tag {
        Tag { content, ..self }
    }

    /// Warns about attributes that are not described.
    pub(super) fn check(&self, reader: &mut Reader, element: Element<'_, '_>) {
        let known: Vec<&str> = self.attributes.iter().map(|a| a.name).collect();
        if self.common {
            reader.mediator_attributes(element, &known);
        } else {
            reader.known_attributes(element, &known);
        }
    }

    /// An error about a child that is not described.
    pub(super) fn refuse(&self, reader: &mut Reader, child: Element<'_, '_>) {
        let known: Vec<&str> = self.children.iter().map(|c| c.name).collect();
        reader.unknown_element(child, self.name, &known);
    }

    /// Whether it accepts what every mediator accepts.
    pub fn is_common(&self) -> bool {
        self.common
    }
}

impl Attr {
    const fn new(name: &'static str, form: Form, text: &'static str) -> Attr {
        Attr {
            name,
            form,
            default: "",
            required: false,
            ignored: false,
            text,
        }
    }

    /// Any text.
    pub(super) const fn text(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::Text, text)
    }

    /// `true` or `false`, by default false.
    pub(super) const fn truth(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::Truth, text).or("false")
    }

    /// A number.
    pub(super) const fn number(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::Number, text)
    }

    /// An expression.
    pub(super) const fn expression(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::Expression, text)
    }

    /// A text, or an expression in braces.
    pub(super) const fn dynamic(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::TextOrExpression, text)
    }

    /// A number, or an expression in braces.
    pub(super) const fn count(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::NumberOrExpression, text)
    }

    /// A regular expression.
    pub(super) const fn regex(name: &'static str, text: &'static str) -> Attr {
        Attr::new(name, Form::Regex, text)
    }

    /// One of these words.
    pub(super) const fn words(
        name: &'static str,
        words: &'static [&'static str],
        text: &'static str,
    ) -> Attr {
        Attr::new(name, Form::Words(words), text)
    }

    /// With this default.
    pub(super) const fn or(self, default: &'static str) -> Attr {
        Attr { default, ..self }
    }

    /// Must be there.
    pub(super) const fn required(self) -> Attr {
        Attr {
            required: true,
            ..self
        }
    }

    /// Has no effect here.
    pub(super) const fn ignored(self) -> Attr {
        Attr {
            ignored: true,
            default: "",
            ..self
        }
    }
}

/// Mediators in place, for loops and branches.
pub(super) const SEQUENCE: Tag = Tag::mediator("sequence", "Mediators in place.")
    .with(&[
        Attr::text("name", "For people.").ignored(),
        Attr::text("onError", "Sequence that runs when one of them faults."),
    ])
    .holds(Content::Mediators);

/// An endpoint in place.
pub(super) const ENDPOINT: Tag = Tag::child("endpoint", "An endpoint in place, or `key=\"…\"`.")
    .holds(Content::As("an [endpoint](../endpoints.md)"));
