//! Qdrant's gRPC API. Messages and server stubs are those that Qdrant's own client crate carries.

mod change;
mod collections;
mod config;
mod filter;
mod formula;
mod groups;
mod index;
mod matrix;
mod points;
mod query;
mod recommend;
mod snapshots;
mod update;
mod values;

use std::time::Instant;

use axum::{Router, middleware::map_response};
use qdrant_client::qdrant as pb;
use tonic::{Code, Request, Response, Status, codec::CompressionEncoding, service::Routes};

use self::pb::{
    collections_server::CollectionsServer,
    points_server::PointsServer,
    qdrant_server::{Qdrant, QdrantServer},
    snapshots_server::SnapshotsServer,
};
use crate::{
    VERSION,
    engine::{Engine, Work},
    service::{Failure, Service},
};

pub(crate) fn router(engine: Engine, max_request_bytes: usize) -> Router {
    // Reports the server itself, as empty name, as serving.
    let (_, health) = tonic_health::server::health_reporter();
    let health = health.max_decoding_message_size(max_request_bytes);
    let api = Api { engine };
    macro_rules! server {
        ($server:ident) => {
            $server::new(api.clone())
                .max_decoding_message_size(max_request_bytes)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
        };
    }
    Routes::new(health)
        .add_service(server!(QdrantServer))
        .add_service(server!(CollectionsServer))
        .add_service(server!(PointsServer))
        .add_service(server!(SnapshotsServer))
        .prepare()
        .into_axum_router()
        .layer(map_response(move |response| async move {
            name_limit(response, max_request_bytes)
        }))
}

/// Tonic answers a message that is too large with OUT_OF_RANGE, and one that is so once it is unpacked with
/// RESOURCE_EXHAUSTED. Nothing else here answers with one of these.
fn name_limit(response: axum::response::Response, max_request_bytes: usize) -> axum::response::Response {
    // An error is all headers.
    let code = response.headers().get(Status::GRPC_STATUS);
    match code.map(|code| Code::from_bytes(code.as_bytes())) {
        Some(Code::OutOfRange | Code::ResourceExhausted) => Status::resource_exhausted(format!(
            "the request is larger than {max_request_bytes} bytes, which is the limit; send it in parts"
        ))
        .into_http(),
        _ => response,
    }
}

/// Implements the three services.
#[derive(Clone)]
struct Api {
    engine: Engine,
}

impl Api {
    /// Runs a call about points; `respond` puts its result and the seconds it took into the response.
    async fn call<T: Send + 'static, R: Send + 'static>(
        &self,
        call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
        respond: impl FnOnce(T, f64) -> R + Send + 'static,
    ) -> Result<Response<R>, Status> {
        self.work(Work::Points, call, respond).await
    }

    /// The same for a call that leaves the optimizer something to do.
    async fn call_and_tell<T: Send + 'static, R: Send + 'static>(
        &self,
        call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
        respond: impl FnOnce(T, f64) -> R + Send + 'static,
    ) -> Result<Response<R>, Status> {
        let response = self.call(call, respond).await;
        self.engine.written();
        response
    }

    /// The same for other work.
    async fn work<T: Send + 'static, R: Send + 'static>(
        &self,
        work: Work,
        call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
        respond: impl FnOnce(T, f64) -> R + Send + 'static,
    ) -> Result<Response<R>, Status> {
        let start = Instant::now();
        let response = self.engine.run(work, move |service| {
            let result = call(service)?;
            // Here, because large answers take their time.
            Ok(respond(result, start.elapsed().as_secs_f64()))
        });
        response.await.map(Response::new).map_err(status)
    }

    /// The same for a call that looks into memory alone.
    fn look<T, R>(
        &self,
        call: impl FnOnce(&Service) -> Result<T, Failure>,
        respond: impl FnOnce(T, f64) -> R,
    ) -> Result<Response<R>, Status> {
        let start = Instant::now();
        let result = self.engine.look(call).map_err(status)?;
        Ok(Response::new(respond(result, start.elapsed().as_secs_f64())))
    }
}

#[tonic::async_trait]
impl Qdrant for Api {
    async fn health_check(
        &self,
        _: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckReply>, Status> {
        Ok(Response::new(pb::HealthCheckReply {
            title: "qdrant - vector search engine".into(),
            version: VERSION.into(),
            commit: None,
        }))
    }
}

fn status(failure: Failure) -> Status {
    let text = failure.to_string();
    match failure {
        Failure::NotFound(_) => Status::not_found(text),
        Failure::AlreadyExists(_) => Status::already_exists(text),
        Failure::Invalid(_) => Status::invalid_argument(text),
        Failure::Unsupported(_) => Status::unimplemented(text),
        Failure::Busy(_) => Status::unavailable(text),
        Failure::Internal(_) => {
            tracing::error!(%failure, "a gRPC request failed");
            Status::internal(text)
        }
    }
}

fn unsupported<T>(method: &str) -> Result<Response<T>, Status> {
    Err(status(Failure::Unsupported(method.to_owned())))
}
