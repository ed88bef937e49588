//! What must happen in one step, with a look at what is there.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, Script, ServerErrorKind, Value};

use super::{Error, Store};
use crate::redis::names::Name;

/// Redis' own clock in milliseconds: replicas of this service need not agree on the time.
const NOW: &str = "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
";

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<(Script, String)> = LazyLock::new(|| {
            let body = format!("{NOW}{}", include_str!(concat!("scripts/", $file)));
            (Script::new(&body), body)
        });)*
    };
}

scripts! {
    ACQUIRE = "acquire.lua";
    RELEASE = "release.lua";
    RENEW = "renew.lua";
    CREATE_SESSION = "create_session.lua";
    READ_SESSION = "read_session.lua";
    UPDATE_SESSION = "update_session.lua";
    DELETE_SESSION = "delete_session.lua";
    LIST_SESSIONS = "list_sessions.lua";
}

impl Store {
    /// Runs a script by its hash; one that Redis does not have yet is sent along. All keys are of one tenant.
    pub(super) async fn script(
        &self,
        (script, body): &(Script, String),
        keys: &[Name<'_>],
        arguments: &[&str],
    ) -> Result<Value, Error> {
        let Some(space) = keys.first().map(|key| key.space) else {
            return Err(Error::Unexpected("a script without keys".into()));
        };
        let call = |how: &str, what: &str| {
            let mut command = Cmd::with_capacity(3 + keys.len() + arguments.len(), 0);
            command
                .arg(how)
                .arg(what)
                .arg(keys.len())
                .arg(keys)
                .arg(arguments);
            command
        };
        match self
            .small
            .command(space, call("EVALSHA", script.get_hash()))
            .await
        {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                Ok(self.small.command(space, call("EVAL", body)).await?)
            }
            answer => Ok(answer?),
        }
    }
}
