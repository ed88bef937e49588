//! The whole platform: every engine comes up, passes its checks, survives a kill -9, and keeps its data.

use isa_config::EngineKind;
use isa_testkit::{PATIENCE, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{data, isa};

fn pid_of(engine: &Value) -> Option<Pid> {
    engine["pid"]
        .as_i64()
        .map(|pid| Pid::from_raw(i32::try_from(pid).unwrap()))
}

fn engines(status: &Value) -> Vec<Value> {
    status["engines"].as_array().unwrap().clone()
}

/// Grafana is the only engine that the package registries do not have.
fn assert_all_ready(status: &Value) {
    assert_eq!(engines(status).len(), EngineKind::ALL.len());
    for engine in engines(status) {
        let may_be_missing = engine["name"] == "grafana" && engine["status"] == "Missing";
        assert!(engine["status"] == "Ready" || may_be_missing, "{engine:#}");
        assert!(may_be_missing == engine["message"].is_string(), "{engine:#}");
    }
}

#[test]
fn every_engine_is_ready_verified_and_keeps_its_data() {
    let isa = isa();
    let running = isa.up(&[]);
    let status = isa.status().unwrap();
    assert_all_ready(&status);
    assert!(running.stdout().contains("engines ready"), "{}", running.stdout());

    let verified = isa.ok(&["verify"]);
    assert!(verified.stdout.contains("0 failed"), "{verified:?}");
    let report: Value = serde_json::from_str(&isa.ok(&["verify", "-o", "json"]).stdout).unwrap();
    assert_eq!(report["ok"], true);

    // Everything of the state folder is private, and no secret is in a log or on a command line.
    let endpoints = isa.endpoints();
    let secrets: Vec<String> = endpoints
        .values()
        .filter_map(|e| e.password.as_ref().map(|p| p.expose().to_owned()))
        .collect();
    assert!(secrets.len() >= 7, "{}", secrets.len());
    assert_no_secret(&isa, &status, &secrets, &running.stderr());

    data::write(&endpoints);
    data::check(&endpoints, "before anything happens");

    // Mosquitto may lose its last second, which ARCHITECTURE.md says; the others lose nothing.
    let store = isa.state().join("data/mosquitto/mosquitto.db");
    eventually("Mosquitto's store has the message", PATIENCE / 8, || {
        let bytes = std::fs::read(&store).map_err(|e| e.to_string())?;
        let found = bytes
            .windows(data::VALUE.len())
            .any(|part| part == data::VALUE.as_bytes());
        if found {
            Ok(())
        } else {
            Err(format!("{} bytes", bytes.len()))
        }
    });

    // kill -9 of every engine at once: each comes back by itself, and status says so.
    let killed: Vec<(EngineKind, Pid)> = engines(&status)
        .iter()
        .filter_map(|e| Some((e["name"].as_str()?.parse().ok()?, pid_of(e)?)))
        .collect();
    assert!(killed.len() >= 9, "{killed:?}");
    for (_, pid) in &killed {
        kill(*pid, Signal::SIGKILL).unwrap();
    }
    for (kind, pid) in &killed {
        let engine = eventually(&format!("{kind} is restarted"), PATIENCE, || {
            let engine = isa.engine(*kind)?;
            if engine["status"] == "Ready" && pid_of(&engine) != Some(*pid) {
                Ok(engine)
            } else {
                Err(engine.to_string())
            }
        });
        assert_eq!(engine["restarts"], 1, "{engine:#}");
    }
    data::check(&endpoints, "after kill -9 of every engine");

    // An orderly end and a new start, on other ports.
    assert_eq!(running.stop(), Some(0));
    assert_eq!(isa.run(&["status"]).code, Some(3));
    let running = isa.up(&[]);
    assert_all_ready(&isa.status().unwrap());
    data::check(&isa.endpoints(), "after down and up");

    // kill -9 of isa itself: no engine outlives it, and the next start recovers.
    let pids: Vec<Pid> = engines(&isa.status().unwrap())
        .iter()
        .filter_map(pid_of)
        .collect();
    running.signal(Signal::SIGKILL);
    drop(running);
    eventually("no engine outlives isa", PATIENCE / 8, || {
        let alive: Vec<_> = pids.iter().filter(|pid| kill(**pid, None).is_ok()).collect();
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("{alive:?}"))
        }
    });
    let running = isa.up(&[]);
    assert_all_ready(&isa.status().unwrap());
    data::check(&isa.endpoints(), "after kill -9 of isa");
    assert_eq!(running.stop(), Some(0));
}

fn assert_no_secret(isa: &isa_testkit::Isa, status: &Value, secrets: &[String], stderr: &str) {
    let mut places = vec![
        ("stderr".to_owned(), stderr.to_owned()),
        ("status".to_owned(), status.to_string()),
    ];
    for entry in std::fs::read_dir(isa.state().join("logs")).unwrap() {
        let path = entry.unwrap().path();
        places.push((
            path.display().to_string(),
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
        ));
    }
    for pid in engines(status).iter().filter_map(pid_of) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        places.push((
            format!("command line of {pid}"),
            String::from_utf8_lossy(&line).into_owned(),
        ));
    }
    for (place, text) in places {
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "a password is in {place}"
        );
    }
    for name in [
        "credentials.json",
        "endpoints.json",
        "conf/redis/redis.conf",
        "conf/nats/nats.conf",
    ] {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(isa.state().join(name)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o077, 0, "{name} is not private: {mode:o}");
    }
}

#[test]
fn seaweedfs_and_valkey_stand_in() {
    let isa = isa();
    let running = isa.up(&[
        "--only",
        "minio,redis",
        "--engine",
        "minio=seaweedfs",
        "--engine",
        "redis=valkey",
    ]);
    assert_eq!(
        isa.wait_for(EngineKind::Minio, "Ready")["implementation"],
        "seaweedfs"
    );
    assert_eq!(
        isa.wait_for(EngineKind::Redis, "Ready")["implementation"],
        "valkey"
    );
    isa.ok(&["verify"]);
    data::write(&isa.endpoints());
    assert_eq!(running.stop(), Some(0));
    let running = isa.up(&[
        "--only",
        "minio,redis",
        "--engine",
        "minio=seaweedfs",
        "--engine",
        "redis=valkey",
    ]);
    data::check(&isa.endpoints(), "after down and up");
    assert_eq!(running.stop(), Some(0));
}
