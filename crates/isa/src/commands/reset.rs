//! `isa reset` and `isa restart`

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use isa_config::{Config, EngineKind};
use isa_platform::{control::Client, status::State};

use super::{confirm, state_dir};
use crate::{
    cli::Reset,
    output::{self, say},
};

const ASK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn run(config: &Config, options: &Reset) -> anyhow::Result<ExitCode> {
    let (state, kind) = (state_dir(config)?, options.engine);
    confirm(
        &format!(
            "This deletes all data of {kind} in {}.",
            state.data(kind).display()
        ),
        options.yes,
    )?;
    if state.owner().is_none() {
        // Nobody may start a platform here while its data vanishes.
        state.create(config)?;
        let _lock = state.lock()?;
        state.wipe(kind)?;
        say!("{kind} is empty; it starts afresh with the next `isa up`");
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::new(state);
    client.reset(kind).await?;
    await_ready(&client, config, kind, "is empty and").await
}

pub(super) async fn restart(config: &Config, kind: EngineKind) -> anyhow::Result<ExitCode> {
    let client = Client::new(state_dir(config)?);
    client.restart(kind).await?;
    await_ready(&client, config, kind, "is").await
}

async fn await_ready(
    client: &Client,
    config: &Config,
    kind: EngineKind,
    how: &str,
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let deadline = started + Duration::from_secs(config.ready_timeout_seconds);
    loop {
        let status = client.status().await?;
        let Some(engine) = status.engines.into_iter().find(|e| e.name == kind) else {
            bail!("{kind} is not enabled in this platform");
        };
        match engine.status {
            State::Ready => {
                say!(
                    "{kind} {how} ready after {}",
                    output::seconds(started.elapsed().as_millis() as u64)
                );
                return Ok(ExitCode::SUCCESS);
            }
            State::Failed | State::Missing => bail!("{kind}: {}", engine.message.unwrap_or_default()),
            _ if Instant::now() >= deadline => {
                bail!(
                    "{kind} is not ready after {} s: {}",
                    config.ready_timeout_seconds,
                    engine.message.unwrap_or_default()
                );
            }
            _ => tokio::time::sleep(ASK_INTERVAL).await,
        }
    }
}
