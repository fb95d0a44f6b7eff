// SPDX-License-Identifier: GPL-2.0

//! Requester and responder face to face, without rails: the semantics of a reliable connection, case by
//! case.

mod connection;
mod execution;
#[path = "../support/heap.rs"]
mod heap;
mod limits;
mod pair;
mod repetition;

use pair::rail;
use pair::All;
use pair::Pair;
use pair::DEPTH;
use pair::FIRST;
use pair::SETTLED;
use pair::WINDOW;
use usb4_roce::transport::attempt::Attempt;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::PostError;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::OUTAGE_RETRY;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::DropReason;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;
use CompletionStatus::FlushError;
use CompletionStatus::Success;

#[test]
fn every_opcode_and_odd_lengths_complete_in_order() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![1 << 20; 12];
    let mut count = 0;
    for opcode in [
        Opcode::Send,
        Opcode::SendWithImm,
        Opcode::Write,
        Opcode::WriteWithImm,
        Opcode::Read,
    ] {
        for length in [0, 1, SMALL_PAYLOAD, SMALL_PAYLOAD + 1, 5 * SMALL_PAYLOAD] {
            pair.post(opcode, length);
            pair.exchange();
            assert_eq!(
                pair.completions(),
                [(count % 16, Success)],
                "{opcode:?} {length}"
            );
            count += 1;
            if opcode.consumes_receive() && length <= 1 << 20 {
                let completion = pair.responder.poll_completion().unwrap();
                assert_eq!(completion.byte_len, length);
                assert_eq!(completion.opcode, opcode);
                pair.receives.lengths.push(1 << 20);
            }
        }
    }
    assert_eq!(pair.responder.counters(), Default::default());
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn longest_message_is_two_gigabytes() {
    let mut pair = Pair::with(|config| config.segment = SegmentSize::LARGEST);
    let request = SendRequest {
        length: MAX_MESSAGE + 1,
        ..SendRequest::default()
    };
    assert_eq!(
        pair.requester.post(request, pair.now),
        Err(PostError::TooLong)
    );
    pair.receives.lengths = vec![MAX_MESSAGE];
    pair.post(Opcode::Send, MAX_MESSAGE);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
    let completion = pair.responder.poll_completion().unwrap();
    assert_eq!(
        (completion.byte_len, completion.status),
        (MAX_MESSAGE, Success)
    );
}

#[test]
fn unsignalled_success_is_not_reported_but_frees_its_slot() {
    let mut pair = Pair::new();
    for _ in 0..DEPTH {
        pair.post_as(Opcode::Write, 8, Signalling::Unsignalled);
    }
    assert_eq!(pair.requester.room(), 0);
    pair.exchange();
    let completions: Vec<_> = std::iter::from_fn(|| pair.requester.poll_completion()).collect();
    assert_eq!(completions.len(), DEPTH);
    assert!(completions
        .iter()
        .all(|completion| !completion.is_reported()));
    assert_eq!(pair.requester.room(), DEPTH as u32);
}

#[test]
fn rnr_is_retried_as_often_as_allowed_after_the_responder_s_delay() {
    let mut pair = Pair::new();
    pair.post(Opcode::Send, 10);
    let delay = RnrTimer::new(12).duration();
    for _ in 0..3 {
        let [request] = pair.pull_all()[..] else {
            panic!()
        };
        assert_eq!(
            pair.deliver(&request),
            Disposition::Drop(DropReason::Refused)
        );
        let ack = pair.acknowledge();
        assert_eq!(ack.syndrome, Syndrome::RnrNak(RnrTimer::new(12)));
        // Told twice is told once.
        pair.requester.on_ack(&ack, pair.now);
        assert_eq!(pair.pull(), None);
        pair.wait(Duration(delay.0 - 1));
        assert_eq!(pair.pull(), None);
        pair.wait(Duration(1));
    }
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::RnrRetryExceeded)]
    );
    assert_eq!(pair.requester.poll_event(), Some(QpEvent::SendFailed));
}

