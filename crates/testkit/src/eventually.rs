use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value; after `limit`, the last thing it gave instead.
pub(crate) fn within<T, E>(limit: Duration, mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Err(_) if Instant::now() < deadline => {
                // The one place where a test pauses: between two looks at a condition that it names.
                #[allow(clippy::disallowed_methods)]
                std::thread::sleep(INTERVAL);
            }
            result => return result,
        }
    }
}

/// Looks until `look` gives a value, and fails naming the condition, and what was seen last, when `limit` is over.
///
/// # Panics
/// When the condition does not come true in time.
pub fn eventually<T, E: std::fmt::Display>(
    condition: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T, E>,
) -> T {
    within(limit, look).unwrap_or_else(|seen| panic!("not within {limit:?}: {condition}; last seen: {seen}"))
}
