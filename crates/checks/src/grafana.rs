use isa_config::{Endpoint, EngineKind};
use serde_json::Value;

use crate::{
    Error, Probe,
    error::shorten,
    http::{self, Http},
    run::{Run, Stop},
};

/// The Loki data source that the platform provisions, by its uid.
const LOKI: &str = "/api/datasources/uid/loki";

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let http = connect(endpoint)?;
    let version = health(&http).await?;
    // Health is public; this wants the password.
    http::send("read the organization", http.get("/api/org")).await?;
    Ok(Probe { version })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let health = async {
        let http = connect(endpoint)?;
        health(&http).await?;
        Ok(http)
    };
    let http = &run.step("health", health).await?;
    run.step("Loki data source provisioned", data_source(http))
        .await?;
    run.step("Loki data source healthy", data_source_health(http))
        .await
}

fn connect(endpoint: &Endpoint) -> Result<Http, Error> {
    let mut http = Http::new(EngineKind::Grafana, endpoint)?;
    match (&endpoint.username, &endpoint.password) {
        (Some(user), Some(password)) => http.basic = Some((user.clone(), password.expose().to_owned())),
        // A service account's token.
        (None, Some(token)) => http.secret_header("authorization", &format!("Bearer {}", token.expose()))?,
        (_, None) => {}
    }
    Ok(http)
}

/// Returns the version, where Grafana tells it.
async fn health(http: &Http) -> Result<Option<String>, Error> {
    let what = "read the health";
    let health: Value = http::json(what, http.get("/api/health")).await?;
    if health["database"] != "ok" {
        return Err(Error::wrong(what, "database: \"ok\"", health));
    }
    Ok(health["version"].as_str().map(shorten))
}

async fn data_source(http: &Http) -> Result<(), Error> {
    let what = "read the data source \"loki\"";
    let source: Value = http::json(what, http.get(LOKI)).await?;
    if source["type"] == "loki" {
        Ok(())
    } else {
        Err(Error::wrong(what, "type \"loki\"", &source["type"]))
    }
}

async fn data_source_health(http: &Http) -> Result<(), Error> {
    let what = "ask for the health of the data source \"loki\"";
    let health: Value = http::json(what, http.get(&format!("{LOKI}/health"))).await?;
    if health["status"] == "OK" {
        Ok(())
    } else {
        Err(Error::wrong(what, "status \"OK\"", health))
    }
}
