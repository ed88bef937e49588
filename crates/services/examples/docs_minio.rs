//! The Rust example of docs/building-blocks/minio.md, with another address.

use isa_proto::minio::{
    GetObjectRequest, PutObjectMetadata, PutObjectRequest, get_object_response,
    min_io_service_client::MinIoServiceClient, put_object_request::Data,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut minio = MinIoServiceClient::new(channel);
    let (bucket, key) = ("reports", "2026/lines.txt");
    let first = Data::Metadata(PutObjectMetadata {
        user_id: "alice".into(),
        bucket_name: bucket.into(),
        object_key: key.into(),
        ..Default::default()
    });
    let chunks = (0..1000).map(|number| Data::Chunk(format!("line {number:03}\n").into()));
    let messages = std::iter::once(first).chain(chunks);
    let upload = futures::stream::iter(messages.map(|data| PutObjectRequest { data: Some(data) }));
    let written = minio.put_object(upload).await?.into_inner();
    println!("{} bytes written", written.size);

    let end = GetObjectRequest {
        user_id: "alice".into(),
        bucket_name: bucket.into(),
        object_key: key.into(),
        offset: 9 * 998,
        ..Default::default()
    };
    let mut download = minio.get_object(end).await?.into_inner();
    while let Some(message) = download.message().await? {
        if let Some(get_object_response::Data::Chunk(chunk)) = message.data {
            print!("{}", String::from_utf8_lossy(&chunk));
        }
    }
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
