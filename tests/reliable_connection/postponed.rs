// SPDX-License-Identifier: GPL-2.0

//! Payloads that arrive and cannot be placed at once, and such as cannot be sent at once.

use crate::pair::rail;
use crate::pair::Pair;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::status::CompletionStatus::Success;
use usb4_roce::transport::timing::AckTimeout;

/// The timer never helps.
fn no_timer(config: &mut RequesterConfig) {
    config.timeout = AckTimeout::new(0);
}

#[test]
fn a_request_that_was_postponed_is_asked_for_again_without_a_timer() {
    let mut pair = Pair::with(no_timer);
    pair.post(Opcode::Write, 10);
    let [request] = pair.pull_all()[..] else {
        panic!();
    };
    let disposition = pair.responder.on_request(&request, &mut pair.receives);
    let Disposition::Write { token, .. } = disposition else {
        panic!("{disposition:?}");
    };
    pair.responder
        .commit(token, Outcome::Postponed, &mut pair.receives);
    assert_eq!(pair.acknowledge().syndrome, Syndrome::SequenceNak);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
}

#[test]
fn a_response_that_was_postponed_is_asked_for_again_without_a_timer() {
    let mut pair = Pair::with(no_timer);
    pair.post(Opcode::Read, 10);
    let [read] = pair.pull_all()[..] else {
        panic!();
    };
    pair.deliver(&read);
    let answer = pair.responder.next_response(rail(0), RailSeq(0)).unwrap();
    let disposition = pair.requester.on_response(&answer.header, pair.now);
    let ResponseDisposition::Place(placement) = disposition else {
        panic!("{disposition:?}");
    };
    pair.requester
        .commit_response(placement.token, Outcome::Postponed, pair.now);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
}

#[test]
fn a_segment_whose_payload_is_not_there_comes_again() {
    let mut pair = Pair::with(no_timer);
    pair.post(Opcode::Write, 10);
    let seq = RailSeq(pair.seq);
    let request = pair.pull().unwrap();
    pair.requester.on_lost(request.psn, rail(0), seq);
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success)]);
}
