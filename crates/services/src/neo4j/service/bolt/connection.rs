//! One connection: requests out, answers in, and where it stands.

use std::{fmt, io, ops::Range, sync::Arc, time::Duration};

use futures::FutureExt;
use isa_config::Endpoint;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{
    pack::{self, Field},
    unpack::{self, Reader, Unreadable},
    value::{Map, Value, get},
};
use crate::neo4j::service::Error;

/// How long a connection may take to be made, with its login.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one message from Neo4j: a row has at most what a whole result may have, and a little for its frame.
const MAX_MESSAGE: usize = 65 << 20;

/// Bytes that are read at once, and kept between messages.
const READ: usize = 32 << 10;

/// Bolt 5.2 to 5.4: Neo4j 5.7 and all that came later.
const HANDSHAKE: [u8; 20] = [
    0x60, 0x60, 0xB0, 0x17, 0, 2, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

const HELLO: u8 = 0x01;
const LOGON: u8 = 0x6A;
const RESET: u8 = 0x0F;
const RUN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const COMMIT: u8 = 0x12;
const ROLLBACK: u8 = 0x13;
const PULL: u8 = 0x3F;

/// A statement and its parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) params: Map,
}

impl Statement {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            params: Map::new(),
        }
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: Value) -> Self {
        self.params.push((name.into(), value));
        self
    }
}

/// What a statement may do, where it is a transaction of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
}

/// Why Neo4j refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Such as `Neo.ClientError.Statement.SyntaxError`.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What a statement did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    pub(crate) columns: Vec<String>,
    /// `r`, `rw`, `w` or `s`.
    pub(crate) kind: String,
    counters: Map,
    /// Until the first row and until the last, in milliseconds.
    first: i64,
    last: i64,
}

impl Summary {
    /// Such as `nodes-created`.
    pub(crate) fn count(&self, name: &str) -> i64 {
        get(&self.counters, name)
            .and_then(Value::as_int)
            .unwrap_or_default()
    }

    pub(crate) fn milliseconds(&self) -> i64 {
        self.first.saturating_add(self.last)
    }
}

enum Message {
    Record(Vec<Value>, usize),
    Success(Map),
    Failure(Failure),
    Ignored,
}

trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// Where Neo4j is, and how to get in.
pub(crate) struct Address {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    user: String,
    password: String,
}

impl Address {
    /// # Errors
    /// What is wrong with the address.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let url = Url::parse(&endpoint.url).map_err(|error| error.to_string())?;
        let tls = match url.scheme() {
            "bolt" | "neo4j" => false,
            "bolt+s" | "neo4j+s" => true,
            scheme => {
                return Err(format!(
                    "has scheme {scheme:?}; expected bolt://HOST:PORT or bolt+s://HOST:PORT"
                ));
            }
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err("has no host".into()),
        };
        let tls = if tls {
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            Some((TlsConnector::from(Arc::new(client_config()?)), name))
        } else {
            None
        };
        Ok(Self {
            host,
            port: url.port().unwrap_or(7687),
            tls,
            user: endpoint.username.clone().unwrap_or_else(|| "neo4j".into()),
            password: endpoint
                .password
                .as_ref()
                .map(|password| password.expose().to_owned())
                .unwrap_or_default(),
        })
    }

    async fn socket(&self) -> io::Result<Box<dyn Socket>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }

    /// A new connection that is logged in.
    pub(crate) async fn open(&self) -> Result<Connection, Error> {
        let opening = async {
            let mut stream = self.socket().await?;
            stream.write_all(&HANDSHAKE).await?;
            let mut version = [0; 4];
            stream.read_exact(&mut version).await?;
            if version[3] != 5 {
                return Err(Error::Protocol(
                    "Neo4j is older than 5.7 and speaks no Bolt 5.2".into(),
                ));
            }
            let mut connection = Connection {
                stream,
                input: Vec::new(),
                read: 0,
                output: Vec::new(),
                sent: 0,
                pending: 0,
                state: State::Ready,
            };
            connection.login(self).await?;
            Ok(connection)
        };
        timeout(PATIENCE, opening).await.map_err(|_| Error::Slow)?
    }
}

fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A machine without any certificates fails at the handshake, with a message that says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// Within a transaction.
    Open,
    /// Rows are left that nobody has asked for.
    Streaming,
    /// Something was refused. RESET helps.
    Failed,
    /// Nothing helps.
    Broken,
}

/// Every wait may be given up: what was read and what was not sent yet stay here, and [`Connection::reset`] goes on from there.
pub(crate) struct Connection {
    stream: Box<dyn Socket>,
    input: Vec<u8>,
    /// Bytes of `input` that are done with.
    read: usize,
    output: Vec<u8>,
    /// Bytes of `output` that are sent.
    sent: usize,
    /// Answers that are still to come.
    pending: usize,
    state: State,
}

impl Connection {
    /// Nothing is left of whoever had it last.
    pub(super) fn is_clean(&self) -> bool {
        self.state == State::Ready && self.is_settled()
    }

