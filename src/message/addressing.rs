//! WS-Addressing headers: read when a SOAP body is built, written when an endpoint asks for them
//! (spec 01 §19).

use super::{ANONYMOUS, Body, Fault, Message, To};
use crate::message::envelope::Envelope;
use crate::xml::NodeId;

/// The final namespace.
pub const FINAL: &str = "http://www.w3.org/2005/08/addressing";
/// The submission namespace.
pub const SUBMISSION: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";

/// The prefix that is written.
pub(super) const PREFIX: &str = "wsa";

/// A header block that is written.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Its local name.
    pub(super) name: &'static str,
    /// What it says.
    pub(super) value: String,
    /// It says so in an `Address` of its own.
    pub(super) is_reference: bool,
}

/// Which namespace an endpoint writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 2005/08, the default.
    Final,
    /// 2004/08.
    Submission,
}

impl Version {
    /// Its namespace.
    pub fn namespace(self) -> &'static str {
        match self {
            Version::Final => FINAL,
            Version::Submission => SUBMISSION,
        }
    }

    /// The address that means "back to the sender".
    pub fn anonymous(self) -> &'static str {
        match self {
            Version::Final => ANONYMOUS,
            Version::Submission => {
                "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
            }
        }
    }
}

fn is_anonymous(address: &str) -> bool {
    address == Version::Final.anonymous() || address == Version::Submission.anonymous()
}

fn blocks(envelope: &Envelope) -> Vec<NodeId> {
    let document = &envelope.document;
    envelope.header().map_or_else(Vec::new, |header| {
        document
            .child_elements(header)
            .filter(|b| matches!(document.namespace(*b), FINAL | SUBMISSION))
            .collect()
    })
}

impl Message {
    /// Takes the addressing fields from the header blocks of a built SOAP message. Fields that an
    /// artifact set before stay as they are.
    pub(super) fn read_addressing(&mut self) {
        let Some(envelope) = self.made_envelope() else {
            return;
        };
        let document = &envelope.document;
        let found: Vec<(String, String)> = blocks(envelope)
            .into_iter()
            .map(|block| {
                let text = match document.child_element(block, document.namespace(block), "Address")
                {
                    Some(address) => document.string_value(address),
                    None => document.string_value(block),
                };
                (
                    document.local_name(block).to_owned(),
                    text.trim().to_owned(),
                )
            })
            .collect();
        for (name, text) in found {
            match name.as_str() {
                "To" if self.to == To::RequestUri => self.to = To::Header(text),
                "Action" if !self.action_is_set() => self.set_action(Some(text)),
                "MessageID" => {
                    self.message_id.get_or_insert(text);
                }
                "ReplyTo" => {
                    self.reply_to.get_or_insert(text);
                }
                "FaultTo" => {
                    self.fault_to.get_or_insert(text);
                }
                "From" => {
                    self.from.get_or_insert(text);
                }
                "RelatesTo" => {
                    self.relates_to.get_or_insert(text);
                }
                _ => {}
            }
        }
    }

    /// Removes every addressing header block of a built body, unless the message says
    /// `PRESERVE_WS_ADDRESSING`.
    pub fn strip_addressing(&mut self) {
        if self.properties.is_true("PRESERVE_WS_ADDRESSING") {
            return;
        }
        let Body::Built(built) = &mut self.body else {
            return;
        };
        if let Some(outline) = built.outline_mut() {
            outline.strip();
            return;
        }
        let Some(envelope) = self.made_envelope() else {
            return;
        };
        let old = blocks(envelope);
        if old.is_empty() {
            return;
        }
        if let Ok(envelope) = self.envelope_mut() {
            for block in old {
                envelope.document.detach(block);
            }
        }
    }

    /// Writes the addressing header blocks for a request to `address`; `answer_to` is where the
    /// answer shall go, whatever the message says. Blocks that the message keeps
    /// (`PRESERVE_WS_ADDRESSING`) are not written a second time. Gives the id of the request.
    ///
    /// # Errors
    /// When the message has no action: the addressing rules require one.
    pub fn write_addressing(
        &mut self,
        version: Version,
        address: &str,
        answer_to: Option<&str>,
    ) -> Result<String, Fault> {
        let action = self.action().map(|a| a.into_owned());
        let Some(action) = action else {
            return Err(Fault::mediation(
                "The endpoint has addressing enabled, but the message has no action; set one with <header name=\"Action\" …/>",
            ));
        };
        let preserve = self.properties.is_true("PRESERVE_WS_ADDRESSING");
        let id = match &self.message_id {
            Some(id) if preserve => id.clone(),
            _ => super::outgoing::new_message_id(),
        };
        // Only the final version leaves anonymous addresses away.
        let epr = |value: &Option<String>| {
            let value = value.as_deref().filter(|v| !v.is_empty())?;
            match version {
                Version::Final if is_anonymous(value) => None,
                Version::Submission if is_anonymous(value) => Some(version.anonymous().to_owned()),
                _ => Some(value.to_owned()),
            }
        };
        let to = epr(&Some(address.to_owned()));
        let reply_to = match answer_to {
            Some(own) => Some(own.to_owned()),
            None => epr(&self.reply_to),
        };
        let fields = [
            ("To", to, false),
            ("ReplyTo", reply_to, true),
            ("From", epr(&self.from), true),
            ("FaultTo", epr(&self.fault_to), true),
            ("MessageID", Some(id.clone()), false),
            ("Action", Some(action), false),
            ("RelatesTo", self.relates_to.clone(), false),
        ];
        let field = |(name, value, is_reference)| {
            Some(Field {
                name,
                value: value?,
                is_reference,
            })
        };
        let fields: Vec<Field> = fields.into_iter().filter_map(field).collect();
        if !preserve
            && let Body::Built(built) = &mut self.body
            && let Some(outline) = built.outline_mut()
        {
            outline.address(version, fields);
            return Ok(id);
        }
        let envelope = self.envelope_mut()?;
        let kept = blocks(envelope);
        let mut news = Vec::with_capacity(fields.len());
        for field in fields {
            let document = &mut envelope.document;
            let mut old = kept
                .iter()
                .filter(|b| document.local_name(**b) == field.name);
            if let Some(block) = old.next().copied() {
                if field.name != "ReplyTo" || answer_to.is_none() {
                    continue;
                }
                document.detach(block);
            }
            news.push(field);
        }
        write_blocks(envelope, version, &news);
        Ok(id)
    }
}

/// Writes header blocks behind those that there are.
pub(super) fn write_blocks(envelope: &mut Envelope, version: Version, fields: &[Field]) {
    let header = envelope.header_mut();
    let document = &mut envelope.document;
    let namespace = version.namespace();
    document.declare_namespace(header, PREFIX, namespace);
    for field in fields {
        let block = document.create_element(PREFIX, namespace, field.name);
        if field.is_reference {
            let inner = document.create_element(PREFIX, namespace, "Address");
            document.set_text(inner, &field.value);
            document.append_child(block, inner);
        } else {
            document.set_text(block, &field.value);
        }
        document.append_child(header, block);
    }
}
