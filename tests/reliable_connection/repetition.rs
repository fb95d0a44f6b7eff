// SPDX-License-Identifier: GPL-2.0

//! What makes segments be sent again, over which rail, and how often.

use crate::pair::rail;
use crate::pair::Pair;
use crate::pair::FIRST;
use crate::pair::SETTLED;
use usb4_roce::transport::attempt::Attempt;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::CompletionStatus::Success;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

/// An acknowledgement of the pair's responder that processed nothing yet.
fn nak(psn: Psn, syndrome: Syndrome, nak_serial: u32) -> AckHeader {
    AckHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(2),
        psn,
        response_psn: psn,
        syndrome,
        nak_serial: NakSerial(nak_serial),
    }
}

#[test]
fn requests_say_that_they_were_sent_before() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 10);
    let now = pair.now;
    let mut next = |seq| {
        pair.requester
            .next_segment(rail(0), RailSeq(seq), now, &SETTLED)
    };
    let first = next(0).unwrap();
    assert_eq!(first.attempt(), Attempt::First);
    pair.requester
        .on_lost(first.header.psn, rail(0), RailSeq(0));
    let again = pair
        .requester
        .next_segment(rail(0), RailSeq(1), now, &SETTLED);
    assert_eq!(again.unwrap().attempt(), Attempt::Again);
}

#[test]
fn repetition_over_one_rail_may_change_over_when_all_is_to_be_sent_again() {
    let mut pair = Pair::new();
    pair.post(Opcode::Send, 10);
    let [request] = pair.pull_all()[..] else {
        panic!();
    };
    let now = pair.now;
    let rnr = nak(request.psn, Syndrome::RnrNak(RnrTimer::new(1)), 1);
    pair.requester.on_ack(&rnr, now);
    pair.wait(Duration::from_micros(10));
    // It goes in order over the rail that comes first. A receive is posted just too late for it.
    assert!(pair.pull().is_some());
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    let again = nak(request.psn, Syndrome::SequenceNak, 2);
    pair.requester.on_ack(&again, pair.now);
    assert!(pair.requester.has_work(rail(1), pair.now, &SETTLED));
}

#[test]
fn a_response_that_was_dropped_is_given_again_before_the_fault_behind_it_is_told() {
    let mut pair = Pair::new();
    pair.post(Opcode::Read, 10);
    let [read] = pair.pull_all()[..] else {
        panic!();
    };
    pair.deliver(&read);
    let answer = pair.responder.next_response(rail(0), RailSeq(0)).unwrap();
    // What is behind it is refused, which is told when the answer has been delivered.
    pair.access = Outcome::Denied(NakCode::RemoteAccess);
    pair.post(Opcode::Write, 10);
    let [write] = pair.pull_all()[..] else {
        panic!();
    };
    pair.deliver(&write);
    // The answer is damaged while a copy of it comes, which is dropped.
    let disposition = pair.requester.on_response(&answer.header, pair.now);
    let ResponseDisposition::Place(placement) = disposition else {
        panic!("{disposition:?}");
    };
    pair.requester.on_response(&answer.header, pair.now);
    pair.requester
        .commit_response(placement.token, Outcome::Aborted, pair.now);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, Success), (1, CompletionStatus::RemoteAccessError)]
    );
}

#[test]
fn a_copy_dropped_before_another_is_cut_off_is_asked_for_again() {
    let mut pair = Pair::with(no_timer);
    pair.post(Opcode::Write, 10);
    pair.post(Opcode::Send, 10);
    pair.post(Opcode::Write, 2 * SMALL_PAYLOAD);
    let [late, send, first, last] = pair.pull_all()[..] else {
        panic!();
    };
    // There is no receive yet, so what is behind is dropped.
    pair.deliver(&send);
    pair.deliver(&first);
    pair.receives.lengths = vec![10];
    pair.deliver(&send);
    pair.deliver(&last);
    // An older copy comes too, and is damaged. Its rail says so, but the one that was dropped is the last that was sent.
    let disposition = pair.responder.on_request(&first, &mut pair.receives);
    let Disposition::Write { token, .. } = disposition else {
        panic!("{disposition:?}");
    };
    pair.responder
        .commit(token, Outcome::Aborted, &mut pair.receives);
    pair.deliver(&late);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, Success), (1, Success), (2, Success)]
    );
}

