//! HTTP/1 on a byte stream, for both sides. By hand, so that the tests see what is on the wire
//! and not what a library makes of it.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Header fields in their order.
pub(crate) type Headers = Vec<(String, String)>;

/// The first value of a header field.
pub(crate) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.as_str())
}

/// A start line and header fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) headers: Headers,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    ToEnd,
}

impl Head {
    /// The framing that the header says.
    pub(crate) fn framing(&self, default: Framing) -> Framing {
        if header(&self.headers, "transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked"))
        {
            return Framing::Chunked;
        }
        match header(&self.headers, "content-length").and_then(|v| v.trim().parse().ok()) {
            Some(length) => Framing::Length(length),
            None => default,
        }
    }
}

/// Reads messages and keeps every byte that came.
pub(crate) struct Wire<S> {
    stream: S,
    /// Everything that came.
    pub(crate) raw: Vec<u8>,
    at: usize,
    /// The other side ended with a reset.
    pub(crate) reset: bool,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// On a stream.
    pub(crate) fn new(stream: S) -> Wire<S> {
        Wire {
            stream,
            raw: Vec::new(),
            at: 0,
            reset: false,
        }
    }

    /// The stream, for writing.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream again.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Forgets what was read so far, so that `raw` starts with the next message.
    pub(crate) fn next(&mut self) {
        self.raw.drain(..self.at);
        self.at = 0;
    }

    /// False at the end of the stream; a reset is an end as well.
    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) => false,
            Ok(n) => {
                self.raw.extend_from_slice(&buffer[..n]);
                true
            }
            Err(error) => {
                self.reset = error.kind() == std::io::ErrorKind::ConnectionReset;
                false
            }
        }
    }

    /// Reads until the other side closes.
    pub(crate) async fn read_to_end(&mut self) {
        while self.more().await {}
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(length) = self.raw[self.at..].iter().position(|b| *b == b'\n') {
                let line = &self.raw[self.at..self.at + length];
                let text = latin1(line.strip_suffix(b"\r").unwrap_or(line));
                self.at += length + 1;
                return Some(text);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next head; `None` when the stream ends before it is complete.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let mut head = Head {
            first: self.line().await?,
            headers: Vec::new(),
        };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(head);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            head.headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn take(&mut self, length: usize, out: &mut Vec<u8>) -> bool {
        while self.raw.len() - self.at < length {
            if !self.more().await {
                out.extend_from_slice(&self.raw[self.at..]);
                self.at = self.raw.len();
                return false;
            }
        }
        out.extend_from_slice(&self.raw[self.at..self.at + length]);
        self.at += length;
        true
    }

    /// A body, and whether it was complete.
    pub(crate) async fn body(&mut self, framing: Framing) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let complete = match framing {
            Framing::Length(length) => self.take(length, &mut out).await,
            Framing::ToEnd => {
                self.read_to_end().await;
                out.extend_from_slice(&self.raw[self.at..]);
                self.at = self.raw.len();
                !self.reset
            }
            Framing::Chunked => self.chunks(&mut out).await,
        };
        (out, complete)
    }

    async fn chunks(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.line().await else {
                return false;
            };
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return false;
            };
            if size > 0 && !self.take(size, out).await {
                return false;
            }
            if size == 0 {
                // Trailers, then an empty line.
                loop {
                    match self.line().await {
                        None => return false,
                        Some(line) if line.is_empty() => return true,
                        Some(_) => {}
                    }
                }
            }
            if self.line().await.is_none() {
                return false;
            }
        }
    }
}

/// Bytes as text, one character each: nothing is lost or replaced.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Bytes for people, cut when they are many.
pub(crate) fn show(bytes: &[u8]) -> String {
    const MOST: usize = 4000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
    if bytes.len() > MOST {
        format!("{text}… ({} bytes)", bytes.len())
    } else {
        text
    }
}

/// A body in chunks of this size.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    for part in body.chunks(size.max(1)) {
        out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
