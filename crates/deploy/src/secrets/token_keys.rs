//! The keys of tokens: two Secrets in one file of manifests, because keys have names of their own and many lines, which
//! files of passwords cannot have. Servers read the public keys; the private one is for whoever issues tokens.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey,
        spki::{self, der::pem::LineEnding},
    },
};
use serde::{Deserialize, Serialize};

use super::env_file::write_private;
use crate::Error;

/// The Secret that services read, and by which a rotation is asked for.
pub(super) const PUBLIC: &str = "isa-token-keys";
/// The Secret that no pod mounts.
const PRIVATE: &str = "isa-token-signing-key";
/// Public keys before the newest that stay, so that tokens signed with them are still good.
const KEPT: usize = 1;

/// Keys in PEM by `<key id>.pem`. Ids sort by age.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct TokenKeys {
    public: BTreeMap<String, String>,
    private: BTreeMap<String, String>,
}

/// As much of a Secret as is written here.
#[derive(Serialize, Deserialize)]
struct Manifest {
    #[serde(rename = "apiVersion")]
    version: String,
    kind: String,
    metadata: Metadata,
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    name: String,
    labels: BTreeMap<String, String>,
}

impl TokenKeys {
    /// Reads the file; none is there before the first time.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::read(path, e)),
        };
        let mut keys = Self::default();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let manifest = Manifest::deserialize(document).map_err(|source| Error::Yaml {
                what: path.display().to_string(),
                source,
            })?;
            // What is no text in base64 is no key either, which the check says.
            let plain = |coded: &String| {
                let bytes = STANDARD.decode(coded).unwrap_or_default();
                String::from_utf8(bytes).unwrap_or_default()
            };
            let data = manifest.data.iter().map(|(id, coded)| (id.clone(), plain(coded)));
            match manifest.metadata.name.as_str() {
                PUBLIC => keys.public.extend(data),
                PRIVATE => keys.private.extend(data),
                _ => {}
            }
        }
        Ok(Some(keys))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Yaml {
            what: path.display().to_string(),
            source,
        };
        let mut text = String::from(
            "# Made by `isa secrets generate`. The second Secret signs tokens: nobody else may have it.\n",
        );
        for (name, keys) in [(PUBLIC, &self.public), (PRIVATE, &self.private)] {
            let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let manifest = Manifest {
                version: "v1".into(),
                kind: "Secret".into(),
                metadata: Metadata {
                    name: name.into(),
                    labels: BTreeMap::from([
                        label("app.kubernetes.io/part-of", "isa-cloud"),
                        label("tier", "grpc-services"),
                    ]),
                },
                type_: "Opaque".into(),
                data: keys
                    .iter()
                    .map(|(id, pem)| (id.clone(), STANDARD.encode(pem)))
                    .collect(),
            };
            text += "---\n";
            text += &serde_yaml_ng::to_string(&manifest).map_err(failed)?;
        }
        write_private(path, &text)
    }

    /// Whether tokens can be signed.
    pub(super) fn is_empty(&self) -> bool {
        self.private.is_empty()
    }

    /// Makes a new pair, which signs from now on. Of the others, the newest public key stays.
    pub(super) fn rotate(&mut self) -> Result<(), spki::Error> {
        let key = SigningKey::from_bytes(&rand::random());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let newest = self.public.keys().next_back();
        let newest = newest.and_then(|id| id.split_once('-')?.0.parse::<u128>().ok());
        // As `isa keys rotate` names them: after the newest, also within a millisecond and when the clock was set back.
        let age = newest.map_or(now, |newest| now.max(newest + 1));
        let id = format!("{age:014}-{:08x}.pem", rand::random::<u32>());
        let private = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| spki::Error::KeyMalformed)?;
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF)?;
        while self.public.len() > KEPT {
            self.public.pop_first();
        }
        self.public.insert(id.clone(), public);
        self.private = BTreeMap::from([(id, private.to_string())]);
        Ok(())
    }

    /// What is wrong with it. Shows no key.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.private.is_empty() {
            found.push(format!("{PRIVATE} has no key, so no token can be signed"));
        }
        for (id, pem) in &self.public {
            if pem.contains("PRIVATE KEY") {
                found.push(format!(
                    "{PUBLIC} has a private key, {id}, and every service reads it"
                ));
            } else if !pem.contains("BEGIN PUBLIC KEY") {
                found.push(format!("{id} in {PUBLIC} is not a public key in PEM"));
            }
        }
        for (id, pem) in &self.private {
            match SigningKey::from_pkcs8_pem(pem) {
                Err(_) => found.push(format!("{id} in {PRIVATE} is not a private Ed25519 key in PEM")),
                Ok(key) => {
                    let public = self
                        .public
                        .get(id)
                        .map(|pem| VerifyingKey::from_public_key_pem(pem));
                    if !matches!(public, Some(Ok(public)) if public == key.verifying_key()) {
                        found.push(format!(
                            "{PUBLIC} does not have the public key of {id}, so its tokens are refused"
                        ));
                    }
                }
            }
            if !id.ends_with(".pem") {
                found.push(format!("{id} in {PRIVATE} is not named <key id>.pem"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_signs_and_the_one_before_it_is_still_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token-keys.yaml");
        assert!(TokenKeys::read(&path).unwrap().is_none());
        let mut keys = TokenKeys::default();
        assert_eq!(keys.problems().len(), 1);
        keys.rotate().unwrap();
        let first = keys.clone();
        assert_eq!(
            (keys.public.len(), keys.private.len(), keys.problems()),
            (1, 1, vec![])
        );
        keys.rotate().unwrap();
        keys.rotate().unwrap();
        assert_eq!(
            (keys.public.len(), keys.private.len(), keys.problems()),
            (2, 1, vec![])
        );
        assert!(first.private.keys().all(|id| !keys.public.contains_key(id)));
        assert_eq!(keys.public.keys().next_back(), keys.private.keys().next());

        keys.write(&path).unwrap();
        assert_eq!(TokenKeys::read(&path).unwrap(), Some(keys));
    }

    #[test]
    fn a_private_key_where_services_read_is_named_and_not_shown() {
        let mut keys = TokenKeys::default();
        keys.rotate().unwrap();
        keys.public = keys.private.clone();
        let found = keys.problems();
        assert!(found[0].contains("every service reads it"), "{found:?}");
        assert!(found[1].contains("refused"), "{found:?}");
        assert!(found.iter().all(|what| !what.contains("BEGIN")), "{found:?}");
    }
}
