//! `<foreach>`: runs mediators for every item of a list (spec 03 §11). A `collection` makes it the
//! newer one, which works on copies.

mod v1;
mod v2;

use super::{Definition, Spec};
use crate::syntax::{Element, Reader};
use std::sync::Arc;

/// The table row.
pub(super) const SPEC: Spec = Spec {
    name: "foreach",
    summary: "Runs mediators for every item of a list.",
    parse,
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
