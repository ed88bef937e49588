//! Connections to Qdrant.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use isa_config::Endpoint;
use qdrant_client::qdrant::{
    collections_client::CollectionsClient, points_client::PointsClient, qdrant_client::QdrantClient,
    snapshots_client::SnapshotsClient,
};
use reqwest::header::{HeaderMap, HeaderValue};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint as Address},
};
use url::Url;

/// Connections, used in turn: one of HTTP/2 has one window and one task that writes, which large vectors would fill.
const CONNECTIONS: usize = 4;

const CONNECT: Duration = Duration::from_secs(2);

/// A connection on which nothing comes back while calls wait is lost after `ALIVE` and `LOST`.
const ALIVE: Duration = Duration::from_secs(10);
const LOST: Duration = Duration::from_secs(5);

/// Bytes that may be on their way in one call, and on one connection: pages of vectors are a few MiB.
const CALL_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Longest answer that is taken, in bytes: as long as a message to our own caller may be.
const MAX_ANSWER: usize = 100 << 20;

/// Qdrant's port for gRPC, where the endpoint names none.
const GRPC_PORT: u16 = 6334;

/// The engine's own clients; they connect when they are used, and again after a loss.
///
/// Not `qdrant_client::Qdrant`: it copies each request, vectors and all, to be able to send it twice.
pub(super) struct Link {
    channels: Vec<Channel>,
    next: AtomicUsize,
    key: Option<MetadataValue<Ascii>>,
    /// For what Qdrant tells by REST alone.
    http: reqwest::Client,
    rest: Url,
}

impl Link {
    /// Must be called in a runtime.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let rest = address(&endpoint.url)?;
        let grpc = match endpoint.urls.get("grpc") {
            Some(url) => address(url).map_err(|why| format!("urls.grpc: {why}"))?,
            None => {
                let mut url = rest.clone();
                url.set_port(Some(GRPC_PORT))
                    .map_err(|()| "has no port".to_owned())?;
                url
            }
        };
        let mut headers = HeaderMap::new();
        let mut key = None;
        if let Some(secret) = &endpoint.password {
            let wrong = || "the API key has characters that no header takes".to_owned();
            let mut header = HeaderValue::from_str(secret.expose()).map_err(|_| wrong())?;
            header.set_sensitive(true);
            headers.insert("api-key", header);
            let mut value: MetadataValue<Ascii> = secret.expose().parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            key = Some(value);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .default_headers(headers)
            .build()
            .map_err(|why| why.to_string())?;
        let mut target = Address::from_shared(grpc.to_string())
            .map_err(|why| why.to_string())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(LOST)
            .initial_stream_window_size(CALL_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if grpc.scheme() == "https" {
            target = target
                .tls_config(ClientTlsConfig::new().with_native_roots())
                .map_err(|why| why.to_string())?;
        }
        Ok(Self {
            channels: (0..CONNECTIONS).map(|_| target.connect_lazy()).collect(),
            next: AtomicUsize::new(0),
            key,
            http,
            rest,
        })
    }

    fn channel(&self) -> Channel {
        let at = self.next.fetch_add(1, Relaxed) % self.channels.len();
        self.channels[at].clone()
    }

    pub(super) fn points(&self) -> PointsClient<Channel> {
        PointsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(super) fn collections(&self) -> CollectionsClient<Channel> {
        CollectionsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(super) fn root(&self) -> QdrantClient<Channel> {
        QdrantClient::new(self.channel())
    }

    /// A request with our key, which is given up after `bound`.
    pub(super) fn request<M>(&self, message: M, bound: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(bound);
        if let Some(key) = &self.key {
            request.metadata_mut().insert("api-key", key.clone());
        }
        request
    }

    /// A GET of Qdrant's REST API.
    pub(super) fn get(&self, path: &str, bound: Duration) -> reqwest::RequestBuilder {
        let mut url = self.rest.clone();
        url.set_path(path);
        self.http.get(url).timeout(bound)
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| why.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must be http://HOST:PORT or https://HOST:PORT".to_owned());
    }
    Ok(url)
}
