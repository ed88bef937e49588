//! Payload indexes.
#![allow(deprecated)] // `on_disk` is what clients before 1.20 send and read

use qdrant_client::qdrant as pb;
use qdrant_edge::{
    BoolIndexParams, DatetimeIndexParams, FloatIndexParams, GeoIndexParams, IntegerIndexParams,
    KeywordIndexParams, PayloadFieldSchema, PayloadIndexInfo, PayloadSchemaParams, PayloadSchemaType,
    TextIndexParams, TokenizerType, UuidIndexParams,
};
use serde_json::{Value, json};

use super::{
    pb::{payload_index_params::IndexParams, stemming_algorithm::StemmingParams},
    values::size,
};
use crate::service::{Failure, check::refuse_present};

pub(super) fn schema(
    field_type: Option<i32>,
    params: Option<pb::PayloadIndexParams>,
) -> Result<PayloadFieldSchema, Failure> {
    if let Some(params) = params.and_then(|params| params.index_params) {
        return self::params(params).map(PayloadFieldSchema::FieldParams);
    }
    let field_type = field_type.ok_or_else(|| Failure::invalid("field_type: is required"))?;
    let field_type = pb::FieldType::try_from(field_type)
        .map_err(|_| Failure::Invalid(format!("field_type: {field_type} is not a type")))?;
    Ok(PayloadFieldSchema::FieldType(match field_type {
        pb::FieldType::Keyword => PayloadSchemaType::Keyword,
        pb::FieldType::Integer => PayloadSchemaType::Integer,
        pb::FieldType::Float => PayloadSchemaType::Float,
        pb::FieldType::Geo => PayloadSchemaType::Geo,
        pb::FieldType::Text => PayloadSchemaType::Text,
        pb::FieldType::Bool => PayloadSchemaType::Bool,
        pb::FieldType::Datetime => PayloadSchemaType::Datetime,
        pb::FieldType::Uuid => PayloadSchemaType::Uuid,
    }))
}

/// A struct with these fields of another one, and no other.
macro_rules! copy {
    ($from:ident => $($to:ident)::+ { $($field:ident),* }) => {
        $($to)::+ { $($field: $from.$field,)* ..Default::default() }
    };
}

fn params(params: IndexParams) -> Result<PayloadSchemaParams, Failure> {
    use PayloadSchemaParams as Out;
    macro_rules! refuse_new {
        ($params:ident $(, $field:literal: $present:expr)?) => {
            refuse_present(&[
                ("field_index_params.memory", $params.memory.is_some()),
                ("field_index_params.nested", $params.nested.is_some()),
                $(($field, $present),)?
            ])?
        };
    }
    Ok(match params {
        IndexParams::KeywordIndexParams(p) => {
            refuse_new!(p, "field_index_params.prefix": p.prefix.is_some());
            Out::Keyword(copy!(p => KeywordIndexParams { is_tenant, on_disk, enable_hnsw }))
        }
        IndexParams::IntegerIndexParams(p) => {
            refuse_new!(p);
            if p.lookup == Some(false) && p.range == Some(false) {
                return Err(Failure::invalid(
                    "field_index_params: `lookup` and `range` cannot both be off",
                ));
            }
            Out::Integer(copy!(p => IntegerIndexParams { lookup, range, is_principal, on_disk, enable_hnsw }))
        }
        IndexParams::FloatIndexParams(p) => {
            refuse_new!(p);
            Out::Float(copy!(p => FloatIndexParams { is_principal, on_disk, enable_hnsw }))
        }
        IndexParams::GeoIndexParams(p) => {
            refuse_new!(p);
            Out::Geo(copy!(p => GeoIndexParams { on_disk, enable_hnsw }))
        }
        IndexParams::BoolIndexParams(p) => {
            refuse_new!(p);
            Out::Bool(copy!(p => BoolIndexParams { on_disk, enable_hnsw }))
        }
        IndexParams::DatetimeIndexParams(p) => {
            refuse_new!(p);
            Out::Datetime(copy!(p => DatetimeIndexParams { is_principal, on_disk, enable_hnsw }))
        }
        IndexParams::UuidIndexParams(p) => {
            refuse_new!(p);
            Out::Uuid(copy!(p => UuidIndexParams { is_tenant, on_disk, enable_hnsw }))
        }
        IndexParams::TextIndexParams(p) => {
            refuse_new!(p, "field_index_params.scoring": p.scoring.is_some());
            Out::Text(text(p)?)
        }
    })
}

