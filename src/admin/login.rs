//! Who may use the management API (spec 04 §11.1): a user of the settings gives a password once and
//! gets a token; every other request shows the token. A page in a browser cannot do that on its own:
//! browsers add no `Authorization: Bearer` by themselves.

use crate::clock::Clock;
use crate::settings::{AdminSettings, AdminUser};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a failed login waits for; one after another, so that passwords cannot be tried quickly.
const FAILED: Duration = Duration::from_millis(250);

/// No random numbers can be had from the system.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// A user who has shown a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name.
    pub name: String,
    /// May change what is running.
    pub may_change: bool,
}

struct Token {
    /// The token itself is known to its owner only.
    digest: [u8; 32],
    caller: Caller,
    /// When it ends, ms of the clock.
    ends: u64,
}

/// Users and their tokens.
pub struct Logins {
    users: Vec<AdminUser>,
    default_users: bool,
    read_only: bool,
    life: Duration,
    most: usize,
    key: [u8; 32],
    clock: Clock,
    /// The oldest first.
    tokens: Mutex<VecDeque<Token>>,
    failing: tokio::sync::Mutex<()>,
}

fn random() -> Result<[u8; 32], NoRandom> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::ring::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandom)?;
    Ok(bytes)
}

impl Logins {
    /// Nobody has logged in yet.
    ///
    /// # Errors
    /// When there are no random numbers for the key of the tokens.
    pub fn new(settings: &AdminSettings, clock: Clock) -> Result<Logins, NoRandom> {
        Ok(Logins {
            users: settings.users.clone(),
            default_users: settings.users == AdminSettings::default().users,
            read_only: settings.non_admin_read_only,
            life: settings.token_expiry,
            most: settings.max_tokens,
            key: random()?,
            clock,
            tokens: Mutex::default(),
            failing: tokio::sync::Mutex::default(),
        })
    }

    /// Takes the `Authorization` header of a login and gives a token; `None` when name and password
    /// are not those of a user.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub async fn login(&self, authorization: Option<&str>) -> Result<Option<String>, NoRandom> {
        if let Some(user) = authorization.and_then(|text| self.user(text)) {
            if self.default_users {
                tracing::warn!(
                    target: "Management",
                    "a login with the default password; set [[internal_apis.users]] in deployment.toml"
                );
            }
            return self.issue(user).map(Some);
        }
        tracing::warn!(target: "Management", "a login to the management API failed");
        let _turn = self.failing.lock().await;
        tokio::time::sleep(FAILED).await;
        Ok(None)
    }

    fn user(&self, authorization: &str) -> Option<&AdminUser> {
        let text = scheme(authorization, "Basic")?;
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        // Digests with a key that nobody knows: how long a comparison takes says nothing.
        let password = self.digest(password);
        self.users.iter().find(|user| {
            let same = self.digest(user.password.expose()) == password;
            same & (self.digest(&user.name) == self.digest(name))
        })
    }

    fn digest(&self, text: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(text);
        hash.finalize().into()
    }

    /// A token in the form of a JWT. Only those in the table are valid, as in the reference: the
    /// signature is never what decides.
    fn issue(&self, user: &AdminUser) -> Result<String, NoRandom> {
        let now = self.clock.now();
        let ends = now.saturating_add(u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX));
        let wall = self.clock.wall(now) / 1000;
        let claims = json!({
            "iss": "Myelin",
            "sub": user.name,
            "iat": wall,
            "exp": wall.saturating_add(self.life.as_secs()),
            "scope": if user.is_admin { "admin" } else { "default" },
            "jti": URL_SAFE_NO_PAD.encode(random()?),
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let mut token = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|_| NoRandom)?;
        mac.update(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|t| t.ends > now);
        while tokens.len() >= self.most {
            tokens.pop_front();
        }
        tokens.push_back(Token {
            digest: self.digest(&token),
            caller: Caller {
                name: user.name.clone(),
                may_change: user.is_admin || !self.read_only,
            },
            ends,
        });
        Ok(token)
    }

    /// Whose token the `Authorization` header shows.
    pub fn caller(&self, authorization: &str) -> Option<Caller> {
        let digest = self.digest(scheme(authorization, "Bearer")?);
        let now = self.clock.now();
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.iter().find(|t| t.digest == digest)?;
        (token.ends > now).then(|| token.caller.clone())
    }

    /// The token of the `Authorization` header is no longer valid.
    pub fn logout(&self, authorization: &str) {
        let Some(token) = scheme(authorization, "Bearer") else {
            return;
        };
        let digest = self.digest(token);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|t| t.digest != digest);
    }
}

/// What follows the name of the scheme.
fn scheme<'a>(authorization: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    fn logins(settings: &AdminSettings, clock: &Clock) -> Logins {
        Logins::new(settings, clock.clone()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_end_and_are_bounded() {
        let settings = AdminSettings {
            max_tokens: 2,
            ..AdminSettings::default()
        };
        let clock = Clock::default();
        let logins = logins(&settings, &clock);
        let mut shown = Vec::new();
        for _ in 0..3 {
            let token = logins.login(Some(&basic("admin:admin"))).await.unwrap();
            shown.push(format!("bearer {}", token.unwrap()));
        }
        let valid = || shown.iter().map(|t| logins.caller(t).is_some());
        assert!(valid().eq([false, true, true]), "the oldest makes room");
        logins.logout(&shown[1]);
        assert!(valid().eq([false, false, true]));
        clock.advance(settings.token_expiry);
        assert!(valid().eq([false, false, false]));
    }

    #[tokio::test(start_paused = true)]
    async fn only_users_with_their_password_get_in() {
        let logins = logins(&AdminSettings::default(), &Clock::default());
        let tries = [
            basic("admin:Admin"),
            basic("admin"),
            basic("root:admin"),
            basic(""),
            "Basic *".to_owned(),
            "Bearer YWRtaW46YWRtaW4=".to_owned(),
            String::new(),
        ];
        for text in tries {
            assert!(logins.login(Some(&text)).await.unwrap().is_none(), "{text}");
            assert_eq!(logins.caller(&text), None, "{text}");
        }
        assert!(logins.login(None).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_is_no_administrator_may_be_kept_from_changing() {
        let mut settings = AdminSettings::default();
        for user in &mut settings.users {
            user.is_admin = false;
        }
        for read_only in [false, true] {
            settings.non_admin_read_only = read_only;
            let logins = logins(&settings, &Clock::default());
            let token = logins.login(Some(&basic("admin:admin"))).await.unwrap();
            let caller = logins
                .caller(&format!("Bearer {}", token.unwrap()))
                .unwrap();
            assert_eq!(caller.may_change, !read_only);
        }
    }
}
