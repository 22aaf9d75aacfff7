//! What the server is told from outside: `deployment.toml`, the environment and system properties.
//!
//! [`load`] reads MI's `deployment.toml` under MI's own key names and turns it into [`Settings`],
//! plain data that the rest of the server only reads. Everything that can be wrong with the file
//! is found here, with line and column.

mod admin;
mod database;
mod environment;
mod error;
mod inject;
mod keys;
mod load;
mod media;
mod mediators;
mod networks;
mod policy;
mod properties;
mod read;
mod secret;
mod units;

use std::path::PathBuf;
use std::time::Duration;

pub use environment::Environment;
pub use error::{SettingsError, SettingsProblem, SettingsWarning, WarningKind};
pub use load::{load, load_with, parse};
pub use media::{BodyForm, MediaSettings, pattern as media_pattern};
pub use mediators::TemplateSettings;
pub use networks::Networks;
pub use policy::{EndpointPolicy, LbPolicy, PolicyLevel};
pub use properties::{Properties, Variables};
pub use secret::Secret;

/// All settings of one server. `Default` is what MI does without a `deployment.toml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Identity, shutdown and worker threads.
    pub server: ServerSettings,
    /// HTTP and HTTPS listeners and the HTTP client of the message path.
    pub http: HttpSettings,
    /// Certificates and verification, both sides.
    pub tls: TlsSettings,
    /// Management API, probes and metrics.
    pub admin: AdminSettings,
    /// Defaults of endpoints, groups and sessions.
    pub endpoint: EndpointSettings,
    /// What endpoints have beyond the reference unless they say otherwise. Default: nothing is on.
    /// TOML section `[myelin.endpoint]`.
    pub endpoint_policy: EndpointPolicy,
    /// A Redis that holds sessions for several runtimes, `None` = in this process. Default `None`.
    /// TOML section `[myelin.sessions]`, on when it has a `redis_url`.
    pub sessions: Option<RedisSettings>,
    /// Conversion between XML and JSON.
    pub json: JsonSettings,
    /// Builders and formatters of content types.
    pub media: MediaSettings,
    /// Upper bounds that keep one message, client or artifact from taking the server down.
    pub limits: LimitSettings,
    /// The `script` mediator.
    pub script: ScriptSettings,
    /// FreeMarker templates of `payloadFactory`.
    pub templates: TemplateSettings,
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Host` the `throttle` mediator believes.
    /// Default `["private"]`: this machine, private and link-local networks. `["*"]` is everybody.
    /// TOML `myelin.trusted_proxies`.
    pub trusted_proxies: Networks,
    /// The mediators `dblookup` and `dbreport`.
    pub database: DatabaseSettings,
    /// Data sources that artifacts refer to by name. Default empty. TOML `[[datasource]]`.
    pub data_sources: Vec<DataSourceSettings>,
    /// Deployment directory: hot deployment, scanning, watching.
    pub deploy: DeploySettings,
    /// `[system.parameter]` of the file, overlaid with what the command line gave as `-Dname=value`.
    /// Default: empty.
    pub system_properties: Properties,
    /// `file.properties` next to `deployment.toml`, for the scope `file` of expressions. Default:
    /// empty.
    pub file_properties: Properties,
    /// `[synapse_properties]` of the file as written, for features that read a property by name.
    /// Default: empty. Keys which have a field of their own are in both places.
    pub synapse_properties: Properties,
}

/// Identity, shutdown and worker threads.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// Host name that goes into WSDL and endpoint references. Default `localhost`.
    /// TOML `server.hostname`.
    pub hostname: String,
    /// Name matched against `pinnedServers` of proxies and tasks. Default `localhost`.
    /// TOML `server.synapse_config_server_name`.
    pub name: String,
    /// What was added to each port of the file; the port fields already contain it. Default 10.
    /// TOML `server.offset`, overridden by the system property `portOffset`.
    pub offset: u16,
    /// First path segment of proxy services, without slashes. Default `services`.
    /// TOML `server.service_path`.
    pub service_path: String,
    /// How long running requests may take to finish after a stop was asked for. Milliseconds in
    /// the file, default 180 s, zero when `server.graceful_shutdown_enabled` is false.
    /// TOML `server.graceful_shutdown_timeout`.
    pub shutdown_timeout: Duration,
    /// Threads that process messages, 0 = one per core. Default 0. TOML `myelin.workers`.
    pub workers: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            name: "localhost".into(),
            offset: 10,
            service_path: "services".into(),
            shutdown_timeout: Duration::from_secs(180),
            workers: 0,
        }
    }
}

/// HTTP and HTTPS listeners and the HTTP client of the message path. Ports are final: the offset
/// is already added.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Whether the plain listener is started. Default true. TOML `transport.http.listener.enable`.
    pub enabled: bool,
    /// Port of the plain listener. Default 8290 (8280 + offset 10).
    /// TOML `transport.http.listener.port`, without the offset.
    pub port: u16,
    /// Address the plain listener binds to, `None` = all. Default `None`.
    /// TOML `transport.http.listener.bind_address`.
    pub bind_address: Option<String>,
    /// Whether the TLS listener is started (it also needs a certificate, see [`TlsSettings`]).
    /// Default true. TOML `transport.http.listener.secured_enable`.
    pub secured_enabled: bool,
    /// Port of the TLS listener. Default 8253 (8243 + offset 10).
    /// TOML `transport.http.listener.secured_port`, without the offset.
    pub secured_port: u16,
    /// Address the TLS listener binds to, `None` = all. Default `None`.
    /// TOML `transport.http.listener.secured_bind_address`.
    pub secured_bind_address: Option<String>,
    /// Scheme, host and port put in front of service paths in a WSDL and in the `ReplyTo` of
    /// endpoints with `separateListener`, `None` = made from host name and port. Default `None`. TOML `transport.http.listener.wsdl_epr_prefix`.
    pub wsdl_epr_prefix: Option<String>,
    /// The same for https. Default `None`. TOML `transport.http.listener.secured_wsdl_epr_prefix`.
    pub secured_wsdl_epr_prefix: Option<String>,
    /// Longest silence on an established connection, on either side; zero = no limit.
    /// Milliseconds in the file, default 180 s. TOML `transport.http.socket_timeout`.
    pub socket_timeout: Duration,
    /// Longest wait for a connection to a back-end. Milliseconds in the file, default half of
    /// `socket_timeout` = 90 s. TOML `transport.http.connection_timeout`.
    pub connection_timeout: Duration,
    /// Most client connections accepted at one time over both listeners, `None` = no limit.
    /// Default `None` (-1 in the file). TOML `transport.http.max_open_connections`; when absent,
    /// `myelin.max_connections`.
    pub max_open_connections: Option<usize>,
    /// Most connections to one host and port of a back-end. Default 32767.
    /// TOML `transport.http.max_http_connection_per_host_port`.
    pub max_connections_per_target: usize,
    /// Whether connections are kept open between requests, both sides. Default true.
    /// TOML `transport.http.disable_connection_keepalive`, inverted.
    pub keep_alive: bool,
    /// Whether the client sees the back-end's `Server` header. Default true.
    /// TOML `transport.http.preserve_http_server_name`.
    pub preserve_server_header: bool,
    /// Whether the back-end sees the client's `User-Agent`. Default false.
    /// TOML `transport.http.preserve_http_user_agent`.
    pub preserve_user_agent: bool,
    /// Request headers the sender neither removes nor replaces. Default `["Content-Type"]`.
    /// TOML `transport.http.preserve_http_headers`.
    pub preserve_headers: Vec<String>,
    /// The same for responses. Default empty.
    /// TOML `passthru_properties.'http.response.headers.preserve'`, a comma list.
    pub preserve_response_headers: Vec<String>,
    /// Whether the list of services under the service path is refused with 403. Default true.
    /// TOML `passthru_properties.'http.block_service_list'`.
    pub block_service_list: bool,
    /// Largest body accepted for an XML or JSON message, in bytes, `None` = not checked.
    /// Default `None`; 81920 when `transport.http.enable_message_size_validation` is true and
    /// `transport.http.max_message_size_bytes` is absent. A response without a length is read before
    /// it is handed on, so that [`LimitSettings::max_body_bytes`], which bounds memory, holds too.
    pub max_message_size: Option<u64>,
    /// Whether the first known type of a request's `Accept` chooses what its body is written as
    /// once it was read, also towards the back-end. Default true. TOML `myelin.content_negotiation`
    /// (MI: `httpContentNegotiation` in axis2.xml).
    pub content_negotiation: bool,
    /// Whether an XML body is parsed completely even when no mediator needs it. Default false.
    /// TOML `transport.http.force_xml_validation`.
    pub force_xml_validation: bool,
    /// The same for JSON. Default false. TOML `transport.http.force_json_validation`.
    pub force_json_validation: bool,
    /// Whether the connection to a back-end is closed when the endpoint's timeout fires.
    /// Default false. TOML `passthru_properties.'close_socket_on_endpoint_timeout'`.
    pub close_socket_on_endpoint_timeout: bool,
    /// Forward proxy for back-ends, `None` = direct. Default `None`.
    /// TOML `transport.http.sender.proxy_host`, `.proxy_port`, `.non_proxy_hosts`.
    pub proxy: Option<ProxySettings>,
    /// Forward proxies by target, first match wins, before `proxy`. Default empty.
    /// TOML `[[transport.http.proxy_profile]]`.
    pub proxy_profiles: Vec<ProxyProfile>,
    /// Longest wait for the complete header of a request. Default 30 s.
    /// TOML `myelin.header_timeout` (number = milliseconds).
    pub header_timeout: Duration,
    /// Longest time a kept connection may be without a request. Default 180 s: `socket_timeout`.
    /// TOML `myelin.keep_alive_timeout` (number = milliseconds).
    pub keep_alive_timeout: Duration,
    /// Largest request line plus header, in bytes. Default 65536. TOML `myelin.max_header_bytes`.
    pub max_header_bytes: usize,
    /// Most header fields in one message. Default 100. TOML `myelin.max_headers`.
    pub max_headers: usize,
    /// Most unused connections kept per back-end and worker. Default 256.
    /// TOML `myelin.max_idle_connections_per_target`.
    pub max_idle_per_target: usize,
    /// How long an unused connection to a back-end is kept. Default 30 s.
    /// TOML `myelin.idle_connection_timeout` (number = milliseconds).
    pub idle_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            port: 8290,
            bind_address: None,
            secured_enabled: true,
            secured_port: 8253,
            secured_bind_address: None,
            wsdl_epr_prefix: None,
            secured_wsdl_epr_prefix: None,
            socket_timeout: Duration::from_secs(180),
            connection_timeout: Duration::from_secs(90),
            max_open_connections: None,
            max_connections_per_target: 32767,
            keep_alive: true,
            preserve_server_header: true,
            preserve_user_agent: false,
            preserve_headers: vec!["Content-Type".into()],
            preserve_response_headers: Vec::new(),
            block_service_list: true,
            max_message_size: None,
            content_negotiation: true,
            force_xml_validation: false,
            force_json_validation: false,
            close_socket_on_endpoint_timeout: false,
            proxy: None,
            proxy_profiles: Vec::new(),
            header_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(180),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_idle_per_target: 256,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// A forward proxy for every back-end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// Host of the proxy. No default. TOML `transport.http.sender.proxy_host`.
    pub host: String,
    /// Port of the proxy. Default 80. TOML `transport.http.sender.proxy_port`.
    pub port: u16,
    /// Hosts reached directly, as patterns. Default empty.
    /// TOML `transport.http.sender.non_proxy_hosts`.
    pub bypass_hosts: Vec<String>,
}

/// A forward proxy for some back-ends: one `[[transport.http.proxy_profile]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProfile {
    /// Regular expressions over the target's host name; `*` alone = all. No default.
    /// TOML `target_hosts`.
    pub target_hosts: Vec<String>,
    /// Host of the proxy. No default. TOML `proxy_host`.
    pub host: String,
    /// Port of the proxy. No default. TOML `proxy_port`.
    pub port: u16,
    /// User name for the proxy. Default `None`. TOML `proxy_username`.
    pub username: Option<String>,
    /// Password for the proxy. Default `None`. TOML `proxy_password`.
    pub password: Option<Secret>,
    /// Regular expressions of hosts reached directly although a target matches. Default empty.
    /// TOML `bypass_hosts`.
    pub bypass_hosts: Vec<String>,
}

/// Certificates and verification. Files are PEM; a relative path starts at the directory of
/// `deployment.toml`. Java key stores are not read, the loader warns and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Certificate chain of the listeners. Default `None`: no TLS listener.
    /// TOML `transport.http.listener.certificate_file`.
    pub certificate_file: Option<PathBuf>,
    /// Private key of the listeners. Default `None`. TOML `transport.http.listener.private_key_file`.
    pub private_key_file: Option<PathBuf>,
    /// Whether clients must show a certificate. Default [`VerifyClient::No`].
    /// TOML `transport.http.listener.verify_client` (`none`, `optional`, `require`).
    pub verify_client: VerifyClient,
    /// Authorities that sign client certificates. Default `None`.
    /// TOML `transport.http.listener.ca_file`.
    pub client_ca_file: Option<PathBuf>,
    /// Authorities trusted for back-ends, in addition to those of the system. Default `None`.
    /// TOML `transport.http.sender.ca_file`.
    pub backend_ca_file: Option<PathBuf>,
    /// Certificate chain shown to back-ends. Default `None`.
    /// TOML `transport.http.sender.certificate_file`.
    pub backend_certificate_file: Option<PathBuf>,
    /// Private key for it. Default `None`. TOML `transport.http.sender.private_key_file`.
    pub backend_private_key_file: Option<PathBuf>,
    /// How the host name in a back-end's certificate is checked. Default
    /// [`HostnameVerifier::Strict`]. TOML `transport.http.sender.hostname_verifier`.
    pub hostname_verifier: HostnameVerifier,
    /// Accept any certificate of a back-end; for tests only, a warning is logged. Default false.
    /// TOML `myelin.insecure_skip_verify`.
    pub insecure_skip_verify: bool,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyClient {
    /// Never asked for.
    #[default]
    No,
    /// Asked for, verified when shown.
    Optional,
    /// A connection without a valid certificate is refused.
    Require,
}

/// How the host name in a back-end's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostnameVerifier {
    /// The name must match (`Default` or `Strict` in the file).
    #[default]
    Strict,
    /// The name must match unless the target is this machine (`DefaultAndLocalhost`).
    StrictExceptLocalhost,
    /// Any name is accepted (`AllowAll`); the chain is still verified.
    AllowAll,
}

