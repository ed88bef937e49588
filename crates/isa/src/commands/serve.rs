//! `isa serve`

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, bail};
use isa_config::{Config, Endpoint, Endpoints, EngineKind, ServiceKind};
use isa_platform::ports;

use super::{INTERRUPTED, Own, signals, signals::Signals, state_dir};
use crate::{
    app::App,
    cli::{Global, Serve},
    output::{say, tell},
};

pub(super) async fn run(global: &Global, config: Config, options: &Serve) -> anyhow::Result<ExitCode> {
    let chosen = if options.services.is_empty() {
        config.services.clone().unwrap_or_default()
    } else {
        options.services.clone()
    };
    let services: BTreeSet<ServiceKind> = chosen.into_iter().collect();
    let services: Vec<_> = services.into_iter().collect();
    if services.is_empty() {
        bail!("the key \"services\" is empty: there is nothing to serve");
    }
    if let Some(kind) = services
        .iter()
        .find(|kind| !isa_services::AVAILABLE.contains(kind))
    {
        bail!(isa_services::StartError::NotBuilt(*kind));
    }
    let endpoints = endpoints(&config, &services)?;
    // Before anything is served, so that SIGTERM at any moment leads to an orderly end.
    let mut signals = Signals::new()?;
    let listeners = ports::listen(&config, &services)?;
    let global = global.clone();
    let read = move || super::load(&global, &Own::default());
    let mut app = App::start(read, listeners, &endpoints).await?;
    for (kind, address) in app.addresses() {
        say!("{kind:<10} {address}");
    }
    let name = loop {
        tokio::select! {
            name = signals.next() => match name {
                signals::HANG_UP => app.reload(),
                name => break name,
            },
            never = app.keep_current() => match never {},
        }
    };
    tell!("{name}: running calls may end (once more to cut them off)");
    tokio::select! {
        clean = app.drain() => Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        _ = signals.next() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Where the engines are: as configured, else those of the platform in this folder. DuckDB needs none: its files are in the
/// state folder.
fn endpoints(config: &Config, services: &[ServiceKind]) -> anyhow::Result<Endpoints> {
    let state = state_dir(config)?;
    let here = state.endpoints()?.unwrap_or_default();
    let mut endpoints = Endpoints::new();
    let find = |kind: EngineKind| {
        let configured = config.engine(kind).external();
        configured.or_else(|| here.get(&kind).cloned())
    };
    for service in services {
        for kind in service.also_uses() {
            endpoints.extend(find(*kind).map(|endpoint| (*kind, endpoint)));
        }
    }
    for kind in services.iter().map(|service| service.engine()) {
        let own = || match kind {
            EngineKind::Duckdb => Some(Endpoint::new(format!("file://{}", state.data(kind).display()))),
            _ => None,
        };
        let endpoint = find(kind).or_else(own).with_context(|| {
            format!(
                "engines.{kind}.url is not set, and no platform has run in {}; set it, or start one with `isa up`",
                state.root().display()
            )
        })?;
        endpoints.insert(kind, endpoint);
    }
    Ok(endpoints)
}
