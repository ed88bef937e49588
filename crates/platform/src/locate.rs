//! Where an engine is on this machine: URL in the configuration, program in the configuration, PATH, cache, built in.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use isa_config::{Config, Endpoint, EngineKind};

use crate::{
    catalog::{Entry, Source as CatalogSource, VersionQuery, catalog},
    install, versions,
};

/// Folders that hold servers and are not on every user's PATH.
const SYSTEM_DIRS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];
/// How long a program on PATH may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(2);
/// The oldest Java that Neo4j runs on.
const OLDEST_JAVA: u32 = 17;

/// Where a program was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `engines.<engine>.program`
    Config,
    Path,
    /// Installed by `isa engines install`.
    Cache,
    /// `isa` itself, run as the engine.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Config => "config",
            Self::Path => "path",
            Self::Cache => "cache",
            Self::BuiltIn => "built in",
        })
    }
}

/// A program to start as an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// As in `EngineKind::implementations`.
    pub implementation: String,
    /// Absolute path. For Neo4j this is Java, and the jars are in `lib` below `root`.
    pub program: PathBuf,
    /// The install folder, if it comes from the cache.
    pub root: Option<PathBuf>,
    pub source: Source,
    /// Variables that it needs, such as `LD_LIBRARY_PATH`.
    pub env: Vec<(String, String)>,
    /// What it says of itself; `unknown` if it says nothing.
    pub version: String,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// It runs elsewhere.
    External(Endpoint),
    /// A process to start.
    Program(Program),
    /// A part of this process.
    BuiltIn { version: String },
    /// It cannot be had, and what the user can do about it.
    Missing { why: String, how: String },
}

/// Finds an engine. Fast once the versions of the programs on PATH are known: a few `stat` calls.
///
/// Without a chosen implementation, the engine's default is looked for everywhere before the next one is, so that
/// data stays with the implementation that wrote it; what is built in comes last.
pub fn locate(config: &Config, kind: EngineKind) -> Located {
    let engine = config.engine(kind);
    if let Some(endpoint) = engine.external() {
        return Located::External(endpoint);
    }
    let chosen = engine.implementation.as_deref();
    let mut candidates: Vec<&Entry> = catalog()
        .of(kind)
        .filter(|entry| chosen.is_none_or(|name| name == entry.name))
        .collect();
    candidates.sort_by_key(|entry| matches!(entry.source, CatalogSource::BuiltIn));
    let mut reasons = Vec::new();
    if let Some(program) = &engine.program {
        return configured(config, kind, &candidates, program);
    }
    for entry in &candidates {
        match find(config, kind, entry) {
            Ok(Some(located)) => return located,
            Ok(None) => {}
            Err(why) => reasons.push(why),
        }
    }
    let installable = candidates.iter().find(|entry| entry.source.installable());
    let how = match (installable, candidates.first().map(|entry| &entry.source)) {
        (Some(entry), _) => format!("install it with `isa engines install {}`", entry.name),
        (None, Some(CatalogSource::Elsewhere(elsewhere))) => elsewhere.how.clone(),
        (None, _) => "choose another implementation".to_owned(),
    };
    if reasons.is_empty() {
        let names: Vec<_> = candidates.iter().map(|entry| entry.name.as_str()).collect();
        reasons.push(format!("{} is neither on PATH nor installed", names.join(" or ")));
    }
    Located::Missing {
        why: reasons.join("; "),
        how,
    }
}

/// The program that the configuration names, as the implementation that is chosen or, without a choice, the first one
/// that is a program of its own. For Neo4j it is the Java to run it with.
fn configured(config: &Config, kind: EngineKind, candidates: &[&Entry], program: &Path) -> Located {
    let missing = |why: String| Located::Missing {
        why,
        how: format!("correct engines.{kind}.program"),
    };
    let Some(entry) = candidates.first() else {
        return missing(format!("{kind} has no implementation that is a program"));
    };
    let program = match std::path::absolute(program) {
        Ok(program) if executable(&program) => program,
        _ => return missing(format!("{} is not an executable file", program.display())),
    };
    if kind == EngineKind::Neo4j {
        return match neo4j(config, entry, program, Source::Config) {
            Some(found) => Located::Program(found),
            None => missing("the jars of Neo4j are not installed (`isa engines install neo4j`)".into()),
        };
    }
    if kind == EngineKind::Duckdb {
        return missing("DuckDB is built in and has no program".into());
    }
    let version = version_of(config, entry, &program, &[]);
    Located::Program(Program {
        implementation: entry.name.clone(),
        program,
        root: None,
        source: Source::Config,
        env: Vec::new(),
        version,
    })
}

