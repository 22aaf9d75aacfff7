//! `deployment.toml` to [`Settings`].

use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use redis::IntoConnectionInfo;
use toml::de::DeTable;

use super::admin::admin;
use super::database::database;
use super::environment::Environment;
use super::error::{MAX_FILE_BYTES, SettingsError, SettingsProblem, SettingsWarning};
use super::mediators;
use super::read::{Document, Finding, Reader, flatten};
use super::units::Unit::{Milliseconds, Seconds};
use super::{
    EndpointPolicy, HostnameVerifier, Properties, ProxyProfile, ProxySettings, RedisSettings,
    Secret, Settings, Unsupported, VerifyClient,
};

/// Reads `deployment.toml` with the environment of this process. `None` yields the defaults.
pub fn load(path: Option<&Path>) -> Result<(Settings, Vec<SettingsWarning>), SettingsError> {
    load_with(path, &Environment::of_process())
}

/// Reads `deployment.toml`. `None` yields the defaults, with the system properties applied.
pub fn load_with(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(Settings, Vec<SettingsWarning>), SettingsError> {
    let Some(path) = path else {
        return parse(Path::new("deployment.toml"), "", environment);
    };
    let read = |error| SettingsError::Read {
        file: path.to_owned(),
        error,
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits" without trusting the size
    // the file system reports.
    std::fs::File::open(path)
        .map_err(read)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLarge {
            file: path.to_owned(),
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| SettingsError::NotText {
        file: path.to_owned(),
    })?;
    let (mut settings, warnings) = parse(path, &text, environment)?;
    settings.file_properties = file_properties(&path.with_file_name("file.properties"))?;
    Ok((settings, warnings))
}

/// The properties of scope `file`; none when there is no such file.
fn file_properties(path: &Path) -> Result<Properties, SettingsError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Properties::default());
        }
        Err(error) => {
            return Err(SettingsError::Read {
                file: path.to_owned(),
                error,
            });
        }
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLarge {
            file: path.to_owned(),
        });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Properties::read(text)),
        Err(_) => Err(SettingsError::NotText {
            file: path.to_owned(),
        }),
    }
}

/// Reads settings from text. `file` stands in messages and its directory is where relative paths
/// start.
pub fn parse(
    file: &Path,
    text: &str,
    environment: &Environment,
) -> Result<(Settings, Vec<SettingsWarning>), SettingsError> {
    let problem = |finding: Finding| {
        let (line, column) = position(text, finding.at);
        let Finding { key, message, .. } = finding;
        SettingsProblem {
            key,
            file: file.to_owned(),
            line,
            column,
            message,
        }
    };
    let document = DeTable::parse(text).map_err(|e| SettingsError::Invalid {
        problems: vec![problem(Finding {
            at: e.span().map_or(0, |s| s.start),
            key: String::new(),
            message: e.message().to_owned(),
        })],
    })?;
    let mut errors = Vec::new();
    let root = flatten(document.get_ref(), &mut errors);
    let document = Document {
        root: &root,
        environment,
        errors: errors.into(),
        warnings: Vec::new().into(),
    };
    let reader = Reader::new(&document);
    let base = file.parent().unwrap_or(Path::new(""));
    let settings = settings(&reader, base, environment);
    reader.report_unused();
    drop(reader);

    let Document {
        errors, warnings, ..
    } = document;
    let mut errors = errors.into_inner();
    if !errors.is_empty() {
        errors.sort_by_key(|f| f.at);
        let problems = errors.into_iter().map(problem).collect();
        return Err(SettingsError::Invalid { problems });
    }
    let mut warnings = warnings.into_inner();
    warnings.sort_by_key(|(_, f)| f.at);
    let warnings = warnings.into_iter().map(|(kind, finding)| {
        let SettingsProblem {
            key,
            file,
            line,
            column,
            message,
        } = problem(finding);
        SettingsWarning {
            kind,
            key,
            file,
            line,
            column,
            message,
        }
    });
    Ok((settings, warnings.collect()))
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..]
        .trim_start_matches('\u{feff}')
        .chars()
        .count()
        + 1;
    (line, column)
}

pub(super) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Reports something about the one of several keys that is set.
fn present(r: &Reader<'_>, keys: &[&str], message: impl FnOnce(&str) -> String) {
    if let Some(key) = keys.iter().find(|key| r.has(&[key])) {
        r.error(key, message(key));
    }
}

