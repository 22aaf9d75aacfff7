//! `Cache-Control` of responses that are kept (spec 03 §21).

use super::store::Reply;
use crate::message::header_text;
use http::header::{CACHE_CONTROL, DATE, ETAG};
use http::{HeaderMap, HeaderValue};
use std::time::UNIX_EPOCH;

/// Whether a response that was kept may be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// It may.
    Fresh,
    /// It may not.
    Stale,
    /// When the back-end says that it has not changed since this entity tag.
    Ask(HeaderValue),
}

/// Looks at `no-cache` and `max-age`; `wall` is the time since 1970, `now` the clock's, both in
/// milliseconds.
pub(super) fn check(reply: &Reply, wall: u64, now: u64) -> Control {
    let mut usable = true;
    for (name, value) in directives(&reply.headers) {
        match name {
            "no-cache" => usable = false,
            "max-age" => {
                let most: u64 = value.trim_matches('"').parse().unwrap_or(0);
                usable &= age(reply, wall, now) <= most;
            }
            _ => {}
        }
    }
    match (usable, reply.headers.get(ETAG)) {
        (true, _) => Control::Fresh,
        (false, Some(etag)) => Control::Ask(etag.clone()),
        (false, None) => Control::Stale,
    }
}

/// Whether the response says that nobody may keep it.
pub(super) fn is_no_store(headers: &HeaderMap) -> bool {
    directives(headers).any(|(name, _)| name == "no-store")
}

/// Seconds since the response was made, as its `Date` says, else since it was asked for.
fn age(reply: &Reply, wall: u64, now: u64) -> u64 {
    let date = reply
        .headers
        .get(DATE)
        .and_then(|d| httpdate::parse_http_date(header_text(d)).ok())
        .and_then(|d| d.duration_since(UNIX_EPOCH).ok());
    match date {
        Some(date) => (wall / 1000).saturating_sub(date.as_secs()),
        None => now.saturating_sub(reply.at) / 1000,
    }
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|value| header_text(value).split(','))
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::StatusCode;

    fn reply(headers: &[(&'static str, &'static str)]) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Reply {
            status: StatusCode::OK,
            reason: None,
            headers: map,
            body: Bytes::new(),
            at: 10_000,
            expires: u64::MAX,
        }
    }

    #[test]
    fn freshness() {
        const DATE_30: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:00:30 GMT");
        let etag = || Control::Ask(HeaderValue::from_static("\"e\""));
        for (headers, expected) in [
            (vec![], Control::Fresh),
            (vec![("cache-control", "no-cache")], Control::Stale),
            (
                vec![("cache-control", "private, no-cache"), ("etag", "\"e\"")],
                etag(),
            ),
            // Asked for 20 s ago.
            (vec![("cache-control", "max-age=20")], Control::Fresh),
            (vec![("cache-control", "max-age=19")], Control::Stale),
            (vec![("cache-control", "max-age=x")], Control::Stale),
            // Made 70 s ago.
            (
                vec![("cache-control", "max-age=70"), DATE_30],
                Control::Fresh,
            ),
            (
                vec![("cache-control", "max-age=69"), DATE_30],
                Control::Stale,
            ),
        ] {
            assert_eq!(
                check(&reply(&headers), 100_000, 30_000),
                expected,
                "{headers:?}"
            );
        }
        assert!(is_no_store(
            &reply(&[
                ("cache-control", "public"),
                ("cache-control", "x, no-store")
            ])
            .headers
        ));
        assert!(!is_no_store(
            &reply(&[("cache-control", "no-storey")]).headers
        ));
    }
}
