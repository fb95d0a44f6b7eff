// SPDX-License-Identifier: GPL-2.0

//! Unreliable connections: their semantics case by case, and what holds whatever rails do.

#[path = "../support/heap.rs"]
mod heap;
mod link;
mod weather;

use link::Link;
use link::DEPTH;
use link::FIRST;
use link::PEER;
use link::RAILS;
use link::SEGMENT;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::requester::PostError;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::unreliable::SenderConfig;
use usb4_roce::transport::unreliable::UnreliableDisposition;
use usb4_roce::transport::unreliable::UnreliableDrop;

const LONG: u32 = 3 * SEGMENT + 5;

fn statuses(link: &mut Link) -> Vec<(u64, CompletionStatus)> {
    link.sent()
        .iter()
        .map(|completion| (completion.wr_id, completion.status))
        .collect()
}

#[test]
fn every_opcode_and_odd_lengths_arrive() {
    let mut link = Link::new();
    for opcode in [
        Opcode::Send,
        Opcode::SendWithImm,
        Opcode::Write,
        Opcode::WriteWithImm,
    ] {
        for length in [0, 1, SEGMENT, SEGMENT + 1, LONG] {
            link.receives.post(LONG, Soundness::Sound);
            let number = link.post(opcode, length);
            link.pump_all();
            assert_eq!(
                statuses(&mut link),
                [(number as u64, CompletionStatus::Success)]
            );
            let received = link.deliver_all();
            if opcode.consumes_receive() {
                assert_eq!(received.len(), 1, "{opcode:?} {length}");
                link.assert_received(&received[0], number);
            } else {
                assert!(received.is_empty());
                link.receives.waiting.pop_back();
            }
        }
    }
    assert_eq!(link.sender.counters(), Default::default());
    assert_eq!(link.receiver.counters(), Default::default());
}

#[test]
fn a_message_is_complete_when_all_its_data_has_left() {
    let mut link = Link::new();
    link.departs = false;
    link.post(Opcode::Send, LONG);
    link.post(Opcode::Send, 1);
    link.pump_all();
    let tokens = core::mem::take(&mut link.leaving);
    assert_eq!(tokens.len(), 5);
    // The last one first: completions come in order all the same.
    link.sender.handle_departure(tokens[4]);
    for token in &tokens[..3] {
        link.sender.handle_departure(*token);
        assert_eq!(statuses(&mut link), []);
    }
    link.sender.handle_departure(tokens[3]);
    assert_eq!(
        statuses(&mut link),
        [
            (0, CompletionStatus::Success),
            (1, CompletionStatus::Success)
        ]
    );
}

#[test]
fn a_lost_segment_takes_its_message_along_and_no_other() {
    for victim in 0..4 {
        let mut link = Link::new();
        link.receives.post(LONG, Soundness::Sound);
        link.receives.post(LONG, Soundness::Sound);
        for length in [10, LONG, 20] {
            link.post(Opcode::Send, length);
        }
        link.pump_all();
        let rail = link.busy_rail();
        link.deliver(rail);
        let first = link.receiver.poll_receive_completion().unwrap();
        link.assert_received(&first, 0);
        for segment in 0..4 {
            if segment == victim {
                link.lose(rail);
            } else {
                link.deliver(rail);
            }
            assert_eq!(link.receiver.poll_receive_completion(), None);
        }
        link.deliver(rail);
        let last = link.receiver.poll_receive_completion().unwrap();
        link.assert_received(&last, 2);
        // The receive of the message that was lost was used for the next.
        assert_eq!((first.wr_id, last.wr_id), (1, 2));
        assert_eq!(statuses(&mut link).len(), 3, "the sender does not know");
        assert_eq!(link.sender.counters().sender.lost_segments, 1);
        let receiver = link.receiver.counters().receiver;
        assert_eq!(receiver.broken_messages, u64::from(victim != 0));
    }
}

#[test]
fn the_end_of_one_message_and_that_of_another_make_none() {
    let mut link = Link::new();
    link.receives.post(LONG, Soundness::Sound);
    link.post(Opcode::Send, 2 * SEGMENT);
    link.post(Opcode::Send, 2 * SEGMENT);
    link.pump_all();
    let rail = link.busy_rail();
    link.deliver(rail);
    link.lose(rail);
    link.lose(rail);
    let end = link.deliver(rail);
    assert_eq!(
        end,
        Some(UnreliableDisposition::Drop(UnreliableDrop::Orphan))
    );
    assert_eq!(link.receiver.poll_receive_completion(), None);
}

