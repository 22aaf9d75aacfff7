//! Where a request goes: an endpoint address, taken apart once at deployment.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use thiserror::Error;

/// The scheme of an endpoint address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, port 80 by default.
    Http,
    /// `https`, port 443 by default.
    Https,
}

impl Scheme {
    /// The port used when the address names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an address cannot be called over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No `scheme://` at the start.
    #[error("the address {0:?} is no URL")]
    NoUrl(String),
    /// A scheme other than `http` and `https`.
    #[error("the scheme {0:?} is not supported")]
    Scheme(String),
    /// No host, or one that cannot be a host.
    #[error("the address {0:?} has no valid host")]
    Host(String),
    /// A port that is no number from 1 to 65535.
    #[error("the port {0:?} is not valid")]
    Port(String),
    /// A path that cannot be sent even when percent-encoded (longer than 65534 bytes).
    #[error("the path of {0:?} is not valid")]
    Path(String),
}

/// One random key for all targets of the process.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// An endpoint address, ready to be called. Cloning is cheap (shared parts).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host name or address, without the brackets of an IPv6 address.
    pub host: Arc<str>,
    /// The port, the scheme's default if the address names none.
    pub port: u16,
    /// `scheme://host:port` in lower case: what connections are pooled by.
    pub key: Arc<str>,
    /// The `Host` header: the port is omitted when the address has none (spec 01 §15.6).
    pub host_header: HeaderValue,
    /// What goes in the request line; at least `/`.
    pub path_and_query: PathAndQuery,
    /// A keyed hash of `key`, so that the pool need not hash it for every request.
    pub(super) hash: u64,
}

impl Target {
    /// Takes an absolute `http` or `https` URL apart. Characters that may not travel in a request
    /// line are percent-encoded, user information and fragment are dropped.
    pub fn parse(address: &str) -> Result<Self, TargetError> {
        let address = address.trim();
        let no_url = || TargetError::NoUrl(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(no_url)?;
        let scheme = if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.is_empty() {
            return Err(no_url());
        } else {
            return Err(TargetError::Scheme(scheme.to_owned()));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, a)| a);

        let no_host = || TargetError::Host(address.to_owned());
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(no_host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| no_host())?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(no_host()),
            }
        } else {
            match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        let fits = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':')
        };
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(no_host());
        }
        // `http://host:/path` means the default port.
        let port = match port.filter(|port| !port.is_empty()) {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Some(port),
                _ => return Err(TargetError::Port(text.to_owned())),
            },
        };
        let bare = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let header = match port {
            Some(port) => format!("{bare}:{port}"),
            None => bare.clone(),
        };
        let port = port.unwrap_or_else(|| scheme.default_port());
        let key = format!("{scheme}://{}:{port}", bare.to_ascii_lowercase());
        Ok(Self {
            scheme,
            host: host.into(),
            port,
            hash: HASHER.hash_one(&key),
            key: key.into(),
            host_header: HeaderValue::from_str(&header).map_err(|_| no_host())?,
            path_and_query: path_of(path).ok_or_else(|| TargetError::Path(address.to_owned()))?,
        })
    }

    /// The same target with a path as an address has it: empty, or starting with `/`, `?` or `#`.
    ///
    /// # Errors
    /// When the path cannot be sent even when percent-encoded.
    pub fn at_path(&self, path: &str) -> Result<Self, TargetError> {
        let path = path_of(path).ok_or_else(|| TargetError::Path(path.to_owned()))?;
        Ok(self.with_path(path))
    }

    /// The same target with another path and query.
    #[must_use]
    pub fn with_path(&self, path_and_query: PathAndQuery) -> Self {
        Self {
            path_and_query,
            ..self.clone()
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.key, self.path_and_query)
    }
}

/// `path` (empty, or starting with `/`, `?` or `#`) as it goes in the request line.
fn path_of(path: &str) -> Option<PathAndQuery> {
    let path = path.split_once('#').map_or(path, |(before, _)| before);
    let mut line = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        line.push('/');
    }
    for byte in path.bytes() {
        if byte <= b' '
            || byte >= 0x7f
            || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|')
        {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            line.push('%');
            line.push(char::from(HEX[usize::from(byte >> 4)]));
            line.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            line.push(char::from(byte));
        }
    }
    PathAndQuery::from_maybe_shared(Bytes::from(line)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Target {
        Target::parse(address).expect(address)
    }

    #[test]
    fn takes_addresses_apart() {
        let target = parse("http://LocalHost:9000/services/Simple?x=1#y");
        assert_eq!(target.scheme, Scheme::Http);
        assert_eq!(&*target.host, "LocalHost");
        assert_eq!(target.port, 9000);
        assert_eq!(&*target.key, "http://localhost:9000");
        assert_eq!(target.host_header, "LocalHost:9000");
        assert_eq!(target.path_and_query.as_str(), "/services/Simple?x=1");
        assert_eq!(
            target.to_string(),
            "http://localhost:9000/services/Simple?x=1"
        );
    }

    #[test]
    fn default_ports_stay_out_of_the_host_header() {
        let target = parse("https://example.com");
        assert_eq!(
            (target.port, &*target.key),
            (443, "https://example.com:443")
        );
        assert_eq!(target.host_header, "example.com");
        assert_eq!(target.path_and_query.as_str(), "/");
        assert_eq!(parse("http://h?x=1").path_and_query.as_str(), "/?x=1");
        assert_eq!(parse("http://h:/a").port, 80);
        // A port that is named stays, even the default one.
        assert_eq!(parse("http://h:80/a").host_header, "h:80");
    }

    #[test]
    fn odd_addresses() {
        let target = parse("http://user:pw@[::1]:8080/a b/ü|\"");
        assert_eq!(&*target.host, "::1");
        assert_eq!(target.host_header, "[::1]:8080");
        assert_eq!(&*target.key, "http://[::1]:8080");
        assert_eq!(target.path_and_query.as_str(), "/a%20b/%C3%BC%7C%22");
        assert_eq!(
            parse("http://h/a%20b/{x}").path_and_query.as_str(),
            "/a%20b/{x}"
        );
    }

    #[test]
    fn refuses_what_is_no_http_url() {
        assert!(matches!(Target::parse(""), Err(TargetError::NoUrl(_))));
        assert!(matches!(Target::parse("/a/b"), Err(TargetError::NoUrl(_))));
        assert!(matches!(
            Target::parse("jms://q"),
            Err(TargetError::Scheme(_))
        ));
        assert!(matches!(
            Target::parse("http://"),
            Err(TargetError::Host(_))
        ));
        assert!(matches!(
            Target::parse("http:///a"),
            Err(TargetError::Host(_))
        ));
        assert!(matches!(
            Target::parse("http://a b/"),
            Err(TargetError::Host(_))
        ));
        assert!(matches!(
            Target::parse("http://[::1/"),
            Err(TargetError::Host(_))
        ));
        for port in ["0", "65536", "+80", "x"] {
            let address = format!("http://h:{port}/");
            assert!(matches!(Target::parse(&address), Err(TargetError::Port(_))));
        }
        let long = format!("http://h/{}", "a".repeat(70_000));
        assert!(matches!(Target::parse(&long), Err(TargetError::Path(_))));
    }
}
