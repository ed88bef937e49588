//! The command line. Doc comments here are the manual that `--help` prints.

mod services;

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use isa_config::{EngineKind, Secret};

pub(crate) use self::services::{Bearer, Connect, Keys, Serve, Token, TokenApiKey, TokenIssue};

/// The best self-hosted backend for application and AI teams, in one program.
///
/// `isa up` runs every engine of the platform on this machine: Consul, Redis, MinIO, NATS JetStream, Mosquitto,
/// PostgreSQL, Qdrant, Neo4j, Loki, Grafana and DuckDB, and the gRPC building blocks over them. No Docker, no account,
/// nothing outside a state folder.
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

  isa serve redis postgres       building blocks alone, over engines that run elsewhere
  isa keys rotate                a new key that signs tokens
  isa token issue alice          a token for a user
  isa connect isa.example        reach a server that wants tokens, with a client that sends none

  isa secrets generate staging   passwords for Kubernetes, in files that git ignores
  isa deploy staging             the platform on Kubernetes, until every pod is ready
  isa verify --kube              the same round trips there
  isa diagnose                   what is wrong there, and what to do

Configuration, weakest first: defaults, isa.toml, ISA_A__B variables, flags. `isa config dump` prints the result.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the platform does not run (status), 4 not all ready in time (deploy),
130 interrupted.";

#[derive(Debug, Clone, Args)]
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
    /// Serve building blocks over engines that run elsewhere
    ///
    /// Each listens on its own port (server.ports). Engines are those of the configuration (engines.redis.url ...), or
    /// of the platform that runs in this folder. SIGTERM ends it in order; SIGHUP, or a change of their files, has it
    /// read limits, keys, certificates and the log's filter anew.
    #[command(
        after_help = "Examples:\n  isa serve redis --set engines.redis.url=redis://cache.example:6379 --set server.auth.keys_dir=keys\n  isa serve --set server.auth.mode=open"
    )]
    Serve(Serve),
    /// Reach a server that wants credentials, with clients that send none
    ///
    /// Listens on this machine on the services' own ports, adds the token to each call and sends it on.
    #[command(after_help = services::CONNECT_EXAMPLES)]
    Connect(Connect),
    /// Make tokens for callers
    #[command(subcommand)]
    Token(Token),
    /// Make and list the keys that sign tokens
    #[command(subcommand)]
    Keys(Keys),
    /// List and install engines
    #[command(subcommand)]
    Engines(Engines),
    /// Deploy an overlay to Kubernetes and wait until everything is ready
    ///
    /// Renders the overlay, shows what changes, applies it, and shows each pod on its way. What keeps a pod from being
    /// ready is said while it waits. Ctrl-C ends the waiting; what was applied stays.
    #[command(after_help = DEPLOY_EXAMPLES)]
    Deploy(Deploy),
    /// Say what is wrong in a namespace of a Kubernetes cluster, and what to do about it
    Diagnose {
        #[command(flatten)]
        kube: Kube,
        #[command(flatten)]
        output: Output,
    },
    /// Say how many pods, cores, bytes and volumes the platform takes on Kubernetes, by layer
    Resources(Resources),
    /// Make and check the passwords that an overlay deploys
    #[command(subcommand)]
    Secrets(Secrets),
    /// Remove what was deployed; volumes stay unless told otherwise
    Teardown(Teardown),
    /// Make the container images of the services, and load them into a cluster
    #[command(subcommand)]
    Images(Images),
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

const DEPLOY_EXAMPLES: &str = "\
Examples:
  isa deploy staging --dry-run            what would change
  isa deploy local --context kind-isa-cloud-local
  isa deploy staging --without grafana    leave a system out

Exit codes: 0 all ready, 1 failed, 4 applied but not all ready in time, 130 interrupted while waiting.";

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
    /// Move a port: redis=6380, minio.console=9101 or redis-grpc=50155; 0 picks a free one (repeatable)
    #[arg(long, value_name = "NAME[.PORT]=NUMBER", value_parser = key_value)]
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
    #[command(flatten)]
    pub(crate) at: OnKube,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    Table,
    Json,
    Env,
}

/// Which cluster, and where in it.
#[derive(Debug, Args)]
pub(crate) struct Kube {
    /// Context of the kubeconfig instead of its current one
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Namespace of the platform
    #[arg(short, long, value_name = "NAMESPACE", default_value = isa_deploy::NAMESPACE)]
    pub(crate) namespace: String,
}

