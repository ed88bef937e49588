//! The official Python client, in both its modes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::server::{Server, Setup};

#[test]
fn rest_results_are_those_computed_in_python() {
    run("rest", "contract");
}

#[test]
fn grpc_results_are_those_computed_in_python() {
    run("grpc", "contract");
}

#[test]
fn rest_queries_find_what_the_client_in_memory_finds() {
    run("rest", "queries");
}

#[test]
fn grpc_queries_find_what_the_client_in_memory_finds() {
    run("grpc", "queries");
}

#[test]
fn rest_mistakes_are_named() {
    run("rest", "mistakes");
}

#[test]
fn grpc_mistakes_are_named() {
    run("grpc", "mistakes");
}

#[test]
fn rest_serves_eight_clients_at_once() {
    run("rest", "crowd");
}

#[test]
fn grpc_serves_eight_clients_at_once() {
    run("grpc", "crowd");
}

#[test]
fn rest_keeps_whole_collections() {
    run("rest", "keeping");
}

#[test]
fn grpc_keeps_whole_collections() {
    run("grpc", "keeping");
}

fn run(mode: &str, scenario: &str) {
    let packages = packages();
    let storage = tempfile::tempdir().unwrap();
    // Fewer than the scenarios have collections, so that shards are closed and opened beside the requests.
    let setup = Setup {
        max_open_shards: Some(3),
        ..Setup::default()
    };
    let server = Server::start_with(storage.path(), &setup);
    let output = Command::new("python3")
        .arg(folder().join("client.py"))
        .args([mode, &server.rest.to_string(), &server.grpc.to_string(), scenario])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STORAGE", storage.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    check(&format!("{scenario} over {mode}"), &output);
    assert!(server.stop().success());
}

/// The pinned client with all it needs, installed once into Cargo's folder for tests.
fn packages() -> PathBuf {
    let requirements = folder().join("requirements.txt");
    let text = std::fs::read_to_string(&requirements).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-qdrant");
    std::fs::create_dir_all(&dir).unwrap();
    // One test installs while the others wait, in whatever processes they run.
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let installed = dir.join("installed.txt");
    let packages = dir.join("packages");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == text) {
        return packages;
    }
    if packages.exists() {
        std::fs::remove_dir_all(&packages).unwrap();
    }
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--no-deps",
        ])
        .arg("--target")
        .arg(&packages)
        .arg("-r")
        .arg(&requirements)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    check("pip install", &output);
    std::fs::write(&installed, text).unwrap();
    packages
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

fn check(what: &str, output: &Output) {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{what}: {}\n{stdout}\n{stderr}",
        output.status
    );
}
