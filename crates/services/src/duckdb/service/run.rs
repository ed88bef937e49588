//! Work on threads that may block, each with a connection of its own, which ends with the call that asked for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use duckdb::{Connection, InterruptHandle};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, sleep_until, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Error,
    entered::Entered,
    limits::{PIECES, RUNNING, WAITING},
    open::Open,
    results::Results,
    transactions::InTransaction,
};

/// How often a statement is told to stop until it has: it may not have begun yet when it is told first.
const AGAIN: Duration = Duration::from_millis(10);

/// How long the answer of a statement that was told to stop is waited for.
const STOPPING: Duration = Duration::from_secs(5);

/// Threads for all databases.
pub(super) struct Threads {
    pub(super) results: Results,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            results: Results::default(),
            running: Arc::new(Semaphore::new(RUNNING)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }
}

/// By which work is told to stop.
#[derive(Default)]
pub(super) struct Cancel {
    state: Mutex<State>,
    /// For work that waits for its reader, whom DuckDB's own interruption does not reach.
    told: CancellationToken,
}

#[derive(Default)]
struct State {
    handle: Option<Arc<InterruptHandle>>,
    /// Why it is to stop.
    why: Option<Error>,
    told: bool,
    done: bool,
}

impl Cancel {
    /// Stops the work. The first reason counts.
    pub(super) fn fire(self: &Arc<Self>, why: Error) {
        {
            let mut state = self.state.lock();
            if state.done || state.told {
                return;
            }
            state.told = true;
            state.why = Some(why);
        }
        self.told.cancel();
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let cancel = Arc::clone(self);
        runtime.spawn(async move {
            while cancel.interrupt() {
                sleep(AGAIN).await;
            }
        });
    }

    /// False when there is nothing to stop any more.
    fn interrupt(&self) -> bool {
        let state = self.state.lock();
        if state.done {
            return false;
        }
        if let Some(handle) = &state.handle {
            handle.interrupt();
        }
        true
    }

    /// Whether the work was told to stop.
    pub(super) fn is_told(&self) -> bool {
        self.state.lock().told
    }

    fn begin(&self, handle: Arc<InterruptHandle>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.told {
            return Err(state
                .why
                .take()
                .unwrap_or(Error::Cancelled("the call was given up")));
        }
        state.handle = Some(handle);
        Ok(())
    }

    /// The reason, if it was told to stop.
    fn end(&self) -> Option<Error> {
        let mut state = self.state.lock();
        state.done = true;
        state.handle = None;
        state.why.take()
    }
}

/// Stops the work when the call is dropped.
pub(super) struct Leash(Arc<Cancel>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.fire(Error::Cancelled("the call was given up"));
    }
}

/// Work as the database knows it, until it has ended.
struct Registered {
    open: Arc<Open>,
    number: u64,
}