#[test]
fn rnr_ends_well_when_a_receive_is_posted() {
    let mut pair = Pair::with(|config| config.rnr_retry = RetryLimit::from_rnr_retry(7));
    pair.post(Opcode::Send, 10);
    pair.post(Opcode::Write, 3 * SMALL_PAYLOAD);
    for _ in 0..20 {
        pair.exchange();
        pair.wait(RnrTimer::new(12).duration());
    }
    assert_eq!(pair.completions(), []);
    pair.receives.lengths.push(10);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success), (1, Success)]);
    assert_eq!(pair.receive_statuses(), [Success]);
}

#[test]
fn nothing_is_placed_behind_a_message_without_a_receive() {
    let mut pair = Pair::new();
    pair.post(Opcode::Send, 10);
    pair.post(Opcode::Write, 2 * SMALL_PAYLOAD);
    for request in pair.pull_all() {
        assert_eq!(
            pair.deliver(&request),
            Disposition::Drop(DropReason::Refused)
        );
    }
}

#[test]
fn silence_is_retried_as_often_as_allowed_then_fails() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    pair.post(Opcode::Write, 10);
    let timeout = AckTimeout::new(14).duration().unwrap();
    for _ in 0..3 {
        assert_eq!(pair.pull_all().len(), 2);
        pair.wait(Duration(timeout.0 - 1));
        assert_eq!(pair.pull(), None);
        pair.wait(Duration(1));
    }
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::RetryExceeded), (1, FlushError)]
    );
    assert_eq!(pair.requester.deadline(), None);
}

#[test]
fn what_is_still_on_a_rail_is_not_held_against_the_peer() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    pair.pull_all();
    let on_its_way = All(FrameStatus::InFlight, RailSet::ALL);
    for _ in 0..100 {
        pair.now = pair.requester.deadline().unwrap();
        pair.requester.on_timer(pair.now, &on_its_way);
    }
    assert_eq!(pair.completions(), []);
    assert_eq!(pair.requester.counters().timeouts, 0);
}

#[test]
fn without_any_rail_the_attributes_decide() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    let unreachable = All(FrameStatus::Settled, RailSet::NONE);
    let began = pair.now;
    let timeout = AckTimeout::new(14).duration().unwrap();
    for _ in 0..3 {
        assert_eq!(pair.completions(), []);
        pair.now = pair.requester.deadline().unwrap();
        pair.requester.on_timer(pair.now, &unreachable);
    }
    assert_eq!(pair.completions(), [(0, CompletionStatus::RetryExceeded)]);
    let lasted = pair.now.since(began);
    assert_eq!(lasted, Duration(timeout.0 + 2 * OUTAGE_RETRY.0));
}

#[test]
fn timeout_zero_waits_for_ever() {
    let mut pair = Pair::with(|config| config.timeout = AckTimeout::new(0));
    pair.post(Opcode::Write, 10);
    pair.pull_all();
    assert_eq!(pair.requester.deadline(), None);
}

#[test]
fn refused_access_fails_that_request_and_flushes_the_rest() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    pair.exchange();
    pair.access = Outcome::Denied(NakCode::RemoteAccess);
    pair.post(Opcode::Write, 10);
    pair.post(Opcode::Send, 0);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [
            (0, Success),
            (1, CompletionStatus::RemoteAccessError),
            (2, FlushError)
        ]
    );
    assert_eq!(pair.requester.poll_event(), Some(QpEvent::SendFailed));
    let events: Vec<_> = std::iter::from_fn(|| pair.responder.poll_event()).collect();
    assert_eq!(
        events,
        [
            QpEvent::CommunicationEstablished,
            QpEvent::AccessViolation,
            QpEvent::LastWqeReached
        ]
    );
    // What is posted later is flushed, too.
    pair.post(Opcode::Write, 1);
    assert_eq!(pair.completions(), [(3, FlushError)]);
}

