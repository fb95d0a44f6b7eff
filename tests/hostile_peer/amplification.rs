// SPDX-License-Identifier: GPL-2.0

//! How much one frame of a hostile peer makes an honest host send, in the sizes of the module.

use super::checksum::HostHash;
use super::heap::table;
use super::heap::Heap;
use super::NoRails;
use super::Receives;
use super::BASE;
use super::NOW;
use usb4_roce::transport::frame::padded;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::ReadRequest;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::endpoint::Incoming;
use usb4_roce::transport::rail::endpoint::RailEndpoint;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;
use usb4_roce::transport::rail::tx::RailTx;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::requester::Requester;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::Responder;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

/// PSNs that a queue pair of the module may have outstanding.
const PSNS: u16 = 256;

/// READs that it may have outstanding.
const READS: u8 = 128;

/// Frames and bytes that a rail of the module may have in flight.
const RAIL_FRAMES: usize = 1024;
const RAIL_BYTES: u32 = 8 << 20;

/// Bytes of a frame in the stream.
fn on_wire(payload_len: u32) -> u64 {
    HEADER_LEN as u64 + u64::from(padded(payload_len))
}

/// All that a queue pair can have outstanding.
fn whole_window() -> u64 {
    u64::from(PSNS) * on_wire(MAX_PAYLOAD)
}

fn rail() -> RailId {
    RailId::new(0).unwrap()
}

/// A requester in the middle of a long WRITE.
fn busy_requester() -> Requester<Heap> {
    let mut requester = Requester::new(RequesterTables {
        messages: table(8),
        segments: table(PSNS.into()),
        reads: table(READS.into()),
    })
    .unwrap();
    requester.start(RequesterConfig {
        local_qpn: Qpn::new(1),
        remote_qpn: Qpn::new(2),
        initial_psn: Psn::new(BASE),
        segment: SegmentSize::LARGEST,
        window: PSNS,
        max_rd_atomic: READS,
        timeout: AckTimeout::new(14),
        retry: RetryLimit::from_retry_count(7),
        rnr_retry: RetryLimit::from_rnr_retry(7),
    });
    let request = SendRequest {
        opcode: Opcode::Write,
        length: MAX_MESSAGE,
        ..SendRequest::default()
    };
    requester.post(request, NOW).unwrap();
    requester
}

/// What the requester sends if nothing stops it.
fn sent_by(requester: &mut Requester<Heap>, now: Instant) -> u64 {
    std::iter::from_fn(|| requester.next_segment(rail(), RailSeq(0), now, &NoRails))
        .map(|segment| on_wire(segment.source.len))
        .sum()
}

fn nak(syndrome: Syndrome, serial: u32) -> AckHeader {
    AckHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(2),
        psn: Psn::new(BASE),
        response_psn: Psn::new(BASE),
        syndrome,
        nak_serial: NakSerial(serial),
    }
}

#[test]
fn a_sequence_nak_repeats_a_window_at_most_however_many_come() {
    let mut requester = busy_requester();
    assert_eq!(sent_by(&mut requester, NOW), whole_window());
    let mut serial = 0;
    for frames in [1, 100] {
        for _ in 0..frames {
            serial += 1;
            requester.on_ack(&nak(Syndrome::SequenceNak, serial), NOW);
        }
        assert!(sent_by(&mut requester, NOW) <= whole_window(), "{frames}");
    }
    // The same NAK once more is no news.
    requester.on_ack(&nak(Syndrome::SequenceNak, serial), NOW);
    assert_eq!(sent_by(&mut requester, NOW), 0);
}

#[test]
fn an_rnr_nak_repeats_a_window_at_most_and_not_before_its_time() {
    let mut requester = busy_requester();
    sent_by(&mut requester, NOW);
    let timer = RnrTimer::new(1);
    requester.on_ack(&nak(Syndrome::RnrNak(timer), 1), NOW);
    assert_eq!(sent_by(&mut requester, NOW), 0);
    let later = NOW.after(timer.duration());
    assert!(sent_by(&mut requester, later) <= whole_window());
}

fn read(psn: u32, flags: SegmentFlags) -> RequestHeader {
    RequestHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(2),
        psn: Psn::new(BASE).add(psn),
        flags: SegmentFlags::ONLY.with(flags),
        operation: Operation::Read(ReadRequest {
            va: 0x1000,
            rkey: Rkey(1),
            length: MAX_MESSAGE,
            segment: SegmentSize::LARGEST,
            response_psn: Psn::new(BASE),
        }),
    }
}

