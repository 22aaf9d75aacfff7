//! Splitting JSON: the items of the array at a path.

use super::Splitter;
use crate::endpoint::Services;
use crate::expr::Expr;
use crate::expr::jsonpath::JsonPath;
use crate::json::Value;
use crate::mediator::Context;
use crate::mediator::content::{json_of, set_value};
use crate::mediator::split::{Marks, Parts};
use crate::message::{Fault, Message};
use std::sync::Arc;

/// The pieces of a built message.
///
/// # Errors
/// When there is no array at the path, or no place for the pieces.
pub(super) fn parts(
    cx: Context<'_>,
    message: &Message,
    iterate: &Splitter,
) -> Result<Box<dyn Parts>, Fault> {
    let Expr::Json { path, .. } = &iterate.expression else {
        return Err(Fault::mediation("the expression is no JSON path"));
    };
    let attach = match &iterate.attach {
        Some(Expr::Json { path, .. }) => Some(path),
        _ => None,
    };
    let body = json_of(message).unwrap_or(&Value::Null);
    let same = attach.map_or("$", JsonPath::as_str) == path.as_str();
    let no_array = || {
        Fault::mediation(format!(
            "JSON element expressed by the path {} is not a valid JSON array that can be iterated",
            path.as_str()
        ))
    };
    let found = path.evaluate(body).map_err(|_| no_array())?.into_value();
    let items = match found {
        Value::Array(items) => items,
        // A single value is its own list when it is put back where it was.
        other if same => vec![other],
        _ => return Err(no_array()),
    };
    let base = match (iterate.preserve, attach) {
        (true, Some(attach)) => {
            let mut root = body.clone();
            if !same {
                let _ = path.set(&mut root, &Value::Array(Vec::new()));
            }
            if attach
                .locate(&root)
                .map_or(true, |places| places.is_empty())
            {
                return Err(Fault::mediation(format!(
                    "Unable to get the attach path specified by the expression {}",
                    attach.as_str()
                )));
            }
            Some((root, attach.clone()))
        }
        // Without a path the item is put at `$`, which is all there is.
        _ => None,
    };
    let marks = Marks::new(cx, message, iterate.id.as_ref(), items.len())?;
    Ok(Box::new(Items {
        original: message.shell(),
        marks,
        items: items.into_iter(),
        base,
        services: cx.services.clone(),
    }))
}

struct Items {
    /// The message without body.
    original: Message,
    marks: Marks,
    items: std::vec::IntoIter<Value>,
    /// The body that is preserved, and where the items go in it.
    base: Option<(Value, JsonPath)>,
    services: Arc<Services>,
}

impl Parts for Items {
    fn next(&mut self) -> Option<(Message, usize)> {
        let item = self.items.next()?;
        let mut copy = self.original.duplicate();
        match &self.base {
            None => set_value(&mut copy, item, &self.services.limits),
            Some((base, path)) => {
                let mut root = base.clone();
                // That there is such a place was seen before.
                let _ = path.set(&mut root, &item);
                set_value(&mut copy, root, &self.services.limits);
            }
        }
        self.marks.mark(&mut copy);
        Some((copy, 0))
    }
}
