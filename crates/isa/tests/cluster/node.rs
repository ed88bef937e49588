//! A real node of the test's own, and the project's commands against it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use isa_testkit::{Finished, eventually};
use serde_json::Value;

/// The namespace of overlay `ci`.
pub(crate) const NAMESPACE: &str = "isa-cloud-staging";
/// How long a pod may take to come back on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A node that ends with this value, and a copy of the manifests that a test may change.
pub(crate) struct Node {
    /// Short, for the sockets in it.
    folder: tempfile::TempDir,
}

impl Node {
    /// Starts a node.
    pub(crate) fn up() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("isa-node-")
            .tempdir()
            .expect("a temporary folder");
        let node = Self { folder };
        copy(
            &repository().join("deployments"),
            &node.project().join("deployments"),
        );
        let began = Instant::now();
        node.script("up", &[]);
        println!("node up in {:.1} s", began.elapsed().as_secs_f64());
        node
    }

    /// The folder that commands run in; the manifests are in it.
    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    pub(crate) fn overlay(&self, name: &str) -> PathBuf {
        self.project().join("deployments/kubernetes/overlays").join(name)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("n")
    }

    pub(crate) fn socket(&self) -> String {
        self.state().join("containerd.sock").display().to_string()
    }

    fn script(&self, verb: &str, args: &[&str]) {
        let mut command = Command::new(repository().join("scripts/cluster"));
        command
            .arg(verb)
            .arg(self.state())
            .args(args)
            .stdin(Stdio::null());
        let finished = Finished::of(command);
        assert_eq!(finished.code, Some(0), "cluster {verb}: {finished:#?}");
    }

    /// `isa ARGS` in the project, against this node.
    pub(crate) fn isa(&self, args: &[&str]) -> Finished {
        let mut command = self.command(env!("CARGO_BIN_EXE_isa"));
        command.args(args);
        Finished::of(command)
    }

    /// The same, for a command that must succeed.
    pub(crate) fn isa_ok(&self, args: &[&str]) -> Finished {
        let finished = self.isa(args);
        assert_eq!(finished.code, Some(0), "isa {args:?}: {finished:#?}");
        finished
    }

    /// The JSON that a command of isa prints, whatever its exit code says.
    pub(crate) fn isa_json(&self, args: &[&str]) -> Value {
        let finished = self.isa(args);
        serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("isa {args:?}: {e}: {finished:#?}"))
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> Finished {
        let mut command = self.command("kubectl");
        command.args(args);
        Finished::of(command)
    }

    pub(crate) fn kubectl_ok(&self, args: &[&str]) -> String {
        let finished = self.kubectl(args);
        assert_eq!(finished.code, Some(0), "kubectl {args:?}: {finished:#?}");
        finished.stdout
    }

    /// Applies one object.
    pub(crate) fn apply(&self, object: &Value) {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a file");
        serde_json::to_writer(&mut file, object).expect("the object is written");
        self.kubectl_ok(&[
            "apply",
            "--server-side",
            "--field-manager=isa",
            "-f",
            &file.path().display().to_string(),
        ]);
    }

    /// A command inside a container of the platform.
    pub(crate) fn exec(&self, pod: &str, command: &[&str]) -> String {
        let mut args = vec!["-n", NAMESPACE, "exec", pod, "--"];
        args.extend(command);
        self.kubectl_ok(&args).trim().to_owned()
    }

    /// A value of one of the platform's Secrets.
    pub(crate) fn secret(&self, name: &str, key: &str) -> String {
        let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
        self.kubectl_ok(&["-n", NAMESPACE, "get", "secret", name, "-o", &template])
    }

    pub(crate) fn pod(&self, name: &str) -> Option<Value> {
        let finished = self.kubectl(&["-n", NAMESPACE, "get", "pod", name, "-o", "json"]);
        (finished.code == Some(0)).then(|| serde_json::from_str(&finished.stdout).unwrap())
    }

    /// Waits until the pod is Ready and is another one than `old`, by its uid.
    pub(crate) fn wait_for_another(&self, name: &str, old: &Value) -> Value {
        eventually(&format!("another {name} is Ready"), PATIENCE, || {
            let pod = self.pod(name).ok_or("it is not there")?;
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let ready = conditions
                .into_iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            if ready && pod["metadata"]["uid"] != old["metadata"]["uid"] {
                Ok(pod)
            } else {
                Err(pod["status"].to_string())
            }
        })
    }

    /// A program in the project, against this node, with no configuration but the test's own.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ISA_")) {
            command.env_remove(name);
        }
        command
            .current_dir(self.project())
            .env("KUBECONFIG", self.state().join("kubeconfig"))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut command = Command::new(repository().join("scripts/cluster"));
        command.arg("down").arg(self.state()).stdin(Stdio::null());
        // A test that fails is about something else than this.
        let _ = command.status();
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Copies a folder without the secrets that a developer may have in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the manifests") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            if entry.file_name() != "secrets" {
                copy(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
