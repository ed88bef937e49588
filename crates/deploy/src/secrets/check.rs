use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    FOLDER, GOSSIP_BYTES, PASSWORD_LENGTH, SecretFile, Value,
    env_file::EnvFile,
    files,
    git::{self, Git},
    token_keys::{self, TokenKeys},
};
use crate::{Error, Overlay};

/// Something about a file that is not as it must be. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    pub what: String,
    /// What to do about it.
    pub how: String,
}

/// Looks for what is missing, weak, inconsistent or visible to others in the secrets of an overlay, and for values
/// that stand in manifests.
pub fn check(overlay: &Overlay) -> Result<Vec<Problem>, Error> {
    let mut found = Found {
        overlay: overlay.name.clone(),
        problems: Vec::new(),
    };
    let (files, keys) = (files(overlay)?, super::token_keys(overlay)?);
    if !files.is_empty() || keys.is_some() {
        found.mode(&overlay.path.join(FOLDER), 0o700);
    }
    let mut passwords: BTreeMap<String, &str> = BTreeMap::new();
    for SecretFile { spec, path } in &files {
        found.git(path, spec.name)?;
        let generate = format!("`isa secrets generate {}`", overlay.name);
        let Some(content) = EnvFile::read(path)? else {
            found.add(path, "it does not exist", generate);
            continue;
        };
        found.mode(path, 0o600);
        let rotate = format!("`isa secrets generate {} --rotate {}`", overlay.name, spec.name);
        let mut seen = BTreeSet::new();
        for (name, _) in content.entries() {
            if !seen.insert(name) {
                found.add(path, format!("key {name} stands in it twice"), "remove one");
            } else if !spec.keys.iter().any(|key| key.name == name) {
                found.add(
                    path,
                    format!("key {name} is none that {} uses", spec.name),
                    "remove it",
                );
            }
        }
        for key in spec.keys {
            let Some(value) = content.get(key.name) else {
                found.add(path, format!("key {} is missing", key.name), generate.clone());
                continue;
            };
            let wrong = match key.value {
                Value::Fixed(expected) if value != expected => Some(format!("is not {expected:?}")),
                Value::Fixed(_) => None,
                Value::Password => weak(value),
                Value::RedisConf => {
                    let expected = format!("requirepass {}", content.get("password").unwrap_or_default());
                    (value != expected)
                        .then(|| "does not say `requirepass` with the value of password".to_owned())
                }
                Value::Gossip => gossip(value),
            };
            if let Some(wrong) = wrong {
                found.add(path, format!("key {} {wrong}", key.name), rotate.clone());
            } else if matches!(key.value, Value::Password)
                && let Some(other) = passwords.insert(value.to_owned(), spec.name)
            {
                found.add(
                    path,
                    format!("its password is also that of {other}"),
                    rotate.clone(),
                );
            }
        }
    }
    if let Some(path) = keys {
        found.git(&path, token_keys::PUBLIC)?;
        let generate = format!("`isa secrets generate {}`", overlay.name);
        match TokenKeys::read(&path)? {
            None => found.add(&path, "it does not exist", generate),
            Some(keys) => {
                found.mode(&path, 0o600);
                for what in keys.problems() {
                    found.add(
                        &path,
                        what,
                        format!("{generate}, with `--rotate {}`", token_keys::PUBLIC),
                    );
                }
            }
        }
    }
    if let Some(tree) = overlay.tree() {
        manifests(&tree, &mut found)?;
    }
    Ok(found.problems)
}

struct Found {
    overlay: String,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, file: &Path, what: impl Into<String>, how: impl Into<String>) {
        self.problems.push(Problem {
            file: file.to_owned(),
            what: what.into(),
            how: how.into(),
        });
    }

    fn git(&mut self, path: &Path, secret: &str) -> Result<(), Error> {
        match git::ask(path)? {
            Git::Ignores => {}
            Git::WouldAdd => self.add(path, "git would add it", "list the folder in .gitignore"),
            Git::Tracks => self.add(
                path,
                "git tracks it, so its values are known to everyone who has the repository",
                format!(
                    "`git rm --cached` it, then `isa secrets generate {} --rotate {secret}`",
                    self.overlay
                ),
            ),
        }
        Ok(())
    }

    fn mode(&mut self, path: &Path, expected: u32) {
        // Absence is reported where the file is read.
        let Ok(metadata) = fs::metadata(path) else { return };
        let mode = metadata.permissions().mode() & 0o777;
        if mode != expected {
            self.add(
                path,
                format!("its mode is {mode:04o}, so others may read it"),
                format!("`chmod {expected:o} {}`", path.display()),
            );
        }
    }
}

fn weak(password: &str) -> Option<String> {
    let distinct = password.chars().collect::<BTreeSet<_>>().len();
    if password.is_empty() {
        Some("is empty".into())
    } else if !password.chars().all(|c| c.is_ascii_alphanumeric()) {
        Some(
            "has characters other than letters and digits, which not every engine's configuration takes"
                .into(),
        )
    } else if password.len() < PASSWORD_LENGTH || distinct < PASSWORD_LENGTH / 4 {
        Some(format!("is weak: it wants {PASSWORD_LENGTH} random characters"))
    } else {
        None
    }
}

fn gossip(value: &str) -> Option<String> {
    let parsed: Json = serde_json::from_str(value).unwrap_or_default();
    let bytes = parsed["encrypt"]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok());
    (bytes.map(|b| b.len()) != Some(GOSSIP_BYTES))
        .then(|| format!("is not {{\"encrypt\": …}} with {GOSSIP_BYTES} bytes in base64"))
}

