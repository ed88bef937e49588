//! `isa keys`

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use isa_config::Config;
use isa_server::KeyRing;
use serde_json::json;

use super::state_dir;
use crate::{
    cli::{Format, Keys},
    output::{self, say, tell},
};

pub(super) fn run(config: &Config, command: &Keys) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Rotate { keys, keep } => {
            let folder = folder(config, keys.as_ref())?;
            let kid = isa_server::rotate_keys(&folder, *keep)?;
            say!("{kid}");
            tell!(
                "signs from now on; servers that read {} take it by themselves",
                folder.display()
            );
        }
        Keys::List { keys, output } => {
            let ring = KeyRing::read(&folder(config, keys.as_ref())?)?;
            if output.output == Format::Json {
                output::print_json(&json!({ "keys": ring.ids().collect::<Vec<_>>() }))?;
            } else {
                ring.ids().for_each(|kid| say!("{kid}"));
            }
        }
        Keys::Publish { to, keys } => {
            let pems = KeyRing::public_pems(&folder(config, keys.as_ref())?)?;
            fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
            for (kid, pem) in pems {
                let path = to.join(format!("{kid}.pem"));
                fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))?;
                say!("{}", path.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of keys that is meant.
pub(super) fn folder(config: &Config, given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let configured = given.or(config.server.auth.keys_dir.as_ref());
    match configured {
        Some(folder) => Ok(folder.clone()),
        None => Ok(state_dir(config)?.keys()),
    }
}
