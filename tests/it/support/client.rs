//! Sends the requests of steps. Each request has a connection of its own unless `keep_alive` says
//! otherwise.

use super::format::{Request, Values};
use super::wire::{Framing, Head, Headers, Wire, chunked, show};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came for one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// What was sent.
    pub(crate) sent: String,
    /// `None` when the connection ended without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) reason: String,
    pub(crate) version: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// The body was complete.
    pub(crate) complete: bool,
    /// Every byte that came.
    pub(crate) raw: Vec<u8>,
    /// The connection ended with a reset.
    pub(crate) reset: bool,
    /// No answer, and the connection stayed open.
    pub(crate) timed_out: bool,
    /// The client closed on purpose before the answer was complete (`give_up`).
    pub(crate) gave_up: bool,
    pub(crate) took: Duration,
}

impl Answer {
    /// For people.
    pub(crate) fn show(&self) -> String {
        let took = self.took.as_millis();
        match self.status {
            None if self.timed_out => format!(
                "no answer within {took} ms; came so far: {:?}",
                show(&self.raw)
            ),
            None => format!(
                "the connection was {} after {took} ms without an answer; came: {:?}",
                if self.reset { "reset" } else { "closed" },
                show(&self.raw)
            ),
            Some(status) => {
                let mut out = format!(
                    "{} {status} {} (after {took} ms)\n",
                    self.version, self.reason
                );
                for (name, value) in &self.headers {
                    out.push_str(&format!("{name}: {value}\n"));
                }
                out.push_str(&format!("\n{}", show(&self.body)));
                if !self.complete {
                    out.push_str("\n(the body is incomplete)");
                }
                out
            }
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}
type Connection = Box<dyn Duplex>;

async fn connect(address: SocketAddr, tls: bool) -> Result<Connection, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| format!("cannot connect to {address}: {e}"))?;
    let _ = stream.set_nodelay(true);
    if !tls {
        return Ok(Box::new(stream));
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|e| e.to_string())?
    .dangerous()
    .with_custom_certificate_verifier(Arc::new(Anyone))
    .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|e| format!("no TLS with {address}: {e}"))?;
    Ok(Box::new(stream))
}

/// A request as bytes. Files are read from the case's folder.
fn bytes(request: &Request, address: SocketAddr, folder: &Path) -> Result<Vec<u8>, String> {
    if let Some(raw) = &request.raw {
        return Ok(raw.clone().into_bytes());
    }
    let body = match (&request.body, &request.body_file, request.body_fill) {
        (Some(body), _, _) => Some(body.clone().into_bytes()),
        (None, Some(file), _) => {
            let path = folder.join(file);
            Some(std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?)
        }
        (None, None, Some(length)) => Some(vec![b'x'; length]),
        (None, None, None) => None,
    };
    let method = match (&request.method, &body) {
        (Some(method), _) => method.as_str(),
        (None, Some(_)) => "POST",
        (None, None) => "GET",
    };
    let version = if request.http10 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    };
    let mut head = format!("{method} {} {version}\r\n", request.path);
    let own = |name: &str| request.headers.keys().any(|n| n.eq_ignore_ascii_case(name));
    let mut field = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    if !own("Host") {
        field("Host", &address.to_string());
    }
    if let Some(body) = &body {
        let guessed = match body.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'<') => "text/xml",
            Some(b'{' | b'[') => "application/json",
            _ => "text/plain",
        };
        let content_type = request.content_type.as_deref().unwrap_or(guessed);
        if !content_type.is_empty() && !own("Content-Type") {
            field("Content-Type", content_type);
        }
        if request.chunked {
            field("Transfer-Encoding", "chunked");
        } else if !own("Content-Length") {
            field("Content-Length", &body.len().to_string());
        }
    } else if let Some(content_type) = &request.content_type {
        field("Content-Type", content_type);
    }
    for (name, values) in &request.headers {
        for value in Values::all(values) {
            field(name, value);
        }
    }
    head.push_str("\r\n");
    let mut out = head.into_bytes();
    match body {
        Some(body) if request.chunked => out.extend_from_slice(&chunked(&body, 1000)),
        Some(body) => out.extend_from_slice(&body),
        None => {}
    }
    Ok(out)
}

