//! The caller's side: a loopback listener that adds a credential to each call and sends it on to a server, for clients
//! that can send none.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use isa_proto::{Error, ErrorCode};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::{Status, TimeoutExpired, body::Body, client::GrpcService, transport::Channel};
use url::Url;

use crate::front::too_late;

/// How much may be on its way, of one call and of all calls of a connection: enough for a fast network's delay.
const WINDOW: (u32, u32) = (2 << 20, 8 << 20);

/// How long a connection to the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a silent connection is asked whether it lives: what stands between closes it otherwise.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a server cannot be connected to, whether it is there or not.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{0} is no address of a server: http://HOST:PORT or https://HOST:PORT")]
    Address(Url),
    #[error("certificates for {0} cannot be used: {1}")]
    Tls(Url, tonic::transport::Error),
    #[error("the token has characters that no header can carry")]
    Token,
}

/// What the server is to know of us.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Certificates, PEM, of those who sign the server's; those that the machine trusts if absent.
    pub ca: Option<Vec<u8>>,
    /// Our certificate chain and its key, PEM, for a server that wants one.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// A bearer token or an API key as it stands in a header.
pub fn authorization(token: &str) -> Result<HeaderValue, ConnectError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| ConnectError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends calls on to one server.
#[derive(Clone)]
pub struct Connector {
    server: Arc<Url>,
    channel: Channel,
    authorization: watch::Receiver<Option<HeaderValue>>,
}

impl Connector {
    /// Connects with the first call, and again whenever the connection is lost. `authorization` may change. Must be
    /// called in a tokio runtime.
    ///
    /// # Errors
    /// The address or a certificate cannot be used.
    pub fn new(
        server: Url,
        credentials: &Credentials,
        authorization: watch::Receiver<Option<HeaderValue>>,
    ) -> Result<Self, ConnectError> {
        let endpoint = Channel::from_shared(server.to_string())
            .map_err(|_| ConnectError::Address(server.clone()))?
            .connect_timeout(PATIENCE)
            .initial_stream_window_size(WINDOW.0)
            .initial_connection_window_size(WINDOW.1)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let endpoint = match server.scheme() {
            "http" => endpoint,
            "https" => {
                let tls = crate::tls::client_config(credentials);
                endpoint
                    .tls_config(tls)
                    .map_err(|e| ConnectError::Tls(server.clone(), e))?
            }
            _ => return Err(ConnectError::Address(server)),
        };
        Ok(Self {
            channel: endpoint.connect_lazy(),
            server: Arc::new(server),
            authorization,
        })
    }

    /// Whether the server says that this service is served; why not otherwise.
    pub async fn check(&self, service: &str) -> Result<(), Status> {
        use tonic_health::pb::{
            HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
        };
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut client = HealthClient::new(self.channel.clone());
        let answer = tokio::time::timeout(PATIENCE, client.check(request))
            .await
            .map_err(|_| Status::deadline_exceeded("no answer in time"))??;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(Status::unavailable(format!("it is {}", other.as_str_name()))),
        }
    }

    /// Accepts connections and sends their calls on. Ends only by being dropped, and its connections with it.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW.0)
            .initial_connection_window_size(WINDOW.1)
            .max_concurrent_streams(1024);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = accepted else {
                // The other side is gone already, or files have run out: both pass.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Fails only on a connection that is gone, which the next line sees as well.
            let _ = stream.set_nodelay(true);
            let (builder, connector) = (builder.clone(), self.clone());
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let connector = connector.clone();
                    async move { Ok::<_, Infallible>(connector.pass(request).await) }
                });
                // A client that breaks off is no news.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn pass(mut self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let authorization = self.authorization.borrow().clone();
        if let Some(value) = authorization {
            // A client that brings its own is believed to know.
            parts.headers.entry(AUTHORIZATION).or_insert(value);
        }
        let request = Request::from_parts(parts, Body::new(body));
        let answer = async {
            std::future::poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut self.channel, cx)).await?;
            GrpcService::call(&mut self.channel, request).await
        };
        answer.await.unwrap_or_else(|error| {
            // The channel keeps the caller's deadline as well, and may be the first to see that it has passed.
            if std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<TimeoutExpired>) {
                return Status::from(too_late()).into_http();
            }
            tracing::warn!(server = %self.server, error = %Chain(&error), "a call was not sent on");
            let error = Error::new(
                ErrorCode::EngineDown,
                format!("isa connect: {} does not answer; try again", self.server),
            );
            Status::from(error).into_http()
        })
    }
}

/// An error with what caused it.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The address of a service at `place`: `HOST`, `HOST:PORT` or a URL, in which `{service}` stands for the service's name.
/// Without a port, the service's own.
pub fn server_address(place: &str, service: &str, port: u16) -> Result<Url, url::ParseError> {
    let place = place.replace("{service}", service);
    let full = if place.contains("://") {
        place
    } else if place.parse::<SocketAddr>().is_err() && place.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("http://[{place}]")
    } else {
        format!("http://{place}")
    };
    let mut url: Url = full.parse()?;
    // The default port of the scheme cannot be told from none; it is none of ours.
    if url.port().is_none() {
        // Fails only for URLs without a host, which `parse` refuses for http.
        let _ = url.set_port(Some(port));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::server_address;

    #[test]
    fn addresses_are_filled_in() {
        let at = |place| server_address(place, "redis", 50055).unwrap().to_string();
        assert_eq!(at("isa.example"), "http://isa.example:50055/");
        assert_eq!(at("isa.example:1"), "http://isa.example:1/");
        assert_eq!(at("{service}-grpc"), "http://redis-grpc:50055/");
        assert_eq!(at("https://isa.example:8001"), "https://isa.example:8001/");
        assert_eq!(at("::1"), "http://[::1]:50055/");
        assert!(server_address("a b", "redis", 1).is_err());
    }
}
