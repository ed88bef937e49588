use std::time::Duration;

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions,
    jetstream::{self, stream},
};
use futures::StreamExt;
use isa_config::{Endpoint, EngineKind};

use crate::{
    Error, Probe,
    address::Address,
    error::{During, shorten},
    run::{Run, Stop, unique_name},
};

/// JetStream's code for a stream that does not exist.
const NO_STREAM: u64 = 10059;

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let client = connect(endpoint).await?;
    Ok(Probe {
        version: Some(shorten(&client.server_info().version)),
    })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let client = run.step("connect", connect(endpoint)).await?;
    run.step("publish/subscribe", publish_and_receive(&client))
        .await?;

    let name = unique_name();
    let context = jetstream::new(client);
    let made = async {
        run.step("JetStream stream created", create(&context, &name))
            .await?;
        run.step(
            "JetStream publish acknowledged and read back",
            publish_and_read(&context, &name),
        )
        .await
    }
    .await;
    let removed = run
        .remove("JetStream stream deleted", &name, delete(&context, &name))
        .await;
    made.and(removed)
}

async fn connect(endpoint: &Endpoint) -> Result<Client, Error> {
    let what = "connect";
    let address = Address::main(EngineKind::Nats, endpoint)?;
    // The check's own limit ends requests and attempts to connect.
    let mut options = ConnectOptions::new()
        .connection_timeout(Duration::MAX)
        .request_timeout(None);
    if let Some(password) = &endpoint.password {
        let password = password.expose().to_owned();
        options = match &endpoint.username {
            Some(user) => options.user_and_password(user.clone(), password),
            None => options.token(password),
        };
    }
    match options.connect(address.url.as_str()).await {
        // A PING that came back has ended the handshake.
        Ok(client) => Ok(client),
        Err(e) => Err(match e.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                Error::unauthorized(what, e.kind())
            }
            _ => Error::protocol(what, e),
        }),
    }
}

async fn publish_and_receive(client: &Client) -> Result<(), Error> {
    let what = "publish and receive";
    let subject = unique_name();
    let mut subscription = client.subscribe(subject.clone()).await.during("subscribe")?;
    client
        .publish(subject.clone(), subject.clone().into())
        .await
        .during("publish")?;
    client.flush().await.during("publish")?;
    let received = subscription.next().await;
    let message = received.ok_or_else(|| Error::protocol(what, "the subscription was closed"))?;
    if message.payload != subject.as_bytes() {
        return Err(Error::wrong(
            what,
            subject,
            String::from_utf8_lossy(&message.payload),
        ));
    }
    Ok(())
}

async fn create(context: &jetstream::Context, name: &str) -> Result<(), Error> {
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![name.to_owned()],
        max_messages: 10,
        max_bytes: 4096,
        storage: stream::StorageType::File,
        ..Default::default()
    };
    context
        .create_stream(config)
        .await
        .during("create a stream")
        .map(drop)
}

async fn publish_and_read(context: &jetstream::Context, name: &str) -> Result<(), Error> {
    let published = context.publish(name.to_owned(), name.to_owned().into()).await;
    let acknowledgement = published.during("publish")?.await.during("publish")?;
    let stream = context.get_stream_no_info(name).await.during("find the stream")?;
    let message = stream
        .get_raw_message(acknowledgement.sequence)
        .await
        .during("read the message back")?;
    if message.payload != name.as_bytes() {
        return Err(Error::wrong(
            "read the message back",
            name,
            String::from_utf8_lossy(&message.payload),
        ));
    }
    Ok(())
}

async fn delete(context: &jetstream::Context, name: &str) -> Result<(), Error> {
    match context.delete_stream(name).await {
        Ok(_) => Ok(()),
        Err(e) => match e.kind() {
            jetstream::context::DeleteStreamErrorKind::JetStream(answer)
                if answer.error_code().0 == NO_STREAM =>
            {
                Ok(())
            }
            _ => Err(Error::protocol("delete the stream", e)),
        },
    }
}
