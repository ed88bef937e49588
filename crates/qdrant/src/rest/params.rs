//! Parts of the requests that search.

use qdrant_edge::{AcornSearchParams, QuantizationSearchParams, SearchParams};
use serde::Deserialize;
use serde_json::Value;

use crate::service::{Failure, Lookup, check::refuse_present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    hnsw_ef: Option<usize>,
    exact: Option<bool>,
    quantization: Option<QuantizationSearchParams>,
    indexed_only: Option<bool>,
    acorn: Option<AcornSearchParams>,
    idf: Option<Value>,
}

impl Params {
    pub(super) fn into_domain(self) -> Result<SearchParams, Failure> {
        refuse_present(&[("params.idf", self.idf.is_some())])?;
        Ok(SearchParams {
            hnsw_ef: self.hnsw_ef,
            exact: self.exact.unwrap_or(false),
            quantization: self.quantization,
            indexed_only: self.indexed_only.unwrap_or(false),
            acorn: self.acorn,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookupRequest {
    collection: String,
    vector: Option<String>,
    shard_key: Option<Value>,
}

impl LookupRequest {
    pub(super) fn into_domain(self) -> Result<Lookup, Failure> {
        refuse_present(&[("lookup_from.shard_key", self.shard_key.is_some())])?;
        Ok(Lookup {
            collection: self.collection,
            vector: self.vector,
        })
    }
}
