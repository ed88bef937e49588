//! Requests to Loki, with answers that are read as far as they may go.

use std::time::Duration;

use isa_config::Endpoint;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::de::DeserializeOwned;

use super::Error;
use crate::loki::names::{EVERY_STREAM, Names, TENANT_HEADER};

/// How long a connection may take to be made: Loki is near.
const CONNECT: Duration = Duration::from_secs(2);

/// Connections that are kept. More at once are made and closed.
const KEPT: usize = 64;

/// Longest answer that is read, in bytes. The most that a caller may ask for, 5000 entries, fits if they have 12 KiB each.
const MAX_ANSWER: usize = 64 << 20;

/// Longest refusal that is read.
const MAX_REFUSAL: usize = 16 << 10;

/// As much of a refusal as a caller is told, in characters.
const TOLD: usize = 500;

/// Has Loki say which labels are a stream's own and which were found in the line.
const ENCODING_FLAGS: HeaderName = HeaderName::from_static("x-loki-response-encoding-flags");

/// Loki over HTTP.
pub(super) struct Http {
    client: Client,
    /// Without a slash at its end.
    base: String,
    push: Url,
    basic: Option<(String, String)>,
}

/// Whose mistake a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The caller's: this field has LogQL of its own.
    By(&'static str),
    /// All of it was built here.
    Built,
}

impl Http {
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let url = Url::parse(&endpoint.url).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "has the scheme {:?}, and must have http or https",
                url.scheme()
            ));
        }
        if url.host().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err("must be http://HOST:PORT, with a path at most".to_owned());
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        let push = Url::parse(&format!("{base}/loki/api/v1/push")).map_err(|error| error.to_string())?;
        // No proxy: engines are addressed directly, and one of the environment would take requests elsewhere.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(KEPT)
            .http1_only()
            .build()
            .map_err(|error| error.to_string())?;
        // Loki has no passwords. A proxy in front of it may.
        let basic = endpoint.password.as_ref().map(|password| {
            let username = endpoint.username.clone().unwrap_or_default();
            (username, password.expose().to_owned())
        });
        Ok(Self {
            client,
            base,
            push,
            basic,
        })
    }

    /// A request about the tenant's logs, below the address of Loki.
    pub(super) fn request(&self, method: Method, names: Names<'_>, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        self.signed(names, request)
    }

    fn signed(&self, names: Names<'_>, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(TENANT_HEADER, names.scope());
        match &self.basic {
            Some((username, password)) => request.basic_auth(username, Some(password)),
            None => request,
        }
    }

    /// Pushes a body of `wire`.
    pub(super) async fn push(
        &self,
        names: Names<'_>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Result<(), Refusal>, Error> {
        let request = self.signed(names, self.client.post(self.push.clone()));
        let mut answer = request
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .body(body)
            .timeout(limit)
            .send()
            .await?;
        if answer.status().is_success() {
            return Ok(Ok(()));
        }
        Ok(Err(Refusal::read(&mut answer).await?))
    }

    /// Asks `/loki/api/v1/<what>` with these parameters.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        names: Names<'_>,
        what: &str,
        parameters: &[(&str, &str)],
        asked: Asked,
        limit: Duration,
    ) -> Result<T, Error> {
        // In the body: a query may be longer than an address.
        let answer = self
            .request(Method::POST, names, &format!("/loki/api/v1/{what}"))
            .header(ENCODING_FLAGS, HeaderValue::from_static("categorize-labels"))
            .form(parameters)
            .timeout(limit)
            .send()
            .await?;
        parse(&whole(checked(answer, asked).await?).await?)
    }

    /// A page of plain text, whatever the status.
    pub(super) async fn text(
        &self,
        names: Names<'_>,
        path: &str,
        limit: Duration,
    ) -> Result<(StatusCode, String), Error> {
        let mut answer = self
            .request(Method::GET, names, path)
            .timeout(limit)
            .send()
            .await?;
        let status = answer.status();
        let text = some(&mut answer, MAX_REFUSAL).await?;
        Ok((status, String::from_utf8_lossy(&text).trim().to_owned()))
    }

    /// Asks for a websocket: the path and its parameters.
    pub(super) fn upgrade(
        &self,
        names: Names<'_>,
        path: &str,
        parameters: &[(&str, &str)],
        key: &str,
    ) -> RequestBuilder {
        self.request(Method::GET, names, path)
            .query(parameters)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", key)
            .header(ENCODING_FLAGS, HeaderValue::from_static("categorize-labels"))
    }
}

