//! What is in each image: `deployments/images/images.toml`, typed.

use std::{path::PathBuf, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::Error;

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let text = include_str!("../../../../deployments/images/images.toml");
    // A unit test parses the same text; nothing else can make this fail.
    parse(text).unwrap_or_else(|e| panic!("images.toml: {e}"))
});

/// All images: the engines' in the order of their table, and the one of isa itself.
pub fn definitions() -> &'static [Definition] {
    &DEFINITIONS
}

/// The images of these services; all of them without a name.
pub fn named(names: &[String]) -> Result<Vec<&'static Definition>, Error> {
    if names.is_empty() {
        return Ok(definitions().iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = definitions().iter().find(|d| d.service == *name);
            found.ok_or_else(|| Error::Unknown {
                name: name.clone(),
                known: definitions()
                    .iter()
                    .map(|d| d.service.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        })
        .collect()
}

fn parse(text: &str) -> Result<Vec<Definition>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        image: Vec<Definition>,
    }
    Ok(toml::from_str::<File>(text)?.image)
}

/// The image of one service.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub service: String,
    /// Who the programs run as, unless the pod says otherwise; named after the service.
    pub user: User,
    /// A folder that belongs to this user.
    pub data: Option<PathBuf>,
    pub entrypoint: Vec<String>,
    /// Folders that come first in PATH.
    #[serde(default)]
    pub path: Vec<PathBuf>,
    /// Whether a shell and the usual small tools are in it (busybox).
    #[serde(default)]
    pub shell: bool,
    /// Files and folders of this machine that are in it, at the same place.
    #[serde(default)]
    pub machine: Vec<PathBuf>,
    pub files: Vec<Files>,
    /// Why isa cannot pack it, and what to do instead.
    pub elsewhere: Option<String>,
    /// What a container tool builds it from, seen from the folder of its Containerfile; else that folder.
    #[serde(default)]
    pub context: PathBuf,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub uid: u64,
    pub gid: u64,
}

/// A file or a folder of an installed engine. The libraries that its programs need come along by themselves.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// A name in the catalog, or `isa` for this program itself.
    pub from: String,
    /// Where it is in the install folder.
    #[serde(default)]
    pub path: PathBuf,
    /// Where it is in the image.
    pub to: PathBuf,
    /// What of the folder is left out.
    #[serde(default)]
    pub skip: Vec<PathBuf>,
}

impl Definition {
    /// The name by which the overlays for staging and tests know the image.
    pub fn reference(&self) -> String {
        format!("staging-isa-{}:amd64", self.service)
    }
}

#[cfg(test)]
mod tests {
    use isa_config::EngineKind;

    use super::*;
    use crate::catalog::{Source, catalog};

    #[test]
    fn every_engine_with_a_server_has_an_image_and_isa_has_one() {
        let services: Vec<_> = definitions().iter().map(|d| d.service.as_str()).collect();
        let engines: Vec<_> = EngineKind::ALL
            .iter()
            .map(|kind| kind.name())
            .filter(|name| *name != "duckdb")
            .chain(["isa"])
            .collect();
        assert_eq!(services, engines);
    }

    #[test]
    fn what_is_in_an_image_can_be_installed() {
        for definition in definitions() {
            assert_eq!(definition.files.is_empty(), definition.elsewhere.is_some());
            for files in &definition.files {
                assert!(files.to.is_absolute() && files.path.is_relative(), "{files:?}");
                if files.from == super::super::ISA {
                    continue;
                }
                let entry = catalog().get(&files.from).unwrap();
                assert!(entry.source.installable(), "{files:?}");
                if let Source::Wheel(wheel) = &entry.source
                    && let Some(program) = &entry.program
                {
                    // A new version in the catalog must not leave an old path here.
                    assert!(program.starts_with(&files.path), "{}: {files:?}", wheel.file);
                }
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = named(&["mysql".into()]).unwrap_err().to_string();
        assert!(error.contains("mysql") && error.contains("postgres"), "{error}");
        assert_eq!(
            named(&["redis".into()]).unwrap()[0].reference(),
            "staging-isa-redis:amd64"
        );
    }
}