#[test]
fn a_peer_cannot_have_everything_sent_again_without_end() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 20 * SMALL_PAYLOAD);
    let sent = pair.pull_all();
    let mut repeated = 0;
    for serial in 1..1_000 {
        let again = nak(sent[0].psn, Syndrome::SequenceNak, serial);
        pair.requester.on_ack(&again, pair.now);
        repeated += pair.pull_all().len();
    }
    assert!(repeated <= 10 * sent.len(), "{repeated}");
    assert_eq!(pair.completions(), [(0, CompletionStatus::RetryExceeded)]);
}

#[test]
fn naks_do_not_add_up_while_there_is_progress() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 30 * SMALL_PAYLOAD);
    let sent = pair.pull_all();
    for (number, segment) in sent.iter().enumerate() {
        let again = nak(segment.psn, Syndrome::SequenceNak, number as u32 + 1);
        pair.requester.on_ack(&again, pair.now);
        assert_eq!(pair.pull_all().len(), sent.len() - number);
    }
    let end = sent.last().unwrap().psn.next();
    let done = nak(end, Syndrome::Ack, 0);
    pair.requester.on_ack(&done, pair.now);
    assert_eq!(pair.completions(), [(0, Success)]);
}

/// Rails of which all but the first are up.
struct FirstIsGone;

impl Rails for FirstIsGone {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        FrameStatus::Settled
    }

    fn up(&self) -> RailSet {
        RailSet::ALL.without(RailSet::only(rail(0)))
    }
}

/// A pair with two small WRITEs of which the first has been delivered over rail 0, and was not to be acknowledged.
fn two_small_writes(change: impl FnOnce(&mut RequesterConfig)) -> Pair {
    let mut pair = Pair::with(change);
    pair.post_as(Opcode::Write, 8, Signalling::Unsignalled);
    pair.post(Opcode::Write, 8);
    let first = pair.pull().unwrap();
    assert!(!first.flags.contains(SegmentFlags::ACK_REQUEST));
    pair.deliver(&first);
    assert!(!pair.responder.ack_due());
    pair
}

/// The timer never helps.
fn no_timer(config: &mut RequesterConfig) {
    config.timeout = AckTimeout::new(0);
}

/// The first timeout is the last.
fn no_retry(config: &mut RequesterConfig) {
    config.retry = RetryLimit::from_retry_count(0);
}

/// Sends over rail 1 what is left, and says how the WRITEs end.
fn finish(pair: &mut Pair) -> Vec<(u64, CompletionStatus)> {
    assert!(pair.requester.has_work(rail(1), pair.now, &FirstIsGone));
    let next = pair
        .requester
        .next_segment(rail(1), RailSeq(0), pair.now, &FirstIsGone);
    pair.deliver(&next.unwrap().header);
    pair.acknowledge();
    pair.completions()
}

#[test]
fn a_small_write_is_sent_again_over_another_rail_when_its_own_is_gone() {
    let mut pair = two_small_writes(no_timer);
    let second = pair.pull().unwrap();
    pair.requester
        .on_lost(second.psn, rail(0), RailSeq(pair.seq - 1));
    // Over a rail that is up, the first may still be on its way.
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    assert_eq!(finish(&mut pair), [(0, Success), (1, Success)]);
}

#[test]
fn a_small_write_begins_on_another_rail_when_that_of_those_before_it_is_gone() {
    let mut pair = two_small_writes(no_timer);
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    assert_eq!(finish(&mut pair), [(0, Success), (1, Success)]);
}