#[test]
fn a_lost_nak_is_said_again() {
    let mut pair = Pair::new();
    pair.access = Outcome::Denied(NakCode::RemoteAccess);
    pair.post(Opcode::Write, 10);
    for request in pair.pull_all() {
        pair.deliver(&request);
    }
    assert!(pair.responder.take_ack(Psn::new(0)).is_some());
    assert!(!pair.responder.ack_due());
    // Its rail tells, or else the request is repeated.
    pair.responder.on_lost_ack();
    assert!(pair.responder.ack_due());
    pair.acknowledge();
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::RemoteAccessError)]
    );
}

#[test]
fn too_long_a_message_is_an_error_on_both_sides() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![SMALL_PAYLOAD + 9, 100];
    pair.post(Opcode::Send, SMALL_PAYLOAD + 10);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::RemoteInvalidRequestError)]
    );
    assert_eq!(
        pair.receive_statuses(),
        [CompletionStatus::LocalLengthError]
    );
    assert_eq!(pair.responder_events(), RECEIVE_FAILED);
}

#[test]
fn a_receive_with_bad_buffers_ends_with_a_protection_error() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100];
    pair.access = Outcome::Denied(NakCode::RemoteOperation);
    pair.post(Opcode::Send, 10);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::RemoteOperationError)]
    );
    assert_eq!(
        pair.receive_statuses(),
        [CompletionStatus::LocalProtectionError]
    );
    assert_eq!(pair.responder_events(), RECEIVE_FAILED);
}

/// Whose completion tells why.
const RECEIVE_FAILED: [QpEvent; 3] = [
    QpEvent::CommunicationEstablished,
    QpEvent::ReceiveFailed,
    QpEvent::LastWqeReached,
];

#[test]
fn a_broken_receive_fails_whatever_would_use_it_up() {
    for (opcode, length) in [
        (Opcode::Send, 0),
        (Opcode::Send, 10),
        (Opcode::SendWithImm, 3 * SMALL_PAYLOAD),
        (Opcode::WriteWithImm, 0),
        (Opcode::WriteWithImm, 3 * SMALL_PAYLOAD),
    ] {
        let mut pair = Pair::new();
        let status = CompletionStatus::LocalQpOperationError;
        pair.receives.lengths = vec![1 << 20];
        pair.receives.soundness = Soundness::Broken(status);
        // What needs none is not concerned.
        pair.post(Opcode::Write, 10);
        pair.post(opcode, length);
        pair.exchange();
        assert_eq!(
            pair.completions(),
            [(0, Success), (1, CompletionStatus::RemoteOperationError)],
            "{opcode:?} {length}"
        );
        assert_eq!(pair.receive_statuses(), [status]);
        assert_eq!(pair.responder_events(), RECEIVE_FAILED);
    }
}

#[test]
fn local_failure_waits_for_what_is_before_it() {
    let mut pair = Pair::new();
    pair.post_as(Opcode::Write, 10, Signalling::Unsignalled);
    pair.post_as(Opcode::Write, 10, Signalling::Unsignalled);
    pair.post(Opcode::Write, 10);
    let first = pair.pull().unwrap();
    let second = pair
        .requester
        .next_segment(rail(0), RailSeq(7), pair.now, &SETTLED)
        .unwrap();
    pair.requester
        .fail_message(second.source.slot, CompletionStatus::LocalProtectionError);
    assert_eq!(pair.completions(), []);
    assert!(!first.flags.contains(SegmentFlags::ACK_REQUEST));
    pair.deliver(&first);
    // No acknowledgement was asked for: the requester has to do so now.
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [
            (0, Success),
            (1, CompletionStatus::LocalProtectionError),
            (2, FlushError)
        ]
    );
}

#[test]
fn fence_waits_for_reads() {
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 10);
    let fenced = SendRequest {
        opcode: Opcode::Write,
        length: 1,
        fencing: Fencing::Fenced,
        ..SendRequest::default()
    };
    pair.requester.post(fenced, pair.now).unwrap();
    let requests = pair.pull_all();
    assert_eq!(requests.len(), 1);
    pair.deliver(&requests[0]);
    pair.acknowledge();
    assert_eq!(pair.pull(), None);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success), (1, Success)]);
}

