//! One request and its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use quick_xml::escape::escape;

use super::BackendOptions;
use super::message::{Call, Format, Operation, Problem};
use super::{quote, reply};

/// Where the service is, unless a client prefers another name below `/services/`.
pub(super) const PATH: &str = "/services/SimpleStockQuoteService";

const X_BACKEND: HeaderName = HeaderName::from_static("x-backend");
const TEXT: &str = "text/plain; charset=UTF-8";
const WSDL: &str = include_str!("service.wsdl");

/// Larger request bodies are refused.
const MAX_BODY: usize = 1024 * 1024;
/// So much of a refused body is still read: clients often look for the answer only after they have
/// sent everything.
const MAX_DISCARDED: usize = 16 * MAX_BODY;

/// What all requests of one service share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) header: HeaderValue,
    pub(super) address: SocketAddr,
    pub(super) options: BackendOptions,
    pub(super) requests: AtomicU64,
    pub(super) orders: AtomicU64,
}

/// Answers any request.
pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = respond(&shared, number, request).await;
    if !shared.options.delay.is_zero() {
        tokio::time::sleep(shared.options.delay).await;
    }
    response
        .headers_mut()
        .insert(X_BACKEND, shared.header.clone());
    response
}

async fn respond(shared: &Shared, number: u64, request: Request) -> Response {
    let injected = match shared.options.status {
        None if shared.options.fail.picks(number) => Some(StatusCode::INTERNAL_SERVER_ERROR),
        status => status,
    };
    let (parts, body) = request.into_parts();
    let body = match read_body(&parts, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let mut response = route(shared, &parts, &body, injected);
    if let Some(status) = injected {
        *response.status_mut() = status;
        if matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        ) {
            // HTTP allows these no body.
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
        }
    }
    response
}

async fn read_body(parts: &Parts, mut body: Body) -> Result<Bytes, Response> {
    let too_large = || {
        let text = format!("the request body exceeds {MAX_BODY} bytes\n");
        plain(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_DISCARDED) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = format!("cannot read the request body: {error}\n");
            plain(StatusCode::BAD_REQUEST, text)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        total += data.len();
        if total > MAX_DISCARDED {
            break;
        }
        if total <= MAX_BODY {
            bytes.extend_from_slice(&data);
        }
    }
    if total > MAX_BODY {
        return Err(too_large());
    }
    Ok(bytes.into())
}

fn route(shared: &Shared, parts: &Parts, body: &[u8], injected: Option<StatusCode>) -> Response {
    let path = parts.uri.path();
    let method = &parts.method;
    if !matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    ) {
        let mut response = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is not supported\n"),
        );
        response.headers_mut().insert(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
        );
        return response;
    }
    let Some(service) = path.strip_prefix("/services/").filter(|it| !it.is_empty()) else {
        let (status, text) = match path {
            "/" | "/services" | "/services/" => (StatusCode::OK, usage(shared)),
            _ => (
                StatusCode::NOT_FOUND,
                format!("nothing at {path}; the service is at {PATH}\n"),
            ),
        };
        log_other(shared, parts);
        return plain(status, text);
    };
    let read_only = matches!(*method, Method::GET | Method::HEAD);
    let query = parts.uri.query().unwrap_or_default();
    let asks_for_wsdl = query
        .split('&')
        .any(|pair| matches!(pair.split('=').next(), Some("wsdl" | "WSDL")));
    if read_only && asks_for_wsdl {
        log_other(shared, parts);
        return with_type(
            "text/xml; charset=UTF-8",
            StatusCode::OK,
            wsdl(shared, parts),
        );
    }
    let operation_in_path = service
        .trim_end_matches('/')
        .split_once('/')
        .and_then(|(_, rest)| rest.rsplit('/').next());
    if read_only && body.is_empty() && operation_in_path.is_none() && action(parts).is_none() {
        log_other(shared, parts);
        return plain(StatusCode::OK, usage(shared));
    }

    let Some((format, call)) = read_call(parts, query, body) else {
        log_other(shared, parts);
        return plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send SOAP (text/xml, application/soap+xml), application/xml or application/json\n"
                .to_owned(),
        );
    };
    let outcome =
        call.and_then(|call| carry_out(shared, parts, operation_in_path, &call, injected));
    match outcome {
        Ok(Some(answer)) => with_type(format.content_type(), StatusCode::OK, answer),
        Ok(None) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => {
            tracing::info!(backend = %shared.name, "refused: {}", shown(&problem.to_string()));
            with_type(
                format.content_type(),
                StatusCode::INTERNAL_SERVER_ERROR,
                reply::fault(format, &problem),
            )
        }
    }
}

/// Reads the request. The format of the answer is known even if reading fails; `None` means that
/// the content is of no kind the service knows.
fn read_call(parts: &Parts, query: &str, body: &[u8]) -> Option<(Format, Result<Call, Problem>)> {
    let content_type = header(parts, &CONTENT_TYPE).to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let declared = match media_type {
        "text/xml" => Some(Format::Soap11),
        "application/soap+xml" => Some(Format::Soap12),
        "application/json" => Some(Format::Json),
        "application/xml" => Some(Format::Pox),
        other if other.ends_with("+json") => Some(Format::Json),
        other if other.ends_with("+xml") => Some(Format::Pox),
        _ => None,
    };
    let wanted = if header(parts, &ACCEPT).contains("json") {
        Format::Json
    } else {
        Format::Pox
    };
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_none() {
        let format = declared.unwrap_or(wanted);
        return Some((format, Call::from_form(query, format)));
    }
    if media_type == "application/x-www-form-urlencoded" && !matches!(first, Some(b'<' | b'{')) {
        let text = String::from_utf8_lossy(body);
        return Some((wanted, Call::from_form(&text, wanted)));
    }
    // Test clients often leave the content type to their tool's default, so the content decides
    // where the declaration says nothing.
    let format = match (declared, first) {
        (Some(format), _) => format,
        (None, Some(b'{')) => Format::Json,
        (None, Some(b'<')) => Format::Pox,
        (None, _) => return None,
    };
    if format == Format::Json {
        return Some((format, Call::from_json(body)));
    }
    let call = Call::from_xml(body);
    let format = call.as_ref().map_or(format, |call| call.format);
    Some((format, call))
}

