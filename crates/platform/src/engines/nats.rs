//! NATS with JetStream.

use super::{Ctx, Error, quoted};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    // sync_interval always: JetStream acknowledges a message only after fsync, which is the platform's promise.
    let conf = format!(
        "server_name: isa\nhost: {host}\nport: {port}\nhttp: {monitor}\n\
         authorization {{ user: {user}, password: {password}, timeout: 5 }}\n\
         jetstream {{ store_dir: {data}, max_memory_store: 256MB, max_file_store: 10GB, sync_interval: always }}\n\
         max_payload: 8MB\nmax_pending: 64MB\nmax_connections: 4096\n",
        host = quoted(ctx.bind),
        port = ctx.port("client"),
        monitor = quoted(ctx.listen("monitor")),
        user = quoted(ctx.user()),
        password = quoted(ctx.password()),
        data = quoted(data.display()),
    );
    let path = ctx.write_conf("nats.conf", &conf)?;
    Ok(ctx.launch(&data, ["-c".into(), path.into_os_string()]))
}
