//! The command line of the building blocks: who serves them, who may call, and how to reach them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isa_config::ServiceKind;

use super::Output;

pub(super) const CONNECT_EXAMPLES: &str = "\
Examples:
  isa connect isa.example --token-file token
  isa connect https://isa.example:8001 --token-file token --only redis,postgres
  isa connect '{service}-grpc.isa-cloud-staging' --token-file token";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Names of services; without, those of the key `services`
    pub(crate) services: Vec<ServiceKind>,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// HOST, HOST:PORT or URL of the server; {service} in it stands for the service's name
    pub(crate) address: String,
    /// File with a token or an API key; it may change while this runs
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Connect only to these services
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    pub(crate) only: Vec<ServiceKind>,
    /// Listen on any free ports
    #[arg(long)]
    pub(crate) free_ports: bool,
    /// Certificates (PEM) of those who sign the server's, instead of those that this machine trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate (PEM), for a server that wants one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Print a token, signed with the newest key
    #[command(
        after_help = "Example:\n  isa token issue alice --org acme --scope act-as --lifetime 3600 > token"
    )]
    Issue(TokenIssue),
    /// Make an API key: print it once, and add its hash to the file that servers read (server.auth.api_keys_file)
    ApiKey(TokenApiKey),
}

/// Who a token is for, and what it allows.
#[derive(Debug, Args)]
pub(crate) struct Bearer {
    /// The user or program
    pub(crate) subject: String,
    /// The organization whose data it is; without, the subject's own
    #[arg(long, value_name = "NAME")]
    pub(crate) org: Option<String>,
    /// A role (repeatable)
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// A scope, such as act-as (repeatable)
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenIssue {
    #[command(flatten)]
    pub(crate) bearer: Bearer,
    /// How long it is good, in seconds
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) lifetime: u64,
    /// Folder of keys instead of server.auth.keys_dir or the state folder's
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenApiKey {
    #[command(flatten)]
    pub(crate) bearer: Bearer,
    /// What people know it by
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// How long it is good, in days; for ever if absent
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: Option<u32>,
    /// File of API keys instead of server.auth.api_keys_file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a new key, which signs from now on, and remove the oldest
    Rotate {
        /// Folder of keys instead of server.auth.keys_dir or the state folder's
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        /// How many older keys stay: tokens signed with them are still good
        #[arg(long, default_value_t = 1, value_name = "COUNT")]
        keep: usize,
    },
    /// List the keys, oldest first
    List {
        /// Folder of keys instead of server.auth.keys_dir or the state folder's
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Write the public halves of the keys: all that servers need that issue no tokens
    Publish {
        /// Folder that gets a file for each key
        to: PathBuf,
        /// Folder of keys instead of server.auth.keys_dir or the state folder's
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
    },
}