/// One implementation: on PATH, in the cache, built in. An error says why what is there does not do.
fn find(config: &Config, kind: EngineKind, entry: &Entry) -> Result<Option<Located>, String> {
    if let CatalogSource::BuiltIn = entry.source {
        return built_in(kind, entry).map(Some);
    }
    if kind == EngineKind::Neo4j {
        if install::installed(&config.cache_dir, entry).is_none() {
            return Ok(None);
        }
        let java = locate_java(config)
            .ok_or("Neo4j needs Java 17 or later, which is neither on PATH nor installed (`isa engines install java`)")?;
        return Ok(neo4j(config, entry, java, Source::Cache).map(Located::Program));
    }
    let mut skipped = None;
    if let Some(program) = entry.on_path.iter().find_map(|name| on_path(name)) {
        match usable(kind, &program) {
            Ok(()) => {
                let version = version_of(config, entry, &program, &[]);
                return Ok(Some(Located::Program(Program {
                    implementation: entry.name.clone(),
                    program,
                    root: None,
                    source: Source::Path,
                    env: Vec::new(),
                    version,
                })));
            }
            Err(why) => skipped = Some(why),
        }
    }
    match (from_cache(config, entry), skipped) {
        (Some(program), _) => Ok(Some(Located::Program(program))),
        (None, Some(why)) => Err(why),
        (None, None) => Ok(None),
    }
}

fn built_in(kind: EngineKind, entry: &Entry) -> Result<Located, String> {
    let version = entry.version.clone();
    if kind == EngineKind::Duckdb {
        return Ok(Located::BuiltIn { version });
    }
    let program = env::current_exe().map_err(|e| format!("the program isa itself cannot be found: {e}"))?;
    Ok(Located::Program(Program {
        implementation: entry.name.clone(),
        program,
        root: None,
        source: Source::BuiltIn,
        env: Vec::new(),
        version,
    }))
}

/// Whether a program on PATH does what the platform promises of the engine.
fn usable(kind: EngineKind, program: &Path) -> Result<(), String> {
    if kind != EngineKind::Postgres || has_pgvector(program) {
        return Ok(());
    }
    Err(format!(
        "{} on PATH is passed over, because it has no pgvector",
        program.display()
    ))
}

/// PostgreSQL's own layout (`bin` beside `share`), and Debian's (`/usr/lib/postgresql/15/bin`, `/usr/share/postgresql/15`).
fn has_pgvector(program: &Path) -> bool {
    let Some(prefix) = program
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.parent()?.parent()?.to_owned()))
    else {
        return false;
    };
    let debian = prefix
        .strip_prefix("/usr/lib")
        .ok()
        .map(|rest| Path::new("/usr/share").join(rest));
    [
        Some(prefix.join("share")),
        Some(prefix.join("share/postgresql")),
        debian,
    ]
    .into_iter()
    .flatten()
    .any(|share| share.join("extension/vector.control").is_file())
}

fn from_cache(config: &Config, entry: &Entry) -> Option<Program> {
    let root = install::installed(&config.cache_dir, entry)?;
    let program = root.join(entry.program.as_ref()?);
    Some(Program {
        implementation: entry.name.clone(),
        program,
        env: library_path(entry, &root),
        root: Some(root),
        source: Source::Cache,
        version: entry.version.clone(),
    })
}

fn neo4j(config: &Config, entry: &Entry, java: PathBuf, source: Source) -> Option<Program> {
    Some(Program {
        implementation: entry.name.clone(),
        program: java,
        root: Some(install::installed(&config.cache_dir, entry)?),
        source,
        env: Vec::new(),
        version: entry.version.clone(),
    })
}

/// `LD_LIBRARY_PATH` for a program whose libraries are installed beside it.
pub(crate) fn library_path(entry: &Entry, root: &Path) -> Vec<(String, String)> {
    let folders: Vec<_> = entry
        .libraries
        .iter()
        .map(|dir| root.join(dir).display().to_string())
        .collect();
    if folders.is_empty() {
        Vec::new()
    } else {
        vec![("LD_LIBRARY_PATH".into(), folders.join(":"))]
    }
}