#[test]
fn a_repeated_read_repeats_a_window_at_most_however_many_come() {
    let mut responder: Responder<Heap> = Responder::new(ResponderTables {
        requests: table(PSNS.into()),
        receives: table(PSNS.into()),
        reads: table(READS.into()),
        responses: table(PSNS.into()),
    })
    .unwrap();
    responder.start(ResponderConfig {
        local_qpn: Qpn::new(1),
        remote_qpn: Qpn::new(2),
        initial_psn: Psn::new(BASE),
        window: PSNS,
        max_dest_rd_atomic: READS,
        rnr_timer: RnrTimer::new(1),
    });
    let mut queue = Receives(0);
    let mut request = |responder: &mut Responder<Heap>, header: &RequestHeader| {
        if let Disposition::CheckRead { token, .. } = responder.on_request(header, &mut queue) {
            responder.commit(token, Outcome::Placed, &mut queue);
        }
    };
    let sent_by = |responder: &mut Responder<Heap>| -> u64 {
        std::iter::from_fn(|| responder.next_response(rail(), RailSeq(0)))
            .map(|segment| on_wire(segment.header.extent.len()))
            .sum()
    };
    // Without acknowledgements, no more than a window however much is asked for.
    for psn in 0..16 {
        request(&mut responder, &read(psn, SegmentFlags::none()));
    }
    assert_eq!(sent_by(&mut responder), whole_window());
    for frames in [1, 100] {
        for _ in 0..frames {
            request(&mut responder, &read(0, SegmentFlags::REPEAT));
        }
        assert!(sent_by(&mut responder) <= whole_window(), "{frames}");
    }
    assert_eq!(sent_by(&mut responder), 0);
}

#[test]
fn a_report_of_loss_hands_back_each_frame_once() {
    let mut tx: RailTx<Heap> = RailTx::new(table(RAIL_FRAMES), RAIL_BYTES).unwrap();
    let first = tx.next_seq();
    let mut in_flight = 0;
    while tx.can_send(on_wire(MAX_PAYLOAD) as u32) {
        tx.record(InFlight::Datagram, on_wire(MAX_PAYLOAD) as u32);
        in_flight += on_wire(MAX_PAYLOAD);
    }
    assert!(in_flight <= u64::from(RAIL_BYTES));
    let end = tx.next_seq();
    let mut handed_back = 0;
    for _ in 0..100 {
        tx.on_lost(first, end).unwrap();
        while tx.next_lost().is_some() {
            handed_back += 1;
        }
    }
    assert_eq!(handed_back, end.distance_from(first));
    // There is no room for more until what was lost has been acknowledged as well.
    assert!(!tx.can_send(on_wire(MAX_PAYLOAD) as u32));
}

/// An end of a rail that is up, and its peer's.
fn up() -> [RailEndpoint<Heap>; 2] {
    let mut ends = [1, 2].map(|guid| {
        let identity = Identity {
            node_guid: NodeGuid(guid),
            mac: [2, 0, 0, 0, 0, 1],
            features: Features::NONE,
            limits: Limits {
                max_payload: MAX_PAYLOAD,
                window: PSNS,
                max_rd_atomic: READS,
            },
            name: [0; NODE_NAME_LEN],
        };
        let mut end = RailEndpoint::new(identity, table(RAIL_FRAMES), RAIL_BYTES).unwrap();
        end.open(guid, NOW);
        end
    });
    for turn in 0..8 {
        let [one, other] = &mut ends;
        let (from, to) = if turn % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        while let Some(frame) = from.next_control::<HostHash>(NOW) {
            to.on_hello::<HostHash>(&frame.bytes()[HEADER_LEN..], NOW)
                .unwrap();
        }
    }
    assert!(ends.iter().all(RailEndpoint::is_up));
    ends
}

/// What an end has to say of its own accord.
fn said_by(end: &mut RailEndpoint<Heap>) -> usize {
    std::iter::from_fn(|| end.next_control::<HostHash>(NOW))
        .map(|frame| frame.bytes().len())
        .sum()
}

#[test]
fn a_nudge_is_answered_by_no_more_than_it_took() {
    let [mut honest, hostile] = up();
    let nudge = Header {
        seq: hostile.next_seq(),
        ack: honest.next_seq(),
        payload_len: 0,
        payload_checksum: 0,
        body: Body::Nop {
            reply: NopReply::Wanted,
            confirmed: (RailSeq(7), RailSeq(9)),
        },
    };
    for _ in 0..100 {
        honest.on_header(&nudge, NOW).unwrap();
        assert_eq!(said_by(&mut honest), HEADER_LEN);
    }
    // If there is no room for answers, they do not pile up.
    for _ in 0..100 {
        honest.on_header(&nudge, NOW).unwrap();
    }
    assert_eq!(said_by(&mut honest), HEADER_LEN);
}

#[test]
fn a_gap_is_reported_by_no_more_than_eight_frames_at_a_time() {
    let [mut honest, hostile] = up();
    let mut seq = hostile.next_seq();
    for _ in 0..1000 {
        seq = seq.add(1_000_000);
        let header = Header {
            seq,
            ack: honest.next_seq(),
            payload_len: 0,
            payload_checksum: 0,
            body: Body::Datagram(PacketState::Finished),
        };
        assert_eq!(honest.on_header(&header, NOW), Ok(Incoming::Deliver));
        honest.finish(NOW);
        seq = seq.next();
    }
    // The reports, and an acknowledgement.
    assert!(said_by(&mut honest) <= 9 * HEADER_LEN);
}
