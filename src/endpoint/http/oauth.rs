//! OAuth 2 for `http` endpoints: tokens from a token server, kept and shared by all messages of
//! the endpoint (spec 02 §5.3).

use super::auth::{Text, basic_header, invalid, required};
use crate::endpoint::leaf::Renew;
use crate::endpoint::parse::number;
use crate::endpoint::{Boxed, Names, SendContext};
use crate::message::fault::codes;
use crate::message::{Fault, Message};
use crate::syntax::{Element, Reader, text_of};
use crate::transport::outside::{self, Options, Proxy};
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Largest answer of a token server, in bytes.
const MOST_ANSWER: usize = 1 << 20;

/// What would change the form of the request when a message's value holds it.
const UNSAFE: &AsciiSet = &CONTROLS.add(b'&').add(b'#').add(b' ');

/// How the endpoint proves itself to the token server.
#[derive(Debug)]
enum Grant {
    ClientCredentials,
    Password { username: Text, password: Text },
    Refresh { token: Text },
}

/// `<oauth>` as it is written.
#[derive(Debug)]
pub struct OAuthDef {
    grant: Grant,
    client_id: Text,
    client_secret: Text,
    token_url: Text,
    auth_mode: Option<Text>,
    parameters: Vec<(String, Text)>,
    headers: Vec<(String, Text)>,
    socket_timeout: Option<Duration>,
    options: Options,
}

const GRANTS: [&str; 3] = [
    "clientCredentials",
    "passwordCredentials",
    "authorizationCode",
];

impl OAuthDef {
    /// Reads `<oauth>`. `None` after an error.
    pub fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<OAuthDef> {
        let mut grants = Vec::new();
        for child in reader.children(element) {
            match reader.name(child) {
                Some(name) if GRANTS.contains(&name) => grants.push(child),
                _ => reader.unknown_element(child, "oauth", &GRANTS),
            }
        }
        let [grant] = grants.as_slice() else {
            invalid(
                reader,
                element,
                &format!("it has {} grant types", grants.len()),
                "put exactly one of clientCredentials, passwordCredentials, authorizationCode into <oauth>",
            );
            return None;
        };
        let name = grant.tag_name().name();
        let client_id = required(reader, *grant, "clientId");
        let client_secret = required(reader, *grant, "clientSecret");
        let token_url = required(reader, *grant, "tokenUrl");
        let kind = match name {
            "passwordCredentials" => {
                let username = required(reader, *grant, "username");
                let password = required(reader, *grant, "password");
                Grant::Password {
                    username: username?,
                    password: password?,
                }
            }
            "authorizationCode" => Grant::Refresh {
                token: required(reader, *grant, "refreshToken")?,
            },
            _ => Grant::ClientCredentials,
        };
        let mut out = OAuthDef {
            grant: kind,
            client_id: client_id?,
            client_secret: client_secret?,
            token_url: token_url?,
            auth_mode: None,
            parameters: Vec::new(),
            headers: Vec::new(),
            socket_timeout: None,
            options: Options::default(),
        };
        out.parse_options(reader, *grant);
        Some(out)
    }

