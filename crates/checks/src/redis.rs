use isa_config::{Endpoint, EngineKind};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, aio::MultiplexedConnection,
};

use crate::{
    Error, Probe,
    address::Address,
    error::shorten,
    run::{Run, Stop, unique_name},
};

/// A connection that does not come back: what breaks it is told by the request that it ends.
struct Session(MultiplexedConnection);

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let mut session = connect(endpoint).await?;
    let info: String = session.call("INFO", redis::cmd("INFO").arg("server")).await?;
    match version(&info) {
        Some(version) => Ok(Probe {
            version: Some(version),
        }),
        None => Err(Error::wrong("INFO", "redis_version", info)),
    }
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let ping = async {
        let mut session = connect(endpoint).await?;
        session.ping().await?;
        Ok(session)
    };
    let mut session = run.step("PING", ping).await?;
    if endpoint.password.is_some() {
        run.step("AUTH", refuses_strangers(endpoint)).await?;
    }

    let key = unique_name();
    let written = run.step("SET/GET", set_and_get(&mut session, &key)).await;
    let removed = run.remove("DEL", &key, delete(endpoint, &key)).await;
    written.and(removed)
}

/// The version in the answer to `INFO`; Valkey tells its own beside that of the Redis it is compatible with.
fn version(info: &str) -> Option<String> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    field("valkey_version")
        .or_else(|| field("redis_version"))
        .map(shorten)
}

/// A connection with the password has been accepted before this; one without must not be.
async fn refuses_strangers(endpoint: &Endpoint) -> Result<(), Error> {
    let stranger = Endpoint {
        username: None,
        password: None,
        ..endpoint.clone()
    };
    let answer = match connect(&stranger).await {
        Ok(mut session) => session.ping().await,
        Err(error) => Err(error),
    };
    match answer {
        Err(Error::Unauthorized { .. }) => Ok(()),
        Err(other) => Err(other),
        Ok(()) => Err(Error::wrong("PING without the password", "NOAUTH", "PONG")),
    }
}

async fn set_and_get(session: &mut Session, key: &str) -> Result<(), Error> {
    // It expires, should the check die before it removes it.
    let mut set = redis::cmd("SET");
    set.arg(key).arg(key).arg("EX").arg(60);
    session.call::<()>("SET", &set).await?;
    let value: Option<String> = session.call("GET", redis::cmd("GET").arg(key)).await?;
    match value {
        Some(value) if value == key => Ok(()),
        other => Err(Error::wrong(
            "GET",
            key,
            other.unwrap_or_else(|| "nothing".into()),
        )),
    }
}

async fn delete(endpoint: &Endpoint, key: &str) -> Result<(), Error> {
    let mut session = connect(endpoint).await?;
    session.call("DEL", redis::cmd("DEL").arg(key)).await
}

async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
    let address = Address::main(EngineKind::Redis, endpoint)?;
    let (host, port) = (address.host, address.port);
    let server = if address.url.scheme() == "rediss" {
        // The client takes the process's own; it is set already where anything else has TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(name) = &endpoint.username {
        login = login.set_username(name);
    }
    if let Some(password) = &endpoint.password {
        login = login.set_password(password.expose());
    }
    // Whoever asks has a limit of its own.
    let unhurried = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connected = async {
        let client = Client::open(server.into_connection_info()?.set_redis_settings(login))?;
        client
            .get_multiplexed_async_connection_with_config(&unhurried)
            .await
    };
    connected.await.map(Session).map_err(|e| failed("connect", e))
}

impl Session {
    async fn ping(&mut self) -> Result<(), Error> {
        let pong: String = self.call("PING", &redis::cmd("PING")).await?;
        if pong == "PONG" {
            Ok(())
        } else {
            Err(Error::wrong("PING", "PONG", pong))
        }
    }

    async fn call<T: FromRedisValue>(&mut self, what: &'static str, command: &Cmd) -> Result<T, Error> {
        command
            .query_async(&mut self.0)
            .await
            .map_err(|e| failed(what, e))
    }
}

fn failed(what: &'static str, error: RedisError) -> Error {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
            Error::unauthorized(what, why)
        }
        _ => Error::protocol(what, error),
    }
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    #[test]
    fn refused_credentials_are_told_apart() {
        let of = |line: &[u8]| match parse_redis_value(line).unwrap() {
            Value::ServerError(error) => failed("PING", error.into()),
            other => panic!("{other:?}"),
        };
        for line in [
            b"-NOAUTH Authentication required.\r\n".as_slice(),
            b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ] {
            assert!(matches!(of(line), Error::Unauthorized { .. }));
        }
        assert!(matches!(of(b"-ERR unknown command\r\n"), Error::Protocol { .. }));
    }

    #[test]
    fn valkey_tells_its_own_version() {
        let redis = "# Server\r\nredis_version:8.2.3\r\nos:Linux\r\n";
        let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(version(redis).as_deref(), Some("8.2.3"));
        assert_eq!(version(valkey).as_deref(), Some("9.1.2"));
        assert_eq!(version("-ERR"), None);
    }
}
