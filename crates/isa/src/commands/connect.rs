//! `isa connect`

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use isa_config::{Config, ServiceKind};
use isa_platform::ports;
use isa_server::connect::{Connector, Credentials, authorization, server_address};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::signals::Signals;
use crate::{
    cli::{Connect, Format},
    output::{self, say, tell},
};

/// How often the file of the token is looked at.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(config: Config, options: &Connect) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let credentials = Credentials {
        ca: options.ca.as_ref().map(read).transpose()?,
        certificate: match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        },
    };
    let token = options.token_file.as_deref().map(read_token).transpose()?;
    let (header, authorization) = watch::channel(token.as_deref().map(authorization).transpose()?);

    let services = if options.only.is_empty() {
        ServiceKind::ALL.to_vec()
    } else {
        options.only.clone()
    };
    // Others on this network have no business with our token: this machine alone.
    let mut here = config.clone();
    here.server.bind = config.bind;
    here.free_ports |= options.free_ports;
    let listeners = ports::listen(&here, &services)?;
    let mut tasks = JoinSet::new();
    let mut addresses: BTreeMap<ServiceKind, SocketAddr> = BTreeMap::new();
    let mut connectors = Vec::new();
    for (kind, listener) in listeners {
        let server = server_address(&options.address, kind.name(), kind.port())
            .with_context(|| format!("{:?} is no address of a server", options.address))?;
        if server.scheme() == "http" && token.is_some() && !is_loopback(&server) && connectors.is_empty() {
            tell!("the token goes to {server} unencrypted; say https:// where the server has a certificate");
        }
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        addresses.insert(kind, listener.local_addr()?);
        let connector = Connector::new(server.clone(), &credentials, authorization.clone())?;
        tasks.spawn(connector.clone().serve(listener));
        connectors.push((kind, server, connector));
    }
    if options.output.output == Format::Json {
        output::print_json(&addresses)?;
    } else {
        show(&connectors, &addresses).await;
    }
    if let (Some(path), Some(token)) = (options.token_file.clone(), token) {
        tasks.spawn(follow(path, token, header));
    }
    let name = signals.next().await;
    tell!("{name}: disconnected");
    Ok(ExitCode::SUCCESS)
}

/// A line for each service: from where to where, and whether it answers there now.
async fn show(
    connectors: &[(ServiceKind, url::Url, Connector)],
    addresses: &BTreeMap<ServiceKind, SocketAddr>,
) {
    let checks = connectors
        .iter()
        .map(|(kind, _, connector)| connector.check(kind.grpc_service()));
    let outcomes = futures::future::join_all(checks).await;
    let mut table = output::table(&["SERVICE", "HERE", "THERE", "STATUS"]);
    for ((kind, server, _), outcome) in connectors.iter().zip(outcomes) {
        let here = addresses.get(kind).map(ToString::to_string).unwrap_or_default();
        let status = match outcome {
            Ok(()) => "answers".to_owned(),
            Err(status) => format!("does not answer now: {}", status.message()),
        };
        table.add_row([kind.to_string(), here, server.to_string(), status]);
    }
    output::print(table);
    say!("\nCtrl-C disconnects.");
}

fn is_loopback(server: &url::Url) -> bool {
    match server.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("the token file {} is empty", path.display());
    }
    Ok(token.to_owned())
}

/// Takes the token anew whenever the file changes: tokens are short-lived.
async fn follow(path: PathBuf, mut token: String, header: watch::Sender<Option<http::HeaderValue>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        // While it is being written it may be empty or absent: the old one is kept.
        let Ok(new) = read_token(&path) else { continue };
        if new == token {
            continue;
        }
        match authorization(&new) {
            Ok(value) => {
                header.send_replace(Some(value));
                tell!("took the new token of {}", path.display());
            }
            Err(error) => tell!("{}: {error}; the old one is kept", path.display()),
        }
        token = new;
    }
}
