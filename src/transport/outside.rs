//! HTTP beside the message path: token servers and documents. reqwest with the TLS configuration
//! of the message path; no proxies of the environment, no redirects.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Clients with settings of their own that are kept; above it they are made anew.
const MOST_CLIENTS: usize = 64;

/// A forward proxy for such requests.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// `http://host:port`.
    pub url: String,
    /// User name and password for it.
    pub login: Option<(String, String)>,
    /// Hosts that are reached directly; `*` stands for any text.
    pub bypass: Vec<String>,
    /// When not empty, only these hosts are reached through it.
    pub only: Vec<String>,
}

/// What a client differs in from the plain one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Longest wait for a connection; the server's when absent.
    pub connect_timeout: Option<Duration>,
    /// Through this proxy.
    pub proxy: Option<Proxy>,
}

/// Makes and keeps the clients of one worker.
pub struct Outside {
    tls: Arc<rustls::ClientConfig>,
    connect_timeout: Duration,
    clients: Mutex<HashMap<Options, reqwest::Client>>,
}

/// Why a request beside the message path failed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideError(pub String);

impl fmt::Display for OutsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OutsideError {}

impl From<reqwest::Error> for OutsideError {
    fn from(error: reqwest::Error) -> OutsideError {
        // An address may carry credentials.
        OutsideError(super::http::describe(&error.without_url()))
    }
}

/// An answer with its body in memory.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `HTTP/1.1 200 OK`.
    pub status_line: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Outside {
    /// Clients with this TLS configuration.
    pub fn new(tls: Arc<rustls::ClientConfig>, connect_timeout: Duration) -> Outside {
        Outside {
            tls,
            connect_timeout,
            clients: Mutex::default(),
        }
    }

    /// The client for these options.
    ///
    /// # Errors
    /// When the proxy's address is not one.
    pub fn client(&self, options: &Options) -> Result<reqwest::Client, OutsideError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(options) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("Myelin")
            .connect_timeout(options.connect_timeout.unwrap_or(self.connect_timeout))
            .pool_idle_timeout(Duration::from_secs(30));
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(proxy.build()?);
        }
        let client = builder.build()?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(options.clone(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the login.
        f.debug_struct("Proxy")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    fn build(&self) -> Result<reqwest::Proxy, OutsideError> {
        let url = reqwest::Url::parse(&self.url)
            .map_err(|e| OutsideError(format!("the proxy {} is not a URL: {e}", self.url)))?;
        let rules = self.clone();
        let proxy = reqwest::Proxy::custom(move |target| {
            rules
                .applies(target.host_str().unwrap_or_default())
                .then(|| url.clone())
        });
        Ok(match &self.login {
            Some((user, password)) => proxy.basic_auth(user, password),
            None => proxy,
        })
    }

    fn applies(&self, host: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|p| matches(p, host));
        !any(&self.bypass) && (self.only.is_empty() || any(&self.only))
    }
}

/// Whether a host fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, host: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = host.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Sends a request and reads the whole answer, at most `limit` bytes.
///
/// # Errors
/// When there is no answer within `within`, or its body is larger than the limit.
pub async fn fetch(
    client: &reqwest::Client,
    request: reqwest::RequestBuilder,
    within: Duration,
    limit: usize,
) -> Result<Answer, OutsideError> {
    let request = request.timeout(within).build()?;
    let mut response = client.execute(request).await?;
    let status = response.status();
    let reason = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned())
        .or_else(|| status.canonical_reason().map(str::to_owned))
        .unwrap_or_default();
    let status_line = format!("{:?} {} {reason}", response.version(), status.as_u16());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(OutsideError(format!(
                "the answer is larger than {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: status.as_u16(),
        status_line: status_line.trim_end().to_owned(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns() {
        for (pattern, host, fits) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*", "x", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("10.*", "10.1.2.3", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, host), fits, "{pattern} {host}");
        }
        let proxy = Proxy {
            url: "http://p:1".into(),
            login: None,
            bypass: vec!["*.local".into()],
            only: vec!["*.example".into()],
        };
        assert!(proxy.applies("a.example"));
        assert!(!proxy.applies("a.local"));
        assert!(!proxy.applies("other"));
    }
}
