//! Databases: limits of their use, and the data sources that artifacts name.

use super::load::{AT_LEAST, set};
use super::read::Reader;
use super::units::Unit::Milliseconds;
use super::{DataSourceSettings, Settings};

/// Reads what is about databases.
pub(super) fn database(r: &Reader<'_>, s: &mut Settings) {
    let database = &mut s.database;
    set(
        &mut database.timeout,
        r.duration(&["myelin.database_timeout"], Milliseconds, AT_LEAST),
    );
    set(
        &mut database.pool_wait,
        r.duration(&["myelin.database_wait"], Milliseconds, AT_LEAST),
    );
    set(
        &mut database.max_connections,
        r.size(&["myelin.max_database_connections"], 1),
    );
    s.data_sources = r.tables("datasource", |r| {
        r.use_all_below("pool_options");
        r.use_all_below("jdbc");
        // The address says which driver it is.
        let _ = r.text(&["driver"]);
        let username = r.optional_text(&["username"]);
        let password = r.secret(&["password"]);
        let max_active = r.size(
            &["pool_options.maxActive", "jdbc.pool_options.maxActive"],
            1,
        );
        let id = r.required("id", r.optional_text(&["id"]));
        let url = r.required("url", r.optional_text(&["url"]));
        Some(DataSourceSettings {
            id: id?,
            url: url?,
            username,
            password,
            max_active,
        })
    });
    for (index, source) in s.data_sources.iter().enumerate() {
        let earlier = s.data_sources.iter().take(index);
        if earlier.filter(|other| other.id == source.id).count() > 0 {
            let text = format!("datasource: two have the id \"{}\"", source.id);
            r.error("datasource", text);
        }
    }
}
