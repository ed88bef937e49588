//! Memory of results that are held whole, until they are sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    error::Error,
    limits::{RESULT_FREE, RESULTS},
};

/// One permit is for so many bytes: permits are counted by 32 bits.
const UNIT: usize = 1 << 10;

/// Taken at a time.
const STEP: usize = 1 << 20;

/// What all results may take together. Clones are the same.
#[derive(Clone)]
pub(super) struct Results(Arc<Semaphore>);

impl Default for Results {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(RESULTS / UNIT)))
    }
}

/// What one result takes of it, until this is dropped.
#[derive(Debug, Default)]
pub(in crate::duckdb) struct Held(Option<OwnedSemaphorePermit>);

impl Results {
    /// Makes room for a result that has grown to `bytes`. Who finds none fails at once: results that wait for each other
    /// would wait for ever.
    pub(super) fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), Error> {
        let have = held.0.as_ref().map_or(0, |permit| permit.num_permits() * UNIT);
        if bytes <= RESULT_FREE + have {
            return Ok(());
        }
        let more = (bytes - RESULT_FREE - have).next_multiple_of(STEP) / UNIT;
        let more = u32::try_from(more).map_err(|_| Error::TooLarge)?;
        let more = Arc::clone(&self.0)
            .try_acquire_many_owned(more)
            .map_err(|_| Error::Crowded)?;
        match &mut held.0 {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_results_share_a_bound_that_small_ones_need_not_know() {
        let results = Results::default();
        let mut large = Held::default();
        for bytes in [RESULTS / 2, RESULTS - STEP, RESULTS] {
            results.grow(&mut large, bytes).unwrap();
        }
        let mut other = Held::default();
        results.grow(&mut other, RESULT_FREE).unwrap();
        assert!(matches!(
            results.grow(&mut other, RESULTS / 2),
            Err(Error::Crowded)
        ));
        drop(large);
        results.grow(&mut other, RESULTS / 2).unwrap();
    }
}
