//! The published Python client, sync and async, and a plain gRPC client against every method, with values read back by the
//! engines' own clients: `conformance/` has the cases.

use std::{path::Path, process::Command};

use isa_testkit::{Finished, Isa};

use crate::isa;

fn conforms(isa: &Isa, args: &[&str]) {
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
}

#[test]
fn every_method_as_the_published_client_reads_it() {
    let isa = isa();
    let _up = isa.up(&["--only", "redis,postgres,minio,nats"]);
    conforms(&isa, &[]);
}

#[test]
fn objects_on_the_second_s3_engine() {
    let isa = isa();
    let _up = isa.up(&["--only", "minio", "--engine", "minio=seaweedfs"]);
    conforms(&isa, &["--only", "minio"]);
}
