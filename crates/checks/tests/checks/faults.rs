use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::future::join_all;
use isa_checks::{Error, probe, verify};
use isa_config::EngineKind;

use crate::servers::{Manners, PASSWORD, all_at, nobody, start};

/// What a busy machine may add to a limit.
const SLACK: Duration = Duration::from_millis(500);

/// Probes every engine at once and returns why each failed.
async fn probe_all(address: SocketAddr, limit: Duration) -> Vec<(EngineKind, Error)> {
    let one = async |kind, endpoint| {
        let began = Instant::now();
        let error = probe(kind, &endpoint, limit).await.expect_err(kind.name());
        assert!(
            began.elapsed() < limit + SLACK,
            "{kind} took {:?}: {error}",
            began.elapsed()
        );
        let texts = format!("{error} {error:?} {}", error.explain());
        assert!(!texts.contains(PASSWORD), "{kind} shows the password: {texts}");
        (kind, error)
    };
    join_all(
        all_at(address)
            .into_iter()
            .map(|(kind, endpoint)| one(kind, endpoint)),
    )
    .await
}

/// Runs every engine's check and returns why its first step failed.
async fn verify_all(address: SocketAddr, limit: Duration) -> Vec<(EngineKind, String)> {
    let endpoints = all_at(address);
    let began = Instant::now();
    let mut seen = Vec::new();
    let reports = verify(&endpoints, limit, |report| seen.push(report.engine)).await;
    assert!(began.elapsed() < limit + SLACK, "took {:?}", began.elapsed());
    assert!(
        reports.iter().map(|r| r.engine).eq(endpoints.keys().copied()),
        "in the order of the engines"
    );
    seen.sort();
    assert!(
        seen.iter().eq(endpoints.keys()),
        "each report is announced once: {seen:?}"
    );

    let text = serde_json::to_string(&reports).unwrap();
    assert!(!text.contains(PASSWORD), "the reports show the password: {text}");
    let why = |report: isa_checks::Report| {
        assert!(!report.ok(), "{report:?}");
        let failed = report.steps.into_iter().find_map(|s| s.error).unwrap();
        (report.engine, failed)
    };
    reports.into_iter().map(why).collect()
}

#[tokio::test]
async fn nothing_there() {
    let address = nobody().await;
    let limit = Duration::from_secs(5);
    let began = Instant::now();
    for (kind, error) in probe_all(address, limit).await {
        assert!(matches!(error, Error::Unreachable { .. }), "{kind}: {error:?}");
        assert!(
            error.explain().contains(&address.to_string()),
            "{kind}: {}",
            error.explain()
        );
    }
    for (kind, error) in verify_all(address, limit).await {
        assert!(
            error.starts_with(&format!("cannot connect to {address}")),
            "{kind}: {error}"
        );
    }
    assert!(began.elapsed() < limit, "a refused connection is not waited for");
}

#[tokio::test]
async fn accepts_and_says_nothing() {
    let server = start(Manners::Silent).await;
    let limit = Duration::from_secs(1);
    for (kind, error) in probe_all(server.address, limit).await {
        assert!(matches!(error, Error::TimedOut(_)), "{kind}: {error:?}");
    }
    for (kind, error) in verify_all(server.address, limit).await {
        assert!(error.starts_with("not done within"), "{kind}: {error}");
    }
}

/// Anything but the engine's protocol is an error, soon, and never a panic.
#[tokio::test]
async fn talks_nonsense() {
    const CASES: [Manners; 9] = [
        Manners::Closing,
        Manners::Greeting(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        Manners::Greeting(&[0xff; 64]),
        Manners::Greeting(&[0; 64]),
        Manners::Answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        Manners::Answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\n\x1b[2J"),
        Manners::Answering(b"\x00\x00\x05\x04hello\r\n"),
        Manners::Answering(b"INFO {}\r\n-ERR 'nonsense'\r\n"),
        Manners::Flooding(&[b'x'; 4096]),
    ];
    let limit = Duration::from_secs(2);
    let one = async |manners| {
        let server = start(manners).await;
        let probed = probe_all(server.address, limit)
            .await
            .into_iter()
            .map(|(kind, e)| (kind, e.explain()));
        let verified = verify_all(server.address, limit).await;
        for (kind, error) in probed.chain(verified) {
            println!("{manners:?} {kind}: {error}");
            assert!(
                !error.starts_with("cannot connect"),
                "{manners:?} {kind}: {error}"
            );
            assert!(!error.contains('\x1b'), "{manners:?} {kind}: {error:?}");
        }
    };
    join_all(CASES.map(one)).await;
}

/// What a server sends back of the credentials must not come into a message.
#[tokio::test]
async fn echoes_the_password() {
    let server = start(Manners::Echoing).await;
    probe_all(server.address, Duration::from_secs(2)).await;
    verify_all(server.address, Duration::from_secs(2)).await;
}
