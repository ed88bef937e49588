//! Jars of Maven's registry, as a project of ours asks for them, each compared with a list of checksums.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use super::{
    Error, Limits, Reporter, Unit, blocking,
    cache::{Staging, files_in, verify},
    error::io_error,
    tool::Tool,
};
use crate::catalog::{Entry, Maven};

/// pom.xml and the checksums (as `sha256sum` prints them) of each entry.
const PROJECTS: [(&str, &str, &str); 1] = [(
    "neo4j",
    include_str!("../../maven/neo4j/pom.xml"),
    include_str!("../../maven/neo4j/sha256sums"),
)];
const LIMIT: Duration = Duration::from_secs(1800);

/// The checksums of an entry, by file name.
pub(super) fn pins(name: &str) -> Option<BTreeMap<&'static str, &'static str>> {
    let (_, _, sums) = PROJECTS.iter().find(|(project, ..)| *project == name)?;
    Some(
        sums.lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sum, file)| (file, sum))
            .collect(),
    )
}

pub(super) async fn install(
    entry: &Entry,
    source: &Maven,
    staging: &Staging,
    limits: &Limits,
    report: &Reporter<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    let (Some(pins), Some((_, pom, _))) = (
        pins(&entry.name),
        PROJECTS.iter().find(|(name, ..)| *name == entry.name),
    ) else {
        return Err(Error::Archive {
            file: format!("maven/{}", entry.name),
            why: "isa has no such project".into(),
        });
    };
    let project = staging.work().join("pom.xml");
    fs::write(&project, pom).map_err(io_error("write", &project))?;
    let jars = staging.root().join(&source.folder);

    let _permit = limits.downloads.acquire().await;
    report.message(format!("downloading {} jars", pins.len()));
    report.started(Some(pins.len() as u64), Unit::Files);
    let tool = Tool {
        name: "mvn",
        doing: format!("download {} {}", entry.name, entry.version),
        limit: LIMIT,
        how: "install Debian's package maven",
        hint: "see whether Maven reaches your repository (`mvn dependency:get`)",
    };
    let mut command = Command::new("mvn");
    command
        .args(["--batch-mode", "-Dstyle.color=never", "--file"])
        .arg(&project)
        .arg("dependency:copy-dependencies");
    command.arg("-DexcludeTypes=pom");
    command
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .current_dir(staging.work());
    let mut missing: Vec<_> = pins.keys().copied().collect();
    tool.run(command, |_, line| {
        // A jar counts when it is downloaded or, if it was there before, when it is copied.
        if let Some(at) = missing
            .iter()
            .position(|jar| line.contains(&format!("/{jar} ")) || line.contains(&format!(" {jar} ")))
        {
            missing.swap_remove(at);
            report.advanced((pins.len() - missing.len()) as u64);
        }
    })
    .await?;

    report.message("checking the checksums");
    blocking(move || {
        let mut left = pins.clone();
        for path in files_in(&jars)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            match left.remove(name.as_str()) {
                Some(pin) => verify(
                    &path,
                    pin,
                    " after deleting it from Maven's local repository (~/.m2) as well",
                )?,
                None => {
                    return Err(Error::Archive {
                        file: name,
                        why: "is not in the list of pinned jars".into(),
                    });
                }
            }
        }
        if let Some((name, _)) = left.first_key_value() {
            return Err(Error::Archive {
                file: (*name).to_owned(),
                why: "was not downloaded".into(),
            });
        }
        Ok(pins
            .into_iter()
            .map(|(name, pin)| (name.to_owned(), pin.to_owned()))
            .collect())
    })
    .await
}