/// Short timeouts are legitimate in tests, none at all is a mistake.
pub(super) const AT_LEAST: Duration = Duration::from_millis(1);

fn settings(r: &Reader<'_>, base: &Path, environment: &Environment) -> Settings {
    let mut s = Settings {
        system_properties: r.all_below("system.parameter").into_iter().collect(),
        synapse_properties: r.all_below("synapse_properties").into_iter().collect(),
        ..Settings::default()
    };
    r.use_all_below("system.parameter");
    for (name, value) in environment.system.iter() {
        s.system_properties.insert(name, value);
    }
    server(r, &mut s);
    ports(r, &mut s);
    http(r, &mut s);
    tls(r, &mut s, base);
    admin(r, &mut s);
    port_conflicts(r, &s);
    endpoint(r, &mut s);
    sessions(r, &mut s);
    endpoint_policy(r, &mut s);
    json(r, &mut s);
    s.media = super::media::read(r);
    limits(r, &mut s);
    database(r, &mut s);
    mediators::read(r, &mut s);
    s
}

fn server(r: &Reader<'_>, s: &mut Settings) {
    let server = &mut s.server;
    set(&mut server.hostname, r.optional_text(&["server.hostname"]));
    set(
        &mut server.name,
        r.optional_text(&["server.synapse_config_server_name"]),
    );
    if let Some(path) = r.optional_text(&["server.service_path"]) {
        server.service_path = path.trim_matches('/').to_owned();
    }
    let timeout = [
        "server.graceful_shutdown_timeout",
        "server.gracefulShutdownTimeout",
    ];
    set(
        &mut server.shutdown_timeout,
        r.duration(&timeout, Milliseconds, Duration::ZERO),
    );
    let enabled = [
        "server.graceful_shutdown_enabled",
        "server.gracefulShutdownEnabled",
    ];
    if r.bool(&enabled) == Some(false) {
        server.shutdown_timeout = Duration::ZERO;
    }
    set(
        &mut server.workers,
        r.integer(&["myelin.workers"], 0..=256)
            .and_then(|n| n.try_into().ok()),
    );
    set(
        &mut s.deploy.hot_deployment,
        r.bool(&["server.hot_deployment"]),
    );
}

/// Two listeners on one port: found here because the message of the system names neither key.
fn port_conflicts(r: &Reader<'_>, s: &Settings) {
    let mut seen: Vec<(u16, &str)> = Vec::new();
    let listeners = [
        (s.http.enabled, s.http.port, HTTP_PORT[0]),
        (s.http.secured_enabled, s.http.secured_port, HTTPS_PORT[0]),
        (s.admin.enabled, s.admin.port, ADMIN_PORT[0]),
        (s.admin.enabled, s.admin.secured_port, ADMIN_SECURED_PORT[0]),
    ];
    // Port 0 is any free one.
    let taken = |&(enabled, port, _): &(bool, u16, _)| enabled && port != 0;
    for (_, port, key) in listeners.into_iter().filter(taken) {
        if let Some((_, other)) = seen.iter().find(|(p, _)| *p == port) {
            let at = if r.has(&[key]) { key } else { other };
            r.error(
                at,
                format!("\"{key}\" and \"{other}\" are both port {port}"),
            );
        }
        seen.push((port, key));
    }
}

fn ports(r: &Reader<'_>, s: &mut Settings) {
    const OFFSET: &str = "server.offset";
    set(
        &mut s.server.offset,
        r.integer(&[OFFSET], 0..=65535)
            .and_then(|n| n.try_into().ok()),
    );
    if let Some(text) = s.system_properties.get("portOffset") {
        match text.parse() {
            Ok(offset) => s.server.offset = offset,
            Err(_) => r.error(
                "system.parameter.portOffset",
                format!("system property portOffset: {text:?} is not a number from 0 to 65535"),
            ),
        }
    }
    let offset = s.server.offset;
    let offset_reported = Cell::new(false);
    let port = |field: &mut u16, keys: &[&str], base: u16| {
        let base = r
            .integer(keys, 0..=65535)
            .and_then(|n| n.try_into().ok())
            .unwrap_or(base);
        match base.checked_add(offset) {
            Some(sum) => *field = sum,
            None => {
                let key = keys.iter().find(|k| r.has(&[k])).copied().unwrap_or(OFFSET);
                // An offset that is too large for one default port is so for others.
                if key != OFFSET || !offset_reported.replace(true) {
                    r.error(
                        key,
                        format!("port {base} plus offset {offset} is larger than 65535"),
                    );
                }
            }
        }
    };
    port(&mut s.http.port, &HTTP_PORT, 8280);
    port(&mut s.http.secured_port, &HTTPS_PORT, 8243);
    port(&mut s.admin.port, &ADMIN_PORT, 9191);
    port(&mut s.admin.secured_port, &ADMIN_SECURED_PORT, 9154);
}

