//! SeaweedFS, the second S3 engine: master, volume server, filer and S3 gateway in one process.

use std::{ffi::OsString, net::TcpListener};

use serde_json::json;

use super::{Ctx, Error};
use crate::process::Launch;

/// The parts that talk to each other inside the process; each takes a port for HTTP and one for gRPC.
const INNER_PORTS: [&str; 7] = [
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
];

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    let identity = json!({
        "identities": [{
            "name": ctx.user(),
            "credentials": [{ "accessKey": ctx.user(), "secretKey": ctx.password() }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]
    });
    let config = ctx.write_conf("s3.json", &identity.to_string())?;
    let mut args: Vec<OsString> = vec!["-logtostderr=true".into(), "server".into(), "-s3".into()];
    let mut flag = |name: &str, value: &str| args.push(format!("-{name}={value}").into());
    flag("dir", &data.to_string_lossy());
    flag("ip", &ctx.bind.to_string());
    flag("ip.bind", &ctx.bind.to_string());
    flag("s3.port", &ctx.port("api").to_string());
    flag("s3.config", &config.to_string_lossy());
    // Small volumes: the default of 30 GB each is made for storage servers.
    flag("master.volumeSizeLimitMB", "256");
    // Every bucket has seven of its own at once, however little it holds. As many as the disk's space divided by their full
    // size, which is the limit otherwise, are ten buckets on a laptop with 20 GB left; a full disk is refused all the same.
    flag("volume.max", "100000");
    // Held together so that they differ; chosen afresh at each start, because nobody else speaks to them.
    let mut held = Vec::new();
    for name in INNER_PORTS {
        let listener =
            TcpListener::bind((ctx.bind, 0)).map_err(|e| Error::Unusable(format!("no free port: {e}")))?;
        let port = listener
            .local_addr()
            .map_err(|e| Error::Unusable(format!("no free port: {e}")))?
            .port();
        flag(name, &port.to_string());
        held.push(listener);
    }
    Ok(ctx.launch(&data, args))
}