/// Where the part of a request starts that is sent later.
fn held_from(bytes: &[u8], request: &Request) -> usize {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    match (request.hold, head) {
        (Some(hold), Some(head)) => (head + 4 + hold).min(bytes.len()),
        _ => bytes.len(),
    }
}

/// Sends a request on a new connection.
pub(crate) async fn send(
    request: &Request,
    address: SocketAddr,
    folder: &Path,
) -> Result<Answer, String> {
    let mut connection = connect(address, request.tls).await?;
    send_on(&mut connection, request, address, folder).await
}

/// Sends requests one after the other on one connection.
pub(crate) async fn send_all(
    requests: &[Request],
    address: SocketAddr,
    folder: &Path,
) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let Some(first) = requests.first() else {
        return Ok(answers);
    };
    let mut connection = connect(address, first.tls).await?;
    for request in requests {
        answers.push(send_on(&mut connection, request, address, folder).await?);
    }
    Ok(answers)
}

async fn send_on(
    connection: &mut Connection,
    request: &Request,
    address: SocketAddr,
    folder: &Path,
) -> Result<Answer, String> {
    let bytes = bytes(request, address, folder)?;
    let started = Instant::now();
    let mut answer = Answer {
        sent: show(&bytes),
        ..Answer::default()
    };
    let patience = request.give_up.map_or(PATIENCE, |t| t.0);
    let head = request.method.as_deref() == Some("HEAD");
    let raw = request.raw.is_some();
    let (reading, mut writing) = tokio::io::split(connection);
    let mut wire = Wire::new(reading);
    // An answer may come before all is sent, so that sending and receiving run side by side.
    let exchange = async {
        let write = async {
            // A server that answers early may stop reading; what it answers counts.
            let (now, later) = bytes.split_at(held_from(&bytes, request));
            let _ = writing.write_all(now).await;
            if !later.is_empty() {
                let _ = writing.flush().await;
                request.go_on.notified().await;
                let _ = writing.write_all(later).await;
            }
            let _ = writing.flush().await;
            if raw && request.half_close {
                let _ = writing.shutdown().await;
            }
        };
        tokio::join!(
            write,
            receive(&mut wire, head, raw && request.half_close, &mut answer)
        );
    };
    let timed_out = timeout(patience, exchange).await.is_err();
    answer.reset = wire.reset;
    answer.raw = wire.raw;
    answer.timed_out = timed_out;
    answer.gave_up = timed_out && request.give_up.is_some();
    answer.took = started.elapsed();
    Ok(answer)
}

/// Reads one answer, or everything that comes.
async fn receive<S: AsyncRead + Unpin>(
    wire: &mut Wire<S>,
    to_head: bool,
    to_end: bool,
    answer: &mut Answer,
) {
    loop {
        let Some(head) = wire.head().await else { break };
        let status = status_line(&head, answer);
        if let Some(100..=199) = status {
            continue;
        }
        let none = to_head || matches!(status, Some(204 | 304));
        let framing = if none {
            Framing::Length(0)
        } else {
            head.framing(Framing::ToEnd)
        };
        answer.headers = head.headers;
        (answer.body, answer.complete) = wire.body(framing).await;
        answer.status = status;
        if to_end {
            wire.read_to_end().await;
        }
        break;
    }
}

fn status_line(head: &Head, answer: &mut Answer) -> Option<u16> {
    let mut words = head.first.splitn(3, ' ');
    answer.version = words.next().unwrap_or_default().to_owned();
    let status = words.next().and_then(|w| w.parse().ok());
    answer.reason = words.next().unwrap_or_default().to_owned();
    status
}

/// Trusts every certificate: which one is used is not what the cases are about.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
