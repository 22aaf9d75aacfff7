//! The client and the back-ends of a gateway that is measured. They are plain blocking sockets, and
//! one request is under way at a time, so that the gateway does the same work in every run.

use crate::{Expected, Fail};
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Listens on a free port and answers every request: with its own body, or with an empty 202. Ends
/// with the process.
pub fn back_end(one_way: bool) -> Result<u16, Fail> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, one_way));
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream, one_way: bool) -> Result<(), Fail> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        let Some((head, body)) = receive(&mut stream, &mut input)? else {
            return Ok(());
        };
        let mut answer = if one_way {
            b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
                body - head
            )
            .into_bytes()
        };
        if !one_way {
            answer.extend_from_slice(&input[head..body]);
        }
        stream.write_all(&answer)?;
        input.drain(..body);
    }
}

/// Reads one message; where its head ends and where its body ends. `None` when the peer is done.
fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<Option<(usize, usize)>, Fail> {
    let mut room = [0; 32 * 1024];
    loop {
        if let Some(head) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = head + 4;
            let text = std::str::from_utf8(&input[..head])?;
            let length = text
                .split("\r\n")
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .ok_or("a message without Content-Length")?
                .1
                .trim()
                .parse::<usize>()?;
            if input.len() >= head + length {
                return Ok(Some((head, head + length)));
            }
        }
        match stream.read(&mut room)? {
            0 if input.is_empty() => return Ok(None),
            0 => return Err("a message ended early".into()),
            n => input.extend_from_slice(&room[..n]),
        }
    }
}

/// Posts `body` `count` times on one connection, and checks every answer.
pub fn drive(
    at: SocketAddr,
    path: &str,
    body: &Bytes,
    expected: Expected,
    count: u32,
) -> Result<(), Fail> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: text/xml; charset=utf-8\r\nSOAPAction: \
         \"urn:placeOrder\"\r\nContent-Length: {}\r\n\r\n",
        at.port(),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let mut stream = TcpStream::connect(at)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut input = Vec::new();
    let wanted = match expected {
        Expected::Same | Expected::Holding(_) => "HTTP/1.1 200 ",
        Expected::Accepted => "HTTP/1.1 202 ",
    };
    for _ in 0..count {
        stream.write_all(&request)?;
        let (head, end) = receive(&mut stream, &mut input)?.ok_or("the gateway closed")?;
        if !input.starts_with(wanted.as_bytes()) {
            return Err(format!(
                "unexpected answer: {}",
                String::from_utf8_lossy(&input[..end])
            )
            .into());
        }
        let answer = input.get(head..end).unwrap_or_default();
        let right = match expected {
            Expected::Same => answer == &**body,
            Expected::Holding(part) => answer.windows(part.len()).any(|w| w == part.as_bytes()),
            Expected::Accepted => true,
        };
        if !right {
            return Err(format!("an unexpected body: {}", String::from_utf8_lossy(answer)).into());
        }
        input.drain(..end);
    }
    Ok(())
}
