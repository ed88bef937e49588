//! Serves a folder: `serve STORAGE REST_PORT GRPC_PORT`, with the API key in `QDRANT_API_KEY`.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use isa_config::Secret;
use isa_qdrant::{Options, serve};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let mut next = |name: &str| args.next().with_context(|| format!("argument {name} is missing"));
    let storage = next("STORAGE")?.into();
    let rest: u16 = next("REST_PORT")?.parse()?;
    let grpc: u16 = next("GRPC_PORT")?.parse()?;
    let max_open_shards = args
        .next()
        .map_or(Ok(Options::default().max_open_shards), |n| n.parse())?;
    // A test program has no configuration file.
    #[allow(clippy::disallowed_methods)]
    let api_key = std::env::var("QDRANT_API_KEY").ok().map(Secret::new);
    let listen =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"));
    let options = Options {
        storage,
        api_key,
        max_open_shards,
        ..Options::default()
    };
    let mut terminate = signal(SignalKind::terminate())?;
    serve(options, listen(rest)?, listen(grpc)?, async move {
        terminate.recv().await;
    })
    .await?;
    Ok(())
}
