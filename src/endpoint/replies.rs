//! Answers that come as requests of their own: with `separateListener="true"` the request names an
//! address of this server in its `ReplyTo`, and what is sent there finds the flow that waits for it
//! by its `RelatesTo` (spec 01 §19).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

use crate::message::stream::BodyStream;

/// The service name of the address, as in the reference.
const SERVICE: &str = "__ADDR_ONLY__";

/// Headers that say something about the request that an answer came with, not about the answer.
const OF_REQUESTS: [&str; 15] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "activityid",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "soapaction",
    "te",
    "transfer-encoding",
    "user-agent",
];

/// An answer that came as a request.
#[derive(Debug)]
pub struct Reply {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// It is a SOAP fault.
    pub fault: bool,
}

impl Reply {
    /// The same as an answer on the connection of the request would be.
    fn into_response(self) -> Response<BodyStream> {
        let mut headers = self.headers;
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| *name != CONTENT_TYPE)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
        for name in OF_REQUESTS {
            headers.remove(name);
        }
        let mut response = Response::new(BodyStream::full(self.body));
        *response.headers_mut() = headers;
        if self.fault {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

/// Why nobody can wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full(usize),
    /// A request with this message id waits already.
    Duplicate,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    out: oneshot::Sender<Reply>,
}

/// The requests of all workers that wait for an answer of this kind.
#[derive(Debug, Default)]
pub struct Replies {
    waiting: Mutex<HashMap<Box<str>, Waiter>>,
    most: usize,
    numbers: AtomicU64,
    path: String,
    http: Option<String>,
    https: Option<String>,
}

impl Replies {
    /// A table for at most `most` requests. `http` and `https` are the addresses of the listeners as
    /// others write them, without a path.
    pub fn new(
        most: usize,
        service_path: &str,
        http: Option<String>,
        https: Option<String>,
    ) -> Replies {
        let path = format!("/{service_path}/{SERVICE}");
        let whole = |base: String| format!("{}{path}", base.trim_end_matches('/'));
        Replies {
            most,
            http: http.map(whole),
            https: https.map(whole),
            path,
            ..Replies::default()
        }
    }

    /// Whether answers are sent to this path. Senders may append the name of an operation.
    pub fn is_path(&self, path: &str) -> bool {
        !self.path.is_empty()
            && path
                .strip_prefix(self.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    }

    /// Where the back-end shall answer: by the scheme of the request when there is such a listener.
    pub fn address(&self, secure: bool) -> Option<&str> {
        let (first, second) = match secure {
            true => (&self.https, &self.http),
            false => (&self.http, &self.https),
        };
        first.as_deref().or(second.as_deref())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to a message from now on, until the guard is dropped.
    ///
    /// # Errors
    /// When the table is full, or somebody waits for an answer to a message of this id.
    pub fn wait(self: &Arc<Replies>, id: &str) -> Result<Awaiting, Refused> {
        let (out, reply) = oneshot::channel();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.lock();
        let full = waiting.len() >= self.most;
        match waiting.entry(id.into()) {
            Entry::Occupied(_) => return Err(Refused::Duplicate),
            Entry::Vacant(_) if full => return Err(Refused::Full(self.most)),
            Entry::Vacant(place) => {
                place.insert(Waiter { number, out });
            }
        }
        drop(waiting);
        Ok(Awaiting {
            replies: self.clone(),
            id: id.into(),
            number,
            reply,
        })
    }

    /// Gives an answer to who waits for it; exactly one takes it. `false` when nobody waits (any
    /// more).
    pub fn deliver(&self, id: &str, reply: Reply) -> bool {
        let waiter = self.lock().remove(id);
        waiter.is_some_and(|waiter| waiter.out.send(reply).is_ok())
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Awaiting {
    replies: Arc<Replies>,
    id: Box<str>,
    number: u64,
    reply: oneshot::Receiver<Reply>,
}

impl Awaiting {
    /// The answer. Never ends by itself: who waits has a timeout.
    pub async fn reply(&mut self) -> Response<BodyStream> {
        match (&mut self.reply).await {
            Ok(reply) => reply.into_response(),
            // The table holds the other end until it has sent, so this is not reached.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let mut waiting = self.replies.lock();
        // A later message may have the same id by now.
        if waiting
            .get(&self.id)
            .is_some_and(|waiter| waiter.number == self.number)
        {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "h"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("content-type", "text/xml"),
            ("content-length", "1"),
            ("x-own", "2"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Reply {
            headers,
            body: Bytes::from_static(text.as_bytes()),
            fault: false,
        }
    }

    fn replies(most: usize) -> Arc<Replies> {
        Arc::new(Replies::new(
            most,
            "services",
            Some("http://gw:81/".into()),
            None,
        ))
    }

    #[tokio::test]
    async fn an_answer_is_taken_once_by_who_waits_for_it() {
        let replies = replies(10);
        let mut a = replies.wait("urn:a").unwrap();
        let _b = replies.wait("urn:b").unwrap();
        assert!(!replies.deliver("urn:c", reply("c")));
        assert!(replies.deliver("urn:a", reply("a")));
        assert!(!replies.deliver("urn:a", reply("again")));
        let response = a.reply().await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-own"]);
        let body = response.into_body().collect(10).await.unwrap();
        assert_eq!(&body[..], b"a");
        assert_eq!(replies.len(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_gone() {
        let replies = replies(2);
        let a = replies.wait("urn:a").unwrap();
        assert_eq!(replies.wait("urn:a").err(), Some(Refused::Duplicate));
        let b = replies.wait("urn:b").unwrap();
        assert_eq!(replies.wait("urn:c").err(), Some(Refused::Full(2)));
        drop(b);
        assert!(!replies.deliver("urn:b", reply("late")));
        // An answer that was delivered makes room for a message of the same id, whose place the
        // first one must not clear.
        assert!(replies.deliver("urn:a", reply("a")));
        let _again = replies.wait("urn:a").unwrap();
        drop(a);
        assert_eq!(replies.len(), 1);
    }

    #[test]
    fn addresses_and_paths() {
        let replies = replies(1);
        let address = Some("http://gw:81/services/__ADDR_ONLY__");
        assert_eq!(
            (replies.address(false), replies.address(true)),
            (address, address)
        );
        for (path, expected) in [
            ("/services/__ADDR_ONLY__", true),
            ("/services/__ADDR_ONLY__.anonOutInOp", true),
            ("/services/__ADDR_ONLY__/anonOutInOp", true),
            ("/services/__ADDR_ONLY__x", false),
            ("/services/P", false),
        ] {
            assert_eq!(replies.is_path(path), expected, "{path}");
        }
        assert!(!Replies::default().is_path("/services/P"));
    }
}
