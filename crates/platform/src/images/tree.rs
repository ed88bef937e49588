//! The files of an image before they are packed.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Definition, Error, ISA,
    definition::{Files, User},
    error::io_error,
    libraries::Libraries,
};
use crate::{
    catalog::{Entry, catalog},
    install::installed,
    locate::library_path,
};

/// Changes whenever the same inputs are to give another image.
const FORMAT: u32 = 1;
/// The entry of the catalog with the shell and the small tools.
const BUSYBOX: &str = "busybox";
/// Names under which busybox is in an image; nothing that speaks to the network.
const SMALL_TOOLS: [&str; 34] = [
    "[", "cat", "chmod", "chown", "cp", "cut", "date", "df", "du", "echo", "env", "false", "find", "grep",
    "head", "id", "kill", "ln", "ls", "mkdir", "mv", "printf", "ps", "rm", "sed", "sh", "sleep", "sort",
    "tail", "test", "tr", "true", "wc", "xargs",
];

/// Something at one place of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Folder { mode: u32, uid: u64, gid: u64 },
    File { source: Content, mode: u32 },
    Link(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    At(PathBuf),
    Text(String),
}

/// Everything in an image, by its path without the leading slash; a folder sorts before what is in it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// What the definition says, from this machine.
    pub(super) fn of(definition: &Definition, cache_dir: &Path) -> Result<Self, Error> {
        let sources = Sources::find(definition, cache_dir)?;
        let mut tree = Self::default();
        let mut libraries = Libraries::default();
        // Of what is copied as a folder: programs in it find their libraries beside them.
        let roots: Vec<PathBuf> = sources
            .all
            .iter()
            .filter(|source| source.path.is_dir())
            .filter_map(|source| source.path.canonicalize().ok())
            .collect();
        let mut programs = Vec::new();
        for source in &sources.all {
            let env = source
                .entry
                .as_ref()
                .map_or_else(Vec::new, |(entry, root)| library_path(entry, root));
            let mut found = Vec::new();
            tree.copy(
                &source.path,
                &source.files.to,
                &source.files.skip,
                Path::new(""),
                &mut found,
            )?;
            programs.extend(found.into_iter().map(|program| (program, env.clone())));
        }
        let present = tree
            .nodes
            .keys()
            .filter_map(|path| path.file_name().map(OsStr::to_owned))
            .collect();
        for (program, env) in &programs {
            libraries.add(program, env, &roots, &present)?;
        }
        for (target, real) in libraries.found {
            tree.file(&target, Content::At(real), 0o755);
        }
        for path in &definition.machine {
            if !path.exists() {
                return Err(Error::Absent {
                    service: definition.service.clone(),
                    path: path.clone(),
                    hint: "on Debian, ca-certificates has the certificates and libc-bin the locale",
                });
            }
            tree.copy(path, path, &[], Path::new(""), &mut Vec::new())?;
        }
        if definition.shell {
            for name in SMALL_TOOLS {
                tree.put(&Path::new("/bin").join(name), Node::Link("busybox".into()));
            }
        }
        tree.system(definition);
        Ok(tree)
    }

    /// A file, or a folder with what is in it. Programs and libraries are added to `programs`.
    fn copy(
        &mut self,
        from: &Path,
        to: &Path,
        skip: &[PathBuf],
        inside: &Path,
        programs: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        if skip.iter().any(|path| path == inside) {
            return Ok(());
        }
        // The place itself may be a link of the machine; links inside a folder stay links.
        let top = inside.as_os_str().is_empty();
        let meta = if top {
            fs::metadata(from)
        } else {
            fs::symlink_metadata(from)
        };
        let meta = meta.map_err(io_error("read", from))?;
        if meta.is_symlink() {
            let target = fs::read_link(from).map_err(io_error("read", from))?;
            self.put(to, Node::Link(target));
        } else if meta.is_dir() {
            self.put(to, folder(0o755));
            let children = fs::read_dir(from).map_err(io_error("list", from))?;
            for child in children {
                let name = child.map_err(io_error("list", from))?.file_name();
                self.copy(
                    &from.join(&name),
                    &to.join(&name),
                    skip,
                    &inside.join(&name),
                    programs,
                )?;
            }
        } else {
            let executable = meta.permissions().mode() & 0o111 != 0;
            let library = from
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(".so"));
            if executable || library {
                programs.push(from.to_owned());
            }
            let mode = if executable { 0o755 } else { 0o644 };
            self.file(to, Content::At(from.to_owned()), mode);
        }
        Ok(())
    }

    /// What a program expects to find in any system.
    fn system(&mut self, definition: &Definition) {
        let User { uid, gid } = definition.user;
        let name = &definition.service;
        let group = match gid {
            0 => String::new(),
            gid => format!("{name}:x:{gid}:\n"),
        };
        let text = |text: String| Content::Text(text);
        self.file(
            Path::new("/etc/passwd"),
            text(format!(
                "root:x:0:0:root:/:/sbin/nologin\n{name}:x:{uid}:{gid}:{name}:/tmp:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
            )),
            0o644,
        );
        self.file(
            Path::new("/etc/group"),
            text(format!("root:x:0:\n{group}nogroup:x:65534:\n")),
            0o644,
        );
        // Without it, glibc asks DNS before /etc/hosts.
        self.file(
            Path::new("/etc/nsswitch.conf"),
            text("hosts: files dns\n".into()),
            0o644,
        );
        self.put(Path::new("/tmp"), folder(0o1777));
        if let Some(data) = &definition.data {
            self.put(
                data,
                Node::Folder {
                    mode: 0o755,
                    uid,
                    gid,
                },
            );
        }
    }

    fn file(&mut self, to: &Path, source: Content, mode: u32) {
        self.put(to, Node::File { source, mode });
    }

    /// Puts something at a place, with the folders above it.
    fn put(&mut self, to: &Path, node: Node) {
        let inside: PathBuf = to
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        for parent in inside.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            self.nodes
                .entry(parent.to_owned())
                .or_insert_with(|| folder(0o755));
        }
        if !inside.as_os_str().is_empty() {
            self.nodes.insert(inside, node);
        }
    }

    /// How many bytes its files have.
    pub(super) fn bytes(&self) -> u64 {
        let size = |node: &Node| match node {
            Node::File {
                source: Content::At(path),
                ..
            } => fs::metadata(path).map_or(0, |meta| meta.len()),
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// The files of this machine that are in it.
    fn sources(&self) -> impl Iterator<Item = &Path> {
        self.nodes.values().filter_map(|node| match node {
            Node::File {
                source: Content::At(path),
                ..
            } => Some(path.as_path()),
            _ => None,
        })
    }

    /// What says in a moment whether an image made of these inputs would be another one: every file by its size and
    /// the time of its last change.
    pub(super) fn inputs(&self, definition: &Definition) -> Inputs {
        Inputs {
            definition: fingerprint(definition),
            files: self
                .sources()
                .map(|path| (path.to_owned(), stamp(path).unwrap_or_default()))
                .collect(),
        }
    }
}

/// What an image was made of.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inputs {
    definition: String,
    files: BTreeMap<PathBuf, String>,
}

