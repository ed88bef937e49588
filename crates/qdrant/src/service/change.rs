//! Changing the configuration of a collection.

use std::collections::BTreeMap;

use qdrant_edge::{Payload, QuantizationConfig, ShardInfo};
use serde_json::Value;

use super::{CollectionConfig, Failure, Hnsw, Optimizers, Service, SparseVectorParams, Vectors, check};

/// From this on a segment is indexed, in KiB, unless the collection says otherwise; the engine's own default.
const INDEXING_THRESHOLD: usize = 10_000;

/// What of a configuration is to change; the rest stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpdateCollection {
    /// By name; the vector without one has the empty name.
    pub(crate) vectors: BTreeMap<String, VectorChange>,
    pub(crate) sparse_vectors: BTreeMap<String, SparseVectorParams>,
    pub(crate) on_disk_payload: Option<bool>,
    pub(crate) hnsw: Hnsw,
    pub(crate) optimizers: Optimizers,
    pub(crate) quantization: Option<QuantizationChange>,
    /// Merged with what is there; null takes a key away.
    pub(crate) metadata: Option<Payload>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct VectorChange {
    /// One that says nothing brings back that of the collection.
    pub(crate) hnsw: Option<Hnsw>,
    pub(crate) quantization: Option<QuantizationChange>,
    pub(crate) on_disk: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) enum QuantizationChange {
    Set(QuantizationConfig),
    Disable,
}

impl QuantizationChange {
    fn apply(self, to: &mut Option<QuantizationConfig>) {
        *to = match self {
            Self::Set(config) => Some(config),
            Self::Disable => None,
        };
    }
}

impl Service {
    /// Durable when this returns. The optimizer rebuilds in the background what was built otherwise; meanwhile the
    /// status of the collection is yellow.
    pub(crate) fn update_collection(&self, name: &str, update: UpdateCollection) -> Result<(), Failure> {
        self.storage().change(name, |config| config.changed(update))
    }
}

impl CollectionConfig {
    fn changed(&self, update: UpdateCollection) -> Result<Self, Failure> {
        let mut config = self.clone();
        for (name, change) in update.vectors {
            check::kind(self, "vectors", &name)?;
            config.change_vector(&name, change)?;
        }
        for (name, change) in update.sparse_vectors {
            config.change_sparse_vector(&name, change)?;
        }
        config.on_disk_payload = update.on_disk_payload.unwrap_or(config.on_disk_payload);
        config.hnsw = update.hnsw.over(config.hnsw);
        config.optimizers = update.optimizers.over(config.optimizers);
        if let Some(change) = update.quantization {
            change.apply(&mut config.quantization);
        }
        if let Some(metadata) = update.metadata {
            let merged = config.metadata.get_or_insert_default();
            for (key, value) in metadata.0 {
                match value {
                    Value::Null => drop(merged.0.remove(&key)),
                    value => drop(merged.0.insert(key, value)),
                }
            }
        }
        config.validate()?;
        Ok(config)
    }

    fn change_vector(&mut self, name: &str, change: VectorChange) -> Result<(), Failure> {
        let params = match &mut self.vectors {
            Vectors::Single(params) if name.is_empty() => Some(params),
            Vectors::Single(_) => None,
            Vectors::Named(named) => named.get_mut(name),
        };
        let params = params.ok_or_else(|| {
            Failure::Invalid(format!(
                "vectors.{name}: is a sparse vector, which is changed by `sparse_vectors`"
            ))
        })?;
        if let Some(hnsw) = change.hnsw {
            let merged = hnsw.clone().merged(params.hnsw_config.take().unwrap_or_default());
            params.hnsw_config = (hnsw != Hnsw::default()).then_some(merged);
        }
        if let Some(quantization) = change.quantization {
            quantization.apply(&mut params.quantization_config);
        }
        params.on_disk = change.on_disk.or(params.on_disk);
        Ok(())
    }

    fn change_sparse_vector(&mut self, name: &str, change: SparseVectorParams) -> Result<(), Failure> {
        let known: Vec<_> = self.sparse_vectors.keys().cloned().collect();
        let params = self.sparse_vectors.get_mut(name).ok_or_else(|| {
            Failure::Invalid(format!(
                "sparse_vectors: Not existing vector name error: {name:?}; the collection has {known:?}"
            ))
        })?;
        // The engine takes both from the files of its segments.
        if change
            .modifier
            .is_some_and(|modifier| params.modifier.unwrap_or_default() != modifier)
        {
            return Err(Failure::unsupported("changing the `modifier` of a sparse vector"));
        }
        if let Some(new) = change.index {
            let index = params.index.get_or_insert_default();
            if new
                .datatype
                .is_some_and(|datatype| index.datatype != Some(datatype))
            {
                return Err(Failure::unsupported("changing the `datatype` of a sparse vector"));
            }
            index.full_scan_threshold = new.full_scan_threshold.or(index.full_scan_threshold);
            index.on_disk = new.on_disk.or(index.on_disk);
        }
        Ok(())
    }
}

