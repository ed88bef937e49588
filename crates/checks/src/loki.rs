use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isa_config::{Endpoint, EngineKind};
use reqwest::{Method, header::HeaderValue};
use serde_json::{Value, json};

use crate::{
    Error, Probe,
    error::shorten,
    http::{self, Http},
    poll::until,
    run::{Run, Stop, unique_name},
};

/// The tenant where the endpoint names none.
const TENANT: &str = "isa-verify";

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let http = connect(endpoint)?;
    http::send("ask whether it is ready", http.get("/ready")).await?;
    let what = "read the version";
    let build: Value = http::json(what, http.get("/loki/api/v1/status/buildinfo")).await?;
    let Some(version) = build["version"].as_str() else {
        return Err(Error::wrong(what, "a version", build));
    };
    // Empty in a Loki that was not built by its own makefile.
    Ok(Probe {
        version: (!version.is_empty()).then(|| shorten(version)),
    })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let ready = async {
        let http = connect(endpoint)?;
        http::send("ask whether it is ready", http.get("/ready")).await?;
        Ok(http)
    };
    let http = &run.step("ready", ready).await?;
    let line = unique_name();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    run.step("line pushed", push(http, now, &line)).await?;
    // Loki removes lines by retention only; this one is the tenant's to keep.
    run.step("line queried back", until(async || found(http, now, &line).await))
        .await
}

fn connect(endpoint: &Endpoint) -> Result<Http, Error> {
    let mut http = Http::new(EngineKind::Loki, endpoint)?;
    let tenant = endpoint.username.as_deref().unwrap_or(TENANT);
    let invalid = |_| Error::Address {
        field: "username",
        why: "is no tenant: it cannot be sent in a header".into(),
    };
    http.headers
        .insert("x-scope-orgid", HeaderValue::from_str(tenant).map_err(invalid)?);
    // A proxy in front of Loki asks for it; Loki itself ignores it.
    http.basic = endpoint
        .password
        .as_ref()
        .map(|p| (tenant.to_owned(), p.expose().to_owned()));
    Ok(http)
}

async fn push(http: &Http, at: Duration, line: &str) -> Result<(), Error> {
    // One stream for all checks ever made: each further label value would be a stream for Loki to keep.
    let streams = json!({"streams": [{
        "stream": {"job": "isa-verify"},
        "values": [[at.as_nanos().to_string(), line]],
    }]});
    http::send(
        "push a line",
        http.request(Method::POST, "/loki/api/v1/push").json(&streams),
    )
    .await
    .map(drop)
}

async fn found(http: &Http, at: Duration, line: &str) -> Result<bool, Error> {
    let what = "query the line";
    let around = Duration::from_secs(60);
    let query = http.get("/loki/api/v1/query_range").query(&[
        ("query", format!("{{job=\"isa-verify\"}} |= \"{line}\"")),
        ("start", at.saturating_sub(around).as_nanos().to_string()),
        ("end", (at + around).as_nanos().to_string()),
        ("limit", "10".to_owned()),
    ]);
    let answer: Value = http::json(what, query).await?;
    let Some(streams) = answer["data"]["result"].as_array() else {
        return Err(Error::wrong(what, "data.result", answer));
    };
    let mut lines = streams.iter().filter_map(|s| s["values"].as_array()).flatten();
    Ok(lines.any(|value| value[1] == line))
}
