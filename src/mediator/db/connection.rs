//! `<connection>`: where the database is (spec 04 §9.3). JDBC addresses are understood.

use crate::diag::{Place, codes};
use crate::endpoint::variable;
use crate::mediator::Linker;
use crate::mediator::describe::{Attr, Content, Tag};
use crate::message::charset::Charset;
use crate::message::form;
use crate::settings::{Secret, Settings};
use crate::syntax::{Element, Reader, text_of};
use sha2::{Digest, Sha256};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use std::time::Duration;

/// A connection as it is written.
#[derive(Debug)]
pub(super) struct ConnectionDef {
    from: From,
    pool: PoolDef,
    place: Place,
}

#[derive(Debug)]
enum From {
    /// Name of a data source of the settings.
    Named(String, Place),
    Address {
        url: Text,
        user: Option<Text>,
        password: Option<Text>,
    },
}

/// A text in the artifact, or in a local entry.
#[derive(Debug)]
enum Text {
    Literal(Secret),
    Key(String, Place),
}

#[derive(Clone, Debug)]
struct PoolDef {
    auto_commit: bool,
    isolation: Option<&'static str>,
    max_active: u32,
    min_idle: u32,
    max_wait: Option<Duration>,
    test_on_borrow: bool,
}

impl Default for PoolDef {
    fn default() -> PoolDef {
        PoolDef {
            auto_commit: true,
            isolation: None,
            max_active: 8,
            min_idle: 0,
            max_wait: None,
            test_on_borrow: true,
        }
    }
}

/// A connection whose texts are known.
pub(super) struct Source {
    /// For messages; without credentials.
    pub name: String,
    /// How to connect.
    pub options: Options,
}

/// How to connect.
#[derive(Debug)]
pub(super) struct Options {
    /// The database.
    pub kind: Kind,
    /// Every statement commits itself.
    pub auto_commit: bool,
    /// SQL name of the isolation level.
    pub isolation: Option<&'static str>,
    /// Most connections.
    pub max_active: u32,
    /// Connections that stay open.
    pub min_idle: u32,
    /// Longest wait for one.
    pub max_wait: Option<Duration>,
    /// Whether a connection is tested before it is used.
    pub test_on_borrow: bool,
    /// What tells it from other settings.
    pub identity: String,
}

/// The kind of a database.
pub(super) enum Kind {
    /// PostgreSQL.
    Postgres(Box<PgConnectOptions>),
    /// MySQL or MariaDB.
    MySql(Box<MySqlConnectOptions>),
    /// SQLite, and whether it is in memory.
    Sqlite(Box<SqliteConnectOptions>, bool),
}

// The options of the drivers show their passwords.
impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Postgres(_) => "Postgres",
            Kind::MySql(_) => "MySql",
            Kind::Sqlite(..) => "Sqlite",
        })
    }
}

impl Options {
    /// Equal for equal settings; shows no credentials.
    pub(super) fn identity(&self) -> String {
        self.identity.clone()
    }

    /// Parameters are `$1`, not `?`.
    pub(super) fn numbered_placeholders(&self) -> bool {
        matches!(self.kind, Kind::Postgres(_))
    }
}

const ISOLATION: &[(&str, &str)] = &[
    (
        "Connection.TRANSACTION_READ_UNCOMMITTED",
        "READ UNCOMMITTED",
    ),
    ("Connection.TRANSACTION_READ_COMMITTED", "READ COMMITTED"),
    ("Connection.TRANSACTION_REPEATABLE_READ", "REPEATABLE READ"),
    ("Connection.TRANSACTION_SERIALIZABLE", "SERIALIZABLE"),
];

/// Properties of the reference's pool that have no meaning here.
const WITHOUT_EFFECT: &[&str] = &[
    "initialsize",
    "maxidle",
    "maxopenstatements",
    "poolstatements",
    "testonreturn",
    "testwhileidle",
    "validationquery",
];

const DRIVER: Tag = Tag::child(
    "driver",
    "Class of a JDBC driver. Not needed: the address says which database it is.",
)
.with(&[Attr::text("key", "Local entry with the text.").ignored()])
.holds(Content::Text);
const KEY: &[Attr] = &[Attr::text("key", "Local entry with the text.")];
const URL: Tag = Tag::child("url", "JDBC address. It or `<dsName>` is needed.")
    .with(KEY)
    .holds(Content::Text);
const USER: Tag = Tag::child("user", "Who signs in.")
    .with(KEY)
    .holds(Content::Text);
const PASSWORD: Tag = Tag::child("password", "Their password.")
    .with(KEY)
    .holds(Content::Text);
