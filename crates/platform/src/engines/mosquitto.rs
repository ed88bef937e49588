//! Mosquitto: MQTT and MQTT over websockets, with a password.

use super::{Ctx, Error};
use crate::{locate, process::Launch};

pub(super) async fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    let data = ctx.data()?;
    // The tool replaces the clear text in the file by a hash.
    let passwords = ctx.write_conf("passwords", &format!("{}:{}\n", ctx.user(), ctx.password()))?;
    let tool = locate::tool(ctx.program, "mosquitto_passwd").ok_or_else(|| {
        Error::Unusable("mosquitto_passwd is missing beside mosquitto; install the whole package".into())
    })?;
    let mut hash = ctx.launch(&data, ["-U".into(), passwords.clone().into_os_string()]);
    hash.program = tool;
    ctx.run_tool(hash).await?;

    // Mosquitto writes its store as a whole: every second bounds what a crash loses, at little cost on one machine.
    // Started by root it would become user `mosquitto`, who may not read the state folder; hence `user`.
    let conf = format!(
        "listener {mqtt} {bind}\nprotocol mqtt\n\
         listener {websockets} {bind}\nprotocol websockets\n\
         allow_anonymous false\npassword_file {passwords}\n{user}\
         persistence true\npersistence_location {data}/\nautosave_interval 1\n\
         max_queued_messages 100000\nmax_queued_bytes 67108864\nmessage_size_limit 8388608\n\
         log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_timestamp_format %Y-%m-%dT%H:%M:%S\n",
        mqtt = ctx.port("mqtt"),
        websockets = ctx.port("websockets"),
        bind = ctx.bind,
        passwords = passwords.display(),
        user = if crate::process::RunAs::needed() {
            "user root\n"
        } else {
            ""
        },
        data = data.display(),
    );
    let path = ctx.write_conf("mosquitto.conf", &conf)?;
    Ok(ctx.launch(&data, ["-c".into(), path.into_os_string()]))
}