const HTTP_PORT: [&str; 2] = [
    "transport.http.listener.port",
    "transport.http.listener.parameter.port",
];
const HTTPS_PORT: [&str; 2] = [
    "transport.http.listener.secured_port",
    "transport.https.listener.parameter.port",
];
const ADMIN_PORT: [&str; 2] = [
    "mediation.internal_http_api_port",
    "synapse_properties.internal.http.api.port",
];
const ADMIN_SECURED_PORT: [&str; 2] = [
    "mediation.internal_https_api_port",
    "synapse_properties.internal.https.api.port",
];

fn http(r: &Reader<'_>, s: &mut Settings) {
    let http = &mut s.http;
    set(
        &mut http.enabled,
        r.bool(&["transport.http.listener.enable"]),
    );
    set(
        &mut http.secured_enabled,
        r.bool(&["transport.http.listener.secured_enable"]),
    );
    let address = |keys: [&str; 2]| {
        let text = r.optional_text(&keys)?;
        if text.parse::<std::net::IpAddr>().is_err() {
            present(r, &keys, |key| {
                format!("{key}: {text:?} is not an IP address to listen on")
            });
        }
        Some(text)
    };
    http.bind_address = address([
        "transport.http.listener.bind_address",
        "transport.http.listener.parameter.bind-address",
    ]);
    http.secured_bind_address = address([
        "transport.http.listener.secured_bind_address",
        "transport.https.listener.parameter.bind-address",
    ]);
    http.wsdl_epr_prefix = r.optional_text(&[
        "transport.http.listener.wsdl_epr_prefix",
        "transport.http.listener.parameter.WSDLEPRPrefix",
    ]);
    http.secured_wsdl_epr_prefix = r.optional_text(&[
        "transport.http.listener.secured_wsdl_epr_prefix",
        "transport.https.listener.parameter.WSDLEPRPrefix",
    ]);

    let socket = [
        "transport.http.socket_timeout",
        "passthru_properties.http.socket.timeout",
    ];
    if let Some(timeout) = r.duration(&socket, Milliseconds, Duration::ZERO) {
        http.socket_timeout = timeout;
        // No limit on silence is no reason to wait for a connection without a limit.
        if !timeout.is_zero() {
            http.connection_timeout = (timeout / 2).max(AT_LEAST);
            http.keep_alive_timeout = timeout;
        }
    }
    let connect = [
        "transport.http.connection_timeout",
        "passthru_properties.http.connection.timeout",
    ];
    set(
        &mut http.connection_timeout,
        r.duration(&connect, Milliseconds, AT_LEAST),
    );

    let ours = r.size(&["myelin.max_connections"], 1);
    http.max_open_connections = ours;
    let open = [
        "transport.http.max_open_connections",
        "passthru_properties.max_open_connections",
    ];
    if let Some(cap) = r.cap(&open) {
        if cap == Some(0) {
            present(r, &open, |key| {
                format!("{key}: 0 lets nobody in; -1 means no limit")
            });
        }
        http.max_open_connections = cap.or(ours);
    }
    let per_target = [
        "transport.http.max_http_connection_per_host_port",
        "passthru_properties.http.max.connection.per.host.port",
    ];
    set(&mut http.max_connections_per_target, r.size(&per_target, 1));
    let keep_alive = [
        "transport.http.disable_connection_keepalive",
        "passthru_properties.http.connection.disable.keepalive",
    ];
    set(
        &mut http.keep_alive,
        r.bool(&keep_alive).map(|disabled| !disabled),
    );
    let server = [
        "transport.http.preserve_http_server_name",
        "passthru_properties.http.server.preserve",
    ];
    set(&mut http.preserve_server_header, r.bool(&server));
    let agent = [
        "transport.http.preserve_http_user_agent",
        "passthru_properties.http.user.agent.preserve",
    ];
    set(&mut http.preserve_user_agent, r.bool(&agent));
    let headers = [
        "transport.http.preserve_http_headers",
        "passthru_properties.http.headers.preserve",
    ];
    set(&mut http.preserve_headers, r.list(&headers));
    set(
        &mut http.preserve_response_headers,
        r.list(&["passthru_properties.http.response.headers.preserve"]),
    );
    set(
        &mut http.block_service_list,
        r.bool(&["passthru_properties.http.block_service_list"]),
    );
    set(
        &mut http.close_socket_on_endpoint_timeout,
        r.bool(&["passthru_properties.close_socket_on_endpoint_timeout"]),
    );

    let size = [
        "transport.http.max_message_size_bytes",
        "passthru_properties.valid.max.message.size.in.bytes",
    ];
    let size = r.bytes(&size, 0).unwrap_or(81920);
    let check = [
        "transport.http.enable_message_size_validation",
        "passthru_properties.message.size.validation.enabled",
    ];
    http.max_message_size = (r.bool(&check) == Some(true)).then_some(size);
    set(
        &mut http.content_negotiation,
        r.bool(&["myelin.content_negotiation"]),
    );
    let xml = [
        "transport.http.force_xml_validation",
        "passthru_properties.force.xml.message.validation",
    ];
    set(&mut http.force_xml_validation, r.bool(&xml));
    let json = [
        "transport.http.force_json_validation",
        "passthru_properties.force.json.message.validation",
    ];
    set(&mut http.force_json_validation, r.bool(&json));

    let bypass_hosts = r
        .list(&["transport.http.sender.non_proxy_hosts"])
        .unwrap_or_default();
    let port = r.integer(&["transport.http.sender.proxy_port"], 1..=65535);
    http.proxy = r
        .optional_text(&["transport.http.sender.proxy_host"])
        .map(|host| ProxySettings {
            host,
            port: port.and_then(|p| p.try_into().ok()).unwrap_or(80),
            bypass_hosts,
        });
    http.proxy_profiles = r.tables("transport.http.proxy_profile", |r| {
        let bypass_hosts = r.list(&["bypass_hosts"]).unwrap_or_default();
        let username = r.optional_text(&["proxy_username"]);
        let password = r.secret(&["proxy_password"]);
        let target_hosts = r.required("target_hosts", r.list(&["target_hosts"]));
        let host = r.required("proxy_host", r.optional_text(&["proxy_host"]));
        let port = r.required("proxy_port", r.integer(&["proxy_port"], 1..=65535));
        Some(ProxyProfile {
            target_hosts: target_hosts?,
            host: host?,
            port: port?.try_into().ok()?,
            username,
            password,
            bypass_hosts,
        })
    });

    let duration = |key| r.duration(&[key], Milliseconds, AT_LEAST);
    set(&mut http.header_timeout, duration("myelin.header_timeout"));
    set(
        &mut http.keep_alive_timeout,
        duration("myelin.keep_alive_timeout"),
    );
    set(
        &mut http.idle_timeout,
        duration("myelin.idle_connection_timeout"),
    );
    set(
        &mut http.max_header_bytes,
        r.bytes(&["myelin.max_header_bytes"], 8192),
    );
    set(&mut http.max_headers, r.size(&["myelin.max_headers"], 1));
    set(
        &mut http.max_idle_per_target,
        r.size(&["myelin.max_idle_connections_per_target"], 0),
    );
}