#[test]
fn no_more_reads_than_agreed_are_outstanding() {
    let mut pair = Pair::new();
    for _ in 0..6 {
        pair.post(Opcode::Read, 3 * SMALL_PAYLOAD);
    }
    assert_eq!(pair.pull_all().len(), 2);
    let mut pair = Pair::new();
    for _ in 0..6 {
        pair.post(Opcode::Read, 3 * SMALL_PAYLOAD);
    }
    pair.exchange();
    assert_eq!(pair.completions().len(), 6);
}

#[test]
fn read_without_permission_to_read_fails_at_once() {
    let mut pair = Pair::with(|config| config.max_rd_atomic = 0);
    pair.post(Opcode::Read, 10);
    // Nobody would ask for a segment otherwise.
    assert!(pair.requester.has_work(rail(0), pair.now, &SETTLED));
    assert_eq!(pair.pull(), None);
    assert_eq!(
        pair.completions(),
        [(0, CompletionStatus::LocalQpOperationError)]
    );
}

#[test]
fn memory_that_vanishes_under_a_read_fails_it_after_those_before_it() {
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 10);
    pair.post(Opcode::Read, 2 * SMALL_PAYLOAD);
    for request in pair.pull_all() {
        pair.deliver(&request);
    }
    let first = pair.responder.next_response(rail(0), RailSeq(0)).unwrap();
    let second = pair.responder.next_response(rail(0), RailSeq(1)).unwrap();
    pair.responder
        .fail_response(second.header.response_psn, NakCode::RemoteAccess);
    // What belongs to it is not sent any more.
    assert_eq!(pair.responder.next_response(rail(0), RailSeq(2)), None);
    assert_eq!(pair.acknowledge().syndrome, Syndrome::Ack);
    let ResponseDisposition::Place(placement) = pair.requester.on_response(&first.header, pair.now)
    else {
        panic!();
    };
    pair.requester
        .commit_response(placement.token, Outcome::Placed, pair.now);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, Success), (1, CompletionStatus::RemoteAccessError)]
    );
}

#[test]
fn lost_responses_come_again() {
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 3 * SMALL_PAYLOAD);
    for request in pair.pull_all() {
        pair.deliver(&request);
    }
    for number in 0..3 {
        let first = pair
            .responder
            .next_response(rail(1), RailSeq(number))
            .unwrap();
        assert_eq!(first.attempt, Attempt::First);
    }
    assert!(!pair.responder.has_response());
    pair.responder
        .on_lost_response(Psn::new(FIRST).add(1), rail(1), RailSeq(1));
    // One that was sent again meanwhile, or that another frame carried, is not.
    pair.responder
        .on_lost_response(Psn::new(FIRST).add(2), rail(2), RailSeq(2));
    let again = pair.responder.next_response(rail(0), RailSeq(9)).unwrap();
    assert_eq!(again.header.extent.offset(), SMALL_PAYLOAD);
    assert_eq!(again.attempt, Attempt::Again);
    assert!(!pair.responder.has_response());
    // Without a word from the rail, the requester asks again in the end.
    pair.acknowledge();
    pair.wait(AckTimeout::new(14).duration().unwrap());
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
}

#[test]
fn segments_may_arrive_in_any_order_and_twice() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![1 << 20; 4];
    pair.post(Opcode::Send, 3 * SMALL_PAYLOAD);
    pair.post(Opcode::SendWithImm, 2 * SMALL_PAYLOAD);
    pair.post(Opcode::WriteWithImm, 2 * SMALL_PAYLOAD);
    let requests = pair.pull_all();
    for request in requests.iter().rev() {
        assert!(!matches!(pair.deliver(request), Disposition::Drop(_)));
        assert_eq!(
            pair.deliver(request),
            Disposition::Drop(DropReason::Duplicate)
        );
    }
    let completions: Vec<_> = std::iter::from_fn(|| pair.responder.poll_completion())
        .map(|completion| (completion.slot.0, completion.opcode, completion.byte_len))
        .collect();
    assert_eq!(
        completions,
        [
            (1, Opcode::Send, 3 * SMALL_PAYLOAD),
            (2, Opcode::SendWithImm, 2 * SMALL_PAYLOAD),
            (3, Opcode::WriteWithImm, 2 * SMALL_PAYLOAD)
        ]
    );
    pair.exchange();
    assert_eq!(pair.completions().len(), 3);
}