/// Management API, probes and metrics. Ports are final: the offset is already added.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminSettings {
    /// Whether the internal listeners are started. Default true.
    /// TOML `mediation.internal_http_api_enable`.
    pub enabled: bool,
    /// Plain port: probes, metrics, management. Default 9201 (9191 + offset 10).
    /// TOML `mediation.internal_http_api_port`, without the offset.
    pub port: u16,
    /// TLS port of the management API. Default 9164 (9154 + offset 10).
    /// TOML `mediation.internal_https_api_port`, without the offset.
    pub secured_port: u16,
    /// Address the management port binds to, `None` = loopback. Default `None`; anything else needs
    /// users other than the default one. TOML `myelin.management_bind_address`.
    pub bind_address: Option<String>,
    /// Where the management API answers. Default both. TOML `management_api.protocols`.
    pub management: Protocols,
    /// Where metrics answer. Default http. TOML `prometheus_api.protocols`.
    pub metrics: Protocols,
    /// Where the readiness probe answers. Default http. TOML `readiness_probe.protocols`.
    pub readiness: Protocols,
    /// Where the liveness probe answers. Default http. TOML `liveness_probe.protocols`.
    pub liveness: Protocols,
    /// Who may log in to the management API. Default one administrator `admin` / `admin`, replaced
    /// by the first entry of the file. TOML `[[internal_apis.users]]`.
    pub users: Vec<AdminUser>,
    /// Whether users other than administrators may only read. Default false.
    /// TOML `user_access.make_non_admin_users_read_only`.
    pub non_admin_read_only: bool,
    /// Life of an access token. Seconds in the file, default 3600 s.
    /// TOML `management_api.jwt_token_security_handler.token_config.expiry`.
    pub token_expiry: Duration,
    /// Most access tokens alive at a time. Default 200.
    /// TOML `management_api.jwt_token_security_handler.token_store_config.max_size`.
    pub max_tokens: usize,
    /// Value of `Access-Control-Allow-Origin`, `None` = no CORS headers. Default `*`, `None` when
    /// `management_api.cors.enable` is false. TOML `management_api.cors.allowed_origins`.
    pub cors_origins: Option<String>,
    /// Value of `Access-Control-Allow-Headers`. Default `Authorization, Content-Type`.
    /// TOML `management_api.cors.allowed_headers`.
    pub cors_headers: String,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            port: 9201,
            secured_port: 9164,
            bind_address: None,
            management: Protocols {
                http: true,
                https: true,
            },
            metrics: Protocols {
                http: true,
                https: false,
            },
            readiness: Protocols {
                http: true,
                https: false,
            },
            liveness: Protocols {
                http: true,
                https: false,
            },
            users: vec![AdminUser {
                name: "admin".into(),
                password: Secret::new("admin"),
                is_admin: true,
            }],
            non_admin_read_only: false,
            token_expiry: Duration::from_secs(3600),
            max_tokens: 200,
            cors_origins: Some("*".into()),
            cors_headers: "Authorization, Content-Type".into(),
        }
    }
}

