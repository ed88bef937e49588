//! Every method of the contract, and what servers and gateways must know of it.

/// A method, as its descriptor has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// `isa.redis.RedisService`.
    pub service: &'static str,
    /// `Get`.
    pub name: &'static str,
    /// `/isa.redis.RedisService/Get`.
    pub path: &'static str,
    /// Changes nothing (`NO_SIDE_EFFECTS`): not audited.
    pub reads_only: bool,
    /// May be repeated with the same outcome.
    pub idempotent: bool,
    pub client_streaming: bool,
    pub server_streaming: bool,
    /// The request's `metadata.access_token` may stand for the header.
    pub token_in_request: bool,
}

/// Every method, by service.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

#[cfg(test)]
mod tests {
    use super::METHODS;

    #[test]
    fn the_table_says_what_the_descriptors_say() {
        let method = |path: &str| METHODS.iter().find(|method| method.path == path).expect(path);
        assert!(METHODS.len() >= 275);
        assert!(method("/isa.redis.RedisService/Get").reads_only);
        assert!(method("/isa.redis.RedisService/Set").idempotent);
        assert!(!method("/isa.redis.RedisService/Set").reads_only);
        assert!(!method("/isa.redis.RedisService/Increment").idempotent);
        assert!(method("/isa.minio.MinIOService/PutObject").client_streaming);
        assert!(method("/isa.postgres.PostgresService/Query").token_in_request);
    }
}
