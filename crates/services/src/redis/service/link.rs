//! A connection that many calls share, each command sent as soon as it comes, without a pool. Made at the first call and
//! made anew by the next one after it broke; while that is tried, calls wait for the one attempt.

use std::{
    future, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::RwLock;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, InfoDict, Pipeline, RedisError, RedisResult,
    ServerErrorKind, Value,
    aio::{MultiplexedConnection, PubSub},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::timeout;

use super::address::Target;
use crate::redis::names::Space;

/// How long Redis may take to accept a connection, or to answer a PING.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);

/// Calls have deadlines, which drop them; the client needs none of its own. This is longer than any.
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(3600);

/// Commands that may wait to be written. One more waits at its call.
const QUEUE: usize = 1024;

/// A connection that comes back.
pub(crate) struct Link {
    target: Arc<Target>,
    state: RwLock<State>,
    made: AtomicU64,
}

enum State {
    Idle,
    Connecting(Attempt),
    Up(Connection),
}

type Attempt = Shared<BoxFuture<'static, RedisResult<Connection>>>;

#[derive(Clone)]
pub(crate) struct Connection {
    /// Tells it from those before and after it.
    serial: u64,
    lane: Lane,
}

#[derive(Clone)]
enum Lane {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(crate) fn new(target: Arc<Target>) -> Arc<Self> {
        Arc::new(Self {
            target,
            state: RwLock::new(State::Idle),
            made: AtomicU64::new(0),
        })
    }

    /// One command, for the node that has this tenant's keys. An error of Redis is `Err`.
    pub(crate) async fn command(self: &Arc<Self>, space: Space<'_>, command: Cmd) -> RedisResult<Value> {
        let mut connection = self.connection().await?;
        let answer = match &mut connection.lane {
            Lane::Node(node) => node.send_packed_command(&command).await,
            Lane::Cluster(cluster) => {
                let route = RoutingInfo::SingleNode(place(space));
                Box::pin(cluster.route_command(command, route)).await
            }
        };
        let answer = answer.and_then(|value| match value {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        });
        self.heed(connection.serial, answer)
    }

    /// Many commands at once. What Redis refused is a [`Value::ServerError`] at its place.
    pub(crate) async fn pipeline(
        self: &Arc<Self>,
        space: Space<'_>,
        commands: Pipeline,
    ) -> RedisResult<Vec<Value>> {
        let mut connection = self.connection().await?;
        let count = commands.len();
        let answers = match &mut connection.lane {
            Lane::Node(node) => node.send_packed_commands(&commands, 0, count).await,
            Lane::Cluster(cluster) => {
                Box::pin(cluster.route_pipeline(commands, 0, count, place(space))).await
            }
        };
        self.heed(connection.serial, answers)
    }

    /// Asks for a sign of life, on a new connection if the one there gives none. A single server also says how many
    /// bytes it has in use.
    pub(crate) async fn ping(self: &Arc<Self>) -> Result<Option<u64>, String> {
        let mut connection = self.connection().await.map_err(|error| error.to_string())?;
        let asked = async {
            let mut ping = redis::pipe();
            ping.cmd("PING");
            match &mut connection.lane {
                Lane::Node(node) => {
                    ping.cmd("INFO").arg("memory");
                    let (_, info): (Value, InfoDict) = ping.query_async(node).await?;
                    Ok::<_, RedisError>(info.get("used_memory"))
                }
                Lane::Cluster(cluster) => ping.query_async::<Value>(cluster).await.map(|_| None),
            }
        };
        let why = match timeout(PATIENCE, Box::pin(asked)).await {
            Ok(Ok(held)) => return Ok(held),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {PATIENCE:?}"),
        };
        self.drop_connection(connection.serial);
        Err(why)
    }

    async fn connection(self: &Arc<Self>) -> RedisResult<Connection> {
        if let State::Up(connection) = &*self.state.read() {
            return Ok(connection.clone());
        }
        self.attempt().await
    }

    /// Joins the attempt that is being made, or begins one. It goes on if the call that began it is dropped.
    fn attempt(self: &Arc<Self>) -> Attempt {
        let mut state = self.state.write();
        match &*state {
            State::Up(connection) => future::ready(Ok(connection.clone())).boxed().shared(),
            State::Connecting(attempt) => attempt.clone(),
            State::Idle => {
                let link = Arc::clone(self);
                let attempt = async move { link.connect().await }.boxed().shared();
                *state = State::Connecting(attempt.clone());
                tokio::spawn(attempt.clone().map(drop));
                attempt
            }
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let lane = match timeout(PATIENCE, Box::pin(self.target.connect())).await {
            Ok(lane) => lane,
            Err(_) => Err(too_slow()),
        };
        let connection = lane.map(|lane| Connection {
            serial: self.made.fetch_add(1, Relaxed),
            lane,
        });
        let next = match &connection {
            Ok(connection) => State::Up(connection.clone()),
            Err(_) => State::Idle,
        };
        let before = mem::replace(&mut *self.state.write(), next);
        // It may be the last handle of this attempt: not under the lock.
        drop(before);
        connection
    }

    /// A connection that broke is used no more, nor one to a server that is no master any more.
    fn heed<T>(&self, serial: u64, answer: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &answer
            && (error.is_unrecoverable_error()
                || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly))
        {
            self.drop_connection(serial);
        }
        answer
    }

    fn drop_connection(&self, serial: u64) {
        let mut state = self.state.write();
        if matches!(&*state, State::Up(connection) if connection.serial == serial) {
            let before = mem::replace(&mut *state, State::Idle);
            drop(state);
            drop(before);
        }
    }
}

impl Target {
    async fn connect(&self) -> RedisResult<Lane> {
        let node = match self {
            Self::Node(client) => multiplexed(client).await,
            Self::Sentinel(sentinels) => multiplexed(&sentinels.master().await?).await,
            Self::Cluster { client, .. } => return client.get_async_connection().await.map(Lane::Cluster),
        };
        node.map(Lane::Node)
    }

    /// A connection of its own for channels. In a cluster any node will do: messages go to all of them.
    pub(crate) async fn subscriber(&self) -> RedisResult<PubSub> {
        let connect = async {
            match self {
                Self::Node(client) => client.get_async_pubsub().await,
                Self::Sentinel(sentinels) => sentinels.master().await?.get_async_pubsub().await,
                Self::Cluster { nodes, .. } => {
                    let mut last = too_slow();
                    for node in nodes {
                        match node.get_async_pubsub().await {
                            Ok(connection) => return Ok(connection),
                            Err(error) => last = error,
                        }
                    }
                    Err(last)
                }
            }
        };
        timeout(PATIENCE, Box::pin(connect))
            .await
            .unwrap_or_else(|_| Err(too_slow()))
    }
}

async fn multiplexed(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The node that has a tenant's keys.
fn place(space: Space<'_>) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(space.slug(), SlotAddr::Master))
}

fn too_slow() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
