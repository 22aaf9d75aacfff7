//! `<template name="…">`: an endpoint or a sequence with parameters (spec 02 §6).

use crate::diag::codes;
use crate::endpoint::EndpointTemplate;
use crate::mediator::SequenceTemplateDef;
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A template as it is written.
#[derive(Debug)]
pub enum TemplateDef {
    /// Endpoints are made from it when the plan is linked.
    Endpoint(Arc<EndpointTemplate>),
    /// Mediators with parameters.
    Sequence(SequenceTemplateDef),
}

impl TemplateDef {
    /// Reads the element: its first `<endpoint>` or `<sequence>` child says what it is.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<TemplateDef> {
        reader.known_attributes(
            element,
            &["name", "onError", "description", "trace", "statistics"],
        );
        if !element.has_attribute("name") {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "A EIP template should be a named mediator .",
            );
            return None;
        }
        if let Some(endpoint) = reader.child(element, "endpoint") {
            let template = EndpointTemplate::parse(reader, element, endpoint)?;
            return Some(TemplateDef::Endpoint(Arc::new(template)));
        }
        if let Some(sequence) = reader.child(element, "sequence") {
            return SequenceTemplateDef::parse(reader, element, sequence)
                .map(TemplateDef::Sequence);
        }
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "<template> needs an <endpoint> or a <sequence>",
        );
        None
    }
}
