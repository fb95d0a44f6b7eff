// SPDX-License-Identifier: GPL-2.0

//! What arrives at a host, and where it goes.

use usb4_roce::transport::connection::PayloadToken;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::requester::LocalRange;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::ResponseToken;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::DropReason;
use usb4_roce::transport::responder::RequestToken;
use usb4_roce::transport::status::NakCode;

use super::receive_ring::Taker;
use super::Host;
use crate::ledger::Ledger;

/// Where a payload goes.
#[derive(Clone, Copy, Debug)]
enum Placement {
    Discard,
    Write {
        qp: usize,
        token: RequestToken,
        rkey: u32,
        va: u64,
    },
    Receive {
        qp: usize,
        token: RequestToken,
        slot: ReceiveSlot,
        offset: u32,
    },
    Response {
        qp: usize,
        token: ResponseToken,
        target: LocalRange,
    },
}

impl Host {
    /// An intact frame has arrived over `rail`.
    pub fn deliver(
        &mut self,
        rail: RailId,
        header: &Header,
        payload: &[u8],
        now: Instant,
        ledger: &mut Ledger,
    ) {
        if let Body::Unreliable(segment) = &header.body {
            let streams = &mut ledger.unreliable;
            return self.unreliable.deliver(rail, segment, payload, streams);
        }
        if let Body::UnreliableDatagram(header) = &header.body {
            self.port.receive(header, payload);
            return;
        }
        let placement = self.place(header, payload, now, ledger);
        self.commit(placement, payload, now, ledger);
    }

    /// Says where a payload goes.
    fn place(
        &mut self,
        header: &Header,
        payload: &[u8],
        now: Instant,
        ledger: &mut Ledger,
    ) -> Placement {
        match header.body {
            Body::Request(request) => {
                let Some(index) = self.find(request.dest_qpn) else {
                    return Placement::Discard;
                };
                self.touch(index);
                let ring = self.qps[index].ring;
                let qp = &mut self.qps[index];
                let life = qp.connection;
                let mut taker = Taker {
                    ring: &mut self.rings[ring],
                    taken: &mut qp.taken,
                    ledger,
                };
                match qp.protocol.handle_request(&request, &mut taker) {
                    Disposition::Write {
                        va, rkey, token, ..
                    } => Placement::Write {
                        qp: index,
                        token,
                        rkey: rkey.0,
                        va,
                    },
                    Disposition::Receive {
                        slot,
                        offset,
                        token,
                        ..
                    } => Placement::Receive {
                        qp: index,
                        token,
                        slot,
                        offset,
                    },
                    Disposition::CheckRead {
                        va,
                        rkey,
                        len,
                        token,
                    } => {
                        let side = 1 - qp.side;
                        let access = taker.ledger.access(life, side, rkey.0, va, len);
                        let allowed = access.is_some();
                        let outcome = if allowed {
                            Outcome::Placed
                        } else {
                            Outcome::Denied(NakCode::RemoteAccess)
                        };
                        qp.protocol.handle_payload(
                            PayloadToken::Request(token),
                            outcome,
                            &mut taker,
                            now,
                        );
                        if let Some(region) = taker.ledger.regions.get_mut(&rkey.0) {
                            region.revoked |= region.revoke_when_checked;
                        }
                        Placement::Discard
                    }
                    Disposition::CheckExecution {
                        action,
                        va,
                        rkey,
                        token,
                    } => {
                        let (side, len) = (1 - qp.side, action.length());
                        let access = taker.ledger.access(life, side, rkey.0, va, len);
                        let allowed = access.is_some();
                        let request_token = PayloadToken::Request(token);
                        match Operands::from_bytes(payload) {
                            _ if !allowed => qp.protocol.handle_payload(
                                request_token,
                                Outcome::Denied(NakCode::RemoteAccess),
                                &mut taker,
                                now,
                            ),
                            Some(operands) => {
                                qp.protocol.handle_operands(token, operands, &mut taker);
                            }
                            None => {
                                assert_eq!(action.opcode().operands_len(), 0);
                                qp.protocol.handle_payload(
                                    request_token,
                                    Outcome::Placed,
                                    &mut taker,
                                    now,
                                );
                            }
                        }
                        if let Some(region) = taker.ledger.regions.get_mut(&rkey.0) {
                            region.revoked |= region.revoke_when_checked;
                        }
                        Placement::Discard
                    }
                    Disposition::Drop(DropReason::NotRunning) => {
                        qp.missed = true;
                        Placement::Discard
                    }
                    Disposition::NoPayload | Disposition::Drop(_) => Placement::Discard,
                }
            }
            Body::Response(response) => {
                let Some(index) = self.find(response.dest_qpn) else {
                    return Placement::Discard;
                };
                self.touch(index);
                let qp = &mut self.qps[index];
                match qp.protocol.handle_response(&response, now) {
                    ResponseDisposition::Place(placement) => Placement::Response {
                        qp: index,
                        token: placement.token,
                        target: placement.target,
                    },
                    ResponseDisposition::Empty | ResponseDisposition::Ignore(_) => {
                        Placement::Discard
                    }
                }
            }
            Body::Ack(ack) => {
                if let Some(index) = self.find(ack.dest_qpn) {
                    self.touch(index);
                    let qp = &mut self.qps[index];
                    qp.protocol.handle_ack(&ack, now);
                }
                Placement::Discard
            }
            Body::Hello
            | Body::Nop { .. }
            | Body::Lost { .. }
            | Body::Goodbye
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => Placement::Discard,
        }
    }

