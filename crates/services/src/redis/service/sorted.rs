use super::{Error, Key, Part, Store, bytes_of, limits, on, reply};
use crate::redis::names::Space;

/// Digits of a score, about.
const SCORE: usize = 24;

impl Store {
    /// How many were new.
    pub(crate) async fn sorted_add(
        &self,
        space: Space<'_>,
        key: &str,
        members: &[(String, f64)],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("members", members.iter().map(|(member, _)| member.as_str()))?;
        for (index, (_, score)) in members.iter().enumerate() {
            limits::finite("score", *score)
                .map_err(|_| Error::invalid(format!("members[{index}].score"), "is not a finite number"))?;
        }
        let bytes = members.iter().map(|(member, _)| member.len() + SCORE).sum();
        let mut command = on("ZADD", key, 2 * members.len(), bytes);
        for (member, score) in members {
            command.arg(*score).arg(member);
        }
        reply::count(self.tell(key, bytes, command).await?)
    }

    /// How many were there.
    pub(crate) async fn sorted_remove(
        &self,
        space: Space<'_>,
        key: &str,
        members: &[String],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("members", members.iter().map(String::as_str))?;
        let bytes = bytes_of(members);
        let mut command = on("ZREM", key, members.len(), bytes);
        command.arg(members);
        reply::count(self.tell(key, bytes, command).await?)
    }

    /// Without scores, every score is 0.
    pub(crate) async fn sorted_range(
        &self,
        space: Space<'_>,
        key: &str,
        start: i32,
        stop: i32,
        with_scores: bool,
    ) -> Result<Vec<(String, f64)>, Error> {
        let key = Key::new(space, key)?;
        let part = Part::Range("ZCARD", start, stop);
        let mut command = on("ZRANGE", key, 3, 2 * SCORE);
        command.arg(start).arg(stop);
        if with_scores {
            command.arg("WITHSCORES");
            return reply::pairs(self.read(key, part, command).await?, reply::score);
        }
        let members = reply::texts(self.read(key, part, command).await?)?;
        Ok(members.into_iter().map(|member| (member, 0.0)).collect())
    }

    /// Those from `min` to `max`, both included, but the first `offset`; at most `count`, where 0 and -1 are all.
    pub(crate) async fn sorted_by_score(
        &self,
        space: Space<'_>,
        key: &str,
        (min, max): (f64, f64),
        offset: i32,
        count: i32,
    ) -> Result<Vec<(String, f64)>, Error> {
        let key = Key::new(space, key)?;
        for (field, end) in [("min_score", min), ("max_score", max)] {
            if end.is_nan() {
                return Err(Error::invalid(field, "is not a number"));
            }
        }
        if offset < 0 {
            return Err(Error::invalid("offset", "is negative"));
        }
        if count < -1 {
            return Err(Error::invalid("count", "is negative; -1 and 0 mean all"));
        }
        let mut command = on("ZRANGEBYSCORE", key, 6, 4 * SCORE);
        command
            .arg(min)
            .arg(max)
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(offset);
        let count = if count == 0 { -1 } else { count };
        command.arg(count);
        let part = match count {
            -1 => Part::All,
            count => Part::Range("ZCARD", 0, count - 1),
        };
        reply::pairs(self.read(key, part, command).await?, reply::score)
    }

    pub(crate) async fn sorted_rank(
        &self,
        space: Space<'_>,
        key: &str,
        member: &str,
    ) -> Result<Option<i32>, Error> {
        let key = Key::new(space, key)?;
        limits::value("member", member)?;
        let mut command = on("ZRANK", key, 1, member.len());
        command.arg(member);
        reply::maybe(self.tell(key, member.len(), command).await?, reply::count)
    }

    pub(crate) async fn sorted_score(
        &self,
        space: Space<'_>,
        key: &str,
        member: &str,
    ) -> Result<Option<f64>, Error> {
        let key = Key::new(space, key)?;
        limits::value("member", member)?;
        let mut command = on("ZSCORE", key, 1, member.len());
        command.arg(member);
        reply::maybe(self.tell(key, member.len(), command).await?, reply::score)
    }

    pub(crate) async fn sorted_count(&self, space: Space<'_>, key: &str) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        reply::count(self.ask(key, on("ZCARD", key, 0, 0)).await?)
    }

    /// The score after it.
    pub(crate) async fn sorted_increment(
        &self,
        space: Space<'_>,
        key: &str,
        member: &str,
        delta: f64,
    ) -> Result<f64, Error> {
        let key = Key::new(space, key)?;
        limits::value("member", member)?;
        limits::finite("delta", delta)?;
        let mut command = on("ZINCRBY", key, 2, member.len() + SCORE);
        command.arg(delta).arg(member);
        reply::score(self.tell(key, member.len(), command).await?)
    }
}
