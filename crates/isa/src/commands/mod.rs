//! One file for each command.

mod bars;
mod config;
mod connect;
mod deploy;
mod diagnose;
mod doctor;
mod down;
mod engine;
mod engines;
mod env;
mod exec;
mod images;
mod keys;
mod logs;
mod progress;
mod reset;
mod resources;
mod rollout;
mod secrets;
mod serve;
mod signals;
mod status;
mod teardown;
mod token;
mod up;
mod verify;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::CommandFactory;
use isa_config::{Config, Overrides};
use isa_deploy::Overlay;
use isa_platform::{StateDir, locate::locate_tool};

use crate::{
    cli::{Cli, Command, Global},
    output::tell,
};

/// `isa status` when no platform runs, as in `systemctl status`.
const NOT_RUNNING: u8 = 3;
/// `isa deploy` when the time is up before everything is ready.
const NOT_READY: u8 = 4;
/// Ended by Ctrl-C before the work was done.
const INTERRUPTED: u8 = 130;

pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "isa", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Config(command) => return config::run(&global, &command),
        _ => {}
    }
    let own = match &command {
        Command::Up(up) => up::own(up)?,
        _ => Own::default(),
    };
    let config = load(&global, &own)?;
    crate::log::start(&config)?;
    let outcome = match command {
        Command::Up(up) => up::run(&global, own, config, &up).await,
        Command::Serve(options) => serve::run(&global, config, &options).await,
        Command::Connect(options) => connect::run(config, &options).await,
        Command::Token(command) => token::run(&config, &command),
        Command::Keys(command) => keys::run(&config, &command),
        Command::Down(down) => down::run(&config, &down).await,
        Command::Status(options) => status::run(&config, &options).await,
        Command::Logs(options) => logs::run(&config, &options).await,
        Command::Restart { engine } => reset::restart(&config, engine).await,
        Command::Reset(options) => reset::run(&config, &options).await,
        Command::Exec(options) => exec::run(&config, &options),
        Command::Doctor { output } => doctor::run(&config, &output),
        Command::Verify(options) => verify::run(&config, &options).await,
        Command::Engines(command) => engines::run(&config, &command).await,
        Command::Images(command) => images::run(&config, &command).await,
        Command::Deploy(options) => deploy::run(&config, &options).await,
        Command::Diagnose { kube, output } => diagnose::run(&kube, &output).await,
        Command::Resources(options) => resources::run(&config, &options).await,
        Command::Secrets(command) => secrets::run(&config, &command).await,
        Command::Teardown(options) => teardown::run(&config, &options).await,
        Command::Engine(command) => engine::run(command).await,
        Command::Completions { .. } | Command::Config(_) => Ok(ExitCode::SUCCESS), // answered above
    };
    crate::log::finish().await;
    outcome
}

/// What a command has settings of its own for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own {
    /// Beaten by the file and the environment.
    defaults: Vec<(String, String)>,
    /// Its flags, which beat `--set`.
    flags: Vec<(String, String)>,
}

pub(crate) fn load(global: &Global, own: &Own) -> anyhow::Result<Config> {
    let set = global.set.iter().chain(&own.flags).cloned().collect();
    let mut config = isa_config::load(&Overrides {
        file: global.config.clone(),
        defaults: own.defaults.clone(),
        set,
    })?;
    config
        .services
        .get_or_insert_with(|| isa_services::AVAILABLE.to_vec());
    Ok(config)
}

fn state_dir(config: &Config) -> anyhow::Result<StateDir> {
    StateDir::new(config).context("cannot find the folder that isa was started in")
}

/// The overlay that is meant, looked for from the working folder upwards.
fn overlay(name: &str) -> anyhow::Result<Overlay> {
    let here = std::env::current_dir().context("cannot find the folder that isa was started in")?;
    Ok(Overlay::find(name, &here)?)
}

/// The program that renders overlays.
fn kubectl(config: &Config) -> anyhow::Result<PathBuf> {
    locate_tool(config, "kubectl")
        .context("kubectl is neither on PATH nor installed; install it with `isa engines install kubectl`")
}

/// Asks before something is lost. Without a terminal there is nobody to ask: then `--yes` is needed.
fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nobody can be asked here; say --yes to do it");
    }
    tell!("{question} [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was deleted");
    }
    Ok(())
}
