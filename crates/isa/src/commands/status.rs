//! `isa status`

use std::process::ExitCode;

use chrono::Utc;
use isa_config::Config;
use isa_platform::{
    StateDir,
    control::{Client, Error},
    status::{EngineStatus, PlatformStatus, State},
};

use super::{NOT_RUNNING, env, state_dir};
use crate::{
    cli::{Status, StatusFormat},
    output::{self, say},
};

pub(super) async fn run(config: &Config, options: &Status) -> anyhow::Result<ExitCode> {
    let state = state_dir(config)?;
    if options.output == StatusFormat::Env {
        return variables(&state);
    }
    let (status, code) = match Client::new(state.clone()).status().await {
        Ok(status) => (status, ExitCode::SUCCESS),
        Err(Error::NotRunning(_)) => (stopped(config, &state), ExitCode::from(NOT_RUNNING)),
        Err(e) => return Err(e.into()),
    };
    if options.output == StatusFormat::Json {
        output::print_json(&status)?;
        return Ok(code);
    }
    if status.running {
        output::print_status(&status);
    } else {
        say!(
            "no platform runs in {}; start one with `isa up`",
            state.root().display()
        );
    }
    Ok(code)
}

/// The addresses that the last platform in this folder had; its credentials stay the same.
fn variables(state: &StateDir) -> anyhow::Result<ExitCode> {
    let Some(endpoints) = state.endpoints()? else {
        anyhow::bail!(
            "no platform has run in {} yet; start one with `isa up`",
            state.root().display()
        );
    };
    for (kind, endpoint) in endpoints {
        for (name, value) in env::variables(kind, &endpoint) {
            say!("{}", env::export(&name, &value));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stopped(config: &Config, state: &StateDir) -> PlatformStatus {
    let engines = isa_config::EngineKind::ALL
        .into_iter()
        .filter(|&kind| config.engine(kind).enabled);
    let engines = engines.map(|kind| EngineStatus {
        status: State::Stopped,
        since: Utc::now(),
        ..EngineStatus::new(kind, config.implementation(kind))
    });
    PlatformStatus {
        running: false,
        pid: None,
        state_dir: state.root().to_owned(),
        started_at: None,
        rss_bytes: None,
        first_ready_ms: None,
        all_ready_ms: None,
        engines: engines.collect(),
    }
}