const DS_NAME: Tag = Tag::child(
    "dsName",
    "Name of a `[[datasource]]`, also as `jdbc/…` or `java:comp/env/jdbc/…`.",
)
.holds(Content::Text);
const PROPERTY: Tag = Tag::child(
    "property",
    "Setting of the pool: `autocommit`, `isolation`, `maxactive`, `minidle`, `maxwait`, `testonborrow`; other settings of the reference have no effect.",
)
.with(&[
    Attr::text("name", "Its name.").required(),
    Attr::text("value", "Its value.").required(),
]);
const POOL: Tag = Tag::child("pool", "Which database.")
    .of(&[&DRIVER, &URL, &USER, &PASSWORD, &DS_NAME, &PROPERTY]);
/// `<connection>`.
pub(super) const CONNECTION: Tag = Tag::child("connection", "Holds the `<pool>`.").of(&[&POOL]);

impl ConnectionDef {
    /// Reads the element.
    pub(super) fn parse(reader: &mut Reader, element: Element<'_, '_>) -> Option<ConnectionDef> {
        CONNECTION.check(reader, element);
        let place = reader.place(element);
        let Some(pool) = reader.child(element, "pool") else {
            reader.error(codes::MISSING_ELEMENT, place, "<connection> needs a <pool>");
            return None;
        };
        POOL.check(reader, pool);
        let before = reader.errors();
        let mut def = PoolDef::default();
        let (mut named, mut url, mut user, mut password) = (None, None, None, None);
        for child in reader.children(pool) {
            match reader.name(child) {
                Some("dsName") => {
                    let name = literal(reader, child)?;
                    named = Some((name, reader.place(child)));
                }
                // The address says which database it is.
                Some("driver") => {
                    DRIVER.check(reader, child);
                }
                Some("url") => url = Some(text(reader, child)?),
                Some("user") => user = Some(text(reader, child)?),
                Some("password") => {
                    if text_of(child).starts_with('{') {
                        let place = reader.place(child);
                        reader.unsupported(
                            place,
                            "passwords from the secure vault are not supported",
                            Some("use a data source in deployment.toml with password = \"$env{NAME}\", and <dsName>"),
                        );
                    }
                    password = Some(text(reader, child)?);
                }
                Some("icClass") => {
                    let place = reader.place(child);
                    reader.unsupported(
                        place,
                        "data sources of an external JNDI directory are not supported",
                        Some("write url, user and password, or a data source in deployment.toml"),
                    );
                }
                Some("property") => property(reader, child, &mut def),
                _ => POOL.refuse(reader, child),
            }
        }
        let from = match (named, url) {
            (Some((name, place)), _) => From::Named(name, place),
            (None, Some(url)) => {
                if let Text::Literal(text) = &url
                    && let Err(problem) = database(text.expose(), None, None)
                {
                    let place = reader
                        .child(pool, "url")
                        .map_or_else(|| place.clone(), |child| reader.place(child));
                    reader.unsupported(
                        place,
                        problem,
                        Some("PostgreSQL, MySQL, MariaDB and SQLite are supported"),
                    );
                }
                From::Address {
                    url,
                    user,
                    password,
                }
            }
            (None, None) => {
                if reader.errors() == before {
                    reader.error(
                        codes::MISSING_ELEMENT,
                        place.clone(),
                        "<pool> needs <url> or <dsName>",
                    );
                }
                return None;
            }
        };
        Some(ConnectionDef {
            from,
            pool: def,
            place,
        })
    }

    /// Looks up what is written elsewhere.
    ///
    /// # Errors
    /// What is not there or not understood, and where it is written.
    pub(super) fn resolve(&self, linker: &Linker<'_>) -> Result<Source, (Place, String)> {
        let mut pool = self.pool.clone();
        let (label, url, user, password) = match &self.from {
            From::Named(name, place) => {
                let found = data_source(linker.settings, name).ok_or_else(|| {
                    (
                        place.clone(),
                        format!("there is no data source \"{name}\" in deployment.toml"),
                    )
                })?;
                pool.max_active = found.max_active.unwrap_or(pool.max_active);
                (
                    Some(name.clone()),
                    found.url.clone(),
                    found.username.clone(),
                    found.password.as_ref().map(|p| p.expose().to_owned()),
                )
            }
            From::Address {
                url,
                user,
                password,
            } => {
                let read =
                    |text: &Option<Text>| text.as_ref().map(|t| t.resolve(linker)).transpose();
                (None, url.resolve(linker)?, read(user)?, read(password)?)
            }
        };
        let kind = database(&url, user.as_deref(), password.as_deref())
            .map_err(|problem| (self.place.clone(), problem))?;
        let name = label.unwrap_or_else(|| bare(&url).to_owned());
        let mut hash = Sha256::new();
        for part in [
            url.as_str(),
            user.as_deref().unwrap_or("\0"),
            password.as_deref().unwrap_or("\0"),
            &format!("{pool:?}"),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let identity: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Source {
            name,
            options: Options {
                kind,
                auto_commit: pool.auto_commit,
                isolation: pool.isolation,
                max_active: pool.max_active,
                min_idle: pool.min_idle,
                max_wait: pool.max_wait,
                test_on_borrow: pool.test_on_borrow,
                identity,
            },
        })
    }
}

