use std::time::Duration;

use qdrant_client::qdrant::{QueryBatchPoints, QueryPoints, ScoredPoint};

use super::{Error, Qdrant};
use crate::qdrant::names::Collection;

impl Qdrant {
    /// Runs a search, whatever it looks by; its vector is checked first.
    pub(crate) async fn search(
        &self,
        collection: &Collection,
        search: QueryPoints,
        bound: Duration,
    ) -> Result<Vec<ScoredPoint>, Error> {
        self.check(collection, bound, |shape| shape.search(&search, ""))
            .await?;
        let request = QueryPoints {
            collection_name: collection.full.clone(),
            ..search
        };
        let request = self.link.request(request, bound);
        let answer = self.link.points().query(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        Ok(answer.into_inner().result)
    }

    /// Results for each search, in order.
    pub(crate) async fn search_batch(
        &self,
        collection: &Collection,
        mut searches: Vec<QueryPoints>,
        bound: Duration,
    ) -> Result<Vec<Vec<ScoredPoint>>, Error> {
        self.check(collection, bound, |shape| {
            let mut each = searches.iter().enumerate();
            each.try_for_each(|(i, search)| shape.search(search, &format!("searches.{i}.")))
        })
        .await?;
        let count = searches.len();
        for search in &mut searches {
            search.collection_name.clone_from(&collection.full);
        }
        let request = QueryBatchPoints {
            collection_name: collection.full.clone(),
            query_points: searches,
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        let answer = self.link.points().query_batch(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let results = answer.into_inner().result;
        if results.len() != count {
            return Err(Error::unexpected(format!(
                "the engine has {} answers to {count} searches",
                results.len()
            )));
        }
        Ok(results.into_iter().map(|batch| batch.result).collect())
    }
}
