//! Starting a process that cannot outlive this one.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use nix::{
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill, killpg},
    },
    unistd::{self, Pid, User},
};
use tokio::{process::Child, sync::oneshot};

/// Variables of our environment that an engine may see; nothing else of it reaches one.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ"];

/// The user that an engine which refuses to be root runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunAs {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl RunAs {
    /// Whether this process is root.
    pub(crate) fn needed() -> bool {
        unistd::geteuid().is_root()
    }

    /// The unprivileged user to drop to when root: `postgres` where the machine has it, otherwise `nobody`.
    /// It must have a name, because `initdb` looks it up.
    pub(crate) fn unprivileged() -> Option<Self> {
        let find = |name| User::from_name(name).ok().flatten();
        let user = find("postgres").or_else(|| find("nobody"))?;
        Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    /// The first folder on the way to `path` that this user may not pass, if there is one.
    pub(crate) fn blocked_at(self, path: &Path) -> Option<PathBuf> {
        let passable = |folder: &Path| {
            let Ok(meta) = fs::metadata(folder) else {
                return true;
            };
            let bit = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            meta.mode() & bit != 0
        };
        path.ancestors()
            .skip(1)
            .filter(|p| !p.as_os_str().is_empty())
            .find(|p| !passable(p))
            .map(Path::to_owned)
    }
}

/// What to start, and how.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Added to the few inherited variables.
    pub(crate) env: Vec<(String, OsString)>,
    pub(crate) cwd: PathBuf,
    /// Standard output and error go to the end of this file.
    pub(crate) log: PathBuf,
    /// File to read as standard input; nothing without it.
    pub(crate) stdin: Option<PathBuf>,
    pub(crate) run_as: Option<RunAs>,
}

impl Launch {
    fn command(&self) -> io::Result<std::process::Command> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.log)?;
        let mut command = std::process::Command::new(&self.program);
        let stdin = match &self.stdin {
            Some(path) => fs::File::open(path)?.into(),
            None => std::process::Stdio::null(),
        };
        command.args(&self.args).current_dir(&self.cwd).stdin(stdin);
        command.stdout(log.try_clone()?).stderr(log).env_clear();
        command.envs(
            INHERITED
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        // A group of its own: Ctrl-C in the terminal reaches us alone, and we stop engines in order.
        command.process_group(0);
        if let Some(user) = self.run_as {
            command.uid(user.uid).gid(user.gid);
        }
        die_with_parent(&mut command);
        Ok(command)
    }
}

/// Makes the kernel kill the child when the thread that starts it ends; `Spawner` is that thread.
pub(crate) fn die_with_parent(command: &mut std::process::Command) {
    let parent = unistd::getpid();
    let arm = move || {
        // After the change of user, which would clear it again.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if unistd::getppid() != parent {
            return Err(io::Error::other("isa ended while the engine was starting"));
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and makes two system calls that are async-signal-safe; it
    // allocates only in the branch that ends the child. No safe API of the standard library or of a crate sets
    // the parent-death signal.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(arm);
    }
}

type Job = (Launch, oneshot::Sender<io::Result<Child>>);

/// Starts processes from one thread that lives as long as this process: the parent-death signal follows the
/// death of the *thread* that forked, and the runtime's threads come and go.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Must be called inside a Tokio runtime, which then watches the children.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let runtime = tokio::runtime::Handle::current();
        thread::Builder::new().name("spawner".into()).spawn(move || {
            let _inside = runtime.enter();
            for (launch, reply) in queue {
                let child = launch
                    .command()
                    .and_then(|c| tokio::process::Command::from(c).kill_on_drop(true).spawn());
                let _ = reply.send(child);
            }
        })?;
        Ok(Self { jobs })
    }

    pub(crate) async fn spawn(&self, launch: Launch) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spawner thread is gone");
        self.jobs.send((launch, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Sends a signal to a child; one that is already gone is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Kills a child and whatever it started in its process group.
pub(crate) fn kill_group(pid: u32) {
    let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// Lets this process and the engines that inherit from it open as many files as the system allows.
pub(crate) fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(e) = raised {
        // Engines run with fewer; `isa doctor` says what is wanted.
        tracing::warn!(error = %e, "cannot raise the limit of open files");
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = procfs::process::Process::new(pid.cast_signed())
        .ok()?
        .status()
        .ok()?;
    Some(status.vmrss? * 1024)
}
