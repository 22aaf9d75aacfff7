//! The fast way of a scan over what its visitor does not ask about.
//!
//! Messages repeat themselves: most start tags have a name and attributes that an earlier one had, in the same scope of
//! namespaces, where they were checked. For such tags, plain text and end tags it is enough to compare the bytes; they
//! are as well-formed as what they are equal to. Whatever looks different is left to the tokenizer.

use super::chars::Normalise;
use super::scan::{Open, Scanner, Stop, Text, Visit};
use super::token::{ELEMENT_NAMES, RawName, SHORT_TEXT, Span, Tokenizer};
use super::words::{same, text_before_markup, value_before_quote};

/// Start tags with more attributes are left to the tokenizer.
const MOST: usize = 6;
/// Longest attribute value that is looked at here.
const LONGEST_VALUE: usize = 64;

/// The attributes that a start tag had; none of them declares a namespace.
#[derive(Clone, Copy, Default)]
pub(super) struct Shape {
    /// The bindings that were in scope, and the generation of the attribute names; see `Names::generation`.
    epoch: u32,
    generation: u32,
    /// Slots of the names.
    attributes: [u8; MOST],
    count: u8,
}

/// What was read.
enum Seen {
    /// A whole element with nothing but a text.
    Leaf(Span),
    Empty,
    Start,
}

impl Scanner {
    /// Remembers the attributes of a start tag that has been checked.
    pub(super) fn keep_shape(&mut self, tokens: &Tokenizer<'_>, name: RawName) {
        let Some((slot, _)) = name.slot() else { return };
        let attrs = &tokens.room.attrs;
        let mut shape = Shape {
            epoch: self.epoch,
            generation: tokens.room.attributes.generation(),
            attributes: [0; MOST],
            count: attrs.len() as u8,
        };
        if attrs.len() > MOST {
            return;
        }
        for (to, attr) in shape.attributes.iter_mut().zip(attrs) {
            match attr.name.slot() {
                Some((slot, _)) => *to = slot as u8,
                None => return,
            }
        }
        if self.work.shapes.is_empty() {
            self.work.shapes = vec![Shape::default(); ELEMENT_NAMES].into_boxed_slice();
        }
        if let Some(known) = self.work.shapes.get_mut(slot) {
            *known = shape;
        }
    }

    /// Reads on while it can; whether the visitor has seen enough.
    #[inline]
    pub(super) fn skim<V: Visit>(
        &mut self,
        tokens: &mut Tokenizer<'_>,
        bytes: &[u8],
        visitor: &mut V,
    ) -> Result<bool, Stop> {
        if tokens.unusual || self.work.open.is_empty() {
            return Ok(false);
        }
        let Some(mut wanted) = visitor.wanted() else {
            return Ok(false);
        };
        // Checked once here and once for each node by what is left.
        let mut left = self.limits.max_nodes.saturating_sub(self.nodes);
        let before = left;
        let mut stop = false;
        while left >= 2
            && let Some(rest) = bytes.get(tokens.pos..)
        {
            match rest {
                [b'<', b'/', after @ ..] => {
                    let Some(open) = self.work.open.last() else {
                        break;
                    };
                    let len = open.name.len() as usize;
                    // The root element is closed elsewhere.
                    if self.work.open.len() < 2
                        || after.get(len) != Some(&b'>')
                        || !same(after.get(..len).unwrap_or_default(), open.name.of(bytes))
                    {
                        break;
                    }
                    if self.as_written && tokens.pos == self.opened_at {
                        return Err(Stop::Unreadable);
                    }
                    tokens.pos += len + 3;
                    self.end();
                    visitor.close_unwanted();
                }
                [b'<', after @ ..] => {
                    let Some((slot, name, end, seen)) = self.tag(tokens, after) else {
                        break;
                    };
                    let Some(known) = self.work.marks.get(slot as usize) else {
                        break;
                    };
                    if known.epoch != self.epoch {
                        break;
                    }
                    let mark = known.mark;
                    match seen {
                        Seen::Leaf(text) => {
                            if mark & wanted != 0 {
                                let text = Text {
                                    bytes,
                                    span: text,
                                    plain: true,
                                    how: Normalise::Text,
                                };
                                match visitor.leaf(mark, text)? {
                                    Some(enough) => stop = enough,
                                    None => break,
                                }
                            }
                            left -= 2;
                            tokens.pos = end;
                            tokens.room.elements.met(slot);
                            if stop {
                                break;
                            }
                            continue;
                        }
                        _ if mark & wanted != 0 => break,
                        Seen::Empty => left -= 1,
                        Seen::Start => {
                            left -= 1;
                            self.opened_at = end;
                            self.work.open.push(Open {
                                name,
                                outside: self.work.bindings.len(),
                                epoch: self.epoch,
                            });
                            visitor.open_unwanted();
                        }
                    }
                    tokens.pos = end;
                    tokens.room.elements.met(slot);
                }
                _ => match text_before_markup(rest, SHORT_TEXT) {
                    Ok(len) if rest.get(len) == Some(&b'<') => {
                        left -= 1;
                        tokens.pos += len;
                        continue;
                    }
                    _ => break,
                },
            }
            match visitor.wanted() {
                Some(marks) => wanted = marks,
                None => break,
            }
        }
        self.nodes += before - left;
        self.at = tokens.pos;
        Ok(stop)
    }

    /// The start tag or leaf whose name `after` starts with, if it is like one before: the slot of its name, its name,
    /// and where it ends.
    #[inline(always)]
    fn tag(&self, tokens: &Tokenizer<'_>, after: &[u8]) -> Option<(u32, Span, usize, Seen)> {
        let room = &tokens.room;
        let known = room.elements.find(after)?;
        if self.work.open.len() >= self.limits.max_depth {
            return None;
        }
        let start = tokens.pos + 1;
        let name = Span::new(start, start + known.len);
        let mut at = known.len;
        match after.get(at)? {
            b'>' => {
                let text = after.get(at + 1..)?;
                if let Ok(len) = text_before_markup(text, SHORT_TEXT)
                    && len != 0
                    && let Some([b'<', b'/', end @ ..]) = text.get(len..)
                    && room.elements.is_at(known.slot, end, b'>').is_some()
                {
                    let from = start + at + 1;
                    let text = Span::new(from, from + len);
                    let end = from + len + known.len + 3;
                    return Some((known.slot, name, end, Seen::Leaf(text)));
                }
            }
            b' ' => {
                let shape = self.work.shapes.get(known.slot as usize)?;
                if shape.epoch != self.epoch || shape.generation != room.attributes.generation() {
                    return None;
                }
                for &slot in shape.attributes.get(..shape.count as usize)? {
                    if after.get(at) != Some(&b' ') {
                        return None;
                    }
                    at += 1;
                    at += room.attributes.is_at(slot.into(), after.get(at..)?, b'=')? + 1;
                    if after.get(at) != Some(&b'"') {
                        return None;
                    }
                    at += 1;
                    at += value_before_quote(after.get(at..)?, LONGEST_VALUE)? + 1;
                }
            }
            _ => {}
        }
        match after.get(at..)? {
            [b'>', ..] => Some((known.slot, name, start + at + 1, Seen::Start)),
            [b'/', b'>', ..] => Some((known.slot, name, start + at + 2, Seen::Empty)),
            _ => None,
        }
    }
}
