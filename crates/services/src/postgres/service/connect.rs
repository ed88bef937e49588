//! Connections to PostgreSQL: who logs in, over what, and how a statement is cancelled.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use isa_config::Endpoint;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_postgres::{
    CancelToken, Client, Config, Connection, NoTls,
    config::{Host, SslMode},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Error,
    session::Session,
    tap::{Tap, TapTls},
};

/// How long a connection may take to be made. PostgreSQL forks, reads its catalog and checks a password meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What each session of a tenant begins with, and returns to by RESET ALL. Settings of its role, which it may change
/// itself, come after these.
const SETTINGS: [(&str, &str); 8] = [
    ("statement_timeout", "60s"),
    ("lock_timeout", "30s"),
    // Longer than a transaction may live: this is for streams whose reader went to sleep.
    ("idle_in_transaction_session_timeout", "330s"),
    ("client_min_messages", "error"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

type Tls = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect;

/// Those of an administrative session. It never waits long for a tenant's locks.
const ADMINISTRATOR: &str = "-c statement_timeout=20s -c lock_timeout=2s -c client_min_messages=error";

/// Where PostgreSQL is, and how to get in.
pub(super) struct Connector {
    config: Config,
    host: String,
    port: u16,
    tls: Option<MakeRustlsConnect>,
    user: String,
    password: Vec<u8>,
}

/// Who logs in.
pub(super) enum Login<'a> {
    /// The one of the configuration, who makes tenants' roles and schemas.
    Administrator,
    Tenant {
        role: &'a str,
        password: &'a str,
        /// Schemas, first the tenant's.
        path: &'a str,
    },
}

impl Connector {
    /// # Errors
    /// What is wrong with the address.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        // The whole URL, for its parameters such as sslmode=require.
        let mut config: Config = endpoint.url.parse().map_err(|error| format!("{error}"))?;
        let host = match config.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            _ => return Err("must name one host, as in postgres://host:5432/database".into()),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let from_url = config.get_password().map(<[u8]>::to_vec);
        let password = match &endpoint.password {
            Some(password) => password.expose().as_bytes().to_vec(),
            None => from_url.unwrap_or_default(),
        };
        let user = endpoint
            .username
            .as_deref()
            .or_else(|| config.get_user())
            .unwrap_or("postgres")
            .to_owned();
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(MakeRustlsConnect::new(client_config()?)),
            _ => None,
        };
        if tls.is_none() {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name("isa");
        Ok(Self {
            config,
            host,
            port,
            tls,
            user,
            password,
        })
    }

    /// What tenants' passwords are derived from.
    pub(super) fn secret(&self) -> &[u8] {
        &self.password
    }

    async fn socket(&self) -> Result<TcpStream, Error> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(PATIENCE, connecting).await.map_err(|_| Error::Slow)?;
        let stream = stream.map_err(Error::Connect)?;
        stream.set_nodelay(true).map_err(Error::Connect)?;
        Ok(stream)
    }

    fn tls(&self) -> Result<Option<Tls>, Error> {
        let Some(tls) = &self.tls else {
            return Ok(None);
        };
        let made = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), &self.host);
        made.map(Some).map_err(|error| Error::Internal(error.to_string()))
    }

    /// A new session. `place` is given back when its connection ends.
    pub(super) async fn open(
        self: &Arc<Self>,
        login: Login<'_>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Session, Error> {
        let mut config = self.config.clone();
        let tenant = match login {
            Login::Administrator => {
                config
                    .user(&self.user)
                    .password(&self.password)
                    .options(ADMINISTRATOR);
                false
            }
            Login::Tenant { role, password, path } => {
                config.user(role).password(password).options(options(path));
                true
            }
        };
        let stream = self.socket().await?;
        let (client, task) = match (self.tls()?, tenant) {
            (None, true) => ready(config.connect_raw(Tap::new(stream), NoTls), place).await?,
            (None, false) => ready(config.connect_raw(stream, NoTls), place).await?,
            (Some(tls), true) => ready(config.connect_raw(stream, TapTls(tls)), place).await?,
            (Some(tls), false) => ready(config.connect_raw(stream, tls), place).await?,
        };
        let cancel = Canceller {
            token: client.cancel_token(),
            connector: Arc::clone(self),
        };
        Ok(Session::new(client, cancel, task, Instant::now()))
    }
}

/// Waits for the login, and has a task of its own drive the connection from then on.
async fn ready<S, T>(
    connecting: impl Future<Output = Result<(Client, Connection<S, T>), tokio_postgres::Error>>,
    place: Option<OwnedSemaphorePermit>,
) -> Result<(Client, AbortOnDropHandle<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, mut connection) = timeout(PATIENCE, connecting).await.map_err(|_| Error::Slow)??;
    let task = tokio::spawn(async move {
        // Notices and notifications are nobody's. How it ends is told to the requests on it.
        while let Some(Ok(_)) = poll_fn(|cx| connection.poll_message(cx)).await {}
        drop(place);
    });
    Ok((client, AbortOnDropHandle::new(task)))
}

/// In the form of `postgres -c name=value`; blanks in values are escaped.
fn options(path: &str) -> String {
    let mut options = format!("-c search_path={path}");
    for (name, value) in SETTINGS {
        options.push_str(" -c ");
        options.push_str(name);
        options.push('=');
        options.push_str(value);
    }
    options
}

/// TLS with ring and the certificates that this machine trusts (`SSL_CERT_FILE` names others).
fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A machine without any certificates fails at the handshake, with a message that says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Stops what a session runs, from outside of it.
#[derive(Clone)]
pub(super) struct Canceller {
    token: CancelToken,
    connector: Arc<Connector>,
}

impl Canceller {
    /// Asks PostgreSQL to stop the statement. Whether it did is not known: the statement's own answer says.
    pub(super) async fn cancel(&self) {
        let asking = async {
            let stream = self.connector.socket().await?;
            match self.connector.tls()? {
                Some(tls) => self.token.cancel_query_raw(stream, tls).await?,
                None => self.token.cancel_query_raw(stream, NoTls).await?,
            }
            Ok::<_, Error>(())
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::debug!("a statement could not be cancelled in time"),
        }
    }
}
