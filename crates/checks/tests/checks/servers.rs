use std::net::SocketAddr;

use isa_config::{Endpoint, Endpoints, EngineKind, Secret};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A password that must not come up anywhere.
pub(crate) const PASSWORD: &str = "hunter2-correct-horse";

/// How a server behaves that is not the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manners {
    /// Accepts connections and says nothing.
    Silent,
    /// Closes every connection at once.
    Closing,
    /// Answers everything with the same bytes.
    Answering(&'static [u8]),
    /// Speaks first, the same bytes, and closes.
    Greeting(&'static [u8]),
    /// Sends the same bytes without end.
    Flooding(&'static [u8]),
    /// Sends back what it hears.
    Echoing,
}

/// A server on a port of its own; it stops when this is dropped.
pub(crate) struct Server {
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn start(manners: Manners) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, manners));
        }
    });
    Server {
        address,
        task: task.abort_handle(),
    }
}

async fn serve(mut stream: TcpStream, manners: Manners) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    match manners {
        Manners::Closing => Ok(()),
        Manners::Greeting(bytes) => stream.write_all(bytes).await,
        Manners::Flooding(bytes) => loop {
            stream.write_all(bytes).await?;
        },
        Manners::Silent | Manners::Answering(_) | Manners::Echoing => loop {
            let read = stream.read(&mut buffer).await?;
            match manners {
                _ if read == 0 => return Ok(()),
                Manners::Answering(bytes) => stream.write_all(bytes).await?,
                Manners::Echoing => stream.write_all(&buffer[..read]).await?,
                _ => {}
            }
        },
    }
}

/// An address where nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Every engine that is reached over the network, all at one address, with credentials.
pub(crate) fn all_at(address: SocketAddr) -> Endpoints {
    let endpoint = |kind| {
        let url = match kind {
            EngineKind::Redis => format!("redis://{address}"),
            EngineKind::Nats => format!("nats://{address}"),
            EngineKind::Mosquitto => format!("mqtt://{address}"),
            EngineKind::Postgres => format!("postgres://{address}/isa"),
            EngineKind::Neo4j => format!("bolt://{address}"),
            _ => format!("http://{address}"),
        };
        let endpoint = Endpoint::new(url).with_credentials("isa", Secret::new(PASSWORD));
        match kind {
            EngineKind::Qdrant => endpoint.with_url("grpc", format!("http://{address}")),
            _ => endpoint,
        }
    };
    let networked = EngineKind::ALL.into_iter().filter(|k| *k != EngineKind::Duckdb);
    networked.map(|kind| (kind, endpoint(kind))).collect()
}
