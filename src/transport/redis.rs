//! A Redis that several runtimes share: one connection per worker, made when it is first needed.
//! Nothing waits longer than the settings say, and a Redis that failed is left alone for a moment.

use crate::settings::RedisSettings;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError};
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// After a failure nobody tries for this long: requests must not all wait for a Redis that is gone.
const REST: Duration = Duration::from_secs(1);
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

/// Keys with a value and an end of their life. Belongs to the runtime that first uses it.
pub struct Redis {
    client: Client,
    settings: RedisSettings,
    link: Mutex<Link>,
}

impl Redis {
    /// A client without a connection.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(settings: &RedisSettings) -> Result<Redis, StoreError> {
        Ok(Redis {
            client: Client::open(settings.url.expose())?,
            settings: settings.clone(),
            link: Mutex::default(),
        })
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
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let error = match tokio::time::timeout(limit, connecting).await {
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

fn set(key: &str, value: u64, life: Duration) -> redis::Cmd {
    let mut cmd = redis::cmd("SET");
    // Redis takes no life of zero.
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX >> 1);
    cmd.arg(key).arg(value).arg("PX").arg(life.max(1));
    cmd
}
