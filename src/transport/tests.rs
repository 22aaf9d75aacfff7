//! Listener and client over real sockets on ephemeral ports.

mod back_end;
mod bodies;
mod client;
mod flows;
mod secure;
mod server;
mod serving;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::server::{bind, serve};
use super::http::{Client, ClientSettings, Handler, ListenerSettings, Peer, Shutdown, Target};
use super::tls::{ClientTls, client_config};
use crate::message::stream::{BodyStream, Incoming};

/// Fails a test that hangs; no test waits for this long.
const FOREVER: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, future)
        .await
        .expect("the test hangs")
}

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + FOREVER;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn settings() -> ClientSettings {
    let tls = client_config(ClientTls {
        public_roots: false,
        ..ClientTls::default()
    });
    ClientSettings::new(tls.expect("client configuration"))
}

fn target(addr: SocketAddr) -> Target {
    Target::parse(&format!("http://{addr}/echo?x=1")).expect("target")
}

fn get() -> Request<BodyStream> {
    Request::new(BodyStream::empty())
}

fn post(body: impl Into<Bytes>) -> Request<BodyStream> {
    Request::post("/")
        .body(BodyStream::full(body.into()))
        .expect("request")
}

async fn text(response: Response<BodyStream>) -> String {
    let body = response.into_body().collect(1 << 24).await.expect("body");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

fn answer(body: impl Into<Bytes>) -> Response<BodyStream> {
    Response::new(BodyStream::full(body.into()))
}

/// A handler made of a function.
#[derive(Clone)]
struct By<F>(F);

impl<F, A> Handler for By<F>
where
    F: Fn(Request<Incoming>, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<BodyStream>> + Send,
{
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<BodyStream>> + Send {
        (self.0)(request, peer)
    }
}

/// A listener of ours.
struct Listener {
    addr: SocketAddr,
    settings: Arc<ListenerSettings>,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
}

impl Listener {
    fn start(handler: impl Handler) -> Self {
        Self::with(handler, |_| {})
    }

    fn with(handler: impl Handler, adjust: impl FnOnce(&mut ListenerSettings)) -> Self {
        let socket = bind(([127, 0, 0, 1], 0).into(), false).expect("bind");
        let addr = socket.local_addr().expect("address");
        let mut settings = ListenerSettings::new(addr);
        adjust(&mut settings);
        let settings = Arc::new(settings);
        let shutdown = Shutdown::new();
        let socket = tokio::net::TcpListener::from_std(socket).expect("listener");
        let serving = tokio::spawn(serve(
            socket,
            Arc::clone(&settings),
            handler,
            shutdown.clone(),
        ));
        Self {
            addr,
            settings,
            shutdown,
            serving,
        }
    }
}

/// Hands every request's body back.
fn echo() -> impl Handler {
    By(|request: Request<Incoming>, _| async {
        Response::new(BodyStream::incoming(request.into_body(), None))
    })
}

/// A client that speaks by hand.
async fn raw(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut socket = TcpStream::connect(addr).await.expect("connect");
    socket.write_all(bytes.as_ref()).await.expect("write");
    socket
}

/// Everything up to the end of the connection.
async fn rest(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    within(socket.read_to_end(&mut bytes)).await.expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` was read.
async fn read_to(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        match within(socket.read_u8()).await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