    fn commit(&mut self, placement: Placement, data: &[u8], now: Instant, ledger: &mut Ledger) {
        match placement {
            Placement::Discard => {}
            Placement::Write {
                qp,
                token,
                rkey,
                va,
            } => {
                let life = (self.qps[qp].connection, 1 - self.qps[qp].side);
                let outcome = write(life, rkey, va, data, ledger);
                self.finish(qp, PayloadToken::Request(token), outcome, now, ledger);
            }
            Placement::Receive {
                qp,
                token,
                slot,
                offset,
            } => {
                let side = 1 - self.qps[qp].side;
                let ordinal = self.qps[qp].ordinal(slot);
                let connection = &mut ledger.connections[self.qps[qp].connection];
                let segment = connection.segment;
                let stream = &mut connection.streams[side];
                let message = &mut stream.messages[stream.consumers[ordinal]];
                message.place(offset, data, segment);
                let token = PayloadToken::Request(token);
                self.finish(qp, token, Outcome::Placed, now, ledger);
            }
            Placement::Response { qp, token, target } => {
                let side = self.qps[qp].side;
                let index = self.qps[qp].slots[&target.slot];
                let connection = &mut ledger.connections[self.qps[qp].connection];
                let segment = connection.segment;
                let message = &mut connection.streams[side].messages[index];
                if message.opcode == Opcode::Read {
                    message.place(target.offset, data, segment);
                } else {
                    message.place_answer(data);
                }
                let token = PayloadToken::Response(token);
                self.finish(qp, token, Outcome::Placed, now, ledger);
            }
        }
    }

    fn finish(
        &mut self,
        index: usize,
        token: PayloadToken,
        outcome: Outcome,
        now: Instant,
        ledger: &mut Ledger,
    ) {
        self.touch(index);
        let qp = &mut self.qps[index];
        let mut taker = Taker {
            ring: &mut self.rings[qp.ring],
            taken: &mut qp.taken,
            ledger,
        };
        qp.protocol.handle_payload(token, outcome, &mut taker, now);
    }
}

/// A piece of a WRITE of this life and side has arrived.
fn write(
    (life, side): (usize, usize),
    rkey: u32,
    va: u64,
    data: &[u8],
    ledger: &mut Ledger,
) -> Outcome {
    let segment = ledger.connections[life].segment;
    let Some((message, offset)) = ledger.access(life, side, rkey, va, data.len() as u32) else {
        return Outcome::Denied(NakCode::RemoteAccess);
    };
    message.place(offset, data, segment);
    if message.is_flag {
        let index = ledger.regions[&rkey].index;
        ledger.connections[life].streams[side].messages[index - 1].assert_whole();
    }
    Outcome::Placed
}
