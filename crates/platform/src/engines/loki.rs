//! Loki: every part in one process, on the file system.

use serde_json::json;

use super::{Ctx, Error};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    let inside = |name: &str| data.join(name);
    let scheduler = ctx.listen("grpc");
    // JSON is YAML.
    let conf = json!({
        // Tenants by X-Scope-OrgID: a request without one is refused.
        "auth_enabled": true,
        "target": "all",
        "analytics": { "reporting_enabled": false },
        "server": {
            "http_listen_address": ctx.bind,
            "http_listen_port": ctx.port("http"),
            "grpc_listen_address": ctx.bind,
            "grpc_listen_port": ctx.port("grpc"),
            "grpc_server_max_recv_msg_size": 16 << 20,
            "log_level": "warn",
        },
        "common": {
            "instance_addr": ctx.bind,
            "path_prefix": data,
            "replication_factor": 1,
            "ring": { "instance_addr": ctx.bind, "kvstore": { "store": "inmemory" } },
            "storage": { "filesystem": { "chunks_directory": inside("chunks"), "rules_directory": inside("rules") } },
        },
        // Its own scheduler by address. In a ring, the scheduler takes no query in its first 3 s, and the frontend
        // first looks for it after 10 s, until which Loki is not ready.
        "frontend": { "scheduler_address": scheduler },
        "frontend_worker": { "scheduler_address": scheduler },
        "ingester": {
            // Alone in its ring, it has nobody to hand over to or to wait for.
            "lifecycler": { "min_ready_duration": "0s", "final_sleep": "0s" },
            "wal": { "enabled": true, "dir": inside("wal"), "replay_memory_ceiling": "256MB" },
            // Entries may be a week old when they come, and are in the ingester until it writes their chunk. In one
            // process the querier asks it for no older ones than this says: 3 h if it says nothing.
            "query_store_max_look_back_period": "192h",
        },
        "schema_config": { "configs": [{
            "from": "2024-01-01",
            "store": "tsdb",
            "object_store": "filesystem",
            "schema": "v13",
            "index": { "prefix": "index_", "period": "24h" },
        }]},
        "compactor": {
            "working_directory": inside("compactor"),
            "retention_enabled": true,
            "delete_request_store": "filesystem",
        },
        "limits_config": {
            "retention_period": "744h",
            "ingestion_rate_mb": 32,
            "ingestion_burst_size_mb": 64,
            "max_global_streams_per_user": 10000,
            "allow_structured_metadata": true,
            "volume_enabled": true,
            // Labels come back as they were given: Loki adds none of its own.
            "discover_service_name": [],
            "discover_log_levels": false,
            // One stream may take all that its tenant may.
            "per_stream_rate_limit": "32MB",
            "per_stream_rate_limit_burst": "64MB",
            "max_query_series": 10000,
            // On one node, a part for each hour of a query costs more than it saves.
            "split_queries_by_interval": "24h",
            "split_instant_metric_queries_by_interval": "24h",
            "max_concurrent_tail_requests": 1000,
        },
    });
    let path = ctx.write_conf("loki.yaml", &conf.to_string())?;
    let mut launch = ctx.launch(&data, [format!("-config.file={}", path.display())]);
    launch.env.push(("GOMEMLIMIT".into(), "512MiB".into()));
    Ok(launch)
}
