//! Help, configuration and exit codes: what needs no engine.

use std::process::Stdio;

use isa_testkit::Finished;

use crate::isa;

#[test]
fn help_is_a_manual_and_completions_exist() {
    let isa = isa();
    let help = isa.ok(&["--help"]).stdout;
    for word in [
        "up",
        "down",
        "status",
        "logs",
        "reset",
        "exec",
        "doctor",
        "verify",
        "engines",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    for command in [
        "up",
        "down",
        "status",
        "logs",
        "reset",
        "restart",
        "exec",
        "doctor",
        "verify",
        "engines",
        "deploy",
        "diagnose",
        "resources",
        "secrets",
        "teardown",
        "config",
        "completions",
        "engine",
    ] {
        isa.ok(&[command, "--help"]);
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(isa.ok(&["completions", shell]).stdout.contains("isa"));
    }
}

#[test]
fn mistakes_name_what_is_wrong() {
    let isa = isa();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["up", "--only", "mongo"], 2, "mongo"),
        (&["up", "--port", "redis"], 2, "KEY=VALUE"),
        (&["up", "--port", "redis.main=1"], 1, "its ports are client"),
        (
            &["up", "--port", "redis=seventy"],
            1,
            "engines.redis.ports.client",
        ),
        (&["up", "--engine", "minio=ceph"], 1, "minio, seaweedfs"),
        (&["--set", "bind=0.0.0.0", "up"], 1, "loopback"),
        (&["--config", "none.toml", "status"], 1, "none.toml"),
        (&["logs", "redis"], 1, "no log"),
        (&["exec", "redis", "--", "redis-cli"], 1, "isa up"),
    ];
    for (args, code, text) in cases {
        let finished = isa.run(args);
        assert_eq!(finished.code, Some(code), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains(text), "{args:?}: {finished:?}");
    }
}

#[test]
fn nothing_runs_yet() {
    let isa = isa();
    let finished = isa.run(&["status"]);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stdout.contains("isa up"), "{finished:?}");
    let finished = isa.run(&["verify"]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("isa up"), "{finished:?}");
    assert_eq!(isa.run(&["restart", "redis"]).code, Some(1));
    isa.ok(&["down"]);
    // None of these leaves anything behind.
    assert!(!isa.state().exists());
}

#[test]
fn configuration_is_checked_and_dumped_without_secrets() {
    let isa = isa();
    std::fs::write(
        isa.folder().join("isa.toml"),
        "[engines.redis]\nurl = 'redis://:hunter2@cache.example:6379'\n",
    )
    .unwrap();
    isa.ok(&["config", "check"]);
    let dump = isa.ok(&["config", "dump"]).stdout;
    assert!(
        dump.contains("cache.example") && dump.contains("state_dir"),
        "{dump}"
    );
    assert!(!dump.contains("hunter2"), "{dump}");
    std::fs::write(isa.folder().join("isa.toml"), "stat_dir = 'x'\n").unwrap();
    let finished = isa.run(&["config", "check"]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("stat_dir") && finished.stderr.contains("isa.toml"),
        "{finished:?}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let isa = isa();
    let mut command = isa.command(&["config", "dump"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(Stdio::from(writer));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn doctor_finds_nothing_that_stops_the_platform() {
    let isa = isa();
    // Free ports, because another platform may run on this machine.
    let findings: serde_json::Value = serde_json::from_str(
        &isa.ok(&["--set", "free_ports=true", "doctor", "-o", "json"])
            .stdout,
    )
    .unwrap();
    let subjects: Vec<_> = findings
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|f| f["subject"].as_str())
        .collect();
    for subject in [
        "redis",
        "ports",
        "state disk",
        "memory",
        "open files",
        "clock",
        "stale state",
    ] {
        assert!(
            subjects.contains(&subject),
            "{subject} is missing in {subjects:?}"
        );
    }
    // A port that is held is named with its holder.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let set = format!("engines.redis.ports.client={}", held.local_addr().unwrap().port());
    let finished: Finished = isa.run(&["--set", "free_ports=true", "--set", &set, "doctor"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished
            .stdout
            .contains(&format!("process {}", std::process::id())),
        "{finished:?}"
    );
}
