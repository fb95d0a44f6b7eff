// SPDX-License-Identifier: GPL-2.0

//! A peer that signs its frames properly and sends whatever it likes: nothing panics, nothing is placed
//! outside of what was handed out, and nothing completes that did not happen.

use std::collections::HashSet;

mod amplification;
mod cases;
#[path = "../support/checksum.rs"]
mod checksum;
#[path = "../support/heap.rs"]
mod heap;

use heap::table;
use heap::Heap;
use proptest::prelude::*;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::DataSegment;
use usb4_roce::transport::frame::ExecuteRequest;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::Flush;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::ReadRequest;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::ResponseHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::ids::Rsn;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail::tx::RailTx;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::Requester;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::KeyNotValid;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Responder;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::responder::ResponseSource;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

const WINDOW: usize = 16;
const RECEIVE_LEN: u32 = 10_000;
const BASE: u32 = Psn::MASK - 5;
const NOW: Instant = Instant(1_000);

struct Receives(u16);

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        let left = self.0.checked_sub(1)?;
        self.0 = left;
        Some(Receive {
            slot: ReceiveSlot(left),
            wr_id: u64::from(left),
            length: RECEIVE_LEN,
            soundness: Soundness::Sound,
        })
    }

    fn invalidate(&mut self, rkey: Rkey) -> Result<(), KeyNotValid> {
        if rkey == Rkey(1) {
            Ok(())
        } else {
            Err(KeyNotValid)
        }
    }
}

struct NoRails;

impl Rails for NoRails {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        FrameStatus::Settled
    }

    fn up(&self) -> RailSet {
        RailSet::NONE
    }
}

fn responder(max_dest_rd_atomic: u8) -> Responder<Heap> {
    let mut responder = Responder::new(ResponderTables {
        requests: table(WINDOW),
        receives: table(WINDOW),
        reads: table(WINDOW),
        responses: table(WINDOW),
    })
    .unwrap();
    responder.start(ResponderConfig {
        local_qpn: Qpn::new(1),
        remote_qpn: Qpn::new(2),
        initial_psn: Psn::new(BASE),
        window: WINDOW as u16,
        max_dest_rd_atomic,
        rnr_timer: RnrTimer::new(1),
    });
    responder
}

fn requester() -> Requester<Heap> {
    let mut requester = Requester::new(RequesterTables {
        messages: table(8),
        segments: table(WINDOW),
        reads: table(4),
    })
    .unwrap();
    requester.start(RequesterConfig {
        local_qpn: Qpn::new(1),
        remote_qpn: Qpn::new(2),
        initial_psn: Psn::new(BASE),
        segment: SegmentSize::SMALLEST,
        window: WINDOW as u16,
        max_rd_atomic: 4,
        timeout: AckTimeout::new(1),
        retry: RetryLimit::from_retry_count(7),
        rnr_retry: RetryLimit::from_rnr_retry(7),
    });
    requester.set_peer_features(Features(u64::MAX));
    requester
}

/// PSNs near the window, or anywhere.
fn psn() -> impl Strategy<Value = Psn> {
    prop_oneof![
        8 => (0..40u32).prop_map(|ahead| Psn::new(BASE).add(ahead).add(Psn::MASK - 8)),
        1 => any::<u32>().prop_map(Psn::new),
    ]
}

