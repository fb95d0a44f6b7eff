// SPDX-License-Identifier: GPL-2.0

//! Limits of a peer that can take less.

use super::pair::rail;
use super::pair::Pair;
use super::pair::WINDOW;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;

const SMALLER: Limits = Limits {
    max_payload: SMALL_PAYLOAD,
    window: 4,
    max_rd_atomic: 1,
};

const LARGER: Limits = Limits {
    max_payload: MAX_PAYLOAD,
    window: 512,
    max_rd_atomic: 200,
};

fn large_segments() -> Pair {
    Pair::with(|config| config.segment = SegmentSize::LARGEST)
}

#[test]
fn requests_keep_to_what_the_peer_can_take() {
    let mut pair = large_segments();
    // Posted before the peer is known.
    pair.post(Opcode::Write, 10 * SMALL_PAYLOAD);
    pair.requester.agree(&SMALLER);
    let requests = pair.pull_all();
    assert_eq!(requests.len(), 4);
    assert!(requests
        .iter()
        .all(|request| request.payload_len() == SMALL_PAYLOAD));
}

#[test]
fn our_own_limits_hold_as_well() {
    let mut pair = Pair::new();
    pair.requester.agree(&LARGER);
    pair.post(Opcode::Write, 100 * SMALL_PAYLOAD);
    let requests = pair.pull_all();
    assert_eq!(requests.len(), WINDOW);
    assert!(requests
        .iter()
        .all(|request| request.payload_len() == SMALL_PAYLOAD));
}

/// Where the segment of a WRITE begins.
fn offset(request: &RequestHeader) -> u32 {
    match request.operation {
        Operation::Write { data, .. } => data.extent.offset(),
        _ => panic!("{request:?}"),
    }
}

#[test]
fn segments_stay_as_they_are_once_a_message_has_begun() {
    let mut pair = large_segments();
    pair.post(Opcode::Write, 3 * MAX_PAYLOAD);
    assert!(pair.pull().is_some());
    pair.requester.agree(&SMALLER);
    let rest = pair.pull_all();
    assert_eq!(rest.len(), 2);
    assert_eq!(offset(&rest[0]), MAX_PAYLOAD);
    assert_eq!(offset(&rest[1]), 2 * MAX_PAYLOAD);
}

#[test]
fn reads_keep_to_what_the_peer_can_take() {
    let mut pair = large_segments();
    pair.post(Opcode::Read, 9 * SMALL_PAYLOAD);
    pair.post(Opcode::Read, 9 * SMALL_PAYLOAD);
    pair.requester.agree(&SMALLER);
    let requests = pair.pull_all();
    assert_eq!(requests.len(), 1);
    let Operation::Read(read) = requests[0].operation else {
        panic!();
    };
    assert_eq!(read.segment, SegmentSize::SMALLEST);
}

#[test]
fn responses_keep_to_what_the_peer_can_take_and_do_not_stall() {
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 9 * SMALL_PAYLOAD);
    pair.requester.agree(&SMALLER);
    pair.responder.agree(&SMALLER);
    let request = pair.pull().unwrap();
    pair.deliver(&request);
    let mut outstanding = 0;
    while pair.responder.next_response(rail(0), RailSeq(0)).is_some() {
        outstanding += 1;
    }
    assert_eq!(outstanding, 4);
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 40 * SMALL_PAYLOAD);
    pair.requester.agree(&SMALLER);
    pair.responder.agree(&SMALLER);
    pair.exchange();
    assert_eq!(pair.completions().len(), 1);
}

#[test]
fn no_more_answers_are_asked_for_than_can_be_numbered() {
    let mut pair = Pair::with(|config| config.max_rd_atomic = 128);
    for _ in 0..16 {
        pair.post(Opcode::Read, MAX_MESSAGE);
    }
    // Each takes more than half a million numbers, and half of sixteen million can be told apart.
    assert_eq!(pair.pull_all().len(), 15);
}
