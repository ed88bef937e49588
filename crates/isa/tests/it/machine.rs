//! Users, permissions and disks. What only root can arrange is done when the tests run as root; otherwise the test
//! says so and checks what a normal user can.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use isa_config::EngineKind;
use isa_testkit::Isa;

use crate::{data, isa};

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A small file system of its own, unmounted when dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn tmpfs(path: &'a Path, options: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success(), "cannot mount {}", path.display());
        Self(path)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_read_only_folder_is_named() {
    let isa = isa();
    let place = isa.folder().join("place");
    let _mount;
    if root() {
        _mount = Mount::tmpfs(&place, "ro,size=1m");
    } else {
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let set = format!("state_dir={}", place.join("state").display());
    for args in [
        &["up", "--only", "redis", "--set", &set][..],
        &["up", "--detach", "--only", "redis", "--set", &set],
    ] {
        let finished = isa.run(args);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(
            finished.stderr.contains("place/state") && finished.stderr.contains("state_dir"),
            "{finished:?}"
        );
    }
}

#[test]
fn a_full_disk_is_named_before_the_start_and_survived_after_it() {
    let isa = isa();
    // Far more than any disk has: refused before anything starts, as root or not.
    let finished = isa.run(&["up", "--only", "redis", "--set", "min_free_disk_mb=1000000000"]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("MiB are free") && finished.stderr.contains("min_free_disk_mb"),
        "{finished:?}"
    );
    if !root() {
        eprintln!("not root: the disk that fills up while engines run was not tried");
        return;
    }
    let place = isa.folder().join("place");
    let _mount = Mount::tmpfs(&place, "size=256m,mode=755");
    let set = format!("state_dir={}", place.join("state").display());
    let common = ["--set", &set, "--set", "min_free_disk_mb=16"];
    let run = |args: &[&str]| isa.run(&[args, &common[..]].concat());
    let up = run(&["up", "--detach", "--free-ports", "--only", "redis,nats,postgres"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    let filler = place.join("filler");
    let fill = || {
        Command::new("dd")
            .args(["if=/dev/zero", "bs=4k"])
            .arg(format!("of={}", filler.display()))
            .output()
    };
    fill().unwrap();
    assert_eq!(run(&["status"]).code, Some(0), "status answers on a full disk");
    // What an engine can still do without space is its own affair; isa must say so and stay.
    run(&["verify"]);
    assert_eq!(run(&["down"]).code, Some(0));
    fill().unwrap();
    let refused = run(&["up", "--detach", "--free-ports", "--only", "redis"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("MiB are free") || refused.stderr.contains("disk is full"),
        "{refused:?}"
    );
    fs::remove_file(&filler).unwrap();
    let up = run(&["up", "--detach", "--free-ports", "--only", "redis,nats,postgres"]);
    assert_eq!(up.code, Some(0), "it recovers when there is space again: {up:?}");
    let verified = run(&["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert_eq!(run(&["down"]).code, Some(0));
}

#[test]
fn a_normal_user_runs_it() {
    if !root() {
        // Every other test here is run by a normal user then.
        return;
    }
    let mut isa = isa();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    std::os::unix::fs::chown(isa.folder(), Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    // The engines that root installed; this user could not install his own in a home that does not exist.
    isa.env("ISA_CACHE_DIR", "/var/cache/isa");
    let program = readable_copy(&isa);
    let command = |args: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(args)
            .current_dir(isa.folder())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ISA_CACHE_DIR", "/var/cache/isa");
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        command
    };
    let up = command(&[
        "up",
        "--detach",
        "--free-ports",
        "--only",
        "redis,postgres,mosquitto,nats,qdrant",
    ])
    .output()
    .unwrap();
    assert!(up.status.success(), "{up:?}");
    let verified = command(&["verify"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    assert!(command(&["down"]).output().unwrap().status.success());
}

/// The program and its library where any user can read them: the build folder may be root's alone.
fn readable_copy(isa: &Isa) -> std::path::PathBuf {
    let (bin, lib) = (isa.folder().join("bin"), isa.folder().join("lib"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&lib).unwrap();
    let duckdb = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/duckdb/libduckdb.so");
    fs::copy(duckdb, lib.join("libduckdb.so")).unwrap();
    let program = bin.join("isa");
    fs::copy(env!("CARGO_BIN_EXE_isa"), &program).unwrap();
    program
}

#[test]
fn root_in_a_folder_of_his_own_still_runs_postgresql() {
    if !root() {
        return;
    }
    let isa = isa();
    fs::set_permissions(isa.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    let running = isa.up(&["--only", "postgres"]);
    isa.wait_for(EngineKind::Postgres, "Ready");
    data::write(&isa.endpoints());
    assert_eq!(running.stop(), Some(0));
    let running = isa.up(&["--only", "postgres"]);
    data::check(&isa.endpoints(), "after down and up");
    let elsewhere = fs::read_link(isa.state().join("data/postgres")).unwrap();
    assert!(elsewhere.starts_with("/var/lib/isa"), "{}", elsewhere.display());
    assert_eq!(running.stop(), Some(0));
    isa.ok(&["down", "--purge", "--yes"]);
    assert!(!elsewhere.exists(), "purge deletes what lies outside too");
}
