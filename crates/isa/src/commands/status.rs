//! `isa status`

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use chrono::Utc;
use comfy_table::{Cell, Color};
use isa_config::Config;
use isa_deploy::{Cluster, age};
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
    if options.at.kube {
        return on_kubernetes(options).await;
    }
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
        bail!(
            "no platform has run in {} yet; start one with `isa up`",
            state.root().display()
        );
    };
    for (kind, endpoint) in endpoints {
        for (name, value) in env::variables(kind, &endpoint) {
            say!("{}", env::export(&name, &value));
        }
    }
    for (kind, address) in state.services()? {
        let name = format!("{}_GRPC_ADDRESS", kind.name().to_uppercase());
        say!("{}", env::export(&name, &address.to_string()));
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
        services: Vec::new(),
    }
}

async fn on_kubernetes(options: &Status) -> anyhow::Result<ExitCode> {
    if options.output == StatusFormat::Env {
        bail!(
            "-o env is for the platform of this machine: in a cluster every engine has a Service of its own name"
        );
    }
    let cluster = Cluster::connect(options.at.context.as_deref()).await?;
    let namespace = &options.at.namespace;
    let systems = isa_deploy::status::status(&cluster, namespace).await?;
    let code = if systems.is_empty() {
        ExitCode::from(NOT_RUNNING)
    } else {
        ExitCode::SUCCESS
    };
    if options.output == StatusFormat::Json {
        output::print_json(&systems)?;
        return Ok(code);
    }
    if systems.is_empty() {
        say!(
            "nothing runs in {namespace} at {}; deploy with `isa deploy OVERLAY`",
            cluster.place().server
        );
        return Ok(code);
    }
    let mut table = output::table(&[
        "NAME", "LAYER", "KIND", "READY", "STATUS", "RESTARTS", "AGE", "IMAGE",
    ]);
    for system in &systems {
        let color = match (system.done, system.pods.iter().any(|p| p.stuck)) {
            (true, _) => Color::Green,
            (_, true) => Color::Red,
            _ => Color::Yellow,
        };
        table.add_row([
            Cell::new(&system.name),
            Cell::new(&system.layer),
            Cell::new(system.kind),
            Cell::new(format!("{}/{}", system.ready, system.wanted)),
            Cell::new(&system.status).fg(color),
            Cell::new(system.restarts),
            Cell::new(age(Duration::from_secs(system.age_seconds))),
            Cell::new(system.images.join(", ")),
        ]);
    }
    output::print(table);
    Ok(code)
}