/// What Loki said instead of doing it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) async fn read(answer: &mut Response) -> Result<Self, Error> {
        let text = some(answer, MAX_REFUSAL).await?;
        Ok(Self {
            status: answer.status(),
            text: String::from_utf8_lossy(&text).trim().to_owned(),
        })
    }

    /// What it means, when it is about a question.
    pub(super) fn of_question(self, asked: Asked) -> Error {
        let Self { status, text } = &self;
        let took_long = text.contains("timed out") || text.contains("deadline exceeded");
        match status.as_u16() {
            400 | 422 if text.contains("maximum number of series") => Error::Precondition(
                "there are more series than Loki gives at once; ask for a shorter time, more exact labels or a sum".into(),
            ),
            400 | 422 => match asked {
                Asked::By(field) => Error::invalid(field, format!("Loki does not take it: {}", told(text))),
                Asked::Built => Error::unexpected(format_args!("Loki does not take what was built: {text}")),
            },
            413 => Error::TooLarge("is more than Loki takes at once".into()),
            429 => Error::RateLimited,
            499 | 504 => Error::TimedOut,
            _ if took_long => Error::TimedOut,
            status => Error::down(format_args!("HTTP {status}: {text}")),
        }
    }
}

/// What of Loki's words about the caller's own query the caller reads: without what is ours, in one line.
pub(super) fn told(text: &str) -> String {
    let (name, value) = EVERY_STREAM;
    let text = text
        .replace(&format!("{name}=\"{value}\", "), "")
        .replace(&format!("{name}=\"{value}\""), "");
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TOLD)
        .collect();
    line.truncate(line.trim_end().len());
    line
}

/// An answer of success, or what the refusal means.
async fn checked(mut answer: Response, asked: Asked) -> Result<Response, Error> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(Refusal::read(&mut answer).await?.of_question(asked))
}

/// The whole answer.
async fn whole(mut answer: Response) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge("Loki's answer is larger than 64 MiB; ask for fewer entries".into());
    let announced = answer.content_length().unwrap_or_default();
    if announced > MAX_ANSWER as u64 {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The beginning of an answer.
async fn some(answer: &mut Response, most: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == most {
            break;
        }
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::down(format_args!("its answer has no sense: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, text: &str, asked: Asked) -> Error {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            text: text.to_owned(),
        };
        refusal.of_question(asked)
    }

    #[test]
    fn a_wrong_query_is_told_with_its_place() {
        let said = "parse error at line 1, col 5: syntax error: unexpected $end\n";
        let error = refused(400, said, Asked::By("query"));
        assert_eq!(
            error.to_string(),
            "query: Loki does not take it: parse error at line 1, col 5: syntax error: unexpected $end"
        );
        assert!(matches!(refused(400, said, Asked::Built), Error::Unexpected(_)));
        let long = "é".repeat(5000);
        assert!(
            refused(400, &long, Asked::By("query"))
                .to_string()
                .chars()
                .count()
                < 600
        );
        assert_eq!(told("series: '{__isa__=\"1\", a=\"b\"}'"), "series: '{a=\"b\"}'");
    }

    #[test]
    fn other_refusals_keep_their_words_to_themselves() {
        assert!(matches!(
            refused(429, "too many", Asked::By("query")),
            Error::RateLimited
        ));
        assert!(matches!(
            refused(504, "Request timed out", Asked::Built),
            Error::TimedOut
        ));
        assert!(matches!(refused(500, "boom", Asked::By("query")), Error::Down(_)));
        assert!(matches!(
            refused(400, "maximum number of series (500) reached", Asked::By("query")),
            Error::Precondition(_)
        ));
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["http://localhost:3100", "https://loki.example/base/"] {
            assert!(Http::open(&Endpoint::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "loki", "redis://x:1", "http://x/?a=b"] {
            assert!(Http::open(&Endpoint::new(bad)).is_err(), "{bad}");
        }
    }
}
