use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::distr::{Alphanumeric, SampleString};
use serde::Serialize;

use super::{
    FOLDER, GOSSIP_BYTES, PASSWORD_LENGTH, SecretFile, Spec, Value,
    env_file::{self, EnvFile},
    files,
    git::{self, Git},
    token_keys::{self, TokenKeys},
};
use crate::{Error, Overlay};

/// What became of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Generated {
    pub secret: &'static str,
    pub file: PathBuf,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Created,
    /// Keys that were missing have been added.
    Completed {
        keys: Vec<&'static str>,
    },
    /// Every key was there.
    Kept,
    Rotated {
        /// What must be done besides deploying.
        then: Option<&'static str>,
    },
}

/// Makes the files of secrets that an overlay wants. A value that is there stays, except those of the Secret named by
/// `rotate`. Nothing is written where git would pick it up.
pub fn generate(overlay: &Overlay, rotate: Option<&str>) -> Result<Vec<Generated>, Error> {
    let (files, keys) = (files(overlay)?, super::token_keys(overlay)?);
    let known: BTreeSet<_> = files
        .iter()
        .map(|file| file.spec.name)
        .chain(keys.iter().map(|_| token_keys::PUBLIC))
        .collect();
    if let Some(name) = rotate
        && !known.contains(name)
    {
        return Err(Error::NothingToRotate {
            name: name.to_owned(),
            known: known.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    for path in files.iter().map(|file| &file.path).chain(&keys) {
        match git::ask(path)? {
            Git::Ignores => {}
            Git::WouldAdd => return Err(Error::GitWouldAdd(path.clone())),
            Git::Tracks => return Err(Error::GitTracks(path.clone())),
        }
    }
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let folder = overlay.path.join(FOLDER);
    env_file::make_folder(&folder)?;
    let write = |e| Error::write(&folder, e);
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).map_err(write)?;
    // Two at once would each make values of their own, and one set would be lost.
    let turn = File::open(&folder).map_err(write)?;
    turn.lock().map_err(write)?;
    let passwords = files.iter().map(|file| one(file, rotate));
    let keys = keys.iter().map(|path| pair(path, rotate));
    passwords.chain(keys).collect()
}

/// The keys of tokens.
fn pair(path: &Path, rotate: Option<&str>) -> Result<Generated, Error> {
    let found = TokenKeys::read(path)?;
    let new = found.is_none();
    let mut keys = found.unwrap_or_default();
    let outcome = match (new, rotate == Some(token_keys::PUBLIC)) {
        (true, _) => Outcome::Created,
        (_, true) => Outcome::Rotated {
            then: Some(
                "tokens signed with the key before it are good until the next rotation; deploy before a token is signed with the new one",
            ),
        },
        (_, false) if keys.is_empty() => Outcome::Completed {
            keys: vec!["<key id>.pem"],
        },
        (_, false) => Outcome::Kept,
    };
    if outcome != Outcome::Kept {
        let failed = |e| Error::write(path, std::io::Error::other(format!("{e}")));
        keys.rotate().map_err(failed)?;
        keys.write(path)?;
    }
    Ok(Generated {
        secret: token_keys::PUBLIC,
        file: path.to_owned(),
        outcome,
    })
}

fn one(file: &SecretFile, rotate: Option<&str>) -> Result<Generated, Error> {
    let SecretFile { spec, path } = file;
    let done = |outcome| Generated {
        secret: spec.name,
        file: path.clone(),
        outcome,
    };
    let (mut content, new) = match EnvFile::read(path)? {
        Some(content) => (content, false),
        None => (EnvFile::default(), true),
    };
    let rotate = rotate == Some(spec.name) && !new;
    let added = fill(&mut content, spec, rotate);
    if !added.is_empty() {
        content.write(path)?;
    }
    Ok(done(match (new, rotate, added.is_empty()) {
        (true, ..) => Outcome::Created,
        (_, true, _) => Outcome::Rotated { then: spec.rotation },
        (_, _, true) => Outcome::Kept,
        (_, _, false) => Outcome::Completed { keys: added },
    }))
}

/// Sets what is missing, or everything that is generated, and returns the keys that were set.
fn fill(content: &mut EnvFile, spec: &Spec, rotate: bool) -> Vec<&'static str> {
    let mut set = Vec::new();
    for key in spec.keys {
        let generated = !matches!(key.value, Value::Fixed(_));
        if content.get(key.name).is_some() && !(rotate && generated) {
            continue;
        }
        let value = match key.value {
            Value::Fixed(text) => text.to_owned(),
            Value::Password => Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH),
            Value::RedisConf => format!("requirepass {}", content.get("password").unwrap_or_default()),
            Value::Gossip => {
                let bytes: [u8; GOSSIP_BYTES] = rand::random();
                format!(r#"{{"encrypt":"{}"}}"#, STANDARD.encode(bytes))
            }
        };
        content.set(key.name, &value);
        set.push(key.name);
    }
    set
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::secrets::{SECRETS, check};

    fn overlay(root: &Path) -> Overlay {
        let path = root.join("deployments/kubernetes/overlays/staging");
        fs::create_dir_all(&path).unwrap();
        let generators: String = SECRETS
            .iter()
            .map(|s| {
                format!(
                    "  - {{ name: {0}, behavior: merge, envs: [secrets/{0}.env] }}\n",
                    s.name
                )
            })
            .collect();
        fs::write(
            path.join("kustomization.yaml"),
            format!("resources: [../../base, secrets/token-keys.yaml]\nsecretGenerator:\n{generators}"),
        )
        .unwrap();
        Overlay::find("staging", root).unwrap()
    }

    fn text(overlay: &Overlay, name: &str) -> String {
        fs::read_to_string(overlay.path.join(format!("secrets/{name}.env"))).unwrap()
    }

    #[test]
    fn everything_is_made_once_and_passes_the_check() {
        let root = tempfile::tempdir().unwrap();
        let overlay = overlay(root.path());
        let made = generate(&overlay, None).unwrap();
        assert_eq!(made.len(), SECRETS.len() + 1);
        assert!(made.iter().all(|g| g.outcome == Outcome::Created));
        assert_eq!(check(&overlay).unwrap(), []);
        let redis = text(&overlay, "redis");
        let (password, conf) = redis.trim_end().split_once('\n').unwrap();
        let password = password.strip_prefix("password=").unwrap();
        assert_eq!(
            (password.len(), conf),
            (32, format!("auth.conf=requirepass {password}").as_str())
        );
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(overlay.path.join("secrets")), 0o700);
        assert_eq!(mode(overlay.path.join("secrets/redis.env")), 0o600);
        assert_eq!(mode(overlay.path.join("secrets/token-keys.yaml")), 0o600);
        let keys = fs::read(overlay.path.join("secrets/token-keys.yaml")).unwrap();

        let again = generate(&overlay, None).unwrap();
        assert!(again.iter().all(|g| g.outcome == Outcome::Kept), "{again:?}");
        assert_eq!(text(&overlay, "redis"), redis);
        assert_eq!(
            fs::read(overlay.path.join("secrets/token-keys.yaml")).unwrap(),
            keys
        );

        let outcomes = generate(&overlay, Some("isa-token-keys")).unwrap();
        assert!(matches!(
            outcomes.last().unwrap().outcome,
            Outcome::Rotated { then: Some(_) }
        ));
        assert_eq!(check(&overlay).unwrap(), []);
    }

    #[test]
    fn a_rotation_changes_one_secret_and_keeps_its_comments() {
        let root = tempfile::tempdir().unwrap();
        let overlay = overlay(root.path());
        generate(&overlay, None).unwrap();
        let (redis, minio) = (text(&overlay, "redis"), text(&overlay, "minio"));
        let file = overlay.path.join("secrets/redis.env");
        fs::write(&file, format!("# the cache\n{redis}")).unwrap();
        let outcomes = generate(&overlay, Some("redis")).unwrap();
        let rotated = outcomes.iter().find(|g| g.secret == "redis").unwrap();
        assert_eq!(rotated.outcome, Outcome::Rotated { then: None });
        let now = text(&overlay, "redis");
        assert!(now.starts_with("# the cache\npassword=") && !now.contains(redis.lines().next().unwrap()));
        assert_eq!(text(&overlay, "minio"), minio);
        assert_eq!(check(&overlay).unwrap(), []);
        let error = generate(&overlay, Some("loki")).unwrap_err().to_string();
        assert!(error.contains("loki") && error.contains("consul"), "{error}");
    }

    #[test]
    fn missing_keys_are_added_from_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let overlay = overlay(root.path());
        fs::create_dir_all(overlay.path.join("secrets")).unwrap();
        fs::write(overlay.path.join("secrets/redis.env"), "password=mine").unwrap();
        let made = generate(&overlay, None).unwrap();
        let redis = made.iter().find(|g| g.secret == "redis").unwrap();
        assert_eq!(
            redis.outcome,
            Outcome::Completed {
                keys: vec!["auth.conf"]
            }
        );
        assert_eq!(
            text(&overlay, "redis"),
            "password=mine\nauth.conf=requirepass mine\n"
        );
    }

    #[test]
    fn nothing_is_written_where_git_would_see_it() {
        let root = tempfile::tempdir().unwrap();
        let overlay = overlay(root.path());
        let git = |args: &[&str]| {
            let done = Command::new("git")
                .current_dir(root.path())
                .args(args)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        git(&["init", "--quiet"]);
        let error = generate(&overlay, None).unwrap_err().to_string();
        assert!(
            error.contains("git would add") && error.contains(".gitignore"),
            "{error}"
        );
        assert!(!overlay.path.join("secrets").exists());

        fs::write(root.path().join(".gitignore"), "secrets/\n").unwrap();
        generate(&overlay, None).unwrap();
        git(&[
            "add",
            "--force",
            "--",
            "deployments/kubernetes/overlays/staging/secrets/redis.env",
        ]);
        let error = generate(&overlay, None).unwrap_err().to_string();
        assert!(error.contains("git tracks"), "{error}");
        let problems = check(&overlay).unwrap();
        assert!(
            problems.iter().any(|p| p.what.contains("git tracks")),
            "{problems:?}"
        );
    }
}