fn tls(r: &Reader<'_>, s: &mut Settings, base: &Path) {
    let path = |key: &str| r.optional_text(&[key]).map(|file| base.join(file));
    let tls = &mut s.tls;
    let pair = |certificate: &str, key: &str| {
        let files = (path(certificate), path(key));
        for (one, other) in [(certificate, key), (key, certificate)] {
            if r.has(&[one]) && !r.has(&[other]) {
                r.error(one, format!("{one}: \"{other}\" is needed as well"));
            }
        }
        files
    };
    (tls.certificate_file, tls.private_key_file) = pair(
        "transport.http.listener.certificate_file",
        "transport.http.listener.private_key_file",
    );
    (tls.backend_certificate_file, tls.backend_private_key_file) = pair(
        "transport.http.sender.certificate_file",
        "transport.http.sender.private_key_file",
    );
    tls.client_ca_file = path("transport.http.listener.ca_file");
    tls.backend_ca_file = path("transport.http.sender.ca_file");
    let verify = "transport.http.listener.verify_client";
    set(
        &mut tls.verify_client,
        r.word(
            &[verify],
            &[
                ("none", VerifyClient::No),
                ("optional", VerifyClient::Optional),
                ("require", VerifyClient::Require),
                ("required", VerifyClient::Require),
            ],
        ),
    );
    if tls.verify_client != VerifyClient::No && tls.client_ca_file.is_none() {
        let message = format!("{verify}: \"transport.http.listener.ca_file\" is needed as well");
        r.error(verify, message);
    }
    set(
        &mut tls.hostname_verifier,
        r.word(
            &["transport.http.sender.hostname_verifier"],
            &[
                ("Default", HostnameVerifier::Strict),
                ("Strict", HostnameVerifier::Strict),
                (
                    "DefaultAndLocalhost",
                    HostnameVerifier::StrictExceptLocalhost,
                ),
                ("AllowAll", HostnameVerifier::AllowAll),
            ],
        ),
    );
    set(
        &mut tls.insecure_skip_verify,
        r.bool(&["myelin.insecure_skip_verify"]),
    );
}

