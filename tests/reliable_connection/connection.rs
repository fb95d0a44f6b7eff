// SPDX-License-Identifier: GPL-2.0

//! Two connections face to face: all that is polled from one is handled by the other.

use crate::heap::table;
use crate::heap::Heap;
use crate::pair::rail;
use crate::pair::Receives;
use crate::pair::FIRST;
use crate::pair::SETTLED;
use crate::pair::WINDOW;
use usb4_roce::transport::connection::Amount;
use usb4_roce::transport::connection::Connection;
use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::connection::PayloadToken;
use usb4_roce::transport::connection::Posted;
use usb4_roce::transport::connection::Segment;
use usb4_roce::transport::final_acks::AckState;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SHORT_MESSAGE;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::held::FEW;
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
use usb4_roce::transport::share::Share;
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
    connected_by(SegmentSize::SMALLEST, own, peer)
}

/// The same, whose messages are cut into segments of this size.
fn connected_by(segment: SegmentSize, own: u32, peer: u32) -> End {
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
        segment,
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
                | Disposition::CheckRead { token, .. }
                | Disposition::CheckExecution { token, .. } => Some(PayloadToken::Request(token)),
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

/// Two ends that know each other's limits.
fn pair() -> [End; 2] {
    pair_by(SegmentSize::SMALLEST)
}

/// The same, whose messages are cut into segments of this size.
fn pair_by(segment: SegmentSize) -> [End; 2] {
    let mut ends = [connected_by(segment, 1, 2), connected_by(segment, 2, 1)];
    for end in &mut ends {
        end.connection.handle_limits(&LIMITS);
    }
    ends
}

#[test]
fn little_messages_of_a_stream_wait_until_all_before_them_is_acknowledged() {
    let [mut one, mut other] = pair();
    for number in 0..=FEW {
        post(&mut one, Opcode::Write, 10);
        assert_eq!(one.connection.posted(), Posted::Urgent, "{number}");
        assert!(carry(&mut one, &mut other));
        assert!(carry(&mut other, &mut one));
        while one.connection.poll_send_completion().is_some() {}
    }
    // The program has had one at a time.
    post(&mut one, Opcode::Write, 10);
    assert_eq!(one.connection.posted(), Posted::Urgent);
    assert!(carry(&mut one, &mut other));
    for _ in 0..2 {
        post(&mut one, Opcode::Write, 10);
        assert_eq!(one.connection.posted(), Posted::WaitsForAck);
    }
    // What is long does not.
    post(&mut one, Opcode::Write, SHORT_MESSAGE + 1);
    assert_eq!(one.connection.posted(), Posted::Much);
}

#[test]
fn short_messages_of_a_stream_wait_until_they_are_some() {
    let [mut one, mut other] = pair_by(SegmentSize::LARGEST);
    stream(&mut one, &mut other);
    post(&mut one, Opcode::Write, SHORT_MESSAGE);
    assert_eq!(one.connection.posted(), Posted::Much, "the first");
    assert!(carry(&mut one, &mut other));
    for number in 1..8 {
        post(&mut one, Opcode::Write, SHORT_MESSAGE);
        assert_eq!(one.connection.posted(), Posted::WaitsForAck, "{number}");
    }
    post(&mut one, Opcode::Write, SHORT_MESSAGE);
    assert_eq!(one.connection.posted(), Posted::Much, "eight are enough");
}

/// Posts as many requests as make a stream, each of which is acknowledged before the next one.
fn stream(one: &mut End, other: &mut End) {
    for _ in 0..=FEW {
        post(one, Opcode::Write, 10);
        assert!(carry(one, other));
        assert!(carry(other, one));
        while one.connection.poll_send_completion().is_some() {}
    }
}

#[test]
fn an_acknowledgement_of_part_of_a_stream_releases_nothing() {
    let [mut one, mut other] = pair();
    stream(&mut one, &mut other);
    post(&mut one, Opcode::Write, 10);
    assert!(carry(&mut one, &mut other));
    let ack = other.connection.poll_ack().unwrap();
    post(&mut one, Opcode::Write, 10);
    assert!(carry(&mut one, &mut other));
    post(&mut one, Opcode::Write, 10);
    one.connection.handle_ack(&ack, NOW);
    assert_eq!(
        one.connection.posted(),
        Posted::WaitsForAck,
        "one is still under way"
    );
    assert!(carry(&mut other, &mut one));
    assert_ne!(one.connection.posted(), Posted::WaitsForAck);
}

/// Acknowledges all that `one` has sent.
fn acknowledge(one: &mut End, other: &mut End) {
    let ack = other.connection.poll_ack().unwrap();
    one.connection.handle_ack(&ack, NOW);
    while one.connection.poll_send_completion().is_some() {}
}

#[test]
fn little_messages_of_a_stream_wait_with_others_where_nothing_is_owed() {
    let [mut one, mut other] = pair_by(SegmentSize::LARGEST);
    stream(&mut one, &mut other);
    // Two at a time.
    for _ in 0..2 {
        post(&mut one, Opcode::Write, 10);
    }
    while carry(&mut one, &mut other) {}
    acknowledge(&mut one, &mut other);
    post(&mut one, Opcode::Write, 10);
    assert_eq!(one.connection.posted(), Posted::WithOthers(Amount::Little));
    post(&mut one, Opcode::Write, SHORT_MESSAGE);
    assert_eq!(one.connection.posted(), Posted::WithOthers(Amount::Short));
    post(&mut one, Opcode::Read, 10);
    assert_eq!(one.connection.posted(), Posted::Much, "it is answered");
}

/// The share of a queue pair that has sent messages of these `lengths` by segments, behind a stream of little ones.
fn share_behind_stream(segment: SegmentSize, lengths: &[u32]) -> Share {
    let [mut one, mut other] = pair_by(segment);
    stream(&mut one, &mut other);
    for &length in lengths {
        post(&mut one, Opcode::Write, length);
    }
    while carry(&mut one, &mut other) {}
    one.connection.share()
}

#[test]
fn what_a_stream_has_under_way_is_told() {
    let owed = Share {
        under_way: 3,
        is_owed: true,
    };
    let share = share_behind_stream(SegmentSize::SMALLEST, &[10, 10, 10]);
    assert_eq!(share, owed);
    // Its last segment is short.
    let long = MAX_PAYLOAD + 1;
    let share = share_behind_stream(SegmentSize::SMALLEST, &[10, 10, long]);
    assert_eq!(share, Share::NONE);
    let share = share_behind_stream(SegmentSize::SMALLEST, &[10, 10, MAX_PAYLOAD]);
    assert_eq!(share, Share::NONE);
    let share = share_behind_stream(SegmentSize::LARGEST, &[SHORT_MESSAGE; 3]);
    assert_eq!(share, owed);
    let share = share_behind_stream(SegmentSize::LARGEST, &[SHORT_MESSAGE + 1; 3]);
    assert_eq!(share, Share::NONE);
}

#[test]
fn a_stream_with_an_answered_request_shares_nothing() {
    let [mut one, mut other] = pair();
    stream(&mut one, &mut other);
    post(&mut one, Opcode::Write, 10);
    post(&mut one, Opcode::Read, 10);
    while carry(&mut one, &mut other) {}
    assert_eq!(one.connection.share(), Share::NONE);
}

#[test]
fn what_is_under_way_is_owed_until_it_is_acknowledged() {
    let [mut one, mut other] = pair();
    for _ in 0..=FEW {
        assert_eq!(one.connection.share(), Share::NONE, "it is no stream yet");
        post(&mut one, Opcode::Write, 10);
        assert!(carry(&mut one, &mut other));
        acknowledge(&mut one, &mut other);
    }
    post(&mut one, Opcode::Write, 10);
    assert!(carry(&mut one, &mut other));
    assert_eq!(one.connection.share(), Share::NONE, "it has one at a time");
    post(&mut one, Opcode::Write, 10);
    let share = |under_way, is_owed| Share { under_way, is_owed };
    assert_eq!(one.connection.share(), share(2, true));
    acknowledge(&mut one, &mut other);
    assert_eq!(one.connection.share(), share(1, false), "one is not sent");
    assert!(carry(&mut one, &mut other));
    assert_eq!(one.connection.share(), share(1, true));
    one.connection.flush();
    assert!(!one.connection.share().is_owed, "nobody waits for it");
    let _ = one.connection.reset();
    assert_eq!(one.connection.share(), Share::NONE);
}

#[test]
fn programs_that_talk_to_each_other_post_no_stream() {
    let [mut one, mut other] = pair();
    for _ in 0..8 * FEW {
        for _ in 0..2 {
            post(&mut one, Opcode::Write, 10);
            assert_eq!(one.connection.posted(), Posted::Urgent);
            while carry(&mut one, &mut other) {}
        }
        while one.connection.poll_send_completion().is_some() {}
        std::mem::swap(&mut one, &mut other);
    }
}

#[test]
fn an_acknowledgement_waits_if_it_is_all_there_is_and_tells_of_few() {
    let [mut one, mut other] = pair();
    assert!(!other.connection.has_ack_that_may_wait(), "there is none");
    for number in 1..=FEW {
        post(&mut one, Opcode::Write, 10);
        assert!(carry(&mut one, &mut other));
        assert_eq!(
            other.connection.has_ack_that_may_wait(),
            number < FEW,
            "{number}"
        );
    }
    assert!(carry(&mut other, &mut one));
    post(&mut one, Opcode::Write, 10);
    assert!(carry(&mut one, &mut other));
    post(&mut other, Opcode::Write, 10);
    assert!(
        !other.connection.has_ack_that_may_wait(),
        "it has something to ride on"
    );
}

#[test]
fn what_does_not_fit_a_frame_of_a_stream_is_not_sent_by_who_posts_it() {
    let [mut one, _] = pair();
    post(&mut one, Opcode::Write, SMALL_PAYLOAD);
    assert_eq!(one.connection.posted(), Posted::Urgent);
    post(&mut one, Opcode::Write, 1);
    assert_eq!(one.connection.posted(), Posted::Much);
}

#[test]
fn the_acknowledgement_of_a_stream_waits_for_nothing() {
    let [mut one, mut other] = pair();
    stream(&mut one, &mut other);
    post(&mut one, Opcode::Write, 10);
    assert!(carry(&mut one, &mut other));
    assert!(
        !other.connection.has_ack_that_may_wait(),
        "more may wait for it"
    );
}