#[test]
fn repetition_over_one_rail_changes_over_when_that_is_gone() {
    let mut pair = Pair::new();
    pair.post(Opcode::Send, 10);
    pair.post(Opcode::Send, 10);
    let first = pair.pull().unwrap();
    let rnr = nak(first.psn, Syndrome::RnrNak(RnrTimer::new(1)), 1);
    pair.requester.on_ack(&rnr, pair.now);
    pair.wait(Duration::from_micros(10));
    assert!(pair.pull().is_some());
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    assert!(pair.requester.has_work(rail(1), pair.now, &FirstIsGone));
}

/// A pair whose timer never helps: a small WRITE has been delivered, and was not to be acknowledged; of the longer one behind it,
/// whose segments are given, the last has been.
fn delivered_before_a_longer_one() -> (Pair, [(RailSeq, Psn); 2]) {
    let mut pair = Pair::with(no_timer);
    pair.post_as(Opcode::Write, 8, Signalling::Unsignalled);
    pair.post(Opcode::Write, 3 * SMALL_PAYLOAD);
    let [small, first, second, last] = pair.pull_all()[..] else {
        panic!();
    };
    assert!(!small.flags.contains(SegmentFlags::ACK_REQUEST));
    pair.deliver(&small);
    pair.deliver(&last);
    let seq = |before_last| RailSeq(pair.seq - 2 - before_last);
    let lost = [(seq(2), first.psn), (seq(1), second.psn)];
    (pair, lost)
}

/// The longer message fails when it is to be sent again: its memory is gone.
fn fail_when_sent_again(pair: &mut Pair) {
    let again = pair
        .requester
        .next_segment(rail(0), RailSeq(pair.seq), pair.now, &SETTLED)
        .unwrap();
    pair.requester
        .fail_message(again.source.slot, CompletionStatus::LocalProtectionError);
    pair.exchange();
    assert_eq!(
        pair.completions(),
        [(0, Success), (1, CompletionStatus::LocalProtectionError)]
    );
}

#[test]
fn what_was_delivered_before_a_message_that_fails_is_asked_for() {
    let (mut pair, [(seq, psn), _]) = delivered_before_a_longer_one();
    pair.requester.on_lost(psn, rail(0), seq);
    fail_when_sent_again(&mut pair);
}

#[test]
fn the_rest_of_a_message_that_fails_is_in_nobody_s_way() {
    let (mut pair, lost) = delivered_before_a_longer_one();
    for (seq, psn) in lost {
        pair.requester.on_lost(psn, rail(0), seq);
    }
    fail_when_sent_again(&mut pair);
}

#[test]
fn a_peer_that_owes_nothing_costs_no_retries() {
    let mut pair = two_small_writes(no_retry);
    // The other has to take the same rail, which has no room for long.
    pair.wait(Duration::from_millis(1_000));
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success), (1, Success)]);
}

#[test]
fn what_was_sent_is_asked_about_when_its_rail_has_no_room_for_what_follows() {
    let mut pair = two_small_writes(no_retry);
    // The other may overtake it on another rail.
    assert!(!pair.requester.has_work(rail(1), pair.now, &SETTLED));
    pair.wait(Duration::from_millis(1_000));
    let again = pair
        .requester
        .next_segment(rail(1), RailSeq(0), pair.now, &SETTLED)
        .unwrap();
    assert_eq!(again.header.psn, Psn::new(FIRST));
    pair.deliver(&again.header);
    pair.acknowledge();
    assert!(pair.requester.has_work(rail(1), pair.now, &SETTLED));
    pair.exchange();
    assert_eq!(pair.completions(), [(0, Success), (1, Success)]);
}

#[test]
fn a_new_timeout_counts_at_once() {
    let mut pair = Pair::new();
    pair.post(Opcode::Write, 8);
    pair.pull_all();
    let (times, now) = (RetryLimit::Times(0), pair.now);
    let mut set = |timeout| {
        let timeout = AckTimeout::new(timeout);
        pair.requester.set_timing(timeout, times, times, now);
        pair.requester.deadline()
    };
    assert_eq!(set(0), None);
    assert!(set(14) < set(20));
}