impl Registered {
    fn new(open: &Arc<Open>, cancel: &Arc<Cancel>) -> Self {
        Self {
            open: Arc::clone(open),
            number: open.register(cancel),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.open.unregister(self.number);
    }
}

/// Where work runs.
pub(super) enum On {
    /// On a connection of its own, which ends with it.
    Own,
    Transaction(InTransaction),
}

/// Work that was begun.
struct Begun<T> {
    work: JoinHandle<Result<T, Error>>,
    leash: Leash,
    until: tokio::time::Instant,
}

async fn begin<T, W>(
    threads: &Threads,
    entered: &Entered,
    on: On,
    limit: Duration,
    work: W,
) -> Result<Begun<T>, Error>
where
    T: Send + 'static,
    W: FnOnce(&Connection, &Arc<Cancel>) -> Result<T, Error> + Send + 'static,
{
    let until = tokio::time::Instant::now() + limit;
    let permits = permits(threads, entered, until).await?;
    let cancel = Arc::new(Cancel::default());
    let registered = Registered::new(entered.open(), &cancel);
    let leash = Leash(Arc::clone(&cancel));
    let entered = entered.clone();
    let work = spawn_blocking(move || {
        let (_permits, _registered) = (permits, registered);
        let began = Instant::now();
        let result = on_connection(&entered, on, &cancel, work);
        entered.count(began.elapsed());
        let result = match cancel.end() {
            Some(why) if result.is_err() => Err(why),
            _ => result,
        };
        if let Err(Error::Broken(_)) = &result {
            entered.open().set_broken();
        }
        // What was written where another replica may have the database now is not acknowledged.
        if result.is_ok() && !entered.open().is_held() {
            return Err(Error::Lost);
        }
        result
    });
    Ok(Begun { work, leash, until })
}

fn on_connection<T>(
    entered: &Entered,
    on: On,
    cancel: &Arc<Cancel>,
    work: impl FnOnce(&Connection, &Arc<Cancel>) -> Result<T, Error>,
) -> Result<T, Error> {
    if entered.open().is_closed() {
        return Err(Error::Elsewhere("the database was just closed; try again"));
    }
    match on {
        On::Own => {
            let connection = entered.open().connect()?;
            cancel.begin(connection.interrupt_handle())?;
            work(&connection, cancel)
        }
        On::Transaction(mut transaction) => {
            let connection = transaction.take()?;
            cancel.begin(connection.interrupt_handle())?;
            transaction.watch(cancel);
            let result = work(&connection, cancel);
            // One that was stopped in the middle is of no use: dropped, it is rolled back.
            if !cancel.is_told() {
                transaction.put_back(connection);
            }
            result
        }
    }
}

type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

async fn permits(
    threads: &Threads,
    entered: &Entered,
    until: tokio::time::Instant,
) -> Result<Permits, Error> {
    let of_database = Arc::clone(&entered.open().running);
    let of_all = Arc::clone(&threads.running);
    if let (Ok(own), Ok(all)) = (
        Arc::clone(&of_database).try_acquire_owned(),
        Arc::clone(&of_all).try_acquire_owned(),
    ) {
        return Ok((own, all));
    }
    let _place = Arc::clone(&threads.waiting)
        .try_acquire_owned()
        .map_err(|_| Error::Busy)?;
    let both = async {
        let own = of_database.acquire_owned().await.map_err(Error::internal)?;
        let all = of_all.acquire_owned().await.map_err(Error::internal)?;
        Ok::<_, Error>((own, all))
    };
    timeout_at(until, both).await.map_err(|_| Error::TimedOut)?
}

/// Does something on a connection, for `limit` at most.
pub(super) async fn run<T, W>(
    threads: &Threads,
    entered: &Entered,
    on: On,
    limit: Duration,
    work: W,
) -> Result<T, Error>
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
{
    let begun = begin(threads, entered, on, limit, move |connection, _| work(connection)).await?;
    let Begun {
        mut work,
        leash,
        until,
    } = begun;
    let ended = match timeout_at(until, &mut work).await {
        Ok(ended) => ended,
        Err(_) => {
            leash.0.fire(Error::TimedOut);
            let last = tokio::time::Instant::now() + STOPPING;
            match timeout_at(last, &mut work).await {
                Ok(ended) => ended,
                Err(_) => return Err(Error::TimedOut),
            }
        }
    };
    ended.map_err(Error::internal)?
}

/// Where work puts its pieces.
pub(super) struct Sink<P> {
    pieces: mpsc::Sender<P>,
    cancel: Arc<Cancel>,
}

impl<P: Send> Sink<P> {
    /// Waits for the reader; fails when it is gone, or the work was told to stop meanwhile. Blocks.
    pub(super) fn send(&self, piece: P) -> Result<(), Error> {
        let sending = async {
            tokio::select! {
                sent = self.pieces.send(piece) => sent.is_ok(),
                () = self.cancel.told.cancelled() => false,
            }
        };
        if Handle::current().block_on(sending) {
            Ok(())
        } else {
            Err(Error::Cancelled("the reader is gone"))
        }
    }
}

/// Pieces that come of work. Dropped, it stops the work.
pub(in crate::duckdb) struct Pieces<P> {
    pieces: mpsc::Receiver<P>,
    work: JoinHandle<Result<(), Error>>,
    _leash: Leash,
    /// Stops the work at the end of its time, also while nobody reads.
    _timer: AbortOnDropHandle<()>,
    ended: bool,
}

impl<P> Pieces<P> {
    /// The next one; `None` at the end.
    pub(in crate::duckdb) async fn next(&mut self) -> Result<Option<P>, Error> {
        if self.ended {
            return Ok(None);
        }
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        self.ended = true;
        // Only who did the work knows whether this is all.
        (&mut self.work).await.map_err(Error::internal)??;
        Ok(None)
    }
}

/// Begins work that gives pieces, the first of which is ready, or the reason why there is none.
pub(super) async fn stream<P, W>(
    threads: &Threads,
    entered: &Entered,
    on: On,
    limit: Duration,
    work: W,
) -> Result<(P, Pieces<P>), Error>
where
    P: Send + 'static,
    W: FnOnce(&Connection, &Sink<P>) -> Result<(), Error> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES);
    let begun = begin(threads, entered, on, limit, move |connection, cancel| {
        let sink = Sink {
            pieces: sender,
            cancel: Arc::clone(cancel),
        };
        work(connection, &sink)
    })
    .await?;
    let Begun { work, leash, until } = begun;
    let cancel = Arc::clone(&leash.0);
    let timer = tokio::spawn(async move {
        sleep_until(until).await;
        cancel.fire(Error::TimedOut);
    });
    let mut pieces = Pieces {
        pieces,
        work,
        _leash: leash,
        _timer: AbortOnDropHandle::new(timer),
        ended: false,
    };
    let first = pieces.next().await?;
    let first = first.ok_or_else(|| Error::internal("work that gave nothing"))?;
    Ok((first, pieces))
}
