//! What the engine does, independent of the protocol. All of it blocks: the adapters call it through
//! [`Engine`](crate::engine::Engine).

mod aliases;
mod change;
pub(crate) mod check;
mod config;
mod failure;
mod formula;
mod groups;
mod lookup;
mod matrix;
pub(crate) mod name;
mod points;
mod recommend;
mod search;
mod snapshots;
mod update;

use std::path::Path;

use qdrant_edge::{
    CountRequest, FacetRequest, FacetResponse, PointId, Record, ScoredPoint, ScrollRequest, ShardInfo,
};

pub(crate) use self::{
    aliases::AliasAction,
    change::{QuantizationChange, UpdateCollection, VectorChange},
    config::{
        CollectionConfig, CreateCollection, Hnsw, Optimizers, SparseIndex, SparseVectorParams, VectorParams,
        Vectors, Wal,
    },
    failure::Failure,
    groups::{Group, GroupId, Groups, WithLookup},
    matrix::{Distances, Matrix},
    points::{
        Count, Facet, Feedback, Input, Lookup, Mmr, NewPayload, Query, Retrieve, Scroll, Search, Selector,
        Stage, Strategy, Update,
    },
    snapshots::no_full_snapshots,
};
use crate::{
    Error,
    storage::{InUse, Storage},
};

/// Most collections in one storage.
const MAX_COLLECTIONS: usize = 10_000;

pub(crate) struct Service {
    storage: Storage,
}

/// What is known of a collection.
pub(crate) struct Info {
    pub(crate) config: CollectionConfig,
    pub(crate) shard: ShardInfo,
    /// The optimizer works on it, or has work that it will begin with.
    pub(crate) optimizing: bool,
    pub(crate) optimizer_error: Option<String>,
}

/// Figures for the metrics.
pub(crate) struct Usage {
    pub(crate) collections: usize,
    pub(crate) open_shards: usize,
    pub(crate) journal_bytes: u64,
}

impl Service {
    pub(crate) fn open(root: &Path, max_open_shards: usize) -> Result<Self, Error> {
        Ok(Self {
            storage: Storage::open(root, max_open_shards, MAX_COLLECTIONS)?,
        })
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn usage(&self) -> Usage {
        let open: Vec<_> = self
            .storage
            .open_shards()
            .map(|shard| shard.journal_bytes())
            .collect();
        Usage {
            collections: self.storage.names().len(),
            open_shards: open.len(),
            journal_bytes: open.iter().sum(),
        }
    }

    pub(crate) fn list(&self) -> Vec<String> {
        self.storage.names()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.storage.get(name).is_ok()
    }

    /// Durable, and whole or not there at all, when this returns.
    pub(crate) fn create(&self, name: &str, request: CreateCollection) -> Result<(), Failure> {
        name::check("collection_name", name, name::MAX_COLLECTION)?;
        self.storage.create(name, CollectionConfig::new(request)?)
    }

    /// False if there is no such collection. Durable when this returns.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        self.storage.delete(name)
    }

    pub(crate) fn info(&self, name: &str) -> Result<Info, Failure> {
        let (collection, shard) = self.storage.acquire(name)?;
        let info = shard.read(|engine| Ok(engine.info()))?;
        let config = (*collection.config()).clone();
        let due = shard.is_unseen() && change::index_is_due(&config, &info);
        let outdated = shard.is_reconfigured() || self.storage.is_outdated(&collection);
        Ok(Info {
            optimizing: due || outdated || shard.is_optimizing(),
            optimizer_error: shard.optimizer_error(),
            config,
            shard: info,
        })
    }

    /// Carries out writes one after the other and returns the number of the last operation of each. Each is durable,
    /// on the disk, before the next begins: when this returns they survive the death of the process and a power cut.
    /// The first that fails ends it; those before it stay.
    pub(crate) fn update(&self, name: &str, mut updates: Vec<Update>) -> Result<Vec<u64>, Failure> {
        self.with(name, |shard, config| {
            check::batch("operations", updates.len())?;
            updates
                .iter_mut()
                .try_for_each(|update| update::validate(config, update))?;
            updates
                .into_iter()
                .map(|update| shard.apply(|engine| update::plan(engine, update)))
                .collect()
        })
    }

    /// In the order of the ids; those that do not exist are left out.
    pub(crate) fn retrieve(&self, name: &str, request: Retrieve) -> Result<Vec<Record>, Failure> {
        check::batch("ids", request.ids.len())?;
        self.with(name, |shard, _| {
            shard.read(|engine| {
                engine.retrieve(
                    &request.ids,
                    Some(request.with_payload),
                    Some(request.with_vector),
                )
            })
        })
    }

    /// A page of points, and the id where the next one starts.
    pub(crate) fn scroll(
        &self,
        name: &str,
        request: Scroll,
    ) -> Result<(Vec<Record>, Option<PointId>), Failure> {
        check::limit(request.limit, 0)?;
        check::filter(request.filter.as_ref())?;
        if request.order_by.is_some() && request.offset.is_some() {
            return Err(Failure::invalid(
                "offset: Cannot use an `offset` when using `order_by`. The alternative for paging is to use \
                 `order_by.start_from` and a filter to exclude the IDs that you've already seen for the \
                 `order_by.start_from` value",
            ));
        }
        let request = ScrollRequest {
            offset: request.offset,
            limit: Some(request.limit),
            filter: request.filter,
            with_payload: Some(request.with_payload),
            with_vector: request.with_vector,
            order_by: request.order_by,
        };
        self.with(name, |shard, _| shard.read(|engine| engine.scroll(request)))
    }

    pub(crate) fn count(&self, name: &str, request: Count) -> Result<usize, Failure> {
        check::filter(request.filter.as_ref())?;
        let request = CountRequest {
            filter: request.filter,
            exact: request.exact,
        };
        self.with(name, |shard, _| shard.read(|engine| engine.count(request)))
    }

    pub(crate) fn facet(&self, name: &str, request: Facet) -> Result<FacetResponse, Failure> {
        check::limit(request.limit, 0)?;
        check::filter(request.filter.as_ref())?;
        let Facet {
            key,
            limit,
            filter,
            exact,
        } = request;
        self.with(name, |shard, _| {
            shard.read(|engine| {
                engine.facet(FacetRequest {
                    key,
                    limit,
                    filter,
                    exact,
                })
            })
        })
    }

    /// The results of each search.
    pub(crate) fn search(
        &self,
        name: &str,
        mut searches: Vec<Search>,
    ) -> Result<Vec<Vec<ScoredPoint>>, Failure> {
        check::searches(&searches)?;
        self.look_up(name, searches.iter_mut().map(|search| &mut search.stage))?;
        self.with(name, |shard, config| {
            let one = |search| search::resolve(shard.engine(), config, search)?.run(shard);
            searches.into_iter().map(one).collect()
        })
    }

    fn with<T>(
        &self,
        name: &str,
        call: impl FnOnce(&InUse<'_>, &CollectionConfig) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (collection, shard) = self.storage.acquire(name)?;
        call(&shard, &collection.config())
    }
}
