// SPDX-License-Identifier: GPL-2.0

//! Local operations among other requests, and SENDs that make keys invalid.

use crate::pair::Pair;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::requester::LocalOperation;
use usb4_roce::transport::requester::LocalRequest;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendCompletion;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Work;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use CompletionStatus::FlushError;
use CompletionStatus::MemoryManagementError;
use CompletionStatus::Success;
use LocalOperation::BindWindow;
use LocalOperation::Invalidate;
use Signalling::Signalled;
use Signalling::Unsignalled;

const KEY: Rkey = Rkey(0x4242);

fn send_with_invalidate(length: u32, rkey: Rkey) -> SendRequest {
    SendRequest {
        opcode: Opcode::SendWithInvalidate,
        signalling: Signalled,
        length,
        rkey,
        ..SendRequest::default()
    }
}

fn reported(pair: &mut Pair) -> Vec<(Work, CompletionStatus)> {
    std::iter::from_fn(|| pair.requester.poll_completion())
        .filter(SendCompletion::is_reported)
        .map(|completion| (completion.work, completion.status))
        .collect()
}

#[test]
fn what_is_behind_a_local_operation_waits_for_it() {
    for operation in [BindWindow, Invalidate] {
        let mut pair = Pair::new();
        pair.receives.lengths = vec![100; 2];
        pair.post_local(operation, Signalled);
        pair.post(Opcode::Send, 10);
        assert_eq!(pair.pull(), None);
        assert!(pair.run_local(Ok(())));
        assert_eq!(reported(&mut pair), [(Work::Local(operation), Success)]);
        assert!(pair.pull().is_some());
        assert!(!pair.run_local(Ok(())));
    }
}

#[test]
fn a_window_is_bound_when_all_before_it_has_been_sent() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 2 * SMALL_PAYLOAD);
    pair.post_local(BindWindow, Signalled);
    pair.pull().unwrap();
    assert!(!pair.run_local(Ok(())));
    pair.pull().unwrap();
    assert!(pair.run_local(Ok(())));
    // Its completion waits for that of the WRITE.
    assert_eq!(reported(&mut pair), []);
}

#[test]
fn a_key_becomes_invalid_when_all_before_it_is_complete() {
    let mut pair = Pair::new();
    pair.post_as(Opcode::Write, 10, Unsignalled);
    pair.post_local(Invalidate, Signalled);
    let write = pair.pull().unwrap();
    // Without which the invalidation would wait for ever.
    assert!(write.flags.contains(SegmentFlags::ACK_REQUEST));
    assert!(!pair.run_local(Ok(())));
    pair.deliver(&write);
    pair.acknowledge();
    assert!(pair.run_local(Ok(())));
    assert_eq!(reported(&mut pair), [(Work::Local(Invalidate), Success)]);
}

#[test]
fn a_local_operation_waits_for_reads_as_it_should() {
    for (operation, is_fenced) in [(BindWindow, false), (BindWindow, true), (Invalidate, false)] {
        let mut pair = Pair::new();
        pair.post(Opcode::Read, 10);
        let request = LocalRequest {
            wr_id: 0,
            operation,
            signalling: Signalled,
            fencing: if is_fenced {
                usb4_roce::transport::requester::Fencing::Fenced
            } else {
                usb4_roce::transport::requester::Fencing::Unfenced
            },
        };
        pair.requester.post_local(request).unwrap();
        let read = pair.pull().unwrap();
        let waits = is_fenced || operation == Invalidate;
        assert_eq!(pair.requester.due_local().is_some(), !waits);
        pair.deliver(&read);
        pair.exchange();
        assert!(pair.run_local(Ok(())));
        assert_eq!(pair.completions().len(), 2);
    }
}

