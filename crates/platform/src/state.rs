//! The state folder: everything a running platform leaves on disk, and the lock that makes one `isa up` its owner.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use isa_config::{Config, Endpoint, Endpoints, EngineKind, Secret, ServiceKind};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Serialize, de::DeserializeOwned};

use crate::{file_error::FileError, process::RunAs};

/// Length of a generated password: 32 characters of 62 are 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("another isa up (process {pid}) runs in {path}; `isa status` shows it, `isa down` stops it", path = path.display())]
    Locked { pid: u32, path: PathBuf },
    #[error("{path} is not readable as {what}: {source}; restore it, or start afresh with `isa down --purge`", path = path.display())]
    Corrupt {
        what: &'static str,
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("only {free_mb} MiB are free on the disk of {path}, and engines need {needed_mb} MiB; free some, or move the folder with --set state_dir=… (min_free_disk_mb sets the bound)", path = path.display())]
    DiskFull {
        path: PathBuf,
        free_mb: u64,
        needed_mb: u64,
    },
}

pub(crate) fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    FileError::new(what, path, "state_dir", source).into()
}

/// A user name and password that the platform made for an engine.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Credential {
    pub username: String,
    pub password: Secret,
}

/// Paths of the state folder. Cheap to clone; touches the disk only where a method says so.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// Held for as long as a platform runs in the folder; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl StateDir {
    /// The folder of this configuration, absolute.
    pub fn new(config: &Config) -> io::Result<Self> {
        Ok(Self {
            root: std::path::absolute(&config.state_dir)?,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn data(&self, kind: EngineKind) -> PathBuf {
        self.root.join("data").join(kind.name())
    }

    pub fn conf(&self, kind: EngineKind) -> PathBuf {
        self.root.join("conf").join(kind.name())
    }

    pub fn log(&self, kind: EngineKind) -> PathBuf {
        self.root.join("logs").join(format!("{kind}.log"))
    }

    /// The log of `isa up --detach` itself.
    pub fn own_log(&self) -> PathBuf {
        self.root.join("logs").join("isa.log")
    }

    pub fn pid_file(&self, kind: EngineKind) -> PathBuf {
        self.root.join("pids").join(format!("{kind}.pid"))
    }

    pub fn endpoints_file(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Makes the folders, private to the user. Root leaves them passable, because PostgreSQL runs as another
    /// user below them; what is secret in them is private file by file.
    pub fn create(&self, config: &Config) -> Result<(), Error> {
        let mode = if RunAs::needed() { 0o711 } else { 0o700 };
        for path in [
            self.root.clone(),
            self.root.join("data"),
            self.root.join("conf"),
            self.root.join("logs"),
            self.root.join("pids"),
        ] {
            let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
            made.map_err(|e| io_error("make the folder", &path, e))?;
        }
        fs::set_permissions(&self.root, fs::Permissions::from_mode(mode))
            .map_err(|e| io_error("set the permissions of", &self.root, e))?;
        let free_mb =
            free_mb(&self.root).map_err(|e| io_error("ask for the free space of", &self.root, e))?;
        if free_mb < config.min_free_disk_mb {
            return Err(Error::DiskFull {
                path: self.root.clone(),
                free_mb,
                needed_mb: config.min_free_disk_mb,
            });
        }
        Ok(())
    }

    /// Takes the folder's lock, or says which process has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.lock_file();
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(|e| io_error("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    pid: self.owner().unwrap_or(0),
                    path: self.root.clone(),
                });
            }
            Err(fs::TryLockError::Error(e)) => return Err(io_error("lock", &path, e)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|e| io_error("write", &path, e))?;
        Ok(Lock { _file: file })
    }

    /// The process that runs the platform in this folder, if one does.
    pub fn owner(&self) -> Option<u32> {
        let mut file = File::open(self.lock_file()).ok()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => {}
            _ => return None,
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// The credentials of each engine, made at the first call and kept: data directories remember them.
    pub fn credentials(&self) -> Result<BTreeMap<EngineKind, Credential>, Error> {
        let path = self.root.join("credentials.json");
        let mut all: BTreeMap<EngineKind, Credential> =
            read_json(&path, "the generated credentials")?.unwrap_or_default();
        let known = all.len();
        for kind in EngineKind::ALL {
            if let Some(username) = crate::engines::username(kind) {
                let password = || Secret::new(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH));
                all.entry(kind).or_insert_with(|| Credential {
                    username: username.to_owned(),
                    password: password(),
                });
            }
        }
        if all.len() != known {
            write_json(&path, &all)?;
        }
        Ok(all)
    }

    /// The endpoints of the platform that runs, or last ran, here.
    pub fn endpoints(&self) -> Result<Option<Endpoints>, Error> {
        read_json(&self.endpoints_file(), "the list of endpoints")
    }

    pub(crate) fn write_endpoints(&self, endpoints: &Endpoints) -> Result<(), Error> {
        write_json(&self.endpoints_file(), endpoints)
    }

    /// Where the building blocks of the platform that runs, or last ran, here listen: a file of
    /// `{"redis": "127.0.0.1:50055"}`.
    pub fn services_file(&self) -> PathBuf {
        self.root.join("services.json")
    }

    pub fn services(&self) -> Result<BTreeMap<ServiceKind, SocketAddr>, Error> {
        let services = read_json(&self.services_file(), "the list of services")?;
        Ok(services.unwrap_or_default())
    }

    pub(crate) fn write_services(&self, services: &BTreeMap<ServiceKind, SocketAddr>) -> Result<(), Error> {
        write_json(&self.services_file(), services)
    }

    /// The record of what callers of the building blocks changed.
    pub fn audit_log(&self) -> PathBuf {
        self.root.join("logs").join("audit.jsonl")
    }

    /// Keys that sign tokens.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Deletes the data and generated configuration of one engine; its credentials stay.
    pub fn wipe(&self, kind: EngineKind) -> Result<(), Error> {
        for path in [self.data(kind), self.conf(kind)] {
            // A relocated data folder (see `process::RunAs`) is a link: what it points to goes too.
            if let Ok(target) = fs::read_link(&path) {
                remove_tree(&target)?;
                fs::remove_file(&path).map_err(|e| io_error("delete", &path, e))?;
            } else {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Deletes the whole folder. The caller has made sure that nothing runs in it.
    pub fn purge(&self) -> Result<(), Error> {
        for kind in EngineKind::ALL {
            self.wipe(kind)?;
        }
        remove_tree(&self.root)
    }
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("delete", path, e)),
        _ => Ok(()),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| io_error("read", path, e))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Corrupt {
            what,
            path: path.to_owned(),
            source,
        })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    // Serializing our own plain types to memory cannot fail.
    let text = serde_json::to_vec_pretty(value).unwrap_or_default();
    write_private(path, &text, None)
}

/// Writes a file of mode 0600 so that a crash leaves the old text or the new one, and never a part.
pub(crate) fn write_private(path: &Path, text: &[u8], owner: Option<RunAs>) -> Result<(), Error> {
    let write = || {
        let staged = path.with_extension("tmp");
        let _ = fs::remove_file(&staged);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(text)?;
        if let Some(owner) = owner {
            std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(|e| io_error("write", path, e))
}

/// Makes a folder of mode 0700 that belongs to `owner`.
pub(crate) fn private_dir(path: &Path, owner: Option<RunAs>) -> Result<(), Error> {
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Some(owner) = owner {
            std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(())
    };
    make().map_err(|e| io_error("make the folder", path, e))
}

/// A folder to be `XDG_CONFIG_HOME` of `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`, which find address, user
/// name and password there: as arguments, the password would show in the process list.
pub fn mosquitto_clients(
    state: &StateDir,
    host: &str,
    port: &str,
    endpoint: &Endpoint,
) -> Result<PathBuf, Error> {
    let folder = state.conf(EngineKind::Mosquitto).join("clients");
    private_dir(&folder, None)?;
    let mut options = format!("-h {host}\n-p {port}\n");
    if let (Some(username), Some(password)) = (&endpoint.username, &endpoint.password) {
        options.push_str(&format!("-u {username}\n-P {}\n", password.expose()));
    }
    for tool in ["mosquitto_pub", "mosquitto_sub", "mosquitto_rr"] {
        write_private(&folder.join(tool), options.as_bytes(), None)?;
    }
    Ok(folder)
}

/// Space that this user can still fill on the disk of `path`, in MiB.
pub fn free_mb(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok(stat.blocks_available() * stat.fragment_size() / (1024 * 1024))
}
