//! A folder of keys: `<kid>.pem`, private where tokens are issued, public or private where they are checked.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::{
    SigningKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding,
    },
};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{AuthError, token::VerifyingKey};

/// Keys by id. Keys that we make have ids that sort by age.
#[derive(Default)]
pub struct KeyRing {
    keys: BTreeMap<String, VerifyingKey>,
}

impl KeyRing {
    /// Reads every `*.pem` of a folder.
    pub fn read(folder: &Path) -> Result<Self, AuthError> {
        let mut keys = BTreeMap::new();
        for (kid, path) in files(folder)? {
            let pem = fs::read_to_string(&path).map_err(|e| AuthError::file(&path, e))?;
            keys.insert(
                kid,
                verifying_key(&pem).map_err(|why| AuthError::file(&path, why))?,
            );
        }
        if keys.is_empty() {
            return Err(AuthError::file(
                folder,
                "has no *.pem; make a key with `isa keys rotate`",
            ));
        }
        Ok(Self { keys })
    }

    /// The ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(super) fn find(&self, kid: Option<&str>) -> Option<VerifyingKey> {
        match kid {
            Some(kid) => self.keys.get(kid).cloned(),
            // Without an id there is no doubt only if there is one key.
            None if self.keys.len() == 1 => self.keys.values().next().cloned(),
            None => None,
        }
    }

    /// The id and text of the newest private Ed25519 key.
    pub(super) fn newest_private(folder: &Path) -> Result<(String, String), AuthError> {
        for (kid, path) in files(folder)?.into_iter().rev() {
            let pem = fs::read_to_string(&path).map_err(|e| AuthError::file(&path, e))?;
            if SigningKey::from_pkcs8_pem(&pem).is_ok() {
                return Ok((kid, pem));
            }
        }
        Err(AuthError::file(
            folder,
            "has no private Ed25519 key; make one with `isa keys rotate`",
        ))
    }
}

/// Makes a new key, which signs from now on, and removes all but the newest `keep` others: tokens signed with those
/// that stay are still good. Returns the new key's id.
pub fn rotate_keys(folder: &Path, keep: usize) -> Result<String, AuthError> {
    fs::create_dir_all(folder).map_err(|e| AuthError::file(folder, e))?;
    let old = files(folder)?;
    let kid = next_id(old.last().map(|(kid, _)| kid.as_str()));
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|e| AuthError::file(folder, e))?;
    let path = folder.join(format!("{kid}.pem"));
    // Whole or not at all: servers read the folder at any time.
    let partial = folder.join(format!(".{kid}.tmp"));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, &path));
    written.map_err(|e| AuthError::file(&path, e))?;
    for (_, path) in old.iter().rev().skip(keep) {
        fs::remove_file(path).map_err(|e| AuthError::file(path, e))?;
    }
    Ok(kid)
}

/// An id that sorts after the newest one, also within a millisecond and when the clock was set back.
fn next_id(newest: Option<&str>) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let newest = newest.and_then(|id| id.split_once('-')?.0.parse::<u128>().ok());
    let age = newest.map_or(now, |newest| now.max(newest + 1));
    format!("{age:014}-{:08x}", rand::random::<u32>())
}

impl KeyRing {
    /// The public halves of the keys in a folder, in PEM by id: all that servers need that issue nothing.
    pub fn public_pems(folder: &Path) -> Result<BTreeMap<String, String>, AuthError> {
        let mut pems = BTreeMap::new();
        for (kid, path) in files(folder)? {
            let pem = fs::read_to_string(&path).map_err(|e| AuthError::file(&path, e))?;
            let public = match SigningKey::from_pkcs8_pem(&pem) {
                Ok(key) => key
                    .verifying_key()
                    .to_public_key_pem(LineEnding::LF)
                    .map_err(|e| AuthError::file(&path, e))?,
                Err(_) => pem,
            };
            pems.insert(kid, public);
        }
        Ok(pems)
    }
}

/// Files of keys by id, oldest first.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, AuthError> {
    let entries = fs::read_dir(folder).map_err(|e| match e.kind() {
        ErrorKind::NotFound => AuthError::file(folder, "does not exist; make a key with `isa keys rotate`"),
        _ => AuthError::file(folder, e),
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| AuthError::file(folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "pem")
            && let Some(kid) = path.file_stem().and_then(|stem| stem.to_str())
        {
            files.push((kid.to_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

fn verifying_key(pem: &str) -> Result<VerifyingKey, String> {
    let ed = SigningKey::from_pkcs8_pem(pem)
        .map(|key| key.verifying_key())
        .or_else(|_| ed25519_dalek::VerifyingKey::from_public_key_pem(pem));
    if let Ok(key) = ed {
        return Ok(VerifyingKey {
            key: DecodingKey::from_ed_der(key.as_bytes()),
            algorithm: Algorithm::EdDSA,
        });
    }
    match DecodingKey::from_rsa_pem(pem.as_bytes()) {
        Ok(key) => Ok(VerifyingKey {
            key,
            algorithm: Algorithm::RS256,
        }),
        Err(e) => Err(format!(
            "is neither an Ed25519 key nor a public RSA key in PEM ({e})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::next_id;

    #[test]
    fn ids_sort_by_age_within_a_millisecond_and_after_a_clock_set_back() {
        let mut ids = vec!["09999999999998-00000000".to_owned()];
        for _ in 0..3 {
            ids.push(next_id(ids.last().map(String::as_str)));
        }
        ids.push(next_id(Some("09999999999998-00000000")));
        assert!(ids[..4].is_sorted() && ids[0] < ids[4], "{ids:?}");
        assert!(next_id(Some("of-somebody-else")) < ids[0]);
    }
}
