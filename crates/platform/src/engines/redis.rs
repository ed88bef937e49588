//! Redis, or Valkey with the same configuration.

use super::{Ctx, Error, quoted};
use crate::process::Launch;

pub(super) fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    // Written to a file and not given as arguments, because arguments show in the process list.
    // everysec: a crash of the machine loses at most the last second; a crash of Redis alone what it held back while it
    // synced the file, for 2 s at most (aof.c, flushAppendOnlyFile).
    let conf = format!(
        "bind {bind}\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir {data}\ndaemonize no\n\
         appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory 512mb\nmaxmemory-policy noeviction\n\
         maxclients 4000\nloglevel notice\n",
        bind = ctx.bind,
        port = ctx.port("client"),
        password = quoted(ctx.password()),
        data = quoted(data.display()),
    );
    let path = ctx.write_conf("redis.conf", &conf)?;
    Ok(ctx.launch(&data, [path]))
}
