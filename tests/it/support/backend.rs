//! Scripted back-ends on loopback sockets.

use super::format::{BackendSpec, Mode, Reply, Time};
use super::wire::{Framing, Head, Headers, Wire, chunked, header};
use myelin::transport::tls::{ClientCertificates, Identity, server_config};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A request as a back-end saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// The whole body came.
    pub(crate) complete: bool,
}

#[derive(Debug, Default)]
struct State {
    replies: Vec<Reply>,
    served: usize,
    seen: Vec<Seen>,
    connections: usize,
    /// Answers that wait are given when this changes.
    released: watch::Sender<()>,
}

/// A back-end, up or down.
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Bound and never listening: the port stays ours while the back-end is down, and connections
    /// to it are refused.
    _guard: Socket,
    tls: Option<TlsAcceptor>,
    state: Arc<Mutex<State>>,
    /// Dropping the sender ends the task.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Guard and listener share the port, which takes SO_REUSEPORT on both.
fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

impl Backend {
    /// Reserves a port.
    pub(crate) fn reserve(name: &str, tls: bool) -> Result<Backend, String> {
        let wrong = |e: std::io::Error| format!("back-end {name}: {e}");
        let guard = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(wrong)?;
        let address = guard.local_addr().map_err(wrong)?.as_socket();
        let tls = if tls {
            let config = Identity::self_signed(&[])
                .and_then(|identity| server_config(identity, &ClientCertificates::Ignored))
                .map_err(|e| format!("back-end {name}: {e}"))?;
            Some(TlsAcceptor::from(config))
        } else {
            None
        };
        Ok(Backend {
            name: name.to_owned(),
            address: address.ok_or("no address")?,
            _guard: guard,
            tls,
            state: Arc::default(),
            running: None,
        })
    }