impl Inputs {
    /// Whether all that it was made of is still there and the same.
    pub(super) fn unchanged(&self, definition: &Definition, cache_dir: &Path) -> bool {
        // Folders of other versions, or another isa, are other paths.
        let Ok(sources) = Sources::find(definition, cache_dir) else {
            return false;
        };
        self.definition == fingerprint(definition)
            && sources
                .all
                .iter()
                .all(|source| self.files.keys().any(|file| file.starts_with(&source.path)))
            && self
                .files
                .iter()
                .all(|(path, known)| stamp(path).as_ref() == Some(known))
    }
}

fn fingerprint(definition: &Definition) -> String {
    let text = serde_json::to_string(&(FORMAT, definition)).unwrap_or_default();
    hex::encode(Sha256::digest(text))
}

fn stamp(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    Some(format!(
        "{} bytes, {}.{:09}",
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec()
    ))
}

fn folder(mode: u32) -> Node {
    Node::Folder { mode, uid: 0, gid: 0 }
}

/// Where the parts of an image are on this machine.
struct Sources {
    all: Vec<Source>,
}

struct Source {
    files: Files,
    path: PathBuf,
    entry: Option<(&'static Entry, PathBuf)>,
}

impl Sources {
    fn find(definition: &Definition, cache_dir: &Path) -> Result<Self, Error> {
        let busybox = definition.shell.then(|| Files {
            from: BUSYBOX.into(),
            path: "bin/busybox".into(),
            to: "/bin/busybox".into(),
            skip: Vec::new(),
        });
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for files in definition.files.iter().cloned().chain(busybox) {
            if files.from == ISA {
                let path = std::env::current_exe().map_err(io_error("find", Path::new(ISA)))?;
                all.push(Source {
                    files,
                    path,
                    entry: None,
                });
                continue;
            }
            let entry = catalog().get(&files.from);
            match entry.and_then(|entry| Some((entry, installed(cache_dir, entry)?))) {
                Some((entry, root)) => all.push(Source {
                    path: root.join(&files.path),
                    entry: Some((entry, root)),
                    files,
                }),
                None => missing.push(files.from),
            }
        }
        missing.dedup();
        if missing.is_empty() {
            return Ok(Self { all });
        }
        Err(Error::NotInstalled {
            service: definition.service.clone(),
            missing: missing.join(" "),
        })
    }
}
