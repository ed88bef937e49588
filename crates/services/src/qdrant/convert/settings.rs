//! Changes of collections, and payload indexes.
#![allow(deprecated)] // `on_disk` and `always_ram` are what servers before 1.20 know.

use isa_proto::{prost_types::Struct, qdrant as pb};
use qdrant_client::qdrant::{
    self as engine, FieldType, PayloadIndexParams, TokenizerType, max_optimization_threads,
    payload_index_params::IndexParams, quantization_config_diff, stemming_algorithm::StemmingParams,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::json;
use crate::qdrant::{
    names,
    service::{Error, Index},
};

/// What of a collection may be changed.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    on_disk_payload: Option<bool>,
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    hnsw_config: Option<Hnsw>,
    quantization_config: Option<Quantization>,
    optimizers_config: Option<Optimizers>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Hnsw {
    m: Option<u64>,
    ef_construct: Option<u64>,
    full_scan_threshold: Option<u64>,
    max_indexing_threads: Option<u64>,
    on_disk: Option<bool>,
    payload_m: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Optimizers {
    deleted_threshold: Option<f64>,
    vacuum_min_vector_number: Option<u64>,
    default_segment_number: Option<u64>,
    max_segment_size: Option<u64>,
    memmap_threshold: Option<u64>,
    indexing_threshold: Option<u64>,
    flush_interval_sec: Option<u64>,
    max_optimization_threads: Option<u64>,
}

#[derive(Deserialize)]
enum Quantization {
    #[serde(rename = "scalar")]
    Scalar(Scalar),
    #[serde(rename = "product")]
    Product(Product),
    #[serde(rename = "binary")]
    Binary(Binary),
    Disabled,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalar {
    r#type: ScalarType,
    quantile: Option<f32>,
    always_ram: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScalarType {
    Int8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    compression: Compression,
    always_ram: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    X4,
    X8,
    X16,
    X32,
    X64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary {
    always_ram: Option<bool>,
}

/// The changes that a request asks for; the collection's name is not among them.
pub(in crate::qdrant) fn changes(
    indexing_threshold: Option<u32>,
    params: Option<Struct>,
) -> Result<engine::UpdateCollection, Error> {
    if indexing_threshold.is_none() && params.is_none() {
        return Err(Error::invalid(
            "params",
            "is missing, as is optimizers_config: nothing would change",
        ));
    }
    let params: Params = json::read("params", params)?;
    let mut optimizers = params.optimizers_config.map(optimizers);
    if let Some(threshold) = indexing_threshold {
        optimizers.get_or_insert_default().indexing_threshold = Some(threshold.into());
    }
    let is_kept = params.on_disk_payload.is_some()
        || params.replication_factor.is_some()
        || params.write_consistency_factor.is_some();
    Ok(engine::UpdateCollection {
        optimizers_config: optimizers,
        params: is_kept.then(|| engine::CollectionParamsDiff {
            replication_factor: params.replication_factor,
            write_consistency_factor: params.write_consistency_factor,
            on_disk_payload: params.on_disk_payload,
            ..Default::default()
        }),
        hnsw_config: params.hnsw_config.map(|hnsw| engine::HnswConfigDiff {
            m: hnsw.m,
            ef_construct: hnsw.ef_construct,
            full_scan_threshold: hnsw.full_scan_threshold,
            max_indexing_threads: hnsw.max_indexing_threads,
            on_disk: hnsw.on_disk,
            payload_m: hnsw.payload_m,
            ..Default::default()
        }),
        quantization_config: params.quantization_config.map(quantization),
        ..Default::default()
    })
}

fn optimizers(given: Optimizers) -> engine::OptimizersConfigDiff {
    let threads = |threads| engine::MaxOptimizationThreads {
        variant: Some(max_optimization_threads::Variant::Value(threads)),
    };
    engine::OptimizersConfigDiff {
        deleted_threshold: given.deleted_threshold,
        vacuum_min_vector_number: given.vacuum_min_vector_number,
        default_segment_number: given.default_segment_number,
        max_segment_size: given.max_segment_size,
        memmap_threshold: given.memmap_threshold,
        indexing_threshold: given.indexing_threshold,
        flush_interval_sec: given.flush_interval_sec,
        max_optimization_threads: given.max_optimization_threads.map(threads),
        ..Default::default()
    }
}

fn quantization(given: Quantization) -> engine::QuantizationConfigDiff {
    use quantization_config_diff::Quantization as Out;
    let out = match given {
        Quantization::Scalar(Scalar {
            r#type: ScalarType::Int8,
            quantile,
            always_ram,
        }) => Out::Scalar(engine::ScalarQuantization {
            r#type: engine::QuantizationType::Int8.into(),
            quantile,
            always_ram,
            ..Default::default()
        }),
        Quantization::Product(product) => Out::Product(engine::ProductQuantization {
            compression: match product.compression {
                Compression::X4 => engine::CompressionRatio::X4,
                Compression::X8 => engine::CompressionRatio::X8,
                Compression::X16 => engine::CompressionRatio::X16,
                Compression::X32 => engine::CompressionRatio::X32,
                Compression::X64 => engine::CompressionRatio::X64,
            }
            .into(),
            always_ram: product.always_ram,
            ..Default::default()
        }),
        Quantization::Binary(binary) => Out::Binary(engine::BinaryQuantization {
            always_ram: binary.always_ram,
            ..Default::default()
        }),
        Quantization::Disabled => Out::Disabled(engine::Disabled {}),
    };
    engine::QuantizationConfigDiff {
        quantization: Some(out),
    }
}

/// Parameters of an index as the REST API has them, which are the engine's field by field.
macro_rules! index_params {
    ($($name:ident { $($field:ident: $type:ty),* })*) => { $(
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $name {
            $($field: Option<$type>,)*
        }

        impl From<$name> for engine::$name {
            fn from(given: $name) -> Self {
                Self {
                    $($field: given.$field,)*
                    ..Default::default()
                }
            }
        }
    )* };
}

index_params! {
    KeywordIndexParams { is_tenant: bool, on_disk: bool, enable_hnsw: bool }
    IntegerIndexParams { lookup: bool, range: bool, is_principal: bool, on_disk: bool, enable_hnsw: bool }
    FloatIndexParams { is_principal: bool, on_disk: bool, enable_hnsw: bool }
    GeoIndexParams { on_disk: bool, enable_hnsw: bool }
    BoolIndexParams { on_disk: bool, enable_hnsw: bool }
    DatetimeIndexParams { is_principal: bool, on_disk: bool, enable_hnsw: bool }
    UuidIndexParams { is_tenant: bool, on_disk: bool, enable_hnsw: bool }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TextIndexParams {
    tokenizer: Option<Tokenizer>,
    lowercase: Option<bool>,
    min_token_len: Option<u64>,
    max_token_len: Option<u64>,
    on_disk: Option<bool>,
    stopwords: Option<Stopwords>,
    phrase_matching: Option<bool>,
    stemmer: Option<Stemmer>,
    ascii_folding: Option<bool>,
    enable_hnsw: Option<bool>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tokenizer {
    Prefix,
    Whitespace,
    #[default]
    Word,
    Multilingual,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stopwords {
    languages: Vec<String>,
    custom: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Stemmer {
    Snowball { language: String },
}

impl From<TextIndexParams> for engine::TextIndexParams {
    fn from(given: TextIndexParams) -> Self {
        let tokenizer = match given.tokenizer.unwrap_or_default() {
            Tokenizer::Prefix => TokenizerType::Prefix,
            Tokenizer::Whitespace => TokenizerType::Whitespace,
            Tokenizer::Word => TokenizerType::Word,
            Tokenizer::Multilingual => TokenizerType::Multilingual,
        };
        Self {
            tokenizer: tokenizer.into(),
            lowercase: given.lowercase,
            min_token_len: given.min_token_len,
            max_token_len: given.max_token_len,
            on_disk: given.on_disk,
            stopwords: given.stopwords.map(|stopwords| engine::StopwordsSet {
                languages: stopwords.languages,
                custom: stopwords.custom,
            }),
            phrase_matching: given.phrase_matching,
            stemmer: given
                .stemmer
                .map(|Stemmer::Snowball { language }| engine::StemmingAlgorithm {
                    stemming_params: Some(StemmingParams::Snowball(engine::SnowballParams { language })),
                }),
            ascii_folding: given.ascii_folding,
            enable_hnsw: given.enable_hnsw,
            ..Default::default()
        }
    }
}

/// The index that a request asks for.
pub(in crate::qdrant) fn index(request: pb::CreateFieldIndexRequest) -> Result<Index, Error> {
    names::check_key("field_name", &request.field_name)?;
    let params = request.field_index_params;
    let name = match request.field_type.as_deref() {
        None | Some("") => "keyword",
        Some(name) => name,
    };
    let (kind, params) = match name {
        "keyword" => (
            FieldType::Keyword,
            read::<KeywordIndexParams, _>(name, params, IndexParams::KeywordIndexParams)?,
        ),
        "integer" => (
            FieldType::Integer,
            read::<IntegerIndexParams, _>(name, params, IndexParams::IntegerIndexParams)?,
        ),
        "float" => (
            FieldType::Float,
            read::<FloatIndexParams, _>(name, params, IndexParams::FloatIndexParams)?,
        ),
        "bool" => (
            FieldType::Bool,
            read::<BoolIndexParams, _>(name, params, IndexParams::BoolIndexParams)?,
        ),
        "geo" => (
            FieldType::Geo,
            read::<GeoIndexParams, _>(name, params, IndexParams::GeoIndexParams)?,
        ),
        "text" => (
            FieldType::Text,
            read::<TextIndexParams, _>(name, params, IndexParams::TextIndexParams)?,
        ),
        "datetime" => (
            FieldType::Datetime,
            read::<DatetimeIndexParams, _>(name, params, IndexParams::DatetimeIndexParams)?,
        ),
        "uuid" => (
            FieldType::Uuid,
            read::<UuidIndexParams, _>(name, params, IndexParams::UuidIndexParams)?,
        ),
        _ => {
            let why = "is none of keyword, integer, float, bool, geo, text, datetime and uuid";
            return Err(Error::invalid("field_type", why));
        }
    };
    Ok(Index {
        field: request.field_name,
        kind: kind.into(),
        params,
    })
}

/// Parameters of a type of index, which may name the type once more.
fn read<T, E>(
    name: &str,
    given: Option<Struct>,
    wrap: fn(E) -> IndexParams,
) -> Result<Option<PayloadIndexParams>, Error>
where
    T: DeserializeOwned + Default + Into<E>,
{
    const FIELD: &str = "field_index_params";
    let Some(mut given) = given else {
        return Ok(None);
    };
    if let Some(kind) = given.fields.remove("type") {
        use isa_proto::prost_types::value::Kind;
        if !matches!(&kind.kind, Some(Kind::StringValue(kind)) if kind == name) {
            return Err(Error::invalid(
                "field_index_params.type",
                format!("is not field_type, {name}"),
            ));
        }
    }
    let params: T = json::read(FIELD, Some(given))?;
    Ok(Some(PayloadIndexParams {
        index_params: Some(wrap(params.into())),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(json: serde_json::Value) -> Option<Struct> {
        Some(json::shown(json))
    }

    #[test]
    fn changes_are_read_as_rest_has_them() {
        let params = json!({"on_disk_payload": true, "hnsw_config": {"m": 32, "ef_construct": 64},
            "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99}},
            "optimizers_config": {"deleted_threshold": 0.3}});
        let changes = changes(Some(5000), given(params)).unwrap();
        assert_eq!(changes.hnsw_config.unwrap().m, Some(32));
        assert_eq!(changes.params.unwrap().on_disk_payload, Some(true));
        let optimizers = changes.optimizers_config.unwrap();
        assert_eq!(
            (optimizers.indexing_threshold, optimizers.deleted_threshold),
            (Some(5000), Some(0.3))
        );
        assert!(changes.quantization_config.is_some());
    }

    #[test]
    fn changes_that_are_not_known_are_refused() {
        for params in [
            json!({"unknown": 1}),
            json!({"hnsw_config": {"n": 1}}),
            json!({"hnsw_config": {"m": -1}}),
            json!({"hnsw_config": {"m": 1.5}}),
            json!({"quantization_config": {"scalar": {"type": "int4"}}}),
            json!({"quantization_config": "Enabled"}),
        ] {
            assert!(changes(None, given(params.clone())).is_err(), "{params}");
        }
        assert!(changes(None, None).is_err());
        assert!(changes(None, given(json!({"quantization_config": "Disabled"}))).is_ok());
    }

    #[test]
    fn indexes_have_parameters_of_their_type() {
        let request = |kind: &str, params| pb::CreateFieldIndexRequest {
            field_name: "f".into(),
            field_type: Some(kind.into()),
            field_index_params: given(params),
            ..Default::default()
        };
        let text = json!({"type": "text", "tokenizer": "whitespace", "min_token_len": 2,
            "stopwords": {"languages": ["english"]}, "stemmer": {"type": "snowball", "language": "english"}});
        assert_eq!(
            index(request("text", text)).unwrap().kind,
            i32::from(FieldType::Text)
        );
        assert!(index(request("keyword", json!({"is_tenant": true}))).is_ok());
        assert!(index(request("keyword", json!({"lookup": true}))).is_err());
        assert!(index(request("keyword", json!({"type": "integer"}))).is_err());
        assert!(index(request("number", json!({}))).is_err());
        assert!(index(pb::CreateFieldIndexRequest::default()).is_err());
    }
}
