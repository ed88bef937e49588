//! Neo4j Community, started straight on Java without its shell scripts, so that the process is the engine.

use std::{ffi::OsString, fs, time::Duration};

use super::{Ctx, Error};
use crate::process::Launch;

/// Password of a fresh installation; it works for nothing but changing it.
const FACTORY_PASSWORD: &str = "neo4j";
const OPENED: [&str; 4] = [
    "java.base/java.nio",
    "java.base/java.io",
    "java.base/sun.nio.ch",
    "java.base/java.util.concurrent",
];

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    let root = ctx.program.root.as_ref().ok_or_else(|| {
        Error::Unusable("the installation has no lib folder; run `isa engines install neo4j`".into())
    })?;
    let run = data.join("run");
    crate::state::private_dir(&run, None)?;
    // The quiet period is what Bolt's server waits, twice, for whoever might still call while it stops: 5 s each by default, for
    // connections that are closed by then.
    let conf = format!(
        "server.default_listen_address={bind}\nserver.bolt.listen_address={bolt}\nserver.http.listen_address={http}\n\
         server.https.enabled=false\nserver.directories.data={data}/data\nserver.directories.logs={data}/logs\n\
         server.directories.run={data}/run\nserver.directories.import={data}/import\nserver.directories.plugins={data}/plugins\n\
         server.directories.licenses={data}/licenses\nserver.memory.pagecache.size=128m\ndb.tx_log.rotation.retention_policy=2 days 256M\n\
         dbms.usage_report.enabled=false\ninternal.dbms.bolt.netty_server_shutdown_quiet_period=0\n",
        bind = ctx.bind,
        bolt = ctx.listen("bolt"),
        http = ctx.listen("http"),
        data = data.display(),
    );
    let path = ctx.write_conf("neo4j.conf", &conf)?;
    let folder = path.parent().unwrap_or(&data);
    let mut args: Vec<OsString> = vec![
        "-Xms128m".into(),
        "-Xmx512m".into(),
        "-XX:+UseSerialGC".into(),
        "-XX:+ExitOnOutOfMemoryError".into(),
    ];
    args.extend(OPENED.map(|package| format!("--add-opens={package}=ALL-UNNAMED").into()));
    args.push("-cp".into());
    args.push(root.join("lib/*").into_os_string());
    args.push("org.neo4j.server.CommunityEntryPoint".into());
    args.push(format!("--home-dir={}", data.display()).into());
    args.push(format!("--config-dir={}", folder.display()).into());
    Ok(ctx.launch(&data, args))
}

/// Replaces the factory password at the first start, through the documented Cypher command.
///
/// It is done when a marker file says so or when the factory password is refused: a crash between the change and
/// the marker is harmless.
pub(super) async fn set_first_password(ctx: &Ctx<'_>) -> Result<(), Error> {
    let marker = ctx.state.data(ctx.kind).join("password-set");
    if marker.exists() {
        return Ok(());
    }
    let failed = |e: reqwest::Error| Error::Password(e.without_url().to_string());
    let base = ctx.endpoint.urls.get("http").cloned().unwrap_or_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(failed)?;
    let body = serde_json::json!({ "statements": [{
        "statement": "ALTER CURRENT USER SET PASSWORD FROM $old TO $new",
        "parameters": { "old": FACTORY_PASSWORD, "new": ctx.password() },
    }]});
    loop {
        let request = client
            .post(format!("{base}/db/system/tx/commit"))
            .basic_auth(ctx.user(), Some(FACTORY_PASSWORD));
        match request.json(&body).send().await {
            // Not listening yet, or a machine so busy that it has not answered; the supervisor bounds the whole start and
            // watches the process. A request that was carried out after all shows as the factory password refused.
            Err(e) if e.is_connect() || e.is_timeout() => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Err(e) => return Err(failed(e)),
            Ok(answer) if answer.status() == reqwest::StatusCode::UNAUTHORIZED => break,
            Ok(answer) => {
                let answer: serde_json::Value = answer.json().await.map_err(failed)?;
                match answer["errors"][0]["code"].as_str() {
                    None => break,
                    // The system database starts a moment after the port is open.
                    Some(code) if code.contains("DatabaseUnavailable") || code.contains("Transient") => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Some(code) => return Err(Error::Password(code.to_owned())),
                }
            }
        }
    }
    fs::write(&marker, "").map_err(|e| crate::state::io_error("write", &marker, e))?;
    Ok(())
}
