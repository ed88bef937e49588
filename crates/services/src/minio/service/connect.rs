//! Clients of the engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, StalledStreamProtectionConfig,
        endpoint::{Endpoint as Address, EndpointFuture, Params, ResolveEndpoint},
        retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use isa_config::Endpoint;
use url::Url;

use super::error::StoreError;

/// Connections that are kept while nobody uses them.
const IDLE_CONNECTIONS: usize = 64;

/// How long they are kept: shorter than engines do, so that none is closed under a request.
const IDLE_FOR: Duration = Duration::from_secs(20);

const CONNECT: Duration = Duration::from_secs(2);

/// From the first byte of a request to the first of its answer.
const REPLY: Duration = Duration::from_secs(30);

/// In all. A third time would only keep the caller waiting: it is told when to come back.
const ATTEMPTS: u32 = 2;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// A bucket that nobody has: the answer shows that the engine looked, and costs the same however many there are.
const PROBED: &str = "isa-cloud-probe-00000000-no-such-bucket";

pub(super) struct Clients {
    pub(super) client: Client,
    pub(super) once: Client,
    pub(super) signer: Client,
}

impl Clients {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let url = address(&endpoint.url)?;
        let public = endpoint.urls.get("public").unwrap_or(&endpoint.url);
        let public = address(public).map_err(|why| format!("urls.public: {why}"))?;
        let config = config(endpoint, &url);
        let patience = TimeoutConfig::builder().connect_timeout(CONNECT);
        let once = config
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(patience.clone().build())
            .build();
        let signer = config.to_builder().endpoint_resolver(Fixed::at(&public)).build();
        let client = config
            .to_builder()
            .timeout_config(patience.read_timeout(REPLY).build())
            .build();
        Ok(Self {
            client: Client::from_conf(client),
            once: Client::from_conf(once),
            signer: Client::from_conf(signer),
        })
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| why.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must be http://HOST:PORT or https://HOST:PORT".to_owned());
    }
    Ok(url)
}

fn config(endpoint: &Endpoint, url: &Url) -> Config {
    let key = endpoint.username.as_deref().unwrap_or_default();
    let secret = endpoint.password.as_ref().map_or("", |secret| secret.expose());
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http(url))
        .endpoint_resolver(Fixed::at(url))
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "endpoint"))
        // Not every S3 knows the checksums that AWS added in 2024.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // A caller may read as slowly as it likes; an engine that pauses is found out by `PAUSE`.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_BACKOFF),
        )
        .build()
}

/// One address, with the bucket as the first segment of the path. The rules that find AWS's own addresses cost a
/// noticeable part of a short call, and could find no other.
#[derive(Debug)]
struct Fixed(String);

impl Fixed {
    fn at(url: &Url) -> Self {
        Self(url.as_str().trim_end_matches('/').to_owned())
    }
}

impl ResolveEndpoint for Fixed {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        // Names of buckets have no character that a path cannot.
        let url = match params.bucket() {
            Some(bucket) => format!("{}/{bucket}", self.0),
            None => self.0.clone(),
        };
        EndpointFuture::ready(Ok(Address::builder().url(url).build()))
    }
}

fn http(url: &Url) -> SharedHttpClient {
    let builder = Builder::new()
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_CONNECTIONS);
    match url.scheme() {
        "https" => builder
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https(),
        _ => builder.build_http(),
    }
}

/// Which engine it is, as it says itself. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Engine(Arc<AtomicU8>);

/// By the number that [`Engine`] holds.
const NAMES: [&str; 3] = ["s3", "minio", "seaweedfs"];

impl Engine {
    pub(super) fn name(&self) -> &'static str {
        NAMES.get(usize::from(self.0.load(Relaxed))).unwrap_or(&NAMES[0])
    }

    pub(super) fn makes_buckets(&self) -> bool {
        self.name() == NAMES[2]
    }

    fn says(&self, server: &str) {
        let server = server.to_ascii_lowercase();
        let number = if server.contains("minio") {
            1
        } else if server.contains("seaweed") {
            2
        } else {
            0
        };
        self.0.store(number, Relaxed);
    }
}

/// Asks the engine for something real. Clones ask the same one.
#[derive(Clone)]
pub(crate) struct Probe {
    client: Client,
    engine: Engine,
}

impl Probe {
    pub(super) fn new(client: Client, engine: Engine) -> Self {
        Self { client, engine }
    }

    pub(crate) async fn run(&self) -> Result<(), StoreError> {
        let Err(error) = self.client.head_bucket().bucket(PROBED).send().await else {
            return Ok(());
        };
        let answer = error.raw_response();
        if let Some(server) = answer.and_then(|answer| answer.headers().get("server")) {
            self.engine.says(server);
        }
        match answer.map(|answer| answer.status().as_u16()) {
            Some(404) => Ok(()),
            Some(403) => Err(StoreError::down("it refuses our credentials")),
            _ => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_http() {
        assert!(address("http://127.0.0.1:9000").is_ok());
        for wrong in ["", "127.0.0.1:9000", "s3://bucket", "file:///data"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn engines_are_told_apart() {
        let engine = Engine::default();
        assert_eq!(engine.name(), "s3");
        for (says, name) in [
            ("MinIO", "minio"),
            ("SeaweedFS 30GB 4.48", "seaweedfs"),
            ("AmazonS3", "s3"),
        ] {
            engine.says(says);
            assert_eq!(engine.name(), name);
        }
    }
}
