//! `isa exec`

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use isa_config::{Config, Endpoint, EngineKind};
use isa_platform::{
    StateDir,
    locate::{Located, locate, tool},
};

use super::{env, state_dir};
use crate::cli::Exec;

pub(super) fn run(config: &Config, options: &Exec) -> anyhow::Result<ExitCode> {
    let (state, kind) = (state_dir(config)?, options.engine);
    let endpoints = state.endpoints()?.unwrap_or_default();
    let Some(endpoint) = endpoints.get(&kind) else {
        bail!(
            "{kind} has not run in {}; start it with `isa up`",
            state.root().display()
        );
    };
    let Some((name, args)) = options.command.split_first() else {
        bail!("no command given")
    };
    let located = locate(config, kind);
    let own = match &located {
        Located::Program(program) if !name.to_string_lossy().contains('/') => {
            tool(program, &name.to_string_lossy())
        }
        _ => None,
    };
    let mut command = Command::new(own.as_ref().map_or(name.as_os_str(), |path| path.as_os_str()));
    if let Located::Program(program) = &located {
        command.envs(program.env.iter().map(|(k, v)| (k, v)));
    }
    command.envs(env::variables(kind, endpoint));
    address(&mut command, &state, kind, endpoint, name)?;
    command.args(args);
    // Replaces this process, so that signals, the terminal and the exit code are the command's own.
    let error = command.exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        bail!(
            "neither {kind} nor this machine has {}; {}",
            name.display(),
            hint(kind)
        );
    }
    Err(error).with_context(|| format!("cannot run {}", name.display()))
}

/// Tells the tools that read no address from the environment, in the way that each has. Passwords are never arguments.
fn address(
    command: &mut Command,
    state: &StateDir,
    kind: EngineKind,
    endpoint: &Endpoint,
    name: &OsStr,
) -> anyhow::Result<()> {
    let name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    let url = url::Url::parse(&endpoint.url).context("the endpoint's URL")?;
    let host = url.host_str().unwrap_or("127.0.0.1");
    let port = url.port().map(|p| p.to_string()).unwrap_or_default();
    match (kind, name.as_ref()) {
        (EngineKind::Redis, "redis-cli" | "valkey-cli" | "redis-benchmark" | "valkey-benchmark") => {
            command.args(["-h", host, "-p", &port]);
        }
        (EngineKind::Mosquitto, "mosquitto_pub" | "mosquitto_sub" | "mosquitto_rr") => {
            command.env(
                "XDG_CONFIG_HOME",
                isa_platform::mosquitto_clients(state, host, &port, endpoint)?,
            );
        }
        _ => {}
    }
    Ok(())
}

fn hint(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Redis => "Debian's package redis-tools has redis-cli",
        EngineKind::Postgres => "Debian's package postgresql-client has psql",
        EngineKind::Mosquitto => "Debian's package mosquitto-clients has mosquitto_pub and mosquitto_sub",
        _ => "install it, or use `isa status -o env` and a client library",
    }
}
