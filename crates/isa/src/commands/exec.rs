//! `isa exec`

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::Path,
    process::ExitCode,
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
    let mut command =
        std::process::Command::new(own.as_ref().map_or(name.as_os_str(), |path| path.as_os_str()));
    if let Located::Program(program) = &located {
        command.envs(program.env.iter().map(|(k, v)| (k, v)));
    }
    command.envs(env::variables(kind, endpoint));
    command.args(addressing(&state, kind, endpoint, name)?).args(args);
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

/// Arguments for the tools that read no address from the environment. Passwords are never among them.
fn addressing(
    state: &StateDir,
    kind: EngineKind,
    endpoint: &Endpoint,
    name: &OsStr,
) -> anyhow::Result<Vec<OsString>> {
    let name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    let url = url::Url::parse(&endpoint.url).context("the endpoint's URL")?;
    let host = url.host_str().unwrap_or("127.0.0.1").to_owned();
    let port = url.port().map(|p| p.to_string()).unwrap_or_default();
    Ok(match (kind, name.as_ref()) {
        (EngineKind::Redis, "redis-cli" | "valkey-cli" | "redis-benchmark" | "valkey-benchmark") => {
            vec!["-h".into(), host.into(), "-p".into(), port.into()]
        }
        (EngineKind::Mosquitto, "mosquitto_pub" | "mosquitto_sub" | "mosquitto_rr") => {
            let mut args: Vec<OsString> = vec!["-h".into(), host.into(), "-p".into(), port.into()];
            if let Some(options) = isa_platform::mosquitto_options(state, endpoint)? {
                args.extend(["-o".into(), options.into_os_string()]);
            }
            args
        }
        _ => Vec::new(),
    })
}

fn hint(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Redis => "Debian's package redis-tools has redis-cli",
        EngineKind::Postgres => "Debian's package postgresql-client has psql",
        EngineKind::Mosquitto => "Debian's package mosquitto-clients has mosquitto_pub and mosquitto_sub",
        _ => "install it, or use `isa status -o env` and a client library",
    }
}
