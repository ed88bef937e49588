//! Who a request says that asks, wherever its message has it.

use std::collections::BTreeMap;

use crate::common::{RequestMetadata, ResponseMetadata};

/// Who a request says that asks. Empty where the message has no such field, or nothing in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    pub user_id: &'a str,
    pub organization_id: &'a str,
    /// A bearer token, for calls without a header.
    pub access_token: &'a str,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    /// Goes to the audit record.
    pub custom_metadata: Option<&'a BTreeMap<String, String>>,
}

impl<'a> From<&'a RequestMetadata> for Identity<'a> {
    fn from(metadata: &'a RequestMetadata) -> Self {
        Self {
            user_id: &metadata.user_id,
            organization_id: &metadata.organization_id,
            access_token: &metadata.access_token,
            request_id: &metadata.request_id,
            trace_id: &metadata.trace_id,
            custom_metadata: Some(&metadata.custom_metadata),
        }
    }
}

/// Implemented by every request message.
pub trait Identified {
    fn identity(&self) -> Identity<'_>;
}

/// Implemented by every response message.
pub trait Answer {
    /// The place of `metadata`, in responses that have it.
    fn metadata(&mut self) -> Option<&mut Option<ResponseMetadata>> {
        None
    }
}

include!(concat!(env!("OUT_DIR"), "/identity.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{duckdb, loki, minio, postgres};

    #[test]
    fn identity_is_found_in_fields_metadata_and_first_messages() {
        let push = loki::PushLogRequest {
            user_id: "u".into(),
            organization_id: "o".into(),
            ..Default::default()
        };
        assert_eq!(
            (push.identity().user_id, push.identity().organization_id),
            ("u", "o")
        );

        let metadata = RequestMetadata {
            user_id: "u".into(),
            access_token: "t".into(),
            ..Default::default()
        };
        let query = postgres::QueryRequest {
            metadata: Some(metadata),
            ..Default::default()
        };
        assert_eq!(
            (query.identity().user_id, query.identity().access_token),
            ("u", "t")
        );

        let first = minio::PutObjectMetadata {
            user_id: "u".into(),
            ..Default::default()
        };
        let put = minio::PutObjectRequest {
            data: Some(minio::put_object_request::Data::Metadata(first)),
        };
        assert_eq!(put.identity().user_id, "u");
        assert_eq!(
            duckdb::ImportDataRequest::default().identity(),
            Identity::default()
        );
    }
}
