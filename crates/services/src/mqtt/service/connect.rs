//! Reaching the broker: address, TLS and the first exchange.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use isa_config::Endpoint;
use rumqttc::v5::mqttbytes::{
    Error as CodecError,
    v5::{ConnAck, ConnAckProperties, Connect, ConnectReturnCode, LastWill, Login, Packet},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

/// Largest packet that is taken: a payload of 8 MiB, its topic and properties.
pub(super) const MAX_PACKET: u32 = (8 << 20) + (128 << 10);

/// How long an attempt to connect may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The bytes that a read asks for.
const READ: usize = 16 << 10;

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where the broker is, and as whom it is used.
#[derive(Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: Option<Login>,
}

/// A connection that the broker has accepted.
pub(super) struct Accepted {
    pub(super) socket: Box<dyn Duplex>,
    /// What came after the acceptance.
    pub(super) rest: BytesMut,
    pub(super) session_present: bool,
    pub(super) properties: Option<ConnAckProperties>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("the broker refused: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the broker answered with something else")]
    Nonsense,
    #[error("the broker closed the connection")]
    Closed,
    #[error("no answer in {CONNECT_TIMEOUT:?}")]
    TimedOut,
}

impl Address {
    /// `mqtt://host:1883`, or `mqtts://host:8883` for TLS with the certificates that the machine trusts.
    pub(crate) fn parse(endpoint: &Endpoint) -> Result<Self, String> {
        let url = Url::parse(&endpoint.url).map_err(|error| error.to_string())?;
        let is_tls = match url.scheme() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            other => return Err(format!("{other} is not mqtt or mqtts")),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("has no host")?.trim_matches(['[', ']']).to_owned();
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            Some((connector()?, name))
        } else {
            None
        };
        let login = endpoint.username.as_ref().map(|user| {
            let password = endpoint.password.as_ref().map(|secret| secret.expose());
            Login::new(user.as_str(), password.unwrap_or_default())
        });
        Ok(Self {
            port: url.port().unwrap_or(if is_tls { 8883 } else { 1883 }),
            host,
            tls,
            login,
        })
    }

    /// Connects and says who we are.
    pub(super) async fn connect(
        &self,
        connect: Connect,
        will: Option<LastWill>,
    ) -> Result<Accepted, ConnectError> {
        let exchange = async {
            let mut socket = self.dial().await?;
            let mut buffer = BytesMut::with_capacity(READ);
            Packet::Connect(connect, will, self.login.clone()).write(&mut buffer, None)?;
            socket.write_all(&buffer).await?;
            socket.flush().await?;
            buffer.clear();
            loop {
                match Packet::read(&mut buffer, Some(MAX_PACKET)) {
                    Ok(Packet::ConnAck(answer)) => return accepted(socket, buffer, answer),
                    Ok(_) => return Err(ConnectError::Nonsense),
                    Err(CodecError::InsufficientBytes(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                buffer.reserve(READ);
                if socket.read_buf(&mut buffer).await? == 0 {
                    return Err(ConnectError::Closed);
                }
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, exchange)
            .await
            .unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn dial(&self) -> Result<Box<dyn Duplex>, ConnectError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), socket).await?),
            None => Box::new(socket),
        })
    }
}

fn accepted(socket: Box<dyn Duplex>, rest: BytesMut, answer: ConnAck) -> Result<Accepted, ConnectError> {
    match answer.code {
        ConnectReturnCode::Success => Ok(Accepted {
            socket,
            rest,
            session_present: answer.session_present,
            properties: answer.properties,
        }),
        refusal => Err(ConnectError::Refused(refusal)),
    }
}

fn connector() -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
