//! The Rust example of docs/building-blocks/redis.md, with another address.

use isa_proto::{
    prost_types::Duration,
    redis::{AcquireLockRequest, ReleaseLockRequest, redis_service_client::RedisServiceClient},
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut redis = RedisServiceClient::new(channel);
    let request = AcquireLockRequest {
        organization_id: "acme".into(),
        lock_key: "nightly-report".into(),
        ttl: Some(Duration {
            seconds: 30,
            nanos: 0,
        }),
        ..Default::default()
    };
    let first = redis.acquire_lock(request.clone()).await?.into_inner();
    let second = redis.acquire_lock(request).await?.into_inner();
    println!("first: {}, second: {}", first.acquired, second.acquired);
    let release = ReleaseLockRequest {
        organization_id: "acme".into(),
        lock_key: "nightly-report".into(),
        lock_id: first.lock_id,
        ..Default::default()
    };
    let released = redis.release_lock(release).await?.into_inner();
    println!("released: {}", released.released);
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
