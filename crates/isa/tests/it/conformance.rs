//! The published Python client, sync and async, and a plain gRPC client against every method, with values read back by the
//! engines' own clients: `conformance/` has the cases.

use std::{path::Path, process::Command};

use isa_config::ServiceKind;
use isa_services::AVAILABLE;
use isa_testkit::{Finished, Isa};

use crate::{engines_of_services, isa};

/// Runs the cases, which must pass; gives what was printed.
fn conforms(isa: &Isa, args: &[&str]) -> String {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/run");
    let mut command = Command::new(run);
    command
        .arg("--services")
        .arg(isa.state().join("services.json"))
        .arg("--endpoints")
        .arg(isa.state().join("endpoints.json"))
        .args(args);
    let finished = Finished::of(command);
    println!("{}", finished.stdout);
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[test]
fn every_method_as_the_published_client_reads_it() {
    let isa = isa();
    let _up = isa.up(&["--only", &engines_of_services()]);
    let printed = conforms(&isa, &[]);
    for kind in ServiceKind::ALL {
        let mut rows = printed.lines().filter(|line| line.starts_with(kind.name()));
        let missing = rows.any(|row| row.contains("not there"));
        assert_eq!(missing, !AVAILABLE.contains(&kind), "{kind}");
    }
    let last = printed.trim_end().lines().next_back().unwrap_or_default();
    assert!(last.ends_with("of 275 methods have a passing case"), "{last}");
}

#[test]
fn objects_on_the_second_s3_engine() {
    let isa = isa();
    let _up = isa.up(&["--only", "minio", "--engine", "minio=seaweedfs"]);
    conforms(&isa, &["--only", "minio"]);
}