    fn parse_options(&mut self, reader: &mut Reader, grant: Element<'_, '_>) {
        let name = grant.tag_name().name();
        for child in reader.children(grant) {
            match reader.name(child) {
                Some(
                    "clientId" | "clientSecret" | "tokenUrl" | "username" | "password"
                    | "refreshToken",
                ) => {}
                Some("authMode") => self.auth_mode = Text::parse(reader, child),
                Some("requestParameters") => self.parameters = pairs(reader, child, "parameter"),
                Some("customHeaders") => self.headers = pairs(reader, child, "header"),
                Some("connectionTimeout") => {
                    self.options.connect_timeout = millis(reader, child);
                }
                Some("socketTimeout") => self.socket_timeout = millis(reader, child),
                // There is no queue for connections to a token server.
                Some("connectionRequestTimeout") => {
                    millis(reader, child);
                }
                // The server's own connect timeout is the default anyway.
                Some("useGlobalConnectionTimeoutConfigs") => {}
                Some("useGlobalProxyConfigs") => {
                    if text_of(child).eq_ignore_ascii_case("true") {
                        let place = reader.place(child);
                        reader.unsupported(
                            place,
                            "useGlobalProxyConfigs is not supported yet",
                            Some("name the proxy in <proxyConfigs>"),
                        );
                    }
                }
                Some("proxyConfigs") => self.options.proxy = parse_proxy(reader, child),
                _ => reader.unknown_element(
                    child,
                    name,
                    &[
                        "clientId",
                        "clientSecret",
                        "tokenUrl",
                        "username",
                        "password",
                        "refreshToken",
                        "authMode",
                        "requestParameters",
                        "customHeaders",
                        "connectionTimeout",
                        "connectionRequestTimeout",
                        "socketTimeout",
                        "proxyConfigs",
                    ],
                ),
            }
        }
    }
}

fn pairs(reader: &mut Reader, list: Element<'_, '_>, item: &str) -> Vec<(String, Text)> {
    let mut out = Vec::new();
    for child in reader.children(list) {
        if reader.name(child) != Some(item) {
            reader.unknown_element(child, list.tag_name().name(), &[item]);
            continue;
        }
        let Some(name) = reader.required(child, "name") else {
            continue;
        };
        let name = name.to_owned();
        if item == "header" && HeaderName::from_bytes(name.as_bytes()).is_err() {
            invalid(
                reader,
                child,
                &format!("\"{name}\" is not a header name"),
                "header names are letters, digits and -",
            );
            continue;
        }
        match Text::parse(reader, child) {
            Some(value) => out.push((name, value)),
            None => invalid(
                reader,
                child,
                &format!("<{item} name=\"{name}\"> has no value"),
                "put the value into the element",
            ),
        }
    }
    out
}

/// Milliseconds; negative means none.
fn millis(reader: &mut Reader, element: Element<'_, '_>) -> Option<Duration> {
    let ms = number(reader, element)?;
    u64::try_from(ms).ok().map(Duration::from_millis)
}

fn parse_proxy(reader: &mut Reader, element: Element<'_, '_>) -> Option<Proxy> {
    let mut text = |name: &str| {
        reader
            .child(element, name)
            .map(text_of)
            .filter(|t| !t.is_empty())
    };
    let hosts = |text: Option<String>| {
        text.unwrap_or_default()
            .split('|')
            .map(|h| h.trim().to_owned())
            .filter(|h| !h.is_empty())
            .collect()
    };
    let (host, port, protocol) = (text("proxyHost"), text("proxyPort"), text("proxyProtocol"));
    let login = text("proxyUsername").map(|user| (user, text("proxyPassword").unwrap_or_default()));
    let bypass = hosts(text("nonProxyHosts"));
    let only = hosts(text("targetProxyHosts"));
    match (host, port, protocol) {
        (Some(host), Some(port), Some(protocol)) => Some(Proxy {
            url: format!("{}://{host}:{port}", protocol.to_ascii_lowercase()),
            login,
            bypass,
            only,
        }),
        _ => {
            invalid(
                reader,
                element,
                "<proxyConfigs> needs proxyHost, proxyPort and proxyProtocol",
                "add what is missing",
            );
            None
        }
    }
}

/// Identifies a token: target URL, token server, credentials, parameters and headers.
type Key = [u8; 32];

/// The tokens of one endpoint; survives reloads while the endpoint stays the same.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<Key, Arc<Slot>>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never a token.
        f.debug_tuple("Tokens").field(&self.len()).finish()
    }
}

