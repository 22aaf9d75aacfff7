//! The real program as a process of its own: its log lines, addresses, memory and end.

use super::run::until;
use super::wire::{Framing, Wire, show};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A running program; killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Nobody reads any more.
    deaf: Arc<AtomicBool>,
}

impl Program {
    /// `myelin run` on free ports.
    pub(crate) fn run(deployment: &Path, arguments: &[&str]) -> Program {
        let path = deployment.display().to_string();
        let mut all = vec!["run", "--deployment", &path];
        let ports = ["http", "https", "management", "internal"].map(|p| format!("--{p}-port"));
        for port in &ports {
            if !arguments.contains(&port.as_str()) {
                all.extend([port.as_str(), "0"]);
            }
        }
        all.extend(arguments);
        Program::start(&all)
    }

    /// Any command.
    pub(crate) fn start(arguments: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_myelin"))
            .args(arguments)
            .env_remove("MYELIN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (lines, deaf) = (Arc::default(), Arc::default());
        collect(child.stdout.take(), &lines, &deaf);
        collect(child.stderr.take(), &lines, &deaf);
        Program { child, lines, deaf }
    }

    /// Everything that was printed so far.
    pub(crate) fn output(&self) -> String {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// Closes the reading ends of its pipes, each after one more line.
    pub(crate) fn close_output(&self) {
        self.deaf.store(true, Ordering::Release);
    }

    /// Waits for a line that contains a text.
    pub(crate) async fn line(&self, part: &str) -> String {
        let find = || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().find(|l| l.contains(part)).cloned()
        };
        until(|| find().is_some()).await;
        find().unwrap_or_else(|| panic!("no line contains {part:?}:\n{}", self.output()))
    }

    /// Where a listener is, on loopback.
    pub(crate) async fn address(&self, listener: &str) -> SocketAddr {
        let part = format!("{listener} listens on ");
        let line = self.line(&part).await;
        let port = line.rsplit(':').next().and_then(|p| p.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// Waits until it serves; the address of HTTP.
    pub(crate) async fn ready(&self) -> SocketAddr {
        self.line(" ready in ").await;
        self.address(" HTTP").await
    }

    /// A value of `/proc/PID/status` in bytes: `VmRSS` is the memory in use, `VmHWM` its peak.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("the state of the process");
        text.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|v| v.trim().strip_suffix("kB"))
            .and_then(|v| v.trim().parse::<u64>().ok())
            .expect("a number of kilobytes")
            * 1024
    }

    /// Sends a signal, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(done.success(), "kill -{name} failed");
    }

    /// Waits for the end; the exit code, and everything that was printed.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of the process") {
                // The readers end with the pipes.
                until(|| Arc::strong_count(&self.lines) == 1).await;
                return (status.code(), self.output());
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the program does not end:\n{}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines until the pipe ends, so that the program never waits for its reader.
fn collect(
    pipe: Option<impl std::io::Read + Send + 'static>,
    lines: &Arc<Mutex<Vec<String>>>,
    deaf: &Arc<AtomicBool>,
) {
    let Some(pipe) = pipe else { return };
    let (lines, deaf) = (lines.clone(), deaf.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            if deaf.load(Ordering::Acquire) {
                return;
            }
        }
    });
}

/// One answer, short.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: super::wire::Headers,
    pub(crate) body: String,
}

/// Sends bytes on a connection of their own and reads one answer; `None` when the connection ends
/// without one.
pub(crate) async fn ask(address: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (reading, mut writing) = stream.into_split();
    let exchange = async {
        let write = async {
            // A server that answers early may stop reading; what it answers counts.
            let _ = writing.write_all(bytes).await;
        };
        let read = async {
            let mut wire = Wire::new(reading);
            let head = wire.head().await?;
            let status = head.first.split(' ').nth(1)?.parse().ok()?;
            let (body, _) = wire.body(head.framing(Framing::ToEnd)).await;
            Some(Reply {
                status,
                headers: head.headers,
                body: show(&body),
            })
        };
        tokio::join!(write, read).1
    };
    timeout(Duration::from_secs(30), exchange)
        .await
        .expect("an answer, or the end of the connection, within 30 s")
}

/// A `GET` on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<Reply> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ask(address, request.as_bytes()).await
}

/// A `POST` on a connection of its own.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    body: &str,
) -> Option<Reply> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    ask(address, request.as_bytes()).await
}