#[test]
fn without_a_receive_a_message_is_dropped_and_the_next_one_is_not() {
    let mut link = Link::new();
    for opcode in [Opcode::Send, Opcode::WriteWithImm] {
        link.post(opcode, LONG);
        link.pump_all();
        assert_eq!(link.deliver_all(), []);
        link.receives.post(LONG, Soundness::Sound);
        let number = link.post(opcode, LONG);
        link.pump_all();
        let received = link.deliver_all();
        link.assert_received(&received[0], number);
    }
    assert_eq!(link.receiver.counters().receiver.no_receive, 2);
}

#[test]
fn a_receive_that_comes_too_late_for_a_message_is_for_the_next() {
    let mut link = Link::new();
    link.post(Opcode::Send, LONG);
    link.pump_all();
    let rail = link.busy_rail();
    link.deliver(rail);
    link.receives.post(LONG, Soundness::Sound);
    assert_eq!(link.deliver_all(), []);
    assert_eq!(link.receives.taken, 0);
}

#[test]
fn what_is_too_long_or_not_allowed_is_dropped_and_nobody_is_told() {
    let mut link = Link::new();
    link.receives.post(SEGMENT, Soundness::Sound);
    link.post(Opcode::Send, SEGMENT + 1);
    link.post(Opcode::WriteWithImm, LONG);
    link.pump_all();
    let rail = link.busy_rail();
    link.deliver(rail);
    assert_eq!(
        link.deliver(rail),
        Some(UnreliableDisposition::Drop(UnreliableDrop::Refused))
    );
    link.arrive(rail);
    link.settle(rail, Outcome::Denied(NakCode::RemoteAccess));
    assert_eq!(
        link.deliver(rail),
        Some(UnreliableDisposition::Drop(UnreliableDrop::Orphan))
    );
    assert_eq!(link.deliver_all(), []);
    assert_eq!(link.receiver.counters().receiver.refused, 2);
    assert_eq!(
        link.receiver.poll_event(),
        Some(QpEvent::CommunicationEstablished)
    );
    assert_eq!(link.receiver.poll_event(), None);
    // The receive is still there.
    let number = link.post(Opcode::Send, SEGMENT);
    link.pump_all();
    let received = link.deliver_all();
    link.assert_received(&received[0], number);
    assert_eq!(link.receives.taken, 1);
}

#[test]
fn a_receive_that_is_broken_fails_the_queue_pair() {
    let mut link = Link::new();
    let status = CompletionStatus::LocalLengthError;
    link.receives.post(10, Soundness::Broken(status));
    link.post(Opcode::Send, 1);
    link.pump_all();
    let received = link.deliver_all();
    assert_eq!(received[0].status, status);
    link.receiver.poll_event();
    assert_eq!(link.receiver.poll_event(), Some(QpEvent::ReceiveFailed));
    assert_eq!(link.receiver.poll_event(), Some(QpEvent::LastWqeReached));
}

#[test]
fn a_receive_s_buffer_without_rights_fails_the_queue_pair() {
    let mut link = Link::new();
    link.receives.post(10, Soundness::Sound);
    link.post(Opcode::Send, 1);
    link.pump_all();
    let rail = link.busy_rail();
    link.arrive(rail);
    link.settle(rail, Outcome::Denied(NakCode::RemoteOperation));
    let completion = link.receiver.poll_receive_completion().unwrap();
    assert_eq!(completion.status, CompletionStatus::LocalProtectionError);
    link.receiver.poll_event();
    assert_eq!(link.receiver.poll_event(), Some(QpEvent::ReceiveFailed));
}

#[test]
fn a_flush_waits_for_what_is_being_placed() {
    let mut link = Link::new();
    link.receives.post(LONG, Soundness::Sound);
    link.post(Opcode::Send, LONG);
    link.pump_all();
    let rail = link.busy_rail();
    link.arrive(rail);
    link.receiver.flush();
    assert_eq!(link.receiver.poll_receive_completion(), None);
    link.settle(rail, Outcome::Placed);
    let flushed = link.receiver.poll_receive_completion().unwrap();
    assert_eq!(flushed.status, CompletionStatus::FlushError);
    assert_eq!(
        link.deliver(rail),
        Some(UnreliableDisposition::Drop(UnreliableDrop::NotRunning))
    );
}

