use std::time::Duration;

use qdrant_client::qdrant::{
    AliasOperations, ChangeAliases, CollectionExistsRequest, CollectionInfo, CreateAlias, CreateCollection,
    DeleteCollection, GetCollectionInfoRequest, ListCollectionsRequest, UpdateCollection,
    alias_operations::Action,
};

use super::{Error, Qdrant};
use crate::qdrant::names::{Collection, Names};

/// Collections of a tenant: each costs the engine files, memory and threads, whether it is used or not.
const MAX_COLLECTIONS: usize = 100;

/// What a collection is made with; the engine's message without its name.
pub(crate) type Settings = CreateCollection;

impl Qdrant {
    pub(crate) async fn create(
        &self,
        names: Names<'_>,
        collection: &Collection,
        settings: Settings,
        bound: Duration,
    ) -> Result<(), Error> {
        // Two at once may get one more than they should.
        let present = self.list(names, bound).await?;
        if present.contains(&collection.given) {
            return Err(taken(collection));
        }
        if present.len() >= MAX_COLLECTIONS {
            return Err(Error::Quota(format!(
                "the tenant has {} collections, and may have {MAX_COLLECTIONS}; delete one first",
                present.len()
            )));
        }
        let request = CreateCollection {
            collection_name: collection.full.clone(),
            ..settings
        };
        let request = self.link.request(request, bound);
        let result = self.link.collections().create(request).await;
        self.shapes.forget(&collection.full);
        let Err(status) = result else {
            return Ok(());
        };
        match self.refused(status, collection) {
            Error::Exists(_) => Err(taken(collection)),
            // What Qdrant says of a name that an alias has.
            Error::Refused(_) if self.exists(collection, bound).await? => Err(taken(collection)),
            other => Err(other),
        }
    }

    /// Whether there is a collection or an alias of this name.
    async fn exists(&self, collection: &Collection, bound: Duration) -> Result<bool, Error> {
        let request = CollectionExistsRequest {
            collection_name: collection.full.clone(),
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().collection_exists(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        Ok(answer.into_inner().result.is_some_and(|result| result.exists))
    }

    /// The tenant's collections, sorted.
    pub(crate) async fn list(&self, names: Names<'_>, bound: Duration) -> Result<Vec<String>, Error> {
        let request = self.link.request(ListCollectionsRequest {}, bound);
        let answer = self
            .link
            .collections()
            .list(request)
            .await
            .map_err(Error::common)?;
        let all = answer.into_inner().collections;
        let mut own: Vec<_> = all
            .iter()
            .filter_map(|collection| names.given(&collection.name))
            .map(str::to_owned)
            .collect();
        own.sort_unstable();
        Ok(own)
    }

    pub(crate) async fn info(
        &self,
        collection: &Collection,
        bound: Duration,
    ) -> Result<CollectionInfo, Error> {
        let request = GetCollectionInfoRequest {
            collection_name: collection.full.clone(),
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().get(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let info = answer.into_inner().result;
        info.ok_or_else(|| Error::unexpected("the engine describes a collection by nothing"))
    }

    /// `changes` without its name.
    pub(crate) async fn update(
        &self,
        collection: &Collection,
        changes: UpdateCollection,
        bound: Duration,
    ) -> Result<(), Error> {
        let request = UpdateCollection {
            collection_name: collection.full.clone(),
            ..changes
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().update(request).await;
        self.shapes.forget(&collection.full);
        answer
            .map(drop)
            .map_err(|status| self.refused(status, collection))
    }

    pub(crate) async fn delete(&self, collection: &Collection, bound: Duration) -> Result<(), Error> {
        let request = DeleteCollection {
            collection_name: collection.full.clone(),
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().delete(request).await;
        self.shapes.forget(&collection.full);
        let deleted = match answer.map_err(|status| self.refused(status, collection)) {
            Ok(answer) => answer.into_inner().result,
            Err(Error::NotFound(_)) => false,
            Err(other) => return Err(other),
        };
        if deleted {
            return Ok(());
        }
        if self.exists(collection, bound).await? {
            return Err(Error::invalid(
                "collection_name",
                "is an alias; delete the collection that it stands for",
            ));
        }
        Err(Error::no_collection(collection))
    }

    /// Makes the alias, or moves it.
    pub(crate) async fn alias(
        &self,
        collection: &Collection,
        alias: &Collection,
        bound: Duration,
    ) -> Result<(), Error> {
        // Qdrant checks the collection first too, but what it says of either is alike.
        self.info(collection, bound).await?;
        let create = Action::CreateAlias(CreateAlias {
            collection_name: collection.full.clone(),
            alias_name: alias.full.clone(),
        });
        let request = ChangeAliases {
            actions: vec![AliasOperations { action: Some(create) }],
            ..Default::default()
        };
        let request = self.link.request(request, bound);
        let answer = self.link.collections().update_aliases(request).await;
        self.shapes.forget(&alias.full);
        match answer
            .map(drop)
            .map_err(|status| self.refused(status, collection))
        {
            Err(Error::Exists(_) | Error::Refused(_)) => Err(Error::Exists(format!(
                "a collection has the name {:?}",
                alias.given
            ))),
            other => other,
        }
    }
}

fn taken(collection: &Collection) -> Error {
    Error::Exists(format!(
        "a collection or an alias has the name {:?}",
        collection.given
    ))
}
