//! Keys of MI that are understood but need no setting here, and MI's defaults that files refer to.

/// Keys (or, with a final dot, everything below them) that change nothing, and why.
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("transport.http.core_worker_pool_size", NO_POOL),
    ("transport.http.max_worker_pool_size", NO_POOL),
    ("transport.http.worker_pool_queue_length", NO_POOL),
    ("transport.http.sender.enable", ALWAYS_ON),
    ("transport.http.sender.secured_enable", ALWAYS_ON),
    (
        "transport.http.io_buffer_size",
        "buffers are sized by the server",
    ),
    ("transport.http.listener.secured_protocols", TLS_VERSIONS),
    ("transport.http.sender.secured_protocols", TLS_VERSIONS),
    ("transport.http.listener.preferred_ciphers", TLS_VERSIONS),
    ("transport.http.listener.keystore.", KEY_STORE),
    ("transport.http.listener.truststore.", TRUST_STORE),
    ("transport.http.sender.keystore.", KEY_STORE),
    ("transport.http.sender.truststore.", TRUST_STORE),
    ("keystore.", KEY_STORE),
    ("truststore.", TRUST_STORE),
    ("mediation.synapse.core_threads", NO_POOL),
    ("mediation.synapse.max_threads", NO_POOL),
    ("mediation.synapse.threads_queue_length", NO_POOL),
    ("mediation.inbound.core_threads", NO_POOL),
    ("mediation.inbound.max_threads", NO_POOL),
    ("mediation.synapse.script_mediator_pool_size", NO_POOL),
    (
        "mediation.synapse.temp_data_chunk_size",
        "buffers are sized by the server",
    ),
    ("synapse_properties.synapse.threads.core", NO_POOL),
    ("synapse_properties.synapse.threads.max", NO_POOL),
    ("synapse_properties.synapse.threads.qlen", NO_POOL),
    (
        "synapse_properties.synapse.timeout_handler_interval",
        "a timeout fires when it is due, there is no periodic check",
    ),
    (
        "synapse_properties.synapse.commons.json.output.xmloutAutoArray",
        ARRAYS_REPEAT,
    ),
    (
        "synapse_properties.synapse.commons.json.output.emptyXmlElemToEmptyStr",
        EMPTY_ELEMENTS,
    ),
    (
        "blocking.",
        "blocking calls read and write bodies as all others do",
    ),
    (
        "secrets.",
        "the secure vault is not supported; use $env{NAME} and set the variable from your secret store",
    ),
];

/// Keys (or, with a final dot, everything below them) that are checked but that nothing follows yet,
/// or that ask for what is done anyway.
const CHECKED_ONLY: &[(&str, &str)] = &[
    (
        "transport.http.max_http_connection_per_host_port",
        NO_TARGET_LIMIT,
    ),
    (
        "passthru_properties.http.max.connection.per.host.port",
        NO_TARGET_LIMIT,
    ),
    ("transport.http.sender.proxy_host", NO_PROXY),
    ("transport.http.proxy_profile.", NO_PROXY),
    ("transport.http.force_xml_validation", ALWAYS_WHOLE),
    (
        "passthru_properties.force.xml.message.validation",
        ALWAYS_WHOLE,
    ),
    (
        "passthru_properties.close_socket_on_endpoint_timeout",
        "the connection of a request that timed out is always closed",
    ),
    ("management_api.protocols", MANAGEMENT_PORT),
    ("prometheus_api.", METRICS_PORT),
    ("readiness_probe.protocols", ONE_PROTOCOL),
    ("liveness_probe.protocols", ONE_PROTOCOL),
];

const NO_TARGET_LIMIT: &str = "connections to one target are not limited; the setting \
     circuit_breakers.max_connections in [myelin.endpoint] limits those of an endpoint";
const NO_PROXY: &str =
    "messages do not go through an HTTP proxy yet; they are sent to their target";
const ALWAYS_WHOLE: &str = "an XML body that is read is always checked to its end";
const MANAGEMENT_PORT: &str = "the management API answers over HTTPS on its own port only";
const METRICS_PORT: &str = "metrics answer over HTTP on the internal port, without login";
const ONE_PROTOCOL: &str = "the probes answer over HTTP on the internal port";
const ARRAYS_REPEAT: &str = "on the way from JSON to XML an array is always one element for each \
     item; the reference does not look at the setting either";
const EMPTY_ELEMENTS: &str = "the setting synapse.commons.enableXmlNullForEmptyElement says what \
     an empty element becomes; the reference does not look at this one";
const NO_POOL: &str = "there is no such thread pool; the number of threads is myelin.workers";
const ALWAYS_ON: &str = "the HTTP sender is always on";
const TLS_VERSIONS: &str = "TLS 1.2 and 1.3 with their safe ciphers are always used";
const KEY_STORE: &str = "Java key stores are not read; convert to PEM (keytool -importkeystore \
     -deststoretype PKCS12, then openssl pkcs12) and set certificate_file and private_key_file in \
     [transport.http.listener]";
const TRUST_STORE: &str = "Java trust stores are not read; export the certificates as PEM and set \
     ca_file in [transport.http.sender] (back-ends) or [transport.http.listener] (clients)";

/// What `$ref{key}` yields when the file does not set the key.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("server.hostname", "localhost"),
    ("server.offset", "10"),
    ("server.service_path", "services"),
    ("server.synapse_config_server_name", "localhost"),
    ("transport.http.listener.port", "8280"),
    ("transport.http.listener.secured_port", "8243"),
    ("transport.http.socket_timeout", "180000"),
    ("mediation.internal_http_api_port", "9191"),
    ("mediation.internal_https_api_port", "9154"),
    ("mediation.synapse.global_timeout_interval", "120000"),
];

/// Why `key` changes nothing, when that is known.
pub(super) fn without_effect(key: &str) -> Option<&'static str> {
    find(WITHOUT_EFFECT, key)
}

/// Why nothing follows from `key` although its value is checked.
pub(super) fn checked_only(key: &str) -> Option<&'static str> {
    find(CHECKED_ONLY, key)
}

fn find(table: &[(&'static str, &'static str)], key: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| match known.strip_suffix('.') {
            Some(section) => key == section || key.starts_with(known),
            None => key == *known,
        })
        .map(|(_, why)| *why)
}