/// On which of the internal listeners an API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// On the plain port.
    pub http: bool,
    /// On the TLS port.
    pub https: bool,
}

/// One `[[internal_apis.users]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUser {
    /// Login name. No default. TOML `user.name`.
    pub name: String,
    /// Password. No default. TOML `user.password`.
    pub password: Secret,
    /// Whether the user may change what runs also where other users may only read. Default false.
    /// TOML `user.is_admin`.
    pub is_admin: bool,
}

/// Defaults of endpoints, groups and sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSettings {
    /// Wait for an answer where the endpoint has no `duration`. Milliseconds in the file, default
    /// 120 s. TOML `mediation.synapse.global_timeout_interval`.
    pub global_timeout: Duration,
    /// First suspension of an endpoint without a value of its own. Milliseconds in the file
    /// (-1 = default), default 30 s.
    /// TOML `synapse_properties.'synapse.global_endpoint_suspend_duration'`.
    pub suspend_duration: Duration,
    /// Growth of the suspension of an endpoint without a value of its own. Default 1.0.
    /// TOML `synapse_properties.'synapse.global_endpoint_suspend_progression_factor'`.
    pub suspend_factor: f32,
    /// Whether the two above also replace the endpoint's own values. Default false.
    /// TOML `synapse_properties.'synapse.override_endpoint_suspend_config_with_global_values'`.
    pub suspend_override: bool,
    /// Life of an unused client session where the group has no `sessionTimeout`. Milliseconds in
    /// the file, default 600 s.
    /// TOML `synapse_properties.'synapse.sal.endpoints.sesssion.timeout.default'` (three `s`).
    pub sal_session_timeout: Duration,
    /// Failures after which an endpoint outside a group is suspended whatever its codes say,
    /// `None` = no such cap. Default `None` (-1 in the file).
    /// TOML `mediation.synapse.maximum_failover_retries` or
    /// `synapse_properties.'maximum.failover.retries'`.
    pub max_failover_retries: Option<u32>,
    /// How long it is suspended then. Milliseconds in the file, default 30 s.
    /// TOML `mediation.synapse.suspend_duration_on_maximum_failover` or
    /// `synapse_properties.'suspend.duration.on.maximum.failover'`.
    pub suspend_on_max_failover: Duration,
    /// The cap for members of a load-balance or failover group. Default `None` (-1 in the file).
    /// TOML `synapse_properties.'maximum.failover.recursive.retries'`.
    pub max_recursive_failover_retries: Option<u32>,
    /// How long a member is suspended then. Milliseconds in the file, default 30 s.
    /// TOML `synapse_properties.'suspend.duration.on.maximum.recursive.failover'`.
    pub suspend_on_max_recursive_failover: Duration,
    /// Whether the body is kept for a second attempt even if the group does not ask for it.
    /// Default false. TOML `synapse_properties.'build.message.on.failover.enable'`.
    pub build_message_on_failover: bool,
    /// Longest life of an OAuth token in the cache. Seconds in the file, default 3000 s.
    /// TOML `synapse_properties.'synapse.endpoint.http.oauth.cache.timeout'`.
    pub oauth_cache_timeout: Duration,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            global_timeout: Duration::from_secs(120),
            suspend_duration: Duration::from_secs(30),
            suspend_factor: 1.0,
            suspend_override: false,
            sal_session_timeout: Duration::from_secs(600),
            max_failover_retries: None,
            suspend_on_max_failover: Duration::from_secs(30),
            max_recursive_failover_retries: None,
            suspend_on_max_recursive_failover: Duration::from_secs(30),
            build_message_on_failover: false,
            oauth_cache_timeout: Duration::from_secs(3000),
        }
    }
}

