// SPDX-License-Identifier: GPL-2.0

//! What a host has to send.

use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::connection::Segment;
use usb4_roce::transport::final_acks::AckState;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::responder::ResponseSource;
use usb4_roce::transport::scheduler::Turn;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;

use super::choice;
use super::up::Up;
use super::Host;
use super::Outgoing;
use super::Steadiness;
use super::Way;
use crate::ledger::Fate;
use crate::ledger::Ledger;
use crate::pattern;

impl Host {
    /// The next frame for a rail to `peer`.
    pub fn next(
        &mut self,
        way: Way,
        seq: RailSeq,
        now: Instant,
        ledger: &mut Ledger,
    ) -> Option<Outgoing> {
        let peer = self.peers.entry(way.peer).or_default();
        if peer.scheduler.ask(way.rail) == Turn::Rest {
            return None;
        }
        if let Some(ack) = peer.final_acks.take_due() {
            peer.scheduler.found(way.rail);
            let qpn = ack.src_qpn;
            return Some(Outgoing::acknowledgement_of(qpn, ack));
        }
        // The two kinds take turns.
        if seq.0 % 2 == 0 {
            if let Some(frame) = self.next_unreliable(&way, seq, ledger) {
                return Some(frame);
            }
        }
        let peer = self.peers.entry(way.peer).or_default();
        let ready = peer.ready.len();
        for _ in 0..ready {
            let peer = self.peers.entry(way.peer).or_default();
            let Some(index) = peer.ready.pop_front() else {
                break;
            };
            let up = peer.scheduler.up();
            let qp = &mut self.qps[index];
            if qp.is_destroyed {
                continue;
            }
            if qp.protocol.awaits_limits() {
                qp.protocol.handle_limits(&way.limits);
                qp.protocol.handle_features(way.features);
            }
            let had_work = qp.rails_with_frames(up, now).contains(way.rail);
            let frame = self.next_of(index, way.rail, seq, now, ledger);
            self.schedule_one(index, now);
            if frame.is_some() {
                assert!(had_work, "work that was not announced");
                let peer = self.peers.entry(way.peer).or_default();
                peer.scheduler.found(way.rail);
                return frame;
            }
        }
        if let Some(frame) = self.next_unreliable(&way, seq, ledger) {
            return Some(frame);
        }
        if self.port.head_peer(&ledger.datagrams) == Some(way.peer) {
            let peer = self.peers.entry(way.peer).or_default();
            peer.scheduler.found(way.rail);
            let datagram = self.port.next(&mut ledger.datagrams);
            self.aim(now, ledger);
            return datagram;
        }
        let peer = self.peers.entry(way.peer).or_default();
        let again = peer.scheduler.found_nothing(way.rail, way.afterwards);
        self.told.extend(again);
        None
    }

    fn next_unreliable(
        &mut self,
        way: &Way,
        seq: RailSeq,
        ledger: &mut Ledger,
    ) -> Option<Outgoing> {
        let choice = choice(&self.peers, way.peer);
        let frame = self
            .unreliable
            .next(way, seq, choice, &mut ledger.unreliable)?;
        let peer = self.peers.entry(way.peer).or_default();
        peer.scheduler.found(way.rail);
        Some(frame)
    }

    fn next_of(
        &mut self,
        index: usize,
        rail: RailId,
        seq: RailSeq,
        now: Instant,
        ledger: &Ledger,
    ) -> Option<Outgoing> {
        let up = Up(self.up(self.qps[index].peer));
        let qp = &mut self.qps[index];
        let qpn = qp.qpn;
        if let Some(ack) = qp.protocol.poll_ack() {
            return Some(Outgoing::acknowledgement_of(qpn, ack));
        }
        let slot = FrameSlot {
            rail,
            seq,
            room: MAX_PAYLOAD,
        };
        let segment = loop {
            let response = match qp.protocol.poll_segment(slot, now, &up)? {
                Segment::Response(response) => response,
                Segment::Request(segment) => break segment,
            };
            let psn = response.header.response_psn;
            let source = match response.source {
                ResponseSource::Memory(source) => source,
                ResponseSource::Value(value) => {
                    let len = response.header.extent.len() as usize;
                    return Some(Outgoing {
                        body: Body::Response(response.header),
                        payload: value.to_le_bytes()[..len].to_vec(),
                        item: InFlight::Response { qpn, psn },
                        steadiness: Steadiness::Steady,
                    });
                }
            };
            let region = ledger.regions.get(&source.rkey.0);
            let Some(region) = region.filter(|region| source.len == 0 || !region.revoked) else {
                qp.protocol
                    .handle_response_failure(psn, NakCode::RemoteAccess);
                continue;
            };
            let message =
                &ledger.connections[region.connection].streams[region.side].messages[region.index];
            let offset = source.va - region.va;
            let payload = pattern::bytes(message.tag, offset as u32, source.len);
            return Some(Outgoing {
                body: Body::Response(response.header),
                payload,
                item: InFlight::Response { qpn, psn },
                steadiness: Steadiness::of(message, source.len, response.attempt),
            });
        };
        let psn = segment.header.psn;
        let message_index = qp.slots[&segment.source.slot];
        let stream = &ledger.connections[qp.connection].streams[qp.side];
        stream.assert_may_start(message_index);
        let message = &stream.messages[message_index];
        if message.fate == Fate::Fail(CompletionStatus::LocalProtectionError) {
            qp.protocol
                .handle_send_failure(segment.source.slot, CompletionStatus::LocalProtectionError);
            return None;
        }
        let source = segment.source;
        let payload = match segment.operands {
            Some(operands) => operands.to_bytes()[..segment.header.payload_len() as usize].to_vec(),
            None => pattern::bytes(message.tag, source.offset, source.len),
        };
        Some(Outgoing {
            body: Body::Request(segment.header),
            payload,
            item: InFlight::Request { qpn, psn },
            steadiness: Steadiness::of(message, source.len, segment.attempt()),
        })
    }

    /// What was sent over a rail did not arrive.
    pub fn lost(&mut self, rail: RailId, seq: RailSeq, item: InFlight) {
        if let InFlight::Unreliable { qpn } = item {
            return self.unreliable.lost(rail, seq, qpn);
        }
        if let Some(index) = item.qpn().and_then(|qpn| self.find(qpn)) {
            self.touch(index);
            let qp = &mut self.qps[index];
            qp.handed_back += u64::from(matches!(item, InFlight::Request { .. }));
            qp.protocol.handle_lost(item, rail, seq);
        }
        if let InFlight::Ack { qpn } = item {
            for peer in self.peers.values_mut() {
                if peer.final_acks.on_lost(qpn) == AckState::Due {
                    self.told.extend(peer.scheduler.notify(RailSet::ALL));
                }
            }
        }
    }
}
