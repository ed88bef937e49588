//! The configuration of a collection, in the shape that Qdrant's REST API has for it.

use std::{collections::BTreeMap, num::NonZeroUsize};

use qdrant_edge::{
    DEFAULT_VECTOR_NAME, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeSparseVectorParams,
    EdgeVectorParams, HnswIndexConfig, Modifier, MultiVectorConfig, Payload, QuantizationConfig,
    VectorStorageDatatype, WalOptions,
};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Failure, name};

/// A vector of a point has at most this many dimensions, as in Qdrant.
const MAX_DIMENSIONS: usize = 65_536;
/// Each vector costs files and memory in every segment.
const MAX_VECTORS: usize = 64;
const MAX_LINKS: usize = 1_024;
const MAX_EF_CONSTRUCT: usize = 4_096;
const MAX_SEGMENTS: usize = 64;
const MAX_WAL_MB: usize = 1_024;

/// What a collection was created with, defaults filled in. Persisted, and part of the answer to `info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectionConfig {
    pub(crate) vectors: Vectors,
    pub(crate) sparse_vectors: BTreeMap<String, SparseVectorParams>,
    pub(crate) on_disk_payload: bool,
    pub(crate) hnsw: HnswIndexConfig,
    pub(crate) optimizers: Optimizers,
    pub(crate) wal: Wal,
    pub(crate) quantization: Option<QuantizationConfig>,
    pub(crate) metadata: Option<Payload>,
}

/// What a client asks for; absent is the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateCollection {
    pub(crate) vectors: Vectors,
    pub(crate) sparse_vectors: BTreeMap<String, SparseVectorParams>,
    pub(crate) on_disk_payload: Option<bool>,
    pub(crate) hnsw: Hnsw,
    pub(crate) optimizers: Optimizers,
    pub(crate) wal: Wal,
    pub(crate) quantization: Option<QuantizationConfig>,
    pub(crate) metadata: Option<Payload>,
}

/// Dense vectors: one without a name, or any number with names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Vectors {
    Single(VectorParams),
    Named(BTreeMap<String, VectorParams>),
}

impl Default for Vectors {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl<'de> Deserialize<'de> for Vectors {
    // By hand, so that a mistake is reported as such and not as "did not match any variant".
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let single = value.get("size").is_some_and(|size| !size.is_object());
        if single {
            serde_json::from_value(value).map(Self::Single)
        } else {
            serde_json::from_value(value).map(Self::Named)
        }
        .map_err(de::Error::custom)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VectorParams {
    pub(crate) size: usize,
    pub(crate) distance: Distance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hnsw_config: Option<Hnsw>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quantization_config: Option<QuantizationConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_disk: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) datatype: Option<VectorStorageDatatype>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) multivector_config: Option<MultiVectorConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseVectorParams {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<SparseIndex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modifier: Option<Modifier>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseIndex {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) full_scan_threshold: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_disk: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) datatype: Option<VectorStorageDatatype>,
}

/// Changes to the default HNSW configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hnsw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) m: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ef_construct: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) full_scan_threshold: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_indexing_threads: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_disk: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_m: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inline_storage: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Optimizers {
    #[serde(default)]
    pub(crate) deleted_threshold: Option<f64>,
    #[serde(default)]
    pub(crate) vacuum_min_vector_number: Option<usize>,
    #[serde(default)]
    pub(crate) default_segment_number: Option<usize>,
    #[serde(default)]
    pub(crate) max_segment_size: Option<usize>,
    #[serde(default)]
    pub(crate) indexing_threshold: Option<usize>,
    #[serde(default)]
    pub(crate) prevent_unoptimized: Option<bool>,
}

/// Of the engine's own log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wal {
    #[serde(default)]
    pub(crate) wal_capacity_mb: Option<usize>,
    #[serde(default)]
    pub(crate) wal_segments_ahead: Option<usize>,
    #[serde(default)]
    pub(crate) wal_retain_closed: Option<usize>,
}

