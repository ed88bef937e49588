//! Measures the building blocks beside the engines' own clients: the same operation, in the same run, in rounds that
//! alternate, so that whatever else the machine does hits both alike.

mod cases;
mod measure;
mod platform;
mod process;
mod report;
mod soak;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use isa_config::ServiceKind;

use crate::{
    cases::Case,
    measure::{Round, Series, round},
    platform::Platform,
    process::Usage,
    report::{Line, Report},
    soak::soak,
};

/// Before the first round of each case: connections open, caches fill.
const WARM_UP: Duration = Duration::from_millis(300);

/// For how long the server is watched while nobody calls.
const IDLE: Duration = Duration::from_secs(3);

/// Boots a platform with the program `isa`, and measures its building blocks beside the engines' own clients.
#[derive(Debug, Parser)]
#[command(name = "isa-bench", max_term_width = 100)]
struct Options {
    /// The program isa
    #[arg(long, value_name = "FILE")]
    isa: PathBuf,
    /// Callers at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256], value_name = "COUNT")]
    callers: Vec<usize>,
    /// Length of a round, in seconds
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
    /// Rounds of each side; 0 measures no operation by itself
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,
    /// At the end, all operations at once for so long, to see whether memory grows
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Only these services
    #[arg(long, value_delimiter = ',', value_name = "SERVICE")]
    only: Vec<ServiceKind>,
    /// Only cases whose name contains this
    #[arg(long, default_value = "", value_name = "TEXT")]
    case: String,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the table, such as docs/benchmarks.md
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(!options.callers.contains(&0), "--callers: there must be one");
    ensure!(
        options.seconds > 0.0,
        "--seconds: nothing can be measured in no time"
    );
    ensure!(options.soak != Some(0), "--soak: nothing grows in no time");
    ensure!(options.rounds > 0 || options.soak.is_some(), "nothing to measure");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from))
        .enable_all()
        .build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let kinds: Vec<ServiceKind> = cases::SERVICES
        .into_iter()
        .filter(|kind| options.only.is_empty() || options.only.contains(kind))
        .collect();
    if kinds.is_empty() {
        bail!("--only: none of these is measured");
    }
    let program = options
        .isa
        .canonicalize()
        .with_context(|| format!("--isa {}", options.isa.display()))?;
    let platform = Platform::boot(&program, &kinds)?;
    let pid = platform.pid();

    let before = Usage::of(pid)?;
    tokio::time::sleep(IDLE).await;
    let idle = Usage::of(pid)?.cpu_since(&before).as_secs_f64() / IDLE.as_secs_f64();

    let (mut lines, mut measured) = (Vec::new(), Vec::new());
    for kind in kinds {
        let all = cases::of(kind, &platform)
            .await
            .with_context(|| kind.to_string())?;
        for case in all.into_iter().filter(|case| case.name.contains(&options.case)) {
            let callers = if options.rounds > 0 {
                case.callers(&options.callers)
            } else {
                Vec::new()
            };
            for callers in callers {
                let line = measure(&case, callers, options, pid, idle).await?;
                eprintln!("{}", line.brief());
                lines.push(line);
            }
            measured.push(case);
        }
    }
    let rss_loaded_mib = Usage::of(pid)?.rss_mib;
    let soak = match options.soak {
        Some(seconds) => Some(soak(&measured, Duration::from_secs(seconds), pid).await?),
        None => None,
    };
    let report = Report {
        isa: platform.version().to_owned(),
        // Both are built by one command.
        optimized: !cfg!(debug_assertions),
        machine: process::machine(),
        command: command(),
        idle_cpu_percent: idle * 100.0,
        services: platform.services(),
        rss_idle_mib: before.rss_mib,
        own_idle_mib: before.own_mib,
        rss_loaded_mib,
        soak,
        lines,
    };
    let table = report.markdown();
    println!("{table}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &options.write {
        std::fs::write(path, table).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What was called, without the folders of this machine.
fn command() -> String {
    let short = |word: String| match Path::new(&word) {
        path if path.is_absolute() => path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        _ => word,
    };
    std::env::args().map(short).collect::<Vec<_>>().join(" ")
}

/// Rounds of the engine's own client and of the service, in turn.
async fn measure(
    case: &Case,
    callers: usize,
    options: &Options,
    pid: u32,
    idle: f64,
) -> anyhow::Result<Line> {
    let time = Duration::from_secs_f64(options.seconds);
    for side in [&case.native, &case.service] {
        round(side, callers, WARM_UP)
            .await
            .with_context(|| case.name.clone())?;
    }
    let (mut native, mut service) = (Series::default(), Series::default());
    let rss_before = Usage::of(pid)?.rss_mib;
    let mut cpu = 0.0;
    for _ in 0..options.rounds {
        native.add(checked(case, round(&case.native, callers, time).await)?);
        let before = Usage::of(pid)?;
        let done = checked(case, round(&case.service, callers, time).await)?;
        let used = Usage::of(pid)?.cpu_since(&before).as_secs_f64();
        cpu += (used - idle * done.elapsed.as_secs_f64()).max(0.0);
        service.add(done);
    }
    Ok(Line {
        kind: case.kind.to_string(),
        case: case.name.clone(),
        callers,
        rss_before_mib: rss_before,
        rss_after_mib: Usage::of(pid)?.rss_mib,
        cpu_us_per_call: cpu * 1e6 / service.calls.max(1) as f64,
        budget_us: case.budget_us,
        client: native.figures(),
        service: service.figures(),
    })
}

fn checked(case: &Case, round: anyhow::Result<Round>) -> anyhow::Result<Round> {
    let round = round.with_context(|| case.name.clone())?;
    ensure!(
        round.calls > 0,
        "{}: no call ended in a round: --seconds is too short",
        case.name
    );
    Ok(round)
}
