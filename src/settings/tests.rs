use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;

fn environment() -> Environment {
    Environment::fixed([
        ("HOST", "gw.example.org"),
        ("PORT", "8000"),
        ("EMPTY", ""),
        ("NEST", "$ref{server.hostname}"),
    ])
    .with_system_property("region", "eu")
    .with_system_property("blank", "")
}

fn parse_text(text: &str) -> Result<(Settings, Vec<SettingsWarning>), SettingsError> {
    parse(Path::new("deployment.toml"), text, &environment())
}

fn settings(text: &str) -> Settings {
    let (settings, warnings) = parse_text(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    // Keys that are read but that nothing follows yet say so.
    let wrong: Vec<_> = warnings
        .iter()
        .filter(|w| w.kind != WarningKind::NoEffect)
        .collect();
    assert!(wrong.is_empty(), "{text}\n{wrong:?}");
    settings
}

/// The error of each text, or its warnings.
fn messages(texts: &[&str]) -> String {
    let mut out = String::new();
    for text in texts {
        match parse_text(text) {
            Err(e) => writeln!(out, "{e}").unwrap(),
            Ok((_, warnings)) if warnings.is_empty() => writeln!(out, "fine: {text}").unwrap(),
            Ok((_, warnings)) => {
                for w in warnings {
                    writeln!(out, "warning: {w}").unwrap();
                }
            }
        }
    }
    out
}

fn check(texts: &[&str], expected: Expect) {
    expected.assert_eq(&messages(texts));
}

/// One setting: the file, how to look at it, what it must be.
macro_rules! values {
    ($($text:expr => |$s:ident| $field:expr, $expected:expr;)*) => {
        $({
            let $s = settings($text);
            assert_eq!($field, $expected, "{}", $text);
        })*
    };
}

#[test]
fn nothing_means_the_defaults() {
    let (loaded, warnings) = load(None).unwrap();
    assert_eq!(loaded, Settings::default());
    assert_eq!(warnings, []);
    for text in ["", "\u{feff}# only a comment\r\n"] {
        let (parsed, _) = parse(Path::new("d.toml"), text, &Environment::of_process()).unwrap();
        assert_eq!(parsed, Settings::default(), "{text:?}");
    }
}

#[test]
fn every_key_reaches_its_field() {
    let ms = Duration::from_millis;
    let secs = Duration::from_secs;
    values! {
        "[server]\nhostname = 'h'" => |s| s.server.hostname, "h";
        "server.synapse_config_server_name = 'n'" => |s| s.server.name, "n";
        "[server]\nservice_path = '/soap/'" => |s| s.server.service_path, "soap";
        "[server]\ngraceful_shutdown_timeout = '10s'" => |s| s.server.shutdown_timeout, secs(10);
        "[server]\ngraceful_shutdown_timeout = 1500" => |s| s.server.shutdown_timeout, ms(1500);
        "[server]\ngraceful_shutdown_enabled = false" => |s| s.server.shutdown_timeout, secs(0);
        "[server]\nhot_deployment = false" => |s| s.deploy.hot_deployment, false;
        "[server]\noffset = 0" => |s| (s.http.port, s.http.secured_port, s.admin.port, s.admin.secured_port), (8280, 8243, 9191, 9154);
        "[server]\noffset = '20'" => |s| (s.http.port, s.server.offset), (8300, 20);
        "[system.parameter]\nportOffset = 5" => |s| s.http.port, 8285;
        "[transport.http]\nlistener.port = 8080" => |s| (s.http.port, s.http.secured_port), (8090, 8253);
        "[transport.http.listener]\nsecured_port = '9443'" => |s| s.http.secured_port, 9453;
        "[transport.http.listener]\nparameter.port = 8100" => |s| s.http.port, 8110;
        "[mediation]\ninternal_http_api_port = 9000" => |s| s.admin.port, 9010;
        "[transport.http.listener]\nenable = false\nsecured_enable = 'False'" => |s| (s.http.enabled, s.http.secured_enabled), (false, false);
        "[transport.http.listener]\nbind_address = '127.0.0.1'" => |s| s.http.bind_address, Some("127.0.0.1".to_owned());
        "[transport.http.listener]\nbind_address = ''" => |s| s.http.bind_address, None;
        "[transport.http]\nsocket_timeout = '3m'" => |s| (s.http.socket_timeout, s.http.connection_timeout), (secs(180), secs(90));
        "[transport.http]\nsocket_timeout = 60000" => |s| (s.http.socket_timeout, s.http.connection_timeout), (secs(60), secs(30));
        "[transport.http]\nsocket_timeout = 0" => |s| (s.http.socket_timeout, s.http.connection_timeout), (secs(0), secs(90));
        "[transport.http]\nconnection_timeout = '500ms'" => |s| s.http.connection_timeout, ms(500);
        "[passthru_properties]\n'http.socket.timeout' = '5000'" => |s| s.http.socket_timeout, secs(5);
        "[transport.http]\nmax_open_connections = -1" => |s| s.http.max_open_connections, None;
        "[transport.http]\nmax_open_connections = 50\n[myelin]\nmax_connections = 70" => |s| s.http.max_open_connections, Some(50);
        "[myelin]\nmax_connections = 70" => |s| s.http.max_open_connections, Some(70);
        "[transport.http]\ndisable_connection_keepalive = true" => |s| s.http.keep_alive, false;
        "[transport.http]\npreserve_http_server_name = false" => |s| s.http.preserve_server_header, false;
        "[transport.http]\npreserve_http_user_agent = true" => |s| s.http.preserve_user_agent, true;
        "[transport.http]\npreserve_http_headers = ['A', 'B']" => |s| s.http.preserve_headers, ["A", "B"];
        "[transport.http]\npreserve_http_headers = 'A, B'" => |s| s.http.preserve_headers, ["A", "B"];
        "[transport.http]\nenable_message_size_validation = true" => |s| s.http.max_message_size, Some(81920);
        "[transport.http]\nmax_message_size_bytes = 5" => |s| s.http.max_message_size, None;
        "[transport.http]\nenable_message_size_validation = true\nmax_message_size_bytes = '5'" => |s| s.http.max_message_size, Some(5);
        "[transport.http]\nsender.hostname_verifier = 'allowall'" => |s| s.tls.hostname_verifier, HostnameVerifier::AllowAll;
        "[transport.http.listener]\ncertificate_file = 'a.pem'\nprivate_key_file = '/k/b.pem'" => |s| (s.tls.certificate_file, s.tls.private_key_file), (Some("a.pem".into()), Some("/k/b.pem".into()));
        "[transport.http.listener]\nverify_client = 'require'\nca_file = 'c.pem'" => |s| (s.tls.verify_client, s.tls.client_ca_file), (VerifyClient::Require, Some("c.pem".into()));
        "[management_api]\nprotocols = 'https'" => |s| s.admin.management, Protocols { http: false, https: true };
        "[[internal_apis.users]]\nuser.name = 'u'\nuser.password = 'p'\nuser.is_admin = true\n" => |s| s.admin.users, [AdminUser { name: "u".into(), password: Secret::new("p"), is_admin: true }];
        "[management_api.cors]\nenable = false" => |s| s.admin.cors_origins, None;
        "[myelin]\nmanagement_bind_address = '127.0.0.2'" => |s| s.admin.bind_address, Some("127.0.0.2".to_owned());
        "[mediation.synapse]\nglobal_timeout_interval = '90s'" => |s| s.endpoint.global_timeout, secs(90);
        "[synapse_properties]\n'synapse.global_timeout_interval' = 1000" => |s| s.endpoint.global_timeout, secs(1);
        "[synapse_properties]\nsynapse.global_timeout_interval = 1000" => |s| s.endpoint.global_timeout, secs(1);
        "[synapse_properties]\n'synapse.sal.endpoints.sesssion.timeout.default' = 5000" => |s| s.endpoint.sal_session_timeout, secs(5);
        "[synapse_properties]\n'maximum.failover.retries' = 3\n'suspend.duration.on.maximum.failover' = 100" => |s| (s.endpoint.max_failover_retries, s.endpoint.suspend_on_max_failover), (Some(3), ms(100));
        "[mediation.synapse]\nmaximum_failover_retries = -1" => |s| s.endpoint.max_failover_retries, None;
        "[synapse_properties]\n'synapse.global_endpoint_suspend_duration' = -1" => |s| s.endpoint.suspend_duration, secs(30);
        "[synapse_properties]\n'synapse.global_endpoint_suspend_duration' = 500\n'synapse.global_endpoint_suspend_progression_factor' = 1.5" => |s| (s.endpoint.suspend_duration, s.endpoint.suspend_factor), (ms(500), 1.5);
        "[mediation.synapse]\nenable_auto_primitive = false\ndisable_auto_primitive_regex = '^\\d+$'" => |s| (s.json.auto_primitive, s.json.no_primitive_regex), (false, Some("^\\d+$".to_owned()));
        "[myelin]\nmax_body_bytes = 1_000_000\nmax_xml_depth = 64" => |s| (s.limits.max_body_bytes, s.limits.max_xml_depth), (1_000_000, 64);
        "[myelin]\nmax_xml_attributes = 1\nmax_xml_namespaces = 2\nmax_xml_name_bytes = 3\nmax_xml_nodes = 4\nmax_json_depth = 5\nmax_json_nodes = 6" => |s| (s.limits.max_xml_attributes, s.limits.max_xml_namespaces, s.limits.max_xml_name_bytes, s.limits.max_xml_nodes, s.limits.max_json_depth, s.limits.max_json_nodes), (1, 2, 3, 4, 5, 6);
        "[myelin]\nmax_xpath_visits = 5000\nmax_jsonpath_steps = 6000" => |s| (s.limits.max_xpath_visits, s.limits.max_jsonpath_steps), (5000, 6000);
        "[myelin]\nreload_debounce_ms = 20\nworkers = 3" => |s| (s.deploy.reload_debounce, s.server.workers), (ms(20), 3);
        "[system.parameter]\n'a.b' = 1\nc = 'x'" => |s| s.system_properties.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["a.b=1", "blank=", "c=x", "region=eu"];
    }
}

#[test]
fn proxy_settings() {
    let s = settings(
        r#"
        [transport.http]
        sender.proxy_host = "$env{HOST}"
        sender.proxy_port = "3128"
        sender.non_proxy_hosts = ["$ref{server.hostname}"]

        [[transport.http.proxy_profile]]
        target_hosts = ["example.com", ".*.sample.com"]
        proxy_host = "localhost"
        proxy_port = "3128"
        proxy_username = "squidUser"
        proxy_password = "s3cret"
        bypass_hosts = ["xxx.sample.com"]
        "#,
    );
    expect![[r#"
        (
            Some(
                ProxySettings {
                    host: "gw.example.org",
                    port: 3128,
                    bypass_hosts: [
                        "localhost",
                    ],
                },
            ),
            [
                ProxyProfile {
                    target_hosts: [
                        "example.com",
                        ".*.sample.com",
                    ],
                    host: "localhost",
                    port: 3128,
                    username: Some(
                        "squidUser",
                    ),
                    password: Some(
                        Secret(***),
                    ),
                    bypass_hosts: [
                        "xxx.sample.com",
                    ],
                },
            ],
        )
    "#]]
    .assert_debug_eq(&(s.http.proxy, s.http.proxy_profiles));
}

#[test]
fn placeholders() {
    let host = |text: &str| settings(text).server.hostname;
    let cases = [
        ("server.hostname = '$env{HOST}'", "gw.example.org"),
        (
            "server.hostname = 'a-$env{HOST}-$sys{region}'",
            "a-gw.example.org-eu",
        ),
        (
            "server.hostname = '$ref{server.synapse_config_server_name}.x'\nserver.synapse_config_server_name = '$sys{region}'",
            "eu.x",
        ),
        (
            "server.hostname = '$ref{server.offset}'\nserver.offset = 7",
            "7",
        ),
        (
            "server.hostname = '$ref{transport.http.listener.port}'",
            "8280",
        ),
        (
            "server.hostname = '$sys{zone}'\n[system.parameter]\nzone = '$env{HOST}'",
            "gw.example.org",
        ),
        (
            "server.hostname = 'h'\nserver.synapse_config_server_name = '$env{NEST}'",
            "h",
        ),
        ("server.hostname = '$$env{HOST}'", "$gw.example.org"),
        ("server.hostname = '$HOST ${env} {x}'", "$HOST ${env} {x}"),
    ];
    for (text, expected) in cases {
        assert_eq!(host(text), expected, "{text}");
    }
    let s = settings("server.hostname = 'h'\nserver.synapse_config_server_name = '$env{NEST}'");
    assert_eq!(
        s.server.name, "h",
        "what came from the environment may refer to a key"
    );
    assert_eq!(
        settings("transport.http.listener.port = '$env{PORT}'")
            .http
            .port,
        8010
    );
    let list = "transport.http.preserve_http_headers = '$ref{passthru_properties.x}'\n\
                passthru_properties.x = ['A', '$sys{region}']";
    let (s, _) = parse_text(list).unwrap();
    assert_eq!(s.http.preserve_headers, ["A", "eu"], "a list stays a list");
    let s = parse(
        Path::new("d.toml"),
        "server.offset = 1",
        &Environment::fixed([("", "")]).with_system_property("portOffset", "100"),
    );
    assert_eq!(s.unwrap().0.http.port, 8380, "the command line wins");
}

#[test]
fn errors_of_values() {
    check(
        &[
            "[server]\noffset = 'ten'",
            "[server]\noffset = -1",
            "[server]\noffset = 60000",
            "[transport.http]\nlistener.port = 65530",
            "[transport.http]\nlistener.port = 70000",
            "[transport.http]\nlistener.port = 1.5",
            "[transport.http]\nlistener.port = 8243",
            "[transport.http]\nlistener.port = 8263\nlistener.secured_port = 8263",
            "[server]\nhot_deployment = 'yes'",
            "[server]\nhostname = ['a']",
            "[server]\ngraceful_shutdown_timeout = '3 minutes'",
            "[mediation.synapse]\nglobal_timeout_interval = 0",
            "[mediation.synapse]\nglobal_timeout_interval = '4000d'",
            "[mediation.synapse]\nglobal_timeout_interval = true",
            "[synapse_properties]\n'maximum.failover.retries' = -2",
            "[synapse_properties]\n'synapse.global_endpoint_suspend_progression_factor' = nan",
            "[transport.http]\nsender.hostname_verifier = 'Some'",
            "[transport.http.listener]\ncertificate_file = 'a.pem'",
            "[transport.http.listener]\nverify_client = 'optional'",
            "[management_api]\nprotocols = 'https ftp'",
            "[[internal_apis.users]]\nuser.name = 'u'",
            "[internal_apis]\nusers = 5",
            "internal_apis.users = [5]",
            "[[internal_apis.users]]\nuser.name = 'u'\nuser.password = ['hunter2']",
            "[myelin]\nmax_body_bytes = 10",
            "[myelin]\nmax_sequence_depth = 1000000",
            "[myelin]\nmax_bodybytes = 10_000",
            "[myelin.limits]\nx = 1",
            "myelin = 1",
            "server.offset = 99999999999999999999",
            "server = 'a'\nserver.offset = 1",
            "[server]\noffset = 1\n[server]\noffset = 2",
            "x.'a.b' = 1\nx.a.b = 2",
            "[server\n",
            "[server]\nhostname = \"$env{PORT}\"\noffset = '$env{HOST}'\nhot_deployment = 1",
        ],
        expect![[r#"
            deployment.toml:2:10: server.offset: "ten" is not a whole number
            deployment.toml:2:10: server.offset: -1 is out of range, from 0 to 65535
            deployment.toml:2:10: port 8280 plus offset 60000 is larger than 65535
            deployment.toml:2:17: port 65530 plus offset 10 is larger than 65535
            deployment.toml:2:17: transport.http.listener.port: 70000 is out of range, from 0 to 65535
            deployment.toml:2:17: transport.http.listener.port: 1.5 is not a whole number
            deployment.toml:2:17: "transport.http.listener.secured_port" and "transport.http.listener.port" are both port 8253
            deployment.toml:3:25: "transport.http.listener.secured_port" and "transport.http.listener.port" are both port 8273
            deployment.toml:2:18: server.hot_deployment: "yes" is not true or false
            deployment.toml:2:12: server.hostname: a list or table, expected text
            deployment.toml:2:29: server.graceful_shutdown_timeout: "3 minutes" is not a duration; write a number with a unit: "500ms", "90s", "3m", "2h" or "1d"
            deployment.toml:2:27: mediation.synapse.global_timeout_interval: 0 is too short, at least 1ms
            deployment.toml:2:27: mediation.synapse.global_timeout_interval: "4000d" is too long, at most "3650d"
            deployment.toml:2:27: mediation.synapse.global_timeout_interval: true is not a duration
            deployment.toml:2:30: synapse_properties.maximum.failover.retries: -2 is out of range, from -1 to 4294967295
            deployment.toml:2:56: synapse_properties.synapse.global_endpoint_suspend_progression_factor: NaN is not a number of at least 0
            deployment.toml:2:28: transport.http.sender.hostname_verifier: "Some" is not one of "Default", "Strict", "DefaultAndLocalhost", "AllowAll"
            deployment.toml:2:20: transport.http.listener.certificate_file: "transport.http.listener.private_key_file" is needed as well
            deployment.toml:2:17: transport.http.listener.verify_client: "transport.http.listener.ca_file" is needed as well
            deployment.toml:2:13: management_api.protocols: "https ftp" is not "http", "https" or "https http"
            deployment.toml:1:1: "internal_apis.users[0].user.password" is missing
            deployment.toml:2:9: internal_apis.users: expected [[internal_apis.users]]
            deployment.toml:1:24: internal_apis.users: expected a table
            deployment.toml:3:17: internal_apis.users[0].user.password: expected text
            deployment.toml:2:18: myelin.max_body_bytes: 10 is out of range, from 1024 to 1125899906842624
            deployment.toml:2:22: myelin.max_sequence_depth: 1000000 is out of range, from 1 to 10000
            deployment.toml:2:1: unknown key "myelin.max_bodybytes"; did you mean "myelin.max_body_bytes"?
            deployment.toml:1:9: unknown section "myelin.limits"
            deployment.toml:1:1: unknown key "myelin"
            deployment.toml:1:17: "server.offset" is too large a number
            deployment.toml:2:1: cannot extend value of type string with a dotted key
            deployment.toml:3:2: duplicate key
            deployment.toml:1:3: "x.a.b" is set twice
            deployment.toml:1:8: unclosed table, expected `]`
            deployment.toml:3:10: server.offset: "$env{HOST}" is not a whole number
            deployment.toml:4:18: server.hot_deployment: 1 is not true or false
        "#]],
    );
}

#[test]
fn errors_of_placeholders() {
    check(
        &[
            "server.hostname = '$env{NO_SUCH}'",
            "server.hostname = '$env{EMPTY}'",
            "server.hostname = '$sys{no.such}'",
            "server.hostname = '$sys{blank}'",
            "server.hostname = '$ref{no.such}'",
            "server.hostname = '$ref{transport.http.preserve_http_headers}!'\ntransport.http.preserve_http_headers = ['a']",
            "server.hostname = '$ref{server.hostname}'",
            "server.hostname = '$ref{a.b}'\na.b = 'x$ref{a.c}'\na.c = '$ref{a.b}'",
            "server.hostname = '$secret{admin}'",
            "server.hostname = '$env{HOST'",
            "[transport.http]\npreserve_http_headers = ['A', '$env{NO_SUCH}']",
            "[synapse_properties]\n'some.password' = '$secret{alias}'",
            "[[internal_apis.users]]\nuser.name = 'u'\nuser.password = '$env{NO_SUCH}'",
        ],
        expect![[r#"
            deployment.toml:1:19: $env{NO_SUCH}: environment variable "NO_SUCH" is not set
            fine: server.hostname = '$env{EMPTY}'
            deployment.toml:1:19: $sys{no.such}: system property "no.such" is not set; start with -Dno.such=VALUE or add it to [system.parameter]
            deployment.toml:1:19: $sys{blank}: system property "blank" is not set; start with -Dblank=VALUE or add it to [system.parameter]
            deployment.toml:1:19: $ref{no.such}: "no.such" is not set in this file
            deployment.toml:1:19: $ref{transport.http.preserve_http_headers}: "transport.http.preserve_http_headers" is not a single value
            deployment.toml:1:19: references go round in a circle: server.hostname -> server.hostname
            deployment.toml:1:19: references go round in a circle: a.b -> a.c -> a.b
            deployment.toml:1:19: $secret{admin}: the secure vault is not supported; use $env{NAME} and set the variable from your secret store
            deployment.toml:1:19: "$env{" has no closing brace
            deployment.toml:2:25: $env{NO_SUCH}: environment variable "NO_SUCH" is not set
            deployment.toml:2:19: $secret{alias}: the secure vault is not supported; use $env{NAME} and set the variable from your secret store
            deployment.toml:3:17: $env{NO_SUCH}: environment variable "NO_SUCH" is not set
        "#]],
    );
}

#[test]
fn references_cannot_multiply() {
    let mut text = String::from("server.hostname = '$ref{x.0}$ref{x.0}'\n");
    for i in 0..30 {
        writeln!(text, "x.{i} = '$ref{{x.{0}}}$ref{{x.{0}}}'", i + 1).unwrap();
    }
    writeln!(text, "x.30 = ''").unwrap();
    let error = parse_text(&text).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");

    let mut text = String::from("server.hostname = '$ref{x.0}'\n");
    for i in 0..2000 {
        writeln!(text, "x.{i} = '$ref{{x.{}}}'", i + 1).unwrap();
    }
    let error = parse_text(&text).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");
}

#[test]
fn warnings() {
    check(
        &[
            "[server]\nhostnam = 'x'\nenable_mtom = false",
            "[transport.http]\nlistenr.port = 1\ncore_worker_pool_size = 400\nio_buffer_size = 1",
            "[keystore.primary]\nfile_name = 'a.jks'\npassword = '$secret{not_looked_at}'\n[truststore]\ntype = 'JKS'",
            "[[event_handler]]\nid = 'x'\npassword = '$env{NOT_LOOKED_AT}'",
            "[user_store]\ntype = 'database'\nclass = 'x'",
            "[synapse_properties]\n'synapse.sal.endpoints.session.timeout.default' = 1\n'my.own' = 'x'",
            "[mediation.synapse]\nglobal_timeout_interval = 5\n[synapse_properties]\n'synapse.global_timeout_interval' = 6",
            "[[internal_apis.users]]\nuser.name = 'u'\nuser.password = 'p'\nuser.role = 'r'",
            "[secrets]\nadmin = '[x]'",
            "[mediation.inbound]\ncore_threads = 5\nmax_threads = 6",
            "[synapse_properties]\n'synapse.commons.json.output.xmloutAutoArray' = false\n'synapse.commons.json.output.emptyXmlElemToEmptyStr' = false",
            "[transport.http]\nmax_http_connection_per_host_port = 5",
            "  top = 1",
            "[server]\nx.é = 1 \n'é' = 2",
        ],
        expect![[r#"
            warning: deployment.toml:2:1: key "server.hostnam" is not supported and ignored; did you mean "server.hostname"?
            warning: deployment.toml:3:1: key "server.enable_mtom" is not supported and ignored
            warning: deployment.toml:2:1: section "transport.http.listenr" is not supported and ignored; did you mean "transport.http.listener"?
            warning: deployment.toml:3:1: "transport.http.core_worker_pool_size" has no effect: there is no such thread pool; the number of threads is myelin.workers
            warning: deployment.toml:4:1: "transport.http.io_buffer_size" has no effect: buffers are sized by the server
            warning: deployment.toml:1:2: "keystore" has no effect: Java key stores are not read; convert to PEM (keytool -importkeystore -deststoretype PKCS12, then openssl pkcs12) and set certificate_file and private_key_file in [transport.http.listener]
            warning: deployment.toml:4:2: "truststore" has no effect: Java trust stores are not read; export the certificates as PEM and set ca_file in [transport.http.sender] (back-ends) or [transport.http.listener] (clients)
            warning: deployment.toml:1:3: key "event_handler" is not supported and ignored
            warning: deployment.toml:1:2: section "user_store" is not supported and ignored
            warning: deployment.toml:2:1: key "synapse_properties.synapse.sal.endpoints.session.timeout.default" is not supported and ignored; did you mean "synapse_properties.synapse.sal.endpoints.sesssion.timeout.default"?
            warning: deployment.toml:3:1: key "synapse_properties.my.own" is not supported and ignored
            warning: deployment.toml:4:1: "synapse_properties.synapse.global_timeout_interval" is ignored because "mediation.synapse.global_timeout_interval" sets the same
            warning: deployment.toml:4:6: key "internal_apis.users[0].user.role" is not supported and ignored
            warning: deployment.toml:1:2: "secrets" has no effect: the secure vault is not supported; use $env{NAME} and set the variable from your secret store
            warning: deployment.toml:1:12: "mediation.inbound" has no effect: there is no such thread pool; the number of threads is myelin.workers
            warning: deployment.toml:2:1: "synapse_properties.synapse.commons.json.output.xmloutAutoArray" has no effect: on the way from JSON to XML an array is always one element for each item; the reference does not look at the setting either
            warning: deployment.toml:3:1: "synapse_properties.synapse.commons.json.output.emptyXmlElemToEmptyStr" has no effect: the setting synapse.commons.enableXmlNullForEmptyElement says what an empty element becomes; the reference does not look at this one
            warning: deployment.toml:2:37: "transport.http.max_http_connection_per_host_port" has no effect: connections to one target are not limited; the setting circuit_breakers.max_connections in [myelin.endpoint] limits those of an endpoint
            warning: deployment.toml:1:3: key "top" is not supported and ignored
            deployment.toml:2:3: invalid unquoted key, expected letters, numbers, `-`, `_`
        "#]],
    );
}

#[test]
fn a_file_of_mi() {
    let text = r#"
[server]
hostname = "localhost"

[keystore.primary]
file_name = "repository/resources/security/wso2carbon.jks"
password = "wso2carbon"
alias = "wso2carbon"
key_password = "wso2carbon"

[truststore]
file_name = "repository/resources/security/client-truststore.jks"
password = "wso2carbon"
alias = "symmetric.key.value"
algorithm = "AES"

# [user_store]
# type = "read_only_ldap"

[mediation]
synapse.enable_auto_primitive = false

[management_api.jwt_token_security_handler]
token_store_config.max_size= "200"
token_config.expiry= "3600"

[[synapse_handlers]]
name="CustomObservabilityHandler"
class="org.wso2.micro.integrator.observability.metric.handler.MetricHandler"
"#;
    check(
        &[text],
        expect![[r#"
            warning: deployment.toml:5:2: "keystore" has no effect: Java key stores are not read; convert to PEM (keytool -importkeystore -deststoretype PKCS12, then openssl pkcs12) and set certificate_file and private_key_file in [transport.http.listener]
            warning: deployment.toml:11:2: "truststore" has no effect: Java trust stores are not read; export the certificates as PEM and set ca_file in [transport.http.sender] (back-ends) or [transport.http.listener] (clients)
            warning: deployment.toml:27:3: key "synapse_handlers" is not supported and ignored
        "#]],
    );
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deployment.toml");
    let text = |r: Result<(Settings, Vec<SettingsWarning>), SettingsError>| {
        r.map(|_| ())
            .unwrap_err()
            .to_string()
            .replace(&dir.path().display().to_string(), "DIR")
    };
    expect!["cannot read DIR/deployment.toml: No such file or directory (os error 2)"]
        .assert_eq(&text(load(Some(&file))));
    std::fs::write(&file, b"a = '\xff'").unwrap();
    expect!["DIR/deployment.toml: not UTF-8 text"].assert_eq(&text(load(Some(&file))));
    std::fs::write(&file, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    expect!["DIR/deployment.toml: larger than 1048576 bytes"].assert_eq(&text(load(Some(&file))));
    std::fs::write(
        &file,
        "[transport.http.listener]\ncertificate_file = 'c.pem'\nprivate_key_file = '/k.pem'",
    )
    .unwrap();
    let (s, _) = load(Some(&file)).unwrap();
    assert_eq!(s.tls.certificate_file, Some(dir.path().join("c.pem")));
    assert_eq!(s.tls.private_key_file, Some("/k.pem".into()));
}

#[test]
fn deep_nesting_is_an_error() {
    for text in [
        format!("{} = 1", vec!["a"; 5000].join(".")),
        format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000)),
        format!("[{}]\nx = 1", vec!["a"; 5000].join(".")),
        format!("{} = 1", vec!["a"; 250_000].join(".")),
        format!("a = {}1{}", "{a = ".repeat(5000), "}".repeat(5000)),
    ] {
        assert!(parse_text(&text).is_err(), "{}", &text[..40]);
    }
}

#[test]
fn properties_are_not_printed() {
    let s = settings("[system.parameter]\n'javax.net.ssl.trustStorePassword' = 'hunter2'");
    let shown = format!("{s:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("trustStorePassword"),
        "{shown}"
    );
}

#[test]
fn what_scripts_databases_and_caches_may_use() {
    let settings = settings(
        r#"
[myelin]
script_timeout = 250
script_memory_bytes = 8388608
script_stack_bytes = 65536
script_threads = 3
script_queue = 7
template_timeout = 20
template_threads = 4
template_queue = 8
trusted_proxies = ["10.0.0.0/8"]
fetch_timeout = "3s"
database_timeout = "5s"
database_wait = 100
max_database_connections = 9
max_cache_entries = 11
max_cache_bytes = 0
unsupported_mediators = "fault"

[[datasource]]
id = "Shop"
url = "jdbc:postgresql://db/shop"
username = "u"
password = "p"
jdbc.pool_options.maxActive = 4
"#,
    );
    assert_eq!(settings.script.timeout, Duration::from_millis(250));
    assert_eq!(settings.script.memory_bytes, 8 << 20);
    assert_eq!(settings.script.stack_bytes, 64 << 10);
    assert_eq!((settings.script.threads(), settings.script.queue), (3, 7));
    assert_eq!(settings.templates.timeout, Duration::from_millis(20));
    assert_eq!(
        (settings.templates.threads(), settings.templates.queue),
        (4, 8)
    );
    assert_eq!(settings.deploy.fetch_timeout, Duration::from_secs(3));
    assert!(settings.trusted_proxies.contains([10, 1, 2, 3].into()));
    assert!(!settings.trusted_proxies.contains([127, 0, 0, 1].into()));
    assert!(parse_text("[myelin]\ntrusted_proxies = ['10.0.0.0/40']").is_err());
    assert_eq!(settings.database.timeout, Duration::from_secs(5));
    assert_eq!(settings.database.pool_wait, Duration::from_millis(100));
    assert_eq!(settings.database.max_connections, 9);
    assert_eq!(settings.limits.max_cache_entries, 11);
    assert_eq!(settings.limits.max_cache_bytes, 0);
    assert_eq!(settings.deploy.unsupported_mediators, Unsupported::Fault);
    let [source] = &settings.data_sources[..] else {
        panic!("{:?}", settings.data_sources);
    };
    assert_eq!((source.id.as_str(), source.max_active), ("Shop", Some(4)));
    assert_eq!(source.password, Some(Secret::new("p")));
}

#[test]
fn shared_sessions_and_endpoint_policies() {
    let text = r#"
        [myelin.sessions]
        redis_url = "redis://user:secret@cache:6379/1"
        key_prefix = "orders:"
        command_timeout = "100ms"

        [myelin.endpoint]
        lb_policy = "LEAST_REQUEST"
        health_check.interval = "2s"
        [myelin.endpoint.circuit_breakers]
        max_connections = 50
    "#;
    let settings = settings(text);
    let redis = settings.sessions.unwrap();
    assert_eq!(redis.url.expose(), "redis://user:secret@cache:6379/1");
    assert_eq!(redis.key_prefix, "orders:");
    assert_eq!(redis.command_timeout, Duration::from_millis(100));
    assert_eq!(redis.connect_timeout, Duration::from_millis(500));
    let policy = settings.endpoint_policy;
    assert_eq!(policy.lb_policy, LbPolicy::LeastRequest);
    assert_eq!(policy.health_interval, Duration::from_secs(2));
    assert_eq!(policy.max_connections, Some(50));
    assert_eq!(policy.max_pending, 1024);
}

#[test]
fn the_default_password_is_for_this_machine_only() {
    check(
        &[
            "[myelin]\nmanagement_bind_address = \"0.0.0.0\"",
            "[myelin]\nmanagement_bind_address = \"here\"",
            "[myelin]\nmanagement_bind_address = \"0.0.0.0\"\n[[internal_apis.users]]\nuser.name = \"u\"\nuser.password = \"p\"",
        ],
        expect![[r#"
            deployment.toml:2:27: myelin.management_bind_address: the default password is for this machine only; set [[internal_apis.users]]
            deployment.toml:2:27: myelin.management_bind_address: "here" is not an address
            fine: [myelin]
            management_bind_address = "0.0.0.0"
            [[internal_apis.users]]
            user.name = "u"
            user.password = "p"
        "#]],
    );
}

#[test]
fn errors_of_shared_sessions_and_endpoint_policies() {
    check(
        &[
            "[myelin.sessions]\nredis_url = \"rediss://cache:6379\"",
            "[myelin.sessions]\nredis_url = \"rediss://cache:6379/#insecure\"",
            "[myelin.sessions]\nredis_url = \"redis://u:secret@cache:port\"",
            "[myelin.sessions]\nredis_url = \"redis://u:secret@cache/database\"",
            "[myelin.sessions]\nredis_url = \"http://cache\"",
            "[myelin.sessions]\nredis_url = 6379",
            "[myelin.sessions]\nredis_uri = \"redis://cache\"",
            "[myelin.endpoint]\nlb_policy = \"RANDOM\"",
            "[myelin.endpoint]\nhealth_check.path = [\"/up\"]",
            "[myelin.endpoint]\nretry_budget.percent = 20",
        ],
        expect![[r#"
            fine: [myelin.sessions]
            redis_url = "rediss://cache:6379"
            deployment.toml:2:13: myelin.sessions.redis_url: not the address of a Redis: no fragment goes with rediss; how certificates are checked is said in [transport.http] and [myelin]
            deployment.toml:2:13: myelin.sessions.redis_url: not the address of a Redis: write redis://[user:password@]host[:port][/database]
            deployment.toml:2:13: myelin.sessions.redis_url: not the address of a Redis: write redis://[user:password@]host[:port][/database]
            deployment.toml:2:13: myelin.sessions.redis_url: not the address of a Redis: write redis://host:port, or rediss://host:port for TLS
            deployment.toml:2:13: myelin.sessions.redis_url: not the address of a Redis: write redis://host:port, or rediss://host:port for TLS
            deployment.toml:2:1: unknown key "myelin.sessions.redis_uri"; did you mean "myelin.sessions.redis_url"?
            deployment.toml:2:13: myelin.endpoint.lb_policy: "RANDOM" is not one of ROUND_ROBIN, LEAST_REQUEST, RING_HASH
            deployment.toml:2:21: myelin.endpoint.health_check.path: is not a single value
            deployment.toml:2:14: unknown key "myelin.endpoint.retry_budget.percent"
        "#]],
    );
}

#[test]
fn unknown_builder_classes_are_refused() {
    check(
        &[
            "[[custom_message_builders]]\ncontent_type = 'text/html'\nclass = 'org.test.HtmlBuilder'",
            "[[custom_message_builders]]\ncontent_type = 'application/edi-hl7'\nclass = 'org.test.JsonStreamBuilder'",
            "[[custom_message_formatters]]\ncontent_type = 'a/b'\nclass = 'org.apache.synapse.commons.json.JsonStreamBuilder'",
            "[[custom_message_formatters]]\nclass = 'JsonStreamFormatter'",
            "[[custom_message_builders]]\ncontent_type = '*/*'\nclass = 'org.apache.axis2.format.PlainTextBuilder'",
            "[message_builders]\ntext_plain = 'org.test.TextBuilder'\ntext_html = 'org.apache.axis2.format.PlainTextBuilder'",
            "[transport]\ndefault_content_type = \"a\\nb\"",
            "[[blocking.custom_message_builders]]\ncontent_type = 'a/b'\nclass = 'x.Y'",
        ],
        expect![[r#"
            deployment.toml:3:9: the Java class org.test.HtmlBuilder cannot run here; the builder classes of MI that are built in are ApplicationXMLBuilder, BinaryBuilder, BinaryRelayBuilder, JSONBadgerfishOMBuilder, JSONBuilder, JSONOMBuilder, JSONStreamBuilder, JsonBuilder, JsonStreamBuilder, MIMEBuilder, MTOMBuilder, MultipartFormDataBuilder, PlainTextBuilder, SOAPBuilder, XFormURLEncodedBuilder
            deployment.toml:3:9: the Java class org.test.JsonStreamBuilder cannot run here; the builder classes of MI that are built in are ApplicationXMLBuilder, BinaryBuilder, BinaryRelayBuilder, JSONBadgerfishOMBuilder, JSONBuilder, JSONOMBuilder, JSONStreamBuilder, JsonBuilder, JsonStreamBuilder, MIMEBuilder, MTOMBuilder, MultipartFormDataBuilder, PlainTextBuilder, SOAPBuilder, XFormURLEncodedBuilder
            deployment.toml:3:9: the Java class org.apache.synapse.commons.json.JsonStreamBuilder cannot run here; the formatter classes of MI that are built in are ApplicationXMLFormatter, BinaryFormatter, BinaryRelayBuilder, ExpandingMessageFormatter, JSONBadgerfishMessageFormatter, JSONMessageFormatter, JSONStreamFormatter, JsonFormatter, JsonStreamFormatter, MultipartFormDataFormatter, PlainTextFormatter, SOAPMessageFormatter, XFormURLEncodedFormatter
            deployment.toml:1:1: "custom_message_formatters[0].content_type" is missing
            deployment.toml:2:16: content_type: "*/*" is neither a type nor a pattern
            deployment.toml:2:14: the Java class org.test.TextBuilder cannot run here; the builder classes of MI that are built in are ApplicationXMLBuilder, BinaryBuilder, BinaryRelayBuilder, JSONBadgerfishOMBuilder, JSONBuilder, JSONOMBuilder, JSONStreamBuilder, JsonBuilder, JsonStreamBuilder, MIMEBuilder, MTOMBuilder, MultipartFormDataBuilder, PlainTextBuilder, SOAPBuilder, XFormURLEncodedBuilder
            deployment.toml:2:24: transport.default_content_type: "a\nb" is no content type
            warning: deployment.toml:1:3: "blocking" has no effect: blocking calls read and write bodies as all others do
        "#]],
    );
    let s = settings(
        "[[custom_message_builders]]\ncontent_type = 'application/fhir+json'\nclass = 'org.wso2.micro.integrator.core.json.JsonStreamBuilder'\n\
         [message_formatters]\noctet_stream = 'org.wso2.carbon.relay.ExpandingMessageFormatter'\n\
         [transport]\ndefault_content_type = 'empty/content'",
    );
    let row = |name: &str, form| (name.to_owned(), form);
    assert_eq!(
        s.media,
        MediaSettings {
            builders: vec![row("application/fhir+json", BodyForm::Json)],
            formatters: vec![row("application/octet-stream", BodyForm::Relay)],
            default_content_type: Some("empty/content".to_owned()),
        }
    );
}

#[test]
fn data_sources_need_an_id_and_an_address() {
    check(
        &[
            "[[datasource]]\nurl = \"jdbc:sqlite::memory:\"\nusername = \"u\"",
            "[[datasource]]\nid = \"A\"\npassword = \"p\"",
            "[[datasource]]\nid = \"A\"\nurl = \"x\"\n[[datasource]]\nid = \"A\"\nurl = \"y\"",
        ],
        expect![[r#"
            deployment.toml:1:1: "datasource[0].id" is missing
            deployment.toml:1:1: "datasource[0].url" is missing
            deployment.toml:1:1: datasource: two have the id "A"
        "#]],
    );
}

#[test]
fn listeners_that_could_not_be_reached_are_errors() {
    check(
        &[
            "[transport.http.listener]\nbind_address = 'localhost'",
            "[transport.https.listener]\nparameter.bind-address = '::1.'",
            "[transport.http]\nmax_open_connections = 0",
        ],
        expect![[r#"
            deployment.toml:2:16: transport.http.listener.bind_address: "localhost" is not an IP address to listen on
            deployment.toml:2:26: transport.https.listener.parameter.bind-address: "::1." is not an IP address to listen on
            deployment.toml:2:24: transport.http.max_open_connections: 0 lets nobody in; -1 means no limit
        "#]],
    );
}

#[test]
fn any_free_port_is_no_conflict() {
    let text = "[server]\noffset = 0\n[transport.http.listener]\nport = 0\nsecured_port = 0";
    let http = settings(text).http;
    assert_eq!((http.port, http.secured_port), (0, 0));
}
