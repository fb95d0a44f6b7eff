// SPDX-License-Identifier: GPL-2.0

//! Local operations among messages: memory windows are bound, keys made invalid.

use crate::link::Link;
use crate::statuses;
use crate::LONG;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::requester::LocalOperation;
use usb4_roce::transport::requester::LocalRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Work;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::QpEvent;
use CompletionStatus::FlushError;
use CompletionStatus::MemoryManagementError;
use CompletionStatus::Success;
use LocalOperation::BindWindow;
use LocalOperation::Invalidate;

/// Name of the local operation; messages are named by their numbers.
const LOCAL: u64 = 100;

fn post_local(link: &mut Link, operation: LocalOperation) -> MessageSlot {
    let request = LocalRequest {
        wr_id: LOCAL,
        operation,
        signalling: Signalling::Signalled,
        fencing: Default::default(),
    };
    link.sender.post_local(request).unwrap()
}

fn due(link: &Link) -> Option<MessageSlot> {
    link.sender.due_local().map(|due| due.slot)
}

#[test]
fn they_take_their_turn_among_messages() {
    let mut link = Link::new();
    link.post(Opcode::Write, LONG);
    let slot = post_local(&mut link, BindWindow);
    link.post(Opcode::Write, 1);
    assert_eq!(due(&link), None, "before what is ahead of it is begun");
    link.pump_all();
    assert_eq!(statuses(&mut link), [(0, Success)]);
    assert_eq!(due(&link), Some(slot));
    assert!(!link.sender.is_urgent());

    link.sender.handle_local_end(slot, Ok(()));
    assert_eq!(due(&link), None);
    let completion = link.sender.poll_send_completion().unwrap();
    assert_eq!(completion.work, Work::Local(BindWindow));
    assert_eq!((completion.wr_id, completion.status), (LOCAL, Success));
    link.pump_all();
    assert_eq!(statuses(&mut link), [(1, Success)]);
}

#[test]
fn a_key_becomes_invalid_when_all_before_is_complete() {
    for (operation, waits) in [(BindWindow, false), (Invalidate, true)] {
        let mut link = Link::new();
        link.departs = false;
        link.post(Opcode::Write, 1);
        let slot = post_local(&mut link, operation);
        link.pump_all();
        assert_eq!(due(&link).is_none(), waits);
        let token = link.leaving.pop().unwrap();
        link.sender.handle_departure(token);
        assert_eq!(statuses(&mut link), [(0, Success)]);
        assert_eq!(due(&link), Some(slot));
    }
}

#[test]
fn a_failure_flushes_what_is_behind() {
    let mut link = Link::new();
    let slot = post_local(&mut link, BindWindow);
    link.post(Opcode::Write, 1);
    link.sender
        .handle_local_end(slot, Err(MemoryManagementError));
    link.pump_all();
    assert_eq!(
        statuses(&mut link),
        [(LOCAL, MemoryManagementError), (0, FlushError)]
    );
    assert_eq!(link.sender.poll_event(), Some(QpEvent::SendFailed));
}

#[test]
fn none_is_due_in_a_queue_that_drains_or_fails() {
    let mut link = Link::new();
    link.sender.drain();
    let slot = post_local(&mut link, BindWindow);
    assert_eq!(due(&link), None);
    assert_eq!(link.sender.poll_event(), Some(QpEvent::SendQueueDrained));
    link.sender.resume();
    assert_eq!(due(&link), Some(slot));

    link.sender.flush();
    assert_eq!(due(&link), None);
    // Its end, which comes too late, says nothing.
    link.sender.handle_local_end(slot, Ok(()));
    assert_eq!(statuses(&mut link), [(LOCAL, FlushError)]);
}
