//! `isa engine`: one built-in engine as a server of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
};

use anyhow::{Context, bail};
use isa_config::Secret;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Engine;

pub(super) async fn run(command: Engine) -> anyhow::Result<ExitCode> {
    let Engine::Qdrant(options) = command;
    let api_key = match (&options.api_key_file, options.api_key) {
        (Some(path), _) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read the API key file {}", path.display()))?;
            if text.trim().is_empty() {
                bail!("the API key file {} is empty", path.display());
            }
            Some(Secret::new(text.trim()))
        }
        // An empty variable is no key, as for Qdrant itself.
        (None, key) => key.filter(|key| !key.expose().is_empty()),
    };
    if api_key.is_none() && !options.host.is_loopback() {
        bail!(
            "{} is not a loopback address, and there is no API key; give one with --api-key-file or QDRANT__SERVICE__API_KEY",
            options.host
        );
    }
    let listen = |port| {
        let address = SocketAddr::new(options.host, port);
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
    };
    let (rest, grpc) = (listen(options.http_port)?, listen(options.grpc_port)?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let server = isa_qdrant::Options {
        storage: options.storage,
        api_key,
        ..Default::default()
    };
    isa_qdrant::serve(server, rest, grpc, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
