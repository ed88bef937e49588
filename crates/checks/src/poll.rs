use std::time::Duration;

use crate::Error;

/// Asks again until the answer is yes; the step's limit ends it.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let mut pause = Duration::from_millis(10);
    while !condition().await? {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
    Ok(())
}
