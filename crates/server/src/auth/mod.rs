//! Who calls: bearer tokens and API keys, checked once and remembered.

mod api_keys;
mod jwks;
mod keys;
mod token;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::HeaderMap;
use isa_proto::{Error, ErrorCode};
use quick_cache::sync::Cache;

use self::{api_keys::ApiKeys, jwks::Jwks};
pub use self::{
    api_keys::{ApiKey, ApiKeyFile, new_api_key},
    keys::{KeyRing, rotate_keys},
    token::{Audience, Claims, issue_token},
};
use crate::Caller;
use isa_config::{AuthConfig, AuthMode};

/// Tokens remembered at once.
const REMEMBERED: usize = 10_000;

/// A token that was checked is not checked again for so long, at most until it expires: as long as a key that was
/// taken away may still be good.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Why identities cannot be checked as configured.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("{path}: {why}")]
    File { path: PathBuf, why: String },
    #[error(
        "server.auth.mode is \"required\", and none of server.auth.keys_dir, server.auth.jwks_url and server.auth.api_keys_file is set: nobody could call"
    )]
    NoKeys,
}

impl AuthError {
    fn file(path: impl Into<PathBuf>, why: impl ToString) -> Self {
        Self::File {
            path: path.into(),
            why: why.to_string(),
        }
    }
}

/// Checks who calls.
pub(crate) struct Auth {
    checks: ArcSwap<Checks>,
    known: Cache<Box<str>, Known>,
}

/// What callers are checked against; replaced whole when the configuration is read anew.
struct Checks {
    mode: AuthMode,
    validation: token::Validation,
    keys: KeyRing,
    jwks: Option<Arc<Jwks>>,
    api_keys: ApiKeys,
}

#[derive(Clone)]
struct Known {
    caller: Arc<Caller>,
    until: SystemTime,
}

impl Auth {
    pub(crate) fn new(config: &AuthConfig) -> Result<Self, AuthError> {
        Ok(Self {
            checks: ArcSwap::from_pointee(Checks::new(config)?),
            known: Cache::new(REMEMBERED),
        })
    }

    /// Reads keys anew, and forgets who was checked by the old.
    pub(crate) fn reload(&self, config: &AuthConfig) -> Result<(), AuthError> {
        self.checks.store(Arc::new(Checks::new(config)?));
        self.known.clear();
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.checks.load().mode == AuthMode::Open
    }

    /// Who the headers say that calls; nobody if they say nothing.
    pub(crate) async fn by_headers(&self, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Error> {
        match credential(headers)? {
            Some(credential) => self.verify(credential).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whose token or API key it is.
    pub(crate) async fn verify(&self, credential: &str) -> Result<Arc<Caller>, Error> {
        if let Some(known) = self.known.get(credential)
            && known.until > SystemTime::now()
        {
            return Ok(known.caller);
        }
        let checks = self.checks.load_full();
        let (caller, expires) = checks.check(credential).await?;
        let until = SystemTime::now() + GOOD_FOR;
        let known = Known {
            caller: Arc::new(caller),
            until: expires.map_or(until, |expires| expires.min(until)),
        };
        // Not if the keys were replaced meanwhile: the token may be one of those that are no longer good.
        if Arc::ptr_eq(&checks, &self.checks.load()) {
            self.known.insert(credential.into(), known.clone());
        }
        Ok(known.caller)
    }

    /// What a call without any credential gets.
    pub(crate) fn nobody(&self) -> Error {
        Error::new(
            ErrorCode::Unauthenticated,
            "this server needs a token or an API key: send `authorization: Bearer TOKEN`; clients that cannot, call through `isa connect`",
        )
    }
}

impl Checks {
    fn new(config: &AuthConfig) -> Result<Self, AuthError> {
        let required = config.mode == AuthMode::Required;
        if required
            && config.keys_dir.is_none()
            && config.jwks_url.is_none()
            && config.api_keys_file.is_none()
        {
            return Err(AuthError::NoKeys);
        }
        Ok(Self {
            mode: config.mode,
            validation: token::Validation::new(config),
            keys: config
                .keys_dir
                .as_deref()
                .map(KeyRing::read)
                .transpose()?
                .unwrap_or_default(),
            jwks: config.jwks_url.as_ref().filter(|_| required).map(|url| {
                Jwks::start(
                    url.clone(),
                    Duration::from_secs(config.jwks_refresh_seconds.max(1)),
                )
            }),
            api_keys: config
                .api_keys_file
                .as_deref()
                .map(ApiKeys::read)
                .transpose()?
                .unwrap_or_default(),
        })
    }

    async fn check(&self, credential: &str) -> Result<(Caller, Option<SystemTime>), Error> {
        if api_keys::is_api_key(credential) {
            return self.api_keys.check(credential);
        }
        let header = token::header(credential)?;
        let key = match self.keys.find(header.kid.as_deref()) {
            Some(key) => Some(key),
            None => match &self.jwks {
                Some(jwks) => jwks.find(header.kid.as_deref()).await?,
                None => None,
            },
        };
        let key = key.ok_or_else(|| token::refused("was signed with a key that is not known here"))?;
        self.validation.check(credential, &header, &key)
    }
}

/// The credential that the headers carry.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let malformed = |name| {
        Error::new(
            ErrorCode::Unauthenticated,
            format!(
                "the header {name} is malformed: it must be `authorization: Bearer TOKEN` or `x-api-key: KEY`"
            ),
        )
    };
    if let Some(value) = headers.get(http::header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| malformed("authorization"))?;
        let (scheme, credential) = text.split_once(' ').ok_or_else(|| malformed("authorization"))?;
        if !scheme.eq_ignore_ascii_case("bearer") || credential.trim().is_empty() {
            return Err(malformed("authorization"));
        }
        return Ok(Some(credential.trim()));
    }
    match headers.get("x-api-key") {
        Some(value) => value.to_str().map(Some).map_err(|_| malformed("x-api-key")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