/// Kubernetes instead of this machine, and where there.
#[derive(Debug, Args)]
pub(crate) struct OnKube {
    /// What runs on Kubernetes, instead of this machine
    #[arg(long)]
    pub(crate) kube: bool,
    /// Context of the kubeconfig instead of its current one
    #[arg(long, value_name = "CONTEXT", requires = "kube")]
    pub(crate) context: Option<String>,
    /// Namespace of the platform
    #[arg(short, long, value_name = "NAMESPACE", default_value = isa_deploy::NAMESPACE, requires = "kube")]
    pub(crate) namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Name of an overlay in deployments/kubernetes/overlays, or its path
    pub(crate) overlay: String,
    /// Context of the kubeconfig instead of its current one
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Show what would change and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out these systems (by their label `app`)
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// Take over fields that another program has set to other values
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait until everything is ready, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(crate) timeout: u64,
    /// Apply and do not wait
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Resources {
    /// Name of an overlay in deployments/kubernetes/overlays, or its path
    #[arg(default_value = "staging", conflicts_with = "kube")]
    pub(crate) overlay: String,
    #[command(flatten)]
    pub(crate) at: OnKube,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Make the values that an overlay wants; those that are there stay
    Generate {
        /// Name of an overlay in deployments/kubernetes/overlays, or its path
        overlay: String,
        /// Make new values for this Secret
        #[arg(long, value_name = "SECRET")]
        rotate: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Look for values that are missing, weak or visible to others; no value is shown
    Check {
        /// Name of an overlay in deployments/kubernetes/overlays, or its path
        overlay: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Teardown {
    /// Name of an overlay in deployments/kubernetes/overlays, or its path
    pub(crate) overlay: String,
    /// Context of the kubeconfig instead of its current one
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Delete the volumes with all data, the Secrets and the namespace too
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Do not ask before deleting
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// How long it may take until everything is gone, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) output: Output,
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
    #[arg(long, value_name = "FILE", conflicts_with = "kube")]
    pub(crate) endpoints: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: OnKube,
    /// Address of an engine: redis=redis://:password@host:6379, qdrant.grpc=http://host:6334 (repeatable)
    #[arg(long, value_name = "ENGINE[.NAME]=URL", value_parser = key_value, conflicts_with = "kube")]
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
        /// List the tools of operators and tests instead: kubectl, kube-score, grpcurl, a Kubernetes node ...
        #[arg(long)]
        tools: bool,
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
pub(crate) enum Images {
    /// List the images: which are made, and of what
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Make images; without names, all that have changed
    ///
    /// Packs the engines in isa's cache into images, which needs no container tool. What is missing says how to install it.
    Build {
        /// Names of services: consul, redis ...
        names: Vec<String>,
        /// Build from upstream's images with this tool instead, by the files in deployments/images
        #[arg(long, value_name = "TOOL")]
        with: Option<ContainerTool>,
        /// Folder with the files that --with builds from
        #[arg(long, default_value = "deployments/images", value_name = "DIR")]
        sources: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Load images into Docker, podman, the nodes of a kind cluster, or a containerd
    #[command(
        after_help = "Examples:\n  isa images load --into kind\n  isa images load redis --into containerd --socket /run/containerd/containerd.sock"
    )]
    Load {
        /// Names of services; without, all that are made
        names: Vec<String>,
        /// What takes them
        #[arg(long)]
        into: LoadInto,
        /// Name of the kind cluster
        #[arg(long, default_value = "isa-cloud-local", value_name = "NAME")]
        cluster: String,
        /// Socket of containerd
        #[arg(
            long,
            env = "CONTAINERD_ADDRESS",
            default_value = "/run/containerd/containerd.sock",
            value_name = "PATH"
        )]
        socket: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContainerTool {
    Docker,
    Podman,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadInto {
    Docker,
    Podman,
    Kind,
    Containerd,
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
    ///
    /// Takes the variables of Qdrant's own image as well, so that it can stand in its place.
    Qdrant(Qdrant),
}

#[derive(Debug, Args)]
pub(crate) struct Qdrant {
    /// Folder of the collections
    #[arg(long, env = "QDRANT__STORAGE__STORAGE_PATH", value_name = "DIR")]
    pub(crate) storage: PathBuf,
    /// Address to listen on
    #[arg(
        long,
        env = "QDRANT__SERVICE__HOST",
        default_value = "127.0.0.1",
        value_name = "ADDRESS"
    )]
    pub(crate) host: IpAddr,
    /// Port of the REST API
    #[arg(
        long,
        env = "QDRANT__SERVICE__HTTP_PORT",
        default_value_t = 6333,
        value_name = "NUMBER"
    )]
    pub(crate) http_port: u16,
    /// Port of the gRPC API
    #[arg(
        long,
        env = "QDRANT__SERVICE__GRPC_PORT",
        default_value_t = 6334,
        value_name = "NUMBER"
    )]
    pub(crate) grpc_port: u16,
    /// File that holds the API key; without a key, only loopback addresses are served
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The API key itself, for the variable: everybody on the machine can read command lines
    #[arg(
        long,
        env = "QDRANT__SERVICE__API_KEY",
        hide_env_values = true,
        value_parser = secret,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<Secret>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
