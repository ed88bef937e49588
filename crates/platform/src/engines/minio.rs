//! MinIO: one node, one disk.

use super::{Ctx, Error};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    // MinIO looks for TLS certificates in the home folder unless told otherwise.
    let certs = ctx.state.conf(ctx.kind);
    crate::state::private_dir(&certs, None)?;
    let args = [
        "server".into(),
        "--quiet".into(),
        "--address".into(),
        ctx.listen("api").into(),
        "--console-address".into(),
        ctx.listen("console").into(),
        "--certs-dir".into(),
        certs.into_os_string(),
        data.clone().into_os_string(),
    ];
    let mut launch = ctx.launch(&data, args);
    for (name, value) in [
        ("MINIO_ROOT_USER", ctx.user()),
        ("MINIO_ROOT_PASSWORD", ctx.password()),
        ("MINIO_UPDATE", "off"),
        ("GOMEMLIMIT", "512MiB"),
    ] {
        launch.env.push((name.into(), value.into()));
    }
    Ok(launch)
}