/// The kind of vector that a name stands for.
pub(crate) enum VectorKind {
    Dense { size: usize },
    Multi { size: usize },
    Sparse,
}

impl CollectionConfig {
    pub(crate) fn new(request: CreateCollection) -> Result<Self, Failure> {
        let CreateCollection {
            vectors,
            sparse_vectors,
            on_disk_payload,
            hnsw,
            optimizers,
            wal,
            quantization,
            metadata,
        } = request;
        let config = Self {
            hnsw: hnsw.over(HnswIndexConfig::default()),
            on_disk_payload: on_disk_payload.unwrap_or(true),
            vectors,
            sparse_vectors,
            optimizers,
            wal,
            quantization,
            metadata,
        };
        config.validate()?;
        Ok(config)
    }

    /// Every dense vector by name; the one without a name has the empty name.
    pub(crate) fn dense(&self) -> impl Iterator<Item = (&str, &VectorParams)> {
        let (single, named) = match &self.vectors {
            Vectors::Single(params) => (Some(params), None),
            Vectors::Named(map) => (None, Some(map)),
        };
        let named = named
            .into_iter()
            .flatten()
            .map(|(name, params)| (name.as_str(), params));
        single
            .map(|params| (DEFAULT_VECTOR_NAME, params))
            .into_iter()
            .chain(named)
    }

    pub(crate) fn vector(&self, name: &str) -> Option<VectorKind> {
        if let Some((_, params)) = self.dense().find(|(n, _)| *n == name) {
            let size = params.size;
            let multi = params.multivector_config.is_some();
            return Some(if multi {
                VectorKind::Multi { size }
            } else {
                VectorKind::Dense { size }
            });
        }
        self.sparse_vectors
            .contains_key(name)
            .then_some(VectorKind::Sparse)
    }

