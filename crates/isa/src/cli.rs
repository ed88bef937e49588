//! The command line. Doc comments here are the manual that `--help` prints.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use isa_config::EngineKind;

/// The best self-hosted backend for application and AI teams, in one program.
///
/// `isa up` runs every engine of the platform on this machine: Consul, Redis, MinIO, NATS JetStream, Mosquitto,
/// PostgreSQL, Qdrant, Neo4j, Loki, Grafana and DuckDB. No Docker, no account, nothing outside a state folder.
#[derive(Debug, Parser)]
#[command(name = "isa", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  isa engines install            install what this machine does not have
  isa up                         run the platform; Ctrl-C stops it
  isa up --detach                the same in the background; `isa down` stops it
  isa status                     what runs, where, and which version
  eval \"$(isa status -o env)\"    addresses and credentials as variables of this shell
  isa exec postgres -- psql      a shell in an engine
  isa verify                     a real round trip through every engine

Configuration, weakest first: defaults, isa.toml, ISA_A__B variables, flags. `isa config dump` prints the result.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the platform does not run (status), 130 interrupted.";

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file instead of isa.toml in this folder
    #[arg(long, global = true, value_name = "FILE", env = "ISA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key of the configuration, as in `--set state_dir=/tmp/isa` (repeatable)
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform on this machine
    ///
    /// Starts every engine in parallel, waits for each with a real request, keeps them running, and stops them in
    /// order at Ctrl-C or SIGTERM. No engine outlives isa, however it ends.
    Up(Up),
    /// Stop the platform
    Down(Down),
    /// Show what runs
    Status(Status),
    /// Print the log of an engine, or of isa itself after `isa up --detach`
    Logs(Logs),
    /// Stop one engine and start it again
    Restart {
        /// Name of the engine
        engine: EngineKind,
    },
    /// Delete the data of one engine; it starts empty
    Reset(Reset),
    /// Run a command with an engine's addresses and credentials in its environment
    ///
    /// Finds the engine's own tools (psql, redis-cli, mosquitto_sub, ...) where the engine or the machine has them.
    #[command(
        after_help = "Examples:\n  isa exec postgres -- psql -c 'select version()'\n  isa exec redis -- redis-cli info server"
    )]
    Exec(Exec),
    /// Look for what could keep the platform from running: ports, disk, versions, clock, limits, stale state
    Doctor {
        #[command(flatten)]
        output: Output,
    },
    /// Check every engine with a real round trip through its own protocol
    Verify(Verify),
    /// List and install engines
    #[command(subcommand)]
    Engines(Engines),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  isa completions bash > /etc/bash_completion.d/isa")]
    Completions { shell: Shell },
    /// Run one built-in engine as a server of its own
    #[command(subcommand)]
    Engine(Engine),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Go to the background once everything is ready
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Start only these engines
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    pub(crate) only: Vec<EngineKind>,
    /// Do not start these engines
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    pub(crate) without: Vec<EngineKind>,
    /// Choose an implementation: minio=seaweedfs, redis=valkey, qdrant=qdrant (repeatable)
    #[arg(long, value_name = "ENGINE=IMPLEMENTATION", value_parser = key_value)]
    pub(crate) engine: Vec<(String, String)>,
    /// Move a port: redis=6380 or minio.console=9101; 0 picks a free one (repeatable)
    #[arg(long, value_name = "ENGINE[.PORT]=NUMBER", value_parser = key_value)]
    pub(crate) port: Vec<(String, String)>,
    /// Pick a free port wherever none is configured
    #[arg(long)]
    pub(crate) free_ports: bool,
    /// Set by --detach for the process that it starts
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Delete the state folder too: data, logs, credentials
    #[arg(long)]
    pub(crate) purge: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// table for people, json for programs, env for `eval` in a shell (with credentials)
    #[arg(short, long, value_enum, default_value_t = StatusFormat::Table)]
    pub(crate) output: StatusFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    Table,
    Json,
    Env,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// table for people, json for programs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the engine, or `isa`
    pub(crate) name: String,
    /// Go on printing what is added
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last lines to print
    #[arg(short = 'n', long, default_value_t = 100, value_name = "COUNT")]
    pub(crate) lines: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Name of the engine
    pub(crate) engine: EngineKind,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Name of the engine
    pub(crate) engine: EngineKind,
    /// Command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) output: Output,
    /// File of endpoints instead of the state folder's, in the format of .isa/endpoints.json
    #[arg(long, value_name = "FILE")]
    pub(crate) endpoints: Option<PathBuf>,
    /// Address of an engine: redis=redis://:password@host:6379, qdrant.grpc=http://host:6334 (repeatable)
    #[arg(long, value_name = "ENGINE[.NAME]=URL", value_parser = key_value)]
    pub(crate) url: Vec<(String, String)>,
    /// Check only these engines
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    pub(crate) only: Vec<EngineKind>,
    /// How long the check of one engine may take, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Engines {
    /// List the engines: version, licence, source, and whether they are installed
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Install engines into the cache; without names, all that are missing
    Install {
        /// Engine or implementation names: redis, valkey, seaweedfs ...
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration can be used
    Check,
    /// Print the configuration that all sources together give; passwords are hidden
    Dump,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Engine {
    /// The vector engine: Qdrant's REST and gRPC API
    Qdrant {
        /// Folder of the collections
        #[arg(long, value_name = "DIR")]
        storage: PathBuf,
        /// Address of the REST API
        #[arg(long, default_value = "127.0.0.1:6333", value_name = "ADDRESS")]
        rest: SocketAddr,
        /// Address of the gRPC API
        #[arg(long, default_value = "127.0.0.1:6334", value_name = "ADDRESS")]
        grpc: SocketAddr,
        /// File that holds the API key; without one, only loopback addresses are served
        #[arg(long, value_name = "FILE")]
        api_key_file: Option<PathBuf>,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}
