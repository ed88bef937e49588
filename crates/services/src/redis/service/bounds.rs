//! Answers that would be too large are refused before Redis gives them, as they would have to be held in memory first.
//! Asking takes a round trip more, so it is done only while Redis holds enough for such an answer to be possible.

use std::sync::atomic::Ordering::Relaxed;

use super::{Error, Store, reply};
use crate::redis::names::{Name, Space};

/// What a Redis may hold whose answers are never too large to be held; and what a value may take there that is read at
/// once. Redis needs more for an element than its text has.
const HELD_BYTES: u64 = 256 << 20;

/// Which part of a value is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    All,
    /// From one place to another, as Redis counts them, of a value whose length this command tells.
    Range(&'static str, i32, i32),
}

impl Store {
    /// Refuses a read of these keys together that would be too large.
    pub(super) async fn fits(&self, space: Space<'_>, keys: &[Name<'_>], part: Part) -> Result<(), Error> {
        if self.held.load(Relaxed) < HELD_BYTES {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for key in keys {
            // All elements are looked at: as cheap as reading them.
            commands.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        }
        if let (Part::Range(length, ..), Some(key)) = (part, keys.first()) {
            commands.cmd(length).arg(key);
        }
        let answers = self.small.pipeline(space, commands).await?;
        // What is absent or of another type is left to the read itself.
        let mut numbers = answers
            .into_iter()
            .map(|answer| reply::int(answer).unwrap_or_default());
        let bytes: i64 = numbers.by_ref().take(keys.len()).sum();
        let share = match (part, numbers.next()) {
            (Part::Range(_, start, stop), Some(length)) => share(start, stop, length),
            _ => 1.0,
        };
        // An estimate: elements may be of many sizes.
        if bytes as f64 * share > HELD_BYTES as f64 {
            return Err(Error::TooLarge(reply::TOO_LARGE));
        }
        Ok(())
    }

    /// The same for strings, whose length is known.
    pub(super) async fn strings_fit(&self, space: Space<'_>, names: &[String]) -> Result<(), Error> {
        if self.held.load(Relaxed) < HELD_BYTES {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for name in names {
            commands.cmd("STRLEN").arg(space.key(name));
        }
        let answers = self.small.pipeline(space, commands).await?;
        let bytes: i64 = answers
            .into_iter()
            .map(|answer| reply::int(answer).unwrap_or_default())
            .sum();
        if usize::try_from(bytes).is_ok_and(|bytes| bytes > reply::ANSWER_BYTES) {
            return Err(Error::TooLarge(reply::TOO_LARGE));
        }
        Ok(())
    }
}

/// How much of so many elements lies between two places.
fn share(start: i32, stop: i32, length: i64) -> f64 {
    if length <= 0 {
        return 0.0;
    }
    let place = |index: i32| match i64::from(index) {
        index if index < 0 => index + length,
        index => index,
    };
    let (first, last) = (place(start).max(0), place(stop).min(length - 1));
    (last - first + 1).max(0) as f64 / length as f64
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_follow_the_places_of_redis() {
        for ((start, stop, length), expected) in [
            ((0, -1, 4), 1.0),
            ((0, 0, 4), 0.25),
            ((-2, -1, 4), 0.5),
            ((-100, 100, 4), 1.0),
            ((3, 1, 4), 0.0),
            ((0, -1, 0), 0.0),
            ((i32::MIN, i32::MAX, i64::MAX), 0.0),
        ] {
            let found = share(start, stop, length);
            assert!(
                (found - expected).abs() < 1e-6,
                "{start} {stop} {length}: {found}"
            );
        }
    }
}
