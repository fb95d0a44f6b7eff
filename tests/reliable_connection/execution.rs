// SPDX-License-Identifier: GPL-2.0

//! Atomic operations and FLUSHes: carried out once and in order, answered as often as it takes.

use crate::pair::rail;
use crate::pair::Pair;
use crate::pair::FIRST;
use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::Flush;
use usb4_roce::transport::frame::FlushPlacement;
use usb4_roce::transport::frame::FlushSelectivity;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::DropReason;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;

fn statuses(pair: &mut Pair) -> Vec<CompletionStatus> {
    pair.completions()
        .into_iter()
        .map(|(_, status)| status)
        .collect()
}

#[test]
fn atomics_give_what_was_there_before() {
    let mut pair = Pair::new();
    pair.word = 5;
    pair.post_atomic(Opcode::FetchAdd, 10, 0);
    pair.post_atomic(Opcode::CompareSwap, 15, 7);
    pair.post_atomic(Opcode::CompareSwap, 15, 8);
    pair.post_atomic(Opcode::AtomicWrite, u64::MAX, 0);
    pair.post_atomic(Opcode::FetchAdd, 2, 0);
    pair.exchange();
    assert_eq!(statuses(&mut pair), [CompletionStatus::Success; 5]);
    assert_eq!(pair.answers, [5, 15, 7, u64::MAX]);
    assert_eq!(pair.word, 1);
    assert_eq!(pair.executed.len(), 5);
}

#[test]
fn a_flush_is_answered_once_all_before_it_is_placed() {
    let flush = Flush {
        placement: FlushPlacement::GLOBAL,
        selectivity: FlushSelectivity::Region,
    };
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10_000);
    let request = SendRequest {
        opcode: Opcode::Flush,
        length: 10_000,
        signalling: Signalling::Signalled,
        remote_va: 0x1001,
        flush,
        ..SendRequest::default()
    };
    pair.requester.post(request, pair.now).unwrap();
    let requests = pair.pull_all();
    let (last, segments) = requests.split_last().unwrap();
    // It comes first, and waits.
    let disposition = pair.deliver(last);
    assert!(matches!(disposition, Disposition::CheckExecution { .. }));
    for segment in segments {
        assert_eq!(pair.executed, []);
        pair.deliver(segment);
    }
    let length = 10_000;
    assert_eq!(pair.executed, [Action::Flush { flush, length }]);
    pair.exchange();
    assert_eq!(statuses(&mut pair), [CompletionStatus::Success; 2]);
}

#[test]
fn a_copy_gets_the_same_answer_and_changes_nothing() {
    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let mut request = pair.pull().unwrap();
    pair.deliver(&request);
    // The answer is lost with its rail; so is the next one.
    for _ in 0..3 {
        let response = pair.responder.next_response(rail(0), RailSeq(0)).unwrap();
        assert_eq!(response.header.extent.len(), 8);
        assert!(pair.responder.next_response(rail(0), RailSeq(0)).is_none());
        request.flags = request.flags.with(SegmentFlags::REPEAT);
        let disposition = pair.deliver(&request);
        assert_eq!(disposition, Disposition::Drop(DropReason::Duplicate));
    }
    // Meanwhile somebody else has changed the word.
    pair.word = 99;
    pair.exchange();
    assert_eq!(pair.answers, [0]);
    assert_eq!(statuses(&mut pair), [CompletionStatus::Success]);
    // What is answered and acknowledged is not even answered again.
    pair.deliver(&request);
    assert!(!pair.responder.has_response());
    assert_eq!((pair.word, pair.executed.len()), (99, 1));
}

#[test]
fn copies_that_wait_are_one() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 100);
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let write = pair.pull().unwrap();
    let atomic = pair.pull().unwrap();
    for _ in 0..3 {
        pair.deliver(&atomic);
    }
    pair.deliver(&write);
    for _ in 0..3 {
        pair.deliver(&atomic);
    }
    assert_eq!((pair.word, pair.executed.len()), (1, 1));
}

#[test]
fn a_timeout_asks_for_the_answer_and_not_for_the_operation() {
    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let request = pair.pull().unwrap();
    pair.deliver(&request);
    let _lost = pair.responder.next_response(rail(0), RailSeq(0)).unwrap();
    // The acknowledgement of what came before the answer arrives without it.
    pair.responder.on_lost_ack();
    pair.acknowledge();
    assert_eq!(statuses(&mut pair), []);
    pair.wait(Duration::from_millis(1_000));
    pair.exchange();
    assert_eq!(statuses(&mut pair), [CompletionStatus::Success]);
    assert_eq!((pair.word, pair.answers), (1, vec![0]));
}

#[test]
fn a_refused_access_changes_nothing() {
    let mut pair = Pair::new();
    pair.access = Outcome::Denied(NakCode::RemoteAccess);
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    pair.exchange();
    assert_eq!(
        statuses(&mut pair),
        [
            CompletionStatus::RemoteAccessError,
            CompletionStatus::FlushError
        ]
    );
    assert_eq!(pair.responder_events()[1..2], [QpEvent::AccessViolation]);
    assert_eq!((pair.word, pair.executed.len()), (0, 0));
}