/// Values in manifests, which git keeps: Secrets with data, literals of generators, passwords in environments.
fn manifests(folder: &Path, found: &mut Found) -> Result<(), Error> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(|e| Error::read(folder, e))?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != FOLDER {
                manifests(&path, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                // What Kustomize cannot read it will say itself.
                if let Ok(document) = Json::deserialize(document) {
                    manifest(&document, &path, found);
                }
            }
        }
    }
    Ok(())
}

fn manifest(document: &Json, path: &Path, found: &mut Found) {
    let how = format!(
        "take it out; `isa secrets generate {}` makes the values",
        found.overlay
    );
    if document["kind"] == "Secret" {
        for field in ["data", "stringData"] {
            let values = document[field].as_object().into_iter().flatten();
            for (key, _) in values.filter(|(_, value)| value.as_str().is_some_and(|v| !v.is_empty())) {
                let name = document["metadata"]["name"].as_str().unwrap_or_default();
                found.add(
                    path,
                    format!("Secret {name} has a value for {key} in git"),
                    how.clone(),
                );
            }
        }
    }
    for generator in document["secretGenerator"].as_array().into_iter().flatten() {
        if generator["literals"].as_array().is_some_and(|l| !l.is_empty()) {
            let name = generator["name"].as_str().unwrap_or_default();
            found.add(
                path,
                format!("secretGenerator {name} has literals in git"),
                how.clone(),
            );
        }
    }
    environment(document, path, found, &how);
}

/// Environment variables anywhere in a document whose names say that they are secret and whose values stand there.
fn environment(value: &Json, path: &Path, found: &mut Found, how: &str) {
    match value {
        Json::Object(fields) => {
            if let (Some(name), Some(text)) = (fields.get("name"), fields.get("value"))
                && let (Some(name), Some(text)) = (name.as_str(), text.as_str())
                && secret_name(name)
                && !text.is_empty()
                // A reference to a value, or the file that holds it.
                && !text.contains('$')
                && !text.starts_with('/')
            {
                found.add(
                    path,
                    format!("environment variable {name} has its value in git"),
                    how,
                );
            }
            fields.values().for_each(|v| environment(v, path, found, how));
        }
        Json::Array(items) => items.iter().for_each(|v| environment(v, path, found, how)),
        _ => {}
    }
}

fn secret_name(name: &str) -> bool {
    ["PASSWORD", "SECRET", "SECRET_KEY", "TOKEN", "API_KEY"]
        .iter()
        .any(|end| name.to_ascii_uppercase().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named_and_no_value_shown() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("overlays/staging");
        let base = root.path().join("base/infrastructure/redis");
        fs::create_dir_all(path.join(FOLDER)).unwrap();
        fs::create_dir_all(&base).unwrap();
        fs::set_permissions(path.join(FOLDER), PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(
            path.join("kustomization.yaml"),
            "secretGenerator:\n- { name: redis, envs: [secrets/redis.env] }\n- { name: minio, envs: [secrets/minio.env] }\n- { name: consul, envs: [secrets/consul.env] }\n- { name: nats, envs: [secrets/nats.env] }\n",
        )
        .unwrap();
        let strong = "Abcdefghijklmnop0123456789qrstuv";
        for (name, text) in [
            (
                "redis",
                format!("password={strong}\nauth.conf=requirepass hunter2\n"),
            ),
            (
                "minio",
                format!("username=root\npassword={strong}\nextra=hunter2\n"),
            ),
            ("consul", "gossip.json={\"encrypt\":\"aHVudGVyMg==\"}\n".into()),
        ] {
            fs::write(path.join(FOLDER).join(format!("{name}.env")), text).unwrap();
        }
        fs::write(
            base.join("secret.yaml"),
            "kind: Secret\nmetadata: { name: redis }\nstringData: { password: hunter2 }\n---\nkind: Pod\nspec: { containers: [{ env: [{ name: REDIS_PASSWORD, value: hunter2 }] }] }\n",
        )
        .unwrap();
        let overlay = Overlay {
            name: "staging".into(),
            path,
        };
        let problems = check(&overlay).unwrap();
        let all: String = problems
            .iter()
            .map(|p| format!("{}: {}; {}\n", p.file.display(), p.what, p.how))
            .collect();
        for expected in [
            "secrets: its mode is 0755",
            "redis.env: its mode is 0644",
            "key auth.conf does not say",
            "key username is not \"isa\"",
            "its password is also that of redis",
            "key extra is none that minio uses",
            "key gossip.json is not",
            "nats.env: it does not exist; `isa secrets generate staging`",
            "Secret redis has a value for password in git",
            "environment variable REDIS_PASSWORD has its value in git",
        ] {
            assert!(all.contains(expected), "{expected} is missing in\n{all}");
        }
        assert!(!all.contains("hunter2") && !all.contains(strong), "{all}");
    }

    #[test]
    fn weak_passwords_are_told_from_strong_ones() {
        assert!(weak("").is_some());
        assert!(weak("changeme").is_some());
        assert!(weak(&"a".repeat(40)).is_some());
        assert!(weak("Abcdefghijklmnop0123456789qrst-v").is_some());
        assert_eq!(weak("Abcdefghijklmnop0123456789qrstuv"), None);
    }
}
