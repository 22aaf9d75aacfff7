//! Which child a session is bound to: in this process, or in a store that several runtimes share
//! (spec 02 §11.3).

use super::{Boxed, SendContext};
use crate::settings::RedisSettings;
use crate::transport::redis::{Redis, StoreError};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sessions that several runtimes agree on. A session is named by its group and its id; it is bound
/// to a child, which is named by its fingerprint, until an absolute time.
pub trait SessionStore: Send + Sync + Debug {
    /// The child of a live session and how many milliseconds it has left.
    fn child<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
    ) -> Boxed<'a, Result<Option<(u64, u64)>, StoreError>>;

    /// Binds a session that is not bound; `false` when somebody else was first.
    fn claim<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
        life: Duration,
    ) -> Boxed<'a, Result<bool, StoreError>>;

    /// Binds a session, whatever it was bound to.
    fn bind<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
        life: Duration,
    ) -> Boxed<'a, Result<(), StoreError>>;

    /// Ends a session if it is still bound to this child.
    fn forget<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
    ) -> Boxed<'a, Result<(), StoreError>>;
}

/// Sessions in a Redis. Ids are hashed: session cookies are credentials, and as long as a client
/// likes.
#[derive(Debug)]
pub struct RedisSessions {
    redis: Redis,
    prefix: String,
}

impl RedisSessions {
    /// A store of one worker; it connects when the first session comes.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(
        settings: &RedisSettings,
        tls: &Arc<ClientConfig>,
    ) -> Result<RedisSessions, StoreError> {
        Ok(RedisSessions {
            redis: Redis::new(settings, tls)?,
            prefix: settings.key_prefix.clone(),
        })
    }

    fn key(&self, group: &str, id: &str) -> String {
        let mut key = format!("{}{group}:", self.prefix);
        for byte in Sha256::digest(id.as_bytes()) {
            // Writing to a string does not fail.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }
}

impl SessionStore for RedisSessions {
    fn child<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
    ) -> Boxed<'a, Result<Option<(u64, u64)>, StoreError>> {
        Box::pin(async move { self.redis.get(&self.key(group, id)).await })
    }

    fn claim<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
        life: Duration,
    ) -> Boxed<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.redis.set_new(&self.key(group, id), child, life).await })
    }

    fn bind<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
        life: Duration,
    ) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(async move { self.redis.set(&self.key(group, id), child, life).await })
    }

    fn forget<'a>(
        &'a self,
        group: &'a str,
        id: &'a str,
        child: u64,
    ) -> Boxed<'a, Result<(), StoreError>> {
        Box::pin(async move { self.redis.remove(&self.key(group, id), child).await })
    }
}

/// The bindings of one session group: session id to child. Bounded; a binding ends at an absolute
/// time, later requests do not extend it (spec 02 §11.3).
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Box<str>, Binding>>);

/// The child of a session, and when that ends, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    child: u64,
    expires: u64,
}

/// Binds an id. At the limit, expired bindings make room, else the ones that end first.
fn insert(map: &mut HashMap<Box<str>, Binding>, id: &str, binding: Binding, now: u64, max: usize) {
    if map.len() >= max && !map.contains_key(id) {
        map.retain(|_, binding| binding.expires > now);
        if map.len() >= max {
            // A tenth makes room at once, so that a full table is not walked per request.
            let mut ends: Vec<u64> = map.values().map(|b| b.expires).collect();
            let at = ends.len() / 10;
            let (_, limit, _) = ends.select_nth_unstable(at);
            let limit = *limit;
            map.retain(|_, binding| binding.expires > limit);
        }
    }
    map.insert(id.into(), binding);
}

