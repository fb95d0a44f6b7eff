// SPDX-License-Identifier: GPL-2.0

//! A stream is cut into frames, whatever is in their payloads.

#[path = "support/checksum.rs"]
mod checksum;

use checksum::HostHash;
use usb4_roce::transport::checksum::Algorithm;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::padded;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::deframer::Deframer;
use usb4_roce::transport::rail::deframer::Found;
use usb4_roce::transport::rail::hello::HELLO_LEN;

const NOP: Body = Body::Nop {
    reply: NopReply::Wanted,
    confirmed: (RailSeq(0), RailSeq(0)),
};

fn session() -> Seed {
    Seed::of_session::<HostHash>(3, 4, Algorithm::Crc32c)
}

fn frame(body: Body, seq: u32, payload: &[u8], seed: Seed) -> Vec<u8> {
    let header = Header {
        seq: RailSeq(seq),
        ack: RailSeq(0),
        payload_len: payload.len() as u32,
        payload_checksum: seed.checksum::<HostHash>(payload),
        body,
    };
    let mut bytes = header.encode::<HostHash>(seed).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(HEADER_LEN + padded(payload.len() as u32) as usize, 0);
    bytes
}

fn datagram(seq: u32, payload: &[u8]) -> Vec<u8> {
    frame(
        Body::Datagram(PacketState::Finished),
        seq,
        payload,
        session(),
    )
}

fn nop() -> Vec<u8> {
    frame(NOP, 99, &[], session())
}

/// What processes know: frames of a handshake.
fn forgeries() -> Vec<Vec<u8>> {
    let public = Seed::HANDSHAKE;
    let bodies = [
        Body::Hello,
        NOP,
        Body::Goodbye,
        Body::Lost {
            from: RailSeq(0),
            to: RailSeq(5),
        },
    ];
    let mut all: Vec<Vec<u8>> = bodies
        .into_iter()
        .map(|body| frame(body, 3, &[], public))
        .collect();
    all.push(frame(Body::Hello, 0, &[0; HELLO_LEN], public));
    all
}

/// A payload of nothing but copies of `unit`.
fn full_of(unit: &[u8]) -> Vec<u8> {
    unit.iter()
        .copied()
        .cycle()
        .take(MAX_PAYLOAD as usize)
        .collect()
}

/// What is found in a stream that arrives in steps of so many bytes. What is damaged is left out.
fn cut(stream: &[u8], step: usize) -> Vec<(Found, Vec<u8>)> {
    let mut deframer = Deframer::<HostHash>::new();
    let mut found = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match deframer.next(&stream[start..end], Some(session())) {
            Err(_) if end == stream.len() => return found,
            Err(_) => end = stream.len().min(end + step),
            Ok(piece) => {
                let payload = match &piece.found {
                    Found::Hello(range) | Found::Frame(_, range) => {
                        stream[start..][range.clone()].to_vec()
                    }
                    Found::Damage | Found::Corrupt(_) => Vec::new(),
                };
                start += piece.len;
                if piece.found != Found::Damage {
                    found.push((piece.found, payload));
                }
            }
        }
    }
}

/// Numbers and payloads of the intact frames, and how many were corrupt.
fn frames(stream: &[u8], step: usize) -> (Vec<(u32, Vec<u8>)>, usize) {
    let mut intact = Vec::new();
    let mut corrupt = 0;
    for (found, payload) in cut(stream, step) {
        match found {
            Found::Frame(header, _) => intact.push((header.seq.0, payload)),
            Found::Corrupt(_) => corrupt += 1,
            Found::Hello(_) | Found::Damage => {}
        }
    }
    (intact, corrupt)
}

#[test]
fn nothing_in_a_payload_ends_it() {
    for unit in forgeries() {
        let payload = full_of(&unit);
        let mut stream = datagram(0, &payload);
        stream.extend(datagram(1, b"behind"));
        for step in [64, 4096, 1 << 20] {
            let (intact, corrupt) = frames(&stream, step);
            assert_eq!(corrupt, 0);
            assert!(intact == [(0, payload.clone()), (1, b"behind".to_vec())]);
        }
    }
}

#[test]
fn forged_hellos_in_a_damaged_frame_are_all_that_is_found_there() {
    for unit in forgeries() {
        let mut damaged = datagram(0, &full_of(&unit));
        damaged[20] ^= 1;
        let mut stream = damaged;
        stream.extend(datagram(1, b"behind"));
        for (found, _) in cut(&stream, 4096) {
            match found {
                Found::Hello(_) => {}
                Found::Frame(header, _) => assert_eq!(header.seq, RailSeq(1)),
                Found::Corrupt(_) | Found::Damage => panic!("{found:?}"),
            }
        }
        let (intact, _) = frames(&stream, 4096);
        assert_eq!(intact, [(1, b"behind".to_vec())]);
    }
}

#[test]
fn a_frame_that_was_cut_off_costs_no_other() {
    let whole = datagram(0, &[7; 20_000]);
    for lost in [64..4096, 4096..8192, 64..whole.len(), 16_384..whole.len()] {
        let mut stream = whole.clone();
        stream.drain(lost.clone());
        stream.extend(datagram(1, &[1; 100]));
        stream.extend(datagram(2, &[2; 4000]));
        stream.extend(nop());
        for step in [64, 4096, 1 << 20] {
            let (intact, corrupt) = frames(&stream, step);
            let seqs: Vec<u32> = intact.iter().map(|(seq, _)| *seq).collect();
            assert_eq!((seqs, corrupt), (vec![1, 2, 99], 1), "{lost:?} {step}");
        }
    }
}

#[test]
fn a_frame_whose_end_is_lost_does_not_wait_for_ever() {
    let mut stream = datagram(0, &[7; 20_000]);
    stream.truncate(4096);
    assert_eq!(frames(&stream, 4096), (Vec::new(), 0));
    // What the peer says when it is asked.
    stream.extend(nop());
    let (intact, corrupt) = frames(&stream, 4096);
    assert_eq!((intact.len(), corrupt), (1, 1));
}

#[test]
fn frames_in_corrupt_frames_are_not_searched_without_end() {
    // Each header claims a payload of full length, and its checksum is wrong.
    let header = &datagram(0, &[1; MAX_PAYLOAD as usize])[..HEADER_LEN];
    let mut stream = header.repeat(2048);
    stream.extend(nop());
    let corrupt = frames(&stream, 4096).1;
    assert!(corrupt < 20, "{corrupt} checksums of full length");
}

#[test]
fn a_damaged_hello_is_nothing() {
    let mut stream = frame(Body::Hello, 0, &[9; HELLO_LEN], Seed::HANDSHAKE);
    stream[HEADER_LEN + 5] ^= 1;
    let mut deframer = Deframer::<HostHash>::new();
    let piece = deframer.next(&stream, None).unwrap();
    assert_eq!(piece.found, Found::Damage);
}

#[test]
fn a_hello_is_found_in_and_out_of_a_session() {
    let stream = frame(Body::Hello, 0, &[9; HELLO_LEN], Seed::HANDSHAKE);
    for session in [None, Some(session())] {
        let mut deframer = Deframer::<HostHash>::new();
        let piece = deframer.next(&stream, session).unwrap();
        assert_eq!(piece.found, Found::Hello(HEADER_LEN..stream.len()));
        assert_eq!(piece.len, stream.len());
    }
}