/// A Redis that several runtimes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/database]`, the same with `rediss` over TLS (trust and
    /// certificate are those towards back-ends), or `redis+unix:///path`. No default.
    /// TOML `myelin.sessions.redis_url`.
    pub url: Secret,
    /// What every key begins with. Default `myelin:session:`. TOML `myelin.sessions.key_prefix`.
    pub key_prefix: String,
    /// Longest wait for a connection. Default 500 ms.
    /// TOML `myelin.sessions.connect_timeout` (number = milliseconds).
    pub connect_timeout: Duration,
    /// Longest wait for an answer; then the sessions of this process are used. Default 250 ms.
    /// TOML `myelin.sessions.command_timeout` (number = milliseconds).
    pub command_timeout: Duration,
}

impl RedisSettings {
    /// Whether it is called over TLS.
    pub fn is_secure(&self) -> bool {
        self.url.expose().starts_with("rediss://")
    }

    /// The address without what it says about TLS.
    pub fn plain_url(&self) -> String {
        let url = self.url.expose();
        match url.strip_prefix("rediss://") {
            Some(rest) => format!("redis://{rest}"),
            None => url.to_owned(),
        }
    }

    /// A Redis with the default prefix and timeouts.
    pub fn new(url: &str) -> RedisSettings {
        RedisSettings {
            url: Secret::new(url),
            key_prefix: "myelin:session:".into(),
            connect_timeout: Duration::from_millis(500),
            command_timeout: Duration::from_millis(250),
        }
    }
}