#[test]
fn memory_that_vanishes_before_its_turn_fails_it_behind_the_answers_before() {
    let mut pair = Pair::with(|config| config.max_rd_atomic = 4);
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let [first, second] = pair.pull_all().try_into().unwrap();
    pair.deliver(&first);
    pair.revoked = Some(NakCode::RemoteAccess);
    pair.deliver(&second);
    pair.exchange();
    assert_eq!(
        statuses(&mut pair),
        [
            CompletionStatus::Success,
            CompletionStatus::RemoteAccessError
        ]
    );
    assert_eq!((pair.word, pair.answers), (1, vec![0]));
}

#[test]
fn a_word_that_is_not_aligned_is_an_invalid_request() {
    let mut pair = Pair::new();
    let request = SendRequest {
        opcode: Opcode::FetchAdd,
        length: 8,
        signalling: Signalling::Signalled,
        remote_va: 0x1004,
        ..SendRequest::default()
    };
    pair.requester.post(request, pair.now).unwrap();
    pair.exchange();
    assert_eq!(
        statuses(&mut pair),
        [CompletionStatus::RemoteInvalidRequestError]
    );
}

#[test]
fn a_peer_that_does_not_know_a_request_is_never_sent_it() {
    let needs = [
        (Opcode::CompareSwap, Features::ATOMICS),
        (Opcode::FetchAdd, Features::ATOMICS),
        (Opcode::AtomicWrite, Features::ATOMIC_WRITE),
        (Opcode::Flush, Features::FLUSH),
    ];
    for (opcode, feature) in needs {
        let mut pair = Pair::new();
        pair.requester.set_peer_features(Features(!feature.0));
        pair.post(Opcode::Write, 100);
        pair.post_atomic(opcode, 1, 0);
        for request in pair.pull_all() {
            assert!(
                matches!(request.operation, Operation::Write { .. }),
                "{opcode:?}"
            );
        }
        let mut pair = Pair::new();
        pair.requester.set_peer_features(Features(!feature.0));
        pair.post(Opcode::Write, 100);
        pair.post_atomic(opcode, 1, 0);
        pair.exchange();
        assert_eq!(
            statuses(&mut pair),
            [
                CompletionStatus::Success,
                CompletionStatus::LocalQpOperationError
            ]
        );
        pair.requester.reset();
        let mut pair = Pair::new();
        pair.requester.set_peer_features(feature);
        pair.post_atomic(opcode, 1, 0);
        pair.exchange();
        assert_eq!(statuses(&mut pair), [CompletionStatus::Success]);
    }
}

#[test]
fn atomics_count_towards_what_may_be_outstanding() {
    let mut pair = Pair::new();
    for _ in 0..3 {
        pair.post_atomic(Opcode::FetchAdd, 1, 0);
    }
    assert_eq!(pair.pull_all().len(), 2);
    let mut none = Pair::with(|config| config.max_rd_atomic = 0);
    none.post_atomic(Opcode::FetchAdd, 1, 0);
    none.exchange();
    assert_eq!(
        statuses(&mut none),
        [CompletionStatus::LocalQpOperationError]
    );
}

#[test]
fn a_peer_with_too_many_is_refused_before_anything_is_done() {
    let mut pair = Pair::with(|config| config.max_rd_atomic = 4);
    for _ in 0..3 {
        pair.post_atomic(Opcode::FetchAdd, 1, 0);
    }
    for request in pair.pull_all() {
        pair.deliver(&request);
    }
    assert_eq!(pair.word, 2);
    assert!(matches!(pair.pull_all().as_slice(), []));
}

#[test]
fn a_fence_waits_for_an_atomic() {
    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let request = SendRequest {
        opcode: Opcode::Write,
        length: 8,
        fencing: Fencing::Fenced,
        signalling: Signalling::Signalled,
        ..SendRequest::default()
    };
    pair.requester.post(request, pair.now).unwrap();
    let [atomic] = pair.pull_all().try_into().unwrap();
    assert!(matches!(atomic.operation, Operation::Execute(_)));
    pair.deliver(&atomic);
    pair.exchange();
    assert_eq!(statuses(&mut pair), [CompletionStatus::Success; 2]);
}

#[test]
fn what_is_being_carried_out_when_the_queue_pair_is_reset_is_forgotten() {
    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let request = pair.pull().unwrap();
    let Disposition::CheckExecution { token, .. } =
        pair.responder.on_request(&request, &mut pair.receives)
    else {
        panic!("not an atomic");
    };
    pair.responder
        .commit(token, Outcome::Placed, &mut pair.receives);
    let execution = pair.responder.poll_execution().unwrap();
    assert_eq!(pair.responder.poll_execution(), None);
    pair.responder.reset();
    pair.responder
        .commit_execution(execution.token, Ok(1), &mut pair.receives);
    assert!(!pair.responder.has_response());
    assert_eq!(pair.responder.take_ack(Psn::new(FIRST)), None);
}
