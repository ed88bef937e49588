//! The building blocks on their real engines: each test calls a service as a client does, and looks at what it did with
//! the engine's own client.

mod harness;
mod minio;
mod nats;
mod postgres;
mod redis;
