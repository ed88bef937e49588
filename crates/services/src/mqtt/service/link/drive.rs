//! The life of a connection: connecting, reading, writing, and beginning again.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error as CodecError, QoS,
    v5::{Packet, PingReq, PubRel, RetainForwardRule},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::oneshot,
};

use super::{
    super::{
        Error,
        connect::{Accepted, MAX_PACKET},
    },
    FIRST_PAUSE, Flight, MAX_IN_FLIGHT, MAX_PAUSE, Phase, Retained, Shared,
};

/// Bytes that a read asks for.
const READ: usize = 16 << 10;

/// A buffer that was larger is not kept.
const KEPT: usize = 256 << 10;

/// How long the end of a connection may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("the broker closed it")]
    Closed,
    #[error("the broker disconnected: {0}")]
    Disconnected(String),
    #[error("another connection took the name")]
    TakenOver,
    #[error("no sign of life")]
    Silent,
    #[error("closed")]
    Stopped,
}

impl Shared {
    pub(super) async fn run(self: Arc<Self>) {
        let mut is_first = true;
        let mut pause = FIRST_PAUSE;
        loop {
            let introduction = &self.introduction;
            let connecting = self
                .address
                .connect(introduction.connect(is_first), introduction.will.clone());
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = connecting => accepted,
            };
            let why = match accepted {
                Ok(accepted) => {
                    pause = FIRST_PAUSE;
                    self.came_up(&accepted, is_first);
                    is_first = false;
                    let lost = self.serve(accepted).await;
                    let why = lost.to_string();
                    if matches!(lost, Lost::TakenOver | Lost::Stopped) {
                        break;
                    }
                    tracing::debug!(client = %introduction.client, why, "the connection to the broker was lost");
                    why
                }
                Err(error) => error.to_string(),
            };
            self.went_down();
            self.phase.send_replace(Phase::Down(why));
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
        self.went_down();
        let mut state = self.state.lock();
        state.is_ended = true;
        state.flights.clear();
        drop(state);
        self.window.close();
        self.room.notify_waiters();
        self.phase.send_replace(Phase::Ended);
    }

