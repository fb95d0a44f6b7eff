// SPDX-License-Identifier: GPL-2.0

//! Two connections face to face: all that is polled from one is handled by the other.

use crate::heap::table;
use crate::heap::Heap;
use crate::pair::rail;
use crate::pair::Receives;
use crate::pair::FIRST;
use crate::pair::SETTLED;
use crate::pair::WINDOW;
use usb4_roce::transport::connection::Connection;
use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::connection::PayloadToken;
use usb4_roce::transport::connection::Segment;
use usb4_roce::transport::final_acks::AckState;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

const NOW: Instant = Instant(1);

const LIMITS: Limits = Limits {
    max_payload: MAX_PAYLOAD,
    window: WINDOW as u16,
    max_rd_atomic: 2,
};

struct End {
    connection: Connection<Heap>,
    receives: Receives,
}

/// A connection to nobody yet.
fn unconnected() -> Connection<Heap> {
    let requester = RequesterTables {
        messages: table(16),
        segments: table(WINDOW),
        reads: table(2),
    };
    let responder = ResponderTables {
        requests: table(WINDOW),
        receives: table(WINDOW),
        reads: table(2),
        responses: table(WINDOW),
    };
    Connection::new(requester, responder).unwrap()
}

/// A connection that does not know its peer's limits.
fn connected(own: u32, peer: u32) -> End {
    let mut connection = unconnected();
    connection.start_responder(ResponderConfig {
        local_qpn: Qpn::new(own),
        remote_qpn: Qpn::new(peer),
        initial_psn: Psn::new(FIRST),
        window: WINDOW as u16,
        max_dest_rd_atomic: 2,
        rnr_timer: RnrTimer::new(1),
    });
    connection.start_requester(RequesterConfig {
        local_qpn: Qpn::new(own),
        remote_qpn: Qpn::new(peer),
        initial_psn: Psn::new(FIRST),
        segment: SegmentSize::SMALLEST,
        window: WINDOW as u16,
        max_rd_atomic: 2,
        timeout: AckTimeout::new(14),
        retry: RetryLimit::from_retry_count(0),
        rnr_retry: RetryLimit::from_rnr_retry(0),
    });
    End {
        connection,
        receives: Receives::default(),
    }
}

fn slot(room: u32) -> FrameSlot {
    FrameSlot {
        rail: rail(0),
        seq: RailSeq(0),
        room,
    }
}

/// Carries one frame from one end to the other, if there is one.
fn carry(from: &mut End, to: &mut End) -> bool {
    if let Some(ack) = from.connection.poll_ack() {
        to.connection.handle_ack(&ack, NOW);
        return true;
    }
    let Some(segment) = from
        .connection
        .poll_segment(slot(MAX_PAYLOAD), NOW, &SETTLED)
    else {
        return false;
    };
    let token = match segment {
        Segment::Request(segment) => {
            let request = &segment.header;
            match to.connection.handle_request(request, &mut to.receives) {
                Disposition::Write { token, .. }
                | Disposition::Receive { token, .. }
                | Disposition::CheckRead { token, .. } => Some(PayloadToken::Request(token)),
                Disposition::NoPayload | Disposition::Drop(_) => None,
            }
        }
        Segment::Response(segment) => match to.connection.handle_response(&segment.header, NOW) {
            ResponseDisposition::Place(placement) => Some(PayloadToken::Response(placement.token)),
            ResponseDisposition::Empty | ResponseDisposition::Ignore(_) => None,
        },
    };
    if let Some(token) = token {
        to.connection
            .handle_payload(token, Outcome::Placed, &mut to.receives, NOW);
    }
    true
}

fn post(end: &mut End, opcode: Opcode, length: u32) {
    let request = SendRequest {
        opcode,
        length,
        signalling: Signalling::Signalled,
        ..SendRequest::default()
    };
    end.connection.post(request, NOW).unwrap();
}

#[test]
fn what_is_polled_and_handled_completes_on_both_ends() {
    let mut ends = [connected(1, 2), connected(2, 1)];
    for end in &mut ends {
        end.connection.handle_limits(&LIMITS);
        end.receives.lengths = vec![MAX_PAYLOAD; 2];
        for opcode in [
            Opcode::Write,
            Opcode::Send,
            Opcode::Read,
            Opcode::WriteWithImm,
        ] {
            post(end, opcode, 3 * SMALL_PAYLOAD);
        }
    }
    let [one, other] = &mut ends;
    while carry(one, other) | carry(other, one) {}
    for end in [one, other] {
        let connection = &mut end.connection;
        let sent: Vec<_> = std::iter::from_fn(|| connection.poll_send_completion())
            .map(|completion| completion.status)
            .collect();
        assert_eq!(sent, [CompletionStatus::Success; 4]);
        let received = std::iter::from_fn(|| connection.poll_receive_completion());
        assert_eq!(received.count(), 2);
        assert_eq!(connection.outstanding(), 0);
        assert_eq!(connection.poll_timeout(), None);
        assert!(connection.rails_with_frames(NOW, &SETTLED).is_empty());
    }
}

#[test]
fn nothing_is_given_out_before_the_peer_s_limits_are_known() {
    let mut end = connected(1, 2);
    post(&mut end, Opcode::Write, 10);
    let connection = &mut end.connection;
    // A rail has to ask for them to be told.
    assert_eq!(connection.rails_with_frames(NOW, &SETTLED), RailSet::ALL);
    assert!(connection.awaits_limits());
    assert_eq!(
        connection.poll_segment(slot(MAX_PAYLOAD), NOW, &SETTLED),
        None
    );
    connection.handle_limits(&LIMITS);
    assert!(connection
        .poll_segment(slot(MAX_PAYLOAD), NOW, &SETTLED)
        .is_some());
    // Nor once they may be others.
    connection.handle_new_path();
    assert!(connection.awaits_limits());
}

#[test]
fn a_segment_is_given_out_where_it_has_room() {
    let mut end = connected(1, 2);
    end.connection.handle_limits(&LIMITS);
    post(&mut end, Opcode::Write, 100);
    for (room, fits) in [(0, false), (99, false), (100, true)] {
        let segment = end.connection.poll_segment(slot(room), NOW, &SETTLED);
        assert_eq!(segment.is_some(), fits, "{room}");
    }
}

#[test]
fn a_reset_connection_leaves_what_it_had_to_say() {
    let mut ends = [connected(1, 2), connected(2, 1)];
    let [one, other] = &mut ends;
    one.connection.handle_limits(&LIMITS);
    post(one, Opcode::Write, 10);
    assert!(carry(one, other));
    let last = other.connection.reset().unwrap();
    assert_eq!(last.state, AckState::Due);
    one.connection.handle_ack(&last.ack, NOW);
    let completion = one.connection.poll_send_completion().unwrap();
    assert_eq!(completion.status, CompletionStatus::Success);
    assert_eq!(other.connection.reset(), None);
}

#[test]
fn a_connection_that_never_was_flushes_what_is_posted() {
    let connection = unconnected();
    let mut end = End {
        connection,
        receives: Receives::default(),
    };
    end.connection.flush();
    post(&mut end, Opcode::Send, 10);
    let completion = end.connection.poll_send_completion().unwrap();
    assert_eq!(completion.status, CompletionStatus::FlushError);
}