fn text(p: pb::TextIndexParams) -> Result<TextIndexParams, Failure> {
    let wrong =
        |field: &str, e: serde_json::Error| Failure::Invalid(format!("field_index_params.{field}: {e}"));
    // The engine exports neither of these types; their JSON is part of the API.
    let stopwords = match p.stopwords {
        None => Value::Null,
        Some(set) => json!({ "languages": set.languages, "custom": set.custom }),
    };
    let stemmer = match p.stemmer.and_then(|stemmer| stemmer.stemming_params) {
        None => Value::Null,
        Some(StemmingParams::Snowball(snowball)) => {
            json!({ "type": "snowball", "language": snowball.language })
        }
        Some(StemmingParams::Disabled(_)) => {
            return Err(Failure::unsupported("`field_index_params.stemmer.disabled`"));
        }
    };
    Ok(TextIndexParams {
        tokenizer: match pb::TokenizerType::try_from(p.tokenizer) {
            Ok(pb::TokenizerType::Unknown | pb::TokenizerType::Word) => TokenizerType::Word,
            Ok(pb::TokenizerType::Prefix) => TokenizerType::Prefix,
            Ok(pb::TokenizerType::Whitespace) => TokenizerType::Whitespace,
            Ok(pb::TokenizerType::Multilingual) => TokenizerType::Multilingual,
            Ok(pb::TokenizerType::Code) => return Err(Failure::unsupported("the tokenizer `code`")),
            Err(_) => {
                return Err(Failure::invalid(
                    "field_index_params.tokenizer: is not a tokenizer",
                ));
            }
        },
        lowercase: p.lowercase,
        min_token_len: p
            .min_token_len
            .map(|n| size("field_index_params.min_token_len", n))
            .transpose()?,
        max_token_len: p
            .max_token_len
            .map(|n| size("field_index_params.max_token_len", n))
            .transpose()?,
        ascii_folding: p.ascii_folding,
        phrase_matching: p.phrase_matching,
        on_disk: p.on_disk,
        enable_hnsw: p.enable_hnsw,
        stopwords: serde_json::from_value(stopwords).map_err(|e| wrong("stopwords", e))?,
        stemmer: serde_json::from_value(stemmer).map_err(|e| wrong("stemmer", e))?,
        ..Default::default()
    })
}

pub(super) fn info_out(info: &PayloadIndexInfo) -> pb::PayloadSchemaInfo {
    let data_type = match info.data_type {
        PayloadSchemaType::Keyword => pb::PayloadSchemaType::Keyword,
        PayloadSchemaType::Integer => pb::PayloadSchemaType::Integer,
        PayloadSchemaType::Float => pb::PayloadSchemaType::Float,
        PayloadSchemaType::Geo => pb::PayloadSchemaType::Geo,
        PayloadSchemaType::Text => pb::PayloadSchemaType::Text,
        PayloadSchemaType::Bool => pb::PayloadSchemaType::Bool,
        PayloadSchemaType::Datetime => pb::PayloadSchemaType::Datetime,
        PayloadSchemaType::Uuid => pb::PayloadSchemaType::Uuid,
    };
    let params = info
        .params
        .as_ref()
        .map(params_out)
        .map(|params| pb::PayloadIndexParams {
            index_params: Some(params),
        });
    pb::PayloadSchemaInfo {
        data_type: data_type.into(),
        params,
        points: Some(info.points as u64),
    }
}

fn params_out(params: &PayloadSchemaParams) -> IndexParams {
    use IndexParams as Out;
    match params {
        PayloadSchemaParams::Keyword(p) => {
            Out::KeywordIndexParams(copy!(p => pb::KeywordIndexParams { is_tenant, on_disk, enable_hnsw }))
        }
        PayloadSchemaParams::Integer(p) => Out::IntegerIndexParams(
            copy!(p => pb::IntegerIndexParams { lookup, range, is_principal, on_disk, enable_hnsw }),
        ),
        PayloadSchemaParams::Float(p) => {
            Out::FloatIndexParams(copy!(p => pb::FloatIndexParams { is_principal, on_disk, enable_hnsw }))
        }
        PayloadSchemaParams::Geo(p) => {
            Out::GeoIndexParams(copy!(p => pb::GeoIndexParams { on_disk, enable_hnsw }))
        }
        PayloadSchemaParams::Bool(p) => {
            Out::BoolIndexParams(copy!(p => pb::BoolIndexParams { on_disk, enable_hnsw }))
        }
        PayloadSchemaParams::Datetime(p) => Out::DatetimeIndexParams(
            copy!(p => pb::DatetimeIndexParams { is_principal, on_disk, enable_hnsw }),
        ),
        PayloadSchemaParams::Uuid(p) => {
            Out::UuidIndexParams(copy!(p => pb::UuidIndexParams { is_tenant, on_disk, enable_hnsw }))
        }
        PayloadSchemaParams::Text(p) => Out::TextIndexParams(text_out(p)),
    }
}

fn text_out(p: &TextIndexParams) -> pb::TextIndexParams {
    let tokenizer = match p.tokenizer {
        TokenizerType::Prefix => pb::TokenizerType::Prefix,
        TokenizerType::Whitespace => pb::TokenizerType::Whitespace,
        TokenizerType::Word => pb::TokenizerType::Word,
        TokenizerType::Multilingual => pb::TokenizerType::Multilingual,
    };
    let json = json!({ "stopwords": p.stopwords, "stemmer": p.stemmer });
    let texts = |value: &Value| match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    };
    let stopwords = &json["stopwords"];
    let stopwords = match stopwords {
        Value::Null => None,
        Value::Object(set) => Some(pb::StopwordsSet {
            languages: set.get("languages").map(texts).unwrap_or_default(),
            custom: set.get("custom").map(texts).unwrap_or_default(),
        }),
        language => Some(pb::StopwordsSet {
            languages: texts(language),
            custom: Vec::new(),
        }),
    };
    let stemmer = json["stemmer"]["language"]
        .as_str()
        .map(|language| pb::StemmingAlgorithm {
            stemming_params: Some(StemmingParams::Snowball(pb::SnowballParams {
                language: language.to_owned(),
            })),
        });
    pb::TextIndexParams {
        tokenizer: tokenizer.into(),
        lowercase: p.lowercase,
        min_token_len: p.min_token_len.map(|n| n as u64),
        max_token_len: p.max_token_len.map(|n| n as u64),
        on_disk: p.on_disk,
        stopwords,
        phrase_matching: p.phrase_matching,
        stemmer,
        ascii_folding: p.ascii_folding,
        enable_hnsw: p.enable_hnsw,
        ..Default::default()
    }
}
