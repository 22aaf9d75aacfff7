//! Finding the proxy service of a path (spec 01 §6.4).

use crate::message::form::percent_decode;
use crate::plan::Proxy;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A service and the rest of the path behind its name.
#[derive(Debug)]
pub struct Found<'a> {
    /// The service.
    pub proxy: &'a Arc<Proxy>,
    /// From the `/` behind the name, or empty.
    pub postfix: &'a str,
}

/// Most segments that a service name may have.
const MAX_SEGMENTS: usize = 10;

/// The service of a path. `/services/` may stand anywhere, the last one counts; names may contain
/// `/`, the longest known one wins; `NAME.suffix` is an address of `NAME`. What is percent-encoded
/// is decoded for the comparison.
pub fn find_service<'a>(
    proxies: &'a HashMap<String, Arc<Proxy>>,
    path: &'a str,
    service_path: &str,
) -> Option<Found<'a>> {
    let start = last_service(path, service_path)?;
    let rest = path.get(start..)?;
    if memchr::memchr3(b'/', b'.', b'%', rest.as_bytes()).is_none() {
        let proxy = proxies.get(rest)?;
        return Some(Found { proxy, postfix: "" });
    }
    let mut ends: [usize; MAX_SEGMENTS] = [0; MAX_SEGMENTS];
    let mut count = 0;
    for (at, _) in rest.match_indices('/').take(MAX_SEGMENTS - 1) {
        ends[count] = at;
        count += 1;
    }
    if count < MAX_SEGMENTS && !rest.ends_with('/') {
        ends[count] = rest.len();
        count += 1;
    }
    for end in ends.iter().take(count).rev() {
        let name = rest.get(..*end)?;
        let postfix = rest.get(*end..)?;
        let name = &*decoded(name)?;
        if let Some(proxy) = proxies.get(name) {
            return Some(Found { proxy, postfix });
        }
        if let Some((base, _)) = name.split_once('.')
            && let Some(proxy) = proxies.get(base)
        {
            return Some(Found { proxy, postfix });
        }
    }
    None
}

/// A part of a path without percent-encoding; a `+` is a plus. `None` for what is no text.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'%', part.as_bytes()).is_none() {
        return Some(Cow::Borrowed(part));
    }
    let bytes = percent_decode(part.replace('+', "%2B").as_bytes());
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Where the service name starts: behind the last `/services/`.
fn last_service(path: &str, service_path: &str) -> Option<usize> {
    // As nearly every path: with no more slashes there is no other place.
    if let Some(name) = path.strip_prefix('/')
        && let Some(name) = name.strip_prefix(service_path)
        && let Some(name) = name.strip_prefix('/')
        && memchr::memchr(b'/', name.as_bytes()).is_none()
    {
        return Some(path.len() - name.len());
    }
    let bytes = path.as_bytes();
    memchr::memrchr_iter(b'/', bytes).find_map(|slash| {
        let rest = path.get(slash + 1..)?.strip_prefix(service_path)?;
        rest.starts_with('/').then(|| path.len() - rest.len() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mediator::{Out, Route};
    use crate::plan::Incoming;

    fn proxies(names: &[&str]) -> HashMap<String, Arc<Proxy>> {
        names
            .iter()
            .map(|name| {
                let proxy = Proxy {
                    name: (*name).to_owned(),
                    http: true,
                    https: true,
                    started: true,
                    requests: Arc::default(),
                    in_sequence: Incoming::None,
                    endpoint: None,
                    missing_endpoint: None,
                    wsdl: crate::plan::wsdl::Wsdl::default(),
                    route: Arc::new(Route {
                        label: Arc::from(""),
                        out: Out::Client,
                        fault: None,
                        own_fault: false,
                    }),
                };
                ((*name).to_owned(), Arc::new(proxy))
            })
            .collect()
    }

    #[test]
    fn services_are_found_by_path() {
        let proxies = proxies(&["A", "a/b", "a", "Two Words", "Grüße", "1+1", "50%"]);
        for (path, expected) in [
            ("/services/A", Some(("A", ""))),
            ("/services/A/x/y", Some(("A", "/x/y"))),
            ("/services/A/", Some(("A", "/"))),
            ("/services/A.AHttpSoap11Endpoint", Some(("A", ""))),
            ("/services/a/b/c", Some(("a/b", "/c"))),
            ("/services/a/c", Some(("a", "/c"))),
            ("/x/services/A", Some(("A", ""))),
            ("/services/A/services/a", Some(("a", ""))),
            ("/services/Unknown", None),
            ("/services/", None),
            ("/services", None),
            ("/xservices/A", None),
            ("/services/Two%20Words", Some(("Two Words", ""))),
            ("/services/Two%20Words/x%20y", Some(("Two Words", "/x%20y"))),
            ("/services/Two%20Words.suffix", Some(("Two Words", ""))),
            ("/services/Gr%C3%BC%c3%9fe", Some(("Grüße", ""))),
            ("/services/%41/x", Some(("A", "/x"))),
            ("/services/a%2Fb/c", Some(("a/b", "/c"))),
            ("/services/1+1", Some(("1+1", ""))),
            ("/services/%31+1", Some(("1+1", ""))),
            ("/services/Two+Words", None),
            ("/services/50%", Some(("50%", ""))),
            ("/services/50%25", Some(("50%", ""))),
            ("/services/%ff", None),
            ("/", None),
            ("*", None),
        ] {
            let found = find_service(&proxies, path, "services");
            let found = found.map(|f| (f.proxy.name.as_str(), f.postfix));
            assert_eq!(found, expected, "{path}");
        }
    }
}
