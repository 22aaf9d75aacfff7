//! Stands in for XML Schema in a build without the feature `xsd`.

use crate::expr::LocalEntries;
use crate::xml::{Document, NodeId};
use std::sync::Arc;

/// This build has no XML Schema.
pub(super) const MISSING: bool = true;

const WHY: &str = "XML Schema is not part of this build (feature \"xsd\"); use a JSON Schema";

#[derive(Debug)]
pub(super) struct Schemas;

impl Schemas {
    pub(super) fn new(
        _: &[String],
        _: Vec<(String, String)>,
        _: &Arc<LocalEntries>,
    ) -> Result<Schemas, String> {
        Err(WHY.to_owned())
    }

    pub(super) fn check(&self, _: &Document, _: NodeId) -> Result<Vec<String>, String> {
        Err(WHY.to_owned())
    }
}
