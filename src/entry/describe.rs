//! `GET …?wsdl`, `?wsdl2` and `?xsd`: what a service publishes about itself (spec 01 §6.4).

use crate::message::charset::Charset;
use crate::message::form;
use crate::message::outgoing::PRODUCT;
use crate::message::stream::BodyStream;
use crate::message::{Exchange, Message, header_text};
use crate::plan::Proxy;
use crate::plan::wsdl::{Addresses, Item, Known};
use crate::settings::Settings;
use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderValue, Method, Response};

/// What a request asks for, and what the addresses in it are.
pub(super) struct Asked {
    item: Item,
    addresses: Addresses,
}

/// Reads a request for a description; others are mediated.
pub(super) fn asked(
    settings: &Settings,
    exchange: &Exchange,
    message: &Message,
    proxy: &Proxy,
) -> Option<Asked> {
    if message.method != Method::GET {
        return None;
    }
    let query = message.uri.query()?;
    let name = |item: &str| {
        let rest = query.strip_prefix(item)?;
        let rest = rest.strip_prefix('=')?;
        let name = form::fields(rest.as_bytes(), Charset::UTF_8).next();
        name.map(|(name, _)| name)
    };
    let item = if query.starts_with("wsdl2") {
        Item::Wsdl2
    } else if query.starts_with("wsdl") {
        match name("wsdl") {
            Some(location) => Item::Resource(location),
            None => Item::Wsdl11,
        }
    } else if query.starts_with("xsd") {
        Item::Resource(name("xsd")?)
    } else {
        return None;
    };
    let http = &settings.http;
    let server = &settings.server;
    let base = |secure: bool| {
        let (scheme, port, prefix) = if secure {
            ("https", http.secured_port, &http.secured_wsdl_epr_prefix)
        } else {
            ("http", http.port, &http.wsdl_epr_prefix)
        };
        let base = match (prefix, &exchange.host) {
            (Some(prefix), _) => prefix.trim_end_matches('/').to_owned(),
            // The client came by this name, so it can come again.
            (None, Some(host)) if exchange.secure == secure => {
                format!("{scheme}://{}", header_text(host))
            }
            (None, Some(host)) => {
                let host = header_text(host);
                let host = match host.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
                    _ => host,
                };
                format!("{scheme}://{host}:{port}")
            }
            (None, None) => format!("{scheme}://{}:{port}", server.hostname),
        };
        format!("{base}/{}/{}", server.service_path, encoded(&proxy.name))
    };
    let addresses = Addresses {
        here: base(exchange.secure),
        http: proxy.http.then(|| base(false)),
        https: proxy.https.then(|| base(true)),
    };
    Some(Asked { item, addresses })
}

/// A name as a path has it.
fn encoded(name: &str) -> String {
    name.bytes()
        .fold(String::with_capacity(name.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
            out
        })
}

/// The answer, when there is such a description; `fetched` is one that is kept elsewhere.
pub(super) fn answer(
    asked: &Asked,
    proxy: &Proxy,
    fetched: Option<&Known>,
) -> Option<Response<BodyStream>> {
    let Asked { item, addresses } = asked;
    let body = proxy.wsdl.render(&proxy.name, item, addresses, fetched)?;
    let mut response = Response::new(BodyStream::full(body.into()));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("text/xml; charset=UTF-8");
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(SERVER, PRODUCT);
    Some(response)
}
