//! `<dblookup>` and `<dbreport>`: SQL statements with values from the message (spec 04 §9.3).

mod connection;
mod pool;
mod value;

use self::connection::{ConnectionDef, Source};
use self::pool::{Database, Pool, Session};
use self::value::{Param, SqlType, TYPES};
use super::list::build;
use super::{Boxed, Context, Definition, Flow, Linker, MediateAsync, Run, Spec};
use crate::diag::{Diagnostic, codes};
use crate::expr::Expr;
use crate::mediator::describe::{Area, Attr, Content, Doc, Needs, Tag};
use crate::message::{Fault, Message, Value};
use crate::syntax::{Element, Reader, text_of};
use std::sync::Arc;

/// The row of `<dblookup>`.
pub(super) const LOOKUP: Spec = Spec {
    name: "dblookup",
    summary: "Reads one row of a database into properties.",
    doc: LOOKUP_DOC,
    parse: |reader, element| parse(reader, element, Work::Lookup),
};

/// The row of `<dbreport>`.
pub(super) const REPORT: Spec = Spec {
    name: "dbreport",
    summary: "Writes to a database.",
    doc: REPORT_DOC,
    parse: |reader, element| parse(reader, element, Work::Report),
};

const SQL: Tag =
    Tag::child("sql", "The statement, with `?` for each parameter.").holds(Content::Text);

const PARAMETER: Tag = Tag::child(
    "parameter",
    "Value of a `?`, in their order. It is always a value, never a part of the statement.",
)
.with(&[
    Attr::text(
        "value",
        "The value. One of `value` and `expression` is needed.",
    ),
    Attr::expression("expression", "Gives the value."),
    Attr::words(
        "type",
        &[
            "CHAR",
            "VARCHAR",
            "LONGVARCHAR",
            "NUMERIC",
            "DECIMAL",
            "BIT",
            "TINYINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "REAL",
            "FLOAT",
            "DOUBLE",
            "DATE",
            "TIME",
            "TIMESTAMP",
        ],
        "SQL type.",
    )
    .required(),
]);

const RESULT: Tag = Tag::child(
    "result",
    "A column of the first row that becomes a property. `<dblookup>` only.",
)
.with(&[
    Attr::text("name", "Name of the property.").required(),
    Attr::text("column", "Name of the column, or its number from 1.").required(),
]);

const STATEMENT: Tag = Tag::child("statement", "A statement. Several run in their order.")
    .of(&[&SQL, &PARAMETER, &RESULT]);

const LOOKUP_ROOT: Tag = Tag::mediator(
    "dblookup",
    "Reads from a database. Columns of the first row become properties, as text; NULL and a missing row set nothing.",
)
.of(&[&connection::CONNECTION, &STATEMENT]);

const REPORT_ROOT: Tag = Tag::mediator("dbreport", "Writes to a database.")
    .with(&[Attr::truth(
        "useTransaction",
        "`true`: all statements are one transaction.",
    )])
    .of(&[&connection::CONNECTION, &STATEMENT]);

const REMARKS: &[&str] = &[
    "PostgreSQL, MySQL, MariaDB and SQLite. Connections are pooled; equal settings share a pool.",
    "A `[[datasource]]` of `deployment.toml` keeps credentials out of artifacts: write its `id` into `<dsName>`.",
    "`<url>`, `<user>`, `<password>` and `<dsName>` may be variables of the deployment: `$SYSTEM:NAME`, `$FILE:NAME` or `${configs.NAME}`.",
    "A database that does not answer is a fault after `[myelin] database_timeout`.",
];

const LOOKUP_DOC: Doc = Doc {
    group: Area::Data,
    body: Needs::Whole,
    forms: &[&LOOKUP_ROOT],
    remarks: REMARKS,
};

const REPORT_DOC: Doc = Doc {
    group: Area::Data,
    body: Needs::Whole,
    forms: &[&REPORT_ROOT],
    remarks: &[
        REMARKS[0],
        REMARKS[1],
        REMARKS[2],
        REMARKS[3],
        "The number of rows that the last statement changed is in the property `DBREPORT_MODIFIED_RAW_COUNT`.",
    ],
};

/// The property that `<dbreport>` says the number of changed rows of its last statement in; its name is written like
/// this.
const CHANGED_ROWS: &str = "DBREPORT_MODIFIED_RAW_COUNT";

/// What a statement did.
enum Done {
    /// The wanted columns of the first row, if there was one.
    Row(Option<Vec<Option<String>>>),
    /// So many rows were changed.
    Changed(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Lookup,
    Report,
}

/// A statement as it is written.
#[derive(Debug)]
struct Statement {
    sql: String,
    parameters: Vec<Parameter>,
    /// Property and column.
    results: Vec<(String, Column)>,
}

#[derive(Debug)]
struct Parameter {
    kind: SqlType,
    value: ParameterValue,
}

#[derive(Debug)]
enum ParameterValue {
    Literal(String),
    Expr(Expr),
}

/// A column of a result.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// By its number, from 1.
    Number(usize),
    /// By its name; case does not count.
    Name(String),
}

