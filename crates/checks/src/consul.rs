use std::time::{Duration, Instant};

use isa_config::{Endpoint, EngineKind};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    Error, Probe, Step,
    error::shorten,
    http::{self, Http},
    poll::until,
    run::{Run, Stop, unique_name},
};

/// Serf's number for a member that is alive.
const ALIVE: u64 = 1;

/// How long the catalog may take to follow the agent.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let http = connect(endpoint)?;
    leader(&http).await?;
    // The agent's description wants the token, where there is one; the leader's address is public.
    let agent: Value = http::json("read the agent", http.get("/v1/agent/self")).await?;
    Ok(Probe {
        version: agent["Config"]["Version"].as_str().map(shorten),
    })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let http = &run.step("members", members(endpoint)).await?;
    run.step("leader", leader(http)).await?;

    let name = unique_name();
    let written = run.step("KV put and get", put_and_get(http, &name)).await;
    let delete = async {
        http::send(
            "delete the key",
            http.request(Method::DELETE, &format!("/v1/kv/{name}")),
        )
        .await
        .map(drop)
    };
    let removed = run.remove("KV delete", &name, delete).await;
    written.and(removed)?;

    let registered = run
        .step("service registered and healthy", register(http, &name))
        .await;
    let removed = run
        .remove("service deregistered", &name, deregister(http, &name))
        .await;
    registered.and(removed)
}

/// Whether the servers of an installation are a quorum: as many as there should be, all alive, all voters, one of
/// them the leader.
pub async fn quorum(endpoint: &Endpoint, servers: usize, limit: Duration) -> Step {
    let began = Instant::now();
    let outcome = match timeout(limit, voters(endpoint, servers)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::TimedOut(began.elapsed())),
    };
    Step {
        name: format!("quorum of {servers}"),
        took: began.elapsed(),
        error: outcome.err().map(|e| e.explain()),
    }
}

async fn voters(endpoint: &Endpoint, servers: usize) -> Result<(), Error> {
    let http = connect(endpoint)?;
    let what = "list the members";
    let members: Vec<Value> = http::json(what, http.get("/v1/agent/members")).await?;
    let is_server = |m: &&Value| m["Tags"]["role"] == "consul";
    let alive = members
        .iter()
        .filter(is_server)
        .filter(|m| m["Status"].as_u64() == Some(ALIVE))
        .count();
    if alive != servers {
        return Err(Error::wrong(
            what,
            format!("{servers} servers that are alive"),
            alive,
        ));
    }
    let what = "read the raft configuration";
    let raft: Value = http::json(what, http.get("/v1/operator/raft/configuration")).await?;
    let peers = raft["Servers"].as_array().map_or(&[][..], Vec::as_slice);
    let voters = peers.iter().filter(|p| p["Voter"] == true).count();
    let leaders = peers.iter().filter(|p| p["Leader"] == true).count();
    if (peers.len(), voters, leaders) == (servers, servers, 1) {
        Ok(())
    } else {
        let expected = format!("{servers} servers, all voters, one the leader");
        let got = format!("{} servers, {voters} voters, {leaders} leaders", peers.len());
        Err(Error::wrong(what, expected, got))
    }
}

fn connect(endpoint: &Endpoint) -> Result<Http, Error> {
    let mut http = Http::new(EngineKind::Consul, endpoint)?;
    if let Some(token) = &endpoint.password {
        http.secret_header("x-consul-token", token.expose())?;
    }
    Ok(http)
}

async fn members(endpoint: &Endpoint) -> Result<Http, Error> {
    let what = "list the members";
    let http = connect(endpoint)?;
    let members: Vec<Value> = http::json(what, http.get("/v1/agent/members")).await?;
    let alive = members
        .iter()
        .filter(|m| m["Status"].as_u64() == Some(ALIVE))
        .count();
    if alive == 0 {
        return Err(Error::wrong(
            what,
            "at least one that is alive",
            format!("none of {}", members.len()),
        ));
    }
    Ok(http)
}

async fn leader(http: &Http) -> Result<(), Error> {
    let what = "ask for the leader";
    let leader: String = http::json(what, http.get("/v1/status/leader")).await?;
    if leader.is_empty() {
        Err(Error::wrong(what, "an address", "none: no leader is elected"))
    } else {
        Ok(())
    }
}

async fn put_and_get(http: &Http, key: &str) -> Result<(), Error> {
    let path = format!("/v1/kv/{key}");
    let stored: bool = http::json("put a key", http.request(Method::PUT, &path).body(key.to_owned())).await?;
    if !stored {
        return Err(Error::wrong("put a key", true, stored));
    }
    let value = http::send("get the key", http.get(&format!("{path}?raw"))).await?;
    if value != key.as_bytes() {
        return Err(Error::wrong("get the key", key, String::from_utf8_lossy(&value)));
    }
    Ok(())
}

async fn register(http: &Http, name: &str) -> Result<(), Error> {
    let service = json!({
        "ID": name,
        "Name": name,
        "Address": "127.0.0.1",
        "Port": 1,
        // Consul removes it by itself should the check die before it does.
        "Check": { "TTL": "60s", "Status": "passing", "DeregisterCriticalServiceAfter": "1m" },
    });
    let request = http
        .request(Method::PUT, "/v1/agent/service/register")
        .json(&service);
    http::send("register a service", request).await?;
    until(async || Ok(healthy(http, name).await?.len() == 1)).await
}

async fn deregister(http: &Http, name: &str) -> Result<(), Error> {
    let what = "deregister the service";
    let path = format!("/v1/agent/service/deregister/{name}");
    match http::send(what, http.request(Method::PUT, &path)).await {
        // The registration failed, so there is nothing to remove.
        Err(Error::Wrong { got, .. }) if got.starts_with("HTTP 404") => return Ok(()),
        other => other?,
    };
    let gone = until(async || Ok(healthy(http, name).await?.is_empty()));
    if let Ok(gone) = timeout(PATIENCE, gone).await {
        return gone;
    }
    // The agent takes services out of the catalog with a token of its own, which may not suffice; ours may.
    for instance in healthy(http, name).await? {
        let entry = json!({ "Node": instance["Node"]["Node"], "ServiceID": name });
        http::send(
            what,
            http.request(Method::PUT, "/v1/catalog/deregister").json(&entry),
        )
        .await?;
    }
    let got = format!(
        "still listed after {PATIENCE:?}; does the agent's own token (acl.tokens.agent) write services?"
    );
    Err(Error::wrong(what, "the service gone from the catalog", got))
}

/// The instances of a service that the catalog holds for healthy.
async fn healthy(http: &Http, name: &str) -> Result<Vec<Value>, Error> {
    let path = format!("/v1/health/service/{name}?passing=true");
    http::json("query the service's health", http.get(&path)).await
}