    /// A transaction is open, and may go on.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open && self.is_settled()
    }

    fn is_settled(&self) -> bool {
        self.pending == 0 && self.sent == self.output.len()
    }

    /// Whether an idle connection is still there: Neo4j has not closed it, and says nothing unasked.
    pub(super) fn is_alive(&mut self) -> bool {
        self.input.clear();
        self.read = 0;
        self.input.reserve(READ);
        self.stream.read_buf(&mut self.input).now_or_never().is_none()
    }

    async fn login(&mut self, address: &Address) -> Result<(), Error> {
        let agent = concat!("isa/", env!("CARGO_PKG_VERSION"));
        let hello = vec![
            ("user_agent".into(), Value::text(agent)),
            (
                "bolt_agent".into(),
                Value::Map(vec![("product".into(), Value::text(agent))]),
            ),
            // Hints for people who write Cypher: nobody would read them here.
            ("notifications_minimum_severity".into(), Value::text("OFF")),
        ];
        let logon = vec![
            ("scheme".into(), Value::text("basic")),
            ("principal".into(), Value::text(address.user.as_str())),
            ("credentials".into(), Value::text(address.password.as_str())),
        ];
        self.push(HELLO, &[Field::Map(&hello)]);
        self.push(LOGON, &[Field::Map(&logon)]);
        self.flush().await?;
        self.success().await?;
        self.success().await.map(drop)
    }

    fn push(&mut self, tag: u8, fields: &[Field<'_>]) {
        if self.is_settled() {
            self.output.clear();
            self.sent = 0;
        }
        pack::message(&mut self.output, tag, fields);
        self.pending += 1;
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let sent = self.send().await;
        self.checked(sent)
    }

    async fn send(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            let count = self.stream.write(&self.output[self.sent..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent += count;
        }
        self.output.clear();
        self.output.shrink_to(READ);
        self.sent = 0;
        self.stream.flush().await
    }

    /// After a failed transfer it is of no more use.
    fn checked<T>(&mut self, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|error| {
            self.state = State::Broken;
            Error::Down(error)
        })
    }

    /// The next message. One that cannot be read is an error, and the connection goes on behind it.
    async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            match self.frame() {
                Ok(Some(range)) => {
                    let length = range.len();
                    let message = decode(&self.input[range], length);
                    if !matches!(message, Ok(Message::Record(..)) | Err(Unreadable::TooDeep)) {
                        self.pending = self.pending.saturating_sub(1);
                    }
                    return message.map_err(|why| match why {
                        Unreadable::TooDeep => Error::TooDeep,
                        Unreadable::Malformed => {
                            self.state = State::Broken;
                            Error::Protocol("a message of Neo4j cannot be read".into())
                        }
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    self.state = State::Broken;
                    return Err(error);
                }
            }
            if self.read > 0 {
                self.input.drain(..self.read);
                self.read = 0;
                if self.input.is_empty() {
                    self.input.shrink_to(READ);
                }
            }
            self.input.reserve(READ);
            let count = self.stream.read_buf(&mut self.input).await;
            if self.checked(count)? == 0 {
                self.state = State::Broken;
                return Err(Error::Down(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Where the next whole message stands in `input`. The chunks of a long one are moved together.
    fn frame(&mut self) -> Result<Option<Range<usize>>, Error> {
        let mut at = self.read;
        let mut chunks: usize = 0;
        let mut first = 0;
        loop {
            let Some(header) = self.input.get(at..at + 2) else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes([header[0], header[1]]));
            at += 2;
            if length == 0 {
                if chunks > 0 {
                    break;
                }
                // A sign of life.
                self.read = at;
                continue;
            }
            if chunks == 0 {
                first = length;
            }
            chunks += 1;
            at += length;
            if at - self.read > MAX_MESSAGE {
                return Err(Error::TooLarge("a row is larger than 64 MiB"));
            }
            if at > self.input.len() {
                return Ok(None);
            }
        }
        let start = self.read + 2;
        self.read = at;
        if chunks == 1 {
            return Ok(Some(start..start + first));
        }
        let mut end = start + first;
        let mut from = end;
        loop {
            let length = usize::from(u16::from_be_bytes([self.input[from], self.input[from + 1]]));
            if length == 0 {
                return Ok(Some(start..end));
            }
            self.input.copy_within(from + 2..from + 2 + length, end);
            from += 2 + length;
            end += length;
        }
    }

    /// The answer to a request that gives no rows.
    async fn success(&mut self) -> Result<Map, Error> {
        match self.receive().await? {
            Message::Success(map) => Ok(map),
            Message::Failure(failure) => Err(self.refused(failure)),
            Message::Ignored | Message::Record(..) => Err(self.out_of_step()),
        }
    }

    fn refused(&mut self, failure: Failure) -> Error {
        self.state = State::Failed;
        Error::Refused(failure)
    }

    fn out_of_step(&mut self) -> Error {
        self.state = State::Broken;
        Error::Protocol("Neo4j answered out of step".into())
    }

    /// Puts a statement in line. Without `mode` it is one of the open transaction.
    pub(crate) fn run(&mut self, statement: &Statement, own: Option<(Mode, Duration)>) {
        let extra = own.map_or_else(Map::new, |(mode, time)| settings(mode, time));
        let fields = [
            Field::Text(&statement.text),
            Field::Map(&statement.params),
            Field::Map(&extra),
        ];
        self.push(RUN, &fields);
    }

    /// Asks for so many rows.
    pub(crate) fn pull(&mut self, rows: usize) {
        let count = i64::try_from(rows).unwrap_or(i64::MAX);
        self.push(PULL, &[Field::Map(&vec![("n".into(), Value::Int(count))])]);
    }

    pub(crate) fn begin(&mut self, mode: Mode, time: Duration) {
        let extra = settings(mode, time);
        self.push(BEGIN, &[Field::Map(&extra)]);
    }

    pub(crate) async fn begun(&mut self) -> Result<(), Error> {
        self.flush().await?;
        self.success().await?;
        self.state = State::Open;
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.end(COMMIT).await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        self.end(ROLLBACK).await
    }

    async fn end(&mut self, tag: u8) -> Result<(), Error> {
        self.push(tag, &[]);
        self.flush().await?;
        self.success().await?;
        self.state = State::Ready;
        Ok(())
    }

    /// Sends what is in line.
    pub(crate) async fn sent(&mut self) -> Result<(), Error> {
        self.flush().await
    }

    /// The answers to [`Self::run`]: its columns.
    pub(crate) async fn columns(&mut self) -> Result<Summary, Error> {
        let mut map = self.success().await?;
        let columns = map.iter_mut().find(|(key, _)| key == "fields");
        let columns = columns.map(|(_, value)| std::mem::replace(value, Value::Null));
        Ok(Summary {
            columns: columns.map(Value::into_texts).unwrap_or_default(),
            first: get(&map, "t_first").and_then(Value::as_int).unwrap_or_default(),
            ..Summary::default()
        })
    }

    /// The answers to [`Self::pull`]: each row with its bytes goes to `each`. Whether there are more.
    pub(crate) async fn rows(
        &mut self,
        summary: &mut Summary,
        each: &mut (dyn FnMut(Vec<Value>, usize) -> Result<(), Error> + Send),
    ) -> Result<bool, Error> {
        loop {
            match self.receive().await? {
                Message::Record(row, bytes) => each(row, bytes)?,
                Message::Success(map) => {
                    if get(&map, "has_more").and_then(Value::as_bool) == Some(true) {
                        // In a transaction too: nothing but the rest of these rows may come next.
                        self.state = State::Streaming;
                        return Ok(true);
                    }
                    for (key, value) in map {
                        match (key.as_str(), value) {
                            ("type", Value::Text(kind)) => summary.kind = kind,
                            ("stats", Value::Map(counters)) => summary.counters = counters,
                            ("t_last", Value::Int(last)) => summary.last = last,
                            _ => {}
                        }
                    }
                    return Ok(false);
                }
                Message::Failure(failure) => return Err(self.refused(failure)),
                Message::Ignored => return Err(self.out_of_step()),
            }
        }
    }

    /// More rows of the same result are about to be asked for, of a statement that is its own transaction.
    pub(crate) fn go_on(&mut self) {
        if self.state == State::Streaming {
            self.state = State::Ready;
        }
    }

    /// Stops what runs, rolls back what is open, and reads whatever is still on its way.
    pub(super) async fn reset(&mut self) -> Result<(), Error> {
        if self.state == State::Broken {
            return Err(Error::Protocol("the connection is broken".into()));
        }
        self.push(RESET, &[]);
        self.flush().await?;
        loop {
            let message = match self.receive().await {
                Err(Error::TooDeep) => continue,
                message => message?,
            };
            if self.pending > 0 {
                continue;
            }
            return match message {
                Message::Success(_) => {
                    self.state = State::Ready;
                    Ok(())
                }
                _ => Err(self.out_of_step()),
            };
        }
    }
}

/// How a transaction is run. Neo4j itself ends it after `time`.
fn settings(mode: Mode, time: Duration) -> Map {
    let milliseconds = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut settings = vec![("tx_timeout".into(), Value::Int(milliseconds))];
    if mode == Mode::Read {
        settings.push(("mode".into(), Value::text("r")));
    }
    settings
}

fn decode(bytes: &[u8], length: usize) -> Result<Message, Unreadable> {
    let (tag, mut reader): (u8, Reader<'_>) = unpack::message(bytes)?;
    Ok(match tag {
        0x71 => Message::Record(reader.fields()?, length),
        0x70 => Message::Success(reader.map()?),
        0x7E => Message::Ignored,
        0x7F => {
            let map = reader.map()?;
            let word = |key| {
                get(&map, key)
                    .and_then(Value::as_text)
                    .unwrap_or_default()
                    .to_owned()
            };
            Message::Failure(Failure {
                code: word("code"),
                message: word("message"),
            })
        }
        _ => return Err(Unreadable::Malformed),
    })
}
