//! Statements are run here, and nowhere else.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    Error, Graph, Scope,
    bolt::{Connection, Mode, Statement, Summary, Value},
};

/// Most rows of one response.
pub(crate) const MAX_ROWS: usize = 10_000;

/// Most bytes of one response, as they come from Neo4j.
const MAX_BYTES: usize = 64 << 20;

/// How much longer than a statement may run we wait for Neo4j to say that it has ended it.
const GRACE: Duration = Duration::from_secs(2);

/// How often a statement that only reads is tried in all, if Neo4j says that this may help.
const ATTEMPTS: u32 = 4;

/// Before the second attempt; twice as long before the next.
const BACKOFF: Duration = Duration::from_millis(20);

/// Statements of a batch that are sent without waiting for the answers of those before.
const IN_FLIGHT: usize = 16;

/// Rows of a long result that are asked for at once.
const WINDOW: usize = 10_000;

/// What a statement may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// A write in it is refused by Neo4j.
    Read,
    Write,
}

impl Access {
    fn mode(self) -> Mode {
        match self {
            Self::Read => Mode::Read,
            Self::Write => Mode::Write,
        }
    }
}

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget(pub(crate) Duration);

/// What came of a statement.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) summary: Summary,
}

impl Answer {
    /// The first row.
    pub(crate) fn first(self) -> Option<Vec<Value>> {
        self.rows.into_iter().next()
    }

    /// The number that is the only value.
    pub(crate) fn number(self) -> i64 {
        let value = self.first().and_then(|row| row.into_iter().next());
        value.and_then(|value| value.as_int()).unwrap_or_default()
    }
}

/// Counts what a response has, and says when it is too much.
#[derive(Debug, Default)]
pub(super) struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.row()?;
        self.bytes(bytes)
    }

    pub(super) fn row(&mut self) -> Result<(), Error> {
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(Error::TooLarge(
                "the result has more than 10000 rows, nodes or paths",
            ));
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes > MAX_BYTES {
            return Err(Error::TooLarge(
                "the result has more than 64 MiB; what the statement wrote may be there",
            ));
        }
        Ok(())
    }
}

impl Graph {
    /// Runs one statement on the scope.
    pub(crate) async fn run(
        &self,
        scope: &mut Scope,
        statement: &Statement,
        access: Access,
        budget: Budget,
    ) -> Result<Answer, Error> {
        if budget.0.is_zero() {
            return Err(Error::OutOfTime);
        }
        match scope {
            Scope::Own(lease) => {
                let time = budget.0;
                let connection = lease.on()?;
                connection.run(statement, Some((access.mode(), time)));
                let reading = one(connection);
                timeout(time + GRACE, reading)
                    .await
                    .map_err(|_| Error::OutOfTime)?
            }
            Scope::Transaction(transaction) => {
                let time = budget.0.min(transaction.left());
                let connection = transaction.lease()?.on()?;
                connection.run(statement, None);
                let reading = one(connection);
                timeout(time, reading).await.map_err(|_| Error::OutOfTime)?
            }
        }
    }

    /// Runs one statement that only reads, on a connection of its own, again if Neo4j says that this may help.
    pub(crate) async fn read(&self, statement: &Statement, budget: Budget) -> Result<Answer, Error> {
        let mut attempt = 1;
        loop {
            let mut scope = Scope::Own(self.pool.lease().await?);
            match self.run(&mut scope, statement, Access::Read, budget).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    drop(scope);
                    sleep(BACKOFF * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// Whether a statement only reads, without running it.
    pub(crate) async fn only_reads(
        &self,
        scope: &mut Scope,
        statement: &Statement,
        budget: Budget,
    ) -> Result<bool, Error> {
        let asking = Statement {
            text: format!("EXPLAIN {}", statement.text),
            params: statement.params.clone(),
        };
        let answer = self.run(scope, &asking, Access::Write, budget).await?;
        Ok(answer.summary.kind == "r")
    }

    /// Runs statements in one transaction, all or none.
    pub(crate) async fn batch(&self, statements: &[Statement], budget: Budget) -> Result<Vec<Answer>, Error> {
        let mut lease = self.pool.lease().await?;
        let connection = lease.on()?;
        let all = async {
            connection.begin(Mode::Write, budget.0);
            connection.begun().await?;
            let mut room = Room::default();
            let mut answers = Vec::with_capacity(statements.len());
            for part in statements.chunks(IN_FLIGHT) {
                for statement in part {
                    connection.run(statement, None);
                    connection.pull(MAX_ROWS + 1);
                }
                connection.sent().await?;
                for _ in part {
                    let at = answers.len();
                    let answer = read(connection, &mut room).await;
                    answers.push(answer.map_err(|error| Error::Statement(at, Box::new(error)))?);
                }
            }
            connection.commit().await?;
            Ok(answers)
        };
        timeout(budget.0 + GRACE, all)
            .await
            .map_err(|_| Error::OutOfTime)?
    }

    /// Runs a statement that only reads, and hands its rows to `each`, however many they are.
    pub(super) async fn stream(
        &self,
        statement: &Statement,
        budget: Budget,
        each: &mut (dyn FnMut(Vec<Value>, usize) -> Result<(), Error> + Send),
    ) -> Result<(), Error> {
        let mut lease = self.pool.lease().await?;
        let connection = lease.on()?;
        let all = async {
            connection.run(statement, Some((Mode::Read, budget.0)));
            connection.pull(WINDOW);
            connection.sent().await?;
            let mut summary = connection.columns().await?;
            while connection.rows(&mut summary, each).await? {
                connection.go_on();
                connection.pull(WINDOW);
                connection.sent().await?;
            }
            Ok(())
        };
        timeout(budget.0 + GRACE, all)
            .await
            .map_err(|_| Error::OutOfTime)?
    }
}

/// The rows of the statement that stands in line. Not one more than may be is asked for: the last row of a statement by
/// itself commits it, and Community says exactly whether there are more.
async fn one(connection: &mut Connection) -> Result<Answer, Error> {
    connection.pull(MAX_ROWS);
    connection.sent().await?;
    read(connection, &mut Room::default()).await
}

async fn read(connection: &mut Connection, room: &mut Room) -> Result<Answer, Error> {
    let mut answer = Answer {
        summary: connection.columns().await?,
        ..Answer::default()
    };
    let rows = &mut answer.rows;
    let more = connection
        .rows(&mut answer.summary, &mut |row, bytes| {
            room.take(bytes)?;
            rows.push(row);
            Ok(())
        })
        .await?;
    if more {
        return Err(Error::TooLarge(
            "the result has more than 10000 rows; nothing was written",
        ));
    }
    Ok(answer)
}
