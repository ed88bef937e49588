use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::{Json, Router, routing::get};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

fn config(keys: &std::path::Path) -> AuthConfig {
    AuthConfig {
        keys_dir: Some(keys.to_owned()),
        ..AuthConfig::default()
    }
}

fn claims(subject: &str) -> Claims {
    serde_json::from_value(json!({ "sub": subject, "org": "acme", "scope": "a b", "exp": 0 })).unwrap()
}

fn sign(keys: &std::path::Path, claims: serde_json::Value) -> String {
    let (kid, pem) = KeyRing::newest_private(keys).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid);
    jsonwebtoken::encode(
        &header,
        &claims,
        &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
    )
    .unwrap()
}

/// What is wrong with a token.
type Change = fn(&mut serde_json::Value);

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test]
async fn tokens_are_believed_within_their_bounds() {
    let folder = tempfile::tempdir().unwrap();
    rotate_keys(folder.path(), 0).unwrap();
    let mut config = config(folder.path());
    config.issuer = Some("isa".into());
    config.audience = Some("services".into());
    let auth = Auth::new(&config).unwrap();
    let claims = |change: Change| {
        let mut claims = json!({
            "sub": "alice", "org": "acme", "scope": "a b", "roles": ["admin"],
            "iss": "isa", "aud": ["services", "others"], "exp": now() + 60,
        });
        change(&mut claims);
        sign(folder.path(), claims)
    };
    let caller = auth.verify(&claims(|_| {})).await.unwrap();
    assert_eq!(
        (caller.subject.as_str(), caller.tenant.name()),
        ("alice", "org:acme")
    );
    assert!(caller.has_scope("a") && caller.has_scope("b") && caller.roles.contains("admin"));
    let refused: [(Change, &str); 7] = [
        (|it| it["exp"] = (now() - 60).into(), "expired"),
        (|it| it["nbf"] = (now() + 60).into(), "not good yet"),
        (|it| it["iss"] = "other".into(), "issuer"),
        (|it| it["aud"] = "other".into(), "audience"),
        (|it| drop(it.as_object_mut().unwrap().remove("aud")), "aud"),
        (|it| drop(it.as_object_mut().unwrap().remove("exp")), "exp"),
        (|it| it["sub"] = "".into(), "empty subject"),
    ];
    for (change, why) in refused {
        let error = auth.verify(&claims(change)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unauthenticated);
        assert!(error.message().contains(why), "{why}: {error}");
    }
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let kid = rotate_keys(folder.path(), 0).unwrap();
    let auth = Auth::new(&config(folder.path())).unwrap();
    let public = KeyRing::public_pems(folder.path()).unwrap().remove(&kid).unwrap();
    // The public key as the secret of a symmetric signature; and no signature.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.clone());
    let claims = json!({ "sub": "alice", "exp": now() + 60 });
    let forged =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
    assert_eq!(
        auth.verify(&forged).await.unwrap_err().code(),
        ErrorCode::Unauthenticated
    );
    let part = |value: serde_json::Value| {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let unsigned = format!("{}.{}.", part(json!({ "alg": "none", "kid": kid })), part(claims));
    assert_eq!(
        auth.verify(&unsigned).await.unwrap_err().code(),
        ErrorCode::Unauthenticated
    );
}

#[tokio::test]
async fn servers_that_issue_nothing_need_public_keys_only() {
    let (private, public) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    rotate_keys(private.path(), 0).unwrap();
    for (kid, pem) in KeyRing::public_pems(private.path()).unwrap() {
        assert!(pem.contains("PUBLIC"));
        std::fs::write(public.path().join(format!("{kid}.pem")), pem).unwrap();
    }
    let token = issue_token(private.path(), claims("alice"), Duration::from_secs(60)).unwrap();
    let auth = Auth::new(&config(public.path())).unwrap();
    assert_eq!(auth.verify(&token).await.unwrap().subject, "alice");
    assert!(issue_token(public.path(), claims("alice"), Duration::from_secs(60)).is_err());
}

#[tokio::test]
async fn published_keys_are_read_again_when_a_new_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let kid = rotate_keys(folder.path(), 0).unwrap();
    let jwk = |kid: &str| {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        use ed25519_dalek::pkcs8::DecodePrivateKey;
        let (_, pem) = KeyRing::newest_private(folder.path()).unwrap();
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem).unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" })
    };
    let published = Arc::new(parking_lot::Mutex::new(vec![
        jwk(&kid),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "short" }),
    ]));
    let reads = Arc::new(AtomicUsize::new(0));
    let (shown, counted) = (Arc::clone(&published), Arc::clone(&reads));
    let routes = Router::new().route(
        "/jwks",
        get(move || {
            counted.fetch_add(1, SeqCst);
            let keys = shown.lock().clone();
            async move { Json(json!({ "keys": keys })) }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let config = AuthConfig {
        jwks_url: Some(url.parse().unwrap()),
        ..AuthConfig::default()
    };
    let auth = Auth::new(&config).unwrap();
    let token = issue_token(folder.path(), claims("alice"), Duration::from_secs(60)).unwrap();
    assert_eq!(auth.verify(&token).await.unwrap().subject, "alice");
    // Unknown keys make nobody read it again at once.
    let other = tempfile::tempdir().unwrap();
    rotate_keys(other.path(), 0).unwrap();
    for _ in 0..5 {
        let stranger = issue_token(other.path(), claims("eve"), Duration::from_secs(60)).unwrap();
        assert_eq!(
            auth.verify(&stranger).await.unwrap_err().code(),
            ErrorCode::Unauthenticated
        );
    }
    assert!(reads.load(SeqCst) <= 2, "{}", reads.load(SeqCst));
}