fn request() -> impl Strategy<Value = RequestHeader> {
    let opcode = prop_oneof![
        Just(Opcode::Send),
        Just(Opcode::SendWithImm),
        Just(Opcode::SendWithInvalidate),
        Just(Opcode::Write),
        Just(Opcode::WriteWithImm),
        Just(Opcode::Read),
        Just(Opcode::CompareSwap),
        Just(Opcode::FetchAdd),
        Just(Opcode::AtomicWrite),
        Just(Opcode::Flush),
    ];
    let qpn = prop_oneof![9 => Just(2u32), 1 => any::<u32>()];
    let rsn = prop_oneof![9 => 0..12u32, 1 => any::<u32>()];
    let offset = prop_oneof![4 => Just(0), 2 => (0..4u32).prop_map(|n| n * SMALL_PAYLOAD), 1 => 0..1u32 << 30];
    let len = prop_oneof![4 => 0..200u32, 1 => 0..=MAX_PAYLOAD];
    let va = prop_oneof![4 => Just(0x1000u64), 1 => any::<u64>()];
    (
        (psn(), opcode, qpn, rsn),
        (offset, len, va),
        (any::<u16>(), psn()),
    )
        .prop_map(
            |((psn, opcode, qpn, rsn), (offset, len, va), (bits, response_psn))| {
                let mut flags = SegmentFlags::none();
                for (bit, flag) in [
                    SegmentFlags::FIRST,
                    SegmentFlags::LAST,
                    SegmentFlags::SOLICITED,
                    SegmentFlags::ORDERED,
                    SegmentFlags::ACK_REQUEST,
                    SegmentFlags::REPEAT,
                ]
                .into_iter()
                .enumerate()
                {
                    if bits & (1 << bit) != 0 {
                        flags = flags.with(flag);
                    }
                }
                let data = DataSegment {
                    rsn: Rsn::FIRST.add(rsn),
                    extent: Extent::new(offset, len).unwrap(),
                };
                let imm = opcode.has_imm().then_some(5);
                let rkey = Rkey(1 + u32::from(bits >> 15));
                let operation = match opcode {
                    Opcode::Send | Opcode::SendWithImm => Operation::Send {
                        data,
                        imm,
                        response_psn: Some(response_psn),
                    },
                    Opcode::SendWithInvalidate => Operation::SendWithInvalidate {
                        data,
                        rkey,
                        response_psn,
                    },
                    Opcode::Write | Opcode::WriteWithImm => Operation::Write {
                        data,
                        imm,
                        va,
                        rkey,
                    },
                    Opcode::Read => Operation::Read(ReadRequest {
                        va,
                        rkey,
                        length: offset,
                        segment: SegmentSize::SMALLEST,
                        response_psn,
                    }),
                    Opcode::CompareSwap
                    | Opcode::FetchAdd
                    | Opcode::AtomicWrite
                    | Opcode::Flush => Operation::Execute(ExecuteRequest {
                        action: match opcode {
                            Opcode::CompareSwap => Action::CompareSwap,
                            Opcode::FetchAdd => Action::FetchAdd,
                            Opcode::AtomicWrite => Action::AtomicWrite,
                            _ => Action::Flush {
                                flush: Flush::default(),
                                length: offset,
                            },
                        },
                        va,
                        rkey,
                        response_psn,
                    }),
                };
                RequestHeader {
                    dest_qpn: Qpn::new(1),
                    src_qpn: Qpn::new(qpn),
                    psn,
                    flags,
                    operation,
                }
            },
        )
}

#[derive(Clone, Debug)]
enum ToResponder {
    Request(RequestHeader, u8),
    ResponseAck(Psn),
    SendResponses,
    LoseResponse(Psn),
    FailResponse(Psn),
    LateCommit,
}

fn to_responder() -> impl Strategy<Value = ToResponder> {
    prop_oneof![
        10 => (request(), any::<u8>()).prop_map(|(request, fate)| ToResponder::Request(request, fate)),
        2 => psn().prop_map(ToResponder::ResponseAck),
        2 => Just(ToResponder::SendResponses),
        1 => psn().prop_map(ToResponder::LoseResponse),
        1 => psn().prop_map(ToResponder::FailResponse),
        3 => Just(ToResponder::LateCommit),
    ]
}

#[derive(Clone, Debug)]
enum ToRequester {
    Post(Opcode, u32),
    Send,
    Ack(AckHeader),
    Response(ResponseHeader, u8),
    Lose(Psn),
    Timer(u64),
    LateCommit,
}

fn to_requester() -> impl Strategy<Value = ToRequester> {
    let opcode = prop_oneof![
        Just(Opcode::Send),
        Just(Opcode::Write),
        Just(Opcode::Read),
        Just(Opcode::FetchAdd),
        Just(Opcode::Flush),
    ];
    let length = prop_oneof![0..100u32, 0..40_000u32];
    let code = prop_oneof![Just(NakCode::InvalidRequest), Just(NakCode::RemoteAccess)];
    let syndrome = prop_oneof![
        8 => Just(Syndrome::Ack),
        2 => Just(Syndrome::SequenceNak),
        2 => (0..32u8).prop_map(|timer| Syndrome::RnrNak(RnrTimer::new(timer))),
        1 => code.clone().prop_map(Syndrome::Nak),
        1 => (psn(), code).prop_map(|(psn, code)| Syndrome::ReadNak { psn, code }),
    ];
    prop_oneof![
        4 => (opcode, length).prop_map(|(opcode, length)| ToRequester::Post(opcode, length)),
        8 => Just(ToRequester::Send),
        6 => (psn(), psn(), syndrome, 0..6u32).prop_map(|(psn, response_psn, syndrome, nak_serial)| {
            ToRequester::Ack(AckHeader {
                dest_qpn: Qpn::new(1),
                src_qpn: Qpn::new(2),
                psn,
                response_psn,
                syndrome,
                nak_serial: NakSerial(nak_serial),
            })
        }),
        6 => (psn(), psn(), (0..4u32), 0..=SMALL_PAYLOAD, any::<u8>()).prop_map(
            |(response_psn, request_psn, index, len, fate)| {
                let len = if fate & 1 == 0 { SMALL_PAYLOAD } else { len };
                let response = ResponseHeader {
                    dest_qpn: Qpn::new(1),
                    src_qpn: Qpn::new(2),
                    response_psn,
                    request_psn,
                    extent: Extent::new(index * SMALL_PAYLOAD, len).unwrap(),
                };
                ToRequester::Response(response, fate)
            }
        ),
        2 => psn().prop_map(ToRequester::Lose),
        1 => (0..100_000u64).prop_map(ToRequester::Timer),
        2 => Just(ToRequester::LateCommit),
    ]
}

