use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};

use crate::{Config, EngineKind};

/// The file that is read when none is named, in the folder `isa` is started in.
const DEFAULT_FILE: &str = "isa.toml";

/// What the command line says; the strongest source.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Configuration file; without it `isa.toml`, if there is one.
    pub file: Option<PathBuf>,
    /// What the command has as defaults of its own, beaten by the file and the environment; pairs as in `set`.
    pub defaults: Vec<(String, String)>,
    /// Pairs of dotted key and value in TOML notation: `("engines.redis.ports.client", "6380")`.
    pub set: Vec<(String, String)>,
}

/// Why the configuration cannot be used. The message names the key and where the value came from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("configuration file {0} does not exist; name another with --config")]
    NoFile(PathBuf),
    #[error("configuration: {0}")]
    Invalid(String),
}

/// Loads the configuration: defaults, file, environment, overrides, then validation.
pub fn load(overrides: &Overrides) -> Result<Config, Error> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for (key, value) in &overrides.defaults {
        figment = figment.merge(Serialized::default(key, toml_value(value)));
    }
    let file = match &overrides.file {
        Some(file) if !file.is_file() => return Err(Error::NoFile(file.clone())),
        Some(file) => Some(file.clone()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.is_file()),
    };
    if let Some(file) = &file {
        figment = figment.merge(Toml::file_exact(file));
    }
    // ISA_CONFIG is the command line's own: the flag that names the file.
    let environment = Env::prefixed("ISA_").ignore(&["config"]).split("__");
    figment = figment.merge(environment.clone());
    // Values are read as TOML, but a password of digits is a text.
    for (key, value) in environment.iter().filter(|(key, _)| is_text(key.as_str())) {
        figment = figment.merge(Serialized::default(key.as_str(), value));
    }
    for (key, value) in &overrides.set {
        let value = if is_text(key) {
            toml::Value::String(value.clone())
        } else {
            toml_value(value)
        };
        figment = figment.merge(Serialized::default(key, value));
    }
    let mut config: Config = figment.extract().map_err(|e| Error::Invalid(explain(&e)))?;
    if config.cache_dir.as_os_str().is_empty() {
        config.cache_dir = default_cache_dir();
    }
    config.files.extend(file);
    validate(&config)?;
    Ok(config)
}

/// Keys that hold texts which may look like numbers or lists.
fn is_text(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    matches!(last, "username" | "password" | "token")
}

/// A value of the command line: TOML where it parses as such, otherwise the text itself.
fn toml_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn explain(error: &figment::Error) -> String {
    let one = |e: figment::Error| {
        let source = e.metadata.as_ref().map_or_else(String::new, |m| {
            let place = m.source.as_ref().map_or_else(String::new, |s| format!(" {s}"));
            format!(" (from {}{place})", m.name)
        });
        let key = e.path.join(".");
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("key {key:?}: ")
        };
        format!("{key}{}{source}", e.kind)
    };
    error.clone().into_iter().map(one).collect::<Vec<_>>().join("; ")
}