fn endpoint(r: &Reader<'_>, s: &mut Settings) {
    let endpoint = &mut s.endpoint;
    let timeout = [
        "mediation.synapse.global_timeout_interval",
        "synapse_properties.synapse.global_timeout_interval",
    ];
    set(
        &mut endpoint.global_timeout,
        r.duration(&timeout, Milliseconds, AT_LEAST),
    );
    let suspend = ["synapse_properties.synapse.global_endpoint_suspend_duration"];
    if !r.is_minus_one(&suspend) {
        set(
            &mut endpoint.suspend_duration,
            r.duration(&suspend, Milliseconds, Duration::ZERO),
        );
    }
    set(
        &mut endpoint.suspend_factor,
        r.factor(&["synapse_properties.synapse.global_endpoint_suspend_progression_factor"]),
    );
    set(
        &mut endpoint.suspend_override,
        r.bool(&["synapse_properties.synapse.override_endpoint_suspend_config_with_global_values"]),
    );
    set(
        &mut endpoint.sal_session_timeout,
        r.duration(
            &["synapse_properties.synapse.sal.endpoints.sesssion.timeout.default"],
            Milliseconds,
            AT_LEAST,
        ),
    );
    let retries = [
        "mediation.synapse.maximum_failover_retries",
        "synapse_properties.maximum.failover.retries",
    ];
    set(&mut endpoint.max_failover_retries, r.cap(&retries));
    let suspend = [
        "mediation.synapse.suspend_duration_on_maximum_failover",
        "synapse_properties.suspend.duration.on.maximum.failover",
    ];
    set(
        &mut endpoint.suspend_on_max_failover,
        r.duration(&suspend, Milliseconds, Duration::ZERO),
    );
    set(
        &mut endpoint.max_recursive_failover_retries,
        r.cap(&["synapse_properties.maximum.failover.recursive.retries"]),
    );
    set(
        &mut endpoint.suspend_on_max_recursive_failover,
        r.duration(
            &["synapse_properties.suspend.duration.on.maximum.recursive.failover"],
            Milliseconds,
            Duration::ZERO,
        ),
    );
    set(
        &mut endpoint.build_message_on_failover,
        r.bool(&["synapse_properties.build.message.on.failover.enable"]),
    );
    set(
        &mut endpoint.oauth_cache_timeout,
        r.duration(
            &["synapse_properties.synapse.endpoint.http.oauth.cache.timeout"],
            Seconds,
            Duration::ZERO,
        ),
    );
}

fn endpoint_policy(r: &Reader<'_>, s: &mut Settings) {
    for name in EndpointPolicy::names() {
        let key = format!("myelin.endpoint.{name}");
        if let Some(text) = r.scalar(&key)
            && let Err(why) = s.endpoint_policy.set(name, &text)
        {
            r.error(&key, format!("{key}: \"{text}\" {why}"));
        }
    }
}

/// Why an address cannot be used; never the address itself, which may hold a password.
fn check_redis(redis: &RedisSettings) -> Result<(), String> {
    let schemes = ["redis://", "rediss://", "redis+unix://", "unix://"];
    let url = redis.url.expose();
    if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Err("write redis://host:port, or rediss://host:port for TLS".to_owned());
    }
    if redis.is_secure() && url.contains('#') {
        return Err(
            "no fragment goes with rediss; how certificates are checked is said in [transport.http] and [myelin]"
                .to_owned(),
        );
    }
    match redis.plain_url().into_connection_info() {
        Ok(_) => Ok(()),
        Err(_) => Err("write redis://[user:password@]host[:port][/database]".to_owned()),
    }
}