/// Conversion between XML and JSON. Each key also works under its `synapse_properties` name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonSettings {
    /// Whether text that looks like a number, `true`, `false` or `null` becomes one. Default true.
    /// TOML `mediation.synapse.enable_auto_primitive`.
    pub auto_primitive: bool,
    /// Text that matches stays a string although `auto_primitive` is on. Default `None`.
    /// TOML `mediation.synapse.disable_auto_primitive_regex`.
    pub no_primitive_regex: Option<String>,
    /// What is cut out of text kept by `no_primitive_regex`. Default `None`.
    /// TOML `mediation.synapse.disable_custom_replace_regex`.
    pub no_primitive_replace_regex: Option<String>,
    /// Whether repeated elements become an array. Default true.
    /// TOML `mediation.synapse.json_out_auto_array`.
    pub auto_array: bool,
    /// Whether namespace declarations are written into JSON. Default false.
    /// TOML `mediation.synapse.enable_namespace_declaration`.
    pub namespace_declarations: bool,
    /// Whether JSON names that are no XML names are escaped. Default false.
    /// TOML `mediation.synapse.build_valid_nc_name`.
    pub valid_nc_names: bool,
    /// Whether `xsi:nil` and JSON `null` are mapped to each other. Default false.
    /// TOML `mediation.synapse.enable_xml_nil`.
    pub xml_nil: bool,
    /// Whether prefixes stay in JSON names. Default false.
    /// TOML `mediation.synapse.preserve_namespace_on_xml_to_json`.
    pub preserve_namespace: bool,
    /// What stands between prefix and name in a JSON name. Default `_`.
    /// TOML `synapse_properties.'synapse.commons.json.output.namespaceSepChar'`.
    pub namespace_separator: String,
    /// What `no_primitive_replace_regex` is replaced by. Default empty.
    /// TOML `synapse_properties.'synapse.commons.json.json.output.disableAutoPrimitive.customReplaceSequence'`.
    pub no_primitive_replacement: String,
    /// Whether `<?xml-multiple?>` starts an array when writing JSON. Default true.
    /// TOML `synapse_properties.'synapse.commons.json.output.jsonoutMultiplePI'`.
    pub multiple_pi: bool,
    /// Whether `<?xml-multiple?>` is written for arrays on the way from JSON to XML. Default false.
    /// TOML `synapse_properties.'synapse.commons.json.output.xmloutMultiplePI'`.
    pub xml_out_multiple_pi: bool,
    /// Whether an empty element becomes `null`. Default true.
    /// TOML `synapse_properties.'synapse.commons.enableXmlNullForEmptyElement'`.
    pub null_for_empty_element: bool,
    /// Whether processing instructions are made for JSON to XML. Default false.
    /// TOML `synapse_properties.'synapse.json.to.xml.processing.instruction.enabled'`.
    pub processing_instructions: bool,
}