    /// The same for the engine.
    pub(crate) fn engine_config(&self) -> EdgeConfig {
        let vectors = self.dense().map(|(name, params)| {
            let params = EdgeVectorParams {
                size: params.size,
                distance: params.distance,
                on_disk: params.on_disk,
                multivector_config: params.multivector_config,
                datatype: params.datatype,
                quantization_config: params.quantization_config.clone(),
                hnsw_config: params.hnsw_config.as_ref().map(|hnsw| hnsw.over(self.hnsw)),
            };
            (name.to_owned(), params)
        });
        let sparse_vectors = self.sparse_vectors.iter().map(|(name, params)| {
            let index = params.index.clone().unwrap_or_default();
            let params = EdgeSparseVectorParams {
                full_scan_threshold: index.full_scan_threshold,
                on_disk: index.on_disk,
                modifier: params.modifier,
                datatype: index.datatype,
            };
            (name.clone(), params)
        });
        let defaults = WalOptions::default();
        EdgeConfig {
            on_disk_payload: self.on_disk_payload,
            vectors: vectors.collect(),
            sparse_vectors: sparse_vectors.collect(),
            hnsw_config: self.hnsw,
            quantization_config: self.quantization.clone(),
            optimizers: EdgeOptimizersConfig {
                deleted_threshold: self.optimizers.deleted_threshold,
                vacuum_min_vector_number: self.optimizers.vacuum_min_vector_number,
                default_segment_number: self.optimizers.default_segment_number,
                max_segment_size: self.optimizers.max_segment_size,
                indexing_threshold: self.optimizers.indexing_threshold,
                prevent_unoptimized: self.optimizers.prevent_unoptimized,
            },
            wal_options: Some(WalOptions {
                segment_capacity: self
                    .wal
                    .wal_capacity_mb
                    .map_or(defaults.segment_capacity, |mb| mb << 20),
                segment_queue_len: self.wal.wal_segments_ahead.unwrap_or(defaults.segment_queue_len),
                retain_closed: self
                    .wal
                    .wal_retain_closed
                    .and_then(NonZeroUsize::new)
                    .unwrap_or(defaults.retain_closed),
            }),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Failure> {
        let vectors = self.dense().count() + self.sparse_vectors.len();
        between("number of vectors", vectors, 0, MAX_VECTORS)?;
        for (vector, params) in self.dense() {
            let field = if vector.is_empty() {
                "vectors".to_owned()
            } else {
                format!("vectors.{vector}")
            };
            if matches!(self.vectors, Vectors::Named(_)) {
                name::check(&field, vector, name::MAX_VECTOR)?;
            }
            between(&format!("{field}.size"), params.size, 1, MAX_DIMENSIONS)?;
            if let Some(hnsw) = &params.hnsw_config {
                check_hnsw(&format!("{field}.hnsw_config"), &hnsw.over(self.hnsw))?;
            }
            check_quantization(
                &format!("{field}.quantization_config"),
                params.quantization_config.as_ref(),
            )?;
        }
        for vector in self.sparse_vectors.keys() {
            let field = format!("sparse_vectors.{vector}");
            name::check(&field, vector, name::MAX_VECTOR)?;
            if self.dense().any(|(dense, _)| dense == vector) {
                return Err(Failure::Invalid(format!(
                    "{field}: there is a dense vector of the same name"
                )));
            }
        }
        check_hnsw("hnsw_config", &self.hnsw)?;
        check_quantization("quantization_config", self.quantization.as_ref())?;
        if let Some(fraction) = self.optimizers.deleted_threshold
            && !(0.0..=1.0).contains(&fraction)
        {
            let text = format!("optimizers_config.deleted_threshold: {fraction} is not between 0 and 1");
            return Err(Failure::Invalid(text));
        }
        let segments = self.optimizers.default_segment_number.unwrap_or(0);
        between(
            "optimizers_config.default_segment_number",
            segments,
            0,
            MAX_SEGMENTS,
        )?;
        between(
            "wal_config.wal_capacity_mb",
            self.wal.wal_capacity_mb.unwrap_or(1),
            1,
            MAX_WAL_MB,
        )?;
        between(
            "wal_config.wal_segments_ahead",
            self.wal.wal_segments_ahead.unwrap_or(0),
            0,
            8,
        )
    }
}

impl Hnsw {
    /// `base` with these changes.
    pub(super) fn over(&self, base: HnswIndexConfig) -> HnswIndexConfig {
        HnswIndexConfig {
            m: self.m.unwrap_or(base.m),
            ef_construct: self.ef_construct.unwrap_or(base.ef_construct),
            full_scan_threshold: self.full_scan_threshold.unwrap_or(base.full_scan_threshold),
            max_indexing_threads: self.max_indexing_threads.unwrap_or(base.max_indexing_threads),
            on_disk: self.on_disk.or(base.on_disk),
            payload_m: self.payload_m.or(base.payload_m),
            inline_storage: self.inline_storage.or(base.inline_storage),
        }
    }
}

fn check_hnsw(field: &str, hnsw: &HnswIndexConfig) -> Result<(), Failure> {
    between(&format!("{field}.m"), hnsw.m, 0, MAX_LINKS)?;
    between(
        &format!("{field}.payload_m"),
        hnsw.payload_m.unwrap_or(0),
        0,
        MAX_LINKS,
    )?;
    between(
        &format!("{field}.ef_construct"),
        hnsw.ef_construct,
        4,
        MAX_EF_CONSTRUCT,
    )?;
    between(
        &format!("{field}.max_indexing_threads"),
        hnsw.max_indexing_threads,
        0,
        64,
    )
}

fn check_quantization(field: &str, config: Option<&QuantizationConfig>) -> Result<(), Failure> {
    if let Some(QuantizationConfig::Scalar(scalar)) = config
        && let Some(quantile) = scalar.scalar.quantile
        && !(0.5..=1.0).contains(&quantile)
    {
        return Err(Failure::Invalid(format!(
            "{field}.scalar.quantile: {quantile} is not between 0.5 and 1"
        )));
    }
    Ok(())
}

fn between(field: &str, value: usize, least: usize, most: usize) -> Result<(), Failure> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "{field}: {value} is not between {least} and {most}"
    )))
}