    /// Sends again what the broker may not have, and subscribes again what it has forgotten.
    fn came_up(&self, accepted: &Accepted, is_first: bool) {
        let properties = accepted.properties.as_ref();
        let mut state = self.state.lock();
        state.epoch += 1;
        state.heard = Instant::now();
        state.out.clear();
        let max_packet = properties.and_then(|it| it.max_packet_size).unwrap_or(MAX_PACKET);
        state.max_packet = max_packet.min(MAX_PACKET) as usize;
        let allowed = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
        let allowed = usize::from(allowed).clamp(1, MAX_IN_FLIGHT);
        if allowed > state.window {
            self.window.add_permits(allowed - state.window);
        } else {
            self.window.forget_permits(state.window - allowed);
        }
        state.window = allowed;

        let mut ids: Vec<u16> = state.flights.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.resume(&mut state, id, accepted.session_present);
        }
        if !accepted.session_present {
            state.received.clear();
            let wanted: Vec<_> = state.subscriptions.values().cloned().collect();
            for wanted in wanted {
                let rule = match wanted.retained {
                    Retained::Mirrored => RetainForwardRule::OnEverySubscribe,
                    Retained::Once | Retained::None => RetainForwardRule::Never,
                };
                let (done, _) = oneshot::channel();
                if let Err(error) = state.ask_to_subscribe(&wanted, rule, done) {
                    tracing::warn!(%error, "a subscription could not be made again");
                }
            }
        }
        state.is_up = true;
        drop(state);
        self.wake.notify_one();
        self.phase.send_modify(|phase| {
            let resumed = match phase {
                Phase::Up { resumed, .. } => *resumed,
                _ => is_first && accepted.session_present,
            };
            *phase = Phase::Up {
                since: SystemTime::now(),
                resumed,
            };
        });
    }

    /// What becomes of one message that was in flight when the connection was lost.
    fn resume(&self, state: &mut super::State, id: u16, session_present: bool) {
        let Some(Flight::Publish {
            packet,
            is_released,
            done,
        }) = state.flights.get_mut(&id)
        else {
            return;
        };
        let result = if *is_released && session_present {
            state.put(&Packet::PubRel(PubRel::new(id, None)))
        } else if *is_released {
            // Whether it went to the subscribers before the broker forgot, nobody knows.
            Err(Error::Uncertain)
        } else if done.is_closed() {
            // Nobody waits for it any more, and it was not acknowledged.
            Err(Error::TimedOut)
        } else {
            packet.dup = session_present;
            let packet = packet.clone();
            packet.write(&mut state.out).map(drop).map_err(Error::unexpected)
        };
        if let Err(error) = result {
            self.land(state, id, Err(error));
        }
    }

    fn went_down(&self) {
        let mut state = self.state.lock();
        state.is_up = false;
        state.out = BytesMut::new();
        state.pings.clear();
        for unwritten in state.unwritten.drain(..) {
            let _ = unwritten.send(Err(Error::down("lost before the message was written")));
        }
        // Their callers are told; what is still wanted is subscribed again.
        state
            .flights
            .retain(|_, flight| matches!(flight, Flight::Publish { .. }));
        drop(state);
        // Those who wait for room see that there is no connection.
        self.room.notify_waiters();
    }

    async fn serve(&self, accepted: Accepted) -> Lost {
        let (reader, writer) = tokio::io::split(accepted.socket);
        tokio::select! {
            lost = self.read(reader, accepted.rest) => lost,
            lost = self.write(writer) => lost,
            () = async { self.stop.cancelled().await; tokio::time::sleep(GOODBYE).await } => Lost::Stopped,
        }
    }

    async fn read(&self, mut reader: impl AsyncRead + Unpin, mut buffer: BytesMut) -> Lost {
        loop {
            let received = self.receive(&mut buffer);
            if let Err(lost) = received {
                return lost;
            }
            if buffer.capacity() - buffer.len() < READ / 4 {
                buffer.reserve(READ);
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return Lost::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    async fn write(&self, mut writer: impl AsyncWrite + Unpin) -> Lost {
        // Asked twice in the time after which the broker gives up a silent connection.
        let beat = self.introduction.keep_alive / 2;
        let mut spare = BytesMut::new();
        let mut written = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                std::mem::swap(&mut spare, &mut state.out);
                std::mem::swap(&mut written, &mut state.unwritten);
            }
            if !spare.is_empty() {
                self.room.notify_waiters();
                if let Err(error) = write_all(&mut writer, &spare).await {
                    for waiting in written.drain(..) {
                        let _ = waiting.send(Err(Error::down("lost before the message was written")));
                    }
                    return error.into();
                }
                for waiting in written.drain(..) {
                    let _ = waiting.send(Ok(()));
                }
                if spare.capacity() > KEPT {
                    spare = BytesMut::new();
                }
                spare.clear();
                continue;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.stop.cancelled() => {
                    let goodbye = {
                        let mut state = self.state.lock();
                        let goodbye = state.goodbye.packet();
                        if state.put(&goodbye).is_err() {
                            return Lost::Stopped;
                        }
                        state.out.split()
                    };
                    if write_all(&mut writer, &goodbye).await.is_ok() {
                        let _ = writer.shutdown().await;
                    }
                    return Lost::Stopped;
                }
                () = tokio::time::sleep(beat) => {
                    let mut state = self.state.lock();
                    if state.heard.elapsed() > self.introduction.keep_alive {
                        return Lost::Silent;
                    }
                    if state.put(&Packet::PingReq(PingReq)).is_err() {
                        return Lost::Silent;
                    }
                }
            }
        }
    }

    /// Ends a flight with its result.
    pub(super) fn land(&self, state: &mut super::State, id: u16, result: Result<(), Error>) {
        if let Some(Flight::Publish { done, packet, .. }) = state.flights.remove(&id) {
            debug_assert_ne!(packet.qos, QoS::AtMostOnce);
            self.window.add_permits(1);
            let _ = done.send(result);
        }
    }
}

async fn write_all(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}