/// Performs the operation and writes its line to the log; `None` is the empty answer of a one-way
/// operation.
fn carry_out(
    shared: &Shared,
    parts: &Parts,
    operation_in_path: Option<&str>,
    call: &Call,
    injected: Option<StatusCode>,
) -> Result<Option<String>, Problem> {
    let action = action(parts);
    let names = [
        call.payload.as_deref(),
        operation_in_path,
        action.as_deref(),
    ];
    let operation = names
        .into_iter()
        .flatten()
        .find_map(Operation::named)
        .ok_or_else(|| match names.into_iter().flatten().next() {
            Some(name) => Problem::UnknownOperation { name: shown(name) },
            None => Problem::NoOperation,
        })?;
    if let Some(status) = injected.filter(|status| status.as_u16() >= 400) {
        return Err(Problem::Injected(status.as_u16()));
    }
    let now = (shared.options.clock)();
    let name = operation.name();
    let backend = shared.name.as_str();
    let first = call.symbols.first().map(String::as_str);
    if operation == Operation::PlaceOrder {
        // A one-way caller could not be told what is wrong, so every order is accepted.
        let number = shared.orders.fetch_add(1, Ordering::Relaxed) + 1;
        let or_null = |text: Option<&str>| shown(text.unwrap_or("null"));
        let symbol = or_null(first);
        let quantity = or_null(call.quantity.as_deref());
        let price = or_null(call.price.as_deref());
        tracing::info!(
            %backend, operation = %name, %symbol, %quantity, %price,
            "Accepted order #{number} for : {quantity} stocks of {symbol} at $ {price}"
        );
        return Ok(None);
    }
    let symbol = first.ok_or(Problem::NoSymbol(name))?;
    let shown_symbol = shown(symbol);
    let value = match operation {
        Operation::GetFullQuote => {
            tracing::info!(%backend, operation = %name, symbol = %shown_symbol, "Full quote for : {shown_symbol}");
            quote::full_quote(symbol, now)
        }
        Operation::GetMarketActivity => {
            let symbols = shown(&call.symbols.join(", "));
            tracing::info!(
                %backend, operation = %name, %symbols,
                "Generating Market activity report for : [{symbols}]"
            );
            quote::market_activity(&call.symbols, now)
        }
        Operation::PlaceOrder | Operation::GetQuote | Operation::GetSimpleQuote => {
            // The original refuses this symbol so that samples can show a fault.
            if operation == Operation::GetQuote && symbol == "ERR" {
                return Err(Problem::InvalidSymbol(symbol.to_owned()));
            }
            tracing::info!(%backend, operation = %name, symbol = %shown_symbol, "Generating quote for : {shown_symbol}");
            quote::quote(symbol, 0, now)
        }
    };
    Ok(Some(reply::answer(call.format, name, &value)))
}

/// The operation in the SOAP action (`urn:getQuote`): from the `SOAPAction` header, or for SOAP 1.2
/// from the content type.
fn action(parts: &Parts) -> Option<String> {
    let in_header = parts
        .headers
        .get("soapaction")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let action = in_header.or_else(|| {
        header(parts, &CONTENT_TYPE)
            .split(';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("action"))
            .map(|(_, value)| value.to_owned())
    })?;
    let action = action.trim().trim_matches('"');
    let name = action.rsplit([':', '/', '#']).next().unwrap_or(action);
    (!name.is_empty()).then(|| name.to_owned())
}

fn header<'a>(parts: &'a Parts, name: &HeaderName) -> &'a str {
    parts
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The description of the service, with the address under which the client reached it.
fn wsdl(shared: &Shared, parts: &Parts) -> String {
    let host = match header(parts, &HOST) {
        "" => shared.address.to_string(),
        host => host.to_owned(),
    };
    let address = format!("http://{host}{}", parts.uri.path().trim_end_matches('/'));
    WSDL.replace("{address}", &escape(address))
}

fn usage(shared: &Shared) -> String {
    format!(
        "{name}: SimpleStockQuote sample service\n\
         address:    http://{address}{PATH}\n\
         WSDL:       http://{address}{PATH}?wsdl\n\
         operations: {operations}\n\
         example:    curl 'http://{address}{PATH}/getQuote?symbol=IBM'\n",
        name = shared.name,
        address = shared.address,
        operations = Operation::list(),
    )
}

fn log_other(shared: &Shared, parts: &Parts) {
    let target = shown(&parts.uri.to_string());
    tracing::info!(backend = %shared.name, "{} {target}", parts.method);
}

/// Text of a peer as it may stand in a log line: short and without control characters.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

fn plain(status: StatusCode, text: String) -> Response {
    with_type(TEXT, status, text)
}

fn with_type(content_type: &'static str, status: StatusCode, text: String) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    (status, [(CONTENT_TYPE, content_type)], text).into_response()
}