/// One token, or nothing yet. Who holds the lock fetches; the others wait for the outcome.
struct Slot {
    token: tokio::sync::Mutex<Held>,
    /// Fetches that have ended.
    fetches: AtomicU64,
    /// Made at, for dropping the oldest.
    made: u64,
}

#[derive(Default)]
struct Held {
    token: Option<(HeaderValue, u64)>,
    failure: Option<String>,
}

impl Tokens {
    fn slot(&self, key: Key, now: u64, most: usize) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return slot.clone();
        }
        while slots.len() >= most.max(1) {
            let oldest = slots.iter().min_by_key(|(_, s)| s.made).map(|(k, _)| *k);
            match oldest {
                Some(oldest) => slots.remove(&oldest),
                None => break,
            };
        }
        let slot = Arc::new(Slot {
            token: tokio::sync::Mutex::default(),
            fetches: AtomicU64::new(0),
            made: now,
        });
        slots.insert(key, slot.clone());
        slot
    }

    /// How many tokens are held or being fetched.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Slot {
    /// The token; fetched when there is none, when it is too old, or when it is the refused one.
    /// Messages that waited for a fetch that failed fail with it instead of trying in turn.
    async fn get(
        &self,
        now: impl Fn() -> u64,
        life: Duration,
        refused: Option<&HeaderValue>,
        fetch: impl Future<Output = Result<HeaderValue, String>>,
    ) -> Result<HeaderValue, String> {
        let seen = self.fetches.load(Ordering::Acquire);
        let mut held = self.token.lock().await;
        if let Some((token, until)) = &held.token
            && *until > now()
            && Some(token) != refused
        {
            return Ok(token.clone());
        }
        if self.fetches.load(Ordering::Acquire) != seen
            && let Some(failure) = &held.failure
        {
            return Err(failure.clone());
        }
        let outcome = fetch.await;
        self.fetches.fetch_add(1, Ordering::AcqRel);
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(token) => {
                held.token = Some((token.clone(), now().saturating_add(life)));
                held.failure = None;
            }
            Err(failure) => {
                held.token = None;
                held.failure = Some(failure.clone());
            }
        }
        outcome
    }
}

/// OAuth as it runs.
#[derive(Debug)]
pub struct OAuth {
    def: Arc<OAuthDef>,
    label: String,
    tokens: Arc<Tokens>,
    replays: bool,
    needs_body: bool,
}

/// A token request with all values filled in.
struct TokenRequest {
    url: String,
    body: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    key: Key,
}

/// Gets another token for the same request.
pub struct Renewal<'a> {
    oauth: &'a OAuth,
    request: TokenRequest,
}

impl Renew for Renewal<'_> {
    fn renew<'a>(
        &'a self,
        cx: SendContext<'a>,
        refused: &'a HeaderValue,
    ) -> Boxed<'a, Result<HeaderValue, Fault>> {
        Box::pin(async move { self.oauth.token(&cx, &self.request, Some(refused)).await })
    }
}

impl OAuth {
    /// What runs.
    pub fn link(
        def: &Arc<OAuthDef>,
        names: &mut dyn Names,
        label: &str,
        path: &str,
        fingerprint: u64,
    ) -> OAuth {
        let disabled = names
            .settings()
            .synapse_properties
            .get("synapse.endpoint.http.oauth.token.retry.message.building.disabled")
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        OAuth {
            needs_body: def.texts().any(Text::needs_body),
            def: def.clone(),
            label: label.to_owned(),
            tokens: names.stores().tokens(path, fingerprint),
            replays: !disabled,
        }
    }

    /// Whether a request that was answered with 401 is sent again with a new token.
    pub fn replays(&self) -> bool {
        self.replays
    }

