//! Metrics and probes over HTTP, for Prometheus and people.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::{metrics, shared::Shared};

/// Answers until everything has stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let stopped = shared.cut_off.clone().cancelled_owned();
    let routes = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, routes)
        .with_graceful_shutdown(stopped)
        .await
    {
        tracing::error!(%error, "metrics and probes are no longer served");
    }
}

async fn show_metrics() -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], metrics::render())
}

async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match shared.readiness.pending() {
        pending if pending.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        pending => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for {}\n", pending.join(", ")),
        ),
    }
}
