// SPDX-License-Identifier: GPL-2.0

//! Contents of messages: every byte is known from the message's tag and its offset. Some are full of what looks like frames.

use std::sync::OnceLock;

use usb4_roce::transport::checksum::Algorithm;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::hello::Challenge;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::ReaderSync;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;

use crate::checksum::HostHash;

/// One message in so many is forged.
const FORGED_SHARE: u64 = 3;

fn word(tag: u64, index: u64) -> u64 {
    let mut x = tag ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Bytes `offset..offset + len` of the contents with this tag.
pub fn bytes(tag: u64, offset: u32, len: u32) -> Vec<u8> {
    if tag % FORGED_SHARE == 0 {
        let all = forgeries();
        let unit = &all[(tag / FORGED_SHARE) as usize % all.len()];
        let at = offset as usize % unit.len();
        return unit
            .iter()
            .copied()
            .cycle()
            .skip(at)
            .take(len as usize)
            .collect();
    }
    let first = u64::from(offset) / 8;
    let last = (u64::from(offset) + u64::from(len)).div_ceil(8);
    let mut all = Vec::with_capacity((last - first) as usize * 8);
    for index in first..last {
        all.extend_from_slice(&word(tag, index).to_le_bytes());
    }
    all.drain(..offset as usize % 8);
    all.truncate(len as usize);
    all
}

fn frame(body: Body, seed: Seed, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        seq: RailSeq(u32::MAX - 10),
        ack: RailSeq(u32::MAX - 10),
        payload_len: payload.len() as u32,
        payload_checksum: seed.checksum::<HostHash>(payload),
        body,
    };
    let mut bytes = header.encode::<HostHash>(seed).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(HEADER_LEN), 0);
    bytes
}

/// What a process can make up: frames of a handshake, and of a session that is over.
fn forgeries() -> &'static [Vec<u8>] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let public = Seed::HANDSHAKE;
        let stale = Seed::of_session::<HostHash>(1, 2, Algorithm::Crc32c);
        let nop = Body::Nop {
            reply: NopReply::Wanted,
            confirmed: (RailSeq(0), RailSeq(0)),
        };
        let lost = Body::Lost {
            from: RailSeq::FIRST,
            to: RailSeq::FIRST.add(5),
        };
        let hello = Hello {
            identity: Identity {
                node_guid: NodeGuid(0x666),
                mac: [2, 6, 6, 6, 6, 6],
                features: Features::NONE,
                limits: Limits {
                    max_payload: MAX_PAYLOAD,
                    window: 256,
                    max_rd_atomic: 16,
                },
                name: [0; NODE_NAME_LEN],
            },
            own: Challenge {
                session: 0x666,
                nonce: 1,
            },
            echo: Challenge::default(),
            sync: ReaderSync::Unproven,
            first_seq: RailSeq(0),
        };
        vec![
            frame(Body::Hello, public, &[]),
            frame(Body::Hello, public, &hello.encode()),
            frame(nop, public, &[]),
            frame(lost, public, &[]),
            frame(Body::Goodbye, public, &[]),
            frame(nop, stale, &[]),
            frame(Body::Datagram(PacketState::Finished), stale, &[0x66; 100]),
        ]
    })
}
