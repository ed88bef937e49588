use isa_config::{Endpoint, EngineKind};
use tokio_postgres::{Client, Config, NoTls, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;
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
    _task: AbortOnDropHandle<Result<(), tokio_postgres::Error>>,
}

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let (_, version) = select(endpoint).await?;
    Ok(Probe {
        version: Some(version),
    })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let (mut session, _) = run.step("SELECT", select(endpoint)).await?;
    let schema = unique_name();
    let made = async {
        run.step("CREATE TABLE, INSERT, SELECT", create_and_read(&session, &schema))
            .await?;
        run.step("pgvector distance", distance(&mut session, &schema))
            .await
    }
    .await;
    // On a connection of its own: the first may be waiting for an answer that does not come, holding locks.
    drop(session);
    let removed = run
        .remove("DROP SCHEMA", &schema, drop_schema(endpoint, &schema))
        .await;
    made.and(removed)
}

async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
    let what = "connect";
    let address = Address::main(EngineKind::Postgres, endpoint)?;
    // The whole URL, for its parameters such as sslmode=require.
    let mut config: Config = address.url.as_str().parse().map_err(|e| failed(what, e))?;
    config.user(endpoint.username.as_deref().unwrap_or("postgres"));
    if let Some(password) = &endpoint.password {
        config.password(password.expose());
    }
    config.application_name("isa-verify");
    let (client, task) = match config.get_ssl_mode() {
        SslMode::Require => {
            let tls = MakeRustlsConnect::new(tls::client_config()?);
            let (client, connection) = config.connect(tls).await.map_err(|e| failed(what, e))?;
            (client, tokio::spawn(connection))
        }
        _ => {
            let (client, connection) = config.connect(NoTls).await.map_err(|e| failed(what, e))?;
            (client, tokio::spawn(connection))
        }
    };
    // How a connection ends is told to the requests on it.
    Ok(Session {
        client,
        _task: AbortOnDropHandle::new(task),
    })
}

/// Connects and asks for the version, such as `18.6`.
async fn select(endpoint: &Endpoint) -> Result<(Session, String), Error> {
    let what = "SELECT";
    let session = connect(endpoint).await?;
    let row = session
        .client
        .query_one("SELECT current_setting('server_version')", &[])
        .await;
    let text: String = row.and_then(|r| r.try_get(0)).map_err(|e| failed(what, e))?;
    // Debian adds its own: "15.13 (Debian 15.13-0+deb12u1)".
    let version = shorten(text.split(' ').next().unwrap_or_default());
    Ok((session, version))
}

async fn create_and_read(session: &Session, schema: &str) -> Result<(), Error> {
    let what = "CREATE SCHEMA and TABLE";
    let sql = format!(
        "CREATE SCHEMA \"{schema}\"; CREATE TABLE \"{schema}\".t (id int PRIMARY KEY, name text NOT NULL)"
    );
    session
        .client
        .batch_execute(&sql)
        .await
        .map_err(|e| failed(what, e))?;

    let insert = format!("INSERT INTO \"{schema}\".t VALUES ($1, $2)");
    let inserted = session.client.execute(&insert, &[&1_i32, &schema]).await;
    inserted.map_err(|e| failed("INSERT", e))?;

    let read = format!("SELECT name FROM \"{schema}\".t WHERE id = $1");
    let row = session.client.query_one(&read, &[&1_i32]).await;
    let name: String = row
        .and_then(|r| r.try_get(0))
        .map_err(|e| failed("SELECT the row back", e))?;
    if name == schema {
        Ok(())
    } else {
        Err(Error::wrong("SELECT the row back", schema, name))
    }
}

/// Where the database does not have the extension yet, it gets it for the length of a transaction that is undone.
async fn distance(session: &mut Session, schema: &str) -> Result<(), Error> {
    let what = "pgvector";
    let transaction = session.client.transaction().await.map_err(|e| failed(what, e))?;
    let create = format!("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA \"{schema}\"");
    transaction
        .batch_execute(&create)
        .await
        .map_err(|e| failed("CREATE EXTENSION vector", e))?;
    // It may have been in another schema, one that the search path does not name.
    let find = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'";
    let row = transaction.query_one(find, &[]).await;
    let home: String = row.and_then(|r| r.try_get(0)).map_err(|e| failed(what, e))?;
    let ask = format!("SELECT '[1,2,2]'::{home}.vector OPERATOR({home}.<->) '[0,0,0]'::{home}.vector");
    let row = transaction.query_one(&ask, &[]).await;
    let distance: f64 = row.and_then(|r| r.try_get(0)).map_err(|e| failed(what, e))?;
    transaction.rollback().await.map_err(|e| failed(what, e))?;
    if distance == 3.0 {
        Ok(())
    } else {
        Err(Error::wrong("distance of [1,2,2] and [0,0,0]", 3, distance))
    }
}

async fn drop_schema(endpoint: &Endpoint, schema: &str) -> Result<(), Error> {
    let session = connect(endpoint).await?;
    let sql = format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE");
    session
        .client
        .batch_execute(&sql)
        .await
        .map_err(|e| failed("DROP SCHEMA", e))
}

fn failed(what: &'static str, error: tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else {
        return Error::protocol(what, error);
    };
    let text = format!("{} (SQLSTATE {})", answer.message(), answer.code().code());
    let refusals = [
        &SqlState::INVALID_PASSWORD,
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        &SqlState::INSUFFICIENT_PRIVILEGE,
    ];
    if refusals.contains(&answer.code()) {
        Error::unauthorized(what, text)
    } else {
        Error::wrong(what, "success", text)
    }
}
