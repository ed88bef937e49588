use std::{
    net::TcpListener,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::header,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use isa_config::Secret;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, access,
    engine::{Engine, Work},
    grpc,
    metrics::{self, Metrics},
    rest,
};

/// What a listener speaks, whatever its callers send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Rest,
    Grpc,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
        }
    }
}

/// How the vector engine runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the collections; created if it is not there. One server at a time may use it.
    pub storage: PathBuf,
    /// What clients must present; without one, everybody may do everything.
    pub api_key: Option<Secret>,
    /// Collections kept open at once; each costs threads, mappings and memory. At least 1.
    pub max_open_shards: usize,
    /// Requests worked on at once; others wait their turn. At least 1.
    pub max_concurrency: usize,
    /// Largest request, in bytes.
    pub max_request_bytes: usize,
    /// How long running requests, and the flush after them, may take when the server stops.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            storage: "storage".into(),
            api_key: None,
            max_open_shards: 16,
            max_concurrency: 4 * std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            max_request_bytes: 32 << 20,
            drain: Duration::from_secs(10),
        }
    }
}

/// Opens the storage, taking its lock, and serves Qdrant's REST API on `rest` and its gRPC API on `grpc` until
/// `shutdown` completes. Then lets running requests end, flushes and closes everything, for at most
/// [`Options::drain`]: what is not flushed by then is in the journals and recovered at the next start.
///
/// # Errors
/// The storage is in use, damaged or cannot be read or written; a listener fails.
pub async fn serve(
    options: Options,
    rest: TcpListener,
    grpc: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let engine = {
        let Options {
            storage,
            max_open_shards,
            max_concurrency,
            ..
        } = options.clone();
        let opened =
            tokio::task::spawn_blocking(move || Engine::open(&storage, max_open_shards, max_concurrency));
        opened.await.map_err(|e| Error::Panicked(e.to_string()))??
    };
    let metrics = Arc::new(Metrics::default());
    let stop = CancellationToken::new();
    let rest_routes = rest::router(engine.clone(), options.max_request_bytes)
        .merge(rest::health())
        .merge(
            Router::new()
                .route("/metrics", get(show_metrics))
                .with_state((engine.clone(), Arc::clone(&metrics))),
        );
    let grpc_routes = grpc::router(engine.clone(), options.max_request_bytes);
    let guard = |protocol: Protocol, routes: Router| {
        let key = options.api_key.clone();
        routes
            .layer(from_fn_with_state((key, protocol), access::check))
            .layer(from_fn_with_state(
                (Arc::clone(&metrics), protocol),
                metrics::count,
            ))
    };
    let mut servers = tokio::task::JoinSet::new();
    for (protocol, listener, routes) in [
        (Protocol::Rest, rest, rest_routes),
        (Protocol::Grpc, grpc, grpc_routes),
    ] {
        let routes = guard(protocol, routes);
        let failed = move |source| Error::Serve {
            protocol: protocol.name(),
            source,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(failed)?
            // An answer is not held back until the one before it is acknowledged. A connection that fails to be set
            // so fails at its first read.
            .tap_io(|connection| drop(connection.set_nodelay(true)));
        let stopped = stop.clone().cancelled_owned();
        servers.spawn(async move {
            axum::serve(listener, routes)
                .with_graceful_shutdown(stopped)
                .await
                .map_err(failed)
        });
    }
    tokio::select! {
        () = shutdown => {}
        // A server that ends before it is told to has failed.
        Some(ended) = servers.join_next() => {
            let result = ended.unwrap_or_else(|e| Err(Error::Panicked(e.to_string())));
            stop.cancel();
            close(engine, Instant::now() + options.drain).await;
            return result;
        }
    }
    stop.cancel();
    let deadline = Instant::now() + options.drain;
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout_at(deadline.into(), drained).await.is_err() {
        tracing::warn!("requests were still running at the end of the drain");
        servers.abort_all();
    }
    close(engine, deadline).await;
    Ok(())
}

/// Leaves at least a moment to flush, however long the requests took.
async fn close(engine: Engine, deadline: Instant) {
    let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
    // A panic in there is as good as a crash, which the journals are for.
    let _ = tokio::task::spawn_blocking(move || engine.close(deadline)).await;
}

async fn show_metrics(State((engine, metrics)): State<(Engine, Arc<Metrics>)>) -> Response {
    match engine
        .run(Work::Points, move |service| Ok(metrics.render(&service.usage())))
        .await
    {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(failure) => rest::error(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            failure,
            Instant::now(),
        ),
    }
}