fn data_source<'a>(
    settings: &'a Settings,
    name: &str,
) -> Option<&'a crate::settings::DataSourceSettings> {
    let id = name.strip_prefix("java:comp/env/").unwrap_or(name);
    let id = id.strip_prefix("jdbc/").unwrap_or(id);
    settings.data_sources.iter().find(|d| d.id == id)
}

impl Text {
    fn resolve(&self, linker: &Linker<'_>) -> Result<String, (Place, String)> {
        match self {
            Text::Literal(text) => Ok(text.expose().to_owned()),
            Text::Key(key, place) => match crate::expr::entries::find(&linker.entries, key) {
                Some(entry) => Ok(entry.text().trim().to_owned()),
                None => Err((place.clone(), format!("there is no local entry \"{key}\""))),
            },
        }
    }
}

/// A field of the connection; `None` after an error. Its text may be a variable of the deployment.
fn text(reader: &mut Reader, element: Element<'_, '_>) -> Option<Text> {
    URL.check(reader, element);
    Some(match element.attribute("key") {
        Some(key) => Text::Key(key.to_owned(), reader.attribute_place(element, "key")),
        None => Text::Literal(Secret::new(literal(reader, element)?)),
    })
}

fn literal(reader: &mut Reader, element: Element<'_, '_>) -> Option<String> {
    let place = reader.place(element);
    variable::resolve(reader, &place, &text_of(element))
}

fn property(reader: &mut Reader, element: Element<'_, '_>, pool: &mut PoolDef) {
    PROPERTY.check(reader, element);
    let (Some(name), Some(value)) = (
        reader.required(element, "name"),
        reader.required(element, "value"),
    ) else {
        return;
    };
    let value = value.trim();
    let number = |reader: &mut Reader| match value.parse::<i64>() {
        Ok(number) => Some(number),
        Err(_) => {
            let place = reader.attribute_place(element, "value");
            let text = format!("\"{value}\" is not a number");
            reader.error(codes::INVALID_VALUE, place, text);
            None
        }
    };
    match name {
        "autocommit" => pool.auto_commit = !value.eq_ignore_ascii_case("false"),
        "isolation" => pool.isolation = reader.one_of(element, "value", ISOLATION),
        "maxactive" => {
            // Zero and less mean no limit, which the settings then give.
            if let Some(most) = number(reader) {
                pool.max_active = u32::try_from(most)
                    .ok()
                    .filter(|n| *n > 0)
                    .unwrap_or(u32::MAX);
            }
        }
        "minidle" => {
            if let Some(least) = number(reader) {
                pool.min_idle = u32::try_from(least).unwrap_or(0);
            }
        }
        "maxwait" => {
            let wait = number(reader).and_then(|n| u64::try_from(n).ok());
            pool.max_wait = wait.map(Duration::from_millis);
        }
        "testonborrow" => pool.test_on_borrow = !value.eq_ignore_ascii_case("false"),
        name if WITHOUT_EFFECT.contains(&name) => {}
        name => {
            let place = reader.attribute_place(element, "name");
            reader.warning(
                codes::UNKNOWN_ATTRIBUTE,
                place,
                format!("\"{name}\" is not a property of the pool; it has no effect"),
            );
        }
    }
}

/// An address without what follows `?` or `;`, where passwords may stand.
fn bare(url: &str) -> &str {
    let end = url.find(['?', ';']).unwrap_or(url.len());
    url.get(..end).unwrap_or_default()
}

