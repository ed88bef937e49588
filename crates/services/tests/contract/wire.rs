//! Calls of any method of the contract, known by its descriptor alone: bytes out, messages back.

use std::{sync::LazyLock, time::Duration};

use futures::{StreamExt, stream};
use isa_config::ServiceKind;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor,
    bytes::{Buf, BufMut, Bytes},
    prost::Message,
};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// A call without a deadline that has not answered by then hangs. Longer than any service may wait for its engine: a busy
/// machine makes an answer late, but only a defect keeps it away.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Largest message that is taken.
const MAX_MESSAGE: usize = 200 << 20;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(isa_proto::FILE_DESCRIPTOR_SET).expect("the contract"));

/// The service as the contract has it.
pub(crate) fn service(kind: ServiceKind) -> ServiceDescriptor {
    POOL.get_service_by_name(kind.grpc_service())
        .expect("a service of the contract")
}

pub(crate) fn method(kind: ServiceKind, name: &str) -> MethodDescriptor {
    service(kind)
        .methods()
        .find(|method| method.name() == name)
        .unwrap_or_else(|| panic!("{kind} has no method {name}"))
}

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How far a stream of responses is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) messages: usize,
    /// For how long none may come.
    pub(crate) silence: Duration,
}

/// Everything that a caller gets to see of a call.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) messages: Vec<DynamicMessage>,
    /// OK also for a stream that was left while it ran.
    pub(crate) status: Status,
    /// There was no answer at all in time.
    pub(crate) hung: bool,
}

impl Answer {
    pub(crate) fn code(&self) -> Code {
        self.status.code()
    }

    pub(crate) fn is_ok(&self) -> bool {
        !self.hung && self.code() == Code::Ok
    }
}

/// A connection, and who calls through it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    pub(crate) token: Option<String>,
    /// Sent with each call.
    pub(crate) deadline: Option<Duration>,
}

impl Client {
    pub(crate) async fn call(
        &self,
        method: &MethodDescriptor,
        requests: Vec<Bytes>,
        reading: Reading,
    ) -> Answer {
        let mut answer = Answer {
            messages: Vec::new(),
            status: Status::ok(""),
            hung: false,
        };
        let done = timeout(
            HANGS_AFTER,
            self.read(method, requests, reading, &mut answer.messages),
        )
        .await;
        match done {
            Ok(Ok(())) => {}
            Ok(Err(status)) => answer.status = status,
            Err(_) => answer.hung = true,
        }
        answer
    }

    async fn read(
        &self,
        method: &MethodDescriptor,
        requests: Vec<Bytes>,
        reading: Reading,
        into: &mut Vec<DynamicMessage>,
    ) -> Result<(), Status> {
        let mut responses = self.open(method, requests).await?;
        if !method.is_server_streaming() {
            while let Some(bytes) = responses.message().await? {
                into.push(decoded(method, &bytes)?);
            }
            return Ok(());
        }
        while into.len() < reading.messages {
            match timeout(reading.silence, responses.message()).await {
                Ok(message) => match message? {
                    Some(bytes) => into.push(decoded(method, &bytes)?),
                    None => return Ok(()),
                },
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Starts a call and hands over its responses as they are.
    pub(crate) async fn open(
        &self,
        method: &MethodDescriptor,
        requests: Vec<Bytes>,
    ) -> Result<tonic::Streaming<Bytes>, Status> {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        grpc.ready()
            .await
            .map_err(|e| Status::unavailable(e.to_string()))?;
        let mut request = Request::new(stream::iter(requests).boxed());
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().expect("a token is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = PathAndQuery::try_from(path).expect("a path");
        Ok(grpc.streaming(request, path, Raw).await?.into_inner())
    }

    /// Whether `grpc.health.v1` says that the service serves.
    pub(crate) async fn serves(&self, kind: ServiceKind) -> bool {
        let name = kind.grpc_service().as_bytes();
        let mut request = vec![0x0a, u8::try_from(name.len()).expect("a short name")];
        request.extend_from_slice(name);
        let mut grpc = Grpc::new(self.channel.clone());
        if grpc.ready().await.is_err() {
            return false;
        }
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let answer = grpc.unary(Request::new(Bytes::from(request)), path, Raw).await;
        // `status`, the only field: SERVING is 1.
        answer.is_ok_and(|answer| answer.into_inner().as_ref() == [0x08, 0x01])
    }
}

pub(crate) fn decoded(method: &MethodDescriptor, bytes: &Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(method.output(), bytes.clone())
        .map_err(|e| Status::internal(format!("a response that is none: {e}")))
}

pub(crate) fn encoded(messages: &[DynamicMessage]) -> Vec<Bytes> {
    messages
        .iter()
        .map(|message| message.encode_to_vec().into())
        .collect()
}
