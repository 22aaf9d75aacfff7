//! `[management_api]`, `[[internal_apis.users]]` and the protocols of the internal ports.

use super::load::set;
use super::read::Reader;
use super::units::Unit::Seconds;
use super::{AdminSettings, AdminUser, Protocols, Settings};
use std::net::IpAddr;
use std::time::Duration;

/// The management API and its users, probes and metrics.
pub(super) fn admin(r: &Reader<'_>, s: &mut Settings) {
    let admin = &mut s.admin;
    let enabled = [
        "mediation.internal_http_api_enable",
        "synapse_properties.internal.http.api.enabled",
    ];
    set(&mut admin.enabled, r.bool(&enabled));
    let protocols = |field: &mut Protocols, key: &str| {
        let Some(text) = r.text(&[key]) else { return };
        let words: Vec<_> = text.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let has = |name: &str| words.iter().any(|w| w.eq_ignore_ascii_case(name));
        *field = Protocols {
            http: has("http"),
            https: has("https"),
        };
        if words
            .iter()
            .any(|w| !["http", "https"].contains(&w.to_ascii_lowercase().as_str()))
        {
            r.error(
                key,
                format!("{key}: {text:?} is not \"http\", \"https\" or \"https http\""),
            );
        }
    };
    protocols(&mut admin.management, "management_api.protocols");
    protocols(&mut admin.metrics, "prometheus_api.protocols");
    protocols(&mut admin.readiness, "readiness_probe.protocols");
    protocols(&mut admin.liveness, "liveness_probe.protocols");
    let users = r.tables("internal_apis.users", |r| {
        let is_admin = r.bool(&["user.is_admin"]).unwrap_or(false);
        let name = r.required("user.name", r.optional_text(&["user.name"]));
        let password = r.required("user.password", r.secret(&["user.password"]));
        Some(AdminUser {
            name: name?,
            password: password?,
            is_admin,
        })
    });
    if !users.is_empty() {
        admin.users = users;
    }
    set(
        &mut admin.non_admin_read_only,
        r.bool(&["user_access.make_non_admin_users_read_only"]),
    );
    let expiry = "management_api.jwt_token_security_handler.token_config.expiry";
    set(
        &mut admin.token_expiry,
        r.duration(&[expiry], Seconds, Duration::from_secs(1)),
    );
    let tokens = "management_api.jwt_token_security_handler.token_store_config.max_size";
    set(&mut admin.max_tokens, r.size(&[tokens], 1));
    if let Some(origins) = r.optional_text(&["management_api.cors.allowed_origins"]) {
        admin.cors_origins = Some(origins);
    }
    set(
        &mut admin.cors_headers,
        r.optional_text(&["management_api.cors.allowed_headers"]),
    );
    if r.bool(&["management_api.cors.enable"]) == Some(false) {
        admin.cors_origins = None;
    }
    let bind = "myelin.management_bind_address";
    admin.bind_address = r.optional_text(&[bind]);
    let Some(text) = &admin.bind_address else {
        return;
    };
    match text.parse::<IpAddr>() {
        Err(_) => r.error(bind, format!("{bind}: {text:?} is not an address")),
        Ok(address) if !address.is_loopback() && admin.users == AdminSettings::default().users => {
            r.error(
                bind,
                format!(
                    "{bind}: the default password is for this machine only; set [[internal_apis.users]]"
                ),
            );
        }
        Ok(_) => {}
    }
}
