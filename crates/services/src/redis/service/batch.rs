use redis::{Cmd, Pipeline};

use super::{Error, Store, answer, limits};
use crate::redis::names::{Name, Space};

/// One command of a batch, as it was asked.
#[derive(Debug)]
pub(crate) struct Command {
    /// In any case.
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) value: String,
    /// In milliseconds.
    pub(crate) life: Option<i64>,
}

impl Store {
    /// Runs all in one round trip, in order; what became of each. One that cannot be right lets none run.
    pub(crate) async fn batch(
        &self,
        space: Space<'_>,
        commands: &[Command],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        limits::some("commands", commands.len())?;
        let mut all = Pipeline::with_capacity(commands.len());
        for (index, command) in commands.iter().enumerate() {
            let built = build(space, command).map_err(|error| match error {
                Error::Invalid { field, why } => Error::invalid(format!("commands[{index}].{field}"), why),
                other => other,
            })?;
            all.add_command(built);
        }
        let answers = self.pipeline(space, all).await?;
        Ok(answers.into_iter().map(|one| answer(one).map(drop)).collect())
    }
}

fn build(space: Space<'_>, command: &Command) -> Result<Cmd, Error> {
    let Command {
        operation,
        key,
        value,
        life,
    } = command;
    limits::name("key", key)?;
    limits::value("value", value)?;
    let key = space.key(key);
    let operation = operation.to_ascii_uppercase();
    if life.is_some() && !matches!(operation.as_str(), "SET" | "EXPIRE") {
        return Err(Error::invalid("expiration", "is only for SET and EXPIRE"));
    }
    let with_value = |name| plain(name, key, value);
    Ok(match operation.as_str() {
        "SET" => {
            let mut set = with_value("SET");
            if life.is_some() {
                set.arg("PX").arg(limits::life("expiration", *life)?);
            }
            set
        }
        "APPEND" => with_value("APPEND"),
        "LPUSH" => with_value("LPUSH"),
        "RPUSH" => with_value("RPUSH"),
        "SADD" => with_value("SADD"),
        "SREM" => with_value("SREM"),
        "DELETE" | "DEL" => {
            let mut delete = redis::cmd("UNLINK");
            delete.arg(key);
            delete
        }
        "EXPIRE" => {
            let mut expire = redis::cmd("PEXPIRE");
            expire.arg(key).arg(limits::life("expiration", *life)?);
            expire
        }
        "INCR" => plain("INCRBY", key, delta(value)?),
        "DECR" => plain("DECRBY", key, delta(value)?),
        _ => {
            let known = "SET, APPEND, DELETE, EXPIRE, INCR, DECR, LPUSH, RPUSH, SADD, SREM";
            return Err(Error::invalid("operation", format!("must be one of {known}")));
        }
    })
}

fn plain(command: &str, key: Name<'_>, value: &str) -> Cmd {
    let mut built = Cmd::with_capacity(3, command.len() + key.len() + value.len());
    built.arg(command).arg(key).arg(value);
    built
}

/// A whole number as Redis reads it; 1 if nothing is said.
fn delta(value: &str) -> Result<&str, Error> {
    match value {
        "" => Ok("1"),
        value
            if value
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == value) =>
        {
            Ok(value)
        }
        _ => Err(Error::invalid("value", "is not an integer of 64 bits")),
    }
}
