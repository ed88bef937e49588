use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, KeysInterface},
    types::{
        ClusterHash, CustomCommand, Expiration,
        config::{Config, ServerConfig, TlsConfig, TlsConnector},
    },
};
use isa_config::{Endpoint, EngineKind};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Error, Probe,
    address::Address,
    error::shorten,
    run::{Run, Stop, unique_name},
    tls,
};

/// A connection whose background task ends with it.
struct Session {
    client: Client,
    task: AbortOnDropHandle<Result<(), RedisError>>,
}

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let mut session = connect(endpoint).await?;
    let client = session.client.clone();
    let info = CustomCommand::new_static("INFO", ClusterHash::FirstKey, false);
    let info: String = session.call("INFO", client.custom(info, vec!["server"])).await?;
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
    let client = session.client.clone();
    // It expires, should the check die before it removes it.
    let set = client.set::<(), _, _>(key, key, Some(Expiration::EX(60)), None, false);
    session.call("SET", set).await?;
    let value: Option<String> = session.call("GET", client.get(key)).await?;
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
    let client = session.client.clone();
    session.call("DEL", client.del::<(), _>(key)).await
}

async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
    let address = Address::main(EngineKind::Redis, endpoint)?;
    let tls = match address.url.scheme() {
        "rediss" => Some(TlsConfig::from(TlsConnector::from(tls::client_config()?))),
        _ => None,
    };
    let config = Config {
        server: ServerConfig::new_centralized(address.host, address.port),
        username: endpoint.username.clone(),
        password: endpoint.password.as_ref().map(|p| p.expose().to_owned()),
        tls,
        ..Config::default()
    };
    let client = Client::new(config, None, None, None);
    let task = AbortOnDropHandle::new(client.connect());
    Ok(Session { client, task })
}

impl Session {
    async fn ping(&mut self) -> Result<(), Error> {
        let client = self.client.clone();
        let pong: String = self.call("PING", client.ping(None)).await?;
        if pong == "PONG" {
            Ok(())
        } else {
            Err(Error::wrong("PING", "PONG", pong))
        }
    }

    /// Waits for an answer. The client keeps commands for as long as there is no connection, and tells why there is
    /// none only by ending its task.
    async fn call<T>(
        &mut self,
        what: &'static str,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = command => answer.map_err(|e| failed(what, e)),
            ended = &mut self.task => Err(match ended {
                Ok(Err(error)) => failed(what, error),
                Ok(Ok(())) => Error::protocol(what, "the connection was closed"),
                Err(panic) => Error::protocol(what, panic),
            }),
        }
    }
}

fn failed(what: &'static str, error: RedisError) -> Error {
    match error.kind() {
        ErrorKind::Auth => Error::unauthorized(what, error.details()),
        _ => Error::protocol(what, error),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn valkey_tells_its_own_version() {
        let redis = "# Server\r\nredis_version:8.2.3\r\nos:Linux\r\n";
        let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(version(redis).as_deref(), Some("8.2.3"));
        assert_eq!(version(valkey).as_deref(), Some("9.1.2"));
        assert_eq!(version("-ERR"), None);
    }
}
