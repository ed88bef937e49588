//! What stands beside every service: `grpc.health.v1`, and reflection in both versions.

use std::sync::Arc;

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    ServerError, ServiceKind,
    front::{Dispatch, Front},
};

/// Services by the beginnings of their paths.
pub(crate) type Beside = Vec<(&'static str, Dispatch)>;

/// Health and reflection by the beginnings of their paths, and what reports health.
pub(crate) fn beside(kind: ServiceKind) -> Result<(HealthReporter, Beside), ServerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let (v1, v1alpha) = reflection(kind)?;
    let services = vec![
        ("/grpc.health.v1.Health/", dispatch(health)),
        ("/grpc.reflection.v1.ServerReflection/", v1),
        ("/grpc.reflection.v1alpha.ServerReflection/", v1alpha),
    ];
    Ok((reporter, services))
}

fn dispatch<S>(service: S) -> Dispatch
where
    S: tonic::codegen::Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
            Future = tonic::codegen::BoxFuture<http::Response<tonic::body::Body>, std::convert::Infallible>,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    Box::new(move |request| service.clone().call(request))
}

fn reflection(kind: ServiceKind) -> Result<(Dispatch, Dispatch), ServerError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors(kind))
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(kind.grpc_service())
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
    };
    let failed = |e: tonic_reflection::server::Error| ServerError::Reflection(e.to_string());
    let v1 = builder().build_v1().map_err(failed)?;
    let v1alpha = builder().build_v1alpha().map_err(failed)?;
    Ok((dispatch(v1), dispatch(v1alpha)))
}

/// What reflection shows of a service: its own file and its imports. The whole contract, in both versions of each
/// service, would take more memory than all else that the services keep while nobody calls: 2 MB for each.
const fn descriptors(kind: ServiceKind) -> &'static [u8] {
    match kind {
        ServiceKind::Minio => isa_proto::minio::FILE_DESCRIPTOR_SET,
        ServiceKind::Duckdb => isa_proto::duckdb::FILE_DESCRIPTOR_SET,
        ServiceKind::Mqtt => isa_proto::mqtt::FILE_DESCRIPTOR_SET,
        ServiceKind::Loki => isa_proto::loki::FILE_DESCRIPTOR_SET,
        ServiceKind::Redis => isa_proto::redis::FILE_DESCRIPTOR_SET,
        ServiceKind::Nats => isa_proto::nats::FILE_DESCRIPTOR_SET,
        ServiceKind::Postgres => isa_proto::postgres::FILE_DESCRIPTOR_SET,
        ServiceKind::Qdrant => isa_proto::qdrant::FILE_DESCRIPTOR_SET,
        ServiceKind::Neo4j => isa_proto::neo4j::FILE_DESCRIPTOR_SET,
    }
}

/// Says in `grpc.health.v1` how things are: under the empty name the process, under the service's name the service with
/// its engine.
pub(crate) async fn set_health(front: &Front, reporter: &HealthReporter) {
    let shared = &front.shared;
    let process = shared.readiness.is_ready() && !shared.stopping.is_cancelled();
    let service = process && front.upstream.is_up();
    let status = |serving| {
        if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    };
    reporter.set_service_status("", status(process)).await;
    reporter
        .set_service_status(front.kind.grpc_service(), status(service))
        .await;
    let up = if front.upstream.is_up() { 1.0 } else { 0.0 };
    metrics::gauge!("isa_engine_up", "service" => front.kind.name()).set(up);
}

/// Until the server stops.
pub(crate) async fn report_health(front: Arc<Front>, reporter: HealthReporter) {
    let mut engine = front.upstream.changes();
    let mut readiness = front.shared.readiness.changes();
    loop {
        set_health(&front, &reporter).await;
        tokio::select! {
            Ok(()) = engine.changed() => {}
            Ok(()) = readiness.changed() => {}
            () = front.shared.stopping.cancelled() => break,
        }
    }
    set_health(&front, &reporter).await;
}
