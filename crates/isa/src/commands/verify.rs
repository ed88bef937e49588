//! `isa verify`

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use comfy_table::Color;
use isa_checks::Report;
use isa_config::{Config, Endpoint, Endpoints, EngineConfig, EngineKind, ServiceKind};
use isa_deploy::Cluster;
use isa_platform::{control::Client, status::State};
use isa_server::connect::{Connector, Credentials, server_address};
use serde::Serialize;

use super::state_dir;
use crate::{
    cli::{Format, Verify},
    output::{self, paint, say},
};

/// What was found, for programs.
#[derive(Serialize)]
struct Findings<'a> {
    ok: bool,
    engines: &'a [Report],
    /// Building blocks: whether each answers, and its engine behind it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    services: &'a [ServiceReport],
    /// Engines that could not be checked because they cannot be had here, with the reason.
    skipped: &'a BTreeMap<EngineKind, String>,
    /// Engines that are there and not ready, with what they are doing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    down: &'a BTreeMap<EngineKind, String>,
}

/// What came of asking one building block for its health.
#[derive(Serialize)]
struct ServiceReport {
    service: ServiceKind,
    took_ms: f64,
    error: Option<String>,
}

pub(super) async fn run(config: &Config, options: &Verify) -> anyhow::Result<ExitCode> {
    if options.at.kube {
        return on_kubernetes(options).await;
    }
    let (mut endpoints, mut skipped, services) = if options.endpoints.is_some() || !options.url.is_empty() {
        (given(options)?, BTreeMap::new(), BTreeMap::new())
    } else {
        running(config).await?
    };
    if !options.only.is_empty() {
        for kind in &options.only {
            if !endpoints.contains_key(kind) && !skipped.contains_key(kind) {
                bail!("there is no endpoint for {kind}; start it with `isa up`, or give --url {kind}=…");
            }
        }
        endpoints.retain(|kind, _| options.only.contains(kind));
        skipped.retain(|kind, _| options.only.contains(kind));
    }
    if endpoints.is_empty() && skipped.is_empty() {
        bail!("there is nothing to verify: the list of endpoints is empty");
    }
    let people = people(options);
    let reports = isa_checks::verify(&endpoints, limit(options), |report| {
        if people {
            print(report);
        }
    })
    .await;
    let mut service_reports = Vec::new();
    for (kind, address) in services {
        if !options.only.is_empty() && !options.only.contains(&kind.engine()) {
            continue;
        }
        let report = ask(kind, address).await;
        if people {
            print_service(&report);
        }
        service_reports.push(report);
    }
    conclude(options, &reports, &service_reports, &skipped, &BTreeMap::new())
}

/// Asks a building block for its health, which it says of its engine too.
async fn ask(service: ServiceKind, address: SocketAddr) -> ServiceReport {
    let started = Instant::now();
    let asked = async {
        let server = server_address(&address.to_string(), service.name(), address.port())
            .map_err(|e| e.to_string())?;
        let nobody = tokio::sync::watch::channel(None).1;
        let connector = Connector::new(server, &Credentials::default(), nobody).map_err(|e| e.to_string())?;
        let checked = connector.check(service.grpc_service()).await;
        checked.map_err(|status| status.message().to_owned())
    };
    let error = asked.await.err();
    ServiceReport {
        service,
        took_ms: started.elapsed().as_secs_f64() * 1e3,
        error,
    }
}

/// The engines of a cluster, through port-forwards that end with the checks.
async fn on_kubernetes(options: &Verify) -> anyhow::Result<ExitCode> {
    if options.only.contains(&EngineKind::Duckdb) {
        bail!("DuckDB is no server in a cluster: it runs inside the services that use it");
    }
    let cluster = Cluster::connect(options.at.context.as_deref()).await?;
    let namespace = &options.at.namespace;
    let engines = isa_deploy::verify::engines(&cluster, namespace, &options.only).await?;
    if engines.endpoints.is_empty() && engines.down.is_empty() {
        bail!(
            "no engine runs in {namespace} at {}; deploy with `isa deploy OVERLAY`",
            cluster.place().server
        );
    }
    let people = people(options);
    let reports = engines
        .verify(limit(options), |report| {
            if people {
                print(report);
            }
        })
        .await;
    let services = isa_deploy::verify::services(&cluster, namespace, &options.only).await?;
    let mut service_reports = Vec::new();
    for (kind, why) in &services.down {
        service_reports.push(ServiceReport {
            service: *kind,
            took_ms: 0.0,
            error: Some(why.clone()),
        });
    }
    for (kind, port) in &services.ports {
        service_reports.push(ask(*kind, SocketAddr::from(([127, 0, 0, 1], *port))).await);
    }
    if people {
        service_reports.iter().for_each(print_service);
    }
    conclude(
        options,
        &reports,
        &service_reports,
        &engines.absent,
        &engines.down,
    )
}