fn sessions(r: &Reader<'_>, s: &mut Settings) {
    let url = r.secret(&["myelin.sessions.redis_url"]);
    let mut redis = RedisSettings::new(url.as_ref().map_or("", Secret::expose));
    if url.is_some()
        && let Err(why) = check_redis(&redis)
    {
        let key = "myelin.sessions.redis_url";
        r.error(key, format!("{key}: not the address of a Redis: {why}"));
    }
    set(
        &mut redis.key_prefix,
        r.text(&["myelin.sessions.key_prefix"]),
    );
    for (field, key) in [
        (
            &mut redis.connect_timeout,
            "myelin.sessions.connect_timeout",
        ),
        (
            &mut redis.command_timeout,
            "myelin.sessions.command_timeout",
        ),
    ] {
        set(field, r.duration(&[key], Milliseconds, AT_LEAST));
    }
    s.sessions = url.is_some().then_some(redis);
}

fn json(r: &Reader<'_>, s: &mut Settings) {
    let json = &mut s.json;
    let mediation = |key: &str, property: &str| {
        [
            format!("mediation.synapse.{key}"),
            format!("synapse_properties.synapse.commons.{property}"),
        ]
    };
    let bool = |key, property| {
        let [a, b] = mediation(key, property);
        r.bool(&[&a, &b])
    };
    let text = |key, property| {
        let [a, b] = mediation(key, property);
        r.text(&[&a, &b]).filter(|t| !t.is_empty())
    };
    set(
        &mut json.auto_primitive,
        bool("enable_auto_primitive", "json.output.autoPrimitive"),
    );
    json.no_primitive_regex = text(
        "disable_auto_primitive_regex",
        "json.output.disableAutoPrimitive.regex",
    );
    json.no_primitive_replace_regex = text(
        "disable_custom_replace_regex",
        "json.json.output.disableAutoPrimitive.customReplaceRegex",
    );
    let expressions = [
        (&json.no_primitive_regex, "disable_auto_primitive_regex"),
        (
            &json.no_primitive_replace_regex,
            "disable_custom_replace_regex",
        ),
    ];
    for (pattern, key) in expressions {
        if let Some(Err(error)) = pattern.as_ref().map(|p| regex::Regex::new(p)) {
            let key = format!("mediation.synapse.{key}");
            r.error(
                &key,
                format!("\"{key}\" is not a usable regular expression: {error}"),
            );
        }
    }
    set(
        &mut json.auto_array,
        bool("json_out_auto_array", "json.output.jsonoutAutoArray"),
    );
    set(
        &mut json.namespace_declarations,
        bool(
            "enable_namespace_declaration",
            "json.output.enableNSDeclarations",
        ),
    );
    set(
        &mut json.valid_nc_names,
        bool("build_valid_nc_name", "json.buildValidNCNames"),
    );
    set(
        &mut json.xml_nil,
        bool("enable_xml_nil", "enableXmlNilReadWrite"),
    );
    set(
        &mut json.preserve_namespace,
        bool(
            "preserve_namespace_on_xml_to_json",
            "json.preserve.namespace",
        ),
    );

    let property = |name: &str| r.bool(&[&format!("synapse_properties.synapse.{name}")]);
    set(
        &mut json.multiple_pi,
        property("commons.json.output.jsonoutMultiplePI"),
    );
    set(
        &mut json.xml_out_multiple_pi,
        property("commons.json.output.xmloutMultiplePI"),
    );
    set(
        &mut json.null_for_empty_element,
        property("commons.enableXmlNullForEmptyElement"),
    );
    set(
        &mut json.processing_instructions,
        property("json.to.xml.processing.instruction.enabled"),
    );
    let separator = "synapse_properties.synapse.commons.json.output.namespaceSepChar";
    set(&mut json.namespace_separator, r.text(&[separator]));
    let replacement = "synapse_properties.synapse.commons.json.json.output.disableAutoPrimitive.\
                       customReplaceSequence";
    set(&mut json.no_primitive_replacement, r.text(&[replacement]));
}

