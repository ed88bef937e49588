//! The life of a platform: background, logs, exec, restart, reset, external engines.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use isa_config::EngineKind;
use isa_testkit::{PATIENCE, eventually};

use crate::{data, isa};

#[test]
fn detached_platform_is_used_and_stopped_from_other_terminals() {
    let isa = isa();
    let up = isa.ok(&[
        "up",
        "--detach",
        "--free-ports",
        "--only",
        "redis,postgres,nats,mosquitto",
    ]);
    assert!(up.stdout.contains("4 of 4 engines ready"), "{up:?}");
    assert!(up.stdout.contains("isa down"), "{up:?}");
    let second = isa.run(&["up", "--only", "redis"]);
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another isa up (process "), "{second:?}");

    // Tools get address and credentials from their environment.
    let version = isa.ok(&[
        "exec",
        "postgres",
        "--",
        "psql",
        "-Atc",
        "select extname from pg_extension where extname = 'vector'",
    ]);
    assert_eq!(version.stdout.trim(), "vector");
    // A dump can be restored elsewhere only if it makes the extension first.
    let dump = isa.ok(&["exec", "postgres", "--", "pg_dump", "--schema-only"]);
    assert!(
        dump.stdout.contains("CREATE EXTENSION IF NOT EXISTS vector"),
        "{dump:?}"
    );
    let failed = isa.run(&["exec", "postgres", "--", "psql", "-c", "select nothing"]);
    assert_eq!(failed.code, Some(1), "the command's own exit code");
    let missing = isa.run(&["exec", "redis", "--", "no-such-tool"]);
    assert!(missing.stderr.contains("no-such-tool"), "{missing:?}");

    isa.ok(&[
        "exec",
        "mosquitto",
        "--",
        "mosquitto_pub",
        "-t",
        "a",
        "-m",
        "b",
        "-q",
        "1",
    ]);

    // The variables of `status -o env` work in a shell.
    let mut shell = std::process::Command::new("sh");
    shell
        .args([
            "-c",
            r#"eval "$("$0" status -o env)"; "$0" status >&2 && echo "$PGUSER $REDIS_URL""#,
            env!("CARGO_BIN_EXE_isa"),
        ])
        .current_dir(isa.folder());
    let printed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let password = isa.endpoints()[&EngineKind::Redis].password.clone().unwrap();
    assert!(
        printed.starts_with("isa redis://:") && printed.contains(password.expose()),
        "{printed}"
    );

    // logs -f shows what an engine writes from now on. When it has begun to look nobody is told, so that Redis is started
    // again until it was seen.
    let mut follow = isa.command(&["logs", "-f", "-n", "0", "redis"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let (starts, seen) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("Ready to accept connections") && starts.send(()).is_err() {
                return;
            }
        }
    });
    eventually("isa logs -f shows that Redis starts", PATIENCE, || {
        isa.ok(&["restart", "redis"]);
        seen.recv_timeout(Duration::from_secs(2))
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(
        isa.ok(&["logs", "redis"])
            .stdout
            .contains("Ready to accept connections")
    );

    // reset empties one engine and leaves the others alone.
    data::write(&isa.endpoints());
    let refused = isa.run(&["reset", "redis"]);
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    isa.ok(&["reset", "redis", "--yes"]);
    let endpoints = isa.endpoints();
    let (redis, others): (isa_config::Endpoints, _) = endpoints
        .into_iter()
        .partition(|(kind, _)| *kind == EngineKind::Redis);
    data::check(&others, "after the reset of another engine");
    data::write(&redis);
    data::check(&redis, "after its reset");

    assert!(isa.ok(&["down"]).stdout.contains("stopped"));
    assert_eq!(isa.run(&["status"]).code, Some(3));
    isa.ok(&["reset", "postgres", "--yes"]);
    isa.ok(&["down", "--purge", "--yes"]);
    assert!(!isa.state().exists());
}

#[test]
fn an_engine_elsewhere_is_used_and_watched() {
    let elsewhere = isa();
    let far = elsewhere.up(&["--only", "redis"]);
    let endpoint = elsewhere.endpoints().remove(&EngineKind::Redis).unwrap();
    let url = endpoint.url.replace(
        "redis://",
        &format!("redis://:{}@", endpoint.password.unwrap().expose()),
    );

    // The checks can be pointed at any installation.
    let here = isa();
    here.ok(&["verify", "--url", &format!("redis={url}")]);
    let file = elsewhere.state().join("endpoints.json");
    here.ok(&["verify", "--endpoints", file.to_str().unwrap(), "--only", "redis"]);

    let running = here.up(&["--only", "redis", "--set", &format!("engines.redis.url={url}")]);
    let engine = here.wait_for(EngineKind::Redis, "Ready");
    assert_eq!(engine["source"], "url");
    assert!(engine["pid"].is_null());
    here.ok(&["verify"]);
    let refused = here.run(&["reset", "redis", "--yes"]);
    assert!(
        refused.stderr.contains("not a process of this platform"),
        "{refused:?}"
    );
    assert_eq!(far.stop(), Some(0));
    here.wait_for(EngineKind::Redis, "Unresponsive");
    assert_eq!(here.run(&["verify"]).code, Some(1));
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn what_is_not_installed_is_a_row_and_the_rest_runs() {
    let mut isa = isa();
    let cache = tempfile::tempdir().unwrap();
    isa.env("ISA_CACHE_DIR", cache.path());
    let running = isa.up(&["--only", "loki,duckdb"]);
    let engine = isa.wait_for(EngineKind::Loki, "Missing");
    assert!(
        engine["message"]
            .as_str()
            .unwrap()
            .contains("isa engines install loki"),
        "{engine:#}"
    );
    isa.wait_for(EngineKind::Duckdb, "Ready");
    // DuckDB itself and the service over it.
    let verified = isa.ok(&["verify"]);
    assert!(
        verified.stdout.contains("2 passed, 0 failed, 1 not run"),
        "{verified:?}"
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_hundred_status_calls_stay_quick() {
    let isa = isa();
    let running = isa.up(&["--only", "redis"]);
    // Waits with a bound instead of comparing a wall clock once: a busy machine may stall any single call.
    let mut best = std::time::Duration::MAX;
    eventually("`isa status` answers within 100 ms", PATIENCE / 8, || {
        let started = std::time::Instant::now();
        isa.ok(&["status"]);
        best = best.min(started.elapsed());
        if best.as_millis() < 100 {
            Ok(())
        } else {
            Err(format!("{best:?}"))
        }
    });
    assert_eq!(running.stop(), Some(0));
}