fn outcome(fate: u8) -> Outcome {
    match fate % 8 {
        0 => Outcome::Aborted,
        1 => Outcome::Denied(NakCode::RemoteAccess),
        2 => Outcome::Postponed,
        _ => Outcome::Placed,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn responder_survives(steps in proptest::collection::vec(to_responder(), 1..120), receives in 0..40u16) {
        let mut responder = responder(2);
        let mut queue = Receives(receives);
        let rail = RailId::new(0).unwrap();
        let mut seq = RailSeq(0);
        let mut pending = Vec::new();
        let mut completed = 0;
        let mut executed = None;
        for step in steps {
            match step {
                ToResponder::Request(request, fate) => {
                    match responder.on_request(&request, &mut queue) {
                        Disposition::Write { va, len, token, .. }
                        | Disposition::CheckRead { va, len, token, .. } => {
                            prop_assert!(va.checked_add(u64::from(len)).is_some());
                            pending.push((token, fate));
                        }
                        Disposition::CheckExecution { action, va, token, .. } => {
                            prop_assert!(action.is_aligned(va));
                            prop_assert!(va.checked_add(u64::from(action.length())).is_some());
                            pending.push((token, fate));
                        }
                        Disposition::Receive { offset, len, token, .. } => {
                            prop_assert!(u64::from(offset) + u64::from(len) <= u64::from(RECEIVE_LEN));
                            pending.push((token, fate));
                        }
                        Disposition::NoPayload | Disposition::Drop(_) => {}
                    }
                    if fate & 0x80 == 0 {
                        if let Some((token, fate)) = pending.pop() {
                            responder.commit(token, outcome(fate), &mut queue);
                        }
                    }
                }
                ToResponder::ResponseAck(psn) => responder.on_response_ack(psn),
                ToResponder::SendResponses => {
                    while let Some(segment) = responder.next_response(rail, seq) {
                        seq = seq.next();
                        prop_assert!(segment.header.extent.len() <= SMALL_PAYLOAD);
                        if let ResponseSource::Memory(source) = segment.source {
                            prop_assert_eq!(segment.header.extent.len(), source.len);
                            prop_assert!(source.va.checked_add(u64::from(source.len)).is_some());
                        }
                    }
                }
                ToResponder::LoseResponse(psn) => responder.on_lost_response(psn, rail, seq),
                ToResponder::FailResponse(psn) => responder.fail_response(psn, NakCode::RemoteAccess),
                ToResponder::LateCommit => {
                    if let Some((token, fate)) = pending.pop() {
                        responder.commit(token, outcome(fate), &mut queue);
                        // Once is enough.
                        responder.commit(token, outcome(fate), &mut queue);
                    }
                }
            }
            while let Some(execution) = responder.poll_execution() {
                // Each number has its turn once.
                let psn = responder.expected_psn();
                prop_assert!(psn != executed, "executed again");
                executed = psn;
                prop_assert!(responder.poll_execution().is_none());
                let result = if psn.is_some_and(|psn| psn.get() % 16 == 0) {
                    Err(NakCode::RemoteAccess)
                } else {
                    Ok(7)
                };
                responder.commit_execution(execution.token, result, &mut queue);
                responder.commit_execution(execution.token, result, &mut queue);
            }
            while responder.poll_completion().is_some() {
                completed += 1;
            }
            while responder.poll_event().is_some() {}
            let _ = responder.take_ack(Psn::new(0));
        }
        for (token, fate) in pending {
            responder.commit(token, outcome(fate), &mut queue);
        }
        responder.flush();
        while responder.poll_completion().is_some() {
            completed += 1;
        }
        // Each receive that was taken has completed, once.
        prop_assert_eq!(completed, receives - queue.0);
    }

    #[test]
    fn requester_survives(steps in proptest::collection::vec(to_requester(), 1..160)) {
        let mut requester = requester();
        let rail = RailId::new(0).unwrap();
        let mut seq = RailSeq(0);
        let mut now = NOW;
        let mut lengths = Vec::new();
        let mut pending = Vec::new();
        let mut polled = 0;
        let mut failed = false;
        for step in steps {
            match step {
                ToRequester::Post(opcode, length) => {
                    let request = SendRequest {
                        wr_id: lengths.len() as u64,
                        opcode,
                        length,
                        signalling: Signalling::Signalled,
                        ..SendRequest::default()
                    };
                    if requester.post(request, now).is_ok() {
                        lengths.push(length);
                    }
                }
                ToRequester::Send => {
                    if let Some(segment) = requester.next_segment(rail, seq, now, &NoRails) {
                        seq = seq.next();
                        let source = segment.source;
                        let most = lengths.iter().max().copied().unwrap_or(0);
                        prop_assert!(u64::from(source.offset) + u64::from(source.len) <= u64::from(most));
                    }
                }
                ToRequester::Ack(ack) => requester.on_ack(&ack, now),
                ToRequester::Response(response, fate) => {
                    if let ResponseDisposition::Place(placement) = requester.on_response(&response, now) {
                        let target = placement.target;
                        prop_assert!(u64::from(target.offset) + u64::from(target.len) <= 40_000);
                        pending.push((placement.token, fate));
                        if fate & 0x80 == 0 {
                            let (token, fate) = pending.pop().unwrap();
                            requester.commit_response(token, outcome(fate), now);
                        }
                    }
                }
                ToRequester::Lose(psn) => {
                    for back in 0..4 {
                        requester.on_lost(psn, rail, RailSeq(seq.0.wrapping_sub(back)));
                    }
                }
                ToRequester::Timer(later) => {
                    now = Instant(now.0 + later);
                    requester.on_timer(now, &NoRails);
                }
                ToRequester::LateCommit => {
                    if let Some((token, fate)) = pending.pop() {
                        requester.commit_response(token, outcome(fate), now);
                        requester.commit_response(token, outcome(fate), now);
                    }
                }
            }
            while let Some(completion) = requester.poll_completion() {
                prop_assert_eq!(completion.wr_id, polled);
                polled += 1;
                prop_assert!(!failed || completion.status == CompletionStatus::FlushError);
                failed |= completion.status != CompletionStatus::Success;
            }
        }
        for (token, fate) in pending {
            requester.commit_response(token, outcome(fate), now);
        }
        requester.flush();
        while requester.poll_completion().is_some() {
            polled += 1;
        }
        prop_assert_eq!(polled, lengths.len() as u64);
        prop_assert_eq!(requester.outstanding(), 0);
    }

    #[test]
    fn rail_survives_any_acknowledgement_and_report(
        steps in proptest::collection::vec((0..4u8, any::<u32>(), 0..40u32, 0..40u32), 1..200),
    ) {
        const BYTE_LIMIT: u32 = 100_000;
        let mut tx: RailTx<Heap> = RailTx::new(table(16), BYTE_LIMIT).unwrap();
        let first = tx.next_seq();
        let mut handed_back = HashSet::new();
        let mut report = |tx: &mut RailTx<Heap>, from: RailSeq, to: RailSeq| {
            let oldest = tx.oldest();
            let accepted = tx.on_lost(from, to).is_ok();
            while let Some((seq, _)) = tx.next_lost() {
                prop_assert!(handed_back.insert(seq), "handed back twice");
                prop_assert!(!seq.is_before(oldest), "handed back after its acknowledgement");
            }
            if accepted && !from.is_before(oldest) && !to.is_before(from) {
                for ahead in 0..to.distance_from(from) {
                    prop_assert_eq!(tx.frame_status(from.add(ahead)), FrameStatus::Settled);
                    prop_assert!(handed_back.contains(&from.add(ahead)));
                }
            }
            Ok(())
        };
        for (step, wild, near, span) in steps {
            match step {
                0 => {
                    if tx.can_send(64) {
                        prop_assert!(tx.record(InFlight::Datagram, 64).is_some());
                    }
                }
                1 => {
                    let _ = tx.on_ack(tx.oldest().add(near));
                }
                2 => {
                    let from = tx.oldest().add(near);
                    report(&mut tx, from, from.add(span))?;
                }
                _ => {
                    let _ = tx.on_ack(RailSeq(wild));
                    report(&mut tx, RailSeq(wild), RailSeq(wild ^ span))?;
                }
            }
        }
        let acknowledged = tx.oldest();
        tx.abandon();
        while let Some((seq, _)) = tx.next_lost() {
            prop_assert!(handed_back.insert(seq), "handed back twice");
        }
        // Each frame has been acknowledged or handed back.
        for ahead in 0..tx.next_seq().distance_from(first) {
            let seq = first.add(ahead);
            prop_assert!(seq.is_before(acknowledged) || handed_back.contains(&seq));
        }
        prop_assert!(tx.is_idle());
        // Nor do their bytes count any more.
        prop_assert!(tx.record(InFlight::Datagram, 64).is_some());
        prop_assert!(tx.can_send(BYTE_LIMIT - 64));
        prop_assert!(!tx.can_send(BYTE_LIMIT - 63));
    }
}
