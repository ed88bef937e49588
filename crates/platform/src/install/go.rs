//! A program built from the Go module registry, by a module of ours whose go.sum pins every dependency.

use std::{collections::BTreeMap, collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use super::{
    Error, Limits, Reporter, Unit, blocking,
    cache::{Staging, files_in, sha256},
    error::io_error,
    tool::{Stream, Tool},
};
use crate::catalog::{Entry, Go};

/// go.mod and go.sum of each entry.
const MODULES: [(&str, &str, &str); 7] = [
    (
        "consul",
        include_str!("../../go/consul/go.mod"),
        include_str!("../../go/consul/go.sum"),
    ),
    (
        "grpcurl",
        include_str!("../../go/grpcurl/go.mod"),
        include_str!("../../go/grpcurl/go.sum"),
    ),
    (
        "kube-score",
        include_str!("../../go/kube-score/go.mod"),
        include_str!("../../go/kube-score/go.sum"),
    ),
    (
        "kubernetes",
        include_str!("../../go/kubernetes/go.mod"),
        include_str!("../../go/kubernetes/go.sum"),
    ),
    (
        "local-path-provisioner",
        include_str!("../../go/local-path-provisioner/go.mod"),
        include_str!("../../go/local-path-provisioner/go.sum"),
    ),
    (
        "loki",
        include_str!("../../go/loki/go.mod"),
        include_str!("../../go/loki/go.sum"),
    ),
    (
        "minio",
        include_str!("../../go/minio/go.mod"),
        include_str!("../../go/minio/go.sum"),
    ),
];
/// Programs of our own in these modules: the entry's name, the file in its module, the text.
pub(super) const SOURCES: [(&str, &str, &str); 1] = [(
    "kubernetes",
    "coredns/main.go",
    include_str!("../../go/kubernetes/coredns/main.go"),
)];
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(1800);
const BUILD_LIMIT: Duration = Duration::from_secs(5400);

/// go.mod and go.sum of an entry.
pub(super) fn module(name: &str) -> Option<(&'static str, &'static str)> {
    let (_, go_mod, go_sum) = MODULES.iter().find(|(module, ..)| *module == name)?;
    Some((go_mod, go_sum))
}

pub(super) async fn install(
    entry: &Entry,
    source: &Go,
    staging: &Staging,
    limits: &Limits,
    report: &Reporter<'_>,
) -> Result<BTreeMap<String, String>, Error> {
    write_module(entry, staging)?;
    let packages = {
        let _permit = limits.downloads.acquire().await;
        report.message("downloading its Go modules");
        report.started(Some(source.modules), Unit::Modules);
        download(entry, source, staging, report).await?
    };
    let _permit = match limits.builds.try_acquire() {
        Ok(permit) => Ok(permit),
        Err(_) => {
            report.message("waiting for another Go build");
            limits.builds.acquire().await
        }
    };
    report.message("compiling");
    report.started(Some(packages.len() as u64), Unit::Packages);
    build(entry, source, staging, &packages, report).await?;

    let folder = staging.root().join("bin");
    blocking(move || {
        let files = files_in(&folder)?;
        files
            .iter()
            .map(|path| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                Ok((name, sha256(path)?))
            })
            .collect()
    })
    .await
}

fn write_module(entry: &Entry, staging: &Staging) -> Result<(), Error> {
    let Some((go_mod, go_sum)) = module(&entry.name) else {
        return Err(Error::Archive {
            file: format!("go/{}", entry.name),
            why: "isa has no such module".into(),
        });
    };
    let sources = SOURCES.iter().filter(|(module, ..)| *module == entry.name);
    let files = [("go.mod", go_mod), ("go.sum", go_sum)];
    for (name, text) in files
        .into_iter()
        .chain(sources.map(|(_, name, text)| (*name, *text)))
    {
        let path = staging.work().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io_error("make the folder", folder))?;
        }
        fs::write(&path, text).map_err(io_error("write", &path))?;
    }
    Ok(())
}

/// Fetches the modules and returns the import paths of all packages that a build compiles.
async fn download(
    entry: &Entry,
    source: &Go,
    staging: &Staging,
    report: &Reporter<'_>,
) -> Result<BTreeSet<String>, Error> {
    let tool = tool(
        format!("download the Go modules of {} {}", entry.name, entry.version),
        DOWNLOAD_LIMIT,
    );
    let mut command = go(staging, "list");
    command.args(["-mod=readonly", "-deps"]).args(&source.packages);
    let (mut packages, mut modules) = (BTreeSet::new(), 0);
    tool.run(command, |stream, line| match stream {
        Stream::Out => {
            packages.insert(line.to_owned());
        }
        Stream::Err if line.starts_with("go: downloading ") => {
            modules += 1;
            report.advanced(modules);
        }
        Stream::Err => {}
    })
    .await?;
    Ok(packages)
}

async fn build(
    entry: &Entry,
    source: &Go,
    staging: &Staging,
    packages: &BTreeSet<String>,
    report: &Reporter<'_>,
) -> Result<(), Error> {
    let tool = tool(format!("build {} {}", entry.name, entry.version), BUILD_LIMIT);
    let bin = staging.root().join("bin");
    fs::create_dir(&bin).map_err(io_error("make the folder", &bin))?;
    let stamps = source
        .stamps
        .iter()
        .map(|(variable, value)| format!(" -X {variable}={value}"));
    let ldflags = format!("-s -w{}", stamps.collect::<String>());
    let mut command = go(staging, "build");
    command.args([
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-v",
        // The linker strips debug information (-s -w): making it first would take a tenth of the time.
        "-gcflags=all=-dwarf=false",
        "-ldflags",
        &ldflags,
    ]);
    // A folder: with one package too, the program then has the name of its package.
    command
        .arg("-o")
        .arg(folder_argument(&bin))
        .args(&source.packages);
    let mut done = 0;
    tool.run(command, |_, line| {
        if packages.contains(line) {
            done += 1;
            report.advanced(done);
        }
    })
    .await
}

fn folder_argument(path: &Path) -> std::ffi::OsString {
    let mut text = path.as_os_str().to_owned();
    text.push("/");
    text
}

fn go(staging: &Staging, verb: &str) -> Command {
    let mut command = Command::new("go");
    command.arg(verb).current_dir(staging.work());
    // The user's proxy and caches stay. What could change the result does not.
    for (name, value) in [
        ("CGO_ENABLED", "0"),
        // An empty value would mean the one of `go env -w`.
        ("GOFLAGS", "-mod=readonly"),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("GO111MODULE", "on"),
    ] {
        command.env(name, value);
    }
    command.env("GOTMPDIR", staging.tmp());
    command
}

fn tool(doing: String, limit: Duration) -> Tool {
    Tool {
        name: "go",
        doing,
        limit,
        how: "install Go 1.26.5 or later",
        hint: "Go 1.26.5 or later is needed, and a module proxy that it can reach (`go env GOPROXY`)",
    }
}
