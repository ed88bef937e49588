//! What the broker sends.

use std::time::Instant;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error as CodecError, QoS,
    v5::{
        DisconnectReasonCode, Packet, PubAck, PubAckReason, PubComp, PubRec, PubRecReason, PubRel, Publish,
    },
};

use super::{
    super::{Error, connect::MAX_PACKET},
    Flight, Mark, Shared, State,
    drive::Lost,
};

impl Shared {
    /// Takes all packets that are whole.
    pub(super) fn receive(&self, buffer: &mut BytesMut) -> Result<(), Lost> {
        let mut has_answered = false;
        loop {
            let packet = match Packet::read(buffer, Some(MAX_PACKET)) {
                Ok(packet) => packet,
                Err(CodecError::InsufficientBytes(missing)) => {
                    buffer.reserve(missing);
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            has_answered |= self.take(packet)?;
        }
        self.state.lock().heard = Instant::now();
        if has_answered {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Whether an answer was put into the buffer.
    fn take(&self, packet: Packet) -> Result<bool, Lost> {
        match packet {
            Packet::Publish(publish) => return Ok(self.deliver(publish)),
            Packet::PubAck(ack) => {
                let result = judged(match ack.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                    reason => Err((
                        matches!(reason, PubAckReason::QuotaExceeded),
                        format!("{reason:?}"),
                    )),
                });
                self.land(&mut self.state.lock(), ack.pkid, result);
            }
            Packet::PubRec(rec) => {
                let result = judged(match rec.reason {
                    PubRecReason::Success | PubRecReason::NoMatchingSubscribers => Ok(()),
                    reason => Err((
                        matches!(reason, PubRecReason::QuotaExceeded),
                        format!("{reason:?}"),
                    )),
                });
                let mut state = self.state.lock();
                if result.is_err() {
                    self.land(&mut state, rec.pkid, result);
                    return Ok(false);
                }
                if let Some(Flight::Publish {
                    is_released, packet, ..
                }) = state.flights.get_mut(&rec.pkid)
                {
                    *is_released = true;
                    // From here on its id is all that is said.
                    packet.payload.clear();
                }
                let _ = state.put(&Packet::PubRel(PubRel::new(rec.pkid, None)));
                return Ok(true);
            }
            Packet::PubComp(comp) => self.land(&mut self.state.lock(), comp.pkid, Ok(())),
            Packet::PubRel(rel) => {
                let mut state = self.state.lock();
                state.received.remove(&rel.pkid);
                let _ = state.put(&Packet::PubComp(PubComp::new(rel.pkid, None)));
                return Ok(true);
            }
            Packet::SubAck(ack) => {
                if let Some(Flight::Subscribe(done)) = self.state.lock().flights.remove(&ack.pkid) {
                    let _ = done.send(ack.return_codes);
                }
            }
            Packet::UnsubAck(ack) => {
                if let Some(Flight::Unsubscribe(done)) = self.state.lock().flights.remove(&ack.pkid) {
                    let _ = done.send(ack.reasons);
                }
            }
            Packet::PingResp(_) => {
                for waiting in self.state.lock().pings.drain(..) {
                    let _ = waiting.send(());
                }
            }
            Packet::Disconnect(disconnect) => {
                return Err(match disconnect.reason_code {
                    DisconnectReasonCode::SessionTakenOver => Lost::TakenOver,
                    reason => Lost::Disconnected(format!("{reason:?}")),
                });
            }
            other => return Err(Lost::Disconnected(format!("it sent {other:?}"))),
        }
        Ok(false)
    }

    fn deliver(&self, publish: Publish) -> bool {
        let (id, qos) = (publish.pkid, publish.qos);
        let epoch = {
            let mut state = self.state.lock();
            if qos == QoS::ExactlyOnce && !state.received.insert(id) {
                // It came before, and its acknowledgement was lost.
                let _ = state.put(&Packet::PubRec(PubRec::new(id, None)));
                return true;
            }
            state.epoch
        };
        let is_done = (self.handler)(publish, Mark { id, epoch });
        let mut state = self.state.lock();
        match qos {
            QoS::AtLeastOnce if is_done => state.acknowledge(id),
            QoS::ExactlyOnce => {
                let _ = state.put(&Packet::PubRec(PubRec::new(id, None)));
            }
            _ => return false,
        }
        true
    }
}

impl State {
    pub(super) fn acknowledge(&mut self, id: u16) {
        let _ = self.put(&Packet::PubAck(PubAck::new(id, None)));
    }
}

/// What the broker thinks of a message. An error comes with whether it is a matter of room.
fn judged(verdict: Result<(), (bool, String)>) -> Result<(), Error> {
    verdict.map_err(|(is_full, reason)| {
        if is_full {
            Error::Full
        } else {
            Error::unexpected(format_args!("the broker refused a message: {reason}"))
        }
    })
}
