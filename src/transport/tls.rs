//! TLS for listeners and clients: rustls with the `ring` provider, no process-wide default needed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use thiserror::Error;

use crate::settings::{HostnameVerifier, TlsSettings};

/// Why a TLS configuration cannot be built.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A PEM text holds nothing usable.
    #[error("{what} holds no valid {wanted}: {detail}")]
    Pem {
        /// The file, or where else the text is from.
        what: String,
        /// What was expected in it.
        wanted: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// rustls refuses the combination (key and certificate do not belong together, say).
    #[error("TLS configuration: {0}")]
    Config(String),
    /// The self-signed certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(String),
}

fn config_error(error: impl fmt::Display) -> TlsError {
    TlsError::Config(error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

/// The certificates in a PEM text, at least one.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |detail: String| TlsError::Pem {
        what: what.to_owned(),
        wanted: "certificate",
        detail,
    };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("there is none".to_owned()));
    }
    Ok(found)
}

/// A certificate chain with its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The same once more: keys are not copied by accident.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }

    /// From PEM files: the chain (own certificate first) and its key (PKCS#8, PKCS#1 or SEC1).
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::parse(
            &read(chain)?,
            &chain.display().to_string(),
            &read(key)?,
            &key.display().to_string(),
        )
    }

    /// From PEM texts, as [`Identity::from_files`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::parse(chain, "the certificate", key, "the key")
    }

    fn parse(chain: &[u8], chain_at: &str, key: &[u8], key_at: &str) -> Result<Self, TlsError> {
        Ok(Self {
            chain: certificates(chain, chain_at)?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem {
                what: key_at.to_owned(),
                wanted: "private key",
                detail: error.to_string(),
            })?,
        })
    }

    /// A new self-signed certificate for `localhost`, `127.0.0.1`, `::1`, this machine's host name
    /// and `extra` names or addresses.
    pub fn self_signed(extra: &[String]) -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| TlsError::SelfSigned(error.to_string());
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        names.extend(host_name());
        names.extend_from_slice(extra);
        names.sort_unstable();
        names.dedup();
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, "localhost");
        params.distinguished_name = name;
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// The own certificate in PEM, to be trusted by clients.
    pub fn certificate_pem(&self) -> String {
        let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
        let der = self.chain.first().map(AsRef::as_ref).unwrap_or_default();
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
        text
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Identity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_owned())
}

/// Whether a listener asks clients for a certificate.
#[derive(Debug, Clone, Default)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    Ignored,
    /// Asked for; one that is sent must be signed by an authority in this PEM bundle.
    Optional(Vec<u8>),
    /// A connection needs one signed by an authority in this PEM bundle.
    Required(Vec<u8>),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A listener's configuration: TLS 1.2 and 1.3, HTTP/1.1.
pub fn server_config(
    identity: Identity,
    clients: &ClientCertificates,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(config_error)?;
    let verifier = |bundle: &[u8]| {
        let roots = Arc::new(roots(bundle, "the client authorities")?);
        Ok(WebPkiClientVerifier::builder_with_provider(roots, provider))
    };
    let builder = match clients {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Optional(bundle) => builder.with_client_cert_verifier(
            verifier(bundle)?
                .allow_unauthenticated()
                .build()
                .map_err(config_error)?,
        ),
        ClientCertificates::Required(bundle) => {
            builder.with_client_cert_verifier(verifier(bundle)?.build().map_err(config_error)?)
        }
    };
    let mut config = builder
        .with_single_cert(identity.chain, identity.key)
        .map_err(config_error)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How the host name in a server's certificate is checked. Its chain of trust always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostNames {
    /// The name must match.
    #[default]
    Strict,
    /// The name must match unless the target is this machine.
    StrictExceptLocalhost,
    /// Any name.
    Any,
}

