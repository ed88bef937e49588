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
    let written = if options.follow {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => Ok(()),
            followed = logs::follow(&path, options.lines, &mut out) => followed,
        }
    } else {
        logs::tail(&path, options.lines)
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))
    };
    match written {
        // The reader has seen enough, as `head` does.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        other => other.with_context(|| format!("cannot show {}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}
