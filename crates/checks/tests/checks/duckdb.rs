use std::{path::Path, time::Duration};

use isa_checks::{Error, Report, probe, verify};
use isa_config::{Endpoint, Endpoints, EngineKind};

const LIMIT: Duration = Duration::from_secs(20);

fn at(folder: &Path) -> Endpoint {
    Endpoint::new(format!("file://{}", folder.display()))
}

async fn check(endpoint: Endpoint) -> Report {
    let endpoints = Endpoints::from([(EngineKind::Duckdb, endpoint)]);
    verify(&endpoints, LIMIT, |_| {}).await.remove(0)
}

#[tokio::test]
async fn works_in_a_folder_and_leaves_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    probe(EngineKind::Duckdb, &at(folder.path()), LIMIT)
        .await
        .unwrap();

    let report = check(at(folder.path())).await;
    assert!(report.ok() && report.steps.len() == 5, "{report:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn names_a_folder_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file, folder.path().join("absent")] {
        let error = probe(EngineKind::Duckdb, &at(&path), LIMIT).await.unwrap_err();
        assert!(matches!(error, Error::Address { .. }) && error.to_string().contains(path.to_str().unwrap()));
        assert!(!check(at(&path)).await.ok());
    }
}

#[tokio::test]
async fn reports_a_folder_that_takes_no_files() {
    // Not even root creates files there.
    let report = check(at(Path::new("/proc"))).await;
    let error = report.steps.iter().find_map(|s| s.error.as_deref()).unwrap();
    assert!(error.starts_with("open a database file failed"), "{report:?}");
}

#[tokio::test]
async fn names_a_url_that_is_no_folder() {
    let endpoint = Endpoint::new("https://example.test/folder");
    let error = probe(EngineKind::Duckdb, &endpoint, LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("expected file:///FOLDER"), "{error}");
}