impl HostNames {
    pub(super) fn allow_mismatch(self, name: &ServerName<'_>) -> bool {
        match self {
            HostNames::Strict => false,
            HostNames::StrictExceptLocalhost => match name {
                ServerName::DnsName(name) => {
                    let name = name.as_ref();
                    name.eq_ignore_ascii_case("localhost")
                        || name.eq_ignore_ascii_case("localhost.localdomain")
                }
                ServerName::IpAddress(address) => std::net::IpAddr::from(*address).is_loopback(),
                _ => false,
            },
            HostNames::Any => true,
        }
    }
}

/// Whom a client trusts and how it presents itself.
#[derive(Debug)]
pub struct ClientTls {
    /// Trust the public authorities (Mozilla's list, compiled in). Default on.
    pub public_roots: bool,
    /// Authorities or certificates to trust besides, in PEM.
    pub extra_roots: Vec<Vec<u8>>,
    /// Check certificates. Default on; off is for tests only.
    pub verify: bool,
    /// Which host names a certificate that is trusted may be shown for. Default: its own.
    pub names: HostNames,
    /// The certificate shown to servers that ask for one.
    pub identity: Option<Identity>,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            public_roots: true,
            extra_roots: Vec::new(),
            verify: true,
            names: HostNames::default(),
            identity: None,
        }
    }
}

impl ClientTls {
    /// Adds the certificates of a PEM file to those trusted.
    pub fn trust_file(mut self, path: &Path) -> Result<Self, TlsError> {
        let pem = read(path)?;
        certificates(&pem, &path.display().to_string())?;
        self.extra_roots.push(pem);
        Ok(self)
    }
}

/// The client's configuration that the settings ask for.
///
/// # Errors
/// When a certificate or key that they name cannot be used.
pub fn client_tls_of(tls: &TlsSettings) -> Result<Arc<ClientConfig>, TlsError> {
    let mut client = ClientTls {
        verify: !tls.insecure_skip_verify,
        names: match tls.hostname_verifier {
            HostnameVerifier::Strict => HostNames::Strict,
            HostnameVerifier::StrictExceptLocalhost => HostNames::StrictExceptLocalhost,
            HostnameVerifier::AllowAll => HostNames::Any,
        },
        ..ClientTls::default()
    };
    if let Some(path) = &tls.backend_ca_file {
        client = client.trust_file(path)?;
    }
    if let (Some(chain), Some(key)) = (&tls.backend_certificate_file, &tls.backend_private_key_file)
    {
        client.identity = Some(Identity::from_files(chain, key)?);
    }
    client_config(client)
}

/// A client's configuration: TLS 1.2 and 1.3, HTTP/1.1.
pub fn client_config(settings: ClientTls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(config_error)?;
    let builder = if settings.verify {
        let mut trusted = RootCertStore::empty();
        if settings.public_roots {
            trusted.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for bundle in &settings.extra_roots {
            trusted
                .roots
                .extend(roots(bundle, "the trusted certificates")?.roots);
        }
        if settings.names == HostNames::Strict {
            builder.with_root_certificates(trusted)
        } else {
            let roots = Arc::new(trusted);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(config_error)?;
            let trusted = Some((chain, settings.names));
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Lenient { trusted, provider }))
        }
    } else {
        let trusted = None;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Lenient { trusted, provider }))
    };
    let mut config = match settings.identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain, identity.key)
            .map_err(config_error)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(bundle: &[u8], what: &str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(bundle, what)? {
        store.add(certificate).map_err(|error| TlsError::Pem {
            what: what.to_owned(),
            wanted: "certificate",
            detail: error.to_string(),
        })?;
    }
    Ok(store)
}

/// Checks less than everything: nothing, or the chain of trust and the host names that have to match.
/// The handshake itself is always checked.
#[derive(Debug)]
struct Lenient {
    /// The chain of trust, and for which targets any name passes; `None` accepts every certificate.
    trusted: Option<(Arc<WebPkiServerVerifier>, HostNames)>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some((chain, names)) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is what is looked at last: this error says that all else is right.
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if names.allow_mismatch(name) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
