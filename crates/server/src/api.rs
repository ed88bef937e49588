//! The nine services as their implementations see them: one trait each, generated from the contract by `build.rs`.
//!
//! A method takes the [`Call`], which was admitted, and the message, and returns a message or an [`Error`]. What
//! stands between the trait and tonic cannot be left out: [`Mount`]s are made by `mount` of each module alone.

use crate::{Call, Error, Mount, Replies, Requests, ServiceKind, guard};

macro_rules! mounted {
    ($kind:expr, $server:expr) => {{
        let server = $server
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
            .send_compressed(tonic::codec::CompressionEncoding::Gzip)
            .send_compressed(tonic::codec::CompressionEncoding::Zstd);
        Mount::new($kind, move |limit| {
            let server = server
                .max_decoding_message_size(limit)
                .max_encoding_message_size(limit);
            Box::new(move |request: http::Request<tonic::body::Body>| {
                tonic::codegen::Service::call(&mut server.clone(), request)
            })
        })
    }};
}

include!(concat!(env!("OUT_DIR"), "/api.rs"));
