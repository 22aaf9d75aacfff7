//! Writing a built body as its message type says (spec 01 §16.3–§16.4, §18.2).

use super::body::{Body, Built, PAYLOAD_NAMESPACE, PayloadKind};
use super::envelope::FaultParts;
use super::media::Media;
use super::{Fault, Message, SoapVersion};
use crate::json;
use base64::Engine;
use bytes::Bytes;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formatter {
    /// The envelope with an XML declaration.
    Soap,
    /// The first element of the body.
    Xml,
    /// JSON.
    Json,
    /// The characters of the text wrapper.
    Text,
    /// The bytes of the binary wrapper.
    Binary,
    /// `a=b&c=d`.
    Form,
}

impl Formatter {
    /// The content type that the formatter writes when the message has none.
    pub fn content_type(self, version: SoapVersion) -> &'static str {
        match self {
            Formatter::Soap => version.media_type(),
            Formatter::Xml => "application/xml",
            Formatter::Json => "application/json",
            Formatter::Text => "text/plain",
            Formatter::Binary => "application/octet-stream",
            Formatter::Form => "application/x-www-form-urlencoded",
        }
    }
}

impl Message {
    /// The formatter for the message as it is now.
    pub fn formatter(&self) -> Formatter {
        let fallback = if self.rest {
            Formatter::Xml
        } else {
            Formatter::Soap
        };
        match self.effective_message_type().map(Media::of) {
            Some(Media::TextXml) if self.rest => Formatter::Xml,
            Some(Media::TextXml | Media::SoapXml) => Formatter::Soap,
            Some(Media::Xml) => Formatter::Xml,
            Some(Media::Json) => Formatter::Json,
            Some(Media::Text) => Formatter::Text,
            Some(Media::Binary) => Formatter::Binary,
            Some(Media::Form) => Formatter::Form,
            Some(Media::Other) | None => fallback,
        }
    }

    /// The bytes of a built body in the message's form. Bytes that came in and still hold are
    /// returned as they are.
    ///
    /// # Errors
    /// When the payload has no such form, for example mixed XML content as JSON.
    pub fn write_body(&mut self) -> Result<Bytes, Fault> {
        let formatter = self.formatter();
        let message_type_set = self.message_type.is_some();
        match &mut self.body {
            Body::Empty | Body::Stream(_) => Ok(Bytes::new()),
            Body::Bytes(bytes) => Ok(bytes.clone()),
            Body::Built(built) => write(built, formatter, message_type_set),
        }
    }

    /// The REST form of a SOAP fault in the body: `<Exception>text</Exception>` (spec 01 §11.4).
    pub fn fault_to_rest(&mut self) {
        let Ok(envelope) = self.envelope_mut() else {
            return;
        };
        let Some(fault) = envelope.fault() else {
            return;
        };
        let text = FaultParts::read(envelope, fault).rest_text();
        let body = envelope.body();
        let document = &mut envelope.document;
        document.detach(fault);
        let exception = document.create_element("", "", "Exception");
        document.append_child(body, exception);
        // Text that looks like XML is read as such.
        if text.trim_start().starts_with('<')
            && document
                .parse_into(
                    exception,
                    Bytes::copy_from_slice(text.as_bytes()),
                    &crate::xml::Limits::default(),
                )
                .is_ok()
        {
            return;
        }
        document.set_text(exception, &text);
    }
}

/// Whether the bytes that came in are what this formatter would write.
pub(super) fn fits(kind: PayloadKind, formatter: Formatter) -> bool {
    matches!(
        (kind, formatter),
        (PayloadKind::Soap, Formatter::Soap)
            | (PayloadKind::Xml, Formatter::Xml)
            | (PayloadKind::Json, Formatter::Json)
            | (PayloadKind::Text, Formatter::Text)
            | (PayloadKind::Binary, Formatter::Binary)
            | (PayloadKind::Form, Formatter::Form)
    )
}

fn write(built: &mut Built, formatter: Formatter, converted: bool) -> Result<Bytes, Fault> {
    if fits(built.kind, formatter)
        && let Some(raw) = built.unchanged()
    {
        return Ok(raw.clone());
    }
    // A body of a type without an own formatter goes on as it came, until somebody converts it.
    if !converted
        && matches!(
            built.kind,
            PayloadKind::Text | PayloadKind::Binary | PayloadKind::Form
        )
        && let Some(raw) = built.unchanged()
    {
        return Ok(raw.clone());
    }
    let mut out = Vec::with_capacity(256);
    match formatter {
        Formatter::Soap => write_soap(built, &mut out)?,
        Formatter::Xml => {
            let envelope = built.envelope()?;
            if let Some(payload) = envelope.payload() {
                envelope.document.write(payload, &mut out);
            }
        }
        Formatter::Json => {
            let envelope = built.envelope()?;
            if let Some(payload) = envelope.payload() {
                let text = json::from_xml(&envelope.document, payload, &json::Options::default());
                out = text.map_err(|e| Fault::mediation(e.to_string()))?;
            }
        }
        Formatter::Text | Formatter::Binary => {
            let envelope = built.envelope()?;
            let document = &envelope.document;
            let name = if formatter == Formatter::Text {
                "text"
            } else {
                "binary"
            };
            if let Some(wrapper) = envelope
                .payload()
                .filter(|p| document.is_element(*p, PAYLOAD_NAMESPACE, name))
            {
                let text = document.string_value(wrapper);
                if formatter == Formatter::Text {
                    out.extend_from_slice(text.as_bytes());
                } else {
                    let packed: Vec<u8> =
                        text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
                    out = base64::engine::general_purpose::STANDARD
                        .decode(packed)
                        .map_err(|e| {
                            Fault::mediation(format!("The binary payload is not base64: {e}"))
                        })?;
                }
            }
        }
        Formatter::Form => {
            let envelope = built.envelope()?;
            let document = &envelope.document;
            if let Some(payload) = envelope.payload() {
                for (index, field) in document.child_elements(payload).enumerate() {
                    if index > 0 {
                        out.push(b'&');
                    }
                    form_encode(document.local_name(field), &mut out);
                    out.push(b'=');
                    form_encode(&document.string_value(field), &mut out);
                }
            }
        }
    }
    Ok(out.into())
}

fn write_soap(built: &mut Built, out: &mut Vec<u8>) -> Result<(), Fault> {
    let envelope = built.envelope_mut()?;
    // The reference never writes an empty Header.
    if let Some(header) = envelope.header()
        && envelope.document.child_elements(header).next().is_none()
    {
        envelope.document.detach(header);
    }
    out.extend_from_slice(b"<?xml version='1.0' encoding='UTF-8'?>");
    envelope.document.write(envelope.root, out);
    Ok(())
}

fn form_encode(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(byte);
        } else {
            out.push(b'%');
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}
