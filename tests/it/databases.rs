//! The cases of `tests/cases/db` and `tests/databases` on servers, when there are any.
//!
//! `MYELIN_TEST_POSTGRES_URL` and `MYELIN_TEST_MYSQL_URL` are JDBC addresses of databases in which
//! the tests may create and drop tables.

use crate::cases::{folders, in_runtime_with, root};
use std::path::Path;

/// The address that the cases are written with.
const WRITTEN: &str = "jdbc:sqlite::memory:";

/// Cases that say the same on every database.
const COMMON: &[&str] = &[
    "rows",
    "parameters-are-values",
    "transaction",
    "errors",
    "parallel",
];

#[allow(
    clippy::print_stdout,
    reason = "a test that does nothing should say so"
)]
fn on_server(variable: &str, own: &str) {
    let Ok(url) = std::env::var(variable) else {
        println!("skipped: {variable} is not set");
        return;
    };
    let url = url.replace('&', "&amp;");
    let mut all: Vec<_> = COMMON.iter().map(|c| root().join("db").join(c)).collect();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    folders(&manifest.join("tests/databases").join(own), &mut all);
    // One after another: they use the same tables.
    let problems: Vec<String> = all
        .iter()
        .filter_map(|folder| {
            let outcome = in_runtime_with(folder, &[(WRITTEN, &url)]);
            let problem = outcome.err()?;
            Some(format!("===== {}\n{problem}", folder.display()))
        })
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn postgres() {
    on_server("MYELIN_TEST_POSTGRES_URL", "postgres");
}

#[test]
fn mysql() {
    on_server("MYELIN_TEST_MYSQL_URL", "mysql");
}
