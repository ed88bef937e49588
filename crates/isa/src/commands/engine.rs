//! `isa engine`: one built-in engine as a server of its own.

use std::{fs, net::TcpListener, process::ExitCode};

use anyhow::{Context, bail};
use isa_config::Secret;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Engine;

pub(super) async fn run(command: Engine) -> anyhow::Result<ExitCode> {
    let Engine::Qdrant {
        storage,
        rest,
        grpc,
        api_key_file,
    } = command;
    let api_key = match api_key_file {
        Some(path) => {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read the API key file {}", path.display()))?;
            if text.trim().is_empty() {
                bail!("the API key file {} is empty", path.display());
            }
            Some(Secret::new(text.trim()))
        }
        None => {
            if let Some(address) = [rest, grpc].into_iter().find(|a| !a.ip().is_loopback()) {
                bail!(
                    "{address} is not a loopback address, and there is no API key; give one with --api-key-file"
                );
            }
            None
        }
    };
    let listen = |address| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    let (rest, grpc) = (listen(rest)?, listen(grpc)?);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let options = isa_qdrant::Options {
        storage,
        api_key,
        ..Default::default()
    };
    isa_qdrant::serve(options, rest, grpc, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
