//! Serves a folder on 127.0.0.1: `serve STORAGE REST_PORT GRPC_PORT [MAX_OPEN_SHARDS]`, with the API key in
//! `QDRANT_API_KEY`. Port 0 picks a free one; the two that it listens on are printed. Stops on SIGTERM.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use isa_config::Secret;
use isa_qdrant::{Options, serve};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let mut next = |name: &str| args.next().with_context(|| format!("argument {name} is missing"));
    let storage = next("STORAGE")?.into();
    let listen = |port: String| -> anyhow::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).with_context(|| format!("port {port}"))
    };
    let (rest, grpc) = (listen(next("REST_PORT")?)?, listen(next("GRPC_PORT")?)?);
    let defaults = Options::default();
    let max_open_shards = args.next().map_or(Ok(defaults.max_open_shards), |n| n.parse())?;
    // A test program has no configuration file.
    #[allow(clippy::disallowed_methods)]
    let api_key = std::env::var("QDRANT_API_KEY").ok().map(Secret::new);
    let mut terminate = signal(SignalKind::terminate())?;
    println!("{} {}", rest.local_addr()?.port(), grpc.local_addr()?.port());
    let options = Options {
        storage,
        api_key,
        max_open_shards,
        ..defaults
    };
    serve(options, rest, grpc, async move {
        terminate.recv().await;
    })
    .await?;
    Ok(())
}