impl Default for JsonSettings {
    fn default() -> Self {
        Self {
            auto_primitive: true,
            no_primitive_regex: None,
            no_primitive_replace_regex: None,
            auto_array: true,
            namespace_declarations: false,
            valid_nc_names: false,
            xml_nil: false,
            preserve_namespace: false,
            namespace_separator: "_".into(),
            no_primitive_replacement: String::new(),
            multiple_pi: true,
            xml_out_multiple_pi: false,
            null_for_empty_element: true,
            processing_instructions: false,
        }
    }
}

/// Upper bounds that keep one message, client or artifact from taking the server down. All of
/// them are ours: TOML section `[myelin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// Largest body held in memory, in bytes; a larger one still streams through where nobody
    /// needs it. Default 67108864 (64 MiB). TOML `myelin.max_body_bytes`.
    pub max_body_bytes: u64,
    /// Largest body kept for a second attempt at another endpoint, in bytes. Default 1048576
    /// (1 MiB). TOML `myelin.replay_limit_bytes`.
    pub replay_limit_bytes: u64,
    /// Most client sessions remembered over all groups; the oldest goes first. Default 100000.
    /// TOML `myelin.max_sessions`.
    pub max_sessions: usize,
    /// Most OAuth tokens kept for one `http` endpoint; the oldest goes first. Default 1000.
    /// TOML `myelin.max_oauth_tokens`.
    pub max_oauth_tokens: usize,
    /// Most requests of endpoints with `separateListener` that wait for their answers. Default 10000.
    /// TOML `myelin.max_waiting_replies`.
    pub max_waiting_replies: usize,
    /// Deepest nesting of sequences and templates calling each other. Default 128.
    /// TOML `myelin.max_sequence_depth`.
    pub max_sequence_depth: usize,
    /// Most attempts at endpoints that one `send` or `call` may make. Default 100.
    /// TOML `myelin.max_attempts_per_request`.
    pub max_attempts_per_request: u32,
    /// Most endpoints that one written endpoint may make from templates which use each other. Default
    /// 1000. TOML `myelin.max_template_endpoints`.
    pub max_template_endpoints: usize,
    /// Most parts a message may be split into by `iterate`, `foreach` or `clone`. Default 100000.
    /// TOML `myelin.max_split_parts`.
    pub max_split_parts: usize,
    /// Most parts of one split that are at work at the same time; the others wait in line. Default
    /// 100, the size of the reference's pool. TOML `myelin.max_parallel_parts`.
    pub max_parallel_parts: usize,
    /// Most groups of `aggregate` that wait for further messages. Default 100000.
    /// TOML `myelin.max_aggregate_groups`.
    pub max_aggregate_groups: usize,
    /// Most bytes that all waiting groups of `aggregate` hold together, counted roughly. Default
    /// 268435456 (256 MiB). TOML `myelin.max_aggregate_bytes`.
    pub max_aggregate_bytes: u64,
    /// Deepest nesting of XML elements. Default 512. TOML `myelin.max_xml_depth`.
    pub max_xml_depth: usize,
    /// Most attributes of one XML element. Default 1000. TOML `myelin.max_xml_attributes`.
    pub max_xml_attributes: usize,
    /// Most namespace declarations of one XML element. Default 256.
    /// TOML `myelin.max_xml_namespaces`.
    pub max_xml_namespaces: usize,
    /// Longest name of an XML element, attribute or instruction with its prefix, in bytes.
    /// Default 4096. TOML `myelin.max_xml_name_bytes`.
    pub max_xml_name_bytes: usize,
    /// Most nodes of one XML document. Default 10000000. TOML `myelin.max_xml_nodes`.
    pub max_xml_nodes: usize,
    /// Deepest nesting of JSON. Default 512. TOML `myelin.max_json_depth`.
    pub max_json_depth: usize,
    /// Most responses that all `cache` mediators together keep. Default 100000.
    /// TOML `myelin.max_cache_entries`.
    pub max_cache_entries: usize,
    /// Most bytes that all `cache` mediators together keep. Default 67108864 (64 MiB).
    /// TOML `myelin.max_cache_bytes`.
    pub max_cache_bytes: u64,
    /// Most values of one JSON text. Default 10000000. TOML `myelin.max_json_nodes`.
    pub max_json_nodes: usize,
    /// Most nodes that one evaluation of an XPath may visit, 32 bytes of text counting as one; more is a fault.
    /// Default 20000000, which takes up to 0.2 s, in which the other messages of the worker wait.
    /// TOML `myelin.max_xpath_visits`.
    pub max_xpath_visits: u64,
    /// Most values that one evaluation of a JSON path may visit, filters included. Default 20000000, which takes
    /// up to 0.2 s. TOML `myelin.max_jsonpath_steps`.
    pub max_jsonpath_steps: u64,
    /// Most parts of a multipart body. Default 1000. TOML `myelin.max_multipart_parts`.
    pub max_multipart_parts: usize,
    /// Largest header of one part of a multipart body, in bytes. Default 16384.
    /// TOML `myelin.max_part_header_bytes`.
    pub max_part_header_bytes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024 * 1024,
            replay_limit_bytes: 1024 * 1024,
            max_sessions: 100_000,
            max_oauth_tokens: 1000,
            max_waiting_replies: 10_000,
            max_sequence_depth: 128,
            max_attempts_per_request: 100,
            max_template_endpoints: 1000,
            max_split_parts: 100_000,
            max_parallel_parts: 100,
            max_aggregate_groups: 100_000,
            max_aggregate_bytes: 256 * 1024 * 1024,
            max_xml_depth: 512,
            max_xml_attributes: 1000,
            max_xml_namespaces: 256,
            max_xml_name_bytes: 4096,
            max_xml_nodes: 10_000_000,
            max_json_depth: 512,
            max_cache_entries: 100_000,
            max_cache_bytes: 64 * 1024 * 1024,
            max_json_nodes: 10_000_000,
            max_xpath_visits: 20_000_000,
            max_jsonpath_steps: 20_000_000,
            max_multipart_parts: 1000,
            max_part_header_bytes: 16 * 1024,
        }
    }
}

