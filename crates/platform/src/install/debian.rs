//! Debian packages, downloaded by apt and unpacked into the cache: no root, nothing installed on the machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    Error, Limits, Reporter, Unit, blocking,
    cache::{Staging, files_in, sha256, verify},
    error::io_error,
    only_x86_64,
    tool::Tool,
    wheel::watched,
};
use crate::catalog::{Debian, DebianPackage, Entry};

const LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn install(
    entry: &Entry,
    source: &Debian,
    staging: &Staging,
    limits: &Limits,
    report: &Reporter<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    only_x86_64(entry)?;
    let _permit = limits.downloads.acquire().await;
    let total = source.packages.iter().map(|p| p.bytes).sum();
    report.message(format!("downloading {} Debian packages", source.packages.len()));
    report.started(Some(total), Unit::Bytes);
    let apt = Apt {
        entry,
        packages: &source.packages,
        staging,
    };
    let download = async {
        // With the machine's package lists, if they are there and know the pinned versions.
        if apt.download(&[], true).await.is_ok() {
            return Ok(());
        }
        apt.start_over()?;
        report.message("fetching the package lists");
        let lists = apt.own_lists()?;
        apt.update(&lists).await?;
        report.message(format!("downloading {} Debian packages", source.packages.len()));
        if apt.download(&lists, true).await.is_ok() {
            return Ok(());
        }
        apt.start_over()?;
        apt.download(&lists, false).await
    };
    let folder = staging.work();
    watched(download, || size_of_files(&folder).min(total), report).await?;

    let (packages, root) = (source.packages.clone(), staging.root());
    let name = entry.name.clone();
    let (sums, newer) = blocking(move || check(&name, &packages, &folder)).await?;
    for (package, version) in newer {
        report.message(format!(
            "{package} {version} is newer than the pinned revision; taken because apt has checked the archive's signature"
        ));
    }
    unpack(entry, staging, &root).await?;
    Ok(sums)
}

struct Apt<'a> {
    entry: &'a Entry,
    packages: &'a [DebianPackage],
    staging: &'a Staging,
}

impl Apt<'_> {
    fn tool(&self, doing: String) -> Tool {
        let (how, hint) = if self.entry.on_path.is_empty() {
            (
                "use a machine with Debian's apt",
                "see whether `apt-get update` works",
            )
        } else {
            (
                "install it with this machine's package manager; on PATH it is found",
                "see whether `apt-get update` works, or install it with this machine's package manager; on PATH it is found",
            )
        };
        Tool {
            name: "apt-get",
            doing,
            limit: LIMIT,
            how,
            hint,
        }
    }

    /// Into the staging folder: the pinned versions, or what the archive has now.
    async fn download(&self, options: &[String], pinned: bool) -> Result<(), Error> {
        let tool = self.tool(format!("download {} {}", self.entry.name, self.entry.version));
        let mut command = apt_get(options);
        command.arg("download").current_dir(self.staging.work());
        command.args(self.packages.iter().map(|p| {
            if pinned {
                format!("{}={}", p.name, p.version)
            } else {
                p.name.clone()
            }
        }));
        tool.run(command, |_, _| {}).await
    }

    async fn update(&self, options: &[String]) -> Result<(), Error> {
        let mut command = apt_get(options);
        command.arg("update");
        self.tool("fetch Debian's package lists".into())
            .run(command, |_, _| {})
            .await
    }

    /// Package lists and caches of our own, which need no root.
    fn own_lists(&self) -> Result<Vec<String>, Error> {
        let tmp = self.staging.tmp();
        let (lists, cache) = (tmp.join("lists"), tmp.join("cache"));
        for dir in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&dir).map_err(io_error("make the folder", &dir))?;
        }
        Ok(vec![
            format!("Dir::State::lists={}", lists.display()),
            format!("Dir::Cache={}", cache.display()),
            // They lie in a folder that apt's own user may not enter.
            "APT::Sandbox::User=".into(),
        ])
    }

    fn start_over(&self) -> Result<(), Error> {
        for path in files_in(&self.staging.work())? {
            fs::remove_file(&path).map_err(io_error("delete", &path))?;
        }
        Ok(())
    }
}

fn apt_get(options: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
    // A newer revision is accepted on apt's word, so its word must rest on a signature.
    let strict = [
        "APT::Get::AllowUnauthenticated=false",
        "Acquire::AllowInsecureRepositories=false",
    ];
    command.args(strict.into_iter().flat_map(|option| ["-o", option]));
    command.args(options.iter().flat_map(|option| ["-o", option]));
    command
}

type Sums = BTreeMap<String, String>;

/// Compares the files with their pins. Returns the checksums, and the packages that are a newer revision of the pinned
/// upstream version.
fn check(
    name: &str,
    packages: &[DebianPackage],
    folder: &Path,
) -> Result<(Sums, Vec<(String, String)>), Error> {
    let (mut sums, mut newer) = (BTreeMap::new(), Vec::new());
    let files = files_in(folder)?;
    for package in packages {
        let found = files.iter().find_map(|path| {
            let (file_package, version) = parse(path)?;
            (file_package == package.name).then_some((path, version))
        });
        let Some((path, version)) = found else {
            return Err(Error::Archive {
                file: package.name.clone(),
                why: "was not downloaded by apt".into(),
            });
        };
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if version == package.version {
            verify(path, &package.sha256, "")?;
        } else if upstream(&version) == upstream(&package.version) {
            newer.push((package.name.clone(), version));
        } else {
            return Err(Error::Machine {
                name: name.to_owned(),
                machine: format!(
                    "its archive has {} {version}, not {}",
                    package.name, package.version
                ),
                how: format!("install {name} with its package manager; on PATH it is found"),
            });
        }
        sums.insert(file, sha256(path)?);
    }
    Ok((sums, newer))
}

/// Package and version of `name_version_architecture.deb`.
fn parse(path: &Path) -> Option<(String, String)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".deb")?;
    let (package, rest) = name.split_once('_')?;
    let (version, _architecture) = rest.rsplit_once('_')?;
    Some((package.to_owned(), version.replace("%3a", ":")))
}

/// The upstream part of `epoch:upstream-revision`.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

async fn unpack(entry: &Entry, staging: &Staging, root: &Path) -> Result<(), Error> {
    for path in files_in(&staging.work())? {
        let tool = Tool {
            name: "dpkg-deb",
            doing: format!(
                "unpack {}",
                path.file_name().unwrap_or_default().to_string_lossy()
            ),
            limit: LIMIT,
            how: "install Debian's package dpkg",
            hint: "try again",
        };
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(&path).arg(root);
        tool.run(command, |_, _| {}).await?;
    }
    // Folders of other users come along in the archive (/var/lib, /etc); only the programs are used.
    let program = entry.program.as_ref().map(|program| root.join(program));
    if let Some(program) = program.filter(|program| !program.is_file()) {
        return Err(Error::Archive {
            file: program.display().to_string(),
            why: "is not in the packages".into(),
        });
    }
    Ok(())
}

fn size_of_files(folder: &PathBuf) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|f| Some(f.metadata().ok()?.len()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_of_packages_are_read() {
        let path = Path::new("/x/libev4_1%3a4.33-1_amd64.deb");
        assert_eq!(parse(path), Some(("libev4".to_owned(), "1:4.33-1".to_owned())));
        assert_eq!(upstream("1:4.33-1"), "4.33");
        assert_eq!(upstream("2.0.11-1.2+deb12u2"), "2.0.11");
        assert_eq!(upstream("7.6.q-32"), "7.6.q");
    }
}
