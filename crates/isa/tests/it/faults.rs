//! What goes wrong on one machine: each fault is made on purpose.

use std::{net::TcpListener, time::Duration};

use isa_config::EngineKind;
use isa_testkit::{Isa, PATIENCE, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::isa;

/// Processes that work inside the test's folder: the engines that it started.
fn engines_of(isa: &Isa) -> Vec<i32> {
    let all = procfs::process::all_processes().unwrap().flatten();
    all.filter(|p| p.cwd().is_ok_and(|cwd| cwd.starts_with(isa.state())))
        .map(|p| p.pid())
        .collect()
}

fn await_first_engine(isa: &Isa) {
    eventually("an engine's first program runs", PATIENCE, || {
        match engines_of(isa) {
            running if running.is_empty() => Err("none"),
            _ => Ok(()),
        }
    });
}

fn await_no_engine(isa: &Isa) {
    eventually("no engine is left", PATIENCE / 8, || match engines_of(isa) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_busy_port_names_the_process_and_starts_nothing() {
    let isa = isa();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let finished = isa.run(&[
        "up",
        "--free-ports",
        "--only",
        "redis,nats",
        "--port",
        &format!("nats={port}"),
    ]);
    assert_eq!(finished.code, Some(1));
    for text in [
        format!("port {port} (nats client)"),
        format!("process {}", std::process::id()),
        "--port nats.client=0".into(),
    ] {
        assert!(
            finished.stderr.contains(&text),
            "{text:?} is missing in {}",
            finished.stderr
        );
    }
    assert!(engines_of(&isa).is_empty());
    // The same from the background.
    let finished = isa.run(&[
        "up",
        "--detach",
        "--free-ports",
        "--only",
        "nats",
        "--port",
        &format!("nats={port}"),
    ]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished
            .stderr
            .contains(&format!("process {}", std::process::id())),
        "{finished:?}"
    );
    drop(held);
    isa.ok(&[
        "up",
        "--detach",
        "--free-ports",
        "--only",
        "nats",
        "--port",
        &format!("nats={port}"),
    ]);
    isa.ok(&["down"]);
}

#[test]
fn ctrl_c_during_the_start_leaves_nothing_running() {
    let isa = isa();
    let mut running = isa.start(&["up", "--free-ports", "--only", "redis,postgres,neo4j"]);
    // As soon as there is anything to stop; PostgreSQL is still making its first cluster then.
    await_first_engine(&isa);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), Some(130), "{}", running.stderr());
    await_no_engine(&isa);
    // What was interrupted is whole: the next start succeeds.
    let again = isa.up(&["--only", "redis,postgres"]);
    isa.wait_for(EngineKind::Postgres, "Ready");
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn kill_9_at_any_moment_of_the_first_start_is_recovered_from() {
    for engine in ["postgres", "neo4j", "qdrant"] {
        let isa = isa();
        let running = isa.start(&["up", "--free-ports", "--only", engine]);
        await_first_engine(&isa);
        running.signal(Signal::SIGKILL);
        drop(running);
        await_no_engine(&isa);
        let again = isa.up(&["--only", engine]);
        isa.wait_for(engine.parse().unwrap(), "Ready");
        isa.ok(&["verify"]);
        assert_eq!(again.stop(), Some(0));
    }
}

#[test]
fn a_hung_engine_is_seen_and_recovers_and_can_be_stopped() {
    let isa = isa();
    let running = isa.up(&["--only", "redis,nats"]);
    let pid =
        |kind| Pid::from_raw(i32::try_from(isa.engine(kind).unwrap()["pid"].as_i64().unwrap()).unwrap());
    let redis = pid(EngineKind::Redis);
    kill(redis, Signal::SIGSTOP).unwrap();
    let engine = isa.wait_for(EngineKind::Redis, "Unresponsive");
    assert!(engine["message"].is_string(), "{engine:#}");
    kill(redis, Signal::SIGCONT).unwrap();
    isa.wait_for(EngineKind::Redis, "Ready");
    kill(pid(EngineKind::Nats), Signal::SIGSTOP).unwrap();
    assert_eq!(running.stop(), Some(0));
    assert!(engines_of(&isa).is_empty());
}

#[test]
fn an_engine_that_cannot_start_is_given_up_with_its_reason() {
    let isa = isa();
    let program = isa.folder().join("redis-server");
    std::fs::write(&program, "#!/bin/sh\necho 'the reason why'\nexit 7\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let set = format!("engines.redis.program={}", program.display());
    let running = isa.up(&["--only", "redis,nats", "--set", &set]);
    let engine = isa.wait_for(EngineKind::Redis, "Failed");
    let message = engine["message"].as_str().unwrap();
    assert!(
        message.contains("code 7: the reason why") && message.contains("isa logs redis"),
        "{message}"
    );
    isa.wait_for(EngineKind::Nats, "Ready");
    let restart = isa.run(&["restart", "redis"]);
    assert_eq!(restart.code, Some(1), "{restart:?}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn damaged_credentials_are_an_error_and_not_replaced() {
    let isa = isa();
    std::fs::create_dir(isa.state()).unwrap();
    std::fs::write(isa.state().join("credentials.json"), "{").unwrap();
    let finished = isa.run(&["up", "--free-ports", "--only", "redis"]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("credentials.json") && finished.stderr.contains("--purge"),
        "{finished:?}"
    );
    assert_eq!(std::fs::read(isa.state().join("credentials.json")).unwrap(), b"{");
}

#[test]
fn a_state_folder_deep_in_the_tree_works() {
    // Deeper than the path of a Unix socket may be long.
    let isa = isa();
    let deep = isa.folder().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let set = format!("state_dir={}", deep.join("state").display());
    isa.ok(&[
        "up",
        "--detach",
        "--free-ports",
        "--only",
        "redis,postgres",
        "--set",
        &set,
    ]);
    isa.ok(&["status", "--set", &set]);
    isa.ok(&["down", "--set", &set]);
}

#[test]
fn a_clock_that_was_set_back_is_found() {
    let isa = isa();
    std::fs::create_dir(isa.state()).unwrap();
    let file = std::fs::File::create(isa.state().join("endpoints.json")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(3600))
        .unwrap();
    let finished = isa.run(&["--set", "free_ports=true", "doctor"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.contains("the clock was set back"), "{finished:?}");
}
