//! Grafana with the platform's Loki as its data source.

use serde_json::json;

use super::{Ctx, Error};
use crate::process::Launch;

/// The tenant whose logs Grafana shows: the platform's own.
const TENANT: &str = "isa";

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    let program = &ctx.program.program;
    // Grafana finds its pages beside its `bin` folder, or where Debian's package puts them.
    let beside = program
        .canonicalize()
        .ok()
        .and_then(|p| Some(p.parent()?.parent()?.to_owned()));
    let home = beside
        .into_iter()
        .chain(["/usr/share/grafana".into()])
        .find(|p| p.join("conf/defaults.ini").is_file());
    let home = home.ok_or_else(|| {
        Error::Unusable(format!(
            "no conf/defaults.ini beside {}; use the whole Grafana archive",
            program.display()
        ))
    })?;
    if let Some(loki) = ctx.loki {
        let sources = json!({ "apiVersion": 1, "datasources": [{
            "name": "Loki", "uid": "loki", "type": "loki", "access": "proxy", "url": loki.url, "isDefault": true,
            "jsonData": { "httpHeaderName1": "X-Scope-OrgID" },
            "secureJsonData": { "httpHeaderValue1": TENANT },
        }]});
        let folder = ctx.state.conf(ctx.kind).join("provisioning/datasources");
        crate::state::private_dir(&folder, None)?;
        crate::state::write_private(&folder.join("loki.yaml"), sources.to_string().as_bytes(), None)?;
    }
    let conf = format!(
        "[server]\nhttp_addr = {bind}\nhttp_port = {port}\n[paths]\ndata = {data}\nlogs = {data}/logs\nplugins = {data}/plugins\n\
         provisioning = {provisioning}\n[security]\nadmin_user = {user}\nadmin_password = {password}\ndisable_gravatar = true\n\
         [analytics]\nreporting_enabled = false\ncheck_for_updates = false\ncheck_for_plugin_updates = false\n[news]\nnews_feed_enabled = false\n\
         [log]\nmode = console\nlevel = warn\n",
        bind = ctx.bind,
        port = ctx.port("http"),
        data = data.display(),
        provisioning = ctx.state.conf(ctx.kind).join("provisioning").display(),
        user = ctx.user(),
        password = ctx.password(),
    );
    let path = ctx.write_conf("grafana.ini", &conf)?;
    let args = [
        "--homepath".into(),
        home.into_os_string(),
        "--config".into(),
        path.into_os_string(),
    ];
    // `grafana server` since version 10; `grafana-server` is the older name of the same program.
    let old = program.file_name().is_some_and(|n| n == "grafana-server");
    let args = (!old).then(|| "server".into()).into_iter().chain(args);
    Ok(ctx.launch(&data, args))
}
