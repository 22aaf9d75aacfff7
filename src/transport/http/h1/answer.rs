//! Heads of answers as they are written (RFC 9112 §4–§6).

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};
use http_body::Body;
use hyper::ext::ReasonPhrase;

use super::head::{Framing, lists, number, write_number};
use super::request::Asked;
use crate::message::stream::BodyStream;

/// Writes the head of an answer and says how its body follows. The connection is closed behind it
/// unless `keep` stays; the head says so.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    response: &Response<BodyStream>,
    asked: Asked,
    keep: &mut bool,
) -> Framing {
    let status = response.status();
    let headers = response.headers();
    let old = asked.old || response.version() == Version::HTTP_10;
    let tunnel = asked.connect && status.is_success();
    let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let own = |headers: &http::HeaderMap| {
        let length = headers.get(CONTENT_LENGTH)?;
        number(length.as_bytes())
    };
    let body = response.body();
    // The length to be announced, then what is sent.
    let length = if tunnel {
        None
    } else if asked.head {
        // That of the body which `GET` would give.
        own(headers).or(body.size_hint().exact().filter(|n| *n > 0 && !never))
    } else if never {
        None
    } else if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact().or_else(|| own(headers))
    };
    let framing = match length {
        _ if tunnel || asked.head || never => Framing::Done,
        Some(0) => Framing::Done,
        Some(length) => Framing::Length(length),
        None if old => Framing::ToEnd,
        None => Framing::Chunked,
    };
    if tunnel || framing == Framing::ToEnd || response.version() < Version::HTTP_11 {
        *keep = false;
    }
    let mut told = false;
    if let Some(said) = headers.get(CONNECTION) {
        told = true;
        if lists(said, "close")
            || headers
                .get_all(CONNECTION)
                .iter()
                .any(|v| lists(v, "close"))
        {
            *keep = false;
        }
    }

    status_line(out, response, old);
    let mut dated = false;
    let mut sized = false;
    let mut connected = false;
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH => {
                if !std::mem::replace(&mut sized, true) {
                    write_length(out, length);
                }
                continue;
            }
            TRANSFER_ENCODING | TRAILER => continue,
            CONNECTION => {
                if !std::mem::replace(&mut connected, true) {
                    let values = headers.get_all(CONNECTION);
                    write_connection(out, values.iter().map(|v| v.as_bytes()), asked, *keep);
                }
                continue;
            }
            DATE => dated = true,
            _ => {}
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !told {
        write_connection(out, std::iter::empty(), asked, *keep);
    }
    if !sized {
        write_length(out, length);
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !dated {
        write_date(out);
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn status_line(out: &mut Vec<u8>, response: &Response<BodyStream>, old: bool) {
    let status = response.status();
    let reason = response.extensions().get::<ReasonPhrase>();
    if status == StatusCode::OK && !old && reason.is_none() {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    out.extend_from_slice(reason.map_or_else(usual, ReasonPhrase::as_bytes));
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: Option<u64>) {
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        write_number(out, length, 10);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes what becomes of the connection, when the version alone does not say it.
fn write_connection<'a>(
    out: &mut Vec<u8>,
    values: impl Iterator<Item = &'a [u8]>,
    asked: Asked,
    keep: bool,
) {
    let word: &[u8] = match (keep, asked.old) {
        (true, true) => b"keep-alive",
        (false, false) => b"close",
        _ => b"",
    };
    let start = out.len();
    out.extend_from_slice(b"connection: ");
    let empty = out.len();
    let mut said = false;
    for value in values {
        if out.len() > empty {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
        said |= value
            .split(|byte| *byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(word));
    }
    if !word.is_empty() && !said {
        if out.len() > empty {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(word);
    }
    if out.len() == empty {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LENGTH: usize = 29;

thread_local! {
    static LAST_DATE: Cell<(u64, [u8; DATE_LENGTH])> = const { Cell::new((u64::MAX, [0; DATE_LENGTH])) };
}

fn write_date(out: &mut Vec<u8>) {
    let now = SystemTime::now();
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (second, mut text) = LAST_DATE
        .try_with(Cell::get)
        .unwrap_or((u64::MAX, [0; DATE_LENGTH]));
    if second != seconds {
        let mut place = &mut text[..];
        // Fits, unless the year has five digits.
        let _ = write!(place, "{}", httpdate::HttpDate::from(now));
        let _ = LAST_DATE.try_with(|last| last.set((seconds, text)));
    }
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&text);
    out.extend_from_slice(b"\r\n");
}