#[test]
fn a_small_write_does_not_overtake_a_large_one_on_another_rail() {
    let mut pair = Pair::new();
    pair.post_as(Opcode::Write, 2 * SMALL_PAYLOAD, Signalling::Unsignalled);
    pair.post_as(Opcode::Write, 8, Signalling::Unsignalled);
    pair.post_as(Opcode::Write, 9, Signalling::Unsignalled);
    let now = pair.now;
    let mut next = |number: u8, seq: u32| {
        pair.requester
            .next_segment(rail(number), RailSeq(seq), now, &SETTLED)
            .map(|segment| segment.header)
    };
    let first = next(0, 0).unwrap();
    let second = next(1, 0).unwrap();
    assert_eq!(next(0, 1), None);
    assert_eq!(next(1, 1), None);
    // Nothing can go on without an acknowledgement: it was asked for.
    assert!(second.flags.contains(SegmentFlags::ACK_REQUEST));
    pair.deliver(&second);
    pair.deliver(&first);
    assert!(pair.responder.ack_due());
    pair.acknowledge();
    let flag = pair.pull().unwrap();
    assert!(flag.flags.contains(SegmentFlags::ORDERED));
    // On the same rail the next one may follow at once, on another it may not.
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    assert!(pair.requester.has_work(rail(0), pair.now, &SETTLED));
}

#[test]
fn an_ordered_write_that_comes_too_early_is_dropped_and_repeated() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 2 * SMALL_PAYLOAD);
    pair.post(Opcode::Write, 8);
    let [first, second, flag] = pair.pull_all()[..] else {
        panic!();
    };
    pair.deliver(&first);
    assert_eq!(pair.deliver(&flag), Disposition::Drop(DropReason::Refused));
    pair.deliver(&second);
    assert_eq!(pair.acknowledge().syndrome, Syndrome::SequenceNak);
    let [again] = pair.pull_all()[..] else {
        panic!();
    };
    assert_eq!(again.psn, flag.psn);
    assert!(matches!(pair.deliver(&again), Disposition::Write { .. }));
    pair.acknowledge();
    assert_eq!(pair.completions(), [(0, Success), (1, Success)]);
}

#[test]
fn what_lies_beyond_the_window_is_dropped() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    let [request] = pair.pull_all()[..] else {
        panic!();
    };
    for ahead in [WINDOW as u32, WINDOW as u32 + 1, 1 << 20] {
        let psn = Psn::new(FIRST).add(ahead);
        let beyond = RequestHeader { psn, ..request };
        assert_eq!(pair.deliver(&beyond), Disposition::Drop(DropReason::Bogus));
    }
    assert!(matches!(pair.deliver(&request), Disposition::Write { .. }));
}

#[test]
fn a_copy_dropped_while_another_was_cut_off_is_asked_for_again() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    let [request] = pair.pull_all()[..] else {
        panic!();
    };
    let disposition = pair.responder.on_request(&request, &mut pair.receives);
    let Disposition::Write { token, .. } = disposition else {
        panic!("{disposition:?}");
    };
    assert_eq!(
        pair.deliver(&request),
        Disposition::Drop(DropReason::Duplicate)
    );
    pair.responder
        .commit(token, Outcome::Aborted, &mut pair.receives);
    assert_eq!(pair.acknowledge().syndrome, Syndrome::SequenceNak);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
}