    /// `Bearer …` for a request to `url`.
    ///
    /// # Errors
    /// 303003 when there is no token.
    pub async fn header(
        &self,
        cx: &SendContext<'_>,
        message: &mut Message,
        url: &str,
    ) -> Result<(HeaderValue, Renewal<'_>), Fault> {
        if self.needs_body {
            message.build(&cx.services.limits).await?;
        }
        let request = self
            .request(cx, message, url)
            .map_err(|cause| self.fault(&cause))?;
        let token = self.token(cx, &request, None).await?;
        let oauth = self;
        Ok((token, Renewal { oauth, request }))
    }

    async fn token(
        &self,
        cx: &SendContext<'_>,
        request: &TokenRequest,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Fault> {
        let clock = &cx.services.clock;
        let settings = &cx.services.settings;
        let slot = self
            .tokens
            .slot(request.key, clock.now(), settings.limits.max_oauth_tokens);
        // Boxed: a fetch is rare and its state would make every future of a flow larger.
        let fetch = Box::pin(self.fetch(cx, request));
        slot.get(
            || clock.now(),
            settings.endpoint.oauth_cache_timeout,
            refused,
            fetch,
        )
        .await
        .map_err(|cause| self.fault(&cause))
    }

    fn fault(&self, cause: &str) -> Fault {
        Fault::endpoint(
            codes::AUTHENTICATION,
            format!(
                "Could not generate access token for oauth configured http endpoint {}. {cause}",
                self.label
            ),
        )
    }

    /// Fills in the values of a message.
    fn request(
        &self,
        cx: &SendContext<'_>,
        message: &Message,
        target: &str,
    ) -> Result<TokenRequest, String> {
        let def = &*self.def;
        let scope = cx.scope(message);
        let plain = |text: &Text| text.value(&scope).map_err(|f| f.message);
        // The reference writes values as they are. What a message gives must not add parameters.
        let field = |text: &Text| match text {
            Text::Literal(text) => Ok(text.clone()),
            Text::Expr(_) => plain(text).map(|v| utf8_percent_encode(&v, UNSAFE).to_string()),
        };
        let mut body = match &def.grant {
            Grant::ClientCredentials => "grant_type=client_credentials".to_owned(),
            Grant::Password { username, password } => format!(
                "grant_type=password&username={}&password={}",
                field(username)?,
                field(password)?
            ),
            Grant::Refresh { token } => {
                format!("grant_type=refresh_token&refresh_token={}", field(token)?)
            }
        };
        let (id, secret) = (plain(&def.client_id)?, plain(&def.client_secret)?);
        let mut headers = Vec::new();
        let in_payload = match &def.auth_mode {
            Some(mode) => plain(mode)?.trim().eq_ignore_ascii_case("payload"),
            None => false,
        };
        if in_payload {
            body.push_str(&format!(
                "&client_id={}&client_secret={}",
                field(&def.client_id)?,
                field(&def.client_secret)?
            ));
        } else {
            let value = basic_header(&id, &secret)
                .ok_or("the client's credentials do not fit into a header")?;
            headers.push((AUTHORIZATION, value));
        }
        for (name, value) in &def.parameters {
            body.push_str(&format!("&{name}={}", field(value)?));
        }
        for (name, value) in &def.headers {
            let text = plain(value)?;
            let pair = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(&text),
            );
            let (Ok(name), Ok(value)) = pair else {
                return Err(format!("the value of the header {name} is not valid"));
            };
            headers.push((name, value));
        }
        let url = plain(&def.token_url)?;
        let mut hash = Sha256::new();
        let parts = [target, &url, &id, &secret, &body];
        let header_parts = headers
            .iter()
            .flat_map(|(n, v)| [n.as_str().as_bytes(), v.as_bytes()]);
        for part in parts.iter().map(|p| p.as_bytes()).chain(header_parts) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Ok(TokenRequest {
            url,
            body,
            headers,
            key: hash.finalize().into(),
        })
    }

