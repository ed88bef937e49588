use std::sync::LazyLock;

use isa_config::{Endpoint, EngineKind};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy};
use serde::de::DeserializeOwned;

use crate::{
    Error,
    address::Address,
    error::{During, shorten},
};

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// One client for all probes: connections are kept and certificates loaded once. No proxy: engines are addressed
/// directly, and a proxy of the environment would take requests for this machine elsewhere.
static CLIENT: LazyLock<reqwest::Result<Client>> = LazyLock::new(|| {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .pool_max_idle_per_host(1)
        .build()
});

/// The HTTP address of an endpoint and the headers that every request to it carries.
pub(crate) struct Http {
    address: Address,
    client: &'static Client,
    pub headers: HeaderMap,
    /// User name and password of basic authentication.
    pub basic: Option<(String, String)>,
}

impl Http {
    pub(crate) fn new(kind: EngineKind, endpoint: &Endpoint) -> Result<Self, Error> {
        let client = CLIENT
            .as_ref()
            .map_err(|e| Error::protocol("set up HTTP", shorten(&format!("{e:?}"))))?;
        Ok(Self {
            address: Address::main(kind, endpoint)?,
            client,
            headers: HeaderMap::new(),
            basic: None,
        })
    }

    /// Adds a header whose value is a credential.
    pub(crate) fn secret_header(&mut self, name: &'static str, value: &str) -> Result<(), Error> {
        let invalid = |_| Error::Address {
            field: "password",
            why: "cannot be sent in an HTTP header".into(),
        };
        let mut value: reqwest::header::HeaderValue = value.parse().map_err(invalid)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    /// A request to a path (and query) below the endpoint's URL.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.address.url.as_str().trim_end_matches('/'));
        let request = self.client.request(method, url).headers(self.headers.clone());
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }
}

/// Sends a request and returns the body of a 2xx answer.
pub(crate) async fn send(what: &'static str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
    // The URL in reqwest's messages is noise: the endpoint is known.
    let mut answer = request
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .during(what)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)
        .during(what)?
    {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(Error::wrong(
                what,
                format!("at most {ANSWER_LIMIT} bytes"),
                "more",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    let text = format!("HTTP {status}: {}", String::from_utf8_lossy(&body));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::unauthorized(what, text)),
        _ => Err(Error::wrong(what, "HTTP 200", text.trim_end_matches([':', ' ']))),
    }
}

/// Sends a request and reads its 2xx answer as JSON.
pub(crate) async fn json<T: DeserializeOwned>(
    what: &'static str,
    request: RequestBuilder,
) -> Result<T, Error> {
    let body = send(what, request).await?;
    serde_json::from_slice(&body).during(what)
}