/// What scripts may use. All of it is ours: TOML section `[myelin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptSettings {
    /// Longest run of a script for one message. Default 5 s. TOML `myelin.script_timeout`
    /// (number = milliseconds).
    pub timeout: Duration,
    /// Most memory that the scripts of one thread hold, in bytes. Default 33554432 (32 MiB).
    /// TOML `myelin.script_memory_bytes`.
    pub memory_bytes: u64,
    /// Most stack of one script, in bytes. Default 262144 (256 KiB).
    /// TOML `myelin.script_stack_bytes`.
    pub stack_bytes: usize,
    /// Threads that run scripts, 0 = one per core, at least two. Default 0.
    /// TOML `myelin.script_threads`.
    pub threads: usize,
    /// Most messages that wait for such a thread; more fault. Default 1000.
    /// TOML `myelin.script_queue`.
    pub queue: usize,
}

impl ScriptSettings {
    /// How many threads there may be.
    pub fn threads(&self) -> usize {
        mediators::threads(self.threads)
    }
}

impl Default for ScriptSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            memory_bytes: 32 * 1024 * 1024,
            stack_bytes: 256 * 1024,
            threads: 0,
            queue: 1000,
        }
    }
}

/// The mediators `dblookup` and `dbreport`. All of it is ours: TOML section `[myelin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Longest time that one statement may take, the wait for a connection included. Default 60 s.
    /// TOML `myelin.database_timeout` (number = milliseconds).
    pub timeout: Duration,
    /// Longest wait for a connection where the pool says nothing (`maxwait`). Default 30 s.
    /// TOML `myelin.database_wait` (number = milliseconds).
    pub pool_wait: Duration,
    /// Most connections of one pool, whatever its `maxactive` says. Default 100.
    /// TOML `myelin.max_database_connections`.
    pub max_connections: u32,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            pool_wait: Duration::from_secs(30),
            max_connections: 100,
        }
    }
}

