//! `cargo xtask check`: house rules that neither the compiler nor clippy knows.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which of our crates each of our crates may use. `isa` is the composition root and may use all.
const DIRECTIONS: [(&str, &[&str]); 11] = [
    ("isa-bench", &["isa-config", "isa-proto"]),
    ("isa-config", &[]),
    ("isa-checks", &["isa-config"]),
    ("isa-deploy", &["isa-config", "isa-checks"]),
    ("isa-platform", &["isa-config", "isa-checks"]),
    ("isa-proto", &[]),
    ("isa-qdrant", &["isa-config"]),
    ("isa-server", &["isa-config", "isa-proto"]),
    ("isa-services", &["isa-config", "isa-proto", "isa-server"]),
    ("isa-testkit", &["isa-config"]),
    ("xtask", &[]),
];
const ROOT: &str = "isa";

/// Longest Rust file, in lines.
const LONGEST: usize = 600;

/// The one file that may say `unsafe`.
const UNSAFE: &str = "crates/platform/src/process.rs";

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some("check") {
        bail!("usage: cargo run -p xtask -- check");
    }
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    let mut found = directions(&metadata)?;
    walk(
        metadata.workspace_root.as_std_path(),
        metadata.workspace_root.join("crates").as_std_path(),
        &mut found,
    )?;
    for line in &found {
        eprintln!("{line}");
    }
    if found.is_empty() {
        println!("crate directions, file lengths and unsafe code are as they should be");
    }
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Dependencies between our crates that point the wrong way. Tests may use the test kit.
fn directions(metadata: &Metadata) -> anyhow::Result<Vec<String>> {
    let packages = metadata.workspace_packages();
    let ours: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let mut found = Vec::new();
    for package in &packages {
        let name = package.name.as_str();
        if name == ROOT {
            continue;
        }
        let allowed = DIRECTIONS.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) = allowed.with_context(|| format!("crate {name} has no place in DIRECTIONS"))?;
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| ours.contains(&d.name.as_str()))
        {
            let for_tests =
                dependency.kind == DependencyKind::Development && dependency.name == "isa-testkit";
            if !allowed.contains(&dependency.name.as_str()) && !for_tests {
                found.push(format!("{name} must not depend on {}", dependency.name));
            }
        }
    }
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = path.strip_prefix(root)?.display().to_string();
            let lines = text.lines().count();
            if lines > LONGEST {
                found.push(format!("{name} has {lines} lines; split it below {LONGEST}"));
            }
            let code = text
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default());
            let marker = ["unsafe", " {"].concat();
            if name != UNSAFE && code.into_iter().any(|line| line.contains(&marker)) {
                found.push(format!("{name} has unsafe code; {UNSAFE} is its one place"));
            }
        }
    }
    Ok(())
}
