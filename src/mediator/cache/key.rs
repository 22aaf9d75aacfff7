//! What makes two requests equal (spec 03 §21): method, address, headers and, unless the request
//! is a plain GET, HEAD or DELETE, the body.

use crate::json;
use crate::message::{Body, Built, Message, PayloadKind};
use crate::xml::{Document, NodeId, NodeKind};
use http::Method;
use sha2::{Digest, Sha256};
use std::fmt;

/// Which headers count.
#[derive(Debug)]
pub(super) enum HashedHeaders {
    /// All.
    All,
    /// All but these (lower case).
    Without(Vec<String>),
    /// These (lower case).
    Only(Vec<String>),
}

/// Headers that say who asks. They count unless they are left out by name, so that one client never
/// gets what another may see (differences.md).
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The hash of a request. A collision would give one client the answer of another, so it is a hash
/// that nobody can make collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The key of a built request.
pub(super) fn key_of(message: &Message, headers: &HashedHeaders) -> Key {
    let mut hash = Hash(Sha256::new());
    let method = message.request_method();
    hash.part(method.as_str());
    hash.part(&message.to_address().unwrap_or_default());
    let mut fields: Vec<(&str, &[u8])> = message
        .headers
        .iter()
        .filter(|(name, _)| !super::never_hashed(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| match headers {
            HashedHeaders::All => true,
            HashedHeaders::Without(names) => !names.iter().any(|n| n == name),
            HashedHeaders::Only(names) => {
                CREDENTIALS.contains(name) || names.iter().any(|n| n == name)
            }
        })
        .collect();
    fields.sort_unstable();
    hash.part(&fields.len().to_string());
    for (name, value) in fields {
        hash.part(name);
        hash.bytes(value);
    }
    let plain = [Method::GET, Method::HEAD, Method::DELETE].contains(&method);
    if !(plain && message.rest)
        && let Body::Built(built) = &message.body
    {
        hash.body(built);
    }
    Key(hash.0.finalize().into())
}

struct Hash(Sha256);

impl Hash {
    fn part(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// With its length, so that parts cannot run into each other.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn body(&mut self, built: &Built) {
        // White space between JSON tokens says nothing.
        if let Some(raw) = built.json()
            && let Ok(value) = json::parse(raw, &json::Limits::default())
        {
            let mut text = Vec::with_capacity(raw.len());
            json::write(&value, &mut text);
            self.part("json");
            return self.bytes(&text);
        }
        let tree = match built.kind {
            PayloadKind::Soap
            | PayloadKind::Xml
            | PayloadKind::Json
            | PayloadKind::Badgerfish
            | PayloadKind::Empty => built.envelope().ok(),
            PayloadKind::Text
            | PayloadKind::Binary
            | PayloadKind::Form
            | PayloadKind::MultipartForm => match built.unchanged() {
                Some(_) => None,
                None => built.envelope().ok(),
            },
        };
        if let Some(envelope) = tree {
            self.part("tree");
            self.tree(&envelope.document, envelope.body());
        }
        for bytes in built.attachments() {
            self.part("attachment");
            self.bytes(bytes);
        }
        // What has no tree counts as it came: it must not equal every other that has none.
        if tree.is_none()
            && let Some(raw) = built.unchanged()
        {
            self.part("raw");
            self.bytes(raw);
        }
    }

    /// An element with everything in it; prefixes and the order of attributes do not count.
    fn tree(&mut self, document: &Document, top: NodeId) {
        let mut at = top;
        loop {
            self.open(document, at);
            if let Some(child) = document.first_child(at) {
                at = child;
                continue;
            }
            loop {
                self.part("/");
                if at == top {
                    return;
                }
                if let Some(next) = document.next_sibling(at) {
                    at = next;
                    break;
                }
                match document.parent(at) {
                    Some(parent) => at = parent,
                    None => return,
                }
            }
        }
    }

    fn open(&mut self, document: &Document, node: NodeId) {
        match document.kind(node) {
            NodeKind::Element => {
                self.part("<");
                self.part(document.namespace(node));
                self.part(document.local_name(node));
                let mut attributes: Vec<(&str, &str, &str)> = document
                    .attributes(node)
                    .map(|a| (a.namespace, a.local, a.value))
                    .collect();
                attributes.sort_unstable();
                for (namespace, local, value) in attributes {
                    self.part("@");
                    self.part(namespace);
                    self.part(local);
                    self.part(value);
                }
            }
            NodeKind::Text => {
                self.part("#");
                self.part(document.text(node));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::BodyLimits;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Uri};

    async fn key(content_type: &'static str, body: &'static str) -> Key {
        key_of(
            &message(content_type, body).await,
            &HashedHeaders::Only(Vec::new()),
        )
    }

    async fn message(content_type: &'static str, body: &'static str) -> Message {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        let uri = Uri::from_static("/services/X?a=1");
        let body = Body::Bytes(Bytes::from_static(body.as_bytes()));
        let mut message = Message::request(Method::POST, uri, headers, body);
        message.build(&BodyLimits::default()).await.unwrap();
        message
    }

    #[tokio::test]
    async fn bodies_without_a_tree_differ() {
        let json = "application/json";
        assert_ne!(key(json, "{q:5").await, key(json, "{q:6").await);
        assert_eq!(key(json, "{q:5").await, key(json, "{q:5").await);
    }

    #[tokio::test]
    async fn attachments_count() {
        fn related(content: &str) -> &'static str {
            let soap = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><a/></s:Body></s:Envelope>";
            format!("--b\r\nContent-Type: text/xml\r\nContent-ID: <r>\r\n\r\n{soap}\r\n--b\r\nContent-ID: <f>\r\n\r\n{content}\r\n--b--\r\n").leak()
        }
        let kind = "multipart/related; type=\"text/xml\"; start=\"<r>\"; boundary=b";
        let one = key(kind, related("one")).await;
        assert_eq!(one, key(kind, related("one")).await);
        assert_ne!(one, key(kind, related("two")).await);
    }

    #[tokio::test]
    async fn bodies_that_say_the_same_are_equal() {
        let xml = "application/xml";
        let one = key(xml, "<a x='1' y='2'><b xmlns='u'>t</b></a>").await;
        assert_eq!(
            one,
            key(xml, "<a y=\"2\" x=\"1\"><p:b xmlns:p='u'>t</p:b></a>").await
        );
        for other in [
            "<a x='1' y='2'><b>t</b></a>",
            "<a x='1' y='2'><b xmlns='u'/>t</a>",
            "<a x='1' y='3'><b xmlns='u'>t</b></a>",
            "<a x='1' y='2'><b xmlns='u'><t xmlns='#'/></b></a>",
            "<a x='1'><b xmlns='u' y='2'>t</b></a>",
        ] {
            assert_ne!(one, key(xml, other).await, "{other}");
        }
        let json = "application/json";
        assert_eq!(
            key(json, "{\"a\":[1, 2]}").await,
            key(json, "{ \"a\" : [1,2] }").await
        );
        assert_ne!(
            key(json, "{\"a\":[1,2]}").await,
            key(json, "{\"a\":[12]}").await
        );
    }
}
