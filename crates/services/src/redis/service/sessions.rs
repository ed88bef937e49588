use std::collections::BTreeMap;

use redis::Value;

use super::{Error, Store, answer as answer_of, limits, reply, scripts};
use crate::redis::names::{Name, Space};

/// How long a session lives if it is not said, in milliseconds.
pub(crate) const CREATED_LIFE_MS: i64 = 3600 * 1000;

/// How long it may live at most. The lists of a user's sessions live as long after they were last written.
const LONGEST_MS: i64 = 30 * 24 * 3600 * 1000;

/// Most bytes of a session's data.
const DATA_BYTES: usize = 1 << 20;

/// Most entries of a call.
const ENTRIES: usize = 10_000;

/// Most live sessions of a user.
const SESSIONS: usize = 10_000;

/// Most that a listing gives, and how many are read at once.
const LISTED: (usize, usize) = (1000, 64);

/// Marks entries of the data among the fields of a session.
const DATA: &str = "d:";

/// A session. Times are milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) created: i64,
    pub(crate) ends: i64,
    pub(crate) last_used: i64,
}

impl Store {
    /// Its id, and when it ends in milliseconds since 1970.
    pub(crate) async fn create_session(
        &self,
        space: Space<'_>,
        user: &str,
        data: &BTreeMap<String, String>,
        life: i64,
    ) -> Result<(String, i64), Error> {
        let life = limits::life_within("ttl", Some(life), 1, LONGEST_MS)?;
        check(data)?;
        let id = format!("{:032x}", rand::random::<u128>());
        let (lived, most, longest) = (life.to_string(), SESSIONS.to_string(), LONGEST_MS.to_string());
        let mut arguments = vec![id.as_str(), user, &lived, &most, &longest];
        arguments.extend(data.iter().flat_map(|(key, value)| [key.as_str(), value]));
        let answer = self
            .script(&scripts::CREATE_SESSION, &keys(space, &id, user), &arguments)
            .await?;
        match reply::int(answer)? {
            0 => Err(Error::Quota(
                "the user has 10000 sessions, as many as one may have; end some first",
            )),
            now => Ok((id, now.saturating_add(life))),
        }
    }

    /// Notes that it was used.
    pub(crate) async fn read_session(
        &self,
        space: Space<'_>,
        user: &str,
        id: &str,
    ) -> Result<Option<Session>, Error> {
        limits::name("session_id", id)?;
        let answer = self
            .script(&scripts::READ_SESSION, &[space.session(id)], &[user])
            .await?;
        let Some(parts) = reply::maybe(answer, reply::list)? else {
            return Ok(None);
        };
        match <[Value; 2]>::try_from(parts) {
            Ok([ends, fields]) => Ok(Some(session(id, reply::int(ends)?, fields)?)),
            Err(_) => Err(Error::shape(&Value::Nil)),
        }
    }

    /// Whether there was one of the user's.
    pub(crate) async fn update_session(
        &self,
        space: Space<'_>,
        user: &str,
        id: &str,
        data: &BTreeMap<String, String>,
        anew: bool,
    ) -> Result<bool, Error> {
        limits::name("session_id", id)?;
        check(data)?;
        let (most, longest) = (DATA_BYTES.to_string(), LONGEST_MS.to_string());
        let mut arguments = vec![id, user, if anew { "1" } else { "0" }, &most, &longest];
        arguments.extend(data.iter().flat_map(|(key, value)| [key.as_str(), value]));
        let answer = self
            .script(&scripts::UPDATE_SESSION, &keys(space, id, user), &arguments)
            .await?;
        match reply::int(answer)? {
            -1 => Err(too_large()),
            found => Ok(found == 1),
        }
    }

    /// Whether there was one of the user's.
    pub(crate) async fn delete_session(&self, space: Space<'_>, user: &str, id: &str) -> Result<bool, Error> {
        limits::name("session_id", id)?;
        let answer = self
            .script(&scripts::DELETE_SESSION, &keys(space, id, user), &[id, user])
            .await?;
        reply::flag(answer)
    }

    /// The user's, newest first.
    pub(crate) async fn list_sessions(&self, space: Space<'_>, user: &str) -> Result<Vec<Session>, Error> {
        let lists = [space.sessions_by_end(user), space.sessions_by_start(user)];
        let most = LISTED.0.to_string();
        let answer = self.script(&scripts::LIST_SESSIONS, &lists, &[&most]).await?;
        let Ok([now, ids]) = <[Value; 2]>::try_from(reply::list(answer)?) else {
            return Err(Error::shape(&Value::Nil));
        };
        let (now, ids) = (reply::int(now)?, reply::texts(ids)?);
        let mut sessions = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        for some in ids.chunks(LISTED.1) {
            let mut commands = redis::pipe();
            for id in some {
                commands.cmd("PTTL").arg(space.session(id));
                commands.cmd("HGETALL").arg(space.session(id));
            }
            let mut answers = self.pipeline(space, commands).await?.into_iter();
            for id in some {
                let (Some(left), Some(fields)) = (answers.next(), answers.next()) else {
                    return Err(Error::shape(&Value::Nil));
                };
                let left = reply::int(answer_of(left)?)?;
                // One that ended meanwhile is not listed.
                if left > 0 {
                    let session = session(id, now.saturating_add(left), answer_of(fields)?)?;
                    bytes += session
                        .data
                        .iter()
                        .map(|(key, value)| key.len() + value.len())
                        .sum::<usize>();
                    sessions.push(session);
                }
            }
            if bytes > reply::ANSWER_BYTES {
                return Err(Error::TooLarge(
                    "the sessions have more than 100 MiB together; read them one by one",
                ));
            }
        }
        Ok(sessions)
    }
}

fn keys<'a>(space: Space<'a>, id: &'a str, user: &'a str) -> [Name<'a>; 3] {
    [
        space.session(id),
        space.sessions_by_end(user),
        space.sessions_by_start(user),
    ]
}

fn check(data: &BTreeMap<String, String>) -> Result<(), Error> {
    if data.len() > ENTRIES {
        return Err(Error::invalid(
            "data",
            format!("has {} entries, and may have {ENTRIES}", data.len()),
        ));
    }
    let bytes: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > DATA_BYTES {
        return Err(too_large());
    }
    Ok(())
}

fn too_large() -> Error {
    Error::invalid("data", "has more than 1 MiB, keys and values together")
}

fn session(id: &str, ends: i64, fields: Value) -> Result<Session, Error> {
    let mut session = Session {
        id: id.to_owned(),
        ends,
        ..Session::default()
    };
    for (field, value) in reply::pairs(fields, reply::text)? {
        let time = |text: &str| text.parse().unwrap_or_default();
        match field.as_str() {
            "start" => session.created = time(&value),
            "seen" => session.last_used = time(&value),
            other => {
                if let Some(key) = other.strip_prefix(DATA) {
                    session.data.insert(key.to_owned(), value);
                }
            }
        }
    }
    Ok(session)
}
