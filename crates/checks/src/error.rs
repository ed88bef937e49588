use std::{error::Error as StdError, io, time::Duration};

use isa_config::Endpoint;

/// Longest text of an engine that is kept in a message, in characters.
const TEXT_LIMIT: usize = 300;

/// Why an engine cannot be used. No message carries a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint itself cannot be used; nothing was sent.
    #[error("endpoint {field} {why}")]
    Address { field: &'static str, why: String },
    /// Nothing accepts connections at the address.
    #[error("cannot connect to {address}; is the engine running there?")]
    Unreachable {
        /// `host:port`
        address: String,
        #[source]
        source: io::Error,
    },
    /// The engine answered, and refused the endpoint's user name, password, key or token.
    #[error("{what}: the credentials of the endpoint were refused: {why}")]
    Unauthorized { what: &'static str, why: String },
    /// The connection broke, or the answer is an error or not of the engine's protocol.
    #[error("{what} failed")]
    Protocol {
        what: &'static str,
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A well-formed answer that is not the right one.
    #[error("{what}: expected {expected}, got {got}")]
    Wrong {
        what: &'static str,
        expected: String,
        got: String,
    },
    /// Something accepts connections, but the answer did not come in time.
    #[error("not done within {0:.1?}; the engine is hung, overloaded or still starting")]
    TimedOut(Duration),
}

impl Error {
    /// The message with the messages of its causes, on one line.
    pub fn explain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            // Many libraries repeat their cause in their own message.
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
        shorten(&text)
    }

    pub(crate) fn protocol(what: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Protocol {
            what,
            source: source.into(),
        }
    }

    pub(crate) fn unauthorized(what: &'static str, why: impl ToString) -> Self {
        Self::Unauthorized {
            what,
            why: shorten(&why.to_string()),
        }
    }

    pub(crate) fn wrong(what: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Self::Wrong {
            what,
            expected: expected.to_string(),
            got: shorten(&got.to_string()),
        }
    }

    /// The same error, unless it would show the endpoint's password: a server that sends back what it was sent
    /// can put it into a library's message.
    pub(crate) fn without_secrets(self, endpoint: &Endpoint) -> Self {
        let secret = endpoint.password.as_ref().map_or("", |p| p.expose());
        let shows = |text: String| !secret.is_empty() && text.contains(secret);
        if shows(format!("{self:?}")) || shows(self.explain()) {
            return Self::protocol(
                "the request",
                "the engine sent the credentials of the endpoint back",
            );
        }
        self
    }
}

/// Names the request that an error of a client library ended.
pub(crate) trait During<T> {
    /// `what` reads well before "failed": `"list buckets"`.
    fn during(self, what: &'static str) -> Result<T, Error>;
}

impl<T, E: StdError + Send + Sync + 'static> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|e| Error::protocol(what, e))
    }
}

/// Makes text of an engine fit for one line of a terminal.
pub(crate) fn shorten(text: &str) -> String {
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = printable.clone().take(TEXT_LIMIT).collect();
    if printable.count() > TEXT_LIMIT {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use isa_config::Secret;

    use super::*;

    #[test]
    fn explain_joins_causes_once() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Error::Unreachable {
            address: "127.0.0.1:1".into(),
            source: refused,
        };
        assert_eq!(
            error.explain(),
            "cannot connect to 127.0.0.1:1; is the engine running there?: connection refused"
        );
        let error = Error::protocol("PING", io::Error::other("PING failed"));
        assert_eq!(error.explain(), "PING failed");
    }

    #[test]
    fn engine_text_is_one_short_line() {
        let text = shorten(&"a\nb\x1b[31m".repeat(200));
        assert!(text.chars().all(|c| !c.is_control()), "{text}");
        assert_eq!(text.chars().count(), TEXT_LIMIT + 1);
    }

    #[test]
    fn passwords_that_come_back_are_not_shown() {
        let endpoint = Endpoint::new("redis://h:1").with_credentials("app", Secret::new("hunter2"));
        let error = Error::protocol("PING", "unknown command 'AUTH hunter2'").without_secrets(&endpoint);
        assert!(!format!("{error:?} {}", error.explain()).contains("hunter2"));
        let error = Error::protocol("PING", "something else").without_secrets(&endpoint);
        assert_eq!(error.explain(), "PING failed: something else");
    }
}
