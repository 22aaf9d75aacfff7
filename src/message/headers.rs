//! The headers that do not simply travel on (spec 01 §15.6–§15.8).

use super::header_text;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderName,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that belong to one connection and never travel.
const HOP: [(Known, HeaderName); 8] = [
    (Known::Connection, CONNECTION),
    (Known::KeepAlive, KEEP_ALIVE),
    (Known::ProxyConnection, PROXY_CONNECTION),
    (Known::TransferEncoding, TRANSFER_ENCODING),
    (Known::ContentLength, CONTENT_LENGTH),
    (Known::Te, TE),
    (Known::Trailer, TRAILER),
    (Known::Upgrade, UPGRADE),
];

/// Request headers that a response made from the request never carries back: they are credentials
/// or describe the request's own connection.
const NOT_ECHOED: [(Known, HeaderName); 4] = [
    (Known::Authorization, AUTHORIZATION),
    (Known::ProxyAuthorization, PROXY_AUTHORIZATION),
    (Known::Cookie, COOKIE),
    (Known::Expect, EXPECT),
];

/// A header that some rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Connection,
    KeepAlive,
    ProxyConnection,
    TransferEncoding,
    ContentLength,
    Te,
    Trailer,
    Upgrade,
    Authorization,
    ProxyAuthorization,
    Cookie,
    Expect,
    Date,
    Server,
    Host,
    UserAgent,
    ContentType,
    ContentEncoding,
    SoapAction,
}

impl Known {
    pub(super) fn of(name: &HeaderName) -> Option<Known> {
        let name = name.as_str();
        // The length alone rules most names out.
        let (wanted, known) = match name.len() {
            2 => ("te", Known::Te),
            4 if name.starts_with('h') => ("host", Known::Host),
            4 => ("date", Known::Date),
            6 if name.starts_with('c') => ("cookie", Known::Cookie),
            6 if name.starts_with('e') => ("expect", Known::Expect),
            6 => ("server", Known::Server),
            7 if name.starts_with('t') => ("trailer", Known::Trailer),
            7 => ("upgrade", Known::Upgrade),
            10 if name.starts_with('c') => ("connection", Known::Connection),
            10 if name.starts_with('k') => ("keep-alive", Known::KeepAlive),
            10 if name.starts_with('u') => ("user-agent", Known::UserAgent),
            10 => ("soapaction", Known::SoapAction),
            12 => ("content-type", Known::ContentType),
            13 => ("authorization", Known::Authorization),
            14 => ("content-length", Known::ContentLength),
            16 if name.starts_with('c') => ("content-encoding", Known::ContentEncoding),
            16 => ("proxy-connection", Known::ProxyConnection),
            17 => ("transfer-encoding", Known::TransferEncoding),
            19 => ("proxy-authorization", Known::ProxyAuthorization),
            _ => return None,
        };
        (name == wanted).then_some(known)
    }

    /// Whether it belongs to one connection.
    pub(super) fn is_hop(self) -> bool {
        // They stand first.
        (self as u8) <= Known::Upgrade as u8
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Which of the known headers a message has. Looking at the names once is cheaper than asking the
/// map for each one.
#[derive(Clone, Copy)]
pub(super) struct Present(u32);

impl Present {
    pub(super) fn of(headers: &HeaderMap) -> Present {
        let known = headers.keys().filter_map(Known::of);
        Present(known.fold(0, |found, known| found | known.bit()))
    }

    pub(super) fn has(self, known: Known) -> bool {
        self.0 & known.bit() != 0
    }

    /// Removes a header if it is there.
    pub(super) fn remove(self, headers: &mut HeaderMap, known: Known, name: HeaderName) {
        if self.has(known) {
            headers.remove(name);
        }
    }
}

/// Headers that `Connection` names, apart from those without which nothing works.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let names_none = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    };
    headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !names_none(value))
        .flat_map(|v| v.as_bytes().split(|b| *b == b','))
        .filter_map(|n| HeaderName::from_bytes(n.trim_ascii()).ok())
        .filter(|n| *n != CONTENT_TYPE && *n != HOST)
        .collect()
}

/// Removes connection headers, including those that `Connection` names.
pub fn strip_hop(headers: &mut HeaderMap) {
    strip(headers, None);
}

/// As [`strip_hop`], but a `Content-Length` that says `length` and nothing else may stay: it is as
/// it would be written again. Gives what is left.
pub(super) fn strip(headers: &mut HeaderMap, length: Option<u64>) -> Present {
    let mut present = Present::of(headers);
    if present.has(Known::Connection) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        present = Present::of(headers);
    }
    for (known, name) in HOP {
        if !present.has(known)
            || known == Known::ContentLength
                && length.is_some_and(|length| says_length(headers, length))
        {
            continue;
        }
        headers.remove(name);
        present.0 &= !known.bit();
    }
    present
}

fn says_length(headers: &HeaderMap, length: u64) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let says = |value: &HeaderValue| {
        let digits = value.as_bytes();
        digits.iter().all(u8::is_ascii_digit) && header_text(value).parse() == Ok(length)
    };
    values.next().is_some_and(says) && values.next().is_none()
}

/// Removes what a response made from the request never carries back.
pub(super) fn strip_not_echoed(headers: &mut HeaderMap, present: Present) {
    for (known, name) in NOT_ECHOED {
        present.remove(headers, known, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{CONTENT_ENCODING, DATE, SERVER, USER_AGENT};

    #[test]
    fn every_known_header_is_recognised() {
        let others = [
            (Known::Date, DATE),
            (Known::Server, SERVER),
            (Known::Host, HOST),
            (Known::UserAgent, USER_AGENT),
            (Known::ContentType, CONTENT_TYPE),
            (Known::ContentEncoding, CONTENT_ENCODING),
            (Known::SoapAction, crate::message::SOAP_ACTION),
        ];
        for (known, name) in HOP.into_iter().chain(NOT_ECHOED).chain(others) {
            assert_eq!(Known::of(&name), Some(known));
            assert_eq!(known.is_hop(), HOP.iter().any(|(hop, _)| *hop == known));
        }
        for other in [
            "hosu",
            "keep-alivf",
            "accept",
            "content-language",
            "activityid",
        ] {
            assert_eq!(Known::of(&HeaderName::from_static(other)), None, "{other}");
        }
    }

    #[test]
    fn every_connection_field_names_headers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", &b"keep-alive"[..]),
            ("connection", b"X-One , close"),
            ("connection", b"x-two,\xff, x-three"),
            ("x-one", b"1"),
            ("x-two", b"2"),
            ("x-three", b"3"),
            ("x-four", b"4"),
        ] {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        strip_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-four"]);
    }

    #[test]
    fn only_a_length_that_is_right_stays() {
        let map = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            headers
        };
        for (values, length, stays) in [
            (&["12"][..], Some(12), true),
            (&["12"], Some(13), false),
            (&["12"], None, false),
            (&["+12"], Some(12), false),
            (&["12, 12"], Some(12), false),
            (&["12", "12"], Some(12), false),
            (&[], Some(12), false),
        ] {
            let mut headers = map(values);
            let present = strip(&mut headers, length);
            assert_eq!(!headers.is_empty(), stays, "{values:?} {length:?}");
            assert_eq!(present.has(Known::ContentLength), stays);
        }
    }
}
