//! The credentials of the engines as Kustomize reads them: one file for each Secret, in a folder that git ignores; and one
//! with the keys of tokens.

mod check;
mod env_file;
mod generate;
mod git;
mod token_keys;

use std::path::{Path, PathBuf};

use kube::core::DynamicObject;
use serde::Serialize;

pub use check::{Problem, check};
pub use generate::{Generated, Outcome, generate};

use self::{env_file::EnvFile, token_keys::TokenKeys};
use crate::{Error, Overlay};

/// The folder in an overlay that holds the files.
const FOLDER: &str = "secrets";
/// The file in it with the keys of tokens.
pub(crate) const TOKEN_KEYS: &str = "token-keys.yaml";
/// Characters of a generated password: 190 bits.
const PASSWORD_LENGTH: usize = 32;
/// Bytes of Consul's gossip key: AES-256.
const GOSSIP_BYTES: usize = 32;

/// A Secret that the manifests use.
pub struct Spec {
    pub name: &'static str,
    pub keys: &'static [Key],
    /// What a new value takes besides the next `isa deploy`; none where that is all.
    rotation: Option<&'static str>,
}

/// A key of a Secret and how its value comes about.
pub struct Key {
    pub name: &'static str,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Fixed(&'static str),
    Password,
    /// A file that `redis.conf` includes, with the value of the key `password`.
    RedisConf,
    /// A configuration file of Consul.
    Gossip,
}

const fn key(name: &'static str, value: Value) -> Key {
    Key { name, value }
}

const ISA: &[Key] = &[
    key("username", Value::Fixed("isa")),
    key("password", Value::Password),
];

/// Every Secret of the infrastructure layer. Loki has none: tenants are told apart by a header, and only
/// NetworkPolicies let anyone reach it.
pub const SECRETS: &[Spec] = &[
    Spec {
        name: "consul",
        keys: &[key("gossip.json", Value::Gossip)],
        rotation: Some(
            "the three servers must agree on the key at every moment: before deploying, give it to the running ones with \
             `consul keyring -install` and then `-use`",
        ),
    },
    Spec {
        name: "redis",
        keys: &[
            key("password", Value::Password),
            key("auth.conf", Value::RedisConf),
        ],
        rotation: None,
    },
    Spec {
        name: "minio",
        keys: ISA,
        rotation: None,
    },
    Spec {
        name: "nats",
        keys: ISA,
        rotation: None,
    },
    Spec {
        name: "mosquitto",
        keys: ISA,
        rotation: None,
    },
    Spec {
        name: "postgres",
        keys: ISA,
        rotation: Some(
            "PostgreSQL took its password when its data was made: before deploying, run ALTER ROLE isa PASSWORD … with the new one",
        ),
    },
    Spec {
        name: "qdrant",
        keys: &[key("api-key", Value::Password)],
        rotation: None,
    },
    Spec {
        name: "neo4j",
        keys: &[
            key("username", Value::Fixed("neo4j")),
            key("password", Value::Password),
        ],
        rotation: Some(
            "Neo4j took its password when its data was made: before deploying, run ALTER CURRENT USER SET PASSWORD … with the new one",
        ),
    },
    Spec {
        name: "grafana",
        keys: ISA,
        rotation: None,
    },
];

impl Spec {
    pub fn named(name: &str) -> Option<&'static Self> {
        SECRETS.iter().find(|spec| spec.name == name)
    }
}

/// A file of an overlay that Kustomize makes a Secret of.
struct SecretFile {
    spec: &'static Spec,
    path: PathBuf,
}

/// The files that an overlay's `secretGenerator` names.
fn files(overlay: &Overlay) -> Result<Vec<SecretFile>, Error> {
    let mut files = Vec::new();
    for generator in overlay.kustomization()?.secret_generator {
        let spec = Spec::named(&generator.name);
        let spec = spec.ok_or_else(|| Error::UnknownSecret(generator.name.clone()))?;
        for file in generator.envs {
            if file.parent().is_none_or(|folder| folder != FOLDER) {
                return Err(Error::SecretElsewhere(file));
            }
            let path = overlay.path.join(file);
            files.push(SecretFile { spec, path });
        }
    }
    Ok(files)
}

/// The file with the keys of tokens, if the overlay has one among its resources.
fn token_keys(overlay: &Overlay) -> Result<Option<PathBuf>, Error> {
    let file = Path::new(FOLDER).join(TOKEN_KEYS);
    let named = overlay.kustomization()?.resources.contains(&file);
    Ok(named.then(|| overlay.path.join(file)))
}

/// Stands in for the files where an overlay is rendered without its values.
pub(crate) fn write_placeholders(overlay: &Overlay) -> Result<(), Error> {
    let (files, token_keys) = (files(overlay)?, token_keys(overlay)?);
    if !files.is_empty() || token_keys.is_some() {
        env_file::make_folder(&overlay.path.join(FOLDER))?;
    }
    for SecretFile { spec, path } in files {
        let mut content = EnvFile::default();
        spec.keys.iter().for_each(|key| content.set(key.name, ""));
        content.write(&path)?;
    }
    token_keys.map_or(Ok(()), |path| TokenKeys::default().write(&path))
}

/// Whether a folder is one that holds values.
pub(crate) fn is_folder_of(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FOLDER)
}

/// Whether the overlay reads its Secrets from files; production has them made by External Secrets instead.
pub fn from_files(overlay: &Overlay) -> Result<bool, Error> {
    Ok(!files(overlay)?.is_empty() || token_keys(overlay)?.is_some())
}

/// A value that External Secrets fetches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remote {
    /// The Secret that it becomes a part of.
    pub secret: String,
    /// Its key there; none where the whole remote entry becomes the Secret.
    pub key: Option<String>,
    /// The store it is fetched from.
    pub store: String,
    /// What it is called there.
    pub remote: String,
    pub property: Option<String>,
}

/// What the ExternalSecret objects of rendered manifests want from outside.
pub fn remotes(objects: &[DynamicObject]) -> Vec<Remote> {
    let external = |o: &&DynamicObject| o.types.as_ref().is_some_and(|t| t.kind == "ExternalSecret");
    let mut all = Vec::new();
    for object in objects.iter().filter(external) {
        let spec = &object.data["spec"];
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut add = |key: Option<String>, at: &serde_json::Value| {
            all.push(Remote {
                secret: text(&spec["target"]["name"]).unwrap_or_else(|| name.clone()),
                key,
                store: text(&spec["secretStoreRef"]["name"]).unwrap_or_default(),
                remote: text(&at["key"]).unwrap_or_default(),
                property: text(&at["property"]),
            });
        };
        for entry in spec["data"].as_array().into_iter().flatten() {
            add(text(&entry["secretKey"]), &entry["remoteRef"]);
        }
        for entry in spec["dataFrom"].as_array().into_iter().flatten() {
            add(None, &entry["extract"]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_keys_are_read_from_external_secrets() {
        let object = serde_json::json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": { "name": "redis" },
            "spec": {
                "secretStoreRef": { "name": "isa", "kind": "ClusterSecretStore" },
                "target": { "name": "redis" },
                "data": [{ "secretKey": "password", "remoteRef": { "key": "isa/redis", "property": "password" } }],
            },
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let expected = Remote {
            secret: "redis".into(),
            key: Some("password".into()),
            store: "isa".into(),
            remote: "isa/redis".into(),
            property: Some("password".into()),
        };
        assert_eq!(remotes(&[object]), [expected]);
    }
}
