use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value, and fails naming the condition, and what was seen last, when `limit` is over.
///
/// # Panics
/// When the condition does not come true in time.
pub fn eventually<T, E: std::fmt::Display>(
    condition: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => {
                panic!("not within {limit:?}: {condition}; last seen: {seen}")
            }
            // The one place where a test pauses: between two looks at a condition that it names.
            #[allow(clippy::disallowed_methods)]
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}
