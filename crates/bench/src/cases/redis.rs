use std::sync::Arc;

use isa_config::ServiceKind;
use isa_proto::redis::{GetRequest, SetRequest, redis_service_client::RedisServiceClient};
use redis::AsyncCommands;

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Redis;

/// As long as a session or a cached answer may be, in bytes.
const VALUE: usize = 100;

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let client = redis::Client::open(platform.engine_url(KIND)?.as_str())?;
    let native = client.get_multiplexed_async_connection().await?;
    let channels = Arc::new(platform.channels(KIND).await?);
    let value = "x".repeat(VALUE);

    let mut first = native.clone();
    first.set::<_, _, ()>("bench", &value).await?;
    let set = SetRequest {
        key: "bench".into(),
        value: value.clone(),
        ..Default::default()
    };
    RedisServiceClient::new(channels.of(0)).set(set.clone()).await?;

    let connection = native.clone();
    let native_get = operation(move |_| {
        let mut connection = connection.clone();
        async move {
            connection.get::<_, String>("bench").await?;
            Ok(0)
        }
    });
    let get_channels = Arc::clone(&channels);
    let service_get = operation(move |caller| {
        let mut client = RedisServiceClient::new(get_channels.of(caller));
        async move {
            let request = GetRequest {
                key: "bench".into(),
                ..Default::default()
            };
            client.get(request).await?;
            Ok(0)
        }
    });
    let connection = native;
    let native_set = operation(move |_| {
        let (mut connection, value) = (connection.clone(), value.clone());
        async move {
            connection.set::<_, _, ()>("bench", value).await?;
            Ok(0)
        }
    });
    let service_set = operation(move |caller| {
        let mut client = RedisServiceClient::new(channels.of(caller));
        let request = set.clone();
        async move {
            client.set(request).await?;
            Ok(0)
        }
    });
    Ok(vec![
        Case::new(KIND, "Get, 100 B", Some(20.0), native_get, service_get),
        Case::new(KIND, "Set, 100 B", Some(25.0), native_set, service_set),
    ])
}