    /// Sets how the next requests are answered; the script starts from its beginning. Files are
    /// read from the case's folder.
    pub(crate) fn behave(&self, spec: &BackendSpec, folder: &Path) -> Result<(), String> {
        let mut replies = spec.replies.clone();
        for reply in &mut replies {
            if let Some(file) = reply.body_file.take() {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| format!("{}: {e}", path.display()))?;
                reply.body = Some(text);
            }
        }
        let mut state = lock(&self.state);
        state.replies = replies;
        state.served = 0;
        Ok(())
    }

    /// Listens, on the same port every time.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        if self.running.is_some() {
            return Err(format!("back-end {} is up already", self.name));
        }
        let wrong = |e: std::io::Error| format!("back-end {}: {e}", self.name);
        let socket = socket(self.address).map_err(wrong)?;
        socket.listen(1024).map_err(wrong)?;
        socket.set_nonblocking(true).map_err(wrong)?;
        let listener = TcpListener::from_std(socket.into()).map_err(wrong)?;
        let (state, name, tls) = (self.state.clone(), self.name.clone(), self.tls.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, state, name, tls, stopped));
        self.running = Some((stop, task));
        Ok(())
    }

    /// Closes the listener and every connection.
    pub(crate) async fn stop(&mut self) -> Result<(), String> {
        let (stop, task) = self
            .running
            .take()
            .ok_or_else(|| format!("back-end {} is down already", self.name))?;
        // Listener and connections are closed when the task has ended, not only told to.
        drop(stop);
        task.await
            .map_err(|e| format!("back-end {}: {e}", self.name))
    }

    /// Gives all answers that wait now.
    pub(crate) fn release(&self) -> Result<(), String> {
        let state = lock(&self.state);
        match state.released.send(()) {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("no answer of back-end {} waits", self.name)),
        }
    }

    /// Requests since the last [`Backend::forget_requests`].
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// How many requests that is.
    pub(crate) fn count(&self) -> usize {
        lock(&self.state).seen.len()
    }

    /// Starts counting requests anew.
    pub(crate) fn forget_requests(&self) {
        lock(&self.state).seen.clear();
    }

    /// Connections since the last [`Backend::forget_connections`].
    pub(crate) fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Starts counting connections anew.
    pub(crate) fn forget_connections(&self) {
        lock(&self.state).connections = 0;
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<Mutex<State>>,
    name: String,
    tls: Option<TlsAcceptor>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                lock(&state).connections += 1;
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(stream, state.clone(), name.clone(), tls.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    state: Arc<Mutex<State>>,
    name: String,
    tls: Option<TlsAcceptor>,
) {
    match tls {
        None => {
            if let Some((stream, true)) = serve(stream, &state, &name).await {
                // Closing with zero linger sends RST instead of FIN.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await
                && let Some((stream, true)) = serve(stream, &state, &name).await
            {
                let (stream, _) = stream.into_inner();
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

/// Serves one connection to its end. Gives the stream back, and whether to reset it.
async fn serve<S>(stream: S, state: &Mutex<State>, name: &str) -> Option<(S, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream);
    loop {
        let Some(head) = wire.head().await else { break };
        if header(&head.headers, "expect").is_some() {
            wire.stream()
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .ok()?;
        }
        let (body, complete) = wire.body(head.framing(Framing::Length(0))).await;
        wire.next();
        let (seen, reply, released) = record(state, &head, body, complete);
        if !complete {
            break;
        }
        if let Some(mut released) = released {
            let _ = released.changed().await;
        }
        if let Some(Time(delay)) = reply.delay {
            tokio::time::sleep(delay).await;
        }
        match reply.mode {
            Mode::Close => break,
            Mode::Reset => return Some((wire.into_inner(), true)),
            Mode::Garbage => {
                let _ = wire
                    .stream()
                    .write_all(b"\x16\x03this is not HTTP\r\n\r\n")
                    .await;
                break;
            }
            Mode::Silent => {
                wire.read_to_end().await;
                break;
            }
            Mode::Good | Mode::Half | Mode::Drip => {}
        }
        if !answer(&mut wire, &reply, &seen, name).await {
            break;
        }
        let closes =
            |h: &Headers| header(h, "connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if closes(&head.headers) || head.first.ends_with("HTTP/1.0") {
            break;
        }
    }
    let mut stream = wire.into_inner();
    let _ = stream.shutdown().await;
    None
}

/// Counts a request and takes the next reply, and what releases it when it is to wait.
fn record(
    state: &Mutex<State>,
    head: &Head,
    body: Vec<u8>,
    complete: bool,
) -> (Seen, Reply, Option<watch::Receiver<()>>) {
    let mut words = head.first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let seen = Seen {
        method: word(),
        path: word(),
        headers: head.headers.clone(),
        body,
        complete,
    };
    let mut state = lock(state);
    let last = state.replies.len().saturating_sub(1);
    let reply = state.replies.get(state.served.min(last)).cloned();
    state.served += 1;
    state.seen.push(seen.clone());
    let reply = reply.unwrap_or_default();
    let released = (reply.wait && complete).then(|| state.released.subscribe());
    (seen, reply, released)
}

/// Writes an answer; false when the connection is to be closed.
async fn answer<S>(wire: &mut Wire<S>, reply: &Reply, seen: &Seen, name: &str) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let status = reply.status.unwrap_or(200);
    let bodyless = status == 204 || status == 304 || status < 200;
    let (body, content_type) = if reply.echo {
        let content_type = header(&seen.headers, "content-type").unwrap_or_default();
        (seen.body.clone(), content_type.to_owned())
    } else {
        let body = match (&reply.body, reply.body_fill) {
            (Some(body), _) => body.clone().into_bytes(),
            (None, Some(length)) => vec![b'x'; length],
            (None, None) => name.as_bytes().to_vec(),
        };
        (body, "text/plain".to_owned())
    };
    let content_type = reply.content_type.clone().unwrap_or(content_type);
    let reason = reply.reason.clone().unwrap_or_else(|| {
        let known = http::StatusCode::from_u16(status).ok();
        known
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Other")
            .to_owned()
    });
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    let mut field = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
    let own = |name: &str| reply.headers.keys().any(|n| n.eq_ignore_ascii_case(name));
    if !content_type.is_empty() && !bodyless && !own("Content-Type") {
        field("Content-Type", &content_type);
    }
    for (name, values) in &reply.headers {
        for value in values.all() {
            field(name, value);
        }
    }
    let in_chunks = reply.chunked || reply.mode == Mode::Drip;
    if !bodyless && !own("Content-Length") {
        if in_chunks {
            field("Transfer-Encoding", "chunked");
        } else {
            field("Content-Length", &body.len().to_string());
        }
    }
    head.push_str("\r\n");
    if wire.stream().write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    if bodyless || seen.method == "HEAD" {
        return true;
    }
    let stream = wire.stream();
    match reply.mode {
        Mode::Half => {
            let half = &body[..body.len() / 2];
            // The last chunk is missing, so that the answer is visibly incomplete.
            let bytes = if in_chunks {
                let mut bytes = chunked(half, 64);
                bytes.truncate(bytes.len() - 5);
                bytes
            } else {
                half.to_vec()
            };
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            false
        }
        Mode::Drip => {
            let bytes = chunked(&body, body.len().div_ceil(5));
            for part in bytes.chunks(bytes.len().div_ceil(12)) {
                if stream.write_all(part).await.is_err() || stream.flush().await.is_err() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            true
        }
        _ => {
            let bytes = if in_chunks {
                chunked(&body, 8192)
            } else {
                body
            };
            stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok()
        }
    }
}
