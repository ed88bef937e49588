//! Bearer tokens: JWT, signed with Ed25519 or RSA.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use isa_proto::{Error, ErrorCode};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::{AuthError, KeyRing};
use crate::Caller;
use isa_config::AuthConfig;

/// What a token says. Other claims are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user or program.
    #[serde(default)]
    pub sub: String,
    /// The organization; without one, the subject is the tenant.
    #[serde(
        default,
        alias = "organization_id",
        alias = "org_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub org: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Scopes, separated by spaces (RFC 8693).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// When it ends, in seconds since 1970.
    #[serde(default)]
    pub exp: u64,
}

/// One, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Signs a token with the newest private key of the folder. `exp` of the claims is set from `lifetime`.
pub fn issue_token(keys_dir: &Path, mut claims: Claims, lifetime: Duration) -> Result<String, AuthError> {
    let now = seconds(SystemTime::now());
    claims.iat = Some(now);
    claims.exp = now + lifetime.as_secs();
    let (kid, pem) = KeyRing::newest_private(keys_dir)?;
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|e| AuthError::file(keys_dir, e))?;
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|e| AuthError::file(keys_dir, e))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A key with the one algorithm that it is good for: a token does not choose how it is checked.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    pub(super) key: DecodingKey,
    pub(super) algorithm: Algorithm,
}

pub(super) fn header(token: &str) -> Result<Header, Error> {
    jsonwebtoken::decode_header(token).map_err(|_| refused("is not a JSON Web Token or an API key"))
}

pub(super) fn refused(why: &str) -> Error {
    Error::new(
        ErrorCode::Unauthenticated,
        format!("the token {why}; get a new one"),
    )
}

/// What every token must fulfil.
pub(super) struct Validation(jsonwebtoken::Validation);

impl Validation {
    pub(super) fn new(config: &AuthConfig) -> Self {
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.leeway = config.leeway_seconds;
        validation.validate_nbf = true;
        validation.validate_aud = config.audience.is_some();
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &config.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Self(validation)
    }

    /// Who the token is for, and until when.
    pub(super) fn check(
        &self,
        token: &str,
        header: &Header,
        key: &VerifyingKey,
    ) -> Result<(Caller, Option<SystemTime>), Error> {
        use jsonwebtoken::errors::ErrorKind;
        if header.alg != key.algorithm {
            return Err(refused("is signed by another algorithm than its key's"));
        }
        let mut validation = self.0.clone();
        validation.algorithms = vec![key.algorithm];
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation).map_err(|e| {
            match e.kind() {
                ErrorKind::ExpiredSignature => refused("has expired"),
                ErrorKind::ImmatureSignature => refused("is not good yet"),
                ErrorKind::InvalidIssuer => refused("is of another issuer"),
                ErrorKind::InvalidAudience => refused("is for another audience"),
                ErrorKind::InvalidSignature => refused("has a wrong signature"),
                ErrorKind::MissingRequiredClaim(claim) => refused(&format!("has no claim {claim:?}")),
                _ => refused("cannot be read"),
            }
            .caused_by(e)
        })?;
        let claims = claims.claims;
        if claims.sub.is_empty() {
            return Err(refused("has an empty subject"));
        }
        let mut caller = Caller::new(claims.sub, claims.org.as_deref());
        caller.roles = claims.roles;
        caller.scopes = claims.scope.split_whitespace().map(str::to_owned).collect();
        Ok((caller, UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))))
    }
}