fn limits(r: &Reader<'_>, s: &mut Settings) {
    let limits = &mut s.limits;
    set(
        &mut limits.max_body_bytes,
        r.bytes(&["myelin.max_body_bytes"], 1024),
    );
    set(
        &mut limits.replay_limit_bytes,
        r.bytes(&["myelin.replay_limit_bytes"], 0),
    );
    set(
        &mut limits.max_sessions,
        r.size(&["myelin.max_sessions"], 1),
    );
    set(
        &mut limits.max_oauth_tokens,
        r.size(&["myelin.max_oauth_tokens"], 1),
    );
    set(
        &mut limits.max_waiting_replies,
        r.size(&["myelin.max_waiting_replies"], 1),
    );
    // A fault is cheaper than a stack overflow, which no setting can turn into a fault.
    let depth = |key| {
        r.integer(&[key], 1..=10_000)
            .and_then(|n| n.try_into().ok())
    };
    set(
        &mut limits.max_sequence_depth,
        depth("myelin.max_sequence_depth"),
    );
    set(&mut limits.max_xml_depth, depth("myelin.max_xml_depth"));
    set(&mut limits.max_json_depth, depth("myelin.max_json_depth"));
    set(
        &mut limits.max_attempts_per_request,
        r.size(&["myelin.max_attempts_per_request"], 1),
    );
    set(
        &mut limits.max_template_endpoints,
        r.size(&["myelin.max_template_endpoints"], 1),
    );
    set(
        &mut limits.max_split_parts,
        r.size(&["myelin.max_split_parts"], 1),
    );
    set(
        &mut limits.max_parallel_parts,
        r.size(&["myelin.max_parallel_parts"], 1),
    );
    set(
        &mut limits.max_aggregate_groups,
        r.size(&["myelin.max_aggregate_groups"], 1),
    );
    set(
        &mut limits.max_aggregate_bytes,
        r.bytes(&["myelin.max_aggregate_bytes"], 1024),
    );
    set(
        &mut limits.max_xml_attributes,
        r.size(&["myelin.max_xml_attributes"], 1),
    );
    set(
        &mut limits.max_xml_namespaces,
        r.size(&["myelin.max_xml_namespaces"], 1),
    );
    set(
        &mut limits.max_xml_name_bytes,
        r.size(&["myelin.max_xml_name_bytes"], 1),
    );
    set(
        &mut limits.max_json_nodes,
        r.size(&["myelin.max_json_nodes"], 1),
    );
    let visits = |n: i64| u64::try_from(n).ok();
    set(
        &mut limits.max_xpath_visits,
        r.integer(&["myelin.max_xpath_visits"], 1000..=1_000_000_000_000)
            .and_then(visits),
    );
    set(
        &mut limits.max_jsonpath_steps,
        r.integer(&["myelin.max_jsonpath_steps"], 1000..=1_000_000_000_000)
            .and_then(visits),
    );
    set(
        &mut limits.max_multipart_parts,
        r.size(&["myelin.max_multipart_parts"], 1),
    );
    set(
        &mut limits.max_part_header_bytes,
        r.size(&["myelin.max_part_header_bytes"], 256),
    );
    set(
        &mut limits.max_xml_nodes,
        r.size(&["myelin.max_xml_nodes"], 1),
    );
    set(
        &mut limits.max_cache_entries,
        r.size(&["myelin.max_cache_entries"], 1),
    );
    set(
        &mut limits.max_cache_bytes,
        r.bytes(&["myelin.max_cache_bytes"], 0),
    );

    let deploy = &mut s.deploy;
    let debounce = ["myelin.reload_debounce_ms"];
    set(
        &mut deploy.reload_debounce,
        r.integer(&debounce, 1..=60_000)
            .and_then(|n| n.try_into().ok())
            .map(Duration::from_millis),
    );
    set(
        &mut deploy.max_artifact_bytes,
        r.bytes(&["myelin.max_artifact_bytes"], 1024),
    );
    set(
        &mut deploy.max_folder_depth,
        r.integer(&["myelin.max_folder_depth"], 1..=256)
            .and_then(|n| n.try_into().ok()),
    );
    let words = [
        ("refuse", Unsupported::Refuse),
        ("fault", Unsupported::Fault),
    ];
    set(
        &mut deploy.unsupported_mediators,
        r.word(&["myelin.unsupported_mediators"], &words),
    );
}