#[test]
fn a_failure_of_the_sender_s_own_flushes_what_is_behind_until_it_resumes() {
    let mut link = Link::new();
    link.departs = false;
    link.post(Opcode::Send, LONG);
    let bad = link.post(Opcode::Send, 2 * SEGMENT);
    link.post(Opcode::Send, 1);
    for _ in 0..5 {
        assert!((0..RAILS).any(|number| link.pump(number)));
    }
    // The memory of the fifth segment cannot be had.
    let slot = link.slots.iter().find(|(_, number)| **number == bad);
    let slot = MessageSlot(*slot.unwrap().0);
    link.sender
        .handle_send_failure(slot, CompletionStatus::LocalProtectionError);
    assert!((0..RAILS).all(|number| !link.pump(number)));
    assert_eq!(statuses(&mut link), []);
    for token in core::mem::take(&mut link.leaving) {
        link.sender.handle_departure(token);
    }
    assert_eq!(
        statuses(&mut link),
        [
            (0, CompletionStatus::Success),
            (1, CompletionStatus::LocalProtectionError),
            (2, CompletionStatus::FlushError)
        ]
    );
    assert_eq!(link.sender.poll_event(), Some(QpEvent::SendFailed));
    link.post(Opcode::Send, 1);
    assert_eq!(statuses(&mut link), [(3, CompletionStatus::FlushError)]);
    link.sender.resume();
    link.receives.post(LONG, Soundness::Sound);
    link.receives.post(LONG, Soundness::Sound);
    let number = link.post(Opcode::Send, 1);
    link.pump_all();
    let received = link.deliver_all();
    assert_eq!(received.len(), 2);
    link.assert_received(&received[0], 0);
    link.assert_received(&received[1], number);
}

#[test]
fn a_single_segment_whose_memory_cannot_be_had_fails() {
    let mut link = Link::new();
    link.departs = false;
    link.post(Opcode::Send, 1);
    link.pump_all();
    link.sender.handle_send_failure(
        MessageSlot(*link.slots.keys().next().unwrap()),
        CompletionStatus::LocalProtectionError,
    );
    link.sender.handle_departure(link.leaving[0]);
    assert_eq!(
        statuses(&mut link),
        [(0, CompletionStatus::LocalProtectionError)]
    );
}

#[test]
fn reads_and_peers_that_do_not_know_how_fail() {
    let mut link = Link::new();
    link.post(Opcode::Read, 10);
    link.pump_all();
    let failure = CompletionStatus::LocalQpOperationError;
    assert_eq!(statuses(&mut link), [(0, failure)]);

    let mut link = Link::new();
    link.sender.handle_new_path();
    link.post(Opcode::Send, 10);
    link.sender.handle_peer(&PEER, Features::NONE);
    link.pump_all();
    assert_eq!(statuses(&mut link), [(0, failure)]);
    link.sender.resume();
    link.post(Opcode::Send, 10);
    assert_eq!(statuses(&mut link), [(1, failure)]);
}

#[test]
fn what_cannot_be_taken_changes_nothing() {
    let mut link = Link::unconnected();
    let request = SendRequest::default();
    assert_eq!(link.sender.post(request), Err(PostError::NotConnected));
    link.start();
    let long = SendRequest {
        length: MAX_MESSAGE + 1,
        ..request
    };
    assert_eq!(link.sender.post(long), Err(PostError::TooLong));
    for _ in 0..DEPTH {
        link.sender.post(request).unwrap();
    }
    assert_eq!(link.sender.post(request), Err(PostError::Full));
}

#[test]
fn an_error_flushes_what_has_not_been_sent() {
    let mut link = Link::new();
    link.post(Opcode::Send, LONG);
    link.post(Opcode::Send, 1);
    let rail = (0..RAILS).find(|&number| link.pump(number));
    assert!(rail.is_some());
    link.sender.flush();
    link.pump_all();
    assert_eq!(
        statuses(&mut link),
        [
            (0, CompletionStatus::FlushError),
            (1, CompletionStatus::FlushError)
        ]
    );
}

#[test]
fn draining_ends_the_message_that_has_begun() {
    let mut link = Link::new();
    link.post(Opcode::Send, LONG);
    link.post(Opcode::Send, 1);
    let _ = (0..RAILS).find(|&number| link.pump(number));
    link.sender.drain();
    assert!(link.sender.is_draining());
    assert_eq!(link.sender.poll_event(), None);
    link.pump_all();
    assert_eq!(statuses(&mut link), [(0, CompletionStatus::Success)]);
    assert_eq!(link.sender.poll_event(), Some(QpEvent::SendQueueDrained));
    assert!(!link.sender.is_draining());
    link.sender.resume();
    link.pump_all();
    assert_eq!(statuses(&mut link), [(1, CompletionStatus::Success)]);
}