fn people(options: &Verify) -> bool {
    options.output.output == Format::Table
}

fn limit(options: &Verify) -> Duration {
    Duration::from_secs(options.timeout)
}

/// Prints what was not checked and the sum of it all, and says how the command ends.
fn conclude(
    options: &Verify,
    reports: &[Report],
    services: &[ServiceReport],
    skipped: &BTreeMap<EngineKind, String>,
    down: &BTreeMap<EngineKind, String>,
) -> anyhow::Result<ExitCode> {
    let passed =
        reports.iter().filter(|r| r.ok()).count() + services.iter().filter(|s| s.error.is_none()).count();
    let failed = reports.len() + services.len() + down.len() - passed;
    if people(options) {
        for (kind, why) in down {
            say!(
                "{} {kind:<10} {why}; `isa diagnose` says why",
                paint(Color::Red, "✗")
            );
        }
        for (kind, why) in skipped {
            say!("{} {kind:<10} not run: {why}", paint(Color::Yellow, "-"));
        }
        let skipped = if skipped.is_empty() {
            String::new()
        } else {
            format!(", {} not run", skipped.len())
        };
        say!("\n{passed} passed, {failed} failed{skipped}");
    } else {
        output::print_json(&Findings {
            ok: failed == 0,
            engines: reports,
            services,
            skipped,
            down,
        })?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn mark(ok: bool) -> String {
    if ok {
        paint(Color::Green, "✓")
    } else {
        paint(Color::Red, "✗")
    }
}

fn print_service(report: &ServiceReport) {
    let ok = mark(report.error.is_none());
    let name = format!("{}-grpc", report.service);
    say!("{ok} {name:<13} {:>7.1} ms", report.took_ms);
    if let Some(error) = &report.error {
        say!("      {}", paint(Color::Red, error));
    }
}

fn print(report: &Report) {
    let time = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1e3);
    say!(
        "{} {:<10} {:>10}",
        mark(report.ok()),
        report.engine,
        time(report.took)
    );
    for step in &report.steps {
        let mark = mark(step.error.is_none());
        say!("    {mark} {:<58} {:>10}", step.name, time(step.took));
        if let Some(error) = &step.error {
            say!("      {}", paint(Color::Red, error));
        }
    }
}

/// What a platform has: endpoints of its engines, the engines that it does not have, and its building blocks.
type Running = (
    Endpoints,
    BTreeMap<EngineKind, String>,
    BTreeMap<ServiceKind, SocketAddr>,
);

/// The platform in the state folder.
async fn running(config: &Config) -> anyhow::Result<Running> {
    let state = state_dir(config)?;
    let endpoints = state.endpoints()?;
    let endpoints = endpoints.with_context(|| {
        format!(
            "no platform has run in {} yet; start one with `isa up`, or give --endpoints or --url",
            state.root().display()
        )
    })?;
    let services = state.services()?;
    let status = Client::new(state).status().await?;
    let missing = status.engines.into_iter().filter(|e| e.status == State::Missing);
    Ok((
        endpoints,
        missing.map(|e| (e.name, e.message.unwrap_or_default())).collect(),
        services,
    ))
}

/// The endpoints that the command line names: a file, and single addresses that beat it.
fn given(options: &Verify) -> anyhow::Result<Endpoints> {
    let mut endpoints = match &options.endpoints {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("{} is not a list of endpoints", path.display()))?
        }
        None => Endpoints::new(),
    };
    for (place, address) in &options.url {
        let (engine, name) = place
            .split_once('.')
            .map_or((place.as_str(), None), |(e, n)| (e, Some(n)));
        let kind: EngineKind = engine.parse().context("--url")?;
        let url = address
            .parse()
            .with_context(|| format!("--url {place}: not a URL"))?;
        let given = EngineConfig {
            url: Some(url),
            ..Default::default()
        }
        .external();
        let given = given.unwrap_or_else(|| Endpoint::new(address));
        match name {
            Some(name) => {
                let endpoint = endpoints.get_mut(&kind);
                let endpoint =
                    endpoint.with_context(|| format!("--url {place}: give --url {kind}=… before it"))?;
                endpoint.urls.insert(name.to_owned(), given.url);
            }
            None => {
                let urls = endpoints.remove(&kind).map(|e| e.urls).unwrap_or_default();
                endpoints.insert(kind, Endpoint { urls, ..given });
            }
        }
    }
    Ok(endpoints)
}
