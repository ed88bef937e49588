//! A Docker archive of one layer, written as a stream: the same inputs give the same bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Take, Write},
    path::Path,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{
    Definition, Error,
    error::io_error,
    tree::{Content, Node, Tree},
};

/// Tar files consist of blocks of this size.
const BLOCK: u64 = 512;
const LAYER: &str = "layer.tar";
const CONFIG: &str = "config.json";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Writes the image to the file and returns its id. `advanced` hears how many bytes of files are packed.
pub(super) fn write(
    definition: &Definition,
    tree: &Tree,
    path: &Path,
    out: &mut File,
    advanced: &mut dyn FnMut(u64),
) -> Result<String, Error> {
    let failed = io_error("write", path);
    // The size and the checksum of the layer are known after it: its header is written last.
    out.seek(SeekFrom::Start(BLOCK)).map_err(&failed)?;
    let (size, digest) = write_layer(tree, out, &failed, advanced)?;
    let config = config(definition, &digest).to_string();
    let manifest = json!([{
        "Config": CONFIG,
        "RepoTags": [format!("docker.io/library/{}", definition.reference())],
        "Layers": [LAYER],
    }]);
    let mut rest = || {
        out.rewind()?;
        let mut header = header(EntryType::Regular, 0o644, size);
        header.set_path(LAYER)?;
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        out.seek(SeekFrom::End(0))?;
        let mut tar = Builder::new(&mut *out);
        for (name, text) in [(CONFIG, &config), ("manifest.json", &manifest.to_string())] {
            let mut header = self::header(EntryType::Regular, 0o644, text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes())?;
        }
        tar.finish()
    };
    rest().map_err(&failed)?;
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(&config))))
}

/// Writes the layer, and zeros up to the next block. Returns its size and its checksum.
fn write_layer(
    tree: &Tree,
    out: &mut File,
    failed: &impl Fn(io::Error) -> Error,
    advanced: &mut dyn FnMut(u64),
) -> Result<(u64, String), Error> {
    let mut tar = Builder::new(Hashing {
        out: BufWriter::with_capacity(1 << 18, out),
        digest: Sha256::new(),
        size: 0,
    });
    let mut done = 0;
    for (path, node) in &tree.nodes {
        match node {
            Node::Folder { mode, uid, gid } => {
                let mut header = header(EntryType::Directory, *mode, 0);
                header.set_uid(*uid);
                header.set_gid(*gid);
                tar.append_data(&mut header, path, io::empty()).map_err(failed)?;
            }
            Node::Link(target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                tar.append_link(&mut header, path, target).map_err(failed)?;
            }
            Node::File {
                source: Content::Text(text),
                mode,
            } => {
                let mut header = header(EntryType::Regular, *mode, text.len() as u64);
                tar.append_data(&mut header, path, text.as_bytes())
                    .map_err(failed)?;
            }
            Node::File {
                source: Content::At(source),
                mode,
            } => {
                let file = File::open(source).map_err(io_error("open", source))?;
                let size = file.metadata().map_err(io_error("read", source))?.len();
                let mut header = header(EntryType::Regular, *mode, size);
                // A file that grows meanwhile must not spoil what follows; one that shrinks is an error below.
                let mut counted = Counted {
                    file: file.take(size),
                    done: &mut done,
                    advanced: &mut *advanced,
                };
                tar.append_data(&mut header, path, &mut counted).map_err(failed)?;
                if counted.file.limit() > 0 {
                    let changed = io::Error::other("it became shorter while it was packed; try again");
                    return Err(io_error("pack", source)(changed));
                }
            }
        }
    }
    let layer = tar.into_inner().map_err(failed)?;
    let Hashing {
        mut out,
        digest,
        size,
    } = layer;
    let padding = [0; BLOCK as usize];
    let missing = (BLOCK - size % BLOCK) % BLOCK;
    out.write_all(&padding[..missing as usize])
        .and_then(|()| out.flush())
        .map_err(failed)?;
    Ok((size, hex::encode(digest.finalize())))
}

/// Of root, and changed at the beginning of time.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn config(definition: &Definition, layer: &str) -> Value {
    let folders: Vec<_> = definition
        .path
        .iter()
        .map(|folder| folder.display().to_string())
        .chain([PATH.to_owned()])
        .collect();
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": format!("{}:{}", definition.user.uid, definition.user.gid),
            "Env": [format!("PATH={}", folders.join(":"))],
            "Entrypoint": definition.entrypoint,
            "WorkingDir": definition.data.as_deref().unwrap_or_else(|| Path::new("/")),
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "isa images build" }],
    })
}

/// Computes the checksum of what passes through it.
struct Hashing<W> {
    out: W,
    digest: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Says how much was read.
struct Counted<'a> {
    file: Take<File>,
    done: &'a mut u64,
    advanced: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        *self.done += read as u64;
        (self.advanced)(*self.done);
        Ok(read)
    }
}