#[derive(Debug)]
struct DbDef {
    work: Work,
    connection: ConnectionDef,
    statements: Arc<Vec<Statement>>,
    /// All statements are one transaction.
    together: bool,
}

fn parse(reader: &mut Reader, element: Element<'_, '_>, work: Work) -> Option<Arc<dyn Definition>> {
    let root = match work {
        Work::Lookup => &LOOKUP_ROOT,
        Work::Report => &REPORT_ROOT,
    };
    root.check(reader, element);
    let before = reader.errors();
    let together = element
        .attribute("useTransaction")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let mut connection = None;
    let mut statements = Vec::new();
    let name = element.tag_name().name();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("connection") => connection = ConnectionDef::parse(reader, child),
            Some("statement") => statements.extend(statement(reader, child, work)),
            Some("description") => {}
            _ => root.refuse(reader, child),
        }
    }
    if reader.errors() == before {
        let missing = match (&connection, statements.is_empty()) {
            (None, _) => Some("<connection> with a <pool>"),
            (_, true) => Some("at least one <statement>"),
            _ => None,
        };
        if let Some(missing) = missing {
            let place = reader.place(element);
            let text = format!("<{name}> needs {missing}");
            reader.error(codes::MISSING_ELEMENT, place, text);
        }
    }
    let connection = connection?;
    (reader.errors() == before).then(|| {
        Arc::new(DbDef {
            work,
            connection,
            statements: Arc::new(statements),
            together,
        }) as Arc<dyn Definition>
    })
}

fn statement(reader: &mut Reader, element: Element<'_, '_>, work: Work) -> Option<Statement> {
    STATEMENT.check(reader, element);
    let mut sql = String::new();
    let mut parameters = Vec::new();
    let mut results = Vec::new();
    for child in reader.children(element) {
        match reader.name(child) {
            Some("sql") => sql = text_of(child),
            Some("parameter") => parameters.extend(parameter(reader, child)),
            Some("result") => {
                RESULT.check(reader, child);
                let name = reader.required(child, "name").map(str::to_owned);
                let column = reader.required(child, "column").map(str::trim);
                if work == Work::Report {
                    let place = reader.place(child);
                    reader.warning(
                        codes::CONFLICT,
                        place,
                        "<result> has no effect in <dbreport>; use <dblookup>",
                    );
                }
                if let (Some(name), Some(column)) = (name, column) {
                    let column = match column.parse::<usize>() {
                        Ok(number) => Column::Number(number),
                        Err(_) => Column::Name(column.to_owned()),
                    };
                    results.push((name, column));
                }
            }
            _ => STATEMENT.refuse(reader, child),
        }
    }
    if sql.is_empty() {
        let place = reader.place(element);
        reader.error(
            codes::MISSING_ELEMENT,
            place,
            "<statement> needs <sql> with a statement",
        );
        return None;
    }
    Some(Statement {
        sql,
        parameters,
        results,
    })
}

fn parameter(reader: &mut Reader, element: Element<'_, '_>) -> Option<Parameter> {
    PARAMETER.check(reader, element);
    reader.required(element, "type");
    let kind = reader.one_of(element, "type", TYPES);
    let value = match (
        element.attribute("value"),
        element.has_attribute("expression"),
    ) {
        (Some(text), false) => Some(ParameterValue::Literal(text.to_owned())),
        (None, true) => reader
            .expression(element, "expression")
            .map(ParameterValue::Expr),
        _ => {
            let place = reader.place(element);
            reader.error(
                codes::MISSING_ATTRIBUTE,
                place,
                "<parameter> needs one of \"value\" and \"expression\"",
            );
            None
        }
    };
    let (kind, value) = (kind?, value?);
    if let ParameterValue::Literal(text) = &value
        && let Err(problem) = Param::read(kind, text)
    {
        let place = reader.attribute_place(element, "value");
        reader.error(codes::INVALID_VALUE, place, problem);
    }
    Some(Parameter { kind, value })
}