impl Sessions {
    fn with<R>(&self, f: impl FnOnce(&mut HashMap<Box<str>, Binding>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The child of a live session.
    pub fn child(&self, id: &str, now: u64) -> Option<u64> {
        self.live(id, now).map(|(child, _)| child)
    }

    /// The child of a live session and how many milliseconds it has left.
    fn live(&self, id: &str, now: u64) -> Option<(u64, u64)> {
        self.with(|map| match map.get(id) {
            Some(binding) if binding.expires > now => Some((binding.child, binding.expires - now)),
            Some(_) => {
                map.remove(id);
                None
            }
            None => None,
        })
    }

    /// Binds an id unless it is bound to a child that is `known`. Says whose it is now.
    pub fn claim(
        &self,
        id: &str,
        binding: Binding,
        now: u64,
        max: usize,
        known: impl Fn(u64) -> bool,
    ) -> u64 {
        self.with(|map| match map.get(id) {
            Some(old) if old.expires > now && known(old.child) => old.child,
            _ => {
                insert(map, id, binding, now, max);
                binding.child
            }
        })
    }

    /// Binds an id, whatever it was bound to.
    pub fn bind(&self, id: &str, child: u64, now: u64, timeout: u64, max: usize) {
        let expires = now.saturating_add(timeout);
        let binding = Binding { child, expires };
        self.with(|map| insert(map, id, binding, now, max));
    }

    /// Ends a session if it is still bound to this child.
    pub fn forget(&self, id: &str, child: u64) {
        self.with(|map| {
            if map.get(id).is_some_and(|binding| binding.child == child) {
                map.remove(id);
            }
        });
    }

    /// How many sessions live.
    pub fn live_count(&self, now: u64) -> usize {
        self.with(|map| map.values().filter(|b| b.expires > now).count())
    }

    /// How many bindings are held, expired ones included until they are met.
    pub fn len(&self) -> usize {
        self.with(|map| map.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The bindings of a session group as it runs: what the shared store says, and its copy in this
/// process, which takes over while the store cannot be asked.
#[derive(Debug)]
pub struct Bindings {
    /// Names the group in a shared store.
    pub group: String,
    /// In this process; kept over reloads.
    pub local: Arc<Sessions>,
    /// Milliseconds from the first binding to its end.
    pub timeout_ms: u64,
    /// Most bindings in this process.
    pub max: usize,
}

impl Bindings {
    fn keep(&self, cx: &SendContext<'_>, id: &str, child: u64, left: u64) {
        let now = cx.services.clock.now();
        self.local.bind(id, child, now, left, self.max);
    }

    fn life(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The child of a live session.
    pub async fn child(&self, cx: &SendContext<'_>, id: &str) -> Option<u64> {
        let local = self.local.live(id, cx.services.clock.now());
        let Some(store) = &cx.services.sessions else {
            return local.map(|(child, _)| child);
        };
        match store.child(&self.group, id).await {
            Ok(Some((child, left))) => {
                if local.is_none_or(|(known, _)| known != child) {
                    self.keep(cx, id, child, left);
                }
                Some(child)
            }
            // Bound while the store could not be asked: now the others learn of it.
            Ok(None) => {
                let (child, left) = local?;
                let left = Duration::from_millis(left);
                let owner = self.claim_for(cx, store, id, child, left).await;
                Some(owner.unwrap_or(child))
            }
            Err(_) => local.map(|(child, _)| child),
        }
    }

    /// Binds a session to this child unless another runtime was first. Says whose it is now.
    /// `known` tells whether the group still has a child.
    pub async fn claim(
        &self,
        cx: &SendContext<'_>,
        id: &str,
        child: u64,
        known: impl Fn(u64) -> bool,
    ) -> u64 {
        let owner = match &cx.services.sessions {
            None => None,
            Some(store) => self.claim_for(cx, store, id, child, self.life()).await,
        };
        let Some(mut owner) = owner else {
            // Nobody else to ask: the first message of this process counts.
            let now = cx.services.clock.now();
            let binding = Binding {
                child,
                expires: now.saturating_add(self.timeout_ms),
            };
            return self.local.claim(id, binding, now, self.max, known);
        };
        if let Some(store) = &cx.services.sessions
            && !known(owner)
        {
            // Bound to a child that is no longer there.
            let _ = store.bind(&self.group, id, child, self.life()).await;
            owner = child;
        }
        if owner == child {
            self.keep(cx, id, child, self.timeout_ms);
        }
        owner
    }

    /// Asks the shared store whose a session is; `None` when it cannot be asked.
    async fn claim_for(
        &self,
        cx: &SendContext<'_>,
        store: &Arc<dyn SessionStore>,
        id: &str,
        child: u64,
        life: Duration,
    ) -> Option<u64> {
        match store.claim(&self.group, id, child, life).await {
            Err(_) => None,
            Ok(true) => Some(child),
            Ok(false) => match store.child(&self.group, id).await {
                Ok(Some((owner, left))) => {
                    self.keep(cx, id, owner, left);
                    Some(owner)
                }
                Ok(None) => Some(child),
                Err(_) => None,
            },
        }
    }

    /// Binds a session that the back-end has started.
    pub async fn bind(&self, cx: &SendContext<'_>, id: &str, child: u64) {
        self.keep(cx, id, child, self.timeout_ms);
        if let Some(store) = &cx.services.sessions {
            // The client has its answer in any case; the store has warned.
            let _ = store.bind(&self.group, id, child, self.life()).await;
        }
    }

    /// Ends a session whose first message has failed at this child.
    pub async fn forget(&self, cx: &SendContext<'_>, id: &str, child: u64) {
        self.local.forget(id, child);
        if let Some(store) = &cx.services.sessions {
            let _ = store.forget(&self.group, id, child).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_end_at_an_absolute_time() {
        let sessions = Sessions::default();
        sessions.bind("a", 1, 0, 2000, 10);
        assert_eq!(sessions.child("a", 1500), Some(1));
        assert_eq!(sessions.live("a", 1999), Some((1, 1)));
        assert_eq!(sessions.live_count(1999), 1);
        assert_eq!(sessions.live_count(2000), 0);
        assert_eq!(sessions.child("a", 2000), None);
        assert!(sessions.is_empty());
    }

    #[test]
    fn the_first_of_two_messages_at_one_time_binds() {
        let sessions = Sessions::default();
        let claim = |child: u64, now: u64, known: &dyn Fn(u64) -> bool| {
            let expires = now + 100;
            sessions.claim("a", Binding { child, expires }, now, 10, known)
        };
        assert_eq!(claim(1, 0, &|_| true), 1);
        assert_eq!(claim(2, 1, &|_| true), 1);
        // Not those of the other one.
        sessions.forget("a", 2);
        assert_eq!(claim(2, 2, &|_| true), 1);
        assert_eq!(claim(2, 3, &|child| child != 1), 2, "1 is no longer there");
        assert_eq!(claim(3, 200, &|_| true), 3, "over");
        sessions.forget("a", 3);
        assert!(sessions.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_newest() {
        let sessions = Sessions::default();
        for n in 0..1000_u64 {
            sessions.bind(&n.to_string(), n, n, 5000, 100);
            assert!(sessions.len() <= 100);
        }
        assert_eq!(sessions.child("999", 999), Some(999));
        assert_eq!(sessions.child("0", 999), None);
    }

    #[test]
    fn keys_are_short_and_show_no_id() {
        let settings = RedisSettings::new("redis://127.0.0.1:1/");
        let tls = crate::transport::tls::client_config(Default::default()).unwrap();
        let store = RedisSessions::new(&settings, &tls).unwrap();
        let key = store.key("/proxy:P/E", &"JSESSIONID=secret".repeat(1000));
        assert!(key.starts_with("myelin:session:/proxy:P/E:"), "{key}");
        assert!(key.len() < 100 && !key.contains("secret"), "{key}");
        assert_ne!(store.key("g", "a"), store.key("g", "b"));
    }
}
