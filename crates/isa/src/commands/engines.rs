//! `isa engines list|install`

use std::{collections::BTreeMap, process::ExitCode, sync::Mutex, time::Duration};

use comfy_table::{Cell, Color};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use isa_config::{Config, EngineKind};
use isa_platform::{
    Entry, catalog,
    install::{Event, EventKind, Unit, install, installed, plan},
    locate::{Located, locate},
};
use serde::Serialize;

use super::INTERRUPTED;
use crate::{
    cli::{Engines, Format},
    output::{self, fancy_stderr, paint_stderr, say, tell},
};

pub(super) async fn run(config: &Config, command: &Engines) -> anyhow::Result<ExitCode> {
    match command {
        Engines::List { output } => list(config, output.output),
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

fn list(config: &Config, format: Format) -> anyhow::Result<ExitCode> {
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

/// A bar for each install on a terminal, a line for each phase elsewhere.
struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            bars: Mutex::default(),
        }
    }

    fn show(&self, event: Event) {
        let Event { name, kind } = event;
        if fancy_stderr()
            && let Ok(mut bars) = self.bars.lock()
        {
            let bar = bars.entry(name.clone()).or_insert_with(|| self.new_bar(&name));
            move_bar(bar, &kind);
        }
        let line = match kind {
            EventKind::Started { .. } | EventKind::Advanced(_) => return,
            EventKind::Message(_) if fancy_stderr() => return,
            EventKind::Message(text) => format!("        {name}: {text}"),
            EventKind::Present => format!("{} {name}", paint_stderr(Color::Green, "present")),
            EventKind::Done { seconds } => format!(
                "{} {name} in {seconds:.1} s",
                paint_stderr(Color::Green, "ready  ")
            ),
            EventKind::Failed(why) => format!("{} {name}: {why}", paint_stderr(Color::Red, "failed ")),
        };
        self.all.suspend(|| tell!("{line}"));
    }

    fn new_bar(&self, name: &str) -> ProgressBar {
        let bar = self.all.add(ProgressBar::no_length());
        bar.set_prefix(name.to_owned());
        bar.set_style(style("{prefix:12} {spinner} {elapsed:>4} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

fn move_bar(bar: &ProgressBar, kind: &EventKind) {
    match kind {
        EventKind::Started {
            total: Some(total),
            unit,
        } => {
            bar.set_style(style(match unit {
                Unit::Bytes => "{prefix:12} {bar:30} {bytes:>10} of {total_bytes} {elapsed:>4} {msg}",
                Unit::Modules => "{prefix:12} {bar:30} {pos:>5} of {len} modules {elapsed:>4} {msg}",
                Unit::Packages => "{prefix:12} {bar:30} {pos:>5} of {len} packages {elapsed:>4} {msg}",
                Unit::Files => "{prefix:12} {bar:30} {pos:>5} of {len} files {elapsed:>4} {msg}",
            }));
            bar.set_position(0);
            bar.set_length(*total);
        }
        EventKind::Started { total: None, .. } => {
            bar.set_style(style("{prefix:12} {spinner} {elapsed:>4} {msg}"))
        }
        EventKind::Advanced(done) => bar.set_position(*done),
        EventKind::Message(text) => bar.set_message(text.clone()),
        EventKind::Present | EventKind::Done { .. } | EventKind::Failed(_) => bar.finish_and_clear(),
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are constants; a wrong one would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