    async fn fetch(
        &self,
        cx: &SendContext<'_>,
        request: &TokenRequest,
    ) -> Result<HeaderValue, String> {
        let settings = &cx.services.settings;
        let client = cx
            .services
            .outside
            .client(&self.def.options)
            .map_err(|e| e.to_string())?;
        let mut builder = client
            .post(&request.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(request.body.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // Without a limit of its own a token server could hold messages for ever.
        let within = self
            .def
            .socket_timeout
            .unwrap_or(settings.endpoint.global_timeout);
        let answer = outside::fetch(&client, builder, within, MOST_ANSWER)
            .await
            .map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(format!(
                "Error while accessing the Token URL. {}",
                answer.status_line
            ));
        }
        let missing = "Missing key [access_token] in the response from the OAuth server";
        let json: serde_json::Value =
            serde_json::from_slice(&answer.body).map_err(|_| missing.to_owned())?;
        let token = json
            .get("access_token")
            .and_then(serde_json::Value::as_str)
            .ok_or(missing)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "the access token does not fit into a header".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl OAuthDef {
    fn texts(&self) -> impl Iterator<Item = &Text> {
        let grant: Vec<&Text> = match &self.grant {
            Grant::ClientCredentials => Vec::new(),
            Grant::Password { username, password } => vec![username, password],
            Grant::Refresh { token } => vec![token],
        };
        [&self.client_id, &self.client_secret, &self.token_url]
            .into_iter()
            .chain(grant)
            .chain(self.auth_mode.as_ref())
            .chain(self.parameters.iter().chain(&self.headers).map(|p| &p.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const LIFE: Duration = Duration::from_secs(10);

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    fn slot() -> Arc<Slot> {
        Tokens::default().slot([0; 32], 0, 10)
    }

    #[tokio::test]
    async fn one_fetch_serves_all_who_wait() {
        let slot = slot();
        let fetches = AtomicUsize::new(0);
        let get = || {
            slot.get(|| 0, LIFE, None, async {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(value("Bearer 1"))
            })
        };
        let (a, b, c) = tokio::join!(get(), get(), get());
        assert_eq!(
            [a, b, c],
            [
                Ok(value("Bearer 1")),
                Ok(value("Bearer 1")),
                Ok(value("Bearer 1"))
            ]
        );
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn those_who_wait_for_a_failing_fetch_fail_with_it() {
        let slot = slot();
        let fetches = AtomicUsize::new(0);
        let get = || {
            slot.get(|| 0, LIFE, None, async {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Err("down".to_owned())
            })
        };
        let (a, b) = tokio::join!(get(), get());
        assert_eq!([a, b], [Err("down".to_owned()), Err("down".to_owned())]);
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert_eq!(get().await, Err("down".to_owned()));
        assert_eq!(
            fetches.load(Ordering::SeqCst),
            2,
            "a later message tries again"
        );
    }

    #[tokio::test]
    async fn tokens_end_with_their_life_and_when_they_are_refused() {
        let slot = slot();
        let get = |now: u64, refused: Option<HeaderValue>, fetched: &'static str| {
            let slot = slot.clone();
            async move {
                slot.get(|| now, LIFE, refused.as_ref(), async { Ok(value(fetched)) })
                    .await
                    .unwrap()
            }
        };
        assert_eq!(get(0, None, "1").await, "1");
        assert_eq!(get(9_999, None, "2").await, "1");
        assert_eq!(get(10_000, None, "3").await, "3");
        assert_eq!(get(10_001, Some(value("3")), "4").await, "4");
        assert_eq!(
            get(10_002, Some(value("3")), "5").await,
            "4",
            "somebody renewed it already"
        );
    }

    #[test]
    fn the_oldest_token_makes_room() {
        let tokens = Tokens::default();
        for n in 0..5_u8 {
            tokens.slot([n; 32], u64::from(n), 3);
        }
        assert_eq!(tokens.len(), 3);
        let slots = tokens.0.lock().unwrap();
        assert!(!slots.contains_key(&[1; 32]) && slots.contains_key(&[4; 32]));
    }
}
