//! Who may call: one API key for both protocols.

use std::time::Instant;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use isa_config::Secret;
use tonic::Status;

use crate::{rest, server::Protocol};

/// Open to all, as in Qdrant.
const OPEN: [&str; 7] = [
    "/",
    "/healthz",
    "/livez",
    "/readyz",
    "/qdrant.Qdrant/HealthCheck",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// Lets a request through that carries the key, as `api-key: KEY` or `authorization: Bearer KEY`.
pub(crate) async fn check(
    State((key, protocol)): State<(Option<Secret>, Protocol)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = key else {
        return next.run(request).await;
    };
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let text = match offered(request.headers()) {
        Some(offered) if equal(offered, key.expose().as_bytes()) => return next.run(request).await,
        Some(_) => "Invalid API key or JWT",
        None => "Must provide an API key or an Authorization bearer token",
    };
    match protocol {
        Protocol::Grpc => Status::unauthenticated(text).into_http(),
        Protocol::Rest => rest::error(StatusCode::UNAUTHORIZED, text, Instant::now()),
    }
}

fn offered(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("api-key") {
        return Some(key.as_bytes());
    }
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
        .map(str::as_bytes)
}

/// Takes as long for a key that is wrong at its first byte as for one that is wrong at its last.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}