/// The database of a JDBC address.
fn database(url: &str, user: Option<&str>, password: Option<&str>) -> Result<Kind, String> {
    let unknown = || format!("the database {} is not supported", bare(url));
    let rest = url.strip_prefix("jdbc:").ok_or_else(unknown)?;
    let (scheme, rest) = rest.split_once(':').ok_or_else(unknown)?;
    if scheme == "sqlite" {
        let path = rest.split('?').next().unwrap_or_default();
        let in_memory = path == ":memory:" || path.is_empty();
        let options = SqliteConnectOptions::new()
            .filename(if in_memory { ":memory:" } else { path })
            .create_if_missing(true)
            .foreign_keys(false)
            .disable_statement_logging();
        return Ok(Kind::Sqlite(Box::new(options), in_memory));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let fields: Vec<(String, String)> = form::fields(query.as_bytes(), Charset::UTF_8).collect();
    let field = |name: &str| {
        fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    let user = user.filter(|u| !u.is_empty()).or_else(|| field("user"));
    let password = password
        .filter(|p| !p.is_empty())
        .or_else(|| field("password"));
    let (authority, name) = match place.strip_prefix("//") {
        Some(place) => place.split_once('/').unwrap_or((place, "")),
        None => ("", place),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let number: u16 = port
                .parse()
                .map_err(|_| format!("{} has no valid port", bare(url)))?;
            (host, Some(number))
        }
        _ => (authority, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "localhost" } else { host };
    match scheme {
        "postgresql" => {
            let mut options = PgConnectOptions::new_without_pgpass()
                .host(host)
                .port(port.unwrap_or(5432))
                .application_name("myelin")
                .ssl_mode(match field("sslmode") {
                    Some("disable") => PgSslMode::Disable,
                    Some("allow") => PgSslMode::Allow,
                    Some("require") => PgSslMode::Require,
                    Some("verify-ca") => PgSslMode::VerifyCa,
                    Some("verify-full") => PgSslMode::VerifyFull,
                    _ if field("ssl") == Some("true") => PgSslMode::VerifyFull,
                    _ => PgSslMode::Prefer,
                })
                .disable_statement_logging();
            if !name.is_empty() {
                options = options.database(name);
            }
            if let Some(schema) = field("currentSchema") {
                options = options.options([("search_path", schema)]);
            }
            if let Some(user) = user {
                options = options.username(user);
            }
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(Kind::Postgres(Box::new(options)))
        }
        "mysql" | "mariadb" => {
            let mut options = MySqlConnectOptions::new()
                .host(host)
                .port(port.unwrap_or(3306))
                .ssl_mode(match (field("sslMode"), field("useSSL")) {
                    (Some(m), _) if m.eq_ignore_ascii_case("disabled") => MySqlSslMode::Disabled,
                    (Some(m), _) if m.eq_ignore_ascii_case("required") => MySqlSslMode::Required,
                    (Some(m), _) if m.eq_ignore_ascii_case("verify_ca") => MySqlSslMode::VerifyCa,
                    (Some(m), _) if m.eq_ignore_ascii_case("verify_identity") => {
                        MySqlSslMode::VerifyIdentity
                    }
                    (None, Some("false")) => MySqlSslMode::Disabled,
                    _ => MySqlSslMode::Preferred,
                })
                // What the server is set to stays.
                .pipes_as_concat(false)
                .no_engine_substitution(false)
                .timezone(None)
                .disable_statement_logging();
            if !name.is_empty() {
                options = options.database(name);
            }
            if let Some(user) = user {
                options = options.username(user);
            }
            if let Some(password) = password {
                options = options.password(password);
            }
            Ok(Kind::MySql(Box::new(options)))
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        match database(url, Some("u"), None) {
            Ok(Kind::Postgres(o)) => format!(
                "postgres {}:{} {} {}",
                o.get_host(),
                o.get_port(),
                o.get_database().unwrap_or_default(),
                o.get_username()
            ),
            Ok(Kind::MySql(o)) => format!("mysql {}", o.to_url_lossy()),
            Ok(Kind::Sqlite(o, memory)) => format!("sqlite {:?} {memory}", o.get_filename()),
            Err(problem) => problem,
        }
    }

    #[test]
    fn jdbc_addresses() {
        for (url, expected) in [
            (
                "jdbc:postgresql://db:5433/shop?ssl=false",
                "postgres db:5433 shop u",
            ),
            ("jdbc:postgresql:shop", "postgres localhost:5432 shop u"),
            ("jdbc:postgresql://[::1]/shop", "postgres ::1:5432 shop u"),
            (
                "jdbc:sqlite:/data/x.db?cache=shared",
                "sqlite \"/data/x.db\" false",
            ),
            ("jdbc:sqlite::memory:", "sqlite \":memory:\" true"),
            (
                "jdbc:h2:mem:x;PASSWORD=secret",
                "the database jdbc:h2:mem:x is not supported",
            ),
            (
                "jdbc:oracle:thin:@//db:1521/x",
                "the database jdbc:oracle:thin:@//db:1521/x is not supported",
            ),
            (
                "postgres://db/x",
                "the database postgres://db/x is not supported",
            ),
            (
                "jdbc:mysql://db:many/x?password=secret",
                "jdbc:mysql://db:many/x has no valid port",
            ),
        ] {
            assert_eq!(shown(url), expected);
        }
        let mysql = shown("jdbc:mariadb://db/shop?useSSL=false");
        assert!(mysql.starts_with("mysql mysql://u@db:3306/shop"), "{mysql}");
    }
}