#[test]
fn a_local_operation_that_fails_fails_in_its_turn() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100; 2];
    pair.post(Opcode::Send, 10);
    pair.post_local(BindWindow, Unsignalled);
    pair.post(Opcode::Send, 10);
    pair.post_local(Invalidate, Signalled);
    let send = pair.pull().unwrap();
    assert!(pair.run_local(Err(MemoryManagementError)));
    assert!(!pair.run_local(Ok(())));
    // Nothing goes but what was sent before, whose acknowledgement decides what is complete.
    assert_eq!(pair.pull().map(|again| again.psn), Some(send.psn));
    assert_eq!(pair.pull(), None);
    assert_eq!(reported(&mut pair), []);
    pair.deliver(&send);
    pair.acknowledge();
    assert_eq!(
        reported(&mut pair),
        [
            (Work::Remote(Opcode::Send), Success),
            (Work::Local(BindWindow), MemoryManagementError),
            (Work::Remote(Opcode::Send), FlushError),
            (Work::Local(Invalidate), FlushError),
        ]
    );
    assert_eq!(pair.requester.poll_event(), Some(QpEvent::SendFailed));
    assert_eq!(
        pair.responder.poll_event(),
        Some(QpEvent::CommunicationEstablished)
    );
}

#[test]
fn many_local_operations_go_around_the_table() {
    let mut pair = Pair::new();
    for _ in 0..5 * crate::pair::DEPTH {
        pair.post_local(BindWindow, Unsignalled);
        pair.post_as(Opcode::Write, 10, Unsignalled);
        pair.post_local(Invalidate, Signalled);
        assert!(pair.run_local(Ok(())));
        pair.exchange();
        assert!(pair.run_local(Ok(())));
        assert_eq!(reported(&mut pair), [(Work::Local(Invalidate), Success)]);
        assert_eq!(pair.requester.outstanding(), 0);
    }
}

#[test]
fn a_drained_queue_begins_no_local_operation() {
    let mut pair = Pair::new();
    pair.requester.drain();
    pair.post_local(BindWindow, Signalled);
    assert!(!pair.run_local(Ok(())));
    assert_eq!(pair.requester.poll_event(), Some(QpEvent::SendQueueDrained));
    pair.requester.resume(pair.now);
    assert!(pair.run_local(Ok(())));
}

#[test]
fn no_timer_ends_while_a_local_operation_is_waited_for() {
    let mut pair = Pair::new();
    pair.post_local(Invalidate, Signalled);
    pair.post(Opcode::Write, 10);
    for _ in 0..20 {
        pair.wait(usb4_roce::transport::ids::Duration::from_millis(1_000));
    }
    assert_eq!(reported(&mut pair), []);
    assert!(pair.run_local(Ok(())));
    assert!(pair.requester.deadline().is_some());
    pair.exchange();
    assert_eq!(pair.completions().len(), 2);
}

#[test]
fn a_send_that_makes_a_key_invalid_does_so_in_its_turn() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![1 << 20];
    pair.receives.valid_key = Some(KEY);
    pair.post(Opcode::Write, 10);
    let request = send_with_invalidate(2 * SMALL_PAYLOAD, KEY);
    pair.requester.post(request, pair.now).unwrap();
    let requests = pair.pull_all();
    pair.deliver(&requests[1]);
    pair.deliver(&requests[2]);
    assert_eq!(pair.receives.valid_key, Some(KEY), "the WRITE is not done");
    pair.deliver(&requests[0]);
    assert_eq!(pair.receives.valid_key, None);
    let completion = pair.responder.poll_completion().unwrap();
    assert_eq!(completion.opcode, Opcode::SendWithInvalidate);
    assert_eq!(
        (completion.rkey, completion.byte_len),
        (KEY, 2 * SMALL_PAYLOAD)
    );
    // A copy does not do so again.
    pair.deliver(&requests[2]);
    pair.exchange();
    assert_eq!(pair.completions().len(), 2);
}

