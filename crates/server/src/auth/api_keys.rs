//! API keys: long random text, of which the server keeps a hash.
//!
//! The hash is plain SHA-256: a key has 256 random bits, so that there is nothing to guess. Keys are looked up by
//! their hash, so that the time it takes says nothing of them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    time::SystemTime,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use isa_proto::{Error, ErrorCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::AuthError;
use crate::Caller;

/// What API keys begin with, so that tools that look for leaked secrets find them.
const PREFIX: &str = "isa_";

/// The file of API keys, in TOML: `[[keys]]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyFile {
    #[serde(default)]
    pub keys: Vec<ApiKey>,
}

/// An API key as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// For people: says in logs and files which one it is.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal.
    pub sha256: String,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// It is good for ever without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
}

/// A new key, to be shown once, and the hash to be kept.
pub fn new_api_key() -> (String, String) {
    let key = format!(
        "{PREFIX}{}",
        BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    );
    let hash = hex::encode(Sha256::digest(&key));
    (key, hash)
}

pub(super) fn is_api_key(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

#[derive(Default)]
pub(super) struct ApiKeys(HashMap<[u8; 32], (Caller, Option<SystemTime>)>);

impl ApiKeys {
    pub(super) fn read(path: &Path) -> Result<Self, AuthError> {
        let text = fs::read_to_string(path).map_err(|e| AuthError::file(path, e))?;
        let file: ApiKeyFile = toml::from_str(&text).map_err(|e| AuthError::file(path, e))?;
        let mut keys = HashMap::new();
        for key in file.keys {
            let mut hash = [0; 32];
            if hex::decode_to_slice(&key.sha256, &mut hash).is_err() || key.subject.is_empty() {
                let why = format!(
                    "key {:?} needs a subject, and sha256 of 64 hexadecimal digits",
                    key.name
                );
                return Err(AuthError::file(path, why));
            }
            let mut caller = Caller::new(key.subject, key.organization.as_deref());
            caller.roles = key.roles;
            caller.scopes = key.scopes;
            keys.insert(hash, (caller, key.expires.map(SystemTime::from)));
        }
        Ok(Self(keys))
    }

    pub(super) fn check(&self, key: &str) -> Result<(Caller, Option<SystemTime>), Error> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let refused = |why: &str| {
            Error::new(
                ErrorCode::Unauthenticated,
                format!("the API key {why}; get a new one"),
            )
        };
        let (caller, expires) = self.0.get(&hash).ok_or_else(|| refused("is not known here"))?;
        if expires.is_some_and(|end| end <= SystemTime::now()) {
            return Err(refused("has expired"));
        }
        Ok((caller.clone(), *expires))
    }
}
