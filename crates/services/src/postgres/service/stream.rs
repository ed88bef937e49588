//! Results of any size, in parts that are made as they are taken.

use std::{pin::Pin, sync::Arc};

use futures::{SinkExt, Stream, StreamExt, channel::mpsc, stream};
use tokio_postgres::Row;

use super::{Database, Error, Scope, lease::Sink, param::Values, session::Prepared};

/// Some rows of a result.
#[derive(Debug)]
pub(in crate::postgres) struct Batch<T> {
    pub(in crate::postgres) prepared: Arc<Prepared>,
    pub(in crate::postgres) rows: Vec<T>,
}

/// A result, part by part.
pub(in crate::postgres) type Batches<T> = Pin<Box<dyn Stream<Item = Result<Batch<T>, Error>> + Send>>;

/// How much a part has, at most; of bytes, one row more.
#[derive(Debug, Clone, Copy)]
pub(in crate::postgres) struct Window {
    pub(in crate::postgres) rows: i32,
    pub(in crate::postgres) bytes: usize,
}

/// Makes a row what it is sent as, and says how many bytes that has.
pub(in crate::postgres) type Encode<T> = fn(&Prepared, &Row) -> Result<(T, usize), Error>;

impl Database {
    /// Reads a result of any size. There is at least one batch. A reader that stops makes PostgreSQL wait, and one that
    /// drops the stream ends the statement.
    ///
    /// # Errors
    /// What fails before the first batch. Later failures are the stream's last item.
    pub(in crate::postgres) async fn stream<T: Send + 'static>(
        &self,
        mut scope: Scope,
        sql: String,
        values: impl Values + 'static,
        window: Window,
        encode: Encode<T>,
    ) -> Result<Batches<T>, Error> {
        // One batch waits here, at most; while it does, no row is read.
        let (sender, receiver) = mpsc::channel(0);
        let driver = async move {
            let mut parts = Parts {
                sender,
                rows: Vec::new(),
                bytes: 0,
                begun: None,
                sent: false,
                window,
                encode,
            };
            let result = drive(&mut scope, &sql, &values, &mut parts).await;
            scope.done().await;
            if let Err(error) = result {
                // Nobody is left to be told, perhaps.
                let _ = parts.sender.send(Err(error)).await;
            }
        };
        let driver = stream::once(driver).filter_map(|()| async { None });
        // No task: it runs while the stream is read, and is gone with it.
        let mut all: Batches<T> = Box::pin(stream::select(receiver, driver));
        match all.next().await {
            Some(Ok(first)) => Ok(Box::pin(stream::iter([Ok(first)]).chain(all))),
            Some(Err(error)) => Err(error),
            None => Err(Error::Internal("a result without a beginning".into())),
        }
    }
}

async fn drive<T: Send>(
    scope: &mut Scope,
    sql: &str,
    values: &dyn Values,
    parts: &mut Parts<T>,
) -> Result<(), Error> {
    let rows = parts.window.rows;
    scope.lease()?.read(sql, values, rows, parts).await?;
    if parts.rows.is_empty() && parts.sent {
        return Ok(());
    }
    parts.flush().await
}

/// Puts rows together until they are a batch.
struct Parts<T> {
    sender: mpsc::Sender<Result<Batch<T>, Error>>,
    rows: Vec<T>,
    bytes: usize,
    begun: Option<Arc<Prepared>>,
    sent: bool,
    window: Window,
    encode: Encode<T>,
}

impl<T: Send> Sink for Parts<T> {
    fn begin(&mut self, prepared: &Arc<Prepared>) {
        self.begun = Some(Arc::clone(prepared));
    }

    fn take(&mut self, prepared: &Prepared, row: &Row) -> Result<bool, Error> {
        let (row, bytes) = (self.encode)(prepared, row)?;
        self.rows.push(row);
        self.bytes += bytes;
        let rows = i32::try_from(self.rows.len()).unwrap_or(i32::MAX);
        Ok(rows >= self.window.rows || self.bytes >= self.window.bytes)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let Some(prepared) = &self.begun else {
            return Ok(());
        };
        let batch = Batch {
            prepared: Arc::clone(prepared),
            rows: std::mem::take(&mut self.rows),
        };
        self.bytes = 0;
        self.sent = true;
        // The reader is gone: this future is then dropped as well.
        let sent = self.sender.send(Ok(batch)).await;
        sent.map_err(|_| Error::Internal("the reader of a result is gone".into()))
    }
}
