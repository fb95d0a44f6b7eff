// SPDX-License-Identifier: GPL-2.0

//! A stream of frames whose payloads are written by somebody hostile, and that loses and damages what it likes, cut into
//! frames.

use std::cell::Cell;

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::checksum::Checksum;
use usb4_roce::transport::checksum::RunningChecksum;
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

use super::checksum::HostHash;

/// How often each byte may be checksummed at most, headers of units included: as a payload and in what was corrupt before,
/// as the payload of hellos, and twice in a header.
const MOST_WORK: usize = 4 + 9 + 2;

thread_local! {
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// Counts what it hashes.
struct Counting;

struct CountingRunning(<HostHash as Checksum>::Running);

fn count(data: &[u8]) {
    WORK.with(|work| work.set(work.get() + data.len()));
}

impl RunningChecksum for CountingRunning {
    fn new(seed: Seed) -> Self {
        Self(RunningChecksum::new(seed))
    }

    fn update(&mut self, bytes: &[u8]) {
        count(bytes);
        self.0.update(bytes);
    }

    fn finish(&self) -> u32 {
        self.0.finish()
    }
}

impl Checksum for Counting {
    type Running = CountingRunning;

    fn xxh64(seed: u64, data: &[u8]) -> u64 {
        count(data);
        HostHash::xxh64(seed, data)
    }

    fn crc32c(crc: u32, data: &[u8]) -> u32 {
        count(data);
        HostHash::crc32c(crc, data)
    }
}

fn session() -> Seed {
    Seed::of_session::<HostHash>(3, 4, usb4_roce::transport::checksum::Algorithm::Crc32c)
}

fn header(body: Body, seq: u32, payload: &[u8], seed: Seed) -> [u8; HEADER_LEN] {
    let header = Header {
        seq: RailSeq(seq),
        ack: RailSeq(0),
        payload_len: payload.len() as u32,
        payload_checksum: seed.checksum::<HostHash>(payload),
        body,
    };
    header.encode::<HostHash>(seed)
}

fn frame(body: Body, seq: u32, payload: &[u8], seed: Seed) -> Vec<u8> {
    let mut bytes = header(body, seq, payload, seed).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(HEADER_LEN + padded(payload.len() as u32) as usize, 0);
    bytes
}

/// A payload that a process has made up of what it can know.
fn payload(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let nop = Body::Nop {
        reply: NopReply::Wanted,
        confirmed: (RailSeq(0), RailSeq(0)),
    };
    let unit = match input.int_in_range(0..=4)? {
        0 => header(Body::Hello, 0, &[], Seed::HANDSHAKE).to_vec(),
        1 => header(nop, 7, &[], Seed::HANDSHAKE).to_vec(),
        2 => frame(Body::Hello, 0, &[0; HELLO_LEN], Seed::HANDSHAKE),
        3 => {
            // Claims more than is there.
            let mut hello = header(Body::Hello, 0, &[1; 512], Seed::HANDSHAKE).to_vec();
            hello.truncate(HEADER_LEN);
            hello
        }
        _ => vec![input.arbitrary()?; HEADER_LEN],
    };
    let len = input.int_in_range(0..=MAX_PAYLOAD as usize / 8)?;
    Ok(unit.into_iter().cycle().take(len).collect())
}

/// A stream of frames.
struct Stream {
    bytes: Vec<u8>,
    /// By number.
    payloads: Vec<Vec<u8>>,
    /// How many something has happened to.
    damaged: usize,
}

fn stream(input: &mut Unstructured<'_>) -> Result<Stream> {
    let mut stream = Stream {
        bytes: Vec::new(),
        payloads: Vec::new(),
        damaged: 0,
    };
    for seq in 0..input.int_in_range(1..=12)? {
        let payload = payload(input)?;
        let mut frame = frame(
            Body::Datagram(PacketState::Finished),
            seq,
            &payload,
            session(),
        );
        stream.damaged += 1;
        match input.int_in_range(0..=5)? {
            // A piece of it is lost.
            0 => {
                let units = frame.len() / HEADER_LEN;
                let from = input.int_in_range(0..=units - 1)?;
                let to = input.int_in_range(from + 1..=units)?;
                frame.drain(from * HEADER_LEN..to * HEADER_LEN);
            }
            // A bit of it is wrong.
            1 => {
                let at = input.int_in_range(0..=HEADER_LEN + payload.len() - 1)?;
                frame[at] ^= 0x10;
            }
            _ => stream.damaged -= 1,
        }
        stream.payloads.push(payload);
        stream.bytes.extend_from_slice(&frame);
    }
    Ok(stream)
}

fn cut(input: &mut Unstructured<'_>) -> Result<()> {
    let mut stream = stream(input)?;
    // The peer says what number comes next.
    let nop = Body::Nop {
        reply: NopReply::Unneeded,
        confirmed: (RailSeq(0), RailSeq(0)),
    };
    let last = header(nop, 99, &[], session());
    // It may be swallowed by a frame behind too many corrupt ones; then the peer is asked once more.
    let mut repeats = 1;
    stream.bytes.extend_from_slice(&last);
    let total = stream.bytes.len();

    WORK.with(|work| work.set(0));
    let mut deframer = Deframer::<Counting>::new();
    let mut arrived = Vec::new();
    let mut left = stream.bytes.as_slice();
    let mut found = 0;
    let mut least = 0;
    let mut is_over = false;
    loop {
        match deframer.next(&arrived, Some(session())) {
            Err(missing) => {
                assert!(missing.need > arrived.len(), "waits for what is there");
                assert!(missing.need <= HEADER_LEN + MAX_PAYLOAD as usize);
                if left.is_empty() && !is_over && repeats > 0 {
                    repeats -= 1;
                    left = &last;
                }
                if left.is_empty() {
                    break;
                }
                let n = input.int_in_range(1..=16_384)?.min(left.len());
                arrived.extend_from_slice(&left[..n]);
                left = &left[n..];
            }
            Ok(piece) => {
                assert!(piece.len >= HEADER_LEN && piece.len % HEADER_LEN == 0);
                match piece.found {
                    Found::Damage | Found::Corrupt(_) => {}
                    Found::Hello(payload) => assert!(payload.end <= piece.len),
                    Found::Frame(header, payload)
                        if header.body == Body::Datagram(PacketState::Finished) =>
                    {
                        let seq = header.seq.0 as usize;
                        assert!(seq >= least, "found twice, or out of order");
                        assert!(arrived[payload] == stream.payloads[seq], "wrong payload");
                        least = seq + 1;
                        found += 1;
                    }
                    Found::Frame(header, _) => {
                        assert_eq!(header.body, nop);
                        is_over = true;
                    }
                }
                arrived.drain(..piece.len);
            }
        }
    }
    assert!(is_over, "the last frame has not been found");
    assert!(arrived.is_empty(), "{} bytes are stuck", arrived.len());
    // What was cut off may take a unit of the next frame for its own, if that has the bytes it lacks: its padding is not
    // checked. Behind more corrupt frames than are searched, whole frames may be missed.
    if stream.damaged <= 3 {
        let missed = stream.payloads.len() - found;
        assert!(missed <= 2 * stream.damaged, "{missed} frames missed");
    }
    let work = WORK.with(Cell::get);
    assert!(work <= MOST_WORK * total, "{work} for {total}");
    Ok(())
}

/// Bytes that anyone may have sent.
fn digest(mut bytes: &[u8]) {
    let mut deframer = Deframer::<HostHash>::new();
    while let Ok(piece) = deframer.next(bytes, Some(session())) {
        assert!(piece.len <= bytes.len());
        bytes = &bytes[piece.len..];
    }
}

pub fn run(data: &[u8]) {
    digest(data);
    let _ = cut(&mut Unstructured::new(data));
}
