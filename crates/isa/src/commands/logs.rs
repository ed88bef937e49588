//! `isa logs`

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use isa_config::{Config, EngineKind};
use isa_platform::logs;

use super::state_dir;
use crate::cli::Logs;

pub(super) async fn run(config: &Config, options: &Logs) -> anyhow::Result<ExitCode> {
    let state = state_dir(config)?;
    let path = match options.name.as_str() {
        "isa" => state.own_log(),
        name => state.log(
            name.parse::<EngineKind>()
                .context("`isa logs isa` shows isa's own log")?,
        ),
    };
    if !path.exists() && !options.follow {
        bail!(
            "{} has written no log in {}",
            options.name,
            state.root().display()
        );
    }
    let mut out = std::io::stdout();
    for line in logs::tail(&path, options.lines) {
        if writeln!(out, "{line}").is_err() {
            // The reader has seen enough, as `head` does.
            return Ok(ExitCode::SUCCESS);
        }
    }
    if options.follow {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            followed = logs::follow(&path, &mut out) => match followed {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
                other => other.with_context(|| format!("cannot read {}", path.display()))?,
            },
        }
    }
    Ok(ExitCode::SUCCESS)
}
