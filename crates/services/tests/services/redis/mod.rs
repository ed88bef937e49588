// The macros fill what a request has beyond its fields, which may be nothing, and convert what may be right already.
#![allow(clippy::needless_update, clippy::useless_conversion)]

mod bad_input;
mod channels;
mod collections;
mod faults;
mod keys;
mod locks;
mod sessions;
mod strings;
mod tenants;
mod topology;

use std::time::{Duration, Instant};

use isa_config::{Endpoint, ServiceKind};
use isa_proto::{
    prost_types,
    redis::{self as pb, redis_service_client::RedisServiceClient},
};
use isa_server::Tenant;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, IntoConnectionInfo, aio::MultiplexedConnection};
use tonic::transport::Channel;

use crate::harness::Node;

/// How long anything may take that does not happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a subscription leaves at Redis after its caller is gone: nothing, in a second.
const GONE: Duration = Duration::from_secs(1);

/// A user of the service, with a look into Redis itself.
struct Test {
    node: Node,
    client: RedisServiceClient<Channel>,
    raw: MultiplexedConnection,
    user: String,
}

/// Calls a method as the test's user; fields are converted to the contract's types.
macro_rules! ask {
    (@value $field:ident) => { $field.into() };
    (@value $field:ident $value:expr) => { $value.into() };
    ($test:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $test
            .client
            .clone()
            .$method(pb::$request {
                user_id: $test.user.clone(),
                $($field: ask!(@value $field $($value)?),)*
                ..Default::default()
            })
            .await
            .map(tonic::Response::into_inner)
    };
}

/// The same, for a call that must succeed.
macro_rules! done {
    ($test:expr, $method:ident, $request:ident $fields:tt) => {
        ask!($test, $method, $request $fields).expect(stringify!($method))
    };
}

/// The same, for one that must fail so.
macro_rules! refused {
    ($code:ident, $part:expr, $test:expr, $method:ident, $request:ident $fields:tt) => {{
        let status = ask!($test, $method, $request $fields).expect_err(stringify!($method));
        assert_eq!(status.code(), tonic::Code::$code, "{status:?}");
        assert!(status.message().contains($part), "{status:?}");
    }};
}

use {ask, done, refused};

impl Test {
    async fn start() -> Self {
        Self::on(Node::start(ServiceKind::Redis).await).await
    }

    async fn alone() -> Self {
        Self::on(Node::alone(ServiceKind::Redis).await).await
    }

    async fn on(node: Node) -> Self {
        let raw = connect(&node.engine).await;
        Self::with(node, raw).await
    }

    async fn with(node: Node, raw: MultiplexedConnection) -> Self {
        Self {
            client: RedisServiceClient::new(node.channel().await)
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX),
            raw,
            user: format!("user-{}", uuid::Uuid::new_v4()),
            node,
        }
    }

    /// What Redis has under the caller's name for it.
    fn name(&self, name: &str) -> String {
        format!("{{{}}}:{name}", Tenant::user(&self.user).slug())
    }

    async fn raw<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command
            .query_async(&mut self.raw.clone())
            .await
            .expect("Redis answers")
    }

    /// A command on a key of the caller's.
    async fn look<T: FromRedisValue>(&self, command: &str, key: &str) -> T {
        self.raw(redis::cmd(command).arg(self.name(key))).await
    }
}

async fn connect(endpoint: &Endpoint) -> MultiplexedConnection {
    let server = endpoint.url.as_str().into_connection_info().expect("an address");
    let mut login = server.redis_settings().clone();
    if let Some(password) = &endpoint.password {
        login = login.set_password(password.expose());
    }
    let client = redis::Client::open(server.set_redis_settings(login)).expect("a client");
    let unhurried = AsyncConnectionConfig::new().set_response_timeout(None);
    let connected = client.get_multiplexed_async_connection_with_config(&unhurried);
    connected.await.expect("a connection")
}

fn texts<const N: usize>(all: [&str; N]) -> Vec<String> {
    all.map(str::to_owned).to_vec()
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

fn milliseconds(length: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: length / 1000,
        nanos: i32::try_from(length % 1000).expect("less than a second") * 1_000_000,
    }
}

fn field(field: &str, value: &str) -> pb::HashField {
    pb::HashField {
        field: field.into(),
        value: value.into(),
    }
}

/// Looks until it is so, and fails naming it when `limit` is over.
async fn eventually(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !look().await {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
