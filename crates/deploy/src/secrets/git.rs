//! What git would do with a file that holds secrets.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Git {
    /// No repository, or one that ignores the file.
    Ignores,
    WouldAdd,
    Tracks,
}

pub(super) fn ask(path: &Path) -> Result<Git, Error> {
    let path = std::path::absolute(path).map_err(|e| Error::read(path, e))?;
    // The folder of secrets may not be there yet.
    let Some(folder) = path.ancestors().skip(1).find(|folder| folder.is_dir()) else {
        return Ok(Git::Ignores);
    };
    if !folder.ancestors().any(|folder| folder.join(".git").exists()) {
        return Ok(Git::Ignores);
    }
    // 1 is "no" for both; anything else means that git could not tell, and then no secret is written.
    match run(folder, &["ls-files", "--error-unmatch", "--"], &path)? {
        0 => return Ok(Git::Tracks),
        1 => {}
        _ => return Err(Error::GitCannotTell(path)),
    }
    match run(folder, &["check-ignore", "--quiet", "--"], &path)? {
        0 => Ok(Git::Ignores),
        1 => Ok(Git::WouldAdd),
        _ => Err(Error::GitCannotTell(path)),
    }
}

fn run(folder: &Path, args: &[&str], path: &Path) -> Result<i32, Error> {
    let mut git = Command::new("git");
    git.current_dir(folder).args(args).arg(path);
    // Set inside a hook, where they name the repository that the hook is of.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(name);
    }
    git.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = git.status().map_err(|_| Error::GitCannotTell(path.to_owned()))?;
    Ok(status.code().unwrap_or(-1))
}
