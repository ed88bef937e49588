use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    time::Duration,
};

use isa_config::{Endpoints, EngineKind, ServiceKind};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{eventually, eventually::within};

/// How long any start or stop may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// `isa` in a folder of its own. What was started there and still runs is killed when this is dropped.
pub struct Isa {
    program: PathBuf,
    folder: tempfile::TempDir,
    env: BTreeMap<String, OsString>,
}

/// A command of `isa` that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// An `isa up` that runs; it is stopped when this is dropped.
pub struct Running<'a> {
    isa: &'a Isa,
    child: Child,
}

impl Isa {
    /// `program` is `env!("CARGO_BIN_EXE_isa")` in the tests of crate isa.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("isa-test-")
            .tempdir()
            .expect("a temporary folder");
        // PostgreSQL runs as another user when the tests run as root; he must pass the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("a folder that others may pass");
        Self {
            program: program.into(),
            folder,
            env: BTreeMap::new(),
        }
    }

    /// With the program that was built beside the test that runs.
    ///
    /// # Panics
    /// When it was not: `make build` does.
    pub fn built() -> Self {
        // <target>/debug/deps/<test>
        let test = std::env::current_exe().expect("the path of this program");
        let program = test
            .parent()
            .and_then(Path::parent)
            .expect("a target folder")
            .join("isa");
        assert!(
            program.is_file(),
            "{} is not there; run `make build` first",
            program.display()
        );
        Self::new(program)
    }

    /// The folder that `isa` is started in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn state(&self) -> PathBuf {
        self.folder().join(".isa")
    }

    /// Sets a variable for every command from now on.
    pub fn env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.insert(name.to_owned(), value.into());
    }

    /// The command `isa ARGS` in the folder, with no configuration but the test's own.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ISA_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .current_dir(self.folder())
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::of(self.command(args))
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, args: &[&str]) -> Finished {
        let finished = self.run(args);
        assert_eq!(finished.code, Some(0), "isa {args:?} failed: {finished:#?}");
        finished
    }

    /// Starts `isa up --free-ports ARGS` and waits until every engine has settled.
    pub fn up(&self, args: &[&str]) -> Running<'_> {
        let mut all = vec!["up", "--free-ports"];
        all.extend(args);
        let running = self.start(&all);
        running.wait_settled();
        running
    }

    /// Starts a command in the background; its output goes to `out` and `err` in the folder.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, args: &[&str]) -> Running<'_> {
        self.start_command(self.command(args))
    }

    /// The same for a command that the caller has changed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_command(&self, mut command: Command) -> Running<'_> {
        let output = |name| File::create(self.folder().join(name)).expect("an output file");
        let child = command
            .stdout(output("out"))
            .stderr(output("err"))
            .spawn()
            .expect("isa starts");
        Running { isa: self, child }
    }

    /// `isa status -o json`; an error where no platform runs.
    pub fn status(&self) -> Result<Value, String> {
        let finished = self.run(&["status", "-o", "json"]);
        match finished.code {
            Some(0) => serde_json::from_str(&finished.stdout).map_err(|e| e.to_string()),
            _ => Err(format!("{finished:?}")),
        }
    }

    /// What status says of one engine.
    pub fn engine(&self, kind: EngineKind) -> Result<Value, String> {
        let status = self.status()?;
        let engines = status["engines"].as_array().into_iter().flatten();
        let found = engines.into_iter().find(|e| e["name"] == kind.name());
        found.cloned().ok_or_else(|| format!("no {kind} in {status}"))
    }

    /// Waits until an engine has this status and returns what status says of it.
    pub fn wait_for(&self, kind: EngineKind, status: &str) -> Value {
        eventually(&format!("{kind} is {status}"), PATIENCE, || {
            let engine = self.engine(kind)?;
            if engine["status"] == status {
                Ok(engine)
            } else {
                Err(engine.to_string())
            }
        })
    }

    /// The processes that were started in the folder and still run: those in the background too, wherever they
    /// have their state.
    fn running(&self) -> Vec<i32> {
        let folder = self.folder().canonicalize().unwrap_or_default();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Addresses and credentials of the engines.
    ///
    /// # Panics
    /// When no platform has run here.
    pub fn endpoints(&self) -> Endpoints {
        let text = std::fs::read(self.state().join("endpoints.json")).expect("endpoints.json");
        serde_json::from_slice(&text).expect("endpoints.json is a list of endpoints")
    }
}

impl Drop for Isa {
    fn drop(&mut self) {
        // A test that fails after `isa up --detach` does not come to its `isa down`. No engine outlives its isa.
        for pid in self.running() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Not `eventually`: a panic on top of the test's own would abort.
        let gone = within(PATIENCE, || match self.running() {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        });
        if let Err(left) = gone {
            eprintln!("processes {left:?} of {} do not die", self.folder().display());
        }
    }
}

impl Finished {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(mut command: Command) -> Self {
        let output = command.output().expect("the command starts");
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Running<'_> {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until every engine and service is as far as it will come.
    pub fn wait_settled(&self) {
        eventually("every engine has settled", PATIENCE, || {
            let status = self
                .isa
                .status()
                .map_err(|e| format!("{e}, said {}", self.stderr()))?;
            let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
            let is = |part: &Value, states: &[&str]| states.iter().any(|state| part["status"] == *state);
            let ready: Vec<_> = list("engines")
                .into_iter()
                .filter(|engine| is(engine, &["Ready"]))
                .filter_map(|engine| EngineKind::from_str(engine["name"].as_str()?).ok())
                .collect();
            // A service whose engine does not come waits for ever.
            let may_come = |service: &Value| {
                let kind = service["name"]
                    .as_str()
                    .and_then(|name| ServiceKind::from_str(name).ok());
                kind.is_some_and(|kind| ready.contains(&kind.engine()))
            };
            let pending: Vec<_> = list("engines")
                .into_iter()
                .chain(list("services").into_iter().filter(may_come))
                .filter(|part| !is(part, &["Ready", "Failed", "Missing"]))
                .collect();
            if pending.is_empty() {
                Ok(())
            } else {
                Err(format!("{pending:?}"))
            }
        });
    }

    pub fn signal(&self, signal: Signal) {
        // One that has ended is no error: the caller waits for its end next.
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Waits for the end and returns the exit code; none where a signal ended it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> Option<i32> {
        eventually("isa ends", PATIENCE, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            Ok(None) => Err("it runs".to_owned()),
            Err(e) => Err(e.to_string()),
        })
    }

    /// Asks it to end, as Ctrl-C does, and waits.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.isa.folder().join("out")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.isa.folder().join("err")).unwrap_or_default()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // SIGKILL to isa is enough: no engine outlives it. An orderly end is what `stop` is for.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn nothing_outlives_the_folder() {
        let isa = Isa::new("sleep");
        let mut child = isa.command(&["600"]).spawn().expect("sleep starts");
        let folder = isa.folder().to_owned();
        drop(isa);
        let status = child.wait().expect("sleep has ended");
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        assert!(!folder.exists());
    }
}
