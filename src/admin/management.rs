//! The management API (spec 04 §11), as far as it goes: login, the server, endpoints and their states.
//! Paths, fields and texts are those that the `mi` command-line tool expects.

use super::State;
use super::login::{Caller, Logins};
use crate::endpoint::{Described, Endpoint};
use crate::settings::AdminSettings;
use axum::body::Bytes;
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    AUTHORIZATION, CACHE_CONTROL, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// Largest body of a request, bytes.
const MOST: usize = 64 * 1024;

/// Which pages of other origins may read answers.
#[derive(Debug)]
struct Cors {
    origins: Vec<String>,
    headers: HeaderValue,
}

/// The pages of the management port.
pub fn pages(state: State, logins: Arc<Logins>, settings: &AdminSettings) -> Router {
    let router = Router::new()
        .route("/management", get(welcome))
        .route("/management/", get(welcome))
        .route("/management/logout", get(logout))
        .route("/management/server", get(server))
        .route("/management/endpoints", get(endpoints).post(switch))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(logins.clone(), authenticate))
        .route("/management/login", get(login))
        .layer(Extension(logins))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(state);
    let Some(origins) = &settings.cors_origins else {
        return router;
    };
    let cors = Arc::new(Cors {
        origins: origins.split(',').map(|o| o.trim().to_owned()).collect(),
        headers: HeaderValue::from_str(&settings.cors_headers)
            .unwrap_or(HeaderValue::from_static("Authorization, Content-Type")),
    });
    router.layer(middleware::from_fn_with_state(cors, share))
}

fn error(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(json!({ "Error": text.into() }))).into_response()
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

fn refused() -> Response {
    // The underscore is the reference's: browsers do not ask for a password.
    let header = ("www_authenticate", r#"Basic realm="WSO2 EI""#);
    (StatusCode::UNAUTHORIZED, [header]).into_response()
}

/// Lets through who shows a token.
async fn authenticate(
    extract::State(logins): extract::State<Arc<Logins>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(caller) = authorization(request.headers()).and_then(|text| logins.caller(text)) else {
        return refused();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Tells browsers which pages may ask. No page has a token unless somebody gave it one.
async fn share(
    extract::State(cors): extract::State<Arc<Cors>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let any = cors.origins.iter().any(|o| o == "*");
    let allowed = match &origin {
        _ if any => Some(HeaderValue::from_static("*")),
        Some(origin)
            if cors
                .origins
                .iter()
                .any(|o| o.as_bytes() == origin.as_bytes()) =>
        {
            Some(origin.clone())
        }
        _ => None,
    };
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight {
        StatusCode::OK.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if !any {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone());
        if preflight {
            let methods = HeaderValue::from_static("GET, POST");
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
    }
    response
}

async fn login(Extension(logins): Extension<Arc<Logins>>, headers: HeaderMap) -> Response {
    match logins.login(authorization(&headers)).await {
        Ok(Some(token)) => {
            let answer = Json(json!({ "AccessToken": token }));
            ([(CACHE_CONTROL, "no-store")], answer).into_response()
        }
        Ok(None) => refused(),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()),
    }
}

async fn logout(Extension(logins): Extension<Arc<Logins>>, headers: HeaderMap) -> StatusCode {
    if let Some(text) = authorization(&headers) {
        logins.logout(text);
    }
    StatusCode::OK
}

async fn welcome() -> Response {
    Json(json!({ "Message": "The management API of Myelin" })).into_response()
}

async fn unknown() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "This management resource is not supported yet",
    )
}

async fn server(extract::State(state): extract::State<State>) -> Response {
    let status = state.status.borrow().clone();
    Json(json!({
        "productName": "Myelin",
        "productVersion": env!("CARGO_PKG_VERSION"),
        "osName": std::env::consts::OS,
        "workDirectory": std::env::current_dir().unwrap_or_default().display().to_string(),
        "generation": status.generation,
        "artifacts": status.report.counts,
        "openConnections": state.shutdown.connections(),
        "requestsInWork": state.shutdown.requests(),
    }))
    .into_response()
}

/// What lists say of an endpoint, and the rows of what is inside.
fn described(state: &State, endpoint: &Endpoint) -> (Value, Vec<Described>) {
    let mut rows = Vec::new();
    endpoint.kind.describe(state.clock.now(), &mut rows);
    let own = rows.first();
    let kind = match endpoint.kind.reference() {
        Some(word) => word,
        None => own.map_or("", |row| row.kind),
    };
    let active = own.is_none_or(|row| row.state.is_none_or(|word| word == "ACTIVE"));
    let summary = json!({ "name": endpoint.label(), "type": kind, "isActive": active });
    (summary, rows)
}

/// A parameter of the query.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let value = pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(n, _)| *n == name)?
        .1;
    let value = value.replace('+', " ");
    let value = percent_encoding::percent_decode_str(&value).decode_utf8();
    value.ok().map(|text| text.into_owned())
}