/// A READ is answered, the acknowledgement of the answer is lost, and the request that `post_send` has posted behind it
/// says the same.
fn acknowledges_reads(post_send: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100];
    pair.receives.valid_key = Some(KEY);
    pair.post(Opcode::Read, 10);
    let read = pair.pull().unwrap();
    post_send(&mut pair);
    pair.deliver(&read);
    let rail = crate::pair::rail(0);
    let seq = usb4_roce::transport::ids::RailSeq(7);
    let response = pair.responder.next_response(rail, seq).unwrap();
    match pair.requester.on_response(&response.header, pair.now) {
        ResponseDisposition::Place(placement) => {
            pair.requester
                .commit_response(placement.token, Outcome::Placed, pair.now);
        }
        other => panic!("{other:?}"),
    }
    let send = pair.pull().unwrap();
    let (Operation::SendWithInvalidate { response_psn, .. }
    | Operation::Send {
        response_psn: Some(response_psn),
        ..
    }) = send.operation
    else {
        panic!("{send:?}");
    };
    assert_eq!(response_psn, response.header.response_psn.next());
    pair.deliver(&send);
    pair.responder
        .on_lost_response(response.header.response_psn, rail, seq);
    assert!(!pair.responder.has_response());
}

#[test]
fn a_send_that_makes_a_key_invalid_waits_for_reads_and_acknowledges_them() {
    acknowledges_reads(|pair| {
        let request = send_with_invalidate(10, KEY);
        pair.requester.post(request, pair.now).unwrap();
        assert_eq!(pair.pull(), None);
    });
}

#[test]
fn a_send_acknowledges_reads() {
    acknowledges_reads(|pair| pair.post(Opcode::Send, 10));
}

#[test]
fn what_makes_a_key_invalid_waits_for_atomic_operations() {
    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    let request = send_with_invalidate(10, KEY);
    pair.requester.post(request, pair.now).unwrap();
    assert!(pair.pull().is_some());
    assert_eq!(pair.pull(), None);

    let mut pair = Pair::new();
    pair.post_atomic(Opcode::FetchAdd, 1, 0);
    pair.post_local(Invalidate, Signalled);
    assert!(pair.pull().is_some());
    assert!(!pair.run_local(Ok(())));
}

#[test]
fn a_key_that_is_not_valid_ends_the_receive_and_both_queue_pairs() {
    let mut pair = Pair::new();
    pair.receives.lengths = vec![100; 2];
    pair.receives.valid_key = Some(KEY);
    let request = send_with_invalidate(10, Rkey(KEY.0 + 1));
    pair.requester.post(request, pair.now).unwrap();
    pair.post(Opcode::Send, 10);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [
            (0, NakCode::RemoteAccess.requester_status()),
            (1, FlushError)
        ]
    );
    assert_eq!(
        pair.receive_statuses(),
        [CompletionStatus::RemoteInvalidRequestError]
    );
    // Its completion tells of it, no event does.
    let events = pair.responder_events();
    assert!(events.contains(&QpEvent::ReceiveFailed), "{events:?}");
    assert_eq!(pair.receives.valid_key, Some(KEY));
}

#[test]
fn a_peer_that_does_not_know_a_request_never_gets_it() {
    let mut pair = Pair::new();
    pair.requester.set_peer_features(Features::NONE);
    pair.post(Opcode::Write, 10);
    let request = send_with_invalidate(10, KEY);
    pair.requester.post(request, pair.now).unwrap();
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, Success), (1, CompletionStatus::LocalQpOperationError)]
    );
}

#[test]
fn what_has_been_carried_out_cannot_fail_any_more() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    assert!(pair.pull().is_some());
    let slot = pair.post_local(BindWindow, Signalled);
    assert!(pair.run_local(Ok(())));
    pair.requester
        .fail_message(slot, CompletionStatus::LocalProtectionError);
    // Nothing is wrong, so nothing has to be asked for.
    assert_eq!(pair.pull(), None);
    pair.post(Opcode::Write, 10);
    assert!(pair.pull().is_some());
}
