//! Splitting XML: the nodes that an XPath selects.

use super::Splitter;
use crate::mediator::Context;
use crate::mediator::content::{Selected, select, set_envelope};
use crate::mediator::split::{Marks, Parts};
use crate::message::{Body, Envelope, Fault, Message};
use crate::xml::{Document, NodeId, NodeKind};

/// The pieces of a built message.
///
/// # Errors
/// When the expression throws, or there is no place for the pieces.
pub(super) fn parts(
    cx: Context<'_>,
    message: &Message,
    iterate: &Splitter,
) -> Result<Box<dyn Parts>, Fault> {
    let Some(envelope) = message.envelope() else {
        return Err(Fault::mediation("the body has no XML form"));
    };
    let mut items = Document::new();
    let mut rest = envelope.clone();
    let mut nodes = Vec::new();
    // The last first: an item that stands inside another is taken out of it, as the reference does.
    for selected in select(cx, message, &iterate.expression)?.into_iter().rev() {
        nodes.push(match selected {
            Selected::Own(node) => {
                let item = items.import(&rest.document, node);
                rest.document.detach(node);
                item
            }
            Selected::Copy(document, node) => items.import(&document, node),
        });
    }
    nodes.reverse();
    if !iterate.preserve {
        rest.clear_body();
    }
    let rest = rest.compact();
    let marks = Marks::new(cx, message, iterate.id.as_ref(), nodes.len())?;
    let mut original = message.shell();
    let at = match iterate.preserve && !nodes.is_empty() {
        true => Some(attach_point(cx, &mut original, &rest, iterate)?),
        false => None,
    };
    original.body = Body::Empty;
    Ok(Box::new(Items {
        original,
        marks,
        items,
        nodes: nodes.into_iter(),
        base: rest,
        at,
    }))
}

/// The element that the items are put into.
fn attach_point(
    cx: Context<'_>,
    original: &mut Message,
    rest: &Envelope,
    iterate: &Splitter,
) -> Result<NodeId, Fault> {
    let Some(attach) = &iterate.attach else {
        // The path `.` is the envelope.
        return Ok(rest.root);
    };
    set_envelope(original, rest.clone());
    let found = select(cx, original, attach)?.into_iter().next();
    let node = found.and_then(|selected| match selected {
        Selected::Own(node) if rest.document.kind(node) == NodeKind::Element => Some(node),
        _ => None,
    });
    node.ok_or_else(|| {
        Fault::mediation(format!(
            "Error in attaching the splitted elements :: Unable to get the attach path specified by the expression {}",
            attach.text()
        ))
    })
}

struct Items {
    /// The message without body.
    original: Message,
    marks: Marks,
    items: Document,
    nodes: std::vec::IntoIter<NodeId>,
    /// The envelope without items.
    base: Envelope,
    /// Where an item goes in it; into the body otherwise.
    at: Option<NodeId>,
}

impl Parts for Items {
    fn next(&mut self) -> Option<(Message, usize)> {
        let node = self.nodes.next()?;
        let mut copy = self.original.duplicate();
        let mut envelope = self.base.clone();
        let item = envelope.document.import(&self.items, node);
        let parent = self.at.unwrap_or_else(|| envelope.body());
        envelope.document.append_child(parent, item);
        set_envelope(&mut copy, envelope);
        self.marks.mark(&mut copy);
        Some((copy, 0))
    }
}
