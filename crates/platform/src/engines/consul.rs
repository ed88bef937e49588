//! Consul: one server that is its own quorum.

use serde_json::json;

use super::{Ctx, Error};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    let conf = json!({
        "server": true,
        "bootstrap_expect": 1,
        "node_name": "isa",
        "data_dir": data,
        "bind_addr": ctx.bind,
        "client_addr": ctx.bind,
        "ports": {
            "http": ctx.port("http"),
            "dns": ctx.port("dns"),
            "server": ctx.port("server"),
            "serf_lan": ctx.port("serf_lan"),
            "serf_wan": ctx.port("serf_wan"),
            "grpc": ctx.port("grpc"),
            "grpc_tls": -1,
            "https": -1,
        },
        "ui_config": { "enabled": true },
        "disable_update_check": true,
        // The only server must stay in its own Raft configuration, or its data would be lost to the next start.
        "leave_on_terminate": false,
        "skip_leave_on_interrupt": true,
        // The default is made for small cloud machines and takes five times as long to elect a leader.
        "performance": { "raft_multiplier": 1 },
        // Health checks that are given as shell commands would let a web page run programs here.
        "enable_script_checks": false,
        "log_level": "info",
    });
    let path = ctx.write_conf("consul.json", &conf.to_string())?;
    Ok(ctx.launch(
        &data,
        ["agent".into(), "-config-file".into(), path.into_os_string()],
    ))
}
