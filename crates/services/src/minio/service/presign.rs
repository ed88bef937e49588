//! Signed URLs. Made without asking the engine, for the address that others reach it at.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    operation::get_object::builders::GetObjectFluentBuilder,
    presigning::PresigningConfig,
    primitives::{DateTime, DateTimeFormat},
};

use super::{
    At, Store,
    error::{StoreError, invalid},
};
use crate::minio::names::check_id;

/// A URL that is good for a while.
pub(crate) struct Signed {
    pub(crate) url: String,
    pub(crate) expires: SystemTime,
}

impl Store {
    /// For GET. `params` are S3's `response-…` and `versionId`.
    pub(crate) async fn sign_get(
        &self,
        at: At<'_>,
        params: BTreeMap<String, String>,
        expiry: Duration,
    ) -> Result<Signed, StoreError> {
        let mut get = self.signer.get_object().bucket(at.bucket.engine()).key(at.key);
        for (name, value) in params {
            get = with_param(get, &name, value)?;
        }
        let (config, expires) = until(expiry)?;
        let url = get.presigned(config).await?.uri().to_owned();
        Ok(Signed { url, expires })
    }

    /// For PUT. A content type that is given is one that the PUT must send.
    pub(crate) async fn sign_put(
        &self,
        at: At<'_>,
        content_type: Option<&str>,
        expiry: Duration,
    ) -> Result<Signed, StoreError> {
        let put = self.signer.put_object().bucket(at.bucket.engine()).key(at.key);
        let put = put.set_content_type(content_type.map(str::to_owned));
        let (config, expires) = until(expiry)?;
        let url = put.presigned(config).await?.uri().to_owned();
        Ok(Signed { url, expires })
    }
}

fn until(expiry: Duration) -> Result<(PresigningConfig, SystemTime), StoreError> {
    let now = SystemTime::now();
    let config = PresigningConfig::builder()
        .start_time(now)
        .expires_in(expiry)
        .build();
    Ok((config.map_err(StoreError::internal)?, now + expiry))
}

fn with_param(
    get: GetObjectFluentBuilder,
    name: &str,
    value: String,
) -> Result<GetObjectFluentBuilder, StoreError> {
    let field = "request_params";
    if value.len() > 1024 || value.chars().any(char::is_control) {
        return Err(invalid(
            field,
            format_args!("{name:?} has more than 1024 bytes or a control character"),
        ));
    }
    Ok(match name {
        "response-content-type" => get.response_content_type(value),
        "response-content-disposition" => get.response_content_disposition(value),
        "response-content-encoding" => get.response_content_encoding(value),
        "response-content-language" => get.response_content_language(value),
        "response-cache-control" => get.response_cache_control(value),
        "response-expires" => {
            let time = DateTime::from_str(&value, DateTimeFormat::HttpDate);
            get.response_expires(time.map_err(|_| {
                invalid(
                    field,
                    "\"response-expires\" is no date such as `Wed, 21 Oct 2026 07:28:00 GMT`",
                )
            })?)
        }
        "versionId" => {
            check_id(field, &value)?;
            get.version_id(value)
        }
        _ => {
            return Err(invalid(
                field,
                format_args!("{name:?} cannot be signed; `versionId` and S3's `response-…` can"),
            ));
        }
    })
}
