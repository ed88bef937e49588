//! `isa engines list|install`

use std::{collections::BTreeMap, process::ExitCode};

use comfy_table::{Cell, Color};
use isa_config::{Config, EngineKind};
use isa_platform::{
    Entry, catalog,
    install::{Event, install, installed, plan},
    locate::{Located, locate},
};
use serde::Serialize;

use super::{INTERRUPTED, bars::Bars};
use crate::{
    cli::{Engines, Format},
    output::{self, paint_stderr, say, tell},
};

pub(super) async fn run(config: &Config, command: &Engines) -> anyhow::Result<ExitCode> {
    match command {
        Engines::List { tools, output } => list(config, *tools, output.output),
        Engines::Install { names } => install_all(config, names).await,
    }
}

/// One implementation of an engine, for programs.
#[derive(Serialize)]
struct Row<'a> {
    engine: Option<EngineKind>,
    name: &'a str,
    version: &'a str,
    licence: &'a str,
    purpose: &'a str,
    /// Where `isa engines install` takes it from.
    from: &'a str,
    /// Whether it is in the cache, or needs no installation.
    installed: bool,
    /// Whether `isa up` would run this one.
    used: bool,
}

fn list(config: &Config, tools: bool, format: Format) -> anyhow::Result<ExitCode> {
    let used: BTreeMap<EngineKind, String> = EngineKind::ALL
        .into_iter()
        .filter_map(|kind| match locate(config, kind) {
            Located::Program(program) => Some((kind, program.implementation)),
            Located::BuiltIn { .. } => Some((kind, config.implementation(kind).to_owned())),
            Located::External(_) | Located::Missing { .. } => None,
        })
        .collect();
    let rows: Vec<_> = catalog()
        .entries()
        .iter()
        .filter(|entry| entry.tool == tools)
        .map(|entry| row(config, entry, &used))
        .collect();
    if format == Format::Json {
        output::print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["NAME", "VERSION", "LICENCE", "FROM", "INSTALLED", "PURPOSE"]);
    for row in &rows {
        let (state, color) = match (row.used, row.installed) {
            (true, _) => ("in use", Color::Green),
            (false, true) => ("yes", Color::Reset),
            (false, false) => ("no", Color::DarkGrey),
        };
        let name = match row.engine {
            Some(kind) if kind.name() != row.name => format!("{kind} ({})", row.name),
            _ => row.name.to_owned(),
        };
        let cells = [name.as_str(), row.version, row.licence, row.from].map(Cell::new);
        table.add_row(
            cells
                .into_iter()
                .chain([Cell::new(state).fg(color), Cell::new(row.purpose)]),
        );
    }
    output::print(table);
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(config: &Config, entry: &'a Entry, used: &BTreeMap<EngineKind, String>) -> Row<'a> {
    Row {
        engine: entry.engine,
        name: &entry.name,
        version: &entry.version,
        licence: &entry.licence,
        purpose: &entry.purpose,
        from: entry.source.describe(),
        installed: installed(&config.cache_dir, entry).is_some(),
        used: entry
            .engine
            .and_then(|kind| used.get(&kind))
            .is_some_and(|name| *name == entry.name),
    }
}

async fn install_all(config: &Config, names: &[String]) -> anyhow::Result<ExitCode> {
    let plan = plan(config, names)?;
    for (entry, how) in &plan.elsewhere {
        tell!(
            "{} {} is in none of the registries; {how}",
            paint_stderr(Color::Yellow, "not installed:"),
            entry.name
        );
    }
    // Asked for by name, it is a failure; as one of all that are missing, it is a remark.
    let unavailable = !names.is_empty() && !plan.elsewhere.is_empty();
    let bars = Bars::new();
    let report = |event: Event| bars.show(event);
    let failed = tokio::select! {
        failed = install(&config.cache_dir, &plan.install, &report) => failed,
        _ = tokio::signal::ctrl_c() => {
            tell!("interrupted; what was not finished is removed");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if plan.install.is_empty() && !unavailable {
        say!("nothing to install; `isa engines list` shows what there is");
    }
    Ok(if failed.is_empty() && !unavailable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
