//! `isa down`

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use isa_config::Config;
use isa_platform::wait_until_free;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{confirm, state_dir};
use crate::cli::Down;
use crate::output::{say, tell};

/// Beyond the engines' own limit: `isa` itself ends in this time.
const MARGIN: Duration = Duration::from_secs(10);

pub(super) async fn run(config: &Config, options: &Down) -> anyhow::Result<ExitCode> {
    let state = state_dir(config)?;
    if options.purge {
        confirm(
            &format!(
                "This deletes {} with all data, logs and credentials.",
                state.root().display()
            ),
            options.yes,
        )?;
    }
    match state.owner() {
        Some(pid) => {
            let process = Pid::from_raw(pid.cast_signed());
            kill(process, Signal::SIGTERM)
                .with_context(|| format!("cannot stop process {pid}; is it another user's?"))?;
            let limit = Duration::from_secs(config.stop_timeout_seconds) + MARGIN;
            if !wait_until_free(&state, limit).await {
                tell!("process {pid} does not stop; killing it and its engines");
                kill(process, Signal::SIGKILL).with_context(|| format!("cannot kill process {pid}"))?;
                if !wait_until_free(&state, MARGIN).await {
                    bail!("process {pid} cannot be killed; it hangs in the kernel");
                }
            }
            say!("stopped");
        }
        None => say!("no platform runs in {}", state.root().display()),
    }
    if options.purge {
        state.purge()?;
        say!("deleted {}", state.root().display());
    }
    Ok(ExitCode::SUCCESS)
}