#[test]
fn segments_stay_on_one_rail_until_it_is_down_or_not_answered() {
    for is_down in [true, false] {
        let mut link = Link::new();
        for _ in 0..4 {
            link.post(Opcode::Send, 1);
        }
        link.pump_all();
        let first = link.busy_rail();
        assert_eq!(link.rails[first].frames.len(), 4);
        if is_down {
            link.rails[first].is_up = false;
        } else {
            link.rails[first].answers = false;
        }
        link.sent();
        link.post(Opcode::Send, 1);
        link.pump_all();
        let others: Vec<_> = (0..RAILS).filter(|&number| number != first).collect();
        let new = others
            .iter()
            .find(|&&number| !link.rails[number].frames.is_empty());
        let new = *new.expect("another rail takes over");
        // As long as something is under way there, it stays there.
        link.rails[first].is_up = true;
        link.rails[first].answers = true;
        link.sent();
        link.post(Opcode::Send, 1);
        link.pump_all();
        assert_eq!(link.rails[new].frames.len(), 2);
        // What was overtaken is not taken any more.
        for _ in 0..2 {
            link.receives.post(1, Soundness::Sound);
            link.deliver(new);
            assert!(link.receiver.poll_receive_completion().is_some());
        }
        link.receives.post(1, Soundness::Sound);
        assert_eq!(
            link.deliver(first),
            Some(UnreliableDisposition::Drop(UnreliableDrop::Overtaken))
        );
        // With nothing under way it goes back.
        link.rails[first].frames.clear();
        link.sent();
        link.post(Opcode::Send, 1);
        link.pump_all();
        assert_eq!(link.rails[first].frames.len(), 1);
    }
}

#[test]
fn connections_are_spread_over_the_rails() {
    let mut counts = [0; RAILS];
    for qpn in 0..30 {
        let mut link = Link::new();
        link.sender.start_sender(SenderConfig {
            local_qpn: Qpn::new(17 + qpn),
            remote_qpn: Qpn::new(17 + qpn),
            initial_psn: FIRST,
            segment: SegmentSize::LARGEST,
        });
        link.sender
            .handle_peer(&PEER, Features::UNRELIABLE_CONNECTIONS);
        link.post(Opcode::Send, 1);
        link.pump_all();
        counts[link.busy_rail()] += 1;
    }
    assert!(counts.iter().all(|&count| count >= 5), "{counts:?}");
}

#[test]
fn with_no_rail_messages_wait() {
    let mut link = Link::new();
    for rail in &mut link.rails {
        rail.is_up = false;
    }
    link.post(Opcode::Send, 1);
    link.pump_all();
    assert_eq!(statuses(&mut link), []);
    link.rails[1].is_up = true;
    link.pump_all();
    assert_eq!(statuses(&mut link), [(0, CompletionStatus::Success)]);
}

#[test]
fn another_rail_does_not_take_over_a_receive_that_is_being_written_to() {
    let mut link = Link::new();
    link.receives.post(LONG, Soundness::Sound);
    link.receives.post(LONG, Soundness::Sound);
    link.post(Opcode::Send, LONG);
    link.pump_all();
    let first = link.busy_rail();
    link.arrive(first);
    link.rails[first].frames.clear();
    link.rails[first].is_up = false;
    link.sent();
    link.post(Opcode::Send, 10);
    link.post(Opcode::Send, 20);
    link.pump_all();
    let second = link.busy_rail();
    assert_eq!(
        link.deliver(second),
        Some(UnreliableDisposition::Drop(UnreliableDrop::Overtaken))
    );
    link.settle(first, Outcome::Placed);
    assert_eq!(link.receiver.poll_receive_completion(), None);
    link.deliver(second);
    let completion = link.receiver.poll_receive_completion().unwrap();
    link.assert_received(&completion, 2);
}

#[test]
fn a_sender_that_begins_anew_is_heard() {
    let mut link = Link::new();
    for _ in 0..3 {
        link.receives.post(10, Soundness::Sound);
        let number = link.post(Opcode::Send, 10);
        link.pump_all();
        let received = link.deliver_all();
        link.assert_received(&received[0], number);
        link.sent();
    }
    link.sender.reset();
    link.slots.clear();
    link.start_sender(FIRST);
    link.receives.post(10, Soundness::Sound);
    let number = link.post(Opcode::Send, 10);
    link.pump_all();
    let received = link.deliver_all();
    link.assert_received(&received[0], number);
}

#[test]
fn what_began_in_an_earlier_life_is_ignored() {
    let mut link = Link::new();
    link.departs = false;
    link.receives.post(LONG, Soundness::Sound);
    link.post(Opcode::Send, LONG);
    link.pump_all();
    let busy = link.busy_rail();
    link.arrive(busy);
    link.sender.reset();
    link.receiver.reset();
    link.start();
    link.rails[busy].frames.clear();
    link.slots.clear();
    let old = core::mem::take(&mut link.leaving);
    link.settle(busy, Outcome::Placed);
    link.post(Opcode::Send, 1);
    link.pump_all();
    for token in old {
        link.sender.handle_departure(token);
    }
    assert_eq!(statuses(&mut link), []);
    link.sender.handle_departure(link.leaving[0]);
    assert_eq!(statuses(&mut link).len(), 1);
}