fn default_cache_dir() -> PathBuf {
    // The loader is the one place that reads the environment.
    #[allow(clippy::disallowed_methods)]
    let var = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let root = Path::new("/proc/self")
        .metadata()
        .is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if root {
        // Not below /root: PostgreSQL refuses to run as root, and the user it runs as must reach its program.
        return "/var/cache/isa".into();
    }
    var("XDG_CACHE_HOME")
        .or_else(|| var("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("isa")
}

fn validate(config: &Config) -> Result<(), Error> {
    let invalid = |key: &str, why: String| Err(Error::Invalid(format!("key {key:?}: {why}")));
    if !config.bind.is_loopback() {
        return invalid(
            "bind",
            format!(
                "{} is not a loopback address, and the local platform serves this machine only; use 127.0.0.1 or ::1, and Kubernetes for a network",
                config.bind
            ),
        );
    }
    for (key, seconds) in [
        ("ready_timeout_seconds", config.ready_timeout_seconds),
        ("stop_timeout_seconds", config.stop_timeout_seconds),
    ] {
        if !(1..=3600).contains(&seconds) {
            return invalid(key, format!("{seconds} is not between 1 and 3600"));
        }
    }
    for (kind, engine) in &config.engines {
        let key = |field: &str| format!("engines.{kind}.{field}");
        if let Some(name) = &engine.implementation {
            let known = kind.implementations();
            if !known.contains(&name.as_str()) {
                return invalid(
                    &key("implementation"),
                    format!("{name:?} is none of {}", known.join(", ")),
                );
            }
        }
        let names: Vec<_> = kind.ports().iter().map(|p| p.name).collect();
        for name in engine.ports.keys() {
            if !names.contains(&name.as_str()) {
                let known = if names.is_empty() {
                    "it has no ports".into()
                } else {
                    format!("its ports are {}", names.join(", "))
                };
                return invalid(&key("ports"), format!("{kind} has no port {name:?}; {known}"));
            }
        }
        if engine.url.is_some() && *kind == EngineKind::Duckdb {
            return invalid(&key("url"), "DuckDB runs in this process and takes no URL".into());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::result_large_err)] // figment's Jail fixes the error type
mod tests {
    use figment::Jail;

    use super::*;

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        Jail::expect_with(|jail| {
            assert_eq!(load(&Overrides::default()).unwrap().stop_timeout_seconds, 20);
            jail.create_file(
                "isa.toml",
                "stop_timeout_seconds = 7\n[engines.redis]\nports = { client = 1 }\n",
            )?;
            let config = load(&Overrides::default()).unwrap();
            assert_eq!(config.stop_timeout_seconds, 7);
            assert_eq!(config.ready_timeout_seconds, 60);
            assert_eq!(config.engine(EngineKind::Redis).ports["client"], 1);

            jail.set_env("ISA_ENGINES__REDIS__PORTS__CLIENT", "2");
            let config = load(&Overrides::default()).unwrap();
            assert_eq!(config.engine(EngineKind::Redis).ports["client"], 2);

            let set = vec![
                ("engines.redis.ports.client".to_owned(), "3".to_owned()),
                ("engines.minio.implementation".to_owned(), "seaweedfs".to_owned()),
            ];
            let config = load(&Overrides {
                set,
                ..Overrides::default()
            })
            .unwrap();
            assert_eq!(config.engine(EngineKind::Redis).ports["client"], 3);
            assert_eq!(config.implementation(EngineKind::Minio), "seaweedfs");
            Ok(())
        });
    }

    #[test]
    fn passwords_of_digits_are_texts() {
        Jail::expect_with(|jail| {
            jail.set_env("ISA_ENGINES__REDIS__URL", "redis://redis:6379");
            jail.set_env("ISA_ENGINES__REDIS__PASSWORD", "00123");
            jail.set_env("ISA_SERVER__PORTS__REDIS", "7");
            let config = load(&Overrides::default()).unwrap();
            let redis = config.engine(EngineKind::Redis);
            assert_eq!(redis.password.unwrap().expose(), "00123");
            assert_eq!(config.server.ports[&crate::ServiceKind::Redis], 7);
            Ok(())
        });
    }

    #[test]
    fn a_commands_own_defaults_are_beaten_by_the_file() {
        Jail::expect_with(|jail| {
            let overrides = Overrides {
                defaults: vec![("server.auth.mode".into(), "open".into())],
                ..Overrides::default()
            };
            assert_eq!(load(&overrides).unwrap().server.auth.mode, crate::AuthMode::Open);
            jail.create_file("isa.toml", "[server.auth]\nmode = 'required'")?;
            assert_eq!(
                load(&overrides).unwrap().server.auth.mode,
                crate::AuthMode::Required
            );
            Ok(())
        });
    }

    #[test]
    fn mistakes_name_the_key_and_the_file() {
        let cases = [
            ("stat_dir = 'x'", "stat_dir"),
            ("bind = '0.0.0.0'", "loopback"),
            ("[engines.mongo]\nenabled = true", "mongo"),
            ("[engines.redis]\nurl = 'not a url'", "engines.redis.url"),
            ("[engines.redis]\nports = { main = 1 }", "its ports are client"),
            (
                "[engines.redis]\nports = { client = 70000 }",
                "engines.redis.ports.client",
            ),
            ("[engines.minio]\nimplementation = 'ceph'", "minio, seaweedfs"),
            ("ready_timeout_seconds = 0", "ready_timeout_seconds"),
        ];
        for (text, expected) in cases {
            Jail::expect_with(|jail| {
                jail.create_file("isa.toml", text)?;
                let message = load(&Overrides::default()).unwrap_err().to_string();
                assert!(message.contains(expected), "{text}: {message}");
                Ok(())
            });
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let overrides = Overrides {
            file: Some("/nowhere/isa.toml".into()),
            ..Overrides::default()
        };
        assert!(
            load(&overrides)
                .unwrap_err()
                .to_string()
                .contains("/nowhere/isa.toml")
        );
    }
}
