use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::EngineKind;

/// Text that must not be printed: `Debug` hides it, serialization (the state folder, mode 0600) keeps it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where an engine answers and with which credentials: all that a client needs.
///
/// The main `url` per engine, always without credentials: consul `http://host:8500`, redis `redis://host:6379`,
/// minio `http://host:9000`, nats `nats://host:4222`, mosquitto `mqtt://host:1883`,
/// postgres `postgres://host:5432/database`, qdrant `http://host:6333`, neo4j `bolt://host:7687`,
/// loki `http://host:3100`, grafana `http://host:3000`, duckdb `file:///folder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub url: String,
    /// User name, or the access key of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, secret key of S3, API key of Qdrant, ACL token of Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Further addresses by port name: minio `console`, nats `monitor`, mosquitto `websockets`, qdrant `grpc`,
    /// neo4j `http`, consul `dns`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, String>,
}

impl Endpoint {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: None,
            password: None,
            urls: BTreeMap::new(),
        }
    }

    /// The same endpoint with credentials.
    pub fn with_credentials(mut self, username: impl Into<String>, password: Secret) -> Self {
        self.username = Some(username.into());
        self.password = Some(password);
        self
    }

    /// The same endpoint with a further address.
    pub fn with_url(mut self, name: &str, url: impl Into<String>) -> Self {
        self.urls.insert(name.to_owned(), url.into());
        self
    }
}

/// The endpoints of an installation, by engine. This is the format of `.isa/endpoints.json`, and of
/// `isa verify --endpoints FILE`.
pub type Endpoints = BTreeMap<EngineKind, Endpoint>;
