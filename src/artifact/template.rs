//! `<template name="…">`: an endpoint or a sequence with parameters (spec 02 §6).

use crate::diag::codes;
use crate::endpoint::EndpointTemplate;
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// A template as it is written.
#[derive(Debug)]
pub enum TemplateDef {
    /// Endpoints are made from it when the plan is linked.
    Endpoint(Arc<EndpointTemplate>),
}

impl TemplateDef {
    /// Reads the element: its first `<endpoint>` or `<sequence>` child says what it is.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<TemplateDef> {
        reader.known_attributes(
            element,
            &["name", "onError", "description", "trace", "statistics"],
        );
        reader.required(element, "name")?;
        if let Some(endpoint) = reader.child(element, "endpoint") {
            let template = EndpointTemplate::parse(reader, element, endpoint)?;
            return Some(TemplateDef::Endpoint(Arc::new(template)));
        }
        if let Some(sequence) = reader.child(element, "sequence") {
            let place = reader.place(sequence);
            reader.unsupported(
                place,
                "sequence templates are not supported yet",
                Some("use a named sequence and properties"),
            );
            return None;
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
