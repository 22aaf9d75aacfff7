//! A Redis that several runtimes share: one connection per worker, made when it is first needed.
//! Nothing waits longer than the settings say, and a Redis that failed is left alone for a moment.

use crate::settings::RedisSettings;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, RedisError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// After a failure nobody tries for this long: requests must not all wait for a Redis that is gone.
const REST: Duration = Duration::from_secs(1);
/// A hundred years in milliseconds. Redis adds the time of day to a life, in 64 bits with a sign.
const LONGEST_LIFE: u64 = 100 * 366 * 24 * 3600 * 1000;
/// Between two warnings about a Redis that fails.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// The Redis could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It failed a moment ago and is not asked again yet.
    #[error("Redis failed a moment ago")]
    Resting,
    /// It failed now.
    #[error("{0}")]
    Failed(#[from] RedisError),
    /// It did not answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that one failure ends only the connection that it happened on.
    number: u64,
    rests_until: Option<Instant>,
    warned: Option<Instant>,
}

/// TLS towards the Redis, with the trust and the certificate that back-ends are called with.
struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
}

/// Keys with a value and an end of their life. Belongs to the runtime that first uses it.
pub struct Redis {
    client: Client,
    secure: Option<Secure>,
    settings: RedisSettings,
    link: Mutex<Link>,
}

impl Redis {
    /// A client without a connection; `tls` is for addresses that begin with `rediss://`.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(settings: &RedisSettings, tls: &Arc<ClientConfig>) -> Result<Redis, StoreError> {
        let client = Client::open(settings.plain_url().as_str())?;
        let secure = match settings.is_secure() {
            false => None,
            true => Some(secure(&client, tls)?),
        };
        Ok(Redis {
            client,
            secure,
            settings: settings.clone(),
            link: Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let Some(secure) = &self.secure else {
            return self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await;
        };
        let stream = TcpStream::connect((secure.host.as_str(), secure.port)).await?;
        stream.set_nodelay(true)?;
        let stream = secure
            .connector
            .connect(secure.name.clone(), stream)
            .await?;
        let info = self.client.get_connection_info().redis_settings();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(info, stream, config).await?;
        // Ends with the last handle of its connection.
        tokio::spawn(driver);
        Ok(connection)
    }

    /// The value of a key and how many milliseconds it has left.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn get(&self, key: &str) -> Result<Option<(u64, u64)>, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(key).cmd("PTTL").arg(key);
        let found: (Option<u64>, i64) = self
            .run(|mut link| async move { pipe.query_async(&mut link).await })
            .await?;
        Ok(match found {
            (Some(value), left) => u64::try_from(left).ok().map(|left| (value, left)),
            (None, _) => None,
        })
    }

    /// Sets a key for `life` unless it is there already; `false` when it is.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn set_new(&self, key: &str, value: u64, life: Duration) -> Result<bool, StoreError> {
        let mut cmd = set(key, value, life);
        cmd.arg("NX");
        let done: Option<String> = self
            .run(|mut link| async move { cmd.query_async(&mut link).await })
            .await?;
        Ok(done.is_some())
    }

    /// Sets a key for `life`, whatever it was.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn set(&self, key: &str, value: u64, life: Duration) -> Result<(), StoreError> {
        let cmd = set(key, value, life);
        self.run(|mut link| async move { cmd.query_async(&mut link).await })
            .await
    }

    /// Removes a key if it still has this value.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn remove(&self, key: &str, value: u64) -> Result<(), StoreError> {
        const SCRIPT: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(SCRIPT).arg(1).arg(key).arg(value);
        let _: i64 = self
            .run(|mut link| async move { cmd.query_async(&mut link).await })
            .await?;
        Ok(())
    }

    async fn run<T, F>(&self, ask: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, StoreError>
    where
        T: FromRedisValue,
        F: Future<Output = Result<T, RedisError>>,
    {
        let (connection, number) = self.connection().await?;
        let limit = self.settings.command_timeout;
        let outcome = match tokio::time::timeout(limit, ask(connection)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => StoreError::Failed(error),
            Err(_) => StoreError::Late(limit),
        };
        let mut link = self.link.lock().await;
        if link.number == number {
            self.rest(&mut link, &outcome);
        }
        Err(outcome)
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok((connection.clone(), link.number));
        }
        if link.rests_until.is_some_and(|end| Instant::now() < end) {
            return Err(StoreError::Resting);
        }
        let limit = self.settings.connect_timeout;
        let error = match tokio::time::timeout(limit, Box::pin(self.connect())).await {
            Ok(Ok(connection)) => {
                link.number += 1;
                link.rests_until = None;
                if link.warned.take().is_some() {
                    tracing::info!(target: "Sessions", "Redis answers again; sessions are shared");
                }
                link.connection = Some(connection.clone());
                return Ok((connection, link.number));
            }
            Ok(Err(error)) => StoreError::Failed(error),
            Err(_) => StoreError::Late(limit),
        };
        self.rest(&mut link, &error);
        Err(error)
    }

    fn rest(&self, link: &mut Link, error: &StoreError) {
        let now = Instant::now();
        link.connection = None;
        link.rests_until = Some(now + REST);
        if link.warned.is_none_or(|at| now - at >= WARN_EVERY) {
            link.warned = Some(now);
            tracing::warn!(
                target: "Sessions",
                "Redis at {} cannot be asked: {error}; sessions are kept in this process until it answers",
                self.client.get_connection_info().addr()
            );
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

fn secure(client: &Client, tls: &Arc<ClientConfig>) -> Result<Secure, RedisError> {
    let invalid = |what: &str| RedisError::from(std::io::Error::other(what.to_owned()));
    let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else {
        return Err(invalid("rediss:// needs a host and a port"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|_| invalid("the host is neither a name nor an address"))?;
    let mut config = (**tls).clone();
    // Those of HTTP.
    config.alpn_protocols.clear();
    Ok(Secure {
        connector: TlsConnector::from(Arc::new(config)),
        name,
        host: bare.to_owned(),
        port: *port,
    })
}

fn set(key: &str, value: u64, life: Duration) -> redis::Cmd {
    let mut cmd = redis::cmd("SET");
    // Redis takes no life of zero, and none whose end its clock cannot hold.
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    cmd.arg(key)
        .arg(value)
        .arg("PX")
        .arg(life.clamp(1, LONGEST_LIFE));
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_such_as_redis_takes() {
        let life = |life: Duration| {
            let packed = set("k", 1, life).get_packed_command();
            let text = String::from_utf8(packed).unwrap();
            text.lines().last().unwrap().to_owned()
        };
        assert_eq!(life(Duration::ZERO), "1");
        assert_eq!(life(Duration::from_millis(1500)), "1500");
        assert_eq!(life(Duration::MAX), LONGEST_LIFE.to_string());
    }
}