/// A Java that Neo4j runs on: of the machine, or installed into the cache.
pub fn locate_java(config: &Config) -> Option<PathBuf> {
    let entry = catalog().get("java")?;
    let system = entry
        .on_path
        .iter()
        .find_map(|name| on_path(name))
        .filter(|java| {
            let version = version_of(config, entry, java, &[]);
            java_major(&version).is_some_and(|major| major >= OLDEST_JAVA)
        });
    system.or_else(|| from_cache(config, entry).map(|found| found.program))
}

/// `17.0.15` is Java 17, `1.8.0_382` is Java 8.
fn java_major(version: &str) -> Option<u32> {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok());
    match numbers.next()? {
        1 => numbers.next(),
        major => Some(major),
    }
}

/// A tool of operators that belongs to no engine, such as `kubectl`: on PATH, or installed into the cache.
pub fn locate_tool(config: &Config, name: &str) -> Option<PathBuf> {
    let entry = catalog().get(name)?;
    let system = entry.on_path.iter().find_map(|name| on_path(name));
    system.or_else(|| from_cache(config, entry).map(|found| found.program))
}

/// A tool that belongs to an engine, such as `psql` or `initdb`: beside its program, in its install folder, on PATH.
pub fn tool(program: &Program, name: &str) -> Option<PathBuf> {
    let beside = program.program.parent().map(Path::to_owned);
    // Debian links some of PostgreSQL's programs into the PATH and leaves the others beside the link's target.
    let target = program
        .program
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.parent()?.to_owned()));
    let folders = program.root.iter().flat_map(|root| {
        let tools = catalog()
            .get(&program.implementation)
            .map_or(&[][..], |entry| &entry.tools);
        tools.iter().map(|dir| root.join(dir))
    });
    beside
        .into_iter()
        .chain(target)
        .chain(folders)
        .map(|dir| dir.join(name))
        .find(|path| executable(path))
        .or_else(|| on_path(name))
}

fn version_of(config: &Config, entry: &Entry, program: &Path, env: &[(String, String)]) -> String {
    let unknown = || "unknown".to_owned();
    let Some(query) = &entry.version_query else {
        return unknown();
    };
    versions::remembered(&config.cache_dir, program, || ask_version(query, program, env))
        .unwrap_or_else(unknown)
}

fn ask_version(query: &VersionQuery, program: &Path, env: &[(String, String)]) -> Option<String> {
    query.find(&versions::output(program, &query.args, env, VERSION_LIMIT)?)
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .chain(SYSTEM_DIRS.map(PathBuf::from))
        .map(|dir| dir.join(OsStr::new(name)))
        .find(|path| executable(path))
}

