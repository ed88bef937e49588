//! Qdrant's envelope around every answer, and the bodies of requests.

use std::{fmt, time::Instant};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    engine::{Engine, Work},
    service::{Failure, Service},
};

#[derive(Serialize)]
struct Envelope<T> {
    result: T,
    status: &'static str,
    time: f64,
}

/// Runs a call about points and answers with its result.
pub(super) async fn reply<T: Serialize>(
    engine: &Engine,
    call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
) -> Response {
    reply_to(engine, Work::Points, call).await
}

/// The same for a call that writes.
pub(super) async fn reply_to_write<T: Serialize>(
    engine: &Engine,
    call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
) -> Response {
    reply_to_work(engine, Work::Points, call).await
}

/// The same for other work, which may leave the optimizer something to do as well.
pub(super) async fn reply_to_work<T: Serialize>(
    engine: &Engine,
    work: Work,
    call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
) -> Response {
    let response = reply_to(engine, work, call).await;
    engine.written();
    response
}

async fn reply_to<T: Serialize>(
    engine: &Engine,
    work: Work,
    call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
) -> Response {
    let start = Instant::now();
    // In there, because large answers take their time.
    let answer = engine.run(work, move |service| encode(call(service)?, start));
    respond(answer.await, start)
}

/// The same for a call that looks into memory alone.
pub(super) fn look<T: Serialize>(
    engine: &Engine,
    call: impl FnOnce(&Service) -> Result<T, Failure>,
) -> Response {
    let start = Instant::now();
    let result = engine.look(call);
    respond(result.and_then(|result| encode(result, start)), start)
}

fn encode<T: Serialize>(result: T, start: Instant) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&Envelope {
        result,
        status: "ok",
        time: start.elapsed().as_secs_f64(),
    })
    .map_err(|e| Failure::Internal(format!("cannot encode the answer: {e}")))
}

fn respond(answer: Result<Vec<u8>, Failure>, start: Instant) -> Response {
    match answer {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(failure) => refuse(&failure, start),
    }
}

pub(super) fn refuse(failure: &Failure, start: Instant) -> Response {
    let code = match failure {
        Failure::NotFound(_) => StatusCode::NOT_FOUND,
        Failure::AlreadyExists(_) => StatusCode::CONFLICT,
        Failure::Invalid(_) => StatusCode::BAD_REQUEST,
        Failure::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Failure::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if let Failure::Internal(_) = failure {
        tracing::error!(%failure, "a REST request failed");
    }
    error(code, failure, start)
}

/// An error in Qdrant's shape.
pub(crate) fn error(code: StatusCode, text: impl fmt::Display, start: Instant) -> Response {
    let body = serde_json::json!({
        "status": { "error": text.to_string() },
        "time": start.elapsed().as_secs_f64(),
    });
    (code, axum::Json(body)).into_response()
}

/// The body of a request, read whole.
pub(super) struct Body(Bytes);

impl Body {
    /// An error names the field.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            Failure::Invalid(format!("Format error in JSON body: {}: {}", e.path(), e.inner()))
        })?;
        json.end()
            .map_err(|e| Failure::Invalid(format!("Format error in JSON body: {e}")))?;
        Ok(value)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let start = Instant::now();
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(error(rejection.status(), rejection.body_text(), start)),
        }
    }
}
