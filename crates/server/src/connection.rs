//! Connections: accepted, served over HTTP/2, and ended so that no accepted call fails.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;

use crate::front::Front;
use isa_config::TransportConfig;

/// How long a TLS handshake may take, and after it the first byte.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the first byte may take when the server closes: a call may be on its way.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// What HTTP/2 begins with, in bytes.
const PREFACE: usize = 24;

/// How much a caller may send ahead of what is read: of one call, and of all calls of a connection.
const WINDOW: (u32, u32) = (2 << 20, 8 << 20);

/// A listener with its service.
pub(crate) struct Door {
    pub(crate) front: Arc<Front>,
    pub(crate) listener: TcpListener,
    pub(crate) tls: Arc<ArcSwapOption<rustls::ServerConfig>>,
    pub(crate) transport: TransportConfig,
    pub(crate) connections: TaskTracker,
    /// Connections that still are there are dropped.
    pub(crate) force: CancellationToken,
}

impl Door {
    /// Accepts until the server is closed.
    pub(crate) async fn run(self) {
        let closed = self.front.shared.closed.clone();
        let room = Arc::new(Semaphore::new(self.transport.max_connections.max(1)));
        let builder = builder(&self.transport);
        let gauge = metrics::gauge!("isa_connections", "service" => self.front.kind.name());
        loop {
            let accepted = tokio::select! {
                biased;
                () = closed.cancelled() => return,
                accepted = async {
                    // The semaphore is never closed.
                    let place = Arc::clone(&room).acquire_owned().await.ok();
                    (place, self.listener.accept().await)
                } => accepted,
            };
            let (place, connection) = match accepted {
                (place, Ok(connection)) => (place, connection),
                (_, Err(error)) => {
                    // The other side is gone already, or files have run out: both pass.
                    tracing::warn!(service = %self.front.kind, %error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (front, builder, force) = (Arc::clone(&self.front), builder.clone(), self.force.clone());
            let tls = self.tls.load_full();
            let gauge = gauge.clone();
            self.connections.spawn(async move {
                gauge.increment(1.0);
                let (stream, peer) = connection;
                tokio::select! {
                    () = serve(front, builder, tls, stream, peer) => {}
                    () = force.cancelled() => {}
                }
                gauge.decrement(1.0);
                drop(place);
            });
        }
    }
}

fn builder(transport: &TransportConfig) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(transport.keepalive_seconds.max(1)))
        .keep_alive_timeout(Duration::from_secs(transport.keepalive_timeout_seconds.max(1)))
        .max_concurrent_streams(transport.max_streams_per_connection)
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .max_frame_size(1 << 18);
    builder
}

async fn serve(
    front: Arc<Front>,
    builder: http2::Builder<TokioExecutor>,
    tls: Option<Arc<rustls::ServerConfig>>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Answers are not held back until those before are acknowledged. A connection on which that fails, fails anyway.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return speak(front, builder, stream, peer).await;
    };
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => speak(front, builder, stream, peer).await,
        Ok(Err(error)) => tracing::info!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::info!(%peer, "a TLS handshake took too long"),
    }
}

async fn speak<S>(front: Arc<Front>, builder: http2::Builder<TokioExecutor>, stream: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let closed = front.shared.closed.clone();
    // Who connects and says nothing, as probes of ports do, has no call that could end: hyper would wait for it, and the
    // drain for hyper. Later reads are as large as the buffer or larger, and go past it.
    let mut stream = BufReader::with_capacity(PREFACE, stream);
    tokio::select! {
        said = tokio::time::timeout(HANDSHAKE, stream.fill_buf()) => match said {
            Ok(Ok(said)) if !said.is_empty() => {}
            _ => return tracing::debug!(%peer, "a connection on which nothing was said"),
        },
        () = async { closed.cancelled().await; tokio::time::sleep(LAST_CHANCE).await } => return,
    }
    let service = service_fn(move |request: http::Request<Incoming>| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(front.answer(request.map(Body::new), Some(peer)).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = closed.cancelled() => {
            // Tells the other side to open no more calls, answers those that it opened before it heard, and closes.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