/// A database: one `[[datasource]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSourceSettings {
    /// Its name, without `jdbc/`. No default. TOML `id`.
    pub id: String,
    /// JDBC address. No default. TOML `url`.
    pub url: String,
    /// User. Default `None`. TOML `username`.
    pub username: Option<String>,
    /// Password. Default `None`. TOML `password`.
    pub password: Option<Secret>,
    /// Most connections. Default `None`: 8. TOML `pool_options.maxActive` or
    /// `jdbc.pool_options.maxActive`.
    pub max_active: Option<u32>,
}

/// Deployment directory: hot deployment, scanning, watching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploySettings {
    /// Whether changes in the directory are taken over while running. Default true.
    /// TOML `server.hot_deployment`.
    pub hot_deployment: bool,
    /// Quiet time after a change before the directory is read again. Default 100 ms.
    /// TOML `myelin.reload_debounce_ms`, in milliseconds.
    pub reload_debounce: Duration,
    /// Largest artifact file, in bytes. Default 16777216 (16 MiB).
    /// TOML `myelin.max_artifact_bytes`.
    pub max_artifact_bytes: u64,
    /// Longest time to read what an artifact takes from an `http:` or `https:` address while it is
    /// deployed. Default 10 s. TOML `myelin.fetch_timeout` (number = milliseconds).
    pub fetch_timeout: Duration,
    /// Deepest sub-folder that is read. Default 32. TOML `myelin.max_folder_depth`.
    pub max_folder_depth: usize,
    /// What becomes of mediators that are not supported. Default [`Unsupported::Refuse`].
    /// TOML `myelin.unsupported_mediators` (`refuse`, `fault`).
    pub unsupported_mediators: Unsupported,
}

/// What becomes of a mediator that is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsupported {
    /// Its artifact is not deployed.
    #[default]
    Refuse,
    /// Its artifact is deployed, with a warning; a message that reaches it faults.
    Fault,
}

impl Default for DeploySettings {
    fn default() -> Self {
        Self {
            hot_deployment: true,
            reload_debounce: Duration::from_millis(100),
            max_artifact_bytes: 16 * 1024 * 1024,
            fetch_timeout: Duration::from_secs(10),
            max_folder_depth: 32,
            unsupported_mediators: Unsupported::Refuse,
        }
    }
}

#[cfg(test)]
mod tests;
