// SPDX-License-Identifier: GPL-2.0

//! Particular lies.

use super::requester;
use super::responder;
use super::Receives;
use super::BASE;
use super::NOW;
use super::WINDOW;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::DataSegment;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::ReadRequest;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::ids::Rsn;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::DropReason;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;

fn request(psn: u32, operation: Operation) -> RequestHeader {
    RequestHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(2),
        psn: Psn::new(BASE).add(psn),
        flags: SegmentFlags::ONLY,
        operation,
    }
}

fn read(psn: u32, length: u32) -> RequestHeader {
    let read = ReadRequest {
        va: 0x1000,
        rkey: Rkey(1),
        length,
        segment: SegmentSize::SMALLEST,
        response_psn: Psn::new(BASE),
    };
    request(psn, Operation::Read(read))
}

/// All of a message.
fn data(rsn: Rsn, len: u32) -> DataSegment {
    DataSegment {
        rsn,
        extent: Extent::new(0, len).unwrap(),
    }
}

#[test]
fn more_reads_than_agreed_are_an_invalid_request() {
    let mut responder = responder(2);
    let mut queue = Receives(0);
    let rail = RailId::new(0).unwrap();
    for number in 0..3 {
        let disposition = responder.on_request(&read(number, 100), &mut queue);
        let Disposition::CheckRead { token, .. } = disposition else {
            panic!("{disposition:?}");
        };
        responder.commit(token, Outcome::Placed, &mut queue);
    }
    // The answers to the first two come first.
    assert_eq!(
        responder.poll_event(),
        Some(QpEvent::CommunicationEstablished)
    );
    assert_eq!(responder.poll_event(), None);
    assert!(responder.next_response(rail, RailSeq(0)).is_some());
    assert!(responder.next_response(rail, RailSeq(1)).is_some());
    assert!(responder.next_response(rail, RailSeq(2)).is_none());
    responder.on_response_ack(Psn::new(BASE).add(2));
    assert_eq!(responder.poll_event(), Some(QpEvent::InvalidRequest));
    let ack = responder.take_ack(Psn::new(0)).unwrap();
    assert_eq!(ack.syndrome, Syndrome::Nak(NakCode::InvalidRequest));
    assert_eq!(ack.psn, Psn::new(BASE).add(2));
}

#[test]
fn a_write_around_the_end_of_the_address_space_is_refused() {
    let mut responder = responder(2);
    let mut queue = Receives(0);
    let write = Operation::Write {
        data: data(Rsn(0), 64),
        imm: None,
        va: u64::MAX - 10,
        rkey: Rkey(1),
    };
    let write = request(0, write);
    assert!(matches!(
        responder.on_request(&write, &mut queue),
        Disposition::Drop(_)
    ));
    assert_eq!(
        responder.poll_event(),
        Some(QpEvent::CommunicationEstablished)
    );
    assert_eq!(responder.poll_event(), Some(QpEvent::AccessViolation));
}

#[test]
fn acknowledgement_of_what_was_never_sent_changes_nothing() {
    let mut requester = requester();
    let request = SendRequest {
        length: 10,
        signalling: Signalling::Signalled,
        ..SendRequest::default()
    };
    requester.post(request, NOW).unwrap();
    for ahead in [1, 2, 100, 1 << 22] {
        let ack = AckHeader {
            dest_qpn: Qpn::new(1),
            src_qpn: Qpn::new(2),
            psn: Psn::new(BASE).add(ahead),
            response_psn: Psn::new(0),
            syndrome: Syndrome::Ack,
            nak_serial: NakSerial::NONE,
        };
        requester.on_ack(&ack, NOW);
    }
    assert_eq!(requester.poll_completion(), None);
    assert_eq!(requester.counters().bogus, 4);
}

fn send(psn: u32, rsn: u32, payload_len: u32) -> RequestHeader {
    let send = Operation::Send {
        data: data(Rsn::FIRST.add(rsn), payload_len),
        imm: None,
        response_psn: None,
    };
    request(psn, send)
}

#[test]
fn answers_that_cannot_be_numbered_are_an_invalid_request() {
    let mut responder = responder(u8::MAX);
    let mut queue = Receives(0);
    // Each takes more than half a million numbers, and there are sixteen million.
    for number in 0..WINDOW as u32 {
        let longest = read(number, MAX_MESSAGE);
        let Disposition::CheckRead { token, .. } = responder.on_request(&longest, &mut queue)
        else {
            break;
        };
        responder.commit(token, Outcome::Placed, &mut queue);
    }
    let served = responder
        .expected_psn()
        .unwrap()
        .distance_from(Psn::new(BASE));
    assert_eq!(served, 15);
    // What was accepted is answered, in order.
    let rail = RailId::new(0).unwrap();
    for number in 0..WINDOW as u32 {
        let response = responder.next_response(rail, RailSeq(number)).unwrap();
        assert_eq!(response.header.response_psn, Psn::new(BASE).add(number));
        assert_eq!(response.header.extent.offset(), number * SMALL_PAYLOAD);
    }
}

#[test]
fn a_message_takes_no_more_receives_than_there_are_messages_before_it() {
    for (psn, rsn) in [(0, 1), (3, 4), (3, 15), (0, u32::MAX)] {
        let mut responder = responder(2);
        let mut queue = Receives(40);
        let disposition = responder.on_request(&send(psn, rsn, 64), &mut queue);
        assert_eq!(disposition, Disposition::Drop(DropReason::Refused));
        assert_eq!(queue.0, 40, "{psn} {rsn}");
    }
    let mut responder = responder(2);
    let mut queue = Receives(40);
    let disposition = responder.on_request(&send(3, 3, 64), &mut queue);
    assert!(matches!(disposition, Disposition::Receive { .. }));
    assert_eq!(queue.0, 36);
}

#[test]
fn a_receive_does_not_end_while_it_is_written_to() {
    let mut responder = responder(2);
    let mut queue = Receives(40);
    // Two messages claim the same receive; the second is still on its way.
    let late = responder.on_request(&send(1, 0, 64), &mut queue);
    let first = responder.on_request(&send(0, 0, 64), &mut queue);
    let (Disposition::Receive { token: late, .. }, Disposition::Receive { token: first, .. }) =
        (late, first)
    else {
        panic!("{late:?} {first:?}");
    };
    responder.commit(first, Outcome::Placed, &mut queue);
    assert_eq!(responder.poll_completion(), None);
    responder.flush();
    assert_eq!(responder.poll_completion(), None);
    responder.commit(late, Outcome::Placed, &mut queue);
    let completion = responder.poll_completion().unwrap();
    assert_eq!(completion.status, CompletionStatus::FlushError);
    assert_eq!(
        responder.take_ack(Psn::new(0)).unwrap().syndrome,
        Syndrome::Nak(NakCode::InvalidRequest)
    );
}