async fn endpoints(extract::State(state): extract::State<State>, uri: Uri) -> Response {
    let plan = state.engine.plan();
    let all = &plan.library.endpoints;
    if let Some(name) = parameter(&uri, "endpointName") {
        return match all.named(&name) {
            Some(endpoint) => Json(one(&state, endpoint)).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let key = parameter(&uri, "searchKey").map(|k| k.trim().to_lowercase());
    let found = all.list.iter().filter(|e| e.name.is_some()).filter(|e| {
        let key = key.as_deref().unwrap_or_default();
        e.label().to_lowercase().contains(key)
    });
    let list: Vec<Value> = found.map(|e| described(&state, e).0).collect();
    Json(json!({ "count": list.len(), "list": list })).into_response()
}

/// Everything about one endpoint.
fn one(state: &State, endpoint: &Endpoint) -> Value {
    let (mut out, rows) = described(state, endpoint);
    let mut rows = rows.into_iter();
    let own = rows.next().unwrap_or_default();
    out["tracing"] = json!("disabled");
    if let Some(address) = own.address {
        let name = if own.kind == "http" {
            "uriTemplate"
        } else {
            "address"
        };
        out[name] = json!(address);
    }
    if let Some(word) = own.state {
        out["state"] = json!(word);
    }
    let children: Vec<Value> = rows.map(|row| json!(row)).collect();
    if !children.is_empty() {
        out["children"] = json!(children);
    }
    out["configuration"] = json!(configuration(endpoint));
    out
}

/// The element as it is written; empty for one that is written in an attribute.
fn configuration(endpoint: &Endpoint) -> String {
    let place = &endpoint.place;
    let text = place.source.text();
    let document = crate::syntax::parse(&place.source).ok();
    let range = document.as_ref().and_then(|document| {
        let mut all = document.root().descendants();
        let found = all.find(|n| n.is_element() && n.range().start == place.span.start);
        found.map(|n| n.range())
    });
    let text = range.and_then(|range| text.get(range));
    text.unwrap_or_default().to_owned()
}

/// `{"name":…,"status":"active"|"inactive"}` (spec 02 §7.8).
async fn switch(
    extract::State(state): extract::State<State>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    if !caller.may_change {
        return StatusCode::FORBIDDEN.into_response();
    }
    if body.is_empty() {
        return error(BAD, "JSON payload is missing");
    }
    let Ok(payload) = serde_json::from_slice::<Value>(&body) else {
        return error(BAD, "Error when parsing JSON payload");
    };
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let Some(name) = text("name") else {
        return error(BAD, "Unsupported operation");
    };
    let plan = state.engine.plan();
    let endpoint = plan.library.endpoints.named(name);
    let Some(status) = text("status") else {
        let traced = ["trace", "statistics"]
            .iter()
            .any(|f| payload.get(f).is_some());
        return match endpoint {
            None => error(BAD, format!("Specified endpoint ('{name}') not found")),
            Some(_) if traced => {
                error(BAD, "Tracing/Statistics is not supported for this endpoint")
            }
            Some(_) => error(BAD, "Invalid payload. Required parameter is missing."),
        };
    };
    let Some(endpoint) = endpoint else {
        return error(StatusCode::NOT_FOUND, "Endpoint does not exist");
    };
    let on = match status {
        s if s.eq_ignore_ascii_case("active") => true,
        s if s.eq_ignore_ascii_case("inactive") => false,
        _ => return error(BAD, "Provided state is not valid"),
    };
    if let Err(why) = endpoint.kind.switch(on) {
        return error(BAD, format!("{name} cannot be switched: {why}"));
    }
    let entry = json!({
        "performedBy": caller.name,
        "type": "endpoint",
        "action": if on { "enabled" } else { "disabled" },
        "info": { "endpointName": name },
    });
    tracing::info!(target: "Audit", "{entry}");
    let word = if on { "On" } else { "Off" };
    Json(json!({ "Message": format!("{name} is switched {word}") })).into_response()
}
