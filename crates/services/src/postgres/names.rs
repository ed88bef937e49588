//! How a tenant is called in PostgreSQL, and how its role proves who it is.

use hex::encode;
use sha2::{Digest, Sha256};

/// What the names of tenants' roles and schemas begin with.
const PREFIX: &str = "t_";

/// Digits of a tenant's slug.
const SLUG: usize = 20;

/// Rounds of the key derivation. It slows down guessing, and what is derived here has 256 bits that nobody guesses:
/// more rounds would only make each new connection slower.
const ROUNDS: u32 = 64;

/// The tenant's role, and its schema. Lower case letters and digits: it needs no quotes anywhere.
pub(super) fn role(slug: &str) -> String {
    format!("{PREFIX}{slug}")
}

/// The password of a tenant's role, which nobody has to keep: every replica derives the same.
pub(super) fn password(secret: &[u8], role: &str) -> String {
    encode(hmac(
        secret,
        &[b"isa postgres role ".as_slice(), role.as_bytes()].concat(),
    ))
}

/// What PostgreSQL stores of a password (RFC 5803), so that the password itself is in no statement and in no log.
pub(super) fn verifier(password: &str, salt: [u8; 16]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = salted(password.as_bytes(), &salt, ROUNDS);
    let stored = Sha256::digest(hmac(&key, b"Client Key"));
    let server = hmac(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${ROUNDS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )
}

/// PostgreSQL's words without what is nobody's business: the tenant's own schema is `public` to it, and that of another
/// has no name.
pub(super) fn scrub(text: &str, own: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let end = at + PREFIX.len() + SLUG;
        let digits = rest.as_bytes().get(at + PREFIX.len()..end);
        let is_role = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if is_role {
            clean.push_str(&rest[..at]);
            clean.push_str(if rest[at..end] == *own {
                "public"
            } else {
                "another"
            });
            rest = &rest[end..];
        } else {
            clean.push_str(&rest[..at + PREFIX.len()]);
            rest = &rest[at + PREFIX.len()..];
        }
    }
    clean.push_str(rest);
    clean
}

/// RFC 2104 over SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// PBKDF2 (RFC 8018) with HMAC-SHA-256, for a key of one block.
fn salted(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut block = hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut key = block;
    for _ in 1..rounds {
        block = hmac(password, &block);
        for (sum, byte) in key.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primitives_are_those_of_the_standards() {
        // RFC 4231, case 2, and RFC 7914, section 11.
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert!(encode(mac).starts_with("5bdcc146bf60754e6a042426089575c7"));
        let key = salted(b"passwd", b"salt", 1);
        assert!(encode(key).starts_with("55ac046e56e3089fec1691c22544b605"));
    }

    #[test]
    fn roles_of_others_are_not_named() {
        let own = role("0123456789abcdef0123");
        let text = "schema \"t_0123456789abcdef0123\" and t_fffffffffffffffffff0.x, not t_mine or t_é";
        assert_eq!(
            scrub(text, &own),
            "schema \"public\" and another.x, not t_mine or t_é"
        );
        assert_eq!(scrub("t_", &own), "t_");
    }
}
