//! Keys that an identity provider publishes, read now and then.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use isa_proto::{Error, ErrorCode};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::token::VerifyingKey;

/// Least time between two readings that unknown keys ask for: whoever makes up keys does not make us hammer it.
const PAUSE: Duration = Duration::from_secs(10);

/// Longest answer.
const MAX_BYTES: usize = 1 << 20;

/// A JWKS, of which not every key need be one that we understand.
#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

type Keys = HashMap<Option<String>, VerifyingKey>;

pub(super) struct Jwks {
    url: Url,
    client: reqwest::Client,
    /// Those that were read last; kept while the provider cannot be reached. None at first.
    keys: ArcSwapOption<Keys>,
    last: Mutex<Option<Instant>>,
}

impl Jwks {
    /// Reads the keys, and again every `refresh`, for as long as somebody holds this.
    pub(super) fn start(url: Url, refresh: Duration) -> Arc<Self> {
        let jwks = Arc::new(Self {
            url,
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(5))
                .build()
                .unwrap_or_default(),
            keys: ArcSwapOption::empty(),
            last: Mutex::new(None),
        });
        let weak = Arc::downgrade(&jwks);
        tokio::spawn(async move {
            while let Some(jwks) = Weak::upgrade(&weak) {
                jwks.read(Duration::ZERO).await;
                let pause = if jwks.keys.load().is_some() {
                    refresh
                } else {
                    refresh.min(PAUSE)
                };
                drop(jwks);
                tokio::time::sleep(pause).await;
            }
        });
        jwks
    }

    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Option<VerifyingKey>, Error> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        self.read(PAUSE).await;
        if self.keys.load().is_none() {
            return Err(Error::new(
                ErrorCode::Starting,
                "the identity provider's keys could not be read yet, so no token can be checked; try again",
            ));
        }
        Ok(self.known(kid))
    }

    fn known(&self, kid: Option<&str>) -> Option<VerifyingKey> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        match kid {
            Some(kid) => keys.get(&Some(kid.to_owned())).cloned(),
            None if keys.len() == 1 => keys.values().next().cloned(),
            None => None,
        }
    }

    /// Unless they were read less than `pause` ago. Calls that come meanwhile wait for the one reading.
    async fn read(&self, pause: Duration) {
        let mut last = self.last.lock().await;
        if last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        match self.fetch().await {
            Ok(keys) => self.keys.store(Some(Arc::new(keys))),
            Err(error) => {
                tracing::warn!(url = %self.url, error, "the identity provider's keys cannot be read")
            }
        }
        *last = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let sent = self.client.get(self.url.clone()).send().await;
        let mut answer = sent
            .and_then(reqwest::Response::error_for_status)
            .map_err(|e| e.to_string())?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| e.to_string())? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer has more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        let set: Set = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        // Keys of other kinds are none of our business.
        let keys: Keys = set
            .keys
            .into_iter()
            .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
            .filter_map(|jwk| Some((jwk.common.key_id.clone(), verifying_key(&jwk)?)))
            .collect();
        if keys.is_empty() {
            return Err("there is no RSA or Ed25519 key in it".to_owned());
        }
        Ok(keys)
    }
}

fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    // The library takes any length, and would fall over a short one.
    if algorithm == Algorithm::EdDSA && key.as_bytes().len() != 32 {
        return None;
    }
    Some(VerifyingKey { key, algorithm })
}