#[test]
fn a_reset_queue_pair_ignores_what_began_before() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100, 100];
    pair.post(Opcode::Send, 10);
    let request = pair.pull().unwrap();
    let disposition = pair.responder.on_request(&request, &mut pair.receives);
    let Disposition::Receive { token, .. } = disposition else {
        panic!("{disposition:?}");
    };
    pair.responder.start(ResponderConfig {
        local_qpn: Qpn::new(2),
        remote_qpn: Qpn::new(1),
        initial_psn: Psn::new(FIRST),
        window: WINDOW as u16,
        max_dest_rd_atomic: 2,
        rnr_timer: RnrTimer::new(12),
    });
    let again = pair.responder.on_request(&request, &mut pair.receives);
    assert!(matches!(again, Disposition::Receive { .. }));
    pair.responder
        .commit(token, Outcome::Placed, &mut pair.receives);
    assert_eq!(pair.responder.poll_completion(), None);
}

#[test]
fn flushed_receives_wait_for_what_is_being_placed() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100];
    pair.post(Opcode::Send, 10);
    let request = pair.pull().unwrap();
    let disposition = pair.responder.on_request(&request, &mut pair.receives);
    let Disposition::Receive { token, .. } = disposition else {
        panic!("{disposition:?}");
    };
    pair.responder.flush();
    assert_eq!(pair.receive_statuses(), []);
    pair.responder
        .commit(token, Outcome::Placed, &mut pair.receives);
    assert_eq!(pair.receive_statuses(), [FlushError]);
}

#[test]
fn a_responder_that_starts_late_says_so() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100];
    let config = ResponderConfig {
        local_qpn: Qpn::new(2),
        remote_qpn: Qpn::new(1),
        initial_psn: Psn::new(FIRST),
        window: WINDOW as u16,
        max_dest_rd_atomic: 2,
        rnr_timer: RnrTimer::new(12),
    };
    pair.responder.reset();
    pair.post(Opcode::Send, 10);
    for request in pair.pull_all() {
        assert_eq!(
            pair.deliver(&request),
            Disposition::Drop(DropReason::NotRunning)
        );
    }
    pair.responder.start(config);
    pair.responder.announce_ready();
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
    assert_eq!(pair.requester.counters().timeouts, 0);
}

#[test]
fn draining_finishes_what_was_begun_and_no_more() {
    let mut pair = Pair::new();
    pair.post_as(Opcode::Write, 10, Signalling::Unsignalled);
    pair.post_as(Opcode::Write, 10, Signalling::Unsignalled);
    let first = pair.pull().unwrap();
    pair.requester.drain();
    assert_eq!(pair.requester.poll_event(), None);
    assert!(pair.requester.is_draining());
    pair.deliver(&first);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
    assert_eq!(pair.requester.poll_event(), Some(QpEvent::SendQueueDrained));
    assert_eq!(pair.requester.poll_event(), None);
    assert!(!pair.requester.is_draining());
    pair.requester.resume(pair.now);
    pair.exchange();
    assert_eq!(pair.completions(), [(1, Success)]);
}

#[test]
fn the_window_is_kept() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 100 * SMALL_PAYLOAD);
    let requests = pair.pull_all();
    assert_eq!(requests.len(), WINDOW);
    assert!(requests[WINDOW - 1]
        .flags
        .contains(SegmentFlags::ACK_REQUEST));
    pair.deliver(&requests[0]);
    pair.responder.on_lost_ack();
    pair.acknowledge();
    assert_eq!(pair.pull_all().len(), 1);
}

#[test]
fn a_nak_that_was_lost_stays_in_force_for_what_is_behind() {
    let mut pair = Pair::new();
    pair.post(Opcode::Send, 10);
    pair.post(Opcode::Send, 10);
    let sent = pair.pull_all();
    // Both find no receive; the RNR NAK is lost.
    pair.deliver(&sent[1]);
    pair.deliver(&sent[0]);
    assert!(pair.responder.take_ack(Psn::new(FIRST)).is_some());
    pair.receives.lengths = vec![10, 10];
    // A copy of the first arrives: only the second has to be asked for.
    pair.deliver(&sent[0]);
    pair.acknowledge();
    let again = pair.pull_all();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].psn, sent[1].psn);
}