impl Hnsw {
    /// These changes, and those of `base` where they say nothing.
    fn merged(self, base: Self) -> Self {
        Self {
            m: self.m.or(base.m),
            ef_construct: self.ef_construct.or(base.ef_construct),
            full_scan_threshold: self.full_scan_threshold.or(base.full_scan_threshold),
            max_indexing_threads: self.max_indexing_threads.or(base.max_indexing_threads),
            on_disk: self.on_disk.or(base.on_disk),
            payload_m: self.payload_m.or(base.payload_m),
            inline_storage: self.inline_storage.or(base.inline_storage),
        }
    }
}

impl Optimizers {
    fn over(self, base: Self) -> Self {
        Self {
            deleted_threshold: self.deleted_threshold.or(base.deleted_threshold),
            vacuum_min_vector_number: self.vacuum_min_vector_number.or(base.vacuum_min_vector_number),
            default_segment_number: self.default_segment_number.or(base.default_segment_number),
            max_segment_size: self.max_segment_size.or(base.max_segment_size),
            indexing_threshold: self.indexing_threshold.or(base.indexing_threshold),
            prevent_unoptimized: self.prevent_unoptimized.or(base.prevent_unoptimized),
        }
    }
}

/// There are enough vectors without an index to build one, as far as that can be told from outside the engine.
pub(super) fn index_is_due(config: &CollectionConfig, info: &ShardInfo) -> bool {
    let threshold = config.optimizers.indexing_threshold.unwrap_or(INDEXING_THRESHOLD);
    let vectors = info.points_count.saturating_mul(config.dense().count());
    let missing = vectors.saturating_sub(info.indexed_vectors_count);
    let largest = config.dense().map(|(_, params)| params.size).max().unwrap_or(0);
    let kib = missing.saturating_mul(largest * size_of::<f32>()) >> 10;
    threshold > 0 && kib >= threshold
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::CreateCollection;

    fn config() -> CollectionConfig {
        let vectors = json!({
            "a": { "size": 4, "distance": "Dot", "hnsw_config": { "m": 8, "ef_construct": 50 } },
            "b": { "size": 4, "distance": "Dot" },
        });
        CollectionConfig::new(CreateCollection {
            vectors: serde_json::from_value(vectors).unwrap(),
            sparse_vectors: BTreeMap::from([("s".to_owned(), SparseVectorParams::default())]),
            metadata: Some(serde_json::from_value(json!({ "x": 1, "y": 2 })).unwrap()),
            ..Default::default()
        })
        .unwrap()
    }

    fn vector(name: &str, change: VectorChange) -> UpdateCollection {
        UpdateCollection {
            vectors: BTreeMap::from([(name.to_owned(), change)]),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_not_mentioned_stays() {
        let config = config();
        assert_eq!(config.changed(UpdateCollection::default()).unwrap(), config);

        let hnsw = Hnsw {
            m: Some(32),
            ..Default::default()
        };
        let change = VectorChange {
            hnsw: Some(hnsw.clone()),
            on_disk: Some(true),
            ..Default::default()
        };
        let changed = config.changed(vector("a", change)).unwrap();
        let Vectors::Named(named) = &changed.vectors else {
            panic!("not named")
        };
        let a = named["a"].hnsw_config.as_ref().unwrap();
        assert_eq!(
            (a.m, a.ef_construct, named["a"].on_disk),
            (Some(32), Some(50), Some(true))
        );
        assert_eq!(named["b"].on_disk, None);

        let update = UpdateCollection {
            metadata: Some(serde_json::from_value(json!({ "y": null, "z": 3 })).unwrap()),
            hnsw,
            ..Default::default()
        };
        let changed = config.changed(update).unwrap();
        assert_eq!(json!(changed.metadata), json!({ "x": 1, "z": 3 }));
        assert_eq!(
            (changed.hnsw.m, changed.hnsw.ef_construct),
            (32, config.hnsw.ef_construct)
        );
    }

    #[test]
    fn an_empty_index_configuration_brings_back_that_of_the_collection() {
        let change = VectorChange {
            hnsw: Some(Hnsw::default()),
            ..Default::default()
        };
        let changed = config().changed(vector("a", change)).unwrap();
        let Vectors::Named(named) = &changed.vectors else {
            panic!("not named")
        };
        assert_eq!(named["a"].hnsw_config, None);
    }

    #[test]
    fn mistakes_change_nothing() {
        for (name, text) in [("none", "none"), ("", "vectors"), ("s", "sparse vector")] {
            let failure = config()
                .changed(vector(name, VectorChange::default()))
                .unwrap_err();
            assert!(failure.to_string().contains(text), "{failure}");
        }
        let update = UpdateCollection {
            hnsw: Hnsw {
                ef_construct: Some(1 << 20),
                ..Default::default()
            },
            ..Default::default()
        };
        let failure = config().changed(update).unwrap_err();
        assert!(
            failure.to_string().contains("hnsw_config.ef_construct"),
            "{failure}"
        );
    }
}
