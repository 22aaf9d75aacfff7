//! Connections to databases: one pool for equal settings, in a thread of its own, so that they
//! outlive workers and reloads and no worker waits for another's.

use super::Column;
use super::connection::{Kind, Options};
use super::value::{self, Param};
use sqlx::mysql::{MySqlPoolOptions, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::sqlite::{SqlitePoolOptions, SqliteRow};
use sqlx::{
    Column as _, Executor, MySql, MySqlPool, PgPool, Postgres, Row, Sqlite, SqlitePool, Transaction,
};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The thread on which all connections live. It ends with its last pool.
#[derive(Debug, Default)]
pub(super) struct Database {
    handle: OnceLock<Option<Handle>>,
    stop: Arc<Notify>,
}

impl Database {
    fn handle(&self) -> Option<&Handle> {
        self.handle
            .get_or_init(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .ok()?;
                let handle = runtime.handle().clone();
                let stop = self.stop.clone();
                std::thread::Builder::new()
                    .name("databases".to_owned())
                    .spawn(move || runtime.block_on(stop.notified()))
                    .ok()?;
                Some(handle)
            })
            .as_ref()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

#[derive(Debug)]
enum Connections {
    Postgres(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

/// The connections of equal settings. They are made when they are needed.
#[derive(Debug, Default)]
pub(super) struct Pool {
    setup: OnceLock<(Options, Arc<Database>)>,
    connections: OnceLock<Connections>,
}

impl Pool {
    /// Says where the database is. Only the first call counts: the pool is found by its options.
    pub(super) fn configure(&self, options: Options, database: Arc<Database>) {
        self.setup.get_or_init(|| (options, database));
    }

    /// Runs `work` on the thread of the databases, for at most `limit`.
    ///
    /// # Errors
    /// Those of the work, or that it took too long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        let handle = self.setup.get().and_then(|(_, database)| database.handle());
        let handle = handle.ok_or("there is no thread for databases")?;
        let task = handle.spawn(async move {
            match tokio::time::timeout(limit, work).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!(
                    "the database did not answer in {} ms ([myelin] database_timeout)",
                    limit.as_millis()
                )),
            }
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(_) => Err("the thread of the databases has ended".to_owned()),
        }
    }

    fn connections(&self, wait: Duration, most: u32) -> Result<&Connections, String> {
        let (options, _) = self.setup.get().ok_or("the pool has no settings")?;
        Ok(self
            .connections
            .get_or_init(|| connect(options, wait, most)))
    }

    /// Takes a connection, in a transaction when `together`, or when the pool does not commit by
    /// itself.
    ///
    /// # Errors
    /// When the database cannot be reached, or all connections stay in use.
    pub(super) async fn begin(
        &self,
        together: bool,
        wait: Duration,
        most: u32,
    ) -> Result<Session, String> {
        let together = together || self.setup.get().is_some_and(|(o, _)| !o.auto_commit);
        let session = match self.connections(wait, most)? {
            Connections::Postgres(pool) if together => {
                Session::Postgres(Held::Transaction(pool.begin().await.map_err(said)?))
            }
            Connections::Postgres(pool) => {
                Session::Postgres(Held::Plain(pool.acquire().await.map_err(said)?))
            }
            Connections::MySql(pool) if together => {
                Session::MySql(Held::Transaction(pool.begin().await.map_err(said)?))
            }
            Connections::MySql(pool) => {
                Session::MySql(Held::Plain(pool.acquire().await.map_err(said)?))
            }
            Connections::Sqlite(pool) if together => {
                Session::Sqlite(Held::Transaction(pool.begin().await.map_err(said)?))
            }
            Connections::Sqlite(pool) => {
                Session::Sqlite(Held::Plain(pool.acquire().await.map_err(said)?))
            }
        };
        Ok(session)
    }
}

fn said(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => {
            "all connections of the pool stayed in use (pool properties maxactive and maxwait)"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn connect(options: &Options, wait: Duration, most: u32) -> Connections {
    let wait = options.max_wait.unwrap_or(wait);
    let active = options.max_active.min(most).max(1);
    let idle = Some(Duration::from_secs(600));
    let level = options.isolation;
    macro_rules! pool {
        ($options:ident) => {
            $options::new()
                .max_connections(active)
                .min_connections(options.min_idle.min(active))
                .acquire_timeout(wait)
                .idle_timeout(idle)
                .test_before_acquire(options.test_on_borrow)
        };
    }
    match &options.kind {
        Kind::Postgres(connect) => Connections::Postgres(
            pool!(PgPoolOptions)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        if let Some(level) = level {
                            let sql = format!(
                                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}"
                            );
                            connection.execute(sql.as_str()).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with((**connect).clone()),
        ),
        Kind::MySql(connect) => Connections::MySql(
            pool!(MySqlPoolOptions)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        if let Some(level) = level {
                            let sql = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
                            connection.execute(sql.as_str()).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with((**connect).clone()),
        ),
        Kind::Sqlite(connect, in_memory) => {
            let pool = pool!(SqlitePoolOptions);
            // A database in memory lives as long as its only connection.
            let pool = if *in_memory {
                pool.max_connections(1)
                    .min_connections(0)
                    .idle_timeout(None)
                    .max_lifetime(None)
            } else {
                pool
            };
            Connections::Sqlite(pool.connect_lazy_with((**connect).clone()))
        }
    }
}

/// A connection that is in use. Dropping it without [`Session::commit`] rolls back.
#[derive(Debug)]
pub(super) enum Session {
    /// PostgreSQL.
    Postgres(Held<Postgres>),
    /// MySQL and MariaDB.
    MySql(Held<MySql>),
    /// SQLite.
    Sqlite(Held<Sqlite>),
}

/// A connection, or a transaction on one.
#[derive(Debug)]
pub(super) enum Held<D: sqlx::Database> {
    /// Every statement commits itself.
    Plain(PoolConnection<D>),
    /// Until it is committed.
    Transaction(Transaction<'static, D>),
}

impl<D: sqlx::Database> Held<D> {
    fn connection(&mut self) -> &mut D::Connection {
        match self {
            Held::Plain(connection) => connection,
            Held::Transaction(transaction) => transaction,
        }
    }

    async fn commit(self) -> Result<(), String> {
        match self {
            Held::Plain(_) => Ok(()),
            Held::Transaction(transaction) => transaction.commit().await.map_err(said),
        }
    }
}

macro_rules! query {
    ($database:ty, $sql:expr, $params:expr, $decimal:expr) => {{
        let mut query = sqlx::query::<$database>($sql);
        for param in $params {
            query = match param {
                Param::Text(v) => query.bind(v),
                Param::Decimal(v) => query.bind($decimal(v)),
                Param::Boolean(v) => query.bind(v),
                Param::Small(v) => query.bind(v),
                Param::Integer(v) => query.bind(v),
                Param::Big(v) => query.bind(v),
                Param::Real(v) => query.bind(v),
                Param::Double(v) => query.bind(v),
                Param::Date(v) => query.bind(v),
                Param::Time(v) => query.bind(v),
                Param::Timestamp(v) => query.bind(v),
            };
        }
        query
    }};
}

/// SQLite has no decimal numbers; it compares such a text as a number.
fn plain(number: Option<sqlx::types::BigDecimal>) -> Option<String> {
    number.map(|n| n.to_plain_string())
}

impl Session {
    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, String> {
        match self {
            Session::Postgres(held) => {
                let query = query!(Postgres, sql, params, |v| v);
                let done = query.execute(held.connection()).await;
                done.map(|d| d.rows_affected())
            }
            Session::MySql(held) => {
                let query = query!(MySql, sql, params, |v| v);
                let done = query.execute(held.connection()).await;
                done.map(|d| d.rows_affected())
            }
            Session::Sqlite(held) => {
                let query = query!(Sqlite, sql, params, plain);
                let done = query.execute(held.connection()).await;
                done.map(|d| d.rows_affected())
            }
        }
        .map_err(said)
    }

    /// The wanted columns of the first row; `None` when there is no row.
    ///
    /// # Errors
    /// What the database says, or that a column is not there or larger than `most` bytes.
    pub(super) async fn first_row(
        &mut self,
        sql: &str,
        params: Vec<Param>,
        columns: &[Column],
        most: usize,
    ) -> Result<Option<Vec<Option<String>>>, String> {
        macro_rules! row {
            ($query:expr, $held:expr, $row:ty, $read:expr) => {{
                let row: Option<$row> = $query
                    .fetch_optional($held.connection())
                    .await
                    .map_err(said)?;
                let Some(row) = row else {
                    return Ok(None);
                };
                let names: Vec<&str> = row.columns().iter().map(|c| c.name()).collect();
                columns
                    .iter()
                    .map(|column| {
                        let at = place(column, &names)?;
                        $read(&row, at).map_err(said)
                    })
                    .collect::<Result<Vec<_>, String>>()?
            }};
        }
        let values = match self {
            Session::Postgres(held) => {
                let query = query!(Postgres, sql, params, |v| v);
                row!(query, held, PgRow, value::postgres)
            }
            Session::MySql(held) => {
                let query = query!(MySql, sql, params, |v| v);
                row!(query, held, MySqlRow, value::mysql)
            }
            Session::Sqlite(held) => {
                let query = query!(Sqlite, sql, params, plain);
                row!(query, held, SqliteRow, value::sqlite)
            }
        };
        if values.iter().flatten().any(|v| v.len() > most) {
            return Err(format!("a column is larger than the limit of {most} bytes"));
        }
        Ok(Some(values))
    }

    /// Ends the use of the connection, and its transaction.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn commit(self) -> Result<(), String> {
        match self {
            Session::Postgres(held) => held.commit().await,
            Session::MySql(held) => held.commit().await,
            Session::Sqlite(held) => held.commit().await,
        }
    }
}

fn place(column: &Column, names: &[&str]) -> Result<usize, String> {
    match column {
        Column::Number(number) if (1..=names.len()).contains(number) => Ok(number - 1),
        Column::Number(number) => Err(format!("the result has no column {number}")),
        Column::Name(name) => names
            .iter()
            .position(|n| n.eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("the result has no column \"{name}\"")),
    }
}

/// `?` outside of quotes and comments becomes `$1`, `$2` …; `??` is the operator `?`, as in JDBC.
pub(super) fn number_placeholders(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 8);
    let mut count = 0;
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '\'' | '"' => rest
                .get(1..)
                .and_then(|r| r.find(c))
                .map_or(rest.len(), |at| at + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest
                .get(2..)
                .and_then(|r| r.find("*/"))
                .map_or(rest.len(), |at| at + 4),
            '?' if rest.starts_with("??") => {
                out.push('?');
                rest = rest.get(2..).unwrap_or_default();
                continue;
            }
            '?' => {
                count += 1;
                out.push_str(&format!("${count}"));
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            c => c.len_utf8(),
        };
        let (part, after) = rest.split_at(end);
        out.push_str(part);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an artifact that goes leaves behind: nothing.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn connections_close_with_the_pool() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let is_open = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .any(|target| target == file)
        };
        let connect = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true);
        let options = Options {
            kind: Kind::Sqlite(Box::new(connect), false),
            auto_commit: true,
            isolation: None,
            max_active: 4,
            min_idle: 1,
            max_wait: None,
            test_on_borrow: false,
            identity: String::new(),
        };
        let pool = Arc::new(Pool::default());
        pool.configure(options, Arc::default());
        let limit = Duration::from_secs(60);
        let used = pool.clone();
        let work = async move {
            let mut session = used.begin(false, limit, 4).await?;
            session.execute("create table t (a)", Vec::new()).await?;
            session.commit().await
        };
        pool.run(limit, work).await.unwrap();
        assert!(is_open());
        drop(pool);
        let closed = async {
            while is_open() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, closed).await.unwrap();
    }

    #[test]
    fn placeholders() {
        for (sql, expected) in [
            (
                "select a from b where c = ? and d=?",
                "select a from b where c = $1 and d=$2",
            ),
            (
                "select '?', \"a?\", 'it''s ?' where x = ?",
                "select '?', \"a?\", 'it''s ?' where x = $1",
            ),
            (
                "select 1 -- why?\n where a = ? /* ? */",
                "select 1 -- why?\n where a = $1 /* ? */",
            ),
            (
                "select a ?? 'k' from b where c = ?",
                "select a ? 'k' from b where c = $1",
            ),
            ("select 'open ?", "select 'open ?"),
            ("/*/ ? */ ?", "/*/ ? */ $1"),
        ] {
            assert_eq!(number_placeholders(sql), expected);
        }
    }
    proptest::proptest! {
        #[test]
        fn any_text_keeps_its_other_characters(sql in "[?'\"a/*\\- \n$ü1]{0,40}") {
            let out = number_placeholders(&sql);
            let plain = |text: &str| text.replace(['?', '$', '1', '2', '3', '4', '5', '6', '7', '8', '9', '0'], "");
            proptest::prop_assert_eq!(plain(&out), plain(&sql));
        }
    }
}
