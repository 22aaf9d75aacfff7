//! `<foreach>`: runs mediators for every item of a list (spec 03 §11). A `collection` makes it the
//! newer one, which works on copies.

mod v1;
mod v2;

use super::{Definition, Spec};
use crate::mediator::describe::{Area, Doc, Needs};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "foreach",
    summary: "Runs mediators for every item of a list.",
    doc: DOC,
    parse,
};

const DOC: Doc = Doc {
    group: Area::Routing,
    body: Needs::Whole,
    forms: &[v2::FORM, v1::FORM],
    remarks: &[
        "A `collection` that is not blank makes it the second form. There, properties and variables that an item sets are gone when the loop has ended, and results stand in the order of the items.",
        "An item of the second form that faults ends the flow: what stands behind the loop does not run.",
        "In the first form `FOREACH_ORIGINAL_MESSAGE` holds the body before the loop, and `FOREACH_COUNTER` the number of the part, from 0.",
        "A `collection` that is not a path, such as a function, needs `update-original=\"false\"`.",
    ],
};

fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<Arc<dyn Definition>> {
    let newer = element
        .attribute("collection")
        .is_some_and(|c| !c.trim().is_empty());
    match newer {
        true => v2::parse(reader, element),
        false => v1::parse(reader, element),
    }
}