impl Definition for DbDef {
    fn link(&self, linker: &mut Linker<'_>) -> Run {
        let (name, pool) = match self.connection.resolve(linker) {
            Ok(Source { name, options }) => {
                let numbered = options.numbered_placeholders();
                let pool: Arc<Pool> = linker.stores.shared("pool", &options.identity(), 0);
                pool.configure(
                    options,
                    linker.stores.shared::<Database>("databases", "", 0),
                );
                (name, Ok((pool, numbered)))
            }
            Err((place, problem)) => {
                linker.diagnostics.push(Diagnostic::error(
                    codes::INVALID_VALUE,
                    place,
                    problem.clone(),
                ));
                (String::new(), Err(problem))
            }
        };
        let numbered = matches!(&pool, Ok((_, true)));
        let sql = self
            .statements
            .iter()
            .map(|s| {
                if numbered {
                    pool::number_placeholders(&s.sql).into()
                } else {
                    s.sql.as_str().into()
                }
            })
            .collect();
        Run::Wait(Box::new(Db {
            work: self.work,
            name,
            pool: pool.map(|(pool, _)| pool),
            sql,
            statements: self.statements.clone(),
            together: self.together,
        }))
    }
}

#[derive(Debug)]
struct Db {
    work: Work,
    /// Of the data source, for messages.
    name: String,
    pool: Result<Arc<Pool>, String>,
    /// The statements' texts in the database's own form.
    sql: Vec<Arc<str>>,
    statements: Arc<Vec<Statement>>,
    together: bool,
}

impl MediateAsync for Db {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                build(cx, message).await?;
            }
            let pool = self
                .pool
                .as_ref()
                .map_err(|problem| Fault::mediation(problem.clone()))?;
            let limit = cx.services.settings.database.timeout;
            let mut session = None;
            for (statement, sql) in self.statements.iter().zip(&self.sql) {
                let outcome = self
                    .execute(cx, message, pool, &mut session, statement, sql)
                    .await;
                if let Err(problem) = outcome {
                    // Dropping the session rolls back.
                    return Err(self.fault(statement, problem));
                }
            }
            if let (Some(session), Some(last)) = (session, self.statements.last()) {
                pool.run(limit, session.commit())
                    .await
                    .map_err(|problem| self.fault(last, problem))?;
            }
            Ok(Flow::Continue)
        })
    }
}

impl Db {
    async fn execute(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        pool: &Arc<Pool>,
        session: &mut Option<Session>,
        statement: &Statement,
        sql: &Arc<str>,
    ) -> Result<(), String> {
        let settings = &cx.services.settings.database;
        let params = parameters(cx, message, statement)?;
        let columns: Option<Vec<Column>> = (self.work == Work::Lookup)
            .then(|| statement.results.iter().map(|(_, c)| c.clone()).collect());
        let most = cx.services.limits.max_bytes;
        let together = self.together;
        let (pool_, sql) = (pool.clone(), sql.clone());
        let held = session.take();
        let wait = settings.pool_wait;
        let most_connections = settings.max_connections;
        let work = async move {
            let mut held = match held {
                Some(held) => held,
                None => pool_.begin(together, wait, most_connections).await?,
            };
            let outcome = match columns {
                Some(columns) => Done::Row(held.first_row(&sql, params, &columns, most).await?),
                None => Done::Changed(held.execute(&sql, params).await?),
            };
            if together {
                return Ok((Some(held), outcome));
            }
            held.commit().await?;
            Ok((None, outcome))
        };
        let (held, done) = pool.run(settings.timeout, work).await?;
        *session = held;
        let row = match done {
            Done::Row(Some(row)) => row,
            Done::Row(None) => {
                tracing::debug!(target: "DBLookupMediator", "Statement : {} returned 0 rows", statement.sql);
                return Ok(());
            }
            Done::Changed(rows) => {
                let rows = i32::try_from(rows).unwrap_or(i32::MAX);
                message.properties.set(CHANGED_ROWS, Value::Integer(rows));
                return Ok(());
            }
        };
        for ((property, _), value) in statement.results.iter().zip(row) {
            if let Some(value) = value {
                message.properties.set(property, value);
            }
        }
        Ok(())
    }

    fn fault(&self, statement: &Statement, problem: String) -> Fault {
        let what = match self.work {
            Work::Lookup => "SQL Exception occurred while executing statement",
            Work::Report => "SQL Error while executing insert statement",
        };
        let sql = statement.sql.split_whitespace().collect::<Vec<_>>();
        let mut fault = Fault::mediation(format!(
            "{what} : {} against DataSource : {}",
            sql.join(" "),
            self.name
        ));
        fault.detail = Some(problem);
        fault
    }
}

fn parameters(
    cx: Context<'_>,
    message: &Message,
    statement: &Statement,
) -> Result<Vec<Param>, String> {
    statement
        .parameters
        .iter()
        .map(|parameter| match &parameter.value {
            ParameterValue::Literal(text) => Param::read(parameter.kind, text),
            ParameterValue::Expr(expr) => {
                let text = expr.string(&cx.scope(message)).map_err(|f| f.message)?;
                match text {
                    Some(text) => Param::read(parameter.kind, &text),
                    None => Ok(Param::null(parameter.kind)),
                }
            }
        })
        .collect()
}