pub(crate) fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use isa_config::EngineConfig;

    use super::*;

    /// A configuration whose cache is empty.
    fn config(cache: &Path, kind: EngineKind, engine: EngineConfig) -> Config {
        let mut config = Config {
            cache_dir: cache.to_owned(),
            ..Config::default()
        };
        config.engines.insert(kind, engine);
        config
    }

    fn script(path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_configuration_comes_first() {
        let cache = tempfile::tempdir().unwrap();
        let url = Some("redis://cache.example:6379".parse().unwrap());
        let engine = EngineConfig {
            url,
            program: Some("/bin/true".into()),
            ..EngineConfig::default()
        };
        let located = locate(
            &config(cache.path(), EngineKind::Redis, engine),
            EngineKind::Redis,
        );
        assert!(matches!(located, Located::External(e) if e.url == "redis://cache.example:6379"));

        let program = cache.path().join("my-valkey");
        script(&program, "echo 'Valkey server v=8.0.1 sha=0'");
        let engine = EngineConfig {
            program: Some(program.clone()),
            implementation: Some("valkey".into()),
            ..EngineConfig::default()
        };
        let located = locate(
            &config(cache.path(), EngineKind::Redis, engine),
            EngineKind::Redis,
        );
        let Located::Program(found) = located else {
            panic!("{located:?}")
        };
        assert_eq!(
            (found.program, found.source, found.version.as_str()),
            (program, Source::Config, "8.0.1")
        );

        let engine = EngineConfig {
            program: Some("/nowhere/redis".into()),
            ..EngineConfig::default()
        };
        let located = locate(
            &config(cache.path(), EngineKind::Redis, engine),
            EngineKind::Redis,
        );
        let Located::Missing { why, how } = located else {
            panic!("{located:?}")
        };
        assert_eq!(how, "correct engines.redis.program");
        assert!(why.contains("/nowhere/redis"), "{why}");
    }

    #[test]
    fn what_is_missing_says_how_to_get_it() {
        let cache = tempfile::tempdir().unwrap();
        let engine = EngineConfig {
            implementation: Some("seaweedfs".into()),
            ..EngineConfig::default()
        };
        let located = locate(
            &config(cache.path(), EngineKind::Minio, engine),
            EngineKind::Minio,
        );
        let Located::Missing { why, how } = located else {
            panic!("{located:?}")
        };
        assert_eq!(why, "seaweedfs is neither on PATH nor installed");
        assert_eq!(how, "install it with `isa engines install seaweedfs`");

        let engine = EngineConfig {
            implementation: Some("qdrant".into()),
            ..EngineConfig::default()
        };
        let located = locate(
            &config(cache.path(), EngineKind::Qdrant, engine),
            EngineKind::Qdrant,
        );
        assert!(
            matches!(&located, Located::Missing { how, .. } if how.contains("on PATH")),
            "{located:?}"
        );
    }

    #[test]
    fn what_is_built_in_is_always_there() {
        let cache = tempfile::tempdir().unwrap();
        let config = Config {
            cache_dir: cache.path().to_owned(),
            ..Config::default()
        };
        let located = locate(&config, EngineKind::Duckdb);
        assert!(matches!(located, Located::BuiltIn { .. }), "{located:?}");
        let located = locate(&config, EngineKind::Qdrant);
        let Located::Program(found) = located else {
            panic!("{located:?}")
        };
        assert_eq!(
            (found.implementation.as_str(), found.source),
            ("builtin", Source::BuiltIn)
        );
    }

    #[test]
    fn finding_everything_again_is_a_matter_of_milliseconds() {
        let cache = tempfile::tempdir().unwrap();
        let config = Config {
            cache_dir: cache.path().to_owned(),
            ..Config::default()
        };
        let all = || EngineKind::ALL.map(|kind| locate(&config, kind));
        let first = all();
        let started = std::time::Instant::now();
        assert_eq!(all(), first);
        // Ten times what it takes, for a machine that is busy.
        assert!(
            started.elapsed() < Duration::from_millis(50),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn postgres_without_pgvector_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("bin/postgres");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        script(&program, "");
        let why = usable(EngineKind::Postgres, &program).unwrap_err();
        assert!(why.contains("pgvector"), "{why}");
        fs::create_dir_all(folder.path().join("share/extension")).unwrap();
        fs::write(folder.path().join("share/extension/vector.control"), "").unwrap();
        assert_eq!(usable(EngineKind::Postgres, &program), Ok(()));
    }

    #[test]
    fn tools_are_found_beside_the_program_and_in_the_folders_of_the_catalog() {
        let root = tempfile::tempdir().unwrap();
        let found = Program {
            implementation: "mosquitto".into(),
            program: root.path().join("usr/sbin/mosquitto"),
            root: Some(root.path().to_owned()),
            source: Source::Cache,
            env: Vec::new(),
            version: "2".into(),
        };
        for path in ["usr/sbin/beside-it", "usr/bin/in-tools"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            script(&path, "");
        }
        assert_eq!(
            tool(&found, "beside-it"),
            Some(root.path().join("usr/sbin/beside-it"))
        );
        assert_eq!(
            tool(&found, "in-tools"),
            Some(root.path().join("usr/bin/in-tools"))
        );
        assert!(tool(&found, "sh").is_some(), "PATH is the last resort");
        assert_eq!(tool(&found, "no-such-tool-of-isa"), None);
    }

    #[test]
    fn the_major_version_of_java_is_read() {
        for (version, major) in [
            ("17.0.15", Some(17)),
            ("1.8.0_382", Some(8)),
            ("25-ea", Some(25)),
            ("unknown", None),
        ] {
            assert_eq!(java_major(version), major, "{version}");
        }
    }
}
