//! The responses that a `cache` mediator keeps: until they expire, the least recently used go
//! first, and all caches together stay within the limits of the settings.

use super::key::Key;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A response that is kept.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its reason phrase.
    pub reason: Option<hyper::ext::ReasonPhrase>,
    /// Its headers, `Content-Type` included.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When the request was made, by the clock, in milliseconds.
    pub at: u64,
    /// When it expires.
    pub expires: u64,
}

impl Reply {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        const ENTRY: usize = 512;
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        self.body.len() + headers + ENTRY
    }
}

/// What all caches together use.
#[derive(Debug, Default)]
pub(super) struct Budget {
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    fn take(&self, size: usize, limits: &Limits) -> bool {
        let add = |counter: &AtomicUsize, by: usize, most: usize| {
            counter
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                    used.checked_add(by).filter(|sum| *sum <= most)
                })
                .is_ok()
        };
        if !add(&self.entries, 1, limits.total_entries) {
            return false;
        }
        if !add(&self.bytes, size, limits.total_bytes) {
            self.entries.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        true
    }

    fn give(&self, size: usize) {
        self.entries.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(size, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Limits {
    budget: Arc<Budget>,
    total_entries: usize,
    total_bytes: usize,
    /// Of this cache.
    entries: usize,
}

#[derive(Debug)]
struct Entry {
    reply: Arc<Reply>,
    size: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, Key>,
    tick: u64,
}

/// The responses of one mediator. Survives reloads that do not change it.
#[derive(Debug, Default)]
pub(super) struct CacheState {
    limits: OnceLock<Limits>,
    entries: Mutex<Entries>,
}

impl CacheState {
    /// Says what may be kept. Only the first call counts: settings do not change while a server
    /// runs.
    pub(super) fn limit(
        &self,
        budget: Arc<Budget>,
        total_entries: usize,
        total_bytes: usize,
        entries: usize,
    ) {
        self.limits.get_or_init(|| Limits {
            budget,
            total_entries,
            total_bytes,
            entries,
        });
    }

    /// The response of a key, unless it has expired.
    pub(super) fn find(&self, key: &Key, now: u64) -> Option<Arc<Reply>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &mut *entries;
        if entries.by_key.get(key)?.reply.expires <= now {
            self.drop_key(entries, key);
            return None;
        }
        let entry = entries.by_key.get_mut(key)?;
        entries.order.remove(&entry.used);
        entries.tick += 1;
        entry.used = entries.tick;
        entries.order.insert(entry.used, *key);
        Some(entry.reply.clone())
    }

    /// Keeps a response, at the expense of those that were not used for longest. `false` when it
    /// does not fit at all.
    pub(super) fn store(&self, key: Key, reply: Reply) -> bool {
        let Some(limits) = self.limits.get() else {
            return false;
        };
        let size = reply.size();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &mut *entries;
        self.drop_key(entries, &key);
        if limits.entries == 0 || size > limits.total_bytes {
            return false;
        }
        while entries.by_key.len() >= limits.entries || !limits.budget.take(size, limits) {
            let Some(oldest) = entries.order.values().next().copied() else {
                return false;
            };
            self.drop_key(entries, &oldest);
        }
        entries.tick += 1;
        entries.order.insert(entries.tick, key);
        entries.by_key.insert(
            key,
            Entry {
                reply: Arc::new(reply),
                size,
                used: entries.tick,
            },
        );
        true
    }

    /// Forgets the response of a key.
    pub(super) fn remove(&self, key: &Key) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_key(&mut entries, key);
    }

    fn drop_key(&self, entries: &mut Entries, key: &Key) {
        if let Some(entry) = entries.by_key.remove(key) {
            entries.order.remove(&entry.used);
            if let Some(limits) = self.limits.get() {
                limits.budget.give(entry.size);
            }
        }
    }
}

impl Drop for CacheState {
    fn drop(&mut self) {
        let entries = self
            .entries
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(limits) = self.limits.get() {
            for entry in entries.by_key.values() {
                limits.budget.give(entry.size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{HashedHeaders, key_of};
    use super::*;
    use crate::message::{Body, Message};
    use http::{Method, Uri};

    fn key(path: &'static str) -> Key {
        let headers = HeaderMap::new();
        let uri = Uri::from_static(path);
        let message = Message::request(Method::GET, uri, headers, Body::Empty);
        key_of(&message, &HashedHeaders::All)
    }

    fn reply(size: usize, expires: u64) -> Reply {
        Reply {
            status: StatusCode::OK,
            reason: None,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; size]),
            at: 0,
            expires,
        }
    }

    fn used(budget: &Budget) -> (usize, usize) {
        (
            budget.entries.load(Ordering::Relaxed),
            budget.bytes.load(Ordering::Relaxed),
        )
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = CacheState::default();
        let budget = Arc::new(Budget::default());
        cache.limit(budget.clone(), 100, 1 << 20, 2);
        assert!(cache.store(key("/a"), reply(1, 9)));
        assert!(cache.store(key("/b"), reply(1, 9)));
        assert!(cache.find(&key("/a"), 1).is_some());
        assert!(cache.store(key("/c"), reply(1, 9)));
        assert!(cache.find(&key("/b"), 1).is_none());
        assert!(cache.find(&key("/a"), 8).is_some());
        assert!(cache.find(&key("/a"), 9).is_none(), "expired");
        assert_eq!(used(&budget).0, 1);
        drop(cache);
        assert_eq!(used(&budget), (0, 0));
    }

    #[test]
    fn all_caches_share_the_limits() {
        let budget = Arc::new(Budget::default());
        let [one, two] = [CacheState::default(), CacheState::default()];
        one.limit(budget.clone(), 2, 4096, usize::MAX);
        two.limit(budget.clone(), 2, 4096, usize::MAX);
        assert!(!one.store(key("/a"), reply(4096, 9)), "larger than all");
        assert!(one.store(key("/a"), reply(1000, 9)));
        assert!(one.store(key("/b"), reply(1000, 9)));
        assert!(
            !two.store(key("/c"), reply(1, 9)),
            "nothing of its own to drop"
        );
        assert!(
            one.store(key("/d"), reply(2000, 9)),
            "in place of the oldest"
        );
        assert!(one.find(&key("/a"), 1).is_none());
        one.remove(&key("/b"));
        assert!(two.store(key("/c"), reply(1, 9)));
        assert_eq!(used(&budget).0, 2);
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = CacheState::default();
        cache.limit(Arc::default(), 100, 1 << 20, 0);
        assert!(!cache.store(key("/a"), reply(1, 9)));
    }
}
