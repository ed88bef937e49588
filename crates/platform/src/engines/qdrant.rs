//! Qdrant: the built-in vector engine as a child process, or a Qdrant server.

use super::{Ctx, Error};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    if ctx.program.implementation == "builtin" {
        let key = ctx.write_conf("api-key", ctx.password())?;
        let args = [
            "engine".into(),
            "qdrant".into(),
            "--storage".into(),
            data.clone().into_os_string(),
            "--host".into(),
            ctx.bind.to_string().into(),
            "--http-port".into(),
            ctx.port("rest").to_string().into(),
            "--grpc-port".into(),
            ctx.port("grpc").to_string().into(),
            "--api-key-file".into(),
            key.into_os_string(),
        ];
        return Ok(ctx.launch(&data, args));
    }
    let mut launch = ctx.launch(&data, ["--disable-telemetry"]);
    for (name, value) in [
        ("QDRANT__SERVICE__HOST", ctx.bind.to_string()),
        ("QDRANT__SERVICE__HTTP_PORT", ctx.port("rest").to_string()),
        ("QDRANT__SERVICE__GRPC_PORT", ctx.port("grpc").to_string()),
        ("QDRANT__SERVICE__API_KEY", ctx.password().to_owned()),
        (
            "QDRANT__STORAGE__STORAGE_PATH",
            data.join("storage").display().to_string(),
        ),
        (
            "QDRANT__STORAGE__SNAPSHOTS_PATH",
            data.join("snapshots").display().to_string(),
        ),
    ] {
        launch.env.push((name.into(), value.into()));
    }
    Ok(launch)
}
