//! Back-end of the gateway benchmark: answers each request with the body it came with.
//!
//! `bench-echo [--reply-202] PORT...` listens on 127.0.0.1, one thread for all ports. It knows just
//! enough HTTP/1.1 to be cheaper than what is measured: bodies with `Content-Length` only (a chunked
//! one is refused with 501, so that a gateway that loses the length is noticed), no `Expect`.
//! `X-Backend` in an answer is the port that was reached. With `--reply-202` the answer is an empty
//! 202, as of the one-way placeOrder; a request with `X-Bench-Echo` gets its body back even so.
//! `GET /bench/count` tells how many other requests have come.

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const LARGEST_HEAD: usize = 64 * 1024;
const LARGEST_BODY: usize = 64 * 1024 * 1024;
const ROOM: usize = 16 * 1024;

static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let mut reply_202 = false;
    let mut ports: Vec<u16> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--reply-202" => reply_202 = true,
            port => ports.push(port.parse().map_err(io::Error::other)?),
        }
    }
    if ports.is_empty() {
        return Err(io::Error::other("usage: bench-echo [--reply-202] PORT..."));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(async {
            let mut tasks = Vec::new();
            for port in ports {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
                let listener = socket.listen(1024)?;
                tasks.push(tokio::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await?;
                        stream.set_nodelay(true)?;
                        // A connection that breaks is the client's to notice.
                        tokio::spawn(async move { serve(stream, port, reply_202).await.ok() });
                    }
                }));
            }
            for task in tasks {
                let ended: io::Result<()> = task.await.map_err(io::Error::other)?;
                ended?;
            }
            Ok(())
        })
}

/// What matters of a request head.
#[derive(Default)]
struct Head<'a> {
    count: bool,
    length: usize,
    chunked: bool,
    close: bool,
    echo: bool,
    content_type: &'a str,
}

impl<'a> Head<'a> {
    fn parse(head: &'a [u8]) -> Option<Head<'a>> {
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let mut out = Head {
            count: lines.next()?.starts_with("GET /bench/count "),
            content_type: "text/xml; charset=utf-8",
            ..Head::default()
        };
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            // The length of a name tells most apart from those looked for.
            match name.len() {
                14 if name.eq_ignore_ascii_case("content-length") => {
                    out.length = value.parse().ok().filter(|l| *l <= LARGEST_BODY)?;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => out.chunked = true,
                12 if name.eq_ignore_ascii_case("content-type") => out.content_type = value,
                12 if name.eq_ignore_ascii_case("x-bench-echo") => out.echo = true,
                10 if name.eq_ignore_ascii_case("connection") => {
                    out.close = value.eq_ignore_ascii_case("close");
                }
                _ => {}
            }
        }
        Some(out)
    }
}

async fn serve(mut stream: TcpStream, port: u16, reply_202: bool) -> io::Result<()> {
    let mut input: Vec<u8> = Vec::with_capacity(ROOM);
    loop {
        let mut searched = 0;
        let head_end = loop {
            let found = input[searched..].windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(at) = found {
                break searched + at + 4;
            }
            searched = input.len().saturating_sub(3);
            if input.len() > LARGEST_HEAD || !more(&mut stream, &mut input, ROOM).await? {
                return Ok(());
            }
        };
        let Some(head) = Head::parse(&input[..head_end]) else {
            return refuse(&mut stream, "400 Bad Request").await;
        };
        if head.chunked {
            return refuse(&mut stream, "501 Not Implemented").await;
        }
        let (count, close) = (head.count, head.close);
        let number = if count {
            REQUESTS.load(Relaxed).to_string()
        } else {
            REQUESTS.fetch_add(1, Relaxed);
            String::new()
        };
        let with_body = count || head.echo || !reply_202;
        let (status, length) = match (with_body, count) {
            (true, true) => ("200 OK", number.len()),
            (true, false) => ("200 OK", head.length),
            (false, _) => ("202 Accepted", 0),
        };
        let answer = if with_body {
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {}\r\nX-Backend: {port}\r\nContent-Length: {length}\r\n\r\n",
                head.content_type
            )
        } else {
            format!("HTTP/1.1 {status}\r\nX-Backend: {port}\r\nContent-Length: 0\r\n\r\n")
        };
        let end = head_end + head.length;
        while input.len() < end {
            let missing = end - input.len();
            if !more(&mut stream, &mut input, missing).await? {
                return Ok(());
            }
        }
        let body = match (with_body, count) {
            (true, true) => number.as_bytes(),
            (true, false) => &input[head_end..end],
            (false, _) => &[],
        };
        write_both(&mut stream, answer.as_bytes(), body).await?;
        if close {
            return stream.shutdown().await;
        }
        input.drain(..end);
    }
}

/// Reads once; `false` at the end of the stream.
async fn more(stream: &mut TcpStream, input: &mut Vec<u8>, room: usize) -> io::Result<bool> {
    input.reserve(room);
    Ok(stream.read_buf(input).await? > 0)
}

/// Head and body in one system call where the socket takes them.
async fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let both = [IoSlice::new(head), IoSlice::new(body)];
    let written = stream.write_vectored(&both).await?;
    if written < head.len() {
        stream.write_all(&head[written..]).await?;
    }
    let of_body = written.saturating_sub(head.len());
    stream.write_all(&body[of_body..]).await
}

async fn refuse(stream: &mut TcpStream, status: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
